//! SIGKILL at every failpoint of a run: the first time that an instance comes there, some time later, and the last time.
//!
//! After each kill nothing runs, and each sink must hold exactly what its own position promises. At the end of a scene
//! an instance runs undisturbed, and everything must be everywhere, once, under seals that hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actorline::checkpoint::{Advance, NextOffset, TopicPartition};
use actorline::seal::SealKey;
use actorline::sink::lake::{Lake, LakeLocation, SealSettings};

use super::checker::Evidence;
use super::feed::Feed;
use super::points::{POINTS, Way};
use super::{Failpoints, assert_valid_archive, cluster, rounds, sealed};
use crate::kafka::Broker;
use crate::run::instance::{Instance, Scene};
use crate::run::kills::{Random, seed};

/// How long an instance may take to come to a point. Void batches need a session to expire, on two busy cores.
const PATIENCE: Duration = Duration::from_secs(90);
/// How many trials share a scene. More would read more and more of what earlier ones left.
const TRIALS_PER_SCENE: usize = 12;
/// Of how many trials one is chosen where not all are run. No multiple of three, so that every time is among them.
const SELECTION: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    First,
    Random,
    /// Once the last records of the trial were sent.
    Last,
}

#[test]
fn an_instance_killed_at_any_failpoint_loses_nothing_and_doubles_nothing() {
    let (cluster, _turn) = cluster();
    let seed = seed();
    println!("seed {seed}: set ACTORLINE_TEST_SEED to repeat its choices");
    let mut random = Random(seed);
    let only = std::env::var("ACTORLINE_FAULTS_POINT").ok();
    let is_meant = |point: &str| only.as_deref().is_none_or(|only| only == point);
    let run_points = POINTS.iter().filter(|(point, way)| !matches!(way, Way::Upkeep | Way::Redrive) && is_meant(point));
    for _ in 0..rounds().unwrap_or(1) {
        let times = [Time::First, Time::Random, Time::Last];
        let mut trials: Vec<_> =
            run_points.clone().flat_map(|(point, way)| times.map(|time| (*point, *way, time))).collect();
        if rounds().is_none() {
            let chosen = random.index(SELECTION);
            let of_each = |(index, _): &(usize, _)| (index + chosen).is_multiple_of(SELECTION);
            trials = trials.into_iter().enumerate().filter(of_each).map(|(_, trial)| trial).collect();
        }
        for trials in trials.chunks(TRIALS_PER_SCENE) {
            run_scene(&cluster.broker, trials, &mut random);
        }
    }
}

fn run_scene(broker: &Broker, trials: &[(&str, Way, Time)], random: &mut Random) {
    let is_alone = |way: Way| way == Way::NewLake || way == Way::Large;
    let (alone, together): (Vec<(&str, Way, Time)>, Vec<_>) =
        trials.iter().copied().partition(|(_, way, _)| is_alone(*way));
    for trial in alone {
        run_trials(broker, &[trial], random);
    }
    if !together.is_empty() {
        run_trials(broker, &together, random);
    }
}

fn run_trials(broker: &Broker, trials: &[(&str, Way, Time)], random: &mut Random) {
    let mut scene = Scene::new(broker, 2);
    // A large file is that of a long interval.
    let interval_ms = if trials.iter().any(|(_, way, _)| *way == Way::Large) { 3_000 } else { 150 };
    scene.lake_settings = sealed(&scene, interval_ms);
    let failpoints = Failpoints::of(&mut scene);
    let mut feed = Feed::of(&scene.input, random.below(u64::MAX));
    for (point, way, time) in trials {
        let begun = Instant::now();
        Trial { scene: &scene, failpoints: &failpoints, point, way: *way }.run(*time, &mut feed, random);
        Evidence::assert_so_far(&scene, &scene.lake_path());
        println!("killed at {point}, {time:?}: {:.1} s", begun.elapsed().as_secs_f32());
    }
    let instance = scene.start("after", Some("one"));
    Evidence::assert_at_rest(&scene, &scene.lake_path(), PATIENCE);
    instance.ask_to_stop();
    let (status, log) = instance.wait();
    assert!(status.success(), "{status}\n{log}");
    Evidence::assert_at_rest(&scene, &scene.lake_path(), Duration::ZERO);
    assert_valid_archive(&scene);
}

