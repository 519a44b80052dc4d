//! Accesses in the runtime's copying leaves, through pointers that their caller names.
//!
//! `duffcopy` and `memmove` know nothing of maps, but the call that led there does: its source or
//! destination is the elem that a map call handed out.

use super::flow::{Target, Value, What};
use super::places::Binary;
use iced_x86::{Decoder, DecoderOptions, Mnemonic, OpKind, Register};

/// Hardware numbers of the registers that hold a leaf's source and destination at the call.
struct Leaf {
    name: &'static str,
    source: usize,
    destination: usize,
}

const RAX: usize = 0;
const RBX: usize = 3;
const RSI: usize = 6;
const RDI: usize = 7;

/// `runtime/duff_amd64.s`, `runtime/memmove_amd64.s` (ABIInternal).
const LEAVES: &[Leaf] = &[
    Leaf {
        name: "runtime.duffcopy",
        source: RSI,
        destination: RDI,
    },
    Leaf {
        name: "runtime.memmove",
        source: RBX,
        destination: RAX,
    },
];

pub fn is_leaf(function: &str) -> bool {
    LEAVES.iter().any(|leaf| leaf.name == function)
}

/// What a sample at `vaddr` in a leaf touches: the elem behind the caller's pointer, and how far
/// into it. `ret` is the return address of the call of the leaf.
pub fn target(binary: &mut Binary, vaddr: u64, ret: u64, stored: bool) -> Option<Target> {
    let function = binary.program.function_at(vaddr)?;
    let leaf = LEAVES.iter().find(|leaf| leaf.name == function.name)?;
    let flow = binary.flow(ret.checked_sub(1)?)?;
    let call = flow.calls.get(&ret)?;
    let register = if stored {
        leaf.destination
    } else {
        leaf.source
    };
    let Value { what, expr, .. } = call.regs.get(register)?;
    let start = expr.as_constant()?;
    let off = match (leaf.name, call.target) {
        ("runtime.duffcopy", Some(entry)) => {
            let register = if stored { Register::RDI } else { Register::RSI };
            advanced(binary, entry, vaddr, register).map(|n| n.wrapping_add(start))
        }
        _ => None,
    };
    match *what {
        What::Elem(call) => Some(Target::Elem { call, off }),
        What::Key(call) => Some(Target::Key { call, off }),
        _ => None,
    }
}

/// How far straight-line code from `entry` to `vaddr` has advanced a pointer register.
fn advanced(binary: &Binary, entry: u64, vaddr: u64, register: Register) -> Option<i64> {
    let len = usize::try_from(vaddr.checked_sub(entry)?).ok()?;
    let bytes = binary.program.bytes(entry, len)?;
    let mut decoder = Decoder::with_ip(64, bytes, entry, DecoderOptions::NONE);
    let mut sum = 0i64;
    while decoder.can_decode() {
        let ins = decoder.decode();
        let adds = ins.mnemonic() == Mnemonic::Add
            && ins.op0_kind() == OpKind::Register
            && ins.op0_register() == register
            && ins.op1_kind() != OpKind::Register
            && ins.op1_kind() != OpKind::Memory;
        if adds {
            sum = sum.wrapping_add(ins.immediate(1) as i64);
        }
    }
    Some(sum)
}
