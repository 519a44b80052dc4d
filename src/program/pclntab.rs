//! `.gopclntab`, Go 1.18 on: functions, files, lines and inline chains. Survives `-s -w`.
//!
//! ```text
//! pcHeader { magic u32, 0, 0, quantum u8, ptrsize u8, nfunc, nfiles, textStart,
//!            funcnametab, cutab, filetab, pctab, pclntab: offsets from the header }
//! ftab at pclntab: nfunc x { entryoff u32, funcoff u32 }, { endoff u32 }
//! _func at pclntab + funcoff
//! ```
//!
//! From `runtime/symtab.go`, `runtime/symtabinl.go`, `internal/abi/symtab.go`.

use super::elf::{Elf, le_u32, le_u64};
use super::{Frame, Function, ProgramError, read_varint};
use std::ops::Range;

/// `internal/abi`: `Go118PCLnTabMagic` and `Go120PCLnTabMagic`.
const MAGICS: [u32; 2] = [0xffff_fff0, 0xffff_fff1];
/// `abi.PCDATA_InlTreeIndex`, `abi.FUNCDATA_InlTree`.
const INLINE_INDEX: usize = 2;
const INLINE_TREE: usize = 3;
/// A chain of inlined calls longer than this is a loop in a damaged table.
const MAX_DEPTH: usize = 256;

/// Where the tables are; the bytes stay in the file.
#[derive(Debug)]
pub(super) struct Pclntab {
    pub addr: u64,
    /// Address of `funcnametab`, the second word of `moduledata`.
    pub funcnames_addr: u64,
    quantum: u64,
    nfunc: usize,
    /// Go <= 1.19: a `_func` without `startLine`, inline tree nodes of 20 bytes.
    old: bool,
    funcnames: Range<usize>,
    cutab: Range<usize>,
    filetab: Range<usize>,
    pctab: Range<usize>,
    funcs: Range<usize>,
    /// Set from `moduledata`: `runtime.text` and `go:func.*`.
    pub text: u64,
    pub gofunc: u64,
}

/// The fields of a `_func` that frames need.
struct Func<'a> {
    entry: u64,
    name: u32,
    pcsp: u32,
    pcfile: u32,
    pcln: u32,
    cu: u32,
    /// Offsets into pctab.
    pcdata: &'a [u8],
    /// Offsets from `gofunc`.
    funcdata: &'a [u8],
}

impl Pclntab {
    /// `None` when the file has no table that this reads, as one of 32 bits has not; `textStart` is 0 from Go 1.26 on.
    pub fn find(elf: &Elf) -> Result<Option<Pclntab>, ProgramError> {
        if elf.narrow {
            return Ok(None);
        }
        let named = [".gopclntab", ".data.rel.ro.gopclntab"];
        if let Some(section) = named.iter().find_map(|name| elf.section(name)) {
            let magic = elf.array(section.addr).map(u32::from_le_bytes);
            if magic.is_some_and(|magic| !MAGICS.contains(&magic) && magic >= 0xffff_fffa) {
                return Ok(None);
            }
            return Pclntab::at(elf, section.addr).map(Some);
        }
        for segment in &elf.segments {
            let data = elf.tail(segment.vaddr).unwrap_or_default();
            for (words, i) in data.chunks_exact(8).zip(0u64..) {
                let magic = le_u32(words, 0).is_some_and(|magic| MAGICS.contains(&magic));
                if magic
                    && matches!(words.get(4..), Some([0, 0, 1 | 4, 8]))
                    && let Ok(table) = Pclntab::at(elf, segment.vaddr + i * 8)
                {
                    return Ok(Some(table));
                }
            }
        }
        Ok(None)
    }

    fn at(elf: &Elf, addr: u64) -> Result<Pclntab, ProgramError> {
        let bad = |rule| elf.malformed(".gopclntab", addr, rule);
        let all = (elf.file_range(addr)).ok_or_else(|| bad("the section is not in the file"))?;
        let data = elf.data().get(all.clone()).unwrap_or_default();
        let magic = le_u32(data, 0).unwrap_or(0);
        if !MAGICS.contains(&magic) {
            return Err(bad("the magic is not that of Go 1.18 to 1.27"));
        }
        let (quantum, ptrsize) = (data.get(6).copied(), data.get(7).copied());
        let (Some(quantum @ (1 | 2 | 4)), Some(8)) = (quantum, ptrsize) else {
            return Err(bad(
                "quantum and pointer size are not those of a 64-bit machine",
            ));
        };
        let word = |i: usize| le_u64(data, 8 + i * 8).ok_or_else(|| bad("the header is cut"));
        let table = |i: usize| -> Result<Range<usize>, ProgramError> {
            let offset = usize::try_from(word(i)?).ok();
            (offset.filter(|&offset| offset < data.len()))
                .map(|offset| all.start + offset..all.end)
                .ok_or_else(|| bad("a table begins beyond the end"))
        };
        let funcs = table(7)?;
        let nfunc = usize::try_from(word(0)?).unwrap_or(usize::MAX);
        if nfunc >= funcs.len() / 8 {
            return Err(bad("more functions than the table can hold"));
        }
        Ok(Pclntab {
            addr,
            funcnames_addr: addr.wrapping_add(word(3)?),
            quantum: u64::from(quantum),
            nfunc,
            old: magic == MAGICS[0],
            funcnames: table(3)?,
            cutab: table(4)?,
            filetab: table(5)?,
            pctab: table(6)?,
            funcs,
            text: elf.word(addr + 24).unwrap_or(0),
            gofunc: 0,
        })
    }

