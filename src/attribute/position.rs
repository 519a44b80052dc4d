//! Where in its bucket or group an access lies, from addresses alone.
//!
//! Buckets and groups begin at multiples of 8, and tophash and ctrl bytes are their first 8 bytes.
//! So an access that the code knows to be of a control byte gives the start of its bucket by itself,
//! and all buckets of an array are congruent modulo their size. The starts around a key or an elem
//! therefore give the start of *its* bucket, for the types whose layout has a key (an elem) there.

use super::admitted::Admitted;
use super::grid::{Grid, Place};
use super::keys::KeyRead;
use super::nearby::{IN_TIME, Last, MOST, Near, Nearby, Nearest, PAGE_SHIFT};
use super::stride::Stride;
use super::timelines::Timelines;
use super::types::{ShapeId, Types};
use crate::gomap::{Part, Shape, Spot, Stage};
use rayon::prelude::*;
use std::cmp::Ordering;

/// Where an access lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Located {
    pub base: u64,
    pub spot: Spot,
    /// `None`: more than one shape has this part there.
    pub shape: Option<ShapeId>,
}

/// The one place that all shapes which have one agree on.
#[derive(Default)]
struct OneSpot {
    found: Option<Located>,
    several: bool,
}

impl OneSpot {
    fn add(&mut self, base: u64, spot: Spot, shape: ShapeId) {
        match &mut self.found {
            Some(one) if (one.base, one.spot) == (base, spot) => one.shape = None,
            Some(_) => self.several = true,
            None => {
                let shape = Some(shape);
                self.found = Some(Located { base, spot, shape });
            }
        }
    }

    fn get(self) -> Option<Located> {
        self.found.filter(|_| !self.several)
    }
}

/// The known starts.
#[derive(Debug, Default)]
pub struct Starts {
    /// All of them, each once for what it admits.
    bases: Vec<(u64, Admitted)>,
    near: Nearby,
    /// By page and time: keys that were hashed or compared.
    keys: Vec<KeyRead>,
    /// By shape.
    grids: Vec<Grid>,
}

/// Starts looked at on each side of an address.
const IN_SPACE: usize = 8;

/// A start further away than this many buckets says nothing of an array.
const REACH: u64 = 512;

/// Fewer agreeing neighbours than this prove a stride only when the shape is known.
const PROOF: usize = 3;

/// So many that agree leave no doubt that the allocator admits it.
const SURE: usize = 6;

impl Starts {
    /// `starts`: with the times at which they were seen.
    pub fn new(
        starts: &Timelines<(u64, Admitted)>,
        mut keys: Vec<KeyRead>,
        types: &Types,
    ) -> Starts {
        keys.par_sort_unstable_by_key(|k| (k.address >> PAGE_SHIFT, k.time, k.address));
        Starts {
            bases: starts.iter().map(|(start, _)| start).collect(),
            near: Nearby::new(starts),
            keys,
            grids: (0..types.shapes()).map(|s| Grid::of(s, types)).collect(),
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
            Some((support, located)) => {
                let sure = support.starts >= SURE
                    || self.allowed(&near, address, &located, admitted, types);
                Some(located).filter(|_| sure)
            }
            None => self
                .locate_on_grid(&near, address, time, part, admitted, types)
                .or_else(|| self.locate_far(address, part, admitted, types))
                .or_else(|| self.locate_in(&near, address, time, part, admitted, types)),
        }
    }

