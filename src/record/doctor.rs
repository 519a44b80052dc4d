//! What this machine can record for this user, what is missing, and what would help.

use super::counter::fit;
use super::engines::{self, Verdict, breakpoints};
use super::event::Event;
use super::limits::Limits;
use super::machine::Machine;
use super::target::{CAP_IPC_LOCK, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE};
use serde::Serialize;

/// All that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    pub schema: u32,
    pub processor: String,
    pub arch: String,
    pub kernel: String,
    /// Its name; `None` on bare metal.
    pub hypervisor: Option<String>,
    /// The engine to take; `None` where none works.
    pub engine: Option<&'static str>,
    pub engines: Vec<Verdict>,
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Stable name, for programs.
    pub id: &'static str,
    pub value: String,
    pub state: State,
    /// What follows from it.
    pub means: String,
    /// The command or setting that would help, and what it would give.
    pub help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Fine,
    /// It works, with less.
    Limited,
    Missing,
}

/// Judges what was found of a machine and of what its kernel allows; fields and breakpoints are tried
/// here. Needs no rights: what root would give is said, not tried.
pub fn diagnose(machine: &Machine, limits: &Limits) -> Diagnosis {
    let engines = engines::verdicts(machine, limits);
    let engine = engines.iter().find(|verdict| verdict.works);
    Diagnosis {
        schema: 1,
        processor: machine.cpu_desc.clone(),
        arch: machine.arch.clone(),
        kernel: machine.release.clone(),
        hypervisor: machine.hypervisor.clone(),
        engine: engine.map(|verdict| verdict.engine),
        findings: vec![
            pmus(machine),
            level(limits),
            capabilities(limits),
            fields(),
            debug_registers(),
            tracing(limits),
            locked_memory(limits),
            kernel_symbols(limits),
            clock(limits),
            processors(machine, limits),
        ],
        engines,
    }
}

fn finding(
    id: &'static str,
    value: impl Into<String>,
    state: State,
    means: impl Into<String>,
    help: Option<&str>,
) -> Finding {
    Finding {
        id,
        value: value.into(),
        state,
        means: means.into(),
        help: help.map(str::to_owned),
    }
}

fn pmus(machine: &Machine) -> Finding {
    let names: Vec<&str> = machine.pmus.iter().map(|pmu| pmu.name.as_str()).collect();
    let memory = |name: &str, event: &str| {
        ["ibs_op", "arm_spe"]
            .iter()
            .any(|pmu| name.starts_with(pmu))
            || event == "mem-loads"
    };
    let able: Vec<String> = (machine.pmus.iter())
        .filter(|pmu| {
            let mut events = pmu.events.iter();
            memory(&pmu.name, "") || events.any(|(event, _)| memory("", event))
        })
        .map(|pmu| {
            let caps: Vec<String> = pmu.caps.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let ldlat = pmu.format("ldlat").map(|bits| format!("ldlat in {bits}"));
            let more: Vec<String> = caps.into_iter().chain(ldlat).collect();
            format!("{} ({})", pmu.name, more.join(", "))
        })
        .collect();
    if able.is_empty() {
        let help = match machine.hypervisor.is_some() {
            true => {
                "rent a bare-metal machine (or an instance type that passes the PMU on) for levels \
                     and latencies as hardware sees them"
            }
            false => "see dmesg | grep -i -e perf -e pmu for why the kernel has none",
        };
        let means = super::pmu::missing(machine);
        return finding("pmu", names.join(", "), State::Missing, means, Some(help));
    }
    let means = format!("these sample memory accesses: {}", able.join(", "));
    finding("pmu", names.join(", "), State::Fine, means, None)
}

fn level(limits: &Limits) -> Finding {
    let id = "perf_event_paranoid";
    let root = limits.capable(CAP_PERFMON) || limits.capable(CAP_SYS_ADMIN);
    let help = "sysctl kernel.perf_event_paranoid=1 adds what the kernel does for you, and physical addresses";
    match limits.paranoid {
        None => finding(
            id,
            "absent",
            State::Missing,
            "the kernel has no perf events, or they are hidden here",
            Some("record outside of the container, or with a kernel built with CONFIG_PERF_EVENTS"),
        ),
        Some(level) if root => finding(
            id,
            level.to_string(),
            State::Fine,
            "does not bind mempath, which has CAP_PERFMON or CAP_SYS_ADMIN",
            None,
        ),
        Some(level) if level <= 1 => finding(
            id,
            level.to_string(),
            State::Fine,
            "own processes are recorded, the kernel's part and physical addresses with them",
            None,
        ),
        Some(level) if level == 2 || limits.opens => finding(
            id,
            level.to_string(),
            State::Limited,
            "own processes are recorded, without what the kernel does for them and without physical \
             addresses; IBS, which cannot leave the kernel out, is refused",
            Some(help),
        ),
        Some(level) => finding(
            id,
            level.to_string(),
            State::Missing,
            "nothing can be recorded without CAP_PERFMON (Debian's and Ubuntu's kernels know levels 3 and 4)",
            Some("sysctl kernel.perf_event_paranoid=2, or run mempath as root"),
        ),
    }
}

