//! `mempath doctor` on this machine and on recordings whose shortcomings are known.

mod common;

use assert_cmd::Command as Mempath;
use common::corpus;
use common::target::breakpoints;
use serde_json::Value;
use std::os::unix::process::CommandExt;
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
    assert_eq!(names, ["record", "watch", "step"]);
    let works = engines.iter().find(|e| e["works"] == true);
    assert_eq!(
        diagnosis["engine"],
        works.map_or(Value::Null, |e| e["engine"].clone())
    );
    if breakpoints() {
        assert_eq!(engines[1]["works"], true);
    }
}

#[test]
fn another_user_is_told_what_root_would_give() {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("only root can become another user: nothing is tested");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("mempath");
    std::fs::copy(assert_cmd::cargo::cargo_bin("mempath"), &copy).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let output = std::process::Command::new(&copy)
        .args(["doctor", "--format", "json"])
        .current_dir("/tmp")
        .uid(65534)
        .gid(65534)
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
