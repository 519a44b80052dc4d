//! The samples of a recording as columns.

use super::aux::Spans;
use super::column::{Column, Words};
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::BuildHasher;

/// A column of values that repeat: one `u32` a row, each distinct value once.
#[derive(Debug, Default, Clone)]
pub struct Interned<T> {
    pub values: Vec<T>,
    pub ids: Column<u32>,
}

impl<T: Copy> Interned<T> {
    /// The value of row `i`; `None` past the end of the column.
    pub fn get(&self, i: usize) -> Option<T> {
        self.values.get(self.ids.get(i)? as usize).copied()
    }
}

/// Where the user's part of a call chain begins: `PERF_CONTEXT_USER` (`perf_event.h`).
pub const CONTEXT_USER: u64 = -512i64 as u64;
/// Markers in call chains (`PERF_CONTEXT_*`) are at least this: `PERF_CONTEXT_MAX`.
pub const CONTEXT_MAX: u64 = -4095i64 as u64;

/// Call chains, each distinct one once. Chain 0 is the empty chain.
#[derive(Debug, Clone)]
pub struct Chains {
    /// `ends[c]` is the end of chain `c` in `frames`; it starts where chain `c - 1` ends.
    pub ends: Vec<u32>,
    pub frames: Vec<u64>,
    /// By hash of the ips, or, where others have that one, by the next that none has.
    index: FxHashMap<u64, u32>,
}

impl Default for Chains {
    /// The empty chain.
    fn default() -> Chains {
        let mut none = Chains {
            ends: Vec::new(),
            frames: Vec::new(),
            index: FxHashMap::default(),
        };
        none.add(&[]);
        none
    }
}

impl Chains {
    /// The id of the chain of these ips.
    pub fn add(&mut self, ips: &[u64]) -> u32 {
        let mut hash = FxBuildHasher.hash_one(ips);
        while let Some(&id) = self.index.get(&hash) {
            if self.get(id) == ips {
                return id;
            }
            hash = hash.wrapping_add(1);
        }
        // `ends` counts frames in 32 bits; chains past that are kept as empty ones.
        let Ok(end) = u32::try_from(self.frames.len() + ips.len()) else {
            return 0;
        };
        let id = self.ends.len() as u32;
        self.frames.extend_from_slice(ips);
        self.ends.push(end);
        self.index.insert(hash, id);
        id
    }

    /// The ips of chain `id`, innermost first, context markers (`PERF_CONTEXT_*`) included.
    pub fn get(&self, id: u32) -> &[u64] {
        let id = id as usize;
        let end = self.ends.get(id).map_or(0, |&e| e as usize);
        let start = match id.checked_sub(1) {
            Some(before) => self.ends.get(before).map_or(0, |&e| e as usize),
            None => 0,
        };
        self.frames.get(start..end).unwrap_or(&[])
    }
}

/// `REGS_INTR` of the samples that have them.
#[derive(Debug, Default, Clone)]
pub struct Regs {
    /// Where those of row `i` begin: at this byte of the file, or, from the file's size on, so far in `values`.
    /// `u64::MAX` means that the sample has no registers. Empty when no event sampled registers.
    pub start: Column<u64>,
    /// Those that were compressed: one value for each bit of the event's `sample_regs_intr`, lowest bit first.
    pub values: Vec<u64>,
}

/// The samples, in file order, one row each. A column that no event sampled is empty; in a column
/// that only some events sampled the other rows hold 0, and `Event::sample_type` says which is which.
#[derive(Debug, Default, Clone)]
pub struct Samples {
    pub ip: Interned<u64>,
    pub addr: Column<u64>,
    /// Nanoseconds on the recording's clock.
    pub time: Column<u64>,
    /// Process and thread.
    pub thread: Interned<(i32, i32)>,
    pub cpu: Column<u16>,
    /// Index into `Recording::events`.
    pub event: Column<u16>,
    pub period: Column<u64>,
    /// As written: the whole `u64` of `WEIGHT`, or of `WEIGHT_STRUCT` (`var1_dw` in the low 32 bits,
    /// then `var2_w`, then `var3_w`).
    pub weight: Column<u64>,
    pub data_src: Interned<u64>,
    pub phys_addr: Column<u64>,
    /// Ids into `chains`.
    pub chain: Column<u32>,
    pub chains: Chains,
    pub regs_intr: Regs,
    /// `PERF_SAMPLE_RAW`.
    pub raw: Spans,
    /// `PERF_SAMPLE_REGS_USER` with the `PERF_SAMPLE_STACK_USER` that follows it.
    pub stack: Spans,
    /// `PERF_RECORD_MISC_CPUMODE` of the record: 1 kernel, 2 user, 3 hypervisor, 4/5 guest.
    pub cpumode: Column<u8>,
}

impl Samples {
    pub fn len(&self) -> usize {
        self.event.len()
    }

    pub fn is_empty(&self) -> bool {
        self.event.is_empty()
    }

    /// Lets go of samples after the first `rows`, by [`Column::shorten`].
    pub fn shorten(&mut self, rows: usize) {
        for words in self.words() {
            words.shorten(rows);
        }
    }

    /// The words of the columns, in the order of `FIELDS` in `columns.rs`.
    pub(super) fn words(&mut self) -> [&mut Words; 17] {
        [
            self.event.words(),
            self.cpumode.words(),
            self.ip.ids.words(),
            self.thread.ids.words(),
            self.time.words(),
            self.addr.words(),
            self.cpu.words(),
            self.period.words(),
            self.weight.words(),
            self.data_src.ids.words(),
            self.phys_addr.words(),
            self.chain.words(),
            self.regs_intr.start.words(),
            self.raw.start.words(),
            self.raw.len.words(),
            self.stack.start.words(),
            self.stack.len.words(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_has_one_id_although_others_have_its_hash() {
        let mut chains = Chains::default();
        let first = chains.add(&[1, 2]);
        let hash = FxBuildHasher.hash_one([3u64].as_slice());
        chains.index.insert(hash, first);
        let second = chains.add(&[3]);
        let all: [&[u64]; 3] = [&[], &[1, 2], &[3]];
        assert_eq!(all.map(|ips| chains.add(ips)), [0, first, second]);
        assert_eq!([0, first, second].map(|id| chains.get(id)), all);
        assert_eq!(chains.ends.len(), 3);
    }
}
