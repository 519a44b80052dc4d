//! The attribution against recordings in which the owner of every access is known.

#[path = "../common/mod.rs"]
mod common;
mod score;
mod table;

use mempath::attribute::{Attribution, Evidence, NONE, attribute};
use mempath::gomap::{Part, Stage};
use mempath::heap::Heap;
use mempath::program::Program;
use mempath::program::kernel::Kernel;
use mempath::recording::{self, Recording};
use score::{Claim, Score, Truth, score};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use table::truths;

/// The decompressed bytes of a `.zst` or `.gz` file.
fn decompressed(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    let read = match path.extension().and_then(|e| e.to_str()) {
        Some("zst") => zstd::Decoder::new(file)
            .expect("zstd")
            .read_to_end(&mut bytes),
        Some("gz") => flate2::read::GzDecoder::new(file).read_to_end(&mut bytes),
        _ => panic!("{} is neither .zst nor .gz", path.display()),
    };
    read.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    bytes
}

/// Writes the decompressed file into `dir` and returns its path.
fn unpacked(path: &Path, dir: &Path) -> PathBuf {
    let to = dir.join(path.file_stem().expect("a file name"));
    std::fs::write(&to, decompressed(path)).expect("a writable folder");
    to
}

/// One row a sample, as `mempath export accesses` claims it.
fn claims(attribution: &Attribution) -> Vec<Claim> {
    (0..attribution.part.len())
        .map(|i| {
            let part = attribution.part[i].ok();
            let hit = attribution.hit(i);
            Claim {
                part: part.map(|p| p.name().to_owned()),
                base: hit
                    .base()
                    .filter(|_| part.is_some_and(|p| whole(p, hit.slot))),
                slot: hit.slot(),
                map: match hit.map {
                    NONE => None,
                    map => {
                        let of = &attribution.maps[map as usize];
                        of.is_told_apart().then(|| map.to_string())
                    }
                },
            }
        })
        .collect()
}

/// Whether a base says all there is to say: a slot is known where the part has slots.
fn whole(part: Part, slot: i8) -> bool {
    slot >= 0 || !matches!(part.stage(), Stage::Control | Stage::Key | Stage::Elem)
}

fn attributed(perf_data: &Path, binary: &Path, core: Option<&Path>) -> (Recording, Attribution) {
    let recording = recording::read(perf_data).expect("a readable recording");
    let program = Arc::new(Program::open(binary).expect("a readable binary"));
    let programs: Vec<Option<Arc<Program>>> = recording
        .space
        .images
        .iter()
        .map(|image| {
            image
                .path
                .ends_with("/mapload")
                .then(|| Arc::clone(&program))
        })
        .collect();
    let heap = core.map(|core| Heap::read(core, &[program], false).expect("a readable core"));
    let attribution = attribute(&recording, &programs, &Kernel::default(), heap.as_ref());
    (recording, attribution)
}

fn scored(set: &str, perf: &str, binary: &str) -> Option<Score> {
    scored_with(set, perf, binary, false)
}

/// The score with the core file that was taken after the recording.
fn scored_with_core(set: &str, perf: &str) -> Option<Score> {
    scored_with(set, perf, "mapload", true)
}

/// Samples of which a learned region said something else than stronger evidence, which was kept.
///
/// The 7 are elems that callers touch: the variable at the call site names the map, and a region that the
/// core told of names another of the same type. No map that is claimed for such an elem is wrong in that
/// recording: it is the regions that are.
fn contradictions(set: &str, perf: &str, core: bool) -> &'static [(Evidence, u64)] {
    match (set, perf, core) {
        ("go1.27.3-twins", "perf.data.plain", true) => &[(Evidence::CallSite, 7)],
        _ => &[],
    }
}

