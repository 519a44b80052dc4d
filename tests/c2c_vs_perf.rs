//! The lines that CPUs share: every figure as `perf c2c report` gives it.

mod common;

use common::builder::*;
use common::perf;
use mempath::analyses::lines::{Line, Lines, Unit, lines};
use mempath::attribute::attribute;
use mempath::program::kernel::Kernel;
use mempath::recording::{Recording, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn shared_lines(path: &Path) -> (Recording, mempath::attribute::Attribution, Lines) {
    lines_of(path, Unit::Line)
}

fn lines_of(path: &Path, unit: Unit) -> (Recording, mempath::attribute::Attribution, Lines) {
    let recording = read(path).unwrap();
    let programs = vec![None; recording.space.images.len()];
    let attribution = attribute(&recording, &programs, &Kernel::default(), None);
    let found = lines(&recording, &attribution, unit, usize::MAX);
    (recording, attribution, found)
}

/// The number behind the last colon of each line, in order.
fn figures(stats: &str) -> Vec<(String, u64)> {
    let figure = |line: &str| {
        let (name, number) = line.rsplit_once(':')?;
        Some((name.trim().to_owned(), number.trim().parse().ok()?))
    };
    stats.lines().filter_map(figure).collect()
}

fn totals_are_perfs(path: &Path, found: &Lines) {
    let path_text = path.to_str().unwrap();
    let printed = perf(&["c2c", "report", "--stats", "--no-source", "-i", path_text]);
    let (all, shared) = (&found.totals, &found.shared);
    let expected = [
        ("Total records", all.records),
        ("Locked Load/Store Operations", all.locks),
        ("Load Operations", all.loads),
        ("Loads - uncacheable", all.loads_uncached),
        ("Loads - IO", all.loads_io),
        ("Loads - Miss", all.loads_missed),
        ("Loads - no mapping", all.loads_without_address),
        ("Load Fill Buffer Hit", all.lfb_hit),
        ("Load L1D hit", all.l1_hit),
        ("Load L2D hit", all.l2_hit),
        ("Load LLC hit", all.llc_hit + all.local_hitm),
        ("Load Local HITM", all.local_hitm),
        ("Load Remote HITM", all.remote_hitm),
        ("Load Remote HIT", all.remote_hit),
        ("Load Local DRAM", all.local_dram),
        ("Load Remote DRAM", all.remote_dram),
        ("Load MESI State Exclusive", all.exclusive),
        ("Load MESI State Shared", all.shared),
        ("Load LLC Misses", all.llc_misses()),
        ("Load access blocked by data", all.blocked_data),
        ("Load access blocked by address", all.blocked_address),
        ("Load HIT Local Peer", all.local_peer),
        ("Load HIT Remote Peer", all.remote_peer),
        ("Store Operations", all.stores),
        ("Store - uncacheable", all.stores_uncached),
        ("Store - no mapping", all.stores_without_address),
        ("Store L1D Hit", all.store_l1_hit),
        ("Store L1D Miss", all.store_l1_miss),
        ("Store No available memory level", all.store_na),
        ("No Page Map Rejects", all.no_mapping),
        ("Unable to parse data source", all.unparsed),
        ("Total Shared Cache Lines", found.shared_lines),
        ("Load HITs on shared lines", shared.loads),
        ("Fill Buffer Hits on shared lines", shared.lfb_hit),
        ("L1D hits on shared lines", shared.l1_hit),
        ("L2D hits on shared lines", shared.l2_hit),
        (
            "LLC hits on shared lines",
            shared.llc_hit + shared.local_hitm,
        ),
        ("Load hits on peer cache or nodes", shared.peer()),
        ("Locked Access on shared lines", shared.locks),
        (
            "Blocked Access on shared lines",
            shared.blocked_data + shared.blocked_address,
        ),
        ("Store HITs on shared lines", shared.stores),
        ("Store L1D hits on shared lines", shared.store_l1_hit),
        ("Store No available memory level", shared.store_na),
        ("Total Merged records", shared.hitm() + shared.stores),
    ];
    let expected: Vec<(String, u64)> = expected.map(|(name, n)| (name.to_owned(), n)).into();
    assert_eq!(figures(&printed), expected, "{}", path.display());
}

/// What perf's table of lines prints after the share of the HITMs.
fn table_row(line: &Line) -> Vec<u64> {
    let s = &line.stats;
    vec![
        s.hitm(),
        s.local_hitm,
        s.remote_hitm,
        s.placed(),
        s.placed_loads(),
        s.stores,
        s.store_l1_hit,
        s.store_l1_miss,
        s.store_na,
        s.lfb_hit,
        s.l1_hit,
        s.l2_hit,
        s.llc_hit,
        s.local_hitm,
        s.remote_hit,
        s.remote_hitm,
        s.local_dram,
        s.remote_dram,
    ]
}

/// Samples, CPUs, the mean cycles of HITMs in remote and local caches and of other loads, and nodes.
type Row = (u64, u64, [u64; 3], BTreeSet<u32>);

/// Before the means are taken; and whether there are stores or HITMs.
type Sum = (u64, BTreeSet<u16>, [(u64, u64); 3], BTreeSet<u32>, bool);

/// By offset and instruction: those that perf prints, with stores or HITMs.
fn rows_of(line: &Line, ips: impl Fn(u32) -> u64) -> BTreeMap<(u64, u64), Row> {
    let mut rows: BTreeMap<(u64, u64), Sum> = BTreeMap::new();
    for entry in &line.entries {
        let row = rows.entry((entry.offset, ips(entry.place))).or_default();
        row.0 += entry.stats.placed();
        row.1.extend(entry.readers.union(&entry.writers));
        row.3.extend(entry.nodes().expect("every CPU has a node"));
        row.4 |= entry.stats.stores > 0 || entry.stats.hitm() > 0;
        let means = [entry.remote_hitm, entry.local_hitm, entry.load];
        for (sum, mean) in row.2.iter_mut().zip(means) {
            *sum = (sum.0 + mean.sum, sum.1 + mean.samples);
        }
    }
    let finish = |(n, cpus, means, nodes, _): Sum| {
        // As printf rounds: half to even.
        let mean = |(sum, of): (u64, u64)| match of {
            0 => 0,
            of => (sum as f64 / of as f64).round_ties_even() as u64,
        };
        (n, cpus.len() as u64, means.map(mean), nodes)
    };
    let printed = rows.into_iter().filter(|(_, row)| row.4);
    printed.map(|(key, row)| (key, finish(row))).collect()
}

fn lines_are_perfs(path: &Path) -> (usize, usize) {
    let (_, attribution, found) = shared_lines(path);
    totals_are_perfs(path, &found);
    let path = path.to_str().unwrap();
    let printed = perf(&["c2c", "report", "--stdio", "--no-source", "-i", path]);
    let by_address: BTreeMap<u64, &Line> = found.lines.iter().map(|l| (l.address, l)).collect();
    let hex = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let (_, tables) = printed.split_once("Shared Data Cache Line Table").unwrap();
    let (table, pareto) = tables
        .split_once("Shared Cache Line Distribution Pareto")
        .unwrap();
    let mut compared = 0;
    for words in table
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>())
    {
        let Some(address) = words.get(1).and_then(|word| hex(word)) else {
            continue;
        };
        let figures: Vec<u64> = words[5..]
            .iter()
            .map(|word| word.parse().unwrap())
            .collect();
        assert_eq!(
            table_row(by_address[&address]),
            figures,
            "{path}: {address:#x}"
        );
        compared += 1;
    }
    // A head for each line, then its rows.
    let (mut line, mut rows) = (None, 0);
    let mut left: BTreeMap<(u64, u64), Row> = BTreeMap::new();
    for words in pareto
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>())
    {
        let addresses: Vec<u64> = words.iter().filter_map(|word| hex(word)).collect();
        match (words.len(), addresses.as_slice()) {
            (7, &[address]) => {
                assert!(left.is_empty(), "{path}: {line:x?} has {left:x?} too");
                line = Some(address);
                left = rows_of(by_address[&address], |place| {
                    attribution.places[place as usize].ip
                });
            }
            (13.., &[offset, ip, ..]) => {
                let number = |at: usize| words[at].parse::<u64>().unwrap();
                // The last column, after the object.
                let nodes = words.iter().rev().map_while(|word| word.parse().ok());
                let cycles = [number(9), number(10), number(11)];
                let printed = (number(12), number(13), cycles, nodes.collect());
                assert_eq!(
                    left.remove(&(offset, ip)),
                    Some(printed),
                    "{path}: {line:x?} {words:?}"
                );
                rows += 1;
            }
            _ => {}
        }
    }
    (compared, rows)
}

