//! The table's log as a writer sees it: positions, and whether a commit of ours is among them.
//!
//! A writer needs to know very little of the table, so it reads the commits that are new and nothing else: the list of
//! files, which grows for ever, is never loaded. Commits are put only where none is (`PutMode::Create`). Nothing is
//! ever deleted here.

use std::collections::{BTreeMap, HashMap};

use deltalake::DeltaTableError;
use deltalake::kernel::transaction::TransactionError;
use deltalake::kernel::{Action, CommitInfo, Version};
use deltalake::logstore::{CommitOrBytes, LogStoreRef, commit_uri_from_version};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;

use super::checkpoint;
use super::error::LakeError;
use crate::seal::{Change, Claim, Digest, Range, SealKey, SignedClaim};

/// Commits from one checkpoint to the next. Whoever opens the table reads at most so many small files after the
/// checkpoint; more often would rewrite the list of files for little.
pub(super) const CHECKPOINT_INTERVAL: Version = 100;

/// The name under which a commit of this program describes itself in its commitInfo.
const COMMIT_KEY: &str = "actorline";

/// The log up to a version: the newest position of every application id.
#[derive(Debug)]
pub(super) struct LogTail {
    pub version: Version,
    positions: HashMap<String, i64>,
}

/// What came of putting a commit.
pub(super) enum Written {
    Ours,
    /// The version is taken. By whom, only the log can tell.
    Taken,
    /// The store failed: the commit may be there or not, or may still arrive.
    Unclear(LakeError),
}

impl LogTail {
    /// Reads the newest checkpoint and every commit after it.
    pub async fn load(log: &LogStoreRef) -> Result<LogTail, LakeError> {
        let mut tail = match checkpoint::read_positions(log).await {
            Ok(Some((version, positions))) => LogTail { version, positions },
            Ok(None) => LogTail::from_first_commit(log).await?,
            Err(error) if error.is_transient() => return Err(error),
            // The whole log is kept, so a checkpoint saves time and nothing else.
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "read the lake's log without its checkpoint");
                LogTail::from_first_commit(log).await?
            }
        };
        tail.catch_up(log, None).await?;
        Ok(tail)
    }

    async fn from_first_commit(log: &LogStoreRef) -> Result<LogTail, LakeError> {
        let mut tail = LogTail { version: 0, positions: HashMap::new() };
        match read_entry(log, 0).await? {
            Some(entry) => tail.apply(entry, 0)?,
            None => return Err(lost(log, 0)),
        };
        Ok(tail)
    }

    /// Reads the commits that are new. Stops at the one whose id is `ours` and returns its version; else reads all.
    pub async fn catch_up(&mut self, log: &LogStoreRef, ours: Option<Uuid>) -> Result<Option<Version>, LakeError> {
        let known = self.version;
        loop {
            let next = self.version + 1;
            let Some(entry) = read_entry(log, next).await? else { break };
            let commit_id = self.apply(entry, next)?;
            // At once: trouble with what comes after must not hide that ours is there.
            if ours.is_some() && commit_id == ours {
                return Ok(Some(next));
            }
        }
        // No new commit, or no table any more? Writing on into an emptied folder would look like a lake and be none.
        if self.version == known && !has_entry(log, known).await? {
            return Err(lost(log, known));
        }
        Ok(None)
    }

    pub fn position(&self, application_id: &str) -> Option<i64> {
        self.positions.get(application_id).copied()
    }

    pub fn positions(&self) -> impl Iterator<Item = (&str, i64)> {
        self.positions.iter().map(|(id, version)| (id.as_str(), *version))
    }

    /// Takes note of a commit of our own.
    pub fn record(&mut self, version: Version, positions: impl IntoIterator<Item = (String, i64)>) {
        self.positions.extend(positions);
        self.version = version;
    }

    fn apply(&mut self, entry: Vec<Line>, version: Version) -> Result<Option<Uuid>, LakeError> {
        let mut commit_id = None;
        let mut positions = Vec::new();
        for line in entry {
            if let Some(protocol) = line.protocol
                && (protocol.min_reader_version, protocol.min_writer_version) != (1, 2)
            {
                return Err(LakeError::Refused(format!(
                    "commit `{version}` of the lake's table asks for features that this program does not have: \
                     something else changed the table"
                )));
            }
            if let Some(txn) = line.txn {
                positions.push((txn.app_id, txn.version));
            }
            commit_id = commit_id.or(line.commit_info.and_then(|info| info.actorline).map(|info| info.commit_id));
        }
        self.record(version, positions);
        Ok(commit_id)
    }
}

