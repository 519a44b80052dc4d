//! Values that repeat -> small ids.

use rustc_hash::FxHashMap;

/// Distinct values, in the order in which they were first seen.
#[derive(Debug, Default)]
pub struct Interner {
    pub values: Vec<u64>,
    ids: FxHashMap<u64, u32>,
    /// Ids of most values, each in one of the [`NEAR`] slots from that of its value on: less to look at
    /// than `ids`.
    slots: Vec<u32>,
    /// So many values were given slots.
    filled: usize,
}

/// Slots for a value, until there are [`MOST`]: more would not stay in a core's cache.
const SLOTS: usize = 4;
const MOST: usize = 1 << 16;
/// Slots that are looked at.
const NEAR: usize = 4;
/// Values whose ids are guessed before they are looked at.
const GUESSES: usize = 1 << 6;
/// No id.
const EMPTY: u32 = u32::MAX;

impl Interner {
    pub fn id(&mut self, value: u64) -> u32 {
        let next = self.values.len() as u32;
        let id = *self.ids.entry(value).or_insert(next);
        if id == next {
            self.values.push(value);
        }
        id
    }

    /// The id of a value that has one.
    #[inline(always)]
    fn find(&self, value: u64) -> Option<u32> {
        let is = |id: &&u32| self.values.get(**id as usize) == Some(&value);
        let slot = slot(value, self.slots.len());
        let near = self.slots.get(slot..slot + NEAR).unwrap_or(&[]);
        near.iter()
            .find(is)
            .or_else(|| self.find_any(value))
            .copied()
    }

    /// The id that a value has, if it has one, nearly always.
    #[inline(always)]
    fn guess(&self, value: u64) -> u32 {
        let id = self.slots.get(slot(value, self.slots.len()));
        id.copied().unwrap_or(EMPTY)
    }

    #[inline(never)]
    fn find_any(&self, value: u64) -> Option<&u32> {
        self.ids.get(&value)
    }

    /// Gives slots to the values that came since it was last done.
    fn fill_slots(&mut self) {
        let wanted = MOST.min(SLOTS * self.values.len());
        if self.slots.len() < wanted {
            self.slots = vec![EMPTY; wanted.next_power_of_two()];
            self.filled = 0;
        }
        for (id, &value) in self.values.iter().enumerate().skip(self.filled) {
            let slot = slot(value, self.slots.len());
            let near = self.slots.get_mut(slot..slot + NEAR).unwrap_or_default();
            if let Some(empty) = near.iter_mut().find(|id| **id == EMPTY) {
                *empty = id as u32;
            }
        }
        self.filled = self.values.len();
    }
}

/// Where the slots of a value begin, among so many: a power of two, or none.
#[inline(always)]
fn slot(value: u64, slots: usize) -> usize {
    // Fibonacci hashing: the highest bits of the product depend on all bits of the value.
    let hash = (value.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
    (hash & slots.wrapping_sub(1)).min(slots.saturating_sub(NEAR))
}

/// Set in the id of a value that the interner did not know.
const UNKNOWN: u64 = 1 << 32;

/// What a run knows beside an interner that several runs look into: the values that are not in it.
#[derive(Debug, Default)]
pub struct Known {
    unknown: Interner,
}

impl Known {
    /// The id that `interner` has for the value, or one of its own until [`Known::translate`].
    #[inline(always)]
    pub fn id(&mut self, interner: &Interner, value: u64) -> u64 {
        match interner.find(value) {
            Some(id) => id.into(),
            None => self.own(value),
        }
    }

    /// Puts ids in place of values. Guesses come first: what looks at one does not wait for the table.
    pub fn ids(&mut self, interner: &Interner, values: &mut [u64]) {
        let mut guesses = [EMPTY; GUESSES];
        for values in values.chunks_mut(GUESSES) {
            for (guess, value) in guesses.iter_mut().zip(&*values) {
                *guess = interner.guess(*value);
            }
            for (value, guess) in values.iter_mut().zip(guesses) {
                *value = match interner.values.get(guess as usize) {
                    Some(known) if known == value => guess.into(),
                    _ => self.id(interner, *value),
                };
            }
        }
    }

    #[inline(never)]
    fn own(&mut self, value: u64) -> u64 {
        UNKNOWN | u64::from(self.unknown.id(value))
    }

    /// Whether all ids are the interner's.
    pub fn is_settled(&self) -> bool {
        self.unknown.values.is_empty()
    }

    /// Adds the unknown values to the interner; gives their ids.
    pub fn add_to(&self, interner: &mut Interner) -> Vec<u32> {
        let unknown = self.unknown.values.iter();
        let ids = unknown.map(|&value| interner.id(value)).collect();
        interner.fill_slots();
        ids
    }

    /// Puts the interner's ids, as [`Known::add_to`] gave them, where there are own ones.
    pub fn translate(added: &[u32], ids: &mut [u64]) {
        for id in ids.iter_mut().filter(|id| **id & UNKNOWN != 0) {
            *id = added.get(*id as u32 as usize).map_or(0, |&id| id.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_id_wherever_its_slot_is() {
        // Multiples of what undoes the hash share their slots.
        let undo = 0xf1de_83e1_9937_733d;
        assert_eq!(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(undo), 1);
        let values = (0..40).map(|i: u64| i.wrapping_mul(undo));
        let values: Vec<u64> = values.chain((1000..3000).map(|i| 8 * i)).collect();
        let mut interner = Interner::default();
        for (id, &value) in values.iter().enumerate() {
            assert_eq!(interner.find(value), None);
            assert_eq!(interner.id(value), id as u32);
            if id % 100 == 7 {
                interner.fill_slots();
            }
        }
        for (id, &value) in values.iter().enumerate() {
            assert_eq!(interner.id(value), id as u32);
            assert_eq!(interner.find(value), Some(id as u32));
        }
        assert_eq!(interner.values, values);
        let mut known = Known::default();
        let mut ids: Vec<u64> = values.iter().rev().copied().chain([1, 2, 1]).collect();
        known.ids(&interner, &mut ids);
        let own = [UNKNOWN, UNKNOWN | 1, UNKNOWN];
        let expected = (0..values.len() as u64).rev().chain(own);
        assert!(ids.into_iter().eq(expected));
    }
}
