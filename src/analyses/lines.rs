//! Cache lines that more than one CPU uses: who reads and writes which of their bytes, and whether
//! that is one datum or several that only lie side by side.

use super::touch::{Decoded, decoded};
use crate::attribute::{Attribution, NONE};
use crate::data_src::{DataSrc, Level, Op, c2c::Stats};
use crate::gomap::Part;
use crate::recording::{Event, Mapped, Memory, Node, PerKind, Pieces, Recording, nodes_of};
use perf_event_open_sys::bindings as sys;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The bytes that are looked at together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A line of 64 bytes.
    Line,
    /// Two lines that are neighbours: what the spatial prefetcher of Intel's L2 fetches together.
    DoubleLine,
}

impl Unit {
    pub fn bytes(self) -> u64 {
        match self {
            Unit::Line => 64,
            Unit::DoubleLine => 128,
        }
    }
}

/// Why a line moves between CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// The very word is written by one CPU and used by another.
    SameWord,
    /// One CPU writes one word of a map, another uses another word of the same map.
    WithinMap,
    /// ... of another map.
    BetweenMaps,
    /// ... of a map, and of one of the two it is not known which.
    UnknownMaps,
    /// A map and other memory.
    MapAndOther,
    /// No map has part in it.
    OtherMemory,
    /// No store of another CPU to the line was sampled.
    WriterUnknown,
}

impl Sharing {
    pub const ALL: [Sharing; 7] = [
        Sharing::SameWord,
        Sharing::WithinMap,
        Sharing::BetweenMaps,
        Sharing::UnknownMaps,
        Sharing::MapAndOther,
        Sharing::OtherMemory,
        Sharing::WriterUnknown,
    ];

    pub fn text(self) -> &'static str {
        match self {
            Sharing::SameWord => "true sharing: one word",
            Sharing::WithinMap => "false sharing: words of one map",
            Sharing::BetweenMaps => "false sharing: two maps",
            Sharing::UnknownMaps => "false sharing: words of maps that are not told apart",
            Sharing::MapAndOther => "false sharing: a map and other memory",
            Sharing::OtherMemory => "false sharing: other memory",
            Sharing::WriterUnknown => "no store of another CPU sampled",
        }
    }
}

/// Latencies of one kind of samples, in the unit of the PMU (cycles).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Mean {
    pub samples: u64,
    pub sum: u64,
}

impl Mean {
    fn add(&mut self, latency: u64) {
        self.samples += 1;
        self.sum = self.sum.saturating_add(latency);
    }

    /// `None` without samples.
    pub fn mean(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.sum as f64 / self.samples as f64)
    }
}

/// The accesses of one instruction to one byte of a line.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Entry {
    /// Bytes from the start of the line.
    pub offset: u64,
    /// Index into [`Attribution::places`].
    pub place: u32,
    /// Index into [`Attribution::maps`], or [`NONE`].
    pub map: u32,
    /// `hmap.flags`, `bmap.tophash[3]`; `None` where it is no part of a map, or not known.
    pub part: Option<String>,
    pub stats: Stats,
    /// As perf means them: loads that hit a line modified in a remote, in a local cache, and others.
    pub remote_hitm: Mean,
    pub local_hitm: Mean,
    pub load: Mean,
    pub readers: BTreeSet<u16>,
    pub writers: BTreeSet<u16>,
    /// NUMA nodes of the CPUs; `None` where the recording does not name the node of each.
    pub reader_nodes: Option<BTreeSet<u32>>,
    pub writer_nodes: Option<BTreeSet<u32>>,
    pub threads: BTreeSet<i32>,
    #[serde(skip)]
    hitm: BTreeMap<u16, u64>,
    #[serde(skip)]
    in_map: bool,
    /// Bytes that the instruction accesses; `None` where it was not decoded.
    #[serde(skip)]
    width: Option<u8>,
}

impl Entry {
    pub fn cpus(&self) -> usize {
        self.readers.union(&self.writers).count()
    }

    /// Nodes that it is used from; `None` where they are not known.
    pub fn nodes(&self) -> Option<BTreeSet<u32>> {
        let (readers, writers) = (self.reader_nodes.as_ref()?, self.writer_nodes.as_ref()?);
        Some(readers | writers)
    }

    /// The words of the line that it accesses, from the first to the last.
    fn words(&self) -> (u64, u64) {
        let last = u64::from(self.width.unwrap_or(1).max(1)) - 1;
        (self.offset / WORD, (self.offset + last) / WORD)
    }

