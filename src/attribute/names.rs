//! Which maps there are, and what a person would call them.

use super::binary::Binary;
use super::chains::ChainSite;
use super::lasting::Lasting;
use super::row::VARIABLE;
use super::source::expression;
use super::spaces::Spaces;
use super::types::{TypeId, TypedSite, Types};
use super::{Map, NONE};
use crate::gomap::MapType;
use crate::heap::Heap;
use crate::program::{Kept, Program, Root};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What one map was seen to be: its header and type; without a header, the memory of its buckets;
/// without that, its type and call site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Header(u64, Option<TypeId>),
    /// Which of the regions.
    Region(u32),
    /// With the mark of the address space, as the next.
    Site(TypeId, u32, u64, u64),
    Type(TypeId, u64),
}

/// Image and link-time return address of a call site.
type Site = (u32, u64);

#[derive(Debug)]
struct Seen<'a> {
    /// The first sample that hit it, and what that one says.
    first: u32,
    owner: Owner,
    sites: FxHashMap<Site, SiteCount<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    map_type: Option<TypeId>,
    header: u64,
    memory: Option<u64>,
    /// The mark of its address space.
    space: u64,
}

/// What samples at one call site say of a map.
#[derive(Debug, Clone, Copy)]
struct SiteCount<'a> {
    samples: u64,
    /// The first of them, and what it says.
    first: u32,
    typed: &'a TypedSite,
    /// Callers hand different maps to the function that the call is in.
    differ: bool,
}

impl<'a> SiteCount<'a> {
    fn merge(&mut self, other: SiteCount<'a>) {
        let first = if other.first < self.first {
            other
        } else {
            *self
        };
        *self = SiteCount {
            samples: self.samples + other.samples,
            differ: self.differ || other.differ || self.typed.kept != other.typed.kept,
            ..first
        };
    }

    fn kept(&self) -> Option<&'a Kept> {
        self.typed.kept.as_ref().filter(|_| !self.differ)
    }
}

impl<'a> Seen<'a> {
    fn hear(&mut self, site: Site, count: SiteCount<'a>) {
        let known = self.sites.entry(site);
        let known = known.and_modify(|known| known.merge(count));
        known.or_insert(count);
    }
}

/// Maps by number.
#[derive(Debug, Default)]
pub struct Names<'a> {
    ids: FxHashMap<Key, u32>,
    seen: Vec<(Key, Seen<'a>)>,
}

impl<'a> Names<'a> {
    /// The number of the map that so many samples hit, the first of them; [`NONE`] where neither header nor
    /// region nor type is known. `region` is the number and the start of a region of one map, where nothing
    /// else tells which.
    pub fn map_of(
        &mut self,
        header: u64,
        map_type: Option<TypeId>,
        region: Option<(u32, u64)>,
        site: Option<&'a ChainSite>,
        space: u64,
        (first, samples): (u32, u32),
    ) -> u32 {
        let key = match (header, region, map_type, site) {
            (_, Some((region, _)), _, _) => Key::Region(region),
            (0, _, None, _) => return NONE,
            (0, _, Some(t), Some(site)) => Key::Site(t, site.image, site.ret, space),
            (0, _, Some(t), None) => Key::Type(t, space),
            (header, _, t, _) => Key::Header(header, t),
        };
        let owner = Owner {
            map_type,
            header,
            memory: region.map(|(_, start)| start),
            space,
        };
        let (number, seen) = self.see(key, first, owner);
        if let Some(site) = site {
            let count = SiteCount {
                samples: samples.into(),
                first,
                typed: &site.typed,
                differ: false,
            };
            seen.hear((site.image, site.ret), count);
        }
        number
    }

    fn see(&mut self, key: Key, first: u32, owner: Owner) -> (u32, &mut Seen<'a>) {
        let number = *self.ids.entry(key).or_insert_with(|| {
            let seen = Seen {
                first,
                owner,
                sites: FxHashMap::default(),
            };
            self.seen.push((key, seen));
            self.seen.len() as u32 - 1
        });
        let (_, seen) = &mut self.seen[number as usize];
        if first < seen.first {
            (seen.first, seen.owner) = (first, owner);
        }
        (number, seen)
    }

