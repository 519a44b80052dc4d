//! Where the directories of Swiss maps begin, from entries that samples touched.
//!
//! The first bits of a hash choose the entry that an operation reads, so distinct entries are drawn from
//! the whole directory at random. It has a power of two of them, and the allocator puts it where it puts
//! objects of that size. So the smallest one that covers all entries seen is the directory itself, unless
//! they all lie in one half of a larger one by chance: once in 2^(n - 1) times for n distinct ones.

use super::marking::Marking;
use super::places::Places;
use super::rows::Rows;
use super::statements::Until;
use super::{NONE, Operation};
use crate::gomap::{Part, size_class};
use size_class::{MAX_SMALL, PAGE};

/// An entry of a directory that a sample touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// 0: not known.
    pub header: u64,
    pub time: u64,
    pub address: u64,
    /// A hash chose it.
    pub drawn: bool,
    /// The kind of functions that read it: [`super::types::Types::handles`].
    pub variant: usize,
}

/// Memory that was a directory from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory {
    pub start: u64,
    /// Exclusive.
    pub end: u64,
    pub first: u64,
    pub last: u64,
    pub header: u64,
}

/// Bytes of an entry.
const ENTRY: u64 = 8;

/// With so many distinct entries, less than one in a thousand directories is larger than it seems.
const DISTINCT: usize = 11;

/// So many distinct entries of known map tell over which memory it spreads.
const OWN: usize = 4;

/// Of so many entries at most one may be said to be another map's.
const DISSENT: usize = 10;

/// The first Go with directories.
const SWISS: u32 = 24;

/// No directory has more entries than there can be tables.
const MOST_ENTRIES: u64 = 1 << 32;

impl Directory {
    fn covers(&self, address: u64, time: u64, until: &mut Until) -> bool {
        (self.start..self.end).contains(&address) && until.is_in(time, self.first, self.last)
    }
}

/// Whether a hash chose the entry that a sample touched: other code walks through the directory.
pub fn is_drawn(places: &Places, sample: u32) -> bool {
    let place = places.place.get(sample as usize).unwrap_or(NONE);
    let operation = places.places.get(place as usize).and_then(|p| p.operation);
    let by_hash = [Operation::Access, Operation::Assign, Operation::Delete];
    operation.is_some_and(|operation| by_hash.contains(&operation))
}

/// The directories that the entries are of, by start. `marking`: of the process that an address is of.
pub fn directories<'m>(
    mut entries: Vec<Entry>,
    marking: impl Fn(u64) -> &'m Marking,
) -> Vec<Directory> {
    entries.sort_unstable();
    entries.dedup();
    let mut by_address = entries.clone();
    by_address.sort_unstable_by_key(|entry| entry.address);
    let owned = entries.partition_point(|entry| entry.header == 0);
    let of_maps = entries[owned..].chunk_by(|a, b| a.header == b.header);
    let found = of_maps.flat_map(runs);
    let found = found.filter_map(|run| directory(run, &by_address));
    let found = found.map(|found| {
        let (first, last) = marking(found.start).around(found.first, found.last);
        Directory {
            first,
            last,
            ..found
        }
    });
    let mut found: Vec<Directory> = found.collect();
    found.sort_unstable_by_key(|directory| (directory.start, directory.first));
    found
}

/// The entries of one map, in order of time, from directory to directory: a larger one is on other pages
/// than the one before, as a span has objects of one size.
fn runs(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    let page = |entry: &Entry| entry.address / PAGE;
    let mut cuts = vec![0];
    let mut until = vec![(u64::MAX, 0); entries.len() + 1];
    for (i, entry) in entries.iter().enumerate().rev() {
        let (low, high) = until[i + 1];
        until[i] = (low.min(page(entry)), high.max(page(entry)));
    }
    let (mut low, mut high) = (u64::MAX, 0);
    for (i, entry) in entries.iter().enumerate() {
        let (next_low, next_high) = until[i];
        if i > 0 && (high < next_low || next_high < low) {
            cuts.push(i);
            (low, high) = (u64::MAX, 0);
        }
        (low, high) = (low.min(page(entry)), high.max(page(entry)));
    }
    cuts.push(entries.len());
    let cuts: Vec<(usize, usize)> = cuts.windows(2).map(|w| (w[0], w[1])).collect();
    cuts.into_iter().map(|(from, to)| &entries[from..to])
}

