//! What the analyses of all accesses together found, as plain data: who worked on one map at the same
//! time, what the program did not do itself, which loads may have read an old value. Maps are rows of
//! the frame `maps`, times are nanoseconds on the recording's clock.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Together {
    /// Accesses that were looked at, the first of the file, and how many there are.
    pub looked_at: u64,
    pub accesses: u64,
    /// Nothing between two accesses to the watched words is missing.
    pub every_access: bool,
    /// Longest time between two samples that count as one operation.
    pub window_ns: u64,
    /// Writing operations of each kind; empty unless every access to a map's flags was recorded.
    pub operations: Vec<OperationKind>,
    /// The first of them, and those with something odd, in order of time.
    pub brackets: Vec<Bracketed>,
    /// Two threads in one map at one time, the likeliest to crash first.
    pub overlaps: Vec<Overlapping>,
    /// All kinds of overlaps, of which `overlaps` has the first.
    pub overlap_kinds: u64,
    /// On whose account map memory was accessed.
    pub causes: Vec<Cause>,
    pub slowdowns: Vec<Slowdown>,
    /// When the collector marked and maps grew, as far as samples show it.
    pub windows: Vec<Window>,
    pub moves: Vec<Move>,
    pub stale: Stale,
    /// Neighbours of one CPU and thread by the rule that orders them; empty on architectures whose
    /// rules are not known.
    pub rules: Vec<Rule>,
}

/// All writing operations of one kind on one map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationKind {
    pub operation: String,
    pub map: u64,
    pub count: u64,
    /// From setting the flag to clearing it; null when no operation ended in the recording.
    pub median_ns: Option<u64>,
    pub p95_ns: Option<u64>,
    /// With accesses of other threads to the map inside.
    pub interleaved: u64,
    /// With stores in another order than the source has them.
    pub deviating: u64,
}

/// One writing operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracketed {
    pub operation: String,
    pub map: u64,
    pub tid: i64,
    pub begin_ns: u64,
    /// null: the recording ends inside of it.
    pub end_ns: Option<u64>,
    /// Its stores' phases, each once, in the order in which they came by.
    pub phases: Vec<String>,
    /// Accesses of other threads to the map inside of it: how many, and the first.
    pub between: u64,
    pub intruders: Vec<Intruder>,
    /// Stores that came after one that the source has behind them: phase, the phase before it.
    pub deviations: Vec<(String, String)>,
    /// First and last of its accesses that move buckets or groups: growth, a step of which each writing
    /// operation does while a map grows.
    pub growth_ns: Option<(u64, u64)>,
}

/// An access inside of another thread's operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intruder {
    pub time_ns: u64,
    pub tid: i64,
    pub what: Touched,
}

/// What an access touched, and which code did it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// load, store, ...
    pub op: Option<String>,
    pub part: Option<String>,
    pub operation: Option<String>,
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlapping {
    pub map: u64,
    /// What Go's runtime throws when it notices.
    pub fatal: String,
    /// What is known of `hashWriting` (`writing`) at the time.
    pub flag: String,
    /// The thread whose operation was not over, and the other one.
    pub tids: (i64, i64),
    pub operations: (String, String),
    /// Accesses of the second inside of operations of the first.
    pub accesses: u64,
    /// Where the first one was, and where the other came in: the first time that was seen.
    pub first: (Touched, Touched),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    pub name: String,
    pub samples: u64,
    /// Sampled cycles; null where no sample has a latency.
    pub cycles: Option<u64>,
    /// Exact 95 % interval of its share of the samples (Clopper and Pearson).
    pub interval: (f64, f64),
}

/// Latency of the program's loads of map memory while something ran, against the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slowdown {
    pub during: String,
    pub samples: u64,
    pub otherwise: u64,
    /// Cycles more, and the 95 % interval of that (normal approximation, variances not pooled); null
    /// where either side has too few samples.
    pub more: Option<(f64, f64, f64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// `GC marking` or `growth`.
    pub what: String,
    /// The map that grew; null for the collector.
    pub map: Option<u64>,
    pub begin_ns: u64,
    pub end_ns: u64,
}

/// Loads of one part from one level, as if a nearer one had served them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Move {
    pub map: u64,
    pub part: String,
    pub from: String,
    pub to: String,
    pub loads: u64,
    /// Sampled cycles less, at the mean latency of the recording's loads from `to`.
    pub saves: u64,
}

/// Loads that may have read a value that another CPU had overwritten already.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stale {
    /// Why nothing can be told.
    pub cannot_tell: Option<String>,
    pub window_ns: u64,
    /// As the recording names it; null: perf's own.
    pub clock: Option<String>,
    /// The step that all times are multiples of.
    pub granularity_ns: u64,
    /// Samples of one CPU that stand in the file in another order than their times say.
    pub out_of_order: u64,
    /// The narrowest bounds first.
    #[serde(default)]
    pub skew: Vec<Skew>,
    /// Loads from own caches of words that a sampled store was made to, and the pairs found.
    pub loads: u64,
    pub found: u64,
    /// The closest ones first.
    pub pairs: Vec<StalePair>,
}

/// How far the clock of the second CPU is ahead of that of the first: `offset_ns` give or take
/// `error_ns`, by the threads that moved between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skew {
    pub cpus: [u64; 2],
    pub offset_ns: i64,
    pub error_ns: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StalePair {
    pub map: Option<u64>,
    pub part: Option<String>,
    pub word: u64,
    pub after_ns: u64,
    pub level: String,
    pub store_cpu: u64,
    pub load_cpu: u64,
    pub store: Touched,
    pub load: Touched,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub name: String,
    /// Whether no other CPU can see the second access first.
    pub kept: bool,
    pub why: String,
    pub pairs: u64,
}

impl Together {
    /// Every text that may hold a name of the program's own.
    pub(super) fn touched(&mut self) -> impl Iterator<Item = &mut Touched> {
        let intruders = self.brackets.iter_mut().flat_map(|b| &mut b.intruders);
        let overlaps = self.overlaps.iter_mut();
        let pairs = self.stale.pairs.iter_mut();
        let intruders = intruders.map(|i| &mut i.what);
        let overlaps = overlaps.flat_map(|o| [&mut o.first.0, &mut o.first.1]);
        intruders
            .chain(overlaps)
            .chain(pairs.flat_map(|p| [&mut p.store, &mut p.load]))
    }
}
