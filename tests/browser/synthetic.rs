//! Tables made up for tests: SYNTHETIC, no recording stands behind them. The shape is that of a
//! Go 1.22 and a Go 1.24 program: three maps, two classic and one swiss.

#[path = "together.rs"]
mod together;

use mempath::attribute::{Contradiction, Evidence};
use mempath::program::Go;
use mempath::recording::{Event, Gap, GapKind, Memory, Meta};
use mempath::tables::columns::{self as c, Column as Col};
use mempath::tables::{Binary, Caveat, Finding, LevelLoads, Severity, Step, Summary, Tables};
use polars::prelude::{Column, DataFrame, DataType, NamedFrom, Series};

/// A column under its name in `columns`.
pub fn column<T, P>(column: Col, values: T) -> Column
where
    Series: NamedFrom<T, P>,
    P: ?Sized,
{
    Column::from(Series::new(column.name.into(), values))
}

pub fn frame(columns: Vec<Column>) -> DataFrame {
    let rows = columns.first().map_or(0, Column::len);
    DataFrame::new(rows, columns).unwrap()
}

/// A generator whose numbers are the same everywhere (Knuth's MMIX constants).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// One made-up access.
#[derive(Debug, Clone)]
struct Access {
    time: u64,
    cpu: u16,
    tid: i32,
    store: bool,
    level: Option<&'static str>,
    latency: u32,
    hitm: bool,
    map: usize,
    part: &'static str,
    stage: &'static str,
    array: Option<u32>,
    index: u32,
    slot: i8,
    off: u32,
    /// An object outside of the bucket or group.
    object: Option<u64>,
}

struct Shape {
    name: &'static str,
    go: &'static str,
    layout: &'static str,
    header: u64,
    stride: u64,
    key_off: u32,
    key_stride: u32,
    elem_off: u32,
    elem_stride: u32,
    base: u64,
    len: u32,
    weight: u64,
}

const SHAPES: [Shape; 3] = [
    Shape {
        name: "map[string]*main.session at cache.go:42 (s.sessions)",
        go: "map[string]*main.session",
        layout: "classic",
        header: 0xc0_000b_2180,
        stride: 208,
        key_off: 8,
        key_stride: 16,
        elem_off: 136,
        elem_stride: 8,
        base: 0xc0_0040_0000,
        len: 1 << 12,
        weight: 62,
    },
    Shape {
        name: "map[uint64]uint64 at counters.go:17 (hits)",
        go: "map[uint64]uint64",
        layout: "classic",
        header: 0xc0_000b_21b0,
        stride: 144,
        key_off: 8,
        key_stride: 8,
        elem_off: 72,
        elem_stride: 8,
        base: 0xc0_0080_0010,
        len: 32,
        weight: 27,
    },
    Shape {
        name: "map[uint32]main.quota at quota.go:88",
        go: "map[uint32]main.quota",
        layout: "swiss",
        header: 0xc0_000c_0000,
        stride: 200,
        key_off: 8,
        key_stride: 24,
        elem_off: 16,
        elem_stride: 24,
        base: 0xc0_0090_0000,
        len: 128,
        weight: 11,
    },
];

pub const START: u64 = 81_234_000_000_000;
pub const SPAN: u64 = 10_000_000_000;
const TIME_BINS: u64 = 256;

