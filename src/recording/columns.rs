//! Rows of samples -> the columns of [`Samples`].
//!
//! Rows are written into runs, several at once, and packed there where nothing has to be settled with
//! the others. Runs are then added to the columns in the order of the file.

use super::column::{Block, ROWS, Strip};
use super::cursor::{ByteOrder, Words};
use super::intern::{Interner, Known};
use super::plan::{Fields, Plan, Row};
use super::sample::{ABI_64, SampleBody, WEIGHTS};
use super::samples::{Chains, Interned, Samples};
use perf_event_open_sys::bindings as sys;
use rayon::prelude::*;
use std::slice::ChunksExact;
use std::sync::Mutex;

/// Bits of `sample_type` that fill each column of [`Samples::words`]; every sample fills the first two.
const FIELDS: [u64; 17] = [
    u64::MAX,
    u64::MAX,
    sys::PERF_SAMPLE_IP as u64,
    sys::PERF_SAMPLE_TID as u64,
    sys::PERF_SAMPLE_TIME as u64,
    sys::PERF_SAMPLE_ADDR as u64,
    sys::PERF_SAMPLE_CPU as u64,
    sys::PERF_SAMPLE_PERIOD as u64,
    WEIGHTS,
    sys::PERF_SAMPLE_DATA_SRC as u64,
    sys::PERF_SAMPLE_PHYS_ADDR as u64,
    sys::PERF_SAMPLE_CALLCHAIN as u64,
    sys::PERF_SAMPLE_REGS_INTR as u64,
    sys::PERF_SAMPLE_RAW as u64,
    sys::PERF_SAMPLE_RAW as u64,
    sys::PERF_SAMPLE_STACK_USER as u64,
    sys::PERF_SAMPLE_STACK_USER as u64,
];

/// Bits of fields that lie outside of the record's fixed part, which the last of [`FIELDS`] are.
const APART: u64 = (sys::PERF_SAMPLE_CALLCHAIN
    | sys::PERF_SAMPLE_REGS_INTR
    | sys::PERF_SAMPLE_RAW
    | sys::PERF_SAMPLE_STACK_USER) as u64;

/// What copies of stacks out of compressed records may take of memory: so many times the file, and so
/// many bytes more. The samples after that are read without.
const STACKS: (u64, u64) = (2, 16 << 20);

/// A column of a run. The columns lie one cache line off each other's place in the cache: with a power
/// of two between them the words of a row would push each other out of it.
type Field = [u64; ROWS + 8];

fn filled(field: u64, sampled: u64) -> bool {
    field == u64::MAX || field & sampled != 0
}

/// At most [`ROWS`] samples that follow each other.
#[derive(Debug)]
pub struct Run {
    rows: usize,
    /// As [`FIELDS`].
    words: Box<[Field]>,
    /// Bits that some event samples.
    sampled: u64,
    ips: Known,
    threads: Known,
    data_srcs: Known,
    chains: Chains,
    /// Registers of samples that were compressed; they count from `file_size` on.
    regs: Vec<u64>,
    /// Bytes of samples that were compressed; they count from `file_size` on.
    inflated: Vec<u8>,
    scratch: Vec<u64>,
    file_size: u64,
    to: Place,
    /// Of the columns that are filled: what was packed of runs before.
    strips: Vec<Strip>,
}

/// Where in the columns a run goes.
#[derive(Debug, Default)]
struct Place {
    ips: Vec<u32>,
    threads: Vec<u32>,
    data_srcs: Vec<u32>,
    chains: Vec<u32>,
    regs: u64,
    /// `None`: too much was inflated already.
    inflated: Option<u64>,
}

impl Run {
    /// A run of a file of this size, to be filled with samples of events that sample these bits.
    pub fn new(file_size: u64, sampled: u64) -> Run {
        Run {
            rows: 0,
            words: vec![[0; ROWS + 8]; FIELDS.len()].into_boxed_slice(),
            sampled,
            ips: Known::default(),
            threads: Known::default(),
            data_srcs: Known::default(),
            chains: Chains::default(),
            regs: Vec::new(),
            inflated: Vec::new(),
            scratch: Vec::new(),
            file_size,
            to: Place::default(),
            strips: Vec::new(),
        }
    }

    /// Whether it has all the rows that a block has.
    pub fn is_whole(&self) -> bool {
        self.rows == ROWS
    }

    /// Whether it is whole, and has nothing that depends on the runs before it.
    pub fn is_settled(&self) -> bool {
        let settled = [&self.ips, &self.threads, &self.data_srcs];
        let settled = settled.into_iter().all(Known::is_settled);
        settled && self.is_whole() && self.sampled & APART == 0
    }

