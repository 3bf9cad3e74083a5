//! The chain of seals: one for every version of the table, each naming the digest of the one before.
//!
//! There is no coordinator. A seal is put only where none is; whoever commits a version seals it, after every version
//! before it. A version whose committer died before it sealed is sealed by the next who comes, after a while and after
//! reading the files again, and its seal says so. A commit counts as done only with its seal; that a seal failed takes
//! nothing back, and the next try finds the commit there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use deltalake::kernel::Version;
use deltalake::logstore::commit_uri_from_version;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, PutOptions};
use tokio::time::Instant;
use tracing::{info, warn};
use uuid::Uuid;

use super::anchor::AnchorPlace;
use super::commit::pause;
use super::error::LakeError;
use super::log::{self, Written};
use super::reread::{self, Reread};
use super::{Commit, Lake};
use crate::failpoint;
use crate::seal::{
    self, Anchor, Change, CommitEntry, Digest, Kind, Leaves, Range, SealKey, SealedBy, SealedFile, Statement, Stored,
    leaf,
};

/// How long the seal of a commit of another instance is waited for. A commit and its seal are two requests apart, so an
/// instance that has not sealed by then is dead or cannot write.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many heartbeats' time may pass before a seal is overdue: one may find that another instance has just written, and
/// one may fail.
const NUM_INTERVALS_PROMISED: u32 = 3;

/// And how much longer, for a store that answers late.
const LATE_BY_MAX: Duration = Duration::from_secs(10);

/// Tries at putting one seal; with the pauses between them about as long as a commit is tried.
const NUM_TRIES_MAX: u32 = 8;

/// How a lake is sealed.
#[derive(Clone, Debug)]
pub struct SealSettings {
    /// Without a key seals are unsigned: they show what was damaged, and not what somebody forged with care.
    pub key: Option<Arc<SealKey>>,
    pub anchor: Option<Arc<AnchorPlace>>,
    /// The longest time without a seal while an instance runs; None writes and promises no heartbeats.
    pub heartbeat_interval: Option<Duration>,
    /// How long the seal of another instance's commit is waited for.
    pub patience: Duration,
}

impl Default for SealSettings {
    fn default() -> SealSettings {
        SealSettings { key: None, anchor: None, heartbeat_interval: None, patience: PATIENCE }
    }
}

/// The newest seal that is known.
#[derive(Debug, Default)]
pub(super) struct Chain {
    newest: Option<(Version, Digest)>,
}

/// Whether this seal promises another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Follows {
    More,
    Nothing,
    /// What others promised, and nothing of its own: a command that comes and goes.
    AsPromised,
}

impl Lake {
    /// Seals every version up to `version`. `own` is the commit of `version`, if this instance wrote it.
    pub(super) async fn seal(&self, version: Version, own: Option<&[u8]>, follows: Follows) -> Result<(), LakeError> {
        let mut chain = self.inner.chain.lock().await;
        if chain.newest.is_none() {
            chain.newest = self.newest_seal(version).await?;
        }
        let known = chain.newest;
        loop {
            let next = chain.newest.map_or(0, |(newest, _)| newest + 1);
            if next > version {
                break;
            }
            let previous = chain.newest.map(|(_, digest)| digest);
            let stored = match own {
                Some(entry) if next == version => {
                    let next_within = self.promise(follows, next).await?;
                    let seal = self.committers_seal(next, previous, entry, next_within)?;
                    failpoint::hit("seal.begun");
                    let stored = self.put_seal(seal).await?;
                    failpoint::hit("seal.written");
                    stored
                }
                _ => match self.wait_for_seal(next).await? {
                    Some(stored) => stored,
                    None => {
                        let follows = if follows == Follows::AsPromised { follows } else { Follows::More };
                        let next_within = self.promise(follows, next).await?;
                        let seal = self.successors_seal(next, previous, next_within).await?;
                        failpoint::hit("seal.made_up_for");
                        self.put_seal(seal).await?
                    }
                },
            };
            chain.newest = Some((next, Digest::of(&stored)));
        }
        if chain.newest != known
            && let Some((version, digest)) = chain.newest
        {
            self.prove(|proven| proven.sealed = Some(version));
            self.publish_anchor(version, digest).await;
        }
        Ok(())
    }

