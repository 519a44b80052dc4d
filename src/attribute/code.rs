//! What the code at one place says: function, lines, and what its memory operands touch.

use super::binary::{Binary, is_proxy};
use super::flow::{self, Areas, Handed, Instruction, Live, Operand, Spilled, Target, classify};
use super::leaf;
use super::phase::{self, phase_of};
use super::steps::{LAST, Steps};
use super::types::{OTHERS, Types, variant_of};
use super::{Place, Reason};
use crate::gomap::{Layout, Part, Structure};
use crate::program::{Arch, Frame, Program};
use std::sync::Arc;

/// What the code at one place says, for its samples to be resolved with.
#[derive(Debug, Clone)]
pub struct Code {
    /// Each memory operand outside of the frame, and what it touches.
    pub operands: Vec<(Target, Operand)>,
    pub live: Vec<Live>,
    pub spilled: Vec<Spilled>,
    /// What a map call handed out to this function.
    pub handed: Option<Handed>,
    pub layout: &'static Layout,
    /// The map function has the map among its arguments.
    pub gets_map: bool,
    pub instruction: Instruction,
    /// The function is part of the map implementation.
    pub map_code: bool,
    /// The function touches memory for its caller, who may know what it is.
    pub leaf: bool,
    /// [`leaf::to_end`]
    pub to_end: Option<u64>,
    /// perf's number of the register that a plain load fills or a plain store writes, and the bytes
    /// moved.
    pub moved: Option<(u32, u32)>,
    /// Which maps the function handles: [`super::types::variant_of`], or [`OTHERS`].
    pub variant: usize,
    /// Of a map function, where the code alone does not tell the part and so not the phase.
    pub steps: Option<Arc<Steps>>,
    /// Run-time address minus link-time address.
    pub bias: u64,
    /// The binary, as [`super::types::Types`] numbers it.
    pub binary: u32,
}

/// The functions for maps of any type, which compiled code calls for no type that has its own.
const GENERIC: &[&str] = &[
    "runtime.mapaccess1",
    "runtime.mapaccess1_fat",
    "runtime.mapaccess2",
    "runtime.mapaccess2_fat",
    "runtime.mapassign",
    "runtime.mapdelete",
];

impl Binary {
    /// Whether an instruction accesses g, as every function does that checks its stack. Assembly may use
    /// the register for something else.
    fn is_of_g(&self, instruction: &Instruction, frames: &[Frame]) -> bool {
        let file = frames.last().and_then(|frame| frame.file.as_deref());
        let compiled = file.is_some_and(|file| file.ends_with(".go"));
        let g = flow::abi(self.program.arch).and_then(|abi| abi.perf.get(abi.g));
        compiled && g.is_some() && instruction.form().and_then(|form| form.base) == g.copied()
    }

