//! What the runtime's copying, clearing, comparing and hashing code does for a map operation: the
//! code does not know, but the call chain leads to map code, whose call does.

use super::binary::{Binary, is_proxy};
use super::flow::{Area, Call, FunctionFlow, What, signature};
use super::{Operation, Phase};
use crate::gomap::Structure;

/// The turn of a helper in an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Turn {
    /// As [`super::types::Types`] numbers it.
    pub binary: u32,
    /// Start of the map function.
    pub function: u64,
    pub operation: Operation,
    pub phase: Option<Phase>,
    pub step: Option<u32>,
}

/// Frames of the runtime between map code and what runs for it.
const MOST_FRAMES: usize = 4;

/// The turn of the function `leaf` in the map operation that `returns` (link-time return addresses,
/// outward) lead to.
///
/// Assembly without a frame of its own hides its caller from a chain of frame pointers: a return
/// address behind the call of a map function then means that this function runs, at some call of it.
pub fn turn(binary: &mut Binary, leaf: &str, returns: impl Iterator<Item = u64>) -> Option<Turn> {
    let family = binary.layout?.family;
    for ret in returns.take(MOST_FRAMES) {
        let name = binary
            .program
            .function_at(ret.checked_sub(1)?)?
            .name
            .clone();
        let flow = binary.flow(ret.checked_sub(1)?)?;
        let call = flow.calls.get(&ret);
        let hidden = call.filter(|call| {
            let callee = call.callee.as_deref();
            callee
                .and_then(|callee| signature(callee, family))
                .is_some()
        });
        if let Some(target) = hidden.and_then(|call| call.target) {
            return hidden_turn(binary, leaf, target);
        }
        if let Some(signature) = flow.signature {
            let operation = signature.operation;
            return Some(Turn {
                binary: binary.id,
                function: binary.program.function_at(ret.checked_sub(1)?)?.start,
                operation,
                phase: phase(&flow, call, leaf, operation),
                step: binary.steps(ret.checked_sub(1)?)?.step(ret.checked_sub(1)?),
            });
        }
        if !is_proxy(&name) {
            return None;
        }
    }
    None
}

/// The turn of a leaf that some call of the map function at `start` leads to, where all calls that may
/// do so say the same.
fn hidden_turn(binary: &mut Binary, leaf: &str, start: u64) -> Option<Turn> {
    let flow = binary.flow(start)?;
    let operation = flow.signature?.operation;
    let mut calls: Vec<(u64, Option<Phase>)> = flow
        .calls
        .iter()
        .filter(|(_, call)| call.callee.as_deref().is_none_or(|callee| callee == leaf))
        .map(|(&ret, call)| (ret, phase(&flow, Some(call), leaf, operation)))
        .filter(|(_, phase)| phase.is_some())
        .collect();
    calls.sort_unstable();
    let (ret, phase) = *calls.first()?;
    let same = calls.iter().all(|(_, other)| *other == phase);
    let steps = binary.steps(start)?;
    Some(Turn {
        binary: binary.id,
        function: start,
        operation,
        phase: phase.filter(|_| same),
        step: steps.step(ret.checked_sub(1)?).filter(|_| same),
    })
}

fn phase(
    flow: &FunctionFlow,
    call: Option<&Call>,
    leaf: &str,
    operation: Operation,
) -> Option<Phase> {
    match operation {
        Operation::Grow => return Some(Phase::Evacuate),
        Operation::Clear => return Some(Phase::Clear),
        Operation::Make => return Some(Phase::Allocate),
        Operation::Iterate => return Some(Phase::Iterate),
        Operation::Access | Operation::Assign | Operation::Delete => {}
    }
    let call = call?;
    let callee = call.callee.as_deref().unwrap_or(leaf);
    let is = |word: &str| callee.contains(word);
    // `typedmemclr(t, p)` and `typedmemmove(t, dst, src)` take the type first.
    let pointer = call.arg(usize::from(is("typed")));
    let areas = flow.signature?.areas;
    let area = match pointer.what {
        What::At(Structure::Bucket | Structure::Buckets | Structure::Group | Structure::Groups) => {
            areas.of(&pointer)
        }
        _ => Area::Anywhere,
    };
    if is("memclr") {
        return match area {
            Area::Key => Some(Phase::ClearKey),
            Area::Elem => Some(Phase::ClearElem),
            _ => None,
        };
    }
    if is("memmove") {
        return match area {
            Area::Key => Some(Phase::WriteKey),
            Area::Elem => Some(Phase::WriteElem),
            // The caller of an assign stores the elem: the runtime copies keys only.
            _ => (operation == Operation::Assign).then_some(Phase::WriteKey),
        };
    }
    // memequal64, strequal, nilinterequal, type:.eq.main.key, ...
    if is("equal") || is(".eq.") {
        return Some(Phase::CompareKey);
    }
    if is("hash") || is("Hash") {
        return Some(Phase::Hash);
    }
    let allocates = is("newobject") || is("newarray") || is("malloc") || is("makeslice");
    allocates.then_some(Phase::Allocate)
}
