//! What a recording has to say of a sample at all: where it says nothing, no attribution can tell.

use crate::missed::Of;
use crate::score::Truth;
use crate::table::{Fields, number};
use mempath::gomap::MapType;
use mempath::heap::{Heap, Kind};
use mempath::program::Program;
use mempath::recording::Recording;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A bucket or group of a map: the header, and the numbers that the truth set has for it.
type Bucket = (u64, i64, i64);

/// What the samples that know it say of the slot which points to a key or an elem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// A register of the sample points to it.
    InRegister,
    /// A register points into the bucket or group, in which others saw the slot.
    BucketInRegister,
    /// Only others, at other times.
    OnlyOthers,
    /// Only the core, which was taken after all of them.
    InCore,
    Nothing,
}

/// What is recorded of the maps, arrays and slots that samples are of.
pub struct Recorded<'a> {
    recording: &'a Recording,
    /// By the sample, as the next.
    rows: HashMap<usize, Fields>,
    pub maps: HashMap<usize, Of>,
    types: HashMap<String, MapType>,
    /// Where the buckets and groups began, at any time.
    starts: HashMap<Bucket, BTreeSet<u64>>,
    /// Objects, with the start of a bucket or group and the slot that a sample with registers saw to point
    /// to them.
    pointing: HashSet<(u64, u64, i64)>,
    /// The same, whatever the bucket or group.
    objects: HashSet<(u64, i64)>,
    /// By array: starts that a control byte, or the word behind the elems, tells.
    told: HashMap<u64, BTreeSet<u64>>,
    /// By directory: the entries that were touched.
    entries: HashMap<u64, BTreeSet<u64>>,
    /// Maps of which a field of the header was touched.
    headers: HashSet<u64>,
    core: Option<&'a Heap>,
}

/// Numbers of general registers, as perf has them.
const GENERAL: [u32; 15] = [0, 1, 2, 3, 4, 5, 6, 16, 17, 18, 19, 20, 21, 22, 23];

impl<'a> Recorded<'a> {
    pub fn of(
        rows: HashMap<usize, Fields>,
        maps: HashMap<usize, Of>,
        recording: &'a Recording,
        program: &Program,
        core: Option<&'a Heap>,
    ) -> Self {
        let types = program.map_types.iter();
        let mut all = Recorded {
            recording,
            types: types.map(|t| (t.name.clone(), t.clone())).collect(),
            starts: HashMap::new(),
            pointing: HashSet::new(),
            objects: HashSet::new(),
            told: HashMap::new(),
            entries: HashMap::new(),
            headers: HashSet::new(),
            core,
            rows,
            maps,
        };
        let mut objects = HashSet::new();
        for row in all.rows.values() {
            let start = row.address.wrapping_sub(row.off.max(0) as u64);
            match row.structure.as_str() {
                "bmap" | "bmap_overflow" | "bmap_prealloc_unused" | "group" | "small_group" => {
                    all.starts.entry(row.bucket()).or_default().insert(start);
                    if matches!(row.field.as_str(), "tophash" | "ctrl" | "overflow") {
                        all.told.entry(row.base).or_default().insert(start);
                    }
                }
                "directory" => {
                    let entries = all.entries.entry(row.base).or_default();
                    entries.insert(row.address);
                }
                "hmap" | "Map" => {
                    all.headers.insert(row.header);
                }
                "indirect_elem" => {
                    objects.insert(row.base);
                }
                _ => {}
            }
        }
        for (&n, row) in &all.rows {
            let seen: Vec<(u64, u64)> = match row.structure.as_str() {
                "indirect_elem" => {
                    let slots = all.buckets_in_registers(n, row).into_iter();
                    let slots = slots.filter(|(_, slot)| *slot);
                    slots.map(|(start, _)| (row.base, start)).collect()
                }
                _ if row.field == "elem" => {
                    let start = row.address.wrapping_sub(row.off.max(0) as u64);
                    let seen = all.registers(n).filter(|value| objects.contains(value));
                    seen.map(|object| (object, start)).collect()
                }
                _ => continue,
            };
            for (object, start) in seen {
                all.pointing.insert((object, start, row.slot));
                all.objects.insert((object, row.slot));
            }
        }
        all
    }

