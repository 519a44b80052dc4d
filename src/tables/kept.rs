//! Which samples the frame `kept` holds: what a page filters by any column. All of them in a small
//! recording; of a large one a known share, spread over it.

use super::accesses::{Access, Accesses};
use super::aggregate::Totals;
use super::columns as c;
use super::counts::Counts;
use super::frames::{column, count_columns, file_line, inner, outer};
use crate::attribute::{NONE, Reason};
use crate::data_src::Op;
use polars::prelude::{DataFrame, PolarsResult};
use rayon::prelude::*;

/// Rows of accesses in maps, and of all others.
pub const IN_MAPS: usize = 100_000;
pub const ELSEWHERE: usize = 25_000;

/// One row a kept access. `samples` and the counts beside it say how many accesses it stands for.
pub fn frame(accesses: &Accesses, totals: &Totals) -> PolarsResult<DataFrame> {
    let rows = numbers(accesses, totals);
    let all: Vec<Access> = rows.iter().map(|&(n, _)| accesses.get(n)).collect();
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
            column($column, all.iter().map(|$a| $value).collect::<Vec<_>>())
        };
    }
    let mut columns = vec![
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
        of!(c::IMAGE, |a| a.place.map(|p| p.image.as_str())),
        of!(c::FUNCTION, |a| a.place.and_then(inner)),
        of!(c::OUTER, |a| a.place.and_then(outer)),
        of!(c::ON_BEHALF, |a| a
            .place
            .and_then(|p| p.on_behalf.as_deref())),
        of!(c::CODE_OFF, |a| a.place.and_then(super::listing::offset)),
        of!(c::FILE, |a| a.place.and_then(|p| file_line(p).0)),
        of!(c::LINE, |a| a.place.and_then(|p| file_line(p).1)),
        of!(c::OPERATION, |a| a
            .place
            .and_then(|p| p.operation)
            .map(super::operation_name)),
        of!(c::PHASE, |a| a
            .place
            .and_then(|p| p.phase)
            .map(super::phase_name)),
        of!(c::STEP, |a| a.place.and_then(|p| p.step)),
        of!(c::INSTRUCTION, |a| a
            .place
            .and_then(|p| p.instruction.as_deref())),
    ];
    columns.extend(count_columns(&counts));
    DataFrame::new(rows.len(), columns)
}

/// Samples that one thread looks at, at a time.
const CHUNK: usize = 1 << 16;

/// Row numbers in file order, each with the accesses it stands for.
fn numbers(accesses: &Accesses, totals: &Totals) -> Vec<(usize, u32)> {
    let rows = &accesses.rows;
    let in_map = |part, map| match part {
        Err(Reason::NotAnAccess) => None,
        _ => Some(map != NONE),
    };
    let (mut inside, mut outside) = (0usize, 0usize);
    for (key, group) in &totals.groups {
        match in_map(key.part, key.map) {
            Some(true) => inside += group.rows as usize,
            Some(false) => outside += group.rows as usize,
            None => {}
        }
    }
    let inside = Spread::new(inside.div_ceil(IN_MAPS));
    let outside = Spread::new(outside.div_ceil(ELSEWHERE));
    let chunk = |first: usize| {
        let chunk = first..rows.len().min(first + CHUNK);
        chunk.filter_map(|i| Some((i, in_map(rows.part(i), rows.map(i))?)))
    };
    let chunks: Vec<usize> = (0..rows.len()).step_by(CHUNK).collect();
    let counts: Vec<[u64; 2]> = chunks
        .par_iter()
        .map(|&first| {
            let mut counts = [0; 2];
            chunk(first).for_each(|(_, inside)| counts[usize::from(inside)] += 1);
            counts
        })
        .collect();
    let mut before = [0; 2];
    let starts = chunks.iter().zip(counts).map(|(&first, counts)| {
        let start = before;
        before = [before[0] + counts[0], before[1] + counts[1]];
        (first, start)
    });
    let starts: Vec<(usize, [u64; 2])> = starts.collect();
    let kept = starts.into_par_iter().flat_map_iter(|(first, seen)| {
        let mut spreads = [outside.after(seen[0]), inside.after(seen[1])];
        chunk(first).filter_map(move |(i, inside)| {
            let spread = &mut spreads[usize::from(inside)];
            spread.keeps().then_some((i, spread.each))
        })
    });
    kept.collect()
}

/// Keeps one of each `each` in turn; which one is hashed from the turn, so that a program's own
/// rhythm does not decide it.
struct Spread {
    each: u32,
    seen: u64,
}

impl Spread {
    fn new(each: usize) -> Spread {
        Spread {
            each: u32::try_from(each).unwrap_or(u32::MAX).max(1),
            seen: 0,
        }
    }

    /// As it is when so many have been seen.
    fn after(&self, seen: u64) -> Spread {
        Spread {
            each: self.each,
            seen,
        }
    }

    fn keeps(&mut self) -> bool {
        let each = u64::from(self.each);
        let (turn, place) = (self.seen / each, self.seen % each);
        self.seen += 1;
        // Knuth's multiplicative hash: its upper half.
        (turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % each == place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_turn_is_kept_and_not_always_the_same() {
        let mut spread = Spread::new(4);
        let kept: Vec<usize> = (0..400).filter(|_| spread.keeps()).collect();
        assert_eq!(kept.len(), 100);
        assert!(kept.iter().enumerate().all(|(turn, i)| i / 4 == turn));
        let places: std::collections::BTreeSet<usize> = kept.iter().map(|i| i % 4).collect();
        assert_eq!(places.len(), 4);
    }

    #[test]
    fn a_small_recording_is_kept_whole() {
        let mut spread = Spread::new(0);
        assert_eq!((0..9).filter(|_| spread.keeps()).count(), 9);
    }
}
