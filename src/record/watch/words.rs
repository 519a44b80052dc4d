//! Words of a map by name, and where they are at this moment.

use super::memory::ProcessMemory;
use crate::gomap::{Family, Field, Layout, MapType, Shape};

/// A word to be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A field of `hmap` or `Map`.
    Header(Field),
    /// A field of a table (Swiss).
    Table(Field),
    /// Bytes of a bucket or group, from `off` on.
    Slot { name: String, off: u64, size: u64 },
}

/// Which bucket or group, and in which table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spot {
    pub bucket: u64,
    /// Index in the directory.
    pub table: u64,
}

/// The words of one map that are watched.
#[derive(Debug, Clone)]
pub struct Words {
    pub layout: &'static Layout,
    pub map_type: MapType,
    pub words: Vec<Word>,
    pub spot: Spot,
}

/// A debug register watches so many bytes at most.
const WIDEST: u64 = 8;

impl Word {
    /// In the words of Go's runtime.
    pub fn name(&self, layout: &Layout) -> String {
        let (header, table) = match layout.family {
            Family::Classic => ("hmap", ""),
            Family::Swiss => ("Map", "table"),
        };
        match self {
            Word::Header(field) => format!("{header}.{}", field.name),
            Word::Table(field) => format!("{table}.{}", field.name),
            Word::Slot { name, .. } => name.clone(),
        }
    }
}

impl Words {
    /// Finds words by name: fields of the header (`flags`, `hmap.flags`), of a table
    /// (`table.growthLeft`), and parts of the bucket or group (`tophash`, `key`, `group.ctrl`).
    ///
    /// # Errors
    ///
    /// One sentence naming the words that there are.
    pub fn find(
        names: &[String],
        slot: Option<u64>,
        spot: Spot,
        map_type: &MapType,
        layout: &'static Layout,
    ) -> Result<Words, String> {
        let mut words = Vec::new();
        for name in names {
            words.push(word(name, slot, map_type, layout).ok_or_else(|| {
                let known = known(layout, map_type).join(", ");
                let called = counterpart(name, layout.family).map_or_else(String::new, |here| {
                    format!(" (in its version of Go: {here})")
                });
                format!(
                    "{} has no word '{name}'{called}; it has {known}",
                    map_type.name
                )
            })?);
        }
        Ok(Words {
            layout,
            map_type: map_type.clone(),
            words,
            spot,
        })
    }

    /// Address and length of each word of the map whose header is at `header`; `None` where there is
    /// none at this moment: no table, no such bucket, memory that is not there.
    pub fn places(&self, header: u64, memory: &ProcessMemory) -> Vec<Option<(u64, u64)>> {
        let arrays = match self.layout.family {
            Family::Classic => self.classic(header, memory),
            Family::Swiss => self.swiss(header, memory),
        };
        let (table, bucket) = arrays.unwrap_or((None, None));
        let place = |word: &Word| match word {
            Word::Header(field) => watchable(header.checked_add(field.off)?, field.size),
            Word::Table(field) => watchable(table?.checked_add(field.off)?, field.size),
            Word::Slot { off, size, .. } => watchable(bucket?.checked_add(*off)?, *size),
        };
        self.words.iter().map(place).collect()
    }

    fn field(
        &self,
        fields: &[Field],
        base: u64,
        name: &str,
        memory: &ProcessMemory,
    ) -> Option<u64> {
        let field = fields.iter().find(|field| field.name == name)?;
        let word = memory.u64(base.checked_add(field.off)?)?;
        let bits = 8 * field.size.min(8);
        Some(if bits == 64 {
            word
        } else {
            word & ((1 << bits) - 1)
        })
    }

    fn classic(&self, header: u64, memory: &ProcessMemory) -> Option<(Option<u64>, Option<u64>)> {
        let field = |name| self.field(self.layout.header, header, name, memory);
        let (b, buckets) = (field("B")?, field("buckets")?);
        let exists = b < 64 && self.spot.bucket < 1 << b && buckets != 0;
        let offset = self.spot.bucket.checked_mul(self.map_type.shape.stride())?;
        Some((None, exists.then_some(buckets.checked_add(offset)?)))
    }

