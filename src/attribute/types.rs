//! The map types and call sites of all binaries under analysis, by small ids.

use super::keys::KeyKind;
use super::stride::Stride;
use crate::gomap::{Family, MAX_GROUPS, MAX_INLINE, MapType, Shape};
use crate::program::{Kept, Program};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Index into [`Types`].
pub type TypeId = u32;

/// Types whose buckets (groups) have every part at the same place share one shape: they differ in
/// nothing but the padding behind a key or an elem. Those of another binary have shapes of their own.
pub type ShapeId = u32;

/// A call of a map function in code that is not the map implementation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CallSite {
    /// Link-time return address.
    pub ret: u64,
    /// `runtime.mapassign_fast64`, ...
    pub callee: String,
    /// The static type of the map, where the call site has it as a constant.
    pub map_type: Option<MapType>,
    /// The address of the variable that holds the map (run time).
    pub global: Option<u64>,
    /// Where the caller takes the map from.
    pub kept: Option<Kept>,
    /// The map lies in the caller's own frame.
    pub on_stack: bool,
}

/// A call site with its type by id.
#[derive(Debug, Clone, Default)]
pub struct TypedSite {
    pub map_type: Option<TypeId>,
    pub global: Option<u64>,
    /// Where the caller takes the map from.
    pub kept: Option<Kept>,
    /// `runtime.mapassign_fast64`, ...
    pub callee: String,
    /// The map lies in the caller's own frame.
    pub on_stack: bool,
}

#[derive(Debug, Default)]
pub struct Types {
    types: Vec<MapType>,
    /// By type.
    shapes: Vec<ShapeId>,
    /// By type: which kinds of functions handle its maps.
    handled: Vec<[bool; VARIANTS]>,
    /// By shape: the types that have it.
    of_shape: Vec<Vec<TypeId>>,
    /// By shape: the binary that has it.
    of_binary: Vec<u32>,
    /// By shape: no type, but as one with the least padding.
    widest: Vec<MapType>,
    /// By shape.
    strides: Vec<Option<Stride>>,
    shape_ids: FxHashMap<(u32, Shape), ShapeId>,
    /// By binary and link-time address of the descriptor.
    by_descriptor: FxHashMap<(u32, u64), TypeId>,
    programs: Vec<Arc<Program>>,
    families: Vec<Option<Family>>,
    sites: FxHashMap<(u32, u64), TypedSite>,
    /// Binary and variable of the types whose maps one variable holds: [`super::sole`].
    sole: FxHashMap<TypeId, (u32, u64)>,
    /// By binary: the shapes that each kind of function handles.
    variants: Vec<[Vec<ShapeId>; VARIANTS]>,
    /// By shape: which of `variants` list it.
    admitted: Vec<[bool; VARIANTS]>,
}

/// Kinds of functions by the maps that they handle: of any, of those with keys of 4 and 8 bytes and with
/// string keys, and of [`OTHERS`].
pub const VARIANTS: usize = 5;

/// The functions that compiled code calls for maps of which no kind of its own handles the keys.
pub const OTHERS: usize = 4;

/// The kind of the functions for keys of this many bytes; of any where that is not fixed.
pub fn variant_of(key_size: Option<i64>) -> usize {
    match key_size {
        Some(4) => 1,
        Some(8) => 2,
        Some(16) => 3,
        _ => 0,
    }
}

impl Types {
    /// Adds a binary; its types and call sites are known by the index that is returned.
    pub fn add(&mut self, program: &Arc<Program>, family: Option<Family>) -> u32 {
        let binary = self.programs.len() as u32;
        self.variants.push(Default::default());
        for map_type in &program.map_types {
            self.intern(binary, map_type);
        }
        self.programs.push(Arc::clone(program));
        self.families.push(family);
        binary
    }

