//! Arm SPE: `arm_spe_0//`, after `perf inject --itrace` has made samples of its packets.
//!
//! `tools/perf/util/arm-spe.c`. `weight` is the total latency from the start of sampling. Data-source
//! codes differ by core; stores have none.

use super::{Fields, Ip, Kind, Pmu, Validity::*};

pub(super) const PMU: Pmu = Pmu {
    kind: Kind::ArmSpe,
    name: "Arm SPE",
    owns: |event, _| event.name.contains("arm_spe"),
    loads: Fields {
        level: Valid,
        latency: Valid,
        snoop: Valid,
        tlb: Valid,
        locked: Absent,
        blocked: Absent,
    },
    stores: Fields {
        level: Unknown,
        latency: Valid,
        snoop: Absent,
        tlb: Valid,
        locked: Absent,
        blocked: Absent,
    },
    ip: Ip::Exact,
    regs_sound: false,
    latency: |weight, _, _| Some(weight.first()),
};
