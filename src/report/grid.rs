//! Buckets or groups of one array by byte offset, and the keys and elems that lie outside of them: what
//! the heatmaps draw.

use super::data::{ArrayRow, CellRow, Data, Geometry, MapRow, Measures, OutsideRow};
use super::number::{address, count};
use std::collections::BTreeMap;

/// Cells of all arrays together: they bound the page.
const MOST_CELLS: usize = 60_000;
/// More rows than this are binned.
const MOST_ROWS: u64 = 256;
/// Bytes of a cache line, and of the two that an adjacent-line prefetcher moves together.
const LINE: u64 = 64;
const PAIR: u64 = 128;
/// An offset beyond it is no bucket of Go's: keys and elems in the slot are at most 128 bytes.
const MOST_BYTES: u64 = 4_096;

/// Maps whose keys and elems outside of buckets are shown.
const MOST_OUTSIDE: usize = 12;

/// Keys or elems that Go keeps each in an object of its own: a row for each place in a pair of cache lines
/// where one begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// `indirect_key.key` or `indirect_elem.elem`.
    pub part: String,
    /// By row; `None` where the address of the object is not known.
    pub begins: Vec<Option<u64>>,
    /// Bytes in one column.
    pub per_column: u64,
}

impl Outside {
    fn of_elems(&self) -> bool {
        self.part.ends_with(".elem")
    }
}

#[derive(Debug)]
pub struct Grid<'a> {
    pub array: ArrayRow,
    pub outside: Option<Outside>,
    pub map: Option<&'a MapRow>,
    /// Bytes of one bucket, group, key or elem.
    pub stride: u64,
    /// Buckets or groups in one row, and rows.
    pub per_row: u64,
    pub rows: u64,
    pub cells: BTreeMap<(u64, u64), Measures>,
}

/// A stretch of a bucket or group that holds one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub part: &'static str,
    pub slot: Option<u64>,
    pub start: u64,
    pub end: u64,
}

