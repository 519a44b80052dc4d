//! `mempath export accesses`: one row a sample, for other programs.

use super::output::Output;
use super::{binaries, input};
use crate::attribute::attribute;
use crate::export::FORMATS;
use crate::tables::Accesses;
use anyhow::Context;
use std::path::PathBuf;

#[derive(Debug)]
pub struct Options {
    pub input: input::Options,
    /// The name of one of [`FORMATS`].
    pub format: String,
    /// `-` is standard output.
    pub output: PathBuf,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let format = FORMATS.iter().find(|f| f.name == options.format);
    let format = format.with_context(|| format!("there is no format '{}'", options.format))?;
    let output = Output::create(&options.output)?;
    let mut recording = input::read(&options.input)?;
    let binaries = binaries::open(&mut recording, &options.input)?;
    let attribution = attribute(
        &recording,
        &binaries.programs,
        &binaries.kernel,
        binaries.heap.as_ref(),
    );
    output.write(|out| (format.write)(&Accesses::new(&recording, &attribution), out))
}
