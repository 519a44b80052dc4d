//! HTML tables: real ones, sortable by the page's script, readable without it.

use super::html::{Html, Markup};
use super::number::{count, percent};

/// A cell. Absent, not applicable and zero look different.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Text(String),
    /// A name or an address, set in a fixed pitch.
    Code(String),
    Count(u64),
    /// A share with the counts that it is of.
    Share {
        n: u64,
        of: u64,
    },
    /// A share of the latency that the table's caption names.
    Latency {
        n: u64,
        of: u64,
    },
    /// A number with a decimal, already rounded to one.
    Mean(f64),
    /// Shown as `shown`, sorted by `sort`.
    Ranked {
        shown: String,
        sort: f64,
    },
    Drawing(Markup),
    /// The recording does not tell.
    Absent,
    /// There is no such thing in this row.
    NotApplicable,
}

impl Cell {
    pub fn count(n: Option<u64>) -> Cell {
        n.map_or(Cell::Absent, Cell::Count)
    }

    /// A share of the loads whose level is known: not applicable without loads.
    pub fn share_of_loads(n: Option<u64>, m: &super::data::Measures) -> Cell {
        match n {
            _ if m.loads == 0 => Cell::NotApplicable,
            Some(n) if m.with_level() > 0 => Cell::Share {
                n,
                of: m.with_level(),
            },
            _ => Cell::Absent,
        }
    }

    /// Text, or "not recorded".
    pub fn text(text: &Option<impl AsRef<str>>) -> Cell {
        text.as_ref()
            .map_or(Cell::Absent, |t| Cell::Text(t.as_ref().to_owned()))
    }

    pub fn code(text: &Option<impl AsRef<str>>) -> Cell {
        text.as_ref()
            .map_or(Cell::Absent, |t| Cell::Code(t.as_ref().to_owned()))
    }

    fn is_number(&self) -> bool {
        matches!(
            self,
            Cell::Count(_)
                | Cell::Share { .. }
                | Cell::Latency { .. }
                | Cell::Mean(_)
                | Cell::Ranked { .. }
        )
    }

    /// What the script sorts by; empty sorts last.
    fn sort(&self) -> Option<String> {
        match self {
            Cell::Count(n) => Some(n.to_string()),
            Cell::Latency { n, .. } => Some(n.to_string()),
            Cell::Share { n, of } => Some(format!("{:.6}", *n as f64 / (*of).max(1) as f64)),
            Cell::Mean(mean) => Some(format!("{mean:.3}")),
            Cell::Ranked { sort, .. } => Some(format!("{sort:.6}")),
            Cell::Absent | Cell::NotApplicable => Some(String::new()),
            Cell::Text(_) | Cell::Code(_) | Cell::Drawing(_) => None,
        }
    }

    fn write(&self, html: &mut Html) {
        match self {
            Cell::Text(text) => {
                html.text(text);
            }
            Cell::Code(text) => {
                html.leaf("code", &[], text);
            }
            Cell::Count(0) => {
                html.leaf("span", &[("class", "zero")], "0");
            }
            Cell::Count(n) => {
                html.text(&count(*n));
            }
            Cell::Share { n, of } => {
                let class = if *n == 0 { "zero" } else { "share" };
                html.leaf(
                    "span",
                    &[("class", class)],
                    &percent(*n, *of).unwrap_or_default(),
                );
                html.text(" ")
                    .leaf("small", &[], &format!("{} of {}", count(*n), count(*of)));
            }
            Cell::Latency { n, of } => {
                let class = if *n == 0 { "zero" } else { "share" };
                html.leaf(
                    "span",
                    &[("class", class)],
                    &percent(*n, *of).unwrap_or_default(),
                );
                html.text(" ").leaf("small", &[], &count(*n));
            }
            Cell::Mean(mean) => {
                html.text(&format!("{mean:.1}"));
            }
            Cell::Ranked { shown, .. } => {
                html.text(shown);
            }
            Cell::Drawing(markup) => {
                html.markup(markup);
            }
            Cell::Absent => {
                html.leaf(
                    "span",
                    &[("class", "absent"), ("title", "not recorded or not known")],
                    "?",
                );
            }
            Cell::NotApplicable => {
                html.leaf(
                    "span",
                    &[("class", "na"), ("title", "not applicable")],
                    "n/a",
                );
            }
        }
    }
}

#[derive(Debug, Clone)]
pub struct Head {
    pub name: &'static str,
    /// Meaning and unit, shown on hover and listed in the method section.
    pub meaning: &'static str,
}

