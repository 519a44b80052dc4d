//! What all samples together say of one: its object's owner, and where in learned memory it lies.

use super::admitted::Admitted;
use super::blocks::Blocks;
use super::instant::Instant;
use super::lasting::Lasting;
use super::learn::{Learned, part_at};
use super::marking::Markings;
use super::pages::Pages;
use super::places::Behalf;
use super::regions::{Hit, Last, Regions};
use super::row::{About, Row, VARIABLE, about, about_bucket};
use super::spaces::{Spaces, marked};
use super::statements::Until;
use super::types::{TypeId, Types};
use super::{Evidence, Reason};
use crate::gomap::{Layout, Part, Stage};

/// Finds the map of a row from the other samples of the variable, the table or the object it hit.
pub fn own(
    row: &mut Row,
    global: Option<u64>,
    learned: &Learned,
    lasting: &Lasting,
    until: &mut Until,
) {
    let time = row.time;
    let Ok(part) = row.part else { return };
    if row.header == 0
        && let Some(global) = global.filter(|global| lasting.holds(*global))
    {
        row.header = lasting.header_in(global);
    }
    let owners = [
        (About::Global, global.unwrap_or(0)),
        (About::Table, row.table),
        (about(part), row.base),
    ];
    for (about, address) in owners {
        if row.header == 0
            && address != 0
            && let Some(header) = learned.header_of(about, address, time, until).or_else(|| {
                let of = row.map_type?;
                learned.header_of_typed(about, address, time, of, until)
            })
        {
            row.header = header;
        }
    }
    if part == Part::DirectoryTable
        && row.base == 0
        && let Some(directory) = learned.directory_of(row.header, time, until)
    {
        row.base = directory;
    }
    if let Some(global) = global
        && row.header == 0
        && !learned.knows(About::Global, global)
    {
        row.header = VARIABLE | global;
    }
}

/// The type of the map with this header at a time.
pub fn type_of(
    header: u64,
    time: u64,
    learned: &Learned,
    lasting: &Lasting,
    types: &Types,
) -> Option<TypeId> {
    let sole = || types.sole_type(|variable| lasting.holds_in(variable, header));
    let learned = learned.type_of(header, time, &mut Until::always());
    learned.or_else(sole)
}

/// Finds the map of a row of a type whose maps one variable holds.
fn own_by_type(row: &mut Row, known: &Known, until: &mut Until) {
    let variable = row.map_type.and_then(|t| known.types.sole_variable(t));
    if let Some(variable) = variable.filter(|_| row.header == 0) {
        let variable = marked(variable, known.spaces.mark_of(row.address));
        own(row, Some(variable), known.learned, known.lasting, until);
    }
}

/// What all samples together taught.
pub struct Known<'a> {
    pub blocks: &'a Blocks,
    pub learned: &'a Learned,
    pub lasting: &'a Lasting<'a>,
    pub spaces: &'a Spaces,
    pub markings: &'a Markings,
    pub regions: &'a Regions,
    pub types: &'a Types,
    pub instant: Option<&'a Instant<'a>>,
}

impl Known<'_> {
    /// Whether a map of this type is alive at a time: samples around it say so, or it is all the time.
    fn lives_as(&self, map_type: TypeId, header: u64, time: u64, until: &mut Until) -> bool {
        let variable = self.types.sole_variable(map_type);
        let always = |variable| self.lasting.holds_in(variable, header);
        variable.is_some_and(always) || self.learned.lives_as(header, time, until) == Some(map_type)
    }

    /// Whether what is in use at both times was so in between: an object of its own is soon used again.
    fn is_kept(&self, address: u64, from: u64, to: u64) -> bool {
        let marking = self.markings.of(self.spaces.mark_of(address));
        let spell = marking.spell(from);
        spell.is_some() && spell == marking.spell(to)
    }

    /// The memory that anything is known of.
    pub fn pages(&self) -> Pages {
        let beside = spans(self.learned, self.blocks, self.instant);
        Pages::of(self.regions.spans().chain(beside).collect(), 0)
    }
}

/// Start and end of all that is known beside the regions.
pub fn spans<'s>(
    learned: &'s Learned,
    blocks: &'s Blocks,
    instant: Option<&'s Instant>,
) -> impl Iterator<Item = (u64, u64)> {
    let indirect = instant.into_iter().flat_map(Instant::indirect_spans);
    learned.spans().chain(blocks.spans()).chain(indirect)
}

/// The code that a row is of.
pub struct Accessor<'a> {
    pub behalf: Behalf,
    /// Which kind of functions it is of.
    pub variant: usize,
    /// Which shapes it may touch.
    pub admitted: Admitted,
    /// Of its program.
    pub layout: Option<&'a Layout>,
}

