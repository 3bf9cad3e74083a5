//! `actorline demo`, as a newcomer runs it: what it leaves behind, what it tells, and what it refuses.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn actorline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_actorline"))
        .args(arguments)
        .env_remove("ACTORLINE_LOG")
        .output()
        .expect("the binary runs")
}

fn demo(folder: &Path) -> Output {
    actorline(&["demo", "--dir", folder.to_str().expect("a UTF-8 path")])
}

/// The rows of an answer of the demo's lake.
fn ask(folder: &Path, sql: &str) -> Vec<Value> {
    let lake = folder.join("lake");
    let output = actorline(&["query", "--lake", lake.to_str().expect("a UTF-8 path"), "--format", "json", sql]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn count(folder: &Path, condition: &str) -> u64 {
    let rows = ask(folder, &format!("SELECT count(*) AS n FROM activities WHERE {condition}"));
    rows[0]["n"].as_u64().expect("a number")
}

/// The number before `word` in the line that begins with `label`.
fn told(story: &str, label: &str, word: &str) -> u64 {
    let line =
        story.lines().find(|line| line.starts_with(label)).unwrap_or_else(|| panic!("no `{label}` in:\n{story}"));
    let before = line.split(word).next().unwrap_or_default().trim_end();
    let number = before.rsplit(' ').next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("no number before `{word}` in `{line}`"))
}

#[test]
fn a_newcomer_sees_the_whole_pipeline_and_one_incident() {
    let home = tempfile::tempdir().expect("temporary folder");
    let folder = home.path().join("demo");
    let output = demo(&folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "progress is for terminals");
    let story = String::from_utf8(output.stdout).expect("UTF-8");

    // The lake, and both topics against it.
    let num_activities = count(&folder, "status IN ('mapped', 'partial', 'unmapped')");
    let num_rejected = count(&folder, "status = 'rejected'");
    assert!(num_activities >= 300, "{num_activities} activities");
    assert!(num_rejected >= 5, "{num_rejected} dead letters");
    let sources = ask(&folder, "SELECT DISTINCT source FROM activities WHERE status = 'mapped'");
    assert!(sources.len() >= 8, "{sources:?}");
    assert_eq!(told(&story, "lake ", " rows"), num_activities + num_rejected);
    assert_eq!(told(&story, "SIEM ", " activities"), num_activities);
    assert_eq!(told(&story, "set aside ", " dead letters"), num_rejected);

    // The incident, in order and tied together.
    let incident = story.split_once("One incident").expect("an incident").1;
    let mut rest = incident;
    for line in [
        "github_audit  ai_agent  Copilot",
        "session 7c1d2e90",
        "aws_cloudtrail  service_account  ci-shop-deploy",
        "issues ASIAEXAMPLIARUN3T6QP",
        "secret_scanning_alert.create",
        "credential AKIAEXAMPLIACI7Q4KDZ, as in 7, now from 192.0.2.143",
        "issues AKIAEXAMPLIABD5W2MXR",
        "credential AKIAEXAMPLIABD5W2MXR, issued by 19",
        "kubernetes_audit",
        "credential ASIAEXAMPLIAHOP4Y7VN, as in 23",
        "gcp_audit",
        "azure_signin",
        "anthropic_compliance",
        "DeleteAccessKey",
    ] {
        let at = rest.find(line).unwrap_or_else(|| panic!("`{line}` is missing or too early in:\n{incident}"));
        rest = &rest[at + line.len()..];
    }

    // Nothing acts on a screen, and half a screen is enough, unless the folder's own name is long.
    let is_fine = |character: char| character == '\n' || !character.is_control();
    assert!(story.chars().all(is_fine), "control characters");
    let name = folder.to_str().expect("a UTF-8 path");
    for line in story.lines().filter(|line| !line.contains(name)) {
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }

    // The lake is sealed, and says so of itself.
    let (lake, key) = (folder.join("lake"), folder.join("seal.pub.pem"));
    let [lake, key] = [&lake, &key].map(|path| path.to_str().expect("a UTF-8 path"));
    let output = actorline(&["archive", "verify", "--lake", lake, "--public-key", key]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .contains(&format!("{} rows, all as sealed", num_activities + num_rejected))
    );

    // A second run leaves everything as it is and says what to do.
    let output = demo(&folder);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("is not empty: name a new folder with --dir"), "{message}");
    assert_eq!(count(&folder, "true"), num_activities + num_rejected);
}
