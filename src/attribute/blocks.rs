//! Keys and elems that lie outside of their slots, each an object of its own, and the copies of them.
//!
//! Go's allocator cuts pages into objects of one size, so the blocks that samples know give the grid of
//! their page. `duffcopy` always runs to its end: how far that is from the sampled instruction tells
//! where the copied object ends, and so which one of the grid it is.

use super::row::{Row, in_bucket};
use super::rows::Rows;
use super::statements::Own;
use super::types::{TypeId, Types};
use crate::gomap::{Part, size_class};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// A key or elem outside of its slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    pub part: Part,
    pub start: u64,
    pub map_type: TypeId,
    size: u64,
    time: u64,
}

#[derive(Debug, Default)]
struct Page {
    /// By time.
    known: Vec<Block>,
    /// Times of samples of buckets and groups: the page was cut otherwise. Sorted.
    others: Vec<u64>,
}

/// The pages that hold such blocks.
#[derive(Debug, Default)]
pub struct Blocks {
    pages: FxHashMap<u64, Page>,
}

impl Blocks {
    /// From all rows.
    pub fn build(rows: &Rows, types: &Types) -> Blocks {
        let mut pages: FxHashMap<u64, Page> = FxHashMap::default();
        let outside = |own: &Own| matches!(own.part, Ok(Part::IndirectKey | Part::IndirectElem));
        let blocks = rows.par_where(outside).filter_map(|row| known(&row, types));
        for block in blocks.collect::<Vec<Block>>() {
            let last = block.start.saturating_add(block.size.saturating_sub(1));
            for page in block.start / size_class::PAGE..=last / size_class::PAGE {
                pages.entry(page).or_default().known.push(block);
            }
        }
        if !pages.is_empty() {
            let others = rows.said.par_said(|own| own.part.is_ok_and(in_bucket));
            let others = others.map(|said| (said.row.address / size_class::PAGE, said.times));
            let others = others.filter(|(page, _)| pages.contains_key(page));
            let others: Vec<(u64, &[u64])> = others.collect();
            for (page, times) in others {
                pages.entry(page).or_default().others.extend(times);
            }
        }
        for page in pages.values_mut() {
            page.known.sort_by_key(|b| (b.time, b.start));
            page.others.sort_unstable();
        }
        Blocks { pages }
    }

    /// The pages that hold blocks.
    pub fn spans(&self) -> impl Iterator<Item = (u64, u64)> {
        let page = |n: &u64| (n * size_class::PAGE, n * size_class::PAGE);
        self.pages.keys().map(page)
    }

    /// The block that a copy which ends at `end` (exclusive) touches at `address`: one of the grid of
    /// the blocks that were seen on this page last before and first after `time`.
    pub fn copied(&self, address: u64, end: u64, time: u64) -> Option<Block> {
        let page = self.pages.get(&(address / size_class::PAGE))?;
        let after = page.known.partition_point(|b| b.time < time);
        let others = page.others.partition_point(|t| *t < time);
        let between = |b: &&Block| page.others.partition_point(|t| *t < b.time) == others;
        let before = after.checked_sub(1).and_then(|i| page.known.get(i));
        let mut fitting = [before, page.known.get(after)]
            .into_iter()
            .flatten()
            .filter(between)
            .filter_map(|known| known.like(address, end));
        let found = fitting.next()?;
        fitting
            .all(|other| other.map_type == found.map_type && other.part == found.part)
            .then_some(found)
    }
}

fn known(row: &Row, types: &Types) -> Option<Block> {
    let (part, map_type) = (row.part.ok()?, row.map_type?);
    let of = types.get(map_type).filter(|_| row.base != 0)?;
    let size = match part {
        Part::IndirectKey => of.key_size,
        Part::IndirectElem => of.elem_size,
        _ => return None,
    };
    Some(Block {
        part,
        start: row.base,
        map_type,
        size,
        time: row.time,
    })
}

impl Block {
    /// The block of this one's grid, and as large, that ends at `end` and covers `address`.
    fn like(&self, address: u64, end: u64) -> Option<Block> {
        let start = end.checked_sub(self.size)?;
        let headed = self.size.checked_add(size_class::HEADER)?;
        let on_grid = |object: u64| {
            let class = size_class::occupied(object);
            class != 0 && start.abs_diff(self.start).is_multiple_of(class)
        };
        let fits = on_grid(self.size) || self.size > size_class::MAX_IN_SPAN && on_grid(headed);
        (fits && (start..end).contains(&address)).then_some(Block { start, ..*self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Elems of 200 bytes go into objects of 208, 39 to a page.
    const PAGE: u64 = 0xc000_0000_2000;

    fn block(slot: u64, time: u64) -> Block {
        Block {
            part: Part::IndirectElem,
            start: PAGE + 208 * slot,
            map_type: 3,
            size: 200,
            time,
        }
    }

    fn blocks(others: &[u64]) -> Blocks {
        let page = Page {
            known: vec![block(2, 100), block(30, 200)],
            others: others.to_vec(),
        };
        Blocks {
            pages: FxHashMap::from_iter([(PAGE / size_class::PAGE, page)]),
        }
    }

    #[test]
    fn a_copy_touches_the_block_of_the_grid_that_it_ends_with() {
        let start = PAGE + 208 * 7;
        let found = blocks(&[]).copied(start + 48, start + 200, 150);
        assert_eq!(found.map(|b| (b.start, b.map_type)), Some((start, 3)));
    }

    #[test]
    fn a_copy_that_ends_elsewhere_is_of_something_else() {
        let start = PAGE + 208 * 7;
        // A value of 208 bytes, and one that begins in the middle of a block.
        assert_eq!(blocks(&[]).copied(start + 48, start + 208, 150), None);
        assert_eq!(blocks(&[]).copied(start + 48, start + 104, 150), None);
        // Another page.
        let far = start + size_class::PAGE;
        assert_eq!(blocks(&[]).copied(far + 48, far + 200, 150), None);
    }

    #[test]
    fn a_page_that_held_buckets_in_between_tells_nothing() {
        let start = PAGE + 208 * 7;
        let at = |time, others: &[u64]| {
            let found = blocks(others).copied(start, start + 200, time);
            found.map(|b| b.time)
        };
        assert_eq!(at(150, &[120]), Some(200));
        assert_eq!(at(150, &[120, 180]), None);
        assert_eq!(at(250, &[220]), None);
        assert_eq!(at(250, &[150]), Some(200));
    }
}
