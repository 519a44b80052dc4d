//! The rows: what is known of each sample that may touch a map, and why the others do not.

use super::chains::{Aboves, ChainSites, LeafTargets, above_of, leaf_of, stores};
use super::code::Code;
use super::pages::Pages;
use super::places::Places;
use super::resolve::{Context, resolve, without_registers};
use super::row::{Fact, Row};
use super::spaces::{Spaces, marked};
use super::statements::{Alike, CHUNK, Changed, Heard, Own, Statements, Until};
use super::types::Types;
use super::{NONE, Reason};
use crate::data_src::DataSrc;
use crate::gomap::Part;
use crate::recording::{Event, Memory, PerKind, Recording, Samples};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::Range;

/// One row, or one reason, a sample; most samples of a program are of no map and need no more.
#[derive(Debug)]
pub struct Rows<'a> {
    recording: &'a Recording,
    /// Why a sample has no row.
    pub reasons: Vec<Option<Reason>>,
    /// The rows; samples that say the same have one between them.
    pub said: Statements,
    /// Samples without a row that may get one.
    pub others: Statements,
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
            said: Statements::default(),
            others: Statements::default(),
            watch,
            spaces,
        };
        let mut reasons = std::mem::take(&mut all.reasons);
        let kinds = recording.per_kind(Kind::of);
        let foregone = Foregone::of(places, leaves);
        let piece = piece_of(reasons.len());
        let heard: Vec<(Heard, Vec<Vec<Fact>>)> = reasons
            .par_chunks_mut(piece)
            .enumerate()
            .map(|(number, reasons)| {
                let first = number * piece;
                let mut alone = Alone {
                    all: &all,
                    places,
                    given: (chains, leaves, above),
                    types,
                    heard: Heard::new(first / CHUNK),
                    said: FxHashMap::default(),
                    answers: Vec::new(),
                    templates: Vec::new(),
                    facts: Vec::new(),
                };
                let mut told = Told::default();
                let (mut asked, mut facts) = (Vec::new(), Vec::new());
                for (chunk, reasons) in reasons.chunks_mut(CHUNK).enumerate() {
                    for (batch, reasons) in reasons.chunks_mut(BATCH).enumerate() {
                        let first = first + chunk * CHUNK + batch * BATCH;
                        told.read(recording, places, &kinds, first..first + reasons.len());
                        asked.clear();
                        for (n, none) in reasons.iter_mut().enumerate() {
                            let i = first + n;
                            *none = told.foregone(n, &foregone).filter(|_| watch != Some(i));
                            if none.is_none() {
                                asked.push((n, alone.alike(i, &told, n), None));
                            }
                        }
                        // A core does not wait for the answer on one to ask for the next.
                        for (_, alike, known) in &mut asked {
                            *known = alone.known(alike);
                        }
                        for (n, alike, known) in &asked {
                            reasons[*n] = alone.hear(first + n, (&told, *n), *alike, *known);
                        }
                    }
                    alone.facts.shrink_to_fit();
                    facts.push(std::mem::take(&mut alone.facts));
                }
                (alone.heard, facts)
            })
            .collect();
        all.reasons = reasons;
        let (heard, facts): (Vec<Heard>, Vec<Vec<Vec<Fact>>>) = heard.into_iter().unzip();
        all.said = Statements::of(heard, &recording.samples);
        (all, facts.into_iter().flatten().collect())
    }

    /// What all samples say, sample by sample.
    pub fn par_iter(&self) -> impl ParallelIterator<Item = Row> {
        self.said.par_where(|_| true)
    }

    /// Those that are `wanted`.
    pub fn par_where<'r>(
        &'r self,
        wanted: impl Fn(&Own) -> bool + Copy + Sync + Send + 'r,
    ) -> impl ParallelIterator<Item = Row> + 'r {
        self.said.par_where(wanted)
    }

    /// Lets `change` change each that is `wanted`; it is asked once for all times up to the one until which it
    /// says that its answer holds.
    pub fn change_where(
        &mut self,
        wanted: impl Fn(&Own) -> bool + Sync,
        change: impl Fn(&mut Row, &mut Until) + Sync + Send,
    ) {
        let all = |(): &mut (), row: &Row, times: &[u64], changed: &mut Changed| {
            changed.each(row, times, &change, |(), _| {});
        };
        self.said.change_spans(wanted, || (), all);
    }

    /// The same for all.
    pub fn change(&mut self, change: impl Fn(&mut Row, &mut Until) + Sync + Send) {
        self.change_where(|_| true, change);
    }

    /// Whether more may become known of a sample without a part than its reason. A breakpoint's sample has
    /// its address from its registers.
    fn is_kept(&self, i: usize, reason: Reason) -> bool {
        if may_be_placed(reason) {
            return true;
        }
        let event = self.recording.event(i);
        event.is_some_and(|event| event.memory == Memory::Breakpoint)
    }

    /// The samples without a row whose address lies on these pages, as if they had one.
    pub fn par_others<'s>(&'s self, pages: &'s Pages) -> impl ParallelIterator<Item = Row> + 's {
        let chunks = (0..self.reasons.len().div_ceil(CHUNK)).into_par_iter();
        chunks.flat_map_iter(move |chunk| self.others_of(chunk, pages))
    }

    fn others_of<'s>(&'s self, chunk: usize, pages: &'s Pages) -> impl Iterator<Item = Row> + 's {
        let samples = chunk * CHUNK..self.reasons.len().min((chunk + 1) * CHUNK);
        let reasons = self.reasons.get(samples.clone()).unwrap_or_default();
        let mut addresses = Vec::new();
        self.recording
            .samples
            .addr
            .read(samples.clone(), &mut addresses);
        let mut times = self.recording.samples.time.in_order();
        let all = samples.zip(reasons).zip(addresses);
        let mut cover = pages.covers();
        all.filter_map(move |((i, reason), address)| {
            let reason = (*reason)?;
            let address = marked(address, self.spaces.mark(self.recording, i));
            cover(address).then(|| Row {
                sample: i as u32,
                time: times.get(i).unwrap_or(0),
                ..Row::unplaced(reason, address)
            })
        })
    }

    /// Gathers the samples without a row whose address lies on these pages.
    pub fn gather_others(&mut self, places: &Places, pages: &Pages) {
        let samples = &self.recording.samples;
        let kinds = self.recording.per_kind(Kind::of);
        let chunks = self.reasons.len().div_ceil(CHUNK);
        let piece = piece_of(self.reasons.len()) / CHUNK;
        let pieces = (0..chunks.div_ceil(piece)).into_par_iter();
        let gather = |number: usize| {
            let first = number * piece;
            let mut heard = Heard::new(first);
            let mut ids: FxHashMap<Alike, u32> = FxHashMap::default();
            for chunk in first..chunks.min(first + piece) {
                let mut place = places.place.in_order();
                for row in self.others_of(chunk, pages) {
                    // Nothing becomes of them, and they say nothing.
                    if row
                        .part
                        .is_err_and(|reason| reason != Reason::Goroutine && reason.is_elsewhere())
                    {
                        continue;
                    }
                    let i = row.sample as usize;
                    let place = place.get(i).unwrap_or(NONE);
                    let kind = kinds.get(i).flatten();
                    let alike = alike(samples, i, place, row.address, kind);
                    let mut new = || heard.add(alike, &row);
                    let id = match alike.alone {
                        0 => *ids.entry(alike).or_insert_with(new),
                        _ => new(),
                    };
                    heard.hear(i, id);
                }
            }
            heard
        };
        let heard: Vec<Heard> = pieces.map(gather).collect();
        self.others = Statements::of(heard, samples);
    }

    /// Gives rows to those of the samples gathered whose address lies on these pages of which `find` finds
    /// something; it remembers something of those before, from what `begin` gives on.
    pub fn add_others<S>(
        &mut self,
        pages: &Pages,
        begin: impl Fn() -> S + Sync + Send,
        find: impl Fn(&mut S, &mut Row, &mut Until) -> bool + Sync + Send,
    ) {
        let mut others = std::mem::take(&mut self.others);
        let all = |state: &mut S, row: &Row, times: &[u64], changed: &mut Changed| {
            if !pages.cover(row.address) {
                return changed.says(0, row);
            }
            let find = |now: &mut Row, until: &mut Until| {
                let before = *now;
                if !find(state, now, until) {
                    *now = before;
                }
            };
            changed.each(row, times, find, |(), _| {});
        };
        others.change_spans(|_| true, begin, all);
        self.said.add(others, |own| own.part.is_ok());
    }

    /// The parts of the samples at these places, with sample and place, in order.
    pub fn parts_at(&self, places: &Places, of: &FxHashSet<u32>) -> Vec<(usize, u32, Part)> {
        if of.is_empty() {
            return Vec::new();
        }
        let of_row = |row: Row| {
            let sample = row.sample as usize;
            let place = places
                .place
                .get(sample)
                .filter(|place| of.contains(place))?;
            Some((sample, place, row.part.ok()?))
        };
        let told = self.said.par_said(|own| own.part.is_ok());
        let told = told.filter(|said| of_row(said.row).is_some());
        let told = told.flat_map_iter(|said| said.rows().filter_map(of_row));
        let mut told: Vec<(usize, u32, Part)> = told.collect();
        told.par_sort_unstable();
        told
    }

    /// The row of one sample, if it has one.
    pub fn of_sample(&self, i: usize) -> Option<Row> {
        let time = self.recording.samples.time.get(i).unwrap_or(0);
        self.said.of_sample(i, time)
    }
}

