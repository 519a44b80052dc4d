//! Making recordings: a running program in, a standard perf.data out.
//!
//! ```text
//!  target ──▶ counter (perf_event_open) ──▶ ring ──▶ session ──▶ file ──▶ perf.data
//!  /proc  ──▶ synthesize (what ran before) ─────────────┘
//!  sysfs  ──▶ pmu (which events) ──▶ event (attr)
//! ```
//!
//! Nothing here reads a perf.data or knows Go, but for [`watch`] and [`step`], which ask
//! [`crate::heap`] and [`crate::program`] where maps and their code are.

pub mod counter;
pub mod doctor;
pub mod engines;
mod error;
pub mod event;
pub mod features;
pub mod file;
pub mod limits;
pub mod machine;
pub mod pmu;
mod ring;
pub mod run;
pub mod session;
pub mod signals;
#[cfg(target_arch = "x86_64")]
pub mod step;
pub mod synthesize;
pub mod sysfs;
pub mod target;
pub mod watch;

pub use error::RecordError;
pub use event::Event;
pub use file::PerfData;
pub use target::Target;
