//! What one sample says of its access, by the rules of its PMU.

use super::{Event, Memory, Recording};
use crate::data_src::{Blocked, DataSrc, Hitm, Level, Op, Snoop, Tlb};
use crate::pmu::{Pmu, Validity, Weight};
use perf_event_open_sys::bindings as sys;

/// One memory access. A field is `None` where the PMU does not tell it, or it does not apply:
/// [`Recording::pmu`] says which.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    pub op: Option<Op>,
    pub level: Option<Level>,
    pub snoop: Option<Snoop>,
    pub hitm: Option<Hitm>,
    pub tlb: Option<Tlb>,
    pub locked: Option<bool>,
    pub blocked: Option<Blocked>,
    /// Only where the PMU's rules say that `weight` is a latency.
    pub latency_cycles: Option<u32>,
}

impl Recording {
    /// The event of sample `i`.
    pub fn event(&self, i: usize) -> Option<&Event> {
        self.events.get(usize::from(self.samples.event.get(i)?))
    }

    /// The rules that hold for sample `i`.
    pub fn pmu(&self, i: usize) -> Option<&'static Pmu> {
        self.event(i).map(|event| event.pmu.pmu())
    }

    /// Whether sample `i` is a memory access: not of a decoy or helper event, nor a micro-op that
    /// touched no memory (AMD IBS tags any).
    pub fn is_access(&self, i: usize) -> bool {
        let data_src = self.samples.data_src.get(i).map(DataSrc);
        self.event(i).is_some_and(|event| event.is_access(data_src))
    }

    /// The access of sample `i`; all `None` for a sample that is none, or past the end.
    pub fn access(&self, i: usize) -> Access {
        let Some(event) = self.event(i) else {
            return Access::default();
        };
        let data_src = DataSrc(self.samples.data_src.get(i).unwrap_or(0));
        event.access(data_src, self.samples.weight.get(i))
    }
}

impl Event {
    /// As [`Recording::is_access`], of a sample of this event with this `data_src`.
    pub fn is_access(&self, data_src: Option<DataSrc>) -> bool {
        match self.memory {
            Memory::Breakpoint | Memory::PageFault => true,
            Memory::Sampled => data_src.is_some_and(DataSrc::says_something),
            _ => false,
        }
    }

    /// The access of a sample of this event with this `data_src` and this word of `weight`.
    pub fn access(&self, data_src: DataSrc, weight: Option<u64>) -> Access {
        match self.memory {
            Memory::Sampled => sampled(self, data_src, weight),
            Memory::Breakpoint => Access {
                op: watched(self),
                ..Access::default()
            },
            _ => Access::default(),
        }
    }

    /// The latency that a word of `weight` stands for, in an access of this op and level; `None`
    /// where the PMU's rules say that it is none.
    pub fn latency(
        &self,
        op: Option<Op>,
        level: Option<Level>,
        weight: Option<u64>,
    ) -> Option<u32> {
        let pmu = self.pmu.pmu();
        let op = op.filter(|_| self.fields.of(op).latency.shown())?;
        let word = weight.filter(|&word| word != 0)?;
        let weight = if self.sample_type & u64::from(sys::PERF_SAMPLE_WEIGHT_STRUCT) != 0 {
            Weight::of_struct(word)
        } else if self.sample_type & u64::from(sys::PERF_SAMPLE_WEIGHT) != 0 {
            Weight::Whole(word)
        } else {
            return None;
        };
        let cycles = (pmu.latency)(weight, op, level)?;
        (cycles != 0).then(|| u32::try_from(cycles).unwrap_or(u32::MAX))
    }
}

impl Event {
    /// Cycles below which this event leaves loads out: its rates are of the slower ones. `None` where
    /// its threshold keeps all, as 3 cycles do: L1 takes four.
    pub fn leaves_out_below(&self) -> Option<u64> {
        self.ldlat
            .filter(|&cycles| self.memory == Memory::Sampled && cycles > 3)
    }

    /// Whether an access of this op and level has a latency, by the PMU's rules.
    pub fn latency_state(&self, op: Option<Op>, level: Option<Level>) -> Validity {
        let weights = u64::from(sys::PERF_SAMPLE_WEIGHT | sys::PERF_SAMPLE_WEIGHT_STRUCT);
        let state = self.fields.of(op).latency;
        match op {
            _ if state != Validity::Valid => state,
            _ if self.sample_type & weights == 0 => Validity::Absent,
            Some(op) if (self.pmu.pmu().latency)(Weight::Whole(1), op, level).is_none() => {
                Validity::NotApplicable
            }
            _ => state,
        }
    }
}

/// A breakpoint on writes alone sees stores alone; one on reads and writes does not tell which.
fn watched(event: &Event) -> Option<Op> {
    /// `HW_BREAKPOINT_*`, `include/uapi/linux/hw_breakpoint.h`.
    const READ: u32 = 1;
    const WRITE: u32 = 2;
    const EXECUTE: u32 = 4;
    match event.bp_type {
        READ => Some(Op::Load),
        WRITE => Some(Op::Store),
        EXECUTE => Some(Op::Exec),
        _ => None,
    }
}

fn sampled(event: &Event, data_src: DataSrc, weight: Option<u64>) -> Access {
    let op = data_src.op();
    let fields = event.fields.of(op);
    let snoop = fields.snoop.shown();
    let mut access = Access {
        op,
        level: data_src.level().filter(|_| fields.level.shown()),
        snoop: data_src.snoop().filter(|_| snoop),
        hitm: data_src.hitm().filter(|_| snoop),
        tlb: data_src.tlb().filter(|_| fields.tlb.shown()),
        locked: data_src.locked().filter(|_| fields.locked.shown()),
        blocked: data_src.blocked().filter(|_| fields.blocked.shown()),
        latency_cycles: None,
    };
    (event.pmu.pmu().refine)(data_src, fields, &mut access);
    access.latency_cycles = event.latency(op, access.level, weight);
    access
}
