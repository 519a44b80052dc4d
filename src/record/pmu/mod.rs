//! Which events record memory accesses on which PMU: one file a vendor, and the list [`PMUS`].

mod amd_ibs;
mod arm_spe;
mod intel;

use super::counter::fit;
use super::event::{Event, Fields, Rate};
use super::machine::Machine;
use super::{RecordError, sysfs::Pmu};

/// What the command line wants of a PMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    pub rate: Option<Rate>,
    /// Loads below this many cycles are not sampled (Intel; AMD from Zen 5 on).
    pub ldlat: u64,
    pub fields: Fields,
}

/// One kind of PMU that samples memory accesses.
pub struct MemoryPmu {
    /// As people call it.
    pub name: &'static str,
    /// What its recordings show, in one sentence.
    pub shows: &'static str,
    /// Its events on this machine, in the order in which they are opened; empty where it is not there.
    pub events: fn(&Machine, &Wish) -> Result<Vec<Event>, String>,
    /// The same for perf's `-e`.
    pub for_perf: fn(&Machine, &Wish) -> Vec<String>,
    /// What its samples can carry.
    pub carries: Fields,
}

/// Every PMU that is known to sample memory accesses. The first that is there is taken.
pub const PMUS: &[&MemoryPmu] = &[&intel::PEBS, &amd_ibs::IBS, &arm_spe::SPE];

/// The PMU of this machine with its events as the kernel takes them, and what had to be given up.
pub struct Choice {
    pub pmu: &'static MemoryPmu,
    pub events: Vec<Event>,
    pub given_up: Vec<&'static str>,
}

/// Finds this machine's PMU and opens its events once, to see that the kernel lets us.
///
/// # Errors
///
/// When there is none, or the kernel refuses its events.
pub fn choose(machine: &Machine, wish: &Wish) -> Result<Choice, RecordError> {
    for pmu in PMUS.iter().copied() {
        let events = (pmu.events)(machine, wish).map_err(|reason| RecordError::Event {
            event: pmu.name.to_owned(),
            reason,
        })?;
        if !events.is_empty() {
            let (events, given_up) = fitted(events)?;
            return Ok(Choice {
                pmu,
                events,
                given_up,
            });
        }
    }
    Err(RecordError::NoEngine {
        reason: missing(machine),
        way_out: "mempath watch records every access to words of a map without one, mempath step \
                  models the caches"
            .to_owned(),
    })
}

/// Opens each event once; what the kernel does not have or allow is given up, and named.
///
/// # Errors
///
/// When an event does not open in any way.
pub fn fitted(mut events: Vec<Event>) -> Result<(Vec<Event>, Vec<&'static str>), RecordError> {
    let mut given_up = Vec::new();
    let mut leader: Option<Event> = None;
    for event in &mut events {
        let group = leader.as_ref().filter(|_| event.in_group);
        given_up.extend(fit(event, group)?);
        leader = Some(event.clone());
    }
    given_up.sort_unstable();
    given_up.dedup();
    Ok((events, given_up))
}

/// Why there is no PMU that samples memory: one clause.
pub fn missing(machine: &Machine) -> String {
    let core = ["cpu", "cpu_core", "armv8_pmuv3"];
    let has = |name: &str| machine.pmus.iter().any(|pmu| pmu.name.starts_with(name));
    match (
        core.iter().any(|name| has(name)),
        machine.hypervisor.is_some(),
    ) {
        (false, true) => "this is a virtual machine whose hypervisor gives it no PMU".to_owned(),
        (false, false) => "the kernel offers no PMU of the processor".to_owned(),
        (true, true) => {
            "this is a virtual machine whose PMU counts but does not sample memory accesses"
                .to_owned()
        }
        (true, false) => "the processor's PMU does not sample memory accesses".to_owned(),
    }
}

/// An event of a PMU by its terms, named as perf names it.
fn event_of(pmu: &Pmu, terms: &str, wish: &Wish) -> Result<Event, String> {
    let rate = wish.rate.unwrap_or(Rate::Frequency(4000));
    let config = pmu.config(terms)?;
    let name = format!("{}/{terms}/", pmu.name);
    let mut event = Event::new(&name, pmu.kind, config, rate, wish.fields);
    event.cpus.clone_from(&pmu.cpus);
    Ok(event)
}

#[cfg(test)]
mod tests;
