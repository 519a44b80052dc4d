//! What samples say of themselves, each thing once, with the samples that say it: those of one instruction at
//! one address repeat each other. What all samples together add to it depends on the time alone, and changes
//! seldom.

use super::row::Row;
use super::{Evidence, NONE, Reason};
use crate::gomap::Part;
use crate::recording::{Samples, partition_near};
use rayon::prelude::*;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Samples in a chunk: as many as an `u16` numbers.
pub const CHUNK: usize = super::hits::PART;

/// Statements that one thread works on at a time.
const BLOCK: usize = 1 << 8;

/// What decides all that a sample says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alike {
    /// First: what is said of neighbouring addresses is asked of the same memory.
    pub address: u64,
    pub place: u32,
    /// [`NONE`] without one.
    pub chain: u32,
    pub stored: bool,
    /// Of its PMU.
    pub regs_sound: bool,
    /// Its number + 1, where its registers count as well: no other sample says the same.
    pub alone: u32,
}

impl Alike {
    /// Of what one sample says alone.
    fn alone(of: &Statement) -> Alike {
        Alike {
            address: of.address,
            place: of.place,
            chain: NONE,
            stored: false,
            regs_sound: false,
            alone: of.sample + 1,
        }
    }
}

/// The rest differs in little between samples of one address and place.
impl Hash for Alike {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.address, self.place).hash(state);
    }
}

/// What a statement says but for sample, time, address and table: fields as in [`Row`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Own {
    pub part: Result<Part, Reason>,
    slot: i8,
    evidence: Evidence,
    starts: bool,
    pub base: u64,
    pub header: u64,
    /// [`NONE`] where it is not known, as `shape`.
    map_type: u32,
    shape: u32,
}

impl Own {
    fn of(row: &Row) -> Own {
        Own {
            part: row.part,
            slot: row.slot,
            evidence: row.evidence,
            starts: row.starts,
            base: row.base,
            header: row.header,
            map_type: row.map_type.unwrap_or(NONE),
            shape: row.shape.unwrap_or(NONE),
        }
    }

    pub fn map_type(&self) -> Option<u32> {
        Some(self.map_type).filter(|&id| id != NONE)
    }
}

/// Up to which time what was found holds: the least of what all say that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until(u64);

impl Until {
    pub fn always() -> Until {
        Until(u64::MAX)
    }

    pub fn at_most(&mut self, time: u64) {
        self.0 = self.0.min(time);
    }

    /// The first of these times, in order, that it does not hold for any more: behind `at`, where it began.
    fn end_in(self, times: &[u64], at: usize) -> usize {
        partition_near(times, at + 1, |time| *time <= self.0).max(at + 1)
    }

    /// Whether a time is one of these, which last as long as that is so.
    pub fn is_in(&mut self, time: u64, first: u64, last: u64) -> bool {
        let (begun, over) = (first <= time, last < time);
        match (begun, over) {
            (false, _) => self.at_most(first - 1),
            (true, false) => self.at_most(last),
            (true, true) => {}
        }
        begun && !over
    }
}

#[derive(Debug, Clone, Copy)]
struct Statement {
    /// The first sample that says it: for what all of them have in common.
    sample: u32,
    place: u32,
    address: u64,
    table: u64,
    /// Its samples, by time.
    from: u32,
    to: u32,
    /// The first of its spans.
    spans: u32,
}

/// What a statement says of its samples from one on up to those of the next span.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: u32,
    own: Own,
}

/// Statements that follow each other.
#[derive(Debug, Default)]
struct Block {
    all: Vec<Statement>,
    spans: Vec<Span>,
}

impl Block {
    fn spans_of(&self, n: usize) -> &[Span] {
        let from = self.all.get(n).map_or(0, |of| of.spans as usize);
        let to = self.all.get(n + 1).map(|next| next.spans as usize);
        let to = to.unwrap_or(self.spans.len());
        self.spans.get(from..to).unwrap_or_default()
    }

    /// Each span with its statement, the number of that, and its samples, by time.
    fn each(&self) -> impl Iterator<Item = (usize, &Statement, &Own, Range<usize>)> {
        (0..self.all.len()).flat_map(move |n| {
            let (of, spans) = (&self.all[n], self.spans_of(n));
            spans.iter().enumerate().map(move |(k, span)| {
                let to = spans.get(k + 1).map_or(of.to, |next| next.from);
                (n, of, &span.own, span.from as usize..to as usize)
            })
        })
    }
}

