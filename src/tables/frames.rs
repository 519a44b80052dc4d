//! The small results as polars frames.

use super::aggregate::{Group, NOWHERE, Totals};
use super::cells::index_width;
use super::columns::{self as c, Column as Col};
use super::counts::Counts;
use super::histogram::Histogram;
use super::kinds::{Kinds, NO_LEVEL};
use super::rows::Key;
use super::summary::LevelLoads;
use super::words::{evidence_name, gap_name, operation_name, phase_name, stage_name};
use crate::attribute::{Attribution, Evidence, NONE, Place};
use crate::gomap::{MapType, Part, Shape};
use crate::recording::Gap;
use polars::prelude::{Column, DataFrame, NamedFrom, PolarsResult, Series};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// A polars column under its name in [`super::columns`].
pub fn column<T, P>(column: Col, values: T) -> Column
where
    Series: NamedFrom<T, P>,
    P: ?Sized,
{
    Column::from(Series::new(column.name.into(), values))
}

/// An id, or null.
fn id(id: u32) -> Option<u32> {
    (id != NONE).then_some(id)
}

/// Columns, several made at once.
pub fn side_by_side(columns: &[&(dyn Fn() -> Column + Sync)]) -> Vec<Column> {
    columns.par_iter().map(|make| make()).collect()
}

/// The columns that every frame of counts has.
pub fn count_columns(counts: &[Counts]) -> Vec<Column> {
    let all = |f: fn(&Counts) -> u32| counts.iter().map(|c| u64::from(f(c))).collect::<Vec<_>>();
    let known = |f: fn(&Counts) -> Option<u64>| counts.iter().map(f).collect::<Vec<_>>();
    side_by_side(&[
        &|| column(c::SAMPLES, all(|c| c.samples)),
        &|| column(c::LOADS, all(|c| c.loads)),
        &|| column(c::STORES, all(|c| c.stores)),
        &|| column(c::L1_HIT, known(|c| c.of_levels(c.l1_hit))),
        &|| column(c::LFB, known(|c| c.of_levels(c.lfb))),
        &|| column(c::L1_MISS, known(|c| c.of_levels(c.l1_miss))),
        &|| column(c::LLC_MISS, known(Counts::llc_miss)),
        &|| column(c::HITM, known(Counts::hitm)),
        &|| column(c::LEVEL_UNKNOWN, all(|c| c.level_unknown)),
        &|| column(c::STORE_L1_MISS, known(Counts::store_l1_miss)),
        &|| column(c::LATENCY_SUM, known(Counts::latency_sum)),
        &|| column(c::LATENCY_N, all(|c| c.latency_n)),
    ])
}

/// A column of what is made of each of these.
macro_rules! of {
    ($all:expr, $column:expr, |$each:pat_param| $value:expr) => {
        column($column, $all.iter().map(|$each| $value).collect::<Vec<_>>())
    };
}

fn quantile_columns<'a>(latencies: impl Iterator<Item = &'a Histogram> + Clone) -> Vec<Column> {
    let at = |q: f64| latencies.clone().map(|h| h.quantile(q)).collect::<Vec<_>>();
    vec![
        column(c::LATENCY_P50, at(0.5)),
        column(c::LATENCY_P95, at(0.95)),
    ]
}

/// Columns of one frame, then counts and quantiles of its groups.
pub fn frame(mut keys: Vec<Column>, groups: &[&Group]) -> PolarsResult<DataFrame> {
    let counts: Vec<Counts> = groups.iter().map(|g| g.counts).collect();
    keys.extend(count_columns(&counts));
    keys.extend(quantile_columns(groups.iter().map(|g| &g.latencies)));
    DataFrame::new(groups.len(), keys)
}

/// Sums of the groups' accesses by what `key` makes of a group's key; `None` leaves a group out.
pub fn sums<K: Ord>(totals: &Totals, key: impl Fn(&Key) -> Option<K>) -> BTreeMap<K, Group> {
    add_up(totals, key, Group::merge)
}

/// As [`sums`], without the latencies one by one.
pub fn counts<K: Ord>(totals: &Totals, key: impl Fn(&Key) -> Option<K>) -> BTreeMap<K, Counts> {
    add_up(totals, key, |sum: &mut Counts, group| {
        sum.merge(&group.counts)
    })
}

fn add_up<K: Ord, S: Default>(
    totals: &Totals,
    key: impl Fn(&Key) -> Option<K>,
    add: impl Fn(&mut S, &Group),
) -> BTreeMap<K, S> {
    let mut sums = BTreeMap::<K, S>::new();
    for (k, group) in totals.groups.iter().filter(|(_, g)| g.counts.samples > 0) {
        if let Some(k) = key(k) {
            add(sums.entry(k).or_default(), group);
        }
    }
    sums
}

