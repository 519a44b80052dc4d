//! `mempath record` on programs whose accesses are known, through hardware breakpoints and software
//! events: the same path as any PMU's.

mod common;

use assert_cmd::Command as Mempath;
use common::perf;
use common::target::{Running, Small, as_nobody, breakpoints, build, perf_reads, wait_for, waits};
use mempath::recording::{GapKind, Recording, read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const GO: &str = "1.27.3";

fn mempath() -> Mempath {
    Mempath::cargo_bin("mempath").unwrap()
}

/// A recorder in the background, and what it says at the end.
struct Recorder(Child);

impl Recorder {
    fn start(args: &[&str], output: &Path) -> Recorder {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("mempath"));
        command.arg("record").args(args).arg("-o").arg(output);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        Recorder(child)
    }

    /// Waits until breakpoints are armed: the file is made after the events are open, and they are enabled
    /// before the first wait.
    fn armed(self, output: &Path) -> Recorder {
        let begun = || std::fs::metadata(output).is_ok_and(|file| file.len() > 104);
        wait_for(|| begun() && waits(self.0.id()), "the recording begins");
        self
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for.
        unsafe { libc::kill(self.0.id() as i32, signal) };
    }

    fn said(self) -> String {
        let output = self.0.wait_with_output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The counting program, and the address of its words.
fn counts(dir: &Path, threads: &str, rounds: &str) -> (Running, u64) {
    let binary = build("tests/programs/counts.go", GO, dir);
    let mut program = Running::start(Command::new(binary).args([threads, rounds]));
    let line = program.line();
    let words = line.strip_prefix("words ").unwrap();
    (program, u64::from_str_radix(words, 16).unwrap())
}

/// Samples of each event, by name.
fn by_event(recording: &Recording) -> Vec<(String, u64)> {
    let events = recording.events.iter();
    events.map(|e| (e.name.clone(), e.samples)).collect()
}

#[test]
fn every_access_of_every_thread_is_recorded_and_perf_reads_the_file() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("perf.data");
    let (mut program, words) = counts(dir.path(), "4", "1000");
    let events = [
        format!("mem:{words:#x}/8:w"),
        format!("mem:{words:#x}/8:rw:u"),
        format!("mem:{:#x}/8:rw", words + 64),
    ];
    let args: Vec<&str> = events.iter().flat_map(|e| ["-e", e]).collect();
    let pid = program.pid();
    // Room for all of them, should the recorder not get to run.
    let more = ["-m", "2048", "-p", &pid];
    let recorder = Recorder::start(&[&args[..], &more].concat(), &output);
    let recorder = recorder.armed(&output);
    assert_eq!(program.ask("go"), "done");
    recorder.signal(libc::SIGINT);
    let said = recorder.said();
    assert!(said.contains("16000 samples, 0 lost"), "{said}");
    assert!(said.contains("(interrupted)"), "{said}");
    // It still works, and nothing is armed in it any more.
    assert_eq!(program.ask("go"), "done");

    let recording = read(&output).unwrap();
    assert!(recording.damage.is_empty(), "{:?}", recording.damage);
    let expected = [(&events[0], 4000), (&events[1], 8000), (&events[2], 4000)];
    let expected = expected.map(|(name, n)| (name.trim_end_matches(":u").to_owned(), n));
    let found = by_event(&recording);
    let found: Vec<_> = (found.into_iter())
        .map(|(name, n)| (name.trim_end_matches(":u").to_owned(), n))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(recording.meta.clock.as_deref(), Some("monotonic"));
    let mut tids: Vec<i32> = (0..recording.samples.len())
        .map(|i| recording.samples.thread.get(i).unwrap().1)
        .collect();
    tids.sort_unstable();
    tids.dedup();
    assert_eq!(tids.len(), 4);

    let path = output.to_str().unwrap();
    assert_eq!(
        perf(&["script", "-i", path, "-G", "-F", "ip"])
            .lines()
            .count(),
        16000
    );
    perf_reads(&output);
    let functions = perf(&["script", "-i", path, "-G", "-F", "ip,sym"]);
    assert!(functions.contains("main.store"), "perf finds the binary");
}

#[test]
fn a_started_program_is_recorded_from_its_first_instruction_with_its_children() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("perf.data");
    mempath()
        .args(["record", "-e", "page-faults:u", "-o"])
        .arg(&output)
        .args(["--", "sh", "-c", "/bin/true; exit 3"])
        .assert()
        .success()
        .stderr(predicates::str::contains("it ended with exit code 3"));
    let recording = read(&output).unwrap();
    let names: std::collections::BTreeSet<String> = (0..recording.samples.len())
        .map(|i| {
            let (_, tid) = recording.samples.thread.get(i).unwrap();
            recording
                .space
                .comm(tid, recording.samples.time.get(i).unwrap())
                .unwrap()
                .into_owned()
        })
        .collect();
    assert!(names.contains("sh") && names.contains("true"), "{names:?}");
    assert!(!names.contains("mempath"), "{names:?}");
}

