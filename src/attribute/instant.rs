//! What a core file or a snapshot says of the samples: it knows every map, but at one instant only,
//! after the last of them.
//!
//! Memory is reused, so the maps of the core hold for a sample only as far back as nothing in the same
//! structure speaks against it: an array came to be after the last sample that found something else
//! in it. And the sample's own code has to agree: it says itself which part it touches.

use super::admitted::Admitted;
use super::binary::Binary;
use super::row::{About, Fact, Row, VARIABLE, about, in_bucket};
use super::rows::Rows;
use super::statements::{Own, Until};
use super::types::{TypeId, Types};
use super::{Evidence, Reason};
use crate::gomap::{Layout, Part, Structure};
use crate::heap::{Heap, Kind, Region};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// A core with the types of its maps as the attribution numbers them.
pub struct Instant<'a> {
    heap: &'a Heap,
    layout: &'a Layout,
    /// By map of the heap.
    types: Vec<Option<TypeId>>,
    /// By region of the heap: the last time at which a sample found something else in it.
    born: Vec<AtomicU64>,
    /// By bucket or group that points to keys or elems outside of it: the first time after that at which a
    /// sample was in it. Before, its entries may have been in the one that it grew from.
    filled: FxHashMap<u64, AtomicU64>,
    /// After the last sample.
    pub time: u64,
}

/// A key or an elem outside of its slot.
#[derive(Debug, Clone, Copy)]
pub struct Indirect {
    pub part: Part,
    pub start: u64,
    /// The bucket or group that points to it.
    pub holder: u64,
    pub slot: u8,
    pub header: u64,
    pub map_type: Option<TypeId>,
}

/// What the core has at an address.
#[derive(Debug, Clone, Copy)]
struct Spot {
    part: Part,
    base: u64,
    slot: i8,
}

