//! The file's own header: attrs, where the records lie, the table of features.

use super::attr::Attr;
use super::cursor::Cursor;
use super::decode::Header;
use super::features::Section;
use super::reader::{HEADER, Reader};
use super::walk::user;
use perf_event_open_sys::bindings as sys;

/// The part of `data` that begins at `offset`, at most `size` bytes of it.
fn part(data: &[u8], offset: u64, size: u64) -> &[u8] {
    let Ok(start) = usize::try_from(offset) else {
        return &[];
    };
    let rest = data.get(start..).unwrap_or(&[]);
    match usize::try_from(size) {
        Ok(size) => rest.get(..size).unwrap_or(rest),
        Err(_) => rest,
    }
}

impl Reader {
    /// `None` when the header is cut.
    pub(super) fn file(&mut self, data: &[u8], header: u64) -> Option<()> {
        let mut at = Cursor::new(data, self.order);
        at.bytes(16)?;
        let entry = at.u64()?;
        let (attrs_at, attrs_size) = (at.u64()?, at.u64()?);
        let (data_at, data_size) = (at.u64()?, at.u64()?);
        at.bytes(16)?;
        let bits = match header {
            HEADER => [at.u64()?, at.u64()?, at.u64()?, at.u64()?],
            _ => [0; 4],
        };
        // An entry is an attr and where its ids lie.
        let attr_size = entry.checked_sub(16);
        match attr_size.filter(|&size| size >= u64::from(sys::PERF_ATTR_SIZE_VER0)) {
            Some(attr_size) => self.read_attrs(data, attrs_at, attrs_size, attr_size),
            None => self.tell(
                16,
                format!("the attrs have entries of {entry} bytes, but an attr has at least 64; no event is known"),
            ),
        }

        let len = data.len() as u64;
        let end = data_at.saturating_add(data_size);
        if data_size == 0 && !self.is_feature_table(data, data_at, bits) {
            self.tell(
                40,
                "the header says that there are no records: the recording was not ended properly; \
                 read to the end of the file, without the feature sections",
            );
            self.walk(part(data, data_at, u64::MAX), data_at, None);
        } else {
            if end > len {
                self.tell(
                    len,
                    format!("the data section should end at byte {end}, where the file is cut; read what is there"),
                );
            } else {
                self.read_feature_table(data, end, bits);
            }
            self.walk(part(data, data_at, data_size), data_at, None);
            let behind = part(data, end, u64::MAX);
            if bits == [0; 4] && self.begins_with_a_record(behind) {
                self.tell(
                    end,
                    "records follow the data section, and there are no feature sections: the recording \
                     was not ended properly; read to the end of the file",
                );
                self.walk(behind, end, None);
            }
        }
        Some(())
    }

    fn read_attrs(&mut self, data: &[u8], offset: u64, size: u64, attr_size: u64) {
        let order = self.order;
        let entries = part(data, offset, size);
        let entry_size = usize::try_from(attr_size + 16).unwrap_or(usize::MAX);
        let mut attrs = Vec::new();
        // Sections that overlap must not add up to more than the file.
        let mut ids_left = data.len();
        // `Samples::event` has 16 bits.
        for entry in entries.chunks_exact(entry_size).take(usize::from(u16::MAX)) {
            let split = entry_size - 16;
            let (Some(attr), Some(ids_at), Some(ids_size)) = (
                entry.get(..split).and_then(|attr| Attr::parse(attr, order)),
                order.u64_at(entry, split),
                order.u64_at(entry, split + 8),
            ) else {
                break;
            };
            let mut attr = attr;
            let ids = part(data, ids_at, ids_size);
            let Some(left) = ids_left.checked_sub(ids.len()) else {
                self.tell(
                    ids_at,
                    "the ids of the events overlap: those of the other events are left out",
                );
                break;
            };
            ids_left = left;
            attr.event.ids = ids
                .chunks_exact(8)
                .filter_map(|id| order.u64_at(id, 0))
                .collect();
            if (ids.len() as u64) < ids_size {
                self.tell(ids_at, "the ids of an event go past the end of the file");
            }
            attrs.push(attr);
        }
        if (entries.len() as u64) < size {
            self.tell(offset, "the attr section goes past the end of the file");
        }
        for attr in attrs {
            self.add_attr(attr);
        }
    }

    /// Whether a whole record of a known type stands there.
    fn begins_with_a_record(&self, data: &[u8]) -> bool {
        let first = Header::at(data, 0, self.order);
        first.is_some_and(|(Header { kind, .. }, _)| {
            matches!(kind, 1..sys::PERF_RECORD_MAX | user::FIRST..=user::COMPRESSED2)
        })
    }

    /// Whether a table of features stands at `table`: the first section follows the table.
    fn is_feature_table(&self, data: &[u8], table: u64, bits: [u64; 4]) -> bool {
        let count: u32 = bits.iter().map(|word| word.count_ones()).sum();
        let after = table.checked_add(16 * u64::from(count));
        count != 0 && self.order.u64_at(part(data, table, 8), 0) == after
    }

    fn read_feature_table(&mut self, data: &[u8], table: u64, bits: [u64; 4]) {
        let mut entry = table;
        // Sections that overlap must not add up to more than the file.
        let mut bytes_left = data.len();
        for feature in 0..256u32 {
            let set = bits
                .get(feature as usize / 64)
                .is_some_and(|word| word >> (feature % 64) & 1 != 0);
            if !set {
                continue;
            }
            let place = part(data, entry, 16);
            let (Some(offset), Some(size)) =
                (self.order.u64_at(place, 0), self.order.u64_at(place, 8))
            else {
                self.tell(entry, "the table of features is cut by the end of the file");
                return;
            };
            entry += 16;
            let section = part(data, offset, size);
            if (section.len() as u64) < size {
                self.tell(
                    offset,
                    format!("feature {feature} goes past the end of the file; it is left out"),
                );
                continue;
            }
            let Some(left) = bytes_left.checked_sub(section.len()) else {
                self.tell(
                    offset,
                    format!("feature {feature} overlaps others; the rest is left out"),
                );
                return;
            };
            bytes_left = left;
            self.sections.push(Section {
                feature,
                offset,
                data: section.to_vec(),
            });
        }
    }
}