impl Statement {
    /// Of samples at a place, of which this row is the first, and what it says.
    fn of(place: u32, row: &Row) -> (Statement, Own) {
        let statement = Statement {
            sample: row.sample,
            place,
            address: row.address,
            table: row.table,
            from: 0,
            to: 0,
            spans: 0,
        };
        (statement, Own::of(row))
    }

    fn row(&self, own: &Own, time: u64) -> Row {
        Row {
            sample: self.sample,
            time,
            part: own.part,
            address: self.address,
            base: own.base,
            slot: own.slot,
            header: own.header,
            table: self.table,
            map_type: own.map_type(),
            shape: Some(own.shape).filter(|&id| id != NONE),
            evidence: own.evidence,
            starts: own.starts,
        }
    }
}

/// What some samples of a statement say.
#[derive(Debug, Clone, Copy)]
pub struct Said<'s> {
    /// Of the statement.
    pub number: u32,
    /// As of the first of them in time; the sample is any of the statement's.
    pub row: Row,
    /// In order, as the samples.
    pub times: &'s [u64],
    pub samples: &'s [u32],
}

impl<'s> Said<'s> {
    /// The same sample by sample.
    pub fn rows(self) -> impl Iterator<Item = Row> + 's {
        let both = self.times.iter().zip(self.samples);
        both.map(move |(&time, &sample)| Row {
            sample,
            time,
            ..self.row
        })
    }

    /// The samples between which `look`, which gets the row and tells up to which time what it finds holds,
    /// finds the same, each with that.
    pub fn pieces<T>(
        self,
        mut look: impl FnMut(&Row, &mut Until) -> T + 's,
    ) -> impl Iterator<Item = (Said<'s>, T)> + 's {
        let mut at = 0;
        std::iter::from_fn(move || {
            let time = *self.times.get(at)?;
            let row = Row { time, ..self.row };
            let mut until = Until::always();
            let found = look(&row, &mut until);
            let next = until.end_in(self.times, at);
            let piece = Said {
                row,
                times: self.times.get(at..next)?,
                samples: self.samples.get(at..next)?,
                ..self
            };
            at = next;
            Some((piece, found))
        })
    }
}

/// Which samples of a chunk there are, and what they say.
#[derive(Debug, Default)]
struct Chunk {
    /// Counted from the first one of the chunk, in order.
    samples: Vec<u16>,
    /// By number of the statement.
    said: Vec<u32>,
}

/// Statements, and the samples that make them.
#[derive(Debug, Default)]
pub struct Statements {
    chunks: Vec<Chunk>,
    blocks: Vec<Block>,
    /// Statement after statement, in order of time: when, and by which sample.
    times: Vec<u64>,
    samples: Vec<u32>,
}

/// What some samples said, each thing once.
#[derive(Debug, Default)]
pub struct Heard {
    /// What decides those that other samples may say as well, each with its id, in order.
    shared: Vec<(u32, Alike)>,
    /// By id: what it is, and how often it was said.
    said: Vec<(Statement, Own)>,
    counts: Vec<u32>,
    /// The number of the first chunk.
    first: usize,
    chunks: Vec<Chunk>,
}

impl Heard {
    /// Of no sample yet, from this chunk on.
    pub fn new(first: usize) -> Heard {
        Heard {
            first,
            ..Heard::default()
        }
    }

    /// Hears for the first time what a sample says, and numbers it.
    pub fn add(&mut self, alike: Alike, row: &Row) -> u32 {
        let id = self.said.len() as u32;
        if alike.alone == 0 {
            self.shared.push((id, alike));
        }
        self.said.push(Statement::of(alike.place, row));
        self.counts.push(0);
        id
    }

    /// Hears it from sample `i`, a later one than those before.
    pub fn hear(&mut self, i: usize, id: u32) {
        let chunk = i / CHUNK - self.first;
        if chunk >= self.chunks.len() {
            if let Some(before) = self.chunks.last_mut() {
                before.shrink();
            }
            self.chunks.resize_with(chunk + 1, Chunk::default);
        }
        let chunk = &mut self.chunks[chunk];
        chunk.samples.push((i % CHUNK) as u16);
        chunk.said.push(id);
        self.counts[id as usize] += 1;
    }
}

