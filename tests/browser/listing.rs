//! The code of a function, shown when it is asked for: the page of a sample beside its tables.

use crate::chromium::Browser;
use mempath::tables::Tables;
use mempath::tables::columns as c;
use mempath::tables::read::{numbers, texts};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

const FUNCTION: &str = "runtime.mapaccess2_faststr";

#[test]
fn the_code_of_a_function_is_shown_with_the_counts_of_the_selection() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/modelled-go1.22-twins");
    let (report, folder) = (dir.path().join("report.html"), dir.path().join("tables"));
    let status = Command::new(env!("CARGO_BIN_EXE_mempath"))
        .arg("analyze")
        .arg(sample.join("perf.data"))
        .arg("--binary")
        .arg(sample.join("mapload.gz"))
        .args(["--quiet", "--tables"])
        .arg(&folder)
        .arg("-o")
        .arg(&report)
        .status()
        .unwrap();
    assert!(status.success());
    let Tables { listing, kept, .. } = Tables::read(&folder).unwrap();
    let of_function = |frame| -> Vec<usize> {
        let outer = texts(frame, c::OUTER).unwrap();
        let rows = 0..outer.len();
        rows.filter(|&row| outer[row] == Some(FUNCTION)).collect()
    };
    let listed = of_function(&listing);
    let offsets = numbers(&listing, c::CODE_OFF).unwrap();
    let samples = numbers(&listing, c::SAMPLES).unwrap();
    let shown = |count: &dyn Fn(u64) -> Option<u64>| -> Value {
        let offsets = listed.iter().map(|&row| offsets[row].unwrap());
        offsets
            .map(|offset| json!([format!("+{offset:#x}"), count(offset)]))
            .collect()
    };
    let all = |offset| {
        let mut rows = listed.iter();
        samples[*rows.find(|&&row| offsets[row] == Some(offset)).unwrap()]
    };
    let (maps, at) = (
        numbers(&kept, c::MAP).unwrap(),
        numbers(&kept, c::CODE_OFF).unwrap(),
    );
    let in_function = of_function(&kept);
    let map = in_function.iter().find_map(|&row| maps[row]).unwrap();
    let of_map = |offset| {
        let hit = |row: &&usize| maps[**row] == Some(map) && at[**row] == Some(offset);
        let n = in_function.iter().filter(hit).count() as u64;
        (n > 0).then_some(n)
    };

    let mut browser = Browser::start();
    browser.open(&report, "");
    browser.ready();
    assert_eq!(
        browser.eval("document.getElementById('listing')"),
        Value::Null
    );
    browser.eval(&format!("[...document.querySelectorAll('#functions-table tbody tr')].find(row => row.cells[0].querySelector('code').textContent === '{FUNCTION}').querySelector('button[title=\"Show the code\"]').click()"));
    browser.ready();
    let table = "[...document.querySelectorAll('#listing-table tr.code')].map(row => [row.cells[0].textContent, row.cells[5].textContent === '' ? null : Number(row.cells[5].dataset.sort)])";
    assert_eq!(browser.eval(table), shown(&all));
    browser.eval(&format!("{{ const s = document.getElementById('filter-map'); s.value = '{map}'; s.dispatchEvent(new Event('change')); }}"));
    browser.ready();
    assert_eq!(browser.eval(table), shown(&of_map));
    let fragment = browser.eval("location.hash");
    assert!(fragment.as_str().unwrap().contains("code="), "{fragment}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // A new address of the same page that differs in its fragment alone would not load it again.
    browser.open(Path::new("/dev/null"), "");
    browser.open(&report, fragment.as_str().unwrap());
    browser.ready();
    assert_eq!(browser.eval(table), shown(&of_map));
    browser.eval("[...document.querySelectorAll('#listing button')].find(button => button.textContent === 'Close').click()");
    browser.ready();
    assert_eq!(
        browser.eval("document.getElementById('listing')"),
        Value::Null
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
