//! `run`: records from Kafka to both sinks, exactly once, until it is asked to stop.
//!
//! One loop owns all state. It polls the input, hands records to the mapping workers, gives their rows to both sinks'
//! buffers and lets each sink commit at its own cadence, in a thread or task that reports back. A sink that falls
//! behind stops the reading, never the other sink. Nothing is dropped on the way that is not read again: whenever a
//! sink's commit fails or a partition goes, its position is the truth and reading goes back to it.

mod lake;
mod mapping;
mod partitions;
mod reading;
mod recover;
mod resume;
mod room;
mod settle;
pub(super) mod setup;
mod shutdown;
mod siem;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use tokio::runtime::Handle;
use tracing::{info, warn};

use self::lake::LakeWriter;
use self::mapping::{WorkerPanicked, Workers};
use self::partitions::Partitions;
pub use self::recover::{Recovered, recover};
use self::resume::{Decisions, InFlight, SinkPositions};
pub use self::shutdown::Stop;
use self::siem::{SiemWriter, SiemWriterError};
use crate::config::Config;
use crate::failpoint;
use crate::input::kafka::{Generation, InputError, KafkaInput, TopicCheck, TopicCheckError};
use crate::pipeline::normalize::{Normalizer, Route};
use crate::sink::lake::anchor::AnchorError;
use crate::sink::lake::{Lake, LakeError};
use crate::sink::siem::{RECORD_BYTES_MIN, SiemSink};
use crate::telemetry::{Metrics, Readiness, Sink};

/// What a sink may hold back in memory where no lake's `max_buffer_bytes` says so.
const BUFFER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The dead letters' cadence where there is no SIEM topic.
const DEAD_LETTER_INTERVAL: Duration = Duration::from_millis(250);

/// How long a run that was asked to stop may take to commit what it has read.
///
/// Longer than a transaction and a lake commit on a slow store, shorter than the patience of what stops it
/// (Kubernetes waits 30 seconds unless told otherwise). What is not committed by then is read again by the next.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// How often the slow figures (lag, positions) are told.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);

/// Why a run ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error("failed to use the lake")]
    Lake(#[source] LakeError),
    #[error(transparent)]
    Topic(TopicCheckError),
    #[error(transparent)]
    Anchor(AnchorError),
    #[error(transparent)]
    Siem(#[from] SiemWriterError),
    #[error(transparent)]
    Mapping(#[from] WorkerPanicked),
    #[error(
        "failed to read the output topics: check that the brokers can be reached and that the principal may read them"
    )]
    Outputs(#[source] rdkafka::error::KafkaError),
    #[error("failed to start the mapping workers")]
    Workers(#[source] std::io::Error),
    #[error(
        "topic `{topic}` takes records of at most {limit} bytes, which is less than {RECORD_BYTES_MIN}: raise its \
         `max.message.bytes`, or `message.max.bytes` in `kafka.properties`"
    )]
    TopicTooSmall { topic: String, limit: usize },
    #[error("{sink} could not commit within {} seconds after the stop: what was read is read again next time", DRAIN_TIMEOUT.as_secs())]
    NotDrained { sink: &'static str },
}

/// What a run is given from outside.
pub struct Surroundings {
    /// Where the lake does its I/O. The run itself blocks the thread that it is called on, which must not be one of
    /// this runtime's own.
    pub runtime: Handle,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    pub stop: Stop,
}

/// Checks everything that [`run`] needs from outside, and changes nothing but to create the lake if there is none.
///
/// # Errors
/// As [`run`], before its first record.
pub fn check(config: &Config, runtime: &Handle) -> Result<(), RunError> {
    setup::lake_location(config)?;
    setup::encoding(config, &setup::client(&config.kafka), runtime)?;
    setup::lake(config, runtime)?;
    Ok(())
}

/// Opens the configured lake as a run does, or None if there is none.
///
/// # Errors
/// If the lake refuses.
pub fn open_lake(config: &Config, runtime: &Handle) -> Result<Option<Lake>, RunError> {
    setup::lake(config, runtime)
}

/// Opens the configured lake for one commit, which promises no further seal.
///
/// # Errors
/// If the lake refuses.
pub async fn open_lake_once(config: &Config) -> Result<Option<Lake>, RunError> {
    setup::lake_once(config).await
}

/// What the configuration says of `topic`.
pub fn route(config: &Config, topic: &str) -> Route {
    setup::route(&config.topics, topic)
}

/// Runs until it is asked to stop, and returns once everything that was read is committed.
///
/// # Errors
/// If something outside refuses for good, or holds what cannot be trusted. Trouble that may pass shows in readiness
/// and ends nothing.
pub fn run(config: &Config, normalizer: &Arc<Normalizer>, surroundings: &Surroundings) -> Result<(), RunError> {
    let mut run = Run::start(config, normalizer, surroundings)?;
    surroundings.readiness.started();
    info!(group = config.kafka.group, mapping_version = normalizer.generation(), "reading");
    let result = run.until_stopped();
    surroundings.readiness.not_ready("shutdown", "the run has ended");
    result
}

/// The loop's state.
struct Run<'a> {
    config: &'a Config,
    metrics: &'a Metrics,
    readiness: &'a Readiness,
    stop: &'a Stop,
    input: KafkaInput,
    decisions: Decisions,
    partitions: Partitions,
    generation: Option<Generation>,
    workers: Workers,
    siem: Option<SiemWriter>,
    lake: Option<LakeWriter>,
    buffer_bytes_max: usize,
    /// The sinks for which reading is paused.
    paused_for: Vec<Sink>,
    is_paused: bool,
    stopping_since: Option<Instant>,
    figures_told: Instant,
}

