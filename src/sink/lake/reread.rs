//! Data files read again: the bytes as they are stored, and the leaves of the rows in them.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::TABLE;
use super::error::{Cause, LakeError};
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
    let path = Path::from_iter([TABLE]).parts().chain(Path::from(file.path.as_str()).parts()).collect::<Path>();
    let doing = || format!("read the data file `{}`", file.path);
    let found = match store.get(&path).await {
        Ok(found) if found.meta.size != file.bytes => {
            return Ok(Reread::Differs(format!("has {} bytes, not {}", found.meta.size, file.bytes)));
        }
        Ok(found) => found,
        Err(object_store::Error::NotFound { .. }) => return Ok(Reread::Differs("is gone".to_string())),
        Err(error) => return Err(LakeError::new(doing(), error)),
    };
    let bytes = found.bytes().await.map_err(|error| LakeError::new(doing(), error))?;
    let (sha256, num_rows) = (file.sha256, file.rows);
    let read = tokio::task::spawn_blocking(move || read_rows(bytes, sha256, num_rows)).await;
    match read {
        Ok(Ok(reread)) => Ok(reread),
        Ok(Err(error)) => Err(LakeError::Permanent { doing: doing(), source: error }),
        Err(error) => Err(LakeError::new(doing(), error)),
    }
}

fn read_rows(bytes: Bytes, sha256: Digest, num_rows: u64) -> Result<Reread, Cause> {
    let found = Digest::of(&bytes);
    if found != sha256 {
        return Ok(Reread::Differs(format!("has the sha256 `{found}`, not `{sha256}`")));
    }
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
