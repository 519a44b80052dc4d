//! The page in a real browser: Debian's Chromium, headless, from `file://`.

#[path = "browser/accessible.rs"]
mod accessible;
#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/copying.rs"]
mod copying;
#[path = "browser/heatmaps.rs"]
mod heatmaps;
#[path = "browser/linked.rs"]
mod linked;
#[path = "browser/listing.rs"]
mod listing;
#[path = "browser/states.rs"]
mod states;
#[path = "browser/synthetic.rs"]
mod synthetic;
#[path = "browser/views.rs"]
mod views;

use chromium::Browser;
use mempath::report::charts::CHARTS;
use serde_json::{Value, json};
use std::path::PathBuf;
use tempfile::TempDir;

/// A page in a folder that goes when the value does.
fn page(samples: usize) -> (TempDir, PathBuf, Value) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    let tables = synthetic::tables(samples);
    std::fs::write(&file, mempath::report::render(&tables).unwrap()).unwrap();
    (folder, file, serde_json::to_value(&tables.summary).unwrap())
}

#[test]
fn the_page_opens_without_a_word_and_without_a_request() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.call(
        "Network.emulateNetworkConditions",
        json!({"offline": true, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}),
    );
    browser.open(&file, "");
    browser.ready();
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(
        browser.requests(),
        vec![format!("file://{}", file.display())]
    );
    let canvases = browser
        .eval("[...document.querySelectorAll('canvas')].map(c => c.width > 600 && c.height > 60)");
    assert_eq!(canvases, json!(vec![true; 7]));
}

#[test]
fn a_large_page_stays_below_five_megabytes_and_its_data_is_decompressed() {
    let (_folder, file, _) = page(300_000);
    let size = std::fs::metadata(&file).unwrap().len();
    assert!(size < 5_000_000, "{size} bytes");
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(
        browser.eval("document.getElementById('data').type"),
        "application/gzip"
    );
    let said = browser.eval("document.querySelector('#latency .says').textContent");
    let tables = synthetic::tables(300_000);
    let samples: u64 = tables
        .latency
        .column("samples")
        .unwrap()
        .u64()
        .unwrap()
        .iter()
        .flatten()
        .sum();
    let samples: Vec<char> = samples.to_string().chars().collect();
    // Six digits: one separator.
    let (a, b): (String, String) = (samples[..3].iter().collect(), samples[3..].iter().collect());
    assert_eq!(said, format!("{a},{b} samples with a latency."));
}

