//! `actorline replay`: what lies in the lake, derived again by the mappings and the registry of today.
//!
//! Shows what would change and writes nothing; with `--apply` it then swaps the result in, in one commit.

use std::io::{self, BufWriter};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::Failure;
use super::lake::parse_option;
use super::mappings::{MappingArguments, RegistryArguments};
use super::normalize::{lake_failure, seal_settings};
use super::output::{Format, RowWriter};
use super::run::normalizer;
use crate::config::{self, Config};
use crate::pipeline::normalize::{Normalizer, Route};
use crate::pipeline::replay::{self, Applied, Changes, Deriving, Selection};
use crate::pipeline::run;
use crate::sink::lake::{Lake, LakeError, LakeLocation};

/// What stands in every row, so that programs can tell rows apart and tables are one.
const COLUMNS: [&str; 9] = ["what", "count", "column", "from", "to", "source", "rule", "position", "detail"];

#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration of `actorline run`: its lake, mappings, registry and topics
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lake", "options", "seal_key", "mappings", "registry"])]
    config: Option<PathBuf>,
    /// Without a configuration: the lake, a path, file:///…, s3://bucket/prefix, gs://… or az://…
    #[arg(long, value_name = "URL", required_unless_present = "config")]
    lake: Option<String>,
    /// An option of the lake's store under object_store's name, such as aws_endpoint=…; may be repeated
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = parse_option)]
    options: Vec<(String, String)>,
    /// Sign the lake's seals with this private key, in PEM
    #[arg(long, value_name = "FILE")]
    seal_key: Option<PathBuf>,
    #[command(flatten)]
    mappings: MappingArguments,
    #[command(flatten)]
    registry: RegistryArguments,
    /// Only rows of this source; `unrecognised` for those that no mapping recognised
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only rows received from this time on: RFC 3339, or a day
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<i64>,
    /// Only rows received before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<i64>,
    /// How many examples are shown
    #[arg(long, value_name = "NUMBER", default_value_t = 30)]
    examples: usize,
    /// Swap the result in
    #[arg(long)]
    apply: bool,
    /// How the plan is printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let (Some(from), Some(to)) = (arguments.from, arguments.to)
        && from >= to
    {
        return Err(Failure::BadConfiguration(anyhow!("--from is not before --to: nothing was received in between")));
    }
    let config = match &arguments.config {
        Some(path) => Some(config::load(path).map_err(|error| Failure::BadConfiguration(error.into()))?),
        None => None,
    };
    let normalizer = match &config {
        Some(config) => normalizer(config)?,
        None => Normalizer::new(arguments.mappings.library()?, arguments.registry.load()?).into(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("failed to start the runtime").map_err(Failure::Outside)?;
    runtime.block_on(replay(arguments, config.as_ref(), &normalizer))
}

async fn replay(arguments: &Arguments, config: Option<&Config>, normalizer: &Normalizer) -> Result<(), Failure> {
    let lake = open(arguments, config).await?;
    let route = config.map(|config| move |topic: &str| run::route(config, topic));
    let route = route.as_ref().map(|route| route as &(dyn Fn(&str) -> Route + Sync));
    let deriving = Deriving { normalizer, route };
    let selection = Selection { source: arguments.source.clone(), from: arguments.from, to: arguments.to };
    let bar = bar();
    let show = |done: usize, of: usize| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
    };
    bar.set_message("reading");
    if arguments.apply {
        // What it cannot vouch for it would leave as it is.
        lake.seal_what_others_left().await.map_err(lake_failure)?;
    }
    let plan = replay::plan(&lake, &deriving, &selection, arguments.examples, &show).await.map_err(lake_failure)?;
    bar.suspend(|| print(&plan.changes, arguments.format)).map_err(Failure::Output)?;
    let num_changed = plan.changes.num_changed;
    let (num_affected, num_read) = (plan.num_files_affected(), plan.num_files_read);
    if !arguments.apply {
        bar.finish_and_clear();
        eprintln!(
            "{num_changed} rows would change, in {num_affected} of {num_read} files; nothing was written: --apply swaps them in"
        );
        return Ok(());
    }
    bar.set_message("writing");
    let applied = replay::apply(&lake, &deriving, &selection, plan, &show).await;
    bar.finish_and_clear();
    match applied.map_err(lake_failure)? {
        Applied::NothingToDo => eprintln!("no row changes: nothing was written"),
        Applied::Swapped { version, num_files } => {
            eprintln!("swapped in {num_changed} changed rows of {num_files} files, as version {version} of the table");
        }
        Applied::Conflict { path } => {
            return Err(Failure::Outside(anyhow!(
                "somebody else rewrote `{path}` in the meantime; nothing was changed: replay again"
            )));
        }
    }
    Ok(())
}

