//! What only the event and the `data_src` of a sample decide, found out once for each pair of them.

use super::{Event, Recording};
use crate::data_src::DataSrc;
use std::ops::Range;

/// Pairs that are looked at beforehand. A recording of more of them has each sample looked at.
const MOST: usize = 1 << 16;

/// The id of samples without a `data_src`, past those of all others.
const NO_SOURCE: u32 = u32::MAX;

/// An answer for each sample.
pub struct PerKind<'a, T, F = fn(&Event, Option<DataSrc>) -> T> {
    recording: &'a Recording,
    of: F,
    /// By event, then by id of `data_src`; one more at the end of each event for samples without one.
    answers: Vec<T>,
    /// Answers of one event.
    each: usize,
}

impl Recording {
    /// `of` the event and the `data_src` of the samples.
    pub fn per_kind<T, F>(&self, of: F) -> PerKind<'_, T, F>
    where
        T: Copy,
        F: Fn(&Event, Option<DataSrc>) -> T,
    {
        let sources = &self.samples.data_src.values;
        let each = sources.len().saturating_add(1);
        let mut answers = Vec::new();
        if each.saturating_mul(self.events.len()) <= MOST {
            for event in &self.events {
                let sources = sources.iter().map(|&source| Some(DataSrc(source)));
                answers.extend(sources.chain([None]).map(|source| of(event, source)));
            }
        }
        PerKind {
            recording: self,
            of,
            answers,
            each,
        }
    }
}

impl<T, F> PerKind<'_, T, F>
where
    T: Copy,
    F: Fn(&Event, Option<DataSrc>) -> T,
{
    /// The answer for sample `i`; `None` past the end.
    #[inline]
    pub fn get(&self, i: usize) -> Option<T> {
        let samples = &self.recording.samples;
        let source = samples.data_src.ids.get(i).unwrap_or(NO_SOURCE);
        self.of(samples.event.get(i)?, source)
    }

    /// Puts the answers for these samples in place of those in `answers`.
    pub fn read(&self, samples: Range<usize>, answers: &mut Vec<Option<T>>) {
        let columns = &self.recording.samples;
        let (mut events, mut sources) = (Vec::new(), Vec::new());
        columns.event.read(samples.clone(), &mut events);
        columns.data_src.ids.read(samples, &mut sources);
        answers.clear();
        sources.resize(events.len(), NO_SOURCE);
        let all = events.iter().zip(&sources);
        answers.extend(all.map(|(&event, &source)| self.of(event, source)));
    }

    /// The answer for samples of this event with this id of a `data_src`.
    #[inline(always)]
    fn of(&self, event: u16, source: u32) -> Option<T> {
        let source = (source as usize).min(self.each - 1);
        let known = usize::from(event).wrapping_mul(self.each) + source;
        match self.answers.get(known) {
            Some(answer) => Some(*answer),
            None => self.not_kept(event, source),
        }
    }

    #[inline(never)]
    fn not_kept(&self, event: u16, source: usize) -> Option<T> {
        let event = self.recording.events.get(usize::from(event))?;
        let source = self.recording.samples.data_src.values.get(source);
        Some((self.of)(event, source.copied().map(DataSrc)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Interned;
    use super::*;

    /// One event more than there are answers for, or not.
    fn answers(events: usize) -> Vec<Option<(usize, Option<u64>)>> {
        let event = |n: usize| Event {
            name: "e".repeat(n),
            ..Event::default()
        };
        let mut recording = Recording {
            events: (0..events).map(event).collect(),
            ..Recording::default()
        };
        recording.samples.event = [0, 2, 2, 1].into_iter().collect();
        recording.samples.data_src = Interned {
            ids: [1, 0, 1].into_iter().collect(),
            values: vec![0x10, 0x20],
        };
        let of = |event: &Event, source: Option<DataSrc>| (event.name.len(), source.map(|s| s.0));
        let kinds = recording.per_kind(of);
        let one_by_one: Vec<_> = (0..5).map(|i| kinds.get(i)).collect();
        let mut read = vec![None];
        kinds.read(0..5, &mut read);
        assert_eq!(read, one_by_one[..4]);
        kinds.read(1..4, &mut read);
        assert_eq!(read, one_by_one[1..4]);
        one_by_one
    }

    #[test]
    fn answers_are_those_of_each_samples_event_and_source() {
        let expected = [
            Some((0, Some(0x20))),
            Some((2, Some(0x10))),
            Some((2, Some(0x20))),
            Some((1, None)),
            None,
        ];
        assert_eq!(answers(3), expected);
        assert_eq!(answers(MOST), expected);
    }
}
