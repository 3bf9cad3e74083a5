//! CSV as nodes: a header names the keys, each line is an entry.
//!
//! A cell holds a text, or several with `;` between them where the key takes a list. A column `list.key` gives one key of the
//! list's elements, so that `credentials.id` and `credentials.type` go together by their order. An empty cell is
//! nothing.

use std::sync::Arc;

use super::json::LINE_BYTES_MAX;
use super::node::{Content, Key, Node};
use super::problem::{Origin, Place, Problems, quote};

/// What stands between the items of a list. Ids hold commas, colons, slashes and bars, but hardly ever this.
const ITEM_SEPARATOR: char = ';';

/// The entries of `text`. `is_list` says which keys take lists.
pub(super) fn read(file: &Arc<str>, text: &str, is_list: impl Fn(&str) -> bool, problems: &mut Problems) -> Vec<Node> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let header: Vec<String> = match reader.headers() {
        Ok(header) => header.iter().map(str::to_string).collect(),
        Err(error) => {
            report(file, &error, problems);
            return Vec::new();
        }
    };
    let mut nodes = Vec::new();
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                report(file, &error, problems);
                break;
            }
        };
        let line = record.position().map_or(1, |position| usize::try_from(position.line()).unwrap_or(usize::MAX));
        let place = Place { line, column: None };
        if record.len() != header.len() {
            let found = format!("{} cells", record.len());
            problems.add("cells", Origin::new(file, place), found, format!("{}, as in the header", header.len()));
            continue;
        }
        if record.as_slice().len() > LINE_BYTES_MAX {
            let found = format!("a line of {} bytes", record.as_slice().len());
            problems.add("too_long", Origin::new(file, place), found, format!("at most {LINE_BYTES_MAX}"));
            continue;
        }
        nodes.push(entry(place, header.iter().map(String::as_str).zip(record.iter()), &is_list));
    }
    nodes
}

fn entry<'r>(place: Place, cells: impl Iterator<Item = (&'r str, &'r str)>, is_list: impl Fn(&str) -> bool) -> Node {
    let node = |content| Node { place, content };
    let key = |name: &str| Key { place, name: name.to_string() };
    let mut pairs: Vec<(Key, Node)> = Vec::new();
    for (name, cell) in cells {
        if cell.is_empty() {
            // The key still counts, so that an unknown or doubled column is found also where it is empty.
            if !name.contains('.') {
                pairs.push((key(name), node(Content::Null)));
            }
            continue;
        }
        let items = || cell.split(ITEM_SEPARATOR).map(|item| text_or_nothing(place, item.trim()));
        match name.split_once('.') {
            Some((list, field)) => {
                let index = pairs.iter().position(|(key, _)| key.name == list).unwrap_or_else(|| {
                    pairs.push((key(list), node(Content::List(Vec::new()))));
                    pairs.len() - 1
                });
                if matches!(pairs[index].1.content, Content::Null) {
                    pairs[index].1.content = Content::List(Vec::new());
                }
                let Content::List(elements) = &mut pairs[index].1.content else { continue };
                for (position, item) in items().enumerate() {
                    if elements.len() <= position {
                        elements.push(node(Content::Map(Vec::new())));
                    }
                    if let Content::Map(fields) = &mut elements[position].content {
                        fields.push((key(field), item));
                    }
                }
            }
            None if is_list(name) => pairs.push((key(name), node(Content::List(items().collect())))),
            None => pairs.push((key(name), text_or_nothing(place, cell))),
        }
    }
    node(Content::Map(pairs))
}

fn text_or_nothing(place: Place, text: &str) -> Node {
    Node { place, content: if text.is_empty() { Content::Null } else { Content::Text(text.to_string()) } }
}

fn report(file: &Arc<str>, error: &csv::Error, problems: &mut Problems) {
    let origin = match error.position() {
        Some(position) => {
            let line = usize::try_from(position.line()).unwrap_or(usize::MAX);
            Origin::new(file, Place { line, column: None })
        }
        None => Origin::whole(file),
    };
    problems.add("syntax", origin, quote(&error.to_string()), "CSV with a header");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(text: &str) -> (Vec<Node>, Vec<String>) {
        let mut problems = Problems::default();
        let nodes = read(&"a.csv".into(), text, |key| key == "scopes", &mut problems);
        (nodes, problems.into_vec().iter().map(ToString::to_string).collect())
    }

    fn shown(node: &Node) -> String {
        match &node.content {
            Content::Null => "~".to_string(),
            Content::Text(text) => text.clone(),
            Content::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
            Content::Map(pairs) => {
                let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{}={}", key.name, shown(value))).collect();
                format!("{{{}}}", pairs.join(" "))
            }
        }
    }

    #[test]
    fn lists_and_lists_of_maps_fit_into_cells() {
        let (nodes, problems) = read_one("id,scopes,credentials.id,credentials.type\na,r; w,k1;k2,access_key;\n");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(shown(&nodes[0]), "{id=a scopes=[r w] credentials=[{id=k1 type=access_key} {id=k2 type=~}]}");
    }

    #[test]
    fn a_line_with_a_cell_too_few_is_named_and_the_rest_is_read() {
        let (nodes, problems) = read_one("id,purpose\na\n\"b\nb\",x\nc,y\n");
        assert_eq!(nodes.iter().map(|node| node.place.line).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(problems, ["a.csv:2: cells: found 1 cells; wanted 2, as in the header"]);
    }

    #[test]
    fn a_column_both_plain_and_dotted_is_not_lost_silently() {
        let (nodes, _) = read_one("credentials,credentials.id\n,k1\n");
        assert_eq!(shown(&nodes[0]), "{credentials=[{id=k1}]}");
    }
}
