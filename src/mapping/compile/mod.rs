//! The compiler: from files as authors wrote them to plans that run.
//!
//! It reports every mistake that it can find in one go, and never stops at the first. It reads no files itself:
//! the caller hands it all of them.

mod condition;
mod expression;
mod fragment;
mod mapping;
mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use mapping::{compile_mapping, may_set};

use super::functions::{Function, table::Table};
use super::grammar::Part;
use super::path::{Path, Root, Step};
use super::plan::{NamedCondition, Reference, Scope, Variable};
use super::projection::Projection;
use crate::activity::Kind;
use crate::activity::taxonomy::ClosedSet;
use crate::diagnostic::{Diagnostics, Place};
use crate::yaml::Node;

/// The files of the mapping folder, by path inside it with `/`.
pub type Files = BTreeMap<String, String>;

/// Largest compiled regular expression. Enough for any pattern that a person reads, far from what exhausts memory.
const REGEX_NUM_BYTES_MAX: usize = 1 << 20;

/// What is known while one mapping is compiled.
pub struct Compiler<'c> {
    /// The folder of the file that is being compiled: a source, or `_shared`.
    folder: String,
    files: &'c Files,
    diagnostics: &'c mut Diagnostics,
    /// The name under which a fragment was taken in, while it is compiled.
    fragment: Option<String>,
    event: Projection,
    item: Option<Projection>,
    nested: Vec<(String, Reference, Projection)>,
    /// The elements that are being looked into, innermost last.
    elements: Vec<Projection>,
    variables: Vec<Variable>,
    variable_kinds: Vec<Option<Kind>>,
    conditions: Vec<NamedCondition>,
    tables: HashMap<(String, Option<String>), Option<Arc<Table>>>,
    context_names: Vec<String>,
    /// The closed set that the value at hand must be one of.
    closed: Option<ClosedSet>,
    /// The column that a table beside the function at hand should be read from.
    table_column: Option<String>,
}

