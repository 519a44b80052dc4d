//! Where buckets and groups may begin at all, by how Go's allocator cuts memory.
//!
//! A span is cut into objects of one size, and an array of buckets or groups is one of them. So every
//! size that an array of a shape can have, and every place that its span can have around a page, says
//! where in its bucket an address on that page lies. The starts seen there rule most of them out; what
//! the others agree on holds.

use super::nearby::{MOST, Near, Nearest};
use super::types::{ShapeId, Types};
use crate::gomap::{MAX_GROUPS, MapType, Part, Shape, Spot, size_class};
use size_class::{MAX_SMALL, PAGE};

/// One way to lay out an array of buckets or groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// Of a span.
    pages: u64,
    objects: u64,
    /// Bytes of an object, and how many of them come before its first bucket.
    object: u64,
    before: u64,
    /// Bytes of its buckets.
    len: u64,
}

impl Kind {
    /// The number of the object of a span that an address lies in, and how far behind the first bucket's
    /// start.
    fn within(&self, span: u64, address: u64) -> Option<(u64, u64)> {
        let off = address.checked_sub(span)?;
        let number = off / self.object;
        let off = (off % self.object).checked_sub(self.before)?;
        (number < self.objects && off < self.len).then_some((number, off))
    }
}

/// What the allocator leaves open where an access lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    Nowhere,
    /// Start of the bucket or group, and the spot in it; so many starts are in an array with it.
    One(u64, Spot, usize),
    Several,
}

impl Place {
    fn or(self, base: u64, spot: Spot, starts: usize) -> Place {
        match self {
            Place::Nowhere => Place::One(base, spot, starts),
            Place::One(b, s, n) if (b, s) == (base, spot) => Place::One(b, s, n.max(starts)),
            _ => Place::Several,
        }
    }
}

/// The layouts of the arrays of one shape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grid {
    stride: u64,
    kinds: Vec<Kind>,
    /// Arrays of any number of pages of their own as well.
    large: bool,
}

/// Buckets of a classic array whose overflow buckets are allocated with it (`makeBucketArray`).
const WITH_OVERFLOW: u64 = 16;

impl Grid {
    pub fn of(shape: ShapeId, types: &Types) -> Grid {
        let scanned = |scanned| types.is_scanned(shape, None, scanned);
        let of_shape = types.of_shape(shape);
        of_shape.map_or_else(Grid::default, |of_shape| {
            Grid::new(of_shape.shape, scanned, types.go_minor(shape))
        })
    }

    /// `is_scanned`: whether there are arrays that the collector reads, and others.
    fn new(shape: Shape, is_scanned: impl Fn(bool) -> bool, minor: u32) -> Grid {
        let stride = shape.stride();
        let classic = matches!(shape, Shape::Classic { .. });
        let mut grid = Grid {
            stride,
            kinds: Vec::new(),
            large: false,
        };
        if stride == 0 {
            return grid;
        }
        for scanned in [false, true].into_iter().filter(|s| is_scanned(*s)) {
            for log in 0..u64::BITS {
                let buckets = 1u64 << log;
                let bytes = match classic && buckets >= WITH_OVERFLOW {
                    true => (buckets + buckets / WITH_OVERFLOW).saturating_mul(stride),
                    false => buckets.saturating_mul(stride),
                };
                let Some(slot) = size_class::slot_for(bytes, !scanned, minor) else {
                    break;
                };
                let large = slot.size > MAX_SMALL;
                if large && classic {
                    grid.large = true;
                    break;
                }
                let pages = match large {
                    true => slot.size / PAGE,
                    false => size_class::span_pages(slot.size),
                };
                // The rest of the object is made overflow buckets of.
                let len = match classic && buckets >= WITH_OVERFLOW {
                    true => (slot.size - slot.before) / stride * stride,
                    false => bytes,
                };
                let kind = Kind {
                    pages,
                    objects: pages * PAGE / slot.size,
                    object: slot.size,
                    before: slot.before,
                    len,
                };
                if !grid.kinds.contains(&kind) {
                    grid.kinds.push(kind);
                }
                if !classic && buckets == MAX_GROUPS {
                    break;
                }
            }
        }
        grid
    }

