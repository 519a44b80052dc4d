//! The watch itself: arm, follow, guard, end.

use super::guard::Guard;
use super::memory::ProcessMemory;
use super::place::{self, Found, WatchError};
use super::words::{Spot, Words};
use crate::record::RecordError;
use crate::record::counter::fit;
use crate::record::event::{Event, Fields, Rate};
use crate::record::machine::Machine;
use crate::record::session::{Session, Settings, Totals, now};
use crate::record::signals::Signals;
use crate::record::synthesize::throttle;
use crate::record::target::{Ended, Process, Target};
use perf_event_open_sys::bindings as sys;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The map is looked at this often: so long a gap can be when it grows.
const TICK: Duration = Duration::from_millis(10);
/// Room in the file for words that move. A map that doubles moves its words once a doubling.
const MOST_MOVES: usize = 256;

/// What is to be watched.
#[derive(Debug, Clone)]
pub struct Plan {
    pub target: Target,
    pub map: Option<MapWords>,
    /// Address, length and `HW_BREAKPOINT_*`.
    pub addresses: Vec<(u64, u64, u32)>,
    /// Of the map's words.
    pub access: u32,
    pub fields: Fields,
    pub duration: Option<Duration>,
    /// Traps a second at which the watch ends.
    pub most: u64,
}

/// Words of a map, by names.
#[derive(Debug, Clone)]
pub struct MapWords {
    pub map: String,
    pub words: Vec<String>,
    pub slot: Option<u64>,
    pub spot: Spot,
}

/// Why a watch came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Process(Ended),
    Time,
    Signal(i32),
    /// The guard: so many traps a second.
    Rate(u64),
    /// The words moved more often than the file has room for.
    Moves,
}

/// The words moved; nothing was watched from the first time to the second (CLOCK_MONOTONIC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub from: u64,
    pub to: u64,
}

/// One word, each time it was watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    pub name: String,
    pub addr: u64,
    pub len: u64,
    pub samples: u64,
}

/// A watch that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    pub totals: Totals,
    pub why: Why,
    pub process: Ended,
    pub words: Vec<Watched>,
    pub gaps: Vec<Gap>,
    /// How the map was found.
    pub how: Option<String>,
    pub given_up: Vec<&'static str>,
}

/// A word that is armed or waits to be.
#[derive(Debug)]
struct Armed {
    name: String,
    place: Option<(u64, u64)>,
    access: u32,
    event: Option<usize>,
}

struct Watch {
    session: Session,
    process: Process,
    armed: Vec<Armed>,
    /// Every word each time it was armed: event, name, place.
    all: Vec<(usize, String, (u64, u64))>,
    gaps: Vec<Gap>,
    given_up: Vec<&'static str>,
    fields: Fields,
    moves: usize,
    /// When the words were last seen where they are armed.
    seen: u64,
}

