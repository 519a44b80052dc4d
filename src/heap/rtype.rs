//! What type descriptors say of the values of a type: `internal/abi/type.go`, the same from go1.19 to
//! go1.27.3. They survive `-s -w`, field names included.

use crate::program::Program;
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;

/// A type, as far as it leads to a map. Addresses are link-time addresses of descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rtype {
    Pointer(u64),
    Struct {
        fields: Vec<Field>,
        /// `sync.Map`.
        sync_map: bool,
    },
    Array {
        elem: u64,
        len: u64,
    },
    Slice(u64),
    /// With methods the first word is an itab.
    Interface {
        methods: bool,
    },
    Map {
        key: u64,
        elem: u64,
    },
    /// Numbers, strings, channels, functions.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub name: String,
    pub offset: u64,
    pub descriptor: u64,
}

/// `abi.Kind`.
const ARRAY: u8 = 17;
const INTERFACE: u8 = 20;
const MAP: u8 = 21;
const POINTER: u8 = 22;
const SLICE: u8 = 23;
const STRUCT: u8 = 25;
/// A struct has no more fields in any program.
const MAX_FIELDS: u64 = 1 << 14;

/// The types of a program, read when asked for.
#[derive(Debug)]
pub(super) struct Rtypes<'a> {
    program: &'a Program,
    minor: u32,
    known: FxHashMap<u64, Rc<Rtype>>,
    /// Whether a value leads to a map or an interface.
    leads: FxHashMap<u64, bool>,
}

impl<'a> Rtypes<'a> {
    pub fn new(program: &'a Program, minor: u32) -> Rtypes<'a> {
        Rtypes {
            program,
            minor,
            known: FxHashMap::default(),
            leads: FxHashMap::default(),
        }
    }

    /// Bytes of a value; `None` where there is no descriptor.
    pub fn size(&self, descriptor: u64) -> Option<u64> {
        self.program.type_size_at(descriptor)
    }

    pub fn get(&mut self, descriptor: u64) -> Rc<Rtype> {
        if let Some(known) = self.known.get(&descriptor) {
            return Rc::clone(known);
        }
        let rtype = Rc::new(self.read(descriptor).unwrap_or(Rtype::Other));
        self.known.insert(descriptor, Rc::clone(&rtype));
        rtype
    }

    fn read(&self, at: u64) -> Option<Rtype> {
        let program = self.program;
        program.type_size_at(at)?;
        let word = |offset: u64| program.read_u64(at.checked_add(offset)?);
        Some(match program.read_u8(at.checked_add(23)?)? & 31 {
            ARRAY => Rtype::Array {
                elem: word(48)?,
                len: word(64)?,
            },
            INTERFACE => Rtype::Interface {
                methods: word(64)? != 0,
            },
            MAP => Rtype::Map {
                key: word(48)?,
                elem: word(56)?,
            },
            POINTER => Rtype::Pointer(word(48)?),
            SLICE => Rtype::Slice(word(48)?),
            STRUCT => {
                let (table, len) = (word(56)?, word(64)?.min(MAX_FIELDS));
                let fields: Vec<Field> = (0..len)
                    .map_while(|i| self.field(table.checked_add(24 * i)?))
                    .collect();
                self.atomic_pointer(&fields).unwrap_or(Rtype::Struct {
                    fields,
                    sync_map: program.type_name_at(at).as_deref() == Some("sync.Map"),
                })
            }
            _ => Rtype::Other,
        })
    }

    fn field(&self, at: u64) -> Option<Field> {
        let program = self.program;
        let name = program.read_u64(at)?.checked_add(1)?;
        let offset = program.read_u64(at.checked_add(16)?)?;
        Some(Field {
            name: self.name(name)?,
            // Up to 1.18 the lowest bit says that the field is embedded.
            offset: if self.minor <= 18 {
                offset >> 1
            } else {
                offset
            },
            descriptor: program.read_u64(at.checked_add(8)?)?,
        })
    }

    /// `abi.Name` without its flags: varint length, text. Fields' names are short.
    fn name(&self, at: u64) -> Option<String> {
        let low = self.program.read_u8(at)?;
        let (len, used) = if low < 0x80 {
            (usize::from(low), 1)
        } else {
            let high = self.program.read_u8(at.checked_add(1)?)?;
            (usize::from(low & 0x7f) | usize::from(high) << 7, 2)
        };
        let text = self.program.bytes(at.checked_add(used)?, len)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// `atomic.Pointer[T]` keeps its type in a field of no size: `_ [0]*T; _ noCopy; v unsafe.Pointer`.
    fn atomic_pointer(&self, fields: &[Field]) -> Option<Rtype> {
        let (first, last) = (fields.first()?, fields.last()?);
        if last.name != "v" || last.offset != 0 || first.name != "_" {
            return None;
        }
        match self.read_shallow(first.descriptor)? {
            (ARRAY, pointer, 0) => match self.read_shallow(pointer)? {
                (POINTER, elem, _) => Some(Rtype::Pointer(elem)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Kind, elem and length.
    fn read_shallow(&self, at: u64) -> Option<(u8, u64, u64)> {
        let kind = self.program.read_u8(at.checked_add(23)?)? & 31;
        let elem = self.program.read_u64(at.checked_add(48)?)?;
        let len = self.program.read_u64(at.checked_add(64)?).unwrap_or(0);
        Some((kind, elem, len))
    }

    /// Whether a value of the type may lead to a map: what does not is not walked.
    pub fn leads_to_maps(&mut self, descriptor: u64) -> bool {
        if let Some(&known) = self.leads.get(&descriptor) {
            return known;
        }
        let mut seen = FxHashSet::default();
        let mut open = vec![descriptor];
        let mut leads = false;
        while let Some(at) = open.pop() {
            if !seen.insert(at) {
                continue;
            }
            let rtype = self.get(at);
            match (self.leads.get(&at), &*rtype) {
                (Some(true), _) | (None, Rtype::Map { .. } | Rtype::Interface { .. }) => {
                    leads = true;
                    break;
                }
                (None, Rtype::Struct { sync_map: true, .. }) => {
                    leads = true;
                    break;
                }
                (None, Rtype::Pointer(elem) | Rtype::Slice(elem) | Rtype::Array { elem, .. }) => {
                    open.push(*elem);
                }
                (None, Rtype::Struct { fields, .. }) => {
                    open.extend(fields.iter().map(|field| field.descriptor));
                }
                (Some(false), _) | (None, Rtype::Other) => {}
            }
        }
        if leads {
            self.leads.insert(descriptor, true);
        } else {
            self.leads.extend(seen.into_iter().map(|at| (at, false)));
        }
        leads
    }
}
