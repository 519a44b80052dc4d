//! Which bytes of which buckets or groups.

use super::{Chart, Figure};
use crate::report::ReportError;
use crate::report::colour::{self, FAINT, GRID, INK, PAPER};
use crate::report::data::{Data, Measures};
use crate::report::grid::{Grid, by_growth, grids};
use crate::report::html::Markup;
use crate::report::number::count;
use crate::report::svg::{Anchor, Drawing};
use crate::report::table::{Cell, Head, Row, Table};
use std::collections::{BTreeMap, BTreeSet};

pub struct Heatmap;

/// Arrays with a static drawing; the script draws all of them.
const DRAWN: usize = 2;
/// Cells of a static drawing, for its size.
const ROWS: u64 = 40;
const COLUMNS: u64 = 104;

const WIDTH: i32 = 1120;
const LEFT: i32 = 96;
const TOP: i32 = 64;
const PLOT: i32 = WIDTH - LEFT - 24;

/// What a cell counts; `None` where the recording does not tell.
type Value = fn(&Measures) -> Option<u64>;

/// What a heatmap can show: name, unit and the value of a cell.
pub const MEASURES: &[(&str, &str, Value)] = &[
    ("L1 miss", "loads", |m| m.l1_miss),
    ("LLC miss", "loads", |m| m.llc_miss),
    ("loads", "loads", |m| m.loads()),
    ("stores", "stores", |m| m.stores()),
    ("latency", "cycles", |m| m.latency_sum),
    ("mean latency", "cycles", |m| {
        m.latency_sum?.checked_div(m.latency_n)
    }),
    ("HITM", "loads", |m| m.hitm),
    (ACCESSES, "accesses", |m| Some(m.samples)),
];

/// Drawn where no access tells whether it is a load or a store.
const ACCESSES: &str = "accesses";

/// Maps that are named although nothing of their keys or elems outside of buckets is drawn.
const NOT_DRAWN: usize = 12;

impl Chart for Heatmap {
    fn id(&self) -> &'static str {
        "heatmap"
    }

    fn title(&self) -> &'static str {
        "Bytes of buckets"
    }

    fn question(&self) -> &'static str {
        "Which bytes of which buckets or groups are missed, and do they share cache lines?"
    }

    fn method(&self) -> &'static str {
        "Across: the byte offset in a bucket (Go <= 1.23) or group (Go >= 1.24), its parts drawn on the axis. \
         Down: the bucket or group index, binned where an array has more than fits (the axis says how many are \
         in a row). The arrays of a map that grew stand one after the other, the old one first. An access is placed by its first byte; an overflow bucket is drawn at the index of its \
         chain's head. Keys and elems that Go keeps outside of the slots (of more than 128 bytes) have rows of their own, by the byte in \
         them and the place in a pair of cache lines where they begin. Colour is cividis over the counts, further from the background is more; an empty cell has no sample. \
         Accesses whose index or offset is not known are not here; the tables count them. A zoom into buckets or groups, \
         of a part or of all, counts every access; the chart says down to how many in a row where an array has more \
         than 4,096 or the page has no room for all. Below that, of other selections and for the 95th percentile it counts the \
         page's raw accesses, each for as many as it stands for, and marks the number \u{2248}."
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        let (grids, note) = grids(data);
        if grids.is_empty() {
            return Ok(Figure::empty(
                "No access could be placed in a bucket or group, so there is nothing to draw.",
            ));
        }
        let mut notes: Vec<String> = note.into_iter().collect();
        let levels = data.has_levels();
        let ops = data.maps.iter().any(|map| map.m.loads + map.m.stores > 0);
        if !levels {
            let instead = match ops {
                true => "loads and stores are",
                false => "and does not tell loads from stores: all accesses are",
            };
            notes.push(format!(
                "This recording has no cache levels{} {instead} drawn in place of misses.",
                if ops { ":" } else { "," }
            ));
        }
        notes.extend(outside(data, &grids));
        let mut drawings = Vec::new();
        let by_growth = by_growth(&grids);
        let arrays = by_growth.iter().filter(|grid| grid.outside.is_none());
        let objects = by_growth.iter().filter(|grid| grid.outside.is_some());
        for grid in arrays.take(DRAWN).chain(objects.take(DRAWN)) {
            let shown: &[&str] = match (levels, ops) {
                (true, _) => &["L1 miss", "LLC miss"],
                (false, true) => &["loads", "stores"],
                (false, false) => &[ACCESSES],
            };
            for (name, unit, value) in MEASURES.iter().filter(|m| shown.contains(&m.0)) {
                drawings.push(draw(grid, name, unit, *value)?);
            }
        }
        let folded = vec![("Hottest cells as a table".to_owned(), hottest(&grids))];
        Ok(Figure {
            notes,
            canvas: Some("heatmap"),
            drawings,
            folded,
            ..Figure::default()
        })
    }
}

