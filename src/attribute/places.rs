//! The place of every sample: the instruction that it hit, and how its code comes to touch memory.

use super::admitted::Admitted;
use super::binary::{Binary, is_proxy};
use super::code::Code;
use super::flow::Target;
use super::keys::{KeyKind, compares, hashes};
use super::marking::{marks, reads};
use super::phase::{Step, phase_of};
use super::row::Row;
use super::types::Types;
use super::under::{Turn, turn};
use super::{NONE, Phase, Place, Reason};
use crate::gomap::{Part, Stage};
use crate::pmu::Ip;
use crate::program::Frame;
use crate::program::kernel::{KERNEL, Kernel};
use crate::recording::{Column, Event, ImageId, Recent, Recording};
use perf_event_open_sys::bindings as sys;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

/// How the code of a sample comes to touch memory that is not its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Behalf {
    /// On behalf of others.
    pub proxy: bool,
    /// It hashes keys: it touches nothing else of a map.
    pub hashes: bool,
    /// It compares keys, or elems.
    pub compares: bool,
    /// Which keys it hashes or compares, where it is made for one kind.
    pub keys: Option<KeyKind>,
    /// For the collector, in a mark phase.
    pub reads: bool,
    /// [`super::leaf::to_end`]
    pub to_end: Option<u64>,
}

impl Behalf {
    /// Whether the code may touch this part: what is hashed or compared is no control byte.
    pub fn may_touch(&self, part: Part) -> bool {
        match part.stage() {
            Stage::Key => true,
            Stage::Elem => !self.hashes,
            _ => !self.hashes && !self.compares,
        }
    }
}

/// The places of all samples.
pub struct Places {
    /// By sample.
    pub place: Column<u32>,
    pub places: Vec<Place>,
    pub codes: Vec<Result<Code, Reason>>,
    /// By place, as the next.
    behalf: Vec<Behalf>,
    /// What its function says of the maps that it handles.
    admitted: Vec<Admitted>,
    /// The collector runs it in mark phases.
    pub marking: Vec<bool>,
}

impl Places {
    /// The code of a sample.
    pub fn code_of(&self, i: usize) -> Option<&Code> {
        let place = self.place.get(i)?;
        self.codes.get(place as usize)?.as_ref().ok()
    }

    /// Tells places of helpers by the turn that they take in a map operation: a place of its own for
    /// each, with operation and phase.
    pub fn split_helpers(&mut self, recording: &Recording, binaries: &mut [Option<Binary>]) {
        let samples = &recording.samples;
        let mut turns: FxHashMap<(u32, u32), Option<Turn>> = FxHashMap::default();
        let mut split: FxHashMap<(u32, Turn), u32> = FxHashMap::default();
        let mut changes = Vec::new();
        for (i, chain) in samples.chain.iter().enumerate() {
            let Some(id) = self.place.get(i) else {
                continue;
            };
            let place = &self.places[id as usize];
            let sound = || recording.pmu(i).is_some_and(|pmu| pmu.regs_sound);
            if !self.is_proxy(i) || place.operation.is_some() || !sound() {
                continue;
            }
            let turn = *turns.entry((id, chain)).or_insert_with(|| {
                let ips = samples.chains.get(chain).get(1..).unwrap_or(&[]);
                let (pid, _) = samples.thread.get(i).unwrap_or((-1, -1));
                let time = samples.time.get(i).unwrap_or(0);
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
                    self.behalf.push(Behalf {
                        reads: false,
                        ..self.behalf[id as usize]
                    });
                    self.admitted.push(self.admitted[id as usize]);
                    self.marking.push(false);
                    split.insert((id, turn), to);
                    to
                }
            };
            changes.push((i, to));
        }
        if !changes.is_empty() {
            self.place.replace(changes);
        }
    }

    /// The places of map code that does not tell the part, and so not the phase.
    pub fn open(&self) -> FxHashSet<u32> {
        let codes = (0..).zip(&self.codes);
        let open = codes.filter(|(_, code)| code.as_ref().is_ok_and(|code| code.steps.is_some()));
        open.map(|(place, _)| place).collect()
    }

