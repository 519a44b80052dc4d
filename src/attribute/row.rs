//! What is known of one sample, and what samples establish about objects.

use super::types::{ShapeId, TypeId};
use super::{Evidence, Reason};
use crate::gomap::{Part, Structure};

/// What is known of one sample. Zero addresses are not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Index of the sample.
    pub sample: u32,
    /// Of the sample.
    pub time: u64,
    pub part: Result<Part, Reason>,
    /// The address that was accessed.
    pub address: u64,
    pub base: u64,
    pub slot: i8,
    pub header: u64,
    /// The Swiss table that the access belongs to.
    pub table: u64,
    pub map_type: Option<TypeId>,
    /// Where the type is not known: how its buckets are laid out.
    pub shape: Option<ShapeId>,
    pub evidence: Evidence,
    /// The sample alone tells that the bucket or group at `base` starts there, and not whose it is.
    pub starts: bool,
}

impl Row {
    pub fn unplaced(reason: Reason, address: u64) -> Row {
        Row {
            sample: u32::MAX,
            time: 0,
            part: Err(reason),
            address,
            base: 0,
            slot: -1,
            header: 0,
            table: 0,
            map_type: None,
            shape: None,
            evidence: Evidence::None,
            starts: false,
        }
    }
}

/// Something that one sample establishes about an object, at its time.
#[derive(Debug, Clone, Copy)]
pub struct Fact {
    pub about: About,
    /// Address of the object.
    pub address: u64,
    /// Address of the header that owns it; 0 when not known.
    pub header: u64,
    /// Address of the Swiss table that owns it; 0 when not known.
    pub table: u64,
    /// [`About::Len`]: buckets or groups; [`About::Directory`]: its address; a key or an elem outside of
    /// its slot: the slot + 1, where that is known; [`About::Header`]: [`ON_STACK`], where it lies in a
    /// frame; else 0.
    pub value: u64,
    pub map_type: Option<TypeId>,
    pub time: u64,
}

/// [`Fact::value`] of a header in a frame: when the function has returned the memory is other functions'.
pub const ON_STACK: u64 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    Header,
    Extra,
    Table,
    /// Where the directory of this header is (or a small map's group).
    Directory,
    /// The start of a bucket array, or of a table's groups.
    Array,
    /// The start of a bucket array that is being evacuated.
    OldArray,
    /// A variable that holds a map.
    Global,
    /// How many buckets the header (classic) or groups the table (Swiss) has.
    Len,
    /// One bucket or one group.
    Bucket,
    /// A key that lies outside of its slot.
    IndirectKey,
    /// An elem that does.
    IndirectElem,
}

/// Marks, in place of a header that no sample knows, the address of the variable that holds the map.
/// User addresses never have this bit.
pub const VARIABLE: u64 = 1 << 63;

/// What a part is of.
pub fn about(part: Part) -> About {
    match part.structure() {
        Structure::Header => About::Header,
        Structure::Extra => About::Extra,
        Structure::Table => About::Table,
        Structure::Directory => About::Directory,
        Structure::Bucket | Structure::Group => About::Bucket,
        _ if part == Part::IndirectKey => About::IndirectKey,
        _ => About::IndirectElem,
    }
}

/// Whether a part is of a bucket or a group.
pub fn in_bucket(part: Part) -> bool {
    matches!(part.structure(), Structure::Bucket | Structure::Group)
}

/// The same of a part that may not be known.
pub fn about_bucket(part: Result<Part, Reason>) -> bool {
    part.is_ok_and(in_bucket)
}
