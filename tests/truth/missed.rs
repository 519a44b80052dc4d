//! Why samples in maps are not told: every one that the score counts against the recall, in one class.

use crate::score::{Claim, Level, Score, Truth};
use mempath::attribute::{Attribution, Reason};
use std::collections::{BTreeMap, HashMap};

/// What the truth set says of a sample's map, beside [`Truth`].
#[derive(Debug, Clone)]
pub struct Of {
    /// `bmap_overflow`, `indirect_elem`, ...
    pub structure: String,
    pub map_type: String,
    /// Maps of this type in the truth set.
    pub like: usize,
}

/// Counts of missed samples by level and class.
#[derive(Debug, Default)]
pub struct Missed {
    counts: BTreeMap<(String, String), u64>,
}

/// The code that touched memory, as far as it matters for what a sample tells.
fn code(function: &str) -> &'static str {
    let is = |words: &[&str]| words.iter().any(|word| function.contains(word));
    if is(&[
        "scanobject",
        "scanObject",
        "greyobject",
        "gcDrain",
        "markroot",
        "scanblock",
    ]) {
        "the collector"
    } else if is(&[
        "memhash",
        "strhash",
        "aeshash",
        "nilinterhash",
        "Hash",
        "equal",
        ".eq.",
        "memeq",
    ]) {
        "hashing and comparing"
    } else if is(&[
        "memmove",
        "memclr",
        "typed",
        "duff",
        "bulkBarrier",
        "wbMove",
        "wbZero",
    ]) {
        "copying and clearing"
    } else if is(&[
        "runtime.map",
        "runtime.evacuate",
        "runtime.growWork",
        "runtime.hashGrow",
        "internal/runtime/maps.",
    ]) {
        "map code"
    } else {
        "other code"
    }
}

impl Missed {
    /// Adds a sample that is not, or wrongly, told at a level.
    pub fn add(
        &mut self,
        n: usize,
        level: &str,
        truth: &Truth,
        claim: &Claim,
        of: &Of,
        attribution: &Attribution,
    ) {
        let place = attribution
            .place
            .get(n)
            .map(|id| &attribution.places[id as usize]);
        let function = place.and_then(|place| place.function.as_deref());
        let code = code(function.unwrap_or_default());
        let class = match level {
            _ if claim.says(level) => format!("told wrongly: {}", truth.part),
            "part" => {
                let reason: &Reason = attribution.part[n].as_ref().expect_err("no part");
                format!("{code}: {reason:?}")
            }
            _ if claim.part.is_none() => "no part".to_owned(),
            "slot" if truth.part == "indirect_elem.elem" => {
                "a key or an elem outside of its slot: which slot points to it".to_owned()
            }
            "slot" => format!("{}: no start, {code}", of.structure),
            _ if of.map_type.contains("*sync.entry") => "a map in a sync.Map".to_owned(),
            _ if of.like > 1 => format!("{} maps of its type: {}", of.like, of.structure),
            _ => format!("of the one {}: {}", of.map_type, of.structure),
        };
        *self.counts.entry((level.to_owned(), class)).or_default() += 1;
    }

    /// Prints the classes; they are as many as the score misses.
    pub fn tell(&self, score: &Score) {
        let levels: HashMap<&str, Level> = HashMap::from([
            ("part", score.part),
            ("slot", score.slot),
            ("map", score.map),
        ]);
        for level in ["part", "slot", "map"] {
            let all = levels[level];
            let missed = all.positives - all.right;
            let share = |n: u64| 100.0 * n as f64 / all.positives as f64;
            println!(
                "  {level}: {missed} of {} missed, {:.2} %",
                all.positives,
                share(missed)
            );
            let classes = self.counts.iter().filter(|((of, _), _)| of == level);
            let mut classes: Vec<(&str, u64)> =
                classes.map(|((_, c), n)| (c.as_str(), *n)).collect();
            classes.sort_by_key(|(class, n)| (std::cmp::Reverse(*n), *class));
            for (class, n) in &classes {
                println!("    {n:6} {:5.2} % {class}", share(*n));
            }
            let counted: u64 = classes.iter().map(|(_, n)| n).sum();
            assert_eq!(counted, missed, "{level}");
        }
    }
}
