//! A mapping's cases: raw events with the columns that they must give, as files beside the mapping.
//!
//! A case runs the way that an event takes in production: cut, recognised, mapped. It fails if a column differs, and also if
//! the event would be taken for another source's when nobody says which it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use super::normalize::{Normalizer, Route, Scratch, SourceChoice};
use crate::activity::json::write_object;
use crate::activity::taxonomy::Status;
use crate::activity::{Activity, Column, SetBy};
use crate::identity::Registry;
use crate::mapping::compile::Files;
use crate::mapping::library::Library;
use crate::organisation::{Organisation, OwnedKind};
use crate::record::{Header, Position, RawRecord};

/// A case as its author wrote it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    about: String,
    input: Option<Box<RawValue>>,
    input_text: Option<String>,
    #[serde(default)]
    context: BTreeMap<String, String>,
    /// What the registry would list as the organisation's own, by kind.
    #[serde(default)]
    organisation: BTreeMap<String, Vec<String>>,
    expected: Vec<Map<String, Json>>,
}

/// How a case went.
#[derive(Debug)]
pub struct CaseResult {
    pub source: String,
    /// The file, from the mapping folder.
    pub path: String,
    /// What is wrong, a line each; empty if nothing is.
    pub differences: Vec<String>,
    /// The cases of `actor_type` that decided.
    pub rules: Vec<String>,
    /// Whether a row of the case is `unmapped`.
    pub is_unmapped: bool,
    /// The file with `expected` as it came out.
    pub accepted: Option<String>,
}

/// Runs the cases of the sources that `wanted` names (none: all), in the order of their paths.
pub fn run(files: &Files, library: &Arc<Library>, wanted: &[String]) -> Vec<CaseResult> {
    let mut results = Vec::new();
    for (path, text) in files {
        let Some((source, name)) = path.split_once("/tests/") else { continue };
        if !name.ends_with(".json") || !(wanted.is_empty() || wanted.iter().any(|name| name == source)) {
            continue;
        }
        results.push(run_case(library, source, path, text));
    }
    results
}

fn run_case(library: &Arc<Library>, source: &str, path: &str, text: &str) -> CaseResult {
    let mut result = CaseResult {
        source: source.to_string(),
        path: path.to_string(),
        differences: Vec::new(),
        rules: Vec::new(),
        is_unmapped: false,
        accepted: None,
    };
    let case: Case = match serde_json::from_str(text) {
        Ok(case) => case,
        Err(error) => {
            result.differences.push(format!("not a case: {error}"));
            return result;
        }
    };
    let (record, set, organisation) = match parts_of(&case) {
        Ok(parts) => parts,
        Err(mistake) => {
            result.differences.push(mistake);
            return result;
        }
    };
    let registry = Registry::of_organisation(organisation);
    let normalizer = Normalizer::new(Arc::clone(library), Arc::new(registry));
    let named = Route { source: SourceChoice::Named(source.to_string()), set: set.clone() };
    let rows = rows_of(&normalizer, &record, &named);
    let unmapped = Json::from(Status::Unmapped.as_str());
    result.is_unmapped = rows.iter().any(|row| row.get("status") == Some(&unmapped));
    let rules = rows.iter().filter_map(|row| row.get(Column::ActorTypeRule.name()));
    result.rules = rules.filter_map(Json::as_str).map(str::to_string).collect();
    result.accepted = Some(accepted(&case, &rows));
    result.differences = differences(&case.expected, &rows);
    if !result.is_unmapped {
        let recognised = rows_of(&normalizer, &record, &Route { source: SourceChoice::Auto, set });
        if recognised != rows {
            let status = recognised.iter().find_map(|row| row.get("issues")).cloned().unwrap_or_default();
            result.differences.push(format!("recognised by its content it comes out differently: {status}"));
        }
    }
    result
}

/// The record that a case describes, what the topic's configuration sets, and what the registry would say.
type Parts = (RawRecord, Vec<(Column, String)>, Organisation);

