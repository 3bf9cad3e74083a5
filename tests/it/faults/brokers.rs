//! A broker that is killed and comes back, and a group whose members come and go without end.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::checker::Evidence;
use super::feed::Feed;
use super::{cluster, rounds};
use crate::run::instance::{Scene, SetWhenDropped, eventually};
use crate::run::kills::{Random, seed};

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_broker_that_is_killed_and_comes_back_loses_nothing_and_doubles_nothing() {
    let (cluster, _turn) = cluster();
    let mut scene = Scene::new(&cluster.broker, 2);
    scene.lake_settings = "commit_interval_ms: 300".to_string();
    let instance = scene.start("one", Some("one"));
    eventually("it is ready", PATIENCE, || instance.get("/ready").0 == 200);
    let mut random = Random(seed());
    for _ in 0..rounds().unwrap_or(1) * 2 {
        // What the broker has acknowledged it must keep: the feed has a producer of its own for each round.
        let mut feed = Feed::of(&scene.input, random.below(u64::MAX));
        for _ in 0..5 + random.below(10) {
            feed.burst();
        }
        // In the middle of reading and committing.
        std::thread::sleep(Duration::from_millis(random.below(300)));
        cluster.broker.restart();
        Feed::of(&scene.input, random.below(u64::MAX)).burst();
        Evidence::assert_at_rest(&scene, &scene.lake_path(), PATIENCE);
    }
    assert!(instance.terminate().success());
    Evidence::assert_at_rest(&scene, &scene.lake_path(), Duration::ZERO);
}

#[test]
fn a_storm_of_rebalances_loses_nothing_and_doubles_nothing() {
    let (cluster, _turn) = cluster();
    let mut scene = Scene::new(&cluster.broker, 6);
    scene.lake_settings = "commit_interval_ms: 300".to_string();
    let mut random = Random(seed());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| Feed::of(&scene.input, seed()).until(&is_over));
        let over = SetWhenDropped(&is_over);
        let steady = scene.start("steady", None);
        let mut guests = Vec::new();
        for round in 0..12 * rounds().unwrap_or(1) {
            guests.push(scene.start(&format!("guest-{round}"), None));
            std::thread::sleep(Duration::from_millis(200 + random.below(1_500)));
            if guests.len() > 2 {
                let guest = guests.remove(random.index(guests.len()));
                // Some say good-bye, and some do not.
                if random.below(2) == 0 {
                    assert!(guest.terminate().success());
                } else {
                    guest.kill();
                }
            }
        }
        for guest in guests {
            assert!(guest.terminate().success());
        }
        drop(over);
        std::thread::sleep(Duration::from_secs(1));
        Evidence::assert_at_rest(&scene, &scene.lake_path(), PATIENCE);
        assert!(steady.terminate().success());
    });
    Evidence::assert_at_rest(&scene, &scene.lake_path(), Duration::ZERO);
}