/// One row a map, in the order of [`Attribution::maps`]; a map that no sample hit keeps its row.
pub fn maps(totals: &Totals, attribution: &Attribution) -> PolarsResult<DataFrame> {
    let sums = sums(totals, |k| id(k.map));
    let evidence = main_evidence(totals);
    let none = Group::default();
    let ids = 0..attribution.maps.len() as u32;
    let groups: Vec<&Group> = ids.clone().map(|m| sums.get(&m).unwrap_or(&none)).collect();
    let maps = &attribution.maps;
    let types: Vec<Option<&MapType>> = maps.iter().map(|m| m.map_type.as_ref()).collect();
    let geometry: Vec<Option<Geometry>> = types
        .iter()
        .map(|t| t.map(|t| Geometry::of(&t.shape)))
        .collect();
    let of = |f: fn(&Geometry) -> u32| -> Vec<Option<u32>> {
        geometry.iter().map(|g| g.as_ref().map(f)).collect()
    };
    frame(
        vec![
            column(c::MAP, ids.clone().collect::<Vec<_>>()),
            column(
                c::MAP_NAME,
                maps.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(),
            ),
            column(
                c::MAP_TYPE,
                types
                    .iter()
                    .map(|t| t.map(|t| t.name.as_str()))
                    .collect::<Vec<_>>(),
            ),
            column(c::HEADER, maps.iter().map(|m| m.header).collect::<Vec<_>>()),
            column(
                c::LAYOUT,
                geometry
                    .iter()
                    .map(|g| g.as_ref().map(|g| g.layout))
                    .collect::<Vec<_>>(),
            ),
            column(
                c::STRIDE,
                geometry
                    .iter()
                    .map(|g| g.as_ref().map(|g| g.stride))
                    .collect::<Vec<_>>(),
            ),
            column(c::KEY_OFF, of(|g| g.key_off)),
            column(c::KEY_STRIDE, of(|g| g.key_stride)),
            column(c::ELEM_OFF, of(|g| g.elem_off)),
            column(c::ELEM_STRIDE, of(|g| g.elem_stride)),
            column(
                c::EVIDENCE,
                ids.map(|m| evidence.get(&m).map(|&e| evidence_name(e)))
                    .collect::<Vec<_>>(),
            ),
        ],
        &groups,
    )
}

/// The evidence of most samples of each map; of two equal counts the stronger.
fn main_evidence(totals: &Totals) -> BTreeMap<u32, Evidence> {
    let mut best = BTreeMap::<u32, (u32, Evidence)>::new();
    for ((map, evidence), counts) in counts(totals, |k| Some((id(k.map)?, k.evidence))) {
        let candidate = (counts.samples, evidence);
        let held = best.entry(map).or_insert(candidate);
        *held = candidate.max(*held);
    }
    best.into_iter().map(|(map, (_, e))| (map, e)).collect()
}

/// Where keys and elems lie in a bucket or group.
struct Geometry {
    layout: &'static str,
    stride: u64,
    key_off: u32,
    key_stride: u32,
    elem_off: u32,
    elem_stride: u32,
}

impl Geometry {
    fn of(shape: &Shape) -> Geometry {
        // A binary's type descriptors are bytes from outside: a size beyond u32 is no real one.
        let narrow = |v: u64| u32::try_from(v).unwrap_or(u32::MAX);
        match *shape {
            Shape::Classic {
                key_stride,
                elem_stride,
                bucket_size,
                ..
            } => Geometry {
                layout: "classic",
                stride: bucket_size,
                key_off: 8,
                key_stride: narrow(key_stride),
                elem_off: narrow(key_stride.saturating_mul(8).saturating_add(8)),
                elem_stride: narrow(elem_stride),
            },
            Shape::Swiss {
                group_size,
                keys_off,
                key_stride,
                elems_off,
                elem_stride,
            } => Geometry {
                layout: "swiss",
                stride: group_size,
                key_off: narrow(keys_off),
                key_stride: narrow(key_stride),
                elem_off: narrow(elems_off),
                elem_stride: narrow(elem_stride),
            },
        }
    }
}

