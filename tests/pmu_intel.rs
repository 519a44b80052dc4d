//! Intel load latency and stores: which events are what, and the corpus against perf's own values.

mod common;

use assert_cmd::Command;
use common::builder::*;
use common::{corpus, perf};
use mempath::data_src::{Blocked, Level, Op};
use mempath::pmu::{FieldTable, Kind, Validity::*};
use mempath::recording::{Event, Memory, Recording, read, read_bytes};
use std::path::Path;

const SKYLAKE: &str = "GenuineIntel,6,85,4";
const ICE_LAKE: &str = "GenuineIntel,6,106,6";
const SAPPHIRE_RAPIDS: &str = "GenuineIntel,6,143,8";
const ALDER_LAKE: &str = "GenuineIntel,6,151,2";

fn open(recording: &RecordingBuilder) -> Recording {
    read_bytes(Path::new("test"), &recording.file()).unwrap()
}

fn one(cpuid: &str, event: EventSpec, sample: Sample) -> Recording {
    let mut recording = RecordingBuilder::new().cpuid(cpuid);
    recording.event(event);
    recording.sample(0, sample);
    open(&recording)
}

#[test]
fn load_latency_is_known_by_name_and_by_code() {
    for (name, kind, config) in [
        ("cpu/mem-loads,ldlat=30/P", 4, 0x1cd),
        ("r1cd", 4, 0x1cd),
        ("cpu/event=0xcd,umask=0x1,ldlat=30/pp", 4, 0x1cd),
        (
            "MEM_TRANS_RETIRED.LOAD_LATENCY:ldlat=30:precise=2",
            4,
            0x53_01cd,
        ),
        ("cpu_core/mem-loads,ldlat=30/P", 4, 0x1cd),
        ("cpu_atom/mem-loads,ldlat=30/P", 10, 0x5d0),
    ] {
        let event = EventSpec {
            name: name.into(),
            kind,
            config,
            ..EventSpec::loads()
        };
        let recording = one(ALDER_LAKE, event, Sample::load(327));
        let event = &recording.events[0];
        assert_eq!(
            (event.memory, event.pmu),
            (Memory::Sampled, Kind::IntelPebs),
            "{name}"
        );
        assert_eq!(event.ldlat, Some(30), "{name}");
        assert_eq!(event.fields.loads.latency, Valid, "{name}");
        assert_eq!(recording.access(0).latency_cycles, Some(327), "{name}");
        assert_eq!(recording.access(0).op, Some(Op::Load), "{name}");
    }
}

#[test]
fn the_helper_of_the_group_is_no_load() {
    let mut recording = RecordingBuilder::new().cpuid(SAPPHIRE_RAPIDS);
    let aux = recording.event(EventSpec {
        name: "cpu/mem-loads-aux/".into(),
        config: 0x8203,
        config1: 0,
        ..EventSpec::loads()
    });
    let loads = recording.event(EventSpec::loads());
    recording.sample(aux, Sample::load(100));
    recording.sample(loads, Sample::load(200));
    let recording = open(&recording);
    assert_eq!(recording.events[0].memory, Memory::Auxiliary);
    assert!(!recording.is_access(0) && recording.is_access(1));
}

/// `setup_pebs_adaptive_sample_data`: `var1_dw` is the cache latency, `var2_w` that of the instruction.
#[test]
fn the_first_field_of_a_weight_struct_is_the_latency() {
    let weight = 0x0003_0258_0000_0147;
    let sample = Sample {
        weight,
        ..Sample::load(0)
    };
    for cpuid in [ICE_LAKE, SAPPHIRE_RAPIDS] {
        let recording = one(cpuid, EventSpec::loads(), sample.clone());
        assert_eq!(recording.access(0).latency_cycles, Some(327));
    }
    let whole = EventSpec {
        sample_type: EventSpec::loads().sample_type & !WEIGHT_STRUCT | WEIGHT,
        ..EventSpec::loads()
    };
    let recording = one(SKYLAKE, whole, Sample::load(519));
    assert_eq!(recording.access(0).latency_cycles, Some(519));
}

