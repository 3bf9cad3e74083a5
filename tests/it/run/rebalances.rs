//! Instances that come and go in peace while records stream in: partitions move, nothing is lost or doubled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::instance::{Scene, SetWhenDropped, event, eventually};
use super::outcome::Outcome;
use crate::kafka::broker;

#[test]
fn partitions_move_between_instances_without_loss_or_doubles() {
    let mut scene = Scene::new(broker(), 6);
    scene.lake_settings = "commit_interval_ms: 400".to_string();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let producer = scene.input.producer(None);
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                for partition in 0..6 {
                    scene.input.send(&producer, partition, (number..number + 5).map(event));
                    number += 5;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let _over = SetWhenDropped(&is_over);
        let one = scene.start("one", None);
        eventually("the first instance works", PATIENCE, || one.get("/ready").0 == 200);
        let two = scene.start("two", None);
        let three = scene.start("three", Some("three"));
        for instance in [&two, &three] {
            eventually("another instance has partitions", PATIENCE, || {
                instance.get("/metrics").1.contains("actorline_position")
            });
        }
        assert!(two.terminate().success());
        std::thread::sleep(Duration::from_millis(500));
        assert!(one.terminate().success());
        let four = scene.start("four", None);
        eventually("the newest instance has partitions", PATIENCE, || {
            four.get("/metrics").1.contains("actorline_position")
        });
        is_over.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(300));
        Outcome::assert_complete(&scene, PATIENCE);
        assert!(three.terminate().success() && four.terminate().success());
    });
    Outcome::assert_complete(&scene, Duration::ZERO);
}

const PATIENCE: Duration = Duration::from_secs(40);
