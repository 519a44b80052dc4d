//! Go's map layouts as pure data and functions: one file a layout, and the list [`LAYOUTS`].
//!
//! Nothing here reads a file or knows a sample: a [`MapType`] and an offset go in, a [`Part`] and a
//! slot come out.

mod classic;
mod part;
pub mod size_class;
mod swiss;

pub use part::{Part, Stage};

use crate::program::Go;
use serde::{Deserialize, Serialize};

/// Every layout, oldest first. Exactly one applies to a Go version and its experiments.
pub const LAYOUTS: &[&Layout] = &[
    &classic::LAYOUT,
    &classic::NOSWISSMAP,
    &swiss::GO_1_24,
    &swiss::GO_1_25,
    &swiss::GO_1_27,
];

/// The layout that a Go binary uses.
pub fn layout_for(go: &Go) -> Option<&'static Layout> {
    LAYOUTS.iter().copied().find(|layout| (layout.applies)(go))
}

/// The structures of one map implementation, field by field.
#[derive(Debug)]
pub struct Layout {
    pub name: &'static str,
    /// Whether binaries of this Go have it.
    pub applies: fn(&Go) -> bool,
    pub family: Family,
    /// `hmap` or `Map`.
    pub header: &'static [Field],
    /// `maptype`, without the `rtype` it begins with.
    pub map_type: &'static [Field],
    /// `mapextra`; empty in Swiss maps.
    pub extra: &'static [Field],
    /// `table`; empty in classic maps.
    pub table: &'static [Field],
    /// `hiter` or `Iter`.
    pub iter: &'static [Field],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    Classic,
    Swiss,
}

/// A field of one of the runtime's structures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    pub off: u64,
    pub size: u64,
    pub name: &'static str,
    /// The part of a map that it is; `None` for type descriptors and iterators.
    pub part: Option<Part>,
    /// What a load of it yields.
    pub holds: Holds,
}

/// What the value of a field is, for following it through code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holds {
    /// A number that no address is made of.
    Number,
    /// A size, stride or offset of the bucket or group, as the type descriptor has it.
    Size(Size),
    /// `Map.dirLen`: 0 says that `dirPtr` is a group.
    DirLen,
    /// A pointer to this.
    Pointer(Structure),
}

/// The sizes that map code reads from the type descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Size {
    /// `maptype.KeySize`, `ValueSize`, `BucketSize` (classic).
    Key,
    Elem,
    Bucket,
    /// `GroupSize`, and up to 1.26 `SlotSize` and `ElemOff`.
    Group,
    Slot,
    ElemOff,
    /// 1.27: `KeysOff`, `KeyStride`, `ElemsOff`, `ElemStride`.
    KeysOff,
    KeyStride,
    ElemsOff,
    ElemStride,
}

/// The structures that map code walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Structure {
    Header,
    MapType,
    Rtype,
    Funcval,
    Extra,
    /// The start of a bucket array.
    Buckets,
    OldBuckets,
    Bucket,
    Table,
    /// `Map.dirPtr` before it is known whether it is a directory or a small map's group.
    DirPtr,
    Directory,
    /// The start of a table's groups.
    Groups,
    Group,
    Iter,
    /// The descriptor of the bucket or group type (`maptype.Bucket`, `maptype.Group`).
    BucketRtype,
    /// `[]*bmap` of `mapextra`.
    BucketSlice,
    /// Something else that is no part of a map.
    Other,
}

impl Structure {
    /// As a reader would name it.
    pub fn text(self) -> &'static str {
        match self {
            Structure::Header => "map header",
            Structure::MapType => "map type descriptor",
            Structure::Rtype | Structure::BucketRtype => "type descriptor",
            Structure::Funcval => "funcval",
            Structure::Extra => "mapextra",
            Structure::Buckets => "bucket array",
            Structure::OldBuckets => "old bucket array",
            Structure::Bucket => "bucket",
            Structure::Table => "table",
            Structure::DirPtr => "directory or small map's group",
            Structure::Directory => "directory",
            Structure::Groups => "groups of a table",
            Structure::Group => "group",
            Structure::Iter => "iterator",
            Structure::BucketSlice => "overflow slice",
            Structure::Other => "other memory",
        }
    }
}

