//! `mempath c2c`: the cache lines that CPUs share, with the maps in them, and loads that may have read
//! what was already overwritten.

use super::output::Output;
use super::progress::Progress;
use super::{binaries, input};
use crate::analyses::lines::{Entry, Line, Lines, Unit, lines};
use crate::analyses::stale::{Stale, stale};
use crate::attribute::{Attribution, NONE, attribute};
use crate::data_src::c2c::Stats;
use crate::recording::Recording;
use crate::tables::thousands;
use crate::terminal::Style;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;

#[derive(Debug)]
pub struct Options {
    pub input: input::Options,
    pub unit: Unit,
    /// Lines that are printed; JSON has all.
    pub most: usize,
    /// Of stale reads, nanoseconds.
    pub window_ns: u64,
    pub style: Style,
}

/// Of a line, in text: those with most HITM, then with most samples.
const ENTRIES: usize = 16;

/// Version of the JSON.
const SCHEMA: u32 = 1;

pub fn run(options: &Options) -> anyhow::Result<()> {
    let progress = Progress::new(options.style == Style::Text);
    let mut recording = progress.stage("reading the recording", || input::read(&options.input))?;
    let binaries = progress.stage("reading the binaries", || {
        binaries::open(&mut recording, &options.input)
    })?;
    let attribution = progress.stage("attributing samples", || {
        let heap = binaries.heap.as_ref();
        attribute(&recording, &binaries.programs, &binaries.kernel, heap)
    });
    let (found, stale) = progress.stage("looking at lines", || {
        (
            lines(&recording, &attribution, options.unit, usize::MAX),
            stale(&recording, &attribution, options.window_ns),
        )
    });
    Output::create(Path::new("-"))?.write(|out| match options.style {
        Style::Json => {
            let all = as_json(&found, &stale, &recording, &attribution, options);
            serde_json::to_writer_pretty(&mut *out, &all)?;
            out.write_all(b"\n")
        }
        Style::Text => {
            let page = page(&found, &stale, &recording, &attribution, options);
            out.write_all(page.as_bytes())
        }
    })
}

fn map_name(map: u32, attribution: &Attribution) -> Option<&str> {
    let map = (map != NONE).then(|| attribution.maps.get(map as usize))??;
    Some(&map.name)
}

/// Function and line of the innermost frame.
fn code(place: u32, attribution: &Attribution) -> String {
    let Some(place) = attribution.places.get(place as usize) else {
        return "[unknown]".to_owned();
    };
    let Some(frame) = place.frames.first() else {
        return format!("{:#x}", place.ip);
    };
    match (&frame.file, frame.line) {
        (Some(file), Some(line)) => {
            let file = file.rsplit('/').next().unwrap_or(file);
            format!("{} {file}:{line}", frame.function)
        }
        _ => frame.function.clone(),
    }
}

fn page(
    found: &Lines,
    stale: &Stale,
    recording: &Recording,
    attribution: &Attribution,
    options: &Options,
) -> String {
    let mut page = String::new();
    let n = thousands;
    if let Some(modelled) = &recording.meta.modelled {
        let _ = writeln!(page, "{modelled}\n");
    }
    let totals = &found.totals;
    let rows = [
        ("samples of memory accesses", totals.records),
        ("loads", totals.loads),
        ("  LFB hit", totals.lfb_hit),
        ("  L1 hit", totals.l1_hit),
        ("  L2 hit", totals.l2_hit),
        ("  LLC hit", totals.llc_hit),
        ("  local HITM", totals.local_hitm),
        ("  remote HITM", totals.remote_hitm),
        ("  remote hit", totals.remote_hit),
        (
            "  local, remote peer",
            totals.local_peer + totals.remote_peer,
        ),
        ("  local DRAM", totals.local_dram),
        ("  remote DRAM", totals.remote_dram),
        ("stores", totals.stores),
        ("  L1 hit", totals.store_l1_hit),
        ("  L1 miss", totals.store_l1_miss),
        ("  no level", totals.store_na),
        ("locked", totals.locks),
    ];
    for (what, samples) in rows {
        let _ = writeln!(page, "{what:<28}{:>14}", n(samples));
    }
    let bytes = options.unit.bytes();
    let _ = match found.tells_hitm {
        true => writeln!(
            page,
            "\n{} lines of {bytes} bytes were found modified in another cache, by {} loads; {} samples are of them.",
            n(found.shared_lines),
            n(totals.hitm()),
            n(found.shared.records),
        ),
        false => writeln!(
            page,
            "\nNo sample tells that a line was modified in another cache. {} lines of {bytes} bytes were stored to by one CPU and used by another.",
            n(found.lines.len() as u64),
        ),
    };
    for (rank, line) in found.lines.iter().take(options.most).enumerate() {
        print_line(&mut page, rank, line, found, attribution);
    }
    if found.lines.len() > options.most {
        let rest = (found.lines.len() - options.most) as u64;
        let _ = writeln!(page, "\n... and {} lines more (--lines)", n(rest));
    }
    print_stale(&mut page, stale, recording, attribution, options.most);
    page
}

