//! Samples that wait to be counted under their groups, to be taken a few groups at a time: the sums of a few
//! groups stay in a core's own cache, those of all do not.

use super::kinds::{Kind, Kinds};

/// Samples that are counted together.
pub const GATHERED: usize = 1 << 19;

/// Groups that are counted together.
const FEW: u32 = 64;

/// A sample, as far as its group and its level count it. There are many at a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    pub group: u32,
    /// One more than its [`Kind::number`], above [`HAS_LATENCY`] and [`SLOTTED`]; 0: no access.
    kind: u32,
    latency: u32,
}

const HAS_LATENCY: u32 = 1;
/// Its slot is known.
const SLOTTED: u32 = 2;
const FLAGS: u32 = 2;

impl Counted {
    /// `kind`: `None` for what is no access.
    pub fn new(group: u32, kind: Option<&Kind>, latency: Option<u32>, slotted: bool) -> Counted {
        let has_latency = if latency.is_some() { HAS_LATENCY } else { 0 };
        let slotted = if slotted { SLOTTED } else { 0 };
        let told = |kind: &Kind| (kind.number + 1) << FLAGS | has_latency | slotted;
        Counted {
            group,
            kind: kind.map_or(0, told),
            latency: latency.unwrap_or(0),
        }
    }

    pub fn kind<'a>(&self, kinds: &'a Kinds) -> Option<&'a Kind> {
        let number = (self.kind >> FLAGS).checked_sub(1)?;
        Some(kinds.numbered(number))
    }

    pub fn latency(&self) -> Option<u32> {
        (self.kind & HAS_LATENCY != 0).then_some(self.latency)
    }

    pub fn is_slotted(&self) -> bool {
        self.kind & SLOTTED != 0
    }
}

/// Samples that are to be counted under their groups.
#[derive(Debug, Default)]
pub struct Gathered {
    pub samples: Vec<Counted>,
    sorted: Vec<Counted>,
    /// By [`FEW`] groups: where the next of their samples comes in `sorted`.
    next: Vec<u32>,
}

impl Gathered {
    /// The samples of [`FEW`] groups after those of others, and none are left; there are so many groups.
    pub fn sorted(&mut self, groups: usize) -> &[Counted] {
        self.next.clear();
        self.next.resize(groups.div_ceil(FEW as usize), 0);
        for sample in &self.samples {
            self.next[(sample.group / FEW) as usize] += 1;
        }
        let mut before = 0;
        for next in &mut self.next {
            before += std::mem::replace(next, before);
        }
        self.sorted.resize(self.samples.len(), Counted::default());
        for sample in self.samples.drain(..) {
            let next = &mut self.next[(sample.group / FEW) as usize];
            self.sorted[*next as usize] = sample;
            *next += 1;
        }
        &self.sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Event, Interned, Memory, Recording};

    #[test]
    fn of_an_access_its_kind_latency_and_slot_are_kept() {
        let event = Event {
            memory: Memory::Sampled,
            ..Event::default()
        };
        let mut recording = Recording {
            events: vec![event],
            ..Recording::default()
        };
        recording.samples.event = [0].into_iter().collect();
        // A load and a store, from L1.
        recording.samples.data_src = Interned {
            ids: [1].into_iter().collect(),
            values: vec![2 | 0xa << 5, 4 | 0xa << 5],
        };
        let kinds = Kinds::of(&recording);
        for source in [Some(0), Some(1), None] {
            let kind = kinds.kind(0, source);
            for (latency, slotted) in [(None, true), (Some(0), false), (Some(u32::MAX), true)] {
                let counted = Counted::new(7, Some(kind), latency, slotted);
                let back = counted.kind(&kinds).map(|kind| kind.number);
                assert_eq!(back, Some(kind.number));
                assert_eq!(
                    (counted.latency(), counted.is_slotted()),
                    (latency, slotted)
                );
            }
        }
        let none = Counted::new(7, None, None, true);
        assert!(none.kind(&kinds).is_none());
        assert_eq!((none.latency(), none.is_slotted()), (None, false));
    }

    #[test]
    fn samples_of_a_few_groups_come_together_in_the_order_in_which_they_were_gathered() {
        let groups = [3 * FEW, 5, FEW + 1, 7, 3 * FEW + 2, 5, FEW];
        let sample = |(n, group): (u32, &u32)| Counted::new(*group, None, Some(n), false);
        let mut gathered = Gathered::default();
        for _ in 0..2 {
            gathered.samples.extend((0..).zip(&groups).map(sample));
            let sorted = gathered.sorted(4 * FEW as usize);
            let sorted: Vec<u32> = sorted.iter().map(|sample| sample.latency).collect();
            assert_eq!(sorted, [1, 3, 5, 2, 6, 0, 4]);
            assert_eq!(gathered.samples.len(), 0);
        }
    }
}
