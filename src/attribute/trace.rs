//! How one sample came to its row: what each rung of the evidence ladder was given and what it made
//! of it. Filled in by the attribution itself while it runs; nothing here decides anything.

use super::chains::ChainSite;
use super::code::Code;
use super::declared::Said;
use super::flow::{Expr, Operand, Target, Value, What};
use super::resolve::{Above, By, choose, named, touched};
use super::row::VARIABLE;
use super::rows::Rows;
use super::spaces::Spaces;
use super::types::Types;
use super::{Evidence, Reason};
use crate::gomap::{MapType, Part, Size};
use crate::recording::{Memory, Recording};

/// The step that tells of a key or an elem outside of its slot which one points to it.
pub const SLOT: &str = "the slot that leads here";

/// The way of one sample through the attribution.
#[derive(Debug, Clone)]
pub struct Trace {
    /// `Err`: why no code was looked at.
    pub code: Result<CodeSeen, Reason>,
    /// The call of a map function that the sample's call chain leads to.
    pub call_site: Option<SiteSeen>,
    /// The row after each step, in order.
    pub steps: Vec<Step>,
    /// The evidence that a learned region disagreed with.
    pub conflict: Option<Evidence>,
    /// What DWARF says of the operand.
    pub declared: Option<Said>,
}

/// What the code at the sample's ip says.
#[derive(Debug, Clone)]
pub struct CodeSeen {
    /// Link-time address of the instruction, and what was added to it at run time.
    pub vaddr: u64,
    pub bias: u64,
    pub map_code: bool,
    pub operands: Vec<OperandSeen>,
    /// In a copying leaf: what its caller passed.
    pub leaf: Option<String>,
    /// `REGS_INTR` is the state right after the instruction.
    pub registers_sound: bool,
    /// The registers of the operand and those that name a structure.
    pub registers: Vec<RegisterSeen>,
    /// The address that the instruction touched, where a breakpoint recorded the watched word.
    pub touched: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct OperandSeen {
    /// The sampled access is of this operand.
    pub chosen: bool,
    pub read: bool,
    pub write: bool,
    /// Bytes; 0 when the instruction does not say.
    pub size: u32,
    /// The structure it points into: `bucket`, `hmap or Map`, ...
    pub object: String,
    /// How the address is made from the structure's start: `8 + 8*KeySize + n*ValueSize`.
    pub offset: String,
    /// What that is.
    pub part: Result<Option<Part>, Reason>,
    /// The offset, where the code fixes it.
    pub fixed: Option<i64>,
}

#[derive(Debug, Clone)]
pub struct RegisterSeen {
    /// As Go's assembler has it: `AX`, `R8`; of a slot of the frame `[SP+64]`.
    pub name: String,
    /// `None`: not sampled.
    pub value: Option<u64>,
    /// The structure whose start, plus `off`, the register holds after the instruction.
    pub names: Option<(String, i64)>,
    /// The structure's start.
    pub start: Option<u64>,
    /// It is the very object that the operand was made from.
    pub same_object: bool,
    /// The instruction writes it: it does not hold what the address was made from.
    pub overwritten: bool,
}

#[derive(Debug, Clone)]
pub struct SiteSeen {
    /// Link-time return address.
    pub ret: u64,
    pub map_type: Option<MapType>,
    /// Address of the variable that holds the map.
    pub global: Option<u64>,
}

/// The row after one step of the attribution.
#[derive(Debug, Clone)]
pub struct Step {
    pub name: &'static str,
    pub part: Result<Part, Reason>,
    pub address: u64,
    pub base: u64,
    pub slot: i8,
    pub header: u64,
    /// The variable that the map was taken from, where the header is not known.
    pub held_by: u64,
    pub table: u64,
    pub map_type: Option<MapType>,
    /// The type, or one that is laid out as the buckets were found to be.
    pub shape: Option<MapType>,
    pub evidence: Evidence,
}

/// Follows sample `watch`, or nothing.
#[derive(Debug, Default)]
pub(super) struct Tracer {
    pub watch: Option<usize>,
    trace: Option<Trace>,
}

/// What the attribution knows of a sample before it resolves it.
pub(super) struct Given<'a> {
    pub recording: &'a Recording,
    pub code: Result<&'a Code, Reason>,
    pub site: Option<&'a ChainSite>,
    pub leaf: Option<Target>,
    pub stored: bool,
    pub declared: Option<Said>,
    pub above: Option<&'a Above>,
    pub types: &'a Types,
}

