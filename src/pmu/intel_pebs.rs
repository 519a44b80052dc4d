//! Intel PEBS: `mem-loads` (load latency) and `mem-stores`.
//!
//! `arch/x86/events/intel/ds.c` (`load_latency_data`, `store_latency_data`, `precise_store_data`,
//! `precise_datala_hsw`, `setup_pebs_adaptive_sample_data`) and `core.c`, `intel_pmu_init`.
//!
//! ```text
//!                       loads (0x1cd; Atom 0x5d0)        stores
//! Nehalem, Westmere     level snoop latency              none
//! Sandy, Ivy Bridge     + tlb locked                     0x2cd: in L1 or not, tlb, locked
//! Haswell .. Ice Lake   the same                         0xd0: in L1 or not
//! Golden Cove on, Atom  + blocked                        0x2cd, 0x6d0: as loads, but blocked
//!   from Gracemont on
//! ```
//!
//! The latency is use latency, queueing included, up to Ice Lake. From Golden Cove on `weight`
//! (`var1_dw` of `WEIGHT_STRUCT`) is the part spent on the cache access, `var2_w` the whole, from
//! dispatch to retirement. Of any other event `weight` counts cycles of a transaction, no latency.

use super::{FieldTable, Fields, Ip, Kind, Pmu, Validity::*, family_and_model, term, vendor};
use crate::data_src::Blocked;
use crate::recording::{Event, Memory, Meta};
use perf_event_open_sys::bindings as sys;

/// How a core's PEBS record tells of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Core {
    Nehalem,
    SandyBridge,
    /// Haswell to Rocket Lake.
    Haswell,
    GoldenCove,
    /// Gracemont, Crestmont, Skymont: the E-cores, and Atoms of their age.
    Gracemont,
    Unknown,
}

/// What an event samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Samples {
    LoadLatency,
    Stores,
    Other,
}

/// By family and model, `arch/x86/include/asm/intel-family.h`.
fn core(event: &Event, meta: &Meta) -> Core {
    if event.name.contains("cpu_atom") || event.name.contains("cpu_lowpower") {
        return Core::Gracemont;
    }
    let model = match family_and_model(meta) {
        Some((6, model)) => model,
        // Nova Lake and Diamond Rapids tell what Golden Cove tells, `pnc_latency_data`.
        Some((18 | 19, _)) => return Core::GoldenCove,
        _ => return Core::Unknown,
    };
    match model {
        26 | 30 | 31 | 46 | 37 | 44 | 47 => Core::Nehalem,
        42 | 45 | 58 | 62 => Core::SandyBridge,
        60 | 63 | 69 | 70 | 61 | 71 | 79 | 86 => Core::Haswell,
        78 | 85 | 94 | 102 | 142 | 158 | 165 | 166 => Core::Haswell,
        106 | 108 | 125 | 126 | 140 | 141 | 157 | 167 => Core::Haswell,
        // Sapphire, Emerald, Granite Rapids; Bartlett Lake; the P-cores of Alder to Panther Lake.
        143 | 207 | 173 | 174 | 215 => Core::GoldenCove,
        151 | 154 | 183 | 186 | 191 | 170 | 172 | 181 | 189 | 197 | 198 => Core::GoldenCove,
        204 | 213 | 229 => Core::GoldenCove,
        // Alder Lake-N, Sierra Forest, Grand Ridge, Clearwater Forest.
        190 | 175 | 182 | 221 => Core::Gracemont,
        _ => Core::Unknown,
    }
}

/// By event and umask, else by name.
fn samples(event: &Event, core: Core) -> Samples {
    match (event.config & 0xffff, core) {
        (0x01cd | 0x05d0, _) => return Samples::LoadLatency,
        (0x100b, Core::Nehalem | Core::Unknown) => return Samples::LoadLatency,
        (0x02cd | 0x06d0, _) => return Samples::Stores,
        // MEM_UOPS_RETIRED, later MEM_INST_RETIRED: all, STLB misses, locked, split.
        (0x82d0 | 0x12d0 | 0x22d0 | 0x42d0, Core::Haswell | Core::Unknown) => {
            return Samples::Stores;
        }
        _ => {}
    }
    let name = event.name.to_ascii_lowercase();
    if name.contains("mem-loads") || name.contains("load_latency") {
        Samples::LoadLatency
    } else if name.contains("mem-stores") || name.contains("store_sample") {
        Samples::Stores
    } else {
        Samples::Other
    }
}

