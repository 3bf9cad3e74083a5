//! Compiling a whole mapping file.

use super::super::grammar::{CASE, GAP, MAPPING};
use super::super::plan::{Case, ColumnRule, Condition, Gap, Nested, Plan, Reference, Split};
use super::super::projection::Projection;
use super::expression::{always, says_nothing};
use super::{Compiler, Files};
use crate::activity::taxonomy::{ActorType, Basis, ClosedSet};
use crate::activity::{COLUMNS, Column, SetBy};
use crate::diagnostic::Diagnostics;
use crate::yaml::{self, Node};

/// A compiled mapping, and its recognition once more for a scan that all mappings share.
pub struct Compiled {
    pub plan: Plan,
    /// Reads from the shared projection.
    pub recognise: Condition,
}

/// Compiles `<source>/mapping.yaml`. None if there are mistakes, which are all in `diagnostics` then.
pub fn compile_mapping(
    source: &str,
    files: &Files,
    shared: &mut Projection,
    diagnostics: &mut Diagnostics,
) -> Option<Compiled> {
    let path = format!("{source}/mapping.yaml");
    let num_mistakes = diagnostics.0.len();
    let root = yaml::read(&path, files.get(&path)?, diagnostics)?;
    let recognise = {
        let mut recogniser = Compiler::new(source, files, diagnostics);
        recogniser.event = std::mem::take(shared);
        let recognise = root.get("recognise").and_then(|node| recogniser.condition(node));
        *shared = std::mem::take(&mut recogniser.event);
        recognise
    };
    let mut compiler = Compiler::new(source, files, diagnostics);
    let plan = compiler.mapping(&root);
    if diagnostics.0[num_mistakes..].iter().any(|mistake| mistake.severity == crate::diagnostic::Severity::Error) {
        return None;
    }
    Some(Compiled { plan: plan?, recognise: recognise? })
}

