//! Every column of every frame: name, type, unit, meaning. No other file writes a column's name.

/// A column of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// The polars type, as polars prints it.
    pub dtype: &'static str,
    /// `""` where there is none.
    pub unit: &'static str,
    pub meaning: &'static str,
}

macro_rules! columns {
    ($($constant:ident $name:literal $dtype:literal $unit:literal $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $constant: Column =
            Column { name: $name, dtype: $dtype, unit: $unit, meaning: $meaning };)*
        /// All of them.
        pub const COLUMNS: &[Column] = &[$($constant),*];
    };
}

columns! {
    N "n" "u32" "" "Index of the sample in file order, from 0.";
    TIME "time_ns" "u64" "ns" "Time on the recording's clock.";
    PID "pid" "i32" "" "Process.";
    TID "tid" "i32" "" "Thread.";
    CPU "cpu" "u16" "" "CPU; null where the event did not sample it.";
    EVENT "event" "str" "" "Name of the event.";
    IP "ip" "u64" "address" "Instruction pointer as recorded.";
    ADDR "addr" "u64" "address" "Data address as recorded.";
    PHYS_ADDR "phys_addr" "u64" "address" "Physical data address.";
    PERIOD "period" "u64" "events" "Events that the sample stands for.";
    WEIGHT "weight" "u64" "" "weight as written (WEIGHT_STRUCT: three fields in one word).";
    DATA_SRC "data_src" "u64" "" "data_src as written.";
    OP "op" "str" "" "load, store, load+store, prefetch, exec.";
    LEVEL "level" "str" "" "Where the data came from: L1, LFB, L2, L3, RAM, ...; null where unknown.";
    SNOOP "snoop" "str" "" "Snoop result; null where not applicable or unknown.";
    TLB "tlb" "str" "" "TLB result; null where unknown.";
    LATENCY "latency_cycles" "u32" "cycles" "Latency where the PMU's rules say that weight is one; else null.";
    IMAGE "image" "str" "" "The file that holds the instruction.";
    FUNCTION "function" "str" "" "Innermost inlined function at ip.";
    OUTER "outer_function" "str" "" "The function whose code ip is in.";
    FILE "file" "str" "" "Source file of the innermost frame.";
    LINE "line" "u32" "" "Source line of the innermost frame.";
    OPERATION "operation" "str" "" "Map operation that the code belongs to.";
    PHASE "phase" "str" "" "Step of the operation.";
    PART "part" "str" "" "structure.field that was touched; null where not attributed.";
    STAGE "stage" "str" "" "Stage of a lookup that the part belongs to.";
    BASE "base" "u64" "address" "Address of the structure instance that holds the part.";
    ARRAY "array" "u32" "" "Row of the frame `arrays`.";
    INDEX "index" "u32" "" "Bucket or group index in its array.";
    SLOT "slot" "i8" "" "Slot 0..7.";
    OFF "off" "u32" "bytes" "Byte offset in the structure instance.";
    MAP "map" "u32" "" "Row of the frame `maps`.";
    MAP_NAME "map_name" "str" "" "Name of the map.";
    MAP_TYPE "map_type" "str" "" "Go type of the map.";
    HEADER "header" "u64" "address" "Address of the hmap or Map.";
    EVIDENCE "evidence" "str" "" "Strongest evidence that held.";
    REASON "reason" "str" "" "Why the sample has no part.";
    SAMPLES "samples" "u64" "samples" "Samples in the row.";
    LOADS "loads" "u64" "samples" "Load samples.";
    STORES "stores" "u64" "samples" "Store samples.";
    L1_HIT "l1_hit" "u64" "samples" "Loads served by L1.";
    LFB "lfb" "u64" "samples" "Loads served by a line fill buffer: already on the way.";
    L1_MISS "l1_miss" "u64" "samples" "Loads served from beyond L1; LFB counted apart.";
    LLC_MISS "llc_miss" "u64" "samples" "Loads served by RAM or a remote cache.";
    HITM "hitm" "u64" "samples" "Loads that hit a modified line of another CPU.";
    LEVEL_UNKNOWN "level_unknown" "u64" "samples" "Loads whose level the PMU did not tell.";
    STORE_L1_MISS "store_l1_miss" "u64" "samples" "Stores that missed L1, where the PMU tells.";
    LATENCY_SUM "latency_sum" "u64" "cycles" "Sum of the latencies.";
    LATENCY_N "latency_n" "u64" "samples" "Samples that have a latency.";
    LATENCY_P50 "latency_p50" "u32" "cycles" "Median latency.";
    LATENCY_P95 "latency_p95" "u32" "cycles" "95th percentile of the latencies.";
    STRIDE "stride" "u64" "bytes" "Size of one bucket or group.";
    LEN "len" "u32" "" "Buckets or groups of the array that were seen (highest index + 1).";
    OLD "old" "bool" "" "The array was reached through oldbuckets.";
    TIME_BIN "time_bin" "u32" "" "Bin of the time axis, from 0.";
    LATENCY_BIN "latency_bin" "u32" "" "Bin of the latency axis: floor(8 * log2(cycles)).";
}
