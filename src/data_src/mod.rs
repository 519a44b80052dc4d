//! `perf_mem_data_src`: what one `u64` says of an access. Pure.
//!
//! ```text
//! bit  0     5      19     24   26    33       37      38      40   43    46
//!      | op  | lvl  | snoop| lock| tlb | lvl_num| remote| snoopx| blk| hops| region |
//! ```
//!
//! `include/uapi/linux/perf_event.h`, `union perf_mem_data_src`. Two encodings of the level stand side
//! by side: the bit mask `lvl`, and `lvl_num` with `remote` and `hops`, which is preferred where set.

pub mod c2c;
mod level;
mod perf_words;

pub use level::Level;

use perf_event_open_sys::bindings as sys;
use serde::{Deserialize, Serialize};

/// A `data_src` as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DataSrc(pub u64);

/// What the instruction did to memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    Load,
    Store,
    LoadStore,
    Prefetch,
    Exec,
}

impl Op {
    pub fn name(self) -> &'static str {
        match self {
            Op::Load => "load",
            Op::Store => "store",
            Op::LoadStore => "load+store",
            Op::Prefetch => "prefetch",
            Op::Exec => "exec",
        }
    }

    /// A load, or a load and a store in one.
    pub fn is_load(self) -> bool {
        matches!(self, Op::Load | Op::LoadStore)
    }

    /// A store, or a load and a store in one.
    pub fn is_store(self) -> bool {
        matches!(self, Op::Store | Op::LoadStore)
    }
}

/// What other caches answered. `Forward` and `Peer` come from `snoopx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Snoop {
    None,
    Hit,
    Miss,
    /// Another cache held the line modified.
    HitM,
    /// Another cache forwarded the line.
    Forward,
    /// The line came from a peer's cache (Arm), modified or not.
    Peer,
}

impl Snoop {
    pub fn name(self) -> &'static str {
        match self {
            Snoop::None => "none",
            Snoop::Hit => "hit",
            Snoop::Miss => "miss",
            Snoop::HitM => "HITM",
            Snoop::Forward => "forward",
            Snoop::Peer => "peer",
        }
    }
}

/// Whether a line that another cache held modified came from this node or from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hitm {
    Local,
    Remote,
}

/// How the data address was translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tlb {
    L1Hit,
    L2Hit,
    /// A hit in L1 or L2: Intel does not tell which.
    L1OrL2Hit,
    /// A miss of every TLB that the PMU looks at.
    Miss,
    /// A page walk by hardware.
    Walk,
    /// The operating system's fault handler.
    Fault,
}

impl Tlb {
    pub fn name(self) -> &'static str {
        match self {
            Tlb::L1Hit => "L1 hit",
            Tlb::L2Hit => "L2 hit",
            Tlb::L1OrL2Hit => "L1 or L2 hit",
            Tlb::Miss => "miss",
            Tlb::Walk => "walk",
            Tlb::Fault => "fault",
        }
    }
}

/// Why a load had to wait for an earlier store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blocked {
    pub data: bool,
    pub addr: bool,
}

impl Blocked {
    pub fn name(self) -> &'static str {
        match (self.data, self.addr) {
            (false, false) => "no",
            (true, false) => "data",
            (false, true) => "addr",
            (true, true) => "data+addr",
        }
    }
}

impl DataSrc {
    /// `PERF_MEM_NA`: what kernels write where a PMU told nothing.
    pub const NA: DataSrc = DataSrc(
        (sys::PERF_MEM_OP_NA as u64) << sys::PERF_MEM_OP_SHIFT
            | (sys::PERF_MEM_LVL_NA as u64) << sys::PERF_MEM_LVL_SHIFT
            | (sys::PERF_MEM_SNOOP_NA as u64) << sys::PERF_MEM_SNOOP_SHIFT
            | (sys::PERF_MEM_LOCK_NA as u64) << sys::PERF_MEM_LOCK_SHIFT
            | (sys::PERF_MEM_TLB_NA as u64) << sys::PERF_MEM_TLB_SHIFT
            | (sys::PERF_MEM_LVLNUM_NA as u64) << sys::PERF_MEM_LVLNUM_SHIFT,
    );

