//! Reports of recordings that lack something: each reads sensibly, and looks like its picture
//! (`tests/golden/states`; MEMPATH_BLESS=1 takes them anew).

use super::chromium::Browser;
use super::synthetic;
use mempath::report::render;
use mempath::tables::Tables;
use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Width and height of the window, and how much smaller its picture is.
const WINDOW: (u32, u32, f64) = (1280, 1000, 0.35);
/// Greatest difference of two pictures in one of 64 x 50 cells, of 255: how edges are smoothed differs from
/// machine to machine, what stands in a cell does not. A word more or less is some cells of far more than that.
const TOLERANCE: f64 = 16.0;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The report of a recording in `samples/`, which stands alone: no binary is beside it.
pub fn analyzed(sample: &str, arguments: &[&str]) -> String {
    let alone = tempfile::tempdir().unwrap();
    let recording = root().join(format!("samples/{sample}/perf.data"));
    std::fs::copy(recording, alone.path().join("perf.data")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_mempath"))
        .current_dir(alone.path())
        .args(["analyze", "perf.data"])
        .args(arguments)
        .args(["-q", "-o", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn rendered(tables: &Tables) -> String {
    render(tables).unwrap()
}

/// Opens the page: it says the sentences where a reader sees them, and nothing to the console.
fn reads(name: &str, page: String, sentences: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    std::fs::write(&file, page).unwrap();
    let mut browser = Browser::start();
    window(&mut browser, "light");
    browser.open(&file, "");
    browser.ready();
    assert_eq!(browser.complaints(), Vec::<String>::new(), "{name}");
    let text = browser.eval("[...document.querySelectorAll('p, li, dd, td')].filter(e => !e.closest('[hidden]')).map(e => e.textContent).join('\\n')");
    for sentence in sentences {
        assert!(
            text.as_str().unwrap().contains(sentence),
            "{name}: {sentence}"
        );
    }
    let past = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(browser.eval(past), 0, "{name}");
    looks_like(&mut browser, &format!("states/{name}"));
}

/// A window of the pictures' size.
pub fn window(browser: &mut Browser, scheme: &str) {
    let (width, height, _) = WINDOW;
    let window = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
    browser.call("Emulation.setDeviceMetricsOverride", window);
    let scheme = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
    browser.call("Emulation.setEmulatedMedia", scheme);
}

/// Compares what the window shows with its picture under `tests/golden`; leaves the page.
pub fn looks_like(browser: &mut Browser, name: &str) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let (width, height, scale) = WINDOW;
    let at = browser.eval("[scrollX, scrollY]");
    let clip = json!({"x": at[0], "y": at[1], "width": width, "height": height, "scale": scale});
    let shot = browser.call(
        "Page.captureScreenshot",
        json!({"format": "png", "clip": clip}),
    );
    let shot = shot["data"].as_str().unwrap();
    let golden: PathBuf = root().join("tests/golden").join(format!("{name}.png"));
    if std::env::var_os("MEMPATH_BLESS").is_some() {
        std::fs::create_dir_all(golden.parent().unwrap()).unwrap();
        std::fs::write(&golden, STANDARD.decode(shot).unwrap()).unwrap();
    }
    let expected = std::fs::read(&golden).unwrap_or_else(|e| panic!("{golden:?}: {e}"));
    // A page without a policy may decode a picture from its own address.
    browser.call("Page.navigate", json!({"url": "about:blank"}));
    let difference = difference(browser, shot, &STANDARD.encode(expected));
    assert!(difference < TOLERANCE, "{name}: {difference} of 255");
}

/// The greatest difference in a cell of two pictures, given as base64, mean over its colours.
fn difference(browser: &mut Browser, one: &str, other: &str) -> f64 {
    let difference = format!(
        "(async () => {{
           const cells = async (base64) => {{
             const image = new Image();
             image.src = `data:image/png;base64,${{base64}}`;
             await image.decode();
             const canvas = new OffscreenCanvas(64, 50);
             const pen = canvas.getContext('2d');
             pen.imageSmoothingQuality = 'high';
             pen.drawImage(image, 0, 0, 64, 50);
             return pen.getImageData(0, 0, 64, 50).data;
           }};
           const [a, b] = [await cells('{one}'), await cells('{other}')];
           let most = 0;
           for (let i = 0; i < a.length; i += 4) most = Math.max(most, (Math.abs(a[i] - b[i]) + Math.abs(a[i + 1] - b[i + 1]) + Math.abs(a[i + 2] - b[i + 2])) / 3);
           return most;
         }})()"
    );
    browser.eval(&difference).as_f64().unwrap()
}

