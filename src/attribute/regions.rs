//! Which memory was an array of buckets or groups, and when: boxes in address and time that every
//! sample in them agrees with.
//!
//! A sample that knows its bucket says that, at its time, memory was laid out in buckets of one shape
//! from there. Buckets of one shape, congruent modulo their size, close together, are taken for one
//! array as long as no sample in between says otherwise: memory is reused, so the boxes are cut, in
//! time or in address, wherever a sample is of something else. Nothing is claimed outside of them.

use super::NONE;
use super::grid::Grid;
use super::marking::Marking;
use super::nearby::PAGE_SHIFT;
use super::statements::Until;
use super::timelines::Timelines;
use super::types::{ShapeId, TypeId, Types, VARIANTS};
use super::votes::{Vote, spells};
use crate::gomap::{MAX_GROUPS, MapType, Part, Shape, Spot, size_class};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::hash::Hash;
use std::ops::Range;

/// A bucket or group as a sample knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub base: u64,
    /// `None`: of whatever shape.
    pub shape: Option<ShapeId>,
    pub map_type: Option<TypeId>,
    /// The map's header; 0: not known.
    pub header: u64,
}

/// What a sample says of the memory at its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// A bucket or group starts here.
    Start {
        shape: Option<ShapeId>,
        map_type: Option<TypeId>,
        header: u64,
        /// The kind of functions that found it: [`Types::handles`].
        variant: u8,
    },
    /// A part of a bucket or group.
    Within(Part),
    /// No bucket and no group.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Witness {
    pub address: u64,
    pub content: Content,
}

/// Memory that held buckets or groups of one shape from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    pub start: u64,
    /// Exclusive.
    pub end: u64,
    pub first: u64,
    pub last: u64,
    /// When the collector may still, or already, have found it here: [`super::marking`].
    marked: (u64, u64),
    /// When samples of it may be missing before its first and after its last.
    near: (u64, u64),
    pub shape: ShapeId,
    pub map_type: Option<TypeId>,
    pub stride: u64,
    pub header: u64,
    /// All of it surely belongs to one map.
    pub one_map: bool,
    /// The header was seen in this memory, but neither before nor after: it must be alive.
    presumed: bool,
}

/// Where an address lies in a region.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    pub base: u64,
    pub spot: Spot,
    pub shape: ShapeId,
    pub map_type: Option<TypeId>,
    /// 0: not known.
    pub header: u64,
    /// The owner, if it is alive at the time, 0 where it is not known, and its type.
    pub presumed: u64,
    pub presumed_type: Option<TypeId>,
}

#[derive(Debug, Default)]
pub struct Regions {
    regions: Vec<Region>,
    /// The regions that reach into each page, by the time at which they begin.
    on_page: Vec<OnPage>,
    /// By number of the page: where its regions are in `on_page`.
    ranges: Vec<Range<u32>>,
    /// By page: its number.
    pages: FxHashMap<u64, u32>,
}

/// What was asked for last: addresses are asked for in their order, more or less.
#[derive(Debug, Default)]
pub struct Last {
    /// By hash of the address.
    over: Vec<Over>,
    /// Regions that are remembered for them.
    held: usize,
}

impl Last {
    /// Where the regions over an address are remembered: those of no time, if it was not asked for last. Also how
    /// many are remembered.
    fn over(&mut self, address: u64) -> (&mut Over, &mut usize) {
        // Fibonacci hashing: the highest bits of the product depend on all bits of the address.
        let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - ADDRESSES);
        let known = self.over.get(hash as usize).map(|over| over.address);
        if known.is_none() || known != Some(address) && self.held > REMEMBERED {
            self.over.clear();
            self.over.resize_with(1 << ADDRESSES, Over::none);
            self.held = 0;
        }
        let over = &mut self.over[hash as usize];
        if over.address != address {
            self.held -= over.all.len();
            over.forget(address);
        }
        (over, &mut self.held)
    }
}

/// The regions over an address.
#[derive(Debug, Default)]
struct Over {
    address: u64,
    /// Those of all times, by when they begin, once that pays.
    all: Vec<OnPage>,
    is_all: bool,
    /// How often they were looked for.
    looks: usize,
    /// How many of them have begun, and which of these are not over yet.
    begun: usize,
    lasting: Vec<OnPage>,
    /// Those found last, and from which time to which they are these.
    here: Vec<Here>,
    from: u64,
    to: u64,
}

impl Over {
    fn none() -> Over {
        Over {
            from: 1,
            ..Over::default()
        }
    }

    /// Makes it those over another address, of no time yet.
    fn forget(&mut self, address: u64) {
        self.all.clear();
        self.lasting.clear();
        self.here.clear();
        (self.address, self.is_all, self.looks, self.begun) = (address, false, 0, 0);
        (self.from, self.to) = (1, 0);
    }

    /// Looks for those at a time; `page`: all of the address's page.
    fn look(&mut self, time: u64, page: &[OnPage]) {
        let address = self.address;
        self.looks += 1;
        self.here.clear();
        if !self.is_all && self.looks.saturating_mul(LOOKS) >= page.len() {
            let over = page.iter().filter(|on_page| on_page.here.covers(address));
            self.all.extend(over);
            self.is_all = true;
        }
        match self.is_all {
            true => {
                if time < self.from {
                    self.begun = 0;
                    self.lasting.clear();
                }
                let next = self.all[self.begun..].iter();
                let before = self.lasting.len();
                self.lasting.extend(next.take_while(|o| o.first <= time));
                self.begun += self.lasting.len() - before;
                self.lasting.retain(|on_page| on_page.last >= time);
                let begins = self.all.get(self.begun);
                let begins = begins.map_or(u64::MAX, |next| next.first - 1);
                let ends = self.lasting.iter().map(|on_page| on_page.last).min();
                (self.from, self.to) = (time, begins.min(ends.unwrap_or(u64::MAX)));
                self.here
                    .extend(self.lasting.iter().map(|on_page| on_page.here));
            }
            false => {
                let mut at_time = AtTime::at(page, time);
                let here = at_time.by_ref().map(|on_page| on_page.here);
                self.here.extend(here.filter(|here| here.covers(address)));
                (self.from, self.to) = (at_time.from, at_time.to);
            }
        }
        keep_first(&mut self.here);
    }
}

/// To go through so many regions of a page takes as long as to look for those at a time.
const LOOKS: usize = 64;

/// Regions that are remembered before all are forgotten: some megabytes.
const REMEMBERED: usize = 1 << 16;

/// Bits of the number of addresses that are remembered at a time.
const ADDRESSES: u32 = 6;

/// What an [`OnPage`] says but for times.
#[derive(Debug, Clone, Copy)]
pub struct Here {
    region: u32,
    /// Its first and its last byte in this page.
    bytes: (u16, u16),
    /// The number of what it says of an address in it.
    says: u32,
}

impl Here {
    fn covers(&self, address: u64) -> bool {
        let byte = (address & IN_PAGE) as u16;
        self.meets((byte, byte))
    }

