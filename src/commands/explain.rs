//! `mempath explain`: how one sample was attributed, step by step.

use super::output::Output;
use super::{binaries, input};
use crate::attribute::attribute_watching;
use crate::explain::{explain, print};
use crate::terminal::Style;
use anyhow::{Context, bail};
use std::path::Path;

#[derive(Debug)]
pub struct Options {
    pub input: input::Options,
    /// Index of the sample in file order, from 0.
    pub sample: usize,
    pub style: Style,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut recording = input::read(&options.input)?;
    let samples = recording.samples.len();
    let n = options.sample;
    if n >= samples {
        bail!(
            "there is no sample {n} in '{}': it has {samples}, counted from 0",
            options.input.perf_data.display()
        );
    }
    let binaries = binaries::open(&mut recording, &options.input)?;
    let (attribution, trace) = attribute_watching(
        &recording,
        &binaries.programs,
        &binaries.kernel,
        binaries.heap.as_ref(),
        Some(n),
    );
    let trace = trace.context("the attribution left no trace of the sample")?;
    let explanation = explain(&recording, &attribution, &trace, n);
    Output::create(Path::new("-"))?.write(|out| match options.style {
        Style::Text => print(&explanation, out),
        Style::Json => {
            serde_json::to_writer_pretty(&mut *out, &explanation)?;
            out.write_all(b"\n")
        }
    })
}