fn accesses(n: usize) -> Vec<Access> {
    let mut random = Random::new(42);
    let mut all = Vec::with_capacity(n);
    for i in 0..n {
        let roll = random.below(100);
        let map = if roll < SHAPES[0].weight {
            0
        } else if roll < SHAPES[0].weight + SHAPES[1].weight {
            1
        } else {
            2
        };
        let shape = &SHAPES[map];
        let swiss = shape.layout == "swiss";
        let time = START + SPAN * i as u64 / n as u64 + random.below(1_000);
        let slow_phase = (4..6).contains(&((time - START) / 1_000_000_000));
        let slot = random.below(8) as i8;
        let hot = random.below(10) < 3;
        let index = if hot {
            3
        } else {
            random.below(u64::from(shape.len)) as u32
        };
        let structure = |part: &'static str| part;
        let (part, stage, off, slot, in_array) = match random.below(20) {
            0 if swiss => (structure("Map.dirPtr"), "header", 16, -1, false),
            0 => ("hmap.buckets", "header", 16, -1, false),
            1 if swiss => ("directory.table_ptr", "directory", 0, -1, false),
            2 if swiss => ("table.groups.data", "table", 16, -1, false),
            1..=10 if swiss => ("group.ctrl", "control", 0, -1, true),
            1..=10 => (
                "bmap.tophash",
                "control",
                random.below(8) as u32,
                slot,
                true,
            ),
            11..=15 => (
                if swiss { "group.key" } else { "bmap.key" },
                "key",
                shape.key_off + shape.key_stride * slot as u32,
                slot,
                true,
            ),
            16 if !swiss => (
                "bmap.overflow",
                "overflow",
                shape.stride as u32 - 8,
                -1,
                true,
            ),
            _ => (
                if swiss { "group.elem" } else { "bmap.elem" },
                "elem",
                shape.elem_off + shape.elem_stride * slot as u32,
                slot,
                true,
            ),
        };
        let store = stage == "elem" && random.below(3) == 0;
        let far = if stage == "control" {
            45
        } else if stage == "key" {
            25
        } else {
            8
        };
        let far = if slow_phase { far + 25 } else { far };
        let roll = random.below(100);
        let hitm = map == 1 && hot && random.below(4) == 0 && !store;
        let (level, base) = match roll {
            _ if store => (None, 0),
            _ if hitm => (Some("L3"), 130),
            r if r < far => (Some("RAM"), 320),
            r if r < far + 8 => (Some("LFB"), 90),
            r if r < far + 18 => (Some("L3"), 62),
            r if r < far + 26 => (Some("L2"), 34),
            97.. => (None, 40),
            _ => (Some("L1"), 31),
        };
        let latency = if store {
            0
        } else {
            (base + random.below(base / 2 + 1) + random.below(40) * random.below(12)) as u32
        };
        all.push(Access {
            time,
            cpu: random.below(8) as u16,
            tid: 4_100 + random.below(12) as i32,
            store,
            level,
            latency,
            hitm,
            map,
            part,
            stage,
            array: in_array.then_some(map as u32),
            index,
            slot,
            off,
            object: None,
        });
    }
    all
}

/// Bytes of a `main.quota` that is kept outside of the group, and of the objects of its size class.
pub const QUOTA: u64 = 184;
const CLASS: u64 = 192;

/// The elems of the swiss map moved into objects of their own, [`CLASS`] bytes apart.
fn outside(mut all: Vec<Access>) -> Vec<Access> {
    let mut random = Random::new(7);
    for a in all.iter_mut().filter(|a| a.map == 2 && a.stage == "elem") {
        a.part = "indirect_elem.elem";
        a.object = Some(0xc0_00a0_0000 + CLASS * random.below(500));
        (a.array, a.off) = (None, 8 * random.below(QUOTA / 8) as u32);
    }
    all
}

/// The columns of counts over groups of accesses.
fn measures(groups: &[Vec<&Access>], quantiles: bool) -> Vec<Column> {
    let count = |f: &dyn Fn(&Access) -> bool| -> Vec<u64> {
        groups
            .iter()
            .map(|g| g.iter().filter(|a| f(a)).count() as u64)
            .collect()
    };
    let known = |f: &dyn Fn(&Access) -> bool| -> Vec<Option<u64>> {
        let counts = count(f);
        let any = count(&|a: &Access| !a.store && a.level.is_some());
        counts
            .into_iter()
            .zip(any)
            .map(|(n, any)| (any > 0).then_some(n))
            .collect()
    };
    let latencies: Vec<Vec<u32>> = groups
        .iter()
        .map(|g| {
            let mut all: Vec<u32> = g.iter().filter(|a| !a.store).map(|a| a.latency).collect();
            all.sort_unstable();
            all
        })
        .collect();
    let quantile = |q: f64| -> Vec<Option<u32>> {
        latencies
            .iter()
            .map(|l| {
                l.get(((l.len() as f64 * q).ceil() as usize).saturating_sub(1))
                    .copied()
            })
            .collect()
    };
    let sum = |l: &Vec<u32>| (!l.is_empty()).then(|| l.iter().map(|n| u64::from(*n)).sum::<u64>());
    let beyond = |a: &Access| !a.store && matches!(a.level, Some("L2" | "L3" | "RAM"));
    let mut columns = vec![
        column(c::SAMPLES, count(&|_| true)),
        column(c::LOADS, count(&|a| !a.store)),
        column(c::STORES, count(&|a| a.store)),
        column(c::L1_HIT, known(&|a| a.level == Some("L1"))),
        column(c::LFB, known(&|a| a.level == Some("LFB"))),
        column(c::L1_MISS, known(&beyond)),
        column(c::LLC_MISS, known(&|a| !a.store && a.level == Some("RAM"))),
        column(c::HITM, known(&|a| a.hitm)),
        column(c::LEVEL_UNKNOWN, count(&|a| !a.store && a.level.is_none())),
        column(c::STORE_L1_MISS, vec![None::<u64>; groups.len()]),
        column(
            c::LATENCY_SUM,
            latencies.iter().map(sum).collect::<Vec<_>>(),
        ),
        column(
            c::LATENCY_N,
            latencies.iter().map(|l| l.len() as u64).collect::<Vec<_>>(),
        ),
    ];
    if quantiles {
        columns.push(column(c::LATENCY_P50, quantile(0.5)));
        columns.push(column(c::LATENCY_P95, quantile(0.95)));
    }
    columns
}

