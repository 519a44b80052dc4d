//! A whole perf.data of Arm SPE, made by the architecture's encoding: read, exported, and compared
//! with what perf makes of it.

mod common;
#[path = "spe/encoder.rs"]
mod encoder;

use assert_cmd::Command;
use common::builder::*;
use common::perf;
use encoder::{Stream, describe};
use mempath::data_src::{Level, Op, Snoop, Tlb};
use mempath::pmu::Kind;
use mempath::pmu::arm_spe::packet::Packet;
use mempath::pmu::arm_spe::record::event::{self, *};
use mempath::recording::{GapKind, Memory, Recording, read, read_bytes};
use proptest::prelude::*;
use std::path::Path;

const AUX: u32 = 11;
const SWITCH_CPU_WIDE: u32 = 15;
const AUXTRACE_INFO: u32 = 70;
const AUXTRACE: u32 = 71;
const TIME_CONV: u32 = 79;
const PMU: u32 = 9;
const PID: i32 = 4100;
const TID: i32 = 4103;
const N1: u64 = 0x413f_d0c1;
const A53: u64 = 0x410f_d034;

/// 25 MHz: 40 ns a count, from 1 s on.
const NS: u64 = 40;
const ZERO: u64 = 1_000_000_000;

fn spe() -> RecordingBuilder {
    let mut recording = RecordingBuilder::new().cpuid("0x00000000413fd0c1");
    recording.event(EventSpec {
        name: "arm_spe_0/ts_enable=1,pa_enable=1,min_latency=0/u".into(),
        kind: PMU,
        config: 3,
        sample_period: 4096,
        // As `perf mem record` opens it.
        sample_type: IP | TID_BIT | TIME | ADDR | CPU | IDENTIFIER | WEIGHT | DATA_SRC | PHYS_ADDR,
        sample_id_all: true,
        ..EventSpec::default()
    });
    recording
}

/// `PERF_SAMPLE_TID`; `TID` is the thread here.
const TID_BIT: u64 = 1 << 1;

fn info(recording: &mut RecordingBuilder, words: &[u64]) {
    let mut body = Writer::new(recording.big);
    body.u32(4).u32(0).words(words);
    recording.record(AUXTRACE_INFO, 0, &body.bytes);
}

fn time_conv(recording: &mut RecordingBuilder) {
    let mut body = Writer::new(recording.big);
    body.words(&[20, NS << 20, ZERO, 0, (1 << 56) - 1]);
    body.raw(&[1, 1, 0, 0, 0, 0, 0, 0]);
    recording.record(TIME_CONV, 0, &body.bytes);
}

/// AUX data of CPU 1, told by an AUX record and stored by an AUXTRACE record.
fn aux(recording: &mut RecordingBuilder, data: &[u8], offset: u64, flags: u64) {
    aux_of(recording, 1, data, offset, flags);
}

fn aux_of(recording: &mut RecordingBuilder, cpu: u32, data: &[u8], offset: u64, flags: u64) {
    let mut body = Writer::new(recording.big);
    body.words(&[offset, data.len() as u64, flags]);
    recording.stamped(AUX, 0, TID, ZERO + 9_000_000, body);
    let mut body = Writer::new(recording.big);
    body.words(&[data.len() as u64, offset, 5]);
    body.u32(cpu).u32(u32::MAX).u32(cpu).u32(0);
    recording.record(AUXTRACE, 0, &body.bytes);
    recording.records.raw(data);
}

fn begun() -> RecordingBuilder {
    let mut recording = spe();
    // In perf's order, which perf wants.
    time_conv(&mut recording);
    info(&mut recording, &[u64::from(PMU), 1]);
    recording.comm(PID, PID, "server", true, ZERO);
    recording.comm(PID, TID, "server", false, ZERO);
    recording.mmap(PID, 0x40_0000, 0x1000, "/bin/server", ZERO);
    recording
}

