//! Hardware breakpoints: `mem:ADDR/LEN:rw`.
//!
//! Every access to the watched bytes. x86 traps after it, so `ip` is the next instruction, and the
//! registers are the state just after the access. `addr` is the watched address. No level, no latency.

use super::{FieldTable, Fields, Ip, Kind, Pmu, Validity::*, as_written, no_notes, no_threshold};
use perf_event_open_sys::bindings as sys;

pub(super) const PMU: Pmu = Pmu {
    kind: Kind::Breakpoint,
    name: "hardware breakpoint",
    owns: |event, _| event.kind == sys::PERF_TYPE_BREAKPOINT,
    fields: |_, _| FieldTable {
        loads: Fields::all(NotApplicable),
        stores: Fields::all(NotApplicable),
    },
    ip: Ip::Next,
    regs_sound: true,
    latency: |_, _, _| None,
    threshold: no_threshold,
    refine: as_written,
    notes: no_notes,
};
