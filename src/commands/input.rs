//! The recording that a command works on, refused when there is nothing in it to work on.

use super::binaries::Search;
use crate::recording::{self, Event, Memory, Recording};
use anyhow::{Context, bail};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Options {
    /// `-` is standard input.
    pub perf_data: PathBuf,
    pub search: Search,
}

/// What would have recorded memory accesses.
const RECORD: &str = "perf mem record -- PROGRAM";

/// `PERF_SAMPLE_ADDR` and `PERF_SAMPLE_DATA_SRC`.
const ADDR: u64 = 1 << 3;
const DATA_SRC: u64 = 1 << 15;

/// Reads a recording that holds memory accesses.
pub fn read(options: &Options) -> anyhow::Result<Recording> {
    let path = &options.perf_data;
    let recording = if path == Path::new("-") {
        from_stdin()?
    } else {
        recording::read(path).with_context(|| format!("could not read '{}'", path.display()))?
    };
    refuse_without_accesses(&recording)
        .with_context(|| format!("could not analyse '{}'", path.display()))?;
    Ok(recording)
}

/// A recording is mapped, not streamed: standard input is kept in a file that is deleted at once.
fn from_stdin() -> anyhow::Result<Recording> {
    let name = format!("mempath-stdin-{}.data", std::process::id());
    let path = std::env::temp_dir().join(name);
    let read = (|| {
        let mut file = std::fs::File::create_new(&path)?;
        io::copy(&mut io::stdin().lock(), &mut file)?;
        file.flush()
    })();
    let recording = match read {
        Ok(()) => recording::read(&path).context("could not read standard input"),
        Err(error) => Err(error).context("could not keep standard input in a temporary file"),
    };
    // It stays readable for as long as it is mapped; one that was never made need not go.
    let _ = std::fs::remove_file(&path);
    let mut recording = recording?;
    recording.path = PathBuf::from("-");
    Ok(recording)
}

fn refuse_without_accesses(recording: &Recording) -> anyhow::Result<()> {
    if recording.samples.is_empty() {
        bail!(
            "the recording holds no samples; record one with `{RECORD}` while the program is busy"
        );
    }
    let memory = |e: &Event| {
        matches!(
            e.memory,
            Memory::Sampled | Memory::Breakpoint | Memory::PageFault
        )
    };
    if recording.events.iter().any(memory) {
        return Ok(());
    }
    let why: Vec<String> = recording.events.iter().map(why_not).collect();
    bail!(
        "no event of the recording samples memory accesses ({}); record one with `{RECORD}`",
        why.join("; ")
    )
}

/// Why an event is no memory event.
fn why_not(event: &Event) -> String {
    let name = &event.name;
    match event.memory {
        Memory::Decoy => {
            format!(
                "{name} has data_src, but it is N/A in every sample, as --call-graph dwarf leaves it"
            )
        }
        Memory::Auxiliary => format!("{name} only leads the group of a load event"),
        _ => match (
            event.sample_type & ADDR == 0,
            event.sample_type & DATA_SRC == 0,
        ) {
            (true, true) => format!("{name} has neither ADDR nor DATA_SRC, for want of -d"),
            (true, false) => format!("{name} has no ADDR, for want of -d"),
            (false, true) => format!("{name} has no DATA_SRC, for want of -d"),
            (false, false) => format!("{name} has no access in its samples"),
        },
    }
}
