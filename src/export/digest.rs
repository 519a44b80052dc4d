//! The summary and its tables as one serializable structure: what the terminal prints, and what
//! `--format json` writes. `schema` is the version of this structure.

use crate::tables::columns::{self as c, Column};
use crate::tables::read::{numbers, texts};
use crate::tables::{SCHEMA, Summary, Tables};
use polars::prelude::{DataFrame, PolarsResult};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Digest {
    pub schema: u32,
    /// Where the report was written; null when none was.
    pub report: Option<String>,
    pub summary: Summary,
    /// The maps that samples hit, the most latency (then samples) first.
    pub maps: Vec<Map>,
    /// What was sampled of each map operation, in the order of one run through it.
    pub operations: Vec<Operation>,
}

/// The steps of one kind of operation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Operation {
    pub operation: String,
    pub steps: Vec<Step>,
}

/// An instruction of a map operation, loops apart in the order in which it runs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Step {
    pub phase: Option<String>,
    pub part: Option<String>,
    pub function: Option<String>,
    pub line: Option<u64>,
    pub instruction: Option<String>,
    #[serde(flatten)]
    pub measures: Measures,
}

/// The heads of a table of maps after the map's own, in the summary as in Markdown.
pub const HEADS: [&str; 7] = [
    "samples", "latency", "p50", "p95", "L1 miss", "LLC miss", "HITM",
];

/// Counts of samples; null is not applicable or not known (`loads` and `level_unknown` tell which).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measures {
    pub samples: u64,
    pub loads: u64,
    pub stores: u64,
    pub level_unknown: u64,
    pub l1_hit: Option<u64>,
    pub lfb: Option<u64>,
    pub l1_miss: Option<u64>,
    pub llc_miss: Option<u64>,
    pub hitm: Option<u64>,
    pub store_l1_miss: Option<u64>,
    /// Cycles, over `latency_n` samples.
    pub latency_sum: Option<u64>,
    pub latency_n: u64,
    pub latency_p50: Option<u64>,
    pub latency_p95: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Map {
    /// Row of the frame `maps`.
    pub map: u64,
    pub name: String,
    pub map_type: Option<String>,
    /// Address of the hmap or Map.
    pub header: Option<u64>,
    pub evidence: Option<String>,
    #[serde(flatten)]
    pub measures: Measures,
    /// The most latency (then samples) first.
    pub parts: Vec<Row>,
    /// Stages of a lookup in its order: golang/go#70835's table.
    pub stages: Vec<Row>,
}

/// A part or a stage of a map.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    #[serde(flatten)]
    pub measures: Measures,
}

impl Digest {
    pub fn of(tables: &Tables, report: Option<&Path>) -> PolarsResult<Digest> {
        let parts = rows_of_maps(&tables.parts, c::PART)?;
        let stages = rows_of_maps(&tables.misses, c::STAGE)?;
        let rows_of = |rows: &[(Option<u64>, Row)], map: u64| -> Vec<Row> {
            let own = rows.iter().filter(|(m, _)| *m == Some(map));
            own.map(|(_, row)| row.clone()).collect()
        };
        let measures = measures(&tables.maps)?;
        let ids = numbers(&tables.maps, c::MAP)?;
        let names = texts(&tables.maps, c::MAP_NAME)?;
        let types = texts(&tables.maps, c::MAP_TYPE)?;
        let headers = numbers(&tables.maps, c::HEADER)?;
        let evidence = texts(&tables.maps, c::EVIDENCE)?;
        let mut maps: Vec<Map> = measures
            .into_iter()
            .enumerate()
            .filter(|(_, measures)| measures.samples > 0)
            .map(|(i, measures)| {
                let map = ids[i].unwrap_or(i as u64);
                let mut parts = rows_of(&parts, map);
                parts.sort_by_key(|row| std::cmp::Reverse(row.measures.cost()));
                Map {
                    map,
                    name: names[i].unwrap_or("").to_owned(),
                    map_type: types[i].map(str::to_owned),
                    header: headers[i],
                    evidence: evidence[i].map(str::to_owned),
                    measures,
                    parts,
                    stages: rows_of(&stages, map),
                }
            })
            .collect();
        maps.sort_by_key(|map| std::cmp::Reverse(map.measures.cost()));
        Ok(Digest {
            schema: SCHEMA,
            report: report.map(|path| path.display().to_string()),
            summary: tables.summary.clone(),
            maps,
            operations: operations(&tables.steps)?,
        })
    }
}

