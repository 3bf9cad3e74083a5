//! What the seals say of the table: the files that readers see, and the commits that brought their rows.
//!
//! For whoever puts other files in the place of some. Every seal and every commit is read and held against the one
//! before, so that nobody tidies up what somebody else has tampered with.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use bytes::Bytes;
use deltalake::kernel::Version;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use super::Lake;
use super::error::LakeError;
use super::log;
use crate::activity::Column;
use crate::checkpoint::TopicPartition;
use crate::seal::{self, Change, CommitEntry, Digest, Kind, Range, Redriver, SealedFile, Statement};

/// Versions read at the same time: each is two small requests.
const NUM_VERSIONS_AT_ONCE: usize = 16;

/// The table, up to the newest seal.
#[derive(Debug, Default)]
pub struct History {
    pub version: Version,
    pub table: String,
    /// The digest of each seal.
    pub seals: BTreeMap<Version, Digest>,
    /// The files that readers see, by path.
    pub live: BTreeMap<String, LiveFile>,
    /// The commits that brought rows.
    pub commits: BTreeMap<Version, SealedCommit>,
    /// The roots that the rows of each range have by now, by the version that brought them.
    pub roots: BTreeMap<(Version, TopicPartition), Roots>,
    /// The newest batch of dead letters that each group has brought.
    pub redriven: BTreeMap<Redriver, i64>,
    /// What holds the leaves of rows that were deleted.
    pub deletions: Vec<SealedFile>,
    /// The files that a sealed commit took out of the table, with its version.
    pub removed: BTreeMap<String, Version>,
    /// Everything else that some commit names: files of commits that are findings or are not sealed yet, the leaves of
    /// deletions, and what is left of rejected rows.
    pub named: BTreeSet<String>,
    /// When each version was sealed.
    pub sealed_at: BTreeMap<Version, jiff::Timestamp>,
}

/// The rows of one range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roots {
    pub rows: u64,
    pub raw: Digest,
    pub derived: Digest,
}

/// A file that readers see.
#[derive(Clone, Debug)]
pub struct LiveFile {
    /// With the versions that its rows come from, whether a rewrite put them there or not.
    pub file: SealedFile,
    /// The day of receipt of its rows, if it is one that readers can take.
    pub received_date: Option<String>,
    pub statistics: Option<String>,
}

#[derive(Clone, Debug)]
pub struct SealedCommit {
    pub group: String,
    pub ranges: Vec<Range>,
}

impl Lake {
    /// Reads the seals and the log from the first version to the newest that is sealed.
    ///
    /// # Errors
    /// If the chain is broken: then `archive verify` says how, and nothing may be rewritten.
    pub async fn history(&self) -> Result<History, LakeError> {
        let mut history = History::default();
        self.read_history_on(&mut history).await?;
        Ok(history)
    }

    /// Goes on where `history` was read to.
    ///
    /// # Errors
    /// As [`Lake::history`].
    pub async fn read_history_on(&self, history: &mut History) -> Result<(), LakeError> {
        let mut version = history.seals.last_key_value().map_or(0, |(version, _)| version + 1);
        let mut versions = stream::iter(version..)
            .map(|version| self.read_version(version))
            .buffered(NUM_VERSIONS_AT_ONCE)
            .try_take_while(|read| std::future::ready(Ok(read.is_some())));
        while let Some(Some((seal, entry))) = versions.try_next().await? {
            history.take(version, &seal, &entry).map_err(|why| broken(version, &why))?;
            version += 1;
        }
        if version == 0 {
            return Err(broken(0, "there is no seal"));
        }
        drop(versions);
        while let Some(entry) = self.read_entry(version).await? {
            history.note_names(CommitEntry::parse(&entry).map_err(|why| broken(version, &why))?);
            version += 1;
        }
        Ok(())
    }

    async fn read_version(&self, version: Version) -> Result<Option<(Bytes, Bytes)>, LakeError> {
        let Some(seal) = self.read_seal(version).await? else { return Ok(None) };
        let entry = self.read_entry(version).await?.ok_or_else(|| log::lost(self.log(), version))?;
        Ok(Some((seal, entry)))
    }

    async fn read_entry(&self, version: Version) -> Result<Option<Bytes>, LakeError> {
        let entry = self.log().read_commit_entry(version).await;
        entry.map_err(|error| LakeError::new(format!("read commit `{version}` of the lake's table"), error))
    }
}

impl LiveFile {
    /// The smallest and the largest number that may stand in `column`, as far as its statistics tell.
    pub fn bounds(&self, column: Column) -> RangeInclusive<i64> {
        let statistics: Option<Value> = self.statistics.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let bound = |name: &str| statistics.as_ref()?.get(name)?.get(column.name())?.as_i64();
        bound("minValues").unwrap_or(i64::MIN)..=bound("maxValues").unwrap_or(i64::MAX)
    }
}