fn one(n: u64) -> Stream {
    Stream::default()
        .pc(0x40_0000 + 4 * n, 0)
        .context(1, TID as u32)
}

/// One record of every kind.
fn stream() -> Stream {
    let hit = RETIRED | L1D_ACCESS | TLB_ACCESS;
    let refill = hit | L1D_REFILL | LLC_ACCESS;
    let records = [
        one(0)
            .load()
            .events(hit)
            .counter(1, 3)
            .counter(0, 12)
            .va(0xc000_0100)
            .counter(2, 1)
            .pa(0x8_8000_0100)
            .source(0),
        one(1)
            .load()
            .events(refill)
            .counter(0, 60)
            .va(0xc000_0200)
            .source(0xb),
        one(2)
            .load()
            .events(refill | LLC_MISS | TLB_WALK)
            .counter(0, 330)
            .va(0xc000_0300)
            .source(0xe),
        one(3)
            .load()
            .events(refill | LLC_MISS | REMOTE_ACCESS)
            .counter(0, 700)
            .va(0xc000_0400)
            .source(0xd),
        one(4)
            .store()
            .events(RETIRED | L1D_ACCESS | L1D_REFILL | TLB_ACCESS)
            .counter(0, 40)
            .va(0xc000_0500),
        // A branch touches no memory.
        one(5)
            .operation(2, 1)
            .events(RETIRED | event::NOT_TAKEN)
            .counter(0, 17)
            .address(1, 0x40_0018 | 1 << 63),
        // The kernel's: EL1.
        Stream::default()
            .pc(0xffff_8000_1029_d3f4, 1)
            .context(1, TID as u32)
            .load()
            .events(hit)
            .counter(0, 13)
            .va(0xffff_0000_70d8_40d0)
            .source(8),
    ];
    let mut all = Stream::default();
    for (record, n) in records.into_iter().zip(0..) {
        all.0.extend(record.timestamp(25_000 + n * 25).pad_to(64).0);
    }
    all
}

fn open(recording: &RecordingBuilder) -> Recording {
    read_bytes(Path::new("test"), &recording.file()).unwrap()
}

#[test]
fn records_become_ordinary_samples() {
    let mut file = begun();
    aux(&mut file, &stream().0, 0, 0);
    for bytes in [file.file(), file.pipe()] {
        check(&read_bytes(Path::new("test"), &bytes).unwrap());
    }
}

fn check(recording: &Recording) {
    assert_eq!(recording.damage, []);
    let spe = &recording.events[0];
    assert_eq!((spe.memory, spe.pmu), (Memory::Sampled, Kind::ArmSpe));
    assert_eq!((spe.samples, recording.samples.len()), (7, 7));
    let told: Vec<_> = (0..7)
        .map(|i| {
            let access = recording.access(i);
            (
                access.op,
                access.level,
                access.snoop,
                access.tlb,
                access.latency_cycles,
            )
        })
        .collect();
    let load = Some(Op::Load);
    let tlb = Some(Tlb::L1OrL2Hit);
    assert_eq!(
        told,
        [
            (load, Some(Level::L1), Some(Snoop::None), tlb, Some(12)),
            (load, Some(Level::L3), Some(Snoop::Hit), tlb, Some(60)),
            (
                load,
                Some(Level::Ram),
                Some(Snoop::None),
                Some(Tlb::Miss),
                Some(330)
            ),
            (load, Some(Level::Remote), Some(Snoop::Peer), tlb, Some(700)),
            (Some(Op::Store), None, None, tlb, Some(40)),
            (None, None, None, None, None),
            (load, Some(Level::L2), Some(Snoop::None), tlb, Some(13)),
        ]
    );
    let accesses: Vec<_> = (0..7).map(|i| recording.is_access(i)).collect();
    assert_eq!(accesses, [true, true, true, true, true, false, true]);
    let samples = &recording.samples;
    let ips: Vec<_> = (0..7).map(|i| samples.ip.get(i).unwrap()).collect();
    assert_eq!(ips[..2], [0x40_0000, 0x40_0004]);
    assert_eq!(ips[6], 0xffff_8000_1029_d3f4);
    assert_eq!(samples.addr.get(0), Some(0xc000_0100));
    assert_eq!(samples.addr.get(1), Some(0xc000_0200));
    assert_eq!(samples.addr.get(6), Some(0xffff_0000_70d8_40d0));
    assert_eq!(samples.phys_addr, [0x8_8000_0100, 0, 0, 0, 0, 0, 0]);
    // 25,000 counts are 1 ms, 25 more 1 us.
    let times: Vec<_> = samples.time.iter().take(2).collect();
    assert_eq!(times, [1_001_000_000, 1_001_001_000]);
    assert!((0..7).all(|i| samples.thread.get(i) == Some((PID, TID))));
    assert_eq!(samples.cpumode, [2, 2, 2, 2, 2, 2, 1]);
    assert_eq!(samples.cpu, [1; 7]);
    assert_eq!(samples.period, [4096; 7]);
}