    /// Gives open places their phase by the parts that addresses told: of samples, in order, each with its
    /// place. Where samples of one place hit several parts, there is a place for each.
    pub fn settle_phases(&mut self, told: Vec<(usize, u32, Part)>) {
        let mut parts: FxHashMap<u32, Vec<Part>> = FxHashMap::default();
        for &(_, id, part) in &told {
            let of_place = parts.entry(id).or_default();
            if !of_place.contains(&part) {
                of_place.push(part);
            }
        }
        let mut split: FxHashMap<(u32, Part), u32> = FxHashMap::default();
        for (id, of_place) in parts {
            for (n, part) in of_place.into_iter().enumerate() {
                let phase = self.phase_at(id, part);
                if n == 0 {
                    self.places[id as usize].phase = phase;
                } else {
                    let to = self.copy_of(id, |place| place.phase = phase);
                    split.insert((id, part), to);
                }
            }
        }
        let change = |(sample, id, part)| Some((sample, *split.get(&(id, part))?));
        let changes: Vec<(usize, u32)> = told.into_iter().filter_map(change).collect();
        if !changes.is_empty() {
            self.place.replace(changes);
        }
    }

    /// The phase of an access at this place that touches this part.
    fn phase_at(&self, id: u32, part: Part) -> Option<Phase> {
        let place = self.places.get(id as usize)?;
        let code = self.codes.get(id as usize)?.as_ref().ok()?;
        let (_, operand) = code.operands.first()?;
        let access = Step {
            target: &Target::Part { part, off: None },
            operand,
            instruction: &code.instruction,
            frames: &place.frames,
        };
        phase_of(&access, place.operation, code.steps.as_deref())
    }

    /// A place that differs from another in what `change` says.
    fn copy_of(&mut self, id: u32, change: impl FnOnce(&mut Place)) -> u32 {
        let from = id as usize;
        let to = self.places.len() as u32;
        let mut place = self.places[from].clone();
        change(&mut place);
        self.places.push(place);
        self.codes.push(self.codes[from].clone());
        self.behalf.push(self.behalf[from]);
        self.admitted.push(self.admitted[from]);
        self.marking.push(self.marking[from]);
        to
    }

