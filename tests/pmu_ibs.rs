//! Raw AMD IBS op registers, against the dumps that public sources print, and whole recordings of them.

mod common;

use assert_cmd::Command;
use common::builder::*;
use common::perf;
use mempath::data_src::{DataSrc, Hitm, Level, Op, Snoop, Tlb};
use mempath::pmu::amd_ibs::Cpu;
use mempath::pmu::amd_ibs::registers::{OpRegisters, OpSample};
use mempath::pmu::{Kind, Validity, Weight};
use mempath::recording::{ByteOrder, Memory, Recording, read_bytes};
use proptest::prelude::*;
use std::path::Path;

const ZEN2: Cpu = Cpu {
    family: 0x17,
    model: 0x31,
};
const ZEN3: Cpu = Cpu {
    family: 0x19,
    model: 0x01,
};
const ZEN4: Cpu = Cpu {
    family: 0x19,
    model: 0x11,
};

/// `caps` as a Zen 4 has them, and the same without the sources of Zen 4.
const CAPS_ZEN4: u32 = 0xbff;
const CAPS_ZEN3: u32 = 0x3ff;
/// Enabled and valid.
const CTL: u64 = 3 << 17;

fn raw(caps: u32, registers: &[u64]) -> Vec<u8> {
    let mut raw = caps.to_le_bytes().to_vec();
    raw.extend(registers.iter().flat_map(|register| register.to_le_bytes()));
    raw
}

fn sample(raw: &[u8], cpu: Cpu) -> OpSample {
    OpRegisters::parse(raw, ByteOrder::Little)
        .unwrap()
        .sample(cpu)
}

/// A load or store of these registers: `IbsOpData2`, `IbsOpData3`.
fn op(caps: u32, data2: u64, data3: u64, cpu: Cpu) -> DataSrc {
    DataSrc(sample(&raw(caps, &[CTL, 1, 0, data2, data3, 2, 3]), cpu).data_src)
}

const LOAD: u64 = 1;
const STORE: u64 = 2;
const DC_MISS: u64 = 1 << 7;
const UNCACHEABLE: u64 = 1 << 14;
const LOCKED: u64 = 1 << 15;
const NO_MAB: u64 = 1 << 16;
const LINEAR: u64 = 1 << 17;
const L2_MISS: u64 = 1 << 20;
const PREFETCH: u64 = 1 << 21;
const FAR: u64 = LOAD | DC_MISS | L2_MISS | LINEAR;

/// A published `perf report -D` of a load on Zen 4: the record's own bytes, and what perf says of them.
#[test]
fn the_bytes_of_a_published_record() {
    let record = "ff 0b 00 00 24 f4 07 00 41 05 00 00 26 35 14 81 ff ff ff ff 00 02 f7 04 00 00 00 00 \
                  23 00 00 00 00 00 00 00 a1 00 d7 14 dc 01 00 00 84 57 3b 7c 9f 89 ff ff \
                  84 57 3b 7c 1f 01 00 00 34 35 14 81 ff ff ff ff";
    let raw: Vec<u8> = record
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let sample = sample(&raw, ZEN4);
    // IbsOpRip, IbsDCLinAd, IbsDCPhysAd; DcMissLat 476, TagToRetCtr 1271.
    assert_eq!(sample.ip, Some(0xffff_ffff_8114_3526));
    assert_eq!(sample.addr, 0xffff_899f_7c3b_5784);
    assert_eq!(sample.phys_addr, 0x11f_7c3b_5784);
    assert_eq!(
        Weight::of_struct(sample.weight),
        Weight::Struct {
            var1_dw: 476,
            var2_w: 1271,
            var3_w: 0
        }
    );
    // LdOp 1, DcMiss 1, L2Miss 1, DataSrc 3=DRAM, RmtNode 0, DcL1TlbMiss 0, DcLockedOp 0.
    let data_src = DataSrc(sample.data_src);
    assert_eq!(data_src.op(), Some(Op::Load));
    assert_eq!(data_src.level(), Some(Level::Ram));
    assert_eq!(data_src.tlb(), Some(Tlb::L1Hit));
    assert_eq!((data_src.snoop(), data_src.locked()), (None, None));
}

