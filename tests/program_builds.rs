//! Binaries as Go's linker writes them: position independent or not, with C code, without symbols.

use mempath::program::Program;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

const SOURCE: &str = "package main

type session struct{ id uint64 }

var sessions = map[string]*session{}

func main() {
	sessions[\"a\"] = &session{helper()}
	println(len(sessions), sessions[\"a\"].id)
}
";

const PLAIN: &str = "package main

func helper() uint64 { return 42 }
";

const CGO: &str = "package main

/*
static unsigned long answer(void) { return 42; }
*/
import \"C\"

func helper() uint64 { return uint64(C.answer()) }
";

/// One toolchain is fetched at a time: tests run side by side.
static FETCHING: Mutex<()> = Mutex::new(());

fn go(version: &str) -> PathBuf {
    let _one = FETCHING.lock().unwrap_or_else(|e| e.into_inner());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/go-toolchain");
    let output = Command::new(script)
        .arg(version)
        .output()
        .expect("scripts/go-toolchain");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8(output.stdout).expect("UTF-8").trim()).join("bin/go")
}

/// Builds the program with these arguments to `go build` and opens it.
fn built(version: &str, cgo: bool, args: &[&str]) -> Program {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect(name);
    write("go.mod", "module sessions\n\ngo 1.20\n");
    write("main.go", SOURCE);
    write("helper.go", if cgo { CGO } else { PLAIN });
    let output = Command::new(go(version))
        .current_dir(dir.path())
        .env("CGO_ENABLED", if cgo { "1" } else { "0" })
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .args(["build", "-trimpath", "-o", "sessions"])
        .args(args)
        .output()
        .expect("go build");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Program::open(&dir.path().join("sessions")).expect("a readable binary")
}

/// The map type by its descriptor, and `main.main` by pclntab, whatever the link mode.
fn check(program: &Program, version: &str, pie: bool) {
    assert_eq!(
        program.go.as_ref().map(|go| go.version.as_str()),
        Some(version)
    );
    assert_eq!(program.pie, pie);
    let map = program
        .map_types
        .iter()
        .find(|t| t.name == "map[string]*main.session");
    let map = map.expect("the program's map type");
    assert_eq!((map.key_size, map.elem_size), (16, 8));
    // 8 tophash + 8 * (16 + 8) + overflow, or 8 ctrl + 8 * (16 + 8).
    let stride = if version.starts_with("go1.22") {
        208
    } else {
        200
    };
    assert_eq!(map.shape.stride(), stride);
    let main = program.functions().iter().find(|f| f.name == "main.main");
    let main = main.expect("main.main").start;
    let frames = program.frames_at(main);
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert_eq!(frames[0].function, "main.main");
    // Line 7 of SOURCE.
    assert_eq!(frames[0].line, Some(7));
    assert!(
        frames[0]
            .file
            .as_deref()
            .is_some_and(|f| f.ends_with("main.go")),
        "{frames:?}"
    );
}

#[test]
fn binaries_at_a_fixed_address() {
    check(&built("1.22.10", false, &[]), "go1.22.10", false);
    check(
        &built("1.27.3", false, &["-ldflags=-s -w"]),
        "go1.27.3",
        false,
    );
}

#[test]
fn position_independent_binaries() {
    check(
        &built("1.22.10", false, &["-buildmode=pie"]),
        "go1.22.10",
        true,
    );
    check(
        &built("1.27.3", false, &["-buildmode=pie", "-ldflags=-s -w"]),
        "go1.27.3",
        true,
    );
}

#[test]
fn binaries_with_c_code_name_its_functions_too() {
    for version in ["1.22.10", "1.27.3"] {
        let program = built(version, true, &[]);
        check(&program, &format!("go{version}"), program.pie);
        let main = program.functions().iter().find(|f| f.name == "_start");
        assert!(main.is_some(), "go{version}: the C runtime's entry");
    }
}
