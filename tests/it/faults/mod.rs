//! Faults: the pipeline is killed, stopped, cut off and lied to, on a real broker and a real S3 server, and the checker
//! says whether anything is lost, doubled or altered.
//!
//! These tests have a broker of their own, because they restart it and because a proxy stands before its second address.
//! They run one at a time: each counts on the machine being its own. Without more, a seeded selection runs that takes
//! minutes; `make faults ROUNDS=n` runs all of it n times. `ACTORLINE_TEST_SEED` repeats the choices of a run.

mod brokers;
pub mod checker;
mod crashes;
mod disk;
mod feed;
mod kafka_proxy;
mod load;
mod points;
mod replies;
mod store;
mod store_proxy;
mod upkeep;
mod zombies;

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use self::kafka_proxy::KafkaProxy;
use crate::kafka::{Behind, Broker};
use crate::run::instance::Scene;
use crate::run::kills::{Random, seed};
use crate::run::seals;

/// A broker and the proxy before its second address.
struct Cluster {
    broker: Broker,
    proxy: KafkaProxy,
}

impl Cluster {
    fn start() -> Cluster {
        let (listen, advertised, proxy) = KafkaProxy::bind();
        Cluster { broker: Broker::start_behind(Behind { listen, advertised }), proxy }
    }
}

/// The cluster of these tests, for one of them at a time.
fn cluster() -> (&'static Cluster, MutexGuard<'static, ()>) {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = CLUSTER.get_or_init(Cluster::start);
    cluster.proxy.forget_rules();
    (cluster, turn)
}

/// Settings of a lake that is signed, anchored beside it, and watched every second.
fn sealed(scene: &Scene<'_>, commit_interval_ms: u32) -> String {
    seals::sealed(scene, commit_interval_ms, 1_000, &format!(", anchor: {{ url: '{}' }}", anchors(scene)))
}

/// Asserts that `archive verify` finds nothing in a lake of such settings.
fn assert_valid_archive(scene: &Scene<'_>) {
    seals::assert_valid(&seals::verify(scene, &["--anchor", &anchors(scene)]));
}

fn anchors(scene: &Scene<'_>) -> String {
    format!("file://{}", scene.folder.path().join("anchors").display())
}

/// How often everything is to be run; none where only the selection is.
pub fn rounds() -> Option<usize> {
    std::env::var("ACTORLINE_FAULTS_ROUNDS").ok()?.parse().ok().filter(|rounds| *rounds > 0)
}

/// What a run tries of `all`: everything in each round, or `num` that the seed chooses.
fn selection<T: Copy>(mut all: Vec<T>, num: usize) -> Vec<T> {
    if let Some(rounds) = rounds() {
        return all.repeat(rounds);
    }
    let mut random = Random(seed());
    while all.len() > num {
        all.remove(random.index(all.len()));
    }
    all
}

/// The folder through which failpoints are ordered and counted.
pub struct Failpoints {
    folder: PathBuf,
}

impl Failpoints {
    /// Instances that `scene` starts from now on act on them.
    pub fn of(scene: &mut Scene<'_>) -> Failpoints {
        Failpoints::named(scene, "failpoints")
    }

    fn named(scene: &mut Scene<'_>, name: &str) -> Failpoints {
        let folder = scene.folder.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        scene.environment = vec![("ACTORLINE_FAILPOINTS".to_string(), folder.display().to_string())];
        Failpoints { folder }
    }

    /// Sends `signal` to whoever comes to `point` once `num_to_pass` hits have passed.
    pub fn order(&self, point: &str, num_to_pass: u64, signal: &str) {
        let path = self.folder.join(point);
        let written = self.folder.join(format!("{point}.new"));
        fs::write(&written, format!("{num_to_pass} {signal}")).expect("an order");
        fs::rename(written, path).expect("an order");
    }

    /// Takes an order back, if it was not carried out yet.
    fn cancel(&self, point: &str) {
        let _ = fs::remove_file(self.folder.join(point));
    }

    /// Whether an order still waits to be carried out.
    pub fn waits(&self, point: &str) -> bool {
        self.folder.join(point).exists()
    }
}
