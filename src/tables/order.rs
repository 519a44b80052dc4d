//! Which raw samples the frame `order` keeps: those of the hottest structure instances (one
//! bucket, one group, one header; a breakpoint's word), each instance's in time order.

use super::aggregate::{Totals, heat_slot};
use super::rows::Rows;
use crate::attribute::Reason;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;

/// Rows of `order`.
pub const LIMIT: usize = 20_000;
/// Rows of one instance; the first in time of a hotter one.
pub const EACH: usize = 2_000;

/// Row numbers, instance by instance from the hottest on.
pub fn hottest(rows: &Rows, totals: &Totals) -> Vec<usize> {
    let hot = hot_slots(&totals.heat);
    let candidates: Vec<(u64, usize)> = (0..rows.len())
        .into_par_iter()
        .with_min_len(1 << 16)
        .filter_map(|i| {
            let instance = rows.instance(i)?;
            let accessed = rows.key(i).part != Err(Reason::NotAnAccess);
            (accessed && hot.binary_search(&heat_slot(instance)).is_ok()).then_some((instance, i))
        })
        .collect();
    let mut instances = FxHashMap::<u64, Vec<usize>>::default();
    for (instance, i) in candidates {
        instances.entry(instance).or_default().push(i);
    }
    let mut instances: Vec<_> = instances.into_iter().collect();
    instances.sort_unstable_by_key(|(address, rows)| (Reverse(rows.len()), *address));
    let mut kept = Vec::new();
    for (_, mut members) in instances {
        let room = LIMIT.saturating_sub(kept.len()).min(EACH);
        if room == 0 {
            break;
        }
        members.sort_by_key(|&i| rows.time(i));
        kept.extend(members.into_iter().take(room));
    }
    kept
}

/// The slots with the most samples that hold enough for [`LIMIT`] rows; sorted. Two instances may
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
    slots.sort_unstable();
    slots
}
