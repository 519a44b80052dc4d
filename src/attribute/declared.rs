//! DWARF as a second opinion on layouts and data flow.
//!
//! Location lists say which variable is in a register, and its type says which structure it points to.
//! Where the address of a sampled operand is made from such a register, the flow must have found that
//! structure, and the layout must have the field of that name at that offset. DWARF decides nothing: it
//! names the base register of one access in four.

use super::binary::Binary;
use super::code::Code;
use super::flow::{FunctionFlow, Value, What};
use super::places::Places;
use crate::gomap::{Layout, Structure};
use crate::program::{Arch, Pointer, Program};
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the DWARF of one binary and the data flow say of the same instructions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// DWARF's version.
    pub version: u16,
    /// Fields of map structures that the layout has where DWARF has them.
    pub fields: u64,
    /// Those that it has elsewhere: `hmap.B`.
    pub fields_elsewhere: Vec<String>,
    /// Sampled instructions of which both name the same object and field.
    pub agreed: u64,
    /// Those of which the flow names no object.
    pub only_dwarf: u64,
    pub disagreed: Vec<Disagreement>,
}

/// A sampled instruction of which the two say different things.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    pub function: String,
    pub instruction: String,
    /// `b *runtime.bmap, tophash[0]`
    pub dwarf: String,
    pub flow: String,
    /// Why, where that is known.
    pub explanation: Option<String>,
    pub samples: u64,
}

/// What DWARF says of one operand, beside the flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// As Go's assembler has it: `AX`.
    pub register: &'static str,
    /// `h *runtime.hmap`
    pub variable: String,
    /// The field at the operand's displacement.
    pub field: Option<String>,
    pub verdict: Verdict,
    /// What the flow has there.
    pub flow: String,
    /// Why they disagree, where that is known.
    pub explanation: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Agrees,
    Disagrees,
    /// The flow names no object.
    Alone,
}

/// `runtime.gcWriteBarrier` keeps all registers but the one that it returns its buffer in, and the
/// compiler ends no variable's range at its call.
const WRITE_BARRIER: &str = "the write barrier's buffer: gcWriteBarrier returned its address in the register that \
                             the variable was in";

impl Said {
    /// `h *runtime.hmap, flags`
    pub fn dwarf(&self) -> String {
        match &self.field {
            Some(field) => format!("{}, {field}", self.variable),
            None => self.variable.clone(),
        }
    }
}

/// The structures that layouts describe, by the names that versions of Go have for them.
const STRUCTURES: &[(&str, Structure)] = &[
    ("runtime.hmap", Structure::Header),
    ("internal/runtime/maps.Map", Structure::Header),
    ("runtime.mapextra", Structure::Extra),
    ("runtime.bmap", Structure::Bucket),
    ("internal/runtime/maps.table", Structure::Table),
    ("internal/runtime/maps.ctrlGroup", Structure::Group),
    ("runtime.hiter", Structure::Iter),
    ("internal/runtime/maps.Iter", Structure::Iter),
    ("runtime.maptype", Structure::MapType),
    ("internal/abi.MapType", Structure::MapType),
    ("internal/abi.OldMapType", Structure::MapType),
    ("internal/abi.SwissMapType", Structure::MapType),
];

/// Those whose fields the layout names as the source does.
const WITH_FIELDS: &[Structure] = &[
    Structure::Header,
    Structure::MapType,
    Structure::Extra,
    Structure::Table,
    Structure::Iter,
];

/// Names that fields of the map type had before Go 1.21, and have since.
const RENAMED: &[(&str, &str)] = &[("elemsize", "ValueSize")];

fn structure_of(name: &str) -> Option<Structure> {
    let known = STRUCTURES.iter().find(|(known, _)| *known == name);
    known.map(|(_, structure)| *structure)
}

/// Before Go 1.21 the fields of map types began with small letters.
fn same_field(dwarf: &str, layout: &str) -> bool {
    dwarf.eq_ignore_ascii_case(layout) || RENAMED.contains(&(dwarf, layout))
}

