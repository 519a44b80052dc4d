//! Two threads in one map at the same time.

use super::{Chart, Figure, Unfiltered};
use crate::report::ReportError;
use crate::report::data::Data;
use crate::report::number::{count, duration};
use crate::report::table::{Cell, Head, Row, Table};
use crate::tables::together::Touched;

pub struct Concurrent;

impl Chart for Concurrent {
    fn id(&self) -> &'static str {
        "concurrent"
    }

    fn title(&self) -> &'static str {
        "Concurrent use"
    }

    fn question(&self) -> &'static str {
        "Which maps were written while another thread was in them, and could that crash the program?"
    }

    fn method(&self) -> &'static str {
        "An overlap is claimed only where an access of one thread lies between two accesses that another made in \
         one and the same operation: before the first or after the last of them the thread may hold the lock. \
         Where every access to the map's flags is recorded, an operation is what lies between setting and clearing \
         the flag; among samples it is two of one thread in one operation no further apart than a hand-over of a line takes. \
         Two reads never count, and neither does the collector. Likeliest to crash first: the other \
         thread touched the flag while it was set, then the flag was set, then not recorded. A list that is \
         empty proves nothing: samples miss most accesses."
    }

    fn speaks_of_loads(&self) -> bool {
        false
    }

    fn unfiltered(&self, _data: &Data) -> Vec<Unfiltered> {
        vec![Unfiltered {
            what: "",
            keys: "part level op cpu time index",
            why: "an overlap is of two operations, each of many accesses; their map and threads are kept"
                .to_owned(),
        }]
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        let found = &data.summary.together;
        if found.overlaps.is_empty() {
            let mut figure = Figure::empty(match found.every_access {
                true => {
                    "No operation of one thread was seen inside of another's on the same map; every access to the \
                     watched words is recorded."
                }
                false => {
                    "No operation of one thread was seen inside of another's on the same map; most accesses are not \
                     sampled, so there may be some (mempath watch on the map's flags shows every one)."
                }
            });
            figure.notes.extend(window(data));
            return Ok(figure);
        }
        let rows = found.overlaps.iter().map(|o| Row {
            cells: vec![
                data.map(Some(o.map))
                    .map_or(Cell::Absent, |m| Cell::Code(m.name.clone())),
                Cell::Text(format!("{} by thread {}", o.operations.0, o.tids.0)),
                Cell::Text(format!("{} by thread {}", o.operations.1, o.tids.1)),
                Cell::Count(o.accesses),
                Cell::Text(o.flag.clone()),
                Cell::Code(o.fatal.clone()),
                Cell::Code(touched(&o.first.0)),
                Cell::Code(touched(&o.first.1)),
            ],
            keys: vec![
                ("map", o.map.to_string()),
                ("tids", format!("{} {}", o.tids.0, o.tids.1)),
            ],
            children: Vec::new(),
        });
        let table = Table {
            id: "concurrent-table",
            caption: format!(
                "The first {} of {} kinds of overlaps, likeliest to crash first",
                count(found.overlaps.len() as u64),
                count(found.overlap_kinds)
            ),
            heads: HEADS.to_vec(),
            rows: rows.collect(),
        };
        Ok(Figure {
            notes: looked_at(data).into_iter().chain(window(data)).collect(),
            tables: vec![table],
            ..Figure::default()
        })
    }
}

/// What counts as one operation among samples; `None` where every access is recorded.
fn window(data: &Data) -> Option<String> {
    let found = &data.summary.together;
    (!found.every_access).then(|| {
        format!(
            "Two samples of one thread no more than {} apart count as one operation (--operation-window).",
            duration(found.window_ns)
        )
    })
}

const HEADS: [Head; 8] = [
    Head {
        name: "map",
        meaning: "Name of the map",
    },
    Head {
        name: "operation",
        meaning: "The operation that was not over",
    },
    Head {
        name: "inside of it",
        meaning: "The other thread's operation",
    },
    Head {
        name: "accesses",
        meaning: "Accesses of the other thread inside",
    },
    Head {
        name: "flag",
        meaning: "What is known of hashWriting (writing) at that time",
    },
    Head {
        name: "may throw",
        meaning: "What Go's runtime throws when it notices",
    },
    Head {
        name: "first at",
        meaning: "Where the operation was when that was seen first",
    },
    Head {
        name: "other at",
        meaning: "Where the other thread came in",
    },
];

/// `store of hmap.flags, runtime.mapassign map.go:614`.
pub fn touched(what: &Touched) -> String {
    let op = what.op.as_deref().unwrap_or("access");
    let part = what.part.as_deref().unwrap_or("an unknown part");
    let mut said = format!("{op} of {part}");
    if let Some(function) = &what.function {
        said += &format!(", {function}");
    }
    if let (Some(file), Some(line)) = (&what.file, what.line) {
        said += &format!(" {}:{line}", file.rsplit('/').next().unwrap_or(file));
    }
    said
}

/// What of the recording these analyses looked at, where that is not all of it.
pub fn looked_at(data: &Data) -> Option<String> {
    let found = &data.summary.together;
    (found.looked_at < found.accesses).then(|| {
        format!(
            "Looked at: the first {} of {} accesses, as far as they have an address.",
            count(found.looked_at),
            count(found.accesses)
        )
    })
}
