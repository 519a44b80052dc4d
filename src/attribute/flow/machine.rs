//! What instructions of either architecture do to the abstract state in common: loads, stores, calls.

use super::instruction::Instruction;
use super::state::{Abi, State};
use super::value::{Area, Areas, Expr, HERE, Value, What};
use super::x86::x86_written;
use crate::gomap::{Holds, Layout, Size, Structure};
use iced_x86::InstructionInfoFactory;

/// A memory operand of an instruction, as the flow sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operand {
    /// The address.
    pub value: Value,
    /// Bytes; 0 when the instruction does not say.
    pub size: u32,
    pub read: bool,
    pub write: bool,
    /// What the base register holds, and the displacement, where no index is added.
    pub base: Option<(Value, i64)>,
    /// `test al, [reg]`, `ldrsb x27, [reg]`: Go's nil check, a one-byte read at the address.
    pub nil_check: bool,
    /// What a store writes, where the code tells.
    pub stored: Option<u64>,
    /// With an index register: how far the base register and the displacement alone point into the
    /// structure.
    pub unindexed: Option<i64>,
}

/// The transfer function of one function's code.
pub struct Machine<'a> {
    pub layout: &'a Layout,
    pub areas: Areas,
    /// Map code: slots of an array on the stack may be chosen at run time (`evacuate`'s `xy`).
    pub map_code: bool,
    pub(super) abi: &'static Abi,
    pub(super) info: InstructionInfoFactory,
}

