//! What the data flow says of an instruction against the source line that it was compiled from, on
//! both architectures.

mod common;

use common::builder::{EventSpec, RecordingBuilder, Sample};
use common::go::{goroot, probe};
use mempath::attribute::attribute;
use mempath::attribute::flow::{Target, analyse, classify};
use mempath::gomap::{Part, Stage, layout_for};
use mempath::program::Program;
use mempath::program::kernel::Kernel;
use mempath::recording::read_bytes;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn opened(version: &str, arch: &str, args: &[&str], dir: &Path) -> Program {
    Program::open(&probe(version, arch, args, dir)).expect("a readable binary")
}

/// What the flow makes of the memory operands of all map functions.
#[derive(Debug, Default)]
struct Count {
    /// Operands by what is said of them.
    said: BTreeMap<String, u64>,
    /// Fields of hmap, mapextra, Map and table whose name stands on the instruction's source line.
    on_their_line: u64,
    /// Those of which it does not.
    elsewhere: Vec<String>,
    nil_checks: u64,
}

/// The lines of the runtime's source.
struct Sources {
    goroot: PathBuf,
    files: HashMap<String, Vec<String>>,
}

impl Sources {
    fn line(&mut self, file: &str, line: u32) -> String {
        let path = self.goroot.join("src").join(file);
        let lines = self.files.entry(file.to_owned()).or_insert_with(|| {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            text.lines().map(str::to_owned).collect()
        });
        lines.get(line as usize - 1).cloned().unwrap_or_default()
    }
}

/// The last word of a part's name: what the source writes behind the variable and the dot.
fn field(part: Part) -> &'static str {
    part.name().rsplit('.').next().expect("a name")
}

fn count(program: &Program, sources: &mut Sources) -> Count {
    let layout = layout_for(program.go.as_ref().expect("Go")).expect("a layout");
    let mut count = Count::default();
    for function in program.functions() {
        let flow = analyse(program, layout, function.start);
        let Some(signature) = flow.signature else {
            continue;
        };
        for (&ip, site) in &flow.sites {
            for operand in &site.operands {
                count.nil_checks += u64::from(operand.nil_check);
                let part = match classify(operand, layout, &signature.areas, true) {
                    Target::Part { part, .. } => part,
                    Target::None(reason) => {
                        *count.said.entry(reason.name().to_owned()).or_insert(0) += 1;
                        continue;
                    }
                    other => panic!("{}: {other:?}", function.name),
                };
                *count.said.entry(part.name().to_owned()).or_insert(0) += 1;
                let fixed = matches!(part.stage(), Stage::Header | Stage::Table | Stage::Extra);
                if !fixed || operand.nil_check {
                    continue;
                }
                let frames = program.frames_at(ip);
                let frame = frames.first().expect("a frame");
                let file = frame.file.as_deref().expect("a file");
                let line = sources.line(file, frame.line.expect("a line"));
                if line.contains(field(part)) {
                    count.on_their_line += 1;
                } else {
                    let at = format!("{}:{}", file, frame.line.unwrap_or(0));
                    count.elsewhere.push(format!(
                        "{} {} {at} {} ({})",
                        part.name(),
                        function.name,
                        line.trim(),
                        site.instruction.text()
                    ));
                }
            }
        }
    }
    count
}

/// Why an instruction may stand on a line that does not name its field.
const REASONS: &[&str] = &[
    // x86-64 adds a loaded pointer in one instruction, which has the line of `add`.
    "return unsafe.Pointer(uintptr(p) + x)",
    // A whole structure is assigned or copied.
    "*h.extra = mapextra{}",
    "t.groups = newGroups(typ, groupCount)",
    "it.group = it.tab.groups.group(",
    // h.flags of `sameSizeGrow`, loaded early.
    "oldB := h.B",
    "b := (*bmap)(add(h.oldbuckets",
    // arm64 loads two neighbouring fields at once.
    "(ldp",
];