const fn field(off: u64, size: u64, name: &'static str, part: Option<Part>, holds: Holds) -> Field {
    Field {
        off,
        size,
        name,
        part,
        holds,
    }
}

/// `internal/abi.Type`, the same in all versions (`src/internal/abi/type.go`).
pub const RTYPE: &[Field] = &[
    field(0, 8, "Size_", None, Holds::Number),
    field(8, 8, "PtrBytes", None, Holds::Number),
    field(16, 4, "Hash", None, Holds::Number),
    field(20, 1, "TFlag", None, Holds::Number),
    field(21, 1, "Align_", None, Holds::Number),
    field(22, 1, "FieldAlign_", None, Holds::Number),
    field(23, 1, "Kind_", None, Holds::Number),
    field(24, 8, "Equal", None, Holds::Pointer(Structure::Funcval)),
    field(32, 8, "GCData", None, Holds::Pointer(Structure::Other)),
    field(40, 4, "Str", None, Holds::Number),
    field(44, 4, "PtrToThis", None, Holds::Number),
];

impl Layout {
    /// The fields of a structure that has a fixed layout; empty for buckets, groups and arrays.
    pub fn fields(&self, structure: Structure) -> &'static [Field] {
        match structure {
            Structure::Header => self.header,
            Structure::MapType => self.map_type,
            Structure::Rtype | Structure::BucketRtype => RTYPE,
            Structure::Extra => self.extra,
            Structure::Table => self.table,
            Structure::Iter => self.iter,
            _ => &[],
        }
    }

    /// The field of `structure` that covers byte `off`.
    pub fn field_at(&self, structure: Structure, off: u64) -> Option<&'static Field> {
        let covers = |f: &&Field| f.off <= off && off - f.off < f.size;
        let own = self.fields(structure).iter().find(covers);
        match structure {
            Structure::MapType => own.or_else(|| RTYPE.iter().find(covers)),
            _ => own,
        }
    }

    /// Size of the header in bytes: 48, or 56 (`noswissmap`).
    pub fn header_size(&self) -> u64 {
        self.header
            .iter()
            .map(|f| f.off + f.size)
            .max()
            .unwrap_or(0)
    }
}

/// A map type of the program, from its type descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapType {
    /// Link-time address of the descriptor (`abi.MapType`, `abi.SwissMapType`, `runtime.maptype`).
    pub addr: u64,
    /// As Go prints it: `map[string]*main.session`.
    pub name: String,
    pub key: String,
    pub elem: String,
    /// The key is a string, under whatever name, or consists of one: functions for string keys handle it.
    #[serde(default)]
    pub string_key: bool,
    /// Compiled code calls none but the functions for its kind of key (`mapfast`,
    /// `cmd/compile/internal/walk/walk.go`), reflection any.
    #[serde(default)]
    pub fast: bool,
    /// Buckets or groups hold pointers: the collector reads them.
    #[serde(default)]
    pub scanned: bool,
    /// Sizes of key and elem themselves, in bytes, also when the slot holds a pointer to them.
    pub key_size: u64,
    pub elem_size: u64,
    /// The slot holds a pointer to the key (or elem), which is allocated by itself.
    pub indirect_key: bool,
    pub indirect_elem: bool,
    pub shape: Shape,
}

/// Groups of the largest table: `maxTableCapacity` / 8.
pub const MAX_GROUPS: u64 = 128;

/// `abi.MapMaxKeyBytes`, `abi.MapMaxElemBytes`: larger keys and elems are stored as pointers.
pub const MAX_INLINE: u64 = 128;

