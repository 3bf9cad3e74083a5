//! Positions that cannot be gone on from: what the run says then, and that the command which it prints resolves it.

use std::time::Duration;

use super::instance::{Scene, event, eventually};
use super::outcome::Outcome;
use super::seals::{sealed, verify};
use crate::faults::checker::{Evidence, Moment, check};
use crate::kafka::broker;

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `scene`, which must refuse, and gives what it said.
fn refusal(scene: &Scene<'_>, name: &str) -> String {
    let (status, log) = scene.start(name, None).wait();
    assert_eq!(status.code(), Some(4), "{log}");
    log
}

/// Runs the command that stands in `log` between backticks, as an operator would.
fn obey(scene: &Scene<'_>, log: &str) {
    let begin = log.find("kafka-consumer-groups.sh").unwrap_or_else(|| panic!("no command in {log}"));
    let end = log[begin..].find('`').unwrap_or_else(|| log[begin..].find('\n').expect("the command's end"));
    let command = &log[begin..begin + end];
    let mut printed = String::new();
    eventually(&format!("`{command}` is obeyed"), PATIENCE, || {
        printed = scene.broker.tool(command);
        // The group has members until the session of the one that refused is over.
        printed.contains("NEW-OFFSET")
    });
}

fn settled(scene: &Scene<'_>) {
    let instance = scene.start("settled", None);
    Outcome::assert_complete(scene, PATIENCE);
    assert!(instance.terminate().success());
}

#[test]
fn records_that_were_deleted_before_the_lake_read_them_become_a_gap_that_its_commit_names() {
    let mut scene = Scene::new(broker(), 1);
    let settings = sealed(&scene, 200, 1_000, "");
    scene.lake_settings.clone_from(&settings);
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..5).map(event));
    settled(&scene);
    // The siem goes on, and the lake does not for so long that records are deleted.
    scene.lake_settings = settings.replace("commit_interval_ms: 200", "commit_interval_ms: 3600000");
    let instance = scene.start("two", None);
    scene.input.send(&producer, 0, (5..20).map(event));
    eventually("the siem has all", PATIENCE, || scene.siem.committed().len() == 20);
    instance.kill();
    scene.lake_settings = settings;
    scene.input.delete_before(0, 10);

    let log = refusal(&scene, "three");
    assert!(log.contains("is to be read from 5, but the broker holds 10 to 20"), "{log}");
    assert!(log.contains("--to-offset 20 --execute"), "the siem topic is not to get anything again: {log}");
    obey(&scene, &log);
    // A crash before the lake has said it does not take the operator's word back.
    scene.start("four", None).kill();
    scene.input.send(&producer, 0, (20..25).map(event));
    let instance = scene.start("five", None);
    eventually("the lake has what there is", PATIENCE, || Outcome::found(&scene).lake.len() == 20);
    assert!(instance.terminate().success());
    let evidence = Evidence::of(&scene, &scene.lake_path());
    let gaps: Vec<_> = evidence.commits.iter().flat_map(|commit| &commit.steps).filter_map(|step| step.gap).collect();
    assert_eq!(gaps, [(5, 10)]);
    let mut offsets: Vec<_> = evidence.siem.iter().map(|output| output.position.1).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..25).collect::<Vec<_>>(), "the siem topic has each once");
    let in_lake: Vec<_> = Outcome::found(&scene).lake.into_keys().map(|(_, offset, _)| offset).collect();
    assert_eq!(in_lake, (0..5).chain(10..25).collect::<Vec<_>>());
    let verified = verify(&scene, &[]);
    assert_eq!(verified.status.code(), Some(1), "a gap is a finding");
    let lines = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(lines.contains("the broker deleted offsets 5 to 9 before they were read"), "{lines}");
    assert_eq!(lines.matches("gap").count(), 1, "and the only one: {lines}");
}

