//! The map types and call sites of all binaries under analysis, by small ids.

use super::callers::CallSite;
use crate::gomap::{Family, MapType};
use crate::program::Program;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Index into [`Types`].
pub type TypeId = u32;

/// A call site with its type by id.
#[derive(Debug, Clone, Default)]
pub struct TypedSite {
    pub map_type: Option<TypeId>,
    pub global: Option<u64>,
    pub callee: String,
}

#[derive(Debug, Default)]
pub struct Types {
    types: Vec<MapType>,
    /// By link-time address of the descriptor.
    by_descriptor: FxHashMap<u64, TypeId>,
    programs: Vec<Arc<Program>>,
    families: Vec<Option<Family>>,
    sites: FxHashMap<(u32, u64), TypedSite>,
}

impl Types {
    /// Adds a binary; its types and call sites are known by the index that is returned.
    pub fn add(&mut self, program: &Arc<Program>, family: Option<Family>) -> u32 {
        for map_type in &program.map_types {
            self.intern(map_type);
        }
        self.programs.push(Arc::clone(program));
        self.families.push(family);
        self.programs.len() as u32 - 1
    }

    pub fn intern(&mut self, map_type: &MapType) -> TypeId {
        *self.by_descriptor.entry(map_type.addr).or_insert_with(|| {
            self.types.push(map_type.clone());
            self.types.len() as TypeId - 1
        })
    }

    pub fn add_site(&mut self, binary: u32, site: &CallSite) {
        let map_type = site.map_type.as_ref().map(|t| self.intern(t));
        let typed = TypedSite {
            map_type,
            global: site.global,
            callee: site.callee.clone(),
        };
        self.sites.insert((binary, site.ret), typed);
    }

    pub fn get(&self, id: TypeId) -> Option<&MapType> {
        self.types.get(id as usize)
    }

    /// The type whose descriptor is at this link-time address.
    pub fn at(&self, descriptor: u64) -> Option<TypeId> {
        self.by_descriptor.get(&descriptor).copied()
    }

    pub fn call_site(&self, binary: u32, ret: u64) -> Option<&TypedSite> {
        self.sites.get(&(binary, ret))
    }

    pub fn family(&self, binary: u32) -> Option<Family> {
        self.families.get(binary as usize).copied().flatten()
    }

    /// Whether a link-time address lies in the binary's own data.
    pub fn in_image(&self, binary: u32, vaddr: u64) -> bool {
        self.programs
            .get(binary as usize)
            .is_some_and(|p| p.in_image(vaddr))
    }
}
