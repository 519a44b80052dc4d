//! Writes decoded samples into the columns of a recording, as if an event had sampled them.

use crate::recording::{Interned, Samples};
use rustc_hash::FxHashMap;
use std::hash::Hash;

/// One sample of an event. A field that its event does not sample is not looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row {
    pub ip: u64,
    /// Process and thread.
    pub thread: (i32, i32),
    /// Nanoseconds on the recording's clock.
    pub time: u64,
    pub addr: u64,
    pub cpu: u16,
    pub period: u64,
    pub weight: u64,
    pub data_src: u64,
    pub phys_addr: u64,
    pub cpumode: u8,
}

/// Adds samples to columns, and changes values of those that are there.
#[derive(Debug)]
pub struct Rows<'a> {
    samples: &'a mut Samples,
    ips: Ids<u64>,
    threads: Ids<(i32, i32)>,
    data_srcs: Ids<u64>,
}

/// The ids of an interned column.
#[derive(Debug)]
struct Ids<T>(FxHashMap<T, u32>);

impl<T: Copy + Eq + Hash> Ids<T> {
    fn of(column: &Interned<T>) -> Ids<T> {
        let ids = column.values.iter().zip(0..);
        Ids(ids.map(|(&value, id)| (value, id)).collect())
    }

    fn id(&mut self, column: &mut Interned<T>, value: T) -> u32 {
        *self.0.entry(value).or_insert_with(|| {
            column.values.push(value);
            (column.values.len() - 1) as u32
        })
    }
}

impl<'a> Rows<'a> {
    pub fn new(samples: &'a mut Samples) -> Rows<'a> {
        Rows {
            ips: Ids::of(&samples.ip),
            threads: Ids::of(&samples.thread),
            data_srcs: Ids::of(&samples.data_src),
            samples,
        }
    }

    /// Begins the columns that decoded samples have; rows of before hold 0 in new ones.
    pub fn begin_columns(&mut self, phys_addr: bool) {
        let samples = &mut *self.samples;
        let rows = samples.len();
        samples.addr.pad(rows, 0);
        samples.weight.pad(rows, 0);
        if phys_addr {
            samples.phys_addr.pad(rows, 0);
        }
        let none = self.data_srcs.id(&mut samples.data_src, 0);
        samples.data_src.ids.pad(rows, none);
    }

    /// The same, and of columns that every sample has.
    pub fn begin_all_columns(&mut self, phys_addr: bool) {
        self.begin_columns(phys_addr);
        let samples = &mut *self.samples;
        let rows = samples.len();
        samples.time.pad(rows, 0);
        samples.cpu.pad(rows, 0);
        samples.period.pad(rows, 0);
        let none = self.ips.id(&mut samples.ip, 0);
        samples.ip.ids.pad(rows, none);
        let none = self.threads.id(&mut samples.thread, (0, 0));
        samples.thread.ids.pad(rows, none);
    }

    /// Adds a sample of event `event`, after [`Rows::begin_all_columns`].
    pub fn push(&mut self, row: &Row, event: u16) {
        let samples = &mut *self.samples;
        samples.event.push(event);
        samples.cpumode.push(row.cpumode);
        let id = self.ips.id(&mut samples.ip, row.ip);
        samples.ip.ids.push(id);
        let id = self.threads.id(&mut samples.thread, row.thread);
        samples.thread.ids.push(id);
        let id = self.data_srcs.id(&mut samples.data_src, row.data_src);
        samples.data_src.ids.push(id);
        samples.time.push(row.time);
        samples.addr.push(row.addr);
        samples.cpu.push(row.cpu);
        samples.period.push(row.period);
        samples.weight.push(row.weight);
        let rows = samples.len();
        if !samples.phys_addr.is_empty() || row.phys_addr != 0 {
            samples.phys_addr.pad(rows - 1, 0);
            samples.phys_addr.push(row.phys_addr);
        }
        // What no decoded sample has.
        if !samples.chain.is_empty() {
            samples.chain.pad(rows, 0);
        }
        if !samples.regs_intr.start.is_empty() {
            samples.regs_intr.start.pad(rows, u64::MAX);
        }
        if !samples.raw.start.is_empty() {
            samples.raw.start.pad(rows, u64::MAX);
            samples.raw.len.pad(rows, 0);
        }
        if !samples.stack.start.is_empty() {
            samples.stack.start.pad(rows, u64::MAX);
            samples.stack.len.pad(rows, 0);
        }
    }

    /// Writes what a decoder found out of samples, in their order, after [`Rows::begin_columns`].
    pub fn set(&mut self, found: &[(usize, Row)]) {
        let samples = &mut *self.samples;
        let data_srcs: Vec<(usize, u32)> = found
            .iter()
            .map(|(i, row)| (*i, self.data_srcs.id(&mut samples.data_src, row.data_src)))
            .collect();
        samples.data_src.ids.replace(data_srcs);
        let of = |field: fn(&Row) -> u64| found.iter().map(move |(i, row)| (*i, field(row)));
        samples.addr.replace(of(|row| row.addr));
        samples.phys_addr.replace(of(|row| row.phys_addr));
        samples.weight.replace(of(|row| row.weight));
    }
}
