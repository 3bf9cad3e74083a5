//! Data files read again: the bytes as they are stored, and the leaves of the rows in them, or the rows themselves.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, RecordBatch, new_null_array};
use arrow::compute::cast;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::TABLE;
use super::columns::PARTITION;
use super::error::{Cause, LakeError};
use super::history::LiveFile;
use crate::activity::arrow::schema;
use crate::seal::{Digest, Leaves, SealedFile, leaf};

/// Rows decoded at a time: the columns of so many wide rows take some megabytes.
const ROWS_AT_ONCE: usize = 1024;

/// What became of a file that a seal or a commit names.
#[derive(Debug)]
pub enum Reread {
    /// Its bytes are those that were named.
    Whole { leaves: Leaves, num_bytes: u64 },
    /// They are not; says in what way.
    Differs(String),
}

/// Reads `file` below the lake's folder `store` and compares it with what is said of it.
///
/// Only bytes with the right digest are decoded, so nothing that somebody put there reaches the decoder. The file is
/// held in memory while it is read: a writer holds it as well.
///
/// # Errors
/// If the store does not give the file, though it may be there.
pub async fn file(store: &dyn ObjectStore, file: &SealedFile) -> Result<Reread, LakeError> {
    let bytes = match fetch(store, TABLE, file).await? {
        Ok(bytes) => bytes,
        Err(how) => return Ok(Reread::Differs(how)),
    };
    let num_rows = file.rows;
    decode(file, move || read_leaves(bytes, num_rows)).await
}

/// The rows of a file that readers see, with every column of the lake's schema, and the leaves of what is stored.
///
/// # Errors
/// If the file cannot be read, or is not what was sealed.
pub async fn rows(store: &dyn ObjectStore, live: &LiveFile) -> Result<(Vec<RecordBatch>, Leaves), LakeError> {
    let bytes = fetch(store, TABLE, &live.file)
        .await?
        .map_err(|how| LakeError::Refused(format!("the data file `{}` {how}: run `archive verify`", live.file.path)))?;
    let day = live.received_date.clone();
    decode(&live.file, move || read_rows(bytes, day.as_deref())).await
}

/// The bytes of an object below `folder`, if they are those that `file` names; else in what way they are not.
pub(super) async fn fetch(
    store: &dyn ObjectStore,
    folder: &str,
    file: &SealedFile,
) -> Result<Result<Bytes, String>, LakeError> {
    let path = Path::from_iter([folder]).parts().chain(Path::from(file.path.as_str()).parts()).collect::<Path>();
    let doing = || format!("read the data file `{}`", file.path);
    let found = match store.get(&path).await {
        Ok(found) if found.meta.size != file.bytes => {
            return Ok(Err(format!("has {} bytes, not {}", found.meta.size, file.bytes)));
        }
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(Err("is gone".to_string())),
        Err(error) => return Err(LakeError::new(doing(), error)),
    };
    let bytes = found.bytes().await.map_err(|error| LakeError::new(doing(), error))?;
    let (of, sha256) = (bytes.clone(), file.sha256);
    let found = tokio::task::spawn_blocking(move || Digest::of(&of)).await;
    let found = found.map_err(|error| LakeError::new(doing(), error))?;
    Ok(if found == sha256 { Ok(bytes) } else { Err(format!("has the sha256 `{found}`, not `{sha256}`")) })
}

/// Runs what keeps a core busy where it holds up nobody's I/O.
pub(super) async fn decode<T: Send + 'static>(
    file: &SealedFile,
    work: impl FnOnce() -> Result<T, Cause> + Send + 'static,
) -> Result<T, LakeError> {
    let doing = || format!("read the data file `{}`", file.path);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(error)) => Err(LakeError::Permanent { doing: doing(), source: error }),
        Err(error) => Err(LakeError::new(doing(), error)),
    }
}

fn read_rows(bytes: Bytes, day: Option<&str>) -> Result<(Vec<RecordBatch>, Leaves), Cause> {
    let (mut batches, mut leaves) = (Vec::new(), Leaves::new());
    for stored in ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(ROWS_AT_ONCE).build()? {
        let stored = stored?;
        leaf::add(&stored, &mut leaves)?;
        batches.push(complete(&stored, day)?);
    }
    Ok((batches, leaves))
}

/// Rows with every column of the lake's schema: what was stored without one is null in it.
pub(super) fn complete(stored: &RecordBatch, day: Option<&str>) -> Result<RecordBatch, Cause> {
    let schema = schema();
    // Leaving a column out would be a loss, and a newer version's may have any meaning.
    let unknown = stored.schema_ref().fields().iter().find(|field| schema.index_of(field.name()).is_err());
    if let Some(field) = unknown {
        return Err(format!("it has the column `{}`: use the version of actorline that knows it", field.name()).into());
    }
    let column = |field: &Arc<arrow::datatypes::Field>| -> Result<ArrayRef, Cause> {
        match stored.column_by_name(field.name()) {
            Some(values) => Ok(cast(values, field.data_type())?),
            None if field.name() == PARTITION.name() => {
                let day = day.map(|day| day.parse::<jiff::civil::Date>()).transpose()?;
                let days = day.map(|day| (day - jiff::civil::date(1970, 1, 1)).get_days());
                Ok(Arc::new(Date32Array::from(vec![days; stored.num_rows()])))
            }
            None => Ok(new_null_array(field.data_type(), stored.num_rows())),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
}

fn read_leaves(bytes: Bytes, num_rows: u64) -> Result<Reread, Cause> {
    let num_bytes = bytes.len() as u64;
    let rows = ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(ROWS_AT_ONCE).build()?;
    let mut leaves = Leaves::new();
    for batch in rows {
        leaf::add(&batch?, &mut leaves)?;
    }
    let found: usize = leaves.values().map(Vec::len).sum();
    if found as u64 != num_rows {
        return Ok(Reread::Differs(format!("has {found} rows, not {num_rows}")));
    }
    Ok(Reread::Whole { leaves, num_bytes })
}
