//! Which functions and lines the samples are in.

use super::{Chart, Figure};
use crate::report::ReportError;
use crate::report::data::{CodeRow, Data, Measures};
use crate::report::number::count;
use crate::report::table::{Cell, Head, Keys, Row, Table, cut};
use crate::report::table::{latency_of, quantile};

pub struct Functions;
pub struct Lines;

const MOST: usize = 100;

const SAMPLES: Head = Head {
    name: "samples",
    meaning: "Memory accesses in the row",
};
const LOADS: Head = Head {
    name: "loads",
    meaning: "Load samples",
};
const STORES: Head = Head {
    name: "stores",
    meaning: "Store samples",
};
const SHARE: Head = Head {
    name: "latency share",
    meaning: "Share of the latency of the whole table, cycles",
};
const P50: Head = Head {
    name: "p50",
    meaning: "Median latency, cycles",
};
const P95: Head = Head {
    name: "p95",
    meaning: "95th percentile of the latencies, cycles",
};
const L1: Head = Head {
    name: "L1 miss",
    meaning: "Loads served from beyond L1, of those with a known level",
};
const LLC: Head = Head {
    name: "LLC miss",
    meaning: "Loads served by RAM or a remote cache, of those with a known level",
};
const FUNCTION: Head = Head {
    name: "function",
    meaning: "Innermost inlined function at the instruction",
};

impl Chart for Functions {
    fn id(&self) -> &'static str {
        "functions"
    }

    fn title(&self) -> &'static str {
        "Hot functions"
    }

    fn question(&self) -> &'static str {
        "Which functions do the sampled accesses happen in?"
    }

    fn method(&self) -> &'static str {
        "By instruction pointer, with inlined functions told apart from the function whose code they are in. \
         All memory accesses are counted here, those without a map too. With an event that allows skid \
         (precise_ip below 2) the instruction, and so the function, may be a later one. Of the hottest functions \
         \u{2261} shows the code: the instructions that samples hit and those around them, with the counts of \
         each."
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        if data.functions.is_empty() {
            return Ok(Figure::empty(
                "No function was sampled, or no symbols were found.",
            ));
        }
        let total = total(data.functions.iter().map(|row| &row.m));
        let samples = |row: &CodeRow| row.m.samples;
        let all: u64 = data.functions.iter().map(samples).sum();
        let unnamed = data.functions.iter().filter(|row| row.function.is_none());
        let unnamed: u64 = unnamed.map(samples).sum();
        let unnamed = (unnamed > 0).then(|| {
            format!(
                "{} of {} samples are in code without a symbol: their function is shown as ?.",
                count(unnamed),
                count(all)
            )
        });
        let heads = [
            FUNCTION,
            Head {
                name: "inlined into",
                meaning: "The function whose code the instruction is in",
            },
            Head {
                name: "image",
                meaning: "The file that holds the instruction",
            },
        ];
        let (shown, note) = cut(&data.functions, MOST, "functions");
        let rows = data
            .functions
            .iter()
            .take(shown)
            .enumerate()
            .map(|(i, row)| {
                let outer = match &row.outer {
                    outer if *outer == row.function => Cell::NotApplicable,
                    outer => Cell::code(outer),
                };
                let mut cells = vec![Cell::code(&row.function), outer, Cell::code(&row.image)];
                cells.extend(measures(&row.m, &total));
                Row {
                    cells,
                    keys: vec![("function", i.to_string())],
                    children: Vec::new(),
                }
            });
        let mut figure = table(
            "functions-table",
            "functions",
            &total,
            data.functions.len(),
            &heads,
            rows.collect(),
            note,
        );
        figure.notes.extend(unnamed);
        Ok(figure)
    }
}

impl Chart for Lines {
    fn id(&self) -> &'static str {
        "lines"
    }

    fn title(&self) -> &'static str {
        "Hot lines"
    }

    fn question(&self) -> &'static str {
        "Which source lines are hot, in which operation and phase, and what do they touch?"
    }

    fn method(&self) -> &'static str {
        "One row for each source line, map operation, phase of it and part touched. Operation and phase come \
         from the instruction's place in Go's map functions; lines outside of them have none (n/a). \
         Line numbers are those of the innermost inlined frame."
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        if data.lines.is_empty() {
            return Ok(Figure::empty(
                "No source line was sampled, or no line table was found.",
            ));
        }
        let total = total(data.lines.iter().map(|row| &row.m));
        let heads = [
            Head {
                name: "line",
                meaning: "Source file and line of the innermost frame",
            },
            FUNCTION,
            Head {
                name: "operation",
                meaning: "Map operation that the code belongs to",
            },
            Head {
                name: "phase",
                meaning: "Step of the operation",
            },
            Head {
                name: "part",
                meaning: "structure.field that was touched",
            },
        ];
        let (shown, note) = cut(&data.lines, MOST, "lines");
        let rows = data.lines.iter().take(shown).enumerate().map(|(i, row)| {
            let place = match (&row.file, row.line) {
                (Some(file), Some(line)) => Cell::Code(format!("{file}:{line}")),
                (Some(file), None) => Cell::Code(file.clone()),
                (None, _) => Cell::Absent,
            };
            let or_na = |text: &Option<String>| match text {
                Some(text) => Cell::Text(text.replace('_', " ")),
                None => Cell::NotApplicable,
            };
            let mut cells = vec![
                place,
                Cell::code(&row.function),
                or_na(&row.operation),
                or_na(&row.phase),
                match (&row.part, &row.operation) {
                    (None, None) => Cell::NotApplicable,
                    (part, _) => Cell::code(part),
                },
            ];
            cells.extend(measures(&row.m, &total));
            let mut keys: Keys = vec![("line", i.to_string())];
            keys.extend(row.part.iter().map(|part| ("part", part.clone())));
            Row {
                cells,
                keys,
                children: Vec::new(),
            }
        });
        Ok(table(
            "lines-table",
            "lines",
            &total,
            data.lines.len(),
            &heads,
            rows.collect(),
            note,
        ))
    }
}

pub(super) fn total<'a>(rows: impl Iterator<Item = &'a Measures>) -> Measures {
    rows.fold(Measures::default(), |sum, m| sum.plus(m))
}

pub(super) fn measures(m: &Measures, total: &Measures) -> Vec<Cell> {
    let share = match (m.latency_sum, total.latency_sum) {
        (Some(n), Some(of)) => Cell::Latency { n, of },
        _ if m.loads == 0 => Cell::NotApplicable,
        _ => Cell::Absent,
    };
    vec![
        Cell::Count(m.samples),
        Cell::count(m.loads()),
        Cell::count(m.stores()),
        share,
        quantile(m.p50, m),
        quantile(m.p95, m),
        Cell::share_of_loads(m.l1_miss, m),
        Cell::share_of_loads(m.llc_miss, m),
    ]
}

pub(super) fn table(
    id: &'static str,
    what: &str,
    total: &Measures,
    n: usize,
    heads: &[Head],
    rows: Vec<Row>,
    note: Option<String>,
) -> Figure {
    let mut heads = heads.to_vec();
    heads.extend([SAMPLES, LOADS, STORES, SHARE, P50, P95, L1, LLC]);
    let caption = format!(
        "{} {what}{}",
        count(n as u64),
        latency_of(total.latency_sum)
    );
    Figure {
        notes: note.into_iter().collect(),
        tables: vec![Table {
            id,
            caption,
            heads,
            rows,
        }],
        ..Figure::default()
    }
}
