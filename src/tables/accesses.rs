//! One row a sample with every column: `order` (a few rows) and `accesses` (all, in chunks).

use super::columns as c;
use super::frames::{column, file_line, inner, outer, side_by_side};
use super::kinds::{Kind, Kinds};
use super::rows::Rows;
use super::words::{evidence_name, operation_name, phase_name, stage_name};
use crate::attribute::{Attribution, Evidence, Map, NONE, Place, Reason};
use crate::data_src::{Blocked, Op, Snoop, Tlb};
use crate::gomap::Part;
use crate::pmu::Validity;
use crate::recording::Recording;
use polars::prelude::{DataFrame, PolarsResult};

/// Rows of one chunk of `accesses`: some 300 bytes each while the frame is made.
pub const CHUNK: usize = 1 << 18;

/// All samples with what is known of them: what `accesses` is made from, chunk by chunk.
#[derive(Debug)]
pub struct Accesses<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) kinds: Kinds<'a>,
}

impl<'a> Accesses<'a> {
    pub fn new(recording: &'a Recording, attribution: &'a Attribution) -> Accesses<'a> {
        Accesses {
            rows: Rows::new(recording, attribution),
            kinds: Kinds::of(recording),
        }
    }

    /// Samples of the recording.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn rows(&self) -> &Rows<'a> {
        &self.rows
    }

    pub fn attribution(&self) -> &'a Attribution {
        self.rows.attribution
    }

    /// Sample `n`; one past the end is a sample of which nothing is known. What is not asked of it is not read:
    /// inlined, a compiler leaves it out.
    #[inline(always)]
    pub fn get(&self, n: usize) -> Access<'_> {
        Access::of(&self.rows, &self.kinds, n)
    }

    /// The samples `numbers` as a frame with every column.
    pub fn frame(&self, numbers: impl Iterator<Item = usize>) -> PolarsResult<DataFrame> {
        frame(&self.rows, &self.kinds, numbers)
    }
}

/// A sample, everything that is known of it. `None` is what was not sampled, does not apply or is
/// not known.
#[derive(Debug)]
pub struct Access<'a> {
    pub n: usize,
    pub time: Option<u64>,
    pub thread: Option<(i32, i32)>,
    pub cpu: Option<u16>,
    pub event: &'a str,
    pub ip: Option<u64>,
    pub addr: Option<u64>,
    pub phys_addr: Option<u64>,
    pub period: Option<u64>,
    pub weight: Option<u64>,
    pub data_src: Option<u64>,
    /// `None` when the sample is no memory access.
    pub kind: Option<&'a Kind>,
    pub latency: Option<u32>,
    /// Index into `Attribution::places`.
    pub place_id: Option<u32>,
    pub place: Option<&'a Place>,
    pub part: Result<Part, Reason>,
    /// Index into `Attribution::maps`.
    pub map_id: Option<u32>,
    pub map: Option<&'a Map>,
    pub base: Option<u64>,
    pub array: Option<u32>,
    pub index: Option<u32>,
    pub slot: Option<i8>,
    pub off: Option<u32>,
    /// `None` where nothing is claimed.
    pub evidence: Option<&'static str>,
}

impl<'a> Access<'a> {
    #[inline(always)]
    fn of(rows: &Rows<'a>, kinds: &'a Kinds<'_>, i: usize) -> Access<'a> {
        let hit = rows.hit(i);
        let key = rows.key(i, &hit);
        let event = rows.event(i);
        let kind =
            (key.part != Err(Reason::NotAnAccess)).then(|| kinds.kind(event, rows.data_src_id(i)));
        Access {
            n: i,
            time: rows.time(i),
            thread: rows.thread(i),
            cpu: rows.cpu(i),
            event: rows.event_name(i),
            ip: rows.ip(i),
            addr: rows.addr(i),
            phys_addr: rows.phys_addr(i),
            period: rows.period(i),
            weight: rows.weight(i),
            data_src: rows.data_src(i),
            kind,
            latency: kind.and_then(|kind| kinds.latency(event, kind, rows.weight(i))),
            place_id: (key.place != NONE).then_some(key.place),
            place: rows.attribution.places.get(key.place as usize),
            part: key.part,
            map_id: (key.map != NONE).then_some(key.map),
            map: rows.attribution.maps.get(key.map as usize),
            base: hit.base(),
            array: hit.array(),
            index: hit.index(),
            slot: hit.slot(),
            off: hit.off(),
            evidence: (key.evidence != Evidence::None).then(|| evidence_name(key.evidence)),
        }
    }
}

impl Access<'_> {
    /// Whether the latency, or its absence, is an answer; `None` when the sample is no access.
    pub fn latency_state(&self) -> Option<Validity> {
        Some(match (self.kind?.states.latency, self.latency) {
            (Validity::Valid, None) => Validity::Unknown,
            (state, _) => state,
        })
    }
}

