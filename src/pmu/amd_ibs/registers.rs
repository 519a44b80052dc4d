//! Raw IBS op registers, as `perf record --raw-samples` (`-R`) keeps them in `PERF_SAMPLE_RAW`.
//!
//! ```text
//! caps u32 | IbsOpCtl | IbsOpRip | IbsOpData | IbsOpData2 | IbsOpData3 | IbsDcLinAd | IbsDcPhysAd
//!          | IbsBrTarget if caps[5] | IbsOpData4 if caps[10]                     eight bytes each
//! ```
//!
//! `arch/x86/events/amd/ibs.c` (`perf_ibs_handle_irq` writes them, `perf_ibs_get_data_src` reads
//! them), `arch/x86/include/asm/amd-ibs.h`; `caps` is `CPUID_Fn8000001B_EAX`.

use super::Cpu;
use crate::data_src::DataSrc;
use crate::recording::ByteOrder;
use perf_event_open_sys::bindings as sys;

/// The registers of one micro-op.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpRegisters {
    pub caps: u32,
    pub ctl: u64,
    pub rip: u64,
    pub data: u64,
    pub data2: u64,
    pub data3: u64,
    pub dc_linear: u64,
    pub dc_physical: u64,
}

mod caps {
    pub const AVAILABLE: u32 = 1 << 0;
    /// `IbsOpData2` has the data sources of Zen 4 and later.
    pub const ZEN4: u32 = 1 << 11;
}

/// Bits of `IbsOpCtl`.
mod ctl {
    pub const ENABLED: u64 = 1 << 17;
    pub const VALID: u64 = 1 << 18;
}

/// Bits of `IbsOpData`.
mod data {
    pub const RIP_INVALID: u64 = 1 << 38;
}

/// Bits of `IbsOpData2`.
mod data2 {
    pub const REMOTE_NODE: u64 = 1 << 4;
    /// 0: the line was modified.
    pub const CACHE_HIT_STATE: u64 = 1 << 5;
}

/// Bits of `IbsOpData3`.
mod data3 {
    pub const LOAD: u64 = 1 << 0;
    pub const STORE: u64 = 1 << 1;
    pub const L1_TLB_MISS: u64 = 1 << 2;
    pub const L2_TLB_MISS: u64 = 1 << 3;
    pub const DC_MISS: u64 = 1 << 7;
    pub const UNCACHEABLE: u64 = 1 << 14;
    pub const LOCKED: u64 = 1 << 15;
    pub const MISS_WITHOUT_MAB: u64 = 1 << 16;
    pub const LINEAR_VALID: u64 = 1 << 17;
    pub const PHYSICAL_VALID: u64 = 1 << 18;
    pub const L2_MISS: u64 = 1 << 20;
    pub const SOFTWARE_PREFETCH: u64 = 1 << 21;
}

/// What the registers say in perf's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpSample {
    /// `None` where the hardware could not tell it.
    pub ip: Option<u64>,
    pub addr: u64,
    pub phys_addr: u64,
    /// A word of `WEIGHT_STRUCT`: miss latency, then cycles from tag to retirement.
    pub weight: u64,
    pub data_src: u64,
}

impl OpRegisters {
    /// Reads `PERF_SAMPLE_RAW`; `None` when it is no valid sample of IBS op.
    pub fn parse(raw: &[u8], order: ByteOrder) -> Option<OpRegisters> {
        let word = |i: usize| order.u64_at(raw, 4 + 8 * i);
        let registers = OpRegisters {
            caps: order.u32_at(raw, 0)?,
            ctl: word(0)?,
            rip: word(1)?,
            data: word(2)?,
            data2: word(3)?,
            data3: word(4)?,
            dc_linear: word(5)?,
            dc_physical: word(6)?,
        };
        let valid = ctl::ENABLED | ctl::VALID;
        (registers.caps & caps::AVAILABLE != 0 && registers.ctl & valid == valid)
            .then_some(registers)
    }

