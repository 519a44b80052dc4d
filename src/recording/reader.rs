//! The container: header, attrs, and the walk over the records of a file or a pipe.
//!
//! ```text
//! file  | header 104 | attrs | data: records ... | feature table | features |
//! pipe  | header 16 | HEADER_ATTR, HEADER_FEATURE and all other records ...
//! ```
//!
//! `tools/perf/Documentation/perf.data-file-format.txt`.

use super::attr::{Attr, default_name};
use super::aux::{Aux, AuxChunk, AuxInfo, Bytes, TimeConv};
use super::classify;
use super::columns::Columns;
use super::cursor::{ByteOrder, Cursor, text};
use super::features::{self, Section};
use super::inflate::Inflate;
use super::plan::Plan;
use super::records::{self, Record, Stamp};
use super::sample::SampleBody;
use super::space::SpaceBuilder;
use super::{Damage, Gap, Meta, Recording, RecordingError};
use linux_perf_data::Feature;
use perf_event_open_sys::bindings as sys;
use rustc_hash::FxHashMap;

/// Records that perf itself writes, `tools/lib/perf/include/perf/event.h`, `enum perf_user_event_type`.
mod user {
    pub const HEADER_ATTR: u32 = 64;
    pub const HEADER_TRACING_DATA: u32 = 66;
    pub const HEADER_BUILD_ID: u32 = 67;
    pub const AUXTRACE_INFO: u32 = 70;
    pub const AUXTRACE: u32 = 71;
    pub const EVENT_UPDATE: u32 = 78;
    pub const TIME_CONV: u32 = 79;
    pub const HEADER_FEATURE: u32 = 80;
    pub const COMPRESSED: u32 = 81;
    pub const COMPRESSED2: u32 = 83;
}

const HEADER: u64 = 104;
/// The header of 2009, without feature bits.
const HEADER_WITHOUT_FEATURES: u64 = 72;
const PIPE_HEADER: u64 = 16;
const RECORD_HEADER: usize = 8;
/// Places told one by one; a file broken throughout is not worth more.
const MAX_DAMAGE: usize = 200;
/// Size of `struct perf_record_auxtrace`. Google's old pipe files use its number for something else.
const AUXTRACE_RECORD: usize = 48;

/// How to tell which event a sample belongs to.
#[derive(Debug, Clone, Copy)]
enum EventBy {
    /// There is only one, or no way to tell: the first.
    Only,
    /// The id is the word at this byte of every sample.
    Id(usize),
}

struct Reader {
    order: ByteOrder,
    meta: Meta,
    attrs: Vec<Attr>,
    plans: Vec<Option<Plan>>,
    event_by: EventBy,
    /// Whether all events end their other records alike.
    same_trailer: bool,
    ids: FxHashMap<u64, u16>,
    last_id: (u64, u16),
    columns: Columns,
    reserved: bool,
    space: SpaceBuilder,
    gaps: Vec<Gap>,
    aux: Aux,
    damage: Vec<Damage>,
    sections: Vec<Section>,
    inflate: Inflate,
    /// Offset of the first and number of all: samples too short, samples of no event.
    short: (u64, u64),
    strangers: (u64, u64),
    stopped: bool,
}

/// Reads a recording from its bytes.
pub fn read(data: &[u8]) -> Result<Recording, RecordingError> {
    let order = match data.get(..8) {
        Some(b"PERFILE2") => ByteOrder::Little,
        Some(b"2ELIFREP") => ByteOrder::Big,
        Some(b"PERFFILE") | Some(b"ELIFFREP") => return Err(RecordingError::Version1),
        _ if data.is_empty() => return Err(RecordingError::Empty),
        _ => {
            let begins = data.get(..8).unwrap_or(data);
            return Err(RecordingError::NotPerfData(begins.to_vec()));
        }
    };
    let cut = |header| RecordingError::CutHeader {
        len: data.len() as u64,
        header,
    };
    let size = order.u64_at(data, 8).ok_or(cut(PIPE_HEADER))?;
    let mut reader = Reader::new(order, data.len() as u64);
    match size {
        PIPE_HEADER => {
            reader.meta.pipe = true;
            reader.walk(data.get(16..).unwrap_or(&[]), PIPE_HEADER, None);
        }
        HEADER | HEADER_WITHOUT_FEATURES => {
            reader.file(data, size).ok_or(cut(size))??;
        }
        size => return Err(RecordingError::HeaderSize { size }),
    }
    Ok(reader.finish())
}

