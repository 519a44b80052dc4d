//! CSV (RFC 4180), one row a sample; an empty field is not known or does not apply.

use super::Format;
use crate::attribute::{Map, Reason};
use crate::data_src::Op;
use crate::gomap::{Part, Stage};
use crate::pmu::Validity;
use crate::tables::columns::{self as c, Column};
use crate::tables::{Access, Accesses, file_line, inner, operation_name, phase_name};
use rayon::prelude::*;
use std::io::{self, Write};

pub const FORMAT: Format = Format { name: "csv", write };

/// Rows that one thread formats at a time.
const BLOCK: usize = 1 << 15;
/// Blocks formatted before they are written: bounds the memory.
const BLOCKS: usize = 16;

/// The columns, in order. Those that a place or a map decides are at the end, so that they are
/// escaped once for each place and map.
const HEADER: &[Column] = &[
    c::N,
    c::PART,
    c::BASE,
    c::SLOT,
    c::MAP,
    c::EVIDENCE,
    c::TIME,
    c::TID,
    c::CPU,
    c::EVENT,
    c::IP,
    c::ADDR,
    c::OP,
    c::LEVEL,
    c::LEVEL_STATE,
    c::LATENCY,
    c::LATENCY_STATE,
    c::INDEX,
    c::OFF,
    c::REASON,
    c::FUNCTION,
    c::LINE,
    c::OPERATION,
    c::PHASE,
    c::MAP_NAME,
    c::MAP_TYPE,
    c::HEADER,
];

fn header() -> String {
    let names: Vec<&str> = HEADER.iter().map(|column| column.name).collect();
    names.join(",")
}

/// The header and the row of sample `n`, without their line ends.
pub fn one_row(accesses: &Accesses, n: usize) -> [String; 2] {
    let row = block(accesses, &Ends::of(accesses), n, n.saturating_add(1));
    let row = String::from_utf8_lossy(&row);
    [header(), row.trim_end_matches('\n').to_owned()]
}

fn write(accesses: &Accesses, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", header())?;
    let ends = Ends::of(accesses);
    let mut starts: Vec<usize> = (0..accesses.len()).step_by(BLOCK).collect();
    starts.reverse();
    while !starts.is_empty() {
        let some = starts.split_off(starts.len().saturating_sub(BLOCKS));
        let blocks: Vec<Vec<u8>> = some
            .into_par_iter()
            .rev()
            .map(|start| block(accesses, &ends, start, start.saturating_add(BLOCK)))
            .collect();
        blocks.iter().try_for_each(|block| out.write_all(block))?;
    }
    Ok(())
}

/// The rows of the samples from `start` to before `end`.
fn block(accesses: &Accesses, ends: &Ends, start: usize, end: usize) -> Vec<u8> {
    let end = accesses.len().min(end);
    let mut row = Row(Vec::with_capacity(256 * end.saturating_sub(start)));
    for n in start..end {
        let access = accesses.get(n);
        row.sample(&access, access.map_id.filter(|&id| ends.told_apart(id)));
        row.0.extend_from_slice(ends.place(access.place_id));
        row.0.extend_from_slice(ends.map(access.map_id));
    }
    row.0
}

/// The ends of rows, made once for each place and each map.
struct Ends {
    places: Vec<Vec<u8>>,
    maps: Vec<Vec<u8>>,
    /// By map.
    told_apart: Vec<bool>,
}

const NO_PLACE: &[u8] = b",,,,";
const NO_MAP: &[u8] = b",,\n";

impl Ends {
    fn of(accesses: &Accesses) -> Ends {
        let attribution = accesses.attribution();
        let places = attribution.places.iter().map(|place| {
            let mut row = Row::default();
            row.text(inner(place));
            row.number(file_line(place).1.map(u64::from));
            row.text(place.operation.map(operation_name));
            row.text(place.phase.map(phase_name));
            row.0
        });
        let maps = attribution.maps.iter().map(|map| {
            let mut row = Row::default();
            row.text(Some(&map.name));
            row.text(map.map_type.as_ref().map(|t| t.name.as_str()));
            row.hex(map.header);
            row.end();
            row.0
        });
        Ends {
            places: places.collect(),
            maps: maps.collect(),
            told_apart: attribution.maps.iter().map(Map::is_told_apart).collect(),
        }
    }

    fn told_apart(&self, map: u32) -> bool {
        self.told_apart
            .get(map as usize)
            .is_some_and(|known| *known)
    }

    fn place(&self, id: Option<u32>) -> &[u8] {
        id.and_then(|id| self.places.get(id as usize))
            .map_or(NO_PLACE, Vec::as_slice)
    }

