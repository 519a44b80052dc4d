//! From typed variables to maps: follows every value whose type is known, by type descriptors alone.
//! What it finds has a type and a name; what it does not find keeps the type that its arrays tell.

use super::code::Holds;
use super::decode::{Decoded, Source, slot_offsets};
use super::region::Kind;
use super::rtype::{Rtype, Rtypes};
use super::sync_map;
use super::{decode_header, spans::State};
use crate::gomap::{Family, MapType, Shape};
use crate::program::HeldValue;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// A map that typed values lead to.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub map_type: Arc<MapType>,
    pub name: String,
}

/// What the walk found, by address.
#[derive(Debug, Default)]
pub(super) struct Reached {
    pub maps: FxHashMap<u64, Named>,
    /// `sync.Map`s and the variables that they are.
    pub sync_maps: FxHashMap<u64, String>,
}

/// How a value was reached: a step from another one.
#[derive(Debug, Clone)]
enum Step {
    Variable(String),
    Field(String),
    Index(u64),
    /// A value of a map.
    Entry,
    /// What a pointer or an interface leads to.
    Same,
}

/// Longer paths say nothing.
const MAX_STEPS: usize = 24;

pub(super) struct Walk<'a> {
    source: &'a Source<'a>,
    rtypes: Rtypes<'a>,
    types: FxHashMap<u64, Arc<MapType>>,
    /// Each with the number of the one before it.
    steps: Vec<(u32, Step)>,
    seen: FxHashSet<(u64, u64)>,
    /// Values to look at: address, descriptor, step.
    open: Vec<(u64, u64, u32)>,
    pub reached: Reached,
}

