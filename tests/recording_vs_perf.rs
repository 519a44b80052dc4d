//! Every sample of every memory recording, field by field, against what perf prints.

mod common;

use common::{corpus, perf, truth_recordings};
use mempath::data_src::DataSrc;
use mempath::recording::{Recording, read};
use std::path::Path;

const CORPUS: [&str; 5] = [
    "ubench__perf-mem_intel-e5-2650v2_perf-mem-4986",
    "ubench__perf-mem_intel-e5-2650v2_perf-mem-9973",
    "ubench__perf-mem_intel-e5-2650v2_perf-mem-39891",
    "numatop__perf.data",
    "perf_data_converter__perf.data.weight_struct",
];

const WEIGHT: u64 = 1 << 14;
const CPU: u64 = 1 << 7;

/// perf's line of one sample, as we would write it: fields one space apart.
fn line(recording: &Recording, i: usize) -> String {
    let samples = &recording.samples;
    let event = recording.event(i).unwrap();
    let (pid, tid) = samples.thread.get(i).unwrap();
    let time = samples.time.get(i).unwrap();
    let comm = recording.space.comm(tid, time);
    let comm = comm.as_deref().unwrap_or("no name");
    let cpu = match event.sample_type & CPU {
        0 => String::new(),
        _ => format!("[{:03}] ", samples.cpu.get(i).unwrap()),
    };
    let data_src = samples.data_src.get(i).unwrap();
    // What perf prints is cut after 99 characters.
    let mut words = format!("{data_src:16x} {}", DataSrc(data_src).perf_words());
    words.truncate(99);
    let words: Vec<&str> = words.split_whitespace().collect();
    let weight = match event.sample_type & WEIGHT {
        0 => {
            let word = samples.weight.get(i).unwrap();
            format!("{} {}", word as u32, word >> 32 & 0xffff)
        }
        _ => samples.weight.get(i).unwrap().to_string(),
    };
    format!(
        "{comm} {pid}/{tid} {cpu}{}.{:09}: {}: {:x} {} {weight} {:x}",
        time / 1_000_000_000,
        time % 1_000_000_000,
        event.name,
        samples.addr.get(i).unwrap(),
        words.join(" "),
        samples.ip.get(i).unwrap(),
    )
}

fn compare(path: &Path) -> usize {
    let recording = read(path).unwrap();
    let event = recording
        .events
        .iter()
        .find(|event| event.samples != 0)
        .unwrap();
    let mut fields = "comm,tid,pid,time,event,ip,addr,weight,data_src".to_owned();
    if event.sample_type & CPU != 0 {
        fields += ",cpu";
    }
    if event.sample_type & WEIGHT == 0 {
        fields += ",ins_lat";
    }
    let path = path.to_str().unwrap();
    let printed = perf(&["script", "-i", path, "--ns", "-G", "-F", &fields]);
    let printed: Vec<String> = printed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();

    // perf sorts by time; samples of one time stay in file order.
    let mut order: Vec<usize> = (0..recording.samples.len()).collect();
    order.sort_by_key(|&i| recording.samples.time.get(i));
    let ours: Vec<String> = order.iter().map(|&i| line(&recording, i)).collect();
    assert_eq!(ours.len(), printed.len(), "{path}");
    for (i, (ours, perf)) in ours.iter().zip(&printed).enumerate() {
        assert_eq!(ours, perf, "{path}: sample {i} in the order of time");
    }
    ours.len()
}

#[test]
fn every_sample_of_the_corpus_is_as_perf_prints_it() {
    let mut samples = Vec::new();
    for file in CORPUS {
        let Some(path) = corpus(file) else {
            return;
        };
        samples.push(compare(&path));
    }
    assert_eq!(samples, [253, 125, 31, 14, 14]);
}

#[test]
fn every_sample_of_the_truth_sets_is_as_perf_prints_it() {
    let dir = tempfile::tempdir().unwrap();
    for path in truth_recordings(dir.path()) {
        compare(&path);
    }
}