/// What decides a statement, the number of a part that heard it, and its number there.
type Key = (Alike, u32, u32);

/// In order.
fn keys(heard: &[Heard]) -> Vec<Key> {
    let mut keys = Vec::with_capacity(heard.iter().map(|part| part.said.len()).sum());
    for (heard, part) in heard.iter().zip(0..) {
        let mut shared = heard.shared.iter().peekable();
        keys.extend(heard.said.iter().zip(0..).map(|((statement, _), id)| {
            let alike = shared.next_if(|(of, _)| *of == id);
            let alike = alike.map_or_else(|| Alike::alone(statement), |(_, alike)| *alike);
            (alike, part, id)
        }));
    }
    keys.par_sort_unstable();
    keys
}

/// By part that heard a statement and its number there: its number in all, and how many samples of the parts
/// before say it.
type Numbers = Vec<Vec<(AtomicU32, AtomicU32)>>;

/// Each statement once, in order of what decides it.
fn merged(heard: &[Heard], numbers: &Numbers) -> Vec<Block> {
    let keys = keys(heard);
    let alike: Vec<&[Key]> = keys.chunk_by(|a, b| a.0 == b.0).collect();
    let merge = |n: usize, keys: &[Key]| {
        let mut count = 0;
        for &(_, part, id) in keys {
            let (number, before) = numbers.get(part as usize)?.get(id as usize)?;
            number.store(n as u32, Relaxed);
            before.store(count, Relaxed);
            count += heard.get(part as usize)?.counts.get(id as usize)?;
        }
        let &(_, part, id) = keys.first()?;
        let (statement, own) = *heard.get(part as usize)?.said.get(id as usize)?;
        Some((statement, own, count))
    };
    let block = |(block, said): (usize, &[&[Key]])| {
        let said = said.iter().zip(block * BLOCK..);
        let said = said.filter_map(|(keys, n)| merge(n, keys)).zip(0..);
        let (all, spans) = said
            .map(|((statement, own, to), spans)| {
                let statement = Statement {
                    to,
                    spans,
                    ..statement
                };
                (statement, Span { from: 0, own })
            })
            .unzip();
        Block { all, spans }
    };
    let blocks = alike.par_chunks(BLOCK).enumerate().map(block);
    let mut blocks: Vec<Block> = blocks.collect();
    let mut at = 0;
    for block in &mut blocks {
        for (of, span) in block.all.iter_mut().zip(&mut block.spans) {
            let count = of.to;
            (of.from, of.to, span.from) = (at, at + count, at);
            at += count;
        }
    }
    blocks
}

impl Statements {
    /// All that was heard, in order of samples.
    pub fn of(heard: Vec<Heard>, of: &Samples) -> Statements {
        let numbers = heard.iter().map(|part| {
            let of_part = part.said.iter();
            of_part.map(|_| Default::default()).collect()
        });
        let numbers: Numbers = numbers.collect();
        let blocks = merged(&heard, &numbers);
        let first = |number: u32| {
            let block = blocks.get(number as usize / BLOCK)?;
            Some(block.all.get(number as usize % BLOCK)?.from)
        };
        // Each place is written once, by the part that it is of.
        let last = blocks.last().and_then(|block| block.all.last());
        let places = 0..last.map_or(0, |last| last.to as usize);
        let times: Vec<AtomicU64> = places.clone().map(|_| AtomicU64::new(0)).collect();
        let samples: Vec<AtomicU32> = places.map(|_| AtomicU32::new(0)).collect();
        let parts = heard.into_par_iter().zip(numbers);
        let chunks = parts.flat_map_iter(|(part, numbers)| {
            let (from, mut chunks) = (part.first, part.chunks);
            // By number in the part: the number in all, and where the next sample that says it goes.
            let numbers = numbers.into_iter().map(|(number, before)| {
                let number = number.into_inner();
                (number, first(number).unwrap_or(0) + before.into_inner())
            });
            let mut numbers: Vec<(u32, u32)> = numbers.collect();
            for (chunk, number) in chunks.iter_mut().zip(from..) {
                let mut time = of.time.in_order();
                for (sample, id) in chunk.samples.iter().zip(&mut chunk.said) {
                    let i = number * CHUNK + usize::from(*sample);
                    let (number, next) = &mut numbers[*id as usize];
                    let at = *next as usize;
                    if let (Some(when), Some(who)) = (times.get(at), samples.get(at)) {
                        when.store(time.get(i).unwrap_or(0), Relaxed);
                        who.store(i as u32, Relaxed);
                    }
                    *next += 1;
                    *id = *number;
                }
            }
            chunks.into_iter().zip(from..)
        });
        let numbered: Vec<(Chunk, usize)> = chunks.collect();
        let mut chunks = Vec::new();
        for (chunk, number) in numbered {
            chunks.resize_with(number, Chunk::default);
            chunks.push(chunk);
        }
        let mut all = Statements {
            chunks,
            blocks,
            times: times.into_iter().map(AtomicU64::into_inner).collect(),
            samples: samples.into_iter().map(AtomicU32::into_inner).collect(),
        };
        all.sort();
        all
    }

