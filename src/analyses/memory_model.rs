//! Which order of two accesses of one CPU the architecture guarantees to all others, and which it
//! does not: x86-TSO (Intel SDM volume 3, 9.2.2; Owens, Sarkar, Sewell 2009) and Armv8 (Arm ARM,
//! B2.3; Pulte and others 2018).
//!
//! Both are multi-copy atomic: what one other CPU sees, all others see. So the orders of pairs are all
//! there is to know. Of Armv8 dependencies between two accesses, which order a load before an access
//! whose address or stored value comes from it, are not decoded: such a pair is called unordered here
//! though the hardware keeps it.

use super::touch::Touch;
use crate::data_src::Op;
use serde::Serialize;

/// The architecture whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    X86,
    Armv8,
}

impl Arch {
    /// From what the recording says (`uname -m`); `None` for others.
    pub fn of(machine: &str) -> Option<Arch> {
        match machine {
            "x86_64" | "i686" | "i386" => Some(Arch::X86),
            "aarch64" | "arm64" => Some(Arch::Armv8),
            _ => None,
        }
    }
}

/// A step of one CPU, as far as order is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub load: bool,
    pub store: bool,
    /// First byte and bytes.
    pub at: u64,
    pub width: u8,
    /// x86: a `lock` prefix or `xchg`.
    pub locked: bool,
    /// Armv8: `ldar`, or an LSE instruction with `a`.
    pub acquire: bool,
    /// Armv8: `ldapr`, an acquire that an earlier release may pass.
    pub acquire_pc: bool,
    /// Armv8: `stlr`, or an LSE instruction with `l`.
    pub release: bool,
}

impl Step {
    pub fn load(at: u64) -> Step {
        Step {
            load: true,
            store: false,
            at,
            width: 8,
            locked: false,
            acquire: false,
            acquire_pc: false,
            release: false,
        }
    }

    pub fn store(at: u64) -> Step {
        Step {
            load: false,
            store: true,
            ..Step::load(at)
        }
    }

    /// `None` when the op of the access is not known, or is neither load nor store.
    pub fn of(arch: Arch, touch: &Touch) -> Option<Step> {
        let (load, store) = match touch.op? {
            Op::Load => (true, false),
            Op::Store => (false, true),
            Op::LoadStore => (true, true),
            Op::Prefetch | Op::Exec => return None,
        };
        let arm = match arch {
            Arch::X86 => None,
            Arch::Armv8 => touch.place.and_then(|p| p.instruction.as_deref()),
        };
        let arm = arm.map(arm_ordering).unwrap_or_default();
        Some(Step {
            load,
            store,
            at: touch.addr,
            width: touch.width.unwrap_or(1),
            locked: touch.locked,
            acquire: arm.acquire,
            acquire_pc: arm.acquire_pc,
            release: arm.release,
        })
    }

    fn overlaps(&self, other: &Step) -> bool {
        let end = |s: &Step| s.at.saturating_add(s.width.max(1).into());
        self.at < end(other) && other.at < end(self)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ArmOrdering {
    acquire: bool,
    acquire_pc: bool,
    release: bool,
}

/// Of an Armv8 mnemonic: `ldar`, `ldaxrb`, `stlr`, `casal`, `swpl`, `ldadda`, ...
fn arm_ordering(text: &str) -> ArmOrdering {
    let mnemonic = text.split_whitespace().next().unwrap_or("");
    // The width comes last: b, h.
    let stem = mnemonic.trim_end_matches(['b', 'h']);
    match stem {
        "ldar" | "ldaxr" | "ldaxp" => ArmOrdering {
            acquire: true,
            ..ArmOrdering::default()
        },
        "ldapr" | "ldapur" => ArmOrdering {
            acquire_pc: true,
            ..ArmOrdering::default()
        },
        "stlr" | "stlxr" | "stlxp" | "stlur" => ArmOrdering {
            release: true,
            ..ArmOrdering::default()
        },
        _ => {
            const LSE: [&str; 11] = [
                "casp", "cas", "swp", "ldadd", "ldclr", "ldeor", "ldset", "ldsmax", "ldsmin",
                "ldumax", "ldumin",
            ];
            let suffix = LSE.iter().find_map(|stem_of| stem.strip_prefix(stem_of));
            ArmOrdering {
                acquire: matches!(suffix, Some("a" | "al")),
                acquire_pc: false,
                release: matches!(suffix, Some("l" | "al")),
            }
        }
    }
}

/// An instruction between two accesses that orders them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// x86 `mfence` or any locked instruction; Armv8 `dmb ish`, `dsb`.
    Full,
    /// Armv8 `dmb ishld`: earlier loads before all later accesses.
    Loads,
    /// Armv8 `dmb ishst`: earlier stores before later stores.
    Stores,
}

/// Why two accesses of one CPU are, or are not, seen in this order by every other CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    SameBytes,
    Forwarded,
    Fenced,
    Locked,
    Tso,
    Acquire,
    Release,
    ReleaseAcquire,
    StoreBuffer,
    Weak,
}

impl Order {
    /// Whether no other CPU can see the second one first.
    pub fn is_kept(self) -> bool {
        !matches!(self, Order::StoreBuffer | Order::Weak | Order::Forwarded)
    }

