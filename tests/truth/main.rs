//! The attribution against recordings in which the owner of every access is known.

mod bound;
#[path = "../common/mod.rs"]
mod common;
mod missed;
mod score;
mod table;

use bound::Recorded;
use mempath::attribute::{Attribution, Evidence, NONE, attribute};
use mempath::gomap::{Part, Stage};
use mempath::heap::Heap;
use mempath::program::Program;
use mempath::program::kernel::Kernel;
use mempath::recording::{self, Cell, Column, Recording};
use missed::{Missed, Of};
use score::{Claim, Score, score};
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use table::{of_maps, rows_of_maps, truths};

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

fn opened(perf_data: &Path, binary: &Path) -> (Recording, Arc<Program>) {
    let recording = recording::read(perf_data).expect("a readable recording");
    let program = Arc::new(Program::open(binary).expect("a readable binary"));
    (recording, program)
}

fn attributed(recording: &Recording, program: &Arc<Program>, heap: Option<&Heap>) -> Attribution {
    let programs: Vec<Option<Arc<Program>>> = recording
        .space
        .images
        .iter()
        .map(|image| {
            image
                .path
                .ends_with("/mapload")
                .then(|| Arc::clone(program))
        })
        .collect();
    attribute(recording, &programs, &Kernel::default(), heap)
}

fn scored(set: &str, perf: &str, binary: &str) -> Option<Score> {
    scored_with(set, perf, binary, false)
}

/// The score with the core file that was taken after the recording.
fn scored_with_core(set: &str, perf: &str) -> Option<Score> {
    scored_with(set, perf, "mapload", true)
}

/// Of the samples said to be in maps that have a map: how many have its type, and how many another.
fn types(attribution: &Attribution, of_maps: &HashMap<usize, Of>) -> (usize, usize) {
    let said = of_maps.iter().filter_map(|(n, of)| {
        let map = attribution.hit(*n).map;
        let of_map = attribution.maps.get(map as usize)?.map_type.as_ref()?;
        Some(of_map.name == of.map_type)
    });
    let said: Vec<bool> = said.collect();
    let right = said.iter().filter(|right| **right).count();
    (right, said.len() - right)
}

fn scored_with(set: &str, perf: &str, binary: &str, core: bool) -> Option<Score> {
    let dir = common::shared()?.join("truth").join(set);
    let work = tempfile::tempdir().expect("a temporary folder");
    let csv = decompressed(&dir.join("truth.csv.gz"));
    let csv = std::str::from_utf8(&csv).expect("UTF-8");
    let perf_data = unpacked(&dir.join(format!("{perf}.zst")), work.path());
    let binary_path = unpacked(&dir.join(format!("{binary}.gz")), work.path());
    let (recording, program) = opened(&perf_data, &binary_path);
    let core = core.then(|| {
        let core = common::core::inflated(&dir, work.path());
        Heap::read(&core, &[Arc::clone(&program)], false).expect("a readable core")
    });
    let attribution = attributed(&recording, &program, core.as_ref());
    let with = if core.is_some() { " with core" } else { "" };
    let disagreed: Vec<(Evidence, u64)> = (attribution.contradictions.iter())
        .map(|c| (c.stronger, c.samples))
        .collect();
    println!("{set} {perf} {binary}{with}: contradicted by learned regions {disagreed:?}");
    assert_eq!(disagreed, []);
    let show = std::env::var_os("MEMPATH_SHOW_WRONG").is_some();
    let (claims, of_maps) = (claims(&attribution), of_maps(csv));
    let (right, wrong) = types(&attribution, &of_maps);
    println!(
        "{set} {perf} {binary}{with}: map types {right} right, {wrong} wrong, of {} in maps",
        of_maps.len()
    );
    assert!(1000 * wrong <= right, "{wrong} of another type");
    let rows = rows_of_maps(csv);
    let recorded = Recorded::of(rows, of_maps, &recording, &program, core.as_ref());
    let mut missed = Missed::default();
    let score = score(&truths(csv), &claims, |n, level, truth, claim| {
        if show {
            let place = &attribution.places[attribution.place.get(n).unwrap() as usize];
            let said = if claim.says(level) { "wrong" } else { "missed" };
            eprintln!(
                "{said} {level} {n} {:?} {:?} {:?} truth {truth:?} claim {claim:?}",
                place.function,
                place.instruction,
                attribution.hit(n).evidence
            );
        }
        if let Some(truth) = truth.filter(|truth| !truth.soft) {
            missed.add(n, level, truth, claim, &recorded, &attribution);
        }
    });
    println!("{set} {perf} {binary}{with}: {score}");
    missed.tell(&score);
    // What else is missed bounds the recall.
    let (in_reach, all) = (missed.in_reach(), score.slot.positives);
    assert!(in_reach * 1000 <= all * IN_REACH, "{in_reach} of {all}");
    let (same, other) = missed.tables_in_core();
    assert!(
        10 * other >= same,
        "the core tells of {same}, not of {other}"
    );
    Some(score)
}

