//! A batch of stored rows derived again, and compared with itself.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};

use super::changes::{Changes, Flip, derived};
use super::{Deriving, Selection};
use crate::activity::Column;
use crate::activity::arrow::{RowBuilder, index_of};
use crate::activity::taxonomy::Status;
use crate::event::Context;
use crate::pipeline::normalize::{Route, Scratch};
use crate::pipeline::rederive::{Kept, Rederived};
use crate::record::Position;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The name in a row's context of the activity's number in its event.
const ITEM: &str = "item";

/// Derives the rows of one file.
pub(super) struct Rederiver<'a> {
    deriving: &'a Deriving<'a>,
    selection: &'a Selection,
    items: Items,
    routes: HashMap<String, Route>,
    scratch: Scratch,
}

impl<'a> Rederiver<'a> {
    pub fn new(deriving: &'a Deriving<'a>, selection: &'a Selection, stored: &[RecordBatch]) -> Rederiver<'a> {
        let items = Items::read(stored);
        Rederiver { deriving, selection, items, routes: HashMap::new(), scratch: Scratch::default() }
    }

    /// The rows of `stored` as they should be. What changes is added to `changes`.
    pub fn derive(&mut self, stored: &RecordBatch, changes: &mut Changes) -> Result<RecordBatch, Cause> {
        let rows = Rows::of(stored)?;
        let mut builder = RowBuilder::default();
        // For each row that was derived its place in the stored batch.
        let mut places = Vec::with_capacity(stored.num_rows());
        for row in 0..stored.num_rows() {
            if !self.selection.holds(rows.source.value(row), rows.received_time(row)) {
                continue;
            }
            changes.num_read += 1;
            let status = rows.status.value(row);
            if status == Status::Rejected.as_str() || status == Status::Empty.as_str() {
                changes.num_without_event += 1;
                continue;
            }
            let kept = rows.kept(row, &self.items)?;
            let route = self.deriving.route.map(|route| {
                &*self.routes.entry(kept.position.topic.to_string()).or_insert_with(|| route(&kept.position.topic))
            });
            let derived =
                self.deriving.normalizer.rederive(kept, route, &mut self.scratch, &mut |row| builder.append(row));
            match derived {
                Rederived::Row => places.push(row),
                Rederived::SplitsOtherwise => changes.num_split_otherwise += 1,
            }
        }
        let derived = builder.finish()?;
        let is_changed = compare(stored, &derived, &places, &rows, changes)?;
        if !is_changed.contains(&true) {
            return Ok(stored.clone());
        }
        let mut from: Vec<(usize, usize)> = (0..stored.num_rows()).map(|row| (0, row)).collect();
        for (index, row) in places.iter().enumerate().filter(|(index, _)| is_changed[*index]) {
            from[*row] = (1, index);
        }
        Ok(interleave_record_batch(&[stored, &derived], &from)?)
    }
}

/// For each derived row whether it is other than the stored one.
fn compare(
    stored: &RecordBatch,
    derived_rows: &RecordBatch,
    places: &[usize],
    rows: &Rows<'_>,
    changes: &mut Changes,
) -> Result<Vec<bool>, Cause> {
    let mut is_changed = vec![false; places.len()];
    for column in derived() {
        let (before, after) = (stored.column(index_of(column)), derived_rows.column(index_of(column)));
        if before.data_type() != after.data_type() {
            return Err(format!("column `{}` is stored as another type", column.name()).into());
        }
        if places.len() == stored.num_rows() && before.to_data() == after.to_data() {
            continue;
        }
        for (index, row) in places.iter().enumerate() {
            if !is_same(before, *row, after, index) {
                is_changed[index] = true;
                changes.value(column, (before, *row), (after, index), || rows.position(*row));
            }
        }
    }
    let text = |rows: &RecordBatch, column: Column, row: usize| {
        let values = rows.column(index_of(column)).as_string::<i32>();
        values.is_valid(row).then(|| values.value(row).to_string())
    };
    for (index, row) in places.iter().enumerate().filter(|(index, _)| is_changed[*index]) {
        changes.num_changed += 1;
        let from = text(stored, Column::ActorType, *row).unwrap_or_default();
        let to = text(derived_rows, Column::ActorType, index).unwrap_or_default();
        if from != to {
            let source = text(derived_rows, Column::Source, index).unwrap_or_default();
            let rule = text(derived_rows, Column::ActorTypeRule, index);
            changes.flip(Flip { from, to, source, rule });
        }
    }
    Ok(is_changed)
}

fn is_same(before: &ArrayRef, old: usize, after: &ArrayRef, new: usize) -> bool {
    match (before.is_null(old), after.is_null(new)) {
        (true, true) => return true,
        (false, false) => {}
        _ => return false,
    }
    // Most columns are texts, and slices cost more than comparing them.
    match (before.as_string_opt::<i32>(), after.as_string_opt::<i32>()) {
        (Some(before), Some(after)) => before.value(old) == after.value(new),
        _ => before.slice(old, 1).to_data() == after.slice(new, 1).to_data(),
    }
}

/// The columns of a stored batch that a row is derived from.
struct Rows<'a> {
    batch: &'a RecordBatch,
    source: &'a StringArray,
    status: &'a StringArray,
    raw: &'a StringArray,
}

