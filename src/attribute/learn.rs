//! What samples with certain objects teach about the others: which header an array, a table or a
//! bucket belongs to, and which memory is a map's, each for the time that the evidence spans.

use super::resolve::{About, Fact};
use super::types::{TypeId, Types};
use crate::gomap::{Layout, Part, Spot, Structure};
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

/// A stretch of memory that held one structure from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    pub start: u64,
    /// Exclusive.
    pub end: u64,
    /// Bytes of one bucket or group; of the whole for other structures.
    pub stride: u64,
    pub about: About,
    pub header: u64,
    pub map_type: Option<TypeId>,
    /// The Swiss table that an array belongs to.
    table: u64,
    pub first: u64,
    pub last: u64,
}

/// Where an address lies in a learned region.
#[derive(Debug, Clone, Copy)]
pub struct Hit {
    pub region: Region,
    pub base: u64,
    pub spot: Option<Spot>,
}

#[derive(Debug, Default)]
pub struct Learned {
    seen: FxHashMap<(About, u64), Vec<Seen>>,
    /// By header: when it was seen to be of which type.
    types: FxHashMap<u64, Vec<(u64, TypeId)>>,
    /// Sorted by start.
    regions: Vec<Region>,
    /// `max_end[i]`: the largest end of `regions[..=i]`, to know where a search may stop.
    max_end: Vec<u64>,
}

/// What the samples before and after `time` agree on: memory is reused, so one of them is no proof.
fn owner(seen: &[Seen], time: u64) -> Option<Seen> {
    let after = seen.partition_point(|s| s.time < time);
    let before = after.checked_sub(1).and_then(|i| seen.get(i));
    match (before, seen.get(after)) {
        (Some(a), Some(b)) if a.header == b.header => Some(*a),
        _ => None,
    }
}

impl Learned {
    /// Builds the regions from all facts.
    pub fn from_facts(facts: &[Fact], types: &Types) -> Learned {
        let mut learned = Learned::default();
        for fact in facts.iter().filter(|f| f.header != 0) {
            learned.see(fact, fact.header);
        }
        learned.sort();
        // Table code does not get the map: other samples tell whose the table is.
        let of_tables: Vec<(&Fact, u64)> = facts
            .iter()
            .filter(|f| f.header == 0 && f.table != 0)
            .filter_map(|f| Some((f, learned.header_of(About::Table, f.table, f.time)?)))
            .collect();
        for (fact, header) in of_tables {
            learned.see(fact, header);
        }
        learned.sort();
        learned.regions = learned.build_regions(types);
        let mut end = 0;
        learned.max_end = learned
            .regions
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
        for list in self.seen.values_mut() {
            list.sort_unstable_by_key(|s| (s.time, s.header));
        }
        for list in self.types.values_mut() {
            list.sort_unstable();
        }
    }

    /// The header that owned this object at `time`: what the samples before and after it agree on.
    pub fn header_of(&self, about: About, address: u64, time: u64) -> Option<u64> {
        owner(self.seen.get(&(about, address))?, time).map(|s| s.header)
    }

    /// The type of the map with this header at `time`: the one that was seen nearest.
    pub fn type_of(&self, header: u64, time: u64) -> Option<TypeId> {
        let seen = self.types.get(&header)?;
        let after = seen.partition_point(|(t, _)| *t < time);
        let before = after.checked_sub(1).and_then(|i| seen.get(i));
        match (before, seen.get(after)) {
            (Some((a, first)), Some((b, second))) => Some(if time - a <= b - time {
                *first
            } else {
                *second
            }),
            (Some((_, one)), None) | (None, Some((_, one))) => Some(*one),
            (None, None) => None,
        }
    }

    /// The array that a bucket or group of this map lies in at `time`.
    pub fn array_of(&self, base: u64, header: u64, time: u64) -> Option<&Region> {
        if base == 0 {
            return None;
        }
        let mut i = self.regions.partition_point(|r| r.start <= base);
        while let Some(before) = i.checked_sub(1) {
            i = before;
            if self.max_end[i] <= base {
                return None;
            }
            let region = &self.regions[i];
            let fits = region.about == About::Array
                && base < region.end
                && region.header == header
                && region.stride != 0
                && (base - region.start).is_multiple_of(region.stride)
                && (region.first..=region.last).contains(&time);
            if fits {
                return Some(region);
            }
        }
        None
    }

