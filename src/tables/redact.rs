//! Tables without what tells whose program it is: user functions, files, types, hosts, arguments
//! and addresses become pseudonyms; counts, parts, the runtime's own names and the layout stay.
//!
//! A pseudonym is a number in the order in which names come by, not a hash: whoever guesses a name
//! cannot confirm it. The same recording gives the same pseudonyms.

use super::columns::{self as c, Column};
use super::{Caveat, Severity, Tables};
use crate::gomap::Part;
use crate::recording::Memory;
use polars::prelude::{Column as Values, DataFrame, DataType, NamedFrom, PolarsResult, Series};
use std::collections::BTreeMap;

const PAGE: u64 = 4096;
/// Pages between two that were touched, at most: a bucket that ends on the next page still does.
const MOST_APART: u64 = 16;

/// First elements of the import paths of Go's standard library.
const STANDARD: &[&str] = &[
    "archive",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "debug",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "go",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "strings",
    "structs",
    "sync",
    "syscall",
    "testing",
    "text",
    "time",
    "type",
    "unicode",
    "unique",
    "unsafe",
    "weak",
];

/// Words of Go's types.
const TYPES: &[&str] = &[
    "any",
    "bool",
    "byte",
    "chan",
    "complex128",
    "complex64",
    "error",
    "float32",
    "float64",
    "func",
    "int",
    "int16",
    "int32",
    "int64",
    "int8",
    "interface",
    "map",
    "rune",
    "string",
    "struct",
    "uint",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
    "uintptr",
];

/// Build settings that say nothing of the program.
const SETTINGS: &[&str] = &[
    "-buildmode",
    "-compiler",
    "CGO_ENABLED",
    "GOAMD64",
    "GOARCH",
    "GOARM64",
    "GOEXPERIMENT",
    "GOOS",
];

/// Words of a command line of perf.
const COMMANDS: &[&str] = &[
    "perf",
    "/usr/bin/perf",
    "mem",
    "c2c",
    "record",
    "mempath",
    "watch",
    "step",
    "sleep",
];

/// Words of perf's events and of the PMUs that sample memory: `tools/perf/util/parse-events.c`, the formats
/// of `cpu`, `ibs_op` and `arm_spe`, and the heads of Intel's memory events (`tools/perf/pmu-events`).
const EVENTS: &[&str] = &[
    "L1-dcache-load-misses",
    "L1-dcache-loads",
    "L1-dcache-stores",
    "LLC-load-misses",
    "LLC-loads",
    "LLC-store-misses",
    "LLC-stores",
    "arm_spe",
    "armv8_pmuv3",
    "branch-misses",
    "branches",
    "cache-misses",
    "cache-references",
    "cmask",
    "cnt_ctl",
    "config",
    "config1",
    "config2",
    "config3",
    "cpu",
    "cpu-clock",
    "cpu-cycles",
    "cpu_atom",
    "cpu_core",
    "cycles",
    "dTLB-load-misses",
    "dTLB-loads",
    "dTLB-stores",
    "dummy",
    "edge",
    "event",
    "event_filter",
    "faults",
    "freq",
    "ibs_fetch",
    "ibs_op",
    "instructions",
    "inv",
    "jitter",
    "l3missonly",
    "ldlat",
    "load",
    "load_filter",
    "loads",
    "major-faults",
    "mem",
    "mem-ldst",
    "mem-loads",
    "mem-loads-aux",
    "mem-stores",
    "mem_inst_retired",
    "mem_load_l3_hit_retired",
    "mem_load_l3_miss_retired",
    "mem_load_retired",
    "mem_load_uops_retired",
    "mem_trans_retired",
    "mem_uops_retired",
    "memory",
    "min_latency",
    "minor-faults",
    "misses",
    "name",
    "node-load-misses",
    "node-loads",
    "node-stores",
    "offcore_rsp",
    "page-faults",
    "period",
    "rand_en",
    "store",
    "store_filter",
    "stores",
    "task-clock",
    "ts_enable",
    "umask",
];

