//! Several processes in one recording: what is learned of one's memory is not taken for another's,
//! although their heaps have the same addresses.

mod common;

use common::target::{Running, breakpoints, build};
use mempath::attribute::{Attribution, NONE, attribute};
use mempath::heap::Heap;
use mempath::program::Program;
use mempath::program::kernel::Kernel;
use mempath::recording::{Mapping, Recording, Regs, SpaceBuilder, read};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// One process's recording, with its program.
struct One {
    recording: Recording,
    program: Arc<Program>,
}

fn truth(set: &str, kind: &str, dir: &Path) -> Option<One> {
    let from = common::shared()?.join("truth").join(set);
    let packed = from.join(format!("perf.data.{kind}.zst"));
    let recording = read(&common::inflate(
        &packed,
        &dir.join(format!("{set}.{kind}")),
    ))
    .unwrap();
    let program = Program::open(&from.join("mapload.gz")).unwrap();
    let program = Arc::new(program);
    Some(One { recording, program })
}

fn programs(one: &One) -> Vec<Option<Arc<Program>>> {
    let images = one.recording.space.images.iter();
    let is = |path: &str| path.ends_with("/mapload");
    images
        .map(|image| is(&image.path).then(|| Arc::clone(&one.program)))
        .collect()
}

fn alone(one: &One, heap: Option<&Heap>) -> Attribution {
    attribute(&one.recording, &programs(one), &Kernel::default(), heap)
}

/// Both, as if they had been recorded at the same time: the second with other pids.
const SHIFT: i32 = 1_000_000;

fn together(a: &One, b: &One) -> (Recording, Vec<Option<Arc<Program>>>) {
    let (from, to) = (&b.recording.samples, &a.recording.samples);
    let first = |r: &Recording| r.samples.time.iter().min().unwrap();
    let later = first(&a.recording).wrapping_sub(first(&b.recording));
    let mut all = Recording {
        meta: a.recording.meta.clone(),
        events: a.recording.events.clone(),
        ..Recording::default()
    };
    all.events.extend(b.recording.events.iter().cloned());
    let mut space = SpaceBuilder::default();
    let mut kept = Vec::new();
    for (one, shift, later) in [(a, 0, 0), (b, SHIFT, later)] {
        let images = &one.recording.space.images;
        // An image of its own for each: build ids of one file are the same.
        let ids: Vec<u32> = images
            .iter()
            .map(|image| space.image(image.path.clone(), image.build_id.clone()))
            .collect();
        for (id, program) in ids.iter().zip(programs(one)) {
            kept.resize(kept.len().max(*id as usize + 1), None);
            kept[*id as usize] = kept[*id as usize].clone().or(program);
        }
        for mapping in &one.recording.space.mappings {
            space.map(Mapping {
                pid: if mapping.pid < 0 {
                    mapping.pid
                } else {
                    mapping.pid + shift
                },
                image: ids[mapping.image as usize],
                time: if mapping.time == 0 {
                    0
                } else {
                    mapping.time.wrapping_add(later)
                },
                ..mapping.clone()
            });
        }
    }
    all.space = space.finish();
    kept.resize(all.space.images.len(), None);
    let samples = &mut all.samples;
    samples.ip.values = to
        .ip
        .values
        .iter()
        .chain(&from.ip.values)
        .copied()
        .collect();
    let ips = to.ip.values.len() as u32;
    samples.ip.ids = to
        .ip
        .ids
        .iter()
        .chain(from.ip.ids.iter().map(|id| id + ips))
        .collect();
    let moved = from
        .thread
        .values
        .iter()
        .map(|(pid, tid)| (pid + SHIFT, tid + SHIFT));
    samples.thread.values = to.thread.values.iter().copied().chain(moved).collect();
    let threads = to.thread.values.len() as u32;
    let ids = from.thread.ids.iter().map(|id| id + threads);
    samples.thread.ids = to.thread.ids.iter().chain(ids).collect();
    samples.data_src.values = to.data_src.values.clone();
    samples.data_src.values.extend(&from.data_src.values);
    let words = to.data_src.values.len() as u32;
    let ids = from.data_src.ids.iter().map(|id| id + words);
    samples.data_src.ids = to.data_src.ids.iter().chain(ids).collect();
    samples.addr = to.addr.iter().chain(from.addr.iter()).collect();
    let times = from.time.iter().map(|time| time.wrapping_add(later));
    samples.time = to.time.iter().chain(times).collect();
    let events = a.recording.events.len() as u16;
    samples.event = to
        .event
        .iter()
        .chain(from.event.iter().map(|e| e + events))
        .collect();
    samples.weight = to.weight.iter().chain(from.weight.iter()).collect();
    samples.cpumode = to.cpumode.iter().chain(from.cpumode.iter()).collect();
    samples.chains = to.chains.clone();
    let chain = |i: usize| from.chain.get(i).unwrap_or(0);
    let chains: HashMap<u32, u32> = (0..from.len())
        .map(chain)
        .collect::<std::collections::BTreeSet<u32>>()
        .into_iter()
        .map(|id| (id, samples.chains.add(from.chains.get(id))))
        .collect();
    let of_b = (0..from.len()).map(|i| chains[&chain(i)]);
    let of_a = (0..to.len()).map(|i| to.chain.get(i).unwrap_or(0));
    samples.chain = of_a.chain(of_b).collect();
    let of_a = (0..to.len()).map(|i| (&a.recording, i));
    let of_b = (0..from.len()).map(|i| (&b.recording, i));
    let mut regs = Regs::default();
    for (of, i) in of_a.chain(of_b) {
        let values = (0..64).filter_map(|reg| of.processor(i).register(reg));
        let start = all.meta.file_size + regs.values.len() as u64;
        regs.values.extend(values);
        let any = start < all.meta.file_size + regs.values.len() as u64;
        regs.start.push(if any { start } else { u64::MAX });
    }
    samples.regs_intr = regs;
    (all, kept)
}

