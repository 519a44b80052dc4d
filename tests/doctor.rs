//! `mempath doctor` on this machine and on recordings whose shortcomings are known.

mod common;

use assert_cmd::Command as Mempath;
use common::corpus;
use common::target::breakpoints;
use serde_json::Value;
use std::path::Path;

fn json(args: &[&str]) -> Value {
    let output = Mempath::cargo_bin("mempath")
        .unwrap()
        .arg("doctor")
        .args(args)
        .args(["--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn finding<'a>(diagnosis: &'a Value, id: &str) -> &'a Value {
    let findings = diagnosis["findings"].as_array().unwrap();
    findings.iter().find(|f| f["id"] == id).unwrap()
}

#[test]
fn the_machine_is_as_the_kernel_describes_it() {
    let diagnosis = json(&[]);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(diagnosis["kernel"], release.trim());
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
    if let Ok(paranoid) = paranoid {
        let value = &finding(&diagnosis, "perf_event_paranoid")["value"];
        assert_eq!(*value, paranoid.trim());
    }
    let devices = Path::new("/sys/bus/event_source/devices");
    let pmus = finding(&diagnosis, "pmu")["value"]
        .as_str()
        .unwrap()
        .to_owned();
    for entry in std::fs::read_dir(devices).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        assert!(pmus.contains(&name), "{name} is not in {pmus}");
    }
}

#[test]
fn the_engine_it_takes_is_the_first_that_works() {
    let diagnosis = json(&[]);
    let engines = diagnosis["engines"].as_array().unwrap();
    let names: Vec<&str> = engines
        .iter()
        .map(|e| e["engine"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["record", "step", "watch"]);
    let works = engines.iter().find(|e| e["works"] == true);
    assert_eq!(
        diagnosis["engine"],
        works.map_or(Value::Null, |e| e["engine"].clone())
    );
    if breakpoints() {
        assert_eq!(engines[2]["works"], true);
    }
}

#[test]
fn another_user_is_told_what_root_would_give() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut command) = common::target::as_nobody(dir.path()) else {
        return;
    };
    let output = (command.args(["doctor", "--format", "json"]))
        .output()
        .unwrap();
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    let capabilities = finding(&diagnosis, "capabilities");
    assert_eq!(
        (&capabilities["value"], &capabilities["state"]),
        (&"none".into(), &"limited".into())
    );
    assert!(
        capabilities["help"]
            .as_str()
            .unwrap()
            .contains("run mempath as root")
    );
}

#[test]
fn a_recording_is_told_what_it_lacks_and_how_to_make_a_better_one() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/classic-go1.22/perf.data");
    let checkup = json(&[sample.to_str().unwrap()]);
    let lacks = checkup["lacks"].as_array().unwrap();
    let ids: Vec<&str> = lacks.iter().map(|l| l["id"].as_str().unwrap()).collect();
    assert_eq!(ids[..4], ["level", "latency", "contention", "tlb"]);
    assert!(
        lacks[0]["remedy"]
            .as_str()
            .unwrap()
            .contains("mempath step")
    );
    let answered = checkup["answered"].as_array().unwrap();
    assert!(answered.contains(&"which map, bucket and byte were accessed".into()));
}

#[test]
fn a_modelled_recording_says_so() {
    let sample = "samples/modelled-go1.22-twins/perf.data";
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join(sample);
    let checkup = json(&[sample.to_str().unwrap()]);
    assert!(
        checkup["modelled"]
            .as_str()
            .unwrap()
            .starts_with("modelled: ")
    );
}

#[test]
fn a_decoy_is_no_memory_recording() {
    let Some(path) = corpus("ubench__perf-mem_intel-e5-2650v2_perf-mem-4986") else {
        return;
    };
    let checkup = json(&[path.to_str().unwrap()]);
    let lacks = checkup["lacks"].as_array().unwrap();
    let ids: Vec<&str> = lacks.iter().map(|l| l["id"].as_str().unwrap()).collect();
    assert!(
        ids.contains(&"registers") && !ids.contains(&"level"),
        "{ids:?}"
    );
}