fn scored_with(set: &str, perf: &str, binary: &str, core: bool) -> Option<Score> {
    let dir = common::shared()?.join("truth").join(set);
    let work = tempfile::tempdir().expect("a temporary folder");
    let truths =
        truths(std::str::from_utf8(&decompressed(&dir.join("truth.csv.gz"))).expect("UTF-8"));
    let perf_data = unpacked(&dir.join(format!("{perf}.zst")), work.path());
    let binary_path = unpacked(&dir.join(format!("{binary}.gz")), work.path());
    let core = core.then(|| common::core::inflated(&dir, work.path()));
    let (_, attribution) = attributed(&perf_data, &binary_path, core.as_deref());
    let with = if core.is_some() { " with core" } else { "" };
    let disagreed: Vec<(Evidence, u64)> = (attribution.contradictions.iter())
        .map(|c| (c.stronger, c.samples))
        .collect();
    println!("{set} {perf} {binary}{with}: contradicted by learned regions {disagreed:?}");
    assert_eq!(disagreed, contradictions(set, perf, core.is_some()));
    let mut wrong: HashMap<(String, String), u64> = HashMap::new();
    let claims = claims(&attribution);
    let show = std::env::var_os("MEMPATH_SHOW_WRONG").is_some();
    let score = score(&truths, &claims, |n, level, truth, claim| {
        if show {
            let place = &attribution.places[attribution.place.get(n).unwrap() as usize];
            eprintln!(
                "wrong {level} {n} {:?} {:?} {:?} truth {truth:?} claim {claim:?}",
                place.function,
                place.instruction,
                attribution.hit(n).evidence
            );
        }
        let truth = truth.map_or("no map", |t| t.part.as_str()).to_owned();
        *wrong
            .entry((truth, claim.part.clone().unwrap_or_default()))
            .or_default() += 1;
    });
    println!("{set} {perf} {binary}{with}: {score}");
    if show {
        missed(&truths, &claims, &attribution);
    }
    Some(score)
}

/// Prints which samples in maps got no part, base or map, by function and reason.
fn missed(truths: &HashMap<usize, Option<Truth>>, claims: &[Claim], attribution: &Attribution) {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for (&n, truth) in truths {
        let Some(truth) = truth.as_ref().filter(|t| !t.soft) else {
            continue;
        };
        let claim = &claims[n];
        let level = match (&claim.part, claim.base, &claim.map) {
            (None, _, _) => "part",
            (_, None, _) => "base",
            (_, _, None) => "map",
            _ => continue,
        };
        let place = &attribution.places[attribution.place.get(n).unwrap() as usize];
        let key = format!(
            "no {level}: {} {:?} {:?}",
            truth.part, place.function, attribution.part[n]
        );
        eprintln!("missed {n} {key} {truth:?} {claim:?}");
        *counts.entry(key).or_default() += 1;
    }
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(key, n)| (std::cmp::Reverse(*n), key.clone()));
    for (key, n) in counts.iter().take(40) {
        eprintln!("{n:6} {key}");
    }
}

/// Lowest acceptable precision and recall, in percent, at part, slot and map.
fn check(score: Option<Score>, floors: [(f64, f64); 3]) {
    let Some(score) = score else { return };
    let levels = [
        ("part", score.part),
        ("slot", score.slot),
        ("map", score.map),
    ];
    for ((name, level), (precision, recall)) in levels.into_iter().zip(floors) {
        assert!(
            100.0 * level.precision() >= precision,
            "{name} precision: {score}"
        );
        assert!(100.0 * level.recall() >= recall, "{name} recall: {score}");
    }
}

#[test]
fn classic_with_registers() {
    let score = scored("go1.22.10-twins", "perf.data.regs", "mapload");
    check(score, [(99.9, 99.7), (99.9, 95.9), (99.9, 99.1)]);
}

#[test]
fn swiss_with_registers() {
    let score = scored("go1.27.3-twins", "perf.data.regs", "mapload");
    check(score, [(99.9, 99.7), (99.9, 96.4), (99.9, 99.5)]);
}

#[test]
fn classic_plain() {
    let score = scored("go1.22.10-twins", "perf.data.plain", "mapload");
    check(score, [(99.9, 99.0), (99.9, 94.4), (99.9, 88.0)]);
}

#[test]
fn swiss_plain() {
    let score = scored("go1.27.3-twins", "perf.data.plain", "mapload");
    check(score, [(99.9, 98.8), (99.9, 93.2), (99.9, 86.4)]);
}

#[test]
fn classic_with_a_core() {
    let score = scored_with_core("go1.22.10-twins", "perf.data.plain");
    check(score, [(99.9, 99.1), (99.9, 94.7), (99.9, 89.5)]);
}

#[test]
fn swiss_with_a_core() {
    let score = scored_with_core("go1.27.3-twins", "perf.data.plain");
    check(score, [(99.9, 99.1), (99.9, 94.7), (99.9, 92.0)]);
}

/// Go's own tables are all that the attribution needs: without symbols the figures are the same.
#[test]
fn stripped_binaries_give_the_same_figures() {
    for set in ["go1.22.10-twins", "go1.27.3-twins"] {
        let whole = scored(set, "perf.data.regs", "mapload");
        assert_eq!(
            scored(set, "perf.data.regs", "mapload.strip"),
            whole,
            "{set}: stripped"
        );
        assert_eq!(
            scored(set, "perf.data.regs", "mapload.s-w"),
            whole,
            "{set}: -s -w"
        );
    }
}