    /// All functions by address; an end is the next function's start.
    pub fn functions(&self, elf: &Elf) -> Result<Vec<Function>, ProgramError> {
        let bad = |rule| elf.malformed(".gopclntab function table", self.addr, rule);
        let funcs = self.table(elf, &self.funcs);
        let mut functions = Vec::with_capacity(self.nfunc);
        for i in 0..self.nfunc {
            let (start, at) = self.ftab(funcs, i).ok_or_else(|| bad("an entry is cut"))?;
            let end = le_u32(funcs, (i + 1) * 8).map(|off| self.text.wrapping_add(off.into()));
            let end = end
                .filter(|&end| end >= start)
                .ok_or_else(|| bad("entries are not in order"))?;
            let name =
                le_u32(funcs, at + 4).ok_or_else(|| bad("a function lies beyond the end"))?;
            functions.push(Function {
                name: self.name(elf, name),
                start,
                end,
            });
        }
        Ok(functions)
    }

    /// The inline chain at the instruction `pc`, innermost first. `None` outside of Go's functions.
    pub fn frames(&self, elf: &Elf, pc: u64) -> Option<Vec<Frame>> {
        let func = self.func(elf, pc)?;
        let tree = self.inline_tree(elf, &func);
        let mut frames = Vec::new();
        let (mut file, mut line) = self.position(elf, &func, pc);
        let mut index = self.inline_index(elf, &func, pc);
        while let (Some(node), true) = (index, frames.len() < MAX_DEPTH) {
            let Some(call) = tree.and_then(|tree| self.call(elf, &func, tree, node)) else {
                break;
            };
            frames.push(frame(self.name(elf, call.name), file, line));
            (file, line, index) = (call.file, call.line, call.parent);
        }
        frames.push(frame(self.name(elf, func.name), file, line));
        Some(frames)
    }

    /// Bytes from the stack pointer, before the instruction `pc` runs, to where it was when its function
    /// began (`runtime.funcspdelta`). `None` outside of Go's functions.
    pub fn sp_delta(&self, elf: &Elf, pc: u64) -> Option<u64> {
        let func = self.func(elf, pc)?;
        u64::try_from(self.pcvalue(elf, func.pcsp, func.entry, pc)?).ok()
    }

