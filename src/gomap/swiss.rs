//! Swiss-table maps: Go 1.24 on.
//!
//! ```text
//! interleaved | ctrl: 8 bytes | key 0 | elem 0 | key 1 | elem 1 | ... | key 7 | elem 7 |
//! split       | ctrl: 8 bytes | key 0 | key 1 | ... | key 7 | elem 0 | ... | elem 7 |
//! ```
//!
//! From `internal/runtime/maps/{map,table,group}.go` and `internal/abi/map*.go`, go1.24.11 to go1.27.3.
//! `tombstonePossible` came with 1.25. The descriptor of 1.27 has offsets and strides that tell both
//! group layouts, so `mapsplitgroup` needs no layout of its own.

use super::{Family, Field, Holds, Layout, Part, Shape, Size, Spot, Structure, field};
use crate::program::Go;

pub(super) const GO_1_24: Layout = Layout {
    name: "swiss (1.24)",
    applies: |go| go.minor == 24 && swiss(go),
    family: Family::Swiss,
    header: &[
        USED,
        SEED,
        DIR_PTR,
        DIR_LEN,
        GLOBAL_DEPTH,
        GLOBAL_SHIFT,
        WRITING,
        CLEAR_SEQ,
    ],
    map_type: MAP_TYPE_1_24,
    extra: &[],
    table: TABLE,
    iter: ITER,
};

pub(super) const GO_1_25: Layout = Layout {
    name: "swiss (1.25, 1.26)",
    applies: |go| (25..=26).contains(&go.minor) && swiss(go),
    family: Family::Swiss,
    header: HEADER_1_25,
    map_type: MAP_TYPE_1_24,
    extra: &[],
    table: TABLE,
    iter: ITER,
};

pub(super) const GO_1_27: Layout = Layout {
    name: "swiss (1.27)",
    applies: |go| go.minor >= 27,
    family: Family::Swiss,
    header: HEADER_1_25,
    map_type: MAP_TYPE_1_27,
    extra: &[],
    table: TABLE,
    iter: ITER,
};

fn swiss(go: &Go) -> bool {
    !go.experiments.iter().any(|e| e == "noswissmap")
}

const USED: Field = field(0, 8, "used", Some(Part::MapUsed), Holds::Number);
const SEED: Field = field(8, 8, "seed", Some(Part::MapSeed), Holds::Number);
const DIR_PTR: Field = field(
    16,
    8,
    "dirPtr",
    Some(Part::MapDirPtr),
    Holds::Pointer(Structure::DirPtr),
);
const DIR_LEN: Field = field(24, 8, "dirLen", Some(Part::MapDirLen), Holds::DirLen);
const GLOBAL_DEPTH: Field = field(
    32,
    1,
    "globalDepth",
    Some(Part::MapGlobalDepth),
    Holds::Number,
);
const GLOBAL_SHIFT: Field = field(
    33,
    1,
    "globalShift",
    Some(Part::MapGlobalShift),
    Holds::Number,
);
const WRITING: Field = field(34, 1, "writing", Some(Part::MapWriting), Holds::Number);
const CLEAR_SEQ: Field = field(40, 8, "clearSeq", Some(Part::MapClearSeq), Holds::Number);

const HEADER_1_25: &[Field] = &[
    USED,
    SEED,
    DIR_PTR,
    DIR_LEN,
    GLOBAL_DEPTH,
    GLOBAL_SHIFT,
    WRITING,
    field(
        35,
        1,
        "tombstonePossible",
        Some(Part::MapTombstonePossible),
        Holds::Number,
    ),
    CLEAR_SEQ,
];

const MAP_TYPE_1_24: &[Field] = &[
    field(48, 8, "Key", None, Holds::Pointer(Structure::Rtype)),
    field(56, 8, "Elem", None, Holds::Pointer(Structure::Rtype)),
    field(64, 8, "Group", None, Holds::Pointer(Structure::BucketRtype)),
    field(72, 8, "Hasher", None, Holds::Pointer(Structure::Funcval)),
    field(80, 8, "GroupSize", None, Holds::Size(Size::Group)),
    field(88, 8, "SlotSize", None, Holds::Size(Size::Slot)),
    field(96, 8, "ElemOff", None, Holds::Size(Size::ElemOff)),
    field(104, 4, "Flags", None, Holds::Number),
];

