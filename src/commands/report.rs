//! `mempath report`: saved tables in, a report out.

use super::output::Output;
use crate::report as page;
use crate::tables::Tables;
use std::io::Write;
use std::path::PathBuf;

#[derive(Debug)]
pub struct Options {
    /// The folder that `mempath analyze --tables` wrote.
    pub tables: PathBuf,
    pub output: PathBuf,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let output = Output::create(&options.output)?;
    let tables = Tables::read(&options.tables)?;
    output.write(|out| render(&tables, out))
}

/// The page of some tables.
pub(super) fn render(tables: &Tables, out: &mut dyn Write) -> anyhow::Result<()> {
    Ok(out.write_all(page::render(tables)?.as_bytes())?)
}