/// The part of `data` that begins at `offset`, at most `size` bytes of it.
fn part(data: &[u8], offset: u64, size: u64) -> &[u8] {
    let Ok(start) = usize::try_from(offset) else {
        return &[];
    };
    let rest = data.get(start..).unwrap_or(&[]);
    match usize::try_from(size) {
        Ok(size) => rest.get(..size).unwrap_or(rest),
        Err(_) => rest,
    }
}

impl Reader {
    fn new(order: ByteOrder, file_size: u64) -> Reader {
        Reader {
            order,
            meta: Meta {
                big_endian: order == ByteOrder::Big,
                file_size,
                ..Meta::default()
            },
            attrs: Vec::new(),
            plans: Vec::new(),
            event_by: EventBy::Only,
            same_trailer: true,
            ids: FxHashMap::default(),
            last_id: (0, 0),
            columns: Columns::new(file_size),
            reserved: false,
            space: SpaceBuilder::default(),
            gaps: Vec::new(),
            aux: Aux::default(),
            damage: Vec::new(),
            sections: Vec::new(),
            inflate: Inflate::default(),
            short: (0, 0),
            strangers: (0, 0),
            stopped: false,
        }
    }

    fn tell(&mut self, offset: u64, rule: impl Into<String>) {
        if self.damage.len() < MAX_DAMAGE {
            self.damage.push(Damage {
                offset,
                rule: rule.into(),
            });
        }
    }

    /// `None` when the header is cut.
    fn file(&mut self, data: &[u8], header: u64) -> Option<Result<(), RecordingError>> {
        let mut at = Cursor::new(data, self.order);
        at.bytes(16)?;
        let entry = at.u64()?;
        let (attrs_at, attrs_size) = (at.u64()?, at.u64()?);
        let (data_at, data_size) = (at.u64()?, at.u64()?);
        at.bytes(16)?;
        let bits = match header {
            HEADER => [at.u64()?, at.u64()?, at.u64()?, at.u64()?],
            _ => [0; 4],
        };
        // An entry is an attr and where its ids lie.
        let Some(attr_size) = entry
            .checked_sub(16)
            .filter(|&size| size >= u64::from(sys::PERF_ATTR_SIZE_VER0))
        else {
            return Some(Err(RecordingError::AttrSize {
                offset: attrs_at,
                entry,
            }));
        };
        self.read_attrs(data, attrs_at, attrs_size, attr_size);

        let len = data.len() as u64;
        let end = data_at.saturating_add(data_size);
        if data_size == 0 && !self.is_feature_table(data, data_at, bits) {
            self.tell(
                40,
                "the header says that there are no records: the recording was not ended properly; \
                 read to the end of the file, without the feature sections",
            );
            self.walk(part(data, data_at, u64::MAX), data_at, None);
        } else {
            if end > len {
                self.tell(
                    len,
                    format!("the data section should end at byte {end}, where the file is cut; read what is there"),
                );
            } else {
                self.read_feature_table(data, end, bits);
            }
            self.walk(part(data, data_at, data_size), data_at, None);
        }
        Some(Ok(()))
    }

    fn read_attrs(&mut self, data: &[u8], offset: u64, size: u64, attr_size: u64) {
        let order = self.order;
        let entries = part(data, offset, size);
        let entry_size = usize::try_from(attr_size + 16).unwrap_or(usize::MAX);
        let mut attrs = Vec::new();
        // Sections that overlap must not add up to more than the file.
        let mut ids_left = data.len();
        // `Samples::event` has 16 bits.
        for entry in entries.chunks_exact(entry_size).take(usize::from(u16::MAX)) {
            let split = entry_size - 16;
            let (Some(attr), Some(ids_at), Some(ids_size)) = (
                entry.get(..split).and_then(|attr| Attr::parse(attr, order)),
                order.u64_at(entry, split),
                order.u64_at(entry, split + 8),
            ) else {
                break;
            };
            let mut attr = attr;
            let ids = part(data, ids_at, ids_size);
            let Some(left) = ids_left.checked_sub(ids.len()) else {
                self.tell(
                    ids_at,
                    "the ids of the events overlap: those of the other events are left out",
                );
                break;
            };
            ids_left = left;
            attr.event.ids = ids
                .chunks_exact(8)
                .filter_map(|id| order.u64_at(id, 0))
                .collect();
            if (ids.len() as u64) < ids_size {
                self.tell(ids_at, "the ids of an event go past the end of the file");
            }
            attrs.push(attr);
        }
        if (entries.len() as u64) < size {
            self.tell(offset, "the attr section goes past the end of the file");
        }
        for attr in attrs {
            self.add_attr(attr);
        }
    }

