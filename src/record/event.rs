//! An event to be recorded: its name, its attr, and how it is written on a command line.

use super::RecordError;
use super::machine::Machine;
use super::sysfs::number;
use perf_event_open_sys::bindings as sys;

/// An event and what `perf_event_open` is told of it.
#[derive(Clone)]
pub struct Event {
    /// As perf names it: `mem:0xc000012345/8:rw`, `cpu/mem-loads,ldlat=30/P`.
    pub name: String,
    pub attr: sys::perf_event_attr,
    /// Counted in the group of the event before it (`mem-loads` after `mem-loads-aux`).
    pub in_group: bool,
    /// The CPUs of its PMU; `None`: all.
    pub cpus: Option<Vec<u32>>,
    /// Its data comes through the AUX buffer (Arm SPE).
    pub aux: bool,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Event").field(&self.name).finish()
    }
}

/// How often an event is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rate {
    /// Every so many events.
    Period(u64),
    /// So many samples a second and CPU, the kernel adapting the period.
    Frequency(u64),
}

/// What is sampled with every event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    pub call_chains: bool,
    pub registers: bool,
    pub physical: bool,
}

impl Default for Fields {
    fn default() -> Fields {
        Fields {
            call_chains: true,
            registers: true,
            physical: true,
        }
    }
}

/// `PERF_SAMPLE_*` that every event has. perf, too, tells events apart by IDENTIFIER.
const ALWAYS: u32 = sys::PERF_SAMPLE_IDENTIFIER
    | sys::PERF_SAMPLE_IP
    | sys::PERF_SAMPLE_TID
    | sys::PERF_SAMPLE_TIME
    | sys::PERF_SAMPLE_ADDR
    | sys::PERF_SAMPLE_CPU
    | sys::PERF_SAMPLE_PERIOD
    | sys::PERF_SAMPLE_DATA_SRC
    | sys::PERF_SAMPLE_WEIGHT_STRUCT
    | sys::PERF_SAMPLE_DATA_PAGE_SIZE;

/// The registers that a sample can have: general ones, ip, flags, cs and ss, as perf asks for them
/// (`PERF_REGS_MASK`, `tools/perf/arch/*/include/perf_regs.h`).
pub const REGISTERS: u64 = match cfg!(target_arch = "aarch64") {
    true => (1 << 33) - 1,
    false => 0xff_0fff,
};

/// `PERF_TYPE_SOFTWARE` events by perf's names, with their aliases.
const SOFTWARE: [(&str, u32); 13] = [
    ("cpu-clock", sys::PERF_COUNT_SW_CPU_CLOCK),
    ("task-clock", sys::PERF_COUNT_SW_TASK_CLOCK),
    ("page-faults", sys::PERF_COUNT_SW_PAGE_FAULTS),
    ("faults", sys::PERF_COUNT_SW_PAGE_FAULTS),
    ("context-switches", sys::PERF_COUNT_SW_CONTEXT_SWITCHES),
    ("cs", sys::PERF_COUNT_SW_CONTEXT_SWITCHES),
    ("cpu-migrations", sys::PERF_COUNT_SW_CPU_MIGRATIONS),
    ("migrations", sys::PERF_COUNT_SW_CPU_MIGRATIONS),
    ("minor-faults", sys::PERF_COUNT_SW_PAGE_FAULTS_MIN),
    ("major-faults", sys::PERF_COUNT_SW_PAGE_FAULTS_MAJ),
    ("alignment-faults", sys::PERF_COUNT_SW_ALIGNMENT_FAULTS),
    ("emulation-faults", sys::PERF_COUNT_SW_EMULATION_FAULTS),
    ("dummy", sys::PERF_COUNT_SW_DUMMY),
];

const HARDWARE: [(&str, u32); 8] = [
    ("cycles", sys::PERF_COUNT_HW_CPU_CYCLES),
    ("cpu-cycles", sys::PERF_COUNT_HW_CPU_CYCLES),
    ("instructions", sys::PERF_COUNT_HW_INSTRUCTIONS),
    ("cache-references", sys::PERF_COUNT_HW_CACHE_REFERENCES),
    ("cache-misses", sys::PERF_COUNT_HW_CACHE_MISSES),
    ("branches", sys::PERF_COUNT_HW_BRANCH_INSTRUCTIONS),
    ("branch-misses", sys::PERF_COUNT_HW_BRANCH_MISSES),
    ("ref-cycles", sys::PERF_COUNT_HW_REF_CPU_CYCLES),
];

