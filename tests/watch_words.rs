//! `mempath watch` on words named in every way, and on programs that end badly.

mod common;

use assert_cmd::Command as Mempath;
use common::target::{Running, Small, as_nobody, breakpoints, build, perf_reads, wait_for, waits};
use mempath::gomap::Shape;
use mempath::heap::{Heap, Kind, snapshot};
use mempath::program::Program;
use mempath::recording::{Recording, read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const CLASSIC: &str = "1.22.10";
const SWISS: &str = "1.27.3";

/// The program, and the address of the header of `main.sessions`.
fn program(version: &str, dir: &Path) -> (Running, u64) {
    let binary = build("tests/programs/watched.go", version, dir);
    let mut program = Running::start(Command::new(binary).stderr(Stdio::null()));
    let line = program.line();
    let header = line.strip_prefix("ready ").unwrap();
    (program, u64::from_str_radix(header, 16).unwrap())
}

/// `mempath watch` in the background, when it has said that it is armed: the second attr is there.
fn watch(pid: &str, output: &Path, args: &[&str]) -> Child {
    // What an earlier watch wrote there does not tell that this one has begun.
    let _ = std::fs::remove_file(output);
    let watch = Command::new(assert_cmd::cargo::cargo_bin("mempath"))
        .args(["watch", "-p", pid, "-o"])
        .arg(output)
        .args(args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let armed = || {
        let file = std::fs::read(output).unwrap_or_default();
        let word = |at: usize| {
            let bytes = file.get(at..at + 8).and_then(|b| b.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        word(32).checked_div(word(16)).unwrap_or(0) > 1
    };
    // All words are armed in one go.
    wait_for(|| armed() && waits(watch.id()), "the words are armed");
    watch
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: the child has not been waited for.
    unsafe { libc::kill(child.id() as i32, signal) };
}

fn said(child: Child) -> String {
    String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
}

/// Accesses of each word, as the watch tells them at its end.
fn told(said: &str) -> Vec<(String, u64)> {
    let lines = said.lines().filter(|line| line.ends_with(" accesses"));
    lines
        .map(|line| {
            let word = line.strip_prefix("mempath: ").unwrap();
            let (word, rest) = word.split_once(" at ").unwrap();
            let count = rest.rsplit(": ").next().unwrap();
            let count = count.strip_suffix(" accesses").unwrap().parse().unwrap();
            (word.to_owned(), count)
        })
        .collect()
}

/// A lookup reads each of these words once: `mapaccess1_fast64` of `runtime/map_fast64.go` and
/// `runtime_mapaccess1_fast64` of `internal/runtime/maps/runtime_fast64.go`.
fn three_words(version: &str, words: [&str; 3], names: [&str; 3]) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("watch.data");
    let (mut program, _) = program(version, dir.path());
    assert_eq!(program.ask("insert sessions 400"), "did 400");
    let args = ["--map", "main.sessions", "--words", &words.join(",")];
    let watch = watch(&program.pid(), &output, &args);
    assert_eq!(program.ask("lookup sessions 50"), "did 50");
    signal(&watch, libc::SIGINT);
    let said = said(watch);
    assert_eq!(
        told(&said),
        names.map(|name| (name.to_owned(), 50)),
        "{said}"
    );
    assert_eq!(read(&output).unwrap().samples.len(), 150);
    perf_reads(&output);
}

#[test]
fn three_words_of_a_classic_header_are_each_read_once_a_lookup() {
    let names = ["hmap.flags", "hmap.count", "hmap.buckets"];
    three_words(CLASSIC, ["flags", "count", "buckets"], names);
}

#[test]
fn three_words_of_a_swiss_header_are_each_read_once_a_lookup() {
    let names = ["Map.writing", "Map.used", "Map.dirPtr"];
    three_words(SWISS, ["writing", "used", "dirPtr"], names);
}

/// A key in bucket or group 17, and where that begins: keys of full slots as the process has them.
fn key_of_17(program: &Running, header: u64, dir: &Path) -> (u64, u64) {
    let core = dir.join("found.core");
    snapshot::take(program.pid().parse().unwrap(), &core).unwrap();
    let binary = Arc::new(Program::open(&dir.join("watched")).unwrap());
    let heap = Heap::read(&core, &[binary], false).unwrap();
    std::fs::remove_file(&core).unwrap();
    let map = heap
        .maps
        .iter()
        .position(|map| map.header == header)
        .unwrap();
    let shape = heap.maps[map].map_type.as_ref().unwrap().shape;
    let array = heap.regions.iter().find(|region| {
        let groups = matches!(region.kind, Kind::Buckets | Kind::Groups);
        region.map as usize == map && groups && !region.old && region.index == 0
    });
    let bucket = array.unwrap().start + 17 * array.unwrap().stride;
    let mut ctrl = [0; 8];
    let memory = std::fs::File::open(format!("/proc/{}/mem", program.pid())).unwrap();
    memory.read_exact_at(&mut ctrl, bucket).unwrap();
    let (full, keys): (fn(u8) -> bool, u64) = match shape {
        // minTopHash
        Shape::Classic { .. } => (|tophash| tophash >= 5, 8),
        Shape::Swiss { keys_off, .. } => (|ctrl| ctrl & 0x80 == 0, keys_off),
    };
    let stride = match shape {
        Shape::Classic { key_stride, .. } | Shape::Swiss { key_stride, .. } => key_stride,
    };
    let slot = ctrl.iter().position(|byte| full(*byte)).unwrap() as u64;
    let mut key = [0; 8];
    memory
        .read_exact_at(&mut key, bucket + keys + slot * stride)
        .unwrap();
    (u64::from_le_bytes(key), bucket)
}

/// Whoever looks for a key in bucket 17 reads one byte of its tophash, of the slot that has the key
/// (`isEmpty(b.tophash[i])`); in group 17 it reads the control word once (`matchH2`).
fn bucket_17(version: &str, option: &str, part: &str, name: &str) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("watch.data");
    let (mut program, header) = program(version, dir.path());
    assert_eq!(program.ask("insert sessions 400"), "did 400");
    let (key, bucket) = key_of_17(&program, header, dir.path());
    assert_eq!(program.ask(&format!("set wanted {key}")), "did 0");
    let args = ["--map", "main.sessions", option, "17", "--part", part];
    let watch = watch(&program.pid(), &output, &args);
    assert_eq!(program.ask("find sessions 60"), "did 60");
    signal(&watch, libc::SIGINT);
    let said = said(watch);
    assert_eq!(told(&said), [(name.to_owned(), 60)], "{said}");
    let recording = read(&output).unwrap();
    assert_eq!(recording.samples.len(), 60);
    let at = recording.events.last().unwrap().config1;
    assert_eq!(at, bucket, "{said}");
    perf_reads(&output);
}

#[test]
fn the_tophash_of_bucket_17_is_watched() {
    bucket_17(CLASSIC, "--bucket", "tophash", "bmap.tophash");
}

#[test]
fn the_ctrl_of_group_17_is_watched() {
    bucket_17(SWISS, "--group", "ctrl", "group.ctrl");
}

/// The first word of a header counts the entries, in both families.
fn address(version: &str) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("watch.data");
    let (mut program, header) = program(version, dir.path());
    assert_eq!(program.ask("insert sessions 100"), "did 100");
    let at = format!("{header:#x}/8:w");
    let watch = watch(&program.pid(), &output, &["--addr", &at]);
    assert_eq!(program.ask("delete sessions 33"), "did 33");
    assert_eq!(program.ask("lookup sessions 70"), "did 70");
    signal(&watch, libc::SIGINT);
    let said = said(watch);
    assert_eq!(told(&said), [(format!("{header:#x}"), 33)], "{said}");
}

#[test]
fn an_address_in_a_classic_program_is_watched() {
    address(CLASSIC);
}

#[test]
fn an_address_in_a_swiss_program_is_watched() {
    address(SWISS);
}

/// A watch of `hmap.count`, writes alone.
fn counting(program: &Running, output: &Path) -> Child {
    let words = [
        "--map",
        "main.sessions",
        "--words",
        "count",
        "--access",
        "w",
    ];
    watch(&program.pid(), output, &words)
}

fn whole(output: &Path, samples: usize) -> Recording {
    let recording = read(output).unwrap();
    assert!(recording.damage.is_empty(), "{:?}", recording.damage);
    assert_eq!(recording.samples.len(), samples);
    recording
}

#[test]
fn a_killed_watch_leaves_its_recording_and_no_breakpoint() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("watch.data");
    let (mut program, header) = program(CLASSIC, dir.path());
    assert_eq!(program.ask("insert sessions 100"), "did 100");
    let mut killed = counting(&program, &output);
    assert_eq!(program.ask("delete sessions 20"), "did 20");
    let written = || read(&output).is_ok_and(|recording| recording.samples.len() == 20);
    wait_for(written, "a round is written");
    killed.kill().unwrap();
    killed.wait().unwrap();
    whole(&output, 20);
    // All four debug registers of each of its threads are free again.
    let four: Vec<String> = (0..4)
        .map(|i| format!("{:#x}/8:w", header + 8 * i))
        .collect();
    let four: Vec<&str> = four.iter().flat_map(|at| ["--addr", at]).collect();
    let again = dir.path().join("again.data");
    let watch = watch(&program.pid(), &again, &four);
    assert_eq!(program.ask("delete sessions 20"), "did 20");
    signal(&watch, libc::SIGTERM);
    let said = said(watch);
    assert!(said.contains("stopped by signal 15"), "{said}");
    assert_eq!(told(&said)[0], (format!("{header:#x}"), 20), "{said}");
    // Nothing but the recordings was written.
    let mut files: Vec<PathBuf> = (std::fs::read_dir(dir.path()).unwrap().flatten())
        .map(|entry| entry.path())
        .collect();
    files.sort();
    assert_eq!(files, [again, output, dir.path().join("watched")]);
}

