//! A core file of a running process, without ending it: every thread is stopped with ptrace, what a
//! map can lie in is copied from `/proc/PID/mem`, and the threads run on. Zero pages are holes.
//!
//! If this process dies meanwhile, the kernel detaches and lets the threads run.

use super::HeapError;
use super::memory::MappedFile;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

const PAGE: u64 = 4096;
/// Bytes that are copied at a time.
const BLOCK: u64 = 1 << 20;

/// What taking a snapshot cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    pub threads: usize,
    /// Bytes of memory in the file, holes not counted.
    pub bytes: u64,
    /// How long the process stood still.
    pub paused: Duration,
}

/// Writes a core file of process `pid` to `output`.
///
/// # Errors
///
/// When the process is not there or must not be traced, or the file cannot be written.
pub fn take(pid: i32, output: &Path) -> Result<Snapshot, HeapError> {
    let process = |what| move |error| HeapError::Process { pid, what, error };
    let io = |error| HeapError::Io {
        path: output.to_owned(),
        error,
    };
    let executable = std::fs::read(format!("/proc/{pid}/exe")).map_err(process("reading exe"))?;
    let machine = executable
        .get(18..20)
        .and_then(|m| m.first_chunk().copied());
    let memory = File::open(format!("/proc/{pid}/mem")).map_err(process("opening mem"))?;
    let mut file = File::create(output).map_err(io)?;
    let begin = Instant::now();
    let stopped = Stopped::all(pid).map_err(process("stopping its threads with ptrace"))?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"));
    let mappings = mappings(&maps.map_err(process("reading maps"))?);
    let mut notes = Vec::new();
    for (&tid, registers) in &stopped.threads {
        note(&mut notes, 1, &prstatus(tid, registers));
    }
    note(&mut notes, 0x4649_4c45, &nt_file(&mappings));
    let segments: Vec<&Mapping> = mappings.iter().filter(|m| m.kept() > 0).collect();
    let mut at = head(
        &mut file,
        machine.map_or(62, u16::from_le_bytes),
        &segments,
        &notes,
    )
    .map_err(io)?;
    let mut bytes = 0;
    for segment in segments {
        bytes += copy(&memory, segment, &mut file, at).map_err(io)?;
        at += segment.kept();
    }
    file.set_len(at).map_err(io)?;
    let threads = stopped.threads.len();
    drop(stopped);
    Ok(Snapshot {
        threads,
        bytes,
        paused: begin.elapsed(),
    })
}

/// Threads that stand still until this is dropped, with their general registers.
struct Stopped {
    threads: BTreeMap<i32, Vec<u8>>,
}

impl Stopped {
    fn all(pid: i32) -> io::Result<Stopped> {
        let mut stopped = Stopped {
            threads: BTreeMap::new(),
        };
        // A running thread may start another one: until a pass finds none that runs.
        loop {
            let before = stopped.threads.len();
            for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
                let tid = entry?.file_name().to_string_lossy().parse::<i32>();
                let Ok(tid) = tid else { continue };
                if !stopped.threads.contains_key(&tid) {
                    stopped.stop(tid)?;
                }
            }
            if stopped.threads.len() == before {
                return Ok(stopped);
            }
        }
    }

    fn stop(&mut self, tid: i32) -> io::Result<()> {
        match ptrace(libc::PTRACE_SEIZE, tid, 0, std::ptr::null_mut()) {
            // The thread has ended since it was listed.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(()),
            other => other?,
        }
        self.threads.insert(tid, Vec::new());
        ptrace(libc::PTRACE_INTERRUPT, tid, 0, std::ptr::null_mut())?;
        let mut status = 0;
        // SAFETY: `status` lives for the call.
        if unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut registers = vec![0u8; 34 * 8];
        let mut vector = libc::iovec {
            iov_base: registers.as_mut_ptr().cast(),
            iov_len: registers.len(),
        };
        // NT_PRSTATUS is register set 1.
        ptrace(libc::PTRACE_GETREGSET, tid, 1, (&raw mut vector).cast())?;
        registers.truncate(vector.iov_len);
        self.threads.insert(tid, registers);
        Ok(())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for &tid in self.threads.keys() {
            // A thread that was killed meanwhile needs no detaching.
            let _ = ptrace(libc::PTRACE_DETACH, tid, 0, std::ptr::null_mut());
        }
    }
}

