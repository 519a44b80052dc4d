//! Accesses in code that touches memory for others (copying, clearing, comparing, hashing), through
//! pointers that a caller passed: the leaf knows nothing of maps, but the call that led there does.
//!
//! The pointer behind the sampled operand is one of the leaf's arguments; from frame to frame outward
//! it is an argument again, until it is one into a map: in map code by its flow, in other code because
//! a map call handed it out.

use super::binary::{Binary, is_proxy};
use super::flow::{
    Areas, Call, Control, FunctionFlow, HERE, Handed, Instruction, Operand, Target, Value, What,
    abi, classify, written,
};
use crate::gomap::{Layout, Stage, Structure};
use std::sync::Arc;

const DUFFCOPY: &str = "runtime.duffcopy";

/// Frames looked through between the leaf and the code that knows.
const MOST_FRAMES: usize = 4;

/// Arguments told apart: what instructions define has higher origins.
const ARGS: usize = 9;

/// Behind the control bytes.
const FIRST_KEY: i64 = 8;

/// Leaves that map code calls through the function pointers of a type descriptor.
const INDIRECT: &[&str] = &["equal", "hash", "Hash", ".eq."];

/// One of the pointers that a call passes, and how far on the leaf uses it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Passed {
    /// The register that holds it at the call.
    reg: usize,
    /// `None`: a loop or a length decides.
    off: Option<i64>,
}

/// What the pointer is, one frame further out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Found {
    Target(Target),
    /// The caller got it as an argument.
    Passed(Passed),
}

/// What the instruction at `vaddr` touches for the calls that `returns` (link-time return addresses,
/// outward) lead to; `None` where they do not tell. `site` is where the map function among them
/// returns to.
pub fn target(
    binary: &mut Binary,
    vaddr: u64,
    returns: impl Iterator<Item = u64>,
    site: Option<u64>,
    stored: bool,
) -> Option<Target> {
    let layout = binary.layout?;
    let function = binary.program.function_at(vaddr)?;
    let (mut current, start) = (function.name.clone(), function.start);
    let leaf = binary.pointers(start)?;
    let accessing = leaf.sites.get(&vaddr)?;
    let matches = |o: &&Operand| if stored { o.write } else { o.read };
    let operand = accessing.operands.iter().find(matches)?;
    let mut passed = argument(binary, &operand.value)?;
    let mut returns = returns.take(MOST_FRAMES).peekable();
    while let Some(&ret) = returns.peek() {
        let flow = binary.flow(ret.checked_sub(1)?)?;
        let call = flow.calls.get(&ret)?;
        let (flow, calls) = if leads_to(call, &current, &flow) {
            returns.next();
            (Arc::clone(&flow), vec![*call.regs.get(passed.reg)?])
        } else {
            // A leaf without a frame hides its caller from a chain of frame pointers.
            let hidden = binary.flow(call.target?)?;
            let calls = hidden
                .calls
                .values()
                .filter(|inner| leads_to(inner, &current, &hidden))
                .map(|inner| inner.regs.get(passed.reg).copied())
                .collect::<Option<Vec<Value>>>()?;
            (hidden, calls)
        };
        if current == DUFFCOPY {
            passed.off = advanced(&leaf, call.target?, vaddr, operand);
        }
        let name = function_of(binary, &flow)?;
        // Hashing and comparing are both called through pointers; a seed is no address.
        let mut found = calls
            .iter()
            .filter(|value| !matches!(value.what, What::Number | What::DirLen))
            .map(|value| follow(binary, value, passed, operand, &flow, layout, site));
        let first = found.next()??;
        let agreed = found.try_fold(first, |all, one| agree(all, one?))?;
        match agreed {
            Found::Target(target) => return Some(target),
            Found::Passed(outer) if flow.signature.is_some() || is_proxy(&name) => {
                passed = outer;
                current = name;
            }
            Found::Passed(_) => return None,
        }
    }
    None
}

/// What a map call handed out to the caller of the leaf that covers `vaddr`, which returns to `ret`: what
/// the leaf's own registers still say of it.
pub fn handed(binary: &mut Binary, vaddr: u64, ret: u64) -> Option<Handed> {
    let flow = binary.flow(ret.checked_sub(1)?)?;
    let call = flow.calls.get(&ret)?;
    let function = binary.program.function_at(vaddr)?.clone();
    if call.callee.as_deref() != Some(&function.name) {
        return None;
    }
    let mut handed = call.handed?;
    let len = usize::try_from(function.end.checked_sub(function.start)?).ok()?;
    let bytes = binary.program.bytes(function.start, len)?;
    let code = Instruction::decode(binary.program.arch, bytes, function.start);
    if code
        .iter()
        .any(|ins| matches!(ins.control(), Control::Call(_)))
    {
        return None;
    }
    handed.wrote(written(&code), None);
    Some(handed)
}

