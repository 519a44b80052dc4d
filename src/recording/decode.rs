//! Samples -> columns, several runs of them at once.
//!
//! The walk finds runs of samples; each is decoded in a lane of its own, and the lanes' rows are then
//! added to the recording's columns in the order of the file.

use super::attr::Attr;
use super::column::ROWS;
use super::columns::{Ended, Run, Values, side_by_side};
use super::cursor::ByteOrder;
use super::plan::Plan;
use super::reader::Reader;
use super::sample::SampleBody;
use super::walk::RECORD_HEADER;
use super::walk::user::{FINISHED_ROUND, FIRST as FIRST_OF_PERF};
use perf_event_open_sys::bindings as sys;
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Lanes a thread: one may be held up, or look at the next headers meanwhile.
const LANES: usize = 1;
/// Records that are no samples, in a stretch.
const MAX_OTHERS: usize = 1 << 12;
/// Blocks that a lane fills before its rows are added.
const BLOCKS: usize = 4;
/// A lane takes a MB or two.
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

/// What lies in a stretch of records: runs of samples, and where it ends.
#[derive(Debug, Default)]
pub struct Stretch {
    runs: Vec<Range<usize>>,
    samples: usize,
    /// Where records lie that are no samples, but which do not matter to decode some.
    pub others: Vec<usize>,
    /// Where it ends, and whether because of a record that has to be taken before the next ones.
    pub end: usize,
    pub stopped: bool,
}

impl Stretch {
    /// Looks at the headers from byte `at` on until there is a run for every lane. The first run fills
    /// a block that has `rows` rows, or some of many blocks.
    pub fn scan(data: &[u8], at: usize, rows: usize, order: ByteOrder) -> Stretch {
        let mut stretch = Stretch {
            end: at,
            ..Stretch::default()
        };
        let lanes = (LANES * rayon::current_num_threads()).min(MAX_LANES);
        let mut room = 0;
        while stretch.end < data.len() && stretch.others.len() < MAX_OTHERS {
            let at = stretch.end;
            let Some((header, _)) = Header::at(data, at, order) else {
                stretch.stopped = true;
                break;
            };
            let end = at + header.size;
            if header.kind == sys::PERF_RECORD_SAMPLE {
                let begun = stretch.runs.len();
                match stretch.runs.last_mut() {
                    Some(run) if room != 0 => run.end = end,
                    _ if begun == lanes => break,
                    _ => {
                        room = match begun {
                            0 => BLOCKS * ROWS - rows % ROWS,
                            _ => BLOCKS * ROWS,
                        };
                        stretch.runs.push(at..end);
                    }
                }
                room -= 1;
                stretch.samples += 1;
            } else if header.is_perfs() {
                stretch.stopped = true;
                break;
            } else if header.kind != FINISHED_ROUND {
                stretch.others.push(at);
            }
            stretch.end = end;
        }
        stretch
    }
}

/// A record that lies whole in its file.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    pub kind: u32,
    pub misc: u16,
    /// Of the record, this header included.
    pub size: usize,
}

impl Header {
    /// The header of the record at byte `at`, and its body.
    #[inline(always)]
    pub fn at(data: &[u8], at: usize, order: ByteOrder) -> Option<(Header, &[u8])> {
        let header = Header {
            kind: order.u32_at(data, at)?,
            misc: order.u16_at(data, at + 4)?,
            size: order.u16_at(data, at + 6)?.into(),
        };
        // A size less than the header's has no body.
        let body = data.get(at + RECORD_HEADER..at + header.size)?;
        Some((header, body))
    }

    /// Whether perf wrote it, and it may bring events, or samples out of a compressed record.
    fn is_perfs(self) -> bool {
        self.kind >= FIRST_OF_PERF && self.kind != FINISHED_ROUND
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
    run: Option<Box<Run>>,
    file_size: u64,
    sampled: u64,
    ended: Vec<Ended>,
    /// The bytes to decode.
    range: Range<usize>,
    /// Rows after which a block of the columns is full.
    room: usize,
    last_id: (u64, u16),
    /// Samples too short for what their event samples.
    short: Seen,
    /// Samples with the id of no event.
    strangers: Seen,
}

impl Lane {
    fn new(file_size: u64) -> Lane {
        Lane {
            run: None,
            file_size,
            sampled: 0,
            ended: Vec::new(),
            range: 0..0,
            room: ROWS,
            last_id: (0, 0),
            short: Seen::default(),
            strangers: Seen::default(),
        }
    }