/// What the page's filter can select of a row, by name and value: `("map", "3")`.
pub type Keys = Vec<(&'static str, String)>;

#[derive(Debug, Clone)]
pub struct Row {
    pub cells: Vec<Cell>,
    pub keys: Keys,
    /// Rows that belong to this one and fold under it.
    pub children: Vec<Row>,
}

impl Row {
    pub fn new(cells: Vec<Cell>) -> Row {
        Row {
            cells,
            keys: Vec::new(),
            children: Vec::new(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Table {
    pub id: &'static str,
    pub caption: String,
    pub heads: Vec<Head>,
    pub rows: Vec<Row>,
}

/// Element attributes of the filter keys.
fn key_attr(key: &str) -> &'static str {
    match key {
        "map" => "data-map",
        "part" => "data-part",
        "level" => "data-level",
        "op" => "data-op",
        "cpu" => "data-cpu",
        "function" => "data-function",
        "line" => "data-line",
        "step" => "data-step",
        "cell" => "data-cell",
        "cpus" => "data-cpus",
        "tids" => "data-tids",
        "time" => "data-time",
        "cause" => "data-cause",
        "reason" => "data-reason",
        "evidence" => "data-evidence",
        "operation" => "data-operation",
        _ => "data-tid",
    }
}

impl Table {
    pub fn write(&self, html: &mut Html) {
        html.open(
            "div",
            &[
                ("class", "scroll"),
                ("tabindex", "0"),
                ("role", "region"),
                ("aria-label", &self.caption),
            ],
        );
        html.open("table", &[("id", self.id)]);
        html.leaf("caption", &[], &self.caption);
        html.open("thead", &[]).open("tr", &[]);
        let rows = || {
            self.rows
                .iter()
                .flat_map(|r| std::iter::once(r).chain(&r.children))
        };
        let numbers: Vec<bool> = (0..self.heads.len())
            .map(|i| rows().filter_map(|r| r.cells.get(i)).any(Cell::is_number))
            .collect();
        for (head, number) in self.heads.iter().zip(&numbers) {
            let class = if *number { "number" } else { "words" };
            html.leaf(
                "th",
                &[("scope", "col"), ("class", class), ("title", head.meaning)],
                head.name,
            );
        }
        html.close("tr").close("thead");
        for row in &self.rows {
            html.open("tbody", &[]);
            write_row(html, row, "row", &numbers);
            for child in &row.children {
                write_row(html, child, "child", &numbers);
            }
            html.close("tbody");
        }
        html.close("table").close("div");
    }
}

fn write_row(html: &mut Html, row: &Row, class: &str, numbers: &[bool]) {
    let mut attrs = vec![("class", class)];
    attrs.extend(
        row.keys
            .iter()
            .map(|(key, value)| (key_attr(key), value.as_str())),
    );
    html.open("tr", &attrs);
    for (i, cell) in row.cells.iter().enumerate() {
        let sort = cell.sort();
        let mut attrs = Vec::new();
        if numbers.get(i) == Some(&true) {
            attrs.push(("class", "number"));
        }
        if let Some(sort) = &sort {
            attrs.push(("data-sort", sort.as_str()));
        }
        // A row that goes on with the one above has no name of its own.
        if i == 0 && *cell != Cell::Text(String::new()) {
            attrs.push(("scope", "row"));
            html.open("th", &attrs);
            cell.write(html);
            html.close("th");
        } else {
            html.open("td", &attrs);
            cell.write(html);
            html.close("td");
        }
    }
    html.close("tr");
}

/// `rows` cut to `most`, and the sentence that says so.
pub fn cut<T>(rows: &[T], most: usize, what: &str) -> (usize, Option<String>) {
    let shown = rows.len().min(most);
    let note = (rows.len() > most).then(|| {
        format!(
            "Shown: the first {} of {} {what}, costliest first.",
            count(shown as u64),
            count(rows.len() as u64)
        )
    });
    (shown, note)
}

/// A count over the raw accesses in the page: `≈` where they stand for more than themselves.
pub fn counted(n: u64, whole: bool) -> Cell {
    match (n, whole) {
        (0, _) | (_, true) => Cell::Count(n),
        _ => Cell::Ranked {
            shown: format!("\u{2248}{}", count(n)),
            sort: n as f64,
        },
    }
}

/// A quantile of the latencies: not applicable without loads.
pub fn quantile(cycles: Option<u64>, m: &super::data::Measures) -> Cell {
    if m.loads == 0 {
        cycles.map_or(Cell::NotApplicable, Cell::Count)
    } else {
        Cell::count(cycles)
    }
}

/// What [`Cell::Latency`] is a share of, for a caption.
pub fn latency_of(total: Option<u64>) -> String {
    total.map_or(String::new(), |of| {
        format!("; latency shares of {} cycles", count(of))
    })
}
