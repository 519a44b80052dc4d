//! `mempath order`: who did what to a map at the same time, in which order others may see it, and what
//! the program did not do itself.

use super::output::Output;
use super::{binaries, input};
use crate::analyses::access_path::{self, Path as AccessPath};
use crate::analyses::background::{Background, background};
use crate::analyses::concurrent::{Danger, Overlap, concurrent};
use crate::analyses::findings::{Found, findings};
use crate::analyses::lines::{Unit, lines};
use crate::analyses::memory_model::{Arch, Order, neighbours};
use crate::analyses::operations::{Bracket, operations};
use crate::analyses::stale;
use crate::analyses::touch::{Touch, Touches};
use crate::attribute::{Attribution, attribute};
use crate::tables::{Accesses, Finding, operation_name, phase_name, thousands};
use crate::terminal::Style;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

#[derive(Debug)]
pub struct Options {
    pub input: input::Options,
    /// Nanoseconds between two samples of one operation, at most.
    pub window_ns: u64,
    /// Rows of each list in text; JSON has all.
    pub most: usize,
    pub style: Style,
}

/// Accesses inside of an operation that are printed; JSON has all.
const INSIDE: usize = 4;

/// Version of the JSON.
const SCHEMA: u32 = 1;

#[derive(Debug, Serialize)]
struct Answer {
    schema: u32,
    modelled: Option<String>,
    /// Every access to the watched words was recorded, but for those that were lost.
    every_access: bool,
    lost: u64,
    window_ns: u64,
    maps: Vec<String>,
    operations: Vec<Bracket>,
    concurrent: Vec<Overlap>,
    /// Pairs of neighbouring accesses of one CPU and thread, by rule; null on other architectures.
    neighbours: Option<BTreeMap<Order, u64>>,
    background: Background,
    paths: Vec<AccessPath>,
    findings: Vec<Finding>,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut recording = input::read(&options.input)?;
    let binaries = binaries::open(&mut recording, &options.input)?;
    let attribution = attribute(
        &recording,
        &binaries.programs,
        &binaries.kernel,
        binaries.heap.as_ref(),
    );
    let accesses = Accesses::new(&recording, &attribution);
    let touches = Touches::new(&recording, &accesses).in_order();
    let operations = operations(&touches, &recording);
    let arch = recording.meta.arch.as_deref().and_then(Arch::of);
    let mut answer = Answer {
        schema: SCHEMA,
        modelled: recording.meta.modelled.clone(),
        every_access: !touches.is_empty() && touches.iter().all(|t| t.exact),
        lost: recording.gaps.iter().map(|gap| gap.lost).sum(),
        window_ns: options.window_ns,
        maps: attribution.maps.iter().map(|m| m.name.clone()).collect(),
        concurrent: concurrent(&touches, &operations, options.window_ns),
        operations,
        neighbours: arch.map(|arch| {
            let mut counts = BTreeMap::new();
            for pair in neighbours(arch, &touches, stale::WINDOW_NS) {
                *counts.entry(pair.order).or_default() += 1;
            }
            counts
        }),
        background: background(&touches),
        paths: access_path::paths(&touches),
        findings: Vec::new(),
    };
    answer.findings = findings(&Found {
        attribution: &attribution,
        operations: &answer.operations,
        concurrent: &answer.concurrent,
        background: &answer.background,
        paths: &answer.paths,
        lines: &lines(&recording, &attribution, Unit::Line, usize::MAX),
        every_access: answer.every_access,
    });
    Output::create(Path::new("-"))?.write(|out| match options.style {
        Style::Json => {
            serde_json::to_writer_pretty(&mut *out, &answer)?;
            out.write_all(b"\n")
        }
        Style::Text => {
            let by_n = touches.iter().map(|t| (t.n, t)).collect();
            Page {
                answer: &answer,
                attribution: &attribution,
                by_n,
                most: options.most,
            }
            .print(out)
        }
    })
}

