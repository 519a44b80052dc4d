//! Every version of Go: a program whose maps are known, and every access to one word of them,
//! recorded by hardware breakpoints.
//!
//! `samples/` carries recordings of some versions. With MEMPATH_RECORD_PROBES=1 in the environment
//! `scripts/record-probes` makes those of all versions first, which takes some minutes; whatever it
//! left in the cache is judged from then on.

mod judge;

use judge::{Answer, Verdict, answers};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    folders.retain(|f| f.is_dir());
    folders.sort();
    folders
}

/// Inflates a gzipped file into `dir`.
fn inflated(packed: &Path, dir: &Path) -> PathBuf {
    let file = std::fs::File::open(packed).expect("a readable file");
    let mut bytes = Vec::new();
    let read = flate2::read::GzDecoder::new(file).read_to_end(&mut bytes);
    read.expect("gzip");
    let to = dir.join(packed.file_stem().expect("a name"));
    std::fs::write(&to, bytes).expect("a writable folder");
    to
}

fn judged(folder: &Path) -> BTreeMap<Answer, u64> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let entries = std::fs::read_dir(folder).expect("a folder");
    let packed = entries.flatten().map(|e| e.path()).find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("probe") && name.ends_with(".gz")
    });
    let binary = inflated(&packed.expect("a packed binary"), dir.path());
    let plain = folder.join("perf.data");
    let perf_data = match plain.is_file() {
        true => plain,
        false => inflated(&folder.join("perf.data.gz"), dir.path()),
    };
    answers(folder, &perf_data, &binary)
}

fn by_verdict(answers: &BTreeMap<Answer, u64>) -> BTreeMap<Verdict, u64> {
    let mut sums = BTreeMap::new();
    for (answer, n) in answers {
        *sums.entry(answer.verdict).or_insert(0) += n;
    }
    sums
}

/// Hashing a short key reads 16 bytes that end or begin with it (`aeshashbody`, aes0to15): a
/// breakpoint on the elem behind the key traps, and what was read is the key.
fn reads_past_the_key(answer: &Answer) -> bool {
    answer.verdict == Verdict::WrongPart
        && answer.said.ends_with(".key")
        && matches!(
            answer.function.as_str(),
            "aeshashbody" | "internal/runtime/maps.memHashAES"
        )
}

/// A watched word of several slots, and an instruction that overwrote its own base register: no
/// register is left to tell which byte it read.
fn slot_is_lost(answer: &Answer) -> bool {
    answer.verdict == Verdict::NoSlot && !answer.word.contains('/')
}

/// What must hold of any recording: nothing is claimed wrongly; in map code the part is always
/// known, and the bucket, group, table or header too, and the phase.
/// Without optimisation (`-N -l`) the bucket or group may be only in the frame while a register has
/// the slot.
fn faults(answers: &BTreeMap<Answer, u64>, optimised: bool) -> Vec<(&Answer, u64)> {
    let fault = |answer: &Answer| match answer.verdict {
        // What map code touches is a step of its operation.
        verdict if verdict != Verdict::NoPart && answer.map_code && !answer.in_phase => true,
        Verdict::Right => false,
        // No register names the map, and no sample before and after it does.
        Verdict::NoMap => false,
        Verdict::NoPart => answer.map_code,
        Verdict::NoBase => answer.map_code && optimised,
        Verdict::NoSlot => !slot_is_lost(answer) && answer.map_code,
        _ => !reads_past_the_key(answer),
    };
    answers
        .iter()
        .filter(|(answer, _)| fault(answer))
        .map(|(answer, n)| (answer, *n))
        .collect()
}

/// Prints what was not right and whether it is excused.
fn faultless(folder: &Path) -> bool {
    let answers = judged(folder);
    let build = folder.parent().and_then(Path::file_name);
    let optimised = build.is_none_or(|name| !name.to_string_lossy().ends_with("-N"));
    let faults = faults(&answers, optimised);
    println!("{} {:?}", folder.display(), by_verdict(&answers));
    let odd = |a: &Answer| a.verdict != Verdict::Right || a.map_code && !a.in_phase;
    for (answer, n) in answers.iter().filter(|(a, _)| odd(a)) {
        println!("{n:5} {answer:?}");
    }
    faults.is_empty()
}

/// Of a sample's answers, how many of each verdict; no fault is among them.
fn sample(name: &str) -> Vec<(Verdict, u64)> {
    let folder = repository().join("samples").join(name);
    assert!(faultless(&folder), "{name}: see what is printed above");
    by_verdict(&judged(&folder)).into_iter().collect()
}

#[test]
fn every_access_is_to_the_word_that_was_watched() {
    use Verdict::*;
    // Loads of one tophash byte into the register that held the bucket's offset: slot_is_lost.
    assert_eq!(sample("classic-go1.22"), [(NoSlot, 14), (Right, 1355)]);
    assert_eq!(sample("swiss-go1.27"), [(Right, 928)]);
    assert_eq!(sample("versions/go1.19.8"), [(Right, 1320)]);
    let noswissmap = sample("versions/go1.24.11-noswissmap");
    assert_eq!(noswissmap, [(Right, 268)]);
    assert_eq!(sample("versions/go1.25.5"), [(Right, 863)]);
    // Two reads while hashing, of the one key that was watched of that group: one of the key, and one that
    // begins past it (as in reads_past_the_key). Nothing else was recorded there that says whose it is.
    let split = sample("versions/go1.27.3-mapsplitgroup");
    assert_eq!(split, [(NoPart, 2), (Right, 221)]);
}

/// Without `REGS_INTR` and without call chains: the user's registers, and slots of the frame out of a copy
/// of the stack.
#[test]
fn copies_of_the_stack_name_the_map() {
    use Verdict::*;
    // Loads of one tophash byte, as above.
    assert_eq!(sample("copies/go1.22.10"), [(NoSlot, 12), (Right, 1287)]);
    // One read while hashing that begins past the key: reads_past_the_key; and one of which nothing else
    // recorded there says whose key it is.
    let swiss = sample("copies/go1.27.3");
    assert_eq!(swiss, [(WrongPart, 1), (NoPart, 1), (Right, 221)]);
}

#[test]
fn recordings_in_the_cache() {
    if std::env::var_os("MEMPATH_RECORD_PROBES").is_some() {
        let script = repository().join("scripts/record-probes");
        let status = Command::new(script)
            .status()
            .expect("scripts/record-probes");
        assert!(status.success(), "scripts/record-probes: {status}");
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/mempath"));
    let Some(cache) = std::env::var_os("MEMPATH_CACHE")
        .map(PathBuf::from)
        .or(home)
    else {
        return;
    };
    let mut faulty = false;
    for build in folders_in(&cache.join("probe")) {
        for folder in folders_in(&build) {
            if folder.join("perf.data").is_file() {
                faulty |= !faultless(&folder);
            }
        }
    }
    assert!(!faulty, "see what is printed above");
}
