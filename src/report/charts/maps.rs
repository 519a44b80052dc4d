//! Which maps cost what.

use super::{Chart, Figure};
use crate::report::ReportError;
use crate::report::colour;
use crate::report::data::{Data, MapRow, Measures, PartRow};
use crate::report::html::Markup;
use crate::report::number::{address, count};
use crate::report::svg::Drawing;
use crate::report::table::{Cell, Head, Row, Table, cut, latency_of, quantile};

pub struct Maps;

/// More rows than this do not help a reader.
const MOST: usize = 60;
/// Maps with their parts below them.
const WITH_PARTS: usize = 20;

const HEADS: &[Head] = &[
    Head {
        name: "map",
        meaning: "Name of the map; below it the parts that samples hit",
    },
    Head {
        name: "by stage",
        meaning: "Samples of the row by stage of a lookup",
    },
    Head {
        name: "samples",
        meaning: "Memory accesses attributed to the map",
    },
    Head {
        name: "loads",
        meaning: "Load samples",
    },
    Head {
        name: "stores",
        meaning: "Store samples",
    },
    Head {
        name: "latency share",
        meaning: "Share of the sampled latency of the whole recording, in cycles",
    },
    Head {
        name: "p50",
        meaning: "Median latency, cycles",
    },
    Head {
        name: "p95",
        meaning: "95th percentile of the latencies, cycles",
    },
    Head {
        name: "L1 miss",
        meaning: "Loads served from beyond L1, line fill buffer counted apart, of the loads with a known level",
    },
    Head {
        name: "LLC miss",
        meaning: "Loads served by RAM or a remote cache, of the loads with a known level",
    },
    Head {
        name: "HITM",
        meaning: "Loads that hit a modified line of another CPU",
    },
    Head {
        name: "evidence",
        meaning: "Evidence of most of the map's samples",
    },
];

impl Chart for Maps {
    fn id(&self) -> &'static str {
        "maps"
    }

    fn title(&self) -> &'static str {
        "Maps"
    }

    fn question(&self) -> &'static str {
        "Which maps cost what, and in which of their parts?"
    }

    fn method(&self) -> &'static str {
        "One row for each map that the recording tells from others. Counts are samples, not accesses: \
         multiply by the period to estimate accesses. Latency shares are of the latency of all \
         accesses of the recording, those outside of maps too; the sampler drops loads below its threshold (ldlat), so shares \
         speak of slow loads only. L1 and LLC misses are shares of the loads whose level the PMU told."
    }

    fn figure(&self, data: &Data) -> Result<Figure, ReportError> {
        if data.maps.is_empty() {
            return Ok(Figure::empty(
                "No map was found: no sample hit map code or map memory. The coverage below says why.",
            ));
        }
        let mut total = data
            .maps
            .iter()
            .fold(Measures::default(), |sum, row| sum.plus(&row.m));
        let in_maps = total.samples;
        total.latency_sum = data.summary.overall.latency_sum.or(total.latency_sum);
        let (shown, note) = cut(&data.maps, MOST, "maps");
        let mut rows = Vec::with_capacity(shown);
        for (i, map) in data.maps.iter().take(shown).enumerate() {
            let mut row = row(data, map, &total)?;
            if i >= WITH_PARTS {
                row.children.clear();
            }
            rows.push(row);
        }
        let mut notes: Vec<String> = note.into_iter().collect();
        if shown > WITH_PARTS {
            notes.push(format!("Parts are listed for the first {WITH_PARTS} maps."));
        }
        if !data.has_latency() {
            notes.push("This recording has no latencies: rows are ranked by samples.".to_owned());
        }
        if !data.has_levels() {
            notes.push("This recording has no cache levels: misses are not known.".to_owned());
        }
        let caption = format!(
            "{} maps, {} samples{}",
            count(data.maps.len() as u64),
            count(in_maps),
            latency_of(total.latency_sum)
        );
        Ok(Figure {
            notes,
            drawings: vec![legend()?],
            tables: vec![Table {
                id: "maps-table",
                caption,
                heads: HEADS.to_vec(),
                rows,
            }],
            ..Figure::default()
        })
    }
}

