//! Trouble outside: a lake that cannot be written, positions that are gone, records that are gone, too large outputs.

use std::fs;
use std::time::Duration;

use super::instance::{Instance, Scene, event, eventually, free_address};
use super::outcome::{Outcome, position_of};
use crate::kafka::broker;

const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn a_lake_that_cannot_be_written_pauses_reading_and_goes_on_when_it_can() {
    let mut scene = Scene::new(broker(), 2);
    scene.lake_settings = "commit_interval_ms: 200, target_file_bytes: 65536, max_buffer_bytes: 400000".to_string();
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..10).map(event));
    let mut instance = scene.start("one", None);
    Outcome::assert_complete(&scene, PATIENCE);

    // A file where the folder was: every write fails, as on a store that is away.
    let away = scene.folder.path().join("away");
    fs::rename(scene.lake_path(), &away).expect("moved away");
    fs::write(scene.lake_path(), "").expect("a file in its place");
    for partition in 0..2 {
        for round in 0..20 {
            scene.input.send(&producer, partition, (0..250).map(|number| event(1_000 * round + number)));
        }
    }
    eventually("reading is paused for the lake", PATIENCE, || {
        let (status, reason) = instance.get("/ready");
        status == 503 && reason.contains("reading is paused") && reason.contains("lake")
    });
    let num_sent = 10_010;
    assert!(scene.siem.committed().len() < num_sent, "reading went on although nobody could keep what was read");
    assert!(!instance.has_ended(), "trouble that may pass ends nothing");

    fs::remove_file(scene.lake_path()).expect("removed");
    fs::rename(&away, scene.lake_path()).expect("moved back");
    Outcome::assert_complete(&scene, Duration::from_secs(60));
    eventually("it is ready again", PATIENCE, || instance.get("/ready").0 == 200);
    assert!(instance.terminate().success());
}

#[test]
fn a_siem_topic_that_refuses_records_holds_up_nobody_and_gets_them_when_it_takes_them() {
    let mut scene = Scene::new(broker(), 1);
    scene.lake_settings = "commit_interval_ms: 200".to_string();
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..10).map(event));
    let instance = scene.start("one", None);
    Outcome::assert_complete(&scene, PATIENCE);

    scene.siem.alter("max.message.bytes", "100");
    scene.input.send(&producer, 0, (10..20).map(event));
    eventually("the lake has what the siem topic refuses", PATIENCE, || Outcome::found(&scene).lake.len() == 20);
    eventually("the siem's trouble shows", PATIENCE, || {
        let (status, reason) = instance.get("/ready");
        status == 503 && reason.contains("siem")
    });
    assert_eq!(scene.siem.committed().len(), 10);

    scene.siem.alter("max.message.bytes", "1000000");
    Outcome::assert_complete(&scene, PATIENCE);
    assert!(instance.terminate().success());
}

#[test]
fn a_group_position_that_is_gone_beside_the_lakes_stops_the_run_and_says_so() {
    let scene = Scene::new(broker(), 1);
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..5).map(event));
    let instance = scene.start("one", None);
    Outcome::assert_complete(&scene, PATIENCE);
    assert!(instance.terminate().success());

    scene.delete_group();
    let (status, log) = scene.start("two", None).wait();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(log.contains("has no position for it any more"), "{log}");
    Outcome::assert_complete(&scene, Duration::ZERO);
}

#[test]
fn records_that_were_deleted_before_they_were_read_stop_the_run_and_are_named() {
    let scene = Scene::new(broker(), 1);
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..5).map(event));
    let instance = scene.start("one", None);
    Outcome::assert_complete(&scene, PATIENCE);
    assert!(instance.terminate().success());

    scene.input.send(&producer, 0, (5..20).map(event));
    scene.input.delete_before(0, 10);
    let (status, log) = scene.start("two", None).wait();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(log.contains("is to be read from 5, but the broker holds 10 to 20"), "{log}");
}

