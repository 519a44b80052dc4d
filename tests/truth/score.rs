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

impl Claim {
    /// Whether it claims anything at a level.
    pub fn says(&self, level: &str) -> bool {
        match level {
            "part" => self.part.is_some(),
            "slot" => self.part.is_some() && self.base.is_some(),
            _ => self.map.is_some(),
        }
    }
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

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Score) {
        let levels = [
            (&mut self.part, other.part),
            (&mut self.slot, other.slot),
            (&mut self.map, other.map),
        ];
        for (level, other) in levels {
            level.right += other.right;
            level.claimed += other.claimed;
            level.positives += other.positives;
        }
    }
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

/// Scores `claims[n]`. `see` hears of every wrong claim, and of every sample in a map of which nothing is
/// claimed: sample, level, truth, claim.
pub fn score(
    truths: &HashMap<usize, Option<Truth>>,
    claims: &[Claim],
    mut see: impl FnMut(usize, &str, Option<&Truth>, &Claim),
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
        let truth = truth.as_ref();
        let hard = truth.is_some_and(|t| !t.soft);
        let map_right = claim
            .map
            .as_deref()
            .map(|map| truth.is_some_and(|t| majority[map] == Some(t.header.as_str())));
        let optional = truth.is_some_and(|t| t.soft) && map_right != Some(false);
        let part_right = truth.is_some_and(|t| claim.part.as_ref() == Some(&t.part));
        let slot_right =
            part_right && truth.is_some_and(|t| claim.base == Some(t.base) && t.slot == claim.slot);
        let levels = [
            ("part", &mut score.part, part_right),
            ("slot", &mut score.slot, slot_right),
            ("map", &mut score.map, map_right == Some(true)),
        ];
        for (name, level, right) in levels {
            level.positives += u64::from(hard);
            let says = claim.says(name) && !optional;
            level.claimed += u64::from(says);
            level.right += u64::from(says && right);
            if says && !right || hard && !claim.says(name) {
                see(n, name, truth, claim);
            }
        }
    }
    score
}