impl<'a> Run<'a> {
    fn start(
        config: &'a Config,
        normalizer: &Arc<Normalizer>,
        surroundings: &'a Surroundings,
    ) -> Result<Run<'a>, RunError> {
        let Surroundings { runtime, metrics, readiness, stop } = surroundings;
        readiness.not_ready("input", "not a member of the group yet");
        metrics.set_generation(normalizer.generation());
        for plan in normalizer.library().plans().iter().filter(|plan| !plan.cannot_tell.is_empty()) {
            metrics.set_control_weaknesses(&plan.source, plan.cannot_tell.len());
        }
        setup::lake_location(config)?;
        let client: ClientConfig = setup::client(&config.kafka);
        let encoding = setup::encoding(config, &client, runtime)?;
        let lake = setup::lake(config, runtime)?;
        if let Some(lake) = &lake {
            let kept = lake.keep_generation(normalizer.generation(), normalizer.generation_document());
            runtime.block_on(kept).map_err(RunError::Lake)?;
            failpoint::hit("lake.generation_kept");
        }
        let instance = config.kafka.instance.clone().unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
        let in_flight = InFlight::default();
        let topic_check = TopicCheck::new(&client, &config.kafka.group)?;
        let siem = match setup::siem_settings(config, &client, &instance) {
            Some(settings) => {
                let interval = config.siem.as_ref().map_or(DEAD_LETTER_INTERVAL, |siem| siem.commit_interval);
                let sink = SiemSink::connect(settings).map_err(SiemWriterError::Sink)?;
                Some(SiemWriter::start(sink, topic_check.clone(), interval, in_flight.clone())?)
            }
            None => None,
        };
        let decisions = Decisions::default();
        let positions = SinkPositions {
            group: config.kafka.group.clone(),
            brokers: config.kafka.brokers.clone(),
            has_siem: siem.is_some(),
            lake: lake.clone(),
            runtime: runtime.clone(),
            decisions: decisions.clone(),
            in_flight,
        };
        let topics = setup::subscription(&config.topics);
        let input = KafkaInput::subscribe(
            &client,
            &config.kafka.group,
            config.kafka.instance.as_deref(),
            &topics.iter().map(String::as_str).collect::<Vec<_>>(),
            Box::new(positions),
        )?;
        let lake_writer = lake.zip(config.lake.as_ref()).map(|(lake, lake_config)| {
            LakeWriter::new(lake, topic_check.clone(), &config.kafka.group, lake_config, runtime.clone())
        });
        Ok(Run {
            config,
            metrics,
            readiness,
            stop,
            input,
            decisions,
            partitions: Partitions::default(),
            generation: None,
            workers: Workers::start(normalizer, &encoding).map_err(RunError::Workers)?,
            siem,
            lake: lake_writer,
            buffer_bytes_max: config.lake.as_ref().map_or(BUFFER_BYTES_MAX, |lake| lake.max_buffer_bytes),
            paused_for: Vec::new(),
            is_paused: false,
            stopping_since: None,
            figures_told: Instant::now(),
        })
    }

    fn until_stopped(&mut self) -> Result<(), RunError> {
        loop {
            if self.stop.is_asked() && self.stopping_since.is_none() {
                info!("stopping: committing what was read");
                self.readiness.not_ready("shutdown", "stopping");
                self.stopping_since = Some(Instant::now());
                failpoint::hit("run.stopping");
            }
            self.read()?;
            self.take_mapped()?;
            self.settle_siem()?;
            self.settle_lake()?;
            self.announce();
            self.commit_what_is_due();
            self.hold_back();
            self.tell_figures();
            if let Some(since) = self.stopping_since {
                if self.is_drained() {
                    if let Some(lake) = &self.lake {
                        lake.say_last_heartbeat();
                    }
                    failpoint::hit("run.drained");
                    info!("stopped");
                    return Ok(());
                }
                if since.elapsed() > DRAIN_TIMEOUT {
                    let lake_is_idle = self.lake.as_ref().is_none_or(LakeWriter::is_idle);
                    return Err(RunError::NotDrained { sink: if lake_is_idle { "the siem" } else { "the lake" } });
                }
            }
        }
    }

    fn is_drained(&self) -> bool {
        self.workers.is_idle()
            && self.siem.as_ref().is_none_or(SiemWriter::is_idle)
            && self.lake.as_ref().is_none_or(LakeWriter::is_idle)
    }

    fn commit_what_is_due(&mut self) {
        // Once the last rows are there, nothing is worth waiting for.
        let at_once = self.stopping_since.is_some() && self.workers.is_idle();
        if let Some(siem) = &mut self.siem {
            siem.commit_if_due(self.generation.as_ref(), at_once);
        }
        // A lake position without a group position means that the latter was lost; so that one comes first.
        if let Some(lake) = &mut self.lake
            && !self.partitions.iter().any(|partition| partition.is_new)
        {
            let is_full = lake.num_bytes() >= self.buffer_bytes_max;
            lake.commit_if_due(at_once || is_full);
        }
        if let Some(lake) = &mut self.lake {
            lake.beat_if_due();
        }
    }

    /// Writes down where reading began for partitions that are new to the group. With a SIEM its transactions do.
    fn announce(&mut self) {
        if self.siem.is_some() {
            return;
        }
        let new: Vec<_> = self
            .partitions
            .iter()
            .filter(|partition| partition.is_new)
            .map(|partition| ((*partition.id).clone(), partition.begun))
            .collect();
        if new.is_empty() {
            return;
        }
        let starts: Vec<_> = new.iter().map(|(id, begun)| (id, *begun)).collect();
        match self.input.announce(&starts) {
            Ok(()) => self.partitions.iter_mut().for_each(|partition| partition.is_new = false),
            Err(error) => warn!(%error, "failed to write down where reading begins, trying again"),
        }
    }

    /// Whether a sink has no room for more rows.
    fn is_full(&self) -> bool {
        !self.paused_for.is_empty()
            || self.siem.as_ref().map_or(0, SiemWriter::num_bytes) >= self.buffer_bytes_max
            || self.lake.as_ref().map_or(0, LakeWriter::num_bytes) >= self.buffer_bytes_max
    }

    /// Pauses reading while a sink holds back more than it may, and resumes it once that has gone down.
    fn hold_back(&mut self) {
        let held = [
            (Sink::Siem, self.siem.as_ref().map_or(0, SiemWriter::num_bytes)),
            (Sink::Lake, self.lake.as_ref().map_or(0, LakeWriter::num_bytes)),
        ];
        for (sink, num_bytes) in held {
            self.metrics.set_buffered_bytes(sink, num_bytes);
            let is_held_back = self.paused_for.contains(&sink);
            // Room for a quarter before reading resumes, so that it does not stop and go with every record.
            if !is_held_back && num_bytes >= self.buffer_bytes_max {
                warn!(sink = sink.as_str(), num_bytes, "reading pauses: the sink does not keep up");
                let reason = format!("reading is paused: {num_bytes} bytes wait for the {}", sink.as_str());
                self.readiness.not_ready(buffer_part(sink), reason);
                self.paused_for.push(sink);
            } else if is_held_back && num_bytes < self.buffer_bytes_max / 4 * 3 {
                info!(sink = sink.as_str(), "reading resumes");
                self.readiness.ready(buffer_part(sink));
                self.paused_for.retain(|held_back| *held_back != sink);
            }
        }
        self.set_paused(!self.paused_for.is_empty() || self.stopping_since.is_some());
    }

    fn set_paused(&mut self, paused: bool) {
        if paused == self.is_paused {
            return;
        }
        match self.input.set_paused(paused) {
            Ok(()) => {
                self.is_paused = paused;
                self.metrics.set_paused(paused);
            }
            Err(error) => warn!(%error, paused, "failed to pause or resume reading, trying again"),
        }
    }

    fn tell_figures(&mut self) {
        if self.figures_told.elapsed() < FIGURES_INTERVAL {
            return;
        }
        self.figures_told = Instant::now();
        for partition in self.partitions.iter() {
            let end = self.input.known_end(&partition.id);
            for (sink, cursor) in [(Sink::Siem, &partition.siem), (Sink::Lake, &partition.lake)] {
                let Some(cursor) = cursor else { continue };
                self.metrics.set_position(sink, &partition.id, cursor.stored);
                if let Some(end) = end {
                    self.metrics.set_lag(sink, &partition.id, (end - cursor.stored.0).max(0));
                }
            }
        }
        if let Some(lake) = &self.lake {
            let proven = lake.proven();
            self.metrics.set_proven(proven.sealed, proven.anchored);
        }
    }
}

/// What objects in readiness while a sink's buffer is full; its failures object under the sink's own name.
const fn buffer_part(sink: Sink) -> &'static str {
    match sink {
        Sink::Siem => "siem buffer",
        Sink::Lake => "lake buffer",
    }
}