/// Watches until the process ends, the time is over, the guard says stop, or Ctrl-C.
///
/// # Errors
///
/// When the map, its words or the process cannot be had, or the kernel refuses.
pub fn run(plan: &Plan, settings: Settings, machine: Machine) -> Result<Done, WatchError> {
    let signals = Signals::hold()?;
    let mut process = Process::of(&plan.target)?;
    let settings = Settings {
        running: !process.is_ours(),
        later_events: MOST_MOVES,
        ..settings
    };
    let output = settings.output.clone();
    let tracker = tracker(plan.fields, process.is_ours())?;
    let threads = process.threads()?;
    let session = Session::open(settings, machine, vec![tracker], process.pid, &threads)?;
    let prepared = process.release().map_err(WatchError::from).and_then(|()| {
        let scratch = scratch(&output);
        let found = plan.map.as_ref().map(|map| find(&process, map, &scratch));
        Ok((found.transpose()?, ProcessMemory::of(process.pid)?))
    });
    let (found, memory) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            use WatchError::{Early, Program, Record, Snapshot};
            let error = match (error, process.is_ours(), process.ended()) {
                (error, false, _) | (error, _, Ended::No) => error,
                (Record(_) | Program { .. } | Snapshot { .. }, _, ended) => Early { ended },
                (error, ..) => error,
            };
            process.end();
            // Nothing was watched: an empty recording would only mislead.
            let _ = std::fs::remove_file(&output);
            return Err(error);
        }
    };
    if !process.is_ours() {
        session.enable(None)?;
    }
    let mut watch = Watch {
        session,
        process,
        armed: words(plan, found.as_ref()),
        all: Vec::new(),
        gaps: Vec::new(),
        given_up: Vec::new(),
        fields: plan.fields,
        moves: 0,
        seen: now(libc::CLOCK_MONOTONIC),
    };
    let why = match watch.follow(plan, found.as_ref(), &memory, &signals) {
        Ok(why) => why,
        Err(error) => {
            watch.process.end();
            watch.session.finish()?;
            return Err(error);
        }
    };
    watch.session.disable();
    // What is still in the rings belongs to the words' counts.
    watch.session.drain()?;
    let words = (watch.all.iter())
        .map(|(event, name, (addr, len))| Watched {
            name: name.clone(),
            addr: *addr,
            len: *len,
            samples: watch.session.samples_of(*event),
        })
        .collect();
    let totals = watch.session.finish()?;
    Ok(Done {
        totals,
        why,
        // A program that is stopped by the guard, or by the time, is not ours to end.
        process: match why {
            Why::Signal(_) => watch.process.end(),
            _ => watch.process.wait(),
        },
        words,
        gaps: watch.gaps,
        how: found.map(|(found, _)| found.how),
        given_up: watch.given_up,
    })
}

/// Owns the rings and tells of threads and memory: words come and go.
fn tracker(fields: Fields, ours: bool) -> Result<Event, RecordError> {
    let config = [u64::from(sys::PERF_COUNT_SW_DUMMY), 0, 0];
    let kind = sys::PERF_TYPE_SOFTWARE;
    let mut event = Event::new("dummy:u", kind, config, Rate::Period(1), fields);
    event.attr.set_exclude_kernel(1);
    fit(&mut event, None)?;
    event.track();
    event.attr.set_enable_on_exec(u64::from(ours));
    Ok(event)
}

/// A file for a snapshot, beside the output.
fn scratch(output: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(output.file_name().unwrap_or_default());
    name.push(format!(".{}.heap", std::process::id()));
    output.with_file_name(name)
}

fn find(process: &Process, map: &MapWords, scratch: &Path) -> Result<(Found, Words), WatchError> {
    let found = place::find(process.pid, &map.map, scratch)?;
    let words = Words::find(
        &map.words,
        map.slot,
        map.spot,
        &found.map_type,
        found.layout,
    );
    let words = words.map_err(|reason| WatchError::Word { reason })?;
    Ok((found, words))
}

fn words(plan: &Plan, found: Option<&(Found, Words)>) -> Vec<Armed> {
    let mut all = Vec::new();
    if let Some((_, words)) = found {
        all.extend(words.words.iter().map(|word| Armed {
            name: word.name(words.layout),
            place: None,
            access: plan.access,
            event: None,
        }));
    }
    all.extend(plan.addresses.iter().map(|&(addr, len, access)| Armed {
        name: format!("{addr:#x}"),
        place: Some((addr, len)),
        access,
        event: None,
    }));
    all
}

