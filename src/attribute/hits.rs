//! What samples hit, in no more memory than there are hits: most samples of a program are of no map.

use super::{Evidence, NONE};
use crate::recording::Column;
use std::ops::Range;

/// What one access hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Address of the structure instance that the part belongs to: the header, the one bucket, the
    /// one group, the table, the directory, the indirect key or elem. 0: not known.
    pub base: u64,
    /// Index into `Attribution::maps`, or [`NONE`].
    pub map: u32,
    /// Byte offset of the access in that instance, or [`NONE`]. On a breakpoint recording the
    /// accessed address, not the watched one, counts.
    pub off: u32,
    /// Index into `Attribution::arrays`, or [`NONE`]: the bucket array or the table's groups.
    pub array: u32,
    /// Bucket or group index in its array, or [`NONE`].
    pub index: u32,
    /// 0..7 for tophash, ctrl, key and elem; -1 otherwise or when not known.
    pub slot: i8,
    /// The strongest evidence that held.
    pub evidence: Evidence,
}

impl Default for Hit {
    /// Nothing is known.
    fn default() -> Hit {
        Hit {
            base: 0,
            map: NONE,
            off: NONE,
            array: NONE,
            index: NONE,
            slot: -1,
            evidence: Evidence::None,
        }
    }
}

impl Hit {
    pub fn base(&self) -> Option<u64> {
        Some(self.base).filter(|&base| base != 0)
    }

    pub fn off(&self) -> Option<u32> {
        Some(self.off).filter(|&off| off != NONE)
    }

    pub fn array(&self) -> Option<u32> {
        Some(self.array).filter(|&array| array != NONE)
    }

    pub fn index(&self) -> Option<u32> {
        Some(self.index).filter(|&index| index != NONE)
    }

    pub fn slot(&self) -> Option<i8> {
        Some(self.slot).filter(|&slot| slot >= 0)
    }
}

/// The hits of all samples: what samples that say the same hit once, and by parts of `PART` samples which of them
/// it is.
#[derive(Debug, Default)]
pub struct Hits {
    all: Vec<Hit>,
    parts: Vec<Part>,
}

/// Samples in a part.
pub const PART: usize = 1 << 16;

/// The hits of some samples.
#[derive(Debug, Default)]
pub struct Part {
    /// Of 64 samples each: which of them have a hit, and how many hits are before theirs.
    which: Vec<(u64, u32)>,
    /// By number in [`Hits`].
    hits: Column<u32>,
}

impl Part {
    /// Adds what sample `i` of the part hit, a later one than those before, by its number.
    pub fn push(&mut self, i: usize, hit: u32) {
        let before = self.hits.len() as u32;
        self.which.resize(i / 64 + 1, (0, before));
        if let Some((which, _)) = self.which.last_mut() {
            *which |= 1 << (i % 64);
        }
        self.hits.push(hit);
    }

    /// Which of the hits that of sample `i` of the part is, if it has one.
    #[inline]
    fn find(&self, i: usize) -> Option<usize> {
        let (which, before) = *self.which.get(i / 64)?;
        let bit = 1u64 << (i % 64);
        let n = before as usize + (which & (bit - 1)).count_ones() as usize;
        (which & bit != 0).then_some(n)
    }

    /// Calls `each` with every one of these samples of the part that has a hit, and has the hits' numbers.
    fn find_all(&self, samples: Range<usize>, mut each: impl FnMut(usize)) -> Range<usize> {
        let (from, to) = (samples.start, samples.end.min(64 * self.which.len()));
        let (mut first, mut count) = (0, 0);
        for at in (from - from % 64..to).step_by(64) {
            let (mut which, before) = self.which[at / 64];
            if at < from {
                let below = (1 << (from % 64)) - 1;
                first = (which & below).count_ones() as usize;
                which &= !below;
            }
            if at <= from {
                first += before as usize;
            }
            if to - at < 64 {
                which &= (1 << (to - at)) - 1;
            }
            count += which.count_ones() as usize;
            while which != 0 {
                each(at + which.trailing_zeros() as usize);
                which &= which - 1;
            }
        }
        first..first + count
    }

    /// The number of what sample `i` of the part hit.
    #[inline]
    fn get(&self, i: usize) -> Option<u32> {
        self.hits.get(self.find(i)?)
    }
}

impl Hits {
    /// The parts of all samples, in order, with what there is by number.
    pub fn new(all: Vec<Hit>, parts: Vec<Part>) -> Hits {
        Hits { all, parts }
    }

    /// Adds what sample `i` hit, a later one than those before.
    fn push(&mut self, i: usize, hit: &Hit) {
        self.parts.resize_with(i / PART + 1, Part::default);
        if let Some(part) = self.parts.last_mut().filter(|_| *hit != Hit::default()) {
            part.push(i % PART, self.all.len() as u32);
            self.all.push(*hit);
        }
    }

    /// Hits by number; some may be equal.
    pub fn all(&self) -> &[Hit] {
        &self.all
    }

    fn numbered(&self, number: u32) -> Hit {
        self.all.get(number as usize).copied().unwrap_or_default()
    }

    /// Lets go of parts that begin after `rows` samples.
    pub fn shorten(&mut self, rows: usize) {
        self.parts.truncate(rows.div_ceil(PART));
    }

