//! `--redact`, `--open`, `-o -`, and the same bytes from any number of threads.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("samples")
        .join(name)
}

fn analyze(sample_name: &str, binary: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mempath"));
    let dir = sample(sample_name);
    command.arg("analyze").arg(dir.join("perf.data"));
    command.arg("--binary").arg(dir.join(binary));
    command
}

fn done(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
fn any_number_of_threads_writes_the_same_bytes() {
    for (name, binary) in [
        ("modelled-go1.22-twins", "mapload.gz"),
        ("swiss-go1.27", "probe-go1.27.3.gz"),
    ] {
        let page = |threads: &str| {
            let mut command = analyze(name, binary);
            command.args(["-q", "-o", "-"]);
            command.env("RAYON_NUM_THREADS", threads);
            command.env("POLARS_MAX_THREADS", threads);
            done(command).stdout
        };
        let one = page("1");
        for threads in ["2", "5", "7"] {
            let more = page(threads);
            assert_eq!(one.len(), more.len(), "{name}, {threads}");
            assert!(one == more, "{name}, {threads}");
        }
        assert!(one.starts_with(b"<!DOCTYPE html>"));
    }
}

/// What the modelled sample's program, its machine and its heap are called.
const SECRETS: &[&str] = &[
    "main.session",
    "main.sessions",
    "main.point24",
    "main.points",
    "main.blob200",
    "main.blobs",
    "main.go",
    "mapload",
    "truthbox",
    "/srv/",
    "gcwin",
    "fe739759ffdd2519",
    "0xc00006a0f0",
    "modelled-go1.22-twins",
];

#[test]
fn a_redacted_report_holds_no_name_of_the_program() {
    let plain = |format: &str| {
        let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
        command.args(["--no-report", "--format", format]);
        String::from_utf8(done(command).stdout).unwrap()
    };
    let redacted = |format: &str| {
        let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
        command.args(["--redact", "--no-report", "--format", format]);
        String::from_utf8(done(command).stdout).unwrap()
    };
    for format in ["text", "json", "markdown"] {
        let (before, after) = (plain(format), redacted(format));
        assert!(before.contains("main.session"));
        for secret in SECRETS {
            assert!(!after.contains(secret), "{secret} in {format}");
        }
        assert!(after.contains("map[string]*type-"), "{after}");
    }
    let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
    command.args(["--redact", "-q", "-o", "-"]);
    let page = String::from_utf8(done(command).stdout).unwrap();
    for secret in SECRETS {
        assert!(!page.contains(secret), "{secret}");
    }
    // The runtime's names and the layout stay.
    for kept in ["runtime.mapaccess1", "bmap.tophash", "hmap.buckets"] {
        assert!(page.contains(kept), "{kept}");
    }
}

/// The page with what is compressed in it.
fn unpacked(page: &str) -> String {
    use base64::Engine;
    use std::io::Read;
    let mut all = page.to_owned();
    let packed = page.split("type=\"application/gzip\">").skip(1);
    let mut found = 0;
    for text in packed {
        let text = text.split_once("</script>").unwrap().0;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        all += &String::from_utf8_lossy(&unpacked);
        found += 1;
    }
    assert!(found > 0);
    all
}

/// Not a file of Go's own, which the runtime's functions name.
fn is_own(path: &str) -> bool {
    let go = ["runtime/", "internal/", "sync/", "/usr/local/go/src/"];
    !go.iter().any(|folder| path.starts_with(folder)) && !path.contains("/go/src/")
}

/// Every name of the program, its machine and its heap that the tables hold.
fn names_of(tables: &mempath::tables::Tables) -> Vec<String> {
    use mempath::tables::columns as c;
    let mut names = std::collections::BTreeSet::new();
    for (_, frame) in tables.frames() {
        for column in [
            c::FUNCTION,
            c::OUTER,
            c::ON_BEHALF,
            c::TARGET,
            c::MAP_TYPE,
            c::MAP_NAME,
        ] {
            let Ok(texts) = frame.column(column.name) else {
                continue;
            };
            for text in texts.str().unwrap().iter().flatten() {
                let word = |ch: char| !(ch.is_alphanumeric() || "_./".contains(ch));
                let own = text.split(word).filter(|name| name.starts_with("main."));
                names.extend(own.map(str::to_owned));
            }
        }
        for column in [c::FILE, c::IMAGE] {
            let Ok(texts) = frame.column(column.name) else {
                continue;
            };
            let own = texts.str().unwrap().clone();
            let own = own.iter().flatten().filter(|path| !path.starts_with('['));
            for path in own.filter(|path| is_own(path)) {
                names.insert(path.to_owned());
                names.insert(path.rsplit('/').next().unwrap().to_owned());
            }
        }
        for column in [c::HEADER, c::BASE] {
            let Ok(values) = frame.column(column.name) else {
                continue;
            };
            let values = values.u64().unwrap().clone();
            names.extend(
                values
                    .iter()
                    .flatten()
                    .map(|address| format!("{address:#x}")),
            );
        }
    }
    let summary = &tables.summary;
    names.extend(summary.meta.hostname.clone());
    names.insert(summary.recording.clone());
    for binary in &summary.binaries {
        names.insert(binary.path.clone());
        names.extend(binary.build_id.clone());
        names.extend(binary.found.clone());
    }
    let arguments = &summary.meta.cmdline;
    let own = arguments.iter().position(|argument| argument == "--");
    names.extend(
        arguments
            .iter()
            .skip(own.map_or(arguments.len(), |at| at + 1))
            .cloned(),
    );
    // `sleep`, a number: no names.
    names.retain(|name| name.len() > 4 && name != "sleep");
    names.into_iter().collect()
}

/// What a report, its data, and each kind of text says: from a recording and from saved tables.
#[test]
fn no_name_that_the_tables_hold_is_in_any_redacted_output() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("tables");
    let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
    command.args(["-q", "-o", "-"]).arg("--tables").arg(&saved);
    let plain = unpacked(&String::from_utf8(done(command).stdout).unwrap());
    let tables = mempath::tables::Tables::read(&saved).unwrap();
    let names = names_of(&tables);
    assert!(names.len() > 500, "{}", names.len());
    let in_page = |page: &str| names.iter().filter(|name| page.contains(*name)).count();
    // The report says most of them when it is not redacted.
    assert!(in_page(&plain) > 100, "{}", in_page(&plain));
    let mut outputs = Vec::new();
    let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
    command.args(["--redact", "-q", "-o", "-"]);
    let page = String::from_utf8(done(command).stdout).unwrap();
    outputs.push(("page", unpacked(&page)));
    let mut command = Command::new(env!("CARGO_BIN_EXE_mempath"));
    command
        .arg("report")
        .arg(&saved)
        .args(["--redact", "-o", "-"]);
    let page = String::from_utf8(done(command).stdout).unwrap();
    outputs.push(("page from tables", unpacked(&page)));
    for format in ["text", "json", "markdown"] {
        let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
        command.args(["--redact", "--no-report", "--format", format]);
        let said = String::from_utf8(done(command).stdout).unwrap();
        outputs.push((format, said));
    }
    for (output, said) in &outputs {
        let told: Vec<&String> = names.iter().filter(|name| said.contains(*name)).collect();
        assert_eq!(told, Vec::<&String>::new(), "{output}");
    }
    // The table of all samples is raw: it is not made from redacted ones.
    let mut command = Command::new(env!("CARGO_BIN_EXE_mempath"));
    command.args(["export", "accesses", "--redact", "perf.data"]);
    assert_eq!(command.output().unwrap().status.code(), Some(2));
}

