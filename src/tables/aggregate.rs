//! The one pass over the samples. Everything that a frame needs of all samples is added up here,
//! in plain hash maps keyed by ids, one set a thread, merged at the end: sums do not depend on the
//! order, so neither do the frames.

use super::bits::Bits;
use super::cells::{Cell, CellSums, Cells};
use super::counts::Counts;
use super::gathered::{Counted, GATHERED, Gathered};
use super::histogram::Histogram;
use super::kinds::{Kind, Kinds, NO_LEVEL};
use super::rows::{Key, Rows};
use crate::attribute::{Evidence, NONE, ReadHits, Reason};
use crate::gomap::Part;
use crate::recording::{Pieces, Recent};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::hash::Hash;
use std::ops::Range;

/// Bins of the time axis.
pub const TIME_BINS: u64 = 256;
/// Slots of [`Totals::heat`].
const HEAT_SLOTS: usize = 1 << 18;

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
    fn add(&mut self, kind: &Kind, latency: Option<u32>) {
        self.counts.add(&kind.counts, latency);
        if let Some(cycles) = latency {
            self.latencies.add(cycles);
        }
    }

    pub fn merge(&mut self, other: &Group) {
        self.rows += other.rows;
        self.slotted += other.slotted;
        self.counts.merge(&other.counts);
        self.latencies.merge(&other.latencies);
    }
}

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
    /// In order, each with its sum.
    pub cells: (Vec<Cell>, Vec<Counts>),
    pub outside: FxHashMap<OutsideCell, Counts>,
    /// Each cell once, in no order.
    pub latency: Vec<(LatencyCell, u32)>,
    pub levels: FxHashMap<LevelKey, Group>,
    /// Samples by hash of the structure instance they hit: an upper bound for each instance, in
    /// bounded memory. `order` starts from it.
    pub heat: Vec<u32>,
    /// The accesses to maps, and all others.
    pub in_maps: Bits,
    pub elsewhere: Bits,
}

/// Sums by key, apart from the table of the keys: one of small entries stays in a core's own cache.
struct Sums<K, V> {
    ids: FxHashMap<K, u32>,
    keys: Vec<K>,
    sums: Vec<V>,
}

impl<K, V> Default for Sums<K, V> {
    fn default() -> Self {
        Sums {
            ids: FxHashMap::default(),
            keys: Vec::new(),
            sums: Vec::new(),
        }
    }
}

impl<K: Copy + Eq + Hash, V: Default> Sums<K, V> {
    /// The number of a key.
    fn id_of(&mut self, key: K) -> u32 {
        *self.ids.entry(key).or_insert_with(|| {
            self.keys.push(key);
            self.sums.push(V::default());
            self.sums.len() as u32 - 1
        })
    }

    /// The sum of a key.
    fn of(&mut self, key: K) -> &mut V {
        let id = self.id_of(key);
        &mut self.sums[id as usize]
    }

    fn merge(mut self, other: Sums<K, V>, merge: impl Fn(&mut V, &V)) -> Sums<K, V> {
        for (key, sum) in other.keys.into_iter().zip(other.sums) {
            merge(self.of(key), &sum);
        }
        self
    }

    fn finish(self) -> FxHashMap<K, V> {
        self.keys.into_iter().zip(self.sums).collect()
    }
}

/// The latency cube, by time: samples that follow each other are of few of its cells.
#[derive(Default)]
struct Cube {
    levels: usize,
    /// The cells that are of no map, by time, level and latency: most samples are of none.
    elsewhere: Vec<u32>,
    /// The others, by map, latency and level.
    maps: Vec<FxHashMap<(u32, u8, u8), u32>>,
}

/// Bins of latencies.
const LATENCY_BINS: usize = 1 << u8::BITS;

impl Cube {
    fn new(kinds: &Kinds) -> Cube {
        // One more for samples without a level.
        let levels = kinds.levels.len().min(NO_LEVEL.into()) + 1;
        Cube {
            levels,
            elsewhere: vec![0; TIME_BINS as usize * levels * LATENCY_BINS],
            maps: vec![FxHashMap::default(); TIME_BINS as usize],
        }
    }

    fn add(&mut self, (map, time_bin, latency_bin, level_id): LatencyCell) {
        let time = usize::from(time_bin);
        if map == NONE {
            let level = usize::from(level_id).min(self.levels - 1);
            let at = (time * self.levels + level) * LATENCY_BINS + usize::from(latency_bin);
            if let Some(cell) = self.elsewhere.get_mut(at) {
                *cell += 1;
            }
        } else if let Some(cells) = self.maps.get_mut(time) {
            *cells.entry((map, latency_bin, level_id)).or_default() += 1;
        }
    }

