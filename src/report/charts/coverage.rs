//! What could not be placed, and on what evidence the rest stands.

use super::{ALL_KEYS, Chart, Figure, Unfiltered};
use crate::attribute::Declared;
use crate::report::ReportError;
use crate::report::data::Data;
use crate::report::number::count;
use crate::report::table::{Cell, Head, Row, Table};
use crate::tables::{Binary, Summary, evidence_name};

pub struct Coverage;

const SAMPLES: Head = Head {
    name: "samples",
    meaning: "Samples in the row",
};
const SHARE: Head = Head {
    name: "share",
    meaning: "Share of the table",
};

impl Chart for Coverage {
    fn id(&self) -> &'static str {
        "coverage"
    }

    fn title(&self) -> &'static str {
        "Coverage"
    }

    fn question(&self) -> &'static str {
        "How many samples could not be placed, why, and on what evidence do the placed ones stand?"
    }

    fn method(&self) -> &'static str {
        "No sample is dropped: each has either a part, with the strongest evidence that held, or exactly one \
         reason. A contradiction is a sample for which two kinds of evidence named different parts or maps; the \
         stronger one was kept. Many contradictions mean that a number in this report is wrong."
    }

    fn speaks_of_loads(&self) -> bool {
        false
    }

    fn unfiltered(&self, data: &Data) -> Vec<Unfiltered> {
        let summary = data.summary;
        let both = [
            !summary.contradictions.is_empty(),
            !summary.damage.is_empty(),
        ];
        let what = match both {
            [false, false] => return Vec::new(),
            [true, false] => "Contradictions",
            [false, true] => "Damage",
            [true, true] => "Contradictions and damage",
        };
        vec![Unfiltered {
            what,
            keys: ALL_KEYS,
            why: "they are counts of the whole recording".to_owned(),
        }]
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        let summary = data.summary;
        let mut notes = Vec::new();
        let mut tables = Vec::new();

        let mut reasons: Vec<_> = summary.reasons.iter().filter(|r| r.2 > 0).collect();
        reasons.sort_by_key(|r| std::cmp::Reverse(r.2));
        let total = reasons
            .iter()
            .fold(0, |sum: u64, r| sum.saturating_add(r.2));
        if reasons.is_empty() {
            notes.push("Every sample has a part.".to_owned());
        } else {
            tables.push(Table {
                id: "reasons-table",
                caption: format!("{} samples without a part, by reason", count(total)),
                heads: vec![
                    Head {
                        name: "reason",
                        meaning: "Why the sample has no part",
                    },
                    Head {
                        name: "meaning",
                        meaning: "The reason in one sentence",
                    },
                    SAMPLES,
                    SHARE,
                ],
                rows: reasons
                    .iter()
                    .map(|(reason, meaning, n)| Row {
                        cells: vec![
                            Cell::Text(reason.clone()),
                            Cell::Text(meaning.trim().to_owned()),
                            Cell::Count(*n),
                            Cell::Share { n: *n, of: total },
                        ],
                        keys: vec![("reason", reason.clone())],
                        children: Vec::new(),
                    })
                    .collect(),
            });
        }

        let total = summary
            .evidence
            .iter()
            .fold(0, |sum: u64, e| sum.saturating_add(e.1));
        if total == 0 {
            notes.push("No sample has a part.".to_owned());
        } else {
            tables.push(Table {
                id: "evidence-table",
                caption: format!(
                    "{} samples with a part, by the strongest evidence that held",
                    count(total)
                ),
                heads: vec![
                    Head {
                        name: "evidence",
                        meaning: "Kind of evidence",
                    },
                    SAMPLES,
                    SHARE,
                ],
                rows: summary
                    .evidence
                    .iter()
                    .map(|(name, n)| Row {
                        cells: vec![
                            Cell::Text(name.replace('_', " ")),
                            Cell::Count(*n),
                            Cell::Share { n: *n, of: total },
                        ],
                        keys: vec![("evidence", name.clone())],
                        children: Vec::new(),
                    })
                    .collect(),
            });
        }

        if summary.contradictions.is_empty() {
            notes.push("No two kinds of evidence disagreed about a sample.".to_owned());
        } else {
            tables.push(Table {
                id: "contradictions-table",
                caption: "Evidence that disagreed".to_owned(),
                heads: vec![
                    Head {
                        name: "about",
                        meaning: "What the two disagreed about",
                    },
                    Head {
                        name: "kept",
                        meaning: "The stronger evidence",
                    },
                    Head {
                        name: "dropped",
                        meaning: "The weaker evidence",
                    },
                    SAMPLES,
                ],
                rows: summary
                    .contradictions
                    .iter()
                    .map(|c| {
                        Row::new(vec![
                            Cell::Text(c.about.clone()),
                            Cell::Text(evidence(c.stronger)),
                            Cell::Text(evidence(c.weaker)),
                            Cell::Count(c.samples),
                        ])
                    })
                    .collect(),
            });
        }
        declared(summary, &mut notes, &mut tables);
        if !summary.damage.is_empty() {
            tables.push(Table {
                id: "damage-table",
                caption: "Damage in the recording".to_owned(),
                heads: vec![
                    Head {
                        name: "byte offset",
                        meaning: "Where in the file",
                    },
                    Head {
                        name: "rule",
                        meaning: "Which rule was broken and what was done",
                    },
                ],
                rows: summary
                    .damage
                    .iter()
                    .take(100)
                    .map(|d| Row::new(vec![Cell::Count(d.offset), Cell::Text(d.rule.clone())]))
                    .collect(),
            });
            if summary.damage.len() > 100 {
                let n = count(summary.damage.len() as u64);
                notes.push(format!("Shown: the first 100 of {n} damaged places."));
            }
        }
        Ok(Figure {
            notes,
            tables,
            ..Figure::default()
        })
    }
}

