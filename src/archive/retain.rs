//! `archive retain`: rows whose time is over go, and their leaves stay, so that everybody can tell it from a loss.
//!
//! A file goes when its newest `received_time` and the seals of its rows are all older than the limit: the first may come
//! from a sender's clock, the second never does. Rows under a hold are written anew and stay. What goes is out of every
//! reader's sight at once, and out of the store with the next `archive vacuum`.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use tracing::info;

use super::hold::{Hold, held};
use crate::seal::{Change, Deletion, Leaves, LeavesByOrigin, leaf, newest_received, split_by_origin};
use crate::sink::lake::{DataFile, History, Lake, LakeError, LiveFile, Rewrite, Rewritten, reread};

/// Rows of one deletion: their leaves are held in memory, a hundred bytes each.
const NUM_ROWS_MAX: u64 = 5_000_000;

#[derive(Clone, Debug)]
pub struct Options {
    pub older_than: Duration,
    pub now: jiff::Timestamp,
    pub holds: Vec<Hold>,
    /// Says what would go, and changes nothing.
    pub dry_run: bool,
}

/// What went of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    pub received_date: Option<String>,
    pub num_files: usize,
    pub num_rows_deleted: u64,
    pub num_rows_held: u64,
    /// The version of the table; None if nothing was changed.
    pub version: Option<u64>,
}

/// Deletes what is older than it has to be kept.
///
/// # Errors
/// If the lake is not as it was sealed, or the store does not do its part. What was done until then holds.
pub async fn retain(lake: &Lake, options: &Options) -> Result<Vec<Retained>, LakeError> {
    let age = jiff::SignedDuration::try_from(options.older_than).map_err(|error| out_of_range(&error))?;
    let before = options.now.checked_sub(age).map_err(|error| out_of_range(&error))?;
    lake.seal_what_others_left().await?;
    let history = lake.history().await?;
    let mut done = Vec::new();
    for files in plan(&history, before) {
        done.extend(delete(lake, &history, files, before, options).await?);
    }
    Ok(done)
}

/// The files whose time is over, by day.
fn plan(history: &History, before: jiff::Timestamp) -> Vec<Vec<&LiveFile>> {
    let is_over = |live: &&LiveFile| {
        let newest = live.statistics.as_deref().and_then(newest_received);
        let is_long_sealed = |origin| history.sealed_at.get(origin).is_some_and(|sealed_at| *sealed_at < before);
        newest.is_some_and(|newest| newest < before) && live.file.origins.iter().all(is_long_sealed)
    };
    let mut by_day: BTreeMap<Option<&str>, Vec<&LiveFile>> = BTreeMap::new();
    for live in history.live.values().filter(is_over) {
        by_day.entry(live.received_date.as_deref()).or_default().push(live);
    }
    let mut plan = Vec::new();
    for files in by_day.into_values() {
        let (mut part, mut num_rows) = (Vec::new(), 0);
        for live in files {
            if num_rows + live.file.rows > NUM_ROWS_MAX && !part.is_empty() {
                plan.push(std::mem::take(&mut part));
                num_rows = 0;
            }
            part.push(live);
            num_rows += live.file.rows;
        }
        plan.push(part);
    }
    plan
}