/// Every two pictures that are kept differ by more than the tolerance.
#[test]
fn pictures_tell_the_states_and_views_apart() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let mut browser = Browser::start();
    browser.call("Page.navigate", json!({"url": "about:blank"}));
    for folder in ["states", "views"] {
        let folder = root().join("tests/golden").join(folder);
        let files = std::fs::read_dir(folder).unwrap();
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        let read = |file: &PathBuf| STANDARD.encode(std::fs::read(file).unwrap());
        let pictures: Vec<String> = files.iter().map(read).collect();
        for (i, one) in pictures.iter().enumerate() {
            for (j, other) in pictures.iter().enumerate().skip(i + 1) {
                let difference = difference(&mut browser, one, other);
                assert!(
                    difference > 1.5 * TOLERANCE,
                    "{:?} and {:?}: {difference} of 255",
                    files[i],
                    files[j]
                );
            }
        }
    }
}

/// A file of `samples/`.
pub fn sample(path: &str) -> String {
    root()
        .join("samples")
        .join(path)
        .to_str()
        .unwrap()
        .to_owned()
}

#[test]
fn modelled_levels_and_latencies_are_an_alarm() {
    let binary = sample("modelled-go1.22-twins/mapload.gz");
    let page = analyzed("modelled-go1.22-twins", &["--binary", &binary]);
    reads(
        "modelled",
        page.replace(&binary, "/elsewhere/mapload.gz"),
        &["levels and latencies are modelled, no hardware measured them"],
    );
}

#[test]
fn a_binary_of_another_build_is_told() {
    let dir = sample("modelled-go1.27-twins");
    let page = analyzed("modelled-go1.22-twins", &["--binary-dir", &dir]);
    reads(
        "refused",
        page.replace(&dir, "/elsewhere"),
        &["samples are without their code", "no Go binary was read"],
    );
}

#[test]
fn breakpoints_have_no_levels() {
    let binary = sample("classic-go1.22/probe-go1.22.10.gz");
    let page = analyzed("classic-go1.22", &["--binary", &binary]);
    reads(
        "no-levels",
        page.replace(&binary, "/elsewhere/probe.gz"),
        &[
            "This recording has no cache levels: misses are not known.",
            "This recording has no latencies: rows are ranked by samples.",
            "No load has a level: the events did not sample it, or the PMU does not tell.",
        ],
    );
}

#[test]
fn a_program_that_is_not_go_has_no_maps() {
    // Any other ELF file of 64 bits: this test itself.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("mapload");
    std::fs::copy(std::env::current_exe().unwrap(), &other).unwrap();
    let other = other.to_str().unwrap();
    let page = analyzed("modelled-go1.22-twins", &["--binary", other, "--force"]);
    reads(
        "not-go",
        page.replace(other, "/elsewhere/mapload"),
        &[
            "no Go binary was read",
            "None: no map was found in this recording, so nothing can stand out.",
        ],
    );
}

/// Every second row of a frame without the columns.
fn half_without(frame: &DataFrame, columns: &[&str]) -> DataFrame {
    let columns: Vec<Column> = frame
        .columns()
        .iter()
        .map(|column| {
            if !columns.contains(&column.name().as_str()) {
                return column.clone();
            }
            let texts = column.str().unwrap();
            let half: Vec<Option<&str>> = texts
                .iter()
                .enumerate()
                .map(|(i, text)| text.filter(|_| i % 2 == 0))
                .collect();
            Column::from(Series::new(column.name().clone(), half))
        })
        .collect();
    DataFrame::new(frame.height(), columns).unwrap()
}

#[test]
fn code_without_symbols_is_counted() {
    let mut tables = synthetic::tables(2_000);
    let names = ["function", "outer_function", "file"];
    tables.functions = half_without(&tables.functions, &names);
    tables.lines = half_without(&tables.lines, &names);
    let samples = tables
        .functions
        .column("samples")
        .unwrap()
        .u64()
        .unwrap()
        .clone();
    let unnamed: u64 = samples.iter().flatten().skip(1).step_by(2).sum();
    let (thousands, rest) = (unnamed / 1000, unnamed % 1000);
    let unnamed = match thousands {
        0 => rest.to_string(),
        _ => format!("{thousands},{rest:03}"),
    };
    reads(
        "partial-symbols",
        rendered(&tables),
        &[&format!(
            "{unnamed} of 2,000 samples are in code without a symbol"
        )],
    );
}

#[test]
fn few_samples_make_no_finding() {
    let mut tables = synthetic::tables(20);
    tables.summary.findings.clear();
    tables.summary.overall.samples = 20;
    reads(
        "few-samples",
        rendered(&tables),
        &["20 memory accesses are too few: a finding needs 30 samples."],
    );
}

#[test]
fn one_sample_is_a_page() {
    let mut tables = synthetic::tables(1);
    tables.summary.findings.clear();
    tables.summary.overall.samples = 1;
    reads(
        "one-sample",
        rendered(&tables),
        &["1 memory access is too few: a finding needs 30 samples."],
    );
}

#[test]
fn no_sample_is_a_page() {
    reads(
        "no-maps",
        rendered(&synthetic::empty()),
        &[
            "No map was found: no sample hit map code or map memory. The coverage below says why.",
            "None: no map was found in this recording, so nothing can stand out.",
        ],
    );
}
