//! Where the binary of a recorded image is on this machine, and whether it is the right one.

use super::elf::Elf;
use super::{Program, ProgramError, buildinfo};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where the user and the machine keep binaries, in the order of trying.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// `--binary`: for the image with the same build id, else of the same file name.
    pub binaries: Vec<PathBuf>,
    /// The folder of the recording: a binary may lie beside it, gzipped or not.
    pub beside: Option<PathBuf>,
    /// `--binary-dir`.
    pub dirs: Vec<PathBuf>,
    /// `--symfs`: what recorded paths are looked up in, instead of the root of this machine.
    pub symfs: Option<PathBuf>,
    /// perf's cache, `~/.debug`.
    pub cache: Option<PathBuf>,
    /// Take a binary of another build id when there is no right one.
    pub force: bool,
}

/// An image of a recording.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// As recorded.
    pub path: &'a Path,
    pub build_id: Option<&'a [u8]>,
    /// The program itself, not a library: without a build id any `--binary` may be meant for it.
    pub main: bool,
    /// Roots of the file systems in which the path is meant, where that is not this machine's root.
    pub roots: &'a [PathBuf],
    /// As whom the path was meant, to be said where no file of it is the right one.
    pub meant: Option<&'a str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// Its build id is not the recording's.
    pub forced: bool,
    /// What the reader of a report must know about the choice.
    pub note: Option<String>,
}

/// No file of the image, or none that is the recorded one.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error(transparent)]
    NotFound(#[from] NotFound),
    #[error(transparent)]
    Refused(#[from] ProgramError),
    /// What is at the path here is another file than there.
    #[error("{error}; {meant}")]
    Elsewhere { error: ProgramError, meant: String },
}

/// Nothing was where it could have been.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NotFound {
    pub path: PathBuf,
    pub build_id: Option<Vec<u8>>,
    pub tried: Vec<PathBuf>,
    pub meant: Option<String>,
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no binary for {}", self.path.display())?;
        match &self.build_id {
            Some(id) => write!(f, " (build id {})", hex(id))?,
            None => f.write_str(" (the recording has no build id for it)")?,
        }
        let name = self.path.file_name().unwrap_or_default().display();
        match &self.meant {
            Some(meant) => write!(f, ": {meant}; tried")?,
            None => write!(
                f,
                ": pass --binary PATH/TO/{name} or --binary-dir DIR; tried"
            )?,
        }
        for (i, path) in self.tried.iter().enumerate() {
            write!(f, "{} {}", if i == 0 { "" } else { "," }, path.display())?;
        }
        Ok(())
    }
}

/// One file that may be the image.
struct Candidate {
    path: PathBuf,
    /// It is meant for this image by its name or place, so a wrong build id is worth saying.
    named: bool,
}

impl Search {
    /// The first candidate with the recorded build id; without one, the first that is there.
    pub fn find(&self, wanted: Wanted) -> Result<Found, FindError> {
        let mut tried = Vec::new();
        let mut refused = None;
        for Candidate { path, named } in self.candidates(wanted) {
            tried.push(path.clone());
            if !path.is_file() {
                continue;
            }
            let elf = match Elf::open(&path) {
                Ok(elf) => elf,
                Err(error) => {
                    refused = refused.or(named.then_some((path, error)));
                    continue;
                }
            };
            let found = elf
                .gnu_build_id
                .clone()
                .or_else(|| buildinfo::build_id(&elf));
            let Some(id) = wanted.build_id else {
                if named {
                    let note = "the recording has no build id: the binary was taken by name".into();
                    return Ok(Found {
                        path,
                        forced: false,
                        note: Some(note),
                    });
                }
                continue;
            };
            if found.as_deref().is_some_and(|found| same(found, id)) {
                return Ok(Found {
                    path,
                    forced: false,
                    note: None,
                });
            }
            let error = ProgramError::BuildId {
                path: path.clone(),
                found: found.as_deref().map_or_else(|| "(none)".into(), hex),
                wanted: hex(id),
            };
            refused = refused.or(named.then_some((path, error)));
        }
        match refused {
            Some((path, error @ ProgramError::BuildId { .. })) if self.force => Ok(Found {
                path,
                forced: true,
                note: Some(format!("taken by --force although {error}")),
            }),
            Some((path, error)) => Err(match wanted.meant {
                Some(meant) if path == wanted.path => FindError::Elsewhere {
                    error,
                    meant: meant.to_owned(),
                },
                _ => error.into(),
            }),
            None => Err(FindError::NotFound(NotFound {
                path: wanted.path.to_owned(),
                build_id: wanted.build_id.map(<[u8]>::to_vec),
                tried,
                meant: wanted.meant.map(ToOwned::to_owned),
            })),
        }
    }

