//! Every file of the corpus: what is in it, and what is refused. The numbers are the corpus' own
//! (`INDEX.md`: from perf 6.1, or from a walker that agrees with it on every file both read).

mod common;

use common::corpus;
use mempath::data_src::DataSrc;
use mempath::recording::{Recording, read};

struct Row {
    file: &'static str,
    samples: usize,
    /// Samples with a nonzero address, and with a `data_src` that has an op or a level.
    addr: usize,
    mem: usize,
}

const fn row(file: &'static str, samples: usize, addr: usize, mem: usize) -> Row {
    Row {
        file,
        samples,
        addr,
        mem,
    }
}

const ROWS: [Row; 29] = [
    row(
        "ubench__perf-mem_intel-e5-2650v2_perf-mem-4986",
        253,
        253,
        253,
    ),
    row("numatop__perf.data", 14, 14, 14),
    row("perf_data_converter__perf.data.weight_struct", 14, 14, 14),
    row(
        "ubench__perf-mem_intel-e5-2650v2_perf-mem-9973",
        125,
        125,
        125,
    ),
    row(
        "ubench__perf-mem_intel-e5-2650v2_perf-mem-39891",
        31,
        31,
        31,
    ),
    row("linux-perf-data__fibo.compressed2.pipe.data", 547, 257, 0),
    row(
        "hotspot__tests_test-clients_cpp-recursion_perf.data",
        27,
        11,
        0,
    ),
    row("perfparser__cpp-inlining_cpp-inlining.perf.data", 539, 0, 0),
    row("perfparser__fork_static_gcc_perf.data.zstd.zlib", 106, 0, 0),
    row("perfparser__contentsize.data", 69, 0, 0),
    row("hotspot__file_content_perf.data.true.v2", 1, 0, 0),
    row("memgaze__bin_.data", 253, 0, 0),
    row(
        "ubench__perf-intel-pebs-attribution_intel-xeon-6126_perf-dla1_dat-x",
        10014,
        0,
        0,
    ),
    row("linux-perf-data__sleep.data", 7, 0, 0),
    row("linux-perf-data__sleep.compressed.data", 8, 0, 0),
    row("linux-perf-data__sleep.compressed.pipe.data", 8, 0, 0),
    row("linux-perf-data__sleep.compressed2.data", 7, 0, 0),
    row("libquantum-micro-benchmark__perf.data", 42729, 0, 0),
    row("perf_data_converter__perf.data.hybrid_topology", 7, 0, 0),
    row("perf_data_converter__perf.data.intel_pt-4.14", 15, 0, 0),
    row(
        "perf_data_converter__perf.data.branch_stack_hw_index",
        5,
        0,
        0,
    ),
    row("perf_data_converter__perf.data.armv7-3.4", 3893, 0, 0),
    row(
        "perf_data_converter__perf.data.piped.corrupted.zero_size_sample-3.2",
        0,
        0,
        0,
    ),
    // The index says 0, after perf 6.1, which gives up at the first record. The records of Google's
    // own types are skipped by their size here; an attr and 1873 samples follow, to the last byte.
    row("perf_data_converter__perf.data.piped.host-3.2", 1873, 0, 0),
    row(
        "perf_data_converter__perf.data.piped.extrabyte-3.4",
        5218,
        0,
        0,
    ),
    row("perf_data_converter__perf.data.lost_samples-4.4", 191, 0, 0),
    row(
        "perf_data_converter__perf.data.raw_callgraph_branch-3.4",
        513,
        0,
        0,
    ),
    row(
        "performance_modelisation__src_tool_oprofile_perf.data",
        0,
        0,
        0,
    ),
    row(
        "perf_data_converter__poc-d8b5768bcbbc2fbe0b5823623a84bb74a1c7bd832e66e",
        0,
        0,
        0,
    ),
];

fn open(file: &str) -> Option<Recording> {
    let path = corpus(file)?;
    Some(read(&path).unwrap_or_else(|error| panic!("{file}: {error}")))
}

#[test]
fn every_file_has_the_samples_that_it_has() {
    let mut wrong = Vec::new();
    for row in &ROWS {
        let Some(recording) = open(row.file) else {
            return;
        };
        let samples = &recording.samples;
        let addr = samples.addr.iter().filter(|&addr| addr != 0).count();
        let mem = (0..samples.len())
            .filter_map(|i| samples.data_src.get(i))
            .filter(|&data_src| DataSrc(data_src).says_something())
            .count();
        let got = (samples.len(), addr, mem);
        if got != (row.samples, row.addr, row.mem) {
            wrong.push(format!("{}: {got:?} {:?}", row.file, recording.damage));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn only_memory_recordings_are_accepted() {
    for row in &ROWS {
        let Some(recording) = open(row.file) else {
            return;
        };
        let refusal = recording.refusal();
        assert_eq!(refusal.is_none(), row.mem != 0, "{}: {refusal:?}", row.file);
    }
}
