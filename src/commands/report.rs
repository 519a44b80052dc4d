//! `mempath report`: saved tables in, a report out.

use super::output::Output;
use crate::report as page;
use crate::tables::{Tables, redact};
use anyhow::{Context, bail};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Debug)]
pub struct Options {
    /// The folder that `mempath analyze --tables` wrote.
    pub tables: PathBuf,
    pub output: PathBuf,
    pub redact: bool,
    pub open: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let output = Output::create(&options.output)?;
    let mut tables = Tables::read(&options.tables)?;
    if options.redact {
        tables = redact(&tables)?;
    }
    output.write(|out| render(&tables, out))?;
    match options.open {
        true => show(&options.output),
        false => Ok(()),
    }
}

/// Hands a page to the desktop, as xdg-open(1) does, and does not wait until it is closed.
pub(super) fn show(page: &Path) -> anyhow::Result<()> {
    if page == Path::new("-") {
        bail!("could not open the report: it went to standard output; name a file with -o");
    }
    Command::new("xdg-open")
        .arg(page)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
        .with_context(|| {
            let page = page.display();
            format!("could not open '{page}' with xdg-open; open it in a browser yourself")
        })
}

/// The page of some tables.
pub(super) fn render(tables: &Tables, out: &mut dyn Write) -> anyhow::Result<()> {
    Ok(out.write_all(page::render(tables)?.as_bytes())?)
}