/// Notes, each with the samples that are not drawn: of those of which nothing is, the first ones, and a sum.
fn noted(all: impl Iterator<Item = (String, u64)>) -> Vec<String> {
    let (mut notes, mut named) = (Vec::new(), 0);
    let (mut more, mut samples) = (0u64, 0u64);
    for (note, left_out) in all {
        if left_out > 0 && named == NOT_DRAWN {
            (more, samples) = (more + 1, samples.saturating_add(left_out));
            continue;
        }
        named += usize::from(left_out > 0);
        notes.push(note);
    }
    if more > 0 {
        notes.push(format!(
            "The same holds of the keys or elems of {} more maps: {} samples on them are not drawn.",
            count(more),
            count(samples)
        ));
    }
    notes
}

/// What is drawn of the keys and elems that lie outside of their buckets or groups, of each map.
fn outside(data: &Data, grids: &[Grid]) -> Vec<String> {
    let objects = data
        .parts
        .iter()
        .filter(|p| p.part.starts_with("indirect_"));
    let placed = data.outside.iter().map(|o| (o.map, o.part.as_str()));
    let placed: BTreeSet<(Option<u64>, &str)> = placed.collect();
    let said = objects.filter_map(|own| {
        let map = data.map(own.map)?;
        let of = |g: &&Grid| {
            let part = g.outside.as_ref().map(|outside| outside.part.as_str());
            g.array.map == own.map && part == Some(own.part.as_str())
        };
        let cells = grids.iter().find(of).map(|grid| &grid.cells);
        let drawn = cells.into_iter().flat_map(|cells| cells.values());
        let drawn = drawn.fold(0, |sum: u64, m| sum.saturating_add(m.samples));
        let what = own.part.rsplit('.').next().unwrap_or("elem");
        let placed = placed.contains(&(own.map, own.part.as_str()));
        let rest = count(own.m.samples.saturating_sub(drawn));
        let how = match (drawn, placed) {
            (0, true) => format!("{rest} samples on them are not drawn: other maps have more"),
            (0, false) => {
                format!("{rest} samples on them are not drawn: their offset is not known")
            }
            (drawn, _) if drawn < own.m.samples => format!(
                "{} samples on them are drawn by byte of the {what}, {rest} are not: their offset is not known",
                count(drawn)
            ),
            (drawn, _) => format!("{} samples on them are drawn by byte of the {what}", count(drawn)),
        };
        let text = format!(
            "{}: Go keeps its {what}s each in an object of its own and a pointer in the slot; {how}.",
            map.name
        );
        let left_out = if drawn == 0 { own.m.samples } else { 0 };
        Some((text, left_out))
    });
    noted(said)
}

