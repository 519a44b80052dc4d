//! Which file is mapped where, for each process, over time.

use serde::{Deserialize, Serialize};

/// Index into [`AddressSpace::images`].
pub type ImageId = u32;

/// A mapped file, as the recording names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Image {
    /// As recorded: a path, `[vdso]`, `[kernel.kallsyms]_text`, `//anon`, `[heap]`, ...
    pub path: String,
    pub build_id: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// -1 for the kernel's.
    pub pid: i32,
    pub start: u64,
    /// Exclusive.
    pub end: u64,
    pub pgoff: u64,
    pub image: ImageId,
    /// Valid from this time on, until a later mapping of the same process covers it.
    pub time: u64,
    pub executable: bool,
}

/// All mappings of all processes, with fork and exec followed.
#[derive(Debug, Default)]
pub struct AddressSpace {
    pub images: Vec<Image>,
    /// Sorted by pid, then start, then time.
    pub mappings: Vec<Mapping>,
    /// `(tid, time, name)`, sorted by tid, then time.
    pub comms: Vec<(i32, u64, String)>,
}
