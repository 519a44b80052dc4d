//! Why a core file or a snapshot could not be used.

use std::path::PathBuf;

/// Every way in which reading a heap, or taking a snapshot of one, fails.
#[derive(Debug, thiserror::Error)]
pub enum HeapError {
    #[error("cannot read {}: {error}", path.display())]
    Io {
        path: PathBuf,
        error: std::io::Error,
    },

    #[error(
        "{}: byte 0: not an ELF file of 64 bits, little endian ({reason}): pass a core file (gcore, GOTRACEBACK=crash) or a file of mempath snapshot",
        path.display()
    )]
    NotElf { path: PathBuf, reason: String },

    #[error(
        "{}: byte 16: e_type is {found}, a core file has 4 (ET_CORE): pass the core, and the binary with --binary",
        path.display()
    )]
    NotCore { path: PathBuf, found: u16 },

    #[error(
        "{}: byte 18: a core of machine {found} ({}), but only x86-64 and arm64 are read: take the core on such a machine",
        path.display(),
        machine_name(*found)
    )]
    Machine { path: PathBuf, found: u16 },

    #[error(
        "{}: byte {offset:#x}: {rule}: the core is damaged, take it again",
        path.display()
    )]
    Malformed {
        path: PathBuf,
        /// Offset in the file.
        offset: u64,
        rule: String,
    },

    #[error(
        "{} is no Go binary of 1.18 or later with its runtime's tables: pass the program that the core is of with --binary",
        path.display()
    )]
    NotGo { path: PathBuf },

    #[error("no binary was given for {}: pass the program with --binary", path.display())]
    NoProgram { path: PathBuf },

    #[error(
        "{}: the core is of {} with build id {found}, but {} has build id {wanted}: pass the binary that ran, or --force to use this one",
        path.display(),
        file.display(),
        binary.display()
    )]
    BuildId {
        path: PathBuf,
        /// The file that the process had mapped.
        file: PathBuf,
        binary: PathBuf,
        found: String,
        wanted: String,
    },

    #[error(
        "{}: address {addr:#x}: runtime.firstmoduledata of {} is not there ({rule}): the core is of another program, or cut before its data",
        path.display(),
        binary.display()
    )]
    Foreign {
        path: PathBuf,
        binary: PathBuf,
        /// Address in the process.
        addr: u64,
        rule: String,
    },

    #[error(
        "{}: no list of heap spans (runtime.mheap_.allspans) between {start:#x} and {end:#x}: {missing} bytes of the core are cut off; take it again with enough room, and ulimit -c unlimited",
        path.display()
    )]
    NoSpans {
        path: PathBuf,
        /// The program's data in the process.
        start: u64,
        end: u64,
        /// Bytes of memory that the headers promise and the file does not have.
        missing: u64,
    },

    #[error("process {pid}: {what}: {error}{}", needed(error))]
    Process {
        pid: i32,
        what: &'static str,
        error: std::io::Error,
    },
}

/// What it takes to read a process that may not be read (`ptrace(2)`, "Ptrace access mode checking").
fn needed(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            ": run this as root (CAP_SYS_PTRACE) or as the user that the process runs as; for one that is no child \
             of this shell /proc/sys/kernel/yama/ptrace_scope must be 0 besides, and a program that changed its \
             user needs root"
        }
        _ => "",
    }
}

/// Names of `e_machine` that one meets in Go's world (`elf.h`).
fn machine_name(machine: u16) -> &'static str {
    match machine {
        3 => "i386",
        8 => "mips",
        20 | 21 => "powerpc",
        22 => "s390",
        40 => "arm",
        243 => "riscv",
        258 => "loongarch",
        _ => "unknown to mempath",
    }
}
