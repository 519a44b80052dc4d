//! One memory access with what the order and sharing analyses ask of it.

use crate::attribute::flow::abi;
use crate::attribute::{Operation, Phase, Place};
use crate::data_src::{Level, Op, Snoop};
use crate::gomap::Part;
use crate::program::Arch;
use crate::recording::{Event, Memory, Recording};
use crate::tables::Accesses;
use rayon::prelude::*;

/// A memory access; `None` is not recorded or not known.
#[derive(Debug, Clone, Copy, Default)]
pub struct Touch<'a> {
    /// Index of the sample in file order.
    pub n: usize,
    /// Nanoseconds on the recording's clock.
    pub time: Option<u64>,
    pub pid: i32,
    pub tid: Option<i32>,
    /// Of the code of a map operation: the goroutine that executes it, by the address of its `g`, where
    /// registers were sampled. It may go on on another thread wherever it calls.
    pub g: Option<u64>,
    pub cpu: Option<u16>,
    /// First byte accessed. Of a breakpoint the accessed byte where it is known, else the watched one.
    pub addr: u64,
    /// Bytes accessed, where the instruction was decoded.
    pub width: Option<u8>,
    pub op: Option<Op>,
    pub locked: bool,
    pub level: Option<Level>,
    pub snoop: Option<Snoop>,
    /// Cycles.
    pub latency: Option<u32>,
    pub part: Option<Part>,
    pub slot: Option<i8>,
    /// Index into `Attribution::maps`.
    pub map: Option<u32>,
    pub place: Option<&'a Place>,
    /// Every access to the watched bytes was recorded, not one in many.
    pub exact: bool,
}

/// Where the accesses are taken from.
#[derive(Debug)]
pub struct Touches<'a> {
    recording: &'a Recording,
    accesses: &'a Accesses<'a>,
    /// By place: what its instruction says.
    decoded: Vec<Decoded>,
    /// perf's number of the register that holds `g`.
    g: Option<u32>,
}

impl<'a> Touches<'a> {
    pub fn new(recording: &'a Recording, accesses: &'a Accesses) -> Touches<'a> {
        Touches {
            recording,
            accesses,
            decoded: decoded(&accesses.attribution().places),
            g: g_register(recording.meta.arch.as_deref()),
        }
    }

    /// Sample `n`; `None` when it is no memory access or has no address.
    #[inline]
    pub fn get(&self, n: usize) -> Option<Touch<'a>> {
        let recording = self.recording;
        let row = self.accesses.get(n);
        let kind = row.kind?;
        let exact = recording
            .event(n)
            .is_some_and(|e| e.memory == Memory::Breakpoint);
        let decoded = row.place_id.and_then(|id| self.decoded.get(id as usize));
        let decoded = decoded.copied().unwrap_or_default();
        let accessed = match (row.base, row.off) {
            (Some(base), Some(off)) if exact => base.checked_add(off.into()),
            _ => None,
        };
        let addr = accessed.or(row.addr).filter(|&addr| addr != 0)?;
        let thread = row.thread;
        let in_operation = row.place.is_some_and(|place| place.operation.is_some());
        let g = self.g.filter(|_| in_operation);
        let g = g.and_then(|register| recording.processor(n).register(register));
        Some(Touch {
            n,
            time: row.time,
            pid: thread.map_or(0, |t| t.0),
            tid: thread.map(|t| t.1),
            g,
            cpu: row.cpu,
            addr,
            width: decoded.width,
            op: kind.op.or(decoded.op),
            locked: kind.locked == Some(true) || decoded.locked,
            level: kind.level,
            snoop: kind.snoop,
            latency: row.latency,
            part: row.part.ok(),
            slot: row.slot,
            map: row.map_id,
            place: row.place,
            exact,
        })
    }

    /// What sample `n` is put in order by, if [`Touches::get`] has it.
    fn key(&self, n: u32) -> Option<(Option<u64>, u32)> {
        let (rows, i) = (self.accesses.rows(), n as usize);
        let is_there = match rows.is_watched(i) {
            true => self.get(i).is_some(),
            false => rows.is_access(i) && rows.addr(i).is_some_and(|addr| addr != 0),
        };
        is_there.then(|| (rows.time(i), n))
    }

    /// All accesses with an address, in the order of their times; of one time in file order.
    pub fn in_order(&self) -> Vec<Touch<'a>> {
        self.first_in_order(usize::MAX)
    }

    /// The same of at most so many accesses, the first of the file.
    pub fn first_in_order(&self, most: usize) -> Vec<Touch<'a>> {
        let (count, end) = first_accesses(self.recording, most);
        // Touches are large: their numbers are put in order instead, and each is written to its place.
        let mut in_order: Vec<(Option<u64>, u32)> = Vec::with_capacity(count);
        in_order.par_extend((0..end as u32).into_par_iter().filter_map(|n| self.key(n)));
        // A sort that makes use of what is in order: a CPU's samples are.
        in_order.par_sort();
        let touches = in_order.par_iter();
        let touches = touches.map(|(_, n)| self.get(*n as usize).unwrap_or_default());
        touches.collect()
    }
}

