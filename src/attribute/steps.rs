//! The order of a map function's accesses.

use super::Phase;
use rustc_hash::{FxHashMap, FxHashSet};

/// Functions of one operation that call each other: at most this deep, in all versions.
pub const DEEPEST: u32 = 8;

/// The step of what a caller does with the elem that an operation handed to it.
pub const LAST: u32 = (2 * DEEPEST + 1) << 16;

/// In which order a map function accesses memory, and which of them come after the entry is gone.
#[derive(Debug, Default)]
pub struct Steps {
    /// By address of the instruction; of a call by that of its last byte.
    pub rank: FxHashMap<u64, u32>,
    /// How many functions of the same operation this one calls through.
    pub height: u32,
    /// The rank of the last call of one of them.
    pub last_call: Option<u32>,
    /// Instructions that a delete reaches only after the store that removes the entry.
    pub removed: FxHashSet<u64>,
    /// Function and line of the innermost frame of each store to a key.
    pub key_stores: FxHashSet<(String, u32)>,
    /// Stores that set or clear the flag of a writing operation, by address.
    pub flag_stores: FxHashMap<u64, Phase>,
}

impl Steps {
    /// Where in its operation the instruction stands: one run through the operation touches its parts
    /// in this order, loops apart. What a function does before it calls the next one of the operation
    /// comes before all that one does, what it does afterwards behind it.
    pub fn step(&self, vaddr: u64) -> Option<u32> {
        let rank = *self.rank.get(&vaddr)?;
        let stage = match self.last_call {
            Some(call) if rank > call => DEEPEST + self.height,
            _ => DEEPEST - self.height,
        };
        Some(stage << 16 | rank)
    }
}
