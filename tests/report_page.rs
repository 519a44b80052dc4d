//! The page as a whole, from tables that are made up: honest states, hostile names, golden.

#[path = "browser/synthetic.rs"]
mod synthetic;

use mempath::recording::{Gap, GapKind, Memory};
use mempath::report::charts::CHARTS;
use mempath::report::render;
use mempath::tables::{Binary, Step, Tables};
use polars::prelude::{Column, DataFrame, DataType, NamedFrom, Series};
use sha2::{Digest, Sha256};

#[test]
fn the_same_tables_give_the_same_bytes() {
    let (one, two) = (
        render(&synthetic::tables(3_000)),
        render(&synthetic::tables(3_000)),
    );
    assert!(one.unwrap() == two.unwrap());
}

#[test]
fn every_chart_has_its_section_its_question_and_a_link() {
    let page = render(&synthetic::tables(3_000)).unwrap();
    for chart in CHARTS {
        assert_eq!(
            page.matches(&format!("<section id=\"{}\"", chart.id()))
                .count(),
            1
        );
        let link = format!("<a href=\"#{}\">{}</a>", chart.id(), chart.title());
        let nav = page
            .split_once("<nav")
            .unwrap()
            .1
            .split_once("</nav>")
            .unwrap()
            .0;
        assert_eq!(nav.matches(&link).count(), 1);
        assert_eq!(page.matches(chart.question()).count(), 1, "{}", chart.id());
    }
}

#[test]
fn the_policy_allows_the_pages_own_script_and_style_and_nothing_else() {
    use base64::Engine;
    let page = render(&synthetic::tables(10)).unwrap();
    let between = |from: &str, to: &str| page.split_once(from).unwrap().1.split_once(to).unwrap().0;
    let hash = |text: &str| base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src &#39;none&#39;; script-src &#39;sha256-{}&#39;; style-src &#39;sha256-{}&#39;; \
         img-src data:; base-uri &#39;none&#39;; form-action &#39;none&#39;",
        hash(between("<script>", "</script>")),
        hash(between("<style>", "</style>"))
    );
    assert_eq!(
        between("Content-Security-Policy\" content=\"", "\""),
        policy
    );
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        let found: Vec<&str> = page
            .match_indices(outside)
            .map(|(at, _)| page.get(at..at + 40).unwrap_or_default())
            // The name of SVG's namespace is no address that is asked for.
            .filter(|text| !text.starts_with("http://www.w3.org/2000/svg"))
            .collect();
        assert_eq!(found, Vec::<&str>::new(), "{outside}");
    }
    assert_eq!(page.matches(" style=").count(), 0);
}

