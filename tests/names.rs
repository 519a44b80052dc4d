//! What maps are called: in globals, struct fields, locals, closures and slices of structs; with the
//! source at hand, with DWARF alone, and with neither.

use mempath::attribute::{Named, attribute, sites_of};
use mempath::program::kernel::Kernel;
use mempath::program::{Program, Sources};
use mempath::recording;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const SOURCE: &str = r#"package main

type session struct{ id uint64 }

type limits struct {
	name  string
	hosts map[string]int
}

type server struct {
	name     string
	limits   limits
	sessions map[string]*session
	next     *server
}

type shard struct {
	lock uint64
	m    map[uint64]uint64
}

var (
	global  = map[string]int{}
	config  = limits{hosts: map[string]int{}}
	current = &server{sessions: map[string]*session{}, limits: config}
	shards  = []shard{{m: map[uint64]uint64{}}, {m: map[uint64]uint64{}}}
)

//go:noinline
func inGlobal(k string) int {
	return global[k]
}

//go:noinline
func inGlobalStruct(k string, v int) {
	config.hosts[k] = v
}

//go:noinline
func behindGlobal(k string) *session {
	return current.sessions[k]
}

//go:noinline
func (s *server) inField(k string) *session {
	return s.sessions[k]
}

//go:noinline
func (s *server) inNestedField(k string) {
	delete(s.limits.hosts, k)
}

//go:noinline
func behindField(n int, f float64, s *server, k string) bool {
	_, ok := s.next.sessions[k]
	return ok && n > int(f)
}

//go:noinline
func inArgument(k uint64, m map[uint64]uint64) {
	m[k]++
}

//go:noinline
func inSlice(i int, k uint64) uint64 {
	return shards[i].m[k]
}

//go:noinline
func inLocal(n uint64) int {
	seen := map[uint64]bool{}
	for i := uint64(0); i < n; i++ {
		seen[i*7%13] = true
	}
	return len(seen)
}

//go:noinline
func inClosure(m map[uint64]uint64) func(uint64) {
	return func(k uint64) {
		m[k] = 1
	}
}

//go:noinline
func inLoop(s *server) (n uint64) {
	for _, v := range s.sessions {
		n += v.id
	}
	return n
}

func main() {
	println(inGlobal("a"), behindGlobal("a") == nil, current.inField("a") == nil)
	inGlobalStruct("a", 1)
	current.inNestedField("a")
	current.next = current
	println(behindField(1, 2, current, "a"), inSlice(1, 2), inLocal(9), inLoop(current))
	inArgument(1, shards[0].m)
	inClosure(shards[0].m)(3)
}
"#;

/// Builds the program in `dir` with these arguments to `go build`.
fn built(version: &str, dir: &Path, args: &[&str]) -> Program {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/go-toolchain");
    let root = Command::new(script).arg(version).output().unwrap();
    assert!(root.status.success(), "{version}");
    let go = PathBuf::from(String::from_utf8(root.stdout).unwrap().trim()).join("bin/go");
    std::fs::write(dir.join("go.mod"), "module names\n\ngo 1.20\n").unwrap();
    std::fs::write(dir.join("maps.go"), SOURCE).unwrap();
    let status = Command::new(go)
        .current_dir(dir)
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("CGO_ENABLED", "0")
        .args(["build", "-o", "names"])
        .args(args)
        .status()
        .unwrap();
    assert!(status.success(), "{version}");
    Program::open(&dir.join("names")).unwrap()
}

/// The line of `maps.go` that has this text.
fn line(text: &str) -> String {
    let line = SOURCE.lines().position(|line| line.contains(text)).unwrap() + 1;
    format!("maps.go:{line}")
}

/// The name that the first map call of `main.NAME` gives its map.
fn named(program: &Arc<Program>, function: &str) -> Named {
    let mut sites = sites_of(program, &format!("main.{function}"));
    sites.retain(|(callee, _)| !callee.starts_with("runtime.makemap"));
    let (_, named) = sites
        .into_iter()
        .next()
        .unwrap_or_else(|| panic!("{function}"));
    named
}

const EXPRESSIONS: [(&str, &str, &str); 9] = [
    ("inGlobal", "return global[k]", "global"),
    ("inGlobalStruct", "config.hosts[k] = v", "config.hosts"),
    (
        "behindGlobal",
        "return current.sessions[k]",
        "current.sessions",
    ),
    ("(*server).inField", "return s.sessions[k]", "s.sessions"),
    (
        "(*server).inNestedField",
        "delete(s.limits",
        "s.limits.hosts",
    ),
    ("behindField", "s.next.sessions[k]", "s.next.sessions"),
    ("inArgument", "m[k]++", "m"),
    ("inSlice", "return shards[i].m[k]", "shards[i].m"),
    ("inClosure.func1", "m[k] = 1", "m"),
];

