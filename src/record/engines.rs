//! The ways to record memory accesses, best first: the list [`ENGINES`].

use super::counter::Counter;
use super::event::{Event, Fields};
use super::limits::Limits;
use super::machine::Machine;
use super::pmu::{self, Wish};
use serde::Serialize;

/// One way to record.
pub struct Engine {
    /// The subcommand that records with it.
    pub name: &'static str,
    pub needs: &'static str,
    pub shows: &'static str,
    /// What it costs the recorded program.
    pub costs: &'static str,
    /// Whether it works on this machine for this user: a reason either way.
    pub check: fn(&Machine, &Limits) -> Result<String, String>,
    /// What to type.
    pub command: &'static str,
}

/// Every engine, the one with the most to show first: what `mempath record` takes where it can.
pub const ENGINES: &[&Engine] = &[&RECORD, &STEP, &WATCH];

const RECORD: Engine = Engine {
    name: "record",
    needs: "a PMU that samples memory accesses (Intel PEBS, AMD IBS, Arm SPE)",
    shows: "all maps: sampled accesses with cache level and latency as the hardware saw them",
    costs: "a few microseconds a sample, 4000 samples a second and CPU unless asked for fewer",
    check: check_record,
    command: "mempath record --analyze -- ./app",
};

const WATCH: Engine = Engine {
    name: "watch",
    needs: "hardware breakpoints, which most virtual machines have",
    shows: "up to four words of one map: every access, in exact order, with its code and thread; no level, no latency",
    costs: "about 20 microseconds for each access to a watched word (in a virtual machine), nothing else",
    check: check_watch,
    command: "mempath watch -p PID --map main.sessions --words flags,count",
};

const STEP: Engine = Engine {
    name: "step",
    needs: "ptrace, on x86-64",
    shows: "all maps: every access of map code and of elems in callers; cache levels and latencies are modelled",
    costs: "about 10 microseconds for each instruction of map code, half of the time; nothing elsewhere",
    check: check_step,
    command: "mempath step --analyze -- ./app",
};

/// What a look at one engine came to.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    pub engine: &'static str,
    pub works: bool,
    pub because: String,
    pub needs: &'static str,
    pub shows: &'static str,
    pub costs: &'static str,
    pub command: &'static str,
}

/// Tries every engine. Nothing is recorded.
pub fn verdicts(machine: &Machine, limits: &Limits) -> Vec<Verdict> {
    let verdict = |engine: &&'static Engine| {
        let checked = (engine.check)(machine, limits);
        Verdict {
            engine: engine.name,
            works: checked.is_ok(),
            because: checked.unwrap_or_else(|reason| reason),
            needs: engine.needs,
            shows: engine.shows,
            costs: engine.costs,
            command: engine.command,
        }
    };
    ENGINES.iter().map(verdict).collect()
}

fn check_record(machine: &Machine, _: &Limits) -> Result<String, String> {
    let wish = Wish {
        rate: None,
        ldlat: 30,
        fields: Fields::default(),
    };
    match pmu::choose(machine, &wish) {
        Ok(choice) => {
            let names: Vec<&str> = choice.events.iter().map(|e| e.name.as_str()).collect();
            let without = match choice.given_up.is_empty() {
                true => String::new(),
                false => format!("; without {}", choice.given_up.join(", ")),
            };
            Ok(format!(
                "{}: {} opened{without}",
                choice.pmu.name,
                names.join(", ")
            ))
        }
        Err(super::RecordError::NoEngine { reason, .. }) => Err(reason),
        Err(error) => Err(error.to_string()),
    }
}

/// How many hardware breakpoints can be set at once in this thread, and why no more.
pub fn breakpoints() -> (usize, Option<std::io::Error>) {
    /// No processor has more debug registers (arm64 may have 16).
    const MOST: usize = 16;
    static WORDS: [u64; MOST] = [0; MOST];
    // Physical addresses are root's.
    let plain = Fields {
        physical: false,
        ..Fields::default()
    };
    let mut open = Vec::new();
    for word in &WORDS {
        let addr = std::ptr::from_ref(word) as u64;
        let mut event = Event::breakpoint(addr, 8, 2, plain);
        event.attr.set_exclude_kernel(1);
        match Counter::open(&event.attr, 0, -1, None) {
            Ok(counter) => open.push(counter),
            Err(error) => return (open.len(), Some(error)),
        }
    }
    (open.len(), None)
}

fn check_watch(_: &Machine, _: &Limits) -> Result<String, String> {
    match breakpoints() {
        (0, Some(error)) => {
            let event = Event::breakpoint(0, 8, 2, Fields::default());
            Err(super::counter::refused(&event, error).to_string())
        }
        (number, _) => Ok(format!("{number} hardware breakpoints can be set at once")),
    }
}

fn check_step(machine: &Machine, limits: &Limits) -> Result<String, String> {
    if machine.arch != "x86_64" {
        return Err(format!("instructions of {} are not decoded", machine.arch));
    }
    match limits.ptrace_scope {
        Some(3) => Err("kernel.yama.ptrace_scope is 3: nobody may trace until a reboot".to_owned()),
        Some(2) if !limits.capable(super::target::CAP_SYS_PTRACE) => Err(
            "kernel.yama.ptrace_scope is 2 and mempath has no CAP_SYS_PTRACE: run it as root"
                .to_owned(),
        ),
        _ => Ok("programs that mempath starts can be stepped".to_owned()),
    }
}
