//! Call chains out of copies of the user's stack (`perf record --call-graph dwarf`).
//!
//! Every Go binary, a stripped one too, has what Go itself unwinds with: for each instruction how far
//! the stack pointer is below where it was when the function began (`pcsp`, `runtime/traceback.go`). So
//! a return address is found exactly, in prologues and in assembly without a frame pointer as well.
//! Frames of other code are followed by the frame pointer.

use crate::program::{Arch, Program};
use crate::recording::{CONTEXT_MAX, CONTEXT_USER, Copied, Recording};
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
        stack: recording.copied(i)?,
    };
    ips.push(CONTEXT_USER);
    walk.frames(&mut ips);
    Some(ips)
}

struct Walk<'a> {
    recording: &'a Recording,
    programs: &'a [Option<Arc<Program>>],
    pid: i32,
    time: u64,
    stack: Copied<'a>,
}

impl Walk<'_> {
    /// Adds the ips, innermost first, as far as they lead to code of known binaries.
    fn frames(&self, ips: &mut Vec<u64>) -> Option<()> {
        let numbers = self.stack.numbers;
        let mut ip = self.stack.register(numbers.ip)?;
        let mut sp = self.stack.sp;
        let mut fp = self.stack.register(numbers.fp)?;
        let mut link = numbers.link.and_then(|link| self.stack.register(link));
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
