//! Values that repeat -> small ids.

use rustc_hash::FxHashMap;

const SLOTS: usize = 4096;

/// A hash map from value to id with a direct-mapped cache before it: most samples repeat an ip,
/// thread or `data_src` seen shortly before.
#[derive(Debug)]
pub struct Interner {
    pub values: Vec<u64>,
    /// The ids that the first of `values` have in the interner they were added to.
    added: Vec<u32>,
    ids: FxHashMap<u64, u32>,
    /// `(value, id + 1)`; 0 for an empty slot.
    cache: Box<[(u64, u32)]>,
}

impl Default for Interner {
    fn default() -> Self {
        Interner {
            values: Vec::new(),
            added: Vec::new(),
            ids: FxHashMap::default(),
            cache: vec![(0, 0); SLOTS].into_boxed_slice(),
        }
    }
}

impl Interner {
    #[inline(always)]
    pub fn id(&mut self, value: u64) -> u32 {
        // Fibonacci hashing: the highest bits of the product depend on all bits of the value.
        let slot = (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize & (SLOTS - 1);
        match self.cache.get_mut(slot) {
            Some((cached, id)) if *id != 0 && *cached == value => *id - 1,
            _ => self.look_up(value, slot),
        }
    }

    fn look_up(&mut self, value: u64, slot: usize) -> u32 {
        let next = self.values.len() as u32;
        let id = *self.ids.entry(value).or_insert(next);
        if id == next {
            self.values.push(value);
        }
        if let Some(entry) = self.cache.get_mut(slot) {
            *entry = (value, id.wrapping_add(1));
        }
        id
    }

    /// Adds the values to `whole`, always the same one, and writes its ids of `ids` to the end of `to`.
    pub fn add_to(&mut self, whole: &mut Interner, ids: &[u32], to: &mut Vec<u32>) {
        let unknown = self.values.get(self.added.len()..).unwrap_or_default();
        self.added
            .extend(unknown.iter().map(|&value| whole.id(value)));
        let known = ids.iter().map(|&id| self.added.get(id as usize));
        to.extend(known.map(|id| id.copied().unwrap_or(0)));
    }
}
