//! Registers and stack slots at one point of a function.

use super::handed::Handed;
use super::signature::Signature;
use super::value::{Areas, Value, What};
use crate::gomap::Structure;
use std::collections::BTreeMap;

/// General registers that a state has room for: 16 of x86-64 by their hardware number (RAX 0, RCX 1,
/// RDX 2, RBX 3, RSP 4, ...), X0 to X30 and the stack pointer of arm64.
pub const REGS: usize = 32;
pub const RSP: usize = 4;
pub const RBP: usize = 5;
/// DX has the closure that is called, on x86-64 (`cmd/compile/abi-internal.md`).
pub const CONTEXT: usize = 2;

/// Go's register ABI on one architecture (`cmd/compile/abi-internal.md`), and perf's numbers of its
/// registers.
#[derive(Debug, PartialEq, Eq)]
pub struct Abi {
    /// Integer arguments, and results, in order.
    pub args: &'static [usize],
    pub sp: usize,
    /// The register that holds g, the running goroutine.
    pub g: usize,
    /// What a call leaves as it is: stack pointer, frame pointer, g.
    pub kept: &'static [usize],
    /// Bytes that a call instruction pushes.
    pub call_pushes: i64,
    /// Where `gcWriteBarrierN` returns its buffer.
    pub write_barrier: usize,
    /// Source and destination of `duffcopy`, which it advances.
    pub duff: [usize; 2],
    /// By register: perf's number (`arch/*/include/uapi/asm/perf_regs.h`).
    pub perf: &'static [u32],
    /// By register: Go's name.
    pub names: &'static [&'static str],
}

/// Arguments in AX, BX, CX, DI, SI, R8, R9, R10, R11; g in R14.
pub const X86_64: Abi = Abi {
    args: &[0, 3, 1, 7, 6, 8, 9, 10, 11],
    sp: RSP,
    g: 14,
    kept: &[RSP, RBP, 14],
    call_pushes: 8,
    write_barrier: 11,
    duff: [6, 7],
    perf: &[0, 2, 3, 1, 7, 6, 4, 5, 16, 17, 18, 19, 20, 21, 22, 23],
    names: &[
        "AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI", "R8", "R9", "R10", "R11", "R12", "R13",
        "R14", "R15",
    ],
};

/// Arguments in R0 to R15; g in R28.
pub const ARM64: Abi = Abi {
    args: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    sp: 31,
    g: 28,
    kept: &[18, 28, 29, 31],
    call_pushes: 0,
    write_barrier: 25,
    duff: [20, 21],
    perf: &[
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
        25, 26, 27, 28, 29, 30, 31,
    ],
    names: &[
        "R0", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12", "R13",
        "R14", "R15", "R16", "R17", "R18", "R19", "R20", "R21", "R22", "R23", "R24", "R25", "R26",
        "R27", "R28", "R29", "R30", "RSP",
    ],
};

#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub regs: [Value; REGS],
    /// 8-byte slots by their offset from the stack pointer at entry.
    pub stack: BTreeMap<i64, Value>,
    /// Whether `Map.dirLen == 0` holds, as far as branches tell.
    pub small: Option<bool>,
    /// The flags come from a comparison of `Map.dirLen` with 0.
    pub compared_dir_len: bool,
    /// The key or the elem that was handed out last, and what registers still say of it.
    pub handed: Option<Handed>,
}

/// Identity of an object that two paths bring to a join.
pub const JOINED: u32 = 1 << 31;

impl State {
    /// The arguments of any function: told apart by their origins.
    pub fn at_entry(abi: &Abi) -> State {
        let mut state = State::unknown();
        for (i, &reg) in abi.args.iter().enumerate() {
            state.regs[reg] = Value::loaded(1 + i as u32);
        }
        state.regs[abi.sp] = Value::stack(0);
        state.regs[abi.g] = Value::at(Structure::Other, 0);
        state
    }

    /// The arguments of a function that touches memory for others: pointers, told apart by their
    /// origins however far they advance.
    pub fn of_pointers(abi: &Abi) -> State {
        let mut state = State::at_entry(abi);
        for (i, &reg) in abi.args.iter().enumerate() {
            state.regs[reg] = Value::at(Structure::Other, 1 + i as u32);
        }
        state
    }

