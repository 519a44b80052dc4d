//! What is to be undone in the program should the stepper be killed: the stepper notes it in memory
//! that it shares with its parent, which traces the stepper and undoes it.
//!
//! A process that is traced for `PTRACE_EVENT_EXIT` stands still before it dies, of SIGKILL too, and
//! its own tracees are let go only after that (`kernel/exit.c`, `do_exit`). In between the parent puts
//! the text back and stops the program; afterwards it gives each thread the registers that it would
//! have had without us, and lets the program go on.

use super::ptrace::{self, Memory, Registers, Stop};
use crate::record::target;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Places of int3s: map functions of a program and the calls that they make.
const PLACES: usize = 4096;
const THREADS: usize = 256;
const REGISTERS: usize = size_of::<Registers>() / 8;
/// A store (address, length, bytes) and the registers after it.
const SET: usize = 3 + REGISTERS;
/// Of a thread: its id, which set is in force (0: none), and two of them.
const SETS: usize = 2;
const WORDS: usize = SETS + 2 * SET;
/// The process, the number of places, and whether the parent watches, come first.
const HEAD: usize = 3;
const ALL: usize = HEAD + 2 * PLACES + WORDS * THREADS;

/// `rip` and `eflags` in a `ucontext` (`struct sigcontext_64`).
const CONTEXT_RIP: u64 = 40 + 16 * 8;
const CONTEXT_EFLAGS: u64 = 40 + 17 * 8;
/// TF of `eflags`.
const SINGLE_STEP: u64 = 1 << 8;
/// The threads must stop within this time; one that does not is inside of the kernel. The parent has
/// as long to say that it watches.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the stepper has changed, in memory that outlives it.
#[derive(Debug)]
pub struct Ledger {
    words: &'static [AtomicU64],
    file: Option<File>,
}

