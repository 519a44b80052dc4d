//! Every access to the header of a map that two threads use, recorded on this machine: under a lock
//! nothing overlaps, without one what Go's runtime throws is what is found.

mod common;

use common::target::{Running, breakpoints, build, wait_for};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const CLASSIC: (&str, &str) = ("1.22.10", "hmap.flags");
const SWISS: (&str, &str) = ("1.27.3", "Map.writing");

fn mempath() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin("mempath"))
}

/// `mempath watch` on words of `main.shared`.
fn watch(dir: &Path, pid: &str, words: &str) -> (Child, PathBuf) {
    let output = dir.join("watch.data");
    let child = mempath()
        .args(["watch", "-p", pid, "--map", "main.shared", "--words", words])
        .args([
            "--access",
            "rw",
            "--max-rate",
            "1000000",
            "-m",
            "1024",
            "-o",
        ])
        .arg(&output)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // More than one attr in the header: that of the tracker and those of the breakpoints.
    let armed = || {
        let file = std::fs::read(&output).unwrap_or_default();
        let word = |at: usize| {
            let bytes = file.get(at..at + 8).and_then(|b| b.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        word(32).checked_div(word(16)).unwrap_or(0) > 1
    };
    wait_for(armed, "the breakpoint");
    std::thread::sleep(std::time::Duration::from_millis(200));
    (child, output)
}

fn order(recording: &Path) -> Value {
    let output = mempath()
        .arg("order")
        .arg(recording)
        .args(["--format", "json"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn locked((version, word): (&str, &str)) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/racing.go", version, dir.path());
    let mut program = Running::start(&mut Command::new(binary));
    assert_eq!(program.line(), "ready");
    let (mut child, recording) = watch(dir.path(), &program.pid(), word);
    assert_eq!(program.ask("locked 40"), "did 40");
    // SAFETY: the child has not been waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    assert!(child.wait().unwrap().success());
    let found = order(&recording);
    let brackets = found["operations"].as_array().unwrap();
    assert_eq!(brackets.len(), 40);
    for bracket in brackets {
        assert_eq!(bracket["operation"], "assign");
        assert!(bracket["end_ns"].is_u64(), "{bracket}");
        assert_eq!(bracket["between"], serde_json::json!([]));
    }
    assert_eq!(found["concurrent"], serde_json::json!([]));
}

/// Goroutines that go on on other threads in the middle of an operation, when the map grows and the
/// collector wants its share: each operation is one, and under the lock nothing overlaps.
fn guarded(version: &str, words: &str) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/guarded.go", version, dir.path());
    let mut program = Running::start(&mut Command::new(binary));
    assert_eq!(program.line(), "ready");
    let (mut child, recording) = watch(dir.path(), &program.pid(), words);
    assert_eq!(program.ask("use 60"), "did 60");
    // SAFETY: the child has not been waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    assert!(child.wait().unwrap().success());
    let found = order(&recording);
    assert_eq!(found["concurrent"], serde_json::json!([]), "{words}");
    let brackets = found["operations"].as_array().unwrap();
    for bracket in brackets {
        assert_eq!(bracket["deviations"], serde_json::json!([]), "{bracket}");
        let phases = bracket["phases"].as_array().unwrap();
        let ends = (phases.first().unwrap(), phases.last().unwrap());
        assert_eq!(
            ends,
            (&"set_flag".into(), &"clear_flag".into()),
            "{bracket}"
        );
    }
    let count = |operation: &str| {
        let all = brackets.iter().filter(|b| b["operation"] == operation);
        all.count()
    };
    let counts = (count("assign"), count("delete"));
    // A busy machine loses records, and what they may belong to is left out.
    match found["lost"].as_u64() {
        Some(0) => assert_eq!(counts, (8 * 60, 8 * 20)),
        _ => assert!(counts.0 <= 8 * 60 && counts.1 <= 8 * 20, "{counts:?}"),
    }
}

/// Both threads write alone, so that "concurrent map writes" is all that the runtime can throw.
fn race((version, word): (&str, &str)) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/racing.go", version, dir.path());
    let mut program = Running::start(Command::new(binary).stderr(Stdio::piped()));
    assert_eq!(program.line(), "ready");
    let (mut child, recording) = watch(dir.path(), &program.pid(), word);
    // It dies before it can answer.
    assert_eq!(program.ask("race 0"), "");
    let mut said = String::new();
    let mut stderr = program.child.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert!(
        said.starts_with("fatal error: concurrent map writes"),
        "{said}"
    );
    // Collects the dead program, so that the watch sees its end.
    program.child.wait().unwrap();
    wait_for(
        || child.try_wait().unwrap().is_some(),
        "the end of the watch",
    );
    let found = order(&recording);
    let first = &found["concurrent"][0];
    assert_eq!(first["clash"], "write_write", "{found}");
    assert_eq!(first["danger"], "flag_read");
    assert_eq!(first["operations"], serde_json::json!(["assign", "assign"]));
    assert_ne!(first["tids"][0], first["tids"][1]);
    // A report says so first.
    let output = mempath()
        .args(["analyze", "--no-report", "--format", "json"])
        .arg(&recording)
        .output()
        .unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = &summary["summary"]["findings"][0];
    assert_eq!(finding["chart"], "concurrent", "{finding}");
    let text = finding["text"].as_str().unwrap();
    assert!(
        text.contains("(fatal error: concurrent map writes is possible)"),
        "{text}"
    );
}

#[test]
fn a_locked_classic_map_is_no_finding() {
    locked(CLASSIC);
}

#[test]
fn a_locked_swiss_map_is_no_finding() {
    locked(SWISS);
}

#[test]
fn goroutines_that_move_between_threads_are_no_finding_on_a_classic_map() {
    guarded(CLASSIC.0, "flags,count,buckets");
}

#[test]
fn goroutines_that_move_between_threads_are_no_finding_on_a_swiss_map() {
    guarded(SWISS.0, "writing,used,dirPtr");
}

#[test]
fn a_race_on_a_classic_map_is_found() {
    race(CLASSIC);
}

#[test]
fn a_race_on_a_swiss_map_is_found() {
    race(SWISS);
}