/// Every `n`-th sample of a recording, from sample `offset` on: as one with a longer period.
fn thinned(mut recording: Recording, n: usize, offset: usize) -> Recording {
    fn thin<T: Cell>(column: &mut Column<T>, n: usize, offset: usize) {
        let kept = column.iter().skip(offset).step_by(n).collect();
        *column = kept;
    }
    let samples = &mut recording.samples;
    thin(&mut samples.ip.ids, n, offset);
    thin(&mut samples.addr, n, offset);
    thin(&mut samples.time, n, offset);
    thin(&mut samples.thread.ids, n, offset);
    thin(&mut samples.cpu, n, offset);
    thin(&mut samples.event, n, offset);
    thin(&mut samples.period, n, offset);
    thin(&mut samples.weight, n, offset);
    thin(&mut samples.data_src.ids, n, offset);
    thin(&mut samples.phys_addr, n, offset);
    thin(&mut samples.chain, n, offset);
    thin(&mut samples.regs_intr.start, n, offset);
    thin(&mut samples.cpumode, n, offset);
    recording
}

/// The score of all recordings that are every `n`-th sample of one together: each sample once.
fn scored_thinned(set: &str, perf: &str, n: usize) -> Option<Score> {
    let dir = common::shared()?.join("truth").join(set);
    let work = tempfile::tempdir().expect("a temporary folder");
    let csv = decompressed(&dir.join("truth.csv.gz"));
    let all = truths(std::str::from_utf8(&csv).expect("UTF-8"));
    let perf_data = unpacked(&dir.join(format!("{perf}.zst")), work.path());
    let binary_path = unpacked(&dir.join("mapload.gz"), work.path());
    let show = std::env::var_os("MEMPATH_SHOW_WRONG").is_some();
    let mut sum = Score::default();
    for offset in 0..n {
        let (recording, program) = opened(&perf_data, &binary_path);
        let recording = thinned(recording, n, offset);
        let attribution = attributed(&recording, &program, None);
        let truths = (0..recording.samples.len())
            .filter_map(|i| Some((i, all.get(&(offset + n * i))?.clone())))
            .collect();
        sum += score(&truths, &claims(&attribution), |i, level, truth, claim| {
            if show && claim.says(level) {
                let place = &attribution.places[attribution.place.get(i).unwrap() as usize];
                eprintln!(
                    "wrong {level} {offset}+{n}*{i} {:?} {:?} {:?} truth {truth:?} claim {claim:?}",
                    place.function,
                    place.instruction,
                    attribution.hit(i).evidence
                );
            }
        });
    }
    println!("{set} {perf}, one in {n}: {sum}");
    Some(sum)
}

/// Slots in a thousand that may be missed although enough is recorded of them.
const IN_REACH: u64 = 3;

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
    check(score, [(99.9, 99.8), (99.9, 98.3), (99.9, 99.5)]);
}

#[test]
fn swiss_with_registers() {
    let score = scored("go1.27.3-twins", "perf.data.regs", "mapload");
    check(score, [(99.9, 99.8), (99.9, 99.3), (99.9, 99.7)]);
}

#[test]
fn classic_plain() {
    let score = scored("go1.22.10-twins", "perf.data.plain", "mapload");
    check(score, [(99.9, 99.2), (99.9, 95.0), (99.9, 96.1)]);
}

#[test]
fn swiss_plain() {
    let score = scored("go1.27.3-twins", "perf.data.plain", "mapload");
    check(score, [(99.9, 99.3), (99.9, 95.4), (99.9, 91.4)]);
}

#[test]
fn classic_with_a_core() {
    let score = scored_with_core("go1.22.10-twins", "perf.data.plain");
    check(score, [(99.9, 99.3), (99.9, 95.4), (99.9, 97.1)]);
}

#[test]
fn swiss_with_a_core() {
    let score = scored_with_core("go1.27.3-twins", "perf.data.plain");
    check(score, [(99.9, 99.5), (99.9, 96.0), (99.9, 94.6)]);
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

/// Less is known of a thin recording; what is said of it is as true.
#[test]
fn thin_recordings_are_as_precise() {
    let sets = ["go1.22.10-twins", "go1.27.3-twins"];
    let all = |n| {
        sets.map(|set| {
            (
                scored_thinned(set, "perf.data.regs", n),
                scored_thinned(set, "perf.data.plain", n),
            )
        })
    };
    for (registers, plain) in [10, 50].map(all).into_iter().flatten() {
        check(registers, [(99.9, 0.0), (99.9, 0.0), (99.9, 0.0)]);
        check(plain, [(99.9, 0.0), (99.5, 0.0), (99.0, 0.0)]);
    }
}
