//! Swiss maps in memory: `Map`, directory, tables, groups. `internal/runtime/maps/{map,table}.go`.

use super::decode::{Decoded, Form, Source};
use super::region::{Kind, Region};
use crate::gomap::{Family, MapType, Shape};

/// `Map`, as it lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Map {
    pub used: u64,
    pub seed: u64,
    pub dir_ptr: u64,
    pub dir_len: u64,
    pub global_depth: u8,
    pub writing: u8,
}

/// `ctrlEmpty` and `ctrlDeleted`; below 0x80 a slot is full.
const EMPTY: u8 = 0x80;
const DELETED: u8 = 0xfe;
/// `maxTableCapacity`.
const MAX_CAPACITY: u16 = 1024;
/// A directory of more than 2^32 tables is no map.
const MAX_DEPTH: u8 = 32;
const HEADER_SIZE: u64 = 48;
const TABLE_SIZE: u64 = 32;

impl Map {
    /// `None` when the words there contradict each other.
    pub fn read(source: &Source, at: u64) -> Option<Map> {
        let memory = source.memory;
        let word = |offset: u64| memory.u64(at.checked_add(offset)?);
        let [global_depth, global_shift, writing, tombstone, pad @ ..] = word(32)?.to_le_bytes();
        let map = Map {
            used: word(0)?,
            seed: word(8)?,
            dir_ptr: word(16)?,
            dir_len: word(24)?,
            global_depth,
            writing,
        };
        if writing > 1 || tombstone > 1 || pad != [0; 4] || map.used >= 1 << 44 {
            return None;
        }
        if map.dir_ptr % 8 != 0 || global_depth > MAX_DEPTH {
            return None;
        }
        let consistent = if map.dir_len == 0 {
            let empty = map.dir_ptr != 0 || map.used == 0;
            global_depth == 0 && global_shift == 0 && map.used <= 8 && empty
        } else {
            // A shift of 64 is kept as 0 by `depthToShift` on no machine: 64 - depth.
            map.dir_ptr != 0
                && map.dir_len == 1 << global_depth
                && global_shift == 64 - global_depth
        };
        consistent.then_some(map)
    }

    /// Everything that the header leads to; `None` when it cannot be a map of this type.
    pub fn decode(&self, source: &Source, at: u64, map_type: &MapType) -> Option<Decoded> {
        let Shape::Swiss { group_size, .. } = map_type.shape else {
            return None;
        };
        debug_assert_eq!(source.image.layout.family, Family::Swiss);
        let mut walk = Walk {
            source,
            map_type,
            group_size,
            noscan: source.storage_is_noscan(map_type),
            decoded: Decoded {
                count: self.used,
                ..Decoded::default()
            },
        };
        let out = &mut walk.decoded.regions;
        out.push(Region::one(Kind::Header, at, HEADER_SIZE));
        let mut tables = 0;
        let writing = self.writing != 0;
        if self.dir_len != 0 {
            tables = walk.directory(self, writing)?;
        } else if self.dir_ptr != 0 {
            source.object_of(self.dir_ptr, group_size, walk.noscan)?;
            walk.groups(self.dir_ptr, 1, 0, Kind::SmallGroup)?;
        }
        let mut decoded = walk.decoded;
        decoded.form = Form::Swiss {
            seed: self.seed,
            dir_ptr: self.dir_ptr,
            dir_len: self.dir_len,
            global_depth: self.global_depth,
            tables,
            capacity: decoded.control.slots(),
        };
        let off = decoded.control.full.abs_diff(self.used);
        (off <= u64::from(writing)).then_some(decoded)
    }
}

struct Walk<'a> {
    source: &'a Source<'a>,
    map_type: &'a MapType,
    group_size: u64,
    noscan: bool,
    decoded: Decoded,
}

