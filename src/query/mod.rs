//! SQL over the lake, answered by DataFusion on this machine.
//!
//! The table is `activities`, as it stood when the session was opened. Queries read and never write: what would change
//! anything, here or in a file, is refused before it runs. Memory is bounded; what does not fit goes to temporary
//! files, and what does not fit there fails.

pub mod reports;

use std::error::Error as StdError;
use std::sync::Arc;

use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use deltalake::delta_datafusion::DeltaScanNext;

use crate::sink::lake::{Lake, LakeError};

/// The name of the lake's table in SQL.
pub const TABLE: &str = "activities";

/// Memory of a session's operators, beyond which sorts and aggregates go to temporary files. It leaves room on the
/// smallest machine that a lake is worth asking on, one with four gigabytes.
const MEMORY_BYTES_MAX: usize = 1 << 30;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The query's own fault. The text is DataFusion's, and says what to change.
    #[error("{0}")]
    Query(DataFusionError),
    /// The files or the store did not do their part.
    #[error("failed to read the lake")]
    Outside(#[source] DataFusionError),
    #[error(transparent)]
    Lake(#[from] LakeError),
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> QueryError {
        if comes_from_outside(&error) { QueryError::Outside(error) } else { QueryError::Query(error) }
    }
}

/// A session in which the lake, as it is now, can be asked.
pub async fn open(lake: &Lake) -> Result<SessionContext, QueryError> {
    let runtime =
        RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES_MAX))).build_arc()?;
    let config = SessionConfig::new()
        .with_information_schema(true)
        // Pushing lists of join keys into the scan fails on the dictionary that stands for the partition column.
        .set_usize("datafusion.optimizer.hash_join_inlist_pushdown_max_size", 0)
        .set_usize("datafusion.optimizer.hash_join_inlist_pushdown_max_distinct_values", 0);
    let session = SessionContext::new_with_config_rt(config, runtime);
    // A snapshot that has no list of files: the scan reads it from the log, and skips by statistics as it does.
    let snapshot = lake.snapshot().await?;
    let table = DeltaScanNext::builder().with_log_store(Arc::clone(lake.log())).with_snapshot(snapshot).await?;
    session.register_table(TABLE, table)?;
    Ok(session)
}

/// Starts a query. Its rows come as they are found.
pub async fn run(session: &SessionContext, sql: &str) -> Result<SendableRecordBatchStream, QueryError> {
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let plan = session.sql_with_options(sql, read_only).await?;
    Ok(plan.execute_stream().await?)
}

fn comes_from_outside(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let is_outside = error.is::<object_store::Error>()
            || error.is::<std::io::Error>()
            || error.is::<parquet::errors::ParquetError>()
            || error.is::<delta_kernel::Error>()
            || error.is::<deltalake::DeltaTableError>();
        if is_outside {
            return true;
        }
        next = error.source();
    }
    false
}
