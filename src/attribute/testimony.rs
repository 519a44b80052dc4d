//! What each sample, by itself, says of memory: evidence for and against what the regions are made of.

use super::Reason;
use super::learn::KnownArray;
use super::marking::{Markings, Sampled};
use super::pages::Pages;
use super::places::Places;
use super::regions::{Content, MAX_UNSEEN, Seen, Witness};
use super::row::{About, Fact, Row, about_bucket};
use super::rows::Rows;
use super::spaces::Spaces;
use super::timelines::{Timelines, together};
use super::types::{ShapeId, Types};
use crate::recording::{Event, Memory, Recording};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::slice::from_ref;

fn shape_of(row: &Row, types: &Types) -> Option<ShapeId> {
    row.map_type.and_then(|t| types.shape_of(t)).or(row.shape)
}

/// Every bucket and group that a sample knows.
pub fn seen<'t>(
    rows: &'t Rows,
    facts: &'t [Vec<Fact>],
    arrays: &'t [KnownArray],
    types: &Types,
) -> Timelines<Seen> {
    let of_row = |row: &Row| {
        let seen = Seen {
            base: row.base,
            shape: shape_of(row, types),
            map_type: row.map_type,
            header: row.header,
        };
        (row.base != 0 && about_bucket(row.part)).then_some(seen)
    };
    let of_itself = |row: &Row| {
        let seen = Seen {
            base: row.base,
            shape: row.map_type.and_then(|t| types.shape_of(t)),
            map_type: row.map_type,
            header: 0,
        };
        row.starts.then_some(seen)
    };
    let of_fact = |fact: &'t Fact| {
        let seen = Seen {
            base: fact.address,
            shape: fact.map_type.and_then(|t| types.shape_of(t)),
            map_type: fact.map_type,
            header: fact.header,
        };
        (fact.about == About::Bucket).then(|| (seen, from_ref(&fact.time)))
    };
    let of_array = |array: &'t KnownArray| {
        let stride = types.get(array.map_type).map_or(0, |t| t.shape.stride());
        let last = array.len.unwrap_or(1).saturating_sub(1);
        let end = array.start.saturating_add(last.saturating_mul(stride));
        let seen = [array.start, end].map(|base| Seen {
            base,
            shape: types.shape_of(array.map_type),
            map_type: Some(array.map_type),
            header: array.header,
        });
        let times = [&array.first, &array.last].map(from_ref);
        let both = times.into_iter();
        both.flat_map(move |time| seen.map(|seen| (seen, time)))
    };
    let of_rows = rows.said.par_said(|_| true);
    let of_rows = of_rows.flat_map_iter(|said| {
        let both = of_row(&said.row).into_iter().chain(of_itself(&said.row));
        both.map(move |seen| (seen, said.times))
    });
    let of_facts = facts.par_iter().flatten_iter().filter_map(of_fact);
    let of_arrays = arrays.par_iter().flat_map_iter(of_array);
    Timelines::of(of_rows.chain(of_facts).chain(of_arrays).collect())
}

/// What each sample says of the memory that it touched, `around` the buckets and groups seen.
pub fn witnesses(
    rows: &Rows,
    around: &Pages,
    places: &Places,
    types: &Types,
) -> Timelines<Witness> {
    let own = rows.said.par_said(|_| true);
    let others = rows.others.par_said(|_| true);
    let others = others.filter(|said| around.cover(said.row.address));
    let all = own.chain(others);
    let all = all.filter_map(|said| Some((says(&said.row, places, types)?, said.times)));
    Timelines::of(all.collect())
}

fn says(row: &Row, places: &Places, types: &Types) -> Option<Witness> {
    let content = match row.part {
        Ok(_) if about_bucket(row.part) && row.base != 0 => Content::Start {
            shape: shape_of(row, types),
            map_type: row.map_type,
            header: row.header,
            variant: places.variant(row.sample) as u8,
        },
        Ok(part) if about_bucket(row.part) => Content::Within(part),
        Ok(_) => Content::Other,
        Err(Reason::Goroutine) => Content::Other,
        Err(Reason::NotMap | Reason::NotMapMemory | Reason::Stack)
            if !places.is_proxy(row.sample as usize) =>
        {
            Content::Other
        }
        Err(_) => return None,
    };
    let address = match content {
        Content::Start { .. } => row.base,
        _ => row.address,
    };
    (address != 0).then_some(Witness { address, content })
}

/// The memory that regions may be made of: from bucket to bucket.
pub fn between(seen: &Timelines<Seen>, types: &Types) -> Pages {
    let stride = types.largest_stride();
    let reach = stride.saturating_mul(MAX_UNSEEN);
    let span = |s: Seen| (s.base, s.base.saturating_add(stride));
    Pages::of(seen.iter().map(|(s, _)| span(s)).collect(), reach)
}

/// When the collector of each process marked.
pub fn markings(places: &Places, recording: &Recording, spaces: &Spaces) -> Markings {
    let all = &recording.samples.time;
    let marks = |place: u32| places.marking.get(place as usize) == Some(&true);
    let marking = places.place.par_where(marks);
    let times = marking.filter_map(|(i, _)| Some((spaces.mark(recording, i), all.get(i)?)));
    let mut of_spaces: FxHashMap<u64, Vec<u64>> = FxHashMap::default();
    for (mark, time) in times.collect::<Vec<_>>() {
        of_spaces.entry(mark).or_default().push(time);
    }
    let tells = |event: &Event| event.memory != Memory::Breakpoint;
    let tell = recording.events.iter().all(tells);
    let sampled = match spaces.is_one() {
        true => sampled(recording),
        false => sampled_in(recording, spaces),
    };
    Markings::new(of_spaces, sampled, tell)
}

/// When the one process was sampled, by the mark of its address space.
fn sampled(recording: &Recording) -> FxHashMap<u64, Sampled> {
    let times = &recording.samples.time;
    let sampled = times.span().map(|span| {
        let sampled = Sampled::new(span, times.len() as u64);
        let all = times.par_iter();
        all.for_each_init(|| 0..0, |last, time| sampled.see(time, last));
        (0, sampled)
    });
    sampled.into_iter().collect()
}

/// When each process was sampled, by the mark of its address space.
fn sampled_in(recording: &Recording, spaces: &Spaces) -> FxHashMap<u64, Sampled> {
    let timed = || {
        let times = recording.samples.time.par_numbered();
        times.map(|(i, time)| (spaces.mark(recording, i), time))
    };
    let counts = timed().map(|(mark, time)| (mark, (time, time, 1)));
    let counts = together(counts, |a, b| (a.0.min(b.0), a.1.max(b.1), a.2 + b.2));
    let sampled = |(mark, (first, last, samples))| (mark, Sampled::new((first, last), samples));
    let sampled: FxHashMap<u64, Sampled> = counts.into_iter().map(sampled).collect();
    timed().for_each(|(mark, time)| {
        if let Some(sampled) = sampled.get(&mark) {
            sampled.see(time, &mut (0..0));
        }
    });
    sampled
}
