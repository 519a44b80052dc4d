//! Modelled samples, laid out as `perf mem record` lays out those of an Ice Lake.

use super::cache::Answer;
use super::ptrace::Registers;
use crate::record::event::{Event, Fields, Rate};
use crate::record::file::record;
use crate::recording::CONTEXT_USER;
use perf_event_open_sys::bindings as sys;

/// Ids of the two events.
pub const LOADS: u64 = 1;
pub const STORES: u64 = 2;

/// As the samples are laid out; the processor of the truth sets' recordings, too.
pub const CPUID: &str = "GenuineIntel,6,106,6";

/// `mem-loads` and `mem-stores`, every `period`-th access. A load of any latency is kept (`ldlat=1`).
pub fn events(period: u64) -> Vec<(Event, Vec<u64>)> {
    let fields = Fields {
        physical: false,
        ..Fields::default()
    };
    let rate = Rate::Period(period);
    let mut loads = Event::new(
        "cpu/mem-loads,ldlat=1/P",
        sys::PERF_TYPE_RAW,
        [0x1cd, 1, 0],
        rate,
        fields,
    );
    loads.track();
    let stores = Event::new(
        "cpu/mem-stores/P",
        sys::PERF_TYPE_RAW,
        [0x82d0, 0, 0],
        rate,
        fields,
    );
    let mut events = vec![(loads, vec![LOADS]), (stores, vec![STORES])];
    for (event, _) in &mut events {
        event.attr.sample_type &= !u64::from(sys::PERF_SAMPLE_DATA_PAGE_SIZE);
        event.attr.set_exclude_kernel(1);
        event.attr.set_precise_ip(3);
    }
    events
}

/// One access of one thread.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    pub id: u64,
    pub ip: u64,
    pub pid: i32,
    pub tid: i32,
    pub time: u64,
    pub addr: u64,
    pub core: u32,
    pub period: u64,
    /// Return addresses, innermost first.
    pub callers: &'a [u64],
    pub answer: Answer,
    /// After the instruction, as PEBS writes them.
    pub registers: &'a Registers,
}

impl Sample<'_> {
    /// Appends the record. Fields in the order of the comment over `PERF_RECORD_SAMPLE`
    /// (`include/uapi/linux/perf_event.h`).
    pub fn write(&self, out: &mut Vec<u8>) {
        let store = self.id == STORES;
        let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let mut words = vec![
            self.id,
            self.ip,
            pair(self.pid as u32, self.tid as u32),
            self.time,
            self.addr,
            pair(self.core, 0),
            self.period,
            self.callers.len() as u64 + 2,
            CONTEXT_USER,
            self.ip,
        ];
        words.extend(self.callers);
        // Stores have no latency on an Ice Lake.
        words.push(if store {
            0
        } else {
            u64::from(self.answer.latency())
        });
        words.push(self.answer.data_src(store));
        let r = self.registers;
        words.extend([
            u64::from(sys::PERF_SAMPLE_REGS_ABI_64),
            r.rax,
            r.rbx,
            r.rcx,
            r.rdx,
            r.rsi,
            r.rdi,
            r.rbp,
            r.rsp,
            // PEBS gives the ip of the instruction itself.
            self.ip,
            r.eflags,
            r.cs,
            r.ss,
            r.r8,
            r.r9,
            r.r10,
            r.r11,
            r.r12,
            r.r13,
            r.r14,
            r.r15,
        ]);
        let body: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        let user = sys::PERF_RECORD_MISC_USER | sys::PERF_RECORD_MISC_EXACT_IP;
        out.extend(record(sys::PERF_RECORD_SAMPLE, user, &body).unwrap_or_default());
    }
}
