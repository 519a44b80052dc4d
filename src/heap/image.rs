//! Which binary a core is of, and where the process had it loaded.

use super::HeapError;
use super::memory::{Memory, u32_at};
use crate::gomap::{Layout, layout_for};
use crate::program::{Go, Module, Program};
use std::path::Path;
use std::sync::Arc;

/// A Go binary as it was loaded.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub program: Arc<Program>,
    pub module: Module,
    pub layout: &'static Layout,
    pub go: Go,
    /// Run-time address minus link-time address.
    pub bias: u64,
}

impl Image {
    /// The first of `programs` that is a Go binary and was loaded in this process.
    pub fn find(
        memory: &Memory,
        programs: &[Arc<Program>],
        force: bool,
    ) -> Result<Image, HeapError> {
        let mut failed = None;
        for program in programs {
            match Image::of(memory, program, force) {
                Ok(image) => return Ok(image),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| HeapError::NoProgram {
            path: memory.path.clone(),
        }))
    }

    fn of(memory: &Memory, program: &Arc<Program>, force: bool) -> Result<Image, HeapError> {
        let not_go = || HeapError::NotGo {
            path: program.path.clone(),
        };
        let go = program.go.clone().ok_or_else(not_go)?;
        let module = program.module.clone().ok_or_else(not_go)?;
        let layout = layout_for(&go).ok_or_else(not_go)?;
        let (file, bias) = place(memory, program);
        if let (Some((file, start)), Some(wanted)) = (file, &program.build_id)
            && let Some(found) = build_id(memory, start)
            && !has_id(memory, start, wanted)
            && !force
        {
            return Err(HeapError::BuildId {
                path: memory.path.clone(),
                file: file.to_owned(),
                binary: program.path.clone(),
                found: printed(&found),
                wanted: printed(wanted),
            });
        }
        let image = Image {
            program: Arc::clone(program),
            module,
            layout,
            go,
            bias,
        };
        image.check(memory)?;
        Ok(image)
    }

    /// Run-time address of a link-time address.
    pub fn addr(&self, vaddr: u64) -> u64 {
        vaddr.wrapping_add(self.bias)
    }

    /// Link-time address of a run-time address.
    pub fn vaddr(&self, addr: u64) -> u64 {
        addr.wrapping_sub(self.bias)
    }

    /// Every address that the linker wrote into `moduledata` must be there in the process too.
    fn check(&self, memory: &Memory) -> Result<(), HeapError> {
        let foreign = |addr, rule: &str| HeapError::Foreign {
            path: memory.path.clone(),
            binary: self.program.path.clone(),
            addr,
            rule: rule.to_owned(),
        };
        // 37 words lead up to `gofunc` in the shortest layout; what follows is written at run time.
        for i in 0..37 {
            let vaddr = self.module.addr.wrapping_add(8 * i);
            let Some(linked) = self.program.read_u64(vaddr) else {
                continue;
            };
            let addr = self.addr(vaddr);
            match memory.u64(addr) {
                None => return Err(foreign(addr, "the core does not have that memory")),
                // Lengths stay, addresses are moved by the bias.
                Some(word) if word != linked && word != self.addr(linked) => {
                    let rule = format!("word {i} is {word:#x}, the binary has {linked:#x}");
                    return Err(foreign(addr, &rule));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// The mapped file that the program is, with the address of its first byte, and the load bias.
fn place<'m>(memory: &'m Memory, program: &Program) -> (Option<(&'m Path, u64)>, u64) {
    let firsts = || memory.files.iter().filter(|file| file.offset == 0);
    let id = program.build_id.as_deref();
    let same_id = firsts().find(|file| id.is_some_and(|id| has_id(memory, file.start, id)));
    let name = program.path.file_name();
    let same_name = || firsts().find(|file| file.path.file_name() == name);
    // The kernel and gcore list the executable itself first, unless it is loaded above its libraries.
    let found = same_id.or_else(same_name).or_else(|| {
        firsts().find(|file| !program.pie || !file.path.to_string_lossy().contains(".so"))
    });
    let Some(file) = found else {
        return (None, 0);
    };
    let vaddr = program.vaddr_of_offset(0).unwrap_or(file.start);
    let bias = if program.pie {
        file.start.wrapping_sub(vaddr)
    } else {
        0
    };
    (Some((&file.path, file.start)), bias)
}

/// `NT_GNU_BUILD_ID` and Go's own (`cmd/internal/buildid`): notes of type 3 and 4.
const IDS: [(&[u8], u32); 2] = [(b"GNU\0", 3), (b"Go\0\0", 4)];

/// The build id in the notes of the ELF file that is loaded at `start`; `None` where the core does
/// not have that page.
fn build_id(memory: &Memory, start: u64) -> Option<Vec<u8>> {
    let header = memory.bytes(start, 64)?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = memory.u64(start.checked_add(32)?)?;
    let count = memory.u16(start.checked_add(56)?)?;
    let mut found = [None, None];
    for i in 0..u64::from(count) {
        let entry = start.checked_add(table)?.checked_add(i * 56)?;
        // PT_NOTE
        if memory.u32(entry)? != 4 {
            continue;
        }
        let at = start.checked_add(memory.u64(entry.checked_add(8)?)?)?;
        let notes = memory.bytes(at, memory.u64(entry.checked_add(32)?)?.min(4096))?;
        let mut at = 0;
        while let (Some(name), Some(size), Some(kind)) = (
            u32_at(notes, at),
            u32_at(notes, at + 4),
            u32_at(notes, at + 8),
        ) {
            let name_end = at + 12 + (name.min(4096) as usize).next_multiple_of(4);
            let end = name_end + size.min(4096) as usize;
            let name = notes.get(at + 12..name_end).unwrap_or_default();
            for (known, id) in IDS.iter().zip(&mut found) {
                if (name, kind) == *known {
                    *id = notes.get(name_end..end).map(<[u8]>::to_vec);
                }
            }
            at = end.next_multiple_of(4);
        }
    }
    let [gnu, go] = found;
    gnu.or(go)
}

/// Is `id` in the first page of the ELF file that is loaded at `start`? Go's linker puts its notes
/// there, but up to 1.23 only its own note has a program header.
fn has_id(memory: &Memory, start: u64, id: &[u8]) -> bool {
    let page = memory.bytes(start, 4096).unwrap_or_default();
    !id.is_empty() && page.windows(id.len()).any(|window| window == id)
}

/// Go's build id is text, GNU's is a hash.
fn printed(id: &[u8]) -> String {
    match std::str::from_utf8(id) {
        Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => text.to_owned(),
        _ => id.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
