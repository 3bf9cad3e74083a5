//! JSON as nodes: a document (one entry or a list of them), or one entry a line.
//!
//! Values are found inside the text that they were read from, which is how each knows its place.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::report::{Report, quote};
use crate::diagnostic::Place;
use crate::yaml::{Content, Node};

/// Longest line. An entry takes a few hundred bytes.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;

/// Deepest nesting. An entry needs four levels: the list, the entry, its credentials, one of them.
const DEPTH_MAX: usize = 8;

/// The document that `text` is.
pub(super) fn read_document(file: &Arc<str>, text: &str, report: &mut Report) -> Vec<Node> {
    let line_ends = memchr::memchr_iter(b'\n', text.as_bytes());
    let line_starts = std::iter::once(0).chain(line_ends.map(|end| end + 1)).collect();
    Reader { file, text, line_starts, first_line: 1 }.read(report).into_iter().collect()
}

/// The entries of `text`, one a line. Empty lines are passed over.
pub(super) fn read_lines(file: &Arc<str>, text: &str, report: &mut Report) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if line.len() > LINE_BYTES_MAX {
            let place = Place { file: Arc::clone(file), line: index + 1, column: 1 };
            report.error(
                "too-large",
                &place,
                format!("a line of {} bytes", line.len()),
                format!("at most {LINE_BYTES_MAX}"),
            );
            continue;
        }
        let reader = Reader { file, text: line, line_starts: vec![0], first_line: index + 1 };
        nodes.extend(reader.read(report));
    }
    nodes
}

struct Reader<'t> {
    file: &'t Arc<str>,
    text: &'t str,
    line_starts: Vec<usize>,
    first_line: usize,
}

impl<'t> Reader<'t> {
    fn read(&self, report: &mut Report) -> Option<Node> {
        match serde_json::from_str::<&RawValue>(self.text) {
            Ok(value) => self.node(value, 1, report),
            Err(error) => {
                let line = self.first_line - 1 + error.line().max(1);
                let place = Place { file: Arc::clone(self.file), line, column: error.column().max(1) };
                report.error("json-syntax", &place, words_of(&error), "JSON");
                None
            }
        }
    }

    fn node(&self, value: &'t RawValue, depth: usize, report: &mut Report) -> Option<Node> {
        let text = value.get();
        let place = self.place_of(text);
        if depth > DEPTH_MAX {
            report.error("json-depth", &place, format!("more than {DEPTH_MAX} levels of nesting"), "a list of entries");
            return None;
        }
        let content = match text.as_bytes().first() {
            Some(b'[') => {
                let items: Vec<&RawValue> = self.parse(text, &place, report)?;
                Content::Sequence(items.into_iter().filter_map(|item| self.node(item, depth + 1, report)).collect())
            }
            Some(b'{') => {
                let Pairs(pairs) = self.parse(text, &place, report)?;
                let mut entries: Vec<(Node, Node)> = Vec::new();
                let mut seen = HashSet::new();
                for (name, value) in pairs {
                    // A key's own place is not told; its value's is close by.
                    let key_place = self.place_of(value.get());
                    if !seen.insert(name.clone()) {
                        report.error("duplicate-key", &key_place, format!("{} twice", quote(&name)), "each key once");
                    }
                    let key = Node { place: key_place, content: Content::Scalar { text: name, quoted: true } };
                    if let Some(value) = self.node(value, depth + 1, report) {
                        entries.push((key, value));
                    }
                }
                Content::Mapping(entries)
            }
            Some(b'"') => Content::Scalar { text: self.parse(text, &place, report)?, quoted: true },
            Some(b'n') => Content::Null,
            _ => Content::Scalar { text: text.to_string(), quoted: false },
        };
        Some(Node { place, content })
    }

    fn parse<T: Deserialize<'t>>(&self, text: &'t str, place: &Place, report: &mut Report) -> Option<T> {
        serde_json::from_str(text)
            // The text was JSON a moment ago; what can still be wrong is half a surrogate pair in a string.
            .map_err(|error| report.error("json-syntax", place, words_of(&error), "Unicode"))
            .ok()
    }

    fn place_of(&self, part: &str) -> Place {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let column = offset - self.line_starts[line - 1] + 1;
        Place { file: Arc::clone(self.file), line: self.first_line - 1 + line, column }
    }
}

/// serde_json's words without the position, which stands in front already.
fn words_of(error: &serde_json::Error) -> String {
    quote(error.to_string().split(" at line ").next().unwrap_or_default())
}

/// An object's pairs as they are written, also where a key stands twice.
struct Pairs<'t>(Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, &RawValue>()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(read: impl FnOnce(&mut Report) -> Vec<Node>) -> (Vec<Node>, String) {
        let mut report = Report::default();
        let nodes = read(&mut report);
        (nodes, report.finish().to_string())
    }

    #[test]
    fn values_of_a_document_know_their_lines() {
        let text = "[\n  {\"id\": \"a\",\n   \"known_as\": [17]}\n]";
        let (nodes, _) = read(|report| read_document(&"a.json".into(), text, report));
        let entry = &nodes[0].sequence().expect("a list")[0];
        assert_eq!(entry.place.to_string(), "a.json:2:3");
        let id = &entry.get("known_as").and_then(Node::sequence).expect("a list")[0];
        assert_eq!((id.place.to_string().as_str(), id.text()), ("a.json:3:17", Some("17")));
    }

    #[test]
    fn a_broken_line_does_not_hide_the_others() {
        let text = "{\"id\":\"a\"}\n{\"id\":\n\n{\"id\":\"c\"}\n";
        let (nodes, mistakes) = read(|report| read_lines(&"a.ndjson".into(), text, report));
        assert_eq!(nodes.iter().map(|node| node.place.line).collect::<Vec<_>>(), [1, 4]);
        assert!(mistakes.starts_with("a.ndjson:2:6: error[json-syntax]: "), "{mistakes}");
        assert_eq!(mistakes.lines().count(), 1);
    }

    #[test]
    fn a_key_that_stands_twice_is_named() {
        let (_, mistakes) = read(|report| read_lines(&"a.ndjson".into(), r#"{"id":"a","id":"b"}"#, report));
        assert_eq!(mistakes, "a.ndjson:1:16: error[duplicate-key]: found `id` twice, wanted each key once");
    }

    #[test]
    fn limits_hold() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let (_, mistakes) = read(|report| read_document(&"a.json".into(), &deep, report));
        assert!(mistakes.contains("json-depth"), "{mistakes}");
        let long = format!("\"{}\"", "a".repeat(LINE_BYTES_MAX));
        let (_, mistakes) = read(|report| read_lines(&"a.ndjson".into(), &long, report));
        assert!(mistakes.contains("too-large"), "{mistakes}");
    }

    #[test]
    fn half_a_surrogate_pair_is_a_mistake() {
        let (_, mistakes) = read(|report| read_lines(&"a.ndjson".into(), r#"{"id":"\ud800"}"#, report));
        assert!(mistakes.contains("json-syntax"), "{mistakes}");
    }
}
