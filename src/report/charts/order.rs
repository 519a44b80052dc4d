//! Who touched the hottest buckets and groups, in which order.

use super::{Chart, Figure, Unfiltered};
use crate::report::ReportError;
use crate::report::colour::{self, FAINT, GRID, INK, PAPER, Rgb};
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
const MARKS: usize = 800;
const LANES: usize = 24;
const LISTED: usize = 100;

const EDGE: Rgb = (0xb3, 0x26, 0x1e);
pub const MARKING: Rgb = (0xcc, 0x79, 0xa7);
const GROWTH: Rgb = (0x56, 0xb4, 0xe9);

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
        "One lane for each CPU (or thread, by the switch). A circle is a load, a square a store; the colour \
         is the level that served it, the length of the stroke above it its latency (logarithmic). A line between two \
         lanes goes from the last sampled store of another CPU to the same 64-byte line to the load that found the line \
         modified there (HITM): that store slowed it, or one that was not sampled. Shaded: stretches of 100 µs in which \
         GC marking or growth of this map was sampled; dashed: gaps and lost records. Where more accesses than fit are \
         in sight they are binned, and the line below says so; a drag zooms in until each has its mark. Under the \
         pointer stands which order of two neighbouring accesses of one CPU the architecture keeps; of fences between \
         them nothing is known. Order is by the recording's clock, which is one clock for all CPUs. \
         Of a sampled recording only the sampled accesses are here: two neighbouring marks may have any number of \
         unsampled accesses between them, so this shows who takes part, not every hand-over. A breakpoint \
         recording has every access to its few words, without level or latency. A thread is an OS thread: \
         goroutines move between them."
    }

    fn unfiltered(&self, _data: &Data) -> Vec<Unfiltered> {
        vec![Unfiltered {
            what: "The table",
            keys: "index",
            why: "it is of the hottest instance alone".to_owned(),
        }]
    }

    fn speaks_of_loads(&self) -> bool {
        false
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
            drawings: vec![draw(data, hottest)?],
            folded: vec![(
                format!("The first {LISTED} accesses of the hottest instance as a table"),
                list(data, hottest),
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

/// For each row the last store of another CPU to its line before it, where it is a load that found the
/// line modified there.
pub fn edges(rows: &[&OrderRow]) -> Vec<Option<usize>> {
    let mut stores = BTreeMap::<u64, BTreeMap<u64, usize>>::new();
    rows.iter()
        .enumerate()
        .map(|(i, row)| {
            let (line, cpu) = (row.cache_line()?, row.cpu?);
            let before = stores.entry(line).or_default();
            let others = before.iter().filter(|(other, _)| **other != cpu);
            let last = others.map(|(_, at)| *at).max();
            if row.is_store() {
                before.insert(cpu, i);
            }
            last.filter(|_| row.is_hitm())
        })
        .collect()
}

/// Stretches in which the collector marked, or the map of these rows grew: what, begin and end.
pub fn windows<'a>(data: &'a Data, map: Option<u64>) -> Vec<(&'a str, u64, u64)> {
    let all = data.summary.together.windows.iter();
    // Growth of a map that is not known may be another's.
    let own = all.filter(|w| match w.what.as_str() {
        "growth" => w.map.is_some() && w.map == map,
        _ => true,
    });
    own.map(|w| (w.what.as_str(), w.begin_ns, w.end_ns))
        .collect()
}

fn lane(row: &OrderRow) -> String {
    match (row.cpu, row.tid) {
        (Some(cpu), _) => format!("CPU {cpu}"),
        (None, Some(tid)) => format!("thread {tid}"),
        (None, None) => "unknown".to_owned(),
    }
}

fn draw(data: &Data, instance: &Instance) -> Result<Markup, ReportError> {
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
    if timed {
        let map = rows.iter().find_map(|row| row.map);
        around(&mut d, data, map, (first, span), (plot_width, height));
    }
    for (i, (_, _, name)) in lanes.iter().enumerate() {
        let y = TOP + i as i32 * LANE + LANE / 2;
        d.line((LEFT, y), (WIDTH - 20, y), GRID, 1.0);
        d.text(LEFT - 10, y, Anchor::End, 11.0, FAINT, name);
    }
    let at = |i: usize| -> Option<(i32, i32)> {
        let row = rows.get(i)?;
        let at = lanes.iter().position(|(_, _, name)| *name == lane(row))?;
        let x = match row.time {
            Some(time) if timed => u128::from(time - first) * plot_width as u128 / u128::from(span),
            _ => i as u128 * plot_width as u128 / rows.len().max(1) as u128,
        };
        Some((LEFT + x as i32, TOP + at as i32 * LANE + LANE / 2))
    };
    let plain: Vec<&OrderRow> = rows.iter().map(|row| **row).collect();
    let edges = edges(&plain);
    for (i, from) in edges.iter().enumerate() {
        if let (Some(from), Some(to)) = (from.and_then(at), at(i)) {
            d.line(from, to, EDGE, 0.5);
        }
    }
    let boxes = rows.iter().enumerate().filter_map(|(i, row)| {
        let (x, y) = at(i)?;
        let place = match (row.is_store(), row.latency) {
            (true, _) => [x - 4, y - 4, 8, 8],
            (false, Some(cycles)) => [x, y - stroke(cycles), 2, stroke(cycles)],
            (false, None) => return None,
        };
        Some((place, colour::level(row.level.as_deref()), 1.0))
    });
    d.cells(boxes);
    for (i, row) in rows.iter().enumerate().filter(|(_, row)| !row.is_store()) {
        let colour = colour::level(row.level.as_deref());
        match (at(i), &row.op) {
            (Some((x, y)), Some(_)) => d.circle(x, y, 4, colour),
            (Some((x, y)), None) => d.diamond(x, y, 5, colour),
            (None, _) => {}
        }
    }
    if timed {
        let start = data.summary.time_ns.map_or(first, |(start, _)| start);
        let begin = duration(first.saturating_sub(start));
        d.text(LEFT, height - 14, Anchor::Start, 11.0, FAINT, &begin);
        d.text(
            WIDTH - 20,
            height - 14,
            Anchor::End,
            11.0,
            FAINT,
            &duration((first + span).saturating_sub(start)),
        );
    }
    legend(&mut d, &rows);
    let mut foot = format!(
        "{} of {} accesses drawn",
        count(rows.len() as u64),
        count(instance.rows.len() as u64)
    );
    let drawn = edges.iter().flatten().count() as u64;
    if drawn > 0 {
        foot.push_str(&format!("; {} HITM edges", count(drawn)));
    }
    if hidden > 0 {
        foot.push_str(&format!("; {hidden} more lanes are not drawn"));
    }
    d.text(WIDTH / 2, height - 14, Anchor::Middle, 11.0, FAINT, &foot);
    d.finish(&format!("Order of accesses to {}", instance.name), &foot)
}

/// Pixels of a load's stroke: two for each doubling of its latency from 8 cycles on, at most a lane.
fn stroke(cycles: u64) -> i32 {
    let doublings = (cycles.max(1).ilog2() as i32 - 3).max(0);
    (2 + 2 * doublings).min(LANE - 2)
}

/// What went on around the accesses: marking, growth and gaps.
fn around(
    d: &mut Drawing,
    data: &Data,
    map: Option<u64>,
    (first, span): (u64, u64),
    (width, height): (i32, i32),
) {
    let x = |time: u64| {
        let since = u128::from(time.clamp(first, first + span) - first);
        LEFT + (since * width as u128 / u128::from(span)) as i32
    };
    for (what, begin, end) in windows(data, map) {
        if end < first || begin > first + span {
            continue;
        }
        let shade = if what == "growth" { GROWTH } else { MARKING };
        let wide = (x(end) - x(begin)).max(1);
        d.rect(x(begin), TOP, wide, height - TOP - 34, shade, 0.25);
    }
    let gaps = data.summary.gaps.iter().filter_map(|gap| gap.time_ns);
    for time in gaps.filter(|time| (first..=first + span).contains(time)) {
        for y in (TOP..height - 36).step_by(8) {
            d.line((x(time), y), (x(time), y + 4), INK, 0.8);
        }
    }
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
    if rows.iter().any(|row| row.op.is_none()) {
        d.diamond(at, 36, 5, FAINT);
        d.text(at + 11, 36, Anchor::Start, 12.0, INK, "load or store");
        at += 118;
    }
    for (_, level) in levels {
        let name = level.unwrap_or("level unknown");
        d.rect(at, 30, 12, 12, colour::level(level), 1.0);
        d.text(at + 17, 36, Anchor::Start, 12.0, INK, name);
        at += 34 + 7 * name.chars().count() as i32;
    }
}

fn list(data: &Data, instance: &Instance) -> Table {
    let first = data.summary.time_ns.map_or(0, |(first, _)| first);
    let start = instance.rows.iter().find_map(|row| row.time);
    let rows = instance.rows.iter().take(LISTED).map(|row| {
        let time = row
            .time
            .zip(start)
            .map(|(time, start)| time.saturating_sub(start));
        let mut keys: Vec<(&'static str, String)> = Vec::new();
        keys.extend(row.map.map(|map| ("map", map.to_string())));
        let texts = [("part", &row.part), ("level", &row.level), ("op", &row.op)];
        let texts = texts.map(|(key, text)| Some((key, text.as_deref()?.to_owned())));
        keys.extend(texts.into_iter().flatten());
        keys.extend(row.cpu.map(|cpu| ("cpu", cpu.to_string())));
        keys.extend(row.tid.map(|tid| ("tid", tid.to_string())));
        let since = row.time.map(|time| time.saturating_sub(first));
        keys.extend(since.map(|ns| ("time", ns.to_string())));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(op: &str, cpu: u64, off: u64, snoop: Option<&str>) -> OrderRow {
        OrderRow {
            n: None,
            time: None,
            tid: None,
            cpu: Some(cpu),
            event: None,
            op: Some(op.into()),
            level: None,
            latency: None,
            map: None,
            part: None,
            array: None,
            index: None,
            slot: None,
            off: Some(off),
            base: Some(0x1000),
            function: None,
            line: None,
            snoop: snoop.map(Into::into),
            after: None,
            rule: None,
        }
    }

    #[test]
    fn a_hitm_load_hangs_on_the_last_store_of_another_cpu_to_its_line() {
        let rows = [
            row("store", 0, 8, None),
            row("store", 1, 72, None), // the next line
            row("store", 2, 16, None), // CPU 2's own
            row("load", 2, 8, Some("HITM")),
            row("load", 3, 24, Some("HITM")),
            row("load", 3, 24, Some("None")),
            row("load", 4, 200, Some("HITM")), // a line that nobody stored to
        ];
        let rows: Vec<&OrderRow> = rows.iter().collect();
        assert_eq!(
            edges(&rows),
            [None, None, None, Some(0), Some(2), None, None]
        );
    }

    #[test]
    fn a_stroke_grows_with_the_latency_and_stays_in_its_lane() {
        assert_eq!(
            [0, 8, 16, 300, u64::MAX].map(stroke),
            [2, 2, 4, 12, LANE - 2]
        );
    }
}
