//! Samples -> columns, several runs of them at once.
//!
//! The walk finds runs of samples; each is decoded in a lane of its own, and the lanes' rows are then
//! added to the recording's columns in the order of the file.

use super::attr::Attr;
use super::column::ROWS;
use super::columns::{Columns, Ended, Run, side_by_side};
use super::cursor::ByteOrder;
use super::held::bring;
use super::plan::{Plan, words_at};
use super::reader::Reader;
use super::sample::SampleBody;
use super::walk::RECORD_HEADER;
use super::walk::user::{FINISHED_ROUND, FIRST as FIRST_OF_PERF};
use perf_event_open_sys::bindings as sys;
use rustc_hash::FxHashMap;
use std::ops::Range;
use std::slice::ChunksExact;

/// Lanes a thread, and blocks that each fills before its rows are added: one lane may be held up, or look
/// at the next headers meanwhile.
const WIDE: (usize, usize) = (6, 8);
/// The same while there are new values in most runs: these are in memory unpacked until they are added.
const NARROW: (usize, usize) = (1, 4);
/// Records that are no samples, in a stretch.
const MAX_OTHERS: usize = 1 << 12;
/// A lane fills a MB or two.
const MAX_LANES: usize = 32;
/// Records whose fields are read one field after the other: as many as stay in a core's nearest cache.
const NEAR: usize = 1 << 8;

/// Ids of events that a lane has at hand.
const LAST_IDS: usize = 64;

/// The events, and how to tell which one a sample is of.
pub struct Events {
    pub attrs: Vec<Attr>,
    pub ids: FxHashMap<u64, u16>,
    /// Whether all events end their other records alike.
    pub same_trailer: bool,
    order: ByteOrder,
    plans: Vec<Option<Plan>>,
    /// That of all of them, if it is one.
    plan: Option<Plan>,
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
            plan: None,
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
        let first = self.plans.first().copied().flatten();
        self.plan = first.filter(|_| self.plans.iter().all(|plan| *plan == first));
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
    /// That of the bytes from byte `at` on.
    fn after(self, at: usize) -> Origin {
        Origin {
            base: self.base + at as u64,
            ..self
        }
    }

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
    pub fn scan(
        data: &[u8],
        at: usize,
        rows: usize,
        (lanes, blocks): (usize, usize),
        order: ByteOrder,
    ) -> Stretch {
        let mut stretch = Stretch {
            end: at,
            ..Stretch::default()
        };
        let lanes = (lanes * rayon::current_num_threads()).min(MAX_LANES);
        let mut room = 0;
        bring(data, at, at);
        while stretch.end < data.len() && stretch.others.len() < MAX_OTHERS {
            let at = stretch.end;
            let Some((header, _)) = Header::at(data, at, order) else {
                stretch.stopped = true;
                break;
            };
            if header.kind == sys::PERF_RECORD_SAMPLE {
                if room == 0 {
                    let begun = stretch.runs.len();
                    if begun == lanes {
                        break;
                    }
                    room = match begun {
                        0 => blocks * ROWS - rows % ROWS,
                        _ => blocks * ROWS,
                    };
                    stretch.runs.push(at..at);
                }
                let alike = alike(data, at, header.size, room).len();
                stretch.end += alike * header.size;
                if let Some(run) = stretch.runs.last_mut() {
                    run.end = stretch.end;
                }
                room -= alike;
                stretch.samples += alike;
            } else if header.is_perfs() {
                stretch.stopped = true;
                break;
            } else {
                if header.kind != FINISHED_ROUND {
                    stretch.others.push(at);
                }
                stretch.end += header.size;
            }
            bring(data, at, stretch.end);
        }
        stretch
    }
}

