//! `mempath step`: a modelled recording, where nothing can be measured.

use crate::record::machine::Machine;
use crate::record::step::{self, Done, Plan, Why};
use crate::record::target::Ended;
use std::io::{self, Write};

#[derive(Debug)]
pub struct Options {
    pub plan: Plan,
    pub analyze: Option<super::analyze::Options>,
    pub quiet: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let done = step::run(&options.plan, Machine::here())?;
    if !options.quiet {
        tell(&options.plan, &done)?;
    }
    match &options.analyze {
        Some(analyze) => super::analyze::run(analyze),
        None => Ok(()),
    }
}

/// Puts back what the stepper of process `pid` left, when standard input ends.
pub fn restore(pid: i32) -> anyhow::Result<()> {
    Ok(step::restore(pid)?)
}

fn tell(plan: &Plan, done: &Done) -> io::Result<()> {
    let mut out = io::stderr().lock();
    let seconds = done.stepping.as_secs_f64();
    writeln!(
        out,
        "mempath: {} map calls stepped in {} windows, {} cut short; {} steps in {seconds:.2} s, {:.0} a second",
        done.calls,
        done.windows,
        done.cut,
        done.steps,
        done.steps as f64 / seconds.max(1e-9),
    )?;
    let why = match done.why {
        Why::Process(ended) => format!("the process: {ended}"),
        Why::Time => "the time was over".to_owned(),
        Why::Signal(libc::SIGINT) => "interrupted".to_owned(),
        Why::Signal(signal) => format!("stopped by signal {signal}"),
        Why::Exec => "the process executes another program".to_owned(),
    };
    let process = match (done.why, done.process) {
        (Why::Process(_), _) | (_, Ended::No) => String::new(),
        (_, ended) => format!("; the program: {ended}"),
    };
    writeln!(
        out,
        "mempath: {}: {} samples, levels and latencies modelled ({why}{process})",
        plan.output.display(),
        done.samples,
    )
}
