//! `mempath step`: the program that is stepped notices nothing, and what it did is recorded.
#![cfg(target_arch = "x86_64")]

mod common;

use assert_cmd::Command as Mempath;
use common::perf;
use common::target::{Running, build, perf_reads, stepped, tracing};
use mempath::data_src::{DataSrc, Op};
use mempath::program::Program;
use mempath::record::step::{is_entry, is_map_code};
use mempath::recording::{Recording, read};
use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const CLASSIC: &str = "1.22.10";
const SWISS: &str = "1.27.3";

fn mempath() -> Mempath {
    Mempath::cargo_bin("mempath").unwrap()
}

/// The text of a process differs nowhere from its file: no int3 was left.
fn text_is_whole(pid: &str, binary: &Path) {
    let program = Program::open(binary).unwrap();
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    for function in program.functions().iter().filter(|f| is_map_code(&f.name)) {
        let len = (function.end - function.start) as usize;
        let mut found = vec![0; len];
        memory.read_exact_at(&mut found, function.start).unwrap();
        let file = program.bytes(function.start, len).unwrap();
        assert!(found == file, "{} is not what it was", function.name);
    }
}

/// No thread of a process is traced or stopped.
fn is_free(pid: &str) {
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .flatten()
    {
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap();
        assert!(status.contains("TracerPid:\t0"), "{status}");
        assert!(
            !status.contains("State:\tt") && !status.contains("State:\tT"),
            "{status}"
        );
    }
}

fn by_function(recording: &Recording, program: &Program) -> BTreeMap<String, u64> {
    let mut functions = BTreeMap::new();
    for i in 0..recording.samples.len() {
        let ip = recording.samples.ip.get(i).unwrap();
        let name = program.function_at(ip).map_or("?", |f| f.name.as_str());
        *functions.entry(name.to_owned()).or_insert(0) += 1;
    }
    functions
}

/// 60 signals while it runs, a child, goroutine switches, growth and collections.
fn unchanged(version: &str) {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/steady.go", version, dir.path());
    let alone = Command::new(&binary).arg("20000").output().unwrap();
    assert!(alone.status.success());
    let output = dir.path().join("perf.data");
    let step = Command::new(assert_cmd::cargo::cargo_bin("mempath"))
        .args(["step", "-o"])
        .arg(&output)
        .arg("--")
        .arg(&binary)
        .arg("20000")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let worker = |pid: u32| child_of(pid);
    for _ in 0..60 {
        std::thread::sleep(Duration::from_millis(10));
        if let Some(target) = worker(step.id()).and_then(worker) {
            // SAFETY: a signal that the program has a handler for, once it runs.
            let started = std::fs::read_link(format!("/proc/{target}/exe"));
            if started.is_ok_and(|exe| exe == binary) && catches(target, libc::SIGUSR1) {
                unsafe { libc::kill(target as i32, libc::SIGUSR1) };
            }
        }
    }
    let stepped = step.wait_with_output().unwrap();
    let said = String::from_utf8(stepped.stderr).unwrap();
    assert!(stepped.status.success(), "{said}");
    assert_eq!(
        String::from_utf8(stepped.stdout).unwrap(),
        String::from_utf8(alone.stdout).unwrap(),
        "{said}"
    );
    assert!(said.contains("(the process: it ended)"), "{said}");

    let recording = read(&output).unwrap();
    assert!(recording.damage.is_empty(), "{:?}", recording.damage);
    let modelled = recording.meta.modelled.as_deref().unwrap();
    assert!(modelled.starts_with("modelled: "), "{modelled}");
    let program = Program::open(&binary).unwrap();
    let functions = by_function(&recording, &program);
    let entries = functions.iter().filter(|(name, _)| is_entry(name));
    let kinds: Vec<&str> = entries.map(|(name, _)| name.as_str()).collect();
    for kind in ["runtime.mapassign", "runtime.mapaccess"] {
        assert!(kinds.iter().any(|name| name.starts_with(kind)), "{kinds:?}");
    }
    for i in 0..recording.samples.len() {
        let data_src = DataSrc(recording.samples.data_src.get(i).unwrap());
        assert!(matches!(data_src.op(), Some(Op::Load | Op::Store)));
    }
    perf_reads(&output);
    let path = output.to_str().unwrap();
    let lines = perf(&["script", "-i", path, "-G", "-F", "ip,sym"]);
    assert_eq!(lines.lines().count(), recording.samples.len());
    assert!(lines.contains("runtime.mapassign"));
}

