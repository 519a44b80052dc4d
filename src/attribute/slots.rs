//! The slots that point to keys and elems outside of them.
//!
//! Such a key or elem is an object of its own, and its address says nothing of the slot. Three things do:
//! registers in which the map call that handed it out left a pointer into the slot ([`super::flow::Handed`]);
//! samples that saw the pointer in its slot, before and after; and, where the call left only which bucket or
//! group it came by, any that saw it there. An entry stays in its slot as long as it is in its bucket.

use super::chains::{LeafTargets, is_store, passed_of};
use super::code::Code;
use super::flow::{Handed, Way};
use super::places::Places;
use super::regions::Regions;
use super::resolve::{call_of, moved};
use super::row::{Row, in_bucket};
use super::rows::Rows;
use super::spaces::{Spaces, marked};
use super::types::Types;
use crate::gomap::{Family, Part, Stage};
use crate::recording::{Processor, Recording};
use rayon::prelude::*;

/// A slot that pointed to an object at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pointing {
    object: u64,
    time: u64,
    /// The start of its bucket or group.
    holder: u64,
    slot: i8,
    header: u64,
}

/// All that were seen, by object and time.
#[derive(Debug, Default)]
pub struct Slots(Vec<Pointing>);

/// What a sample of a key or an elem outside of its slot has to say of the slot.
pub struct Sample<'a> {
    pub handed: Handed,
    pub processor: Processor<'a>,
    pub code: &'a Code,
    /// The call that handed it out began a loop over the map.
    pub iterates: bool,
}

/// Whether a row is of a key or an elem outside of a slot that is not known.
pub fn is_open(row: &Row) -> bool {
    row.slot < 0 && matches!(row.part, Ok(Part::IndirectKey | Part::IndirectElem))
}

impl<'a> Sample<'a> {
    /// What a map call handed out to the function of a sample, or to the caller of its leaf, where the sample
    /// is of that.
    pub fn of(
        recording: &'a Recording,
        places: &'a Places,
        leaves: &LeafTargets,
        types: &Types,
        i: usize,
    ) -> Option<Sample<'a>> {
        let code = places.code_of(i)?;
        recording.pmu(i).filter(|pmu| pmu.regs_sound)?;
        let stored = is_store(recording, i);
        let passed = passed_of(places, recording.samples.chain.get(i), leaves, i, stored);
        let handed = match passed {
            Some(passed) => passed.handed,
            None => code.handed,
        }?;
        let call = call_of(code, passed.map(|passed| passed.target), stored);
        let site = types.call_site(code.binary, handed.call)?;
        (call == Some(handed.call)).then(|| Sample {
            handed,
            processor: recording.processor(i),
            code,
            iterates: !site.callee.starts_with("runtime.mapa"),
        })
    }

    /// The values of registers by their bits, in the address space of `row`.
    fn values(&self, bits: u32, row: &Row, spaces: &Spaces) -> impl Iterator<Item = Option<u64>> {
        let perf = self.code.instruction.abi().perf;
        let mark = spaces.mark_of(row.address);
        let numbers = perf.iter().enumerate();
        let meant = numbers.filter(move |(r, _)| bits >> r & 1 == 1);
        meant.map(move |(_, perf)| Some(marked(self.processor.register(*perf)?, mark)))
    }

    /// The slot that registers point into which the call left.
    pub fn left(
        &self,
        row: &Row,
        regions: &Regions,
        types: &Types,
        spaces: &Spaces,
    ) -> Option<(u64, i8)> {
        let swiss = types.family(self.code.binary) == Some(Family::Swiss);
        let mut found = None;
        for way in self.handed.ways() {
            let mut elems = self.values(way.elem, row, spaces);
            let other = |value: Option<u64>| row.base != 0 && value != Some(row.base);
            if row.part == Ok(Part::IndirectElem) && elems.any(other) {
                continue;
            }
            match self.by_way(way, row, regions, types, spaces) {
                Some(Some(slot)) if found.is_none_or(|known| known == slot) => found = Some(slot),
                Some(Some(_)) => return None,
                Some(None) => {}
                // That of a loop which began when the map was small: it has but one group then, or the
                // entry was looked up where it is now.
                None if swiss && self.iterates => {}
                None => return None,
            }
        }
        found
    }

    /// `None`: no register tells; `Some(None)`: the call took another way.
    fn by_way(
        &self,
        way: &Way,
        row: &Row,
        regions: &Regions,
        types: &Types,
        spaces: &Spaces,
    ) -> Option<Option<(u64, i8)>> {
        let mut slots = self.values(way.slot, row, spaces).map(|value| {
            let value = value?;
            let hit = regions.at(value, row.time, None, types)?;
            let same_map = match (row.header, hit.header) {
                (0, _) | (_, 0) => hit.map_type.is_some() && hit.map_type == row.map_type,
                (a, b) => a == b,
            };
            let begins = matches!(hit.spot.part.stage(), Stage::Key | Stage::Elem);
            let begins = begins && hit.spot.field_off == 0;
            // A small map has one group, and calls for it take ways of their own.
            let mut around = regions.covering(value, row.time);
            let several = around.any(|r| r.end - r.start > r.stride);
            let slot = hit.spot.slot.filter(|_| same_map && begins && several)?;
            Some((hit.base, slot as i8))
        });
        let first = slots.next()?;
        Some(first.filter(|_| slots.all(|slot| slot == first)))
    }

    /// The buckets and groups that the call left in registers.
    fn buckets(&self, row: &Row, spaces: &Spaces) -> impl Iterator<Item = u64> {
        self.values(self.handed.buckets, row, spaces).flatten()
    }
}

