//! Tables of a recording of eight samples, made by hand.

use mempath::attribute::{
    Array, Attribution, Evidence, Hit, Map, NONE, Operation, Phase, Place, Reason,
};
use mempath::gomap::{MapType, Part, Shape};
use mempath::pmu::Kind;
use mempath::program::Frame;
use mempath::recording::{Event, Gap, GapKind, Interned, Memory, Meta, Recording, Samples};
use mempath::tables::columns::{self as c, COLUMNS, Column};
use mempath::tables::read::{numbers, texts};
use mempath::tables::{Accesses, Severity, Tables, TablesError, write_accesses};
use polars::prelude::{DataFrame, ParquetReader, SerReader};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

/// IP, TID, TIME, ADDR, CPU, WEIGHT, DATA_SRC.
const MEMORY: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 7 | 1 << 14 | 1 << 15;
/// IP, TID, TIME.
const CYCLES: u64 = 1 | 1 << 1 | 1 << 2;

/// `perf_mem_data_src` (`include/uapi/linux/perf_event.h`): op, lvl, snoop, lock, dtlb, lvl_num.
const fn data_src(op: u64, lvl: u64, snoop: u64, lvl_num: u64) -> u64 {
    op | lvl << 5 | snoop << 19 | 1 << 24 | 1 << 26 | lvl_num << 33
}
const LOAD: u64 = 2;
const STORE: u64 = 4;
const LOAD_L1: u64 = data_src(LOAD, 0x0a, 0x02, 1);
const LOAD_LFB: u64 = data_src(LOAD, 0x12, 0x02, 12);
const LOAD_RAM: u64 = data_src(LOAD, 0x82, 0x08, 13);
const LOAD_L3_HITM: u64 = data_src(LOAD, 0x42, 0x10, 3);
const LOAD_UNKNOWN: u64 = data_src(LOAD, 0x01, 0x01, 15);
const STORE_L1: u64 = data_src(STORE, 0x0a, 0x01, 1);
const SOURCES: [u64; 6] = [
    LOAD_L1,
    LOAD_LFB,
    LOAD_RAM,
    LOAD_L3_HITM,
    LOAD_UNKNOWN,
    STORE_L1,
];

const HEADER: u64 = 0x00c0_0001_0000;
const BUCKETS: u64 = 0x00c0_0010_0000;
/// 8 tophash + 8 keys of 16 + 8 elems of 8 + overflow.
const STRIDE: u64 = 8 + 128 + 64 + 8;

struct Row {
    event: u16,
    source: u64,
    weight: u64,
    place: u32,
    part: Result<Part, Reason>,
    map: u32,
    base: u64,
    off: u32,
    index: u32,
    slot: i8,
    evidence: Evidence,
}

const fn hit(source: u64, weight: u64, part: Part, index: u32, slot: i8, off: u32) -> Row {
    Row {
        event: 0,
        source,
        weight,
        place: 0,
        part: Ok(part),
        map: 0,
        base: BUCKETS + index as u64 * STRIDE,
        off,
        index,
        slot,
        evidence: Evidence::Registers,
    }
}

const fn outside(event: u16, source: u64, weight: u64, reason: Reason) -> Row {
    Row {
        event,
        source,
        weight,
        place: 1,
        part: Err(reason),
        map: NONE,
        base: 0,
        off: NONE,
        index: NONE,
        slot: -1,
        evidence: Evidence::None,
    }
}

const ROWS: [Row; 8] = [
    Row {
        base: HEADER,
        index: NONE,
        evidence: Evidence::Address,
        ..hit(LOAD_L1, 10, Part::HmapB, 0, -1, 9)
    },
    hit(LOAD_RAM, 300, Part::BmapTophash, 3, 2, 2),
    hit(LOAD_RAM, 310, Part::BmapTophash, 3, 2, 2),
    hit(LOAD_LFB, 40, Part::BmapKey, 5, 1, 24),
    hit(LOAD_UNKNOWN, 7, Part::BmapKey, 5, 1, 24),
    Row {
        event: 1,
        ..hit(STORE_L1, 0, Part::BmapElem, 5, 1, 144)
    },
    outside(2, LOAD_L1, 0, Reason::NotAnAccess),
    outside(0, LOAD_L3_HITM, 120, Reason::Kernel),
];