struct Page<'a> {
    answer: &'a Answer,
    attribution: &'a Attribution,
    by_n: rustc_hash::FxHashMap<usize, &'a Touch<'a>>,
    most: usize,
}

impl Page<'_> {
    fn map(&self, map: u32) -> &str {
        let map = self.attribution.maps.get(map as usize);
        map.map_or("unknown map", |m| &m.name)
    }

    /// Function, line and part of a sample.
    fn what(&self, n: usize) -> String {
        let Some(touch) = self.by_n.get(&n) else {
            return "unknown".to_owned();
        };
        let part = touch.part.map_or("no part", |part| part.name());
        format!("{part}, {}", touch.code())
    }

    /// What another goroutine did, and when after the begin of the operation.
    fn inside(&self, n: usize, begin_ns: u64) -> String {
        let touch = self.by_n.get(&n);
        let after = touch.and_then(|t| t.time?.checked_sub(begin_ns));
        let tid = touch.and_then(|t| t.tid).unwrap_or(0);
        let after = after.map_or("?".to_owned(), thousands);
        format!("{after} ns later, thread {tid}: {}", self.what(n))
    }

    fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let answer = self.answer;
        if let Some(modelled) = &answer.modelled {
            writeln!(out, "{modelled}\n")?;
        }
        match (answer.every_access, answer.lost) {
            (true, 0) => writeln!(out, "Every access to the watched words, in order.")?,
            (true, lost) => writeln!(
                out,
                "Every access to the watched words, in order, but for {} that were lost: operations are \
                 left out where they may be of one (-m 1024 makes room).",
                thousands(lost),
            )?,
            (false, _) => writeln!(
                out,
                "Sampled order: any number of accesses may lie between two samples."
            )?,
        }
        for finding in answer.findings.iter().take(self.most) {
            writeln!(out, "* {} [{}]", finding.text, finding.evidence)?;
        }
        self.operations(out)?;
        self.concurrent(out)?;
        self.neighbours(out)?;
        self.background(out)?;
        self.paths(out)
    }

    fn operations(&self, out: &mut dyn Write) -> io::Result<()> {
        let all = &self.answer.operations;
        if all.is_empty() {
            return writeln!(
                out,
                "\nOperations: none can be told; that takes every access to a map's flags (mempath watch)."
            );
        }
        let mut kinds = BTreeMap::<_, Vec<u64>>::new();
        for bracket in all {
            let durations = kinds.entry((bracket.operation, bracket.map)).or_default();
            durations.extend(bracket.duration_ns());
        }
        writeln!(
            out,
            "\nWriting operations, from setting the flag to clearing it:"
        )?;
        for ((operation, map), mut durations) in kinds {
            durations.sort_unstable();
            let middle = durations.get(durations.len() / 2).copied().unwrap_or(0);
            writeln!(
                out,
                "  {:<8} {:>6} of {}, median {} ns",
                operation_name(operation),
                thousands(durations.len() as u64),
                self.map(map),
                thousands(middle),
            )?;
        }
        let odd = |b: &&Bracket| !b.between.is_empty() || !b.deviations.is_empty();
        for b in all.iter().filter(odd).take(self.most) {
            writeln!(
                out,
                "  {} ns: {} by thread {}, {} accesses of others inside; stores: {}",
                b.begin_ns,
                operation_name(b.operation),
                b.tid,
                b.between.len(),
                b.phases
                    .iter()
                    .map(|&p| phase_name(p))
                    .collect::<Vec<_>>()
                    .join(", "),
            )?;
            for &n in b.between.iter().take(INSIDE) {
                writeln!(out, "    inside: {}", self.inside(n, b.begin_ns))?;
            }
            for d in &b.deviations {
                writeln!(
                    out,
                    "    not in the source's order: {} after {} ({})",
                    phase_name(d.phase),
                    phase_name(d.after),
                    self.what(d.sample),
                )?;
            }
        }
        let inside = all.iter().filter(|b| !b.between.is_empty()).count();
        let deviating = all.iter().filter(|b| !b.deviations.is_empty()).count();
        writeln!(
            out,
            "  {inside} with accesses of others inside, {deviating} with stores out of the source's order"
        )
    }

    fn concurrent(&self, out: &mut dyn Write) -> io::Result<()> {
        let all = &self.answer.concurrent;
        if all.is_empty() {
            return writeln!(
                out,
                "\nConcurrent use: no operation of one thread was seen inside of another's on the same map."
            );
        }
        writeln!(
            out,
            "\nConcurrent use of one map, likeliest to crash first:"
        )?;
        for o in all.iter().take(self.most) {
            writeln!(
                out,
                "  {}: {} by thread {}, {} by thread {} inside of it, {} accesses; {} ({})\n    {}; {}",
                self.map(o.map),
                operation_name(o.operations.0),
                o.tids.0,
                operation_name(o.operations.1),
                o.tids.1,
                thousands(o.accesses),
                match o.danger {
                    Danger::FlagRead => "the flag was set, and was accessed",
                    Danger::FlagSet => "the flag was set",
                    Danger::FlagUnknown => "whether the flag was set is not recorded",
                },
                o.clash.fatal(),
                self.what(o.first.0),
                self.what(o.first.1),
            )?;
        }
        Ok(())
    }

    fn neighbours(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(counts) = &self.answer.neighbours else {
            return writeln!(out, "\nMemory model: the architecture is not known.");
        };
        writeln!(
            out,
            "\nMemory model: neighbouring samples of one CPU and thread:"
        )?;
        for (order, pairs) in counts {
            let seen = match order.is_kept() {
                true => "kept",
                false => "others may see the second first",
            };
            writeln!(out, "  {:>10} {seen}: {}", thousands(*pairs), order.why())?;
        }
        Ok(())
    }

    fn background(&self, out: &mut dyn Write) -> io::Result<()> {
        let found = &self.answer.background;
        let all: u64 = found.causes.values().map(|c| c.0).sum();
        writeln!(out, "\nTraffic on the memory of maps:")?;
        for (cause, (samples, cycles)) in &found.causes {
            let cycles = cycles.map_or(String::new(), |c| format!(", {} cycles", thousands(c)));
            writeln!(
                out,
                "  {:<14} {:>10} samples ({:.1} %){cycles}",
                cause.text(),
                thousands(*samples),
                100.0 * *samples as f64 / all.max(1) as f64,
            )?;
        }
        for (what, (during, otherwise)) in [("marking", &found.marking), ("growth", &found.growth)]
        {
            let Some((more, low, high)) = during.above(otherwise) else {
                writeln!(
                    out,
                    "  loads of the program during {what}: too few samples to compare"
                )?;
                continue;
            };
            writeln!(
                out,
                "  loads of the program during {what}: {more:+.1} cycles (95 % interval {low:+.1} to {high:+.1}; {} samples against {})",
                thousands(during.samples),
                thousands(otherwise.samples),
            )?;
        }
        Ok(())
    }

    fn paths(&self, out: &mut dyn Write) -> io::Result<()> {
        for path in self.answer.paths.iter().take(self.most) {
            let levels = path.levels.iter().map(|(level, e)| match e.mean() {
                Some(mean) => format!("{level} {} ({mean:.0} cycles)", thousands(e.loads)),
                None => format!("{level} {}", thousands(e.loads)),
            });
            let levels = levels.collect::<Vec<_>>().join(", ");
            writeln!(out, "\nLoads of {}: {levels}", self.map(path.map))?;
            for m in path.moves.iter().take(3) {
                writeln!(
                    out,
                    "  {} from {} as if from {}: {} sampled cycles less over {} loads",
                    m.part.name(),
                    m.from.name(),
                    m.to.name(),
                    thousands(m.saves as u64),
                    thousands(m.loads),
                )?;
            }
        }
        Ok(())
    }
}
