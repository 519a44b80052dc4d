//! `truth.csv`: one row a sample.

use crate::missed::Of;
use crate::score::Truth;
use std::collections::{HashMap, HashSet};

/// `None`: the sample belongs to no map. Samples whose owner is uncertain are not in the table.
pub fn truths(csv: &str) -> HashMap<usize, Option<Truth>> {
    let mut lines = csv.lines();
    let header: Vec<String> = lines.next().map(fields).unwrap_or_default();
    let column = |name: &str| {
        header
            .iter()
            .position(|h| h == name)
            .expect("a column of truth.csv")
    };
    let names = [
        "n",
        "owner",
        "structure",
        "field",
        "addr",
        "off",
        "base",
        "slot",
        "header",
        "state",
    ];
    let [
        n,
        owner,
        structure,
        field,
        addr,
        off,
        base,
        slot,
        map_header,
        state,
    ] = names.map(column);
    let hex = |s: &str| u64::from_str_radix(s.trim_start_matches("0x"), 16).unwrap_or(0);
    let mut truths = HashMap::new();
    for row in lines.map(fields) {
        let truth = match row[owner].as_str() {
            "uncertain" => continue,
            "map" => {
                let name = match row[structure].as_str() {
                    "bmap_overflow" | "bmap_prealloc_unused" => "bmap",
                    "small_group" => "group",
                    other => other,
                };
                let sync = [
                    "syncmap",
                    "readonly",
                    "HashTrieMap",
                    "hashtrie_indirect",
                    "hashtrie_entry",
                ];
                Some(Truth {
                    part: format!("{name}.{}", row[field]),
                    base: match row[off].as_str() {
                        "" | "-1" => hex(&row[base]),
                        off => hex(&row[addr]).wrapping_sub(off.parse().expect("an offset")),
                    },
                    slot: row[slot].parse().ok().filter(|s| *s >= 0),
                    header: row[map_header].clone(),
                    soft: !["cur", "old"].contains(&row[state].as_str())
                        || sync.contains(&row[structure].as_str()),
                })
            }
            _ => None,
        };
        truths.insert(row[n].parse().expect("a sample number"), truth);
    }
    truths
}

/// What the samples in maps are of, by the number of the sample.
pub fn of_maps(csv: &str) -> HashMap<usize, Of> {
    let mut lines = csv.lines();
    let header: Vec<String> = lines.next().map(fields).unwrap_or_default();
    let names = ["n", "owner", "structure", "map_type", "header"];
    let column = |name: &str| header.iter().position(|h| h == name);
    let [n, owner, structure, map_type, map] =
        names.map(|name| column(name).expect("a column of truth.csv"));
    let mut maps: HashMap<String, HashSet<String>> = HashMap::new();
    let rows = lines.map(fields).filter(|row| row[owner] == "map");
    let rows: Vec<Vec<String>> = rows.collect();
    for row in &rows {
        let of_type = maps.entry(row[map_type].clone()).or_default();
        of_type.insert(row[map].clone());
    }
    let of = |row: Vec<String>| {
        let of = Of {
            structure: row[structure].clone(),
            like: maps[&row[map_type]].len(),
            map_type: row[map_type].clone(),
        };
        (row[n].parse().expect("a sample number"), of)
    };
    rows.into_iter().map(of).collect()
}

/// One CSV record; a field may be quoted.
fn fields(line: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(String::new()),
            c => all.last_mut().expect("never empty").push(c),
        }
    }
    all
}