impl Event {
    /// An event with an attr that samples the fields of a memory recording.
    pub fn new(name: &str, kind: u32, config: [u64; 3], rate: Rate, fields: Fields) -> Event {
        let mut attr = sys::perf_event_attr {
            type_: kind,
            size: super::file::ATTR as u32,
            config: config[0],
            sample_type: u64::from(ALWAYS),
            read_format: u64::from(sys::PERF_FORMAT_ID | sys::PERF_FORMAT_LOST),
            clockid: libc::CLOCK_MONOTONIC,
            ..sys::perf_event_attr::default()
        };
        attr.__bindgen_anon_3.config1 = config[1];
        attr.__bindgen_anon_4.config2 = config[2];
        match rate {
            Rate::Period(period) => attr.__bindgen_anon_1.sample_period = period,
            Rate::Frequency(hertz) => {
                attr.__bindgen_anon_1.sample_freq = hertz;
                attr.set_freq(1);
            }
        }
        if fields.call_chains {
            attr.sample_type |= u64::from(sys::PERF_SAMPLE_CALLCHAIN);
        }
        if fields.physical {
            attr.sample_type |= u64::from(sys::PERF_SAMPLE_PHYS_ADDR);
        }
        if fields.registers {
            attr.sample_type |= u64::from(sys::PERF_SAMPLE_REGS_INTR);
            attr.sample_regs_intr = REGISTERS;
        }
        attr.set_disabled(1);
        attr.set_inherit(1);
        attr.set_sample_id_all(1);
        attr.set_exclude_guest(1);
        attr.set_use_clockid(1);
        Event {
            name: name.to_owned(),
            attr,
            in_group: false,
            cpus: None,
            aux: false,
        }
    }

    /// A software event with everything that a recording samples, to see what the kernel leaves out.
    pub fn plain() -> Event {
        let config = [u64::from(sys::PERF_COUNT_SW_PAGE_FAULTS), 0, 0];
        Event::new(
            "page-faults",
            sys::PERF_TYPE_SOFTWARE,
            config,
            Rate::Period(1),
            Fields::default(),
        )
    }

    /// The first event of a recording also writes what happens to processes and their memory.
    pub fn track(&mut self) {
        let attr = &mut self.attr;
        attr.set_mmap(1);
        attr.set_mmap2(1);
        attr.set_mmap_data(1);
        attr.set_comm(1);
        attr.set_comm_exec(1);
        attr.set_task(1);
    }

    /// A hardware breakpoint.
    pub fn breakpoint(addr: u64, len: u64, access: u32, fields: Fields) -> Event {
        let letters: String = [(1, 'r'), (2, 'w'), (4, 'x')]
            .iter()
            .filter(|(bit, _)| access & bit != 0)
            .map(|&(_, letter)| letter)
            .collect();
        let name = format!("mem:{addr:#x}/{len}:{letters}");
        let config = [0, addr, len];
        let rate = Rate::Period(1);
        let mut event = Event::new(&name, sys::PERF_TYPE_BREAKPOINT, config, rate, fields);
        event.attr.bp_type = access;
        event
    }

    /// Reads an event as the command line writes it. `rate` is `None` where it was not given:
    /// breakpoints and page faults are then all recorded, other events at 4000 Hz.
    ///
    /// # Errors
    ///
    /// When no such event can be.
    pub fn parse(
        text: &str,
        rate: Option<Rate>,
        fields: Fields,
        machine: &Machine,
    ) -> Result<Event, RecordError> {
        let bad = |reason: String| RecordError::Event {
            event: text.to_owned(),
            reason,
        };
        let every = rate.unwrap_or(Rate::Period(1));
        let often = rate.unwrap_or(Rate::Frequency(4000));
        if let Some(place) = text.strip_prefix("mem:") {
            // mem:ADDRESS/LENGTH:ACCESS:MODIFIERS
            let third = place.match_indices(':').nth(1).map(|(at, _)| at);
            let (place, modifiers) = place.split_at(third.unwrap_or(place.len()));
            let (addr, len, access) = breakpoint(place).map_err(bad)?;
            let mut event = Event::breakpoint(addr, len, access, fields);
            event
                .modify(modifiers.trim_start_matches(':'))
                .map_err(bad)?;
            event.name += modifiers;
            if let Some(Rate::Period(period)) = rate {
                event.attr.__bindgen_anon_1.sample_period = period;
            }
            return Ok(event);
        }
        let (body, modifiers) = match text.rsplit_once('/') {
            Some((body, modifiers)) => (body, modifiers.trim_start_matches(':')),
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let named = |list: &[(&str, u32)]| {
            let found = list.iter().find(|(name, _)| *name == body);
            found.map(|&(_, config)| [u64::from(config), 0, 0])
        };
        let mut event = if let Some((pmu, terms)) = body.split_once('/') {
            let pmu = machine.pmu(pmu).ok_or_else(|| {
                let known: Vec<&str> = machine.pmus.iter().map(|p| p.name.as_str()).collect();
                bad(format!(
                    "this machine has no PMU '{pmu}', only {}",
                    known.join(", ")
                ))
            })?;
            let config = pmu.config(terms).map_err(bad)?;
            let mut event = Event::new(text, pmu.kind, config, often, fields);
            event.cpus.clone_from(&pmu.cpus);
            event
        } else if let Some(config) = named(&SOFTWARE) {
            let rate = if body.contains("faults") {
                every
            } else {
                often
            };
            Event::new(text, sys::PERF_TYPE_SOFTWARE, config, rate, fields)
        } else if let Some(config) = named(&HARDWARE) {
            Event::new(text, sys::PERF_TYPE_HARDWARE, config, often, fields)
        } else if let Some(config) = raw(body) {
            Event::new(text, sys::PERF_TYPE_RAW, [config, 0, 0], often, fields)
        } else {
            return Err(bad("there is no event of this name".to_owned()));
        };
        event.modify(modifiers).map_err(bad)?;
        Ok(event)
    }

    /// `u`, `k`, `h` say where, `p` how precisely, `P` as precisely as it can be.
    fn modify(&mut self, modifiers: &str) -> Result<(), String> {
        let mut precise = 0;
        for letter in modifiers.chars() {
            match letter {
                'u' | 'k' | 'h' => {}
                'p' => precise = 3.min(precise + 1),
                'P' => precise = 3,
                other => return Err(format!("'{other}' is no modifier; u, k, p and P are")),
            }
        }
        if modifiers.contains(['u', 'k', 'h']) {
            let without = |letter| u64::from(!modifiers.contains(letter));
            self.attr.set_exclude_user(without('u'));
            self.attr.set_exclude_kernel(without('k'));
            self.attr.set_exclude_hv(without('h'));
        }
        self.attr.set_precise_ip(precise);
        Ok(())
    }

    pub fn samples(&self, bit: u32) -> bool {
        self.attr.sample_type & u64::from(bit) != 0
    }
}

/// `r1cd`.
fn raw(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix('r')?, 16).ok()
}

