//! From a recording and its binaries to the [`Attribution`], rung by rung.

use super::blocks::Blocks;
use super::callers::{call_site, outermost_map_call};
use super::flow::Target;
use super::instant::Instant;
use super::keys::{KeyKind, KeyRead};
use super::leaf;
use super::learn::{KnownArray, Learned, part_at};
use super::marking::{Marking, marks, reads};
use super::names::{Names, through_callers};
use super::places::{Binary, Code, is_proxy};
use super::position::{Admitted, Located, Start, Starts};
use super::regions::{Content, Regions, Seen, Witness};
use super::resolve::{About, Context, Fact, Row, resolve};
use super::trace::{Given, Trace, Tracer};
use super::types::{ShapeId, TypeId, TypedSite, Types};
use super::under::{Turn, turn};
use super::{Array, Attribution, Contradiction, Evidence, NONE, Place, Reason};
use crate::gomap::{Layout, Part, Structure, layout_for};
use crate::heap::Heap;
use crate::pmu::Ip;
use crate::program::kernel::{KERNEL, Kernel};
use crate::program::{Frame, Program};
use crate::recording::{ImageId, Recording};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// `PERF_RECORD_MISC_USER` and `PERF_RECORD_MISC_GUEST_USER`.
const USER: [u8; 2] = [2, 5];

/// Marks, in place of a header that no sample knows, the address of the variable that holds the map.
/// User addresses never have this bit.
pub(super) const VARIABLE: u64 = 1 << 63;

/// Samples that one thread resolves at a time.
const CHUNK: usize = 1 << 16;

/// Attributes every sample. `programs[image]` is the binary of an image of the recording's address
/// space, where it was found.
pub fn attribute(
    recording: &Recording,
    programs: &[Option<Arc<Program>>],
    kernel: &Kernel,
    heap: Option<&Heap>,
) -> Attribution {
    attribute_watching(recording, programs, kernel, heap, None).0
}

/// As [`attribute`], and how sample `watch` came to its row.
pub fn attribute_watching(
    recording: &Recording,
    programs: &[Option<Arc<Program>>],
    kernel: &Kernel,
    heap: Option<&Heap>,
    watch: Option<usize>,
) -> (Attribution, Option<Trace>) {
    let mut tracer = Tracer::new(watch);
    let mut types = Types::default();
    let mut binaries: Vec<Option<Binary>> = programs
        .iter()
        .map(|program| {
            program
                .as_ref()
                .map(|p| Binary::new(Arc::clone(p), &mut types))
        })
        .collect();
    let mut places = Places::of(recording, &mut binaries, kernel);
    places.split_helpers(recording, &mut binaries);
    for code in places.codes.iter().filter_map(|c| c.as_ref().ok()) {
        for (target, _) in &code.operands {
            add_site_of(target, code.binary, &mut binaries, &mut types);
        }
    }
    let chains = chain_sites(recording, &mut binaries, &mut types);
    let leaves = leaf_targets(recording, &places, &chains, &mut binaries, &mut types);
    let (mut rows, mut facts) = resolve_all(recording, &places, &chains, &leaves, &types);
    tracer.begin(|i| {
        let code = places.place.get(i).map(|&p| &places.codes[p as usize]);
        let stored = is_store(recording, i);
        Given {
            recording,
            code: match code {
                Some(Ok(code)) => Ok(code),
                Some(Err(reason)) => Err(*reason),
                None => Err(Reason::NoMapping),
            },
            site: chains.of_sample(recording, i),
            leaf: leaf_of(&places, recording.samples.chain.get(i), &leaves, i, stored),
            stored,
            types: &types,
        }
    });
    tracer.step("the sample by itself", &rows, &types);
    position(recording, &places, &types, &mut rows);
    tracer.step("position", &rows, &types);
    let timed = |i: usize| recording.samples.time.get(i).copied().unwrap_or(0);
    let layouts: Vec<Option<&'static Layout>> = programs
        .iter()
        .map(|p| p.as_ref().and_then(|p| p.go.as_ref()).and_then(layout_for))
        .collect();
    let layout = layouts.iter().flatten().next().copied();
    let last = recording.samples.time.iter().max().copied().unwrap_or(0);
    let instant = heap
        .zip(layout)
        .map(|(heap, layout)| Instant::new(heap, layout, &types, last));
    if let Some(instant) = &instant {
        rows.par_iter().enumerate().for_each(|(i, row)| {
            let key_size = places.code_of(i).and_then(|c| c.areas.key_size);
            let admitted = Admitted::Variant(key_size);
            instant.hear(row, timed(i), places.is_proxy(i), admitted, &types);
        });
        instant.heard();
        instant.complete(&mut rows, timed, &types, &mut facts);
        facts.extend(instant.facts(&types));
        tracer.step("heap", &rows, &types);
    }
    let learned = Learned::from_facts(&facts, &types);
    let arrays = learned.arrays();
    rows.par_iter_mut().enumerate().for_each(|(i, row)| {
        let Some(code) = places.code_of(i) else {
            return;
        };
        let site = match code.map_code {
            true => chains.of_sample(recording, i).map(|s| &s.typed),
            false => types.call_site(code.binary, row.call),
        };
        own(row, timed(i), site.and_then(|s| s.global), &learned);
    });
    tracer.step("the object's owner", &rows, &types);
    let regions = Regions::build(
        seen(&rows, &facts, &arrays, recording, &types),
        witnesses(&rows, &places, recording, &types),
        &marking(&places, recording),
        &types,
    );
    let blocks = Blocks::build(&rows, timed, &types);
    let known = Known {
        blocks: &blocks,
        learned: &learned,
        regions: &regions,
        types: &types,
        layout,
        instant: instant.as_ref(),
    };
    tracer.conflict(|i| {
        complete(
            &mut rows.get(i)?.clone(),
            timed(i),
            places.behalf(i),
            &known,
        )
    });
    let conflicts: Vec<(Evidence, u64)> = rows
        .par_iter_mut()
        .enumerate()
        .filter_map(|(i, row)| complete(row, timed(i), places.behalf(i), &known))
        .fold(Vec::new, |mut all: Vec<(Evidence, u64)>, evidence| {
            match all.iter_mut().find(|(e, _)| *e == evidence) {
                Some((_, n)) => *n += 1,
                None => all.push((evidence, 1)),
            }
            all
        })
        .reduce(Vec::new, |a, b| a.into_iter().chain(b).collect());
    tracer.step("learned region", &rows, &types);
    let attribution = assemble(
        recording, places, rows, &chains, &learned, &regions, &arrays, &types, programs, conflicts,
        heap,
    );
    (attribution, tracer.finish())
}

