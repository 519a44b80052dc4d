//! A recording -> what there is to say of it. `schema` is the version of this structure.

use super::answers::{self, Answer, sampling};
use crate::recording::{Cell, Column, Damage, Event, Memory, Meta, NAMESPACES, Node, Recording};
use crate::tables::gap_name;
use perf_event_open_sys::bindings as sys;
use rustc_hash::FxHashSet;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that `mempath info` says.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Facts {
    pub schema: u32,
    pub recording: String,
    pub file_size: u64,
    /// `file`, `pipe` or `directory`.
    pub container: &'static str,
    pub byte_order: &'static str,
    pub compressed: bool,
    pub hostname: Option<String>,
    pub os_release: Option<String>,
    pub arch: Option<String>,
    pub cpu_desc: Option<String>,
    pub cpuid: Option<String>,
    pub perf_version: Option<String>,
    pub cmdline: Vec<String>,
    /// What the file itself says of levels or latencies that no hardware measured.
    pub modelled: Option<String>,
    /// All samples in the file.
    pub samples: u64,
    /// Those of them that are too short for what their event samples, or of no event.
    pub samples_unreadable: u64,
    pub events: Vec<EventFacts>,
    /// Samples that are memory accesses.
    pub accesses: u64,
    pub time: Option<Time>,
    pub cpus: Cpus,
    /// Processes and threads that samples are of.
    pub processes: u64,
    pub threads: u64,
    pub mappings: u64,
    /// Mapped files, the most often mapped first.
    pub images: Vec<Image>,
    /// Mapped files whose build id is known.
    pub build_ids: u64,
    /// Empty where they were not recorded (perf record --namespaces).
    pub namespaces: Vec<NamespaceFacts>,
    pub gaps: Vec<Gaps>,
    pub aux: Aux,
    pub damage: Vec<Damage>,
    pub answers: Vec<Answer>,
}

/// One event.
#[derive(Debug, Clone, Default, Serialize)]
pub struct EventFacts {
    pub name: String,
    /// `perf_event_attr.type`.
    #[serde(rename = "type")]
    pub kind: u32,
    pub config: u64,
    /// Samples of this event in the file.
    pub samples: u64,
    /// Whether it is a memory event: its samples are memory accesses with their data address.
    pub memory: bool,
    /// What its addresses and `data_src` are worth.
    pub memory_kind: Memory,
    /// Whose rules say what its `weight` and `data_src` mean.
    pub pmu: &'static str,
    /// `PERF_SAMPLE_*` without the prefix, in the order of the bits.
    pub sample_type: Vec<String>,
    /// Period, or frequency in Hz when `freq`.
    pub sample_period: u64,
    pub freq: bool,
    pub precise_ip: u8,
    pub ldlat: Option<u64>,
}

/// Of the samples that carry a time, nanoseconds on the recording's clock.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Time {
    pub first_ns: u64,
    pub last_ns: u64,
    pub span_ns: u64,
    pub clock: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Cpus {
    pub online: Option<u32>,
    pub available: Option<u32>,
    /// Numbers of the CPUs that samples were taken on, ascending; null when no event sampled them.
    pub sampled: Option<Vec<u16>>,
    /// NUMA nodes and the CPUs in them; empty where the recording does not say.
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Image {
    pub path: String,
    /// Lower-case hexadecimal.
    pub build_id: Option<String>,
    pub mappings: u64,
}

/// All gaps of one kind.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Gaps {
    pub kind: String,
    pub records: u64,
    /// Records or samples lost; 0 where the kernel does not say how many.
    pub lost: u64,
}

/// A mount or pid namespace.
#[derive(Debug, Clone, Default, Serialize)]
pub struct NamespaceFacts {
    /// `mnt`, `pid`, ..., as in `/proc/PID/ns`.
    pub kind: &'static str,
    pub inode: u64,
    /// The processes that were in it, by pid.
    pub pids: Vec<i32>,
}

