//! Programs to record, and the right to record them.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A Go program of tests/, built into `dir`.
pub fn build(source: &str, version: &str, dir: &Path) -> PathBuf {
    build_with(source, version, &[], dir)
}

/// The same with more in its environment: `GOARCH`.
pub fn build_with(source: &str, version: &str, env: &[(&str, &str)], dir: &Path) -> PathBuf {
    let to = dir.join(Path::new(source).file_stem().expect("a name"));
    let root = super::go::goroot(version);
    let output = Command::new(root.join("bin/go"))
        .current_dir(dir)
        .envs([("CGO_ENABLED", "0"), ("GOTOOLCHAIN", "local")])
        .envs([("GOPROXY", "off"), ("GO111MODULE", "off")])
        .env("GOROOT", &root)
        .envs(env.iter().copied())
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

/// A program that `mempath step` starts and steps all the time.
pub fn stepped(binary: &Path, output: &Path) -> Running {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("mempath"));
    command
        .args(["step", "--window", "10m", "-o"])
        .arg(output)
        .arg("--")
        .arg(binary)
        .stderr(Stdio::piped());
    let mut stepped = Running::start(&mut command);
    assert!(stepped.line().starts_with("ready "));
    stepped
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

/// Waits, half a minute at most.
pub fn wait_for(mut condition: impl FnMut() -> bool, what: &str) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{what}: not in 30 seconds");
}

/// Whether a recorder waits for its rings, which it does when all that it has to arm is armed: it is in
/// `poll`. `true` where the kernel does not tell.
pub fn waits(recorder: u32) -> bool {
    // poll on x86-64, ppoll there and elsewhere.
    let calls = ["7 ", "271 ", "73 "];
    let call = std::fs::read_to_string(format!("/proc/{recorder}/syscall"));
    call.map_or(true, |call| calls.iter().any(|poll| call.starts_with(poll)))
}

/// perf reads a recording in every way, and has nothing to say of it on standard error.
pub fn perf_reads(recording: &Path) {
    let path = recording.to_str().expect("a plain path");
    for args in [
        &["script", "-i", path][..],
        &["evlist", "-v", "-i", path],
        &["report", "--stdio", "-i", path],
        &["mem", "report", "--stdio", "-i", path],
        &["c2c", "report", "--stdio", "-i", path],
    ] {
        let output = Command::new("perf").args(args).output().expect("perf");
        assert!(output.status.success(), "perf {args:?}: {output:?}");
        let said = String::from_utf8(output.stderr).expect("text");
        // Not about the recording: a slow addr2line.
        let complaint = |line: &&str| !line.is_empty() && !line.contains("addr2line");
        let said: Vec<&str> = said.lines().filter(complaint).collect();
        assert_eq!(said, [""; 0], "perf {args:?}");
    }
}

/// A file system of 1 MB, which is full soon; `None` where it cannot be mounted, which in CI it must.
pub struct Small(PathBuf);

impl Small {
    pub fn mount(at: PathBuf) -> Option<Small> {
        std::fs::create_dir(&at).expect("a new folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "none"])
            .arg(&at)
            .status()
            .expect("mount");
        if mounted.success() {
            return Some(Small(at));
        }
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "mount a tmpfs: run as root"
        );
        eprintln!("no file system of 1 MB can be mounted: nothing is tested");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// mempath where another user than root may run it, and the command that has it do so.
pub fn as_nobody(dir: &Path) -> Option<Command> {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("only root can become another user: nothing is tested");
        return None;
    }
    let copy = dir.join("mempath");
    std::fs::copy(assert_cmd::cargo::cargo_bin("mempath"), &copy).expect("a copy");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir, open).expect("its own folder");
    let mut command = Command::new(&copy);
    command.current_dir("/tmp").uid(65534).gid(65534);
    Some(command)
}

/// Whether this kernel lets us trace. In CI it must.
pub fn tracing() -> bool {
    let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
    // SAFETY: seizing a child of ours; it is killed below.
    let result = unsafe { libc::ptrace(libc::PTRACE_SEIZE, child.id(), 0, 0) };
    let error = std::io::Error::last_os_error();
    let _ = child.kill();
    let _ = child.wait();
    if result == 0 {
        return true;
    }
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "ptrace of a child: {error}; run the tests where it is allowed"
    );
    eprintln!("ptrace of a child: {error}; nothing is tested");
    false
}
