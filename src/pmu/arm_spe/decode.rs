//! AUX data -> samples of the SPE event.
//!
//! One record is one sample, whatever its operation; those that touch no memory have the `data_src`
//! N/A. The thread is the record's own where the kernel writes it (`CONFIG_PID_IN_CONTEXTIDR`), else
//! that of the AUX area, else the one that was switched to on its CPU.

use super::packet::BadPacket;
use super::record::{BadStretch, Records};
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
    let Some(words) = info.map(|info| info.words.clone()) else {
        return false;
    };
    let Some(event) = spe_event(&recording.events, &words) else {
        return false;
    };
    let cores = Cores::new(&words, &recording.meta);
    let mut found = Found::new(recording);
    let chunks = std::mem::take(&mut recording.aux.chunks);
    for chunk in &chunks {
        found.chunk(recording, chunk, &cores);
    }
    recording.aux.chunks = chunks;
    let period = recording
        .events
        .get(event)
        .map_or(0, |event| match event.freq {
            true => 0,
            false => event.sample_period,
        });
    let Found {
        mut rows,
        damage,
        untold,
        threadless,
        phys_addr,
        cpus,
        timed,
        ..
    } = found;
    recording.damage.extend(damage);
    if untold.1 != 0 {
        recording.damage.push(Damage {
            offset: untold.0,
            rule: format!(
                "{} more places of the AUX data, from this one on, are no Arm SPE records",
                untold.1
            ),
        });
    }
    if threadless.1 != 0 {
        recording.damage.push(Damage {
            offset: threadless.0,
            rule: format!(
                "{} Arm SPE records, from this one on, do not tell their thread: record with \
                 --per-thread, or on a kernel with CONFIG_PID_IN_CONTEXTIDR",
                threadless.1
            ),
        });
    }
    recording.damage.sort_by_key(|damage| damage.offset);
    if rows.is_empty() {
        return false;
    }
    let sampled = sys::PERF_SAMPLE_IP
        | sys::PERF_SAMPLE_TID
        | sys::PERF_SAMPLE_ADDR
        | sys::PERF_SAMPLE_WEIGHT
        | sys::PERF_SAMPLE_DATA_SRC;
    let told = [
        (sys::PERF_SAMPLE_TIME, timed),
        (sys::PERF_SAMPLE_CPU, cpus),
        (sys::PERF_SAMPLE_PERIOD, period != 0),
        (sys::PERF_SAMPLE_PHYS_ADDR, phys_addr),
    ];
    if let Some(event) = recording.events.get_mut(event) {
        event.sample_type |= u64::from(sampled);
        event.sample_type &= !u64::from(sys::PERF_SAMPLE_WEIGHT_STRUCT);
        for (bit, told) in told {
            match told {
                true => event.sample_type |= u64::from(bit),
                false => event.sample_type &= !u64::from(bit),
            }
        }
    }
    let Ok(event) = u16::try_from(event) else {
        return false;
    };
    let mut columns = Rows::new(&mut recording.samples);
    columns.begin_all_columns(phys_addr);
    for row in &mut rows {
        row.period = period;
        columns.push(row, event);
    }
    true
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
    rows: Vec<Row>,
    damage: Vec<Damage>,
    /// Offset of the first and number: of places not told one by one, of records without a thread.
    untold: (u64, u64),
    threadless: (u64, u64),
    phys_addr: bool,
    /// Whether every record's CPU is known.
    cpus: bool,
    /// Whether any record has a time.
    timed: bool,
    /// The time of the record before, or, where none has one, when the last AUX data was written:
    /// the mappings of then hold.
    time: u64,
}

impl Found {
    fn new(recording: &Recording) -> Found {
        let written = recording
            .aux
            .records
            .iter()
            .filter_map(|aux| aux.stamp.time);
        Found {
            rows: Vec::new(),
            damage: Vec::new(),
            untold: (0, 0),
            threadless: (0, 0),
            phys_addr: false,
            cpus: true,
            timed: false,
            time: written.max().unwrap_or(0),
        }
    }
}

fn count(seen: &mut (u64, u64), offset: u64) {
    if seen.1 == 0 {
        seen.0 = offset;
    }
    seen.1 += 1;
}

impl Found {
    fn chunk(&mut self, recording: &Recording, chunk: &AuxChunk, cores: &Cores) {
        let cpu = u32::try_from(chunk.cpu).ok();
        let core = cores.of(cpu);
        self.cpus &= cpu.is_some();
        for record in Records::new(recording.aux_data(chunk), chunk.offset) {
            match record {
                Ok(record) => {
                    let sample = Sample::of(&record, core);
                    self.sample(recording, chunk, &sample);
                }
                Err(bad) => self.bad(chunk, bad),
            }
        }
    }

    fn sample(&mut self, recording: &Recording, chunk: &AuxChunk, sample: &Sample) {
        let conversion = recording.aux.time_conv.as_ref();
        if let Some((count, conversion)) = sample.timestamp.zip(conversion) {
            self.time = conversion.time_ns(count);
            self.timed = true;
        }
        let time = self.time;
        let area = (chunk.tid >= 0).then_some(chunk.tid);
        let switched = || recording.aux.running(u32::try_from(chunk.cpu).ok()?, time);
        let tid = sample.tid.or(area).or_else(switched);
        if tid.is_none() {
            count(&mut self.threadless, chunk.file_offset);
        }
        let tid = tid.unwrap_or(-1);
        self.phys_addr |= sample.phys_addr != 0;
        self.rows.push(Row {
            ip: sample.ip,
            thread: (recording.space.process_of(tid, time).unwrap_or(tid), tid),
            time,
            addr: sample.addr,
            cpu: u16::try_from(chunk.cpu).unwrap_or(0),
            period: 0,
            weight: sample.weight,
            data_src: sample.data_src,
            phys_addr: sample.phys_addr,
            cpumode: sample.cpumode,
        });
    }

    fn bad(&mut self, chunk: &AuxChunk, bad: BadStretch) {
        let offset = chunk.file_offset.saturating_add(bad.at as u64);
        if self.damage.len() >= TOLD {
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
        self.damage.push(Damage { offset, rule });
    }
}