impl<'a> Walk<'a> {
    pub fn new(source: &'a Source<'a>) -> Walk<'a> {
        let image = source.image;
        let types = image.program.map_types.iter();
        Walk {
            source,
            rtypes: Rtypes::new(&image.program, image.go.minor),
            types: types.map(|t| (t.addr, Arc::new(t.clone()))).collect(),
            steps: Vec::new(),
            seen: FxHashSet::default(),
            open: Vec::new(),
            reached: Reached::default(),
        }
    }

    /// Follows a variable at the run-time address `addr`.
    pub fn variable(&mut self, addr: u64, holds: Holds, name: String) {
        match holds {
            Holds::SyncMap => self.sync_map(addr, name),
            Holds::Value(descriptor) => {
                let step = self.step(0, Step::Variable(name));
                self.push(addr, descriptor, step);
                self.run();
            }
        }
    }

    /// What debug information says that variables lead to, as far as that leads to maps.
    pub fn held_values(&mut self) -> Vec<HeldValue> {
        let rtypes = &mut self.rtypes;
        let program = &self.source.image.program;
        program.held_values(&mut |descriptor| {
            rtypes.size(descriptor).is_some() && rtypes.leads_to_maps(descriptor)
        })
    }

    /// Follows every object whose type the runtime recorded (Go 1.22 on).
    pub fn objects(&mut self, alive: impl Fn(usize, u64) -> bool) {
        let source = self.source;
        for (index, span) in source.spans.all.iter().enumerate() {
            if span.state != State::Heap || span.noscan {
                continue;
            }
            for slot in (0..span.nelems).filter(|&slot| alive(index, slot)) {
                let Some(object) = source.spans.typed_object(source.memory, span, slot) else {
                    continue;
                };
                let descriptor = source.image.vaddr(object.descriptor);
                if !self.rtypes.leads_to_maps(descriptor) {
                    continue;
                }
                let Some(size) = self.rtypes.size(descriptor).filter(|&size| size > 0) else {
                    continue;
                };
                let name = source.image.program.type_name_at(descriptor);
                let name = format!("({:#x} {})", object.start, name.unwrap_or_default());
                let step = self.step(0, Step::Variable(name));
                for i in 0..object.len / size {
                    let step = match object.len / size {
                        1 => step,
                        _ => self.step(step, Step::Index(i)),
                    };
                    self.push(object.start + i * size, descriptor, step);
                }
                self.run();
            }
        }
    }

    fn step(&mut self, before: u32, step: Step) -> u32 {
        if self.steps.is_empty() {
            self.steps.push((0, Step::Same));
        }
        self.steps.push((before, step));
        (self.steps.len() - 1) as u32
    }

    fn push(&mut self, addr: u64, descriptor: u64, step: u32) {
        let room = (self.seen.len() as u64) < self.source.most_regions;
        if room && self.rtypes.leads_to_maps(descriptor) && self.seen.insert((addr, descriptor)) {
            self.open.push((addr, descriptor, step));
        }
    }

    fn run(&mut self) {
        while let Some((addr, descriptor, step)) = self.open.pop() {
            self.value(addr, descriptor, step);
        }
    }

    fn value(&mut self, addr: u64, descriptor: u64, step: u32) -> Option<()> {
        let memory = self.source.memory;
        match &*self.rtypes.get(descriptor) {
            Rtype::Pointer(elem) => {
                let to = memory.u64(addr).filter(|&to| to != 0)?;
                self.push(to, *elem, step);
            }
            Rtype::Struct { sync_map: true, .. } => {
                let name = self.name(step);
                self.sync_map(addr, name);
            }
            Rtype::Struct { fields, .. } => {
                for field in fields {
                    if self.rtypes.leads_to_maps(field.descriptor) {
                        let at = addr.checked_add(field.offset)?;
                        let step = self.step(step, Step::Field(field.name.clone()));
                        self.push(at, field.descriptor, step);
                    }
                }
            }
            Rtype::Array { elem, len } => self.elements(addr, *len, *elem, step)?,
            Rtype::Slice(elem) => {
                let (data, len) = (memory.u64(addr)?, memory.u64(addr.checked_add(8)?)?);
                self.elements(data, len, *elem, step)?;
            }
            Rtype::Interface { methods } => self.interface(addr, *methods, step)?,
            Rtype::Map { .. } => {
                let header = memory.u64(addr).filter(|&header| header != 0)?;
                let map_type = self.types.get(&descriptor).cloned()?;
                self.map(header, map_type, step);
            }
            Rtype::Other => {}
        }
        Some(())
    }

    fn elements(&mut self, data: u64, len: u64, elem: u64, step: u32) -> Option<()> {
        let size = self.rtypes.size(elem).filter(|&size| size > 0)?;
        self.source.memory.bytes(data, len.checked_mul(size)?)?;
        for i in 0..len {
            let step = self.step(step, Step::Index(i));
            self.push(data + i * size, elem, step);
        }
        Some(())
    }

    /// Two words: the type or the itab, whose second word is the type; and the value's address, or
    /// the value itself where it is a pointer.
    fn interface(&mut self, addr: u64, methods: bool, step: u32) -> Option<()> {
        let (memory, image) = (self.source.memory, self.source.image);
        let (first, data) = (memory.u64(addr)?, addr.checked_add(8)?);
        let descriptor = if methods {
            let at = first.checked_add(8)?;
            let in_file = || image.program.read_u64(image.vaddr(at));
            let own = memory.u64(at).map(|addr| image.vaddr(addr));
            own.or_else(in_file)?
        } else {
            image.vaddr(first)
        };
        self.rtypes.size(descriptor)?;
        match &*self.rtypes.get(descriptor) {
            Rtype::Pointer(_) | Rtype::Map { .. } => self.push(data, descriptor, step),
            // One pointer in a struct or an array is stored directly too: which is not told here.
            _ if self.rtypes.size(descriptor) == Some(8) => {}
            _ => self.push(memory.u64(data)?, descriptor, step),
        }
        Some(())
    }

    fn map(&mut self, header: u64, map_type: Arc<MapType>, step: u32) {
        if self.reached.maps.contains_key(&header) {
            return;
        }
        let Some(decoded) = decode_header(self.source, header, &map_type) else {
            return;
        };
        let name = self.name(step);
        let named = Named {
            map_type: Arc::clone(&map_type),
            name,
        };
        self.reached.maps.insert(header, named);
        if let Rtype::Map { key, elem } = *self.rtypes.get(map_type.addr)
            && (self.rtypes.leads_to_maps(key) || self.rtypes.leads_to_maps(elem))
        {
            let step = self.step(step, Step::Entry);
            for (key_at, elem_at) in entries(self.source, &map_type, &decoded) {
                self.push(key_at, key, step);
                self.push(elem_at, elem, step);
            }
        }
    }

    fn sync_map(&mut self, addr: u64, name: String) {
        if self.source.image.layout.family == Family::Classic {
            let map_type = (self.types.values())
                .find(|t| t.name == sync_map::INNER_TYPE)
                .cloned();
            for (field, header) in sync_map::inner(self.source, addr) {
                if let Some(map_type) = &map_type {
                    let step = self.step(0, Step::Variable(format!("{name}.{field}")));
                    self.map(header, Arc::clone(map_type), step);
                }
            }
        }
        self.reached.sync_maps.entry(addr).or_insert(name);
    }

    /// `main.cache.shards[3].sessions`.
    fn name(&self, mut step: u32) -> String {
        let mut parts = Vec::new();
        while let Some((before, part)) = self.steps.get(step as usize)
            && step != 0
            && parts.len() < MAX_STEPS
        {
            parts.push(match part {
                Step::Variable(name) => name.clone(),
                Step::Field(name) => format!(".{name}"),
                Step::Index(i) => format!("[{i}]"),
                Step::Entry => "[...]".to_owned(),
                Step::Same => String::new(),
            });
            step = *before;
        }
        parts.reverse();
        parts.concat()
    }
}

/// Where key and elem of every full slot are.
fn entries<'a>(
    source: &'a Source,
    map_type: &'a MapType,
    decoded: &'a Decoded,
) -> impl Iterator<Item = (u64, u64)> + 'a {
    let full = move |ctrl: u8| match map_type.shape {
        Shape::Classic { .. } => ctrl >= 5,
        Shape::Swiss { .. } => ctrl < 0x80,
    };
    let stored = |at: u64, indirect: bool| {
        if indirect {
            source.memory.u64(at)
        } else {
            Some(at)
        }
    };
    let arrays = decoded.regions.iter().filter(|region| {
        let kinds = [
            Kind::Buckets,
            Kind::Overflow,
            Kind::Groups,
            Kind::SmallGroup,
        ];
        kinds.contains(&region.kind)
    });
    arrays
        .flat_map(|region| {
            let len = region.len.checked_div(region.stride).unwrap_or(0);
            (0..len).map(|i| region.start + i * region.stride)
        })
        .flat_map(move |storage| {
            let ctrl = source.memory.bytes(storage, 8).unwrap_or_default();
            (0..8u64)
                .zip(ctrl)
                .filter(move |&(_, &byte)| full(byte))
                .filter_map(move |(slot, _)| {
                    let (key, elem) = slot_offsets(&map_type.shape, slot);
                    let key = stored(storage.checked_add(key)?, map_type.indirect_key)?;
                    let elem = stored(storage.checked_add(elem)?, map_type.indirect_elem)?;
                    Some((key, elem))
                })
        })
}
