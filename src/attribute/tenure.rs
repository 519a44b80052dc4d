//! What one sample tells of an object's owner holds for all samples of the object in a spell in which no
//! memory was freed and used again.

use super::complete::{VARIABLE, about};
use super::lasting::Lasting;
use super::marking::Markings;
use super::regions::Regions;
use super::resolve::{About, Row};
use super::rows::Rows;
use super::spaces::Spaces;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// An object in a spell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Tenure {
    about: About,
    /// Its address; of buckets and groups, the number of their array's region.
    object: u64,
    spell: u32,
}

/// Owners of an object, as far as they agree.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Owner {
    One(u64),
    Several,
}

impl Owner {
    fn and(self, other: Owner) -> Owner {
        match self == other {
            true => self,
            false => Owner::Several,
        }
    }
}

/// Gives samples of objects whose owner others know to that.
pub fn share(
    rows: &mut Rows,
    regions: &Regions,
    lasting: &Lasting,
    markings: &Markings,
    spaces: &Spaces,
) {
    let unknown =
        |row: &Row| row.header == 0 || row.header & VARIABLE != 0 && !lasting.keeps(row.header);
    let tenure = |row: &Row| {
        let part = row.part.ok().filter(|_| row.base != 0)?;
        let marking = markings.of(spaces.mark_of(row.base));
        let about = about(part);
        let (object, spell) = match about {
            // An array's region is of one map all the time.
            About::Bucket => {
                let here = regions.numbered(row.base, row.time);
                let arrays = here.filter(|(_, region)| region.one_map && region.header == 0);
                (arrays.map(|(number, _)| number).min()?.into(), 0)
            }
            // They may lie in a frame.
            About::Header => return None,
            _ => (row.base, marking.spell(row.time)?),
        };
        Some(Tenure {
            about,
            object,
            spell,
        })
    };
    let wanted = rows
        .par_iter()
        .filter(unknown)
        .filter_map(|row| tenure(&row));
    let wanted: FxHashSet<Tenure> = wanted.collect();
    let told = rows.par_iter().filter(|row| !unknown(row));
    let told = told.filter_map(|row| {
        let tenure = tenure(&row).filter(|tenure| wanted.contains(tenure))?;
        Some((tenure, Owner::One(row.header)))
    });
    let add = |mut all: FxHashMap<Tenure, Owner>, (tenure, owner): (Tenure, Owner)| {
        let known = all.entry(tenure).or_insert(owner);
        *known = known.and(owner);
        all
    };
    let owners = told.fold(FxHashMap::default, add);
    let owners = owners.reduce(FxHashMap::default, |a, b| b.into_iter().fold(a, add));
    rows.change(|row| {
        if unknown(row)
            && let Some(Owner::One(header)) = tenure(row).and_then(|t| owners.get(&t))
        {
            row.header = *header;
        }
    });
}
