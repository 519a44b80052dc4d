//! Where in its bucket or group an access lies, from addresses alone.
//!
//! Buckets and groups begin at multiples of 8, and tophash and ctrl bytes are their first 8 bytes.
//! So an access that the code knows to be of a control byte gives the start of its bucket by itself,
//! and all buckets of an array are congruent modulo their size. The starts around a key or an elem
//! therefore give the start of *its* bucket, for the types whose layout has a key (an elem) there.

use super::types::{ShapeId, Types};
use crate::gomap::{MapType, Part, Spot};

/// A bucket or group whose start is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Start {
    pub base: u64,
    pub time: u64,
}

/// The known starts, by address.
#[derive(Debug, Default)]
pub struct Starts {
    sorted: Vec<Start>,
}

/// Starts looked at on each side of an address.
const NEIGHBOURS: usize = 8;

/// A start further away than this many buckets says nothing of an array.
const REACH: u64 = 512;

/// Fewer agreeing neighbours than this prove a stride only when the type is known.
const PROOF: usize = 3;

/// Which shapes an access may be of.
#[derive(Debug, Clone, Copy)]
pub enum Candidates<'a> {
    Known(ShapeId),
    /// Any of these (the key size of a fast variant settles some).
    Any(&'a [ShapeId]),
}

/// Where an access lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Located {
    pub base: u64,
    pub spot: Spot,
    /// `None`: more than one shape has this part there.
    pub shape: Option<ShapeId>,
}

impl Starts {
    pub fn new(mut starts: Vec<Start>) -> Starts {
        starts.sort_unstable();
        starts.dedup_by_key(|s| (s.base, s.time >> 20));
        Starts { sorted: starts }
    }

    /// The bucket or group and the spot in it that `part` at `address` is, where the starts around
    /// it admit only one.
    pub fn locate(
        &self,
        address: u64,
        part: Part,
        candidates: Candidates,
        types: &Types,
    ) -> Option<Located> {
        let fit = |shape: ShapeId, proof| {
            let (base, spot) = self.fit(address, part, types.of_shape(shape)?, proof)?;
            Some(Located {
                base,
                spot,
                shape: Some(shape),
            })
        };
        match candidates {
            Candidates::Known(shape) => fit(shape, 1),
            Candidates::Any(shapes) => {
                let mut found: Option<Located> = None;
                for located in shapes.iter().filter_map(|&shape| fit(shape, PROOF)) {
                    match found {
                        Some(one) if (one.base, one.spot) != (located.base, located.spot) => {
                            return None;
                        }
                        Some(one) => found = Some(Located { shape: None, ..one }),
                        None => found = Some(located),
                    }
                }
                found
            }
        }
    }

    fn fit(
        &self,
        address: u64,
        part: Part,
        map_type: &MapType,
        proof: usize,
    ) -> Option<(u64, Spot)> {
        let stride = map_type.shape.stride();
        let reach = stride.checked_mul(REACH)?;
        let at = self.sorted.partition_point(|s| s.base <= address);
        let below = self.sorted[..at]
            .iter()
            .rev()
            .take_while(|s| address - s.base <= reach);
        let above = self.sorted[at..]
            .iter()
            .take_while(|s| s.base - address <= reach);
        let below = agreeing(below.take(NEIGHBOURS), stride);
        let above = agreeing(above.take(NEIGHBOURS), stride);
        let (residue, agreed) = match (below, above) {
            (Some((a, n)), Some((b, m))) if a == b => (a, n + m),
            // The address lies between two arrays, or in memory that changed hands.
            (Some(_), Some(_)) => return None,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        if agreed < proof {
            return None;
        }
        let phase = address.checked_rem(stride)?;
        let off = (phase + stride - residue) % stride;
        let spot = map_type.spot_at(off)?;
        (spot.part == part).then_some((address - off, spot))
    }
}

/// The remainder modulo `stride` of the nearest start, and how many distinct starts outward share it.
fn agreeing<'a>(starts: impl Iterator<Item = &'a Start>, stride: u64) -> Option<(u64, usize)> {
    let mut bases: Vec<u64> = starts.map(|s| s.base).collect();
    bases.dedup();
    let residue = bases.first()?.checked_rem(stride)?;
    Some((
        residue,
        bases.iter().take_while(|b| **b % stride == residue).count(),
    ))
}
