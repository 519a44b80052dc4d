//! The first screen: what was recorded, how far it can be trusted, and what stands out.

use super::ReportError;
use super::charts::CHARTS;
use super::colour;
use super::data::Data;
use super::fields;
use super::html::Html;
use super::number::{bytes, count, duration, percent};
use super::svg::Drawing;
use super::table::{Cell, Head, Row, Table};
use crate::recording::{Event, GapKind, Memory};
use crate::tables::{Binary, LEAST, Severity};

/// More findings than this are not read.
const FINDINGS: usize = 7;

pub fn write(html: &mut Html, data: &Data) -> Result<(), ReportError> {
    alarms(html, data);
    html.open("div", &[("class", "columns")]);
    html.open(
        "section",
        &[("id", "recorded"), ("aria-labelledby", "recorded-title")],
    );
    html.leaf("h2", &[("id", "recorded-title")], "What was recorded");
    recorded(html, data);
    html.close("section");
    html.open(
        "section",
        &[("id", "funnel"), ("aria-labelledby", "funnel-title")],
    );
    html.leaf("h2", &[("id", "funnel-title")], "How much of it is placed");
    funnel(html, data)?;
    html.close("section").close("div");
    findings(html, data);
    events(html, data);
    binaries(html, data);
    notes(html, data);
    Ok(())
}

fn alarms(html: &mut Html, data: &Data) {
    let mut texts: Vec<&str> = Vec::new();
    for caveat in data
        .summary
        .caveats
        .iter()
        .filter(|c| c.severity == Severity::Alarm)
    {
        texts.push(&caveat.text);
    }
    let modelled = data.summary.meta.modelled.as_deref();
    let modelled =
        modelled.map(|how| format!("levels or latencies are modelled, not measured: {how}"));
    let told = data
        .summary
        .caveats
        .iter()
        .any(|c| c.text.to_lowercase().contains("model"));
    texts.extend(modelled.as_deref().filter(|_| !told));
    if texts.is_empty() {
        return;
    }
    html.open(
        "div",
        &[("class", "alarm"), ("role", "alert"), ("id", "alarms")],
    );
    html.leaf("strong", &[], "Read this first");
    html.open("ul", &[]);
    for text in texts {
        html.leaf("li", &[], text);
    }
    html.close("ul").close("div");
}

