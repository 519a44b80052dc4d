//! One binary: ELF, Go's build information, pclntab, DWARF, type descriptors. Knows nothing of perf.

mod buildinfo;
mod dwarf;
mod elf;
mod error;
pub mod find;
pub mod kernel;
mod moduledata;
mod pclntab;
pub mod references;
mod source;
mod symbols;
mod types;
mod variables;

pub use error::ProgramError;
pub use moduledata::Module;
pub use source::Sources;
pub use variables::{HeldValue, Kept, Pointer, Root};

use crate::gomap::{Layout, MapType, layout_for};
use dwarf::Dwarf;
use elf::Elf;
use pclntab::Pclntab;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use symbols::Symbols;
use types::{MapLayout, Types};
use variables::Variables;

/// A binary, opened once and asked many times. All addresses are link-time addresses (vaddr).
#[derive(Debug)]
pub struct Program {
    pub path: PathBuf,
    /// GNU build id, else Go's build id as bytes of its text.
    pub build_id: Option<Vec<u8>>,
    pub arch: Arch,
    /// Of 32 bits: its pointers, and all of Go's structures, are narrower.
    pub narrow: bool,
    /// Position independent (`ET_DYN`): loaded at an address of the kernel's choice.
    pub pie: bool,
    /// `None` for other languages and for Go before 1.18.
    pub go: Option<Go>,
    /// Go's own address ranges; `None` where `go` is, and for a damaged binary.
    pub module: Option<Module>,
    /// By address of the descriptor.
    pub map_types: Vec<MapType>,
    functions: Vec<Function>,
    symbols: Symbols,
    pclntab: Option<Pclntab>,
    dwarf: OnceLock<Option<Dwarf>>,
    variables: OnceLock<Option<Variables>>,
    sources: Sources,
    /// Separate debug information.
    debug: Option<Elf>,
    elf: Elf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    X86_64,
    Aarch64,
    /// i386 and later, of 32 bits.
    X86,
    Other,
}

/// What a Go binary says of its own build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Go {
    /// `go1.22.10`, `go1.24.11 X:noswissmap`, ...
    pub version: String,
    /// The 22 of `go1.22.10`.
    pub minor: u32,
    /// `noswissmap`, `mapsplitgroup`, ...
    pub experiments: Vec<String>,
    pub module: Option<String>,
    /// `-compiler`, `CGO_ENABLED`, `GOAMD64`, `vcs.revision`, ...
    pub settings: Vec<(String, String)>,
}

/// One function of an inline chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub function: String,
    pub file: Option<String>,
    pub line: Option<u32>,
}

/// A function's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub start: u64,
    /// Exclusive.
    pub end: u64,
}

/// A global variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Global {
    pub name: String,
    pub addr: u64,
    /// In bytes; 0 where the symbol table does not say.
    pub size: u64,
}

impl Program {
    /// Reads a binary, plain or gzipped. It stays mapped for as long as the `Program` lives.
    pub fn open(path: &Path) -> Result<Program, ProgramError> {
        let elf = Elf::open(path)?;
        let go = buildinfo::read(&elf);
        let mut pclntab = Pclntab::find(&elf)?;
        let module = match (&go, &pclntab) {
            (Some(go), Some(pclntab)) => moduledata::find(&elf, pclntab, go.minor),
            _ => None,
        };
        if let (Some(pclntab), Some(module)) = (&mut pclntab, &module) {
            pclntab.text = module.text.start;
            pclntab.gofunc = module.gofunc;
        }
        let symbols = symbols::read(&elf);
        let mut program = Program {
            path: path.to_owned(),
            build_id: elf
                .gnu_build_id
                .clone()
                .or_else(|| buildinfo::build_id(&elf)),
            arch: elf.arch,
            narrow: elf.narrow,
            pie: elf.pie,
            go,
            module,
            map_types: Vec::new(),
            functions: Vec::new(),
            symbols,
            pclntab,
            dwarf: OnceLock::new(),
            variables: OnceLock::new(),
            sources: Sources::default(),
            debug: None,
            elf,
        };
        if !program.symbols.symtab {
            program.symbols.globals = dwarf::globals(&program.elf).unwrap_or_default();
        }
        program.functions = program.all_functions()?;
        program.map_types = program.types().map_or_else(Vec::new, |types| types.maps());
        Ok(program)
    }

    /// Takes symbols and DWARF from a separate file; [`find::Search::debug_info`] finds it.
    pub fn add_debug_info(&mut self, path: &Path) -> Result<(), ProgramError> {
        let debug = Elf::open(path)?;
        let symbols = symbols::read(&debug);
        if symbols.symtab {
            self.symbols = symbols;
            self.functions = self.all_functions()?;
        }
        self.debug = Some(debug);
        self.dwarf = OnceLock::new();
        self.variables = OnceLock::new();
        Ok(())
    }

