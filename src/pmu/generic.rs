//! Any other event: page faults, POWER, machines that the file does not name.
//!
//! `data_src` is taken at its word; `weight` is not, since nobody says that it is a latency.

use super::{Fields, Ip, Kind, Pmu, Validity::*};

const FIELDS: Fields = Fields {
    level: Unknown,
    latency: Unknown,
    snoop: Unknown,
    tlb: Unknown,
    locked: Unknown,
    blocked: Unknown,
};

pub(super) const PMU: Pmu = Pmu {
    kind: Kind::Generic,
    name: "unknown PMU",
    owns: |_, _| true,
    loads: FIELDS,
    stores: FIELDS,
    ip: Ip::Precise,
    regs_sound: false,
    latency: |_, _, _| None,
};
