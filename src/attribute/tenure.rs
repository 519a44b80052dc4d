//! What one sample tells of an object holds for all samples of the object in a spell in which no memory was
//! freed and used again.

use super::Reason;
use super::lasting::Lasting;
use super::marking::Markings;
use super::row::{About, Row, about};
use super::rows::Rows;
use super::spaces::Spaces;
use super::statements::Own;
use super::timelines::together;
use super::types::TypeId;
use crate::gomap::Part;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// Gives samples of tables, directories and the like whose owner others know to that.
pub fn share(rows: &mut Rows, lasting: &Lasting, markings: &Markings, spaces: &Spaces) {
    let about = |part: Result<Part, Reason>, base: u64| {
        let about = about(part.ok().filter(|_| base != 0)?);
        // The owners of buckets and groups the regions have; headers may lie in a frame.
        let elsewhere = matches!(about, About::Bucket | About::Header);
        (!elsewhere).then_some(about)
    };
    let shared = |own: &Own| about(own.part, own.base).is_some();
    // What, where and in which spell.
    let object = |row: &Row| {
        let about = about(row.part, row.base)?;
        let marking = markings.of(spaces.mark_of(row.base));
        Some((about, row.base, marking.spell(row.time)?))
    };
    let said = rows.par_where(shared);
    let said = said.filter_map(|row| Some((object(&row)?, lasting.named(row.header)?)));
    // `None`: several.
    let said = said.map(|(object, owner)| (object, Some(owner)));
    let owners = together(said, |a, b| a.filter(|_| a == b));
    let unnamed = |own: &Own| lasting.named(own.header).is_none() && shared(own);
    rows.change_where(unnamed, |row, until| {
        until.at_most(row.time);
        if let Some(Some(header)) = object(row).and_then(|object| owners.get(&object)) {
            row.header = *header;
        }
    });
}

/// Gives samples of a map, of what type none of them tells by itself, that which the map was of around their
/// time. `told`: headers of which the type at a time is known; `may_be`: whether the map of a row may be of
/// a type.
pub fn name_types(
    rows: &mut Rows,
    lasting: &Lasting,
    markings: &Markings,
    spaces: &Spaces,
    told: impl Iterator<Item = (u64, TypeId, u64)>,
    may_be: impl Fn(&Row, TypeId) -> bool + Sync,
) {
    let typed = |own: &Own| own.map_type().is_some() && own.part.is_ok();
    let typed = rows.said.par_said(typed);
    let typed = typed.filter_map(|said| {
        let of = (lasting.named(said.row.header)?, said.row.map_type?);
        Some((of, (*said.times.first()?, *said.times.last()?)))
    });
    let told = told.map(|(header, of, time)| ((header, of), (time, time)));
    let told: Vec<_> = told.collect();
    let typed = together(typed.chain(told), |a, b| (a.0.min(b.0), a.1.max(b.1)));
    let mut of_headers: FxHashMap<u64, Vec<(TypeId, u64, u64)>> = FxHashMap::default();
    for ((header, map_type), (first, last)) in typed {
        let (first, last) = match lasting.keeps(header) {
            true => (0, u64::MAX),
            false => markings.of(spaces.mark_of(header)).around(first, last),
        };
        let types = of_headers.entry(header).or_default();
        types.push((map_type, first, last));
    }
    let untyped = |own: &Own| own.map_type().is_none() && own.part.is_ok();
    rows.change_where(untyped, |row, until| {
        if let Some(types) = of_headers.get(&row.header) {
            let mut types = types
                .iter()
                .filter(|(_, first, last)| until.is_in(row.time, *first, *last));
            if let (Some((map_type, ..)), None) = (types.next(), types.next())
                && may_be(row, *map_type)
            {
                row.map_type = Some(*map_type);
            }
        }
    });
}
