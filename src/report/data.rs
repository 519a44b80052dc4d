//! The frames of [`Tables`] as rows, read once. A column that a frame lacks reads as null.

use super::ReportError;
use super::kept::Kept;
use super::shared::Shared;
use crate::tables::columns::{self as c, Column};
use crate::tables::{Summary, Tables};
use polars::prelude::{BooleanChunked, DataFrame, DataType, StringChunked};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// Arrays that are drawn.
const MOST_ARRAYS: usize = 24;

/// Larger counts are cut to it: a sum over 2^24 rows still fits in 64 bits.
const MOST_COUNT: u64 = 1 << 40;
/// Bins of the frame `latency` are fewer: a u32 has 32 octaves of 8 bins, and `tables` makes 256
/// time bins.
const MOST_LATENCY_BIN: u64 = 255;
const MOST_TIME_BIN: u64 = 4_095;

/// What charts read.
#[derive(Debug)]
pub struct Data<'a> {
    pub summary: &'a Summary,
    /// Costliest first; [`MapRow::map`] is what other rows refer to.
    pub maps: Vec<MapRow>,
    pub parts: Vec<PartRow>,
    pub arrays: Vec<ArrayRow>,
    /// Numbers of the arrays that are drawn, the costliest first, and their cells.
    pub costliest: Vec<u64>,
    pub cells: Vec<CellRow>,
    /// Arrays that have any.
    pub with_cells: usize,
    pub outside: Vec<OutsideRow>,
    pub functions: Vec<CodeRow>,
    pub lines: Vec<CodeRow>,
    /// Function by function, in the order of their code.
    pub listing: Vec<ListingRow>,
    /// In the order of one run through each operation.
    pub steps: Vec<StepRow>,
    pub latency: Vec<LatencyRow>,
    pub levels: Vec<LevelRow>,
    pub order: Vec<OrderRow>,
    pub kept: Kept,
    pub shared: Shared,
}

/// The columns that every frame of counts has. `None`: the recording does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measures {
    pub samples: u64,
    pub loads: u64,
    pub stores: u64,
    pub l1_hit: Option<u64>,
    pub lfb: Option<u64>,
    pub l1_miss: Option<u64>,
    pub llc_miss: Option<u64>,
    pub hitm: Option<u64>,
    pub level_unknown: u64,
    pub store_l1_miss: Option<u64>,
    pub latency_sum: Option<u64>,
    pub latency_n: u64,
    pub p50: Option<u64>,
    pub p95: Option<u64>,
}

impl Measures {
    /// Whether it is told which accesses are loads and which are stores: a breakpoint on both does not.
    pub fn has_ops(&self) -> bool {
        self.loads + self.stores > 0 || self.samples == 0
    }

    pub fn loads(&self) -> Option<u64> {
        self.has_ops().then_some(self.loads)
    }

    pub fn stores(&self) -> Option<u64> {
        self.has_ops().then_some(self.stores)
    }

    /// Loads that have a level: what shares of misses are taken of.
    pub fn with_level(&self) -> u64 {
        self.loads.saturating_sub(self.level_unknown)
    }

    /// The sum of two rows; quantiles do not add up and are dropped.
    pub fn plus(&self, other: &Measures) -> Measures {
        let add = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.saturating_add(b)),
            (a, b) => a.or(b),
        };
        Measures {
            samples: self.samples.saturating_add(other.samples),
            loads: self.loads.saturating_add(other.loads),
            stores: self.stores.saturating_add(other.stores),
            l1_hit: add(self.l1_hit, other.l1_hit),
            lfb: add(self.lfb, other.lfb),
            l1_miss: add(self.l1_miss, other.l1_miss),
            llc_miss: add(self.llc_miss, other.llc_miss),
            hitm: add(self.hitm, other.hitm),
            level_unknown: self.level_unknown.saturating_add(other.level_unknown),
            store_l1_miss: add(self.store_l1_miss, other.store_l1_miss),
            latency_sum: add(self.latency_sum, other.latency_sum),
            latency_n: self.latency_n.saturating_add(other.latency_n),
            p50: None,
            p95: None,
        }
    }

    /// What rows are ranked by: latency where there is one, then samples.
    pub fn cost(&self) -> (u64, u64) {
        (self.latency_sum.unwrap_or(0), self.samples)
    }
}

