//! The step of a map operation that an access belongs to.

use super::flow::{Operand, Target};
use super::{Operation, Phase};
use crate::gomap::{Part, Stage};
use iced_x86::{Instruction, Mnemonic, OpKind};

/// `emptyRest` of `runtime/map.go`: a delete writes it going back through the slots before its own,
/// which gets `emptyOne`.
const EMPTY_REST: u64 = 0;

/// The phase, from the part that is touched, how, and in which operation. `None` where the code is
/// no map code or the part is not known.
pub fn phase_of(
    target: &Target,
    operand: &Operand,
    instruction: &Instruction,
    operation: Option<Operation>,
) -> Option<Phase> {
    let part = match target {
        Target::Part { part, .. } => *part,
        Target::Elem { .. } => {
            return Some(if operand.write {
                Phase::WriteElem
            } else {
                Phase::ReadElem
            });
        }
        Target::Key { .. } => return Some(Phase::Iterate),
        _ => return None,
    };
    if operand.nil_check {
        return Some(Phase::NilCheck);
    }
    Some(match operation? {
        Operation::Grow => Phase::Evacuate,
        Operation::Make => Phase::Allocate,
        Operation::Clear => Phase::Clear,
        Operation::Iterate => Phase::Iterate,
        operation => of_key_operation(part, operand, instruction, operation),
    })
}

fn of_key_operation(
    part: Part,
    operand: &Operand,
    instruction: &Instruction,
    operation: Operation,
) -> Phase {
    let delete = operation == Operation::Delete;
    match part {
        Part::HmapFlags | Part::MapWriting => Phase::CheckFlags,
        Part::HmapCount | Part::MapUsed | Part::TableUsed | Part::TableGrowthLeft => Phase::Count,
        Part::HmapHash0 | Part::MapSeed => Phase::Hash,
        _ => match part.stage() {
            Stage::Control if operand.write && delete => match stored_immediate(instruction) {
                Some(EMPTY_REST) => Phase::BackPropagate,
                _ => Phase::MarkEmpty,
            },
            Stage::Control if operand.write => Phase::WriteControl,
            Stage::Control => Phase::CompareControl,
            Stage::Key if operand.write && delete => Phase::ClearKey,
            Stage::Key if operand.write => Phase::WriteKey,
            Stage::Key => Phase::CompareKey,
            Stage::Elem if delete => Phase::ClearElem,
            Stage::Elem if operand.write => Phase::WriteElem,
            Stage::Elem => Phase::ReadElem,
            _ => Phase::Locate,
        },
    }
}

fn stored_immediate(instruction: &Instruction) -> Option<u64> {
    let immediate = instruction.mnemonic() == Mnemonic::Mov
        && instruction.op1_kind() != OpKind::Register
        && instruction.op1_kind() != OpKind::Memory;
    immediate.then(|| instruction.immediate(1))
}
