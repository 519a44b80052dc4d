//! The kinds of access in a recording: each pair of event and `data_src` is looked at once, so
//! that the pass over the samples only adds.

use super::counts::Counts;
use crate::data_src::{Blocked, DataSrc, Level, Op, Snoop, Tlb};
use crate::pmu::{Fields, Validity};
use crate::recording::{Access, Event, Memory, Recording};
use rustc_hash::FxHashMap;
use std::borrow::Cow;

/// A kind without a level, in [`Kind::level_id`].
pub const NO_LEVEL: u8 = u8::MAX;

/// What an event and a `data_src` say of an access; `None` is unknown or not applicable.
#[derive(Debug, Clone)]
pub struct Kind {
    /// What one such access adds to the counts, its latency apart.
    pub counts: Counts,
    pub op: Option<Op>,
    pub level: Option<Level>,
    /// As [`Level::name`].
    pub level_name: Option<Cow<'static, str>>,
    pub snoop: Option<Snoop>,
    pub tlb: Option<Tlb>,
    pub locked: Option<bool>,
    pub blocked: Option<Blocked>,
    /// Of each field whether what is there, or that nothing is there, is an answer.
    pub states: Fields,
    /// Index into [`Kinds::levels`], or [`NO_LEVEL`].
    pub level_id: u8,
    /// Its own among the kinds of the recording.
    pub number: u32,
}

impl Kind {
    /// An access of which nothing is known.
    const UNKNOWN: Kind = Kind {
        counts: Counts::ONE,
        op: None,
        level: None,
        level_name: None,
        snoop: None,
        tlb: None,
        locked: None,
        blocked: None,
        states: Fields::all(Validity::Unknown),
        level_id: NO_LEVEL,
        number: 0,
    };

    fn of(event: &Event, access: &Access) -> Kind {
        Kind {
            counts: counts_of(access),
            op: access.op,
            level: access.level,
            level_name: access.level.map(Level::name),
            snoop: access.snoop,
            tlb: access.tlb,
            locked: access.locked,
            blocked: access.blocked,
            states: states_of(event, access),
            level_id: NO_LEVEL,
            number: 0,
        }
    }
}

/// A field that the PMU fills in and that says nothing here is unknown.
fn states_of(event: &Event, access: &Access) -> Fields {
    let fields = event.fields.of(access.op);
    let state = |validity: Validity, told: bool| match validity {
        Validity::Valid if !told => Validity::Unknown,
        validity => validity,
    };
    Fields {
        level: state(fields.level, access.level.is_some()),
        snoop: state(fields.snoop, access.snoop.is_some()),
        tlb: state(fields.tlb, access.tlb.is_some()),
        locked: state(fields.locked, access.locked.is_some()),
        blocked: state(fields.blocked, access.blocked.is_some()),
        latency: event.latency_state(access.op, access.level),
    }
}

fn counts_of(access: &Access) -> Counts {
    let mut counts = Counts::ONE;
    let missed_l1 = access.level.and_then(Level::is_l1_miss);
    let missed_llc = access.level.and_then(Level::is_llc_miss);
    if access.op.is_some_and(Op::is_load) {
        counts.loads = 1;
        match (access.level, missed_l1) {
            (Some(Level::Lfb), _) => counts.lfb = 1,
            (_, Some(true)) => counts.l1_miss = 1,
            (_, Some(false)) => counts.l1_hit = 1,
            (_, None) => counts.level_unknown = 1,
        }
        counts.llc_known = missed_llc.is_some().into();
        counts.llc_miss = (missed_llc == Some(true)).into();
        counts.snoop_known = access.snoop.is_some().into();
        counts.hitm = access.hitm.is_some().into();
    }
    if access.op.is_some_and(Op::is_store) {
        counts.stores = 1;
        counts.store_level_known = missed_l1.is_some().into();
        counts.store_l1_miss = (missed_l1 == Some(true)).into();
    }
    counts
}

/// Pairs of event and `data_src` that are looked at whether or not a sample has them.
const MOST: usize = 1 << 16;

/// All kinds of a recording.
#[derive(Debug)]
pub struct Kinds<'a> {
    events: &'a [Event],
    /// By number; the first is that of samples of which nothing is known.
    all: Vec<Kind>,
    /// By event, then by `data_src` id; one more at the end for samples without `data_src`.
    by_event: Vec<Vec<u32>>,
    /// Where there are more than [`MOST`] pairs, those that occur, by event and `data_src` id.
    occurring: Option<FxHashMap<(usize, u32), u32>>,
    /// Names of the levels, in the order in which they were met.
    pub levels: Vec<Cow<'static, str>>,
}

