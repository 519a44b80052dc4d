//! The summary on a terminal: at most 40 lines of at most 100 columns. What has no room is in the
//! report.

use crate::export::digest::{Digest, HEADS, Map, Measures};
use crate::recording::Memory;
use crate::tables::{Severity, Summary, percent, thousands};
use std::io::{self, IsTerminal, Write};

/// How the summary is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Text,
    Json,
}

/// How the summary of an analysis is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SummaryStyle {
    Text,
    Json,
    Markdown,
}

/// Whether the text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set (no-color.org).
    Auto,
    Always,
    Never,
}

const COLUMNS: usize = 100;
const LINES: usize = 40;
/// Lines of caveats.
const CAVEATS: usize = 6;
const MAPS: usize = 4;
const NAME: usize = 36;

/// Prints the summary on stdout.
pub fn print(digest: &Digest, style: SummaryStyle, colour: Colour) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match style {
        SummaryStyle::Json => {
            serde_json::to_writer_pretty(&mut out, digest)?;
            out.write_all(b"\n")?;
        }
        SummaryStyle::Markdown => {
            out.write_all(crate::export::markdown::text(digest).as_bytes())?
        }
        SummaryStyle::Text => out.write_all(text(digest, colour.wanted()).as_bytes())?,
    }
    out.flush()
}

impl Colour {
    fn wanted(self) -> bool {
        match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                // An empty NO_COLOR does not count.
                let no = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                !no && io::stdout().is_terminal()
            }
        }
    }
}

/// The summary as text.
pub fn text(digest: &Digest, colour: bool) -> String {
    let mut page = Page {
        text: String::new(),
        colour,
    };
    let summary = &digest.summary;
    recorded(&mut page, summary);
    caveats(&mut page, summary);
    funnel(&mut page, summary);
    maps(&mut page, digest);
    stages(&mut page, digest);
    findings(&mut page, summary);
    if let Some(report) = &digest.report {
        page.line("", &format!("report: {report}"));
    }
    page.text
}

const BOLD: &str = "1";
const RED: &str = "1;31";
const DIM: &str = "2";

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    /// One line, cut at [`COLUMNS`]; `style` is the parameter of an SGR sequence.
    fn line(&mut self, style: &str, line: &str) {
        let line = fit(line, COLUMNS);
        let line = line.trim_end();
        if self.colour && !style.is_empty() && !line.is_empty() {
            self.text.push_str(&format!("\x1b[{style}m{line}\x1b[0m\n"));
        } else {
            self.text.push_str(line);
            self.text.push('\n');
        }
    }

    fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// A sentence over at most `most` lines.
    fn sentence(&mut self, style: &str, first: &str, sentence: &str, most: usize) {
        let width = COLUMNS - first.len();
        let mut lines = wrap(sentence, width);
        if lines.len() > most {
            lines.truncate(most);
            if let Some(last) = lines.last_mut() {
                *last = fit(&format!("{last} ..."), width);
            }
        }
        for (i, line) in lines.iter().enumerate() {
            let start = if i == 0 {
                first.to_owned()
            } else {
                " ".repeat(first.len())
            };
            self.line(style, &format!("{start}{line}"));
        }
    }
}

fn recorded(page: &mut Page, summary: &Summary) {
    let seconds = summary.time_ns.map_or(String::new(), |(first, last)| {
        format!(" over {:.3} s", last.saturating_sub(first) as f64 / 1e9)
    });
    let read = summary.funnel.first().map_or(0, |step| step.samples);
    page.line(
        BOLD,
        &format!(
            "{}: {} samples{seconds}",
            printable(&summary.recording),
            thousands(read)
        ),
    );
    let memory = summary.events.iter().filter(|e| e.memory != Memory::No);
    let events: Vec<String> = memory
        .map(|e| format!("{} {}", thousands(e.samples), printable(&e.name)))
        .collect();
    page.line("", &format!("events: {}", events.join(", ")));
    let meta = &summary.meta;
    let machine: Vec<String> = [&meta.hostname, &meta.cpu_desc, &meta.os_release]
        .into_iter()
        .flatten()
        .map(|fact| printable(fact))
        .collect();
    if !machine.is_empty() {
        page.line("", &format!("on: {}", machine.join(", ")));
    }
    let mut binaries: Vec<_> = summary.binaries.iter().filter(|b| b.go.is_some()).collect();
    binaries.sort_by_key(|b| std::cmp::Reverse(b.samples));
    if let Some(binary) = binaries.first() {
        let version = binary.go.as_ref().map_or("", |go| &go.version);
        page.line(
            "",
            &format!(
                "binary: {} ({})",
                printable(&binary.path),
                printable(version)
            ),
        );
    }
}

fn caveats(page: &mut Page, summary: &Summary) {
    let end = page.lines() + CAVEATS;
    for (i, caveat) in summary.caveats.iter().enumerate() {
        if page.lines() + 2 > end {
            let more = summary.caveats.len() - i;
            page.line(DIM, &format!("(the report has {more} more)"));
            return;
        }
        let (style, mark) = match caveat.severity {
            Severity::Alarm => (RED, "!! "),
            Severity::Note => ("", "note: "),
        };
        page.sentence(style, mark, &printable(&caveat.text), 2);
    }
}

/// In two columns, read downwards.
fn funnel(page: &mut Page, summary: &Summary) {
    let read = summary.funnel.first().map_or(0, |step| step.samples);
    let steps: Vec<String> = summary
        .funnel
        .iter()
        .map(|step| {
            let (name, samples) = (fit(&step.name, 25), step.samples);
            let share = percent(samples, read);
            format!("{name:<25} {:>12} {share:>8}", thousands(samples))
        })
        .collect();
    page.line("", "");
    let (left, right) = steps.split_at(steps.len().div_ceil(2));
    for (i, step) in left.iter().enumerate() {
        let beside = right.get(i).map_or("", String::as_str);
        page.line("", &format!("{step}    {beside}"));
    }
}

