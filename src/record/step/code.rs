//! The program's code as the stepper needs it: which functions are map code, and what an
//! instruction does to memory.

use super::ptrace::Registers;
use crate::program::Program;
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess, Register,
    UsedMemory,
};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Functions that other code calls to use a map, after `runtime.`.
const ENTRIES: [&str; 8] = [
    "mapaccess",
    "mapassign",
    "mapdelete",
    "mapclear",
    "mapiterinit",
    "mapiternext",
    "mapIterStart",
    "mapIterNext",
];

/// What those call to do their work, besides themselves: the rest of the implementation, and what
/// hashes and compares keys.
const PARTS: [&str; 19] = [
    "internal/runtime/maps.",
    "runtime.evacuate",
    "runtime.growWork",
    "runtime.hashGrow",
    "runtime.advanceEvacuationMark",
    "runtime.bucketEvacuated",
    "runtime.overLoadFactor",
    "runtime.tooManyOverflowBuckets",
    "runtime.makeBucketArray",
    "runtime.(*hmap)",
    "runtime.(*bmap)",
    "runtime.memhash",
    "runtime.strhash",
    "runtime.aeshash",
    "aeshashbody",
    "runtime.memequal",
    "memeqbody",
    "runtime.strequal",
    "type:.eq.",
];

/// Whether a function is where others enter map code.
pub fn is_entry(name: &str) -> bool {
    let Some(name) = name.strip_prefix("runtime.") else {
        return false;
    };
    ENTRIES.iter().any(|entry| name.starts_with(entry)) && !name.contains(".func")
}

/// Whether a function is part of the map implementation.
pub fn is_map_code(name: &str) -> bool {
    is_entry(name) || PARTS.iter().any(|part| name.starts_with(part))
}

/// What an instruction does, as far as stepping is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Next,
    Call,
    Return,
    /// A jump, or something that no straight line follows.
    Away,
}

/// One memory operand of an instruction.
#[derive(Debug, Clone, Copy)]
struct Operand {
    memory: UsedMemory,
    size: u64,
    load: bool,
    store: bool,
}

/// An access that an instruction is about to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub addr: u64,
    pub size: u64,
    pub load: bool,
    pub store: bool,
}

#[derive(Debug, Clone)]
struct Decoded {
    instruction: Instruction,
    operands: Vec<Operand>,
    flow: Flow,
}

/// A program's functions at their run-time addresses.
#[derive(Debug)]
pub struct Code {
    program: Program,
    bias: u64,
    /// Where map code is entered.
    pub entries: Vec<u64>,
    ranges: Vec<Range<u64>>,
    decoded: FxHashMap<u64, Decoded>,
}

impl Code {
    /// `bias` is the run-time address minus the link-time address.
    pub fn new(program: Program, bias: u64) -> Code {
        let (mut entries, mut ranges): (Vec<u64>, Vec<Range<u64>>) = (Vec::new(), Vec::new());
        for function in program.functions() {
            let start = function.start.wrapping_add(bias);
            if is_entry(&function.name) {
                entries.push(start);
            }
            if is_map_code(&function.name) {
                ranges.push(start..function.end.wrapping_add(bias));
            }
        }
        ranges.sort_by_key(|range| range.start);
        Code {
            program,
            bias,
            entries,
            ranges,
            decoded: FxHashMap::default(),
        }
    }