/// The same tables under pseudonyms, with a caveat that says so.
pub fn redact(tables: &Tables) -> PolarsResult<Tables> {
    let mut names = Names::new(tables)?;
    let mut redacted = tables.clone();
    names.summary(&mut redacted);
    for frame in [
        &mut redacted.maps,
        &mut redacted.parts,
        &mut redacted.arrays,
        &mut redacted.cells,
        &mut redacted.outside,
        &mut redacted.functions,
        &mut redacted.lines,
        &mut redacted.listing,
        &mut redacted.steps,
        &mut redacted.latency,
        &mut redacted.levels,
        &mut redacted.order,
        &mut redacted.misses,
        &mut redacted.gaps,
        &mut redacted.kept,
    ] {
        *frame = names.frame(frame)?;
    }
    Ok(redacted)
}

const ADDRESSES: &[Column] = &[c::HEADER, c::BASE, c::IP, c::ADDR, c::PHYS_ADDR];

/// Pseudonyms given so far.
#[derive(Debug, Default)]
struct Names {
    /// Kind and name -> number.
    given: BTreeMap<(&'static str, String), usize>,
    kinds: BTreeMap<&'static str, usize>,
    /// Texts that stand in sentences as they are, the longest first.
    known: Vec<(String, String)>,
    /// Page -> page.
    pages: BTreeMap<u64, u64>,
}

impl Names {
    fn new(tables: &Tables) -> PolarsResult<Names> {
        let mut names = Names::default();
        let mut pages = std::collections::BTreeSet::new();
        for (_, frame) in tables.frames() {
            for column in ADDRESSES {
                let addresses = super::read::numbers(frame, *column).unwrap_or_default();
                pages.extend(
                    addresses
                        .into_iter()
                        .flatten()
                        .map(|address| address / PAGE),
                );
            }
        }
        let (mut last, mut at) = (0, 0);
        for page in pages {
            at += (page - last).min(MOST_APART);
            names.pages.insert(page, at);
            last = page;
        }
        for name in super::read::texts(&tables.maps, c::MAP_NAME).unwrap_or_default() {
            let name = name.unwrap_or("").to_owned();
            let redacted = names.map(&name);
            names.known.push((name, redacted));
        }
        let summary = &tables.summary;
        let binaries = summary.binaries.iter().map(|binary| binary.path.clone());
        let paths: Vec<String> = binaries.chain([summary.recording.clone()]).collect();
        for path in paths {
            let redacted = names.path(&path);
            let base = path.rsplit('/').next().unwrap_or("").to_owned();
            if base.len() > 2 && base != path {
                names.known.push((base, redacted.clone()));
            }
            names.known.push((path, redacted));
        }
        for id in summary.binaries.iter().filter_map(|b| b.build_id.clone()) {
            let redacted = names.number("build", &id);
            names.known.push((id, redacted));
        }
        if let Some(host) = summary.meta.hostname.clone() {
            let redacted = names.number("host", &host);
            names.known.push((host, redacted));
        }
        // A PMU's event has a slash, and is no path.
        for event in &summary.events {
            let redacted = names.event(&event.name);
            names.known.push((event.name.clone(), redacted));
        }
        names.known.retain(|(name, _)| !name.is_empty());
        names
            .known
            .sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Ok(names)
    }

    /// `function-3` of the third function that came by.
    fn number(&mut self, kind: &'static str, name: &str) -> String {
        let key = (kind, name.to_owned());
        let n = match self.given.get(&key) {
            Some(n) => *n,
            None => {
                let n = self.kinds.entry(kind).or_default();
                *n += 1;
                let n = *n;
                self.given.insert(key, n);
                n
            }
        };
        format!("{kind}-{n}")
    }

    fn address(&self, address: u64) -> Option<u64> {
        let page = self.pages.get(&(address / PAGE))?;
        Some(page * PAGE + address % PAGE)
    }