    fn candidates(&self, wanted: Wanted) -> Vec<Candidate> {
        let mut list = Vec::new();
        let mut add = |path: PathBuf, named: bool| list.push(Candidate { path, named });
        let any_named = self
            .binaries
            .iter()
            .any(|binary| same_name(binary, wanted.path));
        for binary in &self.binaries {
            let named = same_name(binary, wanted.path) || (wanted.main && !any_named);
            add(binary.clone(), named);
        }
        let recorded = wanted.path.strip_prefix("/").unwrap_or(wanted.path);
        match &self.symfs {
            Some(root) => add(root.join(recorded), true),
            None => {
                // Without a build id nothing else tells the right file from one of the same path.
                for root in wanted.roots {
                    add(root.join(recorded), true);
                }
                add(wanted.path.to_owned(), true);
            }
        }
        let hexed = wanted.build_id.map(hex);
        let by_id = hexed.as_deref().and_then(|hexed| hexed.split_at_checked(2));
        let file = wanted
            .path
            .file_name()
            .map(PathBuf::from)
            .unwrap_or_default();
        if let Some(beside) = &self.beside {
            add(beside.join(&file), true);
            add(beside.join(with_gz(&file)), true);
        }
        for dir in &self.dirs {
            for suffix in suffixes(wanted.path) {
                add(dir.join(&suffix), true);
                add(dir.join(with_gz(&suffix)), true);
            }
            if let Some((first, rest)) = by_id {
                let at = dir.join(".build-id").join(first).join(rest);
                add(at.join("elf"), true);
                add(at, true);
            }
        }
        if let (Some(cache), Some((first, rest))) = (&self.cache, by_id) {
            let at = cache.join(".build-id").join(first).join(rest);
            add(at.join("elf"), true);
            add(at, true);
            add(
                cache
                    .join(recorded)
                    .join(format!("{first}{rest}"))
                    .join("elf"),
                true,
            );
        }
        list
    }

    /// Where separate debug information of `program` is, by build id or by `.gnu_debuglink`, under
    /// its own folder and the folders of `roots` (`/usr/lib/debug`).
    pub fn debug_info(program: &Program, roots: &[PathBuf]) -> Option<PathBuf> {
        let id = program.elf.gnu_build_id.as_deref();
        let by_id = id.map(hex).and_then(|hexed| {
            let (first, rest) = hexed.split_at_checked(2)?;
            let name = format!("{first}/{rest}.debug");
            let mut paths = roots.iter().map(|root| root.join(".build-id").join(&name));
            paths.find(|path| {
                let debug = Elf::open(path).ok();
                debug.is_some_and(|debug| debug.gnu_build_id.as_deref() == id)
            })
        });
        by_id.or_else(|| {
            let (name, crc) = program.elf.debuglink.as_ref()?;
            let name = Path::new(name).file_name()?;
            let own = program.path.parent()?;
            let below = own.strip_prefix("/").unwrap_or(own);
            let mut paths = [own.join(name), own.join(".debug").join(name)]
                .into_iter()
                .chain(roots.iter().map(|root| root.join(below).join(name)));
            paths.find(|path| {
                Elf::open(path).is_ok_and(|debug| {
                    let mut sum = flate2::Crc::new();
                    sum.update(debug.data());
                    sum.sum() == *crc
                })
            })
        })
    }
}

/// `mapload`, `mapload.strip` and `mapload.gz` are all called `mapload`.
fn same_name(binary: &Path, image: &Path) -> bool {
    let (Some(binary), Some(image)) = (binary.file_name(), image.file_name()) else {
        return false;
    };
    let rest = binary
        .as_encoded_bytes()
        .strip_prefix(image.as_encoded_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
}

/// perf pads build ids shorter than 20 bytes with zeros.
fn same(found: &[u8], recorded: &[u8]) -> bool {
    let padding = recorded.strip_prefix(found);
    !found.is_empty() && padding.is_some_and(|rest| rest.iter().all(|&byte| byte == 0))
}

/// `/a/b/c` as `a/b/c`, `b/c`, `c`.
fn suffixes(path: &Path) -> Vec<PathBuf> {
    let names: Vec<_> = (path.components())
        .filter(|part| matches!(part, std::path::Component::Normal(_)))
        .collect();
    (0..names.len())
        .map(|skip| names.iter().skip(skip).collect())
        .collect()
}

fn with_gz(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

/// As perf prints build ids.
pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_build_id_equals_its_padded_form_and_no_other() {
        assert!(same(&[1, 2], &[1, 2, 0, 0]));
        assert!(!same(&[1, 2], &[1, 2, 0, 3]));
        assert!(!same(&[1, 2, 3], &[1, 2]));
        assert!(!same(&[], &[0, 0]));
    }

    #[test]
    fn suffixes_run_from_the_whole_path_to_the_file_name() {
        let paths: Vec<PathBuf> = ["a/b/c", "b/c", "c"].iter().map(PathBuf::from).collect();
        assert_eq!(suffixes(Path::new("/a/b/c")), paths);
    }

    #[test]
    fn a_missing_binary_is_named_with_its_build_id_and_the_option_to_pass() {
        let wanted = Wanted {
            path: Path::new("/nowhere/mapload"),
            build_id: Some(&[0xab, 0xcd]),
            main: true,
            roots: &[],
            meant: None,
        };
        let error = Search::default().find(wanted).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no binary for /nowhere/mapload (build id abcd): pass --binary PATH/TO/mapload or \
             --binary-dir DIR; tried /nowhere/mapload"
        );
    }
}
