//! Says on stderr which stage runs, when stderr is a terminal and the stage takes over a second.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Shorter stages are not worth a line.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Progress {
    wanted: bool,
}

impl Progress {
    pub fn new(wanted: bool) -> Progress {
        Progress {
            wanted: wanted && std::io::stderr().is_terminal(),
        }
    }

    /// Runs a stage.
    pub fn stage<T>(&self, name: &'static str, work: impl FnOnce() -> T) -> T {
        give_back();
        self.last_stage(name, work)
    }

    /// Runs the last stage, in the memory that the others let go of.
    pub fn last_stage<T>(&self, name: &'static str, work: impl FnOnce() -> T) -> T {
        if !self.wanted {
            return work();
        }
        thread::scope(|scope| {
            let (done, waiting) = mpsc::channel::<()>();
            scope.spawn(move || {
                if waiting.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let bar = spinner(name);
                    // The sender is dropped when the work is over, or panics.
                    let _ = waiting.recv();
                    bar.finish_and_clear();
                }
            });
            let result = work();
            drop(done);
            result
        })
    }
}

/// What the stages before let go of goes back to the system: glibc's allocator keeps small pieces of it,
/// and most of a recording is in small pieces.
fn give_back() {
    // SAFETY: other threads may allocate meanwhile.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

fn spinner(name: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
        bar.set_style(style);
    }
    bar.set_message(name);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