    fn add_attr(&mut self, attr: Attr) {
        let Ok(event) = u16::try_from(self.attrs.len()) else {
            return;
        };
        for &id in &attr.event.ids {
            self.ids.entry(id).or_insert(event);
        }
        self.columns.add_sample_type(attr.event.sample_type);
        self.plans.push(Plan::new(&attr));
        self.attrs.push(attr);
        self.event_by = match id_offset(&self.attrs) {
            Some(at) if self.attrs.len() > 1 => EventBy::Id(at),
            _ => EventBy::Only,
        };
        self.same_trailer = same_trailer(&self.attrs);
        self.last_id = (0, 0);
    }

    /// Whether a table of features stands at `table`: the first section follows the table.
    fn is_feature_table(&self, data: &[u8], table: u64, bits: [u64; 4]) -> bool {
        let count: u32 = bits.iter().map(|word| word.count_ones()).sum();
        let after = table.checked_add(16 * u64::from(count));
        count != 0 && self.order.u64_at(part(data, table, 8), 0) == after
    }

    fn read_feature_table(&mut self, data: &[u8], table: u64, bits: [u64; 4]) {
        let mut entry = table;
        // Sections that overlap must not add up to more than the file.
        let mut bytes_left = data.len();
        for feature in 0..256u32 {
            let set = bits
                .get(feature as usize / 64)
                .is_some_and(|word| word >> (feature % 64) & 1 != 0);
            if !set {
                continue;
            }
            let place = part(data, entry, 16);
            let (Some(offset), Some(size)) =
                (self.order.u64_at(place, 0), self.order.u64_at(place, 8))
            else {
                self.tell(entry, "the table of features is cut by the end of the file");
                return;
            };
            entry += 16;
            let section = part(data, offset, size);
            if (section.len() as u64) < size {
                self.tell(
                    offset,
                    format!("feature {feature} goes past the end of the file; it is left out"),
                );
                continue;
            }
            let Some(left) = bytes_left.checked_sub(section.len()) else {
                self.tell(
                    offset,
                    format!("feature {feature} overlaps others; the rest is left out"),
                );
                return;
            };
            bytes_left = left;
            self.sections.push(Section {
                feature,
                offset,
                data: section.to_vec(),
            });
        }
    }

    /// Walks over records from byte `base` of the file on; `inflated` says where the compressed record
    /// lies that they came out of. Returns the bytes it took.
    fn walk(&mut self, data: &[u8], base: u64, inflated: Option<u64>) -> usize {
        let mut at = 0;
        while !self.stopped && at < data.len() {
            let offset = inflated.unwrap_or(base + at as u64);
            let header = (
                self.order.u32_at(data, at),
                self.order.u16_at(data, at + 4),
                self.order.u16_at(data, at + 6),
            );
            let (Some(kind), Some(misc), Some(size)) = header else {
                if inflated.is_none() {
                    let left = data.len() - at;
                    self.tell(
                        offset,
                        format!("{left} bytes are left after the last record"),
                    );
                }
                break;
            };
            let size = usize::from(size);
            if size < RECORD_HEADER {
                self.tell(
                    offset,
                    format!("a record (type {kind}) says it is {size} bytes long, less than its own header; nothing after it can be read"),
                );
                self.stopped = true;
                break;
            }
            let Some(body) = data.get(at + RECORD_HEADER..at + size) else {
                if inflated.is_none() {
                    let left = data.len() - at;
                    self.tell(
                        offset,
                        format!("a record (type {kind}) of {size} bytes is cut after {left}"),
                    );
                }
                break;
            };
            at += size;
            let record = Record { kind, misc, body };
            if kind == sys::PERF_RECORD_SAMPLE {
                if !self.reserved && inflated.is_none() {
                    self.columns.reserve((data.len() - at) / size + 1);
                    self.reserved = true;
                }
                self.sample(record, offset, inflated.is_none());
            } else {
                let after = data.len() - at;
                let skip = self.other(record, offset, after, inflated.is_some());
                at = at.saturating_add(skip).min(data.len());
            }
        }
        at
    }

