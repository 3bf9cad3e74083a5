//! Which fields of given events no rule reads, and which columns stay empty: where an author should look next.

use std::collections::{BTreeMap, BTreeSet};

use bumpalo::Bump;

use super::normalize::{Normalizer, Route};
use crate::activity::{COLUMNS, Column, SetBy};
use crate::envelope;
use crate::mapping::fields::{FieldPath, each_field};
use crate::mapping::reads::Reads;
use crate::mapping::secrets::redact;
use crate::record::RawRecord;

/// Most fields that are told apart in one source's events. Vendors have some hundreds; events whose keys are data, such as ids,
/// would fill memory.
const NUM_FIELDS_MAX: usize = 10_000;

/// Longest example, in characters: enough to tell what a field is.
const EXAMPLE_CHARS_MAX: usize = 60;

/// The source under which events go that no mapping recognises.
const UNRECOGNISED: &str = "unrecognised";

/// What became of the fields and columns of each source's events.
#[derive(Debug, Default)]
pub struct Coverage {
    sources: BTreeMap<String, SourceCoverage>,
    pub num_rejected: u64,
}

#[derive(Debug, Default)]
struct SourceCoverage {
    /// What the source's mapping reads; nothing where there is none.
    reads: Option<Reads>,
    num_events: u64,
    num_rows: u64,
    fields: BTreeMap<FieldPath, Field>,
    has_more_fields: bool,
    num_filled: BTreeMap<Column, u64>,
}

#[derive(Debug)]
struct Field {
    num_events: u64,
    is_read: bool,
    example: String,
}

/// One finding: a field that no rule reads, or a column that stays empty in some rows.
#[derive(Debug, PartialEq)]
pub struct Finding {
    pub source: String,
    pub kind: FindingKind,
    pub name: String,
    /// Events that have the field, or rows in which the column is empty.
    pub num: u64,
    /// Of how many.
    pub num_all: u64,
    pub example: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    UnreadField,
    EmptyColumn,
}

impl FindingKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            FindingKind::UnreadField => "unread field",
            FindingKind::EmptyColumn => "empty column",
        }
    }
}

impl Coverage {
    /// Looks at every event of a record.
    pub fn add(&mut self, normalizer: &Normalizer, route: &Route, record: &RawRecord) {
        let arena = Bump::new();
        let Ok(mut events) = envelope::cut(record, &arena) else {
            self.num_rejected += 1;
            return;
        };
        normalizer.complete_context(&mut events, record, route);
        for event in &events {
            let prepared = normalizer.prepare(event, route, &arena).ok();
            let name = prepared.as_ref().map_or(UNRECOGNISED, |(plan, _)| &plan.source);
            let source = self.sources.entry(name.to_string()).or_default();
            if let Some((plan, _)) = &prepared {
                source.reads.get_or_insert_with(|| Reads::of(plan));
            }
            source.add_fields(event.raw);
            let Some((plan, prepared)) = prepared else { continue };
            for item in 0..prepared.num_activities() {
                let organisation = normalizer.registry().organisation();
                let row = plan.activity(&prepared, item, organisation, &arena, None);
                source.num_rows += 1;
                for (info, value) in row.iter().filter(|(_, value)| !value.is_null()) {
                    let says_nothing = matches!(value.as_text(), Some("unknown" | "other"));
                    *source.num_filled.entry(info.column).or_default() += u64::from(!says_nothing);
                }
            }
        }
    }

    /// What to look at, source by source: fields that no rule reads, most frequent first, then columns that are empty in every
    /// row, or (`partly`) in some.
    pub fn findings(&self, partly: bool) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, source) in &self.sources {
            let mut unread: Vec<_> = source.fields.iter().filter(|(_, field)| !field.is_read).collect();
            unread.sort_by_key(|(_, field)| std::cmp::Reverse(field.num_events));
            findings.extend(unread.into_iter().map(|(path, field)| Finding {
                source: name.clone(),
                kind: FindingKind::UnreadField,
                name: path.to_string(),
                num: field.num_events,
                num_all: source.num_events,
                example: Some(field.example.clone()),
            }));
            for info in COLUMNS.iter().filter(|info| info.set_by == SetBy::Mapping) {
                let num = source.num_rows - source.num_filled.get(&info.column).copied().unwrap_or_default();
                if num > 0 && (partly || num == source.num_rows) {
                    findings.push(Finding {
                        source: name.clone(),
                        kind: FindingKind::EmptyColumn,
                        name: info.name.to_string(),
                        num,
                        num_all: source.num_rows,
                        example: None,
                    });
                }
            }
        }
        findings
    }

    /// The sources of which not every field could be kept apart.
    pub fn cut_sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().filter(|(_, source)| source.has_more_fields).map(|(name, _)| name.as_str())
    }
}

impl SourceCoverage {
    fn add_fields(&mut self, raw: &str) {
        self.num_events += 1;
        // A number beyond any type is JSON and no value here: such an event is counted and not looked into.
        let Ok(event) = serde_json::from_str(raw) else { return };
        let mut seen = BTreeSet::new();
        each_field(&event, &mut |path, value| {
            if !seen.insert(path.clone()) {
                return;
            }
            if let Some(field) = self.fields.get_mut(path) {
                field.num_events += 1;
            } else if self.fields.len() < NUM_FIELDS_MAX {
                let example = match value {
                    serde_json::Value::String(text) => text.clone(),
                    value => value.to_string(),
                };
                let is_read = self.reads.as_ref().is_some_and(|reads| reads.includes(path));
                let example = redact(&example).chars().take(EXAMPLE_CHARS_MAX).collect();
                self.fields.insert(path.clone(), Field { num_events: 1, is_read, example });
            } else {
                self.has_more_fields = true;
            }
        });
    }
}
