//! The main views as pictures (`tests/golden/views`; MEMPATH_BLESS=1 takes them anew), and the page in
//! print: A4 pages with every view's drawing and table, nothing past the margins.

use super::chromium::Browser;
use super::states::{analyzed, looks_like, sample, window};
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
    view_looks(&page(folder.path()), fragment, scheme, name);
}

fn view_looks(file: &Path, fragment: &str, scheme: &str, name: &str) {
    let mut browser = Browser::start();
    window(&mut browser, scheme);
    browser.open(file, fragment);
    browser.ready();
    // What is off the screen is not laid out, and takes its height when it comes near: all of it at once,
    // so that the view stays where it is. Lists to choose from look as each version of a browser has them.
    browser.eval("{ const sheet = new CSSStyleSheet(); sheet.replaceSync('section.view { content-visibility: visible !important; } select { visibility: hidden !important; }'); document.adoptedStyleSheets = [sheet]; }");
    let id = fragment.trim_start_matches('#').split('&').next().unwrap();
    let frames = |n: usize| {
        format!(
            "(async () => {{ for (let i = 0; i < {n}; i++) await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20))); return 0; }})()"
        )
    };
    browser.eval(&frames(3));
    browser.ready();
    if !id.is_empty() {
        browser.eval(&format!("document.getElementById('{id}').scrollIntoView()"));
    }
    browser.eval(&frames(3));
    browser.ready();
    looks_like(&mut browser, &format!("views/{name}"));
}

#[test]
fn the_first_screen_looks_as_it_did() {
    looks("", "light", "first");
}

/// Every view as it opens.
#[test]
fn every_view_looks_as_it_did() {
    for chart in CHARTS {
        looks(&format!("#{}", chart.id()), "light", chart.id());
    }
}

#[test]
fn views_in_the_dark_look_as_they_did() {
    for id in ["maps", "latency", "operations", "background"] {
        looks(&format!("#{id}"), "dark", &format!("{id}-dark"));
    }
    looks("#heatmap&map=0&measure=loads", "dark", "heatmap-dark");
}

#[test]
fn selections_look_as_they_did() {
    looks("#heatmap&map=1", "light", "heatmap-one-map");
    looks("#order&map=1", "light", "order-one-map");
    looks("#order&instance=all", "light", "order-binned");
    looks("#maps&cpu=3&level=RAM", "light", "maps-selected");
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

/// Runs a tool of poppler on `report.pdf`; outside of CI it may be missing.
fn tool(folder: &Path, name: &str, arguments: &[&str]) -> bool {
    let output = Command::new(name)
        .current_dir(folder)
        .args(arguments)
        .args(["report.pdf", "page"])
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
}

/// Prints to `report.pdf` in `folder`; what can be read in it.
fn printed(file: &Path, folder: &Path) -> Option<String> {
    printed_from(&mut Browser::start(), file, "", folder)
}

fn printed_from(
    browser: &mut Browser,
    file: &Path,
    fragment: &str,
    folder: &Path,
) -> Option<String> {
    use base64::Engine;
    browser.open(file, fragment);
    browser.ready();
    let printed = browser.call("Page.printToPDF", json!({"preferCSSPageSize": true}));
    let pdf = base64::engine::general_purpose::STANDARD
        .decode(printed["data"].as_str().unwrap())
        .unwrap();
    std::fs::write(folder.join("report.pdf"), &pdf).unwrap();
    let read = tool(folder, "pdftotext", &["-layout"]);
    read.then(|| std::fs::read_to_string(folder.join("page")).unwrap())
}

#[test]
fn a_table_that_goes_on_has_its_head_on_every_page() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    let binary = sample("modelled-go1.22-twins/mapload.gz");
    let page = analyzed("modelled-go1.22-twins", &["--binary", &binary]);
    std::fs::write(&file, page).unwrap();
    let Some(text) = printed(&file, folder.path()) else {
        return;
    };
    let pages: Vec<&str> = text.split('\u{c}').collect();
    // The table of the maps, with their parts, is longer than three pages.
    let first = pages.iter().position(|page| page.contains("by stage"));
    let first = first.unwrap();
    for page in &pages[first..first + 3] {
        assert!(page.contains("by stage"), "{page}");
    }
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap();
    let mut pages: Vec<PathBuf> = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "pgm"))
        .collect();
    pages.sort();
    pages
}

/// The drawings made by the script take the place of those of all accesses, black on white from a dark
/// window as well.
#[test]
fn a_selection_is_printed_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = page(folder.path());
    let mut browser = Browser::start();
    window(&mut browser, "dark");
    let fragment = "#heatmap&map=1&cpu=3";
    let Some(text) = printed_from(&mut browser, &file, fragment, folder.path()) else {
        return;
    };
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let says = browser.eval("document.querySelector('#heatmap .says').textContent");
    let says = says.as_str().unwrap();
    assert!(says.contains("drawn of the selection"), "{says}");
    for said in [
        "Printed with a selection: map: map[uint64]uint64 at counters.go:17 (hits); CPU: 3. Views are of it alone",
        says,
        "(folded, so not printed)",
    ] {
        assert!(words.contains(said), "{said} in {words}");
    }
    // The static drawings' own words.
    assert!(!words.contains("loads drawn; one row is"), "{words}");
    if !tool(folder.path(), "pdftoppm", &["-gray", "-r", "36"]) {
        return;
    }
    for page in pages(folder.path()) {
        let (_, pixels) = grey(&page);
        let dark = pixels.iter().filter(|&&value| value < 100).count();
        assert!(dark * 10 < pixels.len(), "{page:?}: {dark} dark pixels");
    }
    // Afterwards the page is dark again.
    browser.ready();
    let paper = "(() => { const [r, g, b] = document.querySelector('#latency canvas').getContext('2d').getImageData(2, 2, 1, 1).data; return r + g + b; })()";
    assert!(browser.eval(paper).as_u64().unwrap() < 100);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_page_prints_on_a4_with_every_view() {
    let folder = tempfile::tempdir().unwrap();
    let file = page(folder.path());
    let Some(text) = printed(&file, folder.path()) else {
        return;
    };
    if !tool(folder.path(), "pdftoppm", &["-gray", "-r", "36"]) {
        return;
    }
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for chart in CHARTS {
        assert!(text.contains(chart.title()), "{}", chart.title());
    }
    // One sentence of each drawing: those that a script draws on the screen are there too.
    for drawn in [
        "L1 miss, map[string]*main.session at cache.go:42 (s.sessions)",
        "loads in a cell, logarithmic scale",
        "accesses drawn",
        "3 of 3 operations drawn",
        "88.0-91.8 %",
    ] {
        assert!(words.contains(drawn), "{drawn} in {words}");
    }
    let pages = pages(folder.path());
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