    /// Shows that somebody watches: a commit without rows and its seal, unless there was another since the last one.
    /// The `last` heartbeat of a run always comes, and promises nothing.
    pub async fn heartbeat(&self, last: bool) -> Result<(), LakeError> {
        if self.inner.seal.heartbeat_interval.is_none() {
            return Ok(());
        }
        let mut tail = self.tail().lock().await;
        tail.catch_up(self.log(), None).await?;
        let sealed = self.inner.chain.lock().await.newest.map(|(version, _)| version);
        if sealed.is_some_and(|sealed| sealed < tail.version) && !last {
            let version = tail.version;
            drop(tail);
            return self.seal(version, None, Follows::More).await;
        }
        let about = log::About::without_rows(Uuid::new_v4());
        let entry = log::encode("HEARTBEAT", about, &[], self.inner.seal.key.as_deref())?;
        let version = tail.version + 1;
        match log::write(self.log(), version, entry.clone()).await {
            Written::Ours => {
                failpoint::hit("seal.heartbeat_written");
                tail.record(version, []);
            }
            // Somebody else has shown it.
            Written::Taken => return Ok(()),
            Written::Unclear(error) => return Err(error),
        }
        drop(tail);
        let follows = if last { Follows::Nothing } else { Follows::More };
        self.seal(version, Some(&entry), follows).await?;
        self.checkpoint_if_due(&Commit::Committed { version }).await;
        Ok(())
    }

    /// Whether the newest seal has a signature, so that one without would be a finding.
    async fn is_signed(&self) -> Result<bool, LakeError> {
        let version = self.tail().lock().await.version;
        let Some((version, _)) = self.newest_seal(version).await? else { return Ok(false) };
        let seal = self.read_seal(version).await?;
        Ok(seal.and_then(|seal| seal::decode(&seal).ok()).is_some_and(|seal| seal.signature.is_some()))
    }

    /// Refuses to go on without a key where seals have signatures: one without is a finding for ever.
    ///
    /// # Errors
    /// If that is so, or the newest seal cannot be read.
    pub async fn refuse_unsigned(&self, seal: &SealSettings) -> Result<(), LakeError> {
        if seal.key.is_none() && self.is_signed().await? {
            return Err(LakeError::Refused(
                "the lake's seals are signed, and one without a signature is a finding: name the key with --seal-key, or as \
                 lake.seal.key in the configuration"
                    .to_string(),
            ));
        }
        Ok(())
    }

    async fn publish_anchor(&self, version: Version, digest: Digest) {
        let Some(place) = &self.inner.seal.anchor else { return };
        match place.publish(&Anchor::new(&self.inner.table_id, version, digest)).await {
            Ok(()) => self.prove(|proven| proven.anchored = Some(version)),
            Err(error) => {
                warn!(
                    version,
                    error = &error as &dyn std::error::Error,
                    "failed to anchor a seal, the next one covers it"
                );
            }
        }
        failpoint::hit("seal.anchored");
    }

    /// The newest version up to `version` that has a seal. Seals have no holes, so a search finds their end.
    async fn newest_seal(&self, version: Version) -> Result<Option<(Version, Digest)>, LakeError> {
        let (mut absent, mut step) = (version + 1, 1);
        let mut present = loop {
            let candidate = absent.saturating_sub(step);
            if self.read_seal(candidate).await?.is_some() {
                break candidate;
            }
            if candidate == 0 {
                return Ok(None);
            }
            absent = candidate;
            step *= 2;
        };
        while absent - present > 1 {
            let middle = present + (absent - present) / 2;
            match self.read_seal(middle).await? {
                Some(_) => present = middle,
                None => absent = middle,
            }
        }
        Ok(self.read_seal(present).await?.map(|seal| (present, Digest::of(&seal))))
    }

    /// In what time the seal of `version` promises another.
    async fn promise(&self, follows: Follows, version: Version) -> Result<Option<Duration>, LakeError> {
        match follows {
            Follows::Nothing => Ok(None),
            Follows::More => {
                let interval = self.inner.seal.heartbeat_interval;
                Ok(interval.map(|interval| interval * NUM_INTERVALS_PROMISED + LATE_BY_MAX))
            }
            Follows::AsPromised => {
                let Some(before) = version.checked_sub(1) else { return Ok(None) };
                let Some(seal) = self.read_seal(before).await? else { return Ok(None) };
                Ok(seal::decode(&seal).ok().and_then(|seal| time_left(&seal.statement, jiff::Timestamp::now())))
            }
        }
    }

    pub(super) async fn read_seal(&self, version: Version) -> Result<Option<Bytes>, LakeError> {
        let doing = || format!("read the seal of version `{version}`");
        match self.store().get(&path_of(version)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|error| LakeError::new(doing(), error)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(LakeError::new(doing(), error)),
        }
    }