fn groups<K: Ord + Clone>(
    all: &[Access],
    key: impl Fn(&Access) -> Option<K>,
) -> (Vec<K>, Vec<Vec<&Access>>) {
    let mut sums = std::collections::BTreeMap::<K, Vec<&Access>>::new();
    for access in all {
        if let Some(key) = key(access) {
            sums.entry(key).or_default().push(access);
        }
    }
    sums.into_iter().unzip()
}

/// `n` accesses in the shape of a real page.
pub fn tables(n: usize) -> Tables {
    tables_of(accesses(n))
}

/// The same, with elems that lie outside of the swiss map's groups.
pub fn with_objects(n: usize) -> Tables {
    tables_of(outside(accesses(n)))
}

fn tables_of(all: Vec<Access>) -> Tables {
    let n = all.len();
    let maps: Vec<Vec<&Access>> = (0..SHAPES.len())
        .map(|m| all.iter().filter(|a| a.map == m).collect())
        .collect();
    let shape = |f: fn(&Shape) -> u32| SHAPES.iter().map(f).collect::<Vec<_>>();
    let mut map_columns = vec![
        column(c::MAP, vec![0u32, 1, 2]),
        column(
            c::MAP_NAME,
            SHAPES.iter().map(|s| s.name).collect::<Vec<_>>(),
        ),
        column(c::MAP_TYPE, SHAPES.iter().map(|s| s.go).collect::<Vec<_>>()),
        column(
            c::HEADER,
            SHAPES.iter().map(|s| s.header).collect::<Vec<_>>(),
        ),
        column(
            c::LAYOUT,
            SHAPES.iter().map(|s| s.layout).collect::<Vec<_>>(),
        ),
        column(
            c::STRIDE,
            SHAPES.iter().map(|s| s.stride).collect::<Vec<_>>(),
        ),
        column(c::KEY_OFF, shape(|s| s.key_off)),
        column(c::KEY_STRIDE, shape(|s| s.key_stride)),
        column(c::ELEM_OFF, shape(|s| s.elem_off)),
        column(c::ELEM_STRIDE, shape(|s| s.elem_stride)),
        column(c::EVIDENCE, vec!["registers", "registers", "position"]),
    ];
    map_columns.extend(measures(&maps, true));

    let (keys, rows) = groups(&all, |a| Some((a.map as u32, a.part, a.stage)));
    let mut parts = vec![
        column(c::MAP, keys.iter().map(|k| k.0).collect::<Vec<_>>()),
        column(c::PART, keys.iter().map(|k| k.1).collect::<Vec<_>>()),
        column(c::STAGE, keys.iter().map(|k| k.2).collect::<Vec<_>>()),
    ];
    parts.extend(measures(&rows, true));

    let in_arrays: Vec<Vec<&Access>> = (0..3)
        .map(|array| all.iter().filter(|a| a.array == Some(array)).collect())
        .collect();
    let mut arrays = vec![
        column(c::ARRAY, vec![0u32, 1, 2]),
        column(c::MAP, vec![0u32, 1, 2]),
        column(c::BASE, SHAPES.iter().map(|s| s.base).collect::<Vec<_>>()),
        column(
            c::STRIDE,
            SHAPES.iter().map(|s| s.stride).collect::<Vec<_>>(),
        ),
        column(c::LEN, shape(|s| s.len)),
        column(c::INDEX_WIDTH, vec![1u32; 3]),
        column(c::OLD, vec![false; 3]),
    ];
    arrays.extend(measures(&in_arrays, false));

    let (keys, rows) = groups(&all, |a| Some((a.array?, a.index, a.off)));
    let mut cells = vec![
        column(c::MAP, keys.iter().map(|k| k.0).collect::<Vec<_>>()),
        column(c::ARRAY, keys.iter().map(|k| k.0).collect::<Vec<_>>()),
        column(c::INDEX, keys.iter().map(|k| k.1).collect::<Vec<_>>()),
        column(c::OFF, keys.iter().map(|k| k.2).collect::<Vec<_>>()),
    ];
    cells.extend(measures(&rows, false));

    let (keys, rows) = groups(&all, |a| {
        Some((a.map, a.part, (a.object? % 128) as u8, a.off))
    });
    let mut objects = vec![
        column(c::MAP, keys.iter().map(|k| k.0 as u32).collect::<Vec<_>>()),
        column(c::PART, keys.iter().map(|k| k.1).collect::<Vec<_>>()),
        column(c::SIZE, vec![QUOTA; keys.len()]),
        column(c::IN_PAIR, keys.iter().map(|k| k.2).collect::<Vec<_>>()),
        column(c::OFF, keys.iter().map(|k| k.3).collect::<Vec<_>>()),
    ];
    objects.extend(measures(&rows, false));

    let loads: Vec<Access> = all.iter().filter(|a| !a.store).cloned().collect();
    let (keys, rows) = groups(&loads, |a| Some((a.map as u32, a.level)));
    let mut levels = vec![
        column(c::MAP, keys.iter().map(|k| k.0).collect::<Vec<_>>()),
        column(c::LEVEL, keys.iter().map(|k| k.1).collect::<Vec<_>>()),
    ];
    levels.extend(measures(&rows, true));

    let (keys, rows) = groups(&all, |a| Some((step(a)?, function(a), line(a), a.part)));
    let mut steps = vec![
        column(c::STEP, keys.iter().map(|k| k.0.1).collect::<Vec<_>>()),
        column(c::OPERATION, keys.iter().map(|k| k.2.2).collect::<Vec<_>>()),
        column(c::OUTER, keys.iter().map(|k| k.1.1).collect::<Vec<_>>()),
        column(c::FUNCTION, keys.iter().map(|k| k.1.2).collect::<Vec<_>>()),
        column(c::LINE, keys.iter().map(|k| k.2.1).collect::<Vec<_>>()),
        column(
            c::INSTRUCTION,
            rows.iter().map(|r| instruction(r[0])).collect::<Vec<_>>(),
        ),
        column(c::PHASE, keys.iter().map(|k| k.2.3).collect::<Vec<_>>()),
        column(c::PART, keys.iter().map(|k| k.3).collect::<Vec<_>>()),
        column(
            c::STAGE,
            rows.iter().map(|r| r[0].stage).collect::<Vec<_>>(),
        ),
    ];
    steps.extend(measures(&rows, true));

    let (keys, rows) = groups(&all, |a| Some(function(a)));
    let mut functions = vec![
        column(c::IMAGE, keys.iter().map(|k| k.0).collect::<Vec<_>>()),
        column(c::OUTER, keys.iter().map(|k| k.1).collect::<Vec<_>>()),
        column(c::FUNCTION, keys.iter().map(|k| k.2).collect::<Vec<_>>()),
    ];
    functions.extend(measures(&rows, true));

    let (keys, rows) = groups(&all, |a| Some((function(a), line(a), a.part)));
    let mut lines = vec![
        column(c::IMAGE, keys.iter().map(|k| k.0.0).collect::<Vec<_>>()),
        column(c::FUNCTION, keys.iter().map(|k| k.0.2).collect::<Vec<_>>()),
        column(c::FILE, keys.iter().map(|k| k.1.0).collect::<Vec<_>>()),
        column(c::LINE, keys.iter().map(|k| k.1.1).collect::<Vec<_>>()),
        column(c::OPERATION, keys.iter().map(|k| k.1.2).collect::<Vec<_>>()),
        column(c::PHASE, keys.iter().map(|k| k.1.3).collect::<Vec<_>>()),
        column(c::PART, keys.iter().map(|k| k.2).collect::<Vec<_>>()),
    ];
    lines.extend(measures(&rows, true));

    let (keys, rows) = groups(&all, |a| {
        let bin = (f64::from(a.latency.max(1)).log2() * 8.0).floor() as u32;
        let time = (a.time - START) / (SPAN / TIME_BINS);
        (!a.store).then_some((a.map as u32, time as u32, bin, a.level))
    });
    let latency = vec![
        column(c::MAP, keys.iter().map(|k| k.0).collect::<Vec<_>>()),
        column(c::TIME_BIN, keys.iter().map(|k| k.1).collect::<Vec<_>>()),
        column(c::LATENCY_BIN, keys.iter().map(|k| k.2).collect::<Vec<_>>()),
        column(c::LEVEL, keys.iter().map(|k| k.3).collect::<Vec<_>>()),
        column(
            c::SAMPLES,
            rows.iter().map(|r| r.len() as u64).collect::<Vec<_>>(),
        ),
    ];

    let hot: Vec<(usize, &Access)> = all
        .iter()
        .enumerate()
        .filter(|(_, a)| a.array.is_some() && a.index == 3)
        .take(6_000)
        .collect();
    let of = |a: &Access| SHAPES[a.map].base + u64::from(a.index) * SHAPES[a.map].stride;
    let before = |i: usize| {
        let (_, own) = hot[i];
        let same = hot[..i]
            .iter()
            .rev()
            .find(|(_, a)| (a.cpu, a.tid, a.map) == (own.cpu, own.tid, own.map));
        same.map(|(n, _)| *n as u32)
    };
    let after: Vec<Option<u32>> = (0..hot.len()).map(before).collect();
    let order = vec![
        column(
            c::RULE,
            after
                .iter()
                .map(|n| n.map(|_| "store_buffer"))
                .collect::<Vec<_>>(),
        ),
        column(c::AFTER, after),
        column(
            c::SNOOP,
            hot.iter()
                .map(|(_, a)| a.hitm.then_some("HITM"))
                .collect::<Vec<_>>(),
        ),
        column(c::N, hot.iter().map(|(n, _)| *n as u32).collect::<Vec<_>>()),
        column(c::TIME, hot.iter().map(|(_, a)| a.time).collect::<Vec<_>>()),
        column(c::PID, vec![4_100i32; hot.len()]),
        column(c::TID, hot.iter().map(|(_, a)| a.tid).collect::<Vec<_>>()),
        column(c::CPU, hot.iter().map(|(_, a)| a.cpu).collect::<Vec<_>>()),
        column(
            c::OP,
            hot.iter()
                .map(|(_, a)| if a.store { "store" } else { "load" })
                .collect::<Vec<_>>(),
        ),
        column(
            c::LEVEL,
            hot.iter().map(|(_, a)| a.level).collect::<Vec<_>>(),
        ),
        column(
            c::LATENCY,
            hot.iter()
                .map(|(_, a)| (!a.store).then_some(a.latency))
                .collect::<Vec<_>>(),
        ),
        column(
            c::MAP,
            hot.iter().map(|(_, a)| a.map as u32).collect::<Vec<_>>(),
        ),
        column(c::PART, hot.iter().map(|(_, a)| a.part).collect::<Vec<_>>()),
        column(
            c::ARRAY,
            hot.iter().map(|(_, a)| a.array).collect::<Vec<_>>(),
        ),
        column(
            c::INDEX,
            hot.iter().map(|(_, a)| a.index).collect::<Vec<_>>(),
        ),
        column(
            c::SLOT,
            hot.iter()
                .map(|(_, a)| (a.slot >= 0).then_some(a.slot))
                .collect::<Vec<_>>(),
        ),
        column(c::OFF, hot.iter().map(|(_, a)| a.off).collect::<Vec<_>>()),
        column(c::BASE, hot.iter().map(|(_, a)| of(a)).collect::<Vec<_>>()),
        column(
            c::FUNCTION,
            hot.iter().map(|(_, a)| function(a).2).collect::<Vec<_>>(),
        ),
        column(
            c::LINE,
            hot.iter().map(|(_, a)| line(a).1).collect::<Vec<_>>(),
        ),
    ];
    Tables {
        summary: summary(n as u64, &all),
        maps: frame(map_columns),
        parts: frame(parts),
        arrays: frame(arrays),
        cells: frame(cells),
        outside: frame(objects),
        functions: frame(functions),
        lines: frame(lines),
        steps: frame(steps),
        latency: frame(latency),
        levels: frame(levels),
        order: frame(order),
        kept: kept(&all),
        ..empty()
    }
}

