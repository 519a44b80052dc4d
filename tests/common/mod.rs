//! What several tests need: the shared recordings, and a writer of perf.data.

#![allow(dead_code)]

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
