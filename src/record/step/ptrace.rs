//! ptrace, its stops, and the memory of a process that is traced.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

/// General registers of x86-64.
pub type Registers = libc::user_regs_struct;

const OPTIONS: i32 = libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACEEXEC;

/// Why a thread stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It has ended: exit code, or the signal that did it.
    Exit(i32),
    Killed(i32),
    /// A signal is about to be delivered; SIGTRAP after a step or an int3.
    Signal(i32),
    /// It has made another thread, a process with a copy of its memory, or one that shares it for
    /// now.
    Clone,
    Fork,
    VFork,
    Exec,
    /// It is about to end, and holds what it has.
    Ending,
    /// A stop that was asked for, or the first of a new thread.
    Asked,
    /// SIGSTOP and its kin, for the whole process.
    Group,
}

impl Stop {
    fn of(status: i32) -> Stop {
        if libc::WIFEXITED(status) {
            return Stop::Exit(libc::WEXITSTATUS(status));
        }
        if libc::WIFSIGNALED(status) {
            return Stop::Killed(libc::WTERMSIG(status));
        }
        let signal = libc::WSTOPSIG(status);
        match status >> 16 {
            libc::PTRACE_EVENT_CLONE => Stop::Clone,
            libc::PTRACE_EVENT_FORK => Stop::Fork,
            libc::PTRACE_EVENT_VFORK => Stop::VFork,
            libc::PTRACE_EVENT_EXEC => Stop::Exec,
            libc::PTRACE_EVENT_EXIT => Stop::Ending,
            libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => Stop::Asked,
            libc::PTRACE_EVENT_STOP => Stop::Group,
            _ => Stop::Signal(signal),
        }
    }
}

fn request(request: u32, tid: i32, addr: usize, data: usize) -> io::Result<()> {
    // SAFETY: no request made through here writes to our memory: `data` is a number.
    match unsafe { libc::ptrace(request, tid, addr, data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Attaches without stopping it. With `kill` the process dies with us.
pub fn seize(tid: i32, kill: bool) -> io::Result<()> {
    let more = if kill { libc::PTRACE_O_EXITKILL } else { 0 };
    request(libc::PTRACE_SEIZE, tid, 0, (OPTIONS | more) as usize)
}

/// Attaches to a process for the moment before its end alone.
pub fn watch_end(pid: i32) -> io::Result<()> {
    request(
        libc::PTRACE_SEIZE,
        pid,
        0,
        libc::PTRACE_O_TRACEEXIT as usize,
    )
}

/// Asks a thread to stop.
pub fn interrupt(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0, 0)
}

/// Lets it run, with a signal delivered (0: none).
pub fn resume(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_CONT, tid, 0, signal as usize)
}

/// Lets it execute one instruction.
pub fn step(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_SINGLESTEP, tid, 0, 0)
}

/// Leaves it in its group stop.
pub fn listen(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_LISTEN, tid, 0, 0)
}

/// Lets go of a stopped thread, with a signal delivered (0: none).
pub fn detach(tid: i32, signal: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, tid, 0, signal as usize)
}

/// The thread or process that a clone or fork made.
pub fn made(tid: i32) -> io::Result<i32> {
    let mut number: libc::c_ulong = 0;
    // SAFETY: the kernel writes one word, which lives for the call.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_GETEVENTMSG,
            tid,
            0,
            std::ptr::from_mut(&mut number),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => i32::try_from(number).map_err(io::Error::other),
    }
}

/// Whether a SIGTRAP of its own waits for a stopped thread. A stop that was asked for, and one of the
/// whole process, come before it (`kernel/signal.c`, `get_signal`): let go then, the program would get
/// the trap. With [`resume`] it is the next stop, before any instruction.
pub fn owes_trap(tid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("SigPnd:"));
    let pending = pending.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    pending.is_some_and(|mask| mask & 1 << (libc::SIGTRAP - 1) != 0)
}

/// `si_code` of the signal that is about to be delivered to a stopped thread.
pub fn signal_code(tid: i32) -> io::Result<i32> {
    // SAFETY: the struct is plain words; the kernel writes all of it.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one siginfo_t, which lives for the call.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_GETSIGINFO,
            tid,
            0,
            std::ptr::from_mut(&mut info),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(info.si_code),
    }
}

pub fn registers(tid: i32) -> io::Result<Registers> {
    // SAFETY: the struct is plain words; the kernel writes all of it.
    let mut registers: Registers = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one user_regs_struct, which lives for the call.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_GETREGS,
            tid,
            0,
            std::ptr::from_mut(&mut registers),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(registers),
    }
}

pub fn set_registers(tid: i32, registers: &Registers) -> io::Result<()> {
    // SAFETY: the kernel reads one user_regs_struct, which lives for the call.
    match unsafe { libc::ptrace(libc::PTRACE_SETREGS, tid, 0, std::ptr::from_ref(registers)) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Waits for the next stop of any thread that is traced. `None` when `block` is not asked for and
/// there is none, or when nothing is traced any more.
pub fn wait(block: bool) -> Option<(i32, Stop)> {
    wait_for(-1, block)
}

/// The same of one thread.
pub fn wait_for(tid: i32, block: bool) -> Option<(i32, Stop)> {
    let mut status = 0;
    let flags = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    // SAFETY: `status` lives for the call.
    let tid = unsafe { libc::waitpid(tid, &raw mut status, flags) };
    (tid > 0).then(|| (tid, Stop::of(status)))
}

/// Memory of a process, which is traced: code can be written too.
#[derive(Debug)]
pub struct Memory {
    pid: i32,
    file: File,
}

impl Memory {
    pub fn of(pid: i32) -> io::Result<Memory> {
        let path = format!("/proc/{pid}/mem");
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Memory { pid, file })
    }

    pub fn u64(&self, addr: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, addr).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    pub fn byte(&self, addr: u64) -> io::Result<u8> {
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, addr)?;
        Ok(byte[0])
    }

    pub fn set_byte(&self, addr: u64, byte: u8) -> io::Result<()> {
        self.file.write_all_at(&[byte], addr)
    }

    pub fn write(&self, addr: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, addr)
    }

    /// So many bytes, at most 8, little-endian, as the process itself could read them.
    pub fn load(&self, addr: u64, len: usize) -> Option<u64> {
        let mut bytes = [0u8; 8];
        let ours = iovec(bytes.as_mut_ptr(), len.min(8));
        let theirs = iovec(std::ptr::without_provenance_mut(addr as usize), len.min(8));
        // SAFETY: the kernel writes at most `len` bytes, at most 8, which live for the call; addresses
        // of the other process are only looked up there.
        let read = unsafe { libc::process_vm_readv(self.pid, &ours, 1, &theirs, 1, 0) };
        (read == len as isize).then(|| u64::from_le_bytes(bytes))
    }

    /// Stores bytes, at most 8, where the process itself could.
    pub fn store(&self, addr: u64, bytes: &[u8]) -> Option<()> {
        let ours = iovec(bytes.as_ptr().cast_mut(), bytes.len());
        let theirs = iovec(std::ptr::without_provenance_mut(addr as usize), bytes.len());
        // SAFETY: the kernel reads `bytes`, which live for the call.
        let written = unsafe { libc::process_vm_writev(self.pid, &ours, 1, &theirs, 1, 0) };
        (written == bytes.len() as isize).then_some(())
    }
}

fn iovec(base: *mut u8, len: usize) -> libc::iovec {
    libc::iovec {
        iov_base: base.cast(),
        iov_len: len,
    }
}
