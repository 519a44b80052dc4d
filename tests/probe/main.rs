//! Every version of Go: a program whose maps are known, each access to one word of them recorded by
//! hardware breakpoints.

mod judge;

use judge::{Answer, Verdict, answers};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn cached() -> PathBuf {
    let home = std::env::var_os("HOME").expect("HOME");
    PathBuf::from(home).join(".cache/mempath/probe2/probe")
}

#[test]
fn confusion() {
    let only = std::env::var("PROBE_ONLY").unwrap_or_default();
    let mut all: BTreeMap<Verdict, u64> = BTreeMap::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    for version in std::fs::read_dir(cached()).unwrap() {
        for run in std::fs::read_dir(version.unwrap().path()).unwrap() {
            folders.push(run.unwrap().path());
        }
    }
    folders.sort();
    for folder in folders {
        if !folder.to_str().unwrap().contains(&only) || !folder.join("perf.data").exists() {
            continue;
        }
        let binary = binary_in(&folder);
        let counts = answers(&folder, &binary);
        let mut sums: BTreeMap<Verdict, u64> = BTreeMap::new();
        for (a, n) in &counts {
            *sums.entry(a.verdict).or_default() += n;
            *all.entry(a.verdict).or_default() += n;
        }
        println!(
            "## {} {sums:?}",
            folder.strip_prefix(cached()).unwrap().display()
        );
        for (
            Answer {
                word,
                verdict,
                said,
                function,
                instruction,
            },
            n,
        ) in &counts
        {
            if *verdict != Verdict::Right {
                println!("{n:5} {verdict:?} {word} -> {said} in {function} `{instruction}`");
            }
        }
    }
    println!("ALL {all:?}");
}

fn binary_in(folder: &Path) -> PathBuf {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| {
            let name = p.file_name().unwrap().to_str().unwrap();
            name.starts_with("probe-go") && !name.ends_with(".gz")
        })
        .unwrap()
}
