//! The leaves of rows that went: what is left of them, so that the roots they were sealed under can still be shown.
//!
//! A Parquet object for each deletion, `<lake url>/deletions/<id>.parquet`, named by the deletion's seal with its digest.
//! Written before the commit, never changed.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryBuilder, Int32Array, Int64Builder, RecordBatch, StringBuilder, UInt64Array};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, UInt64Type};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use uuid::Uuid;

use super::Lake;
use super::error::{Cause, LakeError};
use super::reread;
use crate::checkpoint::TopicPartition;
use crate::seal::{Digest, Leaves, LeavesByOrigin, RowLeaf, SealedFile};

/// The folder in the lake.
pub const DELETIONS: &str = "deletions";

impl Lake {
    /// Keeps `leaves` beside the table.
    ///
    /// # Errors
    /// If the store does not take them.
    pub async fn keep_leaves(&self, leaves: &LeavesByOrigin) -> Result<SealedFile, LakeError> {
        let doing = "keep the leaves of rows that are to be deleted";
        let bytes = encode(leaves).map_err(|error| LakeError::new(doing, error))?;
        let num_rows = leaves.values().flat_map(Leaves::values).map(Vec::len).sum();
        let origins = leaves.keys().copied().collect();
        self.keep_object(DELETIONS, bytes, num_rows, origins).await.map_err(|error| LakeError::new(doing, error))
    }

    /// Puts what is left of rows into `folder`, beside the table.
    pub(super) async fn keep_object(
        &self,
        folder: &str,
        bytes: Vec<u8>,
        num_rows: usize,
        origins: Vec<u64>,
    ) -> Result<SealedFile, object_store::Error> {
        let name = format!("{}.parquet", Uuid::new_v4());
        let file = SealedFile {
            path: format!("{folder}/{name}"),
            bytes: bytes.len() as u64,
            rows: num_rows as u64,
            sha256: Digest::of(&bytes),
            origins,
        };
        self.store().put(&Path::from_iter([folder, &name]), bytes.into()).await?;
        Ok(file)
    }
}

/// Reads what [`Lake::keep_leaves`] kept; says in what way it is not what `file` names.
///
/// # Errors
/// If the store does not give it, though it may be there.
pub async fn read(store: &dyn ObjectStore, file: &SealedFile) -> Result<Result<LeavesByOrigin, String>, LakeError> {
    let bytes = match reread::fetch(store, "", file).await? {
        Ok(bytes) => bytes,
        Err(how) => return Ok(Err(how)),
    };
    let num_rows = file.rows;
    let leaves = reread::decode(file, move || decode(bytes)).await?;
    let found: usize = leaves.values().flat_map(Leaves::values).map(Vec::len).sum();
    Ok(if found as u64 == num_rows { Ok(leaves) } else { Err(format!("has {found} leaves, not {num_rows}")) })
}

fn schema() -> Arc<Schema> {
    let field = |name: &str, kind| Field::new(name, kind, true);
    Arc::new(Schema::new(vec![
        field("version", DataType::UInt64),
        field("input_topic", DataType::Utf8),
        field("input_topic_id", DataType::Utf8),
        field("input_partition", DataType::Int32),
        field("input_offset", DataType::Int64),
        field("input_index", DataType::Int64),
        field("input_count", DataType::Int64),
        field("raw_leaf", DataType::Binary),
        field("derived_leaf", DataType::Binary),
    ]))
}

fn encode(leaves: &LeavesByOrigin) -> Result<Vec<u8>, Cause> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties))?;
    for (version, of_commit) in leaves {
        for (partition, rows) in of_commit {
            writer.write(&encode_range(*version, partition, rows)?)?;
        }
    }
    Ok(writer.into_inner()?)
}

fn encode_range(version: u64, partition: &TopicPartition, rows: &[RowLeaf]) -> Result<RecordBatch, Cause> {
    let (mut topics, mut topic_ids) = (StringBuilder::new(), StringBuilder::new());
    let (mut offsets, mut indexes, mut counts) = (Int64Builder::new(), Int64Builder::new(), Int64Builder::new());
    let (mut raw, mut derived) = (BinaryBuilder::new(), BinaryBuilder::new());
    for row in rows {
        topics.append_value(&partition.topic);
        topic_ids.append_option(partition.topic_id.as_deref());
        offsets.append_value(row.offset);
        indexes.append_value(row.index);
        counts.append_value(row.count);
        raw.append_value(row.raw.0);
        derived.append_value(row.derived.0);
    }
    let batch = RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(UInt64Array::from(vec![version; rows.len()])),
            Arc::new(topics.finish()),
            Arc::new(topic_ids.finish()),
            Arc::new(Int32Array::from(vec![partition.partition; rows.len()])),
            Arc::new(offsets.finish()),
            Arc::new(indexes.finish()),
            Arc::new(counts.finish()),
            Arc::new(raw.finish()),
            Arc::new(derived.finish()),
        ],
    );
    Ok(batch?)
}

fn decode(bytes: Bytes) -> Result<LeavesByOrigin, Cause> {
    let mut leaves = LeavesByOrigin::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        add(&batch?, &mut leaves).ok_or("it holds no leaves")?;
    }
    Ok(leaves)
}

fn add(batch: &RecordBatch, leaves: &mut LeavesByOrigin) -> Option<()> {
    let column =
        |name: &str| batch.column_by_name(name).filter(|values| name == "input_topic_id" || values.null_count() == 0);
    let versions = column("version")?.as_primitive_opt::<UInt64Type>()?;
    let topics = column("input_topic")?.as_string_opt::<i32>()?;
    let topic_ids = column("input_topic_id")?.as_string_opt::<i32>()?;
    let partitions = column("input_partition")?.as_primitive_opt::<Int32Type>()?;
    let number = |name: &str| column(name)?.as_primitive_opt::<Int64Type>();
    let (offsets, indexes, counts) = (number("input_offset")?, number("input_index")?, number("input_count")?);
    let (raw, derived) = (column("raw_leaf")?.as_binary_opt::<i32>()?, column("derived_leaf")?.as_binary_opt::<i32>()?);
    for row in 0..batch.num_rows() {
        let partition = TopicPartition {
            topic: topics.value(row).into(),
            topic_id: topic_ids.is_valid(row).then(|| topic_ids.value(row).into()),
            partition: partitions.value(row),
        };
        leaves.entry(versions.value(row)).or_default().entry(partition).or_default().push(RowLeaf {
            offset: offsets.value(row),
            index: indexes.value(row),
            count: counts.value(row),
            raw: Digest(raw.value(row).try_into().ok()?),
            derived: Digest(derived.value(row).try_into().ok()?),
        });
    }
    Some(())
}