/// Samples that one thread goes through: whole chunks, in few pieces, for what was said before is known.
fn piece_of(samples: usize) -> usize {
    let pieces = PIECES * rayon::current_num_threads();
    samples.div_ceil(pieces).next_multiple_of(CHUNK).max(CHUNK)
}

/// Pieces a thread.
const PIECES: usize = 4;

/// What samples say by themselves.
struct Alone<'a, 'r> {
    all: &'a Rows<'r>,
    places: &'a Places,
    given: (&'a ChainSites, &'a LeafTargets, &'a Aboves),
    types: &'a Types,
    heard: Heard,
    /// Which of `answers` those before have.
    said: FxHashMap<Alike, u32>,
    /// The number of what is said, or why there is no row, and which of `templates`.
    answers: Vec<(Result<u32, Reason>, Range<u32>)>,
    /// Of other objects, as the first sample said it.
    templates: Vec<Fact>,
    /// Of other objects.
    facts: Vec<Fact>,
}

impl Alone<'_, '_> {
    /// What decides all that sample `i`, number `n` of a batch, says by itself.
    fn alike(&self, i: usize, told: &Told, n: usize) -> Alike {
        let recording = self.all.recording;
        let address = marked(told.address(n), self.all.spaces.mark(recording, i));
        let place = told.places.get(n).copied().unwrap_or(NONE);
        alike(&recording.samples, i, place, address, told.kind(n))
    }

