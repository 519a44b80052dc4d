//! `DataSrc` against perf: what perf 6.1 prints for every value of every field.
//!
//! `MEMPATH_BLESS=1 cargo test --test data_src` writes the table again, with the perf that is installed.

mod common;

use common::builder::{EventSpec, RecordingBuilder, Sample};
use common::perf;
use mempath::data_src::{Blocked, DataSrc, Hitm, Level, Op, Snoop, Tlb};
use std::path::Path;

/// Every value of each field beside an otherwise empty `data_src`, and levels with hit, miss, remote
/// and hops. `hops` above 4 is left out: perf 6.1 reads past its table there.
fn values() -> Vec<u64> {
    let mut values = vec![0];
    values.extend(0..32);
    for lvl in 0..14 {
        for hit_miss in 0..4 {
            values.push((1 << lvl | hit_miss << 1) << 5);
            values.push((1 << lvl | 1 << 6 | hit_miss << 1) << 5);
        }
    }
    values.extend((0..32).map(|snoop| snoop << 19));
    values.extend((0..4).map(|lock| lock << 24));
    values.extend((0..128).map(|tlb| tlb << 26));
    for lvl_num in 0..16 {
        for remote in 0..2 {
            for hops in 0..5 {
                for lvl in [0, 1 << 1, 1 << 2, 1 << 6 | 1 << 1] {
                    values.push(lvl << 5 | lvl_num << 33 | remote << 37 | hops << 43);
                }
            }
        }
    }
    for snoopx in 0..4 {
        values.extend((0..32).map(|snoop| snoopx << 38 | snoop << 19));
    }
    values.extend((0..8).map(|blk| blk << 40));
    // Seen: the decoys, the truth sets, the corpus.
    values.extend([
        0x0508_0021,
        0x1e_0508_0021,
        0x1a_7140_1042,
        0x6810_0142,
        0x102_6a10_0142,
    ]);
    values.sort_unstable();
    values.dedup();
    values
}

