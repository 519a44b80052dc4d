//! The memory of a process, from an ELF core file: gcore's, the kernel's, or our own snapshot.

use super::HeapError;
use memmap2::Mmap;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian as LE, elf};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Notes longer than this are not read: NT_FILE of a process with the most mappings that Linux
/// allows (65530) and paths of 100 bytes has 8 MB.
const MAX_NOTES: usize = 64 << 20;

/// What a core file holds.
#[derive(Debug)]
pub struct Memory {
    pub path: PathBuf,
    file: Mmap,
    /// By address; neighbours in memory and in the file are one.
    segments: Vec<Segment>,
    /// What the process had mapped, from `NT_FILE`; empty where the note is missing.
    pub files: Vec<MappedFile>,
    /// General registers of each thread, from `NT_PRSTATUS`.
    pub threads: Vec<Thread>,
    /// Bytes of memory that the program headers promise and the file does not have.
    pub missing: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    start: u64,
    /// Bytes in the file.
    len: u64,
    offset: u64,
}

/// A line of `NT_FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedFile {
    pub start: u64,
    pub end: u64,
    /// Offset in the file, in bytes.
    pub offset: u64,
    pub path: PathBuf,
}

/// A thread when the core was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    pub tid: u32,
    /// As `user_regs_struct` orders them.
    pub registers: Vec<u64>,
}

impl Memory {
    /// Maps a core file and reads its headers. Pages are read when they are looked at.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is no ELF core, or is of another kind of machine. A core that
    /// is cut is read as far as it goes: see `missing`.
    pub fn open(path: &Path) -> Result<Memory, HeapError> {
        let io = |error| HeapError::Io {
            path: path.to_owned(),
            error,
        };
        let opened = File::open(path).map_err(io)?;
        // SAFETY: the map is read only. A file that another process cuts meanwhile ends this
        // process with SIGBUS, as with every tool that maps its input.
        let file = unsafe { Mmap::map(&opened) }.map_err(io)?;
        let not_elf = |error: object::Error| HeapError::NotElf {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let header = elf::FileHeader64::<LE>::parse(&file[..]).map_err(not_elf)?;
        let endian = header.endian().map_err(not_elf)?;
        let kind = header.e_type(endian);
        if kind != elf::ET_CORE {
            return Err(HeapError::NotCore {
                path: path.to_owned(),
                found: kind.0,
            });
        }
        let machine = header.e_machine(endian);
        if machine != elf::EM_X86_64 && machine != elf::EM_AARCH64 {
            return Err(HeapError::Machine {
                path: path.to_owned(),
                found: machine.0,
            });
        }
        let headers =
            header
                .program_headers(endian, &file[..])
                .map_err(|error| HeapError::Malformed {
                    path: path.to_owned(),
                    offset: header.e_phoff(endian),
                    rule: format!("the program headers cannot be read ({error})"),
                })?;
        let (mut loads, mut notes) = (Vec::new(), Vec::new());
        for header in headers {
            let range = (header.p_offset(endian), header.p_filesz(endian));
            match header.p_type(endian) {
                elf::PT_LOAD => loads.push((header.p_vaddr(endian), range)),
                elf::PT_NOTE => notes.push(range),
                _ => {}
            }
        }
        let mut memory = Memory {
            path: path.to_owned(),
            segments: Vec::new(),
            files: Vec::new(),
            threads: Vec::new(),
            missing: 0,
            file,
        };
        for (start, (offset, size)) in loads {
            let kept = size.min((memory.file.len() as u64).saturating_sub(offset));
            memory.missing = memory.missing.saturating_add(size - kept);
            memory.segments.push(Segment {
                start,
                len: kept,
                offset,
            });
        }
        for (offset, len) in notes {
            memory.notes(offset, len, machine == elf::EM_X86_64);
        }
        memory.join_segments();
        Ok(memory)
    }

    fn join_segments(&mut self) {
        self.segments.retain(|s| s.len > 0);
        self.segments.sort_by_key(|s| (s.start, s.offset));
        let mut joined: Vec<Segment> = Vec::with_capacity(self.segments.len());
        for segment in self.segments.drain(..) {
            let end = segment.start.saturating_add(segment.len);
            match joined.last_mut() {
                Some(last)
                    if last.start.saturating_add(last.len) == segment.start
                        && last.offset.saturating_add(last.len) == segment.offset =>
                {
                    last.len = end - last.start;
                }
                // Overlapping segments contradict each other: the first one holds.
                Some(last) if last.start.saturating_add(last.len) > segment.start => {}
                _ => joined.push(segment),
            }
        }
        self.segments = joined;
    }

    /// Notes are 12 bytes, a name and a descriptor, each padded to 4 (`elf.h`, `Elf64_Nhdr`).
    fn notes(&mut self, offset: u64, len: u64, x86: bool) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(MAX_NOTES);
        let notes = self.file.get(start..).unwrap_or_default();
        let notes = notes.get(..len).unwrap_or(notes);
        let (mut files, mut threads) = (Vec::new(), Vec::new());
        let mut at = 0usize;
        while let (Some(name), Some(size), Some(kind)) = (
            u32_at(notes, at),
            u32_at(notes, at.saturating_add(4)),
            u32_at(notes, at.saturating_add(8)),
        ) {
            let (name, size) = (name as usize, size as usize);
            let from = at.saturating_add(12 + name.next_multiple_of(4));
            let Some(note) = notes.get(from..from.saturating_add(size)) else {
                break;
            };
            match kind {
                NT_PRSTATUS if x86 => threads.extend(prstatus(note, 27)),
                NT_PRSTATUS => threads.extend(prstatus(note, 34)),
                NT_FILE => files = mapped_files(note),
                _ => {}
            }
            at = from.saturating_add(size.next_multiple_of(4));
        }
        self.files.extend(files);
        self.threads.extend(threads);
    }

