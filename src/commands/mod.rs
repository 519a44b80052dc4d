//! One file a subcommand: each reads as a table of contents.

pub mod alive;
pub mod analyze;
pub mod binaries;
pub mod c2c;
pub mod doctor;
pub mod explain;
pub mod export;
pub mod info;
pub mod input;
pub mod maps;
pub mod order;
mod output;
mod progress;
pub mod record;
pub mod report;
pub mod snapshot;
#[cfg(target_arch = "x86_64")]
pub mod step;
pub mod watch;

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    Analyze(analyze::Options),
    Info(info::Options),
    Order(order::Options),
    Report(report::Options),
    Explain(explain::Options),
    Export(export::Options),
    Maps(maps::Options),
    C2c(c2c::Options),
    Snapshot(snapshot::Options),
    Doctor(doctor::Options),
    Record(Box<record::Options>),
    Watch(Box<watch::Options>),
    #[cfg(target_arch = "x86_64")]
    Step(Box<step::Options>),
}

impl Command {
    pub fn run(&self) -> anyhow::Result<()> {
        match self {
            Command::Analyze(options) => analyze::run(options),
            Command::Order(options) => order::run(options),
            Command::Info(options) => info::run(options),
            Command::Report(options) => report::run(options),
            Command::Explain(options) => explain::run(options),
            Command::Export(options) => export::run(options),
            Command::Maps(options) => maps::run(options),
            Command::C2c(options) => c2c::run(options),
            Command::Snapshot(options) => snapshot::run(options),
            Command::Doctor(options) => doctor::run(options),
            Command::Record(options) => record::run(options),
            Command::Watch(options) => watch::run(options),
            #[cfg(target_arch = "x86_64")]
            Command::Step(options) => step::run(options),
        }
    }
}
