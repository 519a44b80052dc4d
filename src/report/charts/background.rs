//! What the program does not do itself on the memory of its maps, and what that costs.

use super::concurrent::looked_at;
use super::{ALL_KEYS, Chart, Figure, Unfiltered};
use crate::report::ReportError;
use crate::report::colour::{FAINT, GRID, INK, PAPER, Rgb};
use crate::report::data::Data;
use crate::report::html::Markup;
use crate::report::number::count;
use crate::report::svg::{Anchor, Drawing};
use crate::report::table::{Cell, Head, Row, Table};

pub struct Background;

const WIDTH: i32 = 1120;
const LEFT: i32 = 150;
const BAR: i32 = 480;
const LINE: i32 = 30;
const BLUE: Rgb = (0x00, 0x72, 0xb2);

impl Chart for Background {
    fn id(&self) -> &'static str {
        "background"
    }

    fn title(&self) -> &'static str {
        "Collector and growth"
    }

    fn question(&self) -> &'static str {
        "How much of the traffic on maps is GC marking, write barriers and growth, and what does it cost the program?"
    }

    fn method(&self) -> &'static str {
        "Samples on the memory of maps by the function that made them: marking and write barriers are the runtime's \
         functions of these names, growth is evacuation (Go <= 1.23) or rehash (Go >= 1.24). Intervals of shares are \
         exact (Clopper and Pearson). The cost compares the latency of the program's own loads of map memory in \
         stretches of 100 µs in which marking or growth was sampled with those in all others; its interval is the \
         normal approximation, and fewer than 30 samples on either side are compared with nothing. It is a difference, \
         not a cause: the program may do other things in these stretches."
    }

    fn unfiltered(&self, data: &Data) -> Vec<Unfiltered> {
        match data.summary.together.slowdowns.is_empty() {
            true => Vec::new(),
            false => vec![Unfiltered {
                what: "What marking and growth cost",
                keys: ALL_KEYS,
                why: "it compares stretches of the whole recording".to_owned(),
            }],
        }
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        let found = &data.summary.together;
        if found.causes.is_empty() {
            return Ok(Figure::empty("No sample is on the memory of a known map."));
        }
        let mut notes: Vec<String> = looked_at(data).into_iter().collect();
        for slowdown in &found.slowdowns {
            let during = &slowdown.during;
            let against = format!(
                "{} samples against {}",
                count(slowdown.samples),
                count(slowdown.otherwise)
            );
            notes.push(match slowdown.more {
                Some((more, low, high)) => format!(
                    "During {during} a load of the program takes {more:+.1} cycles (95 % interval {low:+.1} to {high:+.1}; {against})."
                ),
                None => format!("Whether {during} costs the program's loads is not known: {against} with a latency."),
            });
        }
        Ok(Figure {
            notes,
            canvas: Some("background"),
            drawings: vec![draw(data)?],
            tables: vec![table(data)],
            ..Figure::default()
        })
    }
}

fn draw(data: &Data) -> Result<Markup, ReportError> {
    let causes = &data.summary.together.causes;
    let all: u64 = causes.iter().map(|cause| cause.samples).sum();
    let height = LINE * causes.len() as i32 + 16;
    let mut d = Drawing::new(WIDTH as u32, height as u32);
    d.rect(0, 0, WIDTH, height, PAPER, 1.0);
    for (i, cause) in causes.iter().enumerate() {
        let y = 8 + LINE * i as i32;
        let width = (u128::from(cause.samples) * BAR as u128 / u128::from(all.max(1))) as i32;
        d.text(LEFT - 12, y + 11, Anchor::End, 13.0, INK, &cause.name);
        d.rect(LEFT, y, BAR, 22, GRID, 0.35);
        d.rect(LEFT, y, width.max(1), 22, BLUE, 1.0);
        let (low, high) = cause.interval;
        // The interval, on the bar.
        let x = |share: f64| LEFT + (share.clamp(0.0, 1.0) * f64::from(BAR)) as i32;
        d.line((x(low), y + 11), (x(high), y + 11), INK, 1.0);
        let mut said = format!(
            "{} (95 % interval {:.1}-{:.1} %), {} samples",
            tenths(cause.samples, all),
            100.0 * low,
            100.0 * high,
            count(cause.samples)
        );
        if let Some(cycles) = cause.cycles {
            said += &format!(", {} cycles", count(cycles));
        }
        d.text(LEFT + BAR + 12, y + 11, Anchor::Start, 12.0, FAINT, &said);
    }
    d.finish(
        "Samples on the memory of maps by cause",
        "One bar for each cause; the table below has the numbers.",
    )
}

/// A share as exact as the interval beside it.
fn tenths(n: u64, of: u64) -> String {
    format!("{:.1} %", 100.0 * n as f64 / of.max(1) as f64)
}

fn table(data: &Data) -> Table {
    let causes = &data.summary.together.causes;
    let all: u64 = causes.iter().map(|cause| cause.samples).sum();
    let cycles = causes.iter().filter_map(|cause| cause.cycles);
    let cycles = cycles.fold(0, |sum: u64, n| sum.saturating_add(n));
    let rows = causes.iter().map(|cause| {
        let (low, high) = cause.interval;
        let cells = vec![
            Cell::Text(cause.name.clone()),
            Cell::Ranked {
                shown: format!(
                    "{} of {} ({})",
                    count(cause.samples),
                    count(all),
                    tenths(cause.samples, all)
                ),
                sort: cause.samples as f64,
            },
            Cell::Text(format!("{:.1}-{:.1} %", 100.0 * low, 100.0 * high)),
            cause
                .cycles
                .map_or(Cell::Absent, |n| Cell::Latency { n, of: cycles }),
        ];
        Row {
            cells,
            keys: vec![("cause", cause.name.clone())],
            children: Vec::new(),
        }
    });
    Table {
        id: "background-table",
        caption: format!("Samples on the memory of maps: {}", count(all)),
        heads: vec![
            Head {
                name: "cause",
                meaning: "On whose account the access is",
            },
            Head {
                name: "samples",
                meaning: "Share of the samples on the memory of maps",
            },
            Head {
                name: "95 % interval",
                meaning: "Of that share, exact (Clopper and Pearson)",
            },
            Head {
                name: "latency",
                meaning: "Share of their sampled latency, cycles",
            },
        ],
        rows: rows.collect(),
    }
}
