//! `mempath step`: a modelled recording, where nothing can be measured.
//!
//! The stepping is done by a process of its own. A program whose tracer is killed dies of the next
//! SIGTRAP: so killing the command only tells the other process, which lets go of the program and
//! ends the recording; and when that one is killed, the command undoes what it did to the program
//! ([`guard`]). Where the program runs already, a third process in a session of its own stands between the
//! two, so that it outlives a kill of the command's whole process group. (Whoever kills the last two at
//! once kills the program.)

use crate::record::RecordError;
use crate::record::machine::Machine;
use crate::record::signals::Signals;
use crate::record::step::guard::{self, Ledger};
use crate::record::step::ptrace::{self, Stop};
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
    /// This is the other process; the descriptor of its ledger.
    pub worker: Option<i32>,
}

/// In place of a ledger: the process that stands between.
const GUARD: i32 = -1;
/// In place of a ledger: nobody reads it.
const ALONE: i32 = -2;
/// How often the other process is looked at.
const PATIENCE: Duration = Duration::from_millis(20);

pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(fd) = options.worker.filter(|fd| *fd != GUARD) {
        let ledger = match fd {
            ALONE => Ledger::private(),
            _ => Ledger::inherited(fd),
        };
        let ledger = ledger.map_err(RecordError::system("the ledger"))?;
        let done = step::run(&options.plan, Machine::here(), ledger)?;
        if !options.quiet {
            tell(&options.plan, &done)?;
        }
        return Ok(());
    }
    let running = matches!(options.plan.target, Target::Pid(_));
    let guarded = running && options.worker.is_none();
    match delegate(&options.plan, options.quiet, guarded)? {
        0 => {}
        // The command says so.
        code if options.worker.is_some() => std::process::exit(code),
        // The other process has said why.
        _ => bail!("nothing was recorded, or not all of it"),
    }
    match &options.analyze {
        Some(analyze) => super::analyze::run(analyze),
        None => Ok(()),
    }
}

/// A plan as a command line, but for its target.
fn words(plan: &Plan, worker: i32) -> Vec<OsString> {
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let caches = [plan.caches.l1, plan.caches.l2, plan.caches.l3];
    let caches = caches.map(|cache| (cache.bytes >> 10).to_string());
    let mut words: Vec<OsString> = vec!["step".into(), "--output".into()];
    words.push(plan.output.clone().into());
    let mut option = |name: &str, value: String| words.push(format!("--{name}={value}").into());
    option("worker", worker.to_string());
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

/// Has the plan carried out by another process, and waits for it; `guarded`: through one more.
/// Its exit code.
fn delegate(plan: &Plan, quiet: bool, guarded: bool) -> anyhow::Result<i32> {
    let signals = Signals::hold_with(&[libc::SIGCHLD])?;
    // A limit on the size of files (RLIMIT_FSIZE) is one on shared memory too: then nothing is undone
    // should the stepper be killed.
    let ledger = Ledger::create().or_else(|_| Ledger::private());
    let ledger = ledger.map_err(RecordError::system("mmap"))?;
    let fd = ledger.fd();
    let mut command = Command::new("/proc/self/exe");
    command.arg0("mempath").args(words(
        plan,
        if guarded { GUARD } else { fd.unwrap_or(ALONE) },
    ));
    if quiet {
        command.arg("--quiet");
    }
    match &plan.target {
        Target::Pid(pid) => command.args(["-p", &pid.to_string()]),
        Target::Command(words) => command.arg("--").args(words),
    };
    let hook = move || {
        // SAFETY: numbers only.
        let done = unsafe {
            let apart = !guarded || libc::setsid() > 0;
            let open = guarded || fd.is_none_or(|fd| libc::fcntl(fd, libc::F_SETFD, 0) == 0);
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) == 0 && apart && open
        };
        match done {
            true => Ok(()),
            false => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the hook makes one system call and allocates nothing.
    unsafe { command.pre_exec(hook) };
    let worker = (command.spawn()).map_err(RecordError::system("starting the stepper"))?;
    let worker = worker.id() as i32;
    // Where it is refused, nothing is undone should the stepper be killed.
    let _ = ptrace::watch_end(worker);
    ledger.watched();
    loop {
        while let Some((_, stop)) = ptrace::wait_for(worker, false) {
            match stop {
                Stop::Exit(code) => return Ok(code),
                Stop::Killed(signal) => bail!("the stepper was ended by signal {signal}"),
                Stop::Ending => match guard::undo(&ledger, worker) {
                    Ok(None) => {}
                    Ok(Some(pid)) => bail!(
                        "the stepper was killed: process {pid} runs on as it was, and {} holds what was \
                         written before",
                        plan.output.display()
                    ),
                    Err(error) => bail!("the stepper was killed, and the program harmed ({error})"),
                },
                Stop::Group => drop(ptrace::listen(worker)),
                Stop::Signal(signal) => drop(ptrace::resume(worker, signal)),
                _ => drop(ptrace::resume(worker, 0)),
            }
        }
        while let Some(signal) = signals.arrived() {
            // What is said of files is said to each process by itself.
            if !matches!(signal, libc::SIGCHLD | libc::SIGXFSZ) {
                // SAFETY: the child has not been waited for, so the pid is still its own.
                unsafe { libc::kill(worker, signal) };
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
