//! Arm SPE packets and records, against every decoded example that public sources print.

#[path = "spe/encoder.rs"]
mod encoder;

use encoder::{Stream, describe};
use mempath::data_src::{DataSrc, Level, Op, Snoop};
use mempath::pmu::arm_spe::data_source::{Midr, data_src};
use mempath::pmu::arm_spe::packet::{BadPacket, Packet};
use mempath::pmu::arm_spe::record::{BadStretch, Record, Records, event};
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// The packets of `hex` in perf's words, padding left out.
fn packets(hex: &str) -> Vec<String> {
    let data = bytes(hex);
    let mut at = 0;
    let mut said = Vec::new();
    while at < data.len() {
        let (packet, len) = Packet::at(&data, at, 0).unwrap();
        at += len;
        if packet != Packet::Padding {
            said.push(describe(packet));
        }
    }
    said
}

fn records(hex: &str) -> Vec<Record> {
    Records::new(&bytes(hex), 0)
        .map(|record| record.unwrap())
        .collect()
}

/// Arm's spe-parser, `tests/test_spe_decoder.py`.
#[test]
fn the_packets_of_arms_parser() {
    for (hex, said) in [
        ("b0 5c 8b 8c 86 c2 c0 ff c0", "PC 0xffc0c2868c8b5c el2 ns=1"),
        (
            "b3 e8 09 8a d8 0b 08 00 80",
            "PA 0x80bd88a09e8 ns=1 ch=0 pat=0",
        ),
        ("b2 c0 26 c2 07 20 fc ff 00", "VA 0xfffc2007c226c0"),
        (
            "b1 e0 89 8c 86 c2 c0 ff c0",
            "TGT 0xffc0c2868c89e0 el2 ns=1",
        ),
        ("99 07 00", "LAT 7 ISSUE"),
        ("98 0b 00", "LAT 11 TOT"),
        ("9a 01 00", "LAT 1 XLAT"),
        ("71 6c f8 a5 83 00 0c 00 00", "TS 13196348225644"),
        ("49 00", "LD GP-REG"),
        ("4a 01", "B COND"),
        ("49 01", "ST GP-REG"),
        ("4a 02", "B IND"),
        ("49 16", "LD AT AR"),
        ("49 05", "ST SIMD-FP"),
        ("43 00", "DATA-SOURCE 0"),
        ("52 16 00", "EV RETIRED L1D-ACCESS TLB-ACCESS"),
        ("52 02 00", "EV RETIRED"),
        ("52 42 00", "EV RETIRED NOT-TAKEN"),
        (
            "52 1e 03",
            "EV RETIRED L1D-ACCESS L1D-REFILL TLB-ACCESS LLC-ACCESS LLC-REFILL",
        ),
    ] {
        assert_eq!(packets(hex), [said], "{hex}");
    }
    assert_eq!(
        packets(
            "71 af f9 04 81 00 0c 00 00 b0 00 b6 a9 e4 aa aa 00 80 49 00 52 16 00 99 04 00 \
             98 08 00 b2 43 da 5d e6 aa aa 00 00 9a 01 00 b3 43 5a 95 2c 03 08 00 80 43 00"
        ),
        [
            "TS 13196304120239",
            "PC 0xaaaae4a9b600 el0 ns=1",
            "LD GP-REG",
            "EV RETIRED L1D-ACCESS TLB-ACCESS",
            "LAT 4 ISSUE",
            "LAT 8 TOT",
            "VA 0xaaaae65dda43",
            "LAT 1 XLAT",
            "PA 0x8032c955a43 ns=1 ch=0 pat=0",
            "DATA-SOURCE 0",
        ]
    );
}

