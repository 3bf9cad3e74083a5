//! A small lake with everything that a seal can be of, its keys and its anchors, and the command that verifies it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use actorline::checkpoint::{Advance, NextOffset};
use actorline::seal::{self, Digest, SealKey, Statement};
use actorline::sink::lake::anchor::AnchorPlace;
use actorline::sink::lake::{Lake, LakeLocation, SealSettings};

use crate::lake::rows::{DAY, GROUP, Row, at, batch, commit_range, partition};

/// A folder with a lake, anchors and keys.
pub struct Archive {
    folder: tempfile::TempDir,
    pub key: Arc<SealKey>,
}

impl Archive {
    pub fn new() -> Archive {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (key, pem) = SealKey::generate().expect("a key");
        std::fs::write(folder.path().join("seal.pem"), pem).expect("written");
        std::fs::write(folder.path().join("seal.pub.pem"), key.public().to_pem()).expect("written");
        Archive { folder, key: Arc::new(key) }
    }

    pub fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    pub fn location(&self) -> LakeLocation {
        LakeLocation::new(self.lake().to_str().expect("a UTF-8 path"))
    }

    pub fn anchors(&self) -> PathBuf {
        self.folder.path().join("anchors")
    }

    pub fn settings(&self) -> SealSettings {
        let place = AnchorPlace::url(&LakeLocation::new(self.anchors().to_str().expect("a UTF-8 path")));
        SealSettings {
            key: Some(Arc::clone(&self.key)),
            anchor: Some(Arc::new(place.expect("a place"))),
            heartbeat_interval: Some(Duration::from_secs(3600)),
            patience: Duration::ZERO,
        }
    }

    pub async fn open(&self) -> Lake {
        Lake::open_with(&self.location(), self.settings()).await.expect("a lake")
    }

    /// The same archive at another place.
    pub fn copy(&self) -> Archive {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(self.folder.path(), folder.path());
        Archive { folder, key: Arc::clone(&self.key) }
    }

    /// `archive verify` with its key and the given arguments.
    pub fn verify(&self, arguments: &[&str]) -> Verified {
        let key = self.folder.path().join("seal.pub.pem");
        self.verify_with(&[&["--public-key", key.to_str().expect("a UTF-8 path")], arguments].concat())
    }

    pub fn verify_anchored(&self) -> Verified {
        self.verify(&["--anchor", self.anchors().to_str().expect("a UTF-8 path")])
    }

    pub fn verify_with(&self, arguments: &[&str]) -> Verified {
        let output = Command::new(env!("CARGO_BIN_EXE_actorline"))
            .args(["archive", "verify", "--format", "ndjson", "--lake"])
            .arg(self.lake())
            .args(arguments)
            .output()
            .expect("actorline starts");
        Verified(output)
    }

    pub fn seal(&self, version: u64) -> PathBuf {
        self.lake().join("seals").join(seal::name_of(version))
    }

    pub fn commit(&self, version: u64) -> PathBuf {
        self.lake().join("activities/_delta_log").join(seal::name_of(version))
    }

    pub fn statement(&self, version: u64) -> Statement {
        seal::decode(&std::fs::read(self.seal(version)).expect("a seal")).expect("a seal").statement
    }

    pub fn newest(&self) -> u64 {
        let names = std::fs::read_dir(self.lake().join("seals")).expect("seals");
        names.filter_map(|name| seal::version_of(name.expect("a name").file_name().to_str()?)).max().expect("a seal")
    }

    /// The data file of a commit.
    pub fn data_file(&self, version: u64) -> PathBuf {
        self.lake().join("activities").join(&self.statement(version).files[0].path)
    }

    /// Writes the seals from `version` on anew, as somebody with `key` can, after a change to the first of them.
    pub fn seal_anew(&self, version: u64, key: &SealKey, change: impl FnOnce(&mut Statement)) {
        let newest = self.newest();
        let mut statements: Vec<Statement> = (version..=newest).map(|version| self.statement(version)).collect();
        change(&mut statements[0]);
        for mut statement in statements {
            statement.previous = statement
                .version
                .checked_sub(1)
                .map(|before| Digest::of(&std::fs::read(self.seal(before)).expect("a seal")));
            let path = self.seal(statement.version);
            std::fs::write(path, seal::encode(&statement, Some(key)).expect("a seal")).expect("written");
        }
    }

    /// Version 0 is the table; 1 to 6 are commits of two partitions and two days, 7 a heartbeat, 8 a commit.
    pub async fn fill(&self) {
        let lake = self.open().await;
        lake.keep_generation("0123456789ab", b"{\"mappings\":[]}".to_vec()).await.expect("kept");
        commit_range(&lake, 0, 0, 5).await.expect("a commit");
        // With holes, as transaction markers leave them, and a record of three events.
        let mut rows: Vec<Row<'_>> = [6, 8].map(at).to_vec();
        rows.extend((0..3).map(|index| Row { index, count: 3, ..at(5) }));
        rows.push(Row { count: 0, ..at(9) });
        let advance =
            Advance { from: NextOffset(5), to: NextOffset(11), gap: None, undelivered: vec![(7, 8), (10, 11)] };
        let files = lake.write_files(&[batch(&rows)]).await.expect("files");
        lake.commit(GROUP, files, &[(partition(0), advance)].into()).await.expect("a commit");
        commit_range(&lake, 1, 0, 4).await.expect("a commit");
        let days: Vec<Row<'_>> = (11..31).map(|offset| Row { day: DAY + (offset % 2) as i32, ..at(offset) }).collect();
        let advance = Advance { from: NextOffset(11), to: NextOffset(31), gap: None, undelivered: Vec::new() };
        let files = lake.write_files(&[batch(&days)]).await.expect("files");
        lake.commit(GROUP, files, &[(partition(0), advance)].into()).await.expect("a commit");
        commit_range(&lake, 1, 4, 8).await.expect("a commit");
        commit_range(&lake, 0, 31, 36).await.expect("a commit");
        lake.heartbeat(false).await.expect("a heartbeat");
        commit_range(&lake, 0, 36, 41).await.expect("a commit");
    }
}

pub struct Verified(Output);

impl Verified {
    pub fn code(&self) -> i32 {
        self.0.status.code().expect("it exits")
    }

    pub fn lines(&self) -> String {
        format!("{}{}", String::from_utf8_lossy(&self.0.stdout), String::from_utf8_lossy(&self.0.stderr))
    }

    /// The checks that have a line of this result.
    pub fn checks(&self, result: &str) -> Vec<String> {
        let lines = String::from_utf8_lossy(&self.0.stdout).into_owned();
        lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
            .filter(|line| line["result"] == result)
            .map(|line| line["check"].as_str().expect("a check").to_string())
            .collect()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for item in std::fs::read_dir(from).expect("a folder") {
        let (path, target) = item.map(|item| (item.path(), to.join(item.file_name()))).expect("an item");
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copied");
        }
    }
}