impl Compiler<'_> {
    fn mapping(&mut self, root: &Node) -> Option<Plan> {
        if !self.check_keys(root, &MAPPING) {
            return None;
        }
        let source = self.word(root, "source");
        if source != self.folder
            && let Some(node) = root.get("source")
        {
            let folder = self.folder.clone();
            self.diagnostics.error(
                "wrong-source",
                &node.place,
                format!("found `{source}`, wanted `{folder}`, the name of the folder"),
            );
        }
        // Recognition stands on the event alone: it comes before everything that the mapping defines.
        let recognise = root.get("recognise").and_then(|node| self.condition(node));
        let mut nested_texts = Vec::new();
        if let Some(node) = root.get("nested_json").filter(|node| node.entries().is_none()) {
            self.wrong_argument(node, "names and paths");
        }
        for (name, path) in root.get("nested_json").and_then(Node::entries).unwrap_or_default() {
            let text = path.text().unwrap_or_default();
            if let Some(reference) = self.reference(text, &path.place) {
                nested_texts.push((name.text().unwrap_or_default().to_string(), reference));
            }
        }
        self.nested = nested_texts.into_iter().map(|(name, text)| (name, text, Projection::default())).collect();
        let split = root.get("split").and_then(|node| {
            let text = self.text(node)?;
            self.reference(text, &node.place)
        });
        if split.is_some() {
            self.item = Some(Projection::default());
        }
        if let Some(fragments) = root.get("use") {
            self.fragments(fragments);
        }
        self.lets_and_conditions(root);
        let columns = root.get("columns").map(|node| self.columns(node)).unwrap_or_default();
        let cases = root.get("actor_type").map(|node| self.cases(node)).unwrap_or_default();
        Some(self.plan(root, source, recognise?, split, columns, cases))
    }

    fn plan(
        &mut self,
        root: &Node,
        source: String,
        recognise: Condition,
        split: Option<Reference>,
        columns: Vec<ColumnRule>,
        cases: Vec<Case>,
    ) -> Plan {
        let item = self.item.take();
        Plan {
            source,
            title: self.word(root, "title"),
            documentation: self.word(root, "documentation"),
            aliases: self.words(root, "aliases"),
            cannot_tell: self.gaps(root),
            place: root.place.clone(),
            recognise,
            event: std::mem::take(&mut self.event),
            nested: std::mem::take(&mut self.nested)
                .into_iter()
                .map(|(name, text, projection)| Nested { name, text, projection })
                .collect(),
            split: split.zip(item).map(|(array, projection)| Split { array, projection }),
            variables: std::mem::take(&mut self.variables),
            conditions: std::mem::take(&mut self.conditions),
            columns,
            cases,
            context_names: std::mem::take(&mut self.context_names),
        }
    }

    fn word(&mut self, root: &Node, key: &str) -> String {
        root.get(key).and_then(|node| self.text(node)).unwrap_or_default().to_string()
    }

    fn words(&mut self, root: &Node, key: &str) -> Vec<String> {
        match root.get(key) {
            Some(node) if node.sequence().is_some_and(<[Node]>::is_empty) => Vec::new(),
            Some(node) => self.texts(node).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    fn gaps(&mut self, root: &Node) -> Vec<Gap> {
        let Some(node) = root.get("cannot_tell") else { return Vec::new() };
        let Some(items) = node.sequence() else {
            self.wrong_argument(node, "a list of texts, or of `gap` and `compensating_control`");
            return Vec::new();
        };
        let mut gaps = Vec::new();
        for item in items {
            if item.entries().is_none() {
                let gap = self.text(item).map(|gap| Gap { gap: gap.to_string(), compensating_control: None });
                gaps.extend(gap);
            } else if self.check_keys(item, &GAP) {
                let control = item.get("compensating_control").and_then(|node| self.text(node)).map(str::to_string);
                gaps.push(Gap { gap: self.word(item, "gap"), compensating_control: control });
            }
        }
        gaps
    }

    /// Expressions for columns, in the order of the schema.
    fn columns(&mut self, node: &Node) -> Vec<ColumnRule> {
        let Some(entries) = node.entries() else {
            self.wrong_argument(node, "columns and expressions");
            return Vec::new();
        };
        let mut rules = Vec::new();
        for (key, value) in entries {
            let name = key.text().unwrap_or_default();
            let Some(column) = Column::parse(name) else {
                let names = COLUMNS.iter().filter(|info| may_set(info.column)).map(|info| info.name);
                self.diagnostics
                    .error("unknown-column", &key.place, format!("found `{name}`, which is no column of the schema"))
                    .did_you_mean(name, names);
                continue;
            };
            if !may_set(column) {
                let diagnostic = self.diagnostics.error(
                    "unknown-column",
                    &key.place,
                    format!("found `{name}`, which no mapping sets"),
                );
                if column == Column::ActorType {
                    diagnostic.help("the cases of `actor_type` decide it");
                }
                continue;
            }
            if let Some(value) = self.expression(value, Some(column.info().kind)) {
                rules.push(ColumnRule { column, value });
            }
        }
        rules.sort_by_key(|rule| rule.column);
        rules
    }

    fn cases(&mut self, node: &Node) -> Vec<Case> {
        let Some(items) = node.sequence().filter(|items| !items.is_empty()) else {
            self.wrong_argument(node, "a list of cases");
            return Vec::new();
        };
        let mut cases: Vec<Case> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if !self.check_keys(item, &CASE) {
                continue;
            }
            let name = self.word(item, "case");
            if let Some(first) = cases.iter().find(|case| case.name == name) {
                let line = first.place.line;
                self.diagnostics.error(
                    "duplicate-key",
                    &item.place,
                    format!("found the case `{name}` twice; it stands in line {line} already"),
                );
            }
            if item.get("when").is_none_or(says_nothing) && index + 1 < items.len() {
                self.diagnostics
                    .error("unreachable", &items[index + 1].place, "found a case behind one that always holds")
                    .help(format!("give the case `{name}` a `when`, or put it last"));
            }
            if let Some(when) = item.get("when")
                && let Some(first) =
                    items[..index].iter().find(|first| first.get("when").is_some_and(|first| first.says_the_same(when)))
            {
                let line = first.place.line;
                self.diagnostics
                    .error("unreachable", &item.place, format!("found the condition of the case in line {line} again"))
                    .help("the first case whose condition holds decides; remove one of them, or say how they differ");
            }
            let when = item.get("when").map_or_else(|| Some(always(item)), |when| self.condition(when));
            let contrary = item.get("contrary").and_then(|contrary| self.condition(contrary));
            let set = item.get("set").map(|set| self.columns(set)).unwrap_or_default();
            let is = self.closed_word(item, "is", &ActorType::SET).and_then(ActorType::parse);
            let basis = self.closed_word(item, "basis", &Basis::SET).and_then(Basis::parse);
            if let (Some(Basis::Registry | Basis::Correlated), Some(node)) = (basis, item.get("basis")) {
                self.diagnostics.error("not-in-taxonomy", &node.place, "found a basis that no mapping can have").help(
                    "the registry and replay set it; a mapping's are declared, reserved, naming, behaviour, none",
                );
            }
            if let (Some(is), Some(basis), Some(node)) = (is, basis, item.get("basis"))
                && (is == ActorType::Unknown) != (basis == Basis::None)
            {
                self.diagnostics
                    .error("not-in-taxonomy", &node.place, "found a basis that does not fit the actor type")
                    .help("`unknown` has the basis `none`, and nothing else has");
            }
            if let (Some(when), Some(is), Some(basis)) = (when, is, basis) {
                cases.push(Case { name, place: item.place.clone(), is, basis, when, contrary, set });
            }
        }
        cases
    }

    fn closed_word<'n>(&mut self, node: &'n Node, key: &str, set: &ClosedSet) -> Option<&'n str> {
        let value = node.get(key)?;
        let text = self.text(value)?;
        self.check_in(set, text, &value.place).then_some(text)
    }
}

/// The columns that a mapping may give.
pub fn may_set(column: Column) -> bool {
    // An event can name the owner of what acted: a key's user, an app's installer.
    column.info().set_by == SetBy::Mapping || column == Column::ActorOwner
}