    fn merge(mut self, other: Cube) -> Cube {
        for (a, b) in self.elsewhere.iter_mut().zip(&other.elsewhere) {
            *a += b;
        }
        for (cells, more) in self.maps.iter_mut().zip(other.maps) {
            if cells.is_empty() {
                *cells = more;
            } else {
                for (cell, n) in more {
                    *cells.entry(cell).or_default() += n;
                }
            }
        }
        self
    }

    fn cells(self) -> Vec<(LatencyCell, u32)> {
        let elsewhere = self.elsewhere.iter().enumerate().filter(|(_, n)| **n > 0);
        let elsewhere = elsewhere.map(|(at, &n)| {
            let (at, latency_bin) = (at / LATENCY_BINS, at % LATENCY_BINS);
            let (time_bin, level) = (at / self.levels, at % self.levels);
            let known = level + 1 < self.levels;
            let level_id = if known { level as u8 } else { NO_LEVEL };
            ((NONE, time_bin as u16, latency_bin as u8, level_id), n)
        });
        let maps = self.maps.iter().zip(0..).flat_map(|(cells, time_bin)| {
            let cells = cells.iter();
            cells.map(move |(&(map, latency, level), &n)| ((map, time_bin, latency, level), n))
        });
        elsewhere.chain(maps).collect()
    }
}

/// The sums over a part of the samples.
#[derive(Default)]
struct Partial {
    groups: Sums<Key, Group>,
    cells: CellSums,
    outside: Sums<OutsideCell, Counts>,
    latency: Cube,
    levels: Sums<LevelKey, Group>,
    heat: Vec<u32>,
    accesses: Vec<Piece>,
}

/// The accesses to maps, and all others, among samples that follow each other.
#[derive(Default)]
struct Piece {
    first: usize,
    in_maps: Bits,
    elsewhere: Bits,
}

impl Piece {
    fn of(first: usize) -> Piece {
        Piece {
            first,
            ..Piece::default()
        }
    }
}

impl Partial {
    /// With the sums over other samples.
    fn merge(mut self, other: Partial) -> Partial {
        for (a, b) in self.heat.iter_mut().zip(&other.heat) {
            *a += b;
        }
        self.accesses.extend(other.accesses);
        Partial {
            groups: self.groups.merge(other.groups, Group::merge),
            cells: self.cells.merge(other.cells),
            outside: self.outside.merge(other.outside, Counts::merge),
            latency: self.latency.merge(other.latency),
            levels: self.levels.merge(other.levels, Group::merge),
            heat: self.heat,
            accesses: self.accesses,
        }
    }

    fn finish(mut self, cells: Cells) -> Totals {
        let (mut in_maps, mut elsewhere) = (Bits::default(), Bits::default());
        self.accesses.sort_unstable_by_key(|piece| piece.first);
        for piece in self.accesses {
            in_maps.append(piece.in_maps);
            elsewhere.append(piece.elsewhere);
        }
        Totals {
            groups: self.groups.finish(),
            cells: self.cells.finish(cells),
            outside: self.outside.finish(),
            latency: self.latency.cells(),
            levels: self.levels.finish(),
            heat: self.heat,
            in_maps,
            elsewhere,
        }
    }
}

/// Latencies whose bin is looked up.
const USUAL: u32 = 1 << 12;

/// Adds up all samples.
pub fn totals(rows: &Rows, kinds: &Kinds, time: &TimeAxis) -> Totals {
    let cells = Cells::of(rows.attribution.hits.all(), &rows.attribution.arrays);
    let bins: Vec<u8> = (0..USUAL).map(latency_bin).collect();
    let pieces = Pieces::of(rows.len(), PIECE);
    let some = |pieces: &Pieces| some_of_the_samples(rows, kinds, time, (&cells, &bins), pieces);
    let totals = pieces.each_thread(some).reduce_with(Partial::merge);
    totals.map_or_else(Totals::default, |totals| totals.finish(cells))
}

/// Samples that are looked at together, one question after the other: what is asked of them stays in a core's
/// own cache, and it does not wait for the answer on one to ask for the next.
const BATCH: usize = 1 << 11;

/// Samples that a thread takes at a time.
const PIECE: usize = 1 << 16;

/// What is known of the samples of a batch, by their number in it.
#[derive(Default)]
struct Batch<'a> {
    places: Vec<u32>,
    parts: Vec<Result<Part, Reason>>,
    times: Vec<u64>,
    /// `None`: no access.
    kinds: Vec<Option<&'a Kind>>,
    latencies: Vec<Option<u32>>,
    bins: Vec<Option<u16>>,
    hits: ReadHits,
    /// Those that have a latency. A question that half of them answer with yes is asked once: guessing the
    /// answer, a core would throw away what it began to fetch for the next ones.
    timed: Vec<(usize, &'a Kind, u32)>,
    /// The number of what each is counted under, and its map.
    groups: Vec<u32>,
    maps: Vec<u32>,
    /// Those whose slot is known.
    slotted: Vec<bool>,
    instances: Vec<(usize, u64)>,
    events: Vec<u16>,
    sources: Vec<u32>,
    weights: Vec<u64>,
}