    fn shares_word(&self, other: &Entry) -> bool {
        let ((first, last), (begin, end)) = (self.words(), other.words());
        first <= end && begin <= last
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub address: u64,
    /// -1: the kernel's.
    pub pid: i32,
    pub stats: Stats,
    pub readers: BTreeSet<u16>,
    pub writers: BTreeSet<u16>,
    /// As in [`Entry`].
    pub reader_nodes: Option<BTreeSet<u32>>,
    pub writer_nodes: Option<BTreeSet<u32>>,
    pub threads: BTreeSet<i32>,
    /// What most of the loads that found it modified elsewhere speak for, or, where the PMU tells no such
    /// loads, its stores; `None`: used by one CPU, or not written.
    pub sharing: Option<Sharing>,
    /// For each kind: the loads that found the line modified by another CPU.
    pub evidence: Vec<(Sharing, u64)>,
    /// By offset, then by samples.
    pub entries: Vec<Entry>,
}

/// What all lines of a recording have in common, and the shared ones.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Lines {
    /// Of all samples.
    pub totals: Stats,
    /// Of the lines that a load found modified in another cache, as perf means "shared".
    pub shared: Stats,
    pub shared_lines: u64,
    /// The shared ones, those with most such loads first.
    pub lines: Vec<Line>,
    /// The PMU tells which loads found a line modified elsewhere.
    pub tells_hitm: bool,
    /// Every sample says which CPU it is of; else all count as of CPU 0, as perf has it.
    pub tells_cpu: bool,
}

/// `PERF_RECORD_MISC_GUEST_KERNEL` and `_USER`.
const GUEST: [u8; 2] = [4, 5];

/// Samples that one thread counts at a time.
const PIECE: usize = 1 << 15;

/// Lines that are written by one CPU and used by another are kept where the PMU tells no HITM: so many.
const MOST_WRITTEN: usize = 10_000;

/// The lines that CPUs share, as far as the first `most` samples of the file tell.
pub fn lines(recording: &Recording, attribution: &Attribution, unit: Unit, most: usize) -> Lines {
    let samples = Samples {
        recording,
        attribution,
        kinds: recording.per_kind(Kind::of),
        decoded: decoded(&attribution.places),
        mask: !(unit.bytes() - 1),
        len: recording.samples.len().min(most),
    };
    let pieces = || Pieces::of(samples.len, PIECE);
    let first_look = |found: &mut _, piece| samples.first_look(piece, found);
    let looks = pieces().fold(Default::default, first_look);
    let (totals, moved) = looks.into_par_iter().reduce(
        || (Stats::default(), FxHashSet::default()),
        |(mut totals, mut all), (stats, moved)| {
            totals.merge(&stats);
            all.extend(moved);
            (totals, all)
        },
    );
    let tells_hitm = !moved.is_empty();
    let wanted = if tells_hitm {
        moved
    } else {
        samples.written_and_used()
    };
    let collect = |lines: &mut _, piece| samples.collect(piece, &wanted, lines);
    let found = pieces().fold(FxHashMap::default, collect);
    let found = found.into_par_iter().reduce(FxHashMap::default, |a, b| {
        let (mut all, fewer) = if a.len() < b.len() { (b, a) } else { (a, b) };
        for (key, line) in fewer {
            all.entry(key).or_default().merge(line);
        }
        all
    });
    let tells_cpu = recording.events.iter().all(|event| {
        let samples_cpu = event.sample_type & u64::from(sys::PERF_SAMPLE_CPU) != 0;
        samples_cpu || event.samples == 0 || event.memory == Memory::No
    });
    let nodes = match tells_cpu {
        true => recording.meta.nodes.as_slice(),
        false => &[],
    };
    let mut lines: Vec<Line> = found
        .into_par_iter()
        .map(|((pid, address), line)| line.finish(pid, address, nodes))
        .filter(|line| tells_hitm || line.sharing.is_some())
        .collect();
    lines.sort_unstable_by_key(|line| {
        let stats = &line.stats;
        let most = (stats.hitm() + stats.peer(), stats.records);
        (std::cmp::Reverse(most), line.address, line.pid)
    });
    let mut shared = Stats::default();
    let modified = lines.iter().filter(|line| line.stats.hitm() > 0);
    let shared_lines = modified.clone().count() as u64;
    modified.for_each(|line| shared.merge(&line.stats));
    Lines {
        totals,
        shared,
        shared_lines,
        lines,
        tells_hitm,
        tells_cpu,
    }
}

