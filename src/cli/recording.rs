//! The subcommands that make recordings.

use super::{EXIT_CODES, Format};
use crate::analyses::together::Windows;
use crate::commands::{analyze, doctor, input, record, watch};
use crate::program::Sources;
use crate::program::find::Search;
use crate::record::Target;
use crate::record::event::{Fields, Rate, breakpoint};
use crate::record::watch::{MapWords, Plan as WatchPlan, Spot};
use crate::terminal::{Colour, SummaryStyle};
#[cfg(target_arch = "x86_64")]
use crate::{
    commands::step,
    record::step::{
        Emulate, Plan,
        cache::{Geometries, MOST_CORES},
    },
};
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The process, and how long.
#[derive(Debug, Args)]
pub struct Process {
    /// A process that runs, with all its threads and the children it will have
    #[arg(short, long, value_name = "PID", conflicts_with = "command")]
    pid: Option<i32>,
    /// End after this time: 500ms, 2s, 1m
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// A program to start, with its arguments
    #[arg(last = true, value_name = "CMD", required_unless_present = "pid")]
    command: Vec<OsString>,
}

impl Process {
    fn target(&self) -> Target {
        match self.pid {
            Some(pid) => Target::Pid(pid),
            None => Target::Command(self.command.clone()),
        }
    }
}