impl Grid<'_> {
    pub fn name(&self) -> String {
        let map = self
            .map
            .map_or("array of an unknown map", |m| m.name.as_str());
        if let Some(outside) = &self.outside {
            let what = if outside.of_elems() { "elems" } else { "keys" };
            let map = self.map.map_or("unknown map", |m| m.name.as_str());
            return format!(
                "{map}: {what} of {} bytes, each in an object of its own",
                count(self.stride)
            );
        }
        let base = self.array.base.map_or("base unknown".to_owned(), address);
        let old = if self.array.old { ", oldbuckets" } else { "" };
        let unit = match self.array.len {
            1 => self.one(),
            _ => self.unit(),
        };
        format!("{map}: {base}, {} {unit}{old}", count(self.array.len))
    }

    pub fn unit(&self) -> &'static str {
        if self.outside.is_some() {
            return "places where one begins";
        }
        match self.map.and_then(|m| m.geometry) {
            Some(g) if g.swiss => "groups",
            Some(_) => "buckets",
            None => "buckets or groups",
        }
    }

    /// One of its units.
    pub fn one(&self) -> &'static str {
        if self.outside.is_some() {
            return "begins at";
        }
        match self.map.and_then(|m| m.geometry) {
            Some(g) if g.swiss => "group",
            Some(_) => "bucket",
            None => "index",
        }
    }

    /// What row `index` is called on the axis.
    pub fn label(&self, index: u64) -> String {
        match &self.outside {
            None => count(index),
            Some(outside) => match outside.begins.get(index as usize) {
                Some(Some(at)) => format!("byte {at}"),
                _ => "unknown".to_owned(),
            },
        }
    }

    pub fn segments(&self) -> Vec<Segment> {
        if let Some(outside) = &self.outside {
            return vec![Segment {
                part: if outside.of_elems() { "elem" } else { "key" },
                slot: None,
                start: 0,
                end: self.stride,
            }];
        }
        self.map
            .and_then(|m| m.geometry)
            .map_or(Vec::new(), |g| segments(&g))
    }

    /// Offsets of the 64-byte cache-line borders in bucket or group `index`, and whether a pair of lines
    /// (128 bytes) begins there; `None` where the base is not known.
    pub fn borders(&self, index: u64) -> Option<Vec<(u64, bool)>> {
        let start = match &self.outside {
            Some(outside) => (*outside.begins.get(index as usize)?)? % PAIR,
            None => {
                let phase = self.array.base? % PAIR;
                (phase + (index % PAIR) * (self.stride % PAIR)) % PAIR
            }
        };
        let first = (LINE - start % LINE) % LINE;
        let offsets = (first..self.stride).step_by(LINE as usize);
        let borders = offsets.filter(|&off| off > 0);
        Some(
            borders
                .map(|off| (off, (start + off).is_multiple_of(PAIR)))
                .collect(),
        )
    }

    /// Whether pairs of lines begin at the same offsets in every bucket or group.
    pub fn one_pair_phase(&self) -> bool {
        self.outside.is_none() && self.stride.is_multiple_of(PAIR)
    }

    /// Whether the borders lie at the same offsets in every bucket or group.
    pub fn one_phase(&self) -> bool {
        self.outside.is_none() && self.stride.is_multiple_of(LINE)
    }

    /// How the cache-line borders of this grid are to be read.
    pub fn border_note(&self) -> String {
        let unit = self.unit();
        if self.outside.is_some() {
            return "A row is a place in a pair of cache lines (128 bytes) where such an object begins; lines are \
                    64-byte borders, thick where a pair begins."
                .to_owned();
        }
        if self.array.base.is_none() {
            return "Cache-line borders are not drawn: the base of the array is not known."
                .to_owned();
        }
        if self.one_phase() {
            let pairs = match self.one_pair_phase() || self.per_row == 1 {
                true => "thick ones begin pairs of lines (128 bytes), which an adjacent-line prefetcher moves together".to_owned(),
                false => format!("pairs of lines (128 bytes) begin at other ones in every second of the {unit} and are not told apart"),
            };
            return format!(
                "Lines are 64-byte cache-line borders, the same in all {unit}; {pairs}."
            );
        }
        let repeat = 64 / gcd(64, self.stride % 64);
        let shift = self.stride % 64;
        let moves = format!(
            "{} bytes are no multiple of 64: the cache-line borders move by {shift} bytes from one to the next and repeat every {repeat} {unit}",
            self.stride
        );
        if self.per_row == 1 {
            format!(
                "{moves}; they are drawn row by row, thick where a pair of lines (128 bytes) begins."
            )
        } else {
            format!(
                "{moves}; a row is {} {unit}, so they are not drawn.",
                self.per_row
            )
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What the arrays of one map are sorted by to stand in the order of its growth: old buckets, then the
/// smaller array.
fn growth(grid: &Grid) -> (bool, bool, u64, u64) {
    let outside = grid.outside.is_some();
    (outside, !grid.array.old, grid.array.len, grid.array.array)
}

/// The grids of the costliest map in the order of its growth, then all others.
pub fn by_growth<'a, 'b>(grids: &'b [Grid<'a>]) -> Vec<&'b Grid<'a>> {
    let costliest = grids.first().and_then(|grid| grid.array.map);
    let own = |grid: &&Grid| costliest.is_some() && grid.array.map == costliest;
    let mut sorted: Vec<&Grid> = grids.iter().collect();
    sorted.sort_by_key(|grid| match own(grid) {
        true => (0, growth(grid)),
        false => (1, (false, false, 0, 0)),
    });
    sorted
}

/// Of each map the keys, and the elems, that lie outside of its buckets or groups, costliest first.
fn outside<'a>(data: &'a Data) -> Vec<Grid<'a>> {
    let mut by_part = BTreeMap::<(Option<u64>, &str), Vec<&OutsideRow>>::new();
    for row in &data.outside {
        let key = (row.map, row.part.as_str());
        by_part.entry(key).or_default().push(row);
    }
    let mut all: Vec<(Measures, Grid)> = Vec::new();
    for ((map, part), rows) in by_part {
        let sum = rows
            .iter()
            .fold(Measures::default(), |sum, row| sum.plus(&row.m));
        let furthest = rows.iter().map(|row| row.off.saturating_add(1)).max();
        let size = rows.iter().find_map(|row| row.size);
        let stride = size.or(furthest).unwrap_or(1).max(1);
        let mut per_column = 1u64;
        while stride.div_ceil(per_column) > MOST_BYTES {
            per_column = per_column.saturating_mul(2);
        }
        let mut begins: Vec<Option<u64>> = rows.iter().map(|row| row.in_pair).collect();
        // What is not known goes last.
        begins.sort_unstable_by_key(|at| (at.is_none(), *at));
        begins.dedup();
        let mut cells = BTreeMap::<(u64, u64), Measures>::new();
        for row in rows.iter().filter(|row| row.off < stride) {
            let Some(at) = begins.iter().position(|at| *at == row.in_pair) else {
                continue;
            };
            let sum = cells
                .entry((at as u64, row.off / per_column * per_column))
                .or_default();
            *sum = sum.plus(&row.m);
        }
        let array = ArrayRow {
            array: u64::MAX,
            map,
            base: None,
            stride: Some(stride),
            len: begins.len() as u64,
            width: 1,
            old: false,
            m: sum,
        };
        let grid = Grid {
            map: data.map(map),
            stride,
            per_row: 1,
            rows: array.len,
            cells,
            array,
            outside: Some(Outside {
                part: part.to_owned(),
                begins,
                per_column,
            }),
        };
        all.push((sum, grid));
    }
    all.sort_by_key(|(sum, _)| std::cmp::Reverse(sum.cost()));
    all.truncate(MOST_OUTSIDE);
    all.into_iter().map(|(_, grid)| grid).collect()
}