#[test]
fn numbers_shown_are_those_of_the_summary() {
    let (_folder, file, summary) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    let steps: Vec<Value> = summary["funnel"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| json!([step["name"], step["samples"]]))
        .collect();
    let shown = browser.eval(
        "[...document.querySelectorAll('#funnel-table tbody tr')].map(row => [row.cells[0].textContent, Number(row.cells[1].textContent.replaceAll(',', ''))])",
    );
    assert_eq!(shown, json!(steps));
    let mut reasons: Vec<Value> = summary["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| json!([r[0], r[2]]))
        .collect();
    reasons.sort_by_key(|r| std::cmp::Reverse(r[1].as_u64()));
    let shown = browser.eval(
        "[...document.querySelectorAll('#reasons-table tbody tr')].map(row => [row.cells[0].textContent, Number(row.cells[2].dataset.sort)])",
    );
    assert_eq!(shown, json!(reasons));
}

#[test]
fn every_link_leads_to_its_view() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    let links = browser.eval(
        "[...document.querySelectorAll('nav a, .findings a')].map((a) => a.getAttribute('href'))",
    );
    let links = links.as_array().unwrap();
    // The first screen's two, a view each, the method; and those of the findings.
    assert!(links.len() > 2 + CHARTS.len() + 1);
    for (i, link) in links.iter().enumerate() {
        browser.eval(
            "document.activeElement.blur(); document.querySelector('#filter button').click()",
        );
        browser.eval(&format!(
            "document.querySelectorAll('nav a, .findings a')[{i}].click()"
        ));
        browser.ready();
        let hash = browser.eval("location.hash.split('&')[0]");
        assert_eq!(&hash, link);
        let top = browser.eval(&format!(
            "(() => {{ const {{ top, bottom }} = document.querySelector({link}).getBoundingClientRect(); return top < innerHeight && bottom > 0; }})()"
        ));
        assert_eq!(top, true, "{link}");
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// A finding that names one map leads to its rows.
#[test]
fn a_findings_link_selects_its_map() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    browser.eval("document.querySelector('.findings a[data-map]').click()");
    browser.ready();
    let (map, name) = (
        browser.eval("document.querySelector('.findings a[data-map]').dataset.map"),
        browser.eval("document.querySelector('.findings code').textContent"),
    );
    assert_eq!(
        browser.eval("location.hash.split('&')[1]"),
        format!("map={}", map.as_str().unwrap())
    );
    let shown = browser.eval("[...document.querySelectorAll('#maps-table tr.row')].filter(r => !r.hidden).map(r => r.cells[0].textContent)");
    let shown = shown.as_array().unwrap();
    assert_eq!(shown.len(), 1);
    assert!(shown[0].as_str().unwrap().contains(name.as_str().unwrap()));
}

#[test]
fn the_pointer_tells_the_counts_of_a_cell() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "#heatmap&measure=loads&scale=linear");
    browser.ready();
    // Over the plot until there is a cell: its text is that of the keyboard's marks.
    browser.eval("{ const c = document.querySelector('#heatmap canvas'); const f = c.getBoundingClientRect(); const tip = document.querySelector('.tip'); search: for (let y = 50; y < 300; y += 3) for (let x = 90; x < 900; x += 3) { c.dispatchEvent(new PointerEvent('pointermove', { clientX: f.left + x, clientY: f.top + y })); if (!tip.hidden) break search; } }");
    let text = browser.eval("document.querySelector('.tip').textContent");
    let text = text.as_str().unwrap();
    assert!(text.starts_with("buckets "), "{text}");
    for line in [
        "byte ",
        "\nL1 miss: ",
        "\nloads: ",
        "\nlatency: ",
        "\nHITM: ",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[test]
fn a_selection_reaches_the_views_and_the_fragment() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    browser.eval("{ const s = document.getElementById('filter-map'); s.value = '1'; s.dispatchEvent(new Event('change')); }");
    browser.ready();
    assert_eq!(browser.eval("location.hash"), "#map=1");
    let shown = "[...document.querySelectorAll('#maps-table tr.row')].filter(r => !r.hidden).map(r => r.dataset.map)";
    assert_eq!(browser.eval(shown), json!(["1"]));
    assert_eq!(
        browser.eval(
            "document.querySelector('[data-plot=heatmap] .says').textContent.includes('32 buckets')"
        ),
        true
    );
    browser.press("Escape");
    browser.ready();
    assert_eq!(browser.eval("location.hash"), "");
    assert_eq!(browser.eval(shown), json!(["0", "1", "2"]));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_selection_counts_every_table_again_and_clearing_brings_all_back() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    // Of each table that has such a column, the sum of its samples in rows that are shown.
    let sums = "Object.fromEntries(['maps-table', 'functions-table', 'lines-table'].map(id => { const table = document.getElementById(id); const at = [...table.tHead.rows[0].cells].findIndex(head => head.textContent === 'samples'); return [id, [...table.querySelectorAll('tbody tr:not(.child)')].filter(row => !row.hidden).map(row => Number(row.cells[at].dataset.sort)).reduce((a, b) => a + b, 0)]; }))";
    let html = "['maps', 'misses', 'functions', 'lines'].map(id => document.querySelector(`#${id} table`).outerHTML).join('')";
    let before = browser.eval(html);
    assert_eq!(
        browser.eval(sums),
        json!({"maps-table": 20_000, "functions-table": 20_000, "lines-table": 20_000})
    );
    let kept = synthetic::tables(20_000).kept;
    let cpu = kept.column("cpu").unwrap().u16().unwrap().clone();
    let op = kept.column("op").unwrap().str().unwrap().clone();
    let chosen = (0..kept.height())
        .filter(|&i| cpu.get(i) == Some(3) && op.get(i) == Some("load"))
        .count();
    browser.eval("for (const [key, value] of [['cpu', '3'], ['op', 'load']]) { const s = document.getElementById(`filter-${key}`); s.value = value; s.dispatchEvent(new Event('change')); }");
    browser.ready();
    assert_eq!(
        browser.eval(sums),
        json!({"maps-table": chosen, "functions-table": chosen, "lines-table": chosen})
    );
    assert_eq!(browser.eval("location.hash"), "#op=load&cpu=3");
    assert_eq!(
        browser.eval("[...document.querySelectorAll('.unreached')].filter(line => !line.hidden).map(line => line.closest('section').id)"),
        json!([
            "sharing",
            "concurrent",
            "background",
            "brackets",
            "path",
            "coverage"
        ])
    );
    browser.press("Escape");
    browser.ready();
    assert_eq!(browser.eval(html), before);
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn counting_again_over_all_gives_the_tables_of_the_report() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    // A time range that holds everything selects everything and counts all again.
    let text = "['maps', 'misses', 'functions', 'lines'].map(id => [...document.querySelectorAll(`#${id} td`)].map(cell => cell.textContent.replace(/\\s+/g, ' ').trim()))";
    let stated = browser.eval(text);
    browser.eval("{ const s = document.getElementById('filter-time'); s.value = '0-999999999999999'; s.dispatchEvent(new Event('change')); }");
    browser.ready();
    assert_eq!(
        browser.eval("document.querySelector('#maps-table td.number').textContent.length > 0"),
        true
    );
    assert_eq!(browser.eval(text), stated);
}

