//! `actorline archive compact`: fewer and larger files, with the same rows. Safe beside instances at work.

use std::io::{self, BufWriter};

use clap::Args;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::output::{Format, RowWriter};
use super::upkeep::{UpkeepArguments, lake_failure};
use crate::archive::compact::{Compacted, Options, compact};

const COLUMNS: [&str; 7] =
    ["received_date", "files_before", "files_after", "rows", "bytes_before", "bytes_after", "version"];

#[derive(Debug, Args)]
pub struct CompactArguments {
    #[command(flatten)]
    upkeep: UpkeepArguments,
    /// The size that files are put together up to; about ten times as much memory is needed
    #[arg(long, value_name = "BYTES", default_value_t = 134_217_728, value_parser = clap::value_parser!(u64).range(1..))]
    target_file_bytes: u64,
    /// How lines are printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub(super) fn run(arguments: &CompactArguments) -> Result<(), Failure> {
    let upkeep = arguments.upkeep.open()?;
    let options = Options { target_file_bytes: arguments.target_file_bytes };
    let done = upkeep.runtime.block_on(compact(&upkeep.lake, &options)).map_err(lake_failure)?;
    print(&done, arguments.format).map_err(Failure::Output)
}

fn print(done: &[Compacted], format: Option<Format>) -> io::Result<()> {
    let mut rows = RowWriter::new(Format::or_default(format), COLUMNS, BufWriter::new(io::stdout().lock()))?;
    for it in done {
        rows.write_row(&[
            it.received_date.clone().map_or(Value::Null, Value::String),
            json!(it.num_files_before),
            json!(it.num_files_after),
            json!(it.num_rows),
            json!(it.num_bytes_before),
            json!(it.num_bytes_after),
            it.version.map_or(Value::Null, |version| json!(version)),
        ])?;
    }
    rows.finish().map(|_| ())
}
