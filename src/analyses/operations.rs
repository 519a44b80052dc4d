//! Writing operations as they happened: on a recording of every access to a map's flags, an operation
//! begins with the store that sets `hashWriting` (`writing`) and ends with the one that clears it, which
//! the code tells apart. Both are of one goroutine, which need not stay on its thread: growth allocates,
//! and may wait for the collector.
//!
//! An operation of which either is not known is none: whoever came later would seem to be inside of it.
//!
//! Source: `mapassign`, `mapdelete`, `mapclear` of `runtime/map.go` (up to Go 1.23), and `PutSlot`,
//! `Delete`, `Clear` of `internal/runtime/maps` (from 1.24).

use super::losses::losses;
use super::touch::Touch;
use crate::attribute::{Operation, Phase};
use crate::gomap::Part;
use crate::recording::Recording;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::BTreeSet;

/// One operation of one thread on one map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bracket {
    pub operation: Operation,
    /// Index into `Attribution::maps`.
    pub map: u32,
    /// The thread that set the flag.
    pub tid: i32,
    /// As [`Touch::g`].
    pub g: Option<u64>,
    /// Time of the store that set the flag, and of the one that cleared it; nanoseconds.
    pub begin_ns: u64,
    /// `None`: the process ended inside of the operation.
    pub end_ns: Option<u64>,
    /// Indexes of its samples.
    pub samples: Vec<usize>,
    /// The phases of its stores, each once, in the order in which they came by first.
    pub phases: Vec<Phase>,
    /// Accesses of other goroutines, and of the collector's threads, to the map between its begin and
    /// its end.
    pub between: Vec<usize>,
    /// Where its stores came in another order than the source has them.
    pub deviations: Vec<Deviation>,
}

impl Bracket {
    /// Nanoseconds from setting the flag to clearing it, the cost of the breakpoints included.
    pub fn duration_ns(&self) -> Option<u64> {
        self.end_ns?.checked_sub(self.begin_ns)
    }
}

/// A store that came before one that the source has ahead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// Index of the sample that came too late.
    pub sample: usize,
    pub phase: Phase,
    pub after: Phase,
}

/// Operations that set the flag.
pub fn writes(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Assign | Operation::Delete | Operation::Clear
    )
}

/// Where a store stands in its operation's source; stores of one rank may come in any order. `None`:
/// its place is not fixed.
fn rank(operation: Operation, swiss: bool, phase: Phase) -> Option<u8> {
    use Phase::*;
    Some(match (operation, swiss, phase) {
        // mapdelete: key, elem, `b.tophash[i] = emptyOne`, emptyRest backwards, `h.count--`.
        (Operation::Delete, false, ClearKey) => 0,
        (Operation::Delete, false, ClearElem) => 1,
        (Operation::Delete, false, MarkEmpty) => 2,
        (Operation::Delete, false, BackPropagate) => 3,
        (Operation::Delete, false, Count) => 4,
        // (*table).Delete: `t.used--`, `m.used--`, key, elem, ctrl; growthLeft goes with ctrl.
        (Operation::Delete, true, ClearKey) => 1,
        (Operation::Delete, true, ClearElem) => 2,
        (Operation::Delete, true, MarkEmpty) => 3,
        // mapassign_fast* writes tophash first, mapassign the key; both count at last.
        (Operation::Assign, _, WriteKey | WriteControl) => 0,
        (Operation::Assign, false, Count) => 1,
        _ => return None,
    })
}

/// Who executes an operation: a goroutine of a process, or, where no register tells, a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    Goroutine(i32, u64),
    Thread(i32),
}