    /// Whether some of these bytes of the page are in it: from the first to the last.
    fn meets(&self, (from, to): (u16, u16)) -> bool {
        self.bytes.0 <= to && from <= self.bytes.1
    }

    /// Whether it says all that another one does, wherever that says it.
    fn stands_for(&self, other: &Here) -> bool {
        let (from, to) = self.bytes;
        self.says == other.says && from <= other.bytes.0 && other.bytes.1 <= to
    }
}

/// Keeps the first region of those that say the same of the same memory, by number: one owner's array is known
/// from several sides.
fn keep_first(regions: &mut Vec<Here>) {
    regions.sort_unstable_by_key(|here| here.region);
    let mut kept = 0;
    for i in 0..regions.len() {
        let here = regions[i];
        if !regions[..kept].iter().any(|k| k.stands_for(&here)) {
            regions[kept] = here;
            kept += 1;
        }
    }
    regions.truncate(kept);
}

#[derive(Debug, Clone, Copy)]
struct OnPage {
    first: u64,
    last: u64,
    /// The latest end of the regions that [`AtTime`] finds under this one.
    until: u64,
    here: Here,
}

impl Region {
    /// Whether it has so many buckets that they are not of another shape.
    fn has_proof(&self) -> bool {
        (self.end - self.start) / self.stride >= PROOF
    }

    /// Its pages, each with its first and its last byte there.
    fn pages(&self) -> impl Iterator<Item = (u64, (u16, u16))> + use<> {
        let (start, last) = (self.start, self.end.saturating_sub(1));
        (start >> PAGE_SHIFT..=last >> PAGE_SHIFT).map(move |page| {
            let (begin, end) = (page << PAGE_SHIFT, page << PAGE_SHIFT | IN_PAGE);
            let bytes = [start.max(begin), last.min(end)];
            let [from, to] = bytes.map(|byte| (byte & IN_PAGE) as u16);
            (page, (from, to))
        })
    }

    /// All that it says of an address in it at a time that it is of.
    fn says(&self) -> impl Eq + Hash + use<> {
        let laid_out = (self.shape, self.start % self.stride);
        let owner = (self.header, self.map_type, self.one_map, self.presumed);
        (laid_out, owner)
    }
}

/// Those of a page's regions that a time, or some of the times of a span, is in, from the one that begins last
/// on. They are a tree: under the middle one of a slice are those before and those after it.
struct AtTime<'a> {
    page: &'a [OnPage],
    first: u64,
    last: u64,
    /// Of those looked at so far, for one time: from which to which one would have found the same.
    from: u64,
    to: u64,
    /// Slices to be looked at, the next one last: two a level.
    slices: [(u32, u32); 2 * u32::BITS as usize],
    len: usize,
}

fn middle(from: u32, to: u32) -> u32 {
    from + (to - from) / 2
}

impl<'a> AtTime<'a> {
    /// Makes a tree of a page's regions, sorted by when they begin; returns the latest end.
    fn plant(page: &mut [OnPage]) -> u64 {
        let (before, rest) = page.split_at_mut(middle(0, page.len() as u32) as usize);
        let Some((here, after)) = rest.split_first_mut() else {
            return 0;
        };
        here.until = here.last.max(Self::plant(before)).max(Self::plant(after));
        here.until
    }

    fn at(page: &'a [OnPage], time: u64) -> AtTime<'a> {
        Self::during(page, time, time)
    }

    fn during(page: &'a [OnPage], first: u64, last: u64) -> AtTime<'a> {
        let mut slices = [(0, 0); 2 * u32::BITS as usize];
        slices[0] = (0, page.len() as u32);
        AtTime {
            page,
            first,
            last,
            from: 0,
            to: u64::MAX,
            slices,
            len: 1,
        }
    }

    /// What ends before the time.
    fn is_over(&mut self, last: u64) {
        self.from = self.from.max(last.saturating_add(1));
    }

    /// What begins after the time.
    fn is_to_come(&mut self, first: u64) {
        self.to = self.to.min(first.saturating_sub(1));
    }

    fn push(&mut self, slice: (u32, u32)) {
        self.slices[self.len] = slice;
        self.len += 1;
    }
}

impl<'a> Iterator for AtTime<'a> {
    type Item = &'a OnPage;

    fn next(&mut self) -> Option<&'a OnPage> {
        while self.len > 0 {
            self.len -= 1;
            let (from, to) = self.slices[self.len];
            let middle = middle(from, to);
            let Some(here) = self.page.get(middle as usize).filter(|_| from < to) else {
                continue;
            };
            if here.until < self.first {
                self.is_over(here.until);
                continue;
            }
            if to - from == 1 {
                if self.last < here.first {
                    self.is_to_come(here.first);
                } else if here.last < self.first {
                    self.is_over(here.last);
                } else {
                    self.from = self.from.max(here.first);
                    self.to = self.to.min(here.last);
                    return Some(here);
                }
                continue;
            }
            self.push((from, middle));
            if here.first <= self.last {
                self.push((middle, middle + 1));
                self.push((middle + 1, to));
            } else {
                self.is_to_come(here.first);
            }
        }
        None
    }
}

/// The bits of an address that tell where in its page it is.
const IN_PAGE: u64 = (1 << PAGE_SHIFT) - 1;

/// Buckets that may lie unseen between two that were seen.
pub const MAX_UNSEEN: u64 = 256;

/// Fewer congruent buckets than this may be of another shape: too little to go by at other times.
const PROOF: u64 = 3;

/// Gaps between the samples of one array are that of a random sample: one of so many times the mean
/// has a chance of e^-16.
const GAPS: u64 = 16;

/// Regions of a page that are looked at before and after a time that none of them is known to be of.
const BESIDE: usize = 16;

impl Regions {
    /// `marking`: of the process that an address is of.
    pub fn build<'m>(
        seen: &Timelines<Seen>,
        witnesses: &Timelines<Witness>,
        votes: Vec<(u64, Vote)>,
        marking: impl Fn(u64) -> &'m Marking + Sync,
        types: &Types,
    ) -> Regions {
        let grids: Vec<Grid> = (0..types.shapes()).map(|s| Grid::of(s, types)).collect();
        let mut placed = placed(seen, types);
        placed.par_sort_unstable_by_key(|p| (p.run, p.phase, p.base));
        let runs: Vec<&[Placed]> = placed
            .chunk_by(|a, b| (a.run, a.phase) == (b.run, b.phase))
            .collect();
        let regions: Vec<Region> = runs
            .into_par_iter()
            .flat_map_iter(|run| {
                let mut regions = Vec::new();
                let of = run.first().map(|p| p.run);
                let map_type = of.and_then(|of| types.of_shape(of.shape));
                if let (Some(of), Some(map_type)) = (of, map_type) {
                    let stride = map_type.shape.stride();
                    for run in run.chunk_by(|a, b| (b.base - a.base) / stride <= MAX_UNSEEN) {
                        let usual = usual_gap(run, stride);
                        let joined = |a: &Placed, b: &Placed| usual((b.base - a.base) / stride);
                        for run in run.chunk_by(joined) {
                            carve(run, witnesses, of, map_type, types, &mut regions);
                        }
                    }
                    for region in &mut regions {
                        let proven = region.has_proof();
                        if proven && region.map_type.is_none() {
                            region.map_type = handled(region, witnesses, types);
                        }
                        let run = Run {
                            map_type: region.map_type,
                            ..of
                        };
                        if let Some(whole) = whole_table(region, types)
                            && !meets_opposed(region, whole, witnesses, run, types)
                        {
                            (region.start, region.end) = whole;
                        }
                        let marking = marking(region.start);
                        if proven {
                            let always = (0, u64::MAX);
                            let (from, to) = unopposed(region, always, witnesses, run, types);
                            let within = |(a, b): (u64, u64)| (a.max(from), b.min(to));
                            // Until it is freed, and before it was allocated, the memory is nobody else's.
                            let around = marking.around(region.first, region.last);
                            region.near = within(region.near);
                            (region.first, region.last) = within(around);
                        } else {
                            region.near = (region.first, region.last);
                        }
                        let reach = marking.reach(region.first, region.last);
                        if let Some(reach) = reach.filter(|_| proven) {
                            region.marked = unopposed(region, reach, witnesses, run, types);
                            // What is in use is not used again before a phase has gone by.
                            region.last = region.marked.1;
                        }
                    }
                    if let Some(grid) = grids.get(of.shape as usize) {
                        let whole = std::mem::take(&mut regions);
                        let parts = whole.into_iter();
                        let parts = parts.flat_map(|r| arrays(r, run, grid, marking(r.start)));
                        regions = parts.collect();
                    }
                }
                regions
            })
            .collect();
        drop(placed);
        let mut all = Regions::indexed(regions);
        let owned: Vec<Region> = all
            .regions
            .par_iter()
            .filter(|r| r.header == 0)
            .flat_map_iter(|r| all.owned(r, witnesses, types))
            .collect();
        all.regions.extend(owned);
        let all = Regions::indexed(all.regions);
        let voted = all.voted(votes);
        match voted.is_empty() {
            true => all,
            false => Regions::indexed(all.regions.into_iter().chain(voted).collect()),
        }
    }

