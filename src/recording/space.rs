//! Which file is mapped where, for each process, over time.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// Index into [`AddressSpace::images`].
pub type ImageId = u32;

/// A mapped file, as the recording names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Image {
    /// As recorded: a path, `[vdso]`, `[kernel.kallsyms]_text`, `//anon`, `[heap]`, ...
    pub path: String,
    pub build_id: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// -1 for the kernel's.
    pub pid: i32,
    pub start: u64,
    /// Exclusive.
    pub end: u64,
    pub pgoff: u64,
    pub image: ImageId,
    /// Valid from this time on, until a later mapping of the same process covers it.
    pub time: u64,
    pub executable: bool,
}

/// All mappings of all processes, with fork and exec followed.
#[derive(Debug, Default)]
pub struct AddressSpace {
    pub images: Vec<Image>,
    /// Sorted by pid, then start, then time.
    pub mappings: Vec<Mapping>,
    /// `(tid, time, name)`, sorted by tid, then time.
    pub comms: Vec<(i32, u64, String)>,
    /// `(tid, time, pid)`, sorted.
    threads: Vec<(i32, u64, i32)>,
    processes: FxHashMap<i32, Process>,
}

/// One pid, which an exec or the pid's reuse by a fork cuts into lives.
#[derive(Debug, Default)]
struct Process {
    /// When each life began, and whose mappings it began with. The first begins with the recording.
    lives: Vec<(u64, Option<i32>)>,
    /// Sorted by start.
    spans: Vec<Span>,
    /// Highest end of `spans[..=i]`: where a search to the left may stop.
    highest_end: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
    life: u32,
    time: u64,
    /// Position among all records: of two mappings of one time the later one counts.
    order: u32,
    /// Index into `mappings`.
    mapping: u32,
}

/// Forks followed back from child to parent; a damaged file could name them in a circle.
const MAX_FORKS: usize = 64;

impl AddressSpace {
    /// The mapping that holds `addr` in process `pid` at `time`; the kernel's mappings hold in every
    /// process. Of mappings that cover an address the latest one counts. Times compare only within
    /// one recording; records without a time hold from the start.
    pub fn find(&self, pid: i32, addr: u64, time: u64) -> Option<&Mapping> {
        self.find_in(pid, addr, time)
            .or_else(|| self.find_in(KERNEL, addr, time))
    }

    /// From when on [`AddressSpace::find`] gives the same for an address of this process whatever the
    /// time; `None` where it looks into other processes.
    pub fn settled(&self, pid: i32) -> Option<u64> {
        let of = |process: &Process| {
            let own = process.lives.iter().all(|(_, parent)| parent.is_none());
            let began = process.lives.iter().map(|(began, _)| *began);
            let spans = process.spans.iter().map(|span| span.time);
            own.then(|| began.chain(spans).max().unwrap_or(0))
        };
        let kernel = self.processes.get(&KERNEL).map_or(Some(0), of)?;
        Some(of(self.processes.get(&pid)?)?.max(kernel))
    }

    fn find_in(&self, pid: i32, addr: u64, time: u64) -> Option<&Mapping> {
        let (mut pid, mut time) = (pid, time);
        for _ in 0..MAX_FORKS {
            let process = self.processes.get(&pid)?;
            let after = process.lives.partition_point(|&(began, _)| began <= time);
            let life = after.saturating_sub(1);
            if let Some(span) = process.find(addr, time, life as u32) {
                return self.mappings.get(span.mapping as usize);
            }
            let &(began, parent) = process.lives.get(life)?;
            pid = parent?;
            time = began;
        }
        None
    }

    /// The name of thread `tid` at `time`. Thread 0 idles and has no record; perf calls it `swapper`.
    pub fn comm(&self, tid: i32, time: u64) -> Option<&str> {
        if tid == 0 {
            return Some("swapper");
        }
        let after = self
            .comms
            .partition_point(|(other, since, _)| (*other, *since) <= (tid, time));
        let (other, _, name) = self.comms.get(after.checked_sub(1)?)?;
        (*other == tid).then_some(name)
    }

    /// The process that thread `tid` belongs to at `time`; the nearest one told where none is so early.
    pub fn process_of(&self, tid: i32, time: u64) -> Option<i32> {
        let after = self
            .threads
            .partition_point(|&(other, since, _)| (other, since) <= (tid, time));
        let told = |i: usize| self.threads.get(i).filter(|(other, ..)| *other == tid);
        let (.., pid) = after
            .checked_sub(1)
            .and_then(told)
            .or_else(|| told(after))?;
        Some(*pid)
    }

    pub fn image(&self, mapping: &Mapping) -> Option<&Image> {
        self.images.get(mapping.image as usize)
    }
}

impl Process {
    fn find(&self, addr: u64, time: u64, life: u32) -> Option<Span> {
        let right = self.spans.partition_point(|span| span.start <= addr);
        let mut best: Option<Span> = None;
        for (span, &highest_end) in self.spans.iter().zip(&self.highest_end).take(right).rev() {
            if highest_end <= addr {
                break;
            }
            let covers = addr < span.end && span.life == life && span.time <= time;
            if covers && best.is_none_or(|best| (best.time, best.order) < (span.time, span.order)) {
                best = Some(*span);
            }
        }
        best
    }
}

/// The pid under which the kernel's own mappings are recorded.
pub const KERNEL: i32 = -1;

