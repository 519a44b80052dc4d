//! What the page's script draws: the same rows as the static drawings, in less coarse bins, as one
//! JSON document of columns.

use super::ReportError;
use super::charts::edges;
use super::charts::heatmap::MEASURES;
use super::data::{CodeRow, Data, ListingRow};
use super::grid::{Grid, grids};
use super::html::{Html, Markup, script_json, visible};
use crate::analyses::lines::Sharing;
use base64::Engine;
use rustc_hash::FxHashMap;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;

/// A longer document is compressed: gzip is what every browser's `DecompressionStream` knows.
const PLAIN: usize = 256 * 1024;
/// Rows of the latency cube and of the order that go into the page.
const MOST_LATENCY: usize = 120_000;
const MOST_ORDER: usize = 40_000;

/// The data as a `<script type="application/json">` element, or as gzip in base64.
pub fn element(data: &Data) -> Result<Markup, ReportError> {
    let text = serde_json::to_string(&document(data)?).map_err(ReportError::Json)?;
    let mut html = Html::new();
    if text.len() <= PLAIN {
        html.open("script", &[("id", "data"), ("type", "application/json")]);
        html.markup(&script_json(&text));
    } else {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text.as_bytes()).map_err(ReportError::Gzip)?;
        let bytes = gzip.finish().map_err(ReportError::Gzip)?;
        html.open("script", &[("id", "data"), ("type", "application/gzip")]);
        html.text(&base64::engine::general_purpose::STANDARD.encode(bytes));
    }
    html.close("script");
    Ok(html.finish())
}

