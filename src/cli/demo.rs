//! `actorline demo`: everything once, on this machine, with nothing else running.
//!
//! The story goes to stdout, how far it is to stderr.

use std::io::{self, BufWriter, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::Runtime;

use super::Failure;
use super::run::normalizer;
use crate::config;
use crate::demo::{Demo, DemoError, Progress, Screen};
use crate::query::QueryError;
use crate::telemetry::logs;

#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// A new or empty folder for the lake and everything else that the demo leaves behind
    #[arg(long, value_name = "DIR", default_value = "./actorline-demo")]
    dir: PathBuf,
}

pub(super) fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    // Logs would stand in the way of the story; who asks for them gets them.
    if std::env::var_os("ACTORLINE_LOG").is_some() {
        logs::start().map_err(|error| Failure::BadConfiguration(error.into()))?;
    }
    let runtime = Runtime::new().context("failed to start the runtime").map_err(Failure::Outside)?;
    let bar = Bar::new();
    let demo = Demo::prepare(&arguments.dir, &runtime, &bar)?;
    let config = config::load(&demo.configuration()).map_err(|error| Failure::BadConfiguration(error.into()))?;
    let normalizer = normalizer(&config)?;
    let outcome = demo.run(&config, &normalizer, &runtime, &bar)?;
    bar.0.finish_and_clear();

    // https://no-color.org
    let has_colours = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut screen = Screen::new(BufWriter::new(io::stdout().lock()), has_colours);
    demo.tell(&outcome, &runtime, &mut screen)?;
    screen.finish().map_err(Failure::Output)
}

/// A spinner with a line of text, on a terminal alone.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Bar {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Bar(bar)
    }
}

impl Progress for Bar {
    fn step(&self, what: &str) {
        self.0.set_message(what.to_string());
    }

    fn stored(&self, num_records: usize, of: usize) {
        self.0.set_message(format!("running the pipeline: {num_records} of {of} records are in the lake"));
    }
}

impl From<DemoError> for Failure {
    fn from(error: DemoError) -> Failure {
        match error {
            DemoError::Output(error) => Failure::Output(error),
            DemoError::Differ { .. } => Failure::Findings(error.into()),
            DemoError::NotEmpty(_) | DemoError::Unwritable(_) => Failure::BadConfiguration(error.into()),
            DemoError::Query(QueryError::Query(_)) => Failure::BadMapping(error.into()),
            _ => Failure::Outside(error.into()),
        }
    }
}
