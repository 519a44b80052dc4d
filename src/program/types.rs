//! Type descriptors (`internal/abi/type.go`): names, sizes, and the map types. Survive `-s -w`.
//!
//! ```text
//! abi.Type: 0 Size_, 8 PtrBytes, 16 Hash u32, 20 TFlag, 21 Align, 22 FieldAlign, 23 Kind_,
//!           24 Equal, 32 GCData, 40 Str i32, 44 PtrToThis i32
//! map:      48 Key, 56 Elem, 64 Bucket or Group, 72 Hasher, then
//!   classic 80 KeySize u8, 81 ValueSize u8, 82 BucketSize u16, 84 Flags u32
//!   1.24    80 GroupSize, 88 SlotSize, 96 ElemOff, 104 Flags u32
//!   1.27    80 GroupSize, 88 KeysOff, 96 KeyStride, 104 ElemsOff, 112 ElemStride, 120 ElemOff, 128 Flags u32
//! ```

use super::elf::Elf;
use super::moduledata::Module;
use super::{Go, read_varint};
use crate::gomap::{MAX_INLINE, MapType, Shape};

/// `abi.TFlagExtraStar`: the name has a `*` too many.
const EXTRA_STAR: u8 = 2;
const KIND_MASK: u8 = 31;
/// `int` to `uintptr`.
const KIND_INTEGERS: std::ops::RangeInclusive<u8> = 2..=12;
const KIND_ARRAY: u8 = 17;
const KIND_CHAN: u8 = 18;
const KIND_MAP: u8 = 21;
const KIND_POINTER: u8 = 22;
const KIND_STRING: u8 = 24;
const KIND_STRUCT: u8 = 25;
/// Structures and arrays around a string that are looked into.
const MOST_WRAPPED: u32 = 8;
/// `abi.UnsafePointer`, the last kind.
const KIND_LAST: u8 = 26;
/// Longer names do not occur: the compiler hashes type names that grow without bound.
const MAX_NAME: u64 = 1 << 16;
/// Which fields follow the common part of a map type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MapLayout {
    Classic { hmap_size: u64 },
    Swiss,
    SwissStrides,
}

impl MapLayout {
    pub fn of(go: &Go) -> MapLayout {
        let classic = go.experiments.iter().any(|name| name == "noswissmap");
        match go.minor {
            ..=23 => MapLayout::Classic { hmap_size: 48 },
            24 | 25 if classic => MapLayout::Classic { hmap_size: 56 },
            24..=26 => MapLayout::Swiss,
            _ => MapLayout::SwissStrides,
        }
    }
}

/// The type descriptors of a binary.
#[derive(Clone, Copy)]
pub(super) struct Types<'a> {
    pub elf: &'a Elf,
    pub module: &'a Module,
    pub layout: MapLayout,
}