/// How many accesses the first `most` of the file are, and the samples up to the last of them.
pub fn first_accesses(recording: &Recording, most: usize) -> (usize, usize) {
    let is_access = recording.per_kind(Event::is_access);
    let all = 0..recording.samples.len();
    let accesses = all.filter(|&n| is_access.get(n) == Some(true)).take(most);
    accesses.fold((0, 0), |(count, _), n| (count + 1, n + 1))
}

impl<'a> Touch<'a> {
    pub fn is_load(&self) -> bool {
        self.op.is_some_and(Op::is_load)
    }

    pub fn is_store(&self) -> bool {
        self.op.is_some_and(Op::is_store)
    }

    pub fn operation(&self) -> Option<Operation> {
        self.place?.operation
    }

    pub fn phase(&self) -> Option<Phase> {
        self.place?.phase
    }

    /// The function whose code this is, inlined ones apart.
    pub fn function(&self) -> Option<&'a str> {
        self.place?.function.as_deref()
    }

    /// `function file:line` of the innermost frame.
    pub fn code(&self) -> String {
        let Some(place) = self.place else {
            return "unknown code".to_owned();
        };
        let function = crate::tables::inner(place).unwrap_or("unknown function");
        match crate::tables::file_line(place) {
            (Some(file), Some(line)) => {
                let file = file.rsplit('/').next().unwrap_or(file);
                format!("{function} {file}:{line}")
            }
            _ => format!("{function} ip {:#x}", place.ip),
        }
    }

    /// Whether the two have a byte in common; a width that is not known counts as one byte.
    pub fn overlaps(&self, other: &Touch) -> bool {
        let end = |t: &Touch| t.addr.saturating_add(t.width.unwrap_or(1).max(1).into());
        self.addr < end(other) && other.addr < end(self)
    }
}

/// perf's number of the register that Go's ABI keeps the running goroutine in; `None` on machines
/// (`uname -m`) whose code is not followed.
fn g_register(machine: Option<&str>) -> Option<u32> {
    let arch = match machine? {
        "x86_64" => Arch::X86_64,
        "aarch64" => Arch::Aarch64,
        _ => return None,
    };
    let abi = abi(arch)?;
    abi.perf.get(abi.g).copied()
}

/// By place: what its instruction says, where it was decoded.
pub fn decoded(places: &[Place]) -> Vec<Decoded> {
    let of = |place: &Place| place.instruction.as_deref().map(Decoded::of);
    places.iter().map(|p| of(p).unwrap_or_default()).collect()
}

/// What the text of an x86 instruction (Intel's order: destination first) says of its memory operand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decoded {
    pub op: Option<Op>,
    pub width: Option<u8>,
    /// A `lock` prefix, or `xchg`, which locks by itself.
    pub locked: bool,
}

