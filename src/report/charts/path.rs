//! The path of the loads: which level served them, and at what latency.

use super::concurrent::looked_at;
use super::{Chart, Figure, Unfiltered};
use crate::report::ReportError;
use crate::report::colour::{self, FAINT, GRID, INK, PAPER};
use crate::report::data::Data;
use crate::report::html::Markup;
use crate::report::number::{count, percent};
use crate::report::svg::{Anchor, Drawing};
use crate::report::table::{Cell, Head, Row, Table, cut};
use std::collections::BTreeMap;

pub struct Path;

const WIDTH: i32 = 1120;
const LEFT: i32 = 150;
const BAR: i32 = 620;
const LINE: i32 = 30;
/// Maps in the table.
const MOST: usize = 25;

/// Loads that one level served.
#[derive(Debug)]
struct Loads<'a> {
    level: Option<&'a str>,
    loads: u64,
    p50: Option<u64>,
    p95: Option<u64>,
}

impl Chart for Path {
    fn id(&self) -> &'static str {
        "path"
    }

    fn title(&self) -> &'static str {
        "Memory path"
    }

    fn question(&self) -> &'static str {
        "How far from the core did loads have to go: L1, line fill buffer, L2, L3, memory, another socket?"
    }

    fn method(&self) -> &'static str {
        "Loads by the level that served them, near ones first. LFB means that the line was already on its \
         way: where it came from is not known. Shares are of the loads whose level the PMU told; latencies are \
         in cycles, nearest rank, exact below 128 and within 0.8 % above. What-if: the loads of one part from one level at the mean latency of all loads \
         of the recording that the next nearer level served, at least 30 on either side; what of that a program \
         can gain is not said. Selected by more than map and level, loads are counted over the raw accesses in this page: \
         exact where they are all of the recording, else marked \u{2248} and scaled to all."
    }

    fn unfiltered(&self, data: &Data) -> Vec<Unfiltered> {
        match data.summary.together.moves.is_empty() {
            true => Vec::new(),
            false => vec![Unfiltered {
                what: "What-ifs",
                keys: "op cpu tid time index",
                why: "they are sums of a part's loads from one level".to_owned(),
            }],
        }
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        let all = data.summary.levels.iter().map(|l| Loads {
            level: l.level.as_deref(),
            loads: l.loads,
            p50: l.latency_p50.map(u64::from),
            p95: l.latency_p95.map(u64::from),
        });
        let all = near_first(all);
        if all.iter().all(|loads| loads.level.is_none()) {
            return Ok(Figure::empty(
                "No load has a level: the events did not sample it, or the PMU does not tell.",
            ));
        }
        let mut of_maps = BTreeMap::<u64, Vec<Loads>>::new();
        for row in &data.levels {
            let Some(map) = row.map else { continue };
            of_maps.entry(map).or_default().push(Loads {
                level: row.level.as_deref(),
                loads: row.m.loads,
                p50: row.m.p50,
                p95: row.m.p95,
            });
        }
        let (shown, note) = cut(&data.maps, MOST, "maps");
        let mut rows = Vec::new();
        for map in data.maps.iter().take(shown) {
            let levels = near_first(of_maps.remove(&map.map).into_iter().flatten());
            let known = known(&levels);
            rows.extend(levels.iter().map(|loads| Row {
                cells: cells(&map.name, loads, known),
                // Of a level that is not known no name is one.
                keys: vec![
                    ("map", map.map.to_string()),
                    ("level", loads.level.unwrap_or("").to_owned()),
                ],
                children: Vec::new(),
            }));
        }
        let mut notes: Vec<String> = note.into_iter().collect();
        notes.extend(looked_at(data).filter(|_| !data.summary.together.moves.is_empty()));
        Ok(Figure {
            notes,
            canvas: Some("path"),
            drawings: vec![draw(&all)?],
            tables: vec![Table {
                id: "path-table",
                caption: "Loads of each map by the level that served them".to_owned(),
                heads: HEADS.to_vec(),
                rows,
            }],
            folded: moves(data).into_iter().collect(),
        })
    }
}

const HEADS: [Head; 6] = [
    Head {
        name: "map",
        meaning: "Name of the map",
    },
    Head {
        name: "level",
        meaning: "Where the data came from",
    },
    Head {
        name: "loads",
        meaning: "Loads served by that level",
    },
    Head {
        name: "of the map",
        meaning: "Share of the map's loads whose level is known",
    },
    Head {
        name: "p50",
        meaning: "Median latency, cycles",
    },
    Head {
        name: "p95",
        meaning: "95th percentile of the latency, cycles",
    },
];

