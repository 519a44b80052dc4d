//! Which raw samples the frame `order` keeps: those of the hottest structure instances (one
//! bucket, one group, one header; a breakpoint's word), each instance's in time order.

use super::accesses::Accesses;
use super::aggregate::{Totals, heat_slot};
use super::columns as c;
use super::rows::Rows;
use polars::prelude::{Column, DataFrame, DataType, PolarsResult};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// Rows of `order`.
pub const LIMIT: usize = 20_000;
/// Rows of one instance; the first in time of a hotter one.
pub const EACH: usize = 2_000;

/// Samples that one thread looks at, at a time.
const CHUNK: usize = 1 << 16;

/// Row numbers, instance by instance from the hottest on.
pub fn hottest(rows: &Rows, totals: &Totals) -> Vec<usize> {
    let mut hot = vec![false; totals.heat.len()];
    for slot in hot_slots(&totals.heat) {
        hot[slot] = true;
    }
    let chunks = (0..rows.len().div_ceil(CHUNK)).into_par_iter();
    let candidates: Vec<(u64, usize)> = chunks
        .flat_map_iter(|chunk| {
            let mut found = Vec::new();
            let end = rows.len().min((chunk + 1) * CHUNK);
            rows.instances(chunk * CHUNK..end, &mut found);
            let hot = |instance: u64| hot.get(heat_slot(instance)) == Some(&true);
            let hot = found.into_iter().filter(move |(_, at)| hot(*at));
            hot.map(|(i, instance)| (instance, i))
        })
        .collect();
    let mut instances = FxHashMap::<u64, Vec<usize>>::default();
    for (instance, i) in candidates {
        instances.entry(instance).or_default().push(i);
    }
    let mut instances: Vec<_> = instances.into_iter().collect();
    instances.sort_unstable_by_key(|(address, rows)| (Reverse(rows.len()), *address));
    let mut kept = Vec::new();
    for (_, members) in instances {
        let room = LIMIT.saturating_sub(kept.len()).min(EACH);
        if room == 0 {
            break;
        }
        let mut members: Vec<_> = members.into_iter().map(|i| (rows.time(i), i)).collect();
        if room < members.len() {
            members.select_nth_unstable(room);
            members.truncate(room);
        }
        members.sort_unstable();
        kept.extend(members.into_iter().map(|(_, i)| i));
    }
    kept
}

/// The rows as a frame; its last two columns are null until the memory model is asked for its rules.
pub fn frame(accesses: &Accesses, rows: Vec<usize>) -> PolarsResult<DataFrame> {
    let mut frame = accesses.frame(rows.into_iter())?;
    for (column, dtype) in [(c::AFTER, DataType::UInt32), (c::RULE, DataType::String)] {
        let nulls = Column::full_null(column.name.into(), frame.height(), &dtype);
        frame.with_column(nulls)?;
    }
    Ok(frame)
}

/// The slots with the most samples that hold enough for [`LIMIT`] rows. Two instances may
/// share a slot: the exact counts are made from the rows themselves.
fn hot_slots(heat: &[u32]) -> Vec<usize> {
    let mut slots: Vec<usize> = (0..heat.len()).filter(|&slot| heat[slot] > 0).collect();
    slots.sort_unstable_by_key(|&slot| (Reverse(heat[slot]), slot));
    let mut room = LIMIT;
    slots.retain(|&slot| {
        let kept = room > 0;
        room = room.saturating_sub((heat[slot] as usize).min(EACH));
        kept
    });
    slots
}