#[derive(Debug, Clone)]
pub struct MapRow {
    pub map: u64,
    pub name: String,
    pub map_type: Option<String>,
    pub header: Option<u64>,
    pub layout: Option<String>,
    pub geometry: Option<Geometry>,
    pub evidence: Option<String>,
    pub m: Measures,
}

/// Where keys and elems lie in one bucket or group, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    pub swiss: bool,
    pub stride: u64,
    pub key_off: u64,
    pub key_stride: u64,
    pub elem_off: u64,
    pub elem_stride: u64,
}

#[derive(Debug, Clone)]
pub struct PartRow {
    pub map: Option<u64>,
    pub part: String,
    pub stage: String,
    pub m: Measures,
}

#[derive(Debug, Clone)]
pub struct ArrayRow {
    pub array: u64,
    pub map: Option<u64>,
    pub base: Option<u64>,
    pub stride: Option<u64>,
    pub len: u64,
    /// Buckets or groups in one bin of `cells`.
    pub width: u64,
    pub old: bool,
    pub m: Measures,
}

#[derive(Debug, Clone)]
pub struct CellRow {
    pub array: u64,
    pub index: u64,
    pub off: u64,
    pub m: Measures,
}

/// Bytes of keys or elems that lie outside of their buckets or groups.
#[derive(Debug, Clone)]
pub struct OutsideRow {
    pub map: Option<u64>,
    pub part: String,
    pub size: Option<u64>,
    /// Where in a pair of cache lines the key or elem begins.
    pub in_pair: Option<u64>,
    pub off: u64,
    pub m: Measures,
}

/// Loads of a map that one level served.
#[derive(Debug, Clone)]
pub struct LevelRow {
    pub map: Option<u64>,
    pub level: Option<String>,
    pub m: Measures,
}

/// A row of `functions` or of `lines`.
#[derive(Debug, Clone)]
pub struct CodeRow {
    pub image: Option<String>,
    pub function: Option<String>,
    pub outer: Option<String>,
    pub file: Option<String>,
    pub line: Option<u64>,
    pub operation: Option<String>,
    pub phase: Option<String>,
    pub part: Option<String>,
    pub m: Measures,
}

/// A row of `listing`.
#[derive(Debug, Clone)]
pub struct ListingRow {
    pub image: Option<String>,
    pub outer: Option<String>,
    pub offset: Option<u64>,
    /// Instructions before this one are left out.
    pub cut: bool,
    pub instruction: Option<String>,
    pub target: Option<String>,
    pub function: Option<String>,
    pub file: Option<String>,
    pub line: Option<u64>,
    pub m: Measures,
}

/// A row of `steps`.
#[derive(Debug, Clone)]
pub struct StepRow {
    pub step: Option<u64>,
    pub operation: Option<String>,
    pub outer: Option<String>,
    pub function: Option<String>,
    pub line: Option<u64>,
    pub instruction: Option<String>,
    pub phase: Option<String>,
    pub part: Option<String>,
    pub stage: Option<String>,
    pub m: Measures,
}

#[derive(Debug, Clone)]
pub struct LatencyRow {
    pub map: Option<u64>,
    pub time_bin: u64,
    pub latency_bin: u64,
    pub level: Option<Arc<str>>,
    pub samples: u64,
}