impl Tracer {
    pub fn new(watch: Option<usize>) -> Tracer {
        Tracer { watch, trace: None }
    }

    pub fn begin<'a>(&mut self, given: impl FnOnce(usize) -> Given<'a>) {
        let Some(i) = self.watch else { return };
        let given = given(i);
        self.trace = Some(Trace {
            code: given.code.map(|code| code_seen(&given, code, i)),
            call_site: given.site.map(|site| SiteSeen {
                ret: site.ret,
                map_type: (site.typed.map_type)
                    .and_then(|t| given.types.get(t))
                    .cloned(),
                global: site.typed.global,
            }),
            steps: Vec::new(),
            conflict: None,
            declared: given.declared,
        });
    }

    /// Notes the watched sample's row after a step.
    pub fn step(&mut self, name: &'static str, rows: &Rows, types: &Types, spaces: &Spaces) {
        let row = self.watch.and_then(|i| rows.of_sample(i));
        let (Some(trace), Some(row)) = (&mut self.trace, row) else {
            return;
        };
        let held = row.header & VARIABLE != 0;
        let header = spaces.plain(row.header);
        let known = row.map_type.and_then(|t| types.get(t));
        let alike = row.shape.and_then(|s| types.of_shape(s));
        trace.steps.push(Step {
            name,
            part: row.part,
            address: spaces.plain(row.address),
            base: spaces.plain(row.base),
            slot: row.slot,
            header: if held { 0 } else { header },
            held_by: if held { header & !VARIABLE } else { 0 },
            table: spaces.plain(row.table),
            map_type: known.cloned(),
            shape: known.or(alike).cloned(),
            evidence: row.evidence,
        });
    }

    pub fn conflict(&mut self, conflict: impl FnOnce(usize) -> Option<Evidence>) {
        if let (Some(trace), Some(i)) = (&mut self.trace, self.watch) {
            trace.conflict = conflict(i);
        }
    }

    pub fn finish(self) -> Option<Trace> {
        self.trace
    }
}

fn code_seen(given: &Given, code: &Code, i: usize) -> CodeSeen {
    let samples = &given.recording.samples;
    let event = given.recording.event(i);
    let chosen = choose(code, given.stored).map(|&(_, operand)| operand);
    let sound = event.is_some_and(|e| e.pmu.pmu().regs_sound);
    let recorded = samples.addr.get(i).unwrap_or(0);
    let processor = given.recording.processor(i);
    CodeSeen {
        vaddr: code.instruction.ip(),
        bias: code.bias,
        map_code: code.map_code,
        operands: (code.operands.iter())
            .map(|(target, operand)| operand_seen(target, operand, chosen == Some(*operand)))
            .collect(),
        leaf: given.leaf.as_ref().map(target_text),
        registers_sound: sound,
        registers: registers_seen(given, code, chosen.as_ref(), i),
        touched: event
            .filter(|e| e.memory == Memory::Breakpoint)
            .zip(chosen)
            .map(|(e, operand)| touched(&processor, e, code, operand.size, recorded).0),
    }
}

fn operand_seen(target: &Target, operand: &Operand, chosen: bool) -> OperandSeen {
    let (part, fixed) = match *target {
        Target::Part { part, off } => (Ok(Some(part)), off),
        Target::Elem { off, .. } | Target::Key { off, .. } => (Ok(None), off),
        Target::BucketOrGroup | Target::DirPtr => (Ok(None), None),
        Target::None(reason) => (Err(reason), None),
    };
    OperandSeen {
        chosen,
        read: operand.read,
        write: operand.write,
        size: operand.size,
        object: object_text(&operand.value),
        offset: offset_text(&operand.value.expr),
        part,
        fixed,
    }
}

