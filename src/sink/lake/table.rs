//! The Delta table itself: created if absent, widened when the schema has grown, refused when it is not a lake.
//!
//! Reader version 1, writer version 2 and no table features, so that every engine reads it. Columns are only ever
//! added. Never changes the type of a column, and never touches a table that somebody else has given other rules.

use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{Action, Metadata, MetadataExt, Protocol, Snapshot, StructType, Version, new_metadata};
use deltalake::logstore::LogStoreRef;
use serde_json::json;
use uuid::Uuid;

use super::columns::{PARTITION, WITH_STATISTICS};
use super::error::LakeError;
use super::log::{self, CHECKPOINT_INTERVAL, Written};
use crate::activity::arrow::schema;
use crate::failpoint;
use crate::seal::SealKey;

const READER_VERSION: i32 = 1;
const WRITER_VERSION: i32 = 2;

/// Tries at creating or widening the table. Each one lost means that another instance did it; there are not more
/// reasons to do it than instances that start at once.
const NUM_TRIES_MAX: usize = 100;

/// A table with this property forgets positions after a while, and then the same records would be committed again.
const FORGETS_POSITIONS: &str = "delta.setTransactionRetentionDuration";

/// Makes the table ready for writing: creates it if absent, adds the columns that it lacks. Returns it as it then is, and the
/// newest commit that this took.
pub(super) async fn prepare(
    log: &LogStoreRef,
    key: Option<&SealKey>,
) -> Result<(Snapshot, Option<(Version, Vec<u8>)>), LakeError> {
    let mut own = None;
    for _ in 0..NUM_TRIES_MAX {
        let (version, operation, actions) = match find(log).await? {
            None => (0, "CREATE TABLE", creation()?),
            Some(snapshot) => {
                check(&snapshot)?;
                match widened(&snapshot)? {
                    None => return Ok((snapshot, own)),
                    Some(metadata) => (snapshot.version() + 1, "ADD COLUMNS", vec![Action::Metadata(metadata)]),
                }
            }
        };
        let about = log::About::without_rows(Uuid::new_v4());
        let entry = log::encode(operation, about, &actions, key)?;
        // Whoever won the version, the next round reads what is there now.
        let written = log::write(log, version, entry.clone()).await;
        failpoint::hit("lake.table_written");
        match written {
            Written::Ours => own = Some((version, entry)),
            Written::Unclear(error) if !error.is_transient() => return Err(error),
            Written::Taken | Written::Unclear(_) => {}
        }
    }
    Err(LakeError::Transient {
        doing: format!("prepare the lake's table in {NUM_TRIES_MAX} tries"),
        source: "other writers were faster each time, or the store did not answer".into(),
    })
}

/// The newest state of the table, without its list of files; None if there is no table.
pub(super) async fn find(log: &LogStoreRef) -> Result<Option<Snapshot>, LakeError> {
    let doing = || format!("read the table at `{}`", log.root_url());
    // Looked for first: libraries and stores name an empty place in several ways, and in between another instance may
    // have made the table.
    if !log.is_delta_table_location().await.map_err(|error| LakeError::new(doing(), error))? {
        return Ok(None);
    }
    Snapshot::try_new(log.as_ref(), None).await.map(Some).map_err(|error| LakeError::new(doing(), error))
}

/// Refuses a table that this program would read wrongly or damage.
pub(super) fn check(snapshot: &Snapshot) -> Result<(), LakeError> {
    let protocol = snapshot.protocol();
    let versions = (protocol.min_reader_version(), protocol.min_writer_version());
    if versions != (READER_VERSION, WRITER_VERSION) {
        return Err(LakeError::Refused(format!(
            "the lake's table has reader version {} and writer version {}, not {READER_VERSION} and {WRITER_VERSION}: \
             something else changed it, use another lake url",
            versions.0, versions.1
        )));
    }
    let metadata = snapshot.metadata();
    if metadata.partition_columns() != [PARTITION.name().to_string()] {
        return Err(LakeError::Refused(format!(
            "the lake's table is partitioned by `{}`, not by `{}`: use another lake url",
            metadata.partition_columns().join("`, `"),
            PARTITION.name()
        )));
    }
    if metadata.configuration().contains_key(FORGETS_POSITIONS) {
        return Err(LakeError::Refused(format!(
            "the lake's table has the property `{FORGETS_POSITIONS}`, which makes it forget positions: remove it"
        )));
    }
    Ok(())
}

/// The table's metadata with the columns that it lacks, or None if it lacks none.
fn widened(snapshot: &Snapshot) -> Result<Option<Metadata>, LakeError> {
    let present = snapshot.schema();
    let wanted = delta_schema()?;
    let mut added = Vec::new();
    for field in wanted.fields() {
        match present.field(field.name()) {
            None => added.push(field.clone()),
            Some(there) if there.data_type() == field.data_type() => {}
            Some(there) => {
                return Err(LakeError::Refused(format!(
                    "the lake's column `{}` has type `{}`, not `{}`: use another lake url",
                    field.name(),
                    there.data_type(),
                    field.data_type()
                )));
            }
        }
    }
    if added.is_empty() {
        return Ok(None);
    }
    // Columns that only the table has come from a newer version of this program and stay.
    let schema = StructType::try_new(present.fields().cloned().chain(added))
        .map_err(|error| LakeError::new("add columns to the lake's table", error))?;
    let metadata = snapshot.metadata().clone().with_schema(&schema);
    metadata.map(Some).map_err(|error| LakeError::new("add columns to the lake's table", error))
}

fn creation() -> Result<Vec<Action>, LakeError> {
    let doing = "describe the lake's table";
    let metadata = new_metadata(&delta_schema()?, [PARTITION.name()], properties())
        .map_err(|error| LakeError::new(doing, error))?;
    let versions = json!({ "minReaderVersion": READER_VERSION, "minWriterVersion": WRITER_VERSION });
    let protocol: Protocol = serde_json::from_value(versions).map_err(|error| LakeError::new(doing, error))?;
    Ok(vec![Action::Protocol(protocol), Action::Metadata(metadata)])
}

fn delta_schema() -> Result<StructType, LakeError> {
    schema().as_ref().try_into_kernel().map_err(|error| LakeError::new("describe the lake's columns", error))
}

fn properties() -> [(&'static str, String); 4] {
    [
        // The log says what each commit brought, and verification reads all of it: nothing may clean it up.
        ("delta.enableExpiredLogCleanup", "false".to_string()),
        // For an engine that cleans up all the same: a hundred years.
        ("delta.logRetentionDuration", "interval 36500 days".to_string()),
        ("delta.checkpointInterval", CHECKPOINT_INTERVAL.to_string()),
        ("delta.dataSkippingStatsColumns", WITH_STATISTICS.map(crate::activity::Column::name).join(",")),
    ]
}