/// A pointer to an array of buckets is one to its first bucket.
fn same_structure(dwarf: Structure, flow: Structure) -> bool {
    use Structure::*;
    match dwarf {
        Bucket => matches!(flow, Bucket | Buckets | OldBuckets),
        Group => matches!(flow, Group | Groups | DirPtr),
        _ => dwarf == flow,
    }
}

/// DWARF's number of a register that perf numbers so: of x86-64 as in figure 3.36 of its System V ABI.
fn dwarf_number(arch: Arch, perf: u32) -> Option<u16> {
    const ORDER: [u16; 8] = [0, 3, 2, 1, 4, 5, 6, 7];
    match (arch, perf) {
        (Arch::X86_64, 0..8) => ORDER.get(perf as usize).copied(),
        (Arch::X86_64, 16..24) => Some(perf as u16 - 8),
        (Arch::Aarch64, 0..32) => Some(perf as u16),
        _ => None,
    }
}

/// The fields of a layout that DWARF has at the same offset, and those that it has elsewhere.
fn fields(program: &Program, layout: &Layout) -> (u64, Vec<String>) {
    let (mut same, mut elsewhere) = (0, Vec::new());
    for (name, structure) in STRUCTURES {
        if !WITH_FIELDS.contains(structure) || program.field_of(name, 0).is_none() {
            continue;
        }
        for field in layout.fields(*structure) {
            match program.field_of(name, field.off) {
                Some(there) if same_field(&there, field.name) => same += 1,
                // A layout of several versions has fields that some of them lack, at the end.
                None => {}
                Some(_) => elsewhere.push(format!("{name}.{}", field.name)),
            }
        }
    }
    (same, elsewhere)
}

/// What DWARF says of the functions of one binary, each read once.
pub struct Reading<'a> {
    program: &'a Program,
    layout: &'a Layout,
    pointers: FxHashMap<u64, Vec<Pointer>>,
}

