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
    /// Sorted by start.
    regions: Vec<Region>,
    /// `max_end[i]`: the largest end of `regions[..=i]`, to know where a search may stop.
    max_end: Vec<u64>,
}

/// How the header's address and its type bear on an object that several saw.
fn owner(seen: &[Seen], time: u64) -> Option<Seen> {
    let after = seen.partition_point(|s| s.time < time);
    let before = after.checked_sub(1).and_then(|i| seen.get(i));
    match (before, seen.get(after)) {
        (Some(a), Some(b)) if a.header == b.header => Some(*a),
        (Some(_), Some(_)) => None,
        (Some(one), None) | (None, Some(one)) => Some(*one),
        (None, None) => None,
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
    }

    /// The header that owned this object at `time`: what the samples before and after it agree on.
    pub fn header_of(&self, about: About, address: u64, time: u64) -> Option<u64> {
        owner(self.seen.get(&(about, address))?, time).map(|s| s.header)
    }

    /// The type of the map with this header at `time`.
    pub fn type_of(&self, header: u64, time: u64) -> Option<TypeId> {
        let seen = self.seen.get(&(About::Header, header))?;
        let known = |s: &&Seen| s.map_type.is_some();
        let after = seen.partition_point(|s| s.time < time).min(seen.len());
        let before = seen[..after].iter().rev().find(known);
        let next = seen[after..].iter().find(known);
        match (before, next) {
            (Some(a), Some(b)) if a.map_type != b.map_type => {
                if time - a.time <= b.time - time {
                    a.map_type
                } else {
                    b.map_type
                }
            }
            (Some(one), _) | (None, Some(one)) => one.map_type,
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
                && (base - region.start) % region.stride == 0
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
        let mut regions = Vec::new();
        for (&(about, start), seen) in &self.seen {
            for run in seen.chunk_by(|a, b| a.header == b.header) {
                let (Some(first), Some(last)) = (run.first(), run.last()) else {
                    continue;
                };
                let map_type = run
                    .iter()
                    .find_map(|s| s.map_type)
                    .or_else(|| self.type_of(first.header, first.time));
                let shape = map_type.and_then(|t| types.get(t));
                let size = match about {
                    About::Header => HEADER_SIZE,
                    About::Table => TABLE_SIZE,
                    About::Extra => EXTRA_SIZE,
                    About::Array | About::Bucket => shape.map_or(0, |t| t.shape.stride()),
                    About::Indirect => shape.map_or(0, |t| t.elem_size),
                    About::Directory | About::Len => 0,
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
                    table: run.iter().map(|s| s.table).find(|t| *t != 0).unwrap_or(0),
                    first: first.time,
                    last: last.time,
                });
            }
        }
        regions.sort_unstable_by_key(|r| (r.start, r.first, r.about));
        self.widen_arrays(&mut regions);
        regions
    }
}

/// `hmap` without `noswissmap`'s last word, and `Map`: what both are at least.
const HEADER_SIZE: u64 = 48;
const TABLE_SIZE: u64 = 32;
const EXTRA_SIZE: u64 = 24;

/// Buckets that may lie unseen between two that were seen, where the length is not known.
const MAX_UNSEEN: u64 = 16;

impl Learned {
    /// Extends each array over its buckets: to the length that the header or table was seen to have
    /// while the array was in use, else as far as its buckets were seen.
    fn widen_arrays(&self, regions: &mut [Region]) {
        let buckets: Vec<Region> = regions
            .iter()
            .filter(|r| r.about == About::Bucket)
            .copied()
            .collect();
        for array in regions.iter_mut().filter(|r| r.about == About::Array) {
            let known = self.len_of(array);
            let from = buckets.partition_point(|b| b.start < array.start);
            let mut len = known.unwrap_or(1);
            for bucket in &buckets[from..] {
                let distance = bucket.start - array.start;
                let index = distance / array.stride;
                if index >= known.unwrap_or(len + MAX_UNSEEN) {
                    break;
                }
                if bucket.header == array.header && distance % array.stride == 0 {
                    len = len.max(index + 1);
                    array.first = array.first.min(bucket.first);
                    array.last = array.last.max(bucket.last);
                }
            }
            array.end = array.start.saturating_add(len.saturating_mul(array.stride));
        }
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
