//! What a verification says: a line for everything that is wrong, unchecked or worth knowing, and one for each check.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::seal::Digest;

/// Lines of one check. Where so many things are wrong, the rest only says the same.
const NUM_LINES_MAX: usize = 1_000;

/// What a line means for the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The check read everything and found nothing.
    Ok,
    /// No fault, but something that an auditor should know.
    Note,
    /// Something could not be read, or was not there to check with.
    Unchecked,
    /// Tampering, or a gap.
    Finding,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Unchecked => "unchecked",
            Level::Finding => "finding",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// One seal for each version, each naming the one before.
    Seals,
    Signatures,
    /// The anchors in a second place.
    Anchor,
    /// The end of the chain: heartbeats, and commits without a seal.
    End,
    /// The table's log against the seals.
    Log,
    /// Checkpoints and other shortcuts that readers take past the log.
    Shortcuts,
    /// The bytes of data files and generations.
    Files,
    /// The roots of rows.
    Rows,
    /// Every offset and every index, once.
    Completeness,
}

impl Check {
    pub const ALL: [Check; 9] = [
        Check::Seals,
        Check::Signatures,
        Check::Anchor,
        Check::End,
        Check::Log,
        Check::Shortcuts,
        Check::Files,
        Check::Rows,
        Check::Completeness,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Check::Seals => "seals",
            Check::Signatures => "signatures",
            Check::Anchor => "anchor",
            Check::End => "end",
            Check::Log => "log",
            Check::Shortcuts => "shortcuts",
            Check::Files => "files",
            Check::Rows => "rows",
            Check::Completeness => "completeness",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub level: Level,
    pub check: Check,
    pub version: Option<u64>,
    pub object: Option<String>,
    pub detail: String,
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub num_seals: u64,
    pub num_files: u64,
    pub num_bytes: u64,
    pub num_rows: u64,
    pub num_records: u64,
}

#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<Line>,
    left_out: BTreeMap<Check, (usize, Option<Level>)>,
    pub counts: Counts,
    /// The newest seal, which an auditor may write down as an anchor of their own.
    pub newest: Option<(u64, Digest)>,
}

/// What a verification comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was read, and is valid.
    Valid,
    /// Something could not be checked; what could be is valid.
    Incomplete,
    Findings,
}

impl Report {
    pub(super) fn finding(&mut self, check: Check, version: Option<u64>, object: Option<&str>, detail: impl Display) {
        self.add(Level::Finding, check, version, object, detail);
    }

    pub(super) fn unchecked(&mut self, check: Check, version: Option<u64>, object: Option<&str>, detail: impl Display) {
        self.add(Level::Unchecked, check, version, object, detail);
    }

    pub(super) fn note(&mut self, check: Check, version: Option<u64>, detail: impl Display) {
        self.add(Level::Note, check, version, None, detail);
    }

    fn add(&mut self, level: Level, check: Check, version: Option<u64>, object: Option<&str>, detail: impl Display) {
        if self.lines.iter().filter(|line| line.check == check).count() >= NUM_LINES_MAX {
            let (count, worst) = self.left_out.entry(check).or_default();
            *count += 1;
            *worst = (*worst).max(Some(level));
            return;
        }
        self.lines.push(Line { level, check, version, object: object.map(str::to_string), detail: detail.to_string() });
    }

    /// The lines, and after them one for every check that found nothing.
    pub(super) fn close(&mut self) {
        for (check, (count, worst)) in std::mem::take(&mut self.left_out) {
            let level = worst.unwrap_or(Level::Note);
            let detail = format!("and {count} more like these");
            self.lines.push(Line { level, check, version: None, object: None, detail });
        }
        let Counts { num_seals, num_files, num_bytes, num_rows, num_records } = self.counts;
        for check in Check::ALL {
            if self.lines.iter().any(|line| line.check == check && line.level > Level::Note) {
                continue;
            }
            let detail = match check {
                Check::Seals => match &self.newest {
                    Some((version, digest)) => format!("{num_seals} in one chain; the newest is {version}:{digest}"),
                    None => continue,
                },
                Check::Files => format!("{num_files} data files, {num_bytes} bytes, all as sealed"),
                Check::Rows => format!("{num_rows} rows, all as sealed"),
                Check::Completeness => format!("{num_records} records, each with every index once"),
                // Said by a note, which tells what it was checked against.
                Check::Signatures | Check::Anchor | Check::End => continue,
                Check::Log => "every commit is as sealed".to_string(),
                Check::Shortcuts => "readers see what the log says".to_string(),
            };
            self.lines.push(Line { level: Level::Ok, check, version: None, object: None, detail });
        }
        self.lines.sort_by_key(|line| (std::cmp::Reverse(line.level), line.check, line.version));
    }

    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub fn verdict(&self) -> Verdict {
        match self.lines.iter().map(|line| line.level).max() {
            Some(Level::Finding) => Verdict::Findings,
            Some(Level::Unchecked) => Verdict::Incomplete,
            _ => Verdict::Valid,
        }
    }
}
