//! The lines, and pairs of lines, that several CPUs used.

use super::kept::{Kept, PAIR, Raw};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Pairs of lines whose accesses the script can count again.
pub const PAIRS: usize = 4_096;

/// What was sampled of one line.
#[derive(Debug, Default)]
pub struct Line {
    pub start: u64,
    pub map: Option<u64>,
    pub loads: u64,
    pub stores: u64,
    pub hitm: Option<u64>,
    pub readers: BTreeSet<u64>,
    pub writers: BTreeSet<u64>,
    /// Numbers of its raw accesses.
    pub rows: Vec<usize>,
}

impl Line {
    fn add(&mut self, row: &Raw) {
        self.map = self.map.or(row.map);
        self.loads += row.loads;
        self.stores += row.stores;
        if let Some(hitm) = row.hitm {
            *self.hitm.get_or_insert(0) += hitm;
        }
        if row.loads > 0 {
            self.readers.extend(row.cpu);
        }
        if row.stores > 0 {
            self.writers.extend(row.cpu);
        }
    }

    fn rank(&self) -> (Reverse<u64>, Reverse<u64>, u64) {
        let bounces = self.hitm.unwrap_or(0);
        let touched = self.loads.saturating_add(self.stores);
        (Reverse(bounces), Reverse(touched), self.start)
    }

    fn is_shared(&self) -> bool {
        let cpus = self.readers.union(&self.writers).count();
        cpus > 1 && (!self.writers.is_empty() || self.hitm.is_some_and(|n| n > 0))
    }
}

/// The shared lines and pairs of lines, those that bounce most first.
#[derive(Debug)]
pub struct Shared {
    pub lines: Vec<Line>,
    pub pairs: Vec<Line>,
}

impl Shared {
    pub fn of(kept: &Kept) -> Shared {
        let (lines, pairs) = rayon::join(|| shared(kept, 64), || shared(kept, PAIR));
        Shared { lines, pairs }
    }

    /// Numbers of the pairs of lines that are shared, or of which a line is, in the same order.
    pub fn numbers(&self) -> Vec<u64> {
        let mut seen = BTreeSet::new();
        let mut all: Vec<&Line> = self.lines.iter().chain(&self.pairs).collect();
        all.sort_by_key(|line| line.rank());
        let pairs = all.into_iter().map(|line| line.start / PAIR);
        pairs.filter(|pair| seen.insert(*pair)).collect()
    }

    /// Those of them whose accesses are in the page line by line.
    pub fn in_page(&self) -> Vec<u64> {
        let mut all = self.numbers();
        all.truncate(PAIRS);
        all
    }
}

/// Shared lines of `size` bytes.
fn shared(kept: &Kept, size: u64) -> Vec<Line> {
    let row = kept.by_number();
    let numbered = (0..kept.len()).filter_map(|i| {
        let (addr, _) = row(i).and_then(|row| row.addr.zip(row.cpu))?;
        Some((addr - addr % size, i))
    });
    let mut numbered: Vec<(u64, usize)> = numbered.collect();
    numbered.sort_unstable();
    let by_line = numbered.chunk_by(|(a, _), (b, _)| a == b);
    // One access is of one CPU.
    let lines = by_line.filter(|rows| rows.len() > 1).map(|rows| {
        let mut line = Line {
            start: rows.first().map_or(0, |(start, _)| *start),
            rows: rows.iter().map(|(_, i)| *i).collect(),
            ..Line::default()
        };
        let rows = rows.iter().filter_map(|(_, i)| row(*i));
        rows.for_each(|row| line.add(&row));
        line
    });
    let mut shared: Vec<Line> = lines.filter(Line::is_shared).collect();
    shared.sort_by_key(Line::rank);
    shared
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_nobody_wrote_is_shared_only_with_hitm() {
        let mut line = Line {
            readers: [1, 2].into(),
            ..Line::default()
        };
        assert!(!line.is_shared());
        line.hitm = Some(1);
        assert!(line.is_shared());
        line.hitm = None;
        line.writers = [2].into();
        assert!(line.is_shared());
    }
}