/// `perf-amd-ibs(1)`: a store that missed L1 and L2.
#[test]
fn the_store_of_perfs_manual() {
    let registers = [
        0x0000_02c3_0006_186a,
        0xffff_ffff_8204_aea7,
        0x0000_0100_0255_0001,
        0x13,
        0x3196_0092,
        0xff11_0008_a539_8920,
        0x8_a539_8920,
    ];
    let sample = sample(&raw(CAPS_ZEN4, &registers), ZEN4);
    assert_eq!(sample.ip, Some(0xffff_ffff_8204_aea7));
    assert_eq!(sample.addr, 0xff11_0008_a539_8920);
    assert_eq!((sample.phys_addr, sample.weight), (0x8_a539_8920, 0));
    let data_src = DataSrc(sample.data_src);
    assert_eq!(data_src.op(), Some(Op::Store));
    // Its data source, 3=DRAM of the remote node, is not valid for stores.
    assert_eq!(data_src.level(), None);
    assert_eq!(data_src.tlb(), Some(Tlb::L1Hit));
}

/// Linux, `perf tools: Add support for AMD IBS raw samples`: a store that hit L1.
#[test]
fn the_store_of_the_kernels_commit() {
    let registers = [
        0x0000_009e_009e_8968,
        0x5601_6b2e_a73d,
        0xb_0002,
        0x2,
        0xc6_0002,
        0x7f13_3c31_9ce0,
        0x2_7048_5ce0,
    ];
    let sample = sample(&raw(CAPS_ZEN3, &registers), ZEN2);
    assert_eq!(sample.addr, 0x7f13_3c31_9ce0);
    let data_src = DataSrc(sample.data_src);
    assert_eq!(data_src.op(), Some(Op::Store));
    assert_eq!(data_src.level(), Some(Level::L1));
    assert_eq!(data_src.snoop(), None);
}

/// `g_data_src` and `g_zen4_data_src`.
#[test]
fn data_sources_differ_before_and_from_zen_4_on() {
    let zen4 = |source: u64, node: u64| {
        // The two high bits of the source are bits 6 and 7.
        let data2 = source & 7 | node << 4 | 1 << 5 | (source >> 3) << 6;
        op(CAPS_ZEN4, data2, FAR, ZEN4).level()
    };
    let near = [
        (1, Some(Level::L3)),
        (2, Some(Level::PeerCache)),
        (3, Some(Level::Ram)),
        (4, None),
        (5, Some(Level::RemoteCache)),
        (6, Some(Level::Pmem)),
        (7, Some(Level::Io)),
        (8, Some(Level::Cxl)),
        (12, None),
    ];
    for (source, level) in near {
        assert_eq!(zen4(source, 0), level, "{source}");
    }
    assert_eq!(zen4(3, 1), Some(Level::RemoteRam));

    let before = |source: u64, node: u64| op(CAPS_ZEN3, source | node << 4, FAR, ZEN2).level();
    for (source, level) in [
        (0, None),
        (1, None),
        (2, Some(Level::L3OrPeerCache)),
        (3, Some(Level::Ram)),
        (4, Some(Level::RemoteCache)),
        (7, Some(Level::Io)),
    ] {
        assert_eq!(before(source, 0), level, "{source}");
    }
    assert_eq!(before(3, 1), Some(Level::RemoteRam));
    assert_eq!(Level::L3OrPeerCache.name(), "L3 or peer cache");
}

#[test]
fn levels_before_the_data_source() {
    let level = |data3| op(CAPS_ZEN4, 3, data3, ZEN4).level();
    assert_eq!(level(LOAD), Some(Level::L1));
    assert_eq!(level(LOAD | DC_MISS), Some(Level::L2));
    assert_eq!(level(STORE | DC_MISS), Some(Level::L2));
    assert_eq!(level(STORE | DC_MISS | L2_MISS | NO_MAB), Some(Level::Lfb));
    assert_eq!(level(FAR | UNCACHEABLE), Some(Level::Uncached));
    let locked = op(CAPS_ZEN4, 3, FAR | LOCKED, ZEN4);
    assert_eq!(locked.locked(), Some(true));
}

/// `CacheHitSt`: 0 is a line that was modified; of loads from caches, where the core tells it.
#[test]
fn modified_lines_are_told_except_by_zen_3() {
    let (owned, modified) = (2 | 1 << 5, 2);
    let snoop = |data2, cpu| op(CAPS_ZEN3, data2, FAR, cpu);
    assert_eq!(snoop(modified, ZEN2).snoop(), Some(Snoop::HitM));
    assert_eq!(snoop(modified, ZEN2).hitm(), Some(Hitm::Local));
    assert_eq!(snoop(owned, ZEN2).snoop(), None);
    assert_eq!(snoop(modified, ZEN3).snoop(), None);
    let far = op(CAPS_ZEN4, 5, FAR, ZEN4);
    assert_eq!(far.hitm(), Some(Hitm::Remote));
    // Another CCX of the same node.
    assert_eq!(op(CAPS_ZEN4, 2, FAR, ZEN4).hitm(), Some(Hitm::Local));
    assert_eq!(op(CAPS_ZEN4, 3, FAR, ZEN4).hitm(), None);
}

