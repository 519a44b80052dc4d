//! One sample seen through both its columns: `None` is what was not sampled or is not known.

use crate::attribute::{Attribution, Evidence, Hit, NONE, Reason};
use crate::gomap::Part;
use crate::recording::{Cell, Column, Event, Memory, Recording, Samples};
use rayon::prelude::*;
use std::ops::Range;

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

/// What tells one row of `maps`, `parts`, `functions`, `lines` and `misses` from another: those
/// frames are sums over these groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub map: u32,
    pub place: u32,
    pub part: Result<Part, Reason>,
    pub evidence: Evidence,
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
    #[inline]
    pub fn event(&self, i: usize) -> usize {
        self.samples.event.get(i).map_or(usize::MAX, |e| e.into())
    }

    #[inline]
    pub fn event_name(&self, i: usize) -> &'a str {
        self.events.get(self.event(i)).map_or("", |e| &e.name)
    }

    #[inline(always)]
    fn sampled<T: Cell>(&self, i: usize, column: &Column<T>, bit: u64) -> Option<T> {
        let sampled = self.always & bit != 0 || self.samples(self.event(i), bit);
        sampled.then(|| column.get(i))?
    }

    /// Whether samples of this event have a field.
    #[inline]
    fn samples(&self, event: usize, bit: u64) -> bool {
        let sample_type = self.sample_types.get(event);
        sample_type.is_some_and(|sample_type| sample_type & bit != 0)
    }

    pub fn samples_data_src(&self, event: usize) -> bool {
        self.samples(event, bit::DATA_SRC)
    }

    pub fn samples_time(&self, event: usize) -> bool {
        self.samples(event, bit::TIME)
    }

    pub fn samples_weight(&self, event: usize) -> bool {
        self.samples(event, bit::WEIGHT)
    }

    /// The first and the last time of the samples that have one.
    pub fn times(&self) -> Option<(u64, u64)> {
        let times = &self.samples.time;
        if self.always & bit::TIME != 0 {
            return times.span();
        }
        let sampled = times.par_numbered();
        let sampled = sampled.filter(|(i, _)| self.samples_time(self.event(*i)));
        let times = sampled.map(|(_, time)| (time, time));
        times.reduce_with(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    #[inline]
    pub fn time(&self, i: usize) -> Option<u64> {
        self.sampled(i, &self.samples.time, bit::TIME)
    }

    #[inline]
    pub fn addr(&self, i: usize) -> Option<u64> {
        self.sampled(i, &self.samples.addr, bit::ADDR)
    }

    #[inline]
    pub fn cpu(&self, i: usize) -> Option<u16> {
        self.sampled(i, &self.samples.cpu, bit::CPU)
    }

    #[inline]
    pub fn period(&self, i: usize) -> Option<u64> {
        self.sampled(i, &self.samples.period, bit::PERIOD)
    }

    #[inline]
    pub fn weight(&self, i: usize) -> Option<u64> {
        self.sampled(i, &self.samples.weight, bit::WEIGHT)
    }

    #[inline]
    pub fn phys_addr(&self, i: usize) -> Option<u64> {
        self.sampled(i, &self.samples.phys_addr, bit::PHYS_ADDR)
    }

    /// Index into `Samples::data_src.values`.
    #[inline]
    pub fn data_src_id(&self, i: usize) -> Option<u32> {
        self.sampled(i, &self.samples.data_src.ids, bit::DATA_SRC)
    }

    #[inline]
    pub fn data_src(&self, i: usize) -> Option<u64> {
        let values = &self.samples.data_src.values;
        values.get(self.data_src_id(i)? as usize).copied()
    }

    /// Process and thread.
    #[inline]
    pub fn thread(&self, i: usize) -> Option<(i32, i32)> {
        let id = self.sampled(i, &self.samples.thread.ids, bit::TID)?;
        self.samples.thread.values.get(id as usize).copied()
    }

    #[inline]
    pub fn ip(&self, i: usize) -> Option<u64> {
        self.samples.ip.get(i)
    }

    #[inline]
    pub fn hit(&self, i: usize) -> Hit {
        self.attribution.hit(i)
    }

    /// What sample `i` is counted under, of which this is the hit.
    #[inline]
    pub fn key(&self, i: usize, hit: &Hit) -> Key {
        Key {
            map: hit.map,
            place: self.attribution.place.get(i).unwrap_or(NONE),
            part: self.part(i),
            evidence: hit.evidence,
        }
    }

    #[inline]
    pub fn part(&self, i: usize) -> Result<Part, Reason> {
        let part = self.attribution.part.get(i).copied();
        part.unwrap_or(Err(Reason::NotAnAccess))
    }

    pub fn is_access(&self, i: usize) -> bool {
        self.part(i) != Err(Reason::NotAnAccess)
    }

    /// Puts the parts of these samples in place of those in `parts`.
    pub fn parts(&self, samples: Range<usize>, parts: &mut Vec<Result<Part, Reason>>) {
        let known = self.attribution.part.as_slice();
        let end = samples.end.min(known.len());
        parts.clear();
        parts.extend_from_slice(known.get(samples.start..end).unwrap_or(&[]));
        parts.resize(samples.len(), Err(Reason::NotAnAccess));
    }

    /// The accesses among these samples to what `order` keeps together, with its address: the structure
    /// instance, or the watched word of a breakpoint.
    pub fn instances(&self, samples: Range<usize>, found: &mut Vec<(usize, u64)>) {
        found.clear();
        if self.breakpoint.contains(&true) {
            found.extend(samples.filter_map(|i| Some((i, self.instance(i)?))));
        } else {
            self.attribution.hits.bases(samples, found);
        }
        found.retain(|(i, _)| self.is_access(*i));
    }

    fn instance(&self, i: usize) -> Option<u64> {
        let watched = || self.addr(i).filter(|_| self.is_watched(i));
        self.hit(i).base().or_else(watched)
    }

    /// Whether sample `i` is of a breakpoint.
    #[inline]
    pub fn is_watched(&self, i: usize) -> bool {
        self.breakpoint.get(self.event(i)) == Some(&true)
    }
}