/// google/perf_data_converter, `src/quipper/arm_spe_decoder_test.cc`.
#[test]
fn the_records_of_googles_parser() {
    let records = records(
        "b0 d0 c2 a1 ed 66 ba ff c0 00 00 00 00 00 65 80 5f 00 00 49 00 52 16 00 99 04 00 \
         98 0c 00 b2 28 6b 09 03 37 0e ff 00 9a 01 00 00 00 00 00 00 00 00 00 00 43 00 00 00 \
         71 2e 65 2f 6a 0a 00 00 00 \
         b0 e0 b0 ef ed 66 ba ff c0 00 00 00 00 00 65 0e 00 00 00 4a 01 52 42 00 99 10 00 \
         98 11 00 b1 e4 b0 ef ed 66 ba ff c0 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 \
         71 8d 65 2f 6a 0a 00 00 00",
    );
    assert_eq!(
        records,
        [
            Record {
                ip: Some(0xffff_ba66_eda1_c2d0),
                el: Some(2),
                addr: Some(0xffff_0e37_0309_6b28),
                events: event::RETIRED | event::L1D_ACCESS | event::TLB_ACCESS,
                operation: Some((1, 0)),
                total_latency: Some(12),
                issue_latency: Some(4),
                translation_latency: Some(1),
                context: Some(0x5f80),
                timestamp: Some(44_731_163_950),
                source: Some(0),
                ..Record::default()
            },
            Record {
                ip: Some(0xffff_ba66_edef_b0e0),
                el: Some(2),
                branch_target: Some(0xffff_ba66_edef_b0e4),
                events: event::RETIRED | event::NOT_TAKEN,
                operation: Some((2, 1)),
                total_latency: Some(17),
                issue_latency: Some(16),
                context: Some(0xe),
                timestamp: Some(44_731_164_045),
                ..Record::default()
            },
        ]
    );
    assert!(records[0].is_memory() && !records[0].is_store());
    assert!(!records[1].is_memory());
    // Its test of invalid data.
    let bad = bytes("ab cd ef ff 99 88 77 66 55 44");
    let stretches: Vec<_> = Records::new(&bad, 0).collect();
    assert_eq!(
        stretches,
        [Err(BadStretch {
            at: 0,
            end: 10,
            why: BadPacket::Header(0xab)
        })]
    );
}

/// The dump in the message of Linux's `perf tools: Add ARM Statistical Profiling Extensions (SPE)
/// support`.
#[test]
fn the_dump_of_the_kernels_commit() {
    let hex = "b0 f4 d3 29 10 00 80 ff a0 99 0b 00 98 0d 00 52 16 00 49 00 \
               b2 d0 40 d8 70 00 00 ff 00 9a 01 00 00 00 00 71 a5 1f b3 20 14 00 00 00 \
               b0 7c f9 29 10 00 80 ff a0 99 02 00 98 03 00 52 02 00 48 00 00 00 00 \
               71 ef 1f b3 20 14 00 00 00";
    assert_eq!(
        packets(hex),
        [
            "PC 0xff80001029d3f4 el1 ns=1",
            "LAT 11 ISSUE",
            "LAT 13 TOT",
            "EV RETIRED L1D-ACCESS TLB-ACCESS",
            "LD GP-REG",
            "VA 0xff000070d840d0",
            "LAT 1 XLAT",
            "TS 86447955877",
            "PC 0xff80001029f97c el1 ns=1",
            "LAT 2 ISSUE",
            "LAT 3 TOT",
            "EV RETIRED",
            "OTHER INSN-OTHER",
            "TS 86447955951",
        ]
    );
    let records = records(hex);
    let kernel: Vec<_> = records.iter().map(|record| record.ip).collect();
    assert_eq!(
        kernel,
        [Some(0xffff_8000_1029_d3f4), Some(0xffff_8000_1029_f97c)]
    );
    assert_eq!(records[0].addr, Some(0xffff_0000_70d8_40d0));
}