/// `perf record -e cpu/mem-loads,ldlat=30,name=checkout_reads/P`.
#[test]
fn what_the_user_has_called_an_event_is_redacted() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("tables");
    let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
    command
        .args(["-q", "--no-report"])
        .arg("--tables")
        .arg(&saved);
    done(command);
    let summary = saved.join("summary.json");
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.contains("\"cpu/mem-loads,ldlat=30/P\""));
    let named = text.replace("cpu/mem-loads,ldlat=30/P", "checkout_reads");
    std::fs::write(&summary, named).unwrap();
    let page = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mempath"));
        command.arg("report").arg(&saved).args(["-o", "-"]);
        command.args(options);
        unpacked(&String::from_utf8(done(command).stdout).unwrap())
    };
    assert!(page(&[]).contains("checkout_reads"));
    let redacted = page(&["--redact"]);
    assert!(!redacted.contains("checkout"));
    assert!(redacted.contains("event-1"));
    // The other event's name is perf's own.
    assert!(redacted.contains("cpu/mem-stores/P"));
}

/// What is said of a binary that was not taken names neither file nor build id.
#[test]
fn a_redacted_refusal_holds_no_name_either() {
    // Alone: the binary that was recorded is not beside it.
    let alone = tempfile::tempdir().unwrap();
    let recording = sample("modelled-go1.22-twins").join("perf.data");
    std::fs::copy(recording, alone.path().join("perf.data")).unwrap();
    let command = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mempath"));
        command.current_dir(alone.path());
        command.args(["analyze", "perf.data"]);
        command
            .arg("--binary-dir")
            .arg(sample("modelled-go1.27-twins"));
        command
    };
    let printed = |format: &str, redact: bool| {
        let mut command = command();
        command.args(["--no-report", "--format", format]);
        command.args(redact.then_some("--redact"));
        String::from_utf8(done(command).stdout).unwrap()
    };
    // Of the file that was refused.
    let other = "0b99c709c4d53a5f";
    for id in ["fe739759ffdd2519", other] {
        assert!(printed("json", false).contains(id), "{id}");
    }
    let mut page = command();
    page.args(["--redact", "-q", "-o", "-"]);
    let page = String::from_utf8(done(page).stdout).unwrap();
    let others = ["text", "json", "markdown"].map(|format| printed(format, true));
    for text in others.iter().chain([&page]) {
        for secret in SECRETS.iter().chain(&["modelled-go1.27-twins", other]) {
            assert!(!text.contains(secret), "{secret}");
        }
        assert!(text.contains("build-1"));
    }
}

