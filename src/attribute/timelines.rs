//! What was said, each thing once, with the times at which it was: samples repeat each other.

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::hash::Hash;
use std::ops::Range;

/// Distinct statements in order, each with its times in order.
#[derive(Debug)]
pub struct Timelines<K> {
    /// With the number of times of this one and all before it.
    said: Vec<(K, usize)>,
    times: Vec<u64>,
}

impl<K: Copy + Ord + Send + Sync> Timelines<K> {
    /// From statements with the times at which they were made.
    pub fn of(mut pieces: Vec<(K, &[u64])>) -> Timelines<K> {
        pieces.par_sort_unstable_by_key(|(key, _)| *key);
        let alike: Vec<&[(K, &[u64])]> = pieces.chunk_by(|a, b| a.0 == b.0).collect();
        let mut end = 0;
        let said = alike.iter().map(|pieces| {
            end += pieces.iter().map(|(_, times)| times.len()).sum::<usize>();
            (pieces[0].0, end)
        });
        let said: Vec<(K, usize)> = said.collect();
        let mut times = vec![0; end];
        let mut rest = times.as_mut_slice();
        let mut lines = Vec::with_capacity(said.len());
        let mut start = 0;
        for ((_, end), pieces) in said.iter().zip(alike) {
            let (line, after) = rest.split_at_mut(end - start);
            lines.push((line, pieces));
            (rest, start) = (after, *end);
        }
        lines.into_par_iter().for_each(|(line, pieces)| {
            let all = pieces.iter().flat_map(|(_, times)| *times);
            line.iter_mut().zip(all).for_each(|(to, time)| *to = *time);
            // Of one piece they are in order, of several in long runs, which this sort finds.
            if pieces.len() > 1 {
                line.sort();
            }
        });
        Timelines { said, times }
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
        let said: Vec<(&str, &[u64])> = vec![
            ("b", &[7, 7]),
            ("a", &[9]),
            ("b", &[3]),
            ("a", &[1]),
            ("c", &[5]),
        ];
        let all = Timelines::of(said);
        let lines: Vec<(&str, &[u64])> = all.iter().collect();
        let expected: [(&str, &[u64]); 3] = [("a", &[1, 9]), ("b", &[3, 7, 7]), ("c", &[5])];
        assert_eq!(lines, expected);
        let from: Vec<(&str, &[u64])> = all.from(|key| *key < "b").collect();
        assert_eq!(from, expected[1..]);
        assert_eq!(Timelines::<u8>::of(Vec::new()).len(), 0);
    }
}
