//! Levels of the memory hierarchy, and which of them are misses.

use super::perf_words::{PERF_LVL, names};
use perf_event_open_sys::bindings as sys;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Where the data came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    L0,
    L1,
    /// Line fill buffer (AMD: MAB): the line was already on its way; from where is not told.
    Lfb,
    L2,
    /// Miss-handling buffer of L2.
    L2Mhb,
    L3,
    L4,
    /// Memory-side cache.
    Msc,
    /// Some cache; the PMU does not tell which.
    AnyCache,
    /// A cache of another core of this node.
    PeerCache,
    /// L3 or a cache of another core of this node (AMD before Zen 4 does not tell which).
    L3OrPeerCache,
    /// A cache of another node or socket.
    RemoteCache,
    /// Another socket; whether its cache or its memory is not told (Arm).
    Remote,
    Ram,
    RemoteRam,
    Pmem,
    Cxl,
    Io,
    Uncached,
    /// Not in L1; the PMU does not tell where instead (stores of Haswell-class cores).
    L1Miss,
    /// Not in L2; the PMU does not tell where instead.
    L2Miss,
    /// Not in L3; the PMU does not tell where instead.
    L3Miss,
    /// One of several: bits of the old `mem_lvl`.
    Several(u16),
    /// A `mem_lvl_num` that no kernel up to 7.1 writes.
    Unknown(u8),
}

impl Level {
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Level::L0 => "L0",
            Level::L1 => "L1",
            Level::Lfb => "LFB",
            Level::L2 => "L2",
            Level::L2Mhb => "L2 MHB",
            Level::L3 => "L3",
            Level::L4 => "L4",
            Level::Msc => "MSC",
            Level::AnyCache => "any cache",
            Level::PeerCache => "peer cache",
            Level::L3OrPeerCache => "L3 or peer cache",
            Level::RemoteCache => "Remote cache",
            Level::Remote => "Remote",
            Level::Ram => "RAM",
            Level::RemoteRam => "Remote RAM",
            Level::Pmem => "PMEM",
            Level::Cxl => "CXL",
            Level::Io => "I/O",
            Level::Uncached => "uncached",
            Level::L1Miss => "L1 miss",
            Level::L2Miss => "L2 miss",
            Level::L3Miss => "L3 miss",
            Level::Several(bits) => {
                return Cow::Owned(names(u64::from(bits), &PERF_LVL).join(" or "));
            }
            Level::Unknown(number) => return Cow::Owned(format!("unknown level {number}")),
        })
    }

    /// Whether the access went beyond L1. `None` for LFB, which is counted apart, and where the level
    /// leaves it open.
    pub fn is_l1_miss(self) -> Option<bool> {
        match self {
            Level::L0 | Level::L1 => Some(false),
            Level::Lfb | Level::AnyCache | Level::Unknown(_) => None,
            Level::Several(bits) => {
                let near = sys::PERF_MEM_LVL_L1 | sys::PERF_MEM_LVL_LFB;
                (u32::from(bits) & near == 0).then_some(true)
            }
            _ => Some(true),
        }
    }

    /// Whether the access went beyond this socket's last cache: to memory or to a remote cache.
    /// `None` where the level leaves it open.
    pub fn is_llc_miss(self) -> Option<bool> {
        match self {
            Level::L0
            | Level::L1
            | Level::L2
            | Level::L2Mhb
            | Level::L3
            | Level::L4
            | Level::PeerCache
            | Level::L3OrPeerCache => Some(false),
            Level::Ram
            | Level::Remote
            | Level::RemoteRam
            | Level::RemoteCache
            | Level::Pmem
            | Level::Cxl
            | Level::L3Miss => Some(true),
            Level::Several(bits) => {
                let far = sys::PERF_MEM_LVL_LOC_RAM
                    | sys::PERF_MEM_LVL_REM_RAM1
                    | sys::PERF_MEM_LVL_REM_RAM2
                    | sys::PERF_MEM_LVL_REM_CCE1
                    | sys::PERF_MEM_LVL_REM_CCE2;
                match u32::from(bits) & far {
                    0 => Some(false),
                    same if same == u32::from(bits) => Some(true),
                    _ => None,
                }
            }
            Level::Lfb
            | Level::Msc
            | Level::AnyCache
            | Level::Io
            | Level::Uncached
            | Level::L1Miss
            | Level::L2Miss
            | Level::Unknown(_) => None,
        }
    }
}
