//! Running a plan's expressions and conditions over one scanned event.
//!
//! Nothing here panics, loops without end, or keeps anything: what is made on the way lives in the caller's
//! arena, what goes wrong becomes an issue of the row.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;

use super::explain::Notes;
use super::json::Json;
use super::plan::{Check, Condition, Elements, Entry, Expression, Head, Piece, Plan, Reference, Scope, Test, Want};
use super::projection::{NUM_DUPLICATES_MAX, Projection, Slots};
use super::secrets::redact;
use crate::activity::json::is_screen_control;
use crate::activity::taxonomy::{ActorType, ClosedSet, Relation};
use crate::activity::{Hop, Target};
use crate::organisation::Organisation;

/// Most elements of an array that one rule looks at. Vendors list dozens; the rest would only cost time.
const NUM_ELEMENTS_MAX: usize = 1_000;

/// Most bytes that the rules of one activity make: the largest event that `envelope` lets through. What rules take over as it
/// stands costs nothing; this stops templates of templates, and one that repeats a long field for every element of an array.
pub const NUM_BYTES_MADE_MAX: usize = 16 * 1024 * 1024;

/// A value on its way from the event to a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand<'a> {
    Missing,
    /// As it stands in the event; never one that says nothing.
    Json(Json<'a>),
    Text(&'a str),
    Int(i64),
    Bool(bool),
    /// Microseconds since 1970.
    Time(i64),
    List(&'a [&'a str]),
    Map(&'a [(&'a str, &'a str)]),
    Hops(&'a [Hop<'a>]),
    Targets(&'a [Target<'a>]),
}

impl<'a> Operand<'a> {
    pub fn is_missing(self) -> bool {
        matches!(self, Operand::Missing | Operand::Text("") | Operand::List([]) | Operand::Map([]))
    }

    /// The value as one text; none for lists and what is not a plain value.
    pub fn text(self, arena: &'a Bump) -> Option<&'a str> {
        match self {
            Operand::Text(text) => Some(text),
            Operand::Json(json) => json.text(arena),
            Operand::Int(number) => Some(arena.alloc_str(&number.to_string())),
            Operand::Bool(true) => Some("true"),
            Operand::Bool(false) => Some("false"),
            _ => None,
        }
    }

    /// The value as a list of texts: the plain elements of an array, or one text.
    pub fn texts(self, arena: &'a Bump) -> &'a [&'a str] {
        let mut list = ArenaVec::new_in(arena);
        match self {
            Operand::List(items) => return items,
            Operand::Json(json) if json.is_array() => {
                let elements = json.elements();
                let said = elements.iter().take(NUM_ELEMENTS_MAX).filter(|element| !element.is_missing());
                list.extend(said.filter_map(|element| element.text(arena)));
            }
            other => list.extend(other.text(arena)),
        }
        list.into_bump_slice()
    }
}

/// What all rules of one activity share.
pub struct Surroundings<'a> {
    pub plan: &'a Plan,
    /// The whole event, for the one rule that names a field by another's value.
    pub raw: Json<'a>,
    pub event: Slots<'a>,
    pub nested: &'a [Slots<'a>],
    pub item: Slots<'a>,
    pub context: &'a [(String, String)],
    pub organisation: &'a Organisation,
    pub arena: &'a Bump,
    /// The variables' values as far as they were asked for.
    pub variables: &'a [Cell<Option<Operand<'a>>>],
    /// What is known of the named conditions.
    pub named: &'a [Cell<Option<bool>>],
    /// Bytes that rules may still make for this activity.
    pub num_bytes_left: Cell<usize>,
    /// The column that is being derived, to name it in issues.
    pub column: Cell<&'static str>,
    pub issues: RefCell<ArenaVec<'a, &'a str>>,
    /// What was considered, where somebody asked for an explanation.
    pub notes: Option<&'a Notes>,
}

impl Surroundings<'_> {
    /// Says of keys that stand twice in an object that a rule reads that another reader may have taken the other value.
    pub fn flag_duplicates(&self, keys: &[Cow<'_, str>]) {
        let mut issues = self.issues.borrow_mut();
        for key in keys {
            if issues.iter().filter(|issue| issue.starts_with(DUPLICATE_KEY)).count() >= NUM_DUPLICATES_MAX {
                return;
            }
            // A key is the sender's: it can be long, and it can hold anything.
            let shown: String = redact(key).chars().filter(|c| !is_screen_control(*c)).take(80).collect();
            let issue = self.arena.alloc_str(&format!("{DUPLICATE_KEY}{shown}"));
            if !issues.contains(&&*issue) {
                issues.push(issue);
            }
        }
    }
}