    /// The place of the instruction at `vaddr` (with `after`: of the instruction that ends there,
    /// as a breakpoint reports it) and its code, or why there is none.
    pub fn place(
        &mut self,
        image: &str,
        ip: u64,
        vaddr: u64,
        after: bool,
    ) -> (Place, Result<Code, Reason>) {
        let mut place = Place {
            ip,
            image: image.to_owned(),
            ..Place::default()
        };
        // A watchpoint of arm64 traps before the access (`watchpoint_handler`,
        // arch/arm64/kernel/hw_breakpoint.c), a debug register of x86 after it.
        let after = after && matches!(self.program.arch, Arch::X86_64 | Arch::X86);
        // The byte before a return address or a trap's ip lies in the instruction meant.
        let probe = if after {
            vaddr.saturating_sub(1)
        } else {
            vaddr
        };
        let Some(function) = self.program.function_at(probe) else {
            let narrow = self.program.narrow && self.program.go.is_some();
            let reason = if narrow {
                Reason::Narrow
            } else {
                Reason::NoSymbol
            };
            return (place, Err(reason));
        };
        let (name, entry) = (function.name.clone(), function.start);
        place.function = Some(name.clone());
        place.frames = self.program.frames_at(probe);
        if self.program.go.is_none() {
            return (place, Err(Reason::NotGo));
        }
        if self.program.narrow {
            return (place, Err(Reason::Narrow));
        }
        let (Some(layout), Some(flow)) = (self.layout, self.flow(probe)) else {
            return (place, Err(Reason::NotMap));
        };
        let start = if after {
            flow.before.get(&vaddr).copied()
        } else {
            Some(vaddr)
        };
        place.offset = start.and_then(|start| start.checked_sub(entry));
        let map_code = flow.signature.is_some();
        let Some(site) = start.and_then(|start| flow.sites.get(&start)) else {
            let own_frame = start.is_some_and(|start| flow.frame.contains(&start));
            let reason = match (map_code, own_frame) {
                (false, _) => Reason::NotMap,
                (true, true) => Reason::Stack,
                (true, false) => Reason::NoOperand,
            };
            return (place, Err(reason));
        };
        if self.is_of_g(&site.instruction, &place.frames) {
            return (place, Err(Reason::Goroutine));
        }
        let areas = flow.signature.map_or(Areas::default(), |s| s.areas);
        let operands: Vec<(Target, Operand)> = site
            .operands
            .iter()
            .map(|operand| {
                let target = if flow.is_len(operand) {
                    let part = layout.header.first().and_then(|count| count.part);
                    part.map(|part| Target::Part { part, off: Some(0) })
                } else {
                    None
                };
                let target = target.unwrap_or_else(|| classify(operand, layout, &areas, map_code));
                (target, *operand)
            })
            .collect();
        place.instruction = Some(site.instruction.text());
        place.operation = flow.signature.map(|s| s.operation);
        let mut open = None;
        if let Some((target, operand)) = operands.first() {
            let steps = self.steps(probe);
            let access = phase::Step {
                target,
                operand,
                instruction: &site.instruction,
                frames: &place.frames,
            };
            place.phase = phase_of(&access, place.operation, steps.as_deref());
            let step = steps.as_ref();
            place.step = step.and_then(|steps| steps.step(site.instruction.ip()));
            open = steps.filter(|_| map_code && place.phase.is_none());
            if let Some(operation) = phase::of_caller(target, &flow, layout.family) {
                place.operation = Some(operation);
                place.step = Some(LAST);
            }
        }
        let code = Code {
            operands,
            live: site.live.clone(),
            spilled: site.spilled.clone(),
            handed: site.handed,
            layout,
            gets_map: flow
                .signature
                .is_some_and(|s| s.args.contains(&Some(Structure::Header))),
            instruction: site.instruction,
            leaf: !map_code && is_proxy(&name),
            to_end: leaf::to_end(self, site.instruction.ip()),
            moved: site.instruction.moved(),
            map_code,
            variant: match areas.key_size {
                None if !self.reflects && GENERIC.contains(&name.as_str()) => OTHERS,
                key_size => variant_of(key_size),
            },
            steps: open,
            bias: ip.wrapping_sub(vaddr),
            binary: self.id,
        };
        (place, Ok(code))
    }
}

/// Every access of the map function `name` that the code alone tells the part of, in the order in
/// which one run through it comes by, loops apart: its place, the part, and whether it is a store.
pub fn steps_of(program: &Arc<Program>, name: &str) -> Vec<(Place, Part, bool)> {
    let mut binary = Binary::new(Arc::clone(program), &mut Types::default());
    let starts = (program.functions().iter()).filter(|f| f.name == name);
    let starts: Vec<u64> = starts.map(|f| f.start).collect();
    let mut steps = Vec::new();
    for start in starts {
        let Some(flow) = binary.flow(start) else {
            continue;
        };
        for &vaddr in flow.sites.keys() {
            let (place, Ok(code)) = binary.place("", vaddr, vaddr, false) else {
                continue;
            };
            if let Some((Target::Part { part, .. }, operand)) = code.operands.first() {
                steps.push((place, *part, operand.write));
            }
        }
    }
    steps.sort_by_key(|(place, ..)| (place.step, place.ip));
    steps
}
