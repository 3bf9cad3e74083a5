//! `actorline normalize`: files or stdin to activities, in input order.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::mappings::{MappingArguments, RegistryArguments};
use super::records;
use crate::activity::json::write_object;
use crate::pipeline::normalize::{Normalizer, Route, Scratch};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The source that the events come from, or `auto` to recognise each by its content
    #[arg(long, value_name = "NAME", default_value = "auto")]
    source: String,
    #[command(flatten)]
    mappings: MappingArguments,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Files and folders with events; stdin if none is given
    files: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let normalizer = Normalizer::new(arguments.mappings.library()?, arguments.registry.load()?);
    let route = Route { source: records::source_choice(&normalizer, &arguments.source)?, set: Vec::new() };
    let mut scratch = Scratch::default();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut line = Vec::new();
    records::each(&arguments.files, None, &mut |record| {
        line.clear();
        normalizer.normalize(record, &route, &mut scratch, &mut |row, _| {
            write_object(&mut line, row, |_| true);
            line.push(b'\n');
        });
        records::written(out.write_all(&line))
    })?;
    records::written(out.flush())
}
