//! Source files, where they are at hand: at the recorded path, or below a folder that was named.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// No source file that a person wrote is larger.
const MOST: u64 = 8 << 20;

/// Where to look for source files.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    dirs: Vec<PathBuf>,
}

impl Sources {
    pub fn new(dirs: Vec<PathBuf>) -> Sources {
        Sources { dirs }
    }

    /// Line `line` (from 1) of a file as the binary names it.
    pub fn line(&self, file: &str, line: u32) -> Option<String> {
        let text = self.candidates(file).find_map(|path| read(&path))?;
        let index = usize::try_from(line.checked_sub(1)?).ok()?;
        text.lines().nth(index).map(str::to_owned)
    }

    /// Below each folder the longest end of the path that is there, then the path itself: binaries
    /// built with `-trimpath` name files by module, others by the path of the machine they were
    /// built on.
    fn candidates<'a>(&'a self, file: &'a str) -> impl Iterator<Item = PathBuf> + 'a {
        let ends = std::iter::successors(Some(file), |rest| Some(rest.split_once('/')?.1));
        // A name of a damaged or hostile binary shall not lead out of the folder.
        let inside = |end: &&str| !end.is_empty() && !end.split('/').any(|name| name == "..");
        let ends: Vec<&str> = ends.filter(inside).collect();
        let below = self.dirs.iter().flat_map(move |dir| {
            let ends = ends.clone();
            ends.into_iter()
                .map(move |end| dir.join(end.trim_start_matches('/')))
        });
        let itself = Path::new(file).is_absolute().then(|| PathBuf::from(file));
        below.chain(itself)
    }
}

/// A regular file's text; `None` where there is none, or it is no text.
fn read(path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok()?;
    if !meta.is_file() || meta.len() > MOST {
        return None;
    }
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MOST).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_below_a_folder_by_the_end_of_its_path() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("cache")).unwrap();
        fs::write(dir.path().join("cache/cache.go"), "one\ntwo\n").unwrap();
        let sources = Sources::new(vec![dir.path().to_owned()]);
        let found = |file, line| sources.line(file, line);
        assert_eq!(
            found("example.com/shop/cache/cache.go", 2),
            Some("two".to_owned())
        );
        assert_eq!(
            found("/build/shop/cache/cache.go", 1),
            Some("one".to_owned())
        );
        assert_eq!(found("example.com/shop/cache/cache.go", 3), None);
        assert_eq!(found("example.com/shop/cache/cache.go", 0), None);
        assert_eq!(found("shop/other.go", 1), None);
        assert_eq!(Sources::default().line("cache/cache.go", 1), None);
    }
}