    /// The arguments of a map function.
    pub fn of_map_function(signature: &Signature, abi: &Abi) -> State {
        let mut state = State::at_entry(abi);
        state.small = signature.small.then_some(true);
        for (i, (reg, structure)) in abi.args.iter().zip(signature.args).enumerate() {
            if let Some(structure) = structure {
                state.regs[*reg] = Value::at(*structure, 1 + i as u32);
            }
        }
        state.regs[abi.args[0]].expr.c = signature.receiver_off;
        state
    }

    /// Forgets which object every value is that joins in blocks from this one on made.
    pub fn forget_joined_from(&mut self, block: u32) {
        for value in self.regs.iter_mut().chain(self.stack.values_mut()) {
            if value.origin & JOINED != 0 && (value.origin & !JOINED) >> 12 >= block {
                value.origin = 0;
            }
        }
    }

    /// A place that the flow did not reach, as behind a jump table.
    pub fn unknown() -> State {
        State {
            regs: [Value::UNKNOWN; REGS],
            stack: BTreeMap::new(),
            small: None,
            compared_dir_len: false,
            handed: None,
        }
    }

    /// Forgets which slot every value with this number is of: another pointer gets it.
    pub fn forget_slot(&mut self, slot: u32) {
        for value in self.regs.iter_mut().chain(self.stack.values_mut()) {
            if value.slot == slot {
                value.slot = 0;
            }
        }
    }

    /// Forgets which object every value with this origin is: its definition runs again.
    pub fn forget_origin(&mut self, origin: u32) {
        for value in self.regs.iter_mut().chain(self.stack.values_mut()) {
            if value.origin == origin {
                value.origin = 0;
            }
        }
    }

    /// Stores `value` in a slot; slots that overlap it are gone.
    pub fn store(&mut self, off: i64, size: u32, value: Option<Value>) {
        let end = off.saturating_add(i64::from(size));
        let overlapping: Vec<i64> = self
            .stack
            .range(off.saturating_sub(7)..end)
            .map(|(&o, _)| o)
            .collect();
        for o in overlapping {
            self.stack.remove(&o);
        }
        if let Some(value) = value
            && size == 8
        {
            self.stack.insert(off, value);
        }
    }

    /// Settles what `Map.dirPtr` points to, for every value loaded from it.
    pub fn settle_small(&mut self, small: bool) {
        self.small = Some(small);
        let settled = if small {
            Structure::Group
        } else {
            Structure::Directory
        };
        for value in self.regs.iter_mut().chain(self.stack.values_mut()) {
            if value.what == What::At(Structure::DirPtr) {
                value.what = What::At(settled);
            }
        }
    }

    /// Merges `other` into this state at the start of `block`; whether anything changed.
    pub fn join(&mut self, other: &State, block: u32, areas: &Areas) -> bool {
        let mut changed = false;
        let mut merged: Vec<((u32, u32), u32)> = Vec::new();
        let mut origin_of = |place: u32, a: u32, b: u32| -> u32 {
            if a == 0 || b == 0 {
                return 0;
            }
            if let Some((_, id)) = merged.iter().find(|(pair, _)| *pair == (a, b)) {
                return *id;
            }
            let of_this_block = a & JOINED != 0 && a >> 12 == (JOINED | block << 12) >> 12;
            let taken = merged.iter().any(|(_, id)| *id == a);
            let id = if of_this_block && !taken {
                a
            } else {
                JOINED | block << 12 | place & 0xfff
            };
            merged.push(((a, b), id));
            id
        };
        for r in 0..REGS {
            let (a, b) = (self.regs[r], other.regs[r]);
            let new = a.join(&b, || origin_of(r as u32, a.origin, b.origin), areas);
            changed |= new != a;
            self.regs[r] = new;
        }
        let slots: Vec<i64> = self.stack.keys().copied().collect();
        for off in slots {
            let a = self.stack[&off];
            let new = match other.stack.get(&off) {
                Some(b) => {
                    let place = REGS as u32 + (off / 8).unsigned_abs() as u32;
                    a.join(b, || origin_of(place, a.origin, b.origin), areas)
                }
                None => Value::UNKNOWN,
            };
            if new.what == What::Unknown {
                self.stack.remove(&off);
                changed = true;
            } else if new != a {
                self.stack.insert(off, new);
                changed = true;
            }
        }
        let handed = Handed::join(self.handed, other.handed);
        changed |= handed != self.handed;
        self.handed = handed;
        if self.small.is_some() && self.small != other.small {
            self.small = None;
            changed = true;
        }
        if self.compared_dir_len && !other.compared_dir_len {
            self.compared_dir_len = false;
            changed = true;
        }
        changed
    }
}