    /// Adds samples of one plan and one `cpumode`, whose records are of one size and long enough, and
    /// whose events `find_events` puts into the column of those; `None` when the run has no room for them.
    pub fn push_all(
        &mut self,
        values: &Values,
        (plan, order): (&Plan, ByteOrder),
        records: ChunksExact<u8>,
        find_events: impl FnOnce(&mut [u64]),
        cpumode: u8,
    ) -> Option<()> {
        let rows = self.rows..self.rows + records.len();
        let fields: &mut [Field; FIELDS.len()] = (&mut *self.words).try_into().ok()?;
        let rows = |field| <[u64]>::get_mut(field, rows.clone()).filter(|_| rows.end <= ROWS);
        let [
            events,
            modes,
            ip,
            thread,
            time,
            addr,
            cpu,
            period,
            weight,
            data_src,
            phys_addr,
            ..,
        ] = fields.each_mut().map(|field| rows(field));
        let (ip, thread, data_src) = (ip?, thread?, data_src?);
        find_events(events?);
        modes?.fill(cpumode.into());
        let number = records.len();
        let fields = Fields {
            ip: &mut *ip,
            thread: &mut *thread,
            time: time?,
            addr: addr?,
            cpu: cpu?,
            period: period?,
            weight: weight?,
            data_src: &mut *data_src,
            phys_addr: phys_addr?,
        };
        plan.read(records, order, fields);
        self.ips.ids(&values.ips, ip);
        // The samples of a CPU's buffer are of one thread for a while.
        for thread in thread.chunk_by_mut(|a, b| a == b) {
            let id = self.threads.id(&values.threads, thread[0]);
            thread.fill(id);
        }
        self.data_srcs.ids(&values.data_srcs, data_src);
        self.rows += number;
        Some(())
    }

    /// Adds a sample of which all fields have a fixed size; `None` when the run is full.
    #[inline(always)]
    pub fn push(&mut self, values: &Values, row: Row, event: u16, cpumode: u8) -> Option<()> {
        self.push_row(
            values,
            row,
            event,
            cpumode,
            [0, u64::MAX, u64::MAX, 0, u64::MAX, 0],
        )
    }

    /// Adds any sample, whose body lies at byte `at` of the file; `at` is `None` when it was
    /// compressed. `None` when the run is full.
    pub fn push_body(
        &mut self,
        values: &Values,
        body: &SampleBody,
        at: Option<u64>,
        event: u16,
        cpumode: u8,
    ) -> Option<()> {
        let chain = body.callchain.map_or(0, |ips| self.chain(ips));
        let regs = match body.regs_intr {
            // Those of a 32-bit task are narrower, and some are others.
            Some(registers) if !registers.values.is_empty() && registers.abi == ABI_64 => {
                at.map(|at| at + body.regs_at as u64).unwrap_or_else(|| {
                    let start = self.file_size + self.regs.len() as u64;
                    self.regs.extend(registers.values.iter());
                    start
                })
            }
            _ => u64::MAX,
        };
        let raw = self.span(body.raw, at.map(|at| at + body.raw_at as u64));
        let stack = self.span(body.stack, at.map(|at| at + body.stack_at as u64));
        let apart = [u64::from(chain), regs, raw.0, raw.1, stack.0, stack.1];
        self.push_row(values, Row::from(body), event, cpumode, apart)
    }

    #[inline(always)]
    fn push_row(
        &mut self,
        values: &Values,
        row: Row,
        event: u16,
        cpumode: u8,
        apart: [u64; 6],
    ) -> Option<()> {
        let words = [
            u64::from(event),
            u64::from(cpumode),
            self.ips.id(&values.ips, row.ip),
            self.threads.id(&values.threads, row.thread),
            row.time,
            row.addr,
            row.cpu.into(),
            row.period,
            row.weight,
            self.data_srcs.id(&values.data_srcs, row.data_src),
            row.phys_addr,
        ];
        let fields: &mut [Field; FIELDS.len()] = (&mut *self.words).try_into().ok()?;
        let row = self.rows;
        if row >= ROWS {
            return None;
        }
        for (field, word) in fields.iter_mut().zip(words) {
            field[row] = word;
        }
        if self.sampled & APART != 0 {
            for (field, word) in fields.iter_mut().skip(words.len()).zip(apart) {
                field[row] = word;
            }
        }
        self.rows += 1;
        Some(())
    }