impl Slots {
    /// What the rows saw: pointers in their slots, and keys and elems of which the slot is known.
    /// `left`: [`Sample::left`] of a row's sample.
    pub fn of(
        rows: &Rows,
        recording: &Recording,
        places: &Places,
        types: &Types,
        spaces: &Spaces,
        left: impl Fn(&Row) -> Option<(u64, i8)> + Sync + Send,
    ) -> Slots {
        let seen = |row: Row| {
            let map_type = row.map_type.and_then(|id| types.get(id))?;
            let (object, (holder, slot)) = match row.part.ok()? {
                Part::IndirectKey | Part::IndirectElem => (row.base, left(&row)?),
                part if in_bucket(part) => {
                    let outside = match part.stage() {
                        Stage::Key => map_type.indirect_key,
                        Stage::Elem => map_type.indirect_elem,
                        _ => false,
                    };
                    let i = row.sample as usize;
                    let code = places.code_of(i).filter(|_| outside)?;
                    let sound = recording.pmu(i).is_some_and(|pmu| pmu.regs_sound);
                    let object = moved(&recording.processor(i), code).filter(|_| sound)?;
                    let object = marked(object, spaces.mark_of(row.address));
                    (object, (row.base, row.slot))
                }
                _ => return None,
            };
            let known = object != 0 && holder != 0 && slot >= 0;
            known.then_some(Pointing {
                object,
                time: row.time,
                holder,
                slot,
                header: row.header,
            })
        };
        let mut all: Vec<Pointing> = rows.par_iter().filter_map(seen).collect();
        all.par_sort_unstable();
        Slots(all)
    }

    /// The slot that points to the object that a row is of.
    pub fn find(&self, row: &Row, sample: Option<&Sample>, spaces: &Spaces) -> Option<i8> {
        let from = self.0.partition_point(|p| p.object < row.base);
        let of_object = self.0[from..].partition_point(|p| p.object == row.base);
        let seen = &self.0[from..from + of_object];
        let (before, after) = seen.split_at(seen.partition_point(|p| p.time < row.time));
        let place = |p: &Pointing| (p.holder, p.slot, p.header);
        if let (Some(before), Some(after)) = (before.last(), after.first())
            && place(before) == place(after)
        {
            return Some(before.slot);
        }
        let sample = sample?;
        let came_by = |p: &&Pointing| {
            p.header == row.header && sample.buckets(row, spaces).any(|b| b == p.holder)
        };
        let mut here = seen.iter().filter(came_by);
        let slot = here.next()?.slot;
        here.all(|p| p.slot == slot).then_some(slot)
    }
}
