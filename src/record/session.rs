//! A recording in progress: counters on every thread and CPU, a ring a CPU, and the file.

use super::counter::{Counter, refused};
use super::features::{self, BuildId, Facts};
use super::file::{self, PerfData, Record, record, user};
use super::machine::Machine;
use super::ring::{AuxRing, Ring};
use super::synthesize::{self, executable_path};
use super::{Event, RecordError};
use perf_event_open_sys::bindings as sys;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a session is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    pub output: PathBuf,
    /// Pages of each ring, a power of 2.
    pub pages: usize,
    pub aux_pages: usize,
    /// Room in the file for events that come later, besides those it begins with.
    pub later_events: usize,
    /// The process is there already: its threads and memory must be told.
    pub running: bool,
    /// For the header: the command line that made the recording.
    pub cmdline: Vec<String>,
    /// For the header, in place of the processor's name.
    pub cpudesc: Option<String>,
}

/// What a recording came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub samples: u64,
    /// Records that found no room in a ring.
    pub lost: u64,
    /// Of the file.
    pub bytes: u64,
    /// Bytes of AUX data.
    pub aux_bytes: u64,
}

/// An event with the counters that are open for it.
#[derive(Debug)]
struct Open {
    counters: Vec<Armed>,
}

/// A counter and where it counts.
#[derive(Debug)]
struct Armed {
    cpu: u32,
    tid: i32,
    counter: Counter,
}

#[derive(Debug)]
pub struct Session {
    settings: Settings,
    machine: Machine,
    data: PerfData,
    events: Vec<(Event, Vec<u64>)>,
    open: Vec<Open>,
    /// Before `rings`: what an AUX ring looks at must outlive it, and fields are dropped in order.
    aux: BTreeMap<u32, AuxRing>,
    rings: BTreeMap<u32, Ring>,
    /// The counter whose descriptor the ring of a CPU belongs to: event and place in it.
    owners: BTreeMap<u32, (usize, usize)>,
    /// Descriptors that still wake us.
    polled: Vec<RawFd>,
    totals: Totals,
    lost_told: u64,
    times: Option<(u64, u64)>,
    images: BTreeSet<String>,
    buffer: Vec<u8>,
    /// Samples by id.
    by_id: BTreeMap<u64, u64>,
}

impl Session {
    /// Opens `events` on `threads` of process `pid`, disabled, and begins the file.
    ///
    /// # Errors
    ///
    /// When the kernel refuses an event or a ring, or the file cannot be written.
    pub fn open(
        settings: Settings,
        machine: Machine,
        events: Vec<Event>,
        pid: i32,
        threads: &[i32],
    ) -> Result<Session, RecordError> {
        raise_file_limit();
        let mut rings = Rings::default();
        let mut open = Vec::new();
        let mut with_ids = Vec::new();
        // The PMU that writes AUX data must own the ring of its CPU.
        let mut order: Vec<usize> = (0..events.len()).collect();
        order.sort_by_key(|&i| events.get(i).is_none_or(|event| !event.aux));
        let mut by_index: BTreeMap<usize, (Open, Vec<u64>)> = BTreeMap::new();
        for index in order {
            let Some(event) = events.get(index) else {
                continue;
            };
            let leader = index.checked_sub(1).filter(|_| event.in_group);
            let leader = leader
                .and_then(|leader| by_index.get(&leader))
                .map(|l| &l.0);
            let place = Place {
                machine: &machine,
                threads,
                pages: settings.pages,
                aux_pages: settings.aux_pages,
            };
            let opened = rings.open(index, event, leader, &place, &|of, at| {
                let open: &Open = &by_index.get(&of)?.0;
                open.counters.get(at).map(|armed| &armed.counter)
            })?;
            by_index.insert(index, opened);
        }
        for (event, (opened, ids)) in events.into_iter().zip(by_index.into_values()) {
            with_ids.push((event, ids));
            open.push(opened);
        }
        let data = PerfData::create(&settings.output, &with_ids, settings.later_events)?;
        let polled = (open.iter().flat_map(|open: &Open| &open.counters))
            .map(|armed| armed.counter.fd())
            .collect();
        let mut session = Session {
            settings,
            machine,
            data,
            events: with_ids,
            open,
            aux: rings.aux,
            rings: rings.rings,
            owners: rings.owners,
            polled,
            totals: Totals::default(),
            lost_told: 0,
            times: None,
            images: BTreeSet::new(),
            buffer: Vec::new(),
            by_id: BTreeMap::new(),
        };
        session.begin(pid)?;
        Ok(session)
    }

