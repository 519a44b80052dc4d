//! What reading costs beside the least that it could: `scripts/bench` runs each stage by itself.
//!
//! `stages STAGE FILE [BINARY]` prints the records or samples that the stage saw.

use linux_perf_data::{PerfFileReader, PerfFileRecord};
use mempath::attribute::attribute;
use mempath::program::Program;
use mempath::program::kernel::Kernel;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

/// Every record header of the mapped file, and nothing of the records.
fn walk(path: &Path) -> usize {
    // SAFETY: nobody shortens a recording that is being measured.
    let data = unsafe { memmap2::Mmap::map(&File::open(path).unwrap()) }.unwrap();
    let word = |at: usize| u64::from_le_bytes(data[at..at + 8].try_into().unwrap());
    let (mut at, mut records) = (word(40) as usize, 0);
    let end = at + word(48) as usize;
    while at + 8 <= end {
        // type, misc, size
        at += usize::from(u16::from_le_bytes([data[at + 6], data[at + 7]])).max(8);
        records += 1;
    }
    records
}

/// Every record by linux-perf-data, samples parsed.
fn iterate(path: &Path) -> usize {
    let file = BufReader::new(File::open(path).unwrap());
    let reader = PerfFileReader::parse_file(file).unwrap();
    let (mut perf_file, mut records) = (reader.perf_file, reader.record_iter);
    let mut samples = 0;
    while let Some(record) = records.next_record(&mut perf_file).unwrap() {
        if let PerfFileRecord::EventRecord { record, .. } = record
            && let Ok(linux_perf_data::linux_perf_event_reader::EventRecord::Sample(sample)) =
                record.parse()
        {
            samples += usize::from(sample.addr.is_some());
        }
    }
    samples
}

/// All samples in columns.
fn read(path: &Path) -> usize {
    mempath::recording::read(path).unwrap().samples.len()
}

/// The same, and what each sample hit of the program that `binary` is.
fn read_and_attribute(path: &Path, binary: &Path) -> usize {
    let recording = mempath::recording::read(path).unwrap();
    let program = Arc::new(Program::open(binary).unwrap());
    let of = |image: &str| Path::new(image).file_name() == binary.file_name();
    let images = recording.space.images.iter();
    let programs: Vec<_> = images
        .map(|image| of(&image.path).then(|| Arc::clone(&program)))
        .collect();
    attribute(&recording, &programs, &Kernel::default(), None)
        .part
        .len()
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, stage, path, rest @ ..] = args.as_slice() else {
        return;
    };
    let path = Path::new(path);
    let seen = match (stage.as_str(), rest) {
        ("walk", _) => walk(path),
        ("iterate", _) => iterate(path),
        ("read", _) => read(path),
        ("attribute", [binary, ..]) => read_and_attribute(path, Path::new(binary)),
        (other, _) => panic!("no stage is called {other}"),
    };
    println!("{seen}");
}
