//! A program with maps of many shapes and lives, stepped; whose memory each access is in, the program
//! notes itself. Not the program of the truth sets, and other versions of Go: with MEMPATH_ALL_GO=1 in
//! the environment all of them.
#![cfg(target_arch = "x86_64")]

#[path = "../common/mod.rs"]
mod common;
mod judge;
#[path = "../truth/score.rs"]
mod score;

use common::target::{build_with, tracing};
use judge::Notes;
use mempath::attribute::{Attribution, NONE, attribute};
use mempath::gomap::{Part, Stage};
use mempath::program::Program;
use mempath::program::kernel::Kernel;
use mempath::recording::{Recording, read};
use score::{Claim, Level, Score, Truth, score};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

const PHASES: &[&str] = &[
    "cache", "nested", "shapes", "generic", "many", "stack", "grow",
];

fn recorded(binary: &Path, dir: &Path) -> (Recording, Notes) {
    let (output, notes) = (dir.join("perf.data"), dir.join("notes"));
    assert_cmd::Command::cargo_bin("mempath")
        .unwrap()
        .args(["step", "--pause", "0", "--window", "10m", "-o"])
        .arg(&output)
        .arg("--")
        .arg(binary)
        .arg(&notes)
        .args(["12", "nogc"])
        .args(PHASES)
        .assert()
        .success();
    let notes = Notes::read(&std::fs::read_to_string(notes).unwrap());
    (read(&output).unwrap(), notes)
}

fn truths(recording: &Recording, notes: &Notes) -> HashMap<usize, Option<Truth>> {
    let samples = &recording.samples;
    (0..samples.len())
        .filter_map(|i| Some((i, notes.owner(samples.addr.get(i)?, samples.time.get(i)?)?)))
        .collect()
}

/// As `mempath export accesses` says it.
fn claims(attribution: &Attribution) -> Vec<Claim> {
    let claim = |i: usize| {
        let (part, hit) = (attribution.part[i].ok(), attribution.hit(i));
        let has_slot = |p: Part| matches!(p.stage(), Stage::Control | Stage::Key | Stage::Elem);
        let whole = part.is_some_and(|p| hit.slot >= 0 || !has_slot(p));
        let map = (hit.map != NONE).then(|| &attribution.maps[hit.map as usize]);
        Claim {
            part: part.map(|p| p.name().to_owned()),
            base: hit.base().filter(|_| whole),
            slot: hit.slot(),
            map: map
                .filter(|map| map.is_told_apart())
                .map(|_| hit.map.to_string()),
        }
    };
    (0..attribution.part.len()).map(claim).collect()
}

fn scored(recording: &Recording, program: &Arc<Program>, notes: &Notes) -> Score {
    let images = recording.space.images.iter();
    let programs: Vec<Option<Arc<Program>>> = images
        .map(|image| image.path.ends_with("/zoo").then(|| Arc::clone(program)))
        .collect();
    let attribution = attribute(recording, &programs, &Kernel::default(), None);
    let mut wrong: HashMap<String, u64> = HashMap::new();
    let score = score(
        &truths(recording, notes),
        &claims(&attribution),
        |i, level, truth, claim| {
            let place = &attribution.places[attribution.place.get(i).unwrap() as usize];
            let truly = truth.map_or("no map", |t| t.part.as_str());
            let said = claim.part.as_deref().unwrap_or_default();
            let line = format!("{level} {truly} {said} {:?}", place.function);
            *wrong.entry(line).or_default() += u64::from(claim.says(level));
        },
    );
    for (line, n) in wrong.into_iter().filter(|(_, n)| *n > 0) {
        println!("{n:6} wrong: {line}");
    }
    score
}

/// Lowest precision and recall, in percent.
fn check(what: &str, score: Score, floors: [(f64, f64); 3]) {
    println!("{what}: {score}");
    let hold = |level: Level, (precision, recall): (f64, f64)| {
        100.0 * level.precision() >= precision && 100.0 * level.recall() >= recall
    };
    let [part, slot, map] = floors;
    let all = hold(score.part, part) && hold(score.slot, slot) && hold(score.map, map);
    assert!(all, "{what}: {score}");
}

fn judged(version: &str, env: &[(&str, &str)]) {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build_with("tests/programs/zoo.go", version, env, dir.path());
    let program = Arc::new(Program::open(&binary).unwrap());
    let (mut recording, notes) = recorded(&binary, dir.path());
    let registers = scored(&recording, &program, &notes);
    check(
        &format!("{version} {env:?} registers"),
        registers,
        [(99.99, 99.0), (99.95, 98.0), (99.99, 99.0)],
    );
    // As `perf mem record` has it.
    recording.samples.chain = Default::default();
    for event in &mut recording.events {
        event.sample_regs_intr = 0;
    }
    let plain = scored(&recording, &program, &notes);
    check(
        &format!("{version} {env:?} plain"),
        plain,
        [(99.9, 98.0), (99.5, 90.0), (99.0, 75.0)],
    );
}

#[test]
fn classic_maps() {
    judged("1.22.10", &[]);
}

#[test]
fn swiss_maps() {
    judged("1.27.3", &[]);
}

#[test]
fn other_versions() {
    if std::env::var_os("MEMPATH_ALL_GO").is_none() {
        return;
    }
    for version in ["1.19.8", "1.21.13", "1.23.9", "1.24.11", "1.25.5", "1.26.6"] {
        judged(version, &[]);
    }
    judged("1.24.11", &[("GOEXPERIMENT", "noswissmap")]);
    judged("1.27.3", &[("GOEXPERIMENT", "mapsplitgroup")]);
}

#[test]
fn unoptimised_builds() {
    if std::env::var_os("MEMPATH_ALL_GO").is_none() {
        return;
    }
    for version in ["1.22.10", "1.27.3"] {
        judged(version, &[("GOFLAGS", "'-gcflags=all=-N -l'")]);
    }
}