    /// What a reader needs even of a file that is never ended, and what was there before.
    fn begin(&mut self, pid: i32) -> Result<(), RecordError> {
        let sections = self.sections_of_machine();
        let mut records = features::in_stream(&sections, &self.events);
        if let Some((first, _)) = self.events.first() {
            records.extend(synthesize::kernel(first));
            if self.settings.running {
                let process = synthesize::process(pid, first)?;
                self.note(&process);
                records.extend(process);
            }
        }
        if let Some((event, _)) = self.events.iter().find(|(event, _)| event.aux) {
            records.extend(auxtrace_info(event));
        }
        self.data.append(&records)
    }

    fn sections_of_machine(&self) -> Vec<(u32, Vec<u8>)> {
        let mut sections = features::of_machine(&self.machine, &self.events);
        if let Some(text) = &self.settings.cpudesc {
            let number = features::number::CPUDESC;
            sections.retain(|(feature, _)| *feature != number);
            sections.push((number, features::string(text)));
        }
        sections
    }

    /// Opens further events on `threads`; they are disabled. Their numbers.
    ///
    /// # Errors
    ///
    /// As [`Session::open`].
    pub fn add(&mut self, events: Vec<Event>, threads: &[i32]) -> Result<Vec<usize>, RecordError> {
        let mut numbers = Vec::new();
        for event in events {
            let index = self.events.len();
            let mut rings = Rings {
                rings: std::mem::take(&mut self.rings),
                aux: std::mem::take(&mut self.aux),
                owners: std::mem::take(&mut self.owners),
            };
            let place = Place {
                machine: &self.machine,
                threads,
                pages: self.settings.pages,
                aux_pages: self.settings.aux_pages,
            };
            let opened = rings.open(index, &event, None, &place, &|of, at| {
                let open = self.open.get(of)?;
                open.counters.get(at).map(|armed| &armed.counter)
            });
            (self.rings, self.aux, self.owners) = (rings.rings, rings.aux, rings.owners);
            let (open, ids) = opened?;
            self.polled
                .extend(open.counters.iter().map(|armed| armed.counter.fd()));
            self.events.push((event, ids));
            self.open.push(open);
            numbers.push(index);
        }
        self.data.set_events(&self.events)?;
        Ok(numbers)
    }

    /// Takes an event out of the threads again. Rings stay.
    pub fn close(&mut self, event: usize) {
        let owns = self.owners.values().any(|(of, _)| *of == event);
        if let Some(open) = self.open.get_mut(event) {
            for armed in &open.counters {
                // It may have ended with its thread.
                let _ = armed.counter.disable();
                self.polled.retain(|fd| *fd != armed.counter.fd());
            }
            // A disabled breakpoint that owns a ring keeps its debug register.
            if !owns {
                open.counters.clear();
            }
        }
    }

    pub fn events(&self) -> &[(Event, Vec<u64>)] {
        &self.events
    }

    /// Starts all counters, or those of some events.
    pub fn enable(&self, events: Option<&[usize]>) -> Result<(), RecordError> {
        for (index, open) in self.open.iter().enumerate() {
            if events.is_some_and(|events| !events.contains(&index)) {
                continue;
            }
            for armed in &open.counters {
                armed
                    .counter
                    .enable()
                    .map_err(RecordError::system("starting an event"))?;
            }
        }
        Ok(())
    }

    /// Stops all counters; what is in the rings is still to be read.
    pub fn disable(&self) {
        for armed in self.open.iter().flat_map(|open| &open.counters) {
            // It may have ended with its thread.
            let _ = armed.counter.disable();
        }
    }