impl Walk<'_> {
    /// The directory and its tables; how many different ones there are.
    fn directory(&mut self, map: &Map, writing: bool) -> Option<u64> {
        let bytes = map.dir_len.checked_mul(8)?;
        (self.source).array_of(map.dir_ptr, bytes, false)?;
        let mut region = Region::one(Kind::Directory, map.dir_ptr, bytes);
        region.stride = 8;
        self.decoded.regions.push(region);
        let entries = self.source.memory.bytes(map.dir_ptr, bytes)?;
        let mut tables = 0;
        let mut entry = 0u64;
        while entry < map.dir_len {
            let at = super::memory::u64_at(entries, usize::try_from(entry).ok()? * 8)?;
            let depth = self.table(at, entry, writing)?;
            // A table of less depth than the directory fills several entries.
            let copies = 1u64 << map.global_depth.checked_sub(depth)?;
            let from = usize::try_from(entry).ok()? * 8;
            let same = entries.get(from..from + usize::try_from(copies).ok()? * 8)?;
            if same.chunks_exact(8).any(|e| e != at.to_le_bytes()) {
                return None;
            }
            tables += 1;
            entry += copies;
        }
        Some(tables)
    }

    /// One table; its `localDepth`.
    fn table(&mut self, at: u64, index: u64, writing: bool) -> Option<u8> {
        let memory = self.source.memory;
        self.source.object_of(at, TABLE_SIZE, false)?;
        let (used, capacity) = (memory.u16(at)?, memory.u16(at + 2)?);
        let growth_left = memory.u16(at + 4)?;
        let local_depth = memory.u8(at + 6)?;
        let (own_index, data, mask) = (
            memory.u64(at + 8)?,
            memory.u64(at + 16)?,
            memory.u64(at + 24)?,
        );
        let sane = capacity.is_power_of_two()
            && (8..=MAX_CAPACITY).contains(&capacity)
            && used <= capacity
            && growth_left <= capacity
            && own_index == index
            && mask.checked_add(1)?.checked_mul(8)? == u64::from(capacity);
        if !sane {
            return None;
        }
        let mut region = Region::one(Kind::Table, at, TABLE_SIZE);
        region.index = index;
        self.decoded.regions.push(region);
        let bytes = (mask + 1).checked_mul(self.group_size)?;
        self.source.array_of(data, bytes, self.noscan)?;
        let before = self.decoded.control;
        self.groups(data, mask + 1, index, Kind::Groups)?;
        let after = self.decoded.control;
        let full = after.full - before.full;
        let deleted = after.deleted - before.deleted;
        // `table.reset`, `resetGrowthLeft`: 7 of 8 slots, of the smallest table all but one.
        let room = u64::from(capacity) - u64::from(capacity / 8);
        let accounted = full + deleted + u64::from(growth_left);
        let off = full.abs_diff(used.into()).max(accounted.abs_diff(room));
        (off <= u64::from(writing)).then_some(local_depth)
    }

    fn groups(&mut self, start: u64, count: u64, index: u64, kind: Kind) -> Option<()> {
        let len = count.checked_mul(self.group_size)?;
        let bytes = self.source.memory.bytes(start, len)?;
        let mut region = Region::one(kind, start, len);
        (region.stride, region.index) = (self.group_size, index);
        self.decoded.regions.push(region);
        let small = kind == Kind::SmallGroup;
        let groups = bytes.chunks_exact(usize::try_from(self.group_size).ok()?);
        for (at, group) in (start..)
            .step_by(usize::try_from(self.group_size).ok()?)
            .zip(groups)
        {
            let ctrl: [u8; 8] = group.first_chunk().copied()?;
            let control = &mut self.decoded.control;
            for (slot, byte) in (0..8).zip(ctrl) {
                match byte {
                    EMPTY => control.empty += 1,
                    DELETED if !small => control.deleted += 1,
                    0..EMPTY => {
                        control.full += 1;
                        for (kind, pointer, len) in
                            self.source.indirect(self.map_type, group, slot)?
                        {
                            let mut region = Region::one(kind, pointer, len);
                            region.index = index;
                            region.held = Some((at, slot as u8));
                            self.decoded.regions.push(region);
                        }
                    }
                    _ => return None,
                }
            }
        }
        Some(())
    }
}
