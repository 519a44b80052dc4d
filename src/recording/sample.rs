//! The body of a `PERF_RECORD_SAMPLE`.
//!
//! Field order: `include/uapi/linux/perf_event.h`, the comment over `PERF_RECORD_SAMPLE`. It is not
//! the order of the bits in `sample_type`.

use super::attr::Attr;
use super::cursor::{ByteOrder, Cursor, Words};
use perf_event_open_sys::bindings as sys;

/// Everything one sample record holds. A field is `None` when the event did not sample it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SampleBody<'a> {
    pub identifier: Option<u64>,
    pub ip: Option<u64>,
    /// Process and thread.
    pub thread: Option<(i32, i32)>,
    pub time: Option<u64>,
    pub addr: Option<u64>,
    pub id: Option<u64>,
    pub stream_id: Option<u64>,
    pub cpu: Option<u32>,
    pub period: Option<u64>,
    pub read: Option<Counters<'a>>,
    pub callchain: Option<Words<'a>>,
    pub raw: Option<&'a [u8]>,
    /// Where `raw` begins in the body.
    pub raw_at: usize,
    pub branches: Option<Branches<'a>>,
    pub regs_user: Option<Registers<'a>>,
    pub stack_user: Option<UserStack<'a>>,
    /// The bytes of `regs_user` and `stack_user`, where both were sampled.
    pub stack: Option<&'a [u8]>,
    /// Where `stack` begins in the body.
    pub stack_at: usize,
    /// `WEIGHT`, or the whole word of `WEIGHT_STRUCT`: `var1_dw` in the low 32 bits, `var2_w` in the
    /// next 16, `var3_w` in the highest. The kernel lays the struct out so in both byte orders.
    pub weight: Option<u64>,
    pub data_src: Option<u64>,
    pub transaction: Option<u64>,
    pub regs_intr: Option<Registers<'a>>,
    /// Where the values of `regs_intr` begin in the body.
    pub regs_at: usize,
    pub phys_addr: Option<u64>,
    pub cgroup: Option<u64>,
    pub data_page_size: Option<u64>,
    pub code_page_size: Option<u64>,
    pub aux: Option<&'a [u8]>,
}

/// `PERF_SAMPLE_READ`. What the `read_format` did not ask for is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters<'a> {
    pub time_enabled: Option<u64>,
    pub time_running: Option<u64>,
    /// The event's own counter, when the format is not GROUP.
    pub single: Option<Counter>,
    group: Words<'a>,
    has_id: bool,
    has_lost: bool,
}

/// One counter of a `PERF_SAMPLE_READ`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counter {
    pub value: u64,
    pub id: Option<u64>,
    pub lost: Option<u64>,
}

impl<'a> Counters<'a> {
    /// The counters of the group, leader first; empty when the format is not GROUP.
    pub fn group(self) -> impl Iterator<Item = Counter> + 'a {
        let each = 1 + usize::from(self.has_id) + usize::from(self.has_lost);
        (0..self.group.len() / each).filter_map(move |i| {
            let word = |at: usize| self.group.get(i * each + at);
            Some(Counter {
                value: word(0)?,
                id: if self.has_id { word(1) } else { None },
                lost: if self.has_lost { word(each - 1) } else { None },
            })
        })
    }
}

/// `PERF_SAMPLE_BRANCH_STACK`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Branches<'a> {
    pub hw_index: Option<u64>,
    /// Three words a branch: from, to, flags.
    pub entries: Words<'a>,
    /// One word a branch.
    pub counters: Option<Words<'a>>,
}

/// The task that the registers are of is one of 64 bits.
pub const ABI_64: u64 = sys::PERF_SAMPLE_REGS_ABI_64 as u64;

/// `PERF_SAMPLE_REGS_USER` or `PERF_SAMPLE_REGS_INTR`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Registers<'a> {
    /// `PERF_SAMPLE_REGS_ABI_*`; without one (0) there are no values.
    pub abi: u64,
    /// One for each bit of the attr's mask, lowest first.
    pub values: Words<'a>,
}

/// `PERF_SAMPLE_STACK_USER`.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserStack<'a> {
    pub data: &'a [u8],
    /// Bytes of `data` that were really copied; `None` when there is no stack.
    pub dyn_size: Option<u64>,
}

