//! `actorline report coverage`: the same figures from a lake and from the files that it was made of.

use std::fs;
use std::process::Command;

const MAPPING: &str = r"source: acme
title: Acme audit log
documentation: https://docs.example.com/audit
recognise: { has: [acme_id, op] }
columns:
  event_uid: acme_id
  action: op
  action_verb: { path: op, verb_of: last, otherwise: other }
  actor_id: actor.id
  actor_owner: actor.installer
  credential_id: token
  correlation_id: request
actor_type:
  - { case: person, is: human, basis: declared, when: { actor.kind: person } }
  - { case: named_bot, is: bot, basis: naming, when: { actor.id: { prefix: bot- } } }
cannot_tell:
  - { gap: who holds a token, compensating_control: register every token }
  - who typed it
";

const EVENTS: &str = r#"{"acme_id":"1","op":"key.create","actor":{"id":"u-1","kind":"person"},"token":"t-1","request":"r-1"}
{"acme_id":"2","op":"key.create","actor":{"id":"u-1","kind":"person"},"request":"r-1"}
{"acme_id":"3","op":"key.frobnicate","actor":{"id":"bot-7","installer":"ann@example.com"},"token":"t-2"}
{"acme_id":"4","op":"key.frobnicate","actor":{"id":"x"}}
{"some":"other platform"}
not JSON
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("mappings/acme")).expect("a folder");
    fs::write(folder.path().join("mappings/acme/mapping.yaml"), MAPPING).expect("a file");
    fs::write(folder.path().join("events.ndjson"), EVENTS).expect("a file");
    folder
}

fn stdout(folder: &tempfile::TempDir, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_actorline"))
        .args(arguments)
        .args(["--mappings", "mappings"])
        .current_dir(folder.path())
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

#[test]
fn each_source_shows_what_is_known_of_its_actors() {
    let folder = folder();
    let text = stdout(&folder, &["report", "coverage", "events.ndjson"]);
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        rows[0],
        serde_json::json!({
            "source": "acme", "num_events": 4, "actor_type_known": 0.75,
            "declared": 0.5, "reserved": 0.0, "registry": 0.0, "correlated": 0.0, "naming": 0.25, "behaviour": 0.0,
            "with_owner": 0.25, "with_credential_id": 0.5, "with_correlation_id": 0.5, "unknown_operations": 1,
            "unknown_operation_names": ["key.frobnicate"],
            "control_weaknesses": [
                { "gap": "who holds a token", "compensating_control": "register every token" },
                { "gap": "who typed it", "compensating_control": null },
            ],
        })
    );
    // What no mapping knows counts as an event of which nothing is known; what is no event does not count.
    assert_eq!((&rows[1]["source"], &rows[1]["num_events"]), (&"unrecognised".into(), &1.into()));
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_lake_gives_the_figures_of_the_files_it_was_made_of() {
    let folder = folder();
    stdout(&folder, &["normalize", "--lake", "lake", "events.ndjson"]);
    let of_files = stdout(&folder, &["report", "coverage", "events.ndjson"]);
    assert_eq!(stdout(&folder, &["report", "coverage", "--lake", "lake"]), of_files);
}

#[test]
fn people_see_three_tables() {
    let folder = folder();
    let text = stdout(&folder, &["report", "coverage", "--format", "table", "events.ndjson"]);
    for wanted in ["75.0 %", "key.frobnicate", "register every token"] {
        assert!(text.contains(wanted), "{text}");
    }
}