    /// `runtime.mapaccess1` stays, `main.(*server).handle` does not.
    fn function(&mut self, name: &str) -> String {
        if is_standard(name) || !name.contains('.') && name.starts_with("type:") {
            return name.to_owned();
        }
        self.number("function", name)
    }

    fn file(&mut self, path: &str) -> String {
        let in_go = path.split_once("/src/").map_or(path, |(_, inside)| inside);
        if is_standard(in_go) && in_go.contains('/') {
            return in_go.to_owned();
        }
        format!("{}.go", self.number("file", path))
    }

    /// The kernel, the vdso and what else stands in brackets stay.
    fn path(&mut self, path: &str) -> String {
        if path.starts_with('[') || path.is_empty() {
            return path.to_owned();
        }
        self.number("path", path)
    }

    /// A Go type: its own words, the standard library's types and lengths of arrays stay.
    fn go_type(&mut self, text: &str) -> String {
        let word = |c: char| c.is_alphanumeric() || "_./·-".contains(c);
        let mut out = String::new();
        for token in tokens(text, word) {
            let plain = token.chars().all(|c| c.is_ascii_digit()) || !token.starts_with(word);
            if plain || TYPES.contains(&token) || is_standard(token) && token.contains('.') {
                out.push_str(token);
            } else {
                out += &self.number("type", token);
            }
        }
        out
    }

    /// `map[string]*main.session at cache.go:42 (s.sessions)`: the type, the place, the expression.
    fn map(&mut self, name: &str) -> String {
        let (name, expression) = match name.find(" (") {
            Some(at) => name.split_at(at),
            None => (name, ""),
        };
        let (go_type, place) = match name.find(" at ") {
            Some(at) => name.split_at(at),
            None => (name, ""),
        };
        let mut out = if go_type.starts_with("map[") {
            self.go_type(go_type)
        } else {
            self.text(go_type)
        };
        if !place.is_empty() {
            out += &self.text(place);
        }
        match expression.split_once(')') {
            Some((inside, rest)) => {
                out += &format!(" ({})", self.number("expression", inside));
                out += &self.text(rest);
            }
            None if !expression.is_empty() => out += &self.number("expression", expression),
            None => {}
        }
        out
    }

    /// A sentence: what is known is replaced as it stands, then everything that looks like an
    /// address, a path, a file or a qualified name.
    fn text(&mut self, text: &str) -> String {
        let mut pieces = vec![(text.to_owned(), false)];
        for (name, redacted) in self.known.clone() {
            let mut next = Vec::new();
            for (piece, done) in pieces {
                if done || !piece.contains(&name) {
                    next.push((piece, done));
                    continue;
                }
                for (i, rest) in piece.split(&name).enumerate() {
                    if i > 0 {
                        next.push((redacted.clone(), true));
                    }
                    next.push((rest.to_owned(), false));
                }
            }
            pieces = next;
        }
        let redacted = pieces.into_iter().map(|(piece, done)| match done {
            true => piece,
            false => self.words(&piece),
        });
        redacted.collect()
    }

    fn words(&mut self, text: &str) -> String {
        let word = |c: char| c.is_alphanumeric() || "_./·-~@$".contains(c);
        let mut out = String::new();
        for token in tokens(text, word) {
            let bare = token.trim_end_matches(['.', '-']);
            let tail = token.get(bare.len()..).unwrap_or("");
            out += &self.word(bare);
            out += tail;
        }
        out
    }

    fn word(&mut self, word: &str) -> String {
        let hexadecimal = word
            .strip_prefix("0x")
            .map(|digits| u64::from_str_radix(digits, 16));
        if let Some(Ok(address @ 0x1_0000..)) = hexadecimal {
            return match self.address(address) {
                Some(address) => format!("{address:#x}"),
                None => self.number("address", word),
            };
        }
        // Build ids have 32 digits at least; this finds those of files that were not taken.
        if word.len() >= 32 && word.chars().all(|c| c.is_ascii_hexdigit()) {
            return self.number("build", word);
        }
        let number = word.starts_with(|c: char| c.is_ascii_digit());
        let part = Part::ALL.iter().any(|part| part.name() == word);
        let named = word.contains(['.', '/']) && word.chars().any(char::is_alphabetic);
        if number || part || !named || is_standard(word) {
            word.to_owned()
        } else if word.ends_with(".go") {
            self.file(word)
        } else if word.contains('/') {
            self.path(word)
        } else {
            self.number("name", word)
        }
    }

