//! Where a map is: found by name once, looked up again and again.

use super::memory::ProcessMemory;
use crate::gomap::{Layout, MapType};
use crate::heap::{Heap, HeapError, HeapMap, snapshot};
use crate::program::{Kept, Program, ProgramError, Root};
use crate::record::RecordError;
use crate::record::synthesize::bias;
use crate::record::target::Ended;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Every way in which watching a map fails.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error(transparent)]
    Record(#[from] RecordError),

    #[error("process {pid}: its program cannot be read: {error}")]
    Program { pid: i32, error: Box<ProgramError> },

    #[error(
        "process {pid} runs no Go program of a version that mempath knows: watch an address (--addr 0xc000012340/8:w)"
    )]
    NotGo { pid: i32 },

    #[error(
        "the program has no map '{name}'; its maps are {known}; name one, a field that leads to one (main.cache.sessions), or the address of a header"
    )]
    NoMap { name: String, known: String },

    #[error(
        "'{name}' names {number} maps, of which the first are at {first}; pass the address of one"
    )]
    Several {
        name: String,
        number: usize,
        first: String,
    },

    #[error("looking for '{name}' takes a snapshot, which failed: {error}")]
    Snapshot { name: String, error: Box<HeapError> },

    #[error("{reason}")]
    Word { reason: String },

    #[error(
        "the program was over before its maps could be looked for ({ended}): give it more to do, or watch one that runs (-p)"
    )]
    Early { ended: Ended },
}

/// What leads to a map's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MapPlace {
    /// A variable and the pointers behind it; run-time address minus link-time address.
    Variable { kept: Kept, bias: u64 },
    /// The header itself: a map that no variable with a name leads to.
    Header(u64),
}

impl MapPlace {
    /// The header's address at this moment; `None` while the map is nil or a pointer to it is.
    pub fn header(&self, memory: &ProcessMemory) -> Option<u64> {
        let (kept, bias) = match self {
            MapPlace::Header(header) => return Some(*header),
            MapPlace::Variable { kept, bias } => (kept, bias),
        };
        let Root::Global(root) = kept.root else {
            return None;
        };
        let mut word = memory.u64(root.wrapping_add(*bias))?;
        for step in &kept.steps {
            word = memory.u64(Some(word).filter(|word| *word != 0)?.checked_add(*step)?)?;
        }
        (word != 0).then_some(word)
    }
}

/// A map by name.
#[derive(Debug)]
pub struct Found {
    pub place: MapPlace,
    pub map_type: MapType,
    pub layout: &'static Layout,
    /// How it was found, for people.
    pub how: String,
}

/// Finds the map that `name` names in process `pid`: by debug information, else in a snapshot, which
/// is written to `scratch` and removed again.
///
/// # Errors
///
/// When there is no such map, or the process cannot be looked into.
pub fn find(pid: i32, name: &str, scratch: &Path) -> Result<Found, WatchError> {
    let program = Program::open(&PathBuf::from(format!("/proc/{pid}/exe"))).map_err(|error| {
        WatchError::Program {
            pid,
            error: Box::new(error),
        }
    })?;
    let layout = program.layout().ok_or(WatchError::NotGo { pid })?;
    if let Some((kept, map_type)) = program.map_named(name) {
        let place = MapPlace::Variable {
            kept,
            bias: bias(pid, &program)?,
        };
        return Ok(Found {
            place,
            map_type: map_type.clone(),
            layout,
            how: "by the program's debug information".to_owned(),
        });
    }
    let known = program.map_variables();
    let fail = |error: HeapError| WatchError::Snapshot {
        name: name.to_owned(),
        error: Box::new(error),
    };
    let taken = snapshot::take(pid, scratch).map_err(fail);
    let heap = taken.and_then(|taken| {
        let programs = [Arc::new(program)];
        let heap = Heap::read(scratch, &programs, false).map_err(fail)?;
        Ok((taken, heap))
    });
    // It is of no more use, read or not.
    let _ = std::fs::remove_file(scratch);
    let (taken, heap) = heap?;
    let (header, map_type) = of_heap(&heap, name, known)?;
    Ok(Found {
        place: MapPlace::Header(header),
        map_type,
        layout,
        how: format!(
            "in a snapshot; the process stood still for {:.1} ms",
            taken.paused.as_secs_f64() * 1e3
        ),
    })
}

/// The one map of a heap with this name, type or header address.
fn of_heap(heap: &Heap, name: &str, mut known: Vec<String>) -> Result<(u64, MapType), WatchError> {
    let header = crate::record::sysfs::number(name);
    let fits = |map: &&HeapMap| {
        let of_type = map.map_type.as_ref().is_some_and(|t| t.name == name);
        map.name.as_deref() == Some(name) || Some(map.header) == header || of_type
    };
    let found: Vec<&HeapMap> = heap.maps.iter().filter(fits).collect();
    match found.as_slice() {
        [] => {
            known.extend(heap.maps.iter().filter_map(|map| map.name.clone()));
            known.sort_unstable();
            known.dedup();
            let number = known.len();
            // A screen of them is enough to see how they are named.
            known.truncate(12);
            let more = number.saturating_sub(known.len());
            let mut known = known.join(", ");
            if more > 0 {
                known += &format!(" and {more} more");
            }
            Err(WatchError::NoMap {
                name: name.to_owned(),
                known,
            })
        }
        [map] => match map.fitting.as_slice() {
            [map_type, ..] => Ok((map.header, MapType::clone(map_type))),
            [] => Err(WatchError::Word {
                reason: format!("{name} is a sync.Map, whose words have no names here"),
            }),
        },
        several => {
            let first: Vec<String> = (several.iter().take(4))
                .map(|map| format!("{:#x}", map.header))
                .collect();
            Err(WatchError::Several {
                name: name.to_owned(),
                number: several.len(),
                first: first.join(", "),
            })
        }
    }
}
