//! The ring buffer that the kernel writes records into, one a CPU.

use super::counter::Counter;
use perf_event_open_sys::bindings as sys;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Memory shared with the kernel: a control page and `2^n` pages of data behind it.
#[derive(Debug)]
pub struct Ring {
    control: *mut sys::perf_event_mmap_page,
    data: Region,
}

/// A run of mapped pages.
#[derive(Debug)]
struct Region {
    start: *mut u8,
    len: usize,
}

impl Region {
    fn map(fd: RawFd, len: usize, offset: u64) -> io::Result<Region> {
        let offset = i64::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing of ours.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
                offset,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Region {
            start: start.cast(),
            len,
        })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: this is our mapping, and nothing borrowed from it outlives `self`.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

/// The size of a page in bytes.
pub fn page() -> usize {
    // SAFETY: sysconf has no preconditions.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Appends the bytes `from..to` of a stream that lies in a ring of `len` bytes (a power of 2).
fn copy_out(data: &Region, skip: usize, from: u64, to: u64, out: &mut Vec<u8>) {
    let len = data.len - skip;
    let mut at = from;
    while at < to {
        let offset = (at % len as u64) as usize;
        let run = (len - offset).min((to - at) as usize);
        // SAFETY: `offset + run` is at most `len`, so the bytes are in the mapping; the kernel does
        // not write between tail and head until we have moved the tail.
        let bytes = unsafe { std::slice::from_raw_parts(data.start.add(skip + offset), run) };
        out.extend_from_slice(bytes);
        at += run as u64;
    }
}

impl Ring {
    /// Maps the ring of a counter, with `pages` pages of data (a power of 2).
    pub fn map(counter: &Counter, pages: usize) -> io::Result<Ring> {
        let data = Region::map(counter.fd(), (pages + 1) * page(), 0)?;
        Ok(Ring {
            control: data.start.cast(),
            data,
        })
    }

    /// Appends all records that are there to `out`, and gives their room back.
    pub fn drain(&self, out: &mut Vec<u8>) {
        // SAFETY: the control page is mapped as long as `self`, both words are aligned in it, and the
        // kernel and we use them atomically (`perf_event.h`, the comment over `data_head`).
        let (head, tail) = unsafe {
            (
                AtomicU64::from_ptr(&raw mut (*self.control).data_head),
                AtomicU64::from_ptr(&raw mut (*self.control).data_tail),
            )
        };
        let (from, to) = (tail.load(Ordering::Relaxed), head.load(Ordering::Acquire));
        copy_out(&self.data, page(), from, to, out);
        tail.store(to, Ordering::Release);
    }

    /// Maps the AUX buffer of a counter that has one, of `pages` pages.
    pub fn aux(&self, counter: &Counter, pages: usize) -> io::Result<AuxRing> {
        let len = pages * page();
        // SAFETY: the control page is mapped as long as `self`; the kernel reads both words only when
        // the AUX buffer is mapped, below.
        unsafe {
            (*self.control).aux_offset = self.data.len as u64;
            (*self.control).aux_size = len as u64;
        }
        Ok(AuxRing {
            control: self.control,
            data: Region::map(counter.fd(), len, self.data.len as u64)?,
        })
    }
}

/// The buffer that a PMU writes by itself.
#[derive(Debug)]
pub struct AuxRing {
    control: *mut sys::perf_event_mmap_page,
    data: Region,
}

impl AuxRing {
    /// Appends what the PMU has written to `out`; the offset of its first byte in the stream.
    ///
    /// The ring that it was made of must still be mapped.
    pub fn drain(&self, out: &mut Vec<u8>) -> u64 {
        // SAFETY: as in `Ring::drain`; sessions drop AUX rings before the rings they belong to.
        let (head, tail) = unsafe {
            (
                AtomicU64::from_ptr(&raw mut (*self.control).aux_head),
                AtomicU64::from_ptr(&raw mut (*self.control).aux_tail),
            )
        };
        let (from, to) = (tail.load(Ordering::Relaxed), head.load(Ordering::Acquire));
        copy_out(&self.data, 0, from, to, out);
        tail.store(to, Ordering::Release);
        from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_across_the_end_of_the_ring_comes_out_whole() {
        let mut bytes: Vec<u8> = (0..16).collect();
        let ring = std::mem::ManuallyDrop::new(Region {
            start: bytes.as_mut_ptr(),
            len: bytes.len(),
        });
        let mut out = Vec::new();
        copy_out(&ring, 8, 13, 19, &mut out);
        assert_eq!(out, [13, 14, 15, 8, 9, 10]);
    }
}
