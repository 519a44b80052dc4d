//! What the heatmaps draw, against the frames: each measure, both scales, the count under the pointer,
//! bins and single buckets, the arrays of a map that grew, cache-line borders, elems outside of the slots.

use super::chromium::Browser;
use super::copying::copied;
use super::synthetic;
use mempath::report::render;
use mempath::tables::{Tables, thousands};
use polars::prelude::{Column, DataFrame, DataType, NamedFrom, Series};
use serde_json::json;

/// Above the first cell of a chart, left of it, and right of it.
const TOP: f64 = 22.0 + 46.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 12.0;

fn opened(tables: &Tables) -> (tempfile::TempDir, Browser) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    std::fs::write(&file, render(tables).unwrap()).unwrap();
    let mut browser = Browser::start();
    browser.open(&file, "");
    browser.ready();
    (folder, browser)
}

/// Follows a link in the page; what the heatmap says then.
fn show(browser: &mut Browser, fragment: &str) -> String {
    browser.eval(&format!(
        "location.hash = {}; new Promise((done) => setTimeout(done, 60))",
        json!(fragment)
    ));
    browser.ready();
    let says = browser.eval("document.querySelector('#heatmap .says').textContent");
    says.as_str().unwrap().to_owned()
}

fn numbers(frame: &DataFrame, name: &str) -> Vec<Option<u64>> {
    let column = frame.column(name).unwrap().cast(&DataType::UInt64).unwrap();
    let values = column.u64().unwrap().clone();
    (0..frame.height()).map(|i| values.get(i)).collect()
}

/// Name on the page, unit, column.
const MEASURES: [(&str, &str, &str); 6] = [
    ("L1 miss", "loads", "l1_miss"),
    ("LLC miss", "loads", "llc_miss"),
    ("loads", "loads", "loads"),
    ("stores", "stores", "stores"),
    ("latency", "cycles", "latency_sum"),
    ("HITM", "loads", "hitm"),
];

fn fragment(measure: &str, rest: &str) -> String {
    format!("#heatmap&measure={}{rest}", measure.replace(' ', "%20"))
}

