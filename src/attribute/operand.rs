//! The address that an instruction touched, from the registers after it.

use crate::recording::{Event, Samples};
use iced_x86::{Instruction, InstructionInfoFactory, OpAccess, Register};

use super::flow::{PERF_REGS, number_of};

/// The address of the explicit memory operand, evaluated with the sample's registers; `None` where
/// the instruction overwrote one that it needs, or has no such operand.
pub fn evaluate(
    instruction: &Instruction,
    samples: &Samples,
    i: usize,
    event: &Event,
) -> Option<u64> {
    let overwritten = written(instruction);
    let value = |register: Register| -> Option<u64> {
        match register {
            Register::None => Some(0),
            Register::RIP | Register::EIP => Some(0),
            _ => {
                let number = number_of(register)?;
                if overwritten & 1 << number != 0 {
                    return None;
                }
                samples.reg(i, event.sample_regs_intr, PERF_REGS[number])
            }
        }
    };
    if instruction.memory_size() == iced_x86::MemorySize::Unknown {
        return None;
    }
    let base = value(instruction.memory_base())?;
    let index = value(instruction.memory_index())?;
    let scaled = index.wrapping_mul(u64::from(instruction.memory_index_scale()));
    Some(
        base.wrapping_add(scaled)
            .wrapping_add(instruction.memory_displacement64()),
    )
}

/// What the index register adds to the address; `None` where the instruction overwrote it or has none.
pub fn index(instruction: &Instruction, samples: &Samples, i: usize, event: &Event) -> Option<u64> {
    let number = number_of(instruction.memory_index())?;
    if written(instruction) & 1 << number != 0 {
        return None;
    }
    let value = samples.reg(i, event.sample_regs_intr, PERF_REGS[number])?;
    Some(value.wrapping_mul(u64::from(instruction.memory_index_scale())))
}

/// Bit per general register (hardware number) that the instruction writes.
fn written(instruction: &Instruction) -> u16 {
    let mut factory = InstructionInfoFactory::new();
    factory
        .info(instruction)
        .used_registers()
        .iter()
        .filter(|used| {
            matches!(
                used.access(),
                OpAccess::Write
                    | OpAccess::CondWrite
                    | OpAccess::ReadWrite
                    | OpAccess::ReadCondWrite
            )
        })
        .filter_map(|used| number_of(used.register()))
        .fold(0, |bits, number| bits | 1 << number)
}