/// The first child of a process.
fn child_of(pid: u32) -> Option<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = std::fs::read_to_string(path).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// Whether a process has a handler for a signal.
fn catches(pid: u32, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 != 0)
}

#[test]
fn a_classic_program_prints_what_it_prints_alone() {
    unchanged(CLASSIC);
}

#[test]
fn a_swiss_program_prints_what_it_prints_alone() {
    unchanged(SWISS);
}

/// The program, running for ever, after its first lines.
fn forever(dir: &Path) -> Running {
    let binary = build("tests/programs/steady.go", SWISS, dir);
    let mut program = Running::start(Command::new(binary).args(["2000", "forever"]));
    // 4 times 2000 orders are placed, and every third is deleted again.
    assert_eq!(program.line(), "5332 500 child <nil>");
    program.line();
    program
}

/// It prints two rounds more: all threads run.
fn goes_on(program: &mut Running) {
    for _ in 0..4 {
        assert!(!program.line().is_empty());
    }
}

#[test]
fn a_running_program_survives_a_detach_unharmed() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut program = forever(dir.path());
    let output = dir.path().join("perf.data");
    mempath()
        .args(["step", "-p", &program.pid(), "--for", "2s", "-o"])
        .arg(&output)
        .assert()
        .success()
        .stderr(predicates::str::contains("the time was over"));
    is_free(&program.pid());
    text_is_whole(&program.pid(), &dir.path().join("steady"));
    goes_on(&mut program);
    let recording = read(&output).unwrap();
    assert!(recording.damage.is_empty());
    assert!(recording.samples.len() > 100, "{}", recording.samples.len());
}

/// `mempath step` in the background, when something was stepped.
fn step(program: &Running, output: &Path) -> Running {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("mempath"));
    command
        .args(["step", "-p", &program.pid(), "-o"])
        .arg(output)
        .stderr(Stdio::piped());
    let stepper = Running::start(&mut command);
    for _ in 0..600 {
        if std::fs::metadata(output).is_ok_and(|file| file.len() > 20_000) {
            return stepper;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nothing is stepped in 30 seconds");
}

#[test]
fn a_killed_stepper_leaves_the_program_running_and_a_recording() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut program = forever(dir.path());
    let output = dir.path().join("perf.data");
    let mut child = step(&program, &output);
    let worker = child_of(child.child.id()).unwrap();
    child.child.kill().unwrap();
    child.child.wait().unwrap();
    for _ in 0..200 {
        // A zombie's parent may be slow.
        let status = std::fs::read_to_string(format!("/proc/{worker}/status"));
        if !status.is_ok_and(|status| !status.contains("State:\tZ")) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    is_free(&program.pid());
    text_is_whole(&program.pid(), &dir.path().join("steady"));
    goes_on(&mut program);
    let recording = read(&output).unwrap();
    assert!(recording.damage.is_empty());
    assert!(recording.meta.modelled.is_some());
}

#[test]
fn an_interrupted_stepper_lets_go() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut program = forever(dir.path());
    let output = dir.path().join("perf.data");
    let mut stepper = step(&program, &output);
    // SAFETY: the child has not been waited for.
    unsafe { libc::kill(stepper.child.id() as i32, libc::SIGINT) };
    let mut said = String::new();
    let stderr = stepper.child.stderr.as_mut().unwrap();
    std::io::Read::read_to_string(stderr, &mut said).unwrap();
    assert!(said.contains("(interrupted)"), "{said}");
    assert!(stepper.child.wait().unwrap().success());
    is_free(&program.pid());
    text_is_whole(&program.pid(), &dir.path().join("steady"));
    goes_on(&mut program);
}