#[test]
fn records_that_neither_sink_read_before_they_were_deleted_are_gone_on_without() {
    let scene = Scene::new(broker(), 1);
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..5).map(event));
    settled(&scene);
    scene.input.send(&producer, 0, (5..20).map(event));
    scene.input.delete_before(0, 10);
    let log = refusal(&scene, "two");
    assert!(log.contains("--to-offset 10 --execute"), "{log}");
    obey(&scene, &log);
    let instance = scene.start("three", None);
    eventually("both sinks have what there is", PATIENCE, || {
        let found = Outcome::found(&scene);
        found.lake.len() == 15 && found.siem.len() == 15
    });
    assert!(instance.terminate().success());
    let mut evidence = Evidence::of(&scene, &scene.lake_path());
    // What came before the gap cannot be read any more, so it is taken from the sinks' word.
    evidence.rows.retain(|row| row.position.1 >= 10);
    evidence.siem.retain(|output| output.position.1 >= 10);
    evidence.commits.retain(|commit| commit.steps.iter().any(|step| step.gap.is_some()));
    assert_eq!(evidence.commits.len(), 1);
    let files: Vec<_> = evidence.commits[0].files.iter().map(|file| file.path.clone()).collect();
    evidence.rows.retain(|row| files.contains(&row.file));
    assert!(!check(&evidence, Moment::SoFar).iter().any(|finding| finding.starts_with("a hole")), "the gap is named");
}

#[test]
fn a_group_that_was_deleted_is_set_to_where_the_outputs_end() {
    let mut scene = Scene::new(broker(), 2);
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..5).map(event));
    scene.input.send(&producer, 1, ["broken"]);
    settled(&scene);
    // The siem is ahead of the lake when the group goes.
    scene.lake_settings = "commit_interval_ms: 3600000".to_string();
    let instance = scene.start("two", None);
    scene.input.send(&producer, 0, (5..9).map(event));
    scene.input.send(&producer, 1, ["broken too"]);
    eventually("the siem has all", PATIENCE, || {
        scene.siem.committed().len() == 9 && scene.dead_letters.committed().len() == 2
    });
    instance.kill();
    scene.lake_settings = "commit_interval_ms: 200".to_string();
    scene.delete_group();

    let log = refusal(&scene, "three");
    assert!(log.contains("has no position for it any more; `actorline positions --config"), "{log}");
    let commands = scene.positions();
    assert_eq!(commands.lines().count(), 2, "{commands}");
    assert!(commands.contains("--to-offset 9 ") && commands.contains("--to-offset 2 "), "{commands}");
    for command in commands.lines() {
        obey(&scene, &format!("`{command}`"));
    }
    scene.input.send(&producer, 0, (9..12).map(event));
    settled(&scene);
}

#[test]
fn a_topic_that_was_made_anew_is_refused_until_an_operator_takes_it() {
    let scene = Scene::new(broker(), 2);
    let producer = scene.input.producer(None);
    for partition in 0..2 {
        scene.input.send(&producer, partition, (0..5).map(event));
    }
    settled(&scene);
    scene.input.make_anew();
    let producer = scene.input.producer(None);
    for partition in 0..2 {
        scene.input.send(&producer, partition, (100..108).map(event));
    }
    let log = refusal(&scene, "two");
    assert!(log.contains("was deleted and made anew"), "{log}");
    assert_eq!(Outcome::found(&scene).siem.len(), 10, "nothing of it was read");
    obey(&scene, &log);
    let instance = scene.start("three", None);
    eventually("both sinks have the new topic's records", PATIENCE, || {
        Outcome::found(&scene).siem.len() == 16 && super::outcome::lake_rows(&scene).len() == 26
    });
    assert!(instance.terminate().success());
    // Taken once, taken for good.
    let instance = scene.start("four", None);
    eventually("it is ready", PATIENCE, || instance.get("/ready").0 == 200);
    assert!(instance.terminate().success());
}

#[test]
fn a_topic_that_is_made_anew_under_a_running_instance_is_refused_too() {
    let scene = Scene::new(broker(), 1);
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..5).map(event));
    let instance = scene.start("one", None);
    Outcome::assert_complete(&scene, PATIENCE);
    scene.input.make_anew();
    // More than there was: where reading stood, there is a record again.
    scene.input.send(&scene.input.producer(None), 0, (100..120).map(event));
    let (status, log) = instance.wait();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(log.contains("was deleted and made anew while it was read"), "{log}");
    let log = refusal(&scene, "two");
    assert!(log.contains("was deleted and made anew"), "{log}");
    assert_eq!(scene.siem.committed().len(), 5, "nothing of the new topic was taken for the old one's");
    assert_eq!(super::outcome::lake_rows(&scene).len(), 5);
    obey(&scene, &log);
    let instance = scene.start("three", None);
    eventually("both sinks have the new topic's records", PATIENCE, || {
        scene.siem.committed().len() == 25 && super::outcome::lake_rows(&scene).len() == 25
    });
    assert!(instance.terminate().success());
}
