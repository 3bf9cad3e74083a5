//! `actorline mapping list`: the sources, and what each cannot tell.

use std::io;

use clap::Args;
use serde_json::json;

use super::super::Failure;
use super::super::mappings::MappingArguments;
use super::super::output::{Format, RowWriter};
use crate::mapping::library::Library;

#[derive(Debug, Args)]
pub struct Arguments {
    /// How rows are printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub fn run(mappings: &MappingArguments, arguments: &Arguments) -> Result<(), Failure> {
    let library = mappings.library()?;
    list(&library, Format::or_default(arguments.format)).map_err(Failure::Output)
}

fn list(library: &Library, format: Format) -> io::Result<()> {
    let columns = ["source", "title", "aliases", "cannot_tell", "documentation"];
    let mut rows = RowWriter::new(format, columns, io::stdout().lock())?;
    for plan in library.plans() {
        let cells = [
            json!(plan.source),
            json!(plan.title),
            json!(plan.aliases),
            json!(plan.cannot_tell.iter().map(|gap| &gap.gap).collect::<Vec<_>>()),
            json!(plan.documentation),
        ];
        rows.write_row(&cells)?;
    }
    rows.finish()?;
    Ok(())
}
