//! The modelled caches: private L1 and L2, a shared L3, one line's owner known to all (MESI).
//!
//! ```text
//! load   own L1 | own L2 | another core wrote it: HITM, from its cache through L3
//!        | another core has it, or L3 has it: L3 | else RAM
//! store  the same, and every other copy is invalid
//! ```
//!
//! Sets, ways and LRU as caches have them; sizes are this machine's or what the command line says.
//! Latencies are round numbers of server cores ([`LATENCIES`]), not measured. Prefetchers, TLBs, line
//! fill buffers, NUMA and the accesses of code that is not stepped are not modelled: hit rates come
//! out higher than hardware would show them, and sharing is complete among map accesses only.

use crate::record::sysfs::read;
use perf_event_open_sys::bindings as sys;
use rustc_hash::FxHashMap;
use std::path::Path;

/// Bytes of a line.
pub const LINE: u64 = 64;

/// Cores that the model can have: one bit each in a word.
pub const MOST_CORES: usize = 64;

/// Where an access was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    L1,
    L2,
    L3,
    /// Another core's cache had it modified.
    Hitm,
    Ram,
}

/// Cycles from issue to use.
pub const LATENCIES: [(Answer, u16); 5] = [
    (Answer::L1, 5),
    (Answer::L2, 14),
    (Answer::L3, 50),
    (Answer::Hitm, 100),
    (Answer::Ram, 220),
];

impl Answer {
    pub fn latency(self) -> u16 {
        let entry = LATENCIES.iter().find(|(answer, _)| *answer == self);
        entry.map_or(0, |(_, cycles)| *cycles)
    }

    /// `data_src` as an Ice Lake writes it (`arch/x86/events/intel/ds.c`, `pebs_data_source` and
    /// `precise_datala_hsw`).
    pub fn data_src(self, store: bool) -> u64 {
        let field = |value: u32, shift: u32| u64::from(value) << shift;
        let op = |op| field(op, sys::PERF_MEM_OP_SHIFT);
        let level = |bits| field(bits, sys::PERF_MEM_LVL_SHIFT);
        let number = |number| field(number, sys::PERF_MEM_LVLNUM_SHIFT);
        let snoop = |bits| field(bits, sys::PERF_MEM_SNOOP_SHIFT);
        let not_told = field(sys::PERF_MEM_LOCK_NA, sys::PERF_MEM_LOCK_SHIFT)
            | field(sys::PERF_MEM_TLB_NA, sys::PERF_MEM_TLB_SHIFT);
        if store {
            let hit = match self {
                Answer::L1 => sys::PERF_MEM_LVL_HIT,
                _ => sys::PERF_MEM_LVL_MISS,
            };
            return op(sys::PERF_MEM_OP_STORE)
                | level(sys::PERF_MEM_LVL_L1 | hit)
                | snoop(sys::PERF_MEM_SNOOP_NA)
                | not_told;
        }
        let (bit, num, answer) = match self {
            Answer::L1 => (
                sys::PERF_MEM_LVL_L1,
                sys::PERF_MEM_LVLNUM_L1,
                sys::PERF_MEM_SNOOP_NONE,
            ),
            Answer::L2 => (
                sys::PERF_MEM_LVL_L2,
                sys::PERF_MEM_LVLNUM_L2,
                sys::PERF_MEM_SNOOP_NONE,
            ),
            Answer::L3 => (
                sys::PERF_MEM_LVL_L3,
                sys::PERF_MEM_LVLNUM_L3,
                sys::PERF_MEM_SNOOP_NONE,
            ),
            Answer::Hitm => (
                sys::PERF_MEM_LVL_L3,
                sys::PERF_MEM_LVLNUM_L3,
                sys::PERF_MEM_SNOOP_HITM,
            ),
            Answer::Ram => (
                sys::PERF_MEM_LVL_LOC_RAM,
                sys::PERF_MEM_LVLNUM_RAM,
                sys::PERF_MEM_SNOOP_NONE,
            ),
        };
        op(sys::PERF_MEM_OP_LOAD)
            | level(bit | sys::PERF_MEM_LVL_HIT)
            | number(num)
            | snoop(answer)
            | not_told
    }
}

/// Size and associativity of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    pub bytes: u64,
    pub ways: usize,
}

/// L1, L2 and L3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometries {
    pub l1: Geometry,
    pub l2: Geometry,
    pub l3: Geometry,
}

impl Default for Geometries {
    /// An Ice Lake server core and 32 MiB of L3 for all cores.
    fn default() -> Geometries {
        Geometries {
            l1: Geometry {
                bytes: 48 << 10,
                ways: 12,
            },
            l2: Geometry {
                bytes: 1280 << 10,
                ways: 20,
            },
            l3: Geometry {
                bytes: 32 << 20,
                ways: 16,
            },
        }
    }
}