#[derive(Debug, Clone)]
pub struct OrderRow {
    pub n: Option<u64>,
    pub time: Option<u64>,
    pub tid: Option<i64>,
    pub cpu: Option<u64>,
    pub event: Option<Arc<str>>,
    pub op: Option<Arc<str>>,
    pub level: Option<Arc<str>>,
    pub latency: Option<u64>,
    pub map: Option<u64>,
    pub part: Option<Arc<str>>,
    pub array: Option<u64>,
    pub index: Option<u64>,
    pub slot: Option<i64>,
    pub off: Option<u64>,
    pub base: Option<u64>,
    pub function: Option<Arc<str>>,
    pub line: Option<u64>,
    pub snoop: Option<Arc<str>>,
    /// [`OrderRow::n`] of the access of the same CPU and thread before it.
    pub after: Option<u64>,
    /// Name of the rule that orders the two.
    pub rule: Option<Arc<str>>,
}

impl OrderRow {
    pub fn is_store(&self) -> bool {
        self.op.as_deref().is_some_and(|op| op.contains("store"))
    }

    /// Whether the line came from another CPU's cache, which had modified it.
    pub fn is_hitm(&self) -> bool {
        self.snoop
            .as_deref()
            .is_some_and(|snoop| snoop.contains("HITM"))
    }

    /// The 64-byte line of its first byte.
    pub fn cache_line(&self) -> Option<u64> {
        Some(self.base?.checked_add(self.off?)? / 64)
    }
}

impl<'a> Data<'a> {
    pub fn read(tables: &'a Tables) -> Result<Data<'a>, ReportError> {
        let maps = || {
            let mut maps = maps(&Frame::new("maps", &tables.maps))?;
            maps.sort_by_key(|m| (std::cmp::Reverse(m.m.cost()), m.map));
            Ok(maps)
        };
        let codes = |name, frame| {
            let mut rows = code(&Frame::new(name, frame))?;
            rows.sort_by_key(|row| std::cmp::Reverse(row.m.cost()));
            Ok(rows)
        };
        let (functions, lines) = (
            || codes("functions", &tables.functions),
            || codes("lines", &tables.lines),
        );
        let (steps, listing) = (
            || steps(&Frame::new("steps", &tables.steps)),
            || listing(&Frame::new("listing", &tables.listing)),
        );
        let ((maps, functions), (lines, (steps, listing))) = rayon::join(
            || rayon::join(maps, functions),
            || rayon::join(lines, || rayon::join(steps, listing)),
        );
        let (maps, functions, lines) = (maps?, functions?, lines?);
        let (steps, listing) = (steps?, listing?);
        let time = tables.summary.time_ns;
        let kept = || -> Result<(Kept, Shared), ReportError> {
            let kept = Kept::read(&tables.kept, time, &functions, &lines, &steps, &listing)?;
            let shared = Shared::of(&kept);
            Ok((kept, shared))
        };
        let order = || order(&Frame::new("order", &tables.order));
        let cells = || cells(&Frame::new("cells", &tables.cells));
        let latency = || latency(&Frame::new("latency", &tables.latency));
        let (kept, (order, (cells, latency))) =
            rayon::join(kept, || rayon::join(order, || rayon::join(cells, latency)));
        let (kept, shared) = kept?;
        let (order, latency) = (order?, latency?);
        let (costliest, cells, with_cells) = cells?;
        Ok(Data {
            summary: &tables.summary,
            maps,
            parts: parts(&Frame::new("parts", &tables.parts))?,
            arrays: arrays(&Frame::new("arrays", &tables.arrays))?,
            costliest,
            cells,
            with_cells,
            outside: outside(&Frame::new("outside", &tables.outside))?,
            functions,
            lines,
            listing,
            steps,
            latency,
            levels: levels(&Frame::new("levels", &tables.levels))?,
            order,
            kept,
            shared,
        })
    }

    pub fn map(&self, map: Option<u64>) -> Option<&MapRow> {
        let map = map?;
        self.maps.iter().find(|row| row.map == map)
    }

    /// Whether any access of a map has a level; else misses are unknown everywhere.
    pub fn has_levels(&self) -> bool {
        self.maps
            .iter()
            .map(|row| &row.m)
            .any(|m| m.l1_miss.is_some())
    }

    pub fn has_latency(&self) -> bool {
        self.maps.iter().any(|row| row.m.latency_sum.is_some())
            || self.latency.iter().any(|row| row.samples > 0)
    }

    /// A breakpoint sees every access to a few words; the other kinds take samples.
    pub fn every_access(&self) -> bool {
        use crate::recording::Memory;
        let mut kinds = self.summary.events.iter().map(|e| e.memory);
        let memory = |m: &Memory| !matches!(m, Memory::No | Memory::Auxiliary | Memory::Decoy);
        let mut kinds = kinds.by_ref().filter(memory).peekable();
        kinds.peek().is_some() && kinds.all(|m| m == Memory::Breakpoint)
    }
}

/// One frame and its name for errors.
pub(super) struct Frame<'a> {
    name: &'static str,
    frame: &'a DataFrame,
}