    /// Where a part of this shape at an address lies: on a page on which starts were seen that admit the
    /// shape, or in an array with the nearest ones, whatever that is.
    pub fn place(
        &self,
        near: &Near,
        address: u64,
        part: Part,
        of_shape: &MapType,
        admits: impl Fn(Nearest) -> bool,
    ) -> Place {
        let spot_at = |base: u64| {
            let spot = of_shape.spot_at(address - base);
            spot.filter(|spot| spot.part == part)
        };
        let page = address / PAGE;
        let mut place = Place::Nowhere;
        if (near.iter()).any(|start| near.base(start) / PAGE == page && admits(start)) {
            self.bases(near, address, &admits, |base, starts| {
                if let Some(spot) = spot_at(base) {
                    place = place.or(base, spot, starts);
                }
            });
        }
        if matches!(place, Place::One(..)) {
            return place;
        }
        let sides = near.below().into_iter().chain(near.above());
        let with = sides.filter(|start| admits(*start)).filter_map(|start| {
            let (base, starts) = self.base_with(near, near.base(start), address, &admits)?;
            Some((base, spot_at(base)?, starts))
        });
        let with = with.fold(Place::Nowhere, |all, (base, spot, starts)| {
            all.or(base, spot, starts)
        });
        if with == Place::Nowhere { place } else { with }
    }

    /// Whether the bucket or group of an address may begin at `base`.
    pub fn allows(
        &self,
        near: &Near,
        address: u64,
        base: u64,
        admits: impl Fn(Nearest) -> bool,
    ) -> bool {
        let behind = address.wrapping_sub(base);
        let is_base = |off: u64| off % self.stride == behind;
        self.any_layout(near, address, &admits, is_base, |_, _, _, _| true)
            || self.large_base(near, address, admits).map(|(base, _)| base) == Some(base)
    }

    /// The start of the bucket or group of an address, where every array that may hold the one at `start`
    /// holds the address as well.
    fn base_with(
        &self,
        near: &Near,
        start: u64,
        address: u64,
        admits: impl Fn(Nearest) -> bool,
    ) -> Option<(u64, usize)> {
        if self.large {
            return None;
        }
        let mut all: Option<Option<(u64, usize)>> = None;
        let disagrees = |kind: &Kind, span, (number, _), with| {
            let within = kind.within(span, address);
            let within = within.filter(|(other, _)| *other == number);
            let base = within.map(|(_, off)| (address - off % self.stride, with));
            let agreed = |known: Option<(u64, usize)>| {
                let ((a, n), (b, m)) = known.zip(base)?;
                (a == b).then_some((a, n.max(m)))
            };
            all = Some(all.map_or(base, agreed));
            all == Some(None)
        };
        self.any_layout(near, start, admits, |_| true, disagrees);
        all.flatten()
    }

    /// Whether congruent buckets or groups, in order, can be of one array and not of several.
    pub fn is_one_array(&self, bases: &[u64]) -> bool {
        let [first, _, ..] = *bases else {
            return false;
        };
        let before = |end: u64| bases.partition_point(|base| *base < end);
        let large = |(from, to): (u64, u64)| {
            let page = to / PAGE * PAGE;
            let pages = (0..self.stride).map_while(|n| page.checked_sub(n * PAGE));
            let mut pages = pages.take_while(|page| *page >= from);
            self.large && pages.any(|page| (to - page).is_multiple_of(self.stride))
        };
        // By how many of the bases: whether they can be those of arrays side by side.
        let mut told = vec![false; bases.len() + 1];
        // Where a large array ends is open.
        let of_large = large((0, first));
        let mut one = of_large;
        if of_large {
            told[1..].fill(true);
        }
        for (_, end) in self.arrays_around(first) {
            told[before(end)] = true;
            one |= before(end) == bases.len();
        }
        told[bases.len()] = false;
        for (n, pair) in (1..).zip(bases.windows(2)) {
            let (last, next) = (pair[0], pair[1]);
            if !told[n] {
                continue;
            }
            if large((last.saturating_add(1), next)) {
                return false;
            }
            for (start, end) in self.arrays_around(next) {
                if start > last {
                    told[before(end)] = true;
                }
            }
        }
        one && !told[bases.len()]
    }

    /// Start and end of every array that may have a bucket or group at `base`.
    fn arrays_around(&self, base: u64) -> impl Iterator<Item = (u64, u64)> {
        self.kinds.iter().flat_map(move |kind| {
            let spans =
                (0..kind.pages).map_while(move |n| (base / PAGE * PAGE).checked_sub(n * PAGE));
            spans.filter_map(move |span| {
                let (_, off) = kind.within(span, base)?;
                let start = base - off;
                off.is_multiple_of(self.stride)
                    .then(|| (start, start.saturating_add(kind.len)))
            })
        })
    }

