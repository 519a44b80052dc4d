//! AUX data -> samples of the SPE event.
//!
//! One record is one sample, whatever its operation; those that touch no memory have the `data_src`
//! N/A. The thread is the record's own where the kernel writes it (`CONFIG_PID_IN_CONTEXTIDR`), else
//! that of the AUX area, else the one that was switched to on its CPU.

use super::packet::BadPacket;
use super::record::{BadStretch, Record, Records};
use super::{AUXTRACE_TYPE, Cores, Sample};
use crate::pmu::rows::{Row, Rows};
use crate::recording::{AuxChunk, Damage, Event, Recording};
use perf_event_open_sys::bindings as sys;

/// Bad stretches told one by one.
const TOLD: usize = 20;

/// Decodes the SPE data of a recording, if there is any; `true` when samples were added.
pub fn decode(recording: &mut Recording) -> bool {
    let info = recording
        .aux
        .infos
        .iter()
        .find(|info| info.kind == AUXTRACE_TYPE);
    let Some(words) = info.map(|info| info.words.as_slice()) else {
        return false;
    };
    let place =
        spe_event(&recording.events, words).and_then(|at| Some((at, u16::try_from(at).ok()?)));
    let Some((event, number)) = place else {
        return false;
    };
    let cores = Cores::new(words, &recording.meta);
    let period = recording.events.get(event).filter(|event| !event.freq);
    let mut samples = std::mem::take(&mut recording.samples);
    let mut decoder = Decoder {
        recording,
        event: number,
        period: period.map_or(0, |event| event.sample_period),
        columns: Rows::new(&mut samples),
        found: Found::new(recording),
    };
    for chunk in &recording.aux.chunks {
        decoder.chunk(chunk, &cores);
    }
    let Decoder { found, period, .. } = decoder;
    recording.samples = samples;
    recording.damage.extend(found.damage());
    recording.damage.sort_by_key(|damage| damage.offset);
    if let Some(event) = recording.events.get_mut(event).filter(|_| found.rows != 0) {
        event.sample_type = found.sample_type(event.sample_type, period != 0);
    }
    found.rows != 0
}

/// The event that the AUX data is of: of the PMU that the AUXTRACE_INFO names, or by its name.
fn spe_event(events: &[Event], words: &[u64]) -> Option<usize> {
    // The second version has a version, 2 or more, and its length before the type.
    let pmu = match words {
        [_, _, pmu, _, ..] => Some(*pmu),
        [pmu, ..] => Some(*pmu),
        [] => None,
    };
    let of_pmu = |event: &Event| pmu == Some(u64::from(event.kind));
    events.iter().position(of_pmu).or_else(|| {
        events
            .iter()
            .position(|event| event.name.contains("arm_spe"))
    })
}

/// What was found in the AUX data.
#[derive(Debug)]
struct Found {
    rows: u64,
    bad: Vec<Damage>,
    /// Offset of the first and number: of places not told one by one, of records that do not say of
    /// which instruction or operation they are, of records without a thread.
    untold: (u64, u64),
    empty: (u64, u64),
    threadless: (u64, u64),
    /// Of timestamps that no `PERF_RECORD_TIME_CONV` converts.
    timeless: (u64, u64),
    phys_addr: bool,
    /// Whether every record's CPU is known.
    cpus: bool,
    /// Whether any record has a time.
    timed: bool,
    /// The time of the record before, or, where none has one, when the last AUX data was written:
    /// the mappings of then hold.
    time: u64,
}

fn count(seen: &mut (u64, u64), offset: u64) {
    if seen.1 == 0 {
        seen.0 = offset;
    }
    seen.1 += 1;
}

impl Found {
    fn new(recording: &Recording) -> Found {
        let written = recording
            .aux
            .records
            .iter()
            .filter_map(|aux| aux.stamp.time);
        Found {
            rows: 0,
            bad: Vec::new(),
            untold: (0, 0),
            empty: (0, 0),
            threadless: (0, 0),
            timeless: (0, 0),
            phys_addr: false,
            cpus: true,
            timed: false,
            time: written.max().unwrap_or(0),
        }
    }

    /// What the event samples, its records decoded.
    fn sample_type(&self, before: u64, periods: bool) -> u64 {
        let always = sys::PERF_SAMPLE_IP
            | sys::PERF_SAMPLE_TID
            | sys::PERF_SAMPLE_ADDR
            | sys::PERF_SAMPLE_WEIGHT
            | sys::PERF_SAMPLE_DATA_SRC;
        let told = [
            (always, true),
            (sys::PERF_SAMPLE_WEIGHT_STRUCT, false),
            (sys::PERF_SAMPLE_TIME, self.timed),
            (sys::PERF_SAMPLE_CPU, self.cpus),
            (sys::PERF_SAMPLE_PERIOD, periods),
            (sys::PERF_SAMPLE_PHYS_ADDR, self.phys_addr),
        ];
        told.into_iter()
            .fold(before, |bits, (bit, told)| match told {
                true => bits | u64::from(bit),
                false => bits & !u64::from(bit),
            })
    }