fn recorded(html: &mut Html, data: &Data) {
    let meta = &data.summary.meta;
    let go: Vec<String> = data
        .summary
        .binaries
        .iter()
        .filter_map(|b| {
            let version = &b.go.as_ref()?.version;
            Some(match &b.build_id {
                Some(id) => format!("{version}, build id {id}"),
                None => version.clone(),
            })
        })
        .collect();
    let samples: u64 = data
        .summary
        .events
        .iter()
        .fold(0, |sum: u64, e| sum.saturating_add(e.samples));
    let lost: u64 = data
        .summary
        .gaps
        .iter()
        .fold(0, |sum: u64, g| sum.saturating_add(g.lost));
    let throttled = data
        .summary
        .gaps
        .iter()
        .filter(|g| g.kind == GapKind::Throttle)
        .count();
    let samples = match data.summary.time_ns {
        Some((first, last)) => format!(
            "{} in {}",
            count(samples),
            duration(last.saturating_sub(first))
        ),
        None => format!("{}, without times", count(samples)),
    };
    let cpus = meta.cpus_online.map(|online| match meta.cpus_available {
        Some(all) if all != online => format!("{online} online of {all}"),
        _ => format!("{online} online"),
    });
    let memory = meta
        .total_memory_kb
        .map(|kb| format!("{} of memory", bytes(kb.saturating_mul(1024))));
    let cpu = match (&meta.cpu_desc, &meta.cpuid) {
        (Some(desc), Some(id)) => Some(format!("{desc} ({id})")),
        (desc, id) => desc.clone().or_else(|| id.clone()),
    };
    let kernel = meta.os_release.as_ref().map(|v| format!("kernel {v}"));
    let perf = meta.perf_version.as_ref().map(|v| format!("perf {v}"));
    let command = (!meta.cmdline.is_empty()).then(|| meta.cmdline.join(" "));
    let gaps = match data.summary.gaps.len() {
        0 => "none reported".to_owned(),
        n => format!(
            "{} gaps, {} records lost, throttled {} times",
            count(n as u64),
            count(lost),
            count(throttled as u64)
        ),
    };
    let file = format!("{} ({})", data.summary.recording, bytes(meta.file_size));
    let go = match go.is_empty() {
        true => vec!["no Go binary was read".to_owned()],
        false => go,
    };
    html.open("dl", &[]);
    let mut pair = |name: &str, values: Vec<String>| {
        html.leaf("dt", &[], name);
        if values.is_empty() {
            html.open("dd", &[])
                .leaf("span", &[("class", "absent")], "not recorded")
                .close("dd");
        }
        for value in values {
            html.leaf("dd", &[], &value);
        }
    };
    let told = |values: &[&Option<String>]| -> Vec<String> {
        let joined: Vec<&str> = values.iter().filter_map(|v| v.as_deref()).collect();
        let joined = joined.join(", ");
        (!joined.is_empty()).then_some(joined).into_iter().collect()
    };
    pair("Samples", vec![samples]);
    pair("Lost and gaps", vec![gaps]);
    pair("Events", data.summary.events.iter().map(how).collect());
    pair("Command", told(&[&command]));
    pair("Go", go);
    pair("Host", told(&[&meta.hostname, &kernel, &perf]));
    pair("CPU", told(&[&cpu, &cpus, &memory]));
    pair("Recording", vec![file]);
    html.close("dl");
}

/// How an event was recorded.
fn how(event: &Event) -> String {
    let mut said = format!("{}: {} samples", event.name, count(event.samples));
    if let Some(ldlat) = event.ldlat {
        said += &format!(", loads of at least {ldlat} cycles (ldlat)");
    }
    said + &format!(
        ", precise_ip {}, {}",
        event.precise_ip,
        match event.freq {
            true => period(event),
            false => format!("period {}", period(event)),
        }
    )
}

/// Events for one sample, or a frequency.
fn period(event: &Event) -> String {
    match event.freq {
        true => format!("{} Hz", count(event.sample_period)),
        false => count(event.sample_period),
    }
}

fn funnel(html: &mut Html, data: &Data) -> Result<(), ReportError> {
    const WIDTH: u64 = 110;
    let first = data.summary.funnel.first().map_or(0, |step| step.samples);
    if data.summary.funnel.is_empty() {
        html.leaf("p", &[("class", "absent")], "The tables hold no funnel.");
        return Ok(());
    }
    let mut before = first;
    let mut rows = Vec::new();
    for step in &data.summary.funnel {
        let mut bar = Drawing::new(WIDTH as u32, 12);
        let width = step
            .samples
            .saturating_mul(WIDTH)
            .checked_div(first)
            .unwrap_or(0)
            .min(WIDTH);
        let width = if step.samples > 0 { width.max(1) } else { 0 };
        bar.rect(0, 0, WIDTH as i32, 12, colour::GRID, 1.0);
        bar.rect(0, 0, width as i32, 12, (0x00, 0x72, 0xb2), 1.0);
        let title = format!("{} of {}", count(step.samples), count(first));
        let share = |of| {
            percent(step.samples, of).map_or(Cell::NotApplicable, |shown| Cell::Ranked {
                shown,
                sort: step.samples as f64,
            })
        };
        rows.push(Row::new(vec![
            Cell::Text(step.name.clone()),
            Cell::Count(step.samples),
            share(first),
            share(before),
            Cell::Drawing(bar.finish(&title, "share of the samples read")?),
        ]));
        before = step.samples;
    }
    let table = Table {
        id: "funnel-table",
        caption: "Samples that pass each step".to_owned(),
        heads: vec![
            Head {
                name: "step",
                meaning: "What a sample needs to pass",
            },
            Head {
                name: "samples",
                meaning: "Samples that pass it and all before",
            },
            Head {
                name: "of all",
                meaning: "Share of the samples read",
            },
            Head {
                name: "of the step before",
                meaning: "Share of the samples that pass the step before",
            },
            Head {
                name: "bar",
                meaning: "Share of the samples read, as a bar",
            },
        ],
        rows,
    };
    table.write(html);
    Ok(())
}

