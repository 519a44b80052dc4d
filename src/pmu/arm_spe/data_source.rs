//! A record -> the `data_src` that perf makes of it.
//!
//! Data-source codes are each core's own; on a core without a table, and for a load without such a
//! packet, the event bits tell. `tools/perf/util/arm-spe.c`, `arm_spe__synth_data_source`.

use super::record::{Record, event};
use perf_event_open_sys::bindings as sys;

/// `MIDR_EL1`: which core it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Midr(pub u64);

/// How a core numbers its data sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Neoverse and Cortex, by their reference manuals.
    Common,
    AmpereOne,
    /// HiSilicon HIP12.
    Hip,
}

impl Midr {
    fn implementer(self) -> u64 {
        self.0 >> 24 & 0xff
    }

    fn part(self) -> u64 {
        self.0 >> 4 & 0xfff
    }

    /// Neoverse N1: its erratum 1694299 samples the targets of branches too often.
    pub fn is_neoverse_n1(self) -> bool {
        (self.implementer(), self.part()) == (0x41, 0xd0c)
    }

    /// The table of this core; `None` where nobody published one.
    ///
    /// `common_ds_encoding_cpus`, `ampereone_ds_encoding_cpus`, `hisi_hip_ds_encoding_cpus` and
    /// `arch/arm64/include/asm/cputype.h`.
    pub fn encoding(self) -> Option<Encoding> {
        match (self.implementer(), self.part()) {
            // Neoverse N1, V1, N2, V2; Cortex-X1C, X3, A720, A720AE, X925, A725.
            (0x41, 0xd0c | 0xd40 | 0xd49 | 0xd4f) => Some(Encoding::Common),
            (0x41, 0xd4c | 0xd4e | 0xd81 | 0xd89 | 0xd85 | 0xd87) => Some(Encoding::Common),
            (0xc0, 0xac4) => Some(Encoding::AmpereOne),
            (0x48, 0xd06) => Some(Encoding::Hip),
            _ => None,
        }
    }
}

/// The fields that a data source or the event bits decide.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    lvl: u32,
    lvl_num: u32,
    snoop: u32,
    snoopx: u32,
    remote: bool,
}

const HIT: u32 = sys::PERF_MEM_LVL_HIT;
const MISS: u32 = sys::PERF_MEM_LVL_MISS;
const PEER: u32 = sys::PERF_MEM_SNOOPX_PEER;
const HITM: u32 = sys::PERF_MEM_SNOOP_HITM;
const NONE: u32 = sys::PERF_MEM_SNOOP_NONE;

fn at(lvl: u32, lvl_num: u32) -> Parts {
    Parts {
        lvl,
        lvl_num,
        ..Parts::default()
    }
}

const L1: (u32, u32) = (sys::PERF_MEM_LVL_L1, sys::PERF_MEM_LVLNUM_L1);
const L2: (u32, u32) = (sys::PERF_MEM_LVL_L2, sys::PERF_MEM_LVLNUM_L2);
const L3: (u32, u32) = (sys::PERF_MEM_LVL_L3, sys::PERF_MEM_LVLNUM_L3);
const RAM: (u32, u32) = (sys::PERF_MEM_LVL_LOC_RAM, sys::PERF_MEM_LVLNUM_RAM);

fn hit((lvl, lvl_num): (u32, u32)) -> Parts {
    at(lvl | HIT, lvl_num)
}

fn miss((lvl, lvl_num): (u32, u32)) -> Parts {
    at(lvl | MISS, lvl_num)
}

impl Parts {
    fn snoop(self, snoop: u32) -> Parts {
        Parts { snoop, ..self }
    }

    fn peer(self) -> Parts {
        Parts {
            snoopx: PEER,
            ..self
        }
    }

    fn remote(self) -> Parts {
        Parts {
            remote: true,
            ..self
        }
    }
}

/// From which cache or memory a load came; `None` for a code that the table does not have.
fn load(encoding: Encoding, source: u64) -> Option<Parts> {
    match encoding {
        Encoding::Common => common(source),
        Encoding::AmpereOne => common(match source {
            // The chip's other caches, or a device.
            0 => 0x9,
            3 => 0xb,
            5 => 0xd,
            7 => 0xe,
            8 => 0x0,
            9 => 0x8,
            _ => return None,
        }),
        Encoding::Hip => hip(source),
    }
}

fn common(source: u64) -> Option<Parts> {
    Some(match source {
        0x0 => hit(L1).snoop(NONE),
        0x8 => hit(L2).snoop(NONE),
        // Another core of the cluster.
        0x9 => hit(L2).peer(),
        // The cluster's own cache, and another cluster.
        0xa | 0xc => hit(L3).peer(),
        // The system cache.
        0xb => hit(L3).snoop(sys::PERF_MEM_SNOOP_HIT),
        // Another socket: from what level is not told.
        0xd => at(sys::PERF_MEM_LVL_NA, sys::PERF_MEM_LVLNUM_NA)
            .peer()
            .remote(),
        0xe => hit(RAM).snoop(NONE),
        _ => return None,
    })
}