/// The commands that a user gives.
#[test]
fn the_commands_read_spe_like_any_recording() {
    let mut file = begun();
    aux(&mut file, &stream().0, 0, 0);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("perf.data"), file.file()).unwrap();
    let mempath = |args: &[&str]| {
        let output = Command::cargo_bin("mempath")
            .unwrap()
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let rows = mempath(&["export", "accesses", "perf.data", "--format", "csv"]);
    let mut rows = rows.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let header = rows.next().unwrap();
    let column = |name: &str| header.iter().position(|own| *own == name).unwrap();
    // The name of the event has two commas.
    let value = |row: &Vec<&str>, name: &str| match column(name) {
        at if at > column("event") => row[at + 2].to_owned(),
        at => row[at].to_owned(),
    };
    let rows: Vec<_> = rows.collect();
    let of = |name: &str| rows.iter().map(|row| value(row, name)).collect::<Vec<_>>();
    assert_eq!(
        of("op"),
        ["load", "load", "load", "load", "store", "", "load"]
    );
    assert_eq!(of("level"), ["L1", "L3", "RAM", "Remote", "", "", "L2"]);
    assert_eq!(
        of("level_state"),
        ["valid", "valid", "valid", "valid", "absent", "", "valid"]
    );
    assert_eq!(
        of("latency_cycles"),
        ["12", "60", "330", "700", "40", "", "13"]
    );
    assert_eq!(of("time_ns")[0], "1001000000");
    let summary = mempath(&["analyze", "perf.data", "--no-report", "--format", "json"]);
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let steps = &summary["summary"]["funnel"];
    assert_eq!(
        (&steps[0]["samples"], &steps[1]["samples"]),
        (&7.into(), &6.into())
    );
    let overall = &summary["summary"]["overall"];
    assert_eq!(
        (&overall["loads"], &overall["stores"]),
        (&5.into(), &1.into())
    );
    assert_eq!(
        (&overall["l1_hit"], &overall["llc_miss"]),
        (&1.into(), &2.into())
    );
    let notes = summary["summary"]["caveats"].to_string();
    assert!(notes.contains("erratum 1694299"), "{notes}");
    mempath(&["analyze", "perf.data", "-o", "report.html", "-q"]);
    let report = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    let fields = report
        .split("What the events tell of an access")
        .nth(2)
        .unwrap();
    let (fields, _) = fields.split_once("</table>").unwrap();
    // Loads: level to TLB, but neither lock nor block; stores: latency and TLB alone.
    let told: Vec<&str> = fields.split("<td").skip(1).map(text).collect();
    assert_eq!(
        told,
        [
            "loads", "Arm SPE", "valid", "valid", "valid", "valid", "absent", "absent", //
            "stores", "Arm SPE", "absent", "valid", "absent", "valid", "absent", "n/a",
        ]
    );
}