/// The recording with another `HEADER_NUMA_TOPOLOGY`: these lists of CPUs are nodes 0, 1, ...
fn with_nodes(path: &Path, to: &Path, nodes: &[&str]) {
    const NUMA_TOPOLOGY: u32 = 14;
    let mut file = std::fs::read(path).unwrap();
    let word = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap());
    // The table of features begins where the records end; `HEADER_FEATURE` bits are at 72.
    let (table, bits) = (word(40) + word(48), word(72));
    assert!(bits >> NUMA_TOPOLOGY & 1 == 1);
    let before = (bits & ((1 << NUMA_TOPOLOGY) - 1)).count_ones();
    let mut section = Writer::new(false);
    section.u32(nodes.len() as u32);
    for (number, cpus) in nodes.iter().enumerate() {
        section
            .u32(number as u32)
            .words(&[1 << 20, 1 << 19])
            .string(cpus);
    }
    let entry = table as usize + 16 * before as usize;
    let (at, len) = (file.len() as u64, section.bytes.len() as u64);
    file[entry..entry + 8].copy_from_slice(&at.to_le_bytes());
    file[entry + 8..entry + 16].copy_from_slice(&len.to_le_bytes());
    file.extend(section.bytes);
    std::fs::write(to, file).unwrap();
}