    /// The sample that the kernel would have written of these registers.
    pub fn sample(&self, cpu: Cpu) -> OpSample {
        let ip = (self.data & data::RIP_INVALID == 0).then_some(self.rip);
        let Some(op) = self.op() else {
            return OpSample {
                ip,
                data_src: DataSrc::NA.0,
                ..OpSample::default()
            };
        };
        let if_valid = |bit, address| if self.has(bit) { address } else { 0 };
        let prefetch = self.has(data3::SOFTWARE_PREFETCH);
        let latency = match op == sys::PERF_MEM_OP_LOAD && self.has(data3::DC_MISS) && !prefetch {
            true => (self.data3 >> 32 & 0xffff) | (self.data >> 16 & 0xffff) << 32,
            false => 0,
        };
        OpSample {
            ip,
            addr: if_valid(data3::LINEAR_VALID, self.dc_linear),
            phys_addr: if_valid(data3::PHYSICAL_VALID, self.dc_physical),
            weight: latency,
            data_src: self.data_src(op, cpu),
        }
    }

    fn has(&self, bit: u64) -> bool {
        self.data3 & bit != 0
    }

    /// `None` for a micro-op that touches no memory.
    fn op(&self) -> Option<u32> {
        if self.has(data3::LOAD) {
            Some(sys::PERF_MEM_OP_LOAD)
        } else if self.has(data3::STORE) {
            Some(sys::PERF_MEM_OP_STORE)
        } else {
            None
        }
    }

    /// Whether erratum 1293 makes `IbsOpData2` and L2Miss void.
    fn dropped(&self, cpu: Cpu) -> bool {
        cpu.drops_data_src() && self.has(data3::SOFTWARE_PREFETCH | data3::MISS_WITHOUT_MAB)
    }

    fn data2(&self, cpu: Cpu) -> u64 {
        match self.dropped(cpu) {
            true => 0,
            false => self.data2,
        }
    }

    fn zen4(&self) -> bool {
        self.caps & caps::ZEN4 != 0
    }

    /// `DataSrc`, of which Zen 4 has two bits more.
    fn source(&self, data2: u64) -> u64 {
        match self.zen4() {
            true => (data2 >> 6 & 3) << 3 | data2 & 7,
            false => data2 & 7,
        }
    }

    fn data_src(&self, op: u32, cpu: Cpu) -> u64 {
        let data2 = self.data2(cpu);
        let level = self.level(op, cpu, data2);
        level
            | field(op, sys::PERF_MEM_OP_SHIFT)
            | field(self.snoop(op, cpu, data2, level), sys::PERF_MEM_SNOOP_SHIFT)
            | field(self.tlb(), sys::PERF_MEM_TLB_SHIFT)
            | field(self.lock(), sys::PERF_MEM_LOCK_SHIFT)
    }

    /// `perf_ibs_get_mem_lvl`: level, number, remote bit and hops.
    fn level(&self, op: u32, cpu: Cpu, data2: u64) -> u64 {
        const IO: u64 = 7;
        let source = self.source(data2);
        // DcMiss, L2Miss and the source are void for uncacheable memory.
        if self.has(data3::UNCACHEABLE) && source != IO {
            return hit(sys::PERF_MEM_LVL_UNC) | number(sys::PERF_MEM_LVLNUM_UNC);
        }
        if !self.has(data3::DC_MISS) {
            return hit(sys::PERF_MEM_LVL_L1) | number(sys::PERF_MEM_LVLNUM_L1);
        }
        if !self.has(data3::L2_MISS) && !self.dropped(cpu) {
            return hit(sys::PERF_MEM_LVL_L2) | number(sys::PERF_MEM_LVLNUM_L2);
        }
        let remote_node = data2 & data2::REMOTE_NODE != 0;
        let by_source = match op {
            sys::PERF_MEM_OP_LOAD if self.zen4() => of_zen4(source, remote_node),
            sys::PERF_MEM_OP_LOAD => before_zen4(source, remote_node),
            _ => None,
        };
        match by_source {
            Some(level) => level,
            // The line was on its way already.
            None if self.has(data3::MISS_WITHOUT_MAB) => {
                hit(sys::PERF_MEM_LVL_LFB) | number(sys::PERF_MEM_LVLNUM_LFB)
            }
            None => {
                field(sys::PERF_MEM_LVL_NA, sys::PERF_MEM_LVL_SHIFT)
                    | number(sys::PERF_MEM_LVLNUM_NA)
            }
        }
    }