#[test]
fn a_drag_over_time_and_over_buckets_selects_them_everywhere() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    let drag = |id: &str, x: [u32; 2], y: [u32; 2]| {
        format!(
            "{{ const c = document.querySelector('#{id} canvas'); const f = c.getBoundingClientRect(); for (const [type, x, y] of [['pointerdown', {}, {}], ['pointerup', {}, {}]]) c.dispatchEvent(new PointerEvent(type, {{clientX: f.left + x, clientY: f.top + y}})); }}",
            x[0], y[0], x[1], y[1]
        )
    };
    browser.eval(&drag("latency", [200, 300], [100, 100]));
    browser.ready();
    let hash = browser.eval("location.hash");
    assert!(hash.as_str().unwrap().starts_with("#time="), "{hash}");
    browser.eval(&drag("heatmap", [300, 300], [47, 100]));
    browser.ready();
    let hash = browser.eval("decodeURIComponent(location.hash)");
    assert!(hash.as_str().unwrap().contains("&index=0-"), "{hash}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_link_shows_the_same_selection_and_says_where_it_does_not_reach() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "#order&cpu=3&level=RAM&lane=tid");
    browser.ready();
    assert_eq!(
        browser.eval("document.getElementById('filter-cpu').value"),
        "3"
    );
    let order = browser.eval(
        "{ const o = JSON.parse(JSON.stringify(document.querySelector('#order .says').textContent)); o }",
    );
    let rows = synthetic::tables(20_000).order;
    let number = |name: &str| {
        rows.column(name)
            .unwrap()
            .cast(&polars::prelude::DataType::Int64)
            .unwrap()
    };
    let (cpus, maps) = (number("cpu"), number("map"));
    let levels = rows.column("level").unwrap().str().unwrap().clone();
    let (cpus, maps) = (cpus.i64().unwrap(), maps.i64().unwrap());
    let of = (0..rows.height())
        .filter(|&i| maps.get(i) == Some(0))
        .count();
    let chosen = (0..rows.height())
        .filter(|&i| {
            maps.get(i) == Some(0) && cpus.get(i) == Some(3) && levels.get(i) == Some("RAM")
        })
        .count();
    let thousands = |n: usize| {
        if n < 1_000 {
            n.to_string()
        } else {
            format!("{},{:03}", n / 1_000, n % 1_000)
        }
    };
    assert!(
        order.as_str().unwrap().starts_with(&format!(
            "Sampled order: {} of {} accesses to this instance drawn",
            thousands(chosen),
            thousands(of)
        )),
        "{order}"
    );
    assert_eq!(
        browser.eval("document.querySelector('#coverage .unreached').textContent"),
        "Contradictions, not filtered by level, CPU: they are counts of the whole recording."
    );
    assert_eq!(
        browser.eval("document.querySelector('#order .unreached').hidden"),
        true
    );
}

