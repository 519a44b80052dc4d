//! One bit a sample.

/// Which of the samples are of a kind.
#[derive(Debug, Default, Clone)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// Adds those of the next samples: fewer than [`Bits::WORD`] only at the end.
    pub fn push(&mut self, word: u64) {
        self.0.push(word);
    }

    /// Samples in a word.
    pub const WORD: usize = u64::BITS as usize;

    /// Adds those of the samples after these.
    pub fn append(&mut self, mut later: Bits) {
        self.0.append(&mut later.0);
    }

    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The samples that have a bit, as far as they are the `ranks`th of them, from 0 on and rising.
    pub fn ranked(&self, ranks: impl Iterator<Item = usize>) -> impl Iterator<Item = usize> {
        let mut words = self.0.iter().copied().enumerate().peekable();
        let mut before = 0;
        ranks.map_while(move |rank| {
            let ones = |word: u64| word.count_ones() as usize;
            while let Some((_, word)) = words.next_if(|&(_, word)| before + ones(word) <= rank) {
                before += ones(word);
            }
            let &(at, word) = words.peek()?;
            let lower = (before..rank).fold(word, |word, _| word & word.wrapping_sub(1));
            Some(at * Bits::WORD + lower.trailing_zeros() as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_their_rank() {
        let mut bits = Bits::default();
        bits.push(1 << 3 | 1 << 63);
        bits.append(Bits(vec![0, 0b110]));
        assert_eq!(bits.count(), 4);
        let all: Vec<usize> = bits.ranked(0..9).collect();
        assert_eq!(all, [3, 63, 129, 130]);
        let some: Vec<usize> = bits.ranked([1, 3, 4].into_iter()).collect();
        assert_eq!(some, [63, 130]);
    }
}
