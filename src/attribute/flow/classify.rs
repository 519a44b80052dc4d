//! From the address of an operand to the part of a map that it touches.

use super::machine::{Operand, is_directory_entry};
use super::value::{Area, Areas, What};
use crate::attribute::Reason;
use crate::gomap::{Family, Layout, Part, Structure};

/// What the code says of an access.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// This part; `off` is the address minus the start of the structure, where the code fixes it.
    Part {
        part: Part,
        off: Option<i64>,
    },
    /// Somewhere in a bucket or a group.
    BucketOrGroup,
    /// The first word of a small map's group, or of a directory.
    DirPtr,
    /// Through the pointer that the map call with this return address handed out, `off` bytes on;
    /// `None` when an index decides.
    Elem {
        call: u64,
        off: Option<i64>,
    },
    Key {
        call: u64,
        off: Option<i64>,
    },
    /// No part of a map, or not known.
    None(Reason),
}

/// Classifies one operand; `map_code` tells functions of the map implementation from their callers.
pub fn classify(operand: &Operand, layout: &Layout, areas: &Areas, map_code: bool) -> Target {
    let value = &operand.value;
    let off = value.expr.as_constant();
    match value.what {
        What::At(structure) => at(structure, operand, layout, areas),
        What::Elem(call) => Target::Elem { call, off },
        What::Key(call) => Target::Key { call, off },
        _ if !map_code => Target::None(Reason::NotMap),
        What::Stack | What::Number | What::DirLen if off.is_some() => Target::None(Reason::Stack),
        _ => Target::None(Reason::BaseUnknown),
    }
}

fn at(structure: Structure, operand: &Operand, layout: &Layout, areas: &Areas) -> Target {
    use Structure::*;
    let value = &operand.value;
    let off = value.expr.as_constant();
    match structure {
        Header | Table | Extra => {
            let field = off
                .and_then(|off| u64::try_from(off).ok())
                .and_then(|off| layout.field_at(structure, off));
            match field.and_then(|f| f.part) {
                Some(part) => Target::Part { part, off },
                None => Target::None(Reason::OutsideParts),
            }
        }
        Directory => Target::Part {
            part: Part::DirectoryTable,
            off: None,
        },
        DirPtr if is_directory_entry(&value.expr) => Target::Part {
            part: Part::DirectoryTable,
            off: None,
        },
        DirPtr if off == Some(0) && operand.size == 8 => Target::DirPtr,
        Bucket | Buckets | OldBuckets | Group | Groups | DirPtr => {
            let off = off.filter(|_| value.area == Area::Start);
            match part_of(layout.family, areas.of_access(value, Some(operand.size))) {
                Some(part) => Target::Part { part, off },
                None => Target::BucketOrGroup,
            }
        }
        MapType | Rtype | BucketRtype | Funcval | Iter | BucketSlice | Other => {
            Target::None(Reason::NotMapMemory)
        }
    }
}

fn part_of(family: Family, area: Area) -> Option<Part> {
    Some(match (family, area) {
        (Family::Classic, Area::Control) => Part::BmapTophash,
        (Family::Classic, Area::Key) => Part::BmapKey,
        (Family::Classic, Area::Elem) => Part::BmapElem,
        (Family::Classic, Area::Overflow) => Part::BmapOverflow,
        (Family::Swiss, Area::Control) => Part::GroupCtrl,
        (Family::Swiss, Area::Key) => Part::GroupKey,
        (Family::Swiss, Area::Elem) => Part::GroupElem,
        _ => return None,
    })
}
