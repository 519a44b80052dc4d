//! A modelled recording where nothing else is to be had: the map code of a program is executed step
//! by step, every memory operand decoded, and the accesses are run through a model of caches.
//!
//! ```text
//! native ──int3 at a map function's entry──▶ step ──▶ operands ──▶ caches ──▶ samples ──▶ perf.data
//!   ▲                                         │ call of other code: native until it returns
//!   └───────── the elem's use in the caller ◀─┘
//! ```
//!
//! Real: the code, addresses, registers, call chains, threads, order. Modelled: levels, latencies,
//! snoops and CPU numbers ([`cache`]). The clock is real and runs on while a thread is stepped. The
//! header says so (`cpudesc: modelled: ...`), and every report shows it.
//!
//! Simple instructions are executed here instead of by the thread (`emulate.rs`); `--emulate check` has
//! both do each of them and compares.
//!
//! Between windows there is no int3 in the program, and it runs natively.

pub mod cache;
mod code;
mod emulate;
pub mod guard;
pub mod ptrace;
mod run;
mod sample;
mod thread;

pub use code::{Code, is_entry, is_map_code};
pub use run::{Done, Emulate, Plan, StepError, Why, run};
