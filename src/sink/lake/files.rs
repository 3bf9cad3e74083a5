//! Data files: rows sorted, split by day of receipt, and written as Parquet under fresh names.
//!
//! A file is invisible until a commit names it, and a name is never used twice. One file is encoded at a time for each
//! day, a few at once, so that rows of very many days cost time and not memory. Files are never changed or deleted.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::Date32Type;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use deltalake::kernel::Add;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use uuid::Uuid;

use super::Lake;
use super::columns::{LOOKED_UP, PARTITION, SORTED_BY, WITHOUT_DICTIONARY};
use super::error::LakeError;
use super::statistics::FileStatistics;
use crate::activity::arrow::index_of;
use crate::activity::{Column, json};
use crate::failpoint;
use crate::seal::{Digest, Leaves, SHA256_TAG, leaf};

/// Rows of a row group: large enough to compress well, small enough to skip by.
const ROWS_PER_GROUP: usize = 128 * 1024;

/// Rows that are put in order at a time. What is copied for it is this small part of the batch and not all of it.
const ROWS_PER_CHUNK: usize = 8 * 1024;

/// Files encoded and sent at the same time. A commit has one or two; many only when times of receipt are sprayed.
const NUM_FILES_AT_ONCE: usize = 4;

/// False positives of a bloom filter: one in a hundred row groups is read in vain.
const BLOOM_FILTER_FPP: f64 = 0.01;

/// Above this size a file is sent in parts, so that a slow link does not run into the timeout of a single request,
/// and a failed part is repeated alone.
const PART_BYTES: usize = 8 * 1024 * 1024;

/// The days from 0001-01-01 to 9999-12-31.
const READABLE_DAYS: RangeInclusive<i32> = -719_162..=2_932_896;

/// The folder of rows whose day has no four digits of a year, as Delta names it.
const NO_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// A file that was written and waits to be committed.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// Relative to the table.
    pub path: String,
    /// The day of receipt of all of its rows; None where that is no date that a reader could take.
    pub received_date: Option<String>,
    pub num_bytes: u64,
    pub num_rows: usize,
    /// Of the bytes as they are stored.
    pub sha256: Digest,
    /// What the commit's seal covers of each row.
    pub(super) leaves: Arc<Leaves>,
    statistics: String,
    created_at_ms: i64,
}

impl Lake {
    /// Writes `rows`, batches of the lake's schema in any order, as one file for each day of receipt.
    ///
    /// A failure leaves no part of them in the table; what was written stays behind unseen.
    pub async fn write_files(&self, rows: &[RecordBatch]) -> Result<Vec<DataFile>, LakeError> {
        let rows: Arc<[RecordBatch]> = rows.into();
        let sorted = Arc::clone(&rows);
        let days = compute("sort rows", move || split_by_day(&sorted)).await?;
        let files = days.into_iter().map(|day| self.write_file(Arc::clone(&rows), day));
        stream::iter(files).buffered(NUM_FILES_AT_ONCE).try_collect().await
    }

    async fn write_file(&self, rows: Arc<[RecordBatch]>, day: Day) -> Result<DataFile, LakeError> {
        let num_rows = day.rows.len();
        let received_date = day.date.and_then(partition_value);
        let encoded = compute("encode a data file", move || encode(&rows, &day.rows)).await?;
        let folder = received_date.as_deref().unwrap_or(NO_PARTITION);
        let file = DataFile {
            path: format!("{}={folder}/{}.parquet", PARTITION.name(), Uuid::new_v4()),
            received_date,
            num_bytes: encoded.bytes.len() as u64,
            num_rows,
            sha256: encoded.sha256,
            leaves: Arc::new(encoded.leaves),
            statistics: encoded.statistics,
            created_at_ms: jiff::Timestamp::now().as_millisecond(),
        };
        failpoint::hit("lake.file_encoded");
        let sent = send(self.log().object_store(None), &file.path, encoded.bytes).await;
        sent.map_err(|error| LakeError::new(format!("write the data file `{}`", file.path), error))?;
        Ok(file)
    }
}

impl DataFile {
    /// The leaves of its rows.
    pub fn leaves(&self) -> &Leaves {
        &self.leaves
    }

    pub(super) fn into_add(self) -> Add {
        Add {
            path: self.path,
            partition_values: HashMap::from([(PARTITION.name().to_string(), self.received_date)]),
            size: self.num_bytes as i64,
            modification_time: self.created_at_ms,
            data_change: true,
            stats: Some(self.statistics),
            tags: Some(HashMap::from([(SHA256_TAG.to_string(), Some(self.sha256.to_string()))])),
            ..Add::default()
        }
    }
}

/// A row: which batch, which row of it.
type RowAt = (usize, usize);

struct Day {
    date: Option<i32>,
    rows: Vec<RowAt>,
}

