//! The facts on one screen: at most 40 lines of at most 100 columns. The rest is in the JSON.

use super::facts::{EventFacts, Facts, Gaps};
use crate::tables::thousands;
use std::fmt::Write;

const COLUMNS: usize = 100;
const LINES: usize = 40;
/// Rows of a list before it is cut.
const EVENTS: usize = 6;
const IMAGES: usize = 4;
const NAMESPACES: usize = 3;
const GAPS: usize = 4;
const DAMAGE: usize = 3;
/// Processes named in a row.
const PIDS: usize = 8;

/// The screen.
pub fn page(facts: &Facts) -> String {
    let mut page = Page::default();
    recording(&mut page, facts);
    events(&mut page, facts);
    extent(&mut page, facts);
    images(&mut page, facts);
    losses(&mut page, facts);
    answers(&mut page, facts);
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
    lines: usize,
}

impl Page {
    fn line(&mut self, label: &str, text: &str) {
        if self.lines < LINES {
            let line: String = format!("{label:<11} {text}")
                .chars()
                .map(|c| if c.is_control() { '\u{fffd}' } else { c })
                .collect();
            self.text.push_str(&fit(line.trim_end(), COLUMNS));
            self.text.push('\n');
            self.lines += 1;
        }
    }

    /// The first rows of a list, and how many more there are.
    fn list<T>(&mut self, label: &str, rows: &[T], most: usize, show: impl Fn(&T) -> String) {
        for (i, row) in rows.iter().take(most).enumerate() {
            self.line(if i == 0 { label } else { "" }, &show(row));
        }
        if rows.len() > most {
            let more = thousands((rows.len() - most) as u64);
            self.line("", &format!("and {more} more"));
        }
    }
}

fn fit(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(columns - 3).collect();
    cut.push_str("...");
    cut
}

fn recording(page: &mut Page, facts: &Facts) {
    let packed = if facts.compressed { ", zstd" } else { "" };
    page.line(
        "recording",
        &format!(
            "{} ({} bytes, {}, {} endian{packed})",
            facts.recording,
            thousands(facts.file_size),
            facts.container,
            facts.byte_order,
        ),
    );
    let machine: Vec<&str> = [
        &facts.cpu_desc,
        &facts.arch,
        &facts.os_release,
        &facts.hostname,
    ]
    .into_iter()
    .filter_map(|part| part.as_deref())
    .collect();
    if !machine.is_empty() {
        page.line("machine", &machine.join(", "));
    }
    if !facts.cmdline.is_empty() {
        let version = facts.perf_version.as_deref().unwrap_or("?");
        page.line(
            "command",
            &format!("{} (perf {version})", facts.cmdline.join(" ")),
        );
    }
    if let Some(modelled) = &facts.modelled {
        page.line("modelled", modelled);
    }
}

fn events(page: &mut Page, facts: &Facts) {
    let unreadable = match facts.samples_unreadable {
        0 => String::new(),
        some => format!(", {} of them unreadable", thousands(some)),
    };
    page.line(
        "samples",
        &format!(
            "{}, {} of them memory accesses{unreadable}",
            thousands(facts.samples),
            thousands(facts.accesses)
        ),
    );
    // Events with samples first; a list of many is cut.
    let mut events: Vec<&EventFacts> = facts.events.iter().collect();
    events.sort_by_key(|event| (!event.memory, event.samples == 0));
    page.list("events", &events, EVENTS, |event| {
        let memory = match event.memory {
            true => format!("memory event ({})", event.pmu),
            false => "no memory event".to_owned(),
        };
        let every = match event.freq {
            true => format!("{} Hz", event.sample_period),
            false => format!("period {}", event.sample_period),
        };
        format!(
            "{}: {} samples, {memory}, {every}",
            fit(&event.name, 44),
            thousands(event.samples)
        )
    });
    let mut types: Vec<String> = events
        .iter()
        .map(|event| event.sample_type.join("|"))
        .collect();
    types.dedup();
    page.list("sample_type", &types, 2, String::clone);
}

