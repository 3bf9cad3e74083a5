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
    /// The digest of the newest seal.
    pub seal: Option<Digest>,
    /// The files that readers see, by path.
    pub live: BTreeMap<String, LiveFile>,
    /// The commits that brought rows.
    pub commits: BTreeMap<Version, SealedCommit>,
    /// The files that a sealed commit took out of the table, with its version.
    pub removed: BTreeMap<String, Version>,
    /// The objects of leaves of deletions.
    pub leaves: BTreeSet<String>,
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
        Ok(history)
    }

    async fn read_version(&self, version: Version) -> Result<Option<(Bytes, Bytes)>, LakeError> {
        let Some(seal) = self.read_seal(version).await? else { return Ok(None) };
        let entry = self.log().read_commit_entry(version).await;
        let entry = entry.map_err(|error| LakeError::new(format!("read commit `{version}`"), error))?;
        let entry = entry.ok_or_else(|| log::lost(self.log(), version))?;
        Ok(Some((seal, entry)))
    }
}

impl History {
    fn take(&mut self, version: Version, seal: &[u8], entry: &[u8]) -> Result<(), String> {
        let Statement { kind, files, removed, change, ranges, .. } = {
            let statement = seal::decode(seal)?.statement;
            if statement.version != version || statement.previous != self.seal {
                return Err("its seal does not follow the one before".to_string());
            }
            if statement.commit.sha256 != Digest::of(entry) {
                return Err("its commit is not what was sealed".to_string());
            }
            let sealed_at: jiff::Timestamp =
                statement.sealed_at.parse().map_err(|_| "its seal has no time".to_string())?;
            self.sealed_at.insert(version, sealed_at);
            statement
        };
        (self.version, self.seal) = (version, Some(Digest::of(seal)));
        if kind == Kind::Foreign {
            return Ok(());
        }
        let commit = CommitEntry::parse(entry)?;
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
        self.leaves.extend(change.and_then(|change| change.deletion).map(|deletion| deletion.leaves.path));
        if kind == Kind::Append {
            self.commits.insert(version, SealedCommit { group: commit.group.unwrap_or_default(), ranges });
        }
        Ok(())
    }
}

fn broken(version: Version, why: &str) -> LakeError {
    LakeError::Refused(format!(
        "version `{version}` of the lake's table is not as it was sealed, {why}: run `archive verify`, nothing is \
         rewritten before it is valid"
    ))
}
