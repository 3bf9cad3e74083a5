//! Instances that stand still while others take over, and then go on: with a transaction open, and with a batch ready for
//! the lake.

use std::time::Duration;

use super::checker::Evidence;
use super::feed::Feed;
use super::{Failpoints, cluster, rounds};
use crate::run::instance::{Scene, eventually};
use crate::run::kills::{Random, seed};

const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn a_zombie_with_an_open_transaction_or_a_prepared_lake_batch_changes_nothing_any_more() {
    let (cluster, _turn) = cluster();
    let mut scene = Scene::new(&cluster.broker, 2);
    scene.lake_settings = "commit_interval_ms: 300".to_string();
    let failpoints = Failpoints::of(&mut scene);
    let mut feed = Feed::of(&scene.input, seed());
    let mut random = Random(seed());
    let with_transaction = ["siem.half_sent", "siem.positions_sent"];
    let with_batch = ["lake.files_written", "lake.positions_checked"];
    let points = match rounds() {
        Some(rounds) => [with_transaction, with_batch].concat().repeat(rounds),
        None => vec![with_transaction[random.index(2)], with_batch[random.index(2)]],
    };
    for point in points {
        let zombie = scene.start("zombie", None);
        eventually("it is ready", PATIENCE, || zombie.get("/ready").0 == 200);
        failpoints.order(point, 0, "STOP");
        eventually("it stands still", PATIENCE, || {
            feed.burst();
            std::thread::sleep(Duration::from_millis(200));
            !failpoints.waits(point)
        });
        let other = scene.start_undisturbed("other");
        // All of it by the other alone, whose session lets the zombie's partitions go and whose position waits for the
        // zombie's transaction to be timed out.
        feed.burst();
        Evidence::assert_at_rest(&scene, &scene.lake_path(), PATIENCE);
        zombie.thaw();
        for _ in 0..10 {
            feed.burst();
            std::thread::sleep(Duration::from_millis(200));
        }
        Evidence::assert_at_rest(&scene, &scene.lake_path(), PATIENCE);
        assert!(zombie.terminate().success(), "{point}");
        assert!(other.terminate().success(), "{point}");
        Evidence::assert_at_rest(&scene, &scene.lake_path(), Duration::ZERO);
    }
}
