//! `actorline query`: one SQL query over the lake.
//!
//! Reads and never writes. A reader that closes the pipe early ends the command, not with a mistake.

use std::io::{self, BufWriter};

use clap::Args;
use futures::TryStreamExt;

use super::Failure;
use super::lake::LakeArguments;
use super::output::{Format, RowWriter};
use crate::query::{self, QueryError};
use crate::sink::lake::{Lake, LakeError};

#[derive(Debug, Args)]
pub struct QueryArguments {
    #[command(flatten)]
    lake: LakeArguments,
    /// How rows are printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// What to ask; the table is `activities`
    // SQL may begin with a comment, `--`.
    #[arg(allow_hyphen_values = true)]
    sql: String,
}

/// Runs the command.
pub fn run(arguments: &QueryArguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Outside(anyhow::Error::new(error)))?;
    match runtime.block_on(answer(arguments)) {
        Ok(()) => Ok(()),
        Err(Trouble::Output(error)) => Err(Failure::Output(error)),
        Err(Trouble::Query(error @ QueryError::Query(_))) => Err(Failure::BadMapping(error.into())),
        Err(Trouble::Query(QueryError::Lake(error @ LakeError::Refused(_)))) => {
            Err(Failure::BadConfiguration(error.into()))
        }
        Err(Trouble::Query(error)) => Err(Failure::Outside(error.into())),
    }
}

async fn answer(arguments: &QueryArguments) -> Result<(), Trouble> {
    let lake = Lake::open_existing(&arguments.lake.location()).await.map_err(QueryError::from)?;
    let session = query::open(&lake).await?;
    let mut rows = query::run(&session, &arguments.sql).await?;
    let schema = rows.schema();
    let names = schema.fields().iter().map(|field| field.name().clone());
    let out = BufWriter::new(io::stdout().lock());
    let mut writer = RowWriter::new(Format::or_default(arguments.format), names, out)?;
    while let Some(batch) = rows.try_next().await.map_err(QueryError::from)? {
        writer.write_batch(&batch)?;
    }
    writer.finish()?;
    Ok(())
}

enum Trouble {
    Query(QueryError),
    Output(io::Error),
}

impl From<QueryError> for Trouble {
    fn from(error: QueryError) -> Trouble {
        Trouble::Query(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Output(error)
    }
}
