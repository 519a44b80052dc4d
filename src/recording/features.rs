//! Feature sections: what the file says of the machine and of itself.
//!
//! `linux-perf-data` reads the values. It trusts lengths it finds, so it is handed a small file made
//! of those sections alone whose lengths were checked here; it works so for pipes and for files of
//! which other parts are broken, too.

use super::attr::Attr;
use super::cursor::{ByteOrder, Cursor, text};
use super::space::SpaceBuilder;
use super::{Damage, Meta};
use linux_perf_data::{Feature, PerfFileReader};
use perf_event_open_sys::bindings as sys;
use std::io;

/// One feature section: its number, where it lies in the file, and its bytes.
#[derive(Debug, Clone)]
pub struct Section {
    pub feature: u32,
    pub offset: u64,
    pub data: Vec<u8>,
}

/// Features that `linux-perf-data` reads for us, lowest first.
const READ: [Feature; 10] = [
    Feature::HOSTNAME,
    Feature::OSRELEASE,
    Feature::VERSION,
    Feature::ARCH,
    Feature::NRCPUS,
    Feature::CPUDESC,
    Feature::CPUID,
    Feature::TOTAL_MEM,
    Feature::CMDLINE,
    Feature::CLOCK_DATA,
];

/// Longest section that is looked at; a hostname or a command line is never near it.
const MAX_SECTION: usize = 1 << 20;

/// Fills in `meta`; what cannot be read is left out and told.
pub fn read(sections: &[Section], order: ByteOrder, meta: &mut Meta, damage: &mut Vec<Damage>) {
    let mut usable: Vec<&Section> = sections
        .iter()
        .filter(|section| READ.iter().any(|read| read.0 == section.feature))
        // perf leaves a section empty where it found nothing to write.
        .filter(|section| (1..=MAX_SECTION).contains(&section.data.len()))
        .filter(|section| {
            // A list of strings takes 4 bytes each at least.
            section.feature != Feature::CMDLINE.0
                || order
                    .u32_at(&section.data, 0)
                    .is_some_and(|count| count as usize <= section.data.len() / 4)
        })
        .collect();
    usable.sort_by_key(|section| section.feature);
    usable.dedup_by_key(|section| section.feature);
    if usable.is_empty() {
        return;
    }
    let reader = match PerfFileReader::parse_file(io::Cursor::new(small_file(&usable, order))) {
        Ok(reader) => reader,
        Err(error) => {
            damage.push(Damage {
                offset: usable.first().map_or(0, |section| section.offset),
                rule: format!("the feature sections could not be read: {error}; they are left out"),
            });
            return;
        }
    };
    let file = &reader.perf_file;
    let offset_of = |feature: Feature| {
        usable
            .iter()
            .find(|section| section.feature == feature.0)
            .map_or(0, |section| section.offset)
    };
    let mut told = |feature: Feature, error: linux_perf_data::Error| {
        damage.push(Damage {
            offset: offset_of(feature),
            rule: format!("the feature {feature} could not be read: {error}; it is left out"),
        });
    };
    let mut string = |feature, value: Result<Option<&str>, linux_perf_data::Error>| match value {
        Ok(value) => value.map(str::to_owned),
        Err(error) => {
            told(feature, error);
            None
        }
    };
    meta.hostname = string(Feature::HOSTNAME, file.hostname());
    meta.os_release = string(Feature::OSRELEASE, file.os_release());
    meta.perf_version = string(Feature::VERSION, file.perf_version());
    meta.arch = string(Feature::ARCH, file.arch());
    meta.cpu_desc = string(Feature::CPUDESC, file.cpu_desc());
    meta.cpuid = string(Feature::CPUID, file.cpu_id());
    match file.cmdline() {
        Ok(words) => {
            meta.cmdline = words
                .unwrap_or_default()
                .into_iter()
                .map(str::to_owned)
                .collect();
        }
        Err(error) => told(Feature::CMDLINE, error),
    }
    match file.nr_cpus() {
        Ok(Some(cpus)) => {
            meta.cpus_online = Some(cpus.nr_cpus_online);
            meta.cpus_available = Some(cpus.nr_cpus_available);
        }
        Ok(None) => {}
        Err(error) => told(Feature::NRCPUS, error),
    }
    match file.total_mem() {
        Ok(memory) => meta.total_memory_kb = memory,
        Err(error) => told(Feature::TOTAL_MEM, error),
    }
    match file.clock_data() {
        Ok(clock) => meta.clock = clock.and_then(|clock| clock_name(clock.clockid)),
        Err(error) => told(Feature::CLOCK_DATA, error),
    }
}

/// A perf.data of one plain attr, no records and these sections.
fn small_file(sections: &[&Section], order: ByteOrder) -> Vec<u8> {
    const HEADER: u64 = 104;
    const ATTR: u64 = sys::PERF_ATTR_SIZE_VER0 as u64;
    const ENTRY: u64 = ATTR + 16;
    let word = |value: u64| match order {
        ByteOrder::Little => value.to_le_bytes(),
        ByteOrder::Big => value.to_be_bytes(),
    };
    let half = |value: u32| match order {
        ByteOrder::Little => value.to_le_bytes(),
        ByteOrder::Big => value.to_be_bytes(),
    };
    let features = sections
        .iter()
        .filter(|section| section.feature < 64)
        .fold(0, |bits, section| bits | 1 << section.feature);
    let mut file = match order {
        ByteOrder::Little => b"PERFILE2".to_vec(),
        ByteOrder::Big => b"2ELIFREP".to_vec(),
    };
    let data_at = HEADER + ENTRY;
    for value in [
        HEADER, ENTRY, HEADER, ENTRY, data_at, 0, 0, 0, features, 0, 0, 0,
    ] {
        file.extend(word(value));
    }
    file.extend(half(sys::PERF_TYPE_SOFTWARE));
    file.extend(half(ATTR as u32));
    file.resize(data_at as usize, 0);
    let mut at = data_at + 16 * sections.len() as u64;
    for section in sections {
        file.extend(word(at));
        file.extend(word(section.data.len() as u64));
        at += section.data.len() as u64;
    }
    for section in sections {
        file.extend_from_slice(&section.data);
    }
    file
}