/// All accesses, or one of each few, which stands for them.
fn kept(all: &[Access]) -> DataFrame {
    let each = all.len().div_ceil(100_000).max(1);
    let rows: Vec<&Access> = all.iter().step_by(each).collect();
    let groups: Vec<Vec<&Access>> = rows.iter().map(|a| vec![*a; each]).collect();
    macro_rules! of {
        ($column:expr, |$a:ident| $value:expr) => {
            column($column, rows.iter().map(|$a| $value).collect::<Vec<_>>())
        };
    }
    let mut columns = vec![
        of!(c::TIME, |a| a.time),
        of!(c::TID, |a| a.tid),
        of!(c::CPU, |a| a.cpu),
        of!(c::OP, |a| if a.store { "store" } else { "load" }),
        of!(c::LEVEL, |a| a.level),
        of!(c::LATENCY, |a| (!a.store).then_some(a.latency)),
        of!(c::MAP, |a| a.map as u32),
        of!(c::PART, |a| a.part),
        of!(c::ARRAY, |a| a.array),
        of!(c::INDEX, |a| a.index),
        of!(c::OFF, |a| a.off),
        of!(c::BASE, |a| base(a)),
        of!(c::IMAGE, |a| function(a).0),
        of!(c::OUTER, |a| function(a).1),
        of!(c::FUNCTION, |a| function(a).2),
        of!(c::FILE, |a| line(a).0),
        of!(c::LINE, |a| line(a).1),
        of!(c::OPERATION, |a| line(a).2),
        of!(c::PHASE, |a| line(a).3),
        of!(c::STEP, |a| step(a).map(|(_, step)| step)),
        of!(c::INSTRUCTION, |a| instruction(a)),
        of!(c::EVIDENCE, |a| Some(evidence(a))),
        of!(c::REASON, |_a| None::<&str>),
    ];
    columns.extend(measures(&groups, false));
    frame(columns)
}