    /// The region that covers `address` at `time`; the narrowest when several do. `None` also when
    /// two maps claim it.
    pub fn at(&self, address: u64, time: u64, types: &Types) -> Option<Hit> {
        let mut best: Option<Region> = None;
        let mut i = self.regions.partition_point(|r| r.start <= address);
        while let Some(before) = i.checked_sub(1) {
            i = before;
            if self.max_end[i] <= address {
                break;
            }
            let region = self.regions[i];
            let covers = address < region.end && (region.first..=region.last).contains(&time);
            if !covers {
                continue;
            }
            best = match best {
                None => Some(region),
                Some(known) if known.header != region.header => return None,
                Some(known) => {
                    let narrower = region.end - region.start < known.end - known.start;
                    Some(if narrower { region } else { known })
                }
            };
        }
        let region = best?;
        let base = match region.stride {
            0 => region.start,
            stride => region.start + (address - region.start) / stride * stride,
        };
        let spot = match region.about {
            About::Array | About::Bucket => {
                Some(types.get(region.map_type?)?.spot_at(address - base)?)
            }
            _ => None,
        };
        Some(Hit { region, base, spot })
    }

    fn build_regions(&self, types: &Types) -> Vec<Region> {
        let mut regions = self.arrays(types);
        for (&(about, start), seen) in &self.seen {
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
                    About::Bucket => shape.map_or(0, |t| t.shape.stride()),
                    About::Indirect => shape.map_or(0, |t| t.elem_size),
                    About::Array | About::OldArray | About::Directory | About::Len => 0,
                    About::Global => 0,
                };
                if size == 0 {
                    continue;
                }
                regions.push(Region {
                    start,
                    end: start.saturating_add(size),
                    stride: size,
                    about,
                    header: first.header,
                    map_type,
                    table: 0,
                    first: first.time,
                    last: last.time,
                });
            }
        }
        regions.sort_unstable_by_key(|r| (r.start, r.first, r.about));
        regions
    }

    fn type_in(&self, run: &[Seen]) -> Option<TypeId> {
        let first = run.first()?;
        run.iter()
            .find_map(|s| s.map_type)
            .or_else(|| self.type_of(first.header, first.time))
    }

    /// The arrays that each header or table used one after the other. An array was surely in use
    /// from the first to the last sample that saw it between those that saw its neighbours.
    fn arrays(&self, types: &Types) -> Vec<Region> {
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
        let mut buckets: Vec<(u64, Seen)> = Vec::new();
        for (&(about, start), seen) in &self.seen {
            if about == About::Bucket {
                buckets.extend(seen.iter().map(|s| (start, *s)));
            }
        }
        buckets.sort_unstable_by_key(|(start, s)| (*start, s.time));
        let mut regions = self.stretches(&buckets, types);
        // What the length of an array was while it was current holds for it when it is old.
        let mut lens: FxHashMap<(u64, u64, u64), u64> = FxHashMap::default();
        let mut uses: Vec<_> = uses.into_iter().collect();
        uses.sort_unstable_by_key(|(key, _)| *key);
        for ((about, header, table), mut timeline) in uses {
            timeline.sort_unstable_by_key(|(start, s)| (s.time, *start));
            let runs: Vec<&[(u64, Seen)]> = timeline.chunk_by(|a, b| a.0 == b.0).collect();
            for (i, run) in runs.iter().enumerate() {
                let (Some((start, first)), Some((_, last))) = (run.first(), run.last()) else {
                    continue;
                };
                let seen: Vec<Seen> = run.iter().map(|(_, s)| *s).collect();
                let Some(map_type) = self.type_in(&seen) else {
                    continue;
                };
                let Some(stride) = types.get(map_type).map(|t| t.shape.stride()) else {
                    continue;
                };
                let before = i.checked_sub(1).and_then(|i| runs[i].last());
                let after = runs.get(i + 1).and_then(|r| r.first());
                let possible =
                    before.map_or(0, |(_, s)| s.time)..=after.map_or(u64::MAX, |(_, s)| s.time);
                let mut array = Region {
                    start: *start,
                    end: start.saturating_add(stride),
                    stride,
                    about: About::Array,
                    header,
                    map_type: Some(map_type),
                    table,
                    first: first.time,
                    last: last.time,
                };
                let len = match about {
                    About::Array => self.len_of(&array),
                    _ => lens.get(&(header, table, *start)).copied(),
                };
                if let Some(len) = len {
                    lens.insert((header, table, *start), len);
                }
                widen(&mut array, len, &buckets, possible);
                regions.push(array);
            }
        }
        regions
    }

    /// Stretches of arrays of which the start was not seen: buckets of one map, congruent modulo
    /// their size across the 8 KiB pages of Go's heap. Single buckets (overflow buckets) begin anew
    /// in each page, so they are not congruent across one. Where another map's bucket was seen in the
    /// stretch, the memory changed hands, and a new stretch begins.
    fn stretches(&self, buckets: &[(u64, Seen)], types: &Types) -> Vec<Region> {
        let mut by_map: FxHashMap<(u64, u64), Vec<(u64, Seen)>> = FxHashMap::default();
        for bucket in buckets {
            by_map
                .entry((bucket.1.header, bucket.1.table))
                .or_default()
                .push(*bucket);
        }
        let mut by_map: Vec<_> = by_map.into_iter().collect();
        by_map.sort_unstable_by_key(|(key, _)| *key);
        let mut regions = Vec::new();
        for ((header, table), of_map) in by_map {
            let seen: Vec<Seen> = of_map.iter().map(|(_, s)| *s).collect();
            let Some(map_type) = self.type_in(&seen) else {
                continue;
            };
            let Some(stride) = types.get(map_type).map(|t| t.shape.stride()) else {
                continue;
            };
            if stride == 0 {
                continue;
            }
            let joined = |a: &(u64, Seen), b: &(u64, Seen)| {
                let distance = b.0 - a.0;
                distance.is_multiple_of(stride) && distance / stride <= MAX_UNSEEN
            };
            for run in of_map.chunk_by(joined) {
                let (Some((start, _)), Some((last, _))) = (run.first(), run.last()) else {
                    continue;
                };
                if start / PAGE == last / PAGE {
                    continue;
                }
                let from = buckets.partition_point(|(base, _)| base < start);
                let mut strangers: Vec<u64> = buckets[from..]
                    .iter()
                    .take_while(|(base, _)| base <= last)
                    .filter(|(_, s)| s.header != header)
                    .map(|(_, s)| s.time)
                    .collect();
                strangers.sort_unstable();
                let mut run = run.to_vec();
                run.sort_unstable_by_key(|(_, s)| s.time);
                let era = |s: &Seen| strangers.partition_point(|t| *t < s.time);
                for run in run.chunk_by(|a, b| era(&a.1) == era(&b.1)) {
                    let bases = run.iter().map(|(base, _)| *base);
                    let times = run.iter().map(|(_, s)| s.time);
                    regions.push(Region {
                        start: bases.clone().min().unwrap_or(0),
                        end: bases.max().unwrap_or(0).saturating_add(stride),
                        stride,
                        about: About::Bucket,
                        header,
                        map_type: Some(map_type),
                        table,
                        first: times.clone().min().unwrap_or(0),
                        last: times.max().unwrap_or(0),
                    });
                }
            }
        }
        regions
    }

    /// The length that most samples saw while this was the current array.
    fn len_of(&self, array: &Region) -> Option<u64> {
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

/// Buckets that may lie unseen between two that were seen, where the length is not known.
const MAX_UNSEEN: u64 = 64;

/// A page of Go's heap (`runtime/internal/sys`, `_PageSize`): spans of small objects begin at one.
const PAGE: u64 = 8192;

/// Extends an array over its buckets: to the length that its owner was seen to have while it was
/// in use, else as far as its buckets were seen; and its time by theirs.
fn widen(
    array: &mut Region,
    known: Option<u64>,
    buckets: &[(u64, Seen)],
    possible: std::ops::RangeInclusive<u64>,
) {
    if array.stride == 0 {
        return;
    }
    let from = buckets.partition_point(|(start, _)| *start < array.start);
    let mut len = known.unwrap_or(1);
    for (start, s) in &buckets[from..] {
        let distance = start - array.start;
        let index = distance / array.stride;
        if index >= known.unwrap_or(len + MAX_UNSEEN) {
            break;
        }
        let ours = s.header == array.header && distance.is_multiple_of(array.stride);
        if ours && possible.contains(&s.time) {
            len = len.max(index + 1);
            array.first = array.first.min(s.time);
            array.last = array.last.max(s.time);
        }
    }
    array.end = array.start.saturating_add(len.saturating_mul(array.stride));
}

/// The part at an offset of a structure that is no bucket or group.
pub fn part_at(about: About, off: u64, layout: &Layout) -> Option<Part> {
    let structure = match about {
        About::Header => Structure::Header,
        About::Extra => Structure::Extra,
        About::Table => Structure::Table,
        About::Indirect => return Some(Part::IndirectElem),
        _ => return None,
    };
    layout.field_at(structure, off)?.part
}