/// What is open follows from the sample_type, config1 and the lines that perf 6.1 prints of a file.
#[test]
fn what_recordings_of_the_corpus_lack_is_what_perf_says_of_them() {
    let Some(shared) = common::shared() else {
        return;
    };
    let mut checked = 0;
    for entry in std::fs::read_dir(shared.join("corpus/perf61")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = file.strip_suffix(".evlist.txt") else {
            continue;
        };
        let evlist = std::fs::read_to_string(&path).unwrap();
        // The event that samples memory is the first.
        let attr = evlist.lines().next().unwrap();
        let field = |name: &str| {
            let (_, after) = attr.split_once(&format!("{name}: ")).unwrap();
            after
                .split(',')
                .next()
                .unwrap()
                .trim_end_matches(" }")
                .to_owned()
        };
        let sample_type = field("sample_type");
        let sampled: Vec<&str> = sample_type.split('|').collect();
        let script = std::fs::read_to_string(path.with_file_name(format!("{name}.script.txt")));
        let recording = corpus(name).unwrap();
        let checkup = json(&[recording.to_str().unwrap()]);
        assert_eq!(
            checkup["samples"],
            script.unwrap().lines().count(),
            "{name}"
        );
        assert_eq!(checkup["accesses"], checkup["samples"], "{name}");
        let lacks = checkup["lacks"].as_array().unwrap();
        let ids: Vec<&str> = lacks.iter().map(|l| l["id"].as_str().unwrap()).collect();
        // All five sample loads alone (0x1cd), above a latency.
        assert_eq!(field("config"), "0x1cd");
        let mut expected = vec!["stores"];
        for (bit, id) in [
            ("REGS_INTR", "registers"),
            ("CALLCHAIN", "callers"),
            ("TIME", "order"),
        ] {
            if !sampled.contains(&bit) {
                expected.push(id);
            }
        }
        expected.push("fast_loads");
        assert_eq!(ids, expected, "{name}");
        let ldlat = u64::from_str_radix(field("config1 }").trim_start_matches("0x"), 16).unwrap();
        let fast = lacks.last().unwrap();
        let because = format!("loads faster than {ldlat} cycles (ldlat) were not recorded");
        assert_eq!(fast["because"], because, "{name}");
        let remedy = match ldlat {
            3 => "nothing: fewer than 3 cycles are not asked of PEBS",
            _ => "mempath record --ldlat 3 (perf: cpu/mem-loads,ldlat=3/P)",
        };
        assert_eq!(fast["remedy"], remedy, "{name}");
        checked += 1;
    }
    assert_eq!(checked, 5);
}

#[test]
fn the_hypervisor_is_the_one_that_lscpu_names() {
    let output = std::process::Command::new("lscpu").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let vendor = text
        .lines()
        .find_map(|line| line.strip_prefix("Hypervisor vendor:"));
    let vendor = vendor.map_or(Value::Null, |name| name.trim().into());
    assert_eq!(json(&[])["hypervisor"], vendor);
}

/// A machine whose sysfs says what PEBS, IBS and SPE can.
#[test]
fn the_abilities_of_a_pmu_are_those_of_its_sysfs() {
    use mempath::record::{doctor::diagnose, limits::Limits, machine::Machine, sysfs};
    let devices = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("cpu/type", "4"),
        ("cpu/caps/max_precise", "3"),
        ("cpu/format/ldlat", "config1:0-15"),
        ("cpu/events/mem-loads", "event=0xcd,umask=0x1,ldlat=3"),
        ("ibs_op/type", "11"),
        ("ibs_op/caps/zen4_ibs_extensions", "1"),
        ("arm_spe_0/type", "9"),
        ("arm_spe_0/caps/min_interval", "1024"),
        ("software/type", "1"),
    ] {
        let path = devices.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let machine = Machine {
        pmus: sysfs::pmus(devices.path()),
        ..Machine::here()
    };
    let diagnosis = diagnose(&machine, &Limits::here());
    let pmu = diagnosis.findings.iter().find(|f| f.id == "pmu").unwrap();
    assert_eq!(pmu.value, "arm_spe_0, cpu, ibs_op, software");
    assert_eq!(
        pmu.means,
        "these sample memory accesses: arm_spe_0 (min_interval=1024), \
         cpu (max_precise=3, ldlat in config1:0-15), ibs_op (zen4_ibs_extensions=1)"
    );
}

