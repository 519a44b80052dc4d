//! Samples -> columns, several runs of them at once.
//!
//! The walk collects runs of samples; each is decoded into the columns of a lane of its own, and the
//! lanes' rows are then added to the recording's columns in the order of the file.

use super::attr::Attr;
use super::column::ROWS;
use super::columns::Run;
use super::cursor::ByteOrder;
use super::plan::Plan;
use super::reader::Reader;
use super::sample::SampleBody;
use super::walk::RECORD_HEADER;
use perf_event_open_sys::bindings as sys;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// A lane's columns and dictionaries take a few MB.
const MAX_LANES: usize = 16;

/// The events, and how to tell which one a sample is of.
pub struct Events {
    pub attrs: Vec<Attr>,
    pub ids: FxHashMap<u64, u16>,
    /// Whether all events end their other records alike.
    pub same_trailer: bool,
    order: ByteOrder,
    plans: Vec<Option<Plan>>,
    /// Byte of every sample where its id lies; `None` where there is one event, or no way to tell:
    /// then all are of the first.
    id_at: Option<usize>,
}

impl Events {
    pub fn new(order: ByteOrder) -> Events {
        Events {
            attrs: Vec::new(),
            ids: FxHashMap::default(),
            same_trailer: true,
            order,
            plans: Vec::new(),
            id_at: None,
        }
    }

    /// Adds an event; `false` when there are too many.
    pub fn add(&mut self, attr: Attr) -> bool {
        let Ok(event) = u16::try_from(self.attrs.len()) else {
            return false;
        };
        for &id in &attr.event.ids {
            self.ids.entry(id).or_insert(event);
        }
        self.plans.push(Plan::new(&attr));
        self.attrs.push(attr);
        self.id_at = self.id_offset().filter(|_| self.attrs.len() > 1);
        self.same_trailer = same_trailer(&self.attrs);
        true
    }

    /// Where the id of every event's samples lies, if that is one place.
    pub fn id_offset(&self) -> Option<usize> {
        id_offset(&self.attrs)
    }
}

fn id_offset(attrs: &[Attr]) -> Option<usize> {
    let offset = |attr: &Attr| {
        if attr.has(sys::PERF_SAMPLE_IDENTIFIER) {
            return Some(0);
        }
        let before = sys::PERF_SAMPLE_IP
            | sys::PERF_SAMPLE_TID
            | sys::PERF_SAMPLE_TIME
            | sys::PERF_SAMPLE_ADDR;
        let words = (attr.event.sample_type & u64::from(before)).count_ones() as usize;
        attr.has(sys::PERF_SAMPLE_ID).then_some(8 * words)
    };
    let first = offset(attrs.first()?)?;
    attrs
        .iter()
        .all(|attr| offset(attr) == Some(first))
        .then_some(first)
}

fn same_trailer(attrs: &[Attr]) -> bool {
    let fields = u64::from(
        sys::PERF_SAMPLE_IDENTIFIER
            | sys::PERF_SAMPLE_CPU
            | sys::PERF_SAMPLE_STREAM_ID
            | sys::PERF_SAMPLE_ID
            | sys::PERF_SAMPLE_TIME
            | sys::PERF_SAMPLE_TID,
    );
    let trailer = |attr: &Attr| (attr.sample_id_all, attr.event.sample_type & fields);
    attrs
        .first()
        .is_none_or(|first| attrs.iter().all(|attr| trailer(attr) == trailer(first)))
}

/// Where bytes that are walked over come from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Byte of the file where they begin.
    pub base: u64,
    /// The compressed record that they came out of.
    pub inflated: Option<u64>,
}

impl Origin {
    /// Where in the file to look for byte `at`.
    pub fn offset(self, at: usize) -> u64 {
        self.inflated.unwrap_or(self.base + at as u64)
    }
}

/// Runs of samples that wait to be decoded.
#[derive(Debug, Default)]
pub struct Batch {
    runs: Vec<Range<usize>>,
    /// Samples in the last of them.
    samples: usize,
    /// Rows that the last block of the columns has already: the first run fills it.
    begun: usize,
}

impl Batch {
    /// Runs that come after so many rows.
    pub fn after(rows: usize) -> Batch {
        Batch {
            begun: rows % ROWS,
            ..Batch::default()
        }
    }

    /// Adds the sample in these bytes; `true` when there is a run for every lane. Records of other
    /// kinds may stand between the samples of a run.
    #[inline(always)]
    pub fn add(&mut self, start: usize, end: usize) -> bool {
        match self.runs.last_mut() {
            Some(run) if self.samples < ROWS => run.end = end,
            _ => {
                self.runs.push(start..end);
                self.samples = std::mem::take(&mut self.begun);
            }
        }
        self.samples += 1;
        self.samples == ROWS && self.runs.len() >= rayon::current_num_threads().min(MAX_LANES)
    }
}

