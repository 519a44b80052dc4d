//! Which file is mapped where, for each process, over time.

use super::namespaces::{Namespaces, OfProcesses};
use rustc_hash::{FxBuildHasher, FxHashMap};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::hash::BuildHasher;

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
    /// Position among the records of mappings and processes, which [`SpaceBuilder::map`] gives: of two
    /// mappings of one time the later one counts.
    pub order: u32,
}

/// All mappings of all processes, with fork and exec followed.
#[derive(Debug, Default)]
pub struct AddressSpace {
    pub images: Vec<Image>,
    /// Sorted by pid, then start, then time.
    pub mappings: Vec<Mapping>,
    /// Highest end of the mappings of its process up to this one: where a search to the left may stop.
    highest_end: Vec<u64>,
    /// Sorted by pid, then time.
    lives: Vec<Life>,
    /// Sorted by pid.
    processes: Vec<Process>,
    /// Sorted by tid, then time.
    tasks: Vec<Task>,
    /// The names of tasks, each with a NUL at its end.
    names: Vec<u8>,
    /// Empty where they were not recorded.
    pub namespaces: OfProcesses,
    /// Processes whose end was recorded, sorted.
    ended: Vec<i32>,
}

/// A pid, and where those of the pids before it end.
#[derive(Debug, Clone, Copy)]
struct Process {
    pid: i32,
    mappings: u32,
    lives: u32,
}

/// An exec or the pid's reuse by a fork ends what the pid was before. Before the first one it is what it
/// was when the recording began.
#[derive(Debug, Clone, Copy)]
struct Life {
    began: u64,
    order: u32,
    pid: i32,
    /// Whose mappings it began with.
    parent: Option<i32>,
}

/// A thread from some time on.
#[derive(Debug, Clone, Copy)]
struct Task {
    time: u64,
    tid: i32,
    pid: i32,
    name: Name,
}

/// How a thread comes by its name.
#[derive(Debug, Clone, Copy)]
enum Name {
    /// At this byte of the names.
    Given(u32),
    /// As the thread that it was forked from.
    Of(i32),
}

