//! The container: header, ids, attrs, records and feature sections, as `perf record` lays them out.
//!
//! ```text
//! | header 104 | ids | attrs | data: records ... | feature table | features |
//! ```
//!
//! After every append the header says how many bytes of records there are, and until
//! [`PerfData::finish`] that there are no features: the file of a recorder that was killed is whole
//! up to its last append. (perf's own then says 0 bytes, and perf reads nothing of it.)
//! `tools/perf/Documentation/perf.data-file-format.txt`.

use super::{Event, RecordError};
use perf_event_open_sys::bindings as sys;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// `struct perf_file_header`.
const HEADER: u64 = 104;
/// Where the header has the bytes of records: `data.size`.
const DATA_SIZE: u64 = 48;
/// Bytes of `perf_event_attr` in the file: `PERF_ATTR_SIZE_VER7`. perf 6.1 reads no longer ones.
pub const ATTR: usize = 128;

/// Records that perf itself writes, `tools/lib/perf/include/perf/event.h`.
pub mod user {
    pub const FINISHED_ROUND: u32 = 68;
    pub const AUXTRACE_INFO: u32 = 70;
    pub const AUXTRACE: u32 = 71;
    pub const EVENT_UPDATE: u32 = 78;
    pub const HEADER_FEATURE: u32 = 80;
}

/// The first [`ATTR`] bytes of an attr.
pub fn attr_bytes(attr: &sys::perf_event_attr) -> &[u8] {
    const { assert!(size_of::<sys::perf_event_attr>() >= ATTR) };
    // SAFETY: the struct is plain words without padding (`repr(C)`, all fields naturally aligned), at
    // least ATTR bytes of it, and lives as long as the slice.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(attr).cast(), ATTR) }
}

/// A record: header and body, padded to 8 bytes. `None` when it is longer than its header can say.
pub fn record(kind: u32, misc: u32, body: &[u8]) -> Option<Vec<u8>> {
    let len = (8 + body.len()).next_multiple_of(8);
    let size = u16::try_from(len).ok()?;
    let mut record = Vec::with_capacity(len);
    record.extend(kind.to_le_bytes());
    record.extend((misc as u16).to_le_bytes());
    record.extend(size.to_le_bytes());
    record.extend(body);
    record.resize(len, 0);
    Some(record)
}

/// A record as [`record`] makes them, and the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub kind: u32,
    pub misc: u16,
    pub body: &'a [u8],
}

/// The records in `bytes`, up to the first that does not lie whole in them.
pub fn records(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let [k0, k1, k2, k3, m0, m1, s0, s1] = *rest.first_chunk::<8>()?;
        let size = usize::from(u16::from_le_bytes([s0, s1]));
        let body = rest.get(8..size)?;
        rest = rest.get(size..)?;
        Some(Record {
            kind: u32::from_le_bytes([k0, k1, k2, k3]),
            misc: u16::from_le_bytes([m0, m1]),
            body,
        })
    })
}

/// Ids and attrs as they follow the header, and offset and size of the attrs.
fn head(events: &[(Event, Vec<u64>)]) -> (Vec<u8>, (u64, u64)) {
    let (mut ids, mut attrs) = (Vec::new(), Vec::new());
    for (event, own) in events {
        attrs.extend(attr_bytes(&event.attr));
        attrs.extend((HEADER + ids.len() as u64).to_le_bytes());
        attrs.extend((8 * own.len() as u64).to_le_bytes());
        ids.extend(own.iter().flat_map(|id| id.to_le_bytes()));
    }
    let place = (HEADER + ids.len() as u64, attrs.len() as u64);
    ids.extend(attrs);
    (ids, place)
}

/// A perf.data that is being written.
#[derive(Debug)]
pub struct PerfData {
    path: PathBuf,
    file: File,
    attrs: (u64, u64),
    data: u64,
    /// Bytes of whole records in the file.
    written: u64,
}

