//! What one operation on a map touches, step by step.

use super::code::{measures, table, total};
use super::stages::STAGES;
use super::{Chart, Figure};
use crate::report::ReportError;
use crate::report::colour::{FAINT, GRID, INK, PAPER, cividis};
use crate::report::data::{Data, Measures, StepRow};
use crate::report::html::Markup;
use crate::report::number::count;
use crate::report::svg::{Anchor, Drawing};
use crate::report::table::{Cell, Head, Keys, Row};
use std::cmp::Reverse;
use std::collections::BTreeSet;

pub struct Operations;

/// The operations on one key, the one that changes most first.
const DRAWN: [&str; 3] = ["delete", "assign", "access"];
/// Rows of the table, and of one drawing.
const MOST: usize = 120;
const MARKS: usize = 60;

const WIDTH: i32 = 860;
const LEFT: i32 = 150;
const LANE: i32 = 62;
const TOP: i32 = 44;
const ROW: i32 = 17;

const HEADS: &[Head] = &[
    Head {
        name: "operation",
        meaning: "Map operation",
    },
    Head {
        name: "step",
        meaning: "Turn in the operation, from the binary's own lines; loops apart",
    },
    Head {
        name: "phase",
        meaning: "What the step is for",
    },
    Head {
        name: "part",
        meaning: "structure.field that was touched",
    },
    Head {
        name: "function",
        meaning: "Innermost inlined function and its line",
    },
    Head {
        name: "instruction",
        meaning: "The instruction, as Intel writes it",
    },
];

impl Chart for Operations {
    fn id(&self) -> &'static str {
        "operations"
    }

    fn title(&self) -> &'static str {
        "What an operation does"
    }

    fn question(&self) -> &'static str {
        "In which order does one delete, insert or lookup touch the parts of a map, and which step costs?"
    }

    fn method(&self) -> &'static str {
        "One row for each instruction of a map operation that was sampled, in the order in which one run \
         through the operation comes by: the order of the source lines that the binary itself names, \
         inlined functions in place of their call; loops go round in between. Phases come from the part \
         that is touched, from the inlined function and, in a delete, from what the code reaches only \
         after the store that removes the entry. Steps that no sample hit are not shown, so a gap is no \
         proof. Elems are used in the caller, last. What the runtime's memclr, memmove, memequal and hash functions \
         do for an operation stands at their call, where a call chain leads to it."
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        if data.steps.is_empty() {
            return Ok(Figure::empty("No access was placed in a map operation."));
        }
        let mut drawings = Vec::new();
        for run in runs(data) {
            let steps: Vec<&StepRow> = run.steps.iter().map(|step| &step.row).collect();
            drawings.push(draw(&run.title, &steps)?);
        }
        let sum = total(data.steps.iter().map(|step| &step.m));
        let shown = costliest(&data.steps);
        let note = (shown.len() < data.steps.len()).then(|| {
            format!(
                "Shown: the costliest {} of {} steps, in the order of their operation.",
                count(shown.len() as u64),
                count(data.steps.len() as u64)
            )
        });
        let rows = data.steps.iter().enumerate();
        let rows = rows.filter(|(i, _)| shown.contains(i)).map(|(i, step)| {
            let name = |text: &Option<String>| match text {
                Some(text) => Cell::Text(text.replace('_', " ")),
                None => Cell::Absent,
            };
            let mut cells = vec![
                name(&step.operation),
                Cell::Count(turn(&data.steps, i)),
                name(&step.phase),
                Cell::code(&step.part),
                Cell::code(&place(step)),
                Cell::code(&step.instruction),
            ];
            cells.extend(measures(&step.m, &sum));
            let mut keys: Keys = vec![("step", i.to_string())];
            keys.extend(step.part.iter().map(|part| ("part", part.clone())));
            Row {
                cells,
                keys,
                children: Vec::new(),
            }
        });
        let table = table(
            "operations-table",
            "steps",
            &sum,
            data.steps.len(),
            HEADS,
            rows.collect(),
            note,
        );
        Ok(Figure {
            canvas: Some("operations"),
            drawings,
            ..table
        })
    }
}

/// Rows of the [`MOST`] steps that cost most.
fn costliest(steps: &[StepRow]) -> BTreeSet<usize> {
    let mut rows: Vec<usize> = (0..steps.len()).collect();
    rows.sort_by_key(|&i| (Reverse(steps.get(i).map(|step| step.m.cost())), i));
    rows.into_iter().take(MOST).collect()
}

fn place(step: &StepRow) -> Option<String> {
    let function = step.function.as_deref()?;
    Some(match step.line {
        Some(line) => format!("{function}:{line}"),
        None => function.to_owned(),
    })
}

/// The how-manieth step of its operation row `i` is.
fn turn(steps: &[StepRow], i: usize) -> u64 {
    let of = |row: &StepRow| row.operation.clone();
    let own = steps.get(i).map(of);
    let before = steps.iter().take(i).rev();
    1 + before.take_while(|row| Some(of(row)) == own).count() as u64
}

/// One run through an operation.
#[derive(Debug)]
pub struct Run {
    pub title: String,
    pub steps: Vec<RunStep>,
}

/// What touches one part in one phase.
#[derive(Debug, Clone)]
pub struct RunStep {
    pub row: StepRow,
    /// Rows of `steps` that it is the sum of.
    pub rows: Vec<usize>,
}

/// The operations that are drawn.
pub fn runs(data: &Data) -> Vec<Run> {
    let all = DRAWN.iter().map(|operation| {
        let (entry, steps) = run_of(data, operation);
        let title = match entry {
            Some(entry) => format!("One {operation} ({entry}), from top to bottom"),
            None => format!("One {operation}, from top to bottom"),
        };
        Run { title, steps }
    });
    all.filter(|run| !run.steps.is_empty()).collect()
}

