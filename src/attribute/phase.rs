//! The step of a map operation that an access belongs to, and the order of the steps.
//!
//! No line numbers of any Go release: the part that is touched, how, the inlined function it is in,
//! and, in a delete, whether the code comes after the store that removes the entry. The order is that
//! of the source lines, from the outermost frame inward, of the binary itself.

use super::binary::Binary;
use super::flow::{Control, FunctionFlow, Instruction, Operand, Target, classify, returns};
use super::steps::{DEEPEST, Steps};
use super::{Operation, Phase};
use crate::gomap::{Family, Layout, Part, Stage};
use crate::program::Frame;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// `emptyOne` of `runtime/map.go`: what a delete writes to its own slot.
const EMPTY_ONE: u64 = 1;

impl Binary {
    /// The steps of the map function that covers `vaddr`.
    pub fn steps(&mut self, vaddr: u64) -> Option<Arc<Steps>> {
        let start = self.program.function_at(vaddr)?.start;
        if !self.steps.contains_key(&start) {
            let steps = Steps::of(self, start).map(Arc::new);
            self.steps.insert(start, steps);
        }
        self.steps.get(&start)?.clone()
    }
}

impl Steps {
    /// The steps of the map function that covers `vaddr`; `None` for other code.
    pub fn of(binary: &mut Binary, vaddr: u64) -> Option<Steps> {
        Self::within(binary, vaddr, DEEPEST)
    }

    fn within(binary: &mut Binary, vaddr: u64, budget: u32) -> Option<Steps> {
        let layout = binary.layout?;
        let flow = binary.flow(vaddr)?;
        let operation = flow.signature?.operation;
        let mut steps = Steps::default();
        let mut callees = Vec::new();
        for (&ret, call) in &flow.calls {
            let callee = call.callee.as_deref();
            let same = callee
                .and_then(|name| super::flow::signature(name, layout.family))
                .is_some_and(|s| s.operation == operation);
            if let (true, Some(target)) = (same, call.target) {
                callees.push((ret.saturating_sub(1), target));
            }
        }
        callees.sort_unstable();
        for &(_, target) in &callees {
            let own = binary.program.function_at(vaddr)?.start;
            if target == own || budget == 0 {
                continue;
            }
            // Its height is all that is wanted of the callee.
            let height = Self::within(binary, target, budget - 1).map_or(0, |s| s.height);
            steps.height = steps.height.max((height + 1).min(DEEPEST));
        }
        let calls: Vec<u64> = callees.iter().map(|(call, _)| *call).collect();
        steps.order(binary, &flow, &calls);
        steps.key_stores = key_stores(binary, &flow, layout);
        if matches!(
            operation,
            Operation::Assign | Operation::Delete | Operation::Clear
        ) {
            let code = code(binary, vaddr).unwrap_or_default();
            steps.flag_stores = flag_stores(&code, &flow, layout);
            if operation == Operation::Delete {
                steps.removed = removed(&code, &flow, layout);
            }
        }
        Some(steps)
    }

    /// Ranks the instructions that touch memory by their lines, outermost frame first.
    fn order(&mut self, binary: &Binary, flow: &FunctionFlow, calls: &[u64]) {
        let lines = |vaddr: u64| -> Vec<u32> {
            let frames = binary.program.frames_at(vaddr);
            frames.iter().rev().map(|f| f.line.unwrap_or(0)).collect()
        };
        let mut all: Vec<(Vec<u32>, u64)> = (flow.sites.keys().copied())
            .map(|vaddr| (lines(vaddr), vaddr))
            .collect();
        // What a line inlines are the arguments of its call.
        all.extend(flow.calls.keys().map(|&ret| {
            let call = ret.saturating_sub(1);
            let mut lines = lines(call);
            lines.push(u32::MAX);
            (lines, call)
        }));
        all.sort_unstable();
        for (rank, (_, vaddr)) in all.iter().enumerate() {
            let rank = u32::try_from(rank).map_or(0xffff, |r| r.min(0xffff));
            self.rank.insert(*vaddr, rank);
        }
        self.last_call = calls.iter().filter_map(|c| self.rank.get(c)).max().copied();
    }

    /// A store to a key, or the load of the old one that the write barrier asks for.
    fn writes_key(&self, access: &Step) -> bool {
        let line = access.frames.first().and_then(at);
        access.operand.write || line.is_some_and(|line| self.key_stores.contains(&line))
    }
}

