//! A column in blocks, each as narrow as its values.
//!
//! Samples that follow each other are alike: their times lie within a second, their addresses in a
//! heap, their events are one. A block keeps the bits that its values have alike once, and of each value
//! the bits below them.

use rayon::prelude::*;
use std::fmt;
use std::marker::PhantomData;

/// Rows in a block.
pub const ROWS: usize = 1 << 11;

/// A number that a column can hold.
pub trait Cell: Copy + PartialEq + Send + Sync + fmt::Debug {
    fn word(self) -> u64;
    /// The number that gave this word.
    fn of(word: u64) -> Self;
}

macro_rules! cells {
    ($($number:ty)*) => {$(
        impl Cell for $number {
            #[inline(always)]
            fn word(self) -> u64 {
                u64::from(self)
            }

            #[inline(always)]
            fn of(word: u64) -> Self {
                word as $number
            }
        }
    )*};
}
cells!(u8 u16 u32 u64);

/// [`ROWS`] values.
#[derive(Debug, Clone)]
pub struct Block {
    /// The bits that all values have alike, above those that differ.
    alike: u64,
    /// Bits a value, and the bits of a word that they are.
    width: usize,
    below: u64,
    /// The lowest bits of the values, one after the other, and after them so many bytes that eight can
    /// be read from where the last one begins.
    bytes: Box<[u8]>,
}

/// Values of more bits take whole words: one that begins within a byte has to end in the eight bytes
/// from there.
const WIDEST: usize = 57;

impl Block {
    /// Bytes that it takes.
    pub fn held(&self) -> usize {
        size_of::<Block>() + self.bytes.len()
    }

    pub fn new(values: &[u64]) -> Block {
        let first = values.first().copied().unwrap_or(0);
        let differ = values.iter().fold(0, |bits, value| bits | value ^ first);
        let width = match (u64::BITS - differ.leading_zeros()) as usize {
            bits @ 0..=WIDEST => bits,
            _ => 64,
        };
        let below = lowest(width);
        Block {
            alike: first & !below,
            width,
            below,
            bytes: pack(values, width, below),
        }
    }

    #[inline(always)]
    fn get(&self, i: usize) -> Option<u64> {
        let bit = i * self.width;
        let bytes: [u8; 8] = self.bytes.get(bit / 8..bit / 8 + 8)?.try_into().ok()?;
        Some(self.alike | u64::from_le_bytes(bytes) >> (bit % 8) & self.below)
    }
}

/// The lowest bits of a word.
fn lowest(bits: usize) -> u64 {
    match bits {
        0 => 0,
        bits => u64::MAX >> (64 - bits),
    }
}

fn pack(values: &[u64], width: usize, below: u64) -> Box<[u8]> {
    let len = (values.len() * width).div_ceil(64) * 8 + 8;
    let mut bytes = Vec::with_capacity(len);
    let (mut word, mut filled) = (0, 0);
    for value in values.iter().filter(|_| width > 0) {
        let value = value & below;
        word |= value << filled;
        filled += width;
        if filled >= 64 {
            bytes.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            // What did not fit.
            word = value.checked_shr((width - filled) as u32).unwrap_or(0);
        }
    }
    bytes.extend_from_slice(&word.to_le_bytes());
    bytes.resize(len, 0);
    bytes.into_boxed_slice()
}

/// Words of the samples, one a row.
#[derive(Debug, Clone, Default)]
pub struct Words {
    blocks: Vec<Block>,
    /// The rows after the last block, fewer than [`ROWS`].
    last: Vec<u64>,
}

impl Words {
    pub fn len(&self) -> usize {
        self.blocks.len() * ROWS + self.last.len()
    }

    #[inline(always)]
    pub fn get(&self, i: usize) -> Option<u64> {
        match self.blocks.get(i / ROWS) {
            Some(block) => block.get(i % ROWS),
            None => self.last.get(i - self.blocks.len() * ROWS).copied(),
        }
    }

    pub fn push(&mut self, word: u64) {
        self.last.push(word);
        if self.last.len() == ROWS {
            self.blocks.push(Block::new(&self.last));
            self.last.clear();
        }
    }

