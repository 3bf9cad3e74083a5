//! How much load is held while things fail: the table of `docs/guarantees.md`.
//!
//! Runs only when it is asked for, with `ACTORLINE_LOAD_RATE` events a second of about a kilobyte, because its figures say
//! something only on a machine that does nothing else. Every fault lasts `ACTORLINE_LOAD_SECONDS`, then the run catches up,
//! and at the end the checker goes over all of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::checker::Evidence;
use super::kafka_proxy::{Fault, Kind};
use super::store_proxy::StoreProxy;
use super::{Cluster, cluster};
use crate::kafka::Gauge;
use crate::lake_s3::{BUCKET, Gateway};
use crate::run::instance::{Instance, Scene, SetWhenDropped, eventually};

const NUM_PARTITIONS: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(600);
/// Records come in so many portions a second.
const PORTIONS: u64 = 20;

struct Running<'a> {
    scene: &'a Scene<'a>,
    cluster: &'a Cluster,
    store: &'a StoreProxy,
    instances: Vec<Instance>,
    num_started: usize,
}

type Disturb = fn(&mut Running<'_>, Duration);

const FAULTS: [(&str, Disturb); 9] = [
    ("none", |_, time| std::thread::sleep(time)),
    ("kill -9 of one of two instances every 5 s", |running, time| {
        every(Duration::from_secs(5), time, || {
            let victim = running.instances.remove(0);
            victim.kill();
            running.start();
        });
    }),
    ("one of two instances stands still for half of the time", |running, time| {
        running.instances[0].freeze();
        std::thread::sleep(time / 2);
        running.instances[0].thaw();
        std::thread::sleep(time / 2);
    }),
    ("a third instance comes or goes every 3 s", |running, time| {
        every(Duration::from_secs(3), time, || match running.instances.len() {
            2 => running.start(),
            _ => assert!(running.instances.pop().is_some_and(|guest| guest.terminate().success())),
        });
        running.instances.truncate(2);
    }),
    ("the broker is killed and started again", |running, time| {
        let begun = Instant::now();
        running.cluster.broker.restart();
        std::thread::sleep(time.saturating_sub(begun.elapsed()));
    }),
    ("the reply to one EndTxn every 3 s is lost", |running, time| {
        every(Duration::from_secs(3), time, || running.cluster.proxy.order(Kind::EndTxn, Fault::LoseReply, 1));
    }),
    ("the store refuses one request of five", |running, time| {
        running.store.slow_down(Some(5));
        std::thread::sleep(time);
        running.store.slow_down(None);
    }),
    ("the store refuses everything", |running, time| {
        running.store.slow_down(Some(1));
        std::thread::sleep(time);
        running.store.slow_down(None);
    }),
    ("none any more", |_, time| std::thread::sleep(time)),
];

#[test]
fn load_is_held_during_faults() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let Some(rate) = number("ACTORLINE_LOAD_RATE") else {
        eprintln!("skipped: `ACTORLINE_LOAD_RATE` does not say how much load to hold");
        return;
    };
    let time = Duration::from_secs(number("ACTORLINE_LOAD_SECONDS").unwrap_or(30));
    let Some(gateway) = Gateway::start() else { return };
    let (cluster, _turn) = cluster();
    let store = StoreProxy::start(gateway.port);
    let lake = gateway.folder().join(BUCKET).join("lake");
    let mut scene = Scene::new(&cluster.broker, NUM_PARTITIONS);
    scene.brokers = Some(cluster.proxy.address());
    super::store::place(&mut scene, &store, 2_000);
    let mut running = Running { scene: &scene, cluster, store: &store, instances: Vec::new(), num_started: 0 };
    running.start();
    running.start();
    for instance in &running.instances {
        eventually("it is ready", PATIENCE, || instance.get("/ready").0 == 200);
    }
    println!("| fault | load/s | siem/s | lake/s | lag of the siem | lag of the lake | memory | caught up after |");
    println!("|---|---|---|---|---|---|---|---|");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| offer(&scene, rate, &is_over));
        let over = SetWhenDropped(&is_over);
        for (name, disturb) in FAULTS {
            let is_past = AtomicBool::new(false);
            let mut meter = Meter::new(&scene, &lake);
            let begin = meter.read();
            let begun = Instant::now();
            let sampled = std::thread::scope(|threads| {
                let sampling = threads.spawn(|| meter.sample_until(&is_past));
                disturb(&mut running, time);
                is_past.store(true, Ordering::Relaxed);
                sampling.join().expect("no panic")
            });
            let seconds = begun.elapsed().as_secs_f64();
            let end = meter.read();
            let past = Instant::now();
            while meter.read().lags().into_iter().max().unwrap_or(0) > rate as i64 * 4 {
                assert!(past.elapsed() < PATIENCE, "{name}: not caught up");
                std::thread::sleep(Duration::from_millis(200));
            }
            let per_second = |from: i64, to: i64| ((to - from) as f64 / seconds).round();
            println!(
                "| {name} | {} | {} | {} | {} | {} | {} MB | {:.1} s |",
                per_second(begin.input, end.input),
                per_second(begin.siem, end.siem),
                per_second(begin.lake, end.lake),
                sampled.siem_lag,
                sampled.lake_lag,
                sampled.memory_kb / 1024,
                past.elapsed().as_secs_f64(),
            );
        }
        drop(over);
    });
    Evidence::assert_at_rest(&scene, &lake, PATIENCE);
    for instance in running.instances {
        assert!(instance.terminate().success());
    }
}