    /// The answer of a sample before that said the same.
    #[inline]
    fn known(&self, alike: &Alike) -> Option<u32> {
        if alike.alone != 0 {
            return None;
        }
        self.said.get(alike).copied()
    }

    /// Hears sample `i`, number `n` of a batch, whose answer may be `known`; returns why it has no row.
    fn hear(
        &mut self,
        i: usize,
        (told, n): (&Told, usize),
        alike: Alike,
        known: Option<u32>,
    ) -> Option<Reason> {
        let Rows {
            recording, spaces, ..
        } = *self.all;
        let kind = told.kind(n);
        let time = told.times.get(n).copied().unwrap_or(0);
        let watched = self.all.watch == Some(i);
        let known = known.or_else(|| self.known(&alike));
        let known = known.and_then(|answer| self.answers.get(answer as usize));
        if let Some((said, facts)) = known
            && (said.is_ok() || !watched)
        {
            let facts = facts.start as usize..facts.end as usize;
            let facts = self.templates.get(facts).unwrap_or_default();
            let said = *said;
            self.facts
                .extend(facts.iter().map(|fact| Fact { time, ..*fact }));
            if let Ok(id) = said {
                self.heard.hear(i, id);
            }
            return said.err();
        }
        let before = self.facts.len();
        let mut row = match kind {
            Some(kind) => {
                let sample = (i, kind.stored);
                one(
                    recording,
                    self.places,
                    self.given,
                    self.types,
                    sample,
                    &mut self.facts,
                )
            }
            None => Row::unplaced(Reason::NotAnAccess, told.address(n)),
        };
        row = Row {
            sample: i as u32,
            time,
            ..row
        };
        if !spaces.is_one() {
            let mark = spaces.mark(recording, i);
            row.mark(mark);
            for fact in self.facts.iter_mut().skip(before) {
                fact.mark(mark);
            }
        }
        let said = match row.part {
            Err(reason) if !self.all.is_kept(i, reason) => Err(reason),
            _ => Ok(self.heard.add(alike, &row)),
        };
        let own = match said {
            Err(_) if watched => {
                let alone = number_of(i);
                Ok(self.heard.add(Alike { alone, ..alike }, &row))
            }
            said => said,
        };
        if let Ok(id) = own {
            self.heard.hear(i, id);
        }
        if alike.alone == 0 {
            let first = self.templates.len() as u32;
            self.templates
                .extend_from_slice(self.facts.get(before..).unwrap_or_default());
            let facts = first..self.templates.len() as u32;
            self.said.insert(alike, self.answers.len() as u32);
            self.answers.push((said, facts));
        }
        own.err()
    }
}

/// What the event and the `data_src` of an access decide.
#[derive(Clone, Copy)]
struct Kind {
    /// It is a store.
    stored: bool,
    /// Whether its ip is exact; `None`: more of it counts than its place.
    exact: Option<bool>,
    /// Of its PMU.
    regs_sound: bool,
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
            regs_sound: pmu.regs_sound,
        })
    }
}

/// What decides all that sample `i` says by itself.
fn alike(samples: &Samples, i: usize, place: u32, address: u64, kind: Option<Kind>) -> Alike {
    // Of others more counts than this.
    let by_place = kind.filter(|kind| kind.exact.is_some());
    Alike {
        place,
        chain: samples.chain.get(i).unwrap_or(NONE),
        address,
        stored: kind.is_some_and(|kind| kind.stored),
        regs_sound: kind.is_some_and(|kind| kind.regs_sound),
        alone: by_place.map_or(number_of(i), |_| 0),
    }
}

/// The number of sample `i`, from 1 on.
fn number_of(i: usize) -> u32 {
    (i as u32).saturating_add(1)
}

/// Samples whose columns are read together.
const BATCH: usize = 1 << 11;

/// What decides most of the samples of a batch, by their number in it.
#[derive(Default)]
struct Told {
    kinds: Vec<Option<Option<Kind>>>,
    places: Vec<u32>,
    addresses: Vec<u64>,
    times: Vec<u64>,
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
        recording
            .samples
            .addr
            .read(samples.clone(), &mut self.addresses);
        recording.samples.time.read(samples, &mut self.times);
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
