//! Where each field of an event's samples lies, worked out once an event.

use super::attr::Attr;
use super::cursor::ByteOrder;
use super::sample::{SampleBody, WEIGHTS};
use perf_event_open_sys::bindings as sys;

/// The fields of one sample that become columns; 0 where the event did not sample one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Row {
    pub ip: u64,
    /// `pid` in the high half, `tid` in the low one.
    pub thread: u64,
    pub time: u64,
    pub addr: u64,
    pub cpu: u16,
    pub period: u64,
    pub weight: u64,
    pub data_src: u64,
    pub phys_addr: u64,
}

/// Bits whose fields have the same size in every sample.
const FIXED: u64 = (sys::PERF_SAMPLE_IDENTIFIER
    | sys::PERF_SAMPLE_IP
    | sys::PERF_SAMPLE_TID
    | sys::PERF_SAMPLE_TIME
    | sys::PERF_SAMPLE_ADDR
    | sys::PERF_SAMPLE_ID
    | sys::PERF_SAMPLE_STREAM_ID
    | sys::PERF_SAMPLE_CPU
    | sys::PERF_SAMPLE_PERIOD
    | sys::PERF_SAMPLE_TRANSACTION
    | sys::PERF_SAMPLE_DATA_SRC
    | sys::PERF_SAMPLE_PHYS_ADDR
    | sys::PERF_SAMPLE_CGROUP
    | sys::PERF_SAMPLE_DATA_PAGE_SIZE
    | sys::PERF_SAMPLE_CODE_PAGE_SIZE) as u64
    | WEIGHTS;

/// No such field. It stands past the end of every record, which ends before 64 KiB.
const NONE: usize = usize::MAX >> 1;

/// Byte offsets in the bodies of samples whose every field has a fixed size.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    ip: usize,
    thread: usize,
    time: usize,
    addr: usize,
    cpu: usize,
    period: usize,
    weight: usize,
    data_src: usize,
    phys_addr: usize,
    /// Bytes that a body must have.
    len: usize,
}

impl Plan {
    /// `None` when a field's size is only known from the sample: then [`SampleBody::decode`] reads it.
    pub fn new(attr: &Attr) -> Option<Plan> {
        let known = u64::from(sys::PERF_SAMPLE_MAX) - 1;
        if attr.event.sample_type & known & !FIXED != 0 {
            return None;
        }
        let mut len = 0;
        let mut field = |bits: u64| {
            if attr.event.sample_type & bits == 0 {
                return NONE;
            }
            len += 8;
            len - 8
        };
        field(u64::from(sys::PERF_SAMPLE_IDENTIFIER));
        let ip = field(u64::from(sys::PERF_SAMPLE_IP));
        let thread = field(u64::from(sys::PERF_SAMPLE_TID));
        let time = field(u64::from(sys::PERF_SAMPLE_TIME));
        let addr = field(u64::from(sys::PERF_SAMPLE_ADDR));
        field(u64::from(sys::PERF_SAMPLE_ID));
        field(u64::from(sys::PERF_SAMPLE_STREAM_ID));
        let cpu = field(u64::from(sys::PERF_SAMPLE_CPU));
        let period = field(u64::from(sys::PERF_SAMPLE_PERIOD));
        let weight = field(WEIGHTS);
        let data_src = field(u64::from(sys::PERF_SAMPLE_DATA_SRC));
        field(u64::from(sys::PERF_SAMPLE_TRANSACTION));
        let phys_addr = field(u64::from(sys::PERF_SAMPLE_PHYS_ADDR));
        field(u64::from(sys::PERF_SAMPLE_CGROUP));
        field(u64::from(sys::PERF_SAMPLE_DATA_PAGE_SIZE));
        field(u64::from(sys::PERF_SAMPLE_CODE_PAGE_SIZE));
        Some(Plan {
            ip,
            thread,
            time,
            addr,
            cpu,
            period,
            weight,
            data_src,
            phys_addr,
            len,
        })
    }

    /// `None` when `body` is too short.
    #[inline(always)]
    pub fn row(&self, body: &[u8], order: ByteOrder) -> Option<Row> {
        body.get(..self.len)?;
        let word = |at| order.u64_at(body, at).unwrap_or(0);
        Some(Row {
            ip: word(self.ip),
            thread: match order {
                ByteOrder::Little => word(self.thread).rotate_left(32),
                ByteOrder::Big => word(self.thread),
            },
            time: word(self.time),
            addr: word(self.addr),
            cpu: order.u32_at(body, self.cpu).unwrap_or(0) as u16,
            period: word(self.period),
            weight: word(self.weight),
            data_src: word(self.data_src),
            phys_addr: word(self.phys_addr),
        })
    }
}

impl From<&SampleBody<'_>> for Row {
    fn from(sample: &SampleBody) -> Row {
        let (pid, tid) = sample.thread.unwrap_or((0, 0));
        Row {
            ip: sample.ip.unwrap_or(0),
            thread: u64::from(pid as u32) << 32 | u64::from(tid as u32),
            time: sample.time.unwrap_or(0),
            addr: sample.addr.unwrap_or(0),
            cpu: sample.cpu.unwrap_or(0) as u16,
            period: sample.period.unwrap_or(0),
            weight: sample.weight.unwrap_or(0),
            data_src: sample.data_src.unwrap_or(0),
            phys_addr: sample.phys_addr.unwrap_or(0),
        }
    }
}
