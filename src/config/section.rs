//! A mapping of the file while it is being read: hands out its keys and remembers every mistake.
//!
//! A key that nobody asked for is unknown, which [`Section::finish`] reports with the nearest known name.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::Mistake;
use super::secrets;
use crate::yaml::{Content, Node};

/// What reading the whole file shares: the mistakes so far, and where references are looked up.
pub(super) struct Reader<'a> {
    pub mistakes: RefCell<Vec<Mistake>>,
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    pub fn mistake(&self, key: &str, line: usize, message: impl Into<String>) {
        self.mistakes.borrow_mut().push(Mistake { key: key.to_string(), line, message: message.into() });
    }
}

/// One mapping, under the path of its key.
pub(super) struct Section<'a> {
    reader: &'a Reader<'a>,
    path: String,
    pub line: usize,
    entries: Vec<(String, usize, Option<Node>)>,
    asked: Vec<&'static str>,
}

/// A scalar with what messages about it need.
pub(super) struct Scalar {
    pub key: String,
    pub line: usize,
    /// With references replaced.
    pub text: String,
    /// Whether the file holds a reference in place of the value.
    pub is_reference: bool,
    pub quoted: bool,
}

impl<'a> Section<'a> {
    /// Reads `node` as a mapping. What is no mapping is a mistake and reads as an empty one.
    pub fn new(reader: &'a Reader<'a>, path: &str, node: Node) -> Section<'a> {
        let line = node.place.line;
        let mut entries: Vec<(String, usize, Option<Node>)> = Vec::new();
        match node.content {
            Content::Mapping(found) => {
                for (key, value) in found {
                    let name = key.text().unwrap_or_default().to_string();
                    // Of a key that stands twice, which is a mistake already, the first is read.
                    if !entries.iter().any(|(known, ..)| *known == name) {
                        entries.push((name, key.place.line, Some(value)));
                    }
                }
            }
            Content::Null => {}
            _ => reader.mistake(path, line, format!("wanted keys and values, found {}", node.kind())),
        }
        Section { reader, path: path.to_string(), line, entries, asked: Vec::new() }
    }

    pub fn path_of(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Takes the value under `key`, if the file has it and it is not null.
    pub fn node(&mut self, key: &'static str) -> Option<Node> {
        self.asked.push(key);
        let (.., node) = self.entries.iter_mut().find(|(name, ..)| name == key)?;
        node.take().filter(|node| !matches!(node.content, Content::Null))
    }

    /// Takes every entry that is left, for sections whose keys are the operator's own.
    pub fn rest(&mut self) -> Vec<(String, usize, Node)> {
        std::mem::take(&mut self.entries)
            .into_iter()
            .filter_map(|(name, line, node)| node.map(|node| (name, line, node)))
            .collect()
    }

    pub fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let path = self.path_of(key);
        self.node(key).map(|node| Section::new(self.reader, &path, node))
    }

    pub fn text(&mut self, key: &'static str) -> Option<Scalar> {
        let path = self.path_of(key);
        let node = self.node(key)?;
        scalar(self.reader, &path, node)
    }

    pub fn required_text(&mut self, key: &'static str) -> Option<Scalar> {
        if !self.entries.iter().any(|(name, _, node)| {
            name == key && node.as_ref().is_some_and(|node| !matches!(node.content, Content::Null))
        }) {
            self.asked.push(key);
            self.reader.mistake(&self.path_of(key), self.line, "is missing: it has no default");
            return None;
        }
        self.text(key)
    }

    /// A whole number within `range`, or `default` where the file has none.
    pub fn number(&mut self, key: &'static str, default: u64, range: std::ops::RangeInclusive<u64>) -> u64 {
        let Some(found) = self.text(key) else { return default };
        match found.text.parse::<u64>() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let wanted = format!("wanted a whole number from {} to {}", range.start(), range.end());
                self.reader.mistake(&found.key, found.line, format!("{wanted}, found `{}`", shown(&found)));
                default
            }
        }
    }

    pub fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        let Some(found) = self.text(key) else { return default };
        match found.text.as_str() {
            "true" if !found.quoted => true,
            "false" if !found.quoted => false,
            _ => {
                let message = format!("wanted true or false, found `{}`", shown(&found));
                self.reader.mistake(&found.key, found.line, message);
                default
            }
        }
    }

    /// A list of texts; a single text counts as a list of one.
    pub fn texts(&mut self, key: &'static str) -> Vec<Scalar> {
        let path = self.path_of(key);
        let Some(node) = self.node(key) else { return Vec::new() };
        match node.content {
            Content::Sequence(items) => items
                .into_iter()
                .enumerate()
                .filter_map(|(index, item)| scalar(self.reader, &format!("{path}[{index}]"), item))
                .collect(),
            _ => scalar(self.reader, &path, node).into_iter().collect(),
        }
    }

    /// A mapping from the operator's own names to texts.
    pub fn named_texts(&mut self, key: &'static str) -> BTreeMap<String, Scalar> {
        let Some(mut section) = self.section(key) else { return BTreeMap::new() };
        let path = section.path.clone();
        section
            .rest()
            .into_iter()
            .filter_map(|(name, _, node)| Some((name.clone(), scalar(self.reader, &join(&path, &name), node)?)))
            .collect()
    }

    /// Reports the keys that nobody asked for.
    pub fn finish(self) {
        for (name, line, node) in &self.entries {
            if node.is_none() || self.asked.contains(&name.as_str()) {
                continue;
            }
            let nearest = self.asked.iter().map(|known| (strsim::damerau_levenshtein(known, name), known)).min();
            let message = match nearest {
                // Further apart, the two are different words and the hint would mislead.
                Some((distance, known)) if distance <= 2 => format!("unknown key: did you mean `{known}`?"),
                _ => format!("unknown key: known here are {}", listed(&self.asked)),
            };
            self.reader.mistake(&self.path_of(name), *line, message);
        }
    }
}

/// Reads `node` as one value, with its references replaced.
pub(super) fn scalar(reader: &Reader<'_>, path: &str, node: Node) -> Option<Scalar> {
    let line = node.place.line;
    let Content::Scalar { text, quoted } = node.content else {
        reader.mistake(path, line, format!("wanted a value, found {}", node.kind()));
        return None;
    };
    let is_reference = secrets::is_reference(&text);
    match secrets::expand(&text, reader.environment) {
        Ok(text) => Some(Scalar { key: path.to_string(), line, text, is_reference, quoted }),
        Err(message) => {
            reader.mistake(path, line, message);
            None
        }
    }
}

/// The value as a message may show it: what a reference yielded may be a secret.
pub(super) fn shown(found: &Scalar) -> &str {
    if found.is_reference { "${…}" } else { &found.text }
}

fn join(path: &str, key: &str) -> String {
    // A dot inside a name would read as one more level.
    let key = if key.contains('.') { format!("\"{key}\"") } else { key.to_string() };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
