//! Checkpoints: what most readers read in place of the log, and so the place to hide rows from them.
//!
//! Each must list the very files and positions that the commits up to its version leave.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use serde_json::Value;

use super::chain::{Chain, read};
use super::inventory::Inventory;
use super::report::{Check, Report};
use crate::sink::lake::TABLE;

/// Compares the checkpoint of `version` with what the chain has come to there.
pub(super) async fn check_checkpoint(
    store: &Arc<dyn ObjectStore>,
    name: &str,
    version: u64,
    chain: &Chain,
    report: &mut Report,
) {
    let path = Path::from_iter([TABLE, "_delta_log", name]);
    let object = Some(path.as_ref());
    let bytes = match read(store.as_ref(), &path).await {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return,
        Err(error) => return report.unchecked(Check::Shortcuts, Some(version), object, error),
    };
    // A planted file may do anything to a decoder, but not more than end this one.
    let listed = tokio::task::spawn_blocking(move || Listed::read(bytes)).await;
    let listed = match listed {
        Ok(Ok(listed)) => listed,
        Ok(Err(why)) => {
            let detail = format!("the checkpoint cannot be read: {why}");
            return report.finding(Check::Shortcuts, Some(version), object, detail);
        }
        Err(_) => return report.finding(Check::Shortcuts, Some(version), object, "the checkpoint is no Parquet file"),
    };
    for fault in listed.faults(chain) {
        report.finding(Check::Shortcuts, Some(version), object, fault);
    }
}

/// The hint at the newest checkpoint must name one that is there.
pub(super) async fn check_last(store: &dyn ObjectStore, inventory: &Inventory, report: &mut Report) {
    let path = Path::from_iter([TABLE, "_delta_log", "_last_checkpoint"]);
    let object = Some(path.as_ref());
    match read(store, &path).await {
        Ok(Some(bytes)) => match serde_json::from_slice::<Hint>(&bytes) {
            Ok(hint) if inventory.checkpoints.contains_key(&hint.version) => {}
            // Written after the checkpoint, so it may be newer than the listing.
            Ok(hint) if inventory.seals.last().is_some_and(|newest| hint.version > *newest) => {}
            Ok(hint) => {
                let detail = format!("names a checkpoint of version {}, which is not there", hint.version);
                report.finding(Check::Shortcuts, None, object, detail);
            }
            Err(error) => report.finding(Check::Shortcuts, None, object, format!("cannot be read: {error}")),
        },
        Ok(None) => {}
        Err(error) => report.unchecked(Check::Shortcuts, None, object, error),
    }
}

#[derive(Deserialize)]
struct Hint {
    version: u64,
}

/// What a checkpoint lists.
#[derive(Default)]
struct Listed {
    files: HashMap<String, (u64, Option<String>)>,
    positions: BTreeMap<String, i64>,
    num_doubled: usize,
    num_with_deleted_rows: usize,
}

impl Listed {
    fn read(bytes: bytes::Bytes) -> Result<Listed, String> {
        let read_error = |error: &dyn std::error::Error| error.to_string();
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| read_error(&error))?;
        let mut listed = Listed::default();
        for batch in builder.build().map_err(|error| read_error(&error))? {
            listed.add(&batch.map_err(|error| read_error(&error))?).ok_or("it lacks what every checkpoint has")?;
        }
        Ok(listed)
    }

    fn add(&mut self, batch: &RecordBatch) -> Option<()> {
        let adds = batch.column_by_name("add")?.as_struct_opt()?;
        let (paths, sizes, statistics) = (texts(adds, "path")?, adds.column_by_name("size")?, texts(adds, "stats"));
        let sizes = sizes.as_primitive_opt::<Int64Type>()?;
        let vectors = adds.column_by_name("deletionVector");
        for row in (0..adds.len()).filter(|row| adds.is_valid(*row) && paths.is_valid(*row)) {
            let size = u64::try_from(sizes.value(row)).ok()?;
            let text = |texts: &arrow::array::StringArray| texts.is_valid(row).then(|| texts.value(row).to_string());
            let file = (size, statistics.as_ref().and_then(text));
            self.num_doubled += usize::from(self.files.insert(paths.value(row).to_string(), file).is_some());
            self.num_with_deleted_rows += usize::from(vectors.is_some_and(|vectors| vectors.is_valid(row)));
        }
        let txn = batch.column_by_name("txn")?.as_struct_opt()?;
        let (ids, versions) = (texts(txn, "appId")?, txn.column_by_name("version")?.as_primitive_opt::<Int64Type>()?);
        for row in (0..txn.len()).filter(|row| txn.is_valid(*row) && ids.is_valid(*row)) {
            self.positions.insert(ids.value(row).to_string(), versions.value(row));
        }
        Some(())
    }

    fn faults(&self, chain: &Chain) -> Vec<String> {
        let mut faults = Vec::new();
        let mut count = |num: usize, what: &str| {
            if num > 0 {
                faults.push(format!("the checkpoint {what}: {num}"));
            }
        };
        let differs = |path: &String| {
            let (listed, live) = (self.files.get(path), chain.live.get(path));
            listed.zip(live).is_some_and(|((bytes, statistics), live)| {
                *bytes != live.bytes || !is_same_json(statistics.as_deref(), live.statistics.as_deref())
            })
        };
        count(chain.live.keys().filter(|path| !self.files.contains_key(*path)).count(), "hides files");
        count(self.files.keys().filter(|path| !chain.live.contains_key(*path)).count(), "has files of no commit");
        count(self.files.keys().filter(|path| differs(path)).count(), "says other things of files than their commits");
        count(self.num_doubled, "has files twice");
        count(self.num_with_deleted_rows, "deletes rows of files");
        count(usize::from(self.positions != chain.positions), "has other positions than the commits");
        faults
    }
}

/// Whether two statistics say the same, however they are written.
fn is_same_json(one: Option<&str>, other: Option<&str>) -> bool {
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || (one.and_then(read).is_some() && one.and_then(read) == other.and_then(read))
}

fn texts(parent: &StructArray, name: &str) -> Option<arrow::array::StringArray> {
    let texts = cast(parent.column_by_name(name)?, &DataType::Utf8).ok()?;
    texts.as_string_opt::<i32>().cloned()
}
