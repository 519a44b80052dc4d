//! The summary as markdown that GitHub, Jira and a Slack code block show alike: headings, plain
//! tables, no HTML.

use super::digest::{Digest, HEADS, Measures};
use crate::tables::{percent, thousands};
use crate::terminal::printable;
use std::fmt::Write as _;
use std::iter;

/// Maps with a row, the costliest first.
const MAPS: usize = 20;

/// The whole summary.
pub fn text(digest: &Digest) -> String {
    let summary = &digest.summary;
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text);
        out.push('\n');
    };
    line(&format!("## {}", plain(&summary.recording)));
    line("");
    for caveat in &summary.caveats {
        line(&format!("> {}", plain(&caveat.text)));
    }
    line("");
    line("### Findings");
    line("");
    if summary.findings.is_empty() {
        line("Nothing stands out.");
    }
    for (i, finding) in summary.findings.iter().enumerate() {
        let evidence = plain(&finding.evidence);
        line(&format!(
            "{}. {} ({evidence})",
            i + 1,
            printable(&finding.text).replace('\n', " ")
        ));
    }
    line("");
    line("### Samples");
    line("");
    let read = summary.funnel.first().map_or(0, |step| step.samples);
    let steps = summary.funnel.iter().map(|step| {
        vec![
            plain(&step.name),
            thousands(step.samples),
            percent(step.samples, read),
        ]
    });
    line(&table(&["step", "samples", "of all"], steps));
    let of = match summary.loads().as_str() {
        "loads" => String::new(),
        of_least => format!(" ({of_least})"),
    };
    if !digest.maps.is_empty() {
        line("### Maps");
        line("");
        let all = summary.overall.latency_sum;
        let maps = digest.maps.iter().take(MAPS).map(|map| {
            let m = &map.measures;
            let share = match (m.latency_sum, all) {
                (Some(sum), Some(all)) => percent(sum, all),
                _ => "?".to_owned(),
            };
            let mut cells = vec![code(&map.name), thousands(m.samples), share];
            cells.extend(measures(m));
            cells
        });
        let own = format!("map{of}");
        let heads: Vec<&str> = iter::once(own.as_str()).chain(HEADS).collect();
        line(&table(&heads, maps));
        if digest.maps.len() > MAPS {
            let more = digest.maps.len() - MAPS;
            line(&format!("And {more} more maps."));
            line("");
        }
    }
    if let Some(map) = digest.maps.first() {
        line(&format!("### Where a lookup misses: {}", code(&map.name)));
        line("");
        let stages = map.stages.iter().map(|stage| {
            let mut cells = vec![plain(&stage.name), thousands(stage.measures.samples)];
            cells.extend(measures(&stage.measures));
            cells
        });
        line(&table(
            &[
                &format!("stage{of}"),
                "samples",
                "p50",
                "p95",
                "L1 miss",
                "LLC miss",
                "HITM",
            ],
            stages,
        ));
    }
    out.trim_end().to_owned() + "\n"
}

fn measures(m: &Measures) -> [String; 5] {
    [m.latency_p50, m.latency_p95, m.l1_miss, m.llc_miss, m.hitm].map(|number| match number {
        Some(number) => thousands(number),
        None if m.loads == 0 => "-".to_owned(),
        None => "?".to_owned(),
    })
}

fn table(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = writeln!(out, "| {} |", heads.join(" | "));
    let _ = writeln!(
        out,
        "| --- |{}",
        " ---: |".repeat(heads.len().saturating_sub(1))
    );
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
    }
    out
}

/// A name in a code span; a back tick or a bar in it would end the span or the cell.
fn code(name: &str) -> String {
    let name = printable(name).replace('|', "\\|");
    if name.contains('`') {
        format!("`` {name} ``")
    } else {
        format!("`{name}`")
    }
}

/// Text from a recording that markdown takes for nothing else.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        if "\\`*_[]<>|#~".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_cell_or_become_markup() {
        assert_eq!(code("map[a]b|c"), "`map[a]b\\|c`");
        assert_eq!(code("a`b"), "`` a`b ``");
        assert_eq!(plain("<b>*x*\n|"), "\\<b\\>\\*x\\*\u{fffd}\\|");
    }

    #[test]
    fn a_recording_without_samples_says_that_nothing_stands_out() {
        assert_eq!(
            text(&Digest::default()),
            "## \n\n\n### Findings\n\nNothing stands out.\n\n### Samples\n\n| step | samples | of all |\n| --- | ---: | ---: |\n"
        );
    }
}
