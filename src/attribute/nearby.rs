//! The known starts of buckets and groups around an address and a time.

use super::NONE;
use super::admitted::Admitted;
use super::timelines::Timelines;
use super::types::{ShapeId, VARIANTS};
use crate::recording::partition_near;
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
pub const MOST: usize = 3 * 2 * IN_TIME;

/// A start by its distance from where its neighbourhood begins, and what it admits: in 8 bytes, as
/// most of the time of placing a sample goes into reading and sorting them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
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
    /// By number of the page: where its starts are.
    ranges: Vec<Range<u32>>,
    /// By page: the numbers of the page before, of this one and of the next, or [`NONE`].
    pages: FxHashMap<u64, [u32; 3]>,
}

/// What was asked for last.
pub type Last = super::last::Last<Window>;

/// The starts of a page that are nearest to a time.
#[derive(Debug, Default)]
pub struct Window {
    /// The first start that is not before.
    at: usize,
    /// By place, each place once: as [`Nearest`], but from where the page begins.
    starts: [Nearest; 2 * IN_TIME],
    len: usize,
}

impl Window {
    /// Moves to a time, on a page that has these starts at these times; returns from which time to which they
    /// are the same.
    fn move_to(&mut self, time: u64, starts: &[u32], times: &[u64]) -> (u64, u64) {
        let at = partition_near(times, self.at, |t| *t < time);
        let around = at.saturating_sub(IN_TIME)..times.len().min(at + IN_TIME);
        let nearest = &mut self.starts[..around.len()];
        for (place, start) in nearest.iter_mut().zip(&starts[around]) {
            *place = Nearest(u64::from(start >> CODE_BITS) << 32 | u64::from(start & CODE));
        }
        nearest.sort_unstable();
        let mut kept = 0;
        for i in 0..nearest.len() {
            if kept == 0 || nearest[kept - 1].at() != nearest[i].at() {
                nearest[kept] = nearest[i];
                kept += 1;
            }
        }
        (self.at, self.len) = (at, kept);
        let from = at.checked_sub(1).map_or(0, |before| times[before] + 1);
        (from, times.get(at).copied().unwrap_or(u64::MAX))
    }
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
    /// From starts with the times at which they were seen.
    pub fn new(starts: &Timelines<(u64, Admitted)>) -> Nearby {
        let all: Vec<((u64, Admitted), &[u64])> = starts
            .iter()
            .filter(|((_, shapes), _)| code_of(*shapes) <= CODE)
            .collect();
        let page = |base: u64| base >> PAGE_SHIFT;
        let of_pages: Vec<_> = all
            .chunk_by(|(a, _), (b, _)| page(a.0) == page(b.0))
            .collect();
        let of_page = |starts: &&[((u64, Admitted), &[u64])]| {
            let timed = starts.iter().flat_map(|((base, shapes), times)| {
                let in_page = (*base as u32 & ((1 << PAGE_SHIFT) - 1)) << CODE_BITS;
                let start = in_page | code_of(*shapes);
                // So soon again it tells nothing new.
                let alike = times.chunk_by(|a, b| a >> 20 == b >> 20);
                alike.map(move |alike| (alike[0], start))
            });
            let mut timed: Vec<(u64, u32)> = timed.collect();
            timed.sort_unstable();
            timed
        };
        let timed: Vec<Vec<(u64, u32)>> = of_pages.par_iter().map(of_page).collect();
        let mut ranges: Vec<Range<u32>> = Vec::new();
        let mut pages: FxHashMap<u64, [u32; 3]> = FxHashMap::default();
        let mut at = 0u32;
        for (number, (starts, timed)) in (0..).zip(of_pages.iter().zip(&timed)) {
            let end = at + timed.len() as u32;
            let here = page(starts[0].0.0);
            let beside = [here + 1, here, here.saturating_sub(1)];
            for (side, page) in beside.into_iter().enumerate() {
                pages.entry(page).or_insert([NONE; 3])[side] = number;
            }
            ranges.push(at..end);
            at = end;
        }
        Nearby {
            times: timed.iter().flatten().map(|(time, _)| *time).collect(),
            starts: timed.iter().flatten().map(|(_, start)| *start).collect(),
            ranges,
            pages,
        }
    }

    /// To ask for the first time.
    pub fn last(&self) -> Last {
        Last::new(self.ranges.len())
    }

    /// Where the starts of a page are.
    fn of_page(&self, number: u32) -> Range<usize> {
        let range = self.ranges.get(number as usize);
        range.map_or(0..0, |range| range.start as usize..range.end as usize)
    }

    /// The starts in the pages around an address that are nearest in time.
    pub fn around(&self, address: u64, time: u64, last: &mut Last) -> Near {
        let page = address >> PAGE_SHIFT;
        let mut near = Near {
            origin: page.wrapping_sub(1) << PAGE_SHIFT,
            starts: [Nearest(0); MOST],
            len: 0,
            below: 0,
        };
        let Some(pages) = self.pages.get(&page) else {
            return near;
        };
        for (side, number) in (0u64..).zip(pages) {
            let look = |window: &mut Window| {
                let range = self.of_page(*number);
                window.move_to(time, &self.starts[range.clone()], &self.times[range])
            };
            let Some(window) = last.at(*number, time, look) else {
                continue;
            };
            let here = &mut near.starts[near.len..][..window.len];
            for (place, start) in here.iter_mut().zip(&window.starts) {
                *place = Nearest(start.0 | side << (PAGE_SHIFT + 32));
            }
            near.len += window.len;
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
        let Some(&[_, number, _]) = self.pages.get(&page) else {
            return [None, None];
        };
        let range = self.of_page(number);
        let at = self.times[range.clone()].partition_point(|t| *t < time);
        let (before, after) = self.starts[range].split_at(at);
        let base = |start: &u32| page << PAGE_SHIFT | u64::from(start >> CODE_BITS);
        let mut before = before.iter().rev().take(IN_PAGE).map(base);
        let mut after = after.iter().take(IN_PAGE).map(base);
        [before.find(|b| here(*b)), after.find(|b| here(*b))]
    }
}

impl Near {
    fn settle(&mut self, address: u64) {
        let here = address.wrapping_sub(self.origin) as u32;
        self.below = self.starts[..self.len].partition_point(|s| s.at() <= here);
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn iter(&self) -> impl Iterator<Item = Nearest> + Clone {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice::from_ref;

    #[test]
    fn what_was_asked_for_last_changes_no_answer() {
        let start = |i: u64| {
            let shapes = Admitted::Variant(0, i as usize % VARIANTS);
            (((i * 7 % 40) << 10, shapes), (i * i % 97) << 20)
        };
        let starts: Vec<((u64, Admitted), u64)> = (0..200).map(start).collect();
        let starts = starts.iter().map(|(start, time)| (*start, from_ref(time)));
        let nearby = Nearby::new(&Timelines::of(starts.collect()));
        let mut last = nearby.last();
        // Onwards, with steps back, and around the times of starts.
        for time in (0..100).flat_map(|t| [t << 20, (t << 20) + 1, (t * 13 % 100) << 20]) {
            for address in (0..48).map(|page| (page << 10) + 512) {
                let anew = nearby.around(address, time, &mut nearby.last());
                let after = nearby.around(address, time, &mut last);
                assert_eq!(format!("{after:?}"), format!("{anew:?}"));
            }
        }
    }
}