#[test]
fn the_encoder_and_the_decoder_agree_on_every_packet() {
    let said = |stream: Stream| {
        let mut at = 0;
        let mut said = Vec::new();
        while at < stream.0.len() {
            let (packet, len) = Packet::at(&stream.0, at, 0).unwrap();
            said.push(packet);
            at += len;
        }
        assert_eq!(at, stream.0.len());
        said
    };
    let new = Stream::default;
    assert_eq!(said(new().end()), [Packet::End]);
    assert_eq!(
        said(new().timestamp(u64::MAX)),
        [Packet::Timestamp(u64::MAX)]
    );
    for el in 1..=4 {
        assert_eq!(
            said(new().context(el, 0xdead_beef)),
            [Packet::Context {
                el,
                id: 0xdead_beef
            }]
        );
    }
    for index in 0..32 {
        let payload = 0x0123_4567_89ab_cdef;
        assert_eq!(
            said(new().address(index, payload)),
            [Packet::Address { index, payload }]
        );
        assert_eq!(
            said(new().counter(index, 0xfff)),
            [Packet::Counter {
                index,
                count: 0xfff
            }]
        );
    }
    for class in 0..4 {
        assert_eq!(
            said(new().operation(class, 0x5a)),
            [Packet::Operation {
                class,
                payload: 0x5a
            }]
        );
    }
    for bits in [0, 0x16, 0x31e, 0xff_0000, u64::MAX] {
        assert_eq!(said(new().events(bits)), [Packet::Events(bits)]);
    }
    assert_eq!(said(new().source(0xe)), [Packet::DataSource(0xe)]);
    assert_eq!(said(new().wide_source(0x100)), [Packet::DataSource(0x100)]);
    assert_eq!(said(new().pad(2)), [Packet::Padding; 2]);
}

/// `0x2y 0x00` goes to the next multiple of `2^(y + 1)`.
#[test]
fn alignment_packets_are_padding_to_a_boundary_of_the_buffer() {
    let mut data = vec![0u8; 64];
    (data[3], data[4]) = (0x23, 0x00);
    // 16 bytes: from 3 to 16; in a buffer where this data begins at 8, to 8.
    assert_eq!(Packet::at(&data, 3, 0), Ok((Packet::Padding, 13)));
    assert_eq!(Packet::at(&data, 3, 8), Ok((Packet::Padding, 5)));
    data[3] = 0x20;
    assert_eq!(Packet::at(&data, 3, 0), Ok((Packet::Padding, 2)));
    assert_eq!(Packet::at(&data[..4], 3, 0), Err(BadPacket::Cut));
}

#[test]
fn a_payload_past_the_end_is_cut() {
    let whole = Stream::default().timestamp(1).0;
    for len in 1..whole.len() {
        assert_eq!(Packet::at(&whole[..len], 0, 0), Err(BadPacket::Cut));
    }
    assert_eq!(Packet::at(&whole, 9, 0), Err(BadPacket::Cut));
    assert_eq!(
        Packet::at(&[0x20, 0xff], 0, 0),
        Err(BadPacket::Header(0xff))
    );
}

fn whole(n: u64) -> Stream {
    Stream::default()
        .pc(0x40_0000 + 4 * n, 0)
        .load()
        .events(event::RETIRED | event::L1D_ACCESS)
        .counter(0, 100 + n as u16)
        .va(0xffff_1000 + 8 * n)
        .timestamp(1000 + n)
}

#[test]
fn reading_goes_on_at_the_next_record_after_a_bad_packet() {
    let mut data = whole(0).0;
    let bad_at = data.len();
    // A record whose second packet is none; its address looks like one that ends the record.
    data.extend(Stream::default().pc(0x0101_0101, 0).0);
    data.push(0xff);
    data.extend(Stream::default().va(0xb0).timestamp(7).0);
    let next = data.len();
    data.extend(whole(1).0);
    let all: Vec<_> = Records::new(&data, 0).collect();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].unwrap().timestamp, Some(1000));
    assert_eq!(
        all[1],
        Err(BadStretch {
            at: bad_at + 9,
            end: next,
            why: BadPacket::Header(0xff)
        })
    );
    assert_eq!(all[2].unwrap().timestamp, Some(1001));
}

