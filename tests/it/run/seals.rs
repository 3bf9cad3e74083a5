//! A run seals what it commits, beats while nothing comes, and anchors its seals in a topic.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rdkafka::producer::Producer;

use super::instance::{Scene, event, eventually};
use super::outcome::Outcome;
use crate::kafka::{Topic, broker};

#[test]
fn a_run_leaves_an_archive_that_its_anchors_bear_out() {
    let broker = broker();
    let mut scene = Scene::new(broker, 2);
    let anchors = Topic::create(broker, "anchors", 1, &[]);
    scene.lake_settings = sealed(&scene, 300, 1_000, &format!(", anchor: {{ topic: {} }}", anchors.name));
    let producer = scene.input.producer(Some(&scene.group));
    for round in 0..3_usize {
        // Transactions leave markers, which are no gaps; one of them is taken back.
        producer.begin_transaction().expect("begun");
        scene.input.send(&producer, i32::from(round == 1), (0..10).map(|number| event(number + 10 * round)));
        let timeout = Duration::from_secs(10);
        if round == 1 {
            producer.abort_transaction(timeout).expect("aborted");
        } else {
            producer.commit_transaction(timeout).expect("committed");
        }
    }
    let instance = scene.start("one", None);
    Outcome::assert_complete(&scene, Duration::from_secs(40));
    let place = format!("kafka://{}/{}", broker.address(), anchors.name);
    eventually("a heartbeat is there", Duration::from_secs(20), || {
        let seals = scene.lake_path().join("seals");
        let seals = std::fs::read_dir(seals).into_iter().flatten().flatten();
        let texts = seals.map(|seal| std::fs::read_to_string(seal.path()).unwrap_or_default());
        texts.filter(|text| text.contains(r#""kind":"heartbeat""#)).count() >= 2
    });
    eventually("the figures say how far seals and anchors are", Duration::from_secs(20), || {
        let metrics = instance.get("/metrics").1;
        ["actorline_sealed_version ", "actorline_anchored_version "].iter().all(|name| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|version| version.parse::<u64>().ok()).is_some_and(|version| version > 2)
        })
    });
    // Beside a writer at work, too.
    assert_valid(&verify(&scene, &["--anchor", &place]));
    assert!(instance.terminate().success());
    let verified = verify(&scene, &["--anchor", &place]);
    assert_valid(&verified);
    let lines = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(lines.contains("the newest seal is anchored") && lines.contains("promises no further one"), "{lines}");
}

/// The settings of a lake whose seals are signed.
pub fn sealed(scene: &Scene<'_>, commit_interval_ms: u32, heartbeat_interval_ms: u32, more: &str) -> String {
    let key = scene.folder.path().join("seal.pem");
    let made = Command::new(env!("CARGO_BIN_EXE_actorline")).args(["archive", "key"]).arg(&key).output();
    assert!(made.expect("actorline starts").status.success());
    format!(
        "commit_interval_ms: {commit_interval_ms}, seal: {{ key: '${{file:{}}}', \
         heartbeat_interval_ms: {heartbeat_interval_ms}{more} }}",
        key.display()
    )
}

pub fn verify(scene: &Scene<'_>, arguments: &[&str]) -> Output {
    verify_at(&scene.lake_path(), &scene.folder.path().join("seal.pub.pem"), arguments)
}

fn verify_at(lake: &Path, key: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_actorline"))
        .args(["archive", "verify", "--format", "ndjson", "--lake"])
        .arg(lake)
        .arg("--public-key")
        .arg(key)
        .args(arguments)
        .output()
        .expect("actorline starts")
}

pub fn assert_valid(verified: &Output) {
    let lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(verified.status.code(), Some(0), "{}{}", lines(&verified.stdout), lines(&verified.stderr));
}