/// What a user without rights is told of a made machine: of a finding its value, its state, and the
/// setting that helps.
#[test]
fn each_limit_of_the_kernel_is_told_with_what_lifts_it() {
    use mempath::record::doctor::{State, diagnose};
    use mempath::record::{limits::Limits, machine::Machine};
    const USER: Limits = Limits {
        capabilities: 0,
        paranoid: Some(1),
        opens: false,
        ptrace_scope: Some(0),
        mlock_kib: 516,
        kptr_restrict: String::new(),
        kernel_hidden: false,
        clock: String::new(),
        watchdog: false,
    };
    let told = |id: &str, limits: &Limits| {
        let machine = Machine {
            hypervisor: Some("KVM".to_owned()),
            ..Machine::default()
        };
        let diagnosis = diagnose(&machine, limits);
        let found = diagnosis.findings.into_iter().find(|f| f.id == id).unwrap();
        (found.value, found.state, found.help.unwrap_or_default())
    };
    let is = |value: &str, state, help: &str| (value.to_owned(), state, help.to_owned());
    // capability.h: 14 IPC_LOCK, 19 SYS_PTRACE, 21 SYS_ADMIN, 38 PERFMON.
    let with = |caps: &[u32], limits: Limits| Limits {
        capabilities: caps.iter().fold(0, |all, cap| all | 1 << cap),
        ..limits
    };

    // 512 KiB of ring and a page of its head for each CPU.
    let mlock = |mlock_kib| Limits { mlock_kib, ..USER };
    let id = "perf_event_mlock_kb";
    let help = "sysctl kernel.perf_event_mlock_kb=516";
    assert_eq!(told(id, &mlock(64)), is("64", State::Limited, help));
    assert_eq!(told(id, &mlock(515)), is("515", State::Limited, help));
    assert_eq!(told(id, &mlock(516)), is("516", State::Fine, ""));
    assert_eq!(told(id, &with(&[14], mlock(64))), is("64", State::Fine, ""));

    let clock = |name: &str| Limits {
        clock: name.to_owned(),
        ..USER
    };
    for fast in ["tsc", "arch_sys_counter", "kvm-clock"] {
        assert_eq!(told("clock", &clock(fast)), is(fast, State::Fine, ""));
    }
    for slow in ["hpet", "acpi_pm"] {
        assert_eq!(told("clock", &clock(slow)), is(slow, State::Limited, ""));
    }

    let paranoid = |paranoid| Limits { paranoid, ..USER };
    let id = "perf_event_paranoid";
    let root = "sysctl kernel.perf_event_paranoid=2, or run mempath as root";
    assert_eq!(told(id, &paranoid(Some(4))), is("4", State::Missing, root));
    assert_eq!(told(id, &paranoid(Some(2))).1, State::Limited);
    assert_eq!(told(id, &paranoid(Some(1))), is("1", State::Fine, ""));
    assert_eq!(told(id, &paranoid(None)).0, "absent");
    // `perf_paranoid_kernel`, kernel/events/core.c: mainline knows nothing above 2.
    let mainline = Limits {
        opens: true,
        ..paranoid(Some(4))
    };
    assert_eq!(told(id, &mainline).1, State::Limited);
    for capability in [21, 38] {
        let able = with(&[capability], paranoid(Some(4)));
        assert_eq!(told(id, &able), is("4", State::Fine, ""));
    }

    let scope = |scope| Limits {
        ptrace_scope: Some(scope),
        ..USER
    };
    let id = "ptrace_scope";
    let help = "sysctl kernel.yama.ptrace_scope=0, or run mempath as root";
    assert_eq!(told(id, &scope(0)), is("0", State::Fine, ""));
    assert_eq!(told(id, &scope(1)), is("1", State::Limited, help));
    assert_eq!(told(id, &scope(2)).1, State::Missing);
    assert_eq!(told(id, &with(&[19], scope(2))), is("2", State::Fine, ""));
    assert_eq!(told(id, &with(&[19], scope(3))).1, State::Missing);

    // A container without capabilities, and root.
    let help = "run mempath as root, or: setcap cap_perfmon,cap_sys_ptrace,cap_ipc_lock+ep mempath";
    let id = "capabilities";
    assert_eq!(told(id, &USER), is("none", State::Limited, help));
    let all = "CAP_PERFMON, CAP_SYS_PTRACE, CAP_IPC_LOCK, CAP_SYS_ADMIN";
    let root = with(&[14, 19, 21, 38], USER);
    assert_eq!(told(id, &root), is(all, State::Fine, ""));

    let watchdog = Limits {
        watchdog: true,
        ..USER
    };
    let help = "sysctl kernel.nmi_watchdog=0";
    assert_eq!(
        told("cpus", &watchdog),
        is("0 of 0 online", State::Limited, help)
    );
    let hidden = Limits {
        kernel_hidden: true,
        kptr_restrict: "2".to_owned(),
        ..USER
    };
    let help = "sysctl kernel.kptr_restrict=0, or run mempath as root";
    assert_eq!(
        told("kptr_restrict", &hidden),
        is("2", State::Limited, help)
    );
    // `kallsyms_show_value`, kernel/ksyms_common.c: with 0 the level of perf events decides.
    let hidden = Limits {
        kptr_restrict: "0".to_owned(),
        ..hidden
    };
    let help = "sysctl kernel.perf_event_paranoid=1, or run mempath as root";
    assert_eq!(
        told("kptr_restrict", &hidden),
        is("0", State::Limited, help)
    );

    // A virtual machine without a PMU.
    let (value, state, help) = told("pmu", &USER);
    assert_eq!((value.as_str(), state), ("", State::Missing));
    assert!(help.starts_with("rent a bare-metal machine"), "{help}");
}
