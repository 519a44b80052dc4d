//! From rows to the columns of the [`Attribution`], with maps and arrays by number.

use super::chains::ChainSites;
use super::complete::about_bucket;
use super::hits::{self, Hit, Hits};
use super::lasting::Lasting;
use super::learn::{KnownArray, Learned};
use super::names::Names;
use super::packed::{CHUNK, Packed};
use super::places::Places;
use super::regions::{Last, Regions};
use super::resolve::Row;
use super::rows::Rows;
use super::spaces::Spaces;
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

/// The maps and arrays that the rows of a chunk hit, by numbers of its own.
#[derive(Default)]
struct Numbered {
    names: Names,
    arrays: Arrays,
}

#[derive(Default)]
struct Arrays {
    /// By map and start.
    ids: FxHashMap<(u32, u64), u32>,
    arrays: Vec<Array>,
}

impl Arrays {
    /// The number of an array of which so many buckets or groups were seen.
    fn id_of(&mut self, map: u32, base: u64, stride: u64, len: u32) -> u32 {
        let id = *self.ids.entry((map, base)).or_insert_with(|| {
            self.arrays.push(Array {
                map,
                base,
                stride,
                len: 0,
                old: false,
            });
            self.arrays.len() as u32 - 1
        });
        if let Some(array) = self.arrays.get_mut(id as usize) {
            array.len = array.len.max(len);
        }
        id
    }
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

impl Ground<'_> {
    /// What a row hit, by numbers that `to` gives.
    fn hit(&self, row: &Row, to: &mut Numbered, last: &mut Last) -> Hit {
        let region = about_bucket(row.part).then(|| {
            let here = self.regions.numbered_after(row.base, row.time, last);
            let own = here.filter(|(_, r)| r.header == row.header);
            own.min_by_key(|(number, r)| (!r.one_map, *number))
        });
        let region = region.flatten();
        let map = if row.part.is_ok() {
            let seen = || self.learned.type_of(row.header, row.time);
            let map_type: Option<TypeId> = match row.header {
                0 => row.map_type,
                _ => row.map_type.or_else(seen),
            };
            let lasting = self.lasting.keeps(row.header);
            let memory = region.filter(|(_, r)| r.one_map && !lasting);
            let memory = memory.map(|(n, r)| (n, r.start));
            let site = self.chains.of_sample(self.recording, row.sample as usize);
            let space = self.spaces.mark_of(row.address);
            to.names.map_of(row.header, map_type, memory, site, space)
        } else {
            NONE
        };
        let (array, index) = match region {
            Some((_, region)) => {
                let start = self.start_of(row, region.start);
                let index = ((row.base - start) / region.stride) as u32;
                let len = index.saturating_add(1);
                (to.arrays.id_of(map, start, region.stride, len), index)
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
    let fill = |last: &mut Last, (rows, parts): (Packed, &mut [Result<Part, Reason>])| {
        let mut numbered = Numbered::default();
        let mut hits = hits::Part::default();
        for row in rows.iter(&recording.samples) {
            let i = row.sample as usize % CHUNK;
            if let Some(part) = parts.get_mut(i) {
                *part = row.part;
            }
            hits.push(i, &ground.hit(&row, &mut numbered, last));
        }
        (hits, numbered)
    };
    let chunks = rows.chunks.into_par_iter();
    let chunks = chunks.zip(part.par_chunks_mut(CHUNK));
    let chunks = chunks.map_init(|| regions.last(), fill);
    let chunks: Vec<(hits::Part, Numbered)> = chunks.collect();
    let mut names = Names::default();
    let mut arrays = Arrays::default();
    let mut hits = Hits::default();
    for (mut of_chunk, numbered) in chunks {
        let maps = names.merge(numbered.names);
        let map_of = |id: u32| maps.get(id as usize).copied().unwrap_or(NONE);
        let merge = |a: &Array| arrays.id_of(map_of(a.map), a.base, a.stride, a.len);
        let arrays = numbered.arrays.arrays.iter().map(merge).collect();
        of_chunk.stand_for(maps, arrays);
        hits.add(of_chunk);
    }
    let mut out = Attribution {
        place: places.place,
        places: places.places,
        part,
        hits,
        ..Attribution::default()
    };
    out.maps = names.finish(types, programs, heap, lasting, spaces);
    out.arrays = arrays.arrays;
    for array in &mut out.arrays {
        array.base = spaces.plain(array.base);
    }
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
