//! `.symtab` and `.dynsym`: functions and global variables.

use super::elf::Elf;
use super::{Function, Global};
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{ElfFile, FileHeader, Sym};
use object::{LittleEndian, Object, ObjectSymbol};
use rustc_hash::FxHashMap;

/// What the symbol tables name, each sorted by address.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    pub functions: Vec<Function>,
    pub globals: Vec<Global>,
    /// `.symtab` exists (`.dynsym` survives stripping).
    pub symtab: bool,
}

/// Empty when there are no tables or they are damaged: names are then missing, nothing is wrong.
pub(super) fn read(elf: &Elf) -> Symbols {
    let symbols = match elf.narrow {
        true => read_as::<FileHeader32<LittleEndian>>(elf),
        false => read_as::<FileHeader64<LittleEndian>>(elf),
    };
    symbols.unwrap_or_default()
}

fn read_as<E: FileHeader<Endian = LittleEndian>>(elf: &Elf) -> Option<Symbols> {
    let file = ElfFile::<E>::parse(elf.data()).ok()?;
    let mut functions: FxHashMap<u64, (u64, String)> = FxHashMap::default();
    let mut globals: FxHashMap<u64, (u64, String)> = FxHashMap::default();
    for symbol in file.symbols().chain(file.dynamic_symbols()) {
        let raw = symbol.elf_symbol();
        if !elf.in_image(symbol.address()) || raw.is_undefined(LittleEndian) {
            continue;
        }
        let kind = raw.st_type();
        let into = if kind == elf::STT_FUNC {
            &mut functions
        } else if kind == elf::STT_OBJECT {
            &mut globals
        } else {
            continue;
        };
        let Ok(name) = symbol.name() else { continue };
        let entry = into.entry(symbol.address()).or_default();
        // Of several names at one address the larger symbol's is kept, then the first.
        if entry.1.is_empty() || entry.0 < symbol.size() {
            *entry = (symbol.size(), name.to_owned());
        }
    }
    Some(Symbols {
        functions: with_ends(functions, elf),
        globals: sorted(globals)
            .map(|(addr, size, name)| Global { name, addr, size })
            .collect(),
        symtab: file.elf_symbol_table().len() > 1,
    })
}

fn sorted(symbols: FxHashMap<u64, (u64, String)>) -> impl Iterator<Item = (u64, u64, String)> {
    let mut list: Vec<_> = symbols.into_iter().collect();
    list.sort_unstable_by_key(|entry| entry.0);
    list.into_iter()
        .map(|(addr, (size, name))| (addr, size, name))
}

/// A symbol without a size (assembly) reaches to the next one or to the end of its section.
fn with_ends(symbols: FxHashMap<u64, (u64, String)>, elf: &Elf) -> Vec<Function> {
    let mut functions: Vec<Function> = sorted(symbols)
        .map(|(start, size, name)| Function {
            name: addr2line::demangle_auto(name.into(), None).into_owned(),
            start,
            end: start.saturating_add(size),
        })
        .collect();
    let mut next = u64::MAX;
    for function in functions.iter_mut().rev() {
        if function.end == function.start {
            let section_end = (elf.sections.iter())
                .filter(|s| s.alloc && s.addr <= function.start)
                .map(|s| s.addr.saturating_add(s.size))
                .find(|&end| function.start < end);
            function.end = next.min(section_end.unwrap_or(function.start));
        }
        next = function.start;
    }
    functions
}
