//! Which maps there are, and what a person would call them.

use super::run::{ChainSite, VARIABLE};
use super::types::{TypeId, Types};
use super::{Map, NONE};
use crate::program::Program;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What one map was seen to be: its header and type; without a header, the memory of its buckets;
/// without that, its type and call site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Header(u64, Option<TypeId>),
    /// Which of the regions.
    Region(u32),
    Site(TypeId, u32, u64),
    Type(TypeId),
}

/// Image and link-time return address of a call site.
type Site = (u32, u64);

#[derive(Debug, Default)]
struct SiteCount {
    samples: u64,
    /// Image and address of the variable that the map comes from.
    variable: Option<(u32, u64)>,
}

#[derive(Debug, Default)]
struct Seen {
    map_type: Option<TypeId>,
    header: u64,
    memory: Option<u64>,
    sites: FxHashMap<Site, SiteCount>,
}

#[derive(Debug, Default)]
pub struct Names {
    ids: FxHashMap<Key, u32>,
    seen: Vec<Seen>,
}

impl Names {
    /// The id of the map that a sample hit; [`NONE`] where neither header nor region nor type is
    /// known. `region` is the number and the start of a region of one map.
    pub fn map_of(
        &mut self,
        header: u64,
        map_type: Option<TypeId>,
        region: Option<(u32, u64)>,
        site: Option<&ChainSite>,
    ) -> u32 {
        let unknown = header == 0 || header & VARIABLE != 0;
        let region = region.filter(|_| unknown);
        let key = match (header, region, map_type, site) {
            (_, Some((region, _)), _, _) => Key::Region(region),
            (0, _, None, _) => return NONE,
            (0, _, Some(t), Some(site)) => Key::Site(t, site.image, site.ret),
            (0, _, Some(t), None) => Key::Type(t),
            (header, _, t, _) => Key::Header(header, t),
        };
        let id = *self.ids.entry(key).or_insert_with(|| {
            self.seen.push(Seen {
                map_type,
                header,
                memory: region.map(|(_, start)| start),
                ..Seen::default()
            });
            self.seen.len() as u32 - 1
        });
        if let (Some(site), Some(seen)) = (site, self.seen.get_mut(id as usize)) {
            let variable = site.typed.global.map(|global| (site.image, global));
            let count = seen
                .sites
                .entry((site.image, site.ret))
                .or_insert(SiteCount {
                    samples: 0,
                    variable,
                });
            count.samples += 1;
        }
        id
    }

    pub fn finish(self, types: &Types, programs: &[Option<Arc<Program>>]) -> Vec<Map> {
        self.seen
            .iter()
            .map(|seen| name(seen, types, programs))
            .collect()
    }
}

fn name(seen: &Seen, types: &Types, programs: &[Option<Arc<Program>>]) -> Map {
    let program = |image: u32| programs.get(image as usize).and_then(Option::as_ref);
    let mut sites: Vec<_> = seen.sites.iter().collect();
    sites.sort_unstable_by_key(|(site, count)| (std::cmp::Reverse(count.samples), **site));
    let variable = sites.iter().find_map(|(_, count)| {
        let (image, address) = count.variable?;
        let (name, _) = program(image)?.variable_at(address)?;
        Some(name.to_owned())
    });
    let site = sites.first().and_then(|((image, ret), _)| {
        let frames = program(*image)?.frames_at(ret.checked_sub(1)?);
        let frame = frames.first()?;
        let file = frame.file.as_deref()?.rsplit('/').next()?.to_owned();
        Some(format!("{file}:{}", frame.line?))
    });
    let map_type = seen.map_type.and_then(|t| types.get(t)).cloned();
    let mut name = map_type
        .as_ref()
        .map_or_else(|| "map".to_owned(), |t| t.name.clone());
    match (&variable, &site) {
        (Some(variable), _) => name = format!("{name} {variable}"),
        (None, Some(site)) => name = format!("{name} at {site}"),
        (None, None) if seen.header != 0 => name = format!("{name} {:#x}", seen.header),
        (None, None) => {}
    }
    if let Some(memory) = seen.memory {
        name = format!("{name} in {memory:#x}");
    }
    let header = (seen.header != 0 && seen.header & VARIABLE == 0).then_some(seen.header);
    Map {
        name,
        variable,
        site,
        map_type,
        header,
        memory: seen.memory,
        held_by: (seen.header & VARIABLE != 0).then_some(seen.header & !VARIABLE),
    }
}
