//! The lake's rows of dead letters: found by position, and replaced by the rows of their events.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tracing::info;

use super::RedriveError;
use crate::activity::Column;
use crate::activity::arrow::index_of;
use crate::activity::taxonomy::Status;
use crate::record::Position;
use crate::seal::{Change, Redriven, Redriver};
use crate::sink::lake::{History, Lake, LakeError, LiveFile, Rewrite, Rewritten, reread};

/// Rewrites of the same files by others that one batch gives way to. Each is somebody's whole run over the lake.
const NUM_CONFLICTS_MAX: usize = 30;

/// What the lake has at a letter's position.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub topic_id: Option<String>,
    /// None where the record had no usable time.
    pub received_time: Option<i64>,
    pub value: Vec<u8>,
    pub is_rejected: bool,
    /// A letter of this batch was found to be of it.
    pub is_taken: bool,
}

/// What the lake has at `positions` of `group`. A topic that was made anew may have a position twice.
pub(super) async fn find(
    lake: &Lake,
    history: &History,
    group: &str,
    positions: &BTreeSet<Position>,
) -> Result<HashMap<Position, Vec<Found>>, LakeError> {
    let mut found: HashMap<Position, Vec<Found>> = HashMap::new();
    for live in candidates(history, group, positions) {
        for rows in reread::rows(lake.store().as_ref(), live).await?.0 {
            let is_meant = |row: &usize| {
                integer(&rows, Column::InputIndex, *row) == 0 && positions.contains(&position(&rows, *row))
            };
            for row in (0..rows.num_rows()).filter(is_meant) {
                found.entry(position(&rows, row)).or_default().push(of_row(&rows, row));
            }
        }
    }
    Ok(found)
}

/// Puts the rows of a batch in the place of the rejected ones at their positions, in one commit with the batch's number.
/// A batch that is there already is left alone. False if there was no place for it.
pub(super) async fn bring(
    lake: &Lake,
    history: &mut History,
    by: &Redriver,
    number: i64,
    rows: &RecordBatch,
) -> Result<bool, RedriveError> {
    let mut wanted: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for row in 0..rows.num_rows() {
        wanted.entry(key(rows, row)).or_default().push(row);
    }
    let positions: BTreeSet<Position> = wanted.keys().map(|(position, _)| position.clone()).collect();
    for _ in 0..NUM_CONFLICTS_MAX {
        lake.seal_what_others_left().await?;
        lake.read_history_on(history).await?;
        if history.redriven.get(by).is_some_and(|newest| *newest >= number) {
            return Ok(true);
        }
        let mut removed = Vec::new();
        for live in candidates(history, &by.group, &positions) {
            let (stored, _) = reread::rows(lake.store().as_ref(), live).await?;
            let is_affected =
                |stored: &RecordBatch| (0..stored.num_rows()).any(|row| is_replaced(stored, row, &wanted));
            if stored.iter().any(is_affected) {
                removed.push(live.clone());
            }
        }
        if removed.is_empty() {
            // Retention may have taken the days of these rows since.
            return Ok(false);
        }
        let mut went: Vec<(LiveFile, RecordBatch)> = Vec::new();
        let mut change = |live: &LiveFile, stored: Vec<RecordBatch>| {
            let mut changed = Vec::with_capacity(stored.len());
            for stored in stored {
                let is_replaced: BooleanArray =
                    (0..stored.num_rows()).map(|row| Some(is_replaced(&stored, row, &wanted))).collect();
                changed.push(replace(&stored, &is_replaced, rows, &wanted).map_err(failed)?);
                went.push((live.clone(), filter_record_batch(&stored, &is_replaced).map_err(failed)?));
            }
            Ok(changed)
        };
        let remade = lake.remake(history, &removed, &mut change).await?;
        went.retain(|(_, rows)| rows.num_rows() > 0);
        let rejected = lake.keep_rejected(history, &went).await?;
        let ranges = remade.recut();
        let redriven = Redriven { by: by.clone(), number, rejected, ranges };
        let change = Change { redriven: Some(redriven), ..Change::default() };
        let rewrite = Rewrite { operation: "REDRIVE", removed, added: remade.added, change };
        match lake.rewrite(history, rewrite).await? {
            Rewritten::Committed { .. } => return Ok(true),
            Rewritten::Overtaken { path } => info!(number, path, "another rewrite was faster, trying again"),
        }
    }
    Err(RedriveError::Conflicts)
}