/// What a record says of processes and their memory, in the order of the file.
#[derive(Debug)]
pub enum Change {
    Map(Mapping),
    Exec {
        pid: i32,
    },
    /// `parent` is `None` when the child's own mappings follow.
    Fork {
        pid: i32,
        parent: Option<i32>,
    },
}

/// Collects the records of which an [`AddressSpace`] is made.
#[derive(Debug, Default)]
pub struct SpaceBuilder {
    images: Vec<Image>,
    image_ids: FxHashMap<Image, ImageId>,
    changes: Vec<(u64, Change)>,
    names: Vec<(u64, i32, Name)>,
    threads: Vec<(i32, u64, i32)>,
    build_ids: FxHashMap<String, Vec<u8>>,
}

/// How a thread comes by its name.
#[derive(Debug)]
enum Name {
    Given(String),
    /// As the thread that it was forked from.
    Of(i32),
}

impl SpaceBuilder {
    pub fn image(&mut self, path: String, build_id: Option<Vec<u8>>) -> ImageId {
        let image = Image { path, build_id };
        if let Some(&id) = self.image_ids.get(&image) {
            return id;
        }
        let id = self.images.len() as ImageId;
        self.images.push(image.clone());
        self.image_ids.insert(image, id);
        id
    }

    pub fn map(&mut self, mapping: Mapping) {
        self.changes.push((mapping.time, Change::Map(mapping)));
    }

    pub fn exec(&mut self, pid: i32, time: u64) {
        self.changes.push((time, Change::Exec { pid }));
    }

    pub fn fork(&mut self, pid: i32, parent: Option<i32>, time: u64) {
        self.changes.push((time, Change::Fork { pid, parent }));
    }

    pub fn comm(&mut self, tid: i32, time: u64, name: String) {
        self.names.push((time, tid, Name::Given(name)));
    }

    /// Thread `tid` is of process `pid` from this time on.
    pub fn belongs(&mut self, tid: i32, pid: i32, time: u64) {
        self.threads.push((tid, time, pid));
    }

    /// A new thread has the name of the one that made it.
    pub fn thread(&mut self, tid: i32, parent: i32, time: u64) {
        self.names.push((time, tid, Name::Of(parent)));
    }

    /// The build id of every image of this path that has none of its own.
    pub fn build_id(&mut self, path: String, build_id: Vec<u8>) {
        self.build_ids.insert(path, build_id);
    }

    pub fn finish(mut self) -> AddressSpace {
        // Records are in order within a CPU's buffer only.
        self.changes.sort_by_key(|&(time, _)| time);
        let comms = comms(self.names);
        self.threads.sort_unstable();
        self.threads.dedup();
        for image in &mut self.images {
            if image.build_id.is_none() {
                image.build_id = self.build_ids.get(&image.path).cloned();
            }
        }
        let mut processes: FxHashMap<i32, Process> = FxHashMap::default();
        let mut mappings = Vec::new();
        for (order, (time, change)) in self.changes.into_iter().enumerate() {
            let pid = match &change {
                Change::Map(mapping) => mapping.pid,
                Change::Exec { pid } | Change::Fork { pid, .. } => *pid,
            };
            let process = processes.entry(pid).or_insert_with(|| Process {
                lives: vec![(0, None)],
                ..Process::default()
            });
            match change {
                Change::Map(mapping) => {
                    process.spans.push(Span {
                        start: mapping.start,
                        end: mapping.end,
                        life: process.lives.len() as u32 - 1,
                        time,
                        order: order as u32,
                        mapping: mappings.len() as u32,
                    });
                    mappings.push(mapping);
                }
                Change::Exec { .. } => process.lives.push((time, None)),
                Change::Fork { parent, .. } => process.lives.push((time, parent)),
            }
        }
        let mut sorted: Vec<u32> = (0..mappings.len() as u32).collect();
        sorted.sort_by_key(|&i| mappings.get(i as usize).map(|m| (m.pid, m.start, m.time)));
        let mut place = vec![0; sorted.len()];
        for (to, &from) in sorted.iter().enumerate() {
            if let Some(place) = place.get_mut(from as usize) {
                *place = to as u32;
            }
        }
        for process in processes.values_mut() {
            for span in &mut process.spans {
                span.mapping = place.get(span.mapping as usize).copied().unwrap_or(0);
            }
            process.spans.sort_by_key(|span| (span.start, span.order));
            let mut highest = 0;
            process.highest_end = process
                .spans
                .iter()
                .map(|span| {
                    highest = highest.max(span.end);
                    highest
                })
                .collect();
        }
        mappings.sort_by_key(|m: &Mapping| (m.pid, m.start, m.time));
        AddressSpace {
            images: self.images,
            mappings,
            comms,
            threads: self.threads,
            processes,
        }
    }
}

/// `(tid, time, name)` of every thread, sorted.
fn comms(mut names: Vec<(u64, i32, Name)>) -> Vec<(i32, u64, String)> {
    names.sort_by_key(|&(time, ..)| time);
    let mut current: FxHashMap<i32, usize> = FxHashMap::default();
    let mut comms: Vec<(i32, u64, String)> = Vec::new();
    for (time, tid, name) in names {
        let name = match name {
            Name::Given(name) => name,
            Name::Of(parent) => {
                let parent = current.get(&parent).and_then(|&at| comms.get(at));
                match parent {
                    Some((.., name)) => name.clone(),
                    None => continue,
                }
            }
        };
        current.insert(tid, comms.len());
        comms.push((tid, time, name));
    }
    comms.sort_by_key(|&(tid, time, _)| (tid, time));
    comms
}
