//! Which samples the frame `kept` holds: what a page filters by any column. All of them in a small
//! recording; of a large one a known share, spread over it.

use super::accesses::{Access, Accesses};
use super::aggregate::Totals;
use super::bits::Bits;
use super::columns as c;
use super::counts::Counts;
use super::frames::{column, count_columns, file_line, inner, outer, side_by_side};
use super::listing::offset;
use super::words::{operation_name, phase_name};
use crate::attribute::{Place, Reason};
use crate::data_src::Op;
use polars::prelude::{Column, DataFrame, IdxCa, PolarsResult};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

/// Rows of accesses in maps, and of all others.
pub const IN_MAPS: usize = 100_000;
pub const ELSEWHERE: usize = 25_000;

/// One row a kept access. `samples` and the counts beside it say how many accesses it stands for.
pub fn frame(accesses: &Accesses, totals: &Totals) -> PolarsResult<DataFrame> {
    let rows = numbers(totals);
    let all: Vec<Access> = rows.par_iter().map(|&(n, _)| accesses.get(n)).collect();
    let counts: Vec<Counts> = all
        .iter()
        .zip(&rows)
        .map(|(a, &(_, each))| {
            let mut one = a.kind.map_or(Counts::ONE, |kind| kind.counts);
            if let Some(cycles) = a.latency {
                one.latency_n = 1;
                one.latency_sum = cycles.into();
            }
            one.times(each)
        })
        .collect();
    macro_rules! of {
        ($column:expr, |$a:ident| $value:expr) => {
            &|| column($column, all.iter().map(|$a| $value).collect::<Vec<_>>())
        };
    }
    let own = || {
        side_by_side(&[
            of!(c::TIME, |a| a.time),
            of!(c::TID, |a| a.thread.map(|t| t.1)),
            of!(c::CPU, |a| a.cpu),
            of!(c::OP, |a| a.kind.and_then(|k| k.op).map(Op::name)),
            of!(c::LEVEL, |a| a.kind.and_then(|k| k.level_name.as_deref())),
            of!(c::LATENCY, |a| a.latency),
            of!(c::MAP, |a| a.map_id),
            of!(c::PART, |a| a.part.ok().map(crate::gomap::Part::name)),
            of!(c::ARRAY, |a| a.array),
            of!(c::INDEX, |a| a.index),
            of!(c::OFF, |a| a.off),
            of!(c::BASE, |a| a.base),
            of!(c::EVIDENCE, |a| a.evidence),
            of!(c::REASON, |a| a.part.err().map(Reason::name)),
        ])
    };
    let (mut columns, (of_places, counts)) = rayon::join(own, || {
        rayon::join(|| of_places(&all), || count_columns(&counts))
    });
    columns.extend(of_places?);
    columns.extend(counts);
    DataFrame::new(rows.len(), columns)
}

/// The columns that only the place of an access decides: made once for each place, and then the rows refer to
/// its texts.
fn of_places(all: &[Access]) -> PolarsResult<Vec<Column>> {
    let mut ids = FxHashMap::<u32, u32>::default();
    let mut places: Vec<&Place> = Vec::new();
    let rows = all.iter().map(|access| {
        let (id, place) = (access.place_id?, access.place?);
        Some(*ids.entry(id).or_insert_with(|| {
            places.push(place);
            places.len() as u32 - 1
        }))
    });
    let rows: IdxCa = rows.collect();
    macro_rules! of {
        ($column:expr, |$p:ident| $value:expr) => {
            column($column, places.iter().map(|$p| $value).collect::<Vec<_>>())
        };
    }
    let columns = vec![
        of!(c::IMAGE, |p| p.image.as_str()),
        of!(c::FUNCTION, |p| inner(p)),
        of!(c::OUTER, |p| outer(p)),
        of!(c::ON_BEHALF, |p| p.on_behalf.as_deref()),
        of!(c::CODE_OFF, |p| offset(p)),
        of!(c::FILE, |p| file_line(p).0),
        of!(c::LINE, |p| file_line(p).1),
        of!(c::OPERATION, |p| p.operation.map(operation_name)),
        of!(c::PHASE, |p| p.phase.map(phase_name)),
        of!(c::STEP, |p| p.step),
        of!(c::INSTRUCTION, |p| p.instruction.as_deref()),
    ];
    let columns = columns.into_par_iter().map(|column| column.take(&rows));
    columns.collect()
}

/// Row numbers in file order, each with the accesses it stands for.
fn numbers(totals: &Totals) -> Vec<(usize, u32)> {
    let of = |accesses: &Bits, most: usize| {
        let count = accesses.count();
        let each = count.div_ceil(most).max(1);
        let kept = accesses.ranked(spread(each).take_while(move |&rank| rank < count));
        let each = u32::try_from(each).unwrap_or(u32::MAX);
        kept.map(|i| (i, each)).collect::<Vec<_>>()
    };
    let mut kept = of(&totals.in_maps, IN_MAPS);
    kept.extend(of(&totals.elsewhere, ELSEWHERE));
    kept.sort_unstable();
    kept
}

/// One of each `each` in turn; which one is hashed from the turn, so that a program's own rhythm does not
/// decide it.
fn spread(each: usize) -> impl Iterator<Item = usize> {
    (0..).map(move |turn: usize| {
        // Knuth's multiplicative hash: its upper half.
        let hash = (turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        turn * each + hash as usize % each
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_turn_is_kept_and_not_always_the_same() {
        let kept: Vec<usize> = spread(4).take(100).collect();
        assert!(kept.iter().enumerate().all(|(turn, i)| i / 4 == turn));
        let places: std::collections::BTreeSet<usize> = kept.iter().map(|i| i % 4).collect();
        assert_eq!(places.len(), 4);
    }

    #[test]
    fn a_small_recording_is_kept_whole() {
        assert!(spread(1).take(9).eq(0..9));
    }
}
