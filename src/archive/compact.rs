//! `archive compact`: many small files of a day become few large ones, in the order of look-ups.
//!
//! The rows stay what they are: before anything is committed, the leaves of what was read must be the leaves of what was
//! written. Each new file is a commit of its own, so whatever ends a compaction leaves the table whole. The files that
//! were replaced stay until `archive vacuum`.

use std::collections::BTreeMap;

use tracing::info;

use crate::seal::{Change, Leaves, Origins, leaf};
use crate::sink::lake::{History, Lake, LakeError, LiveFile, Rewrite, Rewritten, reread};

/// A file of at least this part of the target is large enough: rewriting it again would cost more than it helps.
const LARGE_ENOUGH: u64 = 2;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Files are put together up to this size. One file's rows are in memory at a time, about ten times as large.
    pub target_file_bytes: u64,
}

/// One file in the place of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compacted {
    pub received_date: Option<String>,
    pub num_files_before: usize,
    pub num_files_after: usize,
    pub num_rows: u64,
    pub num_bytes_before: u64,
    pub num_bytes_after: u64,
    /// The version of the table; None if another rewrite was faster, and nothing was changed.
    pub version: Option<u64>,
}

/// Compacts `lake`.
///
/// # Errors
/// If the lake is not as it was sealed, or the store does not do its part. What was done until then holds.
pub async fn compact(lake: &Lake, options: &Options) -> Result<Vec<Compacted>, LakeError> {
    lake.seal_what_others_left().await?;
    let history = lake.history().await?;
    let mut done = Vec::new();
    for files in plan(&history, options) {
        done.push(rewrite(lake, &history, files).await?);
    }
    Ok(done)
}

/// Which files become one: those of one day and one group, in the order in which their rows came.
fn plan(history: &History, options: &Options) -> Vec<Vec<LiveFile>> {
    let is_small = |live: &&LiveFile| live.file.bytes < options.target_file_bytes / LARGE_ENOUGH;
    let mut by_place: BTreeMap<(Option<&str>, &str), Vec<&LiveFile>> = BTreeMap::new();
    for live in history.live.values().filter(is_small) {
        if let Some(group) = history.group_of(&live.file) {
            by_place.entry((live.received_date.as_deref(), group)).or_default().push(live);
        }
    }
    let mut plan = Vec::new();
    for mut files in by_place.into_values() {
        files.sort_by_key(|live| (live.file.origins.first().copied(), live.file.path.clone()));
        let mut open = Open::default();
        for live in files {
            if !open.take(live, history, options) {
                plan.push(std::mem::take(&mut open).files);
                open.take(live, history, options);
            }
        }
        plan.push(open.files);
    }
    plan.retain(|files| files.len() > 1);
    plan
}

/// Files that are to become one.
#[derive(Default)]
struct Open {
    files: Vec<LiveFile>,
    num_bytes: u64,
    versions: Vec<u64>,
    origins: Origins,
}

impl Open {
    /// False if `live` has no room, or its rows could not be told from those of the others any more.
    fn take(&mut self, live: &LiveFile, history: &History, options: &Options) -> bool {
        if !self.files.is_empty() && self.num_bytes + live.file.bytes > options.target_file_bytes {
            return false;
        }
        let mut origins = self.origins.clone();
        let new: Vec<u64> =
            live.file.origins.iter().copied().filter(|origin| !self.versions.contains(origin)).collect();
        if !new.iter().all(|origin| history.ranges_of(*origin).is_some_and(|ranges| origins.add(*origin, ranges))) {
            return false;
        }
        self.origins = origins;
        self.versions.extend(new);
        self.num_bytes += live.file.bytes;
        self.files.push(live.clone());
        true
    }
}

async fn rewrite(lake: &Lake, history: &History, files: Vec<LiveFile>) -> Result<Compacted, LakeError> {
    let (mut rows, mut before) = (Vec::new(), Leaves::new());
    for live in &files {
        let (batches, leaves) = reread::rows(lake.store().as_ref(), live).await?;
        rows.extend(batches);
        leaf::merge(&mut before, &leaves);
    }
    let written = lake.write_files(&rows).await?;
    let mut after = Leaves::new();
    written.iter().for_each(|file| leaf::merge(&mut after, file.leaves()));
    if !are_same(before, after) {
        return Err(LakeError::Refused(
            "the rows that were written are not those that were read: nothing was changed, report this".to_string(),
        ));
    }
    let mut origins: Vec<u64> = files.iter().flat_map(|live| live.file.origins.clone()).collect();
    origins.sort_unstable();
    origins.dedup();
    let mut compacted = Compacted {
        received_date: files.first().and_then(|live| live.received_date.clone()),
        num_files_before: files.len(),
        num_files_after: written.len(),
        num_rows: files.iter().map(|live| live.file.rows).sum(),
        num_bytes_before: files.iter().map(|live| live.file.bytes).sum(),
        num_bytes_after: written.iter().map(|file| file.num_bytes).sum(),
        version: None,
    };
    let added = written.into_iter().map(|file| (file, origins.clone())).collect();
    let rewrite = Rewrite { operation: "OPTIMIZE", removed: files, added, change: Change::default() };
    match lake.rewrite(history, rewrite).await? {
        Rewritten::Committed { version } => compacted.version = Some(version),
        Rewritten::Overtaken { path } => info!(path, "left out a compaction, because another rewrite was faster"),
    }
    Ok(compacted)
}

/// Whether both hold the same rows, each as often.
fn are_same(mut one: Leaves, mut other: Leaves) -> bool {
    one.values_mut().chain(other.values_mut()).for_each(|rows| rows.sort_unstable());
    one == other
}