/// The text of a cell: what stands before the first end tag.
fn text(cell: &str) -> &str {
    let (start, _) = cell.split_once("</").unwrap();
    start.rsplit('>').next().unwrap()
}

/// `perf record --per-thread`: the AUX area is a thread's, and no CPU is told.
#[test]
fn the_area_of_a_thread_names_it() {
    let mut file = begun();
    let data = Stream::default()
        .pc(0x40_0000, 0)
        .load()
        .events(RETIRED)
        .va(0x1000)
        .timestamp(25_000);
    let mut body = Writer::new(false);
    body.words(&[data.0.len() as u64, 0, 5]);
    body.u32(0).u32(TID as u32).u32(u32::MAX).u32(0);
    file.record(AUXTRACE, 0, &body.bytes);
    file.records.raw(&data.0);
    let recording = open(&file);
    assert_eq!(recording.samples.thread.get(0), Some((PID, TID)));
    assert_eq!(recording.events[0].sample_type & CPU, 0);
    assert_eq!(recording.damage, []);
}

#[test]
fn an_event_without_its_pmus_name_is_still_of_spe() {
    let mut file = begun();
    file.events[0].name = "mine".into();
    aux(&mut file, &stream().0, 0, 0);
    let recording = open(&file);
    assert_eq!(recording.events[0].pmu, Kind::ArmSpe);
    assert_eq!(recording.access(0).latency_cycles, Some(12));
}

/// `min_latency` is in `config2`.
#[test]
fn the_least_latency_is_a_threshold() {
    let mut file = begun();
    file.events[0].config2 = 30;
    aux(&mut file, &stream().0, 0, 0);
    let recording = open(&file);
    assert_eq!(recording.events[0].ldlat, Some(30));
    assert_eq!(recording.events[0].leaves_out_below(), Some(30));
}

#[test]
fn truncation_holes_and_collision_are_gaps() {
    let mut file = begun();
    aux(&mut file, &stream().0, 0, 1);
    aux(&mut file, &stream().0, 0x1000, 8);
    // One record may have several reasons: PARTIAL and COLLISION.
    aux(&mut file, &stream().0, 0x2000, 4 | 8);
    let recording = open(&file);
    let gaps: Vec<_> = recording
        .gaps
        .iter()
        .map(|gap| (gap.kind, gap.time_ns))
        .collect();
    let time = Some(ZERO + 9_000_000);
    assert_eq!(
        gaps,
        [
            (GapKind::AuxTruncated, time),
            (GapKind::AuxCollision, time),
            (GapKind::AuxPartial, time),
            (GapKind::AuxCollision, time)
        ]
    );
    assert_eq!(recording.samples.len(), 21);
}

#[test]
fn a_bad_packet_is_told_with_its_place_in_the_file() {
    let mut file = begun();
    let mut data = stream().0;
    // The operation of the second record: after PC and context.
    data[64 + 14] = 0xff;
    aux(&mut file, &data, 0, 0);
    let bytes = file.file();
    let recording = read_bytes(Path::new("test"), &bytes).unwrap();
    assert_eq!(recording.samples.len(), 6);
    let at = bytes
        .windows(64)
        .position(|window| *window == data[..64])
        .unwrap();
    let [damage] = recording.damage.as_slice() else {
        panic!("{:?}", recording.damage);
    };
    assert_eq!(damage.offset, (at + 64 + 14) as u64);
    assert_eq!(
        damage.rule,
        "no Arm SPE packet begins with 0xff; reading went on 50 bytes later"
    );
}

