//! Arm SPE: `arm_spe_0//`, whose samples are packets in AUX data until somebody decodes them: this
//! folder, or `perf inject --itrace` before it.
//!
//! `tools/perf/util/arm-spe.c`, `drivers/perf/arm_spe_pmu.c`. One record is one operation, memory or
//! not, and becomes one sample. `weight` is the total latency, from the start of sampling to completion.
//! Data sources are each core's own, and of loads only.

pub mod data_source;
pub mod decode;
pub mod packet;
pub mod record;

use super::{FieldTable, Fields, Ip, Kind, Pmu, Validity::*, no_notes};
use crate::data_src::Tlb;
use crate::recording::{Event, Memory, Meta};
use data_source::{Midr, data_src};
use perf_event_open_sys::bindings as sys;
use record::{Record, event};

/// Type of `PERF_RECORD_AUXTRACE_INFO`, `enum auxtrace_type` of `tools/perf/util/auxtrace.h`.
pub const AUXTRACE_TYPE: u32 = 4;

/// The events that `perf inject --itrace` makes of SPE records, `arm_spe_synth_events`: one record is
/// in several of them. The one that holds most accesses comes first.
const DERIVED: [&str; 9] = [
    "memory",
    "l1d-access",
    "tlb-access",
    "llc-access",
    "l1d-miss",
    "llc-miss",
    "tlb-miss",
    "remote-access",
    "instructions",
];

fn is_derived(event: &Event, meta: &Meta) -> bool {
    event.memory == Memory::Sampled
        && DERIVED.contains(&event.name.as_str())
        && meta.arch.as_deref() == Some("aarch64")
}

/// Leaves one of the events that were made of the same records: what the others count is counted once.
pub fn count_once(events: &mut [Event], meta: &Meta) {
    let mut derived: Vec<&mut Event> = events
        .iter_mut()
        .filter(|event| is_derived(event, meta))
        .collect();
    derived.sort_by_key(|event| DERIVED.iter().position(|name| *name == event.name));
    for event in derived.into_iter().skip(1) {
        event.memory = Memory::Auxiliary;
    }
}

/// `PERF_RECORD_MISC_CPUMODE` of an instruction at this exception level.
fn cpumode(el: Option<u8>) -> u8 {
    (match el {
        None => sys::PERF_RECORD_MISC_CPUMODE_UNKNOWN,
        Some(0) => sys::PERF_RECORD_MISC_USER,
        Some(1 | 2) => sys::PERF_RECORD_MISC_KERNEL,
        Some(_) => sys::PERF_RECORD_MISC_HYPERVISOR,
    }) as u8
}

/// What a record is as a sample: 0 where it tells nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    pub ip: u64,
    pub addr: u64,
    pub phys_addr: u64,
    /// Total latency in cycles.
    pub weight: u64,
    pub data_src: u64,
    pub cpumode: u8,
    /// Counts of the generic timer.
    pub timestamp: Option<u64>,
    /// The thread, where the kernel says it.
    pub tid: Option<i32>,
}

impl Sample {
    pub fn of(record: &Record, core: Core) -> Sample {
        Sample {
            ip: record.ip.unwrap_or(0),
            addr: record.addr.unwrap_or(0),
            phys_addr: record.phys_addr.unwrap_or(0),
            weight: record.total_latency.unwrap_or(0),
            data_src: data_src(record, core.midr, core.events & event::SNOOPED != 0),
            cpumode: cpumode(record.el),
            timestamp: record.timestamp,
            tid: record.context.and_then(|id| i32::try_from(id).ok()),
        }
    }
}

/// One core, as far as decoding its records needs it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Core {
    pub midr: Midr,
    /// Events that it can filter by, and so has.
    pub events: u64,
}

/// The cores of the recording machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cores {
    /// By CPU number.
    told: Vec<(u64, Core)>,
    /// Of every CPU not told one by one.
    other: Core,
}