#[test]
fn the_order_draws_edges_rules_and_windows_and_bins_what_is_too_much() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    // The second instance is the bucket of map 1, which several CPUs write.
    browser.open(&file, "#order&map=1");
    browser.ready();
    let rows = synthetic::tables(20_000).order;
    let number = |name: &str| {
        let column = rows
            .column(name)
            .unwrap()
            .cast(&polars::prelude::DataType::Int64);
        let column = column.unwrap().i64().unwrap().clone();
        (0..rows.height())
            .map(|i| column.get(i).unwrap_or(-1))
            .collect::<Vec<i64>>()
    };
    let (map, cpu, addr) = (number("map"), number("cpu"), number("base"));
    let line: Vec<i64> = addr
        .iter()
        .zip(number("off"))
        .map(|(base, off)| (base + off) / 64)
        .collect();
    let op = rows.column("op").unwrap().str().unwrap().clone();
    let snoop = rows.column("snoop").unwrap().str().unwrap().clone();
    let hung = (0..rows.height())
        .filter(|&i| map[i] == 1 && snoop.get(i) == Some("HITM"))
        .filter(|&i| {
            (0..i).any(|j| {
                map[j] == 1 && op.get(j) == Some("store") && line[j] == line[i] && cpu[j] != cpu[i]
            })
        })
        .count();
    let said = browser.eval("document.querySelector('#order .says').textContent");
    assert!(
        said.as_str()
            .unwrap()
            .ends_with(&format!("{hung} loads hang on another CPU's store (HITM).")),
        "{hung}: {said}"
    );
    browser.eval("{ const c = document.querySelector('#order canvas'); c.focus(); window.texts = []; for (let i = 0; i < 300; i++) { c.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'})); texts.push(document.querySelector('#order .says').textContent); } }");
    let has = |text: &str| format!("texts.some(said => said.includes({}))", json!(text));
    for text in [
        "others may see this one first; the store may still be in the store buffer",
        "last sampled store of another CPU: store of bmap.elem",
        "GC marking, 200.000 ms to 300.000 ms",
    ] {
        assert_eq!(browser.eval(&has(text)), true, "{text}");
    }
    // Growth of another map is not drawn.
    assert_eq!(browser.eval(&has("growth of map")), false);
    browser
        .eval("location.hash = '#order&instance=all'; new Promise(done => setTimeout(done, 50))");
    browser.ready();
    let said = browser.eval("document.querySelector('#order .says').textContent");
    assert!(
        said.as_str().unwrap().starts_with(
            "Sampled order: 20,000 of 20,000 raw accesses in this page drawn. Binned, "
        ),
        "{said}"
    );
    // 10 s hold 20,000: a tenth of a second holds some 200.
    browser.eval("{ const s = document.getElementById('filter-time'); s.value = '1000000000-1099999999'; s.dispatchEvent(new Event('change')); }");
    browser.ready();
    let kept = synthetic::tables(20_000).kept;
    let time = kept.column("time_ns").unwrap().u64().unwrap().clone();
    let start = synthetic::tables(20_000).summary.time_ns.unwrap().0;
    let inside = (0..kept.height())
        .filter(|&i| (1_000_000_000..=1_099_999_999).contains(&(time.get(i).unwrap() - start)))
        .count();
    assert_eq!(
        browser.eval("document.querySelector('#order .says').textContent"),
        format!("Sampled order: {inside} of 20,000 raw accesses in this page drawn.")
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// `src/report/rows.js` on five accesses that are worked out here.
#[test]
fn the_raw_accesses_are_unpacked_selected_and_counted() {
    let (_folder, file, _) = page(10);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    // kinds: load L1, load RAM with a HITM, store; a row stands for two of the recording. Columns are one
    // more than what they stand for, 0 is null: the fourth row has no latency, the fifth no map.
    browser.eval(
        "window.five = (() => {
           const kinds = [['load', 'L1', [2, 2, 0, 2, 0, 0, 0, 0, 0]], ['load', 'RAM', [2, 2, 0, 0, 0, 2, 2, 2, 0]], ['store', null, [2, 0, 2, null, null, null, null, null, 0]]];
           const head = { rows: 5, columns: [['kind', 1], ['map', 1], ['cpu', 1], ['time', 1], ['latency', 2]], kinds, parts: [], tids: [], time_unit_ns: 10 };
           const bytes = [1, 2, 2, 3, 1, 1, 1, 2, 2, 0, 1, 2, 1, 2, 1, 1, 2, 3, 4, 5, 11, 45, 21, 0, 31, 0, 1, 0, 0, 0];
           return Rows.unpack(Uint8Array.from([...new TextEncoder().encode(JSON.stringify(head) + '\\n'), ...bytes]));
         })(); 0",
    );
    assert_eq!(
        browser.eval("[...five.column.latency]"),
        json!([11, 45 + 256, 21, 0, 31])
    );
    assert_eq!(browser.eval("five.whole"), false);
    let picked = |selection: &str| format!("[...Rows.pick(five, {selection})]");
    assert_eq!(browser.eval(&picked("{map: '0'}")), json!([0, 1]));
    assert_eq!(
        browser.eval(&picked("{level: 'RAM', cpu: '0'}")),
        json!([2])
    );
    assert_eq!(
        browser.eval(&picked("{op: 'load', time: '10-29'}")),
        json!([1, 2])
    );
    browser.eval("window.sums = Rows.sums(five, Rows.pick(five, {}), (i) => five.column.map[i] || undefined); 0");
    assert_eq!(
        browser.eval("[...sums].map(([map, s]) => [map, s.samples, s.loads, s.stores, s.l1_hit, s.hitm, s.latency_sum, s.latency_n])"),
        // Map 1: latencies 10 and 300; map 2: 20, and a store that knows no level.
        json!([[1, 4, 4, 0, 2, 2, 620, 4], [2, 4, 2, 2, 0, 2, 40, 2]])
    );
    assert_eq!(
        browser.eval("[Rows.quantile(sums.get(1), 0.5), Rows.quantile(sums.get(1), 0.51), Rows.quantile(Rows.zero(), 0.5)]"),
        json!([10, 300, null])
    );
    assert_eq!(
        browser.eval("[Rows.range('3-9'), Rows.range('9-3'), Rows.range('x')]"),
        json!([[3, 9], null, null])
    );
}

