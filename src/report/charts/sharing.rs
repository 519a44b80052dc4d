//! Which cache lines several CPUs touch while one of them writes.

use super::{Chart, Figure, Unfiltered, stale};
use crate::analyses::lines::{Sharing as Kind, Used, sharing_of};
use crate::recording::nodes_of;
use crate::report::ReportError;
use crate::report::data::Data;
use crate::report::kept::Raw;
use crate::report::number::{address, count};
use crate::report::shared::{Line, PAIRS, Shared};
use crate::report::table::{Cell, Head, Row, Table, counted};
use std::collections::BTreeSet;

pub struct Sharing;

/// Lines in the table.
const MOST: usize = 40;
/// CPUs named in a cell.
const CPUS: usize = 8;
impl Chart for Sharing {
    fn id(&self) -> &'static str {
        "sharing"
    }

    fn title(&self) -> &'static str {
        "Sharing"
    }

    fn question(&self) -> &'static str {
        "Which cache lines bounce between CPUs, which CPUs are they, and which parts lie in the line?"
    }

    fn method(&self) -> &'static str {
        "One row for each line of 64 bytes that accesses of at least two CPUs hit and that was written, or read \
         with HITM; the pairs of lines below are what an adjacent-line prefetcher moves together. Most HITM first, \
         then most loads and stores. Below: loads that may have read an old value; a load retires after \
         it has taken its value, a store before others can see it. HITM is what the PMU said of a load: another CPU had modified the line. \
         What the accesses share is told as `mempath c2c` tells it: true sharing where a word of eight bytes is written by one \
         CPU and used by another, else false sharing, of what the two CPUs' words belong to; each load with HITM speaks for one kind, \
         without HITM each access does, and most decide. Samples cannot prove it: bytes that were not sampled are not seen. Nodes are those of the NUMA topology in the recording's header, \
         where it has one that names every CPU of the line. Counted over the raw accesses \
         in this page: exact where they are all of the recording, else marked \u{2248} and scaled to all."
    }

    fn unfiltered(&self, data: &Data) -> Vec<Unfiltered> {
        let mut all = vec![Unfiltered {
            what: "Stale reads",
            keys: "op tid time index",
            why: "a pair is a store and a load, of which only parts, CPUs and the load's level are kept"
                .to_owned(),
        }];
        let shared = data.shared.numbers().len();
        if shared > PAIRS {
            all.push(Unfiltered {
                what: "All but the first lines",
                keys: "part level op cpu tid time index",
                why: format!(
                    "the page holds the accesses of {} of {} pairs of lines that are shared, the first in this order",
                    count(PAIRS as u64),
                    count(shared as u64)
                ),
            });
        }
        all
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        let rows = || data.kept.rows();
        let mut figure = if rows().all(|row| row.cpu.is_none() || row.addr.is_none()) {
            Figure::empty(
                "No access has both a CPU and the address of a map's structure: whether lines are shared is not known.",
            )
        } else {
            let Shared { lines, pairs } = &data.shared;
            match lines.is_empty() {
                true => Figure::empty(
                    "No line of a map was hit from two CPUs with a store or a HITM among its samples.",
                ),
                false => Figure {
                    tables: vec![table(data, "sharing-table", "64-byte lines", lines)],
                    folded: vec![(
                        "Pairs of lines (128 bytes)".to_owned(),
                        table(data, "pairs-table", "128-byte pairs of lines", pairs),
                    )],
                    ..Figure::default()
                },
            }
        };
        figure.notes.push(stale::said(data));
        figure.tables.extend(stale::table(data));
        Ok(figure)
    }
}

/// What the CPUs share that made these accesses to the line that begins at `start`.
fn kind<'a>(start: u64, rows: impl Iterator<Item = Raw<'a>>) -> Option<Kind> {
    let narrow = |n: u64| u32::try_from(n).ok();
    sharing_of(rows.filter_map(|row| {
        Some(Used {
            offset: row.addr?.checked_sub(start)?,
            width: row.width,
            cpu: u16::try_from(row.cpu?).ok()?,
            map: row.map.and_then(narrow),
            in_map: row.part.is_some(),
            loads: row.loads > 0,
            stores: row.stores > 0,
            hitm: row.hitm.is_some_and(|n| n > 0),
        })
    }))
}

