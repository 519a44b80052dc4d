//! When the collector marked, and how long memory keeps its owner around that.
//!
//! Memory is freed by the sweep after a mark phase that did not reach it. So what was in use before a
//! phase, or during it, is still what the collector reads there during the phase; and what it reads
//! there, it keeps until the end of the next one. (`runtime/mgc.go`: sweep termination, mark, mark
//! termination, sweep.)

use crate::recording::Column;
use rayon::prelude::*;

/// Functions that run in mark phases alone, by the start of their names (Go 1.18 to 1.27).
const MARKING: &[&str] = &[
    "runtime.gcDrain",
    "runtime.markroot",
    "runtime.greyobject",
    "runtime.scanobject",
    "runtime.scanObject",
    "runtime.scanblock",
    "runtime.scanSpan",
];

/// Those that read the objects themselves; the others keep their own books.
const READING: &[&str] = &["runtime.scanobject", "runtime.scanObject"];

/// Whether a function runs in mark phases alone.
pub fn marks(function: &str) -> bool {
    MARKING.iter().any(|prefix| function.starts_with(prefix))
}

/// Whether a function reads what it marks.
pub fn reads(function: &str) -> bool {
    READING.iter().any(|prefix| function.starts_with(prefix))
}

/// A pause so many times the usual one between two samples of marking ends a phase.
const PAUSES: u64 = 64;

/// The mark phases, as far as samples in them show.
#[derive(Debug, Default, PartialEq)]
pub struct Marking {
    /// First and last sample of each, in order of time.
    phases: Vec<(u64, u64)>,
    /// Between which nothing at all was sampled: what the collector did meanwhile is not known.
    blind: Vec<(u64, u64)>,
}

/// Slices of a recording's time; a slice without a sample, where as many as [`MISSING`] were to be
/// expected, is blind.
const SLICES: usize = 1 << 12;
const MISSING: usize = 64;

impl Marking {
    /// From the times of the samples in code that marks, and of all.
    pub fn from_times(mut times: Vec<u64>, all: &Column<u64>) -> Marking {
        times.par_sort_unstable();
        let mut pauses: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        let middle = pauses.len() / 2;
        if pauses.is_empty() {
            return Marking::default();
        }
        let (_, usual, _) = pauses.select_nth_unstable(middle);
        let longest = usual.saturating_mul(PAUSES).max(1);
        let phases = times
            .chunk_by(|a, b| b - a <= longest)
            .filter_map(|phase| Some((*phase.first()?, *phase.last()?)))
            .collect();
        Marking {
            phases,
            blind: blind(all),
        }
    }

    /// Over which time the collector may have read memory that had its owner from `first` to `last`:
    /// `None` where that is no longer than it.
    pub fn reach(&self, first: u64, last: u64) -> Option<(u64, u64)> {
        // The first phase that was not over at `last`, and the last one not begun at `first`: their
        // samples have the same owner.
        let after = self.phases.partition_point(|(_, end)| *end <= last);
        let before = self.phases.partition_point(|(start, _)| *start < first);
        let (_, until) = self.phases.get(after).copied().unwrap_or((first, last));
        let since = before.checked_sub(1).and_then(|i| self.phases.get(i));
        let (since, _) = since.copied().unwrap_or((first, last));
        let until = match self.blind.iter().find(|(_, end)| *end > last) {
            Some((from, _)) => until.min(*from).max(last),
            None => until.max(last),
        };
        let since = match self.blind.iter().rev().find(|(from, _)| *from < first) {
            Some((_, end)) => since.max(*end).min(first),
            None => since.min(first),
        };
        (until > last || since < first).then_some((since, until))
    }
}

/// The spans of time without samples.
fn blind(all: &Column<u64>) -> Vec<(u64, u64)> {
    let span = all.par_iter().map(|time| (time, time));
    let span = span.reduce_with(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    let Some((first, last)) = span else {
        return Vec::new();
    };
    let slice = (last - first) / SLICES as u64 + 1;
    let slices = ((last - first) / slice) as usize + 1;
    let sampled = |mut sampled: Vec<bool>, time: u64| {
        if let Some(slice) = sampled.get_mut(((time - first) / slice) as usize) {
            *slice = true;
        }
        sampled
    };
    let none = || vec![false; slices];
    let sampled = all.par_iter().fold(none, sampled);
    let sampled = sampled.reduce(none, |a, b| a.iter().zip(&b).map(|(a, b)| a | b).collect());
    let mut blind = Vec::new();
    let mut at = 0;
    for run in sampled.chunk_by(|a, b| a == b) {
        if !run[0] && run.len().saturating_mul(all.len()) / SLICES >= MISSING {
            let start = first + at as u64 * slice;
            blind.push((start, start + run.len() as u64 * slice));
        }
        at += run.len();
    }
    blind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_pauses_end_a_phase() {
        let times = vec![10, 11, 12, 13, 500, 501, 502, 503];
        let phases = vec![(10, 13), (500, 503)];
        let marking = Marking::from_times(times.clone(), &times.iter().copied().collect());
        assert_eq!(marking.phases, phases);
        assert_eq!(
            Marking::from_times(vec![7], &[7].into_iter().collect()),
            Marking::default()
        );
    }

    #[test]
    fn memory_keeps_its_owner_through_the_phase_around_or_after_its_last_use() {
        let marking = Marking {
            phases: vec![(100, 200), (300, 400), (500, 600)],
            blind: Vec::new(),
        };
        // In use before the second phase and after the first.
        assert_eq!(marking.reach(220, 250), Some((100, 400)));
        // In use when the second phase had begun.
        assert_eq!(marking.reach(320, 350), Some((300, 400)));
        // After all of them.
        assert_eq!(marking.reach(700, 710), Some((500, 710)));
        // Before all.
        assert_eq!(marking.reach(10, 20), Some((10, 200)));
        assert_eq!(Marking::default().reach(10, 20), None);
    }

    #[test]
    fn nothing_is_said_across_times_without_samples() {
        let marking = Marking {
            phases: vec![(100, 200), (300, 400)],
            blind: vec![(240, 290)],
        };
        assert_eq!(marking.reach(220, 230), Some((100, 240)));
        assert_eq!(marking.reach(320, 350), Some((300, 400)));
        assert_eq!(marking.reach(295, 350), Some((290, 400)));
        // 4,096 samples one apart, and as many after a pause of 1,000.
        let all = (0..4096).chain(5096..9192);
        assert_eq!(blind(&all.collect()), vec![(4098, 5094)]);
    }
}