    /// The bytes at `addr`; `None` where the core does not have all of them.
    pub fn bytes(&self, addr: u64, len: u64) -> Option<&[u8]> {
        let tail = self.tail(addr)?;
        tail.get(..usize::try_from(len).ok()?)
    }

    /// Everything from `addr` to where the core's memory next has a gap.
    fn tail(&self, addr: u64) -> Option<&[u8]> {
        let after = self.segments.partition_point(|s| s.start <= addr);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        let skip = addr - segment.start;
        if skip >= segment.len {
            return None;
        }
        let start = usize::try_from(segment.offset.checked_add(skip)?).ok()?;
        let end = usize::try_from(segment.offset.checked_add(segment.len)?).ok()?;
        self.file.get(start..end)
    }

    fn array<const N: usize>(&self, addr: u64) -> Option<[u8; N]> {
        self.tail(addr)?.first_chunk().copied()
    }

    pub fn u64(&self, addr: u64) -> Option<u64> {
        self.array(addr).map(u64::from_le_bytes)
    }

    pub fn u32(&self, addr: u64) -> Option<u32> {
        self.array(addr).map(u32::from_le_bytes)
    }

    pub fn u16(&self, addr: u64) -> Option<u16> {
        self.array(addr).map(u16::from_le_bytes)
    }

    pub fn u8(&self, addr: u64) -> Option<u8> {
        self.array(addr).map(u8::from_le_bytes)
    }

    /// The aligned words of `addr..addr + len` that the core has, with their addresses.
    pub fn words(&self, addr: u64, len: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let tail = self.tail(addr).unwrap_or_default();
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(tail.len());
        tail[..len]
            .chunks_exact(8)
            .zip(0u64..)
            .map(move |(word, i)| (addr + 8 * i, word_of(word)))
    }
}

const NT_PRSTATUS: u32 = 1;
/// `linux/elf.h`.
const NT_FILE: u32 = 0x4649_4c45;

/// `struct elf_prstatus` (`linux/elfcore.h`): `pr_pid` at 32, `pr_reg` at 112.
fn prstatus(note: &[u8], registers: usize) -> Option<Thread> {
    Some(Thread {
        tid: u32_at(note, 32)?,
        registers: (0..registers)
            .map(|i| u64_at(note, 112 + 8 * i))
            .collect::<Option<_>>()?,
    })
}

/// `fs/binfmt_elf.c`, `fill_files_note`: count, page size, `count` times start, end, offset in
/// pages, then the names.
fn mapped_files(note: &[u8]) -> Vec<MappedFile> {
    let (Some(count), Some(page)) = (u64_at(note, 0), u64_at(note, 8)) else {
        return Vec::new();
    };
    let table = note.get(16..).unwrap_or_default();
    let len = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(24));
    let Some((table, names)) = len.and_then(|len| table.split_at_checked(len)) else {
        return Vec::new();
    };
    (table.chunks_exact(24).zip(names.split(|&byte| byte == 0)))
        .filter_map(|(entry, name)| {
            Some(MappedFile {
                start: u64_at(entry, 0)?,
                end: u64_at(entry, 8)?,
                offset: u64_at(entry, 16)?.checked_mul(page)?,
                path: String::from_utf8_lossy(name).into_owned().into(),
            })
        })
        .collect()
}

fn word_of(bytes: &[u8]) -> u64 {
    bytes.first_chunk().copied().map_or(0, u64::from_le_bytes)
}

/// The little-endian `u64` at `at`.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u64::from_le_bytes)
}

/// The little-endian `u32` at `at`.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}
