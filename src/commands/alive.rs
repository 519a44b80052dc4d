//! The processes of a recording that still run: a path that one of them mapped is meant as it sees it,
//! which in a container is another file than here.

use crate::recording::{ImageId, Mapping, Meta, Recording};
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Processes of one image that are looked at.
const MOST: usize = 16;
/// Clocks of the file system and of `/proc` differ by less.
const SLOP: Duration = Duration::from_secs(2);

/// Whether the recording says that it was made on this machine with its kernel.
pub fn made_here(meta: &Meta) -> bool {
    let is = |file: &str, recorded: &Option<String>| {
        let own = std::fs::read_to_string(file).unwrap_or_default();
        recorded
            .as_deref()
            .is_some_and(|recorded| recorded == own.trim())
    };
    is("/proc/sys/kernel/osrelease", &meta.os_release)
        && is("/proc/sys/kernel/hostname", &meta.hostname)
}

/// The inode of the mount namespace that mempath runs in.
pub fn own_mount() -> Option<u64> {
    mount_of("self").ok()
}

fn mount_of(process: &str) -> std::io::Result<u64> {
    Ok(std::fs::metadata(format!("/proc/{process}/ns/mnt"))?.ino())
}

/// Where the processes of a recording see their files.
#[derive(Debug)]
pub struct Alive<'a> {
    recording: &'a Recording,
    here: bool,
    /// When the recording was written.
    ended: SystemTime,
}

/// Where else than at its path an image may be, and what is to be said where it is not.
#[derive(Debug, Default)]
pub struct Sights {
    /// Roots of the file systems in which the path is meant.
    pub roots: Vec<PathBuf>,
    pub meant: Option<String>,
}

impl<'a> Alive<'a> {
    pub fn of(recording: &'a Recording) -> Alive<'a> {
        let file = std::fs::metadata(&recording.path);
        let written = file.and_then(|file| file.modified());
        Alive {
            recording,
            here: made_here(&recording.meta),
            ended: written.unwrap_or_else(|_| SystemTime::now()),
        }
    }

    /// Where the processes that mapped an image see its path.
    pub fn sights(&self, image: ImageId) -> Sights {
        let space = &self.recording.space;
        let Some(path) = space.images.get(image as usize) else {
            return Sights::default();
        };
        let mapped = (space.mappings.iter()).filter(|m| m.image == image && m.executable);
        let mut roots = Vec::new();
        let mut mounts = BTreeSet::new();
        let (mut last, mut pids) = (None, 0);
        for mapping in mapped {
            if last != Some(mapping.pid) {
                pids += 1;
            }
            if pids > MOST {
                break;
            }
            last = Some(mapping.pid);
            let told = space.namespaces.of(mapping.pid, mapping.time);
            let mount = told.and_then(|told| told.mount());
            mounts.extend(mount.map(|mount| (mount, mapping.pid)));
            if self.here && self.is_still(mapping, Path::new(&path.path)) {
                roots.push(root_of(mapping.pid));
            }
        }
        let own = own_mount();
        mounts.retain(|(mount, _)| Some(*mount) != own);
        // Numbers of namespaces are used again: the build id has to prove what is found.
        if self.here && roots.is_empty() && path.build_id.is_some() && !mounts.is_empty() {
            let of = |mount: u64| mounts.iter().any(|(told, _)| *told == mount);
            let mut others = processes();
            let other = others.find(|pid| mount_of(&pid.to_string()).is_ok_and(of));
            roots.extend(other.map(root_of));
        }
        roots.dedup();
        roots.retain(|root| {
            !same_file(
                &root.join(path.path.trim_start_matches('/')),
                Path::new(&path.path),
            )
        });
        Sights {
            roots,
            meant: mounts.first().map(|&(mount, pid)| self.meant(mount, pid)),
        }
    }

    fn meant(&self, mount: u64, pid: i32) -> String {
        let why = match std::fs::read_link(root_of(pid)) {
            Err(error) if self.here && error.kind() == std::io::ErrorKind::PermissionDenied => {
                "only root or its user may look there"
            }
            _ => "the process or its file is gone",
        };
        format!(
            "process {pid} saw this path in mount namespace {mount}, and {why}: pass --binary PATH \
             or the root of its file system, --symfs DIR"
        )
    }

    /// Whether the process that made this mapping runs: one of its pid that began before the recording
    /// ended and has the same file at the same address.
    fn is_still(&self, mapping: &Mapping, path: &Path) -> bool {
        let began = began(mapping.pid);
        let Ok(maps) = std::fs::read_to_string(format!("/proc/{}/maps", mapping.pid)) else {
            return false;
        };
        let has = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let start = fields.next().and_then(|range| range.split('-').next());
            let start = start.and_then(|start| u64::from_str_radix(start, 16).ok());
            let offset = fields.nth(1).and_then(|o| u64::from_str_radix(o, 16).ok());
            // The path as this process sees it may begin elsewhere.
            let file = line.trim_end_matches(" (deleted)").rsplit('/').next();
            start == Some(mapping.start)
                && offset == Some(mapping.pgoff)
                && file == path.file_name().and_then(|name| name.to_str())
        };
        began.is_some_and(|began| began <= self.ended + SLOP) && maps.lines().any(has)
    }
}

fn root_of(pid: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root"))
}

fn same_file(a: &Path, b: &Path) -> bool {
    let of = |path: &Path| std::fs::metadata(path).map(|file| (file.dev(), file.ino()));
    matches!((of(a), of(b)), (Ok(a), Ok(b)) if a == b)
}

fn processes() -> impl Iterator<Item = i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// When a process began: field 22 of `/proc/PID/stat`, in ticks since `btime` (`proc(5)`).
fn began(pid: i32) -> Option<SystemTime> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the process may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "))?;
    // SAFETY: sysconf has no preconditions.
    let hertz = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok()?;
    let since_boot = Duration::from_millis(ticks.checked_mul(1000)?.checked_div(hertz)?);
    let boot = Duration::from_secs(boot.trim().parse().ok()?);
    SystemTime::UNIX_EPOCH.checked_add(boot.checked_add(since_boot)?)
}
