//! Applying a plan: one scanned event in, one filled row for each activity out.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;

use super::coerce::coerce;
use super::evaluate::{NUM_BYTES_MADE_MAX, Operand, Surroundings, View};
use super::event_uid::hash_event;
use super::explain::{Explanation, Notes};
use super::functions::address;
use super::json::Json;
use super::plan::{Case, ColumnRule, Plan};
use super::projection::{Scan, Slots};
use super::secrets::redact_value;
use crate::activity::json::is_screen_control;
use crate::activity::taxonomy::{
    ActorType, Basis, Category, CredentialType, Outcome, OwnerBasis, PolicyState, Status, Verb,
};
use crate::activity::{Activity, BELIEVABLE_TIMES, COLUMNS, Column, Kind, Target, Value};
use crate::event::RawEvent;
use crate::organisation::Organisation;

/// Most activities of one event. Vendors put tens of entries into one. Each activity carries the whole event as evidence and
/// its rules read it again, which `pipeline::normalize` bounds in bytes, long before so many.
const NUM_ITEMS_MAX: usize = 10_000;

/// Longest `result_reason`, in characters, as the schema says.
const RESULT_REASON_CHARS_MAX: usize = 512;

/// An event as a plan sees it: its fields found, its items counted.
pub struct Prepared<'a> {
    raw: &'a str,
    context: &'a [(String, String)],
    scan: Scan<'a>,
    nested: &'a [Slots<'a>],
    broken_nested: Vec<&'a str>,
    nested_duplicates: Vec<Cow<'a, str>>,
    items: Vec<Json<'a>>,
    /// How many there are in the event, whether or not they become activities.
    num_items: usize,
}

impl Prepared<'_> {
    pub fn num_activities(&self) -> usize {
        self.items.len().max(1)
    }
}

