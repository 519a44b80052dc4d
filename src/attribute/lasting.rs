//! Variables that hold one and the same map for as long as the program runs, and map types of which
//! there is no map but that one.
//!
//! A variable of a package that is set once, where the program begins (a package's initialisation, or
//! `main.main` outside of a loop), and whose address no code takes, holds one map. If every map call of
//! a type takes its map from such a variable, and nothing but code refers to the type, then no other
//! map has it: then the type names the map wherever it is seen.

use super::Operation;
use super::binary::Binary;
use super::callers::call_site;
use super::complete::VARIABLE;
use super::flow::signature;
use super::resolve::Row;
use super::types::{ShapeId, TypeId, Types};
use crate::gomap::{Family, MapType};
use crate::program::references::{Reference, Use};
use crate::program::{Function, Kept, Program, Root};
use iced_x86::FlowControl;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::Range;
use std::sync::Arc;

/// A variable's bytes.
const POINTER: u64 = 8;

/// Without symbols: how far before a variable the beginning of a structure is looked for that the
/// variable might be a field of. Code that has the structure's address can set its fields.
const STRUCTURE: u64 = 1024;

#[derive(Debug, Default)]
pub struct Lasting {
    /// By link-time address of the variable.
    variables: FxHashSet<u64>,
    /// The variable that holds the one map of a type.
    only: FxHashMap<TypeId, u64>,
    /// The header of the map that a variable holds.
    headers: FxHashMap<u64, u64>,
}

impl Lasting {
    /// Whether the variable holds one map all the time.
    pub fn holds(&self, variable: u64) -> bool {
        self.variables.contains(&variable)
    }

    /// Whether a header stands for such a variable.
    pub fn keeps(&self, header: u64) -> bool {
        header & VARIABLE != 0 && self.holds(header & !VARIABLE)
    }

    /// The header of the map that a variable of this kind holds: a number in its place, where no sample
    /// knows it.
    pub fn header_in(&self, variable: u64) -> u64 {
        let header = self.headers.get(&variable);
        header.copied().unwrap_or(VARIABLE | variable)
    }

    /// Learns headers of maps that variables hold.
    pub fn learn(&mut self, headers: impl IntoIterator<Item = (u64, u64)>) {
        let held = headers
            .into_iter()
            .filter(|(variable, _)| self.variables.contains(variable));
        self.headers.extend(held);
    }

    /// Puts the header in the place of the variable, where it is known.
    pub fn settle(&self, row: &mut Row) {
        if self.keeps(row.header) {
            row.header = self.header_in(row.header & !VARIABLE);
        }
    }

    /// The variable that holds the one map of this type.
    pub fn of_type(&self, map_type: TypeId) -> Option<u64> {
        self.only.get(&map_type).copied()
    }

    /// What holds for the types of these shapes, and for the variables that call sites name. Of one
    /// process and one binary only: others have variables of their own at the same addresses.
    pub fn find(binary: &mut Binary, shapes: &FxHashSet<ShapeId>, types: &mut Types) -> Lasting {
        let mut lasting = Lasting::default();
        let program = Arc::clone(&binary.program);
        let Some(family) = binary.layout.map(|layout| layout.family) else {
            return lasting;
        };
        let candidates: Vec<(TypeId, u64)> = types
            .of_binary(binary.id)
            .filter(|(id, _)| types.shape_of(*id).is_some_and(|s| shapes.contains(&s)))
            .collect();
        let descriptors: Vec<Range<u64>> = candidates.iter().map(|(_, at)| *at..*at + 1).collect();
        let Some(named) = program.references(&descriptors) else {
            return lasting;
        };
        let mut users: FxHashMap<u64, Vec<u64>> = FxHashMap::default();
        for reference in named {
            users
                .entry(reference.target)
                .or_default()
                .push(reference.function);
        }
        let mut only: Vec<(TypeId, u64)> = Vec::new();
        for (id, descriptor) in candidates {
            let functions = users.get(&descriptor).map_or(&[][..], Vec::as_slice);
            if let Some(variable) = variable_of(binary, descriptor, functions, family, types) {
                only.push((id, variable));
            }
        }
        let mut variables: Vec<u64> = types.globals().collect();
        variables.extend(only.iter().map(|(_, variable)| *variable));
        variables.sort_unstable();
        variables.dedup();
        lasting.variables = set_once(&program, &variables);
        only.retain(|(_, variable)| lasting.holds(*variable));
        let mentioned = mentioned(&program, only.iter().map(|(id, _)| types.get(*id)));
        only.retain(|(id, _)| types.get(*id).is_some_and(|t| !mentioned.contains(&t.addr)));
        lasting.only = only.into_iter().collect();
        lasting
    }
}

