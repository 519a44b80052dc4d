//! AUX data and raw bytes of samples: where they lie, and that they are what was written.

mod common;

use common::builder::*;
use common::corpus;
use mempath::recording::{AuxChunk, AuxInfo, Recording, TimeConv, read, read_bytes};
use std::path::Path;

fn open(bytes: &[u8]) -> Recording {
    read_bytes(Path::new("test"), bytes).unwrap()
}

const AUXTRACE_INFO: u32 = 70;
const AUXTRACE: u32 = 71;
const TIME_CONV: u32 = 79;
const AUX_RECORD: u32 = 11;
const ITRACE_START: u32 = 12;

fn spe(big: bool) -> RecordingBuilder {
    let mut recording = RecordingBuilder::of_order(big);
    recording.event(EventSpec {
        name: "arm_spe_0//".into(),
        kind: 9,
        sample_type: IP | TID | TIME | CPU | IDENTIFIER,
        sample_id_all: true,
        ..EventSpec::default()
    });
    let mut body = Writer::new(big);
    body.u32(1).u32(0).words(&[9, 1, 2]);
    recording.record(AUXTRACE_INFO, 0, &body.bytes);
    let mut body = Writer::new(big);
    body.words(&[10, 3_221_225_472, 77, 5, 0xff_ffff]);
    body.raw(&[1, 1, 0, 0, 0, 0, 0, 0]);
    recording.record(TIME_CONV, 0, &body.bytes);
    let mut body = Writer::new(big);
    body.u32(41).u32(42);
    recording.stamped(ITRACE_START, 0, 42, 900, body);
    let mut body = Writer::new(big);
    body.words(&[0x1000, 24, 9]);
    recording.stamped(AUX_RECORD, 0, 42, 1000, body);
    let mut body = Writer::new(big);
    body.words(&[24, 0x1000, 5])
        .u32(3)
        .u32(u32::MAX)
        .u32(3)
        .u32(0);
    recording.record(AUXTRACE, 0, &body.bytes);
    recording.records.raw(b"twenty-four bytes of AUX");
    recording
}

#[test]
fn aux_data_is_found_in_every_form() {
    for big in [false, true] {
        for bytes in [spe(big).file(), spe(big).pipe()] {
            let recording = open(&bytes);
            assert_eq!(recording.damage, []);
            let [info] = recording.aux.infos.as_slice() else {
                panic!("one AUXTRACE_INFO");
            };
            let words = vec![9, 1, 2];
            assert_eq!(info, &AuxInfo { kind: 1, words });
            let [chunk] = recording.aux.chunks.as_slice() else {
                panic!("one AUXTRACE");
            };
            assert_eq!(
                *chunk,
                AuxChunk {
                    file_offset: chunk.file_offset,
                    len: 24,
                    size: 24,
                    offset: 0x1000,
                    reference: 5,
                    idx: 3,
                    tid: -1,
                    cpu: 3,
                }
            );
            assert_eq!(recording.aux_data(chunk), b"twenty-four bytes of AUX");
            let [record] = recording.aux.records.as_slice() else {
                panic!("one AUX");
            };
            assert_eq!((record.aux_offset, record.aux_size), (0x1000, 24));
            assert_eq!(record.flags, 9);
            assert_eq!(record.stamp.time, Some(1000));
            assert_eq!(record.stamp.tid, Some(42));
            assert_eq!(record.stamp.cpu, Some(0));
            let [start] = recording.aux.starts.as_slice() else {
                panic!("one ITRACE_START");
            };
            assert_eq!((start.pid, start.tid), (41, 42));
            assert_eq!(start.stamp.time, Some(900));
            assert_eq!(
                recording.aux.time_conv,
                Some(TimeConv {
                    time_shift: 10,
                    time_mult: 3_221_225_472,
                    time_zero: 77,
                    time_cycles: 5,
                    time_mask: 0xff_ffff,
                    cap_user_time_zero: true,
                    cap_user_time_short: true,
                })
            );
        }
    }
}

#[test]
fn aux_data_that_is_cut_is_kept_as_far_as_it_goes() {
    let mut bytes = spe(false).pipe();
    let end = bytes.len() as u64;
    bytes.truncate(bytes.len() - 4);
    let recording = open(&bytes);
    let chunk = recording.aux.chunks[0];
    assert_eq!((chunk.len, chunk.size), (20, 24));
    assert_eq!(recording.aux_data(&chunk), b"twenty-four bytes of");
    let [damage] = recording.damage.as_slice() else {
        panic!("one damage: {:?}", recording.damage);
    };
    assert_eq!(damage.offset, end - 24 - 48);
    assert_eq!(damage.rule, "24 bytes of AUX data are cut after 20");
}

/// `tsc_to_perf_time`, worked by hand: 3 << 10 cycles at a multiplier of 1000 and a shift of 10.
#[test]
fn cycles_become_nanoseconds() {
    let conv = TimeConv {
        time_shift: 10,
        time_mult: 1000,
        time_zero: 7,
        ..TimeConv::default()
    };
    assert_eq!(conv.time_ns(3 << 10), 3007);
    // 512 cycles more are half of 1024.
    assert_eq!(conv.time_ns((3 << 10) + 512), 3507);
    // A short counter of 12 bits, seen last at 0x1ff0, reads 0x010: it has wrapped to 0x2010.
    let short = TimeConv {
        time_cycles: 0x1ff0,
        time_mask: 0xfff,
        cap_user_time_short: true,
        ..conv
    };
    assert_eq!(short.time_ns(0x010), conv.time_ns(0x2010));
}

#[test]
fn raw_bytes_are_found_plain_and_compressed() {
    let mut plain = RecordingBuilder::new();
    let ibs = plain.event(EventSpec {
        sample_type: IP | TID | TIME | RAW,
        ..EventSpec::loads()
    });
    for raw in [b"abcd".as_slice(), b"0123456789ab"] {
        plain.sample(
            ibs,
            Sample {
                raw: raw.to_vec(),
                ..Sample::load(1)
            },
        );
    }
    let records = zstd::encode_all(plain.records.bytes.as_slice(), 0).unwrap();
    let mut packed = plain.clone();
    packed.records = Writer::new(false);
    packed.record(81, 0, &records);
    for bytes in [plain.file(), plain.pipe(), packed.file(), packed.pipe()] {
        let recording = open(&bytes);
        assert_eq!(recording.samples.len(), 2);
        assert_eq!(recording.raw(0).unwrap(), b"abcd");
        assert_eq!(recording.raw(1).unwrap(), b"0123456789ab");
        assert_eq!(recording.raw(2), None);
    }
}

#[test]
fn the_aux_data_of_the_corpus_adds_up() {
    let Some(path) = corpus("perf_data_converter__perf.data.intel_pt-4.14") else {
        return;
    };
    let recording = read(&path).unwrap();
    let kinds: Vec<u32> = recording.aux.infos.iter().map(|info| info.kind).collect();
    assert_eq!(kinds, [1]);
    let bytes: usize = recording
        .aux
        .chunks
        .iter()
        .map(|chunk| recording.aux_data(chunk).len())
        .sum();
    let told: u64 = recording.aux.records.iter().map(|aux| aux.aux_size).sum();
    assert_eq!(bytes as u64, told);
    // The first packet of Intel PT is a PSB: 02 82, eight times.
    assert_eq!(
        recording.aux_data(&recording.aux.chunks[0])[..16],
        [2, 0x82].repeat(8)
    );
}