    /// Puts the samples of each in order of time: they are but for those of other CPUs.
    fn sort(&mut self) {
        let mut rest = (self.times.as_mut_slice(), self.samples.as_mut_slice());
        let mut lines = Vec::new();
        for of in self.blocks.iter().flat_map(|block| &block.all) {
            let len = (of.to - of.from) as usize;
            let (times, later) = rest.0.split_at_mut(len);
            let (samples, others) = rest.1.split_at_mut(len);
            if !times.is_sorted() {
                lines.push((times, samples));
            }
            rest = (later, others);
        }
        lines.into_par_iter().for_each(|(times, samples)| {
            let both = times.iter().copied().zip(samples.iter().copied());
            let mut both: Vec<(u64, u32)> = both.collect();
            both.sort();
            let places = times.iter_mut().zip(samples);
            for (place, one) in places.zip(both) {
                (*place.0, *place.1) = one;
            }
        });
    }

    fn statement(&self, number: u32) -> Option<(&Statement, &[Span])> {
        let (block, n) = (number as usize / BLOCK, number as usize % BLOCK);
        let block = self.blocks.get(block)?;
        Some((block.all.get(n)?, block.spans_of(n)))
    }

    /// What a statement says at the time of one of its samples.
    #[inline]
    fn said_at(&self, number: u32, time: u64) -> Option<(&Statement, &Own)> {
        let (of, spans) = self.statement(number)?;
        let later = |span: &Span| {
            let first = self.times.get(span.from as usize);
            first.is_some_and(|first| *first <= time)
        };
        let span = match spans {
            [one] => one,
            _ => spans.get(spans.partition_point(later).checked_sub(1)?)?,
        };
        Some((of, &span.own))
    }

    /// The same beside the sample's time, address and table.
    #[inline]
    pub fn own_at(&self, number: u32, time: u64) -> Option<&Own> {
        Some(self.said_at(number, time)?.1)
    }

    pub fn row_at(&self, number: u32, time: u64) -> Option<Row> {
        let (of, own) = self.said_at(number, time)?;
        Some(of.row(own, time))
    }

    /// The row of one sample, if it says something.
    pub fn of_sample(&self, i: usize, time: u64) -> Option<Row> {
        let chunk = self.chunks.get(i / CHUNK)?;
        let at = chunk.samples.binary_search(&((i % CHUNK) as u16)).ok()?;
        let row = self.row_at(*chunk.said.get(at)?, time)?;
        Some(Row {
            sample: i as u32,
            ..row
        })
    }

    /// The place of the samples of a statement.
    pub fn place_of(&self, number: u32) -> Option<u32> {
        Some(self.statement(number)?.0.place)
    }

    /// How many statements there are.
    pub fn len(&self) -> usize {
        let blocks = self.blocks.iter();
        blocks.map(|block| block.all.len()).sum()
    }

    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// The samples of a chunk in order, each with the number of what it says.
    pub fn of_chunk(&self, chunk: usize) -> impl Iterator<Item = (usize, u32)> {
        let of = self.chunks.get(chunk).into_iter();
        of.flat_map(move |of| {
            let samples = of
                .samples
                .iter()
                .map(move |i| chunk * CHUNK + usize::from(*i));
            samples.zip(of.said.iter().copied())
        })
    }

