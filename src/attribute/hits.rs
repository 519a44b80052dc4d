//! What samples hit, in no more memory than there are hits: most samples of a program are of no map.

use super::{Evidence, NONE};

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

/// Samples in a chunk of hits.
pub const CHUNK: usize = 1 << 16;

/// The hits of all samples.
#[derive(Debug, Default)]
pub struct Hits {
    chunks: Vec<Chunk>,
}

/// The hits of [`CHUNK`] samples.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Of 64 samples each: which of them have a hit, and how many hits are before theirs.
    which: Vec<(u64, u32)>,
    hits: Vec<Hit>,
}

impl Hits {
    pub fn of(chunks: Vec<Chunk>) -> Hits {
        Hits { chunks }
    }

    /// What sample `i` hit.
    #[inline]
    pub fn get(&self, i: usize) -> Hit {
        let chunk = self.chunks.get(i / CHUNK);
        chunk
            .and_then(|chunk| chunk.get(i % CHUNK))
            .unwrap_or_default()
    }
}

impl Chunk {
    /// From the hits in order, each with the number of its sample in the chunk.
    pub fn new(hits: impl Iterator<Item = (usize, Hit)>) -> Chunk {
        let mut chunk = Chunk::default();
        for (i, hit) in hits.filter(|(_, hit)| *hit != Hit::default()) {
            let before = chunk.hits.len() as u32;
            chunk.which.resize(i / 64 + 1, (0, before));
            if let Some((which, _)) = chunk.which.last_mut() {
                *which |= 1 << (i % 64);
            }
            chunk.hits.push(hit);
        }
        chunk.hits.shrink_to_fit();
        chunk
    }

    #[inline]
    fn get(&self, i: usize) -> Option<Hit> {
        let (which, before) = *self.which.get(i / 64)?;
        let bit = 1u64 << (i % 64);
        let among = (which & (bit - 1)).count_ones();
        let hit = self.hits.get((before + among) as usize)?;
        (which & bit != 0).then_some(*hit)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Hit> {
        self.hits.iter_mut()
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
        let chunk = || Chunk::new(given.into_iter().map(|(i, base)| (i, hit(base))));
        let hits = Hits::of(vec![Chunk::default(), chunk()]);
        let found = (0..3 * CHUNK).filter(|&i| hits.get(i) != Hit::default());
        let found: Vec<(usize, u64)> = found.map(|i| (i - CHUNK, hits.get(i).base)).collect();
        assert_eq!(found, [(0, 8), (63, 16), (64, 24), (511, 32), (512, 40)]);
        assert_eq!(chunk().iter_mut().count(), 5);
    }
}
