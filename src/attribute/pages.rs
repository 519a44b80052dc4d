//! Which pages of memory something is known of: the first question asked of most samples.

use crate::gomap::size_class::PAGE;
use rayon::prelude::*;

/// Pages that are remembered: what fits into a corner of a core's own cache.
const LAST: usize = 1 << 8;

/// Runs of pages.
#[derive(Debug, Default)]
pub struct Pages {
    /// First and last page of each, sorted, apart from each other.
    runs: Vec<(u64, u64)>,
}

impl Pages {
    /// The pages of these spans (from, to), and those between two of them that are no more than
    /// `reach` bytes apart.
    pub fn of(mut spans: Vec<(u64, u64)>, reach: u64) -> Pages {
        let reach = reach / PAGE + 1;
        spans.par_sort_unstable();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (from, to) in spans {
            let (first, last) = (from / PAGE, to / PAGE);
            match runs.last_mut() {
                Some(run) if first <= run.1.saturating_add(reach) => run.1 = run.1.max(last),
                _ => runs.push((first, last)),
            }
        }
        Pages { runs }
    }

    /// These, with those up to `reach` bytes before and behind them, and those of these spans.
    pub fn with(&self, mut spans: Vec<(u64, u64)>, reach: u64) -> Pages {
        spans.extend(self.runs.iter().map(|(first, last)| {
            let (from, to) = (first.saturating_mul(PAGE), last.saturating_mul(PAGE));
            (from.saturating_sub(reach), to.saturating_add(reach))
        }));
        Pages::of(spans, 0)
    }

    /// The pages of all memory.
    pub fn all() -> Pages {
        Pages {
            runs: vec![(0, u64::MAX)],
        }
    }

    /// [`Pages::cover`], which remembers what it was asked: samples ask for the same pages again and again.
    pub fn covers(&self) -> impl FnMut(u64) -> bool + '_ {
        let mut last = [(u64::MAX, false); LAST];
        move |address| {
            let page = address / PAGE;
            let known = &mut last[page as usize % LAST];
            if known.0 != page {
                *known = (page, self.cover(address));
            }
            known.1
        }
    }

    pub fn cover(&self, address: u64) -> bool {
        let page = address / PAGE;
        // Most samples that are asked about are of stacks and static data.
        let (Some((lowest, _)), Some((_, highest))) = (self.runs.first(), self.runs.last()) else {
            return false;
        };
        if !(*lowest..=*highest).contains(&page) {
            return false;
        }
        let after = self.runs.partition_point(|(first, _)| *first <= page);
        let run = after.checked_sub(1).and_then(|i| self.runs.get(i));
        run.is_some_and(|(_, last)| page <= *last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_are_near_are_one_run() {
        let pages = Pages::of(vec![(PAGE * 9, PAGE * 9 + 8), (PAGE, PAGE + 8)], 0);
        assert_eq!(pages.runs, vec![(1, 1), (9, 9)]);
        assert!(pages.cover(PAGE + 5000) && pages.cover(PAGE * 10 - 1));
        let mut covers = pages.covers();
        let far = (LAST as u64 + 1) * PAGE;
        for (address, covered) in [
            (PAGE, true),
            (far, false),
            (far + 8, false),
            (PAGE * 2 - 1, true),
        ] {
            assert_eq!((covers(address), pages.cover(address)), (covered, covered));
        }
        assert!(Pages::all().cover(0) && Pages::all().cover(u64::MAX));
        assert!(!pages.cover(0) && !pages.cover(PAGE * 2) && !pages.cover(PAGE * 10));
        let pages = Pages::of(vec![(PAGE * 9, PAGE * 9 + 8), (PAGE, PAGE + 8)], PAGE * 8);
        assert_eq!(pages.runs, vec![(1, 9)]);
    }
}
