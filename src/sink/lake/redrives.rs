//! Batches of dead letters on their way into both sinks, kept beside the table before either sink has them.
//!
//! `redrives/<group>/<cluster>/<number>.parquet` holds the rows that a batch brings, `….json` which dead letters it tried. Both are
//! written before the SIEM's transaction, so whoever finds the transaction done and the table without the batch brings the
//! very rows that the SIEM has, whatever mappings say by then. A number is taken once, and nothing is overwritten. The rows go
//! once the table has them, so that no retention has to look for them here; what was tried stays, for it counts attempts.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::{Deserialize, Serialize};

use super::Lake;
use super::error::{Cause, LakeError};
use super::reread::complete;
use crate::activity::arrow::schema;
use crate::seal::{Digest, Redriver};

/// The folder in the lake.
const FOLDER: &str = "redrives";

/// Dead letters that were tried: a stretch of a partition of their topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub partition: i32,
    pub from: i64,
    pub to: i64,
}

/// A batch, as it was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    pub number: i64,
    pub topic: String,
    pub tried: Vec<Tried>,
    /// Rows that it brings.
    pub rows: usize,
    pub generation: String,
}

impl Redrive {
    /// Whether the letter at `offset` of `partition` was among them.
    pub fn has_tried(&self, topic: &str, partition: i32, offset: i64) -> bool {
        let is_in = |tried: &Tried| tried.partition == partition && (tried.from..tried.to).contains(&offset);
        self.topic == topic && self.tried.iter().any(is_in)
    }
}

/// What lies there.
#[derive(Debug, Default)]
pub struct Kept {
    /// In the order of their numbers.
    pub redrives: Vec<Redrive>,
    /// The largest number that is taken.
    pub newest: i64,
    /// Batches whose rows are still there.
    pub with_rows: BTreeSet<i64>,
}

impl Lake {
    /// Keeps a batch, and gives the digest of its rows as they are kept; None if its number is taken: somebody else redrives
    /// the same group's letters.
    ///
    /// # Errors
    /// If the store does not take it.
    pub async fn keep_redrive(
        &self,
        by: &Redriver,
        redrive: &Redrive,
        rows: Option<&RecordBatch>,
    ) -> Result<Option<Digest>, LakeError> {
        let doing = || format!("keep batch `{}` of redriven dead letters", redrive.number);
        let failed = |source: Cause| LakeError::new(doing(), source);
        let about = serde_json::to_vec(redrive).map_err(|error| failed(error.into()))?;
        let bytes = rows.map_or(Ok(Vec::new()), encode).map_err(failed)?;
        let sha256 = Digest::of(&bytes);
        if rows.is_some() && !put(&self.store(), path_of(by, redrive.number, "parquet"), bytes, doing).await? {
            return Ok(None);
        }
        let is_own = put(&self.store(), path_of(by, redrive.number, "json"), about, doing).await?;
        Ok(is_own.then_some(sha256))
    }

    /// The rows of a batch; None once they went.
    ///
    /// # Errors
    /// If the store does not give them, though they may be there, or they are not those with the digest `sha256`.
    pub async fn redrive_rows(
        &self,
        by: &Redriver,
        number: i64,
        sha256: Option<&str>,
    ) -> Result<Option<RecordBatch>, LakeError> {
        let doing = || format!("read batch `{number}` of redriven dead letters");
        let found = match self.store().get(&path_of(by, number, "parquet")).await {
            Ok(found) => found,
            Err(StoreError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(LakeError::new(doing(), error)),
        };
        let bytes = found.bytes().await.map_err(|error| LakeError::new(doing(), error))?;
        if sha256.is_some_and(|sha256| Digest::of(&bytes).to_string() != sha256) {
            let path = path_of(by, number, "parquet");
            return Err(LakeError::Refused(format!(
                "`{path}` is not what was sent to the SIEM: put that back, nothing was done"
            )));
        }
        decode(bytes).map(Some).map_err(|source| LakeError::Permanent { doing: doing(), source })
    }

    /// Deletes the rows of a batch that the table has, or that neither sink can get any more.
    ///
    /// # Errors
    /// If the store does not do it.
    pub async fn forget_redrive_rows(&self, by: &Redriver, number: i64) -> Result<(), LakeError> {
        match self.store().delete(&path_of(by, number, "parquet")).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(LakeError::new(format!("delete batch `{number}` of redriven dead letters"), error)),
        }
    }

    /// Everything that is kept of one group's.
    ///
    /// # Errors
    /// If it cannot be listed or read.
    pub async fn redrives(&self, by: &Redriver) -> Result<Kept, LakeError> {
        let doing = "list the batches of redriven dead letters";
        let store = self.store();
        let folder = folder_of(by);
        let objects: Vec<_> =
            store.list(Some(&folder)).try_collect().await.map_err(|error| LakeError::new(doing, error))?;
        let mut kept = Kept::default();
        for object in objects {
            let Some((number, extension)) = object.location.filename().and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Ok(number) = number.parse() else { continue };
            kept.newest = kept.newest.max(number);
            if extension == "parquet" {
                kept.with_rows.insert(number);
            }
            if extension == "json" {
                let found = store.get(&object.location).await.map_err(|error| LakeError::new(doing, error))?;
                let bytes = found.bytes().await.map_err(|error| LakeError::new(doing, error))?;
                kept.redrives.push(serde_json::from_slice(&bytes).map_err(|error| LakeError::new(doing, error))?);
            }
        }
        kept.redrives.sort_by_key(|redrive: &Redrive| redrive.number);
        Ok(kept)
    }
}

fn folder_of(by: &Redriver) -> Path {
    Path::from_iter([FOLDER, &by.group, &by.cluster])
}

fn path_of(by: &Redriver, number: i64, extension: &str) -> Path {
    folder_of(by).join(format!("{number:020}.{extension}"))
}

async fn put(
    store: &Arc<dyn ObjectStore>,
    path: Path,
    bytes: Vec<u8>,
    doing: impl Fn() -> String,
) -> Result<bool, LakeError> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(&path, bytes.into(), options).await {
        Ok(_) => Ok(true),
        Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
        Err(error) => Err(LakeError::new(doing(), error)),
    }
}

fn encode(rows: &RecordBatch) -> Result<Vec<u8>, Cause> {
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None)?;
    writer.write(rows)?;
    Ok(writer.into_inner()?)
}

fn decode(bytes: Bytes) -> Result<RecordBatch, Cause> {
    let batches = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
    let batches = batches.map(|batch| complete(&batch?, None)).collect::<Result<Vec<_>, Cause>>()?;
    Ok(concat_batches(&schema(), &batches)?)
}
