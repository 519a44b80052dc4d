//! Samples for other programs: one file a format, and the list [`FORMATS`].

mod csv;
pub mod digest;
pub mod markdown;
mod parquet;

pub use csv::one_row;

use crate::tables::Accesses;
use std::io::{self, Write};

/// A way to write one row a sample.
#[derive(Debug)]
pub struct Format {
    /// What `--format` takes.
    pub name: &'static str,
    pub write: fn(&Accesses, &mut dyn Write) -> io::Result<()>,
}

pub const FORMATS: &[Format] = &[csv::FORMAT, parquet::FORMAT];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_name_of_its_own() {
        let mut names: Vec<&str> = FORMATS.iter().map(|f| f.name).collect();
        names.sort_unstable();
        assert_eq!(names, ["csv", "parquet"]);
    }
}
