//! One open event: `perf_event_open` and its ioctls, and why the kernel says no.

use super::error::errno_name;
use super::target::{CAP_PERFMON, CAP_SYS_ADMIN, capable};
use super::{Event, RecordError};
use perf_event_open_sys::{self as perf, bindings as sys};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

/// An event opened for one thread on one CPU. Closing it takes breakpoints out of the thread again;
/// the kernel closes it when mempath dies.
#[derive(Debug)]
pub struct Counter {
    fd: OwnedFd,
}

/// What an event may do without where a kernel is too old for it or does not allow it: what is lost,
/// in words, and how the attr changes. `false`: the attr never asked for it.
type Waiver = (&'static str, fn(&mut Event) -> bool);

const WAIVERS: [Waiver; 9] = [
    ("what the kernel itself does", |event| {
        let asked = event.attr.exclude_kernel() == 0;
        event.attr.set_exclude_kernel(1);
        asked
    }),
    ("counts of lost samples", |event| {
        let asked = event.attr.read_format & u64::from(sys::PERF_FORMAT_LOST) != 0;
        event.attr.read_format &= !u64::from(sys::PERF_FORMAT_LOST);
        asked
    }),
    ("physical addresses", |event| {
        drop_field(event, sys::PERF_SAMPLE_PHYS_ADDR)
    }),
    ("page sizes", |event| {
        drop_field(event, sys::PERF_SAMPLE_DATA_PAGE_SIZE)
    }),
    ("a second latency", |event| {
        let asked = drop_field(event, sys::PERF_SAMPLE_WEIGHT_STRUCT);
        if asked {
            event.attr.sample_type |= u64::from(sys::PERF_SAMPLE_WEIGHT);
        }
        asked
    }),
    // IBS and SPE cannot tell guests from hosts (PERF_PMU_CAP_NO_EXCLUDE).
    ("the exclusion of guests", |event| {
        let asked = event.attr.exclude_guest() == 1;
        event.attr.set_exclude_guest(0);
        asked
    }),
    ("the highest precision", |event| {
        let precise = event.attr.precise_ip();
        event.attr.set_precise_ip(precise.min(2));
        precise > 2
    }),
    ("the second-highest precision", |event| {
        let precise = event.attr.precise_ip();
        event.attr.set_precise_ip(precise.min(1));
        precise > 1
    }),
    ("registers", |event| {
        event.attr.sample_regs_intr = 0;
        drop_field(event, sys::PERF_SAMPLE_REGS_INTR)
    }),
];

fn drop_field(event: &mut Event, bit: u32) -> bool {
    let asked = event.samples(bit);
    event.attr.sample_type &= !u64::from(bit);
    asked
}

impl Counter {
    /// Opens an event for thread `tid` (0: this one) on `cpu` (-1: wherever it runs), in the group of
    /// `leader`.
    pub fn open(
        attr: &sys::perf_event_attr,
        tid: i32,
        cpu: i32,
        leader: Option<&Counter>,
    ) -> io::Result<Counter> {
        let mut attr = *attr;
        let group = leader.map_or(-1, |leader| leader.fd.as_raw_fd());
        let flags = u64::from(sys::PERF_FLAG_FD_CLOEXEC);
        // SAFETY: the attr is a whole struct whose `size` covers no more than it; the kernel only
        // writes its `size`.
        let fd = unsafe { perf::perf_event_open(&raw mut attr, tid, cpu, group, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Counter { fd })
    }

    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// The id that its samples carry.
    pub fn id(&self) -> io::Result<u64> {
        let mut id = 0u64;
        // SAFETY: the ioctl writes one u64, which lives here.
        check(unsafe { perf::ioctls::ID(self.fd(), &raw mut id) })?;
        Ok(id)
    }

    /// Sends its records to the ring of another counter of the same CPU.
    pub fn write_to(&self, other: &Counter) -> io::Result<()> {
        // SAFETY: both are open perf events; no memory is passed.
        check(unsafe { perf::ioctls::SET_OUTPUT(self.fd(), other.fd()) })
    }

    pub fn enable(&self) -> io::Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { perf::ioctls::ENABLE(self.fd(), 0) })
    }

    pub fn disable(&self) -> io::Result<()> {
        // SAFETY: no memory is passed.
        check(unsafe { perf::ioctls::DISABLE(self.fd(), 0) })
    }

    /// The count, and how many samples found no room in the ring (0 where the kernel, before 6.0,
    /// does not say).
    pub fn read(&self) -> io::Result<(u64, u64)> {
        let mut words = [0u8; 24];
        // SAFETY: the kernel writes at most the 24 bytes that it is told are there.
        let len = unsafe { libc::read(self.fd(), words.as_mut_ptr().cast(), words.len()) };
        if len < 0 {
            return Err(io::Error::last_os_error());
        }
        // { value, id, lost } with FORMAT_ID and FORMAT_LOST.
        let mut word = words
            .chunks_exact(8)
            .map(|word| word.first_chunk().copied().map_or(0, u64::from_ne_bytes));
        Ok((word.next().unwrap_or(0), word.nth(1).unwrap_or(0)))
    }
}