#[test]
fn the_end_and_the_crash_of_a_watched_program_end_the_watch() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("watch.data");
    for how in ["end", "crash sessions 1"] {
        let (mut program, _) = program(CLASSIC, dir.path());
        assert_eq!(program.ask("insert sessions 100"), "did 100");
        let watch = counting(&program, &output);
        assert_eq!(program.ask("delete sessions 7"), "did 7");
        assert_eq!(program.ask(how), "");
        let status = program.child.wait().unwrap();
        assert_eq!(status.code(), Some(if how == "end" { 0 } else { 2 }));
        let said = said(watch);
        assert!(said.contains("(the process: it has ended)"), "{said}");
        whole(&output, 7);
    }
}

#[test]
fn a_full_disk_ends_the_watch_and_keeps_what_fits() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("small");
    let Some(_mount) = Small::mount(mount.clone()) else {
        return;
    };
    let output = mount.join("watch.data");
    let (mut program, _) = program(CLASSIC, dir.path());
    assert_eq!(program.ask("insert sessions 100"), "did 100");
    let args = [
        "--map",
        "main.sessions",
        "--words",
        "flags",
        "--max-rate",
        "10000000",
    ];
    let watch = watch(&program.pid(), &output, &args);
    assert_eq!(program.ask("update sessions 20000"), "did 20000");
    let said = said(watch);
    assert!(said.contains("No space left on device"), "{said}");
    let recording = read(&output).unwrap();
    assert!(recording.damage.is_empty(), "{:?}", recording.damage);
    // Less than 300 bytes a sample.
    assert!(
        recording.samples.len() > 2000,
        "{}",
        recording.samples.len()
    );
    assert_eq!(program.ask("lookup sessions 100000"), "did 100000");
}

