//! `perf_mem_data_src`: what one `u64` says of an access. Pure.
