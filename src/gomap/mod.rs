//! Go's map layouts as pure functions: one file a layout, and the list [`LAYOUTS`].
//!
//! Nothing here reads a file or knows a sample: a [`MapType`] and an offset go in, a [`Part`] and a
//! slot come out.

mod part;

pub use part::{Part, Stage};

use serde::{Deserialize, Serialize};

/// A map type of the program, from its type descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapType {
    /// Link-time address of the descriptor (`abi.MapType`, `abi.SwissMapType`, `runtime.maptype`).
    pub addr: u64,
    /// As Go prints it: `map[string]*main.session`.
    pub name: String,
    pub key: String,
    pub elem: String,
    /// Sizes of key and elem themselves, in bytes, also when the slot holds a pointer to them.
    pub key_size: u64,
    pub elem_size: u64,
    /// The slot holds a pointer to the key (or elem), which is allocated by itself.
    pub indirect_key: bool,
    pub indirect_elem: bool,
    pub shape: Shape,
}

/// The geometry of a bucket or a group, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Go <= 1.23, and 1.24/1.25 with `noswissmap`:
    /// `tophash[8] | keys[8] | elems[8] | overflow`.
    Classic {
        /// `maptype.KeySize` and `ValueSize`: the strides.
        key_stride: u64,
        elem_stride: u64,
        bucket_size: u64,
        /// 48, or 56 with `clearSeq` (`noswissmap` of 1.24 and 1.25).
        hmap_size: u64,
    },
    /// Go >= 1.24: `ctrl[8]`, then slots, interleaved or split:
    /// `key(i) = keys_off + i * key_stride`, `elem(i) = elems_off + i * elem_stride`.
    Swiss {
        group_size: u64,
        keys_off: u64,
        key_stride: u64,
        elems_off: u64,
        elem_stride: u64,
    },
}
