//! Attribution coverage: for each source, of how many events it is known who acted, and by what evidence.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use datafusion::prelude::SessionContext;
use serde::Deserialize;

use super::super::{QueryError, TABLE};
use super::rows;

const COVERAGE: &str = include_str!("coverage.sql");
const UNKNOWN_OPERATIONS: &str = include_str!("unknown_operations.sql");

/// Most operations without a verb that are kept by name, all sources together. A platform has some thousands of operations; a
/// field that is no operation at all would fill memory.
const NUM_OPERATIONS_MAX: usize = 100_000;

/// The figures of every source.
#[derive(Debug, Default, PartialEq)]
pub struct Coverage {
    pub sources: BTreeMap<String, SourceCoverage>,
    num_operations: usize,
}

#[derive(Debug, Default, PartialEq)]
pub struct SourceCoverage {
    pub num_events: u64,
    pub num_known: u64,
    pub num_with_owner: u64,
    pub num_with_credential_id: u64,
    pub num_with_correlation_id: u64,
    pub num_with_unknown_operation: u64,
    /// Events by what justified the actor type.
    pub by_basis: BTreeMap<String, u64>,
    /// Operations whose verb no mapping knows, with how often they occurred.
    pub unknown_operations: BTreeMap<String, u64>,
}

#[derive(Debug, Deserialize)]
struct CoverageRow {
    source: String,
    basis: String,
    num_events: u64,
    num_known: u64,
    num_with_owner: u64,
    num_with_credential_id: u64,
    num_with_correlation_id: u64,
    num_with_unknown_operation: u64,
}

#[derive(Debug, Deserialize)]
struct OperationRow {
    source: String,
    operation: String,
    num_events: u64,
}

impl Coverage {
    /// Adds what a session's table says: a lake's, or some rows'.
    pub async fn add(&mut self, session: &SessionContext) -> Result<(), QueryError> {
        for row in rows::<CoverageRow>(session, COVERAGE).await? {
            let source = self.sources.entry(row.source).or_default();
            source.num_events += row.num_events;
            source.num_known += row.num_known;
            source.num_with_owner += row.num_with_owner;
            source.num_with_credential_id += row.num_with_credential_id;
            source.num_with_correlation_id += row.num_with_correlation_id;
            source.num_with_unknown_operation += row.num_with_unknown_operation;
            *source.by_basis.entry(row.basis).or_default() += row.num_events;
        }
        for row in rows::<OperationRow>(session, UNKNOWN_OPERATIONS).await? {
            let operations = &mut self.sources.entry(row.source).or_default().unknown_operations;
            if let Some(num_events) = operations.get_mut(&row.operation) {
                *num_events += row.num_events;
            } else if self.num_operations < NUM_OPERATIONS_MAX {
                self.num_operations += 1;
                operations.insert(row.operation, row.num_events);
            }
        }
        Ok(())
    }

    /// Adds rows that are in no lake.
    pub async fn add_rows(&mut self, batch: RecordBatch) -> Result<(), QueryError> {
        let session = SessionContext::new();
        session.register_batch(TABLE, batch)?;
        self.add(&session).await
    }
}

impl SourceCoverage {
    /// Which part of the events `num` is.
    pub fn share(&self, num: u64) -> f64 {
        if self.num_events == 0 { 0.0 } else { num as f64 / self.num_events as f64 }
    }
}
