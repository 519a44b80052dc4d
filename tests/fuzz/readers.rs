//! What reads bytes from outside, without the rest of mempath: polars and plotters take far longer to
//! build with a sanitizer than all targets together.

#[path = "../../src/data_src/mod.rs"]
pub mod data_src;
#[path = "../../src/gomap/mod.rs"]
pub mod gomap;
#[path = "../../src/heap/mod.rs"]
pub mod heap;
#[path = "../../src/pmu/mod.rs"]
pub mod pmu;
#[path = "../../src/program/mod.rs"]
pub mod program;
#[path = "../../src/recording/mod.rs"]
pub mod recording;