fn recording() -> Recording {
    let event = |name: &str, sample_type, memory, ldlat| Event {
        name: name.to_owned(),
        sample_type,
        memory,
        ldlat,
        kind: 4,
        pmu: Kind::IntelPebs,
        precise_ip: 3,
        ..Event::default()
    };
    let intern = |ids: Vec<u32>, values: Vec<u64>| Interned {
        values,
        ids: ids.into_iter().collect(),
    };
    let source = |row: &Row| SOURCES.iter().position(|s| *s == row.source).unwrap() as u32;
    Recording {
        path: PathBuf::from("perf.data"),
        meta: Meta {
            arch: Some("x86_64".to_owned()),
            cpuid: Some("GenuineIntel,6,106,6".to_owned()),
            ..Meta::default()
        },
        events: vec![
            event("cpu/mem-loads,ldlat=5/P", MEMORY, Memory::Sampled, Some(5)),
            event("cpu/mem-stores/P", MEMORY, Memory::Sampled, None),
            event("cycles", CYCLES, Memory::No, None),
        ],
        samples: Samples {
            ip: intern(
                ROWS.iter().map(|r| r.place).collect(),
                vec![0x401000, 0xffff_8000_0000],
            ),
            addr: ROWS.iter().map(|r| r.base + u64::from(r.off)).collect(),
            // 0, 100, 200, ...: the span 700 makes 256 bins of 700 / 256 + 1 = 3 ns.
            time: (0..8).map(|i| 5000 + 100 * i).collect(),
            thread: Interned {
                values: vec![(7, 8)],
                ids: [0; 8].into_iter().collect(),
            },
            cpu: [1; 8].into_iter().collect(),
            event: ROWS.iter().map(|r| r.event).collect(),
            weight: ROWS.iter().map(|r| r.weight).collect(),
            data_src: intern(ROWS.iter().map(source).collect(), SOURCES.to_vec()),
            cpumode: [2, 2, 2, 2, 2, 2, 2, 1].into_iter().collect(),
            ..Samples::default()
        },
        gaps: vec![Gap {
            time_ns: Some(5050),
            cpu: Some(1),
            kind: GapKind::Lost,
            lost: 2,
        }],
        ..Recording::default()
    }
}

fn attribution() -> Attribution {
    let map_type = MapType {
        addr: 0x4a0000,
        name: "map[string]int".to_owned(),
        key: "string".to_owned(),
        elem: "int".to_owned(),
        key_size: 16,
        elem_size: 8,
        indirect_key: false,
        indirect_elem: false,
        string_key: false,
        fast: false,
        scanned: true,
        shape: Shape::Classic {
            key_stride: 16,
            elem_stride: 8,
            bucket_size: STRIDE,
            hmap_size: 48,
        },
    };
    let frame = |function: &str, line| Frame {
        function: function.to_owned(),
        file: Some("map_faststr.go".to_owned()),
        line: Some(line),
    };
    let in_array = |r: &Row| if r.index == NONE { NONE } else { 0 };
    Attribution {
        place: ROWS.iter().map(|r| r.place).collect(),
        part: ROWS.iter().map(|r| r.part).collect(),
        hits: ROWS
            .iter()
            .map(|r| Hit {
                map: r.map,
                base: r.base,
                off: r.off,
                array: in_array(r),
                index: r.index,
                slot: r.slot,
                evidence: r.evidence,
            })
            .collect(),
        places: vec![
            Place {
                ip: 0x401000,
                image: "/bin/app".to_owned(),
                function: Some("runtime.mapaccess1_faststr".to_owned()),
                frames: vec![
                    frame("runtime.add", 90),
                    frame("runtime.mapaccess1_faststr", 40),
                ],
                operation: Some(Operation::Access),
                phase: Some(Phase::CompareControl),
                ..Place::default()
            },
            Place {
                image: "[kernel]".to_owned(),
                ..Place::default()
            },
        ],
        maps: vec![
            Map {
                name: "map[string]int at cache.go:42".to_owned(),
                map_type: Some(map_type),
                header: Some(HEADER),
                ..Map::default()
            },
            Map {
                name: "never hit".to_owned(),
                ..Map::default()
            },
        ],
        arrays: vec![Array {
            map: 0,
            base: BUCKETS,
            stride: STRIDE,
            len: 6,
            old: false,
        }],
        ..Attribution::default()
    }
}

