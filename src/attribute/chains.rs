//! What call chains tell: the call of a map function that a sample was made in, and what the caller of
//! a leaf passed to it.

use super::binary::Binary;
use super::callers::{call_site, outermost_map_call, through_callers};
use super::code::Code;
use super::flow::{Handed, Target};
use super::leaf;
use super::places::Places;
use super::resolve::Above;
use super::types::{TypedSite, Types};
use crate::data_src::DataSrc;
use crate::recording::{Event, ImageId, Recording};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// For each distinct call chain, the innermost call of a map function from other code.
pub struct ChainSites {
    /// By chain id: the binary (image), link-time return address and site.
    sites: Vec<Option<ChainSite>>,
}

#[derive(Debug, Clone)]
pub struct ChainSite {
    pub image: ImageId,
    pub ret: u64,
    pub typed: TypedSite,
}

impl ChainSites {
    pub fn of_sample(&self, recording: &Recording, i: usize) -> Option<&ChainSite> {
        let chain = recording.samples.chain.get(i)?;
        self.sites.get(chain as usize)?.as_ref()
    }
}

pub fn chain_sites(
    recording: &Recording,
    binaries: &mut [Option<Binary>],
    types: &mut Types,
) -> ChainSites {
    let samples = &recording.samples;
    let mut sites: Vec<Option<ChainSite>> = vec![None; samples.chains.ends.len()];
    let mut done = vec![false; sites.len()];
    for (i, chain) in samples.chain.iter().enumerate() {
        let Some(seen) = done.get_mut(chain as usize) else {
            continue;
        };
        if std::mem::replace(seen, true) {
            continue;
        }
        let ips = samples.chains.get(chain);
        let (pid, _) = samples.thread.get(i).unwrap_or((-1, -1));
        let time = samples.time.get(i).unwrap_or(0);
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
pub fn add_site_of(
    target: &Target,
    binary: u32,
    binaries: &mut [Option<Binary>],
    types: &mut Types,
) {
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
pub type LeafTargets = FxHashMap<(u32, u32, bool), Option<Passed>>;

/// What a leaf touches, and what its caller got from a map call.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    pub target: Target,
    pub handed: Option<Handed>,
}

pub fn leaf_targets(
    recording: &Recording,
    places: &Places,
    chains: &ChainSites,
    binaries: &mut [Option<Binary>],
    types: &mut Types,
) -> LeafTargets {
    let samples = &recording.samples;
    let mut targets = LeafTargets::default();
    for (i, (place, chain)) in places.place.iter().zip(samples.chain.iter()).enumerate() {
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
        let ret = frames.first().map(|ip| ip.wrapping_sub(code.bias));
        let mut all = binaries.iter_mut().flatten();
        let found = all.find(|b| b.id == code.binary).and_then(|b| {
            let target = leaf::target(b, vaddr, returns, site, stored)?;
            let handed = ret.and_then(|ret| leaf::handed(b, vaddr, ret));
            Some(Passed { target, handed })
        });
        if let Some(passed) = &found {
            add_site_of(&passed.target, code.binary, binaries, types);
        }
        targets.insert((place, chain, stored), found);
    }
    targets
}

pub fn leaf_of(
    places: &Places,
    chain: Option<u32>,
    leaves: &LeafTargets,
    i: usize,
    stored: bool,
) -> Option<Target> {
    Some(passed_of(places, chain, leaves, i, stored)?.target)
}

pub fn passed_of(
    places: &Places,
    chain: Option<u32>,
    leaves: &LeafTargets,
    i: usize,
    stored: bool,
) -> Option<Passed> {
    if leaves.is_empty() {
        return None;
    }
    *leaves.get(&(places.place.get(i)?, chain?, stored))?
}

/// By place and call chain: what the frame around that of a map helper names, which the helper does not
/// get. Empty where no stacks were copied.
pub type Aboves = FxHashMap<(u32, u32), Option<Above>>;

pub fn frames_above(
    recording: &Recording,
    places: &Places,
    binaries: &mut [Option<Binary>],
) -> Aboves {
    let samples = &recording.samples;
    let mut all = Aboves::default();
    if samples.stack.start.is_empty() {
        return all;
    }
    for (place, chain) in places.place.iter().zip(samples.chain.iter()) {
        let Some(Ok(code)) = places.codes.get(place as usize) else {
            continue;
        };
        if !code.map_code || code.gets_map || all.contains_key(&(place, chain)) {
            continue;
        }
        let ret = samples.chains.get(chain).get(2).copied();
        let found = ret.and_then(|ret| {
            let mut all = binaries.iter_mut().flatten();
            above(all.find(|b| b.id == code.binary)?, code, ret)
        });
        all.insert((place, chain), found);
    }
    all
}

fn above(binary: &mut Binary, code: &Code, ret: u64) -> Option<Above> {
    let vaddr = ret.wrapping_sub(code.bias);
    let flow = binary.flow(vaddr.checked_sub(1)?)?;
    flow.signature?;
    let call = flow.calls.get(&vaddr)?;
    let callee = binary.program.function_at(code.instruction.ip())?;
    // A leaf without a frame hides its caller: then this is not the call of the helper.
    if call.target != Some(callee.start) {
        return None;
    }
    let below = binary.program.sp_delta_at(code.instruction.next_ip())?;
    Some(Above {
        up: below.checked_add(8)?,
        ret,
        spilled: call.spilled.clone(),
    })
}

pub fn above_of<'a>(
    places: &Places,
    chain: Option<u32>,
    aboves: &'a Aboves,
    i: usize,
) -> Option<&'a Above> {
    if aboves.is_empty() {
        return None;
    }
    aboves.get(&(places.place.get(i)?, chain?))?.as_ref()
}

/// A store that is no load as well: its operand is the one that is written.
pub fn is_store(recording: &Recording, i: usize) -> bool {
    let data_src = recording.samples.data_src.get(i).map(DataSrc);
    recording
        .event(i)
        .is_some_and(|event| stores(event, data_src))
}

/// The same of a sample of this event with this `data_src`.
pub fn stores(event: &Event, data_src: Option<DataSrc>) -> bool {
    let op = event.access(data_src.unwrap_or(DataSrc(0)), None).op;
    op.is_some_and(|op| op.is_store() && !op.is_load())
}
