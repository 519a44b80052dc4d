//! What an attribution says of samples whose word is known: the program printed where it lies.

use mempath::attribute::flow::signature;
use mempath::attribute::{Attribution, Hit, NONE, attribute};
use mempath::gomap::{Family, Structure};
use mempath::program::Program;
use mempath::program::kernel::Kernel;
use mempath::recording::{self, Recording};
use mempath::unwind::unwind;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A watched word, as `samples/src/probe/words.go` describes it.
struct Word {
    name: String,
    /// The bytes that the breakpoint watches.
    start: u64,
    end: u64,
    header: u64,
    base: u64,
    parts: Vec<WordPart>,
}

struct WordPart {
    name: String,
    slot: i8,
    start: u64,
    end: u64,
}

/// One kind of answer: what was watched, what was said of it, and in which function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    pub word: String,
    pub verdict: Verdict,
    /// The part or reason that was claimed.
    pub said: String,
    pub function: String,
    pub instruction: String,
    /// The function is part of the map implementation.
    pub map_code: bool,
    /// Operation and phase are known.
    pub in_phase: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    WrongPart,
    WrongSlot,
    WrongBase,
    WrongMap,
    /// No part.
    NoPart,
    /// The part, but not the structure that it is in.
    NoBase,
    /// The bucket or group, but not the slot.
    NoSlot,
    NoMap,
    Right,
}

fn number(v: &Value) -> u64 {
    let text = v.as_str().expect("an address");
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a hexadecimal address")
}

fn words(folder: &Path) -> Vec<Word> {
    let text = std::fs::read_to_string(folder.join("words.jsonl")).expect("words.jsonl");
    text.lines()
        .map(|line| {
            let v: Value = serde_json::from_str(line).expect("one JSON object a line");
            let (start, base) = (number(&v["addr"]), number(&v["base"]));
            let parts = v["parts"].as_array().expect("parts");
            let parts = parts
                .iter()
                .map(|p| {
                    let start = base + p["off"].as_u64().expect("off");
                    WordPart {
                        name: p["part"].as_str().expect("part").to_owned(),
                        slot: p["slot"].as_i64().expect("slot") as i8,
                        start,
                        end: start + p["size"].as_u64().expect("size"),
                    }
                })
                .collect();
            Word {
                name: v["word"].as_str().expect("word").to_owned(),
                start,
                end: start + v["watched"].as_u64().unwrap_or(8),
                header: number(&v["header"]),
                base,
                parts,
            }
        })
        .collect()
}

fn attributed(perf_data: &Path, binary: &Path) -> (Recording, Attribution) {
    let mut recording = recording::read(perf_data).expect("a readable recording");
    let program = Arc::new(Program::open(binary).expect("a readable binary"));
    let programs: Vec<Option<Arc<Program>>> = recording
        .space
        .images
        .iter()
        .map(|image| {
            image
                .path
                .contains("/probe-go")
                .then(|| Arc::clone(&program))
        })
        .collect();
    unwind(&mut recording, &programs);
    let attribution = attribute(&recording, &programs, &Kernel::default(), None);
    (recording, attribution)
}

/// Counts the answers to all samples of a recording; the watched words are described in `folder`.
pub fn answers(folder: &Path, perf_data: &Path, binary: &Path) -> BTreeMap<Answer, u64> {
    let words = words(folder);
    let (recording, attribution) = attributed(perf_data, binary);
    let mut counts = BTreeMap::new();
    for i in 0..recording.samples.len() {
        let watched = recording.samples.addr.get(i).unwrap_or(0);
        let word = words.iter().find(|w| w.start == watched);
        let word = word.unwrap_or_else(|| panic!("sample {i}: {watched:#x} was not watched"));
        let place = &attribution.places[attribution.place.get(i).unwrap() as usize];
        let answer = Answer {
            word: word.name.clone(),
            verdict: verdict(word, &attribution, i),
            said: match attribution.part[i] {
                Ok(part) => part.name().to_owned(),
                Err(reason) => reason.name().to_owned(),
            },
            function: place.function.clone().unwrap_or_default(),
            instruction: place.instruction.clone().unwrap_or_default(),
            map_code: is_map_code(place.function.as_deref().unwrap_or_default()),
            in_phase: place.operation.is_some() && place.phase.is_some(),
        };
        *counts.entry(answer).or_insert(0) += 1;
    }
    counts
}

/// Whether the function is one of those whose arguments are known.
fn is_map_code(function: &str) -> bool {
    let of = |family| signature(function, family).is_some();
    of(Family::Classic) || of(Family::Swiss)
}

fn verdict(word: &Word, attribution: &Attribution, i: usize) -> Verdict {
    let Ok(part) = attribution.part[i] else {
        return Verdict::NoPart;
    };
    let Hit {
        base, map, slot, ..
    } = attribution.hit(i);
    let watched = |p: &&WordPart| p.start < word.end && word.start < p.end;
    let same: Vec<&WordPart> = word
        .parts
        .iter()
        .filter(watched)
        .filter(|p| p.name == part.name())
        .collect();
    if same.is_empty() {
        return Verdict::WrongPart;
    }
    // A load of all eight begins at the first.
    let all_eight = matches!(part.name(), "group.ctrl" | "bmap.tophash");
    if slot >= 0 && !all_eight && same.iter().all(|p| p.slot != slot) {
        return Verdict::WrongSlot;
    }
    if base != 0 && base != word.base {
        return Verdict::WrongBase;
    }
    let header = match map {
        NONE => None,
        map => attribution.maps[map as usize].header,
    };
    let outside = part.structure() == Structure::Other;
    let has_slot = !outside && same.iter().any(|p| p.slot >= 0);
    match header {
        Some(header) if header != word.header => Verdict::WrongMap,
        _ if base == 0 => Verdict::NoBase,
        _ if has_slot && slot < 0 => Verdict::NoSlot,
        None => Verdict::NoMap,
        Some(_) => Verdict::Right,
    }
}
