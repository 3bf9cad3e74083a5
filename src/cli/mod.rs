//! The command line: one file a command, one line each where they are listed.
//!
//! Data goes to stdout and everything else to stderr. What a command exits with is part of its contract:
//! scripts tell findings from mistakes by it.

mod archive;
mod demo;
mod explain;
mod lake;
mod mapping;
mod mappings;
mod normalize;
pub mod output;
mod positions;
mod query;
mod records;
mod redrive;
mod registry;
mod replay;
mod report;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Who acted, of which kind, owned by whom, with which credential: audit events in one schema, exactly once.
#[derive(Debug, Parser)]
#[command(name = "actorline", version, propagate_version = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything once on this machine: example events through an embedded broker, and the story of one incident
    Demo(demo::DemoArguments),
    /// Turn files or stdin into activities
    Normalize(normalize::Arguments),
    /// Show which rule set each column of an event, and what else was considered
    Explain(explain::Arguments),
    /// Test, check and list mappings
    Mapping(mapping::Arguments),
    /// Check the identity registry, or look something up in it
    #[command(subcommand)]
    Registry(registry::RegistryCommand),
    /// Prove what lies in the lake, and keep it as long as it has to be kept
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),
    /// Derive what lies in the lake again, by the mappings and the registry of today
    Replay(replay::Arguments),
    /// Put dead letters through the mappings of today
    Redrive(redrive::Arguments),
    /// Ask the lake in SQL
    Query(query::QueryArguments),
    /// What a lake, or files, say as a whole
    #[command(subcommand)]
    Report(report::ReportCommand),
    /// Run the pipeline from Kafka to the lake and the SIEM topic
    Run(run::RunArguments),
    /// Read from the output topics where a group that lost its positions stood, and print the commands that set it there
    Positions(positions::PositionsArguments),
}

/// Why a command did not end well. The exit code follows from it.
#[derive(Debug)]
pub enum Failure {
    /// The command worked and found what it looks for: a failed case, a gap, tampering, dead letters under `--strict`.
    Findings(anyhow::Error),
    /// A mistake in a mapping or a query.
    BadMapping(anyhow::Error),
    /// A mistake in configuration, registry or arguments.
    BadConfiguration(anyhow::Error),
    /// A file, broker or store that did not do its part.
    Outside(anyhow::Error),
    /// Standard output took no more. A reader that closed the pipe, as `head` does, has seen enough: no mistake.
    Output(std::io::Error),
}

impl Failure {
    /// Says what went wrong, and how the command ends.
    fn report(&self) -> ExitCode {
        let (code, error) = match self {
            Failure::Findings(error) => (1, error),
            Failure::BadMapping(error) => (2, error),
            Failure::BadConfiguration(error) => (3, error),
            Failure::Outside(error) => (4, error),
            Failure::Output(error) if output::is_closed_pipe(error) => return ExitCode::SUCCESS,
            Failure::Output(error) => {
                eprintln!("error: failed to write to standard output: {error}");
                return ExitCode::from(4);
            }
        };
        eprintln!("error: {}", chain(error));
        ExitCode::from(code)
    }
}

/// An error with its causes, outermost first. Some libraries repeat their cause in their own text; it is said once.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Reads the arguments, runs the command, and says what went wrong.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not mistakes.
            let code = if error.use_stderr() { 3 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match &command {
        Command::Archive(command) => archive::run(command),
        Command::Demo(arguments) => demo::run(arguments),
        Command::Normalize(arguments) => normalize::run(arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Mapping(arguments) => mapping::run(arguments),
        Command::Query(arguments) => query::run(arguments),
        Command::Redrive(arguments) => redrive::run(arguments),
        Command::Registry(command) => registry::run(command),
        Command::Replay(arguments) => replay::run(arguments),
        Command::Report(command) => report::run(command),
        Command::Run(arguments) => run::run(arguments),
        Command::Positions(arguments) => positions::run(arguments),
    }
}
