//! `actorline positions`: where the outputs say that the group stood, and the commands that set it there.

use std::io::Write as _;
use std::path::PathBuf;

use super::Failure;
use crate::config;
use crate::pipeline::run::recover;

#[derive(Debug, clap::Args)]
pub(super) struct PositionsArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &PositionsArguments) -> Result<(), Failure> {
    let config = config::load(&arguments.config).map_err(|error| Failure::BadConfiguration(error.into()))?;
    let found = recover(&config).map_err(|error| Failure::Outside(error.into()))?;
    let mut output = std::io::stdout().lock();
    for recovered in found {
        let partition = &recovered.partition;
        eprintln!("the outputs have `{}/{}` up to {}", partition.topic, partition.partition, recovered.next);
        writeln!(output, "{}", recovered.command).map_err(Failure::Output)?;
    }
    Ok(())
}
