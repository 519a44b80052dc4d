//! A column in blocks, each as narrow as its values.
//!
//! Samples that follow each other are alike: their times lie within a second, their addresses in a
//! heap, their events are one. A block keeps the bits that its values have alike once, and of each value
//! the bits below them.

use rayon::prelude::*;
use std::fmt;
use std::marker::PhantomData;
use std::ops;
use std::sync::Arc;

/// Rows in a block.
pub const ROWS: usize = 1 << 11;

/// Rows that one thread goes through at a time.
const PART: usize = 1 << 14;

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
    /// The lowest bits of the values, one after the other from bit `first` on, where a byte begins, and after
    /// the last one so many bytes that eight can be read from where it begins. A copy of the column has
    /// them, too.
    bytes: Arc<[u8]>,
    first: usize,
}

/// Values of more bits take whole words: one that begins within a byte has to end in the eight bytes
/// from there.
const WIDEST: usize = 57;

/// Values that take a whole number of bytes, whatever their width.
const GROUP: usize = 8;

/// Bytes that hold eight from wherever a value of a group begins: the last one begins in the 57th at most.
const WIDE: usize = 72;

impl Block {
    /// Bytes that it takes.
    pub fn held(&self) -> usize {
        size_of::<Block>() + ROWS * self.width / 8
    }

    #[inline(always)]
    fn get(&self, i: usize) -> Option<u64> {
        self.at(self.first + i * self.width)
    }

    /// Adds what `of` makes of these of its values.
    #[inline]
    fn read<T>(&self, rows: ops::Range<usize>, of: impl Fn(u64) -> T, into: &mut Vec<T>) {
        if self.width == 0 {
            return into.extend(rows.map(|_| of(self.alike)));
        }
        let one = |i: usize| of(self.get(i).unwrap_or(0));
        let (begin, end) = (rows.start.next_multiple_of(GROUP), rows.end);
        let mut read = begin.min(end);
        into.reserve(rows.len());
        into.extend((rows.start..read).map(one));
        let from = (self.first + begin * self.width) / 8;
        let mut rest = self.bytes.get(from..).unwrap_or(&[]);
        // Where each of a group begins: byte and bit.
        let at: [_; GROUP] = std::array::from_fn(|n| (n * self.width / 8, n * self.width % 8));
        while end - read >= GROUP
            && let Some(bytes) = rest.first_chunk::<WIDE>()
        {
            into.extend(at.iter().map(|(byte, bit)| {
                // The remainder changes nothing: with it, a compiler knows that no value ends further on.
                let byte = byte % (WIDE - 8);
                let mut word = [0; 8];
                word.copy_from_slice(&bytes[byte..byte + 8]);
                of(self.alike | u64::from_le_bytes(word) >> bit & self.below)
            }));
            rest = rest.get(self.width..).unwrap_or(&[]);
            read += GROUP;
        }
        into.extend((read..end).map(one));
    }

    /// Adds to the count of each value.
    fn count(&self, counts: &mut [u64]) {
        match self.width {
            0 => count(self.alike, ROWS as u64, counts),
            1 => {
                let bytes = self.bytes.iter().skip(self.first / 8).take(ROWS / 8);
                let ones: u64 = bytes.map(|byte| u64::from(byte.count_ones())).sum();
                count(self.alike | 1, ones, counts);
                count(self.alike, ROWS as u64 - ones, counts);
            }
            _ => {
                let values = (0..ROWS).filter_map(|i| self.get(i));
                values.for_each(|value| count(value, 1, counts));
            }
        }
    }

    /// The value that begins with this bit.
    #[inline(always)]
    fn at(&self, bit: usize) -> Option<u64> {
        let bytes: [u8; 8] = self.bytes.get(bit / 8..bit / 8 + 8)?.try_into().ok()?;
        Some(self.alike | u64::from_le_bytes(bytes) >> (bit % 8) & self.below)
    }
}

/// Adds to the count of a word, if there is one.
fn count(word: u64, n: u64, counts: &mut [u64]) {
    let number = usize::try_from(word).ok();
    if let Some(count) = number.and_then(|number| counts.get_mut(number)) {
        *count += n;
    }
}

/// Blocks of a column that follow each other: they lie in one piece of memory.
#[derive(Debug, Default)]
pub struct Strip {
    /// What is alike, width, and first bit of each.
    blocks: Vec<(u64, usize, usize)>,
    bytes: Vec<u8>,
}

impl Strip {
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Adds a block of these values, [`ROWS`] of them.
    pub fn push(&mut self, values: &[u64]) {
        let first = values.first().copied().unwrap_or(0);
        let differ = values.iter().fold(0, |bits, value| bits | value ^ first);
        let width = match (u64::BITS - differ.leading_zeros()) as usize {
            bits @ 0..=WIDEST => bits,
            _ => 64,
        };
        let alike = first & !lowest(width);
        self.blocks.push((alike, width, 8 * self.bytes.len()));
        pack(values, width, &mut self.bytes);
    }

