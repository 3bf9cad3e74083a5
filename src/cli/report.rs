//! `actorline report`: what a lake, or files, say as a whole.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Failure;
use super::lake::parse_option;
use super::mappings::NormalizerArguments;
use super::output::{Format, RowWriter};
use super::records;
use crate::activity::arrow::RowBuilder;
use crate::activity::taxonomy::Basis;
use crate::mapping::library::Library;
use crate::mapping::plan::Gap;
use crate::pipeline::normalize::{Normalizer, Route, Scratch};
use crate::query::reports::coverage::{Coverage, SourceCoverage};
use crate::query::{self, QueryError};
use crate::sink::lake::{Lake, LakeError, LakeLocation};

/// Bytes of rows that are counted at once where they come from files: a small part of any machine's memory.
const NUM_BYTES_HELD: usize = 64 * 1024 * 1024;

/// Operations without a verb that a row of figures names; the table of operations has them all.
const NUM_OPERATIONS_SHOWN: usize = 20;

#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// Of how many events it is known who acted, by what evidence, and what each platform cannot tell
    Coverage(Arguments),
}

#[derive(Debug, Args)]
pub struct Arguments {
    /// Report on this lake: a path, file:///…, s3://bucket/prefix, gs://… or az://…
    #[arg(long, value_name = "URL", conflicts_with = "files")]
    lake: Option<String>,
    /// An option of the lake's store under object_store's name, such as aws_endpoint=…; may be repeated
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = parse_option, requires = "lake")]
    options: Vec<(String, String)>,
    #[command(flatten)]
    normalizer: NormalizerArguments,
    /// How rows are printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Report on the events of these files and folders; standard input if neither files nor a lake are given
    files: Vec<PathBuf>,
}

pub fn run(command: &ReportCommand) -> Result<(), Failure> {
    let ReportCommand::Coverage(arguments) = command;
    let (normalizer, route) = arguments.normalizer.load()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("failed to start").map_err(Failure::Outside)?;
    let mut coverage = Coverage::default();
    let read = match &arguments.lake {
        Some(url) => {
            let options = arguments.options.iter().cloned().collect();
            let location = LakeLocation { url: url.clone(), options };
            runtime.block_on(of_lake(&location, &mut coverage)).map_err(failure)
        }
        None => of_files(&arguments.files, &normalizer, &route, &runtime, &mut coverage),
    };
    // What could be read is reported also where a file could not be read to its end.
    show(&coverage, normalizer.library(), Format::or_default(arguments.format)).map_err(Failure::Output)?;
    read
}

async fn of_lake(location: &LakeLocation, coverage: &mut Coverage) -> Result<(), QueryError> {
    let lake = Lake::open_existing(location).await?;
    coverage.add(&query::open(&lake).await?).await
}

fn of_files(
    files: &[PathBuf],
    normalizer: &Normalizer,
    route: &Route,
    runtime: &tokio::runtime::Runtime,
    coverage: &mut Coverage,
) -> Result<(), Failure> {
    let mut scratch = Scratch::default();
    let mut rows = RowBuilder::default();
    let mut count = |rows: &mut RowBuilder| {
        let batch = rows.finish().context("failed to hold rows in memory").map_err(Failure::Outside)?;
        runtime.block_on(coverage.add_rows(batch)).map_err(failure)
    };
    let read = records::each(files, &mut |record| {
        normalizer.normalize(record, route, &mut scratch, &mut |row, _| rows.append(row));
        if rows.num_bytes() < NUM_BYTES_HELD { Ok(()) } else { count(&mut rows) }
    });
    if rows.num_rows() > 0 {
        count(&mut rows)?;
    }
    read
}

fn failure(error: QueryError) -> Failure {
    match error {
        QueryError::Lake(error @ LakeError::Refused(_)) => Failure::BadConfiguration(error.into()),
        error => Failure::Outside(error.into()),
    }
}

/// Three tables for people; for programs one row a source, with everything.
fn show(coverage: &Coverage, library: &Library, format: Format) -> io::Result<()> {
    let gaps_of = |source: &str| library.find(source).map(|plan| &plan.cannot_tell[..]).unwrap_or_default();
    let mut columns = vec!["source", "num_events", "actor_type_known"];
    columns.extend(Basis::ALL.iter().map(|basis| basis.as_str()).filter(|basis| *basis != Basis::None.as_str()));
    columns.extend(["with_owner", "with_credential_id", "with_correlation_id", "unknown_operations"]);
    if format == Format::Table {
        write_figures(coverage, format, &columns, |_, _| Vec::new())?;
        return write_details(coverage, gaps_of);
    }
    columns.extend(["unknown_operation_names", "control_weaknesses"]);
    write_figures(coverage, format, &columns, |name, source| {
        let operations: Vec<&str> =
            most_frequent(source).into_iter().take(NUM_OPERATIONS_SHOWN).map(|(name, _)| name).collect();
        vec![json!(operations), gaps_of(name).iter().map(gap_as_json).collect()]
    })
}

fn write_figures(
    coverage: &Coverage,
    format: Format,
    columns: &[&str],
    more: impl Fn(&str, &SourceCoverage) -> Vec<Value>,
) -> io::Result<()> {
    let mut rows = RowWriter::new(format, columns.iter().copied(), io::stdout().lock())?;
    for (name, source) in &coverage.sources {
        let share = |num: u64| match format {
            Format::Table => json!(format!("{:.1} %", 100.0 * source.share(num))),
            _ => json!((source.share(num) * 10_000.0).round() / 10_000.0),
        };
        let mut cells = vec![json!(name), json!(source.num_events), share(source.num_known)];
        let with_basis = Basis::ALL.iter().filter(|basis| **basis != Basis::None);
        cells.extend(with_basis.map(|basis| share(source.by_basis.get(basis.as_str()).copied().unwrap_or_default())));
        cells.extend([source.num_with_owner, source.num_with_credential_id, source.num_with_correlation_id].map(share));
        cells.push(json!(source.unknown_operations.len()));
        cells.extend(more(name, source));
        rows.write_row(&cells)?;
    }
    rows.finish()?;
    Ok(())
}

fn write_details<'g>(coverage: &Coverage, gaps_of: impl Fn(&str) -> &'g [Gap]) -> io::Result<()> {
    writeln!(io::stdout(), "\nOperations of which no mapping says what they do")?;
    let mut rows = RowWriter::new(Format::Table, ["source", "operation", "num_events"], io::stdout().lock())?;
    for (name, source) in &coverage.sources {
        for (operation, num_events) in most_frequent(source) {
            rows.write_row(&[json!(name), json!(operation), json!(num_events)])?;
        }
    }
    rows.finish()?;
    writeln!(io::stdout(), "\nControl weaknesses: what the platforms cannot tell")?;
    let columns = ["source", "gap", "compensating_control"];
    let mut rows = RowWriter::new(Format::Table, columns, io::stdout().lock())?;
    for name in coverage.sources.keys() {
        for gap in gaps_of(name) {
            rows.write_row(&[json!(name), json!(gap.gap), json!(gap.compensating_control)])?;
        }
    }
    rows.finish()?;
    Ok(())
}

fn most_frequent(source: &SourceCoverage) -> Vec<(&str, u64)> {
    let mut operations: Vec<(&str, u64)> =
        source.unknown_operations.iter().map(|(name, num)| (name.as_str(), *num)).collect();
    operations.sort_by_key(|(_, num)| std::cmp::Reverse(*num));
    operations
}

fn gap_as_json(gap: &Gap) -> Value {
    json!({ "gap": gap.gap, "compensating_control": gap.compensating_control })
}
