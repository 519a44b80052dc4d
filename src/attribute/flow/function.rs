//! One function: its basic blocks, the fixed point of the states at their starts, and from these
//! what each instruction touches.

use super::super::Operation;
use super::handed::Handed;
use super::instruction::{Control, Instruction};
use super::machine::{Machine, Operand, written};
use super::signature::{Signature, results, signature};
use super::state::{ARM64, Abi, CONTEXT, REGS, State, X86_64};
use super::value::{Area, Areas, Expr, Value, What};
use crate::gomap::{Layout, Structure};
use crate::program::{Arch, Program};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Blocks of helpers are numbered from here, times their depth: origins of joins name their block.
pub(super) const INNER: u32 = 1 << 16;

/// A register that names an object after an instruction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Live {
    /// perf's register number (`perf_regs.h`).
    pub reg: u32,
    pub structure: Structure,
    /// The register minus this is the start of the structure.
    pub off: i64,
    pub origin: u32,
}

/// A slot of the frame that names an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spilled {
    /// Bytes from the stack pointer on.
    pub at: u64,
    pub structure: Structure,
    /// The slot's value minus this is the start of the structure.
    pub off: i64,
    pub origin: u32,
}

/// One instruction that touches memory outside of its frame.
#[derive(Debug, Clone)]
pub struct Site {
    pub operands: Vec<Operand>,
    /// Registers after the instruction, as a PEBS record or a breakpoint trap has them.
    pub live: Vec<Live>,
    /// The same of slots, in map functions.
    pub spilled: Vec<Spilled>,
    /// In other functions: what a map call handed out, and the registers that lead to it after this.
    pub handed: Option<Handed>,
    pub instruction: Instruction,
}

/// A call, with what the registers hold at it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Name of the called function, for direct calls.
    pub callee: Option<String>,
    /// Address of the called instruction, for direct calls.
    pub target: Option<u64>,
    /// By hardware number.
    pub regs: [Value; REGS],
    /// In map functions: what slots of the frame name at the call.
    pub spilled: Vec<Spilled>,
    /// As [`Site::handed`].
    pub handed: Option<Handed>,
    abi: &'static Abi,
    /// Where the next step of a loop over a map is called: the call that began the loop.
    pub began: Option<u64>,
}

impl Call {
    /// The `n`-th integer argument of Go's register ABI.
    pub fn arg(&self, n: usize) -> Value {
        self.abi
            .args
            .get(n)
            .map_or(Value::UNKNOWN, |&r| self.regs[r])
    }
}

/// The flow of one function.
#[derive(Debug, Default)]
pub struct FunctionFlow {
    pub signature: Option<Signature>,
    /// By address of the instruction.
    pub sites: FxHashMap<u64, Site>,
    /// Instructions that touch memory, but only their own frame.
    pub frame: FxHashSet<u64>,
    /// By return address.
    pub calls: FxHashMap<u64, Call>,
    /// What callers hand to map functions as the map: `len(m)` is a load of its first word.
    pub headers: Vec<Value>,
    /// Start address of the instruction that ends at the key.
    pub before: FxHashMap<u64, u64>,
    /// Where the function returns an elem.
    pub left: Option<Left>,
}

/// What a map function leaves to its caller.
#[derive(Debug, Clone)]
pub struct Left {
    /// The registers that still name a structure.
    regs: [Value; REGS],
    handed: Option<Handed>,
}

/// What the map functions leave, by their address and what `Flow::spared` said of them.
#[derive(Debug, Default)]
pub struct Lefts(FxHashMap<(u64, u32), Option<Left>>);

impl FunctionFlow {
    /// Whether the operand is the first word of a map that the function also hands to a map call:
    /// `len(m)`, which the compiler inlines.
    pub fn is_len(&self, operand: &Operand) -> bool {
        let same = |header: &Value| match (header.what, operand.value.what) {
            (What::Global(a), What::Global(b)) => a == b,
            (What::Loaded, What::Loaded) => header.origin == operand.value.origin,
            _ => false,
        };
        operand.read && !operand.write && operand.size == 8 && self.headers.iter().any(same)
    }
}

