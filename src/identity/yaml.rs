//! YAML as nodes: one entry or a list of entries a document, any number of documents.
//!
//! Anchors, aliases and tags are refused: they make a file mean something else than it shows.

use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use super::node::{Content, DEPTH_MAX, Key, Node};
use super::problem::{Origin, Place, Problems, quote};

/// The documents of `text`. What cannot be read is a problem, and reading ends there.
pub(super) fn read(file: &Arc<str>, text: &str, problems: &mut Problems) -> Vec<Node> {
    let mut open: Vec<Open> = Vec::new();
    let mut documents = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                report_syntax(file, &error, problems);
                break;
            }
        };
        let place = place_of(&span.start);
        if let Some(found) = forbidden(&event) {
            problems.add("yaml_feature", Origin::new(file, place), found, "the value itself, written out");
            break;
        }
        let finished = match event {
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEPTH_MAX => {
                let found = format!("nesting deeper than {DEPTH_MAX} levels");
                problems.add("too_deep", Origin::new(file, place), found, "a list of entries");
                break;
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(place, Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(place, None, Vec::new()));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(place, items)) => Node { place, content: Content::List(items) },
                Some(Open::Map(place, _, pairs)) => Node { place, content: Content::Map(pairs) },
                None => continue,
            },
            Event::Scalar(text, style, ..) => Node { place, content: scalar(&text, style) },
            _ => continue,
        };
        if let Err(node) = close(&mut open, &mut documents, finished) {
            let found = format!("{} as a key", node.kind());
            problems.add("bad_key", Origin::new(file, node.place), found, "a text before the colon");
            break;
        }
    }
    documents
}

/// A list or map whose end has not come yet.
enum Open {
    List(Place, Vec<Node>),
    Map(Place, Option<Key>, Vec<(Key, Node)>),
}

/// Puts a finished node where it belongs; one that cannot be a key comes back.
fn close(open: &mut [Open], documents: &mut Vec<Node>, node: Node) -> Result<(), Node> {
    match open.last_mut() {
        None => documents.push(node),
        Some(Open::List(_, items)) => items.push(node),
        Some(Open::Map(_, key, pairs)) => match key.take() {
            Some(key) => pairs.push((key, node)),
            None => {
                let Content::Text(name) = node.content else { return Err(node) };
                *key = Some(Key { place: node.place, name });
            }
        },
    }
    Ok(())
}

fn scalar(text: &str, style: ScalarStyle) -> Content {
    match (style, text) {
        (ScalarStyle::Plain, "" | "~" | "null" | "Null" | "NULL") => Content::Null,
        // A block's own line end belongs to the notation, not to the value.
        (ScalarStyle::Literal | ScalarStyle::Folded, text) => Content::Text(text.trim_end_matches('\n').to_string()),
        (_, text) => Content::Text(text.to_string()),
    }
}

fn forbidden(event: &Event<'_>) -> Option<&'static str> {
    match event {
        Event::Alias(_) => Some("an alias (`*name`)"),
        Event::Scalar(_, _, 1.., _) | Event::SequenceStart(1.., _) | Event::MappingStart(1.., _) => {
            Some("an anchor (`&name`)")
        }
        Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
            Some("a tag (`!name`)")
        }
        _ => None,
    }
}

fn report_syntax(file: &Arc<str>, error: &ScanError, problems: &mut Problems) {
    let place = place_of(error.marker());
    problems.add("syntax", Origin::new(file, place), quote(error.info()), "YAML: check indentation, colons and quotes");
}

fn place_of(marker: &Marker) -> Place {
    Place { line: marker.line(), column: Some(marker.col() + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(text: &str) -> (Vec<Node>, Vec<String>) {
        let mut problems = Problems::default();
        let nodes = read(&"a.yaml".into(), text, &mut problems);
        (nodes, problems.into_vec().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn scalars_stay_as_they_are_written() {
        let (nodes, problems) = read_one("- 0123\n- no\n- ~\n- '~'\n- |\n  two\n  lines\n");
        assert_eq!(problems, Vec::<String>::new());
        let Content::List(items) = &nodes[0].content else { panic!("a list") };
        let text = |text: &str| Content::Text(text.to_string());
        let contents: Vec<_> = items.iter().map(|item| item.content.clone()).collect();
        assert_eq!(contents, [text("0123"), text("no"), Content::Null, text("~"), text("two\nlines")]);
    }

    #[test]
    fn keys_and_values_know_their_places() {
        let (nodes, _) = read_one("id: a\nknown_as:\n  - b\n---\nid: c\n");
        let Content::Map(pairs) = &nodes[0].content else { panic!("a map") };
        assert_eq!(pairs[1].0.place, Place { line: 2, column: Some(1) });
        let Content::List(items) = &pairs[1].1.content else { panic!("a list") };
        assert_eq!(items[0].place, Place { line: 3, column: Some(5) });
        assert_eq!(nodes.len(), 2);
    }

    #[test]
    fn anchors_aliases_and_tags_are_refused() {
        for (text, found) in [("- &a b\n", "an anchor"), ("- &a [b]\n", "an anchor"), ("- !!str b\n", "a tag")] {
            let (_, problems) = read_one(text);
            assert!(problems[0].contains(found), "{problems:?}");
        }
    }

    #[test]
    fn broken_and_bottomless_files_end_in_a_problem() {
        assert!(read_one("- 'open").1[0].starts_with("a.yaml:1:"));
        assert!(read_one(&"[".repeat(20)).1[0].contains("too_deep"));
        // The parser has a limit of its own for what it reads ahead.
        assert_eq!(read_one(&"[".repeat(5_000)).1.len(), 1);
        assert!(read_one(&"- ".repeat(5_000)).1[0].contains("too_deep"));
        assert!(read_one("? [a]\n: b\n").1[0].contains("a list as a key"));
    }
}