/// Erratum 1293: on Zen 3 such a miss has neither a valid data source nor a valid L2Miss.
#[test]
fn zen_3_drops_the_source_of_misses_without_a_buffer() {
    let without_mab = FAR | NO_MAB;
    assert_eq!(
        op(CAPS_ZEN3, 3, without_mab, ZEN3).level(),
        Some(Level::Lfb)
    );
    assert_eq!(
        op(CAPS_ZEN3, 3, without_mab, ZEN2).level(),
        Some(Level::Ram)
    );
    // Nor does an L2 that "hit" count.
    let l2 = LOAD | DC_MISS | NO_MAB;
    assert_eq!(op(CAPS_ZEN3, 3, l2, ZEN3).level(), Some(Level::Lfb));
    assert_eq!(op(CAPS_ZEN3, 3, l2, ZEN2).level(), Some(Level::L2));
    assert_eq!(op(CAPS_ZEN3, 3, FAR | PREFETCH, ZEN3).level(), None);
}

#[test]
fn latency_is_of_loads_that_missed_and_were_no_prefetches() {
    let weight = |data3: u64| {
        let registers = [CTL, 1, 1271 << 16, 3, data3 | 476 << 32, 2, 3];
        sample(&raw(CAPS_ZEN4, &registers), ZEN4).weight
    };
    assert_eq!(weight(FAR), 476 | 1271 << 32);
    assert_eq!(weight(FAR | PREFETCH), 0);
    assert_eq!(weight(LOAD), 0);
    assert_eq!(weight(STORE | DC_MISS), 0);
}

#[test]
fn what_is_no_valid_sample_is_none() {
    let parse = |raw: &[u8]| OpRegisters::parse(raw, ByteOrder::Little);
    let good = raw(CAPS_ZEN4, &[CTL, 1, 0, 0, LOAD, 2, 3]);
    assert!(parse(&good).is_some());
    for len in 0..good.len() {
        assert_eq!(parse(&good[..len]), None);
    }
    assert_eq!(
        parse(&raw(CAPS_ZEN4, &[1 << 17, 1, 0, 0, LOAD, 2, 3])),
        None
    );
    assert_eq!(parse(&raw(0, &[CTL, 1, 0, 0, LOAD, 2, 3])), None);
    // A micro-op that touches no memory; its instruction pointer is void.
    let other = sample(&raw(CAPS_ZEN4, &[CTL, 1, 1 << 38, 3, 0, 2, 3]), ZEN4);
    assert_eq!(
        other,
        OpSample {
            data_src: DataSrc::NA.0,
            ..OpSample::default()
        }
    );
}

proptest! {
    #[test]
    fn any_registers_have_a_meaning(
        caps: u32, registers in proptest::collection::vec(any::<u64>(), 7), family in 0u32..0x40, model in 0u32..0x100,
    ) {
        let cpu = Cpu { family, model };
        if let Some(registers) = OpRegisters::parse(&raw(caps, &registers), ByteOrder::Little) {
            let sample = registers.sample(cpu);
            let op = DataSrc(sample.data_src).op();
            prop_assert_eq!(op.is_none(), sample.data_src == DataSrc::NA.0);
        }
    }
}

/// Type of `ibs_op` on the machine of these tests.
const IBS_OP: u32 = 11;

fn ibs(cpuid: &str, sample_type: u64) -> RecordingBuilder {
    let mut recording = RecordingBuilder::new().cpuid(cpuid);
    recording.event(EventSpec {
        name: "ibs_op//".into(),
        kind: IBS_OP,
        sample_period: 100_000,
        sample_type: IP | TID | TIME | CPU | PERIOD | sample_type,
        sample_id_all: true,
        ..EventSpec::default()
    });
    recording
}

const GENOA: &str = "AuthenticAMD,25,17,1";

