//! Sample records -> the columns of [`Samples`].

use super::cursor::Words;
use super::intern::Interner;
use super::plan::Row;
use super::sample::{SampleBody, WEIGHTS};
use super::samples::{Chains, Interned, Samples};
use perf_event_open_sys::bindings as sys;
use rustc_hash::FxHashMap;

/// The columns while they grow.
#[derive(Debug)]
pub struct Columns {
    samples: Samples,
    ips: Interner,
    threads: Interner,
    data_srcs: Interner,
    /// Bits that some event samples: their columns are filled.
    sampled: u64,
    scratch: Vec<u64>,
    /// Raw bytes of samples that were compressed; they count from `file_size` on.
    inflated: Vec<u8>,
    file_size: u64,
}

fn has(bits: u64, bit: sys::perf_event_sample_format) -> bool {
    bits & u64::from(bit) != 0
}

impl Columns {
    /// Columns of a file of this size.
    pub fn new(file_size: u64) -> Self {
        Columns {
            samples: Samples {
                chains: no_chains(),
                ..Samples::default()
            },
            ips: Interner::default(),
            threads: Interner::default(),
            data_srcs: Interner::default(),
            sampled: 0,
            scratch: Vec::new(),
            inflated: Vec::new(),
            file_size,
        }
    }

    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Bits that some event samples.
    pub fn sampled(&self) -> u64 {
        self.sampled
    }

    /// Empties the columns, to be filled with samples of events that sample these bits. Ids of values
    /// stay what they are.
    pub fn begin(&mut self, sampled: u64) {
        self.sampled = sampled;
        self.inflated.clear();
        let samples = &mut self.samples;
        for column in [
            &mut samples.addr,
            &mut samples.time,
            &mut samples.period,
            &mut samples.weight,
            &mut samples.phys_addr,
            &mut samples.regs_intr.start,
            &mut samples.regs_intr.values,
            &mut samples.raw.start,
        ] {
            column.clear();
        }
        for column in [
            &mut samples.ip.ids,
            &mut samples.thread.ids,
            &mut samples.data_src.ids,
            &mut samples.chain,
            &mut samples.raw.len,
        ] {
            column.clear();
        }
        samples.cpu.clear();
        samples.event.clear();
        samples.cpumode.clear();
        samples.chains = no_chains();
    }

    /// Adds the rows of `lane`, whose next rows [`Columns::begin`] begins.
    pub fn append(&mut self, lane: &mut Columns) {
        let (to, from) = (&mut self.samples, &lane.samples);
        let chains: Vec<u32> = match from.chain.is_empty() {
            true => Vec::new(),
            false => (0..from.chains.ends.len() as u32)
                .map(|id| add_chain(&mut to.chains, from.chains.get(id)))
                .collect(),
        };
        let (regs_before, inflated_before) = (to.regs_intr.values.len(), self.inflated.len());
        to.regs_intr.values.extend(&from.regs_intr.values);
        self.inflated.extend(&lane.inflated);
        let file_size = self.file_size;
        rayon::join(
            || {
                to.time.extend(&from.time);
                to.addr.extend(&from.addr);
                to.period.extend(&from.period);
                to.weight.extend(&from.weight);
                to.phys_addr.extend(&from.phys_addr);
            },
            || {
                to.event.extend(&from.event);
                to.cpumode.extend(&from.cpumode);
                to.cpu.extend(&from.cpu);
                lane.ips.add_to(&mut self.ips, &from.ip.ids, &mut to.ip.ids);
                lane.threads
                    .add_to(&mut self.threads, &from.thread.ids, &mut to.thread.ids);
                lane.data_srcs.add_to(
                    &mut self.data_srcs,
                    &from.data_src.ids,
                    &mut to.data_src.ids,
                );
                let ids = from.chain.iter().filter_map(|&id| chains.get(id as usize));
                to.chain.extend(ids);
                let moved = |&start: &u64| match start {
                    u64::MAX => start,
                    start => start + regs_before as u64,
                };
                to.regs_intr
                    .start
                    .extend(from.regs_intr.start.iter().map(moved));
                let moved = |&start: &u64| match start {
                    u64::MAX => start,
                    start if start >= file_size => start + inflated_before as u64,
                    start => start,
                };
                to.raw.start.extend(from.raw.start.iter().map(moved));
                to.raw.len.extend(&from.raw.len);
            },
        );
    }

