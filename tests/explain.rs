//! `mempath explain`: every number it prints is the truth's, and its row is the export's.

mod common;

use assert_cmd::Command;
use mempath::attribute::attribute_watching;
use mempath::explain::{Explanation, Verdict, explain};
use mempath::program::Program;
use mempath::program::kernel::Kernel;
use mempath::recording::{self, Recording};
use predicates::str::{contains, diff};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SETS: [&str; 2] = ["modelled-go1.22-twins", "modelled-go1.27-twins"];

fn sample(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(file)
}

fn mempath() -> Command {
    Command::cargo_bin("mempath").unwrap()
}

struct Set {
    recording: Recording,
    programs: Vec<Option<Arc<Program>>>,
}

impl Set {
    fn open(set: &str) -> Set {
        let recording = recording::read(&sample(set).join("perf.data")).unwrap();
        let program = Arc::new(Program::open(&sample(set).join("mapload.gz")).unwrap());
        let programs = recording.space.images.iter().map(|image| {
            let its = image.path.ends_with("/mapload");
            its.then(|| Arc::clone(&program))
        });
        Set {
            programs: programs.collect(),
            recording,
        }
    }

    fn explain(&self, n: usize) -> Explanation {
        let (attribution, trace) = attribute_watching(
            &self.recording,
            &self.programs,
            &Kernel::default(),
            None,
            Some(n),
        );
        explain(&self.recording, &attribution, &trace.unwrap(), n)
    }
}

/// Rows of the truth, by column.
fn truth(set: &str) -> Vec<BTreeMap<String, String>> {
    let mut text = String::new();
    let file = File::open(sample(set).join("truth.csv.gz")).unwrap();
    let mut file = flate2::read::GzDecoder::new(file);
    file.read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        let fields = line.split(',').map(str::to_owned);
        names
            .iter()
            .map(|name| (*name).to_owned())
            .zip(fields)
            .collect()
    };
    lines.map(row).collect()
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

/// The first sample in map code of each structure and field, with the numbers that the truth has.
#[test]
fn the_arithmetic_has_the_numbers_of_the_truth() {
    for set in SETS {
        let open = Set::open(set);
        let mut seen = BTreeMap::new();
        for row in truth(set) {
            let wanted = [
                "bmap.tophash",
                "bmap.key",
                "bmap.overflow",
                "hmap.flags",
                "hmap.count",
            ];
            let swiss = [
                "group.ctrl",
                "group.key",
                "table.used",
                "Map.used",
                "Map.writing",
            ];
            let part = format!("{}.{}", row["structure"], row["field"]);
            let known = wanted.contains(&&*part) || swiss.contains(&&*part);
            if row["map_code"] == "1" && row["state"] == "cur" && known {
                seen.entry(part).or_insert(row);
            }
        }
        assert_eq!(seen.len(), 5, "{set}");
        for (part, row) in seen {
            let n = number(&row["n"]) as usize;
            let explanation = open.explain(n);
            let (addr, off) = (number(&row["addr"]), number(&row["off"]));
            let structure = row["structure"].as_str();
            let line = format!("{addr:#x} - {structure} {:#x} = {off}", addr - off);
            let lines = &explanation.arithmetic;
            assert!(lines.contains(&line), "{set} {n} {part}: {lines:?}");
            if row["slot"] != "-1" {
                let slot = format!(" = {}, byte {} of it", row["slot"], row["field_off"]);
                let found = lines
                    .iter()
                    .any(|l| l.starts_with(&part) && l.ends_with(&slot));
                assert!(found, "{set} {n} {part}: {lines:?}");
            }
            let last = explanation.steps.last().unwrap();
            assert_eq!(last.part, Some(part.as_str()));
            assert_eq!(
                last.header,
                Some(row["header"].clone()).filter(|_| last.header.is_some())
            );
            let disagreed = |r: &&mempath::explain::Rung| r.verdict == Verdict::Disagreed;
            assert_eq!(explanation.rungs.iter().find(disagreed), None, "{set} {n}");
            assert!(explanation.reason.is_none());
        }
    }
}

#[test]
fn the_row_is_the_one_that_export_prints() {
    let perf_data = sample(SETS[0]).join("perf.data");
    let output = mempath()
        .args(["export", "accesses", "--format", "csv"])
        .arg(&perf_data)
        .output()
        .unwrap();
    let export = String::from_utf8(output.stdout).unwrap();
    let open = Set::open(SETS[0]);
    for n in [0, 1, 500, 5000, 12610] {
        let explanation = open.explain(n);
        assert_eq!(explanation.row[0], export.lines().next().unwrap());
        assert_eq!(explanation.row[1], export.lines().nth(n + 1).unwrap());
    }
}

#[test]
fn a_sample_that_is_not_there_is_refused_with_how_many_there_are() {
    let perf_data = sample(SETS[0]).join("perf.data");
    mempath()
        .args(["explain", "--sample", "12611"])
        .arg(&perf_data)
        .assert()
        .code(1)
        .stdout("")
        .stderr(diff(format!(
            "mempath: there is no sample 12611 in '{}': it has 12611, counted from 0\n",
            perf_data.display()
        )));
}

/// Sample 22 of `rec1` is main.insert's store of elems[1] of bucket 4 (`rec1/decoded.txt`):
/// `mov qword ptr [rax], rdx  EA=c0000bc290 W8  => bmap[4].elems[1]`.
#[test]
fn a_caller_storing_an_elem_is_explained_by_the_call_that_handed_it_out() {
    let Some(shared) = common::shared() else {
        return;
    };
    let dir = tempfile::TempDir::new().unwrap();
    let packed = shared.join("recordings/rec1/perf.data.zst");
    let perf_data = common::inflate(&packed, &dir.path().join("perf.data"));
    mempath()
        .args(["explain", "--sample", "22", "--binary"])
        .arg(shared.join("recordings/rec1/rec1.bin.gz"))
        .arg(perf_data)
        .assert()
        .code(0)
        .stdout(contains("text                 mov [rax],rdx\n"))
        .stdout(contains("AX                   0xc0000bc290\n"))
        .stdout(contains("0xc0000bc290 - bmap 0xc0000bc240 = 80\n"))
        .stdout(contains(
            "bmap.elem: slot (80 - 72) / 8 = 1, byte 0 of it\n",
        ))
        .stdout(contains("its type there is map[uint64]uint64\n"));
}

#[test]
fn json_has_the_same_words() {
    let output = mempath()
        .args(["explain", "--sample", "0", "--format", "json"])
        .arg(sample(SETS[0]).join("perf.data"))
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["sample"]["addr"], "0x5bfb38");
    assert_eq!(json["instruction"]["function"], "main.markBegin");
    assert_eq!(json["reason"]["name"], "not a map access");
    let rungs = json["rungs"].as_array().unwrap();
    let order: Vec<&str> = rungs
        .iter()
        .filter_map(|r| r["evidence"].as_str())
        .collect();
    assert_eq!(
        order,
        [
            "code",
            "address",
            "call_site",
            "position",
            "learned_region",
            "heap",
            "registers"
        ]
    );
}

/// Two loads of `h.flags`: by Go's ABI `h` comes in BX, and the location list of `h` names that register only
/// until the argument is spilled.
#[test]
fn dwarf_is_quoted_where_it_names_the_base_register() {
    let open = Set::open(SETS[0]);
    let said = open.explain(157).declared.unwrap();
    let said = (said.register, &*said.dwarf, said.verdict);
    assert_eq!(said, ("BX", "h *runtime.hmap, flags", "agrees"));
    assert_eq!(open.explain(144).declared, None);
}