/// Address, length and access (`HW_BREAKPOINT_*`) of `ADDRESS[/LENGTH][:rwx]`.
///
/// # Errors
///
/// One clause saying what no debug register can do.
pub fn breakpoint(text: &str) -> Result<(u64, u64, u32), String> {
    let (place, letters) = text.split_once(':').unwrap_or((text, "rw"));
    let (addr, len) = place.split_once('/').unwrap_or((place, "4"));
    let addr = number(addr).ok_or_else(|| format!("'{addr}' is no address"))?;
    let len = number(len).ok_or_else(|| format!("'{len}' is no length"))?;
    let mut access = 0;
    for letter in letters.chars() {
        access |= match letter {
            'r' => sys::HW_BREAKPOINT_R,
            'w' => sys::HW_BREAKPOINT_W,
            'x' => sys::HW_BREAKPOINT_X,
            other => return Err(format!("'{other}' is no access; r, w and x are")),
        };
    }
    if ![1, 2, 4, 8].contains(&len) {
        return Err(format!(
            "{len} bytes cannot be watched; a debug register watches 1, 2, 4 or 8"
        ));
    }
    if !addr.is_multiple_of(len) {
        return Err(format!(
            "{addr:#x} is no multiple of {len}; a debug register watches aligned bytes"
        ));
    }
    Ok((addr, len, access))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Attr, ByteOrder};

    fn parse(text: &str) -> Result<Attr, String> {
        let machine = Machine::default();
        Event::parse(text, None, Fields::default(), &machine)
            .map(|event| {
                Attr::parse(
                    super::super::file::attr_bytes(&event.attr),
                    ByteOrder::Little,
                )
            })
            .map(|attr| attr.expect("an attr of 128 bytes"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_event_is_read_back_as_it_was_asked_for() {
        let attr = parse("mem:0xc000012340/8:w").unwrap();
        assert_eq!(attr.event.kind, sys::PERF_TYPE_BREAKPOINT);
        assert_eq!((attr.event.config1, attr.event.config2), (0xc000012340, 8));
        assert_eq!((attr.event.bp_type, attr.event.sample_period), (2, 1));
        assert!(attr.use_clockid && attr.sample_id_all && !attr.event.freq);
        assert_eq!(attr.clockid, 1);
        let attr = parse("cpu-clock:u").unwrap();
        assert_eq!((attr.event.kind, attr.event.config), (1, 0));
        assert!(attr.event.freq && attr.event.exclude_kernel);
        let attr = parse("r81d0:pp").unwrap();
        assert_eq!((attr.event.kind, attr.event.config), (4, 0x81d0));
        assert_eq!(attr.event.precise_ip, 2);
    }

    #[test]
    fn what_no_debug_register_can_do_is_refused_with_the_reason() {
        let reason = |text| parse(text).unwrap_err();
        assert!(reason("mem:0x1001/8:rw").contains("0x1001 is no multiple of 8"));
        assert!(reason("mem:0x1000/3:rw").contains("3 bytes cannot be watched"));
        assert!(reason("mem:0x1000/8:rwz").contains("'z' is no access"));
        assert!(reason("mem-loads").contains("there is no event of this name"));
        assert!(reason("cpu/mem-loads/").contains("this machine has no PMU 'cpu'"));
    }
}