    /// Waits until a ring is half full, one of `others` is readable, or the time is over.
    pub fn wait(&mut self, others: &[RawFd], timeout: Duration) -> Result<(), RecordError> {
        let entry = |&fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut polls: Vec<libc::pollfd> = others.iter().chain(&self.polled).map(entry).collect();
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the array lives for the call, and its length is passed.
        let ready = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, millis) };
        if ready < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(RecordError::system("poll")(error));
            }
            return Ok(());
        }
        // The thread of a counter that hangs up has ended: it would wake us for ever.
        let over: BTreeSet<RawFd> = polls
            .iter()
            .skip(others.len())
            .filter(|poll| poll.revents & (libc::POLLHUP | libc::POLLERR) != 0)
            .map(|poll| poll.fd)
            .collect();
        self.polled.retain(|fd| !over.contains(fd));
        Ok(())
    }

    /// Moves what is in the rings into the file, as one round.
    ///
    /// # Errors
    ///
    /// When the file cannot be written any more.
    pub fn drain(&mut self) -> Result<(), RecordError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        for ring in self.rings.values() {
            ring.drain(&mut buffer);
        }
        self.note(&buffer);
        for (&cpu, aux) in &self.aux {
            let mut data = Vec::new();
            let offset = aux.drain(&mut data);
            if !data.is_empty() {
                self.totals.aux_bytes += data.len() as u64;
                data.resize(data.len().next_multiple_of(8), 0);
                buffer.extend(auxtrace(cpu, offset, data.len() as u64));
                buffer.extend(data);
            }
        }
        let written = match buffer.is_empty() {
            true => Ok(()),
            false => {
                buffer.extend(record(user::FINISHED_ROUND, 0, &[]).unwrap_or_default());
                self.data.append(&buffer)
            }
        };
        self.buffer = buffer;
        written
    }

    /// Adds a record of our own.
    pub fn append(&mut self, record: &[u8]) -> Result<(), RecordError> {
        self.data.append(record)
    }

    /// Counts samples and losses and remembers which files were mapped.
    fn note(&mut self, records: &[u8]) {
        for Record { kind, misc, body } in file::records(records) {
            let word = |at: usize| {
                let bytes = body.get(8 * at..).and_then(|b| b.first_chunk().copied());
                bytes.map_or(0, u64::from_le_bytes)
            };
            match kind {
                sys::PERF_RECORD_SAMPLE => {
                    self.totals.samples += 1;
                    // IDENTIFIER, IP, TID, TIME.
                    *self.by_id.entry(word(0)).or_default() += 1;
                    let time = word(3);
                    let (first, last) = self.times.unwrap_or((time, time));
                    self.times = Some((first.min(time), last.max(time)));
                }
                sys::PERF_RECORD_LOST => {
                    self.totals.lost += word(1);
                    self.lost_told += word(1);
                }
                sys::PERF_RECORD_MMAP2 => {
                    self.images.extend(executable_path(misc, body));
                }
                _ => {}
            }
        }
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Samples of an event so far.
    pub fn samples_of(&self, event: usize) -> u64 {
        let ids = self.events.get(event).map(|(_, ids)| ids.as_slice());
        let counts = ids.unwrap_or_default().iter();
        counts.filter_map(|id| self.by_id.get(id)).sum()
    }

    /// Ends the file properly.
    ///
    /// # Errors
    ///
    /// When its header cannot be written.
    pub fn finish(mut self) -> Result<Totals, RecordError> {
        self.disable();
        let drained = self.drain();
        self.tell_losses();
        let kernel = features::kernel_build_id();
        let build_ids = self
            .images
            .iter()
            .filter_map(|path| {
                Some(BuildId {
                    id: features::build_id_of(Path::new(path))?,
                    path: path.clone(),
                    kernel: false,
                })
            })
            .chain(kernel)
            .collect();
        let facts = Facts {
            times: self.times,
            clocks: clocks(),
            build_ids,
            cmdline: self.settings.cmdline.clone(),
            groups: groups(&self.events),
            aux: self.totals.aux_bytes != 0,
        };
        let mut sections = self.sections_of_machine();
        sections.extend(features::of_recording(&facts, &self.events));
        self.totals.bytes = self.data.finish(&sections)?;
        drained.map(|()| self.totals)
    }

    /// Samples lost since the last LOST record: nothing else would tell of them. As perf does, the record
    /// counts all that were lost.
    fn tell_losses(&mut self) {
        let counters = self.open.iter().flat_map(|open| &open.counters);
        let lost: u64 = counters
            .filter_map(|armed| Some(armed.counter.read().ok()?.1))
            .sum();
        if let (Some(untold), Some((first, _))) =
            (lost.checked_sub(self.lost_told), self.events.first())
            && untold != 0
        {
            self.totals.lost += untold;
            let record = synthesize::lost_samples(lost, first);
            // Where the disk is full the loss of the file is told already.
            let _ = self.data.append(&record);
        }
    }
}

/// What opening an event depends on.
struct Place<'a> {
    machine: &'a Machine,
    threads: &'a [i32],
    pages: usize,
    aux_pages: usize,
}

/// The rings of a session while events are opened into them.
#[derive(Default)]
struct Rings {
    rings: BTreeMap<u32, Ring>,
    aux: BTreeMap<u32, AuxRing>,
    owners: BTreeMap<u32, (usize, usize)>,
}

type CounterAt<'a, 'b> = &'b dyn Fn(usize, usize) -> Option<&'a Counter>;

