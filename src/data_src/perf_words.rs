//! A `data_src` in the words of perf.

use super::{Blocked, DataSrc};
use perf_event_open_sys::bindings as sys;

/// Names of the bits of `mem_lvl`, as perf prints them.
pub(super) const PERF_LVL: [&str; 14] = [
    "N/A",
    "HIT",
    "MISS",
    "L1",
    "LFB/MAB",
    "L2",
    "L3",
    "Local RAM",
    "Remote RAM (1 hop)",
    "Remote RAM (2 hops)",
    "Remote Cache (1 hop)",
    "Remote Cache (2 hops)",
    "I/O",
    "Uncached",
];

/// The names of the bits set in `bits`, lowest first.
pub(super) fn names(bits: u64, of: &[&'static str]) -> Vec<&'static str> {
    of.iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 != 0)
        .map(|(_, &name)| name)
        .collect()
}

impl DataSrc {
    /// The words that `perf script -F data_src` prints, as perf 6.1 does
    /// (`tools/perf/util/mem-events.c`, `perf_script__meminfo_scnprintf`), with two differences:
    /// perf breaks off after 99 characters of line, and reads past its table for `hops` above 4.
    pub fn perf_words(self) -> String {
        format!(
            "|OP {}|LVL {}|SNP {}|TLB {}|LCK {}|BLK {}",
            self.perf_op(),
            self.perf_lvl(),
            self.perf_snoop(),
            self.perf_tlb(),
            self.perf_lock(),
            self.perf_blk()
        )
    }

    fn perf_op(self) -> &'static str {
        let op = self.raw_op();
        [
            (sys::PERF_MEM_OP_NA, "N/A"),
            (sys::PERF_MEM_OP_LOAD, "LOAD"),
            (sys::PERF_MEM_OP_STORE, "STORE"),
            (sys::PERF_MEM_OP_PFETCH, "PFETCH"),
            (sys::PERF_MEM_OP_EXEC, "EXEC"),
        ]
        .iter()
        .find(|(bit, _)| op & bit != 0)
        .map_or("No", |&(_, name)| name)
    }

    fn perf_lvl(self) -> String {
        let lvl = self.raw_lvl();
        let mut out = String::new();
        if self.remote() {
            out.push_str("Remote ");
        }
        let mut levels = Vec::new();
        match self.hops() {
            0 => {
                let hit_miss = sys::PERF_MEM_LVL_HIT | sys::PERF_MEM_LVL_MISS;
                levels = names(u64::from(lvl & !hit_miss), &PERF_LVL);
            }
            1 => out.push_str("core, same node "),
            2 => out.push_str("node, same socket "),
            3 => out.push_str("socket, same board "),
            4 => out.push_str("board "),
            hops => out.push_str(&format!("unknown hops {hops} ")),
        }
        let number = match self.raw_lvl_num() {
            0 => None,
            sys::PERF_MEM_LVLNUM_CXL => Some("CXL".to_owned()),
            sys::PERF_MEM_LVLNUM_IO => Some("I/O".to_owned()),
            sys::PERF_MEM_LVLNUM_ANY_CACHE => Some("Any cache".to_owned()),
            sys::PERF_MEM_LVLNUM_LFB => Some("LFB/MAB".to_owned()),
            sys::PERF_MEM_LVLNUM_RAM => Some("RAM".to_owned()),
            sys::PERF_MEM_LVLNUM_PMEM => Some("PMEM".to_owned()),
            sys::PERF_MEM_LVLNUM_NA => Some("N/A".to_owned()),
            number => Some(format!("L{number}")),
        };
        levels.extend(number.as_deref());
        out.push_str(&levels.join(" or "));
        if out.is_empty() {
            out.push_str("N/A");
        }
        if lvl & sys::PERF_MEM_LVL_HIT != 0 {
            out.push_str(" hit");
        }
        if lvl & sys::PERF_MEM_LVL_MISS != 0 {
            out.push_str(" miss");
        }
        out
    }

    fn perf_snoop(self) -> String {
        let mut words = names(
            u64::from(self.raw_snoop()),
            &["N/A", "None", "Hit", "Miss", "HitM"],
        );
        words.extend(names(u64::from(self.raw_snoopx()), &["Fwd", "Peer"]));
        match words.is_empty() {
            true => "N/A".to_owned(),
            false => words.join(" or "),
        }
    }

    fn perf_tlb(self) -> String {
        let tlb = self.raw_tlb();
        let hit_miss = sys::PERF_MEM_TLB_HIT | sys::PERF_MEM_TLB_MISS;
        let words = names(
            u64::from(tlb & !hit_miss),
            &["N/A", "HIT", "MISS", "L1", "L2", "Walker", "Fault"],
        );
        let mut out = match words.is_empty() {
            true => "N/A".to_owned(),
            false => words.join(" or "),
        };
        if tlb & sys::PERF_MEM_TLB_HIT != 0 {
            out.push_str(" hit");
        }
        if tlb & sys::PERF_MEM_TLB_MISS != 0 {
            out.push_str(" miss");
        }
        out
    }

    fn perf_lock(self) -> &'static str {
        match self.locked() {
            None => "N/A",
            Some(true) => "Yes",
            Some(false) => "No",
        }
    }

    fn perf_blk(self) -> String {
        match self.blocked() {
            None => " N/A".to_owned(),
            Some(Blocked { data, addr }) => {
                let word = |set, name| if set { name } else { "" };
                format!("{}{}", word(data, " Data"), word(addr, " Addr"))
            }
        }
    }
}