fn findings(html: &mut Html, data: &Data) {
    html.open(
        "section",
        &[("id", "findings"), ("aria-labelledby", "findings-title")],
    );
    html.leaf("h2", &[("id", "findings-title")], "Findings");
    let findings = &data.summary.findings;
    if findings.is_empty() {
        let accesses = data.summary.overall.samples;
        let why = match accesses {
            _ if data.maps.is_empty() => {
                "None: no map was found in this recording, so nothing can stand out.".to_owned()
            }
            1 => format!("1 memory access is too few: a finding needs {LEAST} samples."),
            2..LEAST => {
                format!("{accesses} memory accesses are too few: a finding needs {LEAST} samples.")
            }
            _ => "Nothing stands out: no map or part has a share of the samples that its interval sets apart."
                .to_owned(),
        };
        html.leaf("p", &[], &why);
        html.close("section");
        return;
    }
    html.open("ol", &[("class", "findings")]);
    for finding in findings.iter().take(FINDINGS) {
        html.open("li", &[]);
        html.open("p", &[]);
        for (i, piece) in finding.text.split('`').enumerate() {
            match i % 2 {
                0 => html.text(piece),
                _ => html.leaf("code", &[], piece),
            };
        }
        html.close("p");
        html.open("p", &[("class", "facts")]);
        let (low, high) = finding.interval;
        let share = percent(finding.samples, finding.of).unwrap_or_else(|| "no samples".to_owned());
        let counts = format!("{} of {}", count(finding.samples), count(finding.of));
        if !finding.text.contains(&counts) {
            let (low, high) = (low * 100.0, high * 100.0);
            html.text(&format!(
                "{counts} samples ({share}; 95 % interval {low:.1}-{high:.1} %) · "
            ));
        }
        let unit = if data.has_latency() {
            "cycles"
        } else {
            "samples"
        };
        match finding.chart.as_str() {
            "concurrent" | "brackets" => html.text("at stake: a crash or a wrong result"),
            _ => html.text(&format!("at stake: {} {unit}", count(finding.at_stake))),
        };
        html.text(" · evidence: ")
            .text(&finding.evidence.replace('_', " "));
        if let Some(chart) = CHARTS.iter().find(|chart| chart.id() == finding.chart) {
            html.text(" · ");
            let map = one_map(data, &finding.text).map(|map| map.to_string());
            let href = format!("#{}", chart.id());
            let mut attrs = vec![("href", href.as_str())];
            attrs.extend(map.iter().map(|map| ("data-map", map.as_str())));
            html.leaf("a", &attrs, chart.title());
        }
        html.close("p").close("li");
    }
    html.close("ol");
    if findings.len() > FINDINGS {
        let n = findings.len();
        html.leaf(
            "p",
            &[],
            &format!("Shown: the first {FINDINGS} of {n} findings."),
        );
    }
    html.close("section");
}

/// The map that a sentence names first, where no other has its name: the link selects it.
fn one_map(data: &Data, text: &str) -> Option<u64> {
    let name = text.split('`').nth(1)?;
    let mut named = data.maps.iter().filter(|map| map.name == name);
    let map = named.next()?.map;
    named.next().is_none().then_some(map)
}

