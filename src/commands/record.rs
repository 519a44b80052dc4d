//! `mempath record`: a program in, a perf.data out; with `--analyze` a report.

use crate::record::Target;
use crate::record::event::{Event, Fields, Rate};
use crate::record::machine::Machine;
use crate::record::pmu::{self, Wish};
use crate::record::run::{Done, Why, run as record};
use crate::record::session::Settings;
use crate::record::target::Ended;
use anyhow::bail;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

#[derive(Debug)]
pub struct Options {
    pub target: Target,
    pub engine: Engine,
    /// As the command line writes them; empty: what the machine's PMU has.
    pub events: Vec<String>,
    pub output: PathBuf,
    pub rate: Option<Rate>,
    pub ldlat: u64,
    pub fields: Fields,
    /// Of each ring.
    pub pages: usize,
    pub duration: Option<Duration>,
    /// Print perf's command line instead.
    pub print_command: bool,
    /// Analyze what was recorded.
    pub analyze: Option<super::analyze::Options>,
    pub quiet: bool,
}

/// What records where no events are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The PMU; where there is none, a program that mempath starts is stepped.
    Auto,
    Pmu,
    Step,
}

/// Of the AUX buffer of a CPU: 4 MB, as perf takes.
const AUX_PAGES: usize = 1024;

pub fn run(options: &Options) -> anyhow::Result<()> {
    let machine = Machine::here();
    let wish = Wish {
        rate: options.rate,
        ldlat: options.ldlat,
        fields: options.fields,
    };
    if options.print_command {
        return print_command(options, &machine, &wish);
    }
    if !options.pages.is_power_of_two() {
        bail!("--mmap-pages {}: not a power of 2", options.pages);
    }
    let (engine, events, given_up) = match options.events.is_empty() {
        true if options.engine == Engine::Step => return step(options, "it was asked for"),
        true => match pmu::choose(&machine, &wish) {
            Ok(choice) => (choice.pmu.name, choice.events, choice.given_up),
            Err(error) if may_step(options) => return step(options, &error.to_string()),
            Err(error) => return Err(error.into()),
        },
        false => {
            let parse = |text: &String| Event::parse(text, wish.rate, wish.fields, &machine);
            let events = options.events.iter().map(parse).collect::<Result<_, _>>()?;
            let (events, given_up) = pmu::fitted(events)?;
            ("the events asked for", events, given_up)
        }
    };
    if !options.quiet {
        let names: Vec<&str> = events.iter().map(|event| event.name.as_str()).collect();
        let mut told = format!("engine: {engine} ({})", names.join(", "));
        if !given_up.is_empty() {
            told += &format!(
                "; without {}, which the kernel refuses here",
                given_up.join(", ")
            );
        }
        writeln!(io::stderr(), "mempath: {told}")?;
    }
    let settings = Settings {
        output: options.output.clone(),
        pages: options.pages,
        aux_pages: AUX_PAGES,
        later_events: 0,
        running: false,
        cmdline: std::env::args().collect(),
        cpudesc: None,
    };
    let done = record(&options.target, events, settings, machine, options.duration)?;
    if !options.quiet {
        writeln!(io::stderr(), "mempath: {}", told(options, &done))?;
    }
    analyze(options)
}

/// A process that runs is slowed down by stepping only where that was asked for.
fn may_step(options: &Options) -> bool {
    options.engine == Engine::Auto
        && matches!(options.target, Target::Command(_))
        && cfg!(target_arch = "x86_64")
}

fn analyze(options: &Options) -> anyhow::Result<()> {
    let Some(analyze) = &options.analyze else {
        return Ok(());
    };
    super::analyze::run(analyze)?;
    if let Some(report) = &analyze.report {
        show(report);
    }
    Ok(())
}

/// Opens the report where there is a desktop to open it on.
fn show(report: &Path) {
    let desktop = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    if desktop && io::stderr().is_terminal() {
        // Where it cannot be opened its path has been printed all the same.
        let _ = Command::new("xdg-open")
            .arg(report)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn step(_: &Options, _: &str) -> anyhow::Result<()> {
    bail!("only programs for x86-64 can be stepped")
}

/// Steps the program instead, with what `mempath step` does by itself.
#[cfg(target_arch = "x86_64")]
fn step(options: &Options, why: &str) -> anyhow::Result<()> {
    use crate::record::step::{Plan, cache::Geometries};
    if !options.quiet {
        writeln!(
            io::stderr(),
            "mempath: engine: step; levels and latencies will be modelled ({why})"
        )?;
    }
    let plan = Plan {
        duration: options.duration,
        ..Plan::new(
            options.target.clone(),
            options.output.clone(),
            Geometries::here(),
        )
    };
    super::step::run(&super::step::Options {
        plan,
        analyze: None,
        quiet: options.quiet,
        worker: false,
    })?;
    analyze(options)
}

/// What was recorded, and why it ended.
fn told(options: &Options, done: &Done) -> String {
    let why = match done.why {
        Why::Process(ended) => format!("the process: {ended}"),
        Why::Time => "the time was over".to_owned(),
        Why::Signal(libc::SIGINT) => "interrupted".to_owned(),
        Why::Signal(signal) => format!("stopped by signal {signal}"),
    };
    let after = match (done.why, done.process) {
        (Why::Process(_), _) | (_, Ended::No) => String::new(),
        (_, ended) => format!("; the program: {ended}"),
    };
    format!(
        "{}: {} samples, {} lost, {:.1} MB ({why}{after})",
        options.output.display(),
        done.totals.samples,
        done.totals.lost,
        done.totals.bytes as f64 / 1e6,
    )
}

/// The words of perf's command line that records the same.
fn print_command(options: &Options, machine: &Machine, wish: &Wish) -> anyhow::Result<()> {
    let mut words: Vec<String> = ["perf", "record"].map(str::to_owned).to_vec();
    let events = match options.events.is_empty() {
        false => options.events.clone(),
        true => (pmu::PMUS.iter())
            .map(|pmu| (pmu.for_perf)(machine, wish))
            .find(|events| !events.is_empty())
            .ok_or_else(|| {
                anyhow::anyhow!(
                    "perf cannot record memory accesses here either: {}; name events with -e",
                    pmu::missing(machine)
                )
            })?,
    };
    words.extend(
        events
            .into_iter()
            .flat_map(|event| ["-e".to_owned(), event]),
    );
    match options.rate {
        Some(Rate::Period(period)) => words.extend(["-c".to_owned(), period.to_string()]),
        Some(Rate::Frequency(hertz)) => words.extend(["-F".to_owned(), hertz.to_string()]),
        None => {}
    }
    words.extend(["-d", "-W", "-T", "--sample-cpu", "--data-page-size"].map(str::to_owned));
    let fields = options.fields;
    let optional = [
        (fields.physical, "--phys-data"),
        (fields.registers, "--intr-regs"),
        (fields.call_chains, "-g"),
    ];
    words.extend(
        optional
            .iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, w)| w.to_string()),
    );
    words.extend(["--clockid", "mono", "-m"].map(str::to_owned));
    words.push(options.pages.to_string());
    words.extend(["-o".to_owned(), options.output.display().to_string()]);
    match &options.target {
        Target::Pid(pid) => words.extend(["-p".to_owned(), pid.to_string()]),
        Target::Command(command) => {
            words.push("--".to_owned());
            words.extend(
                command
                    .iter()
                    .map(|word| word.to_string_lossy().into_owned()),
            );
        }
    }
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    writeln!(io::stdout().lock(), "{}", words.join(" "))?;
    Ok(())
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
