//! AMD IBS: `ibs_op//`.
//!
//! `arch/x86/events/amd/ibs.c` (`perf_ibs_parse_ld_st_data`, `perf_ibs_get_mem_lvl`,
//! `perf_ibs_get_mem_snoop`). Tags any micro-op: one that is no load or store has neither op nor
//! level. Stores tell of L1 and L2 only, `DataSrc` is of loads. The latency (`IbsDcMissLat`, in `WEIGHT` or
//! `var1_dw`; `var2_w` counts from tag to retirement) is of loads that missed L1 and were cacheable.

pub mod decode;
pub mod registers;

use super::{
    FieldTable, Fields, Ip, Kind, Pmu, Validity::*, family_and_model, of_pmu, term, vendor,
};
use crate::data_src::{Level, Op};
use crate::recording::{Event, Memory, Meta};
use perf_event_open_sys::bindings as sys;

/// Family and model of the recording machine, as far as errata go by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    pub family: u32,
    pub model: u32,
}

impl Cpu {
    /// Of an AMD recording.
    pub fn of(meta: &Meta) -> Option<Cpu> {
        let (family, model) = family_and_model(meta).filter(|_| vendor(meta, "AuthenticAMD"))?;
        Some(Cpu { family, model })
    }

    /// Erratum 1293 (Zen 3 servers): a software prefetch, or a miss without a MAB of its own, has
    /// neither a valid `IbsOpData2` nor a valid L2Miss.
    fn drops_data_src(self) -> bool {
        self.family == 0x19 && self.model <= 0xf
    }

    /// Zen 3 does not tell whether the line was modified, `perf_ibs_cache_hit_st_valid`.
    fn tells_modified(self) -> bool {
        !(self.family == 0x19 && matches!(self.model, 0..=0xf | 0x20..=0x5f))
    }
}

/// By the PMU's name or number, or because the kernel hands the event to it.
fn is_ibs_op(event: &Event, meta: &Meta) -> bool {
    of_pmu(event, meta, "ibs_op") || is_forwarded(event)
}

/// Whether the kernel has IBS count it: precise cycles and micro-ops, `forward_event_to_ibs`.
fn is_forwarded(event: &Event) -> bool {
    let counted = match event.kind {
        sys::PERF_TYPE_HARDWARE => event.config == u64::from(sys::PERF_COUNT_HW_CPU_CYCLES),
        sys::PERF_TYPE_RAW => matches!(event.config, 0x76 | 0xc1),
        _ => false,
    };
    counted && event.precise_ip != 0
}

/// `IbsOpCtl[16]`.
fn l3_miss_only(event: &Event) -> bool {
    event.config >> 16 & 1 != 0 || event.name.contains("l3missonly=1")
}

fn notes(event: &Event, meta: &Meta) -> Vec<String> {
    let name = &event.name;
    let mut notes = Vec::new();
    if event.memory != Memory::Sampled {
        return notes;
    }
    if let Some(cpu) = Cpu::of(meta).filter(|cpu| !cpu.tells_modified()) {
        let dropped = match cpu.drops_data_src() {
            true => ", and drops the level of some loads (erratum 1293)",
            false => "",
        };
        notes.push(format!(
            "{name}: Zen 3 does not tell whether another core had modified the line (HITM){dropped}"
        ));
    }
    if l3_miss_only(event) {
        notes.push(format!(
            "{name} was recorded with l3missonly: only accesses that missed L3 are in it, and how many \
             there were of all cannot be known"
        ));
    }
    if event.config1 >> 12 & 1 != 0 {
        notes.push(format!(
            "{name} was recorded with strmst: of stores only streaming ones are in it"
        ));
    }
    // Erratum 1606 of Zen 5; the first kernels with ldlat (6.15) do so on every core.
    if event.config1 & 0xfff != 0 {
        notes.push(format!(
            "{name}: with ldlat the kernel sets l3missonly, on Zen 5 always: there may be no access in it \
             that a cache served"
        ));
    }
    notes
}

