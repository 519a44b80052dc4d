//! Programs to record, and the right to record them.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A Go program of tests/, built into `dir`.
pub fn build(source: &str, version: &str, dir: &Path) -> PathBuf {
    let to = dir.join(Path::new(source).file_stem().expect("a name"));
    let root = super::go::goroot(version);
    let output = Command::new(root.join("bin/go"))
        .current_dir(dir)
        .envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")])
        .envs([("GOPROXY", "off"), ("GO111MODULE", "off")])
        .env("GOROOT", &root)
        .args(["build", "-o"])
        .arg(&to)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(source))
        .output()
        .expect("go build");
    assert!(output.status.success(), "{output:?}");
    to
}

/// A program that is told what to do line by line, and ended when this is dropped.
pub struct Running {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: BufReader<ChildStdout>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = (command.stdin(Stdio::piped()).stdout(Stdio::piped()))
            .spawn()
            .expect("a program that starts");
        Running {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().expect("its output")),
            child,
        }
    }

    /// The next line that it prints, without its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// Gives it a line and returns its answer.
    pub fn ask(&mut self, line: &str) -> String {
        let stdin = self.stdin.as_mut().expect("standard input");
        writeln!(stdin, "{line}").expect("a program that reads");
        self.line()
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this kernel lets us set hardware breakpoints. In CI it must.
pub fn breakpoints() -> bool {
    use mempath::record::counter::Counter;
    use mempath::record::event::{Event, Fields};
    static WORD: u64 = 0;
    let addr = (&raw const WORD) as u64;
    let event = Event::breakpoint(addr, 8, 2, Fields::default());
    match Counter::open(&event.attr, 0, -1, None) {
        Ok(_) => true,
        Err(error) => {
            assert_ne!(
                std::env::var("CI").as_deref(),
                Ok("true"),
                "perf_event_open of a hardware breakpoint: {error}; run the tests as root on a \
                 machine whose kernel has perf events"
            );
            eprintln!("perf_event_open of a hardware breakpoint: {error}; nothing is tested");
            false
        }
    }
}
