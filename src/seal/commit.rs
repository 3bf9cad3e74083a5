//! A commit of the table as evidence reads it: which files, which positions, and what its committer claims.
//!
//! The claim stands in the commit itself, signed: the roots of the rows, and a digest of all other actions. So whoever
//! has to seal a commit whose committer died can tell it from one that somebody planted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::change::Change;
use super::digest::Digest;
use super::key::SealKey;
use super::statement::{Kind, Range, SealedFile, Signature};
use crate::activity::Column;
use crate::checkpoint::{Advance, NextOffset, TopicPartition};

/// The tag of a data file that holds the digest of its bytes.
pub const SHA256_TAG: &str = "actorline.sha256";

/// The tag of a rewritten file that names the versions its rows come from, as a JSON list.
pub const ORIGINS_TAG: &str = "actorline.origins";

/// What a committer says of its commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub commit_id: Uuid,
    pub group: String,
    /// The digest of every line of the commit but the one that holds the claim.
    pub actions: Digest,
    pub ranges: Vec<Range>,
    /// Only a rewrite has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// A claim with its signature, as `commitInfo` carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedClaim {
    /// JSON in a string, so that what was signed stays as it was.
    pub statement: String,
    #[serde(default, skip_serializing_if = "Option::is_none", flatten)]
    pub signature: Option<Signature>,
}

impl SignedClaim {
    /// # Errors
    /// Only if the claim cannot be JSON, which its types rule out.
    pub fn new(claim: &Claim, key: Option<&SealKey>) -> Result<SignedClaim, serde_json::Error> {
        let statement = serde_json::to_string(claim)?;
        let signature = key.map(|key| Signature::of(statement.as_bytes(), key));
        Ok(SignedClaim { statement, signature })
    }
}

/// A commit, read from its bytes.
#[derive(Debug, Default)]
pub struct CommitEntry {
    pub commit_id: Option<Uuid>,
    pub group: Option<String>,
    /// What `commitInfo` says of each partition.
    pub advances: BTreeMap<TopicPartition, Advance>,
    pub claim: Option<Claim>,
    pub signed_claim: Option<SignedClaim>,
    pub files: Vec<AddedFile>,
    /// Paths of the files that it takes out of the table.
    pub removed: Vec<String>,
    pub positions: BTreeMap<String, i64>,
    pub table_id: Option<String>,
    pub changes_table: bool,
    /// Names of actions that no commit of this program has.
    pub unknown: Vec<String>,
    /// The digest of every line but that of `commitInfo`.
    pub actions: Option<Digest>,
}

#[derive(Clone, Debug)]
pub struct AddedFile {
    pub path: String,
    pub bytes: u64,
    pub sha256: Option<Digest>,
    pub statistics: Option<String>,
    pub origins: Vec<u64>,
    /// The day of receipt of its rows, if it is one that readers can take.
    pub received_date: Option<String>,
}

