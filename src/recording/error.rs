//! Why a perf.data cannot be read at all. What can be read with losses is a `Damage` instead.

use thiserror::Error;

/// A file that is no perf.data, or of which not even the header is there.
#[derive(Debug, Error)]
pub enum RecordingError {
    #[error("could not open it")]
    Open(#[source] std::io::Error),
    #[error("could not read it")]
    Read(#[source] std::io::Error),
    #[error(
        "a folder without a file `data`, which every recording has that is a folder; name the perf.data itself"
    )]
    NoHeaderFile,
    #[error("the file is empty: perf wrote no recording")]
    Empty,
    #[error(
        "not a perf.data file: it begins with the bytes {0:02x?}, not with PERFILE2; record one with `perf mem record`"
    )]
    NotPerfData(Vec<u8>),
    #[error("the file ends at byte {len}, inside its header of {header} bytes")]
    CutHeader { len: u64, header: u64 },
    #[error(
        "the header at byte 8 says it is {size} bytes long, which no version of perf writes (16, 72 or 104)"
    )]
    HeaderSize { size: u64 },
}
