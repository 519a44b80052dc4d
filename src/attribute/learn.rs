//! What samples with certain objects teach about the others: which header an array, a table or a
//! bucket belongs to, and which memory is a map's, each for the time that the evidence spans.

use super::row::{About, Fact, ON_STACK};
use super::statements::Until;
use super::types::{TypeId, Types};
use crate::gomap::{Layout, Part, Structure};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// An object's owner as one sample saw it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    time: u64,
    header: u64,
    table: u64,
    value: u64,
    map_type: Option<TypeId>,
}

/// Memory that held one structure, no bucket and no group, from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object {
    pub start: u64,
    /// Exclusive.
    pub end: u64,
    pub about: About,
    pub header: u64,
    pub map_type: Option<TypeId>,
    pub first: u64,
    pub last: u64,
}

/// A bucket array or the groups of a table, whose start a sample saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KnownArray {
    pub start: u64,
    /// Buckets or groups, where it was seen.
    pub len: Option<u64>,
    pub map_type: TypeId,
    pub header: u64,
    /// The Swiss table that it belongs to.
    table: u64,
    pub first: u64,
    pub last: u64,
}

#[derive(Debug, Default)]
pub struct Learned {
    seen: FxHashMap<(About, u64), Vec<Seen>>,
    /// By header: when it was seen to be of which type.
    types: FxHashMap<u64, Vec<(u64, TypeId)>>,
    /// Sorted by start.
    objects: Vec<Object>,
    /// `max_end[i]`: the largest end of `objects[..=i]`, to know where a search may stop.
    max_end: Vec<u64>,
}

/// The last sample before `time` and the first from then on, which are these up to the time of the latter.
fn beside<'s, T>(
    seen: &'s [T],
    time_of: impl Fn(&T) -> u64,
    time: u64,
    until: &mut Until,
) -> (Option<&'s T>, Option<&'s T>) {
    let after = seen.partition_point(|s| time_of(s) < time);
    let before = after.checked_sub(1).and_then(|i| seen.get(i));
    let after = seen.get(after);
    if let Some(after) = after {
        until.at_most(time_of(after));
    }
    (before, after)
}

/// What the samples before and after `time` agree on: memory is reused, so one of them is no proof.
fn owner(seen: &[Seen], time: u64, until: &mut Until) -> Option<Seen> {
    match beside(seen, |s| s.time, time, until) {
        (Some(a), Some(b)) => (a.header == b.header).then_some(*a),
        _ => None,
    }
}

impl Learned {
    /// Builds the objects from all facts.
    pub fn from_facts(facts: &[Vec<Fact>], types: &Types) -> Learned {
        let mut learned = Learned::default();
        let facts = facts.iter().flatten();
        for fact in facts.clone().filter(|f| f.header != 0) {
            learned.see(fact, fact.header);
        }
        learned.sort();
        // Table code does not get the map: other samples tell whose the table is.
        let of_tables: Vec<(&Fact, u64)> = facts
            .filter(|f| f.header == 0 && f.table != 0)
            .filter_map(|f| {
                let until = &mut Until::always();
                let header = learned.header_of(About::Table, f.table, f.time, until)?;
                Some((f, header))
            })
            .collect();
        for (fact, header) in of_tables {
            learned.see(fact, header);
        }
        learned.sort();
        learned.objects = learned.build_objects(types);
        let mut end = 0;
        learned.max_end = learned
            .objects
            .iter()
            .map(|r| {
                end = end.max(r.end);
                end
            })
            .collect();
        learned
    }

    fn see(&mut self, fact: &Fact, header: u64) {
        if let (About::Header, Some(map_type)) = (fact.about, fact.map_type) {
            let seen = self.types.entry(fact.address).or_default();
            seen.push((fact.time, map_type));
        }
        self.seen
            .entry((fact.about, fact.address))
            .or_default()
            .push(Seen {
                time: fact.time,
                header,
                table: fact.table,
                value: fact.value,
                map_type: fact.map_type,
            });
    }

    fn sort(&mut self) {
        let lists = self.seen.par_iter_mut();
        lists.for_each(|(_, list)| list.sort_unstable_by_key(|s| (s.time, s.header)));
        let lists = self.types.par_iter_mut();
        lists.for_each(|(_, list)| list.sort_unstable());
    }

    /// The header that owned this object at `time`: what the samples before and after it agree on.
    pub fn header_of(
        &self,
        about: About,
        address: u64,
        time: u64,
        until: &mut Until,
    ) -> Option<u64> {
        owner(self.seen.get(&(about, address))?, time, until).map(|s| s.header)
    }

