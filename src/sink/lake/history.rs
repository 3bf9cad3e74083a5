//! What the seals say of the table: the files that readers see, and the commits that brought their rows.
//!
//! For whoever puts other files in the place of some. Every seal and every commit is read and held against the one
//! before, so that nobody tidies up what somebody else has tampered with.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use deltalake::kernel::Version;
use futures::{StreamExt, TryStreamExt, stream};

use super::Lake;
use super::error::LakeError;
use super::log;
use crate::seal::{self, CommitEntry, Digest, Kind, Range, SealedFile, Statement};

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
    /// The files that a sealed commit took out of the table, with its version.
    pub removed: BTreeMap<String, Version>,
    /// Everything else that some commit names: files of commits that are findings or are not sealed yet, and the leaves
    /// of deletions.
    pub named: BTreeSet<String>,
    /// When each version was sealed.
    pub sealed_at: BTreeMap<Version, jiff::Timestamp>,
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
        let mut versions = stream::iter(0..)
            .map(|version| self.read_version(version))
            .buffered(NUM_VERSIONS_AT_ONCE)
            .try_take_while(|read| std::future::ready(Ok(read.is_some())));
        let mut version = 0;
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
        Ok(history)
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
        self.named.extend(change.and_then(|change| change.deletion).map(|deletion| deletion.leaves.path));
        if kind == Kind::Append {
            self.commits.insert(version, SealedCommit { group: commit.group.unwrap_or_default(), ranges });
        }
        Ok(())
    }

    fn note_names(&mut self, commit: CommitEntry) {
        self.named.extend(commit.files.into_iter().map(|file| file.path));
        let change = commit.claim.and_then(|claim| claim.change);
        self.named.extend(change.and_then(|change| change.deletion).map(|deletion| deletion.leaves.path));
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