#[test]
fn the_recording_of_a_killed_recorder_is_read_to_its_last_whole_round() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("perf.data");
    let (mut program, words) = counts(dir.path(), "2", "500");
    let event = format!("mem:{words:#x}/8:rw");
    let pid = program.pid();
    let recorder = Recorder::start(&["-e", &event, "-p", &pid], &output).armed(&output);
    assert_eq!(program.ask("go"), "done");
    // A round is written at least every 100 ms.
    std::thread::sleep(Duration::from_millis(500));
    recorder.signal(libc::SIGKILL);
    recorder.said();
    let recording = read(&output).unwrap();
    assert_eq!(by_event(&recording), [(event, 2000)]);
    assert!(recording.damage.is_empty(), "{:?}", recording.damage);
    assert_eq!(
        recording.meta.cpu_desc,
        mempath::record::machine::Machine::here().cpu_desc.into()
    );
    // Its breakpoints died with it.
    assert_eq!(program.ask("go"), "done");
    let path = output.to_str().unwrap();
    assert_eq!(
        perf(&["script", "-i", path, "-G", "-F", "ip"])
            .lines()
            .count(),
        2000
    );
}

#[test]
fn the_end_and_the_crash_of_the_target_end_the_recording() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("perf.data");
    let (mut program, words) = counts(dir.path(), "1", "10");
    let event = format!("mem:{words:#x}/8:w");
    let recorder = Recorder::start(&["-e", &event, "-p", &program.pid()], &output).armed(&output);
    assert_eq!(program.ask("go"), "done");
    program.stdin = None;
    program.child.wait().unwrap();
    let said = recorder.said();
    assert!(said.contains("10 samples, 0 lost"), "{said}");
    assert!(said.contains("(the process: it has ended)"), "{said}");
    mempath()
        .args(["record", "-e", "page-faults", "-o"])
        .arg(&output)
        .args(["--", "sh", "-c", "kill -SEGV $$"])
        .assert()
        .success()
        .stderr(predicates::str::contains("it was ended by signal 11"));
    assert!(read(&output).unwrap().damage.is_empty());
}

#[test]
fn a_full_disk_ends_the_recording_and_keeps_what_fits() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("small");
    let Some(_mount) = Small::mount(mount.clone()) else {
        return;
    };
    let output = mount.join("perf.data");
    let (mut program, words) = counts(dir.path(), "1", "100000");
    let event = format!("mem:{words:#x}/8:rw");
    let recorder = Recorder::start(&["-e", &event, "-p", &program.pid()], &output).armed(&output);
    assert_eq!(program.ask("go"), "done");
    let said = recorder.said();
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("bytes of records before are kept"), "{said}");
    let recording = read(&output).unwrap();
    assert!(recording.damage.is_empty(), "{:?}", recording.damage);
    let file = std::fs::metadata(&output).unwrap().len();
    assert!((500_000..=1 << 20).contains(&file), "{file}");
    assert!(
        recording.samples.len() > 1000,
        "{}",
        recording.samples.len()
    );
}