/// How the code of a sample comes to touch memory that is not its own.
#[derive(Debug, Clone, Copy)]
struct Behalf {
    /// On behalf of others.
    proxy: bool,
    /// For the collector, in a mark phase.
    reads: bool,
    /// [`leaf::to_end`]
    to_end: Option<u64>,
}

/// The places of all samples.
struct Places {
    /// By sample.
    place: Vec<u32>,
    places: Vec<Place>,
    codes: Vec<Result<Code, Reason>>,
    /// By place: the code touches memory on behalf of others.
    proxies: Vec<bool>,
    /// By place: the collector runs it in mark phases.
    marking: Vec<bool>,
    /// By place: the collector reads objects with it.
    reading: Vec<bool>,
}

impl Places {
    /// The code of a sample.
    fn code_of(&self, i: usize) -> Option<&Code> {
        let place = *self.place.get(i)?;
        self.codes.get(place as usize)?.as_ref().ok()
    }

    /// Tells places of helpers by the turn that they take in a map operation: a place of its own for
    /// each, with operation and phase.
    fn split_helpers(&mut self, recording: &Recording, binaries: &mut [Option<Binary>]) {
        let samples = &recording.samples;
        let mut turns: FxHashMap<(u32, u32), Option<Turn>> = FxHashMap::default();
        let mut split: FxHashMap<(u32, Turn), u32> = FxHashMap::default();
        for (i, &chain) in samples.chain.iter().enumerate() {
            let Some(&id) = self.place.get(i) else {
                continue;
            };
            let place = &self.places[id as usize];
            let sound = recording.pmu(i).is_some_and(|pmu| pmu.regs_sound);
            if !sound || !self.is_proxy(i) || place.operation.is_some() {
                continue;
            }
            let turn = *turns.entry((id, chain)).or_insert_with(|| {
                let ips = samples.chains.get(chain).get(1..).unwrap_or(&[]);
                let (pid, _) = samples.thread.get(i).unwrap_or((-1, -1));
                let time = samples.time.get(i).copied().unwrap_or(0);
                turn_of(recording, binaries, place, ips, pid, time)
            });
            let Some(turn) = turn else { continue };
            let to = match split.get(&(id, turn)) {
                Some(&to) => to,
                None => {
                    let mut place = place.clone();
                    let mut all = binaries.iter().flatten();
                    let binary = all.find(|b| b.id == turn.binary);
                    let function = binary.and_then(|b| b.program.function_at(turn.function));
                    place.on_behalf = function.map(|f| f.name.clone());
                    place.operation = Some(turn.operation);
                    place.phase = turn.phase;
                    place.step = turn.step;
                    let to = self.places.len() as u32;
                    self.places.push(place);
                    self.codes.push(self.codes[id as usize].clone());
                    self.proxies.push(true);
                    self.marking.push(false);
                    self.reading.push(false);
                    split.insert((id, turn), to);
                    to
                }
            };
            self.place[i] = to;
        }
    }

