//! The one pass over the samples. Everything that a frame needs of all samples is added up here,
//! in plain hash maps keyed by ids, one set a thread, merged at the end: sums do not depend on the
//! order, so neither do the frames.

use super::counts::Counts;
use super::histogram::Histogram;
use super::kinds::{Kinds, NO_LEVEL};
use super::rows::Rows;
use crate::attribute::{Evidence, NONE, Reason};
use crate::gomap::Part;
use crate::recording::Recent;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::hash::Hash;
use std::ops::Range;

/// Bins of the time axis.
pub const TIME_BINS: u64 = 256;
/// More buckets or groups than this in one array are binned in `cells`.
pub const INDEX_BINS: u32 = 4096;
/// Slots of [`Totals::heat`].
const HEAT_SLOTS: usize = 1 << 18;

/// What tells one row of `maps`, `parts`, `functions`, `lines` and `misses` from another: those
/// frames are sums over these groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub map: u32,
    pub place: u32,
    pub part: Result<Part, Reason>,
    pub evidence: Evidence,
}

#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Samples, those that are no accesses included.
    pub rows: u32,
    /// Accesses with a slot.
    pub slotted: u32,
    pub counts: Counts,
    pub latencies: Histogram,
}

impl Group {
    pub fn merge(&mut self, other: &Group) {
        self.rows += other.rows;
        self.slotted += other.slotted;
        self.counts.merge(&other.counts);
        self.latencies.merge(&other.latencies);
    }
}

/// A cell of the heatmap: `(array, first index of the bin, byte offset)`.
pub type Cell = (u32, u32, u32);

/// Indirect keys or elems by byte: `(map or NONE, part, where in a pair of cache lines the object begins or
/// NOWHERE, byte offset)`.
pub type OutsideCell = (u32, Part, u8, u32);

/// In [`OutsideCell`]: the address of the object is not known.
pub const NOWHERE: u8 = u8::MAX;

/// Bytes of a pair of cache lines, which an adjacent-line prefetcher moves together.
const PAIR: u64 = 128;

/// Loads by `(map or NONE, level id or NO_LEVEL)`.
pub type LevelKey = (u32, u8);

/// A cell of the latency cube: `(map or NONE, time bin, latency bin, level id or NO_LEVEL)`.
pub type LatencyCell = (u32, u16, u8, u8);

/// What the pass adds up.
#[derive(Debug, Default)]
pub struct Totals {
    pub groups: FxHashMap<Key, Group>,
    pub cells: FxHashMap<Cell, Counts>,
    pub outside: FxHashMap<OutsideCell, Counts>,
    pub latency: FxHashMap<LatencyCell, u32>,
    pub levels: FxHashMap<LevelKey, Group>,
    /// Samples by hash of the structure instance they hit: an upper bound for each instance, in
    /// bounded memory. `order` starts from it.
    pub heat: Vec<u32>,
}

/// Sums by key, apart from the keys: a table of small entries stays in a core's own cache.
struct Sums<K, V> {
    ids: FxHashMap<K, u32>,
    recent: Recent<K, u32>,
    sums: Vec<V>,
}

impl<K: Copy + Eq, V> Default for Sums<K, V> {
    fn default() -> Self {
        Sums {
            ids: FxHashMap::default(),
            recent: Recent::default(),
            sums: Vec::new(),
        }
    }
}

impl<K: Copy + Eq + Hash, V: Default> Sums<K, V> {
    /// The number of a key, which two others tell from most keys.
    fn id_of(&mut self, key: K, numbers: (u32, u32)) -> u32 {
        self.recent.get(numbers, key, || {
            *self.ids.entry(key).or_insert_with(|| {
                self.sums.push(V::default());
                self.sums.len() as u32 - 1
            })
        })
    }

    /// The sum of a key.
    fn of(&mut self, key: K, numbers: (u32, u32)) -> &mut V {
        let id = self.id_of(key, numbers);
        &mut self.sums[id as usize]
    }