pub(super) const PMU: Pmu = Pmu {
    kind: Kind::AmdIbs,
    name: "AMD IBS",
    // The PMU of the cores fills in no `data_src`: where there is one, IBS has counted.
    owns: |event, meta| {
        of_pmu(event, meta, "ibs_op")
            || (vendor(meta, "AuthenticAMD")
                && event.memory == Memory::Sampled
                && (event.kind > sys::PERF_TYPE_BREAKPOINT || is_forwarded(event)))
    },
    fields: |_, meta| {
        let snoop = match Cpu::of(meta) {
            Some(cpu) if cpu.tells_modified() => Valid,
            Some(_) => Absent,
            None => Unknown,
        };
        FieldTable {
            loads: Fields {
                snoop,
                blocked: Absent,
                ..Fields::all(Valid)
            },
            stores: Fields {
                level: Valid,
                latency: Absent,
                snoop: Absent,
                tlb: Valid,
                locked: Valid,
                blocked: NotApplicable,
            },
        }
    },
    ip: Ip::Exact,
    // The registers and the call chain are the interrupt's, some instructions later.
    regs_sound: false,
    latency: |weight, op, level| match (op, level) {
        (_, Some(Level::L0 | Level::L1 | Level::Uncached)) => None,
        (Op::Load | Op::LoadStore, _) => Some(weight.first()),
        _ => None,
    },
    // Counted in steps of 128 cycles.
    threshold: |event| {
        let config = event.config1 & 0xfff;
        (config != 0).then_some(config).or(term(event, "ldlat"))
    },
    refine: |data_src, fields, access| {
        // The kernel writes N/A for an access without a lock prefix.
        if fields.locked == Valid && access.op.is_some() {
            access.locked = access.locked.or(Some(false));
        }
        // Kernels before 6.5 have only the old mask; its first remote hop is another CCX of the node.
        if access.level == Some(Level::RemoteCache) && data_src.is_near_ccx() {
            access.level = Some(Level::PeerCache);
        }
    },
    notes,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pmu::Weight;

    fn snoop(cpuid: &str) -> crate::pmu::Validity {
        let meta = Meta {
            cpuid: Some(cpuid.to_owned()),
            ..Meta::default()
        };
        (PMU.fields)(&Event::default(), &meta).loads.snoop
    }

    /// `perf_ibs_cache_hit_st_valid`.
    #[test]
    fn zen_3_does_not_tell_of_modified_lines() {
        assert_eq!(snoop("AuthenticAMD,23,49,0"), Valid); // Zen 2
        assert_eq!(snoop("AuthenticAMD,25,1,1"), Absent); // Milan
        assert_eq!(snoop("AuthenticAMD,25,80,0"), Absent); // Cezanne
        assert_eq!(snoop("AuthenticAMD,25,17,1"), Valid); // Genoa
        assert_eq!(snoop("AuthenticAMD,26,2,1"), Valid); // Turin
        assert_eq!(snoop("GenuineIntel,6,106,6"), Unknown);
    }

    #[test]
    fn what_a_core_or_a_filter_leaves_out_is_told() {
        let event = Event {
            name: "ibs_op//".to_owned(),
            config: 1 << 16,
            config1: 256,
            memory: Memory::Sampled,
            ..Event::default()
        };
        let told = |cpuid: &str| {
            let meta = Meta {
                cpuid: Some(cpuid.to_owned()),
                ..Meta::default()
            };
            let notes = notes(&event, &meta).join("\n");
            ["HITM", "erratum 1293", "missed L3 are in it", "with ldlat"]
                .map(|told| notes.contains(told))
        };
        assert_eq!(told("AuthenticAMD,25,1,1"), [true, true, true, true]);
        assert_eq!(told("AuthenticAMD,25,80,0"), [true, false, true, true]);
        assert_eq!(told("AuthenticAMD,25,17,1"), [false, false, true, true]);
        assert_eq!((PMU.threshold)(&event), Some(256));
    }

    #[test]
    fn latency_is_of_cacheable_loads_beyond_l1() {
        let latency = |op, level| (PMU.latency)(Weight::Whole(40), op, level);
        assert_eq!(latency(Op::Load, Some(Level::L1)), None);
        assert_eq!(latency(Op::Load, Some(Level::Uncached)), None);
        assert_eq!(latency(Op::Load, Some(Level::L2)), Some(40));
        assert_eq!(latency(Op::Load, None), Some(40));
        assert_eq!(latency(Op::Store, None), None);
    }
}
