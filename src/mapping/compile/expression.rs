//! Compiling expressions: where a value comes from, and whether it can be what the column wants.

use super::super::functions::{self, Definition, Gives};
use super::super::grammar::{COMPANIONS, HEADS, HOP, Part, TARGET, VALUE_CASE};
use super::super::plan::{Check, Condition, ENTRY_FIELDS, Elements, Entry, Expression, Head, Piece, Reference};
use super::Compiler;
use crate::activity::Kind;
use crate::activity::taxonomy::{ActorType, Relation, Verb};
use crate::yaml::{Content, Node};

impl Compiler<'_> {
    /// The expression that `node` writes, for a place that wants `kind` (none: anything).
    pub(super) fn expression(&mut self, node: &Node, kind: Option<Kind>) -> Option<Expression> {
        match &node.content {
            Content::Scalar { text, .. } => {
                let head = self.scalar(node, text, kind)?;
                Some(simple(node, head))
            }
            Content::Sequence(items) => {
                let choices: Vec<Expression> = items.iter().filter_map(|item| self.expression(item, kind)).collect();
                if items.is_empty() {
                    self.wrong_argument(node, "at least one expression");
                }
                (choices.len() == items.len() && !items.is_empty()).then(|| simple(node, Head::First(choices)))
            }
            Content::Mapping(entries) => self.expression_with_keys(node, entries, kind),
            Content::Null => {
                self.diagnostics
                    .error("wrong-type", &node.place, "found nothing where an expression was wanted")
                    .help("leave the key out, or name a path");
                None
            }
        }
    }

    fn scalar(&mut self, node: &Node, text: &str, kind: Option<Kind>) -> Option<Head> {
        if let Some(truth) = node.truth() {
            self.check_constant(node, kind, |kind| kind == Kind::Bool)?;
            return Some(Head::Bool(truth));
        }
        if let Some(number) = node.integer() {
            self.check_constant(node, kind, |kind| kind == Kind::Int)?;
            return Some(Head::Int(number));
        }
        match kind {
            Some(Kind::Closed(set)) if !text.starts_with('$') => {
                if set.find(text).is_some() {
                    return Some(Head::Text(text.to_string()));
                }
                self.diagnostics
                    .error(
                        "not-in-taxonomy",
                        &node.place,
                        format!("found `{text}`, which is no value of `{}`", set.name),
                    )
                    .did_you_mean(text, set.terms.iter().map(|term| term.value));
                if let Some(last) = self.diagnostics.0.last_mut()
                    && last.help.is_none()
                {
                    last.help(format!("a field stands here as `{{ path: {text} }}`"));
                }
                None
            }
            _ => {
                let reference = self.reference(text, &node.place)?;
                self.check_plain(node, &reference, kind)?;
                Some(Head::Reference(reference))
            }
        }
    }

    fn check_constant(&mut self, node: &Node, kind: Option<Kind>, fits: impl Fn(Kind) -> bool) -> Option<()> {
        match kind {
            Some(kind) if !fits(kind) && !matches!(kind, Kind::Text | Kind::TextList) => {
                let found = node.kind();
                self.diagnostics.error("wrong-type", &node.place, format!("found {found}, wanted {}", wanted(kind)));
                None
            }
            _ => Some(()),
        }
    }

    /// Whether a plain value can be what is wanted.
    fn check_plain(&mut self, node: &Node, reference: &Reference, kind: Option<Kind>) -> Option<()> {
        let Some(kind) = kind else { return Some(()) };
        let known = match reference {
            Reference::Variable { index, .. } => self.variable_kinds.get(*index).copied().flatten(),
            _ => None,
        };
        let fits = match kind {
            Kind::Time => known == Some(Kind::Time),
            Kind::Hops | Kind::Targets | Kind::TextMap => known == Some(kind),
            _ => known != Some(Kind::Time),
        };
        if fits {
            return Some(());
        }
        let diagnostic =
            self.diagnostics.error("wrong-type", &node.place, format!("found a plain value, wanted {}", wanted(kind)));
        if kind == Kind::Time {
            diagnostic.help("say how the vendor writes it: `{ path: …, time: rfc3339 }`");
        }
        None
    }

    fn expression_with_keys(
        &mut self,
        node: &Node,
        entries: &[(Node, Node)],
        kind: Option<Kind>,
    ) -> Option<Expression> {
        let name_of = |key: &Node| key.text().unwrap_or_default().to_string();
        let mut is_whole = true;
        for (key, _) in entries {
            let name = name_of(key);
            if HEADS.find(&name).is_none() && COMPANIONS.find(&name).is_none() && functions::find(&name).is_none() {
                let names = HEADS.keys.iter().chain(COMPANIONS.keys).map(|key| key.name);
                self.diagnostics
                    .error(
                        "unknown-key",
                        &key.place,
                        format!("found `{name}`, which is no part of an expression and no function"),
                    )
                    .did_you_mean(&name, names.chain(functions::ALL.iter().map(|definition| definition.name)));
                is_whole = false;
            }
        }
        let heads: Vec<&(Node, Node)> = entries.iter().filter(|(key, _)| HEADS.find(&name_of(key)).is_some()).collect();
        let [(head_key, head_node)] = heads.as_slice() else {
            let names: Vec<&str> = HEADS.keys.iter().map(|key| key.name).collect();
            self.diagnostics
                .error(
                    "no-value",
                    &node.place,
                    format!("found {} keys that say where the value comes from, wanted one", heads.len()),
                )
                .help(format!("one of {}", names.join(", ")));
            return None;
        };
        is_whole &= self.check_companions(node, &name_of(head_key));
        self.table_column = node.get("column").and_then(Node::text).map(str::to_string);
        let applied: Vec<(&Node, &Node, &'static Definition)> = entries
            .iter()
            .filter_map(|(key, value)| functions::find(&name_of(key)).map(|definition| (key, value, definition)))
            .collect();
        let compiled_functions = self.functions(&applied, kind);
        // It is this expression's alone: the conditions in it have tables of their own.
        self.table_column = None;
        // What a function changes may be anything; what none changes must be what is wanted.
        let head_kind = if applied.is_empty() { kind } else { None };
        let head = self.head(&name_of(head_key), head_node, node, head_kind);
        let when = node.get("when").map(|when| self.condition(when));
        let otherwise = node.get("otherwise").map(|otherwise| self.expression(otherwise, kind));
        if !is_whole
            || compiled_functions.len() < applied.len()
            || matches!(&when, Some(None))
            || matches!(&otherwise, Some(None))
        {
            return None;
        }
        Some(Expression {
            place: node.place.clone(),
            head: head?,
            functions: compiled_functions,
            when: when.flatten(),
            otherwise: otherwise.flatten().map(Box::new),
        })
    }

    /// Refuses what stands beside a head or function that it says nothing to: it would be left unread.
    fn check_companions(&mut self, node: &Node, head: &str) -> bool {
        let mut is_whole = true;
        for (companion, fitting) in [
            ("where", ["pick", "each"].as_slice()),
            ("take", &["pick", "each", "field"]),
            ("with", &["join"]),
            ("column", &["table"]),
        ] {
            let is_read = fitting.iter().any(|name| *name == head || (*name == "table" && node.get(name).is_some()));
            if let (false, Some(value)) = (is_read, node.get(companion)) {
                let message = format!("found `{companion}` without {}", fitting.join(" or "));
                self.diagnostics.error("unknown-key", &value.place, message).help("a condition on the event is `when`");
                is_whole = false;
            }
        }
        is_whole
    }

    /// Refuses a text where the column holds something that no text becomes.
    fn check_text(&mut self, node: &Node, kind: Option<Kind>) -> Option<()> {
        match kind {
            Some(kind @ (Kind::Time | Kind::Hops | Kind::Targets | Kind::TextMap)) => {
                self.diagnostics.error("wrong-type", &node.place, format!("found a text, wanted {}", wanted(kind)));
                None
            }
            _ => Some(()),
        }
    }

    fn functions(
        &mut self,
        applied: &[(&Node, &Node, &'static Definition)],
        kind: Option<Kind>,
    ) -> Vec<Box<dyn functions::Function>> {
        let mut compiled = Vec::new();
        for (index, (key, argument, definition)) in applied.iter().enumerate() {
            let is_last = index + 1 == applied.len();
            self.closed = match kind {
                Some(Kind::Closed(set)) if is_last => Some(set),
                _ => None,
            };
            compiled.extend((definition.compile)(argument, self));
            self.closed = None;
            if let (Gives::Time, Some((next, _, after))) = (definition.gives, applied.get(index + 1)) {
                self.diagnostics.error(
                    "wrong-type",
                    &next.place,
                    format!("found `{}` behind `{}`, whose times it cannot change", after.name, definition.name),
                );
            }
            if !is_last {
                continue;
            }
            let fits = match (kind, definition.gives) {
                (Some(Kind::Time), gives) => gives == Gives::Time,
                (Some(Kind::Closed(set)), Gives::Verb) => set == Verb::SET,
                (Some(Kind::Hops | Kind::Targets | Kind::TextMap), _) | (Some(_), Gives::Time) => false,
                (Some(kind), Gives::List) => kind == Kind::TextList,
                _ => true,
            };
            if let (false, Some(kind)) = (fits, kind) {
                self.diagnostics.error(
                    "wrong-type",
                    &key.place,
                    format!("found what `{}` gives, wanted {}", definition.name, wanted(kind)),
                );
            }
        }
        compiled
    }

    fn head(&mut self, name: &str, node: &Node, whole: &Node, kind: Option<Kind>) -> Option<Head> {
        match name {
            "path" => {
                let text = self.text(node)?;
                let reference = self.reference(text, &node.place)?;
                // A field may hold a value of the closed set by itself; the row is checked when it runs.
                self.check_plain(node, &reference, kind)?;
                Some(Head::Reference(reference))
            }
            "const" => {
                let text = self.text(node)?.to_string();
                match kind {
                    Some(Kind::Closed(set)) => {
                        self.check_in(&set, &text, &node.place);
                    }
                    Some(Kind::Text | Kind::TextList) | None => {}
                    Some(kind) => {
                        self.diagnostics.error(
                            "wrong-type",
                            &node.place,
                            format!("found a constant text, wanted {}", wanted(kind)),
                        );
                    }
                }
                Some(Head::Text(text))
            }
            "first" => Some(Head::First(self.expressions(node, kind)?)),
            "template" => {
                self.check_text(node, kind)?;
                self.template(node)
            }
            "cases" => self.value_cases(node, kind),
            "pick" => Some(Head::Pick(self.elements_of(node, whole, kind)?)),
            "each" => {
                self.check_list(node, kind)?;
                Some(Head::Each(self.elements_of(node, whole, Some(Kind::Text))?))
            }
            "field" => self.field(node, whole, kind),
            "list" => {
                self.check_list(node, kind)?;
                Some(Head::List(self.expressions(node, None)?))
            }
            "join" => {
                self.check_text(node, kind)?;
                let parts = self.expressions(node, None)?;
                let with = whole.get("with").and_then(Node::text).unwrap_or(" ").to_string();
                Some(Head::Join { parts, with })
            }
            "map" => self.map(node, kind),
            "hops" => Some(Head::Hops(self.entries(node, &HOP, kind, Kind::Hops)?)),
            _ => Some(Head::Targets(self.entries(node, &TARGET, kind, Kind::Targets)?)),
        }
    }

    fn expressions(&mut self, node: &Node, kind: Option<Kind>) -> Option<Vec<Expression>> {
        let Some(items) = node.sequence().filter(|items| !items.is_empty()) else {
            self.wrong_argument(node, "a list of expressions");
            return None;
        };
        let compiled: Vec<Expression> = items.iter().filter_map(|item| self.expression(item, kind)).collect();
        (compiled.len() == items.len()).then_some(compiled)
    }

    fn check_list(&mut self, node: &Node, kind: Option<Kind>) -> Option<()> {
        match kind {
            None | Some(Kind::TextList) => Some(()),
            Some(kind) => {
                self.diagnostics.error(
                    "wrong-type",
                    &node.place,
                    format!("found a list of values, wanted {}", wanted(kind)),
                );
                None
            }
        }
    }

    fn template(&mut self, node: &Node) -> Option<Head> {
        let mut rest = self.text(node)?;
        let mut pieces = Vec::new();
        let mut literal = String::new();
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..];
            if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
                literal.push_str(&brace[..1]);
                rest = after;
                continue;
            }
            let Some((path, after)) = brace.strip_prefix('{').and_then(|inside| inside.split_once('}')) else {
                self.diagnostics
                    .error("bad-template", &node.place, "found a brace without its other half")
                    .help("`{{` and `}}` write a brace");
                return None;
            };
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Value(self.reference(path.trim(), &node.place)?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Some(Head::Template(pieces))
    }

    fn value_cases(&mut self, node: &Node, kind: Option<Kind>) -> Option<Head> {
        let Some(items) = node.sequence().filter(|items| !items.is_empty()) else {
            self.wrong_argument(node, "a list of cases");
            return None;
        };
        let mut cases = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if !self.check_keys(item, &VALUE_CASE) {
                continue;
            }
            let when = match item.get("when") {
                Some(when) if !says_nothing(when) => self.condition(when),
                _ => {
                    if index + 1 < items.len() {
                        self.diagnostics
                            .error("unreachable", &items[index + 1].place, "found a case behind one that always holds")
                            .help("give the case before it a `when`, or remove this one");
                    }
                    Some(always(item))
                }
            };
            let value = item.get("value").and_then(|value| self.expression(value, kind));
            cases.extend(when.zip(value));
        }
        (cases.len() == items.len()).then_some(Head::Cases(cases))
    }

    fn elements_of(&mut self, node: &Node, whole: &Node, kind: Option<Kind>) -> Option<Elements> {
        let text = self.text(node)?;
        let array = self.reference(text, &node.place)?;
        let ((filter, take), projection) = self.inside_element(|inside| {
            let filter = match whole.get("where") {
                Some(filter) => inside.condition(filter),
                None => Some(always(whole)),
            };
            let take = match whole.get("take") {
                Some(take) => inside.expression(take, kind),
                None => Some(simple(whole, Head::Reference(Reference::Element))),
            };
            (filter, take)
        });
        Some(Elements { array, projection, filter: filter?, take: Box::new(take?) })
    }

    /// Some vendors put what an event says under a key named after its type.
    fn field(&mut self, node: &Node, whole: &Node, kind: Option<Kind>) -> Option<Head> {
        let name = self.expression(node, Some(Kind::Text));
        let (take, projection) = self.inside_element(|inside| match whole.get("take") {
            Some(take) => inside.expression(take, kind),
            None => Some(simple(whole, Head::Reference(Reference::Element))),
        });
        Some(Head::Field { name: Box::new(name?), projection, take: Box::new(take?) })
    }

    fn map(&mut self, node: &Node, kind: Option<Kind>) -> Option<Head> {
        if let Some(kind) = kind.filter(|kind| *kind != Kind::TextMap) {
            self.diagnostics.error("wrong-type", &node.place, format!("found named texts, wanted {}", wanted(kind)));
        }
        let Some(entries) = node.entries() else {
            self.wrong_argument(node, "names and expressions");
            return None;
        };
        let mut map = Vec::new();
        for (key, value) in entries {
            let value = self.expression(value, Some(Kind::Text));
            map.extend(value.map(|value| (key.text().unwrap_or_default().to_string(), value)));
        }
        (map.len() == entries.len()).then_some(Head::Map(map))
    }

    fn entries(&mut self, node: &Node, part: &Part, kind: Option<Kind>, gives: Kind) -> Option<Vec<Entry>> {
        if let Some(kind) = kind.filter(|kind| *kind != gives) {
            self.diagnostics.error(
                "wrong-type",
                &node.place,
                format!("found {}, wanted {}", wanted(gives), wanted(kind)),
            );
        }
        let Some(items) = node.sequence().filter(|items| !items.is_empty()) else {
            self.wrong_argument(node, "a list of entries");
            return None;
        };
        let entries: Vec<Entry> = items.iter().filter_map(|item| self.entry(item, part)).collect();
        (entries.len() == items.len()).then_some(entries)
    }

    fn entry(&mut self, node: &Node, part: &Part) -> Option<Entry> {
        if !self.check_keys(node, part) {
            return None;
        }
        let Some(each) = node.get("each") else {
            if let Some(filter) = node.get("where") {
                self.diagnostics
                    .error("unknown-key", &filter.place, "found `where` without `each`")
                    .help("a condition on the event is `when`");
            }
            let when = node.get("when").map_or_else(|| Some(always(node)), |when| self.condition(when));
            let fields = self.entry_fields(node, part)?;
            return Some(Entry { each: None, when: when?, fields });
        };
        let text = self.text(each)?;
        let array = self.reference(text, &each.place)?;
        let ((when, fields), projection) = self.inside_element(|inside| {
            let conditions: Vec<Option<Condition>> =
                ["where", "when"].iter().filter_map(|name| node.get(name)).map(|node| inside.condition(node)).collect();
            let when: Option<Vec<Condition>> = conditions.into_iter().collect();
            (when, inside.entry_fields(node, part))
        });
        let when = Condition { place: node.place.clone(), check: Check::All(when?) };
        Some(Entry { each: Some((array, projection)), when, fields: fields? })
    }

    fn entry_fields(&mut self, node: &Node, part: &Part) -> Option<[Option<Expression>; ENTRY_FIELDS.len()]> {
        let is_hop = *part == HOP;
        let mut is_whole = true;
        let fields = ENTRY_FIELDS.map(|name| {
            let kind = match name {
                "type" if is_hop => Kind::Closed(ActorType::SET),
                "relation" => Kind::Closed(Relation::SET),
                _ => Kind::Text,
            };
            let value = node.get(name)?;
            let compiled = self.expression(value, Some(kind));
            is_whole &= compiled.is_some();
            compiled
        });
        is_whole.then_some(fields)
    }
}

