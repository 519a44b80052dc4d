//! Loads that may have read a value that another CPU had overwritten already: a table of the view on
//! sharing.

use super::concurrent::touched;
use crate::report::data::Data;
use crate::report::number::{address, count, duration};
use crate::report::table::{Cell, Head, Keys, Row, Table};

/// Rows of the table.
const MOST: usize = 40;

/// What was looked for, and how far the clocks can be trusted; or why nothing can be told.
pub fn said(data: &Data) -> String {
    let stale = &data.summary.together.stale;
    if let Some(why) = &stale.cannot_tell {
        return format!("Whether a load read an old value cannot be told: {why}.");
    }
    let clock = match &stale.clock {
        Some(clock) => format!("clock {clock}"),
        None => "perf's own clock, which the kernel keeps in step between CPUs to within some hundred nanoseconds \
                 where the TSC is not invariant"
            .to_owned(),
    };
    let order = match stale.out_of_order {
        0 => "the times of each CPU rise".to_owned(),
        n => format!(
            "{} samples stand in another order than their times say",
            count(n)
        ),
    };
    let skew = match (stale.skew.first(), stale.skew.last()) {
        (Some(least), Some(most)) => format!(
            "threads that moved bound how far clocks are apart, for {} pairs of CPUs: CPU {} is ahead of CPU {} by {} ± {} ns, \
             the widest bound is ± {} ns",
            count(stale.skew.len() as u64),
            least.cpus[1],
            least.cpus[0],
            least.offset_ns,
            count(least.error_ns),
            count(most.error_ns),
        ),
        _ => "no thread moved between two CPUs and back, which would bound how far their clocks are apart".to_owned(),
    };
    format!(
        "Stale reads: {} of {} loads from their own L1 or LFB came within {} of a store to the same word by another \
         CPU ({clock}; its times are multiples of {}; {order}; {skew}; a PMU that buffers its samples gives the time of each record, not of the flush). --stale-window of analyze sets how long after the store is looked.",
        count(stale.found),
        count(stale.loads),
        duration(stale.window_ns),
        duration(stale.granularity_ns),
    )
}

/// The closest pairs; `None` where there is none.
pub fn table(data: &Data) -> Option<Table> {
    let stale = &data.summary.together.stale;
    let rows: Vec<Row> = stale
        .pairs
        .iter()
        .take(MOST)
        .map(|pair| Row {
            cells: vec![
                data.map(pair.map)
                    .map_or(Cell::Absent, |map| Cell::Code(map.name.clone())),
                Cell::code(&pair.part),
                Cell::Code(address(pair.word)),
                Cell::Ranked {
                    shown: duration(pair.after_ns),
                    sort: pair.after_ns as f64,
                },
                Cell::Text(format!("CPU {}", pair.store_cpu)),
                Cell::Code(touched(&pair.store)),
                Cell::Text(format!("CPU {}, {}", pair.load_cpu, pair.level)),
                Cell::Code(touched(&pair.load)),
            ],
            keys: {
                let part = pair.part.as_deref().map(bare);
                let map = pair.map.map(|map| ("map", map.to_string()));
                let part = part.map(|part| ("part", part.to_owned()));
                let mut keys: Keys = map.into_iter().chain(part).collect();
                keys.push(("level", pair.level.clone()));
                keys.push(("cpus", format!("{} {}", pair.store_cpu, pair.load_cpu)));
                keys
            },
            children: Vec::new(),
        })
        .collect();
    (!rows.is_empty()).then(|| Table {
        id: "stale-table",
        caption: format!(
            "Loads that may have read an old value: the closest {} of {}",
            rows.len(),
            count(stale.found)
        ),
        heads: HEADS.to_vec(),
        rows,
    })
}

/// A part without its slot: `bmap.elem[2]` is of `bmap.elem`.
fn bare(part: &str) -> &str {
    part.split_once('[').map_or(part, |(part, _)| part)
}

const HEADS: [Head; 8] = [
    Head {
        name: "map",
        meaning: "Name of the map",
    },
    Head {
        name: "part",
        meaning: "structure.field of the load",
    },
    Head {
        name: "word",
        meaning: "Address of the eight bytes",
    },
    Head {
        name: "after",
        meaning: "From the store to the load",
    },
    Head {
        name: "stored by",
        meaning: "CPU of the store",
    },
    Head {
        name: "store",
        meaning: "Part and code of the store",
    },
    Head {
        name: "loaded by",
        meaning: "CPU of the load, and what served it",
    },
    Head {
        name: "load",
        meaning: "Part and code of the load",
    },
];