    fn field(self, shift: u32, bits: u32) -> u32 {
        (self.0 >> shift & ((1 << bits) - 1)) as u32
    }

    fn raw_op(self) -> u32 {
        self.field(sys::PERF_MEM_OP_SHIFT, 5)
    }

    fn raw_lvl(self) -> u32 {
        self.field(sys::PERF_MEM_LVL_SHIFT, 14)
    }

    fn raw_snoop(self) -> u32 {
        self.field(sys::PERF_MEM_SNOOP_SHIFT, 5)
    }

    fn raw_lock(self) -> u32 {
        self.field(sys::PERF_MEM_LOCK_SHIFT, 2)
    }

    fn raw_tlb(self) -> u32 {
        self.field(sys::PERF_MEM_TLB_SHIFT, 7)
    }

    fn raw_lvl_num(self) -> u32 {
        self.field(sys::PERF_MEM_LVLNUM_SHIFT, 4)
    }

    fn raw_snoopx(self) -> u32 {
        self.field(sys::PERF_MEM_SNOOPX_SHIFT, 2)
    }

    fn raw_blk(self) -> u32 {
        self.field(sys::PERF_MEM_BLK_SHIFT, 3)
    }

    /// Whether the access left its core, `mem_remote`.
    pub fn remote(self) -> bool {
        self.field(sys::PERF_MEM_REMOTE_SHIFT, 1) != 0
    }

    /// How far a remote access went: 1 another core of the node, 2 another node of the socket,
    /// 3 another socket of the board, 4 another board. 0 where not told.
    pub fn hops(self) -> u8 {
        self.field(sys::PERF_MEM_HOPS_SHIFT, 3) as u8
    }

    /// Memory region, `PERF_MEM_REGION_*` (Linux 7.0 on); `None` where not told.
    pub fn region(self) -> Option<u8> {
        match self.field(sys::PERF_MEM_REGION_SHIFT, 5) as u8 {
            0 => None,
            region => Some(region),
        }
    }

    /// The old mask of levels without hit, miss and N/A.
    fn level_mask(self) -> u32 {
        let not_levels = sys::PERF_MEM_LVL_NA | sys::PERF_MEM_LVL_HIT | sys::PERF_MEM_LVL_MISS;
        self.raw_lvl() & !not_levels
    }

    /// Whether the old mask alone tells the level, and says one remote hop: of AMD's kernels another
    /// CCX of this node.
    pub fn is_near_ccx(self) -> bool {
        matches!(self.raw_lvl_num(), 0 | sys::PERF_MEM_LVLNUM_NA)
            && self.level_mask() == sys::PERF_MEM_LVL_REM_CCE1
    }

    /// Whether there is an op or a level other than N/A: without either no PMU filled it in.
    pub fn says_something(self) -> bool {
        self.raw_op() & !sys::PERF_MEM_OP_NA != 0
            || self.level_mask() != 0
            || !matches!(self.raw_lvl_num(), 0 | sys::PERF_MEM_LVLNUM_NA)
    }

    /// `None` when N/A or absent.
    pub fn op(self) -> Option<Op> {
        let op = self.raw_op();
        let has = |bit| op & bit != 0;
        if has(sys::PERF_MEM_OP_LOAD) && has(sys::PERF_MEM_OP_STORE) {
            Some(Op::LoadStore)
        } else if has(sys::PERF_MEM_OP_LOAD) {
            Some(Op::Load)
        } else if has(sys::PERF_MEM_OP_STORE) {
            Some(Op::Store)
        } else if has(sys::PERF_MEM_OP_PFETCH) {
            Some(Op::Prefetch)
        } else if has(sys::PERF_MEM_OP_EXEC) {
            Some(Op::Exec)
        } else {
            None
        }
    }

