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
}

#[derive(Debug, Default)]
pub struct Types {
    types: Vec<MapType>,
    /// By binary and link-time address of the descriptor.
    by_descriptor: FxHashMap<(u32, u64), TypeId>,
    programs: Vec<Arc<Program>>,
    families: Vec<Option<Family>>,
    sites: FxHashMap<(u32, u64), TypedSite>,
    /// All types, and those with keys of 4 and 8 bytes and with string keys.
    variants: [Vec<TypeId>; 4],
}

impl Types {
    /// Adds a binary; its types and call sites are known by the index that is returned.
    pub fn add(&mut self, program: &Arc<Program>, family: Option<Family>) -> u32 {
        let binary = self.programs.len() as u32;
        for map_type in &program.map_types {
            self.intern(binary, map_type);
        }
        self.programs.push(Arc::clone(program));
        self.families.push(family);
        binary
    }

    pub fn intern(&mut self, binary: u32, map_type: &MapType) -> TypeId {
        *self
            .by_descriptor
            .entry((binary, map_type.addr))
            .or_insert_with(|| {
                let id = self.types.len() as TypeId;
                self.types.push(map_type.clone());
                self.variants[0].push(id);
                match map_type.key_size {
                    4 => self.variants[1].push(id),
                    8 => self.variants[2].push(id),
                    16 if map_type.key == "string" => self.variants[3].push(id),
                    _ => {}
                }
                id
            })
    }

    pub fn add_site(&mut self, binary: u32, site: &CallSite) {
        let map_type = site.map_type.as_ref().map(|t| self.intern(binary, t));
        let typed = TypedSite {
            map_type,
            global: site.global,
        };
        self.sites.insert((binary, site.ret), typed);
    }

    pub fn get(&self, id: TypeId) -> Option<&MapType> {
        self.types.get(id as usize)
    }

    /// The types whose maps a function variant for keys of `key_size` bytes handles; all of them for
    /// the generic functions, which `reflect` calls for any type.
    pub fn of_variant(&self, key_size: Option<i64>) -> &[TypeId] {
        let class = match key_size {
            Some(4) => 1,
            Some(8) => 2,
            Some(16) => 3,
            _ => 0,
        };
        &self.variants[class]
    }

    /// The type whose descriptor is at this link-time address.
    pub fn at(&self, binary: u32, descriptor: u64) -> Option<TypeId> {
        self.by_descriptor.get(&(binary, descriptor)).copied()
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
