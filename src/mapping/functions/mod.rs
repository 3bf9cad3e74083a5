//! The functions of the mapping language: one file a family, one line each in [`ALL`].
//!
//! A function changes one value. It sees nothing but its input and what its author wrote, and it cannot fail a
//! run: a value that it cannot work with is a complaint, which becomes an issue of the row.

pub mod address;
mod affix;
mod cut;
mod hex_of_base64;
mod json;
mod letters;
mod one_of;
mod regex;
pub mod table;
pub mod time;
mod verb_of;

use std::fmt;

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;

use super::compile::Compiler;
use super::evaluate::Operand;
use crate::yaml::Node;

/// A function with its argument, ready to run.
pub trait Function: Send + Sync + fmt::Debug {
    /// # Errors
    /// Says why a value that is there cannot be worked with.
    fn apply<'a>(&'a self, input: Operand<'a>, arena: &'a Bump) -> Result<Operand<'a>, String>;

    /// Whether it looks its input up, and so has no value for a text that its author did not list.
    fn is_table(&self) -> bool {
        false
    }
}

/// What a function gives, as far as the compiler needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    Text,
    Time,
    List,
    /// One of the values of `action_verb`.
    Verb,
    /// A value that the table's author wrote, checked against the column's closed set.
    Checked,
}

/// What an author writes behind a function's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    True,
    Text,
    TextOrTexts,
    Number,
    /// One of these, or a list of them.
    Words(&'static [&'static str]),
    /// A file name, or keys and values.
    Table,
    /// Keys and values.
    Texts,
}

/// A function as authors know it.
pub struct Definition {
    pub name: &'static str,
    pub about: &'static str,
    pub argument: Argument,
    pub gives: Gives,
    /// Argument, input and output as JSON (`null`: no value), for documents; a test holds them true.
    pub example: (&'static str, &'static str, &'static str),
    pub compile: fn(&Node, &mut Compiler<'_>) -> Option<Box<dyn Function>>,
}

/// Every function, in the order in which documents list them.
pub const ALL: &[Definition] = &[
    time::TIME,
    regex::REGEX,
    table::TABLE,
    letters::LOWER,
    letters::UPPER,
    letters::TRIM,
    letters::REPLACE,
    letters::MAX_CHARS,
    affix::STRIP_PREFIX,
    affix::STRIP_SUFFIX,
    affix::PREPEND,
    affix::APPEND,
    cut::BEFORE,
    cut::AFTER,
    cut::BEFORE_LAST,
    cut::AFTER_LAST,
    cut::SPLIT,
    hex_of_base64::HEX_OF_BASE64,
    address::IP,
    address::NOT_IP,
    verb_of::VERB_OF,
    one_of::ONE_OF,
    json::JSON,
];

pub fn find(name: &str) -> Option<&'static Definition> {
    ALL.iter().find(|definition| definition.name == name)
}

/// Applies `change` to a text, or to every text of a list.
fn each_text<'a>(
    input: Operand<'a>,
    arena: &'a Bump,
    change: impl Fn(&'a str) -> Result<Option<&'a str>, String>,
) -> Result<Operand<'a>, String> {
    let is_list = match input {
        Operand::List(_) => true,
        Operand::Json(json) => json.is_array(),
        _ => false,
    };
    if !is_list {
        let text = input.text(arena).ok_or("an object or list where text was wanted")?;
        return Ok(change(text)?.map_or(Operand::Missing, Operand::Text));
    }
    let mut list = ArenaVec::new_in(arena);
    for text in input.texts(arena) {
        list.extend(change(text)?);
    }
    Ok(Operand::List(list.into_bump_slice()))
}

#[cfg(test)]
mod tests {
    use super::super::json::Json;
    use super::*;
    use crate::diagnostic::Diagnostics;

    fn output(definition: &Definition, argument: &str, input: &str) -> String {
        let mut diagnostics = Diagnostics::default();
        let node = crate::yaml::read("example.yaml", argument, &mut diagnostics).expect("the argument is YAML");
        let files = std::collections::BTreeMap::new();
        let function = {
            let mut compiler = Compiler::new("example", &files, &mut diagnostics);
            (definition.compile)(&node, &mut compiler)
        };
        assert_eq!(diagnostics.to_string(), "", "{}", definition.name);
        let function = function.expect("it compiles");
        let arena = Bump::new();
        let result = function.apply(Operand::Json(Json::new(arena.alloc_str(input))), &arena);
        let value = match result.expect("the example works") {
            Operand::Text(text) => crate::activity::Value::Text(text),
            Operand::List(list) => crate::activity::Value::TextList(list),
            Operand::Time(micros) => crate::activity::Value::Time(micros),
            Operand::Json(json) => return json.as_str().to_string(),
            _ => crate::activity::Value::Null,
        };
        let mut out = Vec::new();
        crate::activity::json::write_value(&mut out, value);
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    #[test]
    fn every_example_is_true() {
        for definition in ALL {
            let (argument, input, wanted) = definition.example;
            assert_eq!(output(definition, argument, input), wanted, "{}", definition.name);
        }
    }
}