    /// Room for `rows` more rows.
    pub fn reserve(&mut self, rows: usize) {
        let samples = &mut self.samples;
        let sampled = self.sampled;
        let words = [
            (sys::PERF_SAMPLE_ADDR, &mut samples.addr),
            (sys::PERF_SAMPLE_TIME, &mut samples.time),
            (sys::PERF_SAMPLE_PERIOD, &mut samples.period),
            (
                sys::PERF_SAMPLE_WEIGHT | sys::PERF_SAMPLE_WEIGHT_STRUCT,
                &mut samples.weight,
            ),
            (sys::PERF_SAMPLE_PHYS_ADDR, &mut samples.phys_addr),
        ];
        for (bits, column) in words {
            if has(sampled, bits) {
                column.reserve(rows);
            }
        }
        let ids = [
            (sys::PERF_SAMPLE_IP, &mut samples.ip.ids),
            (sys::PERF_SAMPLE_TID, &mut samples.thread.ids),
            (sys::PERF_SAMPLE_DATA_SRC, &mut samples.data_src.ids),
        ];
        for (bits, column) in ids {
            if has(sampled, bits) {
                column.reserve(rows);
            }
        }
        if has(sampled, sys::PERF_SAMPLE_CPU) {
            samples.cpu.reserve(rows);
        }
        samples.event.reserve(rows);
        samples.cpumode.reserve(rows);
    }

    /// Says that events with these `sample_type` bits exist. Rows from before hold 0 in columns that
    /// begin with it (a pipe can announce events late).
    pub fn add_sample_type(&mut self, sample_type: u64) {
        self.sampled |= sample_type;
        let rows = self.samples.len();
        if rows == 0 {
            return;
        }
        self.pad(rows);
    }

    fn pad(&mut self, rows: usize) {
        let sampled = self.sampled;
        let (ip, thread, data_src) = (self.ips.id(0), self.threads.id(0), self.data_srcs.id(0));
        let samples = &mut self.samples;
        let pad = |bits, column: &mut Vec<u64>| {
            if has(sampled, bits) {
                column.resize(rows, 0);
            }
        };
        pad(sys::PERF_SAMPLE_ADDR, &mut samples.addr);
        pad(sys::PERF_SAMPLE_TIME, &mut samples.time);
        pad(sys::PERF_SAMPLE_PERIOD, &mut samples.period);
        pad(
            sys::PERF_SAMPLE_WEIGHT | sys::PERF_SAMPLE_WEIGHT_STRUCT,
            &mut samples.weight,
        );
        pad(sys::PERF_SAMPLE_PHYS_ADDR, &mut samples.phys_addr);
        let pad = |bits, column: &mut Vec<u32>, zero| {
            if has(sampled, bits) {
                column.resize(rows, zero);
            }
        };
        pad(sys::PERF_SAMPLE_IP, &mut samples.ip.ids, ip);
        pad(sys::PERF_SAMPLE_TID, &mut samples.thread.ids, thread);
        pad(
            sys::PERF_SAMPLE_DATA_SRC,
            &mut samples.data_src.ids,
            data_src,
        );
        pad(sys::PERF_SAMPLE_CALLCHAIN, &mut samples.chain, 0);
        if has(sampled, sys::PERF_SAMPLE_CPU) {
            samples.cpu.resize(rows, 0);
        }
        if has(sampled, sys::PERF_SAMPLE_REGS_INTR) {
            samples.regs_intr.start.resize(rows, u64::MAX);
        }
        if has(sampled, sys::PERF_SAMPLE_RAW) {
            samples.raw.start.resize(rows, u64::MAX);
            samples.raw.len.resize(rows, 0);
        }
    }

    /// Adds a sample of which all fields have a fixed size.
    #[inline(always)]
    pub fn push(&mut self, row: Row, event: u16, cpumode: u8) {
        self.push_row(row, event, cpumode);
        if has(self.sampled, sys::PERF_SAMPLE_CALLCHAIN) {
            self.samples.chain.push(0);
        }
        if has(self.sampled, sys::PERF_SAMPLE_REGS_INTR) {
            self.samples.regs_intr.start.push(u64::MAX);
        }
        if has(self.sampled, sys::PERF_SAMPLE_RAW) {
            self.samples.raw.start.push(u64::MAX);
            self.samples.raw.len.push(0);
        }
    }