/// One measure of one array.
fn draw(grid: &Grid, name: &str, unit: &str, value: Value) -> Result<Markup, ReportError> {
    let rows_per_band = grid.rows.div_ceil(ROWS).max(1);
    let bytes_per_column = grid.stride.div_ceil(COLUMNS).max(1);
    let bands = grid.rows.div_ceil(rows_per_band).max(1);
    let mut cells = BTreeMap::<(u64, u64), u64>::new();
    for (&(row, off), m) in &grid.cells {
        let n = value(m).unwrap_or(0);
        if n > 0 {
            *cells
                .entry((row / rows_per_band, off / bytes_per_column))
                .or_default() += n;
        }
    }
    let most = cells.values().copied().max().unwrap_or(0);
    let total: u64 = cells.values().sum();
    let height = (bands as i32 * 9).clamp(72, 360);
    let x = |off: u64| LEFT + (off as i64 * i64::from(PLOT) / grid.stride as i64) as i32;
    let y = |band: u64| TOP + (band as i64 * i64::from(height) / bands as i64) as i32;

    let mut d = Drawing::new(WIDTH as u32, (TOP + height + 62) as u32);
    d.rect(0, 0, WIDTH, TOP + height + 62, PAPER, 1.0);
    d.text(
        0,
        10,
        Anchor::Start,
        13.0,
        INK,
        &format!("{name}, {}", grid.name()),
    );
    d.rect(LEFT, TOP, PLOT, height, GRID, 0.35);
    d.cells(cells.iter().map(|(&(band, column), &n)| {
        let (x0, y0) = (x(column * bytes_per_column), y(band));
        let x1 = x(((column + 1) * bytes_per_column).min(grid.stride));
        let shade = colour::cividis(shade(n, most));
        let (wide, high) = ((x1 - x0).max(1), (y(band + 1) - y0).max(1));
        ([x0, y0, wide, high], shade, 1.0)
    }));
    axis(&mut d, grid, &x);
    borders(&mut d, grid, rows_per_band, bands, &x, &y);
    let per_band = rows_per_band.saturating_mul(grid.per_row);
    // A tick stands at the upper edge of the row that it names.
    let ticks: BTreeSet<u64> = (0..4u64).map(|tick| bands * tick / 4).collect();
    for band in ticks {
        let index = grid.label(band.saturating_mul(per_band));
        d.text(LEFT - 8, y(band) + 6, Anchor::End, 11.0, FAINT, &index);
    }
    d.text(0, y(0) + 6, Anchor::Start, 11.0, FAINT, grid.one());
    d.text(LEFT - 8, TOP - 5, Anchor::End, 9.0, FAINT, "byte");
    legend(&mut d, TOP + height + 28, most, unit);
    let scale = match per_band {
        _ if grid.outside.is_some() => "one row is a place where one begins".to_owned(),
        1 => format!("one row is one {}", grid.one()),
        n => format!("one row is {} {}", count(n), grid.unit()),
    };
    let across = match bytes_per_column {
        1 => String::new(),
        n => format!(", one column {n} bytes"),
    };
    let foot = format!("{} {unit} drawn; {scale}{across}", count(total));
    d.text(
        WIDTH - 24,
        TOP + height + 28,
        Anchor::End,
        11.0,
        FAINT,
        &foot,
    );
    let drawn = match grid.one_phase() || rows_per_band == 1 {
        true => grid.border_note(),
        false => {
            "Cache-line borders move from one to the next and are not drawn: a row holds several."
                .to_owned()
        }
    };
    d.text(LEFT, TOP + height + 48, Anchor::Start, 11.0, FAINT, &drawn);
    d.finish(
        &format!("{name} by byte of {}", grid.name()),
        &format!("{foot}. {drawn} The table below lists the hottest cells."),
    )
}