/// Puts `entry` as commit `version` if there is none.
pub(super) async fn write(log: &LogStoreRef, version: Version, entry: Vec<u8>) -> Written {
    match log.write_commit_entry(version, CommitOrBytes::LogBytes(entry.into()), Uuid::new_v4()).await {
        Ok(()) => Written::Ours,
        Err(TransactionError::VersionAlreadyExists(_)) => Written::Taken,
        Err(TransactionError::ObjectStore { source: object_store::Error::Precondition { .. } }) => Written::Taken,
        Err(error) => {
            Written::Unclear(LakeError::new(format!("write commit `{version}`"), DeltaTableError::from(error)))
        }
    }
}

/// What a commit says of itself.
pub(super) struct About<'a> {
    pub commit_id: Uuid,
    pub group: &'a str,
    pub partitions: Vec<Value>,
    pub ranges: Vec<Range>,
    pub change: Option<Change>,
}

impl About<'_> {
    /// Of a commit that brings no rows of a group and moves no positions.
    pub fn without_rows(commit_id: Uuid) -> About<'static> {
        About { commit_id, group: "", partitions: Vec::new(), ranges: Vec::new(), change: None }
    }
}

/// A commit, one action a line as Delta wants it: first who committed what, with the claim that its seal rests on.
pub(super) fn encode(
    operation: &str,
    about: About<'_>,
    actions: &[Action],
    key: Option<&SealKey>,
) -> Result<Vec<u8>, LakeError> {
    let failed = |error| LakeError::new("encode a commit", error);
    let rest = encode_lines(actions).map_err(failed)?;
    let About { commit_id, group, partitions, ranges, change } = about;
    let claim = Claim { commit_id, group: group.to_string(), actions: Digest::of(&rest), ranges, change };
    let claim = SignedClaim::new(&claim, key).map_err(failed)?;
    let about = json!({ "commitId": commit_id, "group": group, "partitions": partitions, "claim": claim });
    let info = commit_info(operation, BTreeMap::from([(COMMIT_KEY.to_string(), about)]));
    let mut entry = encode_lines(&[info]).map_err(failed)?;
    entry.extend(rest);
    Ok(entry)
}

fn encode_lines(actions: &[Action]) -> Result<Vec<u8>, serde_json::Error> {
    let mut lines = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut lines, action)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The action that says who committed what, and when.
fn commit_info(operation: &str, info: BTreeMap<String, Value>) -> Action {
    Action::CommitInfo(CommitInfo {
        timestamp: Some(jiff::Timestamp::now().as_millisecond()),
        operation: Some(operation.to_string()),
        operation_parameters: Some(HashMap::new()),
        engine_info: Some(format!("actorline/{}", env!("CARGO_PKG_VERSION"))),
        is_blind_append: Some(operation == "WRITE"),
        info: info.into_iter().collect(),
        ..CommitInfo::default()
    })
}

async fn read_entry(log: &LogStoreRef, version: Version) -> Result<Option<Vec<Line>>, LakeError> {
    let doing = || format!("read commit `{version}` of the lake's table");
    let Some(bytes) = log.read_commit_entry(version).await.map_err(|error| LakeError::new(doing(), error))? else {
        return Ok(None);
    };
    let lines = serde_json::Deserializer::from_slice(&bytes).into_iter().collect::<Result<Vec<Line>, _>>();
    lines.map(Some).map_err(|error| LakeError::new(doing(), error))
}

async fn has_entry(log: &LogStoreRef, version: Version) -> Result<bool, LakeError> {
    let path: Path = commit_uri_from_version(Some(version));
    match log.object_store(None).head(&path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(LakeError::new(format!("look for commit `{version}` of the lake's table"), error)),
    }
}

pub(super) fn lost(log: &LogStoreRef, version: Version) -> LakeError {
    LakeError::Refused(format!(
        "commit `{version}` of the table at `{}` is gone: somebody removed or replaced the lake, start again from what is there",
        log.root_url()
    ))
}

/// What a writer reads of one line of a commit. Everything else, the files above all, is skipped unread.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    txn: Option<Txn>,
    commit_info: Option<Info>,
    protocol: Option<Versions>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Txn {
    app_id: String,
    version: i64,
}

#[derive(Deserialize)]
struct Info {
    actorline: Option<OwnInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnInfo {
    commit_id: Uuid,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    min_reader_version: i32,
    min_writer_version: i32,
}
