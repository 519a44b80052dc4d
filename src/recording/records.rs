//! Records that are no samples: mappings, processes, gaps.
//!
//! Layouts: `include/uapi/linux/perf_event.h`, `enum perf_event_type`.

use super::attr::Attr;
use super::cursor::{ByteOrder, Cursor, text};
use super::namespaces::Namespaces;
use super::space::{KERNEL, Mapping, SpaceBuilder};
use super::{Gap, GapKind};
use perf_event_open_sys::bindings as sys;

const GUEST: [u32; 2] = [
    sys::PERF_RECORD_MISC_GUEST_KERNEL,
    sys::PERF_RECORD_MISC_GUEST_USER,
];

/// `PERF_RECORD_MISC_LOST_SAMPLES_BPF`, `tools/lib/perf/include/perf/event.h`.
const LOST_SAMPLES_BPF: u32 = 1 << 15;

/// A record of the data section: its header and its body.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub kind: u32,
    pub misc: u16,
    pub body: &'a [u8],
}

impl Record<'_> {
    fn misc_has(&self, bit: u32) -> bool {
        u32::from(self.misc) & bit != 0
    }
}

/// What the `sample_id` at the end of a record says of when and where it was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    pub tid: Option<i32>,
    pub time: Option<u64>,
    pub cpu: Option<u32>,
}

impl Stamp {
    /// Reads the trailer that `sample_id_all` adds to every record that is no sample.
    pub fn parse(body: &[u8], attr: &Attr, order: ByteOrder) -> Stamp {
        if !attr.sample_id_all {
            return Stamp::default();
        }
        let mut end = body.len();
        // From the last field to the first: IDENTIFIER, CPU, STREAM_ID, ID, TIME, TID.
        let mut field = |bit| {
            if !attr.has(bit) {
                return None;
            }
            end = end.checked_sub(8)?;
            Some(end)
        };
        field(sys::PERF_SAMPLE_IDENTIFIER);
        let cpu = field(sys::PERF_SAMPLE_CPU);
        field(sys::PERF_SAMPLE_STREAM_ID);
        field(sys::PERF_SAMPLE_ID);
        let time = field(sys::PERF_SAMPLE_TIME);
        let thread = field(sys::PERF_SAMPLE_TID);
        Stamp {
            tid: thread.and_then(|at| order.u32_at(body, at + 4).map(|tid| tid as i32)),
            time: time.and_then(|at| order.u64_at(body, at)),
            cpu: cpu.and_then(|at| order.u32_at(body, at)),
        }
    }
}

/// Bytes of the `sample_id` trailer of `attr`'s event.
fn trailer_len(attr: &Attr) -> usize {
    let fields = sys::PERF_SAMPLE_IDENTIFIER
        | sys::PERF_SAMPLE_CPU
        | sys::PERF_SAMPLE_STREAM_ID
        | sys::PERF_SAMPLE_ID
        | sys::PERF_SAMPLE_TIME
        | sys::PERF_SAMPLE_TID;
    match attr.sample_id_all {
        true => 8 * (attr.event.sample_type & u64::from(fields)).count_ones() as usize,
        false => 0,
    }
}

/// Takes what a record says of processes and their memory. `None` when it is too short.
pub fn place(
    space: &mut SpaceBuilder,
    record: Record,
    stamp: Stamp,
    attr: &Attr,
    order: ByteOrder,
) -> Option<()> {
    let mut at = Cursor::new(record.body, order);
    let time = stamp.time.unwrap_or(0);
    match record.kind {
        sys::PERF_RECORD_MMAP | sys::PERF_RECORD_MMAP2 => {
            let mode = u32::from(record.misc) & sys::PERF_RECORD_MISC_CPUMODE_MASK;
            // The memory of a virtual machine is none of the pid that runs it.
            if GUEST.contains(&mode) {
                return Some(());
            }
            let pid = at.i32()?;
            at.i32()?;
            let (start, len, pgoff) = (at.u64()?, at.u64()?, at.u64()?);
            let mut build_id = None;
            if record.kind == sys::PERF_RECORD_MMAP2 {
                let identity = at.bytes(24)?;
                if record.misc_has(sys::PERF_RECORD_MISC_MMAP_BUILD_ID) {
                    // One byte of length, three reserved, twenty of build id.
                    let len = usize::from(*identity.first()?).min(20);
                    build_id = Some(identity.get(4..4 + len)?.to_vec());
                }
                // prot and flags
                at.bytes(8)?;
            }
            let path = text(at.rest());
            let image = space.image(path, build_id);
            let kernel = mode == sys::PERF_RECORD_MISC_KERNEL;
            // With kptr_restrict the kernel's text is recorded as beginning at 0: it says nothing,
            // and would hold every user address.
            if len == 0 || (kernel && start == 0) {
                return Some(());
            }
            space.map(Mapping {
                pid: if kernel { KERNEL } else { pid },
                start,
                end: start.saturating_add(len),
                pgoff,
                image,
                time,
                executable: !record.misc_has(sys::PERF_RECORD_MISC_MMAP_DATA),
                order: 0,
            });
        }
        sys::PERF_RECORD_COMM => {
            let (pid, tid) = (at.i32()?, at.i32()?);
            let rest = at.rest();
            let name = rest.len().saturating_sub(trailer_len(attr));
            space.comm(pid, tid, time, rest.get(..name)?);
            if record.misc_has(sys::PERF_RECORD_MISC_COMM_EXEC) {
                space.exec(pid, time);
            }
        }
        sys::PERF_RECORD_FORK => {
            let (pid, parent) = (at.i32()?, at.i32()?);
            let (tid, parent_tid) = (at.i32()?, at.i32()?);
            // The record has a time of its own.
            let time = at.u64()?;
            space.thread(pid, tid, parent_tid, time);
            if pid != parent {
                // perf sets FORK_EXEC on the forks it makes up from /proc: mappings follow.
                let inherits = !record.misc_has(sys::PERF_RECORD_MISC_FORK_EXEC);
                space.fork(pid, inherits.then_some(parent), time);
            }
        }
        sys::PERF_RECORD_EXIT => {
            let pid = at.i32()?;
            at.i32()?;
            // The last of its threads may still be on the way out.
            if pid == at.i32()? {
                space.exit(pid);
            }
        }
        sys::PERF_RECORD_NAMESPACES => {
            let (pid, tid) = (at.i32()?, at.i32()?);
            let namespaces = Namespaces::parse(&mut at)?;
            if pid == tid {
                space.namespaces(pid, time, namespaces);
            }
        }
        _ => {}
    }
    Some(())
}

