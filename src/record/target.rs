//! The process to be recorded: one that runs, or one that is started for it and waits until its
//! events are armed.

use super::RecordError;
use super::signals;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::thread::JoinHandle;

/// What the command line asks to record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `-p PID`
    Pid(i32),
    /// `-- CMD`
    Command(Vec<OsString>),
}

/// A process, watched for its end. One that mempath started is ended with it.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    fd: OwnedFd,
    start: Option<Start>,
    child: Option<Child>,
}

/// A child between fork and exec.
#[derive(Debug)]
struct Start {
    program: String,
    gate: io::PipeWriter,
    spawn: JoinHandle<io::Result<Child>>,
}

/// How a process came to its end, as far as its parent or a stranger can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It still runs.
    No,
    /// It was not ours: its status is its parent's.
    Gone,
    Exit(i32),
    Signal(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::No => f.write_str("it still runs"),
            Ended::Gone => f.write_str("it has ended"),
            Ended::Exit(0) => f.write_str("it ended"),
            Ended::Exit(code) => write!(f, "it ended with exit code {code}"),
            Ended::Signal(signal) => write!(f, "it was ended by signal {signal}"),
        }
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Ended {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exit(code),
            (None, Some(signal)) => Ended::Signal(signal),
            (None, None) => Ended::Gone,
        }
    }
}

impl Process {
    /// Attaches to a process that runs, or starts one that waits for [`Process::release`].
    ///
    /// # Errors
    ///
    /// When there is none, it is another user's, or it cannot be started.
    pub fn of(target: &Target) -> Result<Process, RecordError> {
        match target {
            Target::Pid(pid) => Process::attach(*pid),
            Target::Command(command) => Process::start(command),
        }
    }

    fn attach(pid: i32) -> Result<Process, RecordError> {
        let folder = std::fs::metadata(format!("/proc/{pid}"))
            .map_err(|_| RecordError::NoProcess { pid })?;
        // SAFETY: geteuid has no preconditions and cannot fail.
        let own = unsafe { libc::geteuid() };
        if folder.uid() != own && own != 0 && !capable(CAP_PERFMON) && !capable(CAP_SYS_PTRACE) {
            return Err(RecordError::OtherUser {
                pid,
                owner: folder.uid(),
                own,
            });
        }
        Ok(Process {
            pid,
            fd: pidfd(pid)?,
            start: None,
            child: None,
        })
    }

    fn start(command: &[OsString]) -> Result<Process, RecordError> {
        let (name, arguments) = command.split_first().ok_or_else(|| RecordError::Start {
            program: String::new(),
            error: io::Error::other("no command was given after --"),
        })?;
        let program = name.to_string_lossy().into_owned();
        let fail = |error| RecordError::Start {
            program: program.clone(),
            error,
        };
        let (mut told, tell) = io::pipe().map_err(fail)?;
        let (wait, gate) = io::pipe().map_err(fail)?;
        let mut command = Command::new(name);
        command.args(arguments);
        let (told_fd, gate_fd) = (told.as_raw_fd(), gate.as_raw_fd());
        let hook = move || {
            signals::release_all()?;
            // The ends that are the recorder's: while a child held them open it would not see the
            // recorder die.
            // SAFETY: these are descriptors of this child alone, and nothing here uses them.
            unsafe {
                libc::close(told_fd);
                libc::close(gate_fd);
            }
            // SAFETY: getpid has no preconditions.
            let pid = unsafe { libc::getpid() };
            (&tell).write_all(&pid.to_ne_bytes())?;
            let mut go = [0];
            (&wait).read_exact(&mut go)
        };
        // SAFETY: between fork and exec the hook makes system calls only and allocates nothing.
        unsafe { command.pre_exec(hook) };
        // `spawn` returns when the child has execed, which it does after the gate opens.
        let spawn = std::thread::spawn(move || command.spawn());
        let mut pid = [0; 4];
        if told.read_exact(&mut pid).is_err() {
            let failed = spawn.join().ok().and_then(Result::err);
            let error = failed.unwrap_or_else(|| io::Error::other("the child ended at once"));
            return Err(fail(error));
        }
        let pid = i32::from_ne_bytes(pid);
        Ok(Process {
            pid,
            fd: pidfd(pid)?,
            start: Some(Start {
                program,
                gate,
                spawn,
            }),
            child: None,
        })
    }

    /// Lets a started program begin. Returns when it has execed.
    ///
    /// # Errors
    ///
    /// When there is no such program or it must not be run.
    pub fn release(&mut self) -> Result<(), RecordError> {
        let Some(start) = self.start.take() else {
            return Ok(());
        };
        let fail = |error| RecordError::Start {
            program: start.program,
            error,
        };
        // A child that was killed meanwhile cannot read; spawn then says so.
        let _ = (&start.gate).write_all(&[1]);
        let spawned = (start.spawn.join()).map_err(|_| io::Error::other("the start panicked"));
        match spawned.and_then(|child| child) {
            Ok(child) => {
                self.child = Some(child);
                Ok(())
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// Whether it was started by mempath.
    pub fn is_ours(&self) -> bool {
        self.start.is_some() || self.child.is_some()
    }

    /// Readable when the process has ended.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub fn ended(&mut self) -> Ended {
        if let Some(child) = &mut self.child {
            return child
                .try_wait()
                .ok()
                .flatten()
                .map_or(Ended::No, Ended::from);
        }
        if readable(self.fd()) {
            Ended::Gone
        } else {
            Ended::No
        }
    }

    /// Asks a process that mempath started to end, and waits until it has.
    pub fn end(&mut self) -> Ended {
        let Some(child) = &mut self.child else {
            return self.ended();
        };
        if let Ok(None) = child.try_wait() {
            // SAFETY: the child has not been waited for, so the pid is still its own.
            unsafe { libc::kill(self.pid, libc::SIGTERM) };
        }
        child.wait().map_or(Ended::Gone, Ended::from)
    }

    /// Waits for a process that mempath started; looks at another.
    pub fn wait(&mut self) -> Ended {
        match &mut self.child {
            Some(child) => child.wait().map_or(Ended::Gone, Ended::from),
            None => self.ended(),
        }
    }

    /// Its threads at this moment.
    pub fn threads(&self) -> Result<Vec<i32>, RecordError> {
        threads(self.pid)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without the byte the child's read fails, and it ends without an exec.
        if let Some(start) = self.start.take() {
            drop(start.gate);
            let _ = start.spawn.join();
        }
    }
}

/// The threads of a process, by id.
pub fn threads(pid: i32) -> Result<Vec<i32>, RecordError> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/task"));
    let mut threads: Vec<i32> = folder
        .map_err(|_| RecordError::NoProcess { pid })?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    threads.sort_unstable();
    Ok(threads)
}

fn pidfd(pid: i32) -> Result<OwnedFd, RecordError> {
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        let error = io::Error::last_os_error();
        return Err(RecordError::process(
            pid,
            "watching for its end (pidfd_open)",
        )(error));
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn readable(fd: RawFd) -> bool {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, which lives for the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
}

/// `include/uapi/linux/capability.h`.
pub const CAP_SYS_PTRACE: u32 = 19;
pub const CAP_SYS_ADMIN: u32 = 21;
pub const CAP_IPC_LOCK: u32 = 14;
pub const CAP_PERFMON: u32 = 38;

/// Whether mempath has a capability in force.
pub fn capable(capability: u32) -> bool {
    let mut status = String::new();
    let read = File::open("/proc/self/status").and_then(|mut f| f.read_to_string(&mut status));
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    read.is_ok() && effective.is_some_and(|mask| mask >> capability & 1 != 0)
}