fn failed(error: arrow::error::ArrowError) -> LakeError {
    LakeError::Permanent { doing: "put rows in the place of rejected ones".to_string(), source: error.into() }
}

type Key = (Position, Option<String>);

fn replace(
    stored: &RecordBatch,
    is_replaced: &BooleanArray,
    rows: &RecordBatch,
    wanted: &BTreeMap<Key, Vec<usize>>,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut from = Vec::with_capacity(stored.num_rows());
    for row in 0..stored.num_rows() {
        if is_replaced.value(row) {
            from.extend(wanted[&key(stored, row)].iter().map(|row| (1, *row)));
        } else {
            from.push((0, row));
        }
    }
    interleave_record_batch(&[stored, rows], &from)
}

fn is_replaced(stored: &RecordBatch, row: usize, wanted: &BTreeMap<Key, Vec<usize>>) -> bool {
    text(stored, Column::Status, row) == Some(Status::Rejected.as_str()) && wanted.contains_key(&key(stored, row))
}

/// The group's files that may hold rows at `positions`.
fn candidates<'a>(
    history: &'a History,
    group: &'a str,
    positions: &'a BTreeSet<Position>,
) -> impl Iterator<Item = &'a LiveFile> {
    let may_hold = |live: &&LiveFile| {
        let bounds = [Column::InputPartition, Column::InputOffset].map(|column| live.bounds(column));
        positions
            .iter()
            .any(|position| bounds[0].contains(&i64::from(position.partition)) && bounds[1].contains(&position.offset))
    };
    let of_group = history.live.values().filter(move |live| history.group_of(&live.file) == Some(group));
    of_group.filter(may_hold)
}

fn of_row(rows: &RecordBatch, row: usize) -> Found {
    let times = rows.column(index_of(Column::ReceivedTime)).as_primitive::<TimestampMicrosecondType>();
    let raw = text(rows, Column::Raw, row).unwrap_or_default();
    let value = match text(rows, Column::RawEncoding, row) {
        Some("base64") => BASE64.decode(raw).unwrap_or_default(),
        _ => raw.as_bytes().to_vec(),
    };
    Found {
        topic_id: text(rows, Column::InputTopicId, row).map(str::to_string),
        // What has no usable time is kept under the first moment of 1970.
        received_time: times.is_valid(row).then(|| times.value(row)).filter(|time| *time != 0),
        value,
        is_rejected: text(rows, Column::Status, row) == Some(Status::Rejected.as_str()),
        is_taken: false,
    }
}

fn key(rows: &RecordBatch, row: usize) -> Key {
    (position(rows, row), text(rows, Column::InputTopicId, row).map(str::to_string))
}

fn position(rows: &RecordBatch, row: usize) -> Position {
    Position {
        topic: text(rows, Column::InputTopic, row).unwrap_or_default().into(),
        partition: i32::try_from(integer(rows, Column::InputPartition, row)).unwrap_or(-1),
        offset: integer(rows, Column::InputOffset, row),
    }
}

fn integer(rows: &RecordBatch, column: Column, row: usize) -> i64 {
    let values = rows.column(index_of(column)).as_primitive::<Int64Type>();
    if values.is_valid(row) { values.value(row) } else { 0 }
}

fn text(rows: &RecordBatch, column: Column, row: usize) -> Option<&str> {
    let values = rows.column(index_of(column)).as_string::<i32>();
    values.is_valid(row).then(|| values.value(row))
}

/// Where the first row stands.
pub(super) fn first_position(rows: &RecordBatch) -> Option<Position> {
    (rows.num_rows() > 0).then(|| position(rows, 0))
}
