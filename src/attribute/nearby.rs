//! The known starts of buckets and groups around an address and a time.

use super::position::{Admitted, Start};
use super::types::{ShapeId, VARIANTS};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// A page of Go's heap (`runtime/internal/sys`, `_PageSize`).
pub const PAGE_SHIFT: u32 = 13;

/// Starts looked at before and after a time, in each of three pages around an address.
pub const IN_TIME: usize = 4;

/// Starts of a page looked through, before and after a time, for the last and the next one here.
const IN_PAGE: usize = 64;

/// At most so many: before and after in each of three pages.
const MOST: usize = 3 * 2 * IN_TIME;

/// A start by its distance from where its neighbourhood begins, and what it admits: in 8 bytes, as
/// most of the time of placing a sample goes into reading and sorting them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nearest(u64);

impl Nearest {
    /// Bytes from the page before that of the address.
    pub fn at(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// [`Admitted::admits`]; `variants` of this shape.
    pub fn admits(self, shape: ShapeId, variants: [bool; VARIANTS]) -> bool {
        let code = self.0 as u32;
        match variants.get(code as usize) {
            Some(admitted) => *admitted,
            None => code - VARIANTS as u32 == shape,
        }
    }
}

/// Starts around an address, by base, each once.
#[derive(Debug)]
pub struct Near {
    /// Where the page before that of the address begins.
    origin: u64,
    starts: [Nearest; MOST],
    len: usize,
    /// Those at or below the address.
    below: usize,
}

/// Starts by page and time.
#[derive(Debug, Default)]
pub struct Nearby {
    times: Vec<u64>,
    /// Offset in the page above, what is admitted below.
    starts: Vec<u32>,
    /// By page: where the starts are of the page before, of this one and of the next.
    ranges: FxHashMap<u64, [Range<u32>; 3]>,
}

/// Bits of what a start admits, beside those of its offset in a page.
const CODE_BITS: u32 = 32 - PAGE_SHIFT;
const CODE: u32 = (1 << CODE_BITS) - 1;

fn code_of(admitted: Admitted) -> u32 {
    match admitted {
        Admitted::Variant(_, variant) => variant as u32,
        Admitted::Known(shape) => shape.saturating_add(VARIANTS as u32),
    }
}

impl Nearby {
    /// From starts by base and time.
    pub fn new(mut starts: Vec<Start>) -> Nearby {
        let page = |s: &Start| s.base >> PAGE_SHIFT;
        starts.dedup_by_key(|s| (s.base, s.time >> 20, s.shapes));
        starts.retain(|s| code_of(s.shapes) <= CODE);
        starts.par_sort_unstable_by_key(|s| (page(s), s.time, s.base));
        let mut ranges: FxHashMap<u64, [Range<u32>; 3]> = FxHashMap::default();
        let mut at = 0u32;
        for run in starts.chunk_by(|a, b| page(a) == page(b)) {
            let end = at + run.len() as u32;
            let here = page(&run[0]);
            let beside = [here + 1, here, here.saturating_sub(1)];
            for (side, page) in beside.into_iter().enumerate() {
                ranges.entry(page).or_insert([const { 0..0 }; 3])[side] = at..end;
            }
            at = end;
        }
        let in_page = |s: &Start| (s.base as u32 & ((1 << PAGE_SHIFT) - 1)) << CODE_BITS;
        Nearby {
            times: starts.iter().map(|s| s.time).collect(),
            starts: starts
                .iter()
                .map(|s| in_page(s) | code_of(s.shapes))
                .collect(),
            ranges,
        }
    }

    /// The starts in the pages around an address that are nearest in time.
    pub fn around(&self, address: u64, time: u64) -> Near {
        let page = address >> PAGE_SHIFT;
        let mut near = Near {
            origin: page.wrapping_sub(1) << PAGE_SHIFT,
            starts: [Nearest(0); MOST],
            len: 0,
            below: 0,
        };
        let Some(ranges) = self.ranges.get(&page) else {
            return near;
        };
        for (side, range) in (0u64..).zip(ranges) {
            let range = range.start as usize..range.end as usize;
            let times = &self.times[range.clone()];
            let at = times.partition_point(|t| *t < time);
            let around = at.saturating_sub(IN_TIME)..times.len().min(at + IN_TIME);
            for start in &self.starts[range][around] {
                let distance = side << PAGE_SHIFT | u64::from(start >> CODE_BITS);
                near.starts[near.len] = Nearest(distance << 32 | u64::from(start & CODE));
                near.len += 1;
            }
        }
        near.settle(address);
        near
    }

    /// Of the page of `base`: the last start before a time, and the first from then on, that is `here`.
    pub fn last_and_next(
        &self,
        base: u64,
        time: u64,
        here: impl Fn(u64) -> bool,
    ) -> [Option<u64>; 2] {
        let page = base >> PAGE_SHIFT;
        let Some([_, range, _]) = self.ranges.get(&page) else {
            return [None, None];
        };
        let range = range.start as usize..range.end as usize;
        let at = self.times[range.clone()].partition_point(|t| *t < time);
        let (before, after) = self.starts[range].split_at(at);
        let base = |start: &u32| page << PAGE_SHIFT | u64::from(start >> CODE_BITS);
        let mut before = before.iter().rev().take(IN_PAGE).map(base);
        let mut after = after.iter().take(IN_PAGE).map(base);
        [before.find(|b| here(*b)), after.find(|b| here(*b))]
    }
}

impl Near {
    /// Sorts by base and keeps each bucket once.
    fn settle(&mut self, address: u64) {
        let starts = &mut self.starts[..self.len];
        starts.sort_unstable();
        let mut kept = 0;
        for i in 0..starts.len() {
            if kept == 0 || starts[kept - 1].at() != starts[i].at() {
                starts[kept] = starts[i];
                kept += 1;
            }
        }
        self.len = kept;
        let here = address.wrapping_sub(self.origin) as u32;
        self.below = self.starts[..kept].partition_point(|s| s.at() <= here);
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = Nearest> {
        self.starts[..self.len].iter().copied()
    }

    /// The last one at or below the address.
    pub fn below(&self) -> Option<Nearest> {
        self.starts[..self.below].last().copied()
    }

    /// The first one above the address.
    pub fn above(&self) -> Option<Nearest> {
        self.starts[self.below..self.len].first().copied()
    }

    pub fn base(&self, start: Nearest) -> u64 {
        self.origin.wrapping_add(u64::from(start.at()))
    }

    /// The remainder modulo `stride` of addresses whose distance from here has this one.
    pub fn residue(&self, of_distance: u32, stride: u64) -> u64 {
        (self.origin % stride + u64::from(of_distance)) % stride
    }
}
