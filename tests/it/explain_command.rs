//! `actorline explain` as its readers see it: it says of an event what `normalize` makes of it, and who made it so.

use std::fs;
use std::process::Command;

const MAPPING: &str = r#"source: acme
title: Acme audit log
documentation: https://docs.example.com/audit
recognise: { has: [acme_id, op] }
columns:
  event_uid: acme_id
  action: op
  actor_id: actor.id
  actor_name: [actor.title, actor.name]
  actor_owner: actor.installer
  records_affected: count
actor_type:
  - case: job
    is: platform
    basis: reserved
    when: { note: runs by itself }
  - case: person
    is: human
    basis: declared
    when: { actor.kind: person }
    set: { records_affected: num }
cannot_tell: []
"#;

const REGISTRY: &str = "- { id: deployer, actor_type: service_account, technical_owner: ops@example.com, known_as: [u-1], purpose: deploys }\n";

/// What the command `actorline COMMAND --mappings … event.json` prints, with the registry or without.
fn printed(command: &str, event: &str, has_registry: bool) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("mappings/acme")).expect("a folder");
    fs::write(path("mappings/acme/mapping.yaml"), MAPPING).expect("a file");
    fs::write(path("registry.yaml"), REGISTRY).expect("a file");
    fs::write(path("event.json"), event).expect("a file");
    let mut arguments = vec![command, "--mappings", "mappings", "event.json"];
    if has_registry {
        arguments.extend(["--registry", "registry.yaml"]);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_actorline"))
        .args(arguments)
        .current_dir(directory.path())
        .output()
        .expect("the binary runs");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).expect("output is UTF-8")
}

fn line<'a>(text: &'a str, start: &str) -> &'a str {
    text.lines().map(str::trim).find(|line| line.starts_with(start)).unwrap_or_default()
}

#[test]
fn a_rule_that_nothing_needed_makes_no_issue() {
    let event = r#"{"acme_id":"1","op":"read","actor":{"kind":"person"},"num":1,"count":"many"}"#;
    let explained = printed("explain", event, false);
    assert!(printed("normalize", event, false).contains(r#""status":"mapped""#));
    assert!(line(&explained, "status").contains(r#""mapped""#), "{explained}");
    assert_eq!(line(&explained, "issues"), "");
}

#[test]
fn what_a_column_looked_at_in_vain_is_shown_beside_it() {
    let event = r#"{"acme_id":"1","op":"read","actor":{"kind":"person"}}"#;
    let explained = printed("explain", event, false);
    assert!(explained.contains("`actor.title` has no value"), "{explained}");
    assert!(explained.contains("`actor.name` has no value"), "{explained}");
}

#[test]
fn what_the_registry_set_is_not_ascribed_to_the_mapping() {
    let event = r#"{"acme_id":"1","op":"read","actor":{"id":"u-1","kind":"person","installer":"ann@example.com"}}"#;
    let explained = printed("explain", event, true);
    assert!(explained.contains("registry entry \"deployer\" decided instead: service_account"), "{explained}");
    assert_eq!(line(&explained, "actor_type "), "actor_type               \"service_account\"  <- registry");
    assert!(line(&explained, "actor_owner ").ends_with("\"ops@example.com\"  <- registry"), "{explained}");

    let unregistered = printed("explain", event, false);
    assert!(line(&unregistered, "actor_type ").ends_with("\"human\"  <- acme/mapping.yaml:17:5"), "{unregistered}");
    assert!(
        line(&unregistered, "actor_owner ").contains("\"ann@example.com\"  <- acme/mapping.yaml:10:"),
        "{unregistered}"
    );
}

#[test]
fn a_note_shows_no_secret() {
    let secret = format!("ghp_{}", "a1".repeat(18));
    let event = format!(r#"{{"acme_id":"1","op":"read","note":"{secret}"}}"#);
    let explained = printed("explain", &event, false);
    assert!(explained.contains("`note` is `[redacted]`"), "{explained}");
    assert!(!explained.contains(&secret), "{explained}");
}

#[test]
fn a_record_without_events_is_named() {
    assert_eq!(printed("explain", "[]", false), "event.json/0/0: empty: a record without events\n\n");
}
