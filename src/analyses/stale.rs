//! Loads that may have read a value that another CPU had already overwritten: served by their own
//! core's caches shortly after the store.
//!
//! On a coherent machine a store becomes visible when its line is owned and the store buffer drains,
//! which is after it has retired; a load takes its value when it executes, which is before it retires.
//! The times of samples are those of retirement. So a load on CPU B that retires up to some hundreds of
//! nanoseconds after a store on CPU A, and found the line in B's own L1 or LFB without a snoop, may have
//! read the value from before. It is legal, and what a program without synchronisation has to live with.

use super::skew::skew;
use super::suspects::{Accesses, Suspects, Word, first_byte, halves, parts, word_of};
use super::touch::{Decoded, decoded};
use crate::attribute::Attribution;
use crate::data_src::Level;
use crate::recording::{Recording, partition_near};
use crate::tables::together::Skew;
use rayon::prelude::*;
use serde::Serialize;
use std::sync::OnceLock;

/// Nanoseconds after a store in which a load may still have been ahead of it: the transfer of a line
/// from another socket (some 300 ns), and what a full reorder buffer waits for (some 200 ns).
pub const WINDOW_NS: u64 = 500;

/// A store and the load that may not have seen it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// Indexes of the samples.
    pub store: usize,
    pub load: usize,
    pub after_ns: u64,
    pub store_cpu: u16,
    pub load_cpu: u16,
    /// The first byte of the word.
    pub word: u64,
    /// Index into [`Attribution::maps`], or [`crate::attribute::NONE`].
    pub map: u32,
    /// As [`super::lines::part_name`].
    pub part: Option<String>,
    pub level: Level,
}

/// How far the times of two CPUs can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Clocks {
    /// As the recording names it; `None`: perf's own clock, which the kernel keeps in step between CPUs
    /// to within a few hundred nanoseconds where the TSC is not invariant.
    pub clock: Option<String>,
    /// The greatest step that all sampled times are multiples of, from the first; nanoseconds.
    pub granularity_ns: u64,
    /// Two samples of one CPU that stand in the file in another order than their times say.
    pub out_of_order: u64,
    /// As [`skew`] finds it.
    pub skew: Vec<Skew>,
}

/// What is found, or why nothing can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stale {
    Found {
        window_ns: u64,
        clocks: Clocks,
        /// Loads that were looked at: of own caches, to words that a sampled store was made to.
        loads: u64,
        /// In order of time.
        pairs: Vec<Pair>,
    },
    CannotTell(Missing),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    Times,
    Cpus,
    Levels,
    Stores,
}

impl Missing {
    pub fn text(self) -> &'static str {
        match self {
            Missing::Times => "the samples carry no times (record without --no-timestamp)",
            Missing::Cpus => {
                "the samples do not say which CPU they are of (record with --sample-cpu)"
            }
            Missing::Levels => {
                "no load says which cache served it: only a PMU that samples memory tells (PEBS, IBS, SPE)"
            }
            Missing::Stores => "no store was sampled",
        }
    }
}

/// Time, CPU, sample, and a [`tag`] of its word.
type Store = (u64, u16, u32, u16);

/// Stores before a load that are looked through, before the one to its word is looked up.
const FEW: usize = 64;

/// Process and word of each store with its place among them, sorted.
fn index(stores: &[Store], of: impl Fn(usize) -> Option<Word>) -> Vec<(Word, usize)> {
    let words = stores.iter().enumerate();
    let words = words.filter_map(|(at, (_, _, i, _))| Some((of(*i as usize)?, at)));
    let mut all: Vec<(Word, usize)> = words.collect();
    all.sort_unstable();
    all
}

/// A number that tells a word from nearly all others.
fn tag(word: Word) -> u16 {
    let (low, high) = halves(word);
    // Knuth's multiplicative hash: its upper part.
    ((low ^ high).wrapping_mul(0x9e37_79b1) >> 16) as u16
}

