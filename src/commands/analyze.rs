//! `mempath analyze`: a perf.data in; a report, a summary and, if asked for, tables out.

use super::output::Output;
use super::progress::Progress;
use super::report::render;
use super::{binaries, input};
use crate::attribute::attribute;
use crate::export::digest::Digest;
use crate::tables::{Accesses, Tables, write_accesses};
use crate::terminal::{self, Colour, SummaryStyle};
use anyhow::Context;
use std::path::PathBuf;

#[derive(Debug)]
pub struct Options {
    pub input: input::Options,
    /// `None`: no report.
    pub report: Option<PathBuf>,
    pub tables: Option<PathBuf>,
    /// `None`: no summary.
    pub summary: Option<SummaryStyle>,
    pub colour: Colour,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let progress = Progress::new(options.summary.is_some());
    let report = options.report.as_deref().map(Output::create).transpose()?;
    options
        .tables
        .as_deref()
        .map(super::output::check_folder)
        .transpose()?;

    let recording = progress.stage("reading the recording", || input::read(&options.input))?;
    let binaries = progress.stage("reading the binaries", || {
        binaries::open(&recording, &options.input)
    })?;
    let attribution = progress.stage("attributing samples", || {
        attribute(
            &recording,
            &binaries.programs,
            &binaries.kernel,
            binaries.heap.as_ref(),
        )
    });
    let facts = binaries.facts(&recording, &attribution);
    let tables = progress.stage("adding up", || {
        Tables::build(&recording, &attribution, facts)
    })?;

    if let Some(dir) = &options.tables {
        progress.stage("writing tables", || {
            tables.write(dir)?;
            write_accesses(dir, &Accesses::new(&recording, &attribution))
        })?;
    }
    if let Some(output) = report {
        progress.stage("writing the report", || {
            output.write(|out| render(&tables, out))
        })?;
    }
    if let Some(style) = options.summary {
        let digest = Digest::of(&tables, options.report.as_deref())?;
        terminal::print(&digest, style, options.colour).context("could not print the summary")?;
    }
    Ok(())
}
