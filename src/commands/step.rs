//! `mempath step`: a modelled recording, where nothing can be measured.
//!
//! The stepping is done by a process of its own. A program whose tracer is killed dies of the next
//! SIGTRAP: so killing the command only tells the other process, which lets go of the program and
//! ends the recording. (Whoever kills that one as well kills the program.)

use crate::record::RecordError;
use crate::record::machine::Machine;
use crate::record::signals::Signals;
use crate::record::step::{self, Done, Emulate, Plan, Why};
use crate::record::target::{Ended, Target};
use anyhow::bail;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

#[derive(Debug)]
pub struct Options {
    pub plan: Plan,
    pub analyze: Option<super::analyze::Options>,
    pub quiet: bool,
    /// This is the other process.
    pub worker: bool,
}

/// How often the other process is looked at.
const PATIENCE: Duration = Duration::from_millis(20);

pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.worker {
        let done = step::run(&options.plan, Machine::here())?;
        if !options.quiet {
            tell(&options.plan, &done)?;
        }
        return Ok(());
    }
    delegate(&options.plan, options.quiet)?;
    match &options.analyze {
        Some(analyze) => super::analyze::run(analyze),
        None => Ok(()),
    }
}

/// A plan as a command line, but for its target.
fn words(plan: &Plan) -> Vec<OsString> {
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let caches = [plan.caches.l1, plan.caches.l2, plan.caches.l3];
    let caches = caches.map(|cache| (cache.bytes >> 10).to_string());
    let mut words: Vec<OsString> = vec!["step".into(), "--worker".into(), "--output".into()];
    words.push(plan.output.clone().into());
    let mut option = |name: &str, value: String| words.push(format!("--{name}={value}").into());
    option("window", millis(plan.window));
    option("pause", millis(plan.pause));
    option("count", plan.period.to_string());
    option("cores", plan.cores.to_string());
    let emulate = match plan.emulate {
        Emulate::No => "no",
        Emulate::Yes => "yes",
        Emulate::Check => "check",
    };
    option("emulate", emulate.to_owned());
    option("caches", caches.join(","));
    if let Some(duration) = plan.duration {
        option("for", millis(duration));
    }
    words
}

/// Has the plan carried out by another process, and waits for it.
fn delegate(plan: &Plan, quiet: bool) -> anyhow::Result<()> {
    let signals = Signals::hold_with(&[libc::SIGCHLD])?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("mempath").args(words(plan));
    if quiet {
        command.arg("--quiet");
    }
    match &plan.target {
        Target::Pid(pid) => command.args(["-p", &pid.to_string()]),
        Target::Command(words) => command.arg("--").args(words),
    };
    let hook = || {
        // SAFETY: prctl with numbers only.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the hook makes one system call and allocates nothing.
    unsafe { command.pre_exec(hook) };
    let mut worker = (command.spawn()).map_err(RecordError::system("starting the stepper"))?;
    loop {
        if let Some(status) = worker.try_wait()? {
            if !status.success() {
                // It has said why.
                bail!("nothing was recorded, or not all of it ({status})");
            }
            return Ok(());
        }
        while let Some(signal) = signals.arrived() {
            if signal != libc::SIGCHLD {
                // SAFETY: the child has not been waited for, so the pid is still its own.
                unsafe { libc::kill(worker.id() as i32, signal) };
            }
        }
        signals.wait(PATIENCE);
    }
}

fn tell(plan: &Plan, done: &Done) -> io::Result<()> {
    let mut out = io::stderr().lock();
    let seconds = done.stepping.as_secs_f64();
    let emulated = match plan.emulate {
        Emulate::No => String::new(),
        Emulate::Yes => format!(", {} of them emulated", done.emulated),
        Emulate::Check => format!(
            ", {} of them emulated too, {} with another result",
            done.emulated, done.differing
        ),
    };
    writeln!(
        out,
        "mempath: {} map calls stepped in {} windows, {} cut short; {} steps{emulated} in {seconds:.2} s, {:.0} a second",
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
