//! The binaries of a recording: which file each image was found in, or why not.

use crate::attribute::Attribution;
use crate::program::Program;
use crate::recording::{Image, ImageId, Recording};
use crate::tables;
use anyhow::{Context, bail};
use rustc_hash::{FxHashMap, FxHashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where to look for binaries, and what to accept.
#[derive(Debug, Clone, Default)]
pub struct Search {
    pub files: Vec<PathBuf>,
    pub dirs: Vec<PathBuf>,
    /// Accept a binary although its build id differs.
    pub force: bool,
}

/// The binaries of a recording, by image.
#[derive(Debug)]
pub struct Binaries {
    /// Index: as of `AddressSpace::images`.
    pub programs: Vec<Option<Arc<Program>>>,
    /// The images that samples are in: where each was found, or why not.
    pub found: Vec<Found>,
}

/// What became of the search for one image.
#[derive(Debug)]
pub struct Found {
    pub image: ImageId,
    pub program: Result<Arc<Program>, String>,
    /// Accepted although its build id differs.
    pub forced: bool,
}

/// `PERF_RECORD_MISC_USER`.
const USER: u8 = 2;

/// Finds the binary of every image that has samples of user code.
///
/// # Errors
///
/// When a file of `search.files` cannot be read, is none of the recording's binaries, or has
/// another build id and `search.force` is not set.
pub fn open(recording: &Recording, search: &Search) -> anyhow::Result<Binaries> {
    let images = images_with_samples(recording);
    let mut programs = vec![None; recording.space.images.len()];
    let mut given = Vec::new();
    for path in &search.files {
        given.push(Given::open(path, recording, &images, search.force)?);
    }
    let mut found = Vec::new();
    for &image in &images {
        let Some(wanted) = recording.space.images.get(image as usize) else {
            continue;
        };
        let (program, forced) = match given.iter().find(|g| g.image == image) {
            Some(given) => (Ok(Arc::clone(&given.program)), given.forced),
            None => (look_for(wanted, search, recording.path.parent()), false),
        };
        if let (Ok(program), Some(slot)) = (&program, programs.get_mut(image as usize)) {
            *slot = Some(Arc::clone(program));
        }
        found.push(Found {
            image,
            program,
            forced,
        });
    }
    Ok(Binaries { programs, found })
}

/// The files that user samples are in, by number of the first sample: pseudo images such as
/// `[vdso]` and `//anon` are no files.
fn images_with_samples(recording: &Recording) -> Vec<ImageId> {
    let samples = &recording.samples;
    let mut seen = FxHashSet::default();
    let mut images = Vec::new();
    for i in 0..samples.len() {
        let ids = (samples.ip.ids.get(i), samples.thread.ids.get(i));
        if samples.cpumode.get(i) != Some(&USER) || !seen.insert(ids) {
            continue;
        }
        let (Some(ip), Some((pid, _))) = (samples.ip.get(i), samples.thread.get(i)) else {
            continue;
        };
        let time = samples.time.get(i).copied().unwrap_or(0);
        let Some(mapping) = recording.space.find(pid, ip, time) else {
            continue;
        };
        let path = recording
            .space
            .images
            .get(mapping.image as usize)
            .map_or("", |i| &i.path);
        let file = path.starts_with('/') && !path.starts_with("//");
        if file && !images.contains(&mapping.image) {
            images.push(mapping.image);
        }
    }
    images
}

/// A file that was named on the command line.
struct Given {
    image: ImageId,
    program: Arc<Program>,
    forced: bool,
}

impl Given {
    fn open(
        path: &Path,
        recording: &Recording,
        images: &[ImageId],
        force: bool,
    ) -> anyhow::Result<Given> {
        let program = Program::open(path).context("could not read a binary")?;
        let wanted = |image: &ImageId| recording.space.images.get(*image as usize);
        let with = |test: &dyn Fn(&Image) -> bool| {
            images
                .iter()
                .copied()
                .find(|image| wanted(image).is_some_and(test))
        };
        let same_id = with(&|image| matches(image, &program) == Some(true));
        let same_name = with(&|image| stem(Path::new(&image.path)) == stem(path));
        let only = images.first().copied().filter(|_| images.len() == 1);
        let Some(image) = same_id.or(same_name).or(only) else {
            let paths: Vec<&str> = images
                .iter()
                .filter_map(wanted)
                .map(|i| i.path.as_str())
                .collect();
            bail!(
                "'{}' ({}) is none of the binaries that samples are in: {}; pass the one that was recorded",
                path.display(),
                id_text(program.build_id.as_deref()),
                if paths.is_empty() {
                    "none".to_owned()
                } else {
                    paths.join(", ")
                },
            );
        };
        let differs = wanted(&image).is_some_and(|image| matches(image, &program) == Some(false));
        if differs && !force {
            let recorded = wanted(&image).and_then(|image| image.build_id.as_deref());
            bail!(
                "'{}' has {}, the recording has {} for {}; pass the binary that was recorded, or --force to use this one",
                path.display(),
                id_text(program.build_id.as_deref()),
                id_text(recorded),
                wanted(&image).map_or("", |image| &image.path),
            );
        }
        Ok(Given {
            image,
            program: Arc::new(program),
            forced: differs,
        })
    }
}

/// Whether a program is the image by build id; `None` where the recording has none to compare.
fn matches(image: &Image, program: &Program) -> Option<bool> {
    let wanted = image.build_id.as_deref()?;
    Some(program.build_id.as_deref() == Some(wanted))
}

/// The file's name up to its first dot: `rec1` of `rec1.bin.gz`.
fn stem(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.split('.').next()
}

/// Looks in the folders, in perf's build-id cache, and where the recording says.
fn look_for(
    wanted: &Image,
    search: &Search,
    beside: Option<&Path>,
) -> Result<Arc<Program>, String> {
    let mut refused = Vec::new();
    for path in candidates(wanted, search, beside)
        .into_iter()
        .filter(|path| path.is_file())
    {
        match Program::open(&path) {
            Ok(program) if matches(wanted, &program) != Some(false) => {
                return Ok(Arc::new(program));
            }
            Ok(program) => refused.push(format!(
                "'{}' has {}",
                path.display(),
                id_text(program.build_id.as_deref())
            )),
            Err(error) => refused.push(error.to_string()),
        }
    }
    if refused.is_empty() {
        return Err("no such file here".to_owned());
    }
    Err(refused.join("; "))
}

/// `beside`: the folder of the recording, which is where a binary is kept that travels with it.
fn candidates(wanted: &Image, search: &Search, beside: Option<&Path>) -> Vec<PathBuf> {
    let recorded = Path::new(&wanted.path);
    let mut paths = Vec::new();
    for dir in search.dirs.iter().map(PathBuf::as_path).chain(beside) {
        let Some(name) = recorded.file_name() else {
            continue;
        };
        paths.push(dir.join(name));
        let mut gzipped = name.to_owned();
        gzipped.push(".gz");
        paths.push(dir.join(gzipped));
        paths.push(dir.join(recorded.strip_prefix("/").unwrap_or(recorded)));
    }
    let cache = std::env::var_os("HOME").map(|home| Path::new(&home).join(".debug/.build-id"));
    if let (Some(cache), Some(id)) = (cache, &wanted.build_id) {
        let hex = hex(id);
        if let Some((first, rest)) = hex.split_at_checked(2) {
            paths.push(cache.join(first).join(rest).join("elf"));
        }
    }
    paths.push(recorded.to_owned());
    paths
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id_text(id: Option<&[u8]>) -> String {
    id.map_or_else(
        || "no build id".to_owned(),
        |id| format!("build id {}", hex(id)),
    )
}

impl Binaries {
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
                })
            })
            .collect();
        facts.sort_by(|a, b| b.samples.cmp(&a.samples).then_with(|| a.path.cmp(&b.path)));
        facts
    }
}

fn samples_by_image(attribution: &Attribution) -> FxHashMap<&str, u64> {
    let mut by_place = vec![0u64; attribution.places.len()];
    for &place in &attribution.place {
        if let Some(samples) = by_place.get_mut(place as usize) {
            *samples += 1;
        }
    }
    let mut by_image = FxHashMap::default();
    for (place, samples) in attribution.places.iter().zip(by_place) {
        *by_image.entry(place.image.as_str()).or_default() += samples;
    }
    by_image
}
