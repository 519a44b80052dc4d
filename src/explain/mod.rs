//! How one sample was attributed, step by step, for a reader who does not believe it.
//!
//! Everything here is read from the [`Trace`] that the attribution left and from its result: this
//! module explains, it does not attribute.

mod layout;
mod rungs;
mod text;

pub use text::print;

use crate::attribute::trace::{CodeSeen, Step, Trace};
use crate::attribute::{Attribution, Reason};
use crate::export::one_row;
use crate::pmu::Validity;
use crate::program::Frame;
use crate::recording::{Memory, Recording};
use crate::tables::{Accesses, evidence_name, operation_name, phase_name};
use serde::Serialize;

/// The whole way of one sample. Addresses are text in hex, so that no reader of JSON rounds them.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Index of the sample in file order, from 0.
    pub n: usize,
    pub sample: Sample,
    pub instruction: Instruction,
    /// The memory operands outside of the frame, as the data flow sees them.
    pub operands: Vec<Operand>,
    /// What DWARF says of the sampled operand, where it names the variable in its base register.
    pub declared: Option<Declared>,
    pub registers: Registers,
    pub call_site: Option<CallSite>,
    /// The layout arithmetic, with this sample's numbers.
    pub arithmetic: Vec<String>,
    pub rungs: Vec<Rung>,
    /// What was known after each step of the attribution.
    pub steps: Vec<Known>,
    /// Header and line of `mempath export accesses --format csv`.
    pub row: [String; 2],
    /// Only of a sample that was not placed.
    pub reason: Option<Unplaced>,
}

