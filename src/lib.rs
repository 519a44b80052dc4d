//! Which map, which bucket, which byte of a Go program the sampled memory accesses hit.
//!
//! ```text
//!  perf.data ──recording──▶ Recording { meta, events, address space over time, Samples, gaps }
//!  binary    ──program────▶ Program   { Go version, functions and lines, map types }
//!                     ╲  │  ╱
//!                    attribute ──▶ Attribution (columns, one row a sample, none dropped)
//!                         │
//!                      tables  ──▶ polars frames and one Summary
//!                         │
//!            ┌────────────┼─────────────┐
//!          report       export        terminal
//! ```
//!
//! Arrows go one way. [`recording`] knows perf and nothing of Go; [`program`] knows ELF, DWARF and
//! pclntab and nothing of perf; [`attribute`] joins them; [`tables`] and everything after it know
//! columns only.

mod allocator;
pub mod analyses;
pub mod attribute;
pub mod cli;
pub mod commands;
pub mod data_src;
pub mod explain;
pub mod export;
pub mod gomap;
pub mod heap;
pub mod pmu;
pub mod program;
pub mod record;
pub mod recording;
pub mod report;
pub mod tables;
pub mod terminal;
pub mod unwind;