    /// What is said that is `wanted`, statement after statement.
    pub fn par_said<'s>(
        &'s self,
        wanted: impl Fn(&Own) -> bool + Copy + Sync + Send + 's,
    ) -> impl ParallelIterator<Item = Said<'s>> {
        let blocks = self.blocks.par_iter().enumerate();
        blocks.flat_map_iter(move |(number, block)| {
            let each = block.each().filter(move |(_, _, own, _)| wanted(own));
            each.map(move |(n, of, own, range)| {
                let times = self.times.get(range.clone()).unwrap_or_default();
                Said {
                    number: (number * BLOCK + n) as u32,
                    row: of.row(own, times.first().copied().unwrap_or(0)),
                    times,
                    samples: self.samples.get(range).unwrap_or_default(),
                }
            })
        })
    }

    /// The same sample by sample.
    pub fn par_where<'s>(
        &'s self,
        wanted: impl Fn(&Own) -> bool + Copy + Sync + Send + 's,
    ) -> impl ParallelIterator<Item = Row> + 's {
        self.par_said(wanted).flat_map_iter(|said| said.rows())
    }

    /// Lets `change` change what is `wanted`, span by span, where it remembers something of those before, from
    /// what `begin` gives on. It gets the times, and tells from which of them on what is said.
    pub fn change_spans<S>(
        &mut self,
        wanted: impl Fn(&Own) -> bool + Sync,
        begin: impl Fn() -> S + Sync + Send,
        change: impl Fn(&mut S, &Row, &[u64], &mut Changed) + Sync + Send,
    ) {
        let times = &self.times;
        let blocks = self.blocks.par_iter_mut();
        blocks.for_each_init(begin, |state, block| {
            if !block.spans.iter().any(|span| wanted(&span.own)) {
                return;
            }
            let mut spans = Vec::with_capacity(block.spans.len());
            let mut starts = Vec::with_capacity(block.all.len());
            let mut of_last = None;
            for (n, of, own, range) in block.each() {
                if of_last.replace(n) != Some(n) {
                    starts.push(spans.len() as u32);
                }
                let mut changed = Changed {
                    first: starts.last().map_or(0, |first| *first as usize),
                    from: range.start as u32,
                    spans: &mut spans,
                };
                let here = times.get(range).unwrap_or_default();
                let row = of.row(own, here.first().copied().unwrap_or(0));
                match wanted(own) {
                    true => change(state, &row, here, &mut changed),
                    false => changed.says(0, &row),
                }
            }
            let all = block.all.iter_mut().zip(starts);
            all.for_each(|(of, start)| of.spans = start);
            block.spans = spans;
        });
    }

    /// Adds those of others of which something is said at some time that is `found`.
    pub fn add(&mut self, others: Statements, found: impl Fn(&Own) -> bool) {
        let mut numbers = Vec::new();
        let mut next = self.len() as u32;
        for block in &others.blocks {
            for (n, of) in block.all.iter().enumerate() {
                let spans = block.spans_of(n);
                let Some(first) = spans
                    .first()
                    .filter(|_| spans.iter().any(|s| found(&s.own)))
                else {
                    numbers.push(NONE);
                    continue;
                };
                numbers.push(next);
                next += 1;
                let range = of.from as usize..of.to as usize;
                let from = self.times.len() as u32;
                self.times
                    .extend(others.times.get(range.clone()).unwrap_or_default());
                self.samples
                    .extend(others.samples.get(range).unwrap_or_default());
                let to = from + (of.to - of.from);
                Block::push(&mut self.blocks, (Statement { from, to, ..*of }, first.own));
                if let Some(block) = self.blocks.last_mut() {
                    block.spans.extend(spans.iter().skip(1).map(|span| Span {
                        from: from + (span.from - of.from),
                        own: span.own,
                    }));
                }
            }
        }
        let len = self.chunks.len().max(others.chunks.len());
        self.chunks.resize_with(len, Chunk::default);
        let chunks = self.chunks.par_iter_mut().zip(others.chunks);
        chunks.for_each(|(chunk, more)| chunk.add(&more, &numbers));
    }
}

impl Chunk {
    /// Lets go of memory for more samples.
    fn shrink(&mut self) {
        self.samples.shrink_to_fit();
        self.said.shrink_to_fit();
    }

