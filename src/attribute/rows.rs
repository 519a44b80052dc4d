//! The rows: what is known of each sample that may touch a map, and why the others do not.

use super::Reason;
use super::chains::{ChainSites, LeafTargets, leaf_of, stores};
use super::packed::{CHUNK, Packed};
use super::places::Places;
use super::resolve::{Context, Fact, Row, resolve};
use super::spaces::Spaces;
use super::types::Types;
use crate::gomap::Part;
use crate::recording::{Memory, Recording};
use rayon::prelude::*;

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
        chains: &ChainSites,
        leaves: &LeafTargets,
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
        let chunks: Vec<(Packed, Vec<Fact>)> = part
            .par_chunks_mut(CHUNK)
            .enumerate()
            .map(|(chunk, parts)| {
                let (mut rows, mut facts) = (Packed::new(chunk), Vec::new());
                for (i, part) in (chunk * CHUNK..).zip(parts) {
                    let before = facts.len();
                    let mut row = match kinds.get(i).flatten() {
                        Some(stored) => {
                            let sample = (i, stored);
                            one(recording, places, chains, leaves, types, sample, &mut facts)
                        }
                        None => {
                            let address = recording.samples.addr.get(i).unwrap_or(0);
                            Row::unplaced(Reason::NotAnAccess, address)
                        }
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

    pub fn iter(&self) -> impl Iterator<Item = Row> {
        let samples = &self.recording.samples;
        self.chunks.iter().flat_map(|rows| rows.iter(samples))
    }

    /// Each with the number by which [`Rows::get`] finds it, in order.
    pub fn par_numbered(&self) -> impl ParallelIterator<Item = (u32, Row)> {
        let samples = &self.recording.samples;
        let chunks = self.chunks.par_iter().enumerate();
        chunks.flat_map_iter(|(chunk, rows)| ((chunk * CHUNK) as u32..).zip(rows.iter(samples)))
    }

    pub fn get(&self, number: u32) -> Option<Row> {
        let number = number as usize;
        let rows = self.chunks.get(number / CHUNK)?;
        rows.get(number % CHUNK, &self.recording.samples)
    }

    pub fn par_iter(&self) -> impl ParallelIterator<Item = Row> {
        let samples = &self.recording.samples;
        self.chunks
            .par_iter()
            .flat_map_iter(|rows| rows.iter(samples))
    }

    /// Lets `change` change each, in order.
    pub fn change_in_order(&mut self, mut change: impl FnMut(&mut Row)) {
        let samples = &self.recording.samples;
        for rows in &mut self.chunks {
            rows.change(samples, &mut change).for_each(drop);
        }
    }

    /// Lets `change` change each, several at once.
    pub fn change(&mut self, change: impl Fn(&mut Row) + Sync) {
        self.par_change(&change).for_each(drop);
    }

    /// The same, with what `change` says to each.
    pub fn par_change<'r, T: Send>(
        &'r mut self,
        change: &'r (impl Fn(&mut Row) -> T + Sync),
    ) -> impl ParallelIterator<Item = T> {
        let samples = &self.recording.samples;
        self.chunks
            .par_iter_mut()
            .flat_map_iter(move |rows| rows.change(samples, change))
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
            Ok(_) | Err(Reason::BaseUnknown | Reason::PartUnknown) => true,
            Err(_) => {
                let event = self.recording.event(i);
                self.watch == Some(i) || event.is_some_and(|e| e.memory == Memory::Breakpoint)
            }
        }
    }

    /// The samples without a row whose address is `wanted`, as if they had one.
    pub fn others<'s>(
        &'s self,
        wanted: impl Fn(u64) -> bool + Sync + Send + 's,
    ) -> impl ParallelIterator<Item = Row> + 's {
        let samples = (0..self.part.len()).into_par_iter();
        samples.filter_map(move |i| self.other(i, &wanted))
    }

    fn other(&self, i: usize, wanted: &impl Fn(u64) -> bool) -> Option<Row> {
        let part = *self.part.get(i)?;
        let reason = part.err()?;
        let address = self.spaces.address(self.recording, i);
        let other = wanted(address) && !self.is_kept(i, part);
        other.then(|| self.at(i, Row::unplaced(reason, address)))
    }

    /// Gives rows to those of the samples without one whose address is `wanted` of which `find` finds
    /// something.
    pub fn add_others(
        &mut self,
        wanted: impl Fn(u64) -> bool + Sync + Send,
        find: impl Fn(&mut Row) -> bool + Sync + Send,
    ) {
        let mut chunks = std::mem::take(&mut self.chunks);
        chunks.par_iter_mut().enumerate().for_each(|(chunk, rows)| {
            let samples = chunk * CHUNK..self.part.len().min((chunk + 1) * CHUNK);
            let others = samples.filter_map(|i| self.other(i, &wanted));
            let found = others.filter_map(|mut row| find(&mut row).then_some(row));
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

/// The row of sample `i`, an access, which is a store or not.
fn one(
    recording: &Recording,
    places: &Places,
    chains: &ChainSites,
    leaves: &LeafTargets,
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
        code,
        types,
        leaf,
        global: site.and_then(|s| s.typed.global),
        caller_type: site.and_then(|s| s.typed.map_type),
    };
    resolve(&context, i, facts)
}