/// The gaps that a record tells of: of AUX data one for each reason. None when it tells of none, or is
/// too short.
pub fn gaps(record: Record, stamp: Stamp, order: ByteOrder) -> impl Iterator<Item = Gap> {
    let gap = move |kind| Gap {
        time_ns: stamp.time,
        cpu: stamp.cpu,
        kind,
        lost: 0,
    };
    let aux = match record.kind {
        sys::PERF_RECORD_AUX => aux_flags(record, order).unwrap_or(0),
        _ => 0,
    };
    let reasons = [
        (sys::PERF_AUX_FLAG_TRUNCATED, GapKind::AuxTruncated),
        (sys::PERF_AUX_FLAG_PARTIAL, GapKind::AuxPartial),
        (sys::PERF_AUX_FLAG_COLLISION, GapKind::AuxCollision),
    ];
    let reasons = reasons.into_iter();
    let reasons = reasons.filter(move |(flag, _)| aux & u64::from(*flag) != 0);
    let lost = lost(record, gap, order);
    lost.into_iter()
        .chain(reasons.map(move |(_, kind)| gap(kind)))
}

fn aux_flags(record: Record, order: ByteOrder) -> Option<u64> {
    let mut at = Cursor::new(record.body, order);
    at.bytes(16)?;
    at.u64()
}

/// Whether perf wrote this `PERF_RECORD_LOST_SAMPLES` itself, at the end, out of `PERF_FORMAT_LOST`
/// (`record__save_lost_samples`): then it counts what `PERF_RECORD_LOST` may have told of before.
pub fn is_sum_of_lost(record: Record, stamp: Stamp, attr: &Attr) -> bool {
    record.kind == sys::PERF_RECORD_LOST_SAMPLES
        && attr.event.read_format & u64::from(sys::PERF_FORMAT_LOST) != 0
        && stamp.time.unwrap_or(0) == 0
}

/// Leaves of such sums what the other gaps have not told.
pub fn settle_lost(gaps: &mut [Gap], sums: &[usize]) {
    let told = gaps.iter().filter(|gap| gap.kind == GapKind::Lost);
    let mut told = told.fold(0u64, |sum, gap| sum.saturating_add(gap.lost));
    for &sum in sums {
        if let Some(gap) = gaps.get_mut(sum) {
            let again = gap.lost.min(told);
            told -= again;
            gap.lost -= again;
            gap.time_ns = None;
        }
    }
}

/// What records of lost ones and of throttling tell.
fn lost(record: Record, gap: impl Fn(GapKind) -> Gap, order: ByteOrder) -> Option<Gap> {
    let mut at = Cursor::new(record.body, order);
    Some(match record.kind {
        sys::PERF_RECORD_LOST => {
            at.u64()?;
            Gap {
                lost: at.u64()?,
                ..gap(GapKind::Lost)
            }
        }
        // Samples that a BPF program of the user's filtered out are counted here too: they were not
        // wanted.
        sys::PERF_RECORD_LOST_SAMPLES if record.misc_has(LOST_SAMPLES_BPF) => return None,
        sys::PERF_RECORD_LOST_SAMPLES => Gap {
            lost: at.u64()?,
            ..gap(GapKind::LostSamples)
        },
        sys::PERF_RECORD_THROTTLE => Gap {
            time_ns: Some(at.u64()?),
            ..gap(GapKind::Throttle)
        },
        sys::PERF_RECORD_UNTHROTTLE => Gap {
            time_ns: Some(at.u64()?),
            ..gap(GapKind::Unthrottle)
        },
        _ => return None,
    })
}
