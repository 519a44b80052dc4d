//! The main views as pictures (`tests/golden/views`; MEMPATH_BLESS=1 takes them anew), and the page in
//! print: A4 pages with every view's drawing and table, nothing past the margins.

use super::chromium::Browser;
use super::states::{looks_like, window};
use super::synthetic;
use mempath::report::charts::CHARTS;
use mempath::report::render;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

fn page(folder: &Path) -> PathBuf {
    let file = folder.join("report.html");
    std::fs::write(&file, render(&synthetic::tables(20_000)).unwrap()).unwrap();
    file
}

/// A view as a reader sees it who follows a link to it.
fn looks(fragment: &str, scheme: &str, name: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = page(folder.path());
    let mut browser = Browser::start();
    window(&mut browser, scheme);
    browser.open(&file, fragment);
    browser.ready();
    // What is drawn while a scroll is on its way is drawn again at its end.
    browser.eval("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))");
    browser.ready();
    looks_like(&mut browser, &format!("views/{name}"));
}

#[test]
fn the_maps_look_as_they_did() {
    looks("#maps", "light", "maps");
}

#[test]
fn the_heatmap_looks_as_it_did() {
    looks("#heatmap&map=1", "light", "heatmap");
}

#[test]
fn the_heatmap_in_the_dark_looks_as_it_did() {
    looks("#heatmap&map=0&measure=loads", "dark", "heatmap-dark");
}

#[test]
fn the_latencies_look_as_they_did() {
    looks("#latency", "light", "latency");
}

#[test]
fn the_order_looks_as_it_did() {
    looks("#order&map=1", "light", "order");
}

#[test]
fn the_binned_order_looks_as_it_did() {
    looks("#order&instance=all", "light", "order-binned");
}

#[test]
fn what_happened_at_the_same_time_looks_as_it_did() {
    looks("#concurrent", "light", "concurrent");
}

#[test]
fn the_operations_look_as_they_did() {
    looks("#brackets", "light", "brackets");
}

#[test]
fn the_path_looks_as_it_did() {
    looks("#path", "light", "path");
}

/// A page of `pdftoppm -gray`: width and grey values.
fn grey(file: &Path) -> (usize, Vec<u8>) {
    let bytes = std::fs::read(file).unwrap();
    let head: Vec<&[u8]> = bytes.splitn(4, |b| b.is_ascii_whitespace()).collect();
    let [b"P5", width, _, rest] = head[..] else {
        panic!("{file:?} is no PGM");
    };
    let width = std::str::from_utf8(width).unwrap().parse().unwrap();
    let pixels = rest.iter().position(|&b| b == b'\n').unwrap() + 1;
    (width, rest[pixels..].to_vec())
}

#[test]
fn the_page_prints_on_a4_with_every_view() {
    let folder = tempfile::tempdir().unwrap();
    let file = page(folder.path());
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    let printed = browser.call("Page.printToPDF", json!({"preferCSSPageSize": true}));
    use base64::Engine;
    let pdf = base64::engine::general_purpose::STANDARD
        .decode(printed["data"].as_str().unwrap())
        .unwrap();
    let path = folder.path().join("report.pdf");
    std::fs::write(&path, &pdf).unwrap();
    let tool = |name: &str, arguments: &[&str]| {
        let output = Command::new(name)
            .args(arguments)
            .arg(&path)
            .arg(folder.path().join("page"))
            .output();
        match output {
            Ok(output) => assert!(output.status.success(), "{name}: {output:?}"),
            Err(e) if std::env::var_os("CI").is_none() => {
                eprintln!("{name}: {e}; apt-get install poppler-utils");
                return false;
            }
            Err(e) => panic!("{name}: {e}; apt-get install poppler-utils"),
        }
        true
    };
    if !tool("pdftotext", &["-layout"]) || !tool("pdftoppm", &["-gray", "-r", "36"]) {
        return;
    }
    let text = std::fs::read_to_string(folder.path().join("page")).unwrap();
    for chart in CHARTS {
        assert!(text.contains(chart.title()), "{}", chart.title());
    }
    // One sentence of each drawing: those that a script draws on the screen are there too.
    for drawn in [
        "L1 miss, map[string]*main.session at cache.go:42 (s.sessions)",
        "loads in a cell, logarithmic",
        "accesses drawn",
        "3 of 3 operations drawn",
        "88.0-91.8 %",
    ] {
        assert!(text.contains(drawn), "{drawn}");
    }
    let mut pages: Vec<PathBuf> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pgm"))
        .collect();
    pages.sort();
    // One form feed ends each page.
    assert_eq!(pages.len(), text.matches('\u{c}').count());
    for page in &pages {
        let (width, pixels) = grey(page);
        // A4 at 36 dots an inch; the margins are 11 and 13 mm, of which 8 stay white here.
        let height = pixels.len() / width;
        assert_eq!((width, height), (298, 421));
        let ink = |x: usize, y: usize| pixels[y * width + x] < 200;
        let all = || (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        assert!(
            all().filter(|&(x, y)| ink(x, y)).count() > 100,
            "{page:?} is empty"
        );
        let margin = 11;
        let past = all()
            .filter(|&(x, y)| {
                x < margin || x >= width - margin || y < margin || y >= height - margin
            })
            .filter(|&(x, y)| ink(x, y))
            .count();
        assert_eq!(past, 0, "{page:?} has ink in its margins");
    }
}
