//! `actorline registry` as a script sees it: what goes to which stream, and what it exits with.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Exit code, stdout and stderr.
fn registry(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_actorline"))
        .arg("registry")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn directory_with(name: &str, text: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join(name), text).expect("a file");
    directory
}

#[test]
fn a_registry_in_order_passes_silently_on_stdout() {
    let directory = directory_with("a.yaml", "- { id: a, business_owner: x@example.com }\n");
    let (code, stdout, stderr) = registry(directory.path(), &["check", "."]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""));
    assert!(stderr.contains("entries: 1"), "{stderr}");
}

#[test]
fn mistakes_and_rival_claims_gate_a_merge() {
    let directory = directory_with("a.yaml", "- { id: a, owner: x }\n");
    let (code, stdout, _) = registry(directory.path(), &["check", "a.yaml"]);
    assert_eq!(code, Some(1));
    assert!(stdout.starts_with("a.yaml:1:12: error[unknown-key]: "), "{stdout}");

    let directory = directory_with("a.csv", "id,known_as\na,n\nb,n\n");
    let (code, stdout, _) = registry(directory.path(), &["check", "a.csv"]);
    assert_eq!(code, Some(1));
    assert!(stdout.starts_with("a.csv:3:1: warning[ambiguous]: "), "{stdout}");
}

#[test]
fn an_entry_is_shown_as_it_was_at_a_time() {
    let lines = "{\"id\":\"a\",\"business_owner\":\"x\",\"expires\":\"2026-02-01\",\"valid_until\":\"2026-03-01\"}\n";
    let directory = directory_with("a.ndjson", lines);
    let show = |at: &str| registry(directory.path(), &["show", "a", "--registry", ".", "--at", at]);

    let (code, stdout, _) = show("2026-02-10");
    assert_eq!(code, Some(0));
    let entry: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((&entry["owner"], &entry["policy_state"]), (&"x".into(), &"expired".into()));

    let (code, stdout, stderr) = show("2026-03-01");
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains("until 2026-03-01T00:00:00Z"), "{stderr}");
    assert_eq!(show("yesterday").0, Some(3));
}
