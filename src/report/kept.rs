//! The raw accesses in the page: what the script filters by any column and counts again.
//!
//! Dictionaries, then [`planes`]. 0 is null; every other value is one more than what it
//! stands for.

use super::ReportError;
use super::charts::shared_pairs;
use super::data::{CodeRow, Data, Frame, ListingRow, Measures, StepRow};
use super::html::{Markup, visible};
use super::planes;
use crate::analyses::background::Cause;
use crate::analyses::touch::Decoded;
use crate::attribute::{Operation, Phase};
use crate::tables::columns::{self as c, Column};
use crate::tables::{operation_name, phase_name};
use polars::prelude::DataFrame;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Bytes of the two cache lines that an adjacent-line prefetcher moves together.
pub const PAIR: u64 = 128;
/// Bins of the time axis.
const TIMES: u64 = 1 << 24;

#[derive(Debug)]
pub struct Kept {
    rows: usize,
    kinds: Vec<Kind>,
    codes: Vec<Code>,
    parts: Vec<String>,
    reasons: Vec<String>,
    evidence: Vec<String>,
    tids: Vec<i64>,
    time_unit_ns: u64,
    columns: Vec<(&'static str, Vec<u32>)>,
    /// Address of the structure that was touched; not in the page.
    bases: Vec<Option<u64>>,
}

/// A place in the code: its rows of `functions`, `lines`, `steps` and `listing`, and what its
/// instruction and its functions tell.
#[derive(Debug, Clone, Copy)]
struct Code {
    rows: [Option<usize>; 4],
    /// Bytes that it accesses.
    width: Option<u8>,
    cause: Cause,
}

/// One row: an access, or one of each few that stands for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw<'a> {
    pub samples: u64,
    pub loads: u64,
    pub stores: u64,
    pub hitm: Option<u64>,
    pub level: Option<&'a str>,
    pub map: Option<u64>,
    pub part: Option<&'a str>,
    pub cpu: Option<u64>,
    /// Bytes that the instruction accesses.
    pub width: Option<u8>,
    /// Address of what was touched: its structure's address and the offset in it.
    pub addr: Option<u64>,
}

/// What an access counts as; its latency apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    op: Option<String>,
    level: Option<String>,
    counts: [Option<u64>; 9],
}

impl Kept {
    pub fn read(
        frame: &DataFrame,
        time: Option<(u64, u64)>,
        functions: &[CodeRow],
        lines: &[CodeRow],
        steps: &[StepRow],
        listing: &[ListingRow],
    ) -> Result<Kept, ReportError> {
        let frame = Frame::new("kept", frame);
        let (start, end) = time.unwrap_or((0, 0));
        let time_unit_ns = end.saturating_sub(start) / TIMES + 1;
        let time = frame.u64s(c::TIME)?.into_iter();
        let time = time.map(|t| Some(t?.checked_sub(start)? / time_unit_ns));
        let mut tids = Dictionary::default();
        let tid = frame.i64s(c::TID)?.into_iter();
        let tid: Vec<u32> = tid.map(|tid| tids.id_or_null(tid)).collect();
        let mut parts = Dictionary::default();
        let part = frame.strings(c::PART)?.into_iter();
        let part: Vec<u32> = part.map(|part| parts.id_or_null(part)).collect();
        let (mut reasons, mut evidences) = (Dictionary::default(), Dictionary::default());
        let reason = frame.strings(c::REASON)?.into_iter();
        let reason: Vec<u32> = reason.map(|name| reasons.id_or_null(name)).collect();
        let evidence = frame.strings(c::EVIDENCE)?.into_iter();
        let evidence: Vec<u32> = evidence.map(|name| evidences.id_or_null(name)).collect();
        let (kinds, kind) = kinds(&frame)?;
        let (codes, code) = codes(&frame, functions, lines, steps, listing)?;
        let number = |column: Column| -> Result<Vec<u32>, ReportError> {
            Ok(frame.u64s(column)?.into_iter().map(one_more).collect())
        };
        Ok(Kept {
            rows: frame.rows(),
            kinds,
            codes,
            parts: parts.values,
            reasons: reasons.values,
            evidence: evidences.values,
            tids: tids.values,
            time_unit_ns,
            bases: frame.u64s(c::BASE)?,
            columns: vec![
                ("kind", kind),
                ("code", code),
                ("map", number(c::MAP)?),
                ("part", part),
                ("cpu", number(c::CPU)?),
                ("tid", tid),
                ("time", time.map(one_more).collect()),
                ("latency", number(c::LATENCY)?),
                ("array", number(c::ARRAY)?),
                ("index", number(c::INDEX)?),
                ("off", number(c::OFF)?),
                ("reason", reason),
                ("evidence", evidence),
            ],
        })
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether every access of the recording is here.
    pub fn whole(&self) -> bool {
        let stands_for = |kind: &Kind| kind.counts.first().copied().flatten();
        self.kinds.iter().all(|kind| stands_for(kind) == Some(1))
    }

    pub fn rows(&self) -> impl Iterator<Item = Raw<'_>> {
        let column = |name: &str| {
            let found = self.columns.iter().find(|(known, _)| *known == name);
            found.map_or(&[][..], |(_, values)| values)
        };
        let names = ["kind", "code", "map", "part", "cpu", "off"];
        let columns = names.map(column);
        (0..self.rows).filter_map(move |i| {
            let value = |column: &[u32]| column.get(i)?.checked_sub(1);
            let [kind, code, map, part, cpu, off] = columns.map(value);
            let kind = self.kinds.get(kind? as usize)?;
            let [samples, loads, stores, .., hitm, _] = kind.counts;
            let base = self.bases.get(i).copied().flatten();
            Some(Raw {
                samples: samples.unwrap_or(0),
                loads: loads.unwrap_or(0),
                stores: stores.unwrap_or(0),
                hitm,
                level: kind.level.as_deref(),
                map: map.map(u64::from),
                part: part.and_then(|id| Some(self.parts.get(id as usize)?.as_str())),
                cpu: cpu.map(u64::from),
                width: code.and_then(|id| self.codes.get(id as usize)?.width),
                addr: base
                    .zip(off)
                    .and_then(|(base, off)| base.checked_add(off.into())),
            })
        })
    }

