//! What is not a table: where the samples came from and how far they can be trusted.

use super::together::Together;
use crate::attribute::Declared;
use crate::program::Go;
use crate::recording::{Event, Gap, Meta};
use serde::{Deserialize, Serialize};

/// What is not a table: where the samples came from and how far they can be trusted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Version of this structure.
    pub schema: u32,
    pub mempath: String,
    pub recording: String,
    pub meta: Meta,
    pub events: Vec<Event>,
    pub binaries: Vec<Binary>,
    /// Samples read -> memory accesses -> user -> this binary -> map code or map memory -> part -> slot -> map.
    pub funnel: Vec<Step>,
    /// Samples without a part, by reason: `(reason, meaning, samples)`.
    pub reasons: Vec<(String, String, u64)>,
    /// Samples with a part, by evidence.
    pub evidence: Vec<(String, u64)>,
    pub contradictions: Vec<crate::attribute::Contradiction>,
    pub gaps: Vec<Gap>,
    pub damage: Vec<crate::recording::Damage>,
    /// First and last sample, nanoseconds on the recording's clock.
    pub time_ns: Option<(u64, u64)>,
    /// Sentences that bend how the numbers are to be read, most severe first.
    pub caveats: Vec<Caveat>,
    /// At most seven: possible crashes, then the most at stake; empty when nothing stands out.
    pub findings: Vec<Finding>,
    /// All memory accesses of the recording.
    pub overall: Overall,
    /// All loads of the recording by the level that served them.
    #[serde(default)]
    pub levels: Vec<LevelLoads>,
    /// Width of a bin of the frame `latency`, in nanoseconds; 0 when no event sampled the time.
    pub time_bin_ns: u64,
    pub order: OrderLimits,
    /// What `analyses` adds after the tables are built; boxed because it is large.
    #[serde(default)]
    pub together: Box<Together>,
}

impl Summary {
    /// What a rate of loads is of: `loads`, or `loads of at least 30 cycles` where the event left out
    /// faster ones (`ldlat`).
    pub fn loads(&self) -> String {
        loads(&self.events)
    }
}

/// As [`Summary::loads`]; of several events the highest threshold counts.
pub fn loads(events: &[Event]) -> String {
    match events.iter().filter_map(Event::leaves_out_below).max() {
        Some(cycles) => format!("loads of at least {cycles} cycles"),
        None => "loads".to_owned(),
    }
}

/// The counts of all memory accesses; `None` is "not applicable or unknown", as in the frames.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overall {
    pub samples: u64,
    pub loads: u64,
    pub stores: u64,
    pub l1_hit: Option<u64>,
    pub lfb: Option<u64>,
    pub l1_miss: Option<u64>,
    pub llc_miss: Option<u64>,
    pub hitm: Option<u64>,
    pub level_unknown: u64,
    /// Cycles.
    pub latency_sum: Option<u64>,
    pub latency_n: u64,
    /// Cycles, as the column `latency_p50`.
    pub latency_p50: Option<u32>,
    pub latency_p95: Option<u32>,
}

/// Loads that one level served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelLoads {
    /// null where the PMU did not tell it.
    pub level: Option<String>,
    pub loads: u64,
    /// Those of them that have a latency, and cycles, as in [`Overall`].
    pub latency_n: u64,
    pub latency_sum: Option<u64>,
    pub latency_p50: Option<u32>,
    pub latency_p95: Option<u32>,
}

/// How many raw samples the frame `order` holds, and of how many it could.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLimits {
    /// Rows of the frame.
    pub rows: u64,
    /// Most rows of the frame.
    pub limit: u64,
    /// Most rows of one structure instance: of a hotter one the first in time.
    pub each: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Step {
    pub name: String,
    pub samples: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Binary {
    /// As recorded.
    pub path: String,
    /// Where it was found, or why not.
    pub found: Result<String, String>,
    pub build_id: Option<String>,
    /// Accepted by `--force` although its build id differs or is missing.
    pub forced: bool,
    pub stripped: bool,
    pub go: Option<Go>,
    pub samples: u64,
    /// Its DWARF beside the data flow; `None` without DWARF, or without samples of map code.
    #[serde(default)]
    pub declared: Option<Declared>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caveat {
    pub severity: Severity,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Shown in red on the first screen: the numbers do not mean what they seem to.
    Alarm,
    /// Shown beside the charts that it bends.
    Note,
}

/// One sentence worth reading first, with its numbers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Finding {
    pub text: String,
    /// Sampled latency at stake, in cycles, where the recording has latencies; else samples.
    pub at_stake: u64,
    pub samples: u64,
    pub of: u64,
    /// Exact 95 % interval of `samples / of` (Clopper and Pearson).
    pub interval: (f64, f64),
    pub evidence: String,
    /// The chart that shows it.
    pub chart: String,
}
