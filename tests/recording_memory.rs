//! The memory that reading takes, on files made of one kind of record and nothing else: at most 4 times
//! the file and 64 MB.

mod common;

use common::builder::*;
use mempath::recording::{Recording, read_bytes};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is allocated, and the most of it.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// One test at a time: what another one builds would be counted.
static MEASURING: Mutex<()> = Mutex::new(());

fn more(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(held, Ordering::Relaxed);
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    // Large blocks are remapped, not copied.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        more(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of records in each file: lists that double, and tables, are then half empty.
const SIZE: usize = 5 << 20;

/// Builds a record: the number of its kind, misc, body.
type Kind = (&'static str, fn(u32) -> (u32, u16, Vec<u8>));

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// pid, tid, start, length, offset.
fn mmap(pid: u32, n: u32, name: &str) -> Vec<u8> {
    let mut body = words(&[pid, pid, n << 12, n >> 20, 1 << 12, 0, 0, 0]);
    body.extend(name.as_bytes());
    body.resize(body.len().next_multiple_of(8), 0);
    body
}

/// As [`mmap`], with a build id that begins with this byte's length and `n`.
fn mmap2(n: u32, name: &str) -> Vec<u8> {
    let mut body = mmap(1, n, "");
    body.extend(words(&[20, n, n, n, n, n, 7, 2]));
    body.extend(name.as_bytes());
    body.resize(body.len().next_multiple_of(8), 0);
    body
}

fn text(n: u32) -> Vec<u8> {
    let mut text = format!("{n:x}").into_bytes();
    text.resize((text.len() + 1).next_multiple_of(8), 0);
    text
}

fn sample(n: u32, chain: &[u32]) -> Vec<u8> {
    // IP, TID, TIME, ADDR, CALLCHAIN
    let mut body = words(&[n, 0, n, n, n, 0, n, 0, chain.len() as u32, 0]);
    for &ip in chain {
        body.extend(words(&[ip, n]));
    }
    body
}

const KINDS: [Kind; 29] = [
    ("FORK of distinct pids", |n| {
        (7, 0, words(&[n, 1, n, 1, n, 0]))
    }),
    ("FORK of one pid", |n| (7, 0, words(&[5, 1, 5, 1, n, 0]))),
    ("FORK of threads", |n| {
        (7, 0, words(&[5, 5, n, n / 2, n, 0]))
    }),
    ("COMM without a name", |n| (3, 0, words(&[n, n]))),
    ("COMM of an exec", |n| (3, 1 << 13, words(&[n, n, 0x61, 0]))),
    ("COMM of distinct names", |n| {
        (3, 0, [words(&[n, n]), text(n)].concat())
    }),
    ("COMM that is no UTF-8", |_| (3, 0, vec![0xff; 60_000])),
    ("MMAP", |n| (1, 2, mmap(1, n, ""))),
    ("MMAP of distinct names", |n| {
        (1, 2, mmap(1, n, &format!("{n:x}")))
    }),
    ("MMAP of distinct pids", |n| (1, 2, mmap(n, n, ""))),
    ("MMAP2 of distinct names", |n| {
        (10, 2, mmap2(n, &format!("{n:x}")))
    }),
    ("MMAP2 of one name", |n| {
        (10, 2, mmap2(0, &format!("/bin/{}", n & 1)))
    }),
    ("MMAP2 of distinct build ids", |n| {
        (10, 2 | 1 << 14, mmap2(n, "/bin/a"))
    }),
    ("MMAP2 that is no UTF-8", |n| {
        (10, 2, [mmap2(n, ""), vec![0xff; 60_000]].concat())
    }),
    ("LOST", |n| (2, 0, words(&[1, 0, n, 0]))),
    ("LOST_SAMPLES", |n| (13, 0, words(&[n, 0]))),
    ("THROTTLE", |n| (5, 0, words(&[n, 0, 1, 0, 1, 0]))),
    ("AUX that is truncated", |n| {
        (11, 0, words(&[n, 0, 1, 0, 1, 0]))
    }),
    ("ITRACE_START", |n| (12, 0, words(&[n, n]))),
    ("SWITCH_CPU_WIDE", |n| (15, 0, words(&[n, n]))),
    ("NAMESPACES", |n| (16, 0, words(&[n, n, 0, 0]))),
    ("CGROUP", |n| (19, 0, words(&[n, 0, 0x41, 0]))),
    ("HEADER_BUILD_ID", |n| {
        (67, 0, [words(&[n; 7]), text(n)].concat())
    }),
    ("AUXTRACE", |n| {
        (71, 0, words(&[0, 0, n, 0, 0, 0, 0, 0, 0, 0]))
    }),
    ("AUXTRACE_INFO", |n| (70, 0, words(&[1, 0, n, 0]))),
    ("HEADER_FEATURE", |n| (80, 0, words(&[n % 256, 0, n, 0]))),
    ("SAMPLE", |n| (9, 2, sample(n, &[]))),
    ("SAMPLE of distinct chains", |n| {
        (9, 2, sample(n, &[1, 2, 3, 4]))
    }),
    ("SAMPLE that is too short", |n| (9, 2, words(&[n, n]))),
];

fn recording() -> RecordingBuilder {
    let mut recording = RecordingBuilder::new();
    recording.event(EventSpec {
        sample_type: IP | TID | TIME | ADDR | CALLCHAIN,
        sample_id_all: false,
        ..EventSpec::loads()
    });
    recording
}

/// Records of this kind, of so many bytes.
fn filled((_, record): Kind, size: usize) -> RecordingBuilder {
    let mut recording = recording();
    let mut n = 0;
    while recording.records.bytes.len() < size {
        let (kind, misc, body) = record(n);
        recording.record(kind, misc, &body);
        n += 1;
    }
    recording
}

/// Reads a file; the most bytes that were held at a time.
fn measured(name: &str, bytes: &[u8]) -> (Recording, usize) {
    let before = HELD.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let recording = read_bytes(Path::new(name), bytes).unwrap();
    (
        recording,
        MOST.load(Ordering::Relaxed).saturating_sub(before),
    )
}

#[test]
fn a_file_of_one_kind_of_record_is_held_in_four_times_its_size() {
    let _measuring = MEASURING.lock().unwrap_or_else(|held| held.into_inner());
    for kind in KINDS {
        let bytes = filled(kind, SIZE).file();
        let (_, most) = measured(kind.0, &bytes);
        eprintln!(
            "{}: {:.2} times the file",
            kind.0,
            most as f64 / bytes.len() as f64
        );
        // Of the 64 MB one is enough for what any file takes.
        assert!(most <= 4 * bytes.len() + (1 << 20), "{}: {most}", kind.0);
    }
}

/// So many bytes of records of a kind, in compressed records.
fn packed(kind: Kind, size: usize) -> RecordingBuilder {
    const COMPRESSED: u32 = 81;
    let plain = filled(kind, size);
    let packed = zstd::encode_all(plain.records.bytes.as_slice(), 3).unwrap();
    let mut recording = recording();
    for piece in packed.chunks(60_000) {
        recording.record(COMPRESSED, 0, piece);
    }
    recording
}

#[test]
fn compressed_records_that_take_too_much_are_told_by_their_offset() {
    let _measuring = MEASURING.lock().unwrap_or_else(|held| held.into_inner());
    for name in ["FORK of distinct pids", "SAMPLE of distinct chains"] {
        let kind = KINDS.into_iter().find(|kind| kind.0 == name).unwrap();
        let bytes = packed(kind, 40 << 20).file();
        let (recording, most) = measured(name, &bytes);
        let bound = 4 * bytes.len() + (64 << 20);
        eprintln!(
            "{name}: {} bytes inflate, {most} of {bound} held",
            bytes.len()
        );
        assert!(most <= bound, "{name}: {most} of {bound}");
        let [damage] = recording.damage.as_slice() else {
            panic!("{name}: one damage: {:?}", recording.damage);
        };
        assert_eq!(
            damage.rule,
            "the compressed records take more memory than 4 times the recording and 64 MB; nothing after this one is read"
        );
        // What stands there is a compressed record.
        let at = damage.offset as usize;
        assert_eq!(bytes[at..at + 4], 81u32.to_le_bytes(), "{name}");
    }
}

#[test]
fn compressed_records_as_perf_writes_them_are_all_read() {
    let _measuring = MEASURING.lock().unwrap_or_else(|held| held.into_inner());
    let kind = KINDS.into_iter().find(|kind| kind.0 == "SAMPLE").unwrap();
    let bytes = packed(kind, 8 << 20).file();
    let (recording, most) = measured("whole", &bytes);
    assert_eq!(recording.damage, []);
    assert_eq!(recording.samples.len(), (8usize << 20).div_ceil(48));
    assert!(most <= 4 * bytes.len() + (64 << 20));

    // Of a recording that shrank a lot, as its header tells, all is read.
    let kind = KINDS
        .into_iter()
        .find(|kind| kind.0 == "FORK of distinct pids");
    let mut recording = packed(kind.unwrap(), 40 << 20);
    let bytes = recording.file().len();
    let ratio = (40 << 20) / bytes as u32;
    let section = [0u32, 1, 1, ratio, 0].map(u32::to_le_bytes).concat();
    recording.features.push((27, section));
    let (recording, most) = measured("shrunk", &recording.file());
    assert_eq!(recording.damage, []);
    assert!(most <= 4 * bytes * ratio as usize + (64 << 20));
}