/// The register ABI of an architecture whose code is followed.
pub fn abi(arch: Arch) -> Option<&'static Abi> {
    match arch {
        Arch::X86_64 => Some(&X86_64),
        Arch::Aarch64 => Some(&ARM64),
        Arch::X86 | Arch::Other => None,
    }
}

/// Functions larger than this are not followed: no function of a Go program that uses a map comes
/// near, and the work is bounded on a damaged binary.
const MAX_BYTES: u64 = 1 << 20;

/// Rounds over one block after which its state is given up: the join reaches a fixed point long before.
const MAX_VISITS: u32 = 64;

/// Functions that do not return to the instruction after their call. After `morestack` the function
/// begins anew, with the state that it began with.
const NO_RETURN: &[&str] = &[
    "internal/runtime/maps.fatal",
    "runtime.gopanic",
    "runtime.goPanic",
    "runtime.panic",
    "runtime.throw",
    "runtime.fatal",
    "runtime.morestack",
];

/// Whether a call of this function returns to the instruction after it.
pub fn returns(callee: &str) -> bool {
    !NO_RETURN.iter().any(|prefix| callee.starts_with(prefix))
}

pub(super) struct Code {
    pub(super) instructions: Vec<Instruction>,
    at: FxHashMap<u64, usize>,
    /// First instruction of each block.
    pub(super) starts: Vec<usize>,
    block_of: FxHashMap<usize, usize>,
}

/// Follows the values through the function that covers `pc`.
pub fn analyse(program: &Program, layout: &Layout, pc: u64) -> FunctionFlow {
    analyse_with(program, layout, pc, &mut Lefts::default())
}

/// The same, with what is known of the functions that it calls.
pub fn analyse_with(
    program: &Program,
    layout: &Layout,
    pc: u64,
    lefts: &mut Lefts,
) -> FunctionFlow {
    flow_from(program, layout, pc, State::at_entry, 0, lefts)
}

/// The same for a function that touches memory for others: where its arguments point to, however far
/// they advance.
pub fn analyse_pointers(program: &Program, layout: &Layout, pc: u64) -> FunctionFlow {
    let lefts = &mut Lefts::default();
    flow_from(program, layout, pc, State::of_pointers, 0, lefts)
}

fn flow_from(
    program: &Program,
    layout: &Layout,
    pc: u64,
    entry: fn(&Abi) -> State,
    spared: u32,
    lefts: &mut Lefts,
) -> FunctionFlow {
    let (Some(function), Some(abi)) = (program.function_at(pc), abi(program.arch)) else {
        return FunctionFlow::default();
    };
    let len = function.end.saturating_sub(function.start);
    if len == 0 || len > MAX_BYTES {
        return FunctionFlow::default();
    }
    let Some(bytes) = program.bytes(function.start, len as usize) else {
        return FunctionFlow::default();
    };
    let code = decode(program.arch, bytes, function.start);
    let signature = signature(&function.name, layout.family);
    let areas = signature.map_or(Areas::default(), |s| s.areas);
    let mut flow = Flow {
        program,
        layout,
        machine: Machine::new(layout, areas, signature.is_some(), abi),
        code: Rc::new(code),
        starts: Vec::new(),
        lefts: std::mem::take(lefts),
        spared,
        depth: 0,
        helpers: FxHashMap::default(),
    };
    let entry = match &signature {
        Some(signature) => State::of_map_function(signature, abi),
        None => entry(abi),
    };
    flow.solve(entry);
    let collected = flow.collect(signature);
    *lefts = flow.lefts;
    collected
}

