//! The summary of a recording.

use super::aggregate::{TimeAxis, Totals};
use super::kinds::Kinds;
use super::summary::{Binary, OrderLimits, Overall, Summary, loads};
use super::{SCHEMA, caveats, findings, frames, funnel, order};
use crate::attribute::Attribution;
use crate::recording::Recording;

/// All of it, the rows of `order` apart.
pub fn summarise(
    recording: &Recording,
    attribution: &Attribution,
    binaries: Vec<Binary>,
    (totals, kinds): (&Totals, &Kinds),
    time: &TimeAxis,
) -> Summary {
    let overall = Overall::of(totals);
    Summary {
        schema: SCHEMA,
        mempath: env!("CARGO_PKG_VERSION").to_owned(),
        recording: recording.path.display().to_string(),
        meta: recording.meta.clone(),
        events: recording.events.clone(),
        funnel: funnel::funnel(totals),
        reasons: funnel::reasons(totals),
        evidence: funnel::evidence(totals),
        contradictions: attribution.contradictions.clone(),
        gaps: recording.gaps.clone(),
        damage: recording.damage.clone(),
        time_ns: (time.bin_ns > 0).then_some((time.first, time.last)),
        caveats: caveats::caveats(recording, attribution, &binaries, &overall),
        findings: findings::findings(totals, attribution, &overall, &loads(&recording.events)),
        overall,
        levels: frames::loads_by_level(totals, kinds),
        time_bin_ns: time.bin_ns,
        order: OrderLimits {
            rows: 0,
            limit: order::LIMIT as u64,
            each: order::EACH as u64,
        },
        binaries,
        together: Box::default(),
    }
}

impl Overall {
    fn of(totals: &Totals) -> Overall {
        let all = frames::sums(totals, |_| Some(()))
            .remove(&())
            .unwrap_or_default();
        let counts = all.counts;
        Overall {
            samples: counts.samples.into(),
            loads: counts.loads.into(),
            stores: counts.stores.into(),
            l1_hit: counts.of_levels(counts.l1_hit),
            lfb: counts.of_levels(counts.lfb),
            l1_miss: counts.of_levels(counts.l1_miss),
            llc_miss: counts.llc_miss(),
            hitm: counts.hitm(),
            level_unknown: counts.level_unknown.into(),
            latency_sum: counts.latency_sum(),
            latency_n: counts.latency_n.into(),
            latency_p50: all.latencies.quantile(0.5),
            latency_p95: all.latencies.quantile(0.95),
        }
    }
}