impl PerfData {
    /// Makes the file, with an attr for each event and the ids that the kernel gave it, and room for
    /// `later` further events.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn create(
        path: &Path,
        events: &[(Event, Vec<u64>)],
        later: usize,
    ) -> Result<PerfData, RecordError> {
        let widest = events.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0);
        let room = later * (ATTR + 16 + 8 * widest);
        let fail = |error| RecordError::Write {
            path: path.to_owned(),
            kept: "nothing was recorded".to_owned(),
            error,
        };
        let (head, attrs) = head(events);
        let data = HEADER + (head.len() + room) as u64;
        let data = PerfData {
            path: path.to_owned(),
            file: File::create(path).map_err(fail)?,
            attrs,
            data,
            written: 0,
        };
        data.begin(&head).map_err(fail)?;
        Ok(data)
    }

    /// Replaces the events: those that were there, and further ones in the room that was left for
    /// them.
    ///
    /// # Errors
    ///
    /// When there is no room left, or the file cannot be written.
    pub fn set_events(&mut self, events: &[(Event, Vec<u64>)]) -> Result<(), RecordError> {
        let (head, attrs) = head(events);
        let fits = HEADER + head.len() as u64 <= self.data;
        self.attrs = attrs;
        let written = match fits {
            true => self.begin(&head),
            false => Err(io::Error::other("no room is left for further events")),
        };
        written.map_err(|error| RecordError::Write {
            path: self.path.clone(),
            kept: format!("the {} bytes of records before are kept", self.written),
            error,
        })
    }

    fn begin(&self, head: &[u8]) -> io::Result<()> {
        self.file.write_all_at(head, HEADER)?;
        self.file.write_all_at(&self.header(self.written, 0), 0)
    }

    fn header(&self, size: u64, features: u64) -> Vec<u8> {
        let mut header = b"PERFILE2".to_vec();
        let entry = ATTR as u64 + 16;
        let words = [
            HEADER,
            entry,
            self.attrs.0,
            self.attrs.1,
            self.data,
            size,
            0u64,
            0,
            features,
            0,
            0,
            0,
        ];
        header.extend(words.into_iter().flat_map(u64::to_le_bytes));
        header
    }

    /// Adds whole records. After an error the file ends with the last one that fitted.
    ///
    /// # Errors
    ///
    /// When the disk is full, or anything else stops the write.
    pub fn append(&mut self, records: &[u8]) -> Result<(), RecordError> {
        let offset = self.data + self.written;
        let written = self.file.write_all_at(records, offset);
        self.written += match &written {
            Ok(()) => records.len() as u64,
            Err(_) => {
                let there = self.file.metadata().map_or(0, |file| file.len());
                let there = usize::try_from(there.saturating_sub(offset)).unwrap_or(usize::MAX);
                let fitted = records.get(..there).unwrap_or(records);
                // Behind an AUXTRACE record lies data that its size does not count.
                let whole = self::records(fitted).take_while(|r| r.kind != user::AUXTRACE);
                let whole = whole.map(|r| 8 + r.body.len() as u64).sum::<u64>();
                // If even that fails, readers stop there.
                let _ = self.file.set_len(offset + whole);
                whole
            }
        };
        let size = self.written.to_le_bytes();
        let told = self.file.write_all_at(&size, DATA_SIZE);
        written.and(told).map_err(|error| RecordError::Write {
            path: self.path.clone(),
            kept: format!("the {} bytes of records before are kept", self.written),
            error,
        })
    }

    /// Ends the file: feature sections, then the header. Where no room is left for the sections the
    /// header still says how many records there are.
    ///
    /// # Errors
    ///
    /// When the header cannot be written.
    pub fn finish(self, sections: &[(u32, Vec<u8>)]) -> Result<u64, RecordError> {
        let table = self.data + self.written;
        let mut at = table + 16 * sections.len() as u64;
        let (mut places, mut contents, mut bits) = (Vec::new(), Vec::new(), 0u64);
        let mut sections: Vec<&(u32, Vec<u8>)> = sections.iter().collect();
        sections.sort_by_key(|(feature, _)| *feature);
        for (feature, content) in sections {
            bits |= 1 << (feature % 64);
            places.extend(at.to_le_bytes());
            places.extend((content.len() as u64).to_le_bytes());
            at += content.len() as u64;
            contents.extend_from_slice(content);
        }
        places.extend(contents);
        let kept = self.file.write_all_at(&places, table).is_ok();
        if !kept {
            let _ = self.file.set_len(table);
        }
        let header = self.header(self.written, if kept { bits } else { 0 });
        (self.file.write_all_at(&header, 0)).map_err(|error| RecordError::Write {
            path: self.path.clone(),
            kept: "the records are there, the header does not say so; analyze reads it".to_owned(),
            error,
        })?;
        Ok(if kept { at } else { table })
    }
}
