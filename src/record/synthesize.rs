//! Records for what was there before the events were: threads, their names, their memory, the kernel.
//!
//! As `tools/perf/util/synthetic-events.c` makes them; their `sample_id` is all 0.

use super::file::record;
use super::{Event, RecordError};
use crate::program::Program;
use perf_event_open_sys::bindings as sys;
use std::path::Path;

/// The `sample_id` that ends every record that is no sample.
fn trailer(event: &Event) -> usize {
    let fields = sys::PERF_SAMPLE_IDENTIFIER
        | sys::PERF_SAMPLE_CPU
        | sys::PERF_SAMPLE_STREAM_ID
        | sys::PERF_SAMPLE_ID
        | sys::PERF_SAMPLE_TIME
        | sys::PERF_SAMPLE_TID;
    8 * (event.attr.sample_type & u64::from(fields)).count_ones() as usize
}

/// A body under construction.
#[derive(Debug, Default)]
struct Body(Vec<u8>);

impl Body {
    fn int(mut self, value: i32) -> Body {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn half(mut self, value: u32) -> Body {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn word(mut self, value: u64) -> Body {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Text with at least one NUL, up to a multiple of 8.
    fn text(mut self, text: &[u8]) -> Body {
        let len = (text.len() + 1).next_multiple_of(8);
        let end = self.0.len() + len;
        self.0.extend(text);
        self.0.resize(end, 0);
        self
    }

    fn record(mut self, kind: u32, misc: u32, event: &Event) -> Vec<u8> {
        let end = self.0.len() + trailer(event);
        self.0.resize(end, 0);
        // Only a path longer than any that Linux has (4096) would not fit.
        record(kind, misc, &self.0).unwrap_or_default()
    }
}

/// Everything that is known of process `pid`: FORK and COMM of each thread, MMAP2 of each mapping.
///
/// # Errors
///
/// When the process is gone or must not be looked at.
pub fn process(pid: i32, event: &Event) -> Result<Vec<u8>, RecordError> {
    let mut records = Vec::new();
    for tid in super::target::threads(pid)? {
        let name = std::fs::read(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
        let name = name.strip_suffix(b"\n").unwrap_or(&name);
        if tid != pid {
            let fork = Body::default().int(pid).int(pid).int(tid).int(pid).word(0);
            let misc = sys::PERF_RECORD_MISC_FORK_EXEC;
            records.extend(fork.record(sys::PERF_RECORD_FORK, misc, event));
        }
        let comm = Body::default().int(pid).int(tid).text(name);
        records.extend(comm.record(sys::PERF_RECORD_COMM, 0, event));
    }
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"));
    let maps = maps.map_err(RecordError::process(pid, "reading its maps"))?;
    for mapping in maps.lines().filter_map(mapping) {
        records.extend(mapping.record(pid, event));
    }
    Ok(records)
}

/// A line of `/proc/PID/maps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    pub start: u64,
    pub end: u64,
    pub offset: u64,
    pub prot: u32,
    pub shared: bool,
    pub device: (u32, u32),
    pub inode: u64,
    /// As perf names it: `//anon` for memory without a file.
    pub path: String,
}

/// Reads `00400000-00452000 r-xp 00000000 08:02 173521  /usr/bin/app`.
pub fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?;
    let offset = words.next()?;
    let (major, minor) = words.next()?.split_once(':')?;
    let inode = words.next()?;
    let path = words.next().unwrap_or_default().trim();
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let right = |letter, bit: i32| {
        if rights.contains(letter) {
            bit as u32
        } else {
            0
        }
    };
    Some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        offset: hex(offset)?,
        prot: right('r', libc::PROT_READ)
            | right('w', libc::PROT_WRITE)
            | right('x', libc::PROT_EXEC),
        shared: rights.ends_with('s'),
        device: (
            u32::from_str_radix(major, 16).ok()?,
            u32::from_str_radix(minor, 16).ok()?,
        ),
        inode: inode.parse().ok()?,
        path: if path.is_empty() { "//anon" } else { path }.to_owned(),
    })
}

