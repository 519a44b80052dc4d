//! From a recording and its binaries to the [`Attribution`], rung by rung.

use super::assemble::assemble;
use super::binary::Binary;
use super::blocks::Blocks;
use super::chains::{
    above_of, add_site_of, chain_sites, frames_above, is_store, leaf_of, leaf_targets, stores,
};
use super::code::Code;
use super::complete::{Accessor, Known, complete, own, spans, type_of};
use super::declared;
use super::directories::{directories, settle};
use super::instant::Instant;
use super::lasting::Lasting;
use super::learn::Learned;
use super::pages::Pages;
use super::places::Places;
use super::positioned::position;
use super::regions::{Last, Regions};
use super::resolve::call_of;
use super::row::{About, Fact, Row, VARIABLE};
use super::rows::Rows;
use super::slots::{Sample, Slots, is_open};
use super::sole::sole_variables;
use super::spaces::{Spaces, marked};
use super::statements::{Changed, Own, Until};
use super::succession::Succession;
use super::tenure::{name_types, share};
use super::testimony::{between, markings, seen, witnesses};
use super::trace::{Given, SLOT, Trace, Tracer};
use super::types::Types;
use super::{Attribution, Evidence, Reason};
use crate::allocator::give_back;
use crate::gomap::{Layout, size_class};
use crate::heap::Heap;
use crate::program::Program;
use crate::program::kernel::Kernel;
use crate::recording::Recording;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Attributes every sample. `programs[image]` is the binary of an image of the recording's address
/// space, where it was found.
pub fn attribute(
    recording: &Recording,
    programs: &[Option<Arc<Program>>],
    kernel: &Kernel,
    heap: Option<&Heap>,
) -> Attribution {
    attribute_watching(recording, programs, kernel, heap, None).0
}

