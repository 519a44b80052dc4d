//! One binary: ELF, Go's build information, pclntab, DWARF, type descriptors. Knows nothing of perf.

use crate::gomap::MapType;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A binary, opened once and asked many times. All addresses are link-time addresses (vaddr).
#[derive(Debug)]
pub struct Program {
    pub path: PathBuf,
    /// GNU build id, else Go's build id as bytes of its text.
    pub build_id: Option<Vec<u8>>,
    pub arch: Arch,
    pub go: Option<Go>,
    pub map_types: Vec<MapType>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    X86_64,
    Aarch64,
    Other,
}

/// What a Go binary says of its own build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Go {
    /// `go1.22.10`, `go1.24.11 X:noswissmap`, ...
    pub version: String,
    /// The 22 of `go1.22.10`.
    pub minor: u32,
    /// `noswissmap`, `mapsplitgroup`, ...
    pub experiments: Vec<String>,
    pub module: Option<String>,
    /// `-compiler`, `CGO_ENABLED`, `GOAMD64`, `vcs.revision`, ...
    pub settings: Vec<(String, String)>,
}

/// One function of an inline chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    pub function: String,
    pub file: Option<String>,
    pub line: Option<u32>,
}

/// A function's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub start: u64,
    /// Exclusive.
    pub end: u64,
}
