//! A binary under analysis, and the flow of those of its functions that were asked for.

use super::flow::{self, FunctionFlow};
use super::steps::Steps;
use super::types::Types;
use crate::gomap::Layout;
use crate::program::Program;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Whether a function touches memory that others point it to: the runtime (copying, comparing,
/// hashing, clearing, the collector), what the compiler generates to compare and hash a type, and
/// reflection. All other Go code reaches the slots of a map through what a map call returned to it.
pub fn is_proxy(function: &str) -> bool {
    const PACKAGES: &[&str] = &[
        "runtime.",
        "internal/",
        "type:.",
        "type..",
        "reflect.",
        "memeqbody",
        "aeshash",
    ];
    PACKAGES.iter().any(|package| function.starts_with(package))
}

/// Prefixes of what else calls these.
const REFLECTING: &[&str] = &[
    "reflect.mapa",
    "reflect.mapd",
    "runtime.reflect_mapa",
    "runtime.reflect_mapd",
    "runtime.mapclone",
    "maps.clone",
];

/// One binary under analysis: the program, its map layout, and the flow of the functions asked for.
pub struct Binary {
    pub program: Arc<Program>,
    pub layout: Option<&'static Layout>,
    /// As [`super::types::Types`] numbers it.
    pub id: u32,
    /// Reflection, or a copy of whole maps, reaches maps of every type through the same functions.
    pub reflects: bool,
    flows: FxHashMap<u64, Arc<FunctionFlow>>,
    lefts: flow::Lefts,
    /// By start of the function: where its arguments point to.
    pointers: FxHashMap<u64, Arc<FunctionFlow>>,
    /// By start of the function; `None` for code that is no map code.
    pub steps: FxHashMap<u64, Option<Arc<Steps>>>,
}

impl Binary {
    pub fn new(program: Arc<Program>, types: &mut Types) -> Binary {
        let layout = program.layout();
        let id = types.add(&program, layout.map(|l| l.family));
        let reflects = |name: &str| REFLECTING.iter().any(|of| name.starts_with(of));
        let reflects = program.functions().iter().any(|f| reflects(&f.name));
        Binary {
            program,
            layout,
            id,
            reflects,
            flows: FxHashMap::default(),
            lefts: flow::Lefts::default(),
            pointers: FxHashMap::default(),
            steps: FxHashMap::default(),
        }
    }

    /// Follows the functions that cover these addresses, several at once.
    pub fn follow(&mut self, vaddrs: impl Iterator<Item = u64>) {
        let (Some(layout), Some(_)) = (self.layout, flow::abi(self.program.arch)) else {
            return;
        };
        let program = &self.program;
        let starts = vaddrs.filter_map(|vaddr| Some(program.function_at(vaddr)?.start));
        let starts: BTreeSet<u64> = starts.collect();
        let follow = |start| (start, Arc::new(flow::analyse(program, layout, start)));
        let flows = starts.into_par_iter().map(follow);
        self.flows.par_extend(flows);
    }

    /// The flow of the function that covers `vaddr`.
    pub fn flow(&mut self, vaddr: u64) -> Option<Arc<FunctionFlow>> {
        let layout = self.layout?;
        flow::abi(self.program.arch)?;
        let start = self.program.function_at(vaddr)?.start;
        let (program, lefts) = (&self.program, &mut self.lefts);
        let flow = self
            .flows
            .entry(start)
            .or_insert_with(|| Arc::new(flow::analyse_with(program, layout, start, lefts)));
        Some(Arc::clone(flow))
    }

    /// Where the arguments of the function at `start` point to, in its code.
    pub fn pointers(&mut self, start: u64) -> Option<Arc<FunctionFlow>> {
        let layout = self.layout?;
        let program = &self.program;
        let flow = self
            .pointers
            .entry(start)
            .or_insert_with(|| Arc::new(flow::analyse_pointers(program, layout, start)));
        Some(Arc::clone(flow))
    }
}