/// Whether two accesses to one word may have a byte in common: they do unless both instructions were
/// decoded and say otherwise. `hmap.flags` and `hmap.B` are bytes of one word.
fn may_overlap(
    recording: &Recording,
    attribution: &Attribution,
    decoded: &[Decoded],
) -> impl Fn(usize, usize) -> bool {
    move |a, b| {
        let bytes = |i: usize| {
            let place = attribution.place.get(i)? as usize;
            let width = decoded.get(place)?.width?;
            let addr = recording.samples.addr.get(i)?;
            Some((addr, addr.saturating_add(width.into())))
        };
        match (bytes(a), bytes(b)) {
            (Some(a), Some(b)) => a.0 < b.1 && b.0 < a.1,
            _ => true,
        }
    }
}

/// Pairs of a store and a load to the same bytes within a window, in user memory.
pub fn stale(recording: &Recording, attribution: &Attribution, window_ns: u64) -> Stale {
    let samples = &recording.samples;
    let accesses = Accesses::of(recording);
    let is_timed = |i: usize| samples.time.get(i) != Some(0);
    if samples.time.len() < samples.len() || !accesses.any(is_timed) {
        return Stale::CannotTell(Missing::Times);
    }
    if samples.cpu.len() < samples.len() {
        return Stale::CannotTell(Missing::Cpus);
    }
    if !accesses.tell_levels() {
        return Stale::CannotTell(Missing::Levels);
    }
    let find = || pairs(recording, attribution, &accesses, window_ns);
    let (found, clocks) = rayon::join(find, || clocks(recording));
    let Some((loads, pairs)) = found else {
        return Stale::CannotTell(Missing::Stores);
    };
    Stale::Found {
        window_ns,
        clocks,
        loads,
        pairs,
    }
}

/// How many loads were looked at, and the pairs; `None`: no store was sampled.
fn pairs(
    recording: &Recording,
    attribution: &Attribution,
    accesses: &Accesses,
    window_ns: u64,
) -> Option<(u64, Vec<Pair>)> {
    let samples = &recording.samples;
    let suspects = accesses.suspects()?;
    let Suspects { loads, stores, .. } = suspects;
    let of = |i: usize| word_of(recording, i);
    let store = |i: u32| -> Option<Store> {
        let (n, word) = (i as usize, of(i as usize)?);
        Some((samples.time.get(n)?, samples.cpu.get(n)?, i, tag(word)))
    };
    let mut stores: Vec<Store> = stores.into_par_iter().filter_map(store).collect();
    stores.par_sort_unstable();
    let decoded = decoded(&attribution.places);
    let overlap = may_overlap(recording, attribution, &decoded);
    let by_word = OnceLock::new();
    // What a load may not have seen. `before` are the stores before the load that was looked at last: most
    // samples follow each other in time.
    let look = |before: &mut usize, i: u32| {
        let i = i as usize;
        let (time, cpu, word) = (samples.time.get(i)?, samples.cpu.get(i)?, of(i)?);
        // The last store to its bytes before the load decides whose value it should have read: one of
        // the few stores within the window.
        *before = partition_near(&stores, *before, |(at, ..)| *at <= time);
        let before = *before;
        let within = |(at, ..): &&Store| time - at <= window_ns;
        let mut recent = stores.get(..before)?.iter().rev().take_while(within);
        let own = tag(word);
        let is_it = |(_, _, store, tag): &&Store| {
            let store = *store as usize;
            *tag == own && of(store) == Some(word) && overlap(i, store)
        };
        let last = match recent.by_ref().take(FEW).find(is_it) {
            None if recent.next().is_some() => {
                let all = by_word.get_or_init(|| index(&stores, of));
                let until = all.partition_point(|known| *known < (word, before));
                let of_word = all.get(..until)?.iter().rev();
                let of_word = of_word.take_while(|(known, _)| *known == word);
                let stores = of_word.filter_map(|(_, at)| stores.get(*at));
                stores.take_while(within).find(|store| is_it(store))
            }
            last => last,
        };
        let &(at, store_cpu, store, _) = last.filter(|(_, by, ..)| *by != cpu)?;
        let part = attribution.part.get(i).and_then(|part| part.ok());
        let hit = attribution.hit(i);
        Some(Pair {
            store: store as usize,
            load: i,
            after_ns: time - at,
            store_cpu,
            load_cpu: cpu,
            word: first_byte(word),
            map: hit.map,
            part: part.map(|part| super::lines::part_name(part, hit.slot)),
            level: accesses.own(i)?,
        })
    };
    let all = loads
        .par_iter()
        .map_init(|| 0, |before, i| look(before, *i));
    let mut pairs: Vec<Pair> = all.flatten_iter().collect();
    pairs.sort_by_key(|pair| (samples.time.get(pair.load), pair.load));
    Some((suspects.looked_at, pairs))
}

