//! What bends the numbers, told beside them: one sentence each, the most severe first.

use super::summary::{Binary, Caveat, Overall, Severity};
use crate::attribute::Attribution;
use crate::recording::{Event, GapKind, Memory, Recording};

/// Fewer accesses than this say little.
const FEW: u64 = 100;

pub fn caveats(
    recording: &Recording,
    attribution: &Attribution,
    binaries: &[Binary],
    overall: &Overall,
) -> Vec<Caveat> {
    let mut all = Vec::new();
    all.extend(modelled(recording));
    all.extend(foreign_core(attribution));
    all.extend(binaries.iter().filter_map(binary));
    all.extend(lost(recording));
    all.extend(damage(recording));
    all.extend(recording.events.iter().filter_map(skid));
    all.extend(throttled(recording));
    all.extend(recording.events.iter().filter_map(ldlat));
    all.extend(pmu(recording));
    all.extend(frequency(recording));
    all.extend(breakpoints(recording));
    all.extend(registers(recording));
    all.extend(few(overall));
    all.sort_by_key(|caveat| caveat.severity);
    all
}

fn alarm(text: String) -> Caveat {
    Caveat {
        severity: Severity::Alarm,
        text,
    }
}

fn note(text: String) -> Caveat {
    Caveat {
        severity: Severity::Note,
        text,
    }
}

fn modelled(recording: &Recording) -> Option<Caveat> {
    let what = recording.meta.modelled.as_ref()?;
    let what = what.strip_prefix("modelled: ").unwrap_or(what);
    Some(alarm(format!(
        "levels and latencies are modelled, no hardware measured them: {what}"
    )))
}

fn foreign_core(attribution: &Attribution) -> Option<Caveat> {
    attribution.foreign_core.then(|| {
        alarm(
            "the core was not used: several processes have samples, and its threads are of none of \
             them; analyze a recording of its process alone (-p PID)"
                .to_owned(),
        )
    })
}

fn binary(binary: &Binary) -> Option<Caveat> {
    let Binary { path, samples, .. } = binary;
    let build_id = match &binary.build_id {
        Some(id) => format!("build id {id}"),
        None => "no build id recorded".to_owned(),
    };
    if binary.forced {
        return Some(alarm(format!(
            "--force: {path} ({build_id}) was read from a file whose build id differs or is missing; \
             functions, lines and parts of its {samples} samples may be wrong"
        )));
    }
    let Err(why) = &binary.found else {
        return found_binary(binary).map(note);
    };
    (*samples > 0).then(|| alarm(format!("{samples} samples are without their code: {why}")))
}

fn found_binary(binary: &Binary) -> Option<String> {
    let Binary { path, samples, .. } = binary;
    if *samples == 0 {
        None
    } else if binary.go.is_none() {
        Some(format!(
            "{path} is not a Go binary: its {samples} samples have functions, but no maps"
        ))
    } else if is_narrow(binary) {
        Some(format!(
            "{path} is a 32-bit program: its {samples} samples have functions, but no maps, whose layouts \
             are known for 64 bits only"
        ))
    } else if binary.build_id.is_none() {
        Some(format!(
            "the recording has no build id for {path}: its binary was taken by name"
        ))
    } else {
        None
    }
}

/// Go's architectures of 32 bits (`go tool dist list`).
fn is_narrow(binary: &Binary) -> bool {
    let settings = binary.go.iter().flat_map(|go| &go.settings);
    let mut arch = settings.filter(|(key, _)| key == "GOARCH");
    arch.any(|(_, arch)| matches!(arch.as_str(), "386" | "arm" | "mips" | "mipsle"))
}

fn lost(recording: &Recording) -> Option<Caveat> {
    let lost: u64 = recording
        .gaps
        .iter()
        .filter(|gap| matches!(gap.kind, GapKind::Lost | GapKind::LostSamples))
        .map(|gap| gap.lost)
        .sum();
    let read = recording.samples.len() as u64;
    let share = 100.0 * lost as f64 / lost.saturating_add(read).max(1) as f64;
    (lost > 0).then(|| {
        alarm(format!(
            "{lost} records were lost while recording ({share:.1} % beside {read} samples read): \
             counts are too low, and times of heavy load are thinned out most"
        ))
    })
}

fn damage(recording: &Recording) -> Option<Caveat> {
    let first = recording.damage.first()?;
    let more = match recording.damage.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(alarm(format!(
        "the file is damaged at byte {}: {}{more}",
        first.offset, first.rule
    )))
}

fn skid(event: &Event) -> Option<Caveat> {
    if event.memory != Memory::Sampled || event.pmu.pmu().ip_is_exact(event) {
        return None;
    }
    Some(alarm(format!(
        "{} was recorded with precise_ip {}: ip may be an instruction after the one that accessed \
         memory, so code is not trusted; record with the modifier P",
        event.name, event.precise_ip
    )))
}

fn throttled(recording: &Recording) -> Option<Caveat> {
    let throttled = recording
        .gaps
        .iter()
        .filter(|g| g.kind == GapKind::Throttle)
        .count();
    (throttled > 0).then(|| {
        note(format!(
            "the kernel throttled sampling {throttled} times: there are no samples until it resumed"
        ))
    })
}

fn ldlat(event: &Event) -> Option<Caveat> {
    let cycles = event.leaves_out_below()?;
    Some(note(format!(
        "{}: loads faster than {cycles} cycles are not in this recording, so L1 hit shares \
         cannot be known",
        event.name
    )))
}

/// What the PMUs' own rules say of the events.
fn pmu(recording: &Recording) -> Vec<Caveat> {
    let of_event = |event: &Event| (event.pmu.pmu().notes)(event, &recording.meta);
    recording
        .events
        .iter()
        .flat_map(of_event)
        .map(note)
        .collect()
}

fn frequency(recording: &Recording) -> Option<Caveat> {
    let varying = |e: &&Event| e.freq && e.memory == Memory::Sampled;
    let names: Vec<&str> = recording
        .events
        .iter()
        .filter(varying)
        .map(|e| e.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        note(format!(
            "recorded at a frequency: samples of {} stand for varying numbers of events (column period)",
            names.join(", ")
        ))
    })
}

fn breakpoints(recording: &Recording) -> Option<Caveat> {
    let is = |memory| {
        recording
            .events
            .iter()
            .filter(move |e| e.memory == memory)
            .count()
    };
    let words = is(Memory::Breakpoint);
    (words > 0 && is(Memory::Sampled) == 0).then(|| {
        note(format!(
            "breakpoint recording: no levels, no latency; the exact order of all accesses to \
             {words} watched {}",
            if words == 1 { "word" } else { "words" }
        ))
    })
}

fn registers(recording: &Recording) -> Option<Caveat> {
    // Of the others registers would be those of an interrupt, some instructions later.
    let sound = |e: &&Event| {
        matches!(e.memory, Memory::Sampled | Memory::Breakpoint) && e.pmu.pmu().regs_sound
    };
    let mut events = recording.events.iter().filter(sound).peekable();
    let without = events.peek().is_some() && events.all(|e| !e.samples_registers());
    without.then(|| {
        note(
            "no registers were recorded: slots and maps rest on code and addresses; record with \
             --intr-regs to have them named by the registers"
                .to_owned(),
        )
    })
}

fn few(overall: &Overall) -> Option<Caveat> {
    let accesses = overall.samples;
    (accesses < FEW).then(|| note(format!("only {accesses} memory accesses: shares are rough")))
}
