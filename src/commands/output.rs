//! Output that is whole or not there: written beside its place and renamed when it is done.

use anyhow::{Context, bail};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file to be, or standard output. Creating it shows that it can be written, before the work
/// begins; dropping it unwritten leaves nothing behind.
#[derive(Debug)]
pub enum Output {
    Stdout,
    /// A device or a pipe, which renaming a file over it would replace.
    Special {
        path: PathBuf,
        file: File,
    },
    File {
        path: PathBuf,
        beside: PathBuf,
        file: File,
    },
}

impl Output {
    /// `-` is standard output.
    pub fn create(path: &Path) -> anyhow::Result<Output> {
        if path == Path::new("-") {
            return Ok(Output::Stdout);
        }
        let could_not = || could_not(path);
        if path.is_dir() {
            bail!("{}: it is a folder; name a file in it", could_not());
        }
        let Some(name) = path.file_name() else {
            bail!("{}: it names no file", could_not());
        };
        if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let file = OpenOptions::new().write(true).open(path);
            return Ok(Output::Special {
                path: path.to_owned(),
                file: file.with_context(could_not)?,
            });
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.partial", std::process::id()));
        let beside = path.with_file_name(hidden);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&beside)
            .with_context(could_not)?;
        Ok(Output::File {
            path: path.to_owned(),
            beside,
            file,
        })
    }

    /// Writes all of it, or leaves no trace of a file.
    pub fn write<E: Into<anyhow::Error>>(
        self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> anyhow::Result<()> {
        match &self {
            Output::Stdout => {
                let mut out = BufWriter::new(io::stdout().lock());
                write(&mut out).map_err(Into::into)?;
                out.flush().context("could not write to standard output")
            }
            Output::Special { path, file } => write_to(file, path, write),
            Output::File { path, beside, file } => {
                write_to(file, path, write)?;
                fs::rename(beside, path).with_context(|| could_not(path))
            }
        }
    }
}

fn write_to<E: Into<anyhow::Error>>(
    file: &File,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> anyhow::Result<()> {
    let mut out = BufWriter::new(file);
    write(&mut out)
        .map_err(Into::into)
        .with_context(|| could_not(path))?;
    out.flush().with_context(|| could_not(path))
}

fn could_not(path: &Path) -> String {
    format!("could not write '{}'", path.display())
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Output::File { beside, .. } = self {
            // After the rename there is nothing to remove.
            let _ = fs::remove_file(beside);
        }
    }
}

/// Makes a folder and shows that files can be made in it.
pub fn check_folder(dir: &Path) -> anyhow::Result<()> {
    let could_not = || format!("could not write to the folder '{}'", dir.display());
    fs::create_dir_all(dir).with_context(could_not)?;
    Output::create(&dir.join("summary.json")).with_context(could_not)?;
    Ok(())
}