    /// The seal of another's commit; None if it does not come.
    async fn wait_for_seal(&self, version: Version) -> Result<Option<Bytes>, LakeError> {
        let begun = Instant::now();
        let mut num_looks = 0;
        loop {
            if let Some(seal) = self.read_seal(version).await? {
                return Ok(Some(seal));
            }
            let is_old = num_looks == 0 && self.age_of_commit(version).await? >= self.inner.seal.patience;
            if is_old || begun.elapsed() >= self.inner.seal.patience {
                return Ok(None);
            }
            num_looks += 1;
            tokio::time::sleep(pause(0, num_looks)).await;
        }
    }

    async fn age_of_commit(&self, version: Version) -> Result<Duration, LakeError> {
        let path = commit_uri_from_version(Some(version));
        let meta = self.log().object_store(None).head(&path).await;
        let meta = meta.map_err(|error| LakeError::new(format!("look for commit `{version}`"), error))?;
        let age_ms = jiff::Timestamp::now().as_millisecond() - meta.last_modified.timestamp_millis();
        Ok(Duration::from_millis(u64::try_from(age_ms).unwrap_or(0)))
    }

    /// Puts a seal where none is, and returns the one that stands there.
    async fn put_seal(&self, statement: Statement) -> Result<Bytes, LakeError> {
        let version = statement.version;
        let doing = || format!("write the seal of version `{version}`");
        let seal = seal::encode(&statement, self.inner.seal.key.as_deref());
        // The same bytes for every try: should a late one land, it is the same seal.
        let seal = Bytes::from(seal.map_err(|error| LakeError::new(doing(), error))?);
        let mut num_failures = 0;
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let error = match self.store().put_opts(&path_of(version), seal.clone().into(), options).await {
                Ok(_) => return Ok(seal),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                    match self.read_seal(version).await? {
                        Some(stored) => return Ok(stored),
                        None => LakeError::Transient { doing: doing(), source: "the store gives two answers".into() },
                    }
                }
                Err(error) => LakeError::new(doing(), error),
            };
            num_failures += 1;
            if !error.is_transient() || num_failures >= NUM_TRIES_MAX {
                return Err(error);
            }
            tokio::time::sleep(pause(num_failures, 0).min(self.inner.pause_max)).await;
        }
    }

    /// The seal of a commit that this instance wrote, from what it wrote.
    fn committers_seal(
        &self,
        version: Version,
        previous: Option<Digest>,
        entry: &[u8],
        next_within: Option<Duration>,
    ) -> Result<Statement, LakeError> {
        let read = CommitEntry::parse(entry).ok().and_then(|commit| {
            let kind = commit.kind()?;
            let files = commit.sealed_files()?;
            let claim = commit.claim.as_ref();
            let ranges = claim.map(|claim| claim.ranges.clone()).unwrap_or_default();
            let change = claim.and_then(|claim| claim.change.clone());
            Some((Examined { kind, files, removed: commit.sealed_removals(), change, ranges, why: None }, commit))
        });
        let Some((found, commit)) = read else {
            return Err(LakeError::Refused(format!("commit `{version}` cannot be sealed as it was written")));
        };
        Ok(self.statement(version, previous, entry, Some(&commit), found, SealedBy::Committer, next_within))
    }

    /// The seal of a commit that somebody else wrote and did not seal, from what lies there now.
    async fn successors_seal(
        &self,
        version: Version,
        previous: Option<Digest>,
        next_within: Option<Duration>,
    ) -> Result<Statement, LakeError> {
        let doing = || format!("read commit `{version}` of the lake's table");
        let entry = self.log().read_commit_entry(version).await;
        let entry = entry.map_err(|error| LakeError::new(doing(), error))?;
        let entry = entry.ok_or_else(|| log::lost(self.log(), version))?;
        let commit = CommitEntry::parse(&entry);
        let found = match &commit {
            Ok(commit) => self.examine(commit).await?,
            Err(why) => Examined::foreign(format!("it cannot be read: {why}")),
        };
        match &found.why {
            None => info!(version, "sealed a commit whose writer left before it did"),
            Some(why) => warn!(version, why, "sealed a commit that is none of a writer, as a finding"),
        }
        let commit = commit.ok();
        Ok(self.statement(version, previous, &entry, commit.as_ref(), found, SealedBy::Successor, next_within))
    }

    /// Reads everything again that a commit names, and compares it with what its committer claims.
    async fn examine(&self, commit: &CommitEntry) -> Result<Examined, LakeError> {
        let Some(kind) = commit.kind() else {
            return Ok(Examined::foreign("it does what no writer of this program does".to_string()));
        };
        let Some(files) = commit.sealed_files() else {
            return Ok(Examined::foreign("it adds files without their digest or number of rows".to_string()));
        };
        if let Some(claim) = &commit.claim
            && (Some(claim.actions) != commit.actions || Some(claim.commit_id) != commit.commit_id)
        {
            return Ok(Examined::foreign("its actions are not those that its writer signed".to_string()));
        }
        if !commit.moves_as_it_says() {
            return Ok(Examined::foreign("it moves other positions than it says".to_string()));
        }
        let (removed, change) =
            (commit.sealed_removals(), commit.claim.as_ref().and_then(|claim| claim.change.clone()));
        let mut leaves = Leaves::new();
        for file in &files {
            match reread::file(self.store().as_ref(), file).await? {
                Reread::Whole { leaves: found, .. } => leaf::merge(&mut leaves, &found),
                Reread::Differs(how) => return Ok(Examined::foreign(format!("its file `{}` {how}", file.path))),
            }
        }
        if kind.is_rewrite() {
            // Its rows were sealed with the commits that brought them. Whoever verifies holds them against those.
            return Ok(Examined { kind, files, removed, change, ranges: Vec::new(), why: None });
        }
        let ranges = seal::ranges(&commit.advances, &mut leaves);
        if commit.claim.as_ref().is_some_and(|claim| claim.ranges != ranges) {
            return Ok(Examined::foreign("its rows are not those that its writer signed".to_string()));
        }
        Ok(Examined { kind, files, removed, change, ranges, why: None })
    }

    #[allow(clippy::too_many_arguments, reason = "each is one part of the statement")]
    fn statement(
        &self,
        version: Version,
        previous: Option<Digest>,
        entry: &[u8],
        commit: Option<&CommitEntry>,
        found: Examined,
        sealed_by: SealedBy,
        next_within: Option<Duration>,
    ) -> Statement {
        Statement {
            seal: found.kind.form(),
            table: self.inner.table_id.clone(),
            version,
            kind: found.kind,
            previous,
            commit: Stored { sha256: Digest::of(entry), bytes: entry.len() as u64 },
            commit_id: commit.and_then(|commit| commit.commit_id),
            group: commit.and_then(|commit| commit.group.clone()),
            files: found.files,
            removed: found.removed,
            change: found.change,
            ranges: found.ranges,
            generations: match sealed_by {
                SealedBy::Committer => std::mem::take(&mut *self.kept()),
                SealedBy::Successor => Vec::new(),
            },
            why: found.why,
            sealed_by,
            sealed_at: jiff::Timestamp::now().to_string(),
            next_within_ms: next_within.and_then(|time| u64::try_from(time.as_millis()).ok()),
            writer: concat!("actorline/", env!("CARGO_PKG_VERSION")).to_string(),
        }
    }
}

