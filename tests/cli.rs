//! The command line from outside: what it prints, refuses and leaves behind.

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::{contains, diff, starts_with};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn mempath(dir: &Path) -> Command {
    let mut command = Command::cargo_bin("mempath").unwrap();
    command
        .current_dir(dir)
        .env_remove("NO_COLOR")
        .env("HOME", dir);
    command
}

/// A file of the truth sets, unpacked into `dir`. `None` where there are none, except in CI.
fn truth(dir: &Path, set: &str, name: &str) -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if !shared.exists() && std::env::var_os("CI").is_none() {
        eprintln!("no truth sets here: not tested");
        return None;
    }
    let packed = shared.join("truth").join(set).join(name);
    let bytes = fs::read(&packed).unwrap_or_else(|e| panic!("{}: {e}", packed.display()));
    let path = dir.join(Path::new(name).file_stem().unwrap());
    let unpacked = match packed.extension().and_then(|e| e.to_str()) {
        Some("zst") => zstd::decode_all(&*bytes).unwrap(),
        _ => {
            let mut unpacked = Vec::new();
            let mut gz = flate2::read::GzDecoder::new(&*bytes);
            std::io::copy(&mut gz, &mut unpacked).unwrap();
            unpacked
        }
    };
    fs::write(&path, unpacked).unwrap();
    Some(path)
}

/// Names of the files in `dir`.
fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// Runs `analyze` on a file of these bytes, which must fail with this message and leave no file.
fn refused(bytes: &[u8], message: &str) {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("perf.data"), bytes).unwrap();
    mempath(dir.path())
        .args(["analyze", "perf.data"])
        .assert()
        .code(1)
        .stdout("")
        .stderr(diff(format!("mempath: {message}\n")));
    assert_eq!(files(dir.path()), ["perf.data"]);
}

#[test]
fn help_names_the_exit_codes() {
    let dir = TempDir::new().unwrap();
    for help in [
        &["--help"][..],
        &["analyze", "--help"],
        &["export", "accesses", "--help"],
    ] {
        mempath(dir.path())
            .args(help)
            .assert()
            .code(0)
            .stdout(contains("Exit codes: 0 done; 1 input"));
    }
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_2() {
    let dir = TempDir::new().unwrap();
    mempath(dir.path()).assert().code(2);
    mempath(dir.path()).args(["analyze"]).assert().code(2);
    mempath(dir.path())
        .args(["export", "accesses", "x", "--format", "xml"])
        .assert()
        .code(2);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let dir = TempDir::new().unwrap();
    mempath(dir.path()).args(["analyze", "gone.data"]).assert().code(1).stdout("").stderr(
        "mempath: could not read 'gone.data': could not open it: No such file or directory (os error 2)\n",
    );
    assert_eq!(files(dir.path()), [""; 0]);
}

#[test]
fn the_reason_of_the_system_is_told_once() {
    let dir = TempDir::new().unwrap();
    let told = |args: &[&str], message: &str| {
        let reason = "No such file or directory (os error 2)";
        mempath(dir.path())
            .args(args)
            .assert()
            .code(1)
            .stderr(diff(format!("mempath: {message}: {reason}\n")));
    };
    told(&["maps", "core", "--binary", "app"], "cannot read app");
    // Above the largest pid of the kernel (`PID_MAX_LIMIT`).
    let nobody = ["snapshot", "-p", "4194305"];
    told(&nobody, "process 4194305: reading exe");
}

#[test]
fn an_empty_file_is_refused() {
    refused(
        b"",
        "could not read 'perf.data': the file is empty: perf wrote no recording",
    );
}

#[test]
fn a_file_that_is_no_recording_is_refused_with_its_first_bytes() {
    refused(
        b"#!/bin/sh\necho not a recording\n",
        "could not read 'perf.data': not a perf.data file: it begins with the bytes \
         [23, 21, 2f, 62, 69, 6e, 2f, 73], not with PERFILE2; record one with `perf mem record`",
    );
}

#[test]
fn a_cut_header_is_refused_with_the_byte() {
    let mut header = b"PERFILE2".to_vec();
    header.extend(104u64.to_le_bytes());
    header.extend([0; 34]);
    refused(
        &header,
        "could not read 'perf.data': the file ends at byte 50, inside its header of 104 bytes",
    );
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_the_work() {
    let dir = TempDir::new().unwrap();
    // The input does not exist either: the output is looked at first.
    mempath(dir.path()).args(["analyze", "gone.data", "-o", "no/such/folder/r.html"]).assert().code(1).stderr(
        "mempath: could not write 'no/such/folder/r.html': No such file or directory (os error 2)\n",
    );
    mempath(dir.path())
        .args(["analyze", "gone.data", "-o", "."])
        .assert()
        .code(1)
        .stderr("mempath: could not write '.': it is a folder; name a file in it\n");
}

#[test]
fn what_is_no_file_is_written_to_and_not_replaced() {
    let dir = TempDir::new().unwrap();
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/modelled-go1.22-twins");
    let export = ["export", "accesses", "perf.data", "--format", "csv", "-o"];
    mempath(Path::new(sample))
        .args(export)
        .arg(&pipe)
        .assert()
        .code(0);
    assert!(reader.join().unwrap().starts_with("n,"));
    let kind = fs::symlink_metadata(&pipe).unwrap().file_type();
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&kind), "{kind:?}");
    assert_eq!(files(dir.path()), ["pipe"]);
}

