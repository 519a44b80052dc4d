//! [`Tables`] -> one HTML file that needs nothing else: no network, no fonts, no script to be read.
//!
//! ```text
//! Tables ──data──▶ rows ──charts (list CHARTS)──▶ Figures ──┐
//!                    └────json──▶ what report.js draws ─────┴─ html (the one escaping door) ──▶ page
//! ```
//!
//! The page's policy allows its own script and style by their hashes and nothing else.

mod cells;
pub mod charts;
mod colour;
mod data;
mod fields;
mod first;
mod grid;
mod html;
mod json;
mod kept;
mod method;
mod number;
mod planes;
mod shared;
mod svg;
mod table;

use crate::tables::Tables;
use base64::Engine;
use charts::{CHARTS, Chart};
use data::Data;
use html::{Html, Markup};
use sha2::{Digest, Sha256};
use thiserror::Error;

const CSS: &str = include_str!("report.css");
const JS: &str = concat!(include_str!("rows.js"), include_str!("report.js"));

#[derive(Debug, Error)]
pub enum ReportError {
    #[error("column {column} of the frame {frame} has another type than columns.rs says: {source}")]
    Column {
        frame: &'static str,
        column: &'static str,
        source: polars::error::PolarsError,
    },
    #[error("a drawing could not be made: {0}")]
    Draw(String),
    #[error("the page's data could not be written as JSON: {0}")]
    Json(serde_json::Error),
    #[error("the page's data could not be compressed: {0}")]
    Gzip(std::io::Error),
}

/// The page. The same tables give the same bytes.
pub fn render(tables: &Tables) -> Result<String, ReportError> {
    let data = Data::read(tables)?;
    // What takes longest comes first.
    let ((json, cells), (rows, page)) = rayon::join(
        || rayon::join(|| json::element(&data), || cells::element(&data)),
        || rayon::join(|| data.kept.element(&data), || body(tables, &data)),
    );
    let mut html = page?;
    let (json, rows, cells) = (json?, rows?, cells?);
    let whole = || {
        html.markup(&json);
        html.markup(&rows);
        if let Some(cells) = cells {
            html.markup(&cells);
        }
        html.open("script", &[])
            .markup(&Markup::trusted(JS.to_owned()))
            .close("script");
        html.close("body").close("html");
        format!("<!DOCTYPE html>\n{}\n", html.finish().as_str())
    };
    Ok(rayon::join(whole, || drop(data)).0)
}

/// The page up to its data.
fn body(tables: &Tables, data: &Data) -> Result<Html, ReportError> {
    let mut html = Html::new();
    head(&mut html, data);
    html.open("body", &[]);
    html.leaf(
        "a",
        &[("class", "skip"), ("href", "#findings")],
        "Skip to the findings",
    );
    html.open("header", &[]);
    html.open("p", &[("class", "brand")])
        .text("mempath ")
        .text(&tables.summary.mempath)
        .close("p");
    html.leaf("h1", &[], &title(data));
    html.open("nav", &[("aria-label", "Views")]);
    html.leaf("a", &[("href", "#recorded")], "Recording");
    html.leaf("a", &[("href", "#findings")], "Findings");
    for chart in CHARTS {
        html.leaf("a", &[("href", &format!("#{}", chart.id()))], chart.title());
    }
    html.leaf("a", &[("href", "#method")], "Method");
    html.close("nav").close("header");
    html.open(
        "div",
        &[
            ("id", "filter"),
            ("role", "search"),
            ("aria-label", "Selection"),
            ("hidden", ""),
        ],
    )
    .close("div");
    html.open("main", &[]);
    first::write(&mut html, data)?;
    for chart in CHARTS {
        view(&mut html, *chart, data)?;
    }
    method::write(&mut html, data);
    html.close("main");
    html.open("div", &[("id", "live"), ("role", "status"), ("hidden", "")])
        .close("div");
    Ok(html)
}

fn title(data: &Data) -> String {
    let busiest = data
        .summary
        .binaries
        .iter()
        .filter(|b| b.go.is_some())
        .max_by_key(|b| b.samples);
    match busiest {
        Some(binary) => {
            let name = binary.path.rsplit('/').next().unwrap_or(&binary.path);
            format!("Map memory accesses of {name}")
        }
        None => {
            let recording = &data.summary.recording;
            let name = recording.rsplit('/').next().unwrap_or(recording);
            format!("Map memory accesses in {name}")
        }
    }
}

fn head(html: &mut Html, data: &Data) {
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; \
         base-uri 'none'; form-action 'none'",
        hash(JS),
        hash(CSS)
    );
    html.open("html", &[("lang", "en")]).open("head", &[]);
    html.open("meta", &[("charset", "utf-8")]);
    html.open(
        "meta",
        &[
            ("http-equiv", "Content-Security-Policy"),
            ("content", &policy),
        ],
    );
    html.open(
        "meta",
        &[
            ("name", "viewport"),
            ("content", "width=device-width, initial-scale=1"),
        ],
    );
    html.open(
        "meta",
        &[("name", "color-scheme"), ("content", "light dark")],
    );
    html.leaf("title", &[], &title(data));
    html.open("style", &[])
        .markup(&Markup::trusted(CSS.to_owned()))
        .close("style");
    html.close("head");
}

fn hash(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()))
}

/// What the page's filter does not select in a view, for the script: `[["what", "map cpu", "why"], ...]`.
fn unfiltered(chart: &dyn Chart, data: &Data) -> Result<String, ReportError> {
    let all = chart.unfiltered(data);
    let rows: Vec<[&str; 3]> = all.iter().map(|u| [u.what, u.keys, &u.why]).collect();
    serde_json::to_string(&rows).map_err(ReportError::Json)
}

/// One view: question, figure, how it is made.
fn view(html: &mut Html, chart: &dyn Chart, data: &Data) -> Result<(), ReportError> {
    let figure = chart.figure(data)?;
    let id = chart.id();
    let title = format!("{id}-title");
    html.open(
        "section",
        &[
            ("id", id),
            ("class", "view"),
            ("aria-labelledby", &title),
            ("data-unfiltered", &unfiltered(chart, data)?),
        ],
    );
    html.leaf("h2", &[("id", &title)], chart.title());
    html.leaf("p", &[("class", "question")], chart.question());
    html.open("p", &[("class", "unreached"), ("hidden", "")])
        .close("p");
    let loads = data.summary.loads();
    let least = (chart.speaks_of_loads() && loads != "loads")
        .then(|| format!("Of {loads}: the event left out faster ones (ldlat)."));
    for note in least.iter().chain(&figure.notes) {
        html.leaf("p", &[("class", "note")], note);
    }
    if let Some(kind) = figure.canvas {
        html.open(
            "div",
            &[("class", "plot"), ("data-plot", kind), ("hidden", "")],
        )
        .close("div");
    }
    if !figure.drawings.is_empty() {
        html.open(
            "div",
            &[(
                "class",
                if figure.canvas.is_some() {
                    "drawings replaced"
                } else {
                    "drawings"
                },
            )],
        );
        for drawing in &figure.drawings {
            html.markup(drawing);
        }
        html.close("div");
    }
    for table in &figure.tables {
        table.write(html);
    }
    for (summary, table) in &figure.folded {
        html.open("details", &[]).leaf("summary", &[], summary);
        table.write(html);
        html.close("details");
    }
    html.leaf("p", &[("class", "method")], chart.method());
    html.close("section");
    Ok(())
}
