//! Go's heap: spans of equal slots, and which slots hold an object.
//!
//! `runtime.mheap_.allspans` lists every `mspan`. It is found by what it must be, a slice in the
//! program's data whose elements all point to spans, so no symbol and no offset in `mheap` is needed.
//! Offsets of `mspan` from `runtime/mheap.go`, go1.19 to go1.27.3.

use super::HeapError;
use super::image::Image;
use super::memory::Memory;
use crate::gomap::size_class::{HEADER, MAX_IN_SPAN, PAGE};

/// A run of pages of the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u64,
    pub end: u64,
    pub state: State,
    /// Bytes of a slot.
    pub elemsize: u64,
    pub nelems: u64,
    freeindex: u64,
    /// Address of the bits, one a slot.
    alloc_bits: u64,
    /// No slot holds pointers.
    pub noscan: bool,
    /// One object over 32 KiB.
    large: bool,
    /// Its type; 0 where it is not recorded.
    large_type: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// `mSpanInUse`: objects of the program.
    Heap,
    /// `mSpanManual`: goroutine stacks and the collector's buffers.
    Manual,
}

/// Every span in use, by address.
#[derive(Debug)]
pub(super) struct Spans {
    pub all: Vec<Span>,
    /// Objects over 512 bytes begin with their type (Go 1.22 on).
    headers: bool,
    /// `spanInlineMarkBits` ends the spans of small objects (`GOEXPERIMENT=greenteagc`).
    inline_marks: bool,
}

/// Offsets in `mspan` that moved: 1.21 put `pinnerBits` in, 1.22 shrank the counters.
struct Offsets {
    /// Bytes of `freeindex` and `nelems`, which follows it.
    index_size: u64,
    alloc_bits: u64,
    spanclass: u64,
    elemsize: u64,
    large_type: Option<u64>,
}

impl Offsets {
    fn of(minor: u32) -> Offsets {
        let (index_size, alloc_bits, spanclass, elemsize, large_type) = match minor {
            ..=20 => (8, 72, 98, 104, None),
            21 => (8, 72, 106, 112, None),
            _ => (2, 64, 98, 104, Some(152)),
        };
        Offsets {
            index_size,
            alloc_bits,
            spanclass,
            elemsize,
            large_type,
        }
    }
}

/// `spanClass` is the size class (0: one large object) and a bit for noscan.
const LAST_CLASS: u8 = 67;
/// Bytes of `spanInlineMarkBits` (`runtime/mgcmark_greenteagc.go`).
const INLINE_MARKS: u64 = 128;
const START_ADDR: u64 = 24;
const NPAGES: u64 = 32;
const FREEINDEX: u64 = 48;
/// A span never has more slots: a page of 8-byte objects has 1024, and larger classes fewer.
const MAX_ELEMS: u64 = 1 << 16;

impl Spans {
    pub fn find(memory: &Memory, image: &Image) -> Result<Spans, HeapError> {
        let offsets = Offsets::of(image.go.minor);
        let module = &image.module;
        let ranges = [
            &module.noptrbss,
            &module.bss,
            &module.data,
            &module.noptrdata,
        ];
        let mut best: Vec<Span> = Vec::new();
        let mut best_len = 0;
        for range in ranges {
            let len = range.end.saturating_sub(range.start);
            let mut words = memory.words(image.addr(range.start), len).peekable();
            while let Some((at, array)) = words.next() {
                let Some(&(_, len)) = words.peek() else { break };
                if len <= best_len || array % 8 != 0 || array == 0 {
                    continue;
                }
                let capacity = memory.u64(at.wrapping_add(16)).unwrap_or(0);
                if len > capacity {
                    continue;
                }
                if let Some(spans) = read_all(memory, array, len, &offsets) {
                    (best, best_len) = (spans, len);
                }
            }
        }
        if best.is_empty() {
            let all = || ranges.iter().filter(|range| !range.is_empty());
            return Err(HeapError::NoSpans {
                path: memory.path.clone(),
                start: image.addr(all().map(|range| range.start).min().unwrap_or(0)),
                end: image.addr(all().map(|range| range.end).max().unwrap_or(0)),
                missing: memory.missing,
            });
        }
        best.sort_by_key(|span| span.start);
        let experiment = |name: &str| image.go.experiments.iter().any(|e| e == name);
        Ok(Spans {
            all: best,
            headers: image.go.minor >= 22,
            inline_marks: image.go.minor >= 26 && !experiment("nogreenteagc")
                || experiment("greenteagc"),
        })
    }

    /// The span and slot that hold `addr`: its index among all spans, and the slot's in it.
    pub fn slot_at(&self, addr: u64) -> Option<(usize, u64)> {
        let after = self.all.partition_point(|span| span.start <= addr);
        let index = after.checked_sub(1)?;
        let span = self.all.get(index)?;
        if span.state != State::Heap || addr >= span.end {
            return None;
        }
        let slot = (addr - span.start).checked_div(span.elemsize)?;
        (slot < span.nelems).then_some((index, slot))
    }