/// Address of the bucket, the group or the header that was touched.
fn base(a: &Access) -> u64 {
    let shape = &SHAPES[a.map];
    match a.array {
        None if a.object.is_some() => a.object.unwrap(),
        Some(_) => shape.base + u64::from(a.index) * shape.stride,
        None => shape.header,
    }
}

fn function(a: &Access) -> (&'static str, &'static str, &'static str) {
    let outer = match (a.map, a.store) {
        (0, _) => "runtime.mapaccess2_faststr",
        (1, true) => "runtime.mapassign_fast64",
        (1, false) => "runtime.mapaccess1_fast64",
        _ => "runtime.mapaccess1_fast32",
    };
    let inner = match a.stage {
        "header" => "runtime.bucketMask",
        "overflow" => "runtime.(*bmap).overflow",
        "elem" => "main.(*server).lookup",
        _ => outer,
    };
    (
        "/srv/api/bin/api-server",
        if a.stage == "elem" {
            "main.(*server).handle"
        } else {
            outer
        },
        inner,
    )
}

/// The operation and the turn in it, as the lines have them.
fn step(a: &Access) -> Option<(&'static str, u32)> {
    let turn = match a.stage {
        "header" => 1,
        "directory" => 2,
        "table" => 3,
        "overflow" => 4,
        "control" => 5,
        "key" => 6,
        _ => 7,
    };
    Some((line(a).2?, turn))
}

