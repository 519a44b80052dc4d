//! Recording + attribution -> polars frames, and one [`Summary`]. Only here are frames built.
//!
//! Everything after this module reads frames and the summary; a report can be made from a saved
//! folder of them.

pub mod columns;

use crate::program::Go;
use crate::recording::{Event, Gap, Meta};
use polars::prelude::DataFrame;
use serde::{Deserialize, Serialize};

/// All a report needs. `mempath analyze --tables DIR` writes it (`summary.json` and one Parquet
/// file a frame), `mempath report DIR` reads it. The frames' columns are those of [`columns`].
#[derive(Debug, Clone)]
pub struct Tables {
    pub summary: Summary,
    pub maps: DataFrame,
    pub parts: DataFrame,
    pub arrays: DataFrame,
    pub cells: DataFrame,
    pub functions: DataFrame,
    pub lines: DataFrame,
    pub latency: DataFrame,
    pub order: DataFrame,
}

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
    pub findings: Vec<Finding>,
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
    /// 95 % interval of `samples / of` (Wilson).
    pub interval: (f64, f64),
    pub evidence: String,
    /// The chart that shows it.
    pub chart: String,
}