    /// A breakpoint's name holds its address. Of other names the words of perf and of PMUs stay: any other
    /// may be what the user has called the event (`cpu/mem-loads,name=checkout/P`), or a probe of the program.
    fn event(&mut self, name: &str) -> String {
        if name.starts_with("mem:") {
            return self.words(name);
        }
        let word = |c: char| c.is_alphanumeric() || "_.-".contains(c);
        let mut out = String::new();
        for token in tokens(name, word) {
            let separator = !token.starts_with(word);
            // `P`, `pp`, `u`: after the last slash or a colon.
            let modifier =
                out.ends_with(['/', ':']) && token.chars().all(|c| "ukhpPHGSDWe".contains(c));
            if separator || modifier || is_event_word(token) {
                out.push_str(token);
            } else {
                out += &self.number("event", token);
            }
        }
        out
    }

    fn argument(&mut self, argument: &str) -> String {
        let plain = argument.chars().all(|c| c.is_ascii_digit() || c == '.');
        if plain || COMMANDS.contains(&argument) {
            return argument.to_owned();
        }
        match argument.split_once('=') {
            Some((option, value)) if option.starts_with('-') => {
                format!("{option}={}", self.number("argument", value))
            }
            None if argument.starts_with("--") => argument.to_owned(),
            // The value may be glued to its letter.
            None if argument.starts_with('-') => match argument.split_at_checked(2) {
                Some((option, value)) if !value.chars().all(|c| c.is_ascii_digit()) => {
                    format!("{option}{}", self.number("argument", value))
                }
                _ => argument.to_owned(),
            },
            _ => self.number("argument", argument),
        }
    }

    fn frame(&mut self, frame: &DataFrame) -> PolarsResult<DataFrame> {
        let mut columns = Vec::with_capacity(frame.width());
        for column in frame.columns() {
            let name = column.name().as_str();
            let is = |wanted: &[Column]| wanted.iter().any(|column| column.name == name);
            if is(ADDRESSES) {
                let addresses = column.cast(&DataType::UInt64)?;
                let addresses = addresses.u64()?.iter();
                let redacted: Vec<Option<u64>> = addresses.map(|a| self.address(a?)).collect();
                columns.push(Values::from(Series::new(column.name().clone(), redacted)));
                continue;
            }
            if column.dtype() != &DataType::String {
                columns.push(column.clone());
                continue;
            }
            let redact: fn(&mut Names, &str) -> String = match () {
                () if is(&[c::FUNCTION, c::OUTER, c::ON_BEHALF, c::TARGET]) => Names::function,
                () if is(&[c::FILE]) => Names::file,
                () if is(&[c::EVENT]) => Names::event,
                () if is(&[c::IMAGE]) => Names::path,
                () if is(&[c::MAP_NAME]) => Names::map,
                () if is(&[c::MAP_TYPE]) => Names::go_type,
                () => Names::text,
            };
            let mut seen = BTreeMap::<&str, String>::new();
            let texts = column.str()?;
            let redacted: Vec<Option<String>> = texts
                .iter()
                .map(|text| {
                    let text = text?;
                    Some(
                        seen.entry(text)
                            .or_insert_with(|| redact(self, text))
                            .clone(),
                    )
                })
                .collect();
            columns.push(Values::from(Series::new(column.name().clone(), redacted)));
        }
        DataFrame::new(frame.height(), columns)
    }