    /// Of the regions whose owner no sample knows, what the votes at their buckets give to one.
    fn voted(&self, votes: Vec<(u64, Vote)>) -> Vec<Region> {
        let of_regions = |(base, vote): (u64, Vote)| {
            let owned = self.covering(base, vote.time).any(|r| r.header != 0);
            let regions = (!owned).then(|| self.numbered(base, vote.time));
            let regions = regions.into_iter().flatten();
            regions.map(move |(number, _)| (number, base, vote))
        };
        let votes = votes.into_par_iter().flat_map_iter(of_regions);
        let mut votes: Vec<(u32, u64, Vote)> = votes.collect();
        votes.par_sort_unstable();
        let of_region = votes.par_chunk_by(|a, b| a.0 == b.0);
        of_region
            .flat_map_iter(|votes| self.voted_in(votes))
            .collect()
    }

    /// The same for one of them, with the votes at its buckets in order.
    fn voted_in(&self, votes: &[(u32, u64, Vote)]) -> Vec<Region> {
        let mut regions = Vec::new();
        let number = votes.first().map_or(NONE, |(number, ..)| *number);
        let Some(region) = self.get(number) else {
            return regions;
        };
        let of_bases = votes.chunk_by(|a, b| a.1 == b.1);
        let of_bases: Vec<_> = of_bases.map(|of_base| (most(of_base), of_base)).collect();
        // Small arrays of several maps lie side by side.
        let joined = |a: &(u64, _), b: &(u64, _)| region.one_map || a.0 == b.0;
        for run in of_bases.chunk_by(joined) {
            let said = run.iter().flat_map(|(_, of_base)| of_base.iter());
            let mut bases = said.clone().map(|(_, base, _)| *base);
            let Some(low) = bases.next() else { continue };
            let high = bases.next_back().unwrap_or(low);
            let (start, end) = match region.one_map {
                true => (region.start, region.end),
                false => (low, high.saturating_add(region.stride)),
            };
            let mut said: Vec<Vote> = said.map(|(.., vote)| *vote).collect();
            regions.extend(spells(&mut said).iter().map(|spell| Region {
                start,
                end,
                header: spell.header,
                first: spell.first,
                last: spell.last,
                marked: (spell.first, spell.last),
                near: (spell.first, spell.last),
                one_map: true,
                ..*region
            }));
        }
        regions
    }

    fn indexed(mut regions: Vec<Region>) -> Regions {
        regions.sort_unstable_by_key(|r| {
            (
                r.start, r.first, r.shape, r.header, r.map_type, r.end, r.last,
            )
        });
        let mut by_page: Vec<(u64, OnPage)> = Vec::new();
        let mut said = FxHashMap::default();
        for (i, region) in regions.iter().enumerate() {
            let next = said.len() as u32;
            let says = *said.entry(region.says()).or_insert(next);
            by_page.extend(region.pages().map(|(page, bytes)| {
                let here = OnPage {
                    first: region.first,
                    last: region.last,
                    until: region.last,
                    here: Here {
                        region: i as u32,
                        bytes,
                        says,
                    },
                };
                (page, here)
            }));
        }
        by_page.par_sort_unstable_by_key(|(page, here)| (*page, here.first, here.here.region));
        let (mut pages, mut ranges) = (FxHashMap::default(), Vec::new());
        let mut at = 0u32;
        for (number, run) in (0..).zip(by_page.chunk_by(|a, b| a.0 == b.0)) {
            let end = at + run.len() as u32;
            pages.extend(run.first().map(|(page, _)| (*page, number)));
            ranges.push(at..end);
            at = end;
        }
        let mut on_page: Vec<OnPage> = by_page.into_iter().map(|(_, here)| here).collect();
        for range in &ranges {
            AtTime::plant(&mut on_page[range.start as usize..range.end as usize]);
        }
        Regions {
            regions,
            on_page,
            ranges,
            pages,
        }
    }

    /// The region of a number.
    pub fn get(&self, number: u32) -> Option<&Region> {
        self.regions.get(number as usize)
    }

    fn page(&self, page: u64) -> &[OnPage] {
        let number = self.pages.get(&page);
        number.map_or(&[], |number| self.of_page(*number))
    }

    fn of_page(&self, number: u32) -> &[OnPage] {
        let range = self.ranges.get(number as usize);
        range.map_or(&[], |r| &self.on_page[r.start as usize..r.end as usize])
    }

