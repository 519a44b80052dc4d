//! Values that repeat -> small ids.

use rustc_hash::FxHashMap;

/// Distinct values, in the order in which they were first seen.
#[derive(Debug, Default)]
pub struct Interner {
    pub values: Vec<u64>,
    ids: FxHashMap<u64, u32>,
}

impl Interner {
    pub fn id(&mut self, value: u64) -> u32 {
        let next = self.values.len() as u32;
        let id = *self.ids.entry(value).or_insert(next);
        if id == next {
            self.values.push(value);
        }
        id
    }
}

/// Slots of the cache at first, and at most: more would not stay in a core's own.
const SLOTS: usize = 1 << 8;
const MAX_SLOTS: usize = 1 << 14;
/// Set in the id of a value that the interner did not know.
const UNKNOWN: u64 = 1 << 32;

/// What a run knows of an interner that several runs look into: a cache of two ways, for most samples
/// repeat an ip, thread or `data_src` seen shortly before; and the values that are not in it.
#[derive(Debug)]
pub struct Known {
    /// `(value, id + 1)`; 0 for an empty slot. Ids of an interner stay what they are.
    cache: Vec<[(u64, u32); 2]>,
    unknown: Interner,
}

impl Default for Known {
    fn default() -> Self {
        Known {
            cache: vec![[(0, 0); 2]; SLOTS],
            unknown: Interner::default(),
        }
    }
}

impl Known {
    /// The id that `interner` has for the value, or one of its own until [`Known::translate`].
    #[inline(always)]
    pub fn id(&mut self, interner: &Interner, value: u64) -> u64 {
        match self.cache.get(self.slot(value)) {
            Some([(cached, id), _]) if *id != 0 && *cached == value => u64::from(*id) - 1,
            Some([_, (cached, id)]) if *id != 0 && *cached == value => u64::from(*id) - 1,
            _ => self.look_up(interner, value),
        }
    }

    #[inline(always)]
    fn slot(&self, value: u64) -> usize {
        // Fibonacci hashing: the highest bits of the product depend on all bits of the value.
        (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize & (self.cache.len() - 1)
    }

    fn look_up(&mut self, interner: &Interner, value: u64) -> u64 {
        let Some(&id) = interner.ids.get(&value) else {
            return UNKNOWN | u64::from(self.unknown.id(value));
        };
        if interner.values.len() > self.cache.len() && self.cache.len() < MAX_SLOTS {
            self.cache = vec![[(0, 0); 2]; 2 * self.cache.len()];
        }
        let slot = self.slot(value);
        if let Some(ways) = self.cache.get_mut(slot) {
            *ways = [(value, id.wrapping_add(1)), ways[0]];
        }
        u64::from(id)
    }

    /// Whether all ids are the interner's.
    pub fn is_settled(&self) -> bool {
        self.unknown.values.is_empty()
    }

    /// Adds the unknown values to the interner; gives their ids.
    pub fn add_to(&self, interner: &mut Interner) -> Vec<u32> {
        let unknown = self.unknown.values.iter();
        unknown.map(|&value| interner.id(value)).collect()
    }

    /// Puts the interner's ids, as [`Known::add_to`] gave them, where there are own ones.
    pub fn translate(added: &[u32], ids: &mut [u64]) {
        for id in ids.iter_mut().filter(|id| **id & UNKNOWN != 0) {
            *id = added.get(*id as u32 as usize).map_or(0, |&id| id.into());
        }
    }
}
