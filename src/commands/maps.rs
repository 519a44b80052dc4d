//! `mempath maps`: every map in a core file or a snapshot.

use crate::heap::{Form, Heap, HeapMap};
use crate::program::Program;
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug)]
pub struct Options {
    pub core: PathBuf,
    pub binaries: Vec<PathBuf>,
    pub force: bool,
    pub json: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let programs = options.binaries.iter().map(|path| Program::open(path));
    let programs = programs.map(|program| program.map(Arc::new));
    let programs: Vec<Arc<Program>> = programs.collect::<Result<_, _>>()?;
    let mut heap = Heap::read(&options.core, &programs, options.force)?;
    let mut out = io::stdout().lock();
    if options.json {
        let maps: Vec<Value> = heap.maps.iter().map(as_json).collect();
        let all = json!({ "core": heap.path, "missing_bytes": heap.missing, "maps": maps });
        writeln!(out, "{all:#}")?;
        return Ok(());
    }
    heap.maps.sort_by_key(|map| std::cmp::Reverse(map.bytes));
    if heap.missing > 0 {
        writeln!(out, "the core is cut: {} bytes are missing", heap.missing)?;
    }
    for map in &heap.maps {
        writeln!(out, "{}", as_text(map))?;
    }
    Ok(())
}

fn type_name(map: &HeapMap) -> String {
    match (&map.map_type, &*map.fitting) {
        (Some(map_type), _) => map_type.name.clone(),
        (None, []) => "sync.Map".to_owned(),
        (None, several) => format!("one of {} map types", several.len()),
    }
}

fn as_text(map: &HeapMap) -> String {
    let name = map.name.as_deref().unwrap_or("(not named)");
    let control = &map.control;
    let slots = control.slots();
    let share = |n: u64| {
        if slots == 0 {
            0.0
        } else {
            100.0 * n as f64 / slots as f64
        }
    };
    let detail = match map.form {
        Form::SyncMap => String::new(),
        Form::Classic {
            b,
            noverflow,
            oldbuckets,
            nevacuate,
            ..
        } => {
            let growing = if oldbuckets == 0 {
                String::new()
            } else {
                format!(", growing: oldbuckets {oldbuckets:#x}, nevacuate {nevacuate}")
            };
            format!(
                "  B {b}, noverflow {noverflow}, {:.2} a bucket{growing}\n  tophash: {:.1} % full, {:.1} % emptyRest, {:.1} % emptyOne, {:.1} % evacuated; chains by length {:?}\n",
                map.count as f64 / (1u64 << b) as f64,
                share(control.full),
                share(control.empty_rest),
                share(control.empty_one),
                share(control.evacuated),
                map.chains,
            )
        }
        Form::Swiss {
            dir_len,
            tables,
            capacity,
            ..
        } => format!(
            "  dirLen {dir_len}, {tables} tables, {capacity} slots\n  ctrl: {:.1} % full, {:.1} % empty, {:.1} % deleted\n",
            share(control.full),
            share(control.empty),
            share(control.deleted),
        ),
    };
    format!(
        "{:#x} {} {name}: {} entries, {} bytes\n{detail}",
        map.header,
        type_name(map),
        map.count,
        map.bytes,
    )
}

fn as_json(map: &HeapMap) -> Value {
    json!({
        "header": format!("{:#x}", map.header),
        "type": map.map_type.as_ref().map(|t| &t.name),
        "fitting": map.fitting.iter().map(|t| &t.name).collect::<Vec<_>>(),
        "name": map.name,
        "count": map.count,
        "form": map.form,
        "control": map.control,
        "chains": map.chains,
        "bytes": map.bytes,
    })
}
