//! Sums by cell of the heatmap. Those of one array lie side by side, and take memory where samples hit it.

use super::counts::Counts;
use crate::attribute::{Array, Hit, NONE};
use rayon::prelude::*;

/// A cell of the heatmap: `(array, first index of the bin, byte offset)`.
pub type Cell = (u32, u32, u32);

/// More buckets or groups than this in one array are binned in `cells`.
const INDEX_BINS: u32 = 4096;

/// The least power of two that leaves at most [`INDEX_BINS`] bins.
pub fn index_width(len: u32) -> u32 {
    len.div_ceil(INDEX_BINS)
        .checked_next_power_of_two()
        .unwrap_or(1 << 31)
        .max(1)
}

/// The cells that hits lie in, in order.
#[derive(Debug, Default)]
pub struct Cells {
    all: Vec<Cell>,
    /// By number of the hit: the number of its cell, or [`NONE`].
    of_hits: Vec<u32>,
}

impl Cells {
    pub fn of(hits: &[Hit], arrays: &[Array]) -> Cells {
        let widths: Vec<u32> = arrays.iter().map(|array| index_width(array.len)).collect();
        let cell = |hit: &Hit| {
            let (array, index, off) = (hit.array()?, hit.index()?, hit.off()?);
            let width = widths.get(array as usize).copied().unwrap_or(1);
            Some((array, index / width * width, off))
        };
        let numbered = hits.par_iter().zip(0..hits.len() as u32);
        let numbered = numbered.filter_map(|(hit, number)| Some((cell(hit)?, number)));
        let mut numbered: Vec<(Cell, u32)> = numbered.collect();
        numbered.par_sort_unstable();
        let mut cells = Cells {
            all: Vec::new(),
            of_hits: vec![NONE; hits.len()],
        };
        for (cell, hit) in numbered {
            if cells.all.last() != Some(&cell) {
                cells.all.push(cell);
            }
            cells.of_hits[hit as usize] = cells.all.len() as u32 - 1;
        }
        cells
    }

    /// The number of the cell that a hit of this number lies in.
    #[inline]
    pub fn of_hit(&self, hit: u32) -> Option<u32> {
        let cell = self.of_hits.get(hit as usize).copied();
        cell.filter(|&cell| cell != NONE)
    }
}

/// Cells whose sums are made together: those of memory that one thread's samples do not hit cost it nothing.
const BLOCK: usize = 1 << 8;

/// Sums over some samples, by number of the cell.
#[derive(Debug, Default)]
pub struct CellSums {
    /// Of [`BLOCK`] cells each, or none.
    blocks: Vec<Vec<Counts>>,
}

impl CellSums {
    /// The sum of a cell.
    #[inline]
    pub fn of(&mut self, cell: u32) -> &mut Counts {
        let (block, at) = (cell as usize / BLOCK, cell as usize % BLOCK);
        if block >= self.blocks.len() {
            self.blocks.resize_with(block + 1, Vec::new);
        }
        let block = &mut self.blocks[block];
        if block.is_empty() {
            block.resize(BLOCK, Counts::default());
        }
        &mut block[at]
    }

    pub fn merge(mut self, mut other: CellSums) -> CellSums {
        if self.blocks.len() < other.blocks.len() {
            std::mem::swap(&mut self, &mut other);
        }
        for (sums, more) in self.blocks.iter_mut().zip(other.blocks) {
            match sums.is_empty() {
                true => *sums = more,
                false => sums.iter_mut().zip(&more).for_each(|(a, b)| a.merge(b)),
            }
        }
        self
    }

    /// The cells that were hit, in order, each with its sum.
    pub fn finish(self, cells: Cells) -> (Vec<Cell>, Vec<Counts>) {
        let hit = |sum: &Counts| sum.samples > 0;
        let len = self.blocks.iter().flatten().filter(|sum| hit(sum)).count();
        let (mut keys, mut counts) = (Vec::with_capacity(len), Vec::with_capacity(len));
        let blocks = self.blocks.into_iter().zip(cells.all.chunks(BLOCK));
        for (sums, cells) in blocks {
            for (sum, cell) in sums.into_iter().zip(cells).filter(|(sum, _)| hit(sum)) {
                keys.push(*cell);
                counts.push(sum);
            }
        }
        (keys, counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(array: u32, index: u32, off: u32) -> Hit {
        Hit {
            array,
            index,
            off,
            ..Hit::default()
        }
    }

    /// An array of 4096 buckets, and one of twice as many, two of which are one bin.
    fn cells(hits: &[Hit]) -> Cells {
        let array = |len| Array {
            map: 0,
            base: 0,
            stride: 0,
            len,
            old: false,
        };
        Cells::of(hits, &[array(4096), array(8192)])
    }

    #[test]
    fn arrays_are_binned_only_beyond_4096_indexes() {
        assert_eq!(index_width(0), 1);
        assert_eq!(index_width(4096), 1);
        assert_eq!(index_width(4097), 2);
        // 2^20 buckets: 256 each, 4096 bins.
        assert_eq!(index_width(1 << 20), 256);
        assert_eq!(index_width((1 << 20) + 1), 512);
        assert_eq!(index_width(u32::MAX), 1 << 20);
    }

    #[test]
    fn hits_of_one_bin_and_byte_are_of_one_cell() {
        let hits = [
            hit(1, 7, 3),
            hit(0, 7, 3),
            hit(1, 6, 3),
            hit(1, 6, 4),
            hit(NONE, 6, 4),
            hit(0, NONE, 4),
            hit(0, 5, NONE),
        ];
        let cells = cells(&hits);
        assert_eq!(cells.all, [(0, 7, 3), (1, 6, 3), (1, 6, 4)]);
        let of_hits = [Some(1), Some(0), Some(1), Some(2), None, None, None];
        assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|n| cells.of_hit(n)), of_hits);
        assert_eq!(cells.of_hit(7), None);
    }

    #[test]
    fn what_several_threads_counted_is_one_sum() {
        let last = 3 * BLOCK as u32;
        let all: Vec<Hit> = (0..=last).map(|n| hit(0, n, 0)).collect();
        let cells = cells(&all);
        let count = |hit: &[u32]| {
            let mut sums = CellSums::default();
            for &cell in hit {
                sums.of(cell).add(&Counts::ONE, None);
            }
            sums
        };
        let one = || count(&[5, 5, BLOCK as u32]);
        let other = || count(&[last, 5, 0]);
        for sums in [one().merge(other()), other().merge(one())] {
            let (keys, sums) = sums.finish(Cells {
                all: cells.all.clone(),
                of_hits: Vec::new(),
            });
            assert_eq!(
                keys,
                [(0, 0, 0), (0, 5, 0), (0, BLOCK as u32, 0), (0, last, 0)]
            );
            let samples: Vec<u32> = sums.iter().map(|sum| sum.samples).collect();
            assert_eq!(samples, [1, 3, 1, 1]);
        }
    }
}