/// Samples of which anything differs, from `at` on in the second attribution; and where a map of one
/// is not one map of the other.
fn differing(one: &Attribution, all: &Attribution, at: usize) -> Vec<String> {
    let mut maps: BTreeMap<u32, u32> = BTreeMap::new();
    let mut differing = Vec::new();
    for i in 0..one.part.len() {
        let (a, b) = (one.hit(i), all.hit(at + i));
        let known = |map| (map != NONE).then_some(());
        if known(a.map).is_some() && known(b.map).is_some() {
            let other = *maps.entry(a.map).or_insert(b.map);
            if other != b.map {
                differing.push(format!("{i}: map {} is {} and {other}", a.map, b.map));
            }
        }
        let of_a = (
            one.part[i],
            a.base,
            a.off,
            a.index,
            a.slot,
            a.evidence,
            known(a.map),
        );
        let of_b = (
            all.part[at + i],
            b.base,
            b.off,
            b.index,
            b.slot,
            b.evidence,
            known(b.map),
        );
        if of_a != of_b {
            differing.push(format!("{i}: {of_a:?} {of_b:?}"));
        }
    }
    differing
}

/// Each map belongs to one process.
fn unshared(all: &Attribution, of_a: usize) {
    let maps = |samples: std::ops::Range<usize>| {
        let maps = samples.map(|i| all.hit(i).map).filter(|map| *map != NONE);
        maps.collect::<std::collections::BTreeSet<u32>>()
    };
    let (a, b) = (maps(0..of_a), maps(of_a..all.part.len()));
    assert!(!a.is_empty() && !b.is_empty());
    assert_eq!(a.intersection(&b).count(), 0);
}

/// The set's two recordings are of one run, with registers and without: with them nearly all is known,
/// at the same addresses and times, of which the other one must learn nothing.
fn one_program_twice(set: &str) {
    let dir = tempfile::tempdir().unwrap();
    let Some(plain) = truth(set, "plain", dir.path()) else {
        return;
    };
    let regs = truth(set, "regs", dir.path()).unwrap();
    let (recording, programs) = together(&plain, &regs);
    let all = attribute(&recording, &programs, &Kernel::default(), None);
    let of_plain = plain.recording.samples.len();
    unshared(&all, of_plain);
    let none: [String; 0] = [];
    assert_eq!(differing(&alone(&plain, None), &all, 0), none);
    assert_eq!(differing(&alone(&regs, None), &all, of_plain), none);
}

#[test]
fn two_processes_of_a_classic_program_are_attributed_as_each_alone() {
    one_program_twice("go1.22.10-twins");
}

#[test]
fn two_processes_of_a_swiss_program_are_attributed_as_each_alone() {
    one_program_twice("go1.27.3-twins");
}

/// Programs of two versions of Go: other layouts, types and operations at the same addresses.
#[test]
fn processes_of_two_programs_are_attributed_as_each_alone() {
    let dir = tempfile::tempdir().unwrap();
    let Some(classic) = truth("go1.22.10-twins", "plain", dir.path()) else {
        return;
    };
    let swiss = truth("go1.27.3-twins", "plain", dir.path()).unwrap();
    let (recording, programs) = together(&classic, &swiss);
    let all = attribute(&recording, &programs, &Kernel::default(), None);
    let of_classic = classic.recording.samples.len();
    unshared(&all, of_classic);
    let none: [String; 0] = [];
    assert_eq!(differing(&alone(&classic, None), &all, 0), none);
    assert_eq!(differing(&alone(&swiss, None), &all, of_classic), none);
}