fn instruction(a: &Access) -> &'static str {
    match (a.stage, a.store) {
        ("control", _) => "movzx ecx,byte ptr [rbx]",
        (_, true) => "mov [rax],rcx",
        _ => "mov rax,[rbx+8]",
    }
}

fn evidence(a: &Access) -> &'static str {
    match a.map {
        0 | 1 => "registers",
        _ => "position",
    }
}

type Line = (
    &'static str,
    u32,
    Option<&'static str>,
    Option<&'static str>,
);

fn line(a: &Access) -> Line {
    let file = if a.map == 0 {
        "runtime/map_faststr.go"
    } else {
        "runtime/map_fast64.go"
    };
    match a.stage {
        "header" => (file, 117, Some("access"), Some("locate")),
        "control" => (file, 145, Some("access"), Some("compare_control")),
        "key" => (file, 149, Some("access"), Some("compare_key")),
        "overflow" => (file, 141, Some("access"), Some("locate")),
        _ if a.store => ("api/counters.go", 31, Some("assign"), Some("write_elem")),
        _ => ("api/cache.go", 44, None, None),
    }
}

fn summary(n: u64, all: &[Access]) -> Summary {
    let loads = all.iter().filter(|a| !a.store).count() as u64;
    let cost = |f: &dyn Fn(&Access) -> bool| {
        all.iter()
            .filter(|a| f(a))
            .map(|a| u64::from(a.latency))
            .sum::<u64>()
    };
    let count = |f: &dyn Fn(&Access) -> bool| all.iter().filter(|a| f(a)).count() as u64;
    let event = |name: &str, samples, ldlat| Event {
        name: name.to_owned(),
        samples,
        sample_period: 1_009,
        precise_ip: 3,
        exclude_kernel: true,
        ldlat,
        memory: Memory::Sampled,
        ..Event::default()
    };
    let step = |name: &str, samples| Step {
        name: name.to_owned(),
        samples,
    };
    let control = count(&|a| a.map == 0 && a.stage == "control");
    let shared = count(&|a| a.hitm);
    Summary {
        schema: 1,
        mempath: "0.1.0".to_owned(),
        recording: "SYNTHETIC perf.data".to_owned(),
        meta: Meta {
            hostname: Some("edge-17.fra.example".to_owned()),
            os_release: Some("6.1.0-26-amd64".to_owned()),
            arch: Some("x86_64".to_owned()),
            cpu_desc: Some("Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz".to_owned()),
            cpuid: Some("GenuineIntel,6,106,6".to_owned()),
            perf_version: Some("6.1.112".to_owned()),
            cmdline: ["perf", "mem", "record", "--ldlat", "30", "-p", "4100", "--", "sleep", "10"].map(str::to_owned).into(),
            cpus_online: Some(8),
            cpus_available: Some(8),
            total_memory_kb: Some(65_806_340),
            file_size: 41_200_128,
            ..Meta::default()
        },
        events: vec![
            event("cpu/mem-loads,ldlat=30/P", loads + 4_000, Some(30)),
            event("cpu/mem-stores/P", n - loads + 1_200, None),
        ],
        binaries: vec![Binary {
            path: "/srv/api/bin/api-server".to_owned(),
            found: Ok("/srv/api/bin/api-server".to_owned()),
            build_id: Some("1f0c9be2a1d34e7795a3d3f3be0c0d7f6a5f1e21".to_owned()),
            forced: false,
            stripped: true,
            go: Some(Go { version: "go1.22.10".to_owned(), minor: 22, ..Go::default() }),
            samples: n + 3_000,
            declared: None,
        }],
        funnel: vec![
            step("samples read", n + 5_200),
            step("memory accesses", n + 5_100),
            step("user", n + 4_400),
            step("this binary", n + 3_000),
            step("map code or map memory", n + 900),
            step("part", n + 500),
            step("slot", n * 8 / 10),
            step("map", n),
        ],
        reasons: vec![
            ("not a map access".to_owned(), "Neither the code nor the address belongs to a map.".to_owned(), 2_100),
            ("kernel".to_owned(), "The sample was taken in the kernel or the hypervisor.".to_owned(), 700),
            ("no binary".to_owned(), "The file that holds the instruction was not found, or was refused.".to_owned(), 1_400),
            ("base unknown".to_owned(), "Map code whose memory operand the data flow could not follow.".to_owned(), 400),
        ],
        evidence: vec![
            ("registers".to_owned(), n * 7 / 10),
            ("position".to_owned(), n * 2 / 10),
            ("learned_region".to_owned(), n / 10),
        ],
        contradictions: vec![Contradiction {
            stronger: Evidence::Registers,
            weaker: Evidence::Position,
            about: "the slot of a key".to_owned(),
            samples: 3,
        }],
        gaps: vec![
            Gap { time_ns: Some(START + 2_350_000_000), cpu: Some(3), kind: GapKind::Lost, lost: 812 },
            Gap { time_ns: Some(START + 7_100_000_000), cpu: Some(1), kind: GapKind::Throttle, lost: 0 },
        ],
        time_ns: Some((START, START + SPAN)),
        levels: loads_by_level(all),
        time_bin_ns: SPAN / TIME_BINS,
        caveats: vec![
            Caveat {
                severity: Severity::Alarm,
                text: "these tables are SYNTHETIC: made up for a test, no recording stands behind them".to_owned(),
            },
            Caveat {
                severity: Severity::Alarm,
                text: "812 records were lost; every count is a lower bound".to_owned(),
            },
            Caveat {
                severity: Severity::Note,
                text: "recorded at ldlat=30: loads faster than 30 cycles are missing from every chart".to_owned(),
            },
        ],
        findings: vec![
            Finding {
                text: "`map[string]*main.session at cache.go:42 (s.sessions)`: half of its sampled load latency is in `bmap.tophash`, served by RAM".to_owned(),
                at_stake: cost(&|a| a.map == 0 && a.stage == "control"),
                samples: control,
                of: n,
                interval: (0.293, 0.311),
                evidence: "registers".to_owned(),
                chart: "misses".to_owned(),
            },
            Finding {
                text: "map[uint64]uint64 at counters.go:17 (hits): bucket 3 is written from 8 CPUs and read with HITM".to_owned(),
                at_stake: cost(&|a| a.hitm),
                samples: shared,
                of: n,
                interval: (0.008, 0.012),
                evidence: "registers".to_owned(),
                chart: "sharing".to_owned(),
            },
        ],
        together: Box::new(together::together(START)),
        ..Summary::default()
    }
}

