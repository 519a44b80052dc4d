//! One file a subcommand: each reads as a table of contents.

pub mod analyze;
pub mod binaries;
pub mod export;
pub mod info;
pub mod input;
mod output;
mod progress;
pub mod report;

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    Analyze(analyze::Options),
    Info(info::Options),
    Report(report::Options),
    Export(export::Options),
}

impl Command {
    pub fn run(&self) -> anyhow::Result<()> {
        match self {
            Command::Analyze(options) => analyze::run(options),
            Command::Info(options) => info::run(options),
            Command::Report(options) => report::run(options),
            Command::Export(options) => export::run(options),
        }
    }
}