/// Every count of the summary, by its place.
fn counts(value: &serde_json::Value, at: &str, out: &mut Vec<(String, u64)>) {
    match value {
        serde_json::Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                counts(item, &format!("{at}/{i}"), out);
            }
        }
        serde_json::Value::Object(items) => {
            for (name, item) in items.iter().filter(|(name, _)| *name != "header") {
                counts(item, &format!("{at}/{name}"), out);
            }
        }
        value => out.extend(value.as_u64().map(|n| (at.to_owned(), n))),
    }
}

#[test]
fn redaction_changes_no_count() {
    let summary = |redact: bool| {
        let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
        command.args(["--no-report", "--format", "json"]);
        command.args(redact.then_some("--redact"));
        let value = serde_json::from_slice(&done(command).stdout).unwrap();
        let mut out = Vec::new();
        counts(&value, "", &mut out);
        out
    };
    assert_eq!(summary(false), summary(true));
}

#[test]
fn redacted_tables_cannot_be_saved() {
    let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
    let output = command
        .args(["--redact", "--tables", "/tmp/never"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn open_hands_the_report_to_the_desktop() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (program, told) = (dir.path().join("xdg-open"), dir.path().join("told"));
    let script = format!(
        "#!/bin/sh\nprintf %s \"$1\" > '{0}.part'\nmv '{0}.part' '{0}'\n",
        told.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let report = dir.path().join("report.html");
    let mut command = analyze("classic-go1.22", "probe-go1.22.10.gz");
    command.arg("-q").arg("--open").arg("-o").arg(&report);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", dir.path().display()));
    done(command);
    // It is not waited for.
    let mut patience = 500;
    while !told.exists() && patience > 0 {
        std::thread::sleep(std::time::Duration::from_millis(20));
        patience -= 1;
    }
    let opened = std::fs::read_to_string(&told).unwrap();
    assert_eq!(opened, report.display().to_string());
}

#[test]
fn a_report_on_standard_output_cannot_be_opened() {
    let mut command = analyze("classic-go1.22", "probe-go1.22.10.gz");
    let output = command.args(["-q", "--open", "-o", "-"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        error,
        "mempath: could not open the report: it went to standard output; name a file with -o\n"
    );
}

/// The text of a tag's content, without the tags in it.
fn plain(html: &str) -> String {
    let pieces = html.split('<');
    let pieces = pieces.map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    pieces.collect()
}

/// The report's words for what the CPUs of a line share are those of `mempath c2c`, line by line.
#[test]
fn the_report_tells_sharing_as_c2c_does() {
    use mempath::analyses::lines::Sharing;
    let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
    command.args(["-q", "-o", "-"]);
    let page = String::from_utf8(done(command).stdout).unwrap();
    let table = page.split_once("<table id=\"sharing-table\">").unwrap().1;
    let table = table.split_once("</table>").unwrap().0;
    let rows: Vec<(String, String)> = table
        .split("<tr")
        .skip(2)
        .map(|row| {
            let cells: Vec<String> = row
                .split("<td")
                .skip(1)
                .map(|c| plain(&format!("<td{c}")))
                .collect();
            (cells[0].trim().to_owned(), cells[8].trim().to_owned())
        })
        .collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mempath"));
    let dir = sample("modelled-go1.22-twins");
    command.arg("c2c").arg(dir.join("perf.data"));
    command.arg("--binary").arg(dir.join("mapload.gz"));
    command.args(["--format", "json"]);
    let found: serde_json::Value = serde_json::from_slice(&done(command).stdout).unwrap();
    let lines = found["lines"].as_array().unwrap();
    let told = |address: &str| {
        let line = lines.iter().find(|line| line["address"] == address)?;
        let kind = Sharing::ALL
            .into_iter()
            .find(|kind| serde_json::to_value(kind).unwrap() == line["sharing"]);
        Some(kind?.text().to_owned())
    };
    assert_eq!(rows.len(), 40);
    for (address, kind) in &rows {
        assert_eq!(told(address).as_ref(), Some(kind), "{address}");
    }
    // Both words occur.
    for word in ["true sharing: one word", "false sharing: two maps"] {
        assert!(rows.iter().any(|(_, kind)| kind == word), "{word}");
    }
}

/// The windows are flags, the report states them, and so does one that is written from saved tables.
#[test]
fn windows_are_flags_and_are_stated() {
    let summary = |args: &[&str]| {
        let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
        command.args(["--no-report", "--format", "json"]).args(args);
        serde_json::from_slice::<serde_json::Value>(&done(command).stdout).unwrap()
    };
    let together = |args: &[&str]| summary(args)["summary"]["together"].take();
    let usual = together(&[]);
    assert_eq!(usual["stale"]["window_ns"], 500);
    assert_eq!(usual["window_ns"], 100);
    let found = |together: &serde_json::Value| together["stale"]["found"].as_u64().unwrap();
    let wide = together(&["--stale-window", "10000000", "--operation-window", "7000"]);
    assert_eq!(wide["stale"]["window_ns"], 10_000_000);
    assert_eq!(wide["window_ns"], 7_000);
    // The sample's trace has few stores that another CPU's load follows: `mempath c2c` finds as many.
    assert_eq!((found(&usual), found(&wide)), (0, 21));
    let dir = tempfile::tempdir().unwrap();
    let (page, again) = (dir.path().join("page.html"), dir.path().join("again.html"));
    let mut command = analyze("modelled-go1.22-twins", "mapload.gz");
    command.args([
        "-q",
        "--stale-window",
        "10000000",
        "--operation-window",
        "7000",
    ]);
    command.arg("--tables").arg(dir.path().join("tables"));
    done({
        command.arg("-o").arg(&page);
        command
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_mempath"));
    command.arg("report").arg(dir.path().join("tables"));
    done({
        command.arg("-o").arg(&again);
        command
    });
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("came within 10.0 ms of a store"));
    assert!(page.contains("no more than 7.0 µs apart count as one operation"));
    assert_eq!(page, std::fs::read_to_string(again).unwrap());
}