/// What the event and the `data_src` of a memory event's sample say.
#[derive(Debug, Clone, Copy)]
struct Kind {
    op: Option<Op>,
    level: Option<Level>,
}

impl Kind {
    fn of(event: &Event, data_src: Option<DataSrc>) -> Option<Kind> {
        let access = event.access(data_src.unwrap_or(DataSrc(0)), None);
        (event.memory != Memory::No).then_some(Kind {
            op: access.op,
            level: access.level,
        })
    }

    fn is_store(self) -> bool {
        self.op.is_some_and(Op::is_store)
    }
}

struct Samples<'a> {
    recording: &'a Recording,
    attribution: &'a Attribution,
    kinds: PerKind<'a, Option<Kind>>,
    /// By place.
    decoded: Vec<Decoded>,
    mask: u64,
    /// Samples that are looked at.
    len: usize,
}

/// One sample, as far as lines are concerned.
struct Use {
    kind: Kind,
    pid: i32,
    tid: i32,
    cpu: u16,
    addr: u64,
    data_src: DataSrc,
}

impl Samples<'_> {
    fn of(&self, i: usize) -> Option<Use> {
        let samples = &self.recording.samples;
        let kind = self.kinds.get(i)??;
        let (pid, tid) = samples.thread.get(i).unwrap_or((-1, -1));
        Some(Use {
            kind,
            pid,
            tid,
            cpu: samples.cpu.get(i).unwrap_or(0),
            addr: samples.addr.get(i).unwrap_or(0),
            data_src: DataSrc(samples.data_src.get(i).unwrap_or(0)),
        })
    }

    fn look(&self) -> Look<'_> {
        let mapped = || self.recording.space.in_order();
        Look {
            recording: self.recording,
            data: mapped(),
            code: mapped(),
        }
    }

    fn latency(&self, i: usize, kind: Kind) -> Option<u64> {
        let weight = self.recording.samples.weight.get(i);
        let event = self.recording.event(i)?;
        event.latency(kind.op, kind.level, weight).map(u64::from)
    }

    /// Process and address of the line. The kernel's half of the addresses is the same in every process.
    fn line(&self, pid: i32, addr: u64) -> (i32, u64) {
        let pid = if addr >> 63 == 1 { -1 } else { pid };
        (pid, addr & self.mask)
    }

    /// Adds up samples, and adds the lines that a load found in another cache.
    fn first_look(
        &self,
        range: std::ops::Range<usize>,
        (totals, moved): &mut (Stats, FxHashSet<(i32, u64)>),
    ) {
        let mut look = self.look();
        for (i, used) in range.filter_map(|i| Some((i, self.of(i)?))) {
            let elsewhere = |totals: &Stats| totals.hitm() + totals.peer();
            let before = elsewhere(totals);
            look.count(i, &used, totals);
            if elsewhere(totals) > before {
                moved.insert(self.line(used.pid, used.addr));
            }
        }
    }

    /// Where no sample tells: the lines that one CPU stores to and another one uses.
    fn written_and_used(&self) -> FxHashSet<(i32, u64)> {
        let mut by_line: FxHashMap<(i32, u64), (u16, bool, bool)> = FxHashMap::default();
        for used in (0..self.len).filter_map(|i| self.of(i)) {
            if used.addr == 0 {
                continue;
            }
            let line = by_line
                .entry(self.line(used.pid, used.addr))
                .or_insert((used.cpu, false, false));
            line.1 |= used.kind.is_store();
            line.2 |= line.0 != used.cpu;
        }
        let shared = by_line
            .into_iter()
            .filter(|(_, (_, stored, several))| *stored && *several);
        let mut shared: Vec<(i32, u64)> = shared.map(|(key, _)| key).collect();
        shared.sort_unstable();
        shared.truncate(MOST_WRITTEN);
        shared.into_iter().collect()
    }

    fn collect(
        &self,
        range: std::ops::Range<usize>,
        wanted: &FxHashSet<(i32, u64)>,
        lines: &mut FxHashMap<(i32, u64), Building>,
    ) {
        let mut look = self.look();
        for (i, used) in range.filter_map(|i| Some((i, self.of(i)?))) {
            let addr = used.addr;
            let key = self.line(used.pid, addr);
            if addr == 0 || !wanted.contains(&key) {
                continue;
            }
            let part = self.attribution.part.get(i).and_then(|part| part.ok());
            let hit = self.attribution.hit(i);
            let entry = EntryKey {
                offset: addr & !self.mask,
                place: self.attribution.place.get(i).unwrap_or(NONE),
                map: hit.map,
                part: part.map(|part| (part, hit.slot)),
            };
            let mut stats = Stats::default();
            look.count(i, &used, &mut stats);
            let latency = self.latency(i, used.kind);
            let decoded = self.decoded.get(entry.place as usize);
            let width = decoded.and_then(|decoded| decoded.width);
            let line = lines.entry(key).or_default();
            line.add(entry, (&used, stats), latency, width);
        }
    }
}

