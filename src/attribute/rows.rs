//! The rows: what is known of each sample that may touch a map, and why the others do not.

use super::Reason;
use super::binary::Code;
use super::chains::{Aboves, ChainSites, LeafTargets, above_of, leaf_of, stores};
use super::packed::{CHUNK, Own, Packed};
use super::pages::Pages;
use super::places::Places;
use super::resolve::{Context, Fact, Row, resolve, without_registers};
use super::spaces::{Spaces, marked};
use super::types::Types;
use crate::data_src::DataSrc;
use crate::recording::{Event, Memory, PerKind, Recording};
use rayon::prelude::*;
use rustc_hash::FxHashSet;
use std::ops::Range;

/// One row, or one reason, a sample; most samples of a program are of no map and need no more.
#[derive(Debug)]
pub struct Rows<'a> {
    recording: &'a Recording,
    /// Why a sample has no row.
    pub reasons: Vec<Option<Reason>>,
    /// Chunk by chunk of [`CHUNK`] samples, which one thread works on at a time, in order of samples.
    pub chunks: Vec<Packed>,
    watch: Option<usize>,
    spaces: &'a Spaces,
}

impl<'a> Rows<'a> {
    /// Resolves every sample by itself; sample `watch` gets a row in any case. What they say of other objects
    /// stays in chunks.
    pub fn resolve(
        recording: &'a Recording,
        places: &Places,
        (chains, leaves, above): (&ChainSites, &LeafTargets, &Aboves),
        types: &Types,
        watch: Option<usize>,
        spaces: &'a Spaces,
    ) -> (Rows<'a>, Vec<Vec<Fact>>) {
        let mut all = Rows {
            recording,
            reasons: vec![None; recording.samples.len()],
            chunks: Vec::new(),
            watch,
            spaces,
        };
        let mut reasons = std::mem::take(&mut all.reasons);
        let kinds = recording.per_kind(Kind::of);
        let foregone = Foregone::of(places, leaves);
        let chunks: Vec<(Packed, Vec<Fact>)> = reasons
            .par_chunks_mut(CHUNK)
            .enumerate()
            .map(|(chunk, reasons)| {
                let (mut rows, mut facts) = (Packed::new(chunk), Vec::new());
                let mut told = Told::default();
                for (batch, reasons) in reasons.chunks_mut(BATCH).enumerate() {
                    let first = chunk * CHUNK + batch * BATCH;
                    told.read(recording, places, &kinds, first..first + reasons.len());
                    for (n, none) in reasons.iter_mut().enumerate() {
                        let i = first + n;
                        if let Some(reason) = told.foregone(n, &foregone)
                            && watch != Some(i)
                        {
                            *none = Some(reason);
                            continue;
                        }
                        let before = facts.len();
                        let mut row = match told.kind(n) {
                            Some(kind) => {
                                let sample = (i, kind.stored);
                                let given = (chains, leaves, above);
                                one(recording, places, given, types, sample, &mut facts)
                            }
                            None => Row::unplaced(Reason::NotAnAccess, told.address(n)),
                        };
                        if !spaces.is_one() {
                            let mark = spaces.mark(recording, i);
                            row.mark(mark);
                            for fact in facts.iter_mut().skip(before) {
                                fact.mark(mark);
                            }
                        }
                        match row.part {
                            Err(reason) if !all.is_kept(i, reason) => *none = Some(reason),
                            _ => rows.push(&all.at(i, row), &recording.samples),
                        }
                    }
                }
                rows.shrink();
                facts.shrink_to_fit();
                (rows, facts)
            })
            .collect();
        all.reasons = reasons;
        let facts;
        (all.chunks, facts) = chunks.into_iter().unzip();
        (all, facts)
    }

