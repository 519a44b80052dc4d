//! How every number is made, what it cannot say, and how to get it again.

use super::data::Data;
use super::html::Html;
use crate::tables::columns::COLUMNS;

const DEFINITIONS: &[(&str, &str)] = &[
    (
        "sample",
        "One PERF_RECORD_SAMPLE: an access that the PMU picked. Counts in this report are samples; the event's period says how many accesses each stands for.",
    ),
    (
        "latency",
        "Cycles, only where the PMU's rules say that the sample's weight is one. Never converted to time.",
    ),
    (
        "level",
        "Where the data came from, as data_src says: L1, LFB (line fill buffer: the line was already on its way), L2, L3, RAM, remote.",
    ),
    (
        "L1 miss",
        "A load served from beyond L1. LFB is counted apart: its real level is not known.",
    ),
    ("LLC miss", "A load served by RAM or by a remote cache."),
    (
        "HITM",
        "A load that hit a line which another CPU had modified.",
    ),
    (
        "part",
        "A field of one of Go's map structures, in the runtime's words: hmap.B, bmap.tophash, group.ctrl, ...",
    ),
    (
        "stage",
        "The step of a lookup that a part belongs to: header, directory, table, control (tophash or ctrl), key, elem, overflow.",
    ),
    (
        "evidence",
        "How a part was established: code (the instruction), address (instruction and address together), call site (static type at the caller), position (the layout in a solved array), learned region (memory that other samples established), heap (a core file or snapshot), registers (sampled registers name the object).",
    ),
    (
        "interval",
        "The exact 95 % interval of a share of samples (Clopper and Pearson). It covers chance in the sampling, not a bias of the sampler.",
    ),
];

const LIMITS: &[&str] = &[
    "A sampler with a latency threshold (ldlat) sees slow loads only: shares of misses are shares of what it saw.",
    "Sampled order is not access order: see the view on order.",
    "A map that was moved, grown or freed during the recording may share addresses with another one.",
    "Quantiles are nearest-rank from a histogram: exact below 128 cycles, within 0.8 % above.",
    "Counts in tables are exact over all samples; what is binned or cut says so beside it.",
];

pub fn write(html: &mut Html, data: &Data) {
    html.open(
        "section",
        &[
            ("id", "method"),
            ("class", "view"),
            ("aria-labelledby", "method-title"),
        ],
    );
    html.leaf("h2", &[("id", "method-title")], "Method");
    html.leaf(
        "p",
        &[("class", "question")],
        "What does each word mean, and how can these numbers be made again?",
    );
    html.leaf("h3", &[], "In the tables");
    html.open("p", &[]);
    html.leaf("span", &[("class", "zero")], "0")
        .text(" none was sampled · ");
    html.leaf("span", &[("class", "absent")], "?")
        .text(" the recording does not tell · ");
    html.leaf("span", &[("class", "na")], "n/a")
        .text(" there is no such thing in this row");
    html.close("p");
    html.leaf("h3", &[], "Definitions")
        .open("dl", &[("class", "definitions")]);
    for (word, meaning) in DEFINITIONS {
        html.leaf("dt", &[], word).leaf("dd", &[], meaning);
    }
    html.close("dl");
    html.leaf("h3", &[], "Limits").open("ul", &[]);
    for limit in LIMITS {
        html.leaf("li", &[], limit);
    }
    html.close("ul");
    html.leaf("h3", &[], "To make it again");
    let command = |words: &[String]| words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" ");
    if !data.summary.meta.cmdline.is_empty() {
        html.open("pre", &[])
            .leaf("code", &[], &command(&data.summary.meta.cmdline))
            .close("pre");
    }
    let analyze = ["mempath", "analyze", &data.summary.recording].map(str::to_owned);
    html.open("pre", &[])
        .leaf("code", &[], &command(&analyze))
        .close("pre");
    html.open("details", &[]).leaf(
        "summary",
        &[],
        "Columns of the saved tables (mempath analyze --tables)",
    );
    html.open(
        "div",
        &[
            ("class", "scroll"),
            ("tabindex", "0"),
            ("role", "region"),
            ("aria-label", "Columns"),
        ],
    );
    html.open("table", &[("id", "columns-table")])
        .leaf("caption", &[], "Columns");
    html.open("thead", &[]).open("tr", &[]);
    for head in ["column", "type", "unit", "meaning"] {
        html.leaf("th", &[("scope", "col"), ("class", "words")], head);
    }
    html.close("tr").close("thead").open("tbody", &[]);
    for column in COLUMNS {
        html.open("tr", &[])
            .open("th", &[("scope", "row")])
            .leaf("code", &[], column.name)
            .close("th");
        html.leaf("td", &[], column.dtype)
            .leaf("td", &[], column.unit)
            .leaf("td", &[], column.meaning);
        html.close("tr");
    }
    html.close("tbody")
        .close("table")
        .close("div")
        .close("details")
        .close("section");
}

/// An argument as a shell reads it back.
fn quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', "'\\''"))
}