const NO_SUCH_ACCESS: Fields = Fields::all(NotApplicable);

fn loads(core: Core) -> Fields {
    let known = Fields {
        level: Valid,
        latency: Valid,
        snoop: Valid,
        tlb: Valid,
        locked: Valid,
        blocked: Valid,
    };
    match core {
        Core::Nehalem => Fields {
            tlb: Absent,
            locked: Absent,
            blocked: Absent,
            ..known
        },
        Core::SandyBridge | Core::Haswell => Fields {
            blocked: Absent,
            ..known
        },
        Core::GoldenCove | Core::Gracemont => known,
        // `data_src` writes N/A itself for what the core does not tell.
        Core::Unknown => Fields {
            tlb: Unknown,
            locked: Unknown,
            blocked: Unknown,
            ..known
        },
    }
}

fn stores(core: Core) -> Fields {
    let only_level = Fields {
        level: Valid,
        blocked: NotApplicable,
        ..Fields::all(Absent)
    };
    match core {
        Core::Nehalem => Fields::all(Absent),
        Core::SandyBridge => Fields {
            tlb: Valid,
            locked: Valid,
            ..only_level
        },
        Core::Haswell => only_level,
        Core::GoldenCove | Core::Gracemont => Fields {
            blocked: NotApplicable,
            ..Fields::all(Valid)
        },
        Core::Unknown => Fields {
            level: Valid,
            blocked: NotApplicable,
            ..Fields::all(Unknown)
        },
    }
}

fn notes(event: &Event, meta: &Meta) -> Vec<String> {
    let core = core(event, meta);
    let newer = matches!(core, Core::GoldenCove | Core::Gracemont);
    let name = &event.name;
    let stores = event.memory == Memory::Sampled && samples(event, core) == Samples::Stores;
    let mut notes = Vec::new();
    if event.memory == Memory::Sampled && newer {
        notes.push(format!(
            "{name}: on this core latency is the time of the cache access alone; cores up to Ice Lake \
             count all the time from dispatch on"
        ));
    }
    if stores && matches!(core, Core::SandyBridge | Core::Haswell) {
        notes.push(format!(
            "{name}: of stores this core tells only whether they were in L1; they have no latency and \
             never show as misses of the last-level cache"
        ));
    }
    notes
}

