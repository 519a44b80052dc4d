//! What was said, each thing once, with the times at which it was: samples repeat each other.

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::hash::Hash;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Distinct statements in order, each with its times in order.
#[derive(Debug)]
pub struct Timelines<K> {
    /// With the number of times of this one and all before it.
    said: Vec<(K, usize)>,
    times: Vec<u64>,
}

impl<K: Copy + Ord + Hash + Send + Sync> Timelines<K> {
    /// From what `each` gives, which gives the same whenever it is asked.
    pub fn of<I: ParallelIterator<Item = (K, u64)>>(each: impl Fn() -> I) -> Timelines<K> {
        let counted = each().fold(FxHashMap::default, |mut counts, (key, _)| {
            *counts.entry(key).or_insert(0usize) += 1;
            counts
        });
        let counts = counted.reduce(FxHashMap::default, |a, b| {
            let (mut all, more) = if a.len() < b.len() { (b, a) } else { (a, b) };
            for (key, count) in more {
                *all.entry(key).or_insert(0) += count;
            }
            all
        });
        let mut said: Vec<(K, usize)> = counts.iter().map(|(key, count)| (*key, *count)).collect();
        said.par_sort_unstable_by_key(|(key, _)| *key);
        let mut next: FxHashMap<K, AtomicUsize> = counts
            .into_keys()
            .map(|key| (key, AtomicUsize::new(0)))
            .collect();
        let mut end = 0;
        for (key, count) in &mut said {
            if let Some(next) = next.get_mut(key) {
                *next.get_mut() = end;
            }
            end += *count;
            *count = end;
        }
        let times: Vec<AtomicU64> = (0..end)
            .into_par_iter()
            .map(|_| AtomicU64::new(0))
            .collect();
        each().for_each(|(key, time)| {
            let place = next.get(&key).map(|next| next.fetch_add(1, Relaxed));
            if let Some(place) = place.and_then(|place| times.get(place)) {
                place.store(time, Relaxed);
            }
        });
        drop(next);
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
        lines.into_par_iter().for_each(<[u64]>::sort_unstable);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_has_its_times_in_order() {
        let said = [("b", 7), ("a", 9), ("b", 3), ("b", 7), ("a", 1), ("c", 5)];
        let all = Timelines::of(|| said.into_par_iter());
        let lines: Vec<(&str, &[u64])> = all.iter().collect();
        let expected: [(&str, &[u64]); 3] = [("a", &[1, 9]), ("b", &[3, 7, 7]), ("c", &[5])];
        assert_eq!(lines, expected);
        let from: Vec<(&str, &[u64])> = all.from(|key| *key < "b").collect();
        assert_eq!(from, expected[1..]);
        assert_eq!(Timelines::<u8>::of(|| Vec::new().into_par_iter()).len(), 0);
    }
}
