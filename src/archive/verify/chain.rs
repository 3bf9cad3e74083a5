//! The chain: one seal for each version, each naming the one before, signed, and with its commit as it was sealed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::inventory::Inventory;
use super::report::{Check, Report};
use super::{Options, Progress, Signatures, log, shortcuts};
use crate::checkpoint::TopicPartition;
use crate::seal::{self, Deletion, Digest, Kind, Range, Recut, Redriver, Seal, SealedBy, SealedFile, Statement};

/// A commit without its seal may be under way for so long; a writer waits less before it takes the other for dead.
const SEAL_TIME: Duration = Duration::from_secs(60);

/// What the seals vouch for.
#[derive(Default)]
pub(super) struct Chain {
    digests: BTreeMap<u64, Digest>,
    table: Option<String>,
    last: Option<Statement>,
    /// The commits that brought rows, or may have.
    pub commits: BTreeMap<u64, SealedCommit>,
    /// The files that hold rows, as the seals have them.
    pub files: BTreeMap<String, SealedLive>,
    /// Roots of ranges that were derived anew, in place of those of the commits that brought them.
    pub derived: BTreeMap<(u64, TopicPartition), Digest>,
    /// Ranges that were given other rows in the place of rejected ones.
    pub recut: BTreeMap<(u64, TopicPartition), Recut>,
    /// Ranges that a replay derived anew, so that what was derived of them before is not to be had.
    pub replayed: BTreeSet<(u64, TopicPartition)>,
    /// What is left of rejected rows that others took the place of, with the version that did it.
    pub rejected: Vec<(u64, SealedFile)>,
    /// The newest batch of dead letters of each group.
    pub redriven: BTreeMap<Redriver, i64>,
    pub deletions: Vec<(u64, Deletion)>,
    pub sealed_at: BTreeMap<u64, jiff::Timestamp>,
    /// The files that readers see, as the commits have them.
    pub live: HashMap<String, LiveFile>,
    /// Those that the commit at hand removes.
    pub live_before: HashMap<String, LiveFile>,
    pub positions: BTreeMap<String, i64>,
    /// Where each group stands in each partition.
    ends: HashMap<(String, String, i32), i64>,
    generations: BTreeMap<String, Digest>,
}

/// What one seal says of rows.
pub(super) struct SealedCommit {
    pub version: u64,
    pub ranges: Vec<Range>,
}

/// A file that holds rows, with the version that put it there.
pub(super) struct SealedLive {
    pub version: u64,
    /// Never without origins.
    pub file: SealedFile,
}

/// A file that readers of the newest version see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LiveFile {
    pub bytes: u64,
    pub statistics: Option<String>,
}

impl Chain {
    pub async fn walk(
        &mut self,
        store: &Arc<dyn ObjectStore>,
        inventory: &Inventory,
        options: &Options,
        report: &mut Report,
        progress: &dyn Progress,
    ) {
        for object in &inventory.unknown_seals {
            report.finding(Check::Seals, None, Some(object), "is no seal, and nothing else may lie there");
        }
        for object in &inventory.unknown_in_log {
            let detail = "stands in the log, where readers may take it for part of the table; no writer puts it there";
            report.finding(Check::Shortcuts, None, Some(object), detail);
        }
        let Some(newest) = inventory.seals.last().copied() else {
            return report_unsealed(inventory, report);
        };
        for version in 0..=newest {
            progress.seals(version, newest + 1);
            self.check_version(store.as_ref(), version, inventory, options, report).await;
            if let Some(name) = inventory.checkpoints.get(&version) {
                shortcuts::check_checkpoint(store, name, version, self, report).await;
            }
        }
        for (version, name) in inventory.checkpoints.range(newest + 1..) {
            report.finding(Check::Shortcuts, Some(*version), Some(name), "sums up versions that are not sealed");
        }
        if inventory.has_last_checkpoint {
            shortcuts::check_last(store.as_ref(), inventory, report).await;
        }
        for (name, digest) in &self.generations {
            check_generation(store.as_ref(), name, *digest, report).await;
        }
        self.note_signatures(options, report);
    }