/// Samples that are counted one after the other.
struct Look<'a> {
    recording: &'a Recording,
    data: Mapped<'a>,
    code: Mapped<'a>,
}

impl Look<'_> {
    /// Adds sample `i`, of which this is what is known.
    fn count(&mut self, i: usize, used: &Use, stats: &mut Stats) {
        let samples = &self.recording.samples;
        let mut mapped = || {
            let time = samples.time.get(i).unwrap_or(0);
            let ip = samples.ip.get(i).unwrap_or(0);
            // Nothing of a virtual machine's memory is mapped in the process that runs it.
            let mode = samples.cpumode.get(i);
            let guest = mode.is_some_and(|mode| GUEST.contains(&mode));
            !guest && self.data.is(used.pid, used.addr, time) && self.code.is(used.pid, ip, time)
        };
        stats.count(used.data_src, used.addr, used.addr == 0 || mapped());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct EntryKey {
    offset: u64,
    place: u32,
    map: u32,
    part: Option<(Part, i8)>,
}

#[derive(Default)]
struct Building {
    entries: FxHashMap<EntryKey, Entry>,
}

impl Building {
    fn add(
        &mut self,
        key: EntryKey,
        (used, stats): (&Use, Stats),
        latency: Option<u64>,
        width: Option<u8>,
    ) {
        let entry = self.entries.entry(key).or_default();
        entry.width = width;
        entry.stats.merge(&stats);
        entry.in_map = key.part.is_some();
        let stored = used.kind.is_store();
        if stored {
            entry.writers.insert(used.cpu);
        }
        if !stored || used.data_src.op().is_some_and(|op| op.is_load()) {
            entry.readers.insert(used.cpu);
        }
        entry.threads.insert(used.tid);
        if stats.hitm() > 0 {
            *entry.hitm.entry(used.cpu).or_default() += 1;
        }
        if let Some(latency) = latency {
            let mean = if stats.remote_hitm > 0 {
                Some(&mut entry.remote_hitm)
            } else if stats.local_hitm > 0 {
                Some(&mut entry.local_hitm)
            } else {
                (stats.loads > 0).then_some(&mut entry.load)
            };
            mean.into_iter().for_each(|mean| mean.add(latency));
        }
    }

    fn merge(&mut self, other: Building) {
        for (key, from) in other.entries {
            let to = self.entries.entry(key).or_default();
            to.stats.merge(&from.stats);
            to.in_map = from.in_map;
            to.width = from.width;
            to.readers.extend(from.readers);
            to.writers.extend(from.writers);
            to.threads.extend(from.threads);
            for (cpu, n) in from.hitm {
                *to.hitm.entry(cpu).or_default() += n;
            }
            for (to, from) in [
                (&mut to.remote_hitm, from.remote_hitm),
                (&mut to.local_hitm, from.local_hitm),
                (&mut to.load, from.load),
            ] {
                to.samples += from.samples;
                to.sum = to.sum.saturating_add(from.sum);
            }
        }
    }

    fn finish(self, pid: i32, address: u64, nodes: &[Node]) -> Line {
        let mut entries: Vec<(EntryKey, Entry)> = self.entries.into_iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let mut line = Line {
            address,
            pid,
            stats: Stats::default(),
            readers: BTreeSet::new(),
            writers: BTreeSet::new(),
            reader_nodes: None,
            writer_nodes: None,
            threads: BTreeSet::new(),
            sharing: None,
            evidence: Vec::new(),
            entries: Vec::new(),
        };
        let of = |cpus: &BTreeSet<u16>| nodes_of(nodes, cpus.iter().copied().map(u32::from));
        for (key, mut entry) in entries {
            entry.reader_nodes = of(&entry.readers);
            entry.writer_nodes = of(&entry.writers);
            entry.offset = key.offset;
            entry.place = key.place;
            entry.map = key.map;
            entry.part = key.part.map(|(part, slot)| part_name(part, slot));
            line.stats.merge(&entry.stats);
            line.readers.extend(&entry.readers);
            line.writers.extend(&entry.writers);
            line.threads.extend(&entry.threads);
            line.entries.push(entry);
        }
        line.reader_nodes = of(&line.readers);
        line.writer_nodes = of(&line.writers);
        let by_offset = |e: &Entry| (e.offset, std::cmp::Reverse(e.stats.records), e.place);
        line.entries.sort_by_key(by_offset);
        (line.sharing, line.evidence) = sharing(&line.entries);
        line
    }
}

/// `bmap.tophash[3]`, `hmap.flags`.
pub fn part_name(part: Part, slot: i8) -> String {
    match slot {
        0.. => format!("{}[{slot}]", part.name()),
        _ => part.name().to_owned(),
    }
}

/// One access to a line, as far as [`Sharing`] asks.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// Bytes from the start of the line, and how many are accessed where that is known.
    pub offset: u64,
    pub width: Option<u8>,
    pub cpu: u16,
    pub map: Option<u32>,
    /// It is to a part of a map, known or not.
    pub in_map: bool,
    pub loads: bool,
    pub stores: bool,
    /// It found the line modified by another CPU.
    pub hitm: bool,
}