/// One row a map and part; samples with a part but without a map have a null map.
pub fn parts(totals: &Totals) -> PolarsResult<DataFrame> {
    let sums = sums(totals, |k| k.part.ok().map(|part| (k.map, part)));
    let keys: Vec<_> = sums.keys().copied().collect();
    frame(
        vec![
            column(c::MAP, keys.iter().map(|k| id(k.0)).collect::<Vec<_>>()),
            column(c::PART, keys.iter().map(|k| k.1.name()).collect::<Vec<_>>()),
            column(
                c::STAGE,
                keys.iter()
                    .map(|k| stage_name(k.1.stage()))
                    .collect::<Vec<_>>(),
            ),
        ],
        &sums.values().collect::<Vec<_>>(),
    )
}

/// One row a map and stage of a lookup: golang/go#70835's table.
pub fn misses(totals: &Totals) -> PolarsResult<DataFrame> {
    let sums = sums(totals, |k| k.part.ok().map(|part| (k.map, part.stage())));
    let keys: Vec<_> = sums.keys().copied().collect();
    frame(
        vec![
            column(c::MAP, keys.iter().map(|k| id(k.0)).collect::<Vec<_>>()),
            column(
                c::STAGE,
                keys.iter().map(|k| stage_name(k.1)).collect::<Vec<_>>(),
            ),
        ],
        &sums.values().collect::<Vec<_>>(),
    )
}

/// One row an array, in the order of [`Attribution::arrays`].
pub fn arrays(totals: &Totals, attribution: &Attribution) -> PolarsResult<DataFrame> {
    let arrays = &attribution.arrays;
    let mut counts = vec![Counts::default(); arrays.len()];
    let (cells, sums) = &totals.cells;
    for (&(array, _, _), cell) in cells.iter().zip(sums) {
        if let Some(sum) = counts.get_mut(array as usize) {
            sum.merge(cell);
        }
    }
    let mut columns = vec![
        column(c::ARRAY, (0..arrays.len() as u32).collect::<Vec<_>>()),
        column(c::MAP, arrays.iter().map(|a| id(a.map)).collect::<Vec<_>>()),
        column(
            c::BASE,
            arrays
                .iter()
                .map(|a| Some(a.base).filter(|&b| b != 0))
                .collect::<Vec<_>>(),
        ),
        column(
            c::STRIDE,
            arrays
                .iter()
                .map(|a| Some(a.stride).filter(|&s| s != 0))
                .collect::<Vec<_>>(),
        ),
        column(c::LEN, arrays.iter().map(|a| a.len).collect::<Vec<_>>()),
        column(
            c::INDEX_WIDTH,
            arrays
                .iter()
                .map(|a| index_width(a.len))
                .collect::<Vec<_>>(),
        ),
        column(c::OLD, arrays.iter().map(|a| a.old).collect::<Vec<_>>()),
    ];
    columns.extend(count_columns(&counts));
    DataFrame::new(arrays.len(), columns)
}

/// One row a map, array, bin of indexes and byte offset that was hit.
pub fn cells(totals: &Totals, attribution: &Attribution) -> PolarsResult<DataFrame> {
    let array = |id: u32| attribution.arrays.get(id as usize);
    let (cells, counts) = &totals.cells;
    let width = |id: u32| array(id).map_or(1, |a| index_width(a.len));
    let mut columns = vec![
        of!(cells, c::MAP, |k| array(k.0).and_then(|a| id(a.map))),
        of!(cells, c::ARRAY, |k| k.0),
        of!(cells, c::INDEX, |k| k.1),
        of!(cells, c::INDEX_WIDTH, |k| width(k.0)),
        of!(cells, c::OFF, |k| k.2),
    ];
    columns.extend(count_columns(counts));
    DataFrame::new(counts.len(), columns)
}

/// One row a map, part, place in a pair of cache lines and byte offset of the keys and elems that lie
/// outside of their buckets or groups.
pub fn outside(totals: &Totals, attribution: &Attribution) -> PolarsResult<DataFrame> {
    let mut cells: Vec<_> = totals.outside.iter().collect();
    cells.sort_unstable_by_key(|(key, _)| **key);
    let counts: Vec<Counts> = cells.iter().map(|(_, counts)| **counts).collect();
    let size = |map: u32, part: Part| {
        let of = attribution.maps.get(map as usize)?.map_type.as_ref()?;
        Some(match part {
            Part::IndirectKey => of.key_size,
            _ => of.elem_size,
        })
    };
    let mut columns = vec![
        of!(cells, c::MAP, |(k, _)| id(k.0)),
        of!(cells, c::PART, |(k, _)| k.1.name()),
        of!(cells, c::SIZE, |(k, _)| size(k.0, k.1)),
        of!(cells, c::IN_PAIR, |(k, _)| Some(k.2)
            .filter(|&at| at != NOWHERE)),
        of!(cells, c::OFF, |(k, _)| k.3),
    ];
    columns.extend(count_columns(&counts));
    DataFrame::new(counts.len(), columns)
}