    fn registers(&self, n: usize) -> impl Iterator<Item = u64> + use<'a> {
        let processor = self.recording.processor(n);
        GENERAL.iter().filter_map(move |r| processor.register(*r))
    }

    /// Of the registers that point into the bucket or group which an object's pointer is in: where that
    /// starts, and whether they point to the slot.
    fn buckets_in_registers(&self, n: usize, row: &Fields) -> Vec<(u64, bool)> {
        let Some(of) = self.types.get(&row.map_type) else {
            return Vec::new();
        };
        let starts = self.starts.get(&row.bucket()).into_iter().flatten();
        let found = starts.flat_map(|start| {
            self.registers(n).filter_map(|value| {
                let off = value.checked_sub(*start)?;
                let inside = off < of.shape.stride();
                let slot = of.spot_at(off).filter(|_| inside)?.slot;
                // A bucket's own address is that of its first control byte.
                Some((*start, off >= 8 && slot.map(i64::from) == Some(row.slot)))
            })
        });
        found.collect()
    }

    /// What is recorded of the slot that points to the elem which a sample is of.
    pub fn slot(&self, n: usize) -> Slot {
        let Some(row) = self.rows.get(&n) else {
            return Slot::Nothing;
        };
        let buckets = self.buckets_in_registers(n, row);
        let seen = |start| self.pointing.contains(&(row.base, start, row.slot));
        if buckets.iter().any(|(_, slot)| *slot) {
            Slot::InRegister
        } else if buckets.iter().any(|(start, _)| seen(*start)) {
            Slot::BucketInRegister
        } else if self.objects.contains(&(row.base, row.slot)) {
            Slot::OnlyOthers
        } else if self.is_in_core(row) {
            Slot::InCore
        } else {
            Slot::Nothing
        }
    }

    /// Whether the core has an elem behind the slot that it was behind, in the same bucket or group.
    fn is_in_core(&self, row: &Fields) -> bool {
        let regions = self.core.iter().flat_map(|core| &core.regions);
        let mut held = regions
            .filter(|region| region.start == row.base)
            .filter_map(|region| region.held);
        let starts = self.starts.get(&row.bucket());
        held.any(|(holder, slot)| {
            i64::from(slot) == row.slot && starts.is_some_and(|starts| starts.contains(&holder))
        })
    }

    /// Whether the core has the map; `None` without one.
    pub fn map_in_core(&self, truth: &Truth) -> Option<bool> {
        let header = number(&truth.header);
        let core = self.core?;
        Some(core.maps.iter().any(|map| map.header == header))
    }

    /// Whose table the core has where a sample's is: of the sample's map; `None` where there is none.
    pub fn table_in_core(&self, n: usize, truth: &Truth) -> Option<bool> {
        let (row, core) = (self.rows.get(&n)?, self.core?);
        let mut tables = core.regions.iter().filter(|r| r.kind == Kind::Table);
        let table = tables.find(|region| region.start == row.base)?;
        Some(core.map_of(table)?.header == number(&truth.header))
    }

    /// How many starts of buckets or groups of a sample's array are recorded, or entries of its directory.
    pub fn starts(&self, n: usize, truth: &Truth) -> usize {
        let Some(row) = self.rows.get(&n) else {
            return 0;
        };
        let of = match truth.part.starts_with("directory") {
            true => &self.entries,
            false => &self.told,
        };
        of.get(&row.base).map_or(0, BTreeSet::len)
    }

    /// Whether a field of the header of a sample's map is recorded.
    pub fn header(&self, truth: &Truth) -> bool {
        self.headers.contains(&number(&truth.header))
    }
}
