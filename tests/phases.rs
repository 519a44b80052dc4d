//! Operations and phases: in every variant and version, in the order of the runtime's source, and as
//! recordings of every access to a few words show it.

mod common;

use mempath::attribute::{Attribution, Operation, Phase, attribute, steps_of};
use mempath::export::digest::Digest;
use mempath::gomap::Part;
use mempath::program::Program;
use mempath::program::kernel::Kernel;
use mempath::recording::{self, Recording};
use mempath::tables::Tables;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use Phase::{
    BackPropagate, CheckFlags, ClearElem, ClearFlag, ClearKey, CompareControl, CompareKey, Count,
    Hash, Locate, MarkEmpty, NilCheck, SetFlag, WriteControl, WriteKey,
};

fn sample(file: &str) -> Arc<Program> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
    Arc::new(Program::open(&root.join(file)).unwrap())
}

const SOURCE: &str = "package main

type pair struct{ a, b uint64 }

func main() {
	small := map[uint32]string{}
	plain := map[uint64]*int{}
	words := map[string]*int{}
	pairs := map[pair]string{}
	chans := map[chan int]int{}
	for i := uint64(0); i < 1000; i++ {
		small[uint32(i)] = \"x\"
		plain[i] = new(int)
		words[string(rune(i))] = new(int)
		pairs[pair{i, i}] = \"x\"
		chans[make(chan int)] = 1
	}
	for i := uint64(0); i < 1000; i++ {
		delete(small, uint32(i))
		delete(plain, i)
		delete(words, string(rune(i)))
		delete(pairs, pair{i, i})
	}
	println(len(small), len(plain), len(words), len(pairs), len(chans))
}
";

/// The program above, built with this Go.
fn built(version: &str, dir: &Path) -> Arc<Program> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/go-toolchain");
    let root = Command::new(script).arg(version).output().unwrap();
    assert!(root.status.success(), "{version}");
    let go = PathBuf::from(String::from_utf8(root.stdout).unwrap().trim()).join("bin/go");
    std::fs::write(dir.join("go.mod"), "module phases\n\ngo 1.20\n").unwrap();
    std::fs::write(dir.join("main.go"), SOURCE).unwrap();
    let status = Command::new(go)
        .current_dir(dir)
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("CGO_ENABLED", "0")
        .args(["build", "-trimpath", "-ldflags=-s -w", "-o", version])
        .status()
        .unwrap();
    assert!(status.success(), "{version}");
    Arc::new(Program::open(&dir.join(version)).unwrap())
}

/// The phases of a function in the order of its steps, repeats and nil checks left out.
fn phases(program: &Arc<Program>, function: &str) -> Vec<Phase> {
    let steps = steps_of(program, function);
    let mut phases: Vec<Phase> = steps.iter().filter_map(|(place, ..)| place.phase).collect();
    phases.retain(|phase| *phase != NilCheck);
    phases.dedup();
    phases
}

/// `mapdelete_fast64` of `runtime/map_fast64.go` (1.18 to 1.23): `for { if key != *k || isEmpty(tophash)
/// { continue }; clear key; clear elem (a call); tophash = emptyOne; emptyRest backwards; count-- }`.
const FAST64: [Phase; 14] = [
    Count,
    CheckFlags,
    Hash,
    CheckFlags,
    SetFlag,
    Locate,
    CompareKey,
    CompareControl,
    ClearKey,
    MarkEmpty,
    BackPropagate,
    Count,
    CheckFlags,
    ClearFlag,
];

/// `mapdelete` of `runtime/map.go`: tophash first, then the key, and an indirect elem is cleared here.
const GENERIC: [Phase; 15] = [
    Count,
    CheckFlags,
    Hash,
    CheckFlags,
    SetFlag,
    Locate,
    CompareControl,
    CompareKey,
    ClearKey,
    ClearElem,
    MarkEmpty,
    BackPropagate,
    Count,
    CheckFlags,
    ClearFlag,
];

/// `mapdelete_faststr`: the length of the key, tophash, then the key's pointer.
const FASTSTR: [Phase; 15] = [
    Count,
    CheckFlags,
    Hash,
    CheckFlags,
    SetFlag,
    Locate,
    CompareKey,
    CompareControl,
    CompareKey,
    ClearKey,
    MarkEmpty,
    BackPropagate,
    Count,
    CheckFlags,
    ClearFlag,
];

