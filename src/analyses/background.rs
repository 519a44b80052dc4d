//! What of the traffic on the memory of maps is not the program's own: the collector's marking, write
//! barriers, and growth; and whether the program's loads are slower while they run.

use super::touch::Touch;
use crate::attribute::{Operation, Phase, Place};
use crate::recording::partition_near;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// On whose account an access is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Program,
    Marking,
    WriteBarrier,
    Growth,
}

impl Cause {
    pub fn text(self) -> &'static str {
        match self {
            Cause::Program => "the program's",
            Cause::Marking => "GC marking",
            Cause::WriteBarrier => "write barriers",
            Cause::Growth => "growth",
        }
    }

    /// By the function whose code makes the access, and the operation that it is part of.
    pub fn of(touch: &Touch) -> Cause {
        let growth =
            touch.operation() == Some(Operation::Grow) || touch.phase() == Some(Phase::Evacuate);
        let frames = touch.place.map(|p| p.frames.as_slice()).unwrap_or_default();
        let inlined = frames.iter().map(|f| f.function.as_str());
        Cause::of_functions(growth, inlined.chain(touch.function()))
    }

    /// By whether the code is that of growth, and the functions that it is in.
    pub fn of_functions<'a>(
        growth: bool,
        functions: impl Iterator<Item = &'a str> + Clone,
    ) -> Cause {
        if growth {
            Cause::Growth
        } else if functions.clone().any(is_write_barrier) {
            Cause::WriteBarrier
        } else if functions.clone().any(is_marking) {
            Cause::Marking
        } else {
            Cause::Program
        }
    }
}

/// `runtime/mgcmark.go` and its neighbours, Go 1.18 to 1.27.
fn is_marking(function: &str) -> bool {
    const MARKING: [&str; 17] = [
        "runtime.scanobject",
        "runtime.scanObject",
        "runtime.scanblock",
        "runtime.scanSpan",
        "runtime.scanstack",
        "runtime.scanframe",
        "runtime.scanConservative",
        "runtime.greyobject",
        "runtime.tryDeferToSpanScan",
        "runtime.gcDrain",
        "runtime.gcDrainN",
        "runtime.gcAssistAlloc",
        "runtime.markroot",
        "runtime.gcmarknewobject",
        "runtime.gcBgMarkWorker",
        "runtime.spanScan",
        "runtime.(*gcWork)",
    ];
    MARKING.iter().any(|name| function.starts_with(name))
}

/// `runtime/mwbbuf.go`, `mbarrier.go`, `asm_*.s`.
fn is_write_barrier(function: &str) -> bool {
    const BARRIER: [&str; 6] = [
        "runtime.gcWriteBarrier",
        "gcWriteBarrier",
        "runtime.wbBufFlush",
        "runtime.(*wbBuf)",
        "runtime.bulkBarrierPreWrite",
        "runtime.wbMove",
    ];
    BARRIER.iter().any(|name| function.starts_with(name))
}

/// A mean with its 95 % interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Mean {
    pub samples: u64,
    pub mean: f64,
    variance: f64,
}

impl Mean {
    fn of(values: &[u32]) -> Mean {
        let n = values.len() as f64;
        if values.is_empty() {
            return Mean::default();
        }
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let squares = values.iter().map(|&v| (f64::from(v) - mean).powi(2));
        Mean {
            samples: values.len() as u64,
            mean,
            variance: squares.sum::<f64>() / (n - 1.0).max(1.0),
        }
    }

    /// How much greater this mean is than another, and the 95 % interval of that (normal
    /// approximation, variances not pooled); `None` under [`LEAST`] samples on either side.
    pub fn above(&self, other: &Mean) -> Option<(f64, f64, f64)> {
        if self.samples < LEAST || other.samples < LEAST {
            return None;
        }
        let error = self.variance / self.samples as f64 + other.variance / other.samples as f64;
        let spread = 1.959_963_984_540_054 * error.sqrt();
        let difference = self.mean - other.mean;
        Some((difference, difference - spread, difference + spread))
    }
}

/// Fewer samples than this on either side are compared with nothing.
pub const LEAST: u64 = 30;

/// Nanoseconds in which the collector or growth counts as running when one sample of it lies there.
pub const BIN_NS: u64 = 100_000;

/// What the samples on the memory of maps are due to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Background {
    /// Samples and sampled cycles on memory of maps, by cause; no cycles where no sample has a latency.
    pub causes: BTreeMap<Cause, (u64, Option<u64>)>,
    /// Latency of the program's loads of map memory while the collector marked, and while it did not.
    pub marking: (Mean, Mean),
    /// The same for growth.
    pub growth: (Mean, Mean),
    /// Stretches of [`BIN_NS`] in which marking was sampled, or growth of a map, in order of cause, map
    /// and time; stretches that meet are one.
    pub windows: Vec<Window>,
}

/// A stretch of time in which something other than the program was at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    pub cause: Cause,
    /// Index into `Attribution::maps` of the map that grew; `None` for the collector.
    pub map: Option<u32>,
    pub begin_ns: u64,
    pub end_ns: u64,
}

