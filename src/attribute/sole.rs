//! Types of which one variable holds every map: all that the code does with the type's descriptor is to
//! hand it to map calls, and each of these takes the map from that variable, or makes it. So an access to
//! a map of the type is one to the map that the variable holds at that time.

use super::Operation;
use super::binary::Binary;
use super::flow::{Call, What, signature};
use crate::program::references::{Reference, Use};
use crate::program::{Function, Program};
use iced_x86::FlowControl;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// Code that uses a type in more places than this is not looked through: it is of no use to follow so
/// many functions for a type that surely has several maps.
const MOST_USES: usize = 64;

/// What gives the seed of a map.
const SEEDS: &[&str] = &["runtime.rand", "runtime.fastrand"];

/// Bytes of a word of data, and of the largest dictionary that is looked for around one.
const WORD: u64 = 8;
const DICTIONARY: u64 = 512;

/// Arguments behind a dictionary that are looked at.
const MOST_ARGS: usize = 4;

/// What makes a map of a type that it has from a value, a field or an elem.
const MAKERS: &[&str] = &["reflect.makemap", "runtime.reflect_makemap", "maps.clone"];

/// The descriptors of such types of a binary, each with the variable: link-time addresses.
pub fn sole_variables(binary: &mut Binary) -> FxHashMap<u64, u64> {
    let mut types: Vec<u64> = binary.program.map_types.iter().map(|t| t.addr).collect();
    types.sort_unstable();
    let ranges: Vec<_> = types.iter().map(|t| *t..t.saturating_add(1)).collect();
    let mut uses = binary.program.references(&ranges).unwrap_or_default();
    uses.retain(|u| types.binary_search(&u.target).is_ok());
    uses.sort_unstable_by_key(|u| (u.target, u.function, u.ip));
    let mut found: FxHashMap<u64, u64> = uses
        .chunk_by(|a, b| a.target == b.target)
        .filter(|uses| uses.len() <= MOST_USES)
        .filter_map(|uses| Some((uses[0].target, variable(uses, binary)?)))
        .collect();
    for descriptor in reached_from_data(binary, &found) {
        found.remove(&descriptor);
    }
    found
}

/// The one variable that all of these uses of a type take its maps from.
fn variable(uses: &[Reference], binary: &mut Binary) -> Option<u64> {
    let mut variable = None;
    for uses in uses.chunk_by(|a, b| a.function == b.function) {
        let descriptor = uses[0].target;
        let flow = binary.flow(uses[0].function)?;
        let given = |call: &&Call| {
            let given = call.arg(0);
            given.what == What::Number && given.expr.as_constant() == Some(descriptor as i64)
        };
        let calls: Vec<&Call> = flow.calls.values().filter(given).collect();
        let all = uses.iter().all(|u| u.uses == Use::Taken) && calls.len() == uses.len();
        for call in calls.into_iter().filter(|_| all) {
            let signature = signature(call.callee.as_deref()?, binary.layout?.family)?;
            match call.arg(1).what {
                _ if signature.operation == Operation::Make => {}
                What::Global(of) if variable.is_none_or(|known| known == of) => variable = Some(of),
                _ => return None,
            }
        }
        if !all {
            return None;
        }
    }
    variable
}

/// Those of the types of which code that has them from data may have other maps: from a dictionary of
/// generic code, and, where the program makes maps by reflection, from another type or an interface.
fn reached_from_data(binary: &mut Binary, types: &FxHashMap<u64, u64>) -> FxHashSet<u64> {
    let program = Arc::clone(&binary.program);
    if types.is_empty() {
        return FxHashSet::default();
    }
    let named = program.pointers(|word| types.contains_key(&word));
    let maker = |name: &str| MAKERS.contains(&name);
    if program.functions().iter().any(|f| maker(&f.name)) {
        return named.into_iter().map(|(_, word)| word).collect();
    }
    let in_types = |at: &u64| (program.module.as_ref()).is_some_and(|m| m.types.contains(at));
    let named = named.into_iter().filter(|(at, _)| !in_types(at));
    let given: Vec<(u64, u64)> = named.collect();
    let generic = !given.is_empty() && generic_code_makes_maps(&program);
    let other = |(at, word): &(u64, u64)| generic || !comes_with(*at, types[word], binary);
    let others = given.into_iter().filter(other).map(|(_, word)| word);
    others.collect()
}