fn tables() -> Tables {
    Tables::build(&recording(), &attribution(), Vec::new()).unwrap()
}

/// One row of number columns.
fn row(frame: &DataFrame, i: usize, columns: &[Column]) -> Vec<Option<u64>> {
    columns
        .iter()
        .map(|column| numbers(frame, *column).unwrap()[i])
        .collect()
}

const LEVELS: [Column; 6] = [
    c::L1_HIT,
    c::LFB,
    c::L1_MISS,
    c::LLC_MISS,
    c::HITM,
    c::LEVEL_UNKNOWN,
];
const LATENCIES: [Column; 4] = [c::LATENCY_N, c::LATENCY_SUM, c::LATENCY_P50, c::LATENCY_P95];

#[test]
fn all_accesses_are_counted_once() {
    let overall = tables().summary.overall;
    assert_eq!((overall.samples, overall.loads, overall.stores), (7, 6, 1));
    // Beyond L1: two of RAM and the HITM in L3.
    assert_eq!(
        (overall.l1_hit, overall.lfb, overall.l1_miss),
        (Some(1), Some(1), Some(3))
    );
    assert_eq!(
        (overall.llc_miss, overall.hitm, overall.level_unknown),
        (Some(2), Some(1), 1)
    );
    // 10 + 300 + 310 + 40 + 7 + 120.
    assert_eq!((overall.latency_n, overall.latency_sum), (6, Some(787)));
    // Rank 3 of 7 10 40 120 300 310; rank 6 is 310, whose bucket 308..312 has the middle 309.
    assert_eq!(
        (overall.latency_p50, overall.latency_p95),
        (Some(40), Some(309))
    );
}

#[test]
fn the_funnel_only_gets_smaller() {
    let funnel: Vec<u64> = tables()
        .summary
        .funnel
        .iter()
        .map(|step| step.samples)
        .collect();
    // Eight read; `cycles` is no access; one load is the kernel's; the other six are in the map.
    assert_eq!(funnel, [8, 7, 7, 6, 6, 6, 6, 6, 6]);
}

#[test]
fn samples_without_a_part_are_told_by_reason_and_the_others_by_evidence() {
    let summary = tables().summary;
    let reasons: Vec<(&str, u64)> = summary
        .reasons
        .iter()
        .map(|r| (r.0.as_str(), r.2))
        .collect();
    assert_eq!(reasons, [("not a memory access", 1), ("kernel", 1)]);
    let evidence: Vec<(&str, u64)> = summary
        .evidence
        .iter()
        .map(|e| (e.0.as_str(), e.1))
        .collect();
    assert_eq!(evidence, [("registers", 5), ("address", 1)]);
}