impl<'a> Reading<'a> {
    /// `None` for a binary without DWARF, or without maps.
    pub fn of(binary: &'a Binary) -> Option<Reading<'a>> {
        let layout = binary.layout?;
        let program = &*binary.program;
        program.has_dwarf().then(|| Reading {
            program,
            layout,
            pointers: FxHashMap::default(),
        })
    }

    /// What DWARF says of the operand of the instruction at `vaddr`; `None` where it names no variable.
    pub fn of_site(&mut self, vaddr: u64, flow: &FunctionFlow) -> Option<Said> {
        flow.signature?;
        let site = flow.sites.get(&vaddr)?;
        let form = site.instruction.form()?;
        let base = form.base?;
        let register = dwarf_number(self.program.arch, base)?;
        let (held, displacement) = site.operands.first()?.base?;
        let function = self.program.function_at(vaddr)?.start;
        let pointers = self.pointers.entry(function);
        let pointers = pointers.or_insert_with(|| self.program.pointers_in_registers(function));
        let here = |p: &&Pointer| p.register == register && p.code.contains(&vaddr);
        let mut known = pointers.iter().filter(here);
        let (pointer, structure) = known.find_map(|p| Some((p, structure_of(&p.structure)?)))?;
        let field = u64::try_from(displacement).ok();
        let field = field.and_then(|off| self.program.field_of(&pointer.structure, off));
        let (verdict, found) = beside(self.layout, structure, field.as_deref(), held, displacement);
        let abi = site.instruction.abi();
        let in_barrier = held.what == What::At(Structure::Other)
            && abi.perf.get(abi.write_barrier) == Some(&base);
        let disagrees = verdict == Verdict::Disagrees;
        let named = abi
            .perf
            .iter()
            .zip(abi.names)
            .find(|(perf, _)| **perf == base);
        Some(Said {
            register: named.map_or("", |(_, name)| *name),
            variable: format!("{} *{}", pointer.variable, pointer.structure),
            field,
            verdict,
            flow: found,
            explanation: (disagrees && in_barrier).then_some(WRITE_BARRIER),
        })
    }
}

/// What the flow has for a register that `held` is in, beside a pointer to this structure.
fn beside(
    layout: &Layout,
    structure: Structure,
    field: Option<&str>,
    held: Value,
    displacement: i64,
) -> (Verdict, String) {
    let What::At(found) = held.what else {
        return (Verdict::Alone, "no object".to_owned());
    };
    let object = found.text().to_owned();
    if !same_structure(structure, found) {
        return (Verdict::Disagrees, object);
    }
    let Some(start) = held.expr.as_constant() else {
        return (Verdict::Agrees, object);
    };
    let off = start.checked_add(displacement);
    let off = off.and_then(|off| u64::try_from(off).ok());
    let own = off.and_then(|off| layout.field_at(found, off));
    let text = match own {
        Some(own) => format!("{object}, {}", own.name),
        None if start == 0 => object,
        None => format!("{object} + {start}"),
    };
    let same = match (field, own) {
        (Some(field), Some(own)) if WITH_FIELDS.contains(&found) => {
            // Fields of the descriptor that any type has lie in one field of the map type.
            field.contains('.') && found == Structure::MapType || same_field(field, own.name)
        }
        _ => start == 0,
    };
    let verdict = if same {
        Verdict::Agrees
    } else {
        Verdict::Disagrees
    };
    (verdict, text)
}

/// What DWARF says of the instruction of one place.
pub fn of_code(binary: &mut Binary, code: &Code) -> Option<Said> {
    let vaddr = code.instruction.ip();
    let flow = binary.flow(vaddr)?;
    Reading::of(binary)?.of_site(vaddr, &flow)
}

/// Reads the debug information of binaries with samples of map code beside what is done until
/// [`compare`] asks for it.
pub fn read_ahead(places: &Places, binaries: &[Option<Binary>]) {
    for binary in binaries.iter().flatten() {
        let mut codes = places.codes.iter().flatten();
        let sampled = codes.any(|code| code.map_code && code.binary == binary.id);
        if sampled && binary.program.has_dwarf() {
            let program = Arc::clone(&binary.program);
            std::thread::spawn(move || program.dwarf_version(0));
        }
    }
}

/// By image: what the DWARF of its binary says of the instructions of map code that samples hit. `None` of
/// binaries without DWARF, and of those of whose map code there are no samples.
pub fn compare(places: &Places, binaries: &mut [Option<Binary>]) -> Vec<Option<Declared>> {
    let of_image = |binary: &mut Option<Binary>| compared(places, binary.as_mut()?);
    binaries.iter_mut().map(of_image).collect()
}

fn compared(places: &Places, binary: &mut Binary) -> Option<Declared> {
    if !binary.program.has_dwarf() {
        return None;
    }
    // One instruction is several places where processes have the binary at different addresses.
    let mut of_instructions: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (place, code) in places.codes.iter().enumerate() {
        if let Ok(code) = code
            && code.binary == binary.id
            && code.map_code
        {
            let all = of_instructions.entry(code.instruction.ip()).or_default();
            all.push(place);
        }
    }
    let mut flows = Vec::new();
    for (vaddr, of_it) in of_instructions {
        flows.push((vaddr, of_it, binary.flow(vaddr)?));
    }
    let function = binary.program.function_at(flows.first()?.0)?.start;
    let mut reading = Reading::of(binary)?;
    let (fields, fields_elsewhere) = fields(reading.program, reading.layout);
    let mut declared = Declared {
        version: reading.program.dwarf_version(function)?,
        fields,
        fields_elsewhere,
        ..Declared::default()
    };
    for (vaddr, of_it, flow) in flows {
        let Some(site) = flow.sites.get(&vaddr) else {
            continue;
        };
        let Some(said) = reading.of_site(vaddr, &flow) else {
            continue;
        };
        match said.verdict {
            Verdict::Agrees => declared.agreed += 1,
            Verdict::Alone => declared.only_dwarf += 1,
            Verdict::Disagrees => {
                let place = of_it.first().and_then(|place| places.places.get(*place));
                let of_these = |place: &u32| of_it.contains(&(*place as usize));
                declared.disagreed.push(Disagreement {
                    function: place.and_then(|p| p.function.clone()).unwrap_or_default(),
                    instruction: site.instruction.text(),
                    dwarf: said.dwarf(),
                    samples: places.place.iter().filter(of_these).count() as u64,
                    flow: said.flow,
                    explanation: said.explanation.map(str::to_owned),
                });
            }
        }
    }
    Some(declared)
}
