//! `actorline archive`: keys for sealing a lake, and proof of what lies in it.

mod key;
mod verify;

use clap::Subcommand;

use super::Failure;

#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Prove that everything is there, as it was delivered and as it was sealed
    Verify(verify::VerifyArguments),
    /// Make a pair of keys: one that signs seals, one that checks them
    Key(key::KeyArguments),
}

/// Runs the command.
pub fn run(command: &ArchiveCommand) -> Result<(), Failure> {
    match command {
        ArchiveCommand::Verify(arguments) => verify::run(arguments),
        ArchiveCommand::Key(arguments) => key::run(arguments),
    }
}
