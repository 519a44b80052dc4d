//! Data flow through a function's machine code: for each instruction that touches memory, into
//! which of Go's map structures its address points, and which registers name the object.
//!
//! It starts from the register arguments of the map functions (on x86-64 AX = type, BX = map, ...; on
//! arm64 R0, R1, ...), so it needs neither DWARF nor symbols beyond pclntab; in callers it starts from
//! the pointers that map calls return.

mod arm64;
mod classify;
mod function;
mod handed;
mod helper;
mod instruction;
mod machine;
mod signature;
mod state;
mod value;
mod x86;

pub use classify::{Target, classify};
pub use function::{
    Call, FunctionFlow, Lefts, Live, Site, Spilled, abi, analyse, analyse_pointers, analyse_with,
    returns,
};
pub use handed::{Handed, Way};
pub use instruction::{Control, Instruction};
pub use machine::{Operand, written};
pub use signature::{Signature, signature};
pub use value::{Area, Areas, Expr, HERE, Value, What};