/// The operation that handed out the pointer that a caller uses.
pub fn of_caller(target: &Target, flow: &FunctionFlow, family: Family) -> Option<Operation> {
    let (Target::Elem { call, .. } | Target::Key { call, .. }) = target else {
        return None;
    };
    let callee = flow.calls.get(call)?.callee.as_deref()?;
    Some(super::flow::signature(callee, family)?.operation)
}

/// The operands of a site with what they touch.
fn touched<'a>(
    flow: &'a FunctionFlow,
    layout: &'a Layout,
) -> impl Iterator<Item = (&'a Instruction, &'a Operand, Part)> {
    let areas = flow.signature.map(|s| s.areas).unwrap_or_default();
    flow.sites.values().flat_map(move |site| {
        site.operands.iter().filter_map(move |operand| {
            match classify(operand, layout, &areas, true) {
                Target::Part { part, .. } => Some((&site.instruction, operand, part)),
                _ => None,
            }
        })
    })
}

fn key_stores(binary: &Binary, flow: &FunctionFlow, layout: &Layout) -> FxHashSet<(String, u32)> {
    touched(flow, layout)
        .filter(|(_, operand, part)| operand.write && part.stage() == Stage::Key)
        .filter_map(|(ins, ..)| at(binary.program.frames_at(ins.ip()).first()?))
        .collect()
}

fn at(frame: &Frame) -> Option<(String, u32)> {
    Some((frame.function.clone(), frame.line?))
}

/// What a delete reaches from the store that removes the entry: the emptyOne of a classic map, the
/// first count that a Swiss map lowers. The search for the key does not come back from there.
fn removed(code: &Code, flow: &FunctionFlow, layout: &Layout) -> FxHashSet<u64> {
    let removing = |(_, operand, part): &(&Instruction, &Operand, Part)| match part {
        Part::BmapTophash => operand.stored == Some(EMPTY_ONE),
        Part::MapUsed | Part::TableUsed => operand.write,
        _ => false,
    };
    let stores = touched(flow, layout).filter(removing);
    reached(code, flow, stores.map(|(ins, ..)| ins.ip()))
}

/// Of a function's stores to the flag: the operation sets it with one that comes before all others, and
/// clears it with one that none comes after. `mapclear` has another flag cleared in between.
fn flag_stores(code: &Code, flow: &FunctionFlow, layout: &Layout) -> FxHashMap<u64, Phase> {
    let stores: Vec<u64> = touched(flow, layout)
        .filter(|(_, operand, part)| operand.write && part.is_flag())
        .map(|(ins, ..)| ins.ip())
        .collect();
    let after = |store: &u64| reached(code, flow, [*store].into_iter());
    let after: Vec<FxHashSet<u64>> = stores.iter().map(after).collect();
    let told = stores.iter().zip(&after).filter_map(|(store, reached)| {
        let first = !after.iter().any(|reached| reached.contains(store));
        let last = !stores.iter().any(|store| reached.contains(store));
        match (first, last) {
            (true, false) => Some((*store, Phase::SetFlag)),
            (false, true) => Some((*store, Phase::ClearFlag)),
            _ => None,
        }
    });
    told.collect()
}

/// Instructions by address.
type Code = FxHashMap<u64, Instruction>;

/// The code of the function that covers `vaddr`.
fn code(binary: &Binary, vaddr: u64) -> Option<Code> {
    let function = binary.program.function_at(vaddr)?;
    let len = usize::try_from(function.end.checked_sub(function.start)?).ok()?;
    let bytes = binary.program.bytes(function.start, len)?;
    let all = Instruction::decode(binary.program.arch, bytes, function.start);
    Some(all.into_iter().map(|ins| (ins.ip(), ins)).collect())
}

/// The instructions that a function may come to after those `from`.
fn reached(code: &Code, flow: &FunctionFlow, from: impl Iterator<Item = u64>) -> FxHashSet<u64> {
    let mut work: Vec<u64> = from.collect();
    let mut reached = FxHashSet::default();
    while let Some(ip) = work.pop() {
        let Some(ins) = code.get(&ip) else { continue };
        let (next, target) = match ins.control() {
            Control::Next => (true, None),
            Control::Call(_) => {
                let callee = flow.calls.get(&ins.next_ip());
                let callee = callee.and_then(|call| call.callee.as_deref());
                (callee.is_none_or(returns), None)
            }
            Control::Branch { target, .. } => (true, target),
            Control::Jump(target) => (false, target),
            Control::Return | Control::Stop => (false, None),
        };
        let next = next.then(|| ins.next_ip());
        for ip in next.into_iter().chain(target) {
            if reached.insert(ip) {
                work.push(ip);
            }
        }
    }
    reached
}