/// One row an innermost function (and the outer one it is inlined into) of an image.
pub fn functions(totals: &Totals, attribution: &Attribution) -> PolarsResult<DataFrame> {
    let sums = sums(totals, |k| {
        let place = attribution.places.get(k.place as usize)?;
        Some((place.image.as_str(), outer(place), inner(place)))
    });
    let keys: Vec<_> = sums.keys().copied().collect();
    frame(
        vec![
            column(c::IMAGE, keys.iter().map(|k| k.0).collect::<Vec<_>>()),
            column(c::OUTER, keys.iter().map(|k| k.1).collect::<Vec<_>>()),
            column(c::FUNCTION, keys.iter().map(|k| k.2).collect::<Vec<_>>()),
        ],
        &sums.values().collect::<Vec<_>>(),
    )
}

/// One row a source line, operation, phase and part.
pub fn lines(totals: &Totals, attribution: &Attribution) -> PolarsResult<DataFrame> {
    let sums = sums(totals, |k| {
        let place = attribution.places.get(k.place as usize)?;
        let (file, line) = file_line(place);
        let operation = (place.operation, place.phase);
        Some((
            place.image.as_str(),
            inner(place),
            file,
            line,
            operation,
            k.part.ok(),
        ))
    });
    let keys: Vec<_> = sums.keys().copied().collect();
    frame(
        vec![
            column(c::IMAGE, keys.iter().map(|k| k.0).collect::<Vec<_>>()),
            column(c::FUNCTION, keys.iter().map(|k| k.1).collect::<Vec<_>>()),
            column(c::FILE, keys.iter().map(|k| k.2).collect::<Vec<_>>()),
            column(c::LINE, keys.iter().map(|k| k.3).collect::<Vec<_>>()),
            column(
                c::OPERATION,
                keys.iter()
                    .map(|k| k.4.0.map(operation_name))
                    .collect::<Vec<_>>(),
            ),
            column(
                c::PHASE,
                keys.iter()
                    .map(|k| k.4.1.map(phase_name))
                    .collect::<Vec<_>>(),
            ),
            column(
                c::PART,
                keys.iter()
                    .map(|k| k.5.map(|p| p.name()))
                    .collect::<Vec<_>>(),
            ),
        ],
        &sums.values().collect::<Vec<_>>(),
    )
}

/// One row an instruction of a map operation and part. The rows of an operation come in the order of
/// one run through it; functions that take the same turn one after the other.
pub fn steps(totals: &Totals, attribution: &Attribution) -> PolarsResult<DataFrame> {
    let sums = sums(totals, |k| {
        let place = attribution.places.get(k.place as usize)?;
        let (step, part) = (place.step?, k.part.ok()?);
        let (_, line) = file_line(place);
        Some((
            (place.operation?, step >> 16, running(place), step),
            (inner(place), line, place.instruction.as_deref()),
            (place.phase, part),
        ))
    });
    let keys: Vec<_> = sums.keys().copied().collect();
    frame(
        vec![
            column(
                c::OPERATION,
                keys.iter()
                    .map(|k| operation_name(k.0.0))
                    .collect::<Vec<_>>(),
            ),
            column(c::STEP, keys.iter().map(|k| k.0.3).collect::<Vec<_>>()),
            column(c::OUTER, keys.iter().map(|k| k.0.2).collect::<Vec<_>>()),
            column(c::FUNCTION, keys.iter().map(|k| k.1.0).collect::<Vec<_>>()),
            column(c::LINE, keys.iter().map(|k| k.1.1).collect::<Vec<_>>()),
            column(
                c::INSTRUCTION,
                keys.iter().map(|k| k.1.2).collect::<Vec<_>>(),
            ),
            column(
                c::PHASE,
                keys.iter()
                    .map(|k| k.2.0.map(phase_name))
                    .collect::<Vec<_>>(),
            ),
            column(
                c::PART,
                keys.iter().map(|k| k.2.1.name()).collect::<Vec<_>>(),
            ),
            column(
                c::STAGE,
                keys.iter()
                    .map(|k| stage_name(k.2.1.stage()))
                    .collect::<Vec<_>>(),
            ),
        ],
        &sums.values().collect::<Vec<_>>(),
    )
}

