//! A record batch that was altered on the broker's disk: the broker lost data, which no dead letter can mend.

use std::fs;
use std::time::Duration;

use super::instance::{Scene, event};
use super::outcome::Outcome;
use crate::kafka::broker;

const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn row_11_a_batch_with_a_wrong_checksum_stops_the_run_and_nothing_behind_it_is_read() {
    let scene = Scene::new(broker(), 1);
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..10).map(event));
    let instance = scene.start("one", None);
    Outcome::assert_complete(&scene, PATIENCE);
    assert!(instance.terminate().success());

    let marker = r#"{"acme_id":"to be altered","op":"read"}"#;
    scene.input.send(&producer, 0, [marker]);
    scene.input.send(&producer, 0, [event(11)]);
    let segment = broker().folder().join(format!("{}-0/00000000000000000000.log", scene.input.name));
    let mut bytes = fs::read(&segment).expect("the partition's segment");
    let at = bytes.windows(marker.len()).position(|window| window == marker.as_bytes()).expect("the record's value");
    bytes[at + 13] = b'X';
    fs::write(&segment, bytes).expect("altered");

    let before = scene.siem.committed().len();
    let (status, log) = scene.start("two", None).wait();
    assert_eq!(status.code(), Some(4), "{log}");
    assert!(log.contains("Bad message") || log.contains("BadMessage"), "{log}");
    assert_eq!(scene.siem.committed().len(), before, "nothing behind the batch was read");
}
