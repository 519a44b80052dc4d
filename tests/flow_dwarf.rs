//! The layouts and the data flow against DWARF: offsets of the runtime's structures, and what the
//! compiler says a register holds where it says so.

mod common;

use common::builder::{EventSpec, RecordingBuilder, Sample};
use common::go::probe;
use common::target::build_with;
use gimli::{AttributeValue, EndianSlice, LittleEndian, Operation};
use mempath::attribute::flow::{What, analyse};
use mempath::attribute::{Declared, Disagreement, attribute};
use mempath::gomap::{Layout, Structure, layout_for};
use mempath::program::Program;
use mempath::program::kernel::Kernel;
use mempath::recording::read_bytes;
use object::{Object, ObjectSection};
use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Dwarf<'a> = gimli::Dwarf<Slice<'a>>;
type Unit<'a> = gimli::Unit<Slice<'a>>;

/// The structures that layouts describe, by their names in any version.
fn structure_of(name: &str) -> Option<Structure> {
    Some(match name {
        "runtime.hmap" | "internal/runtime/maps.Map" => Structure::Header,
        "runtime.mapextra" => Structure::Extra,
        "runtime.bmap" => Structure::Bucket,
        "internal/runtime/maps.table" => Structure::Table,
        "runtime.hiter" | "internal/runtime/maps.Iter" => Structure::Iter,
        "internal/abi.MapType" | "internal/abi.OldMapType" | "internal/abi.SwissMapType" => {
            Structure::MapType
        }
        "internal/runtime/maps.ctrlGroup" => Structure::Group,
        _ => return None,
    })
}

struct Variable {
    structure: Structure,
    /// Where it is in this register of x86-64, as DWARF numbers it.
    begin: u64,
    end: u64,
    register: u16,
}

#[derive(Default)]
struct Said {
    /// Members of structures: offset by structure and name.
    members: HashMap<(String, String), u64>,
    variables: Vec<Variable>,
}

fn text(dwarf: &Dwarf, unit: &Unit, value: Option<AttributeValue<Slice>>) -> Option<String> {
    let name = dwarf.attr_string(unit, value?).ok()?;
    Some(String::from_utf8_lossy(name.slice()).into_owned())
}

/// An entry that a type or a declaration refers to, by its offset in .debug_info.
struct Entry {
    tag: gimli::DwTag,
    name: String,
    of: Option<usize>,
}

fn reference(unit: &Unit, value: Option<AttributeValue<Slice>>) -> Option<usize> {
    match value? {
        AttributeValue::UnitRef(offset) => Some(offset.to_debug_info_offset(&unit.header)?.0),
        AttributeValue::DebugInfoRef(offset) => Some(offset.0),
        _ => None,
    }
}

/// The structure that a variable of this type points to.
fn pointed_to(entries: &HashMap<usize, Entry>, mut at: usize) -> Option<Structure> {
    let mut pointer = false;
    for _ in 0..4 {
        let entry = entries.get(&at)?;
        match entry.tag {
            gimli::DW_TAG_pointer_type => pointer = true,
            gimli::DW_TAG_structure_type if pointer => return structure_of(&entry.name),
            _ => {}
        }
        at = entry.of?;
    }
    None
}

fn entries(dwarf: &Dwarf) -> HashMap<usize, Entry> {
    let mut all = HashMap::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next().expect("units") {
        let unit = dwarf.unit(header).expect("a unit");
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs().expect("entries") {
            let off = entry.offset().to_debug_info_offset(&unit.header);
            let name = text(dwarf, &unit, entry.attr_value(gimli::DW_AT_name));
            let of = reference(&unit, entry.attr_value(gimli::DW_AT_type));
            all.insert(
                off.expect("an offset").0,
                Entry {
                    tag: entry.tag(),
                    name: name.unwrap_or_default(),
                    of,
                },
            );
        }
    }
    all
}

