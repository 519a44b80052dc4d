//! Ctrl-C and its kin as something to wait for, so that a recording is always ended properly.

use super::RecordError;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// SIGINT, SIGTERM and SIGHUP, held back from ending this process while this lives; and SIGXFSZ, so
/// that a file that must not grow any more is an error to be told like a full disk.
#[derive(Debug)]
pub struct Signals {
    fd: OwnedFd,
    before: libc::sigset_t,
}

/// The set of these signals.
fn set(signals: &[i32]) -> libc::sigset_t {
    // SAFETY: sigemptyset makes the set whole before it is used; sigaddset writes nothing else.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for &signal in signals {
            libc::sigaddset(&raw mut set, signal);
        }
        set
    }
}

impl Signals {
    pub fn hold() -> Result<Signals, RecordError> {
        Signals::hold_with(&[])
    }

    /// Holds others back, too.
    pub fn hold_with(others: &[i32]) -> Result<Signals, RecordError> {
        let ours = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGXFSZ];
        let held = set(&[&ours, others].concat());
        // SAFETY: an empty sigset_t is plain bits.
        let mut before: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: both sets live for the call.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const held, &raw mut before) };
        // SAFETY: the set lives for the call; a new descriptor is made.
        let fd =
            unsafe { libc::signalfd(-1, &raw const held, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(RecordError::system("signalfd")(io::Error::last_os_error()));
        }
        Ok(Signals {
            // SAFETY: the kernel has just given us this descriptor.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            before,
        })
    }

    /// Readable when one has arrived.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Waits until one has arrived, or the time is over.
    pub fn wait(&self, timeout: Duration) {
        let mut poll = libc::pollfd {
            fd: self.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one pollfd, which lives for the call.
        unsafe { libc::poll(&raw mut poll, 1, millis) };
    }

    /// The signal that has arrived, if one has.
    pub fn arrived(&self) -> Option<i32> {
        // SAFETY: signalfd_siginfo is plain words, and the kernel writes at most its size.
        let info = unsafe {
            let mut info: libc::signalfd_siginfo = std::mem::zeroed();
            let size = size_of::<libc::signalfd_siginfo>();
            let len = libc::read(self.fd(), (&raw mut info).cast(), size);
            (usize::try_from(len) == Ok(size)).then_some(info)
        };
        info.and_then(|info| i32::try_from(info.ssi_signo).ok())
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        while self.arrived().is_some() {}
        // SAFETY: the set is the one that was in force before.
        unsafe {
            libc::pthread_sigmask(
                libc::SIG_SETMASK,
                &raw const self.before,
                std::ptr::null_mut(),
            )
        };
    }
}

/// For a child between fork and exec: it is to have no signal held back.
pub fn release_all() -> io::Result<()> {
    let none = set(&[]);
    // SAFETY: async-signal-safe; the set lives for the call.
    let result =
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) };
    match result {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}