/// Whether a call in the function of `flow` is one of the function `name`.
fn leads_to(call: &Call, name: &str, flow: &FunctionFlow) -> bool {
    match &call.callee {
        Some(callee) => callee == name,
        // `memeqbody`, `aeshashbody` are jumped to, with other pointers than the call passed.
        None if name.ends_with("body") => false,
        None => flow.signature.is_some() && INDIRECT.iter().any(|word| name.contains(word)),
    }
}

fn function_of(binary: &Binary, flow: &FunctionFlow) -> Option<String> {
    let inside = flow.before.values().next()?;
    Some(binary.program.function_at(*inside)?.name.clone())
}

/// The argument that a value in a function was made from, if it points into what that points to.
fn argument(binary: &Binary, value: &Value) -> Option<Passed> {
    let abi = abi(binary.program.arch)?;
    let number = usize::try_from(value.origin).ok()?.checked_sub(1)?;
    let reg = *abi.args.get(number).filter(|_| number < ARGS)?;
    let off = match value.what {
        What::At(Structure::Other) => value.expr.as_constant(),
        // As it was passed: a sum has no origin any more.
        What::Loaded => Some(0),
        _ => return None,
    };
    Some(Passed { reg, off })
}

fn follow(
    binary: &Binary,
    value: &Value,
    passed: Passed,
    operand: &Operand,
    flow: &FunctionFlow,
    layout: &Layout,
    site: Option<u64>,
) -> Option<Found> {
    let further = |by: Option<i64>| Some(by?.wrapping_add(passed.off?));
    let constant = further(value.expr.as_constant());
    let of_call = |call| if call == HERE { site } else { Some(call) };
    match value.what {
        What::Elem(call) => Some(Found::Target(Target::Elem {
            call: of_call(call)?,
            off: constant,
        })),
        What::Key(call) => Some(Found::Target(Target::Key {
            call: of_call(call)?,
            off: constant,
        })),
        What::At(Structure::Other) | What::Loaded => {
            let outer = argument(binary, value)?;
            Some(Found::Passed(Passed {
                off: further(outer.off),
                ..outer
            }))
        }
        What::At(_) => {
            let areas = flow.signature.map_or(Areas::default(), |s| s.areas);
            let pointer = Operand {
                value: *value,
                ..*operand
            };
            Some(Found::Target(within(
                classify(&pointer, layout, &areas, true),
                passed.off,
            )))
        }
        _ => None,
    }
}

/// What is touched `off` bytes beyond a target: of a key or an elem, itself; a pointer to the start of
/// a bucket or group, or of its first key (`evacuate` clears all behind the tophashes), is one to all
/// of it.
fn within(target: Target, off: Option<i64>) -> Target {
    match target {
        Target::Part { part, off: start }
            if start != Some(FIRST_KEY) && matches!(part.stage(), Stage::Key | Stage::Elem) =>
        {
            Target::Part {
                part,
                off: start.zip(off).map(|(start, off)| start.wrapping_add(off)),
            }
        }
        Target::Part { part, .. }
            if matches!(part.structure(), Structure::Bucket | Structure::Group) =>
        {
            Target::BucketOrGroup
        }
        other => other,
    }
}

fn agree(a: Found, b: Found) -> Option<Found> {
    match (a, b) {
        _ if a == b => Some(a),
        (
            Found::Target(Target::Part { part, .. }),
            Found::Target(Target::Part { part: other, .. }),
        ) if part == other => Some(Found::Target(Target::Part { part, off: None })),
        _ => None,
    }
}

/// How far `duffcopy`, entered at `entry`, has advanced a pointer when it comes to `vaddr`.
fn advanced(leaf: &FunctionFlow, entry: u64, vaddr: u64, operand: &Operand) -> Option<i64> {
    let (_, first) = through(leaf, operand.value.origin)
        .filter(|(at, _)| (entry..=vaddr).contains(at))
        .min_by_key(|(at, _)| *at)?;
    let off = |o: &Operand| o.value.expr.as_constant();
    Some(off(operand)?.wrapping_sub(off(first)?))
}

/// In `duffcopy`, which always runs to its end: the bytes from the one that the instruction at `vaddr`
/// accesses to the end of what is copied. `None` in other code.
pub fn to_end(binary: &mut Binary, vaddr: u64) -> Option<u64> {
    let function = binary.program.function_at(vaddr)?;
    if function.name != DUFFCOPY {
        return None;
    }
    let start = function.start;
    let leaf = binary.pointers(start)?;
    let operand = leaf.sites.get(&vaddr)?.operands.first()?;
    let (_, last) = through(&leaf, operand.value.origin).max_by_key(|(at, _)| *at)?;
    let end = last
        .value
        .expr
        .as_constant()?
        .checked_add(i64::from(last.size))?;
    u64::try_from(end.checked_sub(operand.value.expr.as_constant()?)?).ok()
}

/// The accesses through the pointer with this origin.
fn through(leaf: &FunctionFlow, origin: u32) -> impl Iterator<Item = (u64, &Operand)> {
    leaf.sites
        .iter()
        .flat_map(|(at, site)| site.operands.iter().map(move |o| (*at, o)))
        .filter(move |(_, o)| o.value.origin == origin && origin != 0)
}
