//! Records a process until it ends, the time is over, or Ctrl-C.

use super::RecordError;
use super::event::Event;
use super::machine::Machine;
use super::session::{Session, Settings, Totals};
use super::signals::Signals;
use super::target::{Ended, Process, Target};
use std::time::{Duration, Instant};

/// Rings are emptied at least this often.
const PATIENCE: Duration = Duration::from_millis(100);

/// Why a recording came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The process ended.
    Process(Ended),
    /// The time that was asked for was over.
    Time,
    /// Ctrl-C, or another signal of this number.
    Signal(i32),
}

/// A recording that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    pub totals: Totals,
    pub why: Why,
    /// What became of a process that mempath started.
    pub process: Ended,
}

/// Records `events` of `target`, for `duration` at most.
///
/// A program that mempath started is ended with the recording; one that ran is left running.
///
/// # Errors
///
/// When process, events or file cannot be had. What was recorded before is kept in the file.
pub fn run(
    target: &Target,
    mut events: Vec<Event>,
    settings: Settings,
    machine: Machine,
    duration: Option<Duration>,
) -> Result<Done, RecordError> {
    let tracker = events.iter().position(|event| !event.aux).unwrap_or(0);
    if let Some(event) = events.get_mut(tracker) {
        event.track();
    }
    let signals = Signals::hold()?;
    let mut process = Process::of(target)?;
    let threads = process.threads()?;
    let settings = Settings {
        running: !process.is_ours(),
        ..settings
    };
    if process.is_ours() {
        // Until it execs it is a copy of mempath.
        events
            .iter_mut()
            .for_each(|event| event.attr.set_enable_on_exec(1));
    }
    let output = settings.output.clone();
    let mut session = Session::open(settings, machine, events, process.pid, &threads)?;
    if !process.is_ours() {
        session.enable(None)?;
    }
    let begin = Instant::now();
    if let Err(error) = process.release() {
        // Nothing ran: an empty recording would only mislead.
        let _ = std::fs::remove_file(&output);
        return Err(error);
    }
    let why = loop {
        let left = duration.map(|duration| duration.saturating_sub(begin.elapsed()));
        if left == Some(Duration::ZERO) {
            break Why::Time;
        }
        let patience = left.map_or(PATIENCE, |left| left.min(PATIENCE));
        session.wait(&[signals.fd(), process.fd()], patience)?;
        if let Err(error) = session.drain() {
            // The disk is full: what is there is ended properly.
            process.end();
            session.finish()?;
            return Err(error);
        }
        if let Some(signal) = signals.arrived() {
            break Why::Signal(signal);
        }
        match process.ended() {
            Ended::No => {}
            ended => break Why::Process(ended),
        }
    };
    session.disable();
    let totals = session.finish()?;
    let process = process.end();
    Ok(Done {
        totals,
        why,
        process,
    })
}