    /// The blocks, and none are left.
    pub fn take(&mut self) -> Vec<Block> {
        self.bytes.extend([0; 8]);
        let bytes = Arc::from(self.bytes.as_slice());
        self.bytes.clear();
        let block = |(alike, width, first)| Block {
            alike,
            width,
            below: lowest(width),
            bytes: Arc::clone(&bytes),
            first,
        };
        self.blocks.drain(..).map(block).collect()
    }
}

/// The lowest bits of a word.
fn lowest(bits: usize) -> u64 {
    match bits {
        0 => 0,
        bits => u64::MAX >> (64 - bits),
    }
}

/// Adds the lowest bits of values, so many of each.
fn pack(values: &[u64], width: usize, bytes: &mut Vec<u8>) {
    let from = bytes.len();
    bytes.resize(from + (values.len() * width).div_ceil(64) * 8, 0);
    let (words, _) = bytes[from..].as_chunks_mut();
    match width {
        0 => {}
        1 => pack_by::<64>(values, width, words),
        2 => pack_by::<32>(values, width, words),
        3..=4 => pack_by::<16>(values, width, words),
        5..=8 => pack_by::<8>(values, width, words),
        9..=16 => pack_by::<4>(values, width, words),
        17..=32 => pack_by::<2>(values, width, words),
        _ => pack_by::<1>(values, width, words),
    }
}

/// The same for so many values that fit into a word together: those are put together first, as then they
/// need not wait for the ones before them.
fn pack_by<const N: usize>(values: &[u64], width: usize, words: &mut [[u8; 8]]) {
    let below = lowest(width);
    let (groups, rest) = values.as_chunks::<N>();
    let join = |group: &[u64]| {
        let values = group.iter().rev();
        values.fold(0, |bits: u64, value| {
            bits.unbounded_shl(width as u32) | value & below
        })
    };
    let mut words = words.iter_mut();
    let mut put = |word: u64| {
        if let Some(next) = words.next() {
            *next = word.to_le_bytes();
        }
    };
    let (mut word, mut filled) = (0, 0);
    let mut add = |bits: u64, width: usize| {
        word |= bits << filled;
        filled += width;
        if filled >= 64 {
            put(word);
            filled -= 64;
            // What did not fit.
            word = bits.unbounded_shr((width - filled) as u32);
        }
    };
    groups.iter().for_each(|group| add(join(group), N * width));
    rest.iter().for_each(|value| add(value & below, width));
    put(word);
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

    /// Adds what `of` makes of the words of these rows, block by block.
    fn read<T>(&self, rows: ops::Range<usize>, of: impl Fn(u64) -> T, into: &mut Vec<T>) {
        let mut start = rows.start;
        while start < rows.end {
            let end = rows.end.min((start / ROWS + 1) * ROWS);
            let Some(block) = self.blocks.get(start / ROWS) else {
                break;
            };
            block.read(start % ROWS..start % ROWS + (end - start), &of, into);
            start = end;
        }
        let before = self.blocks.len() * ROWS;
        if start < rows.end {
            let end = (rows.end - before).min(self.last.len());
            let last = self.last.get(start - before..end);
            into.extend(last.into_iter().flatten().map(|&word| of(word)));
        }
    }

    pub fn push(&mut self, word: u64) {
        self.last.push(word);
        if self.last.len() == ROWS {
            let mut strip = Strip::default();
            strip.push(&self.last);
            self.blocks.extend(strip.take());
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

    /// The least word and the greatest: only blocks that may hold one of them are looked into.
    fn span(&self) -> Option<(u64, u64)> {
        let most = |block: &Block| block.alike | block.below;
        let least = self.blocks.iter().map(most).min().unwrap_or(u64::MAX);
        let greatest = self.blocks.iter().map(|block| block.alike).max();
        let greatest = greatest.unwrap_or(0);
        let blocks = self.blocks.iter();
        let blocks = blocks.filter(|block| block.alike <= least || most(block) >= greatest);
        let words = blocks.flat_map(|block| (0..ROWS).filter_map(|i| block.get(i)));
        let mut words = words.chain(self.last.iter().copied());
        let first = words.next()?;
        Some(words.fold((first, first), |(least, greatest), word| {
            (least.min(word), greatest.max(word))
        }))
    }

    /// Adds the rows of another.
    fn append(&mut self, more: Words) {
        if self.last.is_empty() {
            self.blocks.extend(more.blocks);
        } else {
            more.blocks
                .into_iter()
                .for_each(|block| self.push_block(block));
        }
        more.last.into_iter().for_each(|word| self.push(word));
    }

    /// Lets go of the blocks that begin after `rows` rows.
    pub(super) fn shorten(&mut self, rows: usize) {
        let blocks = rows.div_ceil(ROWS);
        if blocks <= self.blocks.len() {
            self.blocks.truncate(blocks);
            self.blocks.shrink_to_fit();
            self.last = Vec::new();
        }
    }

    /// Fills up to `rows` rows.
    pub fn pad(&mut self, rows: usize, word: u64) {
        while self.len() < rows {
            self.push(word);
        }
    }
}

/// Words of rows that follow each other: what is the same for a block is looked up once.
struct Range<'a> {
    words: &'a Words,
    rows: ops::Range<usize>,
    /// Of the row's block; its first bit that was not read yet.
    block: Option<&'a Block>,
    bit: usize,
}

impl Range<'_> {
    #[inline(always)]
    fn next(&mut self) -> Option<Option<u64>> {
        let i = self.rows.next()?;
        if i.is_multiple_of(ROWS) {
            self.block = self.words.blocks.get(i / ROWS);
            self.bit = self.block.map_or(0, |block| block.first);
        }
        let Some(block) = self.block else {
            let at = i.checked_sub(self.words.blocks.len() * ROWS);
            return Some(at.and_then(|at| self.words.last.get(at).copied()));
        };
        let bit = self.bit;
        self.bit += block.width;
        Some(block.at(bit))
    }
}