/// Builds samples/src/probe and compares; the fields on their line, those elsewhere, nil checks.
fn compared(version: &str, arch: &str, args: &[&str]) -> (u64, usize, u64) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut sources = Sources {
        goroot: goroot(version),
        files: HashMap::new(),
    };
    let count = count(&opened(version, arch, args, dir.path()), &mut sources);
    println!("{version} {arch} {args:?} {:#?}", count.said);
    for text in &count.elsewhere {
        let explained = REASONS.iter().any(|reason| text.contains(reason));
        assert!(explained, "{version} {arch} {args:?}: {text}");
    }
    (count.on_their_line, count.elsewhere.len(), count.nil_checks)
}

const UNOPTIMISED: &[&str] = &["-gcflags=all=-N -l"];

#[test]
fn fields_of_classic_maps_are_those_of_the_source_line() {
    assert_eq!(compared("1.22.10", "amd64", &[]), (337, 47, 46));
    assert_eq!(compared("1.22.10", "arm64", &[]), (385, 5, 46));
    assert_eq!(compared("1.22.10", "amd64", UNOPTIMISED), (303, 0, 44));
    assert_eq!(compared("1.22.10", "arm64", UNOPTIMISED), (310, 0, 44));
}

#[test]
fn fields_of_swiss_maps_are_those_of_the_source_line() {
    assert_eq!(compared("1.27.3", "amd64", &[]), (397, 4, 3));
    assert_eq!(compared("1.27.3", "arm64", &[]), (397, 13, 3));
    assert_eq!(compared("1.27.3", "amd64", UNOPTIMISED), (304, 3, 3));
    assert_eq!(compared("1.27.3", "arm64", UNOPTIMISED), (315, 6, 3));
}

/// Loads and stores of arm64: bits 28 to 25 are x1x0 (C4.1). The base register is bits 9 to 5.
fn touches_memory(word: u32) -> bool {
    let base = word >> 5 & 31;
    word >> 25 & 0b0101 == 0b0100 && ![28, 31].contains(&base)
}

/// The instructions of an arm64 function that touch memory other than its frame, and whose innermost
/// source line holds this text.
fn on_line(program: &Program, sources: &mut Sources, function: &str, text: &str) -> Vec<u64> {
    let function = program.functions().iter().find(|f| f.name == function);
    let function = function.expect("the function");
    (function.start..function.end)
        .step_by(4)
        .filter(|&ip| program.read_u32(ip).is_some_and(touches_memory))
        .filter(|&ip| {
            let frames = program.frames_at(ip);
            let frame = frames.first();
            frame.is_some_and(|f| match (&f.file, f.line) {
                (Some(file), Some(line)) => sources.line(file, line).trim() == text,
                _ => false,
            })
        })
        .collect()
}

