//! JSON as nodes: a document (one entry or a list of them), or one entry a line.
//!
//! Values are found inside the text that they were read from, which is how each knows its place.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::node::{Content, DEPTH_MAX, Key, Node};
use super::problem::{Origin, Place, Problems, quote};

/// Longest line. An entry takes a few hundred bytes.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;

/// The document that `text` is.
pub(super) fn read_document(file: &Arc<str>, text: &str, problems: &mut Problems) -> Vec<Node> {
    let line_starts =
        std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1)).collect();
    Reader { file, text, line_starts, first_line: 1 }.read(problems).into_iter().collect()
}

/// The entries of `text`, one a line. Empty lines are passed over.
pub(super) fn read_lines(file: &Arc<str>, text: &str, problems: &mut Problems) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if line.len() > LINE_BYTES_MAX {
            let origin = Origin::new(file, Place { line: index + 1, column: None });
            let found = format!("a line of {} bytes", line.len());
            problems.add("too_long", origin, found, format!("at most {LINE_BYTES_MAX}"));
            continue;
        }
        let reader = Reader { file, text: line, line_starts: vec![0], first_line: index + 1 };
        nodes.extend(reader.read(problems));
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
    fn read(&self, problems: &mut Problems) -> Option<Node> {
        match serde_json::from_str::<&RawValue>(self.text) {
            Ok(value) => self.node(value, 1, problems),
            Err(error) => {
                let place =
                    Place { line: self.first_line - 1 + error.line().max(1), column: Some(error.column().max(1)) };
                // serde_json's words end in the position, which stands in front already.
                let words = error.to_string();
                let words = words.split(" at line ").next().unwrap_or_default();
                problems.add("syntax", Origin::new(self.file, place), quote(words), "JSON");
                None
            }
        }
    }

    fn node(&self, value: &'t RawValue, depth: usize, problems: &mut Problems) -> Option<Node> {
        let text = value.get();
        let place = self.place_of(text);
        if depth > DEPTH_MAX {
            let found = format!("nesting deeper than {DEPTH_MAX} levels");
            problems.add("too_deep", Origin::new(self.file, place), found, "a list of entries");
            return None;
        }
        let content = match text.as_bytes().first() {
            Some(b'[') => {
                let items: Vec<&RawValue> = self.parse(text, place, problems)?;
                Content::List(items.into_iter().filter_map(|item| self.node(item, depth + 1, problems)).collect())
            }
            Some(b'{') => {
                let Pairs(pairs) = self.parse(text, place, problems)?;
                let pairs = pairs.into_iter().filter_map(|(name, value)| {
                    // A key's own place is not told; its value's is close by.
                    let key = Key { place: self.place_of(value.get()), name };
                    Some((key, self.node(value, depth + 1, problems)?))
                });
                Content::Map(pairs.collect())
            }
            Some(b'"') => Content::Text(self.parse::<String>(text, place, problems)?),
            Some(b'n') => Content::Null,
            _ => Content::Text(text.to_string()),
        };
        Some(Node { place, content })
    }

    fn parse<T: Deserialize<'t>>(&self, text: &'t str, place: Place, problems: &mut Problems) -> Option<T> {
        serde_json::from_str(text)
            // The text was JSON a moment ago; what can still be wrong is half a surrogate pair in a string.
            .map_err(|error| {
                problems.add("syntax", Origin::new(self.file, place), quote(&error.to_string()), "Unicode")
            })
            .ok()
    }

    fn place_of(&self, part: &str) -> Place {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        Place { line: self.first_line - 1 + line, column: Some(offset - self.line_starts[line - 1] + 1) }
    }
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
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    pairs.push((name, value));
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

    fn problems_of(read: impl FnOnce(&mut Problems) -> Vec<Node>) -> (Vec<Node>, Vec<String>) {
        let mut problems = Problems::default();
        let nodes = read(&mut problems);
        (nodes, problems.into_vec().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_of_a_document_know_their_lines() {
        let text = "[\n  {\"id\": \"a\",\n   \"known_as\": [17]}\n]";
        let (nodes, _) = problems_of(|problems| read_document(&"a.json".into(), text, problems));
        let Content::List(entries) = &nodes[0].content else { panic!("a list") };
        let Content::Map(pairs) = &entries[0].content else { panic!("a map") };
        assert_eq!(entries[0].place, Place { line: 2, column: Some(3) });
        let Content::List(ids) = &pairs[1].1.content else { panic!("a list") };
        assert_eq!(ids[0], Node { place: Place { line: 3, column: Some(17) }, content: Content::Text("17".into()) });
    }

    #[test]
    fn a_broken_line_does_not_hide_the_others() {
        let text = "{\"id\":\"a\"}\n{\"id\":\n\n{\"id\":\"c\"}\n";
        let (nodes, problems) = problems_of(|problems| read_lines(&"a.ndjson".into(), text, problems));
        assert_eq!(nodes.iter().map(|node| node.place.line).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("a.ndjson:2:6: syntax: "), "{problems:?}");
    }

    #[test]
    fn limits_hold() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let (_, problems) = problems_of(|problems| read_document(&"a.json".into(), &deep, problems));
        assert!(problems[0].contains("too_deep"), "{problems:?}");
        let long = format!("\"{}\"", "a".repeat(LINE_BYTES_MAX));
        let (_, problems) = problems_of(|problems| read_lines(&"a.ndjson".into(), &long, problems));
        assert!(problems[0].contains("too_long"), "{problems:?}");
    }

    #[test]
    fn half_a_surrogate_pair_is_a_problem() {
        let (_, problems) = problems_of(|problems| read_lines(&"a.ndjson".into(), r#"{"id":"\ud800"}"#, problems));
        assert_eq!(problems.len(), 1);
    }
}
