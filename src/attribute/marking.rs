//! When the collector marked, and how long memory keeps its owner around that.
//!
//! Memory is freed by the sweep after a mark phase that did not reach it. So what was in use before a
//! phase, or during it, is still what the collector reads there during the phase; and what it reads
//! there, it keeps until the end of the next one. (`runtime/mgc.go`: sweep termination, mark, mark
//! termination, sweep.)

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
    /// Between which memory may have been freed and used again, in order and apart from each other.
    breaks: Vec<(u64, u64)>,
}

/// The mark phases of each process.
#[derive(Debug)]
pub struct Markings {
    /// By the mark of its address space.
    of_spaces: FxHashMap<u64, Marking>,
    /// Of those without samples.
    others: Marking,
}

impl Markings {
    /// From the times of the samples in code that marks, and of all, by address space. `tells`: samples are
    /// of all that a process does.
    pub fn new(
        mut times: FxHashMap<u64, Vec<u64>>,
        sampled: FxHashMap<u64, Sampled>,
        tells: bool,
    ) -> Markings {
        let marking = |(mark, sampled): (u64, Sampled)| {
            let times = times.remove(&mark).unwrap_or_default();
            let blind = sampled.blind();
            let dense = tells && sampled.is_dense(&blind);
            (mark, Marking::from_times(times, blind, dense))
        };
        Markings {
            of_spaces: sampled.into_iter().map(marking).collect(),
            others: Marking::unknown(),
        }
    }

    /// Of the process whose addresses have this mark.
    pub fn of(&self, mark: u64) -> &Marking {
        self.of_spaces.get(&mark).unwrap_or(&self.others)
    }
}

/// When a process was sampled: in which slices of the time from the first sample to the last.
#[derive(Debug)]
pub struct Sampled {
    first: u64,
    last: u64,
    samples: u64,
    slice: u64,
    seen: Vec<AtomicBool>,
}

impl Sampled {
    pub fn new((first, last): (u64, u64), samples: u64) -> Sampled {
        let span = last - first;
        let slices = usize::try_from(span / PHASE_NS).unwrap_or(usize::MAX);
        let slice = span / slices.clamp(SLICES.0, SLICES.1) as u64 + 1;
        let seen = (0..=span / slice).map(|_| AtomicBool::new(false));
        Sampled {
            first,
            last,
            samples,
            slice,
            seen: seen.collect(),
        }
    }

    /// Hears of a sample at this time; `last`: the slice of the one before, which is most samples' own.
    pub fn see(&self, time: u64, last: &mut Range<u64>) {
        if last.contains(&time) {
            return;
        }
        let slice = time.wrapping_sub(self.first) / self.slice;
        let begin = self.first.wrapping_add(slice * self.slice);
        *last = begin..begin.saturating_add(self.slice);
        // Written to once: another thread's core may have its part of the list.
        if let Some(seen) = self.seen.get(slice as usize)
            && !seen.load(Relaxed)
        {
            seen.store(true, Relaxed);
        }
    }

    /// The spans of time without samples.
    fn blind(&self) -> Vec<(u64, u64)> {
        let seen: Vec<bool> = self.seen.iter().map(|seen| seen.load(Relaxed)).collect();
        let expected = |slices: usize| slices as u64 * self.samples / seen.len() as u64;
        let mut blind = Vec::new();
        let mut at = 0;
        for run in seen.chunk_by(|a, b| a == b) {
            if !run[0] && expected(run.len()) >= MISSING {
                let start = self.first + at as u64 * self.slice;
                blind.push((start, start + run.len() as u64 * self.slice));
            }
            at += run.len();
        }
        blind
    }

    fn is_dense(&self, blind: &[(u64, u64)]) -> bool {
        let unseen: u64 = blind.iter().map(|(from, to)| to - from).sum();
        let seen = (self.last - self.first).saturating_sub(unseen);
        self.samples.saturating_mul(PHASE_NS) >= DENSE.saturating_mul(seen)
    }
}

/// No mark phase is much shorter: there is none before the heap has 4 MB (`defaultHeapMinimum`), and a
/// quarter of the processors works on it (`gcBackgroundUtilization`).
const PHASE_NS: u64 = 1_000_000;
/// With so many samples of a process in that time, no phase goes by without one of it.
const DENSE: u64 = 32;

/// Slices of a process's time, at least and at most; those without a sample, where as many as
/// [`MISSING`] were to be expected, are blind.
const SLICES: (usize, usize) = (1 << 12, 1 << 20);
const MISSING: u64 = 64;

impl Marking {
    /// Where memory may be freed and used again at any time.
    pub fn unknown() -> Marking {
        Marking::from_times(Vec::new(), Vec::new(), false)
    }