    /// Every start of the bucket or group of an address that goes with the starts around it, with how many
    /// of these are in one array with it.
    fn bases(
        &self,
        near: &Near,
        address: u64,
        admits: impl Fn(Nearest) -> bool,
        mut see: impl FnMut(u64, usize),
    ) {
        let see_in = |_: &Kind, _, (_, off), with| {
            see(address - off % self.stride, with);
            false
        };
        self.any_layout(near, address, &admits, |_| true, see_in);
        if let Some((base, with)) = self.large_base(near, address, admits) {
            see(base, with);
        }
    }

    /// The start of the bucket of an address in an array of pages of its own, where the starts on its page
    /// agree, and how many these are.
    fn large_base(
        &self,
        near: &Near,
        address: u64,
        admits: impl Fn(Nearest) -> bool,
    ) -> Option<(u64, usize)> {
        let page = address / PAGE;
        let here = near.iter().filter(|s| near.base(*s) / PAGE == page);
        let here = here.filter(|_| self.large);
        let mut residues = here.map(|start| admits(start).then(|| near.base(start) % self.stride));
        let with = residues.clone().count();
        let residue = residues.next()??;
        let off = (address % self.stride + self.stride - residue) % self.stride;
        let agree = residues.all(|other| other == Some(residue));
        agree.then(|| (address - off, with))
    }

