//! What one sample tells of an object's owner holds for all samples of the object in a spell in which no
//! memory was freed and used again.

use super::complete::{VARIABLE, about};
use super::lasting::Lasting;
use super::marking::Markings;
use super::resolve::{About, Row};
use super::rows::Rows;
use super::spaces::Spaces;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// Owners of an object, as far as they agree.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Owner {
    Unknown,
    One(u64),
    Several,
}

impl Owner {
    fn and(self, other: Owner) -> Owner {
        match (self, other) {
            (Owner::Unknown, known) | (known, Owner::Unknown) => known,
            (a, b) if a == b => a,
            _ => Owner::Several,
        }
    }
}

/// Gives samples of tables, directories and the like whose owner others know to that.
pub fn share(rows: &mut Rows, lasting: &Lasting, markings: &Markings, spaces: &Spaces) {
    let owner = |row: &Row| match row.header {
        0 => Owner::Unknown,
        header if header & VARIABLE != 0 && !lasting.keeps(header) => Owner::Unknown,
        header => Owner::One(header),
    };
    // What, where and in which spell.
    let object = |row: &Row| {
        let about = about(row.part.ok().filter(|_| row.base != 0)?);
        // The owners of buckets and groups the regions have; headers may lie in a frame.
        let elsewhere = matches!(about, About::Bucket | About::Header);
        let marking = markings.of(spaces.mark_of(row.base));
        let spell = (!elsewhere).then(|| marking.spell(row.time)).flatten()?;
        Some((about, row.base, spell))
    };
    let add = |mut all: FxHashMap<_, Owner>, (object, owner)| {
        let known = all.entry(object).or_insert(Owner::Unknown);
        *known = known.and(owner);
        all
    };
    let said = rows.par_iter();
    let said = said.filter_map(|row| Some((object(&row)?, owner(&row))));
    let owners = said.fold(FxHashMap::default, add);
    let owners = owners.reduce(FxHashMap::default, |a, b| b.into_iter().fold(a, add));
    rows.change(|row| {
        if owner(row) == Owner::Unknown
            && let Some(Owner::One(header)) = object(row).and_then(|object| owners.get(&object))
        {
            row.header = *header;
        }
    });
}
