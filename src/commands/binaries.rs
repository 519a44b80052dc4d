//! The binaries of a recording: which file each image was found in, or why not.

use super::alive::{Alive, Sights, made_here};
use super::input::Options;
use crate::attribute::Attribution;
use crate::heap::Heap;
use crate::program::find::{FindError, Search, Wanted};
use crate::program::kernel::Kernel;
use crate::program::{Program, ProgramError};
use crate::recording::{Column, Image, ImageId, Recent, Recording};
use crate::tables;
use crate::unwind::unwind;
use anyhow::bail;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The binaries of a recording, by image.
#[derive(Debug)]
pub struct Binaries {
    /// Index: as of `AddressSpace::images`.
    pub programs: Vec<Option<Arc<Program>>>,
    pub kernel: Kernel,
    /// The maps of the core, where one was given.
    pub heap: Option<Heap>,
    /// What became of the search for each image that samples are in.
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    image: ImageId,
    program: Result<Arc<Program>, String>,
    /// Accepted although its build id differs.
    forced: bool,
}

/// Where distributions put separate debug information.
const DEBUG_ROOT: &str = "/usr/lib/debug";

/// Samples that one thread finds the images of at a time.
const CHUNK: usize = 1 << 18;

/// `PERF_RECORD_MISC_USER`.
const USER: u8 = 2;

/// Finds the binary of every image that has samples of user code, and unwinds the samples' copies of
/// the stack with them.
///
/// # Errors
///
/// When a file of `search.binaries` cannot be read, is none of the recording's binaries, or has
/// another build id and `search.force` is not set.
pub fn open(recording: &mut Recording, input: &Options) -> anyhow::Result<Binaries> {
    let search = &input.search;
    let images = images_with_samples(recording);
    let mut binaries = Binaries {
        programs: vec![None; recording.space.images.len()],
        kernel: kernel(recording, input.kallsyms.as_deref())?,
        heap: None,
        found: Vec::new(),
    };
    let alive = Alive::of(recording);
    for (i, (id, image)) in images.iter().enumerate() {
        let (program, forced) = match open_one(image, i == 0, &alive.sights(*id), input) {
            Ok((program, forced)) => (Ok(Arc::new(program)), forced),
            Err(error) if is_of_a_given_file(&error, search) => return Err(error.into()),
            Err(error) => (Err(error.to_string()), false),
        };
        if let (Ok(program), Some(slot)) = (&program, binaries.programs.get_mut(*id as usize)) {
            *slot = Some(Arc::clone(program));
        }
        binaries.found.push(Found {
            image: *id,
            program,
            forced,
        });
    }
    for given in &search.binaries {
        // A file that no image asked for was not opened yet.
        let used = binaries
            .programs
            .iter()
            .flatten()
            .any(|program| program.path == *given);
        if !used {
            Program::open(given)?;
            // Without mappings, as in a recording that was cut, every sample says so itself.
            if images.is_empty() {
                continue;
            }
            let paths: Vec<&str> = images
                .iter()
                .map(|(_, image)| image.path.as_str())
                .collect();
            bail!(
                "'{}' is none of the binaries that samples are in ({}); pass one that was recorded",
                given.display(),
                paths.join(", "),
            );
        }
    }
    if let Some(core) = &input.core {
        let programs: Vec<Arc<Program>> = binaries.programs.iter().flatten().cloned().collect();
        binaries.heap = Some(Heap::read(core, &programs, search.force)?);
    }
    unwind(recording, &binaries.programs);
    Ok(binaries)
}

fn open_one(
    image: &Image,
    main: bool,
    sights: &Sights,
    input: &Options,
) -> Result<(Program, bool), FindError> {
    let found = input.search.find(Wanted {
        path: Path::new(&image.path),
        build_id: image.build_id.as_deref(),
        main,
        roots: &sights.roots,
        meant: sights.meant.as_deref(),
    })?;
    let mut program = Program::open(&found.path)?;
    program.look_for_sources(input.sources.clone());
    if program.stripped()
        && let Some(path) = Search::debug_info(&program, &[PathBuf::from(DEBUG_ROOT)])
    {
        program.add_debug_info(&path)?;
    }
    Ok((program, found.forced))
}

/// The kernel's symbols: those named on the command line, else this machine's where its kernel and
/// host name are the recorded ones.
fn kernel(recording: &Recording, kallsyms: Option<&Path>) -> anyhow::Result<Kernel> {
    if let Some(path) = kallsyms {
        return Ok(Kernel::read(path)?);
    }
    if !made_here(&recording.meta) {
        return Ok(Kernel::default());
    }
    Ok(Kernel::read(Path::new("/proc/kallsyms")).unwrap_or_default())
}

/// Whether a file that was named on the command line is what is wrong.
fn is_of_a_given_file(error: &FindError, search: &Search) -> bool {
    let (FindError::Refused(error) | FindError::Elsewhere { error, .. }) = error else {
        return false;
    };
    let (ProgramError::Io { path, .. }
    | ProgramError::NotElf { path, .. }
    | ProgramError::TooLarge { path, .. }
    | ProgramError::Malformed { path, .. }
    | ProgramError::BuildId { path, .. }) = error;
    search.binaries.contains(path)
}

/// The files that user samples are in, the one with the most samples first. Pseudo images such as
/// `[vdso]` and `//anon` are no files.
fn images_with_samples(recording: &Recording) -> Vec<(ImageId, &Image)> {
    let counts = match recording.steady_process() {
        Some(pid) => counts_by_ip(recording, pid),
        None => counts(recording),
    };
    let mut images: Vec<(ImageId, &Image, u64)> = counts
        .into_iter()
        .filter_map(|(id, count)| Some((id, recording.space.images.get(id as usize)?, count)))
        .filter(|(_, image, _)| image.path.starts_with('/') && !image.path.starts_with("//"))
        .collect();
    images.sort_by_key(|&(id, _, count)| (Reverse(count), id));
    images
        .into_iter()
        .map(|(id, image, _)| (id, image))
        .collect()
}

