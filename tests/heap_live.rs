//! A program that prints its maps, stopped for a snapshot: each of them must be found, with its
//! count, whether the binary has symbols or not.

use assert_cmd::Command as Mempath;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn go(version: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/go-toolchain");
    let output = Command::new(script).arg(version).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()).join("bin/go")
}

fn build(version: &str, flag: &str, to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/heap/main.go");
    let output = Command::new(go(version))
        .current_dir(to.parent().unwrap())
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .arg("build")
        .arg(flag)
        .arg("-o")
        .args([to, &source])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program and its lines `name|type|address|count`.
fn run(binary: &Path) -> (Running, Vec<[String; 4]>) {
    let mut child = Command::new(binary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let lines = out.lines().map(Result::unwrap);
    let printed = lines
        .take_while(|line| line != "ready")
        .map(|line| {
            let fields: Vec<String> = line.split('|').map(str::to_owned).collect();
            fields.try_into().unwrap()
        })
        .collect();
    (Running(child), printed)
}

const STRIPPED: &str = "-ldflags=-s -w";
const PIE: &str = "-buildmode=pie";

fn check(version: &str, flag: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (binary, core) = (dir.path().join("app"), dir.path().join("app.heap"));
    build(version, flag, &binary);
    let (program, printed) = run(&binary);
    assert_eq!(printed.len(), 29);
    Mempath::cargo_bin("mempath")
        .unwrap()
        .args(["snapshot", "-p", &program.0.id().to_string(), "-o"])
        .arg(&core)
        .assert()
        .success()
        .stdout(predicates::str::contains("stood still for"));
    let output = Mempath::cargo_bin("mempath")
        .unwrap()
        .arg("maps")
        .arg(&core)
        .arg("--binary")
        .arg(&binary)
        .args(["--format", "json"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = found["maps"].as_array().unwrap();
    for [name, go_type, header, count] in printed {
        let map = (found.iter())
            .find(|map| map["header"] == format!("0x{header}"))
            .unwrap_or_else(|| panic!("{version}: {name} {go_type} at {header} was not found"));
        assert_eq!(map["count"].to_string(), count, "{version}: {go_type}");
        let fits = (map["fitting"].as_array().unwrap())
            .iter()
            .any(|fitting| *fitting == *go_type);
        assert!(fits, "{version}: {go_type} is none of {}", map["fitting"]);
        if !name.is_empty() {
            assert_eq!(map["type"], *go_type);
            if flag != STRIPPED {
                assert_eq!(map["name"], *name);
            }
        }
    }
}

#[test]
fn classic_maps_of_a_running_program() {
    for flag in ["-ldflags=", STRIPPED, PIE] {
        check("1.22.10", flag);
    }
}

#[test]
fn swiss_maps_of_a_running_program() {
    for flag in ["-ldflags=", STRIPPED, PIE] {
        check("1.27.3", flag);
    }
}
