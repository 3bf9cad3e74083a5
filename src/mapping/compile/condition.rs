//! Compiling conditions and the tests in them.

use super::super::grammar::{CONDITION_WORDS, TESTS};
use super::super::plan::{Check, Condition, Reference, Test, Want};
use super::Compiler;
use crate::organisation::OwnedKind;
use crate::yaml::{Content, Node};

/// Tests that compare exactly, whatever stands beside them: what they ask lists its entries as they are. A test inside `not`
/// says for itself whether it ignores case.
const EXACT_TESTS: [&str; 4] = ["in_table", "own", "foreign", "not"];

impl Compiler<'_> {
    /// The condition that `node` writes.
    pub(super) fn condition(&mut self, node: &Node) -> Option<Condition> {
        let Some(entries) = node.entries() else {
            self.diagnostics
                .error("wrong-type", &node.place, format!("found {}, wanted a condition", node.kind()))
                .help("a condition is `{ path: test }`, or `all`, `any`, `not`, `has`, `missing`, `holds`");
            return None;
        };
        let conditions: Vec<Condition> =
            entries.iter().filter_map(|(key, value)| self.part_of_condition(key, value)).collect();
        if conditions.len() < entries.len() {
            return None;
        }
        Some(match <[Condition; 1]>::try_from(conditions) {
            Ok([condition]) => condition,
            Err(conditions) => Condition { place: node.place.clone(), check: Check::All(conditions) },
        })
    }

    fn part_of_condition(&mut self, key: &Node, value: &Node) -> Option<Condition> {
        let word = key.text().unwrap_or_default();
        let check = match word {
            "all" => Check::All(self.conditions_of(value)?),
            "any" => Check::Any(self.conditions_of(value)?),
            "not" => Check::Not(Box::new(self.condition(value)?)),
            "has" => Check::Has(self.references(value)?),
            "has_any" => Check::HasAny(self.references(value)?),
            "missing" => Check::Missing(self.references(value)?),
            "holds" => {
                let names = self.texts(value)?;
                let mut conditions = Vec::new();
                for name in &names {
                    let index = self.named_condition(name, value)?;
                    conditions.push(Condition { place: value.place.clone(), check: Check::Holds(index) });
                }
                Check::All(conditions)
            }
            path => {
                let operand = self.operand(path, key)?;
                Check::Test { operand, test: self.test(value)? }
            }
        };
        Some(Condition { place: key.place.clone(), check })
    }

    /// The field that a test is about. A word close to one of a condition's own is more likely a slip than a field.
    fn operand(&mut self, path: &str, key: &Node) -> Option<Reference> {
        if TESTS.find(path).is_some() && CONDITION_WORDS.find(path).is_none() && path != "prefix" {
            self.diagnostics
                .error("bad-condition", &key.place, format!("found the test `{path}` where a path was wanted"))
                .help(format!(
                    "write `{{ some.field: {{ {path}: … }} }}`; a field of this name is `\"{path}\"` in quotes"
                ));
            return None;
        }
        self.reference(path, &key.place)
    }

    fn conditions_of(&mut self, node: &Node) -> Option<Vec<Condition>> {
        let Some(items) = node.sequence().filter(|items| !items.is_empty()) else {
            self.wrong_argument(node, "a list of conditions");
            return None;
        };
        let conditions: Vec<Condition> = items.iter().filter_map(|item| self.condition(item)).collect();
        (conditions.len() == items.len()).then_some(conditions)
    }

    fn references(&mut self, node: &Node) -> Option<Vec<Reference>> {
        let items = node.sequence().unwrap_or(std::slice::from_ref(node));
        let mut references = Vec::new();
        for item in items {
            let text = self.text(item)?;
            references.push(self.reference(text, &item.place)?);
        }
        Some(references)
    }

    fn named_condition(&mut self, name: &str, node: &Node) -> Option<usize> {
        let full_name = self.full_name(name);
        let found = self.conditions.iter().position(|condition| condition.name == full_name);
        if found.is_none() {
            let names: Vec<String> = self.conditions.iter().map(|condition| condition.name.clone()).collect();
            self.diagnostics
                .error(
                    "unknown-condition",
                    &node.place,
                    format!("found `{name}`, which no `conditions` before this defines"),
                )
                .did_you_mean(name, names.iter().map(String::as_str));
        }
        found
    }

    fn test(&mut self, node: &Node) -> Option<Test> {
        let mut test = Test { ignore_case: false, wants: Vec::new() };
        match &node.content {
            Content::Scalar { text, .. } => test.wants.push(Want::OneOf(vec![text.clone()])),
            Content::Sequence(_) => test.wants.push(Want::OneOf(self.texts(node)?)),
            Content::Mapping(entries) => {
                test.ignore_case = node.get("ignore_case").and_then(Node::truth).unwrap_or(false);
                for (key, value) in entries {
                    if test.ignore_case && EXACT_TESTS.contains(&key.text().unwrap_or_default()) {
                        let name = key.text().unwrap_or_default();
                        self.diagnostics
                            .error("bad-condition", &key.place, format!("found `{name}` with `ignore_case`, which it does not follow"))
                            .help("give the value a `let` with `lower: true`, or write the test beside this one with `all`");
                        return None;
                    }
                    let want = self.want(key, value, test.ignore_case)?;
                    test.wants.extend(want);
                }
                if test.wants.is_empty() {
                    self.wrong_argument(node, "at least one test");
                    return None;
                }
            }
            Content::Null => {
                self.diagnostics
                    .error("wrong-type", &node.place, "found nothing where a test was wanted")
                    .help("`{ exists: false }` asks whether there is no value");
                return None;
            }
        }
        Some(test)
    }

    /// The outer None is a mistake, the inner one a key that asks nothing.
    fn want(&mut self, key: &Node, value: &Node, ignore_case: bool) -> Option<Option<Want>> {
        let texts = |compiler: &mut Self| {
            let texts = compiler.texts(value)?;
            Some(if ignore_case { texts.iter().map(|text| text.to_lowercase()).collect() } else { texts })
        };
        let name = key.text().unwrap_or_default();
        Some(Some(match name {
            "ignore_case" => match value.truth() {
                Some(_) => return Some(None),
                None => {
                    self.wrong_argument(value, "`true` or `false`");
                    return None;
                }
            },
            "exists" => match value.truth() {
                Some(truth) => Want::Exists(truth),
                None => {
                    self.wrong_argument(value, "`true` or `false`");
                    return None;
                }
            },
            "equals" => Want::OneOf(texts(self)?),
            "prefix" => Want::Prefix(texts(self)?),
            "suffix" => Want::Suffix(texts(self)?),
            "contains" => Want::Contains(texts(self)?),
            "has_item" => Want::HasItem(texts(self)?),
            "matches" => Want::Matches(self.regex_with(value, ignore_case)?),
            "in_table" => Want::InTable(self.table(value)?),
            "cidr" => Want::Cidr(self.networks(value)?),
            "any_item" => {
                let (condition, projection) = self.inside_element(|inside| inside.condition(value));
                Want::AnyItem { projection, condition: Box::new(condition?) }
            }
            "same_as" => {
                let text = self.text(value)?;
                Want::SameAs(self.reference(text, &value.place)?)
            }
            "own" => Want::Own(self.owned_kind(value)?),
            "foreign" => Want::Foreign(self.owned_kind(value)?),
            "not" => Want::Not(self.test(value)?),
            _ => {
                self.diagnostics
                    .error("unknown-key", &key.place, format!("found `{name}`, which is no test"))
                    .did_you_mean(name, TESTS.keys.iter().map(|key| key.name));
                return None;
            }
        }))
    }

    fn networks(&mut self, node: &Node) -> Option<Vec<ipnet::IpNet>> {
        let texts = self.texts(node)?;
        let networks: Vec<ipnet::IpNet> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        if networks.len() < texts.len() {
            self.wrong_argument(node, "networks such as 192.0.2.0/24");
            return None;
        }
        Some(networks)
    }

    fn owned_kind(&mut self, node: &Node) -> Option<OwnedKind> {
        let name = self.text(node)?;
        let kind = OwnedKind::parse(name);
        if kind.is_none() {
            self.diagnostics
                .error(
                    "unknown-key",
                    &node.place,
                    format!("found `{name}`, which is nothing that an organisation lists"),
                )
                .did_you_mean(name, OwnedKind::ALL.map(OwnedKind::as_str));
        }
        kind
    }
}
