//! All analyses of one recording, told in the words of `tables::together`: what a report shows of them.

use super::access_path::{Path, paths};
use super::background::{self, Background, background};
use super::concurrent::{self, Danger, Overlap, concurrent};
use super::findings::Found;
use super::lines::{Unit, lines};
use super::memory_model::{Arch, Neighbours, neighbours};
use super::operations::{Bracket, operations};
use super::stale::{self, stale};
use super::touch::{Touch, Touches, first_accesses};
use crate::attribute::Attribution;
use crate::data_src::Op;
use crate::recording::Recording;
use crate::tables::columns as c;
use crate::tables::together::{
    Bracketed, Cause, Intruder, Move, OperationKind, Overlapping, Rule, Slowdown, Stale, StalePair,
    Together, Touched, Window,
};
use crate::tables::{
    Accesses, MOST_FINDINGS, Tables, clopper_pearson, operation_name, phase_name, read,
};
use polars::prelude::{Column, NamedFrom, PolarsResult, Series};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Accesses that are looked at, the first of the file: what is kept of each is some 120 bytes.
const MOST: usize = 1 << 20;
/// Entries of each list.
const BRACKETS: usize = 1_000;
const INTRUDERS: usize = 8;
const OVERLAPS: usize = 100;
const PAIRS: usize = 100;
const WINDOWS: usize = 1_000;
/// Maps with what-ifs, and what-ifs of one map.
const MAPS: usize = 40;
const MOVES: usize = 3;

/// How far apart two samples may be, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// A load after another CPU's store, that may have read the value before it.
    pub stale_ns: u64,
    /// Two samples of one thread in one operation.
    pub operation_ns: u64,
}

impl Default for Windows {
    fn default() -> Self {
        Windows {
            stale_ns: stale::WINDOW_NS,
            operation_ns: concurrent::WINDOW_NS,
        }
    }
}

/// The stale reads among all accesses.
pub fn stale_reads(recording: &Recording, attribution: &Attribution, within: Windows) -> Stale {
    let accesses = Accesses::new(recording, attribution);
    let all = Touches::new(recording, &accesses);
    Told { all: &all }.stale(recording, attribution, within.stale_ns)
}

/// Of recording and attribution no more is left afterwards than what [`add`] looks at.
pub fn shorten(recording: &mut Recording, attribution: &mut Attribution) {
    if let (MOST, looked_at) = first_accesses(recording, MOST) {
        recording.samples.shorten(looked_at);
        attribution.shorten(looked_at);
    }
}

/// Runs all other analyses, and adds what they and `stale` found to the summary, its findings and the
/// frame `order`.
pub fn add(
    tables: &mut Tables,
    recording: &Recording,
    attribution: &Attribution,
    stale: Stale,
    within: Windows,
) -> PolarsResult<()> {
    let accesses = Accesses::new(recording, attribution);
    let all = Touches::new(recording, &accesses);
    let told = Told { all: &all };
    let (lines, touches) = rayon::join(
        || lines(recording, attribution, Unit::Line, MOST),
        || all.first_in_order(MOST),
    );
    let writing = || {
        let brackets = operations(&touches, recording);
        let overlaps = concurrent(&touches, &brackets, within.operation_ns);
        (brackets, overlaps)
    };
    let arch = recording.meta.arch.as_deref().and_then(Arch::of);
    let pairs = || {
        arch.map_or_else(Vec::new, |arch| {
            neighbours(arch, &touches, stale::WINDOW_NS)
        })
    };
    let (background, ((brackets, overlaps), (paths, pairs))) = rayon::join(
        || background(&touches),
        || rayon::join(writing, || rayon::join(|| paths(&touches), pairs)),
    );
    let every_access = !touches.is_empty() && touches.iter().all(|t| t.exact);

    let found = Found {
        attribution,
        operations: &brackets,
        concurrent: &overlaps,
        background: &background,
        paths: &paths,
        lines: &lines,
        every_access,
    };
    let mut findings = found.urgent();
    let mut slow = found.slow();
    slow.append(&mut tables.summary.findings);
    slow.sort_by(|a, b| (Reverse(a.at_stake), &a.text).cmp(&(Reverse(b.at_stake), &b.text)));
    findings.append(&mut slow);
    findings.truncate(MOST_FINDINGS);
    tables.summary.findings = findings;

    for column in order_columns(tables, &pairs)? {
        tables.order.with_column(column)?;
    }
    *tables.summary.together = Together {
        looked_at: touches.len() as u64,
        accesses: tables.summary.overall.samples,
        every_access,
        window_ns: within.operation_ns,
        operations: kinds(&brackets),
        brackets: told.brackets(&brackets),
        overlaps: overlaps
            .iter()
            .take(OVERLAPS)
            .map(|o| told.overlap(o))
            .collect(),
        overlap_kinds: overlaps.len() as u64,
        causes: causes(&background),
        slowdowns: slowdowns(&background),
        windows: windows(&background),
        moves: paths.iter().take(MAPS).flat_map(moves).collect(),
        stale,
        rules: rules(&pairs),
    };
    Ok(())
}