    /// By place: what is said of its function.
    fn told(&self, of: fn(&str) -> bool) -> Vec<bool> {
        let function = |place: &Place| place.function.as_deref().is_some_and(of);
        self.places.iter().map(function).collect()
    }

    fn is_proxy(&self, i: usize) -> bool {
        self.is(i, &self.proxies)
    }

    fn is(&self, i: usize, which: &[bool]) -> bool {
        let place = self.place.get(i).map(|&p| p as usize);
        place.and_then(|p| which.get(p)) == Some(&true)
    }

    fn behalf(&self, i: usize) -> Behalf {
        Behalf {
            proxy: self.is(i, &self.proxies),
            reads: self.is(i, &self.reading),
            to_end: self.code_of(i).and_then(|code| code.to_end),
        }
    }

    fn of(recording: &Recording, binaries: &mut [Option<Binary>], kernel: &Kernel) -> Places {
        let samples = &recording.samples;
        let mut all = Places {
            place: Vec::with_capacity(samples.len()),
            places: Vec::new(),
            codes: Vec::new(),
            proxies: Vec::new(),
            marking: Vec::new(),
            reading: Vec::new(),
        };
        let mut known: FxHashMap<(u32, ImageId, u64, bool), u32> = FxHashMap::default();
        for i in 0..samples.len() {
            let ip = samples.ip.get(i).unwrap_or(0);
            let event = recording.event(i);
            let after = event.is_some_and(|e| e.pmu.pmu().ip == Ip::Next);
            let user = samples
                .cpumode
                .get(i)
                .is_none_or(|mode| USER.contains(mode));
            let (pid, _) = samples.thread.get(i).unwrap_or((-1, -1));
            let time = samples.time.get(i).copied().unwrap_or(0);
            let mapping = recording.space.find(if user { pid } else { -1 }, ip, time);
            let (image, load) = mapping.map_or((NONE, u64::from(user)), |m| {
                (m.image, m.start.wrapping_sub(m.pgoff))
            });
            let ip_id = samples.ip.ids.get(i).copied().unwrap_or(0);
            let id = *known.entry((ip_id, image, load, after)).or_insert_with(|| {
                let (place, code) = if user {
                    look_at(recording, binaries, ip, image, load, after)
                } else {
                    (in_kernel(kernel, ip), Err(Reason::Kernel))
                };
                all.places.push(place);
                all.codes.push(code);
                all.places.len() as u32 - 1
            });
            all.place.push(id);
        }
        all.proxies = all.told(is_proxy);
        all.marking = all.told(marks);
        all.reading = all.told(reads);
        all
    }
}

/// The turn of the helper at `ips[0]` in the map operation that the rest of the chain leads to.
fn turn_of(
    recording: &Recording,
    binaries: &mut [Option<Binary>],
    place: &Place,
    ips: &[u64],
    pid: i32,
    time: u64,
) -> Option<Turn> {
    let mapping = recording.space.find(pid, *ips.first()?, time)?;
    let load = mapping.start.wrapping_sub(mapping.pgoff);
    let binary = binaries.get_mut(mapping.image as usize)?.as_mut()?;
    let program = Arc::clone(&binary.program);
    let returns = ips.iter().skip(1);
    let returns = returns.filter_map(|ip| program.vaddr_of_offset(ip.wrapping_sub(load)));
    turn(binary, place.function.as_deref()?, returns)
}

fn look_at(
    recording: &Recording,
    binaries: &mut [Option<Binary>],
    ip: u64,
    image: ImageId,
    load: u64,
    after: bool,
) -> (Place, Result<Code, Reason>) {
    let path = recording
        .space
        .images
        .get(image as usize)
        .map_or("", |i| i.path.as_str());
    let nowhere = |path: &str, reason| {
        (
            Place {
                ip,
                image: path.to_owned(),
                ..Place::default()
            },
            Err(reason),
        )
    };
    if image == NONE {
        return nowhere("[unknown]", Reason::NoMapping);
    }
    let Some(binary) = binaries.get_mut(image as usize).and_then(Option::as_mut) else {
        return nowhere(path, Reason::NoBinary);
    };
    match binary.program.vaddr_of_offset(ip.wrapping_sub(load)) {
        Some(vaddr) => binary.place(path, ip, vaddr, after),
        None => nowhere(path, Reason::NoSymbol),
    }
}

