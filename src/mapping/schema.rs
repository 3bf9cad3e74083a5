//! The JSON Schema of mapping files, for editors: completion, descriptions, and most mistakes while typing.
//!
//! Generated from `grammar`, the functions, the columns and the closed sets; a test keeps `schemas/mapping.json` up to date.

use serde_json::{Map, Value, json};

use super::compile::may_set;
use super::functions::{ALL as FUNCTIONS, Argument};
use super::grammar::{
    CASE, COMPANIONS, CONDITION_WORDS, GAP, HEADS, HOP, Key, MAPPING, Part, Shape, TARGET, TESTS, VALUE_CASE,
};
use crate::activity::COLUMNS;
use crate::activity::taxonomy::{ActorType, Basis, ClosedSet};
use crate::organisation::OwnedKind;

/// The schema as text, the same at every call.
pub fn json_schema() -> String {
    let parts = [&CASE, &VALUE_CASE, &HOP, &TARGET, &GAP];
    let mut definitions = Map::new();
    for part in parts {
        definitions.insert(name_of(part), object(part));
    }
    definitions.insert("expression".to_string(), expression());
    definitions.insert("condition".to_string(), condition());
    definitions.insert("test".to_string(), test());
    definitions.insert("columns".to_string(), columns());
    let Value::Object(mut schema) = object(&MAPPING) else { return String::new() };
    schema.insert("$schema".to_string(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".to_string(), json!("actorline mapping"));
    schema.insert("definitions".to_string(), Value::Object(definitions));
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

fn name_of(part: &Part) -> String {
    part.name.replace(' ', "_")
}

fn object(part: &Part) -> Value {
    let required: Vec<&str> = part.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties(part.keys), "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn properties(keys: &[Key]) -> Map<String, Value> {
    keys.iter().map(|key| (key.name.to_string(), described(shape(key.shape), key.about))).collect()
}

fn described(mut schema: Value, about: &str) -> Value {
    // Beside a reference nothing else is read, so the description wraps it.
    if schema.get("$ref").is_some() {
        schema = json!({ "allOf": [schema] });
    }
    schema["description"] = json!(about);
    schema
}

fn shape(shape: Shape) -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    match shape {
        Shape::Text | Shape::Path => json!({ "type": "string" }),
        Shape::Texts => texts,
        Shape::TextOrTexts | Shape::PathOrPaths => {
            json!({ "anyOf": [{ "type": ["string", "number", "boolean"] }, texts] })
        }
        Shape::Truth => json!({ "type": "boolean" }),
        Shape::Expression => reference("expression"),
        Shape::Expressions => json!({ "type": "array", "items": reference("expression") }),
        Shape::Condition => reference("condition"),
        Shape::Conditions => json!({ "type": "array", "items": reference("condition") }),
        Shape::Test => reference("test"),
        Shape::NamedExpressions => named(reference("expression")),
        Shape::NamedConditions => named(reference("condition")),
        Shape::NamedPaths => named(json!({ "type": "string" })),
        Shape::Columns => reference("columns"),
        Shape::Fragments => named(json!({
            "type": "object",
            "properties": { "fragment": { "type": "string" } },
            "required": ["fragment"],
            "additionalProperties": reference("expression"),
        })),
        Shape::ActorType => closed(&ActorType::SET),
        Shape::Basis => closed(&Basis::SET),
        Shape::OwnedKind => json!({ "enum": OwnedKind::ALL.map(OwnedKind::as_str) }),
        Shape::TextsOrListOf(part) => {
            json!({ "type": "array", "items": { "anyOf": [{ "type": "string" }, reference(&name_of(part))] } })
        }
        Shape::ListOf(part) => json!({ "type": "array", "minItems": 1, "items": reference(&name_of(part)) }),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{name}") })
}

fn named(of: Value) -> Value {
    json!({ "type": "object", "additionalProperties": of })
}

fn closed(set: &ClosedSet) -> Value {
    json!({ "enum": set.terms.iter().map(|term| term.value).collect::<Vec<_>>() })
}

fn expression() -> Value {
    let mut keys = properties(HEADS.keys);
    keys.extend(properties(COMPANIONS.keys));
    for function in FUNCTIONS {
        keys.insert(function.name.to_string(), described(argument(function.argument), function.about));
    }
    json!({ "anyOf": [
        { "type": ["string", "number", "boolean"] },
        { "type": "array", "minItems": 1, "items": reference("expression") },
        { "type": "object", "properties": keys, "additionalProperties": false },
    ] })
}

fn argument(argument: Argument) -> Value {
    match argument {
        Argument::True => json!({ "const": true }),
        Argument::Text => json!({ "type": "string" }),
        Argument::TextOrTexts => shape(Shape::TextOrTexts),
        Argument::Number => json!({ "type": "integer", "minimum": 0 }),
        Argument::Words(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": "array", "items": { "enum": words } }] })
        }
        Argument::Table => {
            json!({ "anyOf": [{ "type": "string" }, named(json!({ "type": ["string", "number", "boolean"] }))] })
        }
        Argument::Texts => named(json!({ "type": "string" })),
    }
}

fn condition() -> Value {
    json!({
        "type": "object",
        "properties": properties(CONDITION_WORDS.keys),
        "additionalProperties": reference("test"),
    })
}

fn test() -> Value {
    let Value::Object(tests) = object(&TESTS) else { return Value::Null };
    json!({ "anyOf": [
        { "type": ["string", "number", "boolean"] },
        { "type": "array", "minItems": 1, "items": { "type": ["string", "number", "boolean"] } },
        tests,
    ] })
}

fn columns() -> Value {
    let columns = COLUMNS.iter().filter(|info| may_set(info.column));
    let properties: Map<String, Value> =
        columns.map(|info| (info.name.to_string(), described(reference("expression"), info.meaning))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}