/// The one variable that all map calls of a type take their map from.
fn variable_of(
    binary: &mut Binary,
    descriptor: u64,
    functions: &[u64],
    family: Family,
    types: &mut Types,
) -> Option<u64> {
    let mut found = None;
    for &function in functions {
        let flow = binary.flow(function)?;
        for &ret in flow.calls.keys() {
            let Some(site) = call_site(binary, ret) else {
                continue;
            };
            if site.map_type.as_ref().is_none_or(|t| t.addr != descriptor) {
                continue;
            }
            types.add_site(binary.id, &site);
            if signature(&site.callee, family).is_some_and(|s| s.operation == Operation::Make) {
                continue;
            }
            match &site.kept {
                Some(Kept {
                    root: Root::Global(variable),
                    steps,
                }) if steps.is_empty() && found.is_none_or(|f| f == *variable) => {
                    found = Some(*variable);
                }
                _ => return None,
            }
        }
    }
    found
}

/// Those of the variables that are set once and whose address stays unknown to the rest of the code.
fn set_once(program: &Program, variables: &[u64]) -> FxHashSet<u64> {
    let around = |variable: u64| match program.variable_at(variable) {
        // A field of a structure is set with it.
        Some((_, off)) => variable.saturating_sub(off)..variable + POINTER,
        None => variable.saturating_sub(STRUCTURE)..variable + POINTER,
    };
    let ranges: Vec<Range<u64>> = variables.iter().map(|v| around(*v)).collect();
    let Some(references) = program.references(&ranges) else {
        return FxHashSet::default();
    };
    let once = |variable: u64, range: Range<u64>| {
        let mut stores = 0;
        for reference in &references {
            let Reference { target, size, .. } = *reference;
            let touches = target < variable + POINTER && variable < target.saturating_add(size);
            match reference.uses {
                Use::Taken if !range.contains(&target) || hands_to_barrier(program, reference) => {}
                Use::Taken => return false,
                Use::Store if touches => {
                    stores += 1;
                    if !runs_once(program, reference) {
                        return false;
                    }
                }
                Use::Store | Use::Load => {}
            }
        }
        stores > 0
    };
    let lasting = variables.iter().zip(ranges.iter().cloned());
    lasting
        .filter_map(|(v, range)| once(*v, range).then_some(*v))
        .collect()
}

/// Whether a `lea` is of the pointer that a write barrier sets, which up to Go 1.20 got its address.
fn hands_to_barrier(program: &Program, taken: &Reference) -> bool {
    let next = program
        .instructions(taken.ip..taken.ip.saturating_add(32))
        .skip(1);
    let call = next.take(2).find(|i| i.flow_control() == FlowControl::Call);
    let callee = call.and_then(|i| program.function_at(i.near_branch_target()));
    callee.is_some_and(|f| f.name.starts_with("runtime.gcWriteBarrier"))
        && program
            .function_at(taken.ip)
            .is_some_and(|f| begins_the_program(f) && !in_a_loop(program, f, taken.ip))
}

fn runs_once(program: &Program, store: &Reference) -> bool {
    let function = program.function_at(store.ip);
    function.is_some_and(|f| begins_the_program(f) && !in_a_loop(program, f, store.ip))
}

/// `main.main`, or the initialisation of a package: `net/http.init`, `main.init.0`, `main.map.init.1`.
fn begins_the_program(function: &Function) -> bool {
    let name = function.name.rsplit('/').next().unwrap_or_default();
    let Some((package, name)) = name.split_once('.') else {
        return false;
    };
    let name = name.strip_prefix("map.").unwrap_or(name);
    let number = name.strip_prefix("init.");
    let init = name == "init" || number.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    init || (package, name) == ("main", "main")
}

/// Whether a jump leads from behind an instruction back to it or to before it. The one to the
/// function's own start does so only before anything ran: the stack was too small.
fn in_a_loop(program: &Program, function: &Function, ip: u64) -> bool {
    program.instructions(ip..function.end).any(|i| {
        let jumps = matches!(
            i.flow_control(),
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
        );
        let back = function.start + 1..=ip;
        jumps && back.contains(&i.near_branch_target())
    })
}

/// Those of the types that the binary's data refer to: other types, and what generic code is given.
/// A pointer to the type alone gives nobody another map.
fn mentioned<'a>(
    program: &Program,
    types: impl Iterator<Item = Option<&'a MapType>>,
) -> FxHashSet<u64> {
    let wanted: FxHashSet<u64> = types.flatten().map(|t| t.addr).collect();
    let mut mentioned = FxHashSet::default();
    if wanted.is_empty() {
        return mentioned;
    }
    for range in program.data_ranges() {
        let words = (range.start.next_multiple_of(POINTER)..range.end).step_by(POINTER as usize);
        for at in words {
            let Some(word) = program.read_u64(at) else {
                break;
            };
            if wanted.contains(&word) && !is_pointer_type(program, at) {
                mentioned.insert(word);
            }
        }
    }
    mentioned
}

/// Where `abi.PtrType` has the type that it points to (`internal/abi`, `type.go`).
const ELEM: u64 = 48;

fn is_pointer_type(program: &Program, elem: u64) -> bool {
    let name = elem
        .checked_sub(ELEM)
        .and_then(|at| program.type_name_at(at));
    name.is_some_and(|name| name.starts_with('*'))
}
