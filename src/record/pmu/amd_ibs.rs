//! AMD: `ibs_op`, which tags any micro-op; most samples are no memory accesses.
//!
//! Registers are those of the interrupt, a little later, and are not asked for. Before Linux 6.2 IBS
//! could not follow a process (`perf_invalid_context`). `arch/x86/events/amd/ibs.c`.

use super::{MemoryPmu, Wish, event_of};
use crate::record::event::{Event, Fields};
use crate::record::machine::Machine;
use crate::record::sysfs::Pmu;

pub(super) const IBS: MemoryPmu = MemoryPmu {
    name: "AMD IBS",
    shows: "micro-ops, those that load or store with address, loads with level and latency; no registers",
    events,
    for_perf,
    carries: Fields {
        call_chains: true,
        registers: false,
        physical: true,
    },
};

fn terms(pmu: &Pmu, wish: &Wish) -> String {
    // Zen 5: 128 to 2048 cycles, and off below.
    match pmu.format("ldlat") {
        Some(_) if wish.ldlat >= 128 => format!("ldlat={}", wish.ldlat),
        _ => String::new(),
    }
}

fn events(machine: &Machine, wish: &Wish) -> Result<Vec<Event>, String> {
    let Some(pmu) = machine.pmu("ibs_op") else {
        return Ok(Vec::new());
    };
    let wish = Wish {
        fields: Fields {
            registers: false,
            ..wish.fields
        },
        ..*wish
    };
    Ok(vec![event_of(pmu, &terms(pmu, &wish), &wish)?])
}

fn for_perf(machine: &Machine, wish: &Wish) -> Vec<String> {
    let pmu = machine.pmu("ibs_op");
    pmu.map(|pmu| format!("ibs_op/{}/", terms(pmu, wish)))
        .into_iter()
        .collect()
}