    fn summary(&mut self, tables: &mut Tables) {
        let summary = &mut tables.summary;
        summary.recording = self.path(&summary.recording);
        let meta = &mut summary.meta;
        if let Some(host) = &mut meta.hostname {
            *host = self.number("host", host);
        }
        let own = meta.cmdline.iter().position(|argument| argument == "--");
        for (i, argument) in meta.cmdline.iter_mut().enumerate() {
            *argument = match own {
                Some(at) if i > at => self.number("argument", argument),
                _ => self.argument(argument),
            };
        }
        for event in &mut summary.events {
            event.name = self.event(&event.name);
            if event.memory == Memory::Breakpoint {
                event.config1 = self.address(event.config1).unwrap_or(0);
            }
        }
        for binary in &mut summary.binaries {
            binary.path = self.path(&binary.path);
            binary.found = match &binary.found {
                Ok(path) => Ok(self.path(path)),
                Err(why) => Err(self.text(why)),
            };
            if let Some(id) = &mut binary.build_id {
                *id = self.number("build", id);
            }
            if let Some(go) = &mut binary.go {
                go.module = go
                    .module
                    .as_ref()
                    .map(|module| self.number("module", module));
                go.settings
                    .retain(|(key, _)| SETTINGS.contains(&key.as_str()));
            }
            // The functions and variables are the runtime's; an instruction may have an address.
            let disagreed = binary.declared.iter_mut().flat_map(|d| &mut d.disagreed);
            for disagreement in disagreed {
                disagreement.instruction = self.text(&disagreement.instruction);
            }
        }
        for pair in &mut summary.together.stale.pairs {
            pair.word = self.address(pair.word).unwrap_or(0);
        }
        for touched in summary.together.touched() {
            touched.function = touched.function.as_ref().map(|name| self.function(name));
            touched.file = touched.file.as_ref().map(|path| self.file(path));
        }
        let findings = summary.findings.iter_mut().map(|finding| &mut finding.text);
        let caveats = summary.caveats.iter_mut().map(|caveat| &mut caveat.text);
        let contradictions = summary.contradictions.iter_mut().map(|c| &mut c.about);
        let damage = summary.damage.iter_mut().map(|damage| &mut damage.rule);
        for text in findings.chain(caveats).chain(contradictions).chain(damage) {
            *text = self.text(text);
        }
        summary.caveats.push(Caveat {
            severity: Severity::Note,
            text: "redacted: names of functions, types and files of the program, paths, host, \
                   arguments and addresses are pseudonyms; an address keeps its place in its page"
                .to_owned(),
        });
    }
}

/// A number, a word of [`EVENTS`], a unit of one (`arm_spe_0`), or a PMU's event with its umask's name
/// (`mem_load_retired.l1_miss`).
fn is_event_word(token: &str) -> bool {
    let digits = token.strip_prefix("0x").unwrap_or(token);
    let number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
    let number = number && (digits != token || digits.chars().all(|c| c.is_ascii_digit()));
    let unit = token.trim_end_matches(|c: char| c.is_ascii_digit());
    let unit = unit.strip_suffix('_').unwrap_or(token);
    let head = token.split_once('.').map(|(head, _)| head);
    let head = head.filter(|head| head.starts_with("mem_"));
    number || EVENTS.contains(&head.unwrap_or(token)) || EVENTS.contains(&unit)
}

/// Whether a function, a type or a file belongs to Go's standard library: the first element of its
/// import path. A path of another module has a dot there, and a program's own is `main`.
fn is_standard(name: &str) -> bool {
    let name = name.trim_start_matches(['*', '(', '[', ']']);
    let first = name.split(['/', '.', ':', '(']).next().unwrap_or("");
    // github.com/x/y: the dot comes before the slash.
    let host = name
        .split_once('/')
        .is_some_and(|(head, _)| head.contains('.'));
    !host && STANDARD.contains(&first)
}

/// Runs of word characters and what lies between them.
fn tokens(text: &str, word: impl Fn(char) -> bool) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut last = None;
    for (at, c) in text.char_indices() {
        let is = word(c);
        if last.is_some_and(|last| last != is) {
            out.extend(text.get(start..at));
            start = at;
        }
        last = Some(is);
    }
    out.extend(text.get(start..).filter(|rest| !rest.is_empty()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_programs_own_gets_a_number_and_keeps_it() {
        let mut names = Names::default();
        assert_eq!(names.function("main.(*server).handle"), "function-1");
        assert_eq!(
            names.function("runtime.mapaccess2_faststr"),
            "runtime.mapaccess2_faststr"
        );
        assert_eq!(names.function("github.com/acme/secret.Do"), "function-2");
        assert_eq!(names.function("main.(*server).handle"), "function-1");
        assert_eq!(
            names.function("net/http.(*conn).serve"),
            "net/http.(*conn).serve"
        );
        assert_eq!(
            names.file("/usr/local/go/src/runtime/map.go"),
            "runtime/map.go"
        );
        assert_eq!(names.file("/srv/secret/cache.go"), "file-1.go");
        assert_eq!(names.path("[vdso]"), "[vdso]");
    }

    #[test]
    fn types_keep_their_shape() {
        let mut names = Names::default();
        assert_eq!(
            names.go_type("map[string]*main.session"),
            "map[string]*type-1"
        );
        assert_eq!(
            names.go_type("map[[16]uint8]time.Time"),
            "map[[16]uint8]time.Time"
        );
        assert_eq!(
            names.go_type("map[int]struct { Secret main.session }"),
            "map[int]struct { type-2 type-1 }"
        );
    }

    #[test]
    fn a_map_keeps_its_line_but_not_its_file_or_expression() {
        let mut names = Names::default();
        assert_eq!(
            names.map("map[string]*main.session at cache.go:42 (s.sessions)"),
            "map[string]*type-1 at file-1.go:42 (expression-1)"
        );
    }

    #[test]
    fn sentences_lose_paths_addresses_and_qualified_names() {
        let mut names = Names::default();
        names.pages.insert(0xc000, 5);
        names
            .known
            .push(("api-server".to_owned(), "path-9".to_owned()));
        assert_eq!(
            names.text(
                "'/srv/api-server' at 0xc000123, in main.run: 61.5 % of api-server in `bmap.key`."
            ),
            "'path-1path-9' at 0x5123, in name-1: 61.5 % of path-9 in `bmap.key`."
        );
    }

    #[test]
    fn events_keep_the_words_of_perf_and_of_pmus() {
        let mut names = Names::default();
        for standard in [
            "cpu/mem-loads,ldlat=30/P",
            "cpu_core/mem-stores/Pu",
            "cpu/event=0xcd,umask=0x1,ldlat=0x1e/pp",
            "ibs_op//",
            "arm_spe_0/ts_enable=1,load_filter=1,min_latency=64/",
            "mem_load_retired.l1_miss:upp",
            "cycles:P",
            "page-faults",
        ] {
            assert_eq!(names.event(standard), standard);
        }
        assert_eq!(names.event("checkout"), "event-1");
        assert_eq!(
            names.event("cpu/mem-loads,name=checkout/P"),
            "cpu/mem-loads,name=event-1/P"
        );
        assert_eq!(names.event("probe_shop:main_pay"), "event-2:event-3");
        assert_eq!(names.event("loads.pay"), "event-4");
        // As letters of a modifier, but in no modifier's place.
        assert_eq!(names.event("hugP"), "event-5");
    }

    #[test]
    fn arguments_keep_options() {
        let mut names = Names::default();
        let line = [
            "perf",
            "mem",
            "record",
            "--ldlat=30",
            "-p",
            "4100",
            "-F999",
            "-o/srv/secret",
            "--",
            "/srv/secret",
        ];
        assert_eq!(
            line.map(|word| names.argument(word)).join(" "),
            "perf mem record --ldlat=argument-1 -p 4100 -F999 -oargument-2 -- argument-2"
        );
    }
}
