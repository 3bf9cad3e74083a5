//! Diagnostics: an author's mistakes, with the place, what was found, what was wanted, and how to mend it.
//!
//! They are collected, not thrown: one reading of a file reports everything that is wrong with it.

use std::fmt;
use std::sync::Arc;

/// A place in a file that an author wrote. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file works, but its author should look.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// A stable name of the kind of mistake, such as `unknown-column`.
    pub code: &'static str,
    pub place: Place,
    /// What was found, and what was wanted instead.
    pub message: String,
    /// How to mend it, where that is not obvious from the message.
    pub help: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}: {severity}[{}]: {}", self.place, self.code, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n    help: {help}"),
            None => Ok(()),
        }
    }
}

/// All mistakes of one reading, in the order of their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    pub fn error(&mut self, code: &'static str, place: &Place, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, code, place, message.into())
    }

    pub fn warning(&mut self, code: &'static str, place: &Place, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, code, place, message.into())
    }

    fn push(&mut self, severity: Severity, code: &'static str, place: &Place, message: String) -> &mut Diagnostic {
        let index = self.0.len();
        self.0.push(Diagnostic { severity, code, place: place.clone(), message, help: None });
        &mut self.0[index]
    }

    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Puts them in the order in which an author reads the files.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| a.place.cmp(&b.place));
        self.0.dedup();
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic {
    pub fn help(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }

    /// Suggests the name that the author probably meant.
    pub fn did_you_mean<'a>(&mut self, found: &str, names: impl IntoIterator<Item = &'a str>) {
        let closest = names
            .into_iter()
            .map(|name| (strsim::damerau_levenshtein(found, name), name))
            .min_by_key(|(distance, _)| *distance);
        // Three letters off in a name of ten is a slip; more is another word.
        if let Some((distance, name)) = closest
            && distance <= 1 + name.len() / 4
        {
            self.help(format!("did you mean `{name}`?"));
        }
    }
}
