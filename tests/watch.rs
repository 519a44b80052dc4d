//! `mempath watch` on a program that counts its own uses of a map.

mod common;

use assert_cmd::Command as Mempath;
use common::target::{Running, breakpoints, build};
use mempath::recording::{GapKind, Recording, read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const CLASSIC: &str = "1.22.10";
const SWISS: &str = "1.27.3";

/// The program, and the address of the header of `main.sessions`.
fn program(version: &str, dir: &Path) -> (Running, String) {
    let binary = build("tests/programs/watched.go", version, dir);
    let mut program = Running::start(&mut Command::new(binary));
    let line = program.line();
    let header = line.strip_prefix("ready ").unwrap().to_owned();
    (program, header)
}

/// `mempath watch` in the background.
struct Watch {
    child: Option<Child>,
    output: PathBuf,
}

impl Watch {
    fn start(dir: &Path, pid: &str, args: &[&str]) -> Watch {
        let output = dir.join("watch.data");
        let child = Command::new(assert_cmd::cargo::cargo_bin("mempath"))
            .args(["watch", "-p", pid, "-o"])
            .arg(&output)
            .args(args)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut watch = Watch {
            child: Some(child),
            output,
        };
        watch.wait_until_armed();
        watch
    }

    /// Armed when the attr of the first breakpoint is in the file, behind that of the tracker.
    fn wait_until_armed(&mut self) {
        for _ in 0..600 {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let armed = || std::fs::read(&self.output).is_ok_and(|file| events(&file) > 1);
            if ended.is_some() || armed() {
                // All words are armed in one go.
                std::thread::sleep(std::time::Duration::from_millis(200));
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("not armed in 30 seconds");
    }

    /// Ends it with Ctrl-C. The recording, and what it said.
    fn end(mut self) -> (Recording, String) {
        let child = self.child.take().unwrap();
        // SAFETY: the child has not been waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        (read(&self.output).unwrap(), said)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Number of attrs that the header of a perf.data tells of.
fn events(file: &[u8]) -> u64 {
    let word = |at: usize| {
        let bytes = file.get(at..at + 8).and_then(|b| b.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    word(32).checked_div(word(16)).unwrap_or(0)
}

/// Samples at each address, without the tracker's event.
fn counts(recording: &Recording) -> Vec<(u64, u64)> {
    let mut counts = std::collections::BTreeMap::new();
    for addr in recording.samples.addr.iter() {
        *counts.entry(addr).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

/// The samples of the word at this address, by what the watch says of it at the end.
fn said_of(said: &str, word: &str) -> Vec<u64> {
    let lines = said
        .lines()
        .filter(|line| line.contains(&format!(" {word} at ")));
    lines
        .map(|line| line.rsplit(": ").next().unwrap())
        .map(|count| count.trim_end_matches(" accesses").parse().unwrap())
        .collect()
}

/// The parts that `mempath export accesses` sees, with their number.
fn parts(recording: &Path) -> Vec<(String, u64)> {
    let output = Mempath::cargo_bin("mempath")
        .unwrap()
        .args(["export", "accesses", "--format", "csv"])
        .arg(recording)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut parts = std::collections::BTreeMap::new();
    for line in text.lines().skip(1) {
        let part = line.split(',').nth(1).unwrap().to_owned();
        *parts.entry(part).or_insert(0) += 1;
    }
    parts.into_iter().collect()
}

/// No growth: 101 entries stay at most 101. `count` or `used` is written by each insert and each
/// delete, the writing flag twice by each of those and each update (`runtime/map_fast64.go`,
/// `internal/runtime/maps/runtime_fast64.go`).
fn header(version: &str, count: &str, flag: &str, parts_expected: [&str; 2]) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut program, header) = program(version, dir.path());
    assert_eq!(program.ask("insert sessions 100"), "did 100");
    let words = format!("{count},{flag}");
    let args = ["--map", "main.sessions", "--words", &words, "--access", "w"];
    let watch = Watch::start(dir.path(), &program.pid(), &args);
    assert_eq!(program.ask("delete sessions 40"), "did 40");
    assert_eq!(program.ask("insert sessions 40"), "did 40");
    assert_eq!(program.ask("update sessions 30"), "did 30");
    assert_eq!(program.ask("lookup sessions 500"), "did 500");
    let output = watch.output.clone();
    let (recording, said) = watch.end();
    assert!(
        said.contains("found by the program's debug information"),
        "{said}"
    );
    assert!(recording.damage.is_empty() && recording.gaps.is_empty());
    let header = u64::from_str_radix(&header, 16).unwrap();
    let found: Vec<u64> = counts(&recording)
        .into_iter()
        .map(|(addr, _)| addr - header)
        .collect();
    assert_eq!(found.len(), 2, "{said}");
    assert_eq!(found[0], 0);
    let numbers: Vec<u64> = counts(&recording).into_iter().map(|(_, n)| n).collect();
    assert_eq!(numbers, [40 + 40, 2 * (40 + 40 + 30)], "{said}");
    let expected = [(parts_expected[0], 80), (parts_expected[1], 220)];
    let expected = expected.map(|(part, n)| (part.to_owned(), n));
    assert_eq!(parts(&output), expected);
    // Nothing is left behind: it still works, natively.
    assert_eq!(program.ask("lookup sessions 100000"), "did 100000");
}

#[test]
fn words_of_a_classic_header_are_counted_as_the_program_counts() {
    header(CLASSIC, "count", "hmap.flags", ["hmap.count", "hmap.flags"]);
}

#[test]
fn words_of_a_swiss_header_are_counted_as_the_program_counts() {
    header(SWISS, "used", "Map.writing", ["Map.used", "Map.writing"]);
}

/// The first entry of a small map is in slot 0. An update reads the elem and writes it, a lookup
/// reads it.
fn slot(version: &str, part: &str) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut program, _) = program(version, dir.path());
    assert_eq!(program.ask("update small 1"), "did 1");
    let args = [
        "--map",
        "main.small",
        "--bucket",
        "0",
        "--part",
        "elem",
        "--slot",
        "0",
    ];
    let watch = Watch::start(dir.path(), &program.pid(), &args);
    assert_eq!(program.ask("update small 25"), "did 25");
    assert_eq!(program.ask("lookup small 7"), "did 7");
    let output = watch.output.clone();
    let (_, said) = watch.end();
    assert_eq!(
        said_of(&said, &format!("{part}[0]")),
        [25 + 25 + 7],
        "{said}"
    );
    assert_eq!(parts(&output), [(part.to_owned(), 57)]);
}

#[test]
fn a_slot_of_a_classic_bucket_is_watched() {
    slot(CLASSIC, "bmap.elem");
}

#[test]
fn a_slot_of_a_swiss_group_is_watched() {
    slot(SWISS, "group.elem");
}

/// 500 entries more make the map grow; its words are followed, and the gaps are in the file.
fn growth(version: &str, part: &str) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut program, header) = program(version, dir.path());
    assert_eq!(program.ask("insert sessions 100"), "did 100");
    let args = ["--map", "main.sessions", "--part", part, "--access", "w"];
    let watch = Watch::start(dir.path(), &program.pid(), &args);
    assert_eq!(program.ask("insert sessions 500"), "did 500");
    // Longer than the map goes without being looked at.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let (recording, said) = watch.end();
    let begins = recording
        .gaps
        .iter()
        .filter(|gap| gap.kind == GapKind::Throttle);
    let ends = recording
        .gaps
        .iter()
        .filter(|gap| gap.kind == GapKind::Unthrottle);
    let (begins, ends): (Vec<_>, Vec<_>) = (begins.collect(), ends.collect());
    assert!(!begins.is_empty(), "{said}");
    assert_eq!(begins.len(), ends.len());
    for (begin, end) in begins.iter().zip(&ends) {
        assert!(begin.time_ns < end.time_ns, "{begin:?} {end:?}");
    }
    assert_eq!(
        said.matches("the words moved").count(),
        begins.len(),
        "{said}"
    );
    // The last array that was watched is the one that the map has.
    let core = dir.path().join("app.heap");
    mempath::heap::snapshot::take(program.pid().parse().unwrap(), &core).unwrap();
    let binary = mempath::program::Program::open(&dir.path().join("watched")).unwrap();
    let heap = mempath::heap::Heap::read(&core, &[std::sync::Arc::new(binary)], false).unwrap();
    let header = u64::from_str_radix(&header, 16).unwrap();
    let map = heap
        .maps
        .iter()
        .position(|map| map.header == header)
        .unwrap();
    let last = recording.events.last().unwrap();
    let region = heap.find(last.config1).unwrap();
    assert_eq!(region.map as usize, map, "{said}");
    assert_eq!(region.element(last.config1), Some((0, 0)), "{said}");
    assert!(!region.old);
}

#[test]
fn a_classic_map_that_grows_is_followed() {
    growth(CLASSIC, "tophash");
}

#[test]
fn a_swiss_map_that_grows_is_followed() {
    growth(SWISS, "ctrl");
}

#[test]
fn a_map_of_a_stripped_program_is_found_in_a_snapshot() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut program, header) = {
        let binary = build("tests/programs/watched.go", SWISS, dir.path());
        let strip = Command::new("strip").arg(&binary).status().unwrap();
        assert!(strip.success());
        let mut program = Running::start(&mut Command::new(binary));
        let line = program.line();
        (
            program,
            format!("0x{}", line.strip_prefix("ready ").unwrap()),
        )
    };
    assert_eq!(program.ask("insert sessions 100"), "did 100");
    let args = ["--map", &header, "--words", "used", "--access", "w"];
    let watch = Watch::start(dir.path(), &program.pid(), &args);
    assert_eq!(program.ask("delete sessions 12"), "did 12");
    let (recording, said) = watch.end();
    assert!(said.contains("found in a snapshot"), "{said}");
    assert_eq!(recording.samples.len(), 12);
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert!(!left.iter().any(|name| name.ends_with(".heap")), "{left:?}");
}

#[test]
fn a_started_program_is_watched_through_fields_and_pointers() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/watched.go", CLASSIC, dir.path());
    let output = dir.path().join("perf.data");
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("mempath"));
    command
        .args([
            "watch",
            "--map",
            "main.front.cache.sessions",
            "--words",
            "count",
        ])
        .args(["--access", "w", "-o"])
        .arg(&output)
        .arg("--")
        .arg(&binary)
        .stderr(Stdio::piped());
    let mut watch = Running::start(&mut command);
    assert!(watch.line().starts_with("ready "));
    for _ in 0..600 {
        if std::fs::read(&output).is_ok_and(|file| events(&file) > 1) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(watch.ask("insert field 20"), "did 20");
    watch.stdin = None;
    assert!(watch.child.wait().unwrap().success());
    let recording = read(&output).unwrap();
    assert_eq!(recording.samples.len(), 20);
}