/// As on a machine of two sockets: perf's last column and ours name the same nodes.
fn nodes_are_perfs(path: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let two = dir.path().join("two-nodes.data");
    with_nodes(path, &two, &["0-1", "2-3"]);
    lines_are_perfs(&two);
    let (_, _, found) = shared_lines(&two);
    let nodes = |line: &Line| line.reader_nodes.clone().unwrap();
    let both = found.lines.iter().filter(|l| nodes(l) == [0, 1].into());
    assert!(both.count() >= 50);
    // A CPU that no node has: its line's nodes are not known, the others are.
    let cut = dir.path().join("cut.data");
    with_nodes(path, &cut, &["0-1", "2"]);
    let (_, _, found) = shared_lines(&cut);
    for line in &found.lines {
        let told = !line.readers.contains(&3);
        assert_eq!(line.reader_nodes.is_some(), told, "{:#x}", line.address);
    }
}

#[test]
fn nodes_are_those_of_perf() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");
    nodes_are_perfs(&Path::new(samples).join("modelled-go1.22-twins/perf.data"));
    let dir = tempfile::tempdir().unwrap();
    if let Some(path) = common::truth_recordings(dir.path()).first() {
        nodes_are_perfs(path);
    }
}

#[test]
fn without_a_numa_header_nodes_are_unknown() {
    let mut recording = RecordingBuilder::new();
    let (loads, stores) = (
        recording.event(EventSpec::loads()),
        recording.event(EventSpec::stores()),
    );
    recording.mmap(1, 0xc00_0000, 1 << 20, "//anon", 0);
    for cpu in [0, 1] {
        let used = Sample {
            addr: 0xc00_0040,
            cpu,
            time: 10 + u64::from(cpu),
            ..Sample::store()
        };
        recording.sample(stores, used.clone());
        recording.sample(
            loads,
            Sample {
                data_src: LOAD_FROM_L1,
                ..used
            },
        );
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    std::fs::write(&path, recording.file()).unwrap();
    let (_, _, found) = shared_lines(&path);
    let [line] = found.lines.as_slice() else {
        panic!("one line: {:?}", found.lines);
    };
    assert_eq!(line.readers, [0, 1].into());
    assert_eq!((&line.reader_nodes, &line.writer_nodes), (&None, &None));
    // The same with a header of two nodes, numbered as no index would be.
    let mut section = Writer::new(false);
    section.u32(2);
    for (number, cpus) in [(2, "0"), (7, "1")] {
        section.u32(number).words(&[1 << 20, 1 << 19]).string(cpus);
    }
    recording.features.push((14, section.bytes));
    std::fs::write(&path, recording.file()).unwrap();
    let (_, _, found) = shared_lines(&path);
    assert_eq!(found.lines[0].reader_nodes, Some([2, 7].into()));
    assert_eq!(found.lines[0].writer_nodes, Some([2, 7].into()));
}

#[test]
fn lines_of_the_carried_samples_are_those_of_perf() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");
    for sample in ["modelled-go1.22-twins", "modelled-go1.27-twins"] {
        let path = Path::new(samples).join(sample).join("perf.data");
        let (lines, rows) = lines_are_perfs(&path);
        eprintln!("{sample}: {lines} lines, {rows} rows");
        assert!(
            lines >= 50 && rows >= 250,
            "{sample}: {lines} lines, {rows} rows"
        );
    }
}

