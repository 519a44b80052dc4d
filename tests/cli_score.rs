//! `mempath export accesses` against the truth sets, judged by their own score.py.

use assert_cmd::Command;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use tempfile::TempDir;

/// Least precision of the levels part, slot and map.
struct Floors {
    part: f64,
    slot: f64,
    map: f64,
}

/// Recordings with registers and call chains.
const REGS: Floors = Floors {
    part: 0.998,
    slot: 0.998,
    map: 0.998,
};
/// Addresses alone.
const PLAIN: Floors = Floors {
    part: 0.998,
    slot: 0.998,
    map: 0.998,
};

fn truth(set: &str) -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if !shared.exists() && std::env::var_os("CI").is_none() {
        eprintln!("no truth sets here: not tested");
        return None;
    }
    Some(shared.join("truth").join(set))
}

fn score(set: &str, recording: &str, binary: &str, floors: &Floors) {
    let Some(truth) = truth(set) else { return };
    let dir = TempDir::new().unwrap();
    let packed = fs::read(truth.join(recording)).unwrap();
    let data = dir.path().join("perf.data");
    fs::write(&data, zstd::decode_all(&*packed).unwrap()).unwrap();
    let claims = dir.path().join("claims.csv");
    Command::cargo_bin("mempath")
        .unwrap()
        .args(["export", "accesses", "--format", "csv"])
        .arg(&data)
        .arg("--binary")
        .arg(truth.join(binary))
        .arg("-o")
        .arg(&claims)
        .assert()
        .code(0);
    let scored = process::Command::new("python3")
        .arg(truth.join("../score.py"))
        .arg(truth.join("truth.csv.gz"))
        .arg(&claims)
        .arg("--json")
        .output()
        .unwrap();
    assert!(
        scored.status.success(),
        "{}",
        String::from_utf8_lossy(&scored.stderr)
    );
    let scored: serde_json::Value = serde_json::from_slice(&scored.stdout).unwrap();
    for (level, floor) in [
        ("part", floors.part),
        ("slot", floors.slot),
        ("map", floors.map),
    ] {
        let precision = scored["levels"][level]["precision"].as_f64().unwrap();
        let recall = scored["levels"][level]["recall"].as_f64().unwrap();
        println!("{set} {recording} {binary} {level}: precision {precision} recall {recall}");
        assert!(
            precision >= floor,
            "{set} {recording} {level}: precision {precision} < {floor}"
        );
    }
}

#[test]
fn classic_maps_by_addresses_alone() {
    score(
        "go1.22.10-twins",
        "perf.data.plain.zst",
        "mapload.gz",
        &PLAIN,
    );
}

#[test]
fn classic_maps_by_registers() {
    score("go1.22.10-twins", "perf.data.regs.zst", "mapload.gz", &REGS);
}

#[test]
fn classic_maps_of_a_stripped_binary() {
    score(
        "go1.22.10-twins",
        "perf.data.regs.zst",
        "mapload.strip.gz",
        &REGS,
    );
}

#[test]
fn swiss_maps_by_addresses_alone() {
    score(
        "go1.27.3-twins",
        "perf.data.plain.zst",
        "mapload.gz",
        &PLAIN,
    );
}

#[test]
fn swiss_maps_by_registers() {
    score("go1.27.3-twins", "perf.data.regs.zst", "mapload.gz", &REGS);
}

#[test]
fn swiss_maps_of_a_stripped_binary() {
    score(
        "go1.27.3-twins",
        "perf.data.regs.zst",
        "mapload.strip.gz",
        &REGS,
    );
}