fn row(data: &Data, map: &MapRow, total: &Measures) -> Result<Row, ReportError> {
    let mut parts: Vec<&PartRow> = data
        .parts
        .iter()
        .filter(|p| p.map == Some(map.map))
        .collect();
    parts.sort_by_key(|p| (std::cmp::Reverse(p.m.cost()), p.part.clone()));
    let name = match map.header {
        Some(header) => format!("{} @ {}", map.name, address(header)),
        None => map.name.clone(),
    };
    let evidence = map.evidence.as_ref().map(|name| name.replace('_', " "));
    let evidence = Cell::text(&evidence);
    let mut cells = vec![Cell::Code(name), Cell::Drawing(sparkline(&parts)?)];
    cells.extend(measures(&map.m, total));
    cells.push(evidence);
    let key = ("map", map.map.to_string());
    let children = parts
        .iter()
        .map(|part| {
            let mut cells = vec![
                Cell::Code(part.part.clone()),
                Cell::Text(part.stage.clone()),
            ];
            cells.extend(measures(&part.m, total));
            cells.push(Cell::NotApplicable);
            Row {
                cells,
                keys: vec![key.clone(), ("part", part.part.clone())],
                children: Vec::new(),
            }
        })
        .collect();
    Ok(Row {
        cells,
        keys: vec![key],
        children,
    })
}

fn measures(m: &Measures, total: &Measures) -> Vec<Cell> {
    let latency = match (m.latency_sum, total.latency_sum) {
        (Some(n), Some(of)) => Cell::Latency { n, of },
        _ if m.loads == 0 => Cell::NotApplicable,
        _ => Cell::Absent,
    };
    vec![
        Cell::Count(m.samples),
        Cell::count(m.loads()),
        Cell::count(m.stores()),
        latency,
        quantile(m.p50, m),
        quantile(m.p95, m),
        Cell::share_of_loads(m.l1_miss, m),
        Cell::share_of_loads(m.llc_miss, m),
        if m.loads == 0 {
            Cell::NotApplicable
        } else {
            Cell::count(m.hitm)
        },
    ]
}

/// Samples by stage as a bar of 96 pixels.
fn sparkline(parts: &[&PartRow]) -> Result<Markup, ReportError> {
    const WIDTH: u64 = 96;
    let total: u64 = parts.iter().map(|p| p.m.samples).sum();
    let mut drawing = Drawing::new(WIDTH as u32, 12);
    let mut told = Vec::new();
    let (mut before, mut x) = (0u64, 0u64);
    for stage in super::stages::STAGES {
        let n: u64 = parts
            .iter()
            .filter(|p| p.stage == *stage)
            .map(|p| p.m.samples)
            .sum();
        if n == 0 {
            continue;
        }
        before += n;
        let end = before * WIDTH / total.max(1);
        drawing.rect(x as i32, 0, (end - x) as i32, 12, colour::stage(stage), 1.0);
        x = end;
        told.push(format!("{stage} {}", count(n)));
    }
    drawing.finish(&told.join(", "), "samples by stage of a lookup")
}

/// What the colours of the bars mean.
fn legend() -> Result<Markup, ReportError> {
    use crate::report::svg::Anchor;
    let mut drawing = Drawing::new(760, 18);
    for (i, stage) in super::stages::STAGES.iter().enumerate() {
        let x = i as i32 * 94;
        drawing.rect(x, 3, 12, 12, colour::stage(stage), 1.0);
        drawing.text(x + 17, 9, Anchor::Start, 12.0, colour::INK, stage);
    }
    drawing.finish(
        "Colours of the stages",
        "One colour for each stage of a lookup",
    )
}
