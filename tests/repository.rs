//! Rules on the repository itself: dependencies, samples, paths, the top level.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn output(command: &mut Command) -> String {
    let out = command.current_dir(ROOT).output().unwrap();
    assert!(
        out.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// Every file that is or would be committed, relative to the root.
fn files() -> Vec<String> {
    let list = output(Command::new("git").args([
        "-c",
        "safe.directory=*",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]));
    let files: BTreeSet<String> = list.lines().map(str::to_owned).collect();
    let present = files
        .into_iter()
        .filter(|f| Path::new(ROOT).join(f).is_file());
    present.collect()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The quoted first string of each line of the list `key = [ ... ]` under `[section]` of deny.toml.
fn rules(section: &str, key: &str) -> BTreeSet<String> {
    let deny = text("deny.toml");
    let list: BTreeSet<String> = deny
        .lines()
        .skip_while(|line| *line != format!("[{section}]"))
        .skip_while(|line| *line != format!("{key} = ["))
        .skip(1)
        .take_while(|line| *line != "]")
        .map(|line| line.split('"').nth(1).unwrap().to_owned())
        .collect();
    assert!(!list.is_empty(), "deny.toml has no list {section}.{key}");
    list
}

struct Crate {
    name: String,
    version: String,
    license: String,
}

/// Every crate that some target compiles, our own left out.
fn dependencies() -> Vec<Crate> {
    let tree = output(Command::new(env!("CARGO")).args([
        "tree",
        "--locked",
        "--target=all",
        "--edges=normal,build,dev",
        "--prefix=none",
        "--no-dedupe",
        "--format={p}|{l}",
    ]));
    let lines: BTreeSet<&str> = tree.lines().filter(|line| !line.is_empty()).collect();
    let crates = lines.into_iter().map(|line| {
        let (package, license) = line.split_once('|').unwrap();
        let mut words = package.split(' ');
        Crate {
            name: words.next().unwrap().to_owned(),
            version: words.next().unwrap().trim_start_matches('v').to_owned(),
            license: license.to_owned(),
        }
    });
    crates.filter(|c| c.name != "mempath").collect()
}

/// Whether `expression` can be satisfied by licences of `allowed` alone. SPDX: WITH binds closer
/// than AND, AND closer than OR; `/` is cargo's old way to write OR.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    fn any(
        words: &mut std::iter::Peekable<std::vec::IntoIter<String>>,
        ok: &BTreeSet<String>,
    ) -> bool {
        let mut result = all(words, ok);
        while words.next_if(|w| w == "OR").is_some() {
            result |= all(words, ok);
        }
        result
    }
    fn all(
        words: &mut std::iter::Peekable<std::vec::IntoIter<String>>,
        ok: &BTreeSet<String>,
    ) -> bool {
        let mut result = one(words, ok);
        while words.next_if(|w| w == "AND").is_some() {
            result &= one(words, ok);
        }
        result
    }
    fn one(
        words: &mut std::iter::Peekable<std::vec::IntoIter<String>>,
        ok: &BTreeSet<String>,
    ) -> bool {
        let Some(word) = words.next() else {
            return false;
        };
        if word == "(" {
            let inside = any(words, ok);
            return words.next_if(|w| w == ")").is_some() && inside;
        }
        if words.next_if(|w| w == "WITH").is_some() {
            let exception = words.next().unwrap_or_default();
            return ok.contains(&format!("{word} WITH {exception}"));
        }
        ok.contains(&word)
    }
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    let mut words = words.into_iter().peekable();
    any(&mut words, allowed) && words.next().is_none()
}