    /// Adds [`ROWS`] rows.
    pub fn push_block(&mut self, block: Block) {
        if self.last.is_empty() {
            self.blocks.push(block);
        } else {
            (0..ROWS)
                .filter_map(|i| block.get(i))
                .for_each(|word| self.push(word));
        }
    }

    /// Fills up to `rows` rows.
    pub fn pad(&mut self, rows: usize, word: u64) {
        while self.len() < rows {
            self.push(word);
        }
    }
}

/// A column of numbers, one a row.
#[derive(Clone)]
pub struct Column<T> {
    words: Words,
    of: PhantomData<T>,
}

impl<T> Default for Column<T> {
    fn default() -> Self {
        Column {
            words: Words::default(),
            of: PhantomData,
        }
    }
}

impl<T: Cell> Column<T> {
    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number in row `i`; `None` past the end.
    #[inline(always)]
    pub fn get(&self, i: usize) -> Option<T> {
        self.words.get(i).map(T::of)
    }

    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let blocks = self.words.blocks.iter();
        let packed = blocks.flat_map(|block| (0..ROWS).filter_map(|i| block.get(i)));
        packed.chain(self.words.last.iter().copied()).map(T::of)
    }

    /// The numbers of all rows, several parts of the column at once.
    pub fn par_iter(&self) -> impl ParallelIterator<Item = T> + '_ {
        let rows = (0..self.len()).into_par_iter();
        rows.filter_map(|i| self.get(i))
    }

    pub fn push(&mut self, value: T) {
        self.words.push(value.word());
    }

    /// Fills up to `rows` rows.
    pub fn pad(&mut self, rows: usize, value: T) {
        self.words.pad(rows, value.word());
    }

    /// Puts other numbers into these rows, which come in order.
    pub fn replace(&mut self, changes: impl IntoIterator<Item = (usize, T)>) {
        let mut changes = changes.into_iter().peekable();
        let mut changed = Column::default();
        for (i, value) in self.iter().enumerate() {
            let change = changes.next_if(|(row, _)| *row == i);
            changed.push(change.map_or(value, |(_, value)| value));
        }
        *self = changed;
    }

    pub(super) fn words(&mut self) -> &mut Words {
        &mut self.words
    }
}

impl<T: Cell> FromIterator<T> for Column<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut column = Column::default();
        for value in values {
            column.push(value);
        }
        column
    }
}

impl<T: Cell> fmt::Debug for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Cell> PartialEq for Column<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Cell, S: AsRef<[T]>> PartialEq<S> for Column<T> {
    fn eq(&self, other: &S) -> bool {
        self.iter().eq(other.as_ref().iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_gives_the_values_back() {
        for bits in 0..=64 {
            let most = 1u64.checked_shl(bits).map_or(u64::MAX, |past| past - 1);
            let alike = 0x5555_5555_5555_5555 & !most;
            let value = |i: u64| alike | i.wrapping_mul(0x9e37_79b9_7f4a_7c15) & most;
            let values: Vec<u64> = (0..2 * ROWS as u64 + 5).map(value).collect();
            let column: Column<u64> = values.iter().copied().collect();
            assert_eq!(column.len(), values.len());
            assert_eq!(column, values, "{bits} bits");
            let rows = (0..values.len() + 1).map(|i| column.get(i));
            assert!(rows.eq(values.iter().copied().map(Some).chain([None])));
            let width = if bits > 57 { 64 } else { bits as usize };
            assert_eq!(column.words.blocks[0].bytes.len(), ROWS * width / 8 + 8);
        }
    }

    #[test]
    fn rows_are_replaced_where_they_are() {
        let mut column: Column<u16> = (0..3 * ROWS).map(|i| i as u16).collect();
        column.replace([(0, 9), (ROWS, 8), (3 * ROWS - 1, 7), (3 * ROWS, 6)]);
        let mut values: Vec<u16> = (0..3 * ROWS).map(|i| i as u16).collect();
        (values[0], values[ROWS], values[3 * ROWS - 1]) = (9, 8, 7);
        assert_eq!(column, values);
        column.pad(3 * ROWS + 2, 5);
        assert_eq!(column.get(3 * ROWS + 1), Some(5));
        assert_eq!(column.len(), 3 * ROWS + 2);
    }
}