fn read(dwarf: &Dwarf) -> Said {
    let known = entries(dwarf);
    let mut said = Said::default();
    let mut units = dwarf.units();
    while let Some(header) = units.next().expect("units") {
        let unit = dwarf.unit(header).expect("a unit");
        let mut entries = unit.entries();
        let mut structure = String::new();
        while let Some(entry) = entries.next_dfs().expect("entries") {
            let name = || text(dwarf, &unit, entry.attr_value(gimli::DW_AT_name));
            match entry.tag() {
                gimli::DW_TAG_structure_type => structure = name().unwrap_or_default(),
                gimli::DW_TAG_member => {
                    let off = entry.attr_value(gimli::DW_AT_data_member_location);
                    if let (Some(name), Some(off)) = (name(), off.and_then(|v| v.udata_value())) {
                        said.members.insert((structure.clone(), name), off);
                    }
                }
                gimli::DW_TAG_formal_parameter | gimli::DW_TAG_variable => {
                    // An inlined function's variable has its type where it was declared.
                    let origin = reference(&unit, entry.attr_value(gimli::DW_AT_abstract_origin));
                    let of = reference(&unit, entry.attr_value(gimli::DW_AT_type))
                        .or_else(|| known.get(&origin?)?.of);
                    let points_to = of.and_then(|of| pointed_to(&known, of));
                    let location = entry.attr_value(gimli::DW_AT_location);
                    if let (Some(structure), Some(location)) = (points_to, location) {
                        registers(dwarf, &unit, structure, location, &mut said.variables);
                    }
                }
                _ => {}
            }
        }
    }
    said
}

/// Where the variable is in a register, whole.
fn registers(
    dwarf: &Dwarf,
    unit: &Unit,
    structure: Structure,
    location: AttributeValue<Slice>,
    variables: &mut Vec<Variable>,
) {
    let Ok(Some(mut list)) = dwarf.attr_locations(unit, location) else {
        return;
    };
    while let Ok(Some(place)) = list.next() {
        let mut operations = place.data.operations(unit.encoding());
        let first = operations.next();
        let alone = matches!(operations.next(), Ok(None));
        if let (Ok(Some(Operation::Register { register })), true) = (first, alone) {
            variables.push(Variable {
                structure,
                begin: place.range.begin,
                end: place.range.end,
                register: register.0,
            });
        }
    }
}

/// DWARF's numbers of x86-64's registers (System V ABI, figure 3.36), by perf's.
fn dwarf_number(perf: u32) -> Option<u16> {
    const ORDER: [u16; 8] = [0, 3, 2, 1, 4, 5, 6, 7];
    match perf {
        0..8 => Some(ORDER[perf as usize]),
        16..24 => Some(perf as u16 - 8),
        _ => None,
    }
}

/// Operands of which DWARF names the base register: as the flow does, otherwise, or by it alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    fields: usize,
    agree: usize,
    disagree: Vec<String>,
    /// The flow knows of no object there.
    unknown: usize,
}

fn compared(binary: &Path) -> Count {
    let program = Program::open(binary).expect("a readable binary");
    let layout = layout_for(program.go.as_ref().expect("Go")).expect("a layout");
    let bytes = std::fs::read(binary).expect("a readable file");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let mut sections: HashMap<&str, Vec<u8>> = HashMap::new();
    for section in file.sections() {
        if let Ok(name) = section.name()
            && name.starts_with(".debug_")
            && let Some(id) = IDS.iter().find(|id| **id == name)
        {
            let data = section.uncompressed_data().expect("a readable section");
            sections.insert(id, data.into_owned());
        }
    }
    let load = |id: gimli::SectionId| -> Result<Slice, gimli::Error> {
        let bytes = sections.get(id.name()).map_or(&[][..], |b| &b[..]);
        Ok(EndianSlice::new(bytes, LittleEndian))
    };
    let said = read(&Dwarf::load(load).expect("DWARF"));
    let mut count = Count {
        fields: check_fields(layout, &said),
        ..Count::default()
    };
    for function in program.functions() {
        let flow = analyse(&program, layout, function.start);
        if flow.signature.is_none() {
            continue;
        }
        let mut sites: Vec<_> = flow.sites.iter().collect();
        sites.sort_by_key(|(ip, _)| **ip);
        for (&ip, site) in sites {
            let base = site.instruction.form().and_then(|form| form.base);
            let Some(register) = base.and_then(dwarf_number) else {
                continue;
            };
            let Some((held, _)) = site.operands.first().and_then(|o| o.base) else {
                continue;
            };
            let named = said
                .variables
                .iter()
                .find(|v| v.register == register && (v.begin..v.end).contains(&ip));
            match (named, held.what) {
                (Some(v), What::At(structure)) if same(v.structure, structure) => count.agree += 1,
                (Some(v), What::At(structure)) => count.disagree.push(format!(
                    "{} {ip:#x} {}: DWARF {:?}, flow {structure:?}",
                    function.name,
                    site.instruction.text(),
                    v.structure
                )),
                (Some(_), _) => count.unknown += 1,
                (None, _) => {}
            }
        }
    }
    count
}

const IDS: &[&str] = &[
    ".debug_abbrev",
    ".debug_addr",
    ".debug_info",
    ".debug_line",
    ".debug_loc",
    ".debug_loclists",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
];