    /// Adds the maps of others; returns the number of each.
    pub fn add(&mut self, others: Names<'a>) -> Vec<u32> {
        let add = |(key, seen): (Key, Seen<'a>)| {
            let (number, known) = self.see(key, seen.first, seen.owner);
            for (site, count) in seen.sites {
                known.hear(site, count);
            }
            number
        };
        others.seen.into_iter().map(add).collect()
    }

    /// Numbers the maps as samples came by them; returns the new number of each.
    pub fn sort(&mut self) -> Vec<u32> {
        self.ids.clear();
        in_order(&mut self.seen, |(_, seen)| seen.first)
    }

    /// The maps by number.
    pub fn finish(
        self,
        types: &Types,
        programs: &[Option<Arc<Program>>],
        heap: Option<&Heap>,
        lasting: &Lasting,
        spaces: &Spaces,
    ) -> Vec<Map> {
        let map = |(_, seen): &(Key, Seen)| {
            let mut map = name(seen, types, programs, heap, spaces);
            map.lasting = lasting.keeps(seen.owner.header);
            // Processes of one program have the same maps.
            if let Some(pid) = spaces.pid_of(seen.owner.space) {
                map.name = format!("{} of pid {pid}", map.name);
            }
            map
        };
        self.seen.iter().map(map).collect()
    }
}

/// Puts these in order of the samples that come first; returns the new number of each.
pub fn in_order<T>(all: &mut [T], first: impl Fn(&T) -> u32) -> Vec<u32> {
    let mut order: Vec<(u32, usize)> = all.iter().map(&first).zip(0..).collect();
    order.sort_unstable();
    let mut numbers = vec![0; order.len()];
    for ((_, before), number) in order.into_iter().zip(0..) {
        numbers[before] = number;
    }
    all.sort_by_key(first);
    numbers
}

/// What the heap calls the map with this header, if that one is of the same type: a header's memory may
/// have been another map's before.
fn name_in_heap(heap: &Heap, header: u64, map_type: &MapType) -> Option<String> {
    let map = heap.map_at(header)?;
    let same = map
        .map_type
        .as_ref()
        .is_some_and(|t| t.name == map_type.name);
    map.name.clone().filter(|_| same)
}

fn name(
    seen: &Seen,
    types: &Types,
    programs: &[Option<Arc<Program>>],
    heap: Option<&Heap>,
    spaces: &Spaces,
) -> Map {
    let owner = &seen.owner;
    let plain = spaces.plain(owner.header);
    let memory = owner.memory.map(|memory| spaces.plain(memory));
    let program = |image: u32| programs.get(image as usize).and_then(Option::as_ref);
    let mut sites: Vec<_> = seen.sites.iter().collect();
    sites.sort_unstable_by_key(|(site, count)| (std::cmp::Reverse(count.samples), **site));
    let map_type = owner.map_type.and_then(|t| types.get(t)).cloned();
    let mut name = map_type
        .as_ref()
        .map_or_else(|| "map".to_owned(), |t| t.name.clone());
    let named: Vec<Named> = sites
        .iter()
        .take(MOST_SITES)
        .filter_map(|((image, ret), count)| {
            Some(named(
                program(*image)?,
                *ret,
                &count.typed.callee,
                count.kept(),
            ))
        })
        .collect();
    let site = named.iter().find_map(|n| n.site.clone());
    let held_by = (plain & VARIABLE != 0).then_some(plain & !VARIABLE);
    let held = held_by.and_then(|address| {
        let (name, 0) = programs
            .iter()
            .flatten()
            .find_map(|p| p.variable_at(address))?
        else {
            return None;
        };
        Some(name.to_owned())
    });
    let variable = held.or_else(|| named.iter().find_map(|n| n.global.clone()));
    // A global is the map's own name; a field says more than a local variable of the busiest site.
    let field = named.iter().filter_map(|n| n.expression.as_ref());
    let field = field
        .clone()
        .find(|e| e.contains('.'))
        .or(field.clone().next());
    if let Some(site) = &site {
        name = format!("{name} at {site}");
    }
    let in_heap = match (heap, &map_type) {
        (Some(heap), Some(map_type)) => name_in_heap(heap, owner.header, map_type),
        _ => None,
    };
    let from_heap = in_heap.as_ref();
    // A path from a global says more than what the busiest caller writes.
    match variable.as_ref().or(from_heap).or(field) {
        Some(expression) => name = format!("{name} ({expression})"),
        None if site.is_none() && plain != 0 && held_by.is_none() => {
            name = format!("{name} {plain:#x}")
        }
        None => {}
    }
    if let (Some(address), None) = (held_by, &variable) {
        name = format!("{name} held by {address:#x}");
    }
    if let Some(memory) = memory {
        name = format!("{name} in {memory:#x}");
    }
    let header = (plain != 0 && plain & VARIABLE == 0).then_some(plain);
    Map {
        name,
        variable,
        site,
        map_type,
        header,
        memory,
        held_by,
        lasting: false,
    }
}

