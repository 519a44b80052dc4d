//! What both kinds of maps share: where arrays may lie, what a header leads to.

use super::image::Image;
use super::memory::Memory;
use super::region::{Kind, Region};
use super::spans::Spans;
use crate::gomap::size_class::slot_for;
use crate::gomap::{MapType, Shape};
use serde::Serialize;

/// A process to look for maps in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub memory: &'a Memory,
    pub image: &'a Image,
    pub spans: &'a Spans,
    /// No map has more: the heap has not more room.
    pub most_regions: u64,
}

/// A header with everything that it leads to.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Decoded {
    /// `hmap.count`, `Map.used`.
    pub count: u64,
    pub form: Form,
    pub control: Control,
    /// How many buckets have a chain of that many overflow buckets, by length.
    pub chains: Vec<u64>,
    pub regions: Vec<Region>,
}

/// The header of a map, in the words of its implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    #[default]
    SyncMap,
    Classic {
        #[serde(rename = "B")]
        b: u8,
        flags: u8,
        noverflow: u16,
        hash0: u32,
        buckets: u64,
        /// 0 when the map is not growing.
        oldbuckets: u64,
        nevacuate: u64,
    },
    Swiss {
        seed: u64,
        dir_ptr: u64,
        /// 0: a small map of one group.
        dir_len: u64,
        global_depth: u8,
        /// Different tables; several directory entries may lead to one.
        tables: u64,
        /// Slots of all groups.
        capacity: u64,
    },
}

/// How many slots are in which state, by tophash or ctrl byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Control {
    pub full: u64,
    /// Classic: 0, nothing follows in the chain.
    pub empty_rest: u64,
    /// Classic: 1, deleted or never used, something follows.
    pub empty_one: u64,
    /// Classic: 2 to 4, in old buckets.
    pub evacuated: u64,
    /// Swiss: 0x80.
    pub empty: u64,
    /// Swiss: 0xfe, a tombstone.
    pub deleted: u64,
}

impl Control {
    /// Slots of any state.
    pub fn slots(&self) -> u64 {
        self.full + self.empty_rest + self.empty_one + self.evacuated + self.empty + self.deleted
    }
}

impl Decoded {
    pub fn count_chain(&mut self, len: u32) {
        let len = len as usize;
        if self.chains.len() <= len {
            self.chains.resize(len + 1, 0);
        }
        if let Some(buckets) = self.chains.get_mut(len) {
            *buckets += 1;
        }
    }
}

impl Source<'_> {
    /// The bucket or group type of `map_type` holds no pointers.
    pub fn storage_is_noscan(&self, map_type: &MapType) -> bool {
        let program = &self.image.program;
        let storage = map_type.addr.checked_add(64);
        let storage = storage.and_then(|at| program.read_u64(at));
        // abi.Type.PtrBytes
        let pointers = storage.and_then(|at| program.read_u64(at.checked_add(8)?));
        pointers == Some(0)
    }

    /// Did the runtime record another type than `map_type`'s for one of its arrays?
    pub fn contradicts(&self, map_type: &MapType, decoded: &Decoded) -> bool {
        let program = &self.image.program;
        let storage = map_type.addr.checked_add(64);
        let storage = storage.and_then(|at| program.read_u64(at));
        let kinds = [Kind::Buckets, Kind::Groups, Kind::SmallGroup];
        (decoded.regions.iter())
            .filter(|region| kinds.contains(&region.kind))
            .filter_map(|region| {
                let (index, slot) = self.spans.slot_at(region.start)?;
                let span = self.spans.all.get(index)?;
                self.spans.typed_object(self.memory, span, slot)
            })
            .any(|object| Some(self.image.vaddr(object.descriptor)) != storage)
    }

    /// Is `addr` the start of an object that `size` bytes were asked for? Its usable bytes then.
    pub fn object_of(&self, addr: u64, size: u64, noscan: bool) -> Option<u64> {
        let slot = slot_for(size, noscan, self.image.go.minor)?;
        let object = self.spans.object(addr)?;
        let same = (object.size, object.before, object.noscan) == (slot.size, slot.before, noscan);
        same.then_some(slot.size - slot.before)
    }

    /// As [`Source::object_of`], for an array that must be in the core completely.
    pub fn array_of(&self, addr: u64, size: u64, noscan: bool) -> Option<u64> {
        let usable = self.object_of(addr, size, noscan)?;
        self.memory.bytes(addr, usable)?;
        Some(usable)
    }

    /// Where slot `slot` of a bucket or group points to, for keys and elems outside of it: kind,
    /// address, bytes. `None` when that is no object of the right size.
    pub fn indirect(
        &self,
        map_type: &MapType,
        storage: &[u8],
        slot: u64,
    ) -> Option<impl Iterator<Item = (Kind, u64, u64)> + use<>> {
        let (keys, elems) = slot_offsets(&map_type.shape, slot);
        let parts = [
            (
                map_type.indirect_key,
                Kind::IndirectKey,
                keys,
                map_type.key_size,
            ),
            (
                map_type.indirect_elem,
                Kind::IndirectElem,
                elems,
                map_type.elem_size,
            ),
        ];
        let mut found = [None, None];
        for ((indirect, kind, offset, size), found) in parts.into_iter().zip(&mut found) {
            if !indirect {
                continue;
            }
            let pointer = super::memory::u64_at(storage, usize::try_from(offset).ok()?)?;
            self.spans.object(pointer)?;
            *found = Some((kind, pointer, size));
        }
        Some(found.into_iter().flatten())
    }
}

/// Where key and elem of slot `slot` are in a bucket or group.
pub(super) fn slot_offsets(shape: &Shape, slot: u64) -> (u64, u64) {
    match *shape {
        Shape::Classic {
            key_stride,
            elem_stride,
            ..
        } => {
            let keys = 8 + slot * key_stride;
            (keys, 8 + 8 * key_stride + slot * elem_stride)
        }
        Shape::Swiss {
            keys_off,
            key_stride,
            elems_off,
            elem_stride,
            ..
        } => (
            keys_off.saturating_add(slot.saturating_mul(key_stride)),
            elems_off.saturating_add(slot.saturating_mul(elem_stride)),
        ),
    }
}