impl<'a> Frame<'a> {
    pub fn new(name: &'static str, frame: &'a DataFrame) -> Frame<'a> {
        Frame { name, frame }
    }

    pub fn rows(&self) -> usize {
        self.frame.height()
    }

    fn cast(
        &self,
        column: Column,
        to: &DataType,
    ) -> Result<Option<polars::prelude::Column>, ReportError> {
        let Ok(values) = self.frame.column(column.name) else {
            return Ok(None);
        };
        let error = |source| ReportError::Column {
            frame: self.name,
            column: column.name,
            source,
        };
        values.cast(to).map(Some).map_err(error)
    }

    pub fn u64s(&self, column: Column) -> Result<Vec<Option<u64>>, ReportError> {
        let Some(values) = self.cast(column, &DataType::UInt64)? else {
            return Ok(vec![None; self.rows()]);
        };
        let error = |source| ReportError::Column {
            frame: self.name,
            column: column.name,
            source,
        };
        Ok(values.u64().map_err(error)?.iter().collect())
    }

    pub fn i64s(&self, column: Column) -> Result<Vec<Option<i64>>, ReportError> {
        let Some(values) = self.cast(column, &DataType::Int64)? else {
            return Ok(vec![None; self.rows()]);
        };
        let error = |source| ReportError::Column {
            frame: self.name,
            column: column.name,
            source,
        };
        Ok(values.i64().map_err(error)?.iter().collect())
    }

    /// A column of texts, as it is in the frame.
    pub fn texts(&self, column: Column) -> Result<Texts, ReportError> {
        let rows = self.rows();
        let Some(values) = self.cast(column, &DataType::String)? else {
            return Ok(Texts { rows, values: None });
        };
        let error = |source| ReportError::Column {
            frame: self.name,
            column: column.name,
            source,
        };
        let values = Some(values.str().map_err(error)?.clone());
        Ok(Texts { rows, values })
    }

    pub fn strings(&self, column: Column) -> Result<Vec<Option<String>>, ReportError> {
        let texts = self.texts(column)?;
        Ok(texts.iter().map(|text| text.map(str::to_owned)).collect())
    }

    /// A column of texts that repeat.
    pub fn shared(&self, column: Column) -> Result<Vec<Option<Arc<str>>>, ReportError> {
        let texts = self.texts(column)?;
        let mut known = FxHashMap::<&str, Arc<str>>::default();
        let mut shared = |text| Arc::clone(known.entry(text).or_insert_with(|| text.into()));
        Ok(texts.iter().map(|text| text.map(&mut shared)).collect())
    }

    /// A column of counts, cut so that no sum over the rows of a frame overflows: tables may come from a
    /// file.
    pub fn counts(&self, column: Column) -> Result<Vec<Option<u64>>, ReportError> {
        let mut counts = self.u64s(column)?;
        let all = counts.iter_mut().flatten();
        all.for_each(|count| *count = MOST_COUNT.min(*count));
        Ok(counts)
    }

    pub fn measures(&self) -> Result<Vec<Measures>, ReportError> {
        let column = |c| self.counts(c);
        let (samples, loads, stores) = (column(c::SAMPLES)?, column(c::LOADS)?, column(c::STORES)?);
        let (l1_hit, lfb) = (column(c::L1_HIT)?, column(c::LFB)?);
        let (l1_miss, llc_miss, hitm) =
            (column(c::L1_MISS)?, column(c::LLC_MISS)?, column(c::HITM)?);
        let (unknown, store_miss) = (column(c::LEVEL_UNKNOWN)?, column(c::STORE_L1_MISS)?);
        let (sum, n) = (column(c::LATENCY_SUM)?, column(c::LATENCY_N)?);
        let (p50, p95) = (column(c::LATENCY_P50)?, column(c::LATENCY_P95)?);
        let at = |values: &[Option<u64>], i: usize| values.get(i).copied().flatten();
        Ok((0..self.rows())
            .map(|i| Measures {
                samples: at(&samples, i).unwrap_or(0),
                loads: at(&loads, i).unwrap_or(0),
                stores: at(&stores, i).unwrap_or(0),
                l1_hit: at(&l1_hit, i),
                lfb: at(&lfb, i),
                l1_miss: at(&l1_miss, i),
                llc_miss: at(&llc_miss, i),
                hitm: at(&hitm, i),
                level_unknown: at(&unknown, i).unwrap_or(0),
                store_l1_miss: at(&store_miss, i),
                latency_sum: at(&sum, i),
                latency_n: at(&n, i).unwrap_or(0),
                p50: at(&p50, i),
                p95: at(&p95, i),
            })
            .collect())
    }
}

