//! Which accesses can have part in a stale read at all: loads that an own cache served, of words that another
//! CPU stores to, and the stores to those words. They are few where CPUs keep to their own words.

use crate::data_src::{DataSrc, Level, Op, Snoop};
use crate::recording::{Event, Memory, PerKind, Recent, Recording};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::Range;

const WORD: u64 = 8;

/// Process, and address by [`WORD`].
pub type Word = (i32, u64);

/// The first byte of a word.
pub fn first_byte((_, word): Word) -> u64 {
    word * WORD
}

/// Two numbers that tell a word from most others.
pub fn halves((pid, word): Word) -> (u32, u32) {
    (word as u32, pid as u32 ^ (word >> 32) as u32)
}

/// The word that sample `i` is of.
pub fn word_of(recording: &Recording, i: usize) -> Option<Word> {
    let samples = &recording.samples;
    Some((samples.thread.get(i)?.0, samples.addr.get(i)? / WORD))
}

/// What is asked of a memory event's access besides where and when it was.
#[derive(Debug, Clone, Copy)]
struct Kind {
    stores: bool,
    /// A load, also one that stores, of which the level is known.
    has_level: bool,
    /// A load alone, served by an own cache without a snoop.
    own: Option<Level>,
}

impl Kind {
    fn of(event: &Event, data_src: Option<DataSrc>) -> Option<Kind> {
        let data_src = data_src.unwrap_or(DataSrc(0));
        let op = event.access(data_src, None).op;
        let loads = op.is_some_and(Op::is_load);
        let stores = op.is_some_and(Op::is_store);
        let level = data_src.level();
        let quiet = matches!(data_src.snoop(), None | Some(Snoop::None));
        let own = level.filter(|level| matches!(level, Level::L1 | Level::Lfb));
        (event.memory != Memory::No).then_some(Kind {
            stores,
            has_level: loads && level.is_some(),
            own: own.filter(|_| quiet && loads && !stores),
        })
    }
}

/// Samples that one thread looks at, at a time.
const PART: usize = 1 << 11;

/// Samples whose stores are collected at a time.
const BATCH: usize = 1 << 20;

/// An access to user memory.
#[derive(Debug, Clone, Copy)]
struct Access {
    sample: usize,
    kind: Kind,
    cpu: u16,
    /// Where its process is known.
    word: Option<Word>,
}

/// The accesses to user memory.
pub struct Accesses<'a> {
    recording: &'a Recording,
    kinds: PerKind<'a, Option<Kind>>,
}

