//! What location lists say: which variables of a function are in a register, and point to a structure.

use super::{At, Variables};
use gimli::Operation;
use std::ops::Range;

/// A variable that points to a structure, where one register holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    pub variable: String,
    /// Name of the structure: `runtime.hmap`.
    pub structure: String,
    /// Link-time addresses of the code for which this holds.
    pub code: Range<u64>,
    /// As DWARF numbers it.
    pub register: u16,
}

/// Entries of a function, and of its location lists, that are read: more than any function of a map has,
/// and a bound on a damaged file.
const MOST_ENTRIES: usize = 1 << 16;

/// The packages whose structures maps are made of.
const PACKAGES: &[&str] = &["runtime.", "internal/runtime/maps.", "internal/abi."];

impl Variables {
    /// Whether a structure of this name is one that [`Variables::field_of`] tells of.
    pub(super) fn is_of_runtime(name: &str) -> bool {
        PACKAGES.iter().any(|package| name.starts_with(package))
    }

    /// DWARF's version of the unit that the function at `start` is in.
    pub fn version(&self, start: u64) -> Option<u16> {
        let at = self.functions.get(&start)?;
        Some(self.units.get(at.unit)?.1.header.version())
    }

    /// The pointers to structures that registers hold in the function that starts at `start`, those of
    /// functions inlined there included.
    pub fn pointers(&self, start: u64) -> Vec<Pointer> {
        let mut pointers = Vec::new();
        let Some(&function) = self.functions.get(&start) else {
            return pointers;
        };
        let mut left = MOST_ENTRIES;
        for at in self.within(function) {
            let variable = matches!(
                self.tag(at),
                Some(gimli::DW_TAG_formal_parameter | gimli::DW_TAG_variable)
            );
            let target = || self.pointee(self.type_of(at)?);
            let Some(target) = variable.then(target).flatten() else {
                continue;
            };
            if self.tag(target) != Some(gimli::DW_TAG_structure_type) {
                continue;
            }
            let (Some(variable), Some(structure)) = (
                self.text(at, gimli::DW_AT_name),
                self.text(target, gimli::DW_AT_name),
            ) else {
                continue;
            };
            for (code, register) in self.registers_of(at, &mut left) {
                pointers.push(Pointer {
                    variable: variable.clone(),
                    structure: structure.clone(),
                    code,
                    register,
                });
            }
        }
        pointers
    }

    /// The entries inside of another, however deep.
    fn within(&self, outer: At) -> Vec<At> {
        let mut found = Vec::new();
        let Some((_, unit)) = self.units.get(outer.unit) else {
            return found;
        };
        let Ok(mut entries) = unit.entries_at_offset(outer.offset) else {
            return found;
        };
        while let Ok(Some(entry)) = entries.next_dfs() {
            if entry.offset() == outer.offset {
                continue;
            }
            if entry.depth() <= 0 || found.len() == MOST_ENTRIES {
                break;
            }
            found.push(At {
                unit: outer.unit,
                offset: entry.offset(),
            });
        }
        found
    }

    /// Where the variable is whole in one register, and in which.
    fn registers_of(&self, at: At, left: &mut usize) -> Vec<(Range<u64>, u16)> {
        let mut found = Vec::new();
        let location = self
            .entry(at)
            .and_then(|entry| entry.attr_value(gimli::DW_AT_location));
        let (Some(location), Some((_, unit))) = (location, self.units.get(at.unit)) else {
            return found;
        };
        let unit = unit.unit_ref(&self.dwarf);
        let Ok(Some(mut places)) = unit.attr_locations(location) else {
            return found;
        };
        while let Ok(Some(place)) = places.next() {
            if *left == 0 {
                break;
            }
            *left -= 1;
            let mut operations = place.data.operations(unit.encoding());
            let first = operations.next();
            let alone = matches!(operations.next(), Ok(None));
            if let (Ok(Some(Operation::Register { register })), true) = (first, alone) {
                found.push((place.range.begin..place.range.end, register.0));
            }
        }
        found
    }

    /// The name of the field at an offset of a structure of the runtime: `groups.lengthMask`. `None`
    /// where there is no such structure, or no field begins there.
    pub fn field_of(&self, structure: &str, off: u64) -> Option<String> {
        let mut name = String::new();
        self.field(*self.structures.get(structure)?, off, &mut name, 0)?;
        name.strip_prefix('.').map(str::to_owned)
    }
}
