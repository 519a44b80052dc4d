//! What each sample, by itself, says of memory: evidence for and against what the regions are made of.

use super::Reason;
use super::complete::about_bucket;
use super::learn::KnownArray;
use super::marking::Marking;
use super::pages::Pages;
use super::places::Places;
use super::regions::{Content, MAX_UNSEEN, Seen, Witness};
use super::resolve::{About, Fact, Row};
use super::rows::Rows;
use super::types::{ShapeId, Types};
use crate::gomap::size_class::PAGE;
use crate::recording::Recording;
use rayon::prelude::*;
use rustc_hash::FxHashSet;

fn shape_of(row: &Row, types: &Types) -> Option<ShapeId> {
    row.map_type.and_then(|t| types.shape_of(t)).or(row.shape)
}

/// Every bucket and group that a sample knows.
pub fn seen(rows: &[Row], facts: &[Fact], arrays: &[KnownArray], types: &Types) -> Vec<Seen> {
    let of_rows = rows
        .par_iter()
        .filter(|row| row.base != 0 && about_bucket(row.part))
        .map(|row| Seen {
            base: row.base,
            time: row.time,
            shape: shape_of(row, types),
            map_type: row.map_type,
            header: row.header,
        });
    let of_facts = facts
        .iter()
        .filter(|fact| fact.about == About::Bucket)
        .map(|fact| Seen {
            base: fact.address,
            time: fact.time,
            shape: fact.map_type.and_then(|t| types.shape_of(t)),
            map_type: fact.map_type,
            header: fact.header,
        });
    let of_arrays = arrays.iter().flat_map(|array| {
        let stride = types.get(array.map_type).map_or(0, |t| t.shape.stride());
        let last = array.len.unwrap_or(1).saturating_sub(1);
        let end = array.start.saturating_add(last.saturating_mul(stride));
        [array.first, array.last].into_iter().flat_map(move |time| {
            [array.start, end].into_iter().map(move |base| Seen {
                base,
                time,
                shape: types.shape_of(array.map_type),
                map_type: Some(array.map_type),
                header: array.header,
            })
        })
    });
    let mut seen: Vec<Seen> = of_rows.collect();
    seen.extend(of_facts.chain(of_arrays));
    seen
}

/// What each sample says of the memory that it touched, around the buckets and groups seen.
pub fn witnesses(rows: &Rows, seen: &[Seen], places: &Places, types: &Types) -> Vec<Witness> {
    let around = between(seen, types);
    let of_rows = rows
        .rows
        .par_iter()
        .filter_map(|row| says(row, places, types));
    let mut witnesses: Vec<Witness> = of_rows.collect();
    let others = rows.others(|address| around.cover(address));
    witnesses.par_extend(others.filter_map(|row| says(&row, places, types)));
    witnesses
}

fn says(row: &Row, places: &Places, types: &Types) -> Option<Witness> {
    let content = match row.part {
        Ok(_) if about_bucket(row.part) && row.base != 0 => Content::Start {
            shape: shape_of(row, types),
            map_type: row.map_type,
            header: row.header,
        },
        Ok(part) if about_bucket(row.part) => Content::Within(part),
        Ok(_) => Content::Other,
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
    (address != 0).then_some(Witness {
        address,
        time: row.time,
        content,
    })
}

/// The memory that regions may be made of: from bucket to bucket.
fn between(seen: &[Seen], types: &Types) -> Pages {
    let stride = types.largest_stride();
    let reach = stride.saturating_mul(MAX_UNSEEN);
    let span = |s: &Seen| [s.base, s.base.saturating_add(stride)].map(|at| at & !(PAGE - 1));
    // Most of those seen lie in few pages.
    let spans = seen
        .par_iter()
        .map(span)
        .fold(FxHashSet::default, |mut spans, [first, last]| {
            spans.insert((first, last));
            spans
        });
    let spans = spans.reduce(FxHashSet::default, |mut all, more| {
        all.extend(more);
        all
    });
    Pages::of(spans.into_iter().collect(), reach)
}

/// When the collector marked.
pub fn marking(places: &Places, recording: &Recording) -> Marking {
    let all = &recording.samples.time;
    let times = places.place.par_iter().enumerate();
    let marking = times.filter(|(_, place)| places.marking.get(**place as usize) == Some(&true));
    Marking::from_times(marking.filter_map(|(i, _)| all.get(i)).collect(), all)
}
