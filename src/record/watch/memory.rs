//! The memory of a process that runs on meanwhile.

use crate::record::RecordError;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// `/proc/PID/mem`. What is read may change the next moment.
#[derive(Debug)]
pub struct ProcessMemory {
    file: File,
}

impl ProcessMemory {
    /// # Errors
    ///
    /// When there is no such process, or it must not be looked into.
    pub fn of(pid: i32) -> Result<ProcessMemory, RecordError> {
        let file = File::open(format!("/proc/{pid}/mem"));
        let file = file.map_err(RecordError::process(pid, "opening its memory"))?;
        Ok(ProcessMemory { file })
    }

    /// Whether the process has given its memory up: it is on its way out. The kernel then reads nothing,
    /// instead of refusing (`mem_rw`, fs/proc/base.c).
    pub fn is_gone(&self) -> bool {
        matches!(self.file.read_at(&mut [0], 0), Ok(0))
    }

    /// The word at an address; `None` where nothing is mapped.
    pub fn u64(&self, addr: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, addr).ok()?;
        Some(u64::from_le_bytes(bytes))
    }
}