/// Forks followed back from child to parent; a damaged file could name them in a circle.
const MAX_FORKS: usize = 64;
/// Threads followed back from one to the one that made it.
const MAX_MAKERS: usize = 1024;

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
        let of = |process: OfProcess| {
            let own = process.lives.iter().all(|life| life.parent.is_none());
            let began = process.lives.iter().map(|life| life.began);
            let mapped = process.mappings.iter().map(|mapping| mapping.time);
            own.then(|| began.chain(mapped).max().unwrap_or(0))
        };
        let kernel = self.process(KERNEL).map_or(Some(0), of)?;
        Some(of(self.process(pid)?)?.max(kernel))
    }

    /// Tells of one address after the other whether it is mapped.
    pub fn in_order(&self) -> Mapped<'_> {
        Mapped {
            space: self,
            settled: None,
            last: None,
        }
    }

    /// Whether [`AddressSpace::find`] gives the same for each of these addresses of a process at all times
    /// from `since` on.
    pub fn stay(&self, pid: i32, addrs: &[u64], since: u64) -> bool {
        let stay = |process: OfProcess| {
            let began = |life: &Life| life.parent.is_none() && life.began <= since;
            let mut addrs = addrs.iter();
            process.lives.iter().all(began)
                && addrs.all(|&addr| process.covering(addr).all(|m| m.time <= since))
        };
        [pid, KERNEL]
            .into_iter()
            .all(|pid| self.process(pid).is_none_or(stay))
    }

    /// How often a pid was begun anew: by an exec, or by a fork when it is used again.
    pub fn lives(&self, pid: i32) -> usize {
        self.process(pid).map_or(0, |process| process.lives.len())
    }

    /// Which of these the pid has had at `time`; 0 before the first.
    pub fn life(&self, pid: i32, time: u64) -> usize {
        let lives = self.process(pid).map_or(&[][..], |process| process.lives);
        lives.partition_point(|life| life.began <= time)
    }

    fn process(&self, pid: i32) -> Option<OfProcess<'_>> {
        let at = self.processes.binary_search_by_key(&pid, |p| p.pid).ok()?;
        let process = self.processes.get(at)?;
        let next = self.processes.get(at + 1);
        let (mappings, lives) = (process.mappings as usize, process.lives as usize);
        let mappings = mappings..next.map_or(self.mappings.len(), |p| p.mappings as usize);
        let lives = lives..next.map_or(self.lives.len(), |p| p.lives as usize);
        Some(OfProcess {
            highest_end: self.highest_end.get(mappings.clone())?,
            mappings: self.mappings.get(mappings)?,
            lives: self.lives.get(lives)?,
        })
    }

    fn find_in(&self, pid: i32, addr: u64, time: u64) -> Option<&Mapping> {
        let (mut pid, mut time) = (pid, time);
        for _ in 0..MAX_FORKS {
            let process = self.process(pid)?;
            let after = process.lives.partition_point(|life| life.began <= time);
            let life = after.checked_sub(1).and_then(|at| process.lives.get(at));
            let begins = life.map_or((0, 0), |life| (life.began, life.order));
            if let Some(mapping) = process.find(addr, time, begins) {
                return Some(mapping);
            }
            let life = life?;
            pid = life.parent?;
            time = life.began;
        }
        None
    }

    /// The name of thread `tid` at `time`. Thread 0 idles and has no record; perf calls it `swapper`.
    pub fn comm(&self, tid: i32, time: u64) -> Option<Cow<'_, str>> {
        let (mut tid, mut time) = (tid, time);
        for _ in 0..MAX_MAKERS {
            if tid == 0 {
                return Some(Cow::Borrowed("swapper"));
            }
            let task = self.task_before(self.tasks_after(tid, time), tid)?;
            match task.name {
                Name::Given(at) => {
                    let name = self.names.get(at as usize..)?;
                    let end = name.iter().position(|&byte| byte == 0)?;
                    return name.get(..end).map(String::from_utf8_lossy);
                }
                Name::Of(maker) => (tid, time) = (maker, task.time),
            }
        }
        None
    }

    /// The process that thread `tid` belongs to at `time`; the nearest one told where none is so early.
    pub fn process_of(&self, tid: i32, time: u64) -> Option<i32> {
        let after = self.tasks_after(tid, time);
        let next = || self.tasks.get(after).filter(|task| task.tid == tid);
        let task = self.task_before(after, tid).or_else(next)?;
        Some(task.pid)
    }

    fn tasks_after(&self, tid: i32, time: u64) -> usize {
        self.tasks
            .partition_point(|task| (task.tid, task.time) <= (tid, time))
    }

    fn task_before(&self, after: usize, tid: i32) -> Option<&Task> {
        let task = self.tasks.get(after.checked_sub(1)?)?;
        (task.tid == tid).then_some(task)
    }

    /// Whether the end of this process was recorded.
    pub fn has_ended(&self, pid: i32) -> bool {
        self.ended.binary_search(&pid).is_ok()
    }

    pub fn image(&self, mapping: &Mapping) -> Option<&Image> {
        self.images.get(mapping.image as usize)
    }
}

/// What was found mapped last: most addresses lie beside the one before.
pub struct Mapped<'a> {
    space: &'a AddressSpace,
    /// As [`AddressSpace::settled`] has it of a process.
    settled: Option<(i32, Option<u64>)>,
    /// A process, and a mapping that it has from its settling on.
    last: Option<(i32, &'a Mapping)>,
}

impl Mapped<'_> {
    /// Whether [`AddressSpace::find`] finds a mapping.
    pub fn is(&mut self, pid: i32, addr: u64, time: u64) -> bool {
        let settled = match self.settled {
            Some((of, settled)) if of == pid => settled,
            _ => {
                let settled = self.space.settled(pid);
                self.settled = Some((pid, settled));
                settled
            }
        };
        let stays = settled.is_some_and(|settled| settled <= time);
        let near = |(of, mapping): (i32, &Mapping)| {
            of == pid && (mapping.start..mapping.end).contains(&addr)
        };
        if stays && self.last.is_some_and(near) {
            return true;
        }
        let found = self.space.find(pid, addr, time);
        if let Some(mapping) = found.filter(|_| stays) {
            self.last = Some((pid, mapping));
        }
        found.is_some()
    }
}

