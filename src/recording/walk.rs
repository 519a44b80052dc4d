//! The walk over the records of a file, a pipe, or what was inflated.

use super::Gap;
use super::attr::Attr;
use super::aux::{AuxChunk, AuxInfo, TimeConv};
use super::cursor::{Cursor, text};
use super::decode::{Header, Origin, Stretch};
use super::features::{self, Section};
use super::reader::Reader;
use super::records::{self, Record, Stamp};
use super::space::push;
use linux_perf_data::Feature;
use perf_event_open_sys::bindings as sys;

/// Records that perf itself writes, `tools/lib/perf/include/perf/event.h`, `enum perf_user_event_type`.
pub mod user {
    pub const FIRST: u32 = 64;
    pub const HEADER_ATTR: u32 = 64;
    pub const HEADER_TRACING_DATA: u32 = 66;
    pub const HEADER_BUILD_ID: u32 = 67;
    pub const FINISHED_ROUND: u32 = 68;
    pub const AUXTRACE_INFO: u32 = 70;
    pub const AUXTRACE: u32 = 71;
    pub const EVENT_UPDATE: u32 = 78;
    pub const TIME_CONV: u32 = 79;
    pub const HEADER_FEATURE: u32 = 80;
    pub const COMPRESSED: u32 = 81;
    pub const COMPRESSED2: u32 = 83;
}

/// What compressed records may take: so many times the file as it was before it was compressed, and so
/// many bytes. The rest of 4 times the file and 64 MB is for sorting, and for what is inflated and not
/// read yet.
const HELD: (u64, u64) = (3, 40 << 20);
/// perf's own records shrink to a tenth or so; a header that tells more is not believed.
const MOST_SHRUNK: u32 = 32;

pub const RECORD_HEADER: usize = 8;
/// `HEADER_FEAT_BITS`, `tools/perf/util/header.h`.
const MAX_FEATURES: u32 = 256;
/// Size of `struct perf_record_auxtrace`. Google's old pipe files use its number for something else.
const AUXTRACE_RECORD: usize = 48;

impl Reader {
    /// Walks over records from byte `base` of the file on; `inflated` says where the compressed record
    /// lies that they came out of. Returns the bytes it took.
    pub(super) fn walk(&mut self, data: &[u8], base: u64, inflated: Option<u64>) -> usize {
        let origin = Origin { base, inflated };
        let scan = |reader: &Reader, at| {
            let rows = reader.columns.len();
            Stretch::scan(data, at, rows, reader.width(), reader.order)
        };
        let mut stretch = scan(self, 0);
        while !self.stopped && stretch.end <= data.len() {
            let next = self.decode(data, origin, &mut stretch);
            for &at in &stretch.others {
                self.take(data, at, origin);
            }
            let at = stretch.end;
            if at == data.len() {
                return at;
            }
            if !stretch.stopped {
                stretch = next;
                continue;
            }
            let Some(after) = self.take(data, at, origin) else {
                return at;
            };
            stretch = scan(self, after);
        }
        stretch.end
    }