#[test]
fn a_stream_cut_anywhere_keeps_the_records_before_the_cut() {
    let one = whole(0).0.len();
    let data: Vec<u8> = (0..4).flat_map(|n| whole(n).pad(3).0).collect();
    for len in 0..=data.len() {
        let whole = Records::new(&data[..len], 0).filter(Result::is_ok).count();
        // A record is followed by three bytes of padding.
        assert_eq!(whole, (len + 3) / (one + 3), "{len}");
        let bad: Vec<_> = Records::new(&data[..len], 0)
            .filter_map(Result::err)
            .collect();
        let inside = !matches!(len % (one + 3), 0) && len % (one + 3) < one;
        assert_eq!(bad.len(), usize::from(inside), "{len}");
        assert!(bad.iter().all(|bad| bad.why == BadPacket::Cut));
    }
}

/// `PMSIDR_EL1.MaxSize` is 2048 at most.
#[test]
fn a_record_that_does_not_end_is_given_up() {
    let endless: Vec<u8> = (0..4000)
        .flat_map(|_| Stream::default().va(0xb0b0).0)
        .collect();
    let all: Vec<_> = Records::new(&endless, 0).collect();
    assert_eq!(
        all,
        [Err(BadStretch {
            at: 2052,
            end: 36000,
            why: BadPacket::TooLong
        })]
    );
}

#[test]
fn a_record_may_end_without_a_timestamp() {
    let data = Stream::default().pc(0x1000, 0).load().end().pad(5).0;
    let records: Vec<_> = Records::new(&data, 0).map(Result::unwrap).collect();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].ip, records[0].timestamp), (Some(0x1000), None));
}

const N1: Midr = Midr(0x413f_d0c1);
const AMPEREONE: Midr = Midr(0xc00f_ac40);
const HIP12: Midr = Midr(0x481f_d060);
const UNKNOWN: Midr = Midr(0x410f_d034);

fn record(operation: u64, events: u64, source: Option<u64>) -> Record {
    Record {
        operation: Some((1, operation)),
        events,
        source,
        ..Record::default()
    }
}

fn load(midr: Midr, events: u64, source: Option<u64>) -> (Option<Level>, Option<Snoop>) {
    let word = DataSrc(data_src(&record(0, events, source), midr, false));
    assert_eq!(word.op(), Some(Op::Load));
    (word.level(), word.snoop())
}

/// `arm_spe__synth_data_source_common`, `_ampereone`, `_hisi_hip`.
#[test]
fn data_sources_are_each_cores_own() {
    use Snoop::{Hit, HitM, None as NoSnoop, Peer};
    let common = [
        (0x0, Level::L1, NoSnoop),
        (0x8, Level::L2, NoSnoop),
        (0x9, Level::L2, Peer),
        (0xa, Level::L3, Peer),
        (0xb, Level::L3, Hit),
        (0xc, Level::L3, Peer),
        (0xd, Level::Remote, Peer),
        (0xe, Level::Ram, NoSnoop),
    ];
    for (source, level, snoop) in common {
        let told = load(N1, 0, Some(source));
        assert_eq!(told, (Some(level), Some(snoop)), "{source:#x}");
    }
    for (source, level) in [
        (0, Level::L2),
        (3, Level::L3),
        (5, Level::Remote),
        (7, Level::Ram),
        (8, Level::L1),
        (9, Level::L2),
    ] {
        assert_eq!(load(AMPEREONE, 0, Some(source)).0, Some(level), "{source}");
    }
    for (source, level, snoop) in [
        (0, Level::L2, Peer),
        (1, Level::L2, HitM),
        (2, Level::L3, Hit),
        (3, Level::L3, HitM),
        (4, Level::L3, Peer),
        (5, Level::L3, HitM),
        (6, Level::RemoteCache, Peer),
        (7, Level::RemoteCache, HitM),
        (8, Level::Ram, NoSnoop),
        (13, Level::Io, NoSnoop),
        (16, Level::L2, NoSnoop),
        (17, Level::L2, HitM),
        (18, Level::L1, NoSnoop),
    ] {
        let told = load(HIP12, 0, Some(source));
        assert_eq!(told, (Some(level), Some(snoop)), "{source}");
    }
    assert_eq!(load(HIP12, 0, Some(9)).0, Some(Level::RemoteRam));
}

