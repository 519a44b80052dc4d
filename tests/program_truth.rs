//! The truth sets' binaries: pclntab against DWARF, stripped against unstripped.

use mempath::program::{Frame, Program};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

const SETS: [&str; 2] = ["go1.22.10-twins", "go1.27.3-twins"];

/// A file of the shared data; `None` where the folder is absent, which CI does not allow.
fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")).join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} is missing",
        path.display()
    );
    eprintln!("{} is absent: nothing tested", path.display());
    None
}

fn open(set: &str, binary: &str) -> Option<Program> {
    Some(Program::open(&shared(&format!("truth/{set}/{binary}.gz"))?).unwrap())
}

fn ips(set: &str) -> Option<BTreeSet<u64>> {
    let path = shared(&format!("truth/{set}/truth.csv.gz"))?;
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    let column = text
        .lines()
        .next()
        .unwrap()
        .split(',')
        .position(|name| name == "ip")
        .unwrap();
    let ip = |line: &str| {
        let field = line.split(',').nth(column).unwrap();
        u64::from_str_radix(field.trim_start_matches("0x"), 16).unwrap()
    };
    Some(text.lines().skip(1).map(ip).collect())
}

/// Function (without type arguments, which pclntab writes as `[...]`), file and line.
fn plain(frames: &[Frame]) -> Vec<(String, Option<String>, Option<u32>)> {
    let name = |name: &str| match (name.find('['), name.rfind(']')) {
        (Some(from), Some(to)) if from < to => format!("{}[...]{}", &name[..from], &name[to + 1..]),
        _ => name.to_owned(),
    };
    (frames.iter())
        .map(|f| (name(&f.function), f.file.clone(), f.line))
        .collect()
}

#[test]
fn pclntab_and_dwarf_agree_on_every_sampled_instruction() {
    for set in SETS {
        let (Some(program), Some(ips)) = (open(set, "mapload"), ips(set)) else {
            return;
        };
        let mut different = Vec::new();
        for &ip in &ips {
            let (go, dwarf) = (
                plain(&program.frames_at(ip)),
                plain(&program.dwarf_frames_at(ip)),
            );
            if go != dwarf {
                different.push(format!("{ip:#x}\n  pclntab {go:?}\n  dwarf   {dwarf:?}"));
            }
        }
        println!(
            "{set}: {} ips, {} differ\n{}",
            ips.len(),
            different.len(),
            different.join("\n")
        );
    }
}
