//! From one end to the other: what goes in comes out once at each sink, and what is asked to stop finishes.

use std::time::Duration;

use super::instance::{Scene, event, eventually};
use super::outcome::Outcome;
use crate::kafka::broker;

const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn every_record_reaches_both_sinks_once() {
    let scene = Scene::new(broker(), 4);
    let producer = scene.input.producer(None);
    for partition in 0..4 {
        scene.input.send(&producer, partition, (0..50).map(event));
    }
    scene.input.send(&producer, 0, ["not an event", ""]);
    let instance = scene.start("one", None);
    Outcome::assert_complete(&scene, PATIENCE);

    let letter = scene.dead_letters.committed().into_iter().find(|sent| sent.value.as_deref() == Some(b"not an event"));
    let letter = letter.expect("the dead letter has the original bytes");
    assert_eq!(
        (letter.header("actorline-stage"), letter.header("actorline-reason")),
        (Some("envelope"), Some("syntax"))
    );
    let (status, metrics) = instance.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("actorline_commit_duration_seconds"), "{metrics}");
    assert_eq!(instance.get("/ready").0, 200);
    assert!(instance.terminate().success());
}

#[test]
fn sigterm_commits_what_was_read_and_exits_with_0() {
    let mut scene = Scene::new(broker(), 2);
    // Nothing reaches the lake within the test but by draining.
    scene.lake_settings = "commit_interval_ms: 3600000".to_string();
    let producer = scene.input.producer(None);
    for partition in 0..2 {
        scene.input.send(&producer, partition, (0..100).map(event));
    }
    let instance = scene.start("one", None);
    eventually("the siem topic has all", PATIENCE, || scene.siem.committed().len() == 200);
    assert!(Outcome::found(&scene).lake.is_empty(), "the lake is not due yet");
    assert!(instance.terminate().success());
    Outcome::assert_complete(&scene, Duration::ZERO);
}