    /// `None` when N/A or absent.
    pub fn level(self) -> Option<Level> {
        let lvl = self.raw_lvl();
        let missed = lvl & sys::PERF_MEM_LVL_MISS != 0 && lvl & sys::PERF_MEM_LVL_HIT == 0;
        let mask = self.level_mask();
        let level = match self.raw_lvl_num() {
            // The one number that tells less than the mask can.
            sys::PERF_MEM_LVLNUM_ANY_CACHE if !self.remote() && mask == L3_OR_PEER => {
                Level::L3OrPeerCache
            }
            // `pebs_data_source[0x0b]` of Sandy Bridge to Broadwell, whose number is wrong: remote
            // memory (Intel SDM, "Data Source Encoding for Load Latency Record").
            sys::PERF_MEM_LVLNUM_L3
                if self.remote() && old_level(mask) == Some(Level::RemoteRam) =>
            {
                Level::RemoteRam
            }
            0 | sys::PERF_MEM_LVLNUM_NA => match (old_level(mask), self.remote()) {
                (None, false) => return None,
                (None, true) => Level::Remote,
                (Some(level), _) => level,
            },
            number => self.numbered_level(number),
        };
        Some(match (missed, level) {
            (true, Level::L1) => Level::L1Miss,
            (true, Level::L2) => Level::L2Miss,
            (true, Level::L3) => Level::L3Miss,
            // It missed this node's caches and went on to another socket.
            (true, Level::RemoteCache) => Level::Remote,
            (_, level) => level,
        })
    }

    fn numbered_level(self, number: u32) -> Level {
        let away = match (self.remote(), self.hops()) {
            (false, _) => None,
            (true, 1) => Some(Level::PeerCache),
            (true, _) => Some(Level::RemoteCache),
        };
        match number {
            sys::PERF_MEM_LVLNUM_L0 => Level::L0,
            sys::PERF_MEM_LVLNUM_L1 => away.unwrap_or(Level::L1),
            sys::PERF_MEM_LVLNUM_L2 => away.unwrap_or(Level::L2),
            sys::PERF_MEM_LVLNUM_L3 => away.unwrap_or(Level::L3),
            sys::PERF_MEM_LVLNUM_L4 => away.unwrap_or(Level::L4),
            sys::PERF_MEM_LVLNUM_ANY_CACHE => away.unwrap_or(Level::AnyCache),
            sys::PERF_MEM_LVLNUM_L2_MHB => Level::L2Mhb,
            sys::PERF_MEM_LVLNUM_MSC => Level::Msc,
            sys::PERF_MEM_LVLNUM_UNC => Level::Uncached,
            sys::PERF_MEM_LVLNUM_CXL => Level::Cxl,
            sys::PERF_MEM_LVLNUM_IO => Level::Io,
            sys::PERF_MEM_LVLNUM_LFB => Level::Lfb,
            // Panther Cove counts device registers to memory, `omr_data_source`.
            sys::PERF_MEM_LVLNUM_RAM if self.region() == Some(MMIO) => Level::Io,
            sys::PERF_MEM_LVLNUM_RAM => match self.remote() {
                true => Level::RemoteRam,
                false => Level::Ram,
            },
            sys::PERF_MEM_LVLNUM_PMEM => Level::Pmem,
            number => Level::Unknown(number as u8),
        }
    }

    /// `None` when N/A or absent. Where several bits are set the one that tells most counts.
    pub fn snoop(self) -> Option<Snoop> {
        let (snoop, snoopx) = (self.raw_snoop(), self.raw_snoopx());
        if snoop & sys::PERF_MEM_SNOOP_HITM != 0 {
            Some(Snoop::HitM)
        } else if snoopx & sys::PERF_MEM_SNOOPX_PEER != 0 {
            Some(Snoop::Peer)
        } else if snoopx & sys::PERF_MEM_SNOOPX_FWD != 0 {
            Some(Snoop::Forward)
        } else if snoop & sys::PERF_MEM_SNOOP_HIT != 0 {
            Some(Snoop::Hit)
        } else if snoop & sys::PERF_MEM_SNOOP_MISS != 0 {
            Some(Snoop::Miss)
        } else if snoop & sys::PERF_MEM_SNOOP_NONE != 0 {
            Some(Snoop::None)
        } else {
            None
        }
    }

