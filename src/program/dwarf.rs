//! DWARF 4 and 5, compressed or not: inline chains and global variables. For Go a second opinion on
//! pclntab; for other languages the first.

use super::elf::Elf;
use super::{Frame, Global};
use addr2line::Context;
use gimli::{EndianArcSlice, LittleEndian, Reader as _, SectionId};
use object::read::elf::{ElfFile32, ElfFile64};
use object::{Object, ObjectSection};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) type Reader = EndianArcSlice<LittleEndian>;

/// The most that one debug section may unpack to.
const MAX_SECTION: u64 = 4 << 30;
/// zlib's highest ratio is 1032 (`zlib_tech.html`); zstd's sections are held to the same.
const MAX_RATIO: u64 = 1032;

/// The debug sections of one file, unpacked.
pub(super) struct Dwarf {
    // A Context fills its caches behind shared references and is not Sync.
    context: Mutex<Context<Reader>>,
}

impl std::fmt::Debug for Dwarf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dwarf")
    }
}

/// Does the file have `.debug_info`?
pub(super) fn present(elf: &Elf) -> bool {
    (elf.sections.iter()).any(|s| s.in_file && matches!(&*s.name, ".debug_info" | ".zdebug_info"))
}

impl Dwarf {
    /// `None` without debug sections and when they cannot be read.
    pub fn load(elf: &Elf) -> Option<Dwarf> {
        if !present(elf) {
            return None;
        }
        Some(Dwarf {
            context: Mutex::new(Context::from_dwarf(sections(elf)?).ok()?),
        })
    }

    /// The inline chain at `vaddr`, innermost first; empty where DWARF has nothing.
    pub fn frames(&self, vaddr: u64) -> Vec<Frame> {
        let context = self.context.lock().unwrap_or_else(PoisonError::into_inner);
        let mut frames = Vec::new();
        let Ok(mut found) = context.find_frames(vaddr).skip_all_loads() else {
            return frames;
        };
        while let Ok(Some(frame)) = found.next() {
            let name = frame.function.as_ref();
            let name = name.and_then(|name| Some(name.demangle().ok()?.into_owned()));
            frames.push(Frame {
                function: name.unwrap_or_default(),
                file: (frame.location.as_ref()).and_then(|at| Some(file(at.file?))),
                line: frame.location.as_ref().and_then(|at| at.line),
            });
        }
        frames
    }
}

/// Go's `-trimpath` leaves `.` as the directory of every unit, pclntab has the name without it.
fn file(path: &str) -> String {
    path.strip_prefix("./").unwrap_or(path).to_owned()
}

pub(super) fn sections(elf: &Elf) -> Option<gimli::Dwarf<Reader>> {
    match elf.narrow {
        true => sections_of(ElfFile32::<object::LittleEndian>::parse(elf.data()).ok()?),
        false => sections_of(ElfFile64::<object::LittleEndian>::parse(elf.data()).ok()?),
    }
}

fn sections_of<'a>(file: impl Object<'a>) -> Option<gimli::Dwarf<Reader>> {
    gimli::Dwarf::load(|id: SectionId| {
        let data = file.section_by_name(id.name()).and_then(|section| {
            let packed = section.compressed_data().ok()?;
            let limit = (packed.data.len() as u64)
                .saturating_mul(MAX_RATIO)
                .min(MAX_SECTION);
            let sane = packed.uncompressed_size <= limit;
            sane.then(|| packed.decompress().ok())?
        });
        let data: Arc<[u8]> = Arc::from(data.unwrap_or_default());
        Ok::<_, gimli::Error>(EndianArcSlice::new(data, LittleEndian))
    })
    .ok()
}

/// Variables at fixed addresses of every unit's top level, by address. Their sizes are not read: 0.
pub(super) fn globals(elf: &Elf) -> Option<Vec<Global>> {
    let dwarf = sections(elf)?;
    let mut globals = Vec::new();
    let mut headers = dwarf.units();
    while let Ok(Some(header)) = headers.next() {
        let Ok(unit) = dwarf.unit(header) else {
            continue;
        };
        let unit = unit.unit_ref(&dwarf);
        let Ok(mut tree) = unit.entries_tree(None) else {
            continue;
        };
        let Ok(root) = tree.root() else { continue };
        let mut children = root.children();
        while let Ok(Some(child)) = children.next() {
            let entry = child.entry();
            if entry.tag() != gimli::DW_TAG_variable {
                continue;
            }
            let name = entry.attr_value(gimli::DW_AT_name);
            let name = name.and_then(|value| unit.attr_string(value).ok());
            let place = entry.attr_value(gimli::DW_AT_location);
            let place = place.and_then(|value| value.exprloc_value());
            let addr = place.and_then(|place| {
                let mut code = place.operations(unit.encoding());
                match code.next() {
                    Ok(Some(gimli::Operation::Address { address })) => Some(address),
                    Ok(Some(gimli::Operation::AddressIndex { index })) => unit.address(index).ok(),
                    _ => None,
                }
            });
            if let (Some(name), Some(addr)) = (name, addr) {
                let name = name.to_string_lossy().map(|name| name.into_owned());
                globals.extend(name.ok().map(|name| Global {
                    name,
                    addr,
                    size: 0,
                }));
            }
        }
    }
    globals.sort_by_key(|global| global.addr);
    Some(globals)
}
