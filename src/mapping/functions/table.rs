//! `table`: what a table says of a text. Tables stand in CSV files beside the mapping, or inline.

use std::collections::HashMap;
use std::sync::Arc;

use bumpalo::Bump;

use super::{Argument, Definition, Function, Gives, each_text};
use crate::mapping::evaluate::Operand;

pub const TABLE: Definition = Definition {
    name: "table",
    about: "the value that the table has for this text; keys with `*` are patterns, tried in order behind exact keys",
    argument: Argument::Table,
    gives: Gives::Checked,
    example: ("{ SUCCESS: success, \"FAIL*\": failure }", r#""FAILED""#, r#""failure""#),
    compile: |node, compiler| {
        let table = compiler.table(node)?;
        Some(Box::new(Lookup(table)))
    },
};

#[derive(Debug)]
struct Lookup(Arc<Table>);

impl Function for Lookup {
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String> {
        each_text(input, arena, |text| Ok(self.0.get(text)))
    }

    fn is_table(&self) -> bool {
        true
    }
}

/// Keys and values; a key may be a pattern.
#[derive(Debug, Default)]
pub struct Table {
    exact: HashMap<String, String>,
    /// The parts between the stars, in the order in which the table lists them.
    patterns: Vec<(Vec<String>, String)>,
}

impl Table {
    /// False if the key stands in the table already; its first value stays.
    pub fn add(&mut self, key: &str, value: &str) -> bool {
        if !key.contains('*') {
            let is_new = !self.exact.contains_key(key);
            self.exact.entry(key.to_string()).or_insert_with(|| value.to_string());
            return is_new;
        }
        let parts: Vec<String> = key.split('*').map(str::to_string).collect();
        let is_new = self.patterns.iter().all(|(other, _)| *other != parts);
        self.patterns.push((parts, value.to_string()));
        is_new
    }

    /// None also where the value is empty: a row may leave columns open.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self
            .exact
            .get(key)
            .or_else(|| self.patterns.iter().find(|(parts, _)| matches(parts, key)).map(|(_, value)| value));
        found.map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The pattern that takes every text that `key`, a pattern added after it, would take.
    pub fn forestalls(&self, key: &str) -> Option<String> {
        let (_, before) = self.patterns.split_last()?;
        // A star in `key` stands for any text, and no part of another pattern fits a star: only its stars do.
        before.iter().find(|(parts, _)| matches(parts, key)).map(|(parts, _)| parts.join("*"))
    }

    pub fn num_patterns(&self) -> usize {
        self.patterns.len()
    }

    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }
}

/// Whether `text` starts with the first part, ends with the last, and has the others between them in order.
fn matches(parts: &[String], text: &str) -> bool {
    let [first, middle @ .., last] = parts else { return false };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    for part in middle {
        let Some(at) = rest.find(part.as_str()) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_keys_go_before_patterns_and_patterns_in_order() {
        let mut table = Table::default();
        for (key, value) in
            [("Get*", "read"), ("*Key", "credential"), ("GetKey", "exact"), ("a*b*c", "both"), ("E", "")]
        {
            assert!(table.add(key, value));
        }
        assert!(!table.add("GetKey", "again"));
        assert_eq!(table.forestalls("a*c"), None);
        table.add("GetBig*", "never");
        assert_eq!(table.forestalls("GetBig*").as_deref(), Some("Get*"));
        for (key, wanted) in [
            ("GetKey", Some("exact")),
            ("GetBigKey", Some("read")),
            ("PutKey", Some("credential")),
            ("a-b-c", Some("both")),
            ("ac", None),
            ("E", None),
        ] {
            assert_eq!(table.get(key), wanted, "{key}");
        }
    }
}
