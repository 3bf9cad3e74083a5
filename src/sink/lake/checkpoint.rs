//! Checkpoints: the log summed up, so that opening the table does not read every commit that ever was.
//!
//! The kernel writes them, streaming, without the list of files in memory. A checkpoint that fails is logged and
//! nothing else: the log holds everything, and the next one comes soon.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use deltalake::kernel::Version;
use deltalake::logstore::LogStoreRef;
use deltalake::logstore::parquet_reader::ParquetObjectReader;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use serde::Deserialize;

use super::error::{Cause, LakeError};

/// Writes the checkpoint of `version`.
pub(super) async fn write(log: &LogStoreRef, version: Version) -> Result<(), LakeError> {
    let doing = format!("write the checkpoint of version `{version}`");
    let (engine, table) = (log.engine(None), log.root_url().clone());
    // The kernel blocks on I/O, which a worker thread of the runtime must not.
    let written = tokio::task::spawn_blocking(move || {
        let snapshot = delta_kernel::Snapshot::builder_for(table).at_version(version).build(engine.as_ref())?;
        snapshot.checkpoint(engine.as_ref(), None).map(|_| ())
    });
    match written.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(LakeError::new(doing, error)),
        Err(error) => Err(LakeError::new(doing, error)),
    }
}

/// The positions of the newest checkpoint, with its version; None if there is none.
pub(super) async fn read_positions(log: &LogStoreRef) -> Result<Option<(Version, HashMap<String, i64>)>, LakeError> {
    let Some(version) = newest(log).await? else { return Ok(None) };
    let positions = read_transactions(log, version).await;
    let positions =
        positions.map_err(|error| LakeError::new(format!("read the checkpoint of version `{version}`"), error))?;
    Ok(Some((version, positions)))
}

async fn newest(log: &LogStoreRef) -> Result<Option<Version>, LakeError> {
    let doing = "read where the newest checkpoint is";
    let hint = match log
        .object_store(None)
        .get_opts(&Path::from("_delta_log/_last_checkpoint"), GetOptions::default())
        .await
    {
        Ok(hint) => hint.bytes().await.map_err(|error| LakeError::new(doing, error))?,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(LakeError::new(doing, error)),
    };
    let hint: Hint = serde_json::from_slice(&hint).map_err(|error| LakeError::new(doing, error))?;
    Ok(Some(hint.version))
}

async fn read_transactions(log: &LogStoreRef, version: Version) -> Result<HashMap<String, i64>, Cause> {
    let store = log.object_store(None);
    let path = Path::from(format!("_delta_log/{version:020}.checkpoint.parquet"));
    let meta = store.head(&path).await?;
    let reader = ParquetObjectReader::new(Arc::clone(&store), path).with_file_size(meta.size);
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
    let columns = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
    let mut batches = builder.with_projection(columns).build()?;
    let mut positions = HashMap::new();
    while let Some(batch) = batches.try_next().await? {
        let txn = batch.column_by_name("txn").and_then(|column| column.as_struct_opt());
        let ids = txn.and_then(|txn| txn.column_by_name("appId")).and_then(|ids| ids.as_string_opt::<i32>());
        let versions =
            txn.and_then(|txn| txn.column_by_name("version")).and_then(|v| v.as_primitive_opt::<Int64Type>());
        let (Some(txn), Some(ids), Some(versions)) = (txn, ids, versions) else {
            return Err("it has no readable transactions".into());
        };
        let rows = (0..txn.len()).filter(|row| txn.is_valid(*row) && ids.is_valid(*row) && versions.is_valid(*row));
        positions.extend(rows.map(|row| (ids.value(row).to_string(), versions.value(row))));
    }
    Ok(positions)
}

#[derive(Deserialize)]
struct Hint {
    version: Version,
}
