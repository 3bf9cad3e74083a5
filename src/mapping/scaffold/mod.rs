//! A first mapping for a source, made of sample events: what looks like the time, the id, the actor, the action, and why.
//!
//! It compiles and recognises its samples. Everything in it is a guess that says what it rests on, for an author to check
//! against the vendor's documentation; who acted is never guessed from anything but a word that names a kind.

mod candidates;
mod samples;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use self::candidates::{Candidates, candidates, declared_kind};
use self::samples::Field;
pub use self::samples::Samples;
use super::fields::{FieldPath, Segment};
use crate::activity::taxonomy::{ActorType, Basis, Outcome};

/// Other candidates and values that a comment names.
const NUM_NAMED_MAX: usize = 4;

/// Fields that recognition asks for. More would fail on the first event that lacks one.
const NUM_RECOGNISED_BY: usize = 4;

/// Why there is no scaffold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScaffoldError {
    #[error("found `{0}`, wanted a name of lower-case letters, digits and `_` that starts with a letter")]
    Name(String),
    #[error("found no events in the samples")]
    NoEvents,
    #[error("found no field that stands in every sample; are they events of one source?")]
    NothingInCommon,
}

/// The text of `mapping.yaml` for a source of this name.
///
/// # Errors
/// If nothing can be made of the name or the samples.
pub fn scaffold(source: &str, samples: &Samples) -> Result<String, ScaffoldError> {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !source.starts_with(|c: char| c.is_ascii_lowercase()) || !source.chars().all(is_letter) {
        return Err(ScaffoldError::Name(source.to_string()));
    }
    if samples.num_events == 0 {
        return Err(ScaffoldError::NoEvents);
    }
    let candidates = candidates(samples);
    let recognised_by = recognised_by(samples, &candidates)?;
    let mut writer = Writer { text: String::new(), nested: BTreeMap::new(), num_events: samples.num_events };
    let columns = match writer.columns(&candidates) {
        columns if columns.is_empty() => " {}\n".to_string(),
        columns => format!("\n{columns}"),
    };
    let cases = writer.cases(samples);
    let nested: String = writer.nested.iter().map(|(name, path)| format!("  {name}: {}\n", quoted(path))).collect();
    let nested = if nested.is_empty() {
        nested
    } else {
        format!("\n# Strings that hold JSON in the samples.\nnested_json:\n{nested}")
    };
    Ok(format!(
        "# yaml-language-server: $schema=../../schemas/mapping.json\n\
         #\n\
         # Made of {num} sample events. Every rule is a guess that says what it rests on: check it against the vendor's\n\
         # documentation, give each decision a case in `tests/`, and look with `mapping coverage` at what no rule reads.\n\
         source: {source}\n\
         title: {source}\n\
         # Where the vendor documents the log.\n\
         documentation: https://example.com/\n\
         {nested}\n\
         # These stand in every sample. Nothing else may look like it: add a value that only this source has.\n\
         recognise:\n  has: [{recognised_by}]\n\n\
         columns:{columns}\n\
         actor_type:\n{cases}\n\
         # What the log leaves open: `{{ gap: …, compensating_control: … }}`.\n\
         cannot_tell: []\n",
        num = samples.num_events,
        recognised_by = recognised_by.join(", "),
    ))
}

