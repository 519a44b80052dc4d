//! Binaries built by a Go of any version.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// One toolchain is fetched at a time: tests run side by side.
static FETCHING: Mutex<()> = Mutex::new(());

/// The GOROOT of a version, fetched if it must be.
pub fn goroot(version: &str) -> PathBuf {
    let _one = FETCHING.lock().unwrap_or_else(|e| e.into_inner());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/go-toolchain");
    let output = Command::new(script).arg(version).output();
    let output = output.expect("scripts/go-toolchain");
    assert!(output.status.success(), "{output:?}");
    PathBuf::from(String::from_utf8(output.stdout).expect("UTF-8").trim())
}

/// samples/src/probe, built into `dir` for linux on this architecture.
pub fn probe(version: &str, arch: &str, args: &[&str], dir: &Path) -> PathBuf {
    let root = goroot(version);
    let to = dir.join(format!("probe-{version}-{arch}"));
    let output = Command::new(root.join("bin/go"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/src/probe"))
        .envs([("GOOS", "linux"), ("GOARCH", arch), ("CGO_ENABLED", "0")])
        .envs([
            ("GOTOOLCHAIN", "local"),
            ("GOPROXY", "off"),
            ("GOFLAGS", "-mod=mod"),
        ])
        .env("GOROOT", &root)
        .args(["build", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&to)
        .args(args)
        .output()
        .expect("go build");
    assert!(output.status.success(), "{output:?}");
    to
}
