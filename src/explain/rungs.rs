//! What each rung of the evidence ladder said of a sample: held, silent or disagreed.

use super::{Rung, Verdict};
use crate::attribute::trace::{CodeSeen, SLOT, Step, Trace};
use crate::attribute::{Evidence, Reason};
use crate::gomap::{Part, Stage, Structure};
use crate::recording::Recording;
use crate::tables::evidence_name;
use Verdict::{Disagreed, Held, Silent};

/// One rung each, weakest first.
pub fn rungs(recording: &Recording, trace: &Trace, n: usize) -> Vec<Rung> {
    let rung = |evidence, (verdict, why): (Verdict, String)| Rung {
        evidence: evidence_name(evidence),
        verdict,
        why,
    };
    let silent = |reason: &Reason| (Silent, reason.meaning().trim().to_owned());
    let (code, address, registers) = match &trace.code {
        Ok(seen) => (
            code(seen, trace),
            address(seen, trace),
            registers(seen, trace),
        ),
        Err(reason) => (silent(reason), silent(reason), silent(reason)),
    };
    vec![
        rung(Evidence::Code, code),
        rung(Evidence::Address, address),
        rung(Evidence::CallSite, call_site(recording, trace, n)),
        rung(Evidence::Position, position(trace)),
        rung(Evidence::LearnedRegion, learned(trace)),
        rung(Evidence::Heap, heap(trace)),
        rung(Evidence::Registers, registers),
    ]
}

fn first(trace: &Trace) -> Option<&Step> {
    trace.steps.first()
}

fn last(trace: &Trace) -> Option<&Step> {
    trace.steps.last()
}

fn final_part(trace: &Trace) -> Result<Part, Reason> {
    last(trace).map_or(Err(Reason::NotAnAccess), |step| step.part)
}

fn code(seen: &CodeSeen, trace: &Trace) -> (Verdict, String) {
    if let Some(leaf) = &seen.leaf {
        return (
            Held,
            format!("the function copies for its caller, whose pointer is {leaf}"),
        );
    }
    let Some(operand) = seen.operands.iter().find(|o| o.chosen) else {
        return (
            Silent,
            "the instruction has no operand of this kind of access".to_owned(),
        );
    };
    let whose = format!("{} of the {}", operand.offset, operand.object);
    match (operand.part, final_part(trace)) {
        (Err(reason), _) => (Silent, reason.meaning().trim().to_owned()),
        (Ok(Some(part)), Ok(found)) if found != part => (
            Disagreed,
            format!(
                "{whose} is {}, and the row says {}",
                part.name(),
                found.name()
            ),
        ),
        (Ok(Some(part)), Err(reason)) => (
            Disagreed,
            format!("{whose} is {}, but: {}", part.name(), reason.name()),
        ),
        (Ok(Some(part)), Ok(_)) => (Held, format!("{whose} is {}", part.name())),
        (Ok(None), _) => (
            Held,
            format!("{whose}: the object, and which part of it is left to the address"),
        ),
    }
}

fn address(seen: &CodeSeen, trace: &Trace) -> (Verdict, String) {
    let Some(step) = first(trace) else {
        return (Silent, "nothing was resolved".to_owned());
    };
    let operand = seen.operands.iter().find(|o| o.chosen);
    let fixed = operand.and_then(|o| o.fixed);
    match (step.part, fixed) {
        (Ok(part), _) if part.stage() == Stage::Control && step.base != 0 => (
            Held,
            format!(
                "control bytes are the first 8 of a bucket or group, which starts at a multiple of \
                 8: {:#x} & ^7 = {:#x}",
                step.address, step.base
            ),
        ),
        (Ok(_), Some(off)) if step.base == step.address.wrapping_sub(off as u64) => (
            Held,
            format!(
                "the code fixes the offset: {:#x} - {off} = {:#x}",
                step.address, step.base
            ),
        ),
        (Err(Reason::OutsideParts), Some(off)) => (
            Disagreed,
            format!("{:#x} - {off} can be no such object", step.address),
        ),
        _ => (
            Silent,
            "the offset in the object is not fixed by the code".to_owned(),
        ),
    }
}

