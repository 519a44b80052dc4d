//! At most seven sentences worth reading first, each with its counts and an exact 95 % interval.

use super::aggregate::Totals;
use super::counts::Counts;
use super::frames::counts;
use super::interval::clopper_pearson;
use super::summary::{Finding, Overall};
use super::words::{evidence_name, stage_name};
use crate::attribute::{Attribution, Evidence, NONE};
use crate::gomap::{Part, Stage};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Findings in a report.
pub const MOST_FINDINGS: usize = 7;
/// Fewer samples than this are no finding.
pub const LEAST: u64 = 30;
/// A share stands out when the lower end of its interval reaches this.
const STANDS_OUT: f64 = 0.05;

/// The interval of a share that is a finding. A share that does not reach the bound lies above the lower end of
/// its interval, which takes long to find.
pub fn stands_out(samples: u64, of: u64) -> Option<(f64, f64)> {
    if samples < LEAST || (samples as f64) < STANDS_OUT * of as f64 {
        return None;
    }
    let interval = clopper_pearson(samples, of);
    (interval.0 >= STANDS_OUT).then_some(interval)
}

/// `loads` says what a rate of loads is of.
pub fn findings(
    totals: &Totals,
    attribution: &Attribution,
    overall: &Overall,
    loads: &str,
) -> Vec<Finding> {
    let maps = Maps::of(totals, attribution, overall, loads);
    let mut all: Vec<Finding> = Vec::new();
    all.extend(
        maps.by_map
            .keys()
            .filter_map(|&map| maps.share_of_the_cost(map)),
    );
    all.extend(
        maps.by_part
            .keys()
            .filter_map(|&key| maps.modified_elsewhere(key)),
    );
    all.extend(
        maps.by_stage
            .keys()
            .filter_map(|&key| maps.beyond_the_caches(key)),
    );
    all.sort_by(|a, b| (Reverse(a.at_stake), &a.text).cmp(&(Reverse(b.at_stake), &b.text)));
    all.truncate(MOST_FINDINGS);
    all
}

/// The samples that are in maps.
struct Maps<'a> {
    attribution: &'a Attribution,
    overall: &'a Overall,
    loads: &'a str,
    by_map: BTreeMap<u32, Counts>,
    by_part: BTreeMap<(u32, Part), Counts>,
    by_stage: BTreeMap<(u32, Stage), Counts>,
    evidence: BTreeMap<(u32, Evidence), u64>,
}

