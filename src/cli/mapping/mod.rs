//! `actorline mapping`: what authors of mappings work with. One file a subcommand.

mod coverage;
mod lint;
mod list;
mod new;
mod test;

use std::io::{self, Write as _};

use clap::{Args, Subcommand};

use super::Failure;
use super::mappings::MappingArguments;
use crate::mapping::schema;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    mappings: MappingArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the cases that stand beside the mappings
    Test(test::Arguments),
    /// Show mistakes and omissions
    Lint,
    /// Show the sources, and what each cannot tell
    List(list::Arguments),
    /// Write a first mapping for a source, made of sample events
    New(new::Arguments),
    /// Show which fields of given events no rule reads, and which columns stay empty
    Coverage(coverage::Arguments),
    /// Print the JSON Schema of mapping files, for editors
    Schema,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mappings = &arguments.mappings;
    match &arguments.command {
        Command::Test(arguments) => test::run(mappings, arguments),
        Command::Lint => lint::run(mappings),
        Command::List(arguments) => list::run(mappings, arguments),
        Command::New(arguments) => new::run(mappings, arguments),
        Command::Coverage(arguments) => coverage::run(mappings, arguments),
        Command::Schema => say(schema::json_schema()),
    }
}

fn say(text: impl std::fmt::Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::Output)
}
