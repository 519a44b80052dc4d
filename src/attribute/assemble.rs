//! From rows to the columns of the [`Attribution`], with maps and arrays by number.

use super::chains::ChainSites;
use super::complete::about_bucket;
use super::learn::{KnownArray, Learned};
use super::names::Names;
use super::places::Places;
use super::regions::Regions;
use super::resolve::Row;
use super::rows::Rows;
use super::types::{TypeId, Types};
use super::{Array, Attribution, Contradiction, Evidence, NONE};
use crate::heap::Heap;
use crate::program::Program;
use crate::recording::Recording;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;

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
    let mut starts: Vec<(u64, u64)> = known.iter().map(|a| (a.header, a.start)).collect();
    starts.sort_unstable();
    let mut names = Names::default();
    let mut arrays: Vec<Array> = Vec::new();
    let mut array_ids: FxHashMap<(u32, u64), u32> = FxHashMap::default();
    let samples = rows.part.len();
    let mut out = Attribution {
        place: places.place,
        places: places.places,
        part: rows.part,
        map: vec![NONE; samples],
        base: vec![0; samples],
        off: vec![NONE; samples],
        array: vec![NONE; samples],
        index: vec![NONE; samples],
        slot: vec![-1; samples],
        evidence: vec![Evidence::None; samples],
        ..Attribution::default()
    };
    let region_of = |row: &Row| {
        let here = regions.numbered(row.base, row.time);
        let own = here.filter(|(_, r)| about_bucket(row.part) && r.header == row.header);
        own.min_by_key(|(number, _)| *number)
    };
    let regions: Vec<_> = rows.rows.par_iter().map(region_of).collect();
    for (row, region) in rows.rows.iter().zip(regions) {
        let (i, time) = (row.sample as usize, row.time);
        let map_type: Option<TypeId> = match row.header {
            0 => row.map_type,
            header => row.map_type.or_else(|| learned.type_of(header, time)),
        };
        let in_map = row.part.is_ok();
        let map = if in_map {
            let memory = region.filter(|(_, r)| r.one_map).map(|(n, r)| (n, r.start));
            names.map_of(row.header, map_type, memory, chains.of_sample(recording, i))
        } else {
            NONE
        };
        let off = match row.base {
            0 => NONE,
            base => u32::try_from(row.address.wrapping_sub(base)).unwrap_or(NONE),
        };
        let (array, index) = match region {
            Some((_, region)) => {
                let at = starts.partition_point(|s| *s <= (row.header, row.base));
                let start = at
                    .checked_sub(1)
                    .and_then(|i| starts.get(i))
                    .filter(|(header, start)| *header == row.header && *start >= region.start)
                    .map_or(region.start, |(_, start)| *start);
                let id = *array_ids.entry((map, start)).or_insert_with(|| {
                    arrays.push(Array {
                        map,
                        base: start,
                        stride: region.stride,
                        len: 0,
                        old: false,
                    });
                    arrays.len() as u32 - 1
                });
                let index = ((row.base - start) / region.stride) as u32;
                arrays[id as usize].len = arrays[id as usize].len.max(index + 1);
                (id, index)
            }
            None => (NONE, NONE),
        };
        out.part[i] = row.part;
        out.map[i] = map;
        out.base[i] = row.base;
        out.off[i] = off;
        out.array[i] = array;
        out.index[i] = index;
        out.slot[i] = row.slot;
        out.evidence[i] = row.evidence;
    }
    out.maps = names.finish(types, programs, heap);
    out.arrays = arrays;
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