    /// The regions over an address at a time, and `until` another, with their numbers: of those that say the
    /// same, the first.
    pub fn numbered_after<'l>(
        &'l self,
        address: u64,
        time: u64,
        last: &'l mut Last,
        until: &mut Until,
    ) -> impl Iterator<Item = (u32, &'l Region)> + use<'l> {
        let (over, held) = last.over(address);
        if !(over.from..=over.to).contains(&time) {
            let before = over.all.len();
            over.look(time, self.page(address >> PAGE_SHIFT));
            *held += over.all.len() - before;
        }
        until.at_most(over.to);
        self.over(address, over.here.iter().copied())
    }

    /// Those of these regions that an address lies in, with their numbers.
    fn over<'a>(
        &'a self,
        address: u64,
        here: impl Iterator<Item = Here> + 'a,
    ) -> impl Iterator<Item = (u32, &'a Region)> {
        let here = here.filter(move |here| here.covers(address));
        here.filter_map(|here| Some((here.region, self.get(here.region)?)))
    }

    /// A region of unknown owner, as far as the regions of known owner in it tell whose it is.
    fn owned(&self, region: &Region, witnesses: &Timelines<Witness>, types: &Types) -> Vec<Region> {
        let beside = region.pages().flat_map(|(page, bytes)| {
            let meeting = AtTime::during(self.page(page), region.first, region.last);
            let here = meeting.map(|on_page| on_page.here);
            here.filter(move |here| here.meets(bytes))
        });
        let mut inside: Vec<&Region> = beside
            .filter_map(|here| self.get(here.region))
            .filter(|r| r.header != 0 || r.map_type.is_some() && region.map_type.is_none())
            .filter(|r| r.shape == region.shape && same(r.map_type, region.map_type))
            .filter(|r| r.start.abs_diff(region.start).is_multiple_of(region.stride))
            .collect();
        inside.sort_unstable_by_key(|r| (r.start, r.end, r.header, r.first, r.map_type));
        let of: Vec<Option<TypeId>> = inside.iter().map(|r| r.map_type).collect();
        // What is of another type is another map's, although nothing tells whose.
        let stranger = |r: &&Region| r.header == 0 && of.iter().any(|t| !same(*t, r.map_type));
        inside.retain(|r| r.header != 0 || stranger(r));
        let one = inside.iter().all(|r| r.header == inside[0].header);
        inside
            .chunk_by(|a, b| a.header == b.header)
            .filter(|run| run[0].header != 0)
            .map(|run| Region {
                header: run[0].header,
                start: if one { region.start } else { run[0].start },
                end: match one {
                    true => region.end,
                    false => run.iter().map(|r| r.end).max().unwrap_or(region.end),
                },
                ..*region
            })
            .flat_map(|whole| {
                let known = inside.iter().filter(move |r| r.header == whole.header);
                let first = known.clone().map(|r| r.first).min();
                let last = known.clone().map(|r| r.last).max();
                let (first, last) = (first.unwrap_or(whole.first), last.unwrap_or(whole.last));
                let map_type = known.clone().find_map(|r| r.map_type);
                let sure = Region {
                    map_type,
                    first,
                    last,
                    marked: (first, last),
                    near: (first, last),
                    ..whole
                };
                let of = Run {
                    header: whole.header,
                    shape: whole.shape,
                    map_type,
                };
                let reach = (whole.first, whole.last);
                let (first, last) = unopposed(&sure, reach, witnesses, of, types);
                let presumed = Region {
                    map_type,
                    first,
                    last,
                    near: (first, last),
                    presumed: true,
                    ..whole
                };
                [sure, presumed]
            })
            .collect()
    }

    /// Start and end of every region.
    pub fn spans(&self) -> impl Iterator<Item = (u64, u64)> {
        self.regions.iter().map(|r| (r.start, r.end))
    }

    /// The regions over an address at a time.
    pub fn covering(&self, address: u64, time: u64) -> impl Iterator<Item = &Region> {
        self.numbered(address, time).map(|(_, region)| region)
    }

    /// The same with their numbers.
    pub fn numbered(&self, address: u64, time: u64) -> impl Iterator<Item = (u32, &Region)> {
        let at_time = AtTime::at(self.page(address >> PAGE_SHIFT), time);
        self.over(address, at_time.map(|on_page| on_page.here))
    }

    /// What lies at an address at a time, where all that is known agrees.
    pub fn at(&self, address: u64, time: u64, part: Option<Part>, types: &Types) -> Option<Hit> {
        agreed(self.covering(address, time), address, part, types)
    }

    /// The same, with what was asked for last.
    pub fn at_after(
        &self,
        address: u64,
        time: u64,
        part: Option<Part>,
        types: &Types,
        last: &mut Last,
        until: &mut Until,
    ) -> Option<Hit> {
        let regions = self.numbered_after(address, time, last, until);
        agreed(regions.map(|(_, region)| region), address, part, types)
    }

    /// The same for what the collector reads at that time.
    pub fn marked(&self, address: u64, time: u64, types: &Types) -> Option<Hit> {
        let page = self.page(address >> PAGE_SHIFT).iter();
        let regions = self
            .over(address, page.map(|on_page| on_page.here))
            .map(|(_, region)| region)
            .filter(|r| (r.marked.0..=r.marked.1).contains(&time));
        agreed(regions, address, None, types)
    }

    /// The bucket or group that a part is in which was touched before the first sample that knows what lay
    /// there, or after the last: of those not long after or before, that have this part there, the only one.
    pub fn beside(
        &self,
        address: u64,
        time: u64,
        part: Part,
        admits: impl Fn(ShapeId) -> bool,
        types: &Types,
    ) -> Option<Hit> {
        let fits = |r: &&Region| {
            let off = (address - r.start) % r.stride;
            let spot = types.of_shape(r.shape).and_then(|t| t.spot_at(off));
            admits(r.shape) && spot.is_some_and(|spot| spot.part == part)
        };
        let page = self.page(address >> PAGE_SHIFT);
        let after = page.partition_point(|here| here.first <= time);
        let around = after.saturating_sub(BESIDE)..page.len().min(after + BESIDE);
        let around = page[around].iter();
        let regions = self
            .over(address, around.map(|on_page| on_page.here))
            .map(|(_, region)| region)
            .filter(|r| (r.near.0..=r.near.1).contains(&time))
            .filter(fits);
        let hit = agreed(regions, address, Some(part), types)?;
        // Whose it was then is another question.
        Some(Hit {
            header: 0,
            presumed: 0,
            ..hit
        })
    }
}

fn agreed<'a>(
    regions: impl Iterator<Item = &'a Region>,
    address: u64,
    part: Option<Part>,
    types: &Types,
) -> Option<Hit> {
    let mut found: Option<Hit> = None;
    let mut doubted = false;
    for region in regions {
        let base = address - (address - region.start) % region.stride;
        let spot = types.of_shape(region.shape)?.spot_at(address - base);
        let spot = spot.filter(|s| part.is_none_or(|p| p == s.part));
        // One of the regions is mistaken about this bucket.
        let spot = spot?;
        let (header, presumed) = match region.presumed {
            true => (0, region.header),
            false => (region.header, 0),
        };
        let (map_type, presumed_type) = match region.presumed {
            true => (None, region.map_type),
            false => (region.map_type, None),
        };
        found = match found {
            None => Some(Hit {
                base,
                spot,
                shape: region.shape,
                map_type,
                header,
                presumed,
                presumed_type,
            }),
            Some(hit) => {
                let clash = |a: u64, b: u64| a != 0 && b != 0 && a != b;
                let differs = hit.base != base || hit.spot != spot;
                if differs || clash(hit.header, header) {
                    return None;
                }
                doubted |= clash(hit.presumed, presumed);
                if !same(hit.map_type, map_type) {
                    return None;
                }
                doubted |= !same(hit.presumed_type, presumed_type);
                Some(Hit {
                    map_type: hit.map_type.or(map_type),
                    presumed_type: hit.presumed_type.or(presumed_type),
                    header: hit.header.max(header),
                    presumed: hit.presumed.max(presumed),
                    ..hit
                })
            }
        };
    }
    found.map(|hit| Hit {
        presumed: if doubted { 0 } else { hit.presumed },
        ..hit
    })
}

