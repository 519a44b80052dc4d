//! Intel: `mem-loads` with PEBS load latency, and `mem-stores`.
//!
//! Sapphire Rapids and hybrid P-cores count loads only beside `mem-loads-aux`, which leads their
//! group. `arch/x86/events/intel/core.c`, `tools/perf/arch/x86/util/mem-events.c`.

use super::{MemoryPmu, Wish, event_of};
use crate::record::event::{Event, Fields};
use crate::record::machine::Machine;
use crate::record::sysfs::Pmu;

pub(super) const PEBS: MemoryPmu = MemoryPmu {
    name: "Intel PEBS",
    shows: "loads with address, level and latency; stores with address; exact registers",
    events,
    for_perf,
    carries: Fields {
        call_chains: true,
        registers: true,
        physical: true,
    },
};

/// One PMU, or two on hybrid machines.
fn pmus(machine: &Machine) -> impl Iterator<Item = &Pmu> {
    let has_loads = |pmu: &&Pmu| pmu.event("mem-loads").is_some();
    let names = ["cpu", "cpu_core", "cpu_atom"];
    let found = names.into_iter().filter_map(|name| machine.pmu(name));
    found.filter(has_loads)
}

fn loads(pmu: &Pmu, wish: &Wish) -> String {
    match pmu.format("ldlat") {
        Some(_) => format!("mem-loads,ldlat={}", wish.ldlat),
        None => "mem-loads".to_owned(),
    }
}

fn events(machine: &Machine, wish: &Wish) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    for pmu in pmus(machine) {
        let grouped = pmu.event("mem-loads-aux").is_some();
        if grouped {
            events.push(event_of(pmu, "mem-loads-aux", wish)?);
        }
        let mut load = event_of(pmu, &loads(pmu, wish), wish)?;
        load.in_group = grouped;
        events.push(load);
        if pmu.event("mem-stores").is_some() {
            events.push(event_of(pmu, "mem-stores", wish)?);
        }
    }
    for event in &mut events {
        event.attr.set_precise_ip(3);
        if !event.name.contains("mem-loads-aux") {
            event.name.push('P');
        }
    }
    Ok(events)
}

fn for_perf(machine: &Machine, wish: &Wish) -> Vec<String> {
    let mut events = Vec::new();
    for pmu in pmus(machine) {
        let (name, loads) = (&pmu.name, loads(pmu, wish));
        events.push(match pmu.event("mem-loads-aux") {
            Some(_) => format!("{{{name}/mem-loads-aux/,{name}/{loads}/}}:P"),
            None => format!("{name}/{loads}/P"),
        });
        if pmu.event("mem-stores").is_some() {
            events.push(format!("{name}/mem-stores/P"));
        }
    }
    events
}
