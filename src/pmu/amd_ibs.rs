//! AMD IBS: `ibs_op//`.
//!
//! `arch/x86/events/amd/ibs.c`. Tags any micro-op: one that is no load or store has neither op nor
//! level. The level and the latency are of loads only, the latency (`IbsDcMissLat`, in `WEIGHT` or
//! `var1_dw`; `var2_w` counts from tag to retirement) of loads that missed L1 only.

use super::{Fields, Ip, Kind, Pmu, Validity::*, vendor};
use crate::data_src::{Level, Op};

pub(super) const PMU: Pmu = Pmu {
    kind: Kind::AmdIbs,
    name: "AMD IBS",
    owns: |event, meta| {
        event.name.contains("ibs_op")
            || (vendor(meta, "AuthenticAMD")
                && event.kind > 5
                && event.memory == crate::recording::Memory::Sampled)
    },
    loads: Fields {
        level: Valid,
        latency: Valid,
        snoop: Valid,
        tlb: Valid,
        locked: Valid,
        blocked: Absent,
    },
    stores: Fields {
        level: Absent,
        latency: Absent,
        snoop: Absent,
        tlb: Valid,
        locked: Valid,
        blocked: Absent,
    },
    ip: Ip::Exact,
    // The registers and the call chain are the interrupt's, some instructions later.
    regs_sound: false,
    latency: |weight, op, level| match (op, level) {
        (Op::Load | Op::LoadStore, Some(Level::L0 | Level::L1)) => None,
        (Op::Load | Op::LoadStore, _) => Some(weight.first()),
        _ => None,
    },
};