pub(super) const PMU: Pmu = Pmu {
    kind: Kind::IntelPebs,
    name: "Intel PEBS",
    owns: |event, meta| {
        vendor(meta, "GenuineIntel")
            && event.kind != sys::PERF_TYPE_SOFTWARE
            && event.kind != sys::PERF_TYPE_TRACEPOINT
    },
    fields: |event, meta| {
        let core = core(event, meta);
        match samples(event, core) {
            Samples::LoadLatency => FieldTable {
                loads: loads(core),
                stores: NO_SUCH_ACCESS,
            },
            Samples::Stores => FieldTable {
                loads: NO_SUCH_ACCESS,
                stores: stores(core),
            },
            Samples::Other => {
                let fields = Fields {
                    latency: Absent,
                    ..Fields::all(Unknown)
                };
                FieldTable {
                    loads: fields,
                    stores: fields,
                }
            }
        }
    },
    ip: Ip::Precise,
    // The PEBS record holds the registers after the sampled instruction.
    regs_sound: true,
    latency: |weight, _, _| Some(weight.first()),
    threshold: |event| {
        let load_latency = event.kind >= sys::PERF_TYPE_RAW
            && matches!(event.config & 0xffff, 0x01cd | 0x05d0 | 0x100b);
        // The attr is what the kernel programmed; a name can be an alias.
        match load_latency && event.config1 & 0xffff != 0 {
            true => Some(event.config1 & 0xffff),
            false => term(event, "ldlat"),
        }
    },
    // Where a core tells of blocked loads, its N/A is a load that was not blocked.
    refine: |_, fields, access| {
        if fields.blocked == Valid {
            access.blocked = access.blocked.or(Some(Blocked {
                data: false,
                addr: false,
            }));
        }
    },
    notes,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, config: u64) -> Event {
        Event {
            name: name.to_owned(),
            kind: sys::PERF_TYPE_RAW,
            config,
            memory: Memory::Sampled,
            ..Event::default()
        }
    }

    fn table(model: u32, event: &Event) -> FieldTable {
        let meta = Meta {
            cpuid: Some(format!("GenuineIntel,6,{model},1")),
            ..Meta::default()
        };
        (PMU.fields)(event, &meta)
    }

    /// level, latency, snoop, tlb, locked, blocked: v(alid), a(bsent), n(ot applicable), u(nknown).
    fn letters(fields: Fields) -> String {
        fields
            .named()
            .iter()
            .filter_map(|(_, validity)| validity.name().chars().next())
            .collect()
    }

    /// `ds.c`: `pebs_no_tlb` on Nehalem, "Ice Lake and earlier models do not support block infos".
    #[test]
    fn what_loads_tell_grew_with_the_cores() {
        let loads = event("cpu/mem-loads,ldlat=30/P", 0x1cd);
        for (model, told) in [
            (26, "vvvaaa"),  // Nehalem
            (45, "vvvvva"),  // Sandy Bridge
            (85, "vvvvva"),  // Skylake-SP
            (106, "vvvvva"), // Ice Lake-SP
            (143, "vvvvvv"), // Sapphire Rapids
            (190, "vvvvvv"), // Gracemont
            (300, "vvvuuu"), // not known
        ] {
            assert_eq!(letters(table(model, &loads).loads), told, "{model}");
            assert_eq!(letters(table(model, &loads).stores), "nnnnnn", "{model}");
        }
    }

    /// `precise_store_data`, `precise_datala_hsw`, `store_latency_data`.
    #[test]
    fn what_stores_tell_grew_with_the_cores() {
        for (model, config, told) in [
            (45, 0x2cd, "vaavvn"),
            (60, 0x82d0, "vaaaan"),
            (106, 0x82d0, "vaaaan"),
            (143, 0x2cd, "vvvvvn"),
            (190, 0x6d0, "vvvvvn"),
        ] {
            let stores = event("r", config);
            assert_eq!(letters(table(model, &stores).stores), told, "{model}");
        }
    }

    /// `intel-family.h`: Diamond Rapids and Nova Lake are of families of their own.
    #[test]
    fn the_newest_cores_are_known() {
        let loads = event("cpu/mem-loads,ldlat=30/P", 0x1cd);
        for cpuid in [
            "GenuineIntel,19,1,0",
            "GenuineIntel,18,3,0",
            "GenuineIntel,6,215,0",
            "GenuineIntel,6,213,0",
            "GenuineIntel,6,229,0",
        ] {
            let meta = Meta {
                cpuid: Some(cpuid.to_owned()),
                ..Meta::default()
            };
            assert_eq!(
                letters((PMU.fields)(&loads, &meta).loads),
                "vvvvvv",
                "{cpuid}"
            );
        }
    }

    #[test]
    fn the_cores_of_a_hybrid_are_told_apart_by_the_event() {
        let alder_lake = 151;
        let atom = event("cpu_atom/mem-stores/P", 0x6d0);
        let core = event("cpu_core/mem-stores/P", 0x2cd);
        assert_eq!(table(alder_lake, &atom).stores.latency, Valid);
        assert_eq!(table(alder_lake, &core).stores.latency, Valid);
    }

    #[test]
    fn the_weight_of_another_event_is_no_latency() {
        let retired = event("mem_inst_retired.all_loads", 0x81d0);
        assert_eq!(letters(table(85, &retired).loads), "uauuuu");
    }

    #[test]
    fn the_threshold_comes_from_the_attr_before_the_name() {
        let mut loads = event("cpu/mem-loads,ldlat=30/P", 0x1cd);
        assert_eq!((PMU.threshold)(&loads), Some(30));
        loads.config1 = 50;
        assert_eq!((PMU.threshold)(&loads), Some(50));
        loads.name = "r1cd".to_owned();
        assert_eq!((PMU.threshold)(&loads), Some(50));
        assert_eq!((PMU.threshold)(&event("r82d0", 0x82d0)), None);
    }
}
