//! Every data file read again: its bytes, and the roots of the rows of each commit.

use std::sync::Arc;

use futures::{StreamExt, stream};
use object_store::ObjectStore;

use super::chain::{Chain, SealedCommit};
use super::inventory::Inventory;
use super::report::{Check, Report};
use super::{NUM_FILES_AT_ONCE, Progress, completeness};
use crate::seal::{Leaves, Range, root_of};
use crate::sink::lake::reread::{self, Reread};

pub(super) async fn check(
    store: &Arc<dyn ObjectStore>,
    chain: &Chain,
    inventory: &Inventory,
    report: &mut Report,
    progress: &dyn Progress,
) {
    let num_files: u64 = chain.commits.iter().map(|commit| commit.files.len() as u64).sum();
    let files = chain.commits.iter().flat_map(|commit| &commit.files);
    // In the order of the chain, so that a commit's rows come together.
    let mut reads = stream::iter(files)
        .map(|file| async move { reread::file(store.as_ref(), file).await })
        .buffered(NUM_FILES_AT_ONCE);
    let mut num_read = 0;
    for commit in &chain.commits {
        let mut rows = Some(Leaves::new());
        for file in &commit.files {
            let read = reads.next().await;
            num_read += 1;
            progress.files(num_read, num_files);
            let (version, object) = (Some(commit.version), Some(file.path.as_str()));
            match read {
                Some(Ok(Reread::Whole { leaves, num_bytes })) => {
                    report.counts.num_files += 1;
                    report.counts.num_bytes += num_bytes;
                    if let Some(rows) = &mut rows {
                        leaves.into_iter().for_each(|(id, more)| rows.entry(id).or_default().extend(more));
                    }
                    continue;
                }
                Some(Ok(Reread::Differs(how))) => report.finding(Check::Files, version, object, how),
                Some(Err(error)) => {
                    report.unchecked(Check::Files, version, object, super::anchors::chained(&error));
                }
                None => report.unchecked(Check::Files, version, object, "was not read"),
            }
            rows = None;
        }
        match rows {
            Some(rows) => check_rows(commit, rows, report),
            None => report.unchecked(
                Check::Rows,
                Some(commit.version),
                None,
                "the rows of this commit cannot be compared without all of its files",
            ),
        }
    }
    let num_unnamed = inventory.data_files.iter().filter(|path| !chain.live.contains_key(*path)).count();
    if num_unnamed > 0 {
        let detail = format!(
            "{num_unnamed} files beside the table's own, which no reader sees: of commits that did not go through, or \
             that are under way"
        );
        report.note(Check::Files, None, detail);
    }
}

/// Compares the rows of one commit with its seal.
fn check_rows(commit: &SealedCommit, mut rows: Leaves, report: &mut Report) {
    let version = Some(commit.version);
    for range in &commit.ranges {
        let mut rows = rows.remove(&range.partition()).unwrap_or_default();
        rows.sort_unstable();
        report.counts.num_rows += rows.len() as u64;
        let place = place_of(range);
        if rows.len() as u64 != range.rows {
            let detail = format!("`{place}` has {} rows, and {} were sealed", rows.len(), range.rows);
            report.finding(Check::Rows, version, None, detail);
        } else if root_of(rows.iter().map(|row| row.raw)) != range.raw_root {
            report.finding(Check::Rows, version, None, format!("what arrived of `{place}` is not what was sealed"));
        } else if root_of(rows.iter().map(|row| row.derived)) != range.derived_root {
            report.finding(Check::Rows, version, None, format!("what was derived of `{place}` is not what was sealed"));
        }
        let (faults, num_records) = completeness::check(range, &rows);
        report.counts.num_records += num_records;
        for fault in faults {
            report.finding(Check::Completeness, version, None, format!("`{place}`: {fault}"));
        }
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