fn hip(source: u64) -> Option<Parts> {
    let cluster = at(sys::PERF_MEM_LVL_REM_CCE1 | HIT, sys::PERF_MEM_LVLNUM_L3);
    let socket = at(sys::PERF_MEM_LVL_REM_CCE2, sys::PERF_MEM_LVLNUM_ANY_CACHE);
    Some(match source {
        0 => hit(L2).peer(),
        1 => hit(L2).peer().snoop(HITM),
        2 => hit(L3).snoop(sys::PERF_MEM_SNOOP_HIT),
        3 => hit(L3).snoop(HITM),
        4 => cluster.peer(),
        5 => cluster.peer().snoop(HITM),
        6 => socket.peer().remote(),
        7 => socket.peer().remote().snoop(HITM),
        8 => hit(RAM).snoop(NONE),
        9 => at(sys::PERF_MEM_LVL_REM_RAM1 | HIT, sys::PERF_MEM_LVLNUM_RAM).remote(),
        // A device, not cacheable.
        13 => at(sys::PERF_MEM_LVL_IO | HIT, sys::PERF_MEM_LVLNUM_IO).snoop(NONE),
        16 => hit(L2).snoop(NONE),
        17 => hit(L2).snoop(HITM),
        18 => hit(L1).snoop(NONE),
        _ => return None,
    })
}

/// Where the event bits say that a load was served: the nearest hit, else the farthest miss.
fn load_by_events(record: &Record) -> Parts {
    let hits = |access, refill| record.has(access) && !record.has(refill);
    if hits(event::L1D_ACCESS, event::L1D_REFILL) {
        hit(L1)
    } else if record.has(event::RECENTLY_FETCHED) {
        hit((sys::PERF_MEM_LVL_LFB, sys::PERF_MEM_LVLNUM_LFB))
    } else if hits(event::L2D_ACCESS, event::L2D_MISS) {
        hit(L2)
    } else if hits(event::LLC_ACCESS, event::LLC_MISS) {
        hit(L3)
    } else if record.has(event::LLC_MISS) {
        miss(L3)
    } else if record.has(event::L2D_MISS) {
        miss(L2)
    } else if record.has(event::L1D_REFILL) {
        miss(L1)
    } else {
        Parts::default()
    }
}

/// How far a store went: the farthest level that it reached.
fn store_by_events(record: &Record) -> Parts {
    for (access, refill, level) in [
        (event::LLC_ACCESS, event::LLC_MISS, L3),
        (event::L2D_ACCESS, event::L2D_MISS, L2),
        (event::L1D_ACCESS, event::L1D_REFILL, L1),
    ] {
        if record.has(refill) {
            return miss(level);
        }
        if record.has(access) {
            return hit(level);
        }
    }
    Parts::default()
}

/// The `data_src` of a record of the core `midr`; `tells_snoops` says that the core has the event
/// of a snoop, so that its absence is an answer.
pub fn data_src(record: &Record, midr: Midr, tells_snoops: bool) -> u64 {
    if !record.is_memory() {
        return crate::data_src::DataSrc::NA.0;
    }
    let store = record.is_store();
    let encoding = midr.encoding();
    let source = record.source.zip(encoding);
    let mut parts = match (store, source) {
        // These cores have no source for stores, and their event bits are of loads.
        (true, _) if encoding.is_some() => {
            at(sys::PERF_MEM_LVL_NA, sys::PERF_MEM_LVLNUM_NA).snoop(sys::PERF_MEM_SNOOP_NA)
        }
        (true, _) => store_by_events(record),
        (false, Some((source, encoding))) => {
            load(encoding, source).unwrap_or_else(|| load_by_events(record))
        }
        (false, None) => load_by_events(record),
    };
    if parts.lvl == 0 {
        (parts.lvl, parts.lvl_num) = (sys::PERF_MEM_LVL_NA, sys::PERF_MEM_LVLNUM_NA);
    }
    if parts.snoop == 0 {
        parts.snoop = match (record.has(event::SNOOPED), record.has(event::MODIFIED)) {
            (true, true) => HITM,
            (true, false) => sys::PERF_MEM_SNOOP_HIT,
            (false, _) if tells_snoops => NONE,
            (false, _) => sys::PERF_MEM_SNOOP_NA,
        };
    }
    parts.remote |= record.has(event::REMOTE_ACCESS);
    let op = match store {
        true => sys::PERF_MEM_OP_STORE,
        false => sys::PERF_MEM_OP_LOAD,
    };
    let tlb = if record.has(event::TLB_WALK) {
        sys::PERF_MEM_TLB_WK | sys::PERF_MEM_TLB_MISS
    } else if record.has(event::TLB_ACCESS) {
        sys::PERF_MEM_TLB_WK | sys::PERF_MEM_TLB_HIT
    } else {
        0
    };
    let field = |value: u32, shift: u32| u64::from(value) << shift;
    field(op, sys::PERF_MEM_OP_SHIFT)
        | field(parts.lvl, sys::PERF_MEM_LVL_SHIFT)
        | field(parts.snoop, sys::PERF_MEM_SNOOP_SHIFT)
        | field(tlb, sys::PERF_MEM_TLB_SHIFT)
        | field(parts.lvl_num, sys::PERF_MEM_LVLNUM_SHIFT)
        | field(parts.remote.into(), sys::PERF_MEM_REMOTE_SHIFT)
        | field(parts.snoopx, sys::PERF_MEM_SNOOPX_SHIFT)
}