const HEADS: [Head; 10] = [
    Head {
        name: "map",
        meaning: "Name of the map",
    },
    Head {
        name: "line",
        meaning: "Address of the line",
    },
    Head {
        name: "parts",
        meaning: "Parts that were hit in the line",
    },
    Head {
        name: "loads",
        meaning: "Load samples",
    },
    Head {
        name: "stores",
        meaning: "Store samples",
    },
    Head {
        name: "HITM",
        meaning: "Loads that hit a modified line of another CPU",
    },
    Head {
        name: "read by",
        meaning: "CPUs whose loads hit the line",
    },
    Head {
        name: "written by",
        meaning: "CPUs whose stores hit the line",
    },
    Head {
        name: "nodes",
        meaning: "NUMA nodes of the CPUs that read, and of those that wrote it",
    },
    Head {
        name: "sharing",
        meaning: "Whether the CPUs use one word or words that only lie side by side, and what those belong to",
    },
];

fn table(data: &Data, id: &'static str, what: &str, lines: &[Line]) -> Table {
    let whole = data.kept.whole();
    let row = data.kept.by_number();
    let rows = lines.iter().take(MOST).map(|line| {
        let map = data.map(line.map);
        let rows = || line.rows.iter().filter_map(|i| row(*i));
        let parts: BTreeSet<&str> = rows().filter_map(|row| row.part).collect();
        let parts: Vec<&str> = parts.into_iter().collect();
        let kind = kind(line.start, rows());
        Row {
            cells: vec![
                map.map_or(Cell::Absent, |map| Cell::Code(map.name.clone())),
                Cell::Code(address(line.start)),
                Cell::Code(parts.join(" ")),
                counted(line.loads, whole),
                counted(line.stores, whole),
                match line.hitm {
                    Some(n) => counted(n, whole),
                    None if line.loads == 0 => Cell::NotApplicable,
                    None => Cell::Absent,
                },
                Cell::Text(cpus(&line.readers)),
                Cell::Text(cpus(&line.writers)),
                nodes(data, line),
                kind.map_or(Cell::Absent, |kind| Cell::Text(kind.text().to_owned())),
            ],
            keys: map
                .map(|map| ("map", map.map.to_string()))
                .into_iter()
                .collect(),
            children: Vec::new(),
        }
    });
    Table {
        id,
        caption: format!(
            "The first {} of {} shared {what}, of {} raw accesses",
            lines.len().min(MOST),
            count(lines.len() as u64),
            count(data.kept.len() as u64)
        ),
        heads: HEADS.to_vec(),
        rows: rows.collect(),
    }
}

/// `read 0 1, written 0`; absent where the recording does not name the node of each CPU.
fn nodes(data: &Data, line: &Line) -> Cell {
    let nodes = |cpus: &BTreeSet<u64>| {
        let cpus = cpus
            .iter()
            .map(|&cpu| u32::try_from(cpu).unwrap_or(u32::MAX));
        let nodes = nodes_of(&data.summary.meta.nodes, cpus)?;
        Some(self::cpus(&nodes.into_iter().map(u64::from).collect()))
    };
    match (nodes(&line.readers), nodes(&line.writers)) {
        (Some(readers), Some(writers)) => Cell::Text(format!("read {readers}, written {writers}")),
        _ => Cell::Absent,
    }
}

fn cpus(cpus: &BTreeSet<u64>) -> String {
    let named: Vec<String> = cpus.iter().take(CPUS).map(u64::to_string).collect();
    match cpus.len().checked_sub(CPUS) {
        Some(more @ 1..) => format!("{} and {more} more", named.join(" ")),
        _ if named.is_empty() => "none".to_owned(),
        _ => named.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_one_cpu_wrote_and_another_read_is_true_sharing() {
        let kind = |accesses: &[(u64, u64, bool)]| {
            let rows = accesses.iter().map(|&(addr, cpu, store)| Raw {
                loads: u64::from(!store),
                stores: u64::from(store),
                map: Some(0),
                part: Some("bmap.key"),
                cpu: Some(cpu),
                addr: Some(addr),
                ..Raw::default()
            });
            kind(64, rows)
        };
        // 64 and 68 are in one word of eight bytes, 72 is in the next.
        assert_eq!(kind(&[(64, 2, true), (68, 1, false)]), Some(Kind::SameWord));
        assert_eq!(
            kind(&[(72, 2, true), (64, 1, false)]),
            Some(Kind::WithinMap)
        );
        assert_eq!(kind(&[(64, 1, true), (64, 1, false)]), None);
    }

    #[test]
    fn many_cpus_are_counted() {
        assert_eq!(cpus(&BTreeSet::new()), "none");
        assert_eq!(cpus(&(0..8).collect()), "0 1 2 3 4 5 6 7");
        assert_eq!(cpus(&(0..10).collect()), "0 1 2 3 4 5 6 7 and 2 more");
    }
}
