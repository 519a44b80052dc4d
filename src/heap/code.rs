//! What code says of variables: a call of a map function with a constant map type and a map loaded
//! from a global makes that global a map of that type, in stripped binaries too.

use super::image::Image;
use crate::program::Arch;
use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

/// What a global variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A value of the type with this descriptor (link-time address).
    Value(u64),
    /// A `sync.Map` itself.
    SyncMap,
}

/// What a register holds, as far as one straight line of code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    Address(u64),
    /// The word at this link-time address.
    LoadOf(u64),
}

/// Globals by link-time address that calls in the program's own code tell of. Empty for machines
/// other than x86-64.
pub(super) fn globals(image: &Image) -> Vec<(u64, Holds)> {
    let program = &image.program;
    let mut found = Vec::new();
    if program.arch != Arch::X86_64 {
        return found;
    }
    for function in program.functions() {
        if function.name.starts_with("runtime.") {
            continue;
        }
        let len = function.end.saturating_sub(function.start);
        let code = usize::try_from(len).ok();
        let Some(code) = code.and_then(|len| program.bytes(function.start, len)) else {
            continue;
        };
        scan(image, function.start, code, &mut found);
    }
    found.sort_unstable_by_key(|&(addr, _)| addr);
    found.dedup();
    found
}

fn scan(image: &Image, start: u64, code: &[u8], found: &mut Vec<(u64, Holds)>) {
    let mut registers = [Known::Nothing; 16];
    let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        match instruction.flow_control() {
            FlowControl::Call => {
                let target = instruction.near_branch_target();
                found.extend(call(image, target, &registers));
                registers = [Known::Nothing; 16];
            }
            FlowControl::Next => step(&instruction, &mut registers),
            FlowControl::ConditionalBranch => {}
            _ => registers = [Known::Nothing; 16],
        }
    }
}

fn step(instruction: &Instruction, registers: &mut [Known; 16]) {
    let Some(to) = number(instruction.op0_register()) else {
        return;
    };
    let from_rip =
        instruction.memory_base() == Register::RIP && instruction.memory_index() == Register::None;
    let whole = instruction.op0_register().is_gpr64();
    let value = match (instruction.mnemonic(), instruction.op1_kind()) {
        (Mnemonic::Lea, _) if from_rip => Known::Address(instruction.memory_displacement64()),
        (Mnemonic::Mov, OpKind::Memory) if from_rip && whole => {
            Known::LoadOf(instruction.memory_displacement64())
        }
        (Mnemonic::Mov, OpKind::Register) if whole => number(instruction.op1_register())
            .and_then(|from| registers.get(from).copied())
            .unwrap_or(Known::Nothing),
        (Mnemonic::Cmp | Mnemonic::Test, _) => return,
        _ => Known::Nothing,
    };
    if let Some(register) = registers.get_mut(to) {
        *register = value;
    }
}

/// Go's first two integer arguments are in AX and BX.
fn call(image: &Image, target: u64, registers: &[Known; 16]) -> Option<(u64, Holds)> {
    let function = image.program.function_at(target)?;
    if function.start != target {
        return None;
    }
    let [ax, _, _, bx, ..] = *registers;
    let map = function.name.strip_prefix("runtime.map");
    if map.is_some_and(|rest| ENTRIES.iter().any(|entry| rest.starts_with(entry))) {
        let (Known::Address(descriptor), Known::LoadOf(global)) = (ax, bx) else {
            return None;
        };
        let known = &image.program.map_types;
        known
            .binary_search_by_key(&descriptor, |t| t.addr)
            .ok()
            .map(|_| (global, Holds::Value(descriptor)))
    } else if RECEIVERS.iter().any(|name| function.name.starts_with(name)) {
        match ax {
            Known::Address(global) => Some((global, Holds::SyncMap)),
            _ => None,
        }
    } else {
        None
    }
}

/// Functions whose arguments begin with the map type and the map, after `runtime.map`.
const ENTRIES: [&str; 6] = [
    "access",
    "assign",
    "delete",
    "clear",
    "iterinit",
    "IterStart",
];

/// Methods of `sync.Map`; from Go 1.24 on its methods are inlined to those of `HashTrieMap`.
const RECEIVERS: [&str; 2] = ["sync.(*Map).", "internal/sync.(*HashTrieMap["];

fn number(register: Register) -> Option<usize> {
    let full = register.full_register();
    full.is_gpr64().then(|| full.number())
}