pub(super) fn decode(arch: Arch, bytes: &[u8], start: u64) -> Code {
    let instructions = Instruction::decode(arch, bytes, start);
    let at: FxHashMap<u64, usize> = instructions
        .iter()
        .enumerate()
        .map(|(i, ins)| (ins.ip(), i))
        .collect();
    let mut starts = BTreeSet::from([0]);
    for (i, ins) in instructions.iter().enumerate() {
        if let Some(target) = jump_target(ins)
            && let Some(&j) = at.get(&target)
        {
            starts.insert(j);
        }
        let ends = !matches!(ins.control(), Control::Next | Control::Call(_));
        if ends && i + 1 < instructions.len() {
            starts.insert(i + 1);
        }
    }
    let starts: Vec<usize> = starts.into_iter().collect();
    let block_of = starts.iter().enumerate().map(|(b, &i)| (i, b)).collect();
    Code {
        instructions,
        at,
        starts,
        block_of,
    }
}

fn jump_target(ins: &Instruction) -> Option<u64> {
    match ins.control() {
        Control::Jump(target) | Control::Branch { target, .. } => target,
        _ => None,
    }
}

pub(super) struct Flow<'a> {
    pub(super) program: &'a Program,
    pub(super) layout: &'a Layout,
    pub(super) machine: Machine<'a>,
    pub(super) code: Rc<Code>,
    /// State at the start of each block; `None` where the flow has not come.
    pub(super) starts: Vec<Option<State>>,
    /// [`FunctionFlow::left`] of the map functions that this one calls.
    pub(super) lefts: Lefts,
    /// Of a map function: the registers that comparing keys leaves as they are, bit for bit, as far as the
    /// type of the map is known.
    pub(super) spared: u32,
    /// Calls between the function asked for and this one.
    pub(super) depth: u32,
    /// Decoded helpers by their address; `None` for functions that are not followed.
    pub(super) helpers: FxHashMap<u64, Option<Rc<Code>>>,
}