#[test]
fn a_folder_without_tables_makes_no_report() {
    let dir = TempDir::new().unwrap();
    mempath(dir.path()).args(["report", "."]).assert().code(1).stderr(
        "mempath: could not read './summary.json'; make the folder with `mempath analyze --tables`: \
         No such file or directory (os error 2)\n",
    );
    assert_eq!(files(dir.path()), [""; 0]);
}

#[test]
fn a_recording_becomes_a_summary_a_report_and_tables() {
    let dir = TempDir::new().unwrap();
    let set = "go1.22.10-twins";
    let Some(_) = truth(dir.path(), set, "perf.data.plain.zst") else {
        return;
    };
    truth(dir.path(), set, "mapload.gz");
    let out = mempath(dir.path())
        .args([
            "analyze",
            "perf.data.plain",
            "--binary",
            "mapload",
            "--tables",
            "t",
        ])
        .assert()
        .code(0)
        .stderr("")
        // As `perf report --stats` counts them.
        .stdout(starts_with("perf.data.plain: 105,928 samples"))
        .stdout(contains(
            "events: 70,915 cpu/mem-loads,ldlat=30/P, 35,013 cpu/mem-stores/P",
        ));
    let text = String::from_utf8(out.get_output().stdout.clone()).unwrap();
    assert!(text.lines().count() <= 40, "{text}");
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
    assert_eq!(
        files(dir.path()),
        ["mapload", "mempath-report.html", "perf.data.plain", "t"]
    );
    // The same report from the tables, without the recording.
    mempath(dir.path())
        .args(["report", "t", "-o", "again.html"])
        .assert()
        .code(0)
        .stdout("")
        .stderr("");
    let read = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert!(read("mempath-report.html") == read("again.html"));
}

#[test]
fn standard_input_and_json_give_the_same_numbers() {
    let dir = TempDir::new().unwrap();
    let set = "go1.27.3-twins";
    let Some(recording) = truth(dir.path(), set, "perf.data.plain.zst") else {
        return;
    };
    truth(dir.path(), set, "mapload.gz");
    let args = [
        "analyze",
        "-",
        "--binary",
        "mapload",
        "--no-report",
        "--format",
        "json",
    ];
    let out = mempath(dir.path())
        .args(args)
        .pipe_stdin(recording)
        .unwrap()
        .assert()
        .code(0);
    let json: serde_json::Value = serde_json::from_slice(&out.get_output().stdout).unwrap();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["report"], serde_json::Value::Null);
    assert_eq!(json["summary"]["funnel"][0]["samples"], 106_341);
    assert_eq!(files(dir.path()), ["mapload", "perf.data.plain"]);
}

#[test]
fn a_missing_binary_is_an_alarm_and_the_rest_is_told() {
    let dir = TempDir::new().unwrap();
    let Some(_) = truth(dir.path(), "go1.22.10-twins", "perf.data.plain.zst") else {
        return;
    };
    mempath(dir.path())
        .args(["analyze", "perf.data.plain", "--no-report", "--format", "json"])
        .assert()
        .code(0)
        .stdout(contains(
            "105703 samples are without their code: no binary for /srv/truth/sets/go1.22.10-twins/mapload \
             (build id fe739759ffdd2519a52fb48815c80369e88d1158): pass --binary PATH/TO/mapload or \
             --binary-dir DIR; tried /srv/truth/sets/go1.22.10-twins/mapload",
        ));
}