/// What the file has.
#[derive(Debug, Serialize)]
pub struct Sample {
    pub event: String,
    pub pmu: &'static str,
    pub time_ns: Option<u64>,
    pub pid: Option<i32>,
    pub tid: Option<i32>,
    pub cpu: Option<u16>,
    pub ip: Option<String>,
    pub addr: Option<String>,
    pub weight: Option<String>,
    pub data_src: Option<String>,
    /// perf's own words for `data_src`.
    pub data_src_words: Option<String>,
    /// What the rules of this PMU make of them.
    pub op: Option<&'static str>,
    pub level: Option<String>,
    pub snoop: Option<&'static str>,
    pub tlb: Option<&'static str>,
    pub latency_cycles: Option<u32>,
    /// Why `weight` is, or is not, a latency.
    pub latency_rule: &'static str,
    /// Of a breakpoint: `bp_addr/bp_len`.
    pub watched: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Instruction {
    pub image: String,
    /// Link-time address; `None` where the binary was not found.
    pub vaddr: Option<String>,
    pub function: Option<String>,
    /// `function file:line`, innermost first.
    pub frames: Vec<String>,
    /// As Intel writes it.
    pub text: Option<String>,
    pub operation: Option<&'static str>,
    pub phase: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub struct Operand {
    /// The sampled access is of this operand.
    pub sampled: bool,
    /// `load`, `store` or `load+store`.
    pub access: &'static str,
    pub size: u32,
    pub object: String,
    pub offset: String,
    /// `structure.field`, where the code alone tells.
    pub part: Option<&'static str>,
    /// Why the code does not tell.
    pub reason: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Declared {
    pub register: &'static str,
    /// `h *runtime.hmap, flags`
    pub dwarf: String,
    /// What the data flow has there.
    pub flow: String,
    /// `agrees`, `disagrees` or `alone`, where the data flow names no object.
    pub verdict: &'static str,
    /// Why they disagree, where that is known.
    pub explanation: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub struct Registers {
    /// They are the state right after the instruction.
    pub sound: bool,
    pub why: &'static str,
    pub used: Vec<Register>,
}

#[derive(Debug, Serialize)]
pub struct Register {
    pub name: String,
    pub value: Option<String>,
    /// What the register holds, as the data flow sees it: `bucket + 8`.
    pub holds: Option<String>,
    /// The start of that structure.
    pub start: Option<String>,
    /// The instruction wrote it: it is not what the address was made from.
    pub overwritten: bool,
}

#[derive(Debug, Serialize)]
pub struct CallSite {
    /// Link-time return address.
    pub ret: String,
    pub map_type: Option<String>,
    /// Address of the variable that holds the map.
    pub global: Option<String>,
}

/// What one kind of evidence said.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rung {
    pub evidence: &'static str,
    pub verdict: Verdict,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Held,
    Silent,
    Disagreed,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::Silent => "silent",
            Verdict::Disagreed => "disagreed",
        }
    }
}

/// What was known after a step.
#[derive(Debug, Serialize)]
pub struct Known {
    pub after: &'static str,
    pub part: Option<&'static str>,
    pub base: Option<String>,
    pub slot: Option<i8>,
    pub header: Option<String>,
    /// The variable that the map was taken from, where the header is not known.
    pub held_by: Option<String>,
    pub table: Option<String>,
    pub map_type: Option<String>,
    pub evidence: &'static str,
}

#[derive(Debug, Serialize)]
pub struct Unplaced {
    pub name: &'static str,
    pub meaning: &'static str,
    /// What would place such a sample.
    pub help: &'static str,
}

pub(crate) fn hex(number: u64) -> String {
    format!("{number:#x}")
}

/// Explains sample `n` from what the attribution left of it.
pub fn explain(
    recording: &Recording,
    attribution: &Attribution,
    trace: &Trace,
    n: usize,
) -> Explanation {
    let accesses = Accesses::new(recording, attribution);
    let place = attribution
        .place
        .get(n)
        .and_then(|p| attribution.places.get(p as usize));
    let code = trace.code.as_ref().ok();
    let part = accesses.get(n).part;
    Explanation {
        n,
        sample: sample(recording, &accesses, code, n),
        instruction: Instruction {
            image: place.map_or_else(String::new, |p| p.image.clone()),
            vaddr: code.map(|c| hex(c.vaddr)),
            function: place.and_then(|p| p.function.clone()),
            frames: place.map_or_else(Vec::new, |p| p.frames.iter().map(frame).collect()),
            text: place.and_then(|p| p.instruction.clone()),
            operation: place.and_then(|p| p.operation).map(operation_name),
            phase: place.and_then(|p| p.phase).map(phase_name),
        },
        operands: code.map_or_else(Vec::new, operands),
        declared: trace.declared.as_ref().map(|said| Declared {
            register: said.register,
            dwarf: said.dwarf(),
            flow: said.flow.clone(),
            explanation: said.explanation,
            verdict: match said.verdict {
                crate::attribute::Verdict::Agrees => "agrees",
                crate::attribute::Verdict::Disagrees => "disagrees",
                crate::attribute::Verdict::Alone => "alone",
            },
        }),
        registers: registers(recording, code, n),
        call_site: trace.call_site.as_ref().map(|site| CallSite {
            ret: hex(site.ret),
            map_type: site.map_type.as_ref().map(|t| t.name.clone()),
            global: site.global.map(hex),
        }),
        arithmetic: layout::arithmetic(attribution, trace, n),
        rungs: rungs::rungs(recording, trace, n),
        steps: trace.steps.iter().map(known).collect(),
        row: one_row(&accesses, n),
        reason: part.err().map(|reason| Unplaced {
            name: reason.name(),
            meaning: reason.meaning(),
            help: help(reason),
        }),
    }
}

fn sample(recording: &Recording, accesses: &Accesses, code: Option<&CodeSeen>, n: usize) -> Sample {
    let row = accesses.get(n);
    let event = recording.event(n);
    let access = recording.access(n);
    let pmu = event.map(|e| e.pmu.pmu());
    let breakpoint = event.filter(|e| e.memory == Memory::Breakpoint);
    let touched = code.and_then(|c| c.touched);
    Sample {
        event: row.event.to_owned(),
        pmu: pmu.map_or("unknown", |p| p.name),
        time_ns: row.time,
        pid: row.thread.map(|t| t.0),
        tid: row.thread.map(|t| t.1),
        cpu: row.cpu,
        ip: row.ip.map(hex),
        addr: row.addr.map(hex),
        weight: row.weight.map(hex),
        data_src: row.data_src.map(hex),
        data_src_words: (row.data_src).map(|word| crate::data_src::DataSrc(word).perf_words()),
        op: access.op.map(|op| op.name()),
        level: access.level.map(|level| level.name().into_owned()),
        snoop: access.snoop.map(|snoop| snoop.name()),
        tlb: access.tlb.map(|tlb| tlb.name()),
        latency_cycles: access.latency_cycles,
        latency_rule: event.map_or("", |e| match e.fields.of(access.op).latency {
            Validity::Valid => "weight is a latency here",
            Validity::Unknown => "weight may be a latency here",
            Validity::Absent => "this PMU records no latency for such an access",
            Validity::NotApplicable => "a latency has no meaning for such an access",
        }),
        watched: breakpoint.map(|e| {
            let operand = touched.map_or_else(String::new, |address| {
                format!("; the instruction's operand is at {address:#x}")
            });
            format!("{:#x}/{}{operand}", e.config1, e.config2)
        }),
    }
}

/// `function file:line`.
pub(crate) fn frame(frame: &Frame) -> String {
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) => format!("{} {file}:{line}", frame.function),
        (Some(file), None) => format!("{} {file}", frame.function),
        _ => frame.function.clone(),
    }
}

