//! Instances killed with SIGKILL at random while records stream in: nothing lost, nothing doubled, at either sink.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::producer::Producer;

use super::instance::{Instance, Scene, SetWhenDropped, event, eventually};
use super::outcome::Outcome;
use super::seals::{assert_valid, sealed, verify};
use crate::faults::checker::Evidence;
use crate::faults::rounds;
use crate::kafka::broker;

const NUM_PARTITIONS: i32 = 6;
const NUM_KILLS: usize = 10;

/// Two of the instances keep their names when they come back, so that the broker knows them again and fences what they
/// left; the third is another instance each time, whose partitions go to the others first.
const INSTANCES: [(&str, Option<&str>); 3] = [("one", Some("one")), ("two", Some("two")), ("three", None)];

#[test]
fn killed_instances_lose_nothing_and_double_nothing() {
    let mut scene = Scene::new(broker(), NUM_PARTITIONS);
    scene.lake_settings = sealed(&scene, 300, 1_000, "");
    let seed = seed();
    println!("seed {seed}: set ACTORLINE_TEST_SEED to repeat its choices");
    let mut random = Random(seed);
    let is_over = AtomicBool::new(false);

    std::thread::scope(|threads| {
        threads.spawn(|| produce(&scene, &is_over, Random(seed ^ 1)));
        // Also when the rounds fail, so that the producer does not go on for ever.
        let _over = SetWhenDropped(&is_over);
        let mut running: Vec<Instance> =
            INSTANCES.iter().map(|(name, instance)| scene.start(name, *instance)).collect();
        for _ in 0..NUM_KILLS * rounds().unwrap_or(1) {
            std::thread::sleep(Duration::from_millis(300 + random.below(2_500)));
            let victim = random.index(INSTANCES.len());
            let (name, instance) = INSTANCES[victim];
            assert!(!running[victim].has_ended(), "`{name}` ended by itself:\n{}", running[victim].log());
            running.remove(victim).kill();
            std::thread::sleep(Duration::from_millis(random.below(600)));
            running.insert(victim, scene.start(name, instance));
        }
        is_over.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_secs(1));
        Outcome::assert_complete(&scene, Duration::from_secs(60));
        for instance in running {
            let log = instance.log();
            assert!(instance.terminate().success(), "an instance did not stop as it should:\n{log}");
        }
    });
    // Nothing more may have come since.
    Outcome::assert_complete(&scene, Duration::ZERO);
    Evidence::assert_at_rest(&scene, &scene.lake_path(), Duration::ZERO);
    // Also what the killed ones committed and did not come to seal.
    assert_valid(&verify(&scene, &[]));
}

#[test]
fn a_killed_instance_goes_on_with_each_sink_where_that_sink_was() {
    let mut scene = Scene::new(broker(), 1);
    scene.lake_settings = "commit_interval_ms: 3600000".to_string();
    let producer = scene.input.producer(None);
    scene.input.send(&producer, 0, (0..30).map(event));
    let instance = scene.start("one", Some("one"));
    eventually("the siem topic has all", PATIENCE, || scene.siem.committed().len() == 30);
    instance.kill();
    // The lake lacks all of it, the siem topic only what comes now; both are read in one go.
    scene.input.send(&producer, 0, (30..60).map(event));
    scene.lake_settings = "commit_interval_ms: 300".to_string();
    let _instance = scene.start("two", Some("one"));
    Outcome::assert_complete(&scene, PATIENCE);
}

#[test]
fn frozen_instances_that_wake_up_lose_nothing_and_double_nothing() {
    let mut scene = Scene::new(broker(), 4);
    scene.lake_settings = "commit_interval_ms: 300".to_string();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| produce(&scene, &is_over, Random(seed())));
        let _over = SetWhenDropped(&is_over);
        let instances = [scene.start("one", None), scene.start("two", None)];
        for instance in &instances {
            eventually("it works", PATIENCE, || instance.get("/ready").0 == 200);
        }
        for frozen in [0, 1] {
            instances[frozen].freeze();
            // Longer than the session: the group gives its partitions to the other, and then it wakes up.
            std::thread::sleep(Duration::from_secs(5));
            instances[frozen].thaw();
            std::thread::sleep(Duration::from_secs(2));
        }
        is_over.store(true, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(500));
        Outcome::assert_complete(&scene, Duration::from_secs(60));
        for instance in instances {
            assert!(instance.terminate().success());
        }
    });
    Outcome::assert_complete(&scene, Duration::ZERO);
    Evidence::assert_at_rest(&scene, &scene.lake_path(), Duration::ZERO);
}

const PATIENCE: Duration = Duration::from_secs(40);

/// Fills the input until `is_over`: plain records, transactions of which some are aborted, so that offsets are missing
/// in between, and now and then a record with
/// several events or with none that can be read.
fn produce(scene: &Scene<'_>, is_over: &AtomicBool, mut random: Random) {
    let plain = scene.input.producer(None);
    let transactional = scene.input.producer(Some(&scene.group));
    let partitions: Vec<i32> = (0..scene.input.num_partitions).collect();
    let mut number = 0;
    let mut next = || {
        number += 1;
        let event = event(number);
        match number % 37 {
            0 => format!("broken {number}"),
            1 => format!("[{event},{event},{event}]"),
            2 => format!("{{\"unmapped\":{number}}}"),
            _ => event,
        }
    };
    while !is_over.load(Ordering::Relaxed) {
        let partition = partitions[random.index(partitions.len())];
        let values: Vec<String> = (0..1 + random.below(40)).map(|_| next()).collect();
        match random.below(4) {
            0 => {
                transactional.begin_transaction().expect("begun");
                scene.input.send(&transactional, partition, &values);
                let timeout = Duration::from_secs(10);
                if random.below(3) == 0 {
                    transactional.abort_transaction(timeout).expect("aborted");
                } else {
                    transactional.commit_transaction(timeout).expect("committed");
                }
            }
            _ => scene.input.send(&plain, partition, &values),
        }
        std::thread::sleep(Duration::from_millis(random.below(20)));
    }
}

pub fn seed() -> u64 {
    let given = std::env::var("ACTORLINE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0)
}

/// Splitmix64: enough to choose victims and moments.
pub struct Random(pub u64);

impl Random {
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("less than a usize")
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