/// The geometry of a bucket or a group, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Go <= 1.23, and 1.24/1.25 with `noswissmap`:
    /// `tophash[8] | keys[8] | elems[8] | overflow`.
    Classic {
        /// `maptype.KeySize` and `ValueSize`: the strides.
        key_stride: u64,
        elem_stride: u64,
        bucket_size: u64,
        /// 48, or 56 with `clearSeq` (`noswissmap` of 1.24 and 1.25).
        hmap_size: u64,
    },
    /// Go >= 1.24: `ctrl[8]`, then slots, interleaved or split:
    /// `key(i) = keys_off + i * key_stride`, `elem(i) = elems_off + i * elem_stride`.
    Swiss {
        group_size: u64,
        keys_off: u64,
        key_stride: u64,
        elems_off: u64,
        elem_stride: u64,
    },
}

/// What lies at an offset of a bucket or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    pub part: Part,
    /// 0..7; `None` for the overflow pointer.
    pub slot: Option<u8>,
    /// Offset in the tophash byte, key or elem.
    pub field_off: u64,
}

impl Shape {
    /// Bytes of one bucket or group.
    pub fn stride(&self) -> u64 {
        match *self {
            Shape::Classic { bucket_size, .. } => bucket_size,
            Shape::Swiss { group_size, .. } => group_size,
        }
    }

    /// What lies at byte `off` of a bucket or group that holds slots of `key_size` and `elem_size`
    /// bytes (8 where the slot holds a pointer); `None` for padding and past the end.
    fn spot_at(&self, off: u64, key_size: u64, elem_size: u64) -> Option<Spot> {
        match *self {
            Shape::Classic { .. } => classic::spot_at(self, off),
            Shape::Swiss { .. } => swiss::spot_at(self, off, key_size, elem_size),
        }
    }
}

impl MapType {
    /// Bytes of a key in its slot: 8 when it is stored as a pointer.
    pub fn key_slot_size(&self) -> u64 {
        if self.indirect_key { 8 } else { self.key_size }
    }

    /// Bytes of an elem in its slot: 8 when it is stored as a pointer.
    pub fn elem_slot_size(&self) -> u64 {
        if self.indirect_elem {
            8
        } else {
            self.elem_size
        }
    }