/// A core of one of them says what it says of that one alone, and nothing of the other.
#[test]
fn a_core_is_of_its_process_alone() {
    let dir = tempfile::tempdir().unwrap();
    let set = "go1.22.10-twins";
    let Some(plain) = truth(set, "plain", dir.path()) else {
        return;
    };
    let regs = truth(set, "regs", dir.path()).unwrap();
    let from = common::shared().unwrap().join("truth").join(set);
    let core = common::core::inflated(&from, dir.path());
    let heap = Heap::read(&core, &[Arc::clone(&plain.program)], false).unwrap();
    let (recording, programs) = together(&plain, &regs);
    let all = attribute(&recording, &programs, &Kernel::default(), Some(&heap));
    assert!(!all.foreign_core);
    let of_plain = plain.recording.samples.len();
    let none: [String; 0] = [];
    assert_eq!(differing(&alone(&plain, Some(&heap)), &all, 0), none);
    assert_eq!(differing(&alone(&regs, None), &all, of_plain), none);

    let stranger = Heap {
        threads: vec![1],
        ..heap
    };
    let all = attribute(&recording, &programs, &Kernel::default(), Some(&stranger));
    assert!(all.foreign_core);
    assert_eq!(differing(&alone(&plain, None), &all, 0), none);
}

/// Two instances of one program, whose maps' headers are at one address, watched by one event.
fn live(version: &str, part: &str) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let binary = build("tests/programs/watched.go", version, dir);
    // With one P, allocations come in the same order more often.
    let start = || {
        let mut program = Running::start(Command::new(&binary).env("GOMAXPROCS", "1"));
        let header = program.line().split_off("ready ".len());
        (program, header)
    };
    let mut started = vec![start()];
    let (mut a, mut b, header) = loop {
        assert!(started.len() < 20, "no two of 20 are alike");
        let (b, header) = start();
        match started.iter().position(|(_, at)| *at == header) {
            Some(alike) => break (started.swap_remove(alike).0, b, header),
            None => started.push((b, header)),
        }
    };
    drop(started);
    let recording = dir.join("perf.data");
    let path = recording.to_str().unwrap();
    let mut recorder = Command::new("perf")
        .args(["record", "-N", "-c", "1", "-d", "-I", "-T", "-g"])
        .args(["-e", &format!("mem:0x{header}/8:rw:u")])
        .args(["-p", &format!("{},{}", a.pid(), b.pid())])
        .args(["-o", path, "--", "sleep", "1"])
        .env("HOME", dir)
        .spawn()
        .unwrap();
    while recorder.try_wait().unwrap().is_none() {
        for program in [&mut a, &mut b] {
            assert_eq!(program.ask("insert sessions 2"), "did 2");
            assert_eq!(program.ask("delete sessions 2"), "did 2");
        }
    }
    let output = Command::new(assert_cmd::cargo::cargo_bin("mempath"))
        .args(["export", "accesses", "--format", "csv", path])
        .env("HOME", dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    let column = |name: &str| columns.iter().position(|column| *column == name).unwrap();
    let pids: HashMap<String, i32> = (read(&recording).unwrap().samples.thread.values.iter())
        .map(|(pid, tid)| (tid.to_string(), *pid))
        .collect();
    let mut maps: BTreeMap<(i32, String), u64> = BTreeMap::new();
    for row in lines {
        let pid = pids[row[column("tid")]];
        assert_eq!(
            (row[column("part")], row[column("header")]),
            (part, &*format!("0x{header}"))
        );
        assert!(
            row[column("map_name")].ends_with(&format!(" of pid {pid}")),
            "{row:?}"
        );
        *maps
            .entry((pid, row[column("map")].to_owned()))
            .or_default() += 1;
    }
    let whose: Vec<String> = maps.keys().map(|(pid, _)| pid.to_string()).collect();
    let mut both = [a.pid(), b.pid()];
    both.sort_by_key(|pid| pid.parse::<i32>().unwrap());
    assert_eq!(whose, both);

    let output = Command::new(assert_cmd::cargo::cargo_bin("mempath"))
        .args(["analyze", path, "--no-report", "--format", "json"])
        .env("HOME", dir)
        .output()
        .unwrap();
    let json = String::from_utf8(output.stdout).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let caveats = json["summary"]["caveats"].as_array().unwrap();
    let mut alarms = caveats
        .iter()
        .filter(|caveat| caveat["severity"] == "alarm");
    assert_eq!(alarms.next(), None);
}

#[test]
fn maps_at_one_address_in_two_classic_processes_are_two() {
    live("1.22.10", "hmap.count");
}

#[test]
fn maps_at_one_address_in_two_swiss_processes_are_two() {
    // From Go 1.26 on the heap begins at random (`GOEXPERIMENT=randomizedheapbase64`).
    live("1.24.11", "Map.used");
}
