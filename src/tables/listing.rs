//! The code of the hottest functions, instruction by instruction: those that samples hit, and some
//! around them.

use super::Tables;
use super::aggregate::Totals;
use super::columns as c;
use super::frames::{column, frame, outer, sums};
use super::read::{numbers, texts};
use crate::attribute::flow::Instruction;
use crate::attribute::{Attribution, Place};
use crate::program::{Frame, Function, Program};
use polars::prelude::{DataFrame, IdxCa, NewChunkedArray, PolarsResult};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Functions that are listed, those with the most latency (else samples) first.
const FUNCTIONS: usize = 24;
/// Instructions on either side of one that samples hit.
const AROUND: usize = 20;
/// Bytes of a function that are decoded.
const BYTES: u64 = 1 << 20;

pub fn offset(place: &Place) -> Option<u32> {
    u32::try_from(place.offset?).ok()
}

/// One row an instruction that samples hit. What only the binary knows of it, [`list`] adds.
pub fn hit(totals: &Totals, attribution: &Attribution) -> PolarsResult<DataFrame> {
    let sums = sums(totals, |k| {
        let place = attribution.places.get(k.place as usize)?;
        Some((place.image.as_str(), outer(place)?, offset(place)?))
    });
    let none = || vec![None::<&str>; sums.len()];
    frame(
        vec![
            column(c::IMAGE, sums.keys().map(|k| k.0).collect::<Vec<_>>()),
            column(c::OUTER, sums.keys().map(|k| k.1).collect::<Vec<_>>()),
            column(c::CODE_OFF, sums.keys().map(|k| k.2).collect::<Vec<_>>()),
            column(c::CUT, vec![None::<bool>; sums.len()]),
            column(c::INSTRUCTION, none()),
            column(c::TARGET, none()),
            column(c::FUNCTION, none()),
            column(c::FILE, none()),
            column(c::LINE, vec![None::<u32>; sums.len()]),
        ],
        &sums.values().collect::<Vec<_>>(),
    )
}

/// One function of the listing and the rows of its instructions that samples hit, by offset.
#[derive(Default)]
struct Listed {
    cost: (u64, u64),
    rows: BTreeMap<u64, u32>,
}

/// One line of the listing.
struct Line<'a> {
    image: &'a str,
    outer: &'a str,
    offset: u32,
    cut: bool,
    instruction: String,
    target: Option<String>,
    frame: Option<Frame>,
    /// The row that samples hit.
    row: Option<u32>,
}

