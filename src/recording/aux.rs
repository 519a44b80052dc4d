//! AUX areas: what a PMU writes by itself (Arm SPE, Intel PT), found here and decoded elsewhere; and
//! the bytes of samples that are no columns: raw ones, copies of stacks.

use super::Recording;
use super::column::Column;
use super::cursor::{ByteOrder, Cursor};
use super::held::{Held, part};
use super::records::{Record, Stamp};
use super::space::push;
use perf_event_open_sys::bindings as sys;

/// All that a recording tells of AUX areas.
#[derive(Debug, Clone, Default)]
pub struct Aux {
    /// `PERF_RECORD_AUXTRACE_INFO`.
    pub infos: Vec<AuxInfo>,
    /// `PERF_RECORD_AUXTRACE`, in file order.
    pub chunks: Vec<AuxChunk>,
    /// `PERF_RECORD_AUX`, in file order.
    pub records: Vec<AuxRecord>,
    /// `PERF_RECORD_ITRACE_START`.
    pub starts: Vec<ItraceStart>,
    /// `PERF_RECORD_SWITCH` and `PERF_RECORD_SWITCH_CPU_WIDE`: `(cpu, time, tid)`, the thread that runs
    /// from then on.
    pub switches: Vec<(u32, u64, i32)>,
    /// `PERF_RECORD_TIME_CONV`.
    pub time_conv: Option<TimeConv>,
}

impl Aux {
    /// The thread that runs on `cpu` at `time`, as far as switches tell.
    pub fn running(&self, cpu: u32, time: u64) -> Option<i32> {
        let after = self
            .switches
            .partition_point(|&(other, since, _)| (other, since) <= (cpu, time));
        let &(other, _, tid) = self.switches.get(after.checked_sub(1)?)?;
        (other == cpu).then_some(tid)
    }
}

/// `PERF_RECORD_AUXTRACE_INFO`: which decoder the AUX data wants, and what it needs to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuxInfo {
    /// `enum auxtrace_type`, `tools/perf/util/auxtrace.h`.
    pub kind: u32,
    /// Words that only the decoder of `kind` knows the meaning of.
    pub words: Vec<u64>,
}

/// `PERF_RECORD_AUXTRACE`: a piece of one AUX area; [`Recording::aux_data`] has its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuxChunk {
    /// Where its bytes begin in the file.
    pub file_offset: u64,
    /// Bytes that are there: fewer than `size` where the file is cut.
    pub len: u64,
    /// Bytes that the record says there are.
    pub size: u64,
    /// Where in its AUX area it begins.
    pub offset: u64,
    pub reference: u64,
    /// Of the AUX area, as perf numbers them.
    pub idx: u32,
    /// -1 for an area of a CPU.
    pub tid: i32,
    /// -1 for an area of a thread.
    pub cpu: i32,
}

/// `PERF_RECORD_AUX`: the kernel added to an AUX area.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuxRecord {
    pub aux_offset: u64,
    pub aux_size: u64,
    /// `PERF_AUX_FLAG_*`.
    pub flags: u64,
    pub stamp: Stamp,
}

/// `PERF_RECORD_ITRACE_START`: whom an AUX area follows from here on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ItraceStart {
    pub pid: i32,
    pub tid: i32,
    pub stamp: Stamp,
}

/// `PERF_RECORD_TIME_CONV`: from the machine's cycle counter to the time of records. Fields that
/// older kernels do not write are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimeConv {
    pub time_shift: u64,
    pub time_mult: u64,
    pub time_zero: u64,
    pub time_cycles: u64,
    pub time_mask: u64,
    pub cap_user_time_zero: bool,
    pub cap_user_time_short: bool,
}

impl TimeConv {
    /// Nanoseconds of a counter value: `tsc_to_perf_time` in `tools/perf/util/tsc.c`. Wraps, as there.
    pub fn time_ns(&self, cycles: u64) -> u64 {
        let cycles = match self.cap_user_time_short {
            true => self
                .time_cycles
                .wrapping_add(cycles.wrapping_sub(self.time_cycles) & self.time_mask),
            false => cycles,
        };
        let shift = self.time_shift.min(63);
        let whole = cycles >> shift;
        let rest = cycles & ((1 << shift) - 1);
        self.time_zero
            .wrapping_add(whole.wrapping_mul(self.time_mult))
            .wrapping_add(rest.wrapping_mul(self.time_mult) >> shift)
    }
}

/// Where some bytes of the samples lie.
#[derive(Debug, Clone, Default)]
pub struct Spans {
    /// Where those of row `i` begin: in the file, or from the file's size on in what was inflated
    /// from it; `u64::MAX` for none. Empty when no event sampled such bytes.
    pub start: Column<u64>,
    /// Their number.
    pub len: Column<u32>,
}

/// The bytes that a recording was read from, kept as far as something in it points to them.
#[derive(Debug, Default)]
pub struct Bytes {
    pub(super) file: Held,
    /// Bytes of samples that were compressed.
    pub(super) inflated: Vec<u8>,
}

impl Recording {
    /// The bytes of a piece of AUX data.
    pub fn aux_data(&self, chunk: &AuxChunk) -> &[u8] {
        let data = self.bytes.file.part(chunk.file_offset, chunk.len);
        data.unwrap_or(&[])
    }

