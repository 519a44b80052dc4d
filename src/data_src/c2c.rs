//! What `perf c2c` counts of a sample, so that its tables and ours are the same.
//!
//! Source: `c2c_decode_stats` in the kernel's `tools/perf/util/mem-events.c`, of Linux 6.1.

use super::{DataSrc, sys};
use serde::Serialize;

macro_rules! stats {
    ($($(#[$meaning:meta])* $name:ident)*) => {
        /// Samples of a kind each; one sample may be of several.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
        pub struct Stats { $($(#[$meaning])* pub $name: u64,)* }

        impl Stats {
            pub fn merge(&mut self, other: &Stats) {
                $(self.$name += other.$name;)*
            }
        }
    };
}

stats! {
    /// All samples.
    records
    locks
    loads
    loads_without_address
    loads_uncached
    loads_io
    /// The level says that it missed there.
    loads_missed
    lfb_hit
    l1_hit
    l2_hit
    /// In the last level and modified nowhere else.
    llc_hit
    local_hitm
    remote_hitm
    /// From another node's cache, not modified there.
    remote_hit
    local_dram
    remote_dram
    exclusive
    shared
    blocked_data
    blocked_address
    local_peer
    remote_peer
    stores
    stores_without_address
    stores_uncached
    store_l1_hit
    store_l1_miss
    /// The level of the store is not available.
    store_na
    /// The code or the data is in no mapping that the recording tells.
    no_mapping
    /// Neither a load nor a store.
    unparsed
}

impl Stats {
    /// Counts a sample with this `data_src` and data address; `mapped`: its code and its data are in
    /// known mappings.
    pub fn count(&mut self, data_src: DataSrc, addr: u64, mapped: bool) {
        let (op, snoop) = (data_src.raw_op(), data_src.raw_snoop());
        let blk = data_src.raw_blk();
        let add = |to: &mut u64, when: bool| *to += u64::from(when);
        self.records += 1;
        let locked = data_src.raw_lock() & sys::PERF_MEM_LOCK_LOCKED != 0;
        add(&mut self.locks, locked);
        add(&mut self.blocked_data, blk & sys::PERF_MEM_BLK_DATA != 0);
        add(&mut self.blocked_address, blk & sys::PERF_MEM_BLK_ADDR != 0);
        if op & sys::PERF_MEM_OP_LOAD != 0 {
            self.loads += 1;
            if addr == 0 {
                self.loads_without_address += 1;
                return;
            }
            self.count_load(data_src, snoop);
        } else if op & sys::PERF_MEM_OP_STORE != 0 {
            self.stores += 1;
            if addr == 0 {
                self.stores_without_address += 1;
                return;
            }
            let lvl = data_src.raw_lvl();
            let (hit, miss) = (
                lvl & sys::PERF_MEM_LVL_HIT != 0,
                lvl & sys::PERF_MEM_LVL_MISS != 0,
            );
            let l1 = lvl & sys::PERF_MEM_LVL_L1 != 0;
            add(
                &mut self.stores_uncached,
                hit && lvl & sys::PERF_MEM_LVL_UNC != 0,
            );
            add(&mut self.store_l1_hit, hit && l1);
            add(&mut self.store_l1_miss, miss && l1);
            add(&mut self.store_na, lvl & sys::PERF_MEM_LVL_NA != 0);
        } else {
            self.unparsed += 1;
            return;
        }
        add(&mut self.no_mapping, !mapped);
    }

    fn count_load(&mut self, data_src: DataSrc, snoop: u32) {
        let lvl = data_src.raw_lvl();
        let at = |level: u32| lvl & level != 0;
        let peer = data_src.raw_snoopx() & sys::PERF_MEM_SNOOPX_PEER != 0;
        let (is_hit, is_hitm) = (
            snoop & sys::PERF_MEM_SNOOP_HIT != 0,
            snoop & sys::PERF_MEM_SNOOP_HITM != 0,
        );
        let remote = data_src.remote();
        let add = |to: &mut u64, when: bool| *to += u64::from(when);
        if at(sys::PERF_MEM_LVL_HIT) {
            add(&mut self.loads_uncached, at(sys::PERF_MEM_LVL_UNC));
            add(&mut self.loads_io, at(sys::PERF_MEM_LVL_IO));
            add(&mut self.lfb_hit, at(sys::PERF_MEM_LVL_LFB));
            add(&mut self.l1_hit, at(sys::PERF_MEM_LVL_L1));
            add(&mut self.l2_hit, at(sys::PERF_MEM_LVL_L2));
            add(&mut self.local_peer, at(sys::PERF_MEM_LVL_L2) && peer);
            add(&mut self.local_hitm, at(sys::PERF_MEM_LVL_L3) && is_hitm);
            add(&mut self.llc_hit, at(sys::PERF_MEM_LVL_L3) && !is_hitm);
            add(&mut self.local_peer, at(sys::PERF_MEM_LVL_L3) && peer);
            let far = sys::PERF_MEM_LVL_REM_RAM1 | sys::PERF_MEM_LVL_REM_RAM2;
            let (near, far) = (at(sys::PERF_MEM_LVL_LOC_RAM), at(far) || remote);
            add(&mut self.local_dram, near);
            add(&mut self.remote_dram, far);
            let dram = u64::from(near) + u64::from(far);
            *(if is_hit {
                &mut self.shared
            } else {
                &mut self.exclusive
            }) += dram;
        }
        if at(sys::PERF_MEM_LVL_REM_CCE1 | sys::PERF_MEM_LVL_REM_CCE2) || remote {
            add(&mut self.remote_hit, is_hit || !is_hitm && peer);
            add(&mut self.remote_hitm, !is_hit && is_hitm);
            add(&mut self.remote_peer, !is_hit && !is_hitm && peer);
        }
        add(&mut self.loads_missed, at(sys::PERF_MEM_LVL_MISS));
    }

    pub fn hitm(&self) -> u64 {
        self.local_hitm + self.remote_hitm
    }

    pub fn peer(&self) -> u64 {
        self.local_peer + self.remote_peer
    }

    /// Loads served from beyond this node's caches.
    pub fn llc_misses(&self) -> u64 {
        self.local_dram + self.remote_dram + self.remote_hitm + self.remote_hit
    }

    /// Loads whose level is known.
    pub fn placed_loads(&self) -> u64 {
        let hits = self.lfb_hit + self.l1_hit + self.l2_hit + self.llc_hit;
        self.llc_misses() + hits + self.local_hitm
    }

    /// Those, and stores that hit or missed L1 or have no level.
    pub fn placed(&self) -> u64 {
        self.placed_loads() + self.store_l1_hit + self.store_l1_miss + self.store_na
    }
}