/// Fields at the top of the event that every sample has, the chosen ones first.
fn recognised_by(samples: &Samples, candidates: &[Candidates<'_>]) -> Result<Vec<String>, ScaffoldError> {
    let is_always_there = |path: &FieldPath| {
        let is_plain = path.0.iter().all(|segment| matches!(segment, Segment::Key(key) if !key.is_empty() && !key.contains('"') && !key.starts_with('$')));
        is_plain
            && path.0.len() <= 3
            && samples.fields.get(path).is_some_and(|field| field.num_events == samples.num_events)
    };
    let chosen = candidates.iter().filter_map(|candidates| candidates.fields.first()).map(|(path, _)| *path);
    let mut paths: Vec<&FieldPath> = Vec::new();
    for path in chosen.chain(samples.fields.keys()).filter(|path| is_always_there(path)) {
        if !paths.contains(&path) && paths.len() < NUM_RECOGNISED_BY {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(ScaffoldError::NothingInCommon);
    }
    Ok(paths.into_iter().map(|path| quoted(&path.to_string())).collect())
}

struct Writer {
    text: String,
    /// Names of the JSON in strings that rules read, with the strings' paths.
    nested: BTreeMap<String, String>,
    num_events: usize,
}

impl Writer {
    fn columns(&mut self, candidates: &[Candidates<'_>]) -> String {
        self.text.clear();
        for found in candidates {
            let Some((path, field)) = found.fields.first() else { continue };
            let rule = self.rule(path);
            self.comment(&format!("{}.", self.why(field)));
            let others = found.fields.iter().skip(1).take(NUM_NAMED_MAX).map(|(path, _)| format!("`{path}`"));
            let others: Vec<String> = others.collect();
            if !others.is_empty() {
                self.comment(&format!("Or: {}.", others.join(", ")));
            }
            let _ = match found.column {
                "event_time" => {
                    writeln!(self.text, "  event_time: {{ path: {rule}, time: [{}] }}", field.time_formats.join(", "))
                }
                "result" => {
                    self.result(&rule, field);
                    Ok(())
                }
                "action" => {
                    let _ = writeln!(self.text, "  action: {rule}");
                    self.comment(
                        "The verb that a word of the operation's name stands for; exceptions belong into a table.",
                    );
                    writeln!(
                        self.text,
                        "  action_verb: [{{ path: {rule}, verb_of: last }}, {{ path: {rule}, verb_of: first }}, {{ const: other }}]"
                    )
                }
                column => writeln!(self.text, "  {column}: {rule}"),
            };
        }
        std::mem::take(&mut self.text)
    }

    fn result(&mut self, rule: &str, field: &Field) {
        let mut rows = String::new();
        for value in field.values.keys() {
            let outcome = outcome_of(value);
            let _ = write!(rows, "{}: {}, ", quoted(value), outcome.as_str());
        }
        let _ = writeln!(
            self.text,
            "  result: {{ path: {rule}, table: {{ {} }}, otherwise: unknown }}",
            rows.trim_end_matches(", ")
        );
    }

    fn cases(&mut self, samples: &Samples) -> String {
        self.text.clear();
        let mut names = BTreeSet::new();
        if let Some((path, field)) = declared_kind(samples) {
            let rule = self.rule(path);
            self.comment(&format!("`{path}` names the kind: {}.", self.why(field)));
            for value in field.values.keys() {
                let name = case_name(value, &mut names);
                let is = kind_of(value);
                let basis = if is == ActorType::Unknown { Basis::None } else { Basis::Declared };
                let _ = writeln!(
                    self.text,
                    "  - {{ case: {name}, is: {}, basis: {}, when: {{ {rule}: {} }} }}",
                    is.as_str(),
                    basis.as_str(),
                    quoted(value)
                );
            }
        } else {
            self.comment("No field of the samples names the kind of actor. What does the vendor's documentation say?");
            let _ = writeln!(self.text, "  - {{ case: undecided, is: unknown, basis: none }}");
        }
        std::mem::take(&mut self.text)
    }

    fn comment(&mut self, text: &str) {
        let _ = writeln!(self.text, "  # {text}");
    }

    /// What speaks for a field, from the samples.
    fn why(&self, field: &Field) -> String {
        let mut why = format!("in {} of {} events", field.num_events, self.num_events);
        if field.is_unique && field.num_events > 1 {
            why.push_str(", different in each");
        } else if field.is_closed_set() {
            let values =
                field.values.iter().take(NUM_NAMED_MAX).map(|(value, num)| format!("{} ({num})", shown(value)));
            why.push_str(&format!(", {}", values.collect::<Vec<_>>().join(", ")));
            if field.values.len() > NUM_NAMED_MAX {
                why.push_str(", …");
            }
        } else if !field.has_more_values {
            why.push_str(&format!(", {} values", field.values.len()));
        }
        why
    }

    /// A path as a rule writes it: through a name for the JSON of a string, and to the first element of an array.
    fn rule(&mut self, path: &FieldPath) -> String {
        let text_at = path.0.iter().position(|segment| *segment == Segment::Text);
        let Some(at) = text_at else { return quoted(&first_element(path)) };
        let outer = FieldPath(path.0[..at].to_vec());
        let name: String = outer.name().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let name = format!("{}_json", name.to_lowercase());
        self.nested.insert(name.clone(), first_element(&outer));
        quoted(&format!("{name}.{}", first_element(&FieldPath(path.0[at + 1..].to_vec()))))
    }
}

fn first_element(path: &FieldPath) -> String {
    path.to_string().replace("[]", "[0]")
}

/// A text as YAML writes it: in quotes where it could be taken for something else.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !["true", "false", "null", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        return text.to_string();
    }
    let is_printable = text.chars().all(|c| !c.is_control());
    if is_printable { format!("'{}'", text.replace('\'', "''")) } else { serde_json::Value::from(text).to_string() }
}

/// A value in a comment: on one line, and short.
fn shown(value: &str) -> String {
    const CHARS_MAX: usize = 30;
    value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(CHARS_MAX).collect()
}

fn case_name(value: &str, taken: &mut BTreeSet<String>) -> String {
    let name: String =
        value.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let name = if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("kind_{name}") };
    let mut unique = name.clone();
    while !taken.insert(unique.clone()) {
        unique = format!("{name}_{}", taken.len());
    }
    unique
}