impl Measures {
    /// What rows are ranked by.
    pub fn cost(&self) -> (u64, u64) {
        (self.latency_sum.unwrap_or(0), self.samples)
    }
}

fn operations(frame: &DataFrame) -> PolarsResult<Vec<Operation>> {
    let names = texts(frame, c::OPERATION)?;
    let (phases, parts) = (texts(frame, c::PHASE)?, texts(frame, c::PART)?);
    let (functions, lines) = (texts(frame, c::FUNCTION)?, numbers(frame, c::LINE)?);
    let instructions = texts(frame, c::INSTRUCTION)?;
    let owned = |text: Option<&str>| text.map(str::to_owned);
    let mut operations: Vec<Operation> = Vec::new();
    for (i, measures) in measures(frame)?.into_iter().enumerate() {
        let name = names[i].unwrap_or("");
        if operations.last().is_none_or(|o| o.operation != name) {
            operations.push(Operation {
                operation: name.to_owned(),
                steps: Vec::new(),
            });
        }
        let step = Step {
            phase: owned(phases[i]),
            part: owned(parts[i]),
            function: owned(functions[i]),
            line: lines[i],
            instruction: owned(instructions[i]),
            measures,
        };
        if let Some(last) = operations.last_mut() {
            last.steps.push(step);
        }
    }
    Ok(operations)
}

fn rows_of_maps(frame: &DataFrame, name: Column) -> PolarsResult<Vec<(Option<u64>, Row)>> {
    let names = texts(frame, name)?
        .into_iter()
        .map(|name| name.unwrap_or("").to_owned());
    let rows = names
        .zip(measures(frame)?)
        .map(|(name, measures)| Row { name, measures });
    Ok(numbers(frame, c::MAP)?.into_iter().zip(rows).collect())
}

fn measures(frame: &DataFrame) -> PolarsResult<Vec<Measures>> {
    let of = |column| numbers(frame, column);
    let (samples, loads, stores) = (of(c::SAMPLES)?, of(c::LOADS)?, of(c::STORES)?);
    let (level_unknown, l1_hit, lfb) = (of(c::LEVEL_UNKNOWN)?, of(c::L1_HIT)?, of(c::LFB)?);
    let (l1_miss, llc_miss, hitm) = (of(c::L1_MISS)?, of(c::LLC_MISS)?, of(c::HITM)?);
    let (store_l1_miss, sum, n) = (
        of(c::STORE_L1_MISS)?,
        of(c::LATENCY_SUM)?,
        of(c::LATENCY_N)?,
    );
    let (p50, p95) = (of(c::LATENCY_P50)?, of(c::LATENCY_P95)?);
    let row = |i: usize| Measures {
        samples: samples[i].unwrap_or(0),
        loads: loads[i].unwrap_or(0),
        stores: stores[i].unwrap_or(0),
        level_unknown: level_unknown[i].unwrap_or(0),
        l1_hit: l1_hit[i],
        lfb: lfb[i],
        l1_miss: l1_miss[i],
        llc_miss: llc_miss[i],
        hitm: hitm[i],
        store_l1_miss: store_l1_miss[i],
        latency_sum: sum[i],
        latency_n: n[i].unwrap_or(0),
        latency_p50: p50[i],
        latency_p95: p95[i],
    };
    // A frame's columns have one length.
    Ok((0..frame.height()).map(row).collect())
}
