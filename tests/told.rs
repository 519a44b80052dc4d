//! What a recording does not tell, through the whole of mempath: it is never shown as 0, nor as somebody
//! else's.

mod common;

use assert_cmd::Command;
use common::builder::*;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn mempath(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::cargo_bin("mempath").unwrap();
    let output = command.current_dir(dir).env("HOME", dir).args(args);
    let output = output.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn written(recording: &RecordingBuilder) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("perf.data"), recording.file()).unwrap();
    dir
}

/// `perf kvm`: a sample of a virtual machine has its addresses, which may be mapped in the process that
/// runs it, or be the kernel's here.
#[test]
fn samples_of_a_virtual_machine_are_told_as_such() {
    const KERNEL: u16 = 1;
    const USER: u16 = 2;
    const GUEST_KERNEL: u16 = 4;
    const GUEST_USER: u16 = 5;
    let mut recording = RecordingBuilder::new().cpuid("GenuineIntel,6,106,6");
    let loads = recording.event(EventSpec::loads());
    recording.mmap(1, 0x40_0000, 0x1000, "/usr/bin/qemu", 0);
    let modes = [
        (GUEST_USER, 0x40_0010),
        (GUEST_KERNEL, 0xffff_ffff_8100_0010),
        (KERNEL, 0xffff_ffff_8100_0010),
        (USER, 0x40_0010),
    ];
    for (cpumode, ip) in modes {
        let load = Sample {
            cpumode,
            ip,
            addr: 0xc000_0000,
            time: 10,
            ..Sample::load(40)
        };
        recording.sample(loads, load);
    }
    let dir = written(&recording);
    let dir = dir.path();
    fs::write(dir.join("kallsyms"), "ffffffff81000000 T startup_64\n").unwrap();
    let kallsyms = ["--kallsyms", "kallsyms"];
    let analyze = ["analyze", "perf.data", "--no-report", "--format", "json"];
    let json = mempath(dir, &[&analyze[..], &kallsyms].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    let reasons = json["summary"]["reasons"].as_array().unwrap().iter();
    let mut reasons: Vec<_> = reasons
        .map(|reason| (reason[0].as_str().unwrap(), reason[2].as_u64().unwrap()))
        .collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [("kernel", 1), ("no binary", 1), ("virtual machine", 2)]
    );
    let export = ["export", "accesses", "perf.data", "--format", "csv"];
    let rows = mempath(dir, &[&export[..], &kallsyms].concat());
    let rows: Vec<&str> = rows.lines().skip(1).collect();
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.contains(",virtual machine,"),
                row.contains("startup_64"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [(true, false), (true, false), (false, true), (false, false)]
    );
}

