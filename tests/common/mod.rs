//! What several tests need: the shared recordings, and a writer of perf.data.

#![allow(dead_code)]

pub mod binary;
pub mod builder;
pub mod core;
pub mod go;
pub mod target;

use std::path::{Path, PathBuf};

/// The shared folder beside the repository. Without it tests pass on `samples/` alone, except in CI.
pub fn shared() -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if shared.is_dir() {
        return Some(shared);
    }
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "{shared:?} is missing"
    );
    eprintln!("{shared:?} is not there: nothing is tested");
    None
}

/// A file of the corpus.
pub fn corpus(file: &str) -> Option<PathBuf> {
    let path = shared()?.join("corpus/files").join(file);
    assert!(path.is_file(), "{path:?} is missing");
    Some(path)
}

/// The four truth recordings, inflated into `dir`.
pub fn truth_recordings(dir: &Path) -> Vec<PathBuf> {
    let Some(shared) = shared() else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for set in ["go1.22.10-twins", "go1.27.3-twins"] {
        for kind in ["plain", "regs"] {
            let packed = shared
                .join("truth")
                .join(set)
                .join(format!("perf.data.{kind}.zst"));
            files.push(inflate(&packed, &dir.join(format!("{set}.{kind}.data"))));
        }
    }
    files
}

/// Inflates a zstd file.
pub fn inflate(packed: &Path, to: &Path) -> PathBuf {
    let bytes = std::fs::read(packed).unwrap_or_else(|error| panic!("{packed:?}: {error}"));
    std::fs::write(to, zstd::decode_all(bytes.as_slice()).unwrap()).unwrap();
    to.to_owned()
}

/// What perf prints.
pub fn perf(args: &[&str]) -> String {
    let output = std::process::Command::new("perf")
        .args(args)
        .output()
        .expect("perf is not installed; scripts/test installs it");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
