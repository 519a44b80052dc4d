//! `perf.data` -> [`Recording`]: the only place that knows byte offsets and record layouts.
//!
//! Nothing here knows Go. A field that an event did not sample is absent, never 0.

mod access;
mod attr;
mod aux;
mod classify;
mod column;
mod columns;
mod cursor;
mod decode;
mod deferred;
mod error;
mod features;
mod header;
mod held;
mod inflate;
mod intern;
mod namespaces;
mod nodes;
mod per_kind;
mod pieces;
mod plan;
mod processor;
mod reader;
mod recent;
mod records;
mod sample;
mod samples;
mod space;
mod walk;

pub use access::Access;
pub use attr::Attr;
pub use aux::{Aux, AuxChunk, AuxInfo, AuxRecord, Bytes, ItraceStart, Spans, TimeConv};
pub use classify::Refusal;
pub use column::{Cell, Column};
pub use cursor::{ByteOrder, Words};
pub use error::RecordingError;
pub use namespaces::{NAMESPACES, Namespaces, OfProcesses};
pub use nodes::{CpuList, Node, node_of, nodes_of};
pub use per_kind::PerKind;
pub use pieces::Pieces;
pub use processor::{Copied, Numbers, Processor};
pub use recent::{Recent, partition_near};
pub use records::Stamp;
pub use sample::{ABI_64, Branches, Counter, Counters, Registers, SampleBody, UserStack};
pub use samples::{CONTEXT_MAX, CONTEXT_USER, Chains, Interned, Regs, Samples};
pub use space::{AddressSpace, Image, ImageId, Mapped, Mapping, SpaceBuilder};

use held::{Held, Piece};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Reads the perf.data at `path`, or from stdin when it is `-`: in file or pipe format, or the folder
/// that `perf record --threads` makes of it.
///
/// What can be read in spite of damage is read, and [`Recording::damage`] says what was wrong.
///
/// # Errors
///
/// When there is no such file, or it is no perf.data, or its header is cut.
pub fn read(path: &Path) -> Result<Recording, RecordingError> {
    let held = Held::read(path)?;
    let mut recording = rayon::scope(|_| reader::read(&held.pieces()))?;
    recording.path = path.to_owned();
    if recording.needs_bytes() {
        recording.bytes.file = held;
        recording.decode();
    } else {
        // It takes the system a while to unmap a large file.
        rayon::spawn(|| drop(held));
    }
    Ok(recording)
}

/// Reads a perf.data from its bytes; `path` is only kept.
///
/// # Errors
///
/// As [`read`].
pub fn read_bytes(path: &Path, bytes: &[u8]) -> Result<Recording, RecordingError> {
    let whole = Piece {
        name: "",
        base: 0,
        bytes,
    };
    let mut recording = reader::read(&[whole])?;
    recording.path = path.to_owned();
    if recording.needs_bytes() {
        recording.bytes.file = Held::of(bytes.to_vec());
        recording.decode();
    }
    Ok(recording)
}

impl Recording {
    /// Makes samples of what PMUs wrote in languages of their own.
    fn decode(&mut self) {
        if crate::pmu::decode::decode(self) {
            classify::classify(self);
        }
    }

    /// The process that all samples are of, where each of their ips lies in one mapping from the first of
    /// them on. `None`, too, where there are too many ips for a table of them in each thread.
    pub fn steady_process(&self) -> Option<i32> {
        const MOST: usize = 1 << 16;
        let Samples {
            ip, thread, time, ..
        } = &self.samples;
        let whole = [thread.ids.len(), time.len()] == [self.samples.len(); 2];
        let mut pids = thread.values.iter().map(|&(pid, _)| pid);
        let pid = pids.next().filter(|_| whole && ip.values.len() <= MOST)?;
        let (first, _) = time.span()?;
        let one = pids.all(|other| other == pid);
        (one && self.space.stay(pid, &ip.values, first)).then_some(pid)
    }

    /// Whether something in it points to bytes of the file.
    fn needs_bytes(&self) -> bool {
        let Samples {
            raw,
            stack,
            regs_intr,
            ..
        } = &self.samples;
        let starts = [&raw.start, &stack.start, &regs_intr.start];
        !self.aux.chunks.is_empty() || starts.iter().any(|starts| !starts.is_empty())
    }
}

/// One perf.data, read whole.
#[derive(Debug, Default)]
pub struct Recording {
    pub path: PathBuf,
    pub meta: Meta,
    /// In the order of the file's attrs; `Samples::event` indexes it.
    pub events: Vec<Event>,
    pub space: AddressSpace,
    /// In file order: row `i` is the `i`-th `PERF_RECORD_SAMPLE` of the file, or of a folder's files one
    /// after the other.
    pub samples: Samples,
    /// Samples of the file that are in no row: too short for what their event samples, or in a file
    /// without events.
    pub left_out: u64,
    /// Places on the time axis where records are missing.
    pub gaps: Vec<Gap>,
    /// What was wrong with the file although it could be read: each names its byte offset.
    pub damage: Vec<Damage>,
    /// What PMUs wrote by themselves.
    pub aux: Aux,
    /// What `aux`, `Samples::raw` and `Samples::stack` point to.
    pub bytes: Bytes,
}