    /// Adds the samples of others whose statements have numbers.
    fn add(&mut self, others: &Chunk, numbers: &[u32]) {
        let number = |id: u32| numbers.get(id as usize).copied().unwrap_or(NONE);
        let said = others.said.iter().map(|id| number(*id));
        let more = others.samples.iter().copied().zip(said);
        let more = more.filter(|(_, number)| *number != NONE);
        let own = std::mem::take(&mut self.samples).into_iter();
        let own = own.zip(std::mem::take(&mut self.said));
        let mut all: Vec<(u16, u32)> = own.chain(more).collect();
        // Two runs.
        all.sort();
        (self.samples, self.said) = all.into_iter().unzip();
    }
}

impl Block {
    /// Adds a statement, with what it says of all its samples, to the last of the blocks.
    fn push(blocks: &mut Vec<Block>, (statement, own): (Statement, Own)) {
        if blocks.last().is_none_or(|block| block.all.len() == BLOCK) {
            blocks.push(Block {
                all: Vec::with_capacity(BLOCK),
                spans: Vec::with_capacity(BLOCK),
            });
        }
        if let Some(block) = blocks.last_mut() {
            let spans = block.spans.len() as u32;
            block.all.push(Statement { spans, ..statement });
            block.spans.push(Span {
                from: statement.from,
                own,
            });
        }
    }
}

/// What a statement says now of the samples that it said one thing of.
pub struct Changed<'a> {
    /// The first span of the statement.
    first: usize,
    /// The first of the samples.
    from: u32,
    spans: &'a mut Vec<Span>,
}