    async fn check_version(
        &mut self,
        store: &dyn ObjectStore,
        version: u64,
        inventory: &Inventory,
        options: &Options,
        report: &mut Report,
    ) {
        let name = seal::name_of(version);
        if !inventory.seals.contains(&version) {
            return report.finding(Check::Seals, Some(version), Some(&name), "is gone, and later seals are there");
        }
        let path = Path::from_iter([seal::FOLDER, &name]);
        let bytes = match read(store, &path).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return report.finding(Check::Seals, Some(version), Some(&name), "went while it was verified"),
            Err(error) => return report.unchecked(Check::Seals, Some(version), Some(&name), error),
        };
        report.counts.num_seals += 1;
        let previous = version.checked_sub(1).map(|before| self.digests.get(&before).copied());
        self.digests.insert(version, Digest::of(&bytes));
        let seal = match seal::decode(&bytes) {
            Ok(seal) => seal,
            Err(why) => return report.finding(Check::Seals, Some(version), Some(&name), why),
        };
        self.check_place(&seal.statement, version, previous, report);
        check_signature(&seal, version, options, report);
        if let Some(commit) = log::check(store, &seal, options, report).await {
            self.take(&seal.statement, &commit, report);
        }
        self.check_advances(&seal.statement, report);
        let statement = seal.statement;
        for kept in &statement.generations {
            let known = *self.generations.entry(kept.name.clone()).or_insert(kept.sha256);
            if known != kept.sha256 {
                let detail = format!("generation `{}` was sealed with another content before", kept.name);
                report.finding(Check::Files, Some(version), None, detail);
            }
        }
        if let Ok(sealed_at) = statement.sealed_at.parse() {
            self.sealed_at.insert(version, sealed_at);
        }
        self.take_files(&statement, report);
        if !statement.kind.is_rewrite() {
            self.commits.insert(version, SealedCommit { version, ranges: statement.ranges.clone() });
        }
        let (files, removed, ranges) = (Vec::new(), Vec::new(), Vec::new());
        self.last = Some(Statement { files, removed, ranges, change: None, ..statement });
    }

    /// Whether the statement stands where it says that it stands.
    fn check_place(
        &mut self,
        statement: &Statement,
        version: u64,
        previous: Option<Option<Digest>>,
        report: &mut Report,
    ) {
        let name = seal::name_of(version);
        let mut finding = |detail: String| report.finding(Check::Seals, Some(version), Some(&name), detail);
        if statement.version != version {
            finding(format!("is the seal of version {}", statement.version));
        }
        if *self.table.get_or_insert_with(|| statement.table.clone()) != statement.table {
            finding(format!("is the seal of another table, `{}`", statement.table));
        }
        match (previous, statement.previous) {
            (None, None) => {}
            (None, Some(_)) => finding("is the first, and names one before".to_string()),
            (Some(_), None) => finding("names no seal before it".to_string()),
            (Some(Some(found)), Some(named)) if found != named => {
                finding(format!("names `{named}` as the seal before it, which is `{found}`"));
            }
            // The seal before is gone, which was said.
            (Some(_), Some(_)) => {}
        }
        if statement.kind == Kind::Foreign {
            let why = statement.why.as_deref().unwrap_or("no reason was given");
            report.finding(
                Check::Log,
                Some(version),
                None,
                format!("no commit of a writer, or no longer what it wrote: {why}"),
            );
        }
        if statement.sealed_by == SealedBy::Successor {
            let detail = format!(
                "sealed at {} by another than its writer, which left before it did; until then nothing showed a change",
                statement.sealed_at
            );
            report.note(Check::Seals, Some(version), detail);
        }
    }

    /// Adds what a commit brings to what readers see.
    fn take(&mut self, statement: &Statement, commit: &seal::CommitEntry, report: &mut Report) {
        self.live_before.clear();
        for path in &commit.removed {
            if let Some(file) = self.live.remove(path) {
                self.live_before.insert(path.clone(), file);
            }
        }
        for file in &commit.files {
            let live = LiveFile { bytes: file.bytes, statistics: file.statistics.clone() };
            if self.live.insert(file.path.clone(), live).is_some() {
                let detail = "is added a second time, so that its rows count twice";
                report.finding(Check::Log, Some(statement.version), Some(&file.path), detail);
            }
        }
        for (id, position) in &commit.positions {
            let known = self.positions.insert(id.clone(), *position);
            if known.is_some_and(|known| known >= *position) {
                let detail = format!("takes the position of `{id}` to {position}, where it stood at {known:?}");
                report.finding(Check::Completeness, Some(statement.version), None, detail);
            }
        }
    }

    /// Whether each partition goes on where its last commit ended.
    fn check_advances(&mut self, statement: &Statement, report: &mut Report) {
        let group = statement.group.clone().unwrap_or_default();
        for range in &statement.ranges {
            let Some(span) = &range.advance else { continue };
            let topic = range.topic_id.as_ref().unwrap_or(&range.topic).clone();
            let end = self.ends.insert((group.clone(), topic, range.partition), span.to);
            let Some(end) = end else { continue };
            let (place, from) = (format!("{}/{}", range.topic, range.partition), span.from);
            if from > end {
                let detail = format!("gap: offsets {end} to {} of `{place}` are in no commit", from - 1);
                report.finding(Check::Completeness, Some(statement.version), None, detail);
            } else if from < end {
                let detail = format!("offsets {from} to {} of `{place}` are committed a second time", end - 1);
                report.finding(Check::Completeness, Some(statement.version), None, detail);
            }
        }
    }

    /// Whether the chain ends where it should: no heartbeat is overdue, and no commit is without its seal.
    pub fn check_end(&self, inventory: &Inventory, options: &Options, is_anchored: bool, report: &mut Report) {
        let Some(last) = &self.last else { return };
        for (version, written) in inventory.commits.range(last.version + 1..) {
            // Below zero for what was written since.
            let age = options.now.duration_since(*written).as_secs_f64();
            if age < SEAL_TIME.as_secs_f64() {
                report.note(Check::End, Some(*version), "a commit that is just being sealed");
            } else {
                let detail = "a commit without a seal: its writer left before it sealed it, or somebody planted it. The \
                              next writer looks at it and seals it, as one or the other";
                report.unchecked(Check::End, Some(*version), None, detail);
            }
        }
        let promised = last.next_within_ms.map(Duration::from_millis);
        let sealed_at: Result<jiff::Timestamp, _> = last.sealed_at.parse();
        let version = Some(last.version);
        match (promised, sealed_at) {
            (None, _) => {
                let detail = format!(
                    "the newest seal, of {}, promises no further one: whether any came after it, only an anchor can tell",
                    last.sealed_at
                );
                report.note(Check::End, version, detail);
            }
            (Some(promised), Ok(sealed_at))
                if options.now.duration_since(sealed_at).as_secs_f64() > promised.as_secs_f64() =>
            {
                let detail = format!(
                    "the newest seal is of {sealed_at}, and another was due within {} seconds: no writer runs, or the end \
                     was cut off",
                    promised.as_secs()
                );
                if is_anchored {
                    report.note(Check::End, version, format!("{detail}. An anchor names it, so nothing was cut off"));
                } else {
                    report.finding(Check::End, version, None, detail);
                }
            }
            (Some(_), Ok(sealed_at)) => report.note(Check::End, version, format!("the newest seal is of {sealed_at}")),
            (Some(_), Err(_)) => {
                report.finding(Check::End, version, None, format!("`{}` is no time of a seal", last.sealed_at));
            }
        }
    }

    pub fn newest(&self) -> Option<(u64, Digest)> {
        self.digests.last_key_value().map(|(version, digest)| (*version, *digest))
    }

    pub fn digest_of(&self, version: u64) -> Option<Digest> {
        self.digests.get(&version).copied()
    }

    fn note_signatures(&self, options: &Options, report: &mut Report) {
        match &options.signatures {
            Signatures::By { keys, since } => {
                let ids: Vec<String> = keys.iter().map(seal::PublicKey::id).collect();
                report.note(Check::Signatures, None, format!("checked with {} from version {since}", ids.join(", ")));
            }
            Signatures::WithoutKey => report.unchecked(
                Check::Signatures,
                None,
                None,
                "there is no key to check them with: name one with --public-key, or go without with --unsigned",
            ),
            Signatures::Ignored => report.note(
                Check::Signatures,
                None,
                "not checked: who can write to the lake can have written rows, commits and seals anew",
            ),
        }
    }
}