impl Cores {
    /// Reads the words after type and padding of `PERF_RECORD_AUXTRACE_INFO`. Its first version has
    /// two words and nothing of cores: all are then the one of the file's cpuid.
    ///
    /// `tools/perf/util/arm-spe.h`.
    pub fn new(words: &[u64], meta: &Meta) -> Cores {
        const VERSION_1: usize = 2;
        const MAGIC: u64 = 0x1010_1010_1010_1010;
        let cpuid = meta.cpuid.as_deref().unwrap_or("");
        let digits = cpuid.trim_start_matches("0x");
        let midr = Midr(u64::from_str_radix(digits, 16).unwrap_or(0));
        let mut cores = Cores {
            told: Vec::new(),
            other: Core { midr, events: 0 },
        };
        if words.len() <= VERSION_1 {
            return cores;
        }
        // version, words of this header, PMU type, CPUs; then for each CPU: magic, CPU, words that
        // follow, MIDR, PMU type, least interval, events.
        let header = words.get(1).and_then(|&len| usize::try_from(len).ok());
        let mut rest = header.and_then(|at| words.get(at..)).unwrap_or(&[]);
        while let [MAGIC, cpu, len, after @ ..] = rest {
            let Some(own) = usize::try_from(*len).ok().and_then(|len| after.get(..len)) else {
                break;
            };
            let word = |i: usize| own.get(i).copied().unwrap_or(0);
            let midr = Midr(word(0));
            cores.told.push((
                *cpu,
                Core {
                    midr,
                    events: word(3),
                },
            ));
            rest = after.get(own.len()..).unwrap_or(&[]);
        }
        // Per-thread recordings name no CPU: fine while all are alike.
        if let [(_, first), others @ ..] = cores.told.as_slice() {
            cores.other = match others.iter().all(|(_, core)| core == first) {
                true => *first,
                false => Core::default(),
            };
        }
        cores
    }

    /// The core of this CPU, or of any.
    pub fn of(&self, cpu: Option<u32>) -> Core {
        let told = cpu.and_then(|cpu| self.told.iter().find(|(own, _)| *own == u64::from(cpu)));
        told.map_or(self.other, |(_, core)| *core)
    }
}

pub(super) const PMU: Pmu = Pmu {
    kind: Kind::ArmSpe,
    name: "Arm SPE",
    owns: |event, meta| event.name.contains("arm_spe") || is_derived(event, meta),
    fields: |_, meta| {
        let known = |encoded, by_events| match Cores::new(&[], meta).other.midr {
            Midr(0) => Unknown,
            midr if midr.encoding().is_some() => encoded,
            _ => by_events,
        };
        FieldTable {
            loads: Fields {
                level: Valid,
                latency: Valid,
                snoop: known(Valid, Unknown),
                tlb: Valid,
                locked: Absent,
                blocked: Absent,
            },
            stores: Fields {
                level: known(Absent, Valid),
                latency: Valid,
                snoop: known(Absent, Unknown),
                tlb: Valid,
                locked: Absent,
                blocked: NotApplicable,
            },
        }
    },
    ip: Ip::Exact,
    regs_sound: false,
    latency: |weight, _, _| Some(weight.first()),
    // `min_latency`.
    threshold: |event| Some(event.config2 & 0xfff).filter(|&cycles| cycles != 0),
    // perf says "walker hit" of an access that needed no walk.
    refine: |data_src, _, access| {
        if access.tlb == Some(Tlb::Walk) && data_src.has_tlb_hit() {
            access.tlb = Some(Tlb::L1OrL2Hit);
        }
    },
    notes: |event, meta| {
        let mut notes = no_notes(event, meta);
        if Cores::new(&[], meta).other.midr.is_neoverse_n1() {
            notes.push(format!(
                "{}: Neoverse N1 samples the targets of branches too often (Arm erratum 1694299)",
                event.name
            ));
        }
        notes
    },
};

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(cpuid: &str) -> Meta {
        Meta {
            cpuid: Some(cpuid.to_owned()),
            ..Meta::default()
        }
    }

    #[test]
    fn cores_are_told_one_by_one_or_by_the_cpuid() {
        let (n1, a53) = (Midr(0x413f_d0c1), Midr(0x410f_d034));
        let all = Cores::new(&[9, 1], &meta("0x00000000413fd0c1"));
        assert_eq!(
            all.of(Some(3)),
            Core {
                midr: n1,
                events: 0
            }
        );
        assert_eq!(all.of(None).midr, n1);

        const MAGIC: u64 = 0x1010_1010_1010_1010;
        let words = [
            2, 4, 9, 2, // header
            MAGIC, 0, 4, n1.0, 9, 1024, 0xff, // CPU 0
            MAGIC, 1, 4, a53.0, 9, 1024, 0,
        ];
        let told = Cores::new(&words, &Meta::default());
        assert_eq!(
            told.of(Some(0)),
            Core {
                midr: n1,
                events: 0xff
            }
        );
        assert_eq!(told.of(Some(1)).midr, a53);
        // Without a CPU it could be either.
        assert_eq!(told.of(None), Core::default());
        // Cut in the second CPU.
        let cut = Cores::new(&words[..16], &Meta::default());
        assert_eq!(cut.of(Some(1)).midr, n1);
    }

    #[test]
    fn stores_have_a_level_only_by_event_bits() {
        let stores = |cpuid: &str| {
            let meta = if cpuid.is_empty() {
                Meta::default()
            } else {
                meta(cpuid)
            };
            (PMU.fields)(&Event::default(), &meta).stores.level
        };
        assert_eq!(stores("0x00000000413fd0c1"), Absent);
        assert_eq!(stores("0x00000000410fd034"), Valid);
        assert_eq!(stores(""), Unknown);
    }
}