fn in_kernel(kernel: &Kernel, ip: u64) -> Place {
    let function = kernel.function_at(ip).to_owned();
    let frame = Frame {
        function: function.clone(),
        ..Frame::default()
    };
    Place {
        ip,
        image: KERNEL.to_owned(),
        function: Some(function),
        frames: vec![frame],
        ..Place::default()
    }
}

/// For each distinct call chain, the innermost call of a map function from other code.
pub(super) struct ChainSites {
    /// By chain id: the binary (image), link-time return address and site.
    sites: Vec<Option<ChainSite>>,
}

#[derive(Debug, Clone)]
pub(super) struct ChainSite {
    pub image: ImageId,
    pub ret: u64,
    pub typed: TypedSite,
}

impl ChainSites {
    pub fn of_sample(&self, recording: &Recording, i: usize) -> Option<&ChainSite> {
        let chain = *recording.samples.chain.get(i)?;
        self.sites.get(chain as usize)?.as_ref()
    }
}

fn chain_sites(
    recording: &Recording,
    binaries: &mut [Option<Binary>],
    types: &mut Types,
) -> ChainSites {
    let samples = &recording.samples;
    let mut sites: Vec<Option<ChainSite>> = vec![None; samples.chains.ends.len()];
    let mut done = vec![false; sites.len()];
    for (i, &chain) in samples.chain.iter().enumerate() {
        let Some(seen) = done.get_mut(chain as usize) else {
            continue;
        };
        if std::mem::replace(seen, true) {
            continue;
        }
        let ips = samples.chains.get(chain);
        let (pid, _) = samples.thread.get(i).unwrap_or((-1, -1));
        let time = samples.time.get(i).copied().unwrap_or(0);
        let Some(mapping) = ips
            .get(1)
            .and_then(|&ip| recording.space.find(pid, ip, time))
        else {
            continue;
        };
        let load = mapping.start.wrapping_sub(mapping.pgoff);
        let image = mapping.image;
        let Some(binary) = binaries.get_mut(image as usize).and_then(Option::as_mut) else {
            continue;
        };
        let program = Arc::clone(&binary.program);
        let vaddr_of = |ip: u64| program.vaddr_of_offset(ip.wrapping_sub(load));
        let found = outermost_map_call(binary, ips, vaddr_of);
        let id = binary.id;
        sites[chain as usize] = found.and_then(|site| {
            types.add_site(id, &site);
            let mut typed = types.call_site(id, site.ret)?.clone();
            let returns = ips.iter().filter_map(|&ip| vaddr_of(ip));
            let outward = returns.skip_while(|&vaddr| vaddr != site.ret).skip(1);
            if let Some(global) = through_callers(binary, typed.kept.as_ref(), outward) {
                typed.kept = Some(global);
            }
            Some(ChainSite {
                image,
                ret: site.ret,
                typed,
            })
        });
    }
    ChainSites { sites }
}

/// Makes the call site that a target refers to known to `types`.
fn add_site_of(target: &Target, binary: u32, binaries: &mut [Option<Binary>], types: &mut Types) {
    let (Target::Elem { call, .. } | Target::Key { call, .. }) = *target else {
        return;
    };
    let binary = binaries.iter_mut().flatten().find(|b| b.id == binary);
    if let Some(binary) = binary
        && let Some(site) = call_site(binary, call)
    {
        types.add_site(binary.id, &site);
    }
}

/// By place, call chain and whether it is a store: what a leaf's caller passed to it.
type LeafTargets = FxHashMap<(u32, u32, bool), Option<Target>>;

