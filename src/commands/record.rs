//! `mempath record`: a program in, a perf.data out; with `--analyze` a report.

use crate::record::counter;
use crate::record::event::{Event, Fields, Rate};
use crate::record::machine::Machine;
use crate::record::pmu::{self, MemoryPmu, Wish};
use crate::record::run::{Done, Why, run as record};
use crate::record::session::Settings;
use crate::record::target::Ended;
use crate::record::{RecordError, Target};
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
    if let Target::Pid(pid) = options.target
        && !Path::new(&format!("/proc/{pid}")).exists()
    {
        return Err(RecordError::NoProcess { pid }.into());
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
        worker: None,
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

fn print_command(options: &Options, machine: &Machine, wish: &Wish) -> anyhow::Result<()> {
    let words = perf_words(options, machine, wish)?;
    writeln!(io::stdout().lock(), "{}", words.join(" "))?;
    Ok(())
}

/// The words of perf's command line that records the same, quoted.
fn perf_words(options: &Options, machine: &Machine, wish: &Wish) -> anyhow::Result<Vec<String>> {
    let mut words: Vec<String> = ["perf", "record"].map(str::to_owned).to_vec();
    let mut fields = options.fields;
    let events = if options.events.is_empty() {
        let of = |pmu: &&'static MemoryPmu| {
            let events = (pmu.for_perf)(machine, wish);
            (!events.is_empty()).then_some((pmu.carries, events))
        };
        let (carries, events) = pmu::PMUS.iter().find_map(of).ok_or_else(|| {
            anyhow::anyhow!(
                "perf cannot record memory accesses here either: {}; name events with -e",
                pmu::missing(machine)
            )
        })?;
        fields = Fields {
            call_chains: fields.call_chains && carries.call_chains,
            registers: fields.registers && carries.registers,
            physical: fields.physical && carries.physical,
        };
        events
    } else {
        options.events.clone()
    };
    words.extend(
        events
            .into_iter()
            .flat_map(|event| ["-e".to_owned(), event]),
    );
    // Of breakpoints and faults every one is recorded, where nothing else is asked for; perf does so of
    // breakpoints.
    let parsed = |text: &String| Event::parse(text, None, fields, machine).ok();
    let mut parsed = options.events.iter().map(parsed);
    let every = |event: Option<Event>| event.is_some_and(|event| event.attr.freq() == 0);
    let all = !options.events.is_empty() && parsed.all(every);
    match options.rate.or(all.then_some(Rate::Period(1))) {
        Some(Rate::Period(period)) => words.extend(["-c".to_owned(), period.to_string()]),
        Some(Rate::Frequency(hertz)) => words.extend(["-F".to_owned(), hertz.to_string()]),
        None => {}
    }
    words.extend(["-d", "-W", "-T", "--sample-cpu", "--data-page-size"].map(str::to_owned));
    let optional = [
        // perf gives up where the kernel refuses them.
        (fields.physical && counter::sees_physical(), "--phys-data"),
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
    Ok(words.iter().map(|word| quoted(word)).collect())
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+:,./@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sysfs;

    /// A machine whose `/sys/bus/event_source/devices` holds these files.
    fn machine(files: &[(&str, &str)]) -> Machine {
        let devices = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = devices.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, format!("{text}\n")).unwrap();
        }
        Machine {
            pmus: sysfs::pmus(devices.path()),
            ..Machine::default()
        }
    }

    /// What is printed for `record --print-command -c 1009 -p 4242`, without physical addresses.
    fn printed(machine: &Machine) -> String {
        let options = Options {
            target: Target::Pid(4242),
            engine: Engine::Auto,
            events: Vec::new(),
            output: "perf.data".into(),
            rate: Some(Rate::Period(1009)),
            ldlat: 30,
            fields: Fields {
                physical: false,
                ..Fields::default()
            },
            pages: 128,
            duration: None,
            print_command: true,
            analyze: None,
            quiet: false,
        };
        let wish = Wish {
            rate: options.rate,
            ldlat: options.ldlat,
            fields: options.fields,
        };
        perf_words(&options, machine, &wish).unwrap().join(" ")
    }

    const SAMPLED: &str = "-c 1009 -d -W -T --sample-cpu --data-page-size";
    const REST: &str = "--clockid mono -m 128 -o perf.data -p 4242";

    /// As an Ice Lake's sysfs reads: `arch/x86/events/intel/core.c`, `mem_ld_hsw`, `mem_st_hsw`.
    #[test]
    fn perf_is_told_loads_and_stores_on_intel() {
        let machine = machine(&[
            ("cpu/type", "4"),
            ("cpu/format/event", "config:0-7"),
            ("cpu/format/umask", "config:8-15"),
            ("cpu/format/ldlat", "config1:0-15"),
            ("cpu/events/mem-loads", "event=0xcd,umask=0x1,ldlat=3"),
            ("cpu/events/mem-stores", "event=0xd0,umask=0x82"),
        ]);
        let events = "-e cpu/mem-loads,ldlat=30/P -e cpu/mem-stores/P";
        let expected = format!("perf record {events} {SAMPLED} --intr-regs -g {REST}");
        assert_eq!(printed(&machine), expected);
    }

    /// `mem_ld_glc`: from Sapphire Rapids on `mem-loads-aux` leads the group of `mem-loads`.
    #[test]
    fn perf_is_told_the_group_of_cores_that_need_one() {
        let machine = machine(&[
            ("cpu/type", "4"),
            ("cpu/format/event", "config:0-7"),
            ("cpu/format/umask", "config:8-15"),
            ("cpu/format/ldlat", "config1:0-15"),
            ("cpu/events/mem-loads", "event=0xcd,umask=0x1,ldlat=3"),
            ("cpu/events/mem-loads-aux", "event=0x03,umask=0x82"),
            ("cpu/events/mem-stores", "event=0xcd,umask=0x2"),
        ]);
        let events = "-e '{cpu/mem-loads-aux/,cpu/mem-loads,ldlat=30/}:P' -e cpu/mem-stores/P";
        let expected = format!("perf record {events} {SAMPLED} --intr-regs -g {REST}");
        assert_eq!(printed(&machine), expected);
    }

    /// Alder Lake: the P-cores need the group, the E-cores do not.
    #[test]
    fn perf_is_told_both_kinds_of_cores_of_a_hybrid() {
        let machine = machine(&[
            ("cpu_atom/type", "10"),
            ("cpu_atom/cpus", "16-23"),
            ("cpu_atom/format/ldlat", "config1:0-15"),
            ("cpu_atom/events/mem-loads", "event=0xd0,umask=0x5,ldlat=3"),
            ("cpu_atom/events/mem-stores", "event=0xd0,umask=0x6"),
            ("cpu_core/type", "4"),
            ("cpu_core/cpus", "0-15"),
            ("cpu_core/format/ldlat", "config1:0-15"),
            ("cpu_core/events/mem-loads", "event=0xcd,umask=0x1,ldlat=3"),
            ("cpu_core/events/mem-loads-aux", "event=0x03,umask=0x82"),
            ("cpu_core/events/mem-stores", "event=0xcd,umask=0x2"),
        ]);
        let core = "-e '{cpu_core/mem-loads-aux/,cpu_core/mem-loads,ldlat=30/}:P' -e cpu_core/mem-stores/P";
        let atom = "-e cpu_atom/mem-loads,ldlat=30/P -e cpu_atom/mem-stores/P";
        let expected = format!("perf record {core} {atom} {SAMPLED} --intr-regs -g {REST}");
        assert_eq!(printed(&machine), expected);
    }

    /// IBS and SPE have no registers of the access; SPE's packets have no call chain either.
    #[test]
    fn perf_is_not_asked_for_what_ibs_and_spe_do_not_have() {
        let ibs = machine(&[
            ("ibs_op/type", "11"),
            ("ibs_op/format/cnt_ctl", "config:19"),
        ]);
        let expected = format!("perf record -e ibs_op// {SAMPLED} -g {REST}");
        assert_eq!(printed(&ibs), expected);
        let spe = machine(&[
            ("arm_spe_0/type", "9"),
            ("arm_spe_0/cpumask", "0-63"),
            ("arm_spe_0/caps/min_interval", "1024"),
            ("arm_spe_0/format/ts_enable", "config:0"),
            ("arm_spe_0/format/load_filter", "config:33"),
            ("arm_spe_0/format/store_filter", "config:34"),
        ]);
        let event = "-e arm_spe_0/ts_enable=1,load_filter=1,store_filter=1/";
        let expected = format!("perf record {event} {SAMPLED} {REST}");
        assert_eq!(printed(&spe), expected);
    }
}
