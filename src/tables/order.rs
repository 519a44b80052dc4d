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
    let instances = chunks.fold(FxHashMap::<u64, Instance>::default, |mut all, chunk| {
        let mut found = Vec::new();
        let end = rows.len().min((chunk + 1) * CHUNK);
        rows.instances(chunk * CHUNK..end, &mut found);
        found.retain(|(_, at)| hot.get(heat_slot(*at)) == Some(&true));
        for (i, at) in found {
            let instance = all.entry(at).or_default();
            instance.samples += 1;
            instance.add((rows.time(i), i));
        }
        all
    });
    let instances = instances.reduce(FxHashMap::default, |mut all, more| {
        for (at, other) in more {
            let instance = all.entry(at).or_default();
            instance.samples += other.samples;
            other.first.into_iter().for_each(|row| instance.add(row));
        }
        all
    });
    let mut instances: Vec<(u64, Instance)> = instances.into_iter().collect();
    instances.sort_unstable_by_key(|(address, of)| (Reverse(of.samples), *address));
    let mut kept = Vec::new();
    for (_, instance) in instances {
        let room = LIMIT.saturating_sub(kept.len()).min(EACH);
        if room == 0 {
            break;
        }
        let mut rows = instance.first;
        rows.sort_unstable();
        kept.extend(rows.into_iter().take(room).map(|(_, i)| i));
    }
    kept
}

/// Time and number of a row.
type Row = (Option<u64>, usize);

/// The samples of one instance.
#[derive(Default)]
struct Instance {
    samples: usize,
    /// The first [`EACH`] in time, and at most as many again.
    first: Vec<Row>,
    /// Of later rows than this one there are enough.
    last: Option<Row>,
}

impl Instance {
    fn add(&mut self, row: Row) {
        if self.last.is_some_and(|last| row > last) {
            return;
        }
        self.first.push(row);
        if self.first.len() == 2 * EACH {
            let (_, last, _) = self.first.select_nth_unstable(EACH - 1);
            self.last = Some(*last);
            self.first.truncate(EACH);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_instance_the_first_in_time_are_kept() {
        let rows = 5 * EACH;
        // Every time once, in no order: 7 is no divisor of their number.
        let row = |i: usize| (Some((7 * i % rows) as u64), i);
        let mut instance = Instance::default();
        (0..rows).map(row).for_each(|row| instance.add(row));
        assert!(instance.first.len() < 2 * EACH);
        instance.first.sort_unstable();
        let times = instance.first.iter().take(EACH).map(|(time, _)| *time);
        assert!(times.eq((0..EACH as u64).map(Some)));
    }
}