fn leaf_targets(
    recording: &Recording,
    places: &Places,
    chains: &ChainSites,
    binaries: &mut [Option<Binary>],
    types: &mut Types,
) -> LeafTargets {
    let samples = &recording.samples;
    let mut targets = LeafTargets::default();
    for (i, (&place, &chain)) in places.place.iter().zip(&samples.chain).enumerate() {
        let Some(Ok(code)) = places.codes.get(place as usize) else {
            continue;
        };
        if !code.leaf {
            continue;
        }
        let stored = is_store(recording, i);
        if targets.contains_key(&(place, chain, stored)) {
            continue;
        }
        let frames = samples.chains.get(chain).get(2..).unwrap_or(&[]);
        let returns = frames.iter().map(|ip| ip.wrapping_sub(code.bias));
        let site = chains.of_sample(recording, i).map(|site| site.ret);
        let vaddr = code.instruction.ip();
        let found = binaries
            .iter_mut()
            .flatten()
            .find(|b| b.id == code.binary)
            .and_then(|b| leaf::target(b, vaddr, returns, site, stored));
        if let Some(target) = &found {
            add_site_of(target, code.binary, binaries, types);
        }
        targets.insert((place, chain, stored), found);
    }
    targets
}

fn resolve_all(
    recording: &Recording,
    places: &Places,
    chains: &ChainSites,
    leaves: &LeafTargets,
    types: &Types,
) -> (Vec<Row>, Vec<Fact>) {
    let samples = &recording.samples;
    let chunks: Vec<(Vec<Row>, Vec<Fact>)> = (0..samples.len().div_ceil(CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let mut facts = Vec::new();
            let end = samples.len().min((chunk + 1) * CHUNK);
            let rows = (chunk * CHUNK..end)
                .map(|i| one(recording, places, chains, leaves, types, i, &mut facts))
                .collect();
            (rows, facts)
        })
        .collect();
    let mut rows = Vec::with_capacity(samples.len());
    let mut facts = Vec::new();
    for (chunk_rows, chunk_facts) in chunks {
        rows.extend(chunk_rows);
        facts.extend(chunk_facts);
    }
    (rows, facts)
}

/// A store that is no load as well: its operand is the one that is written.
fn is_store(recording: &Recording, i: usize) -> bool {
    recording
        .access(i)
        .op
        .is_some_and(|op| op.is_store() && !op.is_load())
}

fn one(
    recording: &Recording,
    places: &Places,
    chains: &ChainSites,
    leaves: &LeafTargets,
    types: &Types,
    i: usize,
    facts: &mut Vec<Fact>,
) -> Row {
    let samples = &recording.samples;
    let address = samples.addr.get(i).copied().unwrap_or(0);
    let Some(event) = recording.event(i) else {
        return Row::unplaced(Reason::NotAnAccess, address);
    };
    if !recording.is_access(i) {
        return Row::unplaced(Reason::NotAnAccess, address);
    }
    let pmu = event.pmu.pmu();
    if address == 0 {
        return Row::unplaced(Reason::NoAddress, 0);
    }
    let code = match places.place.get(i).map(|&p| &places.codes[p as usize]) {
        Some(Ok(code)) => code,
        Some(Err(reason)) => return Row::unplaced(*reason, address),
        None => return Row::unplaced(Reason::NoMapping, address),
    };
    if !pmu.ip_is_exact(event) {
        return Row::unplaced(Reason::Skid, address);
    }
    // Where the registers are those of a later interrupt, so is the call chain.
    let site = chains.of_sample(recording, i).filter(|_| pmu.regs_sound);
    let stored = is_store(recording, i);
    let leaf = leaf_of(places, samples.chain.get(i), leaves, i, stored);
    let site = site.filter(|_| code.map_code || leaf.is_some());
    let context = Context {
        samples,
        event,
        stored,
        registers_sound: pmu.regs_sound,
        code,
        types,
        leaf,
        global: site.and_then(|s| s.typed.global),
        caller_type: site.and_then(|s| s.typed.map_type),
    };
    resolve(&context, i, facts)
}

fn leaf_of(
    places: &Places,
    chain: Option<&u32>,
    leaves: &LeafTargets,
    i: usize,
    stored: bool,
) -> Option<Target> {
    if leaves.is_empty() {
        return None;
    }
    *leaves.get(&(*places.place.get(i)?, *chain?, stored))?
}