impl Changed<'_> {
    /// Says it of the samples from this one on, a later one than those before; the first is 0.
    pub fn says(&mut self, at: usize, row: &Row) {
        let own = Own::of(row);
        let before = self.spans.get(self.first..).and_then(<[Span]>::last);
        if before.is_none_or(|before| before.own != own) {
            let from = self.from + at as u32;
            self.spans.push(Span { from, own });
        }
    }

    /// Lets `change` change what is said at each time, as long as what it says holds, and `hear` of what it
    /// returns with the samples that it is of.
    pub fn each<T>(
        &mut self,
        row: &Row,
        times: &[u64],
        mut change: impl FnMut(&mut Row, &mut Until) -> T,
        hear: impl Fn(T, usize),
    ) {
        let mut at = 0;
        while let Some(&time) = times.get(at) {
            let mut now = Row { time, ..*row };
            let mut until = Until::always();
            let said = change(&mut now, &mut until);
            let next = until.end_in(times, at);
            hear(said, next - at);
            self.says(at, &now);
            at = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustc_hash::FxHashMap;

    const A: Alike = Alike {
        place: 1,
        chain: NONE,
        address: 8,
        stored: false,
        regs_sound: true,
        alone: 0,
    };
    const B: Alike = Alike { address: 16, ..A };

    /// Samples two a nanosecond, but for the last, which is of another CPU.
    fn samples() -> Samples {
        let times = (0..2 * CHUNK as u64 + 9).map(|i| i / 2).chain([3]);
        Samples {
            time: times.collect(),
            ..Samples::default()
        }
    }

    fn heard(first: usize, all: &[(Alike, usize)]) -> Heard {
        let mut heard = Heard::new(first);
        let mut ids = FxHashMap::default();
        for &(alike, i) in all {
            let row = Row {
                sample: i as u32,
                part: Ok(Part::BmapKey),
                table: 5,
                ..Row::unplaced(Reason::NotMap, alike.address)
            };
            let id = *ids.entry(alike).or_insert_with(|| heard.add(alike, &row));
            heard.hear(i, id);
        }
        heard
    }

    /// A at 0, 1, 3, 7 and a chunk later, B at 2, and what one sample says alone.
    fn three() -> Statements {
        let last = 2 * CHUNK + 9;
        let alone = Alike { alone: 1, ..A };
        let parts = vec![
            heard(0, &[(A, 0), (A, 2), (B, 5), (alone, 6), (A, 14)]),
            heard(1, &[(A, CHUNK + 2), (A, last)]),
        ];
        Statements::of(parts, &samples())
    }

    /// Number, address, base, times and samples.
    type Listed = (u32, u64, u64, Vec<u64>, Vec<u32>);

    fn said(all: &Statements) -> Vec<Listed> {
        let of = |said: Said| {
            let (times, samples) = (said.times.to_vec(), said.samples.to_vec());
            (said.number, said.row.address, said.row.base, times, samples)
        };
        all.par_said(|_| true).map(of).collect()
    }

    #[test]
    fn what_samples_say_is_one_with_them_in_order_of_time() {
        let all = three();
        let late = CHUNK as u64 / 2 + 1;
        let (far, last) = (CHUNK as u32 + 2, 2 * CHUNK as u32 + 9);
        let expected = [
            (0, 8, 0, vec![3], vec![6]),
            (1, 8, 0, vec![0, 1, 3, 7, late], vec![0, 2, last, 14, far]),
            (2, 16, 0, vec![2], vec![5]),
        ];
        assert_eq!(said(&all), expected);
        assert_eq!((all.len(), all.chunks()), (3, 3));
        let of_chunk: Vec<(usize, u32)> = all.of_chunk(0).collect();
        assert_eq!(of_chunk, [(0, 1), (2, 1), (5, 2), (6, 0), (14, 1)]);
        let row = all.of_sample(CHUNK + 2, late);
        let row = row.map(|row| (row.sample, row.time, row.table, row.part));
        assert_eq!(row, Some((far, late, 5, Ok(Part::BmapKey))));
        assert_eq!(all.of_sample(1, 0), None);
        assert_eq!(all.place_of(1), Some(1));
    }

    #[test]
    fn what_is_said_changes_with_the_time() {
        let mut all = three();
        // Of A: 1 up to 4, then 2; once more 2 where nothing holds for longer.
        let change = |(): &mut (), row: &Row, times: &[u64], changed: &mut Changed| {
            let change = |row: &mut Row, until: &mut Until| {
                let early = until.is_in(row.time, 0, 4);
                if row.time == 7 {
                    until.at_most(7);
                }
                row.base = if early { 1 } else { 2 };
            };
            changed.each(row, times, change, |(), _| {});
        };
        all.change_spans(|own| own.base == 0, || (), change);
        let bases: Vec<_> = said(&all)
            .into_iter()
            .map(|(n, _, b, t, _)| (n, b, t))
            .collect();
        let late = CHUNK as u64 / 2 + 1;
        let expected = [
            (0, 1, vec![3]),
            (1, 1, vec![0, 1, 3]),
            (1, 2, vec![7, late]),
            (2, 1, vec![2]),
        ];
        assert_eq!(bases, expected);
        let at = |time| all.own_at(1, time).map(|own| own.base);
        assert_eq!([0, 3, 7, late].map(at), [1, 1, 2, 2].map(Some));
        let row = all.of_sample(14, 7).map(|row| row.base);
        assert_eq!(row, Some(2));
        let two: Vec<u64> = all.par_where(|own| own.base == 2).map(|r| r.time).collect();
        assert_eq!(two, [7, late]);
        let of_a = |said: &Said| said.number == 1;
        let whole = all.par_said(|_| true).find_first(of_a).unwrap();
        let looks = whole.pieces(|row, until| until.is_in(row.time, 1, 1));
        let looks: Vec<(Vec<u64>, bool)> = looks.map(|(p, is)| (p.times.to_vec(), is)).collect();
        assert_eq!(looks, [(vec![0], false), (vec![1], true), (vec![3], false)]);
    }

    #[test]
    fn others_are_added_where_something_is_found() {
        let mut all = three();
        let found = Alike { place: 9, ..A };
        let lost = Alike { place: 7, ..B };
        let mut others = Statements::of(
            vec![heard(0, &[(lost, 1), (found, 4), (lost, 7), (found, 12)])],
            &samples(),
        );
        let change = |(): &mut (), row: &Row, times: &[u64], changed: &mut Changed| {
            let change = |row: &mut Row, until: &mut Until| {
                let early = until.is_in(row.time, 0, 4);
                if early && row.address == 8 {
                    row.base = 3;
                }
            };
            changed.each(row, times, change, |(), _| {});
        };
        others.change_spans(|_| true, || (), change);
        all.add(others, |own| own.base == 3);
        let added: Vec<_> = said(&all).split_off(3);
        let expected = [(3, 8, 3, vec![2], vec![4]), (3, 8, 0, vec![6], vec![12])];
        assert_eq!(added, expected);
        let of_chunk: Vec<usize> = all.of_chunk(0).map(|(i, _)| i).collect();
        assert_eq!(of_chunk, [0, 2, 4, 5, 6, 12, 14]);
        assert_eq!(all.of_sample(12, 6).map(|row| row.base), Some(0));
    }
}
