//! The fields of raw events, as authors of mappings look at them: every path that ends at a plain value.
//!
//! For tools, not for the pipeline: here a tree of values is built.

use std::fmt;

use serde_json::Value;

/// One step towards a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    Key(String),
    /// Any element of an array.
    Element,
    /// Into JSON that a string holds.
    Text,
    /// A key that another value names; stands only in what a rule reads.
    AnyKey,
}

/// Where a field stands, whichever elements of arrays it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(pub Vec<Segment>);

impl FieldPath {
    /// The path one step down.
    pub fn below(&self, segment: Segment) -> FieldPath {
        FieldPath(self.0.iter().cloned().chain([segment]).collect())
    }

    /// The last key, which is what the vendor calls the field.
    pub fn name(&self) -> &str {
        let keys = self.0.iter().rev().filter_map(|segment| match segment {
            Segment::Key(key) => Some(key.as_str()),
            _ => None,
        });
        keys.take(1).next().unwrap_or_default()
    }

    pub fn is_in_text(&self) -> bool {
        self.0.contains(&Segment::Text)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            match segment {
                Segment::Key(key) => write!(f, "{dot}{}", Quoted(key))?,
                Segment::Element => f.write_str("[]")?,
                Segment::Text => f.write_str("(json)")?,
                Segment::AnyKey => write!(f, "{dot}*")?,
            }
        }
        Ok(())
    }
}

/// A key as a path writes it: in quotes where it could be taken for something else.
struct Quoted<'k>(&'k str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '@');
        if !self.0.is_empty() && self.0.chars().all(is_word) {
            f.write_str(self.0)
        } else {
            write!(f, "\"{}\"", self.0)
        }
    }
}

/// Calls `take` with every field of `event` that says something, in the order of the event.
pub fn each_field<'e>(event: &'e Value, take: &mut dyn FnMut(&FieldPath, &Value)) {
    visit(event, &FieldPath::default(), take);
}

fn visit(value: &Value, path: &FieldPath, take: &mut dyn FnMut(&FieldPath, &Value)) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                visit(value, &path.below(Segment::Key(key.clone())), take);
            }
        }
        Value::Array(elements) => {
            let path = path.below(Segment::Element);
            elements.iter().for_each(|element| visit(element, &path, take));
        }
        Value::String(text) if text.is_empty() || text == "-" => {}
        Value::Null => {}
        Value::String(text) => {
            take(path, value);
            if let Some(inside) = json_in(text) {
                visit(&inside, &path.below(Segment::Text), take);
            }
        }
        Value::Bool(_) | Value::Number(_) => take(path, value),
    }
}

/// The object or array that a text holds. Only the event's own strings are looked into, not those inside of these.
fn json_in(text: &str) -> Option<Value> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str(text).ok().filter(|value: &Value| value.is_object() || value.is_array())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_that_says_something_is_a_field() {
        let event = serde_json::json!({
            "a.b": [{ "c": 1 }, { "c": 2, "d": null }], "e": "{\"f\":true}", "g": "", "h": "-", "i": {}
        });
        let mut found = Vec::new();
        each_field(&event, &mut |path, value| found.push(format!("{path}={value}")));
        assert_eq!(found, ["\"a.b\"[].c=1", "\"a.b\"[].c=2", "e=\"{\\\"f\\\":true}\"", "e(json).f=true"]);
    }
}
