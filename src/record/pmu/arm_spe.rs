//! Arm: the Statistical Profiling Extension, which writes packets of its own into an AUX buffer.
//!
//! `drivers/perf/arm_spe_pmu.c`, `tools/perf/arch/arm64/util/arm-spe.c`.

use super::{MemoryPmu, Wish, event_of};
use crate::record::event::{Event, Fields, Rate};
use crate::record::machine::Machine;
use crate::record::sysfs::{Pmu, number};
use perf_event_open_sys::bindings as sys;

pub(super) const SPE: MemoryPmu = MemoryPmu {
    name: "Arm SPE",
    shows: "loads and stores with address and latency, loads with their source; no registers, no call chains",
    events,
    for_perf,
    carries: Fields {
        call_chains: false,
        registers: false,
        physical: false,
    },
};

const TERMS: &str = "ts_enable=1,load_filter=1,store_filter=1";
/// What perf takes where the PMU has no smaller one.
const INTERVAL: u64 = 4096;

fn pmu(machine: &Machine) -> Option<&Pmu> {
    machine
        .pmus
        .iter()
        .find(|pmu| pmu.name.starts_with("arm_spe_"))
}

fn events(machine: &Machine, wish: &Wish) -> Result<Vec<Event>, String> {
    let Some(pmu) = pmu(machine) else {
        return Ok(Vec::new());
    };
    let least = pmu.cap("min_interval").and_then(number).unwrap_or(1);
    let interval = match wish.rate {
        Some(Rate::Period(period)) => period,
        // Its interval counts operations; there is no frequency.
        _ => INTERVAL,
    };
    let mut spe = event_of(pmu, TERMS, wish)?;
    spe.aux = true;
    spe.attr.set_freq(0);
    spe.attr.__bindgen_anon_1.sample_period = interval.max(least);
    // Its samples are in the AUX data; records of its own need only time and place.
    let own = sys::PERF_SAMPLE_IDENTIFIER
        | sys::PERF_SAMPLE_IP
        | sys::PERF_SAMPLE_TID
        | sys::PERF_SAMPLE_TIME
        | sys::PERF_SAMPLE_CPU;
    spe.attr.sample_type = u64::from(own);
    spe.attr.sample_regs_intr = 0;
    // Who runs and what is mapped comes from an event that samples nothing.
    let config = [u64::from(sys::PERF_COUNT_SW_DUMMY), 0, 0];
    let none = Fields {
        call_chains: false,
        registers: false,
        physical: false,
    };
    let mut dummy = Event::new(
        "dummy:u",
        sys::PERF_TYPE_SOFTWARE,
        config,
        Rate::Period(1),
        none,
    );
    dummy.attr.sample_type = u64::from(own);
    dummy.attr.set_exclude_kernel(1);
    Ok(vec![spe, dummy])
}

fn for_perf(machine: &Machine, _: &Wish) -> Vec<String> {
    let pmu = pmu(machine);
    pmu.map(|pmu| format!("{}/{TERMS}/", pmu.name))
        .into_iter()
        .collect()
}
