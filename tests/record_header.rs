//! The header of what `mempath record` writes, beside that of perf's own recording on this machine.

mod common;

use common::perf;
use std::path::Path;
use std::process::Command;

/// What perf prints of the machine: what changes from one recording to the next is left out.
fn of_machine(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let printed = perf(&["script", "--header-only", "-I", "-i", path]);
    let lines = printed.lines().filter(|line| {
        let same = [
            "# hostname",
            "# os release",
            "# arch",
            "# nrcpus",
            "# cpudesc",
        ];
        let same = same
            .iter()
            .chain(&["# cpuid", "# total memory", "# node", "# memory nodes"]);
        line.starts_with("#    ") || same.clone().any(|head| line.starts_with(head))
    });
    // The memory that is free is not the same a second later.
    let lines = lines.map(|line| match line.split_once(", free") {
        Some((before, _)) => before.to_owned(),
        None => line.to_owned(),
    });
    lines.collect()
}

#[test]
fn machine_and_nodes_are_told_as_perf_tells_them() {
    let dir = tempfile::tempdir().unwrap();
    let (theirs, ours) = (dir.path().join("theirs.data"), dir.path().join("ours.data"));
    let record = |program: &Path, args: &[&str], output: &Path| {
        let mut command = Command::new(program);
        command.args(["record", "-e", "page-faults"]).args(args);
        command.arg("-o").arg(output).args(["--", "true"]);
        command.output().unwrap().status.success()
    };
    if !record(Path::new("perf"), &[], &theirs) {
        eprintln!("perf records no page faults here");
        return;
    }
    let mempath = assert_cmd::cargo::cargo_bin("mempath");
    assert!(record(&mempath, &["-q"], &ours));
    let machine = of_machine(&theirs);
    assert!(
        machine
            .iter()
            .any(|line| line.starts_with("# node0 cpu list : "))
    );
    assert_eq!(of_machine(&ours), machine);
    let nodes = |path: &Path| {
        let mut nodes = mempath::recording::read(path).unwrap().meta.nodes;
        nodes.iter_mut().for_each(|node| node.free_kb = 0);
        nodes
    };
    assert!(!nodes(&ours).is_empty());
    assert_eq!(nodes(&ours), nodes(&theirs));
}