#[test]
fn a_wrong_binary_is_refused_unless_forced() {
    let dir = TempDir::new().unwrap();
    let Some(_) = truth(dir.path(), "go1.22.10-twins", "perf.data.plain.zst") else {
        return;
    };
    truth(dir.path(), "go1.22.10-twins", "mapload.s-w.gz");
    let args = [
        "analyze",
        "perf.data.plain",
        "--binary",
        "mapload.s-w",
        "--no-report",
    ];
    mempath(dir.path()).args(args).assert().code(1).stdout("").stderr(
        "mempath: mapload.s-w has build id 561f2b3c4ce0fcb92f559b25812b00a792fc6703, the recording has \
         fe739759ffdd2519a52fb48815c80369e88d1158: pass the binary that was recorded, or --force to use \
         this one\n",
    );
    let forced = mempath(dir.path())
        .args(args)
        .arg("--force")
        .assert()
        .code(0);
    forced.stdout(contains(
        "!! --force: /srv/truth/sets/go1.22.10-twins/mapload",
    ));
}

#[test]
fn a_cut_recording_is_analysed_as_far_as_it_goes() {
    let dir = TempDir::new().unwrap();
    let Some(recording) = truth(dir.path(), "go1.22.10-twins", "perf.data.plain.zst") else {
        return;
    };
    truth(dir.path(), "go1.22.10-twins", "mapload.gz");
    let bytes = fs::read(recording).unwrap();
    fs::write(dir.path().join("cut.data"), &bytes[..1_000_000]).unwrap();
    mempath(dir.path())
        .args(["analyze", "cut.data", "--binary", "mapload", "--no-report"])
        .assert()
        .code(0)
        .stdout(contains("!! the file is damaged at byte "));
}

#[test]
fn colour_is_for_terminals_unless_asked_for() {
    let dir = TempDir::new().unwrap();
    let Some(_) = truth(dir.path(), "go1.22.10-twins", "perf.data.plain.zst") else {
        return;
    };
    let args = ["analyze", "perf.data.plain", "--no-report"];
    mempath(dir.path())
        .args(args)
        .assert()
        .code(0)
        .stdout(contains("\x1b[").not());
    let coloured = mempath(dir.path())
        .args(args)
        .args(["--color", "always"])
        .assert()
        .code(0);
    coloured.stdout(contains("\x1b[1;31m"));
    mempath(dir.path())
        .args(args)
        .arg("--quiet")
        .assert()
        .code(0)
        .stdout("")
        .stderr("");
}

#[test]
fn a_recording_without_memory_events_is_refused_with_the_command_to_run() {
    let dir = TempDir::new().unwrap();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/files");
    if !corpus.exists() && std::env::var_os("CI").is_none() {
        eprintln!("no corpus here: not tested");
        return;
    }
    let refused = |file: &str, why: &str| {
        fs::copy(corpus.join(file), dir.path().join("perf.data")).unwrap();
        let start =
            format!("mempath: no memory accesses in 'perf.data': {why}; record them with: ");
        mempath(dir.path())
            .args(["analyze", "perf.data"])
            .assert()
            .code(1)
            .stdout("")
            .stderr(starts_with(start).and(contains("perf mem record")));
        assert_eq!(files(dir.path()), ["perf.data"]);
    };
    refused(
        "perfparser__fork_static_gcc_perf.data.zstd.zlib",
        "`cycles` samples ADDR and DATA_SRC, but every data_src is N/A: `--call-graph dwarf` and `-d` set \
         both on events that have no data address",
    );
    refused(
        "perf_data_converter__perf.data.armv7-3.4",
        "`cycles` was recorded without ADDR (-d), WEIGHT (-W), DATA_SRC (-d): its samples have no data address",
    );
}

#[test]
fn a_program_that_is_not_go_is_analysed_without_maps() {
    let dir = TempDir::new().unwrap();
    let Some(_) = truth(dir.path(), "go1.22.10-twins", "perf.data.plain.zst") else {
        return;
    };
    // Any other ELF file of 64 bits: this test itself.
    fs::copy(std::env::current_exe().unwrap(), dir.path().join("mapload")).unwrap();
    mempath(dir.path())
        .args([
            "analyze",
            "perf.data.plain",
            "--binary",
            "mapload",
            "--force",
            "--no-report",
        ])
        .args(["--format", "json"])
        .assert()
        .code(0)
        .stdout(contains("\"maps\": []"))
        .stdout(contains("not a Go binary"));
}