/// The kind that a compiled expression is known to have, so that a variable can carry it.
pub(super) fn kind_of(expression: &Expression, variable_kinds: &[Option<Kind>], is_time: bool) -> Option<Kind> {
    if is_time {
        return Some(Kind::Time);
    }
    match &expression.head {
        Head::Hops(_) => Some(Kind::Hops),
        Head::Targets(_) => Some(Kind::Targets),
        Head::Map(_) => Some(Kind::TextMap),
        Head::Reference(Reference::Variable { index, .. }) if expression.functions.is_empty() => {
            variable_kinds.get(*index).copied().flatten()
        }
        _ => None,
    }
}

fn simple(node: &Node, head: Head) -> Expression {
    Expression { place: node.place.clone(), head, functions: Vec::new(), when: None, otherwise: None }
}

/// A condition that always holds: `{}`.
pub(super) fn says_nothing(node: &Node) -> bool {
    node.entries().is_some_and(<[_]>::is_empty)
}

pub(super) fn always(node: &Node) -> Condition {
    Condition { place: node.place.clone(), check: Check::All(Vec::new()) }
}

fn wanted(kind: Kind) -> String {
    match kind {
        Kind::Closed(set) => format!("a value of `{}`", set.name),
        Kind::Time => "a time".to_string(),
        Kind::Bool => "`true`, `false` or a path".to_string(),
        Kind::Int => "a number or a path".to_string(),
        Kind::Hops => "`hops`".to_string(),
        Kind::Targets => "`targets`".to_string(),
        Kind::TextMap => "`map`".to_string(),
        Kind::Text | Kind::TextList | Kind::Date => format!("a {}", kind.name()),
    }
}
