//! The simple instructions of map code, executed in the recorder: most of what a map call does is to
//! load, compare and jump, and a step of the real thread costs a hundred times as much.
//!
//! Left to the thread itself is whatever other threads could see torn or out of order (stores outside
//! of its own stack, locked instructions) and whatever this file does not know in full. A thread's
//! stack is read by others, the collector among them, only while the thread stands still.
//!
//! Source: Intel SDM volume 2, the operation and flags sections of each instruction.

use super::ptrace::Registers;
use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, Register, RflagsBits};

const CF: u64 = 1;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;
/// The status flags.
pub const STATUS: u64 = CF | PF | AF | ZF | SF | OF;

/// What an instruction makes of registers and memory.
#[derive(Debug, Clone, Copy)]
pub struct Effect {
    pub registers: Registers,
    /// To the thread's own stack.
    pub write: Option<Write>,
}

/// Bytes that are stored, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    pub addr: u64,
    pub bytes: [u8; 8],
    pub len: usize,
}

/// Executes one instruction; `load` reads so many bytes at an address. `None`: the thread must do it.
pub fn execute(
    instruction: &Instruction,
    before: &Registers,
    load: impl Fn(u64, usize) -> Option<u64>,
) -> Option<Effect> {
    if instruction.has_lock_prefix()
        || instruction.has_rep_prefix()
        || instruction.has_repne_prefix()
        || instruction.segment_prefix() != Register::None
    {
        return None;
    }
    let mut machine = Machine {
        instruction,
        registers: *before,
        write: None,
        load,
    };
    machine.registers.rip = instruction.next_ip();
    machine.run()?;
    Some(Effect {
        registers: machine.registers,
        write: machine.write,
    })
}

/// The status flags that the instruction leaves undefined.
pub fn undefined(instruction: &Instruction) -> u64 {
    let bits = instruction.rflags_undefined();
    [
        (RflagsBits::CF, CF),
        (RflagsBits::PF, PF),
        (RflagsBits::AF, AF),
        (RflagsBits::ZF, ZF),
        (RflagsBits::SF, SF),
        (RflagsBits::OF, OF),
    ]
    .into_iter()
    .filter(|(bit, _)| bits & bit != 0)
    .fold(0, |all, (_, flag)| all | flag)
}

struct Machine<'a, L> {
    instruction: &'a Instruction,
    registers: Registers,
    write: Option<Write>,
    load: L,
}

/// A value's bits of this many bytes.
fn mask(size: usize) -> u64 {
    match size {
        8.. => u64::MAX,
        _ => (1 << (8 * size)) - 1,
    }
}

fn sign(value: u64, size: usize) -> bool {
    value >> (8 * size - 1) & 1 == 1
}

fn extended(value: u64, size: usize) -> i64 {
    let unused = 64 - 8 * size as u32;
    (value << unused) as i64 >> unused
}

/// PF, ZF and SF of a result.
fn result_flags(result: u64, size: usize) -> u64 {
    let even = (result as u8).count_ones().is_multiple_of(2);
    let flag = |is: bool, flag| if is { flag } else { 0 };
    flag(even, PF) | flag(result & mask(size) == 0, ZF) | flag(sign(result, size), SF)
}