    /// As serde spells it.
    pub fn name(self) -> &'static str {
        match self {
            Order::SameBytes => "same_bytes",
            Order::Forwarded => "forwarded",
            Order::Fenced => "fenced",
            Order::Locked => "locked",
            Order::Tso => "tso",
            Order::Acquire => "acquire",
            Order::Release => "release",
            Order::ReleaseAcquire => "release_acquire",
            Order::StoreBuffer => "store_buffer",
            Order::Weak => "weak",
        }
    }

    /// The rule in one sentence.
    pub fn why(self) -> &'static str {
        match self {
            Order::SameBytes => "accesses to the same bytes keep their order (coherence)",
            Order::Forwarded => {
                "the load takes its own CPU's store from the store buffer, before any other CPU can see that store"
            }
            Order::Fenced => "a fence between the two orders them",
            Order::Locked => {
                "a locked instruction is ordered with all accesses before and after it"
            }
            Order::Tso => "x86 keeps load-load, load-store and store-store order",
            Order::Acquire => "no access passes a load-acquire before it",
            Order::Release => "no access is passed by a store-release after it",
            Order::ReleaseAcquire => "a load-acquire (ldar) waits for an earlier store-release",
            Order::StoreBuffer => {
                "the store may still be in the store buffer when the load has its value: others may see the load first"
            }
            Order::Weak => {
                "Armv8 orders plain accesses to different bytes only by dependencies, fences, acquire and release"
            }
        }
    }
}

/// Whether other CPUs see `first` before `second`, which follows it in the program, with `fence`
/// somewhere between.
pub fn order(arch: Arch, first: &Step, fence: Option<Fence>, second: &Step) -> Order {
    let fenced = match fence {
        Some(Fence::Full) => true,
        Some(Fence::Loads) => first.load,
        Some(Fence::Stores) => first.store && second.store,
        None => false,
    };
    if fenced {
        return Order::Fenced;
    }
    if arch == Arch::X86 && (first.locked || second.locked) {
        return Order::Locked;
    }
    let only_stored = first.store && !first.load;
    let only_loaded = second.load && !second.store;
    if first.overlaps(second) {
        return match only_stored && only_loaded {
            true => Order::Forwarded,
            false => Order::SameBytes,
        };
    }
    match arch {
        Arch::X86 if only_stored && only_loaded => Order::StoreBuffer,
        Arch::X86 => Order::Tso,
        Arch::Armv8 if first.load && (first.acquire || first.acquire_pc) => Order::Acquire,
        Arch::Armv8 if second.store && second.release => Order::Release,
        Arch::Armv8 if first.release && second.acquire => Order::ReleaseAcquire,
        Arch::Armv8 => Order::Weak,
    }
}

/// Two accesses of one CPU that follow each other among the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Neighbours {
    /// Indexes of the samples.
    pub first: usize,
    pub second: usize,
    pub order: Order,
}

/// The neighbours of each CPU and thread, in order of time, as far as their ops are known. Samples
/// further apart than `within_ns` are no neighbours: the store buffer has drained by then. Accesses
/// that were all recorded are neighbours at any distance: it is that of the traps, not the program's.
/// Fences are no samples: one that was not seen may order what is called unordered here.
pub fn neighbours(arch: Arch, in_order: &[Touch], within_ns: u64) -> Vec<Neighbours> {
    let mut last = rustc_hash::FxHashMap::<(Option<u16>, Option<i32>), (&Touch, Step)>::default();
    let mut pairs = Vec::new();
    for touch in in_order {
        let Some(step) = Step::of(arch, touch) else {
            continue;
        };
        let before = last.insert((touch.cpu, touch.tid), (touch, step));
        let near = |(b, _): &(&Touch, Step)| {
            let apart = touch
                .time
                .zip(b.time)
                .map(|(now, then)| now.saturating_sub(then));
            touch.exact || apart.is_some_and(|ns| ns <= within_ns)
        };
        if let Some((first, before)) = before.filter(near) {
            pairs.push(Neighbours {
                first: first.n,
                second: touch.n,
                order: order(arch, &before, None, &step),
            });
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acquire_and_release_are_read_from_mnemonics() {
        // Arm ARM C6.2: LDAR, LDAPRB, STLRH; CASAL has both, SWPL releases, LDADDA acquires, LDADD neither.
        let of = |text| {
            let o = arm_ordering(text);
            (o.acquire, o.acquire_pc, o.release)
        };
        assert_eq!(of("ldar x0, [x1]"), (true, false, false));
        assert_eq!(of("ldaprb w0, [x1]"), (false, true, false));
        assert_eq!(of("stlrh w0, [x1]"), (false, false, true));
        assert_eq!(of("casal x0, x1, [x2]"), (true, false, true));
        assert_eq!(of("swpl x0, x1, [x2]"), (false, false, true));
        assert_eq!(of("ldadda x0, x1, [x2]"), (true, false, false));
        assert_eq!(of("ldadd x0, x1, [x2]"), (false, false, false));
        assert_eq!(of("ldr x0, [x1]"), (false, false, false));
    }
}