/// A file that must not grow beyond 300,000 bytes: SIGXFSZ would kill the recorder.
#[test]
fn a_limit_on_the_size_of_files_ends_the_recording_and_keeps_what_fits() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("perf.data");
    let (mut program, words) = counts(dir.path(), "1", "100000");
    let event = format!("mem:{words:#x}/8:rw");
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("mempath"));
    let command = command
        .args(["record", "-e", &event, "-p", &program.pid(), "-o"])
        .arg(&output)
        .stderr(Stdio::piped());
    let limit = || {
        let limit = libc::rlimit {
            rlim_cur: 300_000,
            rlim_max: 300_000,
        };
        // SAFETY: the struct lives for the call.
        match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the hook makes one system call.
    unsafe { command.pre_exec(limit) };
    let recorder = Recorder(command.spawn().unwrap()).armed(&output);
    assert_eq!(program.ask("go"), "done");
    let said = recorder.said();
    assert!(said.contains("File too large"), "{said}");
    let recording = read(&output).unwrap();
    assert!(recording.damage.is_empty(), "{:?}", recording.damage);
    assert!(std::fs::metadata(&output).unwrap().len() <= 300_000);
    assert!(recording.samples.len() > 100, "{}", recording.samples.len());
    // It still works, natively.
    assert_eq!(program.ask("go"), "done");
}

#[test]
fn records_that_find_no_room_are_counted() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("perf.data");
    let (mut program, words) = counts(dir.path(), "1", "20000");
    let event = format!("mem:{words:#x}/8:rw");
    let args = ["-e", &event, "-p", &program.pid(), "--mmap-pages", "1"];
    let recorder = Recorder::start(&args, &output).armed(&output);
    recorder.signal(libc::SIGSTOP);
    assert_eq!(program.ask("go"), "done");
    recorder.signal(libc::SIGCONT);
    std::thread::sleep(Duration::from_millis(300));
    recorder.signal(libc::SIGTERM);
    let said = recorder.said();
    assert!(said.contains("stopped by signal 15"), "{said}");
    let recording = read(&output).unwrap();
    let lost: u64 = recording
        .gaps
        .iter()
        .filter(|gap| matches!(gap.kind, GapKind::Lost | GapKind::LostSamples))
        .map(|gap| gap.lost)
        .sum();
    // Where no room is found the kernel counts records of threads that begin as well; Go begins few.
    let all = recording.samples.len() as u64 + lost;
    assert!((40000..40010).contains(&all), "{all}");
    assert!(said.contains(&format!("{lost} lost")), "{said}");
}

#[test]
fn what_cannot_be_recorded_is_refused_with_the_reason() {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let refused = |args: &[&str], reason: &str| {
        let output = dir.path().join("perf.data");
        mempath()
            .arg("record")
            .args(args)
            .arg("-o")
            .arg(&output)
            .args(["--", "/no/such/program"])
            .assert()
            .code(1)
            .stderr(predicates::str::contains(reason));
        assert!(!output.exists());
    };
    refused(&["-e", "page-faults"], "could not start '/no/such/program'");
    refused(&["-e", "mem:0x1001/8"], "0x1001 is no multiple of 8");
    let five: Vec<String> = (0..5)
        .map(|i| format!("mem:{:#x}/8:w", 4096 + 8 * i))
        .collect();
    let five: Vec<&str> = five.iter().flat_map(|e| ["-e", e]).collect();
    refused(&five, "ENOSPC");
    refused(&five, "all debug registers are taken");
    mempath()
        .args(["record", "-e", "page-faults", "-p", "2147483646"])
        .assert()
        .code(1)
        .stderr(predicates::str::contains("there is no process 2147483646"));
}

#[test]
fn another_users_process_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut command) = as_nobody(dir.path()) else {
        return;
    };
    let pid = std::process::id().to_string();
    let output = (command.args(["record", "-e", "page-faults", "-p", &pid]))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("belongs to user 0 and mempath runs as user 65534"),
        "{said}"
    );
}

#[test]
fn the_command_line_of_perf_is_printed_instead() {
    mempath()
        .args([
            "record",
            "--print-command",
            "-e",
            "mem:0xc000012340/8:rw",
            "-c",
            "1",
        ])
        .args(["--", "./a b", "-x"])
        .assert()
        .success()
        .stdout(
            "perf record -e mem:0xc000012340/8:rw -c 1 -d -W -T --sample-cpu --data-page-size \
             --phys-data --intr-regs -g --clockid mono -m 128 -o perf.data -- './a b' -x\n",
        );
    // Every fault is recorded unless a rate is given; perf has to be told.
    mempath()
        .args(["record", "--print-command", "-e", "page-faults", "-p", "1"])
        .assert()
        .success()
        .stdout(predicates::str::starts_with(
            "perf record -e page-faults -c 1 -d -W",
        ));
}
