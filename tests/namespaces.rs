//! Processes whose files are not those of this mount namespace, as in containers.

mod common;

use common::builder::{EventSpec, IDENTIFIER, RecordingBuilder, Sample, Writer};
use common::target::{Running, breakpoints, build};
use mempath::recording::{Namespaces, read_bytes};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `PERF_RECORD_NAMESPACES`.
const NAMESPACES: u32 = 16;

fn mempath(dir: &Path) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("mempath"));
    // No cache of perf's has the binary.
    command.current_dir(dir).env("HOME", dir);
    command
}

/// Whether a mount namespace can be made, which in CI must be as long as the kernel lets root.
fn unshare() -> bool {
    let output = Command::new("unshare").args(["-m", "true"]).output();
    let output = output.expect("unshare of util-linux");
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Operation not permitted"), "{said}");
        eprintln!("{said}: nothing is tested");
    }
    output.status.success()
}

/// tests/programs/watched.go from a file system that only it sees, and the header of its map.
fn hidden(dir: &Path) -> (Running, String) {
    build("tests/programs/watched.go", "1.22.10", dir);
    std::fs::create_dir(dir.join("inside")).unwrap();
    let script = "mount -t tmpfs none inside && cp watched inside/app && exec \"$PWD/inside/app\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).current_dir(dir);
    let mut program = Running::start(&mut command);
    let line = program.line();
    let header = line.strip_prefix("ready ").unwrap().to_owned();
    (program, header)
}

/// Records every access to the first word of the header for a second, in which the program works.
fn record(dir: &Path, program: &mut Running, header: &str) -> PathBuf {
    let output = dir.join("perf.data");
    let mut perf = Command::new("perf")
        .args(["record", "--namespaces", "-N", "-c", "1", "-d", "-I", "-T"])
        .args(["-e", &format!("mem:0x{header}/8:rw")])
        .args(["-p", &program.pid(), "-o", output.to_str().unwrap()])
        .args(["--", "sleep", "1"])
        .env("HOME", dir)
        .spawn()
        .unwrap();
    while perf.try_wait().unwrap().is_none() {
        assert_eq!(program.ask("insert sessions 1"), "did 1");
        assert_eq!(program.ask("delete sessions 1"), "did 1");
    }
    output
}

fn export(dir: &Path, args: &[&str]) -> Vec<Vec<String>> {
    let output = mempath(dir)
        .args(["export", "accesses", "--format", "csv", "perf.data"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| line.split(',').map(ToOwned::to_owned).collect();
    text.lines().map(row).collect()
}

/// The distinct values of a column.
fn distinct(rows: &[Vec<String>], column: &str) -> Vec<String> {
    let at = rows[0].iter().position(|name| name == column).unwrap();
    let mut values: Vec<String> = rows[1..].iter().map(|row| row[at].clone()).collect();
    values.sort();
    values.dedup();
    values
}

#[test]
fn a_path_is_looked_up_as_the_process_sees_it_as_long_as_it_runs() {
    if !breakpoints() || !unshare() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (mut program, header) = hidden(dir);
    let pid = program.pid();
    record(dir, &mut program, &header);
    let path = dir.join("inside/app");
    assert!(!path.exists());

    // It runs: the only word that was watched is the count of the map.
    let rows = export(dir, &[]);
    assert_eq!(distinct(&rows, "part"), ["hmap.count"]);
    // Another file at that path here changes nothing.
    std::fs::copy("/bin/true", &path).unwrap();
    assert_eq!(distinct(&export(dir, &[]), "part"), ["hmap.count"]);
    std::fs::remove_file(&path).unwrap();

    let mount = std::fs::read_link(format!("/proc/{pid}/ns/mnt")).unwrap();
    let mount = mount.to_str().unwrap();
    let inode = mount.trim_start_matches("mnt:[").trim_end_matches(']');
    let info = mempath(dir).args(["info", "perf.data"]).output().unwrap();
    let info = String::from_utf8(info.stdout).unwrap();
    assert!(info.contains(&format!("{inode}: pid {pid}\n")), "{info}");

    drop(program);
    let output = mempath(dir)
        .args(["analyze", "--no-report", "--format", "json", "perf.data"])
        .output()
        .unwrap();
    let json = String::from_utf8(output.stdout).unwrap();
    let reason = format!(
        "no binary for {} (the recording has no build id for it): process {pid} saw this path in \
         mount namespace {inode}, and the process or its file is gone: pass --binary PATH or the root \
         of its file system, --symfs DIR; tried ",
        path.display()
    );
    assert!(json.contains(&reason), "{json}");
    let doctor = mempath(dir).args(["doctor", "perf.data"]).output().unwrap();
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    let lack = format!("pid {pid} of mount namespace {inode} saw files of its own");
    assert!(doctor.contains(&lack), "{doctor}");

    // The root of its file system, as a container's image unpacks to.
    let root = dir.join("root");
    let there = root.join(path.strip_prefix("/").unwrap());
    std::fs::create_dir_all(there.parent().unwrap()).unwrap();
    std::fs::copy(dir.join("watched"), there).unwrap();
    let rows = export(dir, &["--symfs", "root"]);
    assert_eq!(distinct(&rows, "part"), ["hmap.count"]);
}

/// `{ u32 pid, tid; u64 nr; { u64 dev, inode; } [nr]; sample_id }`, `include/uapi/linux/perf_event.h`.
#[test]
fn namespaces_are_those_of_the_process_from_the_record_on() {
    for big in [false, true] {
        let mut recording = RecordingBuilder::of_order(big);
        let mut event = EventSpec::loads();
        event.sample_type |= IDENTIFIER;
        recording.event(event);
        let mut tell = |pid: u32, tid: u32, time: u64, links: &[u64]| {
            let mut body = Writer::new(big);
            body.u32(pid).u32(tid).u64(links.len() as u64);
            for &inode in links {
                body.u64(4).u64(inode);
            }
            recording.stamped(NAMESPACES, 0, tid as i32, time, body);
        };
        tell(7, 7, 10, &[1, 2, 3, 4, 5, 6, 7]);
        tell(7, 7, 20, &[1, 2, 3, 4, 5, 60, 7]);
        // A thread that left its process's, and a kernel that knows fewer kinds.
        tell(7, 8, 30, &[1, 2, 3, 4, 5, 61, 7]);
        tell(9, 9, 30, &[1, 2]);
        recording.sample(0, Sample::load(30));
        let read = read_bytes(Path::new("test"), &recording.file()).unwrap();
        let of = |pid, time| read.space.namespaces.of(pid, time);
        let mount = |pid, time| of(pid, time).and_then(Namespaces::mount);
        assert_eq!(mount(7, 5), Some(6));
        assert_eq!(mount(7, 19), Some(6));
        assert_eq!(mount(7, 99), Some(60));
        assert_eq!(mount(9, 99), None);
        assert_eq!(of(9, 99).unwrap().inodes, [1, 2, 0, 0, 0, 0, 0]);
        assert_eq!(of(8, 99), None);
        assert_eq!(read.damage, []);
    }
}