/// The layout's parts above the plot, and its slots.
fn axis(d: &mut Drawing, grid: &Grid, x: &dyn Fn(u64) -> i32) {
    let mut labelled = 0;
    for segment in grid.segments() {
        let (x0, x1) = (x(segment.start), x(segment.end));
        let stage = match segment.part {
            "ctrl" | "tophash" => "control",
            part => part,
        };
        d.rect(
            x0,
            TOP - 18,
            (x1 - x0 - 1).max(1),
            6,
            colour::stage(stage),
            1.0,
        );
        let label = match segment.slot {
            // Slots are numbered; the part is said once.
            Some(0) if x1 - x0 >= 40 => format!("{} 0", segment.part),
            Some(0) => segment.part.to_owned(),
            Some(slot) => slot.to_string(),
            None => segment.part.to_owned(),
        };
        // Text is not measured: 6 pixels a character are more than it needs.
        let width = 6 * label.len() as i32;
        let at = match segment.part {
            "overflow" => x1 - width,
            // After a label that is wider than its part, where there is room.
            _ if labelled + width < x1 => x0.max(labelled),
            _ => x0,
        };
        if at >= labelled {
            d.text(at, TOP - 27, Anchor::Start, 10.0, INK, &label);
            labelled = at + width + 2;
        }
    }
    for byte in (0..grid.stride).step_by(if grid.stride > 512 { 128 } else { 16 }) {
        d.text(
            x(byte),
            TOP - 5,
            Anchor::Start,
            9.0,
            FAINT,
            &byte.to_string(),
        );
    }
}

/// 64-byte borders, thick where a pair of lines begins: through all rows, or row by row.
fn borders(
    d: &mut Drawing,
    grid: &Grid,
    rows_per_band: u64,
    bands: u64,
    x: &dyn Fn(u64) -> i32,
    y: &dyn Fn(u64) -> i32,
) {
    for segment in grid.segments().iter().skip(1) {
        d.line(
            (x(segment.start), y(0)),
            (x(segment.start), y(bands)),
            GRID,
            1.0,
        );
    }
    if grid.one_phase() {
        let pairs = grid.one_pair_phase();
        for (off, pair) in grid.borders(0).unwrap_or_default() {
            let wide = if pairs && pair { 3 } else { 1 };
            d.rect(
                x(off) - wide / 2,
                y(0) - 4,
                wide,
                y(bands) - y(0) + 4,
                INK,
                0.9,
            );
        }
    }
    if !grid.one_pair_phase() && grid.per_row == 1 && rows_per_band == 1 {
        for band in 0..bands {
            for (off, pair) in grid.borders(band).unwrap_or_default() {
                let wide = if pair { 3 } else { 1 };
                d.rect(
                    x(off) - wide / 2,
                    y(band),
                    wide,
                    y(band + 1) - y(band),
                    FAINT,
                    1.0,
                );
            }
        }
    }
}

/// 0 for one, 1 for the most, logarithmic between.
fn shade(n: u64, most: u64) -> f64 {
    match most {
        0 | 1 => 1.0,
        most => (n.max(1) as f64).ln() / (most as f64).ln(),
    }
}

fn legend(d: &mut Drawing, y: i32, most: u64, unit: &str) {
    if most == 0 {
        d.text(
            LEFT,
            y,
            Anchor::Start,
            11.0,
            FAINT,
            "none: no cell has a count",
        );
        return;
    }
    if most == 1 {
        d.rect(LEFT, y - 6, 12, 12, colour::cividis(1.0), 1.0);
        let label = format!("1 {} in a cell", unit.trim_end_matches('s'));
        d.text(LEFT + 18, y, Anchor::Start, 11.0, FAINT, &label);
        return;
    }
    for step in 0..20 {
        let shade = colour::cividis(f64::from(step) / 19.0);
        d.rect(LEFT + 20 + step * 8, y - 6, 8, 12, shade, 1.0);
    }
    d.text(LEFT + 14, y, Anchor::End, 11.0, FAINT, "1");
    let label = format!("{} {unit} in a cell, logarithmic scale", count(most));
    d.text(LEFT + 186, y, Anchor::Start, 11.0, FAINT, &label);
}