/// A pointer to an array of buckets is one to its first bucket.
fn same(dwarf: Structure, flow: Structure) -> bool {
    use Structure::*;
    match dwarf {
        Bucket => matches!(flow, Bucket | Buckets | OldBuckets),
        Group => matches!(flow, Group | Groups | DirPtr),
        _ => dwarf == flow,
    }
}

/// Every field of the layout has the offset that DWARF says; how many were compared.
fn check_fields(layout: &Layout, said: &Said) -> usize {
    let mut offsets: BTreeMap<(Structure, &str), u64> = BTreeMap::new();
    for ((structure, member), off) in &said.members {
        if let Some(structure) = structure_of(structure) {
            offsets.insert((structure, member), *off);
        }
    }
    let mut compared = 0;
    for structure in [
        Structure::Header,
        Structure::MapType,
        Structure::Extra,
        Structure::Table,
        Structure::Iter,
    ] {
        for field in layout.fields(structure) {
            // `groups.data`: a member of the member.
            let outer = field.name.split('.').next().expect("a name");
            let inner = match field.name {
                "groups.lengthMask" => 8,
                _ => 0,
            };
            let off = offsets.get(&(structure, outer)).copied();
            let optional = structure == Structure::Iter && field.name == "clearSeq";
            if off.is_none() && optional {
                continue;
            }
            let name = format!("{}: {structure:?}.{}", layout.name, field.name);
            assert_eq!(off.map(|off| off + inner), Some(field.off), "{name}");
            compared += 1;
        }
    }
    compared
}

/// What an analysis of a recording says of its binary's DWARF, with one sample of each instruction of map
/// code that touches memory.
fn analysed(binary: &Path) -> Declared {
    const LOAD: u64 = 0x4000_0000;
    let program = Program::open(binary).expect("a readable binary");
    let layout = layout_for(program.go.as_ref().expect("Go")).expect("a layout");
    let mut builder = RecordingBuilder::new();
    let loads = builder.event(EventSpec::loads());
    builder.mmap(1, LOAD, 1 << 28, "/probe", 1);
    let offset = |vaddr| {
        let at = |page: &u64| program.vaddr_of_offset(*page);
        let page = (0..1 << 24)
            .step_by(1 << 12)
            .find(|p| at(p) == Some(vaddr & !0xfff));
        page.expect("the instruction is in the file") + (vaddr & 0xfff)
    };
    let mut time = 0;
    for function in program.functions() {
        let flow = analyse(&program, layout, function.start);
        if flow.signature.is_none() {
            continue;
        }
        for &vaddr in flow.sites.keys() {
            time += 1;
            let sample = Sample {
                ip: LOAD + offset(vaddr),
                addr: 0x40_0012_3400,
                time,
                ..Sample::load(100)
            };
            builder.sample(loads, sample);
        }
    }
    let recording = read_bytes(Path::new("made here"), &builder.file()).expect("a recording");
    let programs = vec![Some(Arc::new(program)); recording.space.images.len()];
    let attribution = attribute(&recording, &programs, &Kernel::default(), None);
    let mut all = attribution.declared.into_iter().flatten();
    all.next().expect("a comparison")
}

/// The comparison that an analysis makes counts as this test does.
fn same_as_analysed(binary: &Path, version: u16) -> Count {
    let count = compared(binary);
    let expected = Declared {
        version,
        fields: count.fields as u64,
        agreed: count.agree as u64,
        only_dwarf: count.unknown as u64,
        ..Declared::default()
    };
    assert_eq!(analysed(binary), expected, "{}", binary.display());
    count
}

/// A gzipped binary of `samples/`.
fn sample(name: &str) -> Count {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(name);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&packed).expect("a readable file");
    let read = flate2::read::GzDecoder::new(file).read_to_end(&mut bytes);
    read.expect("gzip");
    let binary = dir.path().join("binary");
    std::fs::write(&binary, bytes).expect("a writable folder");
    same_as_analysed(&binary, if name.contains("go1.27") { 5 } else { 4 })
}

/// samples/src/probe, built with this Go, whose DWARF is of this version.
fn build(go: &str, args: &[&str], version: u16) -> Count {
    let dir = tempfile::tempdir().expect("a temporary folder");
    same_as_analysed(&probe(go, "amd64", args, dir.path()), version)
}

/// This many fields and registers agree, none disagrees.
fn agreeing(fields: usize, agree: usize, unknown: usize) -> Count {
    Count {
        fields,
        agree,
        disagree: Vec::new(),
        unknown,
    }
}

