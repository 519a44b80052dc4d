//! Which instructions name an address of the binary's own data. Found in the bytes of the text, where
//! every distance is looked at, and settled by decoding the functions around them.

use super::{Arch, Program};
use iced_x86::{Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::ops::Range;

/// How an instruction uses the address that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Load,
    /// A store, or a load and a store.
    Store,
    /// The address itself is taken (`lea`).
    Taken,
}

/// An instruction that names an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Link-time address of the instruction.
    pub ip: u64,
    /// Start of the function that it is in.
    pub function: u64,
    pub target: u64,
    /// Bytes accessed; 0 for [`Use::Taken`].
    pub size: u64,
    pub uses: Use,
}

/// Bytes of text that one thread looks through at a time.
const CHUNK: usize = 1 << 20;

/// Bytes of an immediate that may stand behind a distance, which counts from the instruction's end.
const IMMEDIATES: [u64; 4] = [0, 1, 2, 4];

impl Program {
    /// Every instruction that names an address in one of the `wanted` link-time ranges, in order; of
    /// x86-64 only: `None` for other machines.
    pub fn references(&self, wanted: &[Range<u64>]) -> Option<Vec<Reference>> {
        if self.arch != Arch::X86_64 {
            return None;
        }
        let wanted = disjoint(wanted);
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
            return Some(Vec::new());
        };
        let all = first.start..last.end;
        let named = |address: u64| {
            all.contains(&address) && {
                let behind = wanted.partition_point(|r| r.start <= address);
                let range = behind.checked_sub(1).and_then(|i| wanted.get(i));
                range.is_some_and(|r| r.contains(&address))
            }
        };
        let mut functions = BTreeSet::new();
        for range in self.text_ranges() {
            let Some(bytes) = usize::try_from(range.end.saturating_sub(range.start))
                .ok()
                .and_then(|len| self.bytes(range.start, len))
            else {
                continue;
            };
            let hit = |at: usize| {
                let distance = bytes.get(at..at + 4)?.try_into().ok()?;
                let distance = i32::from_le_bytes(distance);
                let end = range.start.wrapping_add(at as u64 + 4);
                let target = end.wrapping_add_signed(i64::from(distance));
                let behind = IMMEDIATES.iter().map(|len| target.wrapping_add(*len));
                let absolute = u64::from(distance as u32);
                behind
                    .chain([absolute])
                    .any(named)
                    .then_some(end.wrapping_sub(4))
            };
            let starts: Vec<usize> = (0..bytes.len()).step_by(CHUNK).collect();
            let found: Vec<u64> = starts
                .into_par_iter()
                .flat_map_iter(|start| (start..bytes.len().min(start + CHUNK)).filter_map(hit))
                .collect();
            let around = found.iter().filter_map(|at| self.function_at(*at));
            functions.extend(around.map(|f| (f.start, f.end)));
        }
        let mut references = Vec::new();
        let mut info = InstructionInfoFactory::new();
        for (start, end) in functions {
            for instruction in self.instructions(start..end) {
                let found = used(&instruction, &mut info).filter(|(target, size, _)| {
                    named(*target)
                        || (1..(*size).max(1)).any(|byte| named(target.wrapping_add(byte)))
                });
                references.extend(found.map(|(target, size, uses)| Reference {
                    ip: instruction.ip(),
                    function: start,
                    target,
                    size,
                    uses,
                }));
            }
        }
        Some(references)
    }

    /// The aligned words of the binary's data that are `wanted`, each behind its address.
    pub fn pointers(&self, wanted: impl Fn(u64) -> bool) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        for range in self.data_ranges() {
            let words = (range.start.saturating_add(7) & !7..range.end).step_by(8);
            // `.bss`, behind them, is all zero.
            let words = words.map_while(|at| Some((at, self.read_u64(at)?)));
            found.extend(words.filter(|(_, word)| wanted(*word)));
        }
        found
    }

    /// The instructions in a link-time range of x86-64 text.
    pub fn instructions(&self, range: Range<u64>) -> impl Iterator<Item = Instruction> + '_ {
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let bytes = self.bytes(range.start, len).unwrap_or(&[]);
        let mut decoder = Decoder::with_ip(64, bytes, range.start, DecoderOptions::NONE);
        std::iter::from_fn(move || decoder.can_decode().then(|| decoder.decode()))
    }
}

/// The same addresses in ranges that neither overlap nor touch, sorted.
fn disjoint(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted: Vec<Range<u64>> = ranges.iter().filter(|r| !r.is_empty()).cloned().collect();
    sorted.sort_unstable_by_key(|r| r.start);
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match out.last_mut().filter(|last| range.start <= last.end) {
            Some(last) => last.end = last.end.max(range.end),
            None => out.push(range),
        }
    }
    out
}

/// The static address that an instruction names, with how many bytes it accesses there.
fn used(instruction: &Instruction, info: &mut InstructionInfoFactory) -> Option<(u64, u64, Use)> {
    let fixed = |i: &Instruction| i.memory_base() == iced_x86::Register::None;
    if !instruction.is_ip_rel_memory_operand() && !fixed(instruction) {
        return None;
    }
    let target = instruction.memory_displacement64();
    if instruction.mnemonic() == Mnemonic::Lea {
        return Some((target, 0, Use::Taken));
    }
    let memory = info.info(instruction).used_memory().first().copied()?;
    let uses = match memory.access() {
        OpAccess::Read | OpAccess::CondRead => Use::Load,
        _ => Use::Store,
    };
    Some((target, memory.memory_size().size() as u64, uses))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn sample() -> Program {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        Program::open(&root.join("samples/modelled-go1.22-twins/mapload.gz")).unwrap()
    }

    /// What `objdump -d` prints of the same file, with the variables' names that `nm` gives.
    #[test]
    fn stores_to_variables_are_those_of_the_disassembly() {
        let program = sample();
        let (sessions, flags, conns) = (0x55fc20, 0x55fc48, 0x5601a0);
        let of = |variable: u64, uses: Use| -> Vec<u64> {
            let found = program
                .references(std::slice::from_ref(&(variable..variable + 8)))
                .unwrap();
            let used = found.iter().filter(|r| r.uses == uses);
            used.map(|r| r.ip).collect()
        };
        assert_eq!(of(sessions, Use::Store), [0x49_7466]);
        assert_eq!(of(flags, Use::Store), [0x49_67b5, 0x49_7853]);
        assert_eq!(
            of(conns, Use::Taken),
            [
                0x49_330a, 0x49_6282, 0x49_62db, 0x49_62f6, 0x49_6351, 0x49_636e, 0x49_78f9
            ]
        );
    }

    #[test]
    fn ranges_that_touch_are_one() {
        assert_eq!(disjoint(&[8..9, 0..4, 4..5, 20..20, 8..10]), [0..5, 8..10]);
    }
}