    /// The slot that begins at `addr`, or whose type comes before `addr`.
    pub fn object(&self, addr: u64) -> Option<Object> {
        let (index, slot) = self.slot_at(addr)?;
        let span = self.all.get(index)?;
        let start = span.start + slot * span.elemsize;
        Some(Object {
            size: span.elemsize,
            before: addr - start,
            noscan: span.noscan,
        })
    }

    /// The object in a slot with the type that the runtime recorded: for objects with pointers over
    /// 512 bytes, from Go 1.22 on.
    pub fn typed_object(&self, memory: &Memory, span: &Span, slot: u64) -> Option<TypedObject> {
        if !self.headers || span.noscan || span.elemsize <= MAX_IN_SPAN {
            return None;
        }
        let at = span.start.checked_add(slot.checked_mul(span.elemsize)?)?;
        let (start, descriptor) = if span.large {
            (at, span.large_type)
        } else {
            (at.checked_add(HEADER)?, memory.u64(at)?)
        };
        (descriptor != 0).then_some(TypedObject {
            start,
            len: span
                .end
                .min(at.checked_add(span.elemsize)?)
                .checked_sub(start)?,
            descriptor,
        })
    }

    /// The pointer mask of the object in a slot, one bit a word: kept at the end of the span for
    /// objects up to 512 bytes, from Go 1.22 on (`spanHeapBitsRange` of `runtime/mbitmap.go`).
    pub fn pointer_mask(&self, memory: &Memory, span: &Span, slot: u64) -> Option<u64> {
        if !self.headers || span.noscan || span.elemsize > MAX_IN_SPAN {
            return None;
        }
        let len = (span.end - span.start) / 64;
        let inline_marks = if self.inline_marks && span.elemsize >= 16 {
            INLINE_MARKS
        } else {
            0
        };
        let bits = span.end.checked_sub(len)?.checked_sub(inline_marks)?;
        let words = span.elemsize / 8;
        let first = slot.checked_mul(words)?;
        let mut mask = 0;
        for i in 0..words.min(64) {
            let bit = first.checked_add(i)?;
            let byte = memory.u8(bits.checked_add(bit / 8)?)?;
            mask |= u64::from(byte >> (bit % 8) & 1) << i;
        }
        Some(mask)
    }
}

/// An object with its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TypedObject {
    pub start: u64,
    pub len: u64,
    /// Run-time address of the type descriptor, of which the object is one or an array.
    pub descriptor: u64,
}

/// Where an address lies in its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Object {
    pub size: u64,
    /// Bytes of the slot before the address.
    pub before: u64,
    pub noscan: bool,
}

impl Span {
    /// Does slot `i` hold an object? `mspan.isFree` of `runtime/mbitmap.go`.
    pub fn allocated(&self, memory: &Memory, i: u64) -> bool {
        let bit = || memory.u8(self.alloc_bits.checked_add(i / 8)?);
        i < self.freeindex || bit().is_some_and(|byte| byte >> (i % 8) & 1 != 0)
    }
}

/// The spans in use of a slice of `*mspan`; `None` when one element is no span.
fn read_all(memory: &Memory, array: u64, len: u64, offsets: &Offsets) -> Option<Vec<Span>> {
    let bytes = len.checked_mul(8)?;
    memory.bytes(array, bytes)?;
    let mut spans = Vec::new();
    for (_, at) in memory.words(array, bytes) {
        if at % 8 != 0 {
            return None;
        }
        spans.extend(read(memory, at, offsets)?);
    }
    (!spans.is_empty()).then_some(spans)
}

/// One span: outer `None` when it is none, inner when it is not in use.
fn read(memory: &Memory, at: u64, offsets: &Offsets) -> Option<Option<Span>> {
    let field = |offset: u64| memory.u64(at.checked_add(offset)?);
    let byte = |offset: u64| memory.u8(at.checked_add(offset)?);
    let class = byte(offsets.spanclass)?;
    let state = match byte(offsets.spanclass + 1)? {
        0 => return Some(None),
        1 => State::Heap,
        2 => State::Manual,
        _ => return None,
    };
    let (start, pages) = (field(START_ADDR)?, field(NPAGES)?);
    let end = start.checked_add(pages.checked_mul(PAGE)?)?;
    if start == 0 || start % PAGE != 0 || pages == 0 || class >> 1 > LAST_CLASS {
        return None;
    }
    let (freeindex, nelems) = if offsets.index_size == 8 {
        (field(FREEINDEX)?, field(FREEINDEX + 8)?)
    } else {
        let index = |offset: u64| memory.u16(at.checked_add(offset)?);
        (index(FREEINDEX)?.into(), index(FREEINDEX + 2)?.into())
    };
    let elemsize = field(offsets.elemsize)?;
    let fits = nelems < MAX_ELEMS && nelems.checked_mul(elemsize)? <= end - start;
    if state == State::Heap && (!fits || elemsize < 8 || nelems == 0) {
        return None;
    }
    Some(Some(Span {
        start,
        end,
        state,
        elemsize,
        nelems,
        freeindex,
        alloc_bits: field(offsets.alloc_bits)?,
        noscan: class & 1 != 0,
        large: class >> 1 == 0,
        large_type: offsets.large_type.map_or(Some(0), field)?,
    }))
}