    /// `dirPtr` is a group when `dirLen` is 0, else a directory of tables.
    fn swiss(&self, header: u64, memory: &ProcessMemory) -> Option<(Option<u64>, Option<u64>)> {
        let field = |name| self.field(self.layout.header, header, name, memory);
        let (pointer, len) = (field("dirPtr")?, field("dirLen")?);
        let offset = self.spot.bucket.checked_mul(self.map_type.shape.stride())?;
        if len == 0 {
            let group = (pointer != 0 && self.spot.bucket == 0).then_some(pointer);
            return Some((None, group));
        }
        if self.spot.table >= len {
            return Some((None, None));
        }
        let table = memory.u64(pointer.checked_add(8 * self.spot.table)?)?;
        let field = |name| self.field(self.layout.table, table, name, memory);
        let (data, mask) = (field("groups.data")?, field("groups.lengthMask")?);
        let exists = self.spot.bucket <= mask;
        Some((Some(table), exists.then_some(data.checked_add(offset)?)))
    }
}

/// The widest aligned run of bytes that begins at `addr` and lies in the word.
fn watchable(addr: u64, size: u64) -> Option<(u64, u64)> {
    [8, 4, 2, 1]
        .into_iter()
        .find(|len| *len <= size.min(WIDEST) && addr.is_multiple_of(*len))
        .map(|len| (addr, len))
}

fn word(name: &str, slot: Option<u64>, map_type: &MapType, layout: &Layout) -> Option<Word> {
    let (structure, field) = name.split_once('.').unwrap_or(("", name));
    let of = |fields: &[Field], name: &str| fields.iter().find(|f| f.name == name).copied();
    match (structure, layout.family) {
        ("hmap", Family::Classic) | ("Map", Family::Swiss) => {
            return of(layout.header, field).map(Word::Header);
        }
        ("table", Family::Swiss) => return of(layout.table, field).map(Word::Table),
        ("" | "bmap", Family::Classic) | ("" | "group", Family::Swiss) => {}
        _ => return None,
    }
    if structure.is_empty()
        && let Some(field) = of(layout.header, name)
    {
        return Some(Word::Header(field));
    }
    let (field, past) = match field.split_once('+') {
        Some((field, past)) => (field, past.parse::<u64>().ok()?),
        None => (field, 0),
    };
    let number = slot.unwrap_or(0);
    if number >= 8 {
        return None;
    }
    let (key, elem) = (map_type.key_slot_size(), map_type.elem_slot_size());
    let (off, size) = match (map_type.shape, field) {
        (Shape::Classic { .. }, "tophash") | (Shape::Swiss { .. }, "ctrl") => match slot {
            Some(slot) => (slot, 1),
            None => (0, 8),
        },
        (Shape::Classic { key_stride, .. }, "key") => (8 + number * key_stride, key),
        (
            Shape::Classic {
                key_stride,
                elem_stride,
                ..
            },
            "elem",
        ) => (8 + 8 * key_stride + number * elem_stride, elem),
        (Shape::Classic { bucket_size, .. }, "overflow") => (bucket_size.checked_sub(8)?, 8),
        (
            Shape::Swiss {
                keys_off,
                key_stride,
                ..
            },
            "key",
        ) => (keys_off + number * key_stride, key),
        (
            Shape::Swiss {
                elems_off,
                elem_stride,
                ..
            },
            "elem",
        ) => (elems_off + number * elem_stride, elem),
        _ => return None,
    };
    let structure = match layout.family {
        Family::Classic => "bmap",
        Family::Swiss => "group",
    };
    Some(Word::Slot {
        name: match (field, slot) {
            ("overflow", _) | (_, None) => format!("{structure}.{field}"),
            (_, Some(slot)) => format!("{structure}.{field}[{slot}]"),
        },
        off: off.checked_add(past)?,
        size: size.checked_sub(past).filter(|size| *size > 0)?,
    })
}

