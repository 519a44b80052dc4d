//! The names of arguments, fields and globals, from DWARF: what a pointer that code loads from is
//! called in the source.

mod lookup;
mod paths;
mod pointers;

pub use paths::HeldValue;
pub use pointers::Pointer;

use super::dwarf::{Reader, sections};
use super::elf::Elf;
use gimli::{
    AttributeValue, DebugInfoOffset, DebuggingInformationEntry, DwTag, Reader as _, Unit,
    UnitOffset,
};
use rustc_hash::FxHashMap;

/// Where code takes a value from: a variable, and the offsets of the loads that lead on from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kept {
    pub root: Root,
    /// The variable's value is a pointer; each step loads the word at this offset behind it.
    pub steps: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Root {
    /// The word at this link-time address.
    Global(u64),
    /// The `register`-th integer argument register of the function that starts at `function`.
    Argument { function: u64, register: usize },
}

/// The debug information of one file, unit by unit.
pub(super) struct Variables {
    dwarf: gimli::Dwarf<Reader>,
    units: Vec<(u64, Unit<Reader>)>,
    /// By start.
    functions: FxHashMap<u64, At>,
    /// Variables at fixed addresses, by address.
    globals: Vec<(u64, At)>,
    /// Structures of the runtime, by name.
    structures: FxHashMap<String, At>,
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Variables")
    }
}

/// An entry anywhere in the file.
#[derive(Debug, Clone, Copy)]
struct At {
    unit: usize,
    offset: UnitOffset<usize>,
}

type Entry<'a> = DebuggingInformationEntry<Reader>;

/// Types in types in types: more than any program has, and a bound on a damaged one.
const DEEPEST: usize = 32;

/// Go's ABIInternal on amd64: AX, BX, CX, DI, SI, R8, R9, R10, R11 and X0 to X14.
const INTEGERS: usize = 9;
const FLOATS: usize = 15;

impl Variables {
    /// `None` without debug sections and when they cannot be read.
    pub fn load(elf: &Elf) -> Option<Variables> {
        let dwarf = sections(elf)?;
        let mut headers = dwarf.units();
        let mut units = Vec::new();
        while let Ok(Some(header)) = headers.next() {
            let start = header.debug_info_offset()?.0 as u64;
            if let Ok(unit) = dwarf.unit(header) {
                units.push((start, unit));
            }
        }
        let mut variables = Variables {
            dwarf,
            units,
            functions: FxHashMap::default(),
            globals: Vec::new(),
            structures: FxHashMap::default(),
        };
        for unit in 0..variables.units.len() {
            variables.index(unit);
        }
        variables.globals.sort_unstable_by_key(|(place, _)| *place);
        Some(variables)
    }

    /// Notes the functions, globals and structures of a unit's top level.
    fn index(&mut self, unit: usize) {
        let Some((_, of)) = self.units.get(unit) else {
            return;
        };
        let offset = of.header.root_offset();
        for at in self.children(At { unit, offset }) {
            match self.tag(at) {
                Some(gimli::DW_TAG_subprogram) => {
                    if let Some(start) = self.start(at) {
                        self.functions.insert(start, at);
                    }
                }
                Some(gimli::DW_TAG_structure_type) => {
                    let name = self.text(at, gimli::DW_AT_name);
                    if let Some(name) = name.filter(|name| Variables::is_of_runtime(name)) {
                        self.structures.insert(name, at);
                    }
                }
                Some(gimli::DW_TAG_variable) => {
                    self.globals.extend(self.place(at).map(|place| (place, at)));
                }
                _ => {}
            }
        }
    }

    fn start(&self, at: At) -> Option<u64> {
        let (_, low) = self.attribute(at, gimli::DW_AT_low_pc)?;
        let unit = self.units.get(at.unit)?.1.unit_ref(&self.dwarf);
        unit.attr_address(low).ok()?
    }

    /// `s.sessions`, `main.config.hosts`; `None` where a step of it has no name.
    pub fn name(&self, kept: &Kept) -> Option<String> {
        let (mut name, mut at) = match kept.root {
            Root::Global(address) => self.global(address)?,
            Root::Argument { function, register } => self.argument(function, register)?,
        };
        for &step in &kept.steps {
            let target = self.pointee(at)?;
            at = self.field(target, step, &mut name, 0)?;
        }
        Some(name)
    }