    /// By place: a number that places of one function share.
    pub fn functions(&self) -> Vec<u32> {
        let mut ids: FxHashMap<(&str, Option<&str>), u32> = FxHashMap::default();
        let mut functions = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let next = ids.len() as u32;
            let key = (place.image.as_str(), place.function.as_deref());
            functions.push(*ids.entry(key).or_insert(next));
        }
        functions
    }

    /// What the function of a sample says of the maps that it handles.
    pub fn admitted(&self, sample: u32) -> Admitted {
        let place = self.place.get(sample as usize);
        let admitted = place.and_then(|place| self.admitted.get(place as usize));
        admitted.copied().unwrap_or(Admitted::Variant(NONE, 0))
    }

    /// Which shapes a row may be of, by its type or else by its code.
    pub fn admitted_by(&self, row: &Row, types: &Types) -> Admitted {
        match row.map_type.and_then(|of| types.shape_of(of)) {
            Some(shape) => Admitted::Known(shape),
            None => self.admitted(row.sample),
        }
    }

    /// Which kind of functions that of a sample is of, as [`super::types::Types::handles`] counts them.
    pub fn variant(&self, sample: u32) -> usize {
        match self.admitted(sample) {
            Admitted::Variant(_, variant) => variant,
            Admitted::Known(_) => 0,
        }
    }

    pub fn is_proxy(&self, i: usize) -> bool {
        self.behalf(i).proxy
    }

    pub fn behalf(&self, i: usize) -> Behalf {
        let place = self.place.get(i);
        let behalf = place.and_then(|place| self.behalf.get(place as usize));
        behalf.copied().unwrap_or_default()
    }

    /// What the functions of the places say of them.
    fn tell(&mut self) {
        let told = |place: &Place, of: fn(&str) -> bool| place.function.as_deref().is_some_and(of);
        let behalf = |(place, code): (&Place, &Result<Code, Reason>)| Behalf {
            // Of map code the flow tells what it touches.
            proxy: told(place, is_proxy) && !code.as_ref().is_ok_and(|code| code.map_code),
            hashes: told(place, hashes),
            compares: told(place, compares),
            keys: place.function.as_deref().and_then(KeyKind::read_by),
            reads: told(place, reads),
            to_end: code.as_ref().ok().and_then(|code| code.to_end),
        };
        let admitted = |code: &Result<Code, Reason>| match code {
            Ok(code) => Admitted::Variant(code.binary, code.variant),
            Err(_) => Admitted::Variant(NONE, 0),
        };
        self.behalf = self.places.iter().zip(&self.codes).map(behalf).collect();
        self.admitted = self.codes.iter().map(admitted).collect();
        self.marking = self.places.iter().map(|p| told(p, marks)).collect();
    }

    pub fn of(recording: &Recording, binaries: &mut [Option<Binary>], kernel: &Kernel) -> Places {
        let mut all = Places {
            place: Column::default(),
            places: Vec::new(),
            codes: Vec::new(),
            behalf: Vec::new(),
            admitted: Vec::new(),
            marking: Vec::new(),
        };
        let spots_of_ips = spots_of_ips(recording);
        follow(binaries, spots_of_ips.as_deref().unwrap_or_default());
        let mut look = |spot: &Spot| {
            let (place, code) = match spot.mode {
                Mode::User => look_at(recording, binaries, spot),
                Mode::Kernel => (in_kernel(kernel, spot.ip), Err(Reason::Kernel)),
                Mode::Guest => (nowhere(spot.ip, "[guest]"), Err(Reason::Guest)),
            };
            all.places.push(place);
            all.codes.push(code);
            all.places.len() as u32 - 1
        };
        if let Some(spots) = spots_of_ips {
            spots.iter().for_each(|spot| {
                look(spot);
            });
            all.place = recording.samples.ip.ids.clone();
            all.tell();
            return all;
        }
        let mut known: FxHashMap<Spot, u32> = FxHashMap::default();
        let settled = Settled::of(recording);
        let chunks: Vec<usize> = (0..recording.samples.len()).step_by(CHUNK).collect();
        for chunks in chunks.chunks(AT_ONCE) {
            let found: Vec<(Vec<Spot>, Vec<u32>)> = chunks
                .par_iter()
                .map(|&first| spots(recording, &settled, first, CHUNK))
                .collect();
            let mut id_of = |spot: &Spot| *known.entry(*spot).or_insert_with(|| look(spot));
            let found: Vec<(Vec<u32>, Vec<u32>)> = found
                .into_iter()
                .map(|(spots, ids)| (spots.iter().map(&mut id_of).collect(), ids))
                .collect();
            let columns: Vec<Column<u32>> = found
                .into_par_iter()
                .map(|(places, ids)| {
                    let place = |id: u32| places.get(id as usize).copied().unwrap_or(NONE);
                    ids.into_iter().map(place).collect()
                })
                .collect();
            for column in columns {
                all.place.append(column);
            }
        }
        all.tell();
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

/// Samples that one thread finds the places of at a time.
const CHUNK: usize = 1 << 16;

/// Chunks that are in memory beside the column that they become part of.
const AT_ONCE: usize = 64;

/// What makes a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Spot {
    ip: u64,
    image: ImageId,
    /// Run-time address of the image's first byte.
    load: u64,
    /// `ip` is behind the instruction.
    after: bool,
    mode: Mode,
}

/// In whose memory the processor was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Mode {
    User,
    /// Or the hypervisor.
    Kernel,
    /// A virtual machine, of whose memory nothing is mapped in the process that runs it.
    Guest,
}

impl Mode {
    /// By `cpumode`; a recording without one is of a program.
    fn of(cpumode: Option<u8>) -> Mode {
        match cpumode.map(u32::from) {
            None | Some(sys::PERF_RECORD_MISC_USER) => Mode::User,
            Some(sys::PERF_RECORD_MISC_GUEST_KERNEL | sys::PERF_RECORD_MISC_GUEST_USER) => {
                Mode::Guest
            }
            Some(_) => Mode::Kernel,
        }
    }
}

/// From when on what lies where in a process does not change; `None`: it may at any time.
struct Settled {
    /// By thread, as `Samples::thread` numbers them.
    threads: Vec<Option<u64>>,
    kernel: Option<u64>,
}

impl Settled {
    fn of(recording: &Recording) -> Settled {
        let threads = recording.samples.thread.values.iter();
        Settled {
            threads: threads
                .map(|&(pid, _)| recording.space.settled(pid))
                .collect(),
            kernel: recording.space.settled(-1),
        }
    }
}