/// What a word of the other family's maps is called in those of this one, where one does its work.
fn counterpart(name: &str, family: Family) -> Option<&'static str> {
    const PAIRS: [(&str, &str); 5] = [
        ("flags", "writing"),
        ("count", "used"),
        ("buckets", "dirPtr"),
        ("hash0", "seed"),
        ("tophash", "ctrl"),
    ];
    let (_, field) = name.rsplit_once('.').unwrap_or(("", name));
    let of = |(classic, swiss): &(&'static str, &'static str)| match family {
        Family::Classic => (field == *swiss).then_some(*classic),
        Family::Swiss => (field == *classic).then_some(*swiss),
    };
    PAIRS.iter().find_map(of)
}

/// Every name that [`word`] takes.
fn known(layout: &Layout, map_type: &MapType) -> Vec<String> {
    let mut names: Vec<String> = layout.header.iter().map(|f| f.name.to_owned()).collect();
    names.extend(
        layout
            .table
            .iter()
            .map(|field| format!("table.{}", field.name)),
    );
    let parts: &[&str] = match layout.family {
        Family::Classic => &["tophash", "key", "elem", "overflow"],
        Family::Swiss => &["ctrl", "key", "elem"],
    };
    let has = |part: &&&str| **part != "elem" || map_type.elem_slot_size() > 0;
    names.extend(parts.iter().filter(has).map(|part| part.to_string()));
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gomap::LAYOUTS;

    /// `map[uint64]uint64`: 144 bytes a bucket, keys from 8, elems from 72.
    fn map_type(shape: Shape) -> MapType {
        MapType {
            addr: 0,
            name: "map[uint64]uint64".to_owned(),
            key: "uint64".to_owned(),
            elem: "uint64".to_owned(),
            key_size: 8,
            elem_size: 8,
            indirect_key: false,
            indirect_elem: false,
            string_key: false,
            fast: true,
            scanned: false,
            shape,
        }
    }

    #[test]
    fn words_are_found_by_the_names_of_the_runtime() {
        let classic = map_type(Shape::Classic {
            key_stride: 8,
            elem_stride: 8,
            bucket_size: 144,
            hmap_size: 48,
        });
        let find = |name, slot| word(name, slot, &classic, LAYOUTS[0]);
        let place = |name, slot| match find(name, slot)? {
            Word::Header(field) => Some((field.off, field.size)),
            Word::Slot { off, size, .. } => Some((off, size)),
            Word::Table(_) => None,
        };
        assert_eq!(place("hmap.flags", None), Some((8, 1)));
        assert_eq!(place("count", None), Some((0, 8)));
        assert_eq!(place("tophash", None), Some((0, 8)));
        assert_eq!(place("bmap.tophash", Some(3)), Some((3, 1)));
        assert_eq!(place("key", Some(7)), Some((64, 8)));
        assert_eq!(place("elem", Some(1)), Some((80, 8)));
        assert_eq!(place("elem+4", Some(1)), Some((84, 4)));
        assert_eq!(place("overflow", None), Some((136, 8)));
        assert_eq!(find("ctrl", None), None);
        assert_eq!(find("elem+8", None), None);
        assert_eq!(find("key", Some(8)), None);
        let name = find("tophash", Some(3)).map(|word| word.name(LAYOUTS[0]));
        assert_eq!(name.as_deref(), Some("bmap.tophash[3]"));
    }

    #[test]
    fn a_word_of_another_version_is_told_by_its_name_here() {
        let swiss = map_type(Shape::Swiss {
            key_stride: 16,
            keys_off: 8,
            elem_stride: 16,
            elems_off: 16,
            group_size: 136,
        });
        let layout = LAYOUTS.iter().find(|l| l.family == Family::Swiss).unwrap();
        let names = ["hmap.flags".to_owned()];
        let error = Words::find(&names, None, Spot::default(), &swiss, layout).unwrap_err();
        assert!(
            error.starts_with(
                "map[uint64]uint64 has no word 'hmap.flags' (in its version of Go: writing); it has used, "
            ),
            "{error}"
        );
    }

    #[test]
    fn a_word_is_watched_as_wide_as_it_is_aligned() {
        assert_eq!(watchable(0x1000, 16), Some((0x1000, 8)));
        assert_eq!(watchable(0x1004, 8), Some((0x1004, 4)));
        assert_eq!(watchable(0x1001, 8), Some((0x1001, 1)));
        assert_eq!(watchable(0x1006, 2), Some((0x1006, 2)));
    }
}