/// The header that most votes at a bucket are for.
fn most(votes: &[(u32, u64, Vote)]) -> u64 {
    let mut headers: Vec<u64> = votes.iter().map(|(.., vote)| vote.header).collect();
    headers.sort_unstable();
    let runs = headers.chunk_by(|a, b| a == b);
    let most = runs.max_by_key(|run| run.len()).and_then(|run| run.first());
    most.copied().unwrap_or(0)
}

/// Whether samples of one array leave a gap of so many buckets, the others in the run being what they
/// are.
fn usual_gap(run: &[Placed], stride: u64) -> impl Fn(u64) -> bool {
    let gaps = run.chunk_by(|a, b| a.base == b.base).count() as u64 - 1;
    let ends = run.first().zip(run.last());
    let buckets = ends.map_or(0, |(first, last)| (last.base - first.base) / stride);
    move |gap| {
        let others = GAPS * buckets.saturating_sub(gap);
        gap <= others
            .checked_div(gaps.saturating_sub(1))
            .unwrap_or(0)
            .max(GAPS)
    }
}

fn stride_of(shape: ShapeId, types: &Types) -> Option<u64> {
    types
        .of_shape(shape)
        .map(|t| t.shape.stride())
        .filter(|s| *s != 0)
}

/// Typed buckets looked at on each side of one of unknown shape.
const NEIGHBOURS: usize = 32;

/// A bucket or group of a known shape.
struct Placed<'a> {
    run: Run,
    /// Its base modulo the shape's stride.
    phase: u64,
    base: u64,
    /// In order.
    times: &'a [u64],
}

/// A bucket or group with the times at which it was seen.
type Timed<'a> = (Seen, &'a [u64]);

/// All that was seen, those of unknown shape with that of the buckets around them that they are
/// congruent with; where several shapes are, that of the one nearest in time.
fn placed<'a>(seen: &'a Timelines<Seen>, types: &Types) -> Vec<Placed<'a>> {
    let all: Vec<Timed> = seen.iter().collect();
    let bases: Vec<&[Timed]> = all.chunk_by(|a, b| a.0.base == b.0.base).collect();
    let typed: Vec<Shaped> = bases.iter().flat_map(|seen| of_shapes(seen)).collect();
    let place = |s: &Seen, shape: ShapeId, times: &'a [u64]| {
        let run = Run {
            header: s.header,
            shape,
            map_type: s.map_type,
        };
        Some(Placed {
            run,
            phase: s.base % stride_of(shape, types)?,
            base: s.base,
            times,
        })
    };
    let of_base = |seen: &[Timed<'a>]| {
        let mut placed = Vec::new();
        let mut neighbours = None;
        for &(s, mut times) in seen {
            if let Some(shape) = s.shape {
                placed.extend(place(&s, shape, times));
                continue;
            }
            let around = neighbours.get_or_insert_with(|| around(s.base, &typed, types));
            let shapes = times.iter().map(|time| nearest(around, *time));
            let shapes: Vec<Option<ShapeId>> = shapes.collect();
            for same in shapes.chunk_by(|a, b| a == b) {
                let (these, rest) = times.split_at(same.len());
                placed.extend(same[0].and_then(|shape| place(&s, shape, these)));
                times = rest;
            }
        }
        placed
    };
    bases
        .par_iter()
        .flat_map_iter(|seen| of_base(seen))
        .collect()
}

/// The shape that was seen nearest to a time; of two as near the lower one. `seen` is in order of time, each
/// time once.
fn nearest(seen: &[(u64, ShapeId)], time: u64) -> Option<ShapeId> {
    let after = seen.partition_point(|(t, _)| *t < time);
    let around = seen[after.saturating_sub(1)..].iter().take(2);
    let nearest = around.min_by_key(|(t, shape)| (t.abs_diff(time), *shape));
    nearest.map(|(_, shape)| *shape)
}

/// Time and shape of the nearest buckets of known shape on either side of a base that it is congruent
/// with, in order of time; of several shapes at one time the lowest. `typed`: by base and time.
fn around(base: u64, typed: &[Shaped], types: &Types) -> Vec<(u64, ShapeId)> {
    let fits = |(of, _, shape): &Shaped| {
        let distance = of.abs_diff(base);
        stride_of(*shape, types).is_some_and(|stride| {
            distance <= stride.saturating_mul(MAX_UNSEEN) && distance.is_multiple_of(stride)
        })
    };
    let at = typed.partition_point(|(of, ..)| *of < base);
    let nearest = at.saturating_sub(NEIGHBOURS)..typed.len().min(at + NEIGHBOURS);
    let fitting = typed[nearest].iter().filter(|shaped| fits(shaped));
    let mut around: Vec<_> = fitting.map(|(_, time, shape)| (*time, *shape)).collect();
    around.sort_unstable();
    around.dedup_by_key(|(time, _)| *time);
    around
}

/// Base, time and shape.
type Shaped = (u64, u64, ShapeId);

/// What was seen of one base and of known shape, in order of time: the first and the last.
fn of_shapes(seen: &[Timed]) -> Vec<Shaped> {
    let mut all = Vec::new();
    for (s, times) in seen {
        let Some(shape) = s.shape else { continue };
        let middle = times.len().saturating_sub(NEIGHBOURS);
        let of_ends = times.iter().enumerate();
        let of_ends = of_ends.filter(|(i, _)| *i < NEIGHBOURS || *i >= middle);
        all.extend(of_ends.map(|(_, time)| (s.base, *time, shape)));
    }
    all.sort_unstable();
    all
}

/// What the buckets of one array have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Run {
    /// 0: not known.
    header: u64,
    shape: ShapeId,
    map_type: Option<TypeId>,
}

/// A box: what was seen in it, and the witnesses against it.
struct Piece {
    /// Bases and times.
    seen: Vec<(u64, u64)>,
    /// Addresses and times.
    against: Vec<(u64, u64)>,
}