#[test]
fn a_map_without_samples_keeps_its_row_and_knows_nothing() {
    let maps = tables().maps;
    assert_eq!(maps.height(), 2);
    assert_eq!(
        row(&maps, 0, &[c::SAMPLES, c::LOADS, c::STORES]),
        [Some(6), Some(5), Some(1)]
    );
    assert_eq!(
        row(&maps, 0, &LEVELS),
        [Some(1), Some(1), Some(2), Some(2), Some(0), Some(1)]
    );
    assert_eq!(
        row(&maps, 0, &[c::HEADER, c::STRIDE]),
        [Some(HEADER), Some(STRIDE)]
    );
    let geometry = [c::KEY_OFF, c::KEY_STRIDE, c::ELEM_OFF, c::ELEM_STRIDE];
    assert_eq!(
        row(&maps, 0, &geometry),
        [Some(8), Some(16), Some(136), Some(8)]
    );
    // No loads: levels do not apply.
    assert_eq!(row(&maps, 1, &[c::SAMPLES, c::LOADS]), [Some(0), Some(0)]);
    assert_eq!(
        row(&maps, 1, &LEVELS),
        [None, None, None, None, None, Some(0)]
    );
    assert_eq!(row(&maps, 1, &LATENCIES), [Some(0), None, None, None]);
    assert_eq!(
        texts(&maps, c::EVIDENCE).unwrap(),
        [Some("registers"), None]
    );
    assert_eq!(texts(&maps, c::LAYOUT).unwrap(), [Some("classic"), None]);
}

#[test]
fn parts_come_in_the_order_of_a_lookup() {
    let parts = tables().parts;
    let names = [
        Some("hmap.B"),
        Some("bmap.tophash"),
        Some("bmap.key"),
        Some("bmap.elem"),
    ];
    assert_eq!(texts(&parts, c::PART).unwrap(), names);
    assert_eq!(
        row(&parts, 1, &[c::SAMPLES, c::LLC_MISS]),
        [Some(2), Some(2)]
    );
    // Ranks 1 and 2 of 300 and 310: the middles of 300..304 and 308..312.
    assert_eq!(
        row(&parts, 1, &LATENCIES),
        [Some(2), Some(610), Some(301), Some(309)]
    );
    // Two loads: of one the level is unknown, of the other (LFB) whether it missed the LLC.
    assert_eq!(
        row(&parts, 2, &LEVELS),
        [Some(0), Some(1), Some(0), None, Some(0), Some(1)]
    );
    // A store alone: levels of loads do not apply.
    assert_eq!(
        row(&parts, 3, &LEVELS),
        [None, None, None, None, None, Some(0)]
    );
    assert_eq!(row(&parts, 3, &[c::STORE_L1_MISS]), [Some(0)]);
}

#[test]
fn misses_are_summed_by_stage() {
    let misses = tables().misses;
    let stages = [Some("header"), Some("control"), Some("key"), Some("elem")];
    assert_eq!(texts(&misses, c::STAGE).unwrap(), stages);
    assert_eq!(
        row(&misses, 1, &[c::LOADS, c::L1_MISS, c::LLC_MISS]),
        [Some(2), Some(2), Some(2)]
    );
}

#[test]
fn cells_are_bytes_of_buckets() {
    let cells = tables().cells;
    let at = |i| {
        row(
            &cells,
            i,
            &[
                c::MAP,
                c::ARRAY,
                c::INDEX,
                c::INDEX_WIDTH,
                c::OFF,
                c::SAMPLES,
            ],
        )
    };
    let cell = |index, off, samples| {
        vec![
            Some(0),
            Some(0),
            Some(index),
            Some(1),
            Some(off),
            Some(samples),
        ]
    };
    assert_eq!(cells.height(), 3);
    assert_eq!(at(0), cell(3, 2, 2));
    assert_eq!(at(1), cell(5, 24, 2));
    assert_eq!(at(2), cell(5, 144, 1));
}

