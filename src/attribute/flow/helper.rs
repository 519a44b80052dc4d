//! Small functions that map code calls, followed as if they were part of it.
//!
//! In builds without inlining (`-N -l`) `add`, `(*bmap).keys` or `(*groupReference).elem` are calls;
//! what they return is a pointer made of their arguments, which may be structures in the caller's
//! frame. So the caller's state goes through their code.

use super::function::{Code, Flow, INNER, Lefts, decode};
use super::instruction::{Control, Instruction};
use super::machine::Machine;
use super::state::State;
use super::value::{Value, What};
use std::rc::Rc;

/// Bytes of the largest function that is followed: the helpers are getters and address arithmetic.
const MAX_BYTES: u64 = 0x80;

/// Calls of helpers in helpers: `(*table).tombstones` asks `maxGrowthLeft`.
const MAX_DEPTH: u32 = 3;

impl Flow<'_> {
    /// Sends the caller's state through the called helper; `false` where it is none.
    pub(super) fn through_helper(
        &mut self,
        state: &mut State,
        call: &Instruction,
        i: usize,
    ) -> bool {
        if !self.machine.map_code || self.depth >= MAX_DEPTH {
            return false;
        }
        let Some(code) = self.helper(call) else {
            return false;
        };
        let mut inner = Flow {
            program: self.program,
            layout: self.layout,
            machine: Machine::new(self.layout, self.machine.areas, true, self.machine.abi),
            code,
            starts: Vec::new(),
            lefts: Lefts::default(),
            spared: self.spared,
            depth: self.depth + 1,
            helpers: std::mem::take(&mut self.helpers),
        };
        let abi = self.machine.abi;
        let sp = state.regs[abi.sp];
        let mut entry = state.clone();
        entry.regs[abi.sp] = sp.add(&Value::constant(-abi.call_pushes));
        inner.solve(entry);
        let returned = inner.returned();
        self.helpers = inner.helpers;
        let Some(mut returned) = returned else {
            return false;
        };
        let origin = self.origin_of(i);
        returned.forget_origin(origin);
        returned.forget_joined_from(INNER * (self.depth + 1));
        // Only results, the stack pointer, the frame pointer and g outlive a call.
        for r in 0..returned.regs.len() {
            if !abi.args.contains(&r) && !abi.kept.contains(&r) {
                returned.regs[r] = Value::UNKNOWN;
            }
        }
        let result = &mut returned.regs[abi.args[0]];
        if result.origin == 0 && matches!(result.what, What::At(_)) {
            result.origin = origin;
        }
        returned.regs[abi.sp] = sp;
        if let (What::Stack, Some(top)) = (sp.what, sp.expr.as_constant()) {
            returned.stack = returned.stack.split_off(&top);
        }
        returned.compared_dir_len = false;
        *state = returned;
        true
    }

    /// The code of a called function that is small enough and returns.
    fn helper(&mut self, call: &Instruction) -> Option<Rc<Code>> {
        let Control::Call(Some(target)) = call.control() else {
            return None;
        };
        if let Some(known) = self.helpers.get(&target) {
            return known.clone();
        }
        let code = self.decode_helper(target);
        self.helpers.insert(target, code.clone());
        code
    }

    fn decode_helper(&self, target: u64) -> Option<Rc<Code>> {
        let function = self.program.function_at(target)?;
        let len = function.end.saturating_sub(function.start);
        let of_runtime = ["runtime.", "internal/runtime/maps.", "internal/abi."]
            .iter()
            .any(|package| function.name.starts_with(package));
        if function.start != target || len > MAX_BYTES || !of_runtime {
            return None;
        }
        let bytes = self.program.bytes(function.start, len as usize)?;
        Some(Rc::new(decode(self.program.arch, bytes, function.start)))
    }

    /// The state at the returns; `None` where none is reached.
    fn returned(&mut self) -> Option<State> {
        let code = Rc::clone(&self.code);
        let mut joined: Option<State> = None;
        for block in 0..code.starts.len() {
            let Some(state) = self.starts[block].clone() else {
                continue;
            };
            let depth = self.depth;
            self.through(block, state, |machine, before, _, i| {
                let returns = code
                    .instructions
                    .get(i)
                    .is_some_and(|ins| ins.control() == Control::Return);
                if returns {
                    match &mut joined {
                        Some(all) => {
                            all.join(before, (depth + 1) * INNER - 1, &machine.areas);
                        }
                        none => *none = Some(before.clone()),
                    }
                }
            });
        }
        joined
    }
}
