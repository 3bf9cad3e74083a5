//! Compaction and vacuum beside a run, killed on their way: nobody loses or doubles anything, and every seal holds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use super::checker::Evidence;
use super::feed::Feed;
use super::points::{POINTS, Way};
use super::{Failpoints, assert_valid_archive, cluster, rounds, sealed};
use crate::run::instance::{Scene, SetWhenDropped, eventually};
use crate::run::kills::{Random, seed};

const PATIENCE: Duration = Duration::from_secs(90);
/// So small that one compaction makes several files.
const TARGET_FILE_BYTES: &str = "100000";
/// More than a vacuum's least age.
const LONG_AGO: Duration = Duration::from_secs(3 * 24 * 3_600);

#[test]
fn compaction_and_vacuum_killed_beside_a_run_lose_nothing_and_alter_nothing() {
    let (cluster, _turn) = cluster();
    let mut scene = Scene::new(&cluster.broker, 2);
    scene.lake_settings = sealed(&scene, 150);
    // Only the commands act on them.
    let failpoints = Failpoints::named(&mut scene, "upkeep");
    let folder = std::mem::take(&mut scene.environment);
    let upkeep = Upkeep { scene: &scene, failpoints: &failpoints, environment: folder };
    let mut random = Random(seed());
    let is_over = AtomicBool::new(false);
    let instance = scene.start("one", Some("one"));
    eventually("it is ready", PATIENCE, || instance.get("/ready").0 == 200);
    std::thread::scope(|threads| {
        threads.spawn(|| Feed::of(&scene.input, seed()).until(&is_over));
        let _over = SetWhenDropped(&is_over);
        for _ in 0..rounds().unwrap_or(1) {
            for (point, _) in POINTS.iter().filter(|(_, way)| *way == Way::Upkeep) {
                upkeep.kill_at(point, 0);
                upkeep.kill_at(point, 1 + random.below(2));
                // The last time that a command comes there: it has nothing left to do but to end.
                if let Some(last) = upkeep.num_hits_of_one(point).checked_sub(1) {
                    upkeep.kill_at(point, last);
                }
            }
        }
    });
    Evidence::assert_at_rest(&scene, &scene.lake_path(), PATIENCE);
    assert!(upkeep.compact().status.success());
    assert!(instance.terminate().success());
    Evidence::assert_at_rest(&scene, &scene.lake_path(), Duration::ZERO);
    assert_valid_archive(&scene);
}

struct Upkeep<'a> {
    scene: &'a Scene<'a>,
    failpoints: &'a Failpoints,
    environment: Vec<(String, String)>,
}

impl Upkeep<'_> {
    /// Runs the command that comes to `point` again and again until it is killed there, after `num_to_pass` other times.
    fn kill_at(&self, point: &str, num_to_pass: u64) {
        let begun = Instant::now();
        self.failpoints.order(point, num_to_pass, "KILL");
        loop {
            let output = self.run(point);
            if !self.failpoints.waits(point) {
                assert!(!output.status.success(), "it was killed at `{point}`");
                break;
            }
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(begun.elapsed() < PATIENCE, "nothing came to `{point}`");
            std::thread::sleep(Duration::from_secs(1));
        }
        println!("killed at {point}, after {num_to_pass}: {:.1} s", begun.elapsed().as_secs_f32());
    }

    /// How often one undisturbed command comes to `point`.
    fn num_hits_of_one(&self, point: &str) -> u64 {
        let hits = self.failpoints.folder.join(format!("{point}.hits"));
        let count = || fs::metadata(&hits).map_or(0, |hits| hits.len());
        let before = count();
        assert!(self.run(point).status.success());
        count() - before
    }

    fn run(&self, point: &str) -> Output {
        if point.starts_with("vacuum") { self.vacuum() } else { self.compact() }
    }

    fn compact(&self) -> Output {
        self.command(&["compact", "--target-file-bytes", TARGET_FILE_BYTES])
    }

    /// Makes every file of the table look old but those that a batch under way may have just written, leaves some that
    /// no commit names, and vacuums.
    fn vacuum(&self) -> Output {
        let table = self.scene.lake_path().join("activities");
        for number in 0..3 {
            fs::write(table.join(format!("received_date=2020-01-01-{number}.parquet")), "left behind")
                .expect("written");
        }
        let named = fs::read_dir(table.join("_delta_log"))
            .expect("a log")
            .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
        let named: String = named.collect();
        for path in parquet_files(&table) {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_string();
            if named.contains(&name) || name.starts_with("received_date") {
                let file = File::options().write(true).open(&path).expect("it is there");
                file.set_modified(SystemTime::now() - LONG_AGO).expect("modified");
            }
        }
        self.command(&["vacuum", "--older-than", "1d"])
    }

    fn command(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_actorline"))
            .arg("archive")
            .args(arguments)
            .arg("--lake")
            .arg(self.scene.lake_path())
            .arg("--seal-key")
            .arg(self.scene.folder.path().join("seal.pem"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("actorline starts")
    }
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(parquet_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            files.push(path);
        }
    }
    files
}