    fn merge(mut self, other: Sums<K, V>, merge: impl Fn(&mut V, &V)) -> Sums<K, V> {
        for (key, id) in other.ids {
            merge(self.of(key, (id, 0)), &other.sums[id as usize]);
        }
        self
    }

    fn finish(mut self) -> FxHashMap<K, V> {
        let take = |(key, id)| (key, std::mem::take(&mut self.sums[id as usize]));
        self.ids.into_iter().map(take).collect()
    }
}

/// The cells of the latency cube that are of no map, by time, level and latency: most samples are of none,
/// and those of one time of few cells.
struct Outside {
    levels: usize,
    cells: Vec<u32>,
}

/// Bins of latencies.
const LATENCY_BINS: usize = 1 << u8::BITS;

impl Outside {
    fn new(kinds: &Kinds) -> Outside {
        // One more for samples without a level.
        let levels = kinds.levels.len().min(NO_LEVEL.into()) + 1;
        Outside {
            levels,
            cells: vec![0; TIME_BINS as usize * levels * LATENCY_BINS],
        }
    }

    fn add(&mut self, time_bin: u16, latency_bin: u8, level_id: u8) {
        let level = usize::from(level_id).min(self.levels - 1);
        let at = (usize::from(time_bin) * self.levels + level) * LATENCY_BINS;
        if let Some(cell) = self.cells.get_mut(at + usize::from(latency_bin)) {
            *cell += 1;
        }
    }

    fn cells(&self) -> impl Iterator<Item = (LatencyCell, u32)> {
        let all = self.cells.iter().enumerate().filter(|(_, n)| **n > 0);
        all.map(|(at, &n)| {
            let (at, latency_bin) = (at / LATENCY_BINS, at % LATENCY_BINS);
            let (time_bin, level) = (at / self.levels, at % self.levels);
            let known = level + 1 < self.levels;
            let level_id = if known { level as u8 } else { NO_LEVEL };
            ((NONE, time_bin as u16, latency_bin as u8, level_id), n)
        })
    }
}

/// The sums over a part of the samples.
#[derive(Default)]
struct Partial {
    groups: Sums<Key, Group>,
    cells: Sums<Cell, Counts>,
    outside: Sums<OutsideCell, Counts>,
    latency: Sums<LatencyCell, u32>,
    levels: Sums<LevelKey, Group>,
    heat: Vec<u32>,
}

impl Partial {
    fn merge(mut self, other: Partial) -> Partial {
        for (a, b) in self.heat.iter_mut().zip(&other.heat) {
            *a += b;
        }
        Partial {
            groups: self.groups.merge(other.groups, Group::merge),
            cells: self.cells.merge(other.cells, Counts::merge),
            outside: self.outside.merge(other.outside, Counts::merge),
            latency: self.latency.merge(other.latency, |a, b| *a += b),
            levels: self.levels.merge(other.levels, Group::merge),
            heat: self.heat,
        }
    }

    fn finish(self) -> Totals {
        Totals {
            groups: self.groups.finish(),
            cells: self.cells.finish(),
            outside: self.outside.finish(),
            latency: self.latency.finish(),
            levels: self.levels.finish(),
            heat: self.heat,
        }
    }
}

/// Latencies whose bin is looked up.
const USUAL: u32 = 1 << 12;

/// Adds up all samples, one part of them a thread.
pub fn totals(rows: &Rows, kinds: &Kinds, time: &TimeAxis) -> Totals {
    let widths: Vec<u32> = rows
        .attribution
        .arrays
        .iter()
        .map(|array| index_width(array.len))
        .collect();
    let bins: Vec<u8> = (0..USUAL).map(latency_bin).collect();
    let threads = rayon::current_num_threads().max(1);
    let each = rows.len().div_ceil(threads).max(1);
    (0..threads)
        .into_par_iter()
        .map(|thread| {
            let start = (thread * each).min(rows.len());
            let end = (start + each).min(rows.len());
            part_of_the_samples(rows, kinds, time, (&widths, &bins), start..end)
        })
        .reduce_with(Partial::merge)
        .map_or_else(Totals::default, Partial::finish)
}