/// The records from byte `at` on, at most so many, that have the header of the first, and so its size.
fn alike(data: &[u8], at: usize, size: usize, most: usize) -> ChunksExact<'_, u8> {
    let data = data.get(at..).unwrap_or(&[]);
    let size = size.max(RECORD_HEADER);
    let header = data.first_chunk::<RECORD_HEADER>();
    let records = data.chunks_exact(size).take(most);
    let alike = records.take_while(|record| record.first_chunk() == header);
    let alike = data.get(..size * alike.count());
    alike.unwrap_or(&[]).chunks_exact(size)
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

    /// `PERF_RECORD_MISC_CPUMODE`.
    fn mode(self) -> u8 {
        (u32::from(self.misc) & sys::PERF_RECORD_MISC_CPUMODE_MASK) as u8
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
    ended: Vec<Ended>,
    /// The bytes to decode.
    range: Range<usize>,
    /// Rows after which a block of the columns is full.
    room: usize,
    /// Ids of events that were seen last, each in the slot of its lowest bits: the kernel counts them up.
    last_ids: [(u64, u16); LAST_IDS],
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
            ended: Vec::new(),
            range: 0..0,
            room: ROWS,
            last_ids: [(0, 0); LAST_IDS],
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

    fn decode(&mut self, events: &Events, columns: &Columns, data: &[u8], origin: Origin) {
        self.last_ids = [(0, 0); LAST_IDS];
        self.run = columns.spare_run();
        let data = data.get(..self.range.end).unwrap_or(data);
        let mut at = self.range.start;
        while let Some((header, body)) = Header::at(data, at, events.order) {
            if header.kind != sys::PERF_RECORD_SAMPLE {
                at += header.size;
                continue;
            }
            if self.room == 0 {
                self.end_run();
                self.room = ROWS;
            }
            let plan = events.plan.as_ref();
            let taken = match plan.filter(|plan| plan.len <= body.len()) {
                Some(plan) => {
                    let records = alike(data, at, header.size, self.room.min(NEAR));
                    let taken = records.len();
                    self.samples(events, columns, plan, header, records, origin.after(at));
                    taken
                }
                None => {
                    self.sample(events, columns, body, header, at, origin);
                    1
                }
            };
            self.room -= taken;
            at += taken * header.size;
        }
        self.end_run();
        if let Some(mut run) = self.run.take() {
            self.ended.extend(run.packed());
            columns.spare(run);
        }
    }

    /// Ends the run, which goes on when it can be packed.
    fn end_run(&mut self) {
        match self.run.take() {
            Some(mut run) if run.is_settled() => {
                run.pack();
                self.run = Some(run);
            }
            Some(mut run) => {
                self.ended.extend(run.packed());
                self.ended.push(Ended::Open(run));
            }
            None => {}
        }
    }

    /// Samples of one plan, whose records have one header; the first lies where `origin` begins.
    fn samples(
        &mut self,
        events: &Events,
        columns: &Columns,
        plan: &Plan,
        header: Header,
        records: ChunksExact<u8>,
        origin: Origin,
    ) {
        let begin = || Box::new(Run::new(self.file_size, columns.sampled()));
        let mut run = self.run.take().unwrap_or_else(begin);
        let order = events.order;
        let all = records.clone();
        let find_events = |words: &mut [u64]| {
            let Some(id_at) = events.id_at else {
                return words.fill(0);
            };
            words_at(id_at, all, order, words);
            for (i, word) in words.iter_mut().enumerate() {
                let event = self.event(events, *word, origin.offset(i * header.size));
                *word = event.into();
            }
        };
        let pushed = run.push_all(
            columns.values(),
            (plan, order),
            records,
            find_events,
            header.mode(),
        );
        debug_assert!(pushed.is_some(), "there is no room for as many");
        self.run = Some(run);
    }

    #[inline(always)]
    fn sample(
        &mut self,
        events: &Events,
        columns: &Columns,
        body: &[u8],
        header: Header,
        at: usize,
        origin: Origin,
    ) {
        let order = events.order;
        let id = events.id_at.and_then(|at| order.u64_at(body, at));
        let event = id.map_or(0, |id| self.event(events, id, origin.offset(at)));
        let file_size = self.file_size;
        let begin = || Box::new(Run::new(file_size, columns.sampled()));
        let run = self.run.get_or_insert_with(begin);
        let (values, cpumode) = (columns.values(), header.mode());
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

    /// The event with an id, which a sample has whose record lies at this byte of the file.
    #[inline(always)]
    fn event(&mut self, events: &Events, id: u64, offset: u64) -> u16 {
        match self.last_ids[id as usize % LAST_IDS] {
            (last, event) if last == id && id != 0 => event,
            _ => self.event_of(events, id, offset),
        }
    }

    fn event_of(&mut self, events: &Events, id: u64, offset: u64) -> u16 {
        match events.ids.get(&id) {
            Some(&event) => {
                self.last_ids[id as usize % LAST_IDS] = (id, event);
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
    /// How many runs there may be in the next stretch: lanes a thread, and blocks of each.
    pub fn width(&self) -> (usize, usize) {
        match self.columns.is_settled() {
            true => WIDE,
            false => NARROW,
        }
    }

    /// Adds the samples of a stretch of `data`, and looks at the headers after it meanwhile.
    pub fn decode(&mut self, data: &[u8], origin: Origin, stretch: &mut Stretch) -> Stretch {
        let (order, end, width) = (self.order, stretch.end, self.width());
        let last = stretch.stopped || end == data.len();
        let rows = self.columns.len() + stretch.samples;
        let runs = std::mem::take(&mut stretch.runs);
        if last {
            self.decode_runs(data, origin, runs);
            return Stretch::default();
        }
        let ((), next) = rayon::join(
            || self.decode_runs(data, origin, runs),
            || Stretch::scan(data, end, rows, width, order),
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
            lane.room = ROWS;
        }
        if let Some(first) = lanes.first_mut() {
            first.room = ROWS - columns.len() % ROWS;
        }
        for (lane, run) in lanes.iter_mut().zip(runs) {
            lane.range = run;
        }
        side_by_side(lanes, |lane| {
            lane.decode(events, columns, data, origin);
        });
        let ended = lanes.iter_mut().flat_map(|lane| lane.ended.drain(..));
        self.columns.append(ended.collect());
    }
}
