//! Why samples in maps are not told: every one that the score counts against the recall, in one class.

use crate::bound::{Recorded, Slot};
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

/// Distinct entries that tell where a directory begins, and starts that tell where a bucket or group does.
const ENTRIES: usize = 11;
const STARTS: usize = 3;

/// Words of the classes of slots that the recording has enough of.
const ENOUGH: [&str; 2] = ["a register points", "and more"];

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
        recorded: &Recorded,
        attribution: &Attribution,
    ) {
        let of = &recorded.maps[&n];
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
                let what = match recorded.slot(n) {
                    Slot::InRegister => "a register points to it",
                    Slot::BucketInRegister => {
                        "a register points to its bucket or group, others saw the slot"
                    }
                    Slot::OnlyOthers => "only others saw it, at other times",
                    Slot::InCore => "only the core has it, which is of later",
                    Slot::Nothing => "nothing is recorded of it",
                };
                format!("the slot that points to an elem: {what}")
            }
            "slot" => {
                let starts = match (truth.part.as_str(), recorded.starts(n, truth)) {
                    ("directory.table_ptr", 0..ENTRIES) => "fewer than 11 entries of it",
                    ("directory.table_ptr", _) => "11 entries of it and more",
                    (_, 0..STARTS) => "fewer than 3 starts in its array",
                    _ => "3 starts in its array and more",
                };
                format!("{}: no start, {starts}, {code}", of.structure)
            }
            _ => {
                let table = match recorded.table_in_core(n, truth) {
                    _ if of.structure != "table" => "",
                    Some(true) => ", and this table",
                    Some(false) => ", and another map's table here",
                    None => "",
                };
                let header = match (recorded.map_in_core(truth), recorded.header(truth)) {
                    (Some(true), _) => "the core has it",
                    (Some(false), _) => "the core has it no more",
                    (None, true) => "header seen",
                    (None, false) => "header never seen",
                };
                match of.map_type.contains("*sync.entry") {
                    true => format!("a map in a sync.Map, {header}"),
                    false if of.like > 1 => {
                        format!(
                            "several maps of its type: {}, {header}{table}",
                            of.structure
                        )
                    }
                    false => {
                        format!(
                            "of the one map of its type: {}, {header}{table}",
                            of.structure
                        )
                    }
                }
            }
        };
        *self.counts.entry((level.to_owned(), class)).or_default() += 1;
    }

    /// How many slots are not told although enough is recorded of them.
    pub fn in_reach(&self) -> u64 {
        ENOUGH.iter().map(|words| self.count("slot", words)).sum()
    }

    /// Of the tables whose map is not told: how many the core has in that map, and in another one.
    pub fn tables_in_core(&self) -> (u64, u64) {
        let [same, other] =
            ["and this table", "and another map's table"].map(|w| self.count("map", w));
        (same, other)
    }

    /// How many are missed at a level in the classes with these words.
    fn count(&self, level: &str, words: &str) -> u64 {
        let classes = self.counts.iter();
        let meant = classes.filter(|((of, class), _)| of == level && class.contains(words));
        meant.map(|(_, n)| n).sum()
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