/// The costliest arrays as grids, then what lies outside of them, and what was left out.
pub fn grids<'a>(data: &'a Data) -> (Vec<Grid<'a>>, Option<String>) {
    let mut cells = BTreeMap::<u64, Vec<&CellRow>>::new();
    for cell in &data.cells {
        cells.entry(cell.array).or_default().push(cell);
    }
    let of = |&number: &u64| data.arrays.iter().filter(move |a| a.array == number);
    let mut drawn = 0;
    let mut grids = Vec::new();
    for array in data.costliest.iter().flat_map(of) {
        let rows = cells.get(&array.array).map_or(&[][..], Vec::as_slice);
        let grid = grid(data, array, rows);
        drawn += grid.cells.len();
        if drawn > MOST_CELLS && !grids.is_empty() {
            break;
        }
        grids.push(grid);
    }
    let note = (grids.len() < data.with_cells).then(|| {
        format!(
            "Shown: the {} costliest of {} arrays that were hit; the tables above count all of them.",
            count(grids.len() as u64),
            count(data.with_cells as u64)
        )
    });
    grids.extend(outside(data));
    (grids, note)
}

fn grid<'a>(data: &'a Data, array: &ArrayRow, cells: &[&CellRow]) -> Grid<'a> {
    let map = data.map(array.map);
    let furthest = cells
        .iter()
        .map(|c| c.off.saturating_add(1))
        .max()
        .unwrap_or(1);
    let stride = array
        .stride
        .or(map.and_then(|m| m.geometry).map(|g| g.stride));
    let stride = stride.unwrap_or(furthest).clamp(1, MOST_BYTES);
    let len = cells
        .iter()
        .map(|c| c.index.saturating_add(1))
        .max()
        .unwrap_or(1)
        .max(array.len);
    let mut per_row = array.width;
    while len.div_ceil(per_row) > MOST_ROWS {
        per_row = per_row.saturating_mul(2);
    }
    let mut sums = BTreeMap::<(u64, u64), Measures>::new();
    for cell in cells.iter().filter(|c| c.off < stride) {
        let sum = sums.entry((cell.index / per_row, cell.off)).or_default();
        *sum = sum.plus(&cell.m);
    }
    Grid {
        array: array.clone(),
        outside: None,
        map,
        stride,
        per_row,
        rows: len.div_ceil(per_row),
        cells: sums,
    }
}