impl Ledger {
    /// # Errors
    ///
    /// When there is no memory for it.
    pub fn create() -> io::Result<Ledger> {
        // SAFETY: the name is a string that ends with 0.
        let fd = unsafe { libc::memfd_create(c"mempath-step".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len((ALL * 8) as u64)?;
        Ledger::map(Some(file))
    }

    /// The ledger that the parent has left open at this descriptor.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn inherited(fd: RawFd) -> io::Result<Ledger> {
        // SAFETY: a number; what is not open is refused.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the parent has left the descriptor to us alone.
        let file = unsafe { File::from_raw_fd(fd) };
        if file.metadata()?.len() != (ALL * 8) as u64 {
            return Err(io::Error::other("no ledger"));
        }
        Ledger::map(Some(file))
    }

    /// One that nobody else reads.
    ///
    /// # Errors
    ///
    /// When there is no memory for it.
    pub fn private() -> io::Result<Ledger> {
        Ledger::map(None)
    }

    fn map(file: Option<File>) -> io::Result<Ledger> {
        let more = if file.is_some() {
            0
        } else {
            libc::MAP_ANONYMOUS
        };
        // SAFETY: a new mapping, of a file that is as long or of none; nothing else is there.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                ALL * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | more,
                file.as_ref().map_or(-1, |file| file.as_raw_fd()),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: aligned to a page, as long, and mapped until the process ends; words of any value
        // are valid, and others change them as atomics too.
        let words = unsafe { std::slice::from_raw_parts(at.cast::<AtomicU64>(), ALL) };
        Ok(Ledger { words, file })
    }

    /// The descriptor, for a child between fork and exec to leave open.
    pub fn fd(&self) -> Option<RawFd> {
        Some(self.file.as_ref()?.as_raw_fd())
    }

    fn get(&self, at: usize) -> u64 {
        self.words
            .get(at)
            .map_or(0, |word| word.load(Ordering::Acquire))
    }

    fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.words.get(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// The parent watches the stepper, or cannot: it may begin.
    pub fn watched(&self) {
        self.set(2, 1);
    }

    /// Waits until the parent watches. A parent that has died never will; nor is there one to undo.
    pub fn wait_for_parent(&self) {
        let begin = Instant::now();
        while self.file.is_some() && self.get(2) == 0 && begin.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    pub fn begin(&self, pid: i32) {
        self.set(0, pid as u64);
    }

    /// The program is as it was, or is another one.
    pub fn end(&self) {
        self.set(0, 0);
    }

    /// An int3 will be where this byte is. `false`: there is no room, and it must not.
    pub fn place(&self, addr: u64, byte: u8) -> bool {
        let number = self.get(1) as usize;
        if number >= PLACES {
            return false;
        }
        self.set(HEAD + 2 * number, addr);
        self.set(HEAD + 2 * number + 1, u64::from(byte));
        self.set(1, number as u64 + 1);
        true
    }

    fn places(&self) -> BTreeMap<u64, u8> {
        let number = (self.get(1) as usize).min(PLACES);
        (0..number)
            .map(|i| {
                (
                    self.get(HEAD + 2 * i),
                    self.get(HEAD + 2 * i + 1).to_le_bytes()[0],
                )
            })
            .collect()
    }

    fn thread(&self, tid: i32) -> Option<usize> {
        let mut slots = (0..THREADS).map(|i| HEAD + 2 * PLACES + WORDS * i);
        slots.find(|slot| self.get(*slot) == tid as u64)
    }

    /// The thread does not have these registers, nor has it made this store, but is to. `false`: there
    /// is no room for it here, and it must execute by itself.
    pub fn ahead(&self, tid: i32, registers: &Registers, write: Option<(u64, &[u8])>) -> bool {
        let Some(slot) = self.thread(tid).or_else(|| self.thread(0)) else {
            return false;
        };
        // The set that is in force stays whole until the other one is.
        let turn = 3 - self.get(slot + 1).clamp(1, 2);
        let set = slot + SETS + SET * (turn as usize - 1);
        let (addr, bytes) = write.unwrap_or_default();
        let mut word = [0; 8];
        word.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        let head = [addr, bytes.len().min(8) as u64, u64::from_le_bytes(word)];
        for (i, value) in head.into_iter().chain(words(registers)).enumerate() {
            self.set(set + i, value);
        }
        self.set(slot, tid as u64);
        self.set(slot + 1, turn);
        true
    }

    /// The thread has the registers that it is to have.
    pub fn caught_up(&self, tid: i32) {
        if let Some(slot) = self.thread(tid) {
            self.set(slot + 1, 0);
        }
    }

    /// The thread has ended.
    pub fn forget(&self, tid: i32) {
        if let Some(slot) = self.thread(tid) {
            self.set(slot + 1, 0);
            self.set(slot, 0);
        }
    }

    /// The registers and the store that a thread lacks.
    fn lacks(&self, tid: i32) -> Option<(Registers, u64, Vec<u8>)> {
        let slot = self.thread(tid)?;
        let turn @ 1..=2 = self.get(slot + 1) else {
            return None;
        };
        let set = slot + SETS + SET * (turn as usize - 1);
        let mut bytes = self.get(set + 2).to_le_bytes().to_vec();
        bytes.truncate(self.get(set + 1) as usize);
        let values = std::array::from_fn(|i| self.get(set + 3 + i));
        Some((registers(values), self.get(set), bytes))
    }
}

fn words(registers: &Registers) -> [u64; REGISTERS] {
    // SAFETY: both are so many words without a gap, and any value of them is valid.
    unsafe { std::mem::transmute(*registers) }
}

fn registers(words: [u64; REGISTERS]) -> Registers {
    // SAFETY: as above.
    unsafe { std::mem::transmute(words) }
}

/// Undoes what a stepper did that is about to die, and stands still in its `PTRACE_EVENT_EXIT`.
/// `stepper` is let go, and so is the program:
/// its id, where there was something to undo.
///
/// # Errors
///
/// When the program's memory cannot be written or a thread of it does not stop. What can be undone is
/// undone all the same.
pub fn undo(ledger: &Ledger, stepper: i32) -> io::Result<Option<i32>> {
    let pid = ledger.get(0) as i32;
    if pid == 0 {
        ptrace::detach(stepper, 0)?;
        return Ok(None);
    }
    let places = ledger.places();
    let memory = Memory::of(pid)?;
    let whole = places
        .iter()
        .try_for_each(|(addr, byte)| memory.set_byte(*addr, *byte));
    // Each thread has a SIGSTOP of its own to find when it is let go, before it executes anything.
    for tid in target::threads(pid).unwrap_or_default() {
        // SAFETY: numbers only.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, libc::SIGSTOP) };
    }
    ptrace::detach(stepper, 0)?;
    ptrace::wait_for(stepper, true);
    let mended = mend_all(ledger, pid, &memory, &places);
    // SAFETY: numbers only.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    whole.and(mended)?;
    Ok(Some(pid))
}

fn mend_all(
    ledger: &Ledger,
    pid: i32,
    memory: &Memory,
    places: &BTreeMap<u64, u8>,
) -> io::Result<()> {
    let begin = Instant::now();
    let mut mended = BTreeSet::new();
    let mut held = BTreeSet::new();
    loop {
        let threads = target::threads(pid).map_err(io::Error::other)?;
        for tid in &threads {
            if !mended.contains(tid) && !held.contains(tid) && ptrace::seize(*tid, false).is_ok() {
                held.insert(*tid);
                // Where it stands still already this changes nothing.
                let _ = ptrace::interrupt(*tid);
            }
        }
        for tid in held.clone() {
            let Some((_, stop)) = ptrace::wait_for(tid, false) else {
                continue;
            };
            if matches!(stop, Stop::Asked | Stop::Group) && ptrace::owes_trap(tid) {
                // It may have been killed.
                let _ = ptrace::resume(tid, 0);
                continue;
            }
            held.remove(&tid);
            mended.insert(tid);
            if !matches!(stop, Stop::Exit(_) | Stop::Killed(_)) {
                mend(ledger, tid, stop, memory, places)?;
            }
        }
        if threads.iter().all(|tid| mended.contains(tid)) {
            return Ok(());
        }
        if begin.elapsed() > PATIENCE {
            return Err(io::Error::other("a thread does not stop"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Gives a thread that stands still what it would have without us, and lets go of it.
fn mend(
    ledger: &Ledger,
    tid: i32,
    stop: Stop,
    memory: &Memory,
    places: &BTreeMap<u64, u8>,
) -> io::Result<()> {
    let mut registers = ptrace::registers(tid)?;
    let before = registers;
    if let Some((wanted, addr, bytes)) = ledger.lacks(tid) {
        memory.write(addr, &bytes)?;
        registers = wanted;
    } else if let Some((context, code)) = handler_of_a_trap(&registers, memory) {
        let rip = memory.u64(context + CONTEXT_RIP).unwrap_or(0);
        let flags = memory.u64(context + CONTEXT_EFLAGS).unwrap_or(0);
        let rip = match code == libc::SI_KERNEL {
            true => unhit(rip, places).unwrap_or(rip),
            false => rip,
        };
        memory.write(context + CONTEXT_RIP, &rip.to_le_bytes())?;
        memory.write(
            context + CONTEXT_EFLAGS,
            &(flags & !SINGLE_STEP).to_le_bytes(),
        )?;
        // As if the handler had returned: sigreturn restores all there is.
        registers.rip = memory.u64(registers.rsp).unwrap_or(registers.rip);
        registers.rsp = context;
        registers.orig_rax = u64::MAX;
    } else if let Some(at) = unhit(registers.rip, places) {
        // Without a signal the stepper has taken it, and came to nothing more.
        let hit = match stop {
            Stop::Signal(libc::SIGTRAP) => ptrace::signal_code(tid)? == libc::SI_KERNEL,
            _ => !executed(places.get(&at).copied(), at, &registers, memory),
        };
        if hit {
            registers.rip = at;
        }
    }
    if words(&registers) != words(&before) {
        ptrace::set_registers(tid, &registers)?;
    }
    let signal = match stop {
        Stop::Signal(signal) if signal != libc::SIGTRAP && signal != libc::SIGSTOP => signal,
        _ => 0,
    };
    ptrace::detach(tid, signal)
}

/// Where the thread stands at the begin of its handler of SIGTRAP, which none of its own instructions
/// has raised: the address of the interrupted context (`struct rt_sigframe` of
/// `arch/x86/include/asm/sigframe.h`: the address to return to, the `ucontext`, the `siginfo`), and
/// `si_code`.
fn handler_of_a_trap(registers: &Registers, memory: &Memory) -> Option<(u64, i32)> {
    let context = registers.rsp.checked_add(8)?;
    // si_signo, si_errno, si_code.
    let number = memory.u64(registers.rsi)? as i32;
    let code = memory.u64(registers.rsi.checked_add(8)?)? as i32;
    let is = registers.rdi == libc::SIGTRAP as u64
        && registers.rdx == context
        && number == libc::SIGTRAP;
    is.then_some((context, code))
}

/// The int3 of ours that a thread has executed, where it stands behind one.
fn unhit(rip: u64, places: &BTreeMap<u64, u8>) -> Option<u64> {
    let at = rip.wrapping_sub(1);
    places.contains_key(&at).then_some(at)
}

/// Whether a thread stands behind `at` because it has executed what belongs there, which only an
/// instruction of one byte can be: `push` and `pop` leave a trace on the stack, `nop` can be executed
/// twice, and nothing stands behind a `ret`.
fn executed(byte: Option<u8>, at: u64, registers: &Registers, memory: &Memory) -> bool {
    let r = registers;
    let pushed = [r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi];
    match byte {
        Some(push @ 0x50..=0x57) => {
            memory.u64(r.rsp) == pushed.get(usize::from(push - 0x50)).copied()
        }
        // Behind a call its return address is still there, below the top.
        Some(0x58..=0x5f) => memory.u64(r.rsp.wrapping_sub(8)) != Some(at),
        _ => false,
    }
}
