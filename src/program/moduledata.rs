//! `runtime.firstmoduledata`: where Go's text, data and types are. Found by its first two words.
//!
//! ```text
//! pcHeader; funcnametab, cutab, filetab, pctab, pclntable, ftab (slices); findfunctab; minpc, maxpc;
//! text, etext; noptrdata, enoptrdata; data, edata; bss, ebss; noptrbss, enoptrbss;
//! [covctrs, ecovctrs]; end; gcdata; gcbss; types, [typedesclen]; etypes, [itaboffset, itabsize];
//! rodata; gofunc; ...
//! ```
//!
//! From `runtime/symtab.go`: `covctrs` from Go 1.20 on, `typedesclen` and the itab words from 1.27 on.

use super::elf::Elf;
use super::pclntab::Pclntab;
use std::ops::Range;

/// Address ranges of the Go part of a binary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Module {
    /// Address of `runtime.firstmoduledata` itself.
    pub addr: u64,
    /// `runtime.text` to `runtime.etext`.
    pub text: Range<u64>,
    pub noptrdata: Range<u64>,
    pub data: Range<u64>,
    pub bss: Range<u64>,
    pub noptrbss: Range<u64>,
    /// Type descriptors; offsets of names and types count from its start.
    pub types: Range<u64>,
    pub rodata: u64,
    /// `go:func.*`, the base of funcdata offsets.
    pub gofunc: u64,
}

/// `None` when no place in the file looks like a `moduledata` of this version.
pub(super) fn find(elf: &Elf, pclntab: &Pclntab, minor: u32) -> Option<Module> {
    (elf.words_equal(pclntab.addr).into_iter())
        .filter(|&at| elf.word(at.wrapping_add(8)) == Some(pclntab.funcnames_addr))
        .find_map(|at| read(elf, at, minor))
}

fn read(elf: &Elf, addr: u64, minor: u32) -> Option<Module> {
    // pcHeader and six slices before it.
    let mut at = addr.checked_add(8 * (1 + 6 * 3))?;
    let mut next = || {
        let word = elf.word(at)?;
        at = at.checked_add(8)?;
        Some(word)
    };
    let _findfunctab = next()?;
    let pcs = next()?..next()?;
    let text = next()?..next()?;
    let noptrdata = next()?..next()?;
    let data = next()?..next()?;
    let bss = next()?..next()?;
    let noptrbss = next()?..next()?;
    if minor >= 20 {
        let _covctrs = next()?..next()?;
    }
    let _end_gcdata_gcbss = [next()?, next()?, next()?];
    let types = next()?;
    if minor >= 27 {
        let _typedesclen = next()?;
    }
    let etypes = next()?;
    if minor >= 27 {
        let _itabs = [next()?, next()?];
    }
    let (rodata, gofunc) = (next()?, next()?);
    let sane = text.start <= pcs.start
        && pcs.end <= text.end
        && [&text, &data, &bss, &noptrdata, &noptrbss]
            .iter()
            .all(|range| range.start <= range.end)
        && types <= etypes
        && [text.start, types, gofunc]
            .iter()
            .all(|&at| elf.in_image(at));
    sane.then_some(Module {
        addr,
        text,
        noptrdata,
        data,
        bss,
        noptrbss,
        types: types..etypes,
        rodata,
        gofunc,
    })
}
