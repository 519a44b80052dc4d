//! Hardware breakpoints: `mem:ADDR/LEN:rw`.
//!
//! Every access to the watched bytes. x86 traps after it, so `ip` is the next instruction, and the
//! registers are the state just after the access. `addr` is the watched address. No level, no latency.

use super::{Fields, Ip, Kind, Pmu, Validity::*};
use perf_event_open_sys::bindings as sys;

const FIELDS: Fields = Fields {
    level: NotApplicable,
    latency: NotApplicable,
    snoop: NotApplicable,
    tlb: NotApplicable,
    locked: NotApplicable,
    blocked: NotApplicable,
};

pub(super) const PMU: Pmu = Pmu {
    kind: Kind::Breakpoint,
    name: "hardware breakpoint",
    owns: |event, _| event.kind == sys::PERF_TYPE_BREAKPOINT,
    loads: FIELDS,
    stores: FIELDS,
    ip: Ip::Next,
    regs_sound: true,
    latency: |_, _, _| None,
};
