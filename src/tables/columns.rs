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
    TIME "time_ns" "u64" "ns" "Time on the recording's clock; null where the event did not sample it.";
    PID "pid" "i32" "" "Process.";
    TID "tid" "i32" "" "Thread.";
    CPU "cpu" "u16" "" "CPU; null where the event did not sample it.";
    EVENT "event" "str" "" "Name of the event.";
    IP "ip" "u64" "address" "Instruction pointer as recorded.";
    ADDR "addr" "u64" "address" "Data address as recorded; null where the event did not sample it.";
    PHYS_ADDR "phys_addr" "u64" "address" "Physical data address; null where the event did not sample it.";
    PERIOD "period" "u64" "events" "Events that the sample stands for; null where the event did not sample it.";
    WEIGHT "weight" "u64" "" "weight as written (WEIGHT_STRUCT: three fields in one word); null where the event did not sample it.";
    DATA_SRC "data_src" "u64" "" "data_src as written; null where the event did not sample it.";
    OP "op" "str" "" "load, store, load+store, prefetch, exec; null where unknown.";
    LEVEL "level" "str" "" "Where the data came from: L1, LFB, L2, L3, RAM, ...; null where unknown.";
    LEVEL_STATE "level_state" "str" "" "Whether the PMU tells the level of such an access: valid, absent (it does not record it), not_applicable, unknown; null where the sample is no memory access.";
    SNOOP "snoop" "str" "" "Snoop result; null where not applicable or unknown.";
    SNOOP_STATE "snoop_state" "str" "" "As level_state.";
    TLB "tlb" "str" "" "TLB result; null where unknown.";
    TLB_STATE "tlb_state" "str" "" "As level_state.";
    BLOCKED "blocked" "str" "" "Why the load waited for an earlier store: no, data, addr, data+addr; null where unknown.";
    BLOCKED_STATE "blocked_state" "str" "" "As level_state.";
    LATENCY "latency_cycles" "u32" "cycles" "Latency where the PMU's rules say that weight is one; else null.";
    LATENCY_STATE "latency_state" "str" "" "As level_state; not_applicable also where the PMU measures no latency of an access that came from such a level.";
    IMAGE "image" "str" "" "The file that holds the instruction.";
    FUNCTION "function" "str" "" "Innermost inlined function at ip; null without symbols.";
    OUTER "outer_function" "str" "" "The function whose code ip is in; null without symbols.";
    ON_BEHALF "on_behalf" "str" "" "The map function that the code runs for, where a call chain leads to one; else null.";
    FILE "file" "str" "" "Source file of the innermost frame; null where unknown.";
    LINE "line" "u32" "" "Source line of the innermost frame; null where unknown.";
    OPERATION "operation" "str" "" "Map operation that the code belongs to; in its callers the one that handed out the key or elem; else null.";
    STEP "step" "u32" "" "Where the instruction stands in its operation: one run through it comes by in this order, loops apart.";
    INSTRUCTION "instruction" "str" "" "The instruction, as Intel writes it.";
    CODE_OFF "code_off" "u32" "bytes" "Offset of the instruction in the function whose code it is in.";
    TARGET "target" "str" "" "The function that the instruction calls or jumps to; null where it is no other one.";
    CUT "cut" "bool" "" "Instructions that stand before this one are left out.";
    PHASE "phase" "str" "" "Step of the operation; null outside of map code or where unknown.";
    PART "part" "str" "" "structure.field that was touched; null where not attributed.";
    STAGE "stage" "str" "" "Stage of a lookup that the part belongs to (golang/go#70835): header, directory, table, control, key, elem, overflow, extra.";
    BASE "base" "u64" "address" "Address of the structure instance that holds the part; null where unknown.";
    ARRAY "array" "u32" "" "Row of the frame `arrays`; null where unknown.";
    INDEX "index" "u32" "" "Bucket or group index in its array (the chain's head for an overflow bucket); in `cells` the first index of the bin. Null where unknown.";
    INDEX_WIDTH "index_width" "u32" "" "Buckets or groups in one bin of `cells`: 1 in arrays of up to 4096, else the least power of two that leaves at most 4096 bins.";
    SLOT "slot" "i8" "" "Slot 0..7; null where the part has none or it is unknown.";
    OFF "off" "u32" "bytes" "Byte offset of addr in the structure instance; null where its base is unknown.";
    MAP "map" "u32" "" "Row of the frame `maps`; null where unknown.";
    MAP_NAME "map_name" "str" "" "Name of the map.";
    MAP_TYPE "map_type" "str" "" "Go type of the map; null where unknown.";
    HEADER "header" "u64" "address" "Address of the hmap or Map; null where unknown.";
    LAYOUT "layout" "str" "" "classic (hmap, bmap) or swiss (Map, table, group); null where the map's type is unknown.";
    KEY_OFF "key_off" "u32" "bytes" "Offset of key 0 in a bucket or group; null where the type is unknown.";
    KEY_STRIDE "key_stride" "u32" "bytes" "Distance from one key to the next; null where the type is unknown.";
    ELEM_OFF "elem_off" "u32" "bytes" "Offset of elem 0 in a bucket or group; null where the type is unknown.";
    ELEM_STRIDE "elem_stride" "u32" "bytes" "Distance from one elem to the next; null where the type is unknown.";
    EVIDENCE "evidence" "str" "" "Strongest evidence that held; in `maps` that of most of its samples.";
    REASON "reason" "str" "" "Why the sample has no part; null where it has one.";
    SAMPLES "samples" "u64" "samples" "Memory accesses in the row.";
    LOADS "loads" "u64" "samples" "Load samples (load+store counts here and in stores).";
    STORES "stores" "u64" "samples" "Store samples.";
    L1_HIT "l1_hit" "u64" "samples" "Loads served by L1; null where no load of the row has a level (loads = 0: not applicable; else unknown).";
    LFB "lfb" "u64" "samples" "Loads served by a line fill buffer: already on the way, the real level is unknown; null as in l1_hit.";
    L1_MISS "l1_miss" "u64" "samples" "Loads served from beyond L1, LFB counted apart; null as in l1_hit.";
    LLC_MISS "llc_miss" "u64" "samples" "Loads served by RAM or a remote cache; null where no load of the row says.";
    HITM "hitm" "u64" "samples" "Loads that hit a modified line of another CPU; null where no load of the row has a snoop result.";
    LEVEL_UNKNOWN "level_unknown" "u64" "samples" "Loads whose level the PMU did not tell.";
    STORE_L1_MISS "store_l1_miss" "u64" "samples" "Stores that missed L1; null where no store of the row says (stores = 0: not applicable; else unknown).";
    LATENCY_SUM "latency_sum" "u64" "cycles" "Sum of the latencies; null where no sample of the row has one.";
    LATENCY_N "latency_n" "u64" "samples" "Samples that have a latency.";
    LATENCY_P50 "latency_p50" "u32" "cycles" "Median latency (nearest rank), from a log-linear histogram: exact below 128 cycles, within 0.8 % above; null where no sample has a latency.";
    LATENCY_P95 "latency_p95" "u32" "cycles" "95th percentile of the latencies, as latency_p50.";
    STRIDE "stride" "u64" "bytes" "Size of one bucket or group; null where unknown.";
    SIZE "size" "u64" "bytes" "Size of one key or elem that lies outside of its bucket or group; null where the type is unknown.";
    IN_PAIR "in_pair" "u8" "bytes" "Where in a pair of cache lines (128 bytes) the object begins; null where its address is unknown.";
    LEN "len" "u32" "" "Buckets or groups of the array that were seen (highest index + 1).";
    OLD "old" "bool" "" "The array was reached through oldbuckets.";
    TIME_BIN "time_bin" "u32" "" "Bin of the time axis, from 0; Summary::time_bin_ns is its width.";
    LATENCY_BIN "latency_bin" "u32" "" "Bin of the latency axis: floor(8 * log2(cycles)); 0 for 0 cycles.";
    AFTER "after" "u32" "" "The access of the same CPU and thread before it, by its `n`; null where that is not in the frame, is too long ago or their ops are not known.";
    RULE "rule" "str" "" "The rule of the architecture that orders the two, or that does not: a name of `together.rules`.";
    GAP_KIND "kind" "str" "" "What is missing: lost, lost_samples, throttle, unthrottle, aux_truncated, aux_partial, aux_collision.";
    GAP_LOST "lost" "u64" "" "Records or samples lost; 0 where the kernel does not say how many.";
}