    /// Those that are `wanted`, each with the number by which [`Rows::get`] finds it, in order.
    pub fn par_numbered<'r>(
        &'r self,
        wanted: impl Fn(&Own) -> bool + Copy + Sync + Send + 'r,
    ) -> impl ParallelIterator<Item = (u32, Row)> + 'r {
        let samples = &self.recording.samples;
        let chunks = self.chunks.par_iter().enumerate();
        chunks.flat_map_iter(move |(chunk, rows)| {
            let numbered = rows.numbered_where(wanted, samples);
            numbered.map(move |(n, row)| ((chunk * CHUNK + n) as u32, row))
        })
    }

    pub fn get(&self, number: u32) -> Option<Row> {
        let number = number as usize;
        let rows = self.chunks.get(number / CHUNK)?;
        rows.get(number % CHUNK, &self.recording.samples)
    }

    /// What the row that [`Rows::get`] finds says beside its sample's time, address and table.
    pub fn own(&self, number: u32) -> Option<&Own> {
        let number = number as usize;
        self.chunks.get(number / CHUNK)?.own(number % CHUNK)
    }

    pub fn par_iter(&self) -> impl ParallelIterator<Item = Row> {
        self.par_where(|_| true)
    }

    /// Those that are `wanted`.
    pub fn par_where<'r>(
        &'r self,
        wanted: impl Fn(&Own) -> bool + Copy + Sync + Send + 'r,
    ) -> impl ParallelIterator<Item = Row> + 'r {
        let samples = &self.recording.samples;
        self.chunks
            .par_iter()
            .flat_map_iter(move |rows| rows.iter_where(wanted, samples))
    }

    /// Lets `change` change each, in order.
    pub fn change_in_order(&mut self, mut change: impl FnMut(&mut Row)) {
        let samples = &self.recording.samples;
        for rows in &mut self.chunks {
            rows.change(|_| true, samples, &mut change).for_each(drop);
        }
    }

    /// Lets `change` change each, several at once.
    pub fn change(&mut self, change: impl Fn(&mut Row) + Sync) {
        self.change_where(|_| true, change);
    }

    /// The same for those that are `wanted`.
    pub fn change_where(
        &mut self,
        wanted: impl Fn(&Own) -> bool + Sync,
        change: impl Fn(&mut Row) + Sync,
    ) {
        let samples = &self.recording.samples;
        self.chunks
            .par_iter_mut()
            .for_each(|rows| rows.change(&wanted, samples, &change).for_each(drop));
    }

    /// The same for all, where `change` remembers something of rows before, from what `begin` gives on.
    pub fn change_after<S>(
        &mut self,
        begin: impl Fn() -> S + Sync + Send,
        change: impl Fn(&mut S, &mut Row) + Sync + Send,
    ) {
        let samples = &self.recording.samples;
        let chunks = self.chunks.par_iter_mut();
        chunks.for_each_init(begin, |before, rows| {
            let change = |row: &mut Row| change(before, row);
            rows.change(|_| true, samples, change).for_each(drop);
        });
    }

    fn at(&self, i: usize, row: Row) -> Row {
        Row {
            sample: i as u32,
            time: self.recording.samples.time.get(i).unwrap_or(0),
            ..row
        }
    }

    /// Whether more may become known of a sample without a part than its reason. A breakpoint's sample has
    /// its address from its registers.
    fn is_kept(&self, i: usize, reason: Reason) -> bool {
        if may_be_placed(reason) || self.watch == Some(i) {
            return true;
        }
        let event = self.recording.event(i);
        event.is_some_and(|event| event.memory == Memory::Breakpoint)
    }

    /// The samples without a row whose address lies on these pages, as if they had one.
    pub fn others<'s>(&'s self, pages: &'s Pages) -> impl ParallelIterator<Item = Row> + 's {
        let chunks = (0..self.chunks.len()).into_par_iter();
        chunks.flat_map_iter(move |chunk| self.others_of(chunk, pages))
    }

    fn others_of<'s>(&'s self, chunk: usize, pages: &'s Pages) -> impl Iterator<Item = Row> + 's {
        let samples = chunk * CHUNK..self.reasons.len().min((chunk + 1) * CHUNK);
        let reasons = self.reasons.get(samples.clone()).unwrap_or_default();
        let addresses = self.recording.samples.addr.range(samples.clone());
        let all = samples.zip(reasons).zip(addresses);
        let mut cover = pages.covers();
        all.filter_map(move |((i, reason), address)| {
            let reason = (*reason)?;
            let mark = self.spaces.mark(self.recording, i);
            let address = marked(address.unwrap_or(0), mark);
            cover(address).then(|| self.at(i, Row::unplaced(reason, address)))
        })
    }

    /// Gives rows to those of the samples without one whose address lies on these pages of which `find`
    /// finds something; it remembers something of those before, from what `begin` gives on.
    pub fn add_others<S>(
        &mut self,
        pages: &Pages,
        begin: impl Fn() -> S + Sync + Send,
        find: impl Fn(&mut S, &mut Row) -> bool + Sync + Send,
    ) {
        let mut chunks = std::mem::take(&mut self.chunks);
        let numbered = chunks.par_iter_mut().enumerate();
        numbered.for_each_init(begin, |before, (chunk, rows)| {
            let others = self.others_of(chunk, pages);
            let found = others.filter_map(|mut row| find(before, &mut row).then_some(row));
            rows.add(found, &self.recording.samples);
        });
        self.chunks = chunks;
    }

    /// The row of one sample, if it has one.
    pub fn of_sample(&self, i: usize) -> Option<Row> {
        let rows = self.chunks.get(i / CHUNK)?;
        rows.of_sample(i, &self.recording.samples)
    }
}

/// What the event and the `data_src` of an access decide.
#[derive(Clone, Copy)]
struct Kind {
    /// It is a store.
    stored: bool,
    /// Whether its ip is exact; `None`: more of it counts than its place.
    exact: Option<bool>,
}

impl Kind {
    /// `None`: it is no access.
    fn of(event: &Event, data_src: Option<DataSrc>) -> Option<Kind> {
        let pmu = event.pmu.pmu();
        let registers = pmu.regs_sound && event.samples_registers();
        let by_place = event.memory == Memory::Sampled && !registers;
        event.is_access(data_src).then(|| Kind {
            stored: stores(event, data_src),
            exact: by_place.then(|| pmu.ip_is_exact(event)),
        })
    }
}

