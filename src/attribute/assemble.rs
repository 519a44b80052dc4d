//! From rows to the columns of the [`Attribution`], with maps and arrays by number.

use super::chains::ChainSites;
use super::complete::about_bucket;
use super::learn::{KnownArray, Learned};
use super::names::Names;
use super::places::Places;
use super::regions::Regions;
use super::resolve::Row;
use super::rows::{CHUNK, Rows};
use super::types::{TypeId, Types};
use super::{Array, Attribution, Contradiction, Evidence, NONE, Reason};
use crate::gomap::Part;
use crate::heap::Heap;
use crate::program::Program;
use crate::recording::Recording;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The columns of a chunk of samples, without the places.
struct Columns<'a> {
    part: &'a mut [Result<Part, Reason>],
    map: &'a mut [u32],
    base: &'a mut [u64],
    off: &'a mut [u32],
    array: &'a mut [u32],
    index: &'a mut [u32],
    slot: &'a mut [i8],
    evidence: &'a mut [Evidence],
}

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
struct Hits<'a> {
    recording: &'a Recording,
    chains: &'a ChainSites,
    learned: &'a Learned,
    regions: &'a Regions,
    /// Header and start of the known arrays, sorted.
    starts: Vec<(u64, u64)>,
}

impl Hits<'_> {
    /// Fills the columns of the chunk that begins at sample `first`.
    fn number(&self, rows: &[Row], first: usize, to: Columns) -> Numbered {
        let mut out = Numbered::default();
        for ids in [&mut *to.map, &mut *to.off, &mut *to.array, &mut *to.index] {
            ids.fill(NONE);
        }
        for row in rows {
            let here = self.regions.numbered(row.base, row.time);
            let own = here.filter(|(_, r)| about_bucket(row.part) && r.header == row.header);
            let region = own.min_by_key(|(number, _)| *number);
            let map = if row.part.is_ok() {
                let seen = || self.learned.type_of(row.header, row.time);
                let map_type: Option<TypeId> = match row.header {
                    0 => row.map_type,
                    _ => row.map_type.or_else(seen),
                };
                let memory = region.filter(|(_, r)| r.one_map).map(|(n, r)| (n, r.start));
                let site = self.chains.of_sample(self.recording, row.sample as usize);
                out.names.map_of(row.header, map_type, memory, site)
            } else {
                NONE
            };
            let (array, index) = match region {
                Some((_, region)) => {
                    let start = self.start_of(row, region.start);
                    let index = ((row.base - start) / region.stride) as u32;
                    let len = index.saturating_add(1);
                    (out.arrays.id_of(map, start, region.stride, len), index)
                }
                None => (NONE, NONE),
            };
            let i = row.sample as usize - first;
            to.part[i] = row.part;
            to.map[i] = map;
            to.base[i] = row.base;
            if row.base != 0 {
                let off = u32::try_from(row.address.wrapping_sub(row.base));
                to.off[i] = off.unwrap_or(NONE);
            }
            to.array[i] = array;
            to.index[i] = index;
            to.slot[i] = row.slot;
            to.evidence[i] = row.evidence;
        }
        out
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
    regions: &Regions,
    known: &[KnownArray],
    types: &Types,
    programs: &[Option<Arc<Program>>],
    conflicts: Vec<(Evidence, u64)>,
    heap: Option<&Heap>,
) -> Attribution {
    let mut hits = Hits {
        recording,
        chains,
        learned,
        regions,
        starts: known.iter().map(|a| (a.header, a.start)).collect(),
    };
    hits.starts.sort_unstable();
    let samples = rows.part.len();
    let mut out = Attribution {
        place: places.place,
        places: places.places,
        part: rows.part,
        map: vec![0; samples],
        base: vec![0; samples],
        off: vec![0; samples],
        array: vec![0; samples],
        index: vec![0; samples],
        slot: vec![-1; samples],
        evidence: vec![Evidence::None; samples],
        ..Attribution::default()
    };
    let columns = (
        out.part.par_chunks_mut(CHUNK),
        out.map.par_chunks_mut(CHUNK),
        out.base.par_chunks_mut(CHUNK),
        out.off.par_chunks_mut(CHUNK),
        out.array.par_chunks_mut(CHUNK),
        out.index.par_chunks_mut(CHUNK),
        out.slot.par_chunks_mut(CHUNK),
        out.evidence.par_chunks_mut(CHUNK),
    );
    let chunks = rows.chunks.into_par_iter().zip(columns).enumerate();
    let fill = |(chunk, (rows, columns)): (usize, (Vec<Row>, _))| {
        let (part, map, base, off, array, index, slot, evidence) = columns;
        let columns = Columns {
            part,
            map,
            base,
            off,
            array,
            index,
            slot,
            evidence,
        };
        hits.number(&rows, chunk * CHUNK, columns)
    };
    let numbered: Vec<Numbered> = chunks.map(fill).collect();
    let mut names = Names::default();
    let mut arrays = Arrays::default();
    let chunks = out.map.chunks_mut(CHUNK).zip(out.array.chunks_mut(CHUNK));
    for ((map, array), numbered) in chunks.zip(numbered) {
        let maps = names.merge(numbered.names);
        let map_of = |id: u32| maps.get(id as usize).copied().unwrap_or(NONE);
        let merge = |a: &Array| arrays.id_of(map_of(a.map), a.base, a.stride, a.len);
        let ids: Vec<u32> = numbered.arrays.arrays.iter().map(merge).collect();
        map.iter_mut().for_each(|id| *id = map_of(*id));
        for id in array {
            *id = ids.get(*id as usize).copied().unwrap_or(NONE);
        }
    }
    out.maps = names.finish(types, programs, heap);
    out.arrays = arrays.arrays;
    let mut merged: Vec<(Evidence, u64)> = Vec::new();
    for (evidence, n) in conflicts {
        match merged.iter_mut().find(|(e, _)| *e == evidence) {
            Some((_, total)) => *total += n,
            None => merged.push((evidence, n)),
        }
    }
    merged.sort_unstable();
    out.contradictions = merged
        .into_iter()
        .map(|(evidence, samples)| Contradiction {
            stronger: evidence,
            weaker: Evidence::LearnedRegion,
            about: "the part or the bucket that an address lies in".to_owned(),
            samples,
        })
        .collect();
    out
}