fn part_of_the_samples(
    rows: &Rows,
    kinds: &Kinds,
    time: &TimeAxis,
    (widths, bins): (&[u32], &[u8]),
    range: Range<usize>,
) -> Partial {
    let mut totals = Partial {
        heat: vec![0; HEAT_SLOTS],
        ..Partial::default()
    };
    let samples = rows.samples;
    let mut events = samples.event.range(range.clone());
    let mut sources = samples.data_src.ids.range(range.clone());
    let mut weights = samples.weight.range(range.clone());
    let mut times = samples.time.range(range.clone());
    let mut places = rows.attribution.place.range(range.clone());
    // By place: what most samples there that are of no map are counted under.
    let mut of_places: Vec<Option<(Result<Part, Reason>, u32)>> =
        vec![None; rows.attribution.places.len()];
    let mut outside = Outside::new(kinds);
    let mut here = TimeBin::default();
    for i in range {
        let event = events.next().flatten().map_or(usize::MAX, usize::from);
        let source = sources.next().flatten();
        let weight = weights.next().flatten();
        let at = times.next().flatten();
        let hit = rows.hit(i);
        let key = Key {
            map: hit.map,
            place: places.next().flatten().unwrap_or(NONE),
            part: rows.part(i),
            evidence: hit.evidence,
        };
        let known = match (key.map, key.evidence) {
            (NONE, Evidence::None) => of_places.get_mut(key.place as usize),
            _ => None,
        };
        let id = match known {
            Some(Some((part, id))) if *part == key.part => *id,
            known => {
                let id = totals.groups.id_of(key, (key.place, key.map));
                if let Some(known) = known {
                    *known = Some((key.part, id));
                }
                id
            }
        };
        let group = &mut totals.groups.sums[id as usize];
        group.rows += 1;
        if key.part == Err(Reason::NotAnAccess) {
            continue;
        }
        let kind = kinds.kind(event, source.filter(|_| rows.samples_data_src(event)));
        let weight = weight.filter(|_| rows.samples_weight(event));
        let latency = kinds.latency(event, kind, weight);
        group.counts.add(kind, latency);
        group.slotted += u32::from(hit.slot().is_some());
        if let Some(cycles) = latency {
            group.latencies.add(cycles);
            let at = at.filter(|_| rows.samples_time(event));
            if let Some(bin) = at.and_then(|t| here.of(t, time)) {
                let usual = bins.get(cycles as usize).copied();
                let latency_bin = usual.unwrap_or_else(|| latency_bin(cycles));
                let cell = (key.map, bin, latency_bin, kind.level_id);
                let numbers = [latency_bin, kind.level_id, 0, 0];
                match key.map {
                    NONE => outside.add(bin, latency_bin, kind.level_id),
                    map => *totals.latency.of(cell, (u32::from_le_bytes(numbers), map)) += 1,
                }
            }
        }
        if kind.counts.loads > 0 {
            let level = (key.map, kind.level_id);
            let loads = totals.levels.of(level, (u32::from(kind.level_id), key.map));
            loads.rows += 1;
            loads.counts.add(kind, latency);
            if let Some(cycles) = latency {
                loads.latencies.add(cycles);
            }
        }
        if let (Ok(part @ (Part::IndirectKey | Part::IndirectElem)), Some(off)) =
            (key.part, hit.off())
        {
            let in_pair = hit.base().map_or(NOWHERE, |base| (base % PAIR) as u8);
            let cell = (key.map, part, in_pair, off);
            totals.outside.of(cell, (off, key.map)).add(kind, latency);
        } else if let (Some(array), Some(index), Some(off)) = (hit.array(), hit.index(), hit.off())
        {
            let width = widths.get(array as usize).copied().unwrap_or(1);
            let cell = (array, index / width * width, off);
            totals.cells.of(cell, (off, index)).add(kind, latency);
        }
        if let Some(slot) = rows.instance(i, &hit).map(heat_slot) {
            totals.heat[slot] += 1;
        }
    }
    for (cell, n) in outside.cells() {
        *totals.latency.of(cell, (u32::from(cell.1), NONE)) += n;
    }
    totals
}