    /// The rows as an element of the page.
    pub fn element(&self, data: &Data) -> Result<Markup, ReportError> {
        let addresses: Vec<Option<u64>> = self.rows().map(|row| row.addr).collect();
        let pairs = shared_pairs(data);
        let numbered = pairs.iter().zip(1u32..);
        let by_start: BTreeMap<u64, u32> = numbered.map(|(pair, n)| (*pair, n)).collect();
        let of = |addr: &Option<u64>| {
            let addr = (*addr)?;
            Some((*by_start.get(&(addr / PAIR))?, addr % PAIR))
        };
        let (mut pair, mut in_pair) = (Vec::new(), Vec::new());
        for (addr, base) in addresses.iter().zip(&self.bases) {
            let shared = of(addr);
            pair.push(shared.map_or(0, |(id, _)| id));
            // Of what lies in no shared line, where its structure begins.
            let at = shared.map(|(_, at)| at).or(base.map(|base| base % PAIR));
            in_pair.push(one_more(at));
        }
        let extra = [("pair", pair), ("in_pair", in_pair)];
        let columns: Vec<(&str, &[u32])> = self
            .columns
            .iter()
            .chain(&extra)
            .map(|(name, values)| (*name, values.as_slice()))
            .collect();
        let stage = |part: &String| {
            data.parts
                .iter()
                .find(|p| p.part == *part)
                .map(|p| &p.stage)
        };
        let parts: Vec<Value> = self
            .parts
            .iter()
            .map(|part| json!([visible(part), stage(part)]))
            .collect();
        let kinds: Vec<Value> = self
            .kinds
            .iter()
            .map(|k| {
                let visible = |text: &Option<String>| text.as_deref().map(visible);
                json!([visible(&k.op), visible(&k.level), k.counts])
            })
            .collect();
        let codes: Vec<Value> = self
            .codes
            .iter()
            .map(|code| {
                let [function, line, step, listing] = code.rows;
                json!([function, line, step, listing, code.width, code.cause.text()])
            })
            .collect();
        let visible_all =
            |texts: &[String]| texts.iter().map(|text| visible(text)).collect::<Vec<_>>();
        let header = json!({
            "rows": self.rows, "kinds": kinds, "codes": codes,
            "parts": parts, "tids": self.tids, "time_unit_ns": self.time_unit_ns,
            "reasons": visible_all(&self.reasons), "evidence": visible_all(&self.evidence),
            "pairs": pairs.iter().map(|n| format!("{:#x}", n.saturating_mul(PAIR))).collect::<Vec<_>>(),
        });
        planes::element("rows", header, &columns)
    }
}

fn one_more(value: Option<u64>) -> u32 {
    value.map_or(0, |n| {
        u32::try_from(n.saturating_add(1)).unwrap_or(u32::MAX)
    })
}

/// Distinct values in the order in which they were met.
#[derive(Debug)]
struct Dictionary<T> {
    ids: BTreeMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Dictionary<T> {
    fn default() -> Self {
        Dictionary {
            ids: BTreeMap::new(),
            values: Vec::new(),
        }
    }
}

impl<T: Ord + Clone> Dictionary<T> {
    fn id(&mut self, value: T) -> u32 {
        if let Some(&id) = self.ids.get(&value) {
            return id;
        }
        let id = self.values.len() as u32;
        self.ids.insert(value.clone(), id);
        self.values.push(value);
        id
    }

