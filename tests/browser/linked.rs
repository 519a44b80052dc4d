//! Each view follows each filter, with the counts of the accesses that are left, or says why it does not.

use super::chromium::Browser;
use super::synthetic;
use mempath::analyses::lines::{Used, sharing_of};
use mempath::report::render;
use mempath::tables::Tables;
use polars::prelude::{Column, DataFrame, DataType, NamedFrom, Series};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One value of each key of the filter.
const SELECTIONS: [(&str, &str); 8] = [
    ("map", "1"),
    ("part", "bmap.elem"),
    ("level", "RAM"),
    ("op", "load"),
    ("cpu", "3"),
    ("tid", "4103"),
    ("time", "0-999999999"),
    ("index", "0-9"),
];

fn opened(tables: &Tables) -> (tempfile::TempDir, std::path::PathBuf, Browser) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    std::fs::write(&file, render(tables).unwrap()).unwrap();
    (folder, file, Browser::start())
}

/// Shows the page with a selection, unfolded.
fn select(browser: &mut Browser, selection: &[(&str, &str)]) {
    browser.unfold();
    go(browser, selection);
}

fn go(browser: &mut Browser, selection: &[(&str, &str)]) {
    let words: Vec<String> = selection.iter().map(|(k, v)| format!("{k}={v}")).collect();
    browser.eval(&format!(
        "location.hash = {}; new Promise((done) => setTimeout(done, 60))",
        json!(format!("#maps&{}", words.join("&")))
    ));
    browser.ready();
}

/// A column as numbers; -1 is null.
fn numbers(frame: &DataFrame, name: &str) -> Vec<i64> {
    let column = frame.column(name).unwrap().cast(&DataType::Int64).unwrap();
    let values = column.i64().unwrap().clone();
    (0..frame.height())
        .map(|i| values.get(i).unwrap_or(-1))
        .collect()
}

fn texts(frame: &DataFrame, name: &str) -> Vec<Option<String>> {
    let column = frame.column(name).unwrap().str().unwrap().clone();
    (0..frame.height())
        .map(|i| column.get(i).map(str::to_owned))
        .collect()
}

/// The rows of `kept` that a selection leaves.
fn chosen(tables: &Tables, selection: &[(&str, &str)]) -> Vec<usize> {
    let kept = &tables.kept;
    let start = tables.summary.time_ns.unwrap().0 as i64;
    let number = |name: &str| numbers(kept, name);
    let text = |name: &str| texts(kept, name);
    let mut rows: Vec<usize> = (0..kept.height()).collect();
    // The array that a range of buckets is of: that of the selected map, else of the costliest.
    let map = selection.iter().find(|(key, _)| *key == "map");
    let array = map.map_or(0, |(_, map)| map.parse::<i64>().unwrap());
    for (key, value) in selection {
        let fits: Box<dyn Fn(usize) -> bool> = match *key {
            "map" | "cpu" | "tid" => {
                let (column, wanted) = (number(key), value.parse::<i64>().unwrap());
                Box::new(move |i| column[i] == wanted)
            }
            "time" | "index" => {
                let name = if *key == "time" { "time_ns" } else { "index" };
                let (column, arrays) = (number(name), number("array"));
                let (first, last) = value.split_once('-').unwrap();
                let range = first.parse::<i64>().unwrap()..=last.parse::<i64>().unwrap();
                let timed = *key == "time";
                Box::new(move |i| match timed {
                    true => range.contains(&(column[i] - start)),
                    false => arrays[i] == array && range.contains(&column[i]),
                })
            }
            name => {
                let column = text(name);
                let wanted = Some((*value).to_owned());
                Box::new(move |i| column[i] == wanted)
            }
        };
        rows.retain(|&i| fits(i));
    }
    rows
}

