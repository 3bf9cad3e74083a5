//! `actorline explain`: which rule set each column of an event, and what else was considered.

use std::io::Write as _;
use std::path::PathBuf;

use bumpalo::Bump;
use clap::Args;

use super::Failure;
use super::mappings::NormalizerArguments;
use super::records;
use crate::activity::json::{is_screen_control, write_value};
use crate::activity::{Activity, Column, SetBy, Value};
use crate::envelope;
use crate::mapping::explain::{Considered, Explanation, Notes};
use crate::mapping::secrets::redact;
use crate::pipeline::normalize::{Normalizer, Route};
use crate::record::RawRecord;

/// Longest note, in characters: a few lines of a terminal.
const NOTE_CHARS_MAX: usize = 400;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    normalizer: NormalizerArguments,
    /// A file with events; stdin if none is given
    file: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (normalizer, route) = arguments.normalizer.load()?;
    let files: Vec<PathBuf> = arguments.file.iter().cloned().collect();
    let mut out = std::io::stdout().lock();
    records::each(&files, &mut |record| {
        let text = explain_record(&normalizer, &route, record);
        out.write_all(text.as_bytes()).map_err(Failure::Output)
    })
}

fn explain_record(normalizer: &Normalizer, route: &Route, record: &RawRecord) -> String {
    let arena = Bump::new();
    let notes = Notes::default();
    let events = match envelope::cut(record, &arena) {
        Ok(mut events) => {
            normalizer.complete_context(&mut events, record, route);
            events
        }
        Err(rejection) => return format!("{}: rejected: {rejection}\n\n", record.position),
    };
    let mut text = String::new();
    if events.is_empty() {
        text.push_str(&format!("{}: empty: a record without events\n\n", record.position));
    }
    for event in &events {
        match normalizer.prepare(event, route, &arena) {
            Err(issue) => text.push_str(&format!("{}: unmapped: {issue}\n\n", record.position)),
            Ok((plan, prepared)) => {
                for item in 0..prepared.num_activities() {
                    let mut explanation = Explanation::default();
                    let organisation = normalizer.registry().organisation();
                    let mut row =
                        plan.activity(&prepared, item, organisation, &arena, Some((&mut explanation, &notes)));
                    let mapped = row.clone();
                    normalizer.finish(&mut row, record, event, (item, events.len()), item, &arena);
                    text.push_str(&format!("{}: {} (mapping {})\n", record.position, plan.source, plan.place.file));
                    show(&mut text, &mapped, &row, &explanation);
                }
            }
        }
    }
    text
}

/// Shows how `row` came to be, which was `mapped` before the registry was asked.
fn show(text: &mut String, mapped: &Activity<'_>, row: &Activity<'_>, explanation: &Explanation) {
    text.push_str("  actor type\n");
    for case in &explanation.cases {
        let outcome = if case.decided { "decided" } else { "did not hold" };
        text.push_str(&format!("    {} `{}` {outcome}\n", case.place, case.name));
        if !case.decided {
            show_notes(text, case);
        }
    }
    if !explanation.cases.iter().any(|case| case.decided) {
        text.push_str("    no case held, so the actor type is unknown\n");
    }
    if row.text(Column::ActorTypeRule) != mapped.text(Column::ActorTypeRule) {
        let entry = shown(row.get(Column::ActorTypeRule));
        text.push_str(&format!("    registry entry {entry} decided instead: {}\n", row.actor_type().as_str()));
    }
    let decisive_case = explanation.cases.iter().find(|case| case.decided);
    text.push_str("  columns\n");
    for (info, value) in row.iter().filter(|(info, _)| info.set_by != SetBy::Input) {
        let rules: Vec<&Considered> =
            explanation.rules.iter().filter(|(column, _)| *column == info.column).map(|(_, rule)| rule).collect();
        if value.is_null() && rules.is_empty() {
            continue;
        }
        let is_mapped = value == mapped.get(info.column);
        let rule =
            rules.iter().find(|rule| rule.decided).copied().or(decisive_case.filter(|_| is_of_case(info.column)));
        let by = match rule {
            // Besides the registry only the receipt changes what was mapped, and it changes none of the mapping's columns.
            _ if !is_mapped && info.set_by != SetBy::Engine => "registry".to_string(),
            _ if !is_mapped && is_of_case(info.column) => "registry".to_string(),
            Some(rule) => rule.place.to_string(),
            None if value.is_null() => "no value".to_string(),
            None => default_origin(info.column).to_string(),
        };
        text.push_str(&format!("    {:<24} {}  <- {by}\n", info.name, shown(value)));
        for rule in rules.iter().filter(|rule| !rule.decided) {
            show_notes(text, rule);
        }
    }
    text.push('\n');
}

/// The columns that the deciding case of `actor_type` settles, unless the registry does.
fn is_of_case(column: Column) -> bool {
    use Column::{ActorClass, ActorType, ActorTypeBasis, ActorTypeConflict, ActorTypeRule};
    matches!(column, ActorType | ActorClass | ActorTypeBasis | ActorTypeRule | ActorTypeConflict)
}

/// Who sets a column that no rule of the mapping set.
fn default_origin(column: Column) -> &'static str {
    match column.info().set_by {
        SetBy::Registry => "registry",
        SetBy::Mapping => "what the schema says where a mapping is silent",
        SetBy::Engine | SetBy::Input => "engine",
    }
}

fn show_notes(text: &mut String, considered: &Considered) {
    for note in &considered.notes {
        // A note quotes the event. It is for reading, so it is short, and it shows no secret that the columns do not.
        let note_text: String =
            redact(&note.text).chars().filter(|c| !is_screen_control(*c)).take(NOTE_CHARS_MAX).collect();
        text.push_str(&format!("        {}:{} {note_text}\n", note.place.line, note.place.column));
    }
}

fn shown(value: Value<'_>) -> String {
    let mut json = Vec::new();
    write_value(&mut json, value);
    String::from_utf8_lossy(&json).into_owned()
}