#[test]
fn hostile_names_stay_text_everywhere() {
    let page = render(&synthetic::hostile()).unwrap();
    // The data, the raw accesses and the script; the names' own are text.
    assert_eq!(page.matches("<script").count(), 3);
    assert_eq!(page.matches("</script").count(), 3);
    assert_eq!(page.matches("<img").count(), 0);
    let raw: Vec<char> = page
        .chars()
        .filter(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{202e}' | '\u{2028}'))
        .collect();
    assert_eq!(raw, Vec::<char>::new());
    assert!(page.contains("<title>Map memory accesses of script&gt;&lt;img src=x onerror=window.hacked=1&gt;&quot;&#39;`&amp;\\u{202e}\\u{0}\\u{1b}[31m\\u{2028}--&gt;]]&gt;</title>"));
}

/// Nor does a name that holds markup come through under its pseudonym.
#[test]
fn hostile_names_are_redacted_like_others() {
    let mut tables = synthetic::hostile();
    // Words of mempath's own are no names.
    tables.summary = synthetic::tables(10).summary;
    let bad = || synthetic::HOSTILE.to_owned();
    let summary = &mut tables.summary;
    (summary.recording, summary.meta.hostname) = (bad(), Some(bad()));
    (summary.binaries[0].path, summary.binaries[0].found) = (bad(), Err(bad()));
    summary.meta.cmdline = ["perf", "record", "-e", "x", "--"]
        .map(str::to_owned)
        .into();
    summary.meta.cmdline.push(bad());
    summary.findings[0].text = format!("`{}`: half of it", bad());
    summary.together.overlaps[0].first.0.function = Some(bad());
    summary.together.overlaps[0].first.1.file = Some(bad());
    let page = render(&mempath::tables::redact(&tables).unwrap()).unwrap();
    assert!(render(&tables).unwrap().contains("window.hacked"));
    assert!(!page.contains("hacked"));
}

/// The text of a table's cells, row by row.
fn cells(page: &str, table: &str) -> Vec<Vec<String>> {
    let table = page
        .split_once(&format!("<table id=\"{table}\">"))
        .unwrap()
        .1;
    let table = table.split_once("</table>").unwrap().0;
    let text = |cell: &str| {
        let cell = cell.split_once("</t").map_or("", |(cell, _)| cell);
        let pieces = cell
            .split('<')
            .map(|piece| piece.rsplit('>').next().unwrap());
        pieces.collect::<String>()
    };
    let body = table.split("<tr").skip(2);
    body.map(|row| {
        let row = row.split_once("</tr>").unwrap().0;
        let starts = row.split("<t").skip(1);
        starts.map(text).collect()
    })
    .collect()
}

#[test]
fn what_the_analyses_found_stands_in_its_views() {
    let page = render(&synthetic::tables(3_000)).unwrap();
    let map = "map[uint64]uint64 at counters.go:17 (hits)";
    assert_eq!(
        cells(&page, "brackets-table"),
        [[map, "assign", "3", "2.0 µs", "3.0 µs", "1", "1"]]
    );
    let read = "load of hmap.flags, runtime.mapaccess1_fast64 map.go:40";
    assert_eq!(
        cells(&page, "intruders-table"),
        [
            [
                map,
                "assign by thread 41",
                "1.0 µs",
                "thread 42",
                "500 ns",
                read
            ],
            [
                map,
                "assign by thread 41",
                "1.0 µs",
                "thread 42",
                "1.0 µs",
                read
            ],
        ]
    );
    assert_eq!(
        cells(&page, "concurrent-table"),
        [[
            map,
            "assign by thread 41",
            "delete by thread 42",
            "17",
            "set",
            "fatal error: concurrent map writes",
            "store of hmap.flags, runtime.mapassign_fast64 map.go:130",
            "load of bmap.key, runtime.mapdelete_fast64 map.go:310",
        ]]
    );
    assert_eq!(
        cells(&page, "background-table"),
        [
            [
                "the program&#39;s",
                "900 of 1,000 (90.0 %)",
                "88.0-91.8 %",
                "90 % 90,000"
            ],
            [
                "GC marking",
                "100 of 1,000 (10.0 %)",
                "8.2-12.0 %",
                "10 % 10,000"
            ],
        ]
    );
    assert_eq!(
        cells(&page, "stale-table"),
        [[
            map,
            "bmap.elem[2]",
            "0xc000800010",
            "130 ns",
            "CPU 3",
            "store of bmap.elem, main.record map.go:88",
            "CPU 5, L1",
            "load of bmap.elem, main.lookup map.go:19",
        ]]
    );
    for sentence in [
        "Looked at: the first 5,000 of 20,000 accesses, as far as they have an address.",
        "During GC marking a load of the program takes +12.5 cycles (95 % interval +4.2 to +20.8; 120 samples against 780).",
        "Whether growth costs the program&#39;s loads is not known: 3 samples against 897 with a latency.",
        "1 of 64 loads from their own L1 or LFB came within 500 ns of a store to the same word by another CPU",
        "3 of 3 operations drawn",
        "3.0 µs, 800 ns of it growth; check flags, write key",
        "2.0 µs, 800 ns of it growth; not the source",
        "not over at the end; check flags, write key",
    ] {
        assert!(page.contains(sentence), "{sentence}");
    }
}

#[test]
fn a_map_that_grew_shows_its_arrays_in_order_and_says_what_lies_outside() {
    let mut tables = synthetic::tables(3_000);
    // Array 1 is what map 0 grew from; its elems are pointers to what is elsewhere.
    let series = |name: &str, values: Vec<u32>| Column::from(Series::new(name.into(), values));
    tables
        .arrays
        .with_column(series("map", vec![0, 0, 2]))
        .unwrap();
    let old = Series::new("old".into(), [false, true, false]);
    tables.arrays.with_column(Column::from(old)).unwrap();
    let parts = tables.parts.column("part").unwrap().str().unwrap().clone();
    let maps = tables.parts.column("map").unwrap().u32().unwrap().clone();
    let samples = tables
        .parts
        .column("samples")
        .unwrap()
        .u64()
        .unwrap()
        .clone();
    let is_elem = |i: usize| parts.get(i) == Some("bmap.elem") && maps.get(i) == Some(0);
    let elems: u64 = (0..parts.len())
        .filter(|&i| is_elem(i))
        .filter_map(|i| samples.get(i))
        .sum();
    let renamed: Vec<Option<&str>> = (0..parts.len())
        .map(|i| {
            if is_elem(i) {
                Some("indirect_elem.elem")
            } else {
                parts.get(i)
            }
        })
        .collect();
    tables
        .parts
        .with_column(Column::from(Series::new("part".into(), renamed)))
        .unwrap();
    let page = render(&tables).unwrap();
    let heatmap = page.split_once("<section id=\"heatmap\"").unwrap().1;
    let heatmap = heatmap.split_once("</section>").unwrap().0;
    let drawn: Vec<&str> = heatmap
        .split("<title>")
        .skip(1)
        .map(|title| title.split_once("</title>").unwrap().0)
        .collect();
    let name = "map[string]*main.session at cache.go:42 (s.sessions)";
    assert_eq!(
        drawn,
        [
            format!("L1 miss by byte of {name}: 0xc000800010, 32 buckets, oldbuckets"),
            format!("LLC miss by byte of {name}: 0xc000800010, 32 buckets, oldbuckets"),
            format!("L1 miss by byte of {name}: 0xc000400000, 4,096 buckets"),
            format!("LLC miss by byte of {name}: 0xc000400000, 4,096 buckets"),
        ]
    );
    assert!(heatmap.contains(&format!(
        "{name}: Go keeps its elems each in an object of its own and a pointer in the slot; {elems} samples on them are not drawn: their offset is not known."
    )));
}

#[test]
fn no_sample_at_all_is_a_page_that_says_so() {
    let page = render(&synthetic::empty()).unwrap();
    for sentence in [
        "No map was found: no sample hit map code or map memory. The coverage below says why.",
        "No map was found, so there is no lookup to take apart.",
        "No access could be placed in a bucket or group, so there is nothing to draw.",
        "This recording has no latencies",
        "No access could be placed in a bucket or group.",
        "No function was sampled, or no symbols were found.",
        "No source line was sampled, or no line table was found.",
        "No sample has a part.",
        "None: no map was found in this recording, so nothing can stand out.",
    ] {
        assert!(page.contains(sentence), "{sentence}");
    }
    assert_eq!(page.matches("<svg").count(), 0);
}

#[test]
fn one_sample_is_drawn() {
    let page = render(&synthetic::tables(1)).unwrap();
    assert!(page.contains("3 maps, 1 samples"));
}

/// What breakpoints record: every access, no level, no latency.
fn breakpoints() -> Tables {
    let mut tables = synthetic::tables(400);
    let unknown = [
        "l1_hit",
        "lfb",
        "l1_miss",
        "llc_miss",
        "hitm",
        "latency_sum",
        "latency_n",
        "latency_p50",
        "latency_p95",
        "level",
        "latency_cycles",
    ];
    let without = |frame: &DataFrame| {
        let kept = frame
            .columns()
            .iter()
            .filter(|c| !unknown.contains(&c.name().as_str()));
        DataFrame::new(frame.height(), kept.cloned().collect()).unwrap()
    };
    for frame in [
        &mut tables.maps,
        &mut tables.parts,
        &mut tables.arrays,
        &mut tables.cells,
        &mut tables.functions,
        &mut tables.lines,
        &mut tables.order,
    ] {
        *frame = without(frame);
    }
    tables.latency = DataFrame::empty();
    for event in &mut tables.summary.events {
        event.memory = Memory::Breakpoint;
    }
    tables
}

#[test]
fn a_recording_without_levels_draws_accesses_and_calls_the_order_complete() {
    let page = render(&breakpoints()).unwrap();
    assert!(page.contains("This recording has no cache levels: misses are not known."));
    assert!(page.contains("Every access: recorded with breakpoints"));
    assert!(page.contains("<title>loads by byte of "));
    assert!(!page.contains("<title>L1 miss by byte of "));
    // Loads of each map without a level: not known, which is not zero.
    assert!(page.contains("<span class=\"absent\" title=\"not recorded or not known\">?</span>"));
}

#[test]
fn a_program_that_is_not_go_is_named_by_its_recording() {
    let mut tables = synthetic::empty();
    tables.summary.recording = "perf.data".to_owned();
    tables.summary.binaries = vec![Binary {
        path: "/usr/bin/python3".to_owned(),
        found: Ok("/usr/bin/python3".to_owned()),
        build_id: None,
        forced: false,
        stripped: false,
        go: None,
        samples: 12,
        declared: None,
    }];
    tables.summary.reasons = vec![(
        "not a Go binary".to_owned(),
        "The file that holds the instruction is not a Go binary.".to_owned(),
        12,
    )];
    let page = render(&tables).unwrap();
    assert!(page.contains("<h1>Map memory accesses in perf.data</h1>"));
    assert!(page.contains("12 samples without a part, by reason"));
}

#[test]
fn numbers_too_large_for_any_sum_do_not_stop_the_page() {
    let mut tables = synthetic::tables(50);
    for frame in [
        &mut tables.maps,
        &mut tables.parts,
        &mut tables.arrays,
        &mut tables.cells,
        &mut tables.latency,
        &mut tables.order,
    ] {
        let columns = frame.columns().iter().map(|column| match column.dtype() {
            DataType::UInt64 | DataType::UInt32 => Column::from(Series::new(
                column.name().clone(),
                vec![u64::MAX; frame.height()],
            )),
            _ => column.clone(),
        });
        *frame = DataFrame::new(frame.height(), columns.collect()).unwrap();
    }
    tables.summary.time_ns = Some((u64::MAX, 0));
    tables.summary.time_bin_ns = u64::MAX;
    tables.summary.gaps = vec![
        Gap {
            time_ns: Some(u64::MAX),
            cpu: None,
            kind: GapKind::Lost,
            lost: u64::MAX
        };
        3
    ];
    tables.summary.funnel = vec![
        Step {
            name: "samples".to_owned(),
            samples: u64::MAX
        };
        2
    ];
    tables.summary.meta.total_memory_kb = Some(u64::MAX);
    render(&tables).unwrap();
}

#[test]
fn the_page_is_the_golden_one() {
    let page = render(&synthetic::tables(12)).unwrap();
    let (head, rest) = page.split_once("<style>").unwrap();
    let (body, _) = rest
        .split_once("</style>")
        .unwrap()
        .1
        .split_once("<script>")
        .unwrap();
    let head = head
        .lines()
        .filter(|line| !line.contains("Content-Security-Policy"));
    let page = format!("{}\n{body}\n", head.collect::<Vec<_>>().join("\n"));
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/report/twelve-samples.html"
    );
    if std::env::var_os("MEMPATH_BLESS").is_some() {
        std::fs::write(golden, &page).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    if page != expected {
        let differs = page.lines().zip(expected.lines()).find(|(a, b)| a != b);
        panic!("{golden} differs, MEMPATH_BLESS=1 rewrites it; first difference: {differs:?}");
    }
}