/// The document. Fields of it and of its parts are in order of their names.
#[derive(Serialize)]
struct Document {
    bracketed: u64,
    brackets: Value,
    causes: Value,
    gaps: Vec<Value>,
    grids: Vec<Cells>,
    latency: Latency,
    levels: Value,
    listing: Value,
    maps: BTreeMap<String, String>,
    measures: Vec<[&'static str; 2]>,
    nodes: Vec<Value>,
    operations: Value,
    order: Order,
    schema: u32,
    sharing: [&'static str; 7],
    summary: Value,
    time: Option<(u64, u64)>,
}

fn document(data: &Data) -> Result<Document, ReportError> {
    let maps = data.maps.iter();
    let maps = maps.map(|m| (m.map.to_string(), visible(&m.name)));
    let gaps: Vec<Value> = data
        .summary
        .gaps
        .iter()
        .take(5_000)
        .filter_map(|gap| Some(json!([gap.time_ns?, gap.kind, gap.lost])))
        .collect();
    let mut summary = serde_json::to_value(data.summary).map_err(ReportError::Json)?;
    // What the script draws of it stands in `order`; the views have the rest as tables.
    if let Some(summary) = summary.as_object_mut() {
        summary.remove("together");
    }
    let kinds = data.summary.together.operations.iter();
    let bracketed = kinds.fold(0, |sum: u64, kind| sum.saturating_add(kind.count));
    let nodes = data.summary.meta.nodes.iter();
    let grids = || {
        let (grids, _) = grids(data);
        grids.iter().map(Cells::of).collect()
    };
    let (order, (grids, (latency, listing))) = rayon::join(
        || order(data),
        || rayon::join(grids, || rayon::join(|| latency(data), || listing(data))),
    );
    Ok(Document {
        bracketed,
        brackets: brackets(data),
        causes: json!(data.summary.together.causes),
        gaps,
        grids,
        latency,
        levels: levels(data),
        listing,
        maps: maps.collect(),
        measures: MEASURES
            .iter()
            .map(|(name, unit, _)| [*name, *unit])
            .collect(),
        nodes: nodes.map(|n| json!([n.number, n.cpus.0])).collect(),
        operations: operations(data),
        order,
        schema: 1,
        sharing: Sharing::ALL.map(Sharing::text),
        summary,
        time: data.summary.time_ns,
    })
}

/// Distinct strings and an id a row; -1 is null.
#[derive(Default)]
struct Strings<'a> {
    known: FxHashMap<&'a str, usize>,
    /// As they are shown, which may be the same of several.
    ids: BTreeMap<String, usize>,
    values: Vec<String>,
}

impl<'a> Strings<'a> {
    fn id(&mut self, value: Option<&'a str>) -> i64 {
        let Some(value) = value else { return -1 };
        let Strings { known, ids, values } = self;
        let id = *known.entry(value).or_insert_with(|| {
            let shown = visible(value);
            let next = values.len();
            let id = *ids.entry(shown.clone()).or_insert(next);
            if id == next {
                values.push(shown);
            }
            id
        });
        id as i64
    }
}

/// One heatmap.
#[derive(Serialize)]
struct Cells {
    array: Option<u64>,
    borders: String,
    len: u64,
    map: Option<u64>,
    name: String,
    off: Vec<u64>,
    old: bool,
    outside: Value,
    per_row: u64,
    phase: Option<u64>,
    row: Vec<u64>,
    rows: u64,
    segments: Vec<Value>,
    stride: u64,
    unit: &'static str,
    /// By measure. null: the recording does not tell, or there is no load to tell of.
    values: Vec<Vec<Option<u64>>>,
}

impl Cells {
    fn of(grid: &Grid) -> Cells {
        let cells = || grid.cells.iter();
        let measures = MEASURES.iter();
        let values = measures.map(|(_, _, value)| cells().map(|(_, m)| value(m)).collect());
        let segments = grid.segments();
        let segments = segments.iter();
        let segments = segments.map(|s| json!([s.part, s.slot, s.start, s.end]));
        let outside = grid.outside.as_ref().map(|outside| {
            json!({
                "part": outside.part, "begins": outside.begins, "per_column": outside.per_column,
            })
        });
        Cells {
            array: grid.outside.is_none().then_some(grid.array.array),
            borders: grid.border_note(),
            len: grid.array.len,
            map: grid.array.map,
            name: visible(&grid.name()),
            off: cells().map(|(k, _)| k.1).collect(),
            old: grid.array.old,
            outside: json!(outside),
            per_row: grid.per_row,
            phase: grid.array.base.map(|base| base % 128),
            row: cells().map(|(k, _)| k.0).collect(),
            rows: grid.rows,
            segments: segments.collect(),
            stride: grid.stride,
            unit: grid.unit(),
            values: values.collect(),
        }
    }
}

/// The latency cube.
#[derive(Serialize)]
struct Latency {
    bin: Vec<u64>,
    by_map: bool,
    level: Vec<i64>,
    levels: Vec<String>,
    map: Vec<i64>,
    samples: Vec<u64>,
    time: Vec<u64>,
    time_bin_ns: u64,
}

fn latency(data: &Data) -> Latency {
    // A cube of many maps is cut to one of no map, so that no sample is left out.
    let whole = data.latency.len() <= MOST_LATENCY;
    let mut sums = FxHashMap::<(u64, u64, Option<&str>, i64), u64>::default();
    for row in &data.latency {
        let map = if whole {
            row.map.map_or(-1, |m| m as i64)
        } else {
            -1
        };
        let key = (row.time_bin, row.latency_bin, row.level.as_deref(), map);
        *sums.entry(key).or_default() += row.samples;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable();
    let keys = || sums.iter().map(|(key, _)| key);
    let mut levels = Strings::default();
    let level: Vec<i64> = keys().map(|k| levels.id(k.2)).collect();
    Latency {
        bin: keys().map(|k| k.1).collect(),
        by_map: whole,
        level,
        map: keys().map(|k| k.3).collect(),
        samples: sums.iter().map(|(_, n)| *n).collect(),
        time: keys().map(|k| k.0).collect(),
        time_bin_ns: data.summary.time_bin_ns,
        levels: levels.values,
    }
}

/// Loads by the level that served them: of all, and of each map.
fn levels(data: &Data) -> Value {
    let all = data.summary.levels.iter().map(|l| {
        json!([
            null,
            l.level.as_deref().map(visible),
            l.loads,
            l.latency_n,
            l.latency_p50,
            l.latency_p95
        ])
    });
    let of_maps = data.levels.iter().filter(|row| row.map.is_some());
    let of_maps = of_maps.map(|row| {
        let m = &row.m;
        json!([
            row.map,
            row.level.as_deref().map(visible),
            m.loads,
            m.latency_n,
            m.p50,
            m.p95
        ])
    });
    all.chain(of_maps).collect()
}

/// Writing operations one by one, with their times since the first sample.
fn brackets(data: &Data) -> Value {
    let start = data.summary.time_ns.map_or(0, |(first, _)| first);
    let since = |time: u64| time.saturating_sub(start);
    let words = |name: &String| visible(&name.replace('_', " "));
    let all = data.summary.together.brackets.iter().map(|b| {
        json!({
            "operation": visible(&b.operation), "map": b.map, "tid": b.tid,
            "begin": since(b.begin_ns), "end": b.end_ns.map(since),
            "phases": b.phases.iter().map(words).collect::<Vec<_>>(),
            "others": b.intruders.iter().map(|i| since(i.time_ns)).collect::<Vec<_>>(),
            "between": b.between, "deviates": !b.deviations.is_empty(),
            "growth": b.growth_ns.map(|(first, last)| [since(first), since(last)]),
        })
    });
    all.collect()
}

/// One run through each operation: its steps, each of which is one or more rows of `steps`.
fn operations(data: &Data) -> Value {
    let all = super::charts::runs(data).into_iter().map(|run| {
        let steps: Vec<Value> = run
            .steps
            .iter()
            .map(|step| {
                let row = &step.row;
                json!({
                    "phase": row.phase.as_ref().map(|phase| visible(&phase.replace('_', " "))),
                    "part": row.part.as_deref().map(visible), "stage": row.stage.as_deref().map(visible),
                    "rows": step.rows, "samples": row.m.samples, "stores": row.m.stores,
                    "latency_sum": row.m.latency_sum,
                })
            })
            .collect();
        json!({"title": visible(&run.title), "steps": steps})
    });
    all.collect()
}

/// The code of the hottest functions; `of`: by row of `functions`.
fn listing(data: &Data) -> Value {
    let place = |row: &ListingRow| match (&row.file, row.line) {
        (Some(file), Some(line)) => Some(format!("{file}:{line}")),
        (file, _) => file.clone(),
    };
    let places: Vec<Option<String>> = data.listing.iter().map(place).collect();
    let mut strings = Strings::default();
    let mut groups = BTreeMap::<(Option<&str>, Option<&str>), (usize, usize)>::new();
    let mut rows: Vec<Value> = Vec::new();
    for (i, (row, place)) in data.listing.iter().zip(&places).enumerate() {
        let key = (row.image.as_deref(), row.outer.as_deref());
        groups.entry(key).or_insert((i, i)).1 = i + 1;
        let m = &row.m;
        let counts = (m.samples > 0).then(|| {
            json!({
                "samples": m.samples, "loads": m.loads, "stores": m.stores, "l1_miss": m.l1_miss,
                "llc_miss": m.llc_miss, "hitm": m.hitm, "level_unknown": m.level_unknown,
                "latency_sum": m.latency_sum, "latency_n": m.latency_n, "quantiles": [m.p50, m.p95],
            })
        });
        rows.push(json!([
            row.offset,
            row.cut,
            strings.id(row.instruction.as_deref()),
            strings.id(row.target.as_deref()),
            strings.id(row.function.as_deref()),
            strings.id(place.as_deref()),
            counts,
        ]));
    }
    let group = |row: &CodeRow| {
        let key = (row.image.as_deref(), row.outer.as_deref());
        groups.get(&key).copied()
    };
    json!({
        "strings": strings.values,
        "rows": rows,
        "of": data.functions.iter().map(group).collect::<Vec<_>>(),
    })
}

/// Accesses to the instances that have most.
#[derive(Serialize)]
struct Order {
    after: Vec<i64>,
    array: Vec<i64>,
    cpu: Vec<i64>,
    every: bool,
    from: Vec<i64>,
    function: Vec<i64>,
    hitm: Vec<i64>,
    index: Vec<i64>,
    instance: Vec<i64>,
    instances: Vec<String>,
    latency: Vec<i64>,
    level: Vec<i64>,
    map: Vec<i64>,
    of: usize,
    op: Vec<i64>,
    part: Vec<i64>,
    rule: Vec<i64>,
    rules: BTreeMap<String, Value>,
    slot: Vec<i64>,
    strings: Vec<String>,
    tid: Vec<i64>,
    time: Vec<i64>,
    windows: Vec<Value>,
}

fn order(data: &Data) -> Order {
    let instances = super::charts::instances(data);
    let (mut names, mut strings) = (Vec::new(), Strings::default());
    let start = data.summary.time_ns.map_or(0, |(first, _)| first);
    let mut rows: Vec<[i64; 17]> = Vec::new();
    let total: usize = instances.iter().map(|i| i.rows.len()).sum();
    for instance in &instances {
        if rows.len() + instance.rows.len() > MOST_ORDER && !names.is_empty() {
            break;
        }
        let before = rows.len();
        let edges = edges(&instance.rows);
        let by_n: BTreeMap<u64, usize> = instance
            .rows
            .iter()
            .enumerate()
            .filter_map(|(i, row)| Some((row.n?, before + i)))
            .collect();
        for (row, edge) in instance.rows.iter().zip(edges).take(MOST_ORDER) {
            let row_of = |n: Option<u64>| n.and_then(|n| by_n.get(&n)).map_or(-1, |&i| i as i64);
            let int = |n: Option<u64>| n.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX));
            rows.push([
                names.len() as i64,
                row.time.map_or(-1, |t| t.saturating_sub(start) as i64),
                int(row.cpu),
                row.tid.unwrap_or(-1),
                strings.id(row.op.as_deref()),
                strings.id(row.level.as_deref()),
                int(row.latency),
                int(row.map),
                strings.id(row.part.as_deref()),
                row.slot.unwrap_or(-1),
                strings.id(row.function.as_deref()),
                i64::from(row.is_hitm()),
                edge.map_or(-1, |i| (before + i) as i64),
                row_of(row.after),
                strings.id(row.rule.as_deref()),
                int(row.array),
                int(row.index),
            ]);
        }
        names.push(visible(&instance.name));
    }
    let column = |i: usize| {
        rows.iter()
            .map(|row| row.get(i).copied().unwrap_or(-1))
            .collect::<Vec<_>>()
    };
    let together = &data.summary.together;
    let since = |time: u64| time.saturating_sub(start);
    let windows = together.windows.iter();
    let windows: Vec<Value> = windows
        .map(|w| json!([visible(&w.what), w.map, since(w.begin_ns), since(w.end_ns)]))
        .collect();
    let rules: BTreeMap<String, Value> = together
        .rules
        .iter()
        .map(|rule| (visible(&rule.name), json!([rule.kept, visible(&rule.why)])))
        .collect();
    Order {
        windows,
        rules,
        of: total,
        every: data.every_access(),
        instances: names,
        strings: strings.values,
        instance: column(0),
        time: column(1),
        cpu: column(2),
        tid: column(3),
        op: column(4),
        level: column(5),
        latency: column(6),
        map: column(7),
        part: column(8),
        slot: column(9),
        function: column(10),
        hitm: column(11),
        from: column(12),
        after: column(13),
        rule: column(14),
        array: column(15),
        index: column(16),
    }
}