impl<'a> Batch<'a> {
    fn read(&mut self, rows: &Rows, kinds: &'a Kinds, samples: Range<usize>) {
        let (columns, len) = (rows.samples, samples.len());
        let places = &rows.attribution.place;
        places.read(samples.clone(), &mut self.places);
        self.places.resize(len, NONE);
        rows.parts(samples.clone(), &mut self.parts);
        columns.event.read(samples.clone(), &mut self.events);
        let sources = &columns.data_src.ids;
        sources.read(samples.clone(), &mut self.sources);
        columns.weight.read(samples.clone(), &mut self.weights);
        columns.time.read(samples.clone(), &mut self.times);
        rows.attribution.hits.read(samples.clone(), &mut self.hits);
        rows.instances(samples, &mut self.instances);
        self.kinds.clear();
        self.latencies.clear();
        self.timed.clear();
        for (i, part) in self.parts.iter().enumerate() {
            let event = self.events.get(i).map_or(usize::MAX, |&e| e.into());
            let source = self.sources.get(i).copied();
            let kind = kinds.kind(event, source.filter(|_| rows.samples_data_src(event)));
            let weight = self.weights.get(i).copied();
            let weight = weight.filter(|_| rows.samples_weight(event));
            let is_access = *part != Err(Reason::NotAnAccess);
            self.kinds.push(is_access.then_some(kind));
            let latency = kinds.latency(event, kind, weight);
            let latency = latency.filter(|_| is_access);
            self.latencies.push(latency);
            self.timed.extend(latency.map(|cycles| (i, kind, cycles)));
        }
    }

    fn counted(&self) -> impl Iterator<Item = Counted> + '_ {
        let accesses = self.kinds.iter().zip(&self.latencies);
        let groups = self.groups.iter().zip(&self.slotted);
        let all = groups.zip(accesses);
        all.map(|((&group, &slotted), (&kind, &latency))| {
            Counted::new(group, kind, latency, slotted)
        })
    }

    /// Puts the samples' times into bins.
    fn bin(&mut self, rows: &Rows, time: &TimeAxis, here: &mut TimeBin) {
        self.bins.clear();
        let events = self.events.iter().map(|&event| event.into());
        let times = self.times.iter().zip(events);
        let bins = times.map(|(&at, event)| {
            let sampled = rows.samples_time(event);
            sampled.then(|| here.of(at, time))?
        });
        self.bins.extend(bins);
    }
}

/// Adds up the samples of the pieces that there are left.
fn some_of_the_samples(
    rows: &Rows,
    kinds: &Kinds,
    time: &TimeAxis,
    (cells, latency_bins): (&Cells, &[u8]),
    pieces: &Pieces,
) -> Partial {
    let mut totals = Partial {
        heat: vec![0; HEAT_SLOTS],
        latency: Cube::new(kinds),
        ..Partial::default()
    };
    // By place: what most samples there that are of no map are counted under.
    let mut of_places = vec![None; rows.attribution.places.len()];
    // By hit: what the last sample that hit it is counted under.
    let mut of_hits = vec![NONE; rows.attribution.hits.all().len()];
    let mut levels = Recent::default();
    let mut here = TimeBin::default();
    let mut batch = Batch::default();
    let mut gathered = Gathered::default();
    while let Some(piece) = pieces.take() {
        totals.accesses.push(Piece::of(piece.start));
        for first in piece.clone().step_by(BATCH) {
            batch.read(rows, kinds, first..piece.end.min(first + BATCH));
            batch.bin(rows, time, &mut here);
            totals.find_groups(&mut batch, first, &mut of_places, &mut of_hits);
            totals.count_latencies(&batch, latency_bins);
            totals.count_bytes(&batch, first, cells);
            gathered.samples.extend(batch.counted());
        }
        if gathered.samples.len() >= GATHERED {
            totals.count(&mut gathered, kinds, &mut levels);
        }
    }
    totals.count(&mut gathered, kinds, &mut levels);
    totals
}