/// One access of a map function.
pub struct Step<'a> {
    pub target: &'a Target,
    pub operand: &'a Operand,
    pub instruction: &'a Instruction,
    /// The inline chain, innermost first.
    pub frames: &'a [Frame],
}

/// The phase, from the part that is touched, how, and in which operation. `None` where the code is
/// no map code or the part is not known.
pub fn phase_of(
    access: &Step,
    operation: Option<Operation>,
    steps: Option<&Steps>,
) -> Option<Phase> {
    let part = match access.target {
        Target::Part { part, .. } => *part,
        Target::Elem { .. } => {
            return Some(if access.operand.write {
                Phase::WriteElem
            } else {
                Phase::ReadElem
            });
        }
        Target::Key { .. } => return Some(Phase::Iterate),
        _ => return None,
    };
    if access.operand.nil_check {
        return Some(Phase::NilCheck);
    }
    let flag = steps.and_then(|steps| steps.flag_stores.get(&access.instruction.ip()));
    if let Some(phase) = flag {
        return Some(*phase);
    }
    Some(match operation? {
        Operation::Grow => Phase::Evacuate,
        Operation::Make => Phase::Allocate,
        Operation::Clear => Phase::Clear,
        Operation::Iterate => Phase::Iterate,
        Operation::Delete => of_delete(part, access, steps?),
        Operation::Access | Operation::Assign => of_search(part, access, steps?),
    })
}

/// What a delete does, which is a search until the entry is found.
fn of_delete(part: Part, access: &Step, steps: &Steps) -> Phase {
    let ip = access.instruction.ip();
    let write = access.operand.write;
    let removed = steps.removed.contains(&ip);
    match (part, part.stage()) {
        // A map that became empty gets another seed.
        (Part::HmapHash0 | Part::MapSeed, _) if write => Phase::Count,
        (Part::BmapTophash | Part::BmapOverflow, _) if removed => Phase::BackPropagate,
        (Part::BmapTophash, _) if write => Phase::MarkEmpty,
        // Whether the group has an empty slot decides between empty and deleted.
        (Part::GroupCtrl, _) if removed || write => Phase::MarkEmpty,
        (Part::MapTombstonePossible, _) if write => Phase::MarkEmpty,
        (_, Stage::Key) if removed || steps.writes_key(access) => Phase::ClearKey,
        (_, Stage::Elem) => Phase::ClearElem,
        _ => of_search(part, access, steps),
    }
}

fn of_search(part: Part, access: &Step, steps: &Steps) -> Phase {
    let write = access.operand.write;
    let inner = access.frames.first().map_or("", |f| {
        let name = f.function.as_str();
        name.rsplit('.').next().unwrap_or(name)
    });
    match inner {
        // Whether to grow, and what it hangs on.
        "overLoadFactor" | "tooManyOverflowBuckets" | "incrnoverflow" => return Phase::Count,
        // Which array a key is in while the map grows.
        "sameSizeGrow" | "growing" | "evacuated" | "oldbucketmask" | "noldbuckets" => {
            return Phase::Locate;
        }
        "setoverflow" | "createOverflow" => return Phase::Allocate,
        _ => {}
    }
    match part {
        Part::HmapFlags | Part::MapWriting => Phase::CheckFlags,
        Part::HmapCount
        | Part::HmapNoverflow
        | Part::MapUsed
        | Part::TableUsed
        | Part::TableGrowthLeft => Phase::Count,
        Part::HmapHash0 | Part::MapSeed => Phase::Hash,
        _ => match part.stage() {
            Stage::Control if write => Phase::WriteControl,
            Stage::Control => Phase::CompareControl,
            Stage::Key if steps.writes_key(access) => Phase::WriteKey,
            Stage::Key => Phase::CompareKey,
            Stage::Elem if write => Phase::WriteElem,
            Stage::Elem => Phase::ReadElem,
            Stage::Extra => Phase::Allocate,
            // A first bucket, a directory, an overflow bucket that is linked in.
            _ if write => Phase::Allocate,
            _ => Phase::Locate,
        },
    }
}