    /// Takes the record at byte `at`, which is no sample; returns where the next one begins, `None`
    /// where none does.
    fn take(&mut self, data: &[u8], at: usize, origin: Origin) -> Option<usize> {
        let offset = origin.offset(at);
        let left = data.len() - at;
        // What comes out of compressed records ends anywhere.
        let whole = origin.inflated.is_none();
        let header = Header::at(data, at, self.order);
        let size = self.order.u16_at(data, at + 6).map(usize::from);
        let (kind, size) = (self.order.u32_at(data, at).unwrap_or(0), size);
        let Some(size) = size else {
            if whole {
                let rule = format!("{left} bytes are left after the last record");
                self.tell(offset, rule);
            }
            return None;
        };
        if size < RECORD_HEADER {
            self.tell(
                offset,
                format!("a record (type {kind}) says it is {size} bytes long, less than its own header; nothing after it can be read"),
            );
            self.stopped = true;
            return None;
        }
        let Some((Header { misc, .. }, body)) = header else {
            if whole {
                let rule = format!("a record (type {kind}) of {size} bytes is cut after {left}");
                self.tell(offset, rule);
            }
            return None;
        };
        let record = Record { kind, misc, body };
        let skip = self.other(record, offset, left - size, !whole);
        Some((at + size).saturating_add(skip).min(data.len()))
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
            | sys::PERF_RECORD_EXIT
            | sys::PERF_RECORD_NAMESPACES
            | sys::PERF_RECORD_LOST
            | sys::PERF_RECORD_LOST_SAMPLES
            | sys::PERF_RECORD_THROTTLE
            | sys::PERF_RECORD_UNTHROTTLE
            | sys::PERF_RECORD_AUX
            | sys::PERF_RECORD_ITRACE_START
            | sys::PERF_RECORD_SWITCH
            | sys::PERF_RECORD_SWITCH_CPU_WIDE => self.kernel_record(record, offset),
            sys::PERF_RECORD_CALLCHAIN_DEFERRED => match self.deferred.take(body, order) {
                Some(()) => {}
                None => self.tell(offset, "a deferred call chain is too short; it is left out"),
            },
            user::HEADER_ATTR if self.meta.pipe => match Attr::with_ids(body, order) {
                Some(attr) => self.add_attr(attr),
                None => self.tell(offset, "an attr record is too short; its event is left out"),
            },
            user::HEADER_FEATURE => {
                let feature = order.u64_at(body, 0).and_then(|id| u32::try_from(id).ok());
                let told = |feature: u32| self.sections.iter().any(|s| s.feature == feature);
                if let (Some(feature @ 0..MAX_FEATURES), Some(data)) = (feature, body.get(8..))
                    && !told(feature)
                {
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
            // The size of what follows; perf 6 pads it to a word.
            user::HEADER_TRACING_DATA if self.meta.pipe && matches!(body.len(), 4 | 8) => {
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
                    push(&mut self.aux.chunks, chunk);
                    return usize::try_from(chunk.size).unwrap_or(usize::MAX);
                }
            }
            user::AUXTRACE_INFO => {
                if let Some(info) = AuxInfo::parse(body, order) {
                    push(&mut self.aux.infos, info);
                }
            }
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
            Some(id) if !self.events.same_trailer => self.events.ids.get(&id).copied().unwrap_or(0),
            _ => 0,
        };
        let attr = self.events.attrs.get(usize::from(event)).unwrap_or(&none);
        let stamp = Stamp::parse(record.body, attr, self.order);
        let sum = records::is_sum_of_lost(record, stamp, attr);
        for gap in records::gaps(record, stamp, self.order) {
            if sum {
                push(&mut self.sums_of_lost, self.gaps.len());
            }
            push(&mut self.gaps, gap);
        }
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
            && let Some(&event) = self.events.ids.get(&id)
            && let Some(attr) = self.events.attrs.get_mut(usize::from(event))
        {
            attr.event.name = text(at.rest());
        }
    }

    /// Bytes that what was read so far takes, in round numbers.
    fn held(&self) -> usize {
        let sums = size_of::<usize>() * self.sums_of_lost.capacity();
        let gaps = size_of::<Gap>() * self.gaps.capacity() + sums;
        self.columns.held() + self.space.held() + self.aux.held() + self.deferred.held() + gaps
    }

    /// How many times the records shrank, as `HEADER_COMPRESSED` tells: version, type, level, ratio. A
    /// recording that was not ended has none.
    fn shrunk(&self) -> u32 {
        let mut sections = self.sections.iter();
        let told = sections.find(|section| section.feature == Feature::COMPRESSED.0);
        let ratio = told.and_then(|section| self.order.u32_at(&section.data, 12));
        ratio.unwrap_or(1).clamp(1, MOST_SHRUNK)
    }

    fn inflate(&mut self, payload: &[u8], offset: u64) {
        self.meta.compressed = true;
        let mut inflate = std::mem::take(&mut self.inflate);
        let plain = (self.meta.file_size).saturating_mul(u64::from(self.shrunk()));
        let most = plain.saturating_mul(HELD.0).saturating_add(HELD.1);
        let result = inflate.feed(payload, |records| {
            let took = self.walk(records, 0, Some(offset));
            if !self.stopped && self.held() as u64 > most {
                self.tell(
                    offset,
                    "the compressed records take more memory than 4 times the recording and 64 MB; nothing after this one is read",
                );
                self.stopped = true;
            }
            (!self.stopped).then_some(took)
        });
        self.inflate = inflate;
        if let Err(rule) = result {
            self.tell(offset, rule);
            self.stopped = true;
        }
    }
}
