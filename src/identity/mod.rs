//! The identity registry: who owns an actor, what for, and in which state it was, as of a time.
//!
//! A registry is read whole or not at all: [`Registry::load`] reports every mistake of every file. Once loaded it never
//! changes, asks nobody and reads no clock, so the same activity is always attributed the same way. It never guesses:
//! ids are compared exactly, and two entries that claim the same actor are `ambiguous`.

mod attribution;
mod claims;
mod entry;
mod files;
mod json;
mod reader;
mod report;
mod table;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use self::claims::Claims;
pub use self::entry::{Alias, Credential, Entry, Lifecycle};
use self::files::Format;
use self::reader::Contents;
pub use self::reader::parse_time;
use self::report::{Report, quote};
use crate::diagnostic::Diagnostics;
use crate::organisation::{Organisation, OwnedKind};
use crate::yaml;

/// Most entries. They are held in memory, about a kilobyte each.
const NUM_ENTRIES_MAX: usize = 1_000_000;

/// Every known identity, and what belongs to the organisation.
#[derive(Debug, Default)]
pub struct Registry {
    /// Ordered by id and time, so that nothing depends on the order of files.
    entries: Vec<Entry>,
    claims: Claims,
    organisation: Organisation,
}

impl Registry {
    /// A registry that knows nobody.
    pub fn empty() -> Registry {
        Registry::default()
    }

    /// A registry that knows nobody, but what is the organisation's own.
    pub fn of_organisation(organisation: Organisation) -> Registry {
        Registry { organisation, ..Registry::default() }
    }

    /// Reads files and directories.
    ///
    /// # Errors
    /// Everything that is wrong with them, in the order of files and lines.
    pub fn load(paths: &[PathBuf]) -> Result<Registry, Diagnostics> {
        let mut report = Report::default();
        let mut contents = Contents::default();
        for (path, format) in files::find(paths, &mut report) {
            // Too many is reported below; reading on would only fill memory.
            if contents.entries.len() > NUM_ENTRIES_MAX {
                break;
            }
            if let Some(source) = files::read(&path, format, &mut report) {
                read_source(&source.name, source.format, &source.text, &mut contents, &mut report);
            }
        }
        Registry::assemble(contents, report)
    }

    fn assemble(contents: Contents, mut report: Report) -> Result<Registry, Diagnostics> {
        let Contents { mut entries, organisation } = contents;
        entries.sort_by(|a, b| {
            (&a.id, a.valid_from, a.valid_until, &a.origin).cmp(&(&b.id, b.valid_from, b.valid_until, &b.origin))
        });
        report_overlaps(&entries, &mut report);
        if let Some(first_too_many) = entries.get(NUM_ENTRIES_MAX) {
            let found = format!("{} entries", entries.len());
            report.error("too-many", &first_too_many.origin, found, format!("at most {NUM_ENTRIES_MAX}"));
        }
        if report.has_errors() {
            return Err(report.finish());
        }
        let claims = Claims::of(&entries);
        Ok(Registry { entries, claims, organisation })
    }

    pub fn organisation(&self) -> &Organisation {
        &self.organisation
    }

    /// All entries, ordered by id and time.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What was registered under `id`, over time.
    pub fn history(&self, id: &str) -> &[Entry] {
        let start = self.entries.partition_point(|entry| *entry.id < *id);
        let len = self.entries[start..].partition_point(|entry| entry.id == id);
        &self.entries[start..start + len]
    }

    /// What was registered under `id` at a time, in microseconds since 1970.
    pub fn find(&self, id: &str, at: i64) -> Option<&Entry> {
        self.history(id).iter().find(|entry| entry.is_valid_at(at))
    }

    /// Names and credentials that several identities claim at the same time. What they do will have no owner.
    pub fn ambiguities(&self) -> Diagnostics {
        let mut report = Report::default();
        self.claims.report_ambiguities(&self.entries, &mut report);
        report.finish()
    }

    /// A hash over everything that the registry says, as lower-case hex. Order, formats and names of files do not
    /// enter it.
    pub fn content_hash(&self) -> String {
        let mut hash = Sha256::new();
        for entry in &self.entries {
            let text = serde_json::to_vec(entry).expect("an entry has text keys only");
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(&text);
        }
        for kind in OwnedKind::ALL {
            let mut ids: Vec<_> = self.organisation.ids(kind).collect();
            ids.sort_unstable();
            let text = serde_json::to_vec(&(kind.as_str(), ids)).expect("ids are texts");
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(&text);
        }
        let mut hex = String::with_capacity(64);
        for byte in hash.finalize() {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }
}

fn read_source(file: &Arc<str>, format: Format, text: &str, contents: &mut Contents, report: &mut Report) {
    let documents = match format {
        Format::Yaml => yaml::read(file, text, report.diagnostics()).into_iter().collect(),
        Format::Json => json::read_document(file, text, report),
        Format::JsonLines => json::read_lines(file, text, report),
        Format::Csv => table::read(file, text, reader::is_list, report),
    };
    reader::read(&documents, contents, report);
}

/// Entries of one id must follow each other; `entries` are ordered by id and time.
fn report_overlaps(entries: &[Entry], report: &mut Report) {
    for pair in entries.windows(2) {
        let [earlier, later] = pair else { continue };
        let follows = || matches!((earlier.valid_until, later.valid_from), (Some(end), Some(start)) if end <= start);
        if earlier.id == later.id && !follows() {
            let found = format!("{} valid at the same time as at {}", quote(&later.id), earlier.origin);
            let wanted = "`valid_until` of the earlier at or before `valid_from` of the later, or another id";
            report.error("overlap", &later.origin, found, wanted);
        }
    }
}

#[cfg(test)]
mod tests;