    /// Variables with the header that all samples that knew one agree on, whenever they were.
    pub fn variables(&self) -> impl Iterator<Item = (u64, u64)> {
        self.seen.iter().filter_map(|(&(about, variable), seen)| {
            let first = seen.first().filter(|_| about == About::Global)?.header;
            let same = seen.iter().all(|s| s.header == first);
            same.then_some((variable, first))
        })
    }

    /// Whether any sample knew the owner of this object.
    pub fn knows(&self, about: About, address: u64) -> bool {
        self.seen.contains_key(&(about, address))
    }

    /// As [`Learned::header_of`] for an object of a known type: before the first and after the last
    /// sample that knew the owner, it is what all of them agree on, as long as that is alive.
    pub fn header_of_typed(
        &self,
        about: About,
        address: u64,
        time: u64,
        map_type: TypeId,
        until: &mut Until,
    ) -> Option<u64> {
        let seen = self.seen.get(&(about, address))?;
        let (first, last) = (seen.first()?, seen.last()?);
        if until.is_in(time, first.time, last.time) {
            return None;
        }
        let same = seen.iter().all(|s| s.header == first.header);
        let lives = same.then(|| self.lives_as(first.header, time, until))?;
        (lives == Some(map_type)).then_some(first.header)
    }

    /// The type as which samples both before and after `time` saw this map.
    pub fn lives_as(&self, header: u64, time: u64, until: &mut Until) -> Option<TypeId> {
        match beside(self.types.get(&header)?, |(t, _)| *t, time, until) {
            (Some((_, before)), Some((_, after))) => (before == after).then_some(*before),
            _ => None,
        }
    }

    /// The directory of a map at `time`: what the samples before and after it agree on.
    pub fn directory_of(&self, header: u64, time: u64, until: &mut Until) -> Option<u64> {
        let seen = self.seen.get(&(About::Directory, header))?;
        match beside(seen, |s| s.time, time, until) {
            (Some(before), Some(after)) => (before.value == after.value).then_some(before.value),
            _ => None,
        }
    }

    /// The type of the map with this header at `time`: the one that was seen nearest.
    pub fn type_of(&self, header: u64, time: u64, until: &mut Until) -> Option<TypeId> {
        match beside(self.types.get(&header)?, |(t, _)| *t, time, until) {
            (Some((_, first)), Some((_, second))) if first == second => Some(*first),
            (Some((a, first)), Some((b, second))) => Some(if time - a <= b - time {
                // The middle between them.
                until.at_most(a + (b - a) / 2);
                *first
            } else {
                *second
            }),
            (Some((_, one)), None) | (None, Some((_, one))) => Some(*one),
            (None, None) => None,
        }
    }

    /// The object that covers `address` at `time`; `None` also when two maps claim it.
    pub fn at(&self, address: u64, time: u64, until: &mut Until) -> Option<Object> {
        let mut best: Option<Object> = None;
        let mut i = self.objects.partition_point(|r| r.start <= address);
        while let Some(before) = i.checked_sub(1) {
            i = before;
            if self.max_end[i] <= address {
                break;
            }
            let object = self.objects[i];
            if address >= object.end || !until.is_in(time, object.first, object.last) {
                continue;
            }
            match best {
                Some(known) if known.header != object.header => return None,
                _ => best = Some(object),
            }
        }
        best
    }

    /// The slot that points to a key or an elem outside of it: what the samples before and after `time`
    /// that know it agree on. Growth moves the pointer to another bucket, and slot.
    pub fn slot_of(&self, object: &Object, time: u64, until: &mut Until) -> Option<i8> {
        let seen = self.seen.get(&(object.about, object.start))?;
        let (before, after) = seen.split_at(seen.partition_point(|s| s.time < time));
        if let Some(next) = after.first() {
            until.at_most(next.time);
        }
        let known = |s: &&Seen| s.value != 0;
        let (before, after) = (before.iter().rev().find(known)?, after.iter().find(known)?);
        let same = before.value == after.value && before.header == after.header;
        i8::try_from(before.value - 1).ok().filter(|_| same)
    }

    /// Start and end of every object.
    pub fn spans(&self) -> impl Iterator<Item = (u64, u64)> {
        self.objects.iter().map(|o| (o.start, o.end))
    }