impl Running<'_> {
    fn start(&mut self) {
        self.num_started += 1;
        let instance = self.scene.start(&format!("instance-{}", self.num_started), None);
        self.instances.push(instance);
    }
}

fn every(interval: Duration, time: Duration, mut act: impl FnMut()) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        act();
        std::thread::sleep(interval.min(time.saturating_sub(begun.elapsed())));
    }
}

fn offer(scene: &Scene<'_>, rate: u64, is_over: &AtomicBool) {
    let producer = scene.input.producer(None);
    let pad = "x".repeat(900);
    let (begun, mut num_sent) = (Instant::now(), 0);
    while !is_over.load(Ordering::Relaxed) {
        for partition in 0..NUM_PARTITIONS {
            let portion = (rate / PORTIONS / NUM_PARTITIONS as u64).max(1);
            let values = (0..portion).map(|index| {
                let number = num_sent + index;
                format!(r#"{{"acme_id":"{number}","op":"read","actor":"a-{}","note":"{pad}"}}"#, number % 97)
            });
            scene.input.offer(&producer, partition, values);
            num_sent += portion;
        }
        let due = Duration::from_secs_f64(num_sent as f64 / rate as f64);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
    }
    scene.input.send(&producer, 0, [""; 0]);
}

/// How far the input and the sinks are, all partitions together.
#[derive(Clone, Copy)]
struct Reading {
    input: i64,
    siem: i64,
    lake: i64,
}

impl Reading {
    fn lags(&self) -> [i64; 2] {
        [self.input - self.siem, self.input - self.lake]
    }
}

#[derive(Default)]
struct Sampled {
    siem_lag: i64,
    lake_lag: i64,
    memory_kb: u64,
}

struct Meter {
    gauge: Gauge,
    log: PathBuf,
    version: u64,
    in_lake: BTreeMap<String, i64>,
}

impl Meter {
    fn new(scene: &Scene<'_>, lake: &Path) -> Meter {
        Meter {
            gauge: Gauge::of(scene.broker, &scene.group, &scene.input),
            log: lake.join("activities/_delta_log"),
            version: 0,
            in_lake: BTreeMap::new(),
        }
    }

    /// Asks until the broker answers.
    fn read(&mut self) -> Reading {
        let begun = Instant::now();
        loop {
            if let Some(reading) = self.try_read() {
                return reading;
            }
            assert!(begun.elapsed() < PATIENCE, "the broker does not answer");
        }
    }

    fn try_read(&mut self) -> Option<Reading> {
        let (input, siem) = self.gauge.read()?;
        while let Ok(text) = fs::read_to_string(self.log.join(format!("{:020}.json", self.version))) {
            for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                if let (Some(id), Some(next)) = (line["txn"]["appId"].as_str(), line["txn"]["version"].as_i64()) {
                    self.in_lake.insert(id.to_string(), next);
                }
            }
            self.version += 1;
        }
        Some(Reading { input, siem, lake: self.in_lake.values().sum() })
    }

    fn sample_until(&mut self, is_past: &AtomicBool) -> Sampled {
        let mut sampled = Sampled::default();
        while !is_past.load(Ordering::Relaxed) {
            if let Some([siem, lake]) = self.try_read().map(|reading| reading.lags()) {
                sampled.siem_lag = sampled.siem_lag.max(siem);
                sampled.lake_lag = sampled.lake_lag.max(lake);
            }
            sampled.memory_kb = sampled.memory_kb.max(largest_memory_kb());
            std::thread::sleep(Duration::from_millis(250));
        }
        sampled
    }
}

/// The largest resident size among the children of this process that are instances.
fn largest_memory_kb() -> u64 {
    let own = std::process::id().to_string();
    let resident = |entry: std::io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(entry.ok()?.path().join("status")).ok()?;
        let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        let is_instance = value("PPid:") == Some(&own) && value("Name:") == Some("actorline");
        value("VmRSS:").filter(|_| is_instance)?.parse::<u64>().ok()
    };
    fs::read_dir("/proc").map_or(0, |entries| entries.filter_map(resident).max().unwrap_or(0))
}
