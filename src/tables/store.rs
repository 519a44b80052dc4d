//! The folder of tables: `summary.json` and one Parquet file a frame.

use super::accesses::{Accesses, CHUNK};
use super::columns::COLUMNS;
use super::{SCHEMA, Summary, Tables};
use polars::prelude::{DataFrame, ParquetReader, ParquetWriter, PolarsError, SerReader};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why tables could not be built, written or read.
#[derive(Debug, Error)]
pub enum TablesError {
    #[error("could not build a table")]
    Build(#[from] PolarsError),
    #[error("could not write '{}'", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("could not read '{}'; make the folder with `mempath analyze --tables`", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("'{}' is not a Parquet file that mempath wrote; make the folder with `mempath analyze --tables`", path.display())]
    NotParquet { path: PathBuf, source: PolarsError },
    #[error("'{}' is not a summary that mempath wrote; make the folder with `mempath analyze --tables`", path.display())]
    NotSummary {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("'{}' has schema {found}, this mempath reads schema {SCHEMA}; make the folder again with `mempath analyze --tables`", path.display())]
    Schema { path: PathBuf, found: u32 },
    #[error("'{}' has no column '{column}'; make the folder again with `mempath analyze --tables`", path.display())]
    MissingColumn { path: PathBuf, column: String },
    #[error("column '{column}' of '{}' is {found}, not {expected}; make the folder again with `mempath analyze --tables`", path.display())]
    WrongType {
        path: PathBuf,
        column: String,
        found: String,
        expected: &'static str,
    },
}

impl Tables {
    /// Writes `summary.json` and the frames into the folder `dir`, which is made if it is missing.
    /// A file is complete or not there: each is written beside its place and renamed.
    pub fn write(&self, dir: &Path) -> Result<(), TablesError> {
        let made = fs::create_dir_all(dir);
        made.map_err(|source| TablesError::Write {
            path: dir.to_owned(),
            source,
        })?;
        write_file(&dir.join("summary.json"), |file| {
            serde_json::to_writer_pretty(&mut *file, &self.summary)?;
            file.write_all(b"\n")
        })?;
        for (name, frame) in self.frames() {
            write_file(&dir.join(format!("{name}.parquet")), |file| {
                // The writer wants its frame mutable only to align its chunks.
                let written = ParquetWriter::new(file).finish(&mut frame.clone());
                written.map(drop).map_err(io::Error::other)
            })?;
        }
        Ok(())
    }

    /// Reads what [`Tables::write`] wrote; every column is checked against [`COLUMNS`].
    pub fn read(dir: &Path) -> Result<Tables, TablesError> {
        let summary = read_summary(&dir.join("summary.json"))?;
        let empty = Tables::empty()?;
        let frame = |name: &str| {
            let expected = empty.frames().into_iter().find(|(n, _)| *n == name);
            read_frame(
                &dir.join(format!("{name}.parquet")),
                expected.map(|(_, frame)| frame),
            )
        };
        Ok(Tables {
            summary,
            maps: frame("maps")?,
            parts: frame("parts")?,
            arrays: frame("arrays")?,
            cells: frame("cells")?,
            outside: frame("outside")?,
            functions: frame("functions")?,
            lines: frame("lines")?,
            listing: frame("listing")?,
            steps: frame("steps")?,
            latency: frame("latency")?,
            levels: frame("levels")?,
            order: frame("order")?,
            misses: frame("misses")?,
            gaps: frame("gaps")?,
            kept: frame("kept")?,
        })
    }

    /// The tables of a recording without samples: their schemas are those of all tables.
    pub fn empty() -> Result<Tables, TablesError> {
        Tables::build(&Default::default(), &Default::default(), Vec::new())
    }
}

/// Writes all samples, [`CHUNK`] rows at a time, as `accesses.parquet` into the folder `dir`.
pub fn write_accesses(dir: &Path, accesses: &Accesses) -> Result<(), TablesError> {
    write_file(&dir.join("accesses.parquet"), |file| {
        write_parquet(accesses, file)
    })
}

/// All samples as one Parquet file, one row group a chunk.
pub fn write_parquet(accesses: &Accesses, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let schema = accesses
        .frame(0..0)
        .map_err(io::Error::other)?
        .schema()
        .clone();
    let mut writer = ParquetWriter::new(out)
        .batched(&schema)
        .map_err(io::Error::other)?;
    for start in (0..accesses.len()).step_by(CHUNK) {
        let end = accesses.len().min(start.saturating_add(CHUNK));
        let chunk = accesses.frame(start..end).map_err(io::Error::other)?;
        writer.write_batch(&chunk).map_err(io::Error::other)?;
    }
    writer.finish().map(drop).map_err(io::Error::other)
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>,
) -> Result<(), TablesError> {
    let beside = path.with_extension("partial");
    let written = File::create(&beside).and_then(|file| {
        let mut file = io::BufWriter::new(file);
        write(&mut file)?;
        file.flush()?;
        fs::rename(&beside, path)
    });
    written.map_err(|source| {
        // What failed first is what the reader is told.
        let _ = fs::remove_file(&beside);
        TablesError::Write {
            path: path.to_owned(),
            source,
        }
    })
}

fn read_summary(path: &Path) -> Result<Summary, TablesError> {
    let read = fs::read(path);
    let bytes = read.map_err(|source| TablesError::Read {
        path: path.to_owned(),
        source,
    })?;
    let not_summary = |source| TablesError::NotSummary {
        path: path.to_owned(),
        source,
    };
    // The version is looked at alone first: another version need not parse as this one.
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(not_summary)?;
    let version = value.get("schema").and_then(serde_json::Value::as_u64);
    match version.and_then(|v| u32::try_from(v).ok()) {
        Some(SCHEMA) | None => serde_json::from_value(value).map_err(not_summary),
        Some(found) => Err(TablesError::Schema {
            path: path.to_owned(),
            found,
        }),
    }
}

fn read_frame(path: &Path, expected: Option<&DataFrame>) -> Result<DataFrame, TablesError> {
    let opened = File::open(path);
    let file = opened.map_err(|source| TablesError::Read {
        path: path.to_owned(),
        source,
    })?;
    let frame = ParquetReader::new(file)
        .finish()
        .map_err(|source| TablesError::NotParquet {
            path: path.to_owned(),
            source,
        })?;
    for name in expected.into_iter().flat_map(DataFrame::get_column_names) {
        let Ok(column) = frame.column(name) else {
            let column = name.to_string();
            return Err(TablesError::MissingColumn {
                path: path.to_owned(),
                column,
            });
        };
        let found = column.dtype().to_string();
        if let Some(known) = COLUMNS
            .iter()
            .find(|c| c.name == name.as_str() && c.dtype != found)
        {
            return Err(TablesError::WrongType {
                path: path.to_owned(),
                column: name.to_string(),
                found,
                expected: known.dtype,
            });
        }
    }
    Ok(frame)
}
