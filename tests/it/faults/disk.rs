//! A disk that is full: the SIEM goes on, the lake waits, and everything is there once there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::checker::Evidence;
use super::cluster;
use super::feed::Feed;
use crate::run::instance::{Scene, eventually};
use crate::run::kills::seed;

const PATIENCE: Duration = Duration::from_secs(90);

/// A small file system of its own.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// None, with a word why, where mounting is not allowed.
    fn mount(path: PathBuf) -> Option<SmallDisk> {
        fs::create_dir_all(&path).expect("a folder");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(&path).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(SmallDisk { path });
        }
        eprintln!("skipped: no disk to fill, because only root may mount one");
        None
    }

    /// Takes all the room that is left, and gives what it is taken by.
    fn fill(&self) -> PathBuf {
        let path = self.path.join("filler");
        let _ = fs::write(&path, vec![0; 8 << 20]);
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_doubles_nothing() {
    let (cluster, _turn) = cluster();
    let mut scene = Scene::new(&cluster.broker, 2);
    scene.lake_settings = "commit_interval_ms: 200".to_string();
    let Some(disk) = SmallDisk::mount(scene.folder.path().join("disk")) else { return };
    let lake = disk.path.join("lake");
    scene.lake_url = Some(format!("file://{}", lake.display()));
    let mut feed = Feed::of(&scene.input, seed());
    feed.burst();
    let instance = scene.start("one", Some("one"));
    Evidence::assert_at_rest(&scene, &lake, PATIENCE);

    for is_killed in [false, true] {
        let filler = disk.fill();
        feed.burst();
        eventually("it says that the lake cannot be written", PATIENCE, || {
            feed.burst();
            let (status, reason) = instance.get("/ready");
            status == 503 && reason.contains("lake")
        });
        feed.burst();
        eventually("the siem goes on", PATIENCE, || {
            crate::kafka::group_positions(scene.broker, &scene.group, &scene.input) >= ends_of_records(&scene)
        });
        if is_killed {
            break;
        }
        assert!(is_whole(&lake), "a commit was written in part");
        fs::remove_file(filler).expect("removed");
        Evidence::assert_at_rest(&scene, &lake, PATIENCE);
        eventually("it is ready again", PATIENCE, || instance.get("/ready").0 == 200);
    }
    // And once more with a crash while there is no room.
    instance.kill();
    Evidence::assert_so_far(&scene, &lake);
    fs::remove_file(disk.path.join("filler")).expect("removed");
    let instance = scene.start("one", Some("one"));
    Evidence::assert_at_rest(&scene, &lake, PATIENCE);
    assert!(instance.terminate().success());
}

fn ends_of_records(scene: &Scene<'_>) -> std::collections::BTreeMap<i32, i64> {
    scene.input.committed().into_iter().map(|sent| (sent.partition, sent.offset + 1)).collect()
}

/// Whether every commit of the table can be read to its end.
fn is_whole(lake: &Path) -> bool {
    let folder = lake.join("activities/_delta_log");
    let names = fs::read_dir(folder).expect("a log").filter_map(Result::ok).map(|entry| entry.path());
    let mut commits = names.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    commits.all(|path| fs::read_to_string(path).is_ok_and(|text| !text.is_empty() && text.ends_with('\n')))
}