fn loads_by_level(all: &[Access]) -> Vec<LevelLoads> {
    let loads: Vec<Access> = all.iter().filter(|a| !a.store).cloned().collect();
    let (levels, rows) = groups(&loads, |a| Some(a.level));
    let of = |(level, rows): (Option<&'static str>, Vec<&Access>)| {
        let mut latencies: Vec<u32> = rows.iter().map(|a| a.latency).collect();
        latencies.sort_unstable();
        let rank = |percent: usize| (latencies.len() * percent).div_ceil(100).saturating_sub(1);
        LevelLoads {
            level: level.map(str::to_owned),
            loads: rows.len() as u64,
            latency_n: rows.len() as u64,
            latency_sum: Some(latencies.iter().map(|n| u64::from(*n)).sum()),
            latency_p50: latencies.get(rank(50)).copied(),
            latency_p95: latencies.get(rank(95)).copied(),
        }
    };
    levels.into_iter().zip(rows).map(of).collect()
}

/// No sample at all.
pub fn empty() -> Tables {
    Tables {
        summary: Summary::default(),
        maps: DataFrame::empty(),
        parts: DataFrame::empty(),
        arrays: DataFrame::empty(),
        cells: DataFrame::empty(),
        outside: DataFrame::empty(),
        functions: DataFrame::empty(),
        lines: DataFrame::empty(),
        listing: DataFrame::empty(),
        steps: DataFrame::empty(),
        latency: DataFrame::empty(),
        levels: DataFrame::empty(),
        order: DataFrame::empty(),
        misses: DataFrame::empty(),
        gaps: DataFrame::empty(),
        kept: DataFrame::empty(),
    }
}

