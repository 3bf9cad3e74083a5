//! `actorline mapping coverage`: which fields of given events no rule reads, and which columns stay empty.

use std::io;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::Failure;
use super::super::mappings::{MappingArguments, RegistryArguments, route};
use super::super::output::{Format, RowWriter};
use super::super::records;
use crate::pipeline::coverage::{Coverage, Finding};
use crate::pipeline::normalize::Normalizer;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The source that the events come from, or `auto` to recognise each by its content
    #[arg(long, value_name = "NAME", default_value = "auto")]
    source: String,
    /// Show columns too that are empty in some rows only
    #[arg(long)]
    partly: bool,
    /// How rows are printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Files and folders with events; standard input if none is given
    files: Vec<PathBuf>,
}

pub fn run(mappings: &MappingArguments, arguments: &Arguments) -> Result<(), Failure> {
    let normalizer = Normalizer::new(mappings.library()?, RegistryArguments::default().load()?);
    let route = route(&normalizer, &arguments.source)?;
    let mut coverage = Coverage::default();
    let read = records::each(&arguments.files, &mut |record| {
        coverage.add(&normalizer, &route, record);
        Ok(())
    });
    show(&coverage.findings(arguments.partly), Format::or_default(arguments.format)).map_err(Failure::Output)?;
    if coverage.num_rejected > 0 {
        eprintln!("{} records hold no readable event and were not looked at", coverage.num_rejected);
    }
    for source in coverage.cut_sources() {
        eprintln!("{source}: its events have too many different fields to show them all");
    }
    read
}

fn show(findings: &[Finding], format: Format) -> io::Result<()> {
    let columns = ["source", "what", "name", "num", "num_all", "example"];
    let mut rows = RowWriter::new(format, columns, io::stdout().lock())?;
    for finding in findings {
        let cells = [
            json!(finding.source),
            json!(finding.kind.as_str()),
            json!(finding.name),
            json!(finding.num),
            json!(finding.num_all),
            json!(finding.example),
        ];
        rows.write_row(&cells)?;
    }
    rows.finish()?;
    Ok(())
}
