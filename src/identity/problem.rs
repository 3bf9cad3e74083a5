//! What is wrong with a registry: where, what was found, and what was wanted instead.
//!
//! Everything found is reported at once, up to a limit, so that one run is enough to mend a file. A value that may be a
//! secret is never quoted.

use std::fmt;
use std::sync::Arc;

use crate::activity::json::is_screen_control;

/// Most problems reported. A reader mends a hundred and runs the check again; a wrong file would give millions.
pub const NUM_PROBLEMS_MAX: usize = 100;

/// Longest quotation of a file's own words.
const QUOTE_CHARS_MAX: usize = 60;

/// One mistake in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A short name of the kind of mistake, stable for scripts.
    pub code: &'static str,
    pub origin: Origin,
    /// What stands there.
    pub found: String,
    /// What should stand there, or how to mend it.
    pub wanted: String,
}

/// Where something stands: a file, and a line and column in it where those are known (counted from 1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub file: Arc<str>,
    pub place: Option<Place>,
}

/// A line and a column, both from 1. A table's cells are known by their line alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: Option<usize>,
}

impl Origin {
    pub fn new(file: &Arc<str>, place: Place) -> Origin {
        Origin { file: Arc::clone(file), place: Some(place) }
    }

    /// The file as a whole.
    pub fn whole(file: &Arc<str>) -> Origin {
        Origin { file: Arc::clone(file), place: None }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, &self.file)?;
        let Some(Place { line, column }) = self.place else { return Ok(()) };
        write!(f, ":{line}")?;
        column.map_or(Ok(()), |column| write!(f, ":{column}"))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: found {}; wanted {}", self.origin, self.code, self.found, self.wanted)
    }
}

/// Collects problems and stops keeping them at [`NUM_PROBLEMS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Problems {
    kept: Vec<Problem>,
    num_dropped: usize,
}

impl Problems {
    pub fn add(&mut self, code: &'static str, origin: Origin, found: impl Into<String>, wanted: impl Into<String>) {
        if self.kept.len() < NUM_PROBLEMS_MAX {
            self.kept.push(Problem { code, origin, found: found.into(), wanted: wanted.into() });
        } else {
            self.num_dropped += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// All problems in the order of files and lines.
    pub fn into_vec(mut self) -> Vec<Problem> {
        self.kept.sort_by(|a, b| a.origin.cmp(&b.origin));
        if let (Some(last), 1..) = (self.kept.last(), self.num_dropped) {
            let origin = Origin::whole(&last.origin.file);
            let found = format!("{} further problems", self.num_dropped);
            let wanted = "those above mended first".to_string();
            self.kept.push(Problem { code: "too_many_problems", origin, found, wanted });
        }
        self.kept
    }
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

fn write_escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    use fmt::Write;
    for character in text.chars() {
        if is_screen_control(character) {
            write!(f, "{}", character.escape_unicode())?;
        } else {
            f.write_char(character)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_come_in_the_order_of_the_file_and_end_at_a_limit() {
        let file: Arc<str> = "a.yaml".into();
        let mut problems = Problems::default();
        for line in (1..=NUM_PROBLEMS_MAX + 3).rev() {
            problems.add("x", Origin::new(&file, Place { line, column: Some(1) }), "a", "b");
        }
        let problems = problems.into_vec();
        assert_eq!(problems[0].to_string(), "a.yaml:4:1: x: found a; wanted b");
        assert_eq!(problems.len(), NUM_PROBLEMS_MAX + 1);
        assert!(problems[NUM_PROBLEMS_MAX].to_string().contains("3 further problems"));
    }

    #[test]
    fn a_quotation_is_short_and_harmless() {
        assert_eq!(quote("a\u{1b}[2J"), "`a\\u{1b}[2J`");
        assert_eq!(quote(&"x".repeat(500)).chars().count(), QUOTE_CHARS_MAX + 3);
    }
}