/// Leaves the hottest functions in the frame `listing` and adds the instructions around those that
/// samples hit. `programs`: by image, as recorded.
pub fn list(tables: &mut Tables, programs: &BTreeMap<&str, &Program>) -> PolarsResult<()> {
    let hit = &tables.listing;
    let (images, outer) = (texts(hit, c::IMAGE)?, texts(hit, c::OUTER)?);
    let offsets = numbers(hit, c::CODE_OFF)?;
    let (latency, samples) = (numbers(hit, c::LATENCY_SUM)?, numbers(hit, c::SAMPLES)?);
    let mut functions = BTreeMap::<(&str, &str), Listed>::new();
    let keys = images.iter().zip(&outer).zip(&offsets);
    let costs = latency.iter().zip(&samples);
    for (row, ((key, offset), (latency, samples))) in (0..).zip(keys.zip(costs)) {
        let ((Some(image), Some(outer)), Some(offset)) = (key, offset) else {
            continue;
        };
        let listed = functions.entry((*image, *outer)).or_default();
        listed.cost.0 = listed.cost.0.saturating_add(latency.unwrap_or(0));
        listed.cost.1 = listed.cost.1.saturating_add(samples.unwrap_or(0));
        listed.rows.insert(*offset, row);
    }
    let mut hottest: Vec<_> = functions.into_iter().collect();
    hottest.sort_by_key(|(_, listed)| Reverse(listed.cost));
    hottest.truncate(FUNCTIONS);
    let lines: Vec<Line> = hottest
        .par_iter()
        .filter_map(|((image, outer), listed)| {
            let program = programs.get(image)?;
            let mut named = program.functions().iter();
            let function = named.find(|function| function.name == *outer)?;
            Some(lines(program, function, (*image, *outer), &listed.rows))
        })
        .flatten_iter()
        .collect();
    let rows = IdxCa::from_iter_options("".into(), lines.iter().map(|line| line.row));
    let mut listing = hit.take(&rows)?;
    let of = |frame: fn(&Frame) -> Option<&str>| -> Vec<Option<&str>> {
        let frames = lines.iter().map(|line| line.frame.as_ref());
        frames.map(|it| it.and_then(frame)).collect()
    };
    let line = |line: &Line| line.frame.as_ref()?.line;
    for column in [
        column(c::IMAGE, lines.iter().map(|l| l.image).collect::<Vec<_>>()),
        column(c::OUTER, lines.iter().map(|l| l.outer).collect::<Vec<_>>()),
        column(
            c::CODE_OFF,
            lines.iter().map(|l| l.offset).collect::<Vec<_>>(),
        ),
        column(
            c::CUT,
            lines.iter().map(|l| Some(l.cut)).collect::<Vec<_>>(),
        ),
        column(
            c::INSTRUCTION,
            lines
                .iter()
                .map(|l| Some(l.instruction.as_str()))
                .collect::<Vec<_>>(),
        ),
        column(
            c::TARGET,
            lines
                .iter()
                .map(|l| l.target.as_deref())
                .collect::<Vec<_>>(),
        ),
        column(c::FUNCTION, of(|frame| Some(&frame.function))),
        column(c::FILE, of(|frame| frame.file.as_deref())),
        column(c::LINE, lines.iter().map(line).collect::<Vec<_>>()),
    ] {
        listing.with_column(column)?;
    }
    tables.listing = listing;
    Ok(())
}

/// The instructions of a function that samples hit, and those around them.
fn lines<'a>(
    program: &Program,
    function: &Function,
    (image, outer): (&'a str, &'a str),
    rows: &BTreeMap<u64, u32>,
) -> Vec<Line<'a>> {
    let len = function.end.saturating_sub(function.start).min(BYTES);
    let bytes = program.bytes(function.start, len as usize).unwrap_or(&[]);
    let code = Instruction::decode(program.arch, bytes, function.start);
    let offset = |instruction: &Instruction| instruction.ip().wrapping_sub(function.start);
    let mut near = vec![false; code.len()];
    for (at, instruction) in code.iter().enumerate() {
        if rows.contains_key(&offset(instruction)) {
            let end = code.len().min(at + AROUND + 1);
            near[at.saturating_sub(AROUND)..end].fill(true);
        }
    }
    let mut before = true;
    let mut lines = Vec::new();
    for (instruction, near) in code.iter().zip(near) {
        if near {
            let (text, target) = text(program, function, instruction);
            lines.push(Line {
                image,
                outer,
                offset: offset(instruction) as u32,
                cut: !before,
                instruction: text,
                target,
                frame: program.frames_at(instruction.ip()).into_iter().next(),
                row: rows.get(&offset(instruction)).copied(),
            });
        }
        before = near;
    }
    lines
}

/// An instruction as text, and the other function that it goes to. Inside of its own it goes to an offset.
fn text(
    program: &Program,
    function: &Function,
    instruction: &Instruction,
) -> (String, Option<String>) {
    let text = instruction.text();
    let Some(target) = instruction.target() else {
        return (text, None);
    };
    // Where it goes stands last; arm64 names what it tests before.
    let (before, comma) = match text.rsplit_once(", ") {
        Some((before, _)) => (before, ","),
        None => (text.split(' ').next().unwrap_or_default(), ""),
    };
    if (function.start..function.end).contains(&target) {
        let offset = target - function.start;
        return (format!("{before}{comma} +{offset:#x}"), None);
    }
    let name = program.function_at(target).map(|f| match target - f.start {
        0 => f.name.clone(),
        off => format!("{}+{off:#x}", f.name),
    });
    match name {
        Some(name) => (before.to_owned(), Some(name)),
        None => (text, None),
    }
}
