//! The command line, declared. Only [`parse`] leaves this file: nobody else sees clap.

mod recording;

use crate::analyses::{concurrent, lines::Unit, stale, together::Windows};
use crate::commands::{
    Command, analyze, c2c, explain, export, info, maps, order, report, snapshot,
};
use crate::export::FORMATS;
use crate::program::Sources;
use crate::program::find::Search;
use crate::terminal::{Colour, Style, SummaryStyle};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};

const EXIT_CODES: &str = "Exit codes: 0 done; 1 input that cannot be read or analysed, or output \
                          that cannot be written; 2 a command line that makes no sense.";

/// Which map, which bucket, which byte of a Go program the slow or contended memory accesses hit.
#[derive(Debug, Parser)]
#[command(name = "mempath", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Read a perf.data, attribute its samples, print a summary and write the report
    Analyze(Analyze),
    /// Say what a perf.data holds, and what it can and cannot answer
    Info(Info),
    /// Say what threads did to one map at the same time, and what others may see reordered
    Order(Order),
    /// Write the report of saved tables, without the perf.data
    Report(Report),
    /// Print how one sample was attributed, step by step
    Explain(Explain),
    /// Print what was made of the samples, for other programs
    Export {
        #[command(subcommand)]
        what: What,
    },
    /// Print the cache lines that CPUs share, with what is in them, and loads that may have read stale
    /// values
    C2c(C2c),
    /// Print every map in a core file or a snapshot
    Maps(Maps),
    /// Write a core file of a running process, pausing it briefly
    Snapshot(Snapshot),
    /// Say what this machine can record and what would help, or what a perf.data lacks
    Doctor(recording::Doctor),
    /// Record the memory accesses of a program into a perf.data
    Record(recording::Record),
    /// Record every access to a few words of a map, in order, without a PMU
    Watch(recording::Watch),
    /// Step through map code and model the caches, where nothing can be measured
    #[cfg(target_arch = "x86_64")]
    Step(recording::Step),
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct C2c {
    #[command(flatten)]
    input: Input,
    /// Look at two neighbouring lines (128 bytes) together, as the spatial prefetcher does
    #[arg(long)]
    double_line: bool,
    /// Lines, and stale reads, that are printed
    #[arg(long, value_name = "N", default_value_t = 20)]
    lines: usize,
    /// A load this long after another CPU's store may have read the value before it
    #[arg(long, value_name = "NS", default_value_t = stale::WINDOW_NS)]
    stale_window: u64,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct Maps {
    /// A core file (gcore, GOTRACEBACK=crash) or what mempath snapshot wrote
    #[arg(value_name = "CORE")]
    core: PathBuf,
    /// The program that the core is of
    #[arg(long, value_name = "PATH", required = true)]
    binary: Vec<PathBuf>,
    /// Use a binary although its build id differs from the one in the core
    #[arg(long)]
    force: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct Snapshot {
    /// The process
    #[arg(short, long, value_name = "PID")]
    pid: i32,
    /// Where the core file goes
    #[arg(short, long, value_name = "FILE", default_value = "app.heap")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct Input {
    /// The recording, as `perf mem record` writes it; - reads it from standard input
    #[arg(value_name = "PERF_DATA")]
    perf_data: PathBuf,
    /// A binary that was recorded; it is matched by build id, then by name
    #[arg(long, value_name = "PATH")]
    binary: Vec<PathBuf>,
    /// A folder in which to look for the binaries
    #[arg(long, value_name = "DIR")]
    binary_dir: Vec<PathBuf>,
    /// Look up recorded paths below this folder, the root of a container's file system, and not here
    #[arg(long, value_name = "DIR")]
    symfs: Option<PathBuf>,
    /// A folder in which to look for source files, to name maps as the source does
    #[arg(long, value_name = "DIR")]
    source_dir: Vec<PathBuf>,
    /// A copy of /proc/kallsyms of the recorded kernel, to name its functions
    #[arg(long, value_name = "FILE")]
    kallsyms: Option<PathBuf>,
    /// A core file of the recorded process (gcore, GOTRACEBACK=crash) or a snapshot, taken after the
    /// recording
    #[arg(long, value_name = "FILE")]
    core: Option<PathBuf>,
    /// Use a binary although its build id differs from the recorded one
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct Analyze {
    #[command(flatten)]
    input: Input,
    /// Where the report goes
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "mempath-report.html"
    )]
    output: PathBuf,
    /// Save the tables in this folder, one row a sample in accesses.parquet
    #[arg(long, value_name = "DIR")]
    tables: Option<PathBuf>,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t)]
    format: SummaryFormat,
    /// Whether the summary is coloured; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, value_enum, default_value_t)]
    color: Color,
    /// Print no summary and no progress, errors only
    #[arg(short, long)]
    quiet: bool,
    /// A load this long after another CPU's store may have read the value before it
    #[arg(long, value_name = "NS", default_value_t = stale::WINDOW_NS)]
    stale_window: u64,
    /// Two samples of one thread are of one operation when they are so close, in nanoseconds
    #[arg(long, value_name = "NS", default_value_t = concurrent::WINDOW_NS)]
    operation_window: u64,
    /// Write no report
    #[arg(long)]
    no_report: bool,
    /// Put pseudonyms in place of addresses, paths, hosts and the program's own names
    #[arg(long, conflicts_with = "tables")]
    redact: bool,
    /// Show the report in the desktop's browser
    #[arg(long, conflicts_with = "no_report")]
    open: bool,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct Order {
    #[command(flatten)]
    input: Input,
    /// Two samples of one thread are of one operation when they are so close, in nanoseconds
    #[arg(long, visible_alias = "operation-window", value_name = "NS", default_value_t = concurrent::WINDOW_NS)]
    window: u64,
    /// Rows of each list that are printed; JSON has all
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: usize,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct Report {
    /// The folder that `mempath analyze --tables` wrote
    #[arg(value_name = "DIR")]
    tables: PathBuf,
    /// Where the report goes
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "mempath-report.html"
    )]
    output: PathBuf,
    /// Put pseudonyms in place of addresses, paths, hosts and the program's own names
    #[arg(long)]
    redact: bool,
    /// Show the report in the desktop's browser
    #[arg(long)]
    open: bool,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct Explain {
    #[command(flatten)]
    input: Input,
    /// Which sample, counted from 0 in file order: column n of mempath export accesses
    #[arg(long, value_name = "N")]
    sample: usize,
    /// How the explanation is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct Info {
    /// Any recording that perf writes; - reads it from standard input
    #[arg(value_name = "PERF_DATA")]
    perf_data: PathBuf,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One row a sample, those without a part included
    Accesses(Accesses),
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
struct Accesses {
    #[command(flatten)]
    input: Input,
    /// csv or parquet
    #[arg(long, value_parser = FORMATS.iter().map(|f| f.name).collect::<Vec<_>>())]
    format: String,
    /// Where the rows go; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum SummaryFormat {
    #[default]
    Text,
    Json,
    Markdown,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// The command line as plain options; prints help or the usage error and exits when it is not one.
pub fn parse() -> Command {
    match Cli::parse().command {
        Sub::Analyze(a) => Command::Analyze(analyze::Options {
            input: a.input.into(),
            // The page on standard output leaves no room there for the summary.
            summary: (!a.quiet && (a.no_report || a.output != Path::new("-")))
                .then_some(a.format.into()),
            report: (!a.no_report).then_some(a.output),
            tables: a.tables,
            within: Windows {
                stale_ns: a.stale_window,
                operation_ns: a.operation_window,
            },
            redact: a.redact,
            open: a.open,
            colour: match a.color {
                Color::Auto => Colour::Auto,
                Color::Always => Colour::Always,
                Color::Never => Colour::Never,
            },
        }),
        Sub::C2c(c) => Command::C2c(c2c::Options {
            input: c.input.into(),
            unit: match c.double_line {
                true => Unit::DoubleLine,
                false => Unit::Line,
            },
            most: c.lines,
            window_ns: c.stale_window,
            style: c.format.into(),
        }),
        Sub::Maps(m) => Command::Maps(maps::Options {
            core: m.core,
            binaries: m.binary,
            force: m.force,
            json: matches!(m.format, Format::Json),
        }),
        Sub::Snapshot(s) => Command::Snapshot(snapshot::Options {
            pid: s.pid,
            output: s.output,
        }),
        Sub::Doctor(d) => Command::Doctor(d.into()),
        Sub::Watch(w) => Command::Watch(Box::new(w.into())),
        #[cfg(target_arch = "x86_64")]
        Sub::Step(s) => Command::Step(Box::new(s.into())),
        Sub::Record(r) => Command::Record(Box::new(r.into())),
        Sub::Order(o) => Command::Order(order::Options {
            input: o.input.into(),
            window_ns: o.window,
            most: o.rows,
            style: o.format.into(),
        }),
        Sub::Info(i) => Command::Info(info::Options {
            perf_data: i.perf_data,
            format: i.format.into(),
        }),
        Sub::Report(r) => Command::Report(report::Options {
            tables: r.tables,
            output: r.output,
            redact: r.redact,
            open: r.open,
        }),
        Sub::Explain(e) => Command::Explain(explain::Options {
            input: e.input.into(),
            sample: e.sample,
            style: e.format.into(),
        }),
        Sub::Export {
            what: What::Accesses(e),
        } => Command::Export(export::Options {
            input: e.input.into(),
            format: e.format,
            output: e.output,
        }),
    }
}

impl From<Format> for Style {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Style::Text,
            Format::Json => Style::Json,
        }
    }
}

impl From<SummaryFormat> for SummaryStyle {
    fn from(format: SummaryFormat) -> Self {
        match format {
            SummaryFormat::Text => SummaryStyle::Text,
            SummaryFormat::Json => SummaryStyle::Json,
            SummaryFormat::Markdown => SummaryStyle::Markdown,
        }
    }
}

impl From<Input> for crate::commands::input::Options {
    fn from(input: Input) -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self {
            search: Search {
                binaries: input.binary,
                beside: input.perf_data.parent().map(Path::to_owned),
                dirs: input.binary_dir,
                symfs: input.symfs,
                cache: home.map(|home| home.join(".debug")),
                force: input.force,
            },
            perf_data: input.perf_data,
            kallsyms: input.kallsyms,
            core: input.core,
            sources: Sources::new(input.source_dir),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_declared_without_contradiction() {
        Cli::command().debug_assert();
    }
}
