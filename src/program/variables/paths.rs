//! The values of described types that global variables lead to: the variables themselves, and fields of
//! structures that have no descriptor, through pointers.
//!
//! Only types that are converted to interfaces have a descriptor, and those that it refers to: every map
//! type in use does, the structure that a map is kept in need not.

use super::{At, DEEPEST, Kept, Root, Variables};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// A value that a global variable leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldValue {
    /// `main.server.sessions`
    pub name: String,
    /// Where it lies: the last offset is that of the value itself.
    pub kept: Kept,
    /// Link-time address of its type's descriptor.
    pub descriptor: u64,
}

/// Pointers that are followed from a variable on, values that are told of below one type, and elements
/// of an array that are: bounds on types that refer to each other.
const MOST_POINTERS: usize = 3;
const MOST_VALUES: usize = 1 << 8;
const MOST_ELEMENTS: u64 = 1 << 6;

/// `DW_AT_go_runtime_type` (`cmd/internal/dwarf`): the descriptor's place among the program's types.
const RUNTIME_TYPE: gimli::DwAt = gimli::DwAt(0x2904);

/// From the start of a value to one of a described type.
#[derive(Debug, Clone)]
struct Path {
    /// `.cache.sessions`
    name: String,
    /// Offset in the value, then in what each pointer is to.
    offsets: Vec<u64>,
    descriptor: u64,
}

/// Which types are asked for, and what is known of those that were looked at.
struct Search<'a> {
    /// Where descriptors are counted from.
    types: u64,
    wanted: &'a mut dyn FnMut(u64) -> bool,
    known: FxHashMap<(usize, usize, usize), Rc<[Path]>>,
}

impl Variables {
    /// The values whose descriptor is `wanted`, by the order of their variables in memory. `types` is
    /// where the program's types begin.
    pub fn held_values(&self, types: u64, wanted: &mut dyn FnMut(u64) -> bool) -> Vec<HeldValue> {
        let mut search = Search {
            types,
            wanted,
            known: FxHashMap::default(),
        };
        let mut held = Vec::new();
        for &(place, variable) in &self.globals {
            let of = self.type_of(variable);
            let name = self.text(variable, gimli::DW_AT_name);
            let (Some(of), Some(name)) = (of, name) else {
                continue;
            };
            let paths = self.paths(of, MOST_POINTERS, 0, &mut search);
            held.extend(paths.iter().filter_map(|path| {
                let (first, steps) = path.offsets.split_first()?;
                Some(HeldValue {
                    name: format!("{name}{}", path.name),
                    kept: Kept {
                        root: Root::Global(place.checked_add(*first)?),
                        steps: steps.to_vec(),
                    },
                    descriptor: path.descriptor,
                })
            }));
        }
        held
    }

    fn paths(&self, of: At, pointers: usize, depth: usize, search: &mut Search) -> Rc<[Path]> {
        let key = (of.unit, of.offset.0, pointers);
        if let Some(paths) = search.known.get(&key) {
            return Rc::clone(paths);
        }
        let mut paths = Vec::new();
        if let Some(place) = self.descriptor(of) {
            let descriptor = search.types.wrapping_add(place);
            if (search.wanted)(descriptor) {
                paths.push(Path {
                    name: String::new(),
                    offsets: vec![0],
                    descriptor,
                });
            }
        } else if depth < DEEPEST {
            match self.tag(of) {
                Some(gimli::DW_TAG_structure_type) => {
                    for member in self.children(of) {
                        let name = self.text(member, gimli::DW_AT_name);
                        let start = self.number(member, gimli::DW_AT_data_member_location);
                        let inner = self.type_of(member);
                        if let (Some(name), Some(start), Some(inner)) = (name, start, inner) {
                            let inner = self.paths(inner, pointers, depth + 1, search);
                            paths.extend(within(&inner, &format!(".{name}"), start));
                        }
                    }
                }
                Some(gimli::DW_TAG_array_type) => {
                    let element = self.type_of(of);
                    let size = element.and_then(|element| self.size(element, 0));
                    if let (Some(element), Some(size)) = (element, size) {
                        let inner = self.paths(element, pointers, depth + 1, search);
                        for i in 0..self.len(of).min(MOST_ELEMENTS) {
                            let start = i.saturating_mul(size);
                            paths.extend(within(&inner, &format!("[{i}]"), start));
                        }
                    }
                }
                Some(gimli::DW_TAG_pointer_type) if pointers > 0 => {
                    if let Some(target) = self.pointee(of) {
                        let inner = self.paths(target, pointers - 1, depth + 1, search);
                        paths.extend(inner.iter().map(|path| Path {
                            offsets: [&[0], &path.offsets[..]].concat(),
                            ..path.clone()
                        }));
                    }
                }
                _ => {}
            }
        }
        paths.truncate(MOST_VALUES);
        let paths: Rc<[Path]> = paths.into();
        search.known.insert(key, Rc::clone(&paths));
        paths
    }

    /// Where the descriptor of a type is among the program's types; `None` where it has none.
    fn descriptor(&self, of: At) -> Option<u64> {
        let (unit, value) = self.attribute(of, RUNTIME_TYPE)?;
        let unit = self.units.get(unit)?.1.unit_ref(&self.dwarf);
        let place = value.udata_value();
        let place = place.or_else(|| unit.attr_address(value).ok()?);
        place.filter(|place| *place != 0)
    }

    /// Elements of an array.
    fn len(&self, array: At) -> u64 {
        let mut ranges = self.children(array).into_iter();
        let count = ranges.find_map(|range| self.number(range, gimli::DW_AT_count));
        count.unwrap_or(0)
    }
}

/// The paths of what lies `start` bytes into a value, from the value on.
fn within<'a>(
    inner: &'a [Path],
    name: &'a str,
    start: u64,
) -> impl Iterator<Item = Path> + use<'a> {
    inner.iter().filter_map(move |path| {
        let mut offsets = path.offsets.clone();
        let first = offsets.first_mut()?;
        *first = first.checked_add(start)?;
        Some(Path {
            name: format!("{name}{}", path.name),
            offsets,
            descriptor: path.descriptor,
        })
    })
}