    #[inline(always)]
    fn sample(&mut self, record: Record, offset: u64, in_file: bool) {
        let event = match self.event_by {
            EventBy::Only => 0,
            EventBy::Id(at) => match self.order.u64_at(record.body, at) {
                Some(id) if id == self.last_id.0 && id != 0 => self.last_id.1,
                Some(id) => self.event_of(id, offset),
                None => 0,
            },
        };
        let cpumode = (u32::from(record.misc) & sys::PERF_RECORD_MISC_CPUMODE_MASK) as u8;
        let pushed = match self.plans.get(usize::from(event)) {
            Some(Some(plan)) => plan
                .row(record.body, self.order)
                .map(|row| self.columns.push(row, event, cpumode)),
            Some(None) => self.attrs.get(usize::from(event)).and_then(|attr| {
                let body = SampleBody::decode(record.body, attr, self.order)?;
                let body_at = in_file.then_some(offset + RECORD_HEADER as u64);
                self.columns.push_body(&body, body_at, event, cpumode);
                Some(())
            }),
            None => None,
        };
        if pushed.is_none() {
            count(&mut self.short, offset);
        }
    }

    fn event_of(&mut self, id: u64, offset: u64) -> u16 {
        match self.ids.get(&id) {
            Some(&event) => {
                self.last_id = (id, event);
                event
            }
            None => {
                // perf, too, gives id 0 to the first event.
                if id != 0 {
                    count(&mut self.strangers, offset);
                }
                0
            }
        }
    }

    /// Takes a record that is no sample; returns the bytes after it that belong to it.
    fn other(&mut self, record: Record, offset: u64, after: usize, inflated: bool) -> usize {
        let order = self.order;
        let body = record.body;
        match record.kind {
            sys::PERF_RECORD_MMAP
            | sys::PERF_RECORD_MMAP2
            | sys::PERF_RECORD_COMM
            | sys::PERF_RECORD_FORK
            | sys::PERF_RECORD_LOST
            | sys::PERF_RECORD_LOST_SAMPLES
            | sys::PERF_RECORD_THROTTLE
            | sys::PERF_RECORD_UNTHROTTLE
            | sys::PERF_RECORD_AUX
            | sys::PERF_RECORD_ITRACE_START
            | sys::PERF_RECORD_SWITCH
            | sys::PERF_RECORD_SWITCH_CPU_WIDE => self.kernel_record(record, offset),
            user::HEADER_ATTR if self.meta.pipe => match Attr::with_ids(body, order) {
                Some(attr) => self.add_attr(attr),
                None => self.tell(offset, "an attr record is too short; its event is left out"),
            },
            user::HEADER_FEATURE => {
                let feature = order.u64_at(body, 0).and_then(|id| u32::try_from(id).ok());
                if let (Some(feature), Some(data)) = (feature, body.get(8..)) {
                    self.sections.push(Section {
                        feature,
                        offset,
                        data: data.to_vec(),
                    });
                }
            }
            user::EVENT_UPDATE => self.update_event(body),
            user::HEADER_BUILD_ID => {
                features::build_id(record.misc, body, order, &mut self.space);
            }
            user::HEADER_TRACING_DATA if self.meta.pipe && body.len() == 4 => {
                let size = order.u32_at(body, 0).unwrap_or(0);
                return (size as usize).next_multiple_of(8);
            }
            user::AUXTRACE if body.len() + RECORD_HEADER == AUXTRACE_RECORD && !inflated => {
                let data_at = offset + AUXTRACE_RECORD as u64;
                if let Some(chunk) = AuxChunk::parse(body, data_at, after as u64, order) {
                    if chunk.len < chunk.size {
                        self.tell(
                            offset,
                            format!(
                                "{} bytes of AUX data are cut after {}",
                                chunk.size, chunk.len
                            ),
                        );
                    }
                    self.aux.chunks.push(chunk);
                    return usize::try_from(chunk.size).unwrap_or(usize::MAX);
                }
            }
            user::AUXTRACE_INFO => self.aux.infos.extend(AuxInfo::parse(body, order)),
            user::TIME_CONV => {
                self.aux.time_conv = TimeConv::parse(body, order).or(self.aux.time_conv);
            }
            user::COMPRESSED if !inflated => self.inflate(body, offset),
            user::COMPRESSED2 if !inflated => {
                let payload = order
                    .u64_at(body, 0)
                    .and_then(|size| body.get(8..)?.get(..usize::try_from(size).ok()?));
                match payload {
                    Some(payload) => self.inflate(payload, offset),
                    None => self.tell(
                        offset,
                        "a compressed record says it holds more than it does; it is left out",
                    ),
                }
            }
            _ => {}
        }
        0
    }

