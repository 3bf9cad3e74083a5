//! Every data file read again: its bytes, and the roots of the rows of each commit.
//!
//! A root is sealed once, with the commit that brought the rows. After rewrites these lie in any number of files, and
//! some may have gone lawfully, of which the leaves are kept. They are collected under the commit that brought them, and
//! compared once the last of them was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, stream};
use object_store::ObjectStore;

use super::chain::{Chain, SealedCommit};
use super::inventory::Inventory;
use super::report::{Check, Report};
use super::{NUM_FILES_AT_ONCE, Progress, completeness, redriven};
use crate::seal::{self, Leaves, LeavesByOrigin, Range, SealedFile, root_of};
use crate::sink::lake::reread::{self, Reread};
use crate::sink::lake::{LakeError, leaves, rejected};

pub(super) async fn check(
    store: &Arc<dyn ObjectStore>,
    chain: &Chain,
    inventory: &Inventory,
    report: &mut Report,
    progress: &dyn Progress,
) {
    let mut holders: Vec<Holder<'_>> = chain.files.values().map(Holder::Rows).collect();
    holders.extend(chain.rejected.iter().map(|(version, file)| Holder::Rejected(*version, file)));
    holders.extend(chain.deletions.iter().map(|(version, deletion)| Holder::Leaves(*version, &deletion.leaves)));
    // In the order of the chain, so that a commit's rows come together.
    holders.sort_by(|a, b| {
        let order = |holder: &Holder<'_>| holder.file().origins.first().copied();
        order(a).cmp(&order(b)).then_with(|| a.file().path.cmp(&b.file().path))
    });
    let mut collected = Collected::new(chain, &holders, report);
    let num_files = holders.len() as u64;
    let mut reads = stream::iter(&holders).map(|holder| holder.read(store.as_ref(), chain)).buffered(NUM_FILES_AT_ONCE);
    for (holder, num_read) in holders.iter().zip(1..) {
        let read = reads.next().await;
        progress.files(num_read, num_files);
        let (version, object) = (Some(holder.version()), Some(holder.file().path.as_str()));
        let rows = match read {
            Some(Read::Whole { rows, num_bytes, num_strangers }) => {
                report.counts.num_files += u64::from(matches!(holder, Holder::Rows(_)));
                report.counts.num_bytes += num_bytes;
                if num_strangers > 0 {
                    let detail = format!("{num_strangers} rows are of none of the commits that it says they are of");
                    report.finding(Check::Rows, version, object, detail);
                }
                Some(rows)
            }
            Some(Read::Differs(how)) => {
                report.finding(Check::Files, version, object, how);
                None
            }
            Some(Read::Failed(error)) => {
                report.unchecked(Check::Files, version, object, error);
                None
            }
            None => {
                report.unchecked(Check::Files, version, object, "was not read");
                None
            }
        };
        collected.take(holder, rows, report);
    }
    note_unnamed(chain, inventory, report);
}

fn note_unnamed(chain: &Chain, inventory: &Inventory, report: &mut Report) {
    let num_unnamed = inventory.data_files.iter().filter(|path| !chain.live.contains_key(*path)).count();
    if num_unnamed > 0 {
        let detail = format!(
            "{num_unnamed} files beside the table's own, which no reader sees: of commits that did not go through, or \
             that are under way, or that a rewrite has replaced"
        );
        report.note(Check::Files, None, detail);
    }
}

/// What holds rows of commits, or what is left of them.
enum Holder<'a> {
    Rows(&'a super::chain::SealedLive),
    /// With the version of the deletion.
    Leaves(u64, &'a SealedFile),
    /// Rejected rows that others took the place of, with the version that did it.
    Rejected(u64, &'a SealedFile),
}

enum Read {
    Whole { rows: LeavesByOrigin, num_bytes: u64, num_strangers: usize },
    Differs(String),
    Failed(String),
}

impl Holder<'_> {
    fn file(&self) -> &SealedFile {
        match self {
            Holder::Rows(live) => &live.file,
            Holder::Leaves(_, file) | Holder::Rejected(_, file) => file,
        }
    }

    fn version(&self) -> u64 {
        match self {
            Holder::Rows(live) => live.version,
            Holder::Leaves(version, _) | Holder::Rejected(version, _) => *version,
        }
    }

    async fn read(&self, store: &dyn ObjectStore, chain: &Chain) -> Read {
        let failed = |error: &LakeError| Read::Failed(super::anchors::chained(error));
        let of_file = |read: Result<Result<LeavesByOrigin, String>, LakeError>, file: &SealedFile| match read {
            Ok(Ok(rows)) => {
                let is_stranger = |version: &&u64| !file.origins.contains(version);
                let num_strangers = rows.keys().filter(is_stranger).count();
                Read::Whole { rows, num_bytes: file.bytes, num_strangers }
            }
            Ok(Err(how)) => Read::Differs(how),
            Err(error) => failed(&error),
        };
        match self {
            Holder::Leaves(_, file) => of_file(leaves::read(store, file).await, file),
            Holder::Rejected(_, file) => of_file(rejected::read(store, file).await, file),
            Holder::Rows(live) => match reread::file(store, &live.file).await {
                Ok(Reread::Whole { leaves, num_bytes }) => {
                    let ranges_of = |version| chain.commits.get(&version).map(|commit| commit.ranges.as_slice());
                    let (rows, num_strangers) = seal::split_by_origin(leaves, &live.file.origins, ranges_of);
                    Read::Whole { rows, num_bytes, num_strangers }
                }
                Ok(Reread::Differs(how)) => Read::Differs(how),
                Err(error) => failed(&error),
            },
        }
    }
}

/// The rows that were read of commits of which others are still to come.
struct Collected<'a> {
    chain: &'a Chain,
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    num_files: usize,
    /// None once something of it could not be read.
    rows: Option<Found>,
}

