//! `PERF_RECORD_NAMESPACES`: what the paths, pids and hosts that a process tells of are relative to.

use super::cursor::Cursor;
use super::space::push;
use rustc_hash::FxHashMap;

/// Names of a process's namespaces, `include/uapi/linux/perf_event.h`, `NET_NS_INDEX` and on.
pub const NAMESPACES: [&str; 7] = ["net", "uts", "ipc", "pid", "user", "mnt", "cgroup"];

/// The inode of each namespace of [`NAMESPACES`] in nsfs, as in `/proc/PID/ns`; 0 where it was not told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Namespaces {
    pub inodes: [u64; NAMESPACES.len()],
}

impl Namespaces {
    /// The inode of the mount namespace, in which the process's paths are meant.
    pub fn mount(&self) -> Option<u64> {
        Some(self.inodes[5]).filter(|&inode| inode != 0)
    }

    /// `{ u64 nr; { u64 dev; u64 inode; } [nr] }`
    pub(super) fn parse(at: &mut Cursor) -> Option<Namespaces> {
        let count = at.u64()?;
        let links = at.words(count.checked_mul(2)?)?;
        let mut all = Namespaces::default();
        for (i, inode) in all.inodes.iter_mut().enumerate() {
            *inode = links.get(2 * i + 1).unwrap_or(0);
        }
        Some(all)
    }
}

/// The namespaces of processes over time. Threads that leave their process's are not followed.
#[derive(Debug, Default)]
pub struct OfProcesses {
    sets: Vec<Namespaces>,
    ids: FxHashMap<Namespaces, u32>,
    /// Process, time and set; in this order once finished.
    told: Vec<(i32, u64, u32)>,
}

impl OfProcesses {
    pub(super) fn add(&mut self, pid: i32, time: u64, namespaces: Namespaces) {
        let next = self.sets.len() as u32;
        let id = *self.ids.entry(namespaces).or_insert(next);
        if id == next {
            push(&mut self.sets, namespaces);
        }
        push(&mut self.told, (pid, time, id));
    }

    pub(super) fn finish(&mut self) {
        self.told.sort_unstable();
        self.told.shrink_to_fit();
        self.ids = FxHashMap::default();
    }

    /// Bytes that it holds, in round numbers.
    pub(super) fn held(&self) -> usize {
        let set = 3 * size_of::<Namespaces>();
        set * self.sets.capacity() + size_of::<(i32, u64, u32)>() * self.told.capacity()
    }

    /// Those of a process at a time; the earliest told where none is so early.
    pub fn of(&self, pid: i32, time: u64) -> Option<&Namespaces> {
        let after = (self.told).partition_point(|&(of, at, _)| (of, at) <= (pid, time));
        let before = after.checked_sub(1).and_then(|at| self.told.get(at));
        let before = before.filter(|told| told.0 == pid);
        let next = || self.told.get(after).filter(|told| told.0 == pid);
        self.sets.get(before.or_else(next)?.2 as usize)
    }

    /// Each set with the processes that were in it at some time, by pid.
    pub fn sets(&self) -> Vec<(&Namespaces, Vec<i32>)> {
        let mut sets: Vec<_> = self.sets.iter().map(|set| (set, Vec::new())).collect();
        for &(pid, _, id) in &self.told {
            if let Some((_, pids)) = sets.get_mut(id as usize)
                && pids.last() != Some(&pid)
            {
                pids.push(pid);
            }
        }
        sets
    }
}