/// As [`attribute`], and how sample `watch` came to its row.
pub fn attribute_watching(
    recording: &Recording,
    programs: &[Option<Arc<Program>>],
    kernel: &Kernel,
    heap: Option<&Heap>,
    watch: Option<usize>,
) -> (Attribution, Option<Trace>) {
    let mut tracer = Tracer::new(watch);
    let mut types = Types::default();
    let mut binaries: Vec<Option<Binary>> = programs
        .iter()
        .map(|program| {
            program
                .as_ref()
                .map(|p| Binary::new(Arc::clone(p), &mut types))
        })
        .collect();
    for binary in binaries.iter_mut().flatten() {
        for (descriptor, variable) in sole_variables(binary) {
            types.add_sole(binary.id, descriptor, variable);
        }
    }
    let mut places = Places::of(recording, &mut binaries, kernel);
    places.split_helpers(recording, &mut binaries);
    for code in places.codes.iter().filter_map(|c| c.as_ref().ok()) {
        for (target, _) in &code.operands {
            add_site_of(target, code.binary, &mut binaries, &mut types);
        }
    }
    let chains = chain_sites(recording, &mut binaries, &mut types);
    let leaves = leaf_targets(recording, &places, &chains, &mut binaries, &mut types);
    let above = frames_above(recording, &places, &mut binaries);
    declared::read_ahead(&places, &binaries);
    let declared_there = watch.and_then(|i| {
        let code = places.code_of(i)?;
        let mut all = binaries.iter_mut().flatten();
        declared::of_code(all.find(|b| b.id == code.binary)?, code)
    });
    let spaces = Spaces::of(recording, &places);
    let spaces = &spaces;
    let (mut rows, mut facts) = Rows::resolve(
        recording,
        &places,
        (&chains, &leaves, &above),
        &types,
        watch,
        spaces,
    );
    tracer.begin(|i| {
        let code = places.place.get(i).map(|p| &places.codes[p as usize]);
        let stored = is_store(recording, i);
        Given {
            recording,
            code: match code {
                Some(Ok(code)) => Ok(code),
                Some(Err(reason)) => Err(*reason),
                None => Err(Reason::NoMapping),
            },
            site: chains.of_sample(recording, i),
            leaf: leaf_of(&places, recording.samples.chain.get(i), &leaves, i, stored),
            stored,
            declared: declared_there,
            above: above_of(&places, recording.samples.chain.get(i), &above, i),
            types: &types,
        }
    });
    tracer.step("the sample by itself", &rows, &types, spaces);
    let placed = || {
        let learned = Learned::from_facts(&facts, &types);
        position(recording, &places, &types, spaces, &learned, &mut rows);
        learned
    };
    let (mut learned, markings) = rayon::join(placed, || markings(&places, recording, spaces));
    tracer.step("position", &rows, &types, spaces);
    let layouts = binaries.iter().flatten();
    let layouts: FxHashMap<u32, &Layout> =
        layouts.filter_map(|b| Some((b.id, b.layout?))).collect();
    let last = recording.samples.time.span().map_or(0, |(_, last)| last);
    let of_core = heap.and_then(|heap| {
        let mut all = binaries.iter().flatten();
        all.find(|b| b.program.path == heap.binary)
    });
    let given = heap.is_some();
    let heap = heap.and_then(|heap| spaces.heap(heap, of_core.map(|b| b.id)));
    let heap = heap.as_deref();
    let instant = heap
        .zip(of_core)
        .and_then(|(heap, binary)| Instant::new(heap, binary, &types, last));
    if let Some(instant) = &instant {
        let hear = |row: &Row| {
            let admitted = places.admitted(row.sample);
            instant.hear(row, places.is_proxy(row.sample as usize), admitted, &types);
        };
        rows.par_iter().for_each(|row| hear(&row));
        rows.par_others(&Pages::all()).for_each(|row| hear(&row));
        instant.heard();
        rows.par_iter()
            .for_each(|row| instant.hear_holder(&row, &types));
        let mut told = Vec::new();
        instant.complete(&mut rows, &types, &mut told);
        told.extend(instant.facts(&types));
        facts.push(told);
        learned = Learned::from_facts(&facts, &types);
        tracer.step("heap", &rows, &types, spaces);
    }
    let mut lasting = Lasting::new(spaces);
    for binary in binaries.iter().flatten().filter(|b| b.layout.is_some()) {
        lasting.add(&binary.program, binary.id, types.globals(binary.id));
    }
    // What they say of other objects is learned.
    facts.par_iter_mut().for_each(|facts| {
        facts.retain(|fact| fact.about == About::Bucket);
        facts.shrink_to_fit();
    });
    give_back();
    lasting.learn(learned.variables());
    lasting.learn(heap.iter().flat_map(|heap| heap.variables.iter().copied()));
    let arrays = learned.arrays();
    let stores = recording.per_kind(stores);
    rows.change(|row, until| {
        let i = row.sample as usize;
        let Some(code) = places.code_of(i) else {
            return;
        };
        let site = match code.map_code {
            true => chains.of_sample(recording, i).map(|s| &s.typed),
            false => {
                let stored = stores.get(i) == Some(true);
                let leaf = leaf_of(&places, recording.samples.chain.get(i), &leaves, i, stored);
                let call = call_of(code, leaf, stored);
                call.and_then(|call| types.call_site(code.binary, call))
            }
        };
        let of_type = || types.sole_variable(row.map_type?);
        let global = site.and_then(|s| s.global).or_else(of_type);
        let global = global.map(|global| marked(global, spaces.mark_of(row.address)));
        own(row, global, &learned, &lasting, until);
    });
    let marking = |address| markings.of(spaces.mark_of(address));
    let succession = Succession::of(recording, &places, &rows, spaces);
    lasting.learn(succession.variables(&rows, &lasting));
    let kept = |own: &Own| lasting.keeps(own.header);
    rows.change_where(kept, |row, _| lasting.settle(row));
    let may_be = |row: &Row, header| {
        let of = type_of(header, row.time, &learned, &lasting, &types);
        of.is_none_or(|of| types.handles(places.variant(row.sample), of))
    };
    let (votes, entries) = succession.give(&mut rows, &lasting, &[], may_be);
    settle(&mut rows, &directories(entries, marking));
    tracer.step("the object's owner", &rows, &types, spaces);
    let seen = seen(&rows, &facts, &arrays, &types);
    drop(facts);
    // About here the most is held at a time.
    give_back();
    let blocks = Blocks::build(&rows, &types);
    let beside = spans(&learned, &blocks, instant.as_ref());
    let around = between(&seen, &types);
    rows.gather_others(
        &places,
        &around.with(beside.collect(), types.largest_table()),
    );
    let witnesses = witnesses(&rows, &around, &places, &types);
    give_back();
    let regions = Regions::build(&seen, &witnesses, votes, marking, &types);
    drop((seen, witnesses));
    let known = Known {
        blocks: &blocks,
        learned: &learned,
        lasting: &lasting,
        spaces,
        markings: &markings,
        regions: &regions,
        types: &types,
        instant: instant.as_ref(),
    };
    let layout = |code: &Result<Code, Reason>| layouts.get(&code.as_ref().ok()?.binary).copied();
    let layouts: Vec<Option<&Layout>> = places.codes.iter().map(layout).collect();
    let layout_of = |row: &Row| {
        let place = places.place.get(row.sample as usize)?;
        *layouts.get(place as usize)?
    };
    let finish = |last: &mut Last, row: &mut Row, until: &mut Until| {
        let i = row.sample as usize;
        let by = Accessor {
            behalf: places.behalf(i),
            variant: places.variant(row.sample),
            admitted: places.admitted_by(row, &types),
            layout: layout_of(row),
        };
        complete(row, by, &known, last, until)
    };
    tracer.conflict(|i| {
        let until = &mut Until::always();
        finish(&mut Last::default(), &mut rows.of_sample(i)?, until)
    });
    let conflicts = Evidence::ALL.map(|_| AtomicU64::new(0));
    let hear = |evidence: Option<Evidence>, samples: usize| {
        if let Some(evidence) = evidence {
            conflicts[evidence as usize].fetch_add(samples as u64, Relaxed);
        }
    };
    let all = |last: &mut Last, row: &Row, times: &[u64], changed: &mut Changed| {
        let finish = |row: &mut Row, until: &mut Until| finish(last, row, until);
        changed.each(row, times, finish, hear);
    };
    rows.said.change_spans(|_| true, Last::default, all);
    // Regions told of buckets and groups; these now tell of the tables and directories around them.
    let told: Vec<Fact> = instant.iter().flat_map(|i| i.facts(&types)).collect();
    succession.give(&mut rows, &lasting, &told, may_be);
    drop(succession);
    let pages = known.pages();
    let find = |last: &mut Last, row: &mut Row, until: &mut Until| {
        finish(last, row, until);
        row.part.is_ok()
    };
    rows.add_others(&pages, Last::default, find);
    share(&mut rows, &lasting, &markings, spaces);
    let of_core = instant.iter().flat_map(Instant::maps);
    name_types(
        &mut rows,
        &lasting,
        &markings,
        spaces,
        of_core,
        |row, of| {
            // Headers in a frame are one map's after the other.
            let on_heap = |layout: &Layout| {
                let occupied = size_class::occupied(layout.header_size());
                row.header & VARIABLE != 0
                    || size_class::may_begin_at(spaces.plain(row.header), occupied)
            };
            layout_of(row).is_some_and(on_heap) && types.handles(places.variant(row.sample), of)
        },
    );
    tracer.step("learned region", &rows, &types, spaces);
    let mut events = recording.events.iter();
    if types.any_outside() && events.any(|event| event.samples_registers()) {
        let sample = |row: &Row| {
            let i = row.sample as usize;
            Sample::of(recording, &places, &leaves, &types, i)
        };
        let left = |row: &Row| sample(row)?.left(row, &regions, &types, spaces);
        let slots = Slots::of(&rows, recording, &places, &types, spaces, left);
        rows.change(|row, until| {
            if !is_open(row) || row.base == 0 {
                return;
            }
            until.at_most(row.time);
            if let Some((_, slot)) = left(row) {
                row.slot = slot;
                row.evidence = row.evidence.max(Evidence::Registers);
            } else if let Some(slot) = slots.find(row, sample(row).as_ref(), spaces) {
                row.slot = slot;
                row.evidence = row.evidence.max(Evidence::LearnedRegion);
            }
        });
        tracer.step(SLOT, &rows, &types, spaces);
    }
    places.settle_phases(rows.parts_at(&places, &places.open()));
    let declared = declared::compare(&places, &mut binaries);
    let mut attribution = assemble(
        recording, places, rows, &chains, &learned, &lasting, &regions, &arrays, &types, programs,
        conflicts, heap, spaces,
    );
    attribution.declared = declared;
    attribution.foreign_core = given && heap.is_none();
    (attribution, tracer.finish())
}