fn call_site(recording: &Recording, trace: &Trace, n: usize) -> (Verdict, String) {
    let Some(site) = &trace.call_site else {
        let has_chain = (recording.samples.chain.get(n))
            .is_some_and(|chain| !recording.samples.chains.get(chain).is_empty());
        let handed = trace.code.as_ref().ok().and_then(|seen| {
            let from_call = |o: &&crate::attribute::trace::OperandSeen| {
                o.chosen && o.part == Ok(None) && o.object.contains("handed out")
            };
            seen.operands.iter().find(from_call)
        });
        if let (Some(operand), Some(t)) = (handed, last(trace).and_then(|s| s.map_type.as_ref())) {
            return (
                Held,
                format!("{}: its type there is {}", operand.object, t.name),
            );
        }
        let why = if has_chain {
            "the call chain does not lead from map code to its caller"
        } else {
            "no call chain was recorded (perf record -g)"
        };
        return (Silent, why.to_owned());
    };
    let Some(of_site) = &site.map_type else {
        return (
            Silent,
            format!(
                "the call returning to {:#x} does not have its type as a constant",
                site.ret
            ),
        );
    };
    let found = last(trace).and_then(|s| s.map_type.as_ref());
    match found {
        Some(found) if found.addr != of_site.addr => (
            Disagreed,
            format!(
                "the call returning to {:#x} is of {}, the row of {}",
                site.ret, of_site.name, found.name
            ),
        ),
        Some(_) => (
            Held,
            format!(
                "the call returning to {:#x} is of {}",
                site.ret, of_site.name
            ),
        ),
        None => (
            Silent,
            format!(
                "the call returning to {:#x} is of {}; not used",
                site.ret, of_site.name
            ),
        ),
    }
}

/// The step of this name and the one before it.
fn around<'a>(trace: &'a Trace, name: &str) -> Option<(&'a Step, &'a Step)> {
    trace
        .steps
        .windows(2)
        .find(|pair| pair[1].name == name)
        .map(|pair| (&pair[0], &pair[1]))
}

fn position(trace: &Trace) -> (Verdict, String) {
    let Some((before, after)) = around(trace, "position") else {
        return (Silent, "nothing was resolved".to_owned());
    };
    let in_bucket = |part: Part| matches!(part.structure(), Structure::Bucket | Structure::Group);
    match before.part {
        _ if before.base != after.base => (
            Held,
            format!(
                "the buckets that other samples found around {:#x} put it into the one at {:#x}",
                after.address, after.base
            ),
        ),
        Ok(part) if in_bucket(part) && before.base == 0 => (
            Silent,
            "the buckets around the address are too few, or do not agree".to_owned(),
        ),
        Ok(_) if before.base != 0 => (Silent, "not needed: the object was known".to_owned()),
        _ => (
            Silent,
            "it needs a part of a bucket or group to start from".to_owned(),
        ),
    }
}

/// Whether the last step, which knows the heap as well as the regions, took the heap's word.
fn last_by_heap(trace: &Trace) -> Option<&Step> {
    let (before, after) = around(trace, "learned region")?;
    (before.evidence != Evidence::Heap && after.evidence == Evidence::Heap).then_some(after)
}