    /// A line that another cache held modified, and whether that cache is remote. `None` otherwise.
    pub fn hitm(self) -> Option<Hitm> {
        let far = sys::PERF_MEM_LVL_REM_CCE1 | sys::PERF_MEM_LVL_REM_CCE2;
        let remote = match (self.remote(), self.hops()) {
            (true, hops) => hops != 1,
            (false, _) => self.level_mask() != L3_OR_PEER && self.raw_lvl() & far != 0,
        };
        (self.snoop() == Some(Snoop::HitM)).then_some(match remote {
            true => Hitm::Remote,
            false => Hitm::Local,
        })
    }

    /// `None` when N/A or absent.
    pub fn tlb(self) -> Option<Tlb> {
        let tlb = self.raw_tlb();
        let has = |bit| tlb & bit != 0;
        let (l1, l2) = (has(sys::PERF_MEM_TLB_L1), has(sys::PERF_MEM_TLB_L2));
        if has(sys::PERF_MEM_TLB_OS) {
            Some(Tlb::Fault)
        } else if has(sys::PERF_MEM_TLB_MISS) {
            Some(Tlb::Miss)
        } else if has(sys::PERF_MEM_TLB_WK) && !l1 && !l2 {
            Some(Tlb::Walk)
        } else if has(sys::PERF_MEM_TLB_HIT) || l1 || l2 {
            match (l1, l2) {
                (true, false) => Some(Tlb::L1Hit),
                (false, true) => Some(Tlb::L2Hit),
                _ => Some(Tlb::L1OrL2Hit),
            }
        } else {
            None
        }
    }

    /// Whether a TLB had the translation, whichever else the field says.
    pub fn has_tlb_hit(self) -> bool {
        self.raw_tlb() & sys::PERF_MEM_TLB_HIT != 0
    }

    /// Whether the access was a locked one; `None` when N/A. (perf prints "No" for 0, and so does
    /// this: kernels write N/A when they cannot tell.)
    pub fn locked(self) -> Option<bool> {
        let lock = self.raw_lock();
        match lock & sys::PERF_MEM_LOCK_NA != 0 {
            true => None,
            false => Some(lock & sys::PERF_MEM_LOCK_LOCKED != 0),
        }
    }

    /// `None` when N/A or absent.
    pub fn blocked(self) -> Option<Blocked> {
        let blk = self.raw_blk();
        match blk == 0 || blk & sys::PERF_MEM_BLK_NA != 0 {
            true => None,
            false => Some(Blocked {
                data: blk & sys::PERF_MEM_BLK_DATA != 0,
                addr: blk & sys::PERF_MEM_BLK_ADDR != 0,
            }),
        }
    }
}

/// Region of device registers.
const MMIO: u8 = sys::PERF_MEM_REGION_MMIO as u8;

/// `IBS_DATA_SRC_LOC_CACHE`, `arch/x86/events/amd/ibs.c`: L3, another L2 of the CCX, or a core of
/// another CCX of the node.
const L3_OR_PEER: u32 = sys::PERF_MEM_LVL_L3 | sys::PERF_MEM_LVL_REM_CCE1;

fn old_level(lvl: u32) -> Option<Level> {
    Some(match lvl {
        0 => return None,
        sys::PERF_MEM_LVL_L1 => Level::L1,
        sys::PERF_MEM_LVL_LFB => Level::Lfb,
        sys::PERF_MEM_LVL_L2 => Level::L2,
        sys::PERF_MEM_LVL_L3 => Level::L3,
        sys::PERF_MEM_LVL_LOC_RAM => Level::Ram,
        sys::PERF_MEM_LVL_REM_RAM1 | sys::PERF_MEM_LVL_REM_RAM2 => Level::RemoteRam,
        sys::PERF_MEM_LVL_REM_CCE1 | sys::PERF_MEM_LVL_REM_CCE2 => Level::RemoteCache,
        sys::PERF_MEM_LVL_IO => Level::Io,
        sys::PERF_MEM_LVL_UNC => Level::Uncached,
        L3_OR_PEER => Level::L3OrPeerCache,
        several => Level::Several(several as u16),
    })
}
