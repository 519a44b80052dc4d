//! Where a lookup misses: golang/go#70835's table, per map.

use super::{Chart, Figure};
use crate::report::ReportError;
use crate::report::data::{Data, MapRow, Measures};
use crate::report::table::{Cell, Head, Keys, Row, Table, cut};

pub struct Stages;

/// Stages in the order in which a lookup meets them, as `tables` names them.
pub const STAGES: &[&str] = &[
    "header",
    "directory",
    "table",
    "control",
    "key",
    "elem",
    "overflow",
    "extra",
];

const HEADS: &[Head] = &[
    Head {
        name: "map",
        meaning: "Name of the map",
    },
    Head {
        name: "measure",
        meaning: "What the row counts",
    },
    Head {
        name: "header",
        meaning: "hmap (Go <= 1.23) or Map (Go >= 1.24)",
    },
    Head {
        name: "directory",
        meaning: "Pointers to tables; only swiss maps have one",
    },
    Head {
        name: "table",
        meaning: "table and its groups reference; only swiss maps have one",
    },
    Head {
        name: "tophash / ctrl",
        meaning: "tophash bytes of a bucket, ctrl word of a group",
    },
    Head {
        name: "key",
        meaning: "Keys, also those behind a pointer",
    },
    Head {
        name: "elem",
        meaning: "Elems, also those behind a pointer, read in the caller",
    },
    Head {
        name: "overflow",
        meaning: "Overflow pointer of a bucket; only classic maps have one",
    },
];

const MOST: usize = 25;

impl Chart for Stages {
    fn id(&self) -> &'static str {
        "misses"
    }

    fn title(&self) -> &'static str {
        "Where a lookup misses"
    }

    fn question(&self) -> &'static str {
        "At which step of a lookup is the cache missed: header, directory, table, control word, key or elem?"
    }

    fn method(&self) -> &'static str {
        "The places that golang/go#70835 names. A share is of the loads of that stage whose level is known; \
         the mean latency is of its samples that have one. Stages that a map's layout does not have are n/a; \
         stages that no sample hit show 0 samples and no share. A stage with few samples has a wide interval: \
         read the counts. Elem loads happen in the caller after the lookup has returned, so they are found by \
         data flow and may be undercounted."
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        if data.maps.is_empty() {
            return Ok(Figure::empty(
                "No map was found, so there is no lookup to take apart.",
            ));
        }
        let (shown, note) = cut(&data.maps, MOST, "maps");
        let rows = data
            .maps
            .iter()
            .take(shown)
            .map(|map| rows(data, map))
            .collect();
        Ok(Figure {
            notes: note.into_iter().collect(),
            tables: vec![Table {
                id: "misses-table",
                caption: "Misses and latency by stage of a lookup".to_owned(),
                heads: HEADS.to_vec(),
                rows,
            }],
            ..Figure::default()
        })
    }
}

/// Four rows a map: samples, L1 miss, LLC miss, mean latency.
fn rows(data: &Data, map: &MapRow) -> Row {
    let sums: Vec<Option<Measures>> = STAGES
        .iter()
        .take(HEADS.len() - 2)
        .map(|stage| {
            let sum = data
                .parts
                .iter()
                .filter(|p| p.map == Some(map.map) && p.stage == *stage)
                .fold(Measures::default(), |sum, p| sum.plus(&p.m));
            (sum.samples > 0 || possible(map, stage)).then_some(sum)
        })
        .collect();
    let keys: Keys = vec![("map", map.map.to_string())];
    let row = |name: Cell, measure: &str, cell: &dyn Fn(&Measures) -> Cell| Row {
        cells: [name, Cell::Text(measure.to_owned())]
            .into_iter()
            .chain(
                sums.iter()
                    .map(|m| m.as_ref().map_or(Cell::NotApplicable, cell)),
            )
            .collect(),
        keys: keys.clone(),
        children: Vec::new(),
    };
    let again = || Cell::Text(String::new());
    let mut first = row(Cell::Code(map.name.clone()), "samples", &|m| {
        Cell::Count(m.samples)
    });
    first.children = vec![
        row(again(), "L1 miss", &|m| Cell::share_of_loads(m.l1_miss, m)),
        row(again(), "LLC miss", &|m| {
            Cell::share_of_loads(m.llc_miss, m)
        }),
        row(again(), "mean cycles", &|m| match m.latency_sum {
            Some(sum) if m.latency_n > 0 => Cell::Mean(sum as f64 / m.latency_n as f64),
            _ if m.samples == 0 => Cell::NotApplicable,
            _ => Cell::Absent,
        }),
    ];
    first
}

/// Whether the map's layout has the stage; a map of unknown layout may have any.
fn possible(map: &MapRow, stage: &str) -> bool {
    match map.layout.as_deref() {
        Some("classic") => !matches!(stage, "directory" | "table"),
        Some("swiss") => stage != "overflow",
        _ => true,
    }
}
