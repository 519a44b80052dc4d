//! Which events are memory events, and why a recording without one is refused.

use super::{Event, Memory, Recording};
use crate::data_src::DataSrc;
use perf_event_open_sys::bindings as sys;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Samples looked at, at a time.
const PART: usize = 1 << 16;

/// Why a recording holds no usable memory accesses, and how to record some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One sentence: which event lacks what.
    pub reason: String,
    /// The command line that records it.
    pub command: String,
}

const BREAKPOINT: &str = "perf record -e mem:ADDR/8:rw -c 1 -d -W -I -T --sample-cpu";

/// Sets what follows from attrs, names and samples together: counts, kinds, PMUs, ldlat, modelled.
pub fn classify(recording: &mut Recording) {
    let (counts, says) = counts(recording);
    for (i, event) in recording.events.iter_mut().enumerate() {
        event.samples = counts.get(i).copied().unwrap_or(0);
        event.memory = memory(event, says.get(i).copied().unwrap_or(false));
        event.set_pmu(&recording.meta);
    }
    crate::pmu::arm_spe::count_once(&mut recording.events, &recording.meta);
    let meta = &mut recording.meta;
    let cmdline = meta.cmdline.join(" ");
    meta.modelled = [
        meta.cpu_desc.as_ref(),
        meta.hostname.as_ref(),
        Some(&cmdline),
    ]
    .into_iter()
    .flatten()
    .find(|text| text.to_lowercase().contains("modelled"))
    .cloned();
}

/// For each event the number of its samples, and whether any of them has a `data_src` with an op or a
/// level.
fn counts(recording: &Recording) -> (Vec<u64>, Vec<bool>) {
    let (samples, events) = (&recording.samples, recording.events.len());
    let counts = samples.event.counts(events);
    let says_by_id: Vec<bool> = samples
        .data_src
        .values
        .iter()
        .map(|&value| DataSrc(value).says_something())
        .collect();
    let says: Vec<AtomicBool> = (0..events).map(|_| AtomicBool::new(false)).collect();
    let is_open = |(count, says): (&u64, &AtomicBool)| *count > 0 && !says.load(Relaxed);
    let parts = (0..samples.len().div_ceil(PART)).into_par_iter();
    parts.for_each(|part| {
        // A first sample or two of each event tell, as a rule.
        if !counts.iter().zip(&says).any(is_open) {
            return;
        }
        let rows = part * PART..samples.len().min((part + 1) * PART);
        let events = samples.event.range(rows.clone());
        for (event, id) in events.zip(samples.data_src.ids.range(rows)) {
            let tells = id.is_some_and(|id| says_by_id.get(id as usize) == Some(&true));
            let event = event.filter(|_| tells).map(usize::from);
            if let Some(says) = event.and_then(|event| says.get(event)) {
                says.store(true, Relaxed);
            }
        }
    });
    (
        counts,
        says.into_iter().map(AtomicBool::into_inner).collect(),
    )
}

fn samples(event: &Event, bit: sys::perf_event_sample_format) -> bool {
    event.sample_type & u64::from(bit) != 0
}

fn is_auxiliary(event: &Event) -> bool {
    // `EVENT_ATTR_STR(mem-loads-aux, ...)` in arch/x86/events/intel/core.c.
    event.name.contains("mem-loads-aux")
        || (event.kind == sys::PERF_TYPE_RAW && event.config & 0xffff == 0x8203)
}

fn memory(event: &Event, says_something: bool) -> Memory {
    if is_auxiliary(event) {
        return Memory::Auxiliary;
    }
    if !samples(event, sys::PERF_SAMPLE_ADDR) {
        return Memory::No;
    }
    let config = u32::try_from(event.config).unwrap_or(u32::MAX);
    match event.kind {
        sys::PERF_TYPE_BREAKPOINT => Memory::Breakpoint,
        sys::PERF_TYPE_SOFTWARE => match config {
            sys::PERF_COUNT_SW_PAGE_FAULTS
            | sys::PERF_COUNT_SW_PAGE_FAULTS_MIN
            | sys::PERF_COUNT_SW_PAGE_FAULTS_MAJ => Memory::PageFault,
            _ if event.samples == 0 => Memory::No,
            _ => Memory::Decoy,
        },
        _ if !samples(event, sys::PERF_SAMPLE_DATA_SRC) => Memory::No,
        _ if says_something => Memory::Sampled,
        // Without samples the attr has to tell: perf sets WEIGHT only when asked for it.
        _ if event.samples == 0 && event.sample_type & super::sample::WEIGHTS != 0 => {
            Memory::Sampled
        }
        _ => Memory::Decoy,
    }
}