fn parts_of(case: &Case) -> Result<Parts, String> {
    let value = match (&case.input, &case.input_text) {
        (Some(input), None) => input.get().as_bytes().to_vec(),
        (None, Some(text)) => text.clone().into_bytes(),
        _ => return Err("wanted one of `input` and `input_text`".to_string()),
    };
    let mut headers = Vec::new();
    let mut set = Vec::new();
    for (name, value) in &case.context {
        if let Some(name) = name.strip_prefix("header.") {
            headers.push(Header { name: name.to_string(), value: Some(value.clone().into_bytes()) });
        } else if let Some(column) = name.strip_prefix("set.").and_then(Column::parse) {
            set.push((column, value.clone()));
        } else {
            return Err(format!("found `{name}` in `context`, wanted `header.<name>` or `set.<column>`"));
        }
    }
    let record = RawRecord {
        position: Position { topic: "case".into(), partition: 0, offset: 0 },
        topic_id: None,
        timestamp: None,
        key: None,
        headers,
        value: Some(value),
    };
    let mut organisation = Organisation::default();
    for (kind, ids) in &case.organisation {
        let kind = OwnedKind::parse(kind).ok_or_else(|| format!("found `{kind}`, which no organisation lists"))?;
        ids.iter().for_each(|id| organisation.add(kind, id));
    }
    Ok((record, set, organisation))
}

fn rows_of(normalizer: &Normalizer, record: &RawRecord, route: &Route) -> Vec<Map<String, Json>> {
    let mut rows = Vec::new();
    normalizer.normalize(record, route, &mut Scratch::default(), &mut |row, _| rows.push(shown(row)));
    rows
}

/// What a case states of a row: what the mapping derived, without what follows from the way it was read.
fn shown(row: &Activity<'_>) -> Map<String, Json> {
    let mut json = Vec::new();
    write_object(&mut json, row, |column| match column.info().set_by {
        SetBy::Mapping => true,
        SetBy::Registry => column == Column::ActorOwner,
        SetBy::Engine => !matches!(column, Column::Source | Column::MappingVersion | Column::ActorClass),
        SetBy::Input => false,
    });
    serde_json::from_slice(&json).unwrap_or_default()
}

/// One line for every column that differs.
fn differences(expected: &[Map<String, Json>], rows: &[Map<String, Json>]) -> Vec<String> {
    let mut differences = Vec::new();
    if expected.len() != rows.len() {
        differences.push(format!("{} activities came out, {} are expected", rows.len(), expected.len()));
    }
    for (index, (wanted, found)) in expected.iter().zip(rows).enumerate() {
        let place = if rows.len() > 1 { format!("[{index}] ") } else { String::new() };
        let known = wanted.keys().filter(|name| Column::parse(name).is_none());
        differences.extend(known.map(|name| format!("{place}{name}: no column of the schema")));
        for info in crate::activity::COLUMNS {
            match (wanted.get(info.name), found.get(info.name)) {
                (Some(wanted), Some(found)) if wanted != found => {
                    differences.push(format!("{place}{}: {found}, expected {wanted}", info.name));
                }
                (Some(wanted), None) => differences.push(format!("{place}{}: no value, expected {wanted}", info.name)),
                (None, Some(found)) => differences.push(format!("{place}{}: {found}, expected no value", info.name)),
                _ => {}
            }
        }
    }
    differences
}

/// The case's file with what came out as expectation, columns in the order of the schema.
fn accepted(case: &Case, rows: &[Map<String, Json>]) -> String {
    let mut text = format!("{{\n  \"about\": {},\n", Json::from(case.about.as_str()));
    if let Some(input) = &case.input {
        text.push_str(&format!("  \"input\": {},\n", input.get()));
    }
    if let Some(input) = &case.input_text {
        text.push_str(&format!("  \"input_text\": {},\n", Json::from(input.as_str())));
    }
    if !case.context.is_empty() {
        text.push_str(&format!("  \"context\": {},\n", serde_json::json!(case.context)));
    }
    if !case.organisation.is_empty() {
        text.push_str(&format!("  \"organisation\": {},\n", serde_json::json!(case.organisation)));
    }
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            let columns: Vec<String> = crate::activity::COLUMNS
                .iter()
                .filter_map(|info| row.get(info.name).map(|value| format!("      \"{}\": {value}", info.name)))
                .collect();
            format!("    {{\n{}\n    }}", columns.join(",\n"))
        })
        .collect();
    text.push_str(&format!("  \"expected\": [\n{}\n  ]\n}}\n", rows.join(",\n")));
    text
}
