//! Both truth programs dump every structure of their maps through `unsafe`; the core file was taken
//! right after the last dump. Every line of it must be found in the core, and nothing else of those
//! maps.

mod common;

use mempath::heap::{Heap, HeapError, HeapMap, Kind, Region};
use mempath::program::Program;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

const SETS: [&str; 2] = ["go1.22.10-twins", "go1.27.3-twins"];

fn program(set: &Path, name: &str) -> Arc<Program> {
    Arc::new(Program::open(&set.join(format!("{name}.gz"))).unwrap())
}

/// One `M` line: number, name, type, address of the header, count.
struct DumpedMap {
    name: String,
    go_type: String,
    header: u64,
    count: u64,
    descriptor: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DumpedRegion {
    kind: String,
    start: u64,
    len: u64,
    index: u64,
    extra: u64,
    old: bool,
}

/// The dump at the end of the last window.
fn last_dump(set: &Path) -> (Vec<DumpedMap>, BTreeMap<usize, Vec<DumpedRegion>>) {
    let bytes = zstd::decode_all(std::fs::File::open(set.join("dump.txt.zst")).unwrap()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let from = text.rfind("DUMP ").unwrap();
    assert!(text[from..].lines().next().unwrap().ends_with("end"));
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let mut maps = Vec::new();
    let mut regions: BTreeMap<usize, Vec<DumpedRegion>> = BTreeMap::new();
    for line in text[from..].lines() {
        if let Some(line) = line.strip_prefix("M ") {
            let fields: Vec<&str> = line.split('|').collect();
            maps.push(DumpedMap {
                name: fields[1].to_owned(),
                go_type: fields[3].to_owned(),
                header: hex(fields[4]),
                count: fields[6].parse().unwrap(),
                descriptor: hex(fields[7]),
            });
        } else if let Some(line) = line.strip_prefix("R ") {
            let fields: Vec<&str> = line.split(' ').collect();
            let number = |i: usize| fields[i].parse().unwrap();
            let region = DumpedRegion {
                kind: fields[1].to_owned(),
                start: hex(fields[2]),
                len: number(3),
                index: number(4),
                extra: number(5),
                old: fields[6] == "old",
            };
            let map: usize = fields[0].parse().unwrap();
            regions.entry(map).or_default().push(region);
        }
    }
    (maps, regions)
}

/// The word of the dump for a region of ours; `None` for what it does not print.
fn dumped_kind(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Header => "header",
        Kind::Extra => "extra",
        Kind::Buckets => "barr",
        Kind::Overflow => "ovf",
        Kind::PreallocatedOverflow => return None,
        Kind::Directory => "dir",
        Kind::Table => "table",
        Kind::Groups => "groups",
        Kind::SmallGroup => "sgroup",
        Kind::IndirectKey => "ikey",
        Kind::IndirectElem => "ielem",
        Kind::SyncMap => "syncmap",
        Kind::ReadOnly => "readonly",
        Kind::HashTrieMap => "htm",
        Kind::TrieIndirect => "indirect",
        Kind::TrieEntry => "entry",
    })
}

/// A line of the dump: kind, address, bytes, reached by oldbuckets.
type Line = (String, u64, u64, bool);

fn found_lines<'a>(heap: &'a Heap, maps: &'a [usize]) -> impl Iterator<Item = (Line, &'a Region)> {
    heap.regions
        .iter()
        .filter(|region| maps.contains(&(region.map as usize)))
        .filter_map(|region| {
            let kind = dumped_kind(region.kind)?.to_owned();
            Some(((kind, region.start, region.len, region.old), region))
        })
}

fn check_regions(heap: &Heap, maps: &[usize], dumped: &[DumpedRegion], name: &str) {
    let wanted: BTreeMap<Line, &DumpedRegion> = dumped
        .iter()
        .map(|region| {
            let kind = match &*region.kind {
                "hmap" | "Map" => "header",
                other => other,
            };
            let line = (kind.to_owned(), region.start, region.len, region.old);
            (line, region)
        })
        .collect();
    let found: BTreeMap<Line, &Region> = found_lines(heap, maps).collect();
    let missing: Vec<_> = wanted
        .keys()
        .filter(|line| !found.contains_key(line))
        .collect();
    let extra: Vec<_> = found
        .keys()
        .filter(|line| !wanted.contains_key(line))
        .collect();
    assert_eq!((missing, extra), (vec![], vec![]), "{name}");
    for (line, dumped) in &wanted {
        let region = found[line];
        match region.kind {
            Kind::Overflow => {
                assert_eq!(
                    (region.index, region.depth.into()),
                    (dumped.index, dumped.extra)
                );
            }
            Kind::Table | Kind::IndirectElem => assert_eq!(region.index, dumped.index),
            Kind::Groups => {
                assert_eq!(
                    (region.index, region.len / region.stride),
                    (dumped.index, dumped.extra)
                );
            }
            Kind::Buckets | Kind::Directory => {
                assert_eq!(region.len / region.stride, dumped.index, "{name}");
            }
            _ => {}
        }
    }
}

