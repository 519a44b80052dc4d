//! The container: header, attrs, and the walk over the records of a file or a pipe.
//!
//! ```text
//! file  | header 104 | attrs | data: records ... | feature table | features |
//! pipe  | header 16 | HEADER_ATTR, HEADER_FEATURE and all other records ...
//! ```
//!
//! `tools/perf/Documentation/perf.data-file-format.txt`.

use super::attr::{Attr, default_name};
use super::aux::{Aux, Bytes};
use super::classify;
use super::columns::Columns;
use super::cursor::ByteOrder;
use super::decode::{Events, Lane, Seen};
use super::deferred::Deferred;
use super::features::{self, Section};
use super::held::Piece;
use super::inflate::Inflate;
use super::nodes;
use super::records;
use super::space::SpaceBuilder;
use super::{Damage, Gap, Meta, Recording, RecordingError};
use linux_perf_data::Feature;

pub const HEADER: u64 = 104;
/// The header of 2009, without feature bits.
const HEADER_WITHOUT_FEATURES: u64 = 72;
const PIPE_HEADER: u64 = 16;
/// Places told one by one; a file broken throughout is not worth more.
const MAX_DAMAGE: usize = 200;

/// Frames of call chains, beside one for each word of the file, that deferred ones may come to.
const DEFERRED: u64 = 1 << 20;

/// What is known of a recording while it is read.
pub struct Reader {
    pub order: ByteOrder,
    pub meta: Meta,
    pub events: Events,
    pub columns: Columns,
    pub lanes: Vec<Lane>,
    pub space: SpaceBuilder,
    pub gaps: Vec<Gap>,
    /// Those of them that count what others told.
    pub sums_of_lost: Vec<usize>,
    pub aux: Aux,
    pub deferred: Deferred,
    pub damage: Vec<Damage>,
    pub sections: Vec<Section>,
    pub inflate: Inflate,
    pub stopped: bool,
    /// Name and first byte of each file.
    files: Vec<(String, u64)>,
    /// The one that is read.
    file: usize,
}

/// Reads a recording from the bytes of its files: the first has the header, the others hold records.
pub fn read(files: &[Piece]) -> Result<Recording, RecordingError> {
    let data = files.first().map_or(&[][..], |file| file.bytes);
    let mut reader = open(data, files)?;
    reader.end_file(data.len() as u64);
    for file in files.iter().skip(1) {
        reader.meta.directory = true;
        reader.file += 1;
        reader.walk(file.bytes, file.base, None);
        reader.end_file(file.base + file.bytes.len() as u64);
    }
    Ok(reader.finish())
}