/// A column of texts; one that the frame lacks is all null.
pub(super) struct Texts {
    rows: usize,
    values: Option<StringChunked>,
}

impl Texts {
    pub fn iter(&self) -> impl Iterator<Item = Option<&str>> {
        let missing = if self.values.is_some() { 0 } else { self.rows };
        let told = self.values.iter().flat_map(|values| values.iter());
        told.chain(std::iter::repeat_n(None, missing))
    }
}

/// Columns taken apart row by row.
struct Rows<T>(std::vec::IntoIter<Option<T>>);

impl<T> Rows<T> {
    fn new(values: Vec<Option<T>>) -> Rows<T> {
        Rows(values.into_iter())
    }

    fn take(&mut self) -> Option<T> {
        self.0.next().flatten()
    }
}

fn maps(frame: &Frame) -> Result<Vec<MapRow>, ReportError> {
    let mut map = Rows::new(frame.u64s(c::MAP)?);
    let mut name = Rows::new(frame.strings(c::MAP_NAME)?);
    let mut map_type = Rows::new(frame.strings(c::MAP_TYPE)?);
    let mut header = Rows::new(frame.u64s(c::HEADER)?);
    let mut layout = Rows::new(frame.strings(c::LAYOUT)?);
    let mut evidence = Rows::new(frame.strings(c::EVIDENCE)?);
    let mut stride = Rows::new(frame.u64s(c::STRIDE)?);
    let mut key_off = Rows::new(frame.u64s(c::KEY_OFF)?);
    let mut key_stride = Rows::new(frame.u64s(c::KEY_STRIDE)?);
    let mut elem_off = Rows::new(frame.u64s(c::ELEM_OFF)?);
    let mut elem_stride = Rows::new(frame.u64s(c::ELEM_STRIDE)?);
    let rows = frame.measures()?.into_iter().enumerate();
    Ok(rows
        .map(|(i, m)| {
            let layout = layout.take();
            let numbers = [
                &mut stride,
                &mut key_off,
                &mut key_stride,
                &mut elem_off,
                &mut elem_stride,
            ];
            let geometry = match (layout.as_deref(), numbers.map(Rows::take)) {
                (
                    Some(layout),
                    [
                        Some(stride),
                        Some(key_off),
                        Some(key_stride),
                        Some(elem_off),
                        Some(elem_stride),
                    ],
                ) => Some(Geometry {
                    swiss: layout == "swiss",
                    stride,
                    key_off,
                    key_stride,
                    elem_off,
                    elem_stride,
                }),
                _ => None,
            };
            MapRow {
                map: map.take().unwrap_or(i as u64),
                name: name
                    .take()
                    .unwrap_or_else(|| "map without a name".to_owned()),
                map_type: map_type.take(),
                header: header.take(),
                layout,
                geometry,
                evidence: evidence.take(),
                m,
            }
        })
        .collect())
}

