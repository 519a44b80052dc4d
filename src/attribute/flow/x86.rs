//! What one x86-64 instruction does to the abstract state, and which memory it touches.

use super::handed::Handed;
use super::machine::{Machine, Operand};
use super::state::{RBP, RSP, State};
use super::value::{Area, Areas, Expr, Value, What};
use crate::gomap::Structure;
use iced_x86::{
    Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register, UsedMemory,
};

fn writes(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

/// The number of a general register, whatever its width.
pub fn number_of(register: Register) -> Option<usize> {
    let full = register.full_register();
    full.is_gpr64().then(|| full.number())
}

/// The registers that an instruction writes, bit for bit.
pub(super) fn x86_written(info: &mut InstructionInfoFactory, instruction: &Instruction) -> u32 {
    let used = info.info(instruction).used_registers().iter();
    let written = used.filter(|used| writes(used.access()));
    let written = written.filter_map(|used| number_of(used.register()));
    written.fold(0, |bits, r| bits | 1 << r)
}

/// The register that an instruction makes a copy of another, and that.
pub(super) fn x86_copied(instruction: &Instruction) -> Option<(usize, usize)> {
    let moves = instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Register
        && instruction.op1_kind() == OpKind::Register
        && instruction.op0_register().size() == 8;
    let of = |op| number_of(instruction.op_register(op)).filter(|_| moves);
    of(0).zip(of(1))
}

impl Machine<'_> {
    fn reg(&self, state: &State, register: Register) -> Value {
        number_of(register).map_or(Value::UNKNOWN, |r| state.regs[r])
    }

    /// The address that a memory operand names.
    fn address(
        &self,
        state: &State,
        base: Register,
        index: Register,
        scale: u32,
        displacement: u64,
    ) -> Value {
        if base == Register::RIP || base == Register::EIP {
            return Value::constant(displacement as i64);
        }
        let mut value = Value::constant(displacement as i64);
        if base != Register::None {
            value = self.reg(state, base).add(&value);
        }
        if index != Register::None {
            let index = self.reg(state, index);
            let scaled = Value {
                expr: index.number_expr().scale(i64::from(scale)),
                ..Value::ANY_NUMBER
            };
            // `[reg + ptr*1]`: either register may be the pointer.
            value = match index.what {
                What::Number | What::DirLen | What::Unknown | What::Loaded => {
                    value.add(&scaled).indexed_by(scale)
                }
                _ if scale == 1 => value.add(&index),
                _ => Value::UNKNOWN,
            };
        }
        value
    }

    fn explicit_address(&self, state: &State, instruction: &Instruction) -> Value {
        self.address(
            state,
            instruction.memory_base(),
            instruction.memory_index(),
            instruction.memory_index_scale(),
            instruction.memory_displacement64(),
        )
    }

    /// The memory operands of `instruction` that are not in the function's own frame.
    pub(super) fn x86_operands(
        &mut self,
        state: &State,
        instruction: &Instruction,
    ) -> Vec<Operand> {
        if matches!(instruction.mnemonic(), Mnemonic::Lea | Mnemonic::Nop) {
            return Vec::new();
        }
        let nil_check = instruction.mnemonic() == Mnemonic::Test
            && instruction.memory_size().size() == 1
            && instruction.op1_register() == Register::AL;
        let stores =
            instruction.mnemonic() == Mnemonic::Mov && instruction.op0_kind() == OpKind::Memory;
        let stored = stores
            .then(|| self.source(state, instruction, 1, 0))
            .filter(|value| value.what == What::Number)
            .and_then(|value| value.expr.as_constant())
            .map(|c| c as u64);
        let used: Vec<UsedMemory> = self.info.info(instruction).used_memory().to_vec();
        used.iter()
            .filter_map(|memory| {
                if matches!(memory.segment(), Register::FS | Register::GS) {
                    return None;
                }
                let value = self.address(
                    state,
                    memory.base(),
                    memory.index(),
                    memory.scale(),
                    memory.displacement(),
                );
                let (read, write) = match memory.access() {
                    OpAccess::Read | OpAccess::CondRead => (true, false),
                    OpAccess::Write | OpAccess::CondWrite => (false, true),
                    OpAccess::ReadWrite | OpAccess::ReadCondWrite => (true, true),
                    _ => return None,
                };
                let size = memory.memory_size().size() as u32;
                let start = self.reg(state, memory.base());
                let indexed = memory.index() != Register::None
                    && matches!(start.what, What::At(_))
                    && start.area == Area::Start;
                let unindexed = start
                    .expr
                    .as_constant()
                    .filter(|_| indexed)
                    .map(|off| off.wrapping_add(memory.displacement() as i64));
                let plain = memory.index() == Register::None;
                Some(Operand {
                    stored,
                    base: plain.then_some((start, memory.displacement() as i64)),
                    unindexed,
                    value,
                    size,
                    read,
                    write,
                    nil_check,
                })
            })
            .collect()
    }

    /// The value of operand `op`: a register, an immediate, or what memory holds.
    fn source(&self, state: &State, instruction: &Instruction, op: u32, origin: u32) -> Value {
        match instruction.op_kind(op) {
            OpKind::Register => {
                let register = instruction.op_register(op);
                let value = self.reg(state, register);
                match register.size() {
                    8 => value,
                    4 if matches!(value.what, What::Number | What::DirLen) => value,
                    _ => Value::ANY_NUMBER,
                }
            }
            OpKind::Memory => {
                let address = self.explicit_address(state, instruction);
                self.load(
                    state,
                    &address,
                    instruction.memory_size().size() as u32,
                    origin,
                )
            }
            _ => Value::constant(instruction.immediate(op) as i64),
        }
    }

    /// Writes operand 0.
    fn set(&self, state: &mut State, instruction: &Instruction, value: Value, origin: u32) {
        match instruction.op0_kind() {
            OpKind::Register => {
                let register = instruction.op0_register();
                let Some(r) = number_of(register) else { return };
                let kept = match register.size() {
                    8 => value,
                    4 if value.what == What::Number || value.what == What::DirLen => value,
                    _ => Value::ANY_NUMBER,
                };
                self.set_reg(state, r, kept, origin);
            }
            OpKind::Memory => {
                let address = self.explicit_address(state, instruction);
                let size = instruction.memory_size().size() as u32;
                self.store(state, &address, size, Some(value));
            }
            _ => {}
        }
    }

    /// Applies one instruction that is no jump and no call. `origin` is the identity of what it
    /// defines.
    pub(super) fn x86_step(&mut self, state: &mut State, instruction: &Instruction, origin: u32) {
        use Mnemonic::*;
        let mnemonic = instruction.mnemonic();
        let compared_dir_len = self.compares_dir_len(state, instruction);
        match mnemonic {
            Mov | Movzx | Movsx | Movsxd => {
                if instruction.op1_kind() == OpKind::Register
                    && instruction.op1_register().is_segment_register()
                {
                    self.clobber_written(state, instruction);
                } else {
                    let value = self.source(state, instruction, 1, origin);
                    self.set(state, instruction, value, origin);
                    self.hand_out(state, instruction);
                }
            }
            Lea => {
                let mut value = self.explicit_address(state, instruction);
                if value.what == What::Unknown {
                    value = Value {
                        expr: value.expr,
                        ..Value::UNKNOWN
                    };
                }
                self.set(state, instruction, value, origin);
            }
            Add => self.binary(state, instruction, origin, |a, b| a.add(&b)),
            Sub => self.binary(state, instruction, origin, |a, b| match b.what {
                What::Number => a.add(&Value::number(Expr {
                    stride: b.expr.stride,
                    ..b.expr.scale(-1)
                })),
                _ => Value::ANY_NUMBER,
            }),
            Inc | Dec => {
                let by = Value::constant(if mnemonic == Inc { 1 } else { -1 });
                let value = self.source(state, instruction, 0, origin).add(&by);
                self.set(state, instruction, value, origin);
            }
            Imul if instruction.op_count() == 3 => {
                let a = self.source(state, instruction, 1, origin).number_expr();
                let b = self.source(state, instruction, 2, origin).number_expr();
                self.set(state, instruction, Value::number(a.mul(&b)), origin);
            }
            Imul if instruction.op_count() == 2 => {
                self.binary(state, instruction, origin, |a, b| {
                    Value::number(a.number_expr().mul(&b.number_expr()))
                });
            }
            Shl | Sal => self.binary(state, instruction, origin, |a, b| {
                match (a.what, b.expr.as_constant()) {
                    (What::Number | What::Unknown, Some(n @ 0..=32)) => {
                        Value::number(a.number_expr().scale(1 << n))
                    }
                    _ => Value::ANY_NUMBER,
                }
            }),
            And => self.binary(state, instruction, origin, |a, b| {
                let mask = b.expr.as_constant().or(a.expr.as_constant());
                match mask {
                    Some(mask) if mask != 0 => Value::number(Expr {
                        stride: 1 << mask.trailing_zeros().min(16),
                        ..Expr::constant(0)
                    }),
                    _ => Value::ANY_NUMBER,
                }
            }),
            Xor if instruction.op0_kind() == OpKind::Register
                && instruction.op1_kind() == OpKind::Register
                && instruction.op0_register() == instruction.op1_register() =>
            {
                self.set(state, instruction, Value::constant(0), origin);
            }
            Push => {
                let value = self.source(state, instruction, 0, origin);
                let sp = state.regs[RSP].add(&Value::constant(-8));
                state.regs[RSP] = sp;
                self.store(state, &sp, 8, Some(value));
            }
            Pop => {
                let sp = state.regs[RSP];
                let value = self.load(state, &sp, 8, origin);
                state.regs[RSP] = sp.add(&Value::constant(8));
                self.set(state, instruction, value, origin);
            }
            Leave => {
                let frame = state.regs[RBP];
                state.regs[RBP] = self.load(state, &frame, 8, origin);
                state.regs[RSP] = frame.add(&Value::constant(8));
            }
            _ if instruction.condition_code() != iced_x86::ConditionCode::None
                && instruction.op0_kind() == OpKind::Register
                && instruction.op_count() == 2 =>
            {
                self.binary(state, instruction, origin, |a, b| {
                    a.join(&b, || origin, &Areas::default())
                });
            }
            Cmp | Test | Nop | Bt | Ucomisd | Ucomiss | Prefetchnta | Prefetcht0 => {}
            _ => self.clobber_written(state, instruction),
        }
        if let Some(compared) = compared_dir_len {
            state.compared_dir_len = compared;
        }
        if let Some(handed) = &mut state.handed {
            let written = x86_written(&mut self.info, instruction);
            handed.wrote(written, x86_copied(instruction));
        }
    }

    /// Notes that map code stores a key or an elem in an iterator, which has them first in all versions.
    fn hand_out(&self, state: &mut State, instruction: &Instruction) {
        let stores = instruction.op0_kind() == OpKind::Memory && self.map_code;
        let from = match instruction.op1_kind() {
            OpKind::Register if stores => number_of(instruction.op1_register()),
            _ => None,
        };
        let Some(from) = from else { return };
        let address = self.explicit_address(state, instruction);
        if address.what != What::At(Structure::Iter) {
            return;
        }
        match address.expr.as_constant() {
            Some(0) => state.handed = Some(Handed::key(state, from)),
            Some(8) => {
                if let Some(mut handed) = state.handed {
                    handed.elem(state, from);
                    state.handed = Some(handed);
                }
            }
            _ => {}
        }
    }

    fn binary(
        &self,
        state: &mut State,
        instruction: &Instruction,
        origin: u32,
        combine: impl Fn(Value, Value) -> Value,
    ) {
        let a = self.source(state, instruction, 0, origin);
        let b = self.source(state, instruction, 1, origin);
        let mut value = combine(a, b);
        if let What::At(Structure::Bucket | Structure::Group) = value.what
            && value.what != a.what
            && value.what != b.what
        {
            value.origin = origin;
        }
        self.set(state, instruction, value, origin);
    }

    /// Forgets every register and frame slot that the instruction writes.
    fn clobber_written(&mut self, state: &mut State, instruction: &Instruction) {
        let info = self.info.info(instruction);
        let registers: Vec<Register> = info
            .used_registers()
            .iter()
            .filter(|used| writes(used.access()))
            .map(|used| used.register())
            .collect();
        let memory: Vec<UsedMemory> = info
            .used_memory()
            .iter()
            .filter(|used| writes(used.access()))
            .copied()
            .collect();
        for used in memory {
            let address = self.address(
                state,
                used.base(),
                used.index(),
                used.scale(),
                used.displacement(),
            );
            self.store(
                state,
                &address,
                (used.memory_size().size() as u32).max(8),
                None,
            );
        }
        for register in registers {
            if let Some(r) = number_of(register)
                && r != RSP
            {
                state.regs[r] = Value::ANY_NUMBER;
            }
        }
    }

    /// `Some(true)` for a comparison of `Map.dirLen` with 0, `Some(false)` for whatever else writes
    /// the flags.
    fn compares_dir_len(&self, state: &State, instruction: &Instruction) -> Option<bool> {
        if instruction.rflags_modified() == 0 {
            return None;
        }
        let is_dir_len = |op| self.source(state, instruction, op, 0).what == What::DirLen;
        Some(match instruction.mnemonic() {
            Mnemonic::Cmp => {
                let zero = instruction.op1_kind() != OpKind::Register
                    && instruction.op1_kind() != OpKind::Memory
                    && instruction.immediate(1) == 0;
                zero && is_dir_len(0)
            }
            Mnemonic::Test => is_dir_len(0) && is_dir_len(1),
            _ => false,
        })
    }
}
