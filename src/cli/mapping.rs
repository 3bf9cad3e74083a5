//! `actorline mapping`: what authors of mappings work with.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Failure;
use super::mappings::{MappingArguments, compile};
use super::output::{Format, RowWriter};
use crate::mapping::compile::Files;
use crate::mapping::library::{Library, sources};
use crate::mapping::schema;
use crate::pipeline::cases::{self, CaseResult};

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
    Test {
        /// Only these sources
        sources: Vec<String>,
        /// Write what came out into the cases as their expectation, for review (needs --mappings)
        #[arg(long)]
        accept: bool,
    },
    /// Show mistakes and omissions
    Lint,
    /// Show the sources, and what each cannot tell
    List {
        /// How rows are printed [default: table on a terminal, ndjson in a pipe]
        #[arg(long, value_enum)]
        format: Option<Format>,
    },
    /// Print the JSON Schema of mapping files, for editors
    Schema,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Test { sources, accept } => test(&arguments.mappings, sources, *accept),
        Command::Lint => lint(&arguments.mappings.files()?),
        Command::List { format } => {
            let library = arguments.mappings.library()?;
            list(&library, Format::or_default(*format)).map_err(Failure::Output)
        }
        Command::Schema => say(schema::json_schema()),
    }
}

fn test(mappings: &MappingArguments, wanted: &[String], accept: bool) -> Result<(), Failure> {
    let files = mappings.files()?;
    check_sources(&files, wanted)?;
    let library = compile(&files)?;
    let results = cases::run(&files, &library, wanted);
    if accept {
        return accept_all(mappings, &results);
    }
    let mut num_failed = 0;
    for result in results.iter().filter(|result| !result.differences.is_empty()) {
        num_failed += 1;
        eprintln!("{}", result.path);
        for difference in &result.differences {
            eprintln!("    {difference}");
        }
    }
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

fn accept_all(mappings: &MappingArguments, results: &[CaseResult]) -> Result<(), Failure> {
    let Some(folder) = &mappings.mappings else {
        return Err(Failure::BadConfiguration(anyhow::anyhow!(
            "`--accept` writes files; name their folder with `--mappings`"
        )));
    };
    let mut num_written = 0;
    for result in results.iter().filter(|result| !result.differences.is_empty()) {
        match &result.accepted {
            Some(text) => {
                write(&folder.join(&result.path), text)?;
                num_written += 1;
            }
            None => eprintln!("{}: {}", result.path, result.differences.join("; ")),
        }
    }
    say(format!("{num_written} of {} cases rewritten", results.len()))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .with_context(|| format!("failed to write `{}`", path.display()))
        .map_err(Failure::Outside)
}

/// Mistakes come from the compiler. What else an author should look at: decisions that no case shows.
fn lint(files: &Files) -> Result<(), Failure> {
    let library = compile(files)?;
    let results = cases::run(files, &library, &[]);
    let mut findings = Vec::new();
    let mut found = |text: String| findings.push(text);
    for plan in library.plans() {
        let of_source: Vec<&CaseResult> = results.iter().filter(|result| result.source == plan.source).collect();
        let shown: BTreeSet<&str> = of_source.iter().flat_map(|result| &result.rules).map(String::as_str).collect();
        for case in plan.cases.iter().filter(|case| !shown.contains(case.name.as_str())) {
            found(format!("{}: warning[no-case]: no case shows the decision `{}`", case.place, case.name));
        }
        if !of_source.iter().any(|result| result.is_unmapped) {
            found(format!("{}: warning[no-case]: no case shows an event that is not this source's", plan.place));
        }
        let failed = of_source.iter().filter(|result| !result.differences.is_empty());
        failed.for_each(|result| found(format!("{}: warning[failed-case]: the case fails", result.path)));
    }
    if findings.is_empty() {
        return say(format!("{} mappings, nothing found", library.plans().len()));
    }
    say(findings.join("\n"))?;
    let (num_findings, num_mappings) = (findings.len(), library.plans().len());
    Err(Failure::Findings(anyhow::anyhow!("{num_findings} findings in {num_mappings} mappings")))
}

fn say(text: impl std::fmt::Display) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::Output)
}

fn list(library: &Library, format: Format) -> io::Result<()> {
    let columns = ["source", "title", "aliases", "cannot_tell", "documentation"];
    let mut rows = RowWriter::new(format, columns, io::stdout().lock())?;
    for plan in library.plans() {
        let cells = [
            json!(plan.source),
            json!(plan.title),
            json!(plan.aliases),
            json!(plan.cannot_tell),
            json!(plan.documentation),
        ];
        rows.write_row(&cells)?;
    }
    rows.finish()?;
    Ok(())
}
