//! How far apart the clocks of two CPUs can be, by the threads that moved from each to the other.
//!
//! A thread is on one CPU at a time: its last sample on A is older than its first on B. What lies
//! between them on the recording's clock is what really did, which is not negative, plus how far B's
//! clock is ahead of A's. The shortest of these each way bound that, as in NTP. Where clocks are further
//! apart than a move takes, samples change places and the bound is too narrow.

use crate::recording::Recording;
use crate::tables::together::Skew;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Samples that are read at a time.
const BATCH: usize = 1 << 11;

/// Samples that are looked at.
const MOST: usize = 1 << 20;

/// The bound of each pair of CPUs that threads moved between both ways, the narrowest first.
pub fn skew(recording: &Recording) -> Vec<Skew> {
    let samples = &recording.samples;
    let (mut threads, mut times, mut cpus) = (Vec::new(), Vec::new(), Vec::new());
    let mut seen: FxHashMap<(i32, i32), Vec<(u64, u16)>> = FxHashMap::default();
    let len = samples.len().min(MOST);
    for first in (0..len).step_by(BATCH) {
        let batch = first..len.min(first + BATCH);
        samples.thread.ids.read(batch.clone(), &mut threads);
        samples.time.read(batch.clone(), &mut times);
        samples.cpu.read(batch, &mut cpus);
        for ((&thread, &time), &cpu) in threads.iter().zip(&times).zip(&cpus) {
            let thread = samples.thread.values.get(thread as usize);
            if let Some(thread @ (_, 1..)) = thread.filter(|_| time != 0) {
                seen.entry(*thread).or_default().push((time, cpu));
            }
        }
    }
    let of_threads = seen.into_par_iter().map(|(_, moves)| shortest_of(moves));
    let shortest = of_threads.reduce(BTreeMap::new, |mut all, some| {
        some.into_iter()
            .for_each(|(way, between)| keep_least(&mut all, way, between));
        all
    });
    let mut all: Vec<Skew> = (shortest.iter().filter(|((a, b), _)| a < b))
        .filter_map(|(&(a, b), &there)| {
            let back = *shortest.get(&(b, a))?;
            Some(Skew {
                cpus: [a.into(), b.into()],
                offset_ns: (there as i64).saturating_sub(back as i64) / 2,
                error_ns: there.saturating_add(back).div_ceil(2),
            })
        })
        .collect();
    all.sort_by_key(|skew| (skew.error_ns, skew.cpus));
    all
}

/// From which CPU to which a thread moved, of which these are the samples, and the shortest time between two.
fn shortest_of(mut seen: Vec<(u64, u16)>) -> BTreeMap<(u16, u16), u64> {
    // A sort that makes use of what is in order: a CPU's samples are.
    seen.sort();
    let mut shortest = BTreeMap::new();
    for pair in seen.windows(2) {
        let [(left, from), (came, to)] = pair else {
            continue;
        };
        if from != to {
            keep_least(&mut shortest, (*from, *to), came - left);
        }
    }
    shortest
}

fn keep_least(shortest: &mut BTreeMap<(u16, u16), u64>, way: (u16, u16), between: u64) {
    let least = shortest.entry(way).or_insert(between);
    *least = between.min(*least);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Interned;

    /// Samples by (tid, time, cpu).
    fn of(rows: &[(i32, u64, u16)]) -> Vec<([u64; 2], i64, u64)> {
        let mut recording = Recording::default();
        let samples = &mut recording.samples;
        samples.time = rows.iter().map(|r| r.1).collect();
        samples.cpu = rows.iter().map(|r| r.2).collect();
        samples.event = rows.iter().map(|_| 0).collect();
        samples.ip = Interned {
            ids: rows.iter().map(|_| 0).collect(),
            values: vec![0],
        };
        samples.thread = Interned {
            ids: (0..rows.len() as u32).collect(),
            values: rows.iter().map(|r| (1, r.0)).collect(),
        };
        let all = skew(&recording);
        all.iter()
            .map(|s| (s.cpus, s.offset_ns, s.error_ns))
            .collect()
    }

    #[test]
    fn moves_both_ways_bound_it() {
        // CPU 1 is 300 ns ahead of CPU 0; moves really take 1,000 and 1,400 ns.
        let rows = [
            (7, 10_000, 0),
            (7, 11_300, 1),
            (7, 20_300, 1),
            (7, 21_400, 0),
            // Another thread's samples are no moves of this one; nor is one way enough.
            (8, 10_001, 1),
            (9, 30_000, 0),
            (9, 30_500, 2),
        ];
        // Between -1,100 and +1,300 ns.
        assert_eq!(of(&rows), [([0, 1], 100, 1200)]);
    }

    #[test]
    fn threads_that_stay_say_nothing() {
        assert_eq!(of(&[(7, 1, 0), (7, 2, 0), (8, 1, 1)]), []);
        // The idle task is on all CPUs at once.
        assert_eq!(of(&[(0, 1, 0), (0, 2, 1), (0, 3, 0)]), []);
    }
}