/// The parts of a bucket or group in the order of their offsets.
pub fn segments(g: &Geometry) -> Vec<Segment> {
    let segment = |part, slot, start: u64, bytes: u64| Segment {
        part,
        slot,
        start,
        end: start.saturating_add(bytes).min(g.stride),
    };
    let at = |off: u64, stride: u64, slot: u64| off.saturating_add(stride.saturating_mul(slot));
    let mut all = vec![segment(
        if g.swiss { "ctrl" } else { "tophash" },
        None,
        0,
        8,
    )];
    // In interleaved groups a key's stride spans the elem too.
    let interleaved = g.swiss && g.elem_off < at(g.key_off, g.key_stride, 1);
    let (key_bytes, elem_bytes) = if interleaved {
        let key = g.elem_off.saturating_sub(g.key_off);
        (key, g.elem_stride.saturating_sub(key))
    } else {
        (g.key_stride, g.elem_stride)
    };
    for slot in 0..8 {
        all.push(segment(
            "key",
            Some(slot),
            at(g.key_off, g.key_stride, slot),
            key_bytes,
        ));
        all.push(segment(
            "elem",
            Some(slot),
            at(g.elem_off, g.elem_stride, slot),
            elem_bytes,
        ));
    }
    if !g.swiss {
        all.push(segment("overflow", None, g.stride.saturating_sub(8), 8));
    }
    all.retain(|s| s.end > s.start);
    all.sort_by_key(|s| (s.start, s.end));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(g: &Geometry) -> Vec<(&'static str, Option<u64>, u64, u64)> {
        segments(g)
            .iter()
            .map(|s| (s.part, s.slot, s.start, s.end))
            .collect()
    }

    /// `map[uint64]uint64` of Go 1.22: 8 + 8 * 8 + 8 * 8 + 8 = 144 bytes.
    #[test]
    fn a_classic_bucket_is_tophash_keys_elems_overflow() {
        let g = Geometry {
            swiss: false,
            stride: 144,
            key_off: 8,
            key_stride: 8,
            elem_off: 72,
            elem_stride: 8,
        };
        let parts = parts(&g);
        assert_eq!(parts.len(), 18);
        assert_eq!(parts[0], ("tophash", None, 0, 8));
        assert_eq!(parts[1], ("key", Some(0), 8, 16));
        assert_eq!(parts[9], ("elem", Some(0), 72, 80));
        assert_eq!(parts[17], ("overflow", None, 136, 144));
    }

    /// `map[uint32]uint64` of Go 1.24: a slot is 4 bytes of key, 4 of padding, 8 of elem.
    #[test]
    fn an_interleaved_group_alternates_keys_and_elems() {
        let g = Geometry {
            swiss: true,
            stride: 136,
            key_off: 8,
            key_stride: 16,
            elem_off: 16,
            elem_stride: 16,
        };
        let parts = parts(&g);
        assert_eq!(parts.len(), 17);
        assert_eq!(
            parts[1..4],
            [
                ("key", Some(0), 8, 16),
                ("elem", Some(0), 16, 24),
                ("key", Some(1), 24, 32)
            ]
        );
    }

    /// `map[uint64]struct{}`: an elem of no bytes is not drawn.
    #[test]
    fn an_empty_elem_has_no_segment() {
        let g = Geometry {
            swiss: false,
            stride: 80,
            key_off: 8,
            key_stride: 8,
            elem_off: 72,
            elem_stride: 0,
        };
        assert_eq!(parts(&g).iter().filter(|p| p.0 == "elem").count(), 0);
    }

    #[test]
    fn cache_line_borders_follow_the_base_and_the_index() {
        let array = ArrayRow {
            array: 0,
            map: None,
            base: Some(0xc000_0010),
            stride: Some(144),
            len: 8,
            width: 1,
            old: false,
            m: Measures::default(),
        };
        let grid = |array: &ArrayRow| Grid {
            array: array.clone(),
            outside: None,
            map: None,
            stride: 144,
            per_row: 1,
            rows: 8,
            cells: BTreeMap::new(),
        };
        // 0x10 + 48 = 0x40; bucket 1 starts at 0xa0 = 2 * 64 + 32, so 32 bytes on; bucket 4 at 0x250.
        // 128-byte pairs begin at 0xc0000080: 112 bytes into bucket 0, 0xc0000100 is 96 into bucket 1;
        // bucket 4 begins at 0xc0000250, the pair at 0xc0000280 is 48 bytes on.
        let borders = |index| grid(&array).borders(index);
        assert_eq!(borders(0), Some(vec![(48, false), (112, true)]));
        assert_eq!(borders(1), Some(vec![(32, false), (96, true)]));
        assert_eq!(borders(4), Some(vec![(48, true), (112, false)]));
        assert!(
            grid(&array)
                .border_note()
                .contains("move by 16 bytes from one to the next and repeat every 4")
        );
        let unknown = ArrayRow {
            base: None,
            ..array.clone()
        };
        assert_eq!(grid(&unknown).borders(0), None);
    }

    #[test]
    fn an_object_outside_has_the_borders_of_the_place_where_it_begins() {
        let grid = Grid {
            array: ArrayRow {
                array: u64::MAX,
                map: None,
                base: None,
                stride: Some(208),
                len: 3,
                width: 1,
                old: false,
                m: Measures::default(),
            },
            outside: Some(Outside {
                part: "indirect_elem.elem".to_owned(),
                begins: vec![Some(0), Some(80), None],
                per_column: 1,
            }),
            map: None,
            stride: 208,
            per_row: 1,
            rows: 3,
            cells: BTreeMap::new(),
        };
        assert_eq!(
            grid.borders(0),
            Some(vec![(64, false), (128, true), (192, false)])
        );
        // 80 + 48 = 128.
        assert_eq!(
            grid.borders(1),
            Some(vec![(48, true), (112, false), (176, true)])
        );
        assert_eq!(grid.borders(2), None);
    }
}