/// A load from RAM, a store to L1, a micro-op without memory, a load that hit L1.
fn four(recording: &mut RecordingBuilder, data_src: u64) {
    let data = 1271 << 16;
    for (ip, data2, data3, addr) in [
        (0x40_0000, 3, FAR | 476 << 32 | 1 << 18, 0xc000_0100),
        (0x40_0004, 0, STORE | LINEAR, 0xc000_0200),
        (0x40_0008, 0, 0, 0),
        (0x40_000c, 0, LOAD | LINEAR, 0xc000_0300),
    ] {
        let registers = [CTL, ip, data, data2, data3, addr, addr | 1 << 40, 0];
        let sample = Sample {
            cpumode: 2,
            ip,
            pid: 1,
            tid: 1,
            time: ip,
            data_src,
            raw: raw(CAPS_ZEN4, &registers),
            ..Sample::default()
        };
        recording.sample(0, sample);
    }
}

fn check_four(recording: &Recording) {
    let event = &recording.events[0];
    assert_eq!((event.memory, event.pmu), (Memory::Sampled, Kind::AmdIbs));
    let told: Vec<_> = (0..4)
        .map(|i| {
            let access = recording.access(i);
            (
                access.op,
                access.level,
                access.latency_cycles,
                access.locked,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some(Op::Load), Some(Level::Ram), Some(476), Some(false)),
            (Some(Op::Store), Some(Level::L1), None, Some(false)),
            (None, None, None, None),
            (Some(Op::Load), Some(Level::L1), None, Some(false)),
        ]
    );
    let accesses: Vec<_> = (0..4).map(|i| recording.is_access(i)).collect();
    assert_eq!(accesses, [true, true, false, true]);
    assert_eq!(
        recording.samples.addr,
        [0xc000_0100, 0xc000_0200, 0, 0xc000_0300]
    );
    assert_eq!(recording.samples.phys_addr, [0x100_c000_0100, 0, 0, 0]);
    assert_eq!(
        recording.samples.time,
        [0x40_0000, 0x40_0004, 0x40_0008, 0x40_000c]
    );
}

#[test]
fn raw_registers_stand_in_for_what_was_not_sampled() {
    // `perf record -e ibs_op// --raw-samples`: no ADDR, no DATA_SRC, no WEIGHT.
    let mut file = ibs(GENOA, RAW);
    four(&mut file, 0);
    for bytes in [file.file(), file.pipe()] {
        check_four(&read_bytes(Path::new("test"), &bytes).unwrap());
    }
}

#[test]
fn raw_registers_stand_in_for_a_data_src_of_n_a() {
    // Kernels before 6.1 sampled all of it, but filled in nothing.
    let fields = RAW | ADDR | DATA_SRC | WEIGHT | PHYS_ADDR;
    let mut file = ibs(GENOA, fields);
    four(&mut file, DataSrc::NA.0);
    let recording = read_bytes(Path::new("test"), &file.file()).unwrap();
    check_four(&recording);
    // WEIGHT holds the latency alone.
    assert_eq!(recording.samples.weight, [476, 0, 0, 0]);
}

#[test]
fn what_the_kernel_filled_in_is_left_alone() {
    let mut file = ibs(GENOA, RAW | ADDR | DATA_SRC | WEIGHT);
    let l3 = 2 | (1 << 6 | 1 << 1) << 5 | 3 << 33;
    four(&mut file, l3);
    let recording = read_bytes(Path::new("test"), &file.file()).unwrap();
    assert_eq!(recording.access(0).level, Some(Level::L3));
    assert_eq!(recording.samples.addr, [0; 4]);
}

/// `perf record -d -W -e cycles:pp` of an AMD machine: `forward_event_to_ibs` has IBS count it.
#[test]
fn precise_cycles_are_counted_by_ibs() {
    let recorded = |raw: bool, precise_ip| {
        let fields = match raw {
            true => RAW,
            false => ADDR | DATA_SRC | WEIGHT_STRUCT,
        };
        let mut file = ibs(GENOA, fields);
        let cycles = file.events.first_mut().unwrap();
        (cycles.name, cycles.kind, cycles.precise_ip) = ("cycles:pp".into(), 0, precise_ip);
        match raw {
            true => four(&mut file, 0),
            false => {
                let load = Sample {
                    addr: 0xc000_0100,
                    ..Sample::load(476)
                };
                file.sample(0, load);
            }
        }
        read_bytes(Path::new("test"), &file.file()).unwrap()
    };
    check_four(&recorded(true, 2));
    let recording = recorded(false, 2);
    assert_eq!(recording.events[0].pmu, Kind::AmdIbs);
    assert_eq!(recording.access(0).latency_cycles, Some(476));
    assert!(recording.pmu(0).unwrap().ip_is_exact(&recording.events[0]));
    // The PMU of the cores does not know what was accessed.
    assert_eq!(recorded(true, 0).events[0].memory, Memory::No);
    assert_eq!(recorded(false, 0).events[0].pmu, Kind::Generic);
}

