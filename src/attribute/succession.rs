//! Whose a structure is, from what its thread accessed next to it: an operation reads a map's header,
//! then its buckets, so two samples of one thread in one map function, soon after another and in the
//! order of its code, are of one map, if the recording is dense enough to have two samples of one
//! operation at all.
//!
//! How soon is soon, the recording itself tells. The fields of a header are read in the order of the
//! code. Of two successive samples of headers that belong to different operations, the later one is as
//! often of an earlier instruction as of a later one; that of one operation never is. So the share of
//! those that go back, by the time between them, says up to which time most belong together. Where too
//! few do at any, nothing is concluded.

use super::Place;
use super::directories::{Entry, is_drawn};
use super::lasting::Lasting;
use super::places::Places;
use super::row::{About, Fact, Row, VARIABLE, about, about_bucket};
use super::rows::Rows;
use super::spaces::Spaces;
use super::statements::Own;
use super::timelines::together;
use super::votes::{Spell, Vote, spells};
use crate::allocator::give_back;
use crate::gomap::Part;
use crate::recording::Recording;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Pairs of headers that say something of the time between two accesses of one operation.
const PAIRS: u64 = 30;

/// Of so many pairs in the order of the code at most one may go back.
const FORWARD: u64 = 10;

/// What makes a table, in memory that was something else before.
const MAKERS: &[&str] = &[
    "internal/runtime/maps.newTable",
    "internal/runtime/maps.(*table).reset",
];

/// A sample in map code.
#[derive(Debug, Clone, Copy)]
struct Access {
    time: u64,
    place: u32,
    /// The number of what it says.
    said: u32,
}

impl Access {
    fn own<'r>(&self, rows: &'r Rows) -> Option<&'r Own> {
        rows.said.own_at(self.said, self.time)
    }

    fn row(&self, rows: &Rows) -> Option<Row> {
        rows.said.row_at(self.said, self.time)
    }
}

/// Accesses of one thread in one function that may be of one operation: each follows the one before it within
/// so many nanoseconds, without any in another function between.
struct Run {
    within: u64,
    /// How many there are.
    len: usize,
}

/// The accesses that follow others soon.
pub struct Succession<'a> {
    places: &'a Places,
    spaces: &'a Spaces,
    runs: Vec<Run>,
    /// Run after run.
    accesses: Vec<Access>,
    /// By place: the number of its function, and the instruction's link-time address.
    codes: Vec<(u32, u64)>,
    /// By place: its function makes tables.
    births: Vec<bool>,
}