/// The actor type that a platform's own word for a kind most often means.
fn kind_of(word: &str) -> ActorType {
    let word = word.to_lowercase();
    let is = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    if is(&["anonymous", "unauthenticated"]) {
        ActorType::Anonymous
    } else if is(&["system", "platform", "internal"]) {
        ActorType::Platform
    } else if is(&["service_account", "service account", "serviceaccount", "machine"]) {
        ActorType::ServiceAccount
    } else if is(&["principal"]) {
        ActorType::ServicePrincipal
    } else if is(&["ai_agent", "aiagent", "ai agent"]) {
        ActorType::AiAgent
    } else if is(&["bot", "automation"]) {
        ActorType::Bot
    } else if is(&["api_key", "api key", "apikey", "token"]) {
        ActorType::ApiKey
    } else if is(&["user", "human", "person", "member", "employee"]) {
        ActorType::Human
    } else {
        ActorType::Unknown
    }
}

fn outcome_of(word: &str) -> Outcome {
    let word = word.to_lowercase();
    let is = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    if is(&["den", "block", "forbid", "unauthorized"]) {
        Outcome::Denied
    } else if is(&["unsuccess", "fail", "err", "false", "invalid"]) {
        Outcome::Failure
    } else if is(&["succ", "ok", "allow", "true", "pass", "complete"]) {
        Outcome::Success
    } else if is(&["pending", "start", "progress"]) {
        Outcome::Pending
    } else {
        Outcome::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::super::library::Library;
    use super::*;

    fn samples(events: &[serde_json::Value]) -> Samples {
        let mut samples = Samples::default();
        events.iter().for_each(|event| samples.add(event));
        samples
    }

    #[test]
    fn what_the_samples_show_becomes_rules_with_reasons() {
        let event = |id: u32, kind: &str, outcome: &str| {
            serde_json::json!({
                "id": format!("ev-{id}"), "created_at": "2026-03-01T10:00:00Z", "action": "key.create",
                "actor": { "id": format!("u-{}", id % 2), "type": kind, "email": "ann@example.com" },
                "ip": "192.0.2.7", "outcome": outcome, "details": "{\"request_id\":\"r-1\"}",
                "targets": [{ "id": "k-1", "type": "key" }]
            })
        };
        let samples = samples(&[event(1, "user", "ok"), event(2, "user", "ok"), event(3, "bot", "failed")]);
        insta::assert_snapshot!(scaffold("acme_audit", &samples).expect("a scaffold"));
    }

    #[test]
    fn odd_names_and_values_stay_what_they_are() {
        let event = serde_json::json!({
            "@time stamp": "1767261600", "a.b": { "actor type": "it's: {odd}\n" }, "": 1, "$x": 2, "user id": "no", "result": "yes"
        });
        let text = scaffold("odd", &samples(&[event.clone(), event])).expect("a scaffold");
        let files = BTreeMap::from([("odd/mapping.yaml".to_string(), text.clone())]);
        assert!(Library::compile(&files).is_ok_and(|library| library.warnings().0.is_empty()), "{text}");
    }

    #[test]
    fn what_is_no_source_has_no_scaffold() {
        let event = serde_json::json!({ "a": 1 });
        assert_eq!(scaffold("../x", &samples(&[event])), Err(ScaffoldError::Name("../x".to_string())));
        assert_eq!(scaffold("x", &Samples::default()), Err(ScaffoldError::NoEvents));
        let apart = [serde_json::json!({ "a": 1 }), serde_json::json!({ "b": 1 })];
        assert_eq!(scaffold("x", &samples(&apart)), Err(ScaffoldError::NothingInCommon));
    }
}
