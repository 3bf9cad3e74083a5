//! A lake with rows of known records under one mapping, and other mappings to derive them by.

use std::collections::BTreeMap;
use std::sync::Arc;

use actorline::activity::arrow::RowBuilder;
use actorline::archive::verify::{Options, Progress, Report, Signatures, verify};
use actorline::checkpoint::{Advance, NextOffset, TopicPartition};
use actorline::pipeline::normalize::{Normalizer, Route, Scratch};
use actorline::pipeline::replay::{self, Applied, Deriving, Plan, Selection};
use actorline::record::{Position, RawRecord};
use actorline::sink::lake::{Lake, LakeLocation};

use crate::rows::normalizer;

pub const GROUP: &str = "audit";

/// 2024-03-01, in microseconds.
pub const DAY: i64 = 1_709_251_200_000_000;

/// A source whose case names `actor_type`, and which reads `columns` beside.
pub fn acme(actor_type: &str, columns: &str) -> String {
    format!(
        r#"
source: acme
title: Acme audit log
documentation: https://docs.example.com/audit
recognise: {{ has: [acme_id, op] }}
columns:
  event_uid: acme_id
  action: op
  actor_id: actor
{columns}
actor_type:
  - {{ case: named, is: {actor_type}, basis: declared, when: {{ actor: {{ exists: true }} }} }}
cannot_tell: []
"#
    )
}

pub fn of(mapping: &str) -> Normalizer {
    normalizer("acme", mapping)
}

pub fn before() -> Normalizer {
    of(&acme("human", ""))
}

pub fn after() -> Normalizer {
    of(&acme("service_account", "  region: org"))
}

pub fn record(offset: i64, value: &str) -> RawRecord {
    RawRecord {
        position: Position { topic: "audit.test".into(), partition: 0, offset },
        topic_id: Some("topic-1".into()),
        // A few to the day, so that there are several files.
        timestamp: Some(DAY + offset / 10 * 86_400_000_000 + offset),
        key: None,
        headers: Vec::new(),
        value: Some(value.as_bytes().to_vec()),
    }
}

pub fn event(number: i64) -> String {
    format!(r#"{{"acme_id":"{number}","op":"read","actor":"a-{number}","org":"o-1"}}"#)
}

/// Commits `records`, which follow each other, as a run does.
pub async fn append(lake: &Lake, normalizer: &Normalizer, records: &[RawRecord]) {
    let mut rows = RowBuilder::default();
    for record in records {
        normalizer.normalize(record, &Route::default(), &mut Scratch::default(), &mut |row, _| rows.append(row));
    }
    lake.keep_generation(normalizer.generation(), normalizer.generation_document()).await.expect("kept");
    let files = lake.write_files(&[rows.finish().expect("rows")]).await.expect("files");
    let [first, last] = [records.first(), records.last()].map(|record| record.expect("records").position.offset);
    let advance = Advance { from: NextOffset(first), to: NextOffset(last + 1), undelivered: Vec::new(), gap: None };
    lake.commit(GROUP, files, &BTreeMap::from([(partition(), advance)])).await.expect("a commit");
}

pub fn partition() -> TopicPartition {
    TopicPartition { topic: "audit.test".into(), topic_id: Some("topic-1".into()), partition: 0 }
}

pub fn place() -> (tempfile::TempDir, LakeLocation) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let location = LakeLocation::new(folder.path().join("lake").display().to_string());
    (folder, location)
}

pub async fn plan(lake: &Lake, normalizer: &Normalizer, selection: &Selection) -> Plan {
    let deriving = Deriving { normalizer, route: None };
    replay::plan(lake, &deriving, selection, 10, &|_, _| {}).await.expect("a plan")
}

pub async fn apply(lake: &Lake, normalizer: &Normalizer, selection: &Selection, plan: Plan) -> Applied {
    let deriving = Deriving { normalizer, route: None };
    replay::apply(lake, &deriving, selection, plan, &|_, _| {}).await.expect("an answer")
}

pub async fn verified(location: &LakeLocation) -> Report {
    let options = Options {
        signatures: Signatures::Ignored,
        anchors: Vec::new(),
        known: Vec::new(),
        now: jiff::Timestamp::now(),
    };
    let store: Arc<_> = location.store().expect("a store");
    verify(&store, &options, &Quiet).await.expect("the lake is listed")
}

struct Quiet;

impl Progress for Quiet {
    fn seals(&self, _: u64, _: u64) {}
    fn files(&self, _: u64, _: u64) {}
}