impl Partial {
    /// Finds what the samples of a batch are counted under, of which `first` is the first.
    fn find_groups(
        &mut self,
        batch: &mut Batch,
        first: usize,
        of_places: &mut [Option<(Result<Part, Reason>, u32)>],
        of_hits: &mut [u32],
    ) {
        let len = batch.parts.len();
        for ids in [&mut batch.groups, &mut batch.maps] {
            ids.clear();
            ids.resize(len, NONE);
        }
        batch.slotted.clear();
        batch.slotted.resize(len, false);
        let hits = batch.hits.hits().iter().zip(batch.hits.numbers());
        for (at, (hit, &number)) in batch.hits.samples.iter().zip(hits) {
            let i = at - first;
            let (Some(&part), Some(&place)) = (batch.parts.get(i), batch.places.get(i)) else {
                continue;
            };
            batch.slotted[i] = hit.slot().is_some();
            if (hit.map, hit.evidence) == (NONE, Evidence::None) {
                continue;
            }
            let known = &mut of_hits[number as usize];
            let of_last = self.groups.keys.get(*known as usize);
            if of_last.is_none_or(|key| (key.place, key.part) != (place, part)) {
                *known = self.groups.id_of(Key {
                    map: hit.map,
                    place,
                    part,
                    evidence: hit.evidence,
                });
            }
            batch.groups[i] = *known;
            batch.maps[i] = hit.map;
        }
        let samples = batch.parts.iter().zip(&batch.places);
        for ((&part, &place), id) in samples.zip(&mut batch.groups) {
            if *id != NONE {
                continue;
            }
            let known = of_places.get_mut(place as usize);
            *id = match known {
                Some(Some((of, id))) if *of == part => *id,
                known => {
                    let id = self.groups.id_of(Key {
                        map: NONE,
                        place,
                        part,
                        evidence: Evidence::None,
                    });
                    if let Some(known) = known {
                        *known = Some((part, id));
                    }
                    id
                }
            };
        }
        let kinds = batch.kinds.chunks(Bits::WORD);
        for (kinds, maps) in kinds.zip(batch.maps.chunks(Bits::WORD)) {
            let (mut accesses, mut in_maps) = (0, 0);
            for (i, (kind, map)) in kinds.iter().zip(maps).enumerate() {
                accesses |= u64::from(kind.is_some()) << i;
                in_maps |= u64::from(*map != NONE) << i;
            }
            if let Some(piece) = self.accesses.last_mut() {
                piece.in_maps.push(accesses & in_maps);
                piece.elsewhere.push(accesses & !in_maps);
            }
        }
    }

    /// Counts samples under their groups, and loads under their levels. `levels`: the numbers of those counted
    /// last.
    fn count(
        &mut self,
        gathered: &mut Gathered,
        kinds: &Kinds,
        levels: &mut Recent<LevelKey, u32>,
    ) {
        for sample in gathered.sorted(self.groups.sums.len()) {
            let group = &mut self.groups.sums[sample.group as usize];
            group.rows += 1;
            let Some(kind) = sample.kind(kinds) else {
                continue;
            };
            let latency = sample.latency();
            group.slotted += u32::from(sample.is_slotted());
            group.add(kind, latency);
            if kind.counts.loads > 0 {
                let key = (self.groups.keys[sample.group as usize].map, kind.level_id);
                let id = levels.get((key.0, key.1.into()), key, || self.levels.id_of(key));
                let loads = &mut self.levels.sums[id as usize];
                loads.rows += 1;
                loads.add(kind, latency);
            }
        }
    }

    /// The latency cube.
    fn count_latencies(&mut self, batch: &Batch, latency_bins: &[u8]) {
        for &(i, kind, cycles) in &batch.timed {
            let Some(&Some(bin)) = batch.bins.get(i) else {
                continue;
            };
            let usual = latency_bins.get(cycles as usize).copied();
            let latency_bin = usual.unwrap_or_else(|| latency_bin(cycles));
            let cell = (batch.maps[i], bin, latency_bin, kind.level_id);
            self.latency.add(cell);
        }
    }

    /// What is known of where in a structure the samples hit.
    fn count_bytes(&mut self, batch: &Batch, first: usize, cells: &Cells) {
        let hits = batch.hits.hits().iter().zip(batch.hits.numbers());
        for (at, (hit, &number)) in batch.hits.samples.iter().zip(hits) {
            let i = at - first;
            let (Some(Some(kind)), Some(latency)) = (batch.kinds.get(i), batch.latencies.get(i))
            else {
                continue;
            };
            let Some(off) = hit.off() else { continue };
            if let Some(Ok(part @ (Part::IndirectKey | Part::IndirectElem))) = batch.parts.get(i) {
                let in_pair = hit.base().map_or(NOWHERE, |base| (base % PAIR) as u8);
                let cell = (hit.map, *part, in_pair, off);
                let sum = self.outside.of(cell);
                sum.add(&kind.counts, *latency);
            } else if let Some(cell) = cells.of_hit(number) {
                self.cells.of(cell).add(&kind.counts, *latency);
            }
        }
        for (_, instance) in &batch.instances {
            self.heat[heat_slot(*instance)] += 1;
        }
    }
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
        rows.times()
            .map_or_else(TimeAxis::default, |(first, last)| TimeAxis {
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
