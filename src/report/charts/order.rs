//! Who touched the hottest buckets and groups, in which order.

use super::{Chart, Figure};
use crate::report::ReportError;
use crate::report::colour::{self, FAINT, GRID, INK, PAPER};
use crate::report::data::{Data, OrderRow};
use crate::report::html::Markup;
use crate::report::number::{address, count, duration};
use crate::report::svg::{Anchor, Drawing};
use crate::report::table::{Cell, Head, Row, Table};
use std::collections::BTreeMap;

pub struct Order;

const WIDTH: i32 = 1120;
const LEFT: i32 = 96;
const TOP: i32 = 58;
const LANE: i32 = 20;
/// Marks and lanes of the static drawing, for its size; the script draws all.
const MARKS: usize = 1_500;
const LANES: usize = 24;
const LISTED: usize = 100;

/// One structure instance, by its address, and its accesses in time order.
pub struct Instance<'a> {
    pub name: String,
    pub rows: Vec<&'a OrderRow>,
}

impl Chart for Order {
    fn id(&self) -> &'static str {
        "order"
    }

    fn title(&self) -> &'static str {
        "Order of accesses"
    }

    fn question(&self) -> &'static str {
        "Who touched the hottest buckets or groups, from which CPU or thread, and in which order?"
    }

    fn method(&self) -> &'static str {
        "One lane for each CPU (or thread, by the switch). A filled circle is a load, a square a store; the colour \
         is the level that served it. Order is by the recording's clock, which is one clock for all CPUs. \
         Of a sampled recording only the sampled accesses are here: two neighbouring marks may have any number of \
         unsampled accesses between them, so this shows who takes part, not every hand-over. A breakpoint \
         recording has every access to its few words, without level or latency. A thread is an OS thread: \
         goroutines move between them."
    }

    fn speaks_of_loads(&self) -> bool {
        false
    }

    fn filters(&self) -> &'static str {
        "map part level op cpu tid time"
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        let instances = instances(data);
        let Some(hottest) = instances.first() else {
            return Ok(Figure::empty(
                "No access could be placed in a bucket or group.",
            ));
        };
        let mut notes = vec![match data.every_access() {
            true => "Every access: recorded with breakpoints, nothing between two marks is missing except in gaps.",
            false => "Sampled order: between two marks any number of accesses may be missing.",
        }
        .to_owned()];
        if hottest.rows.iter().all(|row| row.time.is_none()) {
            notes.push("No times were sampled: marks stand in the order of the file.".to_owned());
        }
        Ok(Figure {
            notes,
            canvas: Some("order"),
            drawings: vec![draw(hottest)?],
            folded: vec![(
                format!("The first {LISTED} accesses of the hottest instance as a table"),
                list(hottest),
            )],
            ..Figure::default()
        })
    }
}

/// Instances in `order`, most accesses first.
pub fn instances<'a>(data: &'a Data) -> Vec<Instance<'a>> {
    type Key<'a> = (Option<u64>, Option<u64>, Option<u64>);
    let mut by_base = BTreeMap::<Key, Vec<&OrderRow>>::new();
    for row in &data.order {
        by_base
            .entry((row.base, row.array, row.index))
            .or_default()
            .push(row);
    }
    let mut instances: Vec<_> = by_base.into_iter().collect();
    instances.sort_by_key(|(key, rows)| (std::cmp::Reverse(rows.len()), *key));
    instances
        .into_iter()
        .map(|((base, _, index), rows)| {
            let map = rows.iter().find_map(|row| data.map(row.map));
            let unit = match map.and_then(|m| m.geometry) {
                Some(g) if g.swiss => "group",
                Some(_) => "bucket",
                None => "instance",
            };
            let mut name = map.map_or("map unknown".to_owned(), |m| m.name.clone());
            if let Some(index) = index {
                name.push_str(&format!(", {unit} {}", count(index)));
            }
            if let Some(base) = base {
                name.push_str(&format!(" at {}", address(base)));
            }
            Instance { name, rows }
        })
        .collect()
}

fn lane(row: &OrderRow) -> String {
    match (row.cpu, row.tid) {
        (Some(cpu), _) => format!("CPU {cpu}"),
        (None, Some(tid)) => format!("thread {tid}"),
        (None, None) => "unknown".to_owned(),
    }
}