impl<'a> Machine<'a> {
    pub fn new(layout: &'a Layout, areas: Areas, map_code: bool, abi: &'static Abi) -> Machine<'a> {
        Machine {
            layout,
            areas,
            map_code,
            abi,
            info: InstructionInfoFactory::new(),
        }
    }

    /// The memory operands of `instruction`.
    pub fn operands(&mut self, state: &State, instruction: &Instruction) -> Vec<Operand> {
        match instruction {
            Instruction::X86(instruction) => self.x86_operands(state, instruction),
            Instruction::Arm64(instruction) => self.arm64_operands(state, instruction),
        }
    }

    /// Applies one instruction that is no jump and no call. `origin` is the identity of what it
    /// defines.
    pub fn step(&mut self, state: &mut State, instruction: &Instruction, origin: u32) {
        match instruction {
            Instruction::X86(instruction) => self.x86_step(state, instruction, origin),
            Instruction::Arm64(instruction) => self.arm64_step(state, instruction, origin),
        }
    }

    /// What a load of `size` bytes from `address` yields.
    pub(super) fn load(&self, state: &State, address: &Value, size: u32, origin: u32) -> Value {
        match address.what {
            What::Stack => self.load_stack(state, &address.expr, size),
            What::At(structure) => self.load_field(state, structure, address, size, origin),
            What::Number if size == 8 => match address.expr.as_constant() {
                Some(c) => Value {
                    what: What::Global(c as u64),
                    expr: Expr::constant(0),
                    origin,
                    ..Value::UNKNOWN
                },
                None => Value::UNKNOWN,
            },
            _ if size < 8 => Value::ANY_NUMBER,
            // Which object it is may still be told: by a map call that it is handed to.
            _ => Value::loaded(origin),
        }
    }

    fn load_stack(&self, state: &State, off: &Expr, size: u32) -> Value {
        if size != 8 {
            return Value::ANY_NUMBER;
        }
        if let Some(off) = off.as_constant() {
            return state.stack.get(&off).copied().unwrap_or(Value::UNKNOWN);
        }
        let mut slots = self
            .chosen_slots(state, off)
            .into_iter()
            .map(|o| state.stack[&o]);
        let Some(first) = slots.next() else {
            return Value::UNKNOWN;
        };
        slots.fold(first, |all, value| all.join(&value, || 0, &self.areas))
    }

    /// The slots that an index into an array on the stack can choose.
    fn chosen_slots(&self, state: &State, off: &Expr) -> Vec<i64> {
        let stride = i64::from(off.stride);
        if !self.map_code || stride < 8 || off.indexed != 0 || off.sizes != [0; 10] {
            return Vec::new();
        }
        let end = off.c.saturating_add(2 * stride);
        let chosen = |o: &i64| (*o - off.c) % stride == 0;
        state
            .stack
            .range(off.c..end)
            .map(|(&o, _)| o)
            .filter(chosen)
            .collect()
    }

    fn load_field(
        &self,
        state: &State,
        structure: Structure,
        address: &Value,
        size: u32,
        origin: u32,
    ) -> Value {
        use Structure::*;
        let pointer = |structure| Value::at(structure, origin);
        match structure {
            Bucket | Buckets | OldBuckets if size == 8 => {
                match self.areas.of_access(address, Some(size)) {
                    Area::Overflow => pointer(Bucket),
                    area => self.out_of_slot(area, address.slot),
                }
            }
            Group | Groups if size == 8 => {
                self.out_of_slot(self.areas.of_access(address, Some(size)), address.slot)
            }
            Directory if size == 8 => pointer(Table),
            DirPtr if size == 8 && is_directory_entry(&address.expr) => pointer(Table),
            _ => {
                let off = address
                    .expr
                    .as_constant()
                    .and_then(|c| u64::try_from(c).ok());
                let field = off.and_then(|off| {
                    let field = self.layout.field_at(structure, off)?;
                    (field.off == off && field.size == u64::from(size)).then_some(field)
                });
                match field.map(|f| f.holds) {
                    Some(Holds::Pointer(DirPtr)) => pointer(match state.small {
                        Some(true) => Group,
                        Some(false) => Directory,
                        None => DirPtr,
                    }),
                    Some(Holds::Pointer(Other)) | None if size == 8 => Value::UNKNOWN,
                    // A type's own: of a key's type, what compares keys.
                    Some(Holds::Pointer(Funcval)) if structure == Rtype => Value {
                        area: Area::Key,
                        ..pointer(Funcval)
                    },
                    Some(Holds::Pointer(to)) => pointer(to),
                    Some(Holds::Size(size)) => Value::number(Expr::size(size)),
                    Some(Holds::DirLen) => Value {
                        what: What::DirLen,
                        ..Value::ANY_NUMBER
                    },
                    _ => Value::ANY_NUMBER,
                }
            }
        }
    }

    /// What a load of 8 bytes from this area of a bucket or group yields: where keys and elems may lie
    /// outside of their slots, which code for keys of one size does not handle, the pointer to one.
    fn out_of_slot(&self, area: Area, slot: u32) -> Value {
        let what = match area {
            Area::Key if self.areas.key_size.is_none() => What::Key(HERE),
            Area::Elem if self.areas.key_size.is_none() => What::Elem(HERE),
            _ => return Value::UNKNOWN,
        };
        Value {
            what,
            expr: Expr::constant(0),
            slot,
            ..Value::UNKNOWN
        }
    }

    pub(super) fn store(
        &self,
        state: &mut State,
        address: &Value,
        size: u32,
        value: Option<Value>,
    ) {
        if address.what != What::Stack {
            return;
        }
        match address.expr.as_constant() {
            Some(off) => state.store(off, size, value),
            None => {
                for off in self.chosen_slots(state, &address.expr) {
                    let old = state.stack[&off];
                    let new = value.map_or(Value::UNKNOWN, |v| old.join(&v, || 0, &self.areas));
                    state.stack.insert(off, new);
                }
            }
        }
    }

    pub(super) fn set_reg(&self, state: &mut State, r: usize, mut value: Value, origin: u32) {
        if value.origin == 0 && matches!(value.what, What::At(_)) {
            value.origin = origin;
        }
        if value.origin == origin {
            state.forget_origin(origin);
        }
        if value.slot == 0 && value.is_in_slot() {
            value.slot = origin;
        }
        if value.slot == origin {
            state.forget_slot(origin);
        }
        state.regs[r] = value;
    }

    /// The state after a call: only the stack, frame and g registers survive, and what `results`
    /// says.
    pub fn after_call(&self, state: &mut State, results: &[Value], origin: u32) {
        state.forget_origin(origin);
        for r in 0..state.regs.len() {
            if !self.abi.kept.contains(&r) {
                state.regs[r] = Value::UNKNOWN;
            }
        }
        state.forget_slot(origin);
        for (r, value) in self.abi.args.iter().zip(results) {
            // A key and an elem that are returned together are those of one slot.
            let slot = if value.is_in_slot() { origin } else { 0 };
            state.regs[*r] = Value {
                origin,
                slot,
                ..*value
            };
        }
    }

    /// `gcWriteBarrierN` keeps all registers but the one that it returns the buffer in.
    pub fn after_write_barrier(&self, state: &mut State) {
        state.regs[self.abi.write_barrier] = Value::at(Structure::Other, 0);
    }
}

/// `dirPtr + 8*i`: an entry of a directory. A small map's slots are addressed by sizes from the
/// type descriptor.
pub fn is_directory_entry(expr: &Expr) -> bool {
    expr.stride != 0
        && expr.stride.is_multiple_of(8)
        && expr.indexed == 0
        && expr.c % 8 == 0
        && expr.sizes == [0; 10]
        && expr.coefficient(Size::Slot) == 0
}

/// The registers that instructions write, bit for bit.
pub fn written(code: &[Instruction]) -> u32 {
    let mut info = InstructionInfoFactory::new();
    let of = |ins: &Instruction| match ins {
        Instruction::X86(ins) => x86_written(&mut info, ins),
        // No sample of arm64 has sound registers.
        Instruction::Arm64(_) => u32::MAX,
    };
    code.iter().map(of).fold(0, |all, written| all | written)
}