/// Of an event that is not load latency `weight` counts the cycles of a transaction.
#[test]
fn the_weight_of_another_event_is_no_latency() {
    let retired = EventSpec {
        name: "mem_inst_retired.all_loads:pp".into(),
        config: 0x81d0,
        config1: 0,
        ..EventSpec::loads()
    };
    let recording = one(SKYLAKE, retired, Sample::load(44));
    assert_eq!(recording.events[0].ldlat, None);
    assert_eq!(recording.access(0).latency_cycles, None);
}

#[test]
fn stores_have_what_their_core_tells() {
    let stores = |config| EventSpec {
        config,
        ..EventSpec::stores()
    };
    let store = Sample {
        weight: 90,
        ..Sample::store()
    };
    let old = one(ICE_LAKE, stores(0x82d0), store.clone());
    assert_eq!(old.access(0).level, Some(Level::L1));
    assert_eq!(old.access(0).latency_cycles, None);
    assert_eq!(old.events[0].fields.stores.tlb, Absent);
    let new = one(SAPPHIRE_RAPIDS, stores(0x2cd), store);
    assert_eq!(new.access(0).latency_cycles, Some(90));
    assert_eq!(new.events[0].fields.stores.tlb, Valid);
}

/// "Ice Lake and earlier models do not support block infos": from then on N/A is not blocked.
#[test]
fn a_load_that_was_not_blocked_is_told_where_the_core_tells_of_blocks() {
    let no = Blocked {
        data: false,
        addr: false,
    };
    let load = Sample::load(100);
    let blocked = |cpuid| {
        one(cpuid, EventSpec::loads(), load.clone())
            .access(0)
            .blocked
    };
    assert_eq!(blocked(ICE_LAKE), None);
    assert_eq!(blocked(SAPPHIRE_RAPIDS), Some(no));
    let data = Sample {
        data_src: load.data_src | 1 << 41,
        ..load.clone()
    };
    let told = one(SAPPHIRE_RAPIDS, EventSpec::loads(), data)
        .access(0)
        .blocked;
    assert_eq!(
        told,
        Some(Blocked {
            data: true,
            addr: false
        })
    );
}

/// The columns of the recordings that perf reads, value by value.
#[test]
fn the_corpus_gives_perfs_values() {
    for (file, table) in [
        ("ubench__perf-mem_intel-e5-2650v2_perf-mem-4986", "vvvvva"),
        ("ubench__perf-mem_intel-e5-2650v2_perf-mem-9973", "vvvvva"),
        ("ubench__perf-mem_intel-e5-2650v2_perf-mem-39891", "vvvvva"),
        ("numatop__perf.data", "vvvvva"),
        ("perf_data_converter__perf.data.weight_struct", "vvvvva"),
    ] {
        let Some(path) = corpus(file) else { return };
        let recording = read(&path).unwrap();
        let event = &recording.events[0];
        assert_eq!(letters(event), table, "{file}");
        let script = perf(&[
            "script",
            "-i",
            path.to_str().unwrap(),
            "-F",
            "addr,weight,data_src",
            "--ns",
        ]);
        let theirs: Vec<(u64, u64, String)> = script
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let (addr, weight) = (words[0], words[words.len() - 1]);
                let (_, level) = line.split_once("|LVL ").unwrap();
                let (level, _) = level.split_once('|').unwrap();
                let addr = u64::from_str_radix(addr, 16).unwrap();
                (addr, weight.parse().unwrap(), level.to_owned())
            })
            .collect();
        assert_eq!(theirs.len(), recording.samples.len(), "{file}");
        // perf sorts by time.
        let mut in_time: Vec<usize> = (0..theirs.len()).collect();
        in_time.sort_by_key(|&i| recording.samples.time.get(i));
        for (&i, (addr, weight, level)) in in_time.iter().zip(&theirs) {
            let access = recording.access(i);
            assert_eq!(recording.samples.addr.get(i), Some(*addr), "{file} {i}");
            assert_eq!(
                access.latency_cycles.map(u64::from),
                Some(*weight),
                "{file} {i}"
            );
            let name = access.level.unwrap().name().replace("LFB", "LFB/MAB");
            assert!(level.contains(&name), "{file} {i}: {name} is not {level}");
        }
    }
}

