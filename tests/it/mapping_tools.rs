//! What authors of mappings work with: `mapping new`, `coverage`, `test`, `lint`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use actorline::envelope;
use actorline::input::mapping_files;
use actorline::mapping::Library;
use actorline::mapping::scaffold::{Samples, scaffold};
use actorline::organisation::Organisation;
use bumpalo::Bump;

use crate::rows;

const MAPPING: &str = r"source: acme
title: Acme audit log
documentation: https://docs.example.com/audit
recognise: { has: [acme_id, op] }
let: { who: [actor.id, actor.login] }
columns:
  event_uid: acme_id
  action: op
  actor_id: $who
  credential_id: { pick: tokens, where: { kind: api }, take: id }
  scope: scopes
actor_type:
  - { case: person, is: human, basis: declared, when: { actor.kind: person } }
cannot_tell: []
";

const CASE: &str = r#"{
  "about": "a person",
  "input": {"acme_id":"1","op":"read","actor":{"id":"u-1","kind":"person"},"scopes":["read","write"]},
  "expected": [{"event_uid":"acme::1","status":"mapped","actor_type":"human","actor_type_basis":"declared","actor_type_rule":"person",
    "actor_id":"u-2","credential_type":"unknown","scope":["read","admin"],"action":"read","action_verb":"other","action_category":"other","result":"unknown"}]
}
"#;

/// Exit code, stdout and stderr.
fn mapping(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_actorline"))
        .arg("mapping")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    folder
}

#[test]
fn coverage_names_the_fields_that_no_rule_reads() {
    let event = r#"{"acme_id":"1","op":"read","actor":{"login":"ann","kind":"person","role":"admin"},
        "tokens":[{"id":"t-1","kind":"api","hash":"ab"}],"scopes":["read"],"meta":"{\"trace\":\"x\"}"}"#;
    let folder = folder_with(&[("mappings/acme/mapping.yaml", MAPPING), ("event.json", event)]);
    let (code, stdout, stderr) = mapping(folder.path(), &["coverage", "--mappings", "mappings", "event.json"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let rows: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).expect("a row is JSON")).collect();
    let named = |what: &str| -> Vec<&str> {
        rows.iter().filter(|row| row["what"] == what).filter_map(|row| row["name"].as_str()).collect()
    };
    assert_eq!(named("unread field"), ["actor.role", "meta", "meta(json).trace", "tokens[].hash"]);
    let empty = named("empty column");
    assert!(empty.contains(&"event_time") && empty.contains(&"action_verb"), "{empty:?}");
    assert!(!empty.contains(&"actor_id") && !empty.contains(&"credential_id"), "{empty:?}");
}

#[test]
fn a_secret_in_an_unread_field_is_not_shown() {
    let event = r#"{"acme_id":"1","op":"read","note":"ghp_0123456789abcdefghijABCDEFGHIJ012345"}"#;
    let folder = folder_with(&[("mappings/acme/mapping.yaml", MAPPING), ("event.json", event)]);
    let (_, stdout, _) = mapping(folder.path(), &["coverage", "--mappings", "mappings", "event.json"]);
    assert!(stdout.contains("\"note\"") && !stdout.contains("ghp_0123"), "{stdout}");
}

#[test]
fn a_failed_case_shows_what_was_expected_above_what_came_out() {
    let folder = folder_with(&[("mappings/acme/mapping.yaml", MAPPING), ("mappings/acme/tests/person.json", CASE)]);
    let (code, stdout, stderr) = mapping(folder.path(), &["test", "--mappings", "mappings"]);
    assert_eq!((code, stdout.as_str()), (Some(1), "1 cases, 0 passed, 1 failed\n"));
    let shown = "acme/tests/person.json: a person\n    actor_id\n      - \"u-2\"\n      + \"u-1\"\n    scope\n      - \"admin\"\n      + \"write\"\n";
    assert!(stderr.starts_with(shown), "{stderr}");
}

#[test]
fn accepted_cases_pass() {
    let folder = folder_with(&[("mappings/acme/mapping.yaml", MAPPING), ("mappings/acme/tests/person.json", CASE)]);
    assert_eq!(mapping(folder.path(), &["test", "--mappings", "mappings", "--accept"]).0, Some(0));
    assert_eq!(mapping(folder.path(), &["test", "--mappings", "mappings"]).0, Some(0));
}

#[test]
fn lint_ends_with_findings() {
    let folder = folder_with(&[("mappings/acme/mapping.yaml", MAPPING), ("mappings/acme/tests/person.json", CASE)]);
    let (code, stdout, _) = mapping(folder.path(), &["lint", "--mappings", "mappings"]);
    assert_eq!(code, Some(1));
    assert!(stdout.contains("warning[no-case]") && stdout.contains("warning[failed-case]"), "{stdout}");
}

#[test]
fn new_writes_once_and_never_over_a_mapping() {
    let events = "{\"id\":\"a\",\"at\":\"2026-01-01T00:00:00Z\",\"action\":\"x.create\"}\n{\"id\":\"b\",\"at\":\"2026-01-01T00:00:01Z\",\"action\":\"x.delete\"}\n";
    let folder = folder_with(&[("events.ndjson", events)]);
    let arguments = ["new", "--source", "beta_log", "events.ndjson"];
    let (code, stdout, _) = mapping(folder.path(), &arguments);
    assert_eq!((code, stdout.trim()), (Some(0), "mappings/beta_log/mapping.yaml"));
    let text = fs::read_to_string(folder.path().join("mappings/beta_log/mapping.yaml")).expect("it is there");
    assert!(text.contains("event_uid: id") && text.contains("event_time: { path: at"), "{text}");
    assert_eq!(mapping(folder.path(), &arguments).0, Some(3));
    let (code, _, stderr) = mapping(folder.path(), &["new", "--source", "../x", "events.ndjson"]);
    assert_eq!(code, Some(3), "{stderr}");
}

/// The events of each source's cases, cut from what wraps them.
fn shipped_events() -> BTreeMap<String, Vec<String>> {
    let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in mapping_files::shipped() {
        let Some((source, _)) = path.split_once("/tests/") else { continue };
        let case: serde_json::Value = serde_json::from_str(&text).expect("a case is JSON");
        let is_own = case["expected"].as_array().is_some_and(|rows| rows.iter().all(|row| row["status"] == "mapped"));
        let Some(input) = case.get("input").filter(|_| is_own) else { continue };
        let arena = Bump::new();
        let record = rows::record(input.to_string().as_bytes());
        for event in envelope::cut(&record, &arena).expect("a case's input can be cut") {
            events.entry(source.to_string()).or_default().push(event.raw.to_string());
        }
    }
    events
}

/// Whatever the samples are: a scaffold of any platform's events compiles, and takes its samples for its own.
#[test]
fn a_scaffold_compiles_and_recognises_its_samples() {
    for (source, events) in shipped_events() {
        // Each form in which a platform delivers its events is a scaffold of its own; one sample is enough for one.
        for event in events {
            let mut samples = Samples::default();
            samples.add(&serde_json::from_str(&event).expect("an event is JSON"));
            let text = scaffold(&source, &samples).unwrap_or_else(|error| panic!("{source}: {error}"));
            let files = BTreeMap::from([(format!("{source}/mapping.yaml"), text.clone())]);
            let library = Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}"));
            let (arena, organisation) = (Bump::new(), Organisation::default());
            assert_eq!(library.recognise(&event, &[], &organisation, &arena).count(), 1, "{event}\n{text}");
        }
    }
}
