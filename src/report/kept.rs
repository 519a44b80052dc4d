//! The raw accesses in the page: what the script filters by any column and counts again.
//!
//! Dictionaries, then [`planes`]. 0 is null; every other value is one more than what it
//! stands for.

use super::ReportError;
use super::data::{CodeRow, Data, Frame, ListingRow, StepRow};
use super::html::{Markup, visible};
use super::planes;
use crate::analyses::background::Cause;
use crate::analyses::touch::Decoded;
use crate::attribute::{Operation, Phase};
use crate::tables::columns::{self as c, Column};
use crate::tables::{operation_name, phase_name};
use polars::prelude::DataFrame;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hash::Hash;

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
        let (tids, tid) = distinct(frame.i64s(c::TID)?);
        let number = |column: Column| -> Result<Vec<u32>, ReportError> {
            Ok(frame.u64s(column)?.into_iter().map(one_more).collect())
        };
        let numbers = [c::MAP, c::CPU, c::LATENCY, c::ARRAY, c::INDEX, c::OFF];
        let others = || {
            let names = [c::PART, c::REASON, c::EVIDENCE].map(|column| named(&frame, column));
            (names, numbers.map(number))
        };
        // What takes longest comes first.
        let (codes, (kinds, (names, numbers))) = rayon::join(
            || codes(&frame, functions, lines, steps, listing),
            || rayon::join(|| kinds(&frame), others),
        );
        let [parts, reasons, evidence] = names;
        let (parts, part) = parts?;
        let (reasons, reason) = reasons?;
        let (evidence, of_evidence) = evidence?;
        let ((kinds, kind), (codes, code)) = (kinds?, codes?);
        let [map, cpu, latency, array, index, off] = numbers;
        Ok(Kept {
            rows: frame.rows(),
            kinds,
            codes,
            parts,
            reasons,
            evidence,
            tids,
            time_unit_ns,
            bases: frame.u64s(c::BASE)?,
            columns: vec![
                ("kind", kind),
                ("code", code),
                ("map", map?),
                ("part", part),
                ("cpu", cpu?),
                ("tid", tid),
                ("time", time.map(one_more).collect()),
                ("latency", latency?),
                ("array", array?),
                ("index", index?),
                ("off", off?),
                ("reason", reason),
                ("evidence", of_evidence),
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
        (0..self.rows).filter_map(self.by_number())
    }

    /// The row of a number.
    pub fn by_number<'a>(&'a self) -> impl Fn(usize) -> Option<Raw<'a>> {
        let column = |name: &str| {
            let found = self.columns.iter().find(|(known, _)| *known == name);
            found.map_or(&[][..], |(_, values)| values)
        };
        let names = ["kind", "code", "map", "part", "cpu", "off"];
        let columns = names.map(column);
        move |i| {
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
        }
    }

    /// The rows as an element of the page.
    pub fn element(&self, data: &Data) -> Result<Markup, ReportError> {
        let addresses: Vec<Option<u64>> = self.rows().map(|row| row.addr).collect();
        let pairs = data.shared.in_page();
        let numbered = pairs.iter().zip(1u32..);
        let by_start: FxHashMap<u64, u32> = numbered.map(|(pair, n)| (*pair, n)).collect();
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
    ids: FxHashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Dictionary<T> {
    fn default() -> Self {
        Dictionary {
            ids: FxHashMap::default(),
            values: Vec::new(),
        }
    }
}

impl<T: Copy + Eq + Hash> Dictionary<T> {
    fn id(&mut self, value: T) -> u32 {
        *self.ids.entry(value).or_insert_with(|| {
            self.values.push(value);
            self.values.len() as u32 - 1
        })
    }

    fn id_or_null(&mut self, value: Option<T>) -> u32 {
        value.map_or(0, |value| self.id(value) + 1)
    }
}

/// The distinct values, and each value's.
fn distinct<T: Copy + Eq + Hash>(
    values: impl IntoIterator<Item = Option<T>>,
) -> (Vec<T>, Vec<u32>) {
    let mut dictionary = Dictionary::default();
    let ids = values.into_iter().map(|value| dictionary.id_or_null(value));
    let ids = ids.collect();
    (dictionary.values, ids)
}

/// The same of a column of texts.
fn named(frame: &Frame, column: Column) -> Result<(Vec<String>, Vec<u32>), ReportError> {
    let texts = frame.texts(column)?;
    let (texts, ids) = distinct(texts.iter());
    Ok((texts.into_iter().map(str::to_owned).collect(), ids))
}

fn kinds(frame: &Frame) -> Result<(Vec<Kind>, Vec<u32>), ReportError> {
    const COUNTS: [Column; 9] = [
        c::SAMPLES,
        c::LOADS,
        c::STORES,
        c::L1_HIT,
        c::LFB,
        c::L1_MISS,
        c::LLC_MISS,
        c::HITM,
        c::LEVEL_UNKNOWN,
    ];
    let (ops, levels) = (frame.texts(c::OP)?, frame.texts(c::LEVEL)?);
    let mut counts = vec![[None; COUNTS.len()]; frame.rows()];
    for (i, column) in COUNTS.into_iter().enumerate() {
        // As [`Frame::measures`] has them.
        let always = [c::SAMPLES, c::LOADS, c::STORES, c::LEVEL_UNKNOWN].contains(&column);
        for (counts, value) in counts.iter_mut().zip(frame.counts(column)?) {
            counts[i] = value.or(always.then_some(0));
        }
    }
    let rows = counts.into_iter().zip(ops.iter().zip(levels.iter()));
    let (kinds, ids) = distinct(rows.map(Some));
    let kinds = kinds.into_iter().map(|(counts, (op, level))| Kind {
        op: op.map(str::to_owned),
        level: level.map(str::to_owned),
        counts,
    });
    Ok((kinds.collect(), ids))
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
    const TEXTS: [Column; 9] = [
        c::IMAGE,
        c::FUNCTION,
        c::OUTER,
        c::ON_BEHALF,
        c::FILE,
        c::OPERATION,
        c::PHASE,
        c::PART,
        c::INSTRUCTION,
    ];
    const NUMBERS: [Column; 3] = [c::LINE, c::STEP, c::CODE_OFF];
    let texts = TEXTS.into_par_iter().map(|column| named(frame, column));
    let texts: Vec<(Vec<String>, Vec<u32>)> = texts.collect::<Result<_, _>>()?;
    let numbers = NUMBERS.map(|column| frame.u64s(column));
    let [line, step, offset] = numbers;
    let (line, step, offset) = (line?, step?, offset?);
    let mut places = Dictionary::default();
    let ids = (0..frame.rows())
        .map(|i| {
            let mut of = [0; TEXTS.len()];
            for (id, (_, ids)) in of.iter_mut().zip(&texts) {
                *id = ids.get(i).copied().unwrap_or(0);
            }
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
    let text = |column: usize, id: u32| -> Option<String> {
        let (texts, _) = texts.get(column)?;
        texts.get(id.checked_sub(1)? as usize).cloned()
    };
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
            ] = std::array::from_fn(|column| text(column, ids[column]));
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
