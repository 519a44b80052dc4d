//! One sample seen through both its columns: `None` is what was not sampled or is not known.

use super::aggregate::Key;
use crate::attribute::{Attribution, Evidence, NONE, Reason};
use crate::recording::{Cell, Column, Event, Memory, Recording, Samples};

/// `PERF_SAMPLE_*` (`include/uapi/linux/perf_event.h`).
mod bit {
    pub const TID: u64 = 1 << 1;
    pub const TIME: u64 = 1 << 2;
    pub const ADDR: u64 = 1 << 3;
    pub const CPU: u64 = 1 << 7;
    pub const PERIOD: u64 = 1 << 8;
    pub const WEIGHT: u64 = 1 << 14 | 1 << 24;
    pub const DATA_SRC: u64 = 1 << 15;
    pub const PHYS_ADDR: u64 = 1 << 19;
}

/// The samples and what they were attributed to, row by row.
#[derive(Debug)]
pub struct Rows<'a> {
    pub samples: &'a Samples,
    pub attribution: &'a Attribution,
    events: &'a [Event],
    sample_types: Vec<u64>,
    /// The bits that all of `sample_types` have.
    always: u64,
    breakpoint: Vec<bool>,
}

impl<'a> Rows<'a> {
    pub fn new(recording: &'a Recording, attribution: &'a Attribution) -> Rows<'a> {
        Rows {
            samples: &recording.samples,
            attribution,
            events: &recording.events,
            sample_types: recording.events.iter().map(|e| e.sample_type).collect(),
            always: recording
                .events
                .iter()
                .map(|e| e.sample_type)
                .reduce(|a, b| a & b)
                .unwrap_or(0),
            breakpoint: recording
                .events
                .iter()
                .map(|e| e.memory == Memory::Breakpoint)
                .collect(),
        }
    }

    pub fn len(&self) -> usize {
        self.samples.len()
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Index into `Recording::events`.
    pub fn event(&self, i: usize) -> usize {
        self.samples.event.get(i).map_or(usize::MAX, |e| e.into())
    }

    pub fn event_name(&self, i: usize) -> &'a str {
        self.events.get(self.event(i)).map_or("", |e| &e.name)
    }

    #[inline]
    fn sampled<T: Cell>(&self, i: usize, column: &Column<T>, bit: u64) -> Option<T> {
        let is_sampled = |&sample_type: &u64| sample_type & bit != 0;
        if is_sampled(&self.always) || self.sample_types.get(self.event(i)).is_some_and(is_sampled)
        {
            column.get(i)
        } else {
            None
        }
    }

    pub fn time(&self, i: usize) -> Option<u64> {
        self.sampled(i, &self.samples.time, bit::TIME)
    }

    pub fn addr(&self, i: usize) -> Option<u64> {
        self.sampled(i, &self.samples.addr, bit::ADDR)
    }

    pub fn cpu(&self, i: usize) -> Option<u16> {
        self.sampled(i, &self.samples.cpu, bit::CPU)
    }

    pub fn period(&self, i: usize) -> Option<u64> {
        self.sampled(i, &self.samples.period, bit::PERIOD)
    }

    pub fn weight(&self, i: usize) -> Option<u64> {
        self.sampled(i, &self.samples.weight, bit::WEIGHT)
    }

    pub fn phys_addr(&self, i: usize) -> Option<u64> {
        self.sampled(i, &self.samples.phys_addr, bit::PHYS_ADDR)
    }

    /// Index into `Samples::data_src.values`.
    pub fn data_src_id(&self, i: usize) -> Option<u32> {
        self.sampled(i, &self.samples.data_src.ids, bit::DATA_SRC)
    }

    pub fn data_src(&self, i: usize) -> Option<u64> {
        let values = &self.samples.data_src.values;
        values.get(self.data_src_id(i)? as usize).copied()
    }

    /// Process and thread.
    pub fn thread(&self, i: usize) -> Option<(i32, i32)> {
        let id = self.sampled(i, &self.samples.thread.ids, bit::TID)?;
        self.samples.thread.values.get(id as usize).copied()
    }

    pub fn ip(&self, i: usize) -> Option<u64> {
        self.samples.ip.get(i)
    }

    pub fn key(&self, i: usize) -> Key {
        let a = self.attribution;
        Key {
            map: a.map.get(i).copied().unwrap_or(NONE),
            place: a.place.get(i).copied().unwrap_or(NONE),
            part: a.part.get(i).copied().unwrap_or(Err(Reason::NotAnAccess)),
            evidence: a.evidence.get(i).copied().unwrap_or(Evidence::None),
        }
    }

    pub fn base(&self, i: usize) -> Option<u64> {
        self.attribution.base.get(i).copied().filter(|&b| b != 0)
    }

    pub fn array(&self, i: usize) -> Option<u32> {
        self.attribution
            .array
            .get(i)
            .copied()
            .filter(|&a| a != NONE)
    }

    pub fn index(&self, i: usize) -> Option<u32> {
        self.attribution
            .index
            .get(i)
            .copied()
            .filter(|&a| a != NONE)
    }

    pub fn slot(&self, i: usize) -> Option<i8> {
        self.attribution.slot.get(i).copied().filter(|&s| s >= 0)
    }

    /// Byte offset of the access in the structure instance.
    pub fn off(&self, i: usize) -> Option<u32> {
        self.attribution.off.get(i).copied().filter(|&o| o != NONE)
    }

    /// What `order` keeps together: the structure instance, or the watched word of a breakpoint.
    pub fn instance(&self, i: usize) -> Option<u64> {
        self.base(i).or_else(|| {
            let breakpoint = self.breakpoint.get(self.event(i)).copied().unwrap_or(false);
            self.addr(i).filter(|_| breakpoint)
        })
    }
}
