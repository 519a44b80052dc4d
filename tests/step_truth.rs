//! `mempath step` beside the truth sets: the same program, executed instruction by instruction by
//! another stepper, makes the same accesses in the same proportions.
#![cfg(target_arch = "x86_64")]

mod common;

use common::target::{Running, tracing};
use common::{inflate, shared};
use mempath::data_src::{DataSrc, Op};
use mempath::program::Program;
use mempath::record::step::is_map_code;
use mempath::recording::{Recording, read};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What one function does: samples, and how many accesses they stand for, by instruction.
#[derive(Default)]
struct Function {
    samples: u64,
    accesses: BTreeMap<u64, u64>,
}

impl Function {
    fn total(&self) -> u64 {
        self.accesses.values().sum()
    }

    fn share(&self, ip: u64) -> f64 {
        let own = self.accesses.get(&ip).copied().unwrap_or(0);
        own as f64 / self.total() as f64
    }

    /// Half of the sum of all differences of shares: 0 where both are alike, 1 where nothing is.
    fn distance(&self, other: &Function) -> f64 {
        let mut ips: Vec<u64> = self
            .accesses
            .keys()
            .chain(other.accesses.keys())
            .copied()
            .collect();
        ips.sort_unstable();
        ips.dedup();
        let differ = |ip: &u64| (self.share(*ip) - other.share(*ip)).abs();
        ips.iter().map(differ).sum::<f64>() / 2.0
    }

    /// The share of these accesses at instructions that the other made some at, too.
    fn covered(&self, other: &Function) -> f64 {
        let both = self
            .accesses
            .keys()
            .filter(|ip| other.accesses.contains_key(ip));
        both.map(|ip| self.share(*ip)).sum()
    }
}

/// Loads or stores of the functions of map code.
fn functions(recording: &Recording, program: &Program, op: Op) -> BTreeMap<String, Function> {
    let mut functions: BTreeMap<String, Function> = BTreeMap::new();
    let samples = &recording.samples;
    for i in 0..samples.len() {
        let ip = samples.ip.get(i).unwrap();
        let Some(function) = program.function_at(ip) else {
            continue;
        };
        if DataSrc(samples.data_src.get(i).unwrap()).op() == Some(op) && is_map_code(&function.name)
        {
            let function = functions.entry(function.name.clone()).or_default();
            function.samples += 1;
            *function.accesses.entry(ip).or_default() += samples.period.get(i).unwrap();
        }
    }
    functions
}

/// Steps the program of a truth set for a while, in the midst of its work.
fn stepped(binary: &Path, dir: &Path) -> Recording {
    let mut command = Command::new(binary);
    let program = Running::start(command.arg("-twins").stderr(Stdio::null()));
    // Its maps are filled.
    std::thread::sleep(Duration::from_secs(3));
    let output = dir.join("perf.data");
    assert_cmd::Command::cargo_bin("mempath")
        .unwrap()
        .args([
            "step",
            "-p",
            &program.pid(),
            "--window",
            "10m",
            "--for",
            "20s",
            "-o",
        ])
        .arg(&output)
        .assert()
        .success();
    read(&output).unwrap()
}

fn compared(set: &str) {
    let Some(shared) = shared() else {
        return;
    };
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let set = shared.join("truth").join(set);
    let truth = inflate(
        &set.join("perf.data.plain.zst"),
        &dir.path().join("truth.data"),
    );
    let truth = read(&truth).unwrap();
    let binary = dir.path().join("mapload");
    let mut bytes = Vec::new();
    let packed = std::fs::File::open(set.join("mapload.gz")).unwrap();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut bytes)
        .unwrap();
    std::fs::write(&binary, bytes).unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = Program::open(&binary).unwrap();
    let ours = stepped(&binary, dir.path());

    // The truth set leaves out loads under 30 modelled cycles, so that shares of loads differ; stores
    // are all there. Maps that grew in the truth set need not grow here: hence means, by samples.
    for (op, least, most) in [(Op::Load, 0.9, 1.0), (Op::Store, 0.9, 0.2)] {
        let truth = functions(&truth, &program, op);
        let ours = functions(&ours, &program, op);
        let (mut compared, mut samples) = (0, 0.0);
        let (mut covered, mut distance) = (0.0, 0.0);
        for (name, theirs) in truth.iter().filter(|(_, f)| f.samples >= 100) {
            let Some(own) = ours.get(name).filter(|f| f.samples >= 300) else {
                continue;
            };
            compared += 1;
            let weight = theirs.samples as f64;
            samples += weight;
            covered += weight * theirs.covered(own);
            distance += weight * theirs.distance(own);
        }
        let (covered, distance) = (covered / samples, distance / samples);
        let found =
            format!("{op:?}: {compared} functions, {covered:.4} covered, {distance:.3} apart");
        eprintln!("{found}");
        assert!(
            compared >= 8 && covered >= least && distance <= most,
            "{found}"
        );
    }
}

#[test]
fn classic_accesses_are_those_of_the_truth_set() {
    compared("go1.22.10-twins");
}

#[test]
fn swiss_accesses_are_those_of_the_truth_set() {
    compared("go1.27.3-twins");
}
