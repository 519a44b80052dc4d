//! Whose memory each sample touched, by what `tests/programs/zoo.go` noted of its maps.

use crate::score::Truth;
use std::collections::{BTreeMap, HashMap};

/// Where the parts of a map's buckets or groups are, in bytes.
struct Layout {
    header: u64,
    keys: Area,
    elems: Area,
    bucket: u64,
}

struct Area {
    start: u64,
    stride: u64,
    /// In a slot: a pointer in place of more than 128 bytes.
    size: u64,
}

impl Area {
    fn slot(&self, off: u64) -> Option<i8> {
        (0..8).find(|&slot| {
            let start = self.start + slot as u64 * self.stride;
            (start..start + self.size).contains(&off)
        })
    }
}

/// Memory that a map had all the time from `from` to before `to`, and maybe from `after` on.
struct Region {
    map: u64,
    kind: String,
    base: u64,
    stride: u64,
    end: u64,
    /// Of a key or an elem outside of its slot: the slot.
    index: u64,
    from: u64,
    to: u64,
}

/// What the program noted.
#[derive(Default)]
pub struct Notes {
    maps: HashMap<u64, Layout>,
    regions: Vec<Region>,
    /// By page of 4 KiB.
    pages: HashMap<u64, Vec<usize>>,
    first: u64,
}

type Field = (&'static str, u64, u64);

/// Of an hmap before its last word.
const HMAP: [Field; 8] = [
    ("count", 0, 8),
    ("flags", 8, 1),
    ("B", 9, 1),
    ("noverflow", 10, 2),
    ("hash0", 12, 4),
    ("buckets", 16, 8),
    ("oldbuckets", 24, 8),
    ("nevacuate", 32, 8),
];

/// Fields by name and offset, the structure's `size` as noted.
fn fields(kind: &str, size: u64) -> impl Iterator<Item = &'static Field> {
    let (first, rest): (&'static [Field], &'static [Field]) = match (kind, size) {
        ("hmap", 48) => (&HMAP, &[("extra", 40, 8)]),
        // GOEXPERIMENT=noswissmap.
        ("hmap", _) => (&HMAP, &[("clearSeq", 40, 8), ("extra", 48, 8)]),
        _ => (&[], others(kind)),
    };
    first.iter().chain(rest)
}

fn others(kind: &str) -> &'static [Field] {
    match kind {
        "extra" => &[
            ("overflow", 0, 8),
            ("oldoverflow", 8, 8),
            ("nextOverflow", 16, 8),
        ],
        "Map" => &[
            ("used", 0, 8),
            ("seed", 8, 8),
            ("dirPtr", 16, 8),
            ("dirLen", 24, 8),
            ("globalDepth", 32, 1),
            ("globalShift", 33, 1),
            ("writing", 34, 1),
            ("tombstonePossible", 35, 1),
            ("clearSeq", 40, 8),
        ],
        "table" => &[
            ("used", 0, 2),
            ("capacity", 2, 2),
            ("growthLeft", 4, 2),
            ("localDepth", 6, 1),
            ("index", 8, 8),
            ("groups.data", 16, 8),
            ("groups.lengthMask", 24, 8),
        ],
        _ => &[],
    }
}

impl Notes {
    pub fn read(text: &str) -> Notes {
        let mut notes = Notes::default();
        let hex = |word: &str| u64::from_str_radix(word, 16).expect("a hexadecimal number");
        let number = |word: &str| word.parse::<u64>().expect("a number");
        // By map: its regions, as lines, with the time from which they are.
        let mut alive: HashMap<u64, BTreeMap<String, u64>> = HashMap::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "M" => {
                    let [header, ks, kstride, ksize, es, estride, esize, bucket] =
                        std::array::from_fn(|i| hex(words[4 + i]));
                    let slot = |size| if size > 128 { 8 } else { size };
                    let layout = Layout {
                        header,
                        keys: Area {
                            start: ks,
                            stride: kstride,
                            size: slot(ksize),
                        },
                        elems: Area {
                            start: es,
                            stride: estride,
                            size: slot(esize),
                        },
                        bucket,
                    };
                    notes.maps.insert(number(words[1]), layout);
                }
                "S" | "D" => {
                    let (time, map) = (number(words[1]), number(words[2]));
                    if notes.first == 0 {
                        notes.first = time;
                    }
                    let mut before = alive.remove(&map).unwrap_or_default();
                    let mut now = BTreeMap::new();
                    while let Some(region) = lines.next_if(|line| line.starts_with("R ")) {
                        let from = before.remove(region).unwrap_or(time);
                        now.insert(region.to_owned(), from);
                    }
                    for (region, from) in before {
                        notes.add(map, &region, from, time);
                    }
                    alive.insert(map, now);
                }
                other => panic!("{other}: no line of zoo"),
            }
        }
        for (map, regions) in alive {
            for (region, from) in regions {
                notes.add(map, &region, from, u64::MAX);
            }
        }
        notes
    }

    fn add(&mut self, map: u64, line: &str, from: u64, to: u64) {
        let words: Vec<&str> = line.split(' ').collect();
        let [base, stride, count, index] =
            std::array::from_fn(|i| u64::from_str_radix(words[2 + i], 16).expect("hexadecimal"));
        let end = base + stride * count;
        for page in base >> 12..=end.saturating_sub(1) >> 12 {
            self.pages.entry(page).or_default().push(self.regions.len());
        }
        self.regions.push(Region {
            map,
            kind: words[1].to_owned(),
            base,
            stride,
            end,
            index,
            from,
            to,
        });
    }

    /// `None`: that is not certain. `Some(None)`: no map's.
    pub fn owner(&self, addr: u64, time: u64) -> Option<Option<Truth>> {
        if time < self.first {
            return None;
        }
        let here = self.pages.get(&(addr >> 12)).into_iter().flatten();
        let here = here.map(|&i| &self.regions[i]);
        let mut here = here.filter(|r| (r.base..r.end).contains(&addr)).peekable();
        if here.peek().is_none() {
            return Some(None);
        }
        let region = here.find(|r| (r.from..r.to).contains(&time))?;
        self.truth(region, addr).map(Some)
    }

    /// `None`: padding.
    fn truth(&self, region: &Region, addr: u64) -> Option<Truth> {
        let layout = &self.maps[&region.map];
        let kind = region.kind.as_str();
        let mut off = addr - region.base;
        let (field, slot) = match kind {
            "directory" => ("table_ptr", None),
            "indirect_key" => ("key", Some(region.index as i8)),
            "indirect_elem" => ("elem", Some(region.index as i8)),
            "bmap" | "group" => {
                off %= layout.bucket;
                if off < 8 {
                    let control = if kind == "bmap" { "tophash" } else { "ctrl" };
                    (control, Some(off as i8))
                } else if kind == "bmap" && off >= layout.bucket - 8 {
                    ("overflow", None)
                } else if let Some(slot) = layout.keys.slot(off) {
                    ("key", Some(slot))
                } else {
                    ("elem", Some(layout.elems.slot(off)?))
                }
            }
            _ => {
                let mut fields = fields(kind, region.stride);
                let (name, ..) =
                    fields.find(|(_, start, size)| (*start..start + size).contains(&off))?;
                (*name, None)
            }
        };
        Some(Truth {
            part: format!("{kind}.{field}"),
            base: addr - off,
            slot,
            header: format!("{:#x}", layout.header),
            soft: false,
        })
    }
}