impl<'c> Compiler<'c> {
    pub fn new(folder: &str, files: &'c Files, diagnostics: &'c mut Diagnostics) -> Compiler<'c> {
        Compiler {
            folder: folder.to_string(),
            files,
            diagnostics,
            fragment: None,
            event: Projection::default(),
            item: None,
            nested: Vec::new(),
            elements: Vec::new(),
            variables: Vec::new(),
            variable_kinds: Vec::new(),
            conditions: Vec::new(),
            tables: HashMap::new(),
            context_names: Vec::new(),
            closed: None,
            table_column: None,
        }
    }

    /// What a path leads to.
    fn reference(&mut self, text: &str, place: &Place) -> Option<Reference> {
        let path = match Path::parse(text) {
            Ok(path) => path,
            Err(mistake) => {
                self.diagnostics.error("bad-path", place, format!("{mistake} in the path `{text}`"));
                return None;
            }
        };
        let written: Arc<str> = text.into();
        match path.root {
            Root::Here => match self.elements.last_mut() {
                Some(_) if path.steps.is_empty() => Some(Reference::Element),
                Some(projection) => {
                    let slot = projection.add(&path.steps);
                    Some(Reference::Slot { scope: Scope::Element, slot, text: written })
                }
                None if path.steps.is_empty() => {
                    self.diagnostics
                        .error("bad-path", place, "found `.` outside of `pick`, `each` and `any_item`")
                        .help("`.` is the element at hand; name a field of the event");
                    None
                }
                None => Some(self.event_reference(&path.steps, written)),
            },
            Root::Event => Some(self.event_reference(&path.steps, written)),
            Root::Item => match &mut self.item {
                Some(projection) => {
                    let slot = projection.add(&path.steps);
                    Some(Reference::Slot { scope: Scope::Item, slot, text: written })
                }
                None => {
                    self.diagnostics
                        .error("bad-path", place, "found `$item` in a mapping without `split`")
                        .help("`split: path` names the array whose elements become activities");
                    None
                }
            },
            Root::Context(name) => {
                if !self.context_names.contains(&name) {
                    self.context_names.push(name.clone());
                }
                Some(Reference::Context(name))
            }
            Root::Variable(name) => self.variable_reference(&name, written, place),
        }
    }

    fn event_reference(&mut self, steps: &[Step], text: Arc<str>) -> Reference {
        if let [Step::Key(first), rest @ ..] = steps
            && let Some(index) = self.nested.iter().position(|(name, ..)| name == first)
        {
            let slot = self.nested[index].2.add(rest);
            return Reference::Slot { scope: Scope::Nested(index), slot, text };
        }
        Reference::Slot { scope: Scope::Event, slot: self.event.add(steps), text }
    }

    fn variable_reference(&mut self, name: &str, text: Arc<str>, place: &Place) -> Option<Reference> {
        let full_name = self.full_name(name);
        match self.variables.iter().position(|variable| variable.name == full_name) {
            Some(index) => Some(Reference::Variable { index, text }),
            None => {
                let names: Vec<String> = self.variables.iter().map(|variable| variable.name.clone()).collect();
                self.diagnostics
                    .error("unknown-variable", place, format!("found `${name}`, which no `let` before this defines"))
                    .did_you_mean(&full_name, names.iter().map(String::as_str));
                None
            }
        }
    }

    /// A name of the fragment at hand, or of the mapping.
    fn full_name(&self, name: &str) -> String {
        match &self.fragment {
            Some(fragment) => format!("{fragment}.{name}"),
            None => name.to_string(),
        }
    }

    /// Refuses keys that `part` does not list, and names those that it wants.
    fn check_keys(&mut self, node: &Node, part: &Part) -> bool {
        let Some(entries) = node.entries() else {
            self.diagnostics.error(
                "wrong-type",
                &node.place,
                format!("found {}, wanted the keys of a {}", node.kind(), part.name),
            );
            return false;
        };
        for (key, _) in entries {
            let name = key.text().unwrap_or_default();
            if part.find(name).is_none() {
                let names = part.keys.iter().map(|key| key.name);
                self.diagnostics
                    .error(
                        "unknown-key",
                        &key.place,
                        format!("found the key `{name}`, which a {} does not have", part.name),
                    )
                    .did_you_mean(name, names);
            }
        }
        for key in part.keys.iter().filter(|key| key.required && node.get(key.name).is_none()) {
            self.diagnostics
                .error("missing-key", &node.place, format!("found no `{}`, which a {} must have", key.name, part.name))
                .help(format!("`{}`: {}", key.name, key.about));
        }
        true
    }

    /// A text, or a mistake.
    pub fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        let text = node.text();
        if text.is_none() {
            self.wrong_argument(node, "a text");
        }
        text
    }

    /// One text or a list of them.
    pub fn texts(&mut self, node: &Node) -> Option<Vec<String>> {
        let items = node.sequence().unwrap_or(std::slice::from_ref(node));
        let texts: Vec<String> = items.iter().filter_map(|item| self.text(item)).map(str::to_string).collect();
        if texts.len() < items.len() {
            return None;
        }
        if texts.is_empty() {
            self.wrong_argument(node, "at least one text");
            return None;
        }
        Some(texts)
    }

    pub fn wrong_argument(&mut self, node: &Node, wanted: &str) {
        self.diagnostics.error("wrong-type", &node.place, format!("found {}, wanted {wanted}", node.kind()));
    }

    /// A function whose only argument is `true`.
    pub fn only_true<F: Function + 'static>(&mut self, node: &Node, function: F) -> Option<Box<dyn Function>> {
        if node.truth() == Some(true) {
            return Some(Box::new(function));
        }
        self.wrong_argument(node, "`true`");
        None
    }

    /// A function whose argument is a text with something in it.
    pub fn with_text<F: Function + 'static>(
        &mut self,
        node: &Node,
        make: impl FnOnce(String) -> F,
    ) -> Option<Box<dyn Function>> {
        let text = self.text(node)?;
        if text.is_empty() {
            self.wrong_argument(node, "a text with something in it");
            return None;
        }
        Some(Box::new(make(text.to_string())))
    }

    pub fn regex(&mut self, node: &Node) -> Option<regex::Regex> {
        self.regex_with(node, false)
    }

    fn regex_with(&mut self, node: &Node, ignore_case: bool) -> Option<regex::Regex> {
        let pattern = self.text(node)?;
        let built = regex::RegexBuilder::new(pattern)
            .case_insensitive(ignore_case)
            .size_limit(REGEX_NUM_BYTES_MAX)
            .dfa_size_limit(REGEX_NUM_BYTES_MAX)
            .build();
        match built {
            Ok(regex) => Some(regex),
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
                self.diagnostics
                    .error(
                        "bad-regex",
                        &node.place,
                        format!("found a regular expression that does not compile: {reason}"),
                    )
                    .help("the syntax is that of the regex crate: no look-around and no back-references");
                None
            }
        }
    }

    /// Refuses a text that the column at hand cannot hold.
    pub fn check_closed(&mut self, text: &str, place: &Place) {
        if let Some(set) = self.closed {
            self.check_in(&set, text, place);
        }
    }

    fn check_in(&mut self, set: &ClosedSet, text: &str, place: &Place) -> bool {
        if set.find(text).is_some() {
            return true;
        }
        self.diagnostics
            .error("not-in-taxonomy", place, format!("found `{text}`, which is no value of `{}`", set.name))
            .did_you_mean(text, set.terms.iter().map(|term| term.value));
        false
    }

    /// Runs `compile` as seen from an element, and gives what it reads there.
    fn inside_element<T>(&mut self, compile: impl FnOnce(&mut Self) -> T) -> (T, Projection) {
        self.elements.push(Projection::default());
        let result = compile(self);
        (result, self.elements.pop().unwrap_or_default())
    }
}
