//! The call of a map function that a sample's call chain leads to.

use super::binary::Binary;
use super::flow::{What, signature};
use crate::gomap::MapType;
use crate::program::Kept;
use crate::recording::CONTEXT_MAX;

/// A call of a map function in code that is not the map implementation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallSite {
    /// Link-time return address.
    pub ret: u64,
    /// `runtime.mapassign_fast64`, ...
    pub callee: String,
    /// The static type of the map, where the call site has it as a constant.
    pub map_type: Option<MapType>,
    /// The address of the variable that holds the map (run time).
    pub global: Option<u64>,
    /// Where the caller takes the map from.
    pub kept: Option<Kept>,
    /// The map lies in the caller's own frame.
    pub on_stack: bool,
}

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
    let kept = super::names::kept(&binary.program, &flow, ret, &call.arg(1));
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