/// What PMUs wrote by themselves.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Aux {
    /// `Intel PT`, `Arm SPE`, ...; as the file names them.
    pub kinds: Vec<String>,
    pub chunks: u64,
    pub bytes: u64,
}

impl Facts {
    pub fn of(recording: &Recording) -> Facts {
        let meta = &recording.meta;
        let left_out = recording.left_out;
        let usable = answers::Usable::of(recording);
        let images = images(recording);
        Facts {
            schema: 1,
            recording: recording.path.display().to_string(),
            file_size: meta.file_size,
            container: match meta {
                Meta {
                    directory: true, ..
                } => "directory",
                Meta { pipe: true, .. } => "pipe",
                _ => "file",
            },
            byte_order: if meta.big_endian { "big" } else { "little" },
            compressed: meta.compressed,
            hostname: meta.hostname.clone(),
            os_release: meta.os_release.clone(),
            arch: meta.arch.clone(),
            cpu_desc: meta.cpu_desc.clone(),
            cpuid: meta.cpuid.clone(),
            perf_version: meta.perf_version.clone(),
            cmdline: meta.cmdline.clone(),
            modelled: meta.modelled.clone(),
            samples: recording.samples.len() as u64 + left_out,
            samples_unreadable: left_out,
            events: recording.events.iter().map(EventFacts::of).collect(),
            accesses: usable.accesses,
            time: time(recording),
            cpus: cpus(recording),
            processes: processes(recording),
            threads: recording.samples.thread.values.len() as u64,
            mappings: recording.space.mappings.len() as u64,
            build_ids: images.iter().filter(|i| i.build_id.is_some()).count() as u64,
            images,
            namespaces: namespaces(recording),
            gaps: gaps(recording),
            aux: aux(recording),
            damage: recording.damage.clone(),
            answers: answers::answers(recording, &usable),
        }
    }
}

impl EventFacts {
    fn of(event: &Event) -> EventFacts {
        EventFacts {
            name: event.name.clone(),
            kind: event.kind,
            config: event.config,
            samples: event.samples,
            memory: matches!(
                event.memory,
                Memory::Sampled | Memory::Breakpoint | Memory::PageFault
            ),
            memory_kind: event.memory,
            pmu: event.pmu.pmu().name,
            sample_type: sample_type(event.sample_type),
            sample_period: event.sample_period,
            freq: event.freq,
            precise_ip: event.precise_ip,
            ldlat: event.ldlat,
        }
    }
}

/// Names of the bits, `include/uapi/linux/perf_event.h`, `enum perf_event_sample_format`.
fn sample_type(bits: u64) -> Vec<String> {
    const NAMES: [&str; 25] = [
        "IP",
        "TID",
        "TIME",
        "ADDR",
        "READ",
        "CALLCHAIN",
        "ID",
        "CPU",
        "PERIOD",
        "STREAM_ID",
        "RAW",
        "BRANCH_STACK",
        "REGS_USER",
        "STACK_USER",
        "WEIGHT",
        "DATA_SRC",
        "IDENTIFIER",
        "TRANSACTION",
        "REGS_INTR",
        "PHYS_ADDR",
        "AUX",
        "CGROUP",
        "DATA_PAGE_SIZE",
        "CODE_PAGE_SIZE",
        "WEIGHT_STRUCT",
    ];
    (0..64)
        .filter(|bit| bits >> bit & 1 != 0)
        .map(|bit| match NAMES.get(bit) {
            Some(name) => name.to_string(),
            None => format!("BIT{bit}"),
        })
        .collect()
}

/// The values of a column, of the samples whose event samples it.
fn values<'a, T: Cell>(
    recording: &'a Recording,
    column: &'a Column<T>,
    bit: sys::perf_event_sample_format,
) -> impl Iterator<Item = T> + 'a {
    let sampling = sampling(recording, bit);
    column
        .iter()
        .zip(recording.samples.event.iter())
        .filter(move |&(_, event)| sampling.get(usize::from(event)) == Some(&true))
        .map(|(value, _)| value)
}