/// The same of cells: of two grids, in bins of two buckets and of one.
#[test]
fn the_heatmaps_cells_are_unpacked_and_counted() {
    let (_folder, file, _) = page(10);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    // The second latency takes five bytes; of the last cell no level is known.
    browser.eval(
        "window.cells = (() => {
           const head = { rows: 3, columns: [['bin', 1], ['off', 1], ['samples', 1], ['l1_miss', 1], ['latency_sum', 5]], grids: [[2, 2], [1, 1]] };
           const bytes = [1, 3, 2, 9, 9, 1, 4, 6, 8, 2, 1, 0, 11, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
           return Rows.unpackCells(Uint8Array.from([...new TextEncoder().encode(JSON.stringify(head) + '\\n'), ...bytes]));
         })(); 0",
    );
    let sums = |grid: usize, key: &str| {
        format!(
            "[...Rows.cellSums(cells, cells.grids[{grid}], {key})].map(([at, s]) => [at, s.samples, s.l1_miss, s.latency_sum])"
        )
    };
    // 2^32 + 1, less one, is the second cell's latency.
    assert_eq!(
        browser.eval(&sums(0, "(bucket, off) => `${bucket} ${off}`")),
        json!([["0 8", 3, 1, 10], ["4 8", 5, 0, 4_294_967_296_u64]])
    );
    assert_eq!(
        browser.eval(&sums(0, "(_, off) => off")),
        json!([[8, 8, 1, 4_294_967_306_u64]])
    );
    assert_eq!(
        browser.eval(&sums(
            1,
            "(bucket, off) => (bucket === 1 ? off : undefined)"
        )),
        json!([[0, 7, null, null]])
    );
}

