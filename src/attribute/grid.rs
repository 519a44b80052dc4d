//! Where buckets and groups may begin at all, by how Go's allocator cuts memory.
//!
//! A span is cut into objects of one size, and an array of buckets or groups is one of them. So every
//! size that an array of a shape can have, and every place that its span can have around a page, says
//! where in its bucket an address on that page lies. The starts seen there rule most of them out; what
//! the others agree on holds.

use super::nearby::{Near, Nearest};
use super::types::{ShapeId, Types};
use crate::gomap::{MapType, Part, Shape, Spot, size_class};
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

/// Groups of the largest table: `maxTableCapacity` / 8.
const MAX_GROUPS: u64 = 128;

impl Grid {
    pub fn of(shape: ShapeId, types: &Types) -> Grid {
        let Some(of_shape) = types.of_shape(shape) else {
            return Grid::default();
        };
        let stride = of_shape.shape.stride();
        let classic = matches!(of_shape.shape, Shape::Classic { .. });
        let mut grid = Grid {
            stride,
            kinds: Vec::new(),
            large: false,
        };
        if stride == 0 {
            return grid;
        }
        let minor = types.go_minor(shape);
        for scanned in [false, true] {
            if !types.is_scanned(shape, None, scanned) {
                continue;
            }
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
        let mut allowed = false;
        self.bases(near, address, admits, |other, _| allowed |= other == base);
        allowed
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
        self.layouts(near, start, admits, |kind, span, number, with| {
            let within = kind.within(span, address);
            let within = within.filter(|(other, _)| *other == number);
            let base = within.map(|(_, off)| (address - off % self.stride, with));
            let agreed = |known: Option<(u64, usize)>| {
                let ((a, n), (b, m)) = known.zip(base)?;
                (a == b).then_some((a, n.max(m)))
            };
            all = Some(all.map_or(base, agreed));
        });
        all.flatten()
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
        self.layouts(near, address, &admits, |kind, span, _, with| {
            if let Some((_, off)) = kind.within(span, address) {
                see(address - off % self.stride, with);
            }
        });
        if self.large {
            let page = address / PAGE;
            let here = near.iter().filter(|s| near.base(*s) / PAGE == page);
            let mut residues =
                here.map(|start| admits(start).then(|| near.base(start) % self.stride));
            let with = residues.clone().count();
            if let Some(Some(residue)) = residues.next()
                && residues.all(|other| other == Some(residue))
            {
                let off = (address % self.stride + self.stride - residue) % self.stride;
                see(address - off, with);
            }
        }
    }

    /// Every layout around an address that goes with the starts there: its kind, where the span begins,
    /// the number of the address's object in it, and how many starts are in that.
    fn layouts(
        &self,
        near: &Near,
        address: u64,
        admits: impl Fn(Nearest) -> bool,
        mut see: impl FnMut(&Kind, u64, u64, usize),
    ) {
        let page = address / PAGE * PAGE;
        let starts = || near.iter().map(|start| (near.base(start), admits(start)));
        for kind in &self.kinds {
            for before in 0..kind.pages {
                let Some(span) = page.checked_sub(before * PAGE) else {
                    break;
                };
                let Some((number, _)) = kind.within(span, address) else {
                    continue;
                };
                let end = span.saturating_add(kind.pages * PAGE);
                let mut inside = starts().filter(|(at, _)| (span..end).contains(at));
                let agrees = inside.all(|(at, admitted)| {
                    let within = kind.within(span, at);
                    match admitted {
                        true => within.is_some_and(|(_, off)| off % self.stride == 0),
                        // Another map's array may lie beside.
                        false => at.saturating_sub(span) / kind.object != number,
                    }
                });
                if agrees {
                    let same = |at: u64| {
                        let within = kind.within(span, at);
                        within.is_some_and(|(other, _)| other == number)
                    };
                    let with = starts().filter(|(at, _)| same(*at)).count();
                    see(kind, span, number, with);
                }
            }
        }
    }
}
