//! Leaves: two digests a row, one of what arrived and one of what was derived from it.
//!
//! A digest covers names and values and nothing of how a file stores them: the same row gives the same leaves before it
//! is written, after it is read back, and after any number of rewrites. Columns that are null are left out, so that a
//! column added later changes no older leaf. `docs/evidence.md` defines the bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use sha2::{Digest as _, Sha256};

use super::digest::Digest;
use super::merkle::leaf_hasher;
use crate::activity::Column;
use crate::checkpoint::TopicPartition;

/// What arrived: the position, the time of receipt, and everything that a mapping sees. `replay` changes none of it.
pub const ARRIVED: [Column; 10] = [
    Column::ReceivedTime,
    Column::InputTopic,
    Column::InputTopicId,
    Column::InputPartition,
    Column::InputOffset,
    Column::InputIndex,
    Column::InputCount,
    Column::InputContext,
    Column::Raw,
    Column::RawEncoding,
];

/// The leaves of one row, with its place in its partition and the number of rows of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowLeaf {
    pub offset: i64,
    pub index: i64,
    pub count: i64,
    pub raw: Digest,
    pub derived: Digest,
}

/// The leaves of rows, by the partition that they came from.
pub type Leaves = BTreeMap<TopicPartition, Vec<RowLeaf>>;

/// Rows that have no leaves.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    #[error("column `{0}` is missing or of another type")]
    Column(String),
    #[error("a row has no `{0}`")]
    Null(&'static str),
    #[error("a row has partition `{0}`, which is none")]
    Partition(i64),
}

/// Adds `more` to `leaves`.
pub fn merge(leaves: &mut Leaves, more: &Leaves) {
    for (partition, rows) in more {
        leaves.entry(partition.clone()).or_default().extend(rows);
    }
}

/// Adds the leaves of `rows` to `leaves`.
///
/// # Errors
/// If a row does not say where it came from, or has a column of a type that no activity has.
pub fn add(rows: &RecordBatch, leaves: &mut Leaves) -> Result<(), LeafError> {
    let [topics, topic_ids] = [Column::InputTopic, Column::InputTopicId].map(|column| text(rows, column));
    let (topics, topic_ids) = (topics?, topic_ids?);
    let [partitions, offsets, indexes, counts] =
        [Column::InputPartition, Column::InputOffset, Column::InputIndex, Column::InputCount]
            .map(|column| named(rows, column));
    let (partitions, offsets, indexes, counts) = (partitions?, offsets?, indexes?, counts?);
    let number = |array: &ArrayRef, row: usize, column: Column| {
        let numbers =
            array.as_primitive_opt::<Int64Type>().ok_or_else(|| LeafError::Column(column.name().to_string()))?;
        if numbers.is_valid(row) { Ok(numbers.value(row)) } else { Err(LeafError::Null(column.name())) }
    };
    let (arrived, derived) = split(rows);
    let mut last: Option<TopicPartition> = None;
    for row in 0..rows.num_rows() {
        let topic = if topics.is_valid(row) { topics.value(row) } else { return Err(LeafError::Null("input_topic")) };
        let topic_id = topic_ids.is_valid(row).then(|| topic_ids.value(row));
        let partition = number(partitions, row, Column::InputPartition)?;
        let partition = i32::try_from(partition).map_err(|_| LeafError::Partition(partition))?;
        // Rows of one partition mostly stand together, and names are long.
        let is_last = last.as_ref().is_some_and(|last| {
            *last.topic == *topic && last.topic_id.as_deref() == topic_id && last.partition == partition
        });
        if !is_last {
            last = Some(TopicPartition { topic: topic.into(), topic_id: topic_id.map(Arc::from), partition });
        }
        let leaf = RowLeaf {
            offset: number(offsets, row, Column::InputOffset)?,
            index: number(indexes, row, Column::InputIndex)?,
            count: number(counts, row, Column::InputCount)?,
            raw: hash_row(&arrived, row)?,
            derived: hash_row(&derived, row)?,
        };
        let Some(key) = &last else { continue };
        match leaves.get_mut(key) {
            Some(known) => known.push(leaf),
            None => {
                leaves.insert(key.clone(), vec![leaf]);
            }
        }
    }
    Ok(())
}

/// The columns of a row that arrived and those that were derived, each by name. The partition column is neither: it
/// follows from `received_time`, and a file does not hold it.
fn split(rows: &RecordBatch) -> (Vec<Named<'_>>, Vec<Named<'_>>) {
    let schema = rows.schema_ref();
    let mut columns: Vec<Named<'_>> = schema
        .fields()
        .iter()
        .zip(rows.columns())
        .map(|(field, values)| Named { name: field.name(), values })
        .filter(|column| column.name != Column::ReceivedDate.name())
        .collect();
    columns.sort_by_key(|column| column.name);
    columns.into_iter().partition(|column| ARRIVED.iter().any(|arrived| arrived.name() == column.name))
}

struct Named<'a> {
    name: &'a str,
    values: &'a ArrayRef,
}

fn named(rows: &RecordBatch, column: Column) -> Result<&ArrayRef, LeafError> {
    rows.column_by_name(column.name()).ok_or_else(|| LeafError::Column(column.name().to_string()))
}

fn text(rows: &RecordBatch, column: Column) -> Result<StringArray, LeafError> {
    let texts = cast(named(rows, column)?, &DataType::Utf8).ok();
    let texts = texts.as_ref().and_then(|texts| texts.as_string_opt::<i32>());
    texts.cloned().ok_or_else(|| LeafError::Column(column.name().to_string()))
}