/// Columns of `order`: the neighbour before, and the rule that orders the two.
fn order_columns(tables: &Tables, pairs: &[Neighbours]) -> PolarsResult<[Column; 2]> {
    let rows = read::numbers(&tables.order, c::N)?;
    let known: FxHashSet<u64> = rows.iter().copied().flatten().collect();
    let before: FxHashMap<u64, &Neighbours> = pairs
        .iter()
        .filter(|p| known.contains(&(p.first as u64)))
        .map(|pair| (pair.second as u64, pair))
        .collect();
    let of = |n: &Option<u64>| before.get(&(*n)?).copied();
    let after: Vec<Option<u32>> = rows.iter().map(|n| Some(of(n)?.first as u32)).collect();
    let rule: Vec<Option<&str>> = rows.iter().map(|n| Some(of(n)?.order.name())).collect();
    Ok([
        Column::from(Series::new(c::AFTER.name.into(), after)),
        Column::from(Series::new(c::RULE.name.into(), rule)),
    ])
}

fn rules(pairs: &[Neighbours]) -> Vec<Rule> {
    let mut counts = BTreeMap::new();
    for pair in pairs {
        *counts.entry(pair.order).or_default() += 1;
    }
    let all = counts.into_iter().map(|(order, pairs)| Rule {
        name: order.name().to_owned(),
        kept: order.is_kept(),
        why: order.why().to_owned(),
        pairs,
    });
    all.collect()
}

struct Told<'a> {
    all: &'a Touches<'a>,
}

impl Told<'_> {
    fn touched(&self, n: usize) -> Touched {
        let touch = self.all.get(n);
        touch.map_or_else(Touched::default, |t| touched(&t))
    }

    /// The first in time, and all that are odd.
    fn brackets(&self, all: &[Bracket]) -> Vec<Bracketed> {
        let odd = |b: &Bracket| !b.between.is_empty() || !b.deviations.is_empty();
        let odd_ones = all.iter().filter(|b| odd(b)).count().min(BRACKETS);
        let mut plain = BRACKETS - odd_ones;
        let chosen = all.iter().filter(|b| {
            let even = !odd(b);
            let room = plain > 0;
            plain -= usize::from(even && room);
            !even || room
        });
        chosen.take(BRACKETS).map(|b| self.bracket(b)).collect()
    }

    fn bracket(&self, b: &Bracket) -> Bracketed {
        let intruders = b.between.iter().filter_map(|n| self.all.get(*n));
        let intruders = intruders.take(INTRUDERS).filter_map(|t| {
            Some(Intruder {
                time_ns: t.time?,
                tid: t.tid?.into(),
                what: touched(&t),
            })
        });
        let names = |phase| phase_name(phase).to_owned();
        let own = b.samples.iter().filter_map(|n| self.all.get(*n));
        let growth = own.filter(|t| background::Cause::of(t) == background::Cause::Growth);
        let times: Vec<u64> = growth.filter_map(|t| t.time).collect();
        Bracketed {
            operation: operation_name(b.operation).to_owned(),
            map: b.map.into(),
            tid: b.tid.into(),
            begin_ns: b.begin_ns,
            end_ns: b.end_ns,
            phases: b.phases.iter().map(|&phase| names(phase)).collect(),
            between: b.between.len() as u64,
            intruders: intruders.collect(),
            deviations: b
                .deviations
                .iter()
                .map(|d| (names(d.phase), names(d.after)))
                .collect(),
            growth_ns: times.first().copied().zip(times.last().copied()),
        }
    }

    fn overlap(&self, o: &Overlap) -> Overlapping {
        let name = |operation| operation_name(operation).to_owned();
        let flag = match o.danger {
            Danger::FlagRead => "set, and accessed by the other thread",
            Danger::FlagSet => "set",
            Danger::FlagUnknown => "not recorded",
        };
        Overlapping {
            map: o.map.into(),
            fatal: o.clash.fatal().to_owned(),
            flag: flag.to_owned(),
            tids: (o.tids.0.into(), o.tids.1.into()),
            operations: (name(o.operations.0), name(o.operations.1)),
            accesses: o.accesses,
            first: (self.touched(o.first.0), self.touched(o.first.1)),
        }
    }

    fn stale(&self, recording: &Recording, attribution: &Attribution, window_ns: u64) -> Stale {
        let (clocks, loads, mut pairs) = match stale(recording, attribution, window_ns) {
            stale::Stale::CannotTell(missing) => {
                return Stale {
                    cannot_tell: Some(missing.text().to_owned()),
                    window_ns,
                    ..Stale::default()
                };
            }
            stale::Stale::Found {
                clocks,
                loads,
                pairs,
                ..
            } => (clocks, loads, pairs),
        };
        let found = pairs.len() as u64;
        pairs.sort_by_key(|pair| (pair.after_ns, pair.load));
        let pairs = pairs.into_iter().take(PAIRS).map(|pair| StalePair {
            map: (pair.map != crate::attribute::NONE).then_some(pair.map.into()),
            part: pair.part,
            word: pair.word,
            after_ns: pair.after_ns,
            level: pair.level.name().into_owned(),
            store_cpu: pair.store_cpu.into(),
            load_cpu: pair.load_cpu.into(),
            store: self.touched(pair.store),
            load: self.touched(pair.load),
        });
        Stale {
            cannot_tell: None,
            window_ns,
            clock: clocks.clock,
            granularity_ns: clocks.granularity_ns,
            out_of_order: clocks.out_of_order,
            skew: clocks.skew,
            loads,
            found,
            pairs: pairs.collect(),
        }
    }
}