/// Fills in from learned regions what the sample alone did not tell. Returns the evidence that
/// disagreed with a learned region, if one did. Code that is no proxy reaches maps only through
/// what the data flow follows.
/// `last`: of the regions; `until`: as long as that is so.
pub fn complete(
    row: &mut Row,
    by: Accessor,
    known: &Known,
    last: &mut Last,
    until: &mut Until,
) -> Option<Evidence> {
    let Accessor {
        behalf,
        variant,
        admitted,
        layout,
    } = by;
    let time = row.time;
    if row.address == 0 || matches!(row.part, Err(reason) if reason.is_elsewhere()) {
        return None;
    }
    let unknown = match row.part {
        Ok(_) => false,
        Err(Reason::BaseUnknown | Reason::PartUnknown) => true,
        Err(_) => behalf.proxy,
    };
    if about_bucket(row.part) || unknown {
        let part = row.part.ok();
        let hit = known
            .regions
            .at_after(row.address, time, part, known.types, last, until);
        let mut marked = || {
            until.at_most(time);
            known.regions.marked(row.address, time, known.types)
        };
        let hit = hit.or_else(|| behalf.reads.then(&mut marked).flatten());
        let beside = || {
            let admits = |shape| admitted.admits(shape, known.types);
            let regions = part.filter(|_| row.base == 0).map(|_| known.regions);
            let regions = regions?;
            until.at_most(time);
            regions.beside(row.address, time, part?, admits, known.types)
        };
        let hit = hit.or_else(beside);
        let keys = |shape| {
            behalf
                .keys
                .is_none_or(|keys| known.types.has_keys(shape, keys))
        };
        // Else the region is mistaken.
        let fits = |hit: &Hit| match hit.spot.part.stage() {
            Stage::Key => keys(hit.shape),
            _ => behalf.may_touch(hit.spot.part),
        };
        if let Some(hit) = hit.filter(|hit| row.part.is_ok() || fits(hit)) {
            if row.base != 0 && row.base != hit.base {
                return Some(row.evidence);
            }
            let own = known.lasting.named(row.header);
            let others = known.lasting.named(hit.header);
            if own.is_some() && others.is_some() && own != others {
                return Some(row.evidence);
            }
            let same = |a: TypeId| hit.map_type.is_none_or(|b| a == b);
            if let (None, Some(others)) = (own, others)
                && row.map_type.is_none_or(same)
            {
                row.header = others;
            }
            if row.part.is_err() || row.base == 0 {
                row.part = Ok(hit.spot.part);
                row.base = hit.base;
                row.slot = hit.spot.slot.map_or(-1, |s| s as i8);
                row.evidence = row.evidence.max(Evidence::LearnedRegion);
            }
            row.shape = row.shape.or(Some(hit.shape));
            row.map_type = row.map_type.or(hit.map_type);
            if row.header == 0 {
                row.header = hit.header;
            }
            if row.header == 0
                && hit.presumed != 0
                && let Some(map_type) = row
                    .map_type
                    .or(hit.presumed_type)
                    .or_else(|| known.learned.type_of(hit.presumed, time, until))
                && known.lives_as(map_type, hit.presumed, time, until)
                && known.types.shape_of(map_type) == Some(hit.shape)
            {
                row.header = hit.presumed;
            }
        }
    }
    if known.instant.is_some() || unknown && row.part.is_err() && behalf.to_end.is_some() {
        until.at_most(time);
    }
    if let Some(instant) = known.instant
        && let Some(found) = instant.indirect(row.address, time)
        && (unknown || row.part == Ok(found.part))
        && (row.base == 0 || row.base == found.start)
        && known.is_kept(row.address, time, instant.time)
        && known
            .regions
            .covering(found.holder, time)
            .any(|r| r.header == found.header)
    {
        row.part = Ok(found.part);
        row.base = found.start;
        row.slot = found.slot as i8;
        row.header = found.header;
        row.map_type = row.map_type.or(found.map_type);
        row.evidence = row.evidence.max(Evidence::Heap);
    }
    if unknown
        && row.part.is_err()
        && let Some(to_end) = behalf.to_end
        && let Some(end) = row.address.checked_add(to_end)
        && let Some(block) = known.blocks.copied(row.address, end, time)
    {
        row.part = Ok(block.part);
        row.base = block.start;
        row.map_type = Some(block.map_type);
        row.evidence = Evidence::LearnedRegion;
    }
    own_by_type(row, known, until);
    if row.map_type.is_none() && row.part.is_ok() {
        row.map_type = row.shape.and_then(|s| {
            let handled = |id| known.types.handles(variant, id);
            known.types.only_of(s, handled)
        });
    }
    let outside = matches!(row.part, Ok(Part::IndirectKey | Part::IndirectElem));
    // `len(m)` is compiled to a load of the header's first word.
    let counts = row.part == Err(Reason::NotMap);
    if row.part.is_ok() && (!outside || row.slot >= 0) || !unknown && !outside && !counts {
        return None;
    }
    let object = known.learned.at(row.address, time, until)?;
    let part = part_at(object.about, row.address - object.start, layout?)?;
    let count = object.about == About::Header && row.address == object.start;
    if !unknown && counts && !count || row.part.map_or(!behalf.may_touch(part), |p| p != part) {
        return None;
    }
    if row.base != 0 && row.base != object.start || row.header != 0 && row.header != object.header {
        return None;
    }
    row.part = Ok(part);
    row.base = object.start;
    row.slot = known.learned.slot_of(&object, time, until).unwrap_or(-1);
    row.header = object.header;
    row.map_type = row.map_type.or(object.map_type);
    row.evidence = row.evidence.max(Evidence::LearnedRegion);
    None
}
