//! How Go's allocator rounds a request, so that an array can be recognised by the size it was given.
//!
//! From `runtime/sizeclasses.go` (the same 68 classes in go1.21.13 to go1.27.3) and
//! `runtime/malloc.go`, `mallocgc`.

/// `runtime._PageSize`.
pub const PAGE: u64 = 8192;
/// `runtime._MaxSmallSize`.
pub const MAX_SMALL: u64 = 32768;
/// `gc.MinSizeForMallocHeader`: larger objects with pointers begin with their type, from 1.22 on.
pub const MAX_IN_SPAN: u64 = 512;
/// `gc.MallocHeaderSize`.
pub const HEADER: u64 = 8;

/// `class_to_size`.
const CLASSES: [u64; 67] = [
    8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352,
    384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048,
    2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784, 6912, 8192, 9472, 9728,
    10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480, 21760, 24576, 27264, 28672,
    32768,
];

/// The classes whose spans have more than one page, with how many (`class_to_allocnpages`).
const SPANS: [(u64, u64); 28] = [
    (1408, 2),
    (1792, 2),
    (2304, 2),
    (3072, 3),
    (3200, 2),
    (3456, 3),
    (4864, 3),
    (5376, 2),
    (6144, 3),
    (6528, 4),
    (6784, 5),
    (6912, 6),
    (9472, 7),
    (9728, 6),
    (10240, 5),
    (10880, 4),
    (12288, 3),
    (13568, 5),
    (14336, 7),
    (16384, 2),
    (18432, 9),
    (19072, 7),
    (20480, 5),
    (21760, 8),
    (24576, 3),
    (27264, 10),
    (28672, 7),
    (32768, 4),
];

/// Whether an object that occupies so many bytes may begin at this address.
pub fn may_begin_at(address: u64, occupied: u64) -> bool {
    let in_page = address % PAGE;
    if occupied > MAX_SMALL || occupied == 0 {
        return in_page == 0;
    }
    let span = SPANS.iter().find(|(class, _)| *class == occupied);
    match span {
        Some((_, pages)) => (0..pages * PAGE / occupied).any(|i| i * occupied % PAGE == in_page),
        None => in_page.is_multiple_of(occupied) && in_page + occupied <= PAGE,
    }
}

/// Pages of a span of objects that occupy so many bytes, not more than [`MAX_SMALL`].
pub fn span_pages(occupied: u64) -> u64 {
    let span = SPANS.iter().find(|(class, _)| *class == occupied);
    span.map_or(1, |(_, pages)| *pages)
}

/// Bytes that an object of this size occupies; larger ones than [`MAX_SMALL`] have pages of their own.
pub fn occupied(size: u64) -> u64 {
    let class = CLASSES.partition_point(|&class| class < size);
    CLASSES
        .get(class)
        .copied()
        .unwrap_or_else(|| size.checked_next_multiple_of(PAGE).unwrap_or(size))
}

/// Where an object of `size` bytes goes: the size of its slot in a span, and how many bytes of the
/// slot come before the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub size: u64,
    pub before: u64,
}

/// `None` for sizes that no allocation has.
pub fn slot_for(size: u64, noscan: bool, go_minor: u32) -> Option<Slot> {
    let headers = go_minor >= 22;
    let largest = MAX_SMALL - if headers { HEADER } else { 0 };
    if size > largest {
        let size = size.checked_next_multiple_of(PAGE)?;
        return Some(Slot { size, before: 0 });
    }
    let before = if headers && !noscan && size > MAX_IN_SPAN {
        HEADER
    } else {
        0
    };
    let class = CLASSES.partition_point(|&class| class < size + before);
    Some(Slot {
        size: *CLASSES.get(class)?,
        before,
    })
}

/// The start of the object that a key or an elem of so many bytes at an address is, where the allocator
/// leaves one alone.
pub fn object_at(address: u64, size: u64, go_minor: u32) -> Option<u64> {
    let mut found = None;
    for noscan in [false, true] {
        let slot = slot_for(size, noscan, go_minor)?;
        if slot.size > MAX_SMALL {
            return None;
        }
        let pages = span_pages(slot.size);
        let page = address / PAGE;
        for before in 0..pages.min(page + 1) {
            let span = (page - before) * PAGE;
            let number = (address - span) / slot.size;
            let start = (span + number * slot.size).checked_add(slot.before)?;
            let inside = address.checked_sub(start).is_some_and(|off| off < size);
            if inside && number < pages * PAGE / slot.size {
                if found.is_some_and(|other| other != start) {
                    return None;
                }
                found = Some(start);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The generator of the classes (`runtime/mksizeclasses.go`) makes them as large as the span and the
    /// number of objects allow, in steps of 128 bytes, and leaves less than an eighth of a span over.
    #[test]
    fn spans_fit_their_classes() {
        for class in CLASSES.into_iter().filter(|class| *class >= 1024) {
            let span = SPANS.iter().find(|(of, _)| *of == class);
            let bytes = span.map_or(1, |(_, pages)| *pages) * PAGE;
            assert_eq!((bytes / (bytes / class)) & !127, class);
            assert!(bytes % class <= bytes / 8, "{class}");
        }
    }

    /// Tables of 1024 slots of 16 and 24 bytes, from a dump of go1.27.3.
    #[test]
    fn objects_begin_where_their_spans_have_them() {
        let base = 0x1e12_36fd_5800;
        assert!(may_begin_at(base, 18432));
        assert!(!may_begin_at(base + 1024, 18432));
        assert!(may_begin_at(0x1e12_375b_c008 - HEADER, 27264));
        assert!(may_begin_at(0x1e12_375a_1508 - HEADER, 27264));
        assert!(!may_begin_at(0x1e12_375a_1508 - HEADER + 128, 27264));
    }

    #[test]
    fn arrays_go_where_the_runtime_was_seen_to_put_them() {
        // Offsets and classes of bucket and group arrays as dumped by programs of each version.
        let slot = |size, before| Some(Slot { size, before });
        assert_eq!(slot_for(136 * 128, true, 27), slot(18432, 0));
        assert_eq!(slot_for(200 * 128, false, 27), slot(27264, 8));
        assert_eq!(slot_for(200, false, 27), slot(208, 0));
        assert_eq!(slot_for(144 * 68, true, 22), slot(10240, 0));
        assert_eq!(slot_for(32768, true, 21), slot(32768, 0));
        assert_eq!(slot_for(32768, true, 22), slot(32768, 0));
        assert_eq!(slot_for(32761, false, 22), slot(32768, 0));
        assert_eq!(slot_for(32768 + 1, false, 21), slot(40960, 0));
        assert_eq!(slot_for(600, false, 21), slot(640, 0));
    }

    /// 39 objects of 208 bytes on a page.
    #[test]
    fn one_page_has_one_grid_of_objects() {
        let page = 0xc000_0450_0000;
        let at = |off| object_at(page + off, 200, 22);
        assert_eq!(at(0), Some(page));
        assert_eq!(at(207), None);
        assert_eq!(at(208 * 3 + 199), Some(page + 208 * 3));
        assert_eq!(at(208 * 39), None);
    }

    /// Where spans have two pages, or objects a header if they have pointers, more than one start may be.
    #[test]
    fn spans_of_several_pages_leave_several_starts() {
        let page = 0xc000_0450_0000;
        assert_eq!(object_at(page + 1300, 1400, 21), None);
        assert_eq!(object_at(page + 500, 1000, 22), None);
        assert_eq!(object_at(page + 1030, 1000, 21), Some(page + 1024));
    }
}
