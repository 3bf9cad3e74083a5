//! Taking in fragments: what several mappings share, with the parameters that differ.

use super::super::grammar::FRAGMENT;
use super::super::plan::{NamedCondition, Variable};
use super::Compiler;
use super::expression::kind_of;
use crate::yaml::{self, Node};

/// The folder of fragments and shared tables.
pub const SHARED: &str = "_shared";

/// What `$` leads to without any `let`.
const RESERVED_NAMES: [&str; 3] = ["event", "item", "context"];

impl Compiler<'_> {
    /// Takes in every fragment that `use` names.
    pub(super) fn fragments(&mut self, node: &Node) {
        let Some(entries) = node.entries() else {
            self.wrong_argument(node, "names, each with `fragment` and its parameters");
            return;
        };
        for (name, arguments) in entries {
            self.fragment(name.text().unwrap_or_default(), arguments);
        }
    }

    fn fragment(&mut self, name: &str, arguments: &Node) {
        let Some(file_node) = arguments.get("fragment") else {
            self.diagnostics.error(
                "missing-key",
                &arguments.place,
                "found no `fragment`, which names the file in `_shared`",
            );
            return;
        };
        let path = format!("{SHARED}/{}.yaml", file_node.text().unwrap_or_default());
        let Some(text) = self.files.get(&path) else {
            let fragments: Vec<&str> = self
                .files
                .keys()
                .filter(|file| file.starts_with(SHARED) && file.ends_with(".yaml"))
                .map(String::as_str)
                .collect();
            self.diagnostics
                .error(
                    "unknown-fragment",
                    &file_node.place,
                    format!("found `{path}`, which is no file of the mapping folder"),
                )
                .did_you_mean(&path, fragments);
            return;
        };
        let Some(fragment) = yaml::read(&path, text, self.diagnostics) else { return };
        if !self.check_keys(&fragment, &FRAGMENT) {
            return;
        }
        let parameters: Vec<&str> = fragment
            .get("parameters")
            .and_then(Node::sequence)
            .unwrap_or_default()
            .iter()
            .filter_map(Node::text)
            .collect();
        for (key, _) in arguments.entries().unwrap_or_default() {
            let given = key.text().unwrap_or_default();
            if given != "fragment" && !parameters.contains(&given) {
                self.diagnostics
                    .error("unknown-key", &key.place, format!("found `{given}`, which is no parameter of `{path}`"))
                    .did_you_mean(given, parameters.iter().copied());
            }
        }
        for parameter in parameters {
            match arguments.get(parameter) {
                Some(value) => self.variable(&format!("{name}.{parameter}"), value),
                None => {
                    self.diagnostics.error(
                        "missing-key",
                        &arguments.place,
                        format!("found no `{parameter}`, which is a parameter of `{path}`"),
                    );
                }
            }
        }
        let folder = std::mem::replace(&mut self.folder, SHARED.to_string());
        self.fragment = Some(name.to_string());
        self.lets_and_conditions(&fragment);
        self.fragment = None;
        self.folder = folder;
    }

    /// The `let` and `conditions` of a mapping or a fragment.
    pub(super) fn lets_and_conditions(&mut self, node: &Node) {
        for (key, wanted) in [("let", "names and expressions"), ("conditions", "names and conditions")] {
            if let Some(value) = node.get(key).filter(|value| value.entries().is_none()) {
                self.wrong_argument(value, wanted);
            }
        }
        for (name, value) in node.get("let").and_then(Node::entries).unwrap_or_default() {
            let name = self.full_name(name.text().unwrap_or_default());
            self.variable(&name, value);
        }
        for (name, value) in node.get("conditions").and_then(Node::entries).unwrap_or_default() {
            let name = self.full_name(name.text().unwrap_or_default());
            if let Some(condition) = self.condition(value) {
                self.conditions.push(NamedCondition { name, condition });
            }
        }
    }

    fn variable(&mut self, name: &str, node: &Node) {
        if RESERVED_NAMES.contains(&name) {
            self.diagnostics
                .error("reserved-name", &node.place, format!("found the name `{name}`, which `${name}` cannot read"))
                .help(format!("{} stand for what the event brings; take another name", RESERVED_NAMES.join(", ")));
            return;
        }
        if let Some(value) = self.expression(node, None) {
            let kind = kind_of(&value, &self.variable_kinds, gives_time(node));
            self.variables.push(Variable { name: name.to_string(), value });
            self.variable_kinds.push(kind);
        }
    }
}

/// Whether an expression is a time: every way through it ends in the function `time`.
fn gives_time(node: &Node) -> bool {
    if let Some(choices) = node.sequence().or_else(|| node.get("first").and_then(Node::sequence)) {
        return choices.iter().all(gives_time);
    }
    node.get("time").is_some() && node.get("otherwise").is_none_or(gives_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_known_through_fallbacks() {
        for (text, wanted) in [
            ("[{path: a, time: utc}, {path: b, time: utc}]", true),
            ("[{path: a, time: utc}, b]", false),
            ("{path: a, time: utc, otherwise: b}", false),
        ] {
            let node = yaml::read("m.yaml", text, &mut crate::diagnostic::Diagnostics::default()).expect("valid");
            assert_eq!(gives_time(&node), wanted, "{text}");
        }
    }
}
