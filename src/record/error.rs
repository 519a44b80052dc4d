//! Why a recording could not be made, and what would help.

use std::io;
use std::path::PathBuf;

/// Every way in which recording fails.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error(
        "event '{event}': {reason}; an event is a name of perf list (page-faults, cpu-clock), pmu/name=value,.../, rN (hexadecimal) or mem:ADDRESS/LENGTH:rwx"
    )]
    Event { event: String, reason: String },

    #[error("event '{event}': perf_event_open said {errno} ({error}): {why}; {way_out}")]
    Open {
        event: String,
        /// `EACCES`, `ENOENT`, ...
        errno: String,
        why: String,
        way_out: String,
        error: io::Error,
    },

    #[error("no engine can record memory accesses here: {reason}; {way_out}")]
    NoEngine { reason: String, way_out: String },

    #[error(
        "event '{event}': the ring buffer of {kib} KiB for cpu {cpu} was refused ({error}); pass a smaller one (--mmap-pages 16), raise kernel.perf_event_mlock_kb, or give mempath CAP_IPC_LOCK"
    )]
    Ring {
        event: String,
        kib: usize,
        cpu: u32,
        error: io::Error,
    },

    #[error("process {pid}: {what}: {error}")]
    Process {
        pid: i32,
        what: &'static str,
        error: io::Error,
    },

    #[error("there is no process {pid}: it may have ended; find it with pgrep")]
    NoProcess { pid: i32 },

    #[error(
        "process {pid} belongs to user {owner} and mempath runs as user {own}: it is left alone; run mempath as that user (sudo -u '#{owner}' mempath ...) or as root"
    )]
    OtherUser { pid: i32, owner: u32, own: u32 },

    #[error("could not start '{program}': {error}")]
    Start { program: String, error: io::Error },

    #[error("could not write '{}': {error}; {kept}", path.display())]
    Write {
        path: PathBuf,
        /// What became of the records before.
        kept: String,
        error: io::Error,
    },

    #[error("{what}: {error}")]
    System {
        what: &'static str,
        error: io::Error,
    },
}

impl RecordError {
    /// For `map_err`: a call of the system that mempath cannot do without.
    pub fn system(what: &'static str) -> impl FnOnce(io::Error) -> RecordError {
        move |error| RecordError::System { what, error }
    }

    /// For `map_err`: a call that was about a process.
    pub fn process(pid: i32, what: &'static str) -> impl FnOnce(io::Error) -> RecordError {
        move |error| RecordError::Process { pid, what, error }
    }
}

/// `EACCES` for 13: what the documentation and other tools call it.
pub fn errno_name(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(libc::EACCES) => "EACCES",
        Some(libc::EPERM) => "EPERM",
        Some(libc::EINVAL) => "EINVAL",
        Some(libc::ENOENT) => "ENOENT",
        Some(libc::ENODEV) => "ENODEV",
        Some(libc::ENOSPC) => "ENOSPC",
        Some(libc::EOPNOTSUPP) => "EOPNOTSUPP",
        Some(libc::EBUSY) => "EBUSY",
        Some(libc::EMFILE) => "EMFILE",
        Some(libc::ESRCH) => "ESRCH",
        Some(libc::ENOSYS) => "ENOSYS",
        Some(libc::E2BIG) => "E2BIG",
        Some(libc::EOVERFLOW) => "EOVERFLOW",
        Some(number) => return format!("errno {number}"),
        None => "no errno",
    };
    name.to_owned()
}