fn operands(code: &CodeSeen) -> Vec<Operand> {
    let of = |operand: &crate::attribute::trace::OperandSeen| Operand {
        sampled: operand.chosen,
        access: match (operand.read, operand.write) {
            (true, true) => "load+store",
            (false, true) => "store",
            _ => "load",
        },
        size: operand.size,
        object: operand.object.clone(),
        offset: operand.offset.clone(),
        part: operand.part.ok().flatten().map(|part| part.name()),
        reason: operand.part.err().map(Reason::name),
    };
    code.operands.iter().map(of).collect()
}

fn registers(recording: &Recording, code: Option<&CodeSeen>, n: usize) -> Registers {
    let event = recording.event(n);
    let recorded = event.is_some_and(|e| e.samples_registers());
    let sound = event.is_some_and(|e| e.pmu.pmu().regs_sound);
    Registers {
        sound: recorded && sound,
        why: match (recorded, sound) {
            (false, _) => "no registers were recorded (perf record --intr-regs)",
            (true, true) => "the state right after the instruction, on this PMU",
            (true, false) => {
                "those of a later interrupt, on this PMU: not used, nor is the call chain"
            }
        },
        used: code.map_or_else(Vec::new, |code| {
            let of = |r: &crate::attribute::trace::RegisterSeen| Register {
                name: r.name.clone(),
                value: r.value.map(hex),
                holds: r.names.as_ref().map(|(structure, off)| match off {
                    0 => structure.clone(),
                    off if *off < 0 => format!("{structure} - {}", off.unsigned_abs()),
                    off => format!("{structure} + {off}"),
                }),
                start: r.start.map(hex),
                overwritten: r.overwritten,
            };
            code.registers.iter().map(of).collect()
        }),
    }
}

fn known(step: &Step) -> Known {
    let some = |address: u64| (address != 0).then(|| hex(address));
    Known {
        after: step.name,
        part: step.part.ok().map(|part| part.name()),
        base: some(step.base),
        slot: (step.slot >= 0).then_some(step.slot),
        header: some(step.header),
        held_by: some(step.held_by),
        table: some(step.table),
        map_type: step.map_type.as_ref().map(|t| t.name.clone()),
        evidence: evidence_name(step.evidence),
    }
}

/// What would place a sample that has this reason.
fn help(reason: Reason) -> &'static str {
    match reason {
        Reason::NotAnAccess => "nothing: it touched no memory",
        Reason::NoAddress => "record with data addresses (perf mem record, or perf record -d)",
        Reason::Kernel => "nothing: the kernel has no Go maps",
        Reason::Guest => "record inside of the virtual machine",
        Reason::NoMapping => {
            "record from the start of the process, so that its mappings are in the file"
        }
        Reason::NoBinary => "pass the file with --binary, or its folder with --binary-dir",
        Reason::NoSymbol => "nothing: the code lies outside of every function of the file",
        Reason::Skid => "record with a precise event (cpu/mem-loads/P, or :pp)",
        Reason::NotGo => "nothing: only Go binaries have Go maps",
        Reason::Narrow => "nothing: record the program built for 64 bits",
        Reason::NotMap => {
            "nothing, if it is no map memory; else a core file, or samples of the same memory in map \
             code"
        }
        Reason::NotMapMemory | Reason::Stack | Reason::Goroutine => "nothing: it is no map memory",
        Reason::BaseUnknown => "registers (perf record --intr-regs), or a core file",
        Reason::PartUnknown => {
            "registers (perf record --intr-regs), a call chain for the map's type, or a core file"
        }
        Reason::OutsideParts => {
            "check that the binary is the recorded one; if it is, this is worth a bug report"
        }
        Reason::NoOperand => "a precise event: the ip is of another instruction than the access",
    }
}