#[test]
fn classic_maps() {
    let expected = agreeing(35, 163, 0);
    assert_eq!(sample("classic-go1.22/probe-go1.22.10.gz"), expected);
    let expected = agreeing(35, 168, 0);
    assert_eq!(sample("modelled-go1.22-twins/mapload.gz"), expected);
}

#[test]
fn swiss_maps() {
    let expected = agreeing(39, 259, 0);
    assert_eq!(sample("swiss-go1.27/probe-go1.27.3.gz"), expected);
    assert_eq!(sample("modelled-go1.27-twins/mapload.gz"), expected);
}

/// DWARF 4 and 5: Go writes version 5 from 1.25 on.
#[test]
fn builds_of_other_versions() {
    assert_eq!(build("1.23.9", &[], 4), agreeing(35, 163, 0));
    assert_eq!(build("1.24.11", &[], 4), agreeing(35, 184, 0));
    assert_eq!(build("1.25.5", &[], 5), agreeing(36, 194, 0));
}

/// Sections as they are, and packed with zlib, as Go leaves them by default.
#[test]
fn packed_and_plain_sections() {
    let plain = ["-ldflags=-compressdwarf=false"];
    assert_eq!(build("1.25.5", &plain, 5), agreeing(36, 194, 0));
    assert_eq!(build("1.23.9", &plain, 4), agreeing(35, 163, 0));
}

/// What is compared of tests/programs/zoo.go: fields, instructions that agree, those that DWARF alone knows,
/// those that disagree for a known reason, and the others.
fn of_zoo(go: &str, env: &[(&str, &str)]) -> ([u64; 3], usize, Vec<Disagreement>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let said = analysed(&build_with("tests/programs/zoo.go", go, env, dir.path()));
    assert_eq!(said.fields_elsewhere, [""; 0], "{go} {env:?}");
    let known = |d: &Disagreement| d.explanation.is_some();
    let (explained, others): (Vec<_>, Vec<_>) = said.disagreed.into_iter().partition(known);
    let counts = [said.fields, said.agreed, said.only_dwarf];
    (counts, explained.len(), others)
}

/// Go 1.19 has other names for the fields of a map type; `noswissmap` has one field more in `hmap`, and one
/// in its iterator. What disagrees are stores to the write barrier's buffer, whose address
/// `gcWriteBarrier` returns in R11: the location list still has `insertb` there.
#[test]
fn nothing_disagrees_unexplained_in_any_version() {
    let found = [
        of_zoo("1.19.8", &[]),
        of_zoo("1.21.13", &[]),
        of_zoo("1.24.11", &[("GOEXPERIMENT", "noswissmap")]),
        of_zoo("1.26.6", &[]),
        of_zoo("1.27.3", &[("GOEXPERIMENT", "mapsplitgroup")]),
    ];
    let expected = [
        ([35, 151, 0], 0, Vec::new()),
        ([35, 173, 0], 0, Vec::new()),
        ([37, 159, 0], 1, Vec::new()),
        ([36, 203, 0], 0, Vec::new()),
        ([39, 257, 0], 0, Vec::new()),
    ];
    assert_eq!(found, expected);
}

/// On arm64 six instructions of `(*Map).Clear` disagree: it has `m` in the register that a location list still
/// gives to `typ` or `lastTab`. The source's lines write `m.seed`, read `m.writing` and `m.dirPtr`, and
/// clear `m.used` (`tests/flow_source.rs` compares all of them).
#[test]
fn a_location_list_of_arm64_outlives_its_variable() {
    let (counts, explained, others) = of_zoo("1.27.3", &[("GOARCH", "arm64")]);
    let functions: Vec<&str> = others.iter().map(|d| d.function.as_str()).collect();
    assert_eq!(functions, ["internal/runtime/maps.(*Map).Clear"; 6]);
    assert!(
        others.iter().all(|d| d.flow.starts_with("map header")),
        "{others:?}"
    );
    assert_eq!((counts, explained), ([39, 216, 0], 0));
}

/// Without optimisation variables are on the stack: DWARF names next to no register.
#[test]
fn nothing_disagrees_without_optimisation() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let args = ["-gcflags=all=-N -l"];
    let of = |go: &str| {
        let said = analysed(&probe(go, "amd64", &args, dir.path()));
        (said.fields, said.agreed, said.only_dwarf, said.disagreed)
    };
    assert_eq!(of("1.22.10"), (35, 79, 0, Vec::new()));
    assert_eq!(of("1.27.3"), (39, 72, 0, Vec::new()));
}