#[test]
fn licence_expressions_follow_spdx() {
    let allowed: BTreeSet<String> = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"]
        .map(str::to_owned)
        .into();
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(GPL-3.0 OR MIT) AND Zlib",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        "GPL-3.0 AND Zlib OR MIT",
    ] {
        assert!(satisfied(good, &allowed), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "Apache-2.0",
        "MIT AND GPL-3.0",
        "MIT AND (GPL-3.0 OR Apache-2.0)",
        "Apache-2.0 WITH GCC-exception",
        "MIT Zlib",
        "(MIT",
    ] {
        assert!(!satisfied(bad, &allowed), "{bad}");
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let allowed = rules("licenses", "allow");
    let refused: Vec<String> = dependencies()
        .iter()
        .filter(|c| !satisfied(&c.license, &allowed))
        .map(|c| format!("{} {}: '{}'", c.name, c.version, c.license))
        .collect();
    assert_eq!(refused, Vec::<String>::new());
}

#[test]
fn no_crate_that_could_open_a_connection_is_compiled() {
    let banned = rules("bans", "deny");
    let found: Vec<String> = dependencies()
        .into_iter()
        .map(|c| c.name)
        .filter(|name| banned.contains(name))
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_crate_comes_in_two_versions_only_where_deny_toml_says_why() {
    let skipped = rules("bans", "skip");
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for c in dependencies() {
        versions.entry(c.name).or_default().push(c.version);
    }
    versions.retain(|_, v| v.len() > 1);
    let mut unexplained = Vec::new();
    let mut explained = BTreeSet::new();
    for (name, versions) in &versions {
        let (known, other): (Vec<String>, Vec<String>) = versions
            .iter()
            .map(|v| format!("{name}@{v}"))
            .partition(|c| skipped.contains(c));
        explained.extend(known);
        if other.len() > 1 {
            unexplained.push(other);
        }
    }
    assert_eq!(unexplained, Vec::<Vec<String>>::new());
    let stale: Vec<_> = skipped.difference(&explained).collect();
    assert_eq!(stale, Vec::<&String>::new(), "skipped, but single");
}

#[test]
fn every_sample_folder_has_a_readme_that_names_its_files_and_no_others() {
    let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files() {
        let Some((folder, name)) = file
            .strip_prefix("samples/")
            .and_then(|f| f.split_once('/'))
        else {
            continue;
        };
        folders
            .entry(folder.to_owned())
            .or_default()
            .insert(name.to_owned());
    }
    assert!(!folders.is_empty());
    for (folder, mut present) in folders {
        assert!(
            present.remove("README.md"),
            "samples/{folder} has no README.md"
        );
        let readme = text(&format!("samples/{folder}/README.md"));
        // The rows of its table of files: | `name` | what it is |
        let named: BTreeSet<String> = readme
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(name, _)| name.to_owned())
            .collect();
        assert_eq!(named, present, "samples/{folder}/README.md");
    }
}

#[test]
fn sample_folders_stay_small() {
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for file in files() {
        if let Some((folder, _)) = file
            .strip_prefix("samples/")
            .and_then(|f| f.split_once('/'))
        {
            let size = std::fs::metadata(Path::new(ROOT).join(&file))
                .unwrap()
                .len();
            *sizes.entry(folder.to_owned()).or_default() += size;
        }
    }
    for (folder, size) in sizes {
        assert!(size <= 2_500_000, "samples/{folder} holds {size} bytes");
    }
}

#[test]
fn no_file_names_a_path_of_a_machine() {
    // Spelled in two halves, or this file would find itself.
    let marks = ["work", "farm", "root", "home"].map(|folder| format!("/{folder}/"));
    let mut found = Vec::new();
    for file in files() {
        let raw = std::fs::read(Path::new(ROOT).join(&file)).unwrap();
        let bytes = if raw.starts_with(&[0x1f, 0x8b]) {
            let mut inflated = Vec::new();
            let mut reader = flate2::read::GzDecoder::new(&raw[..]);
            reader.read_to_end(&mut inflated).unwrap();
            inflated
        } else {
            raw
        };
        for mark in &marks {
            let hit = bytes.windows(mark.len()).enumerate().find(|(at, window)| {
                // A path that begins there; `a/work/b` is a relative one.
                let before = at.checked_sub(1).map(|i| bytes[i]);
                *window == mark.as_bytes()
                    && !before.is_some_and(|b| b.is_ascii_alphanumeric() || b"_.-})$*".contains(&b))
            });
            if let Some((at, _)) = hit {
                found.push(format!("{file} at byte {at}: {mark}"));
            }
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_top_level_holds_only_what_it_must() {
    let allowed: BTreeSet<&str> = [
        ".ci",
        ".gitignore",
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "deny.toml",
        "samples",
        "scripts",
        "src",
        "tests",
    ]
    .into();
    let files = files();
    let present: BTreeSet<&str> = files.iter().filter_map(|f| f.split('/').next()).collect();
    assert_eq!(present, allowed);
}

#[test]
fn the_version_of_rust_is_stated_once() {
    let version = env!("CARGO_PKG_RUST_VERSION");
    let stating: Vec<String> = files()
        .into_iter()
        .filter(|f| {
            f.ends_with(".md")
                || f.ends_with(".toml")
                || f.starts_with("scripts/")
                || f.starts_with(".ci/")
        })
        .filter(|f| text(f).contains(version))
        .collect();
    assert_eq!(stating, ["Cargo.toml"]);
}