impl<L: Fn(u64, usize) -> Option<u64>> Machine<'_, L> {
    fn run(&mut self) -> Option<()> {
        use Mnemonic as M;
        let instruction = self.instruction;
        match instruction.mnemonic() {
            M::Nop => {}
            M::Mov => {
                let value = self.value(1)?;
                self.set(0, value)?;
            }
            M::Movzx => {
                let value = self.value(1)?;
                self.set(0, value)?;
            }
            M::Movsx | M::Movsxd => {
                let value = extended(self.value(1)?, self.size(1)?);
                self.set(0, value as u64)?;
            }
            M::Lea => {
                let addr = self.address()?;
                self.set(0, addr)?;
            }
            M::Add | M::Adc => {
                let carry = u64::from(instruction.mnemonic() == M::Adc && self.flag(CF));
                self.arithmetic(|a, b, size| sum(a, b, carry, size), true)?;
            }
            M::Sub | M::Sbb | M::Cmp => {
                let borrow = u64::from(instruction.mnemonic() == M::Sbb && self.flag(CF));
                let kept = instruction.mnemonic() != M::Cmp;
                self.arithmetic(|a, b, size| difference(a, b, borrow, size), kept)?;
            }
            M::And => self.arithmetic(|a, b, size| logic(a & b, size), true)?,
            M::Or => self.arithmetic(|a, b, size| logic(a | b, size), true)?,
            M::Xor => self.arithmetic(|a, b, size| logic(a ^ b, size), true)?,
            M::Test => self.arithmetic(|a, b, size| logic(a & b, size), false)?,
            M::Inc | M::Dec => {
                let (a, size) = (self.value(0)?, self.size(0)?);
                let (result, flags) = match instruction.mnemonic() {
                    M::Inc => sum(a, 1, 0, size),
                    _ => difference(a, 1, 0, size),
                };
                self.set(0, result)?;
                self.set_flags(STATUS & !CF, flags);
            }
            M::Neg => {
                let (a, size) = (self.value(0)?, self.size(0)?);
                let (result, flags) = difference(0, a, 0, size);
                self.set(0, result)?;
                self.set_flags(STATUS, flags);
            }
            M::Not => {
                let a = self.value(0)?;
                self.set(0, !a)?;
            }
            M::Shl | M::Sal | M::Shr | M::Sar => self.shift()?,
            M::Imul if instruction.op_count() >= 2 => {
                let at = instruction.op_count() - 2;
                let size = self.size(0)?;
                let of = |op: u32| Some(i128::from(extended(self.value(op)?, size)));
                let product = of(at)? * of(at + 1)?;
                let result = product as u64 & mask(size);
                self.set(0, result)?;
                let lost = i128::from(extended(result, size)) != product;
                self.set_flags(CF | OF, if lost { CF | OF } else { 0 });
            }
            M::Mul if self.size(0)? == 8 => {
                let product = u128::from(self.registers.rax) * u128::from(self.value(0)?);
                self.registers.rax = product as u64;
                self.registers.rdx = (product >> 64) as u64;
                let lost = self.registers.rdx != 0;
                self.set_flags(CF | OF, if lost { CF | OF } else { 0 });
            }
            M::Bt if instruction.op0_kind() == OpKind::Register => {
                let size = self.size(0)?;
                let bit = self.value(1)? % (8 * size as u64);
                let is = self.value(0)? >> bit & 1;
                self.set_flags(CF, is);
            }
            M::Xchg if self.is_of_registers() => {
                let (a, b) = (self.value(0)?, self.value(1)?);
                self.set(0, b)?;
                self.set(1, a)?;
            }
            M::Push => {
                let value = self.value(0)?;
                if self.size(0)? != 8 {
                    return None;
                }
                self.push(value);
            }
            M::Pop if instruction.op0_kind() == OpKind::Register => {
                if self.size(0)? != 8 {
                    return None;
                }
                let value = self.pop()?;
                self.set(0, value)?;
            }
            M::Call => {
                let to = self.target()?;
                self.push(instruction.next_ip());
                self.registers.rip = to;
            }
            M::Ret if instruction.op_count() == 0 => self.registers.rip = self.pop()?,
            M::Jmp => self.registers.rip = self.target()?,
            _ => return self.conditional(),
        }
        Some(())
    }

    /// Jcc, SETcc and CMOVcc.
    fn conditional(&mut self) -> Option<()> {
        let instruction = self.instruction;
        let holds = self.holds(instruction.condition_code())?;
        if instruction.is_jcc_short_or_near() {
            if holds {
                self.registers.rip = instruction.near_branch_target();
            }
            return Some(());
        }
        match (instruction.op_count(), instruction.op0_kind()) {
            (1, OpKind::Register) => self.set(0, u64::from(holds)),
            (2, OpKind::Register) => {
                // The source is read, and the upper half of a 32-bit register cleared, in any case.
                let (old, new) = (self.value(0)?, self.value(1)?);
                self.set(0, if holds { new } else { old })
            }
            _ => None,
        }
    }

    fn holds(&self, condition: ConditionCode) -> Option<bool> {
        use ConditionCode as C;
        let is = |flag| self.flag(flag);
        Some(match condition {
            C::None => return None,
            C::o => is(OF),
            C::no => !is(OF),
            C::b => is(CF),
            C::ae => !is(CF),
            C::e => is(ZF),
            C::ne => !is(ZF),
            C::be => is(CF) || is(ZF),
            C::a => !is(CF) && !is(ZF),
            C::s => is(SF),
            C::ns => !is(SF),
            C::p => is(PF),
            C::np => !is(PF),
            C::l => is(SF) != is(OF),
            C::ge => is(SF) == is(OF),
            C::le => is(ZF) || is(SF) != is(OF),
            C::g => !is(ZF) && is(SF) == is(OF),
        })
    }

    /// A result and flags from both operands; the result goes into the first where it is kept.
    fn arithmetic(&mut self, of: impl Fn(u64, u64, usize) -> (u64, u64), kept: bool) -> Option<()> {
        let size = self.size(0)?;
        let (result, flags) = of(self.value(0)?, self.value(1)? & mask(size), size);
        if kept {
            self.set(0, result)?;
        }
        self.set_flags(STATUS & !undefined(self.instruction), flags);
        Some(())
    }

    fn shift(&mut self) -> Option<()> {
        let size = self.size(0)?;
        let bits = 8 * size as u32;
        let value = self.value(0)?;
        let count = self.value(1)? as u32 & if size == 8 { 63 } else { 31 };
        // Nothing changes, but the upper half of a 32-bit register.
        if count == 0 {
            return self.set(0, value);
        }
        // The carry of longer shifts of 8 and 16 bits is undefined.
        if count >= bits {
            return None;
        }
        let (result, carry, overflow) = match self.instruction.mnemonic() {
            Mnemonic::Shr => (value >> count, value >> (count - 1) & 1, sign(value, size)),
            Mnemonic::Sar => {
                let result = extended(value, size) >> count;
                (result as u64, value >> (count - 1) & 1, false)
            }
            _ => {
                let result = value << count;
                let carry = value >> (bits - count) & 1;
                (result, carry, sign(result, size) != (carry == 1))
            }
        };
        let result = result & mask(size);
        self.set(0, result)?;
        let overflow = if overflow { OF } else { 0 };
        // OF is defined for shifts by 1 alone.
        let defined = if count == 1 { OF } else { 0 } | CF | PF | ZF | SF;
        self.set_flags(defined, carry | overflow | result_flags(result, size));
        Some(())
    }

    fn is_of_registers(&self) -> bool {
        self.instruction.op0_kind() == OpKind::Register
            && self.instruction.op1_kind() == OpKind::Register
    }

    fn flag(&self, flag: u64) -> bool {
        self.registers.eflags & flag != 0
    }

    fn set_flags(&mut self, which: u64, flags: u64) {
        self.registers.eflags = self.registers.eflags & !which | flags & which;
    }

    /// Bytes of an operand.
    fn size(&self, op: u32) -> Option<usize> {
        let size = match self.instruction.op_kind(op) {
            OpKind::Register => self.instruction.op_register(op).size(),
            OpKind::Memory => self.instruction.memory_size().size(),
            OpKind::Immediate8to64 | OpKind::Immediate32to64 | OpKind::Immediate64 => 8,
            _ => return self.size(0).filter(|_| op != 0),
        };
        matches!(size, 1 | 2 | 4 | 8).then_some(size)
    }

    /// The value of an operand, without bits beyond its size.
    fn value(&self, op: u32) -> Option<u64> {
        match self.instruction.op_kind(op) {
            OpKind::Register => self.register(self.instruction.op_register(op)),
            OpKind::Memory => (self.load)(self.address()?, self.size(op)?),
            _ => {
                let value = self.instruction.try_immediate(op).ok()?;
                Some(value & mask(self.size(op)?))
            }
        }
    }

    fn address(&self) -> Option<u64> {
        let of = |register: Register| match register {
            Register::None => Some(0),
            register if register.size() == 8 => self.register(register),
            _ => None,
        };
        let instruction = self.instruction;
        if instruction.is_ip_rel_memory_operand() {
            return Some(instruction.ip_rel_memory_address());
        }
        let index = of(instruction.memory_index())?;
        let scaled = index.wrapping_mul(u64::from(instruction.memory_index_scale()));
        let base = of(instruction.memory_base())?;
        let displacement = instruction.memory_displacement64();
        Some(base.wrapping_add(scaled).wrapping_add(displacement))
    }

    fn set(&mut self, op: u32, value: u64) -> Option<()> {
        match self.instruction.op_kind(op) {
            OpKind::Register => self.set_register(self.instruction.op_register(op), value),
            OpKind::Memory if self.instruction.memory_base() == Register::RSP => {
                let (addr, len) = (self.address()?, self.size(op)?);
                self.write = Some(Write {
                    addr,
                    bytes: value.to_le_bytes(),
                    len,
                });
                Some(())
            }
            _ => None,
        }
    }

    /// Where a jump or call goes.
    fn target(&self) -> Option<u64> {
        match self.instruction.op0_kind() {
            OpKind::NearBranch64 => Some(self.instruction.near_branch_target()),
            OpKind::Register | OpKind::Memory if self.size(0)? == 8 => self.value(0),
            _ => None,
        }
    }

    fn push(&mut self, value: u64) {
        self.registers.rsp = self.registers.rsp.wrapping_sub(8);
        self.write = Some(Write {
            addr: self.registers.rsp,
            bytes: value.to_le_bytes(),
            len: 8,
        });
    }

    fn pop(&mut self) -> Option<u64> {
        let value = (self.load)(self.registers.rsp, 8)?;
        self.registers.rsp = self.registers.rsp.wrapping_add(8);
        Some(value)
    }

    fn register(&self, register: Register) -> Option<u64> {
        let whole = super::code::value(&self.registers, register)?;
        Some(match register {
            _ if !register.is_gpr() => return None,
            Register::AH | Register::BH | Register::CH | Register::DH => whole >> 8 & 0xff,
            _ => whole & mask(register.size()),
        })
    }

    fn set_register(&mut self, register: Register, value: u64) -> Option<()> {
        if !register.is_gpr() {
            return None;
        }
        let r = &mut self.registers;
        let whole = match register.full_register() {
            Register::RAX => &mut r.rax,
            Register::RBX => &mut r.rbx,
            Register::RCX => &mut r.rcx,
            Register::RDX => &mut r.rdx,
            Register::RSI => &mut r.rsi,
            Register::RDI => &mut r.rdi,
            Register::RBP => &mut r.rbp,
            Register::RSP => &mut r.rsp,
            Register::R8 => &mut r.r8,
            Register::R9 => &mut r.r9,
            Register::R10 => &mut r.r10,
            Register::R11 => &mut r.r11,
            Register::R12 => &mut r.r12,
            Register::R13 => &mut r.r13,
            Register::R14 => &mut r.r14,
            Register::R15 => &mut r.r15,
            _ => return None,
        };
        let (bits, shift) = match register {
            Register::AH | Register::BH | Register::CH | Register::DH => (0xff00, 8),
            // The upper half is cleared.
            _ if register.size() == 4 => (u64::MAX, 0),
            _ => (mask(register.size()), 0),
        };
        let value = match register.size() {
            4 => value & mask(4),
            _ => value << shift & bits,
        };
        *whole = *whole & !bits | value;
        Some(())
    }
}

