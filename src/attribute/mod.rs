//! Samples + program -> [`Attribution`]: which map, bucket or group, slot and byte each access hit,
//! on what evidence; and, for each that cannot be placed, the reason.

mod admitted;
mod assemble;
mod binary;
mod blocks;
mod callers;
mod chains;
mod code;
mod complete;
mod declared;
mod directories;
pub mod flow;
mod grid;
mod hits;
mod instant;
mod keys;
mod last;
mod lasting;
mod leaf;
mod learn;
mod marking;
mod names;
mod nearby;
mod operand;
mod pages;
mod phase;
mod places;
mod position;
mod positioned;
mod regions;
mod resolve;
mod row;
mod rows;
mod run;
mod slots;
mod sole;
mod source;
mod spaces;
mod statements;
mod steps;
mod stride;
mod succession;
mod tenure;
mod testimony;
mod timelines;
pub mod trace;
mod types;
mod unattributed;
mod under;
mod votes;

pub use code::steps_of;
pub use declared::{Declared, Disagreement, Said, Verdict};
pub use hits::{Hit, Hits, ReadHits};
pub use names::{Named, sites_of};
pub use run::{attribute, attribute_watching};
pub use unattributed::Reason;

use crate::gomap::{MapType, Part};
use crate::recording::Column;
use serde::{Deserialize, Serialize};

/// No map, no place, no array: the ids of [`Attribution`] and [`Hit`] use it.
pub const NONE: u32 = u32::MAX;

/// One row a sample, in the order of `Samples`; no sample is dropped.
#[derive(Debug, Default)]
pub struct Attribution {
    /// Index into `places`.
    pub place: Column<u32>,
    /// `Ok`: the part; `Err`: why there is none.
    pub part: Vec<Result<Part, Reason>>,
    pub hits: Hits,
    pub places: Vec<Place>,
    pub maps: Vec<Map>,
    pub arrays: Vec<Array>,
    /// Pairs of evidence that disagreed, and how often.
    pub contradictions: Vec<Contradiction>,
    /// By image of the recording's address space: its DWARF beside the data flow.
    pub declared: Vec<Option<Declared>>,
    /// The core or snapshot that was given is of none of the recorded processes: it was not used.
    pub foreign_core: bool,
}

impl Attribution {
    /// What sample `i` hit.
    #[inline]
    pub fn hit(&self, i: usize) -> Hit {
        self.hits.get(i)
    }

    /// Lets go of what samples after the first `rows` hit, by [`Column::shorten`].
    pub fn shorten(&mut self, rows: usize) {
        self.place.shorten(rows);
        self.part.truncate(self.place.len());
        self.part.shrink_to_fit();
        self.hits.shorten(rows);
    }
}

/// One instruction that samples hit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Place {
    pub ip: u64,
    /// As recorded, e.g. the path of the binary, or `[kernel]`.
    pub image: String,
    /// The function that the instruction's bytes belong to.
    pub function: Option<String>,
    /// Bytes from the function's first instruction to this one, where that is known.
    #[serde(default)]
    pub offset: Option<u64>,
    /// Innermost inlined function first, the outermost last; empty without symbols.
    pub frames: Vec<crate::program::Frame>,
    /// The instruction as text, where it was decoded.
    pub instruction: Option<String>,
    pub operation: Option<Operation>,
    pub phase: Option<Phase>,
    /// The map function that the code, which is none, runs for.
    #[serde(default)]
    pub on_behalf: Option<String>,
    /// Where the instruction stands in its operation: one run through it comes by in this order, loops
    /// apart. The high half is the function's turn, the low half the rank in the function.
    #[serde(default)]
    pub step: Option<u32>,
}

/// What a piece of map code does for its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Access,
    Assign,
    Delete,
    Iterate,
    Grow,
    Clear,
    Make,
}

/// The step of an operation that an access belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    CheckFlags,
    /// The store that begins a writing operation: `hashWriting`, `writing`.
    SetFlag,
    /// The one that ends it.
    ClearFlag,
    Hash,
    Locate,
    CompareControl,
    CompareKey,
    ReadElem,
    WriteElem,
    WriteControl,
    WriteKey,
    ClearKey,
    ClearElem,
    MarkEmpty,
    BackPropagate,
    Count,
    Evacuate,
    Iterate,
    Clear,
    Allocate,
    NilCheck,
}

/// A map of the program, as far as the recording tells it from others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Map {
    /// As a person would name it: `map[string]*main.session at cache.go:42`.
    pub name: String,
    /// The global variable that it is kept in, where a call site loads it from one.
    pub variable: Option<String>,
    /// `file:line` of the call site that most of its samples came through.
    pub site: Option<String>,
    /// Index into `Program::map_types`, by descriptor, where the type is known.
    pub map_type: Option<MapType>,
    /// Address of the hmap or Map, where known.
    pub header: Option<u64>,
    /// Where the header is not known: the lowest bucket or group seen of the one array that this is.
    pub memory: Option<u64>,
    /// Where the header is not known: the address of the variable that the map was taken from.
    pub held_by: Option<u64>,
    /// That variable holds this map and no other for as long as the program runs.
    #[serde(default)]
    pub lasting: bool,
}

impl Map {
    /// Whether it is told from other maps of its type. A variable may hold one after the other.
    pub fn is_told_apart(&self) -> bool {
        self.lasting || self.header.or(self.memory).is_some()
    }
}

/// A bucket array, or the groups of one table.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Array {
    /// Index into `Attribution::maps`, or [`NONE`].
    pub map: u32,
    pub base: u64,
    /// Bytes of one bucket or group.
    pub stride: u64,
    /// Buckets or groups seen: the highest index + 1.
    pub len: u32,
    pub old: bool,
}

/// How a sample's part, slot or map was established; the strongest that held.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Evidence {
    #[default]
    None,
    /// The instruction alone.
    Code,
    /// The instruction and the data address.
    Address,
    /// The static type at the caller.
    CallSite,
    Position,
    /// The memory belongs to a map that other samples established.
    LearnedRegion,
    /// A core file or a snapshot.
    Heap,
    /// Sampled registers name the object.
    Registers,
}

impl Evidence {
    /// Every one, by its number.
    pub const ALL: [Evidence; 8] = [
        Evidence::None,
        Evidence::Code,
        Evidence::Address,
        Evidence::CallSite,
        Evidence::Position,
        Evidence::LearnedRegion,
        Evidence::Heap,
        Evidence::Registers,
    ];
}

/// Two kinds of evidence that disagreed about samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contradiction {
    pub stronger: Evidence,
    pub weaker: Evidence,
    /// What they disagreed about, in one sentence.
    pub about: String,
    pub samples: u64,
}
