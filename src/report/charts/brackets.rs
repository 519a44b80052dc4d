//! Writing operations as they happened, where every access to a map's flags is recorded.

use super::concurrent::{looked_at, touched};
use super::{Chart, Figure, Unfiltered};
use crate::report::ReportError;
use crate::report::colour::{FAINT, GRID, INK, PAPER, Rgb};
use crate::report::data::Data;
use crate::report::html::Markup;
use crate::report::number::{count, duration};
use crate::report::svg::{Anchor, Drawing};
use crate::report::table::{Cell, Head, Row, Table};
use crate::tables::together::Bracketed;

pub struct Brackets;

/// Operations in the drawing, and accesses in the table.
const DRAWN: usize = 36;
const MOST: usize = 200;

const WIDTH: i32 = 1120;
const LEFT: i32 = 250;
const BAR: i32 = 480;
const LINE: i32 = 18;
const TOP: i32 = 46;

/// Okabe and Ito's.
const OPERATIONS: [(&str, Rgb); 3] = [
    ("assign", (0x00, 0x72, 0xb2)),
    ("delete", (0xe6, 0x9f, 0x00)),
    ("clear", (0xcc, 0x79, 0xa7)),
];
const GROWTH: Rgb = (0x00, 0x9e, 0x73);
const INTRUDER: Rgb = (0xb3, 0x26, 0x1e);

impl Chart for Brackets {
    fn id(&self) -> &'static str {
        "brackets"
    }

    fn title(&self) -> &'static str {
        "Operations as they happened"
    }

    fn question(&self) -> &'static str {
        "How long did each insert and delete take, in which order did it store, and who came in between?"
    }

    fn method(&self) -> &'static str {
        "Only where a breakpoint recorded every access to a map's flags: an operation begins with the store that \
         sets hashWriting (writing, from Go 1.24) and ends with the one that clears it. Durations hold the cost of \
         the traps, some microseconds for each access: compare them with each other, not with an undisturbed run. \
         A mark in a bar is an access of another thread to the same map inside of the operation. Stores are listed \
         as they came by first; one in another order than Go's source has them is a finding. While a map grows each writing operation moves a bucket or two (Go <= 1.23) or \
         a whole table (Go >= 1.24): the lower, green part of a bar, from the first to the last such access."
    }

    fn speaks_of_loads(&self) -> bool {
        false
    }

    fn unfiltered(&self, data: &Data) -> Vec<Unfiltered> {
        let found = &data.summary.together;
        let mut all = vec![Unfiltered {
            what: "",
            keys: "part level op cpu index",
            why: "an operation is many accesses; its map, thread and time are kept".to_owned(),
        }];
        let (kept, recorded) = (found.brackets.len() as u64, operations(data));
        if kept < recorded {
            all.push(Unfiltered {
                what: "The table",
                keys: "tid time",
                why: format!(
                    "the page holds {} of {} operations one by one",
                    count(kept),
                    count(recorded)
                ),
            });
        }
        all
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        let found = &data.summary.together;
        if found.operations.is_empty() {
            return Ok(Figure::empty(
                "No operation's begin and end are recorded: that takes every access to a map's flags (mempath watch).",
            ));
        }
        let mut shown: Vec<&Bracketed> = found.brackets.iter().collect();
        shown.sort_by_key(|b| (!is_odd(b), b.growth_ns.is_none(), b.begin_ns));
        shown.truncate(DRAWN);
        shown.sort_by_key(|b| b.begin_ns);
        let folded = vec![(
            "Accesses of other threads inside of operations".to_owned(),
            intruders(data),
        )];
        Ok(Figure {
            notes: looked_at(data).into_iter().collect(),
            canvas: Some("brackets"),
            drawings: vec![draw(data, &shown)?],
            tables: vec![kinds(data)],
            folded,
        })
    }
}

fn is_odd(bracket: &Bracketed) -> bool {
    bracket.between > 0 || !bracket.deviations.is_empty()
}