    fn kernel_record(&mut self, record: Record, offset: u64) {
        let none = Attr::default();
        let identifier = record
            .body
            .len()
            .checked_sub(8)
            .and_then(|at| self.order.u64_at(record.body, at));
        let event = match identifier {
            Some(id) if !self.same_trailer => self.ids.get(&id).copied().unwrap_or(0),
            _ => 0,
        };
        let attr = self.attrs.get(usize::from(event)).unwrap_or(&none);
        let stamp = Stamp::parse(record.body, attr, self.order);
        self.gaps.extend(records::gap(record, stamp, self.order));
        let taken = records::place(&mut self.space, record, stamp, attr, self.order)
            .and_then(|()| self.aux.take(record, stamp, self.order));
        if taken.is_none() {
            self.tell(
                offset,
                format!(
                    "a record (type {}) is too short; it is left out",
                    record.kind
                ),
            );
        }
    }

    /// `PERF_RECORD_EVENT_UPDATE`: only the name is of use here.
    fn update_event(&mut self, body: &[u8]) {
        const NAME: u64 = 2;
        let mut at = Cursor::new(body, self.order);
        if let (Some(NAME), Some(id)) = (at.u64(), at.u64())
            && let Some(&event) = self.ids.get(&id)
            && let Some(attr) = self.attrs.get_mut(usize::from(event))
        {
            attr.event.name = text(at.rest());
        }
    }

    fn inflate(&mut self, payload: &[u8], offset: u64) {
        self.meta.compressed = true;
        let mut inflate = std::mem::take(&mut self.inflate);
        let result = inflate.feed(payload, |records| self.walk(records, 0, Some(offset)));
        self.inflate = inflate;
        if let Err(rule) = result {
            self.tell(offset, rule);
            self.stopped = true;
        }
    }

    fn finish(mut self) -> Recording {
        if self.inflate.unread() != 0 {
            let rule = format!(
                "the compressed records end inside a record, {} bytes into it",
                self.inflate.unread()
            );
            let end = self.meta.file_size;
            self.tell(end, rule);
        }
        let (offset, number) = self.short;
        if number != 0 {
            self.tell(
                offset,
                format!("{number} samples, from this one on, are too short for what their event samples; they are left out"),
            );
        }
        let (offset, number) = self.strangers;
        if number != 0 {
            self.tell(
                offset,
                format!("{number} samples, from this one on, have the id of no event; they are counted to the first"),
            );
        }
        if self.attrs.len() > 1 && id_offset(&self.attrs).is_none() && self.columns.len() > 0 {
            self.tell(
                0,
                "the events of the file do not sample an id at one place: all samples are counted to the first",
            );
        }
        for section in &self.sections {
            match Feature(section.feature) {
                Feature::EVENT_DESC => {
                    let names = features::event_names(&section.data, self.order);
                    features::name_events(&mut self.attrs, &names);
                }
                Feature::BUILD_ID => {
                    features::build_ids(&section.data, self.order, &mut self.space);
                }
                Feature::PMU_MAPPINGS => {
                    self.meta.pmus = features::pmus(&section.data, self.order);
                }
                Feature::CPU_PMU_CAPS => {
                    let caps = features::cpu_pmu_caps(&section.data, self.order);
                    self.meta.pmu_caps.extend(caps);
                }
                // Since Linux 5.19 this number is `HEADER_PMU_CAPS`, laid out alike.
                Feature::HYBRID_CPU_PMU_CAPS => {
                    let caps = features::pmu_caps(&section.data, self.order);
                    self.meta.pmu_caps.extend(caps);
                }
                _ => {}
            }
        }
        for attr in &mut self.attrs {
            if attr.event.name.is_empty() {
                attr.event.name = default_name(&attr.event);
            }
        }
        features::read(&self.sections, self.order, &mut self.meta, &mut self.damage);
        if let Some(attr) = self.attrs.first()
            && attr.use_clockid
        {
            self.meta.clock = features::clock_name(attr.clockid);
        }
        let (samples, inflated) = self.columns.finish();
        let mut recording = Recording {
            path: Default::default(),
            meta: self.meta,
            events: self.attrs.into_iter().map(|attr| attr.event).collect(),
            space: self.space.finish(),
            samples,
            left_out: self.short.1,
            gaps: self.gaps,
            damage: self.damage,
            aux: self.aux.finish(),
            bytes: Bytes {
                inflated,
                ..Bytes::default()
            },
        };
        recording.damage.sort_by_key(|damage| damage.offset);
        classify::classify(&mut recording);
        recording
    }
}

/// Notes that something happened at `offset`: where first, and how often.
fn count(seen: &mut (u64, u64), offset: u64) {
    if seen.1 == 0 {
        seen.0 = offset;
    }
    seen.1 += 1;
}

/// Where the id of every event's samples lies, if that is one place.
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
