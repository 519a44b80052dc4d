//! Every map of a process, from a core file or a snapshot: what it is, how full it is, and which
//! memory is its own.
//!
//! ```text
//! core file ──memory──▶ bytes by address
//! binary    ──image───▶ where it is loaded, its layouts and types
//!                │
//!              spans ──▶ objects ──mark──▶ live ones ──▶ headers by their invariants
//!                                                            │ typed
//!                                        HeapMap and Region ◀┘
//! ```
//!
//! No symbol is needed: `-s -w` changes only how a map is named.

mod classic;
mod code;
mod decode;
mod error;
mod image;
mod mark;
mod memory;
mod region;
mod rtype;
pub mod snapshot;
mod spans;
mod swiss;
mod sync_map;
mod walk;

pub use decode::{Control, Form};
pub use error::HeapError;
pub use region::{Kind, Region};

use crate::gomap::{self, Family, Layout, MapType, size_class};
use crate::program::{Kept, Program, Root};
use decode::{Decoded, Source};
use image::Image;
use mark::Marked;
use memory::Memory;
use spans::{Spans, State};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use walk::{Reached, Walk};

/// The maps of a process when its core or snapshot was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Heap {
    /// The core file.
    pub path: PathBuf,
    /// By address of the header.
    pub maps: Vec<HeapMap>,
    /// By address; none overlaps another.
    pub regions: Vec<Region>,
    /// Link-time address of each variable of the binary that holds a map, and the map's header.
    pub variables: Vec<(u64, u64)>,
    /// The file of the program that it is of.
    pub binary: PathBuf,
    /// Its threads' ids in the pid namespace that it was taken in; one is that of the process.
    pub threads: Vec<i32>,
    /// Bytes of memory that the core's headers promise and the file does not have.
    pub missing: u64,
}

/// One map.
#[derive(Debug, Clone, PartialEq)]
pub struct HeapMap {
    /// Address of the `hmap`, `Map`, `sync.Map` or `HashTrieMap`.
    pub header: u64,
    /// `None` when several types fit equally well, or for `sync.Map`.
    pub map_type: Option<Arc<MapType>>,
    /// Every type that header, arrays and slots fit; `map_type` alone where that is known.
    pub fitting: Vec<Arc<MapType>>,
    /// The variable or field that leads to it: `main.cache.sessions`.
    pub name: Option<String>,
    /// `len(m)`.
    pub count: u64,
    pub form: Form,
    pub control: Control,
    /// How many buckets have a chain of that many overflow buckets, by length. Classic only.
    pub chains: Vec<u64>,
    /// Bytes of all regions.
    pub bytes: u64,
}

impl Heap {
    /// Reads the core at `path` of one of `programs`. `force` accepts a binary of another build id
    /// whose runtime tables are nevertheless those in the core.
    ///
    /// # Errors
    ///
    /// See [`HeapError`]: no core, another machine, another program, cut before the heap.
    pub fn read(path: &Path, programs: &[Arc<Program>], force: bool) -> Result<Heap, HeapError> {
        let memory = Memory::open(path)?;
        let image = Image::find(&memory, programs, force)?;
        let spans = Spans::find(&memory, &image)?;
        let marked = Marked::run(&memory, &image, &spans);
        let room: u64 = spans.all.iter().map(|span| span.end - span.start).sum();
        let source = Source {
            memory: &memory,
            image: &image,
            spans: &spans,
            most_regions: room / 8,
        };
        let mut heap = Heap {
            path: path.to_owned(),
            maps: Vec::new(),
            regions: Vec::new(),
            variables: Vec::new(),
            binary: image.program.path.clone(),
            threads: memory.threads.iter().map(|t| t.tid as i32).collect(),
            missing: memory.missing,
        };
        let reached = reach(&source, &marked);
        for header in headers(&source, &marked, &reached) {
            if let Some(found) = resolve(&source, &reached, header) {
                heap.add(header, found);
            }
        }
        for (&at, name) in &reached.sync_maps {
            if let Some(decoded) = sync_map::decode(&source, at) {
                let found = Found {
                    name: Some(name.clone()),
                    fitting: Vec::new(),
                    decoded,
                };
                heap.add(at, found);
            }
        }
        heap.sort_regions();
        for range in image.program.data_ranges() {
            let start = range.start.saturating_add(7) & !7;
            let words = memory.words(image.addr(start), range.end.saturating_sub(start));
            let held = words.filter(|(_, word)| heap.map_at(*word).is_some());
            let held: Vec<(u64, u64)> = held.map(|(at, word)| (image.vaddr(at), word)).collect();
            heap.variables.extend(held);
        }
        Ok(heap)
    }

    /// The region that `addr` is in.
    pub fn find(&self, addr: u64) -> Option<&Region> {
        let after = self.regions.partition_point(|r| r.start <= addr);
        let region = self.regions.get(after.checked_sub(1)?)?;
        (addr - region.start < region.len).then_some(region)
    }

    /// The map whose header is at `addr`.
    pub fn map_at(&self, addr: u64) -> Option<&HeapMap> {
        let at = self.maps.binary_search_by_key(&addr, |map| map.header);
        self.maps.get(at.ok()?)
    }

