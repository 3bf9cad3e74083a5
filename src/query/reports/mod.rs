//! Reports: what the lake says as a whole. The questions are SQL, kept as files, so that they can be asked elsewhere too.

pub mod coverage;

use arrow::json::LineDelimitedWriter;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use serde::de::DeserializeOwned;

use super::{QueryError, run};

/// All rows of an answer. For answers of a bounded number of rows, which the SQL of reports sees to.
async fn rows<T: DeserializeOwned>(session: &SessionContext, sql: &str) -> Result<Vec<T>, QueryError> {
    let mut batches = run(session, sql).await?;
    let mut rows = Vec::new();
    while let Some(batch) = batches.try_next().await? {
        let mut writer = LineDelimitedWriter::new(Vec::new());
        writer.write(&batch).and_then(|()| writer.finish()).map_err(|error| QueryError::Query(error.into()))?;
        for line in writer.into_inner().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let row = serde_json::from_slice(line);
            rows.push(
                row.map_err(|error| QueryError::Query(datafusion::error::DataFusionError::External(error.into())))?,
            );
        }
    }
    Ok(rows)
}
