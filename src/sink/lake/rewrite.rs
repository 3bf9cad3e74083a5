//! A rewrite: other files in the place of some, in one commit with a seal of its own.
//!
//! It moves no position, so it and the commits of a pipeline never stand in each other's way. Two rewrites of one file
//! do: whoever comes second gives way and writes nothing. The files that it removes stay where they are, for readers
//! that began before and until the seal is in its place; `archive vacuum` takes them away much later.

use std::collections::{BTreeSet, HashMap};

use deltalake::kernel::{Action, Remove, Version};
use uuid::Uuid;

use super::commit::pause;
use super::error::LakeError;
use super::files::DataFile;
use super::history::{History, LiveFile};
use super::log::{self, Written};
use super::{Commit, Follows, Lake};
use crate::activity::Column;
use crate::checkpoint::TopicPartition;
use crate::failpoint;
use crate::seal::{Change, CommitEntry, ORIGINS_TAG};

/// Failures of the store that one rewrite outlasts; with the pauses between them as long as a commit does.
const NUM_FAILURES_MAX: u32 = 8;

/// Races that one rewrite loses before it gives up. Each lost one is a commit of a pipeline, which goes first.
const NUM_LOST_RACES_MAX: u32 = 1_000;

/// What to put in the place of what.
#[derive(Debug)]
pub struct Rewrite {
    /// As Delta names it.
    pub operation: &'static str,
    pub removed: Vec<LiveFile>,
    /// Each with the versions that brought its rows.
    pub added: Vec<(DataFile, Vec<Version>)>,
    /// What became of the rows; the default for rows that are the same.
    pub change: Change,
}

/// What became of a rewrite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rewritten {
    Committed {
        version: Version,
    },
    /// Another rewrite has removed this file since, or gave other roots to rows that it shares. Nothing was committed.
    Overtaken {
        path: String,
    },
}

impl Lake {
    /// Commits `rewrite` of files that `history` has, and seals it.
    ///
    /// # Errors
    /// If the store does not take it. Then the commit may be there or not; it never is there in part.
    pub async fn rewrite(&self, history: &History, rewrite: Rewrite) -> Result<Rewritten, LakeError> {
        let commit_id = Uuid::new_v4();
        let mine = Mine {
            commit_id,
            removed: rewrite.removed.iter().map(|live| live.file.path.clone()).collect(),
            ranges: rewrite.change.ranges(),
        };
        let about = log::About { change: Some(rewrite.change.clone()), ..log::About::without_rows(commit_id) };
        // The same bytes for every attempt: should a late one land, it is the same commit.
        let entry = log::encode(rewrite.operation, about, &rewrite.actions()?, self.inner.seal.key.as_deref())?;
        failpoint::hit("rewrite.begun");
        let mut tail = self.tail().lock().await;
        let (mut seen, mut num_failures, mut num_lost_races) = (history.version, 0, 0);
        let version = loop {
            let found = self.read_on(&mut seen, &mine).await;
            let trouble = match found {
                Ok(Found::Ours(version)) => break version,
                Ok(Found::Removed(path)) => return Ok(Rewritten::Overtaken { path }),
                Ok(Found::Nothing) => match log::write(self.log(), seen + 1, entry.clone()).await {
                    Written::Ours => break seen + 1,
                    Written::Taken => None,
                    Written::Unclear(error) => Some(error),
                },
                Err(error) => Some(error),
            };
            match trouble {
                None if num_lost_races < NUM_LOST_RACES_MAX => num_lost_races += 1,
                None => return Err(too_many_writers()),
                Some(error) if error.is_transient() && num_failures < NUM_FAILURES_MAX => num_failures += 1,
                Some(error) => return Err(error),
            }
            tokio::time::sleep(pause(num_failures, num_lost_races).min(self.inner.pause_max)).await;
        };
        failpoint::hit("rewrite.committed");
        tail.catch_up(self.log(), None).await?;
        drop(tail);
        self.seal(version, Some(&entry), Follows::AsPromised).await?;
        failpoint::hit("rewrite.sealed");
        self.checkpoint_if_due(&Commit::Committed { version }).await;
        Ok(Rewritten::Committed { version })
    }

