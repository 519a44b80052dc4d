//! The views of the page: one file each, and the list [`CHARTS`].

mod background;
mod brackets;
mod code;
mod concurrent;
mod coverage;
pub mod heatmap;
mod latency;
mod maps;
mod operations;
mod order;
mod path;
mod sharing;
mod stages;
mod stale;

use super::ReportError;
use super::data::Data;
use super::html::Markup;
use super::table::Table;

/// A view: the question it answers, and the figure that does.
pub trait Chart: Sync {
    /// Names the view in links and in the page's fragment.
    fn id(&self) -> &'static str;
    fn title(&self) -> &'static str;
    /// What the reader wants to know; shown above the figure.
    fn question(&self) -> &'static str;
    /// How the figure is made and what it cannot show; shown below it.
    fn method(&self) -> &'static str;
    /// Whether it shows rates or latencies of loads, which a threshold bends.
    fn speaks_of_loads(&self) -> bool {
        true
    }
    /// What the page's filter does not select here.
    fn unfiltered(&self, _data: &Data) -> Vec<Unfiltered> {
        Vec::new()
    }
    fn figure(&self, data: &Data) -> Result<Figure, ReportError>;
}

/// What of a view shows more than the page's filter selects, and why.
#[derive(Debug)]
pub struct Unfiltered {
    /// `""`: the view as a whole.
    pub what: &'static str,
    /// Of `map part level op cpu tid time index`.
    pub keys: &'static str,
    pub why: String,
}

/// All keys of the page's filter.
pub const ALL_KEYS: &str = "map part level op cpu tid time index";

/// What a view shows, in this order.
#[derive(Debug, Default)]
pub struct Figure {
    /// Sentences about this recording that bend the figure.
    pub notes: Vec<String>,
    /// The script draws here in place of the drawings.
    pub canvas: Option<&'static str>,
    pub drawings: Vec<Markup>,
    pub tables: Vec<Table>,
    /// Tables beside a drawing, folded.
    pub folded: Vec<(String, Table)>,
}

impl Figure {
    /// A figure without data: `why` stands where it would be.
    fn empty(why: &str) -> Figure {
        Figure {
            notes: vec![why.to_owned()],
            ..Figure::default()
        }
    }
}

pub use operations::runs;
pub use order::{edges, instances};

pub const CHARTS: &[&dyn Chart] = &[
    &maps::Maps,
    &stages::Stages,
    &heatmap::Heatmap,
    &latency::Latency,
    &order::Order,
    &sharing::Sharing,
    &concurrent::Concurrent,
    &background::Background,
    &operations::Operations,
    &brackets::Brackets,
    &code::Functions,
    &code::Lines,
    &path::Path,
    &coverage::Coverage,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chart_has_its_own_id_a_question_and_a_method() {
        let ids: Vec<_> = CHARTS.iter().map(|c| c.id()).collect();
        assert_eq!(
            ids,
            [
                "maps",
                "misses",
                "heatmap",
                "latency",
                "order",
                "sharing",
                "concurrent",
                "background",
                "operations",
                "brackets",
                "functions",
                "lines",
                "path",
                "coverage"
            ]
        );
        for chart in CHARTS {
            assert!(chart.question().ends_with('?'), "{}", chart.id());
            assert!(chart.method().ends_with('.'), "{}", chart.id());
        }
    }
}