impl Flow<'_> {
    pub(super) fn solve(&mut self, entry: State) {
        let blocks = self.code.starts.len();
        self.starts = vec![None; blocks];
        if blocks == 0 {
            return;
        }
        self.starts[0] = Some(entry);
        self.run(0, &vec![false; blocks]);
        // Blocks behind a jump table: nothing is known there but what calls in them return. Many
        // cannot be reached at all (behind a call that panics), so they teach the others nothing.
        let reached: Vec<bool> = self.starts.iter().map(Option::is_some).collect();
        for block in 0..blocks {
            if self.starts[block].is_none() {
                self.starts[block] = Some(State::unknown());
                self.run(block, &reached);
            }
        }
    }

    /// Propagates from `first` to a fixed point; the states of `settled` blocks stay as they are.
    fn run(&mut self, first: usize, settled: &[bool]) {
        let mut work = BTreeSet::from([first]);
        let mut visits = vec![0u32; self.code.starts.len()];
        while let Some(block) = work.pop_first() {
            visits[block] += 1;
            if visits[block] > MAX_VISITS {
                continue;
            }
            let Some(state) = self.starts[block].clone() else {
                continue;
            };
            for (next, state) in self.through(block, state, |_, _, _, _| {}) {
                if settled[next] {
                    continue;
                }
                let areas = self.machine.areas;
                let changed = match &mut self.starts[next] {
                    Some(known) => known.join(&state, self.depth * INNER + next as u32, &areas),
                    none => {
                        *none = Some(state);
                        true
                    }
                };
                if changed {
                    work.insert(next);
                }
            }
        }
    }

    /// Runs `state` through a block; `see` gets the machine, the state before and after, and the
    /// index of each instruction. Returns the successors with the state that each receives.
    pub(super) fn through(
        &mut self,
        block: usize,
        mut state: State,
        mut see: impl FnMut(&mut Machine, &State, &State, usize),
    ) -> Vec<(usize, State)> {
        let first = self.code.starts[block];
        let end = match self.code.starts.get(block + 1) {
            Some(&next) => next,
            None => self.code.instructions.len(),
        };
        for i in first..end {
            let ins = self.code.instructions[i];
            let before = state.clone();
            match ins.control() {
                Control::Call(_) => {
                    let returns = self.call(&mut state, &ins, i);
                    see(&mut self.machine, &before, &state, i);
                    if !returns {
                        return Vec::new();
                    }
                }
                Control::Next => {
                    self.machine.step(&mut state, &ins, self.origin_of(i));
                    see(&mut self.machine, &before, &state, i);
                }
                Control::Jump(_) | Control::Branch { .. } => {
                    see(&mut self.machine, &before, &state, i);
                    return self.branch(&ins, i, state);
                }
                _ => {
                    see(&mut self.machine, &before, &state, i);
                    return Vec::new();
                }
            }
        }
        self.code
            .block_of
            .get(&end)
            .map(|&b| vec![(b, state)])
            .unwrap_or_default()
    }

    fn branch(&self, ins: &Instruction, i: usize, mut state: State) -> Vec<(usize, State)> {
        let target = jump_target(ins)
            .and_then(|t| self.code.at.get(&t))
            .and_then(|j| self.code.block_of.get(j))
            .copied();
        let next = self.code.block_of.get(&(i + 1)).copied();
        let Control::Branch { zero, tested, .. } = ins.control() else {
            return target.map(|t| vec![(t, state)]).unwrap_or_default();
        };
        if let Some(register) = tested {
            state.compared_dir_len = state.regs[register].what == What::DirLen;
        }
        let mut successors = Vec::new();
        for (block, taken) in [(target, true), (next, false)] {
            let Some(block) = block else { continue };
            let mut state = state.clone();
            if state.compared_dir_len
                && let Some(small) = zero
            {
                state.settle_small(small == taken);
            }
            successors.push((block, state));
        }
        successors
    }

    fn callee(&self, ins: &Instruction) -> Option<&str> {
        let Control::Call(Some(target)) = ins.control() else {
            return None;
        };
        Some(self.program.function_at(target)?.name.as_str())
    }

    /// Applies a call; whether it returns.
    fn call(&mut self, state: &mut State, ins: &Instruction, i: usize) -> bool {
        let name = self.callee(ins).unwrap_or("").to_owned();
        let wrote = |state: &mut State, written: u32| {
            if let Some(handed) = &mut state.handed {
                handed.wrote(written, None);
            }
        };
        if name.starts_with("runtime.gcWriteBarrier") {
            self.machine.after_write_barrier(state);
            wrote(state, 1 << self.machine.abi.write_barrier);
            return true;
        }
        if !returns(&name) {
            return false;
        }
        if name == "runtime.duffcopy" || name == "runtime.duffzero" {
            for r in self.machine.abi.duff {
                state.regs[r] = Value::UNKNOWN;
                wrote(state, 1 << r);
            }
            return true;
        }
        let kept = self.machine.abi.kept.iter().fold(0, |all, r| all | 1 << r);
        if name.is_empty() && self.spared != 0 && compares_keys(state) {
            let spared = self.spared | kept;
            for r in (0..REGS).filter(|r| spared >> r & 1 == 0) {
                state.regs[r] = Value::UNKNOWN;
            }
            wrote(state, !spared);
            return true;
        }
        let args: Vec<Value> = self
            .machine
            .abi
            .args
            .iter()
            .map(|&r| state.regs[r])
            .collect();
        let program = self.program;
        let returned = results(&name, self.layout.family, &args, |descriptor| match program
            .type_name_at(descriptor)?
            .as_str()
        {
            "runtime.hmap" | "maps.Map" => Some(Structure::Header),
            "maps.table" => Some(Structure::Table),
            "*maps.table" => Some(Structure::Directory),
            "runtime.mapextra" => Some(Structure::Extra),
            _ => None,
        });
        wrote(state, !kept);
        if returned.is_empty() && self.through_helper(state, ins, i) {
            return true;
        }
        self.machine.after_call(state, &returned, self.origin_of(i));
        match ins.control() {
            Control::Call(Some(entry)) if self.machine.map_code && hands_on(&name) => {
                let left = self.left_by(entry, self.spared);
                state.handed = left.and_then(|left| left.handed);
            }
            _ if self.machine.map_code => {}
            _ => {
                state.handed = None;
                self.user_call(state, &name, ins, &args, self.origin_of(i));
            }
        }
        true
    }

    /// What a call of the map function at `entry` leaves.
    fn left_by(&mut self, entry: u64, spared: u32) -> Option<Left> {
        let key = (entry, spared);
        if let Some(left) = self.lefts.0.get(&key) {
            return left.clone();
        }
        self.lefts.0.insert(key, None);
        let (program, layout) = (self.program, self.layout);
        let entered = State::at_entry;
        let left = flow_from(program, layout, entry, entered, spared, &mut self.lefts).left;
        self.lefts.0.insert(key, left.clone());
        left
    }

    /// The registers that comparing keys of maps of the type with this descriptor leaves as they are.
    fn spared_by(&mut self, descriptor: &Value) -> u32 {
        let spared = || {
            let descriptor = descriptor.expr.as_constant()? as u64;
            let off = |structure, name: &str| {
                let mut fields = self.layout.fields(structure).iter();
                Some(fields.find(|field| field.name == name)?.off)
            };
            let word = |at: u64, off| self.program.read_u64(at.checked_add(off?)?);
            let key = word(descriptor, off(Structure::MapType, "Key"))?;
            let equal = word(key, off(Structure::Rtype, "Equal"))?;
            let mut entry = word(equal, Some(0))?;
            let mut all = 0;
            for _ in 0..MOST_TAIL_CALLS {
                let function = self.program.function_at(entry)?;
                let len = usize::try_from(function.end.checked_sub(function.start)?).ok()?;
                let bytes = self.program.bytes(function.start, len)?;
                let range = function.start..function.end;
                let mut on = None;
                let code = Instruction::decode(self.program.arch, bytes, function.start);
                for ins in &code {
                    match ins.control() {
                        Control::Next | Control::Return | Control::Stop => {}
                        Control::Jump(Some(to))
                        | Control::Branch {
                            target: Some(to), ..
                        } => {
                            if !range.contains(&to) && on.is_none_or(|other| other == to) {
                                on = Some(to);
                            } else if !range.contains(&to) {
                                return None;
                            }
                        }
                        // It may have to grow the stack, which spares nothing.
                        _ => return None,
                    }
                }
                all |= written(&code);
                match on {
                    Some(next) => entry = next,
                    None => return Some(!all),
                }
            }
            None
        };
        match descriptor.what {
            What::Number => spared().unwrap_or(0),
            _ => 0,
        }
    }

    /// A call of a map function from other code: what it hands to its caller.
    /// What it leaves in registers, that is to say of the same map, has its origin.
    fn user_call(
        &mut self,
        state: &mut State,
        name: &str,
        ins: &Instruction,
        args: &[Value],
        origin: u32,
    ) {
        let ret = ins.next_ip();
        let handed = |what| Value {
            what,
            expr: Expr::constant(0),
            origin: 0,
            ..Value::UNKNOWN
        };
        let iterator = match name {
            "runtime.mapiterinit" | "runtime.mapIterStart" => Some((&args[2], ret)),
            "runtime.mapiternext" | "runtime.mapIterNext" => {
                began(state, &args[0]).map(|site| (&args[0], site))
            }
            _ => None,
        };
        if let Some((it, site)) = iterator {
            if let Control::Call(Some(entry)) = ins.control() {
                let left = self.left_by(entry, 0).and_then(|left| left.handed);
                state.handed = left.map(|handed| handed.by(site));
            }
            if let (What::Stack, Some(off)) = (it.what, it.expr.as_constant()) {
                state.store(off, 8, Some(handed(What::Key(site))));
                state.store(off + 8, 8, Some(handed(What::Elem(site))));
                state.store(off + 16, 8, Some(handed(What::Key(site))));
            }
            return;
        }
        let returns_elem =
            name.starts_with("runtime.mapaccess") || name.starts_with("runtime.mapassign");
        if returns_elem && signature(name, self.layout.family).is_some() {
            let Control::Call(Some(entry)) = ins.control() else {
                return;
            };
            let spared = self.spared_by(&args[0]);
            if let Some(left) = self.left_by(entry, spared) {
                state.regs = std::array::from_fn(|r| match left.regs[r].what {
                    What::At(_) => Value {
                        origin,
                        ..left.regs[r]
                    },
                    _ => state.regs[r],
                });
                state.handed = left.handed.map(|handed| handed.by(ret));
            }
            state.regs[0] = Value {
                origin,
                ..handed(What::Elem(ret))
            };
        }
    }

    /// The identity of what instruction `i` defines; the arguments have 1 to 9. What a helper
    /// defines is told apart by its caller.
    pub(super) fn origin_of(&self, i: usize) -> u32 {
        if self.depth == 0 { 16 + i as u32 } else { 0 }
    }

    fn collect(&mut self, signature: Option<Signature>) -> FunctionFlow {
        let mut flow = FunctionFlow {
            signature,
            ..FunctionFlow::default()
        };
        let code = Rc::clone(&self.code);
        for ins in &code.instructions {
            flow.before.insert(ins.next_ip(), ins.ip());
        }
        let mut returned: Option<State> = None;
        let mut handed: Option<Handed> = None;
        let iterates = signature.is_some_and(|s| s.operation == Operation::Iterate);
        for block in 0..code.starts.len() {
            let Some(state) = self.starts[block].clone() else {
                continue;
            };
            let mut calls = Vec::new();
            self.through(block, state, |machine, before, after, i| {
                let ins = &code.instructions[i];
                if matches!(ins.control(), Control::Call(_)) {
                    let spilled = spilled(before, machine);
                    let began = began(before, &before.regs[machine.abi.args[0]]);
                    calls.push((ins, before.regs, began, spilled, before.handed));
                }
                // A miss returns the address of a static zero value.
                let found = before.regs[0].what != What::Number;
                if ins.control() == Control::Return && found {
                    // An iterator that has come to its end hands out nothing.
                    let elem = || (!iterates).then(|| Handed::returned(before, machine.abi));
                    handed = match (handed, before.handed.or_else(elem)) {
                        (Some(a), Some(b)) => Handed::join(Some(a), Some(b)),
                        (a, b) => a.or(b),
                    };
                    match &mut returned {
                        Some(known) => {
                            known.join(before, 0, &machine.areas);
                        }
                        none => *none = Some(before.clone()),
                    }
                }
                let mut operands = machine.operands(before, ins);
                if operands.iter().any(|o| o.value.what == What::Stack) {
                    flow.frame.insert(ins.ip());
                }
                operands.retain(|o| o.value.what != What::Stack);
                if !operands.is_empty() {
                    let live = live(after, machine.abi);
                    // Behind a call the stack pointer is the called function's.
                    let spilled = match ins.control() {
                        Control::Call(_) => Vec::new(),
                        _ => spilled(after, machine),
                    };
                    flow.sites.insert(
                        ins.ip(),
                        Site {
                            operands,
                            live,
                            spilled,
                            handed: after.handed.filter(|_| !machine.map_code),
                            instruction: *ins,
                        },
                    );
                }
            });
            for (ins, regs, began, spilled, handed) in calls {
                let callee = self.callee(ins).map(str::to_owned);
                let target = match ins.control() {
                    Control::Call(target) => target,
                    _ => None,
                };
                let abi = self.machine.abi;
                let header = regs[abi.args[1]];
                let tracked = matches!(header.what, What::Loaded | What::Global(_));
                let takes_map = callee
                    .as_deref()
                    .and_then(|name| super::signature(name, self.layout.family))
                    .is_some_and(|s| s.args.get(1) == Some(&Some(Structure::Header)));
                if tracked && takes_map && !flow.headers.contains(&header) {
                    flow.headers.push(header);
                }
                flow.calls.insert(
                    ins.next_ip(),
                    Call {
                        callee,
                        target,
                        regs,
                        spilled,
                        handed,
                        abi,
                        began,
                    },
                );
            }
        }
        flow.left = returned.map(|state| Left {
            regs: state.regs.map(left),
            handed,
        });
        flow
    }
}