impl Geometries {
    /// This machine's, as far as sysfs tells.
    pub fn here() -> Geometries {
        let mut all = Geometries::default();
        for index in 0..8 {
            let folder = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
            let text = |name: &str| read(&Path::new(&folder).join(name));
            let (Some(level), Some(kind)) = (text("level"), text("type")) else {
                continue;
            };
            let bytes = text("size").and_then(|size| {
                let (number, unit) = size.split_at(size.find(['K', 'M']).unwrap_or(size.len()));
                let scale = match unit {
                    "K" => 1 << 10,
                    "M" => 1 << 20,
                    _ => 1,
                };
                number.parse::<u64>().ok()?.checked_mul(scale)
            });
            let ways = text("ways_of_associativity").and_then(|ways| ways.parse().ok());
            let slot = match (level.as_str(), kind.as_str()) {
                ("1", "Data") => &mut all.l1,
                ("2", "Unified") => &mut all.l2,
                ("3", "Unified") => &mut all.l3,
                _ => continue,
            };
            if let (Some(bytes), Some(ways)) = (bytes, ways.filter(|ways| (1..=64).contains(ways)))
            {
                *slot = Geometry { bytes, ways };
            }
        }
        all
    }

    /// For the header: `32 KiB L1, 1024 KiB L2, 32768 KiB L3`.
    pub fn text(&self) -> String {
        let kib = |cache: Geometry| cache.bytes >> 10;
        format!(
            "{} KiB L1, {} KiB L2, {} KiB L3",
            kib(self.l1),
            kib(self.l2),
            kib(self.l3)
        )
    }
}

/// Lines by set, most recently used first.
#[derive(Debug, Clone)]
struct Cache {
    sets: Vec<Vec<u64>>,
    ways: usize,
}

impl Cache {
    fn new(geometry: Geometry) -> Cache {
        let sets = geometry.bytes / LINE / geometry.ways as u64;
        Cache {
            // A bound for whoever asks for a cache of a terabyte.
            sets: vec![Vec::new(); sets.clamp(1, 1 << 20) as usize],
            ways: geometry.ways,
        }
    }

    fn set(&mut self, line: u64) -> Option<&mut Vec<u64>> {
        let sets = self.sets.len() as u64;
        self.sets.get_mut((line % sets) as usize)
    }

    /// Whether the line is there; it is then the most recent one.
    fn touch(&mut self, line: u64) -> bool {
        let Some(set) = self.set(line) else {
            return false;
        };
        let found = set.iter().position(|&own| own == line);
        if let Some(at) = found {
            set[..=at].rotate_right(1);
        }
        found.is_some()
    }

    /// Brings the line in; the one that had to go.
    fn fill(&mut self, line: u64) -> Option<u64> {
        let ways = self.ways;
        let set = self.set(line)?;
        set.insert(0, line);
        if set.len() > ways { set.pop() } else { None }
    }

    fn drop(&mut self, line: u64) {
        if let Some(set) = self.set(line) {
            set.retain(|&own| own != line);
        }
    }
}

#[derive(Debug, Clone)]
struct Core {
    l1: Cache,
    l2: Cache,
}

/// Who has a line: a bit a core, and the core that wrote it last and alone has it.
#[derive(Debug, Clone, Copy, Default)]
struct Holders {
    cores: u64,
    writer: Option<u8>,
}

/// The caches of all cores.
#[derive(Debug)]
pub struct Caches {
    cores: Vec<Core>,
    l3: Cache,
    holders: FxHashMap<u64, Holders>,
}

impl Caches {
    pub fn new(geometries: &Geometries, cores: usize) -> Caches {
        let core = Core {
            l1: Cache::new(geometries.l1),
            l2: Cache::new(geometries.l2),
        };
        Caches {
            cores: vec![core; cores.clamp(1, MOST_CORES)],
            l3: Cache::new(geometries.l3),
            holders: FxHashMap::default(),
        }
    }

    /// An access of `size` bytes at `addr`, by a core. Across two lines the slower one answers.
    pub fn access(&mut self, core: usize, addr: u64, size: u64, store: bool) -> Answer {
        let (first, last) = (addr / LINE, addr.saturating_add(size.max(1) - 1) / LINE);
        // No instruction touches more than two; what says so is no address.
        let last = last.min(first.saturating_add(1));
        (first..=last)
            .map(|line| self.line(core, line, store))
            .max()
            .unwrap_or(Answer::L1)
    }

    fn line(&mut self, core: usize, line: u64, store: bool) -> Answer {
        let core = core % self.cores.len();
        let bit = 1u64 << core;
        let holders = self.holders.get(&line).copied().unwrap_or_default();
        let answer = self.find(core, line, holders);
        let mut after = Holders {
            cores: holders.cores | bit,
            // Read by another core, a modified line becomes a clean one of both.
            writer: holders.writer.filter(|&writer| usize::from(writer) == core),
        };
        if store {
            for other in (0..self.cores.len()).filter(|&other| other != core) {
                if holders.cores >> other & 1 != 0
                    && let Some(other) = self.cores.get_mut(other)
                {
                    other.l1.drop(line);
                    other.l2.drop(line);
                }
            }
            after = Holders {
                cores: bit,
                writer: Some(core as u8),
            };
        }
        self.holders.insert(line, after);
        answer
    }