#[test]
fn the_cores_of_a_mixed_machine_have_tables_of_their_own() {
    const MAGIC: u64 = 0x1010_1010_1010_1010;
    let of_cpu_1 = |midr: u64| {
        let mut file = spe();
        let words = [
            2,
            4,
            u64::from(PMU),
            2, //
            MAGIC,
            0,
            4,
            N1,
            9,
            1024,
            0, //
            MAGIC,
            1,
            4,
            midr,
            9,
            1024,
            SNOOPED,
        ];
        info(&mut file, &words);
        aux(&mut file, &stream().0, 0, 0);
        let recording = open(&file);
        // Nothing says what its timestamps mean.
        assert!(recording.damage[0].rule.starts_with("7 Arm SPE timestamps"));
        assert_eq!(recording.events[0].sample_type & TIME, 0);
        let levels: Vec<_> = (0..5).map(|i| recording.access(i).level).collect();
        (levels, recording.access(2).snoop)
    };
    let (levels, snoop) = of_cpu_1(N1);
    assert_eq!(levels[1], Some(Level::L3));
    assert_eq!(snoop, Some(Snoop::None));
    // Without a table the event bits tell; the snoop event not being there says that there was none.
    let (levels, snoop) = of_cpu_1(A53);
    assert_eq!(
        levels[..4],
        [
            Some(Level::L1),
            Some(Level::L3),
            Some(Level::L3Miss),
            Some(Level::Remote)
        ]
    );
    assert_eq!(snoop, Some(Snoop::None));
}

#[test]
fn a_record_without_a_context_is_of_the_thread_that_ran_on_its_cpu() {
    let mut file = begun();
    let switch = |file: &mut RecordingBuilder, time: u64, next: i32| {
        let mut body = Writer::new(false);
        body.u32(next as u32).u32(next as u32);
        // PERF_RECORD_MISC_SWITCH_OUT
        file.stamped(SWITCH_CPU_WIDE, 1 << 13, 1, time, body);
    };
    switch(&mut file, ZERO, 7);
    switch(&mut file, ZERO + 1_000_500, TID);
    let record = |n: u64| {
        Stream::default()
            .pc(0x40_0000, 0)
            .load()
            .events(RETIRED)
            .va(0x1000)
            .timestamp(25_000 + n * 25)
    };
    let mut data = record(0).0;
    data.extend(record(1).0);
    // The trailers of this file name CPU 0.
    let mut own = file.clone();
    aux_of(&mut own, 0, &data, 0, 0);
    let recording = open(&own);
    let threads: Vec<_> = (0..2).map(|i| recording.samples.thread.get(i)).collect();
    assert_eq!(threads, [Some((7, 7)), Some((PID, TID))]);
    assert_eq!(recording.damage, []);
    // Of another CPU no switch tells.
    aux_of(&mut file, 1, &data, 0, 0);
    let recording = open(&file);
    assert_eq!(recording.samples.thread.get(0), Some((-1, -1)));
    assert!(recording.damage[0].rule.starts_with("2 Arm SPE records"));
}

/// `perf inject --itrace` puts one record into several events.
#[test]
fn what_perf_made_of_one_record_is_counted_once() {
    // HEADER_ARCH
    let mut arch = Writer::new(false);
    arch.string("aarch64");
    let mut file = RecordingBuilder::new().cpuid("0x00000000413fd0c1");
    file.features.push((6, arch.bytes));
    for name in ["l1d-access", "memory", "instructions"] {
        file.event(EventSpec {
            name: name.into(),
            sample_type: IP | TID_BIT | TIME | ADDR | ID | WEIGHT | DATA_SRC,
            ..EventSpec::default()
        });
    }
    for event in 0..3 {
        file.sample(event, Sample::load(330));
    }
    let recording = open(&file);
    let memory: Vec<_> = recording.events.iter().map(|event| event.memory).collect();
    assert_eq!(
        memory,
        [Memory::Auxiliary, Memory::Sampled, Memory::Auxiliary]
    );
    assert_eq!(recording.events[1].pmu, Kind::ArmSpe);
    assert_eq!(recording.access(1).latency_cycles, Some(330));
    let accesses: Vec<_> = (0..3).map(|i| recording.is_access(i)).collect();
    assert_eq!(accesses, [false, true, false]);
}

