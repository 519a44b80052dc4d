//! Recordings through the whole of `mempath analyze`, without a process of its own: tables and a page are
//! written as the command writes them.

use super::common::builder::*;
use super::encoder::Stream;
use mempath::analyses::together::Windows;
use mempath::commands::{analyze, input};
use mempath::program::Sources;
use mempath::program::find::Search;
use mempath::tables::{Summary, Tables};
use mempath::terminal::Colour;
use std::cell::RefCell;
use std::path::{Path, PathBuf};

thread_local! {
    /// The folder that recordings are analyzed in.
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

fn folder() -> PathBuf {
    FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().unwrap());
        folder.path().to_owned()
    })
}

/// Analyzes a recording; its summary, `None` where there is no access in it or it is refused.
pub fn analyzed(bytes: &[u8], binary: Option<&Path>) -> Option<Summary> {
    let folder = folder();
    let [recording, page, tables] = ["perf.data", "page", "tables"].map(|name| folder.join(name));
    std::fs::write(&recording, bytes).unwrap();
    let options = analyze::Options {
        input: input::Options {
            perf_data: recording,
            search: Search {
                binaries: binary.map(Path::to_owned).into_iter().collect(),
                symfs: Some(folder.join("nothing")),
                force: true,
                ..Search::default()
            },
            kallsyms: None,
            core: None,
            sources: Sources::default(),
        },
        report: Some(page.clone()),
        tables: Some(tables.clone()),
        summary: None,
        colour: Colour::Never,
        within: Windows::default(),
        redact: false,
        open: false,
    };
    if let Err(error) = analyze::run(&options) {
        let error = format!("{error:#}");
        let refused =
            error.starts_with("no memory accesses in") || error.starts_with("could not read");
        assert!(refused, "{error}");
        return None;
    }
    let page = std::fs::read(&page).unwrap();
    assert!(page.ends_with(b"</html>\n"), "the page is not whole");
    Some(Tables::read(&tables).unwrap().summary)
}

/// As a target of bytes.
pub fn analyze(bytes: &[u8]) {
    analyzed(bytes, None);
}

/// AMD IBS: two loads, a store, a micro-op without memory, over and over, as the kernel decodes them or as
/// raw registers (`arch/x86/events/amd/ibs.c`).
pub fn ibs(raw: bool) -> RecordingBuilder {
    let fields = match raw {
        true => RAW,
        false => ADDR | WEIGHT_STRUCT | DATA_SRC,
    };
    let mut recording = RecordingBuilder::new().cpuid("AuthenticAMD,25,17,1");
    recording.event(EventSpec {
        name: "ibs_op//".into(),
        kind: 11,
        sample_period: 100_000,
        sample_type: IP | TID | TIME | CPU | PERIOD | fields,
        sample_id_all: true,
        ..EventSpec::default()
    });
    recording.mmap(1, 0x40_0000, 0x1000, "/bin/a", 1);
    const FAR: u64 = 1 | 1 << 7 | 1 << 17 | 1 << 20;
    const NA: u64 = 0x0508_0021;
    for n in 0..12 {
        let (data2, data3, data_src) = match n % 4 {
            0 => (3, FAR | 476 << 32, LOAD_FROM_RAM),
            1 => (0, 1 | 1 << 17, LOAD_FROM_L1),
            2 => (0, 2 | 1 << 17, STORE_TO_L1),
            _ => (0, 0, NA),
        };
        let (ip, addr) = (0x40_0000 + 4 * n, 0xc000_0000 + 8 * n);
        let mut registers = 0xbff_u32.to_le_bytes().to_vec();
        for register in [3 << 17, ip, 0, data2, data3, addr, 0, 0] {
            registers.extend(register.to_le_bytes());
        }
        let sample = Sample {
            ip,
            addr,
            time: 10 + n,
            data_src,
            raw: registers,
            ..Sample::load(476)
        };
        recording.sample(0, sample);
    }
    recording
}

/// Arm SPE: loads and stores of one CPU, in two pieces of AUX data.
pub fn spe() -> RecordingBuilder {
    const AUX: u32 = 11;
    const AUXTRACE_INFO: u32 = 70;
    const AUXTRACE: u32 = 71;
    const TIME_CONV: u32 = 79;
    let mut recording = RecordingBuilder::new().cpuid("0x00000000413fd0c1");
    recording.event(EventSpec {
        name: "arm_spe_0/ts_enable=1/u".into(),
        kind: 9,
        config: 3,
        sample_period: 4096,
        sample_type: IP | TID | TIME | ADDR | CPU | IDENTIFIER | WEIGHT | DATA_SRC,
        sample_id_all: true,
        ..EventSpec::default()
    });
    let mut body = Writer::new(false);
    body.words(&[20, 40 << 20, 1_000_000_000, 0, (1 << 56) - 1]);
    body.raw(&[1, 1, 0, 0, 0, 0, 0, 0]);
    recording.record(TIME_CONV, 0, &body.bytes);
    let mut body = Writer::new(false);
    body.u32(4).u32(0).words(&[9, 1]);
    recording.record(AUXTRACE_INFO, 0, &body.bytes);
    recording.comm(7, 7, "server", true, 1_000_000_000);
    recording.mmap(7, 0x40_0000, 0x1000, "/bin/server", 1_000_000_000);
    for piece in 0..2 {
        let mut stream = Stream::default();
        for n in 0..6 {
            let record = Stream::default().pc(0x40_0000 + 4 * n, 0).context(1, 7);
            let record = match n % 3 {
                0 => record.load().events(0x16).counter(0, 12).source(0),
                1 => record.load().events(0x31e).counter(0, 330).source(0xe),
                _ => record.store().events(0x16).counter(0, 40),
            };
            let record = record
                .va(0xc000_0000 + 8 * n)
                .timestamp(25_000 + piece * 100 + n);
            stream.0.extend(record.pad_to(64).0);
        }
        let (data, offset) = (stream.0, piece * 384);
        let mut body = Writer::new(false);
        body.words(&[offset, data.len() as u64, 0]);
        recording.stamped(AUX, 0, 7, 1_009_000_000, body);
        let mut body = Writer::new(false);
        body.words(&[data.len() as u64, offset, 5]);
        body.u32(1).u32(u32::MAX).u32(1).u32(0);
        recording.record(AUXTRACE, 0, &body.bytes);
        recording.records.raw(&data);
    }
    recording
}