/// perf learned `--double-cl` after 6.1: a double line holds the samples that `perf script` has of its 128
/// bytes.
#[test]
fn double_lines_hold_the_samples_of_both_lines() {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");
    for sample in ["modelled-go1.22-twins", "modelled-go1.27-twins"] {
        let path = Path::new(samples).join(sample).join("perf.data");
        let printed = perf(&["script", "-F", "addr", "-i", path.to_str().unwrap()]);
        let mut expected = BTreeMap::<u64, u64>::new();
        for addr in printed.split_whitespace() {
            let addr = u64::from_str_radix(addr, 16).unwrap();
            *expected.entry(addr & !127).or_default() += 1;
        }
        let (_, _, found) = lines_of(&path, Unit::DoubleLine);
        assert!(found.lines.len() >= 50, "{sample}: {}", found.lines.len());
        for line in &found.lines {
            let records = expected.get(&line.address);
            assert_eq!(records, Some(&line.stats.records), "{:#x}", line.address);
        }
    }
}

#[test]
fn lines_of_the_truth_sets_are_those_of_perf() {
    let dir = tempfile::tempdir().unwrap();
    for path in common::truth_recordings(dir.path()) {
        let (lines, rows) = lines_are_perfs(&path);
        eprintln!("{}: {lines} lines, {rows} rows", path.display());
        assert!(
            lines >= 50 && rows >= 250,
            "{}: {lines} {rows}",
            path.display()
        );
    }
}

#[test]
fn addresses_of_a_virtual_machine_are_not_those_of_the_process_that_runs_it() {
    const GUEST_USER: u16 = 5;
    let mut recording = RecordingBuilder::new();
    let loads = recording.event(EventSpec::loads());
    recording.mmap(1, 0xc00_0000, 1 << 20, "//anon", 0);
    for cpumode in [2, GUEST_USER] {
        let load = Sample {
            cpumode,
            ip: 0xc00_1000,
            addr: 0xc00_0040,
            time: 10,
            ..Sample::load(40)
        };
        recording.sample(loads, load);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("perf.data");
    std::fs::write(&path, recording.file()).unwrap();
    let (_, _, found) = shared_lines(&path);
    assert_eq!((found.totals.loads, found.totals.no_mapping), (2, 1));
}
