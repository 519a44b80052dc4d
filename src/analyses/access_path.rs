//! Where the loads of each map end, and what moving one part a level closer would save.

use super::touch::Touch;
use crate::data_src::Level;
use crate::gomap::Part;
use rustc_hash::FxHashMap;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Levels from near to far: the steps of the way. LFB stands apart: from where the line came is not
/// told.
pub const STEPS: [Level; 7] = [
    Level::L1,
    Level::L2,
    Level::L3,
    Level::PeerCache,
    Level::Ram,
    Level::RemoteCache,
    Level::RemoteRam,
];

/// Loads that ended at one level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ended {
    pub loads: u64,
    /// Cycles, over `latency_n` of them.
    pub latency_sum: u64,
    pub latency_n: u64,
}

impl Ended {
    fn add(&mut self, latency: Option<u32>) {
        self.loads += 1;
        if let Some(cycles) = latency {
            self.latency_n += 1;
            self.latency_sum = self.latency_sum.saturating_add(cycles.into());
        }
    }

    fn merge(&mut self, other: Ended) {
        self.loads += other.loads;
        self.latency_n += other.latency_n;
        self.latency_sum = self.latency_sum.saturating_add(other.latency_sum);
    }

    pub fn mean(&self) -> Option<f64> {
        (self.latency_n > 0).then(|| self.latency_sum as f64 / self.latency_n as f64)
    }
}

/// The loads of one map by level.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Path {
    /// Index into `Attribution::maps`.
    pub map: u32,
    /// By the name of the level, as `Level::name`.
    pub levels: BTreeMap<String, Ended>,
    /// The greatest saving first.
    pub moves: Vec<Move>,
}

/// Loads of one part that came from one level, as if they had come from the next nearer one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Move {
    pub part: Part,
    pub from: Level,
    pub to: Level,
    /// Those that have a latency.
    pub loads: u64,
    /// Sampled cycles less, were their mean that of all loads of the recording that `to` served.
    pub saves: f64,
}

/// Fewer loads than this on either side are moved nowhere.
pub const LEAST: u64 = 30;

/// The maps with the most loads first.
pub fn paths(touches: &[Touch]) -> Vec<Path> {
    let mut ended = FxHashMap::<(Option<u32>, Option<Part>, Level), Ended>::default();
    for touch in touches.iter().filter(|t| t.is_load()) {
        if let Some(level) = touch.level {
            let of = ended.entry((touch.map, touch.part, level)).or_default();
            of.add(touch.latency);
        }
    }
    let mut all = BTreeMap::<Level, Ended>::new();
    let mut maps = BTreeMap::<u32, BTreeMap<Level, Ended>>::new();
    let mut parts = BTreeMap::<(u32, Part, Level), Ended>::new();
    for ((map, part, level), ended) in ended {
        all.entry(level).or_default().merge(ended);
        let Some(map) = map else { continue };
        let levels = maps.entry(map).or_default();
        levels.entry(level).or_default().merge(ended);
        if let Some(part) = part {
            let of_part = parts.entry((map, part, level)).or_default();
            of_part.merge(ended);
        }
    }
    let mut paths: Vec<Path> = maps
        .into_iter()
        .map(|(map, levels)| Path {
            map,
            levels: levels
                .into_iter()
                .map(|(level, ended)| (level.name().into_owned(), ended))
                .collect(),
            moves: moves(map, &parts, &all),
        })
        .collect();
    let loads = |path: &Path| path.levels.values().map(|e| e.loads).sum::<u64>();
    paths.sort_by_key(|path| (Reverse(loads(path)), path.map));
    paths
}

fn moves(
    map: u32,
    parts: &BTreeMap<(u32, Part, Level), Ended>,
    all: &BTreeMap<Level, Ended>,
) -> Vec<Move> {
    let mut moves = Vec::new();
    for (&(_, part, from), ended) in parts.iter().filter(|((m, _, _), _)| *m == map) {
        let at = STEPS.iter().position(|&step| step == from);
        let nearer = STEPS.get(..at.unwrap_or(0)).unwrap_or_default();
        let enough = |level: &&Level| all.get(*level).is_some_and(|e| e.latency_n >= LEAST);
        let Some(&to) = nearer.iter().rev().find(enough) else {
            continue;
        };
        let (Some(own), Some(there)) = (ended.mean(), all.get(&to).and_then(Ended::mean)) else {
            continue;
        };
        if ended.latency_n < LEAST || own <= there {
            continue;
        }
        moves.push(Move {
            part,
            from,
            to,
            loads: ended.latency_n,
            saves: (own - there) * ended.latency_n as f64,
        });
    }
    moves.sort_by(|a, b| b.saves.total_cmp(&a.saves).then(a.part.cmp(&b.part)));
    moves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_src::Op;

    #[test]
    fn a_part_moved_from_ram_to_l3_saves_the_difference_of_the_means() {
        // 30 loads of key from RAM at 300 cycles, 30 of tophash from L3 at 40: L3's mean is 40, so that
        // the keys would save 30 * (300 - 40) = 7,800. From L3 nothing nearer has loads: no move.
        let of = |part, level, latency| Touch {
            op: Some(Op::Load),
            map: Some(3),
            part: Some(part),
            level: Some(level),
            latency: Some(latency),
            ..Touch::default()
        };
        let mut touches = vec![of(Part::BmapKey, Level::Ram, 300); 30];
        touches.extend(vec![of(Part::BmapTophash, Level::L3, 40); 30]);
        let paths = paths(&touches);
        assert_eq!(paths.len(), 1);
        assert_eq!(
            paths[0].moves,
            [Move {
                part: Part::BmapKey,
                from: Level::Ram,
                to: Level::L3,
                loads: 30,
                saves: 7_800.0
            }]
        );
        assert_eq!(paths[0].levels["RAM"].loads, 30);
        // 29 are too few.
        assert_eq!(super::paths(&touches[1..])[0].moves, []);
    }
}