/// Functions that jump to another to go on there: `strequal` to `memeqbody`.
const MOST_TAIL_CALLS: usize = 3;

/// Whether a call through a pointer in map code is of the function that compares keys: its context register
/// has what the key's type says.
fn compares_keys(state: &State) -> bool {
    let context = state.regs[CONTEXT];
    context.what == What::At(Structure::Funcval) && context.area == Area::Key
}

/// Whether a function of the map implementation is called by others to hand out what they do.
fn hands_on(name: &str) -> bool {
    const HANDING: &[&str] = &[
        "runtime.mapaccess",
        "runtime.mapassign",
        "runtime.mapiternext",
        "internal/runtime/maps.(*Iter).Next",
    ];
    HANDING.iter().any(|prefix| name.starts_with(prefix)) && name != "runtime.mapaccessK"
}

/// The call that began the loop over a map whose iterator `it` points to: `t` in the iterator is marked
/// with it.
fn began(state: &State, it: &Value) -> Option<u64> {
    let off = it.expr.as_constant().filter(|_| it.what == What::Stack)?;
    match state.stack.get(&off.checked_add(16)?)?.what {
        What::Key(site) => Some(site),
        _ => None,
    }
}

/// A value as it is left to a caller: what it names there, and nothing of where it came from.
fn left(value: Value) -> Value {
    match value.what {
        What::At(_) if value.area == Area::Start && value.expr.as_constant().is_some() => Value {
            origin: 0,
            slot: 0,
            ..value
        },
        _ => Value::UNKNOWN,
    }
}

