//! `actorline archive`: keys for sealing a lake, proof of what lies in it, and its upkeep.

mod anchor;
mod compact;
mod key;
mod retain;
mod upkeep;
mod vacuum;
mod verify;

use clap::Subcommand;

use super::Failure;

#[derive(Debug, Subcommand)]
pub enum ArchiveCommand {
    /// Prove that everything is there, as it was delivered and as it was sealed
    Verify(verify::VerifyArguments),
    /// Put small files together into larger ones, with the same rows
    Compact(compact::CompactArguments),
    /// Delete what is older than it has to be kept, but for what is held
    Retain(retain::RetainArguments),
    /// Delete files that no reader sees and nobody waits for
    Vacuum(vacuum::VacuumArguments),
    /// Make a pair of keys: one that signs seals, one that checks them
    Key(key::KeyArguments),
}

/// Runs the command.
pub fn run(command: &ArchiveCommand) -> Result<(), Failure> {
    match command {
        ArchiveCommand::Verify(arguments) => verify::run(arguments),
        ArchiveCommand::Compact(arguments) => compact::run(arguments),
        ArchiveCommand::Retain(arguments) => retain::run(arguments),
        ArchiveCommand::Vacuum(arguments) => vacuum::run(arguments),
        ArchiveCommand::Key(arguments) => key::run(arguments),
    }
}
