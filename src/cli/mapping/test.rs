//! `actorline mapping test`: the cases that stand beside the mappings.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use clap::Args;

use super::super::Failure;
use super::super::mappings::{MappingArguments, compile};
use super::say;
use crate::mapping::compile::Files;
use crate::mapping::library::sources;
use crate::pipeline::cases::{self, CaseResult, Difference};

const EXPECTED: Style = AnsiColor::Red.on_default();
const FOUND: Style = AnsiColor::Green.on_default();

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only these sources
    sources: Vec<String>,
    /// Write what came out into the cases as their expectation, for review (needs --mappings)
    #[arg(long)]
    accept: bool,
}

pub fn run(mappings: &MappingArguments, arguments: &Arguments) -> Result<(), Failure> {
    let files = mappings.files()?;
    check_sources(&files, &arguments.sources)?;
    let library = compile(&files)?;
    let results = cases::run(&files, &library, &arguments.sources);
    if arguments.accept {
        return accept_all(mappings, &results);
    }
    let failed: Vec<&CaseResult> = results.iter().filter(|result| !result.differences.is_empty()).collect();
    failed.iter().for_each(|result| show(result));
    let num_failed = failed.len();
    say(format!("{} cases, {} passed, {num_failed} failed", results.len(), results.len() - num_failed))?;
    if num_failed > 0 {
        return Err(Failure::Findings(anyhow::anyhow!(
            "{num_failed} cases failed; `mapping test --mappings DIR --accept` takes what came out as expectation"
        )));
    }
    Ok(())
}

fn check_sources(files: &Files, wanted: &[String]) -> Result<(), Failure> {
    for name in wanted {
        if !sources(files).any(|source| source == name) {
            let known: Vec<&str> = sources(files).collect();
            return Err(Failure::BadConfiguration(anyhow::anyhow!(
                "found no mapping `{name}`; there are {}",
                known.join(", ")
            )));
        }
    }
    Ok(())
}

/// One case's differences, in colour on a terminal: what was expected (-) above what came out (+).
fn show(result: &CaseResult) {
    anstream::eprintln!("{}: {}", result.path, result.about);
    for difference in &result.differences {
        match difference {
            Difference::Text(text) => anstream::eprintln!("    {text}"),
            Difference::Column { place, column, expected, found } => {
                anstream::eprintln!("    {place}{column}");
                expected.iter().for_each(|line| anstream::eprintln!("{EXPECTED}      - {line}{EXPECTED:#}"));
                found.iter().for_each(|line| anstream::eprintln!("{FOUND}      + {line}{FOUND:#}"));
            }
        }
    }
}

fn accept_all(mappings: &MappingArguments, results: &[CaseResult]) -> Result<(), Failure> {
    let Some(folder) = &mappings.mappings else {
        return Err(Failure::BadConfiguration(anyhow::anyhow!(
            "`--accept` writes files; name their folder with `--mappings`"
        )));
    };
    let mut num_written = 0;
    for result in results.iter().filter(|result| !result.differences.is_empty()) {
        show(result);
        if let Some(text) = &result.accepted {
            write(&folder.join(&result.path), text)?;
            num_written += 1;
        }
    }
    say(format!("{num_written} of {} cases rewritten", results.len()))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .with_context(|| format!("failed to write `{}`", path.display()))
        .map_err(Failure::Outside)
}