/// Where the loads of a line were served, and what is known of its stores: what there is none of is
/// left out.
fn levels(stats: &Stats) -> String {
    let loads = [
        ("LFB", stats.lfb_hit),
        ("L1", stats.l1_hit),
        ("L2", stats.l2_hit),
        ("LLC", stats.llc_hit),
        ("local HITM", stats.local_hitm),
        ("remote HITM", stats.remote_hitm),
        ("remote hit", stats.remote_hit),
        ("local peer", stats.local_peer),
        ("remote peer", stats.remote_peer),
        ("local DRAM", stats.local_dram),
        ("remote DRAM", stats.remote_dram),
    ];
    let stores = [
        ("L1 hit", stats.store_l1_hit),
        ("L1 miss", stats.store_l1_miss),
        ("no level", stats.store_na),
    ];
    let told = |all: &[(&str, u64)]| {
        let all = all.iter().filter(|(_, samples)| *samples > 0);
        let all: Vec<String> = all
            .map(|(what, n)| format!("{what} {}", thousands(*n)))
            .collect();
        match all.is_empty() {
            true => "none".to_owned(),
            false => all.join(", "),
        }
    };
    format!("loads: {}; stores: {}", told(&loads), told(&stores))
}

fn print_line(
    page: &mut String,
    rank: usize,
    line: &Line,
    found: &Lines,
    attribution: &Attribution,
) {
    let stats = &line.stats;
    let share = match found.totals.hitm() {
        0 => String::new(),
        all => format!(" ({:.2} %)", 100.0 * stats.hitm() as f64 / all as f64),
    };
    let sharing = line
        .sharing
        .map_or("used by one CPU", |sharing| sharing.text());
    let _ = writeln!(
        page,
        "\n#{rank} {:#x}  {} HITM{share}, {} loads, {} stores; {}; {} threads\n  {sharing}",
        line.address,
        thousands(stats.hitm()),
        thousands(stats.loads),
        thousands(stats.stores),
        match found.tells_cpu {
            true => format!("CPUs read {:?}, write {:?}", line.readers, line.writers),
            false => "CPUs not sampled".to_owned(),
        },
        line.threads.len(),
    );
    let _ = writeln!(page, "  {}", levels(stats));
    let _ = match (&line.reader_nodes, &line.writer_nodes) {
        (Some(readers), Some(writers)) => {
            writeln!(page, "  NUMA nodes read {readers:?}, write {writers:?}")
        }
        _ => writeln!(page, "  NUMA nodes unknown"),
    };
    let _ = writeln!(
        page,
        "  {:>6} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8}  part, map, code",
        "offset", "HITM", "loads", "stores", "CPUs", "nodes", "c/HITM", "c/load",
    );
    let mut shown: Vec<&Entry> = line.entries.iter().collect();
    shown.sort_by_key(|e| std::cmp::Reverse((e.stats.hitm(), e.stats.records)));
    shown.truncate(ENTRIES);
    shown.sort_by_key(|e| e.offset);
    for entry in shown {
        let cycles = |mean: Option<f64>| mean.map_or("-".to_owned(), |mean| format!("{mean:.0}"));
        let hitm = entry.local_hitm.mean().or(entry.remote_hitm.mean());
        let what = match (&entry.part, map_name(entry.map, attribution)) {
            (Some(part), Some(map)) => format!("{part} of {map}"),
            (Some(part), None) => part.clone(),
            (None, _) => "no map, or not known".to_owned(),
        };
        let _ = writeln!(
            page,
            "  {:>#6x} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8}  {what}; {}",
            entry.offset,
            entry.stats.hitm(),
            entry.stats.loads,
            entry.stats.stores,
            match found.tells_cpu {
                true => entry.cpus().to_string(),
                false => "?".to_owned(),
            },
            entry.nodes().map_or("?".to_owned(), |nodes| {
                let nodes: Vec<String> = nodes.iter().map(u32::to_string).collect();
                nodes.join(" ")
            }),
            cycles(hitm),
            cycles(entry.load.mean()),
            code(entry.place, attribution),
        );
    }
    if line.entries.len() > ENTRIES {
        let rest = (line.entries.len() - ENTRIES) as u64;
        let _ = writeln!(
            page,
            "  ... and {} instructions and bytes more (--format json)",
            thousands(rest)
        );
    }
}

