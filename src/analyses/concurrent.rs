//! Two threads inside of operations on one map at the same time, one of them writing.
//!
//! An overlap is claimed only where an access of thread B lies between two accesses that thread A made
//! in one and the same operation: before A's first or after A's last one B may hold the lock. On a
//! recording of every access an operation is what lies between setting and clearing the flag. Among
//! samples it is not known where an operation ends: two samples of one thread count as one operation
//! when they are of the same kind of operation and no more than the window apart, which is shorter
//! than handing a lock over to another CPU and getting it back takes (two transfers of its line).

use super::operations::{Bracket, writes};
use super::touch::Touch;
use crate::attribute::Operation;
use crate::gomap::Part;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::cmp::Reverse;

/// Nanoseconds between two samples of one operation, at most: a line goes to another CPU and back in
/// some 100 to 200 ns on one socket.
pub const WINDOW_NS: u64 = 100;

/// What the two do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clash {
    WriteWrite,
    IterateWrite,
    ReadWrite,
}

impl Clash {
    /// What Go's runtime throws when it notices.
    pub fn fatal(self) -> &'static str {
        match self {
            Clash::WriteWrite => "fatal error: concurrent map writes",
            Clash::IterateWrite => "fatal error: concurrent map iteration and map write",
            Clash::ReadWrite => "fatal error: concurrent map read and map write",
        }
    }

    fn of(a: Operation, b: Operation) -> Option<Clash> {
        match (writes(a), writes(b)) {
            (true, true) => Some(Clash::WriteWrite),
            (false, false) => None,
            _ if a == Operation::Iterate || b == Operation::Iterate => Some(Clash::IterateWrite),
            _ => Some(Clash::ReadWrite),
        }
    }
}

/// How likely the runtime notices, the most likely first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Danger {
    /// The other thread accessed the flag itself while it was set.
    FlagRead,
    /// It was in the map while the flag was set, and was not seen to access the flag.
    FlagSet,
    /// Whether the flag was set is not recorded.
    FlagUnknown,
}

/// One kind of overlap of two threads on one map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// Index into `Attribution::maps`.
    pub map: u32,
    pub clash: Clash,
    pub danger: Danger,
    /// The thread whose operation was not over, and the other one.
    pub tids: (i32, i32),
    pub operations: (Operation, Operation),
    /// Accesses of the second thread inside of operations of the first one.
    pub accesses: u64,
    /// The first of them: sample before, the other thread's, sample after (the same as the one before
    /// where the recording ends inside of the operation).
    pub first: (usize, usize, usize),
}

/// All overlaps: those that are likelier to crash first, then the more frequent. `brackets` are those
/// of [`super::operations::operations`], `in_order` all accesses by time.
pub fn concurrent(in_order: &[Touch], brackets: &[Bracket], window_ns: u64) -> Vec<Overlap> {
    let mut found = FxHashMap::<Key, Overlap>::default();
    let by_sample: FxHashMap<usize, &Touch> = match brackets.is_empty() {
        true => FxHashMap::default(),
        false => in_order.iter().map(|t| (t.n, t)).collect(),
    };
    for bracket in brackets {
        let (Some(&first), Some(&last)) = (bracket.samples.first(), bracket.samples.last()) else {
            continue;
        };
        for other in bracket.between.iter().filter_map(|n| by_sample.get(n)) {
            let flag = other.part.is_some_and(Part::is_flag);
            let danger = if flag {
                Danger::FlagRead
            } else {
                Danger::FlagSet
            };
            let one = (bracket.map, bracket.tid, bracket.operation);
            add(&mut found, one, other, danger, (first, last));
        }
    }
    sampled(in_order, window_ns, &mut found);
    let mut all: Vec<Overlap> = found.into_values().collect();
    all.sort_by_key(|o| (o.danger, o.clash, Reverse(o.accesses), o.map, o.tids));
    all
}

type Key = (u32, Clash, Danger, i32, i32, Operation, Operation);

fn add(
    found: &mut FxHashMap<Key, Overlap>,
    (map, tid, operation): (u32, i32, Operation),
    other: &Touch,
    danger: Danger,
    (before, after): (usize, usize),
) {
    let (Some(theirs), Some(other_tid)) = (other.operation(), other.tid) else {
        return;
    };
    let Some(clash) = Clash::of(operation, theirs) else {
        return;
    };
    let key = (map, clash, danger, tid, other_tid, operation, theirs);
    let overlap = found.entry(key).or_insert_with(|| Overlap {
        map,
        clash,
        danger,
        tids: (tid, other_tid),
        operations: (operation, theirs),
        accesses: 0,
        first: (before, other.n, after),
    });
    overlap.accesses = overlap.accesses.saturating_add(1);
}

/// Samples of several threads, map by map.
fn sampled(in_order: &[Touch], window_ns: u64, found: &mut FxHashMap<Key, Overlap>) {
    let mut by_map = FxHashMap::<u32, Vec<&Touch>>::default();
    for touch in in_order
        .iter()
        .filter(|t| !t.exact && t.operation().is_some())
    {
        if let (Some(map), Some(_), Some(_)) = (touch.map, touch.tid, touch.time) {
            by_map.entry(map).or_default().push(touch);
        }
    }
    for (map, touches) in by_map {
        for (i, a) in touches.iter().enumerate() {
            let Some(operation) = a.operation() else {
                continue;
            };
            let end = a.time.unwrap_or(0).saturating_add(window_ns);
            let later = touches.iter().skip(i + 1);
            let mut between = Vec::new();
            for t in later.take_while(|t| t.time.unwrap_or(0) <= end) {
                if t.tid != a.tid {
                    between.push(*t);
                } else {
                    if t.operation() == Some(operation) {
                        for other in &between {
                            let one = (map, a.tid.unwrap_or(0), operation);
                            add(found, one, other, Danger::FlagUnknown, (a.n, t.n));
                        }
                    }
                    break;
                }
            }
        }
    }
}
