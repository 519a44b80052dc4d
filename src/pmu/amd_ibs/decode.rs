//! Raw IBS registers -> the fields that the kernel left out: of recordings without `DATA_SRC`, and
//! of kernels before 6.1, which wrote N/A.

use super::Cpu;
use super::registers::OpRegisters;
use crate::data_src::DataSrc;
use crate::pmu::rows::{Row, Rows};
use crate::recording::{Event, Recording};
use perf_event_open_sys::bindings as sys;

/// Decodes the raw registers of a recording, where it has some; `true` when samples were changed.
pub fn decode(recording: &mut Recording) -> bool {
    let Some(cpu) = Cpu::of(&recording.meta) else {
        return false;
    };
    let wanted: Vec<bool> = recording
        .events
        .iter()
        .map(|event| super::is_ibs_op(event, &recording.meta) && has(event, sys::PERF_SAMPLE_RAW))
        .collect();
    if !wanted.contains(&true) {
        return false;
    }
    let order = recording.meta.order();
    let mut found = Vec::new();
    for (i, event) in recording.samples.event.iter().enumerate() {
        let event = usize::from(event);
        let source = recording.samples.data_src.get(i).unwrap_or(0);
        if !wanted.get(event).copied().unwrap_or(false) || DataSrc(source).says_something() {
            continue;
        }
        let registers = recording
            .raw(i)
            .and_then(|raw| OpRegisters::parse(raw, order));
        if let Some(registers) = registers {
            found.push((i, event, registers.sample(cpu)));
        }
    }
    if found.is_empty() {
        return false;
    }
    let found: Vec<(usize, Row)> = found
        .into_iter()
        .map(|(i, event, sample)| {
            let whole = recording
                .events
                .get(event)
                .is_some_and(|event| has(event, sys::PERF_SAMPLE_WEIGHT));
            let row = Row {
                addr: sample.addr,
                phys_addr: sample.phys_addr,
                // `WEIGHT` holds the latency alone.
                weight: match whole {
                    true => sample.weight & 0xffff,
                    false => sample.weight,
                },
                data_src: sample.data_src,
                ..Row::default()
            };
            (i, row)
        })
        .collect();
    let mut columns = Rows::new(&mut recording.samples);
    columns.begin_columns(true);
    columns.set(&found);
    let fields = sys::PERF_SAMPLE_ADDR | sys::PERF_SAMPLE_PHYS_ADDR | sys::PERF_SAMPLE_DATA_SRC;
    for (event, _) in recording
        .events
        .iter_mut()
        .zip(&wanted)
        .filter(|(_, wanted)| **wanted)
    {
        event.sample_type |= u64::from(fields);
        if !has(event, sys::PERF_SAMPLE_WEIGHT) {
            event.sample_type |= u64::from(sys::PERF_SAMPLE_WEIGHT_STRUCT);
        }
    }
    true
}

fn has(event: &Event, bit: sys::perf_event_sample_format) -> bool {
    event.sample_type & u64::from(bit) != 0
}
