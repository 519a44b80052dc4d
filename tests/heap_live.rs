//! A program that prints its maps, stopped for a snapshot: each of them must be found, with its
//! count, whether the binary has symbols or not.

use assert_cmd::Command as Mempath;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
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
    assert_eq!(printed.len(), 35);
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
        // `main.front.sessions`: a field, of a structure that only debug information describes.
        let field = name.matches('.').count() > 1;
        if !(name.is_empty() || field && flag == STRIPPED) {
            assert_eq!(map["type"], *go_type);
        }
        if !name.is_empty() && flag != STRIPPED {
            assert_eq!(map["name"], *name);
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

/// A process that may not be looked into: that of the test itself, which is root's, for nobody.
#[test]
fn a_process_of_another_user_is_refused_with_what_is_needed() {
    // SAFETY: it takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let mempath = dir.path().join("mempath");
    std::fs::copy(assert_cmd::cargo::cargo_bin("mempath"), &mempath).unwrap();
    let output = Command::new(&mempath)
        .uid(65534)
        .args(["snapshot", "-p", &std::process::id().to_string(), "-o"])
        .arg(dir.path().join("out"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    let needed = "reading exe: Permission denied (os error 13): run this as root (CAP_SYS_PTRACE) or as the user \
                  that the process runs as";
    assert!(errors.contains(needed), "{errors}");
    assert!(!dir.path().join("out").exists());
}