/// Names of `CLOCK_*`, `include/uapi/linux/time.h`.
pub fn clock_name(clockid: u32) -> Option<String> {
    let name = match clockid {
        0 => "realtime",
        1 => "monotonic",
        4 => "monotonic_raw",
        7 => "boottime",
        11 => "tai",
        _ => return None,
    };
    Some(name.to_owned())
}

/// The names of `HEADER_EVENT_DESC`, with the ids of each event. Stops where the section breaks off.
pub fn event_names(section: &[u8], order: ByteOrder) -> Vec<(String, Vec<u64>)> {
    let mut names = Vec::new();
    let mut at = Cursor::new(section, order);
    let mut next = |at: &mut Cursor, attr_size: u32| {
        at.bytes(u64::from(attr_size))?;
        let ids = at.u32()?;
        let len = at.u32()?;
        let name = text(at.bytes(u64::from(len))?);
        let ids = at.words(u64::from(ids))?.iter().collect();
        names.push((name, ids));
        Some(())
    };
    if let (Some(count), Some(attr_size)) = (at.u32(), at.u32()) {
        for _ in 0..count {
            if next(&mut at, attr_size).is_none() {
                break;
            }
        }
    }
    names
}

/// Gives events the names of `HEADER_EVENT_DESC`: by id, else by position.
pub fn name_events(attrs: &mut [Attr], names: &[(String, Vec<u64>)]) {
    for (i, attr) in attrs.iter_mut().enumerate() {
        let by_id = attr
            .event
            .ids
            .first()
            .and_then(|id| names.iter().find(|(_, ids)| ids.contains(id)));
        if let Some((name, _)) = by_id.or_else(|| names.get(i)) {
            attr.event.name.clone_from(name);
        }
    }
}

/// Takes a `struct perf_header_string`: its length, then NUL-terminated text.
pub fn string(at: &mut Cursor) -> Option<String> {
    let len = at.u32()?;
    Some(text(at.bytes(u64::from(len))?))
}

/// `HEADER_PMU_MAPPINGS`: number and name of every PMU. Stops where the section breaks off.
pub fn pmus(section: &[u8], order: ByteOrder) -> Vec<(u32, String)> {
    let mut at = Cursor::new(section, order);
    let count = at.u32().unwrap_or(0);
    (0..count)
        .map_while(|_| Some((at.u32()?, string(&mut at)?)))
        .collect()
}

/// `HEADER_CPU_PMU_CAPS`: what the one PMU of the cores can do. Stops where the section breaks off.
pub fn cpu_pmu_caps(section: &[u8], order: ByteOrder) -> Vec<(String, String, String)> {
    let mut at = Cursor::new(section, order);
    caps(&mut at)
        .0
        .into_iter()
        .map(|(name, value)| ("cpu".to_owned(), name, value))
        .collect()
}

/// `HEADER_PMU_CAPS`: the same of several PMUs, each named after its caps.
pub fn pmu_caps(section: &[u8], order: ByteOrder) -> Vec<(String, String, String)> {
    let mut at = Cursor::new(section, order);
    let count = at.u32().unwrap_or(0);
    let mut all = Vec::new();
    for _ in 0..count {
        let (caps, whole) = caps(&mut at);
        let Some(pmu) = string(&mut at).filter(|_| whole) else {
            break;
        };
        all.extend(
            caps.into_iter()
                .map(|(name, value)| (pmu.clone(), name, value)),
        );
    }
    all
}

/// Names and values, and whether all that are announced are there.
fn caps(at: &mut Cursor) -> (Vec<(String, String)>, bool) {
    let count = at.u32().unwrap_or(0);
    let caps: Vec<_> = (0..count)
        .map_while(|_| Some((string(at)?, string(at)?)))
        .collect();
    let whole = caps.len() == count as usize;
    (caps, whole)
}

/// `HEADER_BUILD_ID`: a run of records, each with a header of its own.
pub fn build_ids(section: &[u8], order: ByteOrder, space: &mut SpaceBuilder) {
    let mut rest = section;
    while let (Some(misc), Some(size)) = (order.u16_at(rest, 4), order.u16_at(rest, 6)) {
        let size = usize::from(size);
        let (Some(body), Some(after)) = (rest.get(8..size), rest.get(size..)) else {
            break;
        };
        build_id(misc, body, order, space);
        rest = after;
    }
}

/// The body of one `PERF_RECORD_HEADER_BUILD_ID`: pid, 20 bytes of build id and 4 more, path.
pub fn build_id(misc: u16, body: &[u8], order: ByteOrder, space: &mut SpaceBuilder) -> Option<()> {
    /// `PERF_RECORD_MISC_BUILD_ID_SIZE`, `tools/lib/perf/include/perf/event.h`.
    const HAS_SIZE: u16 = 1 << 15;
    let mut at = Cursor::new(body, order);
    at.i32()?;
    let bytes = at.bytes(24)?;
    let len = match misc & HAS_SIZE != 0 {
        true => usize::from(*bytes.get(20)?).min(20),
        // Without a size the id is 20 bytes, or shorter by whole words of 0.
        false => {
            let used = bytes.get(..20)?.iter().rposition(|&b| b != 0)? + 1;
            used.next_multiple_of(4)
        }
    };
    space.build_id(text(at.rest()), bytes.get(..len)?.to_vec());
    Some(())
}
