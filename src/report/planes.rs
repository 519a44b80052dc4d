//! Columns of numbers as an element of the page.
//!
//! ```text
//! gzip( one line of JSON: what the columns refer to, and [column, bytes a value] ... | the columns )
//! ```
//!
//! A column is its values' low bytes, then their next bytes, and so on: bytes of one weight look
//! alike and compress.

use super::ReportError;
use super::html::{Html, Markup};
use base64::Engine;
use serde_json::{Value, json};
use std::io::Write;

/// A `<script type="application/gzip">` element. The header is an object, which the columns' names and
/// widths are added to.
pub fn element<T: Copy + Into<u64>>(
    id: &str,
    mut header: Value,
    columns: &[(&str, &[T])],
) -> Result<Markup, ReportError> {
    let width = |values: &[T]| {
        let most = values.iter().map(|&value| value.into()).max().unwrap_or(0);
        (u64::BITS - most.leading_zeros()).div_ceil(8).max(1) as usize
    };
    let widths: Vec<usize> = columns.iter().map(|(_, values)| width(values)).collect();
    let named = columns.iter().zip(&widths);
    let named: Vec<Value> = named
        .map(|((name, _), width)| json!([name, width]))
        .collect();
    if let Some(header) = header.as_object_mut() {
        header.insert("columns".to_owned(), named.into());
    }
    let write = || -> std::io::Result<Vec<u8>> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        serde_json::to_writer(&mut gzip, &header)?;
        gzip.write_all(b"\n")?;
        for ((_, values), width) in columns.iter().zip(widths) {
            for plane in 0..width {
                let byte = |&value: &T| (value.into() >> (8 * plane)) as u8;
                gzip.write_all(&values.iter().map(byte).collect::<Vec<u8>>())?;
            }
        }
        gzip.finish()
    };
    let bytes = write().map_err(ReportError::Gzip)?;
    let mut html = Html::new();
    html.open("script", &[("id", id), ("type", "application/gzip")]);
    html.text(&base64::engine::general_purpose::STANDARD.encode(bytes));
    html.close("script");
    Ok(html.finish())
}
