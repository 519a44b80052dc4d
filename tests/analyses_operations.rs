//! Operations and concurrent use: hand-written sequences, real recordings of every access, and the
//! truth sets.

mod common;

use mempath::analyses::concurrent::{Clash, Danger, concurrent};
use mempath::analyses::operations::{Bracket, operations};
use mempath::analyses::touch::Touch;
use mempath::attribute::{Operation, Phase, Place};
use mempath::data_src::Op;
use mempath::gomap::Part;

fn place(operation: Operation, phase: Phase) -> Place {
    Place {
        operation: Some(operation),
        phase: Some(phase),
        ..Place::default()
    }
}

/// Sample `n` at `n` * 10 ns.
fn touch<'a>(n: usize, tid: i32, place: &'a Place, op: Op, part: Part, exact: bool) -> Touch<'a> {
    Touch {
        n,
        time: Some(n as u64 * 10),
        tid: Some(tid),
        cpu: Some(tid as u16),
        addr: 0x1000 + n as u64,
        op: Some(op),
        part: Some(part),
        map: Some(0),
        place: Some(place),
        exact,
        ..Touch::default()
    }
}

/// A delete in the source's order, and one that counts before it marks the slot empty.
#[test]
fn a_delete_is_one_bracket_and_its_order_is_checked() {
    use Operation::Delete;
    let flags = place(Delete, Phase::CheckFlags);
    let (key, elem) = (
        place(Delete, Phase::ClearKey),
        place(Delete, Phase::ClearElem),
    );
    let (mark, back) = (
        place(Delete, Phase::MarkEmpty),
        place(Delete, Phase::BackPropagate),
    );
    let count = place(Delete, Phase::Count);
    let s = |n, place, part| touch(n, 7, place, Op::Store, part, true);
    let good = [
        touch(0, 7, &flags, Op::Load, Part::HmapFlags, true),
        s(1, &flags, Part::HmapFlags),
        s(2, &key, Part::BmapKey),
        s(3, &elem, Part::BmapElem),
        s(4, &mark, Part::BmapTophash),
        s(5, &back, Part::BmapTophash),
        s(6, &back, Part::BmapTophash),
        s(7, &count, Part::HmapCount),
        s(8, &flags, Part::HmapFlags),
    ];
    // From the store at 10 ns to the one at 80 ns; the load before it belongs to no bracket.
    let found = operations(&good);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].duration_ns(), Some(70));
    assert_eq!(found[0].samples, [1, 2, 3, 4, 5, 6, 7, 8]);
    use Phase::*;
    assert_eq!(
        found[0].phases,
        [
            CheckFlags,
            ClearKey,
            ClearElem,
            MarkEmpty,
            BackPropagate,
            Count
        ]
    );
    assert_eq!(found[0].deviations, []);

    let bad = [
        s(1, &flags, Part::HmapFlags),
        s(2, &count, Part::HmapCount),
        s(3, &mark, Part::BmapTophash),
        s(4, &flags, Part::HmapFlags),
    ];
    let found = operations(&bad);
    let late: Vec<_> = found[0]
        .deviations
        .iter()
        .map(|d| (d.sample, d.phase, d.after))
        .collect();
    assert_eq!(late, [(3, MarkEmpty, Count)]);
}

#[test]
fn a_reader_inside_of_a_write_is_concurrent_use() {
    let flags = place(Operation::Assign, Phase::CheckFlags);
    let check = place(Operation::Access, Phase::CheckFlags);
    let key = place(Operation::Access, Phase::CompareKey);
    let sequence = [
        touch(1, 1, &flags, Op::Store, Part::HmapFlags, true),
        touch(2, 2, &check, Op::Load, Part::HmapFlags, true),
        touch(3, 2, &key, Op::Load, Part::BmapKey, true),
        touch(4, 1, &flags, Op::Store, Part::HmapFlags, true),
        // After the flag is cleared: no overlap.
        touch(5, 2, &check, Op::Load, Part::HmapFlags, true),
    ];
    let brackets = operations(&sequence);
    assert_eq!(brackets[0].between, [2, 3]);
    let found = concurrent(&sequence, &brackets, 100);
    let kinds: Vec<_> = found
        .iter()
        .map(|o| (o.clash, o.danger, o.accesses, o.first))
        .collect();
    assert_eq!(
        kinds,
        [
            (Clash::ReadWrite, Danger::FlagRead, 1, (1, 2, 4)),
            (Clash::ReadWrite, Danger::FlagSet, 1, (1, 3, 4)),
        ]
    );
}

