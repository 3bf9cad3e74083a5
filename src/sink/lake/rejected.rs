//! What is left of rejected rows that gave way to the rows of their records' events.
//!
//! A Parquet object for each redrive's commit, `<lake url>/rejected/<id>.parquet`, named by its seal with its digest. Of each
//! row it has the version that brought it, its place, the leaf of what arrived, and every derived column: so that whoever
//! verifies can put the row back, and see that it was a rejected one. It has nothing of what arrived itself: that stands in
//! the rows that came, and goes with them when their time is over. Written before the commit, never changed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use bytes::Bytes;
use object_store::ObjectStore;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::Lake;
use super::error::{Cause, LakeError};
use super::history::{History, LiveFile};
use super::reread;
use crate::activity::arrow::index_of;
use crate::activity::taxonomy::Status;
use crate::activity::{COLUMNS, Column};
use crate::checkpoint::TopicPartition;
use crate::seal::{Digest, Leaves, LeavesByOrigin, Origins, RowLeaf, SealedFile, leaf};

/// The folder in the lake.
pub const REJECTED: &str = "rejected";

/// Beside the columns of a row.
const VERSION: &str = "version";
const RAW_LEAF: &str = "raw_leaf";

/// Of what arrived, where the row stands.
const PLACE: [Column; 6] = [
    Column::InputTopic,
    Column::InputTopicId,
    Column::InputPartition,
    Column::InputOffset,
    Column::InputIndex,
    Column::InputCount,
];

impl Lake {
    /// Keeps what is left of `rows`, each with the file that it stood in.
    ///
    /// # Errors
    /// If they are of none of the file's commits, or the store does not take them.
    pub async fn keep_rejected(
        &self,
        history: &History,
        rows: &[(LiveFile, RecordBatch)],
    ) -> Result<SealedFile, LakeError> {
        let doing = "keep what is left of rejected rows";
        let failed = |source: Cause| LakeError::new(doing, source);
        let (mut batches, mut origins) = (Vec::new(), Vec::new());
        for (live, rows) in rows {
            let kept = keep(history, live, rows, &mut origins).map_err(failed)?;
            batches.push(kept);
        }
        origins.sort_unstable();
        origins.dedup();
        let bytes = encode(&batches).map_err(failed)?;
        let num_rows = batches.iter().map(RecordBatch::num_rows).sum();
        self.keep_object(REJECTED, bytes, num_rows, origins).await.map_err(|error| LakeError::new(doing, error))
    }
}

/// The leaves of the rows that [`Lake::keep_rejected`] kept something of; says in what way they are not what `file` names.
///
/// # Errors
/// If the store does not give it, though it may be there.
pub async fn read(store: &dyn ObjectStore, file: &SealedFile) -> Result<Result<LeavesByOrigin, String>, LakeError> {
    let bytes = match reread::fetch(store, "", file).await? {
        Ok(bytes) => bytes,
        Err(how) => return Ok(Err(how)),
    };
    let num_rows = file.rows;
    let read = reread::decode(file, move || decode(bytes)).await?;
    let found: usize = read.iter().flat_map(LeavesByOrigin::values).flat_map(Leaves::values).map(Vec::len).sum();
    Ok(match read {
        None => Err("has a row that was not rejected".to_string()),
        Some(_) if found as u64 != num_rows => Err(format!("has {found} rows, not {num_rows}")),
        Some(leaves) => Ok(leaves),
    })
}

/// Of what arrived only the place; everything that was derived.
fn kept_columns() -> impl Iterator<Item = Column> {
    let is_kept = |column: &Column| PLACE.contains(column) || !leaf::ARRIVED.contains(column);
    COLUMNS.iter().map(|info| info.column).filter(is_kept)
}