impl<'a> SampleBody<'a> {
    /// Decodes `body`, the record without its header. `None` when it is too short for what its
    /// event samples.
    pub fn decode(body: &'a [u8], attr: &Attr, order: ByteOrder) -> Option<SampleBody<'a>> {
        let mut at = Cursor::new(body, order);
        let mut sample = SampleBody::default();
        if attr.has(sys::PERF_SAMPLE_IDENTIFIER) {
            sample.identifier = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_IP) {
            sample.ip = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_TID) {
            sample.thread = Some((at.i32()?, at.i32()?));
        }
        if attr.has(sys::PERF_SAMPLE_TIME) {
            sample.time = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_ADDR) {
            sample.addr = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_ID) {
            sample.id = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_STREAM_ID) {
            sample.stream_id = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_CPU) {
            sample.cpu = Some(at.u32()?);
            at.u32()?;
        }
        if attr.has(sys::PERF_SAMPLE_PERIOD) {
            sample.period = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_READ) {
            sample.read = Some(counters(&mut at, attr.event.read_format)?);
        }
        if attr.has(sys::PERF_SAMPLE_CALLCHAIN) {
            let count = at.u64()?;
            sample.callchain = Some(at.words(count)?);
        }
        if attr.has(sys::PERF_SAMPLE_RAW) {
            let len = at.u32()?;
            sample.raw_at = body.len() - at.rest().len();
            sample.raw = Some(at.bytes(u64::from(len))?);
        }
        if attr.has(sys::PERF_SAMPLE_BRANCH_STACK) {
            sample.branches = Some(branches(&mut at, attr.branch_sample_type)?);
        }
        let before_stack = at.rest();
        if attr.has(sys::PERF_SAMPLE_REGS_USER) {
            sample.regs_user = Some(registers(&mut at, attr.event.sample_regs_user)?);
        }
        if attr.has(sys::PERF_SAMPLE_STACK_USER) {
            sample.stack_user = Some(user_stack(&mut at)?);
            sample.stack_at = body.len() - before_stack.len();
            let taken = before_stack.len() - at.rest().len();
            sample.stack = before_stack
                .get(..taken)
                .filter(|_| sample.regs_user.is_some());
        }
        if attr.event.sample_type & WEIGHTS != 0 {
            sample.weight = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_DATA_SRC) {
            sample.data_src = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_TRANSACTION) {
            sample.transaction = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_REGS_INTR) {
            let registers = registers(&mut at, attr.event.sample_regs_intr)?;
            sample.regs_at = body.len() - at.rest().len() - 8 * registers.values.len();
            sample.regs_intr = Some(registers);
        }
        if attr.has(sys::PERF_SAMPLE_PHYS_ADDR) {
            sample.phys_addr = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_CGROUP) {
            sample.cgroup = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_DATA_PAGE_SIZE) {
            sample.data_page_size = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_CODE_PAGE_SIZE) {
            sample.code_page_size = Some(at.u64()?);
        }
        if attr.has(sys::PERF_SAMPLE_AUX) {
            let len = at.u64()?;
            sample.aux = Some(at.bytes(len)?);
        }
        Some(sample)
    }
}

/// `PERF_SAMPLE_WEIGHT` and `PERF_SAMPLE_WEIGHT_STRUCT`: two meanings of one word.
pub const WEIGHTS: u64 = sys::PERF_SAMPLE_WEIGHT as u64 | sys::PERF_SAMPLE_WEIGHT_STRUCT as u64;

/// `struct read_format`: its GROUP form counts its values and puts the times before them, the other
/// has the times between the value and its id.
fn counters<'a>(at: &mut Cursor<'a>, read_format: u64) -> Option<Counters<'a>> {
    let asked = |bit: sys::perf_event_read_format| read_format & u64::from(bit) != 0;
    let if_asked = |at: &mut Cursor<'a>, bit| match asked(bit) {
        true => at.u64().map(Some),
        false => Some(None),
    };
    let mut counters = Counters {
        has_id: asked(sys::PERF_FORMAT_ID),
        has_lost: asked(sys::PERF_FORMAT_LOST),
        ..Counters::default()
    };
    let first = at.u64()?;
    counters.time_enabled = if_asked(at, sys::PERF_FORMAT_TOTAL_TIME_ENABLED)?;
    counters.time_running = if_asked(at, sys::PERF_FORMAT_TOTAL_TIME_RUNNING)?;
    if asked(sys::PERF_FORMAT_GROUP) {
        let each = 1 + u64::from(counters.has_id) + u64::from(counters.has_lost);
        counters.group = at.words(first.checked_mul(each)?)?;
    } else {
        counters.single = Some(Counter {
            value: first,
            id: if_asked(at, sys::PERF_FORMAT_ID)?,
            lost: if_asked(at, sys::PERF_FORMAT_LOST)?,
        });
    }
    Some(counters)
}

fn branches<'a>(at: &mut Cursor<'a>, branch_sample_type: u64) -> Option<Branches<'a>> {
    let asked = |bit: sys::perf_branch_sample_type| branch_sample_type & u64::from(bit) != 0;
    let count = at.u64()?;
    let hw_index = match asked(sys::PERF_SAMPLE_BRANCH_HW_INDEX) {
        true => Some(at.u64()?),
        false => None,
    };
    let entries = at.words(count.checked_mul(3)?)?;
    let counters = match asked(sys::PERF_SAMPLE_BRANCH_COUNTERS) {
        true => Some(at.words(count)?),
        false => None,
    };
    Some(Branches {
        hw_index,
        entries,
        counters,
    })
}

fn registers<'a>(at: &mut Cursor<'a>, mask: u64) -> Option<Registers<'a>> {
    let abi = at.u64()?;
    let count = match u32::try_from(abi) {
        Ok(sys::PERF_SAMPLE_REGS_ABI_NONE) => 0,
        _ => mask.count_ones(),
    };
    Some(Registers {
        abi,
        values: at.words(u64::from(count))?,
    })
}

fn user_stack<'a>(at: &mut Cursor<'a>) -> Option<UserStack<'a>> {
    let size = at.u64()?;
    if size == 0 {
        return Some(UserStack::default());
    }
    Some(UserStack {
        data: at.bytes(size)?,
        dyn_size: Some(at.u64()?),
    })
}