/// How the issue of a duplicate key begins. It has no column: many may have been read from the object.
const DUPLICATE_KEY: &str = "duplicate_key::";

/// A view of the event from where a rule stands: at its top, or inside an element.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub around: &'a Surroundings<'a>,
    element: Option<(Json<'a>, Slots<'a>)>,
}

impl<'a> View<'a> {
    pub fn new(around: &'a Surroundings<'a>) -> View<'a> {
        View { around, element: None }
    }

    /// The view from inside an element.
    fn look_into(self, element: Json<'a>, projection: &'a Projection) -> View<'a> {
        let scan = projection.scan(element, self.around.arena);
        self.around.flag_duplicates(&scan.duplicate_keys);
        View { element: Some((element, scan.slots)), ..self }
    }

    /// The value of an expression.
    pub fn value(self, expression: &'a Expression) -> Operand<'a> {
        let value = self.value_before_otherwise(expression);
        match &expression.otherwise {
            Some(otherwise) if value.is_missing() => self.value(otherwise),
            _ => value,
        }
    }

    fn value_before_otherwise(self, expression: &'a Expression) -> Operand<'a> {
        if let Some(when) = &expression.when
            && !self.holds(when)
        {
            return Operand::Missing;
        }
        let mut value = self.head(&expression.head, expression);
        for function in &expression.functions {
            if value.is_missing() {
                return Operand::Missing;
            }
            let num_bytes = num_bytes(value);
            value = match function.apply(value, self.around.arena) {
                Ok(value) if self.may_make(self::num_bytes(value).saturating_sub(num_bytes)) => value,
                Ok(_) => return Operand::Missing,
                Err(complaint) => {
                    self.complain(&complaint);
                    return Operand::Missing;
                }
            };
        }
        if value.is_missing() { Operand::Missing } else { value }
    }

    fn head(self, head: &'a Head, expression: &'a Expression) -> Operand<'a> {
        let arena = self.around.arena;
        match head {
            Head::Reference(reference) => {
                let value = self.find(reference);
                if value.is_missing() {
                    self.note(&expression.place, || format!("{} has no value", reference_text(reference)));
                }
                value
            }
            Head::Text(text) => Operand::Text(text),
            Head::Int(number) => Operand::Int(*number),
            Head::Bool(truth) => Operand::Bool(*truth),
            Head::First(choices) => choices
                .iter()
                .map(|choice| self.value(choice))
                .find(|value| !value.is_missing())
                .unwrap_or(Operand::Missing),
            Head::Template(pieces) => self.template(pieces),
            Head::Cases(cases) => {
                cases.iter().find(|(when, _)| self.holds(when)).map_or(Operand::Missing, |(_, value)| self.value(value))
            }
            Head::Pick(elements) => self.pick(elements),
            Head::Each(elements) => self.each(elements),
            Head::Field { name, projection, take } => self.field(name, projection, take),
            Head::List(parts) => {
                let mut list = ArenaVec::new_in(arena);
                for part in parts {
                    let texts = self.value(part).texts(arena);
                    if !self.may_make(num_bytes(Operand::List(texts))) {
                        return Operand::Missing;
                    }
                    list.extend_from_slice(texts);
                }
                Operand::List(list.into_bump_slice())
            }
            Head::Join { parts, with } => {
                let mut joined = bumpalo::collections::String::new_in(arena);
                for text in parts.iter().filter_map(|part| self.value(part).text(arena)) {
                    if !self.may_make(text.len() + with.len()) {
                        return Operand::Missing;
                    }
                    if !joined.is_empty() {
                        joined.push_str(with);
                    }
                    joined.push_str(text);
                }
                Operand::Text(joined.into_bump_str())
            }
            Head::Map(entries) => {
                let mut map = ArenaVec::new_in(arena);
                for (key, value) in entries {
                    if let Some(text) = self.value(value).text(arena) {
                        map.push((key.as_str(), text));
                    }
                }
                Operand::Map(map.into_bump_slice())
            }
            Head::Hops(entries) => self.hops(entries),
            Head::Targets(entries) => self.targets(entries),
        }
    }

    /// What stands at a reference.
    pub fn find(self, reference: &'a Reference) -> Operand<'a> {
        let around = self.around;
        match reference {
            Reference::Slot { scope, slot, .. } => {
                let slots = match scope {
                    Scope::Event => around.event,
                    Scope::Item => around.item,
                    Scope::Nested(index) => around.nested.get(*index).copied().unwrap_or_default(),
                    Scope::Element => self.element.map(|(_, slots)| slots).unwrap_or_default(),
                };
                match slots.get(*slot).copied().flatten() {
                    Some(json) if !json.is_missing() => Operand::Json(json),
                    _ => Operand::Missing,
                }
            }
            Reference::Element => match self.element {
                Some((json, _)) if !json.is_missing() => Operand::Json(json),
                _ => Operand::Missing,
            },
            Reference::Context(name) => around
                .context
                .iter()
                .find(|(other, _)| other == name)
                .map_or(Operand::Missing, |(_, value)| Operand::Text(value)),
            Reference::Variable { index, .. } => self.variable(*index),
        }
    }

    fn variable(self, index: usize) -> Operand<'a> {
        let around = self.around;
        let (Some(cell), Some(variable)) = (around.variables.get(index), around.plan.variables.get(index)) else {
            return Operand::Missing;
        };
        if let Some(value) = cell.get() {
            return value;
        }
        // A variable is the same wherever it is read, so it never sees the element at hand.
        let value = View::new(around).value(&variable.value);
        cell.set(Some(value));
        value
    }

    fn template(self, pieces: &'a [Piece]) -> Operand<'a> {
        let mut text = bumpalo::collections::String::new_in(self.around.arena);
        for piece in pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Value(reference) => match self.find(reference).text(self.around.arena) {
                    Some(value) if self.may_make(value.len()) => text.push_str(value),
                    _ => return Operand::Missing,
                },
            }
        }
        Operand::Text(text.into_bump_str())
    }

    /// The elements of an array that pass the filter, each with the view from it.
    fn matching(self, elements: &'a Elements) -> impl Iterator<Item = View<'a>> {
        self.elements_of(&elements.array, &elements.projection).filter(|view| view.holds(&elements.filter))
    }

    fn elements_of(self, array: &'a Reference, projection: &'a Projection) -> impl Iterator<Item = View<'a>> {
        let elements = match self.find(array) {
            Operand::Json(json) if json.is_array() => json.elements(),
            // Some vendors write a list of one as the thing itself.
            Operand::Json(json) if json.is_object() => vec![json],
            _ => Vec::new(),
        };
        self.flag_long_array(&elements);
        elements.into_iter().take(NUM_ELEMENTS_MAX).map(move |element| self.look_into(element, projection))
    }

    fn pick(self, elements: &'a Elements) -> Operand<'a> {
        self.matching(elements).next().map_or(Operand::Missing, |view| view.value(&elements.take))
    }

    fn field(self, name: &'a Expression, projection: &'a Projection, take: &'a Expression) -> Operand<'a> {
        let Some(name) = self.value(name).text(self.around.arena) else { return Operand::Missing };
        match self.around.raw.field(name) {
            Some(field) => self.look_into(field, projection).value(take),
            None => Operand::Missing,
        }
    }

    fn each(self, elements: &'a Elements) -> Operand<'a> {
        let arena = self.around.arena;
        let mut list = ArenaVec::new_in(arena);
        for view in self.matching(elements) {
            let texts = view.value(&elements.take).texts(arena);
            if !self.may_make(num_bytes(Operand::List(texts))) {
                return Operand::Missing;
            }
            list.extend_from_slice(texts);
        }
        Operand::List(list.into_bump_slice())
    }

    fn hops(self, entries: &'a [Entry]) -> Operand<'a> {
        let mut hops: ArenaVec<'a, Hop<'a>> = ArenaVec::new_in(self.around.arena);
        self.entries(entries, |[actor_type, id, name, relation, credential_id]| {
            let actor_type = self.word_of(&ActorType::SET, actor_type);
            let relation = self.word_of(&Relation::SET, relation);
            hops.push(Hop { actor_type, id, name, relation, credential_id });
        });
        // Somebody acting alone is no chain.
        if hops.len() < 2 { Operand::Missing } else { Operand::Hops(hops.into_bump_slice()) }
    }

    /// The taxonomy's own copy of a word: what a field of the event says may be none of them.
    fn word_of(self, set: &ClosedSet, word: Option<&str>) -> Option<&'a str> {
        let word = word?;
        let found = set.find(word);
        if found.is_none() {
            self.complain(&format!("no value of {}", set.name));
        }
        found
    }

    fn targets(self, entries: &'a [Entry]) -> Operand<'a> {
        let mut targets: ArenaVec<'a, Target<'a>> = ArenaVec::new_in(self.around.arena);
        self.entries(entries, |[target_type, id, name, ..]| {
            targets.push(Target { target_type, id, name });
        });
        if targets.is_empty() { Operand::Missing } else { Operand::Targets(targets.into_bump_slice()) }
    }

    /// Calls `add` with the fields of every entry that names somebody or something.
    fn entries(self, entries: &'a [Entry], mut add: impl FnMut([Option<&'a str>; 5])) {
        for entry in entries {
            let mut add_from = |view: View<'a>| {
                if !view.holds(&entry.when) {
                    return;
                }
                let fields = entry
                    .fields
                    .each_ref()
                    .map(|field| field.as_ref().and_then(|field| view.value(field).text(view.around.arena)));
                if fields[1].is_some() || fields[2].is_some() {
                    add(fields);
                }
            };
            match &entry.each {
                None => add_from(self),
                Some((array, projection)) => self.elements_of(array, projection).for_each(add_from),
            }
        }
    }

    /// Whether a condition holds.
    pub fn holds(self, condition: &'a Condition) -> bool {
        match &condition.check {
            Check::All(conditions) => conditions.iter().all(|condition| self.holds(condition)),
            Check::Any(conditions) => conditions.iter().any(|condition| self.holds(condition)),
            Check::Not(condition) => !self.holds(condition),
            Check::Has(references) => references.iter().all(|reference| {
                let is_there = !self.find(reference).is_missing();
                if !is_there {
                    self.note(&condition.place, || format!("{} has no value", reference_text(reference)));
                }
                is_there
            }),
            Check::HasAny(references) => references.iter().any(|reference| !self.find(reference).is_missing()),
            Check::Missing(references) => references.iter().all(|reference| self.find(reference).is_missing()),
            Check::Holds(index) => self.named(*index, condition),
            Check::Test { operand, test } => {
                let value = self.find(operand);
                let passes = self.passes(value, test);
                if !passes {
                    self.note(&condition.place, || {
                        let found = match value.text(self.around.arena) {
                            Some(text) => format!("is `{text}`"),
                            None if value.is_missing() => "has no value".to_string(),
                            None => "is a list or object".to_string(),
                        };
                        format!("{} {found}, wanted {}", reference_text(operand), test_text(test))
                    });
                }
                passes
            }
        }
    }

    /// Whether a named condition holds. It is asked once an activity: it never sees the element at hand, and conditions made of
    /// others twice over would otherwise cost twice as much with every name.
    fn named(self, index: usize, asked: &'a Condition) -> bool {
        let (Some(known), Some(named)) = (self.around.named.get(index), self.around.plan.conditions.get(index)) else {
            return false;
        };
        if let Some(holds) = known.get() {
            if !holds {
                self.note(&asked.place, || format!("`{}` does not hold, see where it was asked first", named.name));
            }
            return holds;
        }
        let holds = View::new(self.around).holds(&named.condition);
        known.set(Some(holds));
        holds
    }

    fn passes(self, value: Operand<'a>, test: &'a Test) -> bool {
        let arena = self.around.arena;
        let text = value.text(arena).map(|text| if test.ignore_case { lower(text, arena) } else { text });
        test.wants.iter().all(|want| match want {
            Want::Exists(wanted) => value.is_missing() != *wanted,
            Want::Not(test) => !self.passes(value, test),
            Want::HasItem(items) => value.texts(arena).iter().any(|found| contains(items, found, test.ignore_case)),
            Want::AnyItem { projection, condition } => match value {
                Operand::Json(json) => {
                    let elements = json.elements();
                    self.flag_long_array(&elements);
                    let mut looked_at = elements.into_iter().take(NUM_ELEMENTS_MAX);
                    looked_at.any(|element| self.look_into(element, projection).holds(condition))
                }
                _ => false,
            },
            Want::OneOf(texts) => text.is_some_and(|text| contains(texts, text, test.ignore_case)),
            Want::Prefix(prefixes) => {
                text.is_some_and(|text| prefixes.iter().any(|prefix| text.starts_with(&**prefix)))
            }
            Want::Suffix(suffixes) => text.is_some_and(|text| suffixes.iter().any(|suffix| text.ends_with(&**suffix))),
            Want::Contains(parts) => text.is_some_and(|text| parts.iter().any(|part| text.contains(&**part))),
            Want::Matches(regex) => text.is_some_and(|text| regex.is_match(text)),
            Want::InTable(table) => text.is_some_and(|text| table.get(text).is_some()),
            Want::Cidr(networks) => text
                .and_then(|text| text.parse::<IpAddr>().ok())
                .is_some_and(|address| networks.iter().any(|network| network.contains(&address))),
            Want::SameAs(reference) => {
                text.is_some()
                    && self
                        .find(reference)
                        .text(arena)
                        .map(|other| if test.ignore_case { lower(other, arena) } else { other })
                        == text
            }
            Want::Own(kind) => text.is_some_and(|text| self.around.organisation.owns(*kind, text)),
            Want::Foreign(kind) => text.is_some_and(|text| self.around.organisation.is_foreign(*kind, text)),
        })
    }

    /// Takes from what rules may still make. Where too little is left, the value is missing and the row says so.
    fn may_make(self, num_bytes: usize) -> bool {
        let left = self.around.num_bytes_left.get().checked_sub(num_bytes);
        if left.is_none() {
            self.complain("more than rules may make of one event");
        }
        self.around.num_bytes_left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// What stands beyond the limit could have changed the answer, so the row says that nobody looked.
    fn flag_long_array(self, elements: &[Json<'a>]) {
        if elements.len() > NUM_ELEMENTS_MAX {
            self.complain("a list of which only the first 1000 elements were looked at");
        }
    }

    fn complain(self, complaint: &str) {
        let column = self.around.column.get();
        let issue = self.around.arena.alloc_str(&format!("bad_value:{column}:{complaint}"));
        let mut issues = self.around.issues.borrow_mut();
        if !issues.contains(&&*issue) {
            issues.push(issue);
        }
    }

    fn note(self, place: &crate::diagnostic::Place, text: impl FnOnce() -> String) {
        if let Some(notes) = self.around.notes {
            notes.add(place, text());
        }
    }
}

/// How long a value is that rules can make: its text, or the places of a list and what stands there.
fn num_bytes(value: Operand<'_>) -> usize {
    match value {
        Operand::Text(text) => text.len(),
        Operand::Json(json) => json.as_str().len(),
        Operand::List(items) => items.iter().map(|item| size_of::<&str>() + item.len()).sum(),
        _ => 0,
    }
}

/// Texts were made lower-case when the test was compiled, if it ignores case.
fn contains(texts: &[String], found: &str, ignore_case: bool) -> bool {
    texts.iter().any(|text| text == found || (ignore_case && *text == found.to_lowercase()))
}

fn lower<'a>(text: &'a str, arena: &'a Bump) -> &'a str {
    if text.chars().any(char::is_uppercase) { arena.alloc_str(&text.to_lowercase()) } else { text }
}

/// A reference as its author wrote it.
pub fn reference_text(reference: &Reference) -> String {
    match reference {
        Reference::Slot { text, .. } | Reference::Variable { text, .. } => format!("`{text}`"),
        Reference::Element => "the element".to_string(),
        Reference::Context(name) => format!("`$context.\"{name}\"`"),
    }
}

fn test_text(test: &Test) -> String {
    let texts = |texts: &[String]| texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(" or ");
    let wants: Vec<String> = test
        .wants
        .iter()
        .map(|want| match want {
            Want::Exists(true) => "a value".to_string(),
            Want::Exists(false) => "no value".to_string(),
            Want::OneOf(wanted) => texts(wanted),
            Want::Prefix(wanted) => format!("one that starts with {}", texts(wanted)),
            Want::Suffix(wanted) => format!("one that ends with {}", texts(wanted)),
            Want::Contains(wanted) => format!("one that contains {}", texts(wanted)),
            Want::Matches(regex) => format!("one that matches `{regex}`"),
            Want::InTable(_) => "a key of the table".to_string(),
            Want::Cidr(_) => "an address of the networks".to_string(),
            Want::HasItem(wanted) => format!("a list with {}", texts(wanted)),
            Want::AnyItem { .. } => "a list with an element that fits".to_string(),
            Want::SameAs(reference) => format!("the same as {}", reference_text(reference)),
            Want::Own(kind) => format!("one of the organisation's {}", kind.as_str()),
            Want::Foreign(kind) => format!("none of the organisation's {}", kind.as_str()),
            Want::Not(test) => format!("not {}", test_text(test)),
        })
        .collect();
    wants.join(" and ")
}
