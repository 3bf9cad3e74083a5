//! The lake: one Delta table of Parquet files that holds a row for every event that was read.
//!
//! Rows and the positions that they take their partitions to are committed together, and a commit goes through only
//! if the table's positions are still those that the batch began at: nothing is lost and nothing is doubled, however
//! many instances write, and whenever one of them dies. No commit is ever taken back, and no file is ever changed or
//! deleted here; a rewrite puts other files in the place of some, and leaves those where they are. Only object
//! stores that can create an object if it is absent are used.

pub mod anchor;
mod checkpoint;
mod columns;
mod commit;
mod error;
mod files;
mod generations;
mod history;
pub mod leaves;
mod location;
mod log;
mod redrives;
pub mod rejected;
mod remake;
pub mod reread;
mod rewrite;
mod sealing;
mod statistics;
mod table;
mod topics;

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use deltalake::kernel::Snapshot;
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use object_store::ObjectStore;
use object_store::prefix::PrefixStore;
use tokio::sync::Mutex;
use tracing::warn;

pub use self::commit::Commit;
pub use self::error::LakeError;
pub use self::files::DataFile;
pub use self::history::{History, LiveFile, Roots, SealedCommit};
pub use self::location::LakeLocation;
use self::location::Place;
use self::log::LogTail;
pub use self::redrives::{Kept, Redrive, Tried};
pub use self::remake::{ChangeRows, Remade, Remaking};
pub use self::rewrite::{Rewrite, Rewritten};
pub use self::sealing::SealSettings;
use self::sealing::{Chain, Follows};
use crate::checkpoint::{NextOffset, TopicPartition};
use crate::failpoint;
use crate::seal::SealedGeneration;

/// The table's folder in the lake.
pub const TABLE: &str = "activities";

/// A lake that is ready to be read and written. Clones share one view of the table.
#[derive(Clone, Debug)]
pub struct Lake {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Everything at the lake's URL: the table, and what is kept beside it.
    store: Arc<dyn ObjectStore>,
    log: LogStoreRef,
    /// One commit at a time: those of one instance would only race each other.
    tail: Mutex<LogTail>,
    table_id: String,
    seal: SealSettings,
    chain: Mutex<Chain>,
    /// Generations that no seal of this instance names yet.
    kept: std::sync::Mutex<Vec<SealedGeneration>>,
    proven: std::sync::Mutex<Proven>,
    /// The longest pause before a commit is tried again.
    pause_max: Duration,
}

/// How far the evidence of what is in the lake has come, as far as this instance brought or saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// The newest version that has its seal.
    pub sealed: Option<u64>,
    /// The newest version whose seal is anchored, 0 before the first; None without a place of anchors.
    pub anchored: Option<u64>,
}

impl Lake {
    /// Opens the lake for writing, with unsigned seals.
    pub async fn open(location: &LakeLocation) -> Result<Lake, LakeError> {
        Lake::open_with(location, SealSettings::default()).await
    }

    /// Opens the lake for writing. Creates the table if there is none, and adds the columns that it lacks.
    pub async fn open_with(location: &LakeLocation, seal: SealSettings) -> Result<Lake, LakeError> {
        Lake::open_place(location.resolve()?, Some(seal)).await
    }

    /// Opens a lake that is there already, and changes nothing.
    pub async fn open_existing(location: &LakeLocation) -> Result<Lake, LakeError> {
        Lake::open_place(location.resolve()?, None).await
    }