impl Watch {
    fn follow(
        &mut self,
        plan: &Plan,
        found: Option<&(Found, Words)>,
        memory: &ProcessMemory,
        signals: &Signals,
    ) -> Result<Why, WatchError> {
        let begin = Instant::now();
        let mut guard = Guard::new(plan.most);
        loop {
            if self.place(found, memory)? {
                return Ok(Why::Moves);
            }
            let left = plan.duration.map(|all| all.saturating_sub(begin.elapsed()));
            if left == Some(Duration::ZERO) {
                return Ok(Why::Time);
            }
            let patience = left.map_or(TICK, |left| left.min(TICK));
            let fds = [signals.fd(), self.process.fd()];
            self.session.wait(&fds, patience)?;
            self.session.drain()?;
            if let Some(signal) = signals.arrived() {
                return Ok(Why::Signal(signal));
            }
            match self.process.ended() {
                Ended::No => {}
                ended => return Ok(Why::Process(ended)),
            }
            let totals = self.session.totals();
            if let Some(rate) = guard.exceeded(Instant::now(), totals.samples + totals.lost) {
                return Ok(Why::Rate(rate));
            }
        }
    }

    /// Looks where the words are, and arms those that are not where they were. `true` when that
    /// happened too often.
    fn place(
        &mut self,
        found: Option<&(Found, Words)>,
        memory: &ProcessMemory,
    ) -> Result<bool, WatchError> {
        let looked = now(libc::CLOCK_MONOTONIC);
        let places = found.map_or_else(Vec::new, |(found, words)| {
            match found.place.header(memory) {
                Some(header) => words.places(header, memory),
                None => vec![None; words.words.len()],
            }
        });
        if memory.is_gone() {
            return Ok(false);
        }
        let mut moved = Vec::new();
        for (index, armed) in self.armed.iter_mut().enumerate() {
            let place = places.get(index).copied().unwrap_or(armed.place);
            if place != armed.place || (place.is_some() && armed.event.is_none()) {
                moved.push((index, armed.event.take()));
                armed.place = place;
            }
        }
        if moved.is_empty() {
            self.seen = looked;
            return Ok(false);
        }
        self.moves += moved.len();
        if self.moves > MOST_MOVES {
            return Ok(true);
        }
        let armed_before = moved.iter().any(|(_, event)| event.is_some());
        for (_, event) in &moved {
            if let Some(event) = event {
                self.session.close(*event);
            }
        }
        self.arm(moved.into_iter().map(|(index, _)| index))?;
        let armed_now = now(libc::CLOCK_MONOTONIC);
        if armed_before {
            self.mark(armed_now)?;
        }
        self.seen = armed_now;
        Ok(false)
    }

    fn arm(&mut self, indices: impl Iterator<Item = usize>) -> Result<(), WatchError> {
        for index in indices {
            let Some(armed) = self.armed.get_mut(index) else {
                continue;
            };
            let Some(place) = armed.place else { continue };
            let mut event = Event::breakpoint(place.0, place.1, armed.access, self.fields);
            self.given_up.extend(fit(&mut event, None)?);
            self.given_up.sort_unstable();
            self.given_up.dedup();
            let threads = match self.process.threads() {
                Ok(threads) => threads,
                // It has just ended, which the loop will see.
                Err(RecordError::NoProcess { .. }) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let numbers = match self.session.add(vec![event], &threads) {
                Ok(numbers) => numbers,
                Err(_) if self.process.ended() != Ended::No => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            // A thread may end between the two.
            if let Err(error) = self.session.enable(Some(&numbers))
                && self.process.ended() == Ended::No
            {
                return Err(error.into());
            }
            if let Some(&number) = numbers.first() {
                armed.event = Some(number);
                self.all.push((number, armed.name.clone(), place));
            }
        }
        Ok(())
    }

    /// Writes a gap from when the words were last seen in place until now.
    fn mark(&mut self, until: u64) -> Result<(), WatchError> {
        let gap = Gap {
            from: self.seen,
            to: until,
        };
        let Some((event, ids)) = self.session.events().last() else {
            return Ok(());
        };
        let id = ids.first().copied().unwrap_or(0);
        let mut records = throttle(true, gap.from, id, event);
        records.extend(throttle(false, gap.to, id, event));
        self.session.append(&records)?;
        self.gaps.push(gap);
        Ok(())
    }
}
