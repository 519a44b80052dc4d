//! Programs of 32 bits: named as they are, and nothing said of their maps.

#![cfg(target_arch = "x86_64")]

mod common;

use common::builder::{EventSpec, REGS_INTR, RecordingBuilder, Sample};
use common::perf;
use common::target::{Running, breakpoints, build_with};
use mempath::program::{Arch, Program};
use mempath::recording::read_bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

/// Go of a 386: `VERSION` and what it is linked with.
fn built(version: &str, dir: &Path) -> std::path::PathBuf {
    build_with(
        "tests/programs/watched.go",
        version,
        &[("GOARCH", "386")],
        dir,
    )
}

/// Whether this kernel runs programs for i386 (`CONFIG_IA32_EMULATION`).
fn runs(binary: &Path) -> bool {
    match Command::new(binary).stdin(Stdio::null()).output() {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::ENOEXEC), "{error}");
            eprintln!("{error}: this kernel runs no 32-bit programs; nothing is tested");
            false
        }
    }
}

/// `go tool nm` of the same file.
fn nm(version: &str, binary: &Path) -> BTreeMap<u64, String> {
    let go = common::go::goroot(version).join("bin/go");
    let mut command = Command::new(go);
    let output = command.args(["tool", "nm"]).arg(binary).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let symbol = |line: &str| {
        let mut fields = line.split_whitespace();
        let (address, kind) = (fields.next()?, fields.next()?);
        let name = fields.collect::<Vec<_>>().join(" ");
        matches!(kind, "T" | "t").then_some((u64::from_str_radix(address, 16).ok()?, name))
    };
    text.lines().filter_map(symbol).collect()
}

#[test]
fn the_functions_of_a_32_bit_binary_are_those_of_its_symbol_table() {
    let dir = tempfile::tempdir().unwrap();
    let binary = built("1.22.10", dir.path());
    let program = Program::open(&binary).unwrap();
    assert_eq!((program.arch, program.narrow), (Arch::X86, true));
    assert_eq!(program.go.as_ref().unwrap().version, "go1.22.10");
    assert!(program.layout().is_none());
    let symbols = nm("1.22.10", &binary);
    let main = symbols.iter().filter(|(_, name)| name.starts_with("main."));
    for (address, name) in main {
        let function = program.function_at(*address).unwrap();
        assert_eq!((&function.name, function.start), (name, *address));
    }
    for name in ["main.main", "main.insert", "main.find", "main.main.func1"] {
        let (address, _) = symbols.iter().find(|(_, symbol)| *symbol == name).unwrap();
        let frames = program.frames_at(*address);
        let frame = frames.last().unwrap();
        assert_eq!(frame.function, name);
        assert!(frame.file.as_deref().unwrap().ends_with("/watched.go"));
    }
}

fn recorded(version: &str) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let binary = built(version, dir);
    if !runs(&binary) {
        return;
    }
    let mut program = Running::start(&mut Command::new(&binary));
    let line = program.line();
    let header = line.strip_prefix("ready ").unwrap();
    let recording = dir.join("perf.data");
    let path = recording.to_str().unwrap();
    let mut recorder = Command::new("perf")
        .args(["record", "-N", "-c", "1", "-d", "-I", "-T", "-g"])
        .args(["-e", &format!("mem:0x{header}/4:rw:u")])
        .args(["-p", &program.pid(), "-o", path, "--", "sleep", "1"])
        .env("HOME", dir)
        .spawn()
        .unwrap();
    while recorder.try_wait().unwrap().is_none() {
        assert_eq!(program.ask("update sessions 5"), "did 5");
        assert_eq!(program.ask("insert sessions 2"), "did 2");
        assert_eq!(program.ask("delete sessions 2"), "did 2");
    }
    drop(program);

    let output = Command::new(assert_cmd::cargo::cargo_bin("mempath"))
        .args(["export", "accesses", "--format", "csv", path])
        .env("HOME", dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    let rows: Vec<Vec<&str>> = lines.collect();
    let of = |row: &Vec<&str>, name: &str| {
        let at = columns.iter().position(|column| *column == name).unwrap();
        row[at].to_owned()
    };
    let all = |name: &str| {
        rows.iter()
            .map(|row| of(row, name))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(all("part"), BTreeSet::from([String::new()]));
    assert_eq!(all("map"), BTreeSet::from([String::new()]));
    assert_eq!(all("reason"), BTreeSet::from(["32-bit program".to_owned()]));

    // What perf calls the function at each ip.
    let script = perf(&["script", "-i", path, "-G", "-F", "ip,sym"]);
    let known: BTreeMap<String, String> = script
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(ip, symbol)| (ip.to_owned(), symbol.trim().to_owned()))
        .collect();
    assert!(known.len() >= 3, "{script}");
    let program = Program::open(&binary).unwrap();
    for row in &rows {
        let ip = of(row, "ip");
        let ip = ip.trim_start_matches("0x");
        let at = u64::from_str_radix(ip, 16).unwrap() - 1;
        let outermost = program.function_at(at).unwrap();
        assert_eq!(Some(&outermost.name), known.get(ip), "{ip}");
        assert_eq!(
            of(row, "function"),
            program.frames_at(at)[0].function,
            "{ip}"
        );
    }

    let explained = Command::new(assert_cmd::cargo::cargo_bin("mempath"))
        .args(["explain", path, "--sample", "0"])
        .env("HOME", dir)
        .output()
        .unwrap();
    let explained = String::from_utf8(explained.stdout).unwrap();
    assert!(explained.contains("32-bit program"), "{explained}");
}

#[test]
fn samples_of_a_classic_386_program_have_functions_and_their_reason() {
    recorded("1.22.10");
}

#[test]
fn samples_of_a_swiss_386_program_have_functions_and_their_reason() {
    recorded("1.27.3");
}

/// `PERF_SAMPLE_REGS_ABI_32` is 1, `PERF_SAMPLE_REGS_ABI_64` 2.
#[test]
fn registers_of_a_32_bit_task_are_not_taken_for_those_of_64_bits() {
    let mut recording = RecordingBuilder::new();
    let mut event = EventSpec::loads();
    event.sample_type |= REGS_INTR;
    event.sample_regs_intr = 0b11;
    recording.event(event);
    for abi in [1, 2] {
        recording.sample(
            0,
            Sample {
                regs_intr: vec![0x1111, 0x2222],
                regs_abi: abi,
                ..Sample::load(30)
            },
        );
    }
    let read = read_bytes(Path::new("test"), &recording.file()).unwrap();
    let of = |sample| [0, 1].map(|reg| read.processor(sample).register(reg));
    assert_eq!(of(0), [None, None]);
    assert_eq!(of(1), [Some(0x1111), Some(0x2222)]);
    assert_eq!(read.damage, []);
}
