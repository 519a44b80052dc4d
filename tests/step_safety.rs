//! `mempath step` where something ends badly: the program, the disk, the stepper, the user.
#![cfg(target_arch = "x86_64")]

mod common;

use assert_cmd::Command as Mempath;
use common::target::{Running, Small, as_nobody, build, perf_reads, stepped, tracing, wait_for};
use mempath::recording::read;
use std::path::Path;
use std::process::{Command, Stdio};

const SWISS: &str = "1.27.3";

fn mempath() -> Mempath {
    Mempath::cargo_bin("mempath").unwrap()
}

/// No thread of a process is traced or stopped.
fn is_free(pid: &str) {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for entry in threads.flatten() {
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap();
        assert!(status.contains("TracerPid:\t0"), "{status}");
        assert!(!status.contains("State:\tT") && !status.contains("State:\tt"));
    }
}

/// `mempath step` of a program that is started, which then crashes in map code.
#[test]
fn a_crash_of_the_program_is_its_own_and_is_told() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/watched.go", SWISS, dir.path());
    let output = dir.path().join("perf.data");
    let mut stepped = stepped(&binary, &output);
    assert_eq!(stepped.ask("update small 5"), "did 5");
    assert_eq!(stepped.ask("crash small 1"), "");
    let mut said = String::new();
    let stderr = stepped.child.stderr.as_mut().unwrap();
    std::io::Read::read_to_string(stderr, &mut said).unwrap();
    // Go's own words, and how Go programs end of a panic.
    assert!(
        said.contains("panic: assignment to entry in nil map"),
        "{said}"
    );
    assert!(said.contains("it ended with exit code 2"), "{said}");
    let recording = read(&output).unwrap();
    assert!(recording.damage.is_empty(), "{:?}", recording.damage);
    assert!(recording.meta.modelled.is_some());
    perf_reads(&output);
}

/// The program, running for ever, after its first lines.
fn forever(dir: &Path) -> Running {
    let binary = build("tests/programs/steady.go", SWISS, dir);
    let mut program = Running::start(Command::new(binary).args(["2000", "forever"]));
    assert_eq!(program.line(), "5332 500 child <nil>");
    program.line();
    program
}

/// `mempath step -p` in the background, when it has written `bytes`.
fn step(program: &Running, output: &Path, bytes: u64) -> Running {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("mempath"));
    command
        .args(["step", "-p", &program.pid(), "-o"])
        .arg(output)
        .stderr(Stdio::piped());
    let stepper = Running::start(&mut command);
    let begun = || std::fs::metadata(output).is_ok_and(|file| file.len() > bytes);
    wait_for(begun, "something is stepped");
    stepper
}

fn said(stepper: &mut Running) -> String {
    let mut said = String::new();
    let stderr = stepper.child.stderr.as_mut().unwrap();
    std::io::Read::read_to_string(stderr, &mut said).unwrap();
    said
}

#[test]
fn a_killed_program_ends_the_recording() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("perf.data");
    let mut program = forever(dir.path());
    let mut stepper = step(&program, &output, 20_000);
    program.child.kill().unwrap();
    program.child.wait().unwrap();
    let said = said(&mut stepper);
    // A tracer sees what a stranger would not.
    assert!(said.contains("it was ended by signal 9"), "{said}");
    assert!(stepper.child.wait().unwrap().success());
    assert!(read(&output).unwrap().damage.is_empty());
    perf_reads(&output);
}

/// Its int3s are gone with its memory; the other program runs to its end untouched.
#[test]
fn a_program_that_executes_another_is_let_go() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/watched.go", SWISS, dir.path());
    let output = dir.path().join("perf.data");
    let mut stepped = stepped(&binary, &output);
    assert_eq!(stepped.ask("update small 5"), "did 5");
    assert_eq!(stepped.ask("exec small 1"), "another program");
    let said = said(&mut stepped);
    assert!(
        said.contains("(the process executes another program; the program: it ended)"),
        "{said}"
    );
    assert!(stepped.child.wait().unwrap().success());
    assert!(read(&output).unwrap().damage.is_empty());
}

#[test]
fn a_full_disk_ends_the_stepping_and_keeps_what_fits() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("small");
    let Some(_mount) = Small::mount(mount.clone()) else {
        return;
    };
    let output = mount.join("perf.data");
    let mut program = forever(dir.path());
    let mut stepper = step(&program, &output, 10_000);
    let said = said(&mut stepper);
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("bytes of records before are kept"), "{said}");
    assert_eq!(stepper.child.wait().unwrap().code(), Some(1));
    is_free(&program.pid());
    for _ in 0..4 {
        assert!(!program.line().is_empty());
    }
    let recording = read(&output).unwrap();
    assert!(recording.damage.is_empty(), "{:?}", recording.damage);
    assert!(recording.meta.modelled.is_some());
    // Batches of 256 KiB, of some 300 bytes a sample.
    assert!(
        recording.samples.len() > 1000,
        "{}",
        recording.samples.len()
    );
}

#[test]
fn another_users_process_is_not_stepped() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut command) = as_nobody(dir.path()) else {
        return;
    };
    let pid = std::process::id().to_string();
    let output = command.args(["step", "-p", &pid]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let reason = "belongs to user 0 and mempath runs as user 65534: it is left alone";
    assert!(said.contains(reason), "{said}");
}