/// What moving a part a level closer would save; `None` where no part has enough loads.
fn moves(data: &Data) -> Option<(String, Table)> {
    let mut all: Vec<_> = data.summary.together.moves.iter().collect();
    all.sort_by_key(|m| (std::cmp::Reverse(m.saves), m.map));
    let of = data.summary.overall.latency_sum.unwrap_or(0);
    let rows: Vec<Row> = all
        .iter()
        .take(MOST)
        .map(|m| Row {
            cells: vec![
                data.map(Some(m.map))
                    .map_or(Cell::Absent, |map| Cell::Code(map.name.clone())),
                Cell::Code(m.part.clone()),
                Cell::Text(m.from.clone()),
                Cell::Text(m.to.clone()),
                Cell::Count(m.loads),
                Cell::Latency { n: m.saves, of },
            ],
            keys: vec![
                ("map", m.map.to_string()),
                ("part", m.part.clone()),
                ("level", m.from.clone()),
            ],
            children: Vec::new(),
        })
        .collect();
    let table = Table {
        id: "moves-table",
        caption: format!(
            "What if a part came from a nearer level; shares of the {} sampled cycles",
            count(of)
        ),
        heads: MOVES.to_vec(),
        rows,
    };
    (!table.rows.is_empty()).then(|| ("What if one part were a level closer".to_owned(), table))
}

const MOVES: [Head; 6] = [
    Head {
        name: "map",
        meaning: "Name of the map",
    },
    Head {
        name: "part",
        meaning: "structure.field",
    },
    Head {
        name: "from",
        meaning: "The level that served these loads",
    },
    Head {
        name: "as if from",
        meaning: "The next nearer level with enough loads",
    },
    Head {
        name: "loads",
        meaning: "Loads with a latency",
    },
    Head {
        name: "saves",
        meaning: "Sampled cycles less, and their share of all sampled latency",
    },
];

fn near_first<'a>(levels: impl Iterator<Item = Loads<'a>>) -> Vec<Loads<'a>> {
    let mut all: Vec<Loads> = levels.collect();
    all.sort_by_key(|loads| (colour::distance(loads.level), loads.level));
    all
}

fn known(levels: &[Loads]) -> u64 {
    let with_level = levels.iter().filter(|loads| loads.level.is_some());
    with_level.fold(0, |sum: u64, loads| sum.saturating_add(loads.loads))
}

fn cells(map: &str, loads: &Loads, known: u64) -> Vec<Cell> {
    vec![
        Cell::Code(map.to_owned()),
        Cell::Text(loads.level.unwrap_or("level unknown").to_owned()),
        Cell::Count(loads.loads),
        match loads.level.and_then(|_| percent(loads.loads, known)) {
            Some(shown) => Cell::Ranked {
                shown,
                sort: loads.loads as f64 / known.max(1) as f64,
            },
            None => Cell::NotApplicable,
        },
        Cell::count(loads.p50),
        Cell::count(loads.p95),
    ]
}

fn draw(levels: &[Loads]) -> Result<Markup, ReportError> {
    let height = LINE * levels.len() as i32 + 16;
    let mut d = Drawing::new(WIDTH as u32, height as u32);
    d.rect(0, 0, WIDTH, height, PAPER, 1.0);
    let most = levels.iter().map(|loads| loads.loads).max().unwrap_or(0);
    let known = known(levels);
    for (i, loads) in levels.iter().enumerate() {
        let y = 8 + LINE * i as i32;
        let width = (i128::from(BAR) * i128::from(loads.loads) / i128::from(most.max(1))) as i32;
        let name = loads.level.unwrap_or("level unknown");
        d.text(LEFT - 12, y + 11, Anchor::End, 13.0, INK, name);
        d.rect(LEFT, y, BAR, 22, GRID, 0.35);
        d.rect(LEFT, y, width.max(1), 22, colour::level(loads.level), 1.0);
        let mut said = format!("{} loads", count(loads.loads));
        if let Some(share) = loads.level.and_then(|_| percent(loads.loads, known)) {
            said = format!("{share}, {said}");
        }
        if let (Some(p50), Some(p95)) = (loads.p50, loads.p95) {
            said += &format!("; p50 {}, p95 {} cycles", count(p50), count(p95));
        }
        d.text(LEFT + BAR + 12, y + 11, Anchor::Start, 12.0, FAINT, &said);
    }
    d.finish(
        "Loads by the level that served them",
        &format!(
            "{} loads have a level; the table below has them by map.",
            count(known)
        ),
    )
}
