//! The core files of the truth sets.

use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Inflates the core of a set, leaving holes where it has zeros: it is over 1 GB, nearly all empty.
pub fn inflated(set: &Path, dir: &Path) -> PathBuf {
    let path = dir.join("core");
    let mut decoder = zstd::Decoder::new(BufReader::new(
        std::fs::File::open(set.join("core.zst")).unwrap(),
    ))
    .unwrap();
    decoder.window_log_max(27).unwrap();
    let mut file = std::fs::File::create(&path).unwrap();
    let mut len = 0;
    let mut block = vec![0; 1 << 16];
    let zeros = vec![0; 1 << 16];
    loop {
        let mut filled = 0;
        while filled < block.len() {
            match decoder.read(&mut block[filled..]).unwrap() {
                0 => break,
                n => filled += n,
            }
        }
        if filled == 0 {
            break;
        }
        if block[..filled] == zeros[..filled] {
            file.seek(SeekFrom::Current(filled as i64)).unwrap();
        } else {
            file.write_all(&block[..filled]).unwrap();
        }
        len += filled as u64;
    }
    file.set_len(len).unwrap();
    path
}