#[test]
fn with_the_source_at_hand_a_map_is_called_as_its_line_calls_it() {
    for version in ["1.22.10", "1.27.3"] {
        let dir = tempfile::tempdir().unwrap();
        let program = Arc::new(built(version, dir.path(), &[]));
        for (function, text, expression) in EXPRESSIONS {
            let named = named(&program, function);
            assert_eq!(named.site, Some(line(text)), "{version} {function}");
            if named.global.is_none() {
                assert_eq!(
                    named.expression.as_deref(),
                    Some(expression),
                    "{version} {function}"
                );
            }
        }
        let seen = named(&program, "inLocal");
        assert_eq!(seen.expression.as_deref(), Some("seen"), "{version}");
        let sessions = named(&program, "inLoop");
        assert_eq!(
            sessions.expression.as_deref(),
            Some("s.sessions"),
            "{version}"
        );
    }
}

/// `-trimpath` leaves no path of the file; DWARF names arguments, fields and globals.
#[test]
fn with_dwarf_alone_fields_and_globals_have_their_names() {
    for version in ["1.22.10", "1.24.11", "1.27.3"] {
        let dir = tempfile::tempdir().unwrap();
        let program = Arc::new(built(version, dir.path(), &["-trimpath"]));
        for (function, text, expression) in EXPRESSIONS {
            let named = named(&program, function);
            assert_eq!(named.site, Some(line(text)), "{version} {function}");
            let expected = match function {
                // A global has its package's name.
                "inGlobal" | "inGlobalStruct" | "behindGlobal" => {
                    Some(format!("main.{expression}"))
                }
                // An element of a slice, a variable of a closure: no load from a named place.
                "inSlice" | "inClosure.func1" => None,
                _ => Some(expression.to_owned()),
            };
            let global = function.contains("lobal");
            assert_eq!(named.expression, expected, "{version} {function}");
            assert_eq!(
                named.global,
                expected.filter(|_| global),
                "{version} {function}"
            );
        }
    }
}

#[test]
fn a_stripped_binary_is_named_from_a_source_folder() {
    for version in ["1.22.10", "1.27.3"] {
        let dir = tempfile::tempdir().unwrap();
        let mut program = built(version, dir.path(), &["-trimpath", "-ldflags=-s -w"]);
        program.look_for_sources(Sources::new(vec![dir.path().to_owned()]));
        let program = Arc::new(program);
        for (function, text, expression) in EXPRESSIONS {
            let named = named(&program, function);
            assert_eq!(named.site, Some(line(text)), "{version} {function}");
            assert_eq!(
                named.expression.as_deref(),
                Some(expression),
                "{version} {function}"
            );
        }
    }
}

/// A file that was changed since says nothing against the code.
#[test]
fn a_source_line_of_another_field_than_the_code_loads_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = built("1.22.10", dir.path(), &["-trimpath"]);
    let changed = SOURCE.replace("return s.sessions[k]", "return s.others[k]");
    std::fs::write(dir.path().join("maps.go"), changed).unwrap();
    program.look_for_sources(Sources::new(vec![dir.path().to_owned()]));
    let named = named(&Arc::new(program), "(*server).inField");
    assert_eq!(named.expression.as_deref(), Some("s.sessions"));
}

/// `opCounters(m)` of the truth's program is handed `counters` by one caller and `counters2` by another.
#[test]
fn a_map_that_is_passed_as_an_argument_is_named_by_the_global_of_its_caller() {
    for (set, least) in [("modelled-go1.22-twins", 7), ("modelled-go1.27-twins", 7)] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("samples")
            .join(set);
        let recording = recording::read(&folder.join("perf.data")).unwrap();
        let program = Arc::new(Program::open(&folder.join("mapload.gz")).unwrap());
        let images = recording.space.images.iter();
        let programs: Vec<_> = images
            .map(|image| {
                image
                    .path
                    .ends_with("/mapload")
                    .then(|| Arc::clone(&program))
            })
            .collect();
        let attribution = attribute(&recording, &programs, &Kernel::default(), None);
        let mut text = String::new();
        let file = File::open(folder.join("truth.csv.gz")).unwrap();
        flate2::read::GzDecoder::new(file)
            .read_to_string(&mut text)
            .unwrap();
        let mut lines = text.lines();
        let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
        let column = |name| columns.iter().position(|c| *c == name).unwrap();
        let (owner, map_name) = (column("owner"), column("map_name"));
        let mut found = BTreeSet::new();
        for (i, row) in lines.enumerate() {
            let row: Vec<&str> = row.split(',').collect();
            let map = attribution.maps.get(attribution.hit(i).map as usize);
            let Some(variable) = map.and_then(|map| map.variable.as_deref()) else {
                continue;
            };
            assert_eq!(
                (row[owner], row[map_name]),
                ("map", variable),
                "{set} sample {i}"
            );
            found.insert(variable.to_owned());
        }
        let all = [
            "blobs",
            "counters",
            "counters2",
            "points",
            "sessions",
            "small",
            "uuids",
        ];
        let all: BTreeSet<String> = all.iter().map(|name| format!("main.{name}")).collect();
        assert_eq!(found.intersection(&all).count(), least, "{set}: {found:?}");
    }
}
