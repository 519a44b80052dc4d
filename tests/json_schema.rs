//! What `--format json` prints against its schema (`src/export/summary.schema.json`).

use serde_json::{Value, json};
use std::process::Command;

/// Where a value breaks the schema. Knows the keywords that the schema uses, and refuses others.
fn errors(root: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let fail = |out: &mut Vec<String>| out.push(format!("{at}: {keyword} {rule}"));
        match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => {}
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                let target = root.pointer(pointer).expect("a definition");
                errors(root, target, value, at, out);
            }
            "type" => {
                let names = rule.as_array().cloned().unwrap_or(vec![rule.clone()]);
                if !names
                    .iter()
                    .any(|name| has_type(value, name.as_str().unwrap()))
                {
                    fail(out);
                }
            }
            "const" if value != rule => fail(out),
            "enum" if !rule.as_array().unwrap().contains(value) => fail(out),
            "const" | "enum" => {}
            "oneOf" => {
                let fits = |s: &&Value| {
                    let mut inner = Vec::new();
                    errors(root, s, value, at, &mut inner);
                    inner.is_empty()
                };
                if rule.as_array().unwrap().iter().filter(fits).count() != 1 {
                    fail(out);
                }
            }
            "minimum" if value.as_f64().is_some_and(|n| n < rule.as_f64().unwrap()) => fail(out),
            "maximum" if value.as_f64().is_some_and(|n| n > rule.as_f64().unwrap()) => fail(out),
            "minimum" | "maximum" => {}
            "minItems" | "maxItems" => {
                let (n, most) = (
                    value.as_array().map(Vec::len),
                    rule.as_u64().unwrap() as usize,
                );
                if n.is_some_and(|n| {
                    if keyword == "minItems" {
                        n < most
                    } else {
                        n > most
                    }
                }) {
                    fail(out);
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    errors(root, rule, item, &format!("{at}/{i}"), out);
                }
            }
            "prefixItems" => {
                let items = value.as_array().into_iter().flatten();
                for (i, (rule, item)) in rule.as_array().unwrap().iter().zip(items).enumerate() {
                    errors(root, rule, item, &format!("{at}/{i}"), out);
                }
            }
            "required" => {
                let object = value.as_object();
                for name in rule.as_array().unwrap() {
                    if object.is_some_and(|o| !o.contains_key(name.as_str().unwrap())) {
                        out.push(format!("{at}: lacks {name}"));
                    }
                }
            }
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        errors(root, rule, value, &format!("{at}/{name}"), out);
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(rule, &json!(false));
                let known = schema["properties"].as_object().unwrap();
                for name in value.as_object().into_iter().flat_map(|o| o.keys()) {
                    if !known.contains_key(name) {
                        out.push(format!("{at}: {name} is not in the schema"));
                    }
                }
            }
            other => panic!("the schema uses {other}, which this test does not know"),
        }
    }
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("no type of JSON: {name}"),
    }
}

fn schema() -> Value {
    serde_json::from_str(include_str!("../src/export/summary.schema.json")).unwrap()
}

fn broken(value: &Value) -> Vec<String> {
    let (schema, mut out) = (schema(), Vec::new());
    errors(&schema, &schema, value, "", &mut out);
    out
}

fn summary(sample: &str, binary: &str) -> Value {
    let dir = format!("{}/samples/{sample}", env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_mempath"))
        .args(["analyze", "--no-report", "--format", "json"])
        .arg(format!("{dir}/perf.data"))
        .args(["--binary", &format!("{dir}/{binary}")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_summary_of_every_sample_fits_the_schema() {
    for (sample, binary) in [
        ("modelled-go1.22-twins", "mapload.gz"),
        ("modelled-go1.27-twins", "mapload.gz"),
        ("classic-go1.22", "probe-go1.22.10.gz"),
        ("swiss-go1.27", "probe-go1.27.3.gz"),
    ] {
        let summary = summary(sample, binary);
        assert_eq!(broken(&summary), Vec::<String>::new(), "{sample}");
    }
}

#[test]
fn a_summary_of_another_shape_does_not_fit() {
    let good = summary("classic-go1.22", "probe-go1.22.10.gz");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut value = good.clone();
        change(&mut value);
        broken(&value)
    };
    assert_eq!(changed(&|v| v["schema"] = json!(2)), ["/schema: const 1"]);
    assert_eq!(
        changed(&|v| v["summary"]["meta"]["colour"] = json!("red")),
        ["/summary/meta: colour is not in the schema"]
    );
    assert_eq!(
        changed(&|v| {
            v["maps"][0].as_object_mut().unwrap().remove("samples");
        }),
        ["/maps/0: lacks \"samples\""]
    );
    assert_eq!(
        changed(&|v| v["maps"][0]["hitm"] = json!("none")),
        ["/maps/0/hitm: type [\"integer\",\"null\"]"]
    );
    assert_eq!(
        changed(&|v| v["summary"]["overall"]["loads"] = json!(-1)),
        ["/summary/overall/loads: minimum 0"]
    );
}

/// The schema's version is the program's: whoever raises one raises the other.
#[test]
fn the_schema_names_the_version_that_is_printed() {
    assert_eq!(
        schema()["properties"]["schema"]["const"],
        json!(mempath::tables::SCHEMA)
    );
}

#[test]
fn the_operations_of_a_recording_of_every_access_are_those_that_the_program_did() {
    // samples/classic-go1.22/README.md: `-n 12`, phases lookup update delete insert iterate grow lookup;
    // update and insert assign 12 keys each, grow 3 times as many (samples/src/probe/main.go).
    let found = &summary("classic-go1.22", "probe-go1.22.10.gz")["summary"]["together"];
    let counts: Vec<(&str, u64)> = found["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kind| {
            let operation = kind["operation"].as_str().unwrap();
            (operation, kind["count"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(counts, [("assign", 12 + 12 + 36), ("delete", 12)]);
    assert_eq!(found["every_access"], true);
    assert_eq!(found["brackets"].as_array().unwrap().len(), 72);
    assert_eq!(found["overlaps"], json!([]));
    // The deletes come between two phases with the same 12 keys: no growth is under way.
    let growing = found["brackets"].as_array().unwrap().iter();
    let growing = growing.filter(|b| !b["growth_ns"].is_null());
    let growing: Vec<&str> = growing.map(|b| b["operation"].as_str().unwrap()).collect();
    assert!(
        !growing.is_empty() && growing.iter().all(|&o| o == "assign"),
        "{growing:?}"
    );
}