async fn delete(
    lake: &Lake,
    history: &History,
    files: Vec<&LiveFile>,
    before: jiff::Timestamp,
    options: &Options,
) -> Result<Option<Retained>, LakeError> {
    let (mut removed, mut added, mut deleted) = (Vec::new(), Vec::new(), LeavesByOrigin::new());
    let mut retained = Retained {
        received_date: files.first().and_then(|live| live.received_date.clone()),
        num_files: 0,
        num_rows_deleted: 0,
        num_rows_held: 0,
        version: None,
    };
    for live in files {
        let mut found = Split::of(lake, history, live, &options.holds).await?;
        retained.num_rows_held += found.num_held;
        if found.num_held == live.file.rows {
            continue;
        }
        retained.num_files += 1;
        retained.num_rows_deleted += live.file.rows - found.num_held;
        for (version, leaves) in std::mem::take(&mut found.deleted) {
            let known = deleted.entry(version).or_default();
            leaves.into_iter().for_each(|(partition, rows)| known.entry(partition).or_default().extend(rows));
        }
        if found.num_held > 0 && !options.dry_run {
            added.extend(found.write(lake).await?);
        }
        removed.push(live.clone());
    }
    if options.dry_run || removed.is_empty() {
        return Ok((retained.num_rows_deleted + retained.num_rows_held > 0).then_some(retained));
    }
    let leaves = lake.keep_leaves(&deleted).await?;
    let holds = options.holds.iter().map(ToString::to_string).collect();
    let deletion = Deletion { before: before.to_string(), holds, leaves };
    let change = Change { deletion: Some(deletion), ..Change::default() };
    match lake.rewrite(history, Rewrite { operation: "DELETE", removed, added, change }).await? {
        Rewritten::Committed { version } => retained.version = Some(version),
        Rewritten::Overtaken { path } => info!(path, "left out a deletion, because another rewrite was faster"),
    }
    Ok(Some(retained))
}

/// The rows of one file, split into those that go and those that stay.
struct Split {
    deleted: LeavesByOrigin,
    kept: LeavesByOrigin,
    rows: Vec<RecordBatch>,
    num_held: u64,
}

impl Split {
    async fn of(lake: &Lake, history: &History, live: &LiveFile, holds: &[Hold]) -> Result<Split, LakeError> {
        let (batches, all) = reread::rows(lake.store().as_ref(), live).await?;
        let unreadable = |error: &dyn std::fmt::Display| {
            LakeError::Refused(format!("the rows of `{}` cannot be told apart: {error}", live.file.path))
        };
        let (mut rows, mut held_leaves) = (Vec::new(), Leaves::new());
        for batch in batches.iter().filter(|_| !holds.is_empty()) {
            let held = filter_record_batch(batch, &held(holds, batch)).map_err(|error| unreadable(&error))?;
            leaf::add(&held, &mut held_leaves).map_err(|error| unreadable(&error))?;
            rows.push(held);
        }
        let num_held = held_leaves.values().map(|rows| rows.len() as u64).sum();
        let origins = &live.file.origins;
        let ranges_of = |version| history.ranges_of(version);
        let deleted = without(all, &held_leaves).ok_or_else(|| unreadable(&"held rows are not among them"))?;
        let (deleted, num_strangers) = split_by_origin(deleted, origins, ranges_of);
        let (kept, num_more) = split_by_origin(held_leaves, origins, ranges_of);
        if num_strangers + num_more > 0 {
            return Err(unreadable(&"some are of none of its commits, run `archive verify`"));
        }
        Ok(Split { deleted, kept, rows, num_held })
    }

    /// Writes the rows that stay.
    async fn write(self, lake: &Lake) -> Result<Vec<(DataFile, Vec<u64>)>, LakeError> {
        let origins: Vec<u64> = self.kept.into_keys().collect();
        let files = lake.write_files(&self.rows).await?;
        Ok(files.into_iter().map(|file| (file, origins.clone())).collect())
    }
}

/// `all` without `some`, row by row; None if some are not among them.
fn without(mut all: Leaves, some: &Leaves) -> Option<Leaves> {
    for (partition, rows) in some {
        let mut out: Vec<_> = rows.clone();
        out.sort_unstable();
        let mut out = out.into_iter().peekable();
        let known = all.get_mut(partition)?;
        known.sort_unstable();
        known.retain(|row| out.next_if_eq(row).is_none());
        if out.peek().is_some() {
            return None;
        }
    }
    all.retain(|_, rows| !rows.is_empty());
    Some(all)
}

fn out_of_range(error: &dyn std::fmt::Display) -> LakeError {
    LakeError::Refused(format!("the age is no time that ever was: {error}"))
}