const MAP_TYPE_1_27: &[Field] = &[
    field(48, 8, "Key", None, Holds::Pointer(Structure::Rtype)),
    field(56, 8, "Elem", None, Holds::Pointer(Structure::Rtype)),
    field(64, 8, "Group", None, Holds::Pointer(Structure::BucketRtype)),
    field(72, 8, "Hasher", None, Holds::Pointer(Structure::Funcval)),
    field(80, 8, "GroupSize", None, Holds::Size(Size::Group)),
    field(88, 8, "KeysOff", None, Holds::Size(Size::KeysOff)),
    field(96, 8, "KeyStride", None, Holds::Size(Size::KeyStride)),
    field(104, 8, "ElemsOff", None, Holds::Size(Size::ElemsOff)),
    field(112, 8, "ElemStride", None, Holds::Size(Size::ElemStride)),
    field(120, 8, "ElemOff", None, Holds::Size(Size::ElemOff)),
    field(128, 4, "Flags", None, Holds::Number),
];

const TABLE: &[Field] = &[
    field(0, 2, "used", Some(Part::TableUsed), Holds::Number),
    field(2, 2, "capacity", Some(Part::TableCapacity), Holds::Number),
    field(
        4,
        2,
        "growthLeft",
        Some(Part::TableGrowthLeft),
        Holds::Number,
    ),
    field(
        6,
        1,
        "localDepth",
        Some(Part::TableLocalDepth),
        Holds::Number,
    ),
    field(8, 8, "index", Some(Part::TableIndex), Holds::Number),
    field(
        16,
        8,
        "groups.data",
        Some(Part::TableGroupsData),
        Holds::Pointer(Structure::Groups),
    ),
    field(
        24,
        8,
        "groups.lengthMask",
        Some(Part::TableGroupsLengthMask),
        Holds::Number,
    ),
];

const ITER: &[Field] = &[
    field(0, 8, "key", None, Holds::Pointer(Structure::Other)),
    field(8, 8, "elem", None, Holds::Pointer(Structure::Other)),
    field(16, 8, "typ", None, Holds::Pointer(Structure::MapType)),
    field(24, 8, "m", None, Holds::Pointer(Structure::Header)),
    field(32, 8, "entryOffset", None, Holds::Number),
    field(40, 8, "dirOffset", None, Holds::Number),
    field(48, 8, "clearSeq", None, Holds::Number),
    field(56, 1, "globalDepth", None, Holds::Number),
    field(64, 8, "dirIdx", None, Holds::Number),
    field(72, 8, "tab", None, Holds::Pointer(Structure::Table)),
    field(80, 8, "group.data", None, Holds::Pointer(Structure::Group)),
    field(88, 8, "entryIdx", None, Holds::Number),
];

pub(super) fn spot_at(shape: &Shape, off: u64, key_size: u64, elem_size: u64) -> Option<Spot> {
    let Shape::Swiss {
        group_size,
        keys_off,
        key_stride,
        elems_off,
        elem_stride,
    } = *shape
    else {
        return None;
    };
    if off >= group_size {
        return None;
    }
    if off < 8 {
        return Some(Spot {
            part: Part::GroupCtrl,
            slot: Some(off as u8),
            field_off: 0,
        });
    }
    let inside = |part, start: u64, stride: u64, size: u64| {
        let at = off.checked_sub(start)?;
        let slot = at.checked_div(stride)?;
        let field_off = at % stride;
        let spot = Spot {
            part,
            slot: Some(slot as u8),
            field_off,
        };
        (slot < 8 && field_off < size).then_some(spot)
    };
    inside(Part::GroupKey, keys_off, key_stride, key_size)
        .or_else(|| inside(Part::GroupElem, elems_off, elem_stride, elem_size))
}
