//! axe-core on the page: nothing serious, in light and in dark, whole, empty and with a selection.

use super::chromium::Browser;
use super::states::window;
use super::synthetic;
use mempath::report::render;
use mempath::tables::Tables;
use serde_json::json;
use std::path::Path;
use std::process::Command;

/// The source of axe-core, fetched where it is missing.
fn axe() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/axe-core");
    let output = Command::new(script).output().expect("scripts/axe-core");
    assert!(output.status.success(), "{output:?}");
    let path = String::from_utf8(output.stdout).expect("UTF-8");
    std::fs::read_to_string(path.trim()).unwrap()
}

fn has_nothing_serious(tables: &Tables, fragment: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    std::fs::write(&file, render(tables).unwrap()).unwrap();
    let axe = axe();
    for scheme in ["light", "dark"] {
        let mut browser = Browser::start();
        window(&mut browser, scheme);
        browser.open(&file, fragment);
        browser.ready();
        browser.eval(&format!("{axe}; 0"));
        let found = browser.eval(
            "axe.run(document, { resultTypes: ['violations'] }).then(({ passes, violations }) => ({
               looked: passes.length > 20,
               serious: violations.filter(({ impact }) => ['serious', 'critical'].includes(impact))
                 .map(({ id, nodes }) => [id, nodes.slice(0, 3).map(({ html }) => html)]),
             }))",
        );
        assert_eq!(found, json!({"looked": true, "serious": []}), "{scheme}");
    }
}

#[test]
fn axe_finds_nothing_serious() {
    has_nothing_serious(&synthetic::tables(5_000), "");
}

#[test]
fn axe_finds_nothing_serious_in_a_selection() {
    has_nothing_serious(&synthetic::tables(5_000), "#order&map=1&level=RAM&q=main");
}

#[test]
fn axe_finds_nothing_serious_without_samples() {
    has_nothing_serious(&synthetic::empty(), "");
}