/// What the accesses to a line speak for; `None`: used by one CPU, or not written.
pub fn sharing_of(accesses: impl Iterator<Item = Used>) -> Option<Sharing> {
    let mut entries: BTreeMap<(u64, Option<u8>, Option<u32>, bool), Entry> = BTreeMap::new();
    for used in accesses {
        let key = (used.offset, used.width, used.map, used.in_map);
        let entry = entries.entry(key).or_insert_with(|| Entry {
            offset: used.offset,
            map: used.map.unwrap_or(NONE),
            in_map: used.in_map,
            width: used.width,
            ..Entry::default()
        });
        entry.stats.records += 1;
        if used.stores {
            entry.writers.insert(used.cpu);
        }
        if used.loads || !used.stores {
            entry.readers.insert(used.cpu);
        }
        if used.hitm {
            *entry.hitm.entry(used.cpu).or_default() += 1;
        }
    }
    sharing(&entries.into_values().collect::<Vec<_>>()).0
}

/// Bytes of a word: of an instruction that was not decoded it is not known whether it accesses more.
const WORD: u64 = 8;

/// What the uses of a line speak for, and how many loads that found it modified do so.
fn sharing(entries: &[Entry]) -> (Option<Sharing>, Vec<(Sharing, u64)>) {
    let told = entries.iter().any(|entry| !entry.hitm.is_empty());
    let mut votes: BTreeMap<Sharing, u64> = BTreeMap::new();
    for used in entries {
        if told {
            for (cpu, n) in &used.hitm {
                *votes.entry(kind(used, *cpu, entries)).or_default() += n;
            }
        } else {
            for cpu in used.readers.union(&used.writers) {
                let kind = kind(used, *cpu, entries);
                if kind != Sharing::WriterUnknown {
                    *votes.entry(kind).or_default() += used.stats.records.max(1);
                }
            }
        }
    }
    let most = votes
        .iter()
        .max_by_key(|(kind, n)| (**n, std::cmp::Reverse(**kind)));
    let sharing = most.map(|(kind, _)| *kind);
    let evidence = if told {
        votes.into_iter().collect()
    } else {
        Vec::new()
    };
    (sharing, evidence)
}

