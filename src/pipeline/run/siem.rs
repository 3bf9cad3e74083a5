//! The SIEM side of the run: what waits for the next transaction, and the thread that commits one after the other.
//!
//! Transactions follow their own cadence and know nothing of the lake's. The thread owns the producer; it says that a
//! batch is settled only when nothing of it can change any more.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::warn;

use super::partitions::{Epoch, Partition};
use super::resume::InFlight;
use crate::checkpoint::{NextOffset, TopicPartition};
use crate::failpoint;
use crate::input::kafka::{self, Generation, TopicCheck, TopicCheckError};
use crate::sink::siem::{Batch, Outcome, SiemError, SiemSink};

/// Most bytes and records of one transaction.
///
/// They fit into the client's queue (100,000 records) and take a broker well under a second, which leaves room below
/// the transaction's timeout.
const TRANSACTION_BYTES_MAX: usize = 16 * 1024 * 1024;
const TRANSACTION_RECORDS_MAX: usize = 50_000;

/// How long to wait after a batch that failed, and at most after several.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How often in a row another instance may take the transactional id over before this one gives up.
///
/// A broker that timed a transaction out looks the same, once. Two instances with one name would go on for ever.
const NUM_FENCED_MAX: u32 = 3;

/// What a transaction takes a partition to.
#[derive(Clone, Debug)]
pub(super) struct Taken {
    pub id: Arc<TopicPartition>,
    pub epoch: Epoch,
    pub begun: NextOffset,
    pub to: NextOffset,
}

/// What the committing thread has to say.
pub(super) enum Report {
    /// It is still trying.
    Trouble(String),
    Settled {
        partitions: Vec<Taken>,
        fate: Fate,
        duration: Duration,
    },
    Failed(SiemWriterError),
}

/// What became of a transaction, once nothing can change it any more.
#[derive(Debug)]
pub(super) enum Fate {
    Committed,
    Aborted(KafkaError),
    /// The group's positions say whether it is there.
    Unclear(KafkaError),
}