fn touched(touch: &Touch) -> Touched {
    let owned = |text: &str| text.to_owned();
    let (file, line) = touch.place.map_or((None, None), crate::tables::file_line);
    Touched {
        op: touch.op.map(Op::name).map(owned),
        part: touch.part.map(|part| owned(part.name())),
        operation: touch.operation().map(|o| owned(operation_name(o))),
        function: touch.place.and_then(crate::tables::inner).map(owned),
        file: file.map(owned),
        line: line.map(u64::from),
    }
}

fn kinds(brackets: &[Bracket]) -> Vec<OperationKind> {
    let mut kinds = BTreeMap::<_, Vec<&Bracket>>::new();
    for bracket in brackets {
        kinds
            .entry((bracket.map, bracket.operation))
            .or_default()
            .push(bracket);
    }
    let all = kinds.into_iter().map(|((map, operation), all)| {
        let mut durations: Vec<u64> = all.iter().filter_map(|b| b.duration_ns()).collect();
        durations.sort_unstable();
        // Nearest rank.
        let quantile = |percent: usize| {
            let rank = (durations.len() * percent).div_ceil(100);
            durations.get(rank.saturating_sub(1)).copied()
        };
        let count = |odd: &dyn Fn(&Bracket) -> bool| all.iter().filter(|b| odd(b)).count() as u64;
        OperationKind {
            operation: operation_name(operation).to_owned(),
            map: map.into(),
            count: all.len() as u64,
            median_ns: quantile(50),
            p95_ns: quantile(95),
            interleaved: count(&|b| !b.between.is_empty()),
            deviating: count(&|b| !b.deviations.is_empty()),
        }
    });
    all.collect()
}

fn causes(background: &Background) -> Vec<Cause> {
    let all: u64 = background.causes.values().map(|(samples, _)| samples).sum();
    let causes = background
        .causes
        .iter()
        .map(|(cause, &(samples, cycles))| Cause {
            name: cause.text().to_owned(),
            samples,
            cycles,
            interval: clopper_pearson(samples, all),
        });
    causes.collect()
}

fn slowdowns(background: &Background) -> Vec<Slowdown> {
    [
        ("GC marking", &background.marking),
        ("growth", &background.growth),
    ]
    .map(|(during, (running, otherwise))| Slowdown {
        during: during.to_owned(),
        samples: running.samples,
        otherwise: otherwise.samples,
        more: running.above(otherwise),
    })
    .into()
}

/// Windows so near to each other that a page could not draw them apart become one.
fn windows(background: &Background) -> Vec<Window> {
    let all = &background.windows;
    let times = || all.iter().flat_map(|w| [w.begin_ns, w.end_ns]);
    let span = times().max().unwrap_or(0) - times().min().unwrap_or(0);
    let mut kept: Vec<Window> = Vec::new();
    for window in all {
        let what = window.cause.text();
        let map = window.map.map(u64::from);
        match kept.last_mut() {
            Some(last)
                if last.what == what
                    && last.map == map
                    && window.begin_ns <= last.end_ns.saturating_add(span / WINDOWS as u64) =>
            {
                last.end_ns = last.end_ns.max(window.end_ns);
            }
            _ => kept.push(Window {
                what: what.to_owned(),
                map,
                begin_ns: window.begin_ns,
                end_ns: window.end_ns,
            }),
        }
    }
    kept.truncate(WINDOWS);
    kept
}

fn moves(path: &Path) -> Vec<Move> {
    let best = path.moves.iter().take(MOVES).map(|m| Move {
        map: path.map.into(),
        part: m.part.name().to_owned(),
        from: m.from.name().into_owned(),
        to: m.to.name().into_owned(),
        loads: m.loads,
        saves: m.saves as u64,
    });
    best.collect()
}
