//! Data flow through a function's machine code: for each instruction that touches memory, into
//! which of Go's map structures its address points, and which registers name the object.
//!
//! It starts from the register arguments of the map functions (AX = type, BX = map, ...), so it
//! needs neither DWARF nor symbols beyond pclntab; in callers it starts from the pointers that map
//! calls return.

mod classify;
mod function;
mod helper;
mod signature;
mod state;
mod value;
mod x86;

pub use classify::{Target, classify};
pub use function::{Call, FunctionFlow, Live, PERF_REGS, Site, analyse, returns};
pub use signature::{Signature, signature};
pub use value::{Area, Areas, Expr, Value, What};
pub use x86::{Operand, number_of};