/// Finds the bucket or group of the accesses whose part is known, from the starts around them.
fn position(recording: &Recording, places: &Places, types: &Types, rows: &mut [Row]) {
    let time_of = |i: usize| recording.samples.time.get(i).copied().unwrap_or(0);
    let in_bucket = |row: &Row| about_bucket(row.part);
    let start_of = |i: usize, row: &Row| Start {
        base: row.base,
        time: time_of(i),
        shapes: match row.map_type.and_then(|t| types.shape_of(t)) {
            Some(shape) => Admitted::Known(shape),
            None => Admitted::Variant(places.code_of(i).and_then(|c| c.areas.key_size)),
        },
    };
    let starts = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| in_bucket(row) && row.base != 0)
        .map(|(i, row)| start_of(i, row))
        .collect();
    let starts = Starts::new(starts, keys_read(recording, places, rows));
    let found: Vec<Option<Located>> = rows
        .par_iter()
        .enumerate()
        .map(|(i, row)| {
            let part = row.part.ok().filter(|_| in_bucket(row))?;
            let start = start_of(i, row);
            if row.base == 0 {
                return starts.locate(row.address, start.time, part, start.shapes, types);
            }
            let shape = match start.shapes {
                Admitted::Known(_) => None,
                Admitted::Variant(_) => starts.shape_at(&start, types),
            }?;
            let spot = types.of_shape(shape)?.spot_at(row.address - row.base)?;
            Some(Located {
                base: row.base,
                spot,
                shape: Some(shape),
            })
        })
        .collect();
    for (row, found) in rows.iter_mut().zip(found) {
        let Some(found) = found else { continue };
        row.shape = found.shape;
        if row.base == 0 {
            row.base = found.base;
            row.slot = found.spot.slot.map_or(-1, |s| s as i8);
            row.evidence = row.evidence.max(Evidence::Position);
        }
    }
}

/// The keys that samples in hashing and comparing functions touched. Which of both operands of a
/// comparison lies in a map, and whether either does, their addresses tell.
fn keys_read(recording: &Recording, places: &Places, rows: &[Row]) -> Vec<KeyRead> {
    let kinds: Vec<Option<KeyKind>> = places
        .places
        .iter()
        .map(|place| place.function.as_deref().and_then(KeyKind::read_by))
        .collect();
    let time_of = |i: usize| recording.samples.time.get(i).copied().unwrap_or(0);
    let of_row = |(i, row): (usize, &Row)| {
        let kind = (*kinds.get(*places.place.get(i)? as usize)?)?;
        Some(KeyRead {
            address: row.address,
            time: time_of(i),
            kind,
        })
    };
    rows.iter().enumerate().filter_map(of_row).collect()
}

/// Finds the map of a row from the other samples of the variable, the table or the object it hit.
fn own(row: &mut Row, time: u64, global: Option<u64>, learned: &Learned) {
    let Ok(part) = row.part else { return };
    let owners = [
        (About::Global, global.unwrap_or(0)),
        (About::Table, row.table),
        (about(part), row.base),
    ];
    for (about, address) in owners {
        if row.header == 0
            && address != 0
            && let Some(header) = learned
                .header_of(about, address, time)
                .or_else(|| learned.header_of_typed(about, address, time, row.map_type?))
        {
            row.header = header;
        }
    }
    if part == Part::DirectoryTable
        && row.base == 0
        && let Some(directory) = learned.directory_of(row.header, time)
    {
        row.base = directory;
    }
    if let Some(global) = global
        && row.header == 0
        && !learned.knows(About::Global, global)
    {
        row.header = VARIABLE | global;
    }
}

fn shape_of(row: &Row, types: &Types) -> Option<ShapeId> {
    row.map_type.and_then(|t| types.shape_of(t)).or(row.shape)
}

/// Every bucket and group that a sample knows.
fn seen(
    rows: &[Row],
    facts: &[Fact],
    arrays: &[KnownArray],
    recording: &Recording,
    types: &Types,
) -> Vec<Seen> {
    let time_of = |i: usize| recording.samples.time.get(i).copied().unwrap_or(0);
    let of_rows = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.base != 0 && about_bucket(row.part))
        .map(|(i, row)| Seen {
            base: row.base,
            time: time_of(i),
            shape: shape_of(row, types),
            map_type: row.map_type,
            header: row.header,
        });
    let of_facts = facts
        .iter()
        .filter(|fact| fact.about == About::Bucket)
        .map(|fact| Seen {
            base: fact.address,
            time: fact.time,
            shape: fact.map_type.and_then(|t| types.shape_of(t)),
            map_type: fact.map_type,
            header: fact.header,
        });
    let of_arrays = arrays.iter().flat_map(|array| {
        let stride = types.get(array.map_type).map_or(0, |t| t.shape.stride());
        let last = array.len.unwrap_or(1).saturating_sub(1);
        let end = array.start.saturating_add(last.saturating_mul(stride));
        [array.first, array.last].into_iter().flat_map(move |time| {
            [array.start, end].into_iter().map(move |base| Seen {
                base,
                time,
                shape: types.shape_of(array.map_type),
                map_type: Some(array.map_type),
                header: array.header,
            })
        })
    });
    of_rows.chain(of_facts).chain(of_arrays).collect()
}

