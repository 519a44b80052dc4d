//! Intel PEBS: `mem-loads` (load latency) and `mem-stores`.
//!
//! `arch/x86/events/intel/ds.c`. Latency is use latency, queueing included. Plain `WEIGHT` is the
//! total; of `WEIGHT_STRUCT`, `var1_dw` is the total up to Ice Lake and the cache latency from
//! Sapphire Rapids on, where `var2_w` is the total from issue to retirement. Stores have a latency
//! only on cores of that age; on Haswell-class cores their level is "in L1 or not", their weight 0.

use super::{Fields, Ip, Kind, Pmu, Validity::*, vendor};
use perf_event_open_sys::bindings as sys;

pub(super) const PMU: Pmu = Pmu {
    kind: Kind::IntelPebs,
    name: "Intel PEBS",
    owns: |event, meta| {
        vendor(meta, "GenuineIntel")
            && event.kind != sys::PERF_TYPE_SOFTWARE
            && event.kind != sys::PERF_TYPE_TRACEPOINT
    },
    loads: Fields {
        level: Valid,
        latency: Valid,
        snoop: Valid,
        // Nehalem writes neither, Ice Lake and later all three: data_src then says N/A itself.
        tlb: Valid,
        locked: Valid,
        blocked: Valid,
    },
    stores: Fields {
        level: Valid,
        latency: Unknown,
        snoop: NotApplicable,
        tlb: Valid,
        locked: Valid,
        blocked: NotApplicable,
    },
    ip: Ip::Precise,
    // The PEBS record holds the registers after the sampled instruction.
    regs_sound: true,
    // Only cores with store latency write a nonzero weight for stores.
    latency: |weight, _, _| Some(weight.first()),
};