impl<'a> Rows<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Rows<'a>, Cause> {
        let text = |column: Column| {
            let texts = batch.column(index_of(column)).as_string_opt::<i32>();
            texts.ok_or_else(|| format!("column `{}` holds no texts", column.name()))
        };
        Ok(Rows { batch, source: text(Column::Source)?, status: text(Column::Status)?, raw: text(Column::Raw)? })
    }

    fn integer(&self, column: Column, row: usize) -> i64 {
        integer(self.batch, column, row)
    }

    fn text(&self, column: Column, row: usize) -> Option<&'a str> {
        let values = self.batch.column(index_of(column)).as_string::<i32>();
        values.is_valid(row).then(|| values.value(row))
    }

    fn time(&self, column: Column, row: usize) -> Option<i64> {
        let values = self.batch.column(index_of(column)).as_primitive::<TimestampMicrosecondType>();
        values.is_valid(row).then(|| values.value(row))
    }

    fn received_time(&self, row: usize) -> i64 {
        self.time(Column::ReceivedTime, row).unwrap_or_default()
    }

    fn position(&self, row: usize) -> String {
        let topic = self.text(Column::InputTopic, row).unwrap_or_default();
        let [partition, offset, index] =
            [Column::InputPartition, Column::InputOffset, Column::InputIndex].map(|column| self.integer(column, row));
        format!("{topic}/{partition}/{offset}/{index}")
    }

    fn kept(&self, row: usize, items: &Items) -> Result<Kept<'a>, Cause> {
        let (context, item) = context_of(self.batch, row);
        let dates = self.batch.column(index_of(Column::ReceivedDate)).as_primitive::<Date32Type>();
        let position = Position {
            topic: self.text(Column::InputTopic, row).unwrap_or_default().into(),
            partition: i32::try_from(self.integer(Column::InputPartition, row))?,
            offset: self.integer(Column::InputOffset, row),
        };
        let (index, count) = (self.integer(Column::InputIndex, row), self.integer(Column::InputCount, row));
        Ok(Kept {
            raw: self.raw.value(row),
            context,
            item,
            num_items: items.of(self.batch, row, item),
            source: self.source.value(row),
            position,
            topic_id: self.text(Column::InputTopicId, row),
            index: usize::try_from(index)?,
            count: usize::try_from(count)?,
            received_time: self.received_time(row),
            received_date: if dates.is_valid(row) { dates.value(row) } else { 0 },
            event_time: self.time(Column::EventTime, row),
        })
    }
}

fn integer(batch: &RecordBatch, column: Column, row: usize) -> i64 {
    let values = batch.column(index_of(column)).as_primitive::<Int64Type>();
    if values.is_valid(row) { values.value(row) } else { 0 }
}

/// What the mapping saw beside the event, and which of the event's activities the row is.
fn context_of(batch: &RecordBatch, row: usize) -> (Context, usize) {
    let maps = batch.column(index_of(Column::InputContext)).as_map();
    if maps.is_null(row) {
        return (Context::new(), 0);
    }
    let entries = maps.value(row);
    let (names, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
    let mut context: Context =
        (0..entries.len()).map(|entry| (names.value(entry).to_string(), values.value(entry).to_string())).collect();
    // It is always the last, after what came with the event.
    let item = context.last().filter(|(name, _)| name == ITEM).and_then(|(_, value)| value.parse().ok());
    if item.is_some() {
        context.pop();
    }
    (context, item.unwrap_or(0))
}

/// How many activities the events of a file's records had, as far as their rows stand in the file.
///
/// Records of one event and one row, which most are, take no memory here.
struct Items {
    /// Index and item of each row, in order.
    records: HashMap<Record, Vec<(i64, usize)>>,
}

/// Topic, partition and offset.
type Record = (Arc<str>, i64, i64);

impl Items {
    fn read(stored: &[RecordBatch]) -> Items {
        let mut records: HashMap<_, Vec<(i64, usize)>> = HashMap::new();
        for batch in stored {
            for row in (0..batch.num_rows()).filter(|row| integer(batch, Column::InputCount, *row) > 1) {
                let (_, item) = context_of(batch, row);
                let place = (integer(batch, Column::InputIndex, row), item);
                records.entry(Items::key(batch, row)).or_default().push(place);
            }
        }
        for rows in records.values_mut() {
            rows.sort_unstable();
            rows.dedup();
        }
        Items { records }
    }

    fn of(&self, batch: &RecordBatch, row: usize, item: usize) -> Option<usize> {
        let count = integer(batch, Column::InputCount, row);
        if count <= 1 {
            return Some(1);
        }
        let rows = self.records.get(&Items::key(batch, row))?;
        let first = integer(batch, Column::InputIndex, row) - i64::try_from(item).ok()?;
        let start = rows.iter().position(|(index, _)| *index == first)?;
        let mut num_items = 0;
        for ((index, item), wanted) in rows[start..].iter().zip(0_usize..) {
            if wanted > 0 && *item == 0 {
                return Some(num_items);
            }
            if *item != wanted || *index != first + i64::try_from(wanted).ok()? {
                return None;
            }
            num_items += 1;
        }
        // The last event of the record, if all of its rows are here.
        (first + i64::try_from(num_items).ok()? == count).then_some(num_items)
    }

    fn key(batch: &RecordBatch, row: usize) -> Record {
        let topics = batch.column(index_of(Column::InputTopic)).as_string::<i32>();
        let topic = if topics.is_valid(row) { topics.value(row) } else { "" };
        (topic.into(), integer(batch, Column::InputPartition, row), integer(batch, Column::InputOffset, row))
    }
}