impl<'a> Instant<'a> {
    /// `binary`: what the core is of; `last`: when the last sample was.
    pub fn new(heap: &'a Heap, binary: &Binary, types: &Types, last: u64) -> Option<Instant<'a>> {
        Some(Instant {
            heap,
            layout: binary.layout?,
            types: heap
                .maps
                .iter()
                .map(|map| types.named(binary.id, map.map_type.as_deref()?))
                .collect(),
            born: heap.regions.iter().map(|_| AtomicU64::new(0)).collect(),
            filled: heap
                .regions
                .iter()
                .filter_map(|region| Some((region.held?.0, AtomicU64::new(u64::MAX))))
                .collect(),
            time: last.saturating_add(1),
        })
    }

    /// Hears what a sample found at its address; code that is no `proxy` would know a map, and
    /// `admitted` are the shapes that it handles.
    pub fn hear(&self, row: &Row, proxy: bool, admitted: Admitted, types: &Types) {
        let Some((number, region)) = self.region_at(row.address) else {
            return;
        };
        let against = match (row.part, self.spot(region, row.address, types)) {
            (Ok(_), None) => true,
            (Ok(part), Some(spot)) => {
                let shape = self.type_of(region).and_then(|t| types.shape_of(t));
                let foreign = in_bucket(part) && shape.is_some_and(|s| !admitted.admits(s, types));
                foreign || !self.agrees(row, region, &spot, types)
            }
            (Err(Reason::Goroutine), _) => true,
            (Err(Reason::NotMap | Reason::NotMapMemory | Reason::Stack), _) => !proxy,
            (Err(_), _) => false,
        };
        if against && let Some(born) = self.born.get(number) {
            born.fetch_max(row.time, Ordering::Relaxed);
        }
    }

    /// A table and its groups come to be together (`newTable`).
    pub fn heard(&self) {
        let mut latest: FxHashMap<(u32, u64), u64> = FxHashMap::default();
        let of_tables = || {
            let both = self.heap.regions.iter().zip(&self.born);
            both.filter(|(r, _)| matches!(r.kind, Kind::Table | Kind::Groups))
        };
        for (region, born) in of_tables() {
            let time = latest.entry((region.map, region.index)).or_default();
            *time = born.load(Ordering::Relaxed).max(*time);
        }
        for (region, born) in of_tables() {
            if let Some(time) = latest.get(&(region.map, region.index)) {
                born.fetch_max(*time, Ordering::Relaxed);
            }
        }
    }

    /// Hears of the buckets and groups that samples were in, once [`Instant::hear`] heard of all.
    pub fn hear_holder(&self, row: &Row, types: &Types) {
        if let Some((number, region)) = self.region_at(row.address)
            && let Some(spot) = self.spot(region, row.address, types)
            && let Some(filled) = self.filled.get(&spot.base)
            && row.part == Ok(spot.part)
            && self.lived(number, row.time)
        {
            filled.fetch_min(row.time, Ordering::Relaxed);
        }
    }

    /// Completes the rows whose part the core has at their address.
    pub fn complete(&self, rows: &mut Rows, types: &Types, facts: &mut Vec<Fact>) {
        let certain = |own: &Own| {
            own.part.is_ok_and(|part| match part.structure() {
                // Tables are small, and soon used again for another map's.
                Structure::Table => false,
                // Theirs is decided by the bucket that holds them.
                Structure::Other => false,
                _ => true,
            })
        };
        let told = rows.par_where(certain).flat_map_iter(|mut row| {
            let mut told = Vec::new();
            self.one(&mut row, &mut Until::always(), types, &mut told);
            told
        });
        facts.par_extend(told);
        rows.change_where(certain, |row, until| {
            self.one(row, until, types, &mut Vec::new());
        });
    }

    /// Completes a row whose part the core has at its address.
    fn one(
        &self,
        row: &mut Row,
        until: &mut Until,
        types: &Types,
        facts: &mut Vec<Fact>,
    ) -> Option<()> {
        let (number, region) = self.region_at(row.address)?;
        let time = row.time;
        if !self.lived(number, time) {
            until.at_most(self.born.get(number)?.load(Ordering::Relaxed));
            return None;
        }
        let spot = self.spot(region, row.address, types)?;
        // A part alone agrees by chance: in buckets, their start and shape have to as well.
        let shape = row.map_type.and_then(|t| types.shape_of(t)).or(row.shape);
        let certain = !in_bucket(spot.part) || row.base != 0 && shape.is_some();
        if !certain || !self.agrees(row, region, &spot, types) {
            return None;
        }
        let map = self.heap.map_of(region)?;
        if row.base == 0 {
            row.base = spot.base;
            row.slot = spot.slot;
        }
        row.header = map.header;
        if row.map_type.is_none() && std::mem::take(&mut row.starts) {
            facts.push(Fact {
                header: 0,
                map_type: None,
                ..self.fact(About::Bucket, row.base, region, time)
            });
        }
        // A header was soon another map's (`name_types`).
        let of = self.type_of(region).filter(|_| region.kind != Kind::Header);
        row.map_type = row.map_type.or(of);
        row.evidence = row.evidence.max(Evidence::Heap);
        facts.push(self.fact(about(spot.part), spot.base, region, time));
        Some(())
    }

    fn lived(&self, number: usize, time: u64) -> bool {
        let born = self.born.get(number);
        born.is_some_and(|born| born.load(Ordering::Relaxed) < time)
    }

    /// The core's own word on every structure, at its time.
    pub fn facts(&self, types: &Types) -> Vec<Fact> {
        let of = |region: &Region| {
            let stride = region.stride.max(1);
            let last = region.start + (region.len.saturating_sub(1)) / stride * stride;
            let (about, address) = match region.kind {
                Kind::Header => (About::Header, region.start),
                Kind::Extra => (About::Extra, region.start),
                Kind::Table => (About::Table, region.start),
                Kind::IndirectKey => (About::IndirectKey, region.start),
                Kind::IndirectElem => (About::IndirectElem, region.start),
                Kind::Directory => {
                    let header = self.heap.map_of(region).map_or(0, |m| m.header);
                    let fact = self.fact(About::Directory, header, region, self.time);
                    return [
                        Some(Fact {
                            value: region.start,
                            ..fact
                        }),
                        None,
                    ];
                }
                _ if self.spot(region, region.start, types).is_some() => {
                    (About::Bucket, region.start)
                }
                _ => return [None, None],
            };
            let first = self.fact(about, address, region, self.time);
            let last = Fact {
                address: last,
                ..first
            };
            [Some(first), (about == About::Bucket).then_some(last)]
        };
        self.heap.regions.iter().flat_map(of).flatten().collect()
    }

    /// The indirect key or elem at an address at a time: its start, and the bucket or group and the
    /// slot that point to it.
    pub fn indirect(&self, address: u64, time: u64) -> Option<Indirect> {
        let (number, region) = self.region_at(address)?;
        let (holder, slot) = region.held.filter(|_| self.lived(number, time))?;
        let filled = self.filled.get(&holder)?.load(Ordering::Relaxed);
        if time < filled {
            return None;
        }
        Some(Indirect {
            part: match region.kind {
                Kind::IndirectKey => Part::IndirectKey,
                _ => Part::IndirectElem,
            },
            start: region.start,
            holder,
            slot,
            header: self.heap.map_of(region)?.header,
            map_type: self.type_of(region),
        })
    }

    /// Start and end of every key and elem outside of its slot.
    pub fn indirect_spans(&self) -> impl Iterator<Item = (u64, u64)> {
        let held = self.heap.regions.iter().filter(|r| r.held.is_some());
        held.map(|r| (r.start, r.start.saturating_add(r.len)))
    }

    fn fact(&self, about: About, address: u64, region: &Region, time: u64) -> Fact {
        Fact {
            about,
            address,
            header: self.heap.map_of(region).map_or(0, |m| m.header),
            table: 0,
            value: 0,
            map_type: self.type_of(region).filter(|_| about != About::Header),
            time,
        }
    }

    /// Header and type of every map, and when that is.
    pub fn maps(&self) -> impl Iterator<Item = (u64, TypeId, u64)> {
        let maps = self.heap.maps.iter().zip(&self.types);
        maps.filter_map(|(map, map_type)| Some((map.header, (*map_type)?, self.time)))
    }

    fn region_at(&self, address: u64) -> Option<(usize, &Region)> {
        let after = self.heap.regions.partition_point(|r| r.start <= address);
        let number = after.checked_sub(1)?;
        let region = self.heap.regions.get(number)?;
        (address - region.start < region.len).then_some((number, region))
    }

    fn type_of(&self, region: &Region) -> Option<TypeId> {
        self.types.get(region.map as usize).copied().flatten()
    }

    fn spot(&self, region: &Region, address: u64, types: &Types) -> Option<Spot> {
        let (index, off) = region.element(address)?;
        let base = region.start + index * region.stride;
        let field = |structure| {
            let part = self.layout.field_at(structure, off)?.part?;
            Some(Spot {
                part,
                base,
                slot: -1,
            })
        };
        match region.kind {
            Kind::Header => field(Structure::Header),
            Kind::Extra => field(Structure::Extra),
            Kind::Table => field(Structure::Table),
            Kind::Directory => Some(Spot {
                part: Part::DirectoryTable,
                base: region.start,
                slot: -1,
            }),
            Kind::IndirectKey | Kind::IndirectElem => Some(Spot {
                part: match region.kind {
                    Kind::IndirectKey => Part::IndirectKey,
                    _ => Part::IndirectElem,
                },
                base,
                slot: -1,
            }),
            Kind::Buckets
            | Kind::Overflow
            | Kind::PreallocatedOverflow
            | Kind::Groups
            | Kind::SmallGroup => {
                let spot = types.get(self.type_of(region)?)?.spot_at(off)?;
                Some(Spot {
                    part: spot.part,
                    base,
                    slot: spot.slot.map_or(-1, |s| s as i8),
                })
            }
            _ => None,
        }
    }

    /// Whether nothing that is known of the sample contradicts the core.
    fn agrees(&self, row: &Row, region: &Region, spot: &Spot, types: &Types) -> bool {
        let header = self.heap.map_of(region).map_or(0, |m| m.header);
        let owner = row.header == 0 || row.header & VARIABLE != 0 || row.header == header;
        let of_type = match (row.map_type, self.type_of(region)) {
            (Some(a), Some(b)) => a == b,
            (None, Some(b)) => row.shape.is_none() || row.shape == types.shape_of(b),
            _ => true,
        };
        row.part == Ok(spot.part) && (row.base == 0 || row.base == spot.base) && owner && of_type
    }
}
