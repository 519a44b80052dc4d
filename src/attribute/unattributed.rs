//! Every way in which a sample stays without a part: one variant each.

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal,)*) => {
        /// Why a sample has no part. The text is for the reader of the report.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum Reason { $($(#[doc = $doc])+ $variant),* }

        impl Reason {
            pub const ALL: &[Reason] = &[$(Reason::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name),* }
            }

            /// One sentence for the reader.
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($doc),+)),* }
            }
        }
    };
}

reasons! {
    /// The sample is not a memory access (another event, or an IBS op that touched no memory).
    NotAnAccess "not a memory access",
    /// The sample has no data address.
    NoAddress "no address",
    /// The sample was taken in the kernel or the hypervisor.
    Kernel "kernel",
    /// No mapping of the process covers the instruction.
    NoMapping "no mapping",
    /// The file that holds the instruction was not found, or was refused.
    NoBinary "no binary",
    /// The instruction lies in no known function.
    NoSymbol "no symbol",
    /// The event allows skid, so the instruction may not be the one that accessed memory.
    Skid "skid",
    /// The file that holds the instruction is not a Go binary.
    NotGo "not a Go binary",
    /// Neither the code nor the address belongs to a map.
    NotMap "not a map access",
    /// Map code touching something that is no part of the map: a type descriptor, the stack, a key's bytes.
    NotMapMemory "map code, other memory",
    /// The address is on a stack or in the binary's own data, as map code sees it.
    Stack "stack or static data",
    /// Map code whose memory operand the data flow could not follow.
    BaseUnknown "base unknown",
    /// Map code touches the bucket or group, but which part of it depends on what was not recorded.
    PartUnknown "part unknown",
    /// The address contradicts every part that the code allows.
    OutsideParts "outside of every known part",
    /// The instruction at this ip has no memory operand.
    NoOperand "no memory operand",
    /// The goroutine's own record in the runtime, through the register that always holds it.
    Goroutine "goroutine record",
    /// The program is one of 32 bits: how Go lays out maps there is not known.
    Narrow "32-bit program",
    /// The sample was taken inside of a virtual machine: what its addresses are of is not recorded here.
    Guest "virtual machine",
}

impl Reason {
    /// Whether a sample without a part cannot be of a map's memory, whatever lies around its address.
    pub(super) fn is_elsewhere(self) -> bool {
        matches!(
            self,
            Reason::NotAnAccess | Reason::Kernel | Reason::Guest | Reason::Goroutine
        )
    }
}
