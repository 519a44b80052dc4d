//! Parquet, one row a sample, every column of `columns.rs` that a sample has.

use super::Format;
use crate::tables::write_parquet;

pub const FORMAT: Format = Format {
    name: "parquet",
    write: |accesses, out| {
        let mut out = out;
        write_parquet(accesses, &mut out)
    },
};