impl CommitEntry {
    /// Reads a commit.
    ///
    /// # Errors
    /// Says what cannot be read.
    pub fn parse(bytes: &[u8]) -> Result<CommitEntry, String> {
        let mut entry = CommitEntry::default();
        let mut actions = Vec::with_capacity(bytes.len());
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let action: BTreeMap<String, Value> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
            if !(action.len() == 1 && action.contains_key("commitInfo")) {
                actions.extend_from_slice(line);
            }
            for (name, action) in action {
                entry.take(&name, action).map_err(|error| format!("its `{name}` is unreadable: {error}"))?;
            }
        }
        entry.actions = Some(Digest::of(&actions));
        Ok(entry)
    }

    fn take(&mut self, name: &str, action: Value) -> Result<(), String> {
        let read_error = |error: serde_json::Error| error.to_string();
        match name {
            "commitInfo" => {
                let info: Info = serde_json::from_value(action).map_err(read_error)?;
                let Some(own) = info.actorline else { return Ok(()) };
                self.commit_id = Some(own.commit_id);
                self.group = own.group;
                for partition in own.partitions {
                    let (id, advance) = partition.read();
                    self.advances.insert(id, advance);
                }
                if let Some(signed) = own.claim {
                    self.claim = Some(serde_json::from_str(&signed.statement).map_err(read_error)?);
                    self.signed_claim = Some(signed);
                }
            }
            "add" => {
                let add: Add = serde_json::from_value(action).map_err(read_error)?;
                if !add.deletion_vector.is_null() {
                    self.unknown.push("deletionVector".to_string());
                }
                let tag = |name| add.tags.as_ref().and_then(|tags| tags.get(name)?.as_deref());
                let sha256 = tag(SHA256_TAG).and_then(|digest| digest.parse().ok());
                let origins = tag(ORIGINS_TAG).map(serde_json::from_str).transpose().map_err(read_error)?;
                self.files.push(AddedFile {
                    path: add.path,
                    bytes: add.size,
                    sha256,
                    statistics: add.stats,
                    origins: origins.unwrap_or_default(),
                    received_date: add.partition_values.into_values().next().flatten(),
                });
            }
            "remove" => {
                let remove: Remove = serde_json::from_value(action).map_err(read_error)?;
                self.removed.push(remove.path);
            }
            "txn" => {
                let txn: Txn = serde_json::from_value(action).map_err(read_error)?;
                self.positions.insert(txn.app_id, txn.version);
            }
            "metaData" => {
                self.changes_table = true;
                self.table_id = action.get("id").and_then(Value::as_str).map(str::to_string);
            }
            "protocol" => self.changes_table = true,
            other => self.unknown.push(other.to_string()),
        }
        Ok(())
    }

    /// What kind of commit its actions make it; None if no writer of this program makes such a one.
    pub fn kind(&self) -> Option<Kind> {
        let has_data = !self.files.is_empty() || !self.positions.is_empty();
        let change = self.claim.as_ref().and_then(|claim| claim.change.as_ref());
        if !self.removed.is_empty() || change.is_some() {
            let has_origins = self.files.iter().all(|file| !file.origins.is_empty());
            let is_rewrite = has_origins && self.positions.is_empty() && !self.changes_table && self.unknown.is_empty();
            let change = change.filter(|_| is_rewrite && !self.removed.is_empty())?;
            return Some(if change.deletion.is_some() { Kind::Deletion } else { Kind::Rewrite });
        }
        match (self.changes_table, has_data) {
            _ if !self.unknown.is_empty() || self.files.iter().any(|file| !file.origins.is_empty()) => None,
            (true, true) => None,
            (true, false) => Some(Kind::Table),
            (false, true) => Some(Kind::Append),
            (false, false) => Some(Kind::Heartbeat),
        }
    }

    /// Whether it leaves the table at the very positions that it says that it takes partitions to.
    pub fn moves_as_it_says(&self) -> bool {
        let group = self.group.as_deref().unwrap_or_default();
        let positions: BTreeMap<String, i64> = self
            .advances
            .iter()
            .map(|(partition, advance)| {
                let topic = partition.topic_id.as_ref().unwrap_or(&partition.topic);
                (format!("{group}/{topic}/{}", partition.partition), advance.to.0)
            })
            .collect();
        positions == self.positions
    }

    /// Its files as a seal names them; None if one lacks its digest or its number of rows.
    pub fn sealed_files(&self) -> Option<Vec<SealedFile>> {
        let mut files = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let statistics: Value = serde_json::from_str(file.statistics.as_deref()?).ok()?;
            let rows = statistics.get("numRecords")?.as_u64()?;
            files.push(SealedFile {
                path: file.path.clone(),
                bytes: file.bytes,
                rows,
                sha256: file.sha256?,
                origins: file.origins.clone(),
            });
        }
        files.sort();
        Some(files)
    }

    /// The files that it removes as a seal names them.
    pub fn sealed_removals(&self) -> Vec<String> {
        let mut removed = self.removed.clone();
        removed.sort();
        removed
    }
}

/// When the newest row of a file was received, by the file's statistics; None if they do not say it of every row.
pub fn newest_received(statistics: &str) -> Option<jiff::Timestamp> {
    let statistics: Value = serde_json::from_str(statistics).ok()?;
    let column = Column::ReceivedTime.name();
    let has_all = statistics.get("nullCount")?.get(column)?.as_u64()? == 0;
    statistics.get("maxValues")?.get(column)?.as_str()?.parse().ok().filter(|_| has_all)
}

#[derive(Deserialize)]
struct Info {
    actorline: Option<OwnInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnInfo {
    commit_id: Uuid,
    group: Option<String>,
    #[serde(default)]
    partitions: Vec<PartitionInfo>,
    claim: Option<SignedClaim>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartitionInfo {
    topic: String,
    topic_id: Option<String>,
    partition: i32,
    from: i64,
    to: i64,
    gap: Option<(i64, i64)>,
    undelivered: Vec<(i64, i64)>,
}

impl PartitionInfo {
    fn read(self) -> (TopicPartition, Advance) {
        let id = TopicPartition {
            topic: self.topic.into(),
            topic_id: self.topic_id.map(Into::into),
            partition: self.partition,
        };
        let (from, to) = (NextOffset(self.from), NextOffset(self.to));
        let gap = self.gap.map(|(_, end)| NextOffset(end));
        (id, Advance { from, to, gap, undelivered: self.undelivered })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Add {
    path: String,
    size: u64,
    stats: Option<String>,
    tags: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    partition_values: BTreeMap<String, Option<String>>,
    #[serde(default)]
    deletion_vector: Value,
}

#[derive(Deserialize)]
struct Remove {
    path: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
}
