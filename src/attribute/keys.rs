//! What the functions that hash and compare keys say of the keys: a type descriptor names one for its
//! kind of key, so a table whose keys `memhash32` reads has keys of 4 bytes.

use crate::gomap::MapType;

/// A kind of key with a hash function, or an equality, of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// Memory of so many bytes.
    Bytes(u64),
    String,
    Interface,
    /// Memory of any length.
    Memory,
}

/// From `runtime/alg.go` and `cmd/compile/internal/reflectdata/alg.go`.
const KINDS: &[(&str, KeyKind)] = &[
    ("runtime.memhash32", KeyKind::Bytes(4)),
    ("runtime.memhash64", KeyKind::Bytes(8)),
    ("runtime.memhash128", KeyKind::Bytes(16)),
    ("aeshashbody", KeyKind::Memory),
    ("internal/runtime/maps.memHashAES", KeyKind::Memory),
    ("memeqbody", KeyKind::Memory),
    ("runtime.strhash", KeyKind::String),
    ("runtime.interhash", KeyKind::Interface),
    ("runtime.nilinterhash", KeyKind::Interface),
    ("runtime.memequal8", KeyKind::Bytes(1)),
    ("runtime.memequal16", KeyKind::Bytes(2)),
    ("runtime.memequal32", KeyKind::Bytes(4)),
    ("runtime.memequal64", KeyKind::Bytes(8)),
    ("runtime.memequal128", KeyKind::Bytes(16)),
    ("runtime.strequal", KeyKind::String),
    ("runtime.interequal", KeyKind::Interface),
    ("runtime.nilinterequal", KeyKind::Interface),
];

/// Whether a function hashes: `memhash32`, `aeshashbody`, `readUnaligned64` of its fallback.
pub fn hashes(function: &str) -> bool {
    ["hash", "Hash", "runtime.readUnaligned"]
        .iter()
        .any(|word| function.contains(word))
}

/// Whether a function compares: `memequal64`, `memeqbody`, `type:.eq.T`.
pub fn compares(function: &str) -> bool {
    ["equal", "memeq", ".eq."]
        .iter()
        .any(|word| function.contains(word))
}

impl KeyKind {
    /// Of the keys that this function reads.
    pub fn read_by(function: &str) -> Option<KeyKind> {
        let name = function.trim_end_matches("Fallback");
        let (_, kind) = KINDS.iter().find(|(of, _)| *of == name)?;
        Some(*kind)
    }

    /// Whether maps of this type may have such keys in their slots.
    pub fn is_of(self, map_type: &MapType) -> bool {
        let string = map_type.string_key;
        match self {
            _ if map_type.indirect_key => false,
            KeyKind::Bytes(bytes) => map_type.key_size == bytes && !string,
            KeyKind::String => string,
            KeyKind::Interface => map_type.key_size == 16 && !string,
            // The bytes of strings lie elsewhere.
            KeyKind::Memory => !string,
        }
    }
}

/// A key that one sample saw hashed or compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRead {
    pub address: u64,
    pub time: u64,
    pub kind: KeyKind,
}
