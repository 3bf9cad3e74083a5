//! What is wrong with a registry, gathered up to a limit, in words that are safe to print.

use std::sync::Arc;

use crate::activity::json::is_screen_control;
use crate::diagnostic::{Diagnostics, Place, Severity};

/// Most mistakes reported. A reader mends a hundred and runs the check again; a wrong file would give millions.
pub const NUM_REPORTED_MAX: usize = 100;

/// Longest quotation of a file's own words.
const QUOTE_CHARS_MAX: usize = 60;

/// Mistakes as they are found.
#[derive(Debug, Default)]
pub(super) struct Report {
    diagnostics: Diagnostics,
    num_dropped: usize,
}

impl Report {
    pub fn error(&mut self, code: &'static str, place: &Place, found: impl AsRef<str>, wanted: impl AsRef<str>) {
        self.add(Severity::Error, code, place, found.as_ref(), wanted.as_ref());
    }

    pub fn warning(&mut self, code: &'static str, place: &Place, found: impl AsRef<str>, wanted: impl AsRef<str>) {
        self.add(Severity::Warning, code, place, found.as_ref(), wanted.as_ref());
    }

    /// A name that is none of `known`.
    pub fn unknown(&mut self, code: &'static str, place: &Place, found: &str, known: &[&str]) {
        if self.is_full() {
            return;
        }
        let message = format!("found {}, wanted one of `{}`", quote(found), known.join("`, `"));
        self.diagnostics.error(code, place, message).did_you_mean(found, known.iter().copied());
    }

    /// Lets another reader report, which knows its own limits.
    pub fn diagnostics(&mut self) -> &mut Diagnostics {
        &mut self.diagnostics
    }

    pub fn has_errors(&self) -> bool {
        self.diagnostics.has_errors()
    }

    /// Everything, in the order of files and lines.
    pub fn finish(mut self) -> Diagnostics {
        self.diagnostics.sort();
        if let (Some(last), 1..) = (self.diagnostics.0.last(), self.num_dropped) {
            let place = last.place.clone();
            self.diagnostics.warning("too-many-mistakes", &place, format!("{} further mistakes", self.num_dropped));
        }
        self.diagnostics
    }

    fn add(&mut self, severity: Severity, code: &'static str, place: &Place, found: &str, wanted: &str) {
        if self.is_full() {
            return;
        }
        let message = format!("found {found}, wanted {wanted}");
        match severity {
            Severity::Error => self.diagnostics.error(code, place, message),
            Severity::Warning => self.diagnostics.warning(code, place, message),
        };
    }

    fn is_full(&mut self) -> bool {
        let is_full = self.diagnostics.0.len() >= NUM_REPORTED_MAX;
        self.num_dropped += usize::from(is_full);
        is_full
    }
}

/// A file as a whole: its beginning.
pub(super) fn start_of(file: &Arc<str>) -> Place {
    Place { file: Arc::clone(file), line: 1, column: 1 }
}

/// A short quotation in backticks, harmless on a screen.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    for (index, character) in text.chars().enumerate() {
        if index == QUOTE_CHARS_MAX {
            quoted.push('…');
            break;
        }
        if is_screen_control(character) {
            quoted.extend(character.escape_unicode());
        } else {
            quoted.push(character);
        }
    }
    quoted.push('`');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_come_in_the_order_of_the_file_and_end_at_a_limit() {
        let file: Arc<str> = "a.yaml".into();
        let mut report = Report::default();
        for line in (1..=NUM_REPORTED_MAX + 3).rev() {
            report.error("x", &Place { line, ..start_of(&file) }, "a", "b");
        }
        let diagnostics = report.finish().0;
        assert_eq!(diagnostics[0].to_string(), "a.yaml:4:1: error[x]: found a, wanted b");
        assert_eq!(diagnostics.len(), NUM_REPORTED_MAX + 1);
        assert!(diagnostics[NUM_REPORTED_MAX].to_string().contains("3 further mistakes"));
    }

    #[test]
    fn a_quotation_is_short_and_harmless() {
        assert_eq!(quote("a\u{1b}[2J"), "`a\\u{1b}[2J`");
        assert_eq!(quote(&"x".repeat(500)).chars().count(), QUOTE_CHARS_MAX + 3);
    }
}
