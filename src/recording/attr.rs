//! `perf_event_attr`: of any size from 64 bytes on, what is known of it.

use super::cursor::ByteOrder;
use super::{Event, cursor::Cursor};
use perf_event_open_sys::bindings as sys;

/// An event's attr, with what decoding its records needs.
#[derive(Debug, Clone, Default)]
pub struct Attr {
    pub event: Event,
    pub branch_sample_type: u64,
    /// Other records than samples end with a `sample_id`.
    pub sample_id_all: bool,
    pub use_clockid: bool,
    pub clockid: u32,
    excluded: Excluded,
}

/// What an event does not count.
#[derive(Debug, Clone, Copy, Default)]
struct Excluded {
    user: bool,
    kernel: bool,
    hv: bool,
    host: bool,
    guest: bool,
}

impl Attr {
    /// Reads the attr at the start of `data`, which may be longer or shorter than the struct of any
    /// kernel: fields past its end, or past `size`, are 0. `None` below the 64 bytes of the first version.
    ///
    /// `include/uapi/linux/perf_event.h`, `struct perf_event_attr`.
    pub fn parse(data: &[u8], order: ByteOrder) -> Option<Attr> {
        data.get(..sys::PERF_ATTR_SIZE_VER0 as usize)?;
        // 0 is what the first versions of perf wrote for "as large as it was then".
        let size = match order.u32_at(data, 4)? as usize {
            0 => sys::PERF_ATTR_SIZE_VER0 as usize,
            size => size,
        };
        let data = data.get(..size).unwrap_or(data);
        let word = |at| order.u64_at(data, at).unwrap_or(0);
        let half = |at| order.u32_at(data, at).unwrap_or(0);
        let flags = Flags::new(word(40), order);
        Some(Attr {
            event: Event {
                kind: half(0),
                config: word(8),
                sample_period: word(16),
                sample_type: word(24),
                read_format: word(32),
                freq: flags.bit(10),
                precise_ip: flags.bits(15, 2),
                exclude_kernel: flags.bit(5),
                bp_type: half(52),
                config1: word(56),
                config2: word(64),
                sample_regs_user: word(80),
                sample_regs_intr: word(96),
                ..Event::default()
            },
            branch_sample_type: word(72),
            sample_id_all: flags.bit(18),
            use_clockid: flags.bit(25),
            clockid: half(92),
            excluded: Excluded {
                user: flags.bit(4),
                kernel: flags.bit(5),
                hv: flags.bit(6),
                host: flags.bit(19),
                guest: flags.bit(20),
            },
        })
    }

    /// Length that the attr at the start of `data` says it has.
    pub fn size(data: &[u8], order: ByteOrder) -> Option<u64> {
        match order.u32_at(data, 4)? {
            0 => Some(u64::from(sys::PERF_ATTR_SIZE_VER0)),
            size => Some(u64::from(size)),
        }
    }

    /// An attr followed by ids, as in `PERF_RECORD_HEADER_ATTR`.
    pub fn with_ids(body: &[u8], order: ByteOrder) -> Option<Attr> {
        let mut attr = Attr::parse(body, order)?;
        let mut cursor = Cursor::new(body, order);
        cursor.bytes(Attr::size(body, order)?)?;
        while let Some(id) = cursor.u64() {
            attr.event.ids.push(id);
        }
        Some(attr)
    }

    pub fn has(&self, sample_type: sys::perf_event_sample_format) -> bool {
        self.event.sample_type & u64::from(sample_type) != 0
    }
}

/// The bit field of the attr. A big-endian compiler fills it from the highest bit down.
struct Flags {
    word: u64,
    big: bool,
}

impl Flags {
    fn new(word: u64, order: ByteOrder) -> Flags {
        Flags {
            word,
            big: order == ByteOrder::Big,
        }
    }

    fn bits(&self, first: u32, count: u32) -> u8 {
        let shift = if self.big { 64 - first - count } else { first };
        (self.word >> shift & ((1 << count) - 1)) as u8
    }

