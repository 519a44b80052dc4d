//! The kinds of access in a recording: each pair of event and `data_src` is looked at once, so
//! that the pass over the samples only adds.

use super::counts::Counts;
use crate::recording::Recording;

/// A kind without a level, in [`Kind::level_id`].
pub const NO_LEVEL: u8 = u8::MAX;

/// What an event and a `data_src` say of an access; `None` is unknown or not applicable.
#[derive(Debug, Clone, Default)]
pub struct Kind {
    /// What one such access adds to the counts, its latency apart.
    pub counts: Counts,
    pub op: Option<String>,
    pub level: Option<String>,
    pub snoop: Option<String>,
    pub tlb: Option<String>,
    /// Index into [`Kinds::levels`], or [`NO_LEVEL`].
    pub level_id: u8,
}

impl Kind {
    /// An access of which nothing is known.
    const UNKNOWN: Kind = Kind {
        counts: Counts::ONE,
        op: None,
        level: None,
        snoop: None,
        tlb: None,
        level_id: NO_LEVEL,
    };
}

/// All kinds of a recording.
#[derive(Debug, Default)]
pub struct Kinds {
    /// By event, then by `data_src` id; one more at the end for samples without `data_src`.
    pub by_event: Vec<Vec<Kind>>,
    /// Names of the levels, in the order in which they were met.
    pub levels: Vec<String>,
    /// By event: what its `weight` is.
    pub rules: Vec<Rule>,
}

impl Kinds {
    /// Looks at every pair of event and `data_src` of the recording.
    pub fn of(recording: &Recording) -> Kinds {
        let mut kinds = Kinds::default();
        let values = &recording.samples.data_src.values;
        for event in &recording.events {
            let rule = rule_of(event, &recording.meta);
            let with = values.iter().map(|&value| rule.kind(Some(value)));
            let of_event = with.chain([rule.kind(None)]).collect();
            kinds.push(of_event, rule);
        }
        kinds
    }

    fn push(&mut self, mut of_event: Vec<Kind>, rule: Rule) {
        for kind in &mut of_event {
            kind.level_id = kind.level.as_ref().map_or(NO_LEVEL, |level| {
                let at = self
                    .levels
                    .iter()
                    .position(|l| l == level)
                    .unwrap_or_else(|| {
                        self.levels.push(level.clone());
                        self.levels.len() - 1
                    });
                u8::try_from(at).unwrap_or(NO_LEVEL)
            });
        }
        self.by_event.push(of_event);
        self.rules.push(rule);
    }

    /// The kind of a sample of `event` (an index into `Recording::events`).
    pub fn kind(&self, event: usize, data_src: Option<u32>) -> &Kind {
        let of_event = self.by_event.get(event).map_or(&[][..], Vec::as_slice);
        data_src
            .and_then(|id| of_event.get(id as usize))
            .or(of_event.last())
            .unwrap_or(&Kind::UNKNOWN)
    }
}

/// What an event's samples mean.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its `weight` is a latency in cycles, in the low 32 bits.
    pub latency: bool,
}

fn rule_of(event: &crate::recording::Event, _meta: &crate::recording::Meta) -> Rule {
    Rule {
        latency: event.memory == crate::recording::Memory::Sampled,
    }
}

impl Rule {
    fn kind(&self, data_src: Option<u64>) -> Kind {
        let mut kind = Kind::UNKNOWN;
        let Some(value) = data_src else { return kind };
        let (op, lvl, num) = (value & 31, value >> 5 & 0x3fff, value >> 33 & 15);
        let load = op & 2 != 0;
        let store = op & 4 != 0;
        kind.op = [None, Some("load"), Some("store"), Some("load+store")]
            [usize::from(load) + 2 * usize::from(store)]
        .map(str::to_owned);
        kind.counts.loads = u32::from(load);
        kind.counts.stores = u32::from(store);
        let level = match num {
            1 => Some("L1"),
            2 => Some("L2"),
            3 => Some("L3"),
            12 => Some("LFB"),
            13 => Some("RAM"),
            _ if lvl & 8 != 0 => Some("L1"),
            _ => None,
        };
        kind.level = level.map(str::to_owned);
        if load {
            match level {
                Some("L1") => kind.counts.l1_hit = 1,
                Some("LFB") => kind.counts.lfb = 1,
                Some("RAM") => (kind.counts.l1_miss, kind.counts.llc_miss) = (1, 1),
                Some(_) => kind.counts.l1_miss = 1,
                None => kind.counts.level_unknown = 1,
            }
            let snoop = value >> 19 & 31;
            kind.counts.snoop_known = u32::from(snoop > 1);
            kind.counts.hitm = u32::from(snoop & 16 != 0);
        }
        kind
    }
}

impl Kinds {
    pub fn latency(&self, event: usize, kind: &Kind, weight: Option<u64>) -> Option<u32> {
        let rule = self.rules.get(event)?;
        (rule.latency && kind.counts.loads > 0)
            .then_some(weight? as u32)
            .filter(|&cycles| cycles > 0)
    }
}