    fn entry(&self, at: At) -> Option<Entry<'_>> {
        self.units.get(at.unit)?.1.entry(at.offset).ok()
    }

    /// The entry that an attribute refers to.
    fn refers(&self, from: usize, value: AttributeValue<Reader>) -> Option<At> {
        match value {
            AttributeValue::UnitRef(offset) => Some(At { unit: from, offset }),
            AttributeValue::DebugInfoRef(DebugInfoOffset(offset)) => {
                let after = self
                    .units
                    .partition_point(|(start, _)| *start <= offset as u64);
                let unit = after.checked_sub(1)?;
                let offset = DebugInfoOffset(offset);
                let offset = offset.to_unit_offset(&self.units.get(unit)?.1.header)?;
                Some(At { unit, offset })
            }
            _ => None,
        }
    }

    /// The entry's own attribute, or that of the one that it is an instance of.
    fn attribute(&self, at: At, name: gimli::DwAt) -> Option<(usize, AttributeValue<Reader>)> {
        let entry = self.entry(at)?;
        if let Some(value) = entry.attr_value(name) {
            return Some((at.unit, value));
        }
        let origin = entry.attr_value(gimli::DW_AT_abstract_origin)?;
        let origin = self.refers(at.unit, origin)?;
        let value = self.entry(origin)?.attr_value(name)?;
        Some((origin.unit, value))
    }

    fn text(&self, at: At, name: gimli::DwAt) -> Option<String> {
        let (unit, value) = self.attribute(at, name)?;
        let unit = self.units.get(unit)?.1.unit_ref(&self.dwarf);
        let text = unit.attr_string(value).ok()?;
        Some(text.to_string_lossy().ok()?.into_owned())
    }

    fn number(&self, at: At, name: gimli::DwAt) -> Option<u64> {
        self.attribute(at, name)?.1.udata_value()
    }

    /// The type of an entry, behind all names that are no map's.
    fn type_of(&self, at: At) -> Option<At> {
        let (unit, value) = self.attribute(at, gimli::DW_AT_type)?;
        self.named(self.refers(unit, value)?)
    }

    fn named(&self, mut at: At) -> Option<At> {
        for _ in 0..DEEPEST {
            if self.tag(at)? != gimli::DW_TAG_typedef || self.is_map(at) {
                return Some(at);
            }
            let (unit, value) = self.attribute(at, gimli::DW_AT_type)?;
            at = self.refers(unit, value)?;
        }
        None
    }

    fn tag(&self, at: At) -> Option<DwTag> {
        Some(self.entry(at)?.tag())
    }

    /// `DW_AT_go_kind` 21 is `reflect.Map` (`cmd/internal/dwarf`).
    fn is_map(&self, at: At) -> bool {
        self.number(at, gimli::DwAt(0x2900)) == Some(21)
    }

    fn pointee(&self, at: At) -> Option<At> {
        (self.tag(at)? == gimli::DW_TAG_pointer_type).then(|| self.type_of(at))?
    }

    fn children(&self, at: At) -> Vec<At> {
        let Some((_, unit)) = self.units.get(at.unit) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let Ok(mut tree) = unit.entries_tree(Some(at.offset)) else {
            return found;
        };
        let Ok(root) = tree.root() else { return found };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            found.push(At {
                unit: at.unit,
                offset: child.entry().offset(),
            });
        }
        found
    }

    /// The field of a structure at an offset, whatever lies in what; its name goes behind `name`.
    fn field(&self, at: At, off: u64, name: &mut String, depth: usize) -> Option<At> {
        if depth > DEEPEST {
            return None;
        }
        match self.tag(at)? {
            gimli::DW_TAG_structure_type => {
                let members = self.children(at).into_iter().filter_map(|member| {
                    let start = self.number(member, gimli::DW_AT_data_member_location)?;
                    (start <= off).then_some((start, member))
                });
                // Of an empty field and the one behind it the latter.
                let (start, member) = members.max_by_key(|(start, _)| *start)?;
                name.push('.');
                name.push_str(&self.text(member, gimli::DW_AT_name)?);
                self.field(self.type_of(member)?, off - start, name, depth + 1)
            }
            gimli::DW_TAG_array_type => {
                let element = self.type_of(at)?;
                let size = self.size(element, 0)?;
                name.push_str(&format!("[{}]", off.checked_div(size)?));
                self.field(element, off % size, name, depth + 1)
            }
            _ => (off == 0).then_some(at),
        }
    }

    fn size(&self, at: At, depth: usize) -> Option<u64> {
        if let Some(size) = self.number(at, gimli::DW_AT_byte_size) {
            return Some(size);
        }
        match self.tag(at)? {
            gimli::DW_TAG_pointer_type => Some(8),
            gimli::DW_TAG_typedef if depth < DEEPEST => {
                let (unit, value) = self.attribute(at, gimli::DW_AT_type)?;
                self.size(self.refers(unit, value)?, depth + 1)
            }
            _ => None,
        }
    }

    fn global(&self, address: u64) -> Option<(String, At)> {
        let after = self.globals.partition_point(|(place, _)| *place <= address);
        let &(place, variable) = self.globals.get(after.checked_sub(1)?)?;
        let at = self.type_of(variable)?;
        let off = address - place;
        if off >= self.size(at, 0).unwrap_or(8) {
            return None;
        }
        let mut name = self.text(variable, gimli::DW_AT_name)?;
        let at = self.field(at, off, &mut name, 0)?;
        Some((name, at))
    }

    /// The address of a variable that has a fixed one.
    fn place(&self, at: At) -> Option<u64> {
        let (unit, value) = self.attribute(at, gimli::DW_AT_location)?;
        let unit = self.units.get(unit)?.1.unit_ref(&self.dwarf);
        let mut code = value.exprloc_value()?.operations(unit.encoding());
        match code.next() {
            Ok(Some(gimli::Operation::Address { address })) => Some(address),
            Ok(Some(gimli::Operation::AddressIndex { index })) => unit.address(index).ok(),
            _ => None,
        }
    }

    /// The argument that is passed in the `register`-th integer register: its name and type.
    fn argument(&self, function: u64, register: usize) -> Option<(String, At)> {
        let function = *self.functions.get(&function)?;
        let (mut integers, mut floats) = (0, 0);
        for child in self.children(function) {
            if self.tag(child) != Some(gimli::DW_TAG_formal_parameter) {
                continue;
            }
            let result = self.attribute(child, gimli::DW_AT_variable_parameter);
            if result.is_some_and(|(_, v)| matches!(v, AttributeValue::Flag(true))) {
                continue;
            }
            let at = self.type_of(child)?;
            let needed = self.registers(at, 0);
            let fits = needed.filter(|(i, f)| integers + i <= INTEGERS && floats + f <= FLOATS);
            // What does not fit goes onto the stack, all of it.
            let Some((i, f)) = fits else { continue };
            if register == integers && i == 1 {
                return Some((self.text(child, gimli::DW_AT_name)?, at));
            }
            integers += i;
            floats += f;
        }
        None
    }

    /// Integer and floating-point registers that a value of this type takes; `None` where it goes
    /// onto the stack (`abi-internal.md`: arrays of more than one element).
    fn registers(&self, at: At, depth: usize) -> Option<(usize, usize)> {
        if depth > DEEPEST {
            return None;
        }
        match self.tag(at)? {
            gimli::DW_TAG_structure_type => {
                let mut sum = (0, 0);
                for member in self.children(at) {
                    let (i, f) = self.registers(self.type_of(member)?, depth + 1)?;
                    sum = (sum.0 + i, sum.1 + f);
                }
                Some(sum)
            }
            gimli::DW_TAG_base_type => match self.attribute(at, gimli::DW_AT_encoding) {
                Some((_, AttributeValue::Encoding(gimli::DW_ATE_float))) => Some((0, 1)),
                Some((_, AttributeValue::Encoding(gimli::DW_ATE_complex_float))) => Some((0, 2)),
                _ => Some((1, 0)),
            },
            gimli::DW_TAG_array_type => match self.size(at, 0)? {
                0 => Some((0, 0)),
                size if Some(size) == self.size(self.type_of(at)?, 0) => {
                    self.registers(self.type_of(at)?, depth + 1)
                }
                _ => None,
            },
            _ => Some((1, 0)),
        }
    }
}