/// The map function that the place runs for, else the function that it is in.
fn running(place: &Place) -> Option<&str> {
    place.on_behalf.as_deref().or(outer(place))
}

/// The name of a level; `None` where it is not known.
fn level_name<'a>(id: u8, kinds: &'a Kinds) -> Option<&'a str> {
    match id {
        NO_LEVEL => None,
        id => kinds.levels.get(usize::from(id)).map(|name| name.as_ref()),
    }
}

/// Loads by what the key makes of a map and a level's name.
fn loads_by<'a, K: Ord>(
    totals: &Totals,
    kinds: &'a Kinds,
    key: impl Fn(u32, Option<&'a str>) -> K,
) -> BTreeMap<K, Group> {
    let mut sums = BTreeMap::<K, Group>::new();
    for (&(map, level), group) in &totals.levels {
        let key = key(map, level_name(level, kinds));
        sums.entry(key).or_default().merge(group);
    }
    sums
}

/// One row a map and level: the loads that it served.
pub fn levels(totals: &Totals, kinds: &Kinds) -> PolarsResult<DataFrame> {
    let sums = loads_by(totals, kinds, |map, level| (map, level));
    let maps: Vec<Option<u32>> = sums.keys().map(|k| id(k.0)).collect();
    let levels: Vec<Option<&str>> = sums.keys().map(|k| k.1).collect();
    frame(
        vec![column(c::MAP, maps), column(c::LEVEL, levels)],
        &sums.values().collect::<Vec<_>>(),
    )
}

/// All loads of the recording by the level that served them.
pub fn loads_by_level(totals: &Totals, kinds: &Kinds) -> Vec<LevelLoads> {
    let sums = loads_by(totals, kinds, |_, level| level);
    let rows = sums.into_iter().map(|(level, group)| LevelLoads {
        level: level.map(str::to_owned),
        loads: group.counts.loads.into(),
        latency_n: group.counts.latency_n.into(),
        latency_sum: group.counts.latency_sum(),
        latency_p50: group.latencies.quantile(0.5),
        latency_p95: group.latencies.quantile(0.95),
    });
    rows.collect()
}

/// One row a map, time bin, latency bin and level.
pub fn latency(totals: &Totals, kinds: &Kinds) -> PolarsResult<DataFrame> {
    let mut cells = totals.latency.clone();
    cells.sort_unstable();
    let level = |id: u8| level_name(id, kinds);
    DataFrame::new(
        cells.len(),
        vec![
            column(
                c::MAP,
                cells.iter().map(|(k, _)| id(k.0)).collect::<Vec<_>>(),
            ),
            column(
                c::TIME_BIN,
                cells
                    .iter()
                    .map(|(k, _)| u32::from(k.1))
                    .collect::<Vec<_>>(),
            ),
            column(
                c::LATENCY_BIN,
                cells
                    .iter()
                    .map(|(k, _)| u32::from(k.2))
                    .collect::<Vec<_>>(),
            ),
            column(
                c::LEVEL,
                cells.iter().map(|(k, _)| level(k.3)).collect::<Vec<_>>(),
            ),
            column(
                c::SAMPLES,
                cells.iter().map(|(_, n)| u64::from(*n)).collect::<Vec<_>>(),
            ),
        ],
    )
}

/// The innermost function of a place.
pub fn inner(place: &Place) -> Option<&str> {
    place
        .frames
        .first()
        .map(|f| f.function.as_str())
        .or(place.function.as_deref())
}

/// The function whose code the place is in.
pub fn outer(place: &Place) -> Option<&str> {
    place
        .frames
        .last()
        .map(|f| f.function.as_str())
        .or(place.function.as_deref())
}

pub fn file_line(place: &Place) -> (Option<&str>, Option<u32>) {
    place
        .frames
        .first()
        .map_or((None, None), |f| (f.file.as_deref(), f.line))
}

/// One row a gap.
pub fn gaps(gaps: &[Gap]) -> PolarsResult<DataFrame> {
    DataFrame::new(
        gaps.len(),
        vec![
            column(c::TIME, gaps.iter().map(|g| g.time_ns).collect::<Vec<_>>()),
            column(
                c::CPU,
                gaps.iter()
                    .map(|g| g.cpu.and_then(|c| u16::try_from(c).ok()))
                    .collect::<Vec<_>>(),
            ),
            column(
                c::GAP_KIND,
                gaps.iter().map(|g| gap_name(g.kind)).collect::<Vec<_>>(),
            ),
            column(c::GAP_LOST, gaps.iter().map(|g| g.lost).collect::<Vec<_>>()),
        ],
    )
}
