//! Rewrites: what takes files out of the table must put all of their rows into others, or be allowed not to.
//!
//! Whether the rows are the same, their roots tell, once every file was read. Here it is asked whether a rewrite keeps
//! to its own terms: no row more or less, and nothing deleted before its time.

use super::chain::{Chain, SealedLive};
use super::report::{Check, Report};
use crate::checkpoint::TopicPartition;
use crate::seal::{Deletion, Recut, Redriven, Statement, newest_received};

impl Chain {
    /// Takes the files that `statement` removes out of those that hold rows, and puts in those that it adds.
    pub(super) fn take_files(&mut self, statement: &Statement, report: &mut Report) {
        let version = Some(statement.version);
        let mut removed = Vec::with_capacity(statement.removed.len());
        for path in &statement.removed {
            match self.files.remove(path) {
                Some(file) => removed.push(file),
                None => report.finding(Check::Log, version, Some(path), "is removed, and was not there"),
            }
        }
        if statement.kind.is_rewrite() {
            self.check_rewrite(statement, &removed, report);
        }
        for file in &statement.files {
            let mut file = file.clone();
            if file.origins.is_empty() {
                file.origins.push(statement.version);
            }
            self.files.insert(file.path.clone(), SealedLive { version: statement.version, file });
        }
        let Some(change) = &statement.change else { return };
        for derived in &change.derived {
            if !self.has_range(derived.version, &derived.partition()) {
                let detail = format!("derives rows of version {} anew, which brought none there", derived.version);
                report.finding(Check::Rows, version, None, detail);
            }
            self.derived.insert((derived.version, derived.partition()), derived.derived_root);
            self.replayed.insert((derived.version, derived.partition()));
        }
        if let Some(redriven) = &change.redriven {
            self.take_redriven(statement.version, redriven, report);
        }
        if let Some(deletion) = &change.deletion {
            self.check_deletion(statement, deletion, &removed, report);
            self.deletions.push((statement.version, deletion.clone()));
        }
    }

    fn check_rewrite(&self, statement: &Statement, removed: &[SealedLive], report: &mut Report) {
        let version = Some(statement.version);
        let deletion = statement.change.as_ref().and_then(|change| change.deletion.as_ref());
        let num_deleted = deletion.map_or(0, |deletion| deletion.leaves.rows);
        let redriven = statement.change.as_ref().and_then(|change| change.redriven.as_ref());
        // A rejected row goes, and one or more come.
        let num_more: i128 = redriven.map_or(0, |redriven| self.num_more_rows(redriven));
        let before: u64 = removed.iter().map(|live| live.file.rows).sum();
        let after: u64 = statement.files.iter().map(|file| file.rows).sum();
        if i128::from(before) + num_more != i128::from(after) + i128::from(num_deleted) {
            let detail = format!(
                "a rewrite of {before} rows leaves {after}, {num_deleted} were deleted, and redriving makes {num_more} more"
            );
            report.finding(Check::Rows, version, None, detail);
        }
        for file in &statement.files {
            let is_known = |origin: &u64| removed.iter().any(|live| live.file.origins.contains(origin));
            if !file.origins.iter().all(is_known) {
                let detail = "has rows of commits of which no removed file had any";
                report.finding(Check::Rows, version, Some(&file.path), detail);
            }
        }
    }

    fn has_range(&self, version: u64, partition: &TopicPartition) -> bool {
        let commit = self.commits.get(&version);
        commit.is_some_and(|commit| commit.ranges.iter().any(|range| range.partition() == *partition))
    }

    fn num_more_rows(&self, redriven: &Redriven) -> i128 {
        let num_more = |range: &Recut| i128::from(range.rows) - i128::from(self.num_rows_of(range).unwrap_or(0));
        redriven.ranges.iter().map(num_more).sum()
    }

    /// How many rows a range has, before it is cut anew; None if no commit brought it.
    fn num_rows_of(&self, range: &Recut) -> Option<u64> {
        let partition = range.partition();
        let sealed = self.commits.get(&range.version)?.ranges.iter().find(|sealed| sealed.partition() == partition)?;
        Some(self.recut.get(&(range.version, partition)).map_or(sealed.rows, |recut| recut.rows))
    }

    /// Whether the rows that went were rejected ones, and stood there, is asked once every file was read.
    fn take_redriven(&mut self, version: u64, redriven: &Redriven, report: &mut Report) {
        let known = self.redriven.insert(redriven.by.clone(), redriven.number);
        if known.is_some_and(|known| known >= redriven.number) {
            let detail =
                format!("batch {} of dead letters of `{}` comes a second time", redriven.number, redriven.by.group);
            report.finding(Check::Completeness, Some(version), None, detail);
        }
        for range in &redriven.ranges {
            if self.num_rows_of(range).is_none() {
                let detail = format!("redrives rows of version {}, which brought none there", range.version);
                report.finding(Check::Rows, Some(version), None, detail);
            }
            self.derived.insert((range.version, range.partition()), range.derived_root);
            self.recut.insert((range.version, range.partition()), range.clone());
        }
        self.rejected.push((version, redriven.rejected.clone()));
    }

    /// Whether everything that went was received, and sealed, before the time that the deletion names.
    fn check_deletion(&self, statement: &Statement, deletion: &Deletion, removed: &[SealedLive], report: &mut Report) {
        let version = Some(statement.version);
        let sealed_at = self.sealed_at.get(&statement.version);
        let before = deletion.before.parse::<jiff::Timestamp>().ok();
        let Some(before) = before.filter(|before| sealed_at.is_some_and(|sealed_at| before <= sealed_at)) else {
            let detail =
                format!("deletes what is older than `{}`, which is no time before it was done", deletion.before);
            return report.finding(Check::Completeness, version, None, detail);
        };
        for SealedLive { file, .. } in removed {
            let statistics = self.live_before.get(&file.path).and_then(|live| live.statistics.as_deref());
            let is_old = statistics.and_then(newest_received).is_some_and(|newest| newest < before);
            let is_long_sealed =
                file.origins.iter().all(|origin| self.sealed_at.get(origin).is_some_and(|at| *at < before));
            if !is_old || !is_long_sealed {
                let detail = format!("was deleted before its time: it has rows received or sealed after {before}");
                report.finding(Check::Completeness, version, Some(&file.path), detail);
            }
        }
        let holds = if deletion.holds.is_empty() { "nothing".to_string() } else { deletion.holds.join(", ") };
        let detail = format!(
            "{} rows were deleted lawfully, received and sealed before {before}; to be held was {holds}",
            deletion.leaves.rows
        );
        report.note(Check::Completeness, version, detail);
    }
}
