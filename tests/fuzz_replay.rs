//! Every seed and every find of the fuzz targets; and bytes of good files, changed at random.
//!
//! `scripts/fuzz` goes on for as long as it is told with each target, and keeps what it finds in
//! `tests/fuzz/seeds/TARGET/`. `MEMPATH_FUZZ_SEEDS=DIR` writes the good inputs there, for cargo-fuzz.

mod common;
#[path = "spe/encoder.rs"]
mod encoder;
#[path = "fuzz/targets.rs"]
mod targets;
#[path = "fuzz/whole.rs"]
mod whole;

use common::builder::*;
use flate2::read::GzDecoder;
use mempath::recording::{Recording, read_bytes};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use targets::{TARGETS, Target};

/// Counts what is allocated, and the most of it.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// One measurement at a time.
static MEASURING: Mutex<()> = Mutex::new(());

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The targets of `targets.rs`, and the whole of `mempath analyze`, which cargo-fuzz does not build.
fn all_targets() -> impl Iterator<Item = (&'static str, Target)> {
    TARGETS
        .into_iter()
        .chain([("analyze", whole::analyze as Target)])
}

/// Runs a target; says what went wrong.
fn run(target: impl FnOnce(&[u8]), bytes: &[u8]) -> Result<(), String> {
    let _measuring = MEASURING.lock().unwrap_or_else(|held| held.into_inner());
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let ended = catch_unwind(AssertUnwindSafe(|| target(bytes)));
    let most = MOST.load(Ordering::Relaxed).saturating_sub(before);
    let allowed = 4 * bytes.len() + (64 << 20);
    match ended {
        Err(_) => Err("it panics".to_owned()),
        Ok(()) if most > allowed => Err(format!("it holds {most} bytes of {allowed}")),
        Ok(()) => Ok(()),
    }
}

fn seeds(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/seeds")
        .join(target)
}

fn sample_file(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(path);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    if path.extension().is_none_or(|extension| extension != "gz") {
        return bytes;
    }
    let mut inflated = Vec::new();
    GzDecoder::new(bytes.as_slice())
        .read_to_end(&mut inflated)
        .unwrap();
    inflated
}

/// Records as zstd holds them in a pipe.
fn compressed() -> Vec<u8> {
    const COMPRESSED: u32 = 81;
    let plain = recording(false);
    let mut packed = recording(false);
    packed.records.bytes.clear();
    let records = zstd::encode_all(plain.records.bytes.as_slice(), 3).unwrap();
    for piece in records.chunks(100) {
        packed.record(COMPRESSED, 0, piece);
    }
    packed.pipe()
}

/// Chains, registers, stacks, branches and raw bytes: the sample type of every bit.
fn every_field() -> RecordingBuilder {
    let mut recording = RecordingBuilder::new().cpuid("AuthenticAMD,25,17,1");
    let event = recording.event(EventSpec {
        name: "ibs_op//".into(),
        sample_type: (1 << 24) - 1,
        sample_regs_user: 0xff,
        sample_regs_intr: 0xff_0fff,
        sample_id_all: true,
        ..EventSpec::loads()
    });
    for n in 1..9 {
        let sample = Sample {
            counters: vec![(n, 1, 0)],
            callchain: vec![0xffff_ffff_ffff_fe00, n, 2 * n],
            raw: vec![n as u8; 68],
            branches: vec![[1, 2, n]; 3],
            regs_user: (0..8).collect(),
            stack_user: vec![n as u8; 64],
            stack_dyn_size: 48,
            regs_intr: (0..20).collect(),
            ..Sample::load(n as u32)
        };
        recording.sample(event, sample);
    }
    recording
}

fn recording(big: bool) -> RecordingBuilder {
    let mut recording = RecordingBuilder::of_order(big).cpuid("GenuineIntel,6,106,6");
    let loads = recording.event(EventSpec::loads());
    let stores = recording.event(EventSpec::stores());
    recording.mmap(1, 0x40_0000, 0x1000, "/bin/a", 1);
    recording.comm(1, 1, "a", true, 2);
    recording.fork(2, 1, 3);
    recording.lost(7, 4);
    for latency in 5..15 {
        recording.sample(loads, Sample::load(latency));
        recording.sample(stores, Sample::store());
    }
    recording
}