fn parts(frame: &Frame) -> Result<Vec<PartRow>, ReportError> {
    let mut map = Rows::new(frame.u64s(c::MAP)?);
    let mut part = Rows::new(frame.strings(c::PART)?);
    let mut stage = Rows::new(frame.strings(c::STAGE)?);
    Ok(frame
        .measures()?
        .into_iter()
        .map(|m| PartRow {
            map: map.take(),
            part: part.take().unwrap_or_else(|| "part unknown".to_owned()),
            stage: stage.take().unwrap_or_default(),
            m,
        })
        .collect())
}

fn arrays(frame: &Frame) -> Result<Vec<ArrayRow>, ReportError> {
    let mut array = Rows::new(frame.u64s(c::ARRAY)?);
    let mut map = Rows::new(frame.u64s(c::MAP)?);
    let mut base = Rows::new(frame.u64s(c::BASE)?);
    let mut stride = Rows::new(frame.u64s(c::STRIDE)?);
    let mut len = Rows::new(frame.u64s(c::LEN)?);
    let mut width = Rows::new(frame.u64s(c::INDEX_WIDTH)?);
    let mut old = Rows::new(frame.u64s(c::OLD)?);
    Ok(frame
        .measures()?
        .into_iter()
        .enumerate()
        .map(|(i, m)| ArrayRow {
            array: array.take().unwrap_or(i as u64),
            map: map.take(),
            base: base.take(),
            stride: stride.take(),
            len: len.take().unwrap_or(0),
            width: width.take().unwrap_or(1).max(1),
            old: old.take() == Some(1),
            m,
        })
        .collect())
}

/// The arrays that are drawn, costliest first, their cells, and how many arrays have any.
fn cells(frame: &Frame) -> Result<(Vec<u64>, Vec<CellRow>, usize), ReportError> {
    let arrays = frame.u64s(c::ARRAY)?;
    let (index, off) = (frame.u64s(c::INDEX)?, frame.u64s(c::OFF)?);
    let samples = frame.counts(c::SAMPLES)?;
    let latencies = frame.counts(c::LATENCY_SUM)?;
    // As `Measures::cost` of their sum.
    let mut costs: FxHashMap<u64, (u64, u64)> = FxHashMap::default();
    let places = arrays.iter().zip(index.iter().zip(&off));
    for (place, (latency, samples)) in places.zip(latencies.iter().zip(&samples)) {
        if let (Some(array), (Some(_), Some(_))) = place {
            let cost = costs.entry(*array).or_default();
            cost.0 = cost.0.saturating_add(latency.unwrap_or(0));
            cost.1 = cost.1.saturating_add(samples.unwrap_or(0));
        }
    }
    let with_cells = costs.len();
    let mut costliest: Vec<(u64, (u64, u64))> = costs.into_iter().collect();
    costliest.sort_unstable_by_key(|(array, cost)| (std::cmp::Reverse(*cost), *array));
    costliest.truncate(MOST_ARRAYS);
    let costliest: Vec<u64> = costliest.into_iter().map(|(array, _)| array).collect();
    let is_drawn = |array: &Option<u64>| array.is_some_and(|array| costliest.contains(&array));
    let rows: BooleanChunked = arrays.iter().map(|array| Some(is_drawn(array))).collect();
    let error = |source| ReportError::Column {
        frame: frame.name,
        column: c::ARRAY.name,
        source,
    };
    let drawn = frame.frame.filter(&rows).map_err(error)?;
    let cells = cells_of(&Frame::new(frame.name, &drawn))?;
    Ok((costliest, cells, with_cells))
}