impl Accesses<'_> {
    /// Those of a recording.
    pub fn of(recording: &Recording) -> Accesses<'_> {
        Accesses {
            recording,
            kinds: recording.per_kind(Kind::of),
        }
    }

    /// Calls `each` with those among these samples.
    fn each(&self, samples: Range<usize>, mut each: impl FnMut(Access)) {
        let columns = &self.recording.samples;
        let (mut kinds, mut addresses) = (Vec::new(), Vec::new());
        let (mut threads, mut cpus) = (Vec::new(), Vec::new());
        self.kinds.read(samples.clone(), &mut kinds);
        columns.addr.read(samples.clone(), &mut addresses);
        columns.thread.ids.read(samples.clone(), &mut threads);
        columns.cpu.read(samples.clone(), &mut cpus);
        for (i, (kind, &addr)) in kinds.iter().zip(&addresses).enumerate() {
            let Some(Some(kind)) = *kind else { continue };
            if addr == 0 || addr >> 63 != 0 {
                continue;
            }
            let thread = threads.get(i).map(|&id| id as usize);
            let thread = thread.and_then(|id| columns.thread.values.get(id));
            each(Access {
                sample: samples.start + i,
                kind,
                cpu: cpus.get(i).copied().unwrap_or(0),
                word: thread.map(|(pid, _)| (*pid, addr / WORD)),
            });
        }
    }

    /// Whether a sample of one is such a one.
    pub fn any(&self, is_it: impl Fn(usize) -> bool + Sync) -> bool {
        self.any_of(|access| is_it(access.sample))
    }

    /// Whether a load says which cache served it.
    pub fn tell_levels(&self) -> bool {
        self.any_of(|access| access.kind.has_level)
    }

    fn any_of(&self, is_it: impl Fn(Access) -> bool + Sync) -> bool {
        parts(0..self.recording.samples.len()).any(|part| {
            let mut found = false;
            self.each(part, |access| found |= is_it(access));
            found
        })
    }

    /// The own cache that served sample `i`, if it is such a load.
    pub fn own(&self, i: usize) -> Option<Level> {
        self.kinds.get(i)??.own
    }

    /// All stores, and which CPUs they were made from.
    fn stores(&self) -> (Vec<u32>, FxHashMap<Word, Stored>) {
        let none = || (Vec::new(), Recent::default(), FxHashMap::default());
        let mut words: FxHashMap<Word, Stored> = FxHashMap::default();
        let mut all = Vec::new();
        let samples = self.recording.samples.len();
        // Batch by batch: collected at once they would be in memory twice.
        for first in (0..samples).step_by(BATCH) {
            let batch = first..samples.min(first + BATCH);
            let found = parts(batch).fold(none, |(mut stores, mut recent, mut new), part| {
                self.each(part, |store| {
                    let Some(word) = store.word.filter(|_| store.kind.stores) else {
                        return;
                    };
                    stores.push(store.sample as u32);
                    let by = Stored::By(store.cpu);
                    recent.get(halves(word), (word, by), || {
                        let known = words.get(&word);
                        if !known.is_some_and(|known| *known == known.and(by)) {
                            add(&mut new, word, by);
                        }
                    });
                });
                (stores, recent, new)
            });
            for (stores, _, new) in found.collect::<Vec<_>>() {
                all.extend(stores);
                new.into_iter()
                    .for_each(|(word, by)| add(&mut words, word, by));
            }
        }
        (all, words)
    }

    /// The loads of own caches, of which `words` are stored to.
    fn loads(&self, words: &FxHashMap<Word, Stored>) -> Loads {
        let all = parts(0..self.recording.samples.len());
        let none = || (Loads::default(), Recent::default());
        let found = all.fold(none, |(mut loads, mut recent), part| {
            self.each(part, |load| {
                let Some(word) = load.word.filter(|_| load.kind.own.is_some()) else {
                    return;
                };
                let stored = recent.get(halves(word), word, || words.get(&word).copied());
                loads.looked_at += u64::from(stored.is_some());
                if stored.is_some_and(|stored| stored != Stored::By(load.cpu)) {
                    loads.suspects.push(load.sample as u32);
                    loads.words.insert(word);
                }
            });
            (loads, recent)
        });
        let found = found.map(|(loads, _)| loads);
        found.reduce(Loads::default, Loads::and)
    }

    /// `None`: there is no store.
    pub fn suspects(&self) -> Option<Suspects> {
        let (stores, words) = self.stores();
        if stores.is_empty() {
            return None;
        }
        let loads = self.loads(&words);
        let is_loaded = |i: &u32| {
            let word = word_of(self.recording, *i as usize);
            word.is_some_and(|word| loads.words.contains(&word))
        };
        Some(Suspects {
            looked_at: loads.looked_at,
            stores: stores.into_par_iter().filter(is_loaded).collect(),
            loads: loads.suspects,
        })
    }
}

/// Loads of own caches to words that a sampled store was made to.
#[derive(Default)]
struct Loads {
    looked_at: u64,
    /// Those of a word that another CPU stores to, and their words.
    suspects: Vec<u32>,
    words: FxHashSet<Word>,
}

impl Loads {
    fn and(mut self, mut other: Loads) -> Loads {
        if self.words.len() < other.words.len() {
            std::mem::swap(&mut self.words, &mut other.words);
        }
        self.looked_at += other.looked_at;
        self.suspects.extend(other.suspects);
        self.words.extend(other.words);
        self
    }
}

/// Samples that may be of a stale read.
pub struct Suspects {
    /// Loads of own caches to words that a sampled store was made to.
    pub looked_at: u64,
    /// Those of a word that another CPU stores to, and the stores to these words.
    pub loads: Vec<u32>,
    pub stores: Vec<u32>,
}

/// Which CPUs stored to a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    By(u16),
    Several,
}

impl Stored {
    fn and(self, other: Stored) -> Stored {
        if self == other { self } else { Stored::Several }
    }
}

fn add(words: &mut FxHashMap<Word, Stored>, word: Word, by: Stored) {
    let known = words.entry(word);
    known
        .and_modify(|known| *known = known.and(by))
        .or_insert(by);
}

/// Samples part by part, in order.
pub fn parts(samples: Range<usize>) -> impl ParallelIterator<Item = Range<usize>> {
    let end = samples.end;
    let parts = samples.into_par_iter().step_by(PART);
    parts.map(move |first| first..end.min(first + PART))
}