    /// The shape of the buckets around a start, where the others around it admit only one.
    pub fn shape_at(
        &self,
        base: u64,
        time: u64,
        shapes: Admitted,
        types: &Types,
        last: &mut Last,
    ) -> Option<ShapeId> {
        let near = self.near.around(base, time, last);
        let mut best: Option<(Support, ShapeId)> = None;
        let mut tied = false;
        for &shape in shapes.shapes(types) {
            let Some(support) = supported(&near, shape, false, types) else {
                continue;
            };
            if base % support.stride != support.residue {
                continue;
            }
            let keys = |most: &Support, rival: ShapeId| {
                self.keys_tell(base, time, (rival, most), (shape, &support), types)
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

    /// Whether no start, of whatever time, says that another bucket or group than this lay in its memory: then
    /// what samples of one instruction and address before and after say of it holds for those between.
    pub fn allow(&self, located: &Located, types: &Types) -> bool {
        located.shape.is_some_and(|shape| {
            let Some(of) = types.of_shape(shape) else {
                return false;
            };
            let stride = of.shape.stride();
            let end = located.base.saturating_add(stride);
            let from = self
                .bases
                .partition_point(|(base, _)| base.saturating_add(stride) <= located.base);
            let around = self.bases[from..].iter();
            let mut around = around.take_while(|(base, _)| *base < end);
            around.all(|(base, of)| *base == located.base && of.admits(shape, types))
        })
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

    /// Whether the allocator may have put a bucket or group there.
    fn allowed(
        &self,
        near: &Near,
        address: u64,
        located: &Located,
        admitted: Admitted,
        types: &Types,
    ) -> bool {
        let shapes = located.shape.as_slice();
        let shapes = if shapes.is_empty() {
            admitted.shapes(types)
        } else {
            shapes
        };
        shapes.iter().any(|&shape| {
            let variants = types.admitted(shape);
            let admits = |start: Nearest| start.admits(shape, variants);
            let grid = self.grids.get(shape as usize);
            grid.is_some_and(|grid| grid.allows(near, address, located.base, admits))
        })
    }

    /// The only spot that the allocator leaves, the starts around it being where they are.
    fn locate_on_grid(
        &self,
        near: &Near,
        address: u64,
        time: u64,
        part: Part,
        admitted: Admitted,
        types: &Types,
    ) -> Option<Located> {
        // One start alone, and not seen at times on both sides, may have made place for this.
        let around = self.near.last_and_next(address, time, |_| true);
        let lasting = !around.contains(&None);
        let on_page = |s: &Nearest| near.base(*s) >> PAGE_SHIFT == address >> PAGE_SHIFT;
        let several = near.iter().filter(on_page).nth(1).is_some();
        let enough = |starts: usize| lasting || several || starts > 1;
        let mut found = OneSpot::default();
        for &shape in admitted.shapes(types) {
            let (grid, of_shape) = (self.grids.get(shape as usize)?, types.of_shape(shape)?);
            let variants = types.admitted(shape);
            let admits = |start: Nearest| start.admits(shape, variants);
            match grid.place(near, address, part, of_shape, admits) {
                Place::Nowhere => {}
                Place::Several => return None,
                Place::One(_, _, starts) if !enough(starts) => return None,
                Place::One(base, spot, _) => found.add(base, spot, shape),
            }
        }
        found.get()
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
        let below = near.below()?;
        let base = near.base(below);
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
            let admits = below.admits(shape, types.admitted(shape));
            let map_type = types.of_shape(shape).filter(|_| admits)?;
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
        let mut found = OneSpot::default();
        for &shape in admitted.shapes(types) {
            if let Some((base, spot)) = self.fit(address, part, shape, types) {
                found.add(base, spot, shape);
            }
        }
        found.get()
    }

    fn fit(&self, address: u64, part: Part, shape: ShapeId, types: &Types) -> Option<(u64, Spot)> {
        let map_type = types.of_shape(shape)?;
        let stride = map_type.shape.stride();
        // A table's groups are few: of those far away nothing follows.
        if matches!(map_type.shape, Shape::Swiss { .. }) {
            return None;
        }
        let reach = stride.checked_mul(REACH)?;
        let at = self.bases.partition_point(|(base, _)| *base <= address);
        let (below, above) = self.bases.split_at(at);
        let admitting = |of_base: &[(u64, Admitted)]| {
            let (base, _) = of_base.first()?;
            let admits = of_base.iter().any(|(_, a)| a.admits(shape, types));
            Some((*base, admits))
        };
        let same = |a: &(u64, Admitted), b: &(u64, Admitted)| a.0 == b.0;
        let below = below.chunk_by(same).rev().filter_map(admitting);
        let below = below.take_while(|(base, _)| address - base <= reach);
        let above = above.chunk_by(same).filter_map(admitting);
        let above = above.take_while(|(base, _)| base - address <= reach);
        let below = agreeing(below.take(IN_SPACE), stride);
        let above = agreeing(above.take(IN_SPACE), stride);
        let (residue, agreed) = match (below, above) {
            (Some((a, n)), Some((b, m))) if a == b => (a, n + m),
            // The address lies between two arrays, or in memory that changed hands.
            (Some(_), Some(_)) => return None,
            // Or beyond the end of one.
            (Some((_, ..PROOF)), None) | (None, Some((_, ..PROOF))) => return None,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        if agreed < PROOF {
            return None;
        }
        let phase = address.checked_rem(stride)?;
        let off = (phase + stride - residue) % stride;
        let spot = map_type.spot_at(off)?;
        let base = address.checked_sub(off)?;
        (spot.part == part).then_some((base, spot))
    }
}

/// The remainder modulo the shape's stride that the starts on both sides share, where enough of all of
/// them do to believe it.
fn supported(near: &Near, shape: ShapeId, known: bool, types: &Types) -> Option<Support> {
    // What lies beyond the last start may be of another array.
    let between = near.below().is_some() && near.above().is_some();
    let proof = if known && between { PROOF - 1 } else { PROOF };
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
    let (mut residues, mut admitted) = ([0; MOST], 0);
    for start in near.iter().filter(|start| start.admits(shape, variants)) {
        residues[admitted] = stride.remainder(start.at());
        admitted += 1;
    }
    let residues = &residues[..admitted];
    let starts = residues.iter().filter(|other| **other == residue).count();
    if starts < proof {
        return None;
    }
    let likelihood = likelihood(near.len(), residues, stride);
    let enough = match known {
        true => starts * 3 >= near.len() * 2,
        false => likelihood >= LIKELIER.ln(),
    };
    enough.then_some(Support {
        starts,
        likelihood,
        stride: stride.bytes(),
        residue: near.residue(residue, stride.bytes()),
    })
}

/// What speaks for a shape: so many starts are congruent modulo its stride.
#[derive(Debug, Clone, Copy)]
struct Support {
    starts: usize,
    /// Of all starts around, were the shape this one: [`likelihood`].
    likelihood: f64,
    stride: u64,
    residue: u64,
}

/// So many times likelier is enough.
const LIKELIER: f64 = 1000.0;

/// One start in so many is of another array than those around it.
const STRANGERS: f64 = 20.0;

/// The logarithm of how much likelier `all` starts are in arrays of buckets of one stride than anywhere: the
/// first of each array may lie anywhere, the others are congruent with it. `residues` are those of the
/// starts that may be of such buckets.
fn likelihood(all: usize, residues: &[u32], stride: Stride) -> f64 {
    let first = |(i, residue)| !residues[..i].contains(residue);
    let arrays = residues.iter().enumerate().filter(|r| first(*r)).count();
    let congruent = (residues.len() - arrays) as f64 * stride.congruence();
    let strangers = all - residues.len() + arrays.saturating_sub(1);
    congruent - strangers as f64 * STRANGERS.ln()
}

enum Verdict {
    Better,
    Even,
    Worse,
}

impl Support {
    /// Of two shapes of one size the one that more starts admit. Else the likelier one. Last, `keys` tell.
    fn against(&self, other: Support, keys: impl FnOnce() -> Option<Verdict>) -> Verdict {
        let likelier = match self.stride == other.stride {
            true => match self.starts.cmp(&other.starts) {
                Ordering::Greater => f64::INFINITY,
                Ordering::Less => f64::NEG_INFINITY,
                Ordering::Equal => 0.0,
            },
            false => self.likelihood - other.likelihood,
        };
        if likelier >= LIKELIER.ln() {
            Verdict::Better
        } else if likelier <= -LIKELIER.ln() {
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

/// The remainder modulo `stride` of the nearest start, where that admits the shape, and how many starts
/// outward that do share it.
fn agreeing(
    starts: impl Iterator<Item = (u64, bool)> + Clone,
    stride: u64,
) -> Option<(u64, usize)> {
    let (nearest, _) = starts.clone().next()?;
    let residue = nearest.checked_rem(stride)?;
    let shared = starts.take_while(|(base, admits)| *admits && base % stride == residue);
    Some((residue, shared.count())).filter(|(_, shared)| *shared > 0)
}
