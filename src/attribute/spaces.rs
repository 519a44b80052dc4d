//! Address spaces: equal addresses of two processes are two places.
//!
//! What the attribution learns it learns by address, and Go's heap begins at the same one in every
//! process. So where samples of more than one Go program are in a recording, each address carries the
//! number of its space, a process from its start or its last exec on, in bits that no address of a user
//! has: Linux gives out 47 or 48 bits unless a program asks for more (`Documentation/arch/x86/x86_64/mm.rst`,
//! `Documentation/arch/arm64/memory.rst`), and Go does not. It is taken out where results leave.

use super::places::Places;
use super::row::{About, Fact, Row};
use crate::heap::Heap;
use crate::recording::Recording;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::borrow::Cow;

/// The first bit of the number.
const SHIFT: u32 = 48;
/// The number's bits: bit 63 is that of the kernel's half, and of [`super::row::VARIABLE`].
const NUMBER: u64 = 0x7fff << SHIFT;

/// The spaces of more than this many processes are one.
pub const MOST: usize = 0x7ffe;

/// A process, and how often it was begun anew by a fork or an exec.
type Space = (i32, usize);

/// The address spaces of the samples of Go code.
#[derive(Debug, Default)]
pub struct Spaces {
    /// By number; empty where there is but one, of number 0.
    all: Vec<Space>,
    numbers: FxHashMap<Space, u64>,
    /// Which binaries, as [`super::types::Types`] numbers them, run in which; sorted.
    runs: Vec<(Space, u32)>,
}

impl Spaces {
    pub fn of(recording: &Recording, places: &Places) -> Spaces {
        let threads = &recording.samples.thread;
        let pids: FxHashSet<i32> = threads.values.iter().map(|&(pid, _)| pid).collect();
        let (first, _) = recording.samples.time.span().unwrap_or_default();
        let space = &recording.space;
        let lasts = |&pid: &i32| space.life(pid, first) == space.lives(pid);
        if pids.len() <= 1 && pids.iter().all(lasts) {
            return Spaces::default();
        }
        let of_sample = |i: usize| Some((space_of(recording, i)?, places.code_of(i)?.binary));
        let found = (0..recording.samples.len()).into_par_iter();
        let found = found.filter_map(of_sample);
        // Most samples are of what the one before is of.
        let found = found.fold(
            Default::default,
            |(mut all, last): (FxHashSet<_>, _), found| {
                if last != Some(found) {
                    all.insert(found);
                }
                (all, Some(found))
            },
        );
        let found = found.map(|(all, _)| all);
        let found = found.reduce(FxHashSet::default, |a, b| a.into_iter().chain(b).collect());
        let mut runs: Vec<(Space, u32)> = found.into_iter().collect();
        runs.sort_unstable();
        let mut all: Vec<Space> = runs.iter().map(|(space, _)| *space).collect();
        all.dedup();
        if all.len() <= 1 {
            return Spaces::default();
        }
        let numbers = all.iter().zip(0..);
        let numbers = numbers.map(|(&space, at): (_, usize)| (space, at.min(MOST) as u64));
        Spaces {
            numbers: numbers.collect(),
            all,
            runs,
        }
    }

    /// Whether there is nothing to tell apart.
    pub fn is_one(&self) -> bool {
        self.all.is_empty()
    }

    /// What marks the addresses of sample `i`. Those of no Go program have a number that no other has.
    pub fn mark(&self, recording: &Recording, i: usize) -> u64 {
        if self.is_one() {
            return 0;
        }
        let number = space_of(recording, i).and_then(|space| self.numbers.get(&space));
        number.map_or(NUMBER, |number| number << SHIFT)
    }

    /// An address of sample `i` with its mark.
    pub fn address(&self, recording: &Recording, i: usize) -> u64 {
        let address = recording.samples.addr.get(i).unwrap_or(0);
        marked(address, self.mark(recording, i))
    }

    /// The mark that an address has.
    pub fn mark_of(&self, address: u64) -> u64 {
        match self.is_one() || address >> 63 == 1 {
            true => 0,
            false => address & NUMBER,
        }
    }

    /// The number of the space that an address has the mark of.
    pub fn number_of(&self, address: u64) -> u32 {
        (self.mark_of(address) >> SHIFT) as u32
    }

    /// An address, or [`super::row::VARIABLE`] with one, as the process has it.
    pub fn plain(&self, address: u64) -> u64 {
        let kernel = address >> 62 == 3 && address & NUMBER == NUMBER;
        match self.is_one() || kernel {
            true => address,
            false => address & !NUMBER,
        }
    }