#[test]
fn every_measure_adds_up_to_the_cells_in_both_scales() {
    let tables = synthetic::tables(20_000);
    let (_folder, mut browser) = opened(&tables);
    let map = numbers(&tables.cells, "map");
    for (name, unit, column) in MEASURES {
        let values = numbers(&tables.cells, column);
        let own = |i: &usize| map[*i] == Some(1);
        let sum: u64 = (0..map.len()).filter(own).filter_map(|i| values[i]).sum();
        let most = (0..map.len()).filter(own).filter_map(|i| values[i]).max();
        for scale in ["logarithmic", "linear"] {
            let chosen = match scale {
                "linear" => "&map=1&scale=linear",
                _ => "&map=1",
            };
            let says = show(&mut browser, &fragment(name, chosen));
            let drawn = format!("{name}: {} {unit} drawn of the selection; ", thousands(sum));
            assert!(says.starts_with(&drawn), "{drawn}: {says}");
            let svg = chart(&mut browser);
            let legend = format!(
                "{} {unit} in a cell, {scale} scale",
                thousands(most.unwrap())
            );
            assert!(svg.contains(&legend), "{legend}");
        }
    }
    let (sums, n) = (
        numbers(&tables.cells, "latency_sum"),
        numbers(&tables.cells, "latency_n"),
    );
    let means = (0..map.len()).filter(|&i| map[i] == Some(1));
    let most = means.filter_map(|i| sums[i]?.checked_div(n[i]?)).max();
    let says = show(&mut browser, &fragment("mean latency", "&map=1"));
    assert!(
        says.starts_with(&format!(
            "mean latency: up to {} cycles drawn",
            thousands(most.unwrap())
        )),
        "{says}"
    );
    // Nearest rank over the raw accesses, which are all of the recording here.
    let kept = &tables.kept;
    let [array, index, off, latency] =
        ["array", "index", "off", "latency_cycles"].map(|name| numbers(kept, name));
    let mut cells = std::collections::BTreeMap::<_, Vec<u64>>::new();
    for i in (0..kept.height()).filter(|&i| array[i] == Some(1)) {
        let cell = cells.entry((index[i], off[i])).or_default();
        cell.extend(latency[i]);
    }
    let p95 = cells.into_values().filter_map(|mut all| {
        all.sort_unstable();
        let rank = (all.len() * 95).div_ceil(100);
        all.get(rank.checked_sub(1)?).copied()
    });
    let says = show(&mut browser, &fragment("p95 latency", "&map=1"));
    assert!(
        says.starts_with(&format!(
            "p95 latency: up to {} cycles drawn",
            thousands(p95.max().unwrap())
        )),
        "{says}"
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// The chart as it is copied.
fn chart(browser: &mut Browser) -> String {
    browser.eval(
        "Object.defineProperty(navigator, 'clipboard', { configurable: true, value: { writeText: async (text) => (window.copied = text) } }); 0",
    );
    copied(browser, "#heatmap [aria-label='Copy the chart as SVG']")
}

/// What the pointer tells over a row and a byte of the first array.
fn under(
    browser: &mut Browser,
    [row, of]: [f64; 2],
    [byte, bytes]: [f64; 2],
    height: f64,
) -> String {
    browser.eval(&format!(
        "{{ const c = document.querySelector('#heatmap canvas'); c.scrollIntoView(); const f = c.getBoundingClientRect(); c.dispatchEvent(new PointerEvent('pointermove', {{ clientX: f.left + {LEFT} + ({byte} + 0.5) * (f.width - {LEFT} - {RIGHT}) / {bytes}, clientY: f.top + {TOP} + ({row} + 0.5) * {height} / {of} }})); }}"
    ));
    let text = browser.eval("document.querySelector('.tip').textContent");
    text.as_str().unwrap().to_owned()
}

#[test]
fn the_pointer_tells_the_counts_of_the_frames_cell() {
    let tables = synthetic::tables(20_000);
    let (_folder, mut browser) = opened(&tables);
    show(&mut browser, "#heatmap&map=1&measure=loads");
    let cells = &tables.cells;
    let column = |name: &str| numbers(cells, name);
    let (map, index, off) = (column("map"), column("index"), column("off"));
    // tophash 5 of bucket 3, key 2 and elem 7 of bucket 20; 32 rows of 13 pixels.
    for (bucket, byte, part) in [
        (3, 5, "tophash"),
        (20, 8 + 8 * 2, "key 2"),
        (20, 72 + 8 * 7, "elem 7"),
    ] {
        let found = (0..map.len())
            .find(|&i| (map[i], index[i], off[i]) == (Some(1), Some(bucket), Some(byte)));
        let i = found.unwrap();
        let number = |name: &str, unit: &str| match column(name)[i] {
            Some(n) => format!("{} {unit}", thousands(n)),
            None => "unknown".to_owned(),
        };
        let mean = column("latency_sum")[i].unwrap() / column("latency_n")[i].unwrap();
        let text = under(
            &mut browser,
            [bucket as f64, 32.0],
            [byte as f64, 144.0],
            416.0,
        );
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            format!("bucket {bucket}, byte {byte}, {part}"),
            format!("L1 miss: {}", number("l1_miss", "loads")),
            format!("LLC miss: {}", number("llc_miss", "loads")),
            format!("loads: {}", number("loads", "loads")),
            format!("stores: {}", number("stores", "stores")),
            format!("latency: {}", number("latency_sum", "cycles")),
            format!("mean latency: {} cycles", thousands(mean)),
            format!("HITM: {}", number("hitm", "loads")),
        ];
        assert_eq!(lines[..8], expected, "{text}");
    }
}

#[test]
fn bins_are_sums_of_the_buckets_that_a_zoom_shows() {
    let tables = synthetic::tables(20_000);
    let (_folder, mut browser) = opened(&tables);
    let [map, index, loads] = ["map", "index", "loads"].map(|name| numbers(&tables.cells, name));
    let sum = |range: std::ops::Range<u64>| -> u64 {
        (0..map.len())
            .filter(|&i| map[i] == Some(0) && range.contains(&index[i].unwrap()))
            .filter_map(|i| loads[i])
            .sum()
    };
    let says = show(&mut browser, "#heatmap&map=0&measure=loads");
    let of = |n: u64, how: &str| {
        format!(
            "loads: {} loads drawn of the selection; {how}, one column a byte.",
            thousands(n)
        )
    };
    assert!(
        says.starts_with(&of(sum(0..4096), "one row is 16 of 4,096 buckets")),
        "{says}"
    );
    for (first, last) in [(0, 15), (100, 163), (4_000, 4_095)] {
        let selected = format!("#heatmap&map=0&measure=loads&index={first}-{last}");
        let says = show(&mut browser, &selected);
        let expected = of(sum(first..last + 1), "one row is one of 4,096 buckets");
        assert!(says.starts_with(&expected), "{expected} {says}");
    }
}

/// Sums of a column of `cells` over buckets of array 0, and its largest value by bin of buckets and byte.
fn exact(
    tables: &Tables,
    name: &str,
    buckets: std::ops::RangeInclusive<u64>,
    bytes: &std::ops::Range<u64>,
    bin: u64,
) -> (u64, u64) {
    let column = |name: &str| numbers(&tables.cells, name);
    let (array, index, off) = (column("array"), column("index"), column("off"));
    let values = column(name);
    let mut sums = std::collections::BTreeMap::<(u64, u64), u64>::new();
    for i in (0..values.len()).filter(|&i| array[i] == Some(0)) {
        let (index, off) = (index[i].unwrap(), off[i].unwrap());
        if buckets.contains(&index) && bytes.contains(&off) {
            *sums.entry((index / bin, off)).or_default() += values[i].unwrap_or(0);
        }
    }
    let most = sums.values().copied().max().unwrap_or(0);
    (sums.values().sum(), most)
}

/// What the raw accesses of the page, each as often as it stands for, would tell of them.
fn estimated(tables: &Tables, name: &str, buckets: std::ops::RangeInclusive<u64>) -> u64 {
    let [array, index, values] = ["array", "index", name].map(|name| numbers(&tables.kept, name));
    let own = (0..values.len()).filter(|&i| array[i] == Some(0));
    let own = own.filter(|&i| index[i].is_some_and(|index| buckets.contains(&index)));
    own.filter_map(|i| values[i]).sum()
}

/// Everything in a bucket of `map[string]*main.session`, and its tophash.
const ALL: std::ops::Range<u64> = 0..208;
const TOPHASH: std::ops::Range<u64> = 0..8;

#[test]
fn a_zoom_of_a_recording_with_more_accesses_than_the_page_is_exact() {
    let tables = synthetic::tables(300_000);
    assert_eq!(tables.kept.height(), 100_000);
    let (_folder, mut browser) = opened(&tables);
    let depth = "Zooming is exact down to a single bucket.";
    let says = show(&mut browser, "#heatmap&map=0&measure=loads");
    assert!(says.contains(depth), "{says}");
    let missed = "document.querySelector('#heatmap .unreached').hidden";
    for (first, last, per_row) in [
        (0, 15, 1),
        (3, 3, 1),
        (101, 163, 1),
        (4_000, 4_095, 1),
        (500, 999, 2),
    ] {
        for (name, unit, column) in MEASURES {
            let (sum, most) = exact(&tables, column, first..=last, &ALL, per_row);
            let chosen = format!("&map=0&index={first}-{last}");
            let says = show(&mut browser, &fragment(name, &chosen));
            let rows = match per_row {
                1 => "one row is one of 4,096 buckets".to_owned(),
                n => format!("one row is {n} of 4,096 buckets"),
            };
            let expected = format!(
                "{name}: {} {unit} drawn of the selection; {rows}, one column a byte. {depth}",
                thousands(sum)
            );
            assert!(says.starts_with(&expected), "{expected}: {says}");
            if per_row == 1 && most > 1 {
                let legend = format!("{} {unit} in a cell", thousands(most));
                assert!(chart(&mut browser).contains(&legend), "{legend}");
            }
        }
        assert_eq!(browser.eval(missed), true, "{first}-{last}");
    }
    // What the raw accesses tell is another number.
    assert_ne!(
        estimated(&tables, "loads", 101..=163),
        exact(&tables, "loads", 101..=163, &ALL, 1).0
    );
    // A byte is of one part, so that a part is told exactly as well.
    let (sum, _) = exact(&tables, "loads", 101..=163, &TOPHASH, 1);
    let says = show(
        &mut browser,
        "#heatmap&map=0&measure=loads&index=101-163&part=bmap.tophash",
    );
    let expected = format!("loads: {} loads drawn of the selection; ", thousands(sum));
    assert!(says.starts_with(&expected), "{expected}: {says}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_table_of_cells_follows_a_zoom_exactly() {
    let tables = synthetic::tables(300_000);
    let (_folder, mut browser) = opened(&tables);
    browser.unfold();
    // Half of the first row, which is of 16 buckets.
    show(&mut browser, "#heatmap&map=0&index=0-7");
    let rows = browser.eval("[...document.querySelectorAll('#cells-table tbody tr')].filter(row => !row.hidden).map(row => [row.dataset.cell, row.cells[4].textContent, row.cells[5].textContent, row.cells[9].textContent])");
    let rows: Vec<[String; 4]> = serde_json::from_value(rows).unwrap();
    assert!(rows.len() > 10, "{rows:?}");
    for [cell, samples, loads, latency] in rows {
        let place: Vec<u64> = cell.split(':').map(|n| n.parse().unwrap()).collect();
        assert_eq!(place[..2], [0, 0]);
        let byte = place[2]..place[2] + 1;
        let told = [
            (samples, "samples"),
            (loads, "loads"),
            (latency, "latency_sum"),
        ];
        for (shown, column) in told {
            let (sum, _) = exact(&tables, column, 0..=7, &byte, 16);
            assert_eq!(shown, thousands(sum), "{cell} {column}");
        }
    }
    let missed = "document.querySelector('#heatmap .unreached').textContent";
    assert_eq!(browser.eval(missed), "");
    // A CPU is told of raw accesses alone.
    let says = show(&mut browser, "#heatmap&map=0&measure=loads&index=0-7&cpu=3");
    assert!(says.starts_with("loads: \u{2248}"), "{says}");
    let missed = browser.eval(missed);
    let missed = missed.as_str().unwrap();
    assert!(
        missed.starts_with("Numbers marked \u{2248} are estimated from the ")
            && missed.ends_with(" selected of the 100,000 raw accesses in this page."),
        "{missed}"
    );
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// An array of more buckets than the frame has bins: as it is when these hold four each.
#[test]
fn a_zoom_below_the_depth_of_the_page_is_estimated_and_says_so() {
    let mut tables = synthetic::tables(300_000);
    let with = |frame: &DataFrame, name: &str, values: Vec<u64>| {
        let mut frame = frame.clone();
        frame
            .with_column(Column::from(Series::new(name.into(), values)))
            .unwrap();
        frame
    };
    let [array, index] = ["array", "index"].map(|name| numbers(&tables.cells, name));
    let binned = array.iter().zip(&index).map(|(array, index)| match array {
        Some(0) => index.unwrap() / 4 * 4,
        _ => index.unwrap(),
    });
    let binned = binned.collect();
    tables.cells = with(&tables.cells, "index", binned);
    tables.arrays = with(&tables.arrays, "index_width", vec![4, 1, 1]);
    let (_folder, mut browser) = opened(&tables);
    let depth =
        "Zooming is exact of 4,096 buckets down to 4 in a row; below that raw accesses tell.";
    let drawn = |sum: u64, rows: &str| {
        format!(
            "loads: {} loads drawn of the selection; one row is {rows}, one column a byte. {depth}",
            thousands(sum)
        )
    };
    for (first, last, whole, rows) in [
        (16, 31, 16..=31, "4 of 4,096 buckets"),
        (2_000, 3_999, 2_000..=3_999, "8 of 4,096 buckets"),
        (
            17,
            30,
            16..=31,
            "4 of 4,096 buckets: buckets 16-31, whole rows that hold the selected",
        ),
    ] {
        let (sum, _) = exact(&tables, "loads", whole, &ALL, 4);
        let selected = format!("#heatmap&map=0&measure=loads&index={first}-{last}");
        let says = show(&mut browser, &selected);
        assert!(says.starts_with(&drawn(sum, rows)), "{sum} {rows}: {says}");
    }
    let sum = estimated(&tables, "loads", 16..=19);
    let says = show(&mut browser, "#heatmap&map=0&measure=loads&index=16-19");
    let expected = format!(
        "loads: \u{2248}{} loads drawn of the selection; one row is one of 4,096 buckets, one column a byte. {depth}",
        thousands(sum)
    );
    assert!(says.starts_with(&expected), "{expected}: {says}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// The chart's rectangles: x, y, width, height.
fn boxes(browser: &mut Browser) -> Vec<[f64; 4]> {
    let svg = chart(browser);
    browser.eval(&format!(
        "window.svg = new DOMParser().parseFromString({}, 'image/svg+xml'); 0",
        json!(svg)
    ));
    // The paper is as wide as all.
    let boxes = browser.eval("[...svg.querySelectorAll('rect')].slice(1).map(r => ['x', 'y', 'width', 'height'].map(name => Number(r.getAttribute(name))))");
    serde_json::from_value(boxes).unwrap()
}

fn width(browser: &mut Browser) -> f64 {
    let width =
        browser.eval("document.querySelector('#heatmap canvas').getBoundingClientRect().width");
    width.as_f64().unwrap() - LEFT - RIGHT
}

#[test]
fn borders_of_lines_and_pairs_stand_where_the_base_puts_them() {
    let tables = synthetic::tables(20_000);
    let (_folder, mut browser) = opened(&tables);
    show(&mut browser, "#heatmap&map=1&measure=loads");
    let boxes = boxes(&mut browser);
    let plot = width(&mut browser);
    // The array begins at 0xc000800010 and a bucket is 144 bytes: bucket 0 has line borders 48 and 112
    // bytes on, of which that at 0xc000800080 begins a pair; bucket 1 32 and 96, the pair at 0xc000800100.
    for (row, byte, pair) in [
        (0.0, 48.0, false),
        (0.0, 112.0, true),
        (1.0, 32.0, false),
        (1.0, 96.0, true),
    ] {
        let wide = if pair { 3.0 } else { 1.0 };
        let expected = [
            LEFT + byte * plot / 144.0 - wide / 2.0,
            TOP + row * 13.0,
            wide,
            13.0,
        ];
        let near = |found: &&[f64; 4]| {
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 0.02)
        };
        assert_eq!(boxes.iter().filter(near).count(), 1, "{expected:?}");
    }
}

/// The arrays of one map, the one that it grew out of first.
#[test]
fn a_map_that_grew_shows_its_arrays_one_after_the_other() {
    let mut tables = synthetic::tables(20_000);
    let replaced = |frame: &DataFrame, name: &str, values: Series| {
        let mut frame = frame.clone();
        frame
            .with_column(Column::from(values.with_name(name.into())))
            .unwrap();
        frame
    };
    // The array of map 1 becomes the old one of map 0.
    tables.arrays = replaced(&tables.arrays, "map", Series::new("".into(), [0u32, 0, 2]));
    tables.arrays = replaced(
        &tables.arrays,
        "old",
        Series::new("".into(), [false, true, false]),
    );
    let (_folder, mut browser) = opened(&tables);
    let says = show(&mut browser, "#heatmap&map=0&measure=loads");
    let [array, loads] = ["array", "loads"].map(|name| numbers(&tables.cells, name));
    let sum = |wanted: u64| -> u64 {
        let own = (0..array.len()).filter(|&i| array[i] == Some(wanted));
        own.filter_map(|i| loads[i]).sum()
    };
    let first = format!(
        "loads: {} loads drawn of the selection; one row is one of 32 buckets",
        thousands(sum(1))
    );
    assert!(says.starts_with(&first), "{says}");
    let second = format!(
        "loads: {} loads drawn of the selection; one row is 16 of 4,096 buckets",
        thousands(sum(0))
    );
    assert!(says.contains(&second), "{says}");
    let svg = chart(&mut browser);
    let old = svg.find("32 buckets, oldbuckets</text>").unwrap();
    let new = svg.find("4,096 buckets</text>").unwrap();
    assert!(old < new);
}

/// Elems of more than 128 bytes: a strip of their own, with the counts of the frame.
#[test]
fn elems_outside_of_the_slots_are_drawn_where_they_are() {
    let tables = synthetic::with_objects(20_000);
    let (_folder, mut browser) = opened(&tables);
    let frame = &tables.outside;
    let [in_pair, off, loads, stores] =
        ["in_pair", "off", "loads", "stores"].map(|name| numbers(frame, name));
    let all: u64 = loads.iter().flatten().sum();
    let says = show(&mut browser, "#heatmap&map=2&measure=loads");
    let drawn = format!(
        "loads: {} loads on indirect_elem.elem drawn of the selection; one row is a place in a pair of lines where one begins, one column a byte.",
        thousands(all)
    );
    assert!(says.contains(&drawn), "{drawn} {says}");
    let samples: u64 = all + stores.iter().flatten().sum::<u64>();
    let note = format!(
        "map[uint32]main.quota at quota.go:88: Go keeps its elems each in an object of its own and a pointer in the slot; {} samples on them are drawn by byte of the elem.",
        thousands(samples)
    );
    let notes =
        browser.eval("[...document.querySelectorAll('#heatmap .note')].map(p => p.textContent)");
    assert!(notes.as_array().unwrap().contains(&json!(note)), "{notes}");
    // Nothing of them is drawn as bytes of a group.
    let cells = numbers(&tables.cells, "loads");
    let map = numbers(&tables.cells, "map");
    let in_groups: u64 = (0..map.len())
        .filter(|&i| map[i] == Some(2))
        .filter_map(|i| cells[i])
        .sum();
    assert!(
        says.starts_with(&format!("loads: {} loads drawn", thousands(in_groups))),
        "{says}"
    );
    // Objects are 192 bytes apart, so that they begin at byte 0 or 64 of a pair of lines: of the first the
    // pair border is 128 bytes on and a line border 64, of the second the other way round.
    let found = boxes(&mut browser);
    let plot = width(&mut browser);
    for (byte, pair) in [(64.0, false), (128.0, true), (64.0, true), (128.0, false)] {
        let wide = if pair { 3.0 } else { 1.0 };
        let x = LEFT + byte * plot / synthetic::QUOTA as f64 - wide / 2.0;
        let near = |b: &&[f64; 4]| {
            (b[0] - x).abs() < 0.02 && (b[2] - wide).abs() < 0.02 && (b[3] - 14.0).abs() < 0.02
        };
        assert_eq!(found.iter().filter(near).count(), 1, "{byte} {pair}");
    }
    // By keyboard: the mark of the frame's cell with the most loads.
    let most = (0..frame.height()).max_by_key(|&i| loads[i]).unwrap();
    browser.eval("{ const c = document.querySelector('#heatmap canvas'); c.focus(); window.texts = []; for (let i = 0; i < 2000; i++) { c.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight' })); texts.push(document.querySelector('#heatmap .says').textContent); } }");
    let begins = format!(
        "begins at byte {} of a pair of lines, byte {}, elem, ",
        in_pair[most].unwrap(),
        off[most].unwrap()
    );
    let loads_of = format!(", loads: {} loads, ", thousands(loads[most].unwrap()));
    let texts = browser.eval(&format!(
        "texts.filter(text => text.startsWith({}))",
        json!(begins)
    ));
    let texts = texts.as_array().unwrap();
    assert!(!texts.is_empty(), "{begins}");
    assert!(
        texts
            .iter()
            .all(|text| text.as_str().unwrap().contains(&loads_of)),
        "{texts:?}"
    );
    // Selected: counted again from the raw accesses.
    let kept = &tables.kept;
    let [cpu, kept_loads] = ["cpu", "loads"].map(|name| numbers(kept, name));
    let part = kept.column("part").unwrap().str().unwrap().clone();
    let chosen = (0..kept.height())
        .filter(|&i| cpu[i] == Some(3) && part.get(i) == Some("indirect_elem.elem"));
    let chosen: u64 = chosen.filter_map(|i| kept_loads[i]).sum();
    let says = show(&mut browser, "#heatmap&map=2&measure=loads&cpu=3");
    let drawn = format!(
        "loads: {} loads on indirect_elem.elem drawn of the selection; ",
        thousands(chosen)
    );
    assert!(says.contains(&drawn), "{drawn} {says}");
    // Without a script, too.
    let page = render(&tables).unwrap();
    let name =
        "map[uint32]main.quota at quota.go:88: elems of 184 bytes, each in an object of its own";
    assert!(page.contains(name));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
