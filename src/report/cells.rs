//! The heatmap's cells in finer bins than it draws: what it zooms into where the page's raw accesses are
//! only some of all.
//!
//! By grid the buckets or groups in one bin and the number of its cells, then [`planes`] of the
//! cells by grid, bin and byte. 0 is null; every other value is one more than what it stands for.

use super::ReportError;
use super::data::{Data, Measures};
use super::grid::{Grid, grids};
use super::html::Markup;
use super::planes;
use serde_json::json;
use std::collections::BTreeMap;

/// Cells of all grids together: they bound the page. Those of the ten million samples of `scripts/bench` have
/// 2.8 compressed bytes each.
const MOST_CELLS: usize = 150_000;

/// What is told of a cell.
type Value = fn(&Measures) -> Option<u64>;

const COLUMNS: [(&str, Value); 9] = [
    ("samples", |m| Some(m.samples)),
    ("loads", |m| Some(m.loads)),
    ("stores", |m| Some(m.stores)),
    ("l1_miss", |m| m.l1_miss),
    ("llc_miss", |m| m.llc_miss),
    ("hitm", |m| m.hitm),
    ("level_unknown", |m| Some(m.level_unknown)),
    ("latency_sum", |m| m.latency_sum),
    ("latency_n", |m| Some(m.latency_n)),
];

/// The cells of one grid by first index and byte.
struct Fine {
    width: u64,
    cells: BTreeMap<(u64, u64), Measures>,
}

impl Fine {
    /// Bins of twice as many buckets or groups.
    fn coarser(&mut self) {
        self.width = self.width.saturating_mul(2);
        let mut cells = BTreeMap::<(u64, u64), Measures>::new();
        for ((index, off), m) in std::mem::take(&mut self.cells) {
            let sum = cells
                .entry((index / self.width * self.width, off))
                .or_default();
            *sum = sum.plus(&m);
        }
        self.cells = cells;
    }
}

/// `None` where the raw accesses are all there are.
pub fn element(data: &Data) -> Result<Option<Markup>, ReportError> {
    if data.kept.whole() {
        return Ok(None);
    }
    let (grids, _) = grids(data);
    let fine = bounded(fine(data, &grids), MOST_CELLS);
    let cells = || fine.iter().flat_map(|grid| &grid.cells);
    let bins = fine.iter().flat_map(|grid| {
        let bins = grid.cells.keys();
        bins.map(|&(index, _)| index / grid.width + 1)
    });
    let mut columns = vec![
        ("bin", bins.collect::<Vec<u64>>()),
        ("off", cells().map(|(&(_, off), _)| off + 1).collect()),
    ];
    columns.extend(COLUMNS.map(|(name, value)| {
        let told = cells().map(|(_, m)| value(m).map_or(0, |n| n.saturating_add(1)));
        (name, told.collect())
    }));
    let columns: Vec<(&str, &[u64])> = columns
        .iter()
        .map(|(name, values)| (*name, values.as_slice()))
        .collect();
    let each = fine
        .iter()
        .map(|grid| json!([grid.width, grid.cells.len()]));
    let header = json!({"rows": cells().count(), "grids": each.collect::<Vec<_>>()});
    planes::element("cells", header, &columns).map(Some)
}

/// As fine as the frame has them. What lies outside of buckets and groups is drawn as it is.
fn fine(data: &Data, grids: &[Grid]) -> Vec<Fine> {
    let arrays = grids.iter().enumerate();
    let arrays = arrays.filter(|(_, grid)| grid.outside.is_none());
    let of_array: BTreeMap<u64, usize> = arrays.map(|(n, grid)| (grid.array.array, n)).collect();
    let mut all: Vec<Fine> = grids
        .iter()
        .map(|grid| Fine {
            width: grid.array.width,
            cells: BTreeMap::new(),
        })
        .collect();
    for cell in &data.cells {
        let Some(&n) = of_array.get(&cell.array) else {
            continue;
        };
        let (Some(grid), Some(fine)) = (grids.get(n), all.get_mut(n)) else {
            continue;
        };
        if cell.off < grid.stride {
            let bin = cell.index / fine.width * fine.width;
            let sum = fine.cells.entry((bin, cell.off)).or_default();
            *sum = sum.plus(&cell.m);
        }
    }
    all
}

/// Coarser where there are most cells, until there are few enough.
fn bounded(mut all: Vec<Fine>, most: usize) -> Vec<Fine> {
    let count = |all: &[Fine]| all.iter().map(|grid| grid.cells.len()).sum::<usize>();
    while count(&all) > most {
        let fullest = all
            .iter_mut()
            .filter(|grid| grid.width < 1 << 32)
            .max_by_key(|grid| grid.cells.len());
        match fullest {
            Some(grid) => grid.coarser(),
            None => break,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one() -> Measures {
        Measures {
            samples: 1,
            ..Measures::default()
        }
    }

    /// 8 buckets of 2 bytes and 3 of 4: 28 cells. In twos the first has 8, and 20 are left.
    #[test]
    fn the_fullest_grid_is_the_first_to_become_coarser() {
        let grid = |buckets: u64, bytes: u64| {
            let places = (0..buckets).flat_map(|index| (0..bytes).map(move |off| (index, off)));
            Fine {
                width: 1,
                cells: places.map(|place| (place, one())).collect(),
            }
        };
        let widths = |most| {
            let fine = bounded(vec![grid(8, 2), grid(3, 4)], most);
            let counted = |grid: &Fine| grid.cells.values().map(|m| m.samples).sum::<u64>();
            let total: u64 = fine.iter().map(counted).sum();
            assert_eq!(total, 28);
            fine.iter().map(|grid| grid.width).collect::<Vec<_>>()
        };
        assert_eq!(widths(28), [1, 1]);
        assert_eq!(widths(27), [2, 1]);
        assert_eq!(widths(20), [2, 1]);
        // 12 cells against 8: 3 buckets become 2, of 4 bytes.
        assert_eq!(widths(19), [2, 2]);
    }
}
