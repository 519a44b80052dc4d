//! Precision and recall of an attribution against a truth set, by the rules that `score.py` beside
//! the truth sets documents.

use std::collections::HashMap;

/// What the truth set says of one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    pub part: String,
    pub base: u64,
    pub slot: Option<i8>,
    pub header: String,
    /// Memory not yet or no longer linked, or sync.Map's own: out of the recall.
    pub soft: bool,
}

/// What an attribution claims of one sample; empty fields claim nothing.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    pub part: Option<String>,
    pub base: Option<u64>,
    pub slot: Option<i8>,
    pub map: Option<String>,
}

/// Right, claimed and to be found, at one level.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Level {
    pub right: u64,
    pub claimed: u64,
    pub positives: u64,
}

impl Level {
    pub fn precision(&self) -> f64 {
        self.right as f64 / self.claimed.max(1) as f64
    }

    pub fn recall(&self) -> f64 {
        self.right as f64 / self.positives.max(1) as f64
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    pub part: Level,
    pub slot: Level,
    pub map: Level,
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, level) in [("part", self.part), ("slot", self.slot), ("map", self.map)] {
            write!(
                f,
                "{name} precision {:.3} % recall {:.3} % ({} right of {} claimed)  ",
                100.0 * level.precision(),
                100.0 * level.recall(),
                level.right,
                level.claimed
            )?;
        }
        Ok(())
    }
}

/// Scores `claims[n]`. `wrong` hears of every wrong claim: sample, level, truth, claim.
pub fn score(
    truths: &HashMap<usize, Option<Truth>>,
    claims: &[Claim],
    mut wrong: impl FnMut(usize, &str, Option<&Truth>, &Claim),
) -> Score {
    let mut votes: HashMap<&str, HashMap<Option<&str>, u64>> = HashMap::new();
    for (n, truth) in truths {
        if let Some(map) = claims.get(*n).and_then(|c| c.map.as_deref()) {
            let header = truth.as_ref().map(|t| t.header.as_str());
            *votes.entry(map).or_default().entry(header).or_default() += 1;
        }
    }
    let majority: HashMap<&str, Option<&str>> = votes
        .into_iter()
        .map(|(map, headers)| {
            let best = headers.into_iter().max_by_key(|(header, n)| (*n, *header));
            (map, best.and_then(|(header, _)| header))
        })
        .collect();
    let mut score = Score::default();
    let nothing = Claim::default();
    for (&n, truth) in truths {
        let claim = claims.get(n).unwrap_or(&nothing);
        let hard = truth.as_ref().is_some_and(|t| !t.soft);
        for level in [&mut score.part, &mut score.slot, &mut score.map] {
            level.positives += u64::from(hard);
        }
        let map_right = claim.map.as_deref().map(|map| {
            truth
                .as_ref()
                .is_some_and(|t| majority[map] == Some(t.header.as_str()))
        });
        if truth.as_ref().is_some_and(|t| t.soft) && map_right != Some(false) {
            continue;
        }
        if let Some(right) = map_right {
            count(&mut score.map, right);
            if !right {
                wrong(n, "map", truth.as_ref(), claim);
            }
        }
        let Some(part) = &claim.part else { continue };
        let right = truth.as_ref().is_some_and(|t| t.part == *part);
        count(&mut score.part, right);
        if !right {
            wrong(n, "part", truth.as_ref(), claim);
        }
        let Some(base) = claim.base else { continue };
        let right = right
            && truth
                .as_ref()
                .is_some_and(|t| t.base == base && t.slot == claim.slot);
        count(&mut score.slot, right);
        if !right {
            wrong(n, "slot", truth.as_ref(), claim);
        }
    }
    score
}

fn count(level: &mut Level, right: bool) {
    level.claimed += 1;
    level.right += u64::from(right);
}