fn keep(history: &History, live: &LiveFile, rows: &RecordBatch, origins: &mut Vec<u64>) -> Result<RecordBatch, Cause> {
    let mut of = Origins::default();
    for version in &live.file.origins {
        of.add(*version, history.ranges_of(*version).unwrap_or_default());
    }
    let version_of = |partition: &TopicPartition, offset| match live.file.origins.as_slice() {
        [version] => Some(*version),
        _ => of.of(partition, offset),
    };
    let (mut versions, mut raw_leaves) = (Vec::with_capacity(rows.num_rows()), Vec::with_capacity(rows.num_rows()));
    for row in 0..rows.num_rows() {
        for (partition, leaf) in leaves_of(rows, row)? {
            let version = version_of(&partition, leaf.offset);
            versions.push(version.ok_or("one is of none of its commits: run `archive verify`")?);
            raw_leaves.push(leaf.raw.0);
        }
    }
    origins.extend(&versions);
    let mut fields = vec![Field::new(VERSION, DataType::UInt64, true), Field::new(RAW_LEAF, DataType::Binary, true)];
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(UInt64Array::from(versions)), Arc::new(BinaryArray::from_iter_values(raw_leaves))];
    for column in kept_columns() {
        fields.push(rows.schema_ref().field(index_of(column)).clone());
        columns.push(Arc::clone(rows.column(index_of(column))));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn encode(batches: &[RecordBatch]) -> Result<Vec<u8>, Cause> {
    let first = batches.first().ok_or("there is none")?;
    let rows = concat_batches(&first.schema(), batches)?;
    // A rejected row has few columns that are not null, and no leaf counts the others.
    let is_needed = |index: &usize| {
        let name = rows.schema_ref().field(*index).name();
        rows.column(*index).null_count() < rows.num_rows() || PLACE.iter().any(|column| column.name() == name)
    };
    let rows = rows.project(&(0..rows.num_columns()).filter(is_needed).collect::<Vec<_>>())?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties))?;
    writer.write(&rows)?;
    Ok(writer.into_inner()?)
}

/// None if one was not rejected.
fn decode(bytes: Bytes) -> Result<Option<LeavesByOrigin>, Cause> {
    let mut leaves = LeavesByOrigin::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        let batch = batch?;
        let column = |name: &str| batch.column_by_name(name).filter(|values| values.null_count() == 0);
        let no_leaves = "it holds no rejected rows";
        let versions = column(VERSION).and_then(|values| values.as_primitive_opt::<UInt64Type>()).ok_or(no_leaves)?;
        let raw_leaves = column(RAW_LEAF).and_then(|values| values.as_binary_opt::<i32>()).ok_or(no_leaves)?;
        let statuses = column(Column::Status.name()).and_then(|values| values.as_string_opt::<i32>());
        let statuses = statuses.ok_or(no_leaves)?;
        let columns: Vec<usize> = (0..batch.num_columns())
            .filter(|index| ![VERSION, RAW_LEAF].contains(&batch.schema_ref().field(*index).name().as_str()))
            .collect();
        let rows = batch.project(&columns)?;
        for row in 0..batch.num_rows() {
            if statuses.value(row) != Status::Rejected.as_str() {
                return Ok(None);
            }
            let raw = Digest(raw_leaves.value(row).try_into().map_err(|_| no_leaves)?);
            let of_version = leaves.entry(versions.value(row)).or_default();
            for (partition, leaf) in leaves_of(&rows, row)? {
                of_version.entry(partition).or_default().push(RowLeaf { raw, ..leaf });
            }
        }
    }
    Ok(Some(leaves))
}

/// The leaf of one row.
fn leaves_of(rows: &RecordBatch, row: usize) -> Result<impl Iterator<Item = (TopicPartition, RowLeaf)>, Cause> {
    let mut leaves = Leaves::new();
    leaf::add(&rows.slice(row, 1), &mut leaves)?;
    Ok(leaves.into_iter().flat_map(|(partition, rows)| rows.into_iter().map(move |row| (partition.clone(), row))))
}