fn learned(trace: &Trace) -> (Verdict, String) {
    if let Some(evidence) = trace.conflict {
        return (
            Disagreed,
            format!(
                "other samples say that the memory is another object than {} found; {} was kept",
                evidence_name(evidence),
                evidence_name(evidence)
            ),
        );
    }
    let Some((before, after)) = around(trace, "learned region") else {
        return (Silent, "nothing was resolved".to_owned());
    };
    if last_by_heap(trace).is_some() {
        return (Silent, "the heap told instead".to_owned());
    }
    let owner = around(trace, "the object's owner");
    let mut found = Vec::new();
    if before.part != after.part
        && let Ok(part) = after.part
    {
        found.push(format!("the part, {}", part.name()));
    }
    if before.base != after.base {
        found.push(format!("the object, {:#x}", after.base));
    }
    if let Some((slot, _)) = slot_found(trace).filter(|(_, by)| *by != Evidence::Registers) {
        found.push(format!("slot {slot}, which leads here"));
    }
    let header_before = owner.map_or(before.header, |(before, _)| before.header);
    if header_before != after.header {
        found.push(format!("the map, {:#x}", after.header));
    }
    if found.is_empty() {
        let why = match after.part {
            Ok(_) if after.base != 0 && after.header != 0 => {
                "not needed: object and map were known, and nothing contradicts them"
            }
            Ok(_) => "no other sample established whose memory it is at that time",
            Err(_) => "no other sample established a map there at that time",
        };
        return (Silent, why.to_owned());
    }
    (
        Held,
        format!(
            "other samples before and after established {}",
            found.join(" and ")
        ),
    )
}

/// The slot that was found to point to the key or the elem, and by what.
fn slot_found(trace: &Trace) -> Option<(i8, Evidence)> {
    let (before, after) = around(trace, SLOT)?;
    (before.slot != after.slot).then_some((after.slot, after.evidence))
}

fn heap(trace: &Trace) -> (Verdict, String) {
    let found = |after: &Step| {
        format!(
            "the heap has the object {:#x} of the map {:#x}, and no sample up to then speaks against it",
            after.base, after.header
        )
    };
    if let Some(after) = last_by_heap(trace) {
        return (Held, found(after));
    }
    match around(trace, "heap") {
        None => (Silent, "no core file or snapshot was given".to_owned()),
        Some((before, after)) if before.base != after.base || before.header != after.header => {
            (Held, found(after))
        }
        Some(_) => (
            Silent,
            "not needed, or the heap has no map there".to_owned(),
        ),
    }
}

fn registers(seen: &CodeSeen, trace: &Trace) -> (Verdict, String) {
    let recorded = seen.registers.iter().any(|r| r.value.is_some());
    if !recorded {
        return (
            Silent,
            "no registers were recorded that name an object".to_owned(),
        );
    }
    if !seen.registers_sound {
        return (
            Silent,
            "on this PMU they are those of a later interrupt".to_owned(),
        );
    }
    let Some(step) = last(trace) else {
        return (Silent, "nothing was resolved".to_owned());
    };
    let map_type = step.map_type.as_ref().map(|t| t.addr);
    let known = [
        ("bucket", Some(step.base)),
        ("group", Some(step.base)),
        ("map header", Some(step.header)),
        ("table", Some(step.table)),
        ("map type descriptor", map_type),
    ];
    let mut agree = Vec::new();
    if let Some((slot, _)) = slot_found(trace).filter(|(_, by)| *by == Evidence::Registers) {
        agree.push(format!(
            "a register that the map call left points to slot {slot}, which leads here"
        ));
    }
    for register in &seen.registers {
        let (Some((structure, _)), Some(start)) = (&register.names, register.start) else {
            continue;
        };
        let expected = known.iter().find(|(name, _)| name == structure);
        match expected.and_then(|(_, at)| *at).filter(|at| *at != 0) {
            Some(at) if at == start => {
                agree.push(format!(
                    "{} names the {structure} {start:#x}",
                    register.name
                ));
            }
            // Another bucket than the sampled one (the chain's first, say) is no contradiction.
            Some(at) if register.same_object || structure == "map header" => {
                return (
                    Disagreed,
                    format!(
                        "{} names the {structure} {start:#x}, the row has {at:#x}",
                        register.name
                    ),
                );
            }
            _ => {}
        }
    }
    if agree.is_empty() {
        return (
            Silent,
            "no register names the object or its map here".to_owned(),
        );
    }
    (Held, agree.join(", "))
}