/// The directory that all of the entries are of. `all`: those of whatever map, by address.
fn directory(entries: &[Entry], all: &[Entry]) -> Option<Directory> {
    let covering = covering(entries)?;
    let Directory { start, end, .. } = covering;
    let len = end - start;
    // Half of a larger one lies on one side of these.
    let (low, high) = (start.saturating_sub(len), end.saturating_add(len));
    let from = all.partition_point(|entry| entry.address < low);
    let around = all[from..].iter().take_while(|e| e.address < high);
    let around = around.filter(|e| (covering.first..=covering.last).contains(&e.time));
    let around: Vec<&Entry> = around.collect();
    let is_in = |entry: &Entry| {
        let until = &mut Until::always();
        covering.covers(entry.address, entry.time, until)
    };
    let own = |entry: &Entry| entry.header == covering.header;
    let others = around
        .iter()
        .filter(|e| is_in(e) && e.header != 0 && !own(e));
    if entries.len() < DISSENT * others.count() {
        return None;
    }
    let distinct = |of: &dyn Fn(&Entry) -> bool| {
        let mut drawn: Vec<u64> = around
            .iter()
            .filter(|e| e.drawn && is_in(e) && of(e))
            .map(|e| e.address)
            .collect();
        drawn.sort_unstable();
        drawn.dedup();
        drawn.len()
    };
    // Entries between those of a map are its own; those beside may be, where it has none there.
    let kinds = || entries.iter().map(|e| e.variant);
    let alike = |variant: usize| kinds().all(|own| own == variant || own == 0 || variant == 0);
    let beside = around
        .iter()
        .any(|e| !is_in(e) && e.drawn && e.header == 0 && alike(e.variant));
    let enough = distinct(&own) >= DISTINCT
        || distinct(&own) >= OWN && !beside && distinct(&|_| true) >= DISTINCT;
    enough.then_some(covering)
}

/// The smallest directory that covers all of the entries, where the allocator admits one alone.
fn covering(entries: &[Entry]) -> Option<Directory> {
    let low = entries.iter().map(|e| e.address).min()?;
    let end = entries
        .iter()
        .map(|e| e.address)
        .max()?
        .checked_add(ENTRY)?;
    let mut len = ((end - low) / ENTRY).checked_next_power_of_two()?;
    while len <= MOST_ENTRIES {
        let bytes = len * ENTRY;
        let slot = size_class::slot_for(bytes, false, SWISS)?;
        let step = if slot.size > MAX_SMALL { PAGE } else { ENTRY };
        let first = end.saturating_sub(bytes).checked_next_multiple_of(step)?;
        let begins = |start: &u64| {
            let object = start.checked_sub(slot.before);
            object.is_some_and(|object| size_class::may_begin_at(object, slot.size))
        };
        let mut starts = (first..=low).step_by(step as usize).filter(begins);
        match (starts.next(), starts.next()) {
            (None, _) => len *= 2,
            (Some(_), Some(_)) => return None,
            (Some(start), None) => {
                return Some(Directory {
                    start,
                    end: start.checked_add(bytes)?,
                    first: entries.first()?.time,
                    last: entries.last()?.time,
                    header: entries.first()?.header,
                });
            }
        }
    }
    None
}