/// What is left of the time in which a seal promised another; nothing once that is over.
fn time_left(statement: &Statement, now: jiff::Timestamp) -> Option<Duration> {
    let promised = Duration::from_millis(statement.next_within_ms?);
    let sealed_at: jiff::Timestamp = statement.sealed_at.parse().ok()?;
    let passed = u64::try_from(now.as_millisecond() - sealed_at.as_millisecond()).unwrap_or(0);
    Some(promised.saturating_sub(Duration::from_millis(passed)))
}

/// What a commit turned out to be.
struct Examined {
    kind: Kind,
    files: Vec<SealedFile>,
    removed: Vec<String>,
    change: Option<Change>,
    ranges: Vec<Range>,
    why: Option<String>,
}

impl Examined {
    fn foreign(why: String) -> Examined {
        let (files, removed, ranges) = (Vec::new(), Vec::new(), Vec::new());
        Examined { kind: Kind::Foreign, files, removed, change: None, ranges, why: Some(why) }
    }
}

fn path_of(version: Version) -> Path {
    Path::from_iter([seal::FOLDER, &seal::name_of(version)])
}

/// The ranges of a commit of these files.
pub(super) async fn ranges_of(
    files: &[super::DataFile],
    advances: &BTreeMap<crate::checkpoint::TopicPartition, crate::checkpoint::Advance>,
) -> Result<Vec<Range>, LakeError> {
    let of_files: Vec<Arc<Leaves>> = files.iter().map(|file| Arc::clone(&file.leaves)).collect();
    let advances = advances.clone();
    // Millions of rows are sorted and hashed, which holds up nobody's I/O here.
    let work = move || {
        let mut leaves = Leaves::new();
        of_files.iter().for_each(|of_file| leaf::merge(&mut leaves, of_file));
        seal::ranges(&advances, &mut leaves)
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| LakeError::new("hash the rows of a commit", error))
}
