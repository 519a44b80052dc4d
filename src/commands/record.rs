//! `mempath record`: a program in, a perf.data out; with `--analyze` a report.

use crate::record::Target;
use crate::record::event::{Event, Fields, Rate};
use crate::record::machine::Machine;
use crate::record::pmu::{self, Wish};
use crate::record::run::{Done, Why, run as record};
use crate::record::session::Settings;
use crate::record::target::Ended;
use anyhow::bail;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug)]
pub struct Options {
    pub target: Target,
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
        true => {
            let choice = pmu::choose(&machine, &wish)?;
            (choice.pmu.name, choice.events, choice.given_up)
        }
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
    match &options.analyze {
        Some(analyze) => super::analyze::run(analyze),
        None => Ok(()),
    }
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
