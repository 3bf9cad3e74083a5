//! `actorline explain`: which rule set each column of an event, and what else was considered.

use std::io::Write as _;
use std::path::PathBuf;

use bumpalo::Bump;
use clap::Args;

use super::Failure;
use super::mappings::{MappingArguments, RegistryArguments};
use super::records;
use crate::activity::json::{is_screen_control, write_value};
use crate::activity::{Activity, Column, SetBy, Value};
use crate::envelope;
use crate::mapping::explain::{Considered, Explanation, Notes};
use crate::pipeline::normalize::{Normalizer, Route};
use crate::record::RawRecord;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The source that the events come from, instead of recognising it
    #[arg(long, value_name = "NAME", default_value = "auto")]
    source: String,
    #[command(flatten)]
    mappings: MappingArguments,
    #[command(flatten)]
    registry: RegistryArguments,
    /// A file with events; stdin if none is given
    file: Option<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let normalizer = Normalizer::new(arguments.mappings.library()?, arguments.registry.load()?);
    let route = Route { source: records::source_choice(&normalizer, &arguments.source)?, set: Vec::new() };
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
    for event in &events {
        match normalizer.prepare(event, route, &arena) {
            Err(issue) => text.push_str(&format!("{}: unmapped: {issue}\n\n", record.position)),
            Ok((plan, prepared)) => {
                for item in 0..prepared.num_activities() {
                    let mut explanation = Explanation::default();
                    let organisation = normalizer.registry().organisation();
                    let mut row =
                        plan.activity(&prepared, item, organisation, &arena, Some((&mut explanation, &notes)));
                    normalizer.finish(&mut row, record, event, (item, events.len()), item, &arena);
                    text.push_str(&format!("{}: {} (mapping {})\n", record.position, plan.source, plan.place.file));
                    show(&mut text, &row, &explanation);
                }
            }
        }
    }
    text
}

fn show(text: &mut String, row: &Activity<'_>, explanation: &Explanation) {
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
    text.push_str("  columns\n");
    for (info, value) in row.iter().filter(|(info, _)| info.set_by != SetBy::Input) {
        let rules: Vec<&Considered> =
            explanation.rules.iter().filter(|(column, _)| *column == info.column).map(|(_, rule)| rule).collect();
        if value.is_null() && rules.is_empty() {
            continue;
        }
        let by = match rules.iter().find(|rule| rule.decided) {
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
        let note_text: String = note.text.chars().filter(|c| !is_screen_control(*c)).collect();
        text.push_str(&format!("        {}:{} {note_text}\n", note.place.line, note.place.column));
    }
}

fn shown(value: Value<'_>) -> String {
    let mut json = Vec::new();
    write_value(&mut json, value);
    String::from_utf8_lossy(&json).into_owned()
}