/// `(*table).Delete` of `internal/runtime/maps/table.go`: the counts go down before key and elem are
/// cleared; the control word decides between empty and deleted; the probe's own look at it is last.
const TABLE: [Phase; 10] = [
    Locate,
    CompareControl,
    CompareKey,
    Count,
    ClearKey,
    ClearElem,
    MarkEmpty,
    Count,
    MarkEmpty,
    CompareControl,
];

fn classic(program: &Arc<Program>, name: &str) {
    // Keys of 4 bytes hold no pointer on amd64: nothing to clear.
    let mut fast32 = FAST64.to_vec();
    fast32.retain(|phase| *phase != ClearKey);
    assert_eq!(
        phases(program, "runtime.mapdelete_fast64"),
        FAST64,
        "{name}"
    );
    assert_eq!(
        phases(program, "runtime.mapdelete_fast32"),
        fast32,
        "{name}"
    );
    assert_eq!(
        phases(program, "runtime.mapdelete_faststr"),
        FASTSTR,
        "{name}"
    );
    assert_eq!(phases(program, "runtime.mapdelete"), GENERIC, "{name}");
}

fn swiss(program: &Arc<Program>, name: &str) {
    let maps = |f: &str| phases(program, &format!("internal/runtime/maps.{f}"));
    assert_eq!(maps("(*table).Delete"), TABLE, "{name}");
    assert_eq!(
        maps("(*Map).deleteSmall"),
        [
            Locate,
            CompareControl,
            CompareKey,
            Count,
            ClearKey,
            ClearElem,
            MarkEmpty
        ],
        "{name}"
    );
}

#[test]
fn a_delete_goes_through_its_phases_in_the_order_of_the_source() {
    classic(
        &sample("classic-go1.22/probe-go1.22.10.gz"),
        "probe 1.22.10",
    );
    swiss(&sample("swiss-go1.27/probe-go1.27.3.gz"), "probe 1.27.3");
}

/// Stripped binaries of other versions.
#[test]
fn the_phases_are_the_same_in_other_versions() {
    let dir = tempfile::tempdir().unwrap();
    for version in ["1.21.13", "1.23.9"] {
        classic(&built(version, dir.path()), version);
    }
    for version in ["1.24.11", "1.25.5"] {
        swiss(&built(version, dir.path()), version);
    }
}

/// `mapassign_fast64ptr` loads the old key for the write barrier: that compares nothing.
#[test]
fn an_assign_writes_the_key_before_the_control_byte_in_swiss_maps() {
    let program = sample("swiss-go1.27/probe-go1.27.3.gz");
    for variant in ["fast32", "fast64", "fast64ptr", "faststr"] {
        let phases = phases(&program, &format!("runtime.mapassign_{variant}"));
        let key = phases.iter().rposition(|p| *p == WriteKey).unwrap();
        assert_eq!(
            phases[key..key + 3],
            [WriteKey, WriteControl, Count],
            "{variant}"
        );
        assert_eq!(phases.last(), Some(&ClearFlag), "{variant}");
    }
}

fn recorded(name: &str, dir: &Path) -> Option<(Recording, Attribution)> {
    let shared = common::shared()?.join("recordings").join(name);
    let packed = shared.join("perf.data.zst");
    let recording = recording::read(&common::inflate(&packed, &dir.join(name))).unwrap();
    let program = Arc::new(Program::open(&shared.join(format!("{name}.bin.gz"))).unwrap());
    let images = recording.space.images.iter();
    let programs: Vec<_> = images
        .map(|image| image.path.ends_with(".bin").then(|| Arc::clone(&program)))
        .collect();
    let attribution = attribute(&recording, &programs, &Kernel::default(), None);
    Some((recording, attribution))
}

/// How often each phase and part was recorded in deletes.
fn counts(attribution: &Attribution) -> BTreeMap<(Phase, Part), usize> {
    let mut counts = BTreeMap::new();
    for (place, part) in attribution.place.iter().zip(&attribution.part) {
        let place = &attribution.places[place as usize];
        if let (Some(Operation::Delete), Some(phase), Ok(part)) =
            (place.operation, place.phase, part)
        {
            *counts.entry((phase, *part)).or_default() += 1;
        }
    }
    counts
}