#[test]
fn a_column_sorts_and_a_pattern_searches() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    let names = "[...document.querySelectorAll('#maps-table tr.row')].filter(r => !r.hidden).map(r => r.dataset.map)";
    // Column 2 is samples: 2 has the fewest.
    browser.eval("{ const h = document.querySelectorAll('#maps-table thead th')[2]; h.querySelector('button').click(); h.querySelector('button').click(); }");
    browser.ready();
    assert_eq!(browser.eval(names), json!(["2", "1", "0"]));
    browser.eval("{ const q = document.getElementById('filter-q'); q.value = 'quota|cache'; q.dispatchEvent(new Event('input')); }");
    browser.ready();
    assert_eq!(browser.eval(names), json!(["2", "0"]));
    browser.eval("{ const q = document.getElementById('filter-q'); q.value = '('; q.dispatchEvent(new Event('input')); }");
    browser.ready();
    assert_eq!(
        browser.eval("document.getElementById('filter-q').classList.contains('bad')"),
        true
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn keys_are_listed_and_move_between_findings_and_marks() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    browser.press("?");
    assert_eq!(
        browser.eval("document.getElementById('keys').hidden"),
        false
    );
    browser.press("Escape");
    browser.ready();
    assert_eq!(browser.eval("document.getElementById('keys').hidden"), true);
    browser.press("n");
    assert_eq!(
        browser.eval("document.activeElement === document.querySelectorAll('.findings > li')[0]"),
        true
    );
    browser.press("/");
    assert_eq!(browser.eval("document.activeElement.id"), "filter-q");
    browser.eval("document.querySelector('#heatmap canvas').focus()");
    browser.press("ArrowRight");
    let said = browser.eval("document.querySelector('#heatmap .says').textContent");
    assert!(
        said.as_str().unwrap().starts_with("buckets 0-15, byte "),
        "{said}"
    );
}

#[test]
fn dark_mode_reaches_the_page_and_the_canvas() {
    let (_folder, file, _) = page(5_000);
    let mut browser = Browser::start();
    let scheme =
        |value: &str| json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
    browser.call("Emulation.setEmulatedMedia", scheme("dark"));
    browser.open(&file, "");
    browser.ready();
    let corner = "[...document.querySelector('#latency canvas').getContext('2d').getImageData(1, 359, 1, 1).data]";
    assert_eq!(
        browser.eval("getComputedStyle(document.body).backgroundColor"),
        "rgb(21, 24, 28)"
    );
    assert_eq!(browser.eval(corner), json!([21, 24, 28, 255]));
    browser.call("Emulation.setEmulatedMedia", scheme("light"));
    // The page hears of the change in its own time.
    let redrawn = format!(
        "new Promise(done => {{ const look = (n) => {corner}[0] === 255 || n === 0 ? done({corner}) : setTimeout(look, 20, n - 1); look(250); }})"
    );
    assert_eq!(browser.eval(&redrawn), json!([255, 255, 255, 255]));
}

#[test]
fn without_script_the_drawings_and_all_rows_are_there() {
    let (_folder, file, _) = page(5_000);
    let mut browser = Browser::start();
    browser.call(
        "Emulation.setScriptExecutionDisabled",
        json!({"value": true}),
    );
    browser.open(&file, "");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let seen = "(selector => [...document.querySelectorAll(selector)].filter(e => e.getBoundingClientRect().height > 0).length)";
    assert_eq!(
        browser.eval(&format!("{seen}('.drawings.replaced svg')")),
        11
    );
    assert_eq!(
        browser.eval(&format!("{seen}('canvas, #filter, .plot')")),
        0
    );
    // Three maps: five parts of each classic map, six of the swiss one.
    assert_eq!(
        browser.eval(&format!("{seen}('#maps-table tr')")),
        1 + 3 + 5 + 5 + 6
    );
}

#[test]
fn nothing_runs_past_the_edge_of_the_window() {
    let (_folder, file, _) = page(20_000);
    let mut browser = Browser::start();
    for width in [1280, 1920] {
        let metrics =
            json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        browser.call("Emulation.setDeviceMetricsOverride", metrics);
        browser.open(&file, "");
        browser.ready();
        let past = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.eval(past), 0, "at {width} pixels");
        let cut = browser.eval(
            "[...document.querySelectorAll('.scroll')].filter(e => e.offsetParent && e.scrollWidth > e.clientWidth).map(e => [e.getAttribute('aria-label'), e.scrollWidth, e.clientWidth])",
        );
        assert_eq!(cut, json!([]), "at {width} pixels");
    }
}

#[test]
fn hostile_names_run_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    let page = mempath::report::render(&synthetic::hostile()).unwrap();
    std::fs::write(&file, page).unwrap();
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests().len(), 1);
    assert_eq!(browser.eval("typeof window.hacked"), "undefined");
    assert_eq!(
        browser.eval("document.querySelectorAll('img, script').length"),
        3
    );
}