/// Cuts a run of congruent buckets into boxes that no witness contradicts.
fn carve(
    run: &[Placed],
    witnesses: &Timelines<Witness>,
    of: Run,
    map_type: &MapType,
    types: &Types,
    regions: &mut Vec<Region>,
) {
    let stride = map_type.shape.stride();
    // Where nothing cuts the run, what lies between the first and the last time tells no more.
    let ends = || {
        let ends = |p: &Placed| [p.times.first(), p.times.last()].map(|t| Some((p.base, *t?)));
        run.iter().flat_map(ends).flatten()
    };
    let seen: Vec<(u64, u64)> = ends().collect();
    let Some(((lo, hi), (first, last))) = bounds(&seen, stride) else {
        return;
    };
    let mut against = Vec::new();
    for (address, times) in opposed(witnesses, (lo, hi), of, types) {
        let begin = times.partition_point(|time| *time < first);
        let within = times[begin..].iter().take_while(|time| **time <= last);
        against.extend(within.map(|time| (address, *time)));
    }
    let seen = match against.is_empty() {
        true => seen,
        false => {
            let all = run
                .iter()
                .flat_map(|p| p.times.iter().map(|time| (p.base, *time)));
            all.collect()
        }
    };
    let whole = against.is_empty();
    let all: usize = run.iter().map(|p| p.times.len()).sum();
    let mut work = vec![Piece { seen, against }];
    while let Some(mut piece) = work.pop() {
        let Some(bounds) = bounds(&piece.seen, stride) else {
            continue;
        };
        let ((lo, hi), (first, last)) = bounds;
        piece.against.retain(|&(address, time)| {
            (lo..hi).contains(&address) && (first..=last).contains(&time)
        });
        if piece.against.is_empty() {
            let samples = if whole { all } else { piece.seen.len() } as u64;
            let gap = (last - first) / samples.saturating_sub(1).max(1);
            let gaps = gap.saturating_mul(GAPS);
            regions.push(Region {
                start: lo,
                end: hi,
                first,
                last,
                marked: (first, last),
                near: (first.saturating_sub(gaps), last.saturating_add(gaps)),
                shape: of.shape,
                map_type: of.map_type,
                stride,
                header: of.header,
                one_map: of.header != 0 || is_one_array(&piece.seen, lo, hi, map_type),
                presumed: false,
            });
            continue;
        }
        work.extend(cut(piece, stride));
    }
}

/// The first Go with Swiss maps.
const SWISS: u32 = 24;

/// A run of congruent buckets is not made of arrays so many times smaller.
const SMALLER: u64 = 16;

/// Samples that must be missing before their absence says something.
const MISSING: u64 = 8;

/// Whether congruent buckets can only be one array. Objects of one size lie side by side, so where
/// the size of an array is a multiple of a bucket's, the next array has the same phase. Large classic
/// arrays are still told apart by the preallocated overflow buckets at their end, a sixteenth of the
/// others (`makeBucketArray`) and rarely used.
fn is_one_array(seen: &[(u64, u64)], lo: u64, hi: u64, map_type: &MapType) -> bool {
    let stride = map_type.shape.stride();
    let buckets = (hi - lo) / stride;
    let classic = matches!(map_type.shape, Shape::Classic { .. });
    // One bucket may be one small map's after the other.
    if buckets < 2 || !classic && buckets > MAX_GROUPS {
        return false;
    }
    if classic && hi - lo <= size_class::MAX_SMALL {
        return false;
    }
    let mut bases: Vec<u64> = seen.iter().map(|(base, _)| *base).collect();
    bases.sort_unstable();
    bases.dedup();
    let mut log = 0;
    while let Some(main) = 1u64.checked_shl(log).filter(|main| *main < buckets) {
        log += 1;
        // Many small arrays in a row, all of them in use, and nothing else in their spans.
        if main.saturating_mul(SMALLER) < buckets {
            continue;
        }
        let overflow = if classic && main >= 16 { main / 16 } else { 0 };
        let size = (main + overflow).saturating_mul(stride);
        let congruent = [size, size.saturating_add(size_class::HEADER)]
            .map(size_class::occupied)
            .into_iter()
            .find(|bytes| bytes.is_multiple_of(stride));
        let Some(bytes) = congruent else { continue };
        if overflow == 0 || !spans_seam(&bases, lo, hi, bytes, overflow, stride) {
            return false;
        }
    }
    true
}

/// Each array in each spell would be a map of its own: of more spells nobody would read their list.
const MOST_SPELLS: usize = 64;

/// A region, and the arrays that it is of where they are so small that several of them may lie side by
/// side but for the places that the allocator has for them: each as long as its memory had one owner.
fn arrays(region: Region, run: &[Placed], grid: &Grid, marking: &Marking) -> Vec<Region> {
    let small = region.end - region.start <= size_class::MAX_SMALL;
    if region.one_map || !small || marking.spells() > MOST_SPELLS {
        return vec![region];
    }
    let from = run.partition_point(|p| p.base < region.start);
    let inside = run[from..].iter().take_while(|p| p.base < region.end);
    let seen = inside.flat_map(|p| {
        let from = p.times.partition_point(|time| *time < region.first);
        let within = p.times[from..]
            .iter()
            .take_while(|time| **time <= region.last);
        within.map(|time| (*time, p.base))
    });
    let mut seen: Vec<(u64, u64)> = seen.collect();
    seen.sort_unstable();
    let (mut arrays, mut covered) = (Vec::new(), true);
    for these in seen.chunk_by(|a, b| marking.spell(a.0) == marking.spell(b.0)) {
        let (time, _) = these[0];
        let mut bases: Vec<u64> = these.iter().map(|(_, base)| *base).collect();
        bases.sort_unstable();
        bases.dedup();
        let one = marking.spell(time).is_some() && grid.is_one_array(&bases);
        covered &= one;
        if let (true, [start, .., end]) = (one, bases.as_slice()) {
            let (since, until) = marking.around(time, time);
            let (first, last) = (since.max(region.first), until.min(region.last));
            arrays.push(Region {
                start: *start,
                end: end.saturating_add(region.stride),
                first,
                last,
                marked: (first, last),
                one_map: true,
                ..region
            });
        }
    }
    if !covered || arrays.is_empty() {
        arrays.push(region);
    }
    arrays
}

/// The type that all functions which found buckets or groups in a region handle, where the program has
/// but one.
fn handled(region: &Region, witnesses: &Timelines<Witness>, types: &Types) -> Option<TypeId> {
    let mut variants = [false; VARIANTS];
    let inside = witnesses.from(|w| w.address < region.start);
    for (witness, times) in inside.take_while(|(w, _)| w.address < region.end) {
        let begun = times.partition_point(|time| *time < region.first);
        let meets = times.get(begun).is_some_and(|time| *time <= region.last);
        if let (Content::Start { variant, .. }, true) = (witness.content, meets) {
            *variants.get_mut(usize::from(variant))? = true;
        }
    }
    types.only_of(region.shape, |id| {
        (0..VARIANTS).all(|v| !variants[v] || types.handles(v, id))
    })
}