/// Function, source line, instructions on it, part, offset from the structure's start.
type Expected = (&'static str, &'static str, usize, &'static str, u64);

/// `runtime/map_fast64.go`, `runtime/map.go`.
const CLASSIC: &[Expected] = &[
    (
        "runtime.mapaccess1_fast64",
        "if h == nil || h.count == 0 {",
        1,
        "hmap.count",
        0,
    ),
    (
        "runtime.mapassign_fast64",
        "h.flags ^= hashWriting",
        2,
        "hmap.flags",
        8,
    ),
    ("runtime.mapassign_fast64", "h.count++", 2, "hmap.count", 0),
    ("runtime.mapdelete_fast64", "h.count--", 2, "hmap.count", 0),
    (
        "runtime.mapdelete_fast64",
        "b.tophash[i] = emptyOne",
        1,
        "bmap.tophash",
        3,
    ),
    (
        "runtime.hashGrow",
        "h.nevacuate = 0",
        1,
        "hmap.nevacuate",
        32,
    ),
    (
        "runtime.hashGrow",
        "h.noverflow = 0",
        1,
        "hmap.noverflow",
        10,
    ),
];

/// `internal/runtime/maps/table.go`, `map.go`.
const SWISS: &[Expected] = &[
    (
        "internal/runtime/maps.(*table).Delete",
        "t.used--",
        2,
        "table.used",
        0,
    ),
    (
        "internal/runtime/maps.(*table).Delete",
        "m.used--",
        2,
        "Map.used",
        0,
    ),
    (
        "internal/runtime/maps.(*table).Delete",
        "t.growthLeft++",
        2,
        "table.growthLeft",
        4,
    ),
    (
        "internal/runtime/maps.(*Map).Delete",
        "if m.writing != 0 {",
        1,
        "Map.writing",
        34,
    ),
];

/// Samples made by hand: one for each instruction on a line, at an address of an invented structure.
fn attributed_by_hand(version: &str, expected: &[Expected]) {
    const LOAD: u64 = 0x4000_0000;
    const STRUCTURE: u64 = 0x40_0012_3400;
    let dir = tempfile::tempdir().expect("a temporary folder");
    let program = opened(version, "arm64", &[], dir.path());
    let mut sources = Sources {
        goroot: goroot(version),
        files: HashMap::new(),
    };
    let mut builder = RecordingBuilder::new();
    let loads = builder.event(EventSpec::loads());
    builder.mmap(1, LOAD, 1 << 28, "/probe", 1);
    let mut wanted = Vec::new();
    for &(function, line, instructions, part, off) in expected {
        let ips = on_line(&program, &mut sources, function, line);
        assert_eq!(ips.len(), instructions, "{function}: {line}");
        for vaddr in ips {
            let offset = (0..1 << 24)
                .step_by(4)
                .find(|&offset| program.vaddr_of_offset(offset) == Some(vaddr));
            builder.sample(
                loads,
                Sample {
                    ip: LOAD + offset.expect("the instruction is in the file"),
                    addr: STRUCTURE + off,
                    time: 10 + wanted.len() as u64,
                    ..Sample::load(100)
                },
            );
            wanted.push((part, STRUCTURE, off));
        }
    }
    let recording = read_bytes(Path::new("by hand"), &builder.file()).expect("a recording");
    let images = recording.space.images.len();
    let programs = vec![Some(Arc::new(program)); images];
    let attribution = attribute(&recording, &programs, &Kernel::default(), None);
    for (i, (part, base, off)) in wanted.iter().enumerate() {
        let said = attribution.part[i].map(Part::name);
        let hit = attribution.hit(i);
        let at = (hit.base, u64::from(hit.off));
        assert_eq!(
            (said, at),
            (Ok(*part), (*base, *off)),
            "{version}: sample {i}"
        );
    }
}

#[test]
fn arm64_samples_of_a_classic_map() {
    attributed_by_hand("1.22.10", CLASSIC);
}

#[test]
fn arm64_samples_of_a_swiss_map() {
    attributed_by_hand("1.27.3", SWISS);
}

/// What the flow says of the instructions on a line of an optimised build for amd64 that touch memory: part
/// and whether it is stored to, by address.
fn said_of_line(
    program: &Program,
    sources: &mut Sources,
    function: &str,
    text: &str,
) -> Vec<String> {
    let layout = layout_for(program.go.as_ref().expect("Go")).expect("a layout");
    let start = program.functions().iter().find(|f| f.name == function);
    let flow = analyse(program, layout, start.expect("the function").start);
    let areas = flow.signature.expect("a map function").areas;
    let mut sites: Vec<_> = flow.sites.iter().collect();
    sites.sort_by_key(|(ip, _)| **ip);
    let on_line = |ip: u64, sources: &mut Sources| {
        let frames = program.frames_at(ip);
        frames.iter().any(|f| match (&f.file, f.line) {
            (Some(file), Some(line)) => sources.line(file, line).trim() == text,
            _ => false,
        })
    };
    let mut said = Vec::new();
    for (ip, site) in sites {
        if !on_line(*ip, sources) {
            continue;
        }
        for operand in &site.operands {
            let access = match (operand.nil_check, operand.write) {
                (true, _) => "nil check of",
                (_, true) => "store to",
                _ => "load of",
            };
            let part = match classify(operand, layout, &areas, true) {
                Target::Part { part, .. } => part.name().to_owned(),
                Target::None(reason) => reason.name().to_owned(),
                other => format!("{other:?}"),
            };
            said.push(format!("{access} {part}"));
        }
    }
    said
}

/// Function, source line, and what is said of the instructions on it.
type Said = (&'static str, &'static str, &'static [&'static str]);