/// The sum of two values of this size and a carry, with its flags.
fn sum(a: u64, b: u64, carry: u64, size: usize) -> (u64, u64) {
    let wide = u128::from(a) + u128::from(b) + u128::from(carry);
    let result = wide as u64 & mask(size);
    let carried = wide >> (8 * size) != 0;
    let overflow = sign((a ^ result) & (b ^ result), size);
    (result, flags(a ^ b, result, carried, overflow, size))
}

fn difference(a: u64, b: u64, borrow: u64, size: usize) -> (u64, u64) {
    let result = a.wrapping_sub(b).wrapping_sub(borrow) & mask(size);
    let borrowed = u128::from(a) < u128::from(b) + u128::from(borrow);
    let overflow = sign((a ^ b) & (a ^ result), size);
    (result, flags(a ^ b, result, borrowed, overflow, size))
}

fn logic(result: u64, size: usize) -> (u64, u64) {
    (result & mask(size), result_flags(result, size))
}

/// `inputs`: both operands, xored.
fn flags(inputs: u64, result: u64, carry: bool, overflow: bool, size: usize) -> u64 {
    let flag = |is: bool, flag| if is { flag } else { 0 };
    // The carry out of bit 3.
    let auxiliary = (inputs ^ result) >> 4 & 1 == 1;
    flag(carry, CF) | flag(auxiliary, AF) | flag(overflow, OF) | result_flags(result, size)
}