fn draw(instance: &Instance) -> Result<Markup, ReportError> {
    let rows: Vec<&&OrderRow> = instance.rows.iter().take(MARKS).collect();
    let mut lanes: Vec<(Option<u64>, Option<i64>, String)> = rows
        .iter()
        .map(|row| {
            (
                row.cpu,
                if row.cpu.is_some() { None } else { row.tid },
                lane(row),
            )
        })
        .collect();
    lanes.sort();
    lanes.dedup();
    let hidden = lanes.len().saturating_sub(LANES);
    lanes.truncate(LANES);
    let height = TOP + lanes.len() as i32 * LANE + 34;
    let plot_width = WIDTH - LEFT - 20;
    let times: Vec<u64> = rows.iter().filter_map(|row| row.time).collect();
    let first = times.iter().min().copied().unwrap_or(0);
    let span = times
        .iter()
        .max()
        .copied()
        .unwrap_or(0)
        .saturating_sub(first);
    let timed = times.len() == rows.len() && span > 0;

    let mut d = Drawing::new(WIDTH as u32, height as u32);
    d.rect(0, 0, WIDTH, height, PAPER, 1.0);
    d.text(0, 10, Anchor::Start, 13.0, INK, &instance.name);
    for (i, (_, _, name)) in lanes.iter().enumerate() {
        let y = TOP + i as i32 * LANE + LANE / 2;
        d.line((LEFT, y), (WIDTH - 20, y), GRID, 1.0);
        d.text(LEFT - 10, y, Anchor::End, 11.0, FAINT, name);
    }
    for (i, row) in rows.iter().enumerate() {
        let Some(at) = lanes.iter().position(|(_, _, name)| *name == lane(row)) else {
            continue;
        };
        let x = match row.time {
            Some(time) if timed => u128::from(time - first) * plot_width as u128 / u128::from(span),
            _ => i as u128 * plot_width as u128 / rows.len().max(1) as u128,
        };
        let (x, y) = (LEFT + x as i32, TOP + at as i32 * LANE + LANE / 2);
        let shade = colour::level(row.level.as_deref());
        if row.op.as_deref().is_some_and(|op| op.contains("store")) {
            d.rect(x - 4, y - 4, 8, 8, shade, 1.0);
        } else {
            d.circle(x, y, 4, shade);
        }
    }
    if timed {
        d.text(LEFT, height - 14, Anchor::Start, 11.0, FAINT, "0 ns");
        d.text(
            WIDTH - 20,
            height - 14,
            Anchor::End,
            11.0,
            FAINT,
            &duration(span),
        );
    }
    legend(&mut d, &rows);
    let mut foot = format!(
        "{} of {} accesses drawn",
        count(rows.len() as u64),
        count(instance.rows.len() as u64)
    );
    if hidden > 0 {
        foot.push_str(&format!("; {hidden} more lanes are not drawn"));
    }
    d.text(WIDTH / 2, height - 14, Anchor::Middle, 11.0, FAINT, &foot);
    d.finish(&format!("Order of accesses to {}", instance.name), &foot)
}

fn legend(d: &mut Drawing, rows: &[&&OrderRow]) {
    let mut levels: Vec<(u8, Option<&str>)> = rows
        .iter()
        .map(|row| (colour::distance(row.level.as_deref()), row.level.as_deref()))
        .collect();
    levels.sort_unstable();
    levels.dedup();
    d.circle(LEFT + 6, 36, 4, FAINT);
    d.text(LEFT + 17, 36, Anchor::Start, 12.0, INK, "load");
    d.rect(LEFT + 62, 32, 8, 8, FAINT, 1.0);
    d.text(LEFT + 77, 36, Anchor::Start, 12.0, INK, "store");
    let mut at = LEFT + 140;
    for (_, level) in levels {
        let name = level.unwrap_or("level unknown");
        d.rect(at, 30, 12, 12, colour::level(level), 1.0);
        d.text(at + 17, 36, Anchor::Start, 12.0, INK, name);
        at += 34 + 7 * name.chars().count() as i32;
    }
}

fn list(instance: &Instance) -> Table {
    let start = instance.rows.iter().find_map(|row| row.time);
    let rows = instance.rows.iter().take(LISTED).map(|row| {
        let time = row
            .time
            .zip(start)
            .map(|(time, start)| time.saturating_sub(start));
        let mut keys: Vec<(&'static str, String)> = Vec::new();
        keys.extend(row.map.map(|map| ("map", map.to_string())));
        keys.extend(row.part.clone().map(|part| ("part", part)));
        keys.extend(row.level.clone().map(|level| ("level", level)));
        keys.extend(row.op.clone().map(|op| ("op", op)));
        keys.extend(row.cpu.map(|cpu| ("cpu", cpu.to_string())));
        keys.extend(row.tid.map(|tid| ("tid", tid.to_string())));
        Row {
            cells: vec![
                time.map_or(Cell::Absent, |t| Cell::Ranked {
                    shown: duration(t),
                    sort: t as f64,
                }),
                Cell::count(row.cpu),
                row.tid.map_or(Cell::Absent, |tid| Cell::Ranked {
                    shown: tid.to_string(),
                    sort: tid as f64,
                }),
                Cell::text(&row.op),
                Cell::code(&row.part),
                row.slot
                    .filter(|s| *s >= 0)
                    .map_or(Cell::NotApplicable, |s| Cell::Count(s as u64)),
                Cell::text(&row.level),
                Cell::count(row.latency),
                Cell::code(&row.function),
                Cell::count(row.line),
            ],
            keys,
            children: Vec::new(),
        }
    });
    Table {
        id: "order-table",
        caption: format!("Accesses to {}", instance.name),
        heads: vec![
            Head {
                name: "time",
                meaning: "Since the first access in this list",
            },
            Head {
                name: "cpu",
                meaning: "CPU",
            },
            Head {
                name: "thread",
                meaning: "OS thread",
            },
            Head {
                name: "op",
                meaning: "load or store",
            },
            Head {
                name: "part",
                meaning: "structure.field that was touched",
            },
            Head {
                name: "slot",
                meaning: "Slot 0..7",
            },
            Head {
                name: "level",
                meaning: "Where the data came from",
            },
            Head {
                name: "cycles",
                meaning: "Latency",
            },
            Head {
                name: "function",
                meaning: "Innermost function",
            },
            Head {
                name: "line",
                meaning: "Source line",
            },
        ],
        rows: rows.collect(),
    }
}