    fn bad(&mut self, chunk: &AuxChunk, bad: BadStretch) {
        let offset = chunk.file_offset.saturating_add(bad.at as u64);
        if self.bad.len() >= TOLD {
            count(&mut self.untold, offset);
            return;
        }
        let skipped = bad.end.saturating_sub(bad.at);
        let rule = match bad.why {
            BadPacket::Header(header) => format!(
                "no Arm SPE packet begins with {header:#04x}; reading went on {skipped} bytes later"
            ),
            BadPacket::Cut => "an Arm SPE record is cut by the end of its AUX data".to_owned(),
            BadPacket::TooLong => {
                format!("an Arm SPE record has no end; reading went on {skipped} bytes later")
            }
        };
        self.bad.push(Damage { offset, rule });
    }

    fn damage(&self) -> Vec<Damage> {
        let several = [
            (
                self.untold,
                "more places of the AUX data, from this one on, are no Arm SPE records",
            ),
            (
                self.empty,
                "Arm SPE records, from this AUX data on, do not say of which instruction or operation \
                 they are; they are left out",
            ),
            (
                self.threadless,
                "Arm SPE records, from this AUX data on, do not tell their thread: record with \
                 --per-thread, or on a kernel with CONFIG_PID_IN_CONTEXTIDR",
            ),
            (
                self.timeless,
                "Arm SPE timestamps, from this AUX data on, cannot be converted: the file has no \
                 TIME_CONV record",
            ),
        ];
        let told = several.into_iter().filter(|((_, number), _)| *number != 0);
        let told = told.map(|((offset, number), what)| Damage {
            offset,
            rule: format!("{number} {what}"),
        });
        self.bad.iter().cloned().chain(told).collect()
    }
}

/// Decodes AUX data into the columns of its event.
#[derive(Debug)]
struct Decoder<'a> {
    recording: &'a Recording,
    event: u16,
    period: u64,
    columns: Rows<'a>,
    found: Found,
}

impl Decoder<'_> {
    fn chunk(&mut self, chunk: &AuxChunk, cores: &Cores) {
        let cpu = u32::try_from(chunk.cpu).ok();
        let core = cores.of(cpu);
        self.found.cpus &= cpu.is_some();
        for record in Records::new(self.recording.aux_data(chunk), chunk.offset) {
            match record {
                Ok(record) if record.ip.is_some() && record.operation.is_some() => {
                    self.sample(chunk, &Sample::of(&record, core));
                }
                // The end of a record that began before the data.
                Ok(Record {
                    ip: None,
                    operation: None,
                    events: 0,
                    ..
                }) => {}
                Ok(_) => count(&mut self.found.empty, chunk.file_offset),
                Err(bad) => self.found.bad(chunk, bad),
            }
        }
    }

    fn sample(&mut self, chunk: &AuxChunk, sample: &Sample) {
        let Recording { aux, space, .. } = self.recording;
        let found = &mut self.found;
        match (sample.timestamp, &aux.time_conv) {
            (Some(count), Some(conversion)) => {
                found.time = conversion.time_ns(count);
                found.timed = true;
            }
            (Some(_), None) => count(&mut found.timeless, chunk.file_offset),
            (None, _) => {}
        }
        let time = found.time;
        let area = (chunk.tid >= 0).then_some(chunk.tid);
        let switched = || aux.running(u32::try_from(chunk.cpu).ok()?, time);
        let tid = sample.tid.or(area).or_else(switched);
        if tid.is_none() {
            count(&mut found.threadless, chunk.file_offset);
        }
        let tid = tid.unwrap_or(-1);
        found.phys_addr |= sample.phys_addr != 0;
        if found.rows == 0 {
            self.columns.begin_all_columns(false);
        }
        found.rows += 1;
        let row = Row {
            ip: sample.ip,
            thread: (space.process_of(tid, time).unwrap_or(tid), tid),
            time,
            addr: sample.addr,
            cpu: u16::try_from(chunk.cpu).unwrap_or(0),
            period: self.period,
            weight: sample.weight,
            data_src: sample.data_src,
            phys_addr: sample.phys_addr,
            cpumode: sample.cpumode,
        };
        self.columns.push(&row, self.event);
    }
}
