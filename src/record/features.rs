//! Feature sections: what the file says of the machine and of itself.
//!
//! `tools/perf/util/header.c`, `write_*`.

use super::Event;
use super::file::{ATTR, attr_bytes};
use super::machine::Machine;
use std::path::Path;

/// `HEADER_*` of `tools/perf/util/header.h`.
pub mod number {
    pub const BUILD_ID: u32 = 2;
    pub const HOSTNAME: u32 = 3;
    pub const OSRELEASE: u32 = 4;
    pub const VERSION: u32 = 5;
    pub const ARCH: u32 = 6;
    pub const NRCPUS: u32 = 7;
    pub const CPUDESC: u32 = 8;
    pub const CPUID: u32 = 9;
    pub const TOTAL_MEM: u32 = 10;
    pub const CMDLINE: u32 = 11;
    pub const EVENT_DESC: u32 = 12;
    pub const NUMA_TOPOLOGY: u32 = 14;
    pub const PMU_MAPPINGS: u32 = 16;
    pub const GROUP_DESC: u32 = 17;
    pub const AUXTRACE: u32 = 18;
    pub const SAMPLE_TIME: u32 = 21;
    pub const MEM_TOPOLOGY: u32 = 22;
    pub const CLOCKID: u32 = 23;
    pub const CPU_PMU_CAPS: u32 = 28;
    pub const CLOCK_DATA: u32 = 29;
}

/// What a finished recording knows of itself.
#[derive(Debug, Default)]
pub struct Facts {
    /// Times of the first and last sample, in nanoseconds.
    pub times: Option<(u64, u64)>,
    /// Wall clock and CLOCK_MONOTONIC at one moment, in nanoseconds.
    pub clocks: (u64, u64),
    pub build_ids: Vec<BuildId>,
    /// What made the recording, as it was called.
    pub cmdline: Vec<String>,
    /// Some events are groups: the leader's index, and how many follow it.
    pub groups: Vec<(u32, u32)>,
    pub aux: bool,
}

/// A file that was mapped, and the id in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildId {
    pub path: String,
    pub id: Vec<u8>,
    pub kernel: bool,
}