fn hash_row(columns: &[Named<'_>], row: usize) -> Result<Digest, LeafError> {
    let mut hash = leaf_hasher();
    for column in columns.iter().filter(|column| column.values.is_valid(row)) {
        feed_text(&mut hash, column.name);
        if !feed(&mut hash, column.values.as_ref(), row) {
            return Err(LeafError::Column(column.name.to_string()));
        }
    }
    Ok(Digest(hash.finalize().into()))
}

/// Hashes one value that is not null: a letter for its type, then itself, so that no two values are the same bytes.
/// False if an activity has no such type.
fn feed(hash: &mut Sha256, values: &dyn Array, row: usize) -> bool {
    match values.data_type() {
        DataType::Utf8 => {
            hash.update(b"s");
            feed_text(hash, values.as_string::<i32>().value(row));
        }
        DataType::LargeUtf8 => {
            hash.update(b"s");
            feed_text(hash, values.as_string::<i64>().value(row));
        }
        DataType::Utf8View => {
            hash.update(b"s");
            feed_text(hash, values.as_string_view().value(row));
        }
        DataType::Int64 => {
            hash.update(b"i");
            hash.update(values.as_primitive::<Int64Type>().value(row).to_be_bytes());
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            hash.update(b"t");
            hash.update(values.as_primitive::<TimestampMicrosecondType>().value(row).to_be_bytes());
        }
        DataType::Date32 => {
            hash.update(b"d");
            hash.update(values.as_primitive::<Date32Type>().value(row).to_be_bytes());
        }
        DataType::Boolean => hash.update(if values.as_boolean().value(row) { b"b1" } else { b"b0" }),
        DataType::List(_) => return feed_items(hash, b'l', &values.as_list::<i32>().value(row)),
        DataType::Map(..) => {
            let entries = values.as_map().value(row);
            return feed_items(hash, b'm', &entries);
        }
        DataType::Struct(fields) => {
            let parts = values.as_struct();
            let present = || parts.columns().iter().zip(fields).filter(|(column, _)| column.is_valid(row));
            hash.update(b"o");
            feed_count(hash, present().count());
            return present().all(|(column, field)| {
                feed_text(hash, field.name());
                feed(hash, column.as_ref(), row)
            });
        }
        _ => return false,
    }
    true
}

fn feed_items(hash: &mut Sha256, kind: u8, items: &dyn Array) -> bool {
    hash.update([kind]);
    feed_count(hash, items.len());
    (0..items.len()).all(|item| {
        if items.is_valid(item) {
            return feed(hash, items, item);
        }
        hash.update(b"n");
        true
    })
}

fn feed_text(hash: &mut Sha256, text: &str) {
    feed_count(hash, text.len());
    hash.update(text);
}

fn feed_count(hash: &mut Sha256, count: usize) {
    hash.update((count as u64).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::arrow::RowBuilder;
    use crate::activity::{Activity, Hop, Value};

    fn leaf_with<'a>(change: impl FnOnce(&mut Activity<'a>)) -> RowLeaf {
        let mut activity = Activity::default();
        activity.set(Column::InputTopic, Value::Text("audit.okta"));
        activity.set(Column::InputPartition, Value::Int(0));
        activity.set(Column::InputOffset, Value::Int(7));
        activity.set(Column::InputIndex, Value::Int(0));
        activity.set(Column::InputCount, Value::Int(1));
        activity.set(Column::Raw, Value::Text("{}"));
        change(&mut activity);
        let mut rows = RowBuilder::default();
        rows.append(&activity);
        leaf_of(&rows.finish().expect("rows of the schema"))
    }

    fn leaf_of(rows: &RecordBatch) -> RowLeaf {
        let mut leaves = Leaves::new();
        add(rows, &mut leaves).expect("leaves");
        leaves.into_values().next().expect("a partition")[0]
    }

    #[test]
    fn what_arrived_and_what_was_derived_are_told_apart() {
        let plain = leaf_with(|_| {});
        let other_raw = leaf_with(|row| row.set(Column::Raw, Value::Text("[]")));
        assert!(other_raw.raw != plain.raw && other_raw.derived == plain.derived);
        let other_actor = leaf_with(|row| row.set(Column::ActorId, Value::Text("u-1")));
        assert!(other_actor.raw == plain.raw && other_actor.derived != plain.derived);
    }

    #[test]
    fn values_do_not_run_into_each_other() {
        let leaf = |scope: &[&str]| leaf_with(move |row| row.set(Column::Scope, Value::TextList(scope))).derived;
        assert_ne!(leaf(&["ab", "c"]), leaf(&["a", "bc"]));
        assert_ne!(leaf(&[]), leaf_with(|_| {}).derived);
        let hop = |id: Option<&'static str>, name: Option<&'static str>| {
            let hops = [Hop { id, name, ..Hop::default() }];
            leaf_with(|row| row.set(Column::DelegationChain, Value::Hops(&hops))).derived
        };
        assert_ne!(hop(Some("a"), None), hop(None, Some("a")));
    }

    #[test]
    fn a_column_that_is_missing_counts_like_one_that_is_null() {
        let mut rows = RowBuilder::default();
        let mut activity = Activity::default();
        for (column, value) in [(Column::InputTopic, Value::Text("t")), (Column::Raw, Value::Text("{}"))] {
            activity.set(column, value);
        }
        for column in [Column::InputPartition, Column::InputOffset, Column::InputIndex, Column::InputCount] {
            activity.set(column, Value::Int(1));
        }
        rows.append(&activity);
        let rows = rows.finish().expect("rows of the schema");
        let asn = rows.schema().index_of("asn").expect("the column");
        let kept: Vec<usize> = (0..rows.num_columns()).filter(|index| *index != asn).collect();
        assert_eq!(leaf_of(&rows), leaf_of(&rows.project(&kept).expect("columns")));
    }
}
