//! Writing operations as they happened: on a recording of every access to a map's flags, an operation
//! begins with the store that sets `hashWriting` (`writing`) and ends with the one that clears it.
//!
//! Source: `mapassign`, `mapdelete`, `mapclear` of `runtime/map.go` (up to Go 1.23), and `PutSlot`,
//! `Delete`, `Clear` of `internal/runtime/maps` (from 1.24).

use super::touch::Touch;
use crate::attribute::{Operation, Phase};
use crate::gomap::Part;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::BTreeSet;

/// One operation of one thread on one map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bracket {
    pub operation: Operation,
    /// Index into `Attribution::maps`.
    pub map: u32,
    pub tid: i32,
    /// Time of the store that set the flag, and of the one that cleared it; nanoseconds.
    pub begin_ns: u64,
    /// `None`: the recording ends inside of the operation.
    pub end_ns: Option<u64>,
    /// Indexes of its samples.
    pub samples: Vec<usize>,
    /// The phases of its stores, each once, in the order in which they came by first.
    pub phases: Vec<Phase>,
    /// Accesses of other threads to the map between its begin and its end.
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

/// The word that says that somebody writes.
pub fn is_flag(part: Part) -> bool {
    matches!(part, Part::HmapFlags | Part::MapWriting)
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

/// The writing operations of a recording of every access, in order of their begins. `in_order` are
/// all accesses by time. Empty when the flags of no map were watched.
pub fn operations(in_order: &[Touch]) -> Vec<Bracket> {
    let mut open = FxHashMap::<(i32, u32), Open>::default();
    let mut done = Vec::new();
    for touch in in_order.iter().filter(|t| t.exact) {
        let (Some(map), Some(tid), Some(time)) = (touch.map, touch.tid, touch.time) else {
            continue;
        };
        for (key, other) in &mut open {
            if key.1 == map && key.0 != tid {
                other.bracket.between.push(touch.n);
            }
        }
        let flag = touch.part.is_some_and(is_flag) && touch.is_store();
        let operation = touch.operation();
        if let Some(own) = open.get_mut(&(tid, map)) {
            own.add(touch);
            // Growth inside of an operation leaves `hashWriting` alone.
            if flag && operation.is_some_and(writes) {
                own.bracket.end_ns = Some(time);
                done.extend(open.remove(&(tid, map)).map(|open| open.bracket));
            }
        } else if let (true, Some(operation)) = (flag, operation.filter(|&o| writes(o))) {
            let mut own = Open::new(operation, map, tid, time);
            own.swiss = touch.part == Some(Part::MapWriting);
            own.add(touch);
            open.insert((tid, map), own);
        }
    }
    done.extend(open.into_values().map(|open| open.bracket));
    done.sort_by_key(|bracket| (bracket.begin_ns, bracket.tid));
    done
}

struct Open {
    bracket: Bracket,
    swiss: bool,
    seen: BTreeSet<Phase>,
    highest: Option<(u8, Phase)>,
}

impl Open {
    fn new(operation: Operation, map: u32, tid: i32, begin_ns: u64) -> Open {
        Open {
            bracket: Bracket {
                operation,
                map,
                tid,
                begin_ns,
                end_ns: None,
                samples: Vec::new(),
                phases: Vec::new(),
                between: Vec::new(),
                deviations: Vec::new(),
            },
            swiss: false,
            seen: BTreeSet::new(),
            highest: None,
        }
    }

    fn add(&mut self, touch: &Touch) {
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
