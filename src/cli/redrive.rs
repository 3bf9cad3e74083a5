//! `actorline redrive`: dead letters through the program and the mappings of today.
//!
//! Shows what would become of them and writes nothing; with `--apply` it does it.

use std::io::{self, BufWriter};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::Failure;
use super::normalize::lake_failure;
use super::output::{Format, RowWriter};
use super::run::{failure, normalizer};
use crate::config;
use crate::pipeline::redrive::{self, Fate, Order, RedriveError, Summary};

const COLUMNS: [&str; 8] = ["what", "count", "stage", "reason", "source", "status", "attempt", "example"];

#[derive(Debug, Args)]
pub struct Arguments {
    /// The configuration of `actorline run`
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Send what can be read by now to both sinks
    #[arg(long)]
    apply: bool,
    /// What a look at the SIEM showed of a batch of which the brokers know nothing any more
    #[arg(long, value_enum, requires = "apply")]
    unfinished: Option<Unfinished>,
    /// Letters that go to both sinks together
    #[arg(long, value_name = "NUMBER", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    batch_letters: u32,
    /// How rows are printed [default: table on a terminal, ndjson in a pipe]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Unfinished {
    SiemHasIt,
    SiemLacksIt,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = config::load(&arguments.config).map_err(|error| Failure::BadConfiguration(error.into()))?;
    let normalizer = normalizer(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("failed to start the runtime").map_err(Failure::Outside)?;
    let unfinished = arguments.unfinished.map(|found| match found {
        Unfinished::SiemHasIt => redrive::Unfinished::SiemHasIt,
        Unfinished::SiemLacksIt => redrive::Unfinished::SiemLacksIt,
    });
    let batch_letters = usize::try_from(arguments.batch_letters).unwrap_or(usize::MAX);
    let order = Order { apply: arguments.apply, unfinished, batch_letters };
    let done = redrive::redrive(&config, &normalizer, runtime.handle(), order);
    let summary = done.map_err(|error| match error {
        RedriveError::Lacks(_) => Failure::BadConfiguration(error.into()),
        RedriveError::Lake(error) => lake_failure(error),
        RedriveError::Run(error) => failure(error),
        error => Failure::Outside(error.into()),
    })?;
    print(&summary, arguments.format).map_err(Failure::Output)?;
    if let Some(number) = summary.finished {
        eprintln!("finished batch {number}, which an earlier redrive had left half done");
    }
    let num = summary.num_redriven();
    if arguments.apply {
        eprintln!("{num} dead letters went to both sinks");
    } else {
        eprintln!("{num} dead letters could be read by now; nothing was written: --apply sends them to both sinks");
    }
    Ok(())
}

fn print(summary: &Summary, format: Option<Format>) -> io::Result<()> {
    let out = BufWriter::new(io::stdout().lock());
    let mut rows = RowWriter::new(Format::or_default(format), COLUMNS, out)?;
    rows.write_named(&[("what", json!("letters_read")), ("count", json!(summary.num_read))])?;
    for (fate, letters) in &summary.fates {
        let (stage, reason) = match fate {
            Fate::StaysDead { stage, reason } => (Some(*stage), Some(*reason)),
            _ => (None, None),
        };
        rows.write_named(&[
            ("what", json!(fate.as_str())),
            ("count", json!(letters.num)),
            ("stage", json!(stage)),
            ("reason", json!(reason)),
            ("attempt", json!(Some(letters.attempt).filter(|attempt| *attempt > 0))),
            ("example", json!(letters.example.as_ref().map(|position| format!("{position}/0")))),
        ])?;
    }
    for ((source, status), num) in &summary.rows {
        let (source, status) = (json!(source), json!(status));
        rows.write_named(&[("what", json!("rows")), ("count", json!(num)), ("source", source), ("status", status)])?;
    }
    rows.finish().map(|_| ())
}