/// Samples whose columns are read together.
const BATCH: usize = 1 << 11;

/// What decides most of the samples of a batch, by their number in it.
#[derive(Default)]
struct Told {
    kinds: Vec<Option<Option<Kind>>>,
    places: Vec<u32>,
    addresses: Vec<u64>,
}

impl Told {
    fn read<F>(
        &mut self,
        recording: &Recording,
        places: &Places,
        kinds: &PerKind<Option<Kind>, F>,
        samples: Range<usize>,
    ) where
        F: Fn(&Event, Option<DataSrc>) -> Option<Kind>,
    {
        kinds.read(samples.clone(), &mut self.kinds);
        places.place.read(samples.clone(), &mut self.places);
        recording.samples.addr.read(samples, &mut self.addresses);
    }

    /// `None`: the sample is no access.
    fn kind(&self, n: usize) -> Option<Kind> {
        self.kinds.get(n).copied().flatten().flatten()
    }

    fn address(&self, n: usize) -> u64 {
        self.addresses.get(n).copied().unwrap_or(0)
    }

    /// Why a sample is of no map, if it is foregone.
    #[inline]
    fn foregone(&self, n: usize, foregone: &Foregone) -> Option<Reason> {
        let reason = foregone.reason(*self.places.get(n)?, self.kind(n)?)?;
        Some(match self.address(n) {
            0 => Reason::NoAddress,
            _ => reason,
        })
    }
}

/// Why the samples of a place are of no map, where that is so whatever they accessed: that of most
/// samples of a program.
struct Foregone {
    /// By place, then for loads and for stores; of events whose ips are exact, and not.
    of_places: [Vec<[Option<Reason>; 2]>; 2],
}

impl Foregone {
    fn of(places: &Places, leaves: &LeafTargets) -> Foregone {
        let leaves: FxHashSet<u32> = leaves.keys().map(|(place, ..)| *place).collect();
        let of_place = |place: u32, code: &Result<Code, Reason>, exact: bool| {
            [false, true].map(|stored| match code {
                Err(reason) => Some(*reason),
                Ok(_) if !exact => Some(Reason::Skid),
                Ok(_) if leaves.contains(&place) => None,
                Ok(code) => without_registers(code, stored),
            })
        };
        let of_places = |exact: bool| {
            let codes = (0..).zip(&places.codes);
            let reasons = codes.map(|(place, code)| of_place(place, code, exact));
            let foregone = |reason: &Reason| !may_be_placed(*reason);
            let reasons = reasons.map(|of| of.map(|reason| reason.filter(foregone)));
            reasons.collect()
        };
        Foregone {
            of_places: [false, true].map(of_places),
        }
    }

    /// Why an access of this kind at this place is of no map, if it is foregone.
    #[inline]
    fn reason(&self, place: u32, kind: Kind) -> Option<Reason> {
        let of_place = self.of_places[usize::from(kind.exact?)].get(place as usize)?;
        of_place[usize::from(kind.stored)]
    }
}

/// Whether what all samples together say may place a sample that is of this reason by itself.
fn may_be_placed(reason: Reason) -> bool {
    matches!(reason, Reason::BaseUnknown | Reason::PartUnknown)
}

/// The row of sample `i`, an access, which is a store or not.
fn one(
    recording: &Recording,
    places: &Places,
    (chains, leaves, above): (&ChainSites, &LeafTargets, &Aboves),
    types: &Types,
    (i, stored): (usize, bool),
    facts: &mut Vec<Fact>,
) -> Row {
    let samples = &recording.samples;
    let address = samples.addr.get(i).unwrap_or(0);
    let Some(event) = recording.event(i) else {
        return Row::unplaced(Reason::NotAnAccess, address);
    };
    let pmu = event.pmu.pmu();
    if address == 0 {
        return Row::unplaced(Reason::NoAddress, 0);
    }
    let code = match places.place.get(i).map(|p| &places.codes[p as usize]) {
        Some(Ok(code)) => code,
        Some(Err(reason)) => return Row::unplaced(*reason, address),
        None => return Row::unplaced(Reason::NoMapping, address),
    };
    if !pmu.ip_is_exact(event) {
        return Row::unplaced(Reason::Skid, address);
    }
    // Where the registers are those of a later interrupt, so is the call chain.
    let site = chains.of_sample(recording, i).filter(|_| pmu.regs_sound);
    let leaf = leaf_of(places, samples.chain.get(i), leaves, i, stored);
    let site = site.filter(|_| code.map_code || leaf.is_some());
    let context = Context {
        samples,
        event,
        stored,
        registers_sound: pmu.regs_sound,
        processor: recording.processor(i),
        above: above_of(places, samples.chain.get(i), above, i),
        code,
        types,
        leaf,
        global: site.and_then(|s| s.typed.global),
        caller_type: site.and_then(|s| s.typed.map_type),
        on_stack: site.is_some_and(|s| s.typed.on_stack),
    };
    resolve(&context, i, facts)
}