impl<'a> Succession<'a> {
    pub fn of(
        recording: &Recording,
        places: &'a Places,
        rows: &Rows,
        spaces: &'a Spaces,
    ) -> Succession<'a> {
        let functions = places.functions().into_iter().zip(&places.codes);
        let codes = functions.map(|(function, code)| {
            let ip = code.as_ref().map_or(0, |code| code.instruction.ip());
            (function, ip)
        });
        let counts = |place: u32| {
            let code = places.codes.get(place as usize);
            code.is_some_and(|code| code.as_ref().is_ok_and(|code| code.map_code))
        };
        let samples = &recording.samples;
        let of_chunk = |chunk: usize| {
            let mut times = samples.time.in_order();
            let mut threads = samples.thread.ids.in_order();
            let mut all: BTreeMap<u32, Vec<Access>> = BTreeMap::new();
            for (i, said) in rows.said.of_chunk(chunk) {
                let time = times.get(i).unwrap_or(0);
                let Some(place) = rows.said.place_of(said) else {
                    continue;
                };
                let part = rows.said.own_at(said, time).map(|own| own.part);
                if !counts(place) || part.is_none_or(|part| part.is_err()) {
                    continue;
                }
                if let Some(thread) = threads.get(i) {
                    let access = Access { time, place, said };
                    all.entry(thread).or_default().push(access);
                }
            }
            all
        };
        let parts = (0..rows.said.chunks()).into_par_iter().map(of_chunk);
        let parts: Vec<_> = parts.collect();
        let mut threads: BTreeMap<u32, Vec<Vec<Access>>> = BTreeMap::new();
        for (thread, accesses) in parts.into_iter().flatten() {
            threads.entry(thread).or_default().push(accesses);
        }
        let threads: Vec<Vec<Vec<Access>>> = threads.into_values().collect();
        let in_order = |parts: Vec<Vec<Access>>| {
            let mut accesses = parts.concat();
            // Samples are in order but for those of other CPUs: in long runs, which this sort finds.
            accesses.sort_by_key(|a| a.time);
            accesses
        };
        let threads: Vec<Vec<Access>> = threads.into_par_iter().map(in_order).collect();
        let makes = |place: &Place| {
            place
                .function
                .as_deref()
                .is_some_and(|f| MAKERS.contains(&f))
        };
        let mut all = Succession {
            places,
            spaces,
            runs: Vec::new(),
            accesses: Vec::new(),
            codes: codes.collect(),
            births: places.places.iter().map(makes).collect(),
        };
        let within = all.usual(&threads, rows);
        let (mut runs, mut accesses) = (Vec::new(), Vec::new());
        for thread in threads {
            for run in all.in_one_function(&thread) {
                let Some(&within) = within.get(&all.space(run, rows)) else {
                    continue;
                };
                let soon = run.chunk_by(|a, b| b.time - a.time < within);
                for run in soon.filter(|run| run.len() > 1) {
                    let len = run.len();
                    runs.push(Run { within, len });
                    accesses.extend_from_slice(run);
                }
            }
        }
        accesses.shrink_to_fit();
        (all.runs, all.accesses) = (runs, accesses);
        // The pieces that they came in.
        give_back();
        all
    }

    fn function(&self, access: &Access) -> u32 {
        self.codes
            .get(access.place as usize)
            .map_or(0, |code| code.0)
    }

    fn ip(&self, access: &Access) -> u64 {
        self.codes
            .get(access.place as usize)
            .map_or(0, |code| code.1)
    }

    /// The accesses of a thread in one function, without any in another between.
    fn in_one_function<'s>(
        &'s self,
        thread: &'s [Access],
    ) -> impl Iterator<Item = &'s [Access]> + use<'s> {
        thread.chunk_by(|a, b| self.function(a) == self.function(b))
    }

    /// The number of the address space that accesses which follow each other are of.
    fn space(&self, run: &[Access], rows: &Rows) -> u32 {
        if self.spaces.is_one() {
            return 0;
        }
        let first = run.first().and_then(|access| access.row(rows));
        first.map_or(0, |row| self.spaces.number_of(row.address))
    }

    /// By the number of the address space: nanoseconds that accesses of one operation are apart at most; none
    /// where that is not known.
    fn usual(&self, threads: &[Vec<Access>], rows: &Rows) -> FxHashMap<u32, u64> {
        let is_header = |a: &Access| {
            let part = a.own(rows).map(|own| own.part);
            part.is_some_and(|part| part.is_ok_and(|part| about(part) == About::Header))
        };
        // By the logarithm of the time between: forward and back.
        type Pairs = [(u64, u64); 64];
        let of_thread = |accesses: &Vec<Access>| {
            let mut of_spaces: FxHashMap<u32, Pairs> = FxHashMap::default();
            for run in self.in_one_function(accesses) {
                let pairs = of_spaces.entry(self.space(run, rows));
                let pairs = pairs.or_insert([(0, 0); 64]);
                let mut headers = run.iter().filter(|a| is_header(a));
                let Some(mut a) = headers.next() else {
                    continue;
                };
                for b in headers {
                    let log = (b.time - a.time).max(1).ilog2() as usize;
                    match self.ip(a).cmp(&self.ip(b)) {
                        std::cmp::Ordering::Less => pairs[log].0 += 1,
                        std::cmp::Ordering::Greater => pairs[log].1 += 1,
                        std::cmp::Ordering::Equal => {}
                    }
                    a = b;
                }
            }
            of_spaces
        };
        let of_threads = threads.par_iter().map(of_thread);
        let both = |a: Pairs, b: Pairs| std::array::from_fn(|i| (a[i].0 + b[i].0, a[i].1 + b[i].1));
        let within = |(space, pairs)| Some((space, soon(pairs)?));
        together(of_threads.flatten_iter(), both)
            .into_iter()
            .filter_map(within)
            .collect()
    }

    /// What the nearest accesses of known owner say of each of the rows that are `wanted`, for what `about`
    /// returns. `owner`: what a header says of it; 0: nothing.
    fn votes<T: Copy + Send>(
        &self,
        rows: &Rows,
        wanted: impl Fn(&Own) -> bool + Sync + Send,
        about: impl Fn(&Row) -> Option<T> + Sync + Send,
        owner: impl Fn(u64) -> u64 + Sync + Send,
    ) -> Vec<(T, Vote)> {
        let mut rest = self.accesses.as_slice();
        let runs = self.runs.iter().map(|run| {
            let (accesses, after) = rest.split_at(run.len);
            rest = after;
            (run.within, accesses)
        });
        let runs: Vec<(u64, &[Access])> = runs.collect();
        let header = |access: &Access| access.own(rows).map_or(0, |own| owner(own.header));
        let known = |access: &&Access| header(access) != 0;
        let of_run = |(within, run): (u64, &[Access])| {
            let mut votes = Vec::new();
            for (i, access) in run.iter().enumerate() {
                if !access.own(rows).is_some_and(&wanted) {
                    continue;
                }
                let row = access.row(rows);
                let Some(asked) = row.and_then(|row| about(&row)) else {
                    continue;
                };
                let ip = self.ip(access);
                let (before, after) = (run[..i].iter().rev(), run[i + 1..].iter());
                let mut before = before.take_while(|a| access.time - a.time < within);
                let mut after = after.take_while(|a| a.time - access.time < within);
                let before = before.find(known).filter(|a| self.ip(a) < ip);
                let after = after.find(known).filter(|a| self.ip(a) > ip);
                match (before.map(header), after.map(header)) {
                    (Some(a), Some(b)) if a != b => {}
                    (a, b) => {
                        let said = a.into_iter().chain(b);
                        let time = access.time;
                        votes.extend(said.map(|header| (asked, Vote { time, header })));
                    }
                }
            }
            votes
        };
        runs.into_par_iter().flat_map_iter(of_run).collect()
    }

    /// The headers of the maps that variables of one map hold, by variable.
    pub fn variables(&self, rows: &Rows, lasting: &Lasting) -> FxHashMap<u64, u64> {
        let wanted = |own: &Own| lasting.keeps(own.header);
        let variable = |row: &Row| Some(row.header & !VARIABLE);
        let owner = |header: u64| if header & VARIABLE == 0 { header } else { 0 };
        let mut said: FxHashMap<u64, Vec<Vote>> = FxHashMap::default();
        for (variable, vote) in self.votes(rows, wanted, variable, owner) {
            said.entry(variable).or_default().push(vote);
        }
        let only = |(variable, mut votes): (u64, Vec<Vote>)| match spells(&mut votes).as_slice() {
            [one] => Some((variable, one.header)),
            _ => None,
        };
        said.into_iter().filter_map(only).collect()
    }

    /// Gives tables, directories and the like to their maps; returns what is said of buckets and
    /// groups: their start, and the vote; and of entries of directories. `told`: what else is known;
    /// `may_be`: whether the code of a row handles maps like the one with this header.
    pub fn give(
        &self,
        rows: &mut Rows,
        lasting: &Lasting,
        told: &[Fact],
        may_be: impl Fn(&Row, u64) -> bool + Sync,
    ) -> (Vec<(u64, Vote)>, Vec<Entry>) {
        let unknown = |header: u64| lasting.named(header).is_none();
        // An entry of a directory may be known without its start.
        let object = |row: &Row| match row.base {
            0 if row.part == Ok(Part::DirectoryTable) => row.address,
            base => base,
        };
        let is_entry = |own: &Own| own.part == Ok(Part::DirectoryTable) && own.base == 0;
        let wanted = |own: &Own| unknown(own.header) && (own.base != 0 || is_entry(own));
        let owner = |header: u64| if unknown(header) { 0 } else { header };
        let (mut of_buckets, mut entries) = (Vec::new(), Vec::new());
        let mut of_others: FxHashMap<u64, Owned> = FxHashMap::default();
        let entry = |row: &Row, header: u64| Entry {
            header,
            time: row.time,
            address: row.address,
            drawn: is_drawn(self.places, row.sample),
            variant: self.places.variant(row.sample),
        };
        let place = |row: &Row| {
            let entry = (row.base == 0).then(|| entry(row, 0));
            let object = Some(object(row)).filter(|object| *object != 0);
            Some((about_bucket(row.part), object?, entry))
        };
        for ((in_bucket, base, entry), vote) in self.votes(rows, wanted, place, owner) {
            let header = vote.header;
            entries.extend(entry.map(|entry| Entry { header, ..entry }));
            match in_bucket {
                true => of_buckets.push((base, vote)),
                false => of_others.entry(base).or_default().votes.push(vote),
            }
        }
        let known = rows.par_where(is_entry);
        entries.par_extend(known.map(|row| entry(&row, owner(row.header))));
        for fact in told.iter().filter(|fact| fact.about == About::Table) {
            let (time, header) = (fact.time, fact.header);
            if let Some(owned) = of_others.get_mut(&fact.address) {
                owned.votes.push(Vote { time, header });
            }
        }
        if of_others.is_empty() {
            return (of_buckets, entries);
        }
        let others = rows.par_where(|own| !about_bucket(own.part));
        let others = others.filter(|row| of_others.contains_key(&object(row)));
        for row in others.collect::<Vec<Row>>() {
            if let Some(owned) = of_others.get_mut(&object(&row)) {
                owned.rows.push(row);
            }
        }
        for owned in of_others.values_mut() {
            owned.spells = spells(&mut owned.votes);
            owned
                .rows
                .sort_unstable_by_key(|row| (row.time, row.sample));
        }
        let born = |row: &Row| {
            let place = self.places.place.get(row.sample as usize);
            place.and_then(|place| self.births.get(place as usize)) == Some(&true)
        };
        let against = |row: &Row, header: u64| born(row) || !may_be(row, header);
        let unowned = |own: &Own| wanted(own) && !about_bucket(own.part);
        rows.change_where(unowned, |row, until| {
            let Some(owned) = of_others.get(&object(row)) else {
                return;
            };
            until.at_most(row.time);
            if let Some(header) = owned.owner(row.time, against) {
                row.header = header;
            }
        });
        (of_buckets, entries)
    }
}