fn print_stale(
    page: &mut String,
    stale: &Stale,
    recording: &Recording,
    attribution: &Attribution,
    most: usize,
) {
    let (window, clocks, loads, pairs) = match stale {
        Stale::CannotTell(missing) => {
            let _ = writeln!(page, "\nStale reads: cannot be told, {}.", missing.text());
            return;
        }
        Stale::Found {
            window_ns,
            clocks,
            loads,
            pairs,
        } => (window_ns, clocks, loads, pairs),
    };
    let _ = writeln!(
        page,
        "\nStale reads: {} of {} loads that their own L1 or LFB served retired within {window} ns after a store of another CPU to the same bytes, and may have read the value before it.\n  clock {}, in steps of {} ns, {} samples out of order on their CPU; a PMU that buffers samples gives the time of each, not of the flush",
        thousands(pairs.len() as u64),
        thousands(*loads),
        clocks.clock.as_deref().unwrap_or("not named (perf's own)"),
        clocks.granularity_ns,
        thousands(clocks.out_of_order),
    );
    for skew in clocks.skew.iter().take(most) {
        let [first, second] = skew.cpus;
        let _ = writeln!(
            page,
            "  by threads that moved, the clock of CPU {second} is ahead of CPU {first}'s by {} ns, give or take {}",
            skew.offset_ns,
            thousands(skew.error_ns),
        );
    }
    if clocks.skew.is_empty() {
        let _ = writeln!(
            page,
            "  no thread moved between two CPUs and back: how far their clocks are apart has no bound"
        );
    }
    for pair in pairs.iter().take(most) {
        let place = |i: usize| code(attribution.place.get(i).unwrap_or(NONE), attribution);
        let time = recording.samples.time.get(pair.load).unwrap_or(0);
        let what = match (&pair.part, map_name(pair.map, attribution)) {
            (Some(part), Some(map)) => format!("{part} of {map}"),
            (Some(part), None) => part.clone(),
            (None, _) => "no map, or not known".to_owned(),
        };
        let _ = writeln!(
            page,
            "  {time} ns: {:#x} {what}: CPU {} stored ({}), {} ns later CPU {} loaded ({})",
            pair.word,
            pair.store_cpu,
            place(pair.store),
            pair.after_ns,
            pair.load_cpu,
            place(pair.load),
        );
    }
}

fn as_json(
    found: &Lines,
    stale: &Stale,
    recording: &Recording,
    attribution: &Attribution,
    options: &Options,
) -> Value {
    let entry = |entry: &Entry| {
        json!({
            "offset": entry.offset,
            "ip": attribution.places.get(entry.place as usize).map(|place| format!("{:#x}", place.ip)),
            "code": code(entry.place, attribution),
            "part": entry.part,
            "map": map_name(entry.map, attribution),
            "stats": entry.stats,
            "cycles": {
                "remote_hitm": entry.remote_hitm.mean(),
                "local_hitm": entry.local_hitm.mean(),
                "load": entry.load.mean(),
            },
            "readers": entry.readers,
            "writers": entry.writers,
            "reader_nodes": entry.reader_nodes,
            "writer_nodes": entry.writer_nodes,
            "threads": entry.threads,
        })
    };
    let line = |line: &Line| {
        json!({
            "address": format!("{:#x}", line.address),
            "pid": line.pid,
            "stats": line.stats,
            "readers": line.readers,
            "writers": line.writers,
            "reader_nodes": line.reader_nodes,
            "writer_nodes": line.writer_nodes,
            "threads": line.threads,
            "sharing": line.sharing,
            "evidence": line.evidence,
            "entries": line.entries.iter().map(entry).collect::<Vec<_>>(),
        })
    };
    json!({
        "schema": SCHEMA,
        "recording": options.input.perf_data,
        "modelled": recording.meta.modelled,
        "line_bytes": options.unit.bytes(),
        "tells_hitm": found.tells_hitm,
        "tells_cpu": found.tells_cpu,
        "nodes": recording.meta.nodes,
        "totals": found.totals,
        "shared": found.shared,
        "shared_lines": found.shared_lines,
        "lines": found.lines.iter().map(line).collect::<Vec<_>>(),
        "stale": stale,
    })
}