/// What there is of one process.
struct OfProcess<'a> {
    mappings: &'a [Mapping],
    highest_end: &'a [u64],
    lives: &'a [Life],
}

impl<'a> OfProcess<'a> {
    /// The mappings of `addr` at any time.
    fn covering(&self, addr: u64) -> impl Iterator<Item = &'a Mapping> {
        let right = self.mappings.partition_point(|m| m.start <= addr);
        let to_the_left = self.mappings.iter().zip(self.highest_end).take(right).rev();
        let near = to_the_left.take_while(move |&(_, &highest_end)| highest_end > addr);
        near.map(|(mapping, _)| mapping)
            .filter(move |m| addr < m.end)
    }

    /// The latest mapping of `addr` up to `time`, of those that came since `begins`: time and order.
    fn find(&self, addr: u64, time: u64, begins: (u64, u32)) -> Option<&'a Mapping> {
        let at = |mapping: &Mapping| (mapping.time, mapping.order);
        let valid = |mapping: &&Mapping| at(mapping) >= begins && mapping.time <= time;
        self.covering(addr)
            .filter(valid)
            .max_by_key(|mapping| at(mapping))
    }
}

/// The pid under which the kernel's own mappings are recorded.
pub const KERNEL: i32 = -1;

/// Adds to a list that may become as long as the file: it grows by a quarter, not to its double.
pub fn push<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 4 + 16);
    }
    list.push(item);
}

/// Collects the records of which an [`AddressSpace`] is made.
#[derive(Debug, Default)]
pub struct SpaceBuilder {
    images: Vec<Image>,
    /// By their hash; of two images of one hash the second is found in no other record.
    image_ids: FxHashMap<u64, ImageId>,
    mappings: Vec<Mapping>,
    lives: Vec<Life>,
    /// Mappings and lives so far.
    order: u32,
    tasks: Vec<Task>,
    names: Vec<u8>,
    /// Path and build id, the later one of a path counts.
    build_ids: Vec<(String, Vec<u8>)>,
    /// Bytes of paths and build ids, in round numbers.
    held: usize,
    namespaces: OfProcesses,
    ended: Vec<i32>,
}

impl SpaceBuilder {
    pub fn image(&mut self, path: String, build_id: Option<Vec<u8>>) -> ImageId {
        let image = Image { path, build_id };
        let hash = FxBuildHasher.hash_one(&image);
        let next = self.images.len() as ImageId;
        let id = *self.image_ids.entry(hash).or_insert(next);
        if self.images.get(id as usize) == Some(&image) {
            return id;
        }
        self.held += image.path.len() + 64;
        push(&mut self.images, image);
        next
    }

    pub fn map(&mut self, mapping: Mapping) {
        let order = self.next();
        push(&mut self.mappings, Mapping { order, ..mapping });
    }

    pub fn exec(&mut self, pid: i32, time: u64) {
        self.life(pid, None, time);
    }

    /// `parent` is `None` when the child's own mappings follow.
    pub fn fork(&mut self, pid: i32, parent: Option<i32>, time: u64) {
        self.life(pid, parent, time);
    }

    fn life(&mut self, pid: i32, parent: Option<i32>, time: u64) {
        let life = Life {
            began: time,
            order: self.next(),
            pid,
            parent,
        };
        push(&mut self.lives, life);
    }

    fn next(&mut self) -> u32 {
        self.order = self.order.saturating_add(1);
        self.order
    }

    /// Thread `tid` is of process `pid`, and has this name, from this time on.
    pub fn comm(&mut self, pid: i32, tid: i32, time: u64, name: &[u8]) {
        let end = name.iter().position(|&byte| byte == 0);
        let name = name.get(..end.unwrap_or(name.len())).unwrap_or(name);
        // What does not fit in 4 GiB of names has none: that is 250 million threads.
        let at = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        if at != u32::MAX {
            let free = self.names.capacity() - self.names.len();
            if free <= name.len() {
                self.names
                    .reserve_exact(self.names.len() / 4 + name.len() + 1);
            }
            self.names.extend_from_slice(name);
            self.names.push(0);
        }
        let name = Name::Given(at);
        push(
            &mut self.tasks,
            Task {
                time,
                tid,
                pid,
                name,
            },
        );
    }

