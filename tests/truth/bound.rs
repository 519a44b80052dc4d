//! What a recording has to say of a sample at all: where it says nothing, no attribution can tell.

use crate::score::Truth;
use crate::table::{Fields, number};
use mempath::gomap::MapType;
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
    /// A register points into the bucket or group; which slot of it, others saw.
    BucketInRegister,
    /// Only others, at other times.
    OnlyOthers,
    Nothing,
}

/// What is recorded of the maps, arrays and slots that samples are of.
pub struct Recorded<'a> {
    recording: &'a Recording,
    /// By the sample.
    rows: HashMap<usize, Fields>,
    types: HashMap<String, MapType>,
    /// Where the buckets and groups began, at any time.
    starts: HashMap<Bucket, BTreeSet<u64>>,
    /// Slots that a sample with registers saw to point to an object.
    pointing: HashSet<(u64, Bucket, i64)>,
    /// By array: starts that a control byte, or the word behind the elems, tells.
    told: HashMap<u64, BTreeSet<u64>>,
    /// By directory: the entries that were touched.
    entries: HashMap<u64, BTreeSet<u64>>,
    /// Maps of which a field of the header was touched.
    headers: HashSet<u64>,
}

/// Numbers of general registers, as perf has them.
const GENERAL: [u32; 15] = [0, 1, 2, 3, 4, 5, 6, 16, 17, 18, 19, 20, 21, 22, 23];

impl<'a> Recorded<'a> {
    pub fn of(rows: HashMap<usize, Fields>, recording: &'a Recording, program: &Program) -> Self {
        let types = program.map_types.iter();
        let mut all = Recorded {
            recording,
            types: types.map(|t| (t.name.clone(), t.clone())).collect(),
            starts: HashMap::new(),
            pointing: HashSet::new(),
            told: HashMap::new(),
            entries: HashMap::new(),
            headers: HashSet::new(),
            rows,
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
            let slot = (row.bucket(), row.slot);
            match row.structure.as_str() {
                "indirect_elem" if all.slots_in_registers(n, row).any(|slot| slot) => {
                    all.pointing.insert((row.base, slot.0, slot.1));
                }
                _ if row.field == "elem" => {
                    let seen = all.registers(n).filter(|value| objects.contains(value));
                    all.pointing.extend(seen.map(|object| (object, slot.0, slot.1)));
                }
                _ => {}
            }
        }
        all
    }

    fn registers(&self, n: usize) -> impl Iterator<Item = u64> + use<'a> {
        let processor = self.recording.processor(n);
        GENERAL.iter().filter_map(move |r| processor.register(*r))
    }

    /// Of the registers that point into the bucket or group which an object's pointer is in: whether to the
    /// slot.
    fn slots_in_registers(&self, n: usize, row: &Fields) -> impl Iterator<Item = bool> {
        let starts = self.starts.get(&row.bucket()).into_iter().flatten();
        let of = self.types.get(&row.map_type);
        let found = starts.flat_map(move |start| {
            self.registers(n).filter_map(move |value| {
                let off = value.checked_sub(*start)?;
                let of = of.filter(|of| off < of.shape.stride())?;
                let slot = of.spot_at(off).and_then(|spot| spot.slot);
                Some(off >= 8 && slot.map(i64::from) == Some(row.slot))
            })
        });
        found.collect::<Vec<bool>>().into_iter()
    }

    /// What is recorded of the slot that points to the elem which a sample is of.
    pub fn slot(&self, n: usize) -> Slot {
        let Some(row) = self.rows.get(&n) else {
            return Slot::Nothing;
        };
        let mut registers = self.slots_in_registers(n, row);
        let bucket = registers.by_ref().collect::<Vec<bool>>();
        let seen = self.pointing.contains(&(row.base, row.bucket(), row.slot));
        match bucket.iter().any(|slot| *slot) {
            true => Slot::InRegister,
            false if seen && !bucket.is_empty() => Slot::BucketInRegister,
            false if seen => Slot::OnlyOthers,
            false => Slot::Nothing,
        }
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