/// Reads `500ms`, `2s`, `1m`; seconds without a unit.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 1e-3,
        "s" | "" => 1.0,
        "m" => 60.0,
        _ => return Err("a unit is ms, s or m".to_owned()),
    };
    let seconds: f64 = number.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds * scale).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Doctor {
    /// Say what this recording cannot answer and how it should have been made, instead
    #[arg(value_name = "PERF_DATA")]
    perf_data: Option<PathBuf>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl From<Doctor> for doctor::Options {
    fn from(d: Doctor) -> doctor::Options {
        doctor::Options {
            perf_data: d.perf_data,
            format: d.format.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Engine {
    #[default]
    Auto,
    Pmu,
    Step,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Record {
    #[command(flatten)]
    process: Process,
    /// An event, as perf writes it: page-faults, cpu/mem-stores/P, r81d0:pp, mem:0xc000012340/8:rw;
    /// without it the ones that the PMU of this machine records memory accesses with
    #[arg(short, long, value_name = "EVENT")]
    event: Vec<String>,
    /// What records where no event is named; auto: the PMU, and without one a program that mempath
    /// starts is stepped
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// Where the recording goes
    #[arg(short, long, value_name = "FILE", default_value = "perf.data")]
    output: PathBuf,
    /// Sample every so many events
    #[arg(short = 'c', long, value_name = "N", conflicts_with = "frequency")]
    count: Option<u64>,
    /// Sample so many times a second
    #[arg(short = 'F', long, value_name = "HZ")]
    frequency: Option<u64>,
    /// Leave out loads that took fewer cycles
    #[arg(long, value_name = "CYCLES", default_value_t = 30)]
    ldlat: u64,
    /// Record no call chains
    #[arg(long)]
    no_call_chains: bool,
    /// Record no registers: maps of one type are then hardly told apart
    #[arg(long)]
    no_registers: bool,
    /// Pages of the ring buffer of each CPU, a power of 2
    #[arg(short, long, value_name = "PAGES", default_value_t = 128)]
    mmap_pages: usize,
    /// Print the command line of perf that records the same, and do nothing
    #[arg(long)]
    print_command: bool,
    /// Analyze the recording and write its report
    #[arg(long)]
    analyze: bool,
    /// Where the report goes
    #[arg(long, value_name = "FILE", default_value = "mempath-report.html")]
    report: PathBuf,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

impl From<Record> for record::Options {
    fn from(r: Record) -> record::Options {
        let target = r.process.target();
        record::Options {
            analyze: r.analyze.then(|| analysis(&r.output, &r.report, r.quiet)),
            duration: r.process.duration,
            target,
            engine: match r.engine {
                Engine::Auto => record::Engine::Auto,
                Engine::Pmu => record::Engine::Pmu,
                Engine::Step => record::Engine::Step,
            },
            events: r.event,
            output: r.output,
            rate: (r.count.map(Rate::Period)).or(r.frequency.map(Rate::Frequency)),
            ldlat: r.ldlat,
            fields: Fields {
                call_chains: !r.no_call_chains,
                registers: !r.no_registers,
                physical: true,
            },
            pages: r.mmap_pages,
            print_command: r.print_command,
            quiet: r.quiet,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Watch {
    #[command(flatten)]
    process: Process,
    /// A map: the global that it is or that leads to it (main.sessions, main.cache.sessions), the
    /// address of its header, or its type where only one has it
    #[arg(long, value_name = "MAP")]
    map: Option<String>,
    /// Words of the map's header or tables: flags,count,buckets (Go up to 1.23), used,writing,
    /// table.growthLeft (from 1.24 on)
    #[arg(long, value_name = "WORDS", value_delimiter = ',', requires = "map")]
    words: Vec<String>,
    /// Which bucket or group --part is of
    #[arg(long, visible_alias = "group", value_name = "N", default_value_t = 0)]
    bucket: u64,
    /// Which table of the directory words and groups are of (Go 1.24 on)
    #[arg(long, value_name = "N", default_value_t = 0)]
    table: u64,
    /// Parts of the bucket or group: tophash, ctrl, key, elem, overflow; elem+8 is its second word
    #[arg(long, value_name = "PARTS", value_delimiter = ',', requires = "map")]
    part: Vec<String>,
    /// Which slot of the bucket or group; without it all tophash or ctrl bytes, and slot 0
    #[arg(long, value_name = "N")]
    slot: Option<u64>,
    /// Which accesses to the map's words: r, w or rw (x86 cannot watch reads alone)
    #[arg(long, value_name = "ACCESS", default_value = "rw", value_parser = access)]
    access: u32,
    /// An address to watch, with length and accesses: 0xc000012340/8:w
    #[arg(long, value_name = "ADDR", value_parser = address)]
    addr: Vec<(u64, u64, u32)>,
    /// End when there are more accesses a second than this, for half a second
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_rate: u64,
    /// Where the recording goes
    #[arg(short, long, value_name = "FILE", default_value = "perf.data")]
    output: PathBuf,
    /// Record no call chains
    #[arg(long)]
    no_call_chains: bool,
    /// Pages of the ring buffer of each CPU, a power of 2
    #[arg(short, long, value_name = "PAGES", default_value_t = 128)]
    mmap_pages: usize,
    /// Analyze the recording and write its report
    #[arg(long)]
    analyze: bool,
    /// Where the report goes
    #[arg(long, value_name = "FILE", default_value = "mempath-report.html")]
    report: PathBuf,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
}

fn access(text: &str) -> Result<u32, String> {
    address(&format!("0x0/1:{text}")).map(|(_, _, access)| access)
}

fn address(text: &str) -> Result<(u64, u64, u32), String> {
    breakpoint(text.strip_prefix("mem:").unwrap_or(text))
}

impl From<Watch> for watch::Options {
    fn from(w: Watch) -> watch::Options {
        let spot = Spot {
            bucket: w.bucket,
            table: w.table,
        };
        let words: Vec<String> = w.words.into_iter().chain(w.part).collect();
        watch::Options {
            plan: WatchPlan {
                target: w.process.target(),
                map: w.map.map(|map| MapWords {
                    map,
                    words,
                    slot: w.slot,
                    spot,
                }),
                addresses: w.addr,
                access: w.access,
                fields: Fields {
                    call_chains: !w.no_call_chains,
                    ..Fields::default()
                },
                duration: w.process.duration,
                most: w.max_rate,
            },
            analyze: w.analyze.then(|| analysis(&w.output, &w.report, w.quiet)),
            output: w.output,
            pages: w.mmap_pages,
            quiet: w.quiet,
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Step {
    #[command(flatten)]
    process: Process,
    /// Map calls are stepped for this long ...
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    window: Duration,
    /// ... and then the program runs natively for this long
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    pause: Duration,
    /// Make every so many loads, and stores, a sample
    #[arg(short = 'c', long, value_name = "N", default_value_t = 1)]
    count: u64,
    /// Modelled cores; 0: as many as the machine has, at least 4
    #[arg(long, value_name = "N", default_value_t = 0)]
    cores: usize,
    /// Execute simple instructions in mempath, which is faster than stepping the thread; check: both,
    /// comparing what they make of registers and memory
    #[arg(long, value_enum, default_value_t = Emulation::Yes)]
    emulate: Emulation,
    /// Sizes of the modelled caches in KiB: L1,L2,L3; without it those of this machine
    #[arg(long, value_name = "KIB", value_delimiter = ',')]
    caches: Vec<u64>,
    /// Where the recording goes
    #[arg(short, long, value_name = "FILE", default_value = "perf.data")]
    output: PathBuf,
    /// Analyze the recording and write its report
    #[arg(long)]
    analyze: bool,
    /// Where the report goes
    #[arg(long, value_name = "FILE", default_value = "mempath-report.html")]
    report: PathBuf,
    /// Say nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Do the stepping: what the command starts a process of its own for
    #[arg(long, hide = true)]
    worker: Option<i32>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Emulation {
    No,
    Yes,
    Check,
}

#[cfg(target_arch = "x86_64")]
impl From<Step> for step::Options {
    fn from(s: Step) -> step::Options {
        let mut caches = Geometries::here();
        let all = [&mut caches.l1, &mut caches.l2, &mut caches.l3];
        for (cache, kib) in all.into_iter().zip(&s.caches) {
            cache.bytes = kib.saturating_mul(1024);
        }
        let mut plan = Plan::new(s.process.target(), s.output.clone(), caches);
        plan.emulate = match s.emulate {
            Emulation::No => Emulate::No,
            Emulation::Yes => Emulate::Yes,
            Emulation::Check => Emulate::Check,
        };
        if s.cores != 0 {
            plan.cores = s.cores.min(MOST_CORES);
        }
        step::Options {
            plan: Plan {
                window: s.window,
                pause: s.pause,
                duration: s.process.duration,
                period: s.count,
                ..plan
            },
            analyze: s.analyze.then(|| analysis(&s.output, &s.report, s.quiet)),
            quiet: s.quiet,
            worker: s.worker,
        }
    }
}

/// An analysis of what was just recorded: the binaries are where they ran.
fn analysis(
    perf_data: &std::path::Path,
    report: &std::path::Path,
    quiet: bool,
) -> analyze::Options {
    analyze::Options {
        redact: false,
        open: false,
        within: Windows::default(),
        input: input::Options {
            perf_data: perf_data.to_owned(),
            search: Search {
                binaries: Vec::new(),
                beside: perf_data.parent().map(ToOwned::to_owned),
                dirs: Vec::new(),
                symfs: None,
                cache: None,
                force: false,
            },
            kallsyms: None,
            core: None,
            sources: Sources::new(Vec::new()),
        },
        report: Some(report.to_owned()),
        tables: None,
        summary: (!quiet).then_some(SummaryStyle::Text),
        colour: Colour::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("3"), Ok(Duration::from_secs(3)));
        assert!(duration("2h").is_err() && duration("-1s").is_err());
    }
}