/// A column of which some rows are asked for, in order or nearly so: what is the same for a block is looked
/// up once.
#[derive(Clone)]
pub struct InOrder<'a, T> {
    words: &'a Words,
    /// The number of the block that was asked last, and the block.
    number: usize,
    block: Option<&'a Block>,
    of: PhantomData<T>,
}

impl<T: Cell> InOrder<'_, T> {
    /// As [`Column::get`].
    #[inline(always)]
    pub fn get(&mut self, i: usize) -> Option<T> {
        if i / ROWS != self.number {
            self.number = i / ROWS;
            self.block = self.words.blocks.get(self.number);
        }
        let word = match self.block {
            Some(block) => block.get(i % ROWS),
            None => self.words.get(i),
        };
        word.map(T::of)
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

    /// The numbers in these rows, one after the other; `None` past the end, as [`Column::get`] has it.
    #[inline]
    pub fn range(&self, rows: ops::Range<usize>) -> impl Iterator<Item = Option<T>> + '_ {
        let block = self.words.blocks.get(rows.start / ROWS);
        let mut range = Range {
            words: &self.words,
            bit: block.map_or(0, |block| block.first + rows.start % ROWS * block.width),
            block,
            rows,
        };
        std::iter::from_fn(move || range.next().map(|word| word.map(T::of)))
    }

    /// Puts the numbers in these rows, as far as the column has them, in place of those in `numbers`.
    pub fn read(&self, rows: ops::Range<usize>, numbers: &mut Vec<T>) {
        numbers.clear();
        self.words.read(rows, |word| T::of(word), numbers);
    }

    pub fn in_order(&self) -> InOrder<'_, T> {
        InOrder {
            words: &self.words,
            number: usize::MAX,
            block: None,
            of: PhantomData,
        }
    }

    /// How many rows have each of the numbers below `numbers`.
    pub fn counts(&self, numbers: usize) -> Vec<u64> {
        let words = &self.words;
        let none = || vec![0; numbers];
        let of_blocks = words.blocks.par_iter().fold(none, |mut counts, block| {
            block.count(&mut counts);
            counts
        });
        let mut counts = of_blocks.reduce(none, |mut counts, more| {
            counts.iter_mut().zip(more).for_each(|(n, m)| *n += m);
            counts
        });
        words
            .last
            .iter()
            .for_each(|&word| count(word, 1, &mut counts));
        counts
    }

    /// The least number and the greatest.
    pub fn span(&self) -> Option<(T, T)> {
        let (least, greatest) = self.words.span()?;
        Some((T::of(least), T::of(greatest)))
    }

    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.range(0..self.len()).map_while(|number| number)
    }

    /// The numbers of all rows, several parts of the column at once.
    pub fn par_iter(&self) -> impl ParallelIterator<Item = T> + '_ {
        self.par_numbered().map(|(_, number)| number)
    }

    /// The numbers that are `wanted`, with those of their rows.
    pub fn par_where<'c>(
        &'c self,
        wanted: impl Fn(T) -> bool + Sync + Send + 'c,
    ) -> impl ParallelIterator<Item = (usize, T)> + 'c {
        self.parts().flat_map_iter(move |part| {
            let found = self.numbered(part).filter(|(_, number)| wanted(*number));
            found.collect::<Vec<_>>()
        })
    }

    /// All numbers, with those of their rows.
    pub fn par_numbered(&self) -> impl ParallelIterator<Item = (usize, T)> + '_ {
        self.parts().flat_map_iter(|part| self.numbered(part))
    }

    fn parts(&self) -> impl ParallelIterator<Item = usize> + use<T> {
        (0..self.len().div_ceil(PART)).into_par_iter()
    }

    fn numbered(&self, part: usize) -> impl Iterator<Item = (usize, T)> + use<T> {
        let rows = part * PART..self.len().min((part + 1) * PART);
        let mut numbers = Vec::new();
        self.read(rows.clone(), &mut numbers);
        rows.zip(numbers)
    }

    pub fn push(&mut self, value: T) {
        self.words.push(value.word());
    }

    /// Adds the rows of another column.
    pub fn append(&mut self, more: Column<T>) {
        self.words.append(more.words);
    }

    /// Fills up to `rows` rows.
    pub fn pad(&mut self, rows: usize, value: T) {
        self.words.pad(rows, value.word());
    }

    /// Lets go of rows after the first `rows`, block by block: of columns of one length the same.
    pub fn shorten(&mut self, rows: usize) {
        self.words.shorten(rows);
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
            for first in [0, 1, ROWS - 1, ROWS, 2 * ROWS + 3, values.len()] {
                let rows = column.range(first..values.len() + 1);
                let rest = values[first..].iter().copied().map(Some);
                assert!(rows.eq(rest.chain([None])), "{bits} bits from {first}");
                let mut read = vec![7];
                column.read(first..values.len() + 1, &mut read);
                assert_eq!(read, values[first..], "{bits} bits from {first}");
                column.read(0..first, &mut read);
                assert_eq!(read, values[..first], "{bits} bits to {first}");
            }
            let all: Vec<u64> = column.par_iter().collect();
            assert_eq!(all, values);
            let wanted = |value: &u64| value.is_multiple_of(3);
            let some: Vec<(usize, u64)> = column.par_where(|value| wanted(&value)).collect();
            let expected = values.iter().copied().enumerate();
            assert!(
                some.into_iter()
                    .eq(expected.filter(|(_, value)| wanted(value)))
            );
            let mut in_order = column.in_order();
            let some = [1, ROWS - 1, ROWS, 2 * ROWS + 4, 3, 2 * ROWS + 5];
            let some = some.map(|i| (in_order.get(i), column.get(i)));
            assert!(some.iter().all(|(one, other)| one == other), "{some:?}");
            let width = if bits > 57 { 64 } else { bits as usize };
            assert_eq!(column.words.blocks[0].bytes.len(), ROWS * width / 8 + 8);
        }
    }

    #[test]
    fn rows_are_counted_by_their_numbers() {
        // Blocks of one number, of two and of more; then no whole one.
        let number = |i: usize| match i / ROWS {
            0 => 2,
            1 => 2 + u16::from(i.is_multiple_of(3)),
            _ => (i % 6) as u16,
        };
        let column: Column<u16> = (0..4 * ROWS + 5).map(number).collect();
        let of = |n: u16| column.iter().filter(|number| *number == n).count() as u64;
        let expected: Vec<u64> = (0..5).map(of).collect();
        assert_eq!(column.counts(5), expected);
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

    #[test]
    fn the_least_and_the_greatest_are_found_wherever_they_are() {
        assert_eq!(Column::<u64>::default().span(), None);
        for rows in [1, ROWS, 3 * ROWS + 7] {
            for (least, greatest) in [(0, rows - 1), (rows - 1, 0), (rows / 2, rows / 3)] {
                let value = |i: usize| match i {
                    i if i == least => 77_000_000,
                    i if i == greatest => 77_012_345,
                    i => 77_001_000 + i as u64,
                };
                let column: Column<u64> = (0..rows).map(value).collect();
                let all = (column.iter().min(), column.iter().max());
                assert_eq!(column.span(), all.0.zip(all.1), "{rows} {least} {greatest}");
            }
        }
    }

    #[test]
    fn whole_blocks_are_let_go_of() {
        let whole: Column<u16> = (0..3 * ROWS + 7).map(|i| i as u16).collect();
        let left = [(0, 0), (1, ROWS), (ROWS, ROWS), (2 * ROWS + 1, 3 * ROWS)];
        for (rows, len) in left {
            let mut column = whole.clone();
            column.shorten(rows);
            assert!(column.iter().eq(whole.iter().take(len)), "{rows}");
        }
        let mut column = whole.clone();
        column.shorten(3 * ROWS + 1);
        assert_eq!(column, whole);
    }
}
