//! What each event tells of an access: read beside any number that is missing.

use super::html::Html;
use super::table::{Cell, Head, Row, Table};
use crate::pmu::{Fields, Validity};
use crate::recording::{Event, Memory};

/// One row an event and kind of access that it has.
pub fn write(html: &mut Html, events: &[Event]) {
    let of_event = |event: &Event| {
        let accesses = [
            ("loads", event.fields.loads),
            ("stores", event.fields.stores),
        ];
        let has = |fields: &Fields| *fields != Fields::all(Validity::NotApplicable);
        accesses
            .into_iter()
            .filter(|(_, fields)| has(fields))
            .map(|(what, fields)| row(event, what, &fields))
            .collect::<Vec<_>>()
    };
    let sampled = events
        .iter()
        .filter(|event| event.memory == Memory::Sampled);
    let rows: Vec<Row> = sampled.flat_map(of_event).collect();
    if rows.is_empty() {
        return;
    }
    Table {
        id: "fields-table",
        caption: "What the events tell of an access".to_owned(),
        heads: HEADS.to_vec(),
        rows,
    }
    .write(html);
}

const MEANING: &str = "Whether the PMU tells it: valid; absent, it does not record it; n/a; unknown, what is there may not be meant";

const HEADS: [Head; 9] = [
    Head {
        name: "event",
        meaning: "Name of the event",
    },
    Head {
        name: "accesses",
        meaning: "Loads or stores",
    },
    Head {
        name: "PMU",
        meaning: "Whose rules hold",
    },
    Head {
        name: "level",
        meaning: MEANING,
    },
    Head {
        name: "latency",
        meaning: MEANING,
    },
    Head {
        name: "snoop",
        meaning: MEANING,
    },
    Head {
        name: "TLB",
        meaning: MEANING,
    },
    Head {
        name: "lock",
        meaning: MEANING,
    },
    Head {
        name: "blocked",
        meaning: MEANING,
    },
];

fn row(event: &Event, what: &str, fields: &Fields) -> Row {
    let start = [
        Cell::Code(event.name.clone()),
        Cell::Text(what.to_owned()),
        Cell::Text(event.pmu.pmu().name.to_owned()),
    ];
    let told = fields.named().map(|(_, validity)| match validity {
        Validity::NotApplicable => Cell::NotApplicable,
        told => Cell::Text(told.name().to_owned()),
    });
    Row::new(start.into_iter().chain(told).collect())
}