/// The user samples in each image, of a process in which an ip is in one all the time.
fn counts_by_ip(recording: &Recording, pid: i32) -> FxHashMap<ImageId, u64> {
    let samples = &recording.samples;
    let none = || vec![0u64; samples.ip.values.len()];
    let chunks = (0..samples.len().div_ceil(CHUNK)).into_par_iter();
    let by_ip = chunks.fold(none, |mut by_ip, chunk| {
        let rows = chunk * CHUNK..samples.len().min((chunk + 1) * CHUNK);
        let ips = samples.ip.ids.range(rows.clone());
        for (ip, mode) in ips.zip(samples.cpumode.range(rows)) {
            if let (Some(ip), Some(USER)) = (ip, mode)
                && let Some(count) = by_ip.get_mut(ip as usize)
            {
                *count += 1;
            }
        }
        by_ip
    });
    let by_ip = by_ip.reduce(none, |mut by_ip, other| {
        by_ip.iter_mut().zip(other).for_each(|(n, m)| *n += m);
        by_ip
    });
    let (first, _) = samples.time.span().unwrap_or_default();
    let mut counts = FxHashMap::default();
    for (&ip, count) in samples.ip.values.iter().zip(by_ip) {
        if let Some(mapping) = recording.space.find(pid, ip, first).filter(|_| count != 0) {
            *counts.entry(mapping.image).or_default() += count;
        }
    }
    counts
}

/// The user samples in each image.
fn counts(recording: &Recording) -> FxHashMap<ImageId, u64> {
    let samples = &recording.samples;
    let count = |chunk: usize| {
        // Where an ip of a process lies is looked up once: mappings of code seldom change.
        let mut known = FxHashMap::<(u32, u32), usize>::default();
        let mut recent = Recent::default();
        let mut found: Vec<(Option<ImageId>, u64)> = Vec::new();
        for i in chunk * CHUNK..samples.len().min((chunk + 1) * CHUNK) {
            if samples.cpumode.get(i) != Some(USER) {
                continue;
            }
            let id = |ids: &Column<u32>| ids.get(i).unwrap_or(u32::MAX);
            let ids = (id(&samples.ip.ids), id(&samples.thread.ids));
            let at = recent.get(ids, ids, || {
                *known.entry(ids).or_insert_with(|| {
                    let look_up = || {
                        let time = samples.time.get(i).unwrap_or(0);
                        let (pid, _) = samples.thread.get(i)?;
                        Some(recording.space.find(pid, samples.ip.get(i)?, time)?.image)
                    };
                    found.push((look_up(), 0));
                    found.len() - 1
                })
            });
            if let Some((_, count)) = found.get_mut(at) {
                *count += 1;
            }
        }
        found
    };
    let chunks = (0..samples.len().div_ceil(CHUNK)).into_par_iter();
    let mut counts = FxHashMap::<ImageId, u64>::default();
    for (image, count) in chunks.flat_map_iter(count).collect::<Vec<_>>() {
        if let Some(image) = image {
            *counts.entry(image).or_default() += count;
        }
    }
    counts
}

impl Binaries {
    /// The binaries that were found, by the path of their image.
    pub fn by_image<'a>(&'a self, recording: &'a Recording) -> BTreeMap<&'a str, &'a Program> {
        let images = recording.space.images.iter().zip(&self.programs);
        let found =
            images.filter_map(|(image, program)| Some((&*image.path, &**program.as_ref()?)));
        found.collect()
    }

    /// What the summary says of each binary, the one with the most samples first.
    pub fn facts(&self, recording: &Recording, attribution: &Attribution) -> Vec<tables::Binary> {
        let samples = samples_by_image(attribution);
        let mut facts: Vec<tables::Binary> = self
            .found
            .iter()
            .filter_map(|found| {
                let image = recording.space.images.get(found.image as usize)?;
                let program = found.program.as_deref();
                Some(tables::Binary {
                    path: image.path.clone(),
                    found: program
                        .map(|p| p.path.display().to_string())
                        .map_err(Clone::clone),
                    build_id: image.build_id.as_deref().map(hex),
                    forced: found.forced,
                    stripped: program.is_ok_and(|p| p.globals().is_empty()),
                    go: program.ok().and_then(|p| p.go.clone()),
                    samples: samples.get(image.path.as_str()).copied().unwrap_or(0),
                    declared: attribution
                        .declared
                        .get(found.image as usize)
                        .cloned()
                        .flatten(),
                })
            })
            .collect();
        facts.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.path.cmp(&b.path)));
        facts
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn samples_by_image(attribution: &Attribution) -> FxHashMap<&str, u64> {
    let none = || vec![0u64; attribution.places.len()];
    let places = attribution.place.par_iter();
    let by_place = places.fold(none, |mut by_place, place| {
        if let Some(samples) = by_place.get_mut(place as usize) {
            *samples += 1;
        }
        by_place
    });
    let by_place = by_place.reduce(none, |mut all, more| {
        all.iter_mut().zip(more).for_each(|(a, b)| *a += b);
        all
    });
    let mut by_image = FxHashMap::default();
    for (place, samples) in attribution.places.iter().zip(by_place) {
        *by_image.entry(place.image.as_str()).or_default() += samples;
    }
    by_image
}