#[test]
fn a_view_that_does_not_follow_a_filter_says_why() {
    let tables = synthetic::tables(20_000);
    let (_folder, file, mut browser) = opened(&tables);
    browser.open(&file, "");
    browser.ready();
    let said = "Object.fromEntries([...document.querySelectorAll('.unreached')].filter(line => !line.hidden).map(line => [line.closest('section').id, line.textContent]))";
    assert_eq!(browser.eval(said), json!({}));
    let names = [
        "map",
        "part",
        "level",
        "load/store",
        "CPU",
        "thread",
        "time",
        "buckets",
    ];
    for ((key, value), name) in SELECTIONS.iter().zip(names) {
        select(&mut browser, &[(key, value)]);
        let mut expected = BTreeMap::from([
            (
                "background",
                format!(
                    "What marking and growth cost, not filtered by {name}: it compares stretches of the whole recording."
                ),
            ),
            (
                "coverage",
                format!(
                    "Contradictions, not filtered by {name}: they are counts of the whole recording."
                ),
            ),
        ]);
        if ["op", "tid", "time", "index"].contains(key) {
            expected.insert("sharing", format!("Stale reads, not filtered by {name}: a pair is a store and a load, of which only parts, CPUs and the load's level are kept."));
        }
        if *key == "index" {
            expected.insert(
                "order",
                "The table, not filtered by buckets: it is of the hottest instance alone."
                    .to_owned(),
            );
        }
        if ["op", "cpu", "tid", "time", "index"].contains(key) {
            expected.insert("path", format!("What-ifs, not filtered by {name}: they are sums of a part's loads from one level."));
        }
        if !["map", "tid"].contains(key) {
            expected.insert("concurrent", format!("Not filtered by {name}: an overlap is of two operations, each of many accesses; their map and threads are kept."));
        }
        if !["map", "tid", "time"].contains(key) {
            expected.insert("brackets", format!("Not filtered by {name}: an operation is many accesses; its map, thread and time are kept."));
        }
        assert_eq!(browser.eval(said), json!(expected), "{key}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Of each row that a table shows, the texts of some cells.
fn shown(browser: &mut Browser, table: &str, cells: &[usize]) -> Vec<Vec<String>> {
    let rows = browser.eval(&format!(
        "[...document.querySelectorAll('#{table} tbody tr')].filter(row => !row.hidden).map(row => {}.map(i => row.cells[i].textContent.replace(/[◎≡]+$/, '')))",
        json!(cells)
    ));
    serde_json::from_value(rows).unwrap()
}

fn count(n: u64) -> String {
    mempath::tables::thousands(n)
}

/// The lines that are shared in these rows: HITM, loads, stores, start, readers, writers and kind.
fn shared(tables: &Tables, rows: &[usize], size: u64) -> Vec<Vec<String>> {
    let kept = &tables.kept;
    let number = |name: &str| numbers(kept, name);
    let (base, off, cpu, map) = (number("base"), number("off"), number("cpu"), number("map"));
    let (loads, stores, hitm) = (number("loads"), number("stores"), number("hitm"));
    let instruction = texts(kept, "instruction");
    let mut lines = BTreeMap::<u64, Vec<usize>>::new();
    for &i in rows {
        let addr = (base[i] + off[i]) as u64;
        lines.entry(addr / size).or_default().push(i);
    }
    let mut all = Vec::new();
    for (line, rows) in lines {
        let of = |counts: &[i64]| -> BTreeSet<i64> {
            let own = rows.iter().filter(|&&i| counts[i] > 0);
            own.map(|&i| cpu[i]).collect()
        };
        let sum = |counts: &[i64]| rows.iter().map(|&i| counts[i].max(0)).sum::<i64>() as u64;
        let (readers, writers) = (of(&loads), of(&stores));
        let bounced = rows.iter().any(|&i| hitm[i] > 0);
        if readers.union(&writers).count() < 2 || (writers.is_empty() && !bounced) {
            continue;
        }
        let kind = sharing_of(rows.iter().map(|&i| Used {
            offset: (base[i] + off[i]) as u64 % size,
            width: match instruction[i].as_deref().unwrap() {
                "movzx ecx,byte ptr [rbx]" => Some(1),
                _ => Some(8),
            },
            cpu: cpu[i] as u16,
            map: Some(map[i] as u32),
            in_map: true,
            loads: loads[i] > 0,
            stores: stores[i] > 0,
            hitm: hitm[i] > 0,
        }));
        let names = |cpus: &BTreeSet<i64>| match cpus.is_empty() {
            true => "none".to_owned(),
            false => cpus
                .iter()
                .map(i64::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        };
        let told = rows.iter().any(|&i| hitm[i] >= 0);
        let hitms = match (told, sum(&loads)) {
            (true, _) => count(sum(&hitm)),
            (false, 0) => "n/a".to_owned(),
            (false, _) => "?".to_owned(),
        };
        let rank = (
            std::cmp::Reverse(sum(&hitm)),
            std::cmp::Reverse(sum(&loads) + sum(&stores)),
            line,
        );
        all.push((
            rank,
            vec![
                format!("{:#x}", line * size),
                count(sum(&loads)),
                count(sum(&stores)),
                hitms,
                names(&readers),
                names(&writers),
                kind.map_or("?", |kind| kind.text()).to_owned(),
            ],
        ));
    }
    all.sort();
    all.truncate(40);
    all.into_iter().map(|(_, line)| line).collect()
}

#[test]
fn views_count_what_a_selection_leaves() {
    let tables = synthetic::tables(20_000);
    let kept = &tables.kept;
    let (_folder, file, mut browser) = opened(&tables);
    browser.open(&file, "");
    browser.ready();
    let evidence = texts(kept, "evidence");
    let stages: BTreeMap<String, String> = texts(&tables.parts, "part")
        .into_iter()
        .zip(texts(&tables.parts, "stage"))
        .filter_map(|(part, stage)| Some((part?, stage?)))
        .collect();
    let (parts, levels) = (texts(kept, "part"), texts(kept, "level"));
    let (loads, steps) = (numbers(kept, "loads"), numbers(kept, "step"));
    let (maps, arrays) = (numbers(kept, "map"), numbers(kept, "array"));
    let mut selections: Vec<Vec<(&str, &str)>> = SELECTIONS.iter().map(|s| vec![*s]).collect();
    selections.push(vec![("map", "1"), ("cpu", "3"), ("index", "0-9")]);
    selections.push(vec![("op", "load"), ("level", "L3"), ("tid", "4105")]);
    for selection in &selections {
        select(&mut browser, selection);
        let rows = chosen(&tables, selection);
        assert!(rows.len() > 20, "{selection:?}");
        let tally = |of: &dyn Fn(usize) -> Option<String>| {
            let mut sums = BTreeMap::<String, u64>::new();
            for key in rows.iter().filter_map(|&i| of(i)) {
                *sums.entry(key).or_default() += 1;
            }
            sums
        };
        // Coverage.
        let told: BTreeMap<String, String> = shown(&mut browser, "evidence-table", &[0, 1])
            .into_iter()
            .map(|row| (row[0].replace(' ', "_"), row[1].clone()))
            .collect();
        let of = tally(&|i| evidence[i].clone());
        let expected: BTreeMap<String, String> =
            of.into_iter().map(|(name, n)| (name, count(n))).collect();
        assert_eq!(told, expected, "{selection:?}");
        assert!(shown(&mut browser, "reasons-table", &[0]).is_empty());
        // No function of these tables is the collector's.
        let all = rows.len() as u64;
        assert_eq!(
            shown(&mut browser, "background-table", &[0, 1]),
            [[
                "the program's".to_owned(),
                format!("{0} of {0} (100.0 %)", count(all))
            ]],
            "{selection:?}"
        );
        for (table, size) in [("sharing-table", 64), ("pairs-table", 128)] {
            assert_eq!(
                shown(&mut browser, table, &[1, 3, 4, 5, 6, 7, 9]),
                shared(&tables, &rows, size),
                "{table}, {selection:?}"
            );
        }
        // The path.
        let by_level = tally(&|i| {
            let level = levels[i].clone().unwrap_or("level unknown".to_owned());
            (loads[i] > 0 && maps[i] >= 0).then_some(level)
        });
        let mut path = BTreeMap::<String, u64>::new();
        for row in shown(&mut browser, "path-table", &[1, 2]) {
            *path.entry(row[0].clone()).or_default() +=
                row[1].replace(',', "").parse::<u64>().unwrap();
        }
        assert_eq!(path, by_level, "{selection:?}");
        let known: u64 = by_level
            .iter()
            .filter(|(level, _)| *level != "level unknown")
            .map(|(_, n)| n)
            .sum();
        assert_eq!(
            browser.eval("document.querySelector('#path .says').textContent"),
            format!("{} loads of the selection have a level.", count(known))
        );
        // Operations: every row that has a step.
        let sum: u64 = shown(&mut browser, "operations-table", &[6])
            .iter()
            .map(|row| row[0].replace(',', "").parse::<u64>().unwrap())
            .sum();
        let stepped = rows.iter().filter(|&&i| steps[i] >= 0).count();
        assert_eq!(sum, stepped as u64, "{selection:?}");
        // The small bars of the maps.
        let bars = browser.eval("[...document.querySelectorAll('#maps-table tr.row')].filter(row => !row.hidden).map(row => [Number(row.dataset.map), row.cells[1].querySelector('svg title').textContent.split(', ')])");
        if selection.as_slice() != [("map", "1")] {
            for bar in bars.as_array().unwrap() {
                let map = bar[0].as_i64().unwrap();
                let of = tally(&|i| {
                    let stage = &stages[parts[i].as_ref().unwrap()];
                    (maps[i] == map).then(|| stage.clone())
                });
                let told: BTreeSet<String> = serde_json::from_value(bar[1].clone()).unwrap();
                let expected = of.iter().map(|(stage, n)| format!("{stage} {}", count(*n)));
                assert_eq!(told, expected.collect::<BTreeSet<_>>(), "{selection:?}");
            }
        }
        // The heatmap of the map, or of the costliest.
        browser.eval("{ const s = [...document.querySelectorAll('#heatmap .controls select')][0]; s.value = 'loads'; s.dispatchEvent(new Event('change')); }");
        browser.ready();
        let map = selection.iter().find(|(key, _)| *key == "map");
        let array = map.map_or(0, |(_, map)| map.parse::<i64>().unwrap());
        let drawn = rows.iter().filter(|&&i| arrays[i] == array && loads[i] > 0);
        let says = browser.eval("document.querySelector('#heatmap .says').textContent");
        let says = says.as_str().unwrap();
        assert!(
            says.starts_with(&format!(
                "loads: {} loads drawn of the selection; ",
                count(drawn.count() as u64)
            )),
            "{selection:?}: {says}"
        );
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// A select of thousands of options takes longer to make than all views.
#[test]
fn of_many_maps_the_bar_has_those_that_a_view_names() {
    let mut tables = synthetic::tables(2_000);
    let one = tables.maps.slice(2, 1);
    for _ in 0..900 {
        tables.maps.vstack_mut(&one).unwrap();
    }
    let ids: Vec<u32> = (0..903).collect();
    let names: Vec<String> = ids.iter().map(|id| format!("map[int]int {id}")).collect();
    let maps = &mut tables.maps;
    for column in [
        Series::new("map".into(), ids),
        Series::new("map_name".into(), names),
    ] {
        maps.with_column(Column::from(column)).unwrap();
    }
    let (_folder, file, mut browser) = opened(&tables);
    browser.open(&file, "#maps&map=0");
    browser.ready();
    let options = browser.eval("[...document.querySelectorAll('#filter-map option')].map(o => [o.value, o.disabled, o.textContent])");
    let options: Vec<(String, bool, String)> = serde_json::from_value(options).unwrap();
    let named =
        "new Set([...document.querySelectorAll('[data-map]')].map(row => row.dataset.map)).size";
    let named = browser.eval(named).as_u64().unwrap() as usize;
    assert!((3..500).contains(&named), "{named}");
    // All, those, and how many there are besides.
    assert_eq!(options.len(), 1 + named + 1);
    let (_, disabled, said) = options.last().unwrap();
    let others = format!("{} others, which no view names", 903 - named);
    assert_eq!((*disabled, said), (true, &others));
    let shown = "document.querySelector('#filter-map').selectedOptions[0].textContent";
    assert_eq!(browser.eval(shown), "map[int]int 0");
    go(&mut browser, &[("map", "902")]);
    assert_eq!(browser.eval(shown), "map[int]int 902");
    browser.press("Escape");
    browser.ready();
    assert_eq!(browser.eval(shown), "all");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// By its summary, or by the browser as when it finds text in it.
#[test]
fn a_folded_table_follows_when_it_is_unfolded() {
    let tables = synthetic::tables(20_000);
    let (_folder, file, mut browser) = opened(&tables);
    browser.open(&file, "");
    browser.ready();
    let (cpu, latency) = (
        numbers(&tables.kept, "cpu"),
        numbers(&tables.kept, "latency_cycles"),
    );
    let counted = |chosen: &dyn Fn(usize) -> bool| {
        let own = (0..cpu.len()).filter(|&i| latency[i] >= 0 && chosen(i));
        own.count() as u64
    };
    let sum = |browser: &mut Browser| -> u64 {
        let rows = shown(browser, "latency-table", &[1]);
        let numbers = rows
            .iter()
            .map(|row| row[0].replace(',', "").parse::<u64>());
        numbers.map(Result::unwrap).sum()
    };
    let details = "document.querySelector('#latency-table').closest('details')";
    let click = format!("{details}.querySelector('summary').click()");
    let fold =
        |open: bool| format!("{details}.open = {open}; new Promise(done => setTimeout(done, 60))");
    let whole = counted(&|_| true);
    assert_eq!(sum(&mut browser), whole);
    go(&mut browser, &[("cpu", "3")]);
    browser.eval(&click);
    assert_eq!(sum(&mut browser), counted(&|i| cpu[i] == 3));
    go(&mut browser, &[("cpu", "4")]);
    assert_eq!(sum(&mut browser), counted(&|i| cpu[i] == 4));
    browser.eval(&fold(false));
    go(&mut browser, &[("cpu", "5")]);
    browser.eval(&fold(true));
    assert_eq!(sum(&mut browser), counted(&|i| cpu[i] == 5));
    browser.eval(&fold(false));
    browser.press("Escape");
    browser.ready();
    browser.eval(&click);
    assert_eq!(sum(&mut browser), whole);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn operations_and_overlaps_follow_map_thread_and_time() {
    let tables = synthetic::tables(20_000);
    let (_folder, file, mut browser) = opened(&tables);
    browser.open(&file, "");
    browser.ready();
    let says = "document.querySelector('#brackets .says').textContent.split(' drawn')[0]";
    assert_eq!(browser.eval(says), "3 of 3 operations");
    // They begin 1, 9 and 12 microseconds after the first sample, and last 3, 2 and to the end.
    for (selection, drawn, row) in [
        (("tid", "41"), 3, vec!["3", "2.0 µs", "3.0 µs", "1", "1"]),
        (("tid", "42"), 0, vec![]),
        (
            ("time", "5000-11500"),
            1,
            vec!["1", "2.0 µs", "2.0 µs", "0", "1"],
        ),
        (
            ("time", "3000-9500"),
            2,
            vec!["2", "2.0 µs", "3.0 µs", "1", "1"],
        ),
        (("map", "0"), 0, vec![]),
    ] {
        select(&mut browser, &[selection]);
        assert_eq!(
            browser.eval(says),
            format!("{drawn} of {drawn} operations of the selection"),
            "{selection:?}"
        );
        let rows = shown(&mut browser, "brackets-table", &[2, 3, 4, 5, 6]);
        let expected: Vec<Vec<&str>> = if row.is_empty() { vec![] } else { vec![row] };
        assert_eq!(rows, expected, "{selection:?}");
    }
    let counts = |browser: &mut Browser| {
        ["concurrent-table", "intruders-table", "stale-table"]
            .map(|table| shown(browser, table, &[0]).len())
    };
    for (selection, expected) in [
        (("map", "1"), [1, 2, 1]),
        (("map", "0"), [0, 0, 0]),
        (("tid", "42"), [1, 2, 1]),
        (("tid", "4103"), [0, 0, 1]),
        // The other thread came in 1.5 and 2 microseconds after the first sample.
        (("time", "1800-3000"), [1, 1, 1]),
        // CPU 3 stored, CPU 5 loaded from L1.
        (("cpu", "5"), [1, 2, 1]),
        (("cpu", "4"), [1, 2, 0]),
        (("level", "L1"), [1, 2, 1]),
        (("level", "RAM"), [1, 2, 0]),
        (("part", "bmap.elem"), [1, 2, 1]),
        (("part", "bmap.key"), [1, 2, 0]),
    ] {
        select(&mut browser, &[selection]);
        assert_eq!(counts(&mut browser), expected, "{selection:?}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// The exact interval of `src/tables/interval.rs`, and the tables come back as they were.
#[test]
fn intervals_are_exact_and_clearing_brings_all_back() {
    let tables = synthetic::tables(20_000);
    let (_folder, file, mut browser) = opened(&tables);
    browser.open(&file, "");
    browser.ready();
    for (hits, of) in [
        (0u64, 10u64),
        (10, 10),
        (1, 30),
        (437, 1_200),
        (90_000, 125_000),
    ] {
        let (low, high) = mempath::tables::clopper_pearson(hits, of);
        let told = browser.eval(&format!("Rows.clopperPearson({hits}, {of})"));
        for (told, expected) in told.as_array().unwrap().iter().zip([low, high]) {
            let told = told.as_f64().unwrap();
            assert!(
                (told - expected).abs() < 1e-9,
                "{hits} of {of}: {told} {expected}"
            );
        }
    }
    let all = "[...document.querySelectorAll('section.view[data-unfiltered]')].map(view => view.querySelector('h2').textContent + [...view.querySelectorAll('table, .says')].map(e => e.outerHTML).join(''))";
    let before = browser.eval(all);
    select(&mut browser, &[("cpu", "3"), ("time", "0-4999999999")]);
    let selected = browser.eval(all);
    browser.press("Escape");
    browser.ready();
    let after = browser.eval(all);
    let (Value::Array(before), Value::Array(selected), Value::Array(after)) =
        (before, selected, after)
    else {
        panic!("no views");
    };
    for ((before, selected), after) in before.iter().zip(&selected).zip(&after) {
        assert_eq!(before, after);
        // What overlaps in time is of no one CPU.
        if !before.as_str().unwrap().starts_with("Concurrent") {
            assert_ne!(before, selected);
        }
    }
    // The pictures, too.
    let drawn = "[...document.querySelectorAll('canvas')].map(c => c.toDataURL())";
    let whole = browser.eval(drawn);
    select(&mut browser, &[("map", "1")]);
    browser.press("Escape");
    browser.ready();
    assert_eq!(browser.eval(drawn), whole);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