fn frame(
    rows: &Rows<'_>,
    kinds: &Kinds<'_>,
    numbers: impl Iterator<Item = usize>,
) -> PolarsResult<DataFrame> {
    let all: Vec<Access> = numbers.map(|i| Access::of(rows, kinds, i)).collect();
    macro_rules! of {
        ($column:expr, |$a:ident| $value:expr) => {
            &|| column($column, all.iter().map(|$a| $value).collect::<Vec<_>>())
        };
    }
    let columns = side_by_side(&[
        of!(c::N, |a| a.n as u32),
        of!(c::TIME, |a| a.time),
        of!(c::PID, |a| a.thread.map(|t| t.0)),
        of!(c::TID, |a| a.thread.map(|t| t.1)),
        of!(c::CPU, |a| a.cpu),
        of!(c::EVENT, |a| a.event),
        of!(c::IP, |a| a.ip),
        of!(c::ADDR, |a| a.addr),
        of!(c::PHYS_ADDR, |a| a.phys_addr),
        of!(c::PERIOD, |a| a.period),
        of!(c::WEIGHT, |a| a.weight),
        of!(c::DATA_SRC, |a| a.data_src),
        of!(c::OP, |a| a.kind.and_then(|k| k.op).map(Op::name)),
        of!(c::LEVEL, |a| a.kind.and_then(|k| k.level_name.as_deref())),
        of!(c::LEVEL_STATE, |a| a.kind.map(|k| k.states.level.name())),
        of!(c::SNOOP, |a| a.kind.and_then(|k| k.snoop).map(Snoop::name)),
        of!(c::SNOOP_STATE, |a| a.kind.map(|k| k.states.snoop.name())),
        of!(c::TLB, |a| a.kind.and_then(|k| k.tlb).map(Tlb::name)),
        of!(c::TLB_STATE, |a| a.kind.map(|k| k.states.tlb.name())),
        of!(c::BLOCKED, |a| a
            .kind
            .and_then(|k| k.blocked)
            .map(Blocked::name)),
        of!(c::BLOCKED_STATE, |a| a
            .kind
            .map(|k| k.states.blocked.name())),
        of!(c::LATENCY, |a| a.latency),
        of!(c::LATENCY_STATE, |a| a.latency_state().map(Validity::name)),
        of!(c::IMAGE, |a| a.place.map(|p| p.image.as_str())),
        of!(c::FUNCTION, |a| a.place.and_then(inner)),
        of!(c::OUTER, |a| a.place.and_then(outer)),
        of!(c::FILE, |a| a.place.and_then(|p| file_line(p).0)),
        of!(c::LINE, |a| a.place.and_then(|p| file_line(p).1)),
        of!(c::OPERATION, |a| a
            .place
            .and_then(|p| p.operation)
            .map(operation_name)),
        of!(c::PHASE, |a| a.place.and_then(|p| p.phase).map(phase_name)),
        of!(c::PART, |a| a.part.ok().map(Part::name)),
        of!(c::STAGE, |a| a.part.ok().map(|p| stage_name(p.stage()))),
        of!(c::MAP, |a| a.map_id),
        of!(c::MAP_NAME, |a| a.map.map(|m| m.name.as_str())),
        of!(c::MAP_TYPE, |a| map_type(a)),
        of!(c::HEADER, |a| a.map.and_then(|m| m.header)),
        of!(c::BASE, |a| a.base),
        of!(c::ARRAY, |a| a.array),
        of!(c::INDEX, |a| a.index),
        of!(c::SLOT, |a| a.slot),
        of!(c::OFF, |a| a.off),
        of!(c::EVIDENCE, |a| a.evidence),
        of!(c::REASON, |a| a.part.err().map(Reason::name)),
    ]);
    DataFrame::new(all.len(), columns)
}

/// Go's name of the map's type.
fn map_type<'a>(access: &Access<'a>) -> Option<&'a str> {
    access.map?.map_type.as_ref().map(|t| t.name.as_str())
}
