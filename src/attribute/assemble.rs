//! From rows to the columns of the [`Attribution`], with maps and arrays by number.

use super::chains::ChainSites;
use super::hits::{self, Hit, Hits};
use super::lasting::Lasting;
use super::learn::{KnownArray, Learned};
use super::names::{Names, in_order};
use super::places::Places;
use super::regions::{Last, Region, Regions};
use super::row::{Row, VARIABLE, about_bucket};
use super::rows::Rows;
use super::spaces::Spaces;
use super::statements::{CHUNK, Said, Until};
use super::types::{TypeId, Types};
use super::{Array, Attribution, Contradiction, Evidence, NONE, Reason};
use crate::gomap::Part;
use crate::heap::Heap;
use crate::program::Program;
use crate::recording::Recording;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Arrays by number.
#[derive(Default)]
struct Arrays {
    /// By map and start.
    ids: FxHashMap<(u32, u64), u32>,
    /// Each with the first sample that hit it.
    seen: Vec<(u32, Array)>,
}

impl Arrays {
    /// The number of an array, of which so many buckets or groups were seen, the first by this sample.
    fn id_of(&mut self, first: u32, array: Array) -> u32 {
        let next = self.seen.len() as u32;
        let id = *self.ids.entry((array.map, array.base)).or_insert(next);
        match self.seen.get_mut(id as usize) {
            Some((sample, known)) => {
                *sample = first.min(*sample);
                known.len = array.len.max(known.len);
            }
            None => self.seen.push((first, array)),
        }
        id
    }

    /// Adds others, whose maps have these numbers; returns the number of each.
    fn add(&mut self, others: Arrays, maps: &[u32]) -> Vec<u32> {
        let add = |(first, array): (u32, Array)| {
            let map = renumbered(array.map, maps);
            self.id_of(first, Array { map, ..array })
        };
        others.seen.into_iter().map(add).collect()
    }

    /// Numbers the arrays as samples came by them, and their maps as these are; returns the new number of each.
    fn sort(&mut self, maps: &[u32]) -> Vec<u32> {
        for (_, array) in &mut self.seen {
            array.map = renumbered(array.map, maps);
        }
        self.ids.clear();
        in_order(&mut self.seen, |(first, _)| *first)
    }
}

fn renumbered(number: u32, numbers: &[u32]) -> u32 {
    numbers.get(number as usize).copied().unwrap_or(NONE)
}

/// What some samples hit, with maps and arrays by numbers of their own.
#[derive(Default)]
struct Numbered<'a> {
    names: Names<'a>,
    arrays: Arrays,
    hits: Vec<Hit>,
}

/// What all hit. Maps and arrays are numbered as samples come by them.
fn merged(parts: Vec<Numbered>) -> (Names, Arrays, Vec<Hit>) {
    let (mut names, mut arrays) = (Names::default(), Arrays::default());
    let parts = parts.into_iter().map(|part| {
        let maps = names.add(part.names);
        let arrays = arrays.add(part.arrays, &maps);
        (part.hits, maps, arrays)
    });
    let parts: Vec<(Vec<Hit>, Vec<u32>, Vec<u32>)> = parts.collect();
    let of_maps = names.sort();
    let of_arrays = arrays.sort(&of_maps);
    let mut hits = Vec::with_capacity(parts.iter().map(|(hits, ..)| hits.len()).sum());
    for (part, maps, arrays) in parts {
        hits.extend(part.into_iter().map(|hit| Hit {
            map: renumbered(renumbered(hit.map, &maps), &of_maps),
            array: renumbered(renumbered(hit.array, &arrays), &of_arrays),
            ..hit
        }));
    }
    (names, arrays, hits)
}

/// What names the maps and bounds the arrays.
struct Ground<'a> {
    recording: &'a Recording,
    chains: &'a ChainSites,
    learned: &'a Learned,
    lasting: &'a Lasting<'a>,
    regions: &'a Regions,
    spaces: &'a Spaces,
    /// Header and start of the known arrays, sorted.
    starts: Vec<(u64, u64)>,
}

