//! The binaries of a recording: which file each image was found in, or why not.

use crate::attribute::Attribution;
use crate::program::Program;
use crate::recording::Recording;
use crate::tables;
use std::path::PathBuf;
use std::sync::Arc;

/// Where to look for binaries, and what to accept.
#[derive(Debug, Clone, Default)]
pub struct Search {
    pub files: Vec<PathBuf>,
    pub dirs: Vec<PathBuf>,
    /// Accept a binary although its build id differs.
    pub force: bool,
}

/// The binaries of a recording, by image.
#[derive(Debug)]
pub struct Binaries {
    /// As the index of `AddressSpace::images`.
    pub programs: Vec<Option<Arc<Program>>>,
}

/// Finds the binary of every image that has samples.
pub fn open(recording: &Recording, _search: &Search) -> anyhow::Result<Binaries> {
    Ok(Binaries {
        programs: vec![None; recording.space.images.len()],
    })
}

impl Binaries {
    pub fn facts(&self, _recording: &Recording, _attribution: &Attribution) -> Vec<tables::Binary> {
        Vec::new()
    }
}
