//! `mempath doctor`: what this machine can record; with a perf.data, what that one lacks.

use super::alive::own_mount;
use super::info::{Answer, Facts};
use crate::record::doctor::{Diagnosis, Finding, State, diagnose};
use crate::record::limits::Limits;
use crate::record::machine::Machine;
use crate::recording::{self, Memory, Recording};
use crate::terminal::Style;
use anyhow::Context;
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug)]
pub struct Options {
    /// A recording to look at instead of the machine.
    pub perf_data: Option<PathBuf>,
    pub format: Style,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match &options.perf_data {
        None => {
            let diagnosis = diagnose(&Machine::here(), &Limits::here());
            match options.format {
                Style::Json => serde_json::to_writer_pretty(&mut out, &diagnosis)?,
                Style::Text => out.write_all(machine_page(&diagnosis).as_bytes())?,
            }
        }
        Some(path) => {
            let recording = recording::read(path)
                .with_context(|| format!("could not read '{}'", path.display()))?;
            let checkup = Checkup::of(&recording);
            match options.format {
                Style::Json => serde_json::to_writer_pretty(&mut out, &checkup)?,
                Style::Text => out.write_all(recording_page(&checkup).as_bytes())?,
            }
        }
    }
    if let Style::Json = options.format {
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn machine_page(diagnosis: &Diagnosis) -> String {
    let hypervisor = diagnosis.hypervisor.as_ref();
    let hypervisor = hypervisor.map_or(String::new(), |name| format!(", virtual ({name})"));
    let mut page = format!(
        "machine  {}, {}, Linux {}{hypervisor}\n",
        diagnosis.processor, diagnosis.arch, diagnosis.kernel
    );
    page += &match diagnosis
        .engines
        .iter()
        .find(|v| Some(v.engine) == diagnosis.engine)
    {
        Some(best) => format!(
            "take     {}: {}\n         {}\n",
            best.engine, best.shows, best.command
        ),
        None => "take     no engine works here; see below what would help\n".to_owned(),
    };
    page += "\nengines\n";
    for verdict in &diagnosis.engines {
        let mark = if verdict.works { "yes" } else { "no " };
        page += &format!("  {mark} {:<8} {}\n", verdict.engine, verdict.because);
        if verdict.works {
            page += &format!("      {:<8} costs: {}\n", "", verdict.costs);
        } else {
            page += &format!("      {:<8} needs: {}\n", "", verdict.needs);
        }
    }
    page += "\nfound\n";
    for finding in &diagnosis.findings {
        page += &line(finding);
    }
    page
}

fn line(finding: &Finding) -> String {
    let mark = match finding.state {
        State::Fine => "yes",
        State::Limited => "~  ",
        State::Missing => "no ",
    };
    let mut line = format!(
        "  {mark} {:<20} {}: {}\n",
        finding.id, finding.value, finding.means
    );
    if let Some(help) = &finding.help {
        line += &format!("      {:<20} -> {help}\n", "");
    }
    line
}

/// What a recording lacks.
#[derive(Debug, Clone, Serialize)]
struct Checkup {
    schema: u32,
    recording: String,
    modelled: Option<String>,
    samples: u64,
    accesses: u64,
    answered: Vec<&'static str>,
    lacks: Vec<Lack>,
}

/// A question that a recording leaves open, and how one is made that does not.
#[derive(Debug, Clone, Serialize)]
struct Lack {
    id: &'static str,
    question: String,
    because: String,
    remedy: String,
}

impl Checkup {
    fn of(recording: &Recording) -> Checkup {
        let facts = Facts::of(recording);
        let (answered, open): (Vec<&Answer>, Vec<&Answer>) =
            facts.answers.iter().partition(|answer| answer.answered);
        let lack = |answer: &&Answer| Lack {
            id: answer.id,
            question: answer.question.to_owned(),
            because: answer.because.clone(),
            remedy: remedy(answer.id, recording),
        };
        let mut lacks: Vec<Lack> = open.iter().map(lack).collect();
        let lost: u64 = recording.gaps.iter().map(|gap| gap.lost).sum();
        if lost != 0 {
            lacks.push(Lack {
                id: "lost",
                question: "what happened in the gaps".to_owned(),
                because: format!("{lost} records found no room in the ring buffers"),
                remedy:
                    "larger rings (--mmap-pages 1024; perf: -m 1024), or fewer samples (-c, -F)"
                        .to_owned(),
            });
        }
        lacks.extend(elsewhere(recording));
        lacks.extend(recording.damage.iter().take(3).map(|damage| Lack {
            id: "damage",
            question: "what stood in the damaged part".to_owned(),
            because: format!("byte {}: {}", damage.offset, damage.rule),
            remedy:
                "let the recorder end by itself or by Ctrl-C, and copy the file whole".to_owned(),
        }));
        Checkup {
            schema: 1,
            recording: facts.recording.clone(),
            modelled: facts.modelled.clone(),
            samples: facts.samples,
            accesses: facts.accesses,
            answered: answered.iter().map(|answer| answer.question).collect(),
            lacks,
        }
    }
}

/// Processes with samples that saw other files under their paths than there are here.
fn elsewhere(recording: &Recording) -> Option<Lack> {
    let own = own_mount();
    let threads = recording.samples.thread.values.iter();
    let pids: BTreeSet<i32> = threads.map(|&(pid, _)| pid).collect();
    let mount = |pid: &i32| {
        Some((
            recording.space.namespaces.of(*pid, u64::MAX)?.mount()?,
            *pid,
        ))
    };
    let others = pids.iter().filter_map(mount);
    let others = others.filter(|(mount, _)| Some(*mount) != own);
    let shown: Vec<String> = others
        .map(|(mount, pid)| format!("pid {pid} of mount namespace {mount}"))
        .take(4)
        .collect();
    (!shown.is_empty()).then(|| Lack {
        id: "namespaces",
        question: "which files the paths of other mount namespaces are".to_owned(),
        because: format!("{} saw files of its own", shown.join(", ")),
        remedy: "analyze as root while the process runs, or with --binary PATH or --symfs ROOT"
            .to_owned(),
    })
}

/// How a recording is made that answers a question this one leaves open.
fn remedy(id: &str, recording: &Recording) -> String {
    let has = |kind: Memory| {
        let mut events = recording.events.iter();
        events.any(|event| event.memory == kind && event.samples != 0)
    };
    let pmu =
        "mempath record on a machine where mempath doctor finds a PMU (perf: perf mem record)";
    let sampled = has(Memory::Sampled);
    let ibs = recording
        .events
        .iter()
        .any(|event| event.name.contains("ibs"));
    match id {
        "place" => recording
            .refusal()
            .map_or(pmu.to_owned(), |refusal| refusal.command),
        "registers" if ibs => {
            "none on AMD: the registers of IBS are from a little later than the access".to_owned()
        }
        "registers" => "mempath record samples them (perf: --intr-regs)".to_owned(),
        "callers" => "mempath record samples them (perf: -g; Go keeps frame pointers)".to_owned(),
        "order" => "perf record -T; mempath record always has the time".to_owned(),
        "code" => {
            "a precise event, cpu/mem-loads/P instead of cpu/mem-loads/; mempath record takes it"
                .to_owned()
        }
        "fast_loads"
            if recording
                .events
                .iter()
                .any(|e| e.ldlat.is_some_and(|at| at <= 3)) =>
        {
            "nothing: fewer than 3 cycles are not asked of PEBS".to_owned()
        }
        "fast_loads" => "mempath record --ldlat 3 (perf: cpu/mem-loads,ldlat=3/P)".to_owned(),
        "level" | "latency" if sampled => {
            "perf record -d -W, or mempath record, which always has both".to_owned()
        }
        "stores" if sampled => {
            "perf record -e cpu/mem-stores/P beside the loads; mempath record takes both".to_owned()
        }
        "loads" if sampled => {
            "perf record -e cpu/mem-loads,ldlat=30/P beside the stores".to_owned()
        }
        "loads" | "stores" if has(Memory::Breakpoint) => {
            "nothing: the instruction before ip tells, and analyze looks at it".to_owned()
        }
        _ => format!("{pmu}; modelled: mempath step"),
    }
}

fn recording_page(checkup: &Checkup) -> String {
    let mut page = format!(
        "recording  {}: {} samples, {} of them memory accesses\n",
        checkup.recording, checkup.samples, checkup.accesses
    );
    if let Some(modelled) = &checkup.modelled {
        page += &format!("modelled   {modelled}\n");
    }
    for question in &checkup.answered {
        page += &format!("  yes {question}\n");
    }
    for lack in &checkup.lacks {
        page += &format!(
            "  no  {}: {}\n      -> {}\n",
            lack.question, lack.because, lack.remedy
        );
    }
    page
}
