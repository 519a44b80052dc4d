//! `mempath record --analyze -- ./app`: from a program to its report in one command.

mod common;

use common::target::{build, perf_reads, tracing};
use mempath::recording::read;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Both ends of a terminal: what it shows, and what a program writes to.
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: both numbers live for the call; name and modes are not asked for.
    let made = unsafe {
        libc::openpty(
            &raw mut ours,
            &raw mut theirs,
            none,
            std::ptr::null(),
            std::ptr::null(),
        )
    };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: openpty has just made both.
    unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) }
}

/// An `xdg-open` that writes down what it was told to open.
fn desktop(dir: &Path) -> String {
    let bin = dir.join("bin");
    std::fs::create_dir(&bin).unwrap();
    let program = bin.join("xdg-open");
    let opened = dir.join("opened");
    std::fs::write(
        &program,
        format!("#!/bin/sh\necho \"$1\" >'{}'\n", opened.display()),
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

/// The engine is the one that doctor names, the reason is told, and the report is written and opened.
#[test]
fn one_command_picks_an_engine_records_and_opens_the_report() {
    if !tracing() {
        return;
    }
    let mempath = assert_cmd::cargo::cargo_bin("mempath");
    let doctor = Command::new(&mempath)
        .args(["doctor", "--format", "json"])
        .output()
        .unwrap();
    let doctor: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let works = |name: &str| {
        let engines = doctor["engines"].as_array().unwrap();
        engines
            .iter()
            .any(|e| e["engine"] == name && e["works"] == true)
    };
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/steady.go", "1.27.3", dir.path());
    let path = desktop(dir.path());
    let (mut shown, stderr) = terminal();
    let mut child = Command::new(&mempath)
        .args(["record", "--analyze", "--"])
        .arg(&binary)
        .arg("5000")
        .current_dir(dir.path())
        .env("PATH", path)
        .env("DISPLAY", ":0")
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let reader = std::thread::spawn(move || {
        let mut said = Vec::new();
        // A terminal whose other end is closed gives EIO.
        let _ = shown.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut printed = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut printed).unwrap();
    assert!(child.wait().unwrap().success(), "{printed}");
    let said = reader.join().unwrap();
    // Of 4 times 5000 orders every third is deleted again; that is what it prints alone.
    assert!(printed.starts_with("13332 500 child <nil>\n"), "{printed}");

    let recording = read(&dir.path().join("perf.data")).unwrap();
    assert!(recording.damage.is_empty());
    perf_reads(&dir.path().join("perf.data"));
    let page = std::fs::read_to_string(dir.path().join("mempath-report.html")).unwrap();
    if works("record") {
        assert_eq!(doctor["engine"], "record");
        assert!(said.contains("engine: "), "{said}");
        assert!(recording.meta.modelled.is_none());
    } else {
        assert_eq!(doctor["engine"], "step");
        let why = doctor["engines"][0]["because"].as_str().unwrap();
        assert!(said.contains("engine: step; levels and latencies will be modelled"));
        assert!(said.contains(why), "{said}");
        assert!(recording.meta.modelled.is_some());
        // Before anything else of the page.
        let alarms = page.split_once("id=\"alarms\"").unwrap().1;
        let alarms = alarms.split_once("</div>").unwrap().0;
        assert!(alarms.contains("modelled"), "{alarms}");
        let body = page.split_once("<main").unwrap().1;
        let before = body.split_once("id=\"alarms\"").unwrap().0;
        assert!(
            !before.contains("<table") && !before.contains("<svg"),
            "{before}"
        );
    }
    common::target::wait_for(|| dir.path().join("opened").exists(), "it is opened");
    let opened = std::fs::read_to_string(dir.path().join("opened")).unwrap();
    assert_eq!(opened.trim_end(), "mempath-report.html");
}
