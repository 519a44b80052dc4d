//! The recording that a command works on, refused when there is nothing in it to work on.

use crate::program::Sources;
use crate::program::find::Search;
use crate::recording::{self, Recording};
use anyhow::{Context, bail};
use std::path::PathBuf;

#[derive(Debug)]
pub struct Options {
    /// `-` is standard input.
    pub perf_data: PathBuf,
    pub search: Search,
    /// A copy of `/proc/kallsyms` of the recorded kernel.
    pub kallsyms: Option<PathBuf>,
    /// A core file or snapshot of the recorded process, taken after the recording.
    pub core: Option<PathBuf>,
    /// Where source files are looked for.
    pub sources: Sources,
}

/// Reads a recording that holds memory accesses.
pub fn read(options: &Options) -> anyhow::Result<Recording> {
    let path = &options.perf_data;
    let could_not = || format!("could not read '{}'", path.display());
    let recording = recording::read(path).with_context(could_not)?;
    if let Some(refusal) = recording.refusal() {
        bail!(
            "no memory accesses in '{}': {}; record them with: {}",
            path.display(),
            refusal.reason,
            refusal.command
        );
    }
    Ok(recording)
}
