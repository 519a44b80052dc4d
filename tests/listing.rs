//! The frame `listing` against `objdump` (where instructions begin, where they go) and `perf script`
//! (which of them samples hit).

mod common;

use common::perf;
use mempath::tables::Tables;
use mempath::tables::columns as c;
use mempath::tables::read::{numbers, texts};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A sample and its tables.
fn tables(name: &str, binary: &str, dir: &Path) -> (PathBuf, PathBuf, Tables) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(name);
    let (recording, packed) = (
        sample.join("perf.data"),
        sample.join(binary).with_extension("gz"),
    );
    let program = dir.join(binary);
    let inflated = Command::new("gzip")
        .arg("-dc")
        .arg(&packed)
        .output()
        .unwrap();
    std::fs::write(&program, inflated.stdout).unwrap();
    let folder = dir.join("tables");
    let status = Command::new(env!("CARGO_BIN_EXE_mempath"))
        .arg("analyze")
        .arg(&recording)
        .arg("--binary")
        .arg(&program)
        .args(["--quiet", "--force", "--no-report", "--tables"])
        .arg(&folder)
        .status()
        .unwrap();
    assert!(status.success());
    (recording, program, Tables::read(&folder).unwrap())
}

/// Function -> (its first address, offset of each instruction -> text).
fn disassembled(program: &Path) -> BTreeMap<String, (u64, BTreeMap<u64, String>)> {
    let output = Command::new("objdump")
        .args(["-d", "-M", "intel", "--no-show-raw-insn"])
        .arg(program)
        .output()
        .expect("objdump is not installed; scripts/test installs it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut functions = BTreeMap::new();
    let mut at = (0, String::new());
    for line in text.lines() {
        let hex = |text: &str| u64::from_str_radix(text.trim(), 16).ok();
        if let Some((start, name)) = line.split_once(" <")
            && let (Some(start), Some(name)) = (hex(start), name.strip_suffix(">:"))
        {
            at = (start, name.to_owned());
            functions.insert(name.to_owned(), (start, BTreeMap::new()));
        } else if let Some((address, text)) = line.split_once(":\t")
            && let Some(address) = hex(address)
            && let Some((start, code)) = functions.get_mut(&at.1)
        {
            code.insert(address - *start, text.trim().to_owned());
        }
    }
    functions
}

/// Where objdump says that an instruction of `function` goes: an offset in it, or another symbol.
fn goes_to<'a>(function: &str, text: &'a str) -> (Option<&'a str>, Option<&'a str>) {
    let branches = text.starts_with("call ") || text.starts_with('j');
    let symbol = || text.rsplit_once('<')?.1.strip_suffix('>');
    let Some(symbol) = branches.then(symbol).flatten() else {
        return (None, None);
    };
    match symbol.strip_prefix(function) {
        Some("") => (Some("0x0"), None),
        Some(offset) if offset.starts_with('+') => (offset.strip_prefix('+'), None),
        // The symbol table marks what is of assembly, Go's own does not.
        _ => (None, Some(symbol.trim_end_matches(".abi0"))),
    }
}

#[test]
fn instructions_go_where_objdump_says_and_hold_the_samples_that_perf_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, program, tables) = tables("modelled-go1.22-twins", "mapload", dir.path());
    let known = disassembled(&program);
    let listing = &tables.listing;
    let mut hits = BTreeMap::<u64, u64>::new();
    let script = perf(&[
        "script",
        "-F",
        "ip",
        "-G",
        "-i",
        recording.to_str().unwrap(),
    ]);
    for line in script.lines() {
        let ip = u64::from_str_radix(line.trim(), 16);
        *hits
            .entry(ip.unwrap_or_else(|_| panic!("{line}")))
            .or_default() += 1;
    }
    let outer = texts(listing, c::OUTER).unwrap();
    let instructions = texts(listing, c::INSTRUCTION).unwrap();
    let targets = texts(listing, c::TARGET).unwrap();
    let offsets = numbers(listing, c::CODE_OFF).unwrap();
    let samples = numbers(listing, c::SAMPLES).unwrap();
    let (mut sampled, mut listed) = (0, Vec::new());
    for i in 0..listing.height() {
        let (name, offset) = (outer[i].unwrap(), offsets[i].unwrap());
        let (start, code) = &known[name];
        let text = code.get(&offset);
        let text = text.unwrap_or_else(|| panic!("{name}+{offset:#x} is no instruction"));
        let (inside, outside) = goes_to(name, text);
        let instruction = instructions[i].unwrap();
        assert_eq!(targets[i], outside, "{name}+{offset:#x} {instruction}");
        let to = instruction.split_once(" +").map(|(_, to)| to);
        assert_eq!(to, inside, "{name}+{offset:#x} {instruction}");
        assert_eq!(
            samples[i],
            hits.get(&(start + offset)).copied(),
            "{name}+{offset:#x}"
        );
        sampled += samples[i].unwrap_or(0);
        if listed.last() != Some(&name) {
            listed.push(name);
        }
    }
    // Each function once; nothing that samples hit in one of them is missing.
    let all: u64 = listed
        .iter()
        .flat_map(|name| known[*name].1.keys().map(|offset| known[*name].0 + offset))
        .filter_map(|ip| hits.get(&ip))
        .sum();
    assert_eq!((listed.len(), sampled), (24, all));
    assert!(listed.contains(&"runtime.mapaccess2_faststr"), "{listed:?}");
}
