//! Where each field of an event's samples lies, worked out once an event.

use super::attr::Attr;
use super::cursor::ByteOrder;
use super::sample::{SampleBody, WEIGHTS};
use super::walk::RECORD_HEADER;
use perf_event_open_sys::bindings as sys;
use std::slice::ChunksExact;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub len: usize,
}

/// Where the fields of some samples go, as those of [`Row`].
pub struct Fields<'a> {
    pub ip: &'a mut [u64],
    pub thread: &'a mut [u64],
    pub time: &'a mut [u64],
    pub addr: &'a mut [u64],
    pub cpu: &'a mut [u64],
    pub period: &'a mut [u64],
    pub weight: &'a mut [u64],
    pub data_src: &'a mut [u64],
    pub phys_addr: &'a mut [u64],
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

    /// Reads the fields of records of one size that are long enough, one field after the other.
    pub fn read(&self, records: ChunksExact<u8>, order: ByteOrder, into: Fields) {
        let read = |at: usize, into: &mut [u64]| match at {
            NONE => into.fill(0),
            at => words_at(at, records.clone(), order, into),
        };
        read(self.ip, into.ip);
        read(self.thread, into.thread);
        read(self.time, into.time);
        read(self.addr, into.addr);
        read(self.cpu, into.cpu);
        read(self.period, into.period);
        read(self.weight, into.weight);
        read(self.data_src, into.data_src);
        read(self.phys_addr, into.phys_addr);
        for thread in into.thread {
            *thread = order.first_half_high(*thread);
        }
        for cpu in into.cpu {
            *cpu = u64::from((order.first_half_high(*cpu) >> 32) as u16);
        }
    }

    /// `None` when `body` is too short.
    #[inline(always)]
    pub fn row(&self, body: &[u8], order: ByteOrder) -> Option<Row> {
        body.get(..self.len)?;
        let word = |at| order.u64_at(body, at).unwrap_or(0);
        Some(Row {
            ip: word(self.ip),
            thread: order.first_half_high(word(self.thread)),
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

/// Reads the word at byte `at` of the body of each of these records, which are of one size: by itself, so that
/// the compiler checks once for all of them that it lies within.
#[inline(never)]
pub fn words_at(at: usize, records: ChunksExact<u8>, order: ByteOrder, into: &mut [u64]) {
    let (from, to) = (RECORD_HEADER + at, RECORD_HEADER + at + 8);
    for (word, record) in into.iter_mut().zip(records) {
        let bytes = record.get(from..to).and_then(<[u8]>::first_chunk);
        *word = bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    }
    if order == ByteOrder::Big {
        into.iter_mut().for_each(|word| *word = word.swap_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_read_one_after_the_other_are_those_of_each_row() {
        let sampled = sys::PERF_SAMPLE_IP
            | sys::PERF_SAMPLE_TID
            | sys::PERF_SAMPLE_TIME
            | sys::PERF_SAMPLE_CPU
            | sys::PERF_SAMPLE_DATA_SRC;
        let mut attr = Attr::default();
        attr.event.sample_type = sampled.into();
        let plan = Plan::new(&attr).unwrap();
        let size = RECORD_HEADER + plan.len;
        let bytes: Vec<u8> = (0..3 * size).map(|i| (7 * i) as u8).collect();
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let mut words = [[9; 3]; 9];
            let [
                ip,
                thread,
                time,
                addr,
                cpu,
                period,
                weight,
                data_src,
                phys_addr,
            ] = &mut words;
            let fields = Fields {
                ip,
                thread,
                time,
                addr,
                cpu,
                period,
                weight,
                data_src,
                phys_addr,
            };
            plan.read(bytes.chunks_exact(size), order, fields);
            for (i, record) in bytes.chunks_exact(size).enumerate() {
                let row = plan.row(&record[RECORD_HEADER..], order).unwrap();
                let expected = [
                    row.ip,
                    row.thread,
                    row.time,
                    row.addr,
                    row.cpu.into(),
                    row.period,
                    row.weight,
                    row.data_src,
                    row.phys_addr,
                ];
                assert_eq!(words.map(|field| field[i]), expected);
            }
        }
    }
}