impl Decoded {
    /// Of an instruction that names no memory in brackets nothing is said but `lock`.
    pub fn of(text: &str) -> Decoded {
        let text = text.trim();
        let (prefixed, text) = match text.strip_prefix("lock ") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mnemonic, operands) = text.split_once(' ').unwrap_or((text, ""));
        if !operands.contains('[') {
            return Decoded {
                locked: prefixed,
                ..Decoded::default()
            };
        }
        let first = operands.split(',').next().unwrap_or("").contains('[');
        Decoded {
            op: Some(op_of(mnemonic, first)),
            width: width_of(operands),
            locked: prefixed || mnemonic == "xchg",
        }
    }
}

fn op_of(mnemonic: &str, memory_first: bool) -> Op {
    let reads_only = [
        "cmp", "test", "bt", "push", "call", "jmp", "vucomi", "ucomi",
    ];
    if mnemonic.starts_with("xchg") || mnemonic.starts_with("cmpxchg") || mnemonic == "xadd" {
        return Op::LoadStore;
    }
    if mnemonic.starts_with("prefetch") {
        return Op::Prefetch;
    }
    let is_move = mnemonic.starts_with("mov") || mnemonic.starts_with("vmov");
    match memory_first {
        false => Op::Load,
        true if is_move || mnemonic.starts_with("set") || mnemonic == "pop" => Op::Store,
        true if reads_only.contains(&mnemonic) => Op::Load,
        true => Op::LoadStore,
    }
}

/// From `byte ptr` and its like; else from the register of the other operand.
fn width_of(operands: &str) -> Option<u8> {
    const NAMED: &[(&str, u8)] = &[
        ("zmmword", 64),
        ("ymmword", 32),
        ("xmmword", 16),
        ("qword", 8),
        ("dword", 4),
        ("word", 2),
        ("byte", 1),
    ];
    if let Some((_, width)) = NAMED.iter().find(|(name, _)| operands.contains(name)) {
        return Some(*width);
    }
    let register = operands
        .split(',')
        .map(str::trim)
        .find(|o| !o.contains('[') && !o.starts_with(|c: char| c.is_ascii_digit()))?;
    let wide = |prefix: &str| register.starts_with(prefix);
    Some(match register {
        "al" | "bl" | "cl" | "dl" | "ah" | "bh" | "ch" | "dh" | "sil" | "dil" | "bpl" | "spl" => 1,
        "ax" | "bx" | "cx" | "dx" | "si" | "di" | "bp" | "sp" => 2,
        _ if wide("zmm") => 64,
        _ if wide("ymm") => 32,
        _ if wide("xmm") => 16,
        _ if wide("e") => 4,
        r if wide("r") && r.ends_with(['b', 'l']) => 1,
        r if wide("r") && r.ends_with('w') => 2,
        r if wide("r") && r.ends_with('d') => 4,
        _ if wide("r") => 8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_is_written_and_the_source_read() {
        let of = |text| {
            let d = Decoded::of(text);
            (d.op, d.width, d.locked)
        };
        // Intel SDM volume 2: the first operand is the destination.
        assert_eq!(
            of("mov byte ptr [rbx+8],cl"),
            (Some(Op::Store), Some(1), false)
        );
        assert_eq!(
            of("movzx ecx,byte ptr [rbx+9]"),
            (Some(Op::Load), Some(1), false)
        );
        assert_eq!(of("mov [rbx+8],cl"), (Some(Op::Store), Some(1), false));
        assert_eq!(of("mov esi,[rbx+0Ch]"), (Some(Op::Load), Some(4), false));
        assert_eq!(
            of("cmp qword ptr [rbx],0"),
            (Some(Op::Load), Some(8), false)
        );
        assert_eq!(
            of("inc qword ptr [rbx]"),
            (Some(Op::LoadStore), Some(8), false)
        );
        assert_eq!(
            of("xor [rax+8],r10b"),
            (Some(Op::LoadStore), Some(1), false)
        );
        // XCHG with memory asserts LOCK# whether or not the prefix is there.
        assert_eq!(of("xchg [rdx],rax"), (Some(Op::LoadStore), Some(8), true));
        assert_eq!(
            of("lock cmpxchg [rdx],ecx"),
            (Some(Op::LoadStore), Some(4), true)
        );
        assert_eq!(of("mov rax,rbx"), (None, None, false));
    }
}
