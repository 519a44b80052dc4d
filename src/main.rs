//! Parses, runs, prints an error chain once.

use std::io::{self, Write};
use std::process::ExitCode;

/// Larger pieces of memory go back to the system when they are freed: what a stage of the analysis used
/// does not add up with what the next one does. Of glibc's allocator, which keeps them otherwise.
#[cfg(target_env = "gnu")]
const GOES_BACK: libc::c_int = 1 << 20;

fn main() -> ExitCode {
    // SAFETY: sets a number that the allocator reads; no other thread runs.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GOES_BACK)
    };
    match mempath::cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when stderr is closed.
            let _ = writeln!(io::stderr(), "mempath: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The reader of our output went away (`mempath ... | head`): it had what it wanted.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