    /// The map that a region belongs to.
    pub fn map_of(&self, region: &Region) -> Option<&HeapMap> {
        self.maps.get(region.map as usize)
    }

    fn add(&mut self, header: u64, found: Found) {
        let map = self.maps.len() as u32;
        let Found {
            name,
            fitting,
            decoded,
        } = found;
        let map_type = match &*fitting {
            [only] => Some(Arc::clone(only)),
            _ => None,
        };
        self.maps.push(HeapMap {
            header,
            map_type,
            fitting,
            name,
            count: decoded.count,
            form: decoded.form,
            control: decoded.control,
            chains: decoded.chains,
            bytes: decoded.regions.iter().map(|region| region.len).sum(),
        });
        let regions = decoded.regions.into_iter();
        self.regions
            .extend(regions.map(|region| Region { map, ..region }));
    }

    /// Sorts the regions. Where two claim the same bytes the first stays: two maps cannot own them.
    fn sort_regions(&mut self) {
        self.regions
            .sort_by_key(|region| (region.start, region.map));
        let mut end = 0;
        self.regions.retain(|region| {
            let keep = region.start >= end;
            if keep {
                end = region.start.saturating_add(region.len);
            }
            keep
        });
    }
}

/// A header with what it leads to.
struct Found {
    name: Option<String>,
    fitting: Vec<Arc<MapType>>,
    decoded: Decoded,
}

/// Follows the variables that code and debug information name, then the objects of known type.
fn reach(source: &Source, marked: &Marked) -> Reached {
    let image = source.image;
    let mut walk = Walk::new(source);
    for (vaddr, holds) in code::globals(image) {
        let field = || {
            let root = Root::Global(vaddr);
            image.program.name_of(&Kept {
                root,
                steps: Vec::new(),
            })
        };
        let name = match image.program.variable_at(vaddr) {
            Some((name, 0)) => name.to_owned(),
            Some((name, offset)) => field().unwrap_or_else(|| format!("{name}+{offset:#x}")),
            None => format!("variable {:#x}", image.addr(vaddr)),
        };
        walk.variable(image.addr(vaddr), holds, name);
    }
    for held in walk.held_values() {
        let Root::Global(vaddr) = held.kept.root else {
            continue;
        };
        let step = |at: u64, step: &u64| source.memory.u64(at)?.checked_add(*step);
        if let Some(at) = held.kept.steps.iter().try_fold(image.addr(vaddr), step) {
            walk.variable(at, code::Holds::Value(held.descriptor), held.name);
        }
    }
    walk.objects(|span, slot| marked.contains(span, slot));
    walk.reached
}

/// Live objects that are as large as a header and keep pointers where a header does, and the headers
/// that typed values lead to, wherever they are. By address.
fn headers(source: &Source, marked: &Marked, reached: &Reached) -> Vec<u64> {
    let size = source.image.layout.header_size();
    let mask = header_mask(source.image.layout);
    let class = size_class::slot_for(size, false, source.image.go.minor);
    let mut found: Vec<u64> = reached.maps.keys().copied().collect();
    for (index, span) in source.spans.all.iter().enumerate() {
        if span.state != State::Heap || span.noscan || Some(span.elemsize) != class.map(|c| c.size)
        {
            continue;
        }
        for slot in (0..span.nelems).filter(|&slot| marked.contains(index, slot)) {
            let own = source.spans.pointer_mask(source.memory, span, slot);
            if own.is_none_or(|own| own == mask) {
                found.push(span.start + slot * span.elemsize);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Which words of a header are pointers.
fn header_mask(layout: &Layout) -> u64 {
    (layout.header.iter())
        .filter(|field| matches!(field.holds, gomap::Holds::Pointer(_)))
        .fold(0, |mask, field| mask | 1 << (field.off / 8))
}

/// The header at `at` with everything that it leads to, if it is a map of this type.
fn decode_header(source: &Source, at: u64, map_type: &MapType) -> Option<Decoded> {
    match source.image.layout.family {
        Family::Classic => classic::Hmap::read(source, at)?.decode(source, at, map_type),
        Family::Swiss => swiss::Map::read(source, at)?.decode(source, at, map_type),
    }
}

/// What the header at `at` leads to. `None` when no type of the program fits, and for headers
/// without any array that nothing typed leads to: those could be anything.
fn resolve(source: &Source, reached: &Reached, at: u64) -> Option<Found> {
    if let Some(named) = reached.maps.get(&at) {
        return Some(Found {
            name: Some(named.name.clone()),
            fitting: vec![Arc::clone(&named.map_type)],
            decoded: decode_header(source, at, &named.map_type)?,
        });
    }
    let mut fitting: Vec<Arc<MapType>> = Vec::new();
    let mut found = None;
    for map_type in &source.image.program.map_types {
        if let Some(decoded) = decode_header(source, at, map_type)
            && !source.contradicts(map_type, &decoded)
        {
            fitting.push(Arc::new(map_type.clone()));
            found = found.or(Some(decoded));
        }
    }
    let decoded = found.filter(|decoded| decoded.regions.len() > 1)?;
    Some(Found {
        name: None,
        fitting,
        decoded,
    })
}
