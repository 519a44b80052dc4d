//! The registers at a sample, and the copy of the stack that they point to.
//!
//! `REGS_INTR` are those of the sampled code, `REGS_USER` those that user code goes on with: the same
//! ones where the sample is of user code (`perf_sample_regs_user`, kernel/events/core.c).

use super::{ABI_64, Event, Recording};
use perf_event_open_sys::bindings as sys;

/// perf's numbers of the registers that have a meaning of their own (`perf_regs.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    pub ip: u32,
    pub sp: u32,
    pub fp: u32,
    /// Where a call leaves the return address, if not on the stack.
    pub link: Option<u32>,
}

const X86_64: Numbers = Numbers {
    ip: 8,
    sp: 7,
    fp: 6,
    link: None,
};

const AARCH64: Numbers = Numbers {
    ip: 32,
    sp: 31,
    fp: 29,
    link: Some(30),
};

/// A sample's copy of the user's stack, with the user's registers at it.
#[derive(Debug, Clone, Copy)]
pub struct Copied<'a> {
    values: &'a [u8],
    mask: u64,
    pub sp: u64,
    pub numbers: &'static Numbers,
    /// From `sp` on.
    bytes: &'a [u8],
}

/// Which of the sampled registers the one of this number is, if it is one: they are in order of their numbers.
fn place_of(number: u32, mask: u64) -> Option<usize> {
    let sampled = number < u64::BITS && mask >> number & 1 == 1;
    sampled.then(|| (mask & ((1 << number) - 1)).count_ones() as usize)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

impl<'a> Copied<'a> {
    /// `{ abi u64, registers u64.. }`, `{ size u64, bytes, dyn_size u64 }`.
    fn parse(data: &'a [u8], mask: u64) -> Option<Copied<'a>> {
        let registers = match word(data, 0)? {
            ABI_64 => mask.count_ones() as usize * 8,
            // None, or those of a 32-bit task, whose stack has words of 4 bytes.
            _ => return None,
        };
        let (values, rest) = data.get(8..)?.split_at_checked(registers)?;
        let size = usize::try_from(word(rest, 0)?).ok()?;
        let copied = word(rest, 8usize.checked_add(size)?)?;
        let bytes = rest.get(8..8 + size)?;
        let bytes = bytes.get(..usize::try_from(copied).ok()?.min(size))?;
        let is_arm = mask >> AARCH64.ip & 1 == 1;
        let mut of = Copied {
            values,
            mask,
            sp: 0,
            numbers: if is_arm { &AARCH64 } else { &X86_64 },
            bytes,
        };
        of.sp = of.register(of.numbers.sp)?;
        Some(of)
    }

    /// A register of the user's, by perf's number.
    pub fn register(&self, number: u32) -> Option<u64> {
        word(self.values, place_of(number, self.mask)? * 8)
    }

    /// The word at an address, where it was copied.
    pub fn read(&self, address: u64) -> Option<u64> {
        let at = address.checked_sub(self.sp)?;
        word(self.bytes, usize::try_from(at).ok()?)
    }
}

/// What is recorded of the processor right after the instruction of one sample.
#[derive(Debug, Clone, Copy)]
pub struct Processor<'a> {
    recording: &'a Recording,
    /// Where its registers begin, as `Regs::start`, and which these are.
    start: u64,
    mask: u64,
    /// Of the sampled code itself.
    pub stack: Option<Copied<'a>>,
}

impl Processor<'_> {
    /// A register, by perf's number (`arch/x86/include/uapi/asm/perf_regs.h`).
    pub fn register(&self, number: u32) -> Option<u64> {
        let own = self.of_code(number);
        own.or_else(|| self.stack.as_ref()?.register(number))
    }

    /// The same of `REGS_INTR`.
    fn of_code(&self, number: u32) -> Option<u64> {
        if self.start == u64::MAX {
            return None;
        }
        let before = place_of(number, self.mask)? as u64;
        let Recording {
            samples,
            meta,
            bytes,
            ..
        } = self.recording;
        match self.start.checked_sub(meta.file_size) {
            Some(start) => {
                let at = usize::try_from(start.checked_add(before)?).ok()?;
                samples.regs_intr.values.get(at).copied()
            }
            None => {
                let bytes = bytes.file.part(self.start.checked_add(8 * before)?, 8)?;
                meta.order().u64_at(bytes, 0)
            }
        }
    }

    /// The word that lies so many bytes from the stack pointer on.
    pub fn slot(&self, at: u64) -> Option<u64> {
        let stack = self.stack.as_ref()?;
        stack.read(stack.sp.checked_add(at)?)
    }

    /// The word at an address of the stack.
    pub fn read(&self, address: u64) -> Option<u64> {
        self.stack.as_ref()?.read(address)
    }
}

impl Event {
    /// Whether its samples have registers of the sampled code.
    pub fn samples_registers(&self) -> bool {
        let copies = self.sample_type & u64::from(sys::PERF_SAMPLE_STACK_USER) != 0;
        self.sample_regs_intr != 0 || copies && self.sample_regs_user != 0
    }
}

impl Recording {
    /// The copy of the user's stack of sample `i`; of a sample in the kernel that of the code that called
    /// it.
    pub fn copied(&self, i: usize) -> Option<Copied<'_>> {
        if self.samples.stack.start.is_empty() || self.meta.big_endian {
            return None;
        }
        Copied::parse(self.stack(i)?, self.event(i)?.sample_regs_user)
    }

    /// The registers of sample `i`, and its stack, as far as they are those of the sampled code.
    pub fn processor(&self, i: usize) -> Processor<'_> {
        let of_code = |copied: &Copied| {
            let ip = copied.register(copied.numbers.ip);
            ip.is_some() && ip == self.samples.ip.get(i)
        };
        Processor {
            recording: self,
            start: self.samples.regs_intr.start.get(i).unwrap_or(u64::MAX),
            mask: self.event(i).map_or(0, |event| event.sample_regs_intr),
            stack: self.copied(i).filter(of_code),
        }
    }
}