    /// From the times of the samples in code that marks. `dense`: there are some of every phase.
    fn from_times(mut times: Vec<u64>, blind: Vec<(u64, u64)>, dense: bool) -> Marking {
        times.par_sort_unstable();
        let mut pauses: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        let middle = pauses.len() / 2;
        let (phases, longest) = match pauses.is_empty() {
            true => (Vec::new(), 0),
            false => {
                let (_, usual, _) = pauses.select_nth_unstable(middle);
                let longest = usual.saturating_mul(PAUSES).max(1);
                let phases = times.chunk_by(|a, b| b - a <= longest);
                let ends = |phase: &[u64]| Some((*phase.first()?, *phase.last()?));
                (phases.filter_map(ends).collect(), longest)
            }
        };
        // So long after its last sample a phase may go on.
        let over = |(_, end): &(u64, u64)| (*end, end.saturating_add(longest));
        let unknown = (!dense || times.len() == 1).then_some((0, u64::MAX));
        let breaks = phases.iter().map(over).chain(blind.iter().copied());
        let mut breaks: Vec<(u64, u64)> = breaks.chain(unknown).collect();
        breaks.sort_unstable();
        breaks.dedup_by(|next, last| {
            let meets = next.0 <= last.1;
            last.1 = if meets { last.1.max(next.1) } else { last.1 };
            meets
        });
        Marking {
            phases,
            blind,
            breaks,
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

    /// How many spells there are at most.
    pub fn spells(&self) -> usize {
        self.breaks.len() + 1
    }

    /// From the begin of the spell that `first` is in to the end of that of `last`.
    pub fn around(&self, first: u64, last: u64) -> (u64, u64) {
        let since = match self.spell(first).map(|before| before.checked_sub(1)) {
            None => first,
            Some(None) => 0,
            Some(Some(before)) => self
                .breaks
                .get(before as usize)
                .map_or(first, |(_, to)| *to),
        };
        let until = match self.spell(last) {
            None => last,
            Some(next) => self
                .breaks
                .get(next as usize)
                .map_or(u64::MAX, |(from, _)| *from),
        };
        (since, until)
    }

    /// The number of the spell that a time is in, in which memory was not freed and used again: that takes
    /// a mark phase. `None` in between.
    pub fn spell(&self, time: u64) -> Option<u32> {
        let before = self.breaks.partition_point(|(_, to)| *to <= time);
        let next = self.breaks.get(before);
        next.is_none_or(|(from, _)| time <= *from)
            .then_some(before as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_pauses_end_a_phase() {
        let times = vec![10, 11, 12, 13, 500, 501, 502, 503];
        let phases = vec![(10, 13), (500, 503)];
        assert_eq!(Marking::from_times(times, Vec::new(), true).phases, phases);
        assert_eq!(Marking::from_times(vec![7], Vec::new(), true).phases, []);
    }

    #[test]
    fn memory_keeps_its_owner_through_the_phase_around_or_after_its_last_use() {
        let marking = Marking {
            phases: vec![(100, 200), (300, 400), (500, 600)],
            ..Marking::default()
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
    fn memory_may_change_hands_when_a_phase_is_over() {
        let times = vec![10, 11, 12, 13, 500, 501, 502, 503];
        let marking = Marking::from_times(times.clone(), vec![(700, 800)], true);
        let breaks = vec![(13, 77), (503, 567), (700, 800)];
        assert_eq!(marking.breaks, breaks);
        let of = [0, 13, 14, 77, 503, 600, 750, 900].map(|time| marking.spell(time));
        let some = [
            Some(0),
            Some(0),
            None,
            Some(1),
            Some(1),
            Some(2),
            None,
            Some(3),
        ];
        assert_eq!(of, some);
        let thin = Marking::from_times(times, Vec::new(), false);
        assert_eq!(thin.spell(300), None);
        assert_eq!(thin.around(20, 30), (20, 30));
        assert_eq!(marking.around(90, 600), (77, 700));
        assert_eq!(marking.around(5, 900), (0, u64::MAX));
    }

    #[test]
    fn nothing_is_said_across_times_without_samples() {
        let marking = Marking {
            phases: vec![(100, 200), (300, 400)],
            blind: vec![(240, 290)],
            ..Marking::default()
        };
        assert_eq!(marking.reach(220, 230), Some((100, 240)));
        assert_eq!(marking.reach(320, 350), Some((300, 400)));
        assert_eq!(marking.reach(295, 350), Some((290, 400)));
        // 4,096 samples one apart, and as many after a pause of 1,000.
        let sampled = Sampled::new((0, 9191), 8192);
        (0..4096)
            .chain(5096..9192)
            .for_each(|time| sampled.see(time, &mut (0..0)));
        assert_eq!(sampled.blind(), vec![(4098, 5094)]);
    }
}