fn check(heap: &Heap, maps: &[DumpedMap], regions: &BTreeMap<usize, Vec<DumpedRegion>>) {
    for (number, dumped) in maps.iter().enumerate() {
        let headers: BTreeSet<u64> = regions[&number]
            .iter()
            .filter(|region| ["hmap", "Map"].contains(&&*region.kind))
            .map(|region| region.start)
            .chain([dumped.header])
            .collect();
        let ours: Vec<usize> = (0..heap.maps.len())
            .filter(|&i| headers.contains(&heap.maps[i].header))
            .collect();
        assert_eq!(ours.len(), headers.len(), "{}", dumped.name);
        check_regions(heap, &ours, &regions[&number], &dumped.name);
        let map = by_header(heap, dumped.header);
        match &map.map_type {
            Some(map_type) => {
                assert_eq!(
                    (&map_type.name, map_type.addr),
                    (&dumped.go_type, dumped.descriptor)
                );
                assert_eq!((map.count, map.control.full), (dumped.count, dumped.count));
            }
            None => assert_eq!(dumped.go_type, "sync.Map"),
        }
    }
}

fn by_header(heap: &Heap, header: u64) -> &HeapMap {
    (heap.maps.iter())
        .find(|map| map.header == header)
        .unwrap_or_else(|| panic!("{header:#x} is no map"))
}

/// Everything that a program printed of itself, with and without symbols, and with `-s -w`, whose
/// build id is another one.
#[test]
fn the_core_has_what_the_program_printed() {
    let Some(shared) = common::shared() else {
        return;
    };
    for set in SETS {
        let set = shared.join("truth").join(set);
        let dir = tempfile::tempdir().unwrap();
        let core = common::core::inflated(&set, dir.path());
        let (maps, regions) = last_dump(&set);
        assert_eq!(maps.len(), 9);
        for binary in ["mapload", "mapload.strip", "mapload.s-w"] {
            let force = binary == "mapload.s-w";
            let heap = Heap::read(&core, &[program(&set, binary)], force).unwrap();
            check(&heap, &maps, &regions);
            assert_eq!(heap.missing, 0);
            if binary == "mapload" {
                for dumped in &maps {
                    let map = by_header(&heap, dumped.header);
                    assert_eq!(map.name.as_deref(), Some(&*dumped.name));
                }
            }
        }
        let other = Heap::read(&core, &[program(&set, "mapload.s-w")], false);
        assert!(matches!(other, Err(HeapError::BuildId { .. })), "{other:?}");
        wrong_binary(&core, &shared, &set);
        cut(&core, &program(&set, "mapload"));
    }
}

/// The binary of the other set, with and without `--force`.
fn wrong_binary(core: &Path, shared: &Path, set: &Path) {
    let other = SETS.iter().find(|other| !set.ends_with(other)).unwrap();
    let program = program(&shared.join("truth").join(other), "mapload");
    let refused = Heap::read(core, &[Arc::clone(&program)], false);
    assert!(
        matches!(refused, Err(HeapError::BuildId { .. })),
        "{refused:?}"
    );
    let refused = Heap::read(core, &[program], true);
    assert!(
        matches!(refused, Err(HeapError::Foreign { .. })),
        "{refused:?}"
    );
}

/// A core that ends anywhere gives a named error or the maps that are whole in it.
fn cut(core: &Path, program: &Arc<Program>) {
    let whole = Heap::read(core, &[Arc::clone(program)], false).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut");
    std::fs::copy(core, &path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let len = file.metadata().unwrap().len();
    let small = [
        0,
        1,
        16,
        63,
        64,
        100,
        1000,
        1464,
        1465,
        4096,
        0x0009_b000,
        0x000a_5000,
    ];
    let mut lengths: Vec<u64> = (1..40).map(|i| len / 40 * i).chain(small).collect();
    lengths.extend((1..40).map(|i| i << 20));
    lengths.sort_unstable();
    let mut read = 0;
    for &len in lengths.iter().rev() {
        file.set_len(len).unwrap();
        match Heap::read(&path, &[Arc::clone(program)], false) {
            Ok(heap) => {
                read += 1;
                assert!(heap.missing > 0);
                assert!(heap.maps.len() <= whole.maps.len());
            }
            Err(
                HeapError::Io { .. }
                | HeapError::NotElf { .. }
                | HeapError::Malformed { .. }
                | HeapError::Foreign { .. }
                | HeapError::NoSpans { .. },
            ) => {}
            Err(other) => panic!("{len}: {other}"),
        }
    }
    eprintln!("{read} of {} cut cores were read", lengths.len());
}