    /// Adds any sample, whose body lies at byte `at` of the file; `None` when it was compressed.
    pub fn push_body(&mut self, body: &SampleBody, at: Option<u64>, event: u16, cpumode: u8) {
        self.push_row(Row::from(body), event, cpumode);
        if has(self.sampled, sys::PERF_SAMPLE_CALLCHAIN) {
            let chain = body.callchain.map_or(0, |ips| self.chain(ips));
            self.samples.chain.push(chain);
        }
        if has(self.sampled, sys::PERF_SAMPLE_REGS_INTR) {
            let regs = &mut self.samples.regs_intr;
            match body.regs_intr {
                Some(registers) if !registers.values.is_empty() => {
                    regs.start.push(regs.values.len() as u64);
                    regs.values.extend(registers.values.iter());
                }
                _ => regs.start.push(u64::MAX),
            }
        }
        if has(self.sampled, sys::PERF_SAMPLE_RAW) {
            let raw = body.raw.filter(|raw| !raw.is_empty());
            let start = match (raw, at) {
                (None, _) => u64::MAX,
                (Some(_), Some(at)) => at + body.raw_at as u64,
                (Some(raw), None) => {
                    let start = self.file_size + self.inflated.len() as u64;
                    self.inflated.extend_from_slice(raw);
                    start
                }
            };
            self.samples.raw.start.push(start);
            self.samples
                .raw
                .len
                .push(raw.map_or(0, |raw| raw.len() as u32));
        }
    }

    #[inline(always)]
    fn push_row(&mut self, row: Row, event: u16, cpumode: u8) {
        let samples = &mut self.samples;
        let sampled = self.sampled;
        samples.event.push(event);
        samples.cpumode.push(cpumode);
        if has(sampled, sys::PERF_SAMPLE_IP) {
            samples.ip.ids.push(self.ips.id(row.ip));
        }
        if has(sampled, sys::PERF_SAMPLE_TID) {
            samples.thread.ids.push(self.threads.id(row.thread));
        }
        if has(sampled, sys::PERF_SAMPLE_TIME) {
            samples.time.push(row.time);
        }
        if has(sampled, sys::PERF_SAMPLE_ADDR) {
            samples.addr.push(row.addr);
        }
        if has(sampled, sys::PERF_SAMPLE_CPU) {
            samples.cpu.push(row.cpu);
        }
        if has(sampled, sys::PERF_SAMPLE_PERIOD) {
            samples.period.push(row.period);
        }
        if sampled & WEIGHTS != 0 {
            samples.weight.push(row.weight);
        }
        if has(sampled, sys::PERF_SAMPLE_DATA_SRC) {
            samples.data_src.ids.push(self.data_srcs.id(row.data_src));
        }
        if has(sampled, sys::PERF_SAMPLE_PHYS_ADDR) {
            samples.phys_addr.push(row.phys_addr);
        }
    }

    fn chain(&mut self, ips: Words) -> u32 {
        self.scratch.clear();
        self.scratch.extend(ips.iter());
        add_chain(&mut self.samples.chains, &self.scratch)
    }

    /// The columns, and the raw bytes of samples that were compressed.
    pub fn finish(self) -> (Samples, Vec<u8>) {
        let mut samples = self.samples;
        samples.ip.values = self.ips.values;
        samples.data_src.values = self.data_srcs.values;
        samples.thread = Interned {
            values: self
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

fn no_chains() -> Chains {
    Chains {
        ends: vec![0],
        frames: Vec::new(),
        index: FxHashMap::from_iter([(Box::from([].as_slice()), 0)]),
    }
}

fn add_chain(chains: &mut Chains, ips: &[u64]) -> u32 {
    if let Some(&id) = chains.index.get(ips) {
        return id;
    }
    // `ends` counts frames in 32 bits; chains past that are kept as empty ones.
    let Ok(end) = u32::try_from(chains.frames.len() + ips.len()) else {
        return 0;
    };
    let id = chains.ends.len() as u32;
    chains.frames.extend_from_slice(ips);
    chains.ends.push(end);
    chains.index.insert(ips.into(), id);
    id
}
