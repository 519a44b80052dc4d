//! What was said, each thing once, with the times at which it was: samples repeat each other.

use crate::recording::Column;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::hash::Hash;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Distinct statements in order, each with its times in order.
#[derive(Debug)]
pub struct Timelines<K> {
    /// With the number of times of this one and all before it.
    said: Vec<(K, usize)>,
    times: Vec<u64>,
}

/// What was said in a part of the samples.
struct Part<K> {
    ids: FxHashMap<K, u32>,
    /// By id: the statement, and how often it was made.
    keys: Vec<(K, usize)>,
    /// Id and time of each.
    said: (Column<u32>, Column<u64>),
}

impl<K: Copy + Eq + Hash> Part<K> {
    fn new() -> Box<Part<K>> {
        Box::new(Part {
            ids: FxHashMap::default(),
            keys: Vec::new(),
            said: Default::default(),
        })
    }

    /// Boxed, for it is handed on with each statement.
    fn say(mut self: Box<Part<K>>, (key, time): (K, u64)) -> Box<Part<K>> {
        let id = *self.ids.entry(key).or_insert_with(|| {
            self.keys.push((key, 0));
            self.keys.len() as u32 - 1
        });
        self.keys[id as usize].1 += 1;
        self.said.0.push(id);
        self.said.1.push(time);
        self
    }
}

impl<K: Copy + Ord + Hash + Send + Sync> Timelines<K> {
    /// From statements with the times at which they were made.
    pub fn of(all: impl ParallelIterator<Item = (K, u64)>) -> Timelines<K> {
        let mut parts: Vec<Box<Part<K>>> = all.fold(Part::new, Part::say).collect();
        let mut counts: FxHashMap<K, usize> = FxHashMap::default();
        for (key, count) in parts.iter().flat_map(|part| &part.keys) {
            *counts.entry(*key).or_insert(0) += count;
        }
        let mut said: Vec<(K, usize)> = counts.iter().map(|(key, count)| (*key, *count)).collect();
        said.par_sort_unstable_by_key(|(key, _)| *key);
        let mut end = 0;
        for (key, count) in &mut said {
            // From here on, where the next times of this statement go.
            counts.insert(*key, end);
            end += *count;
            *count = end;
        }
        for (key, count) in parts.iter_mut().flat_map(|part| &mut part.keys) {
            if let Some(next) = counts.get_mut(key) {
                let own = *next;
                *next += *count;
                *count = own;
            }
        }
        drop(counts);
        // Each place is written once, by the part that it is of.
        let times: Vec<AtomicU64> = (0..end)
            .into_par_iter()
            .map(|_| AtomicU64::new(0))
            .collect();
        parts.into_par_iter().for_each(|mut part| {
            let (ids, at) = part.said;
            for (id, time) in ids.iter().zip(at.iter()) {
                let next = &mut part.keys[id as usize].1;
                if let Some(place) = times.get(*next) {
                    place.store(time, Relaxed);
                }
                *next += 1;
            }
        });
        let mut all = Timelines {
            said,
            times: times.into_iter().map(AtomicU64::into_inner).collect(),
        };
        all.sort();
        all
    }

    fn sort(&mut self) {
        let mut rest = self.times.as_mut_slice();
        let mut lines = Vec::with_capacity(self.said.len());
        let mut start = 0;
        for (_, end) in &self.said {
            let (line, after) = rest.split_at_mut(end - start);
            lines.push(line);
            (rest, start) = (after, *end);
        }
        // Samples are in order but for those of other CPUs: in long runs, which this sort finds.
        lines.into_par_iter().for_each(<[u64]>::sort);
    }

    pub fn len(&self) -> usize {
        self.said.len()
    }

    fn at(&self, i: usize) -> (K, &[u64]) {
        let (key, end) = self.said[i];
        let start = i.checked_sub(1).map_or(0, |before| self.said[before].1);
        (key, &self.times[start..end])
    }

    /// Statement after statement.
    pub fn iter(&self) -> impl Iterator<Item = (K, &[u64])> {
        self.range(0..self.len())
    }

    fn range(&self, range: Range<usize>) -> impl Iterator<Item = (K, &[u64])> {
        range.map(|i| self.at(i))
    }

    /// The statements from the first on of which `before` is false.
    pub fn from(&self, before: impl Fn(&K) -> bool) -> impl Iterator<Item = (K, &[u64])> {
        let first = self.said.partition_point(|(key, _)| before(key));
        self.range(first..self.len())
    }
}

/// What is said of each thing, put together; the order in which `both` is asked is open.
pub fn together<K: Eq + Hash + Send, V: Copy + Send>(
    said: impl ParallelIterator<Item = (K, V)>,
    both: impl Fn(V, V) -> V + Sync + Send,
) -> FxHashMap<K, V> {
    let add = |mut all: FxHashMap<K, V>, (key, value)| {
        let known = all.entry(key);
        let known = known.and_modify(|known| *known = both(*known, value));
        known.or_insert(value);
        all
    };
    let parts = said.fold(FxHashMap::default, add);
    parts.reduce(FxHashMap::default, |a, b| b.into_iter().fold(a, add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_has_its_times_in_order() {
        let said = [("b", 7), ("a", 9), ("b", 3), ("b", 7), ("a", 1), ("c", 5)];
        let all = Timelines::of(said.into_par_iter());
        let lines: Vec<(&str, &[u64])> = all.iter().collect();
        let expected: [(&str, &[u64]); 3] = [("a", &[1, 9]), ("b", &[3, 7, 7]), ("c", &[5])];
        assert_eq!(lines, expected);
        let from: Vec<(&str, &[u64])> = all.from(|key| *key < "b").collect();
        assert_eq!(from, expected[1..]);
        assert_eq!(Timelines::<u8>::of(Vec::new().into_par_iter()).len(), 0);
    }
}