/// The spot of each ip, where all samples of an ip are in one. Then places are numbered as ips are, which
/// is as they come first.
fn spots_of_ips(recording: &Recording) -> Option<Vec<Spot>> {
    recording.steady_process()?;
    let samples = &recording.samples;
    let mut after = recording.events.iter().map(after);
    let first = after.next()?;
    if !after.all(|after| after == first) {
        return None;
    }
    // The first sample of each ip, and the mode of all.
    type First = Option<(usize, Mode)>;
    let none = || vec![None; samples.ip.values.len()];
    let both = |a: First, b: First| match (a, b) {
        (Some((i, mode)), Some((j, other))) => (mode == other).then_some(Some((i.min(j), mode))),
        (a, b) => Some(a.or(b)),
    };
    let chunks = (0..samples.len().div_ceil(CHUNK)).into_par_iter();
    let firsts = chunks.try_fold(none, |mut firsts: Vec<First>, chunk| {
        let rows = chunk * CHUNK..samples.len().min((chunk + 1) * CHUNK);
        let (mut ips, mut modes) = (Vec::new(), Vec::new());
        samples.ip.ids.read(rows.clone(), &mut ips);
        samples.cpumode.read(rows.clone(), &mut modes);
        if ips.len() < rows.len() {
            return None;
        }
        for (n, (i, ip)) in rows.zip(ips).enumerate() {
            let own = Mode::of(modes.get(n).copied());
            let first = firsts.get_mut(ip as usize)?;
            match *first {
                None => *first = Some((i, own)),
                Some((_, mode)) if mode != own => return None,
                Some(_) => {}
            }
        }
        Some(firsts)
    });
    let firsts = firsts.try_reduce(none, |a, b| {
        a.into_iter().zip(b).map(|(a, b)| both(a, b)).collect()
    })?;
    let firsts: Vec<(usize, Mode)> = firsts.into_iter().collect::<Option<_>>()?;
    let spots = firsts.iter().map(|&(i, mode)| spot(recording, i, mode));
    firsts.is_sorted().then(|| spots.collect())
}

/// What decides on a spot once the memory of its process has settled: ids of ip and thread, event and
/// `cpumode`.
type Seen = (u32, u32, u16, u8);

/// The distinct spots of `len` samples from `first` on, and which is whose.
fn spots(
    recording: &Recording,
    settled: &Settled,
    first: usize,
    len: usize,
) -> (Vec<Spot>, Vec<u32>) {
    let samples = &recording.samples;
    let end = samples.len().min(first + len);
    let mut spots = Vec::new();
    let mut ids: FxHashMap<Spot, u32> = FxHashMap::default();
    let mut same: FxHashMap<Seen, u32> = FxHashMap::default();
    let mut recent = Recent::default();
    let mut of_sample = Vec::with_capacity(end.saturating_sub(first));
    let mut modes = samples.cpumode.range(first..end);
    let mut times = samples.time.range(first..end);
    let mut threads = samples.thread.ids.range(first..end);
    let mut ips = samples.ip.ids.range(first..end);
    let mut events = samples.event.range(first..end);
    for i in first..end {
        let mode = modes.next().flatten();
        let own = Mode::of(mode);
        let time = times.next().flatten().unwrap_or(0);
        let thread = threads.next().flatten();
        let seen = (
            ips.next().flatten().unwrap_or(0),
            thread.unwrap_or(0),
            events.next().flatten().unwrap_or(0),
            mode.unwrap_or(0),
        );
        let since = thread
            .filter(|_| own == Mode::User)
            .map_or(settled.kernel, |thread| {
                settled.threads.get(thread as usize).copied().flatten()
            });
        let mut find = || {
            let spot = spot(recording, i, own);
            *ids.entry(spot).or_insert_with(|| {
                spots.push(spot);
                spots.len() as u32 - 1
            })
        };
        let lasting = since.is_some_and(|since| since <= time);
        of_sample.push(match lasting {
            true => recent.get((seen.0, seen.1), seen, || {
                *same.entry(seen).or_insert_with(find)
            }),
            false => find(),
        });
    }
    (spots, of_sample)
}

/// Where sample `i` lies.
fn spot(recording: &Recording, i: usize, mode: Mode) -> Spot {
    let samples = &recording.samples;
    let (pid, _) = samples.thread.get(i).unwrap_or((-1, -1));
    let pid = if mode == Mode::User { pid } else { -1 };
    let ip = samples.ip.get(i).unwrap_or(0);
    let time = samples.time.get(i).unwrap_or(0);
    let find = || recording.space.find(pid, ip, time);
    let mapping = (mode != Mode::Guest).then(find).flatten();
    let (image, load) = mapping.map_or((NONE, 0), |m| (m.image, m.start.wrapping_sub(m.pgoff)));
    Spot {
        ip,
        image,
        load,
        after: recording.event(i).is_some_and(after),
        mode,
    }
}

