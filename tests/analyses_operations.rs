//! Operations and concurrent use: hand-written sequences, real recordings of every access, and the
//! truth sets.

mod common;

use mempath::analyses::concurrent::{Clash, Danger, concurrent};
use mempath::analyses::operations::{Bracket, operations};
use mempath::analyses::touch::Touch;
use mempath::attribute::{Operation, Phase, Place};
use mempath::data_src::Op;
use mempath::gomap::Part;
use mempath::recording::{Gap, GapKind, Recording, SpaceBuilder};

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

/// Of a recording in which nothing is missing.
fn brackets(touches: &[Touch]) -> Vec<Bracket> {
    operations(touches, &Recording::default())
}

/// A delete in the source's order, and one that counts before it marks the slot empty.
#[test]
fn a_delete_is_one_bracket_and_its_order_is_checked() {
    use Operation::Delete;
    let check = place(Delete, Phase::CheckFlags);
    let (set, clear) = (
        place(Delete, Phase::SetFlag),
        place(Delete, Phase::ClearFlag),
    );
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
        touch(0, 7, &check, Op::Load, Part::HmapFlags, true),
        s(1, &set, Part::HmapFlags),
        s(2, &key, Part::BmapKey),
        s(3, &elem, Part::BmapElem),
        s(4, &mark, Part::BmapTophash),
        s(5, &back, Part::BmapTophash),
        s(6, &back, Part::BmapTophash),
        s(7, &count, Part::HmapCount),
        s(8, &clear, Part::HmapFlags),
    ];
    // From the store at 10 ns to the one at 80 ns; the load before it belongs to no bracket.
    let found = brackets(&good);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].duration_ns(), Some(70));
    assert_eq!(found[0].samples, [1, 2, 3, 4, 5, 6, 7, 8]);
    use Phase::*;
    assert_eq!(
        found[0].phases,
        [
            SetFlag,
            ClearKey,
            ClearElem,
            MarkEmpty,
            BackPropagate,
            Count,
            ClearFlag
        ]
    );
    assert_eq!(found[0].deviations, []);

    let bad = [
        s(1, &set, Part::HmapFlags),
        s(2, &count, Part::HmapCount),
        s(3, &mark, Part::BmapTophash),
        s(4, &clear, Part::HmapFlags),
    ];
    let found = brackets(&bad);
    let late: Vec<_> = found[0]
        .deviations
        .iter()
        .map(|d| (d.sample, d.phase, d.after))
        .collect();
    assert_eq!(late, [(3, MarkEmpty, Count)]);
}

#[test]
fn a_reader_inside_of_a_write_is_concurrent_use() {
    let set = place(Operation::Assign, Phase::SetFlag);
    let clear = place(Operation::Assign, Phase::ClearFlag);
    let check = place(Operation::Access, Phase::CheckFlags);
    let key = place(Operation::Access, Phase::CompareKey);
    let sequence = [
        touch(1, 1, &set, Op::Store, Part::HmapFlags, true),
        touch(2, 2, &check, Op::Load, Part::HmapFlags, true),
        touch(3, 2, &key, Op::Load, Part::BmapKey, true),
        touch(4, 1, &clear, Op::Store, Part::HmapFlags, true),
        // After the flag is cleared: no overlap.
        touch(5, 2, &check, Op::Load, Part::HmapFlags, true),
    ];
    let brackets = brackets(&sequence);
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

/// An assign that begins on thread 1 and ends on thread 2, on which another goroutine deletes meanwhile,
/// and then one on thread 1.
#[test]
fn an_operation_follows_its_goroutine_to_another_thread() {
    let assign = |phase| place(Operation::Assign, phase);
    let (set, clear) = (assign(Phase::SetFlag), assign(Phase::ClearFlag));
    let s = |n, tid, g, place| Touch {
        g,
        ..touch(n, tid, place, Op::Store, Part::HmapFlags, true)
    };
    let (a, b) = (Some(0xc000_0000), Some(0xc000_0340));
    let locked = [
        s(1, 1, a, &set),
        s(3, 2, a, &clear),
        s(4, 1, b, &set),
        s(5, 1, b, &clear),
    ];
    let found = brackets(&locked);
    let spans: Vec<_> = found.iter().map(|b| (b.g, b.begin_ns, b.end_ns)).collect();
    assert_eq!(spans, [(a, 10, Some(30)), (b, 40, Some(50))]);
    assert!(found.iter().all(|bracket| bracket.between.is_empty()));
    assert_eq!(concurrent(&locked, &found, 100), []);
    // The same without the lock: b sets the flag on a's thread while a has not cleared it.
    let racing = [
        s(1, 1, a, &set),
        s(2, 1, b, &set),
        s(3, 2, a, &clear),
        s(5, 1, b, &clear),
    ];
    let found = brackets(&racing);
    let between: Vec<_> = found.iter().map(|b| b.between.as_slice()).collect();
    assert_eq!(between, [&[2], &[3]]);
    assert_eq!(concurrent(&racing, &found, 100).len(), 2);
    // Where no register tells the goroutine, the clear of thread 2 belongs to nobody that is known, and
    // thread 1 is inside of nothing.
    let unknown = locked.map(|touch| Touch { g: None, ..touch });
    let found = brackets(&unknown);
    let spans: Vec<_> = found.iter().map(|b| (b.begin_ns, b.end_ns)).collect();
    assert_eq!(spans, [(40, Some(50))]);
    assert_eq!(concurrent(&unknown, &found, 100), []);
}

/// A set, a clear that was lost with the set after it, and the clear of that one: 10 to 40 ns would be
/// one operation with another thread's inside.
#[test]
fn an_operation_that_a_loss_meets_is_none() {
    let assign = |phase| place(Operation::Assign, phase);
    let (set, clear) = (assign(Phase::SetFlag), assign(Phase::ClearFlag));
    let s = |n, tid, place| touch(n, tid, place, Op::Store, Part::MapWriting, true);
    let touches = [
        s(1, 1, &set),
        s(2, 2, &set),
        s(3, 2, &clear),
        s(6, 1, &clear),
        s(7, 1, &set),
        s(8, 1, &clear),
    ];
    assert_eq!(brackets(&touches).len(), 3);
    let recording = Recording {
        gaps: vec![Gap {
            time_ns: Some(55),
            cpu: Some(1),
            kind: GapKind::Lost,
            lost: 2,
        }],
        ..Recording::default()
    };
    let found = operations(&touches, &recording);
    // CPU 1 was last heard of at 10 ns.
    let spans: Vec<_> = found.iter().map(|b| (b.tid, b.begin_ns)).collect();
    assert_eq!(spans, [(1, 70)]);
}

/// When a recording is stopped, the threads are let go one after the other: of one the clear is missing
/// while another goes on. Only a process that ended is known to have left it open.
#[test]
fn an_operation_that_the_recording_ends_inside_of_is_none() {
    let set = place(Operation::Clear, Phase::SetFlag);
    let other = place(Operation::Assign, Phase::SetFlag);
    let s = |n, tid, place| touch(n, tid, place, Op::Store, Part::MapWriting, true);
    let touches = [s(1, 1, &set), s(2, 2, &other)];
    assert_eq!(brackets(&touches), []);
    // `fatal error: concurrent map writes` leaves it open.
    let mut space = SpaceBuilder::default();
    space.exit(touches[0].pid);
    let recording = Recording {
        space: space.finish(),
        ..Recording::default()
    };
    let found = operations(&touches, &recording);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].duration_ns(), None);
    assert_eq!(found[0].between, [2]);
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