    async fn open_place(place: Place, writes: Option<SealSettings>) -> Result<Lake, LakeError> {
        let url =
            place.url.join(&format!("{TABLE}/")).map_err(|error| LakeError::new("build the table's url", error))?;
        let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(Arc::clone(&place.store), place.prefix.clone()));
        let table: Arc<dyn ObjectStore> =
            Arc::new(PrefixStore::new(Arc::clone(&place.store), place.prefix.clone().join(TABLE)));
        let log = default_logstore(table, place.store, &url, &StorageConfig::default());
        let (snapshot, own) = match &writes {
            Some(seal) => table::prepare(&log, seal.key.as_deref()).await?,
            None => {
                let snapshot = table::find(&log).await?.ok_or_else(|| LakeError::Absent(place.url.to_string()))?;
                table::check(&snapshot)?;
                (snapshot, None)
            }
        };
        let (table_id, seal) = (snapshot.metadata().id().to_string(), writes.unwrap_or_default());
        let (tail, chain) = (Mutex::new(LogTail::load(&log).await?), Mutex::default());
        let kept = std::sync::Mutex::default();
        let anchored = seal.anchor.as_ref().map(|_| 0);
        let proven = std::sync::Mutex::new(Proven { sealed: None, anchored });
        let inner = Inner { store, log, tail, table_id, seal, chain, kept, proven, pause_max: commit::PAUSE_MAX };
        let lake = Lake { inner: Arc::new(inner) };
        if let Some((version, entry)) = own {
            lake.seal(version, Some(&entry), Follows::More).await?;
        }
        Ok(lake)
    }

    /// Where the table stands for `group` now, read from the table.
    pub async fn positions(&self, group: &str) -> Result<Positions, LakeError> {
        let mut tail = self.tail().lock().await;
        tail.catch_up(self.log(), None).await?;
        Ok(Positions::of_group(group, tail.positions()))
    }

    /// How far seals and anchors have come.
    pub fn proven(&self) -> Proven {
        *self.inner.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prove(&self, further: impl FnOnce(&mut Proven)) {
        further(&mut self.inner.proven.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The lake's folder, for what is kept beside the table.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.inner.store)
    }

    /// The newest state of the table, for reading.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, LakeError> {
        let snapshot = table::find(self.log()).await?;
        snapshot.ok_or_else(|| LakeError::Absent(self.log().root_url().to_string()))
    }

    pub(crate) fn log(&self) -> &LogStoreRef {
        &self.inner.log
    }

    fn kept(&self) -> MutexGuard<'_, Vec<SealedGeneration>> {
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> &Mutex<LogTail> {
        &self.inner.tail
    }

    async fn checkpoint_if_due(&self, commit: &Commit) {
        let Commit::Committed { version } = commit else { return };
        if *version == 0 || !version.is_multiple_of(log::CHECKPOINT_INTERVAL) {
            return;
        }
        failpoint::hit("lake.checkpoint_due");
        match checkpoint::write(self.log(), *version).await {
            Ok(()) => failpoint::hit("lake.checkpoint_written"),
            Err(error) => {
                warn!(version, error = &error as &dyn std::error::Error, "left out a checkpoint of the lake's table");
            }
        }
    }
}

/// The positions of one consumer group, as the lake has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// By topic id (or name, where there is no id) and partition.
    by_partition: HashMap<(String, i32), NextOffset>,
}

impl Positions {
    /// The next offset that the lake lacks; None if it has nothing of this partition.
    pub fn get(&self, partition: &TopicPartition) -> Option<NextOffset> {
        let topic = partition.topic_id.as_ref().unwrap_or(&partition.topic);
        self.by_partition.get(&(topic.to_string(), partition.partition)).copied()
    }

    /// Whether it has anything of the topic with this id.
    pub fn know_topic(&self, topic_id: &str) -> bool {
        self.by_partition.keys().any(|(topic, _)| topic == topic_id)
    }

    pub fn is_empty(&self) -> bool {
        self.by_partition.is_empty()
    }

    fn of_group<'a>(group: &str, all: impl Iterator<Item = (&'a str, i64)>) -> Positions {
        let by_partition = all.filter_map(|(application_id, position)| {
            let (topic, partition) = application_id.strip_prefix(group)?.strip_prefix('/')?.split_once('/')?;
            // A further slash belongs to the name of another group, which begins with this one's and a slash.
            Some(((topic.to_string(), partition.parse().ok()?), NextOffset(position)))
        });
        Positions { by_partition: by_partition.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_one_group() {
        let all = [("audit/t-1/0", 5), ("audit/t-1/1", 7), ("audit/eu/t-1/0", 9), ("auditing/t-1/0", 11)];
        let positions = Positions::of_group("audit", all.into_iter());
        let partition = |number| TopicPartition { topic: "a".into(), topic_id: Some("t-1".into()), partition: number };
        assert_eq!(positions.get(&partition(0)), Some(NextOffset(5)));
        assert_eq!(positions.get(&partition(1)), Some(NextOffset(7)));
        assert_eq!(positions.by_partition.len(), 2);
    }
}
