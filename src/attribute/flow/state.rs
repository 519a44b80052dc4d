//! Registers and stack slots at one point of a function.

use super::signature::Signature;
use super::value::{Areas, Value, What};
use crate::gomap::Structure;
use std::collections::BTreeMap;

/// The 16 general registers by their hardware number (RAX 0, RCX 1, RDX 2, RBX 3, RSP 4, ...).
pub const RSP: usize = 4;
pub const RBP: usize = 5;
pub const R11: usize = 11;
pub const R14: usize = 14;
/// Go's integer argument registers in order: AX, BX, CX, DI, SI, R8, R9, R10, R11.
pub const ARGS: [usize; 9] = [0, 3, 1, 7, 6, 8, 9, 10, 11];

#[derive(Debug, Clone, PartialEq)]
pub struct State {
    pub regs: [Value; 16],
    /// 8-byte slots by their offset from the stack pointer at entry.
    pub stack: BTreeMap<i64, Value>,
    /// Whether `Map.dirLen == 0` holds, as far as branches tell.
    pub small: Option<bool>,
    /// The flags come from a comparison of `Map.dirLen` with 0.
    pub compared_dir_len: bool,
}

/// Identity of an object that two paths bring to a join.
pub const JOINED: u32 = 1 << 31;

impl State {
    /// The arguments of any function: told apart by their origins.
    pub fn at_entry() -> State {
        let mut state = State::unknown();
        for (i, &reg) in ARGS.iter().enumerate() {
            state.regs[reg] = Value::loaded(1 + i as u32);
        }
        state.regs[RSP] = Value::stack(0);
        state
    }

    /// The arguments of a map function.
    pub fn of_map_function(signature: &Signature) -> State {
        let mut state = State::at_entry();
        state.small = signature.small.then_some(true);
        for (i, (reg, structure)) in ARGS.iter().zip(signature.args).enumerate() {
            if let Some(structure) = structure {
                state.regs[*reg] = Value::at(*structure, 1 + i as u32);
            }
        }
        state.regs[ARGS[0]].expr.c = signature.receiver_off;
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
            regs: [Value::UNKNOWN; 16],
            stack: BTreeMap::new(),
            small: None,
            compared_dir_len: false,
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
        for r in 0..16 {
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
                    let place = 16 + (off / 8).unsigned_abs() as u32;
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
