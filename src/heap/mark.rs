//! Which objects are alive: a conservative mark from the program's data, the stacks and the
//! registers. A dead map keeps its header until it is swept, while its buckets may already belong to
//! somebody else; only what is marked is taken for a map.

use super::image::Image;
use super::memory::Memory;
use super::spans::{Spans, State};

/// One bit a slot, by span.
#[derive(Debug)]
pub(super) struct Marked {
    bits: Vec<Vec<u64>>,
}

impl Marked {
    pub fn run(memory: &Memory, image: &Image, spans: &Spans) -> Marked {
        let words = |slots: u64| vec![0; (slots as usize).div_ceil(64)];
        let bits = spans.all.iter().map(|span| match span.state {
            State::Heap => words(span.nelems),
            State::Manual => Vec::new(),
        });
        let mut marked = Marked {
            bits: bits.collect(),
        };
        let mut grey = Vec::new();
        let module = &image.module;
        for range in [
            &module.data,
            &module.bss,
            &module.noptrdata,
            &module.noptrbss,
        ] {
            let len = range.end.saturating_sub(range.start);
            for (_, word) in memory.words(image.addr(range.start), len) {
                marked.visit(memory, spans, word, &mut grey);
            }
        }
        for span in spans.all.iter().filter(|span| span.state == State::Manual) {
            for (_, word) in memory.words(span.start, span.end - span.start) {
                marked.visit(memory, spans, word, &mut grey);
            }
        }
        for &register in memory.threads.iter().flat_map(|thread| &thread.registers) {
            marked.visit(memory, spans, register, &mut grey);
        }
        while let Some((index, slot)) = grey.pop() {
            let Some(span) = spans.all.get(index) else {
                continue;
            };
            let start = span.start + slot * span.elemsize;
            for (_, word) in memory.words(start, span.elemsize) {
                marked.visit(memory, spans, word, &mut grey);
            }
        }
        marked
    }

    fn visit(&mut self, memory: &Memory, spans: &Spans, word: u64, grey: &mut Vec<(usize, u64)>) {
        let Some((index, slot)) = spans.slot_at(word) else {
            return;
        };
        let bit = 1 << (slot % 64);
        let bits = self.bits.get_mut(index);
        let Some(bits) = bits.and_then(|bits| bits.get_mut(slot as usize / 64)) else {
            return;
        };
        let Some(span) = spans.all.get(index) else {
            return;
        };
        if *bits & bit == 0 && span.allocated(memory, slot) {
            *bits |= bit;
            if !span.noscan {
                grey.push((index, slot));
            }
        }
    }

    /// Is the slot `slot` of span number `index` alive?
    pub fn contains(&self, index: usize, slot: u64) -> bool {
        let bits = self.bits.get(index);
        let word = bits.and_then(|bits| bits.get(slot as usize / 64));
        word.is_some_and(|word| word >> (slot % 64) & 1 != 0)
    }
}