/// `perf script -D` prints the registers that it finds in a sample.
#[test]
fn perf_finds_the_same_registers() {
    let mut file = ibs(GENOA, RAW);
    four(&mut file, 0);
    let mut arch = Writer::new(false);
    arch.string("x86_64");
    let mut pmus = Writer::new(false);
    pmus.u32(1).u32(IBS_OP).string("ibs_op");
    // HEADER_ARCH and HEADER_PMU_MAPPINGS: perf decodes registers on AMD alone.
    file.features.push((6, arch.bytes));
    file.features.push((16, pmus.bytes));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    std::fs::write(&path, file.file()).unwrap();
    let dump = perf(&["script", "-D", "-i", path.to_str().unwrap()]);
    let after = |line: &str, name: &str| {
        let value = line.split(name).nth(1).unwrap();
        value.split_whitespace().next().unwrap().to_owned()
    };
    let all = |line: &str, name: &str| -> Vec<String> {
        let lines = dump.lines().filter(|own| own.starts_with(line));
        lines.map(|own| after(own, name)).collect()
    };
    let hex = |values: &[u64]| -> Vec<String> {
        values.iter().map(|value| format!("{value:016x}")).collect()
    };
    let recording = read_bytes(Path::new("test"), &file.file()).unwrap();
    let samples = &recording.samples;
    let ips: Vec<u64> = (0..4).map(|i| samples.ip.get(i).unwrap()).collect();
    assert_eq!(all("IbsOpRip:", "IbsOpRip:"), hex(&ips));
    // Printed where it is valid.
    let valid: Vec<u64> = samples.addr.iter().filter(|addr| *addr != 0).collect();
    assert_eq!(all("IbsDCLinAd:", "IbsDCLinAd:"), hex(&valid));
    assert_eq!(
        all("IbsDCPhysAd:", "IbsDCPhysAd:"),
        hex(&[samples.phys_addr.get(0).unwrap()])
    );
    let op = |i| recording.access(i).op;
    let is = |wanted| {
        (0..4)
            .map(|i| u8::from(op(i) == Some(wanted)).to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(all("ibs_op_data3:", " LdOp "), is(Op::Load));
    assert_eq!(all("ibs_op_data3:", " StOp "), is(Op::Store));
    let latencies = samples.weight.iter().map(|word| (word as u32).to_string());
    assert_eq!(
        all("ibs_op_data3:", " DcMissLat "),
        latencies.collect::<Vec<_>>()
    );
}

#[test]
fn the_commands_count_micro_ops_without_memory_apart() {
    let mut file = ibs(GENOA, RAW);
    four(&mut file, 0);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("perf.data"), file.file()).unwrap();
    let output = Command::cargo_bin("mempath")
        .unwrap()
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .args(["analyze", "perf.data", "--no-report", "--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let digest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let summary = &digest["summary"];
    let steps = &summary["funnel"];
    assert_eq!(
        (&steps[0]["samples"], &steps[1]["samples"]),
        (&4.into(), &3.into())
    );
    let overall = &summary["overall"];
    assert_eq!(
        (&overall["loads"], &overall["stores"]),
        (&2.into(), &1.into())
    );
    assert_eq!(
        (&overall["latency_n"], &overall["latency_sum"]),
        (&1.into(), &476.into())
    );
    // Not told is null, not 0.
    assert_eq!(overall["hitm"], serde_json::Value::Null);
    let fields = &summary["events"][0]["fields"];
    assert_eq!(fields["stores"]["latency"], "absent");
    assert_eq!(fields["loads"]["blocked"], "absent");
}

#[test]
fn a_load_that_hit_l1_has_no_latency_to_know() {
    let mut file = ibs(GENOA, RAW);
    four(&mut file, 0);
    let recording = read_bytes(Path::new("test"), &file.file()).unwrap();
    let event = &recording.events[0];
    let state = |op, level| event.latency_state(Some(op), Some(level));
    assert_eq!(state(Op::Load, Level::Ram), Validity::Valid);
    assert_eq!(state(Op::Load, Level::L1), Validity::NotApplicable);
    assert_eq!(state(Op::Store, Level::L1), Validity::Absent);
}