/// Reads the first file.
fn open(data: &[u8], files: &[Piece]) -> Result<Reader, RecordingError> {
    let order = match data.get(..8) {
        Some(b"PERFILE2") => ByteOrder::Little,
        Some(b"2ELIFREP") => ByteOrder::Big,
        // Of 2009, in the byte order that makes its size one: `tools/perf/util/header.c`, `check_magic_endian`.
        Some(b"PERFFILE") => match ByteOrder::Big.u64_at(data, 8) {
            Some(HEADER | HEADER_WITHOUT_FEATURES) => ByteOrder::Big,
            _ => ByteOrder::Little,
        },
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
    let mut reader = Reader::new(order, files);
    match size {
        PIPE_HEADER => {
            reader.meta.pipe = true;
            reader.walk(data.get(16..).unwrap_or(&[]), PIPE_HEADER, None);
        }
        HEADER | HEADER_WITHOUT_FEATURES => {
            reader.file(data, size).ok_or(cut(size))?;
        }
        size => return Err(RecordingError::HeaderSize { size }),
    }
    Ok(reader)
}

impl Reader {
    fn new(order: ByteOrder, files: &[Piece]) -> Reader {
        let file_size = files.iter().map(|file| file.bytes.len() as u64).sum();
        let named = files.iter().map(|file| (file.name.to_owned(), file.base));
        Reader {
            order,
            meta: Meta {
                big_endian: order == ByteOrder::Big,
                file_size,
                ..Meta::default()
            },
            events: Events::new(order),
            columns: Columns::default(),
            lanes: Vec::new(),
            space: SpaceBuilder::default(),
            gaps: Vec::new(),
            sums_of_lost: Vec::new(),
            aux: Aux::default(),
            deferred: Deferred::default(),
            damage: Vec::new(),
            sections: Vec::new(),
            inflate: Inflate::default(),
            stopped: false,
            files: named.collect(),
            file: 0,
        }
    }

    pub(super) fn tell(&mut self, offset: u64, rule: impl Into<String>) {
        self.tell_of(self.file, offset, rule.into());
    }

    fn tell_of(&mut self, file: usize, offset: u64, rule: String) {
        if self.damage.len() >= MAX_DAMAGE {
            return;
        }
        self.damage.push(match self.files.get(file) {
            Some((name, base)) if !name.is_empty() => Damage {
                offset: offset.saturating_sub(*base),
                rule: format!("in {name}: {rule}"),
            },
            _ => Damage { offset, rule },
        });
    }

    pub(super) fn add_attr(&mut self, attr: Attr) {
        let sample_type = attr.event.sample_type;
        if self.events.add(attr) {
            self.columns.add_sample_type(sample_type);
        }
    }

    /// A file ends at byte `end`: the next one begins with a record, in a stream of its own.
    fn end_file(&mut self, end: u64) {
        if self.inflate.unread() != 0 {
            let rule = format!(
                "the compressed records end inside a record, {} bytes into it",
                self.inflate.unread()
            );
            self.tell(end, rule);
        }
        self.inflate = Inflate::default();
        self.stopped = false;
    }

    fn file_of(&self, offset: u64) -> usize {
        let before = self.files.partition_point(|(_, base)| *base <= offset);
        before.saturating_sub(1)
    }

    fn finish(mut self) -> Recording {
        let (short, strangers) = Lane::told(&self.lanes);
        let Seen { offset, number } = short;
        if number != 0 {
            self.tell_of(
                self.file_of(offset),
                offset,
                format!("{number} samples, from this one on, are too short for what their event samples; they are left out"),
            );
        }
        let Seen { offset, number } = strangers;
        if number != 0 {
            self.tell_of(
                self.file_of(offset),
                offset,
                format!("{number} samples, from this one on, have the id of no event; they are counted to the first"),
            );
        }
        if self.events.attrs.len() > 1
            && self.events.id_offset().is_none()
            && self.columns.len() > 0
        {
            self.tell(
                0,
                "the events of the file do not sample an id at one place: all samples are counted to the first",
            );
        }
        for section in &self.sections {
            match Feature(section.feature) {
                Feature::EVENT_DESC => {
                    let names = features::event_names(&section.data, self.order);
                    features::name_events(&mut self.events.attrs, &names);
                }
                Feature::BUILD_ID => {
                    features::build_ids(&section.data, self.order, &mut self.space);
                }
                Feature::PMU_MAPPINGS => {
                    self.meta.pmus = features::pmus(&section.data, self.order);
                }
                Feature::NUMA_TOPOLOGY => {
                    self.meta.nodes = nodes::nodes(&section.data, self.order);
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
        for attr in &mut self.events.attrs {
            if attr.event.name.is_empty() {
                attr.event.name = default_name(attr);
            }
        }
        features::read(&self.sections, self.order, &mut self.meta, &mut self.damage);
        if let Some(attr) = self.events.attrs.first()
            && attr.use_clockid
        {
            self.meta.clock = features::clock_name(attr.clockid);
        }
        records::settle_lost(&mut self.gaps, &self.sums_of_lost);
        let (mut samples, inflated) = self.columns.finish();
        let most = DEFERRED + self.meta.file_size / 8;
        self.deferred.complete(&mut samples, most as usize);
        let mut recording = Recording {
            path: Default::default(),
            meta: self.meta,
            events: self
                .events
                .attrs
                .into_iter()
                .map(|attr| attr.event)
                .collect(),
            space: self.space.finish(),
            samples,
            left_out: short.number,
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