    /// The raw bytes of sample `i`, with the padding that its record counts to them; `None` where the
    /// event samples none.
    pub fn raw(&self, i: usize) -> Option<&[u8]> {
        self.span(&self.samples.raw, i)
    }

    /// The user's registers and the copy of the user's stack of sample `i`; `None` where the event
    /// samples none, or no more of a compressed recording's could be kept.
    pub fn stack(&self, i: usize) -> Option<&[u8]> {
        self.span(&self.samples.stack, i)
    }

    fn span(&self, spans: &Spans, i: usize) -> Option<&[u8]> {
        let start = spans.start.get(i).filter(|&start| start != u64::MAX)?;
        let len = u64::from(spans.len.get(i)?);
        match start.checked_sub(self.meta.file_size) {
            Some(start) => part(&self.bytes.inflated, start, len),
            None => self.bytes.file.part(start, len),
        }
    }
}

impl AuxInfo {
    /// What wrote the data, as perf calls it.
    pub fn name(&self) -> String {
        match self.kind {
            1 => "Intel PT".to_owned(),
            2 => "Intel BTS".to_owned(),
            3 => "CoreSight ETM".to_owned(),
            4 => "Arm SPE".to_owned(),
            5 => "s390 CPU-MSF".to_owned(),
            6 => "HiSilicon PTT".to_owned(),
            kind => format!("type {kind}"),
        }
    }

    /// The body of a `PERF_RECORD_AUXTRACE_INFO`. `None` when it is too short.
    pub fn parse(body: &[u8], order: ByteOrder) -> Option<AuxInfo> {
        let mut at = Cursor::new(body, order);
        let kind = at.u32()?;
        at.u32()?;
        Some(AuxInfo {
            kind,
            words: at.words(at.rest().len() as u64 / 8)?.iter().collect(),
        })
    }
}

impl AuxChunk {
    /// The body of a `PERF_RECORD_AUXTRACE`, of which `left` bytes follow from `file_offset` on.
    pub fn parse(body: &[u8], file_offset: u64, left: u64, order: ByteOrder) -> Option<AuxChunk> {
        let mut at = Cursor::new(body, order);
        let (size, offset, reference) = (at.u64()?, at.u64()?, at.u64()?);
        Some(AuxChunk {
            file_offset,
            len: size.min(left),
            size,
            offset,
            reference,
            idx: at.u32()?,
            tid: at.i32()?,
            cpu: at.i32()?,
        })
    }
}

impl TimeConv {
    /// The body of a `PERF_RECORD_TIME_CONV`. `None` when it is too short.
    pub fn parse(body: &[u8], order: ByteOrder) -> Option<TimeConv> {
        let mut at = Cursor::new(body, order);
        let (time_shift, time_mult, time_zero) = (at.u64()?, at.u64()?, at.u64()?);
        Some(TimeConv {
            time_shift,
            time_mult,
            time_zero,
            time_cycles: at.u64().unwrap_or(0),
            time_mask: at.u64().unwrap_or(0),
            cap_user_time_zero: at.rest().first().is_some_and(|&cap| cap != 0),
            cap_user_time_short: at.rest().get(1).is_some_and(|&cap| cap != 0),
        })
    }
}

impl Aux {
    /// Takes a record of the kernel that tells of AUX areas; `None` when it is too short.
    pub fn take(&mut self, record: Record, stamp: Stamp, order: ByteOrder) -> Option<()> {
        let mut at = Cursor::new(record.body, order);
        let out = u32::from(record.misc) & sys::PERF_RECORD_MISC_SWITCH_OUT != 0;
        match record.kind {
            sys::PERF_RECORD_SWITCH if !out => self.switch(stamp, stamp.tid),
            sys::PERF_RECORD_SWITCH_CPU_WIDE if out => {
                at.u32()?;
                self.switch(stamp, Some(at.i32()?));
            }
            sys::PERF_RECORD_SWITCH_CPU_WIDE => self.switch(stamp, stamp.tid),
            sys::PERF_RECORD_AUX => push(
                &mut self.records,
                AuxRecord {
                    aux_offset: at.u64()?,
                    aux_size: at.u64()?,
                    flags: at.u64()?,
                    stamp,
                },
            ),
            sys::PERF_RECORD_ITRACE_START => push(
                &mut self.starts,
                ItraceStart {
                    pid: at.i32()?,
                    tid: at.i32()?,
                    stamp,
                },
            ),
            _ => {}
        }
        Some(())
    }

    fn switch(&mut self, stamp: Stamp, tid: Option<i32>) {
        if let (Some(cpu), Some(time), Some(tid)) = (stamp.cpu, stamp.time, tid) {
            push(&mut self.switches, (cpu, time, tid));
        }
    }

    /// Bytes that it holds, in round numbers.
    pub(super) fn held(&self) -> usize {
        let words = self.infos.iter().map(|info| 8 * info.words.len());
        words.sum::<usize>()
            + size_of::<AuxInfo>() * self.infos.capacity()
            + size_of::<AuxChunk>() * self.chunks.capacity()
            + size_of::<AuxRecord>() * self.records.capacity()
            + size_of::<ItraceStart>() * self.starts.capacity()
            + size_of::<(u32, u64, i32)>() * self.switches.capacity()
    }

    /// Sorts what records of several CPUs told.
    pub fn finish(mut self) -> Aux {
        self.switches.sort_unstable();
        self
    }
}
