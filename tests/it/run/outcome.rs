//! What must come out: every record of the input once in the lake, and once on the SIEM topic or as a dead letter.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use actorline::query;
use actorline::sink::lake::{Lake, LakeLocation};
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;

use super::instance::Scene;
use crate::kafka::{Sent, Topic};

/// Partition, offset, and index inside the record.
pub type Position = (i32, i64, i64);

/// How often each position occurs.
pub type Positions = BTreeMap<Position, usize>;

/// Where every record of a test ended up.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub lake: Positions,
    pub rejected_in_lake: Positions,
    pub siem: Positions,
    pub dead_letters: Positions,
}

impl Outcome {
    /// What the committed records of the input ask for: an array holds as many events as elements, and what is no
    /// JSON cannot be read.
    pub fn wanted(scene: &Scene<'_>) -> Outcome {
        let mut wanted = Outcome::default();
        for sent in scene.input.committed() {
            let value = serde_json::from_slice(sent.value.as_deref().unwrap_or_default());
            let Ok(value) = value else {
                let position = (sent.partition, sent.offset, 0);
                wanted.lake.insert(position, 1);
                wanted.rejected_in_lake.insert(position, 1);
                wanted.dead_letters.insert(position, 1);
                continue;
            };
            let num_events = match value {
                serde_json::Value::Array(events) => events.len() as i64,
                _ => 1,
            };
            for index in 0..num_events {
                let position = (sent.partition, sent.offset, index);
                wanted.lake.insert(position, 1);
                wanted.siem.insert(position, 1);
            }
        }
        wanted
    }

    /// What is there now.
    pub fn found(scene: &Scene<'_>) -> Outcome {
        let mut found = Outcome::default();
        for (position, status) in lake_rows(scene) {
            *found.lake.entry(position).or_default() += 1;
            if status == "rejected" {
                *found.rejected_in_lake.entry(position).or_default() += 1;
            }
        }
        found.siem = positions(&scene.siem);
        found.dead_letters = positions(&scene.dead_letters);
        found
    }

    /// Waits until nothing is missing any more, and then asserts that nothing is doubled or made up either.
    pub fn assert_complete(scene: &Scene<'_>, timeout: Duration) {
        let wanted = Outcome::wanted(scene);
        let begun = Instant::now();
        loop {
            let found = Outcome::found(scene);
            let is_complete = found.num_positions() >= wanted.num_positions();
            if is_complete || begun.elapsed() > timeout {
                for (name, wanted, found) in [
                    ("the lake", &wanted.lake, &found.lake),
                    ("rejected rows of the lake", &wanted.rejected_in_lake, &found.rejected_in_lake),
                    ("the siem topic", &wanted.siem, &found.siem),
                    ("the dead letters", &wanted.dead_letters, &found.dead_letters),
                ] {
                    assert_same(name, wanted, found);
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    fn num_positions(&self) -> usize {
        self.lake.len() + self.siem.len() + self.dead_letters.len()
    }
}

fn assert_same(name: &str, wanted: &Positions, found: &Positions) {
    let missing: Vec<_> = wanted.keys().filter(|position| !found.contains_key(position)).take(10).collect();
    let made_up: Vec<_> = found.keys().filter(|position| !wanted.contains_key(position)).take(10).collect();
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).take(10).collect();
    assert!(
        missing.is_empty() && made_up.is_empty() && doubled.is_empty(),
        "{name} holds {} of {} positions; missing {missing:?}, made up {made_up:?}, doubled {doubled:?}",
        found.len(),
        wanted.len()
    );
}

/// The positions that a topic's records name in their headers. `topic/partition/offset/index`.
fn positions(topic: &Topic<'_>) -> Positions {
    let mut positions = Positions::new();
    for sent in topic.committed() {
        *positions.entry(position_of(&sent)).or_default() += 1;
    }
    positions
}

pub fn position_of(sent: &Sent) -> Position {
    let position = sent.header("actorline-position").expect("every record names its position");
    let mut parts = position.rsplit('/');
    let index = parts.next().and_then(|index| index.parse().ok()).expect("an index");
    let offset = parts.next().and_then(|offset| offset.parse().ok()).expect("an offset");
    let partition = parts.next().and_then(|partition| partition.parse().ok()).expect("a partition");
    (partition, offset, index)
}

/// Position and status of every row of the lake; none while there is no lake.
pub fn lake_rows(scene: &Scene<'_>) -> Vec<(Position, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let location = LakeLocation::new(scene.lake_path().display().to_string());
    runtime.block_on(async {
        let Ok(lake) = Lake::open_existing(&location).await else { return Vec::new() };
        let session = query::open(&lake).await.expect("a session");
        let sql = "SELECT input_partition, input_offset, input_index, status FROM activities";
        let batches: Vec<_> = query::run(&session, sql).await.expect("a query").try_collect().await.expect("rows");
        let mut rows = Vec::new();
        for batch in batches {
            let partitions = batch.column(0).as_primitive::<Int64Type>();
            let offsets = batch.column(1).as_primitive::<Int64Type>();
            let indexes = batch.column(2).as_primitive::<Int64Type>();
            let statuses = arrow::compute::cast(batch.column(3), &arrow::datatypes::DataType::Utf8).expect("texts");
            let statuses = statuses.as_string::<i32>();
            for row in 0..batch.num_rows() {
                let partition = i32::try_from(partitions.value(row)).expect("a partition");
                rows.push(((partition, offsets.value(row), indexes.value(row)), statuses.value(row).to_string()));
            }
        }
        rows
    })
}