/// What an access by this CPU shares with the stores of others: of several the nearest.
fn kind(used: &Entry, cpu: u16, entries: &[Entry]) -> Sharing {
    let others = entries
        .iter()
        .filter(|e| e.writers.iter().any(|w| *w != cpu));
    let kinds = others.map(|store| match (used.in_map, store.in_map) {
        _ if used.shares_word(store) => Sharing::SameWord,
        (true, true) if NONE == used.map || NONE == store.map => Sharing::UnknownMaps,
        (true, true) if used.map == store.map => Sharing::WithinMap,
        (true, true) => Sharing::BetweenMaps,
        (false, false) => Sharing::OtherMemory,
        _ => Sharing::MapAndOther,
    });
    kinds.min().unwrap_or(Sharing::WriterUnknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(
        offset: u64,
        map: u32,
        readers: &[u16],
        writers: &[u16],
        hitm: &[(u16, u64)],
    ) -> Entry {
        Entry {
            offset,
            map,
            in_map: map != NONE,
            readers: readers.iter().copied().collect(),
            writers: writers.iter().copied().collect(),
            hitm: hitm.iter().copied().collect(),
            ..Entry::default()
        }
    }

    #[test]
    fn sharing_is_told_by_word_and_map() {
        // CPU 1 loads the word that CPU 0 stores to; that it stores there itself is no sharing.
        let word = [entry(8, 0, &[1], &[0, 1], &[(1, 5)])];
        assert_eq!(
            sharing(&word),
            (Some(Sharing::SameWord), vec![(Sharing::SameWord, 5)])
        );
        // hmap.count is stored by CPU 0, hmap.buckets loaded by CPU 1.
        let header = [
            entry(0, 0, &[], &[0], &[]),
            entry(16, 0, &[1], &[], &[(1, 3)]),
        ];
        assert_eq!(sharing(&header).0, Some(Sharing::WithinMap));
        let maps = [
            entry(0, 0, &[], &[0], &[]),
            entry(48, 1, &[1], &[], &[(1, 3)]),
        ];
        assert_eq!(sharing(&maps).0, Some(Sharing::BetweenMaps));
        let lock = [
            entry(0, NONE, &[], &[0], &[]),
            entry(8, 0, &[1], &[], &[(1, 3)]),
        ];
        assert_eq!(sharing(&lock).0, Some(Sharing::MapAndOther));
        // Parts of maps that registers would tell apart, here or there.
        let part = |map, offset, writers: &[u16], hitm: &[(u16, u64)]| Entry {
            in_map: true,
            ..entry(offset, map, &[1], writers, hitm)
        };
        for map in [NONE, 0] {
            let maps = [part(NONE, 0, &[0], &[]), part(map, 48, &[], &[(1, 3)])];
            assert_eq!(sharing(&maps).0, Some(Sharing::UnknownMaps));
        }
        // The store of a string's two words at 0, the load of its length at 8.
        let wide = Entry {
            width: Some(16),
            ..entry(0, 0, &[], &[0], &[])
        };
        let string = [wide, entry(8, 0, &[1], &[], &[(1, 3)])];
        assert_eq!(sharing(&string).0, Some(Sharing::SameWord));
        let other = [
            entry(0, NONE, &[], &[0], &[]),
            entry(8, NONE, &[1], &[], &[(1, 3)]),
        ];
        assert_eq!(sharing(&other).0, Some(Sharing::OtherMemory));
        // Its own stores only.
        let own = [
            entry(0, 0, &[], &[1], &[]),
            entry(8, 0, &[1], &[], &[(1, 3)]),
        ];
        assert_eq!(
            sharing(&own),
            (
                Some(Sharing::WriterUnknown),
                vec![(Sharing::WriterUnknown, 3)]
            )
        );
    }

    #[test]
    fn of_several_writers_the_nearest_counts_and_the_most_loads_decide() {
        // CPU 2 loads 8 (stored by CPU 0): 2 loads; CPU 1 loads 24, nobody stores there, but CPU 0
        // stores to 8 of the same map: 7 loads.
        let line = [
            entry(8, 0, &[2], &[0], &[(2, 2)]),
            entry(24, 0, &[1], &[], &[(1, 7)]),
        ];
        let votes = vec![(Sharing::SameWord, 2), (Sharing::WithinMap, 7)];
        assert_eq!(sharing(&line), (Some(Sharing::WithinMap), votes));
    }

    #[test]
    fn without_hitm_who_stores_and_who_loads_decides() {
        let exact = [entry(0, 0, &[0, 1], &[0], &[])];
        assert_eq!(sharing(&exact), (Some(Sharing::SameWord), Vec::new()));
        let alone = [entry(0, 0, &[0], &[0], &[]), entry(8, 0, &[1], &[1], &[])];
        assert_eq!(sharing(&alone).0, Some(Sharing::WithinMap));
        assert_eq!(sharing(&[entry(0, 0, &[0], &[0], &[])]).0, None);
    }
}