    fn build_objects(&self, types: &Types) -> Vec<Object> {
        let mut objects = Vec::new();
        for (&(about, start), seen) in &self.seen {
            // Which activation of the function the header is of, nothing tells; code of others that touches
            // a frame in between must not be taken for theirs.
            if about == About::Header && seen.iter().any(|s| s.value == ON_STACK) {
                continue;
            }
            for run in seen.chunk_by(|a, b| a.header == b.header) {
                let (Some(first), Some(last)) = (run.first(), run.last()) else {
                    continue;
                };
                let map_type = self.type_in(run);
                let shape = map_type.and_then(|t| types.get(t));
                let size = match about {
                    About::Header => HEADER_SIZE,
                    About::Table => TABLE_SIZE,
                    About::Extra => EXTRA_SIZE,
                    About::IndirectKey => shape.map_or(0, |t| t.key_size),
                    About::IndirectElem => shape.map_or(0, |t| t.elem_size),
                    _ => 0,
                };
                if size == 0 {
                    continue;
                }
                objects.push(Object {
                    start,
                    end: start.saturating_add(size),
                    about,
                    header: first.header,
                    map_type,
                    first: first.time,
                    last: last.time,
                });
            }
        }
        objects.sort_unstable_by_key(|r| (r.start, r.first, r.about));
        objects
    }

    fn type_in(&self, run: &[Seen]) -> Option<TypeId> {
        let first = run.first()?;
        run.iter()
            .find_map(|s| s.map_type)
            .or_else(|| self.type_of(first.header, first.time, &mut Until::always()))
    }

    /// The arrays that each header or table used one after the other, each from the first to the
    /// last sample that saw it between those that saw its neighbours.
    pub fn arrays(&self) -> Vec<KnownArray> {
        let mut uses: FxHashMap<(About, u64, u64), Vec<(u64, Seen)>> = FxHashMap::default();
        for (&(about, start), seen) in &self.seen {
            if matches!(about, About::Array | About::OldArray) {
                for s in seen {
                    uses.entry((about, s.header, s.table))
                        .or_default()
                        .push((start, *s));
                }
            }
        }
        let mut uses: Vec<_> = uses.into_iter().collect();
        uses.sort_unstable_by_key(|(key, _)| *key);
        let mut arrays = Vec::new();
        // What the length of an array was while it was current holds for it when it is old.
        let mut lens: FxHashMap<(u64, u64, u64), u64> = FxHashMap::default();
        for ((about, header, table), mut timeline) in uses {
            timeline.sort_unstable_by_key(|(start, s)| (s.time, *start));
            for run in timeline.chunk_by(|a, b| a.0 == b.0) {
                let (Some((start, first)), Some((_, last))) = (run.first(), run.last()) else {
                    continue;
                };
                let map_type = run
                    .iter()
                    .find_map(|(_, s)| s.map_type)
                    .or_else(|| self.type_of(header, first.time, &mut Until::always()));
                let Some(map_type) = map_type else {
                    continue;
                };
                let mut array = KnownArray {
                    start: *start,
                    len: None,
                    map_type,
                    header,
                    table,
                    first: first.time,
                    last: last.time,
                };
                array.len = match about {
                    About::Array => self.len_of(&array),
                    _ => lens.get(&(header, table, *start)).copied(),
                };
                if let Some(len) = array.len {
                    lens.insert((header, table, *start), len);
                }
                arrays.push(array);
            }
        }
        arrays
    }

    /// The length that most samples saw while this was the current array.
    fn len_of(&self, array: &KnownArray) -> Option<u64> {
        let (owner, classic) = match array.table {
            0 => (array.header, true),
            table => (table, false),
        };
        let seen = self.seen.get(&(About::Len, owner))?;
        let inside = seen
            .iter()
            .filter(|s| (array.first..=array.last).contains(&s.time));
        let mut counts: FxHashMap<u64, u32> = FxHashMap::default();
        for s in inside {
            *counts.entry(s.value).or_default() += 1;
        }
        let (len, _) = counts.into_iter().max_by_key(|&(len, n)| (n, len))?;
        // Arrays of 16 buckets and more have a sixteenth of overflow buckets behind them
        // (makeBucketArray).
        Some(if classic && len >= 16 {
            len + len / 16
        } else {
            len
        })
    }
}

/// `hmap` without `noswissmap`'s last word, and `Map`: what both are at least.
const HEADER_SIZE: u64 = 48;
const TABLE_SIZE: u64 = 32;
const EXTRA_SIZE: u64 = 24;

/// The part at an offset of a structure that is no bucket or group.
pub fn part_at(about: About, off: u64, layout: &Layout) -> Option<Part> {
    let structure = match about {
        About::Header => Structure::Header,
        About::Extra => Structure::Extra,
        About::Table => Structure::Table,
        About::IndirectKey => return Some(Part::IndirectKey),
        About::IndirectElem => return Some(Part::IndirectElem),
        _ => return None,
    };
    layout.field_at(structure, off)?.part
}