/// `in_order` are all accesses by time.
pub fn background(in_order: &[Touch]) -> Background {
    let mut found = Background::default();
    // In order, as the accesses are.
    let mut busy: BTreeMap<Cause, Vec<u64>> = BTreeMap::new();
    let mut at_work: BTreeSet<(Cause, Option<u32>, u64)> = BTreeSet::new();
    let bin = |touch: &Touch| touch.time.map(|t| t / BIN_NS);
    let causes = causes(in_order);
    let mut last = None;
    for (touch, &cause) in in_order.iter().zip(&causes) {
        // A barrier's flush is part of marking; where it runs the collector is on.
        let running = match cause {
            Cause::WriteBarrier => Cause::Marking,
            cause => cause,
        };
        let bins = busy.entry(running).or_default();
        bins.extend(bin(touch).filter(|bin| bins.last() != Some(bin)));
        let of_map = touch.map.filter(|_| running == Cause::Growth);
        if running != Cause::Program {
            let now = bin(touch).map(|bin| (running, of_map, bin));
            if now != last {
                at_work.extend(now);
                last = now;
            }
        }
        if touch.map.is_some() {
            let (samples, cycles) = found.causes.entry(cause).or_default();
            *samples += 1;
            if let Some(latency) = touch.latency {
                *cycles = Some(cycles.unwrap_or(0).saturating_add(latency.into()));
            }
        }
    }
    found.windows = windows(&at_work);
    let split = |cause| split(in_order, &causes, busy.get(&cause));
    (found.marking, found.growth) = rayon::join(|| split(Cause::Marking), || split(Cause::Growth));
    found
}

/// Each access's. Names are compared once for each place.
fn causes(touches: &[Touch]) -> Vec<Cause> {
    let known = FxHashMap::<*const Place, Cause>::default;
    let causes = touches.par_iter().map_init(known, |known, touch| {
        let place = touch.place.map_or(std::ptr::null(), std::ptr::from_ref);
        *known.entry(place).or_insert_with(|| Cause::of(touch))
    });
    causes.collect()
}

fn windows(at_work: &BTreeSet<(Cause, Option<u32>, u64)>) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    for &(cause, map, bin) in at_work {
        let begin_ns = bin.saturating_mul(BIN_NS);
        let end_ns = begin_ns.saturating_add(BIN_NS);
        match windows.last_mut() {
            Some(last) if (last.cause, last.map, last.end_ns) == (cause, map, begin_ns) => {
                last.end_ns = end_ns;
            }
            _ => windows.push(Window {
                cause,
                map,
                begin_ns,
                end_ns,
            }),
        }
    }
    windows
}

fn split(in_order: &[Touch], causes: &[Cause], busy: Option<&Vec<u64>>) -> (Mean, Mean) {
    let (mut during, mut else_) = (Vec::new(), Vec::new());
    let bins = busy.map_or(&[][..], Vec::as_slice);
    let mut at = 0;
    for (touch, cause) in in_order.iter().zip(causes) {
        let own = touch.map.is_some() && touch.is_load() && *cause == Cause::Program;
        let (true, Some(latency), Some(time)) = (own, touch.latency, touch.time) else {
            continue;
        };
        at = partition_near(bins, at, |bin| *bin < time / BIN_NS);
        match bins.get(at) == Some(&(time / BIN_NS)) {
            true => during.push(latency),
            false => else_.push(latency),
        }
    }
    (Mean::of(&during), Mean::of(&else_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribute::Place;
    use crate::data_src::Op;

    #[test]
    fn loads_during_marking_are_compared_with_the_others() {
        // Bin 0 has a sample of the collector, bin 1 none: 30 loads of 110 cycles (half 100, half 120)
        // against 30 of 60 (half 50, half 70). Both variances are 30 * 100 / 29, so that the difference
        // of 50 has a standard error of sqrt(2 * 100 / 29) = 2.626 and an interval of 50 +- 5.147.
        let marking = Place {
            function: Some("runtime.scanobject".to_owned()),
            ..Place::default()
        };
        let load = |time, latency| Touch {
            time: Some(time),
            op: Some(Op::Load),
            map: Some(0),
            latency: Some(latency),
            ..Touch::default()
        };
        let mut touches = vec![Touch {
            place: Some(&marking),
            map: Some(0),
            ..load(5, 40)
        }];
        for i in 0..30 {
            touches.push(load(10 + i, if i % 2 == 0 { 100 } else { 120 }));
            touches.push(load(BIN_NS + i, if i % 2 == 0 { 50 } else { 70 }));
        }
        let found = background(&touches);
        assert_eq!(found.causes[&Cause::Marking], (1, Some(40)));
        assert_eq!(
            found.causes[&Cause::Program],
            (60, Some(30 * 110 + 30 * 60))
        );
        let (more, low, high) = found.marking.0.above(&found.marking.1).unwrap();
        let rounded = [more, low, high].map(|v| (v * 1e3).round() / 1e3);
        assert_eq!(rounded, [50.0, 44.853, 55.147]);
        let windows: Vec<_> = found
            .windows
            .iter()
            .map(|w| (w.cause, w.map, w.begin_ns, w.end_ns))
            .collect();
        assert_eq!(windows, [(Cause::Marking, None, 0, BIN_NS)]);
        // No growth was sampled: nothing to compare with.
        assert_eq!(found.growth.0.above(&found.growth.1), None);
    }

    #[test]
    fn functions_of_the_runtime_are_told_by_name() {
        let cause = |function: &str| {
            let place = Place {
                function: Some(function.to_owned()),
                ..Place::default()
            };
            Cause::of(&Touch {
                place: Some(&place),
                ..Touch::default()
            })
        };
        assert_eq!(cause("runtime.greyobject"), Cause::Marking);
        assert_eq!(cause("runtime.gcWriteBarrier2"), Cause::WriteBarrier);
        assert_eq!(cause("runtime.bulkBarrierPreWrite"), Cause::WriteBarrier);
        assert_eq!(cause("main.scanobject"), Cause::Program);
    }
}