/// What each sample says of the memory that it touched.
fn witnesses(rows: &[Row], places: &Places, recording: &Recording, types: &Types) -> Vec<Witness> {
    let time_of = |i: usize| recording.samples.time.get(i).copied().unwrap_or(0);
    rows.iter()
        .enumerate()
        .filter_map(|(i, row)| {
            let content = match row.part {
                Ok(_) if about_bucket(row.part) && row.base != 0 => Content::Start {
                    shape: shape_of(row, types),
                    map_type: row.map_type,
                    header: row.header,
                },
                Ok(part) if about_bucket(row.part) => Content::Within(part),
                Ok(_) => Content::Other,
                Err(Reason::NotMap | Reason::NotMapMemory | Reason::Stack)
                    if !places.is_proxy(i) =>
                {
                    Content::Other
                }
                Err(_) => return None,
            };
            let address = match content {
                Content::Start { .. } => row.base,
                _ => row.address,
            };
            (address != 0).then_some(Witness {
                address,
                time: time_of(i),
                content,
            })
        })
        .collect()
}

/// When the collector marked.
fn marking(places: &Places, recording: &Recording) -> Marking {
    let times = places.place.iter().zip(&recording.samples.time);
    let marking = times.filter(|(place, _)| places.marking.get(**place as usize) == Some(&true));
    Marking::from_times(
        marking.map(|(_, time)| *time).collect(),
        &recording.samples.time,
    )
}

/// What all samples together taught.
struct Known<'a> {
    blocks: &'a Blocks,
    learned: &'a Learned,
    regions: &'a Regions,
    types: &'a Types,
    layout: Option<&'a Layout>,
    instant: Option<&'a Instant<'a>>,
}

/// Fills in from learned regions what the sample alone did not tell. Returns the evidence that
/// disagreed with a learned region, if one did. Code that is no proxy reaches maps only through
/// what the data flow follows.
fn complete(row: &mut Row, time: u64, behalf: Behalf, known: &Known) -> Option<Evidence> {
    if row.address == 0 || matches!(row.part, Err(Reason::NotAnAccess | Reason::Kernel)) {
        return None;
    }
    let unknown = match row.part {
        Ok(_) => false,
        Err(Reason::BaseUnknown | Reason::PartUnknown) => true,
        Err(_) => behalf.proxy,
    };
    if about_bucket(row.part) || unknown {
        let part = row.part.ok();
        let hit = known.regions.at(row.address, time, part, known.types);
        let marked = || known.regions.marked(row.address, time, known.types);
        if let Some(hit) = hit.or_else(|| behalf.reads.then(marked).flatten()) {
            if row.base != 0 && row.base != hit.base {
                return Some(row.evidence);
            }
            if row.header != 0 && hit.header != 0 && row.header != hit.header {
                return Some(row.evidence);
            }
            if row.part.is_err() || row.base == 0 {
                row.part = Ok(hit.spot.part);
                row.base = hit.base;
                row.slot = hit.spot.slot.map_or(-1, |s| s as i8);
                row.evidence = row.evidence.max(Evidence::LearnedRegion);
            }
            row.shape = row.shape.or(Some(hit.shape));
            row.map_type = row.map_type.or(hit.map_type);
            if row.header == 0 {
                row.header = hit.header;
            }
            if row.header == 0
                && let Some(map_type) = known.learned.lives_as(hit.presumed, time)
                && row.map_type.is_none_or(|t| t == map_type)
                && known.types.shape_of(map_type) == Some(hit.shape)
            {
                row.header = hit.presumed;
            }
        }
    }
    if let Some(instant) = known.instant
        && let Some(found) = instant.indirect(row.address, time)
        && (unknown || row.part == Ok(found.part))
        && (row.base == 0 || row.base == found.start)
        && known
            .regions
            .covering(found.holder, time)
            .any(|r| r.header == found.header)
    {
        row.part = Ok(found.part);
        row.base = found.start;
        row.slot = found.slot as i8;
        row.header = found.header;
        row.map_type = row.map_type.or(found.map_type);
        row.evidence = row.evidence.max(Evidence::Heap);
    }
    if unknown
        && row.part.is_err()
        && let Some(to_end) = behalf.to_end
        && let Some(end) = row.address.checked_add(to_end)
        && let Some(block) = known.blocks.copied(row.address, end, time)
    {
        row.part = Ok(block.part);
        row.base = block.start;
        row.map_type = Some(block.map_type);
        row.evidence = Evidence::LearnedRegion;
    }
    if row.map_type.is_none() && row.part.is_ok() {
        row.map_type = row.shape.and_then(|s| known.types.only_of_shape(s));
    }
    if !unknown || row.part.is_ok() {
        return None;
    }
    let object = known.learned.at(row.address, time)?;
    let part = part_at(object.about, row.address - object.start, known.layout?)?;
    row.part = Ok(part);
    row.base = object.start;
    row.header = object.header;
    row.map_type = row.map_type.or(object.map_type);
    row.evidence = Evidence::LearnedRegion;
    None
}