fn time(recording: &Recording) -> Option<Time> {
    let (first_ns, last_ns) = values(recording, &recording.samples.time, sys::PERF_SAMPLE_TIME)
        .fold(None, |span, time| match span {
            None => Some((time, time)),
            Some((first, last)) => Some((time.min(first), time.max(last))),
        })?;
    Some(Time {
        first_ns,
        last_ns,
        span_ns: last_ns - first_ns,
        clock: recording.meta.clock.clone(),
    })
}

fn cpus(recording: &Recording) -> Cpus {
    let samples = sampling(recording, sys::PERF_SAMPLE_CPU).contains(&true);
    let sampled = samples.then(|| {
        let mut seen = vec![false; 1 << 16];
        for cpu in values(recording, &recording.samples.cpu, sys::PERF_SAMPLE_CPU) {
            if let Some(seen) = seen.get_mut(usize::from(cpu)) {
                *seen = true;
            }
        }
        (0..=u16::MAX)
            .filter(|&cpu| seen.get(usize::from(cpu)) == Some(&true))
            .collect()
    });
    Cpus {
        online: recording.meta.cpus_online,
        available: recording.meta.cpus_available,
        sampled,
        nodes: recording.meta.nodes.clone(),
    }
}

fn processes(recording: &Recording) -> u64 {
    let threads = &recording.samples.thread.values;
    let pids: FxHashSet<i32> = threads.iter().map(|&(pid, _)| pid).collect();
    pids.len() as u64
}

fn images(recording: &Recording) -> Vec<Image> {
    let space = &recording.space;
    let mut mappings = vec![0; space.images.len()];
    for mapping in &space.mappings {
        if let Some(count) = mappings.get_mut(mapping.image as usize) {
            *count += 1;
        }
    }
    let hex = |id: &Vec<u8>| id.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut images: Vec<Image> = space
        .images
        .iter()
        .zip(mappings)
        .map(|(image, mappings)| Image {
            path: image.path.clone(),
            build_id: image.build_id.as_ref().map(hex),
            mappings,
        })
        .collect();
    images.sort_by(|a, b| b.mappings.cmp(&a.mappings).then(a.path.cmp(&b.path)));
    images
}

/// Mount and pid namespaces: what paths and pids are relative to.
fn namespaces(recording: &Recording) -> Vec<NamespaceFacts> {
    let sets = recording.space.namespaces.sets();
    let mut all = Vec::new();
    for (at, kind) in NAMESPACES.into_iter().enumerate() {
        if !matches!(kind, "mnt" | "pid") {
            continue;
        }
        let mut of_kind: BTreeMap<u64, BTreeSet<i32>> = BTreeMap::new();
        for (set, pids) in &sets {
            if let Some(&inode @ 1..) = set.inodes.get(at) {
                of_kind.entry(inode).or_default().extend(pids);
            }
        }
        all.extend(of_kind.into_iter().map(|(inode, pids)| NamespaceFacts {
            kind,
            inode,
            pids: pids.into_iter().collect(),
        }));
    }
    all
}

fn gaps(recording: &Recording) -> Vec<Gaps> {
    let mut kinds: BTreeMap<String, Gaps> = BTreeMap::new();
    for gap in &recording.gaps {
        let kind = gap_name(gap.kind);
        let gaps = kinds.entry(kind.to_owned()).or_insert_with(|| Gaps {
            kind: kind.to_owned(),
            ..Gaps::default()
        });
        gaps.records += 1;
        gaps.lost = gaps.lost.saturating_add(gap.lost);
    }
    kinds.into_values().collect()
}

fn aux(recording: &Recording) -> Aux {
    let aux = &recording.aux;
    Aux {
        kinds: aux.infos.iter().map(|info| info.name()).collect(),
        chunks: aux.chunks.len() as u64,
        bytes: aux.chunks.iter().map(|chunk| chunk.len).sum(),
    }
}