impl History {
    fn take(&mut self, version: Version, seal: &[u8], entry: &[u8]) -> Result<(), String> {
        let Statement { kind, files, removed, change, ranges, .. } = {
            let statement = seal::decode(seal)?.statement;
            if statement.version != version || statement.previous != self.newest() {
                return Err("its seal does not follow the one before".to_string());
            }
            if statement.commit.sha256 != Digest::of(entry) {
                return Err("its commit is not what was sealed".to_string());
            }
            let sealed_at: jiff::Timestamp =
                statement.sealed_at.parse().map_err(|_| "its seal has no time".to_string())?;
            self.sealed_at.insert(version, sealed_at);
            self.table.clone_from(&statement.table);
            statement
        };
        self.version = version;
        self.seals.insert(version, Digest::of(seal));
        let commit = CommitEntry::parse(entry);
        if kind == Kind::Foreign {
            // A finding for ever, and no reason to touch what it names.
            commit.into_iter().for_each(|commit| self.note_names(commit));
            return Ok(());
        }
        let commit = commit?;
        if commit.kind() != Some(kind) || commit.sealed_files().as_ref() != Some(&files) {
            return Err("its seal says other things than its commit".to_string());
        }
        for path in removed {
            if self.live.remove(&path).is_none() {
                return Err(format!("it removes `{path}`, which was not there"));
            }
            self.removed.insert(path, version);
        }
        let mut added: BTreeMap<String, seal::AddedFile> =
            commit.files.into_iter().map(|added| (added.path.clone(), added)).collect();
        for mut file in files {
            if file.origins.is_empty() {
                file.origins.push(version);
            }
            let about = added.remove(&file.path);
            let (received_date, statistics) = about.map_or((None, None), |it| (it.received_date, it.statistics));
            self.live.insert(file.path.clone(), LiveFile { file, received_date, statistics });
        }
        if let Some(change) = change {
            self.take_change(change)?;
        }
        if kind == Kind::Append {
            for range in &ranges {
                let Range { rows, raw_root, derived_root, .. } = *range;
                let roots = Roots { rows, raw: raw_root, derived: derived_root };
                self.roots.insert((version, range.partition()), roots);
            }
            self.commits.insert(version, SealedCommit { group: commit.group.unwrap_or_default(), ranges });
        }
        Ok(())
    }

    fn take_change(&mut self, change: Change) -> Result<(), String> {
        for derived in change.derived {
            let roots = self.roots.get_mut(&(derived.version, derived.partition()));
            roots.ok_or("it derives rows anew that no commit brought")?.derived = derived.derived_root;
        }
        if let Some(redriven) = change.redriven {
            for range in &redriven.ranges {
                let roots = self.roots.get_mut(&(range.version, range.partition()));
                *roots.ok_or("it redrives rows that no commit brought")? =
                    Roots { rows: range.rows, raw: range.raw_root, derived: range.derived_root };
            }
            self.named.insert(redriven.rejected.path);
            self.redriven.insert(redriven.by, redriven.number);
        }
        if let Some(deletion) = change.deletion {
            self.named.insert(deletion.leaves.path.clone());
            self.deletions.push(deletion.leaves);
        }
        Ok(())
    }

    fn note_names(&mut self, commit: CommitEntry) {
        self.named.extend(commit.files.into_iter().map(|file| file.path));
        let Some(change) = commit.claim.and_then(|claim| claim.change) else { return };
        self.named.extend(change.deletion.map(|deletion| deletion.leaves.path));
        self.named.extend(change.redriven.map(|redriven| redriven.rejected.path));
    }

    /// The digest of the newest seal.
    fn newest(&self) -> Option<Digest> {
        self.seals.last_key_value().map(|(_, digest)| *digest)
    }

    /// The ranges that the commit of `version` brought.
    pub fn ranges_of(&self, version: Version) -> Option<&[Range]> {
        self.commits.get(&version).map(|commit| commit.ranges.as_slice())
    }

    /// The consumer group that brought the rows of a file; None if it was not one alone.
    pub fn group_of(&self, file: &SealedFile) -> Option<&str> {
        let mut groups = file.origins.iter().map(|origin| self.commits.get(origin).map(|commit| commit.group.as_str()));
        let first = groups.next()??;
        groups.all(|group| group == Some(first)).then_some(first)
    }
}

fn broken(version: Version, why: &str) -> LakeError {
    LakeError::Refused(format!(
        "version `{version}` of the lake's table is not as it was sealed, {why}: run `archive verify`, nothing is \
         rewritten before it is valid"
    ))
}