/// Markup, quotes, control characters, a change of direction, a line separator.
pub const HOSTILE: &str = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\"'`&\u{202e}\u{0}\u{1b}[31m\u{2028}-->]]>";

/// Every text of the frame replaced.
fn hostile_frame(frame: &DataFrame) -> DataFrame {
    let columns: Vec<Column> = frame
        .columns()
        .iter()
        .map(|column| match column.dtype() {
            DataType::String => {
                let values: Vec<String> = (0..frame.height())
                    .map(|i| format!("{HOSTILE}{}", i % 5))
                    .collect();
                Column::from(Series::new(column.name().clone(), values))
            }
            _ => column.clone(),
        })
        .collect();
    DataFrame::new(frame.height(), columns).unwrap()
}

/// [`HOSTILE`] in place of every text.
fn hostile_texts(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(_) => Value::from(HOSTILE),
        Value::Array(items) => items.into_iter().map(hostile_texts).collect(),
        Value::Object(items) => {
            let items = items.into_iter();
            Value::Object(items.map(|(k, v)| (k, hostile_texts(v))).collect())
        }
        other => other,
    }
}

/// The page of [`tables`] with [`HOSTILE`] in every text.
pub fn hostile() -> Tables {
    let mut tables = with_objects(2_000);
    for frame in [
        &mut tables.maps,
        &mut tables.parts,
        &mut tables.arrays,
        &mut tables.cells,
        &mut tables.outside,
        &mut tables.functions,
        &mut tables.lines,
        &mut tables.steps,
        &mut tables.latency,
        &mut tables.levels,
        &mut tables.order,
        &mut tables.kept,
    ] {
        *frame = hostile_frame(frame);
    }
    let bad = || HOSTILE.to_owned();
    let s = &mut tables.summary;
    (s.mempath, s.recording) = (bad(), bad());
    s.meta.hostname = Some(bad());
    s.meta.os_release = Some(bad());
    s.meta.cpu_desc = Some(bad());
    s.meta.cpuid = Some(bad());
    s.meta.perf_version = Some(bad());
    s.meta.cmdline = vec![bad(), bad()];
    s.meta.modelled = Some(bad());
    s.events = vec![Event {
        name: bad(),
        memory: Memory::Sampled,
        ..Event::default()
    }];
    for found in [Ok(bad()), Err(bad())] {
        s.binaries.push(Binary {
            path: bad(),
            found,
            build_id: Some(bad()),
            ..s.binaries[0].clone()
        });
    }
    s.binaries[0].path = bad();
    s.binaries[0].go.as_mut().unwrap().version = bad();
    s.funnel = vec![Step {
        name: bad(),
        samples: 3,
    }];
    s.reasons = vec![(bad(), bad(), 3)];
    s.evidence = vec![(bad(), 3)];
    s.contradictions[0].about = bad();
    s.damage = vec![mempath::recording::Damage {
        offset: 1,
        rule: bad(),
    }];
    s.caveats = vec![
        Caveat {
            severity: Severity::Alarm,
            text: bad(),
        },
        Caveat {
            severity: Severity::Note,
            text: bad(),
        },
    ];
    let together = serde_json::to_value(&s.together).unwrap();
    s.together = serde_json::from_value(hostile_texts(together)).unwrap();
    s.findings = vec![Finding {
        text: bad(),
        evidence: bad(),
        chart: bad(),
        ..Finding::default()
    }];
    tables
}