impl<'a> Kinds<'a> {
    /// Looks at every pair of event and `data_src` of the recording, once.
    pub fn of(recording: &'a Recording) -> Kinds<'a> {
        let sources = &recording.samples.data_src.values;
        let all = sources.len().saturating_mul(recording.events.len());
        let mut kinds = Kinds {
            events: &recording.events,
            all: vec![Kind::UNKNOWN],
            by_event: Vec::new(),
            occurring: (all > MOST).then(FxHashMap::default),
            levels: Vec::new(),
        };
        for event in &recording.events {
            // Other events have no access to look at.
            let sources = match event.memory {
                Memory::Sampled if all <= MOST => sources.as_slice(),
                _ => &[],
            };
            let of_event = sources.iter().copied().chain([0]);
            let of_event = of_event.map(|source| kinds.add(event, source)).collect();
            kinds.by_event.push(of_event);
        }
        if let Some(mut occurring) = kinds.occurring.take() {
            let ids = recording.samples.data_src.ids.iter();
            for (event, id) in recording.samples.event.iter().zip(ids) {
                let number = usize::from(event);
                if let (Some(event), Some(&source)) =
                    (recording.events.get(number), sources.get(id as usize))
                    && event.memory == Memory::Sampled
                {
                    let kind = occurring.entry((number, id));
                    kind.or_insert_with(|| kinds.add(event, source));
                }
            }
            kinds.occurring = Some(occurring);
        }
        kinds
    }

    /// The number of a new one.
    fn add(&mut self, event: &Event, source: u64) -> u32 {
        let mut kind = Kind::of(event, &event.access(DataSrc(source), None));
        let number = self.all.len() as u32;
        (kind.level_id, kind.number) = (self.level_id(kind.level_name.as_ref()), number);
        self.all.push(kind);
        number
    }

    fn level_id(&mut self, name: Option<&Cow<'static, str>>) -> u8 {
        let Some(name) = name else { return NO_LEVEL };
        let known = self.levels.iter().position(|level| level == name);
        let id = known.unwrap_or_else(|| {
            self.levels.push(name.clone());
            self.levels.len() - 1
        });
        u8::try_from(id).unwrap_or(NO_LEVEL)
    }

    /// The kind of a sample of `event` (an index into `Recording::events`).
    pub fn kind(&self, event: usize, data_src: Option<u32>) -> &Kind {
        let of_event = self.by_event.get(event).map_or(&[][..], Vec::as_slice);
        let told = data_src.and_then(|id| match &self.occurring {
            Some(occurring) => occurring.get(&(event, id)),
            None => of_event.get(id as usize),
        });
        self.numbered(told.or(of_event.last()).copied().unwrap_or(0))
    }

    /// The kind of a number.
    pub fn numbered(&self, number: u32) -> &Kind {
        self.all.get(number as usize).unwrap_or(&Kind::UNKNOWN)
    }

    /// The latency of a sample of `event`, in cycles.
    pub fn latency(&self, event: usize, kind: &Kind, weight: Option<u64>) -> Option<u32> {
        self.events.get(event)?.latency(kind.op, kind.level, weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Interned;

    /// The operations of three samples, of the events 0, 1 and 1, in a recording of so many events.
    fn ops(events: usize) -> Vec<Option<Op>> {
        let event = Event {
            memory: Memory::Sampled,
            ..Event::default()
        };
        let mut recording = Recording {
            events: vec![event; events],
            ..Recording::default()
        };
        recording.samples.event = [0, 1, 1].into_iter().collect();
        // A load and a store, from L1.
        recording.samples.data_src = Interned {
            ids: [1, 0, 1].into_iter().collect(),
            values: vec![2 | 0xa << 5, 4 | 0xa << 5],
        };
        let kinds = Kinds::of(&recording);
        let kind = |(event, id)| kinds.kind(event, id).op;
        [(0, Some(1)), (1, Some(0)), (1, Some(1)), (1, None)]
            .map(kind)
            .to_vec()
    }

    #[test]
    fn many_events_have_the_kinds_of_few() {
        let expected = [Some(Op::Store), Some(Op::Load), Some(Op::Store), None];
        assert_eq!(ops(2), expected);
        assert_eq!(ops(MOST), expected);
    }
}
