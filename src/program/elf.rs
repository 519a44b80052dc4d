//! The file and its address space: segments, sections, relocations. Nothing of Go.

use super::{Arch, ProgramError};
use memmap2::Mmap;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{ElfFile, FileHeader, ProgramHeader, SectionHeader};
use object::{LittleEndian, Object};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The most that a gzipped binary may unpack to.
const MAX_UNPACKED: u64 = 512 << 20;

/// `R_X86_64_RELATIVE` and `R_AARCH64_RELATIVE` (ELF psABIs): the word is load base + addend.
const RELATIVE: [(Arch, u64); 2] = [(Arch::X86_64, 8), (Arch::Aarch64, 1027)];

/// An ELF file in memory and what is needed to read it by address.
#[derive(Debug)]
pub(super) struct Elf {
    pub path: PathBuf,
    contents: Contents,
    pub arch: Arch,
    /// `ELFCLASS32`.
    pub narrow: bool,
    /// `ET_DYN`: loaded at an address of the kernel's choice.
    pub pie: bool,
    /// `PT_LOAD`, by address.
    pub segments: Vec<Segment>,
    pub sections: Vec<Section>,
    /// `(address, value)` of every relative relocation, by address.
    relative: Vec<(u64, u64)>,
    pub gnu_build_id: Option<Vec<u8>>,
    /// File name and CRC-32 in `.gnu_debuglink`.
    pub debuglink: Option<(String, u32)>,
}

#[derive(Debug)]
enum Contents {
    Mapped(Mmap),
    Unpacked(Vec<u8>),
}

/// A loadable segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub vaddr: u64,
    pub offset: u64,
    pub filesz: u64,
    pub memsz: u64,
    pub executable: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub name: String,
    pub addr: u64,
    pub offset: u64,
    pub size: u64,
    /// In the file at all (not `.bss`).
    pub in_file: bool,
    /// `SHF_ALLOC`: part of the running image.
    pub alloc: bool,
}

/// Byte of the file that tells 32 bits from 64: `EI_CLASS`.
const CLASS: usize = 4;

/// What the headers say, of 32 bits or 64.
struct Parts {
    arch: Arch,
    pie: bool,
    segments: Vec<Segment>,
    sections: Vec<Section>,
    /// Address of `PT_DYNAMIC`.
    dynamic: Option<u64>,
    gnu_build_id: Option<Vec<u8>>,
    debuglink: Option<(String, u32)>,
}

impl Parts {
    fn of<E: FileHeader<Endian = LittleEndian>>(data: &[u8]) -> object::Result<Parts> {
        let file = ElfFile::<E>::parse(data)?;
        let header = file.elf_header();
        let machine = header.e_machine(LittleEndian);
        let arch = if machine == elf::EM_X86_64 {
            Arch::X86_64
        } else if machine == elf::EM_AARCH64 {
            Arch::Aarch64
        } else if machine == elf::EM_386 {
            Arch::X86
        } else {
            Arch::Other
        };
        let mut segments = Vec::new();
        let mut dynamic = None;
        for header in file.elf_program_headers() {
            let kind = header.p_type(LittleEndian);
            if kind == elf::PT_LOAD {
                segments.push(Segment {
                    vaddr: header.p_vaddr(LittleEndian).into(),
                    offset: header.p_offset(LittleEndian).into(),
                    filesz: header.p_filesz(LittleEndian).into(),
                    memsz: header.p_memsz(LittleEndian).into(),
                    executable: header.p_flags(LittleEndian).0 & 1 != 0,
                });
            } else if kind == elf::PT_DYNAMIC {
                dynamic = Some(header.p_vaddr(LittleEndian).into());
            }
        }
        let table = file.elf_section_table();
        let mut sections = Vec::with_capacity(table.len());
        for header in table.iter() {
            let name = table.section_name(LittleEndian, header)?;
            sections.push(Section {
                name: String::from_utf8_lossy(name).into_owned(),
                addr: header.sh_addr(LittleEndian).into(),
                offset: header.sh_offset(LittleEndian).into(),
                size: header.sh_size(LittleEndian).into(),
                in_file: header.sh_type(LittleEndian) != elf::SHT_NOBITS,
                alloc: header.sh_flags(LittleEndian).0 & 2 != 0,
            });
        }
        Ok(Parts {
            arch,
            pie: header.e_type(LittleEndian) == elf::ET_DYN,
            segments,
            sections,
            dynamic,
            gnu_build_id: file.build_id().ok().flatten().map(<[u8]>::to_vec),
            debuglink: (file.gnu_debuglink().ok().flatten())
                .map(|(name, crc)| (String::from_utf8_lossy(name).into_owned(), crc)),
        })
    }
}