fn evidence(evidence: crate::attribute::Evidence) -> String {
    evidence_name(evidence).replace('_', " ")
}

/// What the DWARF of each binary says beside the layout and the data flow.
fn declared(summary: &Summary, notes: &mut Vec<String>, tables: &mut Vec<Table>) {
    let compared = summary
        .binaries
        .iter()
        .filter_map(|b| Some((b, b.declared.as_ref()?)));
    let compared: Vec<_> = compared.collect();
    if compared.is_empty() {
        return;
    }
    let head = |name, meaning| Head { name, meaning };
    let row = |(binary, d): &(&Binary, &Declared)| {
        Row::new(vec![
            Cell::Text(binary.path.clone()),
            Cell::Text(format!("DWARF {}", d.version)),
            Cell::Count(d.fields),
            Cell::Count(d.fields_elsewhere.len() as u64),
            Cell::Count(d.agreed),
            Cell::Count(d.disagreed.len() as u64),
            Cell::Count(d.only_dwarf),
        ])
    };
    tables.push(Table {
        id: "declared-table",
        caption:
            "DWARF beside layout and data flow, where its location lists name the base register"
                .to_owned(),
        heads: vec![
            head("binary", "As recorded"),
            head("version", "Of its DWARF"),
            head(
                "fields",
                "Fields of map structures that DWARF has at the layout's offset",
            ),
            head("elsewhere", "Fields that DWARF has at another offset"),
            head(
                "agreed",
                "Sampled instructions of which both name the same object and field",
            ),
            head(
                "disagreed",
                "Sampled instructions of which they name different ones",
            ),
            head(
                "DWARF alone",
                "Sampled instructions of which the data flow names no object",
            ),
        ],
        rows: compared.iter().map(row).collect(),
    });
    let disagreed = compared.iter().flat_map(|(_, d)| &d.disagreed);
    let disagreed: Vec<Row> = disagreed
        .map(|d| {
            Row::new(vec![
                Cell::Text(d.function.clone()),
                Cell::Text(d.instruction.clone()),
                Cell::Text(d.dwarf.clone()),
                Cell::Text(d.flow.clone()),
                Cell::Text(
                    d.explanation
                        .clone()
                        .unwrap_or_else(|| "not known".to_owned()),
                ),
                Cell::Count(d.samples),
            ])
        })
        .collect();
    let elsewhere = compared.iter().flat_map(|(_, d)| &d.fields_elsewhere);
    let elsewhere: Vec<&str> = elsewhere.map(String::as_str).collect();
    if !elsewhere.is_empty() {
        notes.push(format!(
            "DWARF has other offsets for {}.",
            elsewhere.join(", ")
        ));
    }
    if !disagreed.is_empty() {
        tables.push(Table {
            id: "disagreed-table",
            caption: "Instructions of which DWARF and data flow name different objects".to_owned(),
            heads: vec![
                head("function", "The map function"),
                head("instruction", "As Intel or Arm write it"),
                head(
                    "DWARF",
                    "The variable in the base register, and the field behind it",
                ),
                head("data flow", "The object that was used, and the field"),
                head("why", "What explains it"),
                SAMPLES,
            ],
            rows: disagreed,
        });
    }
}