    pub fn intern(&mut self, binary: u32, map_type: &MapType) -> TypeId {
        if let Some(&id) = self.by_descriptor.get(&(binary, map_type.addr)) {
            return id;
        }
        let id = self.types.len() as TypeId;
        let shape = *self
            .shape_ids
            .entry((binary, map_type.shape))
            .or_insert_with(|| {
                self.of_shape.push(Vec::new());
                self.of_binary.push(binary);
                self.admitted.push([false; VARIANTS]);
                self.strides.push(Stride::new(map_type.shape.stride()));
                self.widest.push(MapType {
                    indirect_key: false,
                    indirect_elem: false,
                    key_size: 0,
                    elem_size: 0,
                    ..map_type.clone()
                });
                self.of_shape.len() as ShapeId - 1
            });
        self.of_shape[shape as usize].push(id);
        let widest = &mut self.widest[shape as usize];
        widest.key_size = widest.key_size.max(map_type.key_slot_size());
        widest.elem_size = widest.elem_size.max(map_type.elem_slot_size());
        let mut handled = [true, false, false, false, !map_type.fast];
        if map_type.elem_size <= MAX_INLINE {
            handled[1] = map_type.key_size == 4;
            handled[2] = map_type.key_size == 8;
            handled[3] = map_type.string_key;
        }
        self.handled.push(handled);
        for variant in (0..VARIANTS).filter(|v| handled[*v]) {
            let listed = &mut self.admitted[shape as usize][variant];
            let shapes = self.variants.get_mut(binary as usize);
            if let (false, Some(shapes)) = (std::mem::replace(listed, true), shapes) {
                shapes[variant].push(shape);
            }
        }
        self.types.push(map_type.clone());
        self.shapes.push(shape);
        self.by_descriptor.insert((binary, map_type.addr), id);
        id
    }

    pub fn add_site(&mut self, binary: u32, site: &CallSite) {
        let map_type = site.map_type.as_ref().map(|t| self.intern(binary, t));
        let typed = TypedSite {
            map_type,
            global: site.global,
            kept: site.kept.clone(),
            callee: site.callee.clone(),
            on_stack: site.on_stack,
        };
        self.sites.insert((binary, site.ret), typed);
    }

    pub fn get(&self, id: TypeId) -> Option<&MapType> {
        self.types.get(id as usize)
    }

    pub fn shape_of(&self, id: TypeId) -> Option<ShapeId> {
        self.shapes.get(id as usize).copied()
    }

    /// Bytes of the largest bucket or group.
    pub fn largest_stride(&self) -> u64 {
        let strides = self.widest.iter().map(|t| t.shape.stride());
        strides.max().unwrap_or(0)
    }

    /// Bytes that all groups of a Swiss table have at most; 0 without any.
    pub fn largest_table(&self) -> u64 {
        let swiss = |of: &&MapType| matches!(of.shape, Shape::Swiss { .. });
        let strides = self.widest.iter().filter(swiss).map(|t| t.shape.stride());
        strides.max().unwrap_or(0).saturating_mul(MAX_GROUPS)
    }

    /// Whether the collector reads the maps of a type of this shape, or does not: of the one that is given,
    /// or of any.
    pub fn is_scanned(&self, shape: ShapeId, id: Option<TypeId>, scanned: bool) -> bool {
        let of_shape = self
            .of_shape
            .get(shape as usize)
            .map_or(&[][..], Vec::as_slice);
        let meant = of_shape.iter().filter(|of| id.is_none_or(|id| id == **of));
        let mut types = meant.filter_map(|id| self.get(*id));
        types.any(|map_type| map_type.scanned == scanned)
    }

    /// The minor version of Go that the program with types of this shape was built with.
    pub fn go_minor(&self, shape: ShapeId) -> u32 {
        let binary = self.of_binary.get(shape as usize);
        binary.map_or(0, |binary| self.minor_of(*binary))
    }

    /// The same of a binary.
    pub fn minor_of(&self, binary: u32) -> u32 {
        let program = self.programs.get(binary as usize);
        let go = program.and_then(|program| program.go.as_ref());
        go.map_or(0, |go| go.minor)
    }

    /// Whether a map has keys or elems outside of their slots.
    pub fn any_outside(&self) -> bool {
        let mut types = self.types.iter();
        types.any(|map_type| map_type.indirect_key || map_type.indirect_elem)
    }