/// The binary as a core of itself: its segments are memory, and its type says so.
fn as_core(mut elf: Vec<u8>) -> Vec<u8> {
    const ET_CORE: u8 = 4;
    elf[16] = ET_CORE;
    elf
}

/// Good inputs of a target, from which changed ones are made.
fn whole(target: &str) -> Vec<Vec<u8>> {
    let words = |n: u64| (0..n).flat_map(|i| (i * 0x0101_0101).to_le_bytes());
    match target {
        "container" => vec![
            recording(false).file(),
            recording(true).file(),
            recording(false).pipe(),
            recording(true).pipe(),
            compressed(),
            every_field().file(),
            every_field().pipe(),
            sample_file("versions/go1.19.8/perf.data.gz"),
        ],
        "sample" => (0..26)
            .map(|bit| {
                let mut bytes = vec![0; 136];
                bytes[4] = 136;
                let sample_type: u64 = (1 << bit) | 0x1_0000 | 0x7;
                bytes[24..32].copy_from_slice(&sample_type.to_le_bytes());
                bytes[80..88].copy_from_slice(&0xff_0fff_u64.to_le_bytes());
                bytes[96..104].copy_from_slice(&0xff_0fff_u64.to_le_bytes());
                bytes.extend(words(64));
                bytes
            })
            .collect(),
        // A load record as the Arm ARM, D17, lays it out: address packets, operation, events, time.
        "spe" => vec![
            [
                0xb0, 0, 0x10, 0x40, 0, 0, 0, 0, 0, 0x65, 1, 0, 0, 0, 0x49, 0, 0x62, 0x16, 0, 0, 0,
                0xb2, 8, 0x20, 0, 0, 0, 0, 0, 0, 0x9a, 1, 0, 0x99, 2, 0, 0x43, 0xd, 0x71, 1, 2, 3,
                4, 5, 6, 7, 8,
            ]
            .repeat(8),
        ],
        "ibs" => vec![
            0xbff_u32
                .to_le_bytes()
                .into_iter()
                .chain((3u64 << 17).to_le_bytes())
                .chain(words(8))
                .collect(),
        ],
        "analyze" => vec![
            recording(false).file(),
            recording(true).pipe(),
            compressed(),
            every_field().file(),
            whole::ibs(false).file(),
            whole::ibs(true).file(),
            whole::spe().file(),
        ],
        "program" => vec![sample_file("versions/go1.19.8/probe.gz")],
        "core" => vec![as_core(sample_file("versions/go1.19.8/probe.gz"))],
        other => panic!("{other} has no inputs"),
    }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }

    /// A place in a file: its head and its tail as often as all between.
    fn place(&mut self, len: usize) -> usize {
        match self.below(4) {
            0 | 1 => self.below(len),
            2 => self.below(len.min(4096)),
            _ => len - 1 - self.below(len.min(4096)),
        }
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(6) {
            if bytes.is_empty() {
                return;
            }
            let at = self.place(bytes.len());
            match self.below(8) {
                0..3 => bytes[at] ^= 1 << self.below(8),
                3 => bytes[at] = self.next() as u8,
                4 | 5 => {
                    let len = bytes.len() as u64;
                    let words = [
                        0,
                        1,
                        u64::MAX,
                        1 << 63,
                        i64::MAX as u64,
                        len,
                        len - 1,
                        1 << 32,
                        self.next(),
                    ];
                    let word = words[self.below(words.len())].to_le_bytes();
                    let at = at & !7;
                    let width = (1 << self.below(4)).min(bytes.len() - at);
                    bytes[at..at + width].copy_from_slice(&word[..width]);
                }
                6 => bytes.truncate(at),
                _ => {
                    let len = self.below(64).min(bytes.len() - at);
                    let piece = bytes[at..at + len].to_vec();
                    let to = self.place(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
        }
    }
}

#[test]
fn every_seed_is_read() {
    for (name, target) in all_targets() {
        for (i, bytes) in whole(name).into_iter().enumerate() {
            assert_eq!(run(target, &bytes), Ok(()), "{name}: a whole file");
            if let Some(dir) = std::env::var_os("MEMPATH_FUZZ_SEEDS") {
                let dir = Path::new(&dir).join(name);
                std::fs::create_dir_all(&dir).unwrap();
                std::fs::write(dir.join(format!("whole-{i}")), bytes).unwrap();
            }
        }
        let Ok(files) = std::fs::read_dir(seeds(name)) else {
            continue;
        };
        for file in files {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!(run(target, &bytes), Ok(()), "{path:?}");
        }
    }
}

#[test]
fn changed_bytes_neither_panic_nor_take_much_memory() {
    let seconds = std::env::var("MEMPATH_FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    let only = std::env::var("MEMPATH_FUZZ_TARGET").ok();
    for (name, target) in all_targets() {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let whole = whole(name);
        let (mut random, end) = match seconds {
            None => (Random(0x6d65_6d70_6174_6801), None),
            Some(seconds) => {
                let now = SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap();
                let end = Instant::now() + Duration::from_secs(seconds);
                (Random(now.as_nanos() as u64 | 1), Some(end))
            }
        };
        // A binary takes a fraction of a second in a build that is not optimised.
        let rounds = match name {
            "program" | "core" => 12,
            "analyze" => 150,
            _ => 2000,
        };
        let (mut inputs, mut finds) = (0, 0);
        while end.map_or(inputs < rounds, |end| Instant::now() < end) {
            let mut bytes = whole[random.below(whole.len())].clone();
            random.change(&mut bytes);
            inputs += 1;
            let Err(rule) = run(target, &bytes) else {
                continue;
            };
            finds += 1;
            let kept = seeds(name).join(format!("find-{inputs}"));
            if end.is_some() {
                std::fs::create_dir_all(seeds(name)).unwrap();
                std::fs::write(&kept, &bytes).unwrap();
            }
            eprintln!("{name}: input {inputs}: {rule}");
            assert!(
                end.is_some() && finds < 20,
                "{name}: input {inputs}: {rule}"
            );
        }
        eprintln!("{name}: {inputs} inputs, {finds} finds");
        assert_eq!(finds, 0, "{name}: see tests/fuzz/seeds/{name}");
    }
}

/// The whole records of a file, as a bare walk over their headers sees them: where each ends, and how
/// many samples end there or before. `None` for compressed records, whose samples lie elsewhere.
fn samples_before(whole: &[u8], recording: &Recording) -> Option<Vec<(usize, usize)>> {
    const SAMPLE: u32 = 9;
    const TRACING_DATA: u32 = 66;
    const AUXTRACE: u32 = 71;
    if recording.meta.compressed || recording.left_out != 0 {
        return None;
    }
    let big = recording.meta.big_endian;
    let word = |at: usize, len: usize| {
        let bytes = whole.get(at..at + len)?;
        let add = |sum, byte: &u8| sum << 8 | u64::from(*byte);
        Some(match big {
            true => bytes.iter().fold(0u64, add),
            false => bytes.iter().rev().fold(0u64, add),
        })
    };
    let mut at = match recording.meta.pipe {
        true => 16,
        false => word(40, 8)? as usize,
    };
    let end = match recording.meta.pipe {
        true => whole.len(),
        false => at + word(48, 8)? as usize,
    };
    let (mut ends, mut samples) = (Vec::new(), 0);
    while at < end {
        let (kind, size) = (word(at, 4)? as u32, word(at + 6, 2)? as usize);
        if matches!(kind, TRACING_DATA | AUXTRACE) || size < 8 || at + size > end {
            return None;
        }
        at += size;
        samples += usize::from(kind == SAMPLE);
        ends.push((at, samples));
    }
    Some(ends)
}

/// Cut at every byte, or at a stride: every whole record before the cut is kept, and the cut is told.
fn cut_anywhere(name: &str, whole: &[u8], cuts: usize) {
    let read = |bytes: &[u8]| read_bytes(Path::new(name), bytes);
    let all = read(whole).unwrap();
    let ends = samples_before(whole, &all);
    let stride = match whole.len() {
        0..16_000 => 1,
        len => len / cuts,
    };
    for cut in (0..whole.len()).step_by(stride) {
        let bytes = &whole[..cut];
        assert_eq!(
            run(targets::container, bytes),
            Ok(()),
            "{name} cut at {cut}"
        );
        let Ok(recording) = read(bytes) else {
            continue;
        };
        let (samples, all) = (&recording.samples, &all.samples);
        let rows = samples.len();
        let same = samples.event.iter().eq(all.event.iter().take(rows))
            && samples.time.iter().eq(all.time.iter().take(rows))
            && samples.addr.iter().eq(all.addr.iter().take(rows));
        assert!(same, "{name} cut at {cut}");
        let before = ends.as_ref().map(|ends| {
            let whole = ends.partition_point(|(end, _)| *end <= cut);
            whole.checked_sub(1).map_or(0, |last| ends[last].1)
        });
        assert_eq!(before.unwrap_or(rows), rows, "{name} cut at {cut}");
        for damage in &recording.damage {
            assert!(
                damage.offset <= whole.len() as u64,
                "{name} cut at {cut}: {damage:?}"
            );
        }
        // A pipe may end after any record; a file names the end of its records.
        if !recording.meta.pipe {
            assert!(
                !recording.damage.is_empty(),
                "{name} cut at {cut}: not told"
            );
        }
    }
}

#[test]
fn a_recording_cut_anywhere_keeps_what_came_before_and_says_where_it_is_cut() {
    cut_anywhere("file", &recording(false).file(), 0);
    cut_anywhere("big endian pipe", &recording(true).pipe(), 0);
    for sample in ["classic-go1.22", "swiss-go1.27", "modelled-go1.22-twins"] {
        cut_anywhere(sample, &sample_file(&format!("{sample}/perf.data")), 31);
    }
}

/// The files of the corpus, and how many bytes they have.
fn corpus_files() -> Vec<(String, Vec<u8>)> {
    let Some(shared) = common::shared() else {
        return Vec::new();
    };
    let files = std::fs::read_dir(shared.join("corpus/files")).unwrap();
    let mut files: Vec<_> = files
        .map(|file| {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            (name, std::fs::read(file.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn corpus_files_cut_anywhere_keep_what_came_before() {
    for (name, whole) in corpus_files() {
        cut_anywhere(&name, &whole, 37);
    }
}

#[test]
fn corpus_files_with_changed_bytes_neither_panic_nor_take_much_memory() {
    let mut random = Random(0x6d65_6d70_6174_6803);
    for (name, whole) in corpus_files() {
        let rounds = 1 + (4 << 20) / whole.len();
        for round in 0..rounds.min(100) {
            let mut bytes = whole.clone();
            random.change(&mut bytes);
            assert_eq!(
                run(targets::container, &bytes),
                Ok(()),
                "{name}, round {round}"
            );
        }
    }
}

/// What the analysis of a recording says is what was read of it: all samples, and the damage with its offset.
fn analyzed_as_read(name: &str, bytes: &[u8], binary: Option<&Path>) {
    let mut summary = None;
    let ran = run(|bytes| summary = whole::analyzed(bytes, binary), bytes);
    assert_eq!(ran, Ok(()), "{name}");
    let (Some(summary), Ok(read)) = (summary, read_bytes(Path::new(name), bytes)) else {
        return;
    };
    let samples = read.samples.len() as u64;
    assert_eq!(summary.funnel[0].samples, samples, "{name}");
    assert_eq!(summary.damage, read.damage, "{name}");
    if let Some(first) = read.damage.first() {
        let told = format!("the file is damaged at byte {}: ", first.offset);
        let mut alarms = summary.caveats.iter();
        assert!(alarms.any(|alarm| alarm.text.starts_with(&told)), "{name}");
    }
}

#[test]
fn a_recording_cut_anywhere_is_analyzed_as_far_as_it_goes() {
    for (i, bytes) in whole("analyze").into_iter().enumerate() {
        // Of the header nothing is analyzed.
        let stride = (bytes.len() - 104) / 29;
        for cut in (104..bytes.len()).step_by(stride) {
            analyzed_as_read(&format!("file {i} cut at {cut}"), &bytes[..cut], None);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("probe");
    std::fs::write(&binary, sample_file("versions/go1.19.8/probe.gz")).unwrap();
    let bytes = sample_file("versions/go1.19.8/perf.data.gz");
    for cut in (2000..bytes.len()).step_by(bytes.len() / 7) {
        analyzed_as_read(
            &format!("go1.19.8 cut at {cut}"),
            &bytes[..cut],
            Some(&binary),
        );
    }
}

#[test]
fn corpus_files_are_analyzed_whole_and_with_changed_bytes() {
    let mut random = Random(0x6d65_6d70_6174_6805);
    for (name, whole) in corpus_files() {
        analyzed_as_read(&name, &whole, None);
        for round in 0..9 {
            let mut bytes = whole.clone();
            random.change(&mut bytes);
            analyzed_as_read(&format!("{name}, round {round}"), &bytes, None);
        }
    }
}