/// perf's `do_write_string`: length, then the text with NULs up to a multiple of 64.
pub fn string(text: &str) -> Vec<u8> {
    let len = (text.len() + 1).next_multiple_of(64);
    let mut bytes = (len as u32).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.resize(4 + len, 0);
    bytes
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The sections that describe machine and events; known before the first record.
pub fn of_machine(machine: &Machine, events: &[(Event, Vec<u64>)]) -> Vec<(u32, Vec<u8>)> {
    use number::*;
    let mut all = vec![
        (HOSTNAME, string(&machine.hostname)),
        (OSRELEASE, string(&machine.release)),
        (
            VERSION,
            string(concat!("mempath ", env!("CARGO_PKG_VERSION"))),
        ),
        (ARCH, string(&machine.arch)),
        (
            NRCPUS,
            words(&[machine.cpus_available, machine.cpus_online]),
        ),
        (CPUDESC, string(&machine.cpu_desc)),
        (CPUID, string(&machine.cpuid)),
        (TOTAL_MEM, machine.memory_kb.to_le_bytes().to_vec()),
        (EVENT_DESC, event_desc(events)),
        (NUMA_TOPOLOGY, numa(machine)),
        (PMU_MAPPINGS, pmu_mappings(machine)),
        (CLOCKID, 1u64.to_le_bytes().to_vec()),
    ];
    if machine.block_size != 0 {
        all.push((MEM_TOPOLOGY, memory(machine)));
    }
    let caps: Vec<&(String, String)> = (machine.pmus.iter())
        .filter(|pmu| pmu.name == "cpu")
        .flat_map(|pmu| &pmu.caps)
        .collect();
    if !caps.is_empty() {
        let mut section = words(&[caps.len() as u32]);
        for (name, value) in caps {
            section.extend(string(name));
            section.extend(string(value));
        }
        all.push((CPU_PMU_CAPS, section));
    }
    all
}

/// Everything else, known when the recording ends.
pub fn of_recording(facts: &Facts, events: &[(Event, Vec<u64>)]) -> Vec<(u32, Vec<u8>)> {
    use number::*;
    let mut cmdline = words(&[facts.cmdline.len() as u32]);
    cmdline.extend(facts.cmdline.iter().flat_map(|word| string(word)));
    let mut clock = words(&[1, libc::CLOCK_MONOTONIC as u32]);
    clock.extend(facts.clocks.0.to_le_bytes());
    clock.extend(facts.clocks.1.to_le_bytes());
    let mut all = vec![(CMDLINE, cmdline), (CLOCK_DATA, clock)];
    if let Some((first, last)) = facts.times {
        let mut times = first.to_le_bytes().to_vec();
        times.extend(last.to_le_bytes());
        all.push((SAMPLE_TIME, times));
    }
    if !facts.build_ids.is_empty() {
        let ids = facts.build_ids.iter().flat_map(build_id).collect();
        all.push((BUILD_ID, ids));
    }
    if !facts.groups.is_empty() {
        let mut groups = words(&[facts.groups.len() as u32]);
        for &(leader, members) in &facts.groups {
            let name = (events.get(leader as usize)).map_or("", |(event, _)| event.name.as_str());
            groups.extend(string(name));
            groups.extend(words(&[leader, members + 1]));
        }
        all.push((GROUP_DESC, groups));
    }
    if facts.aux {
        // An empty index: perf then finds AUXTRACE records by reading on.
        all.push((AUXTRACE, 0u64.to_le_bytes().to_vec()));
    }
    all
}

fn event_desc(events: &[(Event, Vec<u64>)]) -> Vec<u8> {
    let mut section = words(&[events.len() as u32, ATTR as u32]);
    for (event, ids) in events {
        section.extend(attr_bytes(&event.attr));
        section.extend(words(&[ids.len() as u32]));
        section.extend(string(&event.name));
        section.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
    }
    section
}

fn numa(machine: &Machine) -> Vec<u8> {
    let mut section = words(&[machine.nodes.len() as u32]);
    for node in &machine.nodes {
        section.extend(words(&[node.number]));
        section.extend(node.total_kb.to_le_bytes());
        section.extend(node.free_kb.to_le_bytes());
        section.extend(string(&node.cpus));
    }
    section
}

/// Version, bytes of a block, nodes; each its number and the bitmap of its blocks.
fn memory(machine: &Machine) -> Vec<u8> {
    let mut words = vec![1, machine.block_size, machine.nodes.len() as u64];
    for node in &machine.nodes {
        // The bitmap begins with its own size.
        let bits = 64 * node.blocks.len() as u64;
        words.extend([u64::from(node.number), bits, bits]);
        words.extend(&node.blocks);
    }
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

fn pmu_mappings(machine: &Machine) -> Vec<u8> {
    let mut section = words(&[machine.pmus.len() as u32]);
    for pmu in &machine.pmus {
        section.extend(words(&[pmu.kind]));
        section.extend(string(&pmu.name));
    }
    section
}

/// `struct perf_record_header_build_id`: header, pid, id and its length, path.
fn build_id(file: &BuildId) -> Vec<u8> {
    /// `PERF_RECORD_MISC_BUILD_ID_SIZE`.
    const HAS_SIZE: u16 = 1 << 15;
    let id = file.id.get(..20).unwrap_or(&file.id);
    let path = (file.path.len() + 1).next_multiple_of(64);
    let size = 8 + 4 + 24 + path;
    // PERF_RECORD_MISC_KERNEL and _USER; the pid of the machine that is no guest is -1.
    let mode: u16 = if file.kernel { 1 } else { 2 };
    let mut bytes = 0u32.to_le_bytes().to_vec();
    bytes.extend((HAS_SIZE | mode).to_le_bytes());
    bytes.extend((size as u16).to_le_bytes());
    bytes.extend((-1i32).to_le_bytes());
    bytes.extend(id);
    bytes.resize(8 + 4 + 20, 0);
    bytes.extend([id.len() as u8, 0, 0, 0]);
    bytes.extend(file.path.as_bytes());
    bytes.resize(size, 0);
    bytes
}

/// The GNU build id of an ELF file. `None` where it has none or cannot be read.
pub fn build_id_of(path: &Path) -> Option<Vec<u8>> {
    use object::Object;
    let file = std::fs::File::open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    // SAFETY: the file is only looked at while it is parsed; a program that is being rewritten while
    // it runs (ETXTBSY guards against that) could at worst end this process.
    let map = unsafe { memmap2::Mmap::map(&file) }.ok()?;
    let elf = object::File::parse(&*map).ok()?;
    elf.build_id().ok().flatten().map(<[u8]>::to_vec)
}

/// The running kernel's id, from its notes: name, then a descriptor of 20 bytes at 16.
pub fn kernel_build_id() -> Option<BuildId> {
    let notes = std::fs::read("/sys/kernel/notes").ok()?;
    let mut rest = notes.as_slice();
    loop {
        let word = |at: usize| rest.get(at..).and_then(|b| b.first_chunk().copied());
        let name = u32::from_ne_bytes(word(0)?) as usize;
        let size = u32::from_ne_bytes(word(4)?) as usize;
        let kind = u32::from_ne_bytes(word(8)?);
        let begin = 12 + name.checked_next_multiple_of(4)?;
        let end = begin.checked_add(size)?;
        // NT_GNU_BUILD_ID
        if kind == 3 && rest.get(12..16) == Some(b"GNU\0") {
            return Some(BuildId {
                path: "[kernel.kallsyms]".to_owned(),
                id: rest.get(begin..end)?.to_vec(),
                kernel: true,
            });
        }
        rest = rest.get(end.checked_next_multiple_of(4)?..)?;
    }
}

/// Bytes of `PERF_RECORD_HEADER_FEATURE` and of `PERF_RECORD_EVENT_UPDATE`: what a reader needs of a
/// file that was never finished, in the stream itself.
pub fn in_stream(sections: &[(u32, Vec<u8>)], events: &[(Event, Vec<u64>)]) -> Vec<u8> {
    use super::file::{record, user};
    const NAME: u64 = 2;
    let mut stream = Vec::new();
    for (event, ids) in events {
        let Some(id) = ids.first() else { continue };
        let mut body = NAME.to_le_bytes().to_vec();
        body.extend(id.to_le_bytes());
        body.extend(event.name.as_bytes());
        body.push(0);
        stream.extend(record(user::EVENT_UPDATE, 0, &body).unwrap_or_default());
    }
    // perf refuses some of the others where it does not expect them.
    let wanted = [
        number::OSRELEASE,
        number::ARCH,
        number::CPUDESC,
        number::CPUID,
        number::PMU_MAPPINGS,
        number::CPU_PMU_CAPS,
    ];
    for (feature, section) in sections.iter().filter(|(f, _)| wanted.contains(f)) {
        let mut body = u64::from(*feature).to_le_bytes().to_vec();
        body.extend(section);
        stream.extend(record(user::HEADER_FEATURE, 0, &body).unwrap_or_default());
    }
    stream
}
