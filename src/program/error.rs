//! Why a binary could not be read.

use std::path::PathBuf;

/// Every way in which opening a binary fails.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("cannot read {}: {error}", path.display())]
    Io {
        path: PathBuf,
        error: std::io::Error,
    },

    #[error(
        "{}: byte 0: not a little-endian ELF file ({reason}): pass the Linux binary that was recorded",
        path.display()
    )]
    NotElf { path: PathBuf, reason: String },

    #[error(
        "{}: unpacks to more than {limit} bytes: unpack it with gunzip and pass the result",
        path.display()
    )]
    TooLarge { path: PathBuf, limit: u64 },

    #[error(
        "{}: {place} at byte {offset:#x}: {rule}: the file is cut or damaged, pass a whole copy",
        path.display()
    )]
    Malformed {
        path: PathBuf,
        /// The section or table.
        place: &'static str,
        /// Offset in the file.
        offset: u64,
        rule: String,
    },

    #[error(
        "{} has build id {found}, the recording has {wanted}: pass the binary that was recorded, or --force to use this one",
        path.display()
    )]
    BuildId {
        path: PathBuf,
        found: String,
        wanted: String,
    },
}
