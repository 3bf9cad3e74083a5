//! `actorline demo`: the whole pipeline once, on one machine, with nothing else running.
//!
//! An embedded broker gets the shipped example events, envelopes and broken records included; the pipeline of `run`
//! takes them from there, with a configuration file as anybody would write it, into a lake and onto a SIEM topic.
//! What both hold is then compared, position by position, before anything is told about it.
//!
//! Never writes outside its folder, and never into one that holds something already.

mod broker;
mod events;
mod folder;
mod incident;
mod screen;
mod summary;
mod threads;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use futures::TryStreamExt as _;
use rdkafka::error::KafkaError;
use tokio::runtime::Runtime;

use self::broker::{EmbeddedBroker, Sent};
use self::events::Topic;
use self::folder::Folder;
pub use self::screen::Screen;
use crate::config::Config;
use crate::pipeline::normalize::Normalizer;
use crate::pipeline::run::{self, RunError, Stop, Surroundings};
use crate::query::{self, QueryError};
use crate::sink::lake::{Lake, LakeError};
use crate::telemetry::{Metrics, Readiness};

/// How long the pipeline may take for some hundred events.
///
/// It needs a few seconds, of which three are the broker's: it waits for more members of the group. On a machine that
/// is busy with other things ten times as much is still no reason to give up.
const PATIENCE: Duration = Duration::from_secs(50);

/// How often the lake is asked how far it is. Asking costs a tenth of a second in a debug build.
const ASK_INTERVAL: Duration = Duration::from_millis(400);

/// Why there was no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("`{0}` is not empty: name a new folder with --dir, or remove this one")]
    NotEmpty(PathBuf),
    #[error("`{0}` cannot stand in a configuration file: name a folder whose path is UTF-8 and holds no `$`")]
    Unwritable(PathBuf),
    #[error("failed to write `{path}`")]
    Io { path: PathBuf, source: io::Error },
    #[error("failed to {doing} the embedded broker")]
    Broker { doing: &'static str, source: KafkaError },
    #[error("the shipped events are damaged: {0}")]
    Events(String),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("the pipeline ended before everything was in the lake")]
    EndedEarly,
    #[error("{num_stored} of {num_sent} records were in the lake after {} seconds: try again on an idle machine", PATIENCE.as_secs())]
    TooSlow { num_stored: usize, num_sent: usize },
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("failed to read an answer of the lake")]
    Answer(#[from] arrow::error::ArrowError),
    /// A promise of the pipeline that did not hold.
    #[error(
        "the {sink} and the lake do not hold the same: `{position}` is {lake} times in the lake and {other} times there"
    )]
    Differ { sink: &'static str, position: String, lake: usize, other: usize },
    #[error("failed to write the answer")]
    Output(#[from] io::Error),
}

/// How far the demo is, for whoever shows it.
pub trait Progress: Sync {
    fn step(&self, what: &str);
    fn stored(&self, num_records: usize, of: usize);
}

/// A folder and a broker with everything that the pipeline needs.
pub struct Demo {
    folder: Folder,
    broker: EmbeddedBroker,
    sent: Sent,
    begun: Instant,
}

impl Demo {
    /// Fills `folder`, starts the broker and sends it the shipped events.
    ///
    /// # Errors
    /// If the folder holds something, cannot be written, or the machine gives the broker no port.
    pub fn prepare(folder: &Path, runtime: &Runtime, progress: &dyn Progress) -> Result<Demo, DemoError> {
        let begun = Instant::now();
        let folder = Folder::create(folder)?;
        let topics = events::shipped()?;
        progress.step("starting a broker");
        let broker = EmbeddedBroker::start(&topics)?;
        progress.step("sending events");
        let sent = runtime.block_on(broker.send(&topics))?;
        folder.write_configuration(&broker.addresses(), &topics)?;
        Ok(Demo { folder, broker, sent, begun })
    }

    /// The configuration file that the pipeline is to run with.
    pub fn configuration(&self) -> PathBuf {
        self.folder.configuration()
    }

    /// Runs the pipeline until everything is in the lake and on the SIEM topic, and compares the two.
    ///
    /// # Errors
    /// If anything fails, or the two do not hold the same.
    pub fn run(
        &self,
        config: &Config,
        normalizer: &Arc<Normalizer>,
        runtime: &Runtime,
        progress: &dyn Progress,
    ) -> Result<Outcome, DemoError> {
        progress.step("running the pipeline");
        let lake = run::open_lake(config, runtime.handle())?.ok_or(DemoError::EndedEarly)?;
        let surroundings = Surroundings {
            runtime: runtime.handle().clone(),
            metrics: Arc::new(Metrics::new()),
            readiness: Readiness::new(),
            stop: Stop::new(),
        };
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run::run(config, normalizer, &surroundings));
            let waited = self.wait_until_stored(&lake, runtime, progress, || running.is_finished());
            // Stopping commits to both sinks whatever was read, so that afterwards they hold the same.
            surroundings.stop.ask();
            // A panic stays one.
            let result = running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result?;
            waited
        })?;

        progress.step("reading both sides back");
        let siem = self.broker.read_back(broker::SIEM)?;
        let dead_letters = self.broker.read_back(broker::DEAD_LETTERS)?;
        let answers = runtime.block_on(Answers::open(&lake))?;
        let stored = runtime.block_on(answers.ask(include_str!("queries/positions.sql")))?;
        for (sink, letters, status) in [("siem topic", &siem, false), ("dead-letter topic", &dead_letters, true)] {
            let in_lake = stored.iter().filter(|row| is_rejected(row) == status).filter_map(|row| row.first()?.clone());
            compare(sink, in_lake, letters.iter().map(|read| read.position.clone()))?;
        }
        Ok(Outcome { answers, siem, dead_letters, sent: self.sent, taken: self.begun.elapsed() })
    }

    /// Tells what happened, and what to try next with this program, which was called as `program`.
    ///
    /// # Errors
    /// If the lake cannot be asked or `screen` not be written.
    pub fn tell<W: Write>(
        &self,
        outcome: &Outcome,
        runtime: &Runtime,
        program: &str,
        screen: &mut Screen<W>,
    ) -> Result<(), DemoError> {
        runtime.block_on(async {
            summary::tell(outcome, screen).await?;
            incident::tell(&outcome.answers, screen).await?;
            Ok(self.folder.tell_next_steps(program, screen)?)
        })
    }

    /// Every record leaves at least one row, so everything is there once every record has one.
    fn wait_until_stored(
        &self,
        lake: &Lake,
        runtime: &Runtime,
        progress: &dyn Progress,
        has_ended: impl Fn() -> bool,
    ) -> Result<(), DemoError> {
        let begun = Instant::now();
        loop {
            let num_stored = runtime.block_on(async {
                let rows = Answers::open(lake).await?.ask(include_str!("queries/records.sql")).await?;
                Ok::<_, DemoError>(rows.first().map_or(0, |row| number(row, 0)))
            })?;
            progress.stored(num_stored, self.sent.num_records);
            if num_stored >= self.sent.num_records {
                return Ok(());
            }
            if has_ended() {
                return Err(DemoError::EndedEarly);
            }
            if begun.elapsed() > PATIENCE {
                return Err(DemoError::TooSlow { num_stored, num_sent: self.sent.num_records });
            }
            std::thread::sleep(ASK_INTERVAL);
        }
    }
}