struct Trial<'a> {
    scene: &'a Scene<'a>,
    failpoints: &'a Failpoints,
    point: &'a str,
    way: Way,
}

impl Trial<'_> {
    /// Runs an instance until it is killed at the point.
    fn run(&self, time: Time, feed: &mut Feed<'_>, random: &mut Random) {
        let Trial { failpoints, point, way, .. } = *self;
        let is_first = time == Time::First || way == Way::NewLake;
        let num_to_pass = if time == Time::Random && way == Way::Records { random.below(8) } else { 0 };
        if is_first {
            failpoints.order(point, 0, "KILL");
        }
        feed.burst();
        let mut instance = self.start();
        if !is_first {
            self.wait_until_ready(&mut instance);
            feed.burst();
            failpoints.order(point, num_to_pass, "KILL");
        }
        let begun = Instant::now();
        while failpoints.waits(point) {
            assert!(begun.elapsed() < PATIENCE, "nothing came to `{point}`, {time:?}:\n{}", instance.log());
            self.provoke(&mut instance, feed);
            let pause = Instant::now();
            while failpoints.waits(point) && pause.elapsed() < Duration::from_millis(800) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let (status, log) = instance.wait();
        assert!(std::os::unix::process::ExitStatusExt::signal(&status) == Some(9), "`{point}`: {status}\n{log}");
        // What was ordered on the way there is not meant for the next.
        failpoints.cancel("seal.begun");
        if way == Way::Abort {
            self.scene.siem.alter("max.message.bytes", "1000000");
        }
    }

    fn start(&self) -> Instance {
        self.scene.start("one", Some("one"))
    }

    fn wait_until_ready(&self, instance: &mut Instance) {
        let begun = Instant::now();
        while instance.get("/ready").0 != 200 {
            assert!(!instance.has_ended() && begun.elapsed() < PATIENCE, "not ready:\n{}", instance.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_until_over(&self, instance: &mut Instance) {
        let begun = Instant::now();
        while !instance.has_ended() {
            assert!(begun.elapsed() < PATIENCE, "`{}` was not reached:\n{}", self.point, instance.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn provoke(&self, instance: &mut Instance, feed: &mut Feed<'_>) {
        let is_over = instance.has_ended();
        match self.way {
            Way::Records | Way::NewLake => feed.burst(),
            // The last instance of a trial is the one that is killed, wherever it is.
            Way::Start if is_over || instance.get("/ready").0 == 200 => {
                let before = std::mem::replace(instance, self.start());
                before.kill();
            }
            Way::Start => {}
            Way::Stop if is_over => {
                *instance = self.start();
            }
            Way::Stop => {
                if instance.get("/ready").0 == 200 {
                    feed.burst();
                    instance.ask_to_stop();
                }
            }
            Way::Rebalance => {
                self.wait_until_ready(instance);
                let other = self.start_other("other");
                let begun = Instant::now();
                while self.failpoints.waits(self.point) && begun.elapsed() < Duration::from_secs(10) {
                    std::thread::sleep(Duration::from_millis(50));
                }
                other.kill();
            }
            Way::Abort => {
                self.wait_until_ready(instance);
                self.scene.siem.alter("max.message.bytes", "100");
                feed.burst();
            }
            Way::TakenOver => {
                self.wait_until_ready(instance);
                // Its transaction is fenced by whoever has the id now.
                drop(self.scene.siem.producer(Some(&format!("{}-one", self.scene.group))));
                feed.burst();
            }
            Way::Checkpoint => {
                self.wait_until_ready(instance);
                let version = Rival::of(self.scene).commit_while(|version| version % 100 != 98);
                assert!(version % 100 == 98, "the table is at {version}");
                for _ in 0..4 {
                    feed.burst();
                    std::thread::sleep(Duration::from_millis(250));
                }
            }
            Way::LostRace => {
                self.wait_until_ready(instance);
                // Opened before, so that the instance stands still for less than its session lasts.
                let mut rival = Rival::of(self.scene);
                self.stop_at_commit(instance, feed);
                let mut is_next = true;
                rival.commit_while(|_| std::mem::take(&mut is_next));
                instance.thaw();
            }
            Way::Void => {
                self.wait_until_ready(instance);
                self.stop_at_commit(instance, feed);
                // So that the other's commit goes further: the very same one would count as the first's own.
                feed.burst();
                let other = self.start_other("other");
                let begun = Instant::now();
                // The other commits to the lake what the first was about to.
                while !other.get("/metrics").1.contains(r#"actorline_commit_duration_seconds_count{sink="lake"}"#)
                    || other.get("/metrics").1.contains(r#"actorline_commit_duration_seconds_count{sink="lake"} 0"#)
                {
                    assert!(begun.elapsed() < PATIENCE, "nobody took over:\n{}", other.log());
                    std::thread::sleep(Duration::from_millis(100));
                }
                instance.thaw();
                let begun = Instant::now();
                while self.failpoints.waits(self.point) && begun.elapsed() < Duration::from_secs(10) {
                    std::thread::sleep(Duration::from_millis(50));
                }
                assert!(other.terminate().success());
            }
            Way::Large => feed.large(),
            Way::Idle => {}
            Way::Unsealed if is_over => {
                // Waits for the seal until it takes the other for dead.
                *instance = self.start();
                self.wait_until_over(instance);
            }
            Way::Unsealed => {
                self.wait_until_ready(instance);
                self.failpoints.order("seal.begun", 0, "KILL");
                feed.burst();
                self.wait_until_over(instance);
            }
            Way::Upkeep | Way::Redrive => unreachable!("no instance comes there"),
        }
    }

    /// An instance that no failpoint acts on.
    fn start_other(&self, name: &str) -> Instance {
        self.scene.start_undisturbed(name)
    }

    /// Lets the instance stop itself just before it puts a commit.
    fn stop_at_commit(&self, instance: &Instance, feed: &mut Feed<'_>) {
        const POINT: &str = "lake.positions_checked";
        self.failpoints.order(POINT, 0, "STOP");
        let begun = Instant::now();
        while self.failpoints.waits(POINT) {
            assert!(begun.elapsed() < PATIENCE, "no commit:\n{}", instance.log());
            feed.burst();
            std::thread::sleep(Duration::from_millis(300));
        }
        // Until the signal that follows the order's end has arrived.
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// Another group that commits to the same lake.
struct Rival<'a> {
    scene: &'a Scene<'a>,
    runtime: tokio::runtime::Runtime,
    lake: Lake,
}

impl<'a> Rival<'a> {
    fn of(scene: &'a Scene<'a>) -> Rival<'a> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let location = LakeLocation::new(scene.lake_path().display().to_string());
        let key = std::fs::read_to_string(scene.folder.path().join("seal.pem")).expect("a key");
        let key = SealKey::from_pem(&key).expect("a key");
        let seal = SealSettings { key: Some(Arc::new(key)), ..SealSettings::default() };
        let lake = runtime.block_on(Lake::open_with(&location, seal)).expect("a lake");
        Rival { scene, runtime, lake }
    }

    /// Commits as long as `goes_on` with the table's version, which is returned.
    fn commit_while(&mut self, mut goes_on: impl FnMut(u64) -> bool) -> u64 {
        let partition = TopicPartition { topic: "other".into(), topic_id: Some("other".into()), partition: 0 };
        self.runtime.block_on(async {
            let positions = self.lake.positions("other").await.expect("positions");
            let mut from = positions.get(&partition).map_or(0, |next| next.0);
            let mut version = newest_version(self.scene);
            while goes_on(version) {
                let to = NextOffset(from + 1);
                let advance = Advance { from: NextOffset(from), to, gap: None, undelivered: vec![(from, to.0)] };
                let advances = BTreeMap::from([(partition.clone(), advance)]);
                self.lake.commit("other", Vec::new(), &advances).await.expect("a commit");
                from += 1;
                version = newest_version(self.scene);
            }
            version
        })
    }
}

fn newest_version(scene: &Scene<'_>) -> u64 {
    let folder = scene.lake_path().join("activities/_delta_log");
    let names =
        std::fs::read_dir(folder).expect("a log").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let versions = names.filter_map(|name| name.strip_suffix(".json")?.parse::<u64>().ok());
    versions.max().unwrap_or(0)
}
