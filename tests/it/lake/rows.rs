//! Rows, places and positions to write to a lake in tests.

use std::collections::BTreeMap;

use actorline::activity::arrow::RowBuilder;
use actorline::activity::{Activity, Column, Value};
use actorline::checkpoint::{Advance, NextOffset, TopicPartition};
use actorline::query;
use actorline::sink::lake::{Commit, Lake, LakeError, LakeLocation};
use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;

/// 2024-03-01.
pub const DAY: i32 = 19_783;
const MICROS_PER_DAY: i64 = 86_400_000_000;

pub const GROUP: &str = "audit";

/// A row that stands at `offset`.
pub fn at(offset: i64) -> Row<'static> {
    Row {
        partition: 0,
        offset,
        index: 0,
        count: 1,
        source: "okta_system",
        action: "user.session.start",
        actor: "u-1",
        day: DAY,
        seconds: offset,
    }
}

#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub partition: i32,
    pub offset: i64,
    pub index: i64,
    /// Rows of the record.
    pub count: i64,
    pub source: &'a str,
    pub action: &'a str,
    pub actor: &'a str,
    pub day: i32,
    pub seconds: i64,
}

pub fn batch(rows: &[Row<'_>]) -> RecordBatch {
    let mut builder = RowBuilder::default();
    for row in rows {
        let uid = format!("{}:t:{}", row.source, row.offset);
        let time = i64::from(row.day) * MICROS_PER_DAY + row.seconds * 1_000_000;
        let mut activity = Activity::default();
        activity.set(Column::EventUid, Value::Text(&uid));
        activity.set(Column::EventTime, Value::Time(time));
        activity.set(Column::ReceivedTime, Value::Time(time));
        activity.set(Column::ReceivedDate, Value::Date(row.day));
        activity.set(Column::Source, Value::Text(row.source));
        activity.set(Column::Action, Value::Text(row.action));
        activity.set(Column::ActorId, Value::Text(row.actor));
        activity.set(Column::InputTopic, Value::Text("audit.okta"));
        activity.set(Column::InputTopicId, Value::Text("topic-id-1"));
        activity.set(Column::InputPartition, Value::Int(i64::from(row.partition)));
        activity.set(Column::InputOffset, Value::Int(row.offset));
        activity.set(Column::InputIndex, Value::Int(row.index));
        activity.set(Column::InputCount, Value::Int(row.count));
        activity.set(Column::Raw, Value::Text("{\"invented\":true}"));
        activity.set(Column::RawEncoding, Value::Text("utf8"));
        activity.set(Column::Scope, Value::TextList(&["read"]));
        activity.set(Column::Attributes, Value::TextMap(&[("tool", "Copilot")]));
        builder.append(&activity);
    }
    builder.finish().expect("rows of the schema")
}

pub fn partition(number: i32) -> TopicPartition {
    TopicPartition { topic: "audit.okta".into(), topic_id: Some("topic-id-1".into()), partition: number }
}

pub fn advance(number: i32, from: i64, to: i64) -> BTreeMap<TopicPartition, Advance> {
    let advance = Advance { from: NextOffset(from), to: NextOffset(to), gap: None, undelivered: Vec::new() };
    BTreeMap::from([(partition(number), advance)])
}

pub fn folder() -> (tempfile::TempDir, LakeLocation) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let location = LakeLocation::new(folder.path().to_str().expect("a path in UTF-8"));
    (folder, location)
}

/// Writes one row for each offset of `from..to` and commits them as the whole of a batch.
pub async fn commit_range(lake: &Lake, number: i32, from: i64, to: i64) -> Result<Commit, LakeError> {
    let rows: Vec<Row<'_>> = (from..to).map(|offset| Row { partition: number, ..at(offset) }).collect();
    let files = lake.write_files(&[batch(&rows)]).await?;
    lake.commit(GROUP, files, &advance(number, from, to)).await
}

pub fn is_committed(commit: &Commit) -> bool {
    matches!(commit, Commit::Committed { .. })
}

/// The answer to `sql` as a table without its frame: cells joined by commas, rows by semicolons.
pub async fn ask(lake: &Lake, sql: &str) -> String {
    let session = query::open(lake).await.expect("a session");
    let rows = query::run(&session, sql).await.expect("a good query");
    let batches: Vec<RecordBatch> = rows.try_collect().await.expect("an answer");
    let table = pretty_format_batches(&batches).expect("a printable answer").to_string();
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    lines.map(|line| cells(line).join(",")).collect::<Vec<_>>().join(";")
}
