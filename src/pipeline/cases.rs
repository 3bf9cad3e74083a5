//! A mapping's cases: raw events with the columns that they must give, as files beside the mapping.
//!
//! A case runs the way that an event takes in production: cut, recognised, mapped. It fails if a column differs, and also if
//! the event would be taken for another source's when nobody says which it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use super::normalize::{Normalizer, Route, Scratch, SourceChoice};
use crate::activity::json::write_object;
use crate::activity::taxonomy::Status;
use crate::activity::{Activity, Column, SetBy};
use crate::diagnostic::{Diagnostics, Place};
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
    /// What its author says it shows.
    pub about: String,
    /// What is wrong; empty if nothing is.
    pub differences: Vec<Difference>,
    /// The cases of `actor_type` that decided.
    pub rules: Vec<String>,
    /// Whether a row of the case is `unmapped`.
    pub is_unmapped: bool,
    /// The file with `expected` as it came out.
    pub accepted: Option<String>,
}

/// One thing that is wrong with a case.
#[derive(Debug)]
pub enum Difference {
    Text(String),
    /// A column with another value than expected, each as lines of JSON without those that both have. No line: no value.
    Column {
        place: String,
        column: &'static str,
        expected: Vec<String>,
        found: Vec<String>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Text(text) => f.write_str(text),
            Difference::Column { place, column, expected, found } => {
                let shown = |lines: &[String]| if lines.is_empty() { "no value".to_string() } else { lines.join(" ") };
                write!(f, "{place}{column}: {}, expected {}", shown(found), shown(expected))
            }
        }
    }
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
        about: String::new(),
        differences: Vec::new(),
        rules: Vec::new(),
        is_unmapped: false,
        accepted: None,
    };
    let case: Case = match serde_json::from_str(text) {
        Ok(case) => case,
        Err(error) => {
            result.differences.push(Difference::Text(format!("not a case: {error}")));
            return result;
        }
    };
    result.about.clone_from(&case.about);
    let (record, set, organisation) = match parts_of(&case) {
        Ok(parts) => parts,
        Err(mistake) => {
            result.differences.push(Difference::Text(mistake));
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
            let text = format!("recognised by its content it comes out differently: {status}");
            result.differences.push(Difference::Text(text));
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

/// What differs, column by column.
fn differences(expected: &[Map<String, Json>], rows: &[Map<String, Json>]) -> Vec<Difference> {
    let mut differences = Vec::new();
    if expected.len() != rows.len() {
        let text = format!("{} activities came out, {} are expected", rows.len(), expected.len());
        differences.push(Difference::Text(text));
    }
    for (index, (wanted, found)) in expected.iter().zip(rows).enumerate() {
        let place = if rows.len() > 1 { format!("[{index}] ") } else { String::new() };
        let unknown = wanted.keys().filter(|name| Column::parse(name).is_none());
        differences.extend(unknown.map(|name| Difference::Text(format!("{place}{name}: no column of the schema"))));
        for info in crate::activity::COLUMNS {
            let (wanted, found) = (wanted.get(info.name), found.get(info.name));
            if wanted == found {
                continue;
            }
            let [mut expected, mut found] = [wanted, found].map(|value| value.map(lines_of).unwrap_or_default());
            let both: BTreeSet<String> = expected.iter().filter(|line| found.contains(line)).cloned().collect();
            // Entries in another order differ, too: then all are shown.
            if both.len() < expected.len().max(found.len()) {
                expected.retain(|line| !both.contains(line));
                found.retain(|line| !both.contains(line));
            }
            differences.push(Difference::Column { place: place.clone(), column: info.name, expected, found });
        }
    }
    differences
}

/// A value as lines: one for each entry of a list or map, so that what changed stands alone.
fn lines_of(value: &Json) -> Vec<String> {
    match value {
        Json::Array(items) => items.iter().map(Json::to_string).collect(),
        Json::Object(entries) => entries.iter().map(|(key, value)| format!("{key}: {value}")).collect(),
        value => vec![value.to_string()],
    }
}

/// What the cases of each source leave out: decisions that none shows, and an event that is not the source's.
pub fn omissions(library: &Library, results: &[CaseResult]) -> Diagnostics {
    let mut findings = Diagnostics::default();
    for plan in library.plans() {
        let of_source: Vec<&CaseResult> = results.iter().filter(|result| result.source == plan.source).collect();
        let shown: BTreeSet<&str> = of_source.iter().flat_map(|result| &result.rules).map(String::as_str).collect();
        for case in plan.cases.iter().filter(|case| !shown.contains(case.name.as_str())) {
            findings.warning("no-case", &case.place, format!("found no case that shows the decision `{}`", case.name));
        }
        if !of_source.iter().any(|result| result.is_unmapped) {
            findings.warning("no-case", &plan.place, "found no case with an event that is not this source's");
        }
        for result in of_source.iter().filter(|result| !result.differences.is_empty()) {
            let place = Place { file: result.path.as_str().into(), line: 1, column: 1 };
            findings.warning("failed-case", &place, "found a case that fails; `mapping test` shows how");
        }
    }
    findings
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
