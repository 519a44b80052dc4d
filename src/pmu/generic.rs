//! Any other event: page faults, POWER, machines that the file does not name.
//!
//! `data_src` is taken at its word; `weight` is not, since nobody says that it is a latency.

use super::{FieldTable, Fields, Ip, Kind, Pmu, Validity::*, as_written, no_notes, term};

pub(super) const PMU: Pmu = Pmu {
    kind: Kind::Generic,
    name: "unknown PMU",
    owns: |_, _| true,
    fields: |event, _| {
        let fields = match event.memory {
            crate::recording::Memory::PageFault => Fields::all(NotApplicable),
            _ => Fields::all(Unknown),
        };
        FieldTable {
            loads: fields,
            stores: fields,
        }
    },
    ip: Ip::Precise,
    regs_sound: false,
    latency: |_, _, _| None,
    threshold: |event| term(event, "ldlat"),
    refine: as_written,
    notes: no_notes,
};