#[test]
fn samples_overlap_only_between_two_of_one_operation() {
    let write = place(Operation::Assign, Phase::CompareKey);
    let read = place(Operation::Access, Phase::CompareKey);
    let iterate = place(Operation::Iterate, Phase::Iterate);
    let t = |n, tid, place| touch(n, tid, place, Op::Load, Part::BmapKey, false);
    let clashes = |touches: &[Touch]| -> Vec<Clash> {
        concurrent(touches, &[], 100)
            .iter()
            .map(|o| o.clash)
            .collect()
    };
    // A writes, B reads, A writes within 20 ns: B was inside.
    assert_eq!(
        clashes(&[t(1, 1, &write), t(2, 2, &read), t(3, 1, &write)]),
        [Clash::ReadWrite]
    );
    assert_eq!(
        clashes(&[t(1, 1, &iterate), t(2, 2, &write), t(3, 1, &iterate)]),
        [Clash::IterateWrite]
    );
    assert_eq!(
        clashes(&[t(1, 1, &write), t(2, 2, &write), t(3, 1, &write)]),
        [Clash::WriteWrite]
    );
    // One after the other, as under a lock; readers among themselves; 190 ns apart.
    assert_eq!(
        clashes(&[t(1, 1, &write), t(2, 2, &read), t(3, 2, &read)]),
        []
    );
    assert_eq!(
        clashes(&[t(1, 1, &read), t(2, 2, &read), t(3, 1, &read)]),
        []
    );
    assert_eq!(
        clashes(&[t(1, 1, &write), t(2, 2, &read), t(20, 1, &write)]),
        []
    );
    // Another kind of operation of A in between: the first one is over.
    assert_eq!(
        clashes(&[t(1, 1, &write), t(2, 2, &write), t(3, 1, &read)]),
        []
    );
}

/// Brackets of a recording in `samples/`, by way of the command.
fn of_sample(name: &str, binary: &str) -> serde_json::Value {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(name);
    let packed = std::fs::File::open(samples.join(format!("{binary}.gz"))).unwrap();
    let mut program = Vec::new();
    flate2::read::GzDecoder::new(packed)
        .read_to_end(&mut program)
        .unwrap();
    let path = dir.path().join(binary);
    std::fs::write(&path, program).unwrap();
    let output = assert_cmd::Command::cargo_bin("mempath")
        .unwrap()
        .arg("order")
        .arg(samples.join("perf.data"))
        .arg("--binary")
        .arg(&path)
        .args(["--format", "json"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The program (`samples/src/probe`, "orders 12 2 1 lookup update delete insert iterate grow lookup")
/// updates 12 entries, deletes 12, inserts 12 and grows from 12 to 48 by 36 inserts: 60 assigns and 12
/// deletes, each under one lock, on two threads.
#[test]
fn every_operation_of_the_samples_is_found_and_none_overlaps() {
    for (name, binary) in [
        ("classic-go1.22", "probe-go1.22.10"),
        ("swiss-go1.27", "probe-go1.27.3"),
    ] {
        let answer = of_sample(name, binary);
        let count = |operation: &str| {
            let all = answer["operations"].as_array().unwrap();
            all.iter().filter(|b| b["operation"] == operation).count()
        };
        assert_eq!((count("assign"), count("delete")), (60, 12), "{name}");
        for bracket in answer["operations"].as_array().unwrap() {
            assert!(bracket["end_ns"].is_u64(), "{name}: {bracket}");
            assert_eq!(bracket["between"], serde_json::json!([]), "{name}");
            assert_eq!(
                bracket["deviations"],
                serde_json::json!([]),
                "{name}: {bracket}"
            );
        }
        assert_eq!(answer["concurrent"], serde_json::json!([]), "{name}");
        assert_eq!(answer["every_access"], true);
    }
}

#[test]
fn an_open_bracket_has_no_duration() {
    let flags = place(Operation::Clear, Phase::CheckFlags);
    let found: Vec<Bracket> = operations(&[touch(1, 1, &flags, Op::Store, Part::MapWriting, true)]);
    assert_eq!(found[0].duration_ns(), None);
}

/// The truth programs take locks around every use of a shared map, and one of them is a sync.Map; the
/// windows are the default and five times that.
#[test]
fn the_truth_sets_have_no_concurrent_use() {
    use std::io::Read;
    let Some(shared) = common::shared() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for set in ["go1.22.10-twins", "go1.27.3-twins"] {
        let truth = shared.join("truth").join(set);
        let recording = dir.path().join("perf.data");
        common::inflate(&truth.join("perf.data.regs.zst"), &recording);
        let packed = std::fs::File::open(truth.join("mapload.gz")).unwrap();
        let mut program = Vec::new();
        flate2::read::GzDecoder::new(packed)
            .read_to_end(&mut program)
            .unwrap();
        let binary = dir.path().join("mapload");
        std::fs::write(&binary, program).unwrap();
        for window in ["100", "500"] {
            let output = assert_cmd::Command::cargo_bin("mempath")
                .unwrap()
                .arg("order")
                .arg(&recording)
                .arg("--binary")
                .arg(&binary)
                .args(["--window", window, "--format", "json"])
                .output()
                .unwrap();
            let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(found["concurrent"], serde_json::json!([]), "{set} {window}");
            assert_eq!(found["operations"], serde_json::json!([]), "{set}");
        }
    }
}