/// level, latency, snoop, tlb, locked, blocked of loads: v(alid), a(bsent).
fn letters(event: &Event) -> String {
    let FieldTable { loads, .. } = event.fields;
    loads
        .named()
        .iter()
        .filter_map(|(_, validity)| validity.name().chars().next())
        .collect()
}

fn analyze(recording: &RecordingBuilder) -> serde_json::Value {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("perf.data"), recording.file()).unwrap();
    let output = Command::cargo_bin("mempath")
        .unwrap()
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .args(["analyze", "perf.data", "--no-report", "--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let digest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    digest["summary"].clone()
}

#[test]
fn skid_and_thresholds_are_told() {
    let mut recording = RecordingBuilder::new().cpuid(SAPPHIRE_RAPIDS);
    recording.event(EventSpec {
        precise_ip: 1,
        config1: 64,
        ..EventSpec::loads()
    });
    recording.sample(0, Sample::load(100));
    let summary = analyze(&recording);
    assert_eq!(summary["events"][0]["ldlat"], 64);
    let caveats = summary["caveats"].to_string();
    for told in [
        "was recorded with precise_ip 1",
        "loads faster than 64 cycles are not in this recording",
        "on this core latency is the time of the cache access alone",
    ] {
        assert!(caveats.contains(told), "{told}: {caveats}");
    }
    // Code is not trusted: no sample gets a place in the code of a map.
    let mut exact = RecordingBuilder::new().cpuid(ICE_LAKE);
    exact.event(EventSpec {
        config1: 3,
        ..EventSpec::loads()
    });
    exact.sample(0, Sample::load(100));
    let caveats = analyze(&exact)["caveats"].to_string();
    // Three cycles keep every load: L1 takes four.
    assert!(!caveats.contains("faster than"), "{caveats}");
    assert!(!caveats.contains("precise_ip"), "{caveats}");
}

/// The samples of a modelled recording with `precise_ip` 1 written into its attrs: whatever rests on
/// the instruction is no longer claimed.
#[test]
fn with_skid_nothing_rests_on_the_instruction() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/modelled-go1.27-twins");
    let dir = tempfile::tempdir().unwrap();
    let mut binary = Vec::new();
    let packed = std::fs::read(sample.join("mapload.gz")).unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(&*packed), &mut binary).unwrap();
    std::fs::write(dir.path().join("mapload"), binary).unwrap();
    let mut bytes = std::fs::read(sample.join("perf.data")).unwrap();
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (entry, attrs, size) = (word(&bytes, 16), word(&bytes, 24), word(&bytes, 32));
    for attr in (attrs..attrs + size).step_by(entry as usize) {
        // Bits 15 and 16 of the flags at byte 40.
        let at = attr as usize + 40;
        let flags = word(&bytes, at) & !(3 << 15) | 1 << 15;
        bytes[at..at + 8].copy_from_slice(&flags.to_le_bytes());
    }
    std::fs::write(dir.path().join("perf.data"), bytes).unwrap();
    let output = Command::cargo_bin("mempath")
        .unwrap()
        .current_dir(dir.path())
        .env("HOME", dir.path())
        .args(["analyze", "perf.data", "--binary", "mapload"])
        .args(["--no-report", "--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let digest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let summary = &digest["summary"];
    assert_eq!(summary["funnel"][6]["name"], "part known");
    assert_eq!(summary["funnel"][6]["samples"], 0);
    assert_eq!(summary["evidence"], serde_json::json!([]));
    assert_eq!(summary["reasons"][0][0], "skid");
    let told = summary["caveats"].to_string();
    assert_eq!(told.matches("was recorded with precise_ip 1").count(), 2);
}