    /// The process of the space that an address is of, where there are several.
    pub fn pid_of(&self, address: u64) -> Option<i32> {
        let number = (address & NUMBER) >> SHIFT;
        let (pid, _) = self.all.get(usize::try_from(number).ok()?)?;
        Some(*pid)
    }

    /// The Go binary that runs in the space of an address, where there are several spaces and it is the
    /// only one there.
    pub fn binary_of(&self, address: u64) -> Option<u32> {
        let number = usize::try_from((address & NUMBER) >> SHIFT).ok()?;
        let space = self.all.get(number)?;
        let from = self.runs.partition_point(|(of, _)| of < space);
        let mut here = self
            .runs
            .iter()
            .skip(from)
            .take_while(|(of, _)| of == space);
        match (here.next(), here.next()) {
            (Some(&(_, binary)), None) => Some(binary),
            _ => None,
        }
    }

    /// A core of a binary as of the process that it was made of, known by its threads; in a pid
    /// namespace they have other numbers, which does not matter where one process alone runs that
    /// binary. `None` where none is the one.
    pub fn heap<'a>(&self, heap: &'a Heap, binary: Option<u32>) -> Option<Cow<'a, Heap>> {
        if self.is_one() {
            return Some(Cow::Borrowed(heap));
        }
        let runs = self.runs.iter().filter(|(_, runs)| Some(*runs) == binary);
        let runs: Vec<Space> = runs.map(|(space, _)| *space).collect();
        // It was taken after the recording: the last space of its process.
        let mut told = runs.iter().rev();
        let told = told.find(|(pid, _)| heap.threads.contains(pid));
        let only = || runs.first().filter(|_| runs.len() == 1);
        let of = *self.numbers.get(told.or_else(only)?)?;
        let mark = of << SHIFT;
        let mut moved = heap.clone();
        for map in &mut moved.maps {
            map.header = marked(map.header, mark);
        }
        for region in &mut moved.regions {
            region.start = marked(region.start, mark);
            region.held = region.held.map(|(at, slot)| (marked(at, mark), slot));
        }
        for (variable, header) in &mut moved.variables {
            *variable = marked(*variable, mark);
            *header = marked(*header, mark);
        }
        Some(Cow::Owned(moved))
    }
}

fn space_of(recording: &Recording, i: usize) -> Option<Space> {
    let (pid, _) = recording.samples.thread.get(i)?;
    let time = recording.samples.time.get(i).unwrap_or(0);
    Some((pid, recording.space.life(pid, time)))
}

/// An address with a mark. Nothing is put into 0, and into what has those bits already.
pub fn marked(address: u64, mark: u64) -> u64 {
    match address {
        0 => 0,
        address if address >> SHIFT != 0 => address,
        address => address | mark,
    }
}

impl Row {
    pub fn mark(&mut self, mark: u64) {
        for address in [
            &mut self.address,
            &mut self.base,
            &mut self.header,
            &mut self.table,
        ] {
            *address = marked(*address, mark);
        }
    }
}

impl Fact {
    pub fn mark(&mut self, mark: u64) {
        for address in [&mut self.address, &mut self.header, &mut self.table] {
            *address = marked(*address, mark);
        }
        if self.about == About::Directory {
            self.value = marked(self.value, mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::row::VARIABLE;

    fn two() -> Spaces {
        Spaces {
            all: vec![(7, 0), (9, 1)],
            numbers: FxHashMap::from_iter([((7, 0), 0), ((9, 1), 1)]),
            runs: vec![((7, 0), 0), ((9, 1), 0)],
        }
    }

    #[test]
    fn a_marked_address_is_plain_again() {
        let spaces = two();
        let mark = 1 << SHIFT;
        let address = marked(0xc000_0001_2340, mark);
        assert_eq!(address, 0x0001_c000_0001_2340);
        assert_eq!(spaces.plain(address), 0xc000_0001_2340);
        assert_eq!(spaces.mark_of(address), mark);
        assert_eq!(spaces.pid_of(address), Some(9));
        assert_eq!(spaces.pid_of(0xc000_0001_2340), Some(7));
        let variable = VARIABLE | marked(0x57_2040, mark);
        assert_eq!(spaces.plain(variable), VARIABLE | 0x57_2040);
    }

    #[test]
    fn nothing_is_marked_that_is_no_address_of_a_user() {
        let spaces = two();
        let mark = 1 << SHIFT;
        for address in [0, 0xffff_8880_0012_3400, u64::MAX] {
            assert_eq!(marked(address, mark), address);
            assert_eq!(spaces.plain(address), address);
            assert_eq!(spaces.mark_of(address), 0);
        }
        let one = Spaces::default();
        assert_eq!(one.plain(0x0ab0_c000_0001_2340), 0x0ab0_c000_0001_2340);
    }
}