fn cells_of(frame: &Frame) -> Result<Vec<CellRow>, ReportError> {
    let mut array = Rows::new(frame.u64s(c::ARRAY)?);
    let mut index = Rows::new(frame.u64s(c::INDEX)?);
    let mut off = Rows::new(frame.u64s(c::OFF)?);
    let rows = frame.measures()?.into_iter();
    Ok(rows
        .filter_map(|m| {
            let (array, index, off) = (array.take(), index.take(), off.take());
            Some(CellRow {
                array: array?,
                index: index?,
                off: off?,
                m,
            })
        })
        .collect())
}

fn outside(frame: &Frame) -> Result<Vec<OutsideRow>, ReportError> {
    let mut map = Rows::new(frame.u64s(c::MAP)?);
    let mut part = Rows::new(frame.strings(c::PART)?);
    let mut size = Rows::new(frame.u64s(c::SIZE)?);
    let mut in_pair = Rows::new(frame.u64s(c::IN_PAIR)?);
    let mut off = Rows::new(frame.u64s(c::OFF)?);
    let rows = frame.measures()?.into_iter();
    Ok(rows
        .filter_map(|m| {
            let (map, part, size) = (map.take(), part.take(), size.take());
            let (in_pair, off) = (in_pair.take(), off.take());
            Some(OutsideRow {
                map,
                part: part?,
                size,
                in_pair,
                off: off?,
                m,
            })
        })
        .collect())
}

fn levels(frame: &Frame) -> Result<Vec<LevelRow>, ReportError> {
    let mut map = Rows::new(frame.u64s(c::MAP)?);
    let mut level = Rows::new(frame.strings(c::LEVEL)?);
    let rows = frame.measures()?.into_iter();
    Ok(rows
        .map(|m| LevelRow {
            map: map.take(),
            level: level.take(),
            m,
        })
        .collect())
}

fn code(frame: &Frame) -> Result<Vec<CodeRow>, ReportError> {
    let mut image = Rows::new(frame.strings(c::IMAGE)?);
    let mut function = Rows::new(frame.strings(c::FUNCTION)?);
    let mut outer = Rows::new(frame.strings(c::OUTER)?);
    let mut file = Rows::new(frame.strings(c::FILE)?);
    let mut line = Rows::new(frame.u64s(c::LINE)?);
    let mut operation = Rows::new(frame.strings(c::OPERATION)?);
    let mut phase = Rows::new(frame.strings(c::PHASE)?);
    let mut part = Rows::new(frame.strings(c::PART)?);
    Ok(frame
        .measures()?
        .into_iter()
        .map(|m| CodeRow {
            image: image.take(),
            function: function.take(),
            outer: outer.take(),
            file: file.take(),
            line: line.take(),
            operation: operation.take(),
            phase: phase.take(),
            part: part.take(),
            m,
        })
        .collect())
}

fn listing(frame: &Frame) -> Result<Vec<ListingRow>, ReportError> {
    let mut image = Rows::new(frame.strings(c::IMAGE)?);
    let mut outer = Rows::new(frame.strings(c::OUTER)?);
    let mut offset = Rows::new(frame.u64s(c::CODE_OFF)?);
    let mut cut = Rows::new(frame.u64s(c::CUT)?);
    let mut instruction = Rows::new(frame.strings(c::INSTRUCTION)?);
    let mut target = Rows::new(frame.strings(c::TARGET)?);
    let mut function = Rows::new(frame.strings(c::FUNCTION)?);
    let mut file = Rows::new(frame.strings(c::FILE)?);
    let mut line = Rows::new(frame.u64s(c::LINE)?);
    Ok(frame
        .measures()?
        .into_iter()
        .map(|m| ListingRow {
            image: image.take(),
            outer: outer.take(),
            offset: offset.take(),
            cut: cut.take() == Some(1),
            instruction: instruction.take(),
            target: target.take(),
            function: function.take(),
            file: file.take(),
            line: line.take(),
            m,
        })
        .collect())
}

