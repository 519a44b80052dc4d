//! Columns of a frame as plain values, null as `None`.

use super::columns::Column;
use polars::prelude::{DataFrame, DataType, PolarsResult};

/// An integer column, of any width.
pub fn numbers(frame: &DataFrame, column: Column) -> PolarsResult<Vec<Option<u64>>> {
    let column = frame.column(column.name)?.cast(&DataType::UInt64)?;
    Ok(column.u64()?.iter().collect())
}

/// A text column.
pub fn texts(frame: &DataFrame, column: Column) -> PolarsResult<Vec<Option<&str>>> {
    Ok(frame.column(column.name)?.str()?.iter().collect())
}