fn extent(page: &mut Page, facts: &Facts) {
    if let Some(time) = &facts.time {
        let clock = match &time.clock {
            Some(clock) => format!(", clock {clock}"),
            None => String::new(),
        };
        page.line(
            "time",
            &format!(
                "{}.{:09} s, from {}.{:09} to {}.{:09}{clock}",
                time.span_ns / 1_000_000_000,
                time.span_ns % 1_000_000_000,
                time.first_ns / 1_000_000_000,
                time.first_ns % 1_000_000_000,
                time.last_ns / 1_000_000_000,
                time.last_ns % 1_000_000_000,
            ),
        );
    }
    let mut cpus = match &facts.cpus.sampled {
        Some(sampled) => format!("samples on {}: {}", sampled.len(), ranges(sampled)),
        None => "not sampled".to_owned(),
    };
    if let Some(online) = facts.cpus.online {
        let _ = write!(cpus, "; {online} online");
    }
    page.line("CPUs", &cpus);
    let nodes = facts.cpus.nodes.iter();
    let nodes = nodes.map(|node| match node.cpus.0.is_empty() {
        true => format!("{} without CPUs", node.number),
        false => format!("{} with CPUs {}", node.number, node.cpus),
    });
    let nodes: Vec<String> = nodes.collect();
    page.line(
        "NUMA nodes",
        &match nodes.is_empty() {
            true => "unknown".to_owned(),
            false => nodes.join("; "),
        },
    );
    page.line(
        "processes",
        &format!(
            "{} with {} threads",
            thousands(facts.processes),
            thousands(facts.threads)
        ),
    );
    for kind in ["mnt", "pid"] {
        let of_kind: Vec<_> = facts.namespaces.iter().filter(|n| n.kind == kind).collect();
        // All in one is the plain case.
        if of_kind.len() > 1 {
            page.list(&format!("{kind} spaces"), &of_kind, NAMESPACES, |n| {
                let pids: Vec<String> = n.pids.iter().take(PIDS).map(i32::to_string).collect();
                let more = if n.pids.len() > PIDS { ", ..." } else { "" };
                format!("{}: pid {}{more}", n.inode, pids.join(", "))
            });
        }
    }
    if facts.aux.chunks != 0 {
        page.line(
            "AUX data",
            &format!(
                "{} bytes in {} pieces ({})",
                thousands(facts.aux.bytes),
                thousands(facts.aux.chunks),
                facts.aux.kinds.join(", ")
            ),
        );
    }
}

/// Ascending numbers as `0-3,8`.
fn ranges(numbers: &[u16]) -> String {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let runs = runs.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    runs.collect::<Vec<_>>().join(",")
}

fn images(page: &mut Page, facts: &Facts) {
    page.line(
        "mappings",
        &format!(
            "{}, of {} files, {} of them with a build id",
            thousands(facts.mappings),
            thousands(facts.images.len() as u64),
            thousands(facts.build_ids)
        ),
    );
    page.list("", &facts.images, IMAGES, |image| {
        let build_id = image.build_id.as_deref().unwrap_or("no build id");
        format!("{build_id:<40} {}", image.path)
    });
}

fn losses(page: &mut Page, facts: &Facts) {
    if facts.gaps.is_empty() {
        page.line("gaps", "none told of");
    }
    page.list("gaps", &facts.gaps, GAPS, |gaps: &Gaps| match gaps.lost {
        0 => format!("{}: {} records", gaps.kind, thousands(gaps.records)),
        lost => format!(
            "{}: {} records, {} lost",
            gaps.kind,
            thousands(gaps.records),
            thousands(lost)
        ),
    });
    if facts.damage.is_empty() {
        page.line("damage", "none");
    }
    page.list("damage", &facts.damage, DAMAGE, |damage| {
        format!("byte {}: {}", damage.offset, damage.rule)
    });
}

fn answers(page: &mut Page, facts: &Facts) {
    for (answered, label) in [(true, "can tell"), (false, "cannot tell")] {
        // Questions with one and the same answer stand in one row.
        let mut rows: Vec<(String, &str)> = Vec::new();
        for answer in facts.answers.iter().filter(|a| a.answered == answered) {
            match rows
                .iter_mut()
                .find(|(_, because)| *because == answer.because)
            {
                Some((questions, _)) => {
                    questions.push_str(", ");
                    questions.push_str(answer.question);
                }
                None => rows.push((answer.question.to_owned(), &answer.because)),
            }
        }
        page.list(label, &rows, rows.len(), |(questions, because)| {
            format!("{questions}: {because}")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_a_range() {
        assert_eq!(ranges(&[0, 1, 2, 3, 8, 10, 11]), "0-3,8,10-11");
        assert_eq!(ranges(&[u16::MAX]), "65535");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        assert_eq!(fit("abcdefgh", 8), "abcdefgh");
        assert_eq!(fit("abcdefghi", 8), "abcde...");
    }
}