pub(super) fn about(part: Part) -> About {
    match part.structure() {
        Structure::Header => About::Header,
        Structure::Extra => About::Extra,
        Structure::Table => About::Table,
        Structure::Directory => About::Directory,
        Structure::Bucket | Structure::Group => About::Bucket,
        _ => About::Indirect,
    }
}

#[allow(clippy::too_many_arguments)]
fn assemble(
    recording: &Recording,
    places: Places,
    rows: Vec<Row>,
    chains: &ChainSites,
    learned: &Learned,
    regions: &Regions,
    known: &[KnownArray],
    types: &Types,
    programs: &[Option<Arc<Program>>],
    conflicts: Vec<(Evidence, u64)>,
    heap: Option<&Heap>,
) -> Attribution {
    let mut starts: Vec<(u64, u64)> = known.iter().map(|a| (a.header, a.start)).collect();
    starts.sort_unstable();
    let mut names = Names::default();
    let mut arrays: Vec<Array> = Vec::new();
    let mut array_ids: FxHashMap<(u32, u64), u32> = FxHashMap::default();
    let mut out = Attribution {
        place: places.place,
        places: places.places,
        ..Attribution::default()
    };
    for (i, row) in rows.iter().enumerate() {
        let time = recording.samples.time.get(i).copied().unwrap_or(0);
        let map_type: Option<TypeId> = match row.header {
            0 => row.map_type,
            header => row.map_type.or_else(|| learned.type_of(header, time)),
        };
        let in_map = row.part.is_ok();
        let region = regions
            .numbered(row.base, time)
            .find(|(_, r)| about_bucket(row.part) && r.header == row.header);
        let map = if in_map {
            let memory = region.filter(|(_, r)| r.one_map).map(|(n, r)| (n, r.start));
            names.map_of(row.header, map_type, memory, chains.of_sample(recording, i))
        } else {
            NONE
        };
        let off = match row.base {
            0 => NONE,
            base => u32::try_from(row.address.wrapping_sub(base)).unwrap_or(NONE),
        };
        let (array, index) = match region {
            Some((_, region)) => {
                let at = starts.partition_point(|s| *s <= (row.header, row.base));
                let start = at
                    .checked_sub(1)
                    .and_then(|i| starts.get(i))
                    .filter(|(header, start)| *header == row.header && *start >= region.start)
                    .map_or(region.start, |(_, start)| *start);
                let id = *array_ids.entry((map, start)).or_insert_with(|| {
                    arrays.push(Array {
                        map,
                        base: start,
                        stride: region.stride,
                        len: 0,
                        old: false,
                    });
                    arrays.len() as u32 - 1
                });
                let index = ((row.base - start) / region.stride) as u32;
                arrays[id as usize].len = arrays[id as usize].len.max(index + 1);
                (id, index)
            }
            None => (NONE, NONE),
        };
        out.part.push(row.part);
        out.map.push(map);
        out.base.push(row.base);
        out.off.push(off);
        out.array.push(array);
        out.index.push(index);
        out.slot.push(row.slot);
        out.evidence.push(row.evidence);
    }
    out.maps = names.finish(types, programs, heap);
    out.arrays = arrays;
    let mut merged: Vec<(Evidence, u64)> = Vec::new();
    for (evidence, n) in conflicts {
        match merged.iter_mut().find(|(e, _)| *e == evidence) {
            Some((_, total)) => *total += n,
            None => merged.push((evidence, n)),
        }
    }
    merged.sort_unstable();
    out.contradictions = merged
        .into_iter()
        .map(|(evidence, samples)| Contradiction {
            stronger: evidence,
            weaker: Evidence::LearnedRegion,
            about: "the part or the bucket that an address lies in".to_owned(),
            samples,
        })
        .collect();
    out
}

fn about_bucket(part: Result<Part, Reason>) -> bool {
    part.is_ok_and(|p| matches!(p.structure(), Structure::Bucket | Structure::Group))
}