/// Whether the dictionary with the word at `at` goes to no call without the map that the variable holds.
fn comes_with(at: u64, variable: u64, binary: &mut Binary) -> bool {
    let around = at.saturating_sub(DICTIONARY)..at + WORD;
    let uses = binary.program.references(&[around]).unwrap_or_default();
    // Generic code that is inlined reads the dictionary itself.
    let read = |r: &Reference| r.uses == Use::Load && (r.target, r.size) == (at, WORD);
    let starts = uses
        .iter()
        .filter(|r| r.uses == Use::Taken && r.target <= at);
    let Some(start) = starts
        .map(|r| r.target)
        .max()
        .filter(|_| !uses.iter().any(read))
    else {
        return false;
    };
    let uses = uses.iter().filter(|r| r.target == start);
    let mut functions: Vec<u64> = uses.map(|r| r.function).collect();
    functions.dedup();
    functions.into_iter().all(|function| {
        let flow = binary.flow(function);
        let calls = flow.iter().flat_map(|flow| flow.calls.values());
        let given = calls.filter(|call| call.arg(0).expr.as_constant() == Some(start as i64));
        let mut given =
            given.map(|call| (1..=MOST_ARGS).any(|n| call.arg(n).what == What::Global(variable)));
        given.next() == Some(true) && given.all(|with| with)
    })
}

/// Whether code that has its types from a dictionary makes maps. Small ones that do not leave it are made
/// without a call, but for the seed.
fn generic_code_makes_maps(program: &Program) -> bool {
    let Some(family) = program.layout().map(|layout| layout.family) else {
        return true;
    };
    let makes = |function: &Function| {
        let code = program.instructions(function.start..function.end);
        let calls = code.filter(|i| i.flow_control() == FlowControl::Call);
        let callees = calls.filter_map(|i| program.function_at(i.near_branch_target()));
        let (mut seeds, mut uses) = (false, false);
        for callee in callees {
            let operation = signature(&callee.name, family).map(|s| s.operation);
            if operation == Some(Operation::Make) {
                return true;
            }
            uses |= operation.is_some();
            seeds |= SEEDS.iter().any(|seed| callee.name.starts_with(seed));
        }
        seeds && uses
    };
    let generic = |f: &&Function| f.name.contains('[');
    program.functions().iter().filter(generic).any(makes)
}

#[cfg(test)]
mod tests {
    use super::super::types::Types;
    use super::*;
    use std::path::Path;

    /// Name of the type and of the variable, in order.
    fn sole(file: &str) -> Vec<(String, String)> {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
        let program = Arc::new(Program::open(&samples.join(file)).unwrap());
        let mut binary = Binary::new(Arc::clone(&program), &mut Types::default());
        let found = sole_variables(&mut binary).into_iter();
        let mut found: Vec<_> = found
            .map(|(descriptor, variable)| {
                let name = program.map_type_at(descriptor).unwrap().name;
                (name, program.variable_at(variable).unwrap().0.to_owned())
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// Two variables hold a `map[uint64]uint64`, the runtime's `parsegodebug` has a `map[string]bool` of
    /// its own, and each `sync.Map` has maps.
    #[test]
    fn types_of_one_variable_are_told_from_those_of_several() {
        let expected = [
            ("map[[16]uint8]int", "main.uuids"),
            ("map[chan<- os.Signal]*signal.handler", "os/signal.handlers"),
            ("map[int32]unsafe.Pointer", "runtime.reflectOffs"),
            ("map[int]int8", "main.small"),
            ("map[string]*main.session", "main.sessions"),
            ("map[string]int", "syscall.env"),
            ("map[uint32]main.point24", "main.points"),
            ("map[uint64]main.blob200", "main.blobs"),
            ("map[unsafe.Pointer]int32", "runtime.reflectOffs"),
        ];
        let expected = expected.map(|(t, v)| (t.to_owned(), v.to_owned()));

        assert_eq!(sole("modelled-go1.22-twins/mapload.gz"), expected);
        let swiss = sole("modelled-go1.27-twins/mapload.gz");
        let of_main = |found: &&(String, String)| found.1.starts_with("main.");
        let [swiss, expected] = [&swiss, &expected.to_vec()]
            .map(|all| all.iter().filter(of_main).cloned().collect::<Vec<_>>());
        assert_eq!(swiss, expected);
    }
}