impl Types<'_> {
    /// Kind of the descriptor at `addr`; `None` where there cannot be one.
    fn kind(&self, addr: u64) -> Option<u8> {
        if !self.module.types.contains(&addr) || !addr.is_multiple_of(8) {
            return None;
        }
        let [kind] = self.elf.array::<1>(addr.checked_add(23)?)?;
        Some(kind & KIND_MASK).filter(|kind| (1..=KIND_LAST).contains(kind))
    }

    pub fn size(&self, addr: u64) -> Option<u64> {
        self.kind(addr)?;
        self.elf.word(addr)
    }

    /// Whether the type is hashed as a string: a structure of one field and an array of one element are
    /// as what they consist of (`AlgType`, `cmd/compile/internal/types/alg.go`).
    fn is_string(&self, addr: u64, wrapped: u32) -> bool {
        let field = |offset: u64| self.elf.word(addr.checked_add(offset)?);
        let inner = match self.kind(addr) {
            Some(KIND_STRING) => return true,
            // abi.ArrayType: elem, slice, len.
            Some(KIND_ARRAY) if field(64) == Some(1) => field(48),
            // abi.StructType: pkgPath, fields; abi.StructField: name, type, offset.
            Some(KIND_STRUCT) if field(64) == Some(1) => {
                field(56).and_then(|fields| self.elf.word(fields.checked_add(8)?))
            }
            _ => None,
        };
        inner.is_some_and(|inner| wrapped > 0 && self.is_string(inner, wrapped - 1))
    }

    /// Whether a key of this type and size is surely compared as a word: other types may be as well.
    fn is_word(&self, addr: u64, size: u64) -> bool {
        let word = |kind| {
            KIND_INTEGERS.contains(&kind) || [KIND_CHAN, KIND_POINTER, KIND_LAST].contains(&kind)
        };
        matches!(size, 4 | 8) && self.kind(addr).is_some_and(word)
    }

    /// As Go prints it: `map[string]*main.session`.
    pub fn name(&self, addr: u64) -> Option<String> {
        self.kind(addr)?;
        let [flags] = self.elf.array::<1>(addr.checked_add(20)?)?;
        let offset = i32::from_le_bytes(self.elf.array(addr.checked_add(40)?)?);
        let at = (self.module.types.start).checked_add_signed(offset.into())?;
        if !self.module.types.contains(&at) {
            return None;
        }
        // abi.Name: flags u8, varint length, text.
        let name = self.elf.tail(at.checked_add(1)?)?;
        let (len, used) = read_varint(name)?;
        if len == 0 || len > MAX_NAME {
            return None;
        }
        let name = name.get(used..used.checked_add(len as usize)?)?;
        let name = std::str::from_utf8(name).ok()?;
        let extra = flags & EXTRA_STAR != 0;
        let name = if extra { name.strip_prefix('*')? } else { name };
        Some(name.to_owned())
    }

    /// Every map type. Named ones and those that only other types mention are in no list of the
    /// runtime (typelinks has unnamed types only), so every aligned address is tried.
    pub fn maps(&self) -> Vec<MapType> {
        let types = &self.module.types;
        let first = types.start.checked_next_multiple_of(8);
        let bytes = first.and_then(|first| Some((first, self.elf.tail(first)?)));
        let Some((first, bytes)) = bytes else {
            return Vec::new();
        };
        let len = (types.end.saturating_sub(first)).min(bytes.len() as u64);
        (0..len.saturating_sub(23) / 8)
            .map(|i| i * 8)
            .filter(|&at| {
                bytes
                    .get(at as usize + 23)
                    .is_some_and(|k| k & KIND_MASK == KIND_MAP)
            })
            .filter_map(|at| self.map(first + at))
            .collect()
    }

    /// The map type at `addr`; `None` unless every field fits the others.
    pub fn map(&self, addr: u64) -> Option<MapType> {
        let elf = self.elf;
        if self.kind(addr)? != KIND_MAP || elf.word(addr)? != 8 {
            return None;
        }
        let field = |offset: u64| elf.word(addr.checked_add(offset)?);
        let [_, align, field_align, _] = elf.array(addr.checked_add(20)?)?;
        let (key, elem, storage) = (field(48)?, field(56)?, field(64)?);
        let (key_size, elem_size) = (self.size(key)?, self.size(elem)?);
        if (field(8)?, align, field_align) != (8, 8, 8) {
            return None;
        }
        let flags = |offset: u64| Some(u32::from_le_bytes(elf.array(addr.checked_add(offset)?)?));
        let (shape, indirect_key, indirect_elem) = match self.layout {
            MapLayout::Classic { hmap_size } => {
                let [key_stride, elem_stride] = elf.array(addr.checked_add(80)?)?;
                let bucket = u16::from_le_bytes(elf.array(addr.checked_add(82)?)?);
                let shape = Shape::Classic {
                    key_stride: key_stride.into(),
                    elem_stride: elem_stride.into(),
                    bucket_size: bucket.into(),
                    hmap_size,
                };
                let flags = flags(84)?;
                (shape, flags & 1 != 0, flags & 2 != 0)
            }
            MapLayout::Swiss => {
                let (slot, elem_off) = (field(88)?, field(96)?);
                let shape = Shape::Swiss {
                    group_size: field(80)?,
                    keys_off: 8,
                    key_stride: slot,
                    elems_off: elem_off.checked_add(8)?,
                    elem_stride: slot,
                };
                let flags = flags(104)?;
                (shape, flags & 4 != 0, flags & 8 != 0)
            }
            MapLayout::SwissStrides => {
                let shape = Shape::Swiss {
                    group_size: field(80)?,
                    keys_off: field(88)?,
                    key_stride: field(96)?,
                    elems_off: field(104)?,
                    elem_stride: field(112)?,
                };
                let flags = flags(128)?;
                (shape, flags & 4 != 0, flags & 8 != 0)
            }
        };
        let key_slot = slot_size(key_size, indirect_key)?;
        let elem_slot = slot_size(elem_size, indirect_elem)?;
        if !fits(shape, key_slot, elem_slot, self.size(storage)?) {
            return None;
        }
        let string_key = self.is_string(key, MOST_WRAPPED);
        let fast_key = string_key || self.is_word(key, key_size);
        Some(MapType {
            addr,
            name: self.name(addr)?,
            key: self.name(key)?,
            elem: self.name(elem)?,
            string_key,
            fast: fast_key && elem_size <= MAX_INLINE,
            scanned: elf.word(storage.checked_add(8)?)? != 0,
            key_size,
            elem_size,
            indirect_key,
            indirect_elem,
            shape,
        })
    }
}

/// Bytes that a key or elem takes in a slot; `None` when flag and size contradict each other.
fn slot_size(size: u64, indirect: bool) -> Option<u64> {
    match (indirect, size > MAX_INLINE) {
        (false, false) => Some(size),
        (true, true) => Some(8),
        _ => None,
    }
}

/// Do strides, offsets and sizes agree with the slots and with the size of the bucket or group type?
fn fits(shape: Shape, key: u64, elem: u64, storage: u64) -> bool {
    let ends_in = |offset: u64, stride: u64, size: u64, whole: u64| {
        (stride.checked_mul(7))
            .and_then(|last| offset.checked_add(last)?.checked_add(size))
            .is_some_and(|end| end <= whole)
    };
    match shape {
        Shape::Classic {
            key_stride,
            elem_stride,
            bucket_size,
            ..
        } => {
            (key_stride, elem_stride, bucket_size) == (key, elem, storage)
                && 8 + 8 * (key + elem) + 8 <= bucket_size
        }
        Shape::Swiss {
            group_size,
            keys_off,
            key_stride,
            elems_off,
            elem_stride,
        } => {
            group_size == storage
                && (key <= key_stride && elem <= elem_stride)
                && (keys_off >= 8 && elems_off >= 8)
                && ends_in(keys_off, key_stride, key, group_size)
                && ends_in(elems_off, elem_stride, elem, group_size)
        }
    }
}
