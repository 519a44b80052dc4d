//! `mempath analyze`: a perf.data in; a report, a summary and, if asked for, tables out.

use super::output::Output;
use super::progress::Progress;
use super::report::{render, show};
use super::{binaries, input};
use crate::analyses::together::{self, Windows};
use crate::attribute::attribute;
use crate::export::digest::Digest;
use crate::tables::{Accesses, Tables, list, redact, write_accesses};
use crate::terminal::{self, Colour, SummaryStyle};
use anyhow::Context;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct Options {
    pub input: input::Options,
    /// `None`: no report.
    pub report: Option<PathBuf>,
    pub tables: Option<PathBuf>,
    /// `None`: no summary.
    pub summary: Option<SummaryStyle>,
    pub colour: Colour,
    pub within: Windows,
    /// Pseudonyms in the report and in the summary.
    pub redact: bool,
    /// Show the report when it is written.
    pub open: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let progress = Progress::new(options.summary.is_some());
    let report = options.report.as_deref().map(Output::create).transpose()?;
    options
        .tables
        .as_deref()
        .map(super::output::check_folder)
        .transpose()?;

    let mut recording = progress.stage("reading the recording", || input::read(&options.input))?;
    let binaries = progress.stage("reading the binaries", || {
        binaries::open(&mut recording, &options.input)
    })?;
    let mut attribution = progress.stage("attributing samples", || {
        attribute(
            &recording,
            &binaries.programs,
            &binaries.kernel,
            binaries.heap.as_ref(),
        )
    });
    let facts = binaries.facts(&recording, &attribution);
    // Much of either is done by one thread.
    let (tables, stale) = progress.stage("adding up", || {
        let add_up = || {
            let mut tables = Tables::build(&recording, &attribution, facts)?;
            list(&mut tables, &binaries.by_image(&recording))?;
            anyhow::Ok(tables)
        };
        rayon::join(add_up, || {
            together::stale_reads(&recording, &attribution, options.within)
        })
    });
    let mut tables = tables?;
    if let Some(dir) = &options.tables {
        progress.stage("writing all accesses", || {
            write_accesses(dir, &Accesses::new(&recording, &attribution))
        })?;
    }
    together::shorten(&mut recording, &mut attribution);
    progress.stage("looking for shared use", || {
        together::add(&mut tables, &recording, &attribution, stale, options.within)
    })?;
    if options.redact {
        tables = redact(&tables)?;
    }
    if let Some(dir) = &options.tables {
        progress.stage("writing tables", || tables.write(dir))?;
    }
    // The page is made of the tables alone.
    drop((recording, attribution, binaries));
    if let Some(output) = report {
        progress.last_stage("writing the report", || {
            output.write(|out| render(&tables, out))
        })?;
    }
    if let Some(style) = options.summary {
        // A folder's name tells what it is of.
        let report = options.report.as_deref();
        let report = match options.redact {
            true => report.and_then(Path::file_name).map(Path::new),
            false => report,
        };
        let digest = Digest::of(&tables, report)?;
        terminal::print(&digest, style, options.colour).context("could not print the summary")?;
    }
    if let (true, Some(report)) = (options.open, &options.report) {
        show(report)?;
    }
    Ok(())
}
