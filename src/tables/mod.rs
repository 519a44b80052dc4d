//! Recording + attribution -> polars frames, and one [`Summary`]. Only here are frames built.
//!
//! Everything after this module reads frames and the summary; a report can be made from a saved
//! folder of them. A count that is zero is 0; one that does not apply or is not known is null, and
//! the columns `loads`, `stores` and `level_unknown` beside it tell which.

mod accesses;
mod aggregate;
mod bits;
mod caveats;
mod cells;
pub mod columns;
mod counts;
mod findings;
mod frames;
mod funnel;
mod gathered;
mod histogram;
mod interval;
mod kept;
mod kinds;
mod listing;
mod order;
pub mod read;
mod redact;
mod rows;
mod store;
mod summarise;
mod summary;
pub mod together;
mod words;

pub use accesses::{Access, Accesses, CHUNK};
pub use findings::{LEAST, MOST_FINDINGS, percent, stands_out, thousands};
pub use frames::{file_line, inner};
pub use interval::clopper_pearson;
pub use listing::list;
pub use redact::redact;
pub use rows::Rows;
pub use store::{TablesError, write_accesses, write_parquet};
pub use summary::{
    Binary, Caveat, Finding, LevelLoads, OrderLimits, Overall, Severity, Step, Summary,
};
pub use words::{evidence_name, gap_name, operation_name, phase_name, stage_name};

use crate::attribute::Attribution;
use crate::recording::Recording;
use aggregate::{TimeAxis, totals};
use polars::prelude::{DataFrame, PolarsResult};
use rayon::prelude::*;

/// Version of the folder of tables, in `Summary::schema`.
pub const SCHEMA: u32 = 1;

/// All a report needs. `mempath analyze --tables DIR` writes it (`summary.json` and one Parquet
/// file a frame), `mempath report DIR` reads it. The frames' columns are those of [`columns`].
#[derive(Debug, Clone)]
pub struct Tables {
    pub summary: Summary,
    /// One row a map, in the order that the column `map` of other frames refers to.
    pub maps: DataFrame,
    /// One row a map and part.
    pub parts: DataFrame,
    /// One row a bucket array or a table's groups, in the order that the column `array` refers to.
    pub arrays: DataFrame,
    /// One row a map, array, bin of indexes and byte offset that was hit.
    pub cells: DataFrame,
    /// One row a map, part, place in a pair of cache lines and byte offset: keys and elems that lie outside
    /// of their buckets or groups.
    pub outside: DataFrame,
    /// One row a function.
    pub functions: DataFrame,
    /// One row a source line, operation, phase and part.
    pub lines: DataFrame,
    /// One row an instruction that samples hit, by function and offset; after [`list`] of the hottest
    /// functions alone, with the instructions around those, whose counts are null.
    pub listing: DataFrame,
    /// One row an instruction of a map operation and part, in the order of one run through it.
    pub steps: DataFrame,
    /// One row a map, time bin, latency bin and level: the samples that have a latency.
    pub latency: DataFrame,
    /// One row a map and level: the loads that it served.
    pub levels: DataFrame,
    /// The raw samples of the hottest structure instances, instance by instance, each in time order.
    pub order: DataFrame,
    /// One row a map and stage of a lookup: golang/go#70835's table.
    pub misses: DataFrame,
    /// One row a gap of the recording.
    pub gaps: DataFrame,
    /// One row a raw access, as many as a page holds; `samples` says how many it stands for.
    pub kept: DataFrame,
}

impl Tables {
    /// Adds up all samples of a recording. `binaries` is told, not asked: it goes into the summary.
    pub fn build(
        recording: &Recording,
        attribution: &Attribution,
        binaries: Vec<Binary>,
    ) -> Result<Tables, TablesError> {
        Self::of(&Accesses::new(recording, attribution), recording, binaries)
    }

    fn of(
        accesses: &Accesses,
        recording: &Recording,
        binaries: Vec<Binary>,
    ) -> Result<Tables, TablesError> {
        let Accesses { rows, kinds } = accesses;
        let attribution = rows.attribution;
        let time = TimeAxis::of(rows);
        let totals = totals(rows, kinds, &time);
        // What takes longest comes first.
        let frames: [&(dyn Fn() -> PolarsResult<DataFrame> + Sync); 12] = [
            &|| frames::lines(&totals, attribution),
            &|| listing::hit(&totals, attribution),
            &|| frames::cells(&totals, attribution),
            &|| frames::latency(&totals, kinds),
            &|| frames::functions(&totals, attribution),
            &|| frames::parts(&totals),
            &|| frames::maps(&totals, attribution),
            &|| frames::arrays(&totals, attribution),
            &|| frames::outside(&totals, attribution),
            &|| frames::steps(&totals, attribution),
            &|| frames::levels(&totals, kinds),
            &|| frames::misses(&totals),
        ];
        let sums = || {
            let mut made = [(); 12].map(|()| Ok(DataFrame::empty()));
            let all = made.par_iter_mut().zip(&frames).with_max_len(1);
            all.for_each(|(made, frame)| *made = frame());
            made
        };
        let sums = || {
            let both = (&totals, kinds);
            let summary = || summarise::summarise(recording, attribution, binaries, both, &time);
            rayon::join(sums, summary)
        };
        let order = || order::frame(accesses, order::hottest(rows, &totals));
        // What takes longest comes first.
        let samples = || rayon::join(|| kept::frame(accesses, &totals), order);
        let ((sums, mut summary), (kept, order)) = rayon::join(sums, samples);
        let order = order?;
        summary.order.rows = order.height() as u64;
        let [
            lines,
            listing,
            cells,
            latency,
            functions,
            parts,
            maps,
            arrays,
            outside,
            steps,
            levels,
            misses,
        ] = sums;
        Ok(Tables {
            summary,
            maps: maps?,
            parts: parts?,
            arrays: arrays?,
            cells: cells?,
            outside: outside?,
            functions: functions?,
            lines: lines?,
            listing: listing?,
            steps: steps?,
            latency: latency?,
            levels: levels?,
            order,
            misses: misses?,
            gaps: frames::gaps(&recording.gaps)?,
            kept: kept?,
        })
    }

    /// The frames by name: the names of the Parquet files.
    pub fn frames(&self) -> [(&'static str, &DataFrame); 15] {
        [
            ("maps", &self.maps),
            ("parts", &self.parts),
            ("arrays", &self.arrays),
            ("cells", &self.cells),
            ("outside", &self.outside),
            ("functions", &self.functions),
            ("lines", &self.lines),
            ("listing", &self.listing),
            ("steps", &self.steps),
            ("latency", &self.latency),
            ("levels", &self.levels),
            ("order", &self.order),
            ("misses", &self.misses),
            ("gaps", &self.gaps),
            ("kept", &self.kept),
        ]
    }
}