/// The steps of one run through an operation: of several entry points (`mapdelete_fast64`,
/// `mapdelete_faststr`) the one with the most samples, and all that these share. What touches one part
/// in one phase and follows on itself is one step, and so is what all callers do with the elem.
fn run_of(data: &Data, operation: &str) -> (Option<String>, Vec<RunStep>) {
    let own = |step: &StepRow| step.operation.as_deref() == Some(operation);
    let of_operation = |step: &&StepRow| own(step);
    let entry = |step: &StepRow| {
        let outer = step.outer.as_deref()?;
        outer.starts_with("runtime.map").then(|| outer.to_owned())
    };
    let mut entries: Vec<(String, u64)> = Vec::new();
    for step in data.steps.iter().filter(of_operation) {
        let Some(name) = entry(step) else { continue };
        match entries.iter_mut().find(|(known, _)| *known == name) {
            Some((_, samples)) => *samples = samples.saturating_add(step.m.samples),
            None => entries.push((name, step.m.samples)),
        }
    }
    entries.sort_by_key(|(_, samples)| std::cmp::Reverse(*samples));
    let main = entries.first().map(|(name, _)| name.clone());
    let mut run: Vec<RunStep> = Vec::new();
    for (i, step) in data.steps.iter().enumerate().filter(|(_, step)| own(step)) {
        if step.part.is_none() || entry(step).is_some_and(|name| Some(name) != main) {
            continue;
        }
        let same = |known: &&mut RunStep| {
            let known = &known.row;
            (&known.phase, &known.part) == (&step.phase, &step.part)
                && in_caller(known) == in_caller(step)
        };
        let known = match in_caller(step) {
            true => run.iter_mut().find(same),
            false => run.last_mut().filter(same),
        };
        match known {
            Some(known) => {
                known.row.m = known.row.m.plus(&step.m);
                known.rows.push(i);
            }
            None => run.push(RunStep {
                row: step.clone(),
                rows: vec![i],
            }),
        }
    }
    (main, run)
}

fn in_caller(step: &StepRow) -> bool {
    let runtime = |outer: &str| outer.starts_with("runtime.") || outer.starts_with("internal/");
    !step.outer.as_deref().is_some_and(runtime)
}

fn draw(title: &str, steps: &[&StepRow]) -> Result<Markup, ReportError> {
    let lanes: Vec<&str> = STAGES
        .iter()
        .copied()
        .filter(|stage| steps.iter().any(|s| s.stage.as_deref() == Some(*stage)))
        .collect();
    let shown = &steps[..steps.len().min(MARKS)];
    let height = TOP + shown.len() as i32 * ROW + 26;
    let end = LEFT + lanes.len() as i32 * LANE;
    let mut d = Drawing::new(WIDTH as u32, height as u32);
    d.rect(0, 0, WIDTH, height, PAPER, 1.0);
    d.text(0, 10, Anchor::Start, 13.0, INK, title);
    for (i, lane) in lanes.iter().enumerate() {
        let x = LEFT + i as i32 * LANE + LANE / 2;
        d.line((x, TOP), (x, height - 24), GRID, 1.0);
        let name = match *lane {
            "control" => "tophash/ctrl",
            lane => lane,
        };
        d.text(x, TOP - 12, Anchor::Middle, 10.0, FAINT, name);
    }
    let most = shown.iter().map(|s| weight(&s.m)).max().unwrap_or(0).max(1);
    let mut before = None;
    let mut at: Option<(i32, i32)> = None;
    for (i, step) in shown.iter().enumerate() {
        let y = TOP + i as i32 * ROW + ROW / 2;
        if before != step.phase.as_ref() {
            let phase = step.phase.as_deref().unwrap_or("unknown").replace('_', " ");
            d.text(LEFT - 12, y, Anchor::End, 11.0, INK, &phase);
        }
        before = step.phase.as_ref();
        let lane = lanes.iter().position(|l| step.stage.as_deref() == Some(*l));
        let Some(lane) = lane else { continue };
        let x = LEFT + lane as i32 * LANE + LANE / 2;
        if let Some(from) = at {
            d.line(from, (x, y), FAINT, 0.5);
        }
        at = Some((x, y));
        let share = weight(&step.m) as f64 / most as f64;
        let radius = 3 + (share.sqrt() * 5.0).round() as i32;
        if step.m.stores > 0 {
            d.rect(
                x - radius,
                y - radius,
                2 * radius,
                2 * radius,
                cividis(share),
                1.0,
            );
        } else {
            d.circle(x, y, radius as u32, cividis(share));
        }
        let cost = match step.m.latency_sum {
            Some(cycles) => format!(", {} cycles", count(cycles)),
            None => String::new(),
        };
        let text = format!(
            "{}: {} {}{cost}",
            step.part.as_deref().unwrap_or("unknown"),
            count(step.m.samples),
            if step.m.samples == 1 {
                "sample"
            } else {
                "samples"
            }
        );
        d.text(end + 10, y, Anchor::Start, 11.0, INK, &text);
    }
    let foot = format!(
        "{} of {} steps drawn. Circle: loads only; square: stores too. Size and shade: latency, else samples.",
        shown.len(),
        steps.len()
    );
    d.text(0, height - 10, Anchor::Start, 11.0, FAINT, &foot);
    d.finish(
        title,
        "Steps of the operation from top to bottom, a lane for each stage; the table below has the numbers.",
    )
}

fn weight(m: &Measures) -> u64 {
    m.latency_sum.unwrap_or(m.samples)
}
