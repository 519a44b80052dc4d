//! Every access to a few words of a map, in exact order: hardware breakpoints that follow the map.
//!
//! ```text
//!  name ──DWARF or snapshot──▶ place ──/proc/PID/mem──▶ header, arrays ──▶ addresses of the words
//!                                             ▲                                  │ changed?
//!                                             └────────── every 10 ms ◀──────────┘ arm anew
//! ```

mod guard;
mod memory;
mod place;
mod run;
mod words;

pub use guard::Guard;
pub use memory::ProcessMemory;
pub use place::{MapPlace, WatchError};
pub use run::{Done, Gap, MapWords, Plan, Watched, Why, run};
pub use words::{Spot, Word, Words};