/// Whether the ips of an event are behind the instructions.
fn after(event: &Event) -> bool {
    event.pmu.pmu().ip == Ip::Next
}

/// Follows the functions that these lie in.
fn follow(binaries: &mut [Option<Binary>], spots: &[Spot]) {
    let mut by_image: FxHashMap<ImageId, Vec<u64>> = FxHashMap::default();
    for spot in spots.iter().filter(|spot| spot.mode == Mode::User) {
        let offset = spot.ip.wrapping_sub(spot.load);
        by_image.entry(spot.image).or_default().push(offset);
    }
    for (image, offsets) in by_image {
        if let Some(Some(binary)) = binaries.get_mut(image as usize) {
            let program = Arc::clone(&binary.program);
            let vaddrs = offsets.iter();
            binary.follow(vaddrs.filter_map(|offset| program.vaddr_of_offset(*offset)));
        }
    }
}

fn look_at(
    recording: &Recording,
    binaries: &mut [Option<Binary>],
    spot: &Spot,
) -> (Place, Result<Code, Reason>) {
    let &Spot {
        ip,
        image,
        load,
        after,
        ..
    } = spot;
    let path = recording
        .space
        .images
        .get(image as usize)
        .map_or("", |i| i.path.as_str());
    if image == NONE {
        return (nowhere(ip, "[unknown]"), Err(Reason::NoMapping));
    }
    let Some(binary) = binaries.get_mut(image as usize).and_then(Option::as_mut) else {
        return (nowhere(ip, path), Err(Reason::NoBinary));
    };
    match binary.program.vaddr_of_offset(ip.wrapping_sub(load)) {
        Some(vaddr) => binary.place(path, ip, vaddr, after),
        None => (nowhere(ip, path), Err(Reason::NoSymbol)),
    }
}

/// What is known of an instruction whose code is not at hand.
fn nowhere(ip: u64, image: &str) -> Place {
    Place {
        ip,
        image: image.to_owned(),
        ..Place::default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Interned, Mapping, Samples, SpaceBuilder};

    const USER: u8 = 2;

    /// Five samples of one process, whose second mapping begins at `mapped`.
    fn recording(mapped: u64, modes: [u8; 5], ips: [u32; 5]) -> Recording {
        let mut space = SpaceBuilder::default();
        for (start, time) in [(0x1000, 1), (0x2000, mapped)] {
            let image = space.image(format!("/{start:x}"), None);
            space.map(Mapping {
                pid: 7,
                start,
                end: start + 0x1000,
                pgoff: 0,
                image,
                time,
                executable: true,
                order: 0,
            });
        }
        Recording {
            events: vec![Event::default()],
            space: space.finish(),
            samples: Samples {
                event: [0; 5].into_iter().collect(),
                cpumode: modes.into_iter().collect(),
                time: [5, 4, 6, 7, 8].into_iter().collect(),
                thread: Interned {
                    values: vec![(7, 7), (7, 8)],
                    ids: [0, 1, 0, 1, 1].into_iter().collect(),
                },
                ip: Interned {
                    values: vec![0x1010, 0x2020, 0x1030],
                    ids: ips.into_iter().collect(),
                },
                ..Samples::default()
            },
            ..Recording::default()
        }
    }

    #[test]
    fn ips_are_places_where_all_samples_of_each_are_in_one() {
        const IPS: [u32; 5] = [0, 1, 1, 2, 0];
        let same = [
            (4, [USER; 5], IPS, true),
            // Kernel code.
            (4, [USER, 1, 1, USER, USER], IPS, true),
            (4, [USER, 1, USER, USER, USER], IPS, false),
            // Not there when the first sample was taken.
            (5, [USER; 5], IPS, false),
            // Not numbered as they come.
            (4, [USER; 5], [1, 0, 1, 2, 0], false),
            (4, [USER; 5], [0, 1, 1, 1, 0], false),
        ];
        for (mapped, modes, ips, expected) in same {
            let recording = recording(mapped, modes, ips);
            let spots = spots_of_ips(&recording);
            assert_eq!(spots.is_some(), expected, "{mapped} {modes:?} {ips:?}");
            let found = super::spots(&recording, &Settled::of(&recording), 0, CHUNK);
            assert!(spots.is_none_or(|spots| found == (spots, ips.to_vec())));
        }
    }
}
