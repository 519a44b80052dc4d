//! Values that repeat -> small ids.

use rustc_hash::FxHashMap;

/// Slots of the cache at first, and at most: more would not stay in a core's own.
const SLOTS: usize = 1 << 10;
const MAX_SLOTS: usize = 1 << 14;

/// A hash map from value to id with a cache of two ways before it: most samples repeat an ip, thread or
/// `data_src` seen shortly before.
#[derive(Debug)]
pub struct Interner {
    pub values: Vec<u64>,
    /// The ids that the first of `values` have in the interner they were added to.
    added: Vec<u32>,
    ids: FxHashMap<u64, u32>,
    /// `(value, id + 1)`; 0 for an empty slot.
    cache: Vec<[(u64, u32); 2]>,
}

impl Default for Interner {
    fn default() -> Self {
        Interner {
            values: Vec::new(),
            added: Vec::new(),
            ids: FxHashMap::default(),
            cache: vec![[(0, 0); 2]; SLOTS],
        }
    }
}

impl Interner {
    #[inline(always)]
    pub fn id(&mut self, value: u64) -> u32 {
        let slot = self.slot(value);
        match self.cache.get(slot) {
            Some([(cached, id), _]) if *id != 0 && *cached == value => id - 1,
            Some([_, (cached, id)]) if *id != 0 && *cached == value => id - 1,
            _ => self.look_up(value),
        }
    }

    #[inline(always)]
    fn slot(&self, value: u64) -> usize {
        // Fibonacci hashing: the highest bits of the product depend on all bits of the value.
        (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize & (self.cache.len() - 1)
    }

    fn look_up(&mut self, value: u64) -> u32 {
        let next = self.values.len() as u32;
        let id = *self.ids.entry(value).or_insert(next);
        if id == next {
            self.values.push(value);
            if self.values.len() > self.cache.len() && self.cache.len() < MAX_SLOTS {
                self.cache = vec![[(0, 0); 2]; 2 * self.cache.len()];
            }
        }
        let slot = self.slot(value);
        if let Some(ways) = self.cache.get_mut(slot) {
            *ways = [(value, id.wrapping_add(1)), ways[0]];
        }
        id
    }

    /// Adds the values to `whole`, always the same one.
    pub fn add_to(&mut self, whole: &mut Interner) {
        let unknown = self.values.get(self.added.len()..).unwrap_or_default();
        self.added
            .extend(unknown.iter().map(|&value| whole.id(value)));
    }

    /// Makes ids those of the interner that the values were added to.
    pub fn translate(&self, ids: &mut [u64]) {
        for id in ids {
            *id = self.added.get(*id as usize).map_or(0, |&id| id.into());
        }
    }
}
