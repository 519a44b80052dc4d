//! What a recording can answer, judged by its samples and not by its flags alone.

use crate::pmu::Ip;
use crate::recording::{Event, Memory, Recording};
use perf_event_open_sys::bindings as sys;
use serde::Serialize;

/// One question to a recording.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// Stable name, for programs.
    pub id: &'static str,
    pub question: &'static str,
    pub answered: bool,
    /// On what grounds, or what is missing.
    pub because: String,
}

/// How many accesses say what.
#[derive(Debug, Clone, Default)]
pub struct Usable {
    pub accesses: u64,
    pub addresses: u64,
    pub levels: u64,
    pub latencies: u64,
    pub snoops: u64,
    pub tlbs: u64,
    pub loads: u64,
    pub stores: u64,
}

impl Usable {
    pub fn of(recording: &Recording) -> Usable {
        let mut usable = Usable::default();
        for i in 0..recording.samples.len() {
            if !recording.is_access(i) {
                continue;
            }
            let access = recording.access(i);
            let addr = recording.samples.addr.get(i).unwrap_or(0);
            usable.accesses += 1;
            usable.addresses += u64::from(addr != 0);
            usable.levels += u64::from(access.level.is_some());
            usable.latencies += u64::from(access.latency_cycles.is_some());
            usable.snoops += u64::from(access.snoop.is_some());
            usable.tlbs += u64::from(access.tlb.is_some());
            usable.loads += u64::from(access.op.is_some_and(|op| op.is_load()));
            usable.stores += u64::from(access.op.is_some_and(|op| op.is_store()));
        }
        usable
    }
}

/// The questions in the order in which a reader would ask them.
pub fn answers(recording: &Recording, usable: &Usable) -> Vec<Answer> {
    let share = |number: u64, what: &str| match usable.accesses {
        0 => (false, "there are no memory accesses".to_owned()),
        all => (number != 0, format!("{number} of {all} accesses {what}")),
    };
    let refusal = recording.refusal();
    let place = match &refusal {
        None => share(usable.addresses, "have a data address"),
        Some(refusal) => (
            false,
            format!("{}; record with: {}", refusal.reason, refusal.command),
        ),
    };
    let mut answers = vec![
        answer("place", "which map, bucket and byte were accessed", place),
        answer(
            "level",
            "which cache level answered",
            share(usable.levels, "have a level"),
        ),
        answer(
            "latency",
            "how long accesses took",
            share(usable.latencies, "have a latency"),
        ),
        answer(
            "contention",
            "which lines other cores hold",
            share(usable.snoops, "have a snoop"),
        ),
        answer(
            "tlb",
            "which accesses missed the TLB",
            share(usable.tlbs, "have a TLB result"),
        ),
        answer("loads", "what was read", share(usable.loads, "are loads")),
        answer(
            "stores",
            "what was written",
            share(usable.stores, "are stores"),
        ),
        answer("code", "which instruction accessed", code(recording)),
        answer(
            "registers",
            "what the registers held",
            sampled(recording, sys::PERF_SAMPLE_REGS_INTR, "REGS_INTR (-I)"),
        ),
        answer(
            "callers",
            "who called",
            sampled(recording, sys::PERF_SAMPLE_CALLCHAIN, "CALLCHAIN (-g)"),
        ),
        answer("order", "in which order", order(recording)),
    ];
    if let Some(ldlat) = recording.events.iter().filter_map(|e| e.ldlat).max() {
        answers.push(answer(
            "fast_loads",
            "loads of any latency",
            (
                false,
                format!("loads faster than {ldlat} cycles (ldlat) were not recorded"),
            ),
        ));
    }
    answers
}

fn answer(id: &'static str, question: &'static str, (answered, because): (bool, String)) -> Answer {
    Answer {
        id,
        question,
        answered,
        because,
    }
}

/// The events with samples: of memory accesses when there are any, else all.
fn events(recording: &Recording) -> Vec<&Event> {
    let memory = |event: &&Event| {
        matches!(
            event.memory,
            Memory::Sampled | Memory::Breakpoint | Memory::PageFault
        )
    };
    let with_samples = || recording.events.iter().filter(|event| event.samples != 0);
    match with_samples().any(|event| memory(&event)) {
        true => with_samples().filter(memory).collect(),
        false => with_samples().collect(),
    }
}

fn sampled(
    recording: &Recording,
    bit: sys::perf_event_sample_format,
    name: &str,
) -> (bool, String) {
    let events = events(recording);
    let has = |event: &&&Event| event.sample_type & u64::from(bit) != 0;
    match (events.iter().filter(has).count(), events.len()) {
        (_, 0) => (false, "there are no samples".to_owned()),
        (0, _) => (false, format!("no event samples {name}")),
        (some, all) if some < all => (true, format!("{some} of {all} events sample {name}")),
        _ => (true, format!("the samples have {name}")),
    }
}

fn code(recording: &Recording) -> (bool, String) {
    if recording.refusal().is_some() {
        return (false, "there are no memory accesses".to_owned());
    }
    let (has_ip, because) = sampled(recording, sys::PERF_SAMPLE_IP, "IP");
    if !has_ip {
        return (false, because);
    }
    let events = events(recording);
    let skids = events
        .iter()
        .find(|event| !event.pmu.pmu().ip_is_exact(event));
    match skids {
        Some(event) => (
            false,
            format!(
                "the ip of `{}` is that of some later instruction (precise_ip {})",
                event.name, event.precise_ip
            ),
        ),
        None if events.iter().any(|event| event.pmu.pmu().ip == Ip::Next) => (
            true,
            "the ip is that of the next instruction, which leads to it".to_owned(),
        ),
        None => (true, "the ip is exact".to_owned()),
    }
}

fn order(recording: &Recording) -> (bool, String) {
    let (has_time, because) = sampled(recording, sys::PERF_SAMPLE_TIME, "TIME (-T)");
    if !has_time {
        return (false, because);
    }
    let every = events(recording)
        .iter()
        .any(|event| event.memory == Memory::Breakpoint && event.sample_period == 1 && !event.freq);
    let cpus = sampling(recording, sys::PERF_SAMPLE_CPU).contains(&true);
    let of = if every {
        "every access to the watched bytes"
    } else {
        "the sampled accesses, one in many"
    };
    let cpu = if cpus { ", with their CPU" } else { "" };
    (true, format!("the times are those of {of}{cpu}"))
}

/// For each event whether it samples this field.
pub(super) fn sampling(recording: &Recording, bit: sys::perf_event_sample_format) -> Vec<bool> {
    let has = |event: &Event| event.sample_type & u64::from(bit) != 0;
    recording.events.iter().map(has).collect()
}