    fn map(&self, id: Option<u32>) -> &[u8] {
        id.and_then(|id| self.maps.get(id as usize))
            .map_or(NO_MAP, Vec::as_slice)
    }
}

/// A base is claimed together with the slot: of a key or elem whose slot is not known only the bucket
/// or group is, which `index` tells.
fn has_slots(part: Result<Part, Reason>) -> bool {
    part.is_ok_and(|part| matches!(part.stage(), Stage::Control | Stage::Key | Stage::Elem))
}

/// Fields, each followed by a comma; the last comma becomes the end of the row.
#[derive(Default)]
struct Row(Vec<u8>);

impl Row {
    /// `map` is the map where it is told from others of its type: by its header or its memory.
    fn sample(&mut self, access: &Access, map: Option<u32>) {
        self.number(Some(access.n as u64));
        self.text(access.part.ok().map(Part::name));
        self.hex(
            access
                .base
                .filter(|_| access.slot.is_some() || !has_slots(access.part)),
        );
        self.number(access.slot.and_then(|s| u64::try_from(s).ok()));
        self.number(map.map(u64::from));
        self.text(access.evidence);
        self.number(access.time);
        self.signed(access.thread.map(|(_, tid)| tid));
        self.number(access.cpu.map(u64::from));
        self.text(Some(access.event));
        self.hex(access.ip);
        self.hex(access.addr);
        self.text(access.kind.and_then(|k| k.op).map(Op::name));
        self.text(access.kind.and_then(|k| k.level_name.as_deref()));
        self.text(access.kind.map(|k| k.states.level.name()));
        self.number(access.latency.map(u64::from));
        self.text(access.latency_state().map(Validity::name));
        self.number(access.index.map(u64::from));
        self.number(access.off.map(u64::from));
        self.text(access.part.err().map(Reason::name));
    }

    fn number(&mut self, number: Option<u64>) {
        if let Some(mut number) = number {
            let mut digits = [0u8; 20];
            let mut first = digits.len();
            loop {
                first -= 1;
                digits[first] = b'0' + (number % 10) as u8;
                number /= 10;
                if number == 0 {
                    break;
                }
            }
            self.0.extend_from_slice(&digits[first..]);
        }
        self.0.push(b',');
    }

    fn signed(&mut self, number: Option<i32>) {
        if number.is_some_and(|n| n < 0) {
            self.0.push(b'-');
        }
        self.number(number.map(|n| n.unsigned_abs().into()));
    }

    fn hex(&mut self, number: Option<u64>) {
        if let Some(number) = number {
            self.0.extend_from_slice(b"0x");
            let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
            for digit in (0..digits).rev() {
                self.0
                    .push(b"0123456789abcdef"[(number >> (4 * digit) & 15) as usize]);
            }
        }
        self.0.push(b',');
    }

    fn text(&mut self, text: Option<&str>) {
        let text = text.unwrap_or("").as_bytes();
        if text
            .iter()
            .any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r'))
        {
            self.0.push(b'"');
            for &byte in text {
                if byte == b'"' {
                    self.0.push(b'"');
                }
                self.0.push(byte);
            }
            self.0.push(b'"');
        } else {
            self.0.extend_from_slice(text);
        }
        self.0.push(b',');
    }

    fn end(&mut self) {
        if let Some(comma) = self.0.last_mut() {
            *comma = b'\n';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fill: impl FnOnce(&mut Row)) -> String {
        let mut row = Row::default();
        fill(&mut row);
        String::from_utf8(row.0).unwrap()
    }

    #[test]
    fn numbers_are_written_digit_by_digit() {
        assert_eq!(row(|r| r.number(Some(0))), "0,");
        assert_eq!(row(|r| r.number(Some(u64::MAX))), "18446744073709551615,");
        assert_eq!(row(|r| r.number(None)), ",");
        assert_eq!(row(|r| r.signed(Some(i32::MIN))), "-2147483648,");
        assert_eq!(row(|r| r.hex(Some(0))), "0x0,");
        assert_eq!(row(|r| r.hex(Some(0xc000_1234))), "0xc0001234,");
        assert_eq!(row(|r| r.hex(Some(u64::MAX))), "0xffffffffffffffff,");
    }

    #[test]
    fn text_with_a_separator_is_quoted_and_its_quotes_doubled() {
        assert_eq!(row(|r| r.text(Some("map[string]int"))), "map[string]int,");
        assert_eq!(row(|r| r.text(Some("a,b"))), "\"a,b\",");
        assert_eq!(
            row(|r| r.text(Some("say \"hi\"\n"))),
            "\"say \"\"hi\"\"\n\","
        );
    }
}