/// The structure that a value points into, and how far from its start, where that is known.
fn pointed_to(value: &Value) -> Option<(Structure, i64)> {
    use Structure::*;
    let What::At(structure) = value.what else {
        return None;
    };
    let off = value
        .expr
        .as_constant()
        .filter(|_| value.area == Area::Start)?;
    let useful = !matches!(
        structure,
        Rtype | BucketRtype | Funcval | BucketSlice | Other
    );
    useful.then_some((structure, off))
}

/// The registers that hold the address of a structure, at a known offset.
fn live(state: &State, abi: &Abi) -> Vec<Live> {
    let named = |r: &usize| *r != abi.sp;
    (0..abi.perf.len())
        .filter(named)
        .filter_map(|r| {
            let (structure, off) = pointed_to(&state.regs[r])?;
            Some(Live {
                reg: abi.perf[r],
                structure,
                off,
                origin: state.regs[r].origin,
            })
        })
        .collect()
}

/// The slots that do, of a map function.
fn spilled(state: &State, machine: &Machine) -> Vec<Spilled> {
    let sp = &state.regs[machine.abi.sp];
    let top = sp.expr.as_constant().filter(|_| sp.what == What::Stack);
    let Some(top) = top.filter(|_| machine.map_code) else {
        return Vec::new();
    };
    let slots = state.stack.range(top..);
    let slots = slots.filter_map(|(at, value)| {
        let (structure, off) = pointed_to(value)?;
        Some(Spilled {
            at: u64::try_from(at.checked_sub(top)?).ok()?,
            structure,
            off,
            origin: value.origin,
        })
    });
    slots.collect()
}