    /// How many shapes there are.
    pub fn shapes(&self) -> ShapeId {
        self.of_shape.len() as ShapeId
    }

    /// Bytes of a bucket or group of this shape.
    pub fn stride(&self, shape: ShapeId) -> Option<Stride> {
        *self.strides.get(shape as usize)?
    }

    /// Where the parts are in this shape, with the least padding that a type of it has.
    pub fn of_shape(&self, shape: ShapeId) -> Option<&MapType> {
        self.widest.get(shape as usize)
    }

    /// Whether a type of this shape has keys of this kind.
    pub fn has_keys(&self, shape: ShapeId, kind: KeyKind) -> bool {
        let types = self.of_shape.get(shape as usize).into_iter().flatten();
        types.filter_map(|id| self.get(*id)).any(|t| kind.is_of(t))
    }

    /// The type of this shape that is meant, where the program has but one.
    pub fn only_of(&self, shape: ShapeId, is_meant: impl Fn(TypeId) -> bool) -> Option<TypeId> {
        let types = self.of_shape.get(shape as usize)?;
        let mut meant = types.iter().copied().filter(|id| is_meant(*id));
        meant.next().filter(|_| meant.next().is_none())
    }

    /// The type whose maps a kind of functions of a binary handles, where the program has but one.
    pub fn only_of_variant(&self, binary: u32, variant: usize) -> Option<TypeId> {
        match self.of_variant(binary, variant) {
            [shape] => self.only_of(*shape, |id| self.handles(variant, id)),
            _ => None,
        }
    }

    /// Whether a kind of functions handles maps of this type.
    pub fn handles(&self, variant: usize, id: TypeId) -> bool {
        let handled = self.handled.get(id as usize);
        handled.is_some_and(|handled| handled.get(variant) == Some(&true))
    }

    /// The shapes of the types of a binary whose maps a kind of functions handles.
    pub fn of_variant(&self, binary: u32, variant: usize) -> &[ShapeId] {
        let variants = self.variants.get(binary as usize);
        variants
            .and_then(|variants| variants.get(variant))
            .map_or(&[], Vec::as_slice)
    }

    /// Which kinds of functions handle maps of this shape.
    pub fn admitted(&self, shape: ShapeId) -> [bool; VARIANTS] {
        self.admitted
            .get(shape as usize)
            .copied()
            .unwrap_or_default()
    }

    /// Makes known that a variable holds every map of the type whose descriptor is there.
    pub fn add_sole(&mut self, binary: u32, descriptor: u64, variable: u64) {
        if let Some(id) = self.at(binary, descriptor) {
            self.sole.insert(id, (binary, variable));
        }
    }

    /// The variable that holds every map of this type, where there is one.
    pub fn sole_variable(&self, id: TypeId) -> Option<u64> {
        self.sole.get(&id).map(|(_, variable)| *variable)
    }

    /// The type of which a variable that is meant holds every map.
    pub fn sole_type(&self, is_meant: impl Fn(u64) -> bool) -> Option<TypeId> {
        let mut sole = self
            .sole
            .iter()
            .filter(|(_, (_, variable))| is_meant(*variable));
        sole.next().map(|(id, _)| *id)
    }

    /// The variables that code of a binary, as far as it is known, takes maps from.
    pub fn globals(&self, binary: u32) -> impl Iterator<Item = u64> {
        let sites = self.sites.iter();
        let own = sites.filter(move |((of, _), _)| *of == binary);
        let sole = self.sole.values().filter(move |(of, _)| *of == binary);
        let sole = sole.map(|(_, variable)| *variable);
        own.filter_map(|(_, site)| site.global).chain(sole)
    }

    /// The type whose descriptor is at this link-time address.
    pub fn at(&self, binary: u32, descriptor: u64) -> Option<TypeId> {
        self.by_descriptor.get(&(binary, descriptor)).copied()
    }

    /// The type that a descriptor of a binary describes.
    pub fn named(&self, binary: u32, map_type: &MapType) -> Option<TypeId> {
        let id = self.at(binary, map_type.addr)?;
        (self.get(id)?.name == map_type.name).then_some(id)
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
