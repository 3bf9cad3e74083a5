//! What other tests start from: a small mapping, and the rows that records leave under it.

use std::collections::BTreeMap;
use std::sync::Arc;

use actorline::activity::json::write_object;
use actorline::identity::Registry;
use actorline::mapping::Library;
use actorline::pipeline::normalize::{Normalizer, Route, Scratch};
use actorline::record::{Position, RawRecord};
use serde_json::{Map, Value};

pub type Row = Map<String, Value>;

/// A source with little in it, so that a test shows one thing.
const ACME: &str = r#"
source: acme
title: Acme audit log
documentation: https://docs.example.com/audit
recognise: { has: [acme_id, op] }
columns:
  event_uid: acme_id
  event_time: { path: at, time: [rfc3339, epoch_s] }
  action: op
  actor_id: actor.id
  actor_name: actor.name
  actor_email: { path: actor.email, lower: true }
  records_affected: count
  credential_id: key
  result: { path: status, table: { OK: success, NO: denied } }
  result_reason: reason
  source_ip: ip
  tenant: org
  attributes: { map: { amount: amount } }
actor_type:
  - { case: person, is: human, basis: declared, when: { actor.kind: person } }
cannot_tell: []
"#;

/// Applies a mapping alone, without a registry.
pub fn normalizer(source: &str, mapping: &str) -> Normalizer {
    let files = BTreeMap::from([(format!("{source}/mapping.yaml"), mapping.to_string())]);
    let library = Library::compile(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Normalizer::new(Arc::new(library), Arc::new(Registry::empty()))
}

pub fn acme() -> Normalizer {
    normalizer("acme", ACME)
}

pub fn record(value: impl AsRef<[u8]>) -> RawRecord {
    RawRecord {
        position: Position { topic: "audit".into(), partition: 3, offset: 42 },
        topic_id: None,
        timestamp: None,
        key: None,
        headers: Vec::new(),
        value: Some(value.as_ref().to_vec()),
    }
}

pub fn rows(normalizer: &Normalizer, record: &RawRecord) -> Vec<Row> {
    rows_by(normalizer, record, &Route::default())
}

pub fn rows_by(normalizer: &Normalizer, record: &RawRecord, route: &Route) -> Vec<Row> {
    let mut rows = Vec::new();
    normalizer.normalize(record, route, &mut Scratch::default(), &mut |row, _| {
        let mut json = Vec::new();
        write_object(&mut json, row, |_| true);
        rows.push(serde_json::from_slice(&json).expect("a row is JSON"));
    });
    rows
}

/// The only row that an event of the small mapping leaves.
pub fn acme_row(event: &str) -> Row {
    let mut rows = rows(&acme(), &record(event));
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// The issues of a row, without their details.
pub fn issue_codes(row: &Row) -> Vec<String> {
    let issues = row.get("issues").and_then(Value::as_array).cloned().unwrap_or_default();
    let codes =
        issues.iter().filter_map(|issue| issue.as_str()?.splitn(3, ':').take(2).collect::<Vec<_>>().join(":").into());
    codes.collect()
}
