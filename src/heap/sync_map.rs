//! `sync.Map` in memory: two maps behind a lock up to Go 1.23, a `HashTrieMap` from 1.24 on.
//! `sync/map.go`, `internal/sync/hashtriemap.go`.

use super::decode::{Control, Decoded, Form, Source};
use super::region::{Kind, Region};
use crate::gomap::Family;
use rustc_hash::FxHashSet;

/// The type of the maps in a `sync.Map` up to Go 1.23.
pub(super) const INNER_TYPE: &str = "map[interface {}]*sync.entry";

/// `HashTrieMap`: `inited u32, initMu, root *indirect` at 16.
const TRIE_SIZE: u64 = 48;
const TRIE_ROOT: u64 = 16;
/// `indirect`: `isEntry bool, dead u32, mu, parent, children [16]*node`.
const INDIRECT_SIZE: u64 = 152;
const CHILDREN: u64 = 24;
/// `entry[any, any]`: `isEntry bool, overflow *entry, key, value any`.
const ENTRY_SIZE: u64 = 48;
const ENTRY_OVERFLOW: u64 = 8;

/// Offsets of `read` (the pointer in it), `dirty`, and the size. Up to 1.18 `read` is an
/// `atomic.Value`, whose second word is the pointer.
fn offsets(minor: u32) -> (u64, u64, u64) {
    match minor {
        ..=18 => (16, 24, 40),
        _ => (8, 16, 32),
    }
}

/// The maps in a `sync.Map` of Go up to 1.23: the field's name and the header's address.
pub(super) fn inner(source: &Source, at: u64) -> Vec<(&'static str, u64)> {
    let (read, dirty, _) = offsets(source.image.go.minor);
    let word = |at: u64| source.memory.u64(at).filter(|&word| word != 0);
    let read = word(at.wrapping_add(read)).and_then(word);
    let dirty = word(at.wrapping_add(dirty));
    let named = [("read.m", read), ("dirty", dirty)];
    (named.into_iter())
        .filter_map(|(name, header)| Some((name, header?)))
        .collect()
}

/// The `sync.Map` at `at`, without the maps in it; `None` when there is none.
pub(super) fn decode(source: &Source, at: u64) -> Option<Decoded> {
    match source.image.layout.family {
        Family::Classic => classic(source, at),
        Family::Swiss => trie(source, at),
    }
}

fn classic(source: &Source, at: u64) -> Option<Decoded> {
    let (read, dirty, size) = offsets(source.image.go.minor);
    let word = |at: u64| source.memory.u64(at);
    let mut regions = vec![Region::one(Kind::SyncMap, at, size)];
    let read = word(at.checked_add(read)?)?;
    let dirty = word(at.checked_add(dirty)?)?;
    let mut map = dirty;
    if read != 0 {
        source.object_of(read, 16, false)?;
        regions.push(Region::one(Kind::ReadOnly, read, 16));
        // dirty, where there is one, has everything that read has.
        map = if dirty == 0 { word(read)? } else { dirty };
    }
    Some(Decoded {
        count: if map == 0 { 0 } else { word(map)? },
        form: Form::SyncMap,
        regions,
        ..Decoded::default()
    })
}

fn trie(source: &Source, at: u64) -> Option<Decoded> {
    let memory = source.memory;
    let mut regions = vec![Region::one(Kind::HashTrieMap, at, TRIE_SIZE)];
    let mut seen = FxHashSet::default();
    let mut open = vec![memory.u64(at.checked_add(TRIE_ROOT)?)?];
    let mut count = 0;
    while let Some(node) = open.pop() {
        if node == 0 || !seen.insert(node) {
            continue;
        }
        if memory.u8(node)? & 1 != 0 {
            source.object_of(node, ENTRY_SIZE, false)?;
            regions.push(Region::one(Kind::TrieEntry, node, ENTRY_SIZE));
            count += 1;
            open.push(memory.u64(node.checked_add(ENTRY_OVERFLOW)?)?);
        } else {
            source.object_of(node, INDIRECT_SIZE, false)?;
            regions.push(Region::one(Kind::TrieIndirect, node, INDIRECT_SIZE));
            let children = node.checked_add(CHILDREN)?;
            open.extend(memory.words(children, 128).map(|(_, child)| child));
        }
    }
    Some(Decoded {
        count,
        form: Form::SyncMap,
        control: Control {
            full: count,
            ..Control::default()
        },
        regions,
        ..Decoded::default()
    })
}
