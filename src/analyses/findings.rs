//! What the order analyses found, as sentences: ranked by what is at stake, each with its counts and an
//! interval.

use super::access_path::Path;
use super::background::{Background, Cause};
use super::concurrent::Overlap;
use super::lines::{Line, Lines};
use super::operations::Bracket;
use crate::attribute::Attribution;
use crate::tables::{
    Finding, LEAST, clopper_pearson, operation_name, percent, phase_name, stands_out, thousands,
};
use std::cmp::Reverse;

/// What the sentences are made from.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub attribution: &'a Attribution,
    pub operations: &'a [Bracket],
    pub concurrent: &'a [Overlap],
    pub background: &'a Background,
    pub paths: &'a [Path],
    pub lines: &'a Lines,
    /// Every access to the watched words was recorded.
    pub every_access: bool,
}

/// Possible crashes first, then the most cycles at stake.
pub fn findings(found: &Found) -> Vec<Finding> {
    let mut all = found.urgent();
    all.extend(found.slow());
    all
}

fn finding(
    text: String,
    at_stake: u64,
    samples: u64,
    of: u64,
    evidence: &str,
    chart: &str,
) -> Finding {
    let interval = clopper_pearson(samples, of);
    let (low, high) = (100.0 * interval.0, 100.0 * interval.1);
    Finding {
        text: format!(
            "{text}: {} of {} ({}, 95 % interval {low:.1}-{high:.1} %)",
            thousands(samples),
            thousands(of),
            percent(samples, of)
        ),
        at_stake,
        samples,
        of,
        interval,
        evidence: evidence.to_owned(),
        chart: chart.to_owned(),
    }
}