#[test]
fn another_users_process_is_not_watched() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut command) = as_nobody(dir.path()) else {
        return;
    };
    let pid = std::process::id().to_string();
    let args = [
        "watch",
        "-p",
        &pid,
        "--map",
        "main.sessions",
        "--words",
        "count",
    ];
    let output = command.args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let reason = "belongs to user 0 and mempath runs as user 65534: it is left alone";
    assert!(said.contains(reason), "{said}");
}

#[test]
fn one_command_leads_from_a_watch_to_its_report() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (output, report) = (
        dir.path().join("watch.data"),
        dir.path().join("report.html"),
    );
    let (mut program, _) = program(CLASSIC, dir.path());
    assert_eq!(program.ask("insert sessions 100"), "did 100");
    let pid = program.pid();
    let updates = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(2));
        assert_eq!(program.ask("update sessions 10"), "did 10");
        program
    });
    Mempath::cargo_bin("mempath")
        .unwrap()
        .args([
            "watch",
            "-p",
            &pid,
            "--map",
            "main.sessions",
            "--words",
            "flags",
        ])
        .args(["--for", "5s", "--analyze", "-o"])
        .arg(&output)
        .arg("--report")
        .arg(&report)
        .assert()
        .success()
        .stderr(predicates::str::contains("(the time was over)"));
    drop(updates.join().unwrap());
    let page = std::fs::read_to_string(&report).unwrap();
    assert!(page.contains("hmap.flags"));
}
