//! Latency over time, by level.

use super::order::{MARKING, windows};
use super::{Chart, Figure};
use crate::report::ReportError;
use crate::report::colour::{self, FAINT, GRID, INK, PAPER};
use crate::report::data::Data;
use crate::report::number::{count, duration};
use crate::report::svg::{Anchor, Drawing};
use crate::report::table::{Cell, Head, Row, Table};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

pub struct Latency;

const WIDTH: i32 = 1120;
const HEIGHT: i32 = 320;
const LEFT: i32 = 72;
const TOP: i32 = 34;
const BOTTOM: i32 = 30;
/// Columns and rows of the static drawing, for its size.
const COLUMNS: u64 = 112;
/// Latency bins in one row of the static drawing: a quarter of an octave.
const BINS_PER_ROW: u64 = 2;

impl Chart for Latency {
    fn id(&self) -> &'static str {
        "latency"
    }

    fn title(&self) -> &'static str {
        "Latency over time"
    }

    fn question(&self) -> &'static str {
        "When were accesses slow, and which level served them?"
    }

    fn method(&self) -> &'static str {
        "Across: time since the first sample. Down to up: latency in cycles on a logarithmic scale, eight bins \
         to a factor of two. A cell takes the colour of the level that served most of its samples and is fainter \
         with fewer samples. Vertical lines are places where the kernel lost records or throttled the event: \
         nothing can be said about them. Shaded: stretches in which GC marking, or growth of the selected map, was \
         sampled. Loads faster than the event's ldlat are not in the recording. \
         With PEBS the latency runs from dispatch to completion, waiting for an address included."
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        if data.latency.iter().all(|row| row.samples == 0) {
            return Ok(Figure::empty(
                "This recording has no latencies: its events did not sample a weight, or its PMU does not put one there.",
            ));
        }
        let mut notes = Vec::new();
        let lost: u64 = data
            .summary
            .gaps
            .iter()
            .fold(0, |sum: u64, gap| sum.saturating_add(gap.lost));
        if !data.summary.gaps.is_empty() {
            let gaps = count(data.summary.gaps.len() as u64);
            let lost = count(lost);
            notes.push(format!(
                "{gaps} gaps are drawn; the kernel reports {lost} lost records."
            ));
        }
        Ok(Figure {
            notes,
            canvas: Some("latency"),
            drawings: vec![draw(data)?],
            folded: vec![("Latency by level as a table".to_owned(), by_level(data))],
            ..Figure::default()
        })
    }
}

fn draw(data: &Data) -> Result<crate::report::html::Markup, ReportError> {
    let bins = data
        .latency
        .iter()
        .map(|row| row.time_bin + 1)
        .max()
        .unwrap_or(1);
    let per_column = bins.div_ceil(COLUMNS).max(1);
    let columns = bins.div_ceil(per_column);
    let low = data
        .latency
        .iter()
        .map(|row| row.latency_bin)
        .min()
        .unwrap_or(0)
        / 8
        * 8;
    let high = data
        .latency
        .iter()
        .map(|row| row.latency_bin)
        .max()
        .unwrap_or(0)
        / 8
        * 8
        + 8;
    let mut sums = FxHashMap::<(u64, u64, Option<&str>), u64>::default();
    for row in data.latency.iter().filter(|row| row.samples > 0) {
        let column = row.time_bin / per_column;
        let bin = (row.latency_bin - low) / BINS_PER_ROW;
        let cell = (column, bin, row.level.as_deref());
        *sums.entry(cell).or_default() += row.samples;
    }
    let mut cells = BTreeMap::<(u64, u64), BTreeMap<(u8, Option<&str>), u64>>::new();
    for ((column, row, level), samples) in sums {
        let levels = cells.entry((column, row)).or_default();
        levels.insert((colour::distance(level), level), samples);
    }
    let most = cells
        .values()
        .map(|levels| levels.values().sum::<u64>())
        .max()
        .unwrap_or(1);
    let (plot_width, plot_height) = (WIDTH - LEFT - 16, HEIGHT - TOP - BOTTOM);
    let x = |column: u64| LEFT + (column as i64 * i64::from(plot_width) / columns as i64) as i32;
    let y = |bin: u64| {
        let up = bin.saturating_sub(low) as i64 * i64::from(plot_height) / (high - low) as i64;
        TOP + plot_height - up as i32
    };

    let mut d = Drawing::new(WIDTH as u32, HEIGHT as u32);
    d.rect(0, 0, WIDTH, HEIGHT, PAPER, 1.0);
    for octave in (low..=high).step_by(8) {
        d.line((LEFT, y(octave)), (WIDTH - 16, y(octave)), GRID, 1.0);
        // Bin 8k starts at 2^k cycles; u32 latencies end at bin 256.
        let cycles = 1u64 << (octave / 8).min(63);
        d.text(
            LEFT - 8,
            y(octave),
            Anchor::End,
            11.0,
            FAINT,
            &count(cycles),
        );
    }
    let first = data.summary.time_ns.map_or(0, |(first, _)| first);
    let covered = u128::from(bins) * u128::from(data.summary.time_bin_ns).max(1);
    let marking = windows(data, None);
    for &(_, begin, end) in &marking {
        let x = |time: u64| {
            let since = u128::from(time.saturating_sub(first)).min(covered);
            LEFT + (since * plot_width as u128 / covered) as i32
        };
        let wide = (x(end) - x(begin)).max(1);
        d.rect(x(begin), TOP, wide, plot_height, MARKING, 0.25);
    }
    d.cells(cells.iter().filter_map(|(&(column, row), levels)| {
        let n: u64 = levels.values().sum();
        let (&(_, level), _) = levels.iter().max_by_key(|(key, n)| (**n, **key))?;
        let alpha = 0.35 + 0.65 * (n as f64).ln_1p() / (most as f64).ln_1p();
        let bin = low + row * BINS_PER_ROW;
        let (x0, y0) = (x(column), y(bin + BINS_PER_ROW));
        let (wide, high) = ((x(column + 1) - x0).max(1), (y(bin) - y0).max(1));
        let alpha = (alpha * 20.0).round() / 20.0;
        Some(([x0, y0, wide, high], colour::level(level), alpha))
    }));
    gaps(&mut d, data, plot_width, plot_height);
    let span = data.summary.time_ns.map_or(0, |(a, b)| b.saturating_sub(a));
    for tick in 0..=5u64 {
        let at = LEFT + plot_width * tick as i32 / 5;
        let anchor = if tick == 5 {
            Anchor::End
        } else {
            Anchor::Start
        };
        let time = duration((u128::from(span) * u128::from(tick) / 5) as u64);
        d.text(at, HEIGHT - 14, anchor, 11.0, FAINT, &time);
    }
    d.text(0, 10, Anchor::Start, 11.0, FAINT, "cycles");
    let mut levels: Vec<(u8, Option<&str>)> = cells
        .values()
        .flat_map(|levels| levels.keys().copied())
        .collect();
    levels.sort_unstable();
    levels.dedup();
    let mut at = LEFT;
    for (_, level) in levels {
        let name = level.unwrap_or("level unknown");
        d.rect(at, 4, 12, 12, colour::level(level), 1.0);
        d.text(at + 17, 10, Anchor::Start, 12.0, INK, name);
        at += 34 + 7 * name.chars().count() as i32;
    }
    if !marking.is_empty() {
        let shaded = "shaded: GC marking (pink)";
        d.text(at + 8, 10, Anchor::Start, 12.0, INK, shaded);
    }
    let samples: u64 = data.latency.iter().map(|row| row.samples).sum();
    d.finish(
        "Latency over time by level",
        &format!(
            "{} samples with a latency; the table below has the counts by level.",
            count(samples)
        ),
    )
}