fn capabilities(limits: &Limits) -> Finding {
    let known = [
        ("CAP_PERFMON", CAP_PERFMON),
        ("CAP_SYS_PTRACE", CAP_SYS_PTRACE),
        ("CAP_IPC_LOCK", CAP_IPC_LOCK),
        ("CAP_SYS_ADMIN", CAP_SYS_ADMIN),
    ];
    let (has, lacks): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|&(_, cap)| limits.capable(cap));
    let names = |list: &[(&str, u32)]| {
        let names: Vec<&str> = list.iter().map(|(name, _)| *name).collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let id = "capabilities";
    if lacks.is_empty() {
        return finding(
            id,
            names(&has),
            State::Fine,
            "every user's processes can be recorded, kernel and physical addresses included",
            None,
        );
    }
    let means = format!(
        "own processes only; lacks {}: the processes of others stay closed",
        names(&lacks)
    );
    let help = "run mempath as root, or: setcap cap_perfmon,cap_sys_ptrace,cap_ipc_lock+ep mempath";
    finding(id, names(&has), State::Limited, means, Some(help))
}

fn fields() -> Finding {
    let id = "fields";
    let mut event = Event::plain();
    match fit(&mut event, None) {
        Ok(given_up) if given_up.is_empty() => finding(
            id,
            "all",
            State::Fine,
            "registers, call chains, page sizes and physical addresses are sampled",
            None,
        ),
        Ok(given_up) => finding(
            id,
            format!("without {}", given_up.join(", ")),
            State::Limited,
            "the kernel refuses these here; recordings are made without them",
            Some("root has all that the kernel knows (Linux 6.0 knows all)"),
        ),
        Err(error) => finding(id, "none", State::Missing, error.to_string(), None),
    }
}

fn debug_registers() -> Finding {
    let id = "breakpoints";
    let (number, error) = breakpoints();
    let value = number.to_string();
    match (number, error) {
        (0, error) => {
            let why = error.map_or_else(String::new, |error| error.to_string());
            let means = format!("the kernel or the hypervisor has none for us ({why})");
            finding(id, value, State::Missing, means, None)
        }
        (1..4, _) => finding(
            id,
            value,
            State::Limited,
            "a debugger or another watcher holds the others",
            Some("end it to watch four words"),
        ),
        _ => finding(
            id,
            value,
            State::Fine,
            "as many words can be watched, each access to them in order",
            None,
        ),
    }
}

fn tracing(limits: &Limits) -> Finding {
    let id = "ptrace_scope";
    let free = limits.capable(CAP_SYS_PTRACE);
    match limits.ptrace_scope {
        None | Some(0) => finding(
            id,
            limits
                .ptrace_scope
                .map_or("absent".to_owned(), |scope| scope.to_string()),
            State::Fine,
            "own processes can be traced",
            None,
        ),
        Some(scope @ (1 | 2)) if free => finding(
            id,
            scope.to_string(),
            State::Fine,
            "does not bind mempath, which has CAP_SYS_PTRACE",
            None,
        ),
        Some(1) => finding(
            id,
            "1",
            State::Limited,
            "only programs that mempath starts can be traced: snapshots and step -p are refused",
            Some("sysctl kernel.yama.ptrace_scope=0, or run mempath as root"),
        ),
        Some(scope) => finding(
            id,
            scope.to_string(),
            State::Missing,
            "nothing can be traced",
            Some("run mempath as root; level 3 lasts until a reboot"),
        ),
    }
}

fn locked_memory(limits: &Limits) -> Finding {
    let kib = limits.mlock_kib;
    let id = "perf_event_mlock_kb";
    let (state, means, help) = if limits.capable(CAP_IPC_LOCK) {
        (
            State::Fine,
            "does not bind mempath, which has CAP_IPC_LOCK",
            None,
        )
    } else if kib >= 516 {
        (State::Fine, "a ring buffer of 512 KiB for each CPU", None)
    } else {
        (
            State::Limited,
            "ring buffers must be smaller: more is lost where much happens",
            Some("sysctl kernel.perf_event_mlock_kb=516"),
        )
    };
    finding(id, kib.to_string(), state, means, help)
}

fn kernel_symbols(limits: &Limits) -> Finding {
    // `kallsyms_show_value`, kernel/ksyms_common.c: with 0 the level of perf events decides.
    let help = match limits.kptr_restrict.as_str() {
        "0" => "sysctl kernel.perf_event_paranoid=1, or run mempath as root",
        _ => "sysctl kernel.kptr_restrict=0, or run mempath as root",
    };
    let (state, means, help) = match limits.kernel_hidden {
        false => (State::Fine, "functions of the kernel have names", None),
        true => (
            State::Limited,
            "functions of the kernel stay without names; maps do not need them",
            Some(help),
        ),
    };
    finding(
        "kptr_restrict",
        limits.kptr_restrict.clone(),
        state,
        means,
        help,
    )
}

fn clock(limits: &Limits) -> Finding {
    let (state, means) = match limits.clock.as_str() {
        "tsc" | "arch_sys_counter" | "kvm-clock" => (
            State::Fine,
            "samples carry CLOCK_MONOTONIC: a Go execution trace can be laid over them",
        ),
        _ => (
            State::Limited,
            "samples carry CLOCK_MONOTONIC, from a slow clock: each costs more",
        ),
    };
    finding("clock", limits.clock.clone(), state, means, None)
}

fn processors(machine: &Machine, limits: &Limits) -> Finding {
    let cpus = format!(
        "{} of {} online",
        machine.cpus_online, machine.cpus_available
    );
    let (state, means, help) = match limits.watchdog {
        true => (
            State::Limited,
            "the NMI watchdog holds one counter of the PMU",
            Some("sysctl kernel.nmi_watchdog=0"),
        ),
        false => (State::Fine, "no NMI watchdog holds a counter", None),
    };
    finding("cpus", cpus, state, means, help)
}