/// The mappings were damaged, or recorded before the part that is left: what else the samples tell is told.
#[test]
fn samples_without_mappings_are_analyzed_although_there_is_a_binary() {
    let mut recording = RecordingBuilder::new().cpuid("GenuineIntel,6,106,6");
    let loads = recording.event(EventSpec::loads());
    let load = Sample {
        ip: 0x40_0010,
        addr: 0xc000_0000,
        ..Sample::load(40)
    };
    recording.sample(loads, load);
    let dir = written(&recording);
    let binary = std::env::current_exe().unwrap();
    let binary = ["--binary", binary.to_str().unwrap()];
    let analyze = ["analyze", "perf.data", "--no-report", "--format", "json"];
    let json = mempath(dir.path(), &[&analyze[..], &binary].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    let reason = &json["summary"]["reasons"][0];
    assert_eq!((&reason[0], &reason[2]), (&"no mapping".into(), &1.into()));
    assert_eq!(json["summary"]["overall"]["llc_miss"], 1);
}

/// `|OP LOAD|LVL N/A|SNP N/A|TLB N/A|LCK N/A`
const ONLY_THE_OP: u64 = 0x0508_0022;

/// The text of the cells in a table's row.
fn cells(row: &str) -> Vec<&str> {
    let is_cell = |tag: &&str| tag.starts_with('d') || tag.starts_with("h ");
    let cells = row.split("<t").filter(is_cell);
    cells
        .map(|cell| {
            let (start, _) = cell.split_once("</").unwrap();
            start.rsplit('>').next().unwrap()
        })
        .collect()
}

/// A load of unknown level and latency is neither a hit nor a miss nor fast.
#[test]
fn what_the_samples_do_not_tell_is_never_zero() {
    let mut recording = RecordingBuilder::new().cpuid("GenuineIntel,6,106,6");
    let loads = recording.event(EventSpec::loads());
    recording.mmap(1, 0x40_0000, 0x1000, "/bin/a", 0);
    for time in 0..200 {
        let load = Sample {
            ip: 0x40_0010,
            addr: 0xc000_0000,
            time,
            data_src: ONLY_THE_OP,
            ..Sample::load(0)
        };
        recording.sample(loads, load);
    }
    let dir = written(&recording);
    let dir = dir.path();
    let json = mempath(dir, &["analyze", "perf.data", "--format", "json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let overall = json["summary"]["overall"].as_object().unwrap();
    let told = overall.iter().filter(|(_, value)| !value.is_null());
    let told: Vec<String> = told
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let counts = [
        "latency_n 0",
        "level_unknown 200",
        "loads 200",
        "samples 200",
        "stores 0",
    ];
    assert_eq!(told, counts);
    let page = fs::read_to_string(dir.join("mempath-report.html")).unwrap();
    let (_, table) = page.split_once("id=\"functions-table\"").unwrap();
    let (head, rows) = table.split_once("</thead>").unwrap();
    let (row, _) = rows.split_once("</tr>").unwrap();
    let table: Vec<_> = cells(head).into_iter().zip(cells(row)).collect();
    assert_eq!(
        table[3..],
        [
            ("samples", "200"),
            ("loads", "200"),
            ("stores", "0"),
            ("latency share", "?"),
            ("p50", "?"),
            ("p95", "?"),
            ("L1 miss", "?"),
            ("LLC miss", "?"),
        ]
    );
    let rows = mempath(dir, &["export", "accesses", "perf.data", "--format", "csv"]);
    let mut rows = rows.lines().map(|row| row.split(',').collect::<Vec<_>>());
    let columns = rows.next().unwrap();
    for row in rows {
        // The name of the event has a comma.
        let cell = |name: &str| row[1 + columns.iter().position(|own| *own == name).unwrap()];
        assert_eq!((cell("level"), cell("latency_cycles")), ("", ""));
    }
}

/// An event leaves out loads below its ldlat: whatever is shown of loads says so where it stands.
#[test]
fn the_threshold_stands_beside_every_rate() {
    const OF_LEAST: &str = "loads of at least 30 cycles";
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/modelled-go1.22-twins");
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for file in ["perf.data", "mapload.gz"] {
        fs::copy(sample.join(file), dir.join(file)).unwrap();
    }
    let text = mempath(dir, &["analyze", "perf.data"]);
    let rates = |line: &&str| line.contains("L1 miss") && line.contains("samples");
    let head = text.lines().find(rates).unwrap();
    assert!(head.contains(OF_LEAST), "{head}");
    let markdown = mempath(
        dir,
        &[
            "analyze",
            "perf.data",
            "--no-report",
            "--format",
            "markdown",
        ],
    );
    let heads: Vec<_> = markdown.lines().filter(rates).collect();
    assert_eq!(heads.len(), 2);
    assert!(
        heads.iter().all(|head| head.contains(OF_LEAST)),
        "{heads:?}"
    );
    let page = fs::read_to_string(dir.join("mempath-report.html")).unwrap();
    let views = page.split("<section id=\"").skip(1);
    let views = views.filter(|view| view.contains(" class=\"view\""));
    let without: Vec<_> = views
        .filter(|view| !view.contains(OF_LEAST))
        .map(|view| view.split('"').next().unwrap())
        .collect();
    // The order of accesses, operations by their ends, funnels: no rate of loads.
    assert_eq!(
        without,
        ["order", "concurrent", "brackets", "coverage", "method"]
    );
}