/// Where something happened first, and how often.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub offset: u64,
    pub number: u64,
}

impl Seen {
    fn count(&mut self, offset: u64) {
        if self.number == 0 {
            self.offset = offset;
        }
        self.number += 1;
    }

    fn and(self, other: Seen) -> Seen {
        let seen = [self, other].into_iter().filter(|seen| seen.number != 0);
        Seen {
            offset: seen.map(|seen| seen.offset).min().unwrap_or(0),
            number: self.number + other.number,
        }
    }
}

/// Where one run is decoded.
pub struct Lane {
    run: Run,
    last_id: (u64, u16),
    /// Samples too short for what their event samples.
    short: Seen,
    /// Samples with the id of no event.
    strangers: Seen,
}

impl Lane {
    fn new(file_size: u64) -> Lane {
        Lane {
            run: Run::new(file_size),
            last_id: (0, 0),
            short: Seen::default(),
            strangers: Seen::default(),
        }
    }

    /// All samples that were too short, and all that had the id of no event.
    pub fn told(lanes: &[Lane]) -> (Seen, Seen) {
        let none = (Seen::default(), Seen::default());
        lanes.iter().fold(none, |(short, strangers), lane| {
            (short.and(lane.short), strangers.and(lane.strangers))
        })
    }

    fn decode(&mut self, events: &Events, data: &[u8], run: Range<usize>, origin: Origin) {
        self.last_id = (0, 0);
        let order = events.order;
        let mut at = run.start;
        while at < run.end {
            let (Some(kind), Some(misc), Some(size)) = (
                order.u32_at(data, at),
                order.u16_at(data, at + 4),
                order.u16_at(data, at + 6),
            ) else {
                return;
            };
            let end = at + usize::from(size);
            let Some(body) = data.get(at + RECORD_HEADER..end) else {
                return;
            };
            if kind == sys::PERF_RECORD_SAMPLE {
                self.sample(events, body, misc, at, origin);
            }
            at = end;
        }
    }

    #[inline(always)]
    fn sample(&mut self, events: &Events, body: &[u8], misc: u16, at: usize, origin: Origin) {
        let order = events.order;
        let event = match events.id_at.and_then(|at| order.u64_at(body, at)) {
            Some(id) if id == self.last_id.0 && id != 0 => self.last_id.1,
            Some(id) => self.event_of(events, id, origin.offset(at)),
            None => 0,
        };
        let cpumode = (u32::from(misc) & sys::PERF_RECORD_MISC_CPUMODE_MASK) as u8;
        let pushed = match events.plans.get(usize::from(event)) {
            Some(Some(plan)) => plan
                .row(body, order)
                .and_then(|row| self.run.push(row, event, cpumode)),
            Some(None) => events.attrs.get(usize::from(event)).and_then(|attr| {
                let body = SampleBody::decode(body, attr, order)?;
                let body_at = origin.base + (at + RECORD_HEADER) as u64;
                let body_at = origin.inflated.is_none().then_some(body_at);
                self.run.push_body(&body, body_at, event, cpumode)
            }),
            None => None,
        };
        if pushed.is_none() {
            self.short.count(origin.offset(at));
        }
    }

    fn event_of(&mut self, events: &Events, id: u64, offset: u64) -> u16 {
        match events.ids.get(&id) {
            Some(&event) => {
                self.last_id = (id, event);
                event
            }
            None => {
                // perf, too, gives id 0 to the first event.
                if id != 0 {
                    self.strangers.count(offset);
                }
                0
            }
        }
    }
}

impl Reader {
    /// Adds the samples of `batch`, which lie in `data`, and empties it.
    pub fn decode(&mut self, data: &[u8], origin: Origin, batch: &mut Batch) {
        let runs = std::mem::take(&mut batch.runs);
        while self.lanes.len() < runs.len() {
            self.lanes.push(Lane::new(self.meta.file_size));
        }
        let (events, sampled) = (&self.events, self.columns.sampled());
        let lanes = self.lanes.get_mut(..runs.len()).unwrap_or_default();
        lanes.par_iter_mut().zip(runs).for_each(|(lane, run)| {
            lane.run.begin(sampled);
            lane.decode(events, data, run, origin);
        });
        let runs = lanes.iter_mut().map(|lane| &mut lane.run);
        self.columns.append(runs.collect());
        *batch = Batch::after(self.columns.len());
    }
}