fn clocks(recording: &Recording) -> Clocks {
    let samples = &recording.samples;
    let first = samples.time.get(0).unwrap_or(0);
    let ticks = parts(0..samples.len()).fold(Ticks::default, |mut ticks, part| {
        let (mut times, mut cpus) = (Vec::new(), Vec::new());
        samples.time.read(part.clone(), &mut times);
        samples.cpu.read(part, &mut cpus);
        let mut times = times.as_slice();
        for run in cpus.chunk_by(|a, b| a == b) {
            let (of_run, rest) = times.split_at(run.len().min(times.len()));
            if let Some(&cpu) = run.first() {
                ticks.add(of_run, cpu, first);
            }
            times = rest;
        }
        ticks
    });
    let ticks = ticks.reduce(Ticks::default, Ticks::and);
    Clocks {
        clock: recording.meta.clock.clone(),
        granularity_ns: ticks.step.max(1),
        out_of_order: ticks.out_of_order,
        skew: skew(recording),
    }
}

/// What the times of a part of the samples show.
#[derive(Default)]
struct Ticks {
    /// The greatest step that all are multiples of; 0 where there is but one time.
    step: u64,
    out_of_order: u64,
    /// By CPU: the time of its first sample and of its last one.
    cpus: Vec<Option<(u64, u64)>>,
}

impl Ticks {
    /// Adds samples of one CPU that follow each other.
    fn add(&mut self, times: &[u64], cpu: u16, first: u64) {
        let (Some(&begin), Some(&end)) = (times.first(), times.last()) else {
            return;
        };
        let mut since = times.iter().map(|time| time.abs_diff(first));
        while self.step != 1
            && let Some(since) = since.next()
        {
            self.step = gcd(self.step, since);
        }
        let last = self.of(cpu.into());
        let (begun, before) = last.unwrap_or((begin, begin));
        *last = Some((begun, end));
        let steps = times.iter().zip(times.iter().skip(1));
        let back = steps.filter(|(time, next)| time > next).count();
        self.out_of_order += u64::from(before > begin) + back as u64;
    }

    fn of(&mut self, cpu: usize) -> &mut Option<(u64, u64)> {
        if self.cpus.len() <= cpu {
            self.cpus.resize(cpu + 1, None);
        }
        &mut self.cpus[cpu]
    }

    /// With those of the samples after these.
    fn and(mut self, later: Ticks) -> Ticks {
        self.step = gcd(self.step, later.step);
        self.out_of_order += later.out_of_order;
        for (cpu, later) in later.cpus.into_iter().enumerate() {
            let Some((begun, last)) = later else { continue };
            let own = self.of(cpu);
            let before = own.unwrap_or((begun, begun));
            *own = Some((before.0, last));
            self.out_of_order += u64::from(before.1 > begun);
        }
        self
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Event, Interned, Memory};

    const LOAD_L1: u64 = 2 | 0xa << 5 | 2 << 19;
    const LOAD_HITM: u64 = 2 | 0x42 << 5 | 0x10 << 19;
    const STORE: u64 = 4 | 0xa << 5;

    /// Samples by (time, cpu, address, data_src).
    fn recording(rows: &[(u64, u16, u64, u64)]) -> Recording {
        let intern = |values: Vec<u64>| Interned {
            ids: (0..values.len() as u32).collect(),
            values,
        };
        let mut recording = Recording {
            events: vec![Event {
                memory: Memory::Sampled,
                ..Event::default()
            }],
            ..Recording::default()
        };
        let samples = &mut recording.samples;
        samples.time = rows.iter().map(|r| r.0).collect();
        samples.cpu = rows.iter().map(|r| r.1).collect();
        samples.addr = rows.iter().map(|r| r.2).collect();
        samples.data_src = intern(rows.iter().map(|r| r.3).collect());
        samples.event = rows.iter().map(|_| 0).collect();
        samples.thread = Interned {
            ids: rows.iter().map(|_| 0).collect(),
            values: vec![(1, 1)],
        };
        recording
    }