    /// A new thread has the name of the one that made it.
    pub fn thread(&mut self, pid: i32, tid: i32, maker: i32, time: u64) {
        let name = Name::Of(maker);
        push(
            &mut self.tasks,
            Task {
                time,
                tid,
                pid,
                name,
            },
        );
    }

    /// The namespaces of a process from this time on.
    pub fn namespaces(&mut self, pid: i32, time: u64, namespaces: Namespaces) {
        self.namespaces.add(pid, time, namespaces);
    }

    /// The process ended: its first thread did.
    pub fn exit(&mut self, pid: i32) {
        push(&mut self.ended, pid);
    }

    /// The build id of every image of this path that has none of its own.
    pub fn build_id(&mut self, path: String, build_id: Vec<u8>) {
        self.held += path.len() + 96;
        push(&mut self.build_ids, (path, build_id));
    }

    /// Bytes that it holds, in round numbers.
    pub fn held(&self) -> usize {
        self.held
            + size_of::<Image>() * self.images.capacity()
            + 24 * self.image_ids.capacity()
            + (size_of::<Mapping>() + 8) * self.mappings.capacity()
            + size_of::<Life>() * self.lives.capacity()
            + size_of::<Task>() * self.tasks.capacity()
            + self.names.capacity()
            + self.namespaces.held()
            + 4 * self.ended.capacity()
    }

    pub fn finish(self) -> AddressSpace {
        let mut images = self.images;
        drop(self.image_ids);
        let mut build_ids = self.build_ids;
        build_ids.sort_by(|(a, _), (b, _)| a.cmp(b));
        for image in images.iter_mut().filter(|i| i.build_id.is_none()) {
            let after = build_ids.partition_point(|(path, _)| *path <= image.path);
            let told = after.checked_sub(1).and_then(|at| build_ids.get(at));
            let told = told.filter(|(path, _)| *path == image.path);
            image.build_id = told.map(|(_, id)| id.clone());
        }
        drop(build_ids);
        // Records are in order within a CPU's buffer only.
        let (mut tasks, mut lives, mut mappings) = (self.tasks, self.lives, self.mappings);
        tasks.shrink_to_fit();
        tasks.sort_by_key(|task| (task.tid, task.time));
        lives.shrink_to_fit();
        lives.sort_unstable_by_key(|life| (life.pid, life.began, life.order));
        mappings.shrink_to_fit();
        mappings.sort_unstable_by_key(|m| (m.pid, m.start, m.time, m.order));
        let mut namespaces = self.namespaces;
        namespaces.finish();
        let mut ended = self.ended;
        ended.sort_unstable();
        let processes = processes(&mappings, &lives);
        let mut highest_end = Vec::with_capacity(mappings.len());
        let mut before = (KERNEL, 0);
        for mapping in &mappings {
            let highest = if before.0 == mapping.pid { before.1 } else { 0 };
            before = (mapping.pid, mapping.end.max(highest));
            highest_end.push(before.1);
        }
        AddressSpace {
            images,
            mappings,
            highest_end,
            lives,
            processes,
            tasks,
            names: self.names,
            namespaces,
            ended,
        }
    }
}

/// The pids of both lists, which are sorted by pid, and where each begins.
fn processes(mappings: &[Mapping], lives: &[Life]) -> Vec<Process> {
    let mut processes = Vec::new();
    let (mut of_mappings, mut of_lives) = (0, 0);
    loop {
        let mapping = mappings.get(of_mappings).map(|mapping| mapping.pid);
        let life = lives.get(of_lives).map(|life| life.pid);
        let Some(pid) = mapping.into_iter().chain(life).min() else {
            return processes;
        };
        let process = Process {
            pid,
            mappings: of_mappings as u32,
            lives: of_lives as u32,
        };
        push(&mut processes, process);
        let rest = mappings.get(of_mappings..).unwrap_or(&[]);
        of_mappings += rest.iter().take_while(|mapping| mapping.pid == pid).count();
        let rest = lives.get(of_lives..).unwrap_or(&[]);
        of_lives += rest.iter().take_while(|life| life.pid == pid).count();
    }
}