fn report_unsealed(inventory: &Inventory, report: &mut Report) {
    match inventory.commits.last_key_value() {
        None => report.unchecked(Check::Seals, None, None, "there is no lake here: nothing lies in its log"),
        // A table that nobody has written to yet.
        Some((0, _)) => report.unchecked(Check::Seals, None, None, "nothing is sealed yet"),
        Some((version, _)) => {
            let detail = format!("there is not one seal, and the table has come to version {version}");
            report.finding(Check::Seals, None, None, detail);
        }
    }
}

fn check_signature(seal: &Seal, version: u64, options: &Options, report: &mut Report) {
    let Signatures::By { keys, since } = &options.signatures else { return };
    if version < *since {
        return;
    }
    let name = seal::name_of(version);
    match &seal.signature {
        None => report.finding(Check::Signatures, Some(version), Some(&name), "has no signature"),
        Some(signature) if signature.is_by_any(keys, &seal.signed) => {}
        Some(signature) => {
            let detail = format!("has a signature of none of the given keys; it names key `{}`", signature.key);
            report.finding(Check::Signatures, Some(version), Some(&name), detail);
        }
    }
}

async fn check_generation(store: &dyn ObjectStore, name: &str, digest: Digest, report: &mut Report) {
    let path = Path::from_iter(["generations", name]);
    let object = path.to_string();
    match read(store, &path).await {
        Ok(Some(bytes)) if Digest::of(&bytes) == digest => {}
        Ok(Some(_)) => report.finding(Check::Files, None, Some(&object), "is not what was sealed"),
        Ok(None) => report.finding(Check::Files, None, Some(&object), "is gone"),
        Err(error) => report.unchecked(Check::Files, None, Some(&object), error),
    }
}

/// The object's bytes; None if there is none.
pub(super) async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Option<bytes::Bytes>, String> {
    let found = match store.get(path).await {
        Ok(found) => found.bytes().await.map(Some),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    };
    found.map_err(|error| format!("cannot be read: {}", super::anchors::chained(&error)))
}
