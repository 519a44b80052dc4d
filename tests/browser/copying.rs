//! What the page copies: tables as markdown and CSV, findings as markdown, charts as SVG and PNG.

use super::chromium::Browser;
use super::synthetic;
use mempath::report::render;
use serde_json::{Value, json};

/// The page, with a clipboard that can be read.
fn opened(fragment: &str) -> (tempfile::TempDir, Browser, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    let tables = synthetic::tables(20_000);
    std::fs::write(&file, render(&tables).unwrap()).unwrap();
    let mut browser = Browser::start();
    browser.open(&file, fragment);
    browser.ready();
    browser.eval(
        "Object.defineProperty(navigator, 'clipboard', { value: {
           writeText: async (text) => (window.copied = text),
           write: async ([item]) => (window.copied = await item.getType('image/png')),
         } }); 0",
    );
    let summary = serde_json::to_value(&tables.summary).unwrap();
    (folder, browser, summary)
}

/// Presses a button and gives what it has copied.
pub fn copied(browser: &mut Browser, button: &str) -> String {
    browser.eval(&format!("window.copied = null; document.querySelector({}).click(); new Promise(done => {{ const look = () => window.copied === null ? setTimeout(look, 5) : done(0); look(); }})", json!(button)));
    browser.eval("window.copied").as_str().unwrap().to_owned()
}

#[test]
fn a_table_is_copied_as_markdown_and_as_csv() {
    let (_folder, mut browser, summary) = opened("");
    let steps: Vec<(&str, u64)> = summary["funnel"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["name"].as_str().unwrap(), s["samples"].as_u64().unwrap()))
        .collect();
    let markdown = copied(
        &mut browser,
        "#funnel-table [aria-label='Copy as Markdown']",
    );
    let lines: Vec<&str> = markdown.lines().collect();
    assert_eq!(lines.len(), 2 + steps.len());
    assert!(lines[0].starts_with("| step | samples | of all | of the step before |"));
    assert_eq!(lines[1], "| --- | --- | --- | --- | --- |");
    let csv = copied(&mut browser, "#funnel-table [aria-label='Copy as CSV']");
    let rows: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(rows.len(), 1 + steps.len());
    for ((name, samples), row) in steps.iter().zip(&rows[1..]) {
        let quoted = match name.contains(',') {
            true => format!("\"{name}\""),
            false => (*name).to_owned(),
        };
        assert!(row.starts_with(&format!("{quoted},{samples},")), "{row}");
    }
}

/// What is filtered out or folded is not copied; `|` in a name does not end a cell.
#[test]
fn what_is_shown_is_what_is_copied() {
    let (_folder, mut browser, _) = opened("#maps&map=1");
    browser.eval(
        "document.querySelector('#maps-table tr[data-map=\"1\"] code').textContent = 'a|b, \"c\"'",
    );
    let markdown = copied(&mut browser, "#maps-table [aria-label='Copy as Markdown']");
    assert_eq!(markdown.lines().count(), 3);
    assert!(
        markdown
            .lines()
            .nth(2)
            .unwrap()
            .starts_with("| a\\|b, \"c\" | ")
    );
    let csv = copied(&mut browser, "#maps-table [aria-label='Copy as CSV']");
    assert!(
        csv.split("\r\n")
            .nth(1)
            .unwrap()
            .starts_with("\"a|b, \"\"c\"\"\",")
    );
}

#[test]
fn a_finding_is_copied_with_its_numbers() {
    let (_folder, mut browser, summary) = opened("");
    let finding = &summary["findings"][0];
    let text = copied(&mut browser, ".findings li .facts button");
    let plain = finding["text"].as_str().unwrap().replace('`', "");
    let (first, facts) = text.split_once('\n').unwrap();
    assert_eq!(first, format!("- **{plain}**"));
    let evidence = finding["evidence"].as_str().unwrap().replace('_', " ");
    assert!(facts.contains(&format!("evidence: {evidence}")), "{facts}");
}

/// The SVG is the chart as it stands: of the selection, with a mark for each of the canvas's.
#[test]
fn a_chart_is_copied_as_it_is_shown() {
    let (_folder, mut browser, _) = opened("#order&map=1&cpu=3");
    let said = browser.eval("document.querySelector('#order .says').textContent");
    let drawn: usize = said
        .as_str()
        .unwrap()
        .split(' ')
        .find_map(|word| word.parse().ok())
        .unwrap();
    let svg = copied(&mut browser, "#order [aria-label='Copy the chart as SVG']");
    browser.eval(&format!(
        "window.svg = new DOMParser().parseFromString({}, 'image/svg+xml'); 0",
        json!(svg)
    ));
    assert_eq!(browser.eval("svg.documentElement.tagName"), "svg");
    let texts = browser.eval("[...svg.querySelectorAll('text')].map((text) => text.textContent)");
    for text in ["load", "store", "CPU 3", "time since the first sample"] {
        assert!(texts.as_array().unwrap().contains(&json!(text)), "{text}");
    }
    assert!(!texts.as_array().unwrap().contains(&json!("CPU 0")));
    // Circles and squares that are filled; the legend has one of the circles.
    let marks = browser.eval("[...svg.querySelectorAll('path')].filter((path) => /^M[^M]*(a4 4|h8v8h-8z)/.test(path.getAttribute('d'))).length");
    assert_eq!(marks, drawn + 1);
    browser.eval("window.copied = null; document.querySelector(\"#order [aria-label='Copy the chart as PNG']\").click(); new Promise(done => { const look = () => window.copied === null ? setTimeout(look, 5) : done(0); look(); })");
    assert_eq!(browser.eval("copied.type"), "image/png");
    assert_eq!(
        browser.eval("createImageBitmap(copied).then(({ width }) => width === document.querySelector('#order canvas').width)"),
        true
    );
}

/// Large arrays are binned and say so; a selected stretch of buckets is drawn one by one.
#[test]
fn buckets_are_binned_until_they_are_selected() {
    let (_folder, mut browser, _) = opened("#heatmap&map=0");
    let said = |browser: &mut Browser| {
        let said = browser.eval("document.querySelector('#heatmap .says').textContent");
        said.as_str().unwrap().to_owned()
    };
    let whole = said(&mut browser);
    assert!(whole.contains("one row is 16 of 4,096 buckets"), "{whole}");
    browser.eval("{ const s = document.getElementById('filter-index'); s.value = '0-99'; s.dispatchEvent(new Event('change')); }");
    browser.ready();
    let zoomed = said(&mut browser);
    assert!(
        zoomed.contains("one row is one of 4,096 buckets"),
        "{zoomed}"
    );
}