fn follows(version: &str, expected: &[Said]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let program = opened(version, "amd64", &[], dir.path());
    let mut sources = Sources {
        goroot: goroot(version),
        files: HashMap::new(),
    };
    let found: Vec<(&str, &str, Vec<String>)> = expected
        .iter()
        .map(|&(function, line, _)| {
            let said = said_of_line(&program, &mut sources, function, line);
            (function, line, said)
        })
        .collect();
    let expected: Vec<(&str, &str, Vec<String>)> = expected
        .iter()
        .map(|&(function, line, said)| {
            let said = said.iter().map(|&text| text.to_owned()).collect();
            (function, line, said)
        })
        .collect();
    assert_eq!(found, expected, "{version}");
}

const TOPHASH: &str = "dst.b.tophash[dst.i&(bucketCnt-1)] = top // mask dst.i as an optimization, to \
                       avoid a bounds check";

/// `evacuate` chooses one of two destinations in an array on its stack: `dst := &xy[useY]`.
#[test]
fn the_destinations_of_a_growing_map_are_followed_through_the_stack() {
    follows(
        "1.22.10",
        &[
            (
                "runtime.evacuate",
                TOPHASH,
                &["nil check of bmap.tophash", "store to bmap.tophash"],
            ),
            (
                "runtime.evacuate_fast64",
                TOPHASH,
                &["nil check of bmap.tophash", "store to bmap.tophash"],
            ),
            (
                "runtime.evacuate_faststr",
                TOPHASH,
                &["nil check of bmap.tophash", "store to bmap.tophash"],
            ),
            (
                "runtime.evacuate_fast64",
                "*(*uint64)(dst.k) = *(*uint64)(k)",
                &["load of bmap.key", "store to bmap.key"],
            ),
        ],
    );
}

/// What `new(hmap)`, `new(mapextra)`, `new(Map)`, `&table{}` and `make([]*table, n)` return is of that
/// structure.
#[test]
fn fresh_objects_are_what_they_were_made_as() {
    follows(
        "1.22.10",
        &[
            (
                "runtime.makemap",
                "h.hash0 = uint32(rand())",
                &["store to hmap.hash0"],
            ),
            ("runtime.makemap", "h.B = B", &["store to hmap.B"]),
            (
                "runtime.makemap",
                "h.buckets, nextOverflow = makeBucketArray(t, h.B, nil)",
                // The write barrier: its switch, its buffer, and the old value.
                &[
                    "load of stack or static data",
                    "store to map code, other memory",
                    "load of hmap.buckets",
                    "store to map code, other memory",
                    "store to hmap.buckets",
                ],
            ),
            (
                "runtime.makemap",
                "h.extra.nextOverflow = nextOverflow",
                &[
                    "nil check of extra.overflow",
                    "load of stack or static data",
                    "store to map code, other memory",
                    "load of extra.nextOverflow",
                    "store to map code, other memory",
                    "store to extra.nextOverflow",
                ],
            ),
        ],
    );
    const MAKE: &str = "internal/runtime/maps.NewMap";
    const TABLE: &str = "internal/runtime/maps.newTable";
    const RESET: &str = "internal/runtime/maps.(*table).reset";
    follows(
        "1.27.3",
        &[
            (MAKE, "m.seed = uintptr(rand())", &["store to Map.seed"]),
            (MAKE, "m.dirLen = len(directory)", &["store to Map.dirLen"]),
            (
                MAKE,
                "directory[i] = newTable(mt, uint64(targetCapacity)/dirSize, i, m.globalDepth)",
                // The write barrier as well.
                &[
                    "store to directory.table_ptr",
                    "load of Map.globalDepth",
                    "load of stack or static data",
                    "load of directory.table_ptr",
                    "store to map code, other memory",
                    "store to map code, other memory",
                ],
            ),
            (TABLE, "index:      index,", &["store to table.index"]),
            (
                TABLE,
                "localDepth: localDepth,",
                &["store to table.localDepth"],
            ),
            (RESET, "t.capacity = capacity", &["store to table.capacity"]),
            (RESET, "g.ctrls().setEmpty()", &["store to group.ctrl"]),
        ],
    );
}