/// Writing operations that were recorded.
fn operations(data: &Data) -> u64 {
    let kinds = data.summary.together.operations.iter();
    kinds.fold(0, |sum: u64, kind| sum.saturating_add(kind.count))
}

/// Nanoseconds since the first sample.
fn since(data: &Data, time: u64) -> u64 {
    time.saturating_sub(start(data))
}

fn start(data: &Data) -> u64 {
    data.summary.time_ns.map_or(0, |(first, _)| first)
}

fn draw(data: &Data, shown: &[&Bracketed]) -> Result<Markup, ReportError> {
    let all = operations(data);
    let height = TOP + LINE * shown.len() as i32 + 30;
    let mut d = Drawing::new(WIDTH as u32, height as u32);
    d.rect(0, 0, WIDTH, height, PAPER, 1.0);
    let ended = |b: &&Bracketed| b.end_ns.map(|end| end.saturating_sub(b.begin_ns));
    let longest = shown.iter().filter_map(ended).max().unwrap_or(0).max(1);
    let wide = |ns: u64| (u128::from(ns.min(longest)) * BAR as u128 / u128::from(longest)) as i32;
    let mut at = LEFT;
    for (name, shade) in OPERATIONS {
        d.rect(at, 4, 12, 12, shade, 1.0);
        d.text(at + 17, 10, Anchor::Start, 12.0, INK, name);
        at += 80;
    }
    d.rect(at, 4, 3, 12, INTRUDER, 1.0);
    let legend = "access of another thread inside";
    d.text(at + 10, 10, Anchor::Start, 12.0, INK, legend);
    d.rect(at + 220, 7, 12, 6, GROWTH, 1.0);
    d.text(at + 237, 10, Anchor::Start, 12.0, INK, "growth");
    for tick in 0..=4u64 {
        let time = u128::from(longest) * u128::from(tick) / 4;
        let (x, time) = (LEFT + BAR * tick as i32 / 4, time as u64);
        d.line((x, TOP - 4), (x, height - 28), GRID, 1.0);
        d.text(x, TOP - 12, Anchor::Middle, 10.0, FAINT, &duration(time));
    }
    for (i, b) in shown.iter().enumerate() {
        let y = TOP + LINE * i as i32;
        let since = duration(b.begin_ns.saturating_sub(start(data)));
        let name = format!("{} by thread {} at {since}", b.operation, b.tid);
        d.text(LEFT - 10, y + 7, Anchor::End, 11.0, INK, &name);
        let shade = OPERATIONS.iter().find(|(name, _)| *name == b.operation);
        let shade = shade.map_or(FAINT, |(_, shade)| *shade);
        let width = ended(b).map_or(BAR, wide).max(2);
        d.rect(
            LEFT,
            y + 2,
            width,
            10,
            shade,
            if b.end_ns.is_some() { 1.0 } else { 0.4 },
        );
        if let Some((first, last)) = b.growth_ns {
            let x = wide(first.saturating_sub(b.begin_ns));
            let end = wide(last.saturating_sub(b.begin_ns));
            d.rect(LEFT + x, y + 8, (end - x).max(2), 6, GROWTH, 1.0);
        }
        for other in &b.intruders {
            let x = LEFT + wide(other.time_ns.saturating_sub(b.begin_ns));
            d.rect(x - 1, y - 1, 3, 16, INTRUDER, 1.0);
        }
        let length = ended(b).map_or("not over at the end".to_owned(), duration);
        let growth = b.growth_ns.map_or(String::new(), |(first, last)| {
            format!(", {} of it growth", duration(last.saturating_sub(first)))
        });
        let order = match b.deviations.is_empty() {
            true => "",
            false => "not the source's order: ",
        };
        let said = format!("{length}{growth}; {order}{}", stores(b));
        // 11 pixels a letter's height, some 6 its width.
        let room = ((WIDTH - LEFT - BAR - 12) / 6) as usize;
        let said = match said.char_indices().nth(room) {
            Some((cut, _)) => format!("{}…", said.get(..cut).unwrap_or_default()),
            None => said,
        };
        d.text(LEFT + BAR + 12, y + 7, Anchor::Start, 11.0, FAINT, &said);
    }
    let foot = format!(
        "{} of {} operations drawn, those with an access of another thread inside, a store out of order or growth first",
        count(shown.len() as u64),
        count(all)
    );
    d.text(LEFT, height - 12, Anchor::Start, 11.0, FAINT, &foot);
    d.finish(
        "Writing operations by their duration",
        &format!("{foot}; the tables below have the numbers."),
    )
}