#[test]
fn the_guard_ends_a_watch_that_would_slow_the_program() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut program, _) = program(SWISS, dir.path());
    assert_eq!(program.ask("update small 1"), "did 1");
    let args = [
        "--map",
        "main.small",
        "--part",
        "elem",
        "--max-rate",
        "1000",
    ];
    let watch = Watch::start(dir.path(), &program.pid(), &args);
    // A minute and more while each access traps, if nobody stops it.
    assert_eq!(program.ask("update small 20000000"), "did 20000000");
    let (_, said) = watch.end();
    assert!(said.contains("stopped by the rate guard"), "{said}");
}

#[test]
fn what_cannot_be_watched_is_refused_with_what_can() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (mut program, _) = program(CLASSIC, dir.path());
    let pid = program.pid();
    let refused = |args: &[&str], reason: &str| {
        let output = dir.path().join("refused.data");
        Mempath::cargo_bin("mempath")
            .unwrap()
            .args(["watch", "-p", &pid, "-o"])
            .arg(&output)
            .args(args)
            .assert()
            .code(1)
            .stderr(predicates::str::contains(reason));
        assert!(!output.exists());
    };
    let map = ["--map", "main.sessions"];
    refused(
        &["--map", "main.nosuch", "--words", "count"],
        "main.sessions, main.small",
    );
    refused(
        &[map[0], map[1], "--words", "used"],
        "has no word 'used' (in its version of Go: count); it has count, flags, B",
    );
    refused(&map, "nothing to watch");
    let five = ["--words", "count,flags,B,buckets,oldbuckets"];
    refused(
        &[map[0], map[1], five[0], five[1]],
        "5 words are to be watched",
    );
    assert_eq!(program.ask("lookup sessions 1"), "did 1");
}