/// Pieces of statements whose hits are numbered together.
const FOUND: usize = 1 << 15;

/// What samples of one statement hit that follow each other.
struct Found {
    /// Of the statement.
    number: u32,
    /// The time of the first of them.
    from: u64,
    /// The first of all samples that hit it.
    sample: u32,
    samples: u32,
    part: Result<Part, Reason>,
    ground: Where,
}

/// What lies around a row: each is [`NONE`] where it is not known.
#[derive(Clone, Copy, PartialEq)]
struct Where {
    map_type: TypeId,
    /// The region of its bucket or group, by number.
    region: u32,
}

impl<'a> Ground<'a> {
    /// What samples that say the same hit.
    fn found(&self, said: Said, last: &mut Last) -> Vec<Found> {
        let mut all: Vec<Found> = Vec::new();
        for (said, ground) in said.pieces(|row, until| self.around(row, last, until)) {
            let sample = said.samples.iter().copied().min().unwrap_or(NONE);
            let samples = said.samples.len() as u32;
            match all.last_mut().filter(|before| before.ground == ground) {
                Some(before) => {
                    before.sample = before.sample.min(sample);
                    before.samples += samples;
                }
                None => all.push(Found {
                    number: said.number,
                    from: said.row.time,
                    sample,
                    samples,
                    part: said.row.part,
                    ground,
                }),
            }
        }
        all
    }

    fn around(&self, row: &Row, last: &mut Last, until: &mut Until) -> Where {
        let region = about_bucket(row.part).then(|| {
            let here = self.regions.numbered_after(row.base, row.time, last, until);
            let own = here.filter(|(_, r)| r.header == row.header);
            own.min_by_key(|(number, r)| (!r.one_map, *number))
        });
        let map_type = match (row.map_type, row.header) {
            (None, header) if header != 0 && row.part.is_ok() => {
                self.learned.type_of(header, row.time, until)
            }
            (known, _) => known,
        };
        Where {
            map_type: map_type.unwrap_or(NONE),
            region: region.flatten().map_or(NONE, |(number, _)| number),
        }
    }

    /// What that is, with maps and arrays by the numbers that `all` gives.
    fn hit(&'a self, row: &Row, found: &Found, all: &mut Numbered<'a>) -> Hit {
        let Where { map_type, region } = found.ground;
        let region = self.regions.get(region).map(|r| (region, r));
        let map = if row.part.is_ok() {
            let site = self.chains.of_sample(self.recording, row.sample as usize);
            let space = self.spaces.mark_of(row.address);
            let of = Some(map_type).filter(|&id| id != NONE);
            // The region is the map where nothing else names it.
            let unnamed = row.header == 0 || row.header & VARIABLE != 0;
            let is_map = |r: &Region| r.one_map && unnamed && !self.lasting.keeps(row.header);
            let memory = region.filter(|(_, r)| is_map(r)).map(|(n, r)| (n, r.start));
            let samples = (found.sample, found.samples);
            let names = &mut all.names;
            names.map_of(row.header, of, memory, site, space, samples)
        } else {
            NONE
        };
        let (array, index) = match region {
            Some((_, region)) => {
                let (start, stride) = (self.start_of(row, region.start), region.stride);
                let index = ((row.base - start) / stride) as u32;
                let array = Array {
                    map,
                    base: start,
                    stride,
                    len: index.saturating_add(1),
                    old: false,
                };
                (all.arrays.id_of(found.sample, array), index)
            }
            None => (NONE, NONE),
        };
        let off = match row.base {
            0 => NONE,
            base => u32::try_from(row.address.wrapping_sub(base)).unwrap_or(NONE),
        };
        Hit {
            base: self.spaces.plain(row.base),
            map,
            off,
            array,
            index,
            slot: row.slot,
            evidence: row.evidence,
        }
    }