/// What perf prints for each value.
fn printed_by_perf(values: &[u64]) -> String {
    let mut recording = RecordingBuilder::new().cpuid("GenuineIntel,6,106,6");
    let loads = recording.event(EventSpec::loads());
    for (i, &data_src) in values.iter().enumerate() {
        let time = 1000 + i as u64;
        recording.sample(
            loads,
            Sample {
                data_src,
                time,
                ..Sample::load(1)
            },
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    std::fs::write(&path, recording.file()).unwrap();
    perf(&["script", "-i", path.to_str().unwrap(), "-F", "data_src"])
}

#[test]
fn the_words_are_those_of_perf() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/data_src.txt");
    let values = values();
    if std::env::var_os("MEMPATH_BLESS").is_some() {
        let version = perf(&["version"]);
        let header = format!(
            "# What {} prints by `perf script -F data_src` for one sample of each value.\n\
             # Written by `MEMPATH_BLESS=1 cargo test --test data_src`.\n",
            version.trim()
        );
        let table: String = printed_by_perf(&values)
            .lines()
            .map(|line| format!("{}\n", line.trim()))
            .collect();
        std::fs::write(&golden, header + &table).unwrap();
    }
    let table = std::fs::read_to_string(&golden).expect("MEMPATH_BLESS=1 writes it");
    let lines: Vec<&str> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(lines.len(), values.len());
    for (line, value) in lines.iter().zip(values) {
        // perf breaks the line off after 99 characters, the value being 16 wide.
        let mut ours = format!("{value:16x} {}", DataSrc(value).perf_words());
        ours.truncate(99);
        assert_eq!(*line, ours.trim(), "{value:#x}");
    }
}

#[test]
fn a_load_from_ram() {
    let data_src = DataSrc(0x1a_7140_1042);
    assert_eq!(data_src.op(), Some(Op::Load));
    assert_eq!(data_src.level(), Some(Level::Ram));
    assert_eq!(data_src.snoop(), Some(Snoop::Miss));
    assert_eq!(data_src.hitm(), None);
    assert_eq!(data_src.tlb(), Some(Tlb::Miss));
    assert_eq!(data_src.locked(), None);
    assert_eq!(data_src.blocked(), None);
    assert_eq!(Level::Ram.is_l1_miss(), Some(true));
    assert_eq!(Level::Ram.is_llc_miss(), Some(true));
}

#[test]
fn n_a_says_nothing() {
    // As the corpus has it.
    assert_eq!(DataSrc::NA, DataSrc(0x1e_0508_0021));
    for decoy in [0, 0x0508_0021, 0x1e_0508_0021] {
        let data_src = DataSrc(decoy);
        assert!(!data_src.says_something(), "{decoy:#x}");
        assert_eq!(data_src.op(), None);
        assert_eq!(data_src.level(), None);
        assert_eq!(data_src.snoop(), None);
        assert_eq!(data_src.tlb(), None);
    }
}

/// `mem_lvl_num` 1 to 14 with the remote bit off, then on.
#[test]
fn every_level_number_has_its_name() {
    let name = |value: u64| {
        DataSrc(value)
            .level()
            .map(|level| level.name().into_owned())
    };
    let near: Vec<_> = (0..16).map(|number| name(number << 33)).collect();
    let names = |names: [&str; 14]| names.map(|name| Some(name.to_owned()));
    let expected = names([
        "L1",
        "L2",
        "L3",
        "L4",
        "L2 MHB",
        "MSC",
        "L0",
        "uncached",
        "CXL",
        "I/O",
        "any cache",
        "LFB",
        "RAM",
        "PMEM",
    ]);
    assert_eq!(near[1..15], expected);
    assert_eq!((near[0].clone(), near[15].clone()), (None, None));
    let remote = |number: u64, hops: u64| name(number << 33 | 1 << 37 | hops << 43).unwrap();
    assert_eq!(remote(3, 0), "Remote cache");
    assert_eq!(remote(3, 1), "peer cache");
    assert_eq!(remote(11, 2), "Remote cache");
    assert_eq!(remote(13, 0), "Remote RAM");
}

#[test]
fn a_number_is_preferred_to_the_mask() {
    // mem_lvl says L3 | HIT, mem_lvl_num says LFB.
    let data_src = DataSrc((1 << 6 | 1 << 1) << 5 | 12 << 33);
    assert_eq!(data_src.level(), Some(Level::Lfb));
    assert_eq!(Level::Lfb.is_l1_miss(), None);
}

#[test]
fn a_mask_of_several_levels_stays_open() {
    // AMD before Zen 4: L3 or a peer's cache.
    let level = DataSrc((1 << 6 | 1 << 7 | 1 << 1) << 5).level().unwrap();
    assert_eq!(level.name(), "L3 or Local RAM");
    assert_eq!(level.is_l1_miss(), Some(true));
    assert_eq!(level.is_llc_miss(), None);
}

/// `g_data_src[IBS_DATA_SRC_LOC_CACHE]`: before Linux 6.5 the mask alone, then with ANY_CACHE and HOPS_0.
#[test]
fn amd_before_zen_4_does_not_tell_l3_from_a_peers_cache() {
    let mask = (1 << 6 | 1 << 10 | 1 << 1) << 5;
    for data_src in [mask, mask | 11 << 33 | 1 << 43] {
        let level = DataSrc(data_src).level().unwrap();
        assert_eq!(level.name(), "L3 or peer cache");
        assert_eq!(level.is_l1_miss(), Some(true));
        assert_eq!(level.is_llc_miss(), Some(false));
        let hitm = DataSrc(data_src | 1 << 4 << 19).hitm();
        assert_eq!(hitm, Some(Hitm::Local), "{data_src:#x}");
    }
}

/// `ARM_SPE_COMMON_DS_REMOTE`: level N/A, the remote bit, snoopx PEER.
#[test]
fn a_remote_access_without_a_level_left_the_socket() {
    let data_src = DataSrc(2 | 1 << 5 | 15 << 33 | 1 << 37 | 2 << 38);
    assert_eq!(data_src.level(), Some(Level::Remote));
    assert_eq!(data_src.snoop(), Some(Snoop::Peer));
    assert_eq!(Level::Remote.is_llc_miss(), Some(true));
}

/// `pebs_data_source[0x0b]` of Sandy Bridge to Broadwell: remote memory by the mask and by Intel's manual,
/// but numbered L3.
#[test]
fn remote_memory_with_the_number_of_l3_is_remote_memory() {
    let level = DataSrc(2 | (1 << 8 | 1 << 1) << 5 | 1 << 2 << 19 | 3 << 33 | 1 << 37).level();
    assert_eq!(level, Some(Level::RemoteRam));
    // 0x08: a remote cache.
    let level = DataSrc(2 | (1 << 10 | 1 << 1) << 5 | 1 << 2 << 19 | 3 << 33 | 1 << 37).level();
    assert_eq!(level, Some(Level::RemoteCache));
}

/// `omr_data_source[0x07]` and `[0x08]` of Panther Cove.
#[test]
fn device_registers_are_not_memory() {
    let region = |region: u64| DataSrc(2 | 1 << 1 << 5 | 13 << 33 | region << 46).level();
    assert_eq!(region(7), Some(Level::Io));
    assert_eq!(region(8), Some(Level::Ram));
}

#[test]
fn a_store_that_missed_l1_is_no_more_than_that() {
    let level = DataSrc(4 | (1 << 3 | 1 << 2) << 5).level().unwrap();
    assert_eq!(level, Level::L1Miss);
    assert_eq!(level.is_l1_miss(), Some(true));
    assert_eq!(level.is_llc_miss(), None);
}

#[test]
fn hitm_is_remote_by_the_bit_or_by_the_old_mask() {
    let hitm = 1 << 4 << 19;
    assert_eq!(DataSrc(hitm | 3 << 33).hitm(), Some(Hitm::Local));
    assert_eq!(DataSrc(hitm | 3 << 33 | 1 << 37).hitm(), Some(Hitm::Remote));
    assert_eq!(DataSrc(hitm | 1 << 10 << 5).hitm(), Some(Hitm::Remote));
    assert_eq!(DataSrc(hitm).snoop(), Some(Snoop::HitM));
    assert_eq!(DataSrc(2 << 38).snoop(), Some(Snoop::Peer));
    assert_eq!(DataSrc(1 << 38).snoop(), Some(Snoop::Forward));
}

#[test]
fn the_fields_above_bit_40() {
    let blocked = DataSrc(3 << 41).blocked();
    assert_eq!(
        blocked,
        Some(Blocked {
            data: true,
            addr: true
        })
    );
    assert_eq!(DataSrc(1 << 40).blocked(), None);
    assert_eq!(DataSrc(4 << 43).hops(), 4);
    assert_eq!(DataSrc(9 << 46).region(), Some(9));
    assert_eq!(DataSrc(0).region(), None);
}
