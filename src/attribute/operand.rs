//! The address that an instruction touched, from the registers after it.

use super::flow::Instruction;
use crate::recording::Processor;

/// The address of the memory operand, evaluated with the sample's registers; `None` where the
/// instruction overwrote one that it needs, or has no such operand.
pub fn evaluate(instruction: &Instruction, processor: &Processor) -> Option<u64> {
    let form = instruction.form()?;
    let value = |register: Option<u32>| match register {
        None => Some(0),
        Some(reg) if form.keeps(reg) => processor.register(reg),
        Some(_) => None,
    };
    let base = value(form.base)?;
    let index = value(form.index)?.wrapping_mul(form.scale);
    Some(base.wrapping_add(index).wrapping_add(form.displacement))
}

/// What index register and displacement add to the address; `None` where the instruction overwrote
/// the register or has none.
pub fn index(instruction: &Instruction, processor: &Processor) -> Option<u64> {
    let form = instruction.form()?;
    let index = form.index.filter(|reg| form.keeps(*reg))?;
    let value = processor.register(index)?;
    Some(value.wrapping_mul(form.scale))
}
