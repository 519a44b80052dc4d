//! Classic maps: Go up to 1.23, and 1.24 and 1.25 built with `GOEXPERIMENT=noswissmap`.
//!
//! ```text
//! bmap  | tophash [8]uint8 | keys [8]key | elems [8]elem | overflow *bmap |
//! ```
//!
//! From `runtime/map.go` and `internal/abi/map.go`, go1.22.10; `runtime/map_noswiss.go`, go1.24.11.

use super::{Family, Field, Holds, Layout, Part, Shape, Size, Spot, Structure, field};

pub(super) const LAYOUT: Layout = Layout {
    name: "classic",
    applies: |go| go.minor <= 23,
    family: Family::Classic,
    header: &[
        COUNT,
        FLAGS,
        B,
        NOVERFLOW,
        HASH0,
        BUCKETS,
        OLDBUCKETS,
        NEVACUATE,
        extra(40),
    ],
    map_type: MAP_TYPE,
    extra: EXTRA,
    table: &[],
    iter: HITER,
};

/// 56 bytes: `clearSeq` before `extra`.
pub(super) const NOSWISSMAP: Layout = Layout {
    name: "classic (noswissmap)",
    applies: |go| (24..=25).contains(&go.minor) && go.experiments.iter().any(|e| e == "noswissmap"),
    family: Family::Classic,
    header: &[
        COUNT,
        FLAGS,
        B,
        NOVERFLOW,
        HASH0,
        BUCKETS,
        OLDBUCKETS,
        NEVACUATE,
        field(40, 8, "clearSeq", Some(Part::HmapClearSeq), Holds::Number),
        extra(48),
    ],
    map_type: MAP_TYPE,
    extra: EXTRA,
    table: &[],
    iter: HITER,
};

const COUNT: Field = field(0, 8, "count", Some(Part::HmapCount), Holds::Number);
const FLAGS: Field = field(8, 1, "flags", Some(Part::HmapFlags), Holds::Number);
const B: Field = field(9, 1, "B", Some(Part::HmapB), Holds::Number);
const NOVERFLOW: Field = field(10, 2, "noverflow", Some(Part::HmapNoverflow), Holds::Number);
const HASH0: Field = field(12, 4, "hash0", Some(Part::HmapHash0), Holds::Number);
const BUCKETS: Field = field(
    16,
    8,
    "buckets",
    Some(Part::HmapBuckets),
    Holds::Pointer(Structure::Buckets),
);
const OLDBUCKETS: Field = field(
    24,
    8,
    "oldbuckets",
    Some(Part::HmapOldbuckets),
    Holds::Pointer(Structure::OldBuckets),
);
const NEVACUATE: Field = field(32, 8, "nevacuate", Some(Part::HmapNevacuate), Holds::Number);

const fn extra(off: u64) -> Field {
    field(
        off,
        8,
        "extra",
        Some(Part::HmapExtra),
        Holds::Pointer(Structure::Extra),
    )
}

const MAP_TYPE: &[Field] = &[
    field(48, 8, "Key", None, Holds::Pointer(Structure::Rtype)),
    field(56, 8, "Elem", None, Holds::Pointer(Structure::Rtype)),
    field(
        64,
        8,
        "Bucket",
        None,
        Holds::Pointer(Structure::BucketRtype),
    ),
    field(72, 8, "Hasher", None, Holds::Pointer(Structure::Funcval)),
    field(80, 1, "KeySize", None, Holds::Size(Size::Key)),
    field(81, 1, "ValueSize", None, Holds::Size(Size::Elem)),
    field(82, 2, "BucketSize", None, Holds::Size(Size::Bucket)),
    field(84, 4, "Flags", None, Holds::Number),
];

const EXTRA: &[Field] = &[
    field(
        0,
        8,
        "overflow",
        Some(Part::ExtraOverflow),
        Holds::Pointer(Structure::BucketSlice),
    ),
    field(
        8,
        8,
        "oldoverflow",
        Some(Part::ExtraOldoverflow),
        Holds::Pointer(Structure::BucketSlice),
    ),
    field(
        16,
        8,
        "nextOverflow",
        Some(Part::ExtraNextOverflow),
        Holds::Pointer(Structure::Bucket),
    ),
];

/// An iterator keeps the array that it began with: by the time of a sample it may be an old one.
const HITER: &[Field] = &[
    field(0, 8, "key", None, Holds::Pointer(Structure::Other)),
    field(8, 8, "elem", None, Holds::Pointer(Structure::Other)),
    field(16, 8, "t", None, Holds::Pointer(Structure::MapType)),
    field(24, 8, "h", None, Holds::Pointer(Structure::Header)),
    field(
        32,
        8,
        "buckets",
        None,
        Holds::Pointer(Structure::OldBuckets),
    ),
    field(40, 8, "bptr", None, Holds::Pointer(Structure::Bucket)),
    field(
        48,
        8,
        "overflow",
        None,
        Holds::Pointer(Structure::BucketSlice),
    ),
    field(
        56,
        8,
        "oldoverflow",
        None,
        Holds::Pointer(Structure::BucketSlice),
    ),
    field(64, 8, "startBucket", None, Holds::Number),
    field(72, 1, "offset", None, Holds::Number),
    field(73, 1, "wrapped", None, Holds::Number),
    field(74, 1, "B", None, Holds::Number),
    field(75, 1, "i", None, Holds::Number),
    field(80, 8, "bucket", None, Holds::Number),
    field(88, 8, "checkBucket", None, Holds::Number),
    field(96, 8, "clearSeq", None, Holds::Number),
];

pub(super) fn spot_at(shape: &Shape, off: u64) -> Option<Spot> {
    let Shape::Classic {
        key_stride,
        elem_stride,
        bucket_size,
        ..
    } = *shape
    else {
        return None;
    };
    let slot_of = |part, at: u64, stride: u64| {
        let slot = at.checked_div(stride)?;
        let spot = Spot {
            part,
            slot: Some(slot as u8),
            field_off: at % stride,
        };
        (slot < 8).then_some(spot)
    };
    let keys = 8;
    let elems = keys + key_stride.checked_mul(8)?;
    let overflow = bucket_size.checked_sub(8)?;
    if off < keys {
        slot_of(Part::BmapTophash, off, 1)
    } else if off < elems {
        slot_of(Part::BmapKey, off - keys, key_stride)
    } else if off < overflow {
        slot_of(Part::BmapElem, off - elems, elem_stride)
    } else if off < bucket_size {
        Some(Spot {
            part: Part::BmapOverflow,
            slot: None,
            field_off: off - overflow,
        })
    } else {
        None
    }
}