fn stores(b: &Bracketed) -> String {
    b.phases.join(", ").replace('_', " ")
}

fn kinds(data: &Data) -> Table {
    let nanoseconds = |ns: Option<u64>| {
        ns.map_or(Cell::Absent, |ns| Cell::Ranked {
            shown: duration(ns),
            sort: ns as f64,
        })
    };
    let rows = data.summary.together.operations.iter().map(|kind| Row {
        cells: vec![
            data.map(Some(kind.map))
                .map_or(Cell::Absent, |m| Cell::Code(m.name.clone())),
            Cell::Text(kind.operation.clone()),
            Cell::Count(kind.count),
            nanoseconds(kind.median_ns),
            nanoseconds(kind.p95_ns),
            Cell::Count(kind.interleaved),
            Cell::Count(kind.deviating),
        ],
        keys: vec![
            ("map", kind.map.to_string()),
            ("operation", kind.operation.clone()),
        ],
        children: Vec::new(),
    });
    Table {
        id: "brackets-table",
        caption: "Writing operations, from setting the flag to clearing it".to_owned(),
        heads: vec![
            Head {
                name: "map",
                meaning: "Name of the map",
            },
            Head {
                name: "operation",
                meaning: "Map operation",
            },
            Head {
                name: "operations",
                meaning: "How many were recorded",
            },
            Head {
                name: "p50",
                meaning: "Median duration, nearest rank, the cost of the traps included",
            },
            Head {
                name: "p95",
                meaning: "95th percentile of the duration",
            },
            Head {
                name: "interleaved",
                meaning: "With an access of another thread to the map inside",
            },
            Head {
                name: "out of order",
                meaning: "With a store that came in another order than Go's source has it",
            },
        ],
        rows: rows.collect(),
    }
}

fn intruders(data: &Data) -> Table {
    let found = &data.summary.together;
    let all: u64 = found.operations.iter().map(|k| k.interleaved).sum();
    let each = found
        .brackets
        .iter()
        .flat_map(|b| b.intruders.iter().map(move |other| (b, other)));
    let rows = each.take(MOST).map(|(b, other)| {
        let time = |ns: u64| Cell::Ranked {
            shown: duration(ns),
            sort: ns as f64,
        };
        Row {
            cells: vec![
                data.map(Some(b.map))
                    .map_or(Cell::Absent, |m| Cell::Code(m.name.clone())),
                Cell::Text(format!("{} by thread {}", b.operation, b.tid)),
                time(b.begin_ns.saturating_sub(start(data))),
                Cell::Text(format!("thread {}", other.tid)),
                time(other.time_ns.saturating_sub(b.begin_ns)),
                Cell::Code(touched(&other.what)),
            ],
            keys: vec![
                ("map", b.map.to_string()),
                ("tids", format!("{} {}", b.tid, other.tid)),
                ("time", since(data, other.time_ns).to_string()),
            ],
            children: Vec::new(),
        }
    });
    Table {
        id: "intruders-table",
        caption: format!("Of {} operations with such accesses", count(all)),
        heads: vec![
            Head {
                name: "map",
                meaning: "Name of the map",
            },
            Head {
                name: "operation",
                meaning: "The operation that was not over",
            },
            Head {
                name: "began",
                meaning: "Since the first sample of the recording",
            },
            Head {
                name: "other",
                meaning: "The thread that came in",
            },
            Head {
                name: "after",
                meaning: "How long after the operation's begin",
            },
            Head {
                name: "access",
                meaning: "What it did, on which part, in which code",
            },
        ],
        rows: rows.collect(),
    }
}