/// What the accesses around those of one structure say of its owners.
#[derive(Debug, Default)]
struct Owned {
    /// By time, as all.
    votes: Vec<Vote>,
    spells: Vec<Spell>,
    rows: Vec<Row>,
}

impl Owned {
    /// The owner at a time, unless a row between the votes for it around that time is `against` it.
    fn owner(&self, time: u64, against: impl Fn(&Row, u64) -> bool) -> Option<u64> {
        let header = self.spells.iter().find(|s| s.covers(time))?.header;
        let (before, after) = self
            .votes
            .split_at(self.votes.partition_point(|v| v.time <= time));
        let first = before.iter().rfind(|v| v.header == header)?.time;
        let last = after
            .iter()
            .find(|v| v.header == header)
            .map_or(time, |v| v.time);
        let begun = self.rows.partition_point(|row| row.time < first);
        let between = self.rows[begun..].iter().take_while(|row| row.time <= last);
        let mut between = between.filter(|row| against(row, header));
        between.next().is_none().then_some(header)
    }
}

/// Up to which time between two accesses, of whose pairs so many go forward and back by the logarithm of
/// the time between them, most belong together.
fn soon(pairs: [(u64, u64); 64]) -> Option<u64> {
    let (mut forward, mut back, mut within) = (0, 0, None);
    for (log, (f, b)) in pairs.into_iter().enumerate() {
        forward += f;
        back += b;
        if back * FORWARD > forward {
            break;
        }
        if f > 0 && forward >= PAIRS {
            within = 2u64.checked_shl(log as u32);
        }
    }
    within
}
