//! Classic maps in memory: `hmap`, bucket arrays, overflow chains. `runtime/map.go`.

use super::decode::{Decoded, Form, Source};
use super::region::{Kind, Region};
use crate::gomap::{MapType, Shape};

/// `hmap`, as it lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hmap {
    pub count: u64,
    pub flags: u8,
    pub b: u8,
    pub noverflow: u16,
    pub hash0: u32,
    pub buckets: u64,
    pub oldbuckets: u64,
    pub nevacuate: u64,
    pub extra: u64,
}

/// `flags`.
const HASH_WRITING: u8 = 4;
const SAME_SIZE_GROW: u8 = 8;
/// More than 2^40 buckets are no map.
const MAX_B: u8 = 40;
/// `tophash`.
const EMPTY_REST: u8 = 0;
const EMPTY_ONE: u8 = 1;
const MIN_TOPHASH: u8 = 5;

impl Hmap {
    /// `None` when the words there contradict each other.
    pub fn read(source: &Source, at: u64) -> Option<Hmap> {
        let memory = source.memory;
        let word = |offset: u64| memory.u64(at.checked_add(offset)?);
        // noswissmap of 1.24 has clearSeq before extra.
        let size = source.image.layout.header_size();
        let hmap = Hmap {
            count: word(0)?,
            flags: memory.u8(at.checked_add(8)?)?,
            b: memory.u8(at.checked_add(9)?)?,
            noverflow: memory.u16(at.checked_add(10)?)?,
            hash0: memory.u32(at.checked_add(12)?)?,
            buckets: word(16)?,
            oldbuckets: word(24)?,
            nevacuate: word(32)?,
            extra: word(size - 8)?,
        };
        hmap.consistent().then_some(hmap)
    }

    fn consistent(&self) -> bool {
        if self.flags > 15 || self.b > MAX_B || self.count >= 1 << 44 {
            return false;
        }
        let aligned = [self.buckets, self.oldbuckets, self.extra]
            .iter()
            .all(|pointer| pointer % 8 == 0);
        if !aligned {
            return false;
        }
        if self.buckets == 0 {
            let nothing = self.count == 0 && self.b == 0 && self.oldbuckets == 0;
            return nothing && self.extra == 0 && self.nevacuate == 0 && self.noverflow == 0;
        }
        // nevacuate keeps the number of old buckets when a growth has ended.
        self.nevacuate <= 1 << self.b && (self.oldbuckets == 0 || self.nevacuate < self.old_len())
    }

    fn old_len(&self) -> u64 {
        if self.flags & SAME_SIZE_GROW != 0 || self.b == 0 {
            1 << self.b
        } else {
            1 << (self.b - 1)
        }
    }

    /// Everything that the header leads to; `None` when it cannot be a map of this type.
    pub fn decode(&self, source: &Source, at: u64, map_type: &MapType) -> Option<Decoded> {
        let Shape::Classic {
            bucket_size,
            hmap_size,
            ..
        } = map_type.shape
        else {
            return None;
        };
        let mut walk = Walk {
            source,
            map_type,
            bucket_size,
            noscan: source.storage_is_noscan(map_type),
            decoded: Decoded {
                count: self.count,
                form: Form::Classic {
                    b: self.b,
                    flags: self.flags,
                    noverflow: self.noverflow,
                    hash0: self.hash0,
                    buckets: self.buckets,
                    oldbuckets: self.oldbuckets,
                    nevacuate: self.nevacuate,
                },
                ..Decoded::default()
            },
        };
        let out = &mut walk.decoded.regions;
        out.push(Region::one(Kind::Header, at, hmap_size));
        if self.extra != 0 {
            source.object_of(self.extra, 24, false)?;
            out.push(Region::one(Kind::Extra, self.extra, 24));
        }
        if self.buckets == 0 {
            return Some(walk.decoded);
        }
        walk.array(self.buckets, self.b, false)?;
        if self.oldbuckets != 0 {
            let old_b = self.old_len().trailing_zeros() as u8;
            walk.array(self.oldbuckets, old_b, true)?;
        }
        let decoded = walk.decoded;
        let entries = decoded.control.full;
        // Slot and count are written apart: a map that is being written may be one off.
        let writing = u64::from(self.flags & HASH_WRITING != 0);
        (entries.abs_diff(self.count) <= writing).then_some(decoded)
    }
}

struct Walk<'a> {
    source: &'a Source<'a>,
    map_type: &'a MapType,
    bucket_size: u64,
    noscan: bool,
    decoded: Decoded,
}