fn hottest(grids: &[Grid]) -> Table {
    const MOST: usize = 40;
    let mut cells: Vec<(&Grid, u64, u64, &Measures)> = grids
        .iter()
        .flat_map(|g| g.cells.iter().map(move |(&(row, off), m)| (g, row, off, m)))
        .collect();
    cells.sort_by_key(|(g, row, off, m)| (std::cmp::Reverse(m.cost()), g.array.array, *row, *off));
    let number = |grid: &Grid| grids.iter().position(|g| std::ptr::eq(g, grid));
    let rows = cells.iter().take(MOST).map(|(grid, row, off, m)| {
        let first = row.saturating_mul(grid.per_row);
        let last = first
            .saturating_add(grid.per_row - 1)
            .min(grid.array.len.saturating_sub(1).max(first));
        let index = match last > first {
            true => format!("{}-{}", count(first), count(last)),
            false => grid.label(first),
        };
        let segments = grid.segments();
        let part = segments.iter().find(|s| s.start <= *off && *off < s.end);
        let part = part.map(|s| match s.slot {
            Some(slot) => format!("{} {slot}", s.part),
            None => s.part.to_owned(),
        });
        let map = grid
            .map
            .map_or(Cell::Absent, |m| Cell::Code(m.name.clone()));
        let n = number(grid).unwrap_or(0);
        let mut keys = vec![("cell", format!("{n}:{row}:{off}"))];
        keys.extend(grid.map.map(|m| ("map", m.map.to_string())));
        Row {
            cells: vec![
                map,
                Cell::Ranked {
                    shown: index,
                    sort: first as f64,
                },
                Cell::Count(*off),
                Cell::text(&part),
                Cell::Count(m.samples),
                Cell::count(m.loads()),
                Cell::count(m.stores()),
                Cell::share_of_loads(m.l1_miss, m),
                Cell::share_of_loads(m.llc_miss, m),
                Cell::count(m.latency_sum),
                Cell::count(m.hitm),
            ],
            keys,
            children: Vec::new(),
        }
    });
    Table {
        id: "cells-table",
        caption: format!(
            "The hottest {} of {} cells",
            cells.len().min(MOST),
            count(cells.len() as u64)
        ),
        heads: vec![
            Head {
                name: "map",
                meaning: "Name of the map",
            },
            Head {
                name: "index",
                meaning: "Bucket or group index, or a range of them; of an object outside the byte of a pair of cache lines where it begins",
            },
            Head {
                name: "byte",
                meaning: "Byte offset in the bucket, group, key or elem",
            },
            Head {
                name: "part",
                meaning: "Part and slot at that offset",
            },
            Head {
                name: "samples",
                meaning: "Samples in the cell",
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
                name: "L1 miss",
                meaning: "Loads served from beyond L1, of those with a known level",
            },
            Head {
                name: "LLC miss",
                meaning: "Loads served by RAM or a remote cache",
            },
            Head {
                name: "latency",
                meaning: "Sum of the latencies, cycles",
            },
            Head {
                name: "HITM",
                meaning: "Loads that hit a modified line of another CPU",
            },
        ],
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_maps_the_first_are_named_and_the_others_counted() {
        let said = |n: u64| (format!("map {n}"), if n == 1 { 0 } else { 1_000 + n });
        let few: Vec<String> = noted((0..13).map(said));
        let named = |n: u64| format!("map {n}");
        assert_eq!(few, (0..13).map(named).collect::<Vec<_>>());
        // Of 15 that are not drawn the last three: 1013, 1014, 1015.
        let many = noted((0..16).map(said));
        let sum = "The same holds of the keys or elems of 3 more maps: 3,042 samples on them are not drawn.";
        let expected = (0..13).map(named).chain([sum.to_owned()]);
        assert_eq!(many, expected.collect::<Vec<_>>());
    }
}