/// What was found of one commit.
#[derive(Default)]
struct Found {
    rows: Leaves,
    /// Rows that stood in the place of some of these.
    rejected: Leaves,
}

impl<'a> Collected<'a> {
    fn new(chain: &'a Chain, holders: &[Holder<'_>], report: &mut Report) -> Collected<'a> {
        let mut waiting: BTreeMap<u64, Waiting> = BTreeMap::new();
        for version in holders.iter().flat_map(|holder| &holder.file().origins) {
            waiting.entry(*version).or_insert(Waiting { num_files: 0, rows: Some(Found::default()) }).num_files += 1;
        }
        for commit in chain.commits.values().filter(|commit| !waiting.contains_key(&commit.version)) {
            check_rows(commit, Found::default(), chain, report);
        }
        Collected { chain, waiting }
    }

    /// Adds what `holder` held, and compares the commits of which it was the last; None if it could not be read.
    fn take(&mut self, holder: &Holder<'_>, rows: Option<LeavesByOrigin>, report: &mut Report) {
        let (file, is_rejected) = (holder.file(), matches!(holder, Holder::Rejected(..)));
        let is_whole = rows.is_some();
        for (version, more) in rows.into_iter().flatten() {
            let Some(found) = self.waiting.get_mut(&version).and_then(|waiting| waiting.rows.as_mut()) else {
                continue;
            };
            let rows = if is_rejected { &mut found.rejected } else { &mut found.rows };
            more.into_iter().for_each(|(id, more)| rows.entry(id).or_default().extend(more));
        }
        for version in &file.origins {
            let Some(waiting) = self.waiting.get_mut(version) else { continue };
            waiting.num_files -= 1;
            if !is_whole {
                waiting.rows = None;
            }
            if waiting.num_files > 0 {
                continue;
            }
            let rows = self.waiting.remove(version).and_then(|waiting| waiting.rows);
            match (rows, self.chain.commits.get(version)) {
                (Some(rows), Some(commit)) => check_rows(commit, rows, self.chain, report),
                (Some(rows), None) => {
                    let num_rows: usize = rows.rows.values().map(Vec::len).sum();
                    let detail = format!("{num_rows} rows are said to be of this version, which brought none");
                    report.finding(Check::Rows, Some(*version), None, detail);
                }
                (None, _) => report.unchecked(
                    Check::Rows,
                    Some(*version),
                    None,
                    "the rows of this commit cannot be compared without all of its files",
                ),
            }
        }
    }
}

/// Compares the rows of one commit with its seal.
fn check_rows(commit: &SealedCommit, found: Found, chain: &Chain, report: &mut Report) {
    let version = Some(commit.version);
    let Found { mut rows, mut rejected } = found;
    for range in &commit.ranges {
        let mut rows = rows.remove(&range.partition()).unwrap_or_default();
        rows.sort_unstable();
        report.counts.num_rows += rows.len() as u64;
        let place = place_of(range);
        let key = (commit.version, range.partition());
        let derived_root = chain.derived.get(&key).unwrap_or(&range.derived_root);
        let recut = chain.recut.get(&key);
        let (num_rows, raw_root) = recut.map_or((range.rows, range.raw_root), |recut| (recut.rows, recut.raw_root));
        let rejected = rejected.remove(&key.1).unwrap_or_default();
        if rows.len() as u64 != num_rows {
            let detail = format!("`{place}` has {} rows, and {num_rows} were sealed", rows.len());
            report.finding(Check::Rows, version, None, detail);
        } else if root_of(rows.iter().map(|row| row.raw)) != raw_root {
            report.finding(Check::Rows, version, None, format!("what arrived of `{place}` is not what was sealed"));
        } else if root_of(rows.iter().map(|row| row.derived)) != *derived_root {
            report.finding(Check::Rows, version, None, format!("what was derived of `{place}` is not what was sealed"));
        } else if (recut.is_some() || !rejected.is_empty())
            && let Some(how) = redriven::differs(range, &rows, rejected, chain.replayed.contains(&key))
        {
            report.finding(Check::Rows, version, None, format!("what was redriven of `{place}` {how}"));
        }
        let (faults, num_records) = completeness::check(range, &rows);
        report.counts.num_records += num_records;
        for fault in faults {
            report.finding(Check::Completeness, version, None, format!("`{place}`: {fault}"));
        }
    }
    for (partition, rows) in rejected {
        let place = format!("{}/{}", partition.topic, partition.partition);
        let detail =
            format!("{} rejected rows are said to have stood in `{place}`, where none were sealed", rows.len());
        report.finding(Check::Rows, version, None, detail);
    }
    let has_positions = commit.ranges.iter().any(|range| range.advance.is_some());
    for (partition, rows) in rows {
        let place = format!("{}/{}", partition.topic, partition.partition);
        report.finding(Check::Rows, version, None, format!("{} rows of `{place}` were not sealed", rows.len()));
    }
    for range in commit.ranges.iter().filter(|range| has_positions && range.advance.is_none()) {
        let detail = format!("rows of `{}` stand in a commit that does not say how far it went there", place_of(range));
        report.finding(Check::Completeness, version, None, detail);
    }
}

fn place_of(range: &Range) -> String {
    format!("{}/{}", range.topic, range.partition)
}