/// Start and end of the groups of the Swiss table that those of a region are of: what all arrays have in
/// common that the allocator may put there.
fn whole_table(region: &Region, types: &Types) -> Option<(u64, u64)> {
    let laid_out = types.of_shape(region.shape)?;
    let Shape::Swiss { group_size, .. } = laid_out.shape else {
        return None;
    };
    let (lo, hi) = (region.start, region.end);
    if !is_one_array(&[], lo, hi, laid_out) {
        return None;
    }
    let mut common: Option<(u64, u64)> = None;
    for groups in (0..)
        .map(|log| 1 << log)
        .take_while(|groups| *groups <= MAX_GROUPS)
    {
        let bytes = group_size.checked_mul(groups)?;
        let Some(before) = bytes.checked_sub(hi - lo) else {
            continue;
        };
        for scanned in [false, true] {
            if !types.is_scanned(region.shape, region.map_type, scanned) {
                continue;
            }
            let slot = size_class::slot_for(bytes, !scanned, SWISS)?;
            let starts = (0..=before / group_size).map(|n| lo.saturating_sub(n * group_size));
            let object = |start: u64| start.saturating_sub(slot.before);
            for start in starts.filter(|start| size_class::may_begin_at(object(*start), slot.size))
            {
                let (low, high) = common.unwrap_or((start, start + bytes));
                common = Some((low.max(start), high.min(start + bytes)));
            }
        }
    }
    common
}

/// Whether samples are as dense in the buckets before every place where an array of this many bytes
/// could end as elsewhere.
fn spans_seam(bases: &[u64], lo: u64, hi: u64, bytes: u64, overflow: u64, stride: u64) -> bool {
    // The start of the array: the last page before its first bucket that is congruent with it.
    let start = (0..stride)
        .map(|page| (lo >> PAGE_SHIFT).saturating_sub(page) << PAGE_SHIFT)
        .find(|start| (lo - start).is_multiple_of(stride));
    let Some(end) = start.and_then(|start| start.checked_add(bytes)) else {
        return false;
    };
    if end <= lo || end >= hi {
        return true;
    }
    let zone = end.saturating_sub(overflow.saturating_mul(stride));
    let found = bases.partition_point(|b| *b < end) - bases.partition_point(|b| *b < zone);
    let expected = overflow * bases.len() as u64 / ((hi - lo) / stride).max(1);
    expected >= MISSING && found as u64 >= expected / 2
}

type Bounds = ((u64, u64), (u64, u64));

fn bounds(seen: &[(u64, u64)], stride: u64) -> Option<Bounds> {
    let bases = seen.iter().map(|(base, _)| *base);
    let times = seen.iter().map(|(_, time)| *time);
    Some((
        (bases.clone().min()?, bases.max()?.saturating_add(stride)),
        (times.clone().min()?, times.max()?),
    ))
}

/// Address and times of the witnesses in this memory that do not agree.
fn opposed<'a>(
    witnesses: &'a Timelines<Witness>,
    (lo, hi): (u64, u64),
    of: Run,
    types: &'a Types,
) -> impl Iterator<Item = (u64, &'a [u64])> {
    witnesses
        .from(move |w| w.address < lo)
        .take_while(move |(w, _)| w.address < hi)
        .filter(move |(w, _)| !agrees(w, lo, of, types))
        .map(|(w, times)| (w.address, times))
}

/// Whether a witness at the time of a region, in the memory given, does not agree with it.
fn meets_opposed(
    region: &Region,
    memory: (u64, u64),
    witnesses: &Timelines<Witness>,
    of: Run,
    types: &Types,
) -> bool {
    let mut against = opposed(witnesses, memory, of, types);
    against.any(|(_, times)| {
        let begun = times.partition_point(|time| *time < region.first);
        times.get(begun).is_some_and(|time| *time <= region.last)
    })
}

/// How much of `reach` before and after a region's time no witness in it contradicts.
fn unopposed(
    region: &Region,
    reach: (u64, u64),
    witnesses: &Timelines<Witness>,
    of: Run,
    types: &Types,
) -> (u64, u64) {
    let against = opposed(witnesses, (region.start, region.end), of, types);
    against.fold(reach, |(first, last), (_, times)| {
        let before = times.partition_point(|time| *time < region.first);
        let before = times[..before].last().map_or(first, |time| time + 1);
        let after = times.partition_point(|time| *time <= region.last);
        let after = times.get(after).map_or(last, |time| time - 1);
        (first.max(before), last.min(after))
    })
}

fn agrees(w: &Witness, lo: u64, of: Run, types: &Types) -> bool {
    let Some(laid_out) = types.of_shape(of.shape) else {
        return false;
    };
    let off = (w.address - lo) % laid_out.shape.stride();
    match w.content {
        Content::Start {
            shape,
            map_type,
            header,
            variant,
        } => {
            off == 0
                && shape.is_none_or(|shape| shape == of.shape)
                && same(map_type, of.map_type)
                && (header == 0 || of.header == 0 || header == of.header)
                && of.map_type.is_none_or(|t| types.handles(variant.into(), t))
        }
        Content::Within(part) => laid_out.spot_at(off).is_some_and(|s| s.part == part),
        Content::Other => false,
    }
}

/// Whether two types may be one.
fn same(a: Option<TypeId>, b: Option<TypeId>) -> bool {
    a.is_none() || b.is_none() || a == b
}

