//! Where in its bucket or group an access lies, from addresses alone.
//!
//! Buckets and groups begin at multiples of 8, and tophash and ctrl bytes are their first 8 bytes.
//! So an access that the code knows to be of a control byte gives the start of its bucket by itself,
//! and all buckets of an array are congruent modulo their size. The starts around a key or an elem
//! therefore give the start of *its* bucket, for the types whose layout has a key (an elem) there.

use super::keys::KeyRead;
use super::nearby::{IN_TIME, Last, Near, Nearby, PAGE_SHIFT};
use super::types::{ShapeId, Types, variant_of};
use crate::gomap::{MapType, Part, Spot, Stage};
use rayon::prelude::*;
use std::cmp::Ordering;

/// A bucket or group whose start is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Start {
    pub base: u64,
    pub time: u64,
    pub shapes: Admitted,
}

/// Which shapes an access may be of, by what its code and its type say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Admitted {
    Known(ShapeId),
    /// Those of the binary's types with keys of this many bytes, where a fast variant fixes it.
    Variant(u32, Option<i64>),
}

impl Admitted {
    fn shapes<'a>(&'a self, types: &'a Types) -> &'a [ShapeId] {
        match self {
            Admitted::Known(shape) => std::slice::from_ref(shape),
            Admitted::Variant(binary, key_size) => types.of_variant(*binary, *key_size),
        }
    }

    pub fn admits(&self, shape: ShapeId, types: &Types) -> bool {
        match *self {
            Admitted::Known(known) => known == shape,
            Admitted::Variant(_, key_size) => types.admitted(shape)[variant_of(key_size)],
        }
    }
}

/// Where an access lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Located {
    pub base: u64,
    pub spot: Spot,
    /// `None`: more than one shape has this part there.
    pub shape: Option<ShapeId>,
}

/// The known starts.
#[derive(Debug, Default)]
pub struct Starts {
    /// All of them, each once.
    bases: Vec<u64>,
    near: Nearby,
    /// By page and time: keys that were hashed or compared.
    keys: Vec<KeyRead>,
}

/// Starts looked at on each side of an address.
const IN_SPACE: usize = 8;

/// A start further away than this many buckets says nothing of an array.
const REACH: u64 = 512;

/// Fewer agreeing neighbours than this prove a stride only when the shape is known.
const PROOF: usize = 3;

impl Starts {
    pub fn new(mut starts: Vec<Start>, mut keys: Vec<KeyRead>) -> Starts {
        keys.par_sort_unstable_by_key(|k| (k.address >> PAGE_SHIFT, k.time, k.address));
        starts.par_sort_unstable();
        let mut bases: Vec<u64> = starts.iter().map(|s| s.base).collect();
        bases.dedup();
        Starts {
            bases,
            near: Nearby::new(starts),
            keys,
        }
    }

    /// To ask for the first time.
    pub fn last(&self) -> Last {
        self.near.last()
    }

    /// The bucket or group and the spot in it that `part` at `address` is, where the starts around
    /// it admit only one.
    pub fn locate(
        &self,
        address: u64,
        time: u64,
        part: Part,
        admitted: Admitted,
        types: &Types,
        last: &mut Last,
    ) -> Option<Located> {
        let near = self.near.around(address, time, last);
        let spot_of = |shape: ShapeId, residue: u64| {
            let map_type = types.of_shape(shape)?;
            let stride = map_type.shape.stride();
            let off = (address % stride + stride - residue) % stride;
            let spot = map_type.spot_at(off).filter(|s| s.part == part)?;
            Some((address - off, spot))
        };
        let known = matches!(admitted, Admitted::Known(_));
        let mut best: Option<(Support, Located)> = None;
        let mut tied = false;
        for &shape in admitted.shapes(types) {
            let Some(support) = supported(&near, shape, known, types) else {
                continue;
            };
            let Some((base, spot)) = spot_of(shape, support.residue) else {
                continue;
            };
            let located = Located {
                base,
                spot,
                shape: Some(shape),
            };
            let verdict = |(most, one): &(Support, Located)| {
                let rival = one.shape.filter(|_| one.base != base || one.spot != spot);
                most.against(support, || {
                    self.keys_tell(address, time, (rival?, most), (shape, &support), types)
                })
            };
            let verdict = best.as_ref().map(verdict);
            match &mut best {
                Some((_, one)) => match verdict.unwrap_or(Verdict::Even) {
                    Verdict::Better => {}
                    Verdict::Even if (one.base, one.spot) == (base, spot) => one.shape = None,
                    Verdict::Even => tied = true,
                    Verdict::Worse => {
                        best = Some((support, located));
                        tied = false;
                    }
                },
                None => best = Some((support, located)),
            }
        }
        match best {
            Some(_) if tied => None,
            Some((_, located)) => Some(located),
            None => self
                .locate_far(address, part, admitted, types)
                .or_else(|| self.locate_in(&near, address, time, part, admitted, types)),
        }
    }