    fn table<'a>(&self, elf: &'a Elf, range: &Range<usize>) -> &'a [u8] {
        elf.data().get(range.clone()).unwrap_or_default()
    }

    /// Entry address, and offset of the `_func`.
    fn ftab(&self, funcs: &[u8], i: usize) -> Option<(u64, usize)> {
        let entry = le_u32(funcs, i.checked_mul(8)?)?;
        let func = le_u32(funcs, i * 8 + 4)?;
        Some((self.text.checked_add(entry.into())?, func as usize))
    }

    fn func<'a>(&self, elf: &'a Elf, pc: u64) -> Option<Func<'a>> {
        let funcs = self.table(elf, &self.funcs);
        let wanted = u32::try_from(pc.checked_sub(self.text)?).ok()?;
        if wanted >= le_u32(funcs, self.nfunc * 8)? {
            return None;
        }
        let (mut low, mut high) = (0, self.nfunc);
        while low < high {
            let middle = low.midpoint(high);
            if le_u32(funcs, middle * 8)? <= wanted {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (entry, at) = self.ftab(funcs, low.checked_sub(1)?)?;
        let raw = funcs.get(at..)?;
        // 1.20 put startLine u32 after cuOffset.
        let size = if self.old { 40 } else { 44 };
        let npcdata = le_u32(raw, 28)? as usize;
        let nfuncdata = usize::from(*raw.get(size - 1)?);
        let (pcdata, rest) = raw.get(size..)?.split_at_checked(npcdata.checked_mul(4)?)?;
        Some(Func {
            entry,
            name: le_u32(raw, 4)?,
            pcsp: le_u32(raw, 16)?,
            pcfile: le_u32(raw, 20)?,
            pcln: le_u32(raw, 24)?,
            cu: le_u32(raw, 32)?,
            pcdata,
            funcdata: rest.get(..nfuncdata * 4)?,
        })
    }

    fn position(&self, elf: &Elf, func: &Func, pc: u64) -> (Option<String>, Option<u32>) {
        let file = self.pcvalue(elf, func.pcfile, func.entry, pc);
        let file = file.and_then(|index| self.file(elf, func, index));
        let line = self.pcvalue(elf, func.pcln, func.entry, pc);
        (file, line.and_then(|line| u32::try_from(line).ok()))
    }

    fn inline_tree<'a>(&self, elf: &'a Elf, func: &Func) -> Option<&'a [u8]> {
        let offset = le_u32(func.funcdata, INLINE_TREE * 4)?;
        if offset == u32::MAX || self.gofunc == 0 {
            return None;
        }
        elf.tail(self.gofunc.checked_add(offset.into())?)
    }

    fn inline_index(&self, elf: &Elf, func: &Func, pc: u64) -> Option<usize> {
        let program = le_u32(func.pcdata, INLINE_INDEX * 4)?;
        let index = self.pcvalue(elf, program, func.entry, pc)?;
        usize::try_from(index).ok()
    }

    /// Node `i` of an inline tree: who was inlined, and where it was called from.
    fn call(&self, elf: &Elf, func: &Func, tree: &[u8], i: usize) -> Option<Call> {
        if self.old {
            // { parent i16, funcID u8, pad, file i32, line i32, func i32, parentPc i32 }
            let node = tree.get(i.checked_mul(20)?..)?;
            let parent = i16::from_le_bytes(node.get(..2)?.try_into().ok()?);
            return Some(Call {
                name: le_u32(node, 12)?,
                file: self.file(elf, func, le_u32(node, 4)? as i32),
                line: Some(le_u32(node, 8)?),
                parent: usize::try_from(parent).ok(),
            });
        }
        // { funcID u8, pad, nameOff i32, parentPc i32, startLine i32 }
        let node = tree.get(i.checked_mul(16)?..)?;
        let pc = func.entry.checked_add(le_u32(node, 8)?.into())?;
        let (file, line) = self.position(elf, func, pc);
        let parent = self
            .inline_index(elf, func, pc)
            .filter(|&parent| parent != i);
        Some(Call {
            name: le_u32(node, 4)?,
            file,
            line,
            parent,
        })
    }

    fn name(&self, elf: &Elf, offset: u32) -> String {
        text(self.table(elf, &self.funcnames), offset).unwrap_or_default()
    }

    fn file(&self, elf: &Elf, func: &Func, index: i32) -> Option<String> {
        let index = usize::try_from(index).ok()?.checked_add(func.cu as usize)?;
        let offset = le_u32(self.table(elf, &self.cutab), index.checked_mul(4)?)?;
        (offset != u32::MAX).then(|| text(self.table(elf, &self.filetab), offset))?
    }

    /// The value at `pc` of the table at `offset` of pctab: pairs of a zigzag delta of the value
    /// and a delta of the pc up to which it holds (`runtime.pcvalue`, `runtime.step`).
    fn pcvalue(&self, elf: &Elf, offset: u32, entry: u64, pc: u64) -> Option<i32> {
        if offset == 0 {
            return None;
        }
        let mut program = self.table(elf, &self.pctab).get(offset as usize..)?;
        let (mut at, mut value) = (entry, -1i32);
        loop {
            let (delta, used) = read_varint(program)?;
            if delta == 0 && at != entry {
                return None;
            }
            program = program.get(used..)?;
            let delta = delta as u32;
            value = value.wrapping_add((delta >> 1) as i32 ^ -((delta & 1) as i32));
            let (pcs, used) = read_varint(program)?;
            program = program.get(used..)?;
            at = at.checked_add(pcs.checked_mul(self.quantum)?)?;
            if pc < at {
                return Some(value);
            }
        }
    }
}

struct Call {
    name: u32,
    file: Option<String>,
    line: Option<u32>,
    parent: Option<usize>,
}

fn frame(function: String, file: Option<String>, line: Option<u32>) -> Frame {
    Frame {
        function,
        file,
        line,
    }
}

/// The zero-terminated text at `offset`.
fn text(table: &[u8], offset: u32) -> Option<String> {
    let tail = table.get(offset as usize..)?;
    let end = tail.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(tail.get(..end)?).into_owned())
}