    pub fn in_map_code(&self, ip: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.start <= ip);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        range.is_some_and(|range| range.contains(&ip))
    }

    /// The function that `ip` is in.
    pub fn function(&self, ip: u64) -> Option<Range<u64>> {
        let function = self.program.function_at(ip.wrapping_sub(self.bias))?;
        let run_time = |vaddr: u64| vaddr.wrapping_add(self.bias);
        Some(run_time(function.start)..run_time(function.end))
    }

    /// What the instruction at `ip` is about to do with these registers: appended to `accesses`.
    pub fn look(&mut self, registers: &Registers, accesses: &mut Vec<Access>) -> Flow {
        let ip = registers.rip;
        if !self.decoded.contains_key(&ip) {
            let decoded = self.decode(ip);
            self.decoded.insert(ip, decoded);
        }
        let Some(decoded) = self.decoded.get(&ip) else {
            return Flow::Away;
        };
        for operand in &decoded.operands {
            let value = |register, _, _| value(registers, register);
            if let Some(addr) = operand.memory.virtual_address(0, value) {
                accesses.push(Access {
                    addr,
                    size: operand.size,
                    load: operand.load,
                    store: operand.store,
                });
            }
        }
        decoded.flow
    }

    /// The instruction at `ip`, which was looked at before.
    pub fn instruction(&self, ip: u64) -> Option<&Instruction> {
        self.decoded.get(&ip).map(|decoded| &decoded.instruction)
    }

    fn decode(&self, ip: u64) -> Decoded {
        /// The longest instruction of x86.
        const LONGEST: usize = 15;
        let vaddr = ip.wrapping_sub(self.bias);
        let bytes = (1..=LONGEST)
            .rev()
            .find_map(|len| self.program.bytes(vaddr, len));
        let mut decoder = Decoder::with_ip(64, bytes.unwrap_or(&[]), ip, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        if decoder.can_decode() {
            decoder.decode_out(&mut instruction);
        }
        let mut factory = InstructionInfoFactory::new();
        let operands = factory.info(&instruction).used_memory().iter();
        Decoded {
            instruction,
            operands: operands.filter_map(operand).collect(),
            flow: match instruction.flow_control() {
                FlowControl::Next => Flow::Next,
                FlowControl::Call | FlowControl::IndirectCall => Flow::Call,
                FlowControl::Return => Flow::Return,
                _ => Flow::Away,
            },
        }
    }
}

fn operand(memory: &UsedMemory) -> Option<Operand> {
    let (load, store) = match memory.access() {
        OpAccess::Read | OpAccess::CondRead => (true, false),
        OpAccess::Write | OpAccess::CondWrite => (false, true),
        OpAccess::ReadWrite | OpAccess::ReadCondWrite => (true, true),
        OpAccess::None | OpAccess::NoMemAccess => return None,
    };
    Some(Operand {
        memory: *memory,
        size: memory.memory_size().size() as u64,
        load,
        store,
    })
}

/// What a register holds; a segment's register its base.
pub(super) fn value(registers: &Registers, register: Register) -> Option<u64> {
    Some(match register.full_register() {
        Register::RAX => registers.rax,
        Register::RBX => registers.rbx,
        Register::RCX => registers.rcx,
        Register::RDX => registers.rdx,
        Register::RSI => registers.rsi,
        Register::RDI => registers.rdi,
        Register::RBP => registers.rbp,
        Register::RSP => registers.rsp,
        Register::R8 => registers.r8,
        Register::R9 => registers.r9,
        Register::R10 => registers.r10,
        Register::R11 => registers.r11,
        Register::R12 => registers.r12,
        Register::R13 => registers.r13,
        Register::R14 => registers.r14,
        Register::R15 => registers.r15,
        Register::FS => registers.fs_base,
        Register::GS => registers.gs_base,
        Register::CS | Register::DS | Register::ES | Register::SS => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn map_code_is_known_by_its_names() {
        for name in [
            "runtime.mapaccess1_fast64",
            "runtime.mapassign",
            "runtime.mapIterNext",
        ] {
            assert!(is_entry(name) && is_map_code(name), "{name}");
        }
        for name in [
            "internal/runtime/maps.(*table).grow",
            "runtime.evacuate_fast64",
            "aeshashbody",
        ] {
            assert!(!is_entry(name) && is_map_code(name), "{name}");
        }
        for name in [
            "runtime.mallocgc",
            "main.mapaccess",
            "runtime.makemap_small",
        ] {
            assert!(!is_entry(name) && !is_map_code(name), "{name}");
        }
    }
}