fn check(result: std::ffi::c_int) -> io::Result<()> {
    match result {
        r if r < 0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Opens `event` for this thread, in the group of `leader`, to see whether the kernel does; where it
/// wants less, `event` is changed and what was given up is named.
///
/// # Errors
///
/// When it does not open with anything given up either.
pub fn fit(event: &mut Event, leader: Option<&Event>) -> Result<Vec<&'static str>, RecordError> {
    let probe = |event: &Event| {
        let leader = leader.map(|leader| Counter::open(&leader.attr, 0, -1, None));
        let leader = leader.transpose()?;
        Counter::open(&event.attr, 0, -1, leader.as_ref()).map(drop)
    };
    let Err(first) = probe(event) else {
        return Ok(Vec::new());
    };
    let worth = |error: &io::Error| {
        matches!(
            error.raw_os_error(),
            Some(libc::EINVAL | libc::EACCES | libc::EPERM | libc::EOPNOTSUPP)
        )
    };
    if !worth(&first) {
        return Err(refused(event, first));
    }
    for (what, waive) in WAIVERS {
        let mut less = event.clone();
        if waive(&mut less) && probe(&less).is_ok() {
            *event = less;
            return Ok(vec![what]);
        }
    }
    // Several at once: as many as it takes, then back with those that were not at fault.
    let without = |given_up: &[Waiver]| {
        let mut less = event.clone();
        for (_, waive) in given_up {
            waive(&mut less);
        }
        less
    };
    let mut given_up = Vec::new();
    for waiver in WAIVERS {
        if !(waiver.1)(&mut without(&given_up)) {
            continue;
        }
        given_up.push(waiver);
        if probe(&without(&given_up)).is_ok() {
            for waiver in given_up.clone() {
                let fewer: Vec<Waiver> = given_up
                    .iter()
                    .filter(|(what, _)| *what != waiver.0)
                    .copied()
                    .collect();
                if probe(&without(&fewer)).is_ok() {
                    given_up = fewer;
                }
            }
            let less = without(&given_up);
            *event = less;
            return Ok(given_up.into_iter().map(|(what, _)| what).collect());
        }
    }
    Err(refused(event, first))
}

/// What `perf_event_open` meant by its errno, for this event on this machine.
pub fn refused(event: &Event, error: io::Error) -> RecordError {
    let paranoid = paranoid().map_or("unknown".to_owned(), |level| level.to_string());
    let kind = event.attr.type_;
    let (why, way_out) = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => (
            format!("kernel.perf_event_paranoid is {paranoid} and mempath has no CAP_PERFMON"),
            "run it as root, or: sysctl kernel.perf_event_paranoid=1, or: setcap cap_perfmon,cap_sys_ptrace+ep mempath",
        ),
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => (
            "this machine's PMUs do not have the event; virtual machines rarely have any"
                .to_owned(),
            "see mempath doctor for what there is; mempath watch needs no PMU",
        ),
        Some(libc::EOPNOTSUPP) => (
            "the PMU cannot take samples of it, or not with this precision".to_owned(),
            "see mempath doctor for what there is; mempath watch needs no PMU",
        ),
        Some(libc::EINVAL) => (
            "the kernel or the PMU does not know this combination of settings".to_owned(),
            "see mempath doctor; a newer kernel may know it",
        ),
        Some(libc::ENOSPC) if kind == sys::PERF_TYPE_BREAKPOINT => (
            "all debug registers are taken (x86 has 4), by these events or by a debugger"
                .to_owned(),
            "watch fewer words, or end the other watcher",
        ),
        Some(libc::EBUSY) => (
            "another recording holds the PMU for itself".to_owned(),
            "end the other recording (the NMI watchdog, too, takes a counter: sysctl kernel.nmi_watchdog=0)",
        ),
        Some(libc::EMFILE) => (
            "each event takes a file descriptor a thread and CPU, and the limit is reached"
                .to_owned(),
            "raise it: ulimit -n 65536",
        ),
        Some(libc::ESRCH) => (
            "the process or thread has ended".to_owned(),
            "start the recording while it runs",
        ),
        Some(libc::ENOSYS) => (
            "the kernel has no perf events, or a seccomp filter (containers) hides them".to_owned(),
            "record outside of the container, or run it with --security-opt seccomp=unconfined --cap-add PERFMON",
        ),
        _ => (
            "the kernel gives no reason".to_owned(),
            "the last lines of dmesg may say more",
        ),
    };
    RecordError::Open {
        event: event.name.clone(),
        errno: errno_name(&error),
        why,
        way_out: way_out.to_owned(),
        error,
    }
}

/// Whether samples may carry physical addresses (`perf_allow_kernel`).
pub fn sees_physical() -> bool {
    paranoid().is_some_and(|level| level <= 1) || capable(CAP_PERFMON) || capable(CAP_SYS_ADMIN)
}

/// `kernel.perf_event_paranoid`; `None` where the kernel has no perf events.
pub fn paranoid() -> Option<i32> {
    super::sysfs::read(Path::new("/proc/sys/kernel/perf_event_paranoid"))?
        .parse()
        .ok()
}