    /// The shape of the buckets around a start, where the others around it admit only one.
    pub fn shape_at(&self, start: &Start, types: &Types, last: &mut Last) -> Option<ShapeId> {
        let near = self.near.around(start.base, start.time, last);
        let mut best: Option<(Support, ShapeId)> = None;
        let mut tied = false;
        for &shape in start.shapes.shapes(types) {
            let Some(support) = supported(&near, shape, false, types) else {
                continue;
            };
            if start.base % support.stride != support.residue {
                continue;
            }
            let keys = |most: &Support, rival: ShapeId| {
                self.keys_tell(
                    start.base,
                    start.time,
                    (rival, most),
                    (shape, &support),
                    types,
                )
            };
            let verdict = best.map_or(Verdict::Worse, |(most, rival)| {
                most.against(support, || keys(&most, rival))
            });
            match verdict {
                Verdict::Better => {}
                Verdict::Even => tied = true,
                Verdict::Worse => {
                    best = Some((support, shape));
                    tied = false;
                }
            }
        }
        best.filter(|_| !tied).map(|(_, shape)| shape)
    }

    /// Which of two shapes the keys have that were hashed or compared around an address, around a time:
    /// where they are keys of one and never of the other.
    fn keys_tell(
        &self,
        address: u64,
        time: u64,
        a: (ShapeId, &Support),
        b: (ShapeId, &Support),
        types: &Types,
    ) -> Option<Verdict> {
        let page = address >> PAGE_SHIFT;
        let (mut of_a, mut of_b) = (0usize, 0usize);
        for page in [page.saturating_sub(1), page, page + 1] {
            let from = self
                .keys
                .partition_point(|k| k.address >> PAGE_SHIFT < page);
            let here = self.keys.get(from..)?;
            let here = &here[..here.partition_point(|k| k.address >> PAGE_SHIFT == page)];
            let at = here.partition_point(|k| k.time < time);
            let near = &here[at.saturating_sub(IN_TIME)..here.len().min(at + IN_TIME)];
            for key in near {
                let is_of = |(shape, support): (ShapeId, &Support)| {
                    types.has_keys(shape, key.kind) && support.has_key_at(key.address, shape, types)
                };
                of_a += usize::from(is_of(a));
                of_b += usize::from(is_of(b));
            }
        }
        match (of_a, of_b) {
            (PROOF.., 0) => Some(Verdict::Better),
            (0, PROOF..) => Some(Verdict::Worse),
            _ => None,
        }
    }

    /// The spot in the bucket or group that begins at the nearest start below, last and next seen
    /// here: where all admitted shapes have the same there, and all are larger.
    fn locate_in(
        &self,
        near: &Near,
        address: u64,
        time: u64,
        part: Part,
        admitted: Admitted,
        types: &Types,
    ) -> Option<Located> {
        let base = near.base(near.below()?);
        let strides = admitted.shapes(types).iter();
        let stride = strides
            .filter_map(|&s| types.of_shape(s))
            .map(|t| t.shape.stride())
            .max()?;
        let here = |other: u64| other.abs_diff(address) < stride;
        let mut nearest = self.near.last_and_next(base, time, here).into_iter();
        if nearest.any(|other| other.is_some_and(|other| other != base)) {
            return None;
        }
        let mut spots = admitted.shapes(types).iter().map(|&shape| {
            let map_type = types.of_shape(shape)?;
            let end = base.checked_add(map_type.shape.stride())?;
            let others = near.above().is_some_and(|above| near.base(above) < end);
            let spot = map_type.spot_at(address - base)?;
            (spot.part == part && !others).then_some(spot)
        });
        let spot = spots.next()??;
        spots.all(|other| other == Some(spot)).then_some(Located {
            base,
            spot,
            shape: None,
        })
    }

