//! `actorline registry`: whether a registry is in order, and what it says of one identity.
//!
//! `check` can gate a merge: every finding goes to stdout, one after the other, and any makes it exit 1. Neither
//! command changes anything.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;

use super::Failure;
use super::mappings::RegistryArguments;
use crate::activity::json::format_time;
use crate::identity::{Entry, Registry, parse_time};

#[derive(Debug, Subcommand)]
pub enum RegistryCommand {
    /// Read a registry and report every mistake, and every name that several identities claim
    Check(CheckArguments),
    /// Show one entry as it is now, or as it was at a time
    Show(ShowArguments),
}

#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Files and directories of YAML, JSON and CSV
    #[arg(required = true)]
    path: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The entry's id
    id: String,
    /// A file or folder of YAML, JSON and CSV; may be repeated
    #[arg(long, required = true, value_name = "PATH")]
    registry: Vec<PathBuf>,
    /// A date or a time, such as 2026-03-01 or 2026-03-01T09:30:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// Runs the command.
pub fn run(command: &RegistryCommand) -> Result<(), Failure> {
    match command {
        RegistryCommand::Check(arguments) => check(arguments),
        RegistryCommand::Show(arguments) => show(arguments),
    }
}

fn check(arguments: &CheckArguments) -> Result<(), Failure> {
    let findings = match Registry::load(&arguments.path) {
        Ok(registry) => {
            let ambiguities = registry.ambiguities();
            if ambiguities.0.is_empty() {
                eprintln!("found no mistakes; entries: {}", registry.entries().len());
                return Ok(());
            }
            ambiguities
        }
        Err(mistakes) => mistakes,
    };
    print(&findings.to_string())?;
    Err(Failure::Findings(anyhow!("the registry has mistakes: {}", findings.0.len())))
}

fn show(arguments: &ShowArguments) -> Result<(), Failure> {
    let at = match &arguments.at {
        Some(text) => parse_time(text).ok_or_else(|| {
            let message = format!("`{text}` is no time: write a date such as `2026-03-01`, or `2026-03-01T09:30:00Z`");
            Failure::BadConfiguration(anyhow!(message))
        })?,
        None => Timestamp::now().as_microsecond(),
    };
    let registry = RegistryArguments { registry: arguments.registry.clone() }.load()?;
    let Some(entry) = registry.find(&arguments.id, at) else {
        return Err(Failure::Findings(anyhow!(absence(&registry, &arguments.id, at))));
    };
    let shown = Shown {
        entry,
        policy_state: entry.policy_state(at).as_str(),
        owner: entry.owner(),
        origin: entry.origin.to_string(),
    };
    let text = serde_json::to_string_pretty(&shown).context("failed to write the entry as JSON");
    print(&text.map_err(Failure::Outside)?)
}

/// An entry with what follows from it at the time asked for.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    policy_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    origin: String,
}

fn absence(registry: &Registry, id: &str, at: i64) -> String {
    let spans: Vec<String> = registry
        .history(id)
        .iter()
        .map(|entry| match (entry.valid_from.map(format_time), entry.valid_until.map(format_time)) {
            (Some(from), Some(until)) => format!("from {from} until {until}"),
            (Some(from), None) => format!("from {from}"),
            (None, Some(until)) => format!("until {until}"),
            (None, None) => "always".to_string(),
        })
        .collect();
    if spans.is_empty() {
        return format!("the registry has no entry `{id}`");
    }
    format!("the registry has no entry `{id}` at {}; it has one {}", format_time(at), spans.join(", "))
}

fn print(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to write to stdout").map_err(Failure::Outside),
    }
}