/// What one update and one lookup of an entry of a small map touch, each access once: as
/// `runtime/map_fast64.go` of Go 1.22 reads.
#[test]
fn the_accesses_are_those_of_the_code() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/watched.go", CLASSIC, dir.path());
    let output = dir.path().join("perf.data");
    let mut stepped = stepped(&binary, &output);
    assert_eq!(stepped.ask("update small 1"), "did 1");
    assert_eq!(stepped.ask("update small 40"), "did 40");
    assert_eq!(stepped.ask("lookup small 9"), "did 9");
    stepped.stdin = None;
    assert!(stepped.child.wait().unwrap().success());
    let text = mempath()
        .args(["export", "accesses", "--format", "csv"])
        .arg(&output)
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    // The one field with a comma.
    let text = text.replace("\"cpu/mem-loads,ldlat=1/P\"", "mem-loads");
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    let column = |name| columns.iter().position(|column| *column == name).unwrap();
    let (part, op, map, function) = (
        column("part"),
        column("op"),
        column("map_name"),
        column("function"),
    );
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    for line in lines {
        let caller = ["main.update", "main.lookup"].contains(&line[function]);
        let callee = line[map].ends_with("(m)") && line[function].contains("fast64");
        if caller || callee {
            let key = (line[part].to_owned(), line[op].to_owned());
            *counts.entry(key).or_default() += 1;
        }
    }
    let of = |part: &str, op: &str| counts.get(&(part.to_owned(), op.to_owned())).copied();
    // An update is a lookup of the old value and an assignment: 41 of both, and 9 lookups.
    assert_eq!(of("bmap.elem", "store"), Some(41), "{counts:?}");
    // The first update finds no entry and reads the zero value.
    assert_eq!(of("bmap.elem", "load"), Some(40 + 9), "{counts:?}");
    // `h.count++` is of the first update alone.
    assert_eq!(of("hmap.count", "store"), Some(1), "{counts:?}");
    // `h.flags ^= hashWriting` and `h.flags &^= hashWriting`.
    assert_eq!(of("hmap.flags", "store"), Some(2 * 41), "{counts:?}");
}

/// Each instruction that the recorder executes the thread executes as well: registers, flags and stack
/// must come out the same.
fn emulation_is_exact(version: &str) {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/steady.go", version, dir.path());
    let alone = Command::new(&binary).arg("100").output().unwrap();
    let run = |emulate: &str| {
        let mut command = mempath();
        command.args(["step", "--window", "10m", "--emulate", emulate, "-o"]);
        command.arg(dir.path().join("perf.data"));
        command.arg("--").arg(&binary).arg("100");
        let done = command.output().unwrap();
        assert!(done.status.success());
        assert_eq!(done.stdout, alone.stdout, "--emulate {emulate}");
        String::from_utf8(done.stderr).unwrap()
    };
    run("yes");
    let said = run("check");
    let same = ["emulated too", "0 with another result"].join(", ");
    assert!(said.contains(&same), "{said}");
    let words: Vec<&str> = said.split([' ', ',']).collect();
    let before = |words_after: [&str; 2]| -> u64 {
        let at = words
            .windows(3)
            .position(|w| w[1..] == words_after)
            .unwrap();
        words[at].parse().unwrap()
    };
    // Most of map code, not some of it.
    let (steps, emulated) = (before(["steps", ""]), before(["of", "them"]));
    assert!(emulated >= 20_000 && emulated * 10 >= steps * 7, "{said}");
}

#[test]
fn emulation_of_classic_map_code_is_exact() {
    emulation_is_exact(CLASSIC);
}

#[test]
fn emulation_of_swiss_map_code_is_exact() {
    emulation_is_exact(SWISS);
}

#[test]
fn one_command_leads_from_a_program_to_its_report() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/steady.go", SWISS, dir.path());
    let (output, report) = (dir.path().join("perf.data"), dir.path().join("report.html"));
    mempath()
        .args(["record", "--engine", "step", "--analyze", "-o"])
        .arg(&output)
        .arg("--report")
        .arg(&report)
        .arg("--")
        .arg(&binary)
        .arg("20000")
        .assert()
        .success()
        .stderr(predicates::str::contains(
            "engine: step; levels and latencies will be modelled",
        ))
        .stdout(predicates::str::contains("no hardware measured them"));
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.contains("modelled"));
    assert!(read(&output).unwrap().meta.modelled.is_some());
}

#[test]
fn what_cannot_be_stepped_is_refused() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("perf.data");
    mempath()
        .args(["step", "-o"])
        .arg(&output)
        .args(["--", "/bin/true"])
        .assert()
        .code(1)
        .stderr(predicates::str::contains("runs no Go program"));
    mempath()
        .args(["step", "-o"])
        .arg(&output)
        .args(["--", "/no/such/program"])
        .assert()
        .code(1)
        .stderr(predicates::str::contains(
            "could not start '/no/such/program'",
        ));
    assert!(!output.exists());
}