    /// Begins with samples of events that sample these bits.
    fn begin(&mut self, sampled: u64) {
        if self.sampled != sampled {
            self.run = None;
        }
        self.sampled = sampled;
        self.room = ROWS;
    }

    /// All samples that were too short, and all that had the id of no event.
    pub fn told(lanes: &[Lane]) -> (Seen, Seen) {
        let none = (Seen::default(), Seen::default());
        lanes.iter().fold(none, |(short, strangers), lane| {
            (short.and(lane.short), strangers.and(lane.strangers))
        })
    }

    fn decode(&mut self, events: &Events, values: &Values, data: &[u8], origin: Origin) {
        self.last_id = (0, 0);
        let mut at = self.range.start;
        while at < self.range.end {
            let Some((header, body)) = Header::at(data, at, events.order) else {
                return;
            };
            if header.kind == sys::PERF_RECORD_SAMPLE {
                if self.room == 0 {
                    self.end_run();
                    self.room = ROWS;
                }
                self.room -= 1;
                self.sample(events, values, body, header.misc, at, origin);
            }
            at += header.size;
        }
        self.end_run();
    }

    fn end_run(&mut self) {
        if let Some(run) = self.run.take() {
            let (ended, next) = run.end();
            self.ended.push(ended);
            self.run = next;
        }
    }

    #[inline(always)]
    fn sample(
        &mut self,
        events: &Events,
        values: &Values,
        body: &[u8],
        misc: u16,
        at: usize,
        origin: Origin,
    ) {
        let order = events.order;
        let event = match events.id_at.and_then(|at| order.u64_at(body, at)) {
            Some(id) if id == self.last_id.0 && id != 0 => self.last_id.1,
            Some(id) => self.event_of(events, id, origin.offset(at)),
            None => 0,
        };
        let (file_size, sampled) = (self.file_size, self.sampled);
        let begin = || Box::new(Run::new(file_size, sampled));
        let run = self.run.get_or_insert_with(begin);
        let cpumode = (u32::from(misc) & sys::PERF_RECORD_MISC_CPUMODE_MASK) as u8;
        let pushed = match events.plans.get(usize::from(event)) {
            Some(Some(plan)) => plan
                .row(body, order)
                .and_then(|row| run.push(values, row, event, cpumode)),
            Some(None) => events.attrs.get(usize::from(event)).and_then(|attr| {
                let body = SampleBody::decode(body, attr, order)?;
                let body_at = origin.base + (at + RECORD_HEADER) as u64;
                let body_at = origin.inflated.is_none().then_some(body_at);
                run.push_body(values, &body, body_at, event, cpumode)
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
    /// Adds the samples of a stretch of `data`, and looks at the headers after it meanwhile.
    pub fn decode(&mut self, data: &[u8], origin: Origin, stretch: &mut Stretch) -> Stretch {
        let (order, end) = (self.order, stretch.end);
        let last = stretch.stopped || end == data.len();
        let rows = self.columns.len() + stretch.samples;
        let runs = std::mem::take(&mut stretch.runs);
        if last {
            self.decode_runs(data, origin, runs);
            return Stretch::default();
        }
        let ((), next) = rayon::join(
            || self.decode_runs(data, origin, runs),
            || Stretch::scan(data, end, rows, order),
        );
        next
    }

    fn decode_runs(&mut self, data: &[u8], origin: Origin, runs: Vec<Range<usize>>) {
        if runs.is_empty() {
            return;
        }
        while self.lanes.len() < runs.len() {
            self.lanes.push(Lane::new(self.meta.file_size));
        }
        let (events, columns) = (&self.events, &self.columns);
        let lanes = self.lanes.get_mut(..runs.len()).unwrap_or_default();
        for lane in lanes.iter_mut() {
            lane.begin(columns.sampled());
        }
        if let Some(first) = lanes.first_mut() {
            first.room = ROWS - columns.len() % ROWS;
        }
        for (lane, run) in lanes.iter_mut().zip(runs) {
            lane.range = run;
        }
        side_by_side(lanes, |lane| {
            lane.decode(events, columns.values(), data, origin);
        });
        let ended = lanes.iter_mut().flat_map(|lane| lane.ended.drain(..));
        self.columns.append(ended.collect());
    }
}
