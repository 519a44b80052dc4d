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
mod decode;
mod error;
mod image;
mod mark;
mod memory;
mod region;
mod size_class;
mod spans;
mod swiss;

pub use decode::{Control, Form};
pub use error::HeapError;
pub use region::{Kind, Region};

use crate::gomap::{Family, MapType};
use crate::program::Program;
use decode::{Decoded, Source};
use image::Image;
use mark::Marked;
use memory::Memory;
use spans::{Spans, State};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The maps of a process when its core or snapshot was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Heap {
    /// The core file.
    pub path: PathBuf,
    /// By address of the header.
    pub maps: Vec<HeapMap>,
    /// By address; none overlaps another.
    pub regions: Vec<Region>,
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
            missing: memory.missing,
        };
        for header in headers(&source, &marked) {
            let Some((map_type, decoded)) = typed(&source, header) else {
                continue;
            };
            heap.add(header, map_type, decoded);
        }
        heap.sort_regions();
        Ok(heap)
    }

    /// The region that `addr` is in.
    pub fn find(&self, addr: u64) -> Option<&Region> {
        let after = self.regions.partition_point(|r| r.start <= addr);
        let region = self.regions.get(after.checked_sub(1)?)?;
        (addr - region.start < region.len).then_some(region)
    }

    /// The map that a region belongs to.
    pub fn map_of(&self, region: &Region) -> Option<&HeapMap> {
        self.maps.get(region.map as usize)
    }

    fn add(&mut self, header: u64, map_type: Option<Arc<MapType>>, decoded: Decoded) {
        let map = self.maps.len() as u32;
        self.maps.push(HeapMap {
            header,
            map_type,
            name: None,
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

/// Live objects that are as large as a header and have its invariants.
fn headers(source: &Source, marked: &Marked) -> Vec<u64> {
    let size = source.image.layout.header_size();
    let class = size_class::slot_for(size, false, source.image.go.minor);
    let mut found = Vec::new();
    for (index, span) in source.spans.all.iter().enumerate() {
        if span.state != State::Heap || span.noscan || Some(span.elemsize) != class.map(|c| c.size)
        {
            continue;
        }
        for slot in 0..span.nelems {
            if marked.contains(index, slot) {
                found.push(span.start + slot * span.elemsize);
            }
        }
    }
    found
}

/// What the header at `at` leads to, and its type where only one fits.
fn typed(source: &Source, at: u64) -> Option<(Option<Arc<MapType>>, Decoded)> {
    let mut fitting = source
        .image
        .program
        .map_types
        .iter()
        .filter_map(|map_type| {
            let decoded = match source.image.layout.family {
                Family::Classic => classic::Hmap::read(source, at)?.decode(source, at, map_type),
                Family::Swiss => swiss::Map::read(source, at)?.decode(source, at, map_type),
            };
            Some((map_type, decoded?))
        });
    let (first, decoded) = fitting.next()?;
    let only = fitting.next().is_none();
    Some((only.then(|| Arc::new(first.clone())), decoded))
}