impl Found<'_> {
    /// What may crash the program or give it a wrong result.
    pub fn urgent(&self) -> Vec<Finding> {
        let overlaps = self.concurrent.iter().filter_map(|o| self.overlap(o));
        overlaps.chain(self.deviations()).collect()
    }

    /// What costs latency, the most first.
    pub fn slow(&self) -> Vec<Finding> {
        let mut slow = self.causes();
        slow.extend(self.moves());
        slow.extend(self.lines());
        slow.sort_by(|a, b| (Reverse(a.at_stake), &a.text).cmp(&(Reverse(b.at_stake), &b.text)));
        slow
    }

    fn map(&self, map: u32) -> &str {
        let map = self.attribution.maps.get(map as usize);
        map.map_or("unknown map", |m| &m.name)
    }

    /// What the evidence is.
    fn evidence(&self) -> &'static str {
        match self.every_access {
            true => "every access",
            false => "sampled order",
        }
    }

    fn least(&self) -> u64 {
        // Of every access recorded one is enough: it is no sample.
        if self.every_access { 1 } else { LEAST }
    }

    fn overlap(&self, o: &Overlap) -> Option<Finding> {
        let of: u64 = self
            .concurrent
            .iter()
            .filter(|p| p.map == o.map)
            .map(|p| p.accesses)
            .sum();
        let text = format!(
            "`{}`: {} by thread {} inside of {} by thread {} ({} is possible), accesses of all that overlap on it",
            self.map(o.map),
            operation_name(o.operations.1),
            o.tids.1,
            operation_name(o.operations.0),
            o.tids.0,
            o.clash.fatal(),
        );
        let found = finding(
            text,
            o.accesses,
            o.accesses,
            of,
            self.evidence(),
            "concurrent",
        );
        (o.accesses >= self.least()).then_some(found)
    }

    /// One sentence for each kind of store out of its order.
    fn deviations(&self) -> Vec<Finding> {
        let mut kinds = std::collections::BTreeMap::<_, u64>::new();
        for b in self.operations {
            for d in b.deviations.iter().take(1) {
                *kinds
                    .entry((b.map, b.operation, d.phase, d.after))
                    .or_default() += 1;
            }
        }
        let kinds = kinds
            .into_iter()
            .map(|((map, operation, phase, after), n)| {
                let same = |b: &&Bracket| b.map == map && b.operation == operation;
                let text = format!(
                    "`{}`: {} after {} against the order of Go's source, in operations of kind {}",
                    self.map(map),
                    phase_name(phase),
                    phase_name(after),
                    operation_name(operation),
                );
                let of = self.operations.iter().filter(same).count() as u64;
                finding(text, n, n, of, "every access", "brackets")
            });
        kinds.collect()
    }

    /// The share of what the program does not do itself.
    fn causes(&self) -> Vec<Finding> {
        let causes = &self.background.causes;
        let of: u64 = causes.values().map(|c| c.0).sum();
        let others = causes.iter().filter(|(cause, _)| **cause != Cause::Program);
        let all = others.map(|(cause, &(samples, cycles))| {
            let text = format!(
                "{}, not the program's own operations, accessed map memory in these samples on it",
                cause.text()
            );
            finding(
                text,
                cycles.unwrap_or(samples),
                samples,
                of,
                self.evidence(),
                "background",
            )
        });
        all.filter(|f| stands_out(f.samples, f.of).is_some())
            .collect()
    }

    /// Lines of maps that loads found modified by another CPU, with what they are shared for.
    fn lines(&self) -> Vec<Finding> {
        let all = self.lines.lines.iter().filter_map(|line| self.line(line));
        all.collect()
    }

    fn line(&self, line: &Line) -> Option<Finding> {
        let (hits, of) = (line.stats.hitm(), self.lines.totals.hitm());
        stands_out(hits, of)?;
        let of_maps = line.entries.iter().filter(|entry| entry.part.is_some());
        let mut parts: Vec<String> = of_maps
            .filter_map(|entry| {
                let part = entry.part.as_deref()?;
                Some(match self.attribution.maps.get(entry.map as usize) {
                    Some(map) => format!("`{part}` of `{}`", map.name),
                    None => format!("`{part}`"),
                })
            })
            .collect();
        parts.sort_unstable();
        parts.dedup();
        let first = parts.first()?;
        let rest = match parts.len() - 1 {
            0 => String::new(),
            rest => format!(" and {rest} more"),
        };
        let hitm = line
            .entries
            .iter()
            .flat_map(|e| [e.remote_hitm.sum, e.local_hitm.sum]);
        let at_stake = hitm.fold(0, u64::saturating_add);
        let text = format!(
            "line {:#x} with {first}{rest}, {}, loads that found their line modified by another CPU (HITM)",
            line.address,
            line.sharing?.text(),
        );
        Some(finding(
            text,
            at_stake,
            hits,
            of,
            self.evidence(),
            "sharing",
        ))
    }

    /// The best move of each map.
    fn moves(&self) -> Vec<Finding> {
        let best = self.paths.iter().filter_map(|path| {
            let best = path.moves.first()?;
            let of: u64 = path.levels.values().map(|e| e.loads).sum();
            stands_out(best.loads, of)?;
            let text = format!(
                "`{}`: loads of `{}` from {} would take {} sampled cycles less from {}; such loads of the map",
                self.map(path.map),
                best.part.name(),
                best.from.name(),
                thousands(best.saves as u64),
                best.to.name(),
            );
            Some(finding(text, best.saves as u64, best.loads, of, self.evidence(), "path"))
        });
        best.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyses::concurrent::{Clash, Danger};
    use crate::attribute::Operation;

    #[test]
    fn few_samples_are_no_finding_and_one_recorded_access_is() {
        let overlap = |accesses| Overlap {
            map: 0,
            clash: Clash::WriteWrite,
            danger: Danger::FlagUnknown,
            tids: (1, 2),
            operations: (Operation::Assign, Operation::Delete),
            accesses,
            first: (0, 1, 2),
        };
        let (attribution, background) = (Attribution::default(), Background::default());
        let of = |accesses, every_access| {
            let concurrent = [overlap(accesses)];
            let found = Found {
                attribution: &attribution,
                operations: &[],
                concurrent: &concurrent,
                background: &background,
                paths: &[],
                lines: &Lines::default(),
                every_access,
            };
            findings(&found).len()
        };
        assert_eq!((of(29, false), of(30, false), of(1, true)), (0, 1, 1));
    }

    #[test]
    fn growth_stands_out_from_a_lower_bound_of_five_percent_on() {
        // Clopper-Pearson: 100 of 1,000 is 8.2-12.0 %, 50 of 1,000 is 3.7-6.5 %.
        let of = |growth| {
            let mut background = Background::default();
            background.causes.insert(Cause::Growth, (growth, Some(7)));
            background
                .causes
                .insert(Cause::Program, (1_000 - growth, Some(9)));
            let found = Found {
                attribution: &Attribution::default(),
                operations: &[],
                concurrent: &[],
                background: &background,
                paths: &[],
                lines: &Lines::default(),
                every_access: false,
            };
            findings(&found)
                .into_iter()
                .map(|f| f.text)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            of(100),
            [
                "growth, not the program's own operations, accessed map memory in these samples on it: \
                 100 of 1,000 (10.0 %, 95 % interval 8.2-12.0 %)"
            ]
        );
        assert_eq!(of(50), [""; 0]);
    }
}