impl Walk<'_> {
    /// An array of 2^b buckets, with what is preallocated behind it (`makeBucketArray`).
    fn array(&mut self, start: u64, b: u8, old: bool) -> Option<()> {
        let len = 1u64 << b;
        let least = if b >= 4 { len + (1 << (b - 4)) } else { len };
        let bytes = least.checked_mul(self.bucket_size)?;
        let place = self.source.array_of(start, bytes, self.noscan)?;
        let total = if b >= 4 {
            place.checked_div(self.bucket_size)?
        } else {
            len
        };
        let array = Array {
            start,
            len,
            total,
            old,
        };
        let mut region = Region::one(Kind::Buckets, start, len * self.bucket_size);
        region.stride = self.bucket_size;
        region.old = old;
        self.decoded.regions.push(region);
        let mut used = vec![false; usize::try_from(total - len).ok()?];
        for bucket in 0..len {
            self.chain(&array, bucket, &mut used)?;
        }
        self.unused(&array, &used);
        Some(())
    }

    /// One bucket and the overflow buckets that it leads to.
    fn chain(&mut self, array: &Array, bucket: u64, used: &mut [bool]) -> Option<()> {
        let mut at = array.start + bucket * self.bucket_size;
        let mut depth = 0u32;
        let mut ended = false;
        loop {
            let bytes = self.source.memory.bytes(at, self.bucket_size)?;
            let tophash: [u8; 8] = bytes.first_chunk().copied()?;
            self.tophash(tophash, array.old, &mut ended)?;
            self.indirect(at, bytes, tophash, array, (bucket, depth))?;
            let overflow = bytes.last_chunk().copied().map(u64::from_le_bytes)?;
            if overflow == 0 {
                break;
            }
            depth += 1;
            match array.overflow_index(overflow, self.bucket_size) {
                Some(index) => {
                    let used = used.get_mut(usize::try_from(index).ok()?)?;
                    if std::mem::replace(used, true) {
                        return None;
                    }
                }
                None => {
                    (self.source).object_of(overflow, self.bucket_size, self.noscan)?;
                }
            }
            let mut region = Region::one(Kind::Overflow, overflow, self.bucket_size);
            (region.index, region.depth, region.old) = (bucket, depth, array.old);
            self.decoded.regions.push(region);
            // A cycle of buckets would be longer than all memory.
            if self.decoded.regions.len() as u64 > self.source.most_regions {
                return None;
            }
            at = overflow;
        }
        if !array.old {
            self.decoded.count_chain(depth);
        }
        Some(())
    }

    /// Counts the states of a bucket's slots. After emptyRest nothing follows in the whole chain.
    fn tophash(&mut self, tophash: [u8; 8], old: bool, ended: &mut bool) -> Option<()> {
        let control = &mut self.decoded.control;
        for byte in tophash {
            match byte {
                MIN_TOPHASH.. if !*ended => control.full += 1,
                EMPTY_ONE if !*ended => control.empty_one += 1,
                EMPTY_REST => {
                    *ended = true;
                    control.empty_rest += 1;
                }
                2..MIN_TOPHASH if old => control.evacuated += 1,
                _ => return None,
            }
        }
        Some(())
    }

    /// Keys and elems that the slots only point to.
    fn indirect(
        &mut self,
        at: u64,
        bucket: &[u8],
        tophash: [u8; 8],
        array: &Array,
        (index, depth): (u64, u32),
    ) -> Option<()> {
        let map_type = self.map_type;
        if !map_type.indirect_key && !map_type.indirect_elem {
            return Some(());
        }
        for (slot, byte) in (0..8).zip(tophash) {
            if byte < MIN_TOPHASH {
                continue;
            }
            for (kind, pointer, len) in self.source.indirect(map_type, bucket, slot)? {
                let mut region = Region::one(kind, pointer, len);
                (region.index, region.depth, region.old) = (index, depth, array.old);
                region.held = Some((at, slot as u8));
                self.decoded.regions.push(region);
            }
        }
        Some(())
    }

    /// Runs of preallocated buckets that no chain uses.
    fn unused(&mut self, array: &Array, used: &[bool]) {
        let mut from = array.len;
        for run in used.chunk_by(|a, b| a == b) {
            let count = run.len() as u64;
            if run.first() == Some(&false) {
                let start = array.start + from * self.bucket_size;
                let len = count * self.bucket_size;
                let mut region = Region::one(Kind::PreallocatedOverflow, start, len);
                region.stride = self.bucket_size;
                region.old = array.old;
                self.decoded.regions.push(region);
            }
            from += count;
        }
    }
}

struct Array {
    start: u64,
    len: u64,
    /// With the preallocated overflow buckets.
    total: u64,
    old: bool,
}

impl Array {
    /// Which preallocated overflow bucket `addr` is.
    fn overflow_index(&self, addr: u64, bucket_size: u64) -> Option<u64> {
        let offset = addr.checked_sub(self.start)?;
        let index = offset.checked_div(bucket_size)?;
        let inside = offset.is_multiple_of(bucket_size) && index < self.total;
        index.checked_sub(self.len).filter(|_| inside)
    }
}