impl Elf {
    pub fn open(path: &Path) -> Result<Elf, ProgramError> {
        let contents = contents(path)?;
        let data: &[u8] = contents.bytes();
        let narrow = data.get(CLASS) == Some(&elf::ELFCLASS32.0);
        let parts = match narrow {
            true => Parts::of::<FileHeader32<LittleEndian>>(data),
            false => Parts::of::<FileHeader64<LittleEndian>>(data),
        };
        let Parts {
            arch,
            pie,
            mut segments,
            sections,
            dynamic,
            gnu_build_id,
            debuglink,
        } = parts.map_err(|error| ProgramError::NotElf {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        segments.sort_by_key(|segment| segment.vaddr);
        let mut elf = Elf {
            path: path.to_owned(),
            arch,
            narrow,
            pie,
            segments,
            sections,
            relative: Vec::new(),
            gnu_build_id,
            debuglink,
            contents,
        };
        elf.relative = dynamic.map_or_else(Vec::new, |at| elf.relocations(at));
        Ok(elf)
    }

    /// The whole file.
    pub fn data(&self) -> &[u8] {
        self.contents.bytes()
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// A section's bytes as they are in the file.
    pub fn section_data(&self, section: &Section) -> Option<&[u8]> {
        if !section.in_file {
            return None;
        }
        let start = usize::try_from(section.offset).ok()?;
        let end = start.checked_add(usize::try_from(section.size).ok()?)?;
        self.data().get(start..end)
    }

    fn segment(&self, vaddr: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|s| s.vaddr <= vaddr);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        (vaddr - segment.vaddr < segment.memsz).then_some(segment)
    }

    /// Does `vaddr` lie in the loaded image, `.bss` included?
    pub fn in_image(&self, vaddr: u64) -> bool {
        self.segment(vaddr).is_some()
    }

    /// Where the file-backed bytes from `vaddr` to the end of its segment are in the file.
    pub fn file_range(&self, vaddr: u64) -> Option<Range<usize>> {
        let segment = self.segment(vaddr)?;
        let skip = vaddr - segment.vaddr;
        if skip >= segment.filesz {
            return None;
        }
        let start = usize::try_from(segment.offset.checked_add(skip)?).ok()?;
        let end = segment.offset.checked_add(segment.filesz)?;
        let end = usize::try_from(end).ok()?.min(self.data().len());
        (start < end).then_some(start..end)
    }

    /// Bytes from `vaddr` to the end of its segment, unrelocated.
    pub fn tail(&self, vaddr: u64) -> Option<&[u8]> {
        self.data().get(self.file_range(vaddr)?)
    }

    /// Unrelocated bytes; `None` outside of the file-backed image, so in `.bss` too.
    pub fn bytes(&self, vaddr: u64, len: usize) -> Option<&[u8]> {
        self.tail(vaddr)?.get(..len)
    }

    pub fn array<const N: usize>(&self, vaddr: u64) -> Option<[u8; N]> {
        self.bytes(vaddr, N)?.try_into().ok()
    }

    /// The word as the loader leaves it at load base 0.
    pub fn word(&self, vaddr: u64) -> Option<u64> {
        match self.relative.binary_search_by_key(&vaddr, |entry| entry.0) {
            Ok(i) => self.relative.get(i).map(|entry| entry.1),
            Err(_) => self.array(vaddr).map(u64::from_le_bytes),
        }
    }

    /// Addresses of the aligned words that hold `value` after relocation.
    pub fn words_equal(&self, value: u64) -> Vec<u64> {
        let mut found: Vec<u64> = (self.relative.iter())
            .filter(|entry| entry.1 == value)
            .map(|entry| entry.0)
            .collect();
        let pattern = value.to_le_bytes();
        for segment in &self.segments {
            let Some(data) = self.tail(segment.vaddr) else {
                continue;
            };
            let skip = segment.vaddr.wrapping_neg() & 7;
            let words = data.get(skip as usize..).unwrap_or_default();
            found.extend(
                (words.chunks_exact(8).zip(0u64..))
                    .filter(|(word, _)| *word == pattern)
                    .filter_map(|(_, i)| segment.vaddr.checked_add(skip + i * 8)),
            );
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Link-time address of a byte of the file that is loaded.
    pub fn vaddr_of_offset(&self, offset: u64) -> Option<u64> {
        (self.segments.iter())
            .find(|s| offset.checked_sub(s.offset).is_some_and(|d| d < s.filesz))
            .and_then(|s| s.vaddr.checked_add(offset - s.offset))
    }

    pub fn malformed(&self, place: &'static str, vaddr: u64, rule: &str) -> ProgramError {
        ProgramError::Malformed {
            path: self.path.clone(),
            place,
            offset: self.file_range(vaddr).map_or(0, |range| range.start as u64),
            rule: rule.to_owned(),
        }
    }

    /// The relative relocations of `DT_RELA`. Packed ones (`DT_RELR`) keep their value in the word
    /// itself and need nothing.
    fn relocations(&self, dynamic: u64) -> Vec<(u64, u64)> {
        let (mut table, mut size) = (0, 0);
        let entries = self.tail(dynamic).unwrap_or_default().chunks_exact(16);
        for entry in entries {
            match (le_u64(entry, 0), le_u64(entry, 8)) {
                (Some(0), _) => break,
                (Some(7), Some(value)) => table = value,
                (Some(8), Some(value)) => size = value,
                _ => {}
            }
        }
        let Some(&(_, relative)) = RELATIVE.iter().find(|entry| entry.0 == self.arch) else {
            return Vec::new();
        };
        let rela = self.tail(table).unwrap_or_default();
        let rela = rela.get(..size as usize).unwrap_or(rela);
        let mut values: Vec<(u64, u64)> = (rela.chunks_exact(24))
            .filter(|entry| le_u64(entry, 8).map(|info| info & 0xffff_ffff) == Some(relative))
            .filter_map(|entry| Some((le_u64(entry, 0)?, le_u64(entry, 16)?)))
            .collect();
        values.sort_by_key(|entry| entry.0);
        values
    }
}

impl Contents {
    fn bytes(&self) -> &[u8] {
        match self {
            Contents::Mapped(map) => map,
            Contents::Unpacked(bytes) => bytes,
        }
    }
}

fn contents(path: &Path) -> Result<Contents, ProgramError> {
    let io = |error| ProgramError::Io {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(io)?;
    // SAFETY: the map is read only. A file that another process cuts meanwhile ends this process
    // with SIGBUS, as with every tool that maps its input.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    if !map.starts_with(&[0x1f, 0x8b]) {
        return Ok(Contents::Mapped(map));
    }
    let mut bytes = Vec::new();
    let mut unpacked = flate2::read::MultiGzDecoder::new(&map[..]).take(MAX_UNPACKED + 1);
    unpacked.read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_UNPACKED {
        return Err(ProgramError::TooLarge {
            path: path.to_owned(),
            limit: MAX_UNPACKED,
        });
    }
    Ok(Contents::Unpacked(bytes))
}

/// The little-endian `u64` at `at`.
pub(super) fn le_u64(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at.checked_add(8)?)?;
    word.try_into().ok().map(u64::from_le_bytes)
}

/// The little-endian `u32` at `at`.
pub(super) fn le_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    word.try_into().ok().map(u32::from_le_bytes)
}