fn gaps(d: &mut Drawing, data: &Data, plot_width: i32, plot_height: i32) {
    let Some((first, last)) = data.summary.time_ns else {
        return;
    };
    let span = u128::from(last.saturating_sub(first)).max(1);
    let mut at: Vec<i32> = data
        .summary
        .gaps
        .iter()
        .filter_map(|gap| gap.time_ns)
        .filter(|time| (first..=last).contains(time))
        .map(|time| (u128::from(time - first) * plot_width as u128 / span) as i32)
        .collect();
    at.sort_unstable();
    at.dedup();
    for x in at {
        d.line((LEFT + x, TOP), (LEFT + x, TOP + plot_height), INK, 0.8);
        d.rect(LEFT + x - 2, TOP - 6, 5, 6, INK, 1.0);
    }
}

/// Samples by level and latency, a factor of four to a column.
fn by_level(data: &Data) -> Table {
    const HEADS: [Head; 9] = [
        Head {
            name: "level",
            meaning: "Where the data came from",
        },
        Head {
            name: "samples",
            meaning: "Samples with a latency",
        },
        Head {
            name: "< 16",
            meaning: "Samples below 16 cycles",
        },
        Head {
            name: "16-63",
            meaning: "Samples of 16 to 63 cycles",
        },
        Head {
            name: "64-255",
            meaning: "Samples of 64 to 255 cycles",
        },
        Head {
            name: "256-1023",
            meaning: "Samples of 256 to 1,023 cycles",
        },
        Head {
            name: "1024-4095",
            meaning: "Samples of 1,024 to 4,095 cycles",
        },
        Head {
            name: "4096-16383",
            meaning: "Samples of 4,096 to 16,383 cycles",
        },
        Head {
            name: ">= 16384",
            meaning: "Samples of 16,384 cycles and more",
        },
    ];
    let mut sums = BTreeMap::<(u8, Option<&str>), [u64; 7]>::new();
    for row in &data.latency {
        let level = row.level.as_deref();
        // Bins 8k start at 2^k cycles: 32 is 16 cycles, and 16 bins are a factor of four.
        let column = (row.latency_bin.saturating_sub(16) / 16).min(6) as usize;
        let sum = sums.entry((colour::distance(level), level)).or_default();
        if let Some(cell) = sum.get_mut(column) {
            *cell += row.samples;
        }
    }
    let rows = sums.iter().map(|((_, level), sum)| {
        let name = level.unwrap_or("level unknown").to_owned();
        let mut cells = vec![Cell::Text(name), Cell::Count(sum.iter().sum())];
        cells.extend(sum.iter().map(|n| Cell::Count(*n)));
        let keys = level.iter().map(|l| ("level", (*l).to_owned())).collect();
        Row {
            cells,
            keys,
            children: Vec::new(),
        }
    });
    Table {
        id: "latency-table",
        caption: "Samples by level and latency in cycles".to_owned(),
        heads: HEADS.to_vec(),
        rows: rows.collect(),
    }
}
