//! The call of a map function that a sample's call chain leads to, and where its caller keeps the map.

use super::binary::Binary;
use super::flow::{FunctionFlow, Value, What, signature};
use super::types::CallSite;
use crate::program::{Kept, Program, Root};
use crate::recording::CONTEXT_MAX;
use iced_x86::{Decoder, DecoderOptions};

/// What a caller's code says of the call that returns to `ret`; `None` where that is no call of a
/// map function.
pub fn call_site(binary: &mut Binary, ret: u64) -> Option<CallSite> {
    let family = binary.layout?.family;
    let flow = binary.flow(ret.checked_sub(1)?)?;
    let mut call = flow.calls.get(&ret)?;
    let callee = call.callee.as_deref()?;
    signature(callee, family)?;
    if let Some(began) = call.began {
        call = flow.calls.get(&began)?;
    }
    let map_type = match (call.arg(0).what, call.arg(0).expr.as_constant()) {
        (What::Number, Some(descriptor)) => binary.program.map_type_at(descriptor as u64),
        _ => None,
    };
    let global = match call.arg(1).what {
        What::Global(address) => Some(address),
        _ => None,
    };
    let kept = kept(&binary.program, &flow, ret, &call.arg(1));
    Some(CallSite {
        ret,
        callee: callee.to_owned(),
        map_type,
        global,
        kept,
        on_stack: call.arg(1).what == What::Stack,
    })
}

/// The innermost call site of a map function in a chain of run-time ips; `vaddr_of` turns an ip of
/// this binary into its link-time address.
pub fn outermost_map_call(
    binary: &mut Binary,
    chain: &[u64],
    vaddr_of: impl Fn(u64) -> Option<u64>,
) -> Option<CallSite> {
    let family = binary.layout?.family;
    // The first two entries are the context marker and the sampled ip itself.
    for &ip in chain.iter().filter(|&&ip| ip < CONTEXT_MAX).skip(1) {
        let ret = vaddr_of(ip)?;
        let function = binary.program.function_at(ret.checked_sub(1)?)?;
        if signature(&function.name, family).is_none() {
            return call_site(binary, ret);
        }
    }
    None
}

/// Arguments have the origins 1 to 9 in the order of their registers, what an instruction loads has 16
/// and more: `State::at_entry` and `origin_of` of the flow.
const FIRST_LOAD: u32 = 16;
const LAST_ARGUMENT: u32 = 9;
/// Origins of values that several paths bring have this bit: which of them it is, is not known.
const JOINED: u32 = 1 << 31;

/// Pointers behind pointers that are followed back.
const MOST_STEPS: usize = 4;

/// Where the function around `ret` takes a value from, as far as loads from known places tell.
fn kept(program: &Program, flow: &FunctionFlow, ret: u64, value: &Value) -> Option<Kept> {
    let function = program.function_at(ret.checked_sub(1)?)?;
    let mut steps = Vec::new();
    let mut value = *value;
    while steps.len() <= MOST_STEPS {
        if let What::Global(address) = value.what {
            steps.reverse();
            let root = Root::Global(address);
            return Some(Kept { root, steps });
        }
        if value.what != What::Loaded || value.origin == 0 || value.origin & JOINED != 0 {
            return None;
        }
        if value.origin <= LAST_ARGUMENT {
            steps.reverse();
            let root = Root::Argument {
                function: function.start,
                register: value.origin as usize - 1,
            };
            return Some(Kept { root, steps });
        }
        let index = usize::try_from(value.origin.checked_sub(FIRST_LOAD)?).ok()?;
        let len = usize::try_from(function.end.checked_sub(function.start)?).ok()?;
        let bytes = program.bytes(function.start, len)?;
        let mut decoder = Decoder::with_ip(64, bytes, function.start, DecoderOptions::NONE);
        let load = decoder.iter().nth(index)?;
        let operand = flow.sites.get(&load.ip())?.operands.first()?;
        let (base, off) = operand.base.filter(|_| operand.read && !operand.write)?;
        steps.push(u64::try_from(off).ok()?);
        value = base;
    }
    None
}

/// Callers that an argument is followed back through.
const MOST_CALLERS: usize = 4;

/// The global that an argument comes from, through the callers that the call chain names: `returns` are
/// their return addresses, outward. `None` where it comes from elsewhere.
pub fn through_callers(
    binary: &mut Binary,
    from: Option<&Kept>,
    returns: impl Iterator<Item = u64>,
) -> Option<Kept> {
    let mut at = from?.clone();
    for ret in returns.take(MOST_CALLERS) {
        let Root::Argument { function, register } = at.root else {
            break;
        };
        let flow = binary.flow(ret.checked_sub(1)?)?;
        // A frame may be missing from the chain: then this is not the call of the function.
        let call = flow
            .calls
            .get(&ret)
            .filter(|call| call.target == Some(function))?;
        let mut outer = kept(&binary.program, &flow, ret, &call.arg(register))?;
        outer.steps.append(&mut at.steps);
        at = outer;
    }
    matches!(at.root, Root::Global(_)).then_some(at)
}