    /// Looks the line up and brings it in.
    fn find(&mut self, core: usize, line: u64, holders: Holders) -> Answer {
        let Some(own) = self.cores.get_mut(core) else {
            return Answer::Ram;
        };
        if own.l1.touch(line) {
            return Answer::L1;
        }
        let in_l2 = own.l2.touch(line);
        // L2 holds what L1 holds: what it lets go is gone from the core.
        let gone = if in_l2 { None } else { own.l2.fill(line) };
        own.l1.fill(line);
        if let Some(gone) = gone {
            own.l1.drop(gone);
            self.leave(core, gone);
        }
        if in_l2 {
            return Answer::L2;
        }
        let in_l3 = self.l3.touch(line);
        if !in_l3 {
            self.l3.fill(line);
        }
        let others = holders.cores & !(1 << core);
        match holders.writer {
            Some(writer) if usize::from(writer) != core && others != 0 => Answer::Hitm,
            _ if in_l3 || others != 0 => Answer::L3,
            _ => Answer::Ram,
        }
    }

    /// A core no longer has a line; what it wrote went to L3.
    fn leave(&mut self, core: usize, line: u64) {
        if let Some(holders) = self.holders.get_mut(&line) {
            holders.cores &= !(1 << core);
            holders.writer = holders.writer.filter(|&writer| usize::from(writer) != core);
            if holders.cores == 0 {
                self.holders.remove(&line);
            }
        }
        if !self.l3.touch(line) {
            self.l3.fill(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_src::{DataSrc, Level, Op, Snoop};

    fn small() -> Caches {
        let cache = |lines: u64, ways| Geometry {
            bytes: lines * LINE,
            ways,
        };
        let geometries = Geometries {
            l1: cache(2, 2),
            l2: cache(4, 4),
            l3: cache(8, 8),
        };
        Caches::new(&geometries, 2)
    }

    #[test]
    fn a_line_is_found_where_it_was_left() {
        let mut caches = small();
        let mut load = |line: u64| caches.access(0, line * LINE, 8, false);
        assert_eq!(load(0), Answer::Ram);
        assert_eq!(load(0), Answer::L1);
        // L1 has two lines, L2 four, L3 eight.
        assert_eq!([load(1), load(2)], [Answer::Ram; 2]);
        assert_eq!(load(0), Answer::L2);
        assert_eq!([load(3), load(4)], [Answer::Ram; 2]);
        // L2 holds 4, 3, 0 and 2; 1 went first.
        assert_eq!(load(1), Answer::L3);
        for line in 10..18 {
            assert_eq!(load(line), Answer::Ram);
        }
        assert_eq!(load(0), Answer::Ram);
    }

    #[test]
    fn what_another_core_wrote_is_a_hitm_once() {
        let mut caches = small();
        assert_eq!(caches.access(0, 0, 8, true), Answer::Ram);
        assert_eq!(caches.access(1, 0, 8, false), Answer::Hitm);
        assert_eq!(caches.access(1, 0, 8, false), Answer::L1);
        assert_eq!(caches.access(0, 0, 8, false), Answer::L1);
        // A store of one takes it from the other.
        assert_eq!(caches.access(1, 0, 8, true), Answer::L1);
        assert_eq!(caches.access(0, 0, 8, true), Answer::Hitm);
        assert_eq!(caches.access(0, 0, 8, true), Answer::L1);
        // Read by both, written by none since: no HITM.
        assert_eq!(caches.access(1, 0, 8, false), Answer::Hitm);
        assert_eq!(caches.access(1, LINE * 4, 8, false), Answer::Ram);
    }

    #[test]
    fn an_access_across_two_lines_takes_as_long_as_the_slower() {
        let mut caches = small();
        assert_eq!(caches.access(0, 0, 8, false), Answer::Ram);
        assert_eq!(caches.access(0, 60, 8, false), Answer::Ram);
        assert_eq!(caches.access(0, 60, 8, false), Answer::L1);
        assert_eq!(caches.access(0, u64::MAX, 8, false), Answer::Ram);
    }

    #[test]
    fn the_data_src_says_what_the_model_answered() {
        let levels = [
            (Answer::L1, Level::L1),
            (Answer::L2, Level::L2),
            (Answer::L3, Level::L3),
            (Answer::Hitm, Level::L3),
            (Answer::Ram, Level::Ram),
        ];
        for (answer, level) in levels {
            let load = DataSrc(answer.data_src(false));
            assert_eq!(load.op(), Some(Op::Load));
            assert_eq!(load.level(), Some(level), "{answer:?}");
            let hitm = load.snoop() == Some(Snoop::HitM);
            assert_eq!(hitm, answer == Answer::Hitm);
            assert_eq!(DataSrc(answer.data_src(true)).op(), Some(Op::Store));
        }
    }
}