fn events(html: &mut Html, data: &Data) {
    if data.summary.events.is_empty() {
        return;
    }
    let rows = data.summary.events.iter().map(|event| {
        Row::new(vec![
            Cell::Code(event.name.clone()),
            Cell::Text(memory(event).to_owned()),
            Cell::Count(event.samples),
            event.ldlat.map_or(Cell::NotApplicable, Cell::Count),
            Cell::Count(u64::from(event.precise_ip)),
            Cell::Ranked {
                shown: period(event),
                sort: event.sample_period as f64,
            },
            Cell::Text(if event.exclude_kernel { "no" } else { "yes" }.to_owned()),
        ])
    });
    Table {
        id: "events-table",
        caption: "Events".to_owned(),
        heads: vec![
            Head {
                name: "event",
                meaning: "Name of the event",
            },
            Head {
                name: "kind",
                meaning: "What its addresses and data_src are worth",
            },
            Head {
                name: "samples",
                meaning: "Samples of the event",
            },
            Head {
                name: "ldlat",
                meaning: "Loads below this many cycles are not in the recording",
            },
            Head {
                name: "precise_ip",
                meaning: "0 arbitrary skid, 1 constant, 2 requested zero, 3 zero",
            },
            Head {
                name: "period",
                meaning: "Events for one sample, or a frequency",
            },
            Head {
                name: "kernel",
                meaning: "Whether the kernel was sampled",
            },
        ],
        rows: rows.collect(),
    }
    .write(html);
    fields::write(html, &data.summary.events);
}

fn memory(event: &Event) -> &'static str {
    match event.memory {
        Memory::No => "not a memory event",
        Memory::Decoy => "data_src is n/a in every sample",
        Memory::Sampled => "sampled accesses",
        Memory::Breakpoint => "breakpoint: every access",
        Memory::PageFault => "page faults",
        Memory::Auxiliary => "helper of another event",
    }
}

fn binaries(html: &mut Html, data: &Data) {
    if data.summary.binaries.is_empty() {
        return;
    }
    let rows = data.summary.binaries.iter().take(50).map(|b: &Binary| {
        let found = match &b.found {
            Ok(path) if b.forced => format!("forced: {path}"),
            Ok(path) => path.clone(),
            Err(why) => format!("not read: {why}"),
        };
        let go =
            b.go.as_ref()
                .map_or(Cell::NotApplicable, |go| Cell::Text(go.version.clone()));
        Row::new(vec![
            Cell::Code(b.path.clone()),
            Cell::Text(found),
            Cell::code(&b.build_id),
            go,
            Cell::Text(
                if b.stripped {
                    "stripped"
                } else {
                    "with symbols"
                }
                .to_owned(),
            ),
            Cell::Count(b.samples),
        ])
    });
    let n = data.summary.binaries.len();
    Table {
        id: "binaries-table",
        caption: match n {
            0..=50 => "Binaries".to_owned(),
            n => format!("Binaries: the first 50 of {}", count(n as u64)),
        },
        heads: vec![
            Head {
                name: "as recorded",
                meaning: "Path in the recording",
            },
            Head {
                name: "found",
                meaning: "Where it was found, or why not",
            },
            Head {
                name: "build id",
                meaning: "GNU build id, else Go's",
            },
            Head {
                name: "Go",
                meaning: "Version of Go that built it",
            },
            Head {
                name: "symbols",
                meaning: "Whether the ELF symbols are there",
            },
            Head {
                name: "samples",
                meaning: "Samples with an instruction in it",
            },
        ],
        rows: rows.collect(),
    }
    .write(html);
}

fn notes(html: &mut Html, data: &Data) {
    let notes: Vec<_> = data
        .summary
        .caveats
        .iter()
        .filter(|c| c.severity == Severity::Note)
        .collect();
    if notes.is_empty() {
        return;
    }
    html.open(
        "section",
        &[("id", "caveats"), ("aria-labelledby", "caveats-title")],
    );
    html.leaf("h2", &[("id", "caveats-title")], "Caveats");
    html.open("ul", &[("class", "notes")]);
    for note in notes {
        html.leaf("li", &[], &note.text);
    }
    html.close("ul").close("section");
}