fn split_by_day(batches: &[RecordBatch]) -> Result<Vec<Day>, ArrowError> {
    let keys = sort_keys(batches)?;
    let dates = batches.iter().map(date_column).collect::<Result<Vec<_>, _>>()?;
    let date_of = |(batch, row): RowAt| dates[batch].is_valid(row).then(|| dates[batch].value(row));

    let mut rows: Vec<RowAt> = batches
        .iter()
        .enumerate()
        .flat_map(|(index, batch)| (0..batch.num_rows()).map(move |row| (index, row)))
        .collect();
    // Stable: rows that compare equal keep the order in which they were read.
    rows.sort_by(|a, b| {
        let by_key = || -> Ordering { keys[a.0].row(a.1).cmp(&keys[b.0].row(b.1)) };
        date_of(*a).cmp(&date_of(*b)).then_with(by_key)
    });
    let mut days: Vec<Day> = Vec::new();
    for row in rows {
        let date = date_of(row);
        match days.last_mut() {
            Some(day) if day.date == date => day.rows.push(row),
            _ => days.push(Day { date, rows: vec![row] }),
        }
    }
    Ok(days)
}

fn sort_keys(batches: &[RecordBatch]) -> Result<Vec<Rows>, ArrowError> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let sorted_by = |batch: &RecordBatch| SORTED_BY.map(|column| Arc::clone(batch.column(index_of(column))));
    let fields = sorted_by(first).iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    batches.iter().map(|batch| converter.convert_columns(&sorted_by(batch))).collect()
}

fn date_column(batch: &RecordBatch) -> Result<&arrow::array::Date32Array, ArrowError> {
    let column = batch.column(index_of(PARTITION)).as_primitive_opt::<Date32Type>();
    column.ok_or_else(|| ArrowError::SchemaError(format!("column `{}` holds no dates", PARTITION.name())))
}

/// The day as the log writes it. Engines read four digits of a year; anything else would spoil the whole table for
/// them, so such rows go where rows without a day go. Their time of receipt is kept in its own column.
fn partition_value(days: i32) -> Option<String> {
    READABLE_DAYS.contains(&days).then(|| json::format_date(days))
}

struct Encoded {
    bytes: Vec<u8>,
    sha256: Digest,
    leaves: Leaves,
    statistics: String,
}

fn encode(batches: &[RecordBatch], rows: &[RowAt]) -> Result<Encoded, ParquetError> {
    // The partition column is in the log and in the path, as Delta wants it, and not in the file.
    let stored: Vec<usize> = (0..Column::COUNT).filter(|index| *index != index_of(PARTITION)).collect();
    let batches = batches.iter().map(|batch| batch.project(&stored)).collect::<Result<Vec<_>, _>>()?;
    let batches: Vec<&RecordBatch> = batches.iter().collect();
    let Some(first) = batches.first() else { return Err(ParquetError::General("no rows to write".to_string())) };

    let (mut statistics, mut leaves) = (FileStatistics::default(), Leaves::new());
    let options = ArrowWriterOptions::new().with_properties(properties()).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), first.schema(), options)?;
    for chunk in rows.chunks(ROWS_PER_CHUNK) {
        let chunk = interleave_record_batch(&batches, chunk)?;
        statistics.add(&chunk);
        leaf::add(&chunk, &mut leaves).map_err(|error| ParquetError::External(error.into()))?;
        writer.write(&chunk)?;
    }
    let bytes = writer.into_inner()?;
    let sha256 = Digest::of(&bytes);
    Ok(Encoded { bytes, sha256, leaves, statistics: statistics.to_json() })
}

fn properties() -> WriterProperties {
    let path = |column: Column| ColumnPath::from(column.name());
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("actorline ", env!("CARGO_PKG_VERSION")).to_string())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_column_statistics_enabled(path(Column::Raw), EnabledStatistics::None);
    for column in WITHOUT_DICTIONARY {
        properties = properties.set_column_dictionary_enabled(path(column), false);
    }
    for column in LOOKED_UP {
        properties = properties
            .set_column_bloom_filter_enabled(path(column), true)
            .set_column_bloom_filter_fpp(path(column), BLOOM_FILTER_FPP);
    }
    properties.build()
}

async fn send(store: Arc<dyn ObjectStore>, path: &str, bytes: Vec<u8>) -> Result<(), object_store::Error> {
    let path = Path::from(path);
    if bytes.len() <= PART_BYTES {
        store.put(&path, bytes.into()).await?;
        return Ok(());
    }
    let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(&path).await?, PART_BYTES);
    upload.write(&bytes);
    failpoint::hit("lake.part_sent");
    upload.finish().await?;
    Ok(())
}

/// Runs what keeps a core busy where it holds up nobody's I/O.
async fn compute<T, E>(doing: &str, work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, LakeError>
where
    T: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| LakeError::new(doing, error)),
        Err(error) => Err(LakeError::new(doing, error)),
    }
}
