//! The funnel: how far each sample got, from being read to being placed in a map. Each reason says
//! at which step a sample stayed behind, so the steps only ever get smaller.

use super::aggregate::Totals;
use super::summary::Step;
use super::words::evidence_name;
use crate::attribute::{Evidence, NONE, Reason};
use crate::gomap::{Part, Stage};
use std::collections::BTreeMap;

const STEPS: [&str; 9] = [
    "samples read",
    "memory accesses",
    "with an address",
    "in user code",
    "in a known Go binary",
    "map code or map memory",
    "part known",
    "slot known, if it has one",
    "map known",
];

/// How many of [`STEPS`] a sample without a part took.
fn steps_taken(reason: Reason) -> usize {
    match reason {
        Reason::NotAnAccess => 1,
        Reason::NoAddress => 2,
        Reason::Kernel | Reason::Guest => 3,
        Reason::NoMapping | Reason::NoBinary | Reason::NotGo => 4,
        Reason::NoSymbol | Reason::Skid | Reason::NotMap | Reason::Goroutine | Reason::Narrow => 5,
        Reason::NotMapMemory
        | Reason::Stack
        | Reason::BaseUnknown
        | Reason::PartUnknown
        | Reason::OutsideParts
        | Reason::NoOperand => 6,
    }
}

/// Control bytes, keys and elems lie in one of 8 slots; an indirect key or elem belongs to one.
fn has_slots(part: Part) -> bool {
    matches!(part.stage(), Stage::Control | Stage::Key | Stage::Elem)
}

pub fn funnel(totals: &Totals) -> Vec<Step> {
    let mut samples = [0u64; STEPS.len()];
    for (key, group) in &totals.groups {
        let rows = u64::from(group.rows);
        let taken = match key.part {
            Err(reason) => steps_taken(reason),
            Ok(_) => 7,
        };
        samples[..taken].iter_mut().for_each(|s| *s += rows);
        if let Ok(part) = key.part {
            let slotted = if has_slots(part) {
                u64::from(group.slotted)
            } else {
                rows
            };
            samples[7] += slotted;
            if key.map != NONE {
                samples[8] += slotted;
            }
        }
    }
    let step = |(name, samples): (&str, u64)| Step {
        name: name.to_owned(),
        samples,
    };
    STEPS.into_iter().zip(samples).map(step).collect()
}

/// Samples without a part, by reason, the most frequent first.
pub fn reasons(totals: &Totals) -> Vec<(String, String, u64)> {
    let mut sums = BTreeMap::<Reason, u64>::new();
    for (key, group) in &totals.groups {
        if let Err(reason) = key.part {
            *sums.entry(reason).or_default() += u64::from(group.rows);
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|&(_, n)| std::cmp::Reverse(n));
    let named = |(r, n): (Reason, u64)| (r.name().to_owned(), r.meaning().trim().to_owned(), n);
    sums.into_iter().map(named).collect()
}

/// Samples with a part, by evidence, the strongest first.
pub fn evidence(totals: &Totals) -> Vec<(String, u64)> {
    let mut sums = BTreeMap::<Evidence, u64>::new();
    for (key, group) in totals.groups.iter().filter(|(k, _)| k.part.is_ok()) {
        *sums.entry(key.evidence).or_default() += u64::from(group.rows);
    }
    let named = |(e, n)| (evidence_name(e).to_owned(), n);
    sums.into_iter().rev().map(named).collect()
}
