//! `actorline archive retain`: deletes what is older than it has to be kept, but for what is held. Safe beside instances at
//! work.

use std::io::{self, BufWriter};
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::output::{Format, RowWriter};
use super::upkeep::{UpkeepArguments, lake_failure, parse_age};
use crate::archive::hold::Hold;
use crate::archive::retain::{Options, Retained, retain};

const COLUMNS: [&str; 5] = ["received_date", "files", "rows_deleted", "rows_held", "version"];

#[derive(Debug, Args)]
pub struct RetainArguments {
    #[command(flatten)]
    upkeep: UpkeepArguments,
    /// The age that is enough: weeks, days or hours, such as 365d
    #[arg(long, value_name = "AGE", value_parser = parse_age)]
    older_than: Duration,
    /// What stays all the same: identity=ID, source=NAME or time=FROM..TO; may be repeated
    #[arg(long, value_name = "HOLD")]
    hold: Vec<Hold>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// How lines are printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub(super) fn run(arguments: &RetainArguments) -> Result<(), Failure> {
    let upkeep = arguments.upkeep.open()?;
    let options = Options {
        older_than: arguments.older_than,
        now: jiff::Timestamp::now(),
        holds: arguments.hold.clone(),
        dry_run: arguments.dry_run,
    };
    let done = upkeep.runtime.block_on(retain(&upkeep.lake, &options)).map_err(lake_failure)?;
    print(&done, arguments.format).map_err(Failure::Output)
}

fn print(done: &[Retained], format: Option<Format>) -> io::Result<()> {
    let mut rows = RowWriter::new(Format::or_default(format), COLUMNS, BufWriter::new(io::stdout().lock()))?;
    for it in done {
        rows.write_row(&[
            it.received_date.clone().map_or(Value::Null, Value::String),
            json!(it.num_files),
            json!(it.num_rows_deleted),
            json!(it.num_rows_held),
            it.version.map_or(Value::Null, |version| json!(version)),
        ])?;
    }
    rows.finish().map(|_| ())
}