/// The writing operations of a recording of every access, in order of their begins. `in_order` are
/// all accesses by time. Empty when the flags of no map were watched.
pub fn operations(in_order: &[Touch], recording: &Recording) -> Vec<Bracket> {
    let mut open = FxHashMap::<(Who, u32), Open>::default();
    let mut done = Vec::new();
    for touch in in_order.iter().filter(|t| t.exact) {
        let (Some(map), Some(tid), Some(time)) = (touch.map, touch.tid, touch.time) else {
            continue;
        };
        let who = touch
            .g
            .map_or(Who::Thread(tid), |g| Who::Goroutine(touch.pid, g));
        for ((_, of), other) in &mut open {
            if *of == map && !other.is_of(touch) {
                other.bracket.between.push(touch.n);
            }
        }
        let store = touch.phase().filter(|_| touch.is_store());
        let operation = touch.operation().filter(|&operation| writes(operation));
        if let (Some(Phase::SetFlag), Some(operation)) = (store, operation) {
            let mut own = Open::new(operation, map, touch, time);
            own.add(touch);
            // One that is still open has been cleared unseen.
            open.insert((who, map), own);
        } else if let Some(own) = open.get_mut(&(who, map)) {
            own.add(touch);
            if store == Some(Phase::ClearFlag) {
                own.bracket.end_ns = Some(time);
                done.extend(open.remove(&(who, map)));
            }
        } else if let (Some(Phase::ClearFlag), Who::Thread(_)) = (store, who) {
            // A goroutine that came from another thread: from which one is not known.
            open.retain(|(by, of), _| *of != map || matches!(by, Who::Goroutine(..)));
        }
    }
    let ended = |open: &Open| recording.space.has_ended(open.pid);
    done.extend(open.into_values().filter(ended));
    let mut done: Vec<Bracket> = done.into_iter().map(|open| open.bracket).collect();
    if !done.is_empty() {
        let losses = losses(recording, in_order);
        let end = |b: &Bracket| b.end_ns.unwrap_or(u64::MAX);
        done.retain(|b| !losses.iter().any(|loss| loss.meets(b.begin_ns, end(b))));
    }
    done.sort_by_key(|bracket| (bracket.begin_ns, bracket.tid));
    done
}

struct Open {
    bracket: Bracket,
    pid: i32,
    /// Where its goroutine was seen last.
    thread: Option<i32>,
    swiss: bool,
    seen: BTreeSet<Phase>,
    highest: Option<(u8, Phase)>,
}

impl Open {
    fn new(operation: Operation, map: u32, touch: &Touch, begin_ns: u64) -> Open {
        Open {
            bracket: Bracket {
                operation,
                map,
                tid: touch.tid.unwrap_or(0),
                g: touch.g,
                begin_ns,
                end_ns: None,
                samples: Vec::new(),
                phases: Vec::new(),
                between: Vec::new(),
                deviations: Vec::new(),
            },
            pid: touch.pid,
            thread: touch.tid,
            swiss: touch.part == Some(Part::MapWriting),
            seen: BTreeSet::new(),
            highest: None,
        }
    }

    /// Whether an access is of its goroutine, or of what the runtime does on that one's thread.
    fn is_of(&self, touch: &Touch) -> bool {
        match (self.bracket.g, touch.g) {
            (Some(own), Some(other)) => own == other && self.pid == touch.pid,
            _ => self.thread == touch.tid,
        }
    }

    fn add(&mut self, touch: &Touch) {
        self.thread = touch.tid;
        let bracket = &mut self.bracket;
        bracket.samples.push(touch.n);
        let Some(phase) = touch.phase().filter(|_| touch.is_store()) else {
            return;
        };
        if self.seen.insert(phase) {
            bracket.phases.push(phase);
        }
        let Some(rank) = rank(bracket.operation, self.swiss, phase) else {
            return;
        };
        // A bucket that is evacuated on the way has stores of its own operation.
        if touch.operation() != Some(bracket.operation) {
            return;
        }
        match self.highest {
            Some((highest, after)) if highest > rank => bracket.deviations.push(Deviation {
                sample: touch.n,
                phase,
                after,
            }),
            _ => self.highest = Some((rank, phase)),
        }
    }
}