/// The bin of the time axis that was asked for last: that of most samples after it.
#[derive(Default)]
struct TimeBin {
    times: Range<u64>,
    bin: u16,
}

impl TimeBin {
    fn of(&mut self, time: u64, axis: &TimeAxis) -> Option<u16> {
        if !self.times.contains(&time) {
            self.bin = axis.bin(time)?;
            let begin = axis.first + u64::from(self.bin) * axis.bin_ns;
            self.times = begin..begin.saturating_add(axis.bin_ns);
        }
        Some(self.bin)
    }
}

/// The least power of two that leaves at most [`INDEX_BINS`] bins.
pub fn index_width(len: u32) -> u32 {
    len.div_ceil(INDEX_BINS)
        .checked_next_power_of_two()
        .unwrap_or(1 << 31)
        .max(1)
}

/// The slot of an address in [`Totals::heat`]: the top bits of a multiplicative hash (Knuth).
pub fn heat_slot(address: u64) -> usize {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HEAT_SLOTS.trailing_zeros())) as usize
}

/// `floor(8 * log2(cycles))`; 0 for 0 cycles.
pub fn latency_bin(cycles: u32) -> u8 {
    if cycles == 0 {
        return 0;
    }
    // An f64 holds every u32; its log2 is exact at powers of two, where bins begin.
    (8.0 * f64::from(cycles).log2()).floor() as u8
}

/// The time axis in [`TIME_BINS`] bins of equal width.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeAxis {
    pub first: u64,
    pub last: u64,
    /// Nanoseconds in a bin; 0 when no event sampled the time.
    pub bin_ns: u64,
}

impl TimeAxis {
    /// From the first to the last sample that has a time.
    pub fn of(rows: &Rows) -> TimeAxis {
        let times = rows.times().map(|time| (time, time));
        let span = times.reduce_with(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        span.map_or_else(TimeAxis::default, |(first, last)| TimeAxis {
            first,
            last,
            bin_ns: (last - first) / TIME_BINS + 1,
        })
    }

    pub fn bin(&self, time: u64) -> Option<u16> {
        u16::try_from(time.checked_sub(self.first)?.checked_div(self.bin_ns)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_binned_only_beyond_4096_indexes() {
        assert_eq!(index_width(0), 1);
        assert_eq!(index_width(4096), 1);
        assert_eq!(index_width(4097), 2);
        // 2^20 buckets: 256 each, 4096 bins.
        assert_eq!(index_width(1 << 20), 256);
        assert_eq!(index_width((1 << 20) + 1), 512);
        assert_eq!(index_width(u32::MAX), 1 << 20);
    }

    #[test]
    fn latency_bins_are_eighths_of_an_octave() {
        assert_eq!(latency_bin(0), 0);
        assert_eq!(latency_bin(1), 0);
        assert_eq!(latency_bin(2), 8);
        assert_eq!(latency_bin(3), 12);
        assert_eq!(latency_bin(1023), 79);
        assert_eq!(latency_bin(1024), 80);
        assert_eq!(latency_bin(u32::MAX), 255);
    }

    #[test]
    fn the_time_axis_ends_in_its_last_bin() {
        let axis = TimeAxis {
            first: 1000,
            last: 1511,
            bin_ns: 511 / TIME_BINS + 1,
        };
        assert_eq!(axis.bin_ns, 2);
        assert_eq!(axis.bin(999), None);
        assert_eq!(axis.bin(1000), Some(0));
        assert_eq!(axis.bin(1511), Some(255));
        assert_eq!(TimeAxis::default().bin(5), None);
    }
}