    /// How its maps are laid out; `None` where it is not Go, or where that is not known: of 32 bits.
    pub fn layout(&self) -> Option<&'static Layout> {
        self.go
            .as_ref()
            .filter(|_| !self.narrow)
            .and_then(layout_for)
    }

    /// Has `.debug_info`, its own or that of [`Program::add_debug_info`].
    pub fn has_dwarf(&self) -> bool {
        self.debug.iter().chain([&self.elf]).any(dwarf::present)
    }

    /// Has neither a symbol table nor DWARF (`-ldflags='-s -w'`, `strip`).
    pub fn stripped(&self) -> bool {
        !self.symbols.symtab && !self.has_dwarf()
    }

    /// Link-time ranges of executable code, by address.
    pub fn text_ranges(&self) -> Vec<Range<u64>> {
        self.ranges(true)
    }

    /// Link-time ranges of everything else that is loaded, `.bss` included, by address.
    pub fn data_ranges(&self) -> Vec<Range<u64>> {
        self.ranges(false)
    }

    fn ranges(&self, executable: bool) -> Vec<Range<u64>> {
        (self.elf.segments.iter())
            .filter(|segment| segment.executable == executable)
            .map(|segment| segment.vaddr..segment.vaddr.saturating_add(segment.memsz))
            .collect()
    }

    /// Go's functions from pclntab, named as it names them; C's and everyone else's from the
    /// symbol tables. Sorted by start.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The function whose bytes contain `vaddr`.
    pub fn function_at(&self, vaddr: u64) -> Option<&Function> {
        let after = self.functions.partition_point(|f| f.start <= vaddr);
        let function = self.functions.get(after.checked_sub(1)?)?;
        (vaddr < function.end).then_some(function)
    }

    /// Bytes of text, rodata or data as the file has them, without relocation. `None` out of range
    /// and in `.bss`, which has no bytes in the file.
    pub fn bytes(&self, vaddr: u64, len: usize) -> Option<&[u8]> {
        self.elf.bytes(vaddr, len)
    }

    /// The word at `vaddr` with relative relocations applied, as a load at base 0 would leave it.
    /// `None` out of range and in `.bss`.
    pub fn read_u64(&self, vaddr: u64) -> Option<u64> {
        self.elf.word(vaddr)
    }

    /// As [`Program::bytes`]: narrower values are never relocated.
    pub fn read_u32(&self, vaddr: u64) -> Option<u32> {
        self.elf.array(vaddr).map(u32::from_le_bytes)
    }

    pub fn read_u16(&self, vaddr: u64) -> Option<u16> {
        self.elf.array(vaddr).map(u16::from_le_bytes)
    }

    pub fn read_u8(&self, vaddr: u64) -> Option<u8> {
        self.elf.array(vaddr).map(u8::from_le_bytes)
    }

    /// Does `vaddr` lie in the loaded image: text, rodata, data or `.bss`?
    pub fn in_image(&self, vaddr: u64) -> bool {
        self.elf.in_image(vaddr)
    }

    /// Link-time address of a byte of the file. A sampled ip is at file offset
    /// `ip - mapping.start + mapping.pgoff`.
    pub fn vaddr_of_offset(&self, offset: u64) -> Option<u64> {
        self.elf.vaddr_of_offset(offset)
    }

    /// Bytes from the stack pointer, before the instruction at `vaddr` runs, to where it was when its
    /// function began; `None` for code that is not Go's.
    pub fn sp_delta_at(&self, vaddr: u64) -> Option<u64> {
        self.pclntab.as_ref()?.sp_delta(&self.elf, vaddr)
    }

    /// The inline chain of the instruction at `vaddr`, innermost first, the function that owns the
    /// bytes last. From pclntab for Go, else from DWARF, else the symbol alone. Empty where nothing
    /// is known.
    ///
    /// For a return address pass the address before it: the call, not what follows it.
    pub fn frames_at(&self, vaddr: u64) -> Vec<Frame> {
        let go = self.pclntab.as_ref();
        if let Some(frames) = go.and_then(|pclntab| pclntab.frames(&self.elf, vaddr)) {
            return frames;
        }
        let frames = self.dwarf_frames_at(vaddr);
        if !frames.is_empty() {
            return frames;
        }
        let symbol = self.function_at(vaddr).map(|function| Frame {
            function: function.name.clone(),
            file: None,
            line: None,
        });
        symbol.into_iter().collect()
    }

    /// The same from DWARF alone; empty without it.
    pub fn dwarf_frames_at(&self, vaddr: u64) -> Vec<Frame> {
        let dwarf = self.dwarf.get_or_init(|| {
            let own = || Dwarf::load(&self.elf);
            self.debug.as_ref().and_then(Dwarf::load).or_else(own)
        });
        dwarf
            .as_ref()
            .map_or_else(Vec::new, |dwarf| dwarf.frames(vaddr))
    }

    /// Where source files are looked for, besides their recorded paths.
    pub fn look_for_sources(&mut self, sources: Sources) {
        self.sources = sources;
    }

    /// Line `line` of a source file as [`Program::frames_at`] names it, where the file is at hand.
    pub fn source_line(&self, file: &str, line: u32) -> Option<String> {
        self.sources.line(file, line)
    }

    /// What the source calls what is kept there: `s.sessions`. From DWARF; `None` without it.
    pub fn name_of(&self, kept: &Kept) -> Option<String> {
        self.variables()?.name(kept)
    }

    /// Where the map that the source calls `main.cache.sessions` is kept, from a global on, and its
    /// type. From DWARF; `None` without it.
    pub fn map_named(&self, name: &str) -> Option<(Kept, &MapType)> {
        let (kept, type_name) = self.variables()?.find(name)?;
        let map_type = self.map_types.iter().find(|t| t.name == type_name)?;
        Some((kept, map_type))
    }

    /// Names of the global variables that are maps, or have fields that are. From DWARF; empty without
    /// it.
    pub fn map_variables(&self) -> Vec<String> {
        self.variables().map_or_else(Vec::new, Variables::maps)
    }

    /// The values that global variables lead to, by fields and pointers, of the types whose descriptors
    /// are `wanted`. From DWARF; empty without it.
    pub fn held_values(&self, wanted: &mut dyn FnMut(u64) -> bool) -> Vec<HeldValue> {
        match (self.variables(), &self.module) {
            (Some(variables), Some(module)) => variables.held_values(module.types.start, wanted),
            _ => Vec::new(),
        }
    }

    /// The pointers to structures that DWARF says registers hold in the function that starts at `start`.
    pub fn pointers_in_registers(&self, start: u64) -> Vec<Pointer> {
        let variables = self.variables();
        variables.map_or_else(Vec::new, |variables| variables.pointers(start))
    }

    /// The name of the field that begins at an offset of one of the runtime's structures. From DWARF;
    /// `None` without it.
    pub fn field_of(&self, structure: &str, off: u64) -> Option<String> {
        self.variables()?.field_of(structure, off)
    }

    /// The version of the DWARF that describes the function that starts at `start`.
    pub fn dwarf_version(&self, start: u64) -> Option<u16> {
        self.variables()?.version(start)
    }

    fn variables(&self) -> Option<&Variables> {
        let variables = self.variables.get_or_init(|| {
            let own = || Variables::load(&self.elf);
            self.debug.as_ref().and_then(Variables::load).or_else(own)
        });
        variables.as_ref()
    }

    /// The map type whose descriptor is at `vaddr`, in `map_types` or not. `None` unless the bytes
    /// there are consistent in every field.
    pub fn map_type_at(&self, vaddr: u64) -> Option<MapType> {
        self.types()?.map(vaddr)
    }

    /// The name of the type whose descriptor is at `vaddr`, as Go prints it.
    pub fn type_name_at(&self, vaddr: u64) -> Option<String> {
        self.types()?.name(vaddr)
    }

    /// The size in bytes of the type whose descriptor is at `vaddr`.
    pub fn type_size_at(&self, vaddr: u64) -> Option<u64> {
        self.types()?.size(vaddr)
    }

    /// Global variables by address, from the symbol tables, else from DWARF.
    pub fn globals(&self) -> &[Global] {
        &self.symbols.globals
    }

    /// The global variable that contains `vaddr`, and the offset in it.
    pub fn variable_at(&self, vaddr: u64) -> Option<(&str, u64)> {
        let globals = self.globals();
        let after = globals.partition_point(|global| global.addr <= vaddr);
        let global = globals.get(after.checked_sub(1)?)?;
        let offset = vaddr - global.addr;
        (offset < global.size.max(1)).then_some((global.name.as_str(), offset))
    }

    fn types(&self) -> Option<Types<'_>> {
        Some(Types {
            elf: &self.elf,
            module: self.module.as_ref()?,
            layout: MapLayout::of(self.go.as_ref()?),
        })
    }

    fn all_functions(&self) -> Result<Vec<Function>, ProgramError> {
        let mut functions = match &self.pclntab {
            Some(pclntab) if pclntab.text != 0 => pclntab.functions(&self.elf)?,
            _ => Vec::new(),
        };
        let go = match (functions.first(), functions.last()) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => 0..0,
        };
        // `runtime.etext` is a symbol of the linker at the end of Go's text, no function.
        let others = self.symbols.functions.iter();
        let apart = |f: &&Function| !go.contains(&f.start) && f.name != "runtime.etext";
        functions.extend(others.filter(apart).cloned());
        functions.sort_by_key(|function| function.start);
        Ok(functions)
    }
}

/// An unsigned LEB128 number of at most 10 bytes, and the bytes that it takes.
fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32)?;
        if byte < 0x80 {
            return Some((value, i + 1));
        }
    }
    None
}