#[derive(Debug, thiserror::Error)]
pub enum SiemWriterError {
    #[error(transparent)]
    Sink(#[from] SiemError),
    #[error(transparent)]
    Topic(TopicCheckError),
    #[error("another instance uses the same `kafka.instance`: give each instance a name of its own, or none")]
    Fenced,
    #[error("failed to start the thread that commits transactions")]
    Thread(#[source] std::io::Error),
}

pub(super) struct SiemWriter {
    queue: VecDeque<(Taken, Batch)>,
    queued_bytes: usize,
    oldest: Option<Instant>,
    interval: Duration,
    in_flight: InFlight,
    in_flight_bytes: usize,
    num_failures: u32,
    not_before: Option<Instant>,
    jobs: Option<Sender<Job>>,
    reports: Receiver<Report>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    partitions: Vec<Taken>,
    batches: Vec<Batch>,
    generation: Generation,
}

impl SiemWriter {
    /// # Errors
    /// If the system gives no more threads.
    pub fn start(
        sink: SiemSink,
        topics: TopicCheck,
        interval: Duration,
        in_flight: InFlight,
    ) -> Result<SiemWriter, SiemWriterError> {
        let (jobs, incoming) = channel();
        let (outgoing, reports) = channel();
        let idle = in_flight.clone();
        let thread = std::thread::Builder::new()
            .name("siem".to_string())
            .spawn(move || commit_jobs(sink, &topics, &incoming, &outgoing, &idle))
            .map_err(SiemWriterError::Thread)?;
        Ok(SiemWriter {
            queue: VecDeque::new(),
            queued_bytes: 0,
            oldest: None,
            interval,
            in_flight,
            in_flight_bytes: 0,
            num_failures: 0,
            not_before: None,
            jobs: Some(jobs),
            reports,
            thread: Some(thread),
        })
    }

    /// Makes the next transaction write down where reading of a partition began, whether or not records come.
    ///
    /// In a transaction like all others: a plain commit could arrive late and take the group's position back.
    pub fn announce(&mut self, partition: &Partition) {
        if let Some(cursor) = partition.siem {
            let (id, begun) = (Arc::clone(&partition.id), partition.begun);
            self.push(Taken { id, epoch: cursor.epoch, begun, to: cursor.taken }, Batch::default());
        }
    }

    /// Takes the records of a chunk; `taken` says how far they bring the partition.
    pub fn push(&mut self, taken: Taken, batch: Batch) {
        self.queued_bytes += weight(&batch);
        self.oldest.get_or_insert_with(Instant::now);
        self.queue.push_back((taken, batch));
    }

    /// Forgets what waits for `id`: it will be read again.
    pub fn forget(&mut self, id: &TopicPartition) {
        self.queue.retain(|(taken, _)| *taken.id != *id);
        self.queued_bytes = self.queue.iter().map(|(_, batch)| weight(batch)).sum();
    }

    pub fn num_bytes(&self) -> usize {
        self.queued_bytes + self.in_flight_bytes
    }

    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_flight_bytes == 0
    }

    /// Hands the next transaction over if it is time for one, or `at_once`.
    pub fn commit_if_due(&mut self, generation: Option<&Generation>, at_once: bool) {
        let (Some(generation), Some(oldest), Some(jobs)) = (generation, self.oldest, &self.jobs) else { return };
        let is_due = at_once || oldest.elapsed() >= self.interval || self.queued_bytes >= TRANSACTION_BYTES_MAX;
        let must_wait = self.not_before.is_some_and(|time| Instant::now() < time);
        if !is_due || must_wait || self.in_flight_bytes > 0 || self.queue.is_empty() {
            return;
        }
        let (mut num_bytes, mut num_records) = (0, 0);
        let mut ends: BTreeMap<Arc<TopicPartition>, Taken> = BTreeMap::new();
        let mut batches = Vec::new();
        while let Some((taken, batch)) = self.queue.pop_front() {
            num_bytes += weight(&batch);
            num_records += batch.len();
            ends.insert(Arc::clone(&taken.id), taken);
            if !batch.is_empty() {
                batches.push(batch);
            }
            if num_bytes >= TRANSACTION_BYTES_MAX || num_records >= TRANSACTION_RECORDS_MAX {
                break;
            }
        }
        self.queued_bytes = self.queued_bytes.saturating_sub(num_bytes);
        self.oldest = (!self.queue.is_empty()).then_some(oldest);
        self.in_flight_bytes = num_bytes;
        self.in_flight.set(true);
        let job = Job { partitions: ends.into_values().collect(), batches, generation: Arc::clone(generation) };
        // Should the thread be gone, its last report says why.
        let _ = jobs.send(job);
    }

    /// What happened since the last call.
    pub fn reports(&mut self) -> Vec<Report> {
        let reports: Vec<Report> = self.reports.try_iter().collect();
        for report in &reports {
            let Report::Settled { fate, .. } = report else { continue };
            self.in_flight_bytes = 0;
            if matches!(fate, Fate::Committed) {
                self.num_failures = 0;
                self.not_before = None;
            } else {
                self.num_failures = self.num_failures.saturating_add(1);
                let pause = PAUSE_MIN.saturating_mul(1 << self.num_failures.min(6)).min(PAUSE_MAX);
                self.not_before = Some(Instant::now() + pause);
            }
        }
        reports
    }

    /// How many batches failed one after the other until now.
    pub fn num_failures(&self) -> u32 {
        self.num_failures
    }
}

impl Drop for SiemWriter {
    fn drop(&mut self) {
        self.jobs = None;
        // Everything that the thread does ends within its timeouts, except for trying to connect again and again. A
        // run that ends in spite of that must not wait for it.
        if self.in_flight_bytes == 0
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// What a chunk's records take while they wait, which is something even if there are none: positions wait too.
fn weight(batch: &Batch) -> usize {
    size_of::<(Taken, Batch)>() + batch.num_bytes()
}

fn commit_jobs(
    mut sink: SiemSink,
    topics: &TopicCheck,
    jobs: &Receiver<Job>,
    reports: &Sender<Report>,
    in_flight: &InFlight,
) {
    let mut num_fenced = 0;
    for Job { partitions, batches, generation } in jobs {
        let begun = Instant::now();
        let positions = kafka::offsets(partitions.iter().map(|taken| (&*taken.id, taken.to, taken.begun)));
        let outcome = match (topics.confirm(partitions.iter().map(|taken| &*taken.id)), &positions) {
            (Ok(()), Ok(positions)) => sink.commit(&batches, positions, &generation),
            (Ok(()), Err(error)) => Outcome::Aborted(error.clone()),
            // Nothing of it was sent.
            (Err(TopicCheckError::Unanswered(error)), _) => Outcome::Aborted(error),
            (Err(error), _) => {
                in_flight.set(false);
                let _ = reports.send(Report::Failed(SiemWriterError::Topic(error)));
                return;
            }
        };
        let fate = match outcome {
            Outcome::Committed => Fate::Committed,
            Outcome::Aborted(error) => Fate::Aborted(error),
            Outcome::Unclear(error) => {
                num_fenced = if is_fenced(&error) { num_fenced + 1 } else { 0 };
                let replaced = if num_fenced >= NUM_FENCED_MAX {
                    Err(SiemWriterError::Fenced)
                } else {
                    replace_producer(&mut sink, &error, reports)
                };
                if let Err(error) = replaced {
                    in_flight.set(false);
                    let _ = reports.send(Report::Failed(error));
                    return;
                }
                Fate::Unclear(error)
            }
        };
        if matches!(fate, Fate::Committed) {
            num_fenced = 0;
        }
        let told = reports.send(Report::Settled { partitions, fate, duration: begun.elapsed() });
        in_flight.set(false);
        if told.is_err() {
            return;
        }
    }
}

/// Tries until there is a new producer: until then nobody can know what became of the batch.
fn replace_producer(sink: &mut SiemSink, why: &KafkaError, reports: &Sender<Report>) -> Result<(), SiemWriterError> {
    let mut pause = PAUSE_MIN;
    warn!(error = %why, "the outcome of a transaction is unclear, replacing the producer");
    failpoint::hit("siem.replacing");
    loop {
        match sink.replace_producer() {
            Ok(()) => {
                failpoint::hit("siem.replaced");
                return Ok(());
            }
            Err(error) if error.is_transient() => {
                warn!(error = &error as &dyn std::error::Error, "failed to replace the producer, trying again");
                // Without anybody to hear of it the run is over.
                if reports.send(Report::Trouble(format!("{error}: {why}"))).is_err() {
                    return Ok(());
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_fenced(error: &KafkaError) -> bool {
    let code = match error {
        KafkaError::Transaction(reason) => Some(reason.code()),
        other => other.rdkafka_error_code(),
    };
    matches!(
        code,
        Some(RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch)
    )
}