/// `rec1/all-decoded.txt` counts the accesses of every instruction; `map_fast64.go` of go1.22.10 says
/// what is at their lines: emptyOne is stored in 318, what touches tophash after it is the
/// back-propagation.
#[test]
fn recorded_deletes_of_a_classic_map_are_in_the_phases_of_their_lines() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_, attribution)) = recorded("rec1", dir.path()) else {
        return;
    };
    let expected = BTreeMap::from([
        ((CheckFlags, Part::HmapFlags), 80 + 80 + 80 + 80),
        ((SetFlag, Part::HmapFlags), 80),
        ((ClearFlag, Part::HmapFlags), 80),
        ((Hash, Part::HmapHash0), 80),
        ((Locate, Part::HmapB), 80),
        ((CompareControl, Part::BmapTophash), 80),
        ((MarkEmpty, Part::BmapTophash), 49),
        ((BackPropagate, Part::BmapTophash), 49 + 49 + 37),
        // memclrNoHeapPointers: it has no frame, so the chain leads from it to main.remove.
        ((ClearElem, Part::BmapElem), 12),
        ((Count, Part::HmapCount), 80 + 98),
        ((NilCheck, Part::BmapTophash), 49 + 37),
    ]);
    assert_eq!(counts(&attribution), expected);
}

/// In a recording of every access to some words, what follows in a thread is what comes next in the
/// operation: the step rises, unless the loop over slots goes round or a new operation begins.
#[test]
fn recorded_deletes_go_through_their_steps_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for (name, deletes) in [("rec1", 80), ("rec2", 80)] {
        let Some((recording, attribution)) = recorded(name, dir.path()) else {
            return;
        };
        let mut threads: BTreeMap<i32, Vec<(u32, Phase)>> = BTreeMap::new();
        for (i, place) in attribution.place.iter().enumerate() {
            let place = &attribution.places[place as usize];
            let (_, tid) = recording.samples.thread.get(i).unwrap();
            if let (Some(Operation::Delete), Some(step), Some(phase)) =
                (place.operation, place.step, place.phase)
            {
                threads.entry(tid).or_default().push((step, phase));
            }
        }
        let loops = |phase| {
            matches!(
                phase,
                CompareControl | CompareKey | BackPropagate | NilCheck
            )
        };
        let mut begun = 0;
        for steps in threads.values() {
            let first = steps.iter().map(|(step, _)| *step).min().unwrap();
            begun += steps.iter().filter(|(step, _)| *step == first).count();
            for pair in steps.windows(2) {
                let ((before, was), (after, is)) = (pair[0], pair[1]);
                let rises = after > before || after == first;
                // The two watches of one instruction, or the next round of a loop.
                let again = after == before || (loops(was) && loops(is));
                assert!(
                    rises || again,
                    "{name}: {before:#x} {was:?} then {after:#x} {is:?}"
                );
            }
        }
        assert_eq!(begun, deletes, "{name}");
    }
}

/// The report's chart and the digest have one delete in the order of `mapdelete_fast64`.
#[test]
fn a_delete_is_drawn_and_exported_in_its_order() {
    let dir = tempfile::tempdir().unwrap();
    let Some((recording, attribution)) = recorded("rec1", dir.path()) else {
        return;
    };
    let tables = Tables::build(&recording, &attribution, Vec::new()).unwrap();
    let digest = Digest::of(&tables, None).unwrap();
    let delete = digest
        .operations
        .iter()
        .find(|o| o.operation == "delete")
        .unwrap();
    let steps: Vec<(&str, u64, u64)> = delete
        .steps
        .iter()
        .map(|s| {
            (
                s.phase.as_deref().unwrap(),
                s.line.unwrap(),
                s.measures.samples,
            )
        })
        .collect();
    let expected = [
        ("count", 278, 80),
        ("check_flags", 281, 80),
        ("hash", 285, 80),
        ("check_flags", 288, 80),
        ("set_flag", 288, 80),
        ("locate", 290, 80),
        ("compare_control", 299, 80),
        ("clear_elem", 175, 12),
        ("mark_empty", 318, 49),
        ("back_propagate", 326, 49),
        ("nil_check", 331, 49),
        ("back_propagate", 331, 49),
        ("nil_check", 344, 37),
        ("back_propagate", 344, 37),
        ("count", 349, 49),
        ("count", 349, 49),
        ("check_flags", 359, 80),
        ("check_flags", 362, 80),
        ("clear_flag", 362, 80),
    ];
    assert_eq!(steps, expected);
    let page = mempath::report::render(&tables).unwrap();
    let title = "<title>One delete (runtime.mapdelete_fast64), from top to bottom</title>";
    assert_eq!(page.matches(title).count(), 1);
}
