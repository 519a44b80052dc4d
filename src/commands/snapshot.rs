//! `mempath snapshot`: the memory of a running process, for `mempath maps`.

use crate::heap::snapshot;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug)]
pub struct Options {
    pub pid: i32,
    pub output: PathBuf,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let taken = snapshot::take(options.pid, &options.output)?;
    writeln!(
        io::stdout().lock(),
        "{}: {:.1} MB of {} threads; process {} stood still for {:.1} ms",
        options.output.display(),
        taken.bytes as f64 / 1e6,
        taken.threads,
        options.pid,
        taken.paused.as_secs_f64() * 1e3,
    )?;
    Ok(())
}
