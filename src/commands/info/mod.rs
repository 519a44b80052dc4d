//! `mempath info`: what a perf.data holds, and what it can and cannot answer. Needs no binary, and
//! takes recordings that hold no memory accesses.

mod answers;
mod facts;
mod text;

pub use answers::Answer;
pub use facts::{Aux, Cpus, EventFacts, Facts, Gaps, Image, Time};

use super::progress::Progress;
use crate::recording;
use crate::terminal::Style;
use anyhow::Context;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug)]
pub struct Options {
    /// `-` is standard input.
    pub perf_data: PathBuf,
    pub format: Style,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let path = &options.perf_data;
    let could_not = || format!("could not read '{}'", path.display());
    let progress = Progress::new(true);
    let recording = progress
        .stage("reading the recording", || recording::read(path))
        .with_context(could_not)?;
    let facts = progress.stage("looking at the samples", || Facts::of(&recording));
    print(&facts, options.format).context("could not print what was found")
}

fn print(facts: &Facts, format: Style) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Style::Json => {
            serde_json::to_writer_pretty(&mut out, facts)?;
            out.write_all(b"\n")?;
        }
        Style::Text => out.write_all(text::page(facts).as_bytes())?,
    }
    out.flush()
}
