//! Analyses of all accesses together, one file each: from a recording and its attribution to plain
//! data, which reports and the command line only print.

pub mod access_path;
pub mod background;
pub mod concurrent;
pub mod findings;
pub mod lines;
pub mod losses;
pub mod memory_model;
pub mod operations;
pub mod skew;
pub mod stale;
mod suspects;
pub mod together;
pub mod touch;