/// Gives the entries that rows are of the directory that they lie in.
pub fn settle(rows: &mut Rows, directories: &[Directory]) {
    if directories.is_empty() {
        return;
    }
    let at = |address: u64, time: u64, until: &mut Until| {
        let after = directories.partition_point(|d| d.start <= address);
        let below = directories[..after].iter().rev();
        let below = below.take(MOST_OVER);
        let mut here = below.filter(|d| d.covers(address, time, until));
        here.next().filter(|_| here.next().is_none())
    };
    rows.change(|row, until| {
        if row.part == Ok(Part::DirectoryTable)
            && row.base == 0
            && let Some(directory) = at(row.address, row.time, until)
        {
            row.base = directory.start;
            if row.header == 0 {
                row.header = directory.header;
            }
        }
    });
}

/// Directories in the same memory, one after the other, that are looked through.
const MOST_OVER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing being known of the collector.
    fn found_in(entries: Vec<Entry>) -> Vec<Directory> {
        let marking = Marking::unknown();
        directories(entries, |_| &marking)
    }

    const START: u64 = 0x1e12_36e7_e000;

    fn entries(start: u64, numbers: &[u64], from: u64) -> Vec<Entry> {
        let timed = numbers.iter().zip(from..);
        let entry = |(number, time): (&u64, u64)| Entry {
            header: 7,
            time,
            address: start + ENTRY * number,
            drawn: true,
            variant: 2,
        };
        timed.map(entry).collect()
    }

    const SEEN: [u64; 12] = [40, 3, 13, 60, 24, 51, 33, 9, 62, 18, 5, 47];

    fn whole(start: u64, len: u64, (first, last): (u64, u64)) -> Directory {
        Directory {
            start,
            end: start + ENTRY * len,
            first,
            last,
            header: 7,
        }
    }

    /// 64 entries fill an object of 512 bytes, 128 with the header before them (`mallocHeaderSize`) lie in
    /// one of 1,152.
    #[test]
    fn a_directory_begins_where_an_object_of_its_size_may() {
        let found = found_in(entries(START + 512, &SEEN, 10));
        assert_eq!(found, [whole(START + 512, 64, (10, 21))]);
        let twice = SEEN.map(|number| 2 * number + 1);
        let found = found_in(entries(START + 1160, &twice, 10));
        assert_eq!(found, [whole(START + 1160, 128, (10, 21))]);
    }

    #[test]
    fn few_entries_may_be_of_one_half_of_a_larger_directory() {
        assert_eq!(found_in(entries(START, &SEEN[..10], 10)), []);
        let mut walked = entries(START, &SEEN, 10);
        walked
            .iter_mut()
            .skip(9)
            .for_each(|entry| entry.drawn = false);
        assert_eq!(found_in(walked), []);
    }

    #[test]
    fn entries_of_unknown_map_count_where_none_lie_beside() {
        let mut all = entries(START + 512, &SEEN, 10);
        all[4..8].iter_mut().for_each(|entry| entry.header = 0);
        let found = [whole(START + 512, 64, (10, 21))];
        assert_eq!(found_in(all.clone()), found);
        // One that functions for other keys read is another map's.
        let mut beside = entries(START, &[20], 15);
        beside[0] = Entry {
            header: 0,
            variant: 3,
            ..beside[0]
        };
        all.extend(&beside);
        assert_eq!(found_in(all.clone()), found);
        beside[0].variant = 0;
        all.extend(&beside);
        assert_eq!(found_in(all), []);
    }

    #[test]
    fn a_directory_that_grew_is_on_another_page() {
        let mut all = entries(START, &SEEN, 10);
        let larger = START + PAGE + HEADER;
        all.extend(entries(larger, &SEEN.map(|number| 2 * number + 1), 30));
        let expected = [whole(START, 64, (10, 21)), whole(larger, 128, (30, 41))];
        assert_eq!(found_in(all), expected);
    }

    const HEADER: u64 = size_class::HEADER;

    #[test]
    fn entries_of_another_map_there_are_a_doubt() {
        let mut all = entries(START, &SEEN, 10);
        let mut other = entries(START, &[7, 8], 15);
        other.iter_mut().for_each(|entry| entry.header = 8);
        all.extend(other);
        assert_eq!(found_in(all), []);
    }
}
