//! The bytes of a recording: of a file, or of the files of a folder as `perf record --threads` makes it.

use super::RecordingError;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The file with the header in a folder, and how the files begin that hold nothing but records:
/// `tools/perf/util/data.c`, `perf_data__open_dir`.
const HEADER_FILE: &str = "data";
const RECORDS_FILE: &str = "data.";

/// The files of a recording, the one with the header first. Their bytes count on from file to file.
#[derive(Debug, Default)]
pub struct Held {
    files: Vec<(String, Memory)>,
}

/// A file in memory.
#[derive(Debug)]
enum Memory {
    Owned(Vec<u8>),
    Mapped(memmap2::Mmap),
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Memory::Owned(bytes) => bytes,
            Memory::Mapped(map) => map,
        }
    }
}

/// One file's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Empty when the recording is one file.
    pub name: &'a str,
    /// The bytes in the files before it.
    pub base: u64,
    pub bytes: &'a [u8],
}

impl Held {
    /// Maps the file or the folder at `path`; `-` is read from stdin.
    pub fn read(path: &Path) -> Result<Held, RecordingError> {
        if path == Path::new("-") {
            return Ok(Held::of(read_to_end(std::io::stdin().lock())?));
        }
        if !path.is_dir() {
            let files = vec![(String::new(), map(path)?)];
            return Ok(Held { files });
        }
        let mut names = record_files(path)?;
        names.insert(0, HEADER_FILE.to_owned());
        let files = names.into_iter().map(|name| {
            let memory = map(&path.join(&name))?;
            Ok((name, memory))
        });
        Ok(Held {
            files: files.collect::<Result<_, RecordingError>>()?,
        })
    }

    /// A recording of one file of these bytes.
    pub fn of(bytes: Vec<u8>) -> Held {
        Held {
            files: vec![(String::new(), Memory::Owned(bytes))],
        }
    }

    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let mut base = 0;
        let pieces = self.files.iter().map(|(name, memory)| {
            let bytes = memory.bytes();
            let piece = Piece { name, base, bytes };
            base += bytes.len() as u64;
            piece
        });
        pieces.collect()
    }

    /// The `len` bytes from `start` on, which lie in one file.
    pub fn part(&self, start: u64, len: u64) -> Option<&[u8]> {
        let mut start = start;
        for (_, memory) in &self.files {
            let bytes = memory.bytes();
            match start.checked_sub(bytes.len() as u64) {
                Some(after) => start = after,
                None => return part(bytes, start, len),
            }
        }
        None
    }
}

/// The `len` bytes from `start` on.
pub fn part(bytes: &[u8], start: u64, len: u64) -> Option<&[u8]> {
    let start = usize::try_from(start).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)
}

/// Bytes of a mapped file that the system is asked for at a time.
const PIECE: usize = 1 << 19;
/// So far before they are needed.
const AHEAD: usize = 1 << 18;

/// Has the system map the pages of the bytes that are looked at next, where those up to `looked` were
/// looked at and those up to `next` will be: page by page, as they are touched, it takes twice as long.
pub fn bring(bytes: &[u8], looked: usize, next: usize) {
    let brought = |at: usize| at.saturating_add(AHEAD).next_multiple_of(PIECE);
    let from = if looked == 0 { 0 } else { brought(looked) };
    let to = brought(next).min(bytes.len());
    let Some(piece) = bytes.get(from..to).filter(|piece| !piece.is_empty()) else {
        return;
    };
    let within = piece.as_ptr() as usize % PAGE;
    // SAFETY: it changes nothing but which pages are mapped, and all of these have bytes of the slice.
    // Where Linux refuses, as before 5.14 or with larger pages, they are mapped as they are touched.
    unsafe {
        let start = piece.as_ptr().wrapping_sub(within).cast_mut().cast();
        libc::madvise(start, piece.len() + within, libc::MADV_POPULATE_READ);
    }
}

/// What the system maps at a time is a multiple of this.
const PAGE: usize = 1 << 12;

fn read_to_end(mut from: impl Read) -> Result<Vec<u8>, RecordingError> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(RecordingError::Read)?;
    Ok(bytes)
}

fn map(path: &Path) -> Result<Memory, RecordingError> {
    let file = File::open(path).map_err(RecordingError::Open)?;
    let metadata = file.metadata().map_err(RecordingError::Open)?;
    if !metadata.is_file() || metadata.len() == 0 {
        return read_to_end(file).map(Memory::Owned);
    }
    // SAFETY: sound as long as nobody shortens the file meanwhile; perf.data is written once, and
    // a copy of it would take as much memory again.
    let map = unsafe { memmap2::Mmap::map(&file) }.map_err(RecordingError::Read)?;
    Ok(Memory::Mapped(map))
}

/// The names of the files with records, in the order of their numbers.
fn record_files(folder: &Path) -> Result<Vec<String>, RecordingError> {
    let entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(RecordingError::Open)?;
    if !folder.join(HEADER_FILE).is_file() {
        return Err(RecordingError::NoHeaderFile);
    }
    let names = entries.iter().filter(|path| path.is_file());
    let names = names.filter_map(|path| path.file_name()?.to_str());
    let mut names: Vec<(u64, String)> = names
        .filter_map(|name| {
            let number = name.strip_prefix(RECORDS_FILE)?;
            Some((number.parse().unwrap_or(u64::MAX), name.to_owned()))
        })
        .collect();
    names.sort();
    Ok(names.into_iter().map(|(_, name)| name).collect())
}
