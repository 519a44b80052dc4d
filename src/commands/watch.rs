//! `mempath watch`: every access to a few words of a map, by hardware breakpoints.

use crate::record::engines::breakpoints;
use crate::record::machine::Machine;
use crate::record::session::Settings;
use crate::record::target::Ended;
use crate::record::watch::{Done, Plan, Why, run as watch};
use anyhow::bail;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug)]
pub struct Options {
    pub plan: Plan,
    pub output: PathBuf,
    pub pages: usize,
    pub analyze: Option<super::analyze::Options>,
    pub quiet: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let plan = &options.plan;
    if !options.pages.is_power_of_two() {
        bail!("--mmap-pages {}: not a power of 2", options.pages);
    }
    let words = plan.map.as_ref().map_or(0, |map| map.words.len()) + plan.addresses.len();
    let (most, _) = breakpoints();
    if words == 0 {
        bail!(
            "nothing to watch: name words of a map (--map main.sessions --words flags,count) or an address (--addr 0xc000012340/8:w)"
        );
    }
    if most > 0 && words > most {
        bail!(
            "{words} words are to be watched, and this processor has debug registers for {most}: leave some out"
        );
    }
    let settings = Settings {
        output: options.output.clone(),
        pages: options.pages,
        aux_pages: 0,
        later_events: 0,
        running: false,
        cmdline: std::env::args().collect(),
        cpudesc: None,
    };
    let done = watch(plan, settings, Machine::here())?;
    if !options.quiet {
        tell(options, &done)?;
    }
    match &options.analyze {
        Some(analyze) => super::analyze::run(analyze),
        None => Ok(()),
    }
}

fn tell(options: &Options, done: &Done) -> io::Result<()> {
    let mut out = io::stderr().lock();
    if let (Some(map), Some(how)) = (&options.plan.map, &done.how) {
        writeln!(out, "mempath: {} was found {how}", map.map)?;
    }
    for word in &done.words {
        writeln!(
            out,
            "mempath: {} at {:#x}/{}: {} accesses",
            word.name, word.addr, word.len, word.samples
        )?;
    }
    if done.words.is_empty() {
        writeln!(
            out,
            "mempath: no word was ever there: the map was nil or has no such bucket"
        )?;
    }
    for gap in &done.gaps {
        writeln!(
            out,
            "mempath: the words moved; up to {:.1} ms are not watched, before {}.{:09}",
            gap.to.saturating_sub(gap.from) as f64 / 1e6,
            gap.to / 1_000_000_000,
            gap.to % 1_000_000_000,
        )?;
    }
    if !done.given_up.is_empty() {
        let without = done.given_up.join(", ");
        writeln!(
            out,
            "mempath: without {without}, which the kernel refuses here"
        )?;
    }
    let why = match done.why {
        Why::Process(ended) => format!("the process: {ended}"),
        Why::Time => "the time was over".to_owned(),
        Why::Signal(libc::SIGINT) => "interrupted".to_owned(),
        Why::Signal(signal) => format!("stopped by signal {signal}"),
        Why::Rate(rate) => format!(
            "stopped by the rate guard: {rate} accesses a second would slow the program; watch a \
             word that is used less, or raise --max-rate {}",
            options.plan.most
        ),
        Why::Moves => "the words moved too often to be followed".to_owned(),
    };
    let process = match (done.why, done.process) {
        (Why::Process(_), _) | (_, Ended::No) => String::new(),
        (_, ended) => format!("; the program: {ended}"),
    };
    writeln!(
        out,
        "mempath: {}: {} accesses, {} lost ({why}{process})",
        options.output.display(),
        done.totals.samples,
        done.totals.lost,
    )
}
