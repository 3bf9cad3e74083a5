//! A lake commit: files and the positions that they take their partitions to, together or not at all.
//!
//! A commit goes through only if every partition still stands where the batch began. What became of an attempt is
//! never guessed: after a lost race or an unclear answer the log is read again, and the log decides. Files of a commit
//! that did not go through are left alone, because a late answer could still make them part of the table.

use std::collections::BTreeMap;
use std::time::Duration;

use deltalake::kernel::{Action, Transaction, Version};
use serde_json::{Value, json};
use uuid::Uuid;

use super::error::LakeError;
use super::files::DataFile;
use super::log::{self, LogTail, Written};
use super::sealing;
use super::{Follows, Lake};
use crate::checkpoint::{Advance, NextOffset, TopicPartition};
use crate::failpoint;

/// Failures of the store that one commit outlasts. The pauses between them are five to ten seconds together, on top of
/// the store's own retries; then the pipeline decides.
const NUM_FAILURES_MAX: u32 = 8;

/// Races that one commit loses before it gives up. Each lost one is another instance's success, so this many means
/// far more instances than a table bears.
const NUM_LOST_RACES_MAX: u32 = 100;

const PAUSE_MIN: Duration = Duration::from_millis(20);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What became of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The table holds the batch's rows and its positions, as of this version at the latest.
    Committed { version: Version },
    /// A partition stands elsewhere than where the batch began: another instance has it, or had it. Nothing was
    /// written; the batch is void and reading starts again from the table's positions.
    Fenced { partition: TopicPartition, expected: NextOffset, found: Option<NextOffset> },
}

impl Lake {
    /// Adds `files` to the table and takes each partition from where its advance begins to where it ends.
    ///
    /// A partition that the table does not know yet may begin anywhere: its first commit sets the start. If all
    /// partitions already stand at the end of their advances, the batch is there and counts as committed, whoever
    /// committed it: an earlier call whose answer got lost, or an instance that read the same records.
    ///
    /// Without advances the files are simply appended; such a commit knows itself only by its id, so repeating a call
    /// that failed may append twice.
    pub async fn commit(
        &self,
        group: &str,
        files: Vec<DataFile>,
        advances: &BTreeMap<TopicPartition, Advance>,
    ) -> Result<Commit, LakeError> {
        let batch = Batch::new(group, advances)?;
        // The same bytes for every attempt: should a late one land, it is the same commit.
        let ranges = sealing::ranges_of(&files, advances).await?;
        let about = log::About { commit_id: batch.id, group, partitions: batch.describe(), ranges, change: None };
        let entry = log::encode("WRITE", about, &batch.actions(files), self.inner.seal.key.as_deref())?;
        let mut tail = self.tail().lock().await;
        let (mut num_failures, mut num_lost_races) = (0, 0);
        loop {
            match self.attempt(&mut tail, &batch, &entry).await? {
                Attempt::Settled { commit, is_own } => {
                    drop(tail);
                    if let Commit::Committed { version } = commit {
                        // Somebody else's if the batch was there already: then it has to be read again.
                        let own = Some(entry.as_slice()).filter(|_| is_own);
                        self.seal(version, own, Follows::More).await?;
                    }
                    self.checkpoint_if_due(&commit).await;
                    return Ok(commit);
                }
                Attempt::LostRace if num_lost_races < NUM_LOST_RACES_MAX => num_lost_races += 1,
                Attempt::LostRace => return Err(too_many_writers()),
                Attempt::Failed(_) if num_failures < NUM_FAILURES_MAX => num_failures += 1,
                Attempt::Failed(error) => return Err(error),
            }
            tokio::time::sleep(pause(num_failures, num_lost_races).min(self.inner.pause_max)).await;
        }
    }

    async fn attempt(&self, tail: &mut LogTail, batch: &Batch<'_>, entry: &[u8]) -> Result<Attempt, LakeError> {
        match tail.catch_up(self.log(), Some(batch.id)).await {
            Ok(Some(version)) => return Ok(Attempt::Settled { commit: Commit::Committed { version }, is_own: true }),
            Ok(None) => {}
            Err(error) if error.is_transient() => return Ok(Attempt::Failed(error)),
            Err(error) => return Err(error),
        }
        if let Some(commit) = batch.settled_by(tail) {
            return Ok(Attempt::Settled { commit, is_own: false });
        }
        failpoint::hit("lake.positions_checked");
        let version = tail.version + 1;
        match log::write(self.log(), version, entry.to_vec()).await {
            Written::Ours => {
                failpoint::hit("lake.entry_written");
                tail.record(version, batch.ends());
                Ok(Attempt::Settled { commit: Commit::Committed { version }, is_own: true })
            }
            Written::Taken => {
                failpoint::hit("lake.version_taken");
                Ok(Attempt::LostRace)
            }
            Written::Unclear(error) if error.is_transient() => Ok(Attempt::Failed(error)),
            Written::Unclear(error) => Err(error),
        }
    }
}