/// Cuts a piece at all gaps, between times or between buckets, that witnesses against it lie in:
/// whichever way takes more of them out with fewer cuts. Nothing is left of a piece that cannot be cut.
fn cut(piece: Piece, stride: u64) -> Vec<Piece> {
    let mut times: Vec<u64> = piece.seen.iter().map(|(_, time)| *time).collect();
    let mut bases: Vec<u64> = piece.seen.iter().map(|(base, _)| *base).collect();
    times.sort_unstable();
    bases.sort_unstable();
    bases.dedup();
    let time_gap = |&(_, time): &(u64, u64)| {
        let after = times.partition_point(|t| *t < time);
        // The gap that ends at `times[after]`, unless something was seen at this very time.
        (times.get(after) != Some(&time)).then_some(time)
    };
    let base_gap = |&(address, _): &(u64, u64)| {
        let above = bases.partition_point(|b| *b <= address);
        let below = above.checked_sub(1).and_then(|i| bases.get(i))?;
        (address - below >= stride).then_some(address)
    };
    let distinct = |cuts: &[u64], sorted: &[u64]| {
        let mut gaps: Vec<usize> = cuts
            .iter()
            .map(|c| sorted.partition_point(|s| s < c))
            .collect();
        gaps.sort_unstable();
        gaps.dedup();
        gaps
    };
    let time_cuts: Vec<u64> = piece.against.iter().filter_map(time_gap).collect();
    let base_cuts: Vec<u64> = piece.against.iter().filter_map(base_gap).collect();
    let time_gaps = distinct(&time_cuts, &times);
    let base_gaps = distinct(&base_cuts, &bases);
    let by_time = match (time_gaps.len(), base_gaps.len()) {
        (0, 0) => return Vec::new(),
        (_, 0) => true,
        (0, _) => false,
        // removed / cuts, cross-multiplied
        (t, b) => time_cuts.len() * b >= base_cuts.len() * t,
    };
    let (gaps, sorted) = if by_time {
        (time_gaps, times)
    } else {
        (base_gaps, bases)
    };
    let bounds: Vec<u64> = gaps
        .iter()
        .filter_map(|&g| sorted.get(g))
        .copied()
        .collect();
    let mut pieces: Vec<Piece> = (0..=bounds.len())
        .map(|_| Piece {
            seen: Vec::new(),
            against: Vec::new(),
        })
        .collect();
    let index = |at: u64| bounds.partition_point(|b| *b <= at);
    for (base, time) in piece.seen {
        pieces[index(if by_time { time } else { base })]
            .seen
            .push((base, time));
    }
    for (address, time) in piece.against {
        pieces[index(if by_time { time } else { address })]
            .against
            .push((address, time));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::grid::tests::of_shape;
    use super::*;

    #[test]
    fn what_was_asked_for_last_is_what_there_is() {
        // Of a few pages, each bucket for a while, and three arrays for as long as all of them.
        let region = |(start, end, first, last): (u64, u64, u64, u64)| Region {
            start,
            end,
            first,
            last,
            marked: (0, 0),
            near: (0, 0),
            shape: (start / 64 % 7) as ShapeId,
            map_type: None,
            stride: 64,
            // Each says something else.
            header: start << 32 | end,
            one_map: false,
            presumed: false,
        };
        let buckets = (0..400).map(|n| (n * 64, n * 64 + 64, n % 9, n % 9 + 5));
        let arrays = [(0, 400 * 64, 0, 99), (64, 320, 3, 7), (8000, 8400, 0, 5)];
        let regions = Regions::indexed(buckets.chain(arrays).map(region).collect());
        assert!(regions.on_page.len() > 3 * LOOKS);
        let last = &mut Last::default();
        // One after the other, twice each, and all over again in large steps.
        let addresses = (0..1600)
            .map(|n| n / 2 * 32)
            .chain((0..1600).map(|n| n * 9000 % 25600));
        for address in addresses {
            for time in [0, 4, 5, 3, 9, 13, 20] {
                let until = &mut Until::always();
                let found = regions.numbered_after(address, time, last, until);
                let found: Vec<u32> = found.map(|(number, _)| number).collect();
                let expected = regions.numbered(address, time);
                let mut expected: Vec<u32> = expected.map(|(number, _)| number).collect();
                expected.sort_unstable();
                assert_eq!(found, expected, "{address} {time}");
            }
        }
    }

    #[test]
    fn what_a_time_is_in_is_found_the_last_begun_first() {
        let here = |(region, (first, last)): (u32, (u64, u64))| OnPage {
            first,
            last,
            until: 0,
            here: Here {
                region,
                bytes: (0, 0),
                says: 0,
            },
        };
        // One lasts all the time, others a little, one within another.
        let spans = [(1, 90), (2, 4), (3, 20), (5, 6), (5, 5), (30, 31), (40, 90)];
        for len in 0..=spans.len() {
            let all = (0..).zip(spans.iter().copied().take(len));
            let mut page: Vec<OnPage> = all.map(here).collect();
            AtTime::plant(&mut page);
            for time in 0..100 {
                let in_time = |here: &&OnPage| here.first <= time && time <= here.last;
                let found = |time| AtTime::at(&page, time).map(|here| here.here.region);
                let expected = page.iter().rev().filter(in_time);
                assert!(found(time).eq(expected.map(|here| here.here.region)));
                let some = |here: &&OnPage| here.first <= time + 5 && time <= here.last;
                let during = AtTime::during(&page, time, time + 5).map(|here| here.here.region);
                let expected = page.iter().rev().filter(some);
                assert!(during.eq(expected.map(|here| here.here.region)));
                let mut all = AtTime::at(&page, time);
                all.by_ref().for_each(drop);
                let (from, to) = (all.from, all.to.min(100));
                assert!((from..=to).contains(&time));
                assert!((from..=to).all(|other| found(other).eq(found(time))));
            }
        }
    }

    #[test]
    fn what_lies_over_an_address_is_found_whenever_it_is_asked_for() {
        let here = |(region, (first, last, to)): (u32, (u64, u64, u16))| OnPage {
            first,
            last,
            until: 0,
            here: Here {
                region,
                bytes: (8, to),
                says: region,
            },
        };
        let spans = [
            (1, 90, 99),
            (2, 4, 9),
            (3, 20, 99),
            (5, 5, 20),
            (30, 31, 20),
        ];
        let mut page: Vec<OnPage> = (0..).zip(spans).map(here).collect();
        AtTime::plant(&mut page);
        let mut over = Over::none();
        over.forget(16);
        // Onwards, back, and onwards again: at first the page is looked through, then what is over the address.
        for time in (0..100).chain((0..40).rev()).chain(25..60) {
            if !(over.from..=over.to).contains(&time) {
                over.look(time, &page);
            }
            let found: Vec<u32> = over.here.iter().map(|here| here.region).collect();
            let lasts = |on: &&OnPage| on.here.covers(16) && on.first <= time && time <= on.last;
            let expected: Vec<u32> = page.iter().filter(lasts).map(|on| on.here.region).collect();
            assert_eq!(found, expected, "{time}");
        }
    }

    #[test]
    fn the_shape_seen_nearest_is_that_of_all_that_is_nearest() {
        let seen = [(3, 5), (7, 1), (9, 4), (20, 0), (24, 9)];
        for time in 0..30u64 {
            let all = seen.iter().min_by_key(|(t, s)| (time.abs_diff(*t), *s));
            assert_eq!(nearest(&seen, time), all.map(|(_, shape)| *shape), "{time}");
        }
        assert_eq!(nearest(&[], 3), None);
    }

    #[test]
    fn of_regions_that_say_the_same_the_first_is_kept() {
        let here = |region, says, bytes| Here {
            region,
            says,
            bytes,
        };
        let all = [
            here(4, 0, (0, 9)),
            here(1, 0, (8, 99)),
            here(3, 0, (8, 20)),
            here(2, 7, (8, 20)),
            here(5, 7, (8, 21)),
        ];
        let mut regions = all.to_vec();
        keep_first(&mut regions);
        let kept: Vec<u32> = regions.iter().map(|here| here.region).collect();
        assert_eq!(kept, [1, 2, 4, 5]);
    }

    /// Where four groups of 136 bytes lie, as samples from 100 to 200 have it.
    const START: u64 = 0x1e12_36fd_0000;

    fn four_groups(header: u64) -> (Regions, Types) {
        let mut types = Types::default();
        types.intern(0, &of_shape());
        let region = Region {
            start: START,
            end: START + 4 * 136,
            first: 100,
            last: 200,
            marked: (100, 200),
            near: (90, 210),
            shape: 0,
            map_type: None,
            stride: 136,
            header,
            one_map: true,
            presumed: false,
        };
        (Regions::indexed(vec![region]), types)
    }

    #[test]
    fn a_part_just_before_the_first_sample_is_where_it_fits() {
        let (regions, types) = four_groups(7);
        let key_at = |off, time| {
            let admits = |shape| shape == 0;
            let hit = regions.beside(START + off, time, Part::GroupKey, admits, &types)?;
            Some((hit.base - START, hit.spot.slot, hit.header))
        };
        assert_eq!(key_at(136 + 8, 95), Some((136, Some(0), 0)));
        assert_eq!(key_at(136 + 8 + 16 * 7, 205), Some((136, Some(7), 0)));
        assert_eq!(key_at(136 + 8, 10), None);
        // An elem lies there.
        assert_eq!(key_at(136 + 16, 95), None);
    }
}
