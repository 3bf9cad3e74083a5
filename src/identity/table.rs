//! CSV as nodes: a header names the keys, each line is an entry.
//!
//! A cell holds a text, or several with `;` between them where the key takes a list. A column `list.key` gives one key of the
//! list's elements, so that `credentials.id` and `credentials.type` go together by their order. An empty cell is
//! nothing.

use std::sync::Arc;

use super::json::LINE_BYTES_MAX;
use super::report::{Report, quote, start_of};
use crate::diagnostic::Place;
use crate::yaml::{Content, Node};

/// What stands between the items of a list. Ids hold commas, colons, slashes and bars, but hardly ever this.
const ITEM_SEPARATOR: char = ';';

/// Most columns. The format has some thirty keys.
const NUM_COLUMNS_MAX: usize = 100;

/// The entries of `text`. `is_list` says which keys take lists.
pub(super) fn read(file: &Arc<str>, text: &str, is_list: impl Fn(&str) -> bool, report: &mut Report) -> Vec<Node> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(str::to_string).collect(),
        Err(error) => {
            report_syntax(file, &error, report);
            return Vec::new();
        }
    };
    if !check_header(file, &header, report) {
        return Vec::new();
    }
    let mut nodes = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                report_syntax(file, &error, report);
                break;
            }
        };
        let place = place_of(file, record.position());
        let num_bytes = record.as_slice().len();
        if record.len() != header.len() {
            let wanted = format!("{} as in the header", header.len());
            report.error("cells", &place, format!("{} cells", record.len()), wanted);
        } else if num_bytes > LINE_BYTES_MAX {
            let wanted = format!("at most {LINE_BYTES_MAX}");
            report.error("too-large", &place, format!("a line of {num_bytes} bytes"), wanted);
        } else {
            nodes.push(entry(&place, header.iter().map(String::as_str).zip(record.iter()), &is_list));
        }
    }
    nodes
}

/// Whether each column stands for something else than the others.
fn check_header(file: &Arc<str>, header: &[String], report: &mut Report) -> bool {
    if header.len() > NUM_COLUMNS_MAX {
        let found = format!("{} columns", header.len());
        report.error("too-large", &start_of(file), found, format!("at most {NUM_COLUMNS_MAX}"));
        return false;
    }
    let mut is_clear = true;
    for (index, name) in header.iter().enumerate() {
        let repeats = |earlier: &String| {
            earlier == name
                || name.split_once('.').is_some_and(|(list, _)| list == earlier)
                || earlier.split_once('.').is_some_and(|(list, _)| list == name)
        };
        if let Some(earlier) = header[..index].iter().find(|earlier| repeats(earlier)) {
            let found = format!("the columns {} and {}", quote(earlier), quote(name));
            report.error("duplicate-key", &start_of(file), found, "one of them");
            is_clear = false;
        }
    }
    is_clear
}

fn entry<'r>(place: &Place, cells: impl Iterator<Item = (&'r str, &'r str)>, is_list: impl Fn(&str) -> bool) -> Node {
    let mut pairs: Vec<(Node, Node)> = Vec::new();
    for (name, cell) in cells {
        let items = || cell.split(ITEM_SEPARATOR).map(|item| text_or_nothing(place, item.trim()));
        match name.split_once('.') {
            Some((list, field)) => {
                let index = pairs.iter().position(|(key, _)| key.text() == Some(list)).unwrap_or_else(|| {
                    pairs.push((text(place, list), node(place, Content::Sequence(Vec::new()))));
                    pairs.len() - 1
                });
                let Content::Sequence(elements) = &mut pairs[index].1.content else { continue };
                for (position, item) in items().enumerate().filter(|_| !cell.is_empty()) {
                    if elements.len() <= position {
                        elements.push(node(place, Content::Mapping(Vec::new())));
                    }
                    if let Content::Mapping(fields) = &mut elements[position].content {
                        fields.push((text(place, field), item));
                    }
                }
            }
            None if is_list(name) && !cell.is_empty() => {
                pairs.push((text(place, name), node(place, Content::Sequence(items().collect()))));
            }
            None => pairs.push((text(place, name), text_or_nothing(place, cell))),
        }
    }
    for (_, value) in &mut pairs {
        // A list of which every cell is empty is nothing, as an empty cell is.
        if value.sequence().is_some_and(<[Node]>::is_empty) {
            value.content = Content::Null;
        }
    }
    node(place, Content::Mapping(pairs))
}

fn node(place: &Place, content: Content) -> Node {
    Node { place: place.clone(), content }
}

fn text(place: &Place, text: &str) -> Node {
    node(place, Content::Scalar { text: text.to_string(), quoted: true })
}

fn text_or_nothing(place: &Place, cell: &str) -> Node {
    if cell.is_empty() { node(place, Content::Null) } else { text(place, cell) }
}

fn place_of(file: &Arc<str>, position: Option<&csv::Position>) -> Place {
    let line = position.map_or(1, |position| usize::try_from(position.line()).unwrap_or(usize::MAX));
    Place { line, ..start_of(file) }
}

fn report_syntax(file: &Arc<str>, error: &csv::Error, report: &mut Report) {
    report.error("csv-syntax", &place_of(file, error.position()), quote(&error.to_string()), "CSV with a header");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(text: &str) -> (Vec<Node>, String) {
        let mut report = Report::default();
        let nodes = read(&"a.csv".into(), text, |key| key == "scopes", &mut report);
        (nodes, report.finish().to_string())
    }

    fn shown(node: &Node) -> String {
        let joined = |parts: Vec<String>| parts.join(" ");
        match &node.content {
            Content::Null => "~".to_string(),
            Content::Scalar { text, .. } => text.clone(),
            Content::Sequence(items) => format!("[{}]", joined(items.iter().map(shown).collect())),
            Content::Mapping(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| format!("{}={}", shown(key), shown(value)));
                format!("{{{}}}", joined(pairs.collect()))
            }
        }
    }

    #[test]
    fn lists_and_lists_of_maps_fit_into_cells() {
        let (nodes, mistakes) = read_one("id,scopes,credentials.id,credentials.type\na,r; w,k1;k2,access_key;\nb,,,\n");
        assert_eq!(mistakes, "");
        assert_eq!(shown(&nodes[0]), "{id=a scopes=[r w] credentials=[{id=k1 type=access_key} {id=k2 type=~}]}");
        assert_eq!(shown(&nodes[1]), "{id=b scopes=~ credentials=~}");
    }

    #[test]
    fn a_line_with_a_cell_too_few_is_named_and_the_rest_is_read() {
        let (nodes, mistakes) = read_one("id,purpose\na\n\"b\nb\",x\nc,y\n");
        assert_eq!(nodes.iter().map(|node| node.place.line).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(mistakes, "a.csv:2:1: error[cells]: found 1 cells, wanted 2 as in the header");
    }

    #[test]
    fn a_header_without_end_is_refused() {
        let header: Vec<String> = (0..=NUM_COLUMNS_MAX).map(|number| number.to_string()).collect();
        assert!(read_one(&header.join(",")).1.contains("101 columns"));
    }

    #[test]
    fn columns_that_say_the_same_are_refused() {
        for header in ["id,id", "credentials,credentials.id", "credentials.id,credentials"] {
            let (nodes, mistakes) = read_one(&format!("{header}\na,b\n"));
            assert!(nodes.is_empty() && mistakes.contains("duplicate-key"), "{header}: {mistakes}");
        }
    }
}
