//! What several tests need: the truth sets and their scorer.

pub mod score;

use std::io::Read;
use std::path::{Path, PathBuf};

/// `../shared`, where it is there. In CI it has to be.
pub fn shared() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if path.is_dir() {
        return Some(path);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{} is missing",
        path.display()
    );
    eprintln!(
        "{} is not there: the tests on it are left out",
        path.display()
    );
    None
}

/// The decompressed bytes of a `.zst` or `.gz` file.
pub fn decompressed(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    let read = match path.extension().and_then(|e| e.to_str()) {
        Some("zst") => zstd::Decoder::new(file).unwrap().read_to_end(&mut bytes),
        Some("gz") => flate2::read::GzDecoder::new(file).read_to_end(&mut bytes),
        _ => panic!("{} is neither .zst nor .gz", path.display()),
    };
    read.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    bytes
}

/// Writes the decompressed file into `dir` and returns its path.
pub fn unpacked(path: &Path, dir: &Path) -> PathBuf {
    let name = path.file_stem().expect("a file name");
    let to = dir.join(name);
    std::fs::write(&to, decompressed(path)).unwrap();
    to
}
