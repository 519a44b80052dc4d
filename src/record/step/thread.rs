//! The int3s in the program, and the map calls that are being stepped.

use super::guard::Ledger;
use super::ptrace::{Memory, Registers};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

const INT3: u8 = 0xcc;

/// Frames of a call chain, as `kernel.perf_event_max_stack` has it.
const MOST_FRAMES: usize = 127;
/// Instructions of the caller that are followed after a map call: the elem is used at once or by
/// code that no straight line leads to.
const AFTERMATH: u32 = 24;

/// Where a call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// In map code.
    Map,
    /// Returned: in this function, for so many instructions more.
    Caller { left: u32, function: Range<u64> },
}

/// One use of a map, from the entry of its function to a little after its return.
#[derive(Debug, Clone)]
pub struct Call {
    /// `rsp` at the entry: where the return address lies.
    sp: u64,
    pub phase: Phase,
    /// Return addresses of the callers, innermost first.
    outer: Vec<u64>,
    /// Return addresses of calls within map code, outermost first, with where they lie.
    inner: Vec<(u64, u64)>,
}

impl Call {
    /// A call that is about to execute its first instruction. Go keeps frame pointers: `rbp` is that
    /// of the caller (`abi-internal.md`).
    pub fn enter(registers: &Registers, memory: &Memory) -> Call {
        let mut outer: Vec<u64> = memory.u64(registers.rsp).into_iter().collect();
        let mut frame = registers.rbp;
        while outer.len() < MOST_FRAMES && frame != 0 {
            let (Some(next), Some(back)) = (
                memory.u64(frame),
                frame.checked_add(8).and_then(|at| memory.u64(at)),
            ) else {
                break;
            };
            if back == 0 {
                break;
            }
            outer.push(back);
            // Frames lie upwards; anything else is no chain.
            if next <= frame {
                break;
            }
            frame = next;
        }
        Call {
            sp: registers.rsp,
            phase: Phase::Map,
            outer,
            inner: Vec::new(),
        }
    }

    /// Return addresses, innermost first.
    pub fn callers(&self) -> Vec<u64> {
        let outer = match self.phase {
            Phase::Map => self.outer.as_slice(),
            // The function that is executing now was the first of them.
            Phase::Caller { .. } => self.outer.get(1..).unwrap_or_default(),
        };
        let inner = self.inner.iter().rev().map(|(_, back)| *back);
        inner
            .chain(outer.iter().copied())
            .take(MOST_FRAMES)
            .collect()
    }

    /// A call within map code was made, or returned from: keeps the chain of return addresses.
    pub fn follow(&mut self, registers: &Registers, called: bool, memory: &Memory) {
        if called && let Some(back) = memory.u64(registers.rsp) {
            self.inner.push((registers.rsp, back));
        }
        self.inner.retain(|(at, _)| *at >= registers.rsp);
    }

    /// Whether the map function has returned: its return address is off the stack.
    pub fn returned(&self, registers: &Registers) -> bool {
        registers.rsp > self.sp
    }

    pub fn back_in_caller(&mut self, function: Range<u64>) {
        self.inner.clear();
        self.phase = Phase::Caller {
            left: AFTERMATH,
            function,
        };
    }
}

/// A call whose thread executes other code natively until it returns to `back`.
#[derive(Debug)]
pub struct Away {
    pub call: Call,
    pub back: u64,
    /// `rsp` after the return.
    pub sp: u64,
}

/// What an int3 is for.
#[derive(Debug, Clone, Copy, Default)]
struct Trap {
    /// What was there.
    byte: u8,
    entry: bool,
    /// Calls that return here.
    returns: usize,
}

/// The int3s of a process.
#[derive(Debug)]
pub struct Traps {
    pub memory: Memory,
    pub ledger: Ledger,
    traps: BTreeMap<u64, Trap>,
    /// Wherever one ever was, and what belongs there: a thread may have executed it just before it
    /// went.
    ever: FxHashMap<u64, u8>,
}

impl Traps {
    pub fn new(memory: Memory, ledger: Ledger) -> Traps {
        Traps {
            memory,
            ledger,
            traps: BTreeMap::new(),
            ever: FxHashMap::default(),
        }
    }

    pub fn is_entry(&self, addr: u64) -> bool {
        self.traps.get(&addr).is_some_and(|trap| trap.entry)
    }

    pub fn is_set(&self, addr: u64) -> bool {
        self.traps.contains_key(&addr)
    }

    /// Whether there was one that is gone, so that a SIGTRAP from there is ours.
    pub fn was(&self, addr: u64) -> bool {
        self.ever.contains_key(&addr)
    }

    pub fn set_entry(&mut self, addr: u64) -> io::Result<()> {
        self.set(addr)?.entry = true;
        Ok(())
    }

    pub fn set_return(&mut self, addr: u64) -> io::Result<()> {
        self.set(addr)?.returns += 1;
        Ok(())
    }

    fn set(&mut self, addr: u64) -> io::Result<&mut Trap> {
        if !self.traps.contains_key(&addr) {
            let byte = self.memory.byte(addr)?;
            if !self.ever.contains_key(&addr) && !self.ledger.place(addr, byte) {
                return Err(io::Error::other("too many places for int3s"));
            }
            self.memory.set_byte(addr, INT3)?;
            self.ever.insert(addr, byte);
            let trap = Trap {
                byte,
                ..Trap::default()
            };
            self.traps.insert(addr, trap);
        }
        Ok(self.traps.entry(addr).or_default())
    }

    pub fn clear_return(&mut self, addr: u64) -> io::Result<()> {
        if let Some(trap) = self.traps.get_mut(&addr) {
            trap.returns = trap.returns.saturating_sub(1);
            if trap.returns == 0 && !trap.entry {
                return self.clear(addr);
            }
        }
        Ok(())
    }

    fn clear(&mut self, addr: u64) -> io::Result<()> {
        if let Some(trap) = self.traps.remove(&addr) {
            self.memory.set_byte(addr, trap.byte)?;
        }
        Ok(())
    }

    /// Puts back everything.
    ///
    /// # Errors
    ///
    /// When the process is gone; then there is nothing to put back.
    pub fn clear_all(&mut self) -> io::Result<()> {
        let all: Vec<u64> = self.traps.keys().copied().collect();
        all.into_iter().try_for_each(|addr| self.clear(addr))
    }

    /// The process executes another program.
    pub fn forget(&mut self) {
        self.ledger.end();
        self.traps.clear();
    }

    /// Puts the original byte back for one step.
    pub fn lift(&self, addr: u64) -> io::Result<()> {
        let trap = self.traps.get(&addr);
        trap.map_or(Ok(()), |trap| self.memory.set_byte(addr, trap.byte))
    }

    pub fn put(&self, addr: u64) -> io::Result<()> {
        match self.is_set(addr) {
            true => self.memory.set_byte(addr, INT3),
            false => Ok(()),
        }
    }

    /// Takes the int3s out of a copy of the process.
    pub fn clean_copy(&self, pid: i32) -> io::Result<()> {
        let copy = Memory::of(pid)?;
        let mut places = self.ever.iter();
        places.try_for_each(|(addr, byte)| copy.set_byte(*addr, *byte))
    }
}
