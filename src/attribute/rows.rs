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
use crate::gomap::Part;
use crate::recording::{Event, Memory, Recording};
use rayon::prelude::*;
use rustc_hash::FxHashSet;

/// One part, or one reason, a sample; most samples of a program are of no map and need no more.
#[derive(Debug)]
pub struct Rows<'a> {
    recording: &'a Recording,
    /// Of every sample, as long as it has no row.
    pub part: Vec<Result<Part, Reason>>,
    /// Chunk by chunk of [`CHUNK`] samples, which one thread works on at a time, in order of samples.
    pub chunks: Vec<Packed>,
    watch: Option<usize>,
    spaces: &'a Spaces,
}

impl<'a> Rows<'a> {
    /// Resolves every sample by itself; sample `watch` gets a row in any case.
    pub fn resolve(
        recording: &'a Recording,
        places: &Places,
        (chains, leaves, above): (&ChainSites, &LeafTargets, &Aboves),
        types: &Types,
        watch: Option<usize>,
        spaces: &'a Spaces,
    ) -> (Rows<'a>, Vec<Fact>) {
        let mut all = Rows {
            recording,
            part: vec![Err(Reason::NotAnAccess); recording.samples.len()],
            chunks: Vec::new(),
            watch,
            spaces,
        };
        let mut part = std::mem::take(&mut all.part);
        let kinds = recording.per_kind(|event, data_src| {
            let stored = stores(event, data_src);
            event.is_access(data_src).then_some(stored)
        });
        let foregone = Foregone::of(recording, places, leaves);
        let chunks: Vec<(Packed, Vec<Fact>)> = part
            .par_chunks_mut(CHUNK)
            .enumerate()
            .map(|(chunk, parts)| {
                let (mut rows, mut facts) = (Packed::new(chunk), Vec::new());
                let samples = &recording.samples;
                let all_of_chunk = chunk * CHUNK..chunk * CHUNK + parts.len();
                let mut stored = kinds.range(all_of_chunk.clone());
                let mut events = samples.event.range(all_of_chunk.clone());
                let mut of_places = places.place.range(all_of_chunk.clone());
                let mut addresses = samples.addr.range(all_of_chunk.clone());
                for (i, part) in all_of_chunk.zip(parts) {
                    let before = facts.len();
                    let stored = stored.next().flatten().flatten();
                    let event = events.next().flatten();
                    let place = of_places.next().flatten();
                    let address = addresses.next().flatten().unwrap_or(0);
                    if let (Some(stored), Some(event), Some(place)) = (stored, event, place)
                        && watch != Some(i)
                        && let Some(reason) = foregone.reason(event, place, stored)
                    {
                        *part = Err(match address {
                            0 => Reason::NoAddress,
                            _ => reason,
                        });
                        continue;
                    }
                    let mut row = match stored {
                        Some(stored) => {
                            let sample = (i, stored);
                            let given = (chains, leaves, above);
                            one(recording, places, given, types, sample, &mut facts)
                        }
                        None => Row::unplaced(Reason::NotAnAccess, address),
                    };
                    if !spaces.is_one() {
                        let mark = spaces.mark(recording, i);
                        row.mark(mark);
                        for fact in facts.iter_mut().skip(before) {
                            fact.mark(mark);
                        }
                    }
                    *part = row.part;
                    if all.is_kept(i, row.part) {
                        rows.push(&all.at(i, row), &recording.samples);
                    }
                }
                rows.shrink();
                (rows, facts)
            })
            .collect();
        all.part = part;
        let mut facts = Vec::new();
        for (rows, of_chunk) in chunks {
            all.chunks.push(rows);
            facts.extend(of_chunk);
        }
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

    /// Whether more may become known of a sample than its part or reason. A breakpoint's sample has
    /// its address from its registers.
    fn is_kept(&self, i: usize, part: Result<Part, Reason>) -> bool {
        match part {
            Ok(_) => true,
            Err(reason) if may_be_placed(reason) => true,
            Err(_) => {
                let event = self.recording.event(i);
                self.watch == Some(i) || event.is_some_and(|e| e.memory == Memory::Breakpoint)
            }
        }
    }

    /// The samples without a row whose address lies on these pages, as if they had one.
    pub fn others<'s>(&'s self, pages: &'s Pages) -> impl ParallelIterator<Item = Row> + 's {
        let chunks = (0..self.chunks.len()).into_par_iter();
        chunks.flat_map_iter(move |chunk| self.others_of(chunk, pages))
    }

    fn others_of<'s>(&'s self, chunk: usize, pages: &'s Pages) -> impl Iterator<Item = Row> + 's {
        let samples = chunk * CHUNK..self.part.len().min((chunk + 1) * CHUNK);
        let parts = self.part.get(samples.clone()).unwrap_or_default();
        let addresses = self.recording.samples.addr.range(samples.clone());
        let all = samples.zip(parts).zip(addresses);
        let mut cover = pages.covers();
        all.filter_map(move |((i, part), address)| {
            let reason = part.err()?;
            let mark = self.spaces.mark(self.recording, i);
            let address = marked(address.unwrap_or(0), mark);
            let other = cover(address) && !self.is_kept(i, *part);
            other.then(|| self.at(i, Row::unplaced(reason, address)))
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

/// Why the samples of a place are of no map, where that is so whatever they accessed: that of most
/// samples of a program.
struct Foregone {
    /// By place, then for loads and for stores; of events whose ips are exact, and not.
    of_places: [Vec<[Option<Reason>; 2]>; 2],
    /// By event: which of these holds. `None`: more of a sample counts than its place.
    of_events: Vec<Option<usize>>,
}

impl Foregone {
    fn of(recording: &Recording, places: &Places, leaves: &LeafTargets) -> Foregone {
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
        let of_event = |event: &Event| {
            let pmu = event.pmu.pmu();
            let registers = pmu.regs_sound && event.samples_registers();
            let exact = pmu.ip_is_exact(event);
            (event.memory == Memory::Sampled && !registers).then_some(exact.into())
        };
        Foregone {
            of_places: [false, true].map(of_places),
            of_events: recording.events.iter().map(of_event).collect(),
        }
    }

    /// Why an access of this event at this place is of no map, if it is foregone.
    #[inline]
    fn reason(&self, event: u16, place: u32, stored: bool) -> Option<Reason> {
        let exact = (*self.of_events.get(usize::from(event))?)?;
        let of_place = self.of_places[exact].get(place as usize)?;
        of_place[usize::from(stored)]
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