    /// Start and length of bytes that lie at byte `at` of the file, or were compressed.
    fn span(&mut self, bytes: Option<&[u8]>, at: Option<u64>) -> (u64, u64) {
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
            return (u64::MAX, 0);
        };
        let start = at.unwrap_or_else(|| {
            self.inflated.extend_from_slice(bytes);
            self.file_size + (self.inflated.len() - bytes.len()) as u64
        });
        (start, bytes.len() as u64)
    }

    fn chain(&mut self, ips: Words) -> u32 {
        self.scratch.clear();
        self.scratch.extend(ips.iter());
        self.chains.add(&self.scratch)
    }

    /// Makes ids and places those of the columns.
    fn settle(&mut self) {
        let mut fields = self.words.iter_mut().map(|words| &mut words[..self.rows]);
        let mut next = || fields.next().unwrap_or_default();
        let (_event, _cpumode, ip, thread) = (next(), next(), next(), next());
        Known::translate(&self.to.ips, ip);
        Known::translate(&self.to.threads, thread);
        let (_time, _addr, _cpu, _period, _weight) = (next(), next(), next(), next(), next());
        Known::translate(&self.to.data_srcs, next());
        let (_phys_addr, chain, regs) = (next(), next(), next());
        let (raw, raw_len, stack, stack_len) = (next(), next(), next(), next());
        if filled(sys::PERF_SAMPLE_CALLCHAIN.into(), self.sampled) {
            for id in chain {
                *id = self.to.chains.get(*id as usize).map_or(0, |&id| id.into());
            }
        }
        if filled(sys::PERF_SAMPLE_REGS_INTR.into(), self.sampled) {
            let copied = self.file_size..u64::MAX;
            for start in regs.iter_mut().filter(|start| copied.contains(start)) {
                *start += self.to.regs;
            }
        }
        let spans = [
            (sys::PERF_SAMPLE_RAW, raw, raw_len),
            (sys::PERF_SAMPLE_STACK_USER, stack, stack_len),
        ];
        for (field, starts, lens) in spans {
            if !filled(field.into(), self.sampled) {
                continue;
            }
            let inflated = self.file_size..u64::MAX;
            for (start, len) in starts.iter_mut().zip(lens) {
                match self.to.inflated {
                    Some(to) if inflated.contains(start) => *start += to,
                    None if inflated.contains(start) => (*start, *len) = (u64::MAX, 0),
                    _ => {}
                }
            }
        }
    }

    /// Packs the rows: the run begins anew.
    pub fn pack(&mut self) {
        let fields = FIELDS.iter().zip(self.words.iter());
        let fields = fields.filter(|(field, _)| filled(**field, self.sampled));
        for (n, (_, words)) in fields.enumerate() {
            if n == self.strips.len() {
                self.strips.push(Strip::default());
            }
            self.strips[n].push(&words[..self.rows.min(ROWS)]);
        }
        self.rows = 0;
    }

    /// What was packed, if anything was.
    pub fn packed(&mut self) -> Option<Ended> {
        let any = self.strips.iter().any(|strip| !strip.is_empty());
        let take = || self.strips.iter_mut().map(Strip::take).collect();
        any.then(take).map(Ended::Packed)
    }
}

/// A run that has ended.
#[derive(Debug)]
pub enum Ended {
    /// Several, one after the other: the blocks of each column that is filled.
    Packed(Vec<Vec<Block>>),
    /// Its ids and places are its own.
    Open(Box<Run>),
}

/// The distinct values of columns whose values repeat.
#[derive(Debug, Default)]
pub struct Values {
    ips: Interner,
    threads: Interner,
    data_srcs: Interner,
}

/// The columns while they grow.
#[derive(Debug, Default)]
pub struct Columns {
    samples: Samples,
    values: Values,
    /// Bits that some event samples: their columns are filled.
    sampled: u64,
    inflated: Vec<u8>,
    /// Bytes of the columns.
    packed: usize,
    /// Whether most of the runs that were added last had no values of their own.
    settled: bool,
    /// To be filled.
    spare: Mutex<Vec<Run>>,
}

impl Columns {
    /// Bytes that it holds, in round numbers.
    pub fn held(&self) -> usize {
        /// Of a value and its id, in a list and in a table that is half full.
        const INTERNED: usize = 48;
        let values = &self.values;
        let values = [&values.ips, &values.threads, &values.data_srcs];
        let interned: usize = values.iter().map(|values| values.values.len()).sum();
        let (chains, regs) = (&self.samples.chains, &self.samples.regs_intr.values);
        self.packed
            + INTERNED * (interned + chains.ends.len())
            + 8 * chains.frames.capacity()
            + 8 * regs.capacity()
            + self.inflated.capacity()
    }

    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Bits that some event samples.
    pub fn sampled(&self) -> u64 {
        self.sampled
    }