/// Call sites of one map that are asked for its name, the busiest first.
const MOST_SITES: usize = 8;

/// What a call site says of its map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// `cache.go:42`.
    pub site: Option<String>,
    /// The global variable, with its package: `main.sessions`, `main.config.hosts`.
    pub global: Option<String>,
    /// As the caller writes it: `s.sessions`.
    pub expression: Option<String>,
}

fn named(program: &Program, ret: u64, callee: &str, kept: Option<&Kept>) -> Named {
    let frames = program.frames_at(ret.saturating_sub(1));
    let place = frames
        .first()
        .and_then(|f| Some((f.file.as_deref()?, f.line?)));
    let site = place.map(|(file, line)| {
        let name = file.rsplit('/').next().unwrap_or(file);
        format!("{name}:{line}")
    });
    let known = kept.and_then(|kept| match kept {
        // A plain global needs the symbol table only.
        Kept {
            root: Root::Global(address),
            steps,
        } if steps.is_empty() => match program.variable_at(*address)? {
            (name, 0) => Some(name.to_owned()),
            _ => program.name_of(kept),
        },
        _ => program.name_of(kept),
    });
    let global = kept.is_some_and(|kept| matches!(kept.root, Root::Global(_)));
    let written =
        place.and_then(|(file, line)| expression(&program.source_line(file, line)?, callee));
    Named {
        site,
        global: known.clone().filter(|_| global),
        expression: agreed(known, written),
    }
}

/// The source's expression, unless it is not of the field that the code loads: then the file is
/// another version of the one that was built, or the line has several maps.
fn agreed(known: Option<String>, written: Option<String>) -> Option<String> {
    let last = |text: &str| {
        let name = text.rsplit('.').next().unwrap_or(text);
        name.split('[').next().unwrap_or(name).to_owned()
    };
    match (known, written) {
        (Some(known), Some(written)) if last(&known) == last(&written) => Some(written),
        (Some(known), _) => Some(known),
        (None, written) => written,
    }
}

/// The map call sites of the function `name`, by address: what each calls, and what it says of its map.
pub fn sites_of(program: &Arc<Program>, name: &str) -> Vec<(String, Named)> {
    let mut binary = Binary::new(Arc::clone(program), &mut Types::default());
    let starts = program.functions().iter().filter(|f| f.name == name);
    let starts: Vec<u64> = starts.map(|f| f.start).collect();
    let mut sites = Vec::new();
    for start in starts {
        let Some(flow) = binary.flow(start) else {
            continue;
        };
        let mut returns: Vec<u64> = flow.calls.keys().copied().collect();
        returns.sort_unstable();
        for ret in returns {
            if let Some(site) = super::callers::call_site(&mut binary, ret) {
                let named = named(program, ret, &site.callee, site.kept.as_ref());
                sites.push((site.callee, named));
            }
        }
    }
    sites
}
