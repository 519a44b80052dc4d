//! Takes int3s out of a program whose stepper was killed.
//!
//! The stepper starts this as a process of its own and tells it, a line each, what it wrote where:
//!
//! ```text
//! +4c7500 49      an int3 is at 0x4c7500, where 0x49 was
//! -4c7500         it is gone again
//! ```
//!
//! When the pipe ends, whatever is left is put back. A program that mempath started dies with the
//! stepper instead (`PTRACE_O_EXITKILL`).

use super::ptrace::Memory;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

/// The other process.
#[derive(Debug)]
pub struct Watchdog {
    child: Child,
    tell: Option<ChildStdin>,
}

impl Watchdog {
    /// Starts one for process `pid`.
    pub fn start(pid: i32) -> io::Result<Watchdog> {
        let mut child = Command::new("/proc/self/exe")
            .args(["restore", &pid.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C is for the stepper alone.
            .process_group(0)
            .spawn()?;
        let tell = child.stdin.take();
        Ok(Watchdog { child, tell })
    }

    /// Tells what is about to be written. Whoever cannot be told must not write.
    pub fn set(&mut self, addr: u64, byte: u8) -> io::Result<()> {
        self.say(&format!("+{addr:x} {byte:x}\n"))
    }

    pub fn cleared(&mut self, addr: u64) -> io::Result<()> {
        self.say(&format!("-{addr:x}\n"))
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        match &mut self.tell {
            Some(tell) => tell.write_all(line.as_bytes()),
            None => Ok(()),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.tell = None;
        // The stepper's waits may have seen its end already.
        let _ = self.child.wait();
    }
}

/// The other process' work: reads to the end of standard input, then puts back what is left.
///
/// # Errors
///
/// When the process cannot be written to: it has ended, most likely.
pub fn restore(pid: i32) -> io::Result<()> {
    let mut left = BTreeMap::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        if let Some(addr) = line.strip_prefix('-').and_then(hex) {
            left.remove(&addr);
        } else if let Some((addr, byte)) = line.strip_prefix('+').and_then(|l| l.split_once(' '))
            && let (Some(addr), Some(byte)) = (hex(addr), hex(byte))
        {
            left.insert(addr, byte as u8);
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    let memory = Memory::of(pid)?;
    for (addr, byte) in left {
        memory.set_byte(addr, byte)?;
    }
    Ok(())
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim(), 16).ok()
}