/// Later versions of perf set it beside PEER.
const SNOOP_NA: u64 = 1 << 19;

/// What perf 6.1 prints of the same packets, and of the samples that it makes of them.
#[test]
fn perf_reads_the_same_packets_and_samples() {
    let mut file = begun();
    aux(&mut file, &stream().0, 0, 0);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    std::fs::write(&path, file.file()).unwrap();
    let path = path.to_str().unwrap();
    let dump = perf(&["script", "-D", "-i", path]);
    let theirs: Vec<&str> = dump
        .lines()
        .filter(|line| line.starts_with(".  0000") && line.get(11..12) == Some(":"))
        .map(|line| line[62..].trim())
        .filter(|packet| *packet != "PAD")
        .collect();
    let data = stream().0;
    let mut ours = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let (packet, len) = Packet::at(&data, at, 0).unwrap();
        at += len;
        if packet != Packet::Padding {
            ours.push(describe(packet));
        }
    }
    assert_eq!(ours, theirs);

    let fields = "tid,time,ip,addr,weight,phys_addr,data_src";
    let script = perf(&["script", "-i", path, "--itrace=M", "-F", fields, "--ns"]);
    let recording = read(Path::new(path)).unwrap();
    let samples = &recording.samples;
    let ours: Vec<String> = (0..samples.len())
        .filter(|&i| recording.is_access(i))
        .map(|i| {
            let (time, tid) = (
                samples.time.get(i).unwrap(),
                samples.thread.get(i).unwrap().1,
            );
            let (ip, addr) = (samples.ip.get(i).unwrap(), samples.addr.get(i).unwrap());
            let seconds = format!("{}.{:09}:", time / 1_000_000_000, time % 1_000_000_000);
            let data_src = samples.data_src.get(i).unwrap() & !SNOOP_NA;
            format!(
                "{tid} {seconds} {addr:x} {data_src:x} {} {ip:x} {:x}",
                samples.weight.get(i).unwrap(),
                samples.phys_addr.get(i).unwrap()
            )
        })
        .collect();
    let theirs: Vec<String> = script
        .lines()
        .map(|line| {
            // The words between data_src and weight are of `data_src`.
            let words: Vec<&str> = line.split_whitespace().collect();
            let data_src = u64::from_str_radix(words[3], 16).unwrap() & !SNOOP_NA;
            let (start, end) = (words[..3].join(" "), words[words.len() - 3..].join(" "));
            format!("{start} {data_src:x} {end}")
        })
        .collect();
    assert_eq!(ours, theirs);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever stands in the AUX data and in the words about it, the file is read.
    #[test]
    fn no_aux_data_breaks_the_reader(
        words in proptest::collection::vec(any::<u64>(), 0..24),
        data in proptest::collection::vec(any::<u8>(), 0..800),
        offset: u64,
    ) {
        let mut file = spe();
        info(&mut file, &words);
        aux(&mut file, &data, offset, 0);
        let recording = open(&file);
        let rows = recording.samples.len();
        // An instruction's address, an operation and an end take 12 bytes.
        prop_assert!(rows * 12 <= data.len());
        prop_assert_eq!(recording.samples.addr.len(), rows);
        prop_assert_eq!(recording.samples.data_src.ids.len(), rows);
    }

    /// A record of which a few bytes are wrong costs itself alone, or its neighbour at most.
    #[test]
    fn a_wrong_byte_costs_a_record_or_two(at in 0usize..7 * 64, byte: u8) {
        let mut data = stream().0;
        data[at] = byte;
        let mut file = begun();
        aux(&mut file, &data, 0, 0);
        let rows = open(&file).samples.len();
        prop_assert!((5..=8).contains(&rows), "{} rows", rows);
    }
}
