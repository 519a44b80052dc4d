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
                        "" | "-1" => number(&row[base]),
                        off => number(&row[addr]).wrapping_sub(off.parse().expect("an offset")),
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

/// A number in hexadecimal digits; 0 where there is none.
pub fn number(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0)
}

/// The row of one sample in a map.
pub struct Fields {
    pub structure: String,
    pub field: String,
    pub map_type: String,
    pub header: u64,
    /// The start of the array, of the directory, of the object.
    pub base: u64,
    pub address: u64,
    pub off: i64,
    bucket: i64,
    group: i64,
    pub slot: i64,
}

impl Fields {
    /// The bucket or group that it is in, or that points to it.
    pub fn bucket(&self) -> (u64, i64, i64) {
        (self.header, self.bucket, self.group)
    }
}

/// The rows of the samples in maps, by the number of the sample.
pub fn rows_of_maps(csv: &str) -> HashMap<usize, Fields> {
    let mut lines = csv.lines();
    let header: Vec<String> = lines.next().map(fields).unwrap_or_default();
    let names = [
        "n",
        "owner",
        "structure",
        "field",
        "map_type",
        "header",
        "base",
        "addr",
        "off",
        "bucket",
        "group",
        "slot",
    ];
    let column = |name: &str| header.iter().position(|h| h == name);
    let columns = names.map(|name| column(name).expect("a column of truth.csv"));
    let of = |row: Vec<String>| {
        let text = columns.map(|column| row[column].as_str());
        let [
            n,
            owner,
            structure,
            field,
            map_type,
            header,
            base,
            addr,
            off,
            bucket,
            group,
            slot,
        ] = text;
        let signed = |text: &str| text.parse().unwrap_or(-1);
        let of = Fields {
            structure: structure.to_owned(),
            field: field.to_owned(),
            map_type: map_type.to_owned(),
            header: number(header),
            base: number(base),
            address: number(addr),
            off: signed(off),
            bucket: signed(bucket),
            group: signed(group),
            slot: signed(slot),
        };
        (owner == "map").then(|| (n.parse().expect("a sample number"), of))
    };
    lines.map(fields).filter_map(of).collect()
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
