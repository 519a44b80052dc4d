//! Call chains out of copies of the user's stack (`perf record --call-graph dwarf`).
//!
//! Every Go binary, a stripped one too, has what Go itself unwinds with: for each instruction how far
//! the stack pointer is below where it was when the function began (`pcsp`, `runtime/traceback.go`). So
//! a return address is found exactly, in prologues and in assembly without a frame pointer as well.
//! Frames of other code are followed by the frame pointer.

use crate::program::{Arch, Program};
use crate::recording::{ABI_64, CONTEXT_MAX, CONTEXT_USER, Recording};
use rayon::prelude::*;
use std::sync::Arc;

/// Frames of a chain: `PERF_MAX_STACK_DEPTH`.
const MOST_FRAMES: usize = 127;

/// Where a stack begins, or goes on on another one.
const OUTERMOST: &[&str] = &[
    "runtime.goexit",
    "runtime.goexit1",
    "runtime.mcall",
    "runtime.morestack",
    "runtime.mstart",
    "runtime.rt0_go",
    "runtime.systemstack",
];

/// Samples that one thread unwinds at a time.
const CHUNK: usize = 1 << 12;

/// perf's numbers of the registers that unwinding needs (`perf_regs.h`).
struct Numbers {
    ip: u32,
    sp: u32,
    fp: u32,
    /// Where a call leaves the return address, if not on the stack.
    link: Option<u32>,
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

/// Gives the samples that have a copy of the user's stack, and no chain of user code, their chain.
/// `programs[image]` is the binary of an image, where it was found.
pub fn unwind(recording: &mut Recording, programs: &[Option<Arc<Program>>]) {
    let rows = recording.samples.len();
    if recording.samples.stack.start.is_empty() || recording.meta.big_endian {
        return;
    }
    let chunks = (0..rows.div_ceil(CHUNK)).into_par_iter().map(|chunk| {
        let rows = chunk * CHUNK..rows.min((chunk + 1) * CHUNK);
        let of_row = |i| Some((i, chain(recording, programs, i)?));
        rows.filter_map(of_row).collect()
    });
    let unwound: Vec<Vec<(usize, Vec<u64>)>> = chunks.collect();
    let samples = &mut recording.samples;
    samples.chain.pad(rows, 0);
    let chains = &mut samples.chains;
    let ids: Vec<(usize, u32)> = unwound
        .iter()
        .flatten()
        .map(|(i, ips)| (*i, chains.add(ips)))
        .collect();
    samples.chain.replace(ids);
}

/// The chain of sample `i`, the kernel's part as recorded; `None` where there is nothing to add.
fn chain(recording: &Recording, programs: &[Option<Arc<Program>>], i: usize) -> Option<Vec<u64>> {
    let samples = &recording.samples;
    let recorded = samples.chain.get(i).unwrap_or(0);
    let mut ips = samples.chains.get(recorded).to_vec();
    let user = ips.iter().skip_while(|&&ip| ip != CONTEXT_USER).skip(1);
    if user.take_while(|&&ip| ip < CONTEXT_MAX).count() > 1 {
        return None;
    }
    ips.retain(|&ip| ip != CONTEXT_USER);
    let (pid, _) = samples.thread.get(i)?;
    let walk = Walk {
        recording,
        programs,
        pid,
        time: samples.time.get(i).unwrap_or(0),
        stack: Stack::parse(recording.stack(i)?, recording.event(i)?.sample_regs_user)?,
    };
    ips.push(CONTEXT_USER);
    walk.frames(&mut ips);
    Some(ips)
}

/// A sample's copy of the stack, with the registers at it.
struct Stack<'a> {
    values: &'a [u8],
    mask: u64,
    sp: u64,
    numbers: &'static Numbers,
    /// From `sp` on.
    bytes: &'a [u8],
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

impl<'a> Stack<'a> {
    /// `{ abi u64, registers u64.. }`, `{ size u64, bytes, dyn_size u64 }`.
    fn parse(data: &'a [u8], mask: u64) -> Option<Stack<'a>> {
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
        let mut stack = Stack {
            values,
            mask,
            sp: 0,
            numbers: if is_arm { &AARCH64 } else { &X86_64 },
            bytes,
        };
        stack.sp = stack.reg(stack.numbers.sp)?;
        Some(stack)
    }

    fn reg(&self, number: u32) -> Option<u64> {
        if self.mask >> number & 1 == 0 {
            return None;
        }
        let before = self.mask & ((1 << number) - 1);
        word(self.values, before.count_ones() as usize * 8)
    }

    fn read(&self, address: u64) -> Option<u64> {
        word(
            self.bytes,
            usize::try_from(address.checked_sub(self.sp)?).ok()?,
        )
    }
}

struct Walk<'a> {
    recording: &'a Recording,
    programs: &'a [Option<Arc<Program>>],
    pid: i32,
    time: u64,
    stack: Stack<'a>,
}

impl Walk<'_> {
    /// Adds the ips, innermost first, as far as they lead to code of known binaries.
    fn frames(&self, ips: &mut Vec<u64>) -> Option<()> {
        let numbers = self.stack.numbers;
        let mut ip = self.stack.reg(numbers.ip)?;
        let mut sp = self.stack.sp;
        let mut fp = self.stack.reg(numbers.fp)?;
        let mut link = numbers.link.and_then(|link| self.stack.reg(link));
        ips.push(ip);
        for depth in 1..MOST_FRAMES {
            // A return address may lie behind the last instruction of its function.
            let probe = if depth == 1 { ip } else { ip.checked_sub(1)? };
            let (program, vaddr) = self.code_at(probe)?;
            let function = program.function_at(vaddr)?;
            if OUTERMOST.contains(&function.name.as_str()) {
                return None;
            }
            let above = match (program.sp_delta_at(vaddr), program.arch) {
                (Some(delta), Arch::X86_64) => {
                    let at = sp.checked_add(delta)?;
                    ip = self.stack.read(at)?;
                    if delta >= 8 {
                        fp = self.stack.read(at - 8)?;
                    }
                    at.checked_add(8)?
                }
                (Some(0), _) => {
                    ip = link.take()?;
                    sp
                }
                (Some(delta), _) => {
                    ip = self.stack.read(sp)?;
                    fp = self.stack.read(sp.checked_sub(8)?).unwrap_or(fp);
                    sp.checked_add(delta)?
                }
                (None, _) => {
                    let at = fp;
                    ip = self.stack.read(at.checked_add(8)?)?;
                    fp = self.stack.read(at)?;
                    at.checked_add(16)?
                }
            };
            let leaf = depth == 1 && above == sp;
            if above <= sp && !leaf {
                return None;
            }
            sp = above;
            self.code_at(ip.checked_sub(1)?)?;
            ips.push(ip);
        }
        None
    }

    /// The binary that an address of code lies in, and its link-time address.
    fn code_at(&self, ip: u64) -> Option<(&Program, u64)> {
        let mapping = self.recording.space.find(self.pid, ip, self.time)?;
        let program = self.programs.get(mapping.image as usize)?.as_deref()?;
        let offset = ip.wrapping_sub(mapping.start).wrapping_add(mapping.pgoff);
        Some((program, program.vaddr_of_offset(offset)?))
    }
}
