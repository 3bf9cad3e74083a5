//! YAML with places: every node knows the line and column where it stands.
//!
//! What is read is what stands there: no anchors, aliases or tags (an alias can make a small file huge), no
//! key twice, one document. Scalars stay text; whoever reads one says what it should be.

use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::diagnostic::{Diagnostics, Place};

/// Deepest nesting of one file. People write five levels; this keeps recursion far from the stack's end.
const DEPTH_MAX: usize = 32;

/// Largest file. The longest mapping that people write has some thousand lines.
const NUM_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A node of the document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub place: Place,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// `~`, `null` or nothing at all.
    Null,
    /// Any scalar as it was written; `quoted` tells `"7"` from `7`.
    Scalar {
        text: String,
        quoted: bool,
    },
    Sequence(Vec<Node>),
    /// In the order written.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// `true` or `false`, unquoted. `yes` and `no` are words.
    pub fn truth(&self) -> Option<bool> {
        match &self.content {
            Content::Scalar { text, quoted: false } => match text.as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// An unquoted whole number.
    pub fn integer(&self) -> Option<i64> {
        match &self.content {
            Content::Scalar { text, quoted: false } => text.parse().ok(),
            _ => None,
        }
    }

    pub fn sequence(&self) -> Option<&[Node]> {
        match &self.content {
            Content::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub fn entries(&self) -> Option<&[(Node, Node)]> {
        match &self.content {
            Content::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under `key` of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// Whether `other` says the same, wherever it stands.
    pub fn says_the_same(&self, other: &Node) -> bool {
        match (&self.content, &other.content) {
            (Content::Sequence(a), Content::Sequence(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.says_the_same(b))
            }
            (Content::Mapping(a), Content::Mapping(b)) => {
                let same = |(a, b): (&(Node, Node), &(Node, Node))| a.0.says_the_same(&b.0) && a.1.says_the_same(&b.1);
                a.len() == b.len() && a.iter().zip(b).all(same)
            }
            (a, b) => a == b,
        }
    }

    /// What the node is, for messages.
    pub fn kind(&self) -> String {
        match &self.content {
            Content::Null => "nothing".to_string(),
            Content::Scalar { text, .. } => format!("`{text}`"),
            Content::Sequence(_) => "a list".to_string(),
            Content::Mapping(_) => "keys and values".to_string(),
        }
    }
}

/// Reads one document. Mistakes go to `diagnostics`; a file with a mistake in its syntax gives nothing.
pub fn read(file: &str, text: &str, diagnostics: &mut Diagnostics) -> Option<Node> {
    let file: Arc<str> = file.into();
    let start = Place { file: Arc::clone(&file), line: 1, column: 1 };
    if text.len() > NUM_BYTES_MAX {
        diagnostics.error("too-large", &start, format!("found {} bytes, wanted at most {NUM_BYTES_MAX}", text.len()));
        return None;
    }
    let mut builder = Builder { file, diagnostics, open: Vec::new(), root: None };
    for next in Parser::new_from_str(text) {
        match next {
            Ok((event, span)) => {
                let place = builder.place(span.start);
                builder.take(event, place)?;
            }
            Err(error) => {
                let place = builder.place(*error.marker());
                builder.diagnostics.error("yaml-syntax", &place, error.info().to_string());
                return None;
            }
        }
    }
    let Builder { diagnostics, root, .. } = builder;
    if root.is_none() {
        diagnostics.error("yaml-syntax", &start, "found an empty file, wanted keys and values");
    }
    root
}

struct Builder<'d> {
    file: Arc<str>,
    diagnostics: &'d mut Diagnostics,
    open: Vec<Open>,
    root: Option<Node>,
}

/// A sequence or mapping that has begun and not ended.
enum Open {
    Sequence(Place, Vec<Node>),
    Mapping { place: Place, entries: Vec<(Node, Node)>, key: Option<Node> },
}

impl Builder<'_> {
    fn place(&self, marker: saphyr_parser::Marker) -> Place {
        Place { file: Arc::clone(&self.file), line: marker.line(), column: marker.col() + 1 }
    }

    /// None stops the reading.
    fn take(&mut self, event: Event<'_>, place: Place) -> Option<()> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(anchor, tag.is_some(), &place)?;
                let quoted = style != ScalarStyle::Plain;
                let content = match &*text {
                    "" | "~" | "null" if !quoted => Content::Null,
                    _ => Content::Scalar { text: text.into_owned(), quoted },
                };
                self.add(Node { place, content })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(anchor, tag.is_some(), &place)?;
                self.open(Open::Sequence(place, Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(anchor, tag.is_some(), &place)?;
                self.open(Open::Mapping { place, entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let node = match self.open.pop()? {
                    Open::Sequence(place, items) => Node { place, content: Content::Sequence(items) },
                    Open::Mapping { place, entries, .. } => Node { place, content: Content::Mapping(entries) },
                };
                self.add(node)
            }
            Event::Alias(_) => {
                self.diagnostics
                    .error("yaml-alias", &place, "found an alias (`*name`)")
                    .help("write the value out; what several mappings share goes into a fragment");
                None
            }
            Event::DocumentStart(_) if self.root.is_some() => {
                self.diagnostics.error("yaml-syntax", &place, "found a second document, wanted one a file");
                None
            }
            _ => Some(()),
        }
    }

    fn refuse_extras(&mut self, anchor: usize, has_tag: bool, place: &Place) -> Option<()> {
        if anchor != 0 {
            self.diagnostics.error("yaml-alias", place, "found an anchor (`&name`)").help("write the value out");
            return None;
        }
        if has_tag {
            self.diagnostics.error("yaml-tag", place, "found a tag (`!name`)").help("leave it out");
            return None;
        }
        Some(())
    }

    fn open(&mut self, open: Open) -> Option<()> {
        if self.open.len() >= DEPTH_MAX {
            let (Open::Sequence(place, _) | Open::Mapping { place, .. }) = &open;
            self.diagnostics.error("yaml-depth", place, format!("found more than {DEPTH_MAX} levels of nesting"));
            return None;
        }
        self.open.push(open);
        Some(())
    }

    fn add(&mut self, node: Node) -> Option<()> {
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping { entries, key, .. }) => match key.take() {
                None => {
                    if node.text().is_none() {
                        self.diagnostics.error("yaml-key", &node.place, "found a key that is not a word");
                        return None;
                    }
                    *key = Some(node);
                }
                Some(name) => {
                    if let Some((first, _)) = entries.iter().find(|(other, _)| other.text() == name.text()) {
                        let line = first.place.line;
                        let text = name.text().unwrap_or_default();
                        self.diagnostics.error(
                            "duplicate-key",
                            &name.place,
                            format!("found `{text}` twice; it stands in line {line} already"),
                        );
                    }
                    entries.push((name, node));
                }
            },
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> String {
        let mut diagnostics = Diagnostics::default();
        read("m.yaml", text, &mut diagnostics);
        diagnostics.to_string()
    }

    #[test]
    fn nodes_know_their_places() {
        let mut diagnostics = Diagnostics::default();
        let node = read("m.yaml", "a: 1\nb:\n  - \"x\"\n", &mut diagnostics).expect("valid");
        let item = &node.get("b").and_then(Node::sequence).expect("a list")[0];
        assert_eq!((item.text(), item.place.line, item.place.column), (Some("x"), 3, 5));
        assert_eq!(node.get("a").and_then(Node::integer), Some(1));
        assert_eq!(diagnostics, Diagnostics::default());
    }

    #[test]
    fn no_is_a_word_and_not_false() {
        let mut diagnostics = Diagnostics::default();
        let node = read("m.yaml", "country: NO", &mut diagnostics).expect("valid");
        assert_eq!(node.get("country").and_then(Node::text), Some("NO"));
        assert_eq!(node.get("country").and_then(Node::truth), None);
    }

    #[test]
    fn a_key_that_stands_twice_is_named_with_both_lines() {
        assert_eq!(
            mistakes("a: 1\na: 2\n"),
            "m.yaml:2:1: error[duplicate-key]: found `a` twice; it stands in line 1 already"
        );
    }

    #[test]
    fn aliases_tags_and_depth_are_refused() {
        assert!(mistakes("a: &x 1\n").contains("yaml-alias"));
        assert!(mistakes("a: !!python/object 1\n").contains("yaml-tag"));
        assert!(mistakes(&"[".repeat(100)).contains("yaml-depth"));
        assert!(mistakes("a: [1\n").contains("yaml-syntax"));
    }
}