    /// What lies at byte `off` of a bucket or group; `None` for padding and past the end.
    pub fn spot_at(&self, off: u64) -> Option<Spot> {
        self.shape
            .spot_at(off, self.key_slot_size(), self.elem_slot_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn go(minor: u32, experiment: &str) -> Go {
        let experiments = if experiment.is_empty() {
            vec![]
        } else {
            vec![experiment.to_owned()]
        };
        Go {
            version: format!("go1.{minor}"),
            minor,
            experiments,
            ..Go::default()
        }
    }

    #[test]
    fn exactly_one_layout_applies_to_every_go() {
        let expected = [
            (18, "", "classic"),
            (23, "", "classic"),
            (24, "", "swiss (1.24)"),
            (24, "noswissmap", "classic (noswissmap)"),
            (25, "", "swiss (1.25, 1.26)"),
            (25, "noswissmap", "classic (noswissmap)"),
            (26, "", "swiss (1.25, 1.26)"),
            (27, "", "swiss (1.27)"),
            (27, "mapsplitgroup", "swiss (1.27)"),
        ];
        for (minor, experiment, name) in expected {
            let go = go(minor, experiment);
            let applying: Vec<&str> = LAYOUTS
                .iter()
                .filter(|l| (l.applies)(&go))
                .map(|l| l.name)
                .collect();
            assert_eq!(applying, [name], "go1.{minor} {experiment}");
        }
    }

    #[test]
    fn fields_of_a_structure_do_not_overlap() {
        for layout in LAYOUTS {
            for fields in [
                layout.header,
                layout.map_type,
                layout.extra,
                layout.table,
                layout.iter,
            ] {
                for pair in fields.windows(2) {
                    assert!(
                        pair[0].off + pair[0].size <= pair[1].off,
                        "{}: {} overlaps {}",
                        layout.name,
                        pair[0].name,
                        pair[1].name
                    );
                }
            }
        }
    }

    #[test]
    fn headers_have_the_sizes_of_the_runtime() {
        let sizes: Vec<u64> = LAYOUTS.iter().map(|l| l.header_size()).collect();
        assert_eq!(sizes, [48, 56, 48, 48, 48]);
    }

    fn map_type(key_size: u64, elem_size: u64, shape: Shape) -> MapType {
        MapType {
            addr: 0,
            name: String::new(),
            key: String::new(),
            elem: String::new(),
            key_size,
            elem_size,
            indirect_key: false,
            indirect_elem: false,
            string_key: false,
            fast: false,
            scanned: false,
            shape,
        }
    }

    /// map[uint64]uint64 of go1.22: 8 tophash, 8 * 8 keys from 8, 8 * 8 elems from 72, overflow at
    /// 136, 144 in all (`recordings/rec1`: bucket 4 is buckets + 4*144, its elems[1] at +80).
    #[test]
    fn a_classic_bucket_is_tophash_keys_elems_overflow() {
        let shape = Shape::Classic {
            key_stride: 8,
            elem_stride: 8,
            bucket_size: 144,
            hmap_size: 48,
        };
        let t = map_type(8, 8, shape);
        let at = |off| t.spot_at(off).map(|s| (s.part, s.slot, s.field_off));
        assert_eq!(at(0), Some((Part::BmapTophash, Some(0), 0)));
        assert_eq!(at(7), Some((Part::BmapTophash, Some(7), 0)));
        assert_eq!(at(8), Some((Part::BmapKey, Some(0), 0)));
        assert_eq!(at(71), Some((Part::BmapKey, Some(7), 7)));
        assert_eq!(at(80), Some((Part::BmapElem, Some(1), 0)));
        assert_eq!(at(136), Some((Part::BmapOverflow, None, 0)));
        assert_eq!(at(143), Some((Part::BmapOverflow, None, 7)));
        assert_eq!(at(144), None);
    }

    /// map[string]bool of go1.27: a slot is 16 + 1 bytes, padded to 24; a group 8 + 8*24 = 200.
    #[test]
    fn padding_of_a_slot_is_no_part() {
        let shape = Shape::Swiss {
            group_size: 200,
            keys_off: 8,
            key_stride: 24,
            elems_off: 24,
            elem_stride: 24,
        };
        let t = map_type(16, 1, shape);
        let at = |off| t.spot_at(off).map(|s| (s.part, s.slot, s.field_off));
        assert_eq!(at(3), Some((Part::GroupCtrl, Some(3), 0)));
        assert_eq!(at(8), Some((Part::GroupKey, Some(0), 0)));
        assert_eq!(at(24), Some((Part::GroupElem, Some(0), 0)));
        assert_eq!(at(25), None);
        assert_eq!(at(32), Some((Part::GroupKey, Some(1), 0)));
        assert_eq!(at(199), None);
        assert_eq!(at(200), None);
    }

    /// The same map with `mapsplitgroup`: 8 keys of 16 bytes from 8, 8 elems of 1 byte from 136.
    #[test]
    fn a_split_group_has_its_keys_before_its_elems() {
        let shape = Shape::Swiss {
            group_size: 144,
            keys_off: 8,
            key_stride: 16,
            elems_off: 136,
            elem_stride: 1,
        };
        let t = map_type(16, 1, shape);
        let at = |off| t.spot_at(off).map(|s| (s.part, s.slot, s.field_off));
        assert_eq!(at(8 + 7 * 16 + 8), Some((Part::GroupKey, Some(7), 8)));
        assert_eq!(at(136), Some((Part::GroupElem, Some(0), 0)));
        assert_eq!(at(143), Some((Part::GroupElem, Some(7), 0)));
    }

    #[test]
    fn every_part_has_its_own_name_and_a_structure_of_that_name() {
        let mut names: Vec<&str> = Part::ALL.iter().map(|p| p.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Part::ALL.len());
        for &part in Part::ALL {
            let structure = match part.name().split('.').next() {
                Some("hmap" | "Map") => Structure::Header,
                Some("extra") => Structure::Extra,
                Some("bmap") => Structure::Bucket,
                Some("directory") => Structure::Directory,
                Some("table") => Structure::Table,
                Some("group") => Structure::Group,
                _ => Structure::Other,
            };
            assert_eq!(part.structure(), structure, "{}", part.name());
        }
    }
}