    /// `perf_ibs_get_mem_snoop`: a modified line, or nothing told.
    fn snoop(&self, op: u32, cpu: Cpu, data2: u64, level: u64) -> u32 {
        let near = field(sys::PERF_MEM_LVL_L1, sys::PERF_MEM_LVL_SHIFT)
            | field(sys::PERF_MEM_LVL_L2, sys::PERF_MEM_LVL_SHIFT);
        let from_cache = match (self.zen4(), self.source(data2)) {
            (true, source) => matches!(source, 1 | 2 | 5),
            (false, source) => source == 2,
        };
        let modified = cpu.tells_modified()
            && op == sys::PERF_MEM_OP_LOAD
            && level & near == 0
            && data2 & data2::CACHE_HIT_STATE == 0
            && from_cache;
        match modified {
            true => sys::PERF_MEM_SNOOP_HITM,
            false => sys::PERF_MEM_SNOOP_NA,
        }
    }

    fn tlb(&self) -> u32 {
        if !self.has(data3::LINEAR_VALID) {
            sys::PERF_MEM_TLB_NA
        } else if !self.has(data3::L1_TLB_MISS) {
            sys::PERF_MEM_TLB_L1 | sys::PERF_MEM_TLB_HIT
        } else if !self.has(data3::L2_TLB_MISS) {
            sys::PERF_MEM_TLB_L2 | sys::PERF_MEM_TLB_HIT
        } else {
            sys::PERF_MEM_TLB_L2 | sys::PERF_MEM_TLB_MISS
        }
    }

    fn lock(&self) -> u32 {
        match self.has(data3::LOCKED) {
            true => sys::PERF_MEM_LOCK_LOCKED,
            false => sys::PERF_MEM_LOCK_NA,
        }
    }
}

fn field(value: u32, shift: u32) -> u64 {
    u64::from(value) << shift
}

fn hit(level: u32) -> u64 {
    field(level | sys::PERF_MEM_LVL_HIT, sys::PERF_MEM_LVL_SHIFT)
}

fn number(level: u32) -> u64 {
    field(level, sys::PERF_MEM_LVLNUM_SHIFT)
}

/// The remote bit with `hops`: 1 another core of the node, 2 another node (IBS does not tell sockets).
fn away(hops: u32) -> u64 {
    field(1, sys::PERF_MEM_REMOTE_SHIFT) | field(hops, sys::PERF_MEM_HOPS_SHIFT)
}

fn ram(remote_node: bool) -> u64 {
    match remote_node {
        true => hit(sys::PERF_MEM_LVL_REM_RAM1) | number(sys::PERF_MEM_LVLNUM_RAM) | away(2),
        false => hit(sys::PERF_MEM_LVL_LOC_RAM) | number(sys::PERF_MEM_LVLNUM_RAM),
    }
}

fn io() -> u64 {
    hit(sys::PERF_MEM_LVL_IO) | number(sys::PERF_MEM_LVLNUM_IO)
}

fn other_node() -> u64 {
    hit(sys::PERF_MEM_LVL_REM_CCE2) | number(sys::PERF_MEM_LVLNUM_ANY_CACHE) | away(2)
}

/// `g_data_src`; 2 is L3, another L2 of the CCX, or a core of another CCX of the node.
fn before_zen4(source: u64, remote_node: bool) -> Option<u64> {
    Some(match source {
        2 => {
            hit(sys::PERF_MEM_LVL_L3 | sys::PERF_MEM_LVL_REM_CCE1)
                | number(sys::PERF_MEM_LVLNUM_ANY_CACHE)
                | field(1, sys::PERF_MEM_HOPS_SHIFT)
        }
        3 => ram(remote_node),
        4 => other_node(),
        7 => io(),
        _ => return None,
    })
}

/// `g_zen4_data_src`.
fn of_zen4(source: u64, remote_node: bool) -> Option<u64> {
    let far = if remote_node { away(2) } else { 0 };
    Some(match source {
        1 => hit(sys::PERF_MEM_LVL_L3) | number(sys::PERF_MEM_LVLNUM_L3),
        2 => hit(sys::PERF_MEM_LVL_REM_CCE1) | number(sys::PERF_MEM_LVLNUM_ANY_CACHE) | away(1),
        3 => ram(remote_node),
        5 => other_node(),
        6 => number(sys::PERF_MEM_LVLNUM_PMEM) | far,
        7 => io(),
        8 => number(sys::PERF_MEM_LVLNUM_CXL) | far,
        _ => return None,
    })
}