/// What the file says of the machine and of the recording.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Meta {
    pub hostname: Option<String>,
    pub os_release: Option<String>,
    pub arch: Option<String>,
    pub cpu_desc: Option<String>,
    /// As perf prints it: `GenuineIntel,6,106,6`, `AuthenticAMD,25,17,1`, or a MIDR.
    pub cpuid: Option<String>,
    pub perf_version: Option<String>,
    pub cmdline: Vec<String>,
    pub cpus_online: Option<u32>,
    pub cpus_available: Option<u32>,
    pub total_memory_kb: Option<u64>,
    /// Clock id of the sample times, where the file names one.
    pub clock: Option<String>,
    pub pipe: bool,
    /// A folder of files, as `perf record --threads` makes it.
    #[serde(default)]
    pub directory: bool,
    pub big_endian: bool,
    pub compressed: bool,
    /// Size of the file, or of the files together, in bytes.
    pub file_size: u64,
    /// What the file itself says of levels or latencies that no hardware measured.
    pub modelled: Option<String>,
    /// Number (`perf_event_attr.type`) and name of each PMU of the machine.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pmus: Vec<(u32, String)>,
    /// PMU, name and value of what sysfs says in its `caps` folder; on a machine of one kind of core
    /// the PMU is called `cpu`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pmu_caps: Vec<(String, String, String)>,
    /// NUMA nodes with their CPUs; empty where the file does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<Node>,
}

impl Meta {
    /// Of the words in the file.
    pub fn order(&self) -> ByteOrder {
        match self.big_endian {
            true => ByteOrder::Big,
            false => ByteOrder::Little,
        }
    }
}

/// One event of the recording: its attr, as far as it bears on the samples.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Event {
    pub name: String,
    /// `perf_event_attr.type`.
    pub kind: u32,
    pub config: u64,
    /// `bp_addr` of a breakpoint.
    pub config1: u64,
    /// `bp_len` of a breakpoint.
    pub config2: u64,
    pub bp_type: u32,
    /// `PERF_SAMPLE_*` bits.
    pub sample_type: u64,
    pub read_format: u64,
    /// Period, or frequency in Hz when `freq`.
    pub sample_period: u64,
    pub freq: bool,
    /// 0 arbitrary skid, 1 constant skid, 2 requested zero, 3 zero.
    pub precise_ip: u8,
    pub exclude_kernel: bool,
    pub sample_regs_user: u64,
    pub sample_regs_intr: u64,
    /// Loads below this many cycles are not in the recording (Intel load latency, AMD IBS).
    pub ldlat: Option<u64>,
    pub ids: Vec<u64>,
    /// Samples of this event in the file.
    pub samples: u64,
    /// What this event's addresses and `data_src` are worth.
    pub memory: Memory,
    /// Whose rules say what `weight` and `data_src` mean.
    pub pmu: crate::pmu::Kind,
    /// Which fields its samples have, by those rules.
    #[serde(default)]
    pub fields: crate::pmu::FieldTable,
}

/// Whether an event is a memory event, and of what kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// No data addresses: not a memory event.
    #[default]
    No,
    /// `ADDR` and `DATA_SRC` are sampled, but every `data_src` is N/A (`--call-graph dwarf` sets both).
    Decoy,
    /// Loads or stores with a `data_src` that says something.
    Sampled,
    /// A hardware breakpoint: every access to a few words, in order, without level or latency.
    Breakpoint,
    /// Page faults: addresses, without level or latency.
    PageFault,
    /// A helper leader such as `mem-loads-aux`: its samples are no accesses.
    Auxiliary,
}

/// Records missing from the time axis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Nanoseconds on the recording's clock; `None` when the record carries no time.
    pub time_ns: Option<u64>,
    pub cpu: Option<u32>,
    pub kind: GapKind,
    /// Records or samples lost; 0 where the kernel does not say how many.
    pub lost: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    Lost,
    LostSamples,
    Throttle,
    Unthrottle,
    /// The buffer of AUX data was full.
    AuxTruncated,
    /// AUX data has holes: Intel PT beside a virtual machine.
    AuxPartial,
    /// Arm SPE: a sample began before the one before it had ended.
    AuxCollision,
}

/// Something wrong at a place of the file; what came before it was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    pub offset: u64,
    /// One sentence: which rule of the format was broken, and what was done.
    pub rule: String,
}