#[test]
fn large_arrays_are_binned_and_say_so() {
    let mut attribution = attribution();
    attribution.arrays[0].len = 3 * 4096;
    let cells = Tables::build(&recording(), &attribution, Vec::new())
        .unwrap()
        .cells;
    // The least power of two with at most 4096 bins is 4: indexes 3 and 5 are in bins 0 and 4.
    assert_eq!(numbers(&cells, c::INDEX_WIDTH).unwrap(), [Some(4); 3]);
    assert_eq!(
        numbers(&cells, c::INDEX).unwrap(),
        [Some(0), Some(4), Some(4)]
    );
}

#[test]
fn functions_and_lines_are_those_of_the_innermost_frame() {
    let tables = tables();
    assert_eq!(
        texts(&tables.functions, c::FUNCTION).unwrap(),
        [Some("runtime.add"), None]
    );
    let outer = [Some("runtime.mapaccess1_faststr"), None];
    assert_eq!(texts(&tables.functions, c::OUTER).unwrap(), outer);
    assert_eq!(
        numbers(&tables.functions, c::SAMPLES).unwrap(),
        [Some(6), Some(1)]
    );
    // One line hit four parts; the kernel's access has neither line nor part.
    let lines = [Some(90), Some(90), Some(90), Some(90), None];
    assert_eq!(numbers(&tables.lines, c::LINE).unwrap(), lines);
}

#[test]
fn latencies_are_binned_by_time_and_logarithm() {
    let tables = tables();
    let latency = &tables.latency;
    assert_eq!(tables.summary.time_bin_ns, 3);
    let axes = [c::MAP, c::TIME_BIN, c::LATENCY_BIN, c::SAMPLES];
    assert_eq!(latency.height(), 6);
    // 10 cycles at 0 ns: floor(8 log2 10) = floor(26.58).
    assert_eq!(
        row(latency, 0, &axes),
        [Some(0), Some(0), Some(26), Some(1)]
    );
    // 300 cycles at 100 ns: bin 100 / 3; floor(8 log2 300) = floor(65.83).
    assert_eq!(
        row(latency, 1, &axes),
        [Some(0), Some(33), Some(65), Some(1)]
    );
    // The kernel's load belongs to no map: last.
    assert_eq!(row(latency, 5, &axes), [None, Some(233), Some(55), Some(1)]);
    let levels = [Some("L1"), Some("RAM"), Some("RAM"), Some("LFB"), None];
    assert_eq!(texts(latency, c::LEVEL).unwrap()[..5], levels);
}

#[test]
fn order_holds_the_samples_of_the_hottest_instance_first() {
    let tables = tables();
    // Bucket 5 has three samples, bucket 3 two, the header one.
    let n = [3, 4, 5, 1, 2, 0].map(Some);
    assert_eq!(numbers(&tables.order, c::N).unwrap(), n);
    assert_eq!(tables.summary.order.rows, 6);
}

#[test]
fn what_an_event_did_not_sample_is_null_not_zero() {
    let (recording, attribution) = (recording(), attribution());
    let accesses = Accesses::new(&recording, &attribution);
    let frame = accesses.frame(0..8).unwrap();
    let sampled = [c::ADDR, c::CPU, c::WEIGHT, c::DATA_SRC, c::PERIOD];
    assert_eq!(row(&frame, 6, &sampled), [None; 5]);
    assert_eq!(
        row(&frame, 5, &sampled),
        [
            Some(BUCKETS + 5 * STRIDE + 144),
            Some(1),
            Some(0),
            Some(STORE_L1),
            None
        ]
    );
    let op = texts(&frame, c::OP).unwrap();
    assert_eq!((op[5], op[6], op[7]), (Some("store"), None, Some("load")));
    // A store of this PMU has no latency, whatever weight says.
    assert_eq!(
        numbers(&frame, c::LATENCY).unwrap()[4..7],
        [Some(7), None, None]
    );
}