fn ptrace(request: libc::c_uint, tid: i32, addr: usize, data: *mut libc::c_void) -> io::Result<()> {
    // SAFETY: of the requests made here only GETREGSET writes, into the buffer of `data`, whose
    // length it is told.
    let result = unsafe { libc::ptrace(request, tid, addr, data) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// A line of `/proc/PID/maps`.
struct Mapping {
    file: MappedFile,
    writable: bool,
    readable: bool,
}

impl Mapping {
    /// Bytes that go into the file: all that the program can have written, and the first page of
    /// files, which has their build ids.
    fn kept(&self) -> u64 {
        let path = self.file.path.to_string_lossy();
        let device = path.starts_with("/dev/") || path.starts_with("[v");
        let len = self.file.end.saturating_sub(self.file.start);
        if !self.readable || device {
            0
        } else if self.writable {
            len
        } else if self.file.offset == 0 && path.starts_with('/') {
            len.min(PAGE)
        } else {
            0
        }
    }
}

fn mappings(text: &str) -> Vec<Mapping> {
    let line = |line: &str| {
        let mut words = line.splitn(6, ' ');
        let (start, end) = words.next()?.split_once('-')?;
        let rights = words.next()?;
        let offset = words.next()?;
        let path = words.nth(2).unwrap_or_default().trim();
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Mapping {
            file: MappedFile {
                start: hex(start)?,
                end: hex(end)?,
                offset: hex(offset)?,
                path: path.into(),
            },
            readable: rights.starts_with('r'),
            writable: rights.get(1..2) == Some("w"),
        })
    };
    text.lines().filter_map(line).collect()
}

/// `Elf64_Nhdr`, name and descriptor.
fn note(notes: &mut Vec<u8>, kind: u32, descriptor: &[u8]) {
    for word in [5, descriptor.len() as u32, kind] {
        notes.extend(word.to_le_bytes());
    }
    notes.extend(b"CORE\0\0\0\0");
    notes.extend(descriptor);
    notes.resize(notes.len().next_multiple_of(4), 0);
}

/// `struct elf_prstatus`: `pr_pid` at 32, `pr_reg` at 112, then `pr_fpvalid`.
fn prstatus(tid: i32, registers: &[u8]) -> Vec<u8> {
    let mut status = vec![0; 112];
    status.splice(32..36, tid.to_le_bytes());
    status.extend(registers);
    status.extend([0; 8]);
    status
}

fn nt_file(mappings: &[Mapping]) -> Vec<u8> {
    let files: Vec<&MappedFile> = (mappings.iter().map(|m| &m.file))
        .filter(|file| file.path.starts_with("/"))
        .collect();
    let mut note = Vec::new();
    let numbers = files.iter().flat_map(|f| [f.start, f.end, f.offset / PAGE]);
    for word in [files.len() as u64, PAGE].into_iter().chain(numbers) {
        note.extend(word.to_le_bytes());
    }
    for file in files {
        note.extend(file.path.as_os_str().as_encoded_bytes());
        note.push(0);
    }
    note
}

/// ELF header, program headers and notes; the offset of the first segment.
fn head(file: &mut File, machine: u16, segments: &[&Mapping], notes: &[u8]) -> io::Result<u64> {
    let count = segments.len() + 1;
    let too_many = || io::Error::other("more than 65534 mappings");
    let number = u16::try_from(count).ok().filter(|&n| n < 0xffff);
    let number = number.ok_or_else(too_many)?;
    let notes_at = 64 + 56 * count as u64;
    let mut at = (notes_at + notes.len() as u64).next_multiple_of(PAGE);
    let first = at;
    let mut head = b"\x7fELF\x02\x01\x01".to_vec();
    head.resize(16, 0);
    for half in [4, machine] {
        head.extend(half.to_le_bytes());
    }
    head.extend(1u32.to_le_bytes());
    for word in [0u64, 64, 0] {
        head.extend(word.to_le_bytes());
    }
    head.extend(0u32.to_le_bytes());
    for half in [64, 56, number, 0, 0, 0] {
        head.extend(half.to_le_bytes());
    }
    let mut header = |kind: u32, flags: u32, offset: u64, addr: u64, len: u64, align: u64| {
        head.extend(kind.to_le_bytes());
        head.extend(flags.to_le_bytes());
        for word in [offset, addr, 0, len, len, align] {
            head.extend(word.to_le_bytes());
        }
    };
    header(4, 4, notes_at, 0, notes.len() as u64, 4);
    for segment in segments {
        let flags = if segment.writable { 6 } else { 4 };
        header(1, flags, at, segment.file.start, segment.kept(), PAGE);
        at += segment.kept();
    }
    file.write_all(&head)?;
    file.write_all(notes)?;
    Ok(first)
}

/// Copies a mapping to `at` and leaves holes for zero pages; how many bytes were written. Pages
/// that the kernel does not give (`MADV_GUARD`, a file cut short) stay holes.
fn copy(memory: &File, segment: &Mapping, file: &mut File, at: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK as usize];
    let mut written = 0;
    let mut done = 0;
    while done < segment.kept() {
        let len = BLOCK.min(segment.kept() - done);
        let block = &mut block[..len as usize];
        let got = memory
            .read_at(block, segment.file.start + done)
            .unwrap_or(0);
        if got == 0 {
            done += PAGE;
            continue;
        }
        for (page, i) in block[..got].chunks(PAGE as usize).zip(0u64..) {
            if page.iter().any(|&byte| byte != 0) {
                file.seek(SeekFrom::Start(at + done + i * PAGE))?;
                file.write_all(page)?;
                written += page.len() as u64;
            }
        }
        done += got as u64;
    }
    Ok(written)
}