    fn found(rows: &[(u64, u16, u64, u64)]) -> Vec<(usize, usize, u64)> {
        match stale(&recording(rows), &Attribution::default(), 100) {
            Stale::Found { pairs, .. } => pairs
                .iter()
                .map(|p| (p.store, p.load, p.after_ns))
                .collect(),
            Stale::CannotTell(missing) => panic!("{missing:?}"),
        }
    }

    #[test]
    fn a_load_from_its_own_cache_right_after_anothers_store_is_suspect() {
        // CPU 0 stores at 1000, CPU 1 reads the word from its L1 40 ns later.
        let rows = [(1000, 0, 0x1000, STORE), (1040, 1, 0x1004, LOAD_L1)];
        assert_eq!(found(&rows), [(0, 1, 40)]);
        // Too late; another word; the same CPU; served by the other cache, so it is the new value.
        for other in [
            (1101, 1, 0x1000, LOAD_L1),
            (1040, 1, 0x1008, LOAD_L1),
            (1040, 0, 0x1000, LOAD_L1),
            (1040, 1, 0x1000, LOAD_HITM),
        ] {
            assert_eq!(
                found(&[rows[0], other, (1, 1, 0x2000, LOAD_L1)]),
                [],
                "{other:?}"
            );
        }
        // CPU 1 has stored to it since: it reads its own value.
        let own = [rows[0], (1020, 1, 0x1000, STORE), rows[1]];
        assert_eq!(found(&own), []);
        // Before the store.
        let before = [(990, 1, 0x1000, LOAD_L1), rows[0]];
        assert_eq!(found(&before), []);
    }

    #[test]
    fn bytes_side_by_side_in_a_word_are_not_the_same_bytes() {
        // hmap.flags is byte 8 of the header, hmap.B byte 9; hmap.noverflow 10 and 11.
        let rows = [(1000, 0, 0x1008, STORE), (1040, 1, 0x1009, LOAD_L1)];
        let place = |text: &str| crate::attribute::Place {
            instruction: Some(text.to_owned()),
            ..Default::default()
        };
        let pairs = |load: &str| {
            let attribution = Attribution {
                place: (0..2).collect(),
                places: vec![place("mov [rax+8],dil"), place(load)],
                ..Attribution::default()
            };
            match stale(&recording(&rows), &attribution, 100) {
                Stale::Found { pairs, .. } => pairs.len(),
                Stale::CannotTell(missing) => panic!("{missing:?}"),
            }
        };
        assert_eq!(pairs("movzx ecx,byte ptr [rax+9]"), 0);
        // Not decoded: it may be all of the word.
        assert_eq!(pairs(""), 1);
    }

    #[test]
    fn a_store_is_found_behind_many_to_other_words() {
        let others = |n: u64| (0..n).map(|i| (1001, 2, 0x2000 + 8 * i, STORE));
        for n in [FEW as u64 - 1, FEW as u64, 1000] {
            let mut rows = vec![(1000, 0, 0x1000, STORE)];
            rows.extend(others(n));
            rows.push((1040, 1, 0x1004, LOAD_L1));
            assert_eq!(found(&rows), [(0, rows.len() - 1, 40)], "{n}");
        }
    }

    #[test]
    fn without_levels_times_or_stores_nothing_is_said() {
        let of =
            |rows: &[(u64, u16, u64, u64)]| stale(&recording(rows), &Attribution::default(), 100);
        let level_less = [(1000, 0, 0x1000, STORE), (1040, 1, 0x1000, 2)];
        assert_eq!(of(&level_less), Stale::CannotTell(Missing::Levels));
        let no_store = [(1040, 1, 0x1000, LOAD_L1)];
        assert_eq!(of(&no_store), Stale::CannotTell(Missing::Stores));
        let no_times = [(0, 0, 0x1000, STORE), (0, 1, 0x1000, LOAD_L1)];
        assert_eq!(of(&no_times), Stale::CannotTell(Missing::Times));
    }

    #[test]
    fn the_clock_is_as_coarse_as_its_times() {
        let rows = [
            (1000, 0, 8, STORE),
            (1240, 1, 8, LOAD_L1),
            (1120, 1, 8, LOAD_L1),
        ];
        let clocks = clocks(&recording(&rows));
        assert_eq!((clocks.granularity_ns, clocks.out_of_order), (120, 1));
    }
}
