//! The stage that gives accesses whose part is known their bucket or group, by position.

use super::Evidence;
use super::admitted::Admitted;
use super::keys::{KeyKind, KeyRead};
use super::learn::Learned;
use super::nearby::Last;
use super::places::Places;
use super::position::{Located, Starts};
use super::row::{Row, about_bucket};
use super::rows::Rows;
use super::spaces::Spaces;
use super::statements::{Changed, Own};
use super::timelines::Timelines;
use super::types::Types;
use crate::recording::Recording;
use rayon::prelude::*;

/// Finds the bucket or group of the accesses whose part is known, from the starts around them.
pub fn position(
    recording: &Recording,
    places: &Places,
    types: &Types,
    spaces: &Spaces,
    learned: &Learned,
    rows: &mut Rows,
) {
    let untyped = |own: &Own| own.map_type().is_none() && own.header != 0;
    rows.change_where(untyped, |row, until| {
        row.map_type = learned.lives_as(row.header, row.time, until);
    });
    let known = |own: &Own| own.base != 0 && about_bucket(own.part);
    let known = rows.said.par_said(known);
    let start = |row: &Row| (row.base, places.admitted_by(row, types));
    let known = known.map(|said| (start(&said.row), said.times));
    let keys = keys_read(recording, places, spaces);
    let starts = Starts::new(&Timelines::of(known.collect()), keys, types);
    let locate = |row: &Row, last: &mut Last| -> Option<Located> {
        let part = row.part.ok()?;
        let (time, shapes) = (row.time, places.admitted_by(row, types));
        if row.base == 0 {
            return starts.locate(row.address, time, part, shapes, types, last);
        }
        let shape = match shapes {
            Admitted::Known(_) => None,
            Admitted::Variant(..) => starts.shape_at(row.base, time, shapes, types, last),
        }?;
        let spot = types.of_shape(shape)?.spot_at(row.address - row.base)?;
        Some(Located {
            base: row.base,
            spot,
            shape: Some(shape),
        })
    };
    let placed = |row: &Row, found: &Option<Located>| {
        let mut row = *row;
        if let Some(found) = found {
            row.shape = found.shape;
            if row.base == 0 {
                row.base = found.base;
                row.slot = found.spot.slot.map_or(-1, |s| s as i8);
                row.evidence = row.evidence.max(Evidence::Position);
            }
        }
        row
    };
    let all = |last: &mut Last, row: &Row, times: &[u64], changed: &mut Changed| {
        let mut look = |n: usize| {
            let time = times.get(n).copied().unwrap_or(row.time);
            locate(&Row { time, ..*row }, last)
        };
        let mut found = vec![(0, look(0))];
        // What lies between, the next ones last.
        let mut ends = Vec::new();
        if times.len() > 1 {
            ends.push((times.len() - 1, look(times.len() - 1)));
        }
        while let Some((end, there)) = ends.pop() {
            let (begin, here) = found.last().copied().unwrap_or((0, None));
            let same = here == there && here.is_some_and(|here| starts.allow(&here, types));
            if same || end - begin == 1 {
                found.push((end, there));
            } else {
                let middle = begin + (end - begin) / 2;
                ends.extend([(end, there), (middle, look(middle))]);
            }
        }
        for (n, found) in &found {
            changed.says(*n, &placed(row, found));
        }
    };
    let of_buckets = |own: &Own| about_bucket(own.part);
    rows.said.change_spans(of_buckets, || starts.last(), all);
}

/// The keys that samples in hashing and comparing functions touched. Which of both operands of a
/// comparison lies in a map, and whether either does, their addresses tell.
fn keys_read(recording: &Recording, places: &Places, spaces: &Spaces) -> Vec<KeyRead> {
    let kinds: Vec<Option<KeyKind>> = places
        .places
        .iter()
        .map(|place| place.function.as_deref().and_then(KeyKind::read_by))
        .map(|kind| kind.filter(|kind| *kind != KeyKind::Memory))
        .collect();
    let samples = &recording.samples;
    let read = |(i, place): (usize, u32)| {
        let kind = (*kinds.get(place as usize)?)?;
        Some(KeyRead {
            address: samples.addr.get(i).map(|_| spaces.address(recording, i))?,
            time: samples.time.get(i)?,
            kind,
        })
    };
    let reads = |place: u32| kinds.get(place as usize).is_some_and(Option::is_some);
    places.place.par_where(reads).filter_map(read).collect()
}