    /// Seals what others have committed and not sealed, so that the history holds it.
    ///
    /// # Errors
    /// If the store does not do its part.
    pub async fn seal_what_others_left(&self) -> Result<(), LakeError> {
        let mut tail = self.tail().lock().await;
        tail.catch_up(self.log(), None).await?;
        let version = tail.version;
        drop(tail);
        self.seal(version, None, Follows::AsPromised).await
    }

    /// Reads the commits after `seen`.
    async fn read_on(&self, seen: &mut Version, mine: &Mine) -> Result<Found, LakeError> {
        loop {
            let next = *seen + 1;
            let doing = || format!("read commit `{next}` of the lake's table");
            let entry = self.log().read_commit_entry(next).await.map_err(|error| LakeError::new(doing(), error))?;
            let Some(entry) = entry else { return Ok(Found::Nothing) };
            let commit = CommitEntry::parse(&entry).map_err(|why| LakeError::new(doing(), why))?;
            if commit.commit_id == Some(mine.commit_id) {
                return Ok(Found::Ours(next));
            }
            if let Some(path) = mine.is_overtaken_by(&commit) {
                return Ok(Found::Removed(path.to_string()));
            }
            *seen = next;
        }
    }
}

/// What a rewrite is known by, and what nobody else may have changed since.
struct Mine {
    commit_id: Uuid,
    removed: BTreeSet<String>,
    /// Its roots of these rest on where the rows stood: not even a rewrite of other files of them may come between.
    ranges: BTreeSet<(Version, TopicPartition)>,
}

impl Mine {
    /// A file that the other took away.
    fn is_overtaken_by<'a>(&self, commit: &'a CommitEntry) -> Option<&'a str> {
        let same_file = commit.removed.iter().find(|path| self.removed.contains(*path));
        let change = commit.claim.as_ref().and_then(|claim| claim.change.as_ref());
        let is_same_range = change.is_some_and(|change| !change.ranges().is_disjoint(&self.ranges));
        let path = same_file.or_else(|| commit.removed.first().filter(|_| is_same_range));
        path.map(String::as_str)
    }
}

/// What stands in the log after what was known of it.
enum Found {
    Ours(Version),
    Removed(String),
    Nothing,
}

impl Rewrite {
    fn actions(&self) -> Result<Vec<Action>, LakeError> {
        // Who follows the table reads nothing anew where only the files are others.
        let data_change = self.change != Change::default();
        let now = jiff::Timestamp::now().as_millisecond();
        let remove = |live: &LiveFile| {
            Action::Remove(Remove {
                path: live.file.path.clone(),
                data_change,
                deletion_timestamp: Some(now),
                extended_file_metadata: Some(true),
                partition_values: Some(HashMap::from([(
                    Column::ReceivedDate.name().to_string(),
                    live.received_date.clone(),
                )])),
                size: i64::try_from(live.file.bytes).ok(),
                ..Remove::default()
            })
        };
        let mut actions: Vec<Action> = self.removed.iter().map(remove).collect();
        for (file, origins) in &self.added {
            let origins = serde_json::to_string(origins).map_err(|error| LakeError::new("encode a commit", error))?;
            let mut add = file.clone().into_add();
            add.data_change = data_change;
            add.tags.get_or_insert_default().insert(ORIGINS_TAG.to_string(), Some(origins));
            actions.push(Action::Add(add));
        }
        Ok(actions)
    }
}

fn too_many_writers() -> LakeError {
    LakeError::Transient {
        doing: format!("rewrite files in {NUM_LOST_RACES_MAX} races with writers"),
        source: "commits come faster than the rewrite: try again when fewer instances run".into(),
    }
}