impl Mapping {
    fn record(&self, pid: i32, event: &Event) -> Vec<u8> {
        let executable = self.prot & libc::PROT_EXEC as u32 != 0;
        let data = sys::PERF_RECORD_MISC_MMAP_DATA;
        let misc = sys::PERF_RECORD_MISC_USER | if executable { 0 } else { data };
        let flags = if self.shared {
            libc::MAP_SHARED
        } else {
            libc::MAP_PRIVATE
        };
        Body::default()
            .int(pid)
            .int(pid)
            .word(self.start)
            .word(self.end.saturating_sub(self.start))
            .word(self.offset)
            .half(self.device.0)
            .half(self.device.1)
            .word(self.inode)
            .word(0)
            .half(self.prot)
            .half(flags as u32)
            .text(self.path.as_bytes())
            .record(sys::PERF_RECORD_MMAP2, misc, event)
    }
}

/// Where the program of a process was loaded, less where it was linked for.
///
/// # Errors
///
/// When the process is gone or must not be looked at.
pub fn bias(pid: i32, program: &Program) -> Result<u64, RecordError> {
    if !program.pie {
        return Ok(0);
    }
    let exe = std::fs::read_link(format!("/proc/{pid}/exe"));
    let exe = exe.map_err(RecordError::process(pid, "reading exe"))?;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"));
    let maps = maps.map_err(RecordError::process(pid, "reading its maps"))?;
    let first = (maps.lines().filter_map(mapping))
        .find(|mapping| mapping.offset == 0 && Path::new(&mapping.path) == exe);
    let vaddr = program.vaddr_of_offset(0).unwrap_or(0);
    Ok(first.map_or(0, |mapping| mapping.start.wrapping_sub(vaddr)))
}

/// The kernel's text, where `kptr_restrict` lets it be seen.
pub fn kernel(event: &Event) -> Vec<u8> {
    let Ok(symbols) = std::fs::read_to_string("/proc/kallsyms") else {
        return Vec::new();
    };
    let address = |name: &str| {
        let line = symbols.lines().find(|line| line.ends_with(name))?;
        u64::from_str_radix(line.split(' ').next()?, 16).ok()
    };
    match (address(" _text"), address(" _etext")) {
        (Some(start), Some(end)) if start != 0 && start < end => Body::default()
            .int(-1)
            .int(0)
            .word(start)
            .word(end - start)
            .word(start)
            .text(b"[kernel.kallsyms]_text")
            .record(sys::PERF_RECORD_MMAP, sys::PERF_RECORD_MISC_KERNEL, event),
        _ => Vec::new(),
    }
}

/// So many samples were lost, nobody knows when.
pub fn lost_samples(lost: u64, event: &Event) -> Vec<u8> {
    let body = Body::default().word(lost);
    body.record(sys::PERF_RECORD_LOST_SAMPLES, 0, event)
}

/// A gap on the time axis begins (`THROTTLE`) or ends (`UNTHROTTLE`) at `time`, for the event `id`.
pub fn throttle(begins: bool, time: u64, id: u64, event: &Event) -> Vec<u8> {
    let kind = match begins {
        true => sys::PERF_RECORD_THROTTLE,
        false => sys::PERF_RECORD_UNTHROTTLE,
    };
    let body = Body::default().word(time).word(id).word(id);
    body.record(kind, 0, event)
}

/// Path of an executable mapping that a `PERF_RECORD_MMAP2` tells of, where it is a file's.
pub fn executable_path(misc: u16, body: &[u8]) -> Option<String> {
    if u32::from(misc) & sys::PERF_RECORD_MISC_MMAP_DATA != 0 {
        return None;
    }
    // pid, tid, addr, len, pgoff, 24 bytes of identity, prot, flags.
    let path = body.get(8 + 24 + 24 + 8..)?;
    let path = path.split(|&byte| byte == 0).next()?;
    let path = std::str::from_utf8(path).ok()?;
    (path.starts_with('/') && !path.starts_with("//") && Path::new(path).is_absolute())
        .then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read_whole() {
        let line = "7f8f80000000-7f8f80021000 rw-s 00001000 fe:01 1234    /dev/shm/a b";
        let mapping = mapping(line).unwrap();
        assert_eq!(mapping.start, 0x7f8f80000000);
        assert_eq!((mapping.offset, mapping.inode), (0x1000, 1234));
        assert_eq!((mapping.prot, mapping.shared), (3, true));
        assert_eq!(mapping.device, (0xfe, 1));
        assert_eq!(mapping.path, "/dev/shm/a b");
        let anon = super::mapping("c000000000-c000400000 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!(anon.path, "//anon");
        assert_eq!(super::mapping("no mapping"), None);
    }
}