/// `arm_spe__synth_ld_memory_level`.
#[test]
fn event_bits_tell_where_no_table_does() {
    let l1 = event::L1D_ACCESS;
    for (events, level) in [
        (l1, Level::L1),
        (l1 | event::L1D_REFILL, Level::L1Miss),
        (l1 | event::L1D_REFILL | event::RECENTLY_FETCHED, Level::Lfb),
        (l1 | event::L1D_REFILL | event::L2D_ACCESS, Level::L2),
        (
            l1 | event::L1D_REFILL | event::L2D_ACCESS | event::L2D_MISS,
            Level::L2Miss,
        ),
        (l1 | event::L1D_REFILL | event::LLC_ACCESS, Level::L3),
        (
            l1 | event::L1D_REFILL | event::LLC_ACCESS | event::LLC_MISS,
            Level::L3Miss,
        ),
    ] {
        // A data source of a core without a table says nothing.
        for (midr, source) in [(UNKNOWN, Some(0xe)), (N1, None), (N1, Some(0x77))] {
            assert_eq!(load(midr, events, source).0, Some(level), "{events:#x}");
        }
    }
    assert_eq!(load(UNKNOWN, event::RETIRED, None), (None, None));
    let snooped = event::L1D_ACCESS | event::SNOOPED;
    assert_eq!(load(UNKNOWN, snooped, None).1, Some(Snoop::Hit));
    assert_eq!(
        load(UNKNOWN, snooped | event::MODIFIED, None).1,
        Some(Snoop::HitM)
    );
}

#[test]
fn stores_have_no_source_and_a_level_only_by_event_bits() {
    let word = |midr, events| DataSrc(data_src(&record(1, events, Some(0)), midr, false));
    let refill = event::L1D_ACCESS | event::L1D_REFILL;
    assert_eq!(word(N1, refill).op(), Some(Op::Store));
    assert_eq!(word(N1, refill).level(), None);
    assert_eq!(word(UNKNOWN, refill).level(), Some(Level::L1Miss));
    assert_eq!(word(UNKNOWN, event::L1D_ACCESS).level(), Some(Level::L1));
    let branch = Record {
        operation: Some((2, 1)),
        ..Record::default()
    };
    assert_eq!(data_src(&branch, N1, false), DataSrc::NA.0);
}

proptest! {
    /// Whatever the bytes, decoding ends, and each step goes on.
    #[test]
    fn no_bytes_break_the_decoder(data in proptest::collection::vec(any::<u8>(), 0..600), position: u64) {
        let mut from = 0;
        let mut count = 0;
        for record in Records::new(&data, position) {
            count += 1;
            prop_assert!(count <= data.len());
            if let Err(bad) = record {
                prop_assert!(bad.at >= from && bad.end <= data.len().max(bad.at) && bad.end >= bad.at);
                from = bad.end;
            }
        }
    }

    /// Bytes that often look like packets.
    #[test]
    fn nor_do_bytes_like_packets(
        data in proptest::collection::vec(
            prop_oneof![Just(0xb0u8), Just(0x98), Just(0x49), Just(0x71), Just(0x01), Just(0x20), Just(0), any::<u8>()],
            0..400,
        ),
    ) {
        let bytes_in_records = Records::new(&data, 0).count();
        prop_assert!(bytes_in_records <= data.len());
    }
}
