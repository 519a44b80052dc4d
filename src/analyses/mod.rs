//! Analyses of all accesses together, one file each: from a recording and its attribution to plain
//! data, which reports and the command line only print.

pub mod lines;
pub mod stale;