impl Rings {
    /// Opens one event for every thread on every CPU of its PMU.
    ///
    /// An event of a task cannot be inherited into one ring, an event of a task on a CPU can: that is
    /// why there are as many as threads times CPUs (`kernel/events/core.c`, `perf_mmap`).
    fn open(
        &mut self,
        index: usize,
        event: &Event,
        leader: Option<&Open>,
        place: &Place,
        owner: CounterAt,
    ) -> Result<(Open, Vec<u64>), RecordError> {
        let mut open = Open {
            counters: Vec::new(),
        };
        let mut ids = Vec::new();
        let cpus = event.cpus.clone().unwrap_or_else(|| place.machine.cpus());
        let mut gone = None;
        for &cpu in &cpus {
            for &tid in place.threads {
                let leader = leader.and_then(|open| open.on(cpu, tid));
                let opened = Counter::open(&event.attr, tid, cpu as i32, leader);
                let counter = match opened {
                    Ok(counter) => counter,
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                        gone = Some(error);
                        continue;
                    }
                    Err(error) => return Err(refused(event, error)),
                };
                let at = open.counters.len();
                match self.owners.get(&cpu) {
                    None => {
                        let ring = Ring::map(&counter, place.pages);
                        let ring = ring.map_err(|error| RecordError::Ring {
                            event: event.name.clone(),
                            kib: place.pages * super::ring::page() / 1024,
                            cpu,
                            error,
                        })?;
                        if event.aux {
                            let aux = ring.aux(&counter, place.aux_pages);
                            let aux = aux.map_err(|error| RecordError::Ring {
                                event: event.name.clone(),
                                kib: place.aux_pages * super::ring::page() / 1024,
                                cpu,
                                error,
                            })?;
                            self.aux.insert(cpu, aux);
                        }
                        self.rings.insert(cpu, ring);
                        self.owners.insert(cpu, (index, at));
                    }
                    Some(&(of, place)) => {
                        let own = || open.counters.get(place).map(|armed| &armed.counter);
                        let owner = if of == index { own() } else { owner(of, place) };
                        let joined = owner.map_or(Ok(()), |owner| counter.write_to(owner));
                        joined.map_err(RecordError::system("joining a ring (SET_OUTPUT)"))?;
                    }
                }
                ids.push(
                    counter
                        .id()
                        .map_err(RecordError::system("asking for an event's id"))?,
                );
                open.counters.push(Armed { cpu, tid, counter });
            }
        }
        match gone {
            Some(error) if open.counters.is_empty() => Err(refused(event, error)),
            _ => Ok((open, ids)),
        }
    }
}

impl Open {
    /// The counter of a thread on a CPU: a member of a group is opened where its leader is.
    fn on(&self, cpu: u32, tid: i32) -> Option<&Counter> {
        let armed = self.counters.iter().find(|a| a.cpu == cpu && a.tid == tid);
        armed.map(|armed| &armed.counter)
    }
}

/// Groups as the header lists them: leader and number of members behind it.
fn groups(events: &[(Event, Vec<u64>)]) -> Vec<(u32, u32)> {
    let mut groups: Vec<(u32, u32)> = Vec::new();
    for (index, (event, _)) in events.iter().enumerate() {
        match groups.last_mut() {
            Some((_, members)) if event.in_group => *members += 1,
            _ => groups.push((index as u32, 0)),
        }
    }
    groups.retain(|(_, members)| *members != 0);
    groups
}

/// CLOCK_REALTIME and CLOCK_MONOTONIC, in nanoseconds.
fn clocks() -> (u64, u64) {
    (now(libc::CLOCK_REALTIME), now(libc::CLOCK_MONOTONIC))
}

/// A clock of the system in nanoseconds.
pub fn now(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` lives for the call. The clocks asked for always exist.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Threads times CPUs times events soon pass the soft limit of 1024.
fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct lives for both calls. Where raising fails, opening says EMFILE.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// `struct perf_record_auxtrace`, which is followed by `size` bytes that are no part of it.
fn auxtrace(cpu: u32, offset: u64, size: u64) -> Vec<u8> {
    let mut body = size.to_le_bytes().to_vec();
    body.extend(offset.to_le_bytes());
    body.extend(0u64.to_le_bytes());
    for half in [cpu, u32::MAX, cpu, 0] {
        body.extend(half.to_le_bytes());
    }
    record(user::AUXTRACE, 0, &body).unwrap_or_default()
}

/// `struct perf_record_auxtrace_info` of Arm SPE: its PMU's type, and that rings are per CPU
/// (`tools/perf/util/arm-spe.h`, `ARM_SPE_PMU_TYPE`, `ARM_SPE_PER_CPU_MMAPS`).
fn auxtrace_info(event: &Event) -> Vec<u8> {
    const ARM_SPE: u32 = 4;
    let mut body = ARM_SPE.to_le_bytes().to_vec();
    body.extend(0u32.to_le_bytes());
    for word in [u64::from(event.attr.type_), 1] {
        body.extend(word.to_le_bytes());
    }
    record(user::AUXTRACE_INFO, 0, &body).unwrap_or_default()
}