#[test]
fn nothing_but_the_recording_is_written() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/steady.go", SWISS, dir.path());
    let cwd = dir.path().join("cwd");
    std::fs::create_dir(&cwd).unwrap();
    mempath()
        .current_dir(&cwd)
        .arg("step")
        .arg("--")
        .arg(&binary)
        .arg("2000")
        .assert()
        .success();
    let names = |dir: &Path| {
        let mut names: Vec<_> = (std::fs::read_dir(dir).unwrap().flatten())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&cwd), ["perf.data"]);
    assert_eq!(names(dir.path()), ["cwd", "steady"]);
}

/// What a process has started.
fn child_of(pid: i32) -> i32 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}

/// The process that guards the one that steps, and that one.
fn guard_and_worker(stepper: &Running) -> (i32, i32) {
    let guard = child_of(stepper.child.id() as i32);
    (guard, child_of(guard))
}

/// The executable part of the program in memory is that of its file, byte by byte.
fn text_is_whole(program: &Running, binary: &Path) {
    use std::os::unix::fs::FileExt;
    let pid = program.pid();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let text = (maps.lines())
        .find(|line| line.contains(" r-xp ") && line.ends_with("/steady"))
        .unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let hex = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let (start, end) = words[0].split_once('-').unwrap();
    let (start, len) = (hex(start), (hex(end) - hex(start)) as usize);
    let mut there = vec![0; len];
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    memory.read_exact_at(&mut there, start).unwrap();
    let file = std::fs::read(binary).unwrap();
    let offset = hex(words[2]) as usize;
    let len = len.min(file.len() - offset);
    let differing = (0..len).filter(|&i| there[i] != file[offset + i]).count();
    assert_eq!(differing, 0);
}

/// Killed at ten moments, in the middle of whatever it does: what it did is undone by its parent.
#[test]
fn a_killed_worker_leaves_the_program_as_it_was() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut program = forever(dir.path());
    for moment in 0..10 {
        let output = dir.path().join(format!("{moment}.data"));
        let mut stepper = step(&program, &output, 20_000 + 30_000 * moment);
        // SAFETY: the worker's parent is alive and has not waited for it.
        unsafe { libc::kill(guard_and_worker(&stepper).1, libc::SIGKILL) };
        let said = said(&mut stepper);
        assert!(said.contains("runs on as it was"), "{moment}: {said}");
        assert_eq!(stepper.child.wait().unwrap().code(), Some(1));
        is_free(&program.pid());
        text_is_whole(&program, &dir.path().join("steady"));
        for _ in 0..4 {
            assert_ne!(program.line(), "", "{moment}");
        }
        // What was written is recovered.
        let recording = read(&output).unwrap();
        let bytes = std::fs::metadata(&output).unwrap().len();
        let (samples, damage) = (recording.samples.len(), &recording.damage);
        assert!(
            samples > 20,
            "{moment}: {samples} in {bytes} bytes, {damage:?}"
        );
    }
}

/// A process that is not our child has ended, or only waits for being waited for.
fn has_ended(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
    !status.is_ok_and(|status| !status.contains("State:\tZ"))
}

/// Whoever of the three is killed, alone or with the command, the program goes on as it was.
#[test]
fn killed_with_the_command_the_program_is_as_it_was() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut program = forever(dir.path());
    for case in 0..4 {
        let output = dir.path().join(format!("{case}.data"));
        let mut stepper = step(&program, &output, 20_000);
        let command = stepper.child.id() as i32;
        let (guard, worker) = guard_and_worker(&stepper);
        let killed: &[i32] = match case {
            0 => &[command, worker],
            1 => &[worker, command],
            2 => &[command, guard],
            _ => &[guard],
        };
        for pid in killed {
            // SAFETY: these processes were alive just now.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        stepper.child.wait().unwrap();
        wait_for(
            || has_ended(guard) && has_ended(worker),
            "the stepping ends",
        );
        is_free(&program.pid());
        text_is_whole(&program, &dir.path().join("steady"));
        for _ in 0..4 {
            assert_ne!(program.line(), "", "{case}");
        }
        assert!(read(&output).unwrap().samples.len() > 20, "{case}");
    }
}

/// The reason is told once, whichever process has found it.
#[test]
fn a_process_that_is_not_there_is_named() {
    // Beyond `kernel.pid_max`, of 4194304 at most.
    let reason = "mempath: there is no process 4999999: it may have ended; find it with pgrep\n";
    let pid = ["-p", "4999999"];
    let rest = "mempath: nothing was recorded, or not all of it\n";
    (mempath().arg("record").args(pid))
        .assert()
        .code(1)
        .stderr(reason);
    let step = mempath().arg("step").args(pid).assert().code(1);
    step.stderr(format!("{reason}{rest}"));
}

/// `ulimit -f`: an error like that of a full disk, and the program that was started ends with it.
#[test]
fn a_limit_on_the_size_of_files_is_told() {
    if !tracing() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/steady.go", SWISS, dir.path());
    let output = dir.path().join("perf.data");
    let mempath = assert_cmd::cargo::cargo_bin("mempath");
    let line = r#"ulimit -f 64; exec "$0" step --window 10m -o "$1" -- "$2" 2000"#;
    let stepped = (Command::new("bash").args(["-c", line]))
        .args([&mempath, &output, &binary])
        .output()
        .unwrap();
    let said = String::from_utf8(stepped.stderr).unwrap();
    assert!(said.contains("File too large"), "{said}");
    assert!(said.contains("bytes of records before are kept"), "{said}");
    assert!(read(&output).unwrap().damage.is_empty());
}