impl Plan {
    /// Scans an event once for everything that the plan reads.
    pub fn prepare<'a>(
        &'a self,
        event: &'a RawEvent<'a>,
        organisation: &'a Organisation,
        arena: &'a Bump,
    ) -> Prepared<'a> {
        let scan = self.event.scan(Json::new(event.raw.trim()), arena);
        let mut prepared = Prepared {
            raw: event.raw,
            context: &event.context,
            scan,
            nested: &[],
            broken_nested: Vec::new(),
            nested_duplicates: Vec::new(),
            items: Vec::new(),
            num_items: 0,
        };
        if self.nested.is_empty() && self.split.is_none() {
            return prepared;
        }
        let mut nested: ArenaVec<'a, Slots<'a>> = ArenaVec::new_in(arena);
        for wanted in &self.nested {
            let around = arena.alloc(self.surroundings(&prepared, &[], organisation, None, arena));
            let found = match View::new(around).find(&wanted.text) {
                Operand::Missing => None,
                // Some pipelines unpack the string on the way: then the value itself stands there.
                Operand::Json(json) if json.is_object() || json.is_array() => Some(json),
                other => match other.text(arena) {
                    Some(text) if is_json(text) => Some(Json::new(text.trim())),
                    _ => {
                        prepared.broken_nested.push(&wanted.name);
                        None
                    }
                },
            };
            let scan = found.map(|json| wanted.projection.scan(json, arena));
            nested.push(scan.map_or(&[] as Slots<'a>, |scan| {
                prepared.nested_duplicates.extend(scan.duplicate_keys);
                scan.slots
            }));
        }
        prepared.nested = nested.into_bump_slice();
        if let Some(split) = &self.split {
            let around = arena.alloc(self.surroundings(&prepared, &[], organisation, None, arena));
            if let Operand::Json(json) = View::new(around).find(&split.array) {
                prepared.items = json.elements();
                prepared.num_items = prepared.items.len();
                prepared.items.truncate(NUM_ITEMS_MAX);
            }
        }
        prepared
    }

    /// Whether the event is this source's.
    pub fn recognises<'a>(&'a self, prepared: &Prepared<'a>, organisation: &'a Organisation, arena: &'a Bump) -> bool {
        let around = arena.alloc(self.surroundings(prepared, &[], organisation, None, arena));
        View::new(around).holds(&self.recognise)
    }

    /// The `index`-th activity of an event. Position, receipt and raw bytes are the caller's to add.
    pub fn activity<'a>(
        &'a self,
        prepared: &Prepared<'a>,
        index: usize,
        organisation: &'a Organisation,
        arena: &'a Bump,
        mut explanation: Option<(&mut Explanation, &'a Notes)>,
    ) -> Activity<'a> {
        let item = match (&self.split, prepared.items.get(index)) {
            (Some(split), Some(item)) => Some(split.projection.scan(*item, arena)),
            _ => None,
        };
        let (item, item_duplicates) =
            item.map_or((&[] as Slots<'a>, Vec::new()), |scan| (scan.slots, scan.duplicate_keys));
        let notes: Option<&'a Notes> = explanation.as_ref().map(|(_, notes)| *notes);
        let around = &*arena.alloc(self.surroundings(prepared, item, organisation, notes, arena));
        let view = View::new(around);
        let mut row = Activity::default();
        row.set(Column::Source, Value::Text(&self.source));
        note_oddities(around, prepared);
        around.flag_duplicates(&item_duplicates);

        let case = self.decide(view, explanation.as_mut().map(|(explanation, _)| &mut **explanation));
        let rules = case.map_or(&[] as &[ColumnRule], |case| &case.set).iter().chain(&self.columns);
        let mut passed_over = Vec::new();
        for rule in rules {
            if !row.get(rule.column).is_null() {
                passed_over.push(rule);
                continue;
            }
            around.column.set(rule.column.name());
            let value = self.column_value(view, rule);
            if let Some((explanation, notes)) = &mut explanation {
                explanation.rule(rule, !value.is_null(), notes.take());
            }
            row.set(rule.column, value);
        }
        match case {
            Some(case) => {
                row.set_actor_type(case.is, case.basis, Some(&case.name));
                around.column.set("actor_type");
                if case.contrary.as_ref().is_some_and(|contrary| view.holds(contrary)) {
                    row.set(Column::ActorTypeConflict, Value::Bool(true));
                }
            }
            None => row.set_actor_type(ActorType::Unknown, Basis::None, None),
        }
        self.complete(&mut row, prepared, index, arena, &around.issues);
        let issues = arena.alloc_slice_copy(&around.issues.borrow());
        let status = if issues.is_empty() { Status::Mapped } else { Status::Partial };
        row.set(Column::Status, Value::Text(status.as_str()));
        if !issues.is_empty() {
            row.set(Column::Issues, Value::TextList(issues));
        }
        if let Some((explanation, notes)) = &mut explanation {
            // Asked last: what is wrong with a rule that nothing needed is no issue of the row.
            for rule in passed_over {
                let value = self.column_value(view, rule);
                if !value.is_null() {
                    notes.add(&rule.value.place, "has a value too, but a rule before it set the column".to_string());
                }
                explanation.rule(rule, false, notes.take());
            }
        }
        row
    }

    fn surroundings<'a>(
        &'a self,
        prepared: &Prepared<'a>,
        item: Slots<'a>,
        organisation: &'a Organisation,
        notes: Option<&'a Notes>,
        arena: &'a Bump,
    ) -> Surroundings<'a> {
        Surroundings {
            plan: self,
            raw: Json::new(prepared.raw.trim()),
            event: prepared.scan.slots,
            nested: prepared.nested,
            item,
            context: prepared.context,
            organisation,
            arena,
            variables: arena.alloc_slice_fill_with(self.variables.len(), |_| Cell::new(None)),
            named: arena.alloc_slice_fill_with(self.conditions.len(), |_| Cell::new(None)),
            num_bytes_left: Cell::new(NUM_BYTES_MADE_MAX),
            column: Cell::new(""),
            issues: RefCell::new(ArenaVec::new_in(arena)),
            notes,
        }
    }

    fn decide<'a>(&'a self, view: View<'a>, mut explanation: Option<&mut Explanation>) -> Option<&'a Case> {
        view.around.column.set("actor_type");
        self.cases.iter().find(|case| {
            let holds = view.holds(&case.when);
            if let (Some(explanation), Some(notes)) = (explanation.as_deref_mut(), view.around.notes) {
                explanation.case(case, holds, notes.take());
            }
            holds
        })
    }

    fn column_value<'a>(&'a self, view: View<'a>, rule: &'a ColumnRule) -> Value<'a> {
        let arena = view.around.arena;
        match coerce(view.value(&rule.value), rule.column.info().kind, arena) {
            // The taxonomy's own words need no look.
            Ok(value) if matches!(rule.column.info().kind, Kind::Closed(_)) => value,
            Ok(value) => redact_value(value, arena),
            Err(complaint) => {
                let issue = format!("bad_value:{}:{complaint}", rule.column.name());
                view.around.issues.borrow_mut().push(arena.alloc_str(&issue));
                Value::Null
            }
        }
    }

    /// What follows from the columns that the mapping gave.
    fn complete<'a>(
        &'a self,
        row: &mut Activity<'a>,
        prepared: &Prepared<'a>,
        index: usize,
        arena: &'a Bump,
        issues: &RefCell<ArenaVec<'a, &'a str>>,
    ) {
        self.set_from_context(row, prepared.context, arena);
        for (column, word) in [
            (Column::CredentialType, CredentialType::Unknown.as_str()),
            (Column::ActionVerb, Verb::Other.as_str()),
            (Column::ActionCategory, Category::Other.as_str()),
            (Column::Result, Outcome::Unknown.as_str()),
            (Column::PolicyState, PolicyState::Unregistered.as_str()),
            (Column::Action, "unknown"),
        ] {
            row.set_default(column, Value::Text(word));
        }
        let owner_basis = if row.get(Column::ActorOwner).is_null() { OwnerBasis::None } else { OwnerBasis::Event };
        row.set(Column::OwnerBasis, Value::Text(owner_basis.as_str()));
        row.set_default(Column::CorrelationId, row.get(Column::RequestId));
        complete_targets(row, arena);
        complete_address(row, arena);
        if let Some(reason) = row.text(Column::ResultReason)
            && let Some((end, _)) = reason.char_indices().nth(RESULT_REASON_CHARS_MAX)
        {
            row.set(Column::ResultReason, Value::Text(&reason[..end]));
        }
        let id = match row.text(Column::EventUid) {
            Some(id) => Cow::Borrowed(id),
            None => Cow::Owned(hash_event(prepared.raw)),
        };
        let tenant = row.text(Column::Tenant).unwrap_or_default();
        let mut uid = format!("{}:{tenant}:{id}", self.source);
        if prepared.num_items > 1 {
            uid.push_str(&format!(":{index}"));
        }
        row.set(Column::EventUid, Value::Text(arena.alloc_str(&uid)));

        let mut issues = issues.borrow_mut();
        if let Some(time) = row.get(Column::EventTime).as_time()
            && !BELIEVABLE_TIMES.contains(&time)
        {
            issues.push("time_suspect:event_time:outside of the years 2000 to 2100");
        }
        flag_screen_controls(row, arena, &mut issues);
    }

    /// What whoever configured the input says of its events, where they do not say it of themselves.
    fn set_from_context<'a>(&self, row: &mut Activity<'a>, context: &'a [(String, String)], arena: &'a Bump) {
        for (name, value) in context {
            let column = name.strip_prefix("set.").and_then(Column::parse);
            if let Some(column) = column
                && row.get(column).is_null()
                && let Ok(value) = coerce(Operand::Text(value), column.info().kind, arena)
            {
                row.set(column, value);
            }
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn note_oddities<'a>(around: &Surroundings<'a>, prepared: &Prepared<'a>) {
    around.flag_duplicates(&prepared.scan.duplicate_keys);
    around.flag_duplicates(&prepared.nested_duplicates);
    let mut issues = around.issues.borrow_mut();
    if prepared.num_items > prepared.items.len() {
        let (num_items, num_kept) = (prepared.num_items, prepared.items.len());
        let issue =
            format!("too_many_items::{num_items} in one event, of which the first {num_kept} became activities");
        issues.push(around.arena.alloc_str(&issue));
    }
    for name in &prepared.broken_nested {
        issues.push(around.arena.alloc_str(&format!("bad_value:{name}:not JSON where the mapping expects it")));
    }
}

/// The main target and the list of targets each fill what the other leaves open.
fn complete_targets<'a>(row: &mut Activity<'a>, arena: &'a Bump) {
    const MAIN: [Column; 3] = [Column::TargetType, Column::TargetId, Column::TargetName];
    let has_main = MAIN.iter().any(|column| !row.get(*column).is_null());
    match row.get(Column::Targets) {
        Value::Targets([first, ..]) if !has_main => {
            row.set(Column::TargetType, first.target_type.into());
            row.set(Column::TargetId, first.id.into());
            row.set(Column::TargetName, first.name.into());
        }
        Value::Null if has_main => {
            let [target_type, id, name] = MAIN.map(|column| row.text(column));
            let targets = arena.alloc_slice_copy(&[Target { target_type, id, name }]);
            row.set(Column::Targets, Value::Targets(targets));
        }
        _ => {}
    }
    if let (Some(target_type), Some(id)) = (row.text(Column::TargetType), row.text(Column::TargetId)) {
        row.set_default(Column::TargetResource, Value::Text(arena.alloc_str(&format!("{target_type}:{id}"))));
    }
}

/// `source_ip` holds an address and nothing else.
fn complete_address<'a>(row: &mut Activity<'a>, arena: &'a Bump) {
    let Some(text) = row.text(Column::SourceIp) else { return };
    match address::canonical(text) {
        Some(address) => {
            let address = address.to_string();
            let address = if address == text { text } else { arena.alloc_str(&address) };
            row.set(Column::SourceIp, Value::Text(address));
        }
        None => {
            row.set(Column::SourceIp, Value::Null);
            row.set_default(Column::SourceHost, Value::Text(text));
        }
    }
}

/// Names the columns whose text could drive a screen; the outputs escape it.
fn flag_screen_controls<'a>(row: &Activity<'a>, arena: &'a Bump, issues: &mut ArenaVec<'a, &'a str>) {
    for info in COLUMNS.iter().filter(|info| info.kind == Kind::Text) {
        let Some(text) = row.text(info.column) else { continue };
        let is_plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if !is_plain && text.chars().any(is_screen_control) {
            issues.push(arena.alloc_str(&format!("control_characters:{}:escaped in outputs", info.name)));
        }
    }
}