/// Whether an event without the right flags was meant to be a memory event.
fn names_memory(name: &str) -> bool {
    let name = name.to_lowercase();
    [
        "mem-loads",
        "mem-stores",
        "mem_inst_retired",
        "mem_load",
        "mem_trans",
        "mem_uops",
    ]
    .iter()
    .any(|word| name.contains(word))
        || ["ibs_op", "arm_spe"].iter().any(|pmu| name.contains(pmu))
}

impl Recording {
    /// Why there is nothing to analyze in this recording; `None` when there is.
    pub fn refusal(&self) -> Option<Refusal> {
        let usable = |event: &&Event| {
            matches!(
                event.memory,
                Memory::Sampled | Memory::Breakpoint | Memory::PageFault
            )
        };
        if self
            .events
            .iter()
            .filter(usable)
            .any(|event| event.samples != 0)
        {
            return None;
        }
        let reason_and_command = |event: &Event| reason(event).zip(Some(command(event)));
        // The event that was meant to be one says most; else one with samples.
        let mut events: Vec<&Event> = self.events.iter().collect();
        events.sort_by_key(|event| {
            (
                !(usable(event) || names_memory(&event.name)),
                event.memory != Memory::Decoy,
                event.samples == 0,
            )
        });
        let told = events.iter().find_map(|event| reason_and_command(event));
        let (reason, command) = told.unwrap_or_else(|| {
            (
                "the file names no event and holds no samples".to_owned(),
                "perf mem record".to_owned(),
            )
        });
        Some(Refusal { reason, command })
    }
}

fn reason(event: &Event) -> Option<String> {
    let name = &event.name;
    if name.contains("arm_spe") && event.samples == 0 {
        return Some(format!(
            "`{name}` writes Arm SPE packets, but the file holds no AUX data with records of it"
        ));
    }
    Some(match event.memory {
        Memory::Sampled | Memory::Breakpoint | Memory::PageFault => {
            format!("`{name}` is a memory event, but the file holds no sample of it")
        }
        Memory::Auxiliary => {
            format!("`{name}` is only the helper of `mem-loads`: its samples are no accesses")
        }
        Memory::Decoy => format!(
            "`{name}` samples ADDR and DATA_SRC, but every data_src is N/A: `--call-graph dwarf` and `-d` set both on events that have no data address"
        ),
        Memory::No => {
            let missing: Vec<&str> = [
                (u64::from(sys::PERF_SAMPLE_ADDR), "ADDR (-d)"),
                (super::sample::WEIGHTS, "WEIGHT (-W)"),
                (u64::from(sys::PERF_SAMPLE_DATA_SRC), "DATA_SRC (-d)"),
            ]
            .iter()
            .filter(|(bits, _)| event.sample_type & bits == 0)
            .map(|&(_, name)| name)
            .collect();
            let missing = missing.join(", ");
            if missing.is_empty() {
                format!("`{name}` counts no memory accesses")
            } else {
                format!("`{name}` was recorded without {missing}: its samples have no data address")
            }
        }
    })
}

fn command(event: &Event) -> String {
    let name = &event.name;
    if name.contains("arm_spe") {
        "perf record -e arm_spe_0/ts_enable=1,load_filter=1,store_filter=1/".to_owned()
    } else if event.kind == sys::PERF_TYPE_BREAKPOINT {
        BREAKPOINT.to_owned()
    } else if event.memory == Memory::No && names_memory(name) {
        format!("perf record -d -W -e {name}")
    } else {
        format!("perf mem record, or without a PMU {BREAKPOINT}")
    }
}
