//! Variables that hold one and the same map for as long as the program runs: they are set once, where the
//! program begins (a package's initialisation, or `main.main` outside of a loop), and neither code nor data
//! has their address.

use super::flow::returns;
use super::row::{Row, VARIABLE};
use super::spaces::{Spaces, marked};
use crate::program::references::{Reference, Use};
use crate::program::{Function, Program};
use iced_x86::{FlowControl, Instruction};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;
use std::ops::Range;

/// A variable's bytes.
const POINTER: u64 = 8;

/// Without symbols: how far before a variable the beginning of a structure is looked for that the
/// variable might be a field of. Code that has the structure's address can set its fields.
const STRUCTURE: u64 = 1024;

#[derive(Debug)]
pub struct Lasting<'a> {
    /// By binary, as [`super::types::Types`] numbers it: link-time addresses of variables.
    variables: FxHashMap<u32, FxHashSet<u64>>,
    /// The header of the map that a variable of a process holds.
    headers: FxHashMap<u64, u64>,
    spaces: &'a Spaces,
}

impl<'a> Lasting<'a> {
    pub fn new(spaces: &'a Spaces) -> Lasting<'a> {
        Lasting {
            variables: FxHashMap::default(),
            headers: FxHashMap::default(),
            spaces,
        }
    }

    /// Whether the variable holds one map all the time.
    pub fn holds(&self, variable: u64) -> bool {
        let binary = match self.spaces.is_one() {
            // Which of several a variable is of is not known.
            true if self.variables.len() == 1 => self.variables.keys().next().copied(),
            true => None,
            false => self.spaces.binary_of(variable),
        };
        let variables = binary.and_then(|binary| self.variables.get(&binary));
        variables.is_some_and(|all| all.contains(&self.spaces.plain(variable)))
    }

    /// Whether a header stands for such a variable.
    pub fn keeps(&self, header: u64) -> bool {
        header & VARIABLE != 0 && self.holds(header & !VARIABLE)
    }

    /// The map that a header names: none where it is not known, or stands for a variable that may hold one
    /// map after the other.
    pub fn named(&self, header: u64) -> Option<u64> {
        let is_one = header & VARIABLE == 0 || self.keeps(header);
        (header != 0 && is_one).then_some(header)
    }

    /// The header of the map that a variable of this kind holds: a number in its place, where no sample
    /// knows it.
    pub fn header_in(&self, variable: u64) -> u64 {
        let header = self.headers.get(&variable);
        header.copied().unwrap_or(VARIABLE | variable)
    }

    /// Whether the variable, in the process that the header is of, holds the map with this header all the
    /// time.
    pub fn holds_in(&self, variable: u64, header: u64) -> bool {
        let variable = marked(variable, self.spaces.mark_of(header & !VARIABLE));
        self.holds(variable) && self.header_in(variable) == header
    }

    /// Learns headers of maps that variables hold.
    pub fn learn(&mut self, headers: impl IntoIterator<Item = (u64, u64)>) {
        let held = headers.into_iter();
        let held: Vec<_> = held.filter(|(variable, _)| self.holds(*variable)).collect();
        self.headers.extend(held);
    }

    /// Puts the header in the place of the variable, where it is known.
    pub fn settle(&self, row: &mut Row) {
        if self.keeps(row.header) {
            row.header = self.header_in(row.header & !VARIABLE);
        }
    }

    /// Finds which of the variables of a binary, by link-time address, are set but once.
    pub fn add(&mut self, program: &Program, binary: u32, variables: impl Iterator<Item = u64>) {
        let variables: BTreeSet<u64> = variables.collect();
        let variables: Vec<u64> = variables.into_iter().collect();
        self.variables.insert(binary, set_once(program, &variables));
    }
}

/// Those of the variables that are set once and whose address stays unknown to the rest of the code.
fn set_once(program: &Program, variables: &[u64]) -> FxHashSet<u64> {
    let around = |variable: u64| match program.variable_at(variable) {
        // A field of a structure is set with it.
        Some((_, off)) => variable.saturating_sub(off)..variable.saturating_add(POINTER),
        None => variable.saturating_sub(STRUCTURE)..variable.saturating_add(POINTER),
    };
    let ranges: Vec<Range<u64>> = variables.iter().map(|v| around(*v)).collect();
    let Some(references) = program.references(&ranges) else {
        return FxHashSet::default();
    };
    let once = |variable: u64, range: Range<u64>| {
        let mut stores = 0;
        for reference in &references {
            let Reference { target, size, .. } = *reference;
            let touches =
                target < variable.saturating_add(POINTER) && variable < target.saturating_add(size);
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
    let mut lasting: FxHashSet<u64> = lasting
        .filter_map(|(v, range)| once(*v, range).then_some(*v))
        .collect();
    for variable in pointed_to(program, &lasting) {
        lasting.remove(&variable);
    }
    lasting
}

/// Bytes of `runtime.moduledata` that say where sections, and so their first variables, begin.
const SECTIONS: u64 = 512;

/// Those of the variables that a word of the binary's data points to.
fn pointed_to(program: &Program, variables: &FxHashSet<u64>) -> Vec<u64> {
    let module = program.module.as_ref().map_or(0, |module| module.addr);
    let sections = module..module.saturating_add(SECTIONS);
    let found = program.pointers(|word| variables.contains(&word));
    let found = found.into_iter().filter(|(at, _)| !sections.contains(at));
    found.map(|(_, word)| word).collect()
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

/// Whether an instruction may be followed by itself. The jump to the function's own start comes only
/// before anything ran: the stack was too small.
fn in_a_loop(program: &Program, function: &Function, ip: u64) -> bool {
    let code: Vec<Instruction> = program.instructions(function.start..function.end).collect();
    let at = |ip: u64| code.binary_search_by_key(&ip, |i| i.ip()).ok();
    let Some(begin) = at(ip) else { return true };
    let mut seen = vec![false; code.len()];
    let mut todo = vec![begin + 1];
    while let Some(next) = todo.pop() {
        let Some(instruction) = code.get(next) else {
            continue;
        };
        if std::mem::replace(&mut seen[next], true) {
            continue;
        }
        let target = instruction.near_branch_target();
        let jump = || at(target).filter(|_| target != function.start);
        match instruction.flow_control() {
            FlowControl::Return | FlowControl::Interrupt | FlowControl::Exception => {}
            FlowControl::UnconditionalBranch => todo.extend(jump()),
            // Which way is not known.
            FlowControl::IndirectBranch => return true,
            FlowControl::ConditionalBranch => todo.extend(jump().into_iter().chain([next + 1])),
            FlowControl::Call if !program.function_at(target).is_none_or(|f| returns(&f.name)) => {}
            _ => todo.push(next + 1),
        }
    }
    seen[begin]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn lasting<'a>(file: &str, variables: &[&'a str]) -> Vec<&'a str> {
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
        let program = Program::open(&samples.join(file)).unwrap();
        let address = |name: &str| {
            let global = program.globals().iter().find(|g| g.name == name);
            global.unwrap().addr
        };
        let spaces = Spaces::default();
        let all = variables.iter().map(|name| address(name));
        let mut lasting = Lasting::new(&spaces);
        lasting.add(&program, 0, all);
        let holds = |name: &&str| lasting.holds(address(name));
        variables.iter().copied().filter(holds).collect()
    }

    /// The program sets `main.blobs` and `main.flags` again in `main.prime`, and gives the address of
    /// `main.conns`, which is no map, to the methods of `sync.Map`.
    #[test]
    fn variables_that_are_set_again_may_hold_another_map() {
        let all = [
            "main.blobs",
            "main.conns",
            "main.counters",
            "main.counters2",
            "main.flags",
            "main.points",
            "main.sessions",
            "main.small",
            "main.uuids",
        ];
        let once = [
            "main.counters",
            "main.counters2",
            "main.points",
            "main.sessions",
            "main.small",
            "main.uuids",
        ];
        assert_eq!(lasting("modelled-go1.22-twins/mapload.gz", &all), once);
        assert_eq!(lasting("modelled-go1.27-twins/mapload.gz", &all), once);
    }

    /// `samples/src/probe/subjects.go`: composite literals of the package.
    #[test]
    fn variables_that_the_package_initialises_hold_one_map() {
        let maps = ["main.digests", "main.labels", "main.orders", "main.users"];
        assert_eq!(lasting("classic-go1.22/probe-go1.22.10.gz", &maps), maps);
        assert_eq!(lasting("swiss-go1.27/probe-go1.27.3.gz", &maps), maps);
    }
}