/// What the pipeline left behind.
pub struct Outcome {
    answers: Answers,
    siem: Vec<broker::Read>,
    dead_letters: Vec<broker::Read>,
    sent: Sent,
    taken: Duration,
}

/// The lake as it was when it was opened, asked in SQL. Cells come as text, empty ones as None.
struct Answers {
    session: datafusion::prelude::SessionContext,
}

type Row = Vec<Option<String>>;

impl Answers {
    async fn open(lake: &Lake) -> Result<Answers, QueryError> {
        Ok(Answers { session: query::open(lake).await? })
    }

    async fn ask(&self, sql: &str) -> Result<Vec<Row>, DemoError> {
        let mut batches = query::run(&self.session, sql).await?;
        let mut rows = Vec::new();
        while let Some(batch) = batches.try_next().await.map_err(QueryError::from)? {
            let columns: Vec<_> =
                batch.columns().iter().map(|column| cast(column, &DataType::Utf8)).collect::<Result<_, _>>()?;
            for index in 0..batch.num_rows() {
                let cell = |column: &Arc<dyn Array>| {
                    let texts = column.as_string::<i32>();
                    texts.is_valid(index).then(|| texts.value(index).to_string())
                };
                rows.push(columns.iter().map(cell).collect());
            }
        }
        Ok(rows)
    }
}

/// A cell's text; nothing for an empty one.
fn text(row: &Row, index: usize) -> &str {
    row.get(index).and_then(|cell| cell.as_deref()).unwrap_or_default()
}

/// A cell's number, as `count(*)` gives it.
fn number(row: &Row, index: usize) -> usize {
    text(row, index).parse().unwrap_or_default()
}

fn is_rejected(row: &Row) -> bool {
    text(row, 1) == "rejected"
}

/// Checks that both sides hold the same positions, each as often.
fn compare(
    sink: &'static str,
    in_lake: impl Iterator<Item = String>,
    in_sink: impl Iterator<Item = String>,
) -> Result<(), DemoError> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    in_lake.for_each(|position| counts.entry(position).or_default().0 += 1);
    in_sink.for_each(|position| counts.entry(position).or_default().1 += 1);
    match counts.into_iter().find(|(_, count)| *count != (1, 1)) {
        Some((position, (lake, other))) => Err(DemoError::Differ { sink, position, lake, other }),
        None => Ok(()),
    }
}

impl From<LakeError> for DemoError {
    fn from(error: LakeError) -> DemoError {
        DemoError::Query(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(in_lake: &[&str], in_sink: &[&str]) -> Result<(), DemoError> {
        let owned = |positions: &[&str]| positions.iter().map(ToString::to_string).collect::<Vec<_>>();
        compare("siem topic", owned(in_lake).into_iter(), owned(in_sink).into_iter())
    }

    #[test]
    fn the_same_positions_in_any_order_are_the_same() {
        assert!(compared(&["t/0/1/0", "t/0/2/0"], &["t/0/2/0", "t/0/1/0"]).is_ok());
    }

    #[test]
    fn what_is_missing_or_doubled_on_either_side_is_named() {
        let lost = compared(&["t/0/1/0"], &[]).expect_err("lost").to_string();
        assert!(lost.contains("`t/0/1/0` is 1 times in the lake and 0 times there"), "{lost}");
        assert!(compared(&["t/0/1/0"], &["t/0/1/0", "t/0/1/0"]).is_err(), "doubled there");
        assert!(compared(&["t/0/1/0", "t/0/1/0"], &["t/0/1/0", "t/0/1/0"]).is_err(), "doubled on both sides");
    }
}
