//! Chains out of copies of the stack against the kernel's own by frame pointers: two recordings of the
//! same accesses, made at the same time on this machine.

mod common;

use common::target::{Running, breakpoints, build, wait_for};
use mempath::program::Program;
use mempath::recording::{CONTEXT_USER, Recording, read};
use mempath::unwind::unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// The buffers hold more than all samples take together: none is lost.
fn record(dir: &Path, pid: &str, words: &[&str; 2], mode: &str) -> (Child, PathBuf) {
    let output = dir.join(format!("{mode}.data"));
    let mut command = Command::new("perf");
    command.args([
        "record",
        "-q",
        "-m",
        "2048",
        "-c",
        "1",
        "-d",
        "--call-graph",
        mode,
    ]);
    for word in words {
        command.arg("-e").arg(format!("mem:{word}/8:rw"));
    }
    command.args(["-p", pid, "-o"]).arg(&output);
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    // perf writes the header when all events are open.
    wait_for(
        || std::fs::metadata(&output).is_ok_and(|file| file.len() > 0),
        "perf",
    );
    std::thread::sleep(std::time::Duration::from_millis(500));
    (child, output)
}

/// Event and user ips of each sample, innermost first, in the order of their times: a thread that moves
/// to another CPU goes on in another buffer.
fn chains(recording: &Recording) -> Vec<(u16, Vec<u64>)> {
    let samples = &recording.samples;
    let chain = |i| {
        let chain = samples.chains.get(samples.chain.get(i).unwrap());
        let user = chain.iter().skip_while(|ip| **ip != CONTEXT_USER).skip(1);
        (samples.event.get(i).unwrap(), user.copied().collect())
    };
    let mut order: Vec<usize> = (0..samples.len()).collect();
    order.sort_by_key(|&i| samples.time.get(i));
    order.into_iter().map(chain).collect()
}

fn same_as_frame_pointers(version: &str) {
    if !breakpoints() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = build("tests/programs/keyed.go", version, dir.path());
    let mut target = Running::start(&mut Command::new(&binary));
    let line = target.line();
    let words: Vec<&str> = line.split_whitespace().collect();
    let words: &[&str; 2] = words.as_slice().try_into().unwrap();
    let recorders = ["fp", "dwarf,2048"].map(|mode| record(dir.path(), &target.pid(), words, mode));
    assert_eq!(target.ask(""), "19900 0");
    drop(target);
    let [of_frames, of_stacks] = recorders.map(|(mut child, output)| {
        assert!(child.wait().unwrap().success());
        read(&output).unwrap()
    });
    let mut of_stacks = of_stacks;
    let program = Arc::new(Program::open(&binary).unwrap());
    let images = of_stacks.space.images.iter();
    let is_binary = |path: &str| Path::new(path) == binary;
    let programs: Vec<_> = images
        .map(|image| is_binary(&image.path).then(|| Arc::clone(&program)))
        .collect();
    assert!(chains(&of_stacks).iter().all(|(_, ips)| ips.len() < 2));
    unwind(&mut of_stacks, &programs);
    let name = |ip: u64| program.function_at(ip).map_or("", |f| f.name.as_str());
    let (expected, found) = (chains(&of_frames), chains(&of_stacks));
    assert_eq!(expected.len(), found.len());
    let mut hidden = 0;
    for ((event, by_frames), (other, by_stack)) in expected.iter().zip(&found) {
        assert_eq!(event, other);
        let mut seen = by_stack.clone();
        if by_stack.len() == by_frames.len() + 1 {
            // The caller of a function without a frame is not in a chain of frame pointers.
            seen.remove(1);
            hidden += 1;
        }
        let names: Vec<&str> = by_stack.iter().map(|ip| name(*ip)).collect();
        assert_eq!(&seen, by_frames, "{names:?}");
    }
    // Each of 200 assigns, accesses and deletes reads the header and compares the key.
    assert!(found.len() >= 1200, "{}", found.len());
    assert!(hidden >= 600, "{hidden} of {}", found.len());
}

#[test]
fn chains_of_go_1_22() {
    same_as_frame_pointers("1.22.10");
}

#[test]
fn chains_of_go_1_27() {
    same_as_frame_pointers("1.27.3");
}