#[test]
fn lost_samples_are_an_alarm_and_ldlat_a_note() {
    let caveats = tables().summary.caveats;
    // 2 of 2 + 8.
    assert_eq!(caveats[0].severity, Severity::Alarm);
    assert!(
        caveats[0]
            .text
            .starts_with("2 records were lost while recording (20.0 % beside 8 samples")
    );
    assert!(caveats.iter().any(|caveat| {
        caveat.severity == Severity::Note
            && caveat
                .text
                .contains("loads faster than 5 cycles are not in this recording")
    }));
}

#[test]
fn a_core_that_was_not_used_is_an_alarm() {
    let told = |foreign_core| {
        let attribution = Attribution {
            foreign_core,
            ..attribution()
        };
        let tables = Tables::build(&recording(), &attribution, Vec::new()).unwrap();
        let mut caveats = tables.summary.caveats.into_iter();
        caveats.find(|caveat| caveat.text.starts_with("the core was not used"))
    };
    assert_eq!(told(false), None);
    assert_eq!(told(true).unwrap().severity, Severity::Alarm);
}

#[test]
fn fewer_than_thirty_samples_are_no_finding() {
    assert_eq!(tables().summary.findings.len(), 0);
}

#[test]
fn columns_have_names_of_their_own_and_frames_have_only_listed_columns() {
    let names: BTreeSet<&str> = COLUMNS.iter().map(|column| column.name).collect();
    assert_eq!(names.len(), COLUMNS.len());
    let tables = tables();
    let mut used = BTreeSet::new();
    for (frame_name, frame) in tables.frames() {
        for (name, dtype) in frame.schema().iter() {
            let listed = COLUMNS.iter().find(|column| column.name == name.as_str());
            let listed = listed.unwrap_or_else(|| panic!("{frame_name}.{name} is not listed"));
            assert_eq!(dtype.to_string(), listed.dtype, "{frame_name}.{name}");
            used.insert(listed.name);
        }
    }
    assert_eq!(used, names);
}

#[test]
fn tables_that_were_written_read_back_equal() {
    let dir = tempfile::tempdir().unwrap();
    let written = tables();
    written.write(dir.path()).unwrap();
    let read = Tables::read(dir.path()).unwrap();
    for ((name, a), (_, b)) in written.frames().into_iter().zip(read.frames()) {
        assert!(a.equals_missing(b), "{name}");
    }
    let json = |tables: &Tables| serde_json::to_value(&tables.summary).unwrap();
    assert_eq!(json(&written), json(&read));
}

#[test]
fn all_samples_are_written_to_accesses_parquet() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, attribution) = (recording(), attribution());
    write_accesses(dir.path(), &Accesses::new(&recording, &attribution)).unwrap();
    let file = File::open(dir.path().join("accesses.parquet")).unwrap();
    let frame = ParquetReader::new(file).finish().unwrap();
    assert_eq!(
        numbers(&frame, c::N).unwrap(),
        (0..8).map(Some).collect::<Vec<_>>()
    );
}

#[test]
fn a_folder_that_lacks_a_column_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut broken = tables();
    broken.parts = broken.parts.drop(c::STAGE.name).unwrap();
    broken.write(dir.path()).unwrap();
    let error = Tables::read(dir.path()).unwrap_err();
    assert!(matches!(&error, TablesError::MissingColumn { column, .. } if column == "stage"));
    let path = dir.path().join("parts.parquet").display().to_string();
    assert_eq!(
        error.to_string(),
        format!(
            "'{path}' has no column 'stage'; make the folder again with `mempath analyze --tables`"
        )
    );
}

#[test]
fn a_folder_of_another_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = tables();
    other.summary.schema = 99;
    other.write(dir.path()).unwrap();
    let error = Tables::read(dir.path()).unwrap_err();
    assert!(matches!(error, TablesError::Schema { found: 99, .. }));
}

#[test]
fn a_recording_without_samples_makes_empty_frames() {
    let tables = Tables::empty().unwrap();
    for (name, frame) in tables.frames() {
        assert_eq!(frame.height(), 0, "{name}");
    }
    assert_eq!(tables.summary.time_ns, None);
}
