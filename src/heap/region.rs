//! The memory of a map, region by region.

use serde::Serialize;

/// A run of memory that belongs to one map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Region {
    /// Run-time address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Bytes from one bucket, group or directory entry to the next; `len` where there is only one.
    pub stride: u64,
    pub kind: Kind,
    /// Index into `Heap::maps`.
    pub map: u32,
    /// Overflow bucket, indirect key or elem: the bucket of the chain's head. Table, group array:
    /// the table's index. Else 0.
    pub index: u64,
    /// How far down the overflow chain: 0 for the bucket array itself.
    pub depth: u32,
    /// Reached by `oldbuckets`.
    pub old: bool,
    /// Indirect key or elem: the bucket or group, and the slot in it, that points to it.
    pub held: Option<(u64, u8)>,
}

/// The structures that a map is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `hmap` or `Map`.
    Header,
    /// `mapextra`.
    Extra,
    /// `[2^B]bmap`, of `buckets` or (`Region::old`) `oldbuckets`.
    Buckets,
    /// A bucket that a chain leads to.
    Overflow,
    /// Buckets after the array that no chain uses yet.
    PreallocatedOverflow,
    /// `[dirLen]*table`.
    Directory,
    Table,
    /// The groups of a table.
    Groups,
    /// The one group of a small map.
    SmallGroup,
    /// A key over 128 bytes, outside of its slot.
    IndirectKey,
    IndirectElem,
    /// `sync.Map` up to Go 1.23, and its `readOnly`.
    SyncMap,
    ReadOnly,
    /// `internal/sync.HashTrieMap`, its inner nodes and its entries.
    HashTrieMap,
    TrieIndirect,
    TrieEntry,
}

impl Kind {
    /// In words, for tables and errors.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Header => "header",
            Kind::Extra => "mapextra",
            Kind::Buckets => "buckets",
            Kind::Overflow => "overflow bucket",
            Kind::PreallocatedOverflow => "unused overflow buckets",
            Kind::Directory => "directory",
            Kind::Table => "table",
            Kind::Groups => "groups",
            Kind::SmallGroup => "group",
            Kind::IndirectKey => "indirect key",
            Kind::IndirectElem => "indirect elem",
            Kind::SyncMap => "sync.Map",
            Kind::ReadOnly => "readOnly",
            Kind::HashTrieMap => "HashTrieMap",
            Kind::TrieIndirect => "HashTrieMap node",
            Kind::TrieEntry => "HashTrieMap entry",
        }
    }
}

impl Region {
    /// A region of one structure, in the current part of a map.
    pub(super) fn one(kind: Kind, start: u64, len: u64) -> Region {
        Region {
            start,
            len,
            stride: len,
            kind,
            map: 0,
            index: 0,
            depth: 0,
            old: false,
            held: None,
        }
    }

    /// Which bucket, group or entry of the region `addr` is in, and the offset there.
    pub fn element(&self, addr: u64) -> Option<(u64, u64)> {
        let offset = addr.checked_sub(self.start).filter(|&at| at < self.len)?;
        Some((
            offset.checked_div(self.stride)?,
            offset.checked_rem(self.stride)?,
        ))
    }
}