/// A plan changes nothing, not even the table's columns.
async fn open(arguments: &Arguments, config: Option<&Config>) -> Result<Lake, Failure> {
    if let (Some(config), true) = (config, arguments.apply) {
        let lake = run::open_lake_once(config).await.map_err(super::run::failure)?;
        return lake.ok_or_else(no_lake);
    }
    let location = match (config, &arguments.lake) {
        (Some(config), _) => {
            let lake = config.lake.as_ref().ok_or_else(no_lake)?;
            LakeLocation { url: lake.url.to_string(), options: lake.options.clone() }
        }
        (None, url) => {
            LakeLocation { url: url.clone().unwrap_or_default(), options: arguments.options.iter().cloned().collect() }
        }
    };
    let seal = seal_settings(arguments.seal_key.as_deref())?;
    // A replay of a lake that is not there would make an empty one.
    let existing = Lake::open_existing(&location).await.map_err(absent_is_a_mistake)?;
    if !arguments.apply {
        return Ok(existing);
    }
    existing.refuse_unsigned(&seal).await.map_err(lake_failure)?;
    Lake::open_with(&location, seal).await.map_err(lake_failure)
}

fn no_lake() -> Failure {
    Failure::BadConfiguration(anyhow!("the configuration names no lake, and there is nothing else to replay"))
}

fn absent_is_a_mistake(error: LakeError) -> Failure {
    match error {
        LakeError::Absent(_) => Failure::BadConfiguration(error.into()),
        error => lake_failure(error),
    }
}

fn print(changes: &Changes, format: Option<Format>) -> io::Result<()> {
    let out = BufWriter::new(io::stdout().lock());
    let mut rows = RowWriter::new(Format::or_default(format), COLUMNS, out)?;
    for (what, count, detail) in [
        ("rows_read", changes.num_read, Value::Null),
        ("rows_changed", changes.num_changed, Value::Null),
        ("actor_types_flipped", changes.num_flips(), Value::Null),
        ("rows_without_event", changes.num_without_event, json!("rejected and empty: they stay as they are")),
        (
            "rows_split_otherwise",
            changes.num_split_otherwise,
            json!("their event would give another number of rows: they stay as they are"),
        ),
    ] {
        rows.write_named(&[("what", json!(what)), ("count", json!(count)), ("detail", detail)])?;
    }
    for (column, count) in &changes.columns {
        rows.write_named(&[("what", json!("column")), ("count", json!(count)), ("column", json!(column.name()))])?;
    }
    for (flip, count) in &changes.flips {
        rows.write_named(&[
            ("what", json!("flip")),
            ("count", json!(count)),
            ("column", json!("actor_type")),
            ("from", json!(flip.from)),
            ("to", json!(flip.to)),
            ("source", json!(flip.source)),
            ("rule", json!(flip.rule)),
        ])?;
    }
    for example in &changes.examples {
        rows.write_named(&[
            ("what", json!("example")),
            ("column", json!(example.column.name())),
            ("from", example.before.clone()),
            ("to", example.after.clone()),
            ("position", json!(example.position)),
        ])?;
    }
    rows.finish().map(|_| ())
}

/// On a terminal how far it is, and nothing in a pipe.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {bar:30} {pos} of {len} files") {
        bar.set_style(style);
    }
    bar
}

/// A time with its zone, or a day in UTC, as microseconds since 1970.
fn parse_time(text: &str) -> Result<i64, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_microsecond());
    }
    // A time without its zone would be taken for its day.
    let is_day = text.len() == "2024-03-01".len();
    let day: Option<jiff::civil::Date> = if is_day { text.parse().ok() } else { None };
    let day = day.ok_or("expected a time with its zone, such as 2024-03-01T12:00:00Z, or a day")?;
    let midnight = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|error| error.to_string())?;
    Ok(midnight.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_midnight_and_a_time_needs_its_zone() {
        assert_eq!(parse_time("2024-03-01"), Ok(1_709_251_200_000_000));
        assert_eq!(parse_time("2024-03-01T02:00:00+02:00"), Ok(1_709_251_200_000_000));
        for wrong in ["yesterday", "2024-03-01T02:00:00"] {
            parse_time(wrong).expect_err("no time");
        }
    }
}