    fn bit(&self, bit: u32) -> bool {
        self.bits(bit, 1) != 0
    }
}

/// What `perf` would call an event of which the file holds no name: `tools/perf/util/evsel.c`,
/// `evsel__name`. Of a breakpoint the length is told, too.
pub fn default_name(attr: &Attr) -> String {
    const HARDWARE: [&str; 10] = [
        "cycles",
        "instructions",
        "cache-references",
        "cache-misses",
        "branches",
        "branch-misses",
        "bus-cycles",
        "stalled-cycles-frontend",
        "stalled-cycles-backend",
        "ref-cycles",
    ];
    const SOFTWARE: [&str; 12] = [
        "cpu-clock",
        "task-clock",
        "page-faults",
        "context-switches",
        "cpu-migrations",
        "minor-faults",
        "major-faults",
        "alignment-faults",
        "emulation-faults",
        "dummy",
        "bpf-output",
        "cgroup-switches",
    ];
    let event = &attr.event;
    let known = |names: &[&str]| Some(names.get(usize::try_from(event.config).ok()?)?.to_string());
    let name = match event.kind {
        sys::PERF_TYPE_HARDWARE => known(&HARDWARE),
        sys::PERF_TYPE_SOFTWARE => known(&SOFTWARE),
        sys::PERF_TYPE_HW_CACHE => cache_name(event.config),
        sys::PERF_TYPE_RAW => Some(format!("raw {:#x}", event.config)),
        sys::PERF_TYPE_BREAKPOINT => {
            let access: String = [(1, 'r'), (2, 'w'), (4, 'x')]
                .iter()
                .filter(|(bit, _)| event.bp_type & bit != 0)
                .map(|&(_, letter)| letter)
                .collect();
            Some(format!(
                "mem:{:#x}/{}:{access}",
                event.config1, event.config2
            ))
        }
        _ => None,
    };
    match name {
        Some(name) => name + &modifiers(attr),
        None => format!("type {} config {:#x}", event.kind, event.config),
    }
}

/// `evsel__hw_cache_name`: what of, then how, then with which result.
fn cache_name(config: u64) -> Option<String> {
    const CACHES: [&str; 7] = [
        "L1-dcache",
        "L1-icache",
        "LLC",
        "dTLB",
        "iTLB",
        "branch",
        "node",
    ];
    /// Alone, and before a result.
    const ACCESSES: [(&str, &str); 3] = [
        ("loads", "load"),
        ("stores", "store"),
        ("prefetches", "prefetch"),
    ];
    let [cache, access, result, ..] = config.to_le_bytes();
    let cache = CACHES.get(usize::from(cache))?;
    let (accesses, access) = ACCESSES.get(usize::from(access))?;
    match result {
        0 => Some(format!("{cache}-{accesses}")),
        1 => Some(format!("{cache}-{access}-misses")),
        _ => None,
    }
}

/// `evsel__add_modifiers`: `:u` for user code alone, `:ppp` for no skid, `:H` for no virtual machine.
fn modifiers(attr: &Attr) -> String {
    let Excluded {
        user,
        kernel,
        hv,
        host,
        guest,
    } = attr.excluded;
    let precise = attr.event.precise_ip;
    let mut letters = String::new();
    let mut counted = |excluded: bool, letter| {
        if !excluded {
            letters.push(letter);
        }
    };
    // Where nothing of the host is excluded perf leaves out virtual machines unless told otherwise.
    let some = kernel || user || hv;
    if some {
        counted(kernel, 'k');
        counted(user, 'u');
        counted(hv, 'h');
    }
    (0..precise).for_each(|_| counted(false, 'p'));
    if host || guest == (some || precise != 0) {
        counted(host, 'H');
        counted(guest, 'G');
    }
    match letters.is_empty() {
        true => letters,
        false => format!(":{letters}"),
    }
}