    fn id_or_null(&mut self, value: Option<T>) -> u32 {
        value.map_or(0, |value| self.id(value) + 1)
    }
}

fn kinds(frame: &Frame) -> Result<(Vec<Kind>, Vec<u32>), ReportError> {
    let (ops, levels) = (frame.strings(c::OP)?, frame.strings(c::LEVEL)?);
    let mut dictionary = Dictionary::default();
    let rows = frame
        .measures()?
        .into_iter()
        .zip(ops.into_iter().zip(levels));
    let ids = rows
        .map(|(m, (op, level))| {
            let Measures {
                samples,
                loads,
                stores,
                l1_hit,
                lfb,
                l1_miss,
                llc_miss,
                hitm,
                level_unknown,
                ..
            } = m;
            let counts = [
                Some(samples),
                Some(loads),
                Some(stores),
                l1_hit,
                lfb,
                l1_miss,
                llc_miss,
                hitm,
                Some(level_unknown),
            ];
            dictionary.id(Kind { op, level, counts }) + 1
        })
        .collect();
    Ok((dictionary.values, ids))
}

/// Places, and a row's place.
type Codes = (Vec<Code>, Vec<u32>);

/// The rows of `functions`, `lines`, `steps` and `listing` that a place in the code belongs to.
fn codes(
    frame: &Frame,
    functions: &[CodeRow],
    lines: &[CodeRow],
    steps: &[StepRow],
    listing: &[ListingRow],
) -> Result<Codes, ReportError> {
    let columns = [
        frame.strings(c::IMAGE)?,
        frame.strings(c::FUNCTION)?,
        frame.strings(c::OUTER)?,
        frame.strings(c::ON_BEHALF)?,
        frame.strings(c::FILE)?,
        frame.strings(c::OPERATION)?,
        frame.strings(c::PHASE)?,
        frame.strings(c::PART)?,
        frame.strings(c::INSTRUCTION)?,
    ];
    let (line, step) = (frame.u64s(c::LINE)?, frame.u64s(c::STEP)?);
    let offset = frame.u64s(c::CODE_OFF)?;
    let mut texts = Dictionary::default();
    let columns = columns.map(|column| {
        let ids = column.into_iter().map(|text| texts.id_or_null(text));
        ids.collect::<Vec<u32>>()
    });
    let mut places = Dictionary::default();
    let ids = (0..frame.rows())
        .map(|i| {
            let of = columns.each_ref().map(|c| c.get(i).copied().unwrap_or(0));
            let number = |values: &[Option<u64>]| values.get(i).copied().flatten();
            places.id((of, number(&line), number(&step), number(&offset))) + 1
        })
        .collect();
    let function_of = |row: &CodeRow| (row.image.clone(), row.function.clone(), row.outer.clone());
    let functions = index(functions.iter().map(function_of));
    let line_of = |row: &CodeRow| {
        let code = (row.image.clone(), row.function.clone(), row.file.clone());
        let operation = (row.operation.clone(), row.phase.clone(), row.part.clone());
        (code, row.line, operation)
    };
    let lines = index(lines.iter().map(line_of));
    let step_of = |row: &StepRow| {
        let code = (row.outer.clone(), row.function.clone(), row.line, row.step);
        let operation = (row.operation.clone(), row.phase.clone(), row.part.clone());
        (code, operation, row.instruction.clone())
    };
    let steps = index(steps.iter().map(step_of));
    let listed = |row: &ListingRow| (row.image.clone(), row.outer.clone(), row.offset);
    let listing = index(listing.iter().map(listed));
    let text =
        |id: u32| -> Option<String> { texts.values.get(id.checked_sub(1)? as usize).cloned() };
    let codes = places
        .values
        .iter()
        .map(|(ids, line, step, offset)| {
            let [
                image,
                function,
                outer,
                on_behalf,
                file,
                operation,
                phase,
                part,
                instruction,
            ] = ids.map(text);
            let at_line = (
                (image.clone(), function.clone(), file),
                *line,
                (operation.clone(), phase.clone(), part.clone()),
            );
            let at_offset = (image.clone(), outer.clone(), *offset);
            let running = on_behalf.or_else(|| outer.clone());
            let growth = operation.as_deref() == Some(operation_name(Operation::Grow))
                || phase.as_deref() == Some(phase_name(Phase::Evacuate));
            let names = [function.as_deref(), outer.as_deref()];
            let cause = Cause::of_functions(growth, names.into_iter().flatten());
            let decoded = instruction.as_deref().map(Decoded::of);
            let at_step = (
                (running, function.clone(), *line, *step),
                (operation, phase, part),
                instruction,
            );
            let rows = [
                functions.get(&(image, function, outer)).copied(),
                lines.get(&at_line).copied(),
                steps.get(&at_step).copied(),
                offset.and_then(|_| listing.get(&at_offset).copied()),
            ];
            Code {
                rows,
                width: decoded.and_then(|decoded| decoded.width),
                cause,
            }
        })
        .collect();
    Ok((codes, ids))
}

fn index<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    keys.enumerate().map(|(i, key)| (key, i)).collect()
}