fn maps(page: &mut Page, digest: &Digest) {
    if digest.maps.is_empty() {
        return;
    }
    page.line("", "");
    let name = match digest.summary.loads().as_str() {
        "loads" => "map".to_owned(),
        of_least => format!("map ({of_least})"),
    };
    let [samples, latency, p50, p95, l1, llc, hitm] = HEADS;
    page.line(
        BOLD,
        &format!(
            "{:<NAME$} {samples:>9} {latency:>8} {p50:>6} {p95:>6} {l1:>8} {llc:>8} {hitm:>7}",
            fit(&name, NAME),
        ),
    );
    let all = digest.summary.overall.latency_sum;
    for map in digest.maps.iter().take(MAPS) {
        let m = &map.measures;
        let share = match (m.latency_sum, all) {
            (Some(sum), Some(all)) => percent(sum, all),
            _ => "-".to_owned(),
        };
        page.line(
            "",
            &format!(
                "{:<NAME$} {:>9} {share:>8} {:>6} {:>6} {:>8} {:>8} {:>7}",
                fit_name(&printable(&map.name), NAME),
                thousands(m.samples),
                count(m, m.latency_p50),
                count(m, m.latency_p95),
                count(m, m.l1_miss),
                count(m, m.llc_miss),
                count(m, m.hitm),
            ),
        );
        page.line(DIM, &format!("  {}", parts(map)));
    }
    if let Some(more @ 1..) = digest.maps.len().checked_sub(MAPS) {
        page.line(DIM, &format!("(and {more} more maps)"));
    }
}

/// The map's costliest parts with their share of its latency, or of its samples.
fn parts(map: &Map) -> String {
    let cost = |m: &Measures| match map.measures.latency_sum {
        Some(_) => m.latency_sum.unwrap_or(0),
        None => m.samples,
    };
    let all = cost(&map.measures);
    let shares = map.parts.iter().take(4);
    let shares = shares.map(|part| format!("{} {}", part.name, percent(cost(&part.measures), all)));
    shares.collect::<Vec<_>>().join(", ")
}

/// golang/go#70835's table of the costliest map.
fn stages(page: &mut Page, digest: &Digest) {
    let Some(map) = digest.maps.first() else {
        return;
    };
    page.line("", "");
    let title = format!("where a lookup misses: {}", printable(&map.name));
    page.line(
        BOLD,
        &format!(
            "{:<46} {:>9} {:>8} {:>8} {:>6} {:>6}",
            fit(&title, 46),
            "samples",
            "L1 miss",
            "LLC miss",
            "p50",
            "p95"
        ),
    );
    for stage in &map.stages {
        let m = &stage.measures;
        page.line(
            "",
            &format!(
                "  {:<44} {:>9} {:>8} {:>8} {:>6} {:>6}",
                stage.name,
                thousands(m.samples),
                count(m, m.l1_miss),
                count(m, m.llc_miss),
                count(m, m.latency_p50),
                count(m, m.latency_p95),
            ),
        );
    }
}

/// As many as there is room for above the last line.
fn findings(page: &mut Page, summary: &Summary) {
    page.line("", "");
    if summary.findings.is_empty() {
        page.line("", "nothing stands out");
    }
    for (i, finding) in summary.findings.iter().enumerate() {
        if page.lines() + 2 >= LINES {
            break;
        }
        page.sentence("", &format!("{}. ", i + 1), &printable(&finding.text), 2);
    }
}

/// A count of loads: `-` where there is none to count, `?` where the recording does not tell.
fn count(m: &Measures, number: Option<u64>) -> String {
    match number {
        Some(number) => thousands(number),
        None if m.loads == 0 => "-".to_owned(),
        None => "?".to_owned(),
    }
}

/// Names come from files: control characters and marks that reorder text are not sent to a terminal.
pub(crate) fn printable(text: &str) -> String {
    let reorders = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| {
            if c.is_control() || reorders(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// At most `width` characters; a cut shows.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}\u{2026}")
}

/// The name of a map in `width` characters: what the source calls it, in parentheses at the end, is
/// what tells it from others of its type.
fn fit_name(name: &str, width: usize) -> String {
    let expression = name.rfind(" (").and_then(|at| name.get(at..));
    match expression.filter(|e| e.ends_with(')') && e.chars().count() + 8 <= width) {
        Some(expression) if name.chars().count() > width => {
            let rest = name.strip_suffix(expression).unwrap_or(name);
            fit(rest, width - expression.chars().count()) + expression
        }
        _ => fit(name, width),
    }
}

/// Words in lines of at most `width` characters.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_words_and_cut_with_a_mark() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(fit("abcdef", 6), "abcdef");
        assert_eq!(fit("abcdefg", 6), "abcde\u{2026}");
    }

    #[test]
    fn a_name_that_is_cut_keeps_what_the_source_calls_the_map() {
        let name = "map[string]*main.session at cache.go:42 (s.sessions)";
        assert_eq!(
            fit_name(name, 36),
            "map[string]*main.sessi\u{2026} (s.sessions)"
        );
        assert_eq!(fit_name(name, 60), name);
        assert_eq!(
            fit_name("map[main.a_long_name]bool", 10),
            "map[main.\u{2026}"
        );
        assert_eq!(fit_name(name, 16), "map[string]*mai\u{2026}");
    }

    #[test]
    fn names_from_files_cannot_drive_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