    fn locate_far(
        &self,
        address: u64,
        part: Part,
        admitted: Admitted,
        types: &Types,
    ) -> Option<Located> {
        let proof = match admitted {
            Admitted::Known(_) => 1,
            Admitted::Variant(..) => PROOF,
        };
        let mut found: Option<Located> = None;
        for &shape in admitted.shapes(types) {
            let Some((base, spot)) = self.fit(address, part, types.of_shape(shape)?, proof) else {
                continue;
            };
            match found {
                Some(one) if (one.base, one.spot) != (base, spot) => return None,
                Some(one) => found = Some(Located { shape: None, ..one }),
                None => {
                    found = Some(Located {
                        base,
                        spot,
                        shape: Some(shape),
                    });
                }
            }
        }
        found
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
        let at = self.bases.partition_point(|base| *base <= address);
        let below = self.bases[..at].iter().rev().copied();
        let below = below.take_while(|base| address - base <= reach);
        let above = self.bases[at..].iter().copied();
        let above = above.take_while(|base| base - address <= reach);
        let below = agreeing(below.take(IN_SPACE), stride);
        let above = agreeing(above.take(IN_SPACE), stride);
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
        let base = address.checked_sub(off)?;
        (spot.part == part).then_some((base, spot))
    }
}

/// The remainder modulo the shape's stride that most of these starts share, and how many do, if
/// there are enough of them to believe it.
fn supported(near: &Near, shape: ShapeId, known: bool, types: &Types) -> Option<Support> {
    let proof = if known { PROOF - 1 } else { PROOF };
    if near.len() < proof {
        return None;
    }
    let stride = types.stride(shape)?;
    // Between two arrays, the starts on either side differ.
    let sides = near.below().into_iter().chain(near.above());
    let mut sides = sides.map(|start| stride.remainder(start.at()));
    let residue = sides.next()?;
    if sides.any(|other| other != residue) {
        return None;
    }
    let variants = types.admitted(shape);
    let starts = near
        .iter()
        .filter(|start| stride.remainder(start.at()) == residue && start.admits(shape, variants))
        .count();
    (starts >= proof && starts * 3 >= near.len() * 2).then_some(Support {
        starts,
        stride: stride.bytes(),
        residue: near.residue(residue, stride.bytes()),
    })
}

/// What speaks for a shape: so many starts are congruent modulo its stride.
#[derive(Debug, Clone, Copy)]
struct Support {
    starts: usize,
    stride: u64,
    residue: u64,
}

enum Verdict {
    Better,
    Even,
    Worse,
}

/// So many times likelier is enough.
const LIKELIER: f64 = 1000.0;

impl Support {
    /// More starts decide; where two strides explain as many, that all of them are congruent modulo
    /// the larger one as well would be chance, of 1 in their ratio for each start. Last, `keys` tell.
    fn against(&self, other: Support, keys: impl FnOnce() -> Option<Verdict>) -> Verdict {
        match self.starts.cmp(&other.starts) {
            Ordering::Greater => return Verdict::Better,
            Ordering::Less => return Verdict::Worse,
            Ordering::Equal => {}
        }
        let ratio = self.stride as f64 / other.stride as f64;
        let likelier = ratio.powi(self.starts.saturating_sub(1).min(1000) as i32);
        if likelier >= LIKELIER {
            Verdict::Better
        } else if likelier * LIKELIER <= 1.0 {
            Verdict::Worse
        } else {
            keys().unwrap_or(Verdict::Even)
        }
    }

    /// Whether a key of a bucket or group of this shape begins at an address.
    fn has_key_at(&self, address: u64, shape: ShapeId, types: &Types) -> bool {
        let off = (address % self.stride + self.stride - self.residue) % self.stride;
        let spot = |off| types.of_shape(shape)?.spot_at(off);
        let is_key = |s: Spot| s.part.stage() == Stage::Key;
        let Some(slot) = spot(off).filter(|s| is_key(*s)).map(|s| s.slot) else {
            return false;
        };
        let before = off.checked_sub(1).and_then(spot);
        before.is_none_or(|s| !is_key(s) || s.slot != slot)
    }
}

/// The remainder modulo `stride` of the nearest start, and how many starts outward share it.
fn agreeing(bases: impl Iterator<Item = u64> + Clone, stride: u64) -> Option<(u64, usize)> {
    let residue = bases.clone().next()?.checked_rem(stride)?;
    let shared = bases.take_while(|base| base % stride == residue);
    Some((residue, shared.count()))
}