    /// Whether a layout around an address that goes with the starts there is `wanted`: by its kind, where the
    /// span begins, where in that the address lies as [`Kind::within`] has it, and how many starts are in the
    /// same object. Only those are asked about of which `fits` says so, by how far behind the first bucket's
    /// start the address lies.
    fn any_layout(
        &self,
        near: &Near,
        address: u64,
        admits: impl Fn(Nearest) -> bool,
        fits: impl Fn(u64) -> bool,
        mut wanted: impl FnMut(&Kind, u64, (u64, u64), usize) -> bool,
    ) -> bool {
        let page = address / PAGE * PAGE;
        let mut starts = [(0, false); MOST];
        for (place, start) in starts.iter_mut().zip(near.iter()) {
            *place = (near.base(start), admits(start));
        }
        let starts = &starts[..near.len()];
        for kind in &self.kinds {
            for before in 0..kind.pages {
                let Some(span) = page.checked_sub(before * PAGE) else {
                    break;
                };
                let within = kind.within(span, address);
                let Some((number, off)) = within.filter(|(_, off)| fits(*off)) else {
                    continue;
                };
                let end = span.saturating_add(kind.pages * PAGE);
                let mut inside = starts.iter().filter(|(at, _)| (span..end).contains(at));
                let agrees = inside.all(|&(at, admitted)| {
                    let within = kind.within(span, at);
                    match admitted {
                        true => within.is_some_and(|(_, off)| off % self.stride == 0),
                        // Another map's array may lie beside.
                        false => at.saturating_sub(span) / kind.object != number,
                    }
                });
                if !agrees {
                    continue;
                }
                let same = |at: u64| {
                    let within = kind.within(span, at);
                    within.is_some_and(|(other, _)| other == number)
                };
                let with = starts.iter().filter(|(at, _)| same(*at)).count();
                if wanted(kind, span, (number, off), with) {
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::attribute::admitted::Admitted;
    use crate::attribute::nearby::Nearby;
    use crate::attribute::timelines::Timelines;
    use std::slice::from_ref;

    /// `map[uint64]uint64` of Go 1.24 on.
    const GROUP: u64 = 136;
    /// Where a span of nine pages begins; its objects of 18,432 bytes hold 128 groups.
    const SPAN: u64 = 0x1e12_36fd_0000;
    const TABLE: u64 = 18432;

    pub fn of_shape() -> MapType {
        MapType {
            addr: 0,
            name: String::new(),
            key: String::new(),
            elem: String::new(),
            string_key: false,
            fast: true,
            scanned: false,
            key_size: 8,
            elem_size: 8,
            indirect_key: false,
            indirect_elem: false,
            shape: Shape::Swiss {
                group_size: GROUP,
                keys_off: 8,
                key_stride: 16,
                elems_off: 16,
                elem_stride: 16,
            },
        }
    }

    /// Where a key at an address lies, groups having been seen to begin at others.
    fn key_at(address: u64, starts: &[u64]) -> Place {
        let of_shape = of_shape();
        let grid = Grid::new(of_shape.shape, |scanned| !scanned, 27);
        let times: Vec<u64> = (0..starts.len() as u64).collect();
        let all = starts.iter().zip(&times);
        let all = all.map(|(base, time)| ((*base, Admitted::Known(0)), from_ref(time)));
        let nearby = Nearby::new(&Timelines::of(all.collect()));
        let near = nearby.around(address, 5, &mut nearby.last());
        grid.place(&near, address, Part::GroupKey, &of_shape, |_| true)
    }

    fn key(base: u64, slot: u8, starts: usize) -> Place {
        let spot = Spot {
            part: Part::GroupKey,
            slot: Some(slot),
            field_off: 0,
        };
        Place::One(base, spot, starts)
    }

    /// The key of the last slot of a table's second group; other starts of the table seen.
    #[test]
    fn starts_on_the_page_leave_one_place() {
        let table = SPAN + TABLE;
        let group = |n| table + GROUP * n;
        let address = group(1) + 8 + 16 * 7;
        assert_eq!(key_at(address, &[]), Place::Nowhere);
        let seen = [group(0), group(5), group(9), group(40)];
        assert_eq!(key_at(address, &seen), key(group(1), 7, 4));
    }

    /// 80 groups apart, starts can only be of a table of 128, and the allocator puts that at one place alone:
    /// the last group is of it, what lies behind is of the next.
    #[test]
    fn a_table_reaches_as_far_as_its_object() {
        let table = SPAN + 2 * TABLE;
        let group = |n| table + GROUP * n;
        let seen = [group(40), group(75), group(119)];
        let last = group(127);
        assert_eq!(key_at(last + 8, &seen), key(last, 0, 3));
        let next = table + TABLE;
        assert_eq!(key_at(next + 8, &seen), key(next, 0, 0));
    }

    /// Buckets of 208 bytes with pointers. From 1.22 on arrays of more than two of them begin 8 bytes into
    /// their object, which single ones do not; those of four lie 896 bytes apart, so that it takes 13 of them
    /// to come back to the same place in a bucket.
    #[test]
    fn congruent_buckets_are_of_one_array_where_no_other_may_begin() {
        let shape = Shape::Classic {
            key_stride: 16,
            elem_stride: 8,
            bucket_size: 208,
            hmap_size: 48,
        };
        let of = |minor| Grid::new(shape, |scanned| scanned, minor);
        let bucket =
            |start: u64, n: &[u64]| -> Vec<u64> { n.iter().map(|n| start + 208 * n).collect() };
        let start = SPAN + 896 + 8;
        assert!(of(22).is_one_array(&bucket(start, &[0, 2, 3])));
        assert!(!of(22).is_one_array(&bucket(start, &[0, 2, 56])));
        assert!(!of(22).is_one_array(&bucket(start, &[2])));
        // Single ones, or arrays of two.
        assert!(!of(22).is_one_array(&bucket(SPAN + 208, &[0, 2, 3])));
        // No array begins there.
        assert!(!of(22).is_one_array(&bucket(start + 16, &[0, 2, 3])));
        // Before 1.22 the same may be single ones where the array begins with its object.
        assert!(!of(21).is_one_array(&bucket(SPAN, &[0, 2, 3])));
        assert!(of(21).is_one_array(&bucket(SPAN + 896, &[0, 2, 3])));
    }

    /// Buckets of 272 bytes lie in objects of 288, 28 of them on a page.
    #[test]
    fn single_buckets_lie_on_the_grid_of_their_objects() {
        let shape = Shape::Classic {
            key_stride: 4,
            elem_stride: 28,
            bucket_size: 272,
            hmap_size: 48,
        };
        let grid = Grid::new(shape, |scanned| !scanned, 22);
        let single = grid.kinds[0];
        assert_eq!((single.object, single.objects, single.len), (288, 28, 272));
        assert_eq!(single.within(SPAN, SPAN + 288 * 3 + 16), Some((3, 16)));
        assert_eq!(single.within(SPAN, SPAN + 288 * 3 + 272), None);
        // 16 buckets and one more for the overflow: what fits into 4,864 bytes.
        let sixteen = grid.kinds.iter().find(|kind| kind.object == 4864);
        assert_eq!(sixteen.map(|kind| kind.len), Some(17 * 272));
        assert!(grid.large);
    }
}