    /// The parts with some of these samples: what their first sample is, and which of theirs they are.
    fn parts_of(
        &self,
        samples: Range<usize>,
    ) -> impl Iterator<Item = (&Part, usize, Range<usize>)> {
        let parts = self.parts.iter().enumerate();
        let parts = parts.take(samples.end.div_ceil(PART));
        parts.skip(samples.start / PART).map(move |(n, part)| {
            let first = n * PART;
            let from = samples.start.max(first);
            let to = samples.end.min(first + PART);
            (part, first, from - first..to - first)
        })
    }

    /// Puts what these samples hit in place of what `read` has.
    pub fn read(&self, samples: Range<usize>, read: &mut ReadHits) {
        read.clear();
        for (part, first, range) in self.parts_of(samples) {
            let hits = part.find_all(range, |i| read.samples.push(first + i));
            part.hits.read(hits, &mut read.some);
            read.numbers.extend_from_slice(&read.some);
        }
        let hits = read.numbers.iter().map(|number| self.numbered(*number));
        read.hits.extend(hits);
    }

    /// Adds the samples of these whose hit has a base, with it.
    pub fn bases(&self, samples: Range<usize>, found: &mut Vec<(usize, u64)>) {
        let mut numbers = Vec::new();
        for (part, first, range) in self.parts_of(samples) {
            let before = found.len();
            let hits = part.find_all(range, |i| found.push((first + i, 0)));
            part.hits.read(hits, &mut numbers);
            let all = found.iter_mut().skip(before).zip(&numbers);
            all.for_each(|((_, base), number)| *base = self.numbered(*number).base);
        }
        found.retain(|(_, base)| *base != 0);
    }

    /// The map that sample `i` hit.
    #[inline]
    pub fn map(&self, i: usize) -> u32 {
        self.get(i).map
    }

    /// What sample `i` hit.
    #[inline]
    pub fn get(&self, i: usize) -> Hit {
        let part = self.parts.get(i / PART);
        let number = part.and_then(|part| part.get(i % PART));
        number.map_or(Hit::default(), |number| self.numbered(number))
    }
}

/// The hits of samples that follow each other.
#[derive(Debug, Default)]
pub struct ReadHits {
    /// The samples that have one.
    pub samples: Vec<usize>,
    hits: Vec<Hit>,
    numbers: Vec<u32>,
    /// Those of one part.
    some: Vec<u32>,
}

impl ReadHits {
    /// The numbers of the hits of [`ReadHits::samples`], in their order.
    pub fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    /// The hits of [`ReadHits::samples`], in their order.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    fn clear(&mut self) {
        self.samples.clear();
        self.hits.clear();
        self.numbers.clear();
    }
}

/// One hit a sample.
impl FromIterator<Hit> for Hits {
    fn from_iter<I: IntoIterator<Item = Hit>>(hits: I) -> Hits {
        let mut all = Hits::default();
        for (i, hit) in hits.into_iter().enumerate() {
            all.push(i, &hit);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_has_its_hit_or_none() {
        let hit = |base| Hit {
            base,
            ..Hit::default()
        };
        let given = [(0, 8), (63, 16), (64, 24), (300, 0), (511, 32), (512, 40)];
        let mut hits = Hits::default();
        for (i, base) in given {
            hits.push(1000 + i, &hit(base));
        }
        let found = (0..3000).filter(|&i| hits.get(i) != Hit::default());
        let found: Vec<(usize, u64)> = found.map(|i| (i - 1000, hits.get(i).base)).collect();
        assert_eq!(found, [(0, 8), (63, 16), (64, 24), (511, 32), (512, 40)]);
        let mut read = ReadHits::default();
        let last = PART + 1000;
        hits.push(last, &hit(48));
        for samples in [0..2000, 1063..1512, 1300..1301, 1064..1064, 1512..last + 9] {
            hits.read(samples.clone(), &mut read);
            let own = samples.clone().filter(|&i| hits.get(i) != Hit::default());
            let own: Vec<(usize, Hit)> = own.map(|i| (i, hits.get(i))).collect();
            let found = read
                .samples
                .iter()
                .copied()
                .zip(read.hits().iter().copied());
            assert_eq!(found.collect::<Vec<_>>(), own, "{samples:?}");
            let mut bases = Vec::new();
            hits.bases(samples, &mut bases);
            assert!(
                bases
                    .iter()
                    .copied()
                    .eq(own.iter().map(|(i, hit)| (*i, hit.base)))
            );
        }
        let again: Hits = (0..3000).map(|i| hits.get(i)).collect();
        assert!((0..3000).all(|i| again.get(i) == hits.get(i)));
        assert_eq!(again.get(last), Hit::default());
    }

    #[test]
    fn hits_come_back_as_they_were_given() {
        let full = Hit {
            base: 0xc000_0001_2340,
            map: 0,
            off: u32::MAX - 1,
            array: 7,
            index: 1 << 20,
            slot: 7,
            evidence: Evidence::Registers,
        };
        let bare = Hit {
            evidence: Evidence::Code,
            ..Hit::default()
        };
        let hits: Hits = [full, bare].into_iter().collect();
        assert_eq!([hits.get(0), hits.get(1)], [full, bare]);
    }
}