fn steps(frame: &Frame) -> Result<Vec<StepRow>, ReportError> {
    let mut step = Rows::new(frame.u64s(c::STEP)?);
    let mut operation = Rows::new(frame.strings(c::OPERATION)?);
    let mut outer = Rows::new(frame.strings(c::OUTER)?);
    let mut function = Rows::new(frame.strings(c::FUNCTION)?);
    let mut line = Rows::new(frame.u64s(c::LINE)?);
    let mut instruction = Rows::new(frame.strings(c::INSTRUCTION)?);
    let mut phase = Rows::new(frame.strings(c::PHASE)?);
    let mut part = Rows::new(frame.strings(c::PART)?);
    let mut stage = Rows::new(frame.strings(c::STAGE)?);
    Ok(frame
        .measures()?
        .into_iter()
        .map(|m| StepRow {
            step: step.take(),
            operation: operation.take(),
            outer: outer.take(),
            function: function.take(),
            line: line.take(),
            instruction: instruction.take(),
            phase: phase.take(),
            part: part.take(),
            stage: stage.take(),
            m,
        })
        .collect())
}

fn latency(frame: &Frame) -> Result<Vec<LatencyRow>, ReportError> {
    let mut map = Rows::new(frame.u64s(c::MAP)?);
    let mut time = Rows::new(frame.u64s(c::TIME_BIN)?);
    let mut latency = Rows::new(frame.u64s(c::LATENCY_BIN)?);
    let levels = frame.shared(c::LEVEL)?;
    let mut samples = Rows::new(frame.u64s(c::SAMPLES)?);
    Ok(levels
        .into_iter()
        .map(|level| LatencyRow {
            map: map.take(),
            time_bin: time.take().unwrap_or(0).min(MOST_TIME_BIN),
            latency_bin: latency.take().unwrap_or(0).min(MOST_LATENCY_BIN),
            level,
            samples: samples.take().unwrap_or(0).min(MOST_COUNT),
        })
        .collect())
}

fn order(frame: &Frame) -> Result<Vec<OrderRow>, ReportError> {
    let mut n = Rows::new(frame.u64s(c::N)?);
    let mut time = Rows::new(frame.u64s(c::TIME)?);
    let mut tid = Rows::new(frame.i64s(c::TID)?);
    let mut cpu = Rows::new(frame.u64s(c::CPU)?);
    let mut event = Rows::new(frame.shared(c::EVENT)?);
    let mut op = Rows::new(frame.shared(c::OP)?);
    let mut level = Rows::new(frame.shared(c::LEVEL)?);
    let mut latency = Rows::new(frame.u64s(c::LATENCY)?);
    let mut map = Rows::new(frame.u64s(c::MAP)?);
    let mut part = Rows::new(frame.shared(c::PART)?);
    let mut array = Rows::new(frame.u64s(c::ARRAY)?);
    let mut index = Rows::new(frame.u64s(c::INDEX)?);
    let mut slot = Rows::new(frame.i64s(c::SLOT)?);
    let mut off = Rows::new(frame.u64s(c::OFF)?);
    let mut base = Rows::new(frame.u64s(c::BASE)?);
    let mut function = Rows::new(frame.shared(c::FUNCTION)?);
    let mut line = Rows::new(frame.u64s(c::LINE)?);
    let mut snoop = Rows::new(frame.shared(c::SNOOP)?);
    let mut after = Rows::new(frame.u64s(c::AFTER)?);
    let mut rule = Rows::new(frame.shared(c::RULE)?);
    let mut rows: Vec<OrderRow> = (0..frame.rows())
        .map(|_| OrderRow {
            n: n.take(),
            time: time.take(),
            tid: tid.take(),
            cpu: cpu.take(),
            event: event.take(),
            op: op.take(),
            level: level.take(),
            latency: latency.take(),
            map: map.take(),
            part: part.take(),
            array: array.take(),
            index: index.take(),
            slot: slot.take(),
            off: off.take(),
            base: base.take(),
            function: function.take(),
            line: line.take(),
            snoop: snoop.take(),
            after: after.take(),
            rule: rule.take(),
        })
        .collect();
    rows.sort_by_key(|row| (row.time, row.n));
    Ok(rows)
}