impl<'a> Maps<'a> {
    fn of(
        totals: &Totals,
        attribution: &'a Attribution,
        overall: &'a Overall,
        loads: &'a str,
    ) -> Maps<'a> {
        let named = |map: u32| (map != NONE).then_some(map);
        Maps {
            attribution,
            overall,
            loads,
            by_map: counts(totals, |k| named(k.map)),
            by_part: counts(totals, |k| Some((named(k.map)?, k.part.ok()?))),
            by_stage: counts(totals, |k| Some((named(k.map)?, k.part.ok()?.stage()))),
            evidence: counts(totals, |k| Some((named(k.map)?, k.evidence)))
                .into_iter()
                .map(|(key, counts)| (key, counts.samples.into()))
                .collect(),
        }
    }

    fn latencies(&self) -> bool {
        self.overall.latency_n > 0
    }

    fn name(&self, map: u32) -> &str {
        self.attribution
            .maps
            .get(map as usize)
            .map_or("", |m| &m.name)
    }

    /// A share of counts that stands out, with everything a reader needs to check it.
    fn finding(
        &self,
        map: u32,
        chart: &str,
        at_stake: u64,
        samples: u64,
        of: u64,
    ) -> Option<Finding> {
        let interval = stands_out(samples, of)?;
        let of_map = self.evidence.iter().filter(|((m, _), _)| *m == map);
        let most = of_map.max_by_key(|((_, e), n)| (**n, *e));
        Some(Finding {
            text: String::new(),
            at_stake,
            samples,
            of,
            interval,
            evidence: most.map_or_else(String::new, |((_, e), _)| evidence_name(*e).to_owned()),
            chart: chart.to_owned(),
        })
    }

    /// The map's share of all latency (of all samples in a recording without latencies).
    fn share_of_the_cost(&self, map: u32) -> Option<Finding> {
        let counts = self.by_map.get(&map)?;
        let stake = counts.at_stake(self.latencies());
        let (samples, of, all) = if self.latencies() {
            let sum = self.overall.latency_sum.unwrap_or(0);
            (u64::from(counts.latency_n), self.overall.latency_n, sum)
        } else {
            (
                u64::from(counts.samples),
                self.overall.samples,
                self.overall.samples,
            )
        };
        let mut finding = self.finding(map, "maps", stake, samples, of)?;
        let parts = self
            .by_part
            .range((map, *Part::ALL.first()?)..=(map, *Part::ALL.last()?));
        let ((_, part), top) = parts.max_by_key(|(_, counts)| counts.at_stake(self.latencies()))?;
        let inside = percent(top.at_stake(self.latencies()), stake);
        let of_what = if self.latencies() {
            format!(
                "{} of the sampled latency of this recording, in ",
                percent(stake, all)
            )
        } else {
            String::new()
        };
        finding.text = format!(
            "`{}`: {of_what}{}; {inside} of {} in `{}`{}",
            self.name(map),
            counted(&finding, "samples"),
            if self.latencies() { "that" } else { "them" },
            part.name(),
            served(top),
        );
        Some(finding)
    }

    /// Loads of one part that found the line modified by another CPU.
    fn modified_elsewhere(&self, (map, part): (u32, Part)) -> Option<Finding> {
        let counts = self.by_part.get(&(map, part))?;
        let hits = counts.hitm()?;
        let mut finding = self.finding(
            map,
            "misses",
            self.stake_of(counts, hits),
            hits,
            counts.snoop_known.into(),
        )?;
        finding.text = format!(
            "`{}`: `{}` was modified by another CPU (HITM) in {}",
            self.name(map),
            part.name(),
            counted(&finding, self.loads),
        );
        Some(finding)
    }

    /// Loads of one stage of a lookup that came from RAM or a remote cache.
    fn beyond_the_caches(&self, (map, stage): (u32, Stage)) -> Option<Finding> {
        let counts = self.by_stage.get(&(map, stage))?;
        let hits = counts.llc_miss()?;
        let with_level = u64::from(counts.loads - counts.level_unknown);
        let stake = self.stake_of(counts, hits);
        let mut finding = self.finding(map, "misses", stake, hits, with_level)?;
        finding.text = format!(
            "`{}`: the {} missed the last-level cache in {}",
            self.name(map),
            match stage {
                Stage::Control => "control word (tophash, ctrl)",
                stage => stage_name(stage),
            },
            counted(&finding, self.loads),
        );
        Some(finding)
    }

    /// The part of the latency counted that `hits` of the loads have when all cost the same: a
    /// lower bound for slow ones. Ranks findings; no sentence states it.
    fn stake_of(&self, counts: &Counts, hits: u64) -> u64 {
        if !self.latencies() {
            return hits;
        }
        let mean = counts.latency_sum.checked_div(counts.latency_n.into());
        mean.unwrap_or(0).saturating_mul(hits)
    }
}

/// `4,812 of 7,911 samples (60.8 %, 95 % interval 59.7-61.9 %)`.
fn counted(finding: &Finding, of_what: &str) -> String {
    format!(
        "{} of {} {of_what} ({}, 95 % interval {:.1}-{:.1} %)",
        thousands(finding.samples),
        thousands(finding.of),
        percent(finding.samples, finding.of),
        100.0 * finding.interval.0,
        100.0 * finding.interval.1,
    )
}

/// Where most of the loads came from, when that is beyond L1 and more than half of them.
fn served(counts: &Counts) -> String {
    let half = counts
        .loads
        .saturating_sub(counts.level_unknown)
        .div_ceil(2);
    if half > 0 && counts.llc_miss >= half {
        ", mostly LLC misses".to_owned()
    } else if half > 0 && counts.l1_miss >= half {
        ", mostly L1 misses".to_owned()
    } else {
        String::new()
    }
}

pub fn percent(part: u64, of: u64) -> String {
    if of == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", 100.0 * part as f64 / of as f64)
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1,000");
        assert_eq!(thousands(1234567), "1,234,567");
    }
}