    pub fn is_settled(&self) -> bool {
        self.settled
    }

    pub fn values(&self) -> &Values {
        &self.values
    }

    /// A run that was packed, to be filled again.
    pub fn spare_run(&self) -> Option<Box<Run>> {
        self.spare.lock().ok()?.pop().map(Box::new)
    }

    pub fn spare(&self, run: Box<Run>) {
        if let Ok(mut spare) = self.spare.lock() {
            spare.push(*run);
        }
    }

    /// Adds the rows of the runs.
    pub fn append(&mut self, mut runs: Vec<Ended>) {
        let open = runs.iter().filter(|run| matches!(run, Ended::Open(_)));
        self.settled = 2 * open.count() < runs.len();
        for run in &mut runs {
            let Ended::Open(run) = run else { continue };
            let chains = 0..run.chains.ends.len() as u32;
            let chains = chains.map(|id| self.samples.chains.add(run.chains.get(id)));
            let kept = self.inflated.len() + run.inflated.len();
            let most = run.file_size.saturating_mul(STACKS.0) + STACKS.1;
            let room =
                kept as u64 <= most || !filled(sys::PERF_SAMPLE_STACK_USER.into(), run.sampled);
            run.to = Place {
                ips: run.ips.add_to(&mut self.values.ips),
                threads: run.threads.add_to(&mut self.values.threads),
                data_srcs: run.data_srcs.add_to(&mut self.values.data_srcs),
                chains: chains.collect(),
                regs: self.samples.regs_intr.values.len() as u64,
                inflated: room.then_some(self.inflated.len() as u64),
            };
            self.samples.regs_intr.values.extend(&run.regs);
            if room {
                self.inflated.extend(&run.inflated);
            }
        }
        side_by_side(&mut runs, |ended| {
            if let Ended::Open(run) = ended {
                run.settle();
                if run.is_whole() {
                    run.pack();
                }
                if let Some(packed) = run.packed() {
                    *ended = packed;
                }
            }
        });
        for run in runs {
            let columns = self.samples.words().into_iter().zip(FIELDS);
            let columns = columns.filter(|(_, field)| filled(*field, self.sampled));
            match run {
                Ended::Packed(blocks) => {
                    for ((column, _), blocks) in columns.zip(blocks) {
                        for block in blocks {
                            self.packed += block.held();
                            column.push_block(block);
                        }
                    }
                }
                Ended::Open(run) => {
                    let fields = FIELDS.iter().zip(run.words.iter());
                    let fields = fields.filter(|(field, _)| filled(**field, run.sampled));
                    for ((column, _), (_, words)) in columns.zip(fields) {
                        let words = words.iter().take(run.rows);
                        self.packed += 4 * words.len();
                        words.for_each(|&word| column.push(word));
                    }
                }
            }
        }
    }

    /// Says that events with these `sample_type` bits exist. Rows from before hold 0 in columns that
    /// begin with it (a pipe can announce events late).
    pub fn add_sample_type(&mut self, sample_type: u64) {
        self.sampled |= sample_type;
        self.spare = Mutex::default();
        let rows = self.samples.len();
        if rows == 0 {
            return;
        }
        let values = &mut self.values;
        let (ip, thread) = (values.ips.id(0), values.threads.id(0));
        let data_src = values.data_srcs.id(0);
        let (ip, thread, data_src) = (ip.into(), thread.into(), data_src.into());
        let none = u64::MAX;
        let empty = [
            0, 0, ip, thread, 0, 0, 0, 0, 0, data_src, 0, 0, none, none, 0, none, 0,
        ];
        let columns = self.samples.words().into_iter().zip(FIELDS);
        for ((column, field), word) in columns.zip(empty) {
            if filled(field, self.sampled) {
                column.pad(rows, word);
            }
        }
    }

    /// The columns, and the bytes of samples that were compressed.
    pub fn finish(self) -> (Samples, Vec<u8>) {
        let mut samples = self.samples;
        samples.ip.values = self.values.ips.values;
        samples.data_src.values = self.values.data_srcs.values;
        samples.thread = Interned {
            values: self
                .values
                .threads
                .values
                .iter()
                .map(|thread| ((thread >> 32) as i32, *thread as i32))
                .collect(),
            ids: samples.thread.ids,
        };
        (samples, self.inflated)
    }
}

/// Does something to each; other threads are asked only where there are several, for most files are
/// small.
pub fn side_by_side<T: Send>(each: &mut [T], act: impl Fn(&mut T) + Sync) {
    match each {
        [one] => act(one),
        many => many.par_iter_mut().with_max_len(1).for_each(&act),
    }
}
