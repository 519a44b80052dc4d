//! Samples that lie, through the whole of `mempath analyze`: the reader takes them as they are written, so
//! what attributes, counts and draws them must, too.

use assert_cmd::Command;
use flate2::read::GzDecoder;
use std::fs;
use std::io::Read;
use std::path::Path;

/// What addresses, times, registers and counts are least expected to be.
const EXTREMES: [u64; 8] = [
    0,
    1,
    40,
    1 << 47,
    1 << 63,
    0xc0_0000_0000,
    u64::MAX,
    u64::MAX - 4095,
];
/// One sample in so many lies.
const STRIDE: usize = 7;
/// Words of a sample that are tried: identity, place, time, address, period, `data_src`, chain.
const WORDS: usize = 14;

fn unpacked(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("samples/versions/go1.19.8").join(name);
    let mut bytes = Vec::new();
    let packed = fs::File::open(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Where the bodies of the samples begin.
fn samples(file: &[u8]) -> Vec<usize> {
    const SAMPLE: u32 = 9;
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    let (mut at, end) = (word(40) as usize, (word(40) + word(48)) as usize);
    let mut samples = Vec::new();
    while at < end {
        if word(at) as u32 == SAMPLE {
            samples.push(at + 8);
        }
        at += (word(at) >> 48) as usize;
    }
    samples
}

#[test]
fn extreme_values_in_any_word_of_a_sample_are_analyzed() {
    let folder = tempfile::tempdir().unwrap();
    let [binary, recording, page] = ["probe", "perf.data", "page"].map(|f| folder.path().join(f));
    fs::write(&binary, unpacked("probe.gz")).unwrap();
    let file = unpacked("perf.data.gz");
    let samples = samples(&file);
    for word in 0..WORDS {
        let mut file = file.clone();
        for (i, body) in samples.iter().step_by(STRIDE).enumerate() {
            let value = EXTREMES[i % EXTREMES.len()].wrapping_add((i / EXTREMES.len()) as u64);
            let at = body + 8 * word;
            file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        fs::write(&recording, &file).unwrap();
        let mut analyze = Command::cargo_bin("mempath").unwrap();
        analyze.arg("analyze").arg(&recording).arg("--force");
        analyze.arg("--binary").arg(&binary).arg("-o").arg(&page);
        let output = analyze.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "word {word}: {told}");
    }
}