    /// Where the array begins that a row hit: a known one, or else the region.
    fn start_of(&self, row: &Row, region: u64) -> u64 {
        let at = self
            .starts
            .partition_point(|s| *s <= (row.header, row.base));
        let known = at.checked_sub(1).and_then(|i| self.starts.get(i));
        known
            .filter(|(header, start)| *header == row.header && *start >= region)
            .map_or(region, |(_, start)| *start)
    }
}

#[allow(clippy::too_many_arguments)]
pub fn assemble(
    recording: &Recording,
    places: Places,
    rows: Rows,
    chains: &ChainSites,
    learned: &Learned,
    lasting: &Lasting,
    regions: &Regions,
    known: &[KnownArray],
    types: &Types,
    programs: &[Option<Arc<Program>>],
    conflicts: [AtomicU64; Evidence::ALL.len()],
    heap: Option<&Heap>,
    spaces: &Spaces,
) -> Attribution {
    let mut ground = Ground {
        recording,
        chains,
        learned,
        lasting,
        regions,
        spaces,
        starts: known.iter().map(|a| (a.header, a.start)).collect(),
    };
    ground.starts.sort_unstable();
    let without = |reason: &Option<Reason>| Err(reason.unwrap_or(Reason::NotAnAccess));
    let mut part: Vec<Result<Part, Reason>> = rows.reasons.par_iter().map(without).collect();
    let all = rows.said.par_said(|_| true);
    let all = all.map_init(Last::default, |last, said| ground.found(said, last));
    let found: Vec<Found> = all.flatten_iter().collect();
    let number = |found: &[Found]| {
        let mut part = Numbered::default();
        for found in found {
            let row = rows.said.row_at(found.number, found.from);
            let hit = row.map(|row| ground.hit(&row, found, &mut part));
            part.hits.push(hit.unwrap_or_default());
        }
        part
    };
    let parts: Vec<Numbered> = found.par_chunks(FOUND).map(number).collect();
    let (names, arrays, all) = merged(parts);
    // By statement: the first of what its samples hit.
    let mut firsts = vec![0; rows.said.len() + 1];
    found
        .iter()
        .for_each(|f| firsts[f.number as usize + 1] += 1);
    for n in 1..firsts.len() {
        firsts[n] += firsts[n - 1];
    }
    let times = &recording.samples.time;
    let fill = |(chunk, parts): (usize, &mut [Result<Part, Reason>])| {
        let mut time = times.in_order();
        let mut hits = hits::Part::default();
        for (i, number) in rows.said.of_chunk(chunk) {
            let [from, to] = [number, number + 1].map(|n| firsts[n as usize]);
            // Of most statements all samples hit the same.
            let n = match to - from {
                1 => from,
                _ => {
                    let time = time.get(i).unwrap_or(0);
                    let before = found[from..to].partition_point(|f| f.from <= time);
                    from + before.saturating_sub(1)
                }
            };
            if let (Some(part), Some(found)) = (parts.get_mut(i % CHUNK), found.get(n)) {
                *part = found.part;
            }
            if all.get(n).is_some_and(|hit| *hit != Hit::default()) {
                hits.push(i % CHUNK, n as u32);
            }
        }
        hits
    };
    let chunks = part.par_chunks_mut(CHUNK).enumerate().map(fill);
    let chunks: Vec<hits::Part> = chunks.collect();
    let hits = Hits::new(all, chunks);
    let mut out = Attribution {
        place: places.place,
        places: places.places,
        part,
        hits,
        ..Attribution::default()
    };
    out.maps = names.finish(types, programs, heap, lasting, spaces);
    let plain = |(_, array): (u32, Array)| Array {
        base: spaces.plain(array.base),
        ..array
    };
    out.arrays = arrays.seen.into_iter().map(plain).collect();
    let conflicts = Evidence::ALL.into_iter().zip(conflicts);
    out.contradictions = conflicts
        .map(|(evidence, samples)| (evidence, samples.into_inner()))
        .filter(|(_, samples)| *samples > 0)
        .map(|(evidence, samples)| Contradiction {
            stronger: evidence,
            weaker: Evidence::LearnedRegion,
            about: "the part or the bucket that an address lies in".to_owned(),
            samples,
        })
        .collect();
    out
}
