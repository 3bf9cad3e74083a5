//! `actorline archive vacuum`: deletes objects that no reader of the table sees and nobody waits for. Safe beside instances
//! at work.

use std::io::{self, BufWriter};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::super::Failure;
use super::super::output::{Format, RowWriter};
use super::upkeep::{UpkeepArguments, lake_failure, parse_age};
use crate::archive::vacuum::{Options, VacuumError, Vacuumed, Why, vacuum};

const COLUMNS: [&str; 3] = ["object", "bytes", "why"];

/// No batch waits so long for its commit, and no query reads so long.
const AGE_MIN: Duration = Duration::from_secs(86_400);

#[derive(Debug, Args)]
pub struct VacuumArguments {
    #[command(flatten)]
    upkeep: UpkeepArguments,
    /// The age from which on nobody waits for a file any more, at least 1d: longer than a store was ever away and a query ever ran
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = parse_vacuum_age)]
    older_than: Duration,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// How lines are printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub(super) fn run(arguments: &VacuumArguments) -> Result<(), Failure> {
    let upkeep = arguments.upkeep.open()?;
    let options = Options {
        older_than: arguments.older_than,
        now: jiff::Timestamp::now(),
        anchor: upkeep.anchor.clone(),
        dry_run: arguments.dry_run,
    };
    let gone = upkeep.runtime.block_on(vacuum(&upkeep.lake, &options)).map_err(|error| match error {
        VacuumError::Lake(error) => lake_failure(error),
        VacuumError::OtherChain(_) => Failure::Findings(error.into()),
        VacuumError::Anchor(_) | VacuumError::Store { .. } => Failure::Outside(error.into()),
    })?;
    print(&gone, arguments.format).map_err(Failure::Output)
}

fn parse_vacuum_age(text: &str) -> Result<Duration, String> {
    let age = parse_age(text)?;
    if age < AGE_MIN {
        return Err("a file that is younger than 1d may be one that is just being committed".to_string());
    }
    Ok(age)
}

fn print(gone: &[Vacuumed], format: Option<Format>) -> io::Result<()> {
    let mut rows = RowWriter::new(Format::or_default(format), COLUMNS, BufWriter::new(io::stdout().lock()))?;
    for it in gone {
        let why = match it.why {
            Why::Replaced => "replaced",
            Why::Orphan => "of no commit",
        };
        rows.write_row(&[it.path.clone().into(), json!(it.num_bytes), why.into()])?;
    }
    rows.finish().map(|_| ())
}