fn registers_seen(
    given: &Given,
    code: &Code,
    chosen: Option<&Operand>,
    i: usize,
) -> Vec<RegisterSeen> {
    let processor = given.recording.processor(i);
    let form = code.instruction.form();
    let written = |perf| form.is_some_and(|form| !form.keeps(perf));
    let of_operand =
        |perf| form.is_some_and(|form| form.base == Some(perf) || form.index == Some(perf));
    let origin = chosen.map_or(0, |operand| operand.value.origin);
    let starts = named(&processor, code, given.above, origin);
    let mut registers = Vec::new();
    let abi = code.instruction.abi();
    for (&name, &perf) in abi.names.iter().zip(abi.perf) {
        let live = code.live.iter().find(|live| live.reg == perf);
        if live.is_none() && !of_operand(perf) {
            continue;
        }
        let value = processor.register(perf);
        let start = live.and_then(|live| {
            let found = starts.iter().find(|n| n.by == By::Register(live.reg));
            found.map(|n| n.start)
        });
        registers.push(RegisterSeen {
            name: name.to_owned(),
            value,
            names: live.map(|live| (live.structure.text().to_owned(), live.off)),
            start,
            same_object: live.zip(chosen).is_some_and(|(live, operand)| {
                live.origin != 0 && live.origin == operand.value.origin
            }),
            overwritten: written(perf),
        });
    }
    registers.extend(starts.iter().filter_map(|n| {
        let (name, value) = match n.by {
            By::Register(_) => return None,
            By::Slot(at) => (format!("[SP+{at}]"), processor.slot(at)),
            By::Above(at) => (format!("[SP+{at}] of the caller"), processor.slot(at)),
            By::Iterator(off) => (format!("iterator + {off}"), None),
        };
        Some(RegisterSeen {
            name,
            value: value.or(Some(n.start)),
            names: Some((n.structure.text().to_owned(), 0)),
            start: Some(n.start),
            same_object: n.origin != 0 && n.origin == origin,
            overwritten: false,
        })
    }));
    registers
}

fn target_text(target: &Target) -> String {
    let plus = |off: &Option<i64>| match off {
        Some(off) => format!("{off} bytes into it"),
        None => "how far into it is not known".to_owned(),
    };
    match target {
        Target::Part { part, .. } => part.name().to_owned(),
        Target::BucketOrGroup => "somewhere in a bucket or a group".to_owned(),
        Target::DirPtr => "the first word behind dirPtr".to_owned(),
        Target::Elem { call, off } => format!(
            "the elem that the map call returning to {call:#x} handed out, {}",
            plus(off)
        ),
        Target::Key { call, off } => format!(
            "the key that the iterator begun at {call:#x} handed out, {}",
            plus(off)
        ),
        Target::None(reason) => reason.name().to_owned(),
    }
}

fn object_text(value: &Value) -> String {
    match value.what {
        What::At(structure) => structure.text().to_owned(),
        What::Global(address) => format!("what the variable at {address:#x} holds"),
        What::Elem(call) => format!("elem handed out by the map call returning to {call:#x}"),
        What::Key(call) => format!("key handed out by the iterator begun at {call:#x}"),
        What::Stack => "own frame".to_owned(),
        What::Number => "static address".to_owned(),
        What::DirLen => "dirLen".to_owned(),
        What::Loaded => "a pointer loaded or passed, of unknown kind".to_owned(),
        What::Unknown => "unknown".to_owned(),
    }
}

/// `8 + 8*KeySize + n*ValueSize`; an `n` stands for any number.
fn offset_text(expr: &Expr) -> String {
    let mut terms = Vec::new();
    for (size, name) in SIZES {
        match expr.coefficient(*size) {
            0 => {}
            1 => terms.push((*name).to_owned()),
            n => terms.push(format!("{n}*{name}")),
        }
        if expr.is_indexed_by(*size) {
            terms.push(format!("n*{name}"));
        }
    }
    match expr.stride {
        0 => {}
        1 => terms.push("n".to_owned()),
        stride => terms.push(format!("n*{stride}")),
    }
    if expr.c != 0 || terms.is_empty() {
        terms.insert(0, expr.c.to_string());
    }
    terms.join(" + ")
}

const SIZES: &[(Size, &str)] = &[
    (Size::Key, "KeySize"),
    (Size::Elem, "ValueSize"),
    (Size::Bucket, "BucketSize"),
    (Size::Group, "GroupSize"),
    (Size::Slot, "SlotSize"),
    (Size::ElemOff, "ElemOff"),
    (Size::KeysOff, "KeysOff"),
    (Size::KeyStride, "KeyStride"),
    (Size::ElemsOff, "ElemsOff"),
    (Size::ElemStride, "ElemStride"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_reads_as_the_runtime_computes_it() {
        assert_eq!(offset_text(&Expr::constant(16)), "16");
        let keys = Expr::constant(8).add(&Expr::size(Size::Key).scale(8));
        let elem = Expr::size(Size::Elem).mul(&Expr::UNKNOWN);
        assert_eq!(offset_text(&keys.add(&elem)), "8 + 8*KeySize + n*ValueSize");
        assert_eq!(offset_text(&Expr::UNKNOWN), "n");
    }
}
