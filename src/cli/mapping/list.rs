//! `actorline mapping list`: the sources and what each cannot tell; then those without a mapping of their own, and why.

use std::io;

use clap::Args;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::mappings::{MappingArguments, compile};
use super::super::output::{Format, RowWriter};
use crate::mapping::left_out::{LeftOut, left_out};
use crate::mapping::library::Library;

#[derive(Debug, Args)]
pub struct Arguments {
    /// How rows are printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub fn run(mappings: &MappingArguments, arguments: &Arguments) -> Result<(), Failure> {
    let files = mappings.files()?;
    let library = compile(&files)?;
    list(&library, &left_out(&files), Format::or_default(arguments.format)).map_err(Failure::Output)
}

fn list(library: &Library, left_out: &[LeftOut], format: Format) -> io::Result<()> {
    let columns = ["source", "title", "answered_by", "why", "aliases", "cannot_tell", "documentation"];
    let mut rows = RowWriter::new(format, columns, io::stdout().lock())?;
    for plan in library.plans() {
        let cells = [
            json!(plan.source),
            json!(plan.title),
            Value::Null,
            Value::Null,
            json!(plan.aliases),
            json!(plan.cannot_tell.iter().map(|gap| &gap.gap).collect::<Vec<_>>()),
            json!(plan.documentation),
        ];
        rows.write_row(&cells)?;
    }
    for source in left_out {
        let [title, aliases, cannot_tell, documentation] = [const { Value::Null }; 4];
        let (answered_by, why) = (json!(source.answered_by), json!(source.why));
        let cells = [json!(source.source), title, answered_by, why, aliases, cannot_tell, documentation];
        rows.write_row(&cells)?;
    }
    rows.finish()?;
    Ok(())
}