#[test]
fn an_output_too_large_for_its_topic_is_made_smaller_and_says_so() {
    let mut scene = Scene::new(broker(), 1);
    scene.limit_output_records("70000");
    let targets: Vec<String> = (0..1_000).map(|number| format!(r#"{{"id":"target-{number:0100}"}}"#)).collect();
    let large = format!(r#"{{"acme_id":"1","op":"read","actor":"a-1","targets":[{}]}}"#, targets.join(","));
    let unreadable = "x".repeat(80_000);
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, [large, unreadable, event(3)]);
    let instance = scene.start("one", None);
    Outcome::assert_complete(&scene, PATIENCE);

    let sent = scene.siem.committed().into_iter().find(|sent| position_of(sent) == (0, 0, 0)).expect("sent");
    let activity: serde_json::Value = serde_json::from_slice(&sent.value.expect("a value")).expect("JSON");
    assert!(activity.get("targets").is_none(), "{activity}");
    assert_eq!(activity["issues"][0], "oversize:targets:left out of the record for the SIEM");
    assert_eq!(sent.key.as_deref(), Some(&b"a-1"[..]));
    let letter = scene.dead_letters.committed().into_iter().next().expect("a dead letter");
    assert_eq!(letter.value.as_deref(), Some(&b""[..]));
    assert_eq!(letter.header("actorline-size"), Some("80000"));
    assert_eq!(letter.header("actorline-sha256").map(str::len), Some(64));
    assert!(instance.terminate().success());
}

#[test]
fn mistakes_in_the_configuration_are_all_named_and_end_with_3() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let configuration = "kafka: { brokers: 'localhost:1', grop: x }\ntopics: {}\nlake: { url: here }\n";
    let (status, log) = Instance::start(folder.path(), "bad", configuration, free_address()).wait();
    assert_eq!(status.code(), Some(3), "{log}");
    for key in ["kafka.group", "kafka.grop", "topics", "lake.url"] {
        assert!(log.contains(key), "`{key}` is not named in: {log}");
    }
}

/// Nobody listens at the brokers' address, so whatever is said was found before.
#[test]
fn what_only_libraries_know_to_be_a_mistake_ends_with_3_before_any_connection() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kafka = "kafka: { brokers: 'localhost:1', group: g, properties: { PROPERTIES } }\ntopics: { audit.a: auto }\n";
    for (name, properties, lake, named) in [
        ("option", "client.rack: a", "{ url: 's3://bucket/lake', options: { aws_reigon: x } }", "aws_reigon"),
        ("query", "client.rack: a", "{ url: 's3://bucket/lake?version=1' }", "the lake's url has a query"),
        ("property", "client.rac: a", "{ url: 'file:///tmp/lake' }", "client.rac"),
        ("value", "security.protocol: SASL_SLL", "{ url: 'file:///tmp/lake' }", "security.protocol"),
    ] {
        let listen = free_address();
        let kafka = kafka.replace("PROPERTIES", properties);
        let configuration = format!("{kafka}lake: {lake}\ntelemetry: {{ listen: '{listen}' }}\n");
        let (status, log) = Instance::start(folder.path(), name, &configuration, listen).wait();
        assert_eq!(status.code(), Some(3), "{log}");
        assert!(log.contains(named), "`{named}` is not named in: {log}");
    }
}

#[test]
fn a_topic_that_does_not_exist_is_named_before_anything_is_read() {
    let mut scene = Scene::new(broker(), 1);
    scene.siem.name = "siem.absent".to_string();
    let (status, log) = scene.start("one", None).wait();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(log.contains("topic `siem.absent` does not exist"), "{log}");
}

#[test]
fn check_connects_and_leaves_no_trace_in_the_group() {
    let scene = Scene::new(broker(), 1);
    let (status, log) = scene.check();
    assert!(status.success(), "{log}");
}