enum Attempt {
    /// With whether the commit is the one that this call wrote.
    Settled {
        commit: Commit,
        is_own: bool,
    },
    LostRace,
    /// Unclear: the next attempt reads the log first.
    Failed(LakeError),
}

/// The positions of one commit, checked.
struct Batch<'a> {
    id: Uuid,
    steps: Vec<Step<'a>>,
}

struct Step<'a> {
    application_id: String,
    partition: &'a TopicPartition,
    advance: &'a Advance,
}

impl<'a> Batch<'a> {
    fn new(group: &str, advances: &'a BTreeMap<TopicPartition, Advance>) -> Result<Self, LakeError> {
        let mut steps = Vec::with_capacity(advances.len());
        for (partition, advance) in advances {
            check(partition, advance)?;
            steps.push(Step { application_id: application_id(group, partition), partition, advance });
        }
        Ok(Batch { id: Uuid::new_v4(), steps })
    }

    /// The outcome, if the table's positions already decide it.
    fn settled_by(&self, tail: &LogTail) -> Option<Commit> {
        let found = |step: &Step<'_>| tail.position(&step.application_id).map(NextOffset);
        if !self.steps.is_empty() && self.steps.iter().all(|step| found(step) == Some(step.advance.to)) {
            return Some(Commit::Committed { version: tail.version });
        }
        let elsewhere = |step: &&Step<'_>| found(step).is_some_and(|position| position != step.advance.from);
        self.steps.iter().find(elsewhere).map(|step| Commit::Fenced {
            partition: step.partition.clone(),
            expected: step.advance.from,
            found: found(step),
        })
    }

    fn ends(&self) -> impl Iterator<Item = (String, i64)> {
        self.steps.iter().map(|step| (step.application_id.clone(), step.advance.to.0))
    }

    fn describe(&self) -> Vec<Value> {
        self.steps.iter().map(Step::describe).collect()
    }

    fn actions(&self, files: Vec<DataFile>) -> Vec<Action> {
        // Without a time of update, so that no reader takes a position for expired.
        let positions = self.ends().map(|(id, position)| Action::Txn(Transaction::new(id, position)));
        let mut actions: Vec<Action> = positions.collect();
        actions.extend(files.into_iter().map(|file| Action::Add(file.into_add())));
        actions
    }
}

impl Step<'_> {
    fn describe(&self) -> Value {
        let mut about = json!({
            "topic": self.partition.topic,
            "topicId": self.partition.topic_id,
            "partition": self.partition.partition,
            "from": self.advance.from.0,
            "to": self.advance.to.0,
            "undelivered": self.advance.undelivered,
        });
        if let Some(end) = self.advance.gap {
            about["gap"] = json!([self.advance.from.0, end.0]);
        }
        about
    }
}

/// The name under which a table keeps a partition's position: `<group>/<topic id>/<partition>`.
///
/// The topic's name stands in where the broker gives no id. Neither holds a slash, so the name can be taken apart.
pub(super) fn application_id(group: &str, partition: &TopicPartition) -> String {
    let topic = partition.topic_id.as_ref().unwrap_or(&partition.topic);
    format!("{group}/{topic}/{}", partition.partition)
}

/// Refuses what no honest batch can hold, before it becomes part of the record.
fn check(partition: &TopicPartition, advance: &Advance) -> Result<(), LakeError> {
    let refuse = |what: &str| {
        Err(LakeError::Refused(format!(
            "the advance of partition `{}/{}` from `{}` to `{}` {what}",
            partition.topic, partition.partition, advance.from, advance.to
        )))
    };
    if partition.topic_id.as_ref().unwrap_or(&partition.topic).contains('/') {
        return refuse("has a topic with a slash in it");
    }
    if advance.from >= advance.to {
        return refuse("does not go forward");
    }
    if advance.gap.is_some_and(|end| end <= advance.from || end > advance.to) {
        return refuse("names a gap that is not at its beginning");
    }
    let mut end = advance.gap.unwrap_or(advance.from).0;
    for (start, stop) in &advance.undelivered {
        if *start < end || stop <= start {
            return refuse("names undelivered ranges out of order");
        }
        end = *stop;
    }
    if end > advance.to.0 {
        return refuse("names undelivered ranges beyond its end");
    }
    Ok(())
}

fn too_many_writers() -> LakeError {
    LakeError::Transient {
        doing: format!("commit in {NUM_LOST_RACES_MAX} races with other writers"),
        source: "the table has more writers than it bears: run fewer instances or commit less often".into(),
    }
}

/// The pause doubles with each failure. Half of it is left to chance, so that those who collided do not meet again.
pub(super) fn pause(num_failures: u32, num_lost_races: u32) -> Duration {
    let doublings = num_failures.max(num_lost_races.min(4)).min(16);
    let pause = (PAUSE_MIN * 2_u32.pow(doublings)).min(PAUSE_MAX);
    let chance = Uuid::new_v4().as_bytes()[0];
    pause / 2 + pause / 2 * u32::from(chance) / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests;
